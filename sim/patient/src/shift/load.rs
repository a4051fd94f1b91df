//! What acts on the brain, and what is left of it.
//!
//! **Units:** mN, kPa, mm. Forces are changes against rest, where the brain floats in CSF behind a closed
//! dura and everything is in balance: tissue above the fluid's level has lost its buoyancy; what was
//! removed has lost its weight; the pressure that dura and cavity wall no longer push back acts outwards
//! under the craniotomy and into the cavity. **Allocation:** in [`Load::at_rest`] only.

use super::body::{Body, Grip, outwards};
use super::course::Conditions;
use super::material::{FLUID_WEIGHT, TISSUE_WEIGHT};
use nalgebra::Vector3;

/// Stiffness that stays where everything was removed, as a share: it only carries the field across.
const VOID: f32 = 2e-3;

/// Forces and stiffness for one update.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// On every node, mN.
    pub force: Vec<Vector3<f32>>,
    /// Of every cell now, kPa.
    pub shear: Vec<f32>,
    /// Of every cell now, kPa.
    pub bulk: Vec<f32>,
    /// Of every hold: whether fluid still joins it to the wall.
    pub wet: Vec<bool>,
    /// Share of every cell that is left.
    left: Vec<f32>,
    /// Rises with every removal.
    pub version: u64,
}

impl Load {
    pub(super) fn at_rest(body: &Body) -> Self {
        Self {
            force: vec![Vector3::zeros(); body.nodes.len()],
            shear: body.cells.iter().map(|c| c.elastic.shear).collect(),
            bulk: body.cells.iter().map(|c| c.elastic.bulk).collect(),
            wet: vec![true; body.holds.len()],
            left: vec![1.0; body.cells.len()],
            version: 0,
        }
    }

    /// Takes 1 mm³ out of a cell.
    pub(super) fn remove(&mut self, body: &Body, cell: usize) {
        let e = body.edge();
        let left = (self.left[cell] - 1.0 / (e * e * e * body.cells[cell].share)).max(0.0);
        self.left[cell] = left;
        let whole = body.cells[cell].elastic;
        // Voigt for shape, Reuss for volume: a hole takes up what its cell's tissue gives.
        self.shear[cell] = whole.shear * left.max(VOID);
        self.bulk[cell] = 1.0 / (left.max(VOID) / whole.bulk + (1.0 - left) / self.shear[cell]);
        self.version += 1;
    }

    /// Sets the forces.
    pub(super) fn act(&mut self, body: &Body, now: &Conditions) {
        let e = body.edge();
        let volume = e * e * e;
        self.force.fill(Vector3::zeros());
        for (cell, left) in body.cells.iter().zip(&self.left) {
            let removed = 1.0 - left;
            let dry = ((cell.centre.dot(&now.up) - now.level_mm) / e + 0.5).clamp(0.0, 1.0);
            let heavier = FLUID_WEIGHT * dry * left - (TISSUE_WEIGHT - FLUID_WEIGHT) * removed;
            let weight = now.up * (-0.125 * volume * cell.solid * heavier);
            let push = -now.pressure_kpa * removed * 0.25 * e * e;
            for (c, node) in cell.corners.iter().enumerate() {
                self.force[*node as usize] += weight + outwards(c) * push;
            }
        }
        for (node, area) in &body.opened {
            self.force[*node as usize] += area * now.pressure_kpa;
        }
        for (hold, wet) in body.holds.iter().zip(&mut self.wet) {
            let height = body.at(hold.node as usize).coords.cast::<f32>().dot(&now.up);
            *wet = matches!(hold.grip, Grip::Both) || height < now.level_mm;
        }
    }
}
