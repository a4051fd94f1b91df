//! Whatever happens, the arm moves only under an approval, never too fast, and energy is on only while an
//! approved path is played with consent.

use super::rig::{PERIOD, Rig};
use bregma_core::faults::{Latched, Reason};
use bregma_core::flow::{Energy, GateState, Order};
use bregma_core::{Duration, Instant};
use proptest::prelude::*;

/// Something that happens before a step.
#[derive(Debug, Clone)]
enum Happens {
    Nothing(u8),
    Pedal(bool, bool),
    HearPedal(bool),
    Heart(bool),
    See(bool),
    HearArm(bool),
    Ready(bool),
    Push(f64),
    Console(u8),
    Latch(u8),
    Give(Order),
    Approve { skip: u64, speed: f64, knots: usize, off: f64, forged: bool },
    Withdraw,
    Wait(u64),
    ClockBack,
}

fn order() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::Arm, Order::Disarm, Order::Resume, Order::Retract, Order::ClearFault])
}

fn happens() -> impl Strategy<Value = Happens> {
    let often = || prop::bool::weighted(0.85);
    let approve =
        (prop::sample::select(vec![0, 0, 0, 0, 1]), -0.6..0.6, 1..80_usize, -0.0012..0.0012, 0..12_u8).prop_map(
            |(skip, speed, knots, off, forged)| Happens::Approve { skip, speed, knots, off, forged: forged == 0 },
        );
    prop_oneof![
        12 => (1..60_u8).prop_map(Happens::Nothing),
        3 => (often(), often()).prop_map(|(a, b)| Happens::Pedal(a, b)),
        4 => Just(Happens::Pedal(true, true)),
        1 => often().prop_map(Happens::HearPedal),
        1 => often().prop_map(Happens::Heart),
        1 => often().prop_map(Happens::See),
        1 => often().prop_map(Happens::HearArm),
        1 => often().prop_map(Happens::Ready),
        1 => (-0.03..0.03).prop_map(Happens::Push),
        1 => prop::sample::select(vec![0, 0, 0, 1, 7, 8]).prop_map(Happens::Console),
        1 => prop::sample::select(vec![0, 0, 0, 7, 14, 20]).prop_map(Happens::Latch),
        14 => order().prop_map(Happens::Give),
        14 => approve,
        1 => Just(Happens::Withdraw),
        3 => (0..150_u64).prop_map(Happens::Wait),
        1 => Just(Happens::ClockBack),
    ]
}

/// What the last steps allow to be believed.
struct Watch {
    sequence: u64,
    accepted: u64,
    before: Option<bregma_core::flow::Sent>,
    at: Instant,
}

impl Watch {
    fn check(&mut self, rig: &Rig) -> Result<(), TestCaseError> {
        let Some(sent) = rig.out.sent else { return Ok(()) };
        let consented = rig.input.consent.get().is_some_and(|c| {
            c.channels == [true, true] && rig.now.since(c.captured).is_some_and(|age| age <= Duration::from_millis(100))
        });
        let playing = sent.state == GateState::Active && !sent.retracting;
        if sent.energy != Energy::OFF {
            prop_assert!(playing && consented && sent.approval.is_some(), "energy without leave: {sent:?}");
        }
        if sent.state == GateState::Active {
            prop_assert!(consented, "active without consent: {sent:?}");
            prop_assert_eq!(sent.consent, rig.input.consent.get().map(|c| c.captured));
        }
        if sent.approval.is_none() && sent.state != GateState::Active {
            prop_assert_eq!(sent.energy, Energy::OFF);
        }
        if rig.out.reacted.is_some() {
            prop_assert_eq!(sent.energy, Energy::OFF);
        }
        if let Some(before) = self.before {
            let moved = sent.joints.distance(&before.joints);
            if moved > 0.0 && rig.ready {
                let active = sent.state == GateState::Active || before.state == GateState::Active;
                let braking = sent.approval.is_some();
                prop_assert!(active || braking, "it moved by itself: {before:?} {sent:?}");
                prop_assert!(sent.approval.is_some_and(|a| a.0 <= self.accepted), "{sent:?}");
                // The slowest joint's speed; the first step may besides take up the start's tolerance.
                let passed = rig.now.since(self.at).unwrap_or(Duration::ZERO).secs_f64();
                let first = if before.state == GateState::Armed { 1e-3 } else { 0.0 };
                prop_assert!(moved <= 98.0_f64.to_radians() * passed + first + 1e-9, "{moved} rad in {passed} s");
            }
        }
        self.before = Some(sent);
        self.at = rig.now;
        Ok(())
    }
}

fn apply(rig: &mut Rig, watch: &mut Watch, what: Happens) -> (u8, Duration) {
    let mut elapsed = PERIOD;
    let mut steps = 1;
    match what {
        Happens::Nothing(times) => steps = times,
        Happens::Pedal(a, b) => rig.pedal = [a, b],
        Happens::HearPedal(on) => rig.hears_pedal = on,
        Happens::Heart(on) => rig.hears_heart = on,
        Happens::See(on) => rig.sees = on,
        Happens::HearArm(on) => rig.hears_arm = on,
        Happens::Ready(on) => rig.ready = on,
        Happens::Push(by) => rig.joints.as_mut_slice()[2] += by,
        Happens::Console(bits) => rig.console = Energy::from_bits(bits).filter(|_| bits != 8),
        Happens::Latch(code) => {
            rig.latched = Reason::from_code(code).map_or(Latched::default(), |r| Latched::default().with(r));
        }
        Happens::Give(order) => rig.order(order),
        Happens::Approve { skip, speed, knots, off, forged } => {
            watch.sequence += 1 + skip;
            let mut record = rig.approval(watch.sequence, speed, knots);
            for path in [&mut record.path, &mut record.retract] {
                path.knots.iter_mut().for_each(|k| k.as_mut_slice()[1] += off);
            }
            super::rig::sign(&mut record);
            if forged {
                record.hash.0[0] ^= 1;
            } else {
                watch.accepted = watch.sequence;
            }
            rig.approve(record);
        }
        Happens::Withdraw => rig.withdraw(watch.sequence),
        Happens::Wait(ms) => elapsed = Duration::from_millis(ms),
        Happens::ClockBack => {
            rig.now = Instant::from_nanos(rig.now.nanos().saturating_sub(50_000_000));
            elapsed = Duration::ZERO;
        }
    }
    (steps, elapsed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_arm_is_never_moved_without_leave(story in prop::collection::vec(happens(), 1..120)) {
        let mut rig = Rig::armed();
        let mut watch = Watch { sequence: 0, accepted: 0, before: rig.out.sent, at: rig.now };
        for what in story {
            let (steps, elapsed) = apply(&mut rig, &mut watch, what);
            for _ in 0..steps {
                rig.prepare(elapsed);
                rig.gate.step(rig.now, &rig.input, &mut rig.out);
                rig.settle();
                watch.check(&rig)?;
            }
        }
    }

    #[test]
    fn the_same_story_twice_sends_the_same(story in prop::collection::vec(happens(), 1..60)) {
        let tell = || {
            let mut rig = Rig::armed();
            let mut watch = Watch { sequence: 0, accepted: 0, before: None, at: rig.now };
            let mut sent = Vec::new();
            for what in story.clone() {
                let (steps, elapsed) = apply(&mut rig, &mut watch, what);
                for _ in 0..steps {
                    rig.prepare(elapsed);
                    rig.gate.step(rig.now, &rig.input, &mut rig.out);
                    rig.settle();
                    sent.push(rig.out);
                }
            }
            sent
        };
        prop_assert_eq!(tell(), tell());
    }
}
