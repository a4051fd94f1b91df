//! Made-up heads, laid onto each other after they were turned, operated on, mirrored or exchanged.

use super::*;
use bregma_core::frame::FrameId;
use bregma_core::time::Instant;
use nalgebra::{Isometry3, Matrix4, Translation3, UnitQuaternion};

/// Half axes of the brain, mm; the skull is 5 mm thick around it.
const BRAIN_MM: [f64; 3] = [44.0, 52.0, 40.0];
const EDGE: usize = 124;

fn hash(seed: u64, at: [i64; 3]) -> f64 {
    let mut x = seed ^ 0x9e37_79b9_7f4a_7c15;
    for c in at {
        x = (x ^ c as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^= x >> 29;
    }
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

/// Smooth noise, 0 to 1.
fn noise(seed: u64, at: &Point3<f64>, wide_mm: f64) -> f64 {
    let c = [at.x, at.y, at.z].map(|v| v / wide_mm);
    let low = c.map(|v| v.floor() as i64);
    let part: [f64; 3] = std::array::from_fn(|a| c[a] - low[a] as f64);
    (0..8)
        .map(|n| {
            let off = [n & 1, n >> 1 & 1, n >> 2];
            let share: f64 = (0..3).map(|a| if off[a] == 1 { part[a] } else { 1.0 - part[a] }).product();
            share * hash(seed, std::array::from_fn(|a| low[a] + off[a]))
        })
        .sum()
}

/// A head's intensity at a point.
fn head(seed: u64, at: &Point3<f64>) -> f32 {
    let r = (0..3).map(|a| (at[a] / BRAIN_MM[a]).powi(2)).sum::<f64>().sqrt();
    let value = match r {
        // Skull and scalp of uneven thickness and brightness.
        r if r > 1.22 + 0.06 * noise(seed ^ 7, at, 14.0) => 0.0,
        r if r > 1.12 => 120.0 + 80.0 * noise(seed ^ 5, at, 9.0),
        r if r > 1.02 => 15.0 + 25.0 * noise(seed ^ 3, at, 7.0),
        _ => 80.0 + 140.0 * noise(seed, at, 9.0) * noise(seed ^ 1, at, 5.0),
    };
    value as f32
}

fn volume(value: impl Fn(&Point3<f64>) -> f32) -> Arc<Volume> {
    let middle = (EDGE as f64 - 1.0) / 2.0;
    let intensities = (0..EDGE.pow(3))
        .map(|n| [n % EDGE, n / EDGE % EDGE, n / EDGE / EDGE].map(|c| c as f64 - middle))
        .map(|at| value(&Point3::from(at)))
        .collect();
    let patient_from_voxel = Matrix4::new_translation(&Vector3::repeat(-middle));
    let (modality, frame, acquired) = (Modality::T1c, FrameId::SOLE, Instant::START);
    Arc::new(Volume { modality, dims: [EDGE; 3], intensities, patient_from_voxel, frame, acquired, shift: None })
}

fn turned() -> Isometry3<f64> {
    let turn = UnitQuaternion::from_scaled_axis(Vector3::new(0.08, -0.05, 0.1));
    Isometry3::from_parts(Translation3::new(2.0, -3.0, 1.5), turn)
}

/// A cavity that was filled, and what moved around it.
const CAVITY: Point3<f64> = Point3::new(14.0, -8.0, 12.0);

fn moved(at: &Point3<f64>) -> Vector3<f64> {
    let far = (at - CAVITY).norm_squared() / (2.0 * 14.0 * 14.0);
    Vector3::new(1.5, -2.5, 4.0) * libm::exp(-far)
}

/// The same head later: turned, with a cavity, and with brain that has moved.
fn later(seed: u64) -> Arc<Volume> {
    volume(|at| match (at - CAVITY).norm() {
        r if r < 9.0 => 20.0,
        _ => head(seed, &(turned() * (at + moved(at)))),
    })
}

fn none() {}

#[test]
fn a_head_that_was_operated_on_is_found_and_what_moved_in_it() {
    let (fixed, moving) = (later(1), volume(|at| head(1, at)));
    let layers = |scan, which| Layers::of(scan, which).expect("a scan");
    let (fixed, moving) = (layers(&fixed, "intraoperative"), layers(&moving, "preoperative"));
    let found = rigid(&fixed, &moving, &none).expect("one patient");
    let moving_from_fixed = found.fixed_from_moving.inverse();
    let skull = [[0.0, 55.0, 0.0], [-46.0, 0.0, 0.0], [0.0, 0.0, -42.0], [30.0, -30.0, -20.0]].map(Point3::from);
    for at in skull {
        let off = (moving_from_fixed * at - turned() * at).norm();
        assert!(off < 0.3, "{off} mm at {at}");
        let stated = found.error.rms_mm(&at);
        assert!(stated < 0.5, "{stated} mm stated");
    }
    let deformable = super::deformable(&fixed, &moving, &found, &none).expect("enough is found");
    let (mut before, mut after, mut outside) = (0.0, 0.0, 0);
    let around = (0..26_i32).map(|n| if n < 13 { n } else { n + 1 }).map(|n| [n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1]);
    for way in around.map(|w| Vector3::from(w.map(f64::from)).normalize()) {
        let at = CAVITY + way * 14.0;
        let truth = turned() * (at + moved(&at));
        let off = (deformable.displacement.moving(&at) - truth).norm();
        (before, after) = (before + (moving_from_fixed * at - truth).norm(), after + off);
        outside += usize::from(off > 2.5 * deformable.displacement.error_mm(&at));
        let there = deformable.displacement.moving(&at);
        let back = deformable.displacement.fixed(&there).expect("converges");
        // Where the map shrinks tissue the way back is as exact as the way there, and no more.
        assert!((deformable.displacement.moving(&back) - there).norm() < 2e-3 && (back - at).norm() < 0.1);
    }
    assert!(after < 0.4 * before, "{after} of {before}");
    assert!(outside <= 2, "{outside} of 26 beyond 2.5 stated errors");
    assert!(deformable.shrinks_least > 0.0, "folds: {}", deformable.shrinks_least);
    // The cavity holds 3.1 mL.
    assert!(deformable.changed_ml > 1.0 && deformable.changed_ml < 12.0, "{} mL", deformable.changed_ml);
}

#[test]
fn a_mirrored_scan_another_patient_and_an_empty_one_are_refused() {
    let fixed = later(1);
    let fixed = Layers::of(&fixed, "intraoperative").expect("a scan");
    let refused = |moving: &Arc<Volume>| {
        Layers::of(moving, "preoperative").and_then(|moving| rigid(&fixed, &moving, &none)).expect_err("refused")
    };
    let mirrored = volume(|at| head(1, &Point3::new(-at.x, at.y, at.z)));
    assert!(matches!(refused(&mirrored), Unmatched::Mirrored { .. }), "{}", refused(&mirrored));
    let another = refused(&volume(|at| head(2, at)));
    assert!(
        matches!(another, Unmatched::NoMore { .. } | Unmatched::Strangers { .. } | Unmatched::Few { .. }),
        "{another}"
    );
    let blank = refused(&volume(|_| 3.0));
    assert!(blank.to_string().contains("the preoperative scan"), "{blank}");
}
