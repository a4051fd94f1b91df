//! Rays from the lens to the first solid voxel.
//!
//! **Units:** depth is mm along the camera's z; places are in voxels of the truth grid, where voxel v spans
//! v to v + 1. **Allocation:** at the start. Where tissue has moved, a ray is marched at rest, in straight
//! pieces ([`super::bend`]).

use super::bend::{Bend, KNOT_MM, KNOTS};
use super::lens::Lens;
use crate::truth::{SOLID, TRUTH_EDGE};
use bregma_core::flow::{CameraCalibration, Craniotomy};
use bregma_core::grid::Grid;
use nalgebra::{Matrix3, Point3, Vector3};

/// A pixel on the drape.
pub(super) const DRAPE: u32 = u32::MAX;
/// A pixel on the bone's sawn rim.
pub(super) const RIM: u32 = u32::MAX - 1;
/// A pixel that sees nothing.
pub(super) const NOTHING: u32 = u32::MAX - 2;
/// Width of the rim that the drape leaves free, mm.
pub(super) const RIM_MM: f64 = 5.0;
const EDGE: f64 = TRUTH_EDGE as f64;

/// Where a ray meets the craniotomy's plane.
pub(super) enum Entry {
    /// In the opening, at that depth.
    Open(f64),
    /// On the bone's rim.
    Rim(f64),
    /// On the drape.
    Drape(f64),
}

/// Where a ray ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub seen: u32,
    pub depth: f64,
}

pub(super) struct Rays {
    pub lens: Lens,
    pub bend: Bend,
    craniotomy: Craniotomy,
    /// Camera's place.
    pub eye: Vector3<f64>,
    /// The camera's axes.
    pub turn: Matrix3<f64>,
}

impl Rays {
    pub(super) fn new(camera: CameraCalibration, distortion: [f64; 2], craniotomy: Craniotomy, grid: &Grid) -> Self {
        let iso = camera.patient_from_camera.isometry();
        let lens = Lens::new(camera, distortion);
        Self {
            eye: iso.translation.vector - Vector3::from(grid.origin) + Vector3::repeat(0.5),
            turn: *iso.rotation.to_rotation_matrix().matrix(),
            bend: Bend::new(&lens, &craniotomy),
            craniotomy,
            lens,
        }
    }

    /// A pixel's ray in the grid's axes, with 1 mm of depth a unit.
    pub(super) fn ray(&self, pixel: usize) -> Vector3<f64> {
        let [x, y] = self.lens.slope(pixel);
        self.turn * Vector3::new(x, y, 1.0)
    }

    /// Down to the plane of the craniotomy.
    pub(super) fn enter(&self, ray: &Vector3<f64>) -> Entry {
        let craniotomy = &self.craniotomy;
        let eye = self.lens.camera().patient_from_camera.position().coordinates();
        let fall = ray.dot(&craniotomy.outward);
        let depth = (craniotomy.centre - eye).dot(&craniotomy.outward) / if fall < -1e-6 { fall } else { -1e-6 };
        let across = (eye + ray * depth - craniotomy.centre).norm();
        if across <= craniotomy.radius_mm {
            Entry::Open(depth)
        } else if across > craniotomy.radius_mm + RIM_MM {
            Entry::Drape(depth)
        } else {
            Entry::Rim(depth)
        }
    }

    /// How deep below the craniotomy's plane a ray is at a depth, mm.
    pub(super) fn below(&self, depth: f64, ray: &Vector3<f64>) -> f64 {
        let eye = self.lens.camera().patient_from_camera.position().coordinates();
        (self.craniotomy.centre - eye - ray * depth).dot(&self.craniotomy.outward)
    }

    /// Where a rest point is now, by the same displacements that bend the rays.
    pub(super) fn now(&self, rest: &Point3<f64>) -> Point3<f64> {
        let mut now = *rest;
        if self.bend.still() {
            return now;
        }
        // The displacement changes by far less than a millimetre per millimetre.
        for _ in 0..4 {
            let Some((u, v, z)) = self.lens.project(&now) else { return *rest };
            now = rest - self.bend.at([u, v], z).cast::<f64>();
        }
        now
    }

    /// From a depth to the first solid voxel, through tissue as it lies now.
    pub(super) fn march(&self, state: &[u8], pixel: usize, ray: &Vector3<f64>, from: f64) -> End {
        if self.bend.still() {
            return match straight(state, &self.eye, ray, from, f64::INFINITY) {
                Ok(end) => end,
                Err(depth) => End { seen: NOTHING, depth },
            };
        }
        let width = self.lens.camera().size_px[0];
        let knots = self.bend.along([(pixel % width) as f64, (pixel / width) as f64]).map(|off| off.cast::<f64>());
        let mut left = from;
        for knot in 0..KNOTS {
            let start = self.bend.first_mm + knot as f64 * KNOT_MM;
            let end = if knot + 1 < KNOTS { start + KNOT_MM } else { f64::INFINITY };
            if from >= end {
                continue;
            }
            let tilt = if knot + 1 < KNOTS { (knots[knot + 1] - knots[knot]) / KNOT_MM } else { Vector3::zeros() };
            let eye = self.eye + knots[knot] - tilt * start;
            match straight(state, &eye, &(ray + tilt), from.max(start), end) {
                Ok(end) => return end,
                Err(depth) => left = depth,
            }
        }
        End { seen: NOTHING, depth: left }
    }
}

/// The first solid voxel between two depths of a straight ray (J. Amanatides, A. Woo, *A fast voxel
/// traversal algorithm for ray tracing*, Eurographics 1987); otherwise where it left the grid.
fn straight(state: &[u8], eye: &Vector3<f64>, ray: &Vector3<f64>, from: f64, to: f64) -> Result<End, f64> {
    let (mut enter, mut leave) = (from, f64::INFINITY);
    for a in 0..3 {
        let (p, q) = (-eye[a] / ray[a], (EDGE - eye[a]) / ray[a]);
        enter = enter.max(p.min(q));
        leave = leave.min(p.max(q));
    }
    let left = leave.min(1e6);
    if enter.is_nan() || enter >= leave.min(to) {
        return Err(left);
    }
    let start = eye + ray * (enter + 1e-6);
    let mut voxel: [i64; 3] = std::array::from_fn(|a| (start[a].floor() as i64).clamp(0, TRUTH_EDGE as i64 - 1));
    let step: [i64; 3] = std::array::from_fn(|a| if ray[a] < 0.0 { -1 } else { 1 });
    let pace: [f64; 3] = std::array::from_fn(|a| 1.0 / ray[a].abs().max(1e-12));
    let mut next: [f64; 3] = std::array::from_fn(|a| {
        let face = (voxel[a] + i64::from(step[a] > 0)) as f64;
        (face - eye[a]) / if ray[a].abs() < 1e-12 { 1e-12 } else { ray[a] }
    });
    let mut depth = enter;
    while depth < to {
        let index = voxel[0] as usize + TRUTH_EDGE * (voxel[1] as usize + TRUTH_EDGE * voxel[2] as usize);
        if state[index] == SOLID {
            return Ok(End { seen: index as u32, depth });
        }
        let a = if next[0] <= next[1] && next[0] <= next[2] {
            0
        } else if next[1] <= next[2] {
            1
        } else {
            2
        };
        depth = next[a];
        next[a] += pace[a];
        voxel[a] += step[a];
        if voxel[a] < 0 || voxel[a] >= TRUTH_EDGE as i64 {
            return Err(left);
        }
    }
    Err(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::OPEN;

    #[test]
    fn a_ray_ends_at_the_first_solid_voxel_as_small_steps_find_it() {
        // A checkered wall behind open space.
        let solid = |v: [usize; 3]| v[2] > 60 + (v[0] / 5 + v[1] / 7) % 9;
        let grid = Grid { dims: [TRUTH_EDGE; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let state: Vec<u8> = (0..grid.len()).map(|i| if solid(grid.voxel(i)) { SOLID } else { OPEN }).collect();
        let eye = Vector3::new(50.3, 40.7, -300.0);
        for n in 0..200 {
            let ray = Vector3::new((f64::from(n) - 100.0) * 1e-3, f64::from(n % 17) * 4e-3 - 0.03, 1.0);
            let found = straight(&state, &eye, &ray, 290.0, f64::INFINITY).expect("a wall");
            let mut depth = 290.0;
            let stepped = loop {
                let at = (eye + ray * depth).map(|c| c.floor() as usize);
                if at.z < TRUTH_EDGE && state[grid.index([at.x, at.y, at.z])] == SOLID {
                    break grid.index([at.x, at.y, at.z]);
                }
                depth += 1e-3;
            };
            assert!((found.depth - depth).abs() < 2e-3, "{n}: {} {depth}", found.depth);
            // A corner that is cut by less than a step may be stepped over.
            let (a, b) = (grid.voxel(found.seen as usize), grid.voxel(stepped));
            assert!((0..3).all(|c| a[c].abs_diff(b[c]) <= 1), "{n}: {a:?} {b:?}");
            let (first, second) =
                (straight(&state, &eye, &ray, 290.0, 330.0), straight(&state, &eye, &ray, 330.0, f64::INFINITY));
            assert!(first.is_err() && second.expect("a wall").seen == found.seen, "in two pieces");
        }
    }
}
