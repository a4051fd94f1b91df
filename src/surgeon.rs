//! The surgeon of a simulated case: gives the orders that a person would, from what the displays would show.
//!
//! Arms when the first scene is there, orders Resume after a hold whose reason is gone, takes the tip out
//! when held for too long, and ends the case when the planner asks for it or when nothing goes on any more.
//! Heavy bleeding, lost sight or a registration that no longer holds ends autonomy for a while:
//!
//! ```text
//! watching ─► stopping (pedal up) ─► leaving (pedal down, retract; pedal up and disarm outside) ─► treating ─► watching
//! ```
//! **Deterministic:** a function of what it was shown and of `now`. Of the patient it knows what the microscope
//! shows a person; it never sees ground truth.

use bregma_core::flow::{GateState, Order, Plan, Proposal, Request, Sent};
use bregma_core::time::{Duration, Instant};
use bregma_patient::SurgeonSight;

/// What one person waits before going on after a hold.
const THINKS: Duration = Duration::from_millis(500);
/// A case in which nothing is sent for so long is over.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lost sight is borne for so long.
const BLIND: Duration = Duration::from_secs(3);
/// Sight is lost when blood covers that share of the wall in view (an expert's estimate).
const COVERED: f64 = 0.5;
/// Or when something lies in front of that share of the picture's middle.
const OCCLUDED: f64 = 0.8;
/// Touching the landmarks again takes so long.
const REGISTERS: Duration = Duration::from_secs(45);
/// Within that time the arm must be out of the head.
const OUT_WITHIN: Duration = Duration::from_secs(120);

/// Who works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Care {
    /// The runtime; the surgeon watches with a foot on the pedal.
    #[default]
    Watching,
    /// Nobody yet: the pedal is up, the arm comes to a stand.
    Stopping,
    /// The arm leaves the head.
    Leaving { since: Instant },
    /// The surgeon.
    Treating,
}

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
    care: Care,
    sight: SurgeonSight,
    blind_since: Option<Instant>,
    treats: bool,
    /// Whether the registration no longer holds, and since when landmarks are touched again.
    unregistered: bool,
    touching: Option<Instant>,
    handovers: u64,
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

    /// The display says whether the registration still holds.
    pub fn sees_registration(&mut self, now: Instant, lost: bool) {
        self.unregistered = lost;
        self.touching = (lost && self.care == Care::Treating).then(|| self.touching.unwrap_or(now));
        if lost && self.care == Care::Watching && self.seen_scene && self.ended.is_none() {
            self.care = Care::Stopping;
            self.handovers += 1;
        }
    }

    /// Whether the last landmark was touched just now.
    #[must_use]
    pub fn registers(&self, now: Instant) -> bool {
        self.touching.and_then(|since| now.since(since)).is_some_and(|age| age >= REGISTERS)
    }

    /// Looks into the wound.
    pub fn sees_wound(&mut self, now: Instant, sight: SurgeonSight) {
        self.sight = sight;
        let blind = sight.covered >= COVERED || sight.occluded >= OCCLUDED;
        self.blind_since = blind.then(|| self.blind_since.unwrap_or(now));
        match self.care {
            Care::Watching => {
                let for_long = self.blind_since.and_then(|since| now.since(since)).is_some_and(|age| age >= BLIND);
                if self.seen_scene && self.ended.is_none() && (sight.heavy_bleeding || for_long) {
                    self.care = Care::Stopping;
                    self.handovers += 1;
                }
            }
            Care::Treating if sight.treating => self.treats = false,
            // It was begun, it is over, and the wound can be seen again.
            Care::Treating if !self.treats && !blind && !sight.heavy_bleeding && !self.unregistered => {
                self.care = Care::Watching;
            }
            // What came meanwhile is treated, too; what only stands in the way is waited for.
            Care::Treating => self.treats |= sight.heavy_bleeding || sight.covered >= COVERED,
            Care::Stopping | Care::Leaving { .. } => {}
        }
    }

    /// Whether the surgeon holds the pedal down. Outside the head nothing shall move while the surgeon works.
    #[must_use]
    pub const fn pedal(&self) -> bool {
        match self.care {
            Care::Watching => true,
            Care::Leaving { .. } => self.sight.inside,
            Care::Stopping | Care::Treating => false,
        }
    }

    /// Whether the surgeon sets about to coagulate and rinse.
    #[must_use]
    pub const fn treats(&self) -> bool {
        self.treats
    }

    /// How often the surgeon took over.
    #[must_use]
    pub const fn handovers(&self) -> u64 {
        self.handovers
    }

    /// What to order while not only watching.
    fn takes_over(&mut self, now: Instant, sent: &Sent) -> Option<Order> {
        match self.care {
            Care::Watching | Care::Treating => None,
            Care::Stopping => {
                if sent.state != GateState::Active {
                    self.care = Care::Leaving { since: now };
                }
                None
            }
            Care::Leaving { since } => {
                if now.since(since).is_some_and(|age| age > OUT_WITHIN) {
                    self.ended = Some(Ended::Stuck("the arm could not be brought out for a handover".to_owned()));
                    return None;
                }
                match (self.sight.inside, sent.state) {
                    (_, GateState::Fault) => Some(Order::ClearFault),
                    (true, GateState::Disarmed) => Some(Order::Arm),
                    (true, GateState::Active) if sent.retracting => None,
                    (true, GateState::Active | GateState::Armed | GateState::Hold) => Some(Order::Retract),
                    (false, GateState::Disarmed) => {
                        self.care = Care::Treating;
                        self.treats = !self.unregistered;
                        None
                    }
                    (false, GateState::Active | GateState::Armed | GateState::Hold) => Some(Order::Disarm),
                }
            }
        }
    }

    /// What to order now.
    pub fn orders(&mut self, now: Instant, sent: &Sent) -> Option<Order> {
        if sent.state == GateState::Active || self.moved.is_none() || self.care != Care::Watching {
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
        if self.care != Care::Watching {
            let order = self.takes_over(now, sent);
            self.ordered = order.map(|_| now).or(self.ordered);
            return order;
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

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::arm::Joints;
    use bregma_core::flow::{Energy, Sequence};

    const HEAVY: SurgeonSight =
        SurgeonSight { covered: 0.2, occluded: 0.0, heavy_bleeding: true, inside: true, treating: false };

    fn at(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    fn sent(state: GateState, retracting: bool) -> Sent {
        Sent {
            state,
            joints: Joints::zeros(7),
            energy: Energy::OFF,
            approval: None,
            retracting,
            finished: Sequence(0),
            consent: None,
            reason: None,
            sent: Instant::START,
        }
    }

    #[test]
    fn a_heavy_bleeding_is_taken_over_treated_and_handed_back() {
        let mut surgeon = Surgeon::new();
        surgeon.sees_scene();
        assert_eq!(surgeon.orders(at(0), &sent(GateState::Disarmed, false)), Some(Order::Arm));
        surgeon.sees_wound(at(1000), SurgeonSight { inside: true, ..SurgeonSight::default() });
        assert!(surgeon.pedal() && surgeon.handovers() == 0);
        // The pedal goes up at once; nothing is ordered before the arm stands.
        surgeon.sees_wound(at(1250), HEAVY);
        assert!(!surgeon.pedal() && surgeon.handovers() == 1);
        assert_eq!(surgeon.orders(at(1250), &sent(GateState::Active, false)), None);
        assert_eq!(surgeon.orders(at(1300), &sent(GateState::Hold, false)), None);
        assert!(surgeon.pedal(), "the arm leaves only with consent");
        assert_eq!(surgeon.orders(at(1304), &sent(GateState::Hold, false)), Some(Order::Retract));
        assert_eq!(surgeon.orders(at(2000), &sent(GateState::Active, true)), None);
        // Outside: nothing may start, and nothing is touched before the arm is disarmed.
        surgeon.sees_wound(at(9000), SurgeonSight { inside: false, ..HEAVY });
        assert!(!surgeon.pedal() && !surgeon.treats());
        assert_eq!(surgeon.orders(at(9000), &sent(GateState::Armed, false)), Some(Order::Disarm));
        assert_eq!(surgeon.orders(at(9600), &sent(GateState::Disarmed, false)), None);
        assert!(surgeon.treats());
        let treating = SurgeonSight { inside: false, treating: true, ..HEAVY };
        surgeon.sees_wound(at(9750), treating);
        assert!(!surgeon.treats() && !surgeon.pedal());
        assert_eq!(surgeon.orders(at(60_000), &sent(GateState::Disarmed, false)), None);
        assert_eq!(surgeon.ended(), None, "a handover is not the end");
        surgeon.sees_wound(at(70_000), SurgeonSight::default());
        assert!(surgeon.pedal());
        assert_eq!(surgeon.orders(at(70_000), &sent(GateState::Disarmed, false)), Some(Order::Arm));
        assert_eq!(surgeon.handovers(), 1);
    }

    #[test]
    fn without_a_registration_the_arm_comes_out_and_the_landmarks_are_touched_again() {
        let mut surgeon = Surgeon::new();
        surgeon.sees_scene();
        surgeon.sees_registration(at(0), false);
        assert!(surgeon.pedal());
        surgeon.sees_registration(at(1000), true);
        surgeon.sees_wound(at(1000), SurgeonSight { inside: true, ..SurgeonSight::default() });
        assert!(!surgeon.pedal() && !surgeon.registers(at(1000)));
        assert_eq!(surgeon.orders(at(1500), &sent(GateState::Hold, false)), None);
        assert_eq!(surgeon.orders(at(2100), &sent(GateState::Hold, false)), Some(Order::Retract));
        surgeon.sees_wound(at(9000), SurgeonSight::default());
        assert_eq!(surgeon.orders(at(9000), &sent(GateState::Armed, false)), Some(Order::Disarm));
        assert_eq!(surgeon.orders(at(9600), &sent(GateState::Disarmed, false)), None);
        surgeon.sees_registration(at(9750), true);
        surgeon.sees_wound(at(9750), SurgeonSight::default());
        surgeon.sees_registration(at(50_000), true);
        assert!(!surgeon.pedal() && !surgeon.registers(at(50_000)) && surgeon.registers(at(54_750)));
        assert_eq!(surgeon.orders(at(54_900), &sent(GateState::Disarmed, false)), None);
        surgeon.sees_registration(at(55_000), false);
        surgeon.sees_wound(at(55_000), SurgeonSight::default());
        assert_eq!(surgeon.orders(at(56_000), &sent(GateState::Disarmed, false)), Some(Order::Arm));
        assert_eq!((surgeon.handovers(), surgeon.ended()), (1, None));
    }

    #[test]
    fn lost_sight_is_borne_for_a_moment_only() {
        let blind = SurgeonSight { occluded: 0.9, inside: true, ..SurgeonSight::default() };
        let mut surgeon = Surgeon::new();
        surgeon.sees_scene();
        surgeon.sees_wound(at(0), blind);
        surgeon.sees_wound(at(2900), blind);
        surgeon.sees_wound(at(2950), SurgeonSight::default());
        surgeon.sees_wound(at(3100), blind);
        assert_eq!(surgeon.handovers(), 0);
        surgeon.sees_wound(at(6100), blind);
        assert_eq!((surgeon.handovers(), surgeon.pedal()), (1, false));
    }

    #[test]
    fn an_arm_that_does_not_come_out_ends_the_case() {
        let mut surgeon = Surgeon::new();
        surgeon.sees_scene();
        surgeon.sees_wound(at(0), HEAVY);
        let mut orders = Vec::new();
        for s in 0..200 {
            orders.extend(surgeon.orders(at(s * 1000), &sent(GateState::Hold, false)));
        }
        assert!(orders.len() > 50 && orders.iter().all(|order| *order == Order::Retract));
        assert!(matches!(surgeon.ended(), Some(Ended::Stuck(_))));
    }
}
