//! The microscope's picture: rays through the truth grid, kept between frames.
//!
//! Each pixel keeps the depth and the voxel that it sees. Removal only opens, so when a voxel goes, the
//! pixels that saw it or its neighbourhood march on from where they stood; all others keep their colour.
//! **Units:** depth is mm along the camera's z. **Allocation:** none a frame; a pixel is queued once.
//! 5-ALA: red where cell density is high, with sensitivity 0.87 and specificity 0.89 (misses spatially
//! correlated over about 3 mm), dark in necrosis. **Not modelled:** blood, glare, bleaching, scatter.

use crate::patient::Patient;
use crate::random::{Draws, Purpose, mix, normal_pair};
use crate::truth::{Label, REMOVED, SOLID, TRUTH_EDGE};
use crate::world::SHAFT_RADIUS_MM;
use crate::world::TipInPatient;
use bregma_core::flow::{CameraCalibration, Light, VideoFrame};
use bregma_core::time::Instant;
use nalgebra::{Matrix3, Point3, Vector3};
use std::sync::Arc;

/// A pixel on the drape.
const DRAPE: u32 = u32::MAX;
/// A pixel on the bone's sawn rim.
const RIM: u32 = u32::MAX - 1;
/// A pixel that sees nothing.
const NOTHING: u32 = u32::MAX - 2;
/// Width of the rim that the drape leaves free, mm.
const RIM_MM: f64 = 5.0;
/// Length of the shaft that is drawn, mm.
const SHAFT_MM: f64 = 150.0;
/// Entries of the noise table; a power of two.
const NOISE: usize = 1 << 16;
/// Neighbourhood that a surface's normal is taken from, voxels.
const NORMAL_REACH: i32 = 2;

pub(crate) struct Renderer {
    patient: Arc<Patient>,
    camera: CameraCalibration,
    light: Light,
    state: Vec<u8>,
    fluorescence: Vec<u8>,
    /// Camera's place in voxels of the truth grid, where voxel v spans v to v + 1.
    eye: Vector3<f64>,
    turn: Matrix3<f64>,
    depth: Vec<f32>,
    seen: Vec<u32>,
    base: Vec<u8>,
    noise: Vec<i8>,
    queue: Vec<u32>,
    queued: Vec<bool>,
}

impl Renderer {
    pub(crate) fn new(patient: Arc<Patient>, camera: CameraCalibration, light: Light, state: Vec<u8>) -> Self {
        let [width, height] = camera.size_px;
        let n = width * height;
        let truth = &patient.truth;
        let iso = camera.patient_from_camera.isometry();
        let eye = iso.translation.vector - Vector3::from(truth.grid.origin) + Vector3::repeat(0.5);
        let seed = Draws::new(patient.seed(), Purpose::Picture).bits();
        let noise =
            (0..NOISE + width * 3).map(|i| (normal_pair(mix(seed, (i % NOISE) as u64)).0 * 3.0) as i8).collect();
        let mut renderer = Self {
            fluorescence: fluorescence(&patient),
            turn: *iso.rotation.to_rotation_matrix().matrix(),
            depth: vec![0.0; n],
            seen: vec![NOTHING; n],
            base: vec![0; n * 3],
            queue: Vec::with_capacity(n),
            queued: vec![false; n],
            patient,
            camera,
            light,
            state,
            eye,
            noise,
        };
        for pixel in 0..n {
            renderer.first_look(pixel);
        }
        for pixel in 0..n {
            renderer.paint(pixel);
        }
        renderer
    }

    pub(crate) const fn size_px(&self) -> [usize; 2] {
        self.camera.size_px
    }

    /// The truth voxel that a pixel sees.
    #[cfg(test)]
    pub(crate) fn sees(&self, pixel: usize) -> Option<usize> {
        Some(self.seen[pixel]).filter(|s| *s < NOTHING).map(|s| s as usize)
    }

    /// Opens removed voxels and looks again where they could be seen.
    pub(crate) fn open(&mut self, removed: &[u32]) {
        for index in removed {
            self.state[*index as usize] = REMOVED;
        }
        let [width, height] = self.camera.size_px;
        let grid = self.patient.truth.grid;
        for index in removed {
            let v = grid.voxel(*index as usize);
            let Some((u, w, z)) = self.camera.project(&grid.centre(v)) else { continue };
            // The voxel and those whose normal it is part of: a ball of radius (2 + ½)·√3 voxels.
            let r = self.camera.focal_px[0] / z * (f64::from(NORMAL_REACH) + 0.5) * 1.8;
            let span = |c: f64, n: usize| {
                let low = (c - r).max(0.0) as usize;
                low..((c + r).max(-1.0) + 1.0).min(n as f64) as usize
            };
            for y in span(w, height) {
                for x in span(u, width) {
                    let pixel = y * width + x;
                    let seen = self.seen[pixel];
                    if self.queued[pixel] || seen >= NOTHING {
                        continue;
                    }
                    let s = grid.voxel(seen as usize);
                    if (0..3).all(|a| s[a].abs_diff(v[a]) <= NORMAL_REACH as usize) {
                        self.queued[pixel] = true;
                        self.queue.push(pixel as u32);
                    }
                }
            }
        }
        while let Some(pixel) = self.queue.pop() {
            let pixel = pixel as usize;
            self.queued[pixel] = false;
            if self.state[self.seen[pixel] as usize] != SOLID {
                let from = f64::from(self.depth[pixel]);
                self.march(pixel, from);
            }
            self.paint(pixel);
        }
    }

    /// Writes the picture with the instrument in it.
    pub(crate) fn picture(&self, tip: &TipInPatient, captured: Instant, frame: &mut VideoFrame) {
        let [width, height] = self.camera.size_px;
        (frame.width, frame.height, frame.light, frame.captured) = (width, height, self.light, captured);
        frame.rgb.resize(width * height * 3, 0);
        let rows = frame.rgb.chunks_exact_mut(width * 3).zip(self.base.chunks_exact(width * 3));
        for (y, (to, from)) in rows.enumerate() {
            let start = mix(captured.nanos(), y as u64) as usize & (NOISE - 1);
            let noise = self.noise[start..].iter().chain(&self.noise);
            if let Some(run) = self.noise.get(start..start + width * 3) {
                for ((to, from), n) in to.iter_mut().zip(from).zip(run) {
                    *to = from.saturating_add_signed(*n);
                }
            } else {
                for ((to, from), n) in to.iter_mut().zip(from).zip(noise) {
                    *to = from.saturating_add_signed(*n);
                }
            }
        }
        self.draw_shaft(tip, &mut frame.rgb);
    }

    /// A pixel's ray in the grid's axes, with 1 mm of depth a unit.
    fn ray(&self, pixel: usize) -> Vector3<f64> {
        let width = self.camera.size_px[0];
        let (u, v) = ((pixel % width) as f64, (pixel / width) as f64);
        let [fx, fy] = self.camera.focal_px;
        let [cx, cy] = self.camera.centre_px;
        self.turn * Vector3::new((u - cx) / fx, (v - cy) / fy, 1.0)
    }

    /// Down to the plane of the craniotomy; through it where it is open.
    fn first_look(&mut self, pixel: usize) {
        let craniotomy = self.patient.craniotomy;
        let ray = self.ray(pixel);
        let eye = self.camera.patient_from_camera.position().coordinates();
        let fall = ray.dot(&craniotomy.outward);
        let depth = (craniotomy.centre - eye).dot(&craniotomy.outward) / if fall < -1e-6 { fall } else { -1e-6 };
        let across = (eye + ray * depth - craniotomy.centre).norm();
        self.depth[pixel] = depth as f32;
        if across > craniotomy.radius_mm {
            self.seen[pixel] = if across > craniotomy.radius_mm + RIM_MM { DRAPE } else { RIM };
        } else {
            self.march(pixel, depth);
        }
    }

    /// From a depth to the first solid voxel (J. Amanatides, A. Woo, *A fast voxel traversal algorithm for
    /// ray tracing*, Eurographics 1987).
    fn march(&mut self, pixel: usize, from: f64) {
        const EDGE: f64 = TRUTH_EDGE as f64;
        let ray = self.ray(pixel);
        let (mut enter, mut leave) = (from, f64::INFINITY);
        for a in 0..3 {
            let (p, q) = (-self.eye[a] / ray[a], (EDGE - self.eye[a]) / ray[a]);
            enter = enter.max(p.min(q));
            leave = leave.min(p.max(q));
        }
        self.seen[pixel] = NOTHING;
        self.depth[pixel] = leave.min(1e6) as f32;
        if enter.is_nan() || enter >= leave {
            return;
        }
        let start = self.eye + ray * (enter + 1e-6);
        let mut voxel: [i64; 3] = std::array::from_fn(|a| (start[a].floor() as i64).clamp(0, TRUTH_EDGE as i64 - 1));
        let step: [i64; 3] = std::array::from_fn(|a| if ray[a] < 0.0 { -1 } else { 1 });
        let pace: [f64; 3] = std::array::from_fn(|a| 1.0 / ray[a].abs().max(1e-12));
        let mut next: [f64; 3] = std::array::from_fn(|a| {
            let face = (voxel[a] + i64::from(step[a] > 0)) as f64;
            (face - self.eye[a]) / if ray[a].abs() < 1e-12 { 1e-12 } else { ray[a] }
        });
        let mut depth = enter;
        loop {
            let index = voxel[0] as usize + TRUTH_EDGE * (voxel[1] as usize + TRUTH_EDGE * voxel[2] as usize);
            if self.state[index] == SOLID {
                self.seen[pixel] = index as u32;
                self.depth[pixel] = depth as f32;
                return;
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
                return;
            }
        }
    }

    /// Colour of what the pixel sees, shaded by its normal; the lamp stands at the camera.
    fn paint(&mut self, pixel: usize) {
        let colour = match self.seen[pixel] {
            DRAPE => self.lamp([38.0, 92.0, 88.0], [6.0, 14.0, 40.0]),
            RIM => self.lamp([215.0, 205.0, 180.0], [28.0, 34.0, 84.0]),
            NOTHING => [4.0, 4.0, 6.0],
            seen => {
                let ray = self.ray(pixel).normalize();
                let facing = -self.normal(seen as usize).dot(&ray);
                let shade = 0.3 + 0.7 * facing.clamp(0.0, 1.0);
                self.albedo(seen as usize).map(|c| c * shade as f32)
            }
        };
        for (to, c) in self.base[pixel * 3..pixel * 3 + 3].iter_mut().zip(colour) {
            *to = c.clamp(0.0, 255.0) as u8;
        }
    }

    const fn lamp(&self, white: [f32; 3], violet: [f32; 3]) -> [f32; 3] {
        match self.light {
            Light::White => white,
            Light::Violet => violet,
        }
    }

    fn albedo(&self, index: usize) -> [f32; 3] {
        let truth = &self.patient.truth;
        let label = truth.labels[index];
        let blood = truth.vessel_mm[index].min(truth.thin_vessel_mm[index]) < 0.3;
        if blood {
            return self.lamp([150.0, 30.0, 35.0], [14.0, 8.0, 30.0]);
        }
        let white = match label {
            Label::Outside | Label::Skull => [210.0, 200.0, 175.0],
            Label::Csf => [190.0, 165.0, 160.0],
            Label::Grey => [205.0, 150.0, 140.0],
            Label::White => [230.0, 210.0, 190.0],
            Label::Infiltrated => [215.0, 180.0, 165.0],
            Label::Enhancing => [165.0, 105.0, 100.0],
            Label::Necrosis => [160.0, 150.0, 95.0],
        };
        let glow = f32::from(self.fluorescence[index]) / 255.0;
        let violet = [22.0 + 190.0 * glow, 26.0 + 14.0 * glow, 72.0 + 10.0 * glow];
        self.lamp(white, violet)
    }

    /// Out of the tissue: from solid to open voxels nearby, weighed evenly.
    fn normal(&self, index: usize) -> Vector3<f64> {
        let grid = &self.patient.truth.grid;
        let v = grid.voxel(index).map(|c| c as i32);
        let mut sum = Vector3::zeros();
        for dz in -NORMAL_REACH..=NORMAL_REACH {
            for dy in -NORMAL_REACH..=NORMAL_REACH {
                for dx in -NORMAL_REACH..=NORMAL_REACH {
                    let n = [v[0] + dx, v[1] + dy, v[2] + dz];
                    let inside = n.iter().all(|c| (0..TRUTH_EDGE as i32).contains(c));
                    if !inside || self.state[grid.index(n.map(|c| c as usize))] != SOLID {
                        sum += Vector3::new(f64::from(dx), f64::from(dy), f64::from(dz));
                    }
                }
            }
        }
        sum.try_normalize(1e-9).unwrap_or_else(|| -self.turn.column(2).into_owned())
    }

    /// The shaft as a cone in the picture: along it, 1/depth and radius in pixels are linear.
    fn draw_shaft(&self, tip: &TipInPatient, rgb: &mut [u8]) {
        let [width, height] = self.camera.size_px;
        let at = tip.position().coordinates();
        let far: Point3<f64> = at - tip.z_axis() * SHAFT_MM;
        let (Some(a), Some(b)) = (self.camera.project(&at), self.camera.project(&far)) else { return };
        let metal = self.lamp([178.0, 182.0, 190.0], [40.0, 44.0, 96.0]);
        let radius = |z: f64| self.camera.focal_px[0] * SHAFT_RADIUS_MM / z;
        let (ra, rb) = (radius(a.2), radius(b.2));
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length2 = (dx * dx + dy * dy).max(1e-9);
        let span = |p: f64, q: f64, n: usize| {
            let (low, high) = ((p - ra).min(q - rb).max(0.0) as usize, (p + ra).max(q + rb) + 1.0);
            low..high.clamp(0.0, n as f64) as usize
        };
        for y in span(a.1, b.1, height) {
            for x in span(a.0, b.0, width) {
                let (px, py) = (x as f64 - a.0, y as f64 - a.1);
                let s = ((px * dx + py * dy) / length2).clamp(0.0, 1.0);
                let r = ra + (rb - ra) * s;
                let off2 = (px - dx * s) * (px - dx * s) + (py - dy * s) * (py - dy * s);
                if off2 > r * r {
                    continue;
                }
                let z = 1.0 / ((1.0 - s) / a.2 + s / b.2);
                let pixel = y * width + x;
                if z - SHAFT_RADIUS_MM > f64::from(self.depth[pixel]) {
                    continue;
                }
                let shade = (0.35 + 0.65 * (1.0 - off2 / (r * r)).sqrt()) as f32;
                for (to, c) in rgb[pixel * 3..pixel * 3 + 3].iter_mut().zip(metal) {
                    *to = (c * shade) as u8;
                }
            }
        }
    }
}

/// How brightly each voxel would glow, 0 to 255.
///
/// A correlated normal field gives each place a rank v in [0, 1]; tissue glows where v is below
/// p = 0.11 + (0.87 − 0.11)·s, with s rising from 0 at a cell density of 0.5 to 1 at 0.8.
fn fluorescence(patient: &Patient) -> Vec<u8> {
    const MISSED: f64 = 1.0 - 0.89;
    const FOUND: f64 = 0.87;
    let truth = &patient.truth;
    let seed = Draws::new(patient.seed(), Purpose::Fluorescence).bits();
    let mut field: Vec<f32> = (0..truth.grid.len()).map(|i| normal_pair(mix(seed, i as u64)).0).collect();
    // Two boxes of 7 voxels along each axis: σ² = 2 · (7² − 1)/12 = 8, σ = 2.8 mm.
    for stride in [1, TRUTH_EDGE, TRUTH_EDGE * TRUTH_EDGE] {
        box_of_seven(&mut field, stride);
        box_of_seven(&mut field, stride);
    }
    let n = field.len() as f64;
    let variance = field.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>() / n;
    let scale = 1.0 / (2.0 * variance).sqrt();
    let glow = |(index, g): (usize, &f32)| {
        let label = truth.labels[index];
        if !label.tissue() || label == Label::Necrosis {
            return 0;
        }
        let s = ((f64::from(truth.density[index]) - 0.5) / 0.3).clamp(0.0, 1.0);
        let p = MISSED + (FOUND - MISSED) * s * s * (3.0 - 2.0 * s);
        let rank = 0.5 * (1.0 + libm::erf(f64::from(*g) * scale));
        (((p - rank) / 0.06 + 0.5).clamp(0.0, 1.0) * 255.0) as u8
    };
    field.iter().enumerate().map(glow).collect()
}

/// Sums of seven along one axis; the ends repeat.
fn box_of_seven(field: &mut [f32], stride: usize) {
    const N: usize = TRUTH_EDGE;
    let mut line = [0.0_f32; N];
    for block in 0..field.len() / (N * stride) {
        for offset in 0..stride {
            let start = block * N * stride + offset;
            for (i, v) in line.iter_mut().enumerate() {
                *v = field[start + i * stride];
            }
            for i in 0..N {
                let sum: f32 = (0..7).map(|d| line[(i + d).saturating_sub(3).min(N - 1)]).sum();
                field[start + i * stride] = sum;
            }
        }
    }
}
