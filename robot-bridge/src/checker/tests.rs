//! What the gate sends is explained; doctored logs are caught.

use super::*;
use crate::gate::rig::Rig;
use bregma_core::flow::{GateState, Order};

/// The log of an arm that the gate drives: two motions, a hold in the second, and the way out.
fn log() -> (Vec<ArmLogEntry>, Vec<ApprovedRecord>) {
    let mut rig = Rig::armed();
    let (mut log, mut approvals) = (Vec::new(), Vec::new());
    for step in 0..1400 {
        match step {
            10 | 250 => {
                // Cuts in its last three quarters; dwells while it cuts.
                let mut record = rig.approval(approvals.len() as u64 + 1, 0.05, 200);
                let dwell = record.path.knots[120];
                record.path.knots[120..160].fill(dwell);
                let (from, to) = (dwell, record.path.knots[199]);
                for (i, knot) in record.path.knots[160..].iter_mut().enumerate() {
                    *knot = from.towards(&to, (i + 1) as f64 / 100.0);
                }
                crate::gate::rig::sign(&mut record);
                approvals.push(record.clone());
                rig.approve(record);
            }
            350 => rig.pedal = [false, false],
            420 => rig.pedal = [true, true],
            430 => rig.order(Order::Retract),
            _ => {}
        }
        let sent = rig.step();
        log.push(ArmLogEntry {
            at: sent.sent,
            joints: sent.joints,
            energy: sent.energy.bits(),
            approval: sent.approval.map(|a| a.0),
        });
    }
    assert_eq!((rig.sent().state, rig.sent().finished.0), (GateState::Armed, 1));
    (log, approvals)
}

#[test]
fn what_the_gate_sends_is_explained() {
    let (log, approvals) = log();
    let report = executed_unapproved(&log, &approvals);
    assert_eq!(report.unexplained, [], "{:?}", report.unexplained.first());
    assert_eq!((report.executed, report.executed_unapproved), (2, 0));
    assert!(report.moved > 300 && report.entries == 1400, "{report:?}");
    assert!(log.iter().any(|e| e.energy != 0));
}

/// Doctors the log and gives the first thing that was found.
fn found(doctor: impl FnOnce(&mut [ArmLogEntry], &mut Vec<ApprovedRecord>)) -> (Report, Why) {
    let (mut log, mut approvals) = log();
    doctor(&mut log, &mut approvals);
    let report = executed_unapproved(&log, &approvals);
    assert!(report.executed_unapproved >= 1);
    let why = report.unexplained.first().expect("it was caught").why;
    (report, why)
}

#[test]
fn a_shifted_path_is_caught() {
    let (report, why) = found(|log, _| {
        for entry in &mut log[30..60] {
            entry.joints.as_mut_slice()[2] += 0.003;
        }
    });
    assert!(matches!(why, Why::OffPath { named: 1, off_rad } if off_rad > 0.001), "{why}");
    assert_eq!((report.executed_unapproved, report.unexplained_entries), (1, 30));
}

#[test]
fn energy_where_there_was_none_is_caught() {
    let (_, why) = found(|log, _| log[20].energy = 7);
    assert_eq!(why, Why::Energy { bits: 7 });
    let (_, why) = found(|log, _| log[5].energy = 1);
    assert_eq!(why, Why::Energy { bits: 1 });
    let (_, why) = found(|log, _| log[1300].energy = 4);
    assert_eq!(why, Why::Energy { bits: 4 });
    let (_, why) = found(|_, approvals| approvals[0].path.energy[100..103].fill(0));
    assert_eq!(why, Why::Energy { bits: 7 });
}

#[test]
fn an_approval_that_nobody_gave_is_caught() {
    let (_, why) = found(|log, _| log[40].approval = Some(99));
    assert_eq!(why, Why::Unknown(99));
    let (report, why) = found(|_, approvals| drop(approvals.remove(1)));
    assert_eq!(why, Why::Unknown(2));
    assert_eq!(report.executed, 1);
    let (_, why) = found(|log, _| log[40].approval = None);
    assert!(matches!(why, Why::NoApproval { .. }), "{why}");
    let (_, why) = found(|log, _| log[270].approval = Some(1));
    assert!(matches!(why, Why::Spent { named: 1, newest: 2 } | Why::Jumped { .. } | Why::OffPath { .. }), "{why}");
}

#[test]
fn a_motion_after_its_expiry_and_a_jump_along_the_path_are_caught() {
    let (_, why) = found(|_, approvals| approvals[0].expires = Instant::START);
    assert!(matches!(why, Why::Expired { named: 1, .. }), "{why}");
    let (_, why) = found(|log, _| log[20].joints = log[60].joints);
    assert!(matches!(why, Why::Jumped { named: 1, .. }), "{why}");
    let (_, why) = found(|log, _| log[30].joints.as_mut_slice()[0] = f64::NAN);
    assert!(matches!(why, Why::OffPath { .. }), "{why}");
}

/// A motion often begins by withdrawing along the shaft, as the retract path does: until they part, the arm
/// is on both, and the checker must not follow it down the wrong one.
#[test]
fn a_path_that_begins_like_the_way_out_is_explained() {
    let (_, approvals) = log();
    let mut record = approvals[0].clone();
    let shared = 60;
    let mut out = record.path.knots[..shared].to_vec();
    let parted = out[shared - 1];
    for step in 1..shared {
        let mut knot = parted;
        knot.as_mut_slice()[0] += 0.001 * step as f64;
        out.push(knot);
    }
    record.retract.energy = vec![0; out.len()];
    record.retract.knots = out;
    let entry = |(i, knot): (usize, &Joints)| ArmLogEntry {
        at: record.decided + Duration::from_nanos(record.path.period.nanos() * i as u64),
        joints: *knot,
        energy: 0,
        approval: Some(record.sequence.0),
    };
    let log: Vec<_> = record.path.knots.iter().enumerate().map(entry).collect();
    let report = executed_unapproved(&log, std::slice::from_ref(&record));
    assert_eq!(report.unexplained, [], "{:?}", report.unexplained.first());
    assert_eq!(report.executed, 1);
}

/// A stroke and back again, twice: after each turn the arm is where it was a moment ago.
#[test]
fn a_path_that_turns_and_comes_back_is_explained_and_one_that_skips_a_turn_is_caught() {
    let (_, approvals) = log();
    let mut record = approvals[0].clone();
    let rest = record.path.knots[0];
    let swing = |step: usize| {
        let mut knot = rest;
        knot.as_mut_slice()[1] += 0.05 * (1.0 - (step as f64 * std::f64::consts::TAU / 100.0).cos());
        if step > 200 {
            knot.as_mut_slice()[0] += 0.002 * (step - 200) as f64;
        }
        knot
    };
    record.path.knots = (0..=260).map(swing).collect();
    record.path.energy = vec![0; 261];
    let played = |steps: &mut dyn Iterator<Item = usize>| -> Vec<ArmLogEntry> {
        let entry = |(i, step): (usize, usize)| ArmLogEntry {
            at: record.decided + Duration::from_nanos(record.path.period.nanos() * i as u64),
            joints: record.path.knots[step],
            energy: 0,
            approval: Some(record.sequence.0),
        };
        steps.enumerate().map(entry).collect()
    };
    let whole = executed_unapproved(&played(&mut (0..=260)), std::slice::from_ref(&record));
    assert_eq!((whole.executed, &whole.unexplained[..]), (1, &[][..]));
    // It stands at the first turn's start and goes on from the last one's end: 800 ms were left out.
    let skipped = executed_unapproved(&played(&mut (0..=4).chain(204..=260)), std::slice::from_ref(&record));
    assert_eq!(skipped.executed_unapproved, 1, "{:?}", skipped.unexplained);
    assert!(matches!(skipped.unexplained[0].why, Why::Jumped { .. }), "{:?}", skipped.unexplained);
}
