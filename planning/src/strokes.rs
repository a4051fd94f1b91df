//! A planner that removes tissue stroke by stroke; where each goes is a [`Course`]'s.
//!
//! A motion goes through the open to above the start of a stroke (energy off), cuts, and ends in the open.
//! The instrument goes through one pivot of the opening for as long as that yields, then through the one that most of what is
//! left is reached by: going from one to another takes the tip out of the head.
//! With nothing removable left it takes the tip out of the head, tells the surgeon what stays behind and
//! why, and finishes.
//!
//! **Termination:** every executed stroke either removes tissue or wears its places; every rejection counts
//! against a place; worn and rejected places are barred for ever, and there are finitely many of them.
//! **Allocation:** per plan, about a dozen arrays of the fine region's size.

use crate::left::Left;
use crate::model::{Model, Stroke, motions};
use crate::planner::{Planner, View};
use crate::reach::{Reach, corridor_axis};
use crate::route::Router;
use crate::settings::{GreedySettings, OutOfRange};
use bregma_core::digest::Digest;
use bregma_core::flow::{Motion, Proposal, Request};
use nalgebra::Point3;
use std::sync::Arc;

/// Other pivots that are tried in one plan.
const PIVOTS_TRIED: usize = 4;

/// Where strokes start and go.
pub(crate) trait Course: Send {
    /// As plans name the planner.
    const NAME: &'static str;

    /// Hash of all that it decides by.
    fn digest(&self, settings: &GreedySettings) -> Digest;

    /// Hears that a new plan is made.
    fn begin(&mut self, _model: &Model, _view: &View<'_>) {}

    /// Voxels to start at, best first, with how good each is.
    fn starts(&mut self, model: &Model, here: &Point3<f64>) -> Vec<(f64, usize)> {
        model.starts(here)
    }

    /// Where the stroke goes on to; `None` ends it.
    fn next(&mut self, model: &mut Model, stroke: &Stroke, starts: &[(f64, usize)]) -> Option<Point3<f64>>;
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Strokes<C> {
    settings: GreedySettings,
    course: C,
    /// Which of the opening's pivots the instrument goes through.
    pivot: usize,
    asked: bool,
}

#[allow(private_bounds, reason = "courses are this crate's own")]
impl<C: Course> Strokes<C> {
    pub(crate) fn of(course: C, settings: GreedySettings) -> Result<Self, OutOfRange> {
        settings.check()?;
        Ok(Self { settings, course, pivot: 0, asked: false })
    }

    /// Motions through one pivot, which is kept where there are any.
    fn through(&mut self, pivot: usize, reaches: &[Arc<Reach>], model: &mut Model, view: &View<'_>) -> Vec<Motion> {
        let reach = &reaches[pivot];
        model.through(Arc::clone(reach));
        self.course.begin(model, view);
        let router = Router::new(Arc::clone(reach), &self.settings, view.tip);
        let found = motions(&mut self.course, model, &router);
        if !found.is_empty() {
            self.pivot = pivot;
        }
        found
    }

    /// What to say when no motion is left.
    fn last_words(&mut self, left: &Left) -> Request {
        if left.total_ml() > self.settings.ask_ml && !self.asked {
            self.asked = true;
            return Request::AskSurgeon(left.sentence());
        }
        Request::Finish
    }
}

/// Other pivots that worthwhile bites are reached through, those of most of them first.
fn others(but: usize, reaches: &[Arc<Reach>], model: &Model) -> Vec<usize> {
    let bites: Vec<_> = model.starts(&reaches[0].pivot).into_iter().map(|(_, i)| model.centre(i)).collect();
    let through = |reach: &Reach| bites.iter().filter(|at| reach.shaft_clear(at, model.settings.layer_mm)).count();
    let mut ranked: Vec<(usize, usize)> = (0..reaches.len())
        .filter(|n| *n != but)
        .map(|n| (through(&reaches[n]), n))
        .filter(|(bites, _)| *bites > 0)
        .collect();
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().take(PIVOTS_TRIED).map(|(_, n)| n).collect()
}

impl<C: Course> Planner for Strokes<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn model(&self) -> Digest {
        self.course.digest(&self.settings)
    }

    fn propose(&mut self, view: &View<'_>) -> Proposal {
        let settings = self.settings;
        let Some(axis) = corridor_axis(view.anatomy) else {
            let why = "the corridor's entry and target are the same point: no way in is planned".to_owned();
            return Proposal::Request(if self.asked {
                Request::Finish
            } else {
                self.asked = true;
                Request::AskSurgeon(why)
            });
        };
        let reaches: Vec<Arc<Reach>> = Reach::pivots(view, axis, &settings).into_iter().map(Arc::new).collect();
        let mut model = Model::new(Arc::clone(&reaches[self.pivot]), &settings, view);
        let mut found = self.through(self.pivot, &reaches, &mut model, view);
        if found.is_empty() {
            for pivot in others(self.pivot, &reaches, &model) {
                found = self.through(pivot, &reaches, &mut model, view);
                if !found.is_empty() {
                    break;
                }
            }
        }
        if found.is_empty()
            && settings.opening_mm > 0.0
            && let Some(way) = model.way(&reaches)
        {
            model.open(&way);
            found = self.through(way.pivot, &reaches, &mut model, view);
        }
        let router = Router::new(Arc::clone(&reaches[self.pivot]), &settings, view.tip);
        if found.is_empty() && router.inside() && !view.memory.leaving_is_barred() {
            found.extend(router.motion(&router.leave()));
        }
        if found.is_empty() {
            let left = Left::count(view, &reaches, settings.layer_mm);
            return Proposal::Request(self.last_words(&left));
        }
        self.asked = false;
        Proposal::Motions(found)
    }
}
