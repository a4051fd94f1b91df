//! How far away the picture's tiles are, as the stereo microscope measures it.
//!
//! What two lenses some 24 mm apart find by matching their pictures errs by the pixel's share that a match errs by
//! (noise), by how well the lenses are known (a bias, and a tilt of it over the picture), and by false matches. Nothing is
//! found on glare, on drape or bone's edge, or under a film of blood; hands, cotton and the shaft are measured in
//! place of what they hide. **Units:** mm along the camera's z. **Same in, same out:** by seed and time.
//! **Not modelled:** the second picture itself, and surfaces that only one lens sees.

use super::occlusion::{Kind, Thing};
use super::rays::{DRAPE, NOTHING, RIM, Rays};
use super::settings::MicroscopeSettings;
use super::tool;
use crate::random::{Draws, Purpose, mix, normal_pair};
use crate::world::TipInPatient;
use bregma_core::flow::{RANGE_PER_MM, RANGE_SIZE, RangeImage, tile_middle};
use bregma_core::time::Instant;

/// Of a thousand matches, so many are false.
const FALSE: u64 = 15;
/// A false match is off by up to that, mm.
const FALSE_MM: f64 = 12.0;
/// As thick as a patty of cotton.
const COTTON_MM: f64 = 2.5;
/// So high hands pass.
const HAND_MM: f64 = 60.0;
/// Brighter than that in all colours, a pixel matches nothing.
const GLARE: u8 = 235;
/// Blood that hides so much of a voxel, of 255, leaves nothing to match.
const COVERS: u8 = 128;

/// A stereo microscope's errors.
pub(super) struct Ranging {
    seed: u64,
    noise_mm: f64,
    bias_mm: f64,
    /// Of all ranges, and more at the picture's right and lower edge, mm.
    off: [f64; 3],
}

/// What is measured.
pub(super) struct Sight<'a> {
    pub rays: &'a Rays,
    pub depth: &'a [f32],
    pub seen: &'a [u32],
    /// The picture behind the lens.
    pub shown: &'a [u8],
    /// Fluid over each voxel, of 255.
    pub blood: &'a [u8],
    pub things: &'a [Thing],
}

impl Ranging {
    /// None where the microscope has one lens.
    pub(super) fn new(seed: u64, settings: &MicroscopeSettings) -> Option<Self> {
        let (noise_mm, bias_mm) = (settings.range_noise_mm?, settings.range_bias_mm);
        let mut draws = Draws::new(seed, Purpose::Ranging);
        let off = [draws.normal() * bias_mm, draws.normal() * bias_mm / 2.0, draws.normal() * bias_mm / 2.0];
        Some(Self { seed: draws.bits(), noise_mm, bias_mm, off })
    }

    pub(super) fn measure(&self, sight: &Sight<'_>, tip: &TipInPatient, captured: Instant, to: &mut RangeImage) {
        let [width, height] = sight.rays.lens.camera().size_px;
        (to.noise_mm, to.bias_mm, to.captured) = (self.noise_mm, self.bias_mm, captured);
        let moment = mix(self.seed, captured.nanos());
        for (tile, range) in to.ranges.iter_mut().enumerate() {
            let middle = tile_middle(tile, [width, height]);
            let [x, y] = middle.map(|c| c.round() as usize);
            let draw = mix(moment, tile as u64);
            let measured = sight.meets(tip, [x, y], width, height).map(|depth| {
                let [u, v] = [middle[0] / width as f64, middle[1] / height as f64].map(|share| 2.0 * share - 1.0);
                let wild = (mix(draw, 1) % 1000 < FALSE).then(|| (mix(draw, 2) % 1000) as f64 / 500.0 - 1.0);
                depth
                    + self.off[0]
                    + self.off[1] * u
                    + self.off[2] * v
                    + f64::from(normal_pair(draw).0) * self.noise_mm
                    + wild.unwrap_or(0.0) * FALSE_MM
            });
            *range = measured.map_or(0, |mm| (mm * RANGE_PER_MM).round().clamp(0.0, f64::from(u16::MAX)) as u16);
        }
    }
}

impl Sight<'_> {
    /// The nearest thing that matches at a pixel.
    fn meets(&self, tip: &TipInPatient, [x, y]: [usize; 2], width: usize, height: usize) -> Option<f64> {
        let pixel = y * width + x;
        let behind = f64::from(self.depth[pixel]);
        let over = |kind: Kind| {
            let mut things = self.things.iter().filter(|t| t.kind == kind);
            things.any(|t| t.hides([x, y], [width, height], 0.0).is_some_and(|h| h.cover > 0.5))
        };
        if over(Kind::Hand) {
            return Some(behind - HAND_MM);
        }
        if let Some(shaft) = tool::depth(self.rays, behind, tip, pixel) {
            return Some(shaft);
        }
        if over(Kind::Cotton) {
            return Some(behind - COTTON_MM);
        }
        let seen = self.seen[pixel];
        let glare = self.shown[pixel * 3..][..3].iter().all(|c| *c > GLARE);
        let bloody = || self.blood.get(seen as usize).is_some_and(|b| *b >= COVERS);
        (![DRAPE, RIM, NOTHING].contains(&seen) && !glare && !bloody()).then_some(behind)
    }
}

const _: () = assert!(RANGE_SIZE[0] * RANGE_SIZE[1] < 1000, "a coarse grid");
