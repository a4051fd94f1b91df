//! The whole way, on tubes of known width.

use super::phantom::{Phantom, affine};
use super::*;
use bregma_core::flow::Capsule;
use nalgebra::{Matrix4, Vector3};

/// Turned, mirrored, and longer than wide.
const STEP_MM: [f64; 3] = [0.45, -0.5, 0.8];
const DIMS: [usize; 3] = [110, 72, 48];

fn found(phantom: &Phantom) -> VesselTree {
    vessels(&phantom.volume(), &Settings::of(Modality::Mra), None, &|_, _| {}).expect("sound")
}

/// Compares what lies beside a true axis, away from its ends, with the true diameter.
fn assert_like(tree: &VesselTree, axis: &[Point3<f64>], diameter_mm: f64) {
    let legs = axis.windows(2).map(|w| Capsule { start: w[0], end: w[1], radius_mm: 0.0 });
    let legs: Vec<Capsule> = legs.collect();
    let off_mm = |s: &Station| legs.iter().map(|l| l.distance_mm(&s.at)).fold(f64::INFINITY, f64::min);
    let inner = |s: &&Station| [axis[0], axis[axis.len() - 1]].iter().all(|e| nalgebra::distance(&s.at, e) > 4.0);
    let stations = tree.branches.iter().flat_map(|b| &b.stations).filter(inner);
    let beside: Vec<&Station> = stations.filter(|s| off_mm(s) < 1.5).collect();
    assert!(beside.len() > 10, "{} stations of a tube of {diameter_mm} mm", beside.len());
    for station in &beside {
        let error = 2.0 * station.radius_mm / diameter_mm - 1.0;
        assert!(error.abs() < 0.1, "{} is not {diameter_mm} mm", 2.0 * station.radius_mm);
        assert!(off_mm(station) < 0.22, "{} mm off a tube of {diameter_mm} mm", off_mm(station));
        assert!(station.radius_error_mm > 0.0 && station.radius_error_mm < 0.2 * diameter_mm);
        assert!(station.position_error_mm > 0.03 && station.position_error_mm < 0.4);
    }
}

/// A point of the volume, shares of its edges.
fn inside(affine: &Matrix4<f64>, shares: [f64; 3]) -> Point3<f64> {
    affine.transform_point(&std::array::from_fn::<f64, 3, _>(|a| shares[a] * (DIMS[a] as f64 - 1.0)).into())
}

#[test]
fn straight_and_slanted_tubes_have_their_diameters() {
    let affine = affine(STEP_MM);
    let mut phantom = Phantom::new(DIMS, affine);
    let tubes = [(1.0, 0.3, [0.2, 0.8]), (1.6, 0.5, [0.5, 0.5]), (2.6, 0.7, [0.7, 0.25]), (4.0, 0.88, [0.4, 0.6])];
    let axes = tubes.map(|(_, x, [y0, y1])| [inside(&affine, [x, y0, 0.02]), inside(&affine, [x, y1, 0.98])]);
    for ((diameter_mm, ..), [start, end]) in tubes.iter().zip(&axes) {
        phantom.tube(*start, end - start, *diameter_mm);
    }
    let tree = found(&phantom);
    for ((diameter_mm, ..), axis) in tubes.iter().zip(&axes) {
        assert_like(&tree, axis, *diameter_mm);
    }
    assert_eq!((tree.branches.len(), tree.nodes.len()), (4, 8), "one branch for each");
    let capsules = tree.capsules(1.3);
    assert!(!capsules.is_empty() && capsules.iter().all(|c| c.capsule.radius_mm > 0.7));
}

#[test]
fn a_curved_tube_keeps_its_course() {
    let affine = affine(STEP_MM);
    let mut phantom = Phantom::new(DIMS, affine);
    let middle = inside(&affine, [0.55, 0.5, 0.5]);
    let (u, v) = (Vector3::new(0.8, 0.6, 0.0), Vector3::new(-0.36, 0.48, 0.8));
    let arc = |n: i32| middle + 10.0 * (u * libm::cos(0.1 * f64::from(n)) + v * libm::sin(0.1 * f64::from(n)));
    let axis: Vec<Point3<f64>> = (0..48).map(arc).collect();
    phantom.path(&axis, 1.8);
    let tree = found(&phantom);
    assert_like(&tree, &axis, 1.8);
    assert!((tree.length_mm() - 47.0).abs() < 4.0, "{} mm of 47", tree.length_mm());
}

#[test]
fn a_bifurcation_is_one_node_of_three_branches() {
    let affine = affine(STEP_MM);
    let mut phantom = Phantom::new(DIMS, affine);
    let [root, fork] = [[0.3, 0.5, 0.1], [0.55, 0.5, 0.45]].map(|s| inside(&affine, s));
    let [left, right] = [[0.9, 0.15, 0.7], [0.8, 0.85, 0.95]].map(|s| inside(&affine, s));
    phantom.path(&[root, fork], 2.4);
    phantom.path(&[fork, left], 1.8);
    phantom.path(&[fork, right], 1.5);
    let tree = found(&phantom);
    let mut degrees = tree.degrees();
    degrees.sort_unstable();
    assert_eq!(degrees, [1, 1, 1, 3]);
    assert_eq!(tree.branches.len(), 3);
    let node = tree.degrees().iter().position(|d| *d == 3).expect("there");
    assert!(nalgebra::distance(&tree.nodes[node], &fork) < 1.5);
    for (end, diameter_mm) in [(root, 2.4), (left, 1.8), (right, 1.5)] {
        assert_like(&tree, &[fork, end], diameter_mm);
    }
    for branch in &tree.branches {
        let ends = [&branch.stations[0], &branch.stations[branch.stations.len() - 1]];
        assert!(branch.nodes.iter().zip(ends).all(|(n, s)| tree.nodes[*n] == s.at));
    }
}

#[test]
fn neighbours_and_faint_blood_do_not_spoil_a_diameter() {
    let affine = affine(STEP_MM);
    let mut phantom = Phantom::new(DIMS, affine);
    let tubes = [(2.4, 400.0, 0.35), (1.4, 400.0, 0.43), (2.6, 200.0, 0.7)];
    let axes = tubes.map(|(.., x)| [inside(&affine, [x, 0.5, 0.02]), inside(&affine, [x, 0.5, 0.98])]);
    for ((diameter_mm, blood, _), [start, end]) in tubes.iter().zip(&axes) {
        phantom.blood = *blood;
        phantom.tube(*start, end - start, *diameter_mm);
    }
    let between = nalgebra::distance(&axes[0][0], &axes[1][0]);
    assert!(between > 3.5 && between < 4.5, "{between} mm from axis to axis");
    let tree = found(&phantom);
    for ((diameter_mm, ..), axis) in tubes.iter().zip(&axes) {
        assert_like(&tree, axis, *diameter_mm);
    }
    let mut faint: Vec<bool> = tree.branches.iter().map(|b| b.faint).collect();
    faint.sort_unstable();
    assert_eq!(faint, [false, false, true]);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut phantom = Phantom::new([60, 50, 40], affine(STEP_MM));
    phantom.tube(phantom.middle(), Vector3::new(0.3, 1.0, 0.5), 1.6);
    let volume = phantom.volume();
    let [one, three] = [1, 3].map(|threads| {
        let settings = Settings { threads, ..Settings::of(Modality::Mra) };
        vessels(&volume, &settings, None, &|_, _| {}).expect("sound")
    });
    assert!(!one.branches.is_empty());
    assert_eq!(one, three);
}

#[test]
fn nothing_is_found_where_nothing_is_or_may_be() {
    let mut phantom = Phantom::new([60, 50, 40], affine(STEP_MM));
    assert_eq!(found(&phantom), VesselTree::default(), "noise beside air");
    phantom.sheet = true;
    assert!(found(&phantom).branches.is_empty(), "a sheet, as the scalp is");
    phantom.sheet = false;
    phantom.tube(phantom.middle(), Vector3::new(0.3, 1.0, 0.5), 2.0);
    let search = |within: &Within<'_>| {
        let settings = Settings::of(Modality::Mra);
        vessels(&phantom.volume(), &settings, Some(within), &|_, _| {}).expect("sound")
    };
    assert_eq!(search(&|_| false), VesselTree::default());
    let middle = phantom.middle();
    let half = search(&|at| at.y > middle.y);
    assert!(!half.branches.is_empty());
    assert!(half.branches.iter().flat_map(|b| &b.stations).all(|s| s.at.y > middle.y - 1.0));
}

#[test]
fn every_step_is_heard_of_in_order() {
    let phantom = Phantom::new([30, 20, 20], affine([0.5; 3]));
    let heard = std::cell::RefCell::new(Vec::new());
    let settings = Settings::of(Modality::Mra);
    let done = |step: usize, of: usize| heard.borrow_mut().push((step, of));
    vessels(&phantom.volume(), &settings, None, &done).expect("sound");
    let steps = heard.borrow().len();
    assert_eq!(*heard.borrow(), (1..=steps).map(|n| (n, steps)).collect::<Vec<_>>());
}

#[test]
fn what_is_no_scan_is_refused_with_the_reason() {
    let sound = Phantom::new([20, 16, 12], affine([0.5; 3])).volume();
    let refused = |change: &dyn Fn(&mut Volume)| {
        let mut bad = sound.clone();
        change(&mut bad);
        vessels(&bad, &Settings::of(Modality::Mra), None, &|_, _| {}).expect_err("refused").to_string()
    };
    assert!(refused(&|v| v.intensities.truncate(9)).contains("has 9 intensities"));
    assert!(refused(&|v| (v.dims, v.intensities) = ([0; 3], Vec::new())).contains("and some, are needed"));
    assert!(refused(&|v| v.dims = [usize::MAX, 2, 2]).contains("one for each voxel"));
    assert!(refused(&|v| v.dims = [240, 16, 1]).contains("at least 5 along each axis"));
    assert!(refused(&|v| v.intensities[7] = f32::NAN).contains("NaN at voxel 7"));
    assert!(refused(&|v| v.intensities.fill(3.0)).contains("all intensities of a volume are 3"));
    assert!(refused(&|v| v.intensities.iter_mut().for_each(|i| *i = (*i / 50.0).round())).contains("labels"));
    assert!(refused(&|v| v.patient_from_voxel.fill(0.0)).contains("determinant 0"));
    assert!(refused(&|v| v.patient_from_voxel[(0, 0)] = f64::NAN).contains("must be finite"));
    assert!(refused(&|v| v.patient_from_voxel[(3, 0)] = 0.1).contains("end in 0 0 0 1"));
    // Two axes nearly the same.
    assert!(refused(&|v| v.patient_from_voxel = skewed(v.patient_from_voxel)).contains("right angles"));
    assert!(refused(&|v| v.patient_from_voxel *= Matrix4::new_scaling(0.01)).contains("voxels of 0.005 mm"));
    // One broken voxel is no reason.
    let mut broken = sound.clone();
    broken.intensities[1234] = 3e38;
    assert!(vessels(&broken, &Settings::of(Modality::Mra), None, &|_, _| {}).is_ok());
}

fn skewed(mut affine: Matrix4<f64>) -> Matrix4<f64> {
    let first = affine.column(0).into_owned();
    affine.column_mut(1).copy_from(&(first * 1.01));
    affine[(0, 1)] += 0.01;
    affine
}

#[test]
fn settings_outside_their_range_are_refused() {
    let volume = Phantom::new([20, 16, 12], affine([0.5; 3])).volume();
    let refused = |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::of(Modality::Mra);
        change(&mut settings);
        matches!(vessels(&volume, &settings, None, &|_, _| {}), Err(VesselError::Setting { .. }))
    };
    assert!(refused(&|s| s.radius_mm = [2.0, 1.0]) && refused(&|s| s.radius_mm[0] = f64::NAN));
    assert!(refused(&|s| s.strength = [0.3, 0.1]) && refused(&|s| s.threads = 0));
    assert!(refused(&|s| s.blood[1] = 0.0) && refused(&|s| s.length_min_mm = f64::INFINITY));
    assert!(!refused(&|s| s.threads = 1));
}
