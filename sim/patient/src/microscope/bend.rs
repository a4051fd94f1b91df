//! Rays through tissue that has moved: straight in the theatre, bent at rest.
//!
//! Voxels stay at rest, so a ray is taken there: at knots 10 mm apart along the camera's z and at nodes
//! 1/40 of the picture apart it is moved by the field's way back, and in between linearly. The field is
//! smooth over 4 mm and more; where it bends most, a bump of 6 mm over 20 mm, the second derivative is
//! 6/20² = 0.015 mm⁻¹ and the error 0.015 · 10²/8 = 0.2 mm. **Units:** mm. **Allocation:** at the start.

use super::lens::Lens;
use crate::shift::field::Field;
use bregma_core::flow::Craniotomy;
use nalgebra::Vector3;

/// Knots along a ray; beyond the last its displacement goes on.
pub(super) const KNOTS: usize = 9;
/// Distance between knots, mm along the camera's z: 8 · 10 mm, deeper than any cavity.
pub(super) const KNOT_MM: f64 = 10.0;
/// Nodes across the picture, but one.
const NODES: usize = 40;
/// Movement that is not worth a new picture, mm: a quarter of a pixel.
const STIRS_MM: f32 = 0.02;

pub(super) struct Bend {
    /// Depth of the first knot: no part of the craniotomy is nearer, mm.
    pub first_mm: f64,
    node_px: f64,
    nodes: [usize; 2],
    off: Vec<[Vector3<f32>; KNOTS]>,
    next: Vec<[Vector3<f32>; KNOTS]>,
    still: bool,
    version: Option<u64>,
    /// Largest change of a displacement at the last update, mm.
    pub jump_mm: f32,
}

impl Bend {
    pub(super) fn new(lens: &Lens, craniotomy: &Craniotomy) -> Self {
        let camera = lens.camera();
        let centre = camera.patient_from_camera.isometry().inverse_transform_point(&craniotomy.centre);
        // Half the picture seen at 45° to the craniotomy's plane at most.
        let half = camera.size_px[0] as f64 / 2.0 * centre.z / camera.focal_px[0];
        let node_px = (camera.size_px[0] as f64 / NODES as f64).max(1.0);
        let nodes = camera.size_px.map(|n| (n as f64 / node_px).ceil() as usize + 1);
        let off = vec![[Vector3::zeros(); KNOTS]; nodes[0] * nodes[1]];
        let next = off.clone();
        Self { first_mm: centre.z - half, node_px, nodes, off, next, still: true, version: None, jump_mm: 0.0 }
    }

    /// Whether nothing has moved in the view.
    pub(super) const fn still(&self) -> bool {
        self.still
    }

    /// Takes the field's displacements over when they have changed by enough; says whether they had.
    pub(super) fn update(&mut self, lens: &Lens, field: &Field) -> bool {
        if self.version == Some(field.version()) {
            return false;
        }
        self.version = Some(field.version());
        let camera = lens.camera();
        let iso = camera.patient_from_camera.isometry();
        let (mut jump, mut still) = (0.0_f32, true);
        for (node, (next, before)) in self.next.iter_mut().zip(&self.off).enumerate() {
            let at = [node % self.nodes[0], node / self.nodes[0]].map(|n| n as f64 * self.node_px);
            let slope: [f64; 2] = std::array::from_fn(|a| (at[a] - camera.centre_px[a]) / camera.focal_px[a]);
            for (knot, (next, before)) in next.iter_mut().zip(before).enumerate() {
                let z = self.first_mm + knot as f64 * KNOT_MM;
                let now = iso * nalgebra::Point3::new(slope[0] * z, slope[1] * z, z);
                *next = (field.rest(&now) - now).cast::<f32>();
                jump = jump.max((*next - before).norm());
                still &= next.norm_squared() <= 0.0;
            }
        }
        let moved = jump > STIRS_MM;
        if moved {
            std::mem::swap(&mut self.off, &mut self.next);
            (self.jump_mm, self.still) = (jump, still);
        }
        moved
    }

    /// Displacement towards rest at every knot of a pixel's ray; outside the picture its border's.
    pub(super) fn along(&self, pixel: [f64; 2]) -> [Vector3<f32>; KNOTS] {
        let most = |a: usize| (self.nodes[a] - 1) as f64;
        let at: [f64; 2] = std::array::from_fn(|a| (pixel[a] / self.node_px).clamp(0.0, most(a)));
        let base: [usize; 2] = std::array::from_fn(|a| (at[a] as usize).min(self.nodes[a].saturating_sub(2)));
        let [fx, fy]: [f32; 2] = std::array::from_fn(|a| (at[a] - base[a] as f64) as f32);
        let first = base[0] + base[1] * self.nodes[0];
        let corner = |n: usize, w: f32| (&self.off[first + n], w);
        let corners = [
            corner(0, (1.0 - fx) * (1.0 - fy)),
            corner(1, fx * (1.0 - fy)),
            corner(self.nodes[0], (1.0 - fx) * fy),
            corner(self.nodes[0] + 1, fx * fy),
        ];
        let mut along = [Vector3::zeros(); KNOTS];
        for (off, w) in corners {
            for (to, from) in along.iter_mut().zip(off) {
                *to += from * w;
            }
        }
        along
    }

    /// Displacement towards rest at a place of the picture and a depth.
    pub(super) fn at(&self, pixel: [f64; 2], depth: f64) -> Vector3<f32> {
        let off = self.along(pixel);
        let knot = ((depth - self.first_mm) / KNOT_MM).clamp(0.0, (KNOTS - 1) as f64);
        let base = (knot as usize).min(KNOTS - 2);
        off[base].lerp(&off[base + 1], (knot - base as f64) as f32)
    }
}
