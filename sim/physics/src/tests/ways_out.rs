//! A way out from every point of a motion, and candidates that do not know of each other.

use super::phantom::{NOW, Phantom, down, long, to};
use super::{refused, step};
use crate::limits::LimitValues;
use crate::obstacles::Obstacles;
use crate::posture::Mounted;
use crate::sweep::{Sweep, samples};
use crate::{Limits, Validate, ValidateOut};
use bregma_core::arm::ArmModelId;
use bregma_core::flow::{Check, Energy, JointPath, Motion, Verdict, Waypoint};
use bregma_core::frame::{Patient, Pose, Tip};
use bregma_core::stage::Stage;
use bregma_core::time::Duration;
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use std::sync::Arc;

const USUAL: LimitValues = LimitValues::USUAL;

/// So many degrees off upright, above the head.
fn lying(degrees: f64, z: f64) -> Pose<Patient, Tip> {
    let turn = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), f64::to_radians(degrees));
    let rotation = turn * down(0.0, 0.0, 0.0).isometry().rotation;
    Pose::new(Isometry3::from_parts(Translation3::new(0.0, 0.0, z), rotation)).expect("finite")
}

#[test]
fn a_motion_that_passes_where_no_way_leads_out() {
    let phantom = Phantom::with(ArmModelId::LbrMed7, long(), lying(60.0, 105.0));
    let there_and_back = |degrees: f64| {
        let waypoint =
            |degrees| Waypoint { patient_from_tip: lying(degrees, 107.0), feed_mm_s: 1.0, energy: Energy::OFF };
        phantom.motion([waypoint(degrees), waypoint(60.0)])
    };
    let out = step(&phantom, USUAL, &phantom.input(vec![there_and_back(74.0)]));
    assert!(out.approved.is_some(), "{:#?}", out.verdicts[0].checks.iter().map(crate::words).collect::<Vec<_>>());
    // From 78.5° on it leads nowhere; start and end have their ways out.
    let result = refused(&phantom, there_and_back(82.0), USUAL, Check::Retract);
    assert!((result.value - 1.0).abs() < 1e-12 && result.when > Duration::ZERO, "{}", crate::words(&result));
    let at = result.at.expect("where").coordinates();
    assert!((at - Point3::new(0.0, 0.0, 107.0)).norm() < 2.0, "{at}");
}

/// What the gate would play from a knot: back along the path, energy off, with what was removed up to there gone.
#[test]
fn the_way_back_from_every_point_is_clear_with_the_energy_off() {
    let phantom = Phantom::new();
    let out = step(&phantom, USUAL, &phantom.input(vec![phantom.good()]));
    let record = out.approved.expect("approved").record().clone();
    let mounted = Mounted { arm: phantom.arm.clone(), mount: phantom.mount };
    let obstacles = Obstacles::new(&phantom.scene, &phantom.anatomy).expect("whole");
    let mut sweep = Sweep::default();
    let mut cut = 0;
    for reached in (20..record.path.knots.len()).step_by(97) {
        let part = |path: &JointPath| JointPath {
            period: path.period,
            knots: path.knots[..=reached].to_vec(),
            energy: path.energy[..=reached].to_vec(),
        };
        let forth = part(&record.path);
        let mut back = forth.clone();
        back.knots.reverse();
        back.energy.fill(0);
        cut += usize::from(forth.energy.last() == Some(&Energy::CUT.bits()));
        sweep.forget_removed();
        for path in [&forth, &back] {
            let (samples, tips) = samples(&mounted, path, &USUAL);
            let found = sweep.measure(&mounted, &obstacles, &samples, &tips, &USUAL);
            assert!(found.indentation.value <= USUAL.indentation_mm, "{reached}: {:?}", found.indentation);
            assert!(found.forbidden.value >= USUAL.forbidden_mm && found.rim.value >= USUAL.rim_mm, "{reached}");
            assert!(found.own.value >= USUAL.self_mm);
        }
    }
    assert!(cut > 1, "stopped while cutting, too: {cut}");
    assert_eq!(record.retract.knots[0], record.path.knots[0], "and out from there");
}

#[test]
fn a_candidates_verdict_does_not_depend_on_those_before_it() {
    let phantom = Phantom::new();
    let at = |x: f64, z: f64| [to(x, 0.0, 92.0, 30.0, Energy::OFF), to(x, 0.0, z, 9.0, Energy::OFF)];
    // Into the forbidden ball, through the rim, pressed, a cut that carves, pressed where that carved.
    let mut motions: Vec<Motion> =
        [at(13.0, 50.0), at(19.0, 83.0), at(0.0, 44.0)].map(|way| phantom.motion(way)).into();
    let far = phantom.motion([
        to(0.0, 0.0, 50.0, 9.0, Energy::OFF),
        to(0.0, 0.0, 42.0, 4.0, Energy::CUT),
        to(14.0, 0.0, 42.0, 4.0, Energy::CUT),
    ]);
    motions.extend([far, phantom.motion(at(2.0, 43.0))]);
    let verdicts = |order: &[usize]| -> Vec<(usize, Arc<Verdict>)> {
        let mut validate = Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount");
        let mut out = ValidateOut::default();
        let picked = order.iter().map(|n| motions[*n].clone()).collect();
        validate.step(NOW, &phantom.input(picked), &mut out).expect("whole");
        assert!(out.approved.is_none(), "all are tried");
        order.iter().copied().zip(out.verdicts).collect()
    };
    let alone: Vec<_> = (0..motions.len()).flat_map(|n| verdicts(&[n])).collect();
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [3, 4, 0, 2, 1]] {
        for (n, verdict) in verdicts(&order) {
            assert_eq!(verdict.checks, alone[n].1.checks, "candidate {n} in {order:?}");
        }
    }
}
