//! The surgeon of a simulated case: gives the orders that a person would, from what the displays would show.
//!
//! Arms when the first scene is there, orders Resume after a hold whose reason is gone, takes the tip out
//! when held for too long, and ends the case when the planner asks for it or when nothing goes on any more.
//! Heavy bleeding, lost sight, a registration that no longer holds or a scan that is to be made ends autonomy for a while:
//!
//! ```text
//! watching ─► stopping (pedal up) ─► leaving (pedal down, retract; pedal up and disarm outside) ─► treating ─► watching
//! ```
//! **Intraoperative MRI** is made when the planner asks for it, and before the case is ended, if anything was done since the last; so
//! often at most as there is time for.
//!
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
/// Bringing the scanner, scanning and registering takes so long. In a real theatre it is 24 minutes at low field; simulated removals are
/// shortened likewise.
const SCANS: Duration = Duration::from_secs(60);
/// Touching a landmark with the pointer takes so long.
const TOUCHES: Duration = Duration::from_secs(3);
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
    /// Since when a landmark is touched to see that a registration holds, which nothing arms without.
    checking: Option<Instant>,
    handovers: u64,
    /// How many scans there is time for, and how many were taken up.
    scans_left: u32,
    scans_made: u64,
    /// Whether one is to be made; since when the scanner is in place.
    wants_scan: bool,
    scanning: Option<Instant>,
    /// Whether the arm was active since the last.
    worked: bool,
    /// How the case ends if no scan can be made.
    ends: Option<Ended>,
}

impl Surgeon {
    /// Before the case.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With time for so many scans.
    #[must_use]
    pub fn with_scans(scans: u32) -> Self {
        Self { scans_left: scans, ..Self::default() }
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
            Proposal::Request(Request::NewMri) => {
                self.wants_scan |= self.scans_left > 0;
                return;
            }
            Proposal::Request(Request::Irrigate | Request::Look) | Proposal::Motions(_) => return,
        };
        if self.wants_scan || self.scans_left > 0 && self.worked {
            self.wants_scan = true;
            self.ends.get_or_insert(ended);
            return;
        }
        // A planner that asked goes on to finish: the question is how the case ended.
        self.ended.get_or_insert(ended);
    }

    /// The display says whether the registration still holds, and whether nobody has seen that it does.
    pub fn sees_registration(&mut self, now: Instant, lost: bool, unchecked: bool) {
        self.checking = (unchecked && !lost && self.seen_scene).then(|| self.checking.unwrap_or(now));
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

    /// Whether a landmark was touched just now, for the check before arming.
    #[must_use]
    pub fn checks(&self, now: Instant) -> bool {
        self.checking.and_then(|since| now.since(since)).is_some_and(|age| age >= TOUCHES)
    }

    /// Whether a scan is to be made just now.
    #[must_use]
    pub fn scans(&mut self, now: Instant) -> bool {
        let there = self.wants_scan && self.care == Care::Treating && !self.treats && !self.sight.treating;
        self.scanning = there.then(|| self.scanning.unwrap_or(now));
        self.scanning.and_then(|since| now.since(since)).is_some_and(|age| age >= SCANS)
    }

    /// A scan was taken up, or could not be: then the case goes on without, or ends as it was to.
    pub fn scanned(&mut self, taken_up: bool) {
        (self.wants_scan, self.scanning, self.worked) = (false, None, false);
        let ends = self.ends.take();
        if taken_up {
            self.scans_left = self.scans_left.saturating_sub(1);
            self.scans_made += 1;
        } else {
            // What is not there now will not be there soon.
            self.scans_left = 0;
            self.ended = self.ended.take().or(ends);
        }
    }

    /// How many scans were taken up.
    #[must_use]
    pub const fn scans_made(&self) -> u64 {
        self.scans_made
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
                } else if self.wants_scan && self.ended.is_none() {
                    self.care = Care::Stopping;
                }
            }
            Care::Treating if sight.treating => self.treats = false,
            // It was begun, it is over, and the wound can be seen again.
            Care::Treating
                if !self.treats && !blind && !sight.heavy_bleeding && !self.unregistered && !self.wants_scan =>
            {
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
                        self.treats = !self.unregistered && !self.wants_scan;
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
        self.worked |= sent.state == GateState::Active && !sent.retracting;
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
            // A landmark is touched first.
            GateState::Disarmed if self.checking.is_some() => {
                self.moved = Some(now);
                return None;
            }
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
    fn a_landmark_is_touched_before_arming() {
        let mut surgeon = Surgeon::new();
        surgeon.sees_registration(at(0), false, true);
        assert!(!surgeon.checks(at(60_000)), "nothing is on the display yet");
        surgeon.sees_scene();
        surgeon.sees_registration(at(1000), false, true);
        assert_eq!(surgeon.orders(at(1000), &sent(GateState::Disarmed, false)), None);
        assert!(!surgeon.checks(at(3900)) && surgeon.checks(at(4000)));
        assert_eq!(surgeon.orders(at(4000), &sent(GateState::Disarmed, false)), None);
        surgeon.sees_registration(at(4250), false, false);
        assert!(!surgeon.checks(at(4250)));
        assert_eq!(surgeon.orders(at(4250), &sent(GateState::Disarmed, false)), Some(Order::Arm));
    }

    #[test]
    fn without_a_registration_the_arm_comes_out_and_the_landmarks_are_touched_again() {
        let mut surgeon = Surgeon::new();
        surgeon.sees_scene();
        surgeon.sees_registration(at(0), false, false);
        assert!(surgeon.pedal());
        surgeon.sees_registration(at(1000), true, false);
        surgeon.sees_wound(at(1000), SurgeonSight { inside: true, ..SurgeonSight::default() });
        assert!(!surgeon.pedal() && !surgeon.registers(at(1000)));
        assert_eq!(surgeon.orders(at(1500), &sent(GateState::Hold, false)), None);
        assert_eq!(surgeon.orders(at(2100), &sent(GateState::Hold, false)), Some(Order::Retract));
        surgeon.sees_wound(at(9000), SurgeonSight::default());
        assert_eq!(surgeon.orders(at(9000), &sent(GateState::Armed, false)), Some(Order::Disarm));
        assert_eq!(surgeon.orders(at(9600), &sent(GateState::Disarmed, false)), None);
        surgeon.sees_registration(at(9750), true, false);
        surgeon.sees_wound(at(9750), SurgeonSight::default());
        surgeon.sees_registration(at(50_000), true, false);
        assert!(!surgeon.pedal() && !surgeon.registers(at(50_000)) && surgeon.registers(at(54_750)));
        assert_eq!(surgeon.orders(at(54_900), &sent(GateState::Disarmed, false)), None);
        surgeon.sees_registration(at(55_000), false, false);
        surgeon.sees_wound(at(55_000), SurgeonSight::default());
        assert_eq!(surgeon.orders(at(56_000), &sent(GateState::Disarmed, false)), Some(Order::Arm));
        assert_eq!((surgeon.handovers(), surgeon.ended()), (1, None));
    }

    fn asks(proposal: Request) -> Plan {
        Plan {
            sequence: Sequence(1),
            trace: bregma_core::flow::TraceId(0),
            scene: Sequence(1),
            planner: "greedy",
            model: bregma_core::digest::Digest::default(),
            proposal: Proposal::Request(proposal),
            decided: Instant::START,
        }
    }

    /// Works for a while, then brings the arm out for a scan that is wanted; when it is.
    fn brought_out(surgeon: &mut Surgeon, from: u64) -> u64 {
        surgeon.sees_wound(at(from), SurgeonSight { inside: true, ..SurgeonSight::default() });
        assert!(!surgeon.pedal() && !surgeon.scans(at(from)));
        assert_eq!(surgeon.orders(at(from), &sent(GateState::Hold, false)), None);
        assert_eq!(surgeon.orders(at(from + 600), &sent(GateState::Hold, false)), Some(Order::Retract));
        surgeon.sees_wound(at(from + 5000), SurgeonSight::default());
        assert_eq!(surgeon.orders(at(from + 5000), &sent(GateState::Armed, false)), Some(Order::Disarm));
        assert_eq!(surgeon.orders(at(from + 5600), &sent(GateState::Disarmed, false)), None);
        surgeon.sees_wound(at(from + 6000), SurgeonSight::default());
        assert!(!surgeon.treats() && !surgeon.scans(at(from + 6000)) && !surgeon.scans(at(from + 65_000)));
        assert!(surgeon.scans(at(from + 66_000)));
        assert_eq!(surgeon.orders(at(from + 66_000), &sent(GateState::Disarmed, false)), None);
        from + 66_000
    }

    #[test]
    fn a_scan_is_made_when_it_is_asked_for_and_before_the_end_and_no_more_often_than_there_is_time() {
        let mut surgeon = Surgeon::with_scans(2);
        surgeon.sees_scene();
        surgeon.hears(&asks(Request::NewMri));
        let now = brought_out(&mut surgeon, 0);
        surgeon.scanned(true);
        surgeon.sees_wound(at(now), SurgeonSight::default());
        assert!(surgeon.pedal() && !surgeon.scans(at(now)));
        assert_eq!(surgeon.orders(at(now + 600), &sent(GateState::Disarmed, false)), Some(Order::Arm));
        assert_eq!(surgeon.orders(at(now + 1200), &sent(GateState::Active, false)), None);
        // Whether nothing is left, the second says.
        surgeon.hears(&asks(Request::Finish));
        assert_eq!(surgeon.ended(), None);
        let now = brought_out(&mut surgeon, now + 2000);
        surgeon.scanned(true);
        surgeon.sees_wound(at(now), SurgeonSight::default());
        assert!(surgeon.pedal());
        surgeon.hears(&asks(Request::NewMri));
        surgeon.sees_wound(at(now + 300), SurgeonSight::default());
        assert!(surgeon.pedal(), "there is no time for a third");
        surgeon.hears(&asks(Request::Finish));
        assert_eq!((surgeon.ended(), surgeon.scans_made()), (Some(&Ended::Finished), 2));
        assert_eq!(surgeon.handovers(), 0);
    }

    #[test]
    fn without_a_scanner_the_case_goes_on_or_ends_as_it_was_to() {
        let mut surgeon = Surgeon::with_scans(2);
        surgeon.sees_scene();
        assert_eq!(surgeon.orders(at(0), &sent(GateState::Active, false)), None);
        surgeon.hears(&asks(Request::AskSurgeon("0.3 mL is left".to_owned())));
        assert_eq!(surgeon.ended(), None);
        brought_out(&mut surgeon, 1000);
        surgeon.scanned(false);
        assert_eq!(surgeon.ended(), Some(&Ended::Asked("0.3 mL is left".to_owned())));
        // Where nothing was done since the start, none is made before the end.
        let mut surgeon = Surgeon::with_scans(1);
        surgeon.sees_scene();
        surgeon.hears(&asks(Request::Finish));
        assert_eq!(surgeon.ended(), Some(&Ended::Finished));
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
