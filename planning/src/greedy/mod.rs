//! The greedy planner: the stroke that removes most residual core for the least healthy tissue, now.
//!
//! A motion goes through the open to above the start of a stroke (energy off), cuts, and ends in the open.
//! With nothing removable left it takes the tip out of the head, tells the surgeon what stays behind and
//! why, and finishes.
//!
//! **Termination:** every executed stroke either removes tissue or wears its places; every rejection counts
//! against a place; worn and rejected places are barred for ever, and there are finitely many of them.
//! **Allocation:** per plan, about a dozen arrays of the fine region's size. **Not protected against:** a better
//! order of cuts than the greedy one.

mod left;
mod route;
mod stroke;
#[cfg(test)]
mod tests;

use crate::field::Field;
use crate::planner::{Planner, View};
use crate::reach::{Reach, corridor_axis, forbidden_reach_mm};
use crate::settings::{GreedySettings, OutOfRange};
use bregma_core::digest::Digest;
use bregma_core::flow::{Proposal, Request};
use left::Left;
use route::Router;
use stroke::Search;

/// See the module.
#[derive(Debug, Clone)]
pub struct Greedy {
    settings: GreedySettings,
    asked: bool,
}

impl Greedy {
    /// With settings of the configuration.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn new(settings: GreedySettings) -> Result<Self, OutOfRange> {
        settings.check()?;
        Ok(Self { settings, asked: false })
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

impl Planner for Greedy {
    fn name(&self) -> &'static str {
        "greedy"
    }

    fn model(&self) -> Digest {
        self.settings.digest()
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
        let reach_mm = forbidden_reach_mm(view.shaft_radius_mm, &settings, view.scene.grid.spacing_mm);
        let field = Field::new(view.scene, view.anatomy, &axis, reach_mm);
        let reach = Reach::new(&field, view, axis, &settings);
        let router = Router::new(&reach, &settings, view.tip);
        let mut search = Search::new(&field, &reach, &settings, view);
        let mut motions = search.candidates(&router);
        if motions.is_empty() && settings.opening_mm > 0.0 && search.open_ways() {
            motions = search.candidates(&router);
        }
        if motions.is_empty() && router.inside() && !view.memory.leaving_is_barred() {
            motions.extend(router.motion(&router.leave()));
        }
        if motions.is_empty() {
            let left = Left::count(view, &reach, settings.layer_mm);
            return Proposal::Request(self.last_words(&left));
        }
        self.asked = false;
        Proposal::Motions(motions)
    }
}
