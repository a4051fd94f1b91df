//! What is asked of the arm's jerk and posture, and of tissue: force, strain, wall that was seen, roofs.

use super::phantom::{NOW, Phantom, down, long, stamp, to};
use super::{failed, refused, step};
use crate::LimitValues;
use bregma_core::arm::ArmModelId;
use bregma_core::flow::{Check, CheckResult, Energy, Motion, Scene, Waypoint, voxel};
use bregma_core::frame::Pose;
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use std::sync::Arc;

const USUAL: LimitValues = LimitValues::USUAL;

fn found(phantom: &Phantom, limits: LimitValues, motion: Motion, check: Check) -> CheckResult {
    let out = step(phantom, limits, &phantom.input(vec![motion]));
    *out.verdicts[0].checks.iter().find(|c| c.check == check).expect("measured")
}

#[test]
fn joint_jerk() {
    let phantom = Phantom::new();
    let fast = phantom.motion([to(0.0, 0.0, 130.0, 50.0, Energy::OFF)]);
    let share = found(&phantom, USUAL, fast.clone(), Check::JointJerk).value;
    // 50 mm/s in two averages of 0.16 and 0.08 s: 3.9 m/s³ at the tip, over 0.2 to 0.8 m of arm 5 to 20 rad/s³ of 100.
    assert!((0.02..0.3).contains(&share), "{share}");
    refused(&phantom, fast, LimitValues { joint_jerk_share: 0.05, ..USUAL }, Check::JointJerk);
    let slow = phantom.motion([to(0.0, 0.0, 130.0, 10.0, Energy::OFF)]);
    let slower = found(&phantom, USUAL, slow, Check::JointJerk).value;
    assert!((slower / share - 0.2).abs() < 0.02, "as the speed: {slower} {share}");
}

#[test]
fn a_posture_near_a_singular_one() {
    let phantom = Phantom::new();
    let base = phantom.mount.patient_from_arm_base.position().coordinates();
    let away = (phantom.tip().position().coordinates() - base).normalize();
    let stretched = |by: f64| {
        let mut end = *phantom.tip().isometry();
        end.translation.vector += away * by;
        let patient_from_tip = Pose::new(end).expect("finite");
        phantom.motion([Waypoint { patient_from_tip, feed_mm_s: 10.0, energy: Energy::OFF }])
    };
    // Ever farther away, until the elbow is all but straight: refused before the arm does not reach at all.
    let of = |by: f64| {
        let out = step(&phantom, USUAL, &phantom.input(vec![stretched(by)]));
        let first = out.verdicts[0].checks.iter().find(|c| !c.passed).map(|c| c.check);
        let value = out.verdicts[0].checks.iter().find(|c| c.check == Check::Singularity).map(|c| c.value);
        (first, value)
    };
    let ways: Vec<_> = [0.0].into_iter().chain((0..30).map(|n| 175.0 + f64::from(n))).map(of).collect();
    let at =
        ways.iter().position(|(first, _)| *first == Some(Check::Singularity)).unwrap_or_else(|| panic!("{ways:?}"));
    assert!(ways[at].1.is_some_and(|v| v < 30.0) && ways[0].1.is_some_and(|v| v > 100.0));
    assert!(ways[at..].iter().all(|(first, _)| first.is_some()), "and all that is farther: {ways:?}");
    assert!(ways.iter().any(|(first, _)| *first == Some(Check::Reachable)));
}

/// A phantom with another shaft.
fn thick(radius_mm: f64) -> Phantom {
    let mut phantom = Phantom::new().at(down(0.0, 0.0, 60.0));
    phantom.mount.shaft_radius_mm = radius_mm;
    phantom
}

#[test]
fn force_by_a_thick_shaft_and_strain_by_a_thin_one() {
    // Both press by less than 2 mm: 2 · 4 kPa · 3 mm · 1.6 mm = 38 mN, and 1.6 mm / (8 · 0.5 mm) = 40 %.
    for (radius_mm, check, low, high) in [(3.0, Check::TissueForce, 25.0, 48.0), (0.5, Check::TissueStrain, 0.25, 0.5)]
    {
        let phantom = thick(radius_mm);
        let press = phantom.motion([to(0.0, 0.0, 48.0 + radius_mm - 1.7, 5.0, Energy::OFF)]);
        let result = refused(&phantom, press, USUAL, check);
        assert!((low..high).contains(&result.value), "{}", crate::words(&result));
    }
    // The shaft that both limits were made for reaches all three together.
    let phantom = thick(1.25);
    let press = phantom.motion([to(0.0, 0.0, 45.0, 5.0, Energy::OFF)]);
    let out = step(&phantom, USUAL, &phantom.input(vec![press]));
    let failed: Vec<Check> = out.verdicts[0].checks.iter().filter(|c| !c.passed).map(|c| c.check).collect();
    assert_eq!(failed, [Check::Indentation, Check::TissueForce, Check::TissueStrain]);
}

#[test]
fn a_press_counts_an_axis_share_of_the_registrations_error() {
    let press = |registration_mm: f64| {
        let phantom = Phantom::new();
        let mut scene = Scene::clone(&phantom.scene);
        scene.errors.registration = Millimetres::constant(registration_mm);
        let phantom = Phantom { scene: Arc::new(stamp(scene, NOW)), ..phantom }.at(down(0.0, 0.0, 60.0));
        let motion = phantom.motion([to(0.0, 0.0, 47.5, 5.0, Energy::OFF)]);
        found(&phantom, LimitValues { press_sigmas: 1.0, ..USUAL }, motion, Check::Indentation).value
    };
    let rigid = |registration_mm: f64| registration_mm.hypot(0.2_f64.hypot(0.2));
    let more = (rigid(1.5) - rigid(0.3)) / 3.0_f64.sqrt();
    assert!((press(1.5) - press(0.3) - more).abs() < 0.02, "{} {}", press(1.5), press(0.3));
}

/// The phantom's scene with its wall marked, seen so long ago.
fn seen(phantom: &Phantom, age_s: u8, visible: bool) -> Arc<Scene> {
    let mut scene = Scene::clone(&phantom.scene);
    let open = |s: u8| s & voxel::CAVITY != 0;
    let (grid, state) = (scene.grid, scene.state.clone());
    for i in 0..grid.len() {
        let v = grid.voxel(i);
        let beside = (0..3).any(|a| {
            let mut w = v;
            w[a] = (v[a] + 1).min(grid.dims[a] - 1);
            let mut u = v;
            u[a] = v[a].saturating_sub(1);
            open(state[grid.index(w)]) || open(state[grid.index(u)])
        });
        if beside && state[i] & voxel::BRAIN != 0 && !open(state[i]) {
            scene.state[i] |= voxel::WALL | if visible { voxel::VISIBLE } else { 0 };
            scene.seen_age_s[i] = age_s;
        }
    }
    Arc::new(stamp(scene, NOW))
}

#[test]
fn only_wall_that_was_seen_lately_is_cut() {
    let phantom = Phantom::new().at(down(2.0, 1.0, 52.0));
    let cut = |phantom: &Phantom| {
        phantom.motion([to(2.0, 1.0, 46.5, 4.0, Energy::CUT), to(2.0, 1.0, 52.0, 9.0, Energy::OFF)])
    };
    let limits = LimitValues { seen_s: 30.0, ..USUAL };
    for (age_s, visible, passes) in [(20, false, true), (40, false, false), (255, false, false), (255, true, true)] {
        let scene = seen(&phantom, age_s, visible);
        let phantom = Phantom { scene, ..Phantom::new() }.at(down(2.0, 1.0, 52.0));
        let out = step(&phantom, limits, &phantom.input(vec![cut(&phantom)]));
        assert_eq!(out.approved.is_some(), passes, "{age_s} {visible}");
        if !passes {
            let result = failed(&out);
            assert_eq!((result.check, result.value), (Check::CutSeen, f64::from(age_s)));
            assert!(result.when.nanos() > 0 && result.at.expect("where").coordinates().z < 51.0);
        }
        // What cuts nothing asks for nothing.
        let idle = phantom.motion([to(2.0, 1.0, 55.0, 4.0, Energy::OFF)]);
        assert!(step(&phantom, limits, &phantom.input(vec![idle])).approved.is_some());
    }
}

#[test]
fn no_roof_is_left_over_what_is_removed() {
    let limits = LimitValues { roof_mm: 5.0, ..USUAL };
    // A tunnel aslant: in at one side of the corridor, under the tissue beside its end.
    let aslant = |along: f64| {
        let (from, dir) = (Point3::new(-9.0, 0.0, 74.0), Vector3::new(0.62, 0.0, -0.785).normalize());
        let turn = UnitQuaternion::rotation_between(&-Vector3::z(), &dir).expect("no half turn");
        let rotation = turn * down(0.0, 0.0, 0.0).isometry().rotation;
        let at = from + dir * along;
        Pose::new(Isometry3::from_parts(Translation3::from(at.coords), rotation)).expect("finite")
    };
    let empty = Arc::new(super::phantom::scene(&super::phantom::anatomy(), |_| false));
    let phantom = Phantom { scene: empty, ..Phantom::with(ArmModelId::LbrMed7, long(), aslant(20.0)) };
    let tunnel = |along: f64| {
        phantom.motion([Waypoint { patient_from_tip: aslant(along), feed_mm_s: 4.0, energy: Energy::CUT }])
    };
    // Its roof is held at both sides, however long it is.
    let narrow = found(&phantom, limits, tunnel(46.0), Check::Roof);
    assert!(narrow.passed && narrow.value > 2.0, "{}", crate::words(&narrow));
    // A chamber as wide as it is long.
    let chamber = |along: f64| {
        let beside = |y: f64, along: f64| {
            let mut iso = *aslant(along).isometry();
            iso.translation.vector.y += y;
            Waypoint { patient_from_tip: Pose::new(iso).expect("finite"), feed_mm_s: 4.0, energy: Energy::CUT }
        };
        phantom.motion([-4.5, -1.5, 1.5, 4.5].into_iter().flat_map(|y| [beside(y, along - 12.0), beside(y, along)]))
    };
    let short = found(&phantom, limits, chamber(32.0), Check::Roof);
    assert!(short.passed, "{}", crate::words(&short));
    let long = found(&phantom, limits, chamber(46.0), Check::Roof);
    assert!(!long.passed && long.value > 5.0, "{}", crate::words(&long));
    // The same length straight down leaves no roof: its lines to the entry run in the tunnel.
    let upright = Phantom::new().at(down(0.0, 0.0, 54.0));
    let straight = upright.motion([to(0.0, 0.0, 30.0, 4.0, Energy::CUT)]);
    let roof = found(&upright, limits, straight, Check::Roof);
    assert!(roof.passed && roof.value < 3.0, "{}", crate::words(&roof));
}
