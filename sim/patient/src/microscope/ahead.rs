//! How far down a ray may start.
//!
//! Between two looks tissue moves by little: nothing comes nearer to the lens than what the pixels around
//! saw, less a margin. **Units:** pixels; mm along the camera's z. **Allocation:** at the start.
//! **Invariant:** holds while no place moves by more than [`MARGIN_MM`] along the ray, or by a tile across
//! it, between two looks; who knows of a larger movement starts at the craniotomy instead.

use std::ops::Range;

/// Edge of a tile, pixels: 0.6 mm in the picture that is shown live.
const TILE: usize = 8;
/// Movement between two looks that is allowed for, mm.
pub(super) const MARGIN_MM: f32 = 0.6;

#[derive(Default)]
pub(super) struct Ahead {
    tiles: [usize; 2],
    /// Smallest depth in each tile.
    own: Vec<f32>,
    /// In it and its eight neighbours.
    around: Vec<f32>,
}

impl Ahead {
    pub(super) fn new([width, height]: [usize; 2]) -> Self {
        let tiles = [width.div_ceil(TILE), height.div_ceil(TILE)];
        let n = tiles[0] * tiles[1];
        Self { tiles, own: vec![0.0; n], around: vec![0.0; n] }
    }

    /// Takes over the depths around some rows.
    pub(super) fn measure(&mut self, depth: &[f32], width: usize, rows: Range<usize>) {
        let [across, down] = self.tiles;
        let tiles = rows.start / TILE..rows.end.div_ceil(TILE).min(down);
        for ty in tiles.start.saturating_sub(1)..(tiles.end + 1).min(down) {
            let own = &mut self.own[ty * across..(ty + 1) * across];
            own.fill(f32::INFINITY);
            for row in depth.chunks_exact(width).skip(ty * TILE).take(TILE) {
                for (own, pixels) in own.iter_mut().zip(row.chunks(TILE)) {
                    *own = pixels.iter().fold(*own, |least, d| least.min(*d));
                }
            }
        }
        for ty in tiles {
            for tx in 0..across {
                let mut least = f32::INFINITY;
                for y in ty.saturating_sub(1)..(ty + 2).min(down) {
                    for x in tx.saturating_sub(1)..(tx + 2).min(across) {
                        least = least.min(self.own[y * across + x]);
                    }
                }
                self.around[ty * across + tx] = least;
            }
        }
    }

    /// A depth that nothing seen near a pixel is above.
    #[inline]
    pub(super) fn from(&self, x: usize, y: usize) -> f64 {
        f64::from(self.around[y / TILE * self.tiles[0] + x / TILE] - MARGIN_MM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ray_starts_above_all_that_is_seen_near_it() {
        let (width, height) = (50, 37);
        let mut ahead = Ahead::new([width, height]);
        let depth: Vec<f32> = (0..width * height).map(|i| 300.0 + ((i * 7919) % 101) as f32 * 0.1).collect();
        ahead.measure(&depth, width, 9..30);
        for y in 9..30_usize {
            for x in 0..width {
                let near = (y.saturating_sub(TILE)..(y + TILE + 1).min(height))
                    .flat_map(|v| (x.saturating_sub(TILE)..(x + TILE + 1).min(width)).map(move |u| v * width + u));
                let least = near.map(|i| depth[i]).fold(f32::INFINITY, f32::min);
                assert!(ahead.from(x, y) <= f64::from(least - MARGIN_MM), "{x} {y}");
            }
        }
    }
}
