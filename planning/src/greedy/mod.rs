//! The greedy planner: the stroke that removes most residual core for the least healthy tissue, now.
//!
//! A stroke starts at a good bite and goes on to the neighbour with the most worth for its length; where nothing is
//! left beside the tip, a little farther. **Not protected against:** a better order of cuts than the greedy one.

#[cfg(test)]
mod tests;

use crate::model::{DEPTH_PRICE, Model, Stroke, UNIT, offset, offsets};
use crate::settings::{GreedySettings, OutOfRange};
use crate::strokes::{Course, Strokes};
use bregma_core::digest::Digest;
use nalgebra::Point3;

/// Price of a mm of stroke.
pub(crate) const LENGTH_PRICE: f64 = 60.0;
/// Longest jump within a stroke, mm, and the least worth of the bite at its end.
const HOP_MM: f64 = 8.0;
const HOP_WORTH: i32 = 2 * UNIT;
/// Steps of a stroke in voxels²: up to 2.2 voxels, 2.8 mm; two spheres of 2 mm still overlap.
const STEP2_MAX: i32 = 5;

/// The planner.
pub type Greedy = Strokes<Nearest>;

impl Greedy {
    /// With settings of the configuration.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn new(settings: GreedySettings) -> Result<Self, OutOfRange> {
        Self::of(Nearest::default(), settings)
    }
}

/// Goes on to what is worth most beside the tip.
#[derive(Debug, Clone)]
pub struct Nearest {
    steps: Vec<[i32; 3]>,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { steps: offsets(f64::from(STEP2_MAX)).into_iter().filter(|o| *o != [0, 0, 0]).collect() }
    }
}

impl Course for Nearest {
    const NAME: &'static str = "greedy";

    fn digest(&self, settings: &GreedySettings) -> Digest {
        settings.digest()
    }

    fn next(&mut self, model: &mut Model, stroke: &Stroke, starts: &[(f64, usize)]) -> Option<Point3<f64>> {
        let grid = model.grid();
        let at = grid.containing(&stroke.at).map(|v| grid.index(v))?;
        let next = self.neighbour(model, at, || 0.0).or_else(|| hop(model, at, starts))?;
        Some(model.centre(next))
    }
}

impl Nearest {
    /// The adjacent bite with the most worth for its length; `whim` is added to each one's.
    pub(crate) fn neighbour(&self, model: &mut Model, at: usize, mut whim: impl FnMut() -> f64) -> Option<usize> {
        let grid = model.grid();
        let here = grid.voxel(at);
        let mut best: Option<(f64, usize)> = None;
        for step in &self.steps {
            let Some(there) = offset(here, *step, grid.dims) else { continue };
            let i = grid.index(there);
            if !model.may_cut(i) {
                continue;
            }
            let worth = model.bite_worth(there);
            if worth < UNIT {
                continue;
            }
            let length2 = step.iter().map(|v| f64::from(v * v)).sum::<f64>();
            let value = f64::from(worth)
                - LENGTH_PRICE * length2.sqrt() * grid.spacing_mm
                - DEPTH_PRICE * model.reach.polar(&model.centre(i)).1
                + whim();
            if best.is_some_and(|(b, _)| value <= b) || !model.shaft_clear(i) {
                continue;
            }
            let middle = nalgebra::center(&model.centre(at), &model.centre(i));
            if model.reach.shaft_clear(&middle, model.settings.layer_mm) {
                best = Some((value, i));
            }
        }
        best.map(|(_, i)| i)
    }
}

/// A farther bite, where nothing is left beside the tip.
fn hop(model: &Model, at: usize, starts: &[(f64, usize)]) -> Option<usize> {
    const TRIES: usize = 6;
    let grid = model.grid();
    let from = model.centre(at);
    let mut options: Vec<(f64, usize)> = Vec::new();
    for &(_, i) in starts {
        let length = nalgebra::distance(&model.centre(i), &from);
        if i == at || length > HOP_MM {
            continue;
        }
        let worth = model.bite_worth(grid.voxel(i));
        if worth >= HOP_WORTH {
            options.push((f64::from(worth) - LENGTH_PRICE * length, i));
        }
    }
    options.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    options.into_iter().take(TRIES).map(|(_, i)| i).find(|&i| {
        let to = model.centre(i);
        model.line_worth(&from, &to) >= UNIT && model.reach.cut_line_clear(&from, &to, model.settings.layer_mm)
    })
}
