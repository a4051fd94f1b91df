//! The way in: craniotomy and corridor.
//!
//! Some two hundred directions over the convexity are tried; the shortest path wins that keeps the open
//! cone 6 mm clear of eloquent tissue, 4 mm of vessels of 1 mm or more, out of the ventricles and on its
//! own side. **Frame:** patient LPS, mm.

use crate::anatomy::head::{Head, SKULL_OUTER_MM, tissue};
use crate::anatomy::vessels::FORBIDDEN_DIAMETER_MM;
use bregma_core::flow::{Capsule, Corridor, Craniotomy};
use nalgebra::{Point3, Vector3};

/// Required distance of the open cone from eloquent tissue.
const ELOQUENT_CLEARANCE_MM: f64 = 6.0;
/// Required distance of the open cone from vessels of 1 mm or more.
const VESSEL_CLEARANCE_MM: f64 = 4.0;
/// Radius of the cone at the brain's surface.
const ENTRY_RADIUS_MM: f64 = 9.0;
/// Directions over the whole sphere; about two hundred of them lie on the convexity.
const DIRECTIONS: usize = 420;
/// Steepest angle between the path and the surface's normal: cos 45°.
const STEEPEST: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// The core as the way in sees it.
pub(crate) struct Goal<'a> {
    /// Centres of its voxels.
    pub voxels: &'a [Point3<f64>],
    pub centroid: Point3<f64>,
    /// Radius of the ball of its volume.
    pub radius_mm: f64,
}

/// Chooses the way in; `None` where no direction is clear.
pub(crate) fn choose(
    head: &Head,
    goal: &Goal<'_>,
    eloquent_mm: &[f32],
    vessels: &[Capsule],
    craniotomy_radius_mm: f64,
) -> Option<(Craniotomy, Corridor)> {
    let wide: Vec<&Capsule> = vessels.iter().filter(|v| 2.0 * v.radius_mm >= FORBIDDEN_DIAMETER_MM).collect();
    let mut ways: Vec<(f64, Point3<f64>, Vector3<f64>)> =
        (0..DIRECTIONS).map(sphere).filter_map(|out| leave(head, goal, out)).collect();
    ways.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (entry, outward, corridor) = ways.into_iter().find_map(|(_, entry, outward)| {
        let corridor = cone(goal, entry);
        clear(head, &corridor, eloquent_mm, &wide).then_some((entry, outward, corridor))
    })?;
    let mut centre = entry;
    // Half-millimetre steps until the outer face of the bone; the path leaves the head within 60 mm.
    for _ in 0..120 {
        if head.depth_mm(&centre) <= -SKULL_OUTER_MM {
            break;
        }
        centre += outward * 0.5;
    }
    Some((Craniotomy { centre, outward, radius_mm: craniotomy_radius_mm }, corridor))
}

/// Direction `n` of a Fibonacci sphere.
fn sphere(n: usize) -> Vector3<f64> {
    const GOLDEN_ANGLE: f64 = 2.399_963_229_728_653;
    let z = 1.0 - 2.0 * (n as f64 + 0.5) / DIRECTIONS as f64;
    let r = libm::sqrt(1.0 - z * z);
    let angle = GOLDEN_ANGLE * n as f64;
    Vector3::new(r * libm::cos(angle), r * libm::sin(angle), z)
}

/// Where the straight way out leaves the brain: length, entry, direction; `None` off the convexity.
fn leave(head: &Head, goal: &Goal<'_>, out: Vector3<f64>) -> Option<(f64, Point3<f64>, Vector3<f64>)> {
    // Not from below, and not through the face (LPS: the front is −y).
    if out.z < -0.15 || (out.y < -0.8 && out.z < 0.2) {
        return None;
    }
    let mut length = 0.0;
    while head.depth_mm(&(goal.centroid + out * length)) > 0.0 {
        length += 0.5;
        if length > 90.0 {
            return None;
        }
    }
    let entry = goal.centroid + out * length;
    let own_side = entry.x * goal.centroid.x > 0.0 && entry.x.abs() > ENTRY_RADIUS_MM + 3.0;
    (own_side && head.outward(&entry).dot(&out) >= STEEPEST).then_some((length, entry, out))
}

/// The cone from the entry to the core's near surface.
fn cone(goal: &Goal<'_>, entry: Point3<f64>) -> Corridor {
    let axis = (goal.centroid - entry).normalize();
    let end_radius_mm = (0.7 * goal.radius_mm).clamp(5.0, 10.0);
    let near = |at: &Point3<f64>| {
        let along = (at - entry).dot(&axis);
        ((at - entry - axis * along).norm() <= end_radius_mm + 0.5).then_some(along)
    };
    let open_mm = goal.voxels.iter().filter_map(near).fold(f64::INFINITY, f64::min) - 0.5;
    let length = nalgebra::distance(&entry, &goal.centroid);
    Corridor {
        entry,
        target: goal.centroid,
        entry_radius_mm: ENTRY_RADIUS_MM,
        end_radius_mm,
        open_mm: open_mm.min(length),
    }
}

fn clear(head: &Head, corridor: &Corridor, eloquent_mm: &[f32], wide: &[&Capsule]) -> bool {
    if corridor.open_mm < 2.0 {
        return false;
    }
    let axis = (corridor.target - corridor.entry).normalize();
    let steps = (corridor.open_mm / 2.0).ceil() as usize;
    (0..=steps).all(|n| {
        let share = n as f64 / steps as f64;
        let at = corridor.entry + axis * (corridor.open_mm * share);
        let radius = corridor.entry_radius_mm + (corridor.end_radius_mm - corridor.entry_radius_mm) * share;
        head.tissue_at(&at) != tissue::VENTRICLE
            && f64::from(head.coarse.sample(eloquent_mm, &at, 100.0)) >= radius + ELOQUENT_CLEARANCE_MM
            && wide.iter().all(|v| v.distance_mm(&at) >= radius + VESSEL_CLEARANCE_MM)
    })
}
