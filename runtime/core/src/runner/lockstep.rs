//! All stages in a fixed order on one thread, on a simulated clock: scenarios and replay.

use super::{StageStats, Stepper, Timing};
use crate::time::{Clock, Instant, RealClock, SimClock};
use std::sync::Arc;

/// Most rounds in which stages hand each other messages at one point in time: longer than the longest
/// way through the house (ingest, align, perceive, plan, validate, command), short enough to catch a
/// circle.
const ROUNDS_MAX: usize = 16;

/// Stages kept feeding each other at one point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{stage} was still due after {rounds} rounds at {now}: two stages feed each other in a circle")]
pub struct Unsettled {
    /// The stage that was still due.
    pub stage: &'static str,
    /// Rounds taken.
    pub rounds: usize,
    /// The time at which it happened.
    pub now: Instant,
}

/// The lock-step executor.
pub struct LockStep {
    nodes: Vec<Box<dyn Stepper>>,
    clock: SimClock,
    watch: RealClock,
}

impl LockStep {
    /// On a simulated clock, which its owner advances.
    #[must_use]
    pub fn new(clock: SimClock) -> Self {
        Self { nodes: Vec::new(), clock, watch: RealClock::start() }
    }

    /// Adds a stage; they step in the order of adding.
    pub fn add(&mut self, node: impl Stepper + 'static) {
        self.nodes.push(Box::new(node));
    }

    /// Adds a stage that is boxed already.
    pub fn add_boxed(&mut self, node: Box<dyn Stepper>) {
        self.nodes.push(node);
    }

    /// Steps every stage that is due, in order, until none is.
    ///
    /// # Errors
    /// [`Unsettled`] when they feed each other without end.
    pub fn settle(&mut self) -> Result<(), Unsettled> {
        let now = self.clock.now();
        for _ in 0..ROUNDS_MAX {
            let mut stepped = false;
            for node in &mut self.nodes {
                if node.due(now) {
                    node.step(now, Timing::Simulated(&self.watch));
                    stepped = true;
                }
            }
            if !stepped {
                return Ok(());
            }
        }
        match self.nodes.iter().find(|n| n.due(now)) {
            Some(node) => Err(Unsettled { stage: node.name(), rounds: ROUNDS_MAX, now }),
            None => Ok(()),
        }
    }

    /// When the next stage is due by time alone.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.nodes.iter().filter_map(|n| n.next_due()).min()
    }

    /// Figures of every stage.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, Arc<StageStats>)> + '_ {
        self.nodes.iter().map(|n| (n.name(), n.figures()))
    }
}
