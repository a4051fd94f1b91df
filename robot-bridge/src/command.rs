//! The `command` stage: the gate over the validator's own `Approved`.
//!
//! This is the only place where the gate's approvals get their type, and that type can only be made by
//! the validator. **Allocation:** none in a step.

use crate::gate::Gate;
use crate::inspect::Refusal;
use crate::scenes::SceneStamp;
use crate::settings::{Settings, SettingsFault};
use crate::track::Approval;
use bregma_core::faults::Latched;
use bregma_core::flow::{
    ApprovedRecord, ArmState, Consent, Heartbeat, InstrumentState, Order, Reacted, Sent, Withdrawn,
};
use bregma_core::{All, Duration, Instant, Latest, Stage};
use bregma_physics::Approved;
use std::convert::Infallible;
use std::sync::Arc;

/// Most approvals read in one step.
pub const APPROVED_MAX: usize = 4;
/// Most withdrawals, and most orders, read in one step.
pub const WITHDRAWN_MAX: usize = 8;
/// Most orders read in one step.
pub const ORDERS_MAX: usize = 8;
/// Most scene stamps read in one step.
pub const STAMPS_MAX: usize = 8;

/// What the gate reads. The program fills `stamps` *after* `approved`, so that no approval is seen before
/// the scene that it rests on.
pub struct Inputs<A> {
    /// Approvals, in order.
    pub approved: All<A>,
    /// Approvals that no longer hold.
    pub withdrawn: All<Withdrawn>,
    /// What the arm says.
    pub arm: Latest<ArmState>,
    /// What the instrument's console says.
    pub instrument: Latest<InstrumentState>,
    /// The enabling input.
    pub consent: Latest<Consent>,
    /// The sign of life.
    pub heartbeat: Latest<Heartbeat>,
    /// Stamps of scenes, each published before its scene.
    pub stamps: All<SceneStamp>,
    /// A person's orders.
    pub orders: All<Order>,
    /// Faults that runners and edges have latched.
    pub latched: Latched,
}

impl<A> Default for Inputs<A> {
    fn default() -> Self {
        Self {
            approved: All::with_capacity(APPROVED_MAX),
            withdrawn: All::with_capacity(WITHDRAWN_MAX),
            arm: Latest::default(),
            instrument: Latest::default(),
            consent: Latest::default(),
            heartbeat: Latest::default(),
            stamps: All::with_capacity(STAMPS_MAX),
            orders: All::with_capacity(ORDERS_MAX),
            latched: Latched::default(),
        }
    }
}

/// What `command` reads.
pub type CommandIn = Inputs<Arc<Approved>>;

/// What was refused, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refused {
    /// What and why.
    pub what: Refusal,
    /// When.
    pub decided: Instant,
}

/// What `command` writes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CommandOut {
    /// Every step, once the arm has been heard: before that there is no place to stand.
    pub sent: Option<Sent>,
    /// On change.
    pub reacted: Option<Reacted>,
    /// The last approval or order that was refused in this step.
    pub refused: Option<Refused>,
}

impl Approval for Arc<Approved> {
    fn record(&self) -> &ApprovedRecord {
        Approved::record(self)
    }
}

/// The stage.
pub struct Command {
    gate: Gate<Arc<Approved>>,
}

impl Command {
    /// Disarmed, at a place that the arm's first word will tell.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn new(settings: Settings) -> Result<Self, SettingsFault> {
        Ok(Self { gate: Gate::new(settings)? })
    }
}

impl Stage for Command {
    type In = CommandIn;
    type Out = CommandOut;
    type Fault = Infallible;
    const NAME: &'static str = "command";
    const BUDGET: Duration = Duration::from_millis(1);

    fn step(&mut self, now: Instant, input: &CommandIn, out: &mut CommandOut) -> Result<(), Infallible> {
        self.gate.step(now, input, out);
        Ok(())
    }
}
