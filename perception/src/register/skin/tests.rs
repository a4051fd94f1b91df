//! Skin in scans of made-up heads: where it is, and where there is none.

use super::super::noise::Noise;
use super::super::surface::{self, Surface};
use super::*;
use bregma_core::flow::Modality;
use bregma_core::frame::FrameId;
use bregma_core::time::Instant;
use nalgebra::{Isometry3, Translation3, UnitQuaternion};

/// How bright layers are.
#[derive(Clone, Copy)]
struct Head {
    scalp: f32,
    bone: f32,
    /// Standard deviation of noise.
    noise: f64,
}

const USUAL: Head = Head { scalp: 220.0, bone: 25.0, noise: 8.0 };

/// Radius of the skin along a direction: an ellipsoid with a nose, eye sockets and a brow.
fn radius(out: &Vector3<f64>) -> f64 {
    let ellipsoid = 1.0 / Vector3::new(out.x / 75.0, out.y / 95.0, out.z / 105.0).norm();
    let bump = |x: f64, z: f64, width: f64, mm: f64| {
        if out.y > 0.0 {
            0.0
        } else {
            mm * (-((out.x - x).powi(2) + (out.z - z).powi(2)) / (2.0 * width * width)).exp()
        }
    };
    ellipsoid + bump(0.0, -0.3, 0.12, 22.0) - bump(0.35, 0.0, 0.14, 9.0) - bump(-0.35, 0.0, 0.14, 9.0)
        + bump(0.0, 0.3, 0.25, 4.0)
}

/// Intensity so far below the skin.
fn layer(head: Head, below_mm: f64) -> f32 {
    match below_mm {
        ..0.0 => 3.0,
        0.0..6.0 => head.scalp,
        6.0..13.0 => head.bone,
        13.0..15.0 => 60.0,
        15.0..18.0 => 130.0,
        _ => 175.0,
    }
}

fn placed(spacing: f64) -> (Matrix4<f64>, [usize; 3]) {
    let dims = [200.0, 250.0, 250.0].map(|mm| (mm / spacing) as usize);
    // Turned a little, as scans are.
    let turn = UnitQuaternion::from_scaled_axis(Vector3::new(0.1, -0.05, 0.08));
    let middle = Vector3::from_fn(|axis, _| dims[axis] as f64 / 2.0 * spacing);
    let pose = Isometry3::from_parts(Translation3::from(turn * -middle), turn);
    (pose.to_homogeneous() * Matrix4::from_diagonal(&[spacing, spacing, spacing, 1.0].into()), dims)
}

fn scan(head: Head, below: impl Fn(&Point3<f64>) -> f64) -> Volume {
    let ((patient_from_voxel, dims), mut noise) = (placed(1.5), Noise::new(1));
    let mut intensities = Vec::with_capacity(dims.iter().product());
    for (k, j, i) in (0..dims[2]).flat_map(|k| (0..dims[1]).flat_map(move |j| (0..dims[0]).map(move |i| (k, j, i)))) {
        // Eight places in the voxel, for partial volumes.
        let mean = (0..8).map(|corner| {
            let part = |axis: usize| if corner >> axis & 1 == 1 { 0.25 } else { -0.25 };
            let at = Point3::new(i as f64 + part(0), j as f64 + part(1), k as f64 + part(2));
            layer(head, below(&patient_from_voxel.transform_point(&at)))
        });
        let mean = f64::from(mean.sum::<f32>()) / 8.0;
        intensities.push((mean + noise.normal(head.noise)).hypot(noise.normal(head.noise)) as f32);
    }
    let frame = FrameId::SOLE;
    Volume {
        modality: Modality::T1,
        dims,
        intensities,
        patient_from_voxel,
        frame,
        acquired: Instant::START,
        shift: None,
    }
}

/// How far below the skin, along the ray from the middle.
fn below_skin(at: &Point3<f64>) -> f64 {
    at.coords.try_normalize(1e-9).map_or(90.0, |out| radius(&out) - at.coords.norm())
}

#[test]
fn the_skin_of_a_made_up_head_is_found_to_a_fraction_of_a_voxel() {
    let skin = of_scan(&scan(USUAL, below_skin)).expect("a head");
    let off: Vec<f64> = skin
        .points
        .iter()
        .zip(&skin.normals)
        .map(|(p, n)| {
            let out = p.coords.normalize();
            // From along the ray to along the normal.
            -below_skin(p) * out.dot(n)
        })
        .collect();
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    let rms = (off.iter().map(|d| d * d).sum::<f64>() / off.len() as f64).sqrt();
    assert!(skin.points.len() > 30_000, "{} points", skin.points.len());
    assert!(mean.abs() < 0.25 && rms < 0.5, "mean {mean} mm, root mean square {rms} mm, voxels of 1.5 mm");
    assert!(skin.bone_seen > 0.8, "{}", skin.bone_seen);
    assert!(skin.normals.iter().zip(&skin.points).all(|(n, p)| n.dot(&p.coords) > 0.0), "outwards");
}

#[test]
fn a_face_traced_on_it_is_registered() {
    let skin = of_scan(&scan(USUAL, below_skin)).expect("a head");
    let surface = Surface::new(skin.points, skin.normals).expect("a surface");
    let mut noise = Noise::new(2);
    let target = Point3::new(20.0, 20.0, 40.0);
    for _ in 0..5 {
        let truth = Isometry3::new(noise.vector(200.0), noise.vector(0.7));
        let traced: Vec<_> = (0..200)
            .map(|_| {
                let out = Vector3::new(noise.between(-0.8, 0.8), -1.0, noise.between(-0.6, 0.7)).normalize();
                truth.inverse() * Point3::from(out * radius(&out) + noise.vector(0.4))
            })
            .collect();
        let start = Isometry3::new(Vector3::new(3.0, -4.0, 2.0), Vector3::new(0.05, 0.03, -0.06)) * truth;
        let found = surface::register(&surface, &traced, &start, 0.5).expect("registers");
        let apart = (found.patient_from_reference * (truth.inverse() * target) - target).norm();
        assert!(apart < 1.5, "{apart} mm at the target, rms {}", found.rms_mm);
    }
}

#[test]
fn a_brain_alone_is_refused_for_what_it_is() {
    // Skull stripped: everything above 13 mm below the skin is 0.
    let mut stripped = scan(USUAL, below_skin);
    for index in 0..stripped.intensities.len() {
        let grid = Grid::new(&stripped).expect("a grid");
        let place = Point3::from(grid.place(index).map(|n| n as f64));
        if below_skin(&stripped.patient_from_voxel.transform_point(&place)) < 14.0 {
            stripped.intensities[index] = 0.0;
        }
    }
    let said = of_scan(&stripped).expect_err("no skin").to_string();
    assert!(said.contains("Was the skull stripped?"), "{said}");
}

#[test]
fn what_is_no_head_in_air_is_refused() {
    let none = scan(USUAL, |_| -1.0);
    assert!(
        matches!(of_scan(&none), Err(Skinless::NoAir { .. })),
        "noise alone: {:?}",
        of_scan(&none).map(|s| s.head_ml)
    );
    let mut flat = none;
    flat.intensities.fill(7.0);
    assert!(matches!(of_scan(&flat), Err(Skinless::NoAir { .. })));
    let small = scan(USUAL, |at| 30.0 - at.coords.norm());
    assert!(matches!(of_scan(&small), Err(Skinless::NoHead { ml }) if ml < 200.0));
    flat.intensities.pop();
    assert!(matches!(of_scan(&flat), Err(Skinless::NoAir { .. })), "fewer voxels than it says");
}
