//! Pixels to draw on: pictures, lines, arrows, words.
//!
//! **Layout:** x to the right, y down, from the top left. What lies outside is not drawn.

use font8x8::UnicodeFonts;
use image::{Rgb, RgbImage};

/// Width and height of a letter, pixels.
pub const LETTER: [u32; 2] = [8, 10];

/// A colour.
pub type Colour = [u8; 3];

/// What is drawn on.
pub struct Canvas {
    image: RgbImage,
}

impl Canvas {
    /// All black.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self { image: RgbImage::new(width, height) }
    }

    /// The pixels.
    #[must_use]
    pub fn into_image(self) -> RgbImage {
        self.image
    }

    /// One pixel.
    pub fn put(&mut self, x: i64, y: i64, colour: Colour) {
        if let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y))
            && let Some(pixel) = self.image.get_pixel_mut_checked(x, y)
        {
            *pixel = Rgb(colour);
        }
    }

    /// Another picture, its top left corner at `[x, y]`.
    pub fn paste(&mut self, picture: &RgbImage, [x, y]: [u32; 2]) {
        image::imageops::replace(&mut self.image, picture, i64::from(x), i64::from(y));
    }

    /// A line as wide as `width`, pixels.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], width: f64, colour: Colour) {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let steps = (dx.hypot(dy) * 2.0).ceil().max(1.0);
        let half = (width / 2.0).max(0.5);
        let reach = half.ceil() as i64;
        for n in 0..=steps as u32 {
            let share = f64::from(n) / steps;
            let (x, y) = (from[0] + dx * share, from[1] + dy * share);
            for (oy, ox) in (-reach..=reach).flat_map(|oy| (-reach..=reach).map(move |ox| (oy, ox))) {
                let (px, py) = (x.round() as i64 + ox, y.round() as i64 + oy);
                if (px as f64 - x).hypot(py as f64 - y) <= half {
                    self.put(px, py, colour);
                }
            }
        }
    }

    /// A line with a head at its end.
    pub fn arrow(&mut self, from: [f64; 2], to: [f64; 2], colour: Colour) {
        self.line(from, to, 1.0, colour);
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length = dx.hypot(dy);
        if length < 2.0 {
            return;
        }
        for side in [-1.0, 1.0] {
            let back = [-dx / length * 3.5 - side * dy / length * 2.0, -dy / length * 3.5 + side * dx / length * 2.0];
            self.line(to, [to[0] + back[0], to[1] + back[1]], 1.0, colour);
        }
    }

    /// Words in white on what is there, darkened.
    pub fn words(&mut self, [x, y]: [u32; 2], text: &str) {
        for (n, letter) in text.chars().enumerate() {
            let rows = font8x8::BASIC_FONTS.get(letter).unwrap_or_default();
            let left = i64::from(x) + n as i64 * i64::from(LETTER[0]);
            for dy in -1..9_i64 {
                let bits = usize::try_from(dy).ok().and_then(|row| rows.get(row)).copied().unwrap_or(0);
                for dx in 0..8_i64 {
                    let colour = if bits >> dx & 1 == 1 { [255; 3] } else { [12; 3] };
                    self.put(left + dx, i64::from(y) + 1 + dy, colour);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_not_drawn_and_what_lies_inside_is() {
        let mut canvas = Canvas::new(40, 20);
        canvas.line([-50.0, 10.0], [90.0, 10.0], 1.0, [255, 0, 0]);
        canvas.words([30, 0], "beyond the edge");
        let image = canvas.into_image();
        assert!((0..30).all(|x| image.get_pixel(x, 10).0 == [255, 0, 0]));
        assert_eq!(image.get_pixel(0, 15).0, [0; 3]);
        assert!((30..38).any(|x| (0..10).any(|y| image.get_pixel(x, y).0 == [255; 3])), "a letter");
    }
}
