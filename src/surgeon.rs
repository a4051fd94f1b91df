//! The surgeon of a simulated case: gives the orders that a person would, from what the displays would show.
//!
//! Arms when the first scene is there, orders Resume after a hold whose reason is gone, takes the tip out
//! when held for too long, and ends the case when the planner asks for it or when nothing goes on any more.
//! **Deterministic:** a function of what it was shown and of `now`. It never sees ground truth.

use bregma_core::flow::{GateState, Order, Plan, Proposal, Request, Sent};
use bregma_core::time::{Duration, Instant};

/// What one person waits before going on after a hold.
const THINKS: Duration = Duration::from_millis(500);
/// A case in which nothing is sent for so long is over.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the case ended, as the surgeon saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The planner found nothing left to remove.
    Finished,
    /// The planner asked, and the surgeon stops here.
    Asked(String),
    /// Nothing moved any more, with the gate's reason.
    Stuck(String),
}

/// The simulated case's surgeon.
#[derive(Debug, Default)]
pub struct Surgeon {
    seen_scene: bool,
    ordered: Option<Instant>,
    moved: Option<Instant>,
    ended: Option<Ended>,
}

impl Surgeon {
    /// Before the case.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A scene is on the display.
    pub const fn sees_scene(&mut self) {
        self.seen_scene = true;
    }

    /// The planner proposes something.
    pub fn hears(&mut self, plan: &Plan) {
        let ended = match &plan.proposal {
            Proposal::Request(Request::Finish) => Ended::Finished,
            Proposal::Request(Request::AskSurgeon(why)) => Ended::Asked(why.clone()),
            Proposal::Request(Request::Irrigate | Request::Look | Request::NewMri) | Proposal::Motions(_) => return,
        };
        // A planner that asked goes on to finish: the question is how the case ended.
        self.ended.get_or_insert(ended);
    }

    /// What to order now.
    pub fn orders(&mut self, now: Instant, sent: &Sent) -> Option<Order> {
        if sent.state == GateState::Active || self.moved.is_none() {
            self.moved = Some(now);
        }
        let still = self.moved.and_then(|at| now.since(at)).unwrap_or(Duration::ZERO);
        if self.ended.is_none() && still > PATIENCE {
            let why = sent.reason.map_or_else(|| "no motion was approved".to_owned(), |r| r.to_string());
            self.ended = Some(Ended::Stuck(why));
        }
        let thought = self.ordered.and_then(|at| now.since(at)).is_none_or(|age| age >= THINKS);
        if !thought || !self.seen_scene || self.ended.is_some() {
            return None;
        }
        let order = match sent.state {
            GateState::Disarmed => Order::Arm,
            GateState::Hold => {
                if sent.reason == Some(bregma_core::faults::Reason::HeldTooLong) {
                    Order::Retract
                } else {
                    Order::Resume
                }
            }
            GateState::Fault => Order::ClearFault,
            GateState::Armed | GateState::Active => return None,
        };
        self.ordered = Some(now);
        Some(order)
    }

    /// Whether the case is over, and how.
    #[must_use]
    pub const fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }
}
