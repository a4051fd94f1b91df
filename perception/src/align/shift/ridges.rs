//! Dark lines in a picture: vessels.
//!
//! The picture, in that colour in which blood is darkest against tissue (green in white light, blue in violet), is reduced
//! to a quarter of its width and height, and divided by what surrounds each pixel, so that lamp and shade say nothing.
//! A line is where the second derivative across is large and that along is small, at two scales (the Hessian's
//! eigenvalues: A. F. Frangi et al., MICCAI 1998). **Units:** pixels of the reduced picture; answers are shares of
//! the surroundings' brightness. **Allocation:** in [`Ridges::new`].
//! **Not told apart:** a vessel from another dark line: a sulcus, a tool's edge, a hair.

use bregma_core::flow::{Light, VideoFrame};

/// Reduced by that much in width and height.
pub const REDUCED: usize = 4;
/// Widths of lines that are looked for, standard deviations of a Gaussian, pixels: vessels of 1 and of 2 mm.
const SCALES: [f32; 2] = [1.3, 2.4];
/// What counts as surroundings, likewise.
const AROUND: f32 = 8.0;
/// A saturated pixel, or one that is darker than this, says nothing.
const LIT: std::ops::Range<f32> = 4.0..250.0;

/// What a picture has of lines at a pixel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Line {
    /// How strong, 0 where there is none.
    pub strength: f32,
    /// Its direction as a double angle: `cos 2φ`, `sin 2φ`, times the strength.
    pub double: [f32; 2],
}

impl Line {
    /// How strong a line along this direction is: 0 for one across it.
    #[must_use]
    pub fn along(&self, double: [f32; 2]) -> f32 {
        0.5 * (self.strength + self.double[0] * double[0] + self.double[1] * double[1])
    }
}

/// The lines of one picture.
#[derive(Debug)]
pub struct Ridges {
    size: [usize; 2],
    light: Vec<f32>,
    around: Vec<f32>,
    smooth: Vec<f32>,
    line: Vec<f32>,
    lines: Vec<Line>,
}

impl Ridges {
    /// For pictures of this size.
    #[must_use]
    pub fn new(size_px: [usize; 2]) -> Self {
        let size = size_px.map(|n| (n / REDUCED).max(1));
        let count = size[0] * size[1];
        let zeros = || vec![0.0; count];
        Self {
            size,
            light: zeros(),
            around: zeros(),
            smooth: zeros(),
            line: vec![0.0; size[0].max(size[1])],
            lines: vec![Line::default(); count],
        }
    }

    /// Pixels of the reduced picture.
    #[must_use]
    pub const fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Finds the lines of a picture.
    pub fn find(&mut self, picture: &VideoFrame) {
        self.reduce(picture);
        self.around.copy_from_slice(&self.light);
        blur(&mut self.around, &mut self.line, self.size, AROUND);
        for (light, around) in self.light.iter_mut().zip(&self.around) {
            *light = if LIT.contains(light) { *light / around.max(1.0) } else { 1.0 };
        }
        self.lines.fill(Line::default());
        for scale in SCALES {
            self.smooth.copy_from_slice(&self.light);
            blur(&mut self.smooth, &mut self.line, self.size, scale);
            self.look(scale * scale);
        }
    }

    fn reduce(&mut self, picture: &VideoFrame) {
        let channel = match picture.light {
            Light::White => 1,
            Light::Violet => 2,
        };
        for (y, row) in self.light.chunks_exact_mut(self.size[0]).enumerate() {
            row.fill(0.0);
            for dy in 0..REDUCED {
                let start = (y * REDUCED + dy) * picture.width * 3;
                let pixels = picture.rgb[start..start + picture.width * 3].chunks_exact(3 * REDUCED);
                for (sum, four) in row.iter_mut().zip(pixels) {
                    *sum += (0..REDUCED).map(|n| f32::from(four[3 * n + channel])).sum::<f32>();
                }
            }
            row.iter_mut().for_each(|v| *v /= (REDUCED * REDUCED) as f32);
        }
    }

    /// Second derivatives of what was smoothed; the stronger line of the scales stays.
    fn look(&mut self, norm: f32) {
        let [w, h] = self.size;
        for y in 1..h.saturating_sub(1) {
            for x in 1..w.saturating_sub(1) {
                let at = |dx: usize, dy: usize| self.smooth[(y + dy - 1) * w + x + dx - 1];
                let middle = 2.0 * at(1, 1);
                let (xx, yy) = (at(0, 1) + at(2, 1) - middle, at(1, 0) + at(1, 2) - middle);
                let xy = 0.25 * (at(0, 0) + at(2, 2) - at(2, 0) - at(0, 2));
                let (half, apart) = (0.5 * (xx + yy), (0.25 * (xx - yy) * (xx - yy) + xy * xy).sqrt());
                // Across a dark line it is large, along it small.
                let strength = ((half + apart) - (half - apart).abs()) * norm;
                let line = &mut self.lines[y * w + x];
                if strength > line.strength && apart > 1e-6 {
                    // The line runs across the direction of the larger eigenvalue.
                    let double = [-0.5 * (xx - yy) / apart, -xy / apart];
                    *line = Line { strength, double: double.map(|d| d * strength) };
                }
            }
        }
    }

    /// The line at a pixel; none outside.
    #[must_use]
    pub fn at(&self, u: f32, v: f32) -> Line {
        if !(u >= 0.0 && v >= 0.0) {
            return Line::default();
        }
        let [x, y] = [u + 0.5, v + 0.5].map(|c| c as usize);
        if x < self.size[0] && y < self.size[1] { self.lines[y * self.size[0] + x] } else { Line::default() }
    }
}

/// Three box filters along each axis: nearly a Gaussian (W. M. Wells, IEEE PAMI 8, 1986), at a cost that its width does not
/// change. The border's value goes on.
fn blur(picture: &mut [f32], line: &mut [f32], [w, h]: [usize; 2], deviation: f32) {
    // A box of 2r + 1 has the variance r(r + 1)/3: three of two neighbouring radii come nearest to what is wanted.
    let low = (0.5 * ((1.0 + 4.0 * deviation * deviation).sqrt() - 1.0)).floor() as usize;
    let variance = |wide: usize| (wide * (low + 1) * (low + 2) + (3 - wide) * low * (low + 1)) as f32 / 3.0;
    let off = |wide: &usize| (variance(*wide) - deviation * deviation).abs();
    let wide = (0..=3).min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0);
    for radius in (0..3).map(|n| low + usize::from(n < wide)).filter(|r| *r > 0) {
        for y in 0..h {
            slide(&mut picture[y * w..(y + 1) * w], line, 1, w, radius);
        }
        for x in 0..w {
            slide(&mut picture[x..], line, w, h, radius);
        }
    }
}

/// Means over 2r + 1 values, `stride` apart.
fn slide(values: &mut [f32], line: &mut [f32], stride: usize, count: usize, radius: usize) {
    (0..count).for_each(|i| line[i] = values[i * stride]);
    let at = |i: isize| line[i.clamp(0, count as isize - 1) as usize];
    let r = radius as isize;
    let mut sum: f32 = (-r..=r).map(at).sum();
    let share = 1.0 / (2 * radius + 1) as f32;
    for i in 0..count {
        values[i * stride] = sum * share;
        sum += at(i as isize + r + 1) - at(i as isize - r);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dark line through the middle at an angle, 1.5 mm wide at 0.08 mm a pixel, under a lamp that falls off.
    fn picture(angle: f32, light: Light) -> VideoFrame {
        let mut picture = VideoFrame::black(640, 360);
        picture.light = light;
        for (i, pixel) in picture.rgb.chunks_exact_mut(3).enumerate() {
            let (u, v) = ((i % 640) as f32 - 320.0, (i / 640) as f32 - 180.0);
            let off = (-u * angle.sin() + v * angle.cos()).abs();
            let lamp = 1.0 - 0.4 * (u * u + v * v) / (320.0 * 320.0);
            let level = if off < 9.0 { 60.0 } else { 150.0 } * lamp;
            pixel.fill(level as u8);
        }
        picture
    }

    #[test]
    fn a_dark_line_is_found_where_it_runs_and_as_it_runs() {
        for (angle, light) in [(0.0_f32, Light::White), (0.6, Light::Violet), (2.2, Light::White)] {
            let mut ridges = Ridges::new([640, 360]);
            ridges.find(&picture(angle, light));
            let along = [(2.0 * angle).cos(), (2.0 * angle).sin()];
            let across = along.map(|v| -v);
            let middle = ridges.at(79.6, 44.6);
            assert!(middle.along(along) > 0.1, "{angle}: {middle:?}");
            assert!(middle.along(across) < 0.1 * middle.along(along), "{angle}: {middle:?}");
            let aside = ridges.at(79.6 - 12.0 * angle.sin(), 44.6 + 12.0 * angle.cos());
            assert!(aside.strength < 0.1 * middle.strength, "{angle}: {aside:?}");
        }
    }

    #[test]
    fn an_even_picture_has_none_and_what_lies_outside_is_none() {
        let mut ridges = Ridges::new([640, 360]);
        ridges.find(&VideoFrame::black(640, 360));
        assert!(ridges.lines.iter().all(|l| l.strength <= 0.0));
        assert_eq!(ridges.at(-1.0, 5.0), Line::default());
        assert_eq!(ridges.at(f32::NAN, 1e9), Line::default());
    }

    #[test]
    fn a_blur_keeps_the_sum_and_has_its_width() {
        let (w, h) = (61, 61);
        for deviation in [1.3, 2.4, 8.0] {
            let mut picture = vec![0.0_f32; w * h];
            picture[30 * w + 30] = 1.0;
            blur(&mut picture, &mut vec![0.0; 61], [w, h], deviation);
            let sum: f32 = picture.iter().sum();
            let variance: f32 =
                picture.iter().enumerate().map(|(i, v)| v * ((i % w) as f32 - 30.0).powi(2)).sum::<f32>() / sum;
            assert!((sum - 1.0).abs() < 0.02 && (variance.sqrt() / deviation - 1.0).abs() < 0.2, "{sum} {variance}");
        }
    }
}
