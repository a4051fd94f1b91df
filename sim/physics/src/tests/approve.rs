//! What is approved, and that it is always the same.

use super::phantom::{NOW, Phantom, down, long, stamp, to};
use super::{failed, step};
use crate::{LimitValues, Limits, Validate, ValidateOut};
use bregma_core::arm::ArmModelId;
use bregma_core::flow::{Check, Energy, Sequence, voxel};
use bregma_core::stage::Stage;
use bregma_core::time::Duration;
use proptest::prelude::*;

fn approval(phantom: &Phantom) -> ValidateOut {
    let out = step(phantom, LimitValues::USUAL, &phantom.input(vec![phantom.good()]));
    let said: Vec<String> = out.verdicts.iter().flat_map(|v| v.checks.iter().map(crate::words)).collect();
    assert!(out.approved.is_some(), "{said:#?}");
    out
}

#[test]
fn a_good_motion_is_approved_with_every_check_and_its_hash() {
    let phantom = Phantom::new();
    let out = approval(&phantom);
    let record = out.approved.as_ref().expect("approved").record();
    let mut ran: Vec<Check> = out.verdicts[0].checks.iter().map(|c| c.check).collect();
    ran.sort();
    let mut all = Check::ALL.to_vec();
    all.sort();
    assert_eq!(ran, all);
    assert_eq!(record.hash, record.hash_with(&phantom.scene.digest, &Limits::usual().digest(), &record.model));
    assert_eq!((record.sequence.0, record.plan.0, record.scene.0, record.trace.0), (1, 3, 1, 7));
    assert_eq!(record.expires, NOW + Duration::from_secs(1));
    assert_eq!(record.path.knots[0], phantom.joints);
    assert_eq!(record.retract.knots[0], phantom.joints);
    assert!(record.retract.energy.iter().all(|e| *e == 0));
    assert!(record.path.energy.iter().any(|e| *e == Energy::CUT.bits()));
    assert_eq!(record.path.knots.len(), record.path.energy.len());
}

#[test]
fn the_retract_path_ends_outside() {
    let phantom = Phantom::new().at(down(2.0, 0.0, 55.0));
    let motion = phantom.motion([to(2.0, 0.0, 58.0, 5.0, Energy::OFF)]);
    let out = step(&phantom, LimitValues::USUAL, &phantom.input(vec![motion]));
    let approved = out.approved.expect("approved");
    let retract = &approved.record().retract;
    let validate = Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount");
    let end = validate.tip(retract.knots.last().expect("knots")).position().coordinates();
    assert!((end.z - 110.0).abs() < 1e-3 && (end.x - 2.0).abs() < 1e-3, "{end}");
}

#[test]
fn the_other_arm_passes_too() {
    let phantom = Phantom::with(ArmModelId::Ur5e, long(), down(0.0, 0.0, 100.0));
    assert_eq!(approval(&phantom).approved.expect("approved").record().arm, ArmModelId::Ur5e);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let phantom = Phantom::new();
    let (a, b) = (approval(&phantom), approval(&phantom));
    let (a, b) = (a.approved.expect("approved"), b.approved.expect("approved"));
    assert_eq!(a.record(), b.record());
    assert_ne!(a.record().hash, bregma_core::digest::Digest::default());
}

#[test]
fn what_came_before_does_not_matter_but_for_the_number() {
    let phantom = Phantom::new();
    let mut validate = Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount");
    let mut out = ValidateOut::default();
    let bad = phantom.motion([to(40.0, 0.0, 95.0, 30.0, Energy::OFF), to(40.0, 0.0, 60.0, 5.0, Energy::OFF)]);
    validate.step(NOW, &phantom.input(vec![bad, phantom.good()]), &mut out).expect("whole");
    assert_eq!(out.verdicts.len(), 2, "the second candidate is tried when the first fails");
    assert_eq!(out.verdicts.iter().map(|v| v.approved).collect::<Vec<_>>(), [false, true]);
    let first = out.approved.take().expect("approved");
    validate.step(NOW, &phantom.input(vec![phantom.good()]), &mut out).expect("whole");
    let second = out.approved.take().expect("approved");
    assert_eq!((first.record().sequence.0, second.record().sequence.0), (1, 2));
    let fresh = approval(&phantom).approved.expect("approved");
    assert_eq!(second.record().path, fresh.record().path);
    assert_eq!(second.record().worst, fresh.record().worst);
}

#[test]
fn a_shaft_may_follow_its_tip_into_what_the_tip_removed() {
    // 9 mm into tissue: the shaft stands in the tunnel that the tip cut.
    let phantom = Phantom::new().at(down(0.0, 0.0, 50.0));
    let cut = phantom.motion([to(0.0, 0.0, 39.0, 4.0, Energy::CUT), to(0.0, 0.0, 50.0, 9.0, Energy::OFF)]);
    assert!(step(&phantom, LimitValues::USUAL, &phantom.input(vec![cut])).approved.is_some());
    // The same way with the energy off is a press.
    let press = phantom.motion([to(0.0, 0.0, 39.0, 4.0, Energy::OFF)]);
    let out = step(&phantom, LimitValues::USUAL, &phantom.input(vec![press]));
    assert_eq!(failed(&out).check, Check::Indentation);
    // And so is a sweep to the side with the shaft in it.
    let drag = phantom.motion([to(0.0, 0.0, 39.0, 4.0, Energy::CUT), to(6.0, 0.0, 39.0, 4.0, Energy::CUT)]);
    let out = step(&phantom, LimitValues::USUAL, &phantom.input(vec![drag]));
    assert_eq!(failed(&out).check, Check::Indentation);
}

/// Standing 6 mm deep in the corridor's end, and then tissue from one side closes on the shaft by so much, mm.
fn closed_in(by_mm: f64) -> Phantom {
    let mut phantom = Phantom::new().at(down(0.0, 0.0, 54.0));
    let grid = phantom.scene.grid;
    let mut scene = bregma_core::flow::Scene::clone(&phantom.scene);
    for (i, state) in scene.state.iter_mut().enumerate() {
        let at = grid.centre(grid.voxel(i));
        // The tissue's surface lies between the centres of voxels.
        if at.x > 1.25 - by_mm && at.z < 70.0 && *state & voxel::BRAIN != 0 {
            *state &= !voxel::CAVITY;
        }
    }
    phantom.scene = std::sync::Arc::new(stamp(scene, NOW));
    phantom
}

#[test]
fn a_shaft_that_tissue_has_closed_on_may_ease_it_and_never_press_on() {
    let phantom = closed_in(2.5);
    let motion = |x: f64, z: f64| phantom.motion([to(x, 0.0, z, 5.0, Energy::OFF)]);
    let approved = |x, z| step(&phantom, LimitValues::USUAL, &phantom.input(vec![motion(x, z)])).approved;
    // Straight out, as the way out that comes with every approval, and off to the side.
    for (x, z) in [(0.0, 60.0), (-1.5, 54.0)] {
        let record = approved(x, z).expect("it eases").record().clone();
        let pressed = record.worst.iter().find(|c| c.check == Check::Indentation).expect("measured");
        assert!(pressed.value == pressed.limit, "counts as the limit, neither more nor less: {}", pressed.value);
    }
    for (x, z) in [(1.0, 54.0), (0.0, 50.0)] {
        let out = step(&phantom, LimitValues::USUAL, &phantom.input(vec![motion(x, z)]));
        let pressed = *out.verdicts[0].checks.iter().find(|c| c.check == Check::Indentation).expect("measured");
        assert!(!pressed.passed && pressed.value > 2.0 + pressed.limit * 0.1, "{}", crate::words(&pressed));
    }
    // Out of the tissue and then into it again, no deeper than at the start.
    let there_and_back = phantom.motion([to(-2.5, 0.0, 54.0, 5.0, Energy::OFF), to(0.0, 0.0, 54.0, 5.0, Energy::OFF)]);
    let out = step(&phantom, LimitValues::USUAL, &phantom.input(vec![there_and_back]));
    assert_eq!(failed(&out).check, Check::Indentation);
    // Deeper than twice the limit nothing moves by itself.
    let phantom = closed_in(6.0);
    let out = step(
        &phantom,
        LimitValues::USUAL,
        &phantom.input(vec![phantom.motion([to(-1.5, 0.0, 54.0, 5.0, Energy::OFF)])]),
    );
    assert_eq!(failed(&out).check, Check::Indentation);
}

#[test]
fn a_shaft_close_to_the_limit_may_not_creep_beyond_it() {
    let scene = closed_in(1.5).scene;
    let phantom = Phantom { scene, ..Phantom::new() }.at(down(0.9, 0.0, 54.0));
    let pressed = |xs: &[f64]| {
        let motion = phantom.motion(xs.iter().map(|x| to(*x, 0.0, 54.0, 5.0, Energy::OFF)));
        let out = step(&phantom, LimitValues::USUAL, &phantom.input(vec![motion]));
        *out.verdicts[0].checks.iter().find(|c| c.check == Check::Indentation).expect("measured")
    };
    // There and back within a step is borne; to end there is not, and no more is a millimetre.
    let there_and_back = pressed(&[1.0, 0.9]);
    assert!(there_and_back.passed && there_and_back.value == there_and_back.limit, "{}", crate::words(&there_and_back));
    for x in [1.0, 1.9] {
        let there = pressed(&[x]);
        assert!(!there.passed && there.value > there.limit, "{}", crate::words(&there));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Recomputed from the joints alone, point by point against voxel by voxel.
    #[test]
    fn no_knot_of_an_approved_path_is_nearer_than_the_limit(x in -9.0..9.0f64, y in -9.0..9.0f64, z in 46.0..70.0f64, cut in prop::bool::ANY) {
        let phantom = Phantom::new().at(down(0.0, 0.0, 60.0));
        let energy = if cut { Energy::CUT } else { Energy::OFF };
        let motion = phantom.motion([to(x, y, z, 4.5, energy)]);
        let out = step(&phantom, LimitValues::USUAL, &phantom.input(vec![motion]));
        let Some(approved) = out.approved else { return Ok(()) };
        let grid = phantom.scene.grid;
        let forbidden: Vec<_> = (0..grid.len())
            .filter(|i| phantom.scene.state[*i] & bregma_core::flow::voxel::FORBIDDEN != 0)
            .map(|i| grid.centre(grid.voxel(i)))
            .collect();
        let error = phantom.scene.errors.total(&phantom.scene.shift).get();
        let record = approved.record();
        for joints in record.path.knots.iter().chain(&record.retract.knots).step_by(25) {
            let tip = phantom.mount.patient_from_arm_base * phantom.arm.forward(joints) * phantom.mount.flange_from_tip;
            for n in 0..120 {
                let p = tip.position().coordinates() - tip.z_axis() * (f64::from(n) * 0.5);
                for c in &forbidden {
                    let gap = (p - c).map(|d| (d.abs() - 0.625).max(0.0)).norm();
                    prop_assert!(gap - 1.25 >= 1.0, "{gap}");
                }
                for vessel in &phantom.anatomy.vessels {
                    prop_assert!(vessel.distance_mm(&p) - 1.25 - error >= 1.0);
                }
            }
        }
    }
}

#[test]
fn an_approval_that_came_too_late_was_never_given() {
    let phantom = Phantom::new();
    let mut validate = Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount");
    let mut out = ValidateOut::default();
    let mut numbers = Vec::new();
    for late in [false, true, true, false] {
        validate.step(NOW, &phantom.input(vec![phantom.good()]), &mut out).expect("whole");
        assert!(out.approved.is_some() && out.verdicts.iter().any(|v| v.approved));
        if late {
            validate.overran(&mut out);
            assert!(out.verdicts.iter().all(|v| !v.approved), "nor is the planner told that it was");
        }
        numbers.push(out.approved.take().map(|a| a.record().sequence));
    }
    // The gate takes approvals by their numbers, without a gap.
    assert_eq!(numbers, [Some(Sequence(1)), None, None, Some(Sequence(2))]);
}
