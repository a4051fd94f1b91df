//! `bregma register surface` as a user would run it: a T1 of a made-up head as NIfTI, and points traced on it.

mod program;

use nalgebra::{Isometry3, Point3, Vector3};
use program::{bregma, said};
use std::fmt::Write as _;
use std::path::Path;

/// Radius of the skin along a direction from the middle, LPS: an ellipsoid with a nose, eye sockets and a brow; `nose_mm` and
/// `wide_mm` make another person of it.
fn radius(out: &Vector3<f64>, nose_mm: f64, wide_mm: f64) -> f64 {
    let ellipsoid = 1.0 / Vector3::new(out.x / wide_mm, out.y / 95.0, out.z / 105.0).norm();
    let bump = |x: f64, z: f64, width: f64, mm: f64| {
        if out.y > 0.0 {
            0.0
        } else {
            mm * (-((out.x - x).powi(2) + (out.z - z).powi(2)) / (2.0 * width * width)).exp()
        }
    };
    ellipsoid + bump(0.0, -0.3, 0.12, nose_mm) - bump(0.35, 0.0, 0.14, 9.0) - bump(-0.35, 0.0, 0.14, 9.0)
        + bump(0.0, 0.3, 0.25, 4.0)
}

fn usual(out: &Vector3<f64>) -> f64 {
    radius(out, 22.0, 75.0)
}

/// Intensity so far below the skin: scalp, bone, fluid, grey and white matter.
fn layer(below_mm: f64, stripped: bool) -> f32 {
    match below_mm {
        ..0.0 => 3.0,
        0.0..13.0 if stripped => 3.0,
        0.0..6.0 => 220.0,
        6.0..13.0 => 25.0,
        13.0..15.0 => 60.0,
        15.0..18.0 => 130.0,
        _ => 175.0,
    }
}

/// Voxel's edge, mm, and how many there are along R, A and S.
const EDGE: f64 = 2.0;
const DIMS: [usize; 3] = [96, 128, 128];

/// NIfTI-1 in RAS, 16 bits, with partial volumes and a little noise.
fn scan(path: &Path, radius: impl Fn(&Vector3<f64>) -> f64, stripped: bool) {
    let mut bytes = vec![0_u8; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348_i32.to_le_bytes());
    for (i, n) in [3, DIMS[0], DIMS[1], DIMS[2], 1, 1, 1, 1].iter().enumerate() {
        put(40 + 2 * i, &(*n as i16).to_le_bytes());
    }
    put(70, &4_i16.to_le_bytes());
    put(72, &16_i16.to_le_bytes());
    for (i, edge) in [1.0, EDGE, EDGE, EDGE].iter().enumerate() {
        put(76 + 4 * i, &(*edge as f32).to_le_bytes());
    }
    put(108, &352_f32.to_le_bytes());
    put(112, &1_f32.to_le_bytes());
    put(123, &[2]);
    put(254, &1_i16.to_le_bytes());
    let middle = DIMS.map(|n| n as f64 / 2.0);
    for (axis, row) in [280, 296, 312].into_iter().enumerate() {
        put(row + 4 * axis, &(EDGE as f32).to_le_bytes());
        put(row + 12, &((-EDGE * middle[axis]) as f32).to_le_bytes());
    }
    put(344, b"n+1\0");
    let mut seed = 7_u32;
    for (k, j, i) in (0..DIMS[2]).flat_map(|k| (0..DIMS[1]).flat_map(move |j| (0..DIMS[0]).map(move |i| (k, j, i)))) {
        let mean: f32 = (0..8)
            .map(|corner| {
                let at = |n: usize, axis: usize| {
                    let part = if corner >> axis & 1 == 1 { 0.25 } else { -0.25 };
                    (n as f64 + part - middle[axis]) * EDGE
                };
                // RAS to LPS.
                let place = Vector3::new(-at(i, 0), -at(j, 1), at(k, 2));
                layer(place.try_normalize(1e-9).map_or(90.0, |out| radius(&out) - place.norm()), stripped)
            })
            .sum::<f32>()
            / 8.0;
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (seed >> 24) as f32 / 16.0;
        bytes.extend(((mean + noise) as i16).to_le_bytes());
    }
    std::fs::write(path, bytes).expect("written");
}

fn patient_from_reference() -> Isometry3<f64> {
    Isometry3::new(Vector3::new(120.0, -40.0, 900.0), Vector3::new(0.3, -0.5, 0.8))
}

/// Points along these directions, as the tracker sees them, off by some tenths of a mm.
fn traced(folder: &Path, name: &str, directions: impl Fn(f64, f64) -> Vector3<f64>) {
    let mut text = "x_mm,y_mm,z_mm,status\n0,0,0,line_of_sight_lost\n".to_owned();
    for n in 0..200_u32 {
        // Two irrational steps cover the square evenly.
        let (a, b) = (f64::from(n) * 0.754_877_666 % 1.0 * 2.0 - 1.0, f64::from(n) * 0.569_840_291 % 1.0 * 2.0 - 1.0);
        let out = directions(a, b).normalize();
        let off = [0.3, -0.25, 0.1, -0.2, 0.05][n as usize % 5];
        let at = patient_from_reference().inverse() * Point3::from(out * (usual(&out) + off));
        writeln!(text, "{},{},{},valid", at.x, at.y, at.z).expect("a string takes it");
    }
    std::fs::write(folder.join(name), text).expect("written");
}

fn tfm(folder: &Path, name: &str, pose: &Isometry3<f64>) {
    let inverse = pose.inverse();
    let (turn, shift) = (inverse.rotation.to_rotation_matrix(), inverse.translation.vector);
    let rows: Vec<String> =
        (0..9).map(|i| turn[(i / 3, i % 3)]).chain(shift.iter().copied()).map(|v| v.to_string()).collect();
    let text = format!(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\nParameters: {}\nFixedParameters: 0 0 0\n",
        rows.join(" ")
    );
    std::fs::write(folder.join(name), text).expect("written");
}

fn register(folder: &Path, scan: &str, traced: &str, more: &[&str]) -> (i32, String) {
    let args = ["register", "surface", "--scan", scan, "--traced", traced];
    said(&bregma(folder, &[&args[..], more].concat()))
}

const FACE: fn(f64, f64) -> Vector3<f64> = |a, b| Vector3::new(0.8 * a, -1.0, 0.65 * b);

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    scan(&folder.path().join("t1.nii"), usual, false);
    traced(folder.path(), "face.csv", FACE);
    let off = Isometry3::new(Vector3::new(3.0, -4.0, 2.0), Vector3::new(0.05, 0.03, -0.06));
    tfm(folder.path(), "start.tfm", &(off * patient_from_reference()));
    std::fs::write(folder.path().join("targets.fcsv"), "# CoordinateSystem = LPS\n1,20,20,40,0,0,0,1,1,1,0,tumour,,\n")
        .expect("written");
    folder
}

#[test]
fn a_traced_face_is_laid_onto_the_skin_of_its_scan() {
    let folder = folder();
    let options = ["--start", "start.tfm", "--targets", "targets.fcsv", "--out", "r.toml"];
    let (status, text) = register(folder.path(), "t1.nii", "face.csv", &options);
    assert!(status == 0 && text.contains("predicted at tumour") && text.contains("1 points over"), "{status}: {text}");
    let kept = std::fs::read_to_string(folder.path().join("r.toml")).expect("a registration");
    let kept: toml::Table = kept.parse().expect("TOML");
    let numbers = |key: &str| -> Vec<f64> {
        let list = kept["source"]["registration"][key].as_array().expect("a list");
        list.iter().map(|v| v.as_float().expect("a number")).collect()
    };
    let (at, q) = (numbers("translation_mm"), numbers("quaternion_xyzw"));
    let turn = nalgebra::UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(q[3], q[0], q[1], q[2]));
    let found = Isometry3::from_parts(Vector3::new(at[0], at[1], at[2]).into(), turn);
    let target = Point3::new(20.0, 20.0, 40.0);
    let apart = (found * (patient_from_reference().inverse() * target) - target).norm();
    assert!(apart < 1.0, "{apart} mm at the target: {text}");

    // The same in the terminal, held against a limit that it cannot hold, and from its own result.
    let options = ["--start", "r.toml", "--targets", "targets.fcsv", "--tre-max", "0.01", "--out", "r.tfm"];
    let (status, text) = register(folder.path(), "t1.nii", "face.csv", &options);
    assert!(status == 1 && text.contains("at most 0.01 mm") && folder.path().join("r.tfm").exists(), "{text}");
}

#[test]
fn what_the_surface_does_not_hold_is_refused_and_nothing_is_written() {
    let folder = folder();
    let refused = |scan: &str, traced: &str, more: &[&str], phrases: &[&str]| {
        let options = [&["--start", "start.tfm", "--out", "r.tfm"], more].concat();
        let (status, text) = register(folder.path(), scan, traced, &options);
        assert!(status == 2 && phrases.iter().any(|p| text.contains(p)), "{traced} on {scan}: {status}: {text}");
        assert!(!folder.path().join("r.tfm").exists() && !text.contains("panicked"), "{text}");
    };
    // A patch as flat as a forehead's middle, and the top of the head, which is nearly a sphere's.
    traced(folder.path(), "flat.csv", |a, b| Vector3::new(0.12 * a, -0.75 + 0.1 * b, 0.75));
    refused("t1.nii", "flat.csv", &[], &["could turn by"]);
    traced(folder.path(), "top.csv", |a, b| Vector3::new(0.3 * a, 0.3 * b, 1.0));
    refused("t1.nii", "top.csv", &[], &["could turn by", "as well"]);

    scan(&folder.path().join("stripped.nii"), usual, true);
    refused("stripped.nii", "face.csv", &[], &["Was the skull stripped?"]);
    // Another person: a longer nose, a wider head.
    scan(&folder.path().join("other.nii"), |out| radius(out, 12.0, 84.0), false);
    refused("other.nii", "face.csv", &[], &["is it this patient's scan", "lie on the surface"]);
    // A start that is half a turn away.
    let half = Isometry3::rotation(Vector3::z() * std::f64::consts::PI);
    tfm(folder.path(), "half.tfm", &(half * patient_from_reference()));
    let options = ["--start", "half.tfm", "--out", "r.tfm"];
    let (status, text) = register(folder.path(), "t1.nii", "face.csv", &options);
    assert!(status == 2 && !folder.path().join("r.tfm").exists(), "{text}");

    refused("t1.nii", "nowhere.csv", &[], &["nowhere.csv"]);
    refused("nowhere.nii", "face.csv", &[], &["nowhere.nii"]);
    refused("t1.nii", "targets.fcsv", &[], &["1 traced points"]);
    refused("t1.nii", "face.csv", &["--fle", "0"], &["--fle is 0"]);
    refused("t1.nii", "face.csv", &["--rms-max", "nan"], &["--rms-max is NaN"]);
}
