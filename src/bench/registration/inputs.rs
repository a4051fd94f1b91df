//! What is registered and calibrated in the bench, drawn from seeds.
//!
//! **Units and frames:** mm, rad; scan and surface in patient LPS, touched and traced points in the reference array's coordinates.

use super::off;
use crate::registration::{Chance, Looked, Swung, looks, swung};
use nalgebra::{Isometry3, Matrix4, Point3, Vector3};
use serde_json::{Value, json};

/// Standard deviation of a touched landmark along each axis, mm.
pub(super) const FLE_MM: f64 = 0.5;
/// Standard deviation of a traced point along each axis, mm.
pub(super) const TRACED_MM: f64 = 0.5;
/// How far off a start is, mm, rad (5°).
const START: (f64, f64) = (5.0, 0.087);
/// Share of strays, and how far off they are, mm.
const STRAYS: (f64, f64) = (0.15, 25.0);
/// Traced points.
const TRACED: usize = 150;
/// Fiducials.
const FIDUCIALS: usize = 6;
/// Inputs of each kind.
const LANDMARKS: usize = 1000;
const PIVOTS: usize = 200;
const HAND_EYES: usize = 200;
const SURFACES: usize = 100;

/// Fiducials, touched.
pub(super) struct Paired {
    pub(super) scan: Vec<Point3<f64>>,
    pub(super) touched: Vec<Point3<f64>>,
    truth: Isometry3<f64>,
    target: Point3<f64>,
}

impl Paired {
    fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let scan: Vec<_> = (0..FIDUCIALS).map(|_| chance.on_head()).collect();
        let (target, truth) = (chance.in_head(), chance.pose(300.0, 0.8));
        let touched = scan.iter().map(|at| truth.inverse() * at + chance.vector(FLE_MM)).collect();
        Self { scan, touched, truth, target }
    }

    /// Error at the target, mm.
    pub(super) fn off(&self, pose: &Matrix4<f64>) -> f64 {
        off(pose, &self.truth, &self.target)
    }
}

/// Points on a face, traced, and where to start.
pub(super) struct Traced {
    pub(super) points: Vec<Point3<f64>>,
    pub(super) start: Isometry3<f64>,
    truth: Isometry3<f64>,
    target: Point3<f64>,
}

impl Traced {
    fn draw(seed: u64, surface: &[Point3<f64>], strays: f64) -> Self {
        let mut chance = Chance::new(seed);
        let (target, truth) = (chance.in_head(), chance.pose(200.0, 0.7));
        let points: Vec<Point3<f64>> = (0..TRACED)
            .map(|_| {
                let index = chance.between(0.0, surface.len() as f64) as usize;
                let stray = if chance.between(0.0, 1.0) < strays { STRAYS.1 } else { 0.0 };
                let aside = chance.vector(1.0).normalize() * stray;
                truth.inverse() * (surface[index.min(surface.len() - 1)] + chance.vector(TRACED_MM) + aside)
            })
            .collect();
        // About the head's middle, where the points are.
        let turn = Isometry3::rotation(chance.vector(1.0).normalize() * START.1);
        let shift = Isometry3::from(chance.vector(1.0).normalize() * START.0);
        Self { points, start: shift * turn * truth, truth, target }
    }

    /// Error at the target, mm.
    pub(super) fn off(&self, pose: &Matrix4<f64>) -> f64 {
        off(pose, &self.truth, &self.target)
    }
}

/// All of it.
pub(super) struct Inputs {
    pub(super) landmarks: Vec<Paired>,
    pub(super) pivot: Vec<Swung>,
    pub(super) hand_eye: Vec<Looked>,
    pub(super) points: Vec<Point3<f64>>,
    pub(super) normals: Vec<Vector3<f64>>,
    pub(super) traced: Vec<Traced>,
    pub(super) strays: Vec<Traced>,
}

impl Inputs {
    /// Draws them.
    pub(super) fn draw(first_seed: u64) -> Self {
        Self::of([LANDMARKS, PIVOTS, HAND_EYES, SURFACES], first_seed)
    }

    /// A few of each.
    #[cfg(test)]
    pub(super) fn few(first_seed: u64, count: usize) -> Self {
        Self::of([count; 4], first_seed)
    }

    fn of(counts: [usize; 4], first_seed: u64) -> Self {
        let seeds = |count: usize| (0..count as u64).map(move |i| first_seed + i);
        let (points, normals) = face();
        let traced = |strays: f64| seeds(counts[3]).map(|seed| Traced::draw(seed, &points, strays)).collect();
        Self {
            landmarks: seeds(counts[0]).map(Paired::draw).collect(),
            pivot: seeds(counts[1]).map(swung).collect(),
            hand_eye: seeds(counts[2]).map(looks).collect(),
            traced: traced(0.0),
            strays: traced(STRAYS.0),
            points,
            normals,
        }
    }

    /// As the script takes them.
    pub(super) fn json(&self) -> Value {
        let at = |points: &[Point3<f64>]| points.iter().map(|p| [p.x, p.y, p.z]).collect::<Vec<_>>();
        let traced = |all: &[Traced]| -> Vec<Value> {
            all.iter().map(|one| json!({"traced": at(&one.points), "start": rows(&one.start)})).collect()
        };
        let paired = self.landmarks.iter().map(|one| json!({"scan": at(&one.scan), "touched": at(&one.touched)}));
        let looked = self.hand_eye.iter().map(|one| {
            let arms: Vec<_> = one.seen.iter().map(|s| rows(&s.base_from_flange)).collect();
            let seen: Vec<_> = one.seen.iter().map(|s| rows(&s.camera_from_target)).collect();
            json!({"base_from_flange": arms, "camera_from_target": seen})
        });
        let normals: Vec<_> = self.normals.iter().map(|n| [n.x, n.y, n.z]).collect();
        json!({
            "fle_mm": TRACED_MM,
            "landmarks": paired.collect::<Vec<_>>(),
            "pivot": self.pivot.iter().map(|one| one.poses.iter().map(rows).collect::<Vec<_>>()).collect::<Vec<_>>(),
            "hand_eye": looked.collect::<Vec<_>>(),
            "surface": {"points": at(&self.points), "normals": normals},
            "surface_traced": traced(&self.traced),
            "surface_strays_traced": traced(&self.strays),
        })
    }
}

/// A matrix row by row.
fn rows(pose: &Isometry3<f64>) -> Vec<f64> {
    pose.to_homogeneous().transpose().iter().copied().collect()
}

/// The front of a head: an ellipsoid with a nose, eye sockets and a brow; 43,200 points and their outward normals.
fn face() -> (Vec<Point3<f64>>, Vec<Vector3<f64>>) {
    let at = |u: f64, v: f64| {
        let bump = |cu: f64, cv: f64, width: f64, height: f64| {
            height * (-((u - cu).powi(2) + (v - cv).powi(2)) / (2.0 * width * width)).exp()
        };
        let out = 1.0 + bump(0.0, -0.3, 0.13, 0.25) - bump(0.35, 0.0, 0.15, 0.10) - bump(-0.35, 0.0, 0.15, 0.10)
            + bump(0.0, 0.35, 0.3, 0.04);
        Point3::new(75.0 * u.sin() * v.cos() * out, -95.0 * u.cos() * v.cos() * out, 100.0 * v.sin() * out)
    };
    let both = (0..240).flat_map(|i| (0..180).map(move |j| (f64::from(i) * 0.01 - 1.2, f64::from(j) * 0.01 - 0.9)));
    both.map(|(u, v)| {
        let (du, dv) = (at(u + 1e-4, v) - at(u - 1e-4, v), at(u, v + 1e-4) - at(u, v - 1e-4));
        (at(u, v), du.cross(&dv).normalize())
    })
    .unzip()
}
