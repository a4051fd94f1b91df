//! A handful of motions about one small patient.

use super::*;
use bregma_core::arm::{ArmModel, ArmModelId};
use bregma_core::flow::{Energy, Waypoint};
use nalgebra::{Point3, Translation3};
use std::sync::OnceLock;

fn config() -> &'static (Config, crate::config::PatientSource) {
    static SETTING: OnceLock<(Config, crate::config::PatientSource)> = OnceLock::new();
    SETTING.get_or_init(|| setting(WorldKind::Home).expect("the suite is built in"))
}

fn believed() -> &'static Believed {
    static BELIEVED: OnceLock<Believed> = OnceLock::new();
    BELIEVED.get_or_init(|| Believed::new(&config().0, &config().1, 200_000).expect("seed 200000 has a patient"))
}

fn truth() -> Truth {
    let believed = believed();
    Truth::of(&believed.patient, &believed.anatomy, believed.mount.shaft_radius_mm)
}

#[test]
fn motions_that_must_be_refused_are_and_plain_ones_are_not() {
    let truth = truth();
    let mut bench = Bench::new(&config().0, believed(), &truth).expect("a mount");
    for category in Category::ALL {
        let lines = bench.all(category, 2, 200_000).expect("no stage refuses");
        let judged = lines.iter().filter(|l| l.unsafe_() || category == Category::Safe);
        let mut count = 0;
        for line in judged {
            count += 1;
            assert_eq!(line.accepted, category == Category::Safe, "{line:?}");
        }
        assert!(count > 0, "none was drawn: {}", category.name());
    }
}

#[test]
fn the_same_seed_gives_the_same_lines() {
    let truth = truth();
    let lines = || {
        let mut bench = Bench::new(&config().0, believed(), &truth).expect("a mount");
        [Category::Vessel, Category::Tampered].map(|c| bench.all(c, 2, 200_000).expect("no stage refuses"))
    };
    assert_eq!(lines(), lines());
}

#[test]
fn truth_is_what_it_looks_like() {
    let (truth, believed) = (truth(), believed());
    let vessel = truth.vessels().iter().max_by(|a, b| a.radius_mm.total_cmp(&b.radius_mm)).expect("has vessels");
    let middle = nalgebra::center(&vessel.start, &vessel.end);
    let axis = (vessel.end - vessel.start).normalize();
    let across = axis.cross(&nalgebra::Vector3::new(0.3, 0.5, 0.8)).normalize();
    // A shaft that points at a vessel's middle from aside, 3 mm before its surface.
    let rest = believed.tip_at_rest().rotation;
    let turn =
        nalgebra::UnitQuaternion::rotation_between(&(rest * nalgebra::Vector3::z()), &-across).expect("no half turn");
    let at = middle + across * (vessel.radius_mm + believed.mount.shaft_radius_mm + 3.0);
    let pose = Isometry3::from_parts(Translation3::from(at.coords), turn * rest);
    let found = truth.look(&[(pose, false)]);
    assert!(found.vessel_mm <= 3.0 + 1e-9, "{found:?}");
    let own = truth.vessels().iter().map(|v| v.distance_mm(&at)).fold(f64::INFINITY, f64::min);
    assert!(found.vessel_mm <= own - believed.mount.shaft_radius_mm + 1e-9);

    // A tip pressed into the corridor's end by 3 mm, and by none where the way there was carved.
    let corridor = believed.anatomy.corridor;
    let way = (corridor.target - corridor.entry).normalize();
    let turn =
        nalgebra::UnitQuaternion::rotation_between(&(rest * nalgebra::Vector3::z()), &way).expect("no half turn");
    let end = |past: f64| {
        let at: Point3<f64> = corridor.entry + way * (corridor.open_mm + past - believed.mount.shaft_radius_mm);
        Isometry3::from_parts(Translation3::from(at.coords), turn * rest)
    };
    let pressed = truth.look(&[(end(3.0), false)]).pressed_mm;
    assert!((pressed - 3.0).abs() < 1.0, "to a voxel: {pressed}");
    let mut way: Vec<Passed> = (0..=16).map(|n| (end(-1.0 + 0.25 * f64::from(n)), true)).collect();
    way.push((end(3.0), false));
    assert!(truth.look(&way).pressed_mm < 0.1, "{}", truth.look(&way).pressed_mm);
}

#[test]
fn a_way_is_looked_at_every_quarter_of_a_millimetre_and_moved_by_the_error() {
    let start = Isometry3::identity();
    let to = Isometry3::translation(0.0, 0.0, 10.0);
    let pose = bregma_core::Pose::new(to).expect("finite");
    let waypoint = Waypoint { patient_from_tip: pose, feed_mm_s: 5.0, energy: Energy::CUT };
    let way = truth::along(&start, &[waypoint], &Isometry3::translation(2.0, 0.0, 0.0));
    assert_eq!(way.len(), 41);
    assert!(way.windows(2).all(|w| (w[1].0.translation.vector - w[0].0.translation.vector).norm() <= 0.25 + 1e-12));
    assert!(way.iter().all(|(p, _)| (p.translation.x - 2.0).abs() < 1e-12) && !way[0].1 && way[40].1);
}

#[test]
fn dexterity_by_differences_is_the_arms_own() {
    for id in ArmModelId::ALL {
        let arm = ArmModel::new(id);
        let (own, by_differences) = (arm.dexterity_mm(&arm.rest()), truth::dexterity_mm(&arm, &arm.rest()));
        assert!((own - by_differences).abs() < 0.1, "{id:?}: {own} {by_differences}");
    }
}
