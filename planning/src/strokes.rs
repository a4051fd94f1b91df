//! A planner that removes tissue stroke by stroke; where each goes is a [`Course`]'s.
//!
//! A motion goes through the open to above the start of a stroke (energy off), cuts, and ends in the open.
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
use bregma_core::flow::{Proposal, Request};
use nalgebra::Point3;
use std::sync::Arc;

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
    asked: bool,
}

#[allow(private_bounds, reason = "courses are this crate's own")]
impl<C: Course> Strokes<C> {
    pub(crate) fn of(course: C, settings: GreedySettings) -> Result<Self, OutOfRange> {
        settings.check()?;
        Ok(Self { settings, course, asked: false })
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
        let reach = Arc::new(Reach::new(view, axis, &settings));
        let router = Router::new(Arc::clone(&reach), &settings, view.tip);
        let mut model = Model::new(Arc::clone(&reach), &settings, view);
        self.course.begin(&model, view);
        let mut found = motions(&mut self.course, &mut model, &router);
        if found.is_empty() && settings.opening_mm > 0.0 && model.open_ways() {
            found = motions(&mut self.course, &mut model, &router);
        }
        if found.is_empty() && router.inside() && !view.memory.leaving_is_barred() {
            found.extend(router.motion(&router.leave()));
        }
        if found.is_empty() {
            let left = Left::count(view, &reach, settings.layer_mm);
            return Proposal::Request(self.last_words(&left));
        }
        self.asked = false;
        Proposal::Motions(found)
    }
}
