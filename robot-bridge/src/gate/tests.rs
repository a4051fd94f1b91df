//! Every refusal, every reaction, and the ways back.

use super::rig::{PERIOD, Rig, settings, sign};
use crate::inspect::{PathFault, Refusal};
use bregma_core::Duration;
use bregma_core::digest::Digest;
use bregma_core::faults::{Latched, Reaction, Reason};
use bregma_core::flow::{ApprovedRecord, Energy, GateState, Order, Reacted, Sequence};

/// Gives an armed gate a spoiled approval; it must not move, and says why.
fn refused(spoil: impl FnOnce(&mut Rig, &mut ApprovedRecord)) -> (Rig, Refusal) {
    let mut rig = Rig::armed();
    let mut record = rig.approval(1, 0.05, 100);
    spoil(&mut rig, &mut record);
    rig.approve(record);
    let (before, sent) = (rig.joints, rig.step());
    assert_eq!((sent.joints, sent.energy, sent.approval), (before, Energy::OFF, None));
    let refused = rig.out.refused.expect("it was refused");
    (rig, refused.what)
}

fn assert_reaction(rig: &Rig, reason: Reason) {
    let reacted = Reacted { reaction: reason.reaction(), reason, decided: rig.now };
    assert_eq!(rig.out.reacted, Some(reacted));
    let state = if reason.reaction() == Reaction::Stop { GateState::Fault } else { GateState::Hold };
    assert_eq!((rig.sent().state, rig.sent().reason), (state, Some(reason)));
}

#[test]
fn a_genuine_approval_is_played_to_its_end_as_approved() {
    let mut rig = Rig::armed();
    let record = rig.approval(1, 0.05, 100);
    rig.approve(record.clone());
    for knot in 0..99 {
        let sent = rig.step();
        assert_eq!((sent.state, sent.approval), (GateState::Active, Some(Sequence(1))));
        assert!(sent.joints.distance(&record.path.knots[knot]) < 1e-12, "knot {knot}");
        assert_eq!(sent.energy.bits(), record.path.energy[knot]);
        assert_eq!(sent.consent, Some(rig.now));
    }
    let sent = rig.step();
    assert_eq!((sent.state, sent.energy, sent.finished), (GateState::Armed, Energy::OFF, Sequence(1)));
    assert_eq!((sent.joints, sent.approval), (record.path.knots[99], Some(Sequence(1))));
    assert_eq!(rig.step().approval, None);
    let next = rig.approval(2, -0.05, 10);
    rig.approve(next);
    assert_eq!(rig.step().state, GateState::Active);
}

#[test]
fn forged_approvals_stop() {
    let spoilt: [fn(&mut ApprovedRecord); 6] = [
        |r| r.hash.0[31] ^= 1,
        |r| r.path.knots[50].as_mut_slice()[0] += 1e-9,
        |r| r.retract.energy[3] = 1,
        |r| r.expires = r.expires + Duration::from_secs(60),
        |r| {
            r.limits = Digest::of(b"looser limits");
            sign(r);
        },
        |r| {
            r.scene_digest = Digest::of(b"another scene");
            sign(r);
        },
    ];
    for spoil in spoilt {
        let (rig, why) = refused(|_, r| spoil(r));
        assert_eq!(why, Refusal::HashDiffers { sequence: Sequence(1) });
        assert_reaction(&rig, Reason::ApprovalForged);
    }
    let (rig, why) = refused(|_, r| {
        r.model = Digest::of(b"somebody");
        sign(r);
    });
    assert_eq!(why, Refusal::UnknownModel { sequence: Sequence(1) });
    assert_reaction(&rig, Reason::ApprovalForged);
    let (rig, why) = refused(|_, r| {
        r.arm = bregma_core::arm::ArmModelId::Ur5e;
        sign(r);
    });
    assert_eq!(why, Refusal::WrongArm { sequence: Sequence(1) });
    assert_reaction(&rig, Reason::ApprovalForged);
    let (rig, why) = refused(|_, r| {
        r.scene = Sequence(999);
        sign(r);
    });
    assert!(matches!(why, Refusal::SceneUnknown { .. }), "{why}");
    assert_reaction(&rig, Reason::ApprovalForged);
}

#[test]
fn paths_that_cannot_be_played_stop_though_their_hash_fits() {
    let fault = |change: fn(&mut ApprovedRecord)| {
        let (rig, why) = refused(|_, r| {
            change(r);
            sign(r);
        });
        assert_reaction(&rig, Reason::ApprovalForged);
        match why {
            Refusal::Malformed { fault, .. } => fault,
            other => panic!("{other}"),
        }
    };
    assert_eq!(fault(|r| r.path.knots.clear()), PathFault::Knots(0));
    assert_eq!(fault(|r| r.retract.knots.clear()), PathFault::Knots(0));
    assert_eq!(fault(|r| r.path.period = Duration::ZERO), PathFault::Period(Duration::ZERO));
    assert_eq!(fault(|r| r.path.energy[7] = 8), PathFault::Energy);
    assert_eq!(fault(|r| r.path.energy.truncate(99)), PathFault::Energy);
    assert_eq!(fault(|r| r.retract.energy[7] = 2), PathFault::Energy);
    assert_eq!(fault(|r| r.path.knots[9].as_mut_slice()[2] = f64::NAN), PathFault::NotJoints(9));
    assert_eq!(fault(|r| r.path.knots[9] = bregma_core::arm::Joints::zeros(6)), PathFault::NotJoints(9));
    assert!(matches!(fault(|r| r.path.knots[9].as_mut_slice()[2] = 3.0), PathFault::Position { knot: 9, .. }));
    assert!(matches!(fault(|r| r.path.knots[9].as_mut_slice()[2] += 0.01), PathFault::Speed { knot: 9, .. }));
    let apart = fault(|r| r.retract.knots.iter_mut().for_each(|k| k.as_mut_slice()[0] += 0.002));
    assert!(matches!(apart, PathFault::Apart(off) if (off - 0.002).abs() < 1e-9));
    assert!(matches!(fault(|r| r.path.knots.resize(8193, r.path.knots[0])), PathFault::Knots(8193)));
}

#[test]
fn approvals_are_taken_once_and_in_sequence() {
    let (rig, why) = refused(|_, r| {
        r.sequence = Sequence(2);
        sign(r);
    });
    assert_eq!(why, Refusal::OutOfSequence { got: Sequence(2), due: Sequence(1) });
    assert_reaction(&rig, Reason::ApprovalReplayed);

    let mut rig = Rig::armed();
    let record = rig.approval(1, 0.0, 2);
    rig.approve(record.clone());
    rig.step();
    rig.step();
    assert_eq!(rig.sent().finished, Sequence(1));
    rig.approve(record);
    rig.step();
    assert_reaction(&rig, Reason::ApprovalReplayed);
}

#[test]
fn expired_withdrawn_and_misplaced_approvals_hold() {
    let (rig, why) = refused(|rig, r| {
        r.expires = rig.now;
        sign(r);
    });
    assert!(matches!(why, Refusal::Expired { .. }), "{why}");
    assert_reaction(&rig, Reason::ApprovalExpired);

    let (rig, why) = refused(|_, r| {
        for path in [&mut r.path, &mut r.retract] {
            path.knots.iter_mut().for_each(|k| k.as_mut_slice()[6] += 0.0011);
        }
        sign(r);
    });
    assert!(matches!(why, Refusal::Elsewhere { off_rad, .. } if off_rad > 0.001), "{why}");
    assert_reaction(&rig, Reason::ApprovalElsewhere);

    let (rig, why) = refused(|rig, _| rig.withdraw(1));
    assert_eq!(why, Refusal::Withdrawn { sequence: Sequence(1) });
    assert_reaction(&rig, Reason::ApprovalWithdrawn);

    let (rig, why) = refused(|rig, _| rig.steps(70));
    assert!(matches!(why, Refusal::SceneForgotten { .. }), "{why}");
    assert_reaction(&rig, Reason::SceneStale);
}

#[test]
fn without_consent_nothing_starts() {
    let (rig, why) = refused(|rig, _| rig.pedal = [false, false]);
    assert_eq!(why, Refusal::Stands { sequence: Sequence(1), reason: Reason::ConsentReleased });
    assert_reaction(&rig, Reason::ConsentReleased);
    let (rig, why) = refused(|rig, _| rig.pedal = [true, false]);
    assert_eq!(why, Refusal::Stands { sequence: Sequence(1), reason: Reason::ConsentReleased });
    assert_reaction(&rig, Reason::ConsentReleased);
}

/// Runs a change of the world until the gate reacts; the energy must be off in the same step, and the
/// joints must come to a stand along the path.
fn reacts_to(change: impl FnOnce(&mut Rig), reason: Reason, within: Duration) {
    let mut rig = Rig::cutting(400);
    change(&mut rig);
    let began = rig.now;
    while rig.out.reacted.is_none() {
        let sent = rig.step();
        assert!(rig.now.since(began).expect("forward") <= within + PERIOD, "no reaction for {reason:?}");
        assert_eq!(sent.energy == Energy::OFF, rig.out.reacted.is_some(), "{reason:?}");
    }
    assert_reaction(&rig, reason);
    let (mut before, mut step_before) = (rig.sent().joints, f64::INFINITY);
    for _ in 0..30 {
        let sent = rig.step();
        let step = sent.joints.distance(&before);
        assert!(step <= step_before + 1e-12 && step <= 0.05 * PERIOD.secs_f64() + 1e-12, "it slows down");
        assert_eq!(sent.energy, Energy::OFF);
        (before, step_before) = (sent.joints, step);
    }
    assert!(step_before < 1e-12 && rig.sent().approval.is_none(), "it stands after the brake's time");
}

#[test]
fn every_cause_is_reacted_to_with_the_energy_off_in_the_same_step() {
    let s = settings();
    let now = Duration::ZERO;
    reacts_to(|rig| rig.pedal = [false, false], Reason::ConsentReleased, now);
    reacts_to(|rig| rig.pedal = [false, true], Reason::ConsentReleased, now);
    reacts_to(|rig| rig.hears_pedal = false, Reason::ConsentStale, s.consent_age_max);
    reacts_to(|rig| rig.hears_heart = false, Reason::HeartbeatLost, s.heartbeat_age_max);
    reacts_to(|rig| rig.sees = false, Reason::SceneStale, s.scene_age_max);
    reacts_to(|rig| rig.hears_arm = false, Reason::ArmStale, s.arm_age_max);
    reacts_to(|rig| rig.withdraw(1), Reason::ApprovalWithdrawn, now);
    reacts_to(|rig| rig.hears_console = false, Reason::InstrumentDisagrees, s.instrument_age_max);
    for reason in [Reason::StagePanicked, Reason::RecordingFailed, Reason::LineOfSightLost, Reason::ArmNotReady] {
        reacts_to(|rig| rig.latched = Latched::default().with(reason), reason, now);
    }
}

#[test]
fn an_arm_that_does_not_follow_is_a_fault() {
    let mut rig = Rig::cutting(400);
    rig.ready = false;
    assert_eq!(rig.step().energy, Energy::OFF);
    assert_reaction(&rig, Reason::ArmNotReady);

    let mut rig = Rig::cutting(400);
    rig.joints.as_mut_slice()[3] += 0.03;
    assert_eq!(rig.step().energy, Energy::OFF);
    assert_reaction(&rig, Reason::TrackingError);

    let mut rig = Rig::cutting(400);
    rig.joints.as_mut_slice()[3] = f64::NAN;
    assert_eq!(rig.step().energy, Energy::OFF);
    assert_reaction(&rig, Reason::TrackingError);
}

#[test]
fn a_heartbeat_that_does_not_grow_is_none() {
    let mut rig = Rig::armed();
    rig.hears_heart = false;
    let last = *rig.input.heartbeat.get().expect("heard before");
    let mut steps = 0;
    while rig.sent().state == GateState::Armed {
        rig.prepare(PERIOD);
        let frozen = bregma_core::flow::Heartbeat { captured: rig.now, ..last };
        rig.input.heartbeat.set(rig.number, frozen);
        rig.gate.step(rig.now, &rig.input, &mut rig.out);
        rig.settle();
        steps += 1;
        assert!(steps < 30, "a frozen heartbeat was believed");
    }
    assert_reaction(&rig, Reason::HeartbeatLost);
}

#[test]
fn channels_that_go_on_disagreeing_are_a_defect() {
    let mut rig = Rig::cutting(400);
    rig.pedal = [true, false];
    rig.step();
    assert_reaction(&rig, Reason::ConsentReleased);
    for _ in 0..9 {
        assert_eq!(rig.step().state, GateState::Hold);
    }
    rig.step();
    assert_reaction(&rig, Reason::ConsentDisagrees);
}

#[test]
fn energy_that_stays_on_is_a_fault() {
    let mut rig = Rig::armed();
    rig.console = Some(Energy { suction: true, ..Energy::OFF });
    let began = rig.now;
    while rig.sent().state == GateState::Armed {
        rig.step();
        assert!(rig.now.since(began).expect("forward") < Duration::from_millis(200));
    }
    assert_reaction(&rig, Reason::InstrumentDisagrees);
}

#[test]
fn a_clock_that_goes_backwards_is_a_fault_in_any_state() {
    for mut rig in [Rig::new(), Rig::armed(), Rig::cutting(400)] {
        rig.step();
        rig.prepare(PERIOD);
        rig.now = bregma_core::Instant::from_nanos(5);
        rig.gate.step(rig.now, &rig.input, &mut rig.out);
        assert_reaction(&rig, Reason::ClockBackwards);
        assert_eq!(rig.sent().energy, Energy::OFF);
    }
}

#[test]
fn a_hold_ends_by_order_when_its_cause_is_gone_and_the_approval_is_spent() {
    let mut rig = Rig::cutting(400);
    rig.pedal = [false, false];
    rig.steps(40);
    rig.order(Order::Resume);
    assert_eq!(rig.step().state, GateState::Hold);
    assert!(matches!(
        rig.out.refused.expect("the pedal is up").what,
        Refusal::Order { reason: Some(Reason::ConsentReleased), .. }
    ));
    rig.pedal = [true, true];
    assert_eq!(rig.step().state, GateState::Hold, "holding the pedal again is not enough");
    rig.order(Order::Resume);
    let stood = rig.step();
    assert_eq!(stood.state, GateState::Armed);
    let after = rig.step();
    assert_eq!((after.state, after.joints, after.finished), (GateState::Armed, stood.joints, Sequence(0)));
}

#[test]
fn a_fault_stays_until_it_is_cleared_and_its_cause_is_gone() {
    let mut rig = Rig::cutting(400);
    rig.hears_arm = false;
    rig.steps(60);
    for order in [Order::Resume, Order::Arm, Order::Disarm, Order::Retract, Order::ClearFault] {
        rig.order(order);
        assert_eq!(rig.step().state, GateState::Fault, "{order:?}");
    }
    rig.hears_arm = true;
    assert_eq!(rig.step().state, GateState::Fault);
    rig.order(Order::ClearFault);
    assert_eq!(rig.step().state, GateState::Hold);
    rig.order(Order::Resume);
    assert_eq!(rig.step().state, GateState::Armed);
}

#[test]
fn arming_is_refused_while_a_reason_stands() {
    let mut rig = Rig::new();
    rig.sees = false;
    rig.step();
    rig.order(Order::Arm);
    assert_eq!((rig.step().state, rig.sent().reason), (GateState::Disarmed, Some(Reason::SceneStale)));
    rig.sees = true;
    rig.pedal = [false, false];
    rig.order(Order::Arm);
    assert_eq!(rig.step().state, GateState::Armed, "nobody need hold the pedal to arm");
    rig.order(Order::Disarm);
    assert_eq!(rig.step().state, GateState::Disarmed);
}

#[test]
fn before_the_arm_is_heard_nothing_is_sent() {
    let mut rig = Rig::new();
    rig.hears_arm = false;
    rig.prepare(PERIOD);
    rig.gate.step(rig.now, &rig.input, &mut rig.out);
    assert_eq!(rig.out.sent, None);
    rig.hears_arm = true;
    assert_eq!(rig.step().joints, rig.joints);
}

#[test]
fn an_arm_that_was_moved_by_hand_makes_no_jump() {
    let mut rig = Rig::armed();
    rig.order(Order::Disarm);
    rig.step();
    rig.ready = false;
    rig.joints.as_mut_slice()[0] += 0.3;
    assert_eq!(rig.step().joints, rig.joints);
    rig.ready = true;
    rig.order(Order::Arm);
    let sent = rig.step();
    assert_eq!((sent.state, sent.joints), (GateState::Armed, rig.joints));
}

/// Retracts and checks that the arm passes the path backwards and ends at the retract path's end.
fn leaves(rig: &mut Rig, record: &ApprovedRecord) {
    rig.order(Order::Retract);
    let mut sent = rig.step();
    assert_eq!(rig.out.reacted.map(|r| (r.reaction, r.reason)), Some((Reaction::Retract, Reason::Ordered)));
    let mut steps = 0;
    while sent.state == GateState::Active {
        assert!(sent.retracting && sent.energy == Energy::OFF && sent.approval == Some(record.sequence));
        sent = rig.step();
        steps += 1;
        assert!(steps < 2000, "it never came out");
    }
    assert_eq!(sent.state, GateState::Armed);
    let end = record.retract.knots.last().expect("it has knots");
    assert!(sent.joints.distance(end) < 1e-12);
}

#[test]
fn the_tip_comes_out_from_a_hold_and_from_the_paths_end() {
    let mut rig = Rig::armed();
    let record = rig.approval(1, 0.05, 100);
    rig.approve(record.clone());
    rig.steps(60);
    rig.latched = Latched::default().with(Reason::StagePanicked);
    rig.sees = false;
    rig.steps(60);
    assert_eq!(rig.sent().state, GateState::Hold);
    rig.pedal = [false, false];
    rig.order(Order::Retract);
    assert_eq!(rig.step().state, GateState::Hold, "not without consent");
    rig.pedal = [true, true];
    leaves(&mut rig, &record);

    let mut rig = Rig::armed();
    let record = rig.approval(1, 0.05, 100);
    rig.approve(record.clone());
    rig.steps(110);
    assert_eq!(rig.sent().state, GateState::Armed);
    leaves(&mut rig, &record);
    rig.order(Order::Retract);
    rig.step();
    assert!(matches!(rig.out.refused.expect("it is out").what, Refusal::Order { order: Order::Retract, .. }));
}

#[test]
fn a_retract_holds_when_consent_is_released_and_can_go_on() {
    let mut rig = Rig::cutting(400);
    let record = rig.gate.track.as_ref().expect("it plays").clone();
    rig.order(Order::Retract);
    rig.steps(100);
    assert!(rig.sent().retracting);
    rig.pedal = [false, false];
    rig.step();
    assert_reaction(&rig, Reason::ConsentReleased);
    rig.steps(40);
    let stood = rig.step();
    assert_eq!(rig.step().joints, stood.joints);
    rig.pedal = [true, true];
    leaves(&mut rig, crate::track::Approval::record(record.approval()));
}

#[test]
fn a_long_hold_inside_the_head_offers_the_way_out_once() {
    let mut rig = Rig::cutting(400);
    rig.pedal = [false, false];
    rig.step();
    let mut offers = 0;
    for _ in 0..600 {
        rig.step();
        offers += usize::from(rig.out.reacted.is_some_and(|r| r.reason == Reason::HeldTooLong));
    }
    assert_eq!((offers, rig.sent().reason), (1, Some(Reason::HeldTooLong)));
}

#[test]
fn an_approval_that_comes_while_another_is_played_changes_nothing() {
    let mut rig = Rig::cutting(400);
    let second = rig.approval(2, 0.05, 10);
    rig.approve(second);
    let sent = rig.step();
    assert_eq!((sent.state, sent.approval, sent.energy), (GateState::Active, Some(Sequence(1)), Energy::CUT));
    assert!(matches!(rig.out.refused.expect("busy").what, Refusal::NotArmed { state: GateState::Active, .. }));
}

#[test]
fn a_late_step_does_not_jump_and_a_very_late_one_holds() {
    let mut rig = Rig::cutting(400);
    let before = rig.sent().joints;
    rig.prepare(Duration::from_millis(60));
    rig.gate.step(rig.now, &rig.input, &mut rig.out);
    rig.settle();
    assert!(rig.sent().joints.distance(&before) <= 0.05 * 2.0 * PERIOD.secs_f64() + 1e-12);
    assert_eq!(rig.sent().state, GateState::Active);
    rig.prepare(Duration::from_millis(101));
    rig.gate.step(rig.now, &rig.input, &mut rig.out);
    assert_reaction(&rig, Reason::GateOverran);
}
