//! How far the brain of a patient shifts, for tables: one course without a theatre.
//!
//! **Units:** mm, minutes since the dura was opened. The resection is a stand-in: core goes voxel after
//! voxel, nearest to the entry first, at a constant rate from [`FIRST_CUT_MINUTES`] to
//! [`LAST_CUT_MINUTES`]. Pulsation is left out.

use super::{Brain, Field};
use crate::kind::WorldKind;
use crate::patient::Patient;
use crate::truth::{OPEN, SOLID};
use nalgebra::{Point3, Vector3};

/// When the stand-in for a resection begins.
const FIRST_CUT_MINUTES: f64 = 20.0;
/// When it is done.
const LAST_CUT_MINUTES: f64 = 90.0;
/// Where the cortex is looked at: so far from the corridor's axis, mm, beside the corridor's mouth.
const RINGS_MM: [f64; 2] = [11.0, 14.5];
/// Points on each ring.
const POINTS: usize = 8;

/// Shift at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShiftFigures {
    /// Since the dura was opened.
    pub minutes: f64,
    /// Mean displacement of the exposed cortex, mm.
    pub cortical_mm: f64,
    /// Its part along the way out of the craniotomy, mm: positive bulges, negative sags.
    pub outward_mm: f64,
    /// Displacement at the deepest point of the core's margin, mm.
    pub deep_mm: f64,
}

impl Patient {
    /// Shift at some times, in growing order, while the core is taken out.
    #[must_use]
    pub fn shift_course(&self, kind: WorldKind, minutes: &[f64]) -> Vec<ShiftFigures> {
        let mut brain = Brain::new(self, kind, [0.0, 0.0]);
        let n = self.truth.grid.len();
        let state: Vec<u8> = (0..n).map(|i| if self.open_at_start(i) { OPEN } else { SOLID }).collect();
        brain.open(self, &state);
        let (entry, outward) = (self.corridor.entry, self.craniotomy.outward);
        let at = |i: usize| self.truth.grid.centre(self.truth.grid.voxel(i));
        let mut core: Vec<(f64, usize)> =
            (0..n).filter(|i| self.truth.labels[*i].core()).map(|i| (nalgebra::distance(&at(i), &entry), i)).collect();
        core.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let along = |i: usize| (entry - at(i)).dot(&outward);
        let deepest = core.iter().map(|(_, i)| *i).max_by(|a, b| along(*a).total_cmp(&along(*b)));
        let deep = deepest.map_or(self.corridor.target, |i| at(i) - outward);
        let cortex = self.exposed_cortex();
        let mut field = Field::still(brain.body.grid);
        let mut taken = 0;
        let figures = |minutes: &f64| {
            let share = (minutes - FIRST_CUT_MINUTES) / (LAST_CUT_MINUTES - FIRST_CUT_MINUTES);
            let wanted = (share.clamp(0.0, 1.0) * core.len() as f64) as usize;
            core[taken..wanted.max(taken)].iter().for_each(|(_, i)| brain.remove(self, *i));
            taken = wanted.max(taken);
            brain.settle(*minutes);
            brain.write_with(Vector3::zeros(), &mut field);
            let off = |at: &Point3<f64>| field.now(at) - at;
            let mean = |of: &dyn Fn(&Point3<f64>) -> f64| cortex.iter().map(of).sum::<f64>() / cortex.len() as f64;
            ShiftFigures {
                minutes: *minutes,
                cortical_mm: mean(&|p| off(p).norm()),
                outward_mm: mean(&|p| off(p).dot(&outward)),
                deep_mm: off(&deep).norm(),
            }
        };
        minutes.iter().map(figures).collect()
    }

    /// Points on the brain's surface under the craniotomy, beside the corridor, at rest.
    #[must_use]
    pub fn exposed_cortex(&self) -> Vec<Point3<f64>> {
        let outward = self.craniotomy.outward;
        let side = crate::world::any_across(&outward);
        let mut points = Vec::with_capacity(RINGS_MM.len() * POINTS);
        for ring in RINGS_MM {
            for n in 0..POINTS {
                let angle = std::f64::consts::TAU * n as f64 / POINTS as f64;
                let across = side * libm::cos(angle) + outward.cross(&side) * libm::sin(angle);
                let mut at = self.corridor.entry + across * ring + outward * 15.0;
                // Down to the surface in half millimetres.
                for _ in 0..100 {
                    if self.head.depth_mm(&at) >= 0.5 {
                        break;
                    }
                    at -= outward * 0.5;
                }
                points.push(at);
            }
        }
        points
    }

    /// Points on the core's surface, at rest: the farthest from its middle along each axis, both ways.
    #[must_use]
    pub fn core_surface(&self) -> Vec<Point3<f64>> {
        let grid = &self.truth.grid;
        let core: Vec<Point3<f64>> =
            (0..grid.len()).filter(|i| self.truth.labels[*i].core()).map(|i| grid.centre(grid.voxel(i))).collect();
        let ways = (0..3).flat_map(|a| [(a, 1.0), (a, -1.0)]);
        // Of several, the first.
        ways.filter_map(|(a, way)| core.iter().rev().max_by(|p, q| (way * p[a]).total_cmp(&(way * q[a]))).copied())
            .collect()
    }
}
