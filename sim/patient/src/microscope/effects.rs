//! What happens to the light between the tissue and the picture: focus, vignette, things in the way, noise.
//!
//! **Units:** pixels, grey levels, mm. **Allocation:** at the start. Defocus is one separable box blur,
//! mixed in by how far a pixel lies outside the sharp depth: cheaper than a blur for every distance, and a
//! little harder at the edges of sharp things. **Not modelled:** bloom, chromatic errors, compression.

use super::occlusion::{Kind, Thing};
use super::palette::Palette;
use super::settings::MicroscopeSettings;
use super::texture::Noise;
use crate::random::{mix, normal_pair};
use bregma_core::time::Instant;
use nalgebra::Vector3;

/// Entries of the noise table; a power of two.
const NOISE: usize = 1 << 16;
/// Outside the sharp depth by that, blur is full, mm.
const FULL_BLUR_MM: f32 = 30.0;

/// Noise of the sensor, from a table at an offset of each row's own.
pub(super) struct Sensor(Vec<i8>);

impl Sensor {
    pub(super) fn new(seed: u64, width: usize, levels: f64) -> Self {
        let level = |i: usize| (normal_pair(mix(seed, (i % NOISE) as u64)).0 * levels as f32) as i8;
        Self((0..NOISE + width * 3).map(level).collect())
    }

    /// Copies a picture, with noise.
    pub(super) fn read(&self, captured: Instant, width: usize, from: &[u8], to: &mut [u8]) {
        for (y, (to, from)) in to.chunks_exact_mut(width * 3).zip(from.chunks_exact(width * 3)).enumerate() {
            for ((to, from), n) in to.iter_mut().zip(from).zip(self.row(captured, y)) {
                *to = from.saturating_add_signed(*n);
            }
        }
    }

    /// Adds noise to a picture.
    pub(super) fn add(&self, captured: Instant, width: usize, rgb: &mut [u8]) {
        for (y, row) in rgb.chunks_exact_mut(width * 3).enumerate() {
            for (to, n) in row.iter_mut().zip(self.row(captured, y)) {
                *to = to.saturating_add_signed(*n);
            }
        }
    }

    fn row(&self, captured: Instant, y: usize) -> &[i8] {
        &self.0[mix(captured.nanos(), y as u64) as usize & (NOISE - 1)..]
    }
}

/// The depth that is sharp, and the blur outside it.
pub(super) struct Focus {
    pub depth_mm: f32,
    sharp_mm: f32,
    radius: usize,
    across: Vec<u8>,
}

impl Focus {
    pub(super) fn new(settings: &MicroscopeSettings, [width, height]: [usize; 2], depth_mm: f64) -> Self {
        Self {
            depth_mm: depth_mm as f32,
            sharp_mm: settings.depth_of_field_mm as f32 / 2.0,
            radius: (settings.blur * width as f64).round() as usize,
            across: vec![0; width * height * 3],
        }
    }

    /// Blur at a depth, 0 to 1.
    fn blur(&self, depth: f32) -> f32 {
        (((depth - self.depth_mm).abs() - self.sharp_mm) / FULL_BLUR_MM).clamp(0.0, 1.0)
    }

    /// The same, pixels.
    pub(super) fn blur_px(&self, depth: f32) -> f32 {
        self.blur(depth) * self.radius as f32
    }

    /// Rows that a change in some rows reaches.
    pub(super) fn reach(&self, rows: std::ops::Range<usize>, height: usize) -> std::ops::Range<usize> {
        rows.start.saturating_sub(self.radius)..(rows.end + self.radius).min(height)
    }

    /// Whether the depth that is looked at has left the middle of what is sharp: refocused then.
    pub(super) fn refocus(&mut self, depth_mm: f32) -> bool {
        let off = (depth_mm - self.depth_mm).abs() > self.sharp_mm * 0.6;
        if off && self.radius > 0 {
            self.depth_mm = depth_mm;
        }
        off && self.radius > 0
    }

    /// Blurs rows of `base` into `shown` where they are out of focus.
    pub(super) fn defocus(
        &mut self,
        base: &[u8],
        depth: &[f32],
        width: usize,
        rows: std::ops::Range<usize>,
        shown: &mut [u8],
    ) {
        let line = width * 3;
        let height = base.len() / line;
        if rows.is_empty() {
            return;
        }
        if self.radius == 0 {
            shown[rows.start * line..rows.end * line].copy_from_slice(&base[rows.start * line..rows.end * line]);
            return;
        }
        let r = self.radius;
        let n = (2 * r + 1) as u32;
        let reach = self.reach(rows.clone(), height);
        for y in reach.clone() {
            let (from, to) = (&base[y * line..][..line], &mut self.across[y * line..][..line]);
            for c in 0..3 {
                let at = |x: usize| u32::from(from[x.min(width - 1) * 3 + c]);
                let mut sum: u32 = at(0) * r as u32 + (0..=r).map(at).sum::<u32>();
                for x in 0..width {
                    to[x * 3 + c] = (sum / n) as u8;
                    sum = sum + at(x + r + 1) - at(x.saturating_sub(r));
                }
            }
        }
        let row = |y: isize| {
            let y = y.clamp(0, height as isize - 1) as usize;
            y * line..(y + 1) * line
        };
        let mut sums = vec![0_u32; line];
        for y in rows.start as isize - r as isize..=rows.start as isize + r as isize {
            sums.iter_mut().zip(&self.across[row(y)]).for_each(|(s, c)| *s += u32::from(*c));
        }
        for y in rows {
            let (from, to) = (&base[y * line..][..line], &mut shown[y * line..][..line]);
            for x in 0..width {
                let weight = (self.blur(depth[y * width + x]) * 256.0) as i32;
                for i in x * 3..x * 3 + 3 {
                    let sharp = i32::from(from[i]);
                    to[i] = (sharp + ((((sums[i] / n) as i32 - sharp) * weight) >> 8)) as u8;
                }
            }
            let (gone, come) = (row(y as isize - r as isize), row(y as isize + r as isize + 1));
            for ((s, a), b) in sums.iter_mut().zip(&self.across[come]).zip(&self.across[gone]) {
                *s = *s + u32::from(*a) - u32::from(*b);
            }
        }
    }
}

/// How much of its light reaches a pixel: 1 in the middle, less in the corners.
pub(super) fn vignette(pixel: [usize; 2], [width, height]: [usize; 2]) -> f32 {
    let half = width as f32 / 2.0;
    let (x, y) = ((pixel[0] as f32 - half) / half, (pixel[1] as f32 - height as f32 / 2.0) / half);
    1.04 - 0.34 * (x * x + y * y)
}

/// Lays cotton, or passes a hand, over a picture.
pub(super) fn hide(thing: &Thing, palette: &Palette, noise: &Noise, size: [usize; 2], rgb: &mut [u8]) {
    let scale = 50.0 / size[0] as f32;
    for y in thing.rows(size) {
        for x in 0..size[0] {
            // Cheap reject before the noise: its edge moves by a twentieth at most.
            if thing.hides([x, y], size, -1.0).is_none() {
                continue;
            }
            let place = Vector3::new(x as f32 * scale, y as f32 * scale, (thing.seed % 97) as f32);
            let grain = noise.at(&place, 0.5);
            let Some(hiding) = thing.hides([x, y], size, grain.value) else { continue };
            let [along, across] = hiding.at;
            let (colour, lit) = match thing.kind {
                Kind::Cotton => {
                    let fold = noise.at(&place, 3.5).bump;
                    let lit = (0.80 + 0.10 * grain.value + 0.16 * fold.x) * (1.0 - 0.25 * (across * across).min(1.0));
                    // The strip that X-rays show.
                    let strip = across.abs() < 0.10 && along < 0.7;
                    (if strip { palette.vein } else { palette.cotton }, lit)
                }
                Kind::Hand => (palette.glove, 0.30 + 0.45 * (1.0 - across * across).max(0.0)),
            };
            let to = &mut rgb[(y * size[0] + x) * 3..][..3];
            for (to, c) in to.iter_mut().zip(colour) {
                *to = (f32::from(*to) + (c * lit - f32::from(*to)) * hiding.cover).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_focus_stays_as_it_is_and_the_rest_is_averaged() {
        let (width, height) = (40, 30);
        let mut focus =
            Focus::new(&MicroscopeSettings { blur: 0.05, ..MicroscopeSettings::home() }, [width, height], 300.0);
        assert_eq!(focus.radius, 2);
        let base: Vec<u8> = (0..width * height * 3).map(|i| if (i / 3) % 5 == 0 { 250 } else { 0 }).collect();
        let depth: Vec<f32> = (0..width * height).map(|i| if i % width < 20 { 303.0 } else { 380.0 }).collect();
        let mut shown = vec![0; base.len()];
        focus.defocus(&base, &depth, width, 0..height, &mut shown);
        for y in 0..height {
            for x in 0..width {
                let i = (y * width + x) * 3;
                if x < 20 {
                    assert_eq!(shown[i], base[i]);
                } else if (22..37).contains(&x) {
                    // Every fifth is 250: an average over five is 50.
                    assert!(shown[i].abs_diff(50) <= 1, "{}", shown[i]);
                }
            }
        }
        // Row by row it is the same as all at once.
        let mut by_rows = vec![0; base.len()];
        (0..height).for_each(|y| focus.defocus(&base, &depth, width, y..y + 1, &mut by_rows));
        assert!(by_rows == shown);
    }

    #[test]
    fn it_refocuses_when_the_cavity_has_deepened() {
        let mut focus = Focus::new(&MicroscopeSettings::home(), [640, 360], 300.0);
        assert!(!focus.refocus(303.0) && focus.blur_px(300.0) <= 0.0 && focus.blur_px(325.0) > 0.0);
        assert!(focus.refocus(325.0) && focus.blur_px(325.0) <= 0.0);
    }
}
