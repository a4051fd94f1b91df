//! The model-predictive planner: strokes that are best some bites ahead, by sampled rollouts.
//!
//! From where the tip stands, sequences of steps are drawn: each step is the greedy one but for a whim, larger from
//! sequence to sequence, and each sequence is tried in the model. Of the best, the first half is taken, and the next is looked for
//! from there. The greedy sequence is among them: what is found is never worth less than it. **Source:** Bertsekas,
//! Tsitsiklis and Wu, "Rollout algorithms for combinatorial optimization" (1997); receding horizons as in Mayne et al.,
//! "Constrained model predictive control" (2000). **Determinism:** draws follow from the scene's number and the place
//! where the tip stands, by whole numbers and sums only. **Not protected against:** a scene that is wrong: the model is
//! certain of what it was given.

mod draws;
#[cfg(test)]
mod tests;

use crate::greedy::{LENGTH_PRICE, Nearest};
use crate::model::{DEPTH_PRICE, Model, Stroke, UNIT};
use crate::planner::View;
use crate::settings::{GreedySettings, OutOfRange};
use crate::strokes::{Course, Strokes};
use bregma_core::digest::{Digest, Digester};
use draws::Draws;
use nalgebra::Point3;

/// Steps of a sequence, and those of it that are taken.
const AHEAD: usize = 12;
const TAKEN: usize = 6;
/// Sequences that are drawn beside the greedy one.
const DRAWN: usize = 40;
/// Whim of the last of them, in the worth of bites; those before have less.
const WHIM: f64 = 6.0 * UNIT as f64;

/// The planner.
pub type Mpc = Strokes<Ahead>;

impl Mpc {
    /// With settings of the configuration: those of the greedy planner.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn new(settings: GreedySettings) -> Result<Self, OutOfRange> {
        Self::of(Ahead::default(), settings)
    }
}

/// Steps that were decided on and not yet taken.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    nearest: Nearest,
    scene: u64,
    waiting: Vec<Point3<f64>>,
    /// Of which stroke: where its last step ended.
    expected: Option<Point3<f64>>,
}

/// Places in order, and what they are worth.
#[derive(Debug, Clone, Default)]
struct Sequence {
    worth: f64,
    way: Vec<Point3<f64>>,
}

impl Course for Ahead {
    const NAME: &'static str = "mpc";

    fn digest(&self, settings: &GreedySettings) -> Digest {
        let mut d = Digester::new("bregma mpc 1");
        for n in [AHEAD, TAKEN, DRAWN] {
            d.u64(n as u64);
        }
        d.f64(WHIM).digest(&settings.digest()).finish()
    }

    fn begin(&mut self, _model: &Model, view: &View<'_>) {
        self.scene = view.scene.id.0;
        self.waiting.clear();
        self.expected = None;
    }

    fn next(&mut self, model: &mut Model, stroke: &Stroke, starts: &[(f64, usize)]) -> Option<Point3<f64>> {
        if self.expected != Some(stroke.at) || self.waiting.is_empty() {
            self.waiting = self.look_ahead(model, stroke, starts);
            self.waiting.truncate(TAKEN);
            self.waiting.reverse();
        }
        let next = self.waiting.pop();
        self.expected = next;
        next
    }
}

impl Ahead {
    /// The best sequence of places from where a stroke is.
    fn look_ahead(&mut self, model: &mut Model, stroke: &Stroke, starts: &[(f64, usize)]) -> Vec<Point3<f64>> {
        let bits = stroke.at.coords.iter().fold(self.scene, |seed, c| seed.rotate_left(21) ^ c.to_bits());
        let mut draws = Draws::new(bits);
        let mut best = self.tried(model, stroke, starts, || 0.0);
        for n in 1..=DRAWN {
            let whim = WHIM * n as f64 / DRAWN as f64;
            let drawn = self.tried(model, stroke, starts, || whim * draws.about_zero());
            if drawn.worth > best.worth {
                best = drawn;
            }
        }
        best.way
    }

    /// A sequence, cut off where it was worth most.
    fn tried(
        &mut self,
        model: &mut Model,
        stroke: &Stroke,
        starts: &[(f64, usize)],
        mut whim: impl FnMut() -> f64,
    ) -> Sequence {
        let (mark, grid) = (model.mark(), model.grid());
        let mut stroke = stroke.clone();
        let (mut way, mut worth, mut best) = (Vec::with_capacity(AHEAD), 0.0, (0.0, 0));
        while way.len() < AHEAD && stroke.may_go_on(model) {
            let beside = grid.containing(&stroke.at).map(|v| grid.index(v));
            let beside = beside.and_then(|at| self.nearest.neighbour(model, at, &mut whim)).map(|i| model.centre(i));
            let Some(next) = beside.or_else(|| self.nearest.next(model, &stroke, starts)) else { break };
            let (from, before) = (stroke.at, stroke.net);
            stroke.cut(model, &next);
            worth += value(model, &from, &next, stroke.net - before);
            way.push(next);
            if worth > best.0 {
                best = (worth, way.len());
            }
        }
        model.put_back(mark);
        way.truncate(best.1);
        Sequence { worth: best.0, way }
    }
}

/// What a step is worth: what it takes, less the price of its length and of going deeper.
fn value(model: &Model, from: &Point3<f64>, to: &Point3<f64>, net: i32) -> f64 {
    let deeper = (model.reach.polar(to).1 - model.reach.polar(from).1).max(0.0);
    f64::from(net) - LENGTH_PRICE * nalgebra::distance(from, to) - DEPTH_PRICE * deeper
}
