//! What a planner is given, and what it gives back.

use crate::memory::Memory;
use bregma_core::digest::Digest;
use bregma_core::flow::{Anatomy, Proposal, Scene};
use bregma_core::frame::{Patient, Pose, Tip};

/// All that a planner may look at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The newest scene.
    pub scene: &'a Scene,
    /// The anatomy that the scene was made with.
    pub anatomy: &'a Anatomy,
    /// Where the tip is commanded to be; every motion starts exactly there.
    pub tip: Pose<Patient, Tip>,
    /// Radius of the instrument's shaft, mm.
    pub shaft_radius_mm: f64,
    /// What was rejected, and what did not yield.
    pub memory: &'a Memory,
}

/// Decides what to do next. The same views in the same order give the same proposals.
pub trait Planner: Send {
    /// Its name, as written in plans.
    fn name(&self) -> &'static str;
    /// Hash of its model, or of its settings where it has none.
    fn model(&self) -> Digest;
    /// The next motions, best first, or a request. [`bregma_core::flow::Request::Finish`] is the last word.
    fn propose(&mut self, view: &View<'_>) -> Proposal;
}
