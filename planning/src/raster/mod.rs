//! The raster planner: layer by layer down the corridor, as one mows a lawn.
//!
//! Layers are as thick as one layer of the stroke, counted from the pivot. In each, what lies inside the residual
//! core goes before its edge, and what lies near a forbidden region last of all; rows run across the corridor, and
//! every other one back. **Source:** contour-parallel and zigzag tool paths of pocket milling, as Held, "On the
//! computational geometry of pocket machining" (1991), names them. **Not protected against:** a wall that is not
//! where the scene shows it; no row is chosen for what it would show.

#[cfg(test)]
mod tests;

use crate::field::squared_distance;
use crate::model::{Model, Stroke, UNIT};
use crate::planner::View;
use crate::reach::across;
use crate::settings::{GreedySettings, OutOfRange};
use crate::strokes::{Course, Strokes};
use bregma_core::digest::{Digest, Digester};
use nalgebra::{Point3, Vector3};

/// Deeper inside than this many voxels is inside, not edge.
const INSIDE_VOXELS: u8 = 2;
/// Nearer to a forbidden region than this is its side, mm.
const SIDE_MM: f64 = 5.0;
/// Rows lie so far apart, in cutting radii: neighbours overlap by a fifth.
const ROW_RADII: f64 = 1.6;
/// Longest way from one bite to the next within a stroke, mm.
const HOP_MM: f64 = 8.0;
/// Bites that are looked at for the next: those behind them wait for another stroke.
const TRIES: usize = 12;

/// The planner.
pub type Raster = Strokes<Rows>;

impl Raster {
    /// With settings of the configuration: those of the greedy planner.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn new(settings: GreedySettings) -> Result<Self, OutOfRange> {
        Self::of(Rows::default(), settings)
    }
}

/// Where a bite comes in the order: layer, edge, side of a forbidden region, row, place in the row.
type Turn = (i32, bool, bool, i32, i32);

/// Rows of the scene at hand.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    across: [Vector3<f64>; 2],
    /// Whether a voxel lies at the residual core's edge.
    edge: Vec<bool>,
}

impl Course for Rows {
    const NAME: &'static str = "raster";

    fn digest(&self, settings: &GreedySettings) -> Digest {
        Digester::new("bregma raster 1").digest(&settings.digest()).finish()
    }

    fn begin(&mut self, model: &Model, _view: &View<'_>) {
        self.across = across(&model.reach.axis);
        let outside: Vec<bool> = model.residual().iter().map(|residual| !residual).collect();
        let near = squared_distance(&outside, model.grid().dims, usize::from(INSIDE_VOXELS));
        self.edge = near.iter().map(|d| *d <= INSIDE_VOXELS * INSIDE_VOXELS).collect();
    }

    fn starts(&mut self, model: &Model, here: &Point3<f64>) -> Vec<(f64, usize)> {
        let mut turns: Vec<(Turn, usize)> =
            model.starts(here).into_iter().map(|(_, i)| (self.turn(model, i), i)).collect();
        turns.sort_unstable();
        // Earlier is better.
        turns.into_iter().enumerate().map(|(n, (_, i))| (-(n as f64), i)).collect()
    }

    fn next(&mut self, model: &mut Model, stroke: &Stroke, starts: &[(f64, usize)]) -> Option<Point3<f64>> {
        let grid = model.grid();
        let now = grid.containing(&stroke.at).map(|v| grid.index(v))?;
        let turn = self.turn(model, now);
        let mut tries = 0;
        for &(_, i) in starts.iter().filter(|(_, i)| *i != now) {
            let (layer, ..) = self.turn(model, i);
            let to = model.centre(i);
            if layer != turn.0 || nalgebra::distance(&to, &stroke.at) > HOP_MM {
                continue;
            }
            if model.bite_worth(grid.voxel(i)) < UNIT {
                continue;
            }
            tries += 1;
            if tries > TRIES {
                return None;
            }
            if model.shaft_clear(i) && model.reach.cut_line_clear(&stroke.at, &to, model.settings.layer_mm) {
                return Some(to);
            }
        }
        None
    }
}

impl Rows {
    fn turn(&self, model: &Model, index: usize) -> Turn {
        let at = model.centre(index);
        let off = at - model.reach.pivot;
        let whole = |mm: f64, step: f64| (mm / step).floor() as i32;
        let layer = whole(off.dot(&model.reach.axis), model.settings.layer_mm);
        let row = whole(off.dot(&self.across[0]), ROW_RADII * model.settings.cut_radius_mm);
        let along = whole(off.dot(&self.across[1]), model.grid().spacing_mm);
        let side = !model.reach.far_from_forbidden(index, SIDE_MM);
        (layer, self.edge[index], side, row, if row.rem_euclid(2) == 0 { along } else { -along })
    }
}
