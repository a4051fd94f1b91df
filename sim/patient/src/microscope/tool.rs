//! The instrument in the picture, and its shadow.
//!
//! **Units:** pixels and mm along the camera's z. Along the shaft, 1/depth and radius in pixels are linear.
//! **Not modelled:** the bore, cables and tubes, and reflections on the shaft.

use super::palette::{Palette, Rgb};
use super::rays::Rays;
use super::shade::{Plain, smooth};
use crate::world::{SHAFT_RADIUS_MM, TipInPatient};
use bregma_core::flow::Light;
use nalgebra::{Point3, Vector3};

/// Length of the shaft that is drawn, mm.
const SHAFT_MM: f64 = 150.0;
/// Bare metal from the tip on, mm; beyond it a sleeve.
const BARE_MM: f32 = 24.0;
/// The sleeve is thicker by that.
const SLEEVE: f32 = 1.18;
/// Highest a shaft stands over what it throws its shadow on, mm.
const HIGH_MM: f64 = 60.0;

/// The shaft as a cone of one colour.
pub(super) fn draw_plain(rays: &Rays, depth: &[f32], light: Light, tip: &TipInPatient, rgb: &mut [u8]) {
    let camera = rays.lens.camera();
    let [width, height] = camera.size_px;
    let at = tip.position().coordinates();
    let far: Point3<f64> = at - tip.z_axis() * SHAFT_MM;
    let (Some(a), Some(b)) = (rays.lens.project(&at), rays.lens.project(&far)) else { return };
    let metal = Plain::metal(light);
    let radius = |z: f64| camera.focal_px[0] * SHAFT_RADIUS_MM / z;
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
            if z - SHAFT_RADIUS_MM > f64::from(depth[pixel]) {
                continue;
            }
            let shade = (0.35 + 0.65 * (1.0 - off2 / (r * r)).sqrt()) as f32;
            for (to, c) in rgb[pixel * 3..pixel * 3 + 3].iter_mut().zip(metal) {
                *to = (c * shade) as u8;
            }
        }
    }
}

/// The depth at which a pixel's ray meets the shaft before `behind`; `None` where it does not.
pub(super) fn depth(rays: &Rays, behind: f64, tip: &TipInPatient, pixel: usize) -> Option<f64> {
    let camera = rays.lens.camera();
    let at = tip.position().coordinates();
    let far: Point3<f64> = at - tip.z_axis() * SHAFT_MM;
    // In the ideal picture, where the shaft is straight.
    let (a, b) = (camera.project(&at)?, camera.project(&far)?);
    let [x, y] = rays.lens.slope(pixel);
    let (px, py) =
        (x * camera.focal_px[0] + camera.centre_px[0] - a.0, y * camera.focal_px[1] + camera.centre_px[1] - a.1);
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let s = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
    let z = 1.0 / ((1.0 - s) / a.2 + s / b.2);
    let radius = camera.focal_px[0] * SHAFT_RADIUS_MM / z;
    let near = z - SHAFT_RADIUS_MM;
    ((px - dx * s).hypot(py - dy * s) <= radius && near < behind).then_some(near)
}

/// What the tool is drawn with.
pub(super) struct Scene<'a> {
    pub rays: &'a Rays,
    pub depth: &'a [f32],
    pub palette: &'a Palette,
    /// Towards the lamp, in the grid's axes.
    pub lamp: Vector3<f32>,
    pub gloss: f32,
    /// Blur of a pixel at a depth, pixels.
    pub blur_px: &'a dyn Fn(f32) -> f32,
}

/// The shaft in the ideal picture, and in the camera's axes.
struct Shaft {
    tip: Vector3<f32>,
    along: Vector3<f32>,
    a: [f32; 3],
    b: [f32; 3],
    focal: f32,
}

impl Shaft {
    fn of(scene: &Scene<'_>, tip: &TipInPatient) -> Option<Self> {
        let camera = scene.rays.lens.camera();
        let iso = camera.patient_from_camera.isometry();
        let at = tip.position().coordinates();
        let near = iso.inverse_transform_point(&at).coords.cast::<f32>();
        let along = -(iso.rotation.inverse() * tip.z_axis()).cast::<f32>();
        // No further than where it would stand beside the lens.
        let length = if along.z < -0.1 { ((near.z - 60.0) / -along.z).min(SHAFT_MM as f32) } else { SHAFT_MM as f32 };
        if near.z < 60.0 || length <= 1.0 {
            return None;
        }
        let focal = camera.focal_px[0] as f32;
        let [cx, cy] = camera.centre_px.map(|c| c as f32);
        let flat = |p: Vector3<f32>| [focal * p.x / p.z + cx, focal * p.y / p.z + cy, p.z];
        let far = near + along * length;
        Some(Self { tip: near, along: along * length, a: flat(near), b: flat(far), focal })
    }
}

/// The shadow, then the tool.
pub(super) fn draw(scene: &Scene<'_>, tip: &TipInPatient, rgb: &mut [u8]) {
    let Some(shaft) = Shaft::of(scene, tip) else { return };
    let camera = scene.rays.lens.camera();
    let [width, height] = camera.size_px;
    let lamp = scene.rays.turn.transpose() * scene.lamp.cast::<f64>();
    let lamp = lamp.cast::<f32>();
    let d = [shaft.b[0] - shaft.a[0], shaft.b[1] - shaft.a[1]];
    let length = (d[0] * d[0] + d[1] * d[1]).sqrt().max(1e-3);
    let (dx, dy) = (d[0] / length, d[1] / length);
    let radius = |z: f32| shaft.focal * SHAFT_RADIUS_MM as f32 / z;
    let (ra, rb) = (radius(shaft.a[2]), radius(shaft.b[2]));
    // A shadow falls away from the lamp by its height times the lamp's slope.
    let away = [-lamp.x, -lamp.y].map(|c| c / -lamp.z * HIGH_MM as f32 * shaft.focal / shaft.a[2]);
    let across = dx * away[1] - dy * away[0];
    let ahead = dx * away[0] + dy * away[1];
    let soft = 4.0 + 0.01 * width as f32;
    let most = ra.max(rb) * SLEEVE + soft;
    let rows = {
        let low = shaft.a[1].min(shaft.b[1]) - most + away[1].min(0.0);
        let high = shaft.a[1].max(shaft.b[1]) + most + away[1].max(0.0);
        low.clamp(0.0, height as f32) as usize..high.clamp(0.0, height as f32) as usize
    };
    let [cx, cy] = camera.centre_px;
    // Where the band around shaft and shadow crosses a row; distortion moves it by 2 % at most.
    let slack = 0.025 * width as f32;
    let columns = |y: usize| {
        let py = y as f32 - shaft.a[1];
        let (low, high) = (-most + across.min(0.0) - slack, most + across.max(0.0) + slack);
        let (p, q) = if dy.abs() > 0.02 {
            ((py * dx - low) / dy + shaft.a[0], (py * dx - high) / dy + shaft.a[0])
        } else {
            (0.0, width as f32)
        };
        let clamp = |c: f32| c.clamp(0.0, width as f32) as usize;
        clamp(p.min(q))..clamp(p.max(q) + 1.0)
    };
    for y in rows {
        for x in columns(y) {
            let pixel = y * width + x;
            let [sx, sy] = scene.rays.lens.slope(pixel);
            let px = (sx * camera.focal_px[0] + cx) as f32 - shaft.a[0];
            let py = (sy * camera.focal_px[1] + cy) as f32 - shaft.a[1];
            let (t, off) = (px * dx + py * dy, py * dx - px * dy);
            let inside = off > -most + across.min(0.0)
                && off < most + across.max(0.0)
                && t > -most + ahead.min(0.0)
                && t < length + most + ahead.max(0.0);
            if !inside {
                continue;
            }
            let to = &mut rgb[pixel * 3..pixel * 3 + 3];
            let depth = scene.depth[pixel];
            let shadow = shadow(&shaft, &Vector3::new(sx as f32 * depth, sy as f32 * depth, depth), &lamp);
            if shadow > 0.0 {
                to.iter_mut().for_each(|c| *c = (f32::from(*c) * (1.0 - 0.62 * shadow)) as u8);
            }
            let s = (t / length).clamp(0.0, 1.0);
            let z = 1.0 / ((1.0 - s) / shaft.a[2] + s / shaft.b[2]);
            let mm = (shaft.a[2] - z) / (shaft.a[2] - shaft.b[2]).max(1e-3) * shaft.along.norm();
            let bare = 1.0 - smooth(BARE_MM - 0.4, BARE_MM + 0.4, mm);
            let r = (ra + (rb - ra) * s) * (SLEEVE + (1.0 - SLEEVE) * bare);
            let beyond = t - length * s;
            let from_axis = (off * off + beyond * beyond).sqrt();
            let soft = 0.7 + (scene.blur_px)(z);
            let cover = ((r - from_axis) / soft + 0.5).clamp(0.0, 1.0);
            if cover <= 0.0 || z - SHAFT_RADIUS_MM as f32 > depth {
                continue;
            }
            let colour = surface(scene, off / r, bare, mm);
            for (to, c) in to.iter_mut().zip(colour) {
                *to = (f32::from(*to) + (c - f32::from(*to)) * cover).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// Colour of the shaft by its place across, −1 to 1.
fn surface(scene: &Scene<'_>, across: f32, bare: f32, mm: f32) -> Rgb {
    let p = scene.palette;
    let rise = (1.0 - across * across).max(0.0).sqrt();
    let lit = 0.20 + 0.75 * rise;
    // A lamp beside the camera shines along a line off the middle, narrower on metal.
    let line = 1.0 - smooth(0.0, 0.16 + 0.14 * (1.0 - bare), (across + 0.22).abs());
    // Rings are turned into the metal near the tip.
    let ring = if bare > 0.5 && (mm * 0.9).fract() < 0.12 && mm > 3.0 && mm < 9.0 { 0.75 } else { 1.0 };
    std::array::from_fn(|c| {
        let base = p.metal[c] * bare + p.sleeve[c] * (1.0 - bare);
        base * lit * ring * 0.85 + p.shine[c] * line * (0.55 * bare + 0.22 * (1.0 - bare)) * scene.gloss.min(1.0)
    })
}

/// Share of the lamp that the shaft takes from a point: closest points of a line and a segment (C. Ericson,
/// *Real-Time Collision Detection*, 5.1.8); the penumbra widens with the height.
fn shadow(shaft: &Shaft, at: &Vector3<f32>, lamp: &Vector3<f32>) -> f32 {
    let between = at - shaft.tip;
    let (b, e) = (lamp.dot(&shaft.along), shaft.along.norm_squared());
    let (c, f) = (lamp.dot(&between), shaft.along.dot(&between));
    let t = ((f - b * c) / (e - b * b).max(1e-4)).clamp(0.0, 1.0);
    let up = b * t - c;
    if up <= 0.3 {
        return 0.0;
    }
    let gap = (between + lamp * up - shaft.along * t).norm();
    let r = SHAFT_RADIUS_MM as f32;
    let soft = 0.25 + 0.03 * up;
    1.0 - smooth(r - soft, r + soft, gap)
}
