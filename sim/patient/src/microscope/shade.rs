//! Colours of what a ray ends on.
//!
//! Plain: one colour a tissue, shaded by its voxel's face, the lamp at the camera. Otherwise: wet tissue
//! under a lamp 5° beside the camera, with noise by type (capillaries on the cortex, mottled tumour,
//! stained white matter), vessels, blood, and highlights (N. Max's half vector as in J. Blinn, SIGGRAPH
//! 1977). **Units:** grey levels, voxels. **Not modelled:** light that scatters in tissue, and light that
//! comes back from one wall to another.

use super::palette::{Palette, Rgb};
use super::rays::{NOTHING, RIM_MM};
use super::settings::Look;
use super::surface::Spot;
use super::texture::{Noise, Vessels};
use super::window::Window;
use crate::anatomy::vessels::VesselKind;
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::truth::{Label, SOLID, TRUTH_EDGE};
use bregma_core::flow::Light;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Neighbourhood that a voxel face's normal is taken from, voxels.
pub(super) const NORMAL_REACH: i32 = 2;
/// The lamp stands that far beside the camera: tan 5°.
const LAMP_ASIDE: f32 = 0.087;

/// Flat colours, as the runtime's first tests knew them.
pub(super) struct Plain;

impl Plain {
    pub(super) fn drape(light: Light) -> Rgb {
        lamp(light, [38.0, 92.0, 88.0], [6.0, 14.0, 40.0])
    }

    pub(super) fn rim(light: Light) -> Rgb {
        lamp(light, [215.0, 205.0, 180.0], [28.0, 34.0, 84.0])
    }

    pub(super) const NOTHING: Rgb = [4.0, 4.0, 6.0];

    pub(super) fn metal(light: Light) -> Rgb {
        lamp(light, [178.0, 182.0, 190.0], [40.0, 44.0, 96.0])
    }

    /// A voxel's colour; `glow` is 0 to 1.
    pub(super) fn tissue(window: &Window, light: Light, index: usize, glow: f32) -> Rgb {
        if window.blood[index] {
            return lamp(light, [150.0, 30.0, 35.0], [14.0, 8.0, 30.0]);
        }
        let white = match window.labels[index] {
            Label::Outside | Label::Skull => [210.0, 200.0, 175.0],
            Label::Csf => [190.0, 165.0, 160.0],
            Label::Grey => [205.0, 150.0, 140.0],
            Label::White => [230.0, 210.0, 190.0],
            Label::Infiltrated => [215.0, 180.0, 165.0],
            Label::Enhancing => [165.0, 105.0, 100.0],
            Label::Necrosis => [160.0, 150.0, 95.0],
        };
        let violet = [22.0 + 190.0 * glow, 26.0 + 14.0 * glow, 72.0 + 10.0 * glow];
        lamp(light, white, violet)
    }

    /// Out of the tissue: from solid to open voxels nearby, weighed evenly.
    pub(super) fn normal(state: &[u8], window: &Window, index: usize) -> Option<Vector3<f64>> {
        let grid = &window.grid;
        let v = grid.voxel(index).map(|c| c as i32);
        let mut sum = Vector3::zeros();
        for dz in -NORMAL_REACH..=NORMAL_REACH {
            for dy in -NORMAL_REACH..=NORMAL_REACH {
                for dx in -NORMAL_REACH..=NORMAL_REACH {
                    let n = [v[0] + dx, v[1] + dy, v[2] + dz];
                    let inside = n.iter().all(|c| (0..TRUTH_EDGE as i32).contains(c));
                    if !inside || state[grid.index(n.map(|c| c as usize))] != SOLID {
                        sum += Vector3::new(f64::from(dx), f64::from(dy), f64::from(dz));
                    }
                }
            }
        }
        sum.try_normalize(1e-9)
    }
}

const fn lamp(light: Light, white: Rgb, violet: Rgb) -> Rgb {
    match light {
        Light::White => white,
        Light::Violet => violet,
    }
}

/// Fluid over a place, 0 to 1 each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cover {
    pub blood: f32,
    pub wet: f32,
}

/// A place of the surface as a pixel sees it.
pub(super) struct Seen<'a> {
    pub spot: &'a Spot,
    pub label: Label,
    pub place: Vector3<f32>,
    /// Along the ray, of unit length.
    pub ray: Vector3<f32>,
    /// Below the craniotomy, mm.
    pub below_mm: f32,
    /// Openness of the surroundings, 0 to 1.
    pub open: f32,
    pub cover: Cover,
    /// Share of the fluorescence that light has not bleached, times the patient's gain.
    pub glow: f32,
    pub pixel_mm: f32,
}

/// Wet tissue.
pub(super) struct Shader {
    pub palette: &'static Palette,
    pub light: Light,
    gloss: f32,
    noise: Noise,
    vessels: Vessels,
    /// Towards the lamp.
    lamp: Vector3<f32>,
    /// Against gravity.
    up: Vector3<f32>,
    /// The craniotomy's plane: middle, outward, and two axes in it.
    centre: Vector3<f32>,
    outward: Vector3<f32>,
    across: [Vector3<f32>; 2],
    radius_mm: f32,
}

impl Shader {
    /// `axis` and `side` are the camera's z and y.
    pub(super) fn new(
        patient: &Patient,
        grid: &Grid,
        look: Look,
        light: Light,
        gloss: f64,
        [axis, side]: [Vector3<f64>; 2],
        down: &Vector3<f64>,
    ) -> Self {
        let craniotomy = &patient.craniotomy;
        let place = |p: &Point3<f64>| Vector3::from(grid.coordinates(p)).add_scalar(0.5).cast::<f32>();
        let outward = craniotomy.outward.cast::<f32>();
        let first = outward.cross(&side.cast::<f32>()).try_normalize(1e-3).unwrap_or_else(Vector3::x);
        Self {
            palette: Palette::of(look, light),
            light,
            gloss: gloss as f32,
            noise: Noise::new(Draws::new(patient.seed(), Purpose::Texture).bits()),
            vessels: Vessels::new(patient, grid),
            lamp: (-axis.cast::<f32>() - side.cast::<f32>() * LAMP_ASIDE).normalize(),
            up: -down.cast::<f32>(),
            centre: place(&craniotomy.centre),
            outward,
            across: [first, outward.cross(&first)],
            radius_mm: craniotomy.radius_mm as f32,
        }
    }

    pub(super) fn switch(&mut self, look: Look, light: Light) {
        (self.palette, self.light) = (Palette::of(look, light), light);
    }

    /// Gravity may turn with the table.
    pub(super) fn turn(&mut self, down: &Vector3<f64>) {
        self.up = -down.cast::<f32>();
    }

    pub(super) const fn lamp(&self) -> Vector3<f32> {
        self.lamp
    }

    /// Tissue, with vessels, blood and highlights.
    pub(super) fn tissue(&self, seen: &Seen<'_>) -> Rgb {
        let p = self.palette;
        let coarse = self.noise.at(&seen.place, 2.3);
        let fine = self.noise.at(&seen.place, 0.34);
        let violet = self.light == Light::Violet;
        let mut colour = seen.spot.colour.map(|c| c * (1.0 + 0.10 * coarse.value + 0.07 * fine.value));
        let mut glow = seen.spot.glow * seen.glow * (1.0 + 0.12 * coarse.value + 0.10 * fine.value);
        let (stain, bumps) = self.pattern(seen, coarse.value, coarse.bump, fine.value);
        colour = mix(colour, p.stain, stain);
        glow *= 1.0 - 0.6 * stain;
        let mut normal = (seen.spot.normal + (coarse.bump * 0.10 + fine.bump * 0.22) * bumps).normalize();
        let wander = Vector3::new(coarse.bump.x, coarse.bump.y, coarse.bump.z) * 0.45;
        if let Some(vessel) = self.vessels.passing(&(seen.place + wander), &seen.ray, seen.pixel_mm) {
            let blood = match vessel.kind {
                VesselKind::Artery => p.artery,
                VesselKind::Vein => p.vein,
            };
            colour = mix(colour, blood, 0.92 * vessel.cover);
            glow *= 1.0 - vessel.cover;
            normal = normal.lerp(&vessel.normal, vessel.cover).normalize();
        }
        // Blood gathers with a ragged edge, and lies flat where it is deep.
        let blood = smooth(0.12, 0.75, seen.cover.blood + 0.16 * coarse.value + 0.10 * fine.value)
            * 0.97
            * f32::from(seen.cover.blood > 0.0);
        colour = mix(colour, p.blood, blood);
        glow *= (1.0 - seen.cover.blood) * (1.0 - blood);
        let pool = smooth(0.5, 1.0, seen.cover.wet) * (0.3 + 0.7 * blood);
        normal = (normal * (1.0 - pool) + (self.up + coarse.bump * 0.12) * pool).normalize();
        let diffuse = normal.dot(&self.lamp).max(0.0);
        let lit = (0.38 + 0.70 * diffuse) * (0.35 + 0.65 * seen.open) * fall(seen.below_mm);
        // Highlights break up on what is rough, and are smallest on a level pool.
        let broken = smooth(-0.35, 0.55, fine.bump.x + 0.6 * coarse.bump.z);
        let shine =
            self.shine(&normal, &seen.ray, seen.label, seen.cover.wet, pool) * (0.25 + 0.75 * seen.open) * broken;
        let mut out: Rgb = std::array::from_fn(|c| colour[c] * lit + p.shine[c] * shine);
        if violet {
            // Light comes out of the tissue whichever way it faces.
            let shown = glow.clamp(0.0, 1.4);
            let strength = shown * (0.45 + 0.55 * lit);
            out = std::array::from_fn(|c| out[c] * (1.0 - 0.45 * shown.min(1.0)) + p.glow[c] * strength);
        }
        out
    }

    /// How far a place is stained by its own small vessels or by blood, and how rough it is.
    fn pattern(&self, seen: &Seen<'_>, coarse: f32, bump: Vector3<f32>, fine: f32) -> (f32, f32) {
        let line = |value: f32, width: f32| 1.0 - smooth(0.0, width, value.abs());
        match seen.label {
            Label::Grey | Label::Csf => {
                let twig = self.noise.at(&(seen.place + bump * 0.5), 1.3).value;
                let lines = 0.55 * line(twig, 0.07) + 0.35 * line(bump.x + 0.4 * fine, 0.09);
                (lines.min(0.6) + 0.10 * smooth(0.1, 0.6, coarse), 0.6)
            }
            Label::White => (0.22 * smooth(0.05, 0.6, coarse + 0.3 * fine) + 0.5 * smooth(0.5, 0.7, fine), 0.8),
            Label::Infiltrated => (0.24 * smooth(0.0, 0.6, coarse + 0.3 * fine), 0.9),
            Label::Enhancing => (0.42 * smooth(-0.1, 0.5, bump.y + 0.4 * fine) + 0.3 * line(coarse, 0.08), 0.9),
            Label::Necrosis => (0.25 * smooth(0.2, 0.7, bump.y), 0.8),
            Label::Outside | Label::Skull => (0.4 * smooth(0.15, 0.6, fine + 0.4 * coarse), 0.8),
        }
    }

    fn shine(&self, normal: &Vector3<f32>, ray: &Vector3<f32>, label: Label, wet: f32, pool: f32) -> f32 {
        let wetness = match label {
            Label::White => 1.0,
            Label::Grey | Label::Csf => 1.15,
            Label::Infiltrated => 0.8,
            Label::Enhancing => 0.5,
            Label::Necrosis => 0.3,
            Label::Outside | Label::Skull => 0.25,
        };
        let half = (self.lamp - ray).normalize();
        let facing = normal.dot(&half).max(0.0);
        let broad = power(facing, 4);
        let sharp = power(broad, 4);
        let rough = 0.10 * broad + 0.62 * sharp;
        let level = 0.75 * power(sharp, 3);
        self.gloss * (wetness + 0.6 * wet) * (rough + (level - rough) * pool.min(1.0))
    }

    /// The bone's rim with the dura's cut edge, and the drape beyond; `place` lies in the craniotomy's plane.
    pub(super) fn surroundings(&self, place: &Vector3<f32>, ray: &Vector3<f32>) -> Rgb {
        let p = self.palette;
        let off = place - self.centre;
        let (x, y) = (off.dot(&self.across[0]), off.dot(&self.across[1]));
        let coarse = self.noise.at(place, 3.1);
        let fine = self.noise.at(place, 0.45);
        let out = (x * x + y * y).sqrt() - self.radius_mm + 0.9 * coarse.value;
        let (colour, bump, gloss) = if out < 1.4 {
            // Dura, turned over the edge.
            let stain = 0.5 * smooth(0.2, 0.6, fine.value + 0.5 * coarse.value);
            (mix(p.dura, p.stain, stain), fine.bump * 0.25, 0.7)
        } else if out < RIM_MM as f32 - 0.3 {
            // Bone: compact outside and in, spongy and bleeding in between.
            let spongy = smooth(1.4, 2.2, out) * (1.0 - smooth(3.2, 4.2, out));
            let stain = spongy * smooth(-0.1, 0.45, fine.value) * 0.75 + 0.12 * smooth(0.2, 0.6, coarse.value);
            (mix(p.bone, p.stain, stain), fine.bump * 0.3, 0.25)
        } else {
            // Cloth: a weave, and folds.
            let weave = |t: f32| 1.0 - 2.0 * ((t * 1.7).fract().abs() - 0.5).abs();
            let thread = 0.86 + 0.14 * weave(x) * weave(y);
            let fold = self.noise.at(place, 9.0);
            (p.drape.map(|c| c * thread * (1.0 + 0.25 * fold.value)), fold.bump * 0.55, 0.0)
        };
        let normal = (self.outward + bump).normalize();
        let lit = 0.24 + 0.80 * normal.dot(&self.lamp).max(0.0);
        // The rim throws a thin shadow onto what lies below it.
        let edge = if out < 1.4 { 0.55 + 0.45 * smooth(-0.2, 0.8, out) } else { 1.0 };
        let half = (self.lamp - ray).normalize();
        let shine = self.gloss * gloss * 0.5 * power(normal.dot(&half).max(0.0), 5);
        std::array::from_fn(|c| colour[c] * lit * edge + p.shine[c] * shine)
    }

    /// A voxel's colour before light and noise.
    pub(super) fn stain(&self, label: Label) -> [u8; 3] {
        self.palette.tissue(label).map(|c| c as u8)
    }

    /// What a pixel that ends nowhere shows.
    pub(super) const fn nothing() -> Rgb {
        [6.0, 5.0, 8.0]
    }
}

/// Whether a pixel ends on tissue.
pub(super) const fn on_tissue(seen: u32) -> bool {
    seen < NOTHING
}

/// Light that reaches down: the lamp narrows with the corridor.
fn fall(below_mm: f32) -> f32 {
    let t = below_mm.max(0.0) / 70.0;
    1.12 / (1.0 + t * t)
}

pub(super) fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * t)
}

/// Rises from 0 at `low` to 1 at `high`.
pub(super) fn smooth(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// x to the power 2ⁿ.
fn power(x: f32, n: u32) -> f32 {
    (0..n).fold(x, |x, _| x * x)
}
