//! Each check, failed by a motion made for it.

use super::phantom::{NOW, Phantom, ball, down, long, scene, stamp, to};
use super::{failed, refused, step};
use crate::{FormFault, LimitValues, Limits, Validate, ValidateFault, ValidateOut};
use bregma_core::arm::{ArmModelId, Joints};
use bregma_core::flow::{Check, Energy, GateState, Motion, Scene, TrackingStatus, Waypoint};
use bregma_core::frame::{FrameId, Patient, Pose, Tip};
use bregma_core::stage::Stage;
use bregma_core::time::{Duration, Instant};
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use std::sync::Arc;

const USUAL: LimitValues = LimitValues::USUAL;

fn ago(millis: u64) -> Instant {
    Instant::from_nanos(NOW.nanos() - millis * 1_000_000)
}

#[test]
fn well_formed() {
    let phantom = Phantom::new();
    let nothing = Motion { waypoints: Vec::new() };
    assert!((refused(&phantom, nothing, USUAL, Check::WellFormed).value - 1.0).abs() < 1e-12);
    let many = phantom.motion((0..64).map(|_| to(0.0, 0.0, 99.0, 10.0, Energy::OFF)));
    refused(&phantom, many, USUAL, Check::WellFormed);
    let elsewhere = Motion { waypoints: vec![to(5.0, 0.0, 100.0, 10.0, Energy::OFF)] };
    refused(&phantom, elsewhere, USUAL, Check::WellFormed);
    let slow = phantom.motion([to(0.0, 0.0, 120.0, 0.1, Energy::OFF)]);
    refused(&phantom, slow, USUAL, Check::WellFormed);
    let other_scan = Waypoint {
        patient_from_tip: down(0.0, 0.0, 95.0).claimed_between(FrameId::of_uid("1.2.3"), FrameId::SOLE),
        feed_mm_s: 10.0,
        energy: Energy::OFF,
    };
    refused(&phantom, phantom.motion([other_scan]), USUAL, Check::WellFormed);
}

#[test]
fn nothing_that_is_not_a_number_gets_in() {
    let phantom = Phantom::new();
    for feed in [f64::NAN, f64::INFINITY, -1.0, 0.0, 51.0] {
        let motion = phantom.motion([to(0.0, 0.0, 95.0, feed, Energy::OFF)]);
        refused(&phantom, motion.clone(), USUAL, Check::WellFormed);
        let validate = Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount");
        let faults = validate.form_faults(&motion, &phantom.joints, FrameId::SOLE);
        assert!(matches!(faults[..], [FormFault::Feed { waypoint: 1, .. }]), "{faults:?}");
    }
    let skewed = UnitQuaternion::new_unchecked(nalgebra::Quaternion::new(0.0, 3.0, 0.0, 0.0));
    let pose =
        Pose::<Patient, Tip>::new(Isometry3::from_parts(Translation3::new(0.0, 0.0, 95.0), skewed)).expect("finite");
    let motion = phantom.motion([Waypoint { patient_from_tip: pose, feed_mm_s: 5.0, energy: Energy::OFF }]);
    refused(&phantom, motion, USUAL, Check::WellFormed);
}

#[test]
fn scene_fresh() {
    let mut phantom = Phantom::new();
    let whole = Scene::clone(&phantom.scene);
    for captured in [ago(501), NOW + Duration::from_millis(1)] {
        phantom.scene = Arc::new(stamp(whole.clone(), captured));
        refused(&phantom, phantom.good(), USUAL, Check::SceneFresh);
    }
    phantom.scene = Arc::new(stamp(whole.clone(), ago(499)));
    assert!(step(&phantom, USUAL, &phantom.input(vec![phantom.good()])).approved.is_some());
    let other = Scene { anatomy: bregma_core::digest::Digest::of(b"another"), ..whole };
    phantom.scene = Arc::new(stamp(other, NOW));
    assert!(refused(&phantom, phantom.good(), USUAL, Check::SceneFresh).value.is_infinite());
}

#[test]
fn tip_fresh() {
    let phantom = Phantom::new();
    let with = |change: &dyn Fn(&mut bregma_core::flow::TipPose)| {
        let mut input = phantom.input(vec![phantom.good()]);
        let mut tip = *input.tip.get().expect("set");
        change(&mut tip);
        input.tip.set(2, tip);
        failed(&step(&phantom, USUAL, &input))
    };
    assert_eq!(with(&|t| t.status = TrackingStatus::LineOfSightLost).check, Check::TipFresh);
    assert_eq!(with(&|t| t.reference_from_tip.captured = ago(201)).check, Check::TipFresh);
    let off = with(&|t| t.reference_from_tip.value = Pose::new(*down(4.0, 0.0, 100.0).isometry()).expect("finite"));
    assert_eq!(off.check, Check::TipFresh);
    assert!((off.value - 4.0).abs() < 1e-3);
    let mut input = phantom.input(vec![phantom.good()]);
    let mut registration = *input.registration.get().expect("set");
    registration.expires = ago(1);
    input.registration.set(2, registration);
    assert_eq!(failed(&step(&phantom, USUAL, &input)).check, Check::TipFresh);
}

#[test]
fn starts_at_arm() {
    let phantom = Phantom::new();
    let mut input = phantom.input(vec![phantom.good()]);
    let mut arm = *input.arm.get().expect("set");
    arm.captured = ago(101);
    input.arm.set(2, arm);
    assert_eq!(failed(&step(&phantom, USUAL, &input)).check, Check::StartsAtArm);
    arm.captured = NOW;
    arm.joints.as_mut_slice()[6] += 0.03;
    input.arm.set(3, arm);
    let result = failed(&step(&phantom, USUAL, &input));
    assert!(result.check == Check::StartsAtArm && (result.value - 0.03).abs() < 1e-9);
    let mut input = phantom.input(vec![phantom.good()]);
    input.sent.set(2, phantom.sent(GateState::Active, None));
    assert_eq!(failed(&step(&phantom, USUAL, &input)).check, Check::StartsAtArm);
    let mut sent = phantom.sent(GateState::Armed, None);
    sent.joints = Joints::zeros(6);
    input.sent.set(3, sent);
    assert!(step(&phantom, USUAL, &input).approved.is_none());
}

#[test]
fn reachable() {
    let phantom = Phantom::new();
    let result = refused(&phantom, phantom.motion([to(0.0, 0.0, 1500.0, 50.0, Energy::OFF)]), USUAL, Check::Reachable);
    assert!(result.at.is_some() && result.when > Duration::from_secs(1));
}

#[test]
fn joint_position_speed_and_acceleration() {
    let phantom = Phantom::new();
    let turn = |by: f64| {
        let turned = phantom.tip().isometry().rotation * UnitQuaternion::from_axis_angle(&Vector3::z_axis(), by);
        let pose = Pose::new(Isometry3::from_parts(Translation3::new(0.0, 0.0, 100.0), turned)).expect("finite");
        phantom.motion([Waypoint { patient_from_tip: pose, feed_mm_s: 10.0, energy: Energy::OFF }])
    };
    // The last joint 2.6 of its 3.05 rad round, which leaves the tip where it is.
    let mut round = Phantom::new();
    round.joints.as_mut_slice()[6] = 2.6;
    let lower = Pose::new(Translation3::new(0.0, 0.0, -3.0) * round.tip().isometry()).expect("finite");
    let motion = round.motion([Waypoint { patient_from_tip: lower, feed_mm_s: 10.0, energy: Energy::OFF }]);
    let result = refused(&round, motion, LimitValues { joint_room_rad: 0.5, ..USUAL }, Check::JointPosition);
    assert!((result.value - 0.454).abs() < 0.01, "{}", result.value);
    let fast = LimitValues { turn_rad_s: 1.0, ..USUAL };
    refused(&phantom, turn(1.0), LimitValues { joint_speed_share: 0.05, ..fast }, Check::JointSpeed);
    refused(&phantom, turn(1.0), LimitValues { joint_acceleration_share: 0.05, ..fast }, Check::JointAcceleration);
}

#[test]
fn tip_speed_by_place_and_energy() {
    let phantom = Phantom::new();
    let result = refused(&phantom, phantom.motion([to(0.0, 0.0, 55.0, 12.0, Energy::OFF)]), USUAL, Check::TipSpeed);
    assert!((result.value - 1.2).abs() < 0.01, "{}", result.value);
    assert!(result.at.expect("a place").coordinates().z < 85.1);
    let cut = phantom.motion([to(0.0, 0.0, 95.0, 8.0, Energy::CUT)]);
    refused(&phantom, cut, USUAL, Check::TipSpeed);
}

#[test]
fn self_collision() {
    // An instrument mounted backwards, through the wrist.
    let backwards = Pose::new(Isometry3::translation(0.0, 0.0, -220.0)).expect("finite");
    let phantom = Phantom::with(ArmModelId::LbrMed7, backwards, down(0.0, 0.0, 400.0));
    let result =
        refused(&phantom, phantom.motion([to(0.0, 0.0, 401.0, 10.0, Energy::OFF)]), USUAL, Check::SelfCollision);
    assert!(result.value < 0.0);
}

#[test]
fn rim_clearance() {
    let phantom = Phantom::new();
    // Through the bone beside the hole.
    let through = phantom.motion([to(30.0, 0.0, 100.0, 30.0, Energy::OFF), to(30.0, 0.0, 82.0, 8.0, Energy::OFF)]);
    let result = refused(&phantom, through, USUAL, Check::RimClearance);
    assert!(result.value < 0.0 && result.at.is_some());
    // Inside the hole, but too near its rim.
    let near = phantom.motion([to(18.0, 0.0, 95.0, 30.0, Energy::OFF), to(18.0, 0.0, 83.0, 8.0, Energy::OFF)]);
    let result = refused(&phantom, near, USUAL, Check::RimClearance);
    assert!(result.value < 1.0 && result.value > -1.5, "{}", result.value);
}

#[test]
fn forbidden_clearance_of_voxels_vessels_and_far_labels() {
    let phantom = Phantom::new();
    let mut near = scene(&phantom.anatomy, |p| (p - Point3::new(6.0, 0.0, 58.0)).norm() < 4.0);
    near.id.0 = 2;
    let blocked = Phantom { scene: Arc::new(stamp(near, NOW)), ..Phantom::new() };
    let result = refused(&blocked, blocked.good(), USUAL, Check::ForbiddenClearance);
    assert!(result.at.expect("where").coordinates().z < 66.0);

    let mut anatomy = super::phantom::anatomy();
    anatomy.vessels[0].start = Point3::new(4.0, -20.0, 60.0);
    anatomy.vessels[0].end = Point3::new(4.0, 20.0, 60.0);
    anatomy.digest = anatomy.digest_of_content();
    let crossed = Phantom { scene: Arc::new(scene(&anatomy, ball)), anatomy: Arc::new(anatomy), ..Phantom::new() };
    refused(&crossed, crossed.good(), USUAL, Check::ForbiddenClearance);

    // An eloquent label above the fine region, in the air, where only the anatomy speaks.
    let mut anatomy = super::phantom::anatomy();
    for i in 0..anatomy.labels.len() {
        if (anatomy.grid.centre(anatomy.grid.voxel(i)) - Point3::new(3.0, 0.0, 95.0)).norm() < 3.0 {
            anatomy.labels[i] = 2;
        }
    }
    anatomy.digest = anatomy.digest_of_content();
    let labelled = Phantom { scene: Arc::new(scene(&anatomy, ball)), anatomy: Arc::new(anatomy), ..Phantom::new() };
    refused(&labelled, labelled.good(), USUAL, Check::ForbiddenClearance);
}

#[test]
fn indentation_in_and_outside_the_fine_region() {
    let phantom = Phantom::new().at(down(0.0, 0.0, 60.0));
    let press = phantom.motion([to(0.0, 0.0, 45.0, 5.0, Energy::OFF)]);
    let result = refused(&phantom, press, USUAL, Check::Indentation);
    assert!(result.value > 3.0 && result.value < 6.0, "{}", result.value);
    let touch = phantom.motion([to(0.0, 0.0, 48.5, 5.0, Energy::OFF)]);
    assert!(step(&phantom, USUAL, &phantom.input(vec![touch])).approved.is_some());
}

#[test]
fn retract() {
    // Lying flat above the head, the shaft leads nowhere out.
    let flat = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), std::f64::consts::FRAC_PI_2);
    let pose = Pose::new(Isometry3::from_parts(Translation3::new(0.0, 0.0, 105.0), flat)).expect("finite");
    let phantom = Phantom::with(ArmModelId::LbrMed7, long(), pose);
    let along = Pose::new(Isometry3::from_parts(Translation3::new(0.0, 0.0, 106.0), flat)).expect("finite");
    let motion = phantom.motion([Waypoint { patient_from_tip: along, feed_mm_s: 5.0, energy: Energy::OFF }]);
    let out = step(&phantom, USUAL, &phantom.input(vec![motion]));
    assert!(out.approved.is_none());
    let retract = out.verdicts[0].checks.iter().find(|c| c.check == Check::Retract);
    let said: Vec<String> = out.verdicts[0].checks.iter().map(crate::words).collect();
    assert!(retract.is_some_and(|r| !r.passed), "{said:#?}");
}

#[test]
fn what_a_motion_removed_is_not_in_the_way_out_of_its_end() {
    // The same place: pressed into tissue it is refused, in what the motion itself has cut it is not.
    let phantom = Phantom::new().at(down(0.0, 0.0, 60.0));
    let cut = phantom.motion([to(0.0, 0.0, 49.0, 5.0, Energy::OFF), to(0.0, 0.0, 45.0, 2.0, Energy::CUT)]);
    let out = step(&phantom, USUAL, &phantom.input(vec![cut]));
    assert!(out.approved.is_some(), "{:#?}", out.verdicts[0].checks.iter().map(crate::words).collect::<Vec<_>>());
    // And it is there again for the next plan.
    let press = phantom.motion([to(0.0, 0.0, 45.0, 5.0, Energy::OFF)]);
    refused(&phantom, press, USUAL, Check::Indentation);
}

#[test]
fn a_motion_that_ends_where_no_way_leads_out() {
    // From 60° off upright, the shaft is laid down until it leads nowhere out; 65° is allowed.
    let lying = |degrees: f64, z: f64| {
        let turn = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), degrees.to_radians());
        let rotation = turn * down(0.0, 0.0, 0.0).isometry().rotation;
        Pose::new(Isometry3::from_parts(Translation3::new(0.0, 0.0, z), rotation)).expect("finite")
    };
    let phantom = Phantom::with(ArmModelId::LbrMed7, long(), lying(60.0, 105.0));
    let laid = |degrees: f64| {
        let patient_from_tip = lying(degrees, 107.0);
        phantom.motion([Waypoint { patient_from_tip, feed_mm_s: 1.0, energy: Energy::OFF }])
    };
    let result = refused(&phantom, laid(82.0), USUAL, Check::Retract);
    assert!(result.when > Duration::ZERO, "at the motion's end");
    assert!((result.at.expect("where").coordinates() - Point3::new(0.0, 0.0, 107.0)).norm() < 0.01, "{:?}", result.at);
    let half = step(&phantom, USUAL, &phantom.input(vec![laid(65.0)]));
    assert!(half.approved.is_some(), "{:#?}", half.verdicts[0].checks.iter().map(crate::words).collect::<Vec<_>>());
}

#[test]
fn messages_that_contradict_themselves_are_a_fault_and_approve_nothing() {
    let phantom = Phantom::new();
    let mut scene = Scene::clone(&phantom.scene);
    scene.state.truncate(100);
    let broken = Phantom { scene: Arc::new(scene), ..Phantom::new() };
    let mut validate = Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount");
    let mut out = ValidateOut::default();
    let fault = validate.step(NOW, &broken.input(vec![phantom.good()]), &mut out).expect_err("too short");
    assert!(matches!(fault, ValidateFault::Malformed(_)) && fault.to_string().contains("100"), "{fault}");
    assert!(out.approved.is_none());
    validate.step(NOW, &phantom.input(vec![phantom.good()]), &mut out).expect("whole again");
    assert!(out.approved.is_some());
}

#[test]
fn a_plan_before_anything_else_is_refused() {
    let phantom = Phantom::new();
    let mut input = crate::ValidateIn::default();
    input.plans = phantom.input(vec![phantom.good()]).plans;
    let out = step(&phantom, USUAL, &input);
    assert!(out.approved.is_none());
    assert!(out.verdicts[0].checks.iter().all(|c| !c.passed));
}
