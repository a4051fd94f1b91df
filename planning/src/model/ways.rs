//! Ways through healthy tissue, where nothing else is left: to a part of the residual core that no shaft reaches in the
//! open.
//!
//! Each connected part has one way: of all straight bundles of lines from any pivot to any of its voxels, the one with the
//! least healthy tissue on it, and what a tip would take along it. Where that is less than a share of what lies behind it, its
//! voxels are given worth, those at the sides of what is open already included. From its end on, the part is removed as everything is; where it is wider than its way, the
//! next way is the next shortest.

use super::Model;
use crate::memory::stamp;
use crate::reach::{Reach, across};
use bregma_core::flow::Capsule;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};
use std::sync::Arc;

/// Worth of a voxel on a way, in hundredths of a residual voxel: one alone is worth a motion, or a sliver of wall would keep the shaft out.
const WAY_WORTH: i32 = 500;
/// A part is worth a way when it has at least so many times the way's voxels.
const GAIN: usize = 1;
/// Lines end at every so many-th voxel of a part: neighbours have nearly the same.
const EVERY: usize = 5;
/// Samples along a line, in voxels.
const SAMPLE: f64 = 0.5;

/// A way that is worth opening.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Way {
    /// Which pivot it goes through.
    pub pivot: usize,
    /// Healthy tissue on its lines, mm in the mean.
    healthy_mm: f64,
    /// Where it begins, and where it arrives.
    from: Point3<f64>,
    to: Point3<f64>,
    /// Voxels of the part behind it.
    behind: usize,
}

impl Model {
    /// The way with most behind it for its length, through one of the pivots; `None` where none is worth it.
    pub fn way(&self, reaches: &[Arc<Reach>]) -> Option<Way> {
        let parts = parts(&self.residual, &self.grid());
        let mut best: Option<Way> = None;
        for part in parts.iter().filter(|part| part.len() >= GAIN) {
            let mut shortest: Option<Way> = None;
            for (pivot, reach) in reaches.iter().enumerate() {
                for &target in part.iter().step_by(EVERY) {
                    let most = shortest.as_ref().map_or(self.settings.opening_mm, |way| way.healthy_mm);
                    if let Some(healthy_mm) = self.bundle(reach, target, most) {
                        let (from, to, behind) = (reach.pivot, self.centre(target), part.len());
                        shortest = Some(Way { pivot, healthy_mm, from, to, behind });
                    }
                }
            }
            let Some(way) = shortest else { continue };
            if way.behind >= GAIN * self.on(&way).len() && best.as_ref().is_none_or(|b| way.behind > b.behind) {
                best = Some(way);
            }
        }
        best
    }

    /// Gives a way worth.
    pub fn open(&mut self, way: &Way) {
        for i in self.on(way) {
            self.worth[i] = WAY_WORTH;
        }
    }

    /// Healthy tissue on five lines from a pivot to a voxel, mm in the mean and less than `most_mm`; `None` where there is
    /// more, a shaft may not stand, the tip may not cut on the middle line, or nothing healthy is on any.
    fn bundle(&self, reach: &Reach, target: usize, most_mm: f64) -> Option<f64> {
        let grid = self.grid();
        let (toward, radius) = reach.polar(&self.centre(target));
        if !reach.may_stand(&toward, radius) || !reach.open_above(&toward) {
            return None;
        }
        let [u, v] = across(&toward).map(|side| side * self.settings.cut_radius_mm);
        let lines = [Vector3::zeros(), u, -u, v, -v];
        let step = SAMPLE * grid.spacing_mm;
        let share_mm = step / lines.len() as f64;
        let mut healthy_mm = 0.0;
        for n in 1..=(radius / step) as usize {
            let at = reach.pivot + toward * (n as f64 * step);
            for (line, side) in lines.iter().enumerate() {
                let Some(i) = grid.containing(&(at + side)).map(|v| grid.index(v)) else { continue };
                if reach.field.open[i] {
                    continue;
                }
                if !self.may_cut(i) {
                    // Beside the middle it only stands in the way.
                    if line == 0 {
                        return None;
                    }
                    healthy_mm += share_mm;
                }
                healthy_mm += if self.residual[i] { 0.0 } else { share_mm };
            }
            if healthy_mm >= most_mm {
                return None;
            }
        }
        (healthy_mm > 0.0).then_some(healthy_mm)
    }

    /// Healthy voxels that a tip takes along a way.
    fn on(&self, way: &Way) -> Vec<usize> {
        let grid = self.grid();
        let radius_mm = self.settings.cut_radius_mm;
        let line = Capsule { start: way.from, end: way.to, radius_mm };
        let mut on = Vec::new();
        let middle = nalgebra::center(&way.from, &way.to);
        stamp(&grid, &middle, radius_mm + 0.5 * nalgebra::distance(&way.from, &way.to), |i| {
            if self.solid[i] && !self.residual[i] && self.may_cut(i) && line.distance_mm(&self.centre(i)) <= 0.0 {
                on.push(i);
            }
        });
        on
    }
}

/// Connected parts, by faces.
fn parts(set: &[bool], grid: &Grid) -> Vec<Vec<usize>> {
    let mut left = set.to_vec();
    let mut parts = Vec::new();
    for first in 0..set.len() {
        if !std::mem::take(&mut left[first]) {
            continue;
        }
        let mut part = vec![first];
        let mut next = 0;
        while let Some(&i) = part.get(next) {
            next += 1;
            let v = grid.voxel(i);
            for a in 0..3 {
                for by in [-1, 1] {
                    let mut w = v;
                    let Some(there) = v[a].checked_add_signed(by).filter(|c| *c < grid.dims[a]) else { continue };
                    w[a] = there;
                    let j = grid.index(w);
                    if std::mem::take(&mut left[j]) {
                        part.push(j);
                    }
                }
            }
        }
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_connected_by_faces_and_hold_every_voxel_once() {
        let grid = Grid { dims: [4, 3, 2], spacing_mm: 1.0, origin: [0.0; 3] };
        let mut set = vec![false; grid.len()];
        for v in [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 2, 0], [3, 2, 1], [3, 1, 1]] {
            set[grid.index(v)] = true;
        }
        let mut sizes: Vec<usize> = parts(&set, &grid).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 2, 3]);
    }
}
