//! Where the opening in the cortex is: what of it was carved is known at rest, and a range image shows where it is now.
//!
//! Tiles of the range image whose ray goes on below the cortex are *open*. Of all offsets across the view up to
//! [`SEARCH_MM`], the one at which open tiles lie over carved columns, and the others over whole ones, tells how far aside
//! the cortex has moved, which ranges alone do not see. **Units:** mm. **Allocation:** when an anatomy arrives.
//! **Not protected against:** tissue that was removed by something that is not tracked; an edge that gives way on one side.

use super::cortex::Cortex;
use nalgebra::Point3;

/// Offsets that are tried, each way.
const SEARCH_MM: f64 = 8.0;
/// From offset to offset, first and then.
const STEPS_MM: [f64; 2] = [1.0, 0.25];
/// A ray that goes on below the cortex by more than that is open.
pub const BELOW_MM: f64 = 4.0;
/// One that ends above it by more than that is hidden.
pub const ABOVE_MM: f64 = 2.0;
/// So deep below the surface a column is asked whether it was carved.
const ASKED_MM: f64 = 2.5;
/// Tiles of each kind that must be in view.
const TILES_MIN: usize = 8;
/// Share of the tiles that must agree at the best offset.
const AGREE_MIN: f64 = 0.9;

/// A tile's place on the cortex, across it, and whether the ray goes on.
#[derive(Debug, Clone, Copy)]
struct Tile {
    at: [f64; 2],
    open: bool,
}

/// The scratch of one search.
#[derive(Debug)]
pub struct Mouth {
    /// Of each column of the cortex, whether it was carved below its surface.
    carved: Vec<bool>,
    tiles: Vec<Tile>,
}

impl Mouth {
    /// Over a cortex, for so many tiles.
    #[must_use]
    pub fn new(cortex: &Cortex, tiles: usize) -> Self {
        Self { carved: vec![false; cortex.columns()], tiles: Vec::with_capacity(tiles) }
    }

    /// Looks anew at what was carved, and forgets the tiles.
    pub fn begin(&mut self, cortex: &Cortex, open: &dyn Fn(&Point3<f64>) -> bool) {
        self.tiles.clear();
        for (column, carved) in self.carved.iter_mut().enumerate() {
            *carved = cortex.at_column(column, ASKED_MM).is_some_and(|at| open(&at));
        }
    }

    /// Takes in a tile: where its ray meets the cortex, at rest, and how far below that it ends, mm.
    pub fn add(&mut self, cortex: &Cortex, rest: &Point3<f64>, below_mm: f64) {
        if below_mm > -ABOVE_MM && self.tiles.len() < self.tiles.capacity() {
            self.tiles.push(Tile { at: cortex.across(rest), open: below_mm > BELOW_MM });
        }
    }

    /// How far the opening lies from where it was believed, along the cortex' two directions, mm; none where too little of it
    /// is in view, or no offset explains what is seen.
    #[must_use]
    pub fn offset(&self, cortex: &Cortex) -> Option<[f64; 2]> {
        let open = self.tiles.iter().filter(|t| t.open).count();
        if open < TILES_MIN || self.tiles.len() - open < TILES_MIN {
            return None;
        }
        let mut best = [0.0; 2];
        let mut reach = SEARCH_MM;
        let mut most = 0;
        for step in STEPS_MM {
            let (around, n) = (best, (reach / step) as i32);
            most = 0;
            // The middle of all offsets that are equally good.
            let (mut sum, mut count) = ([0.0; 2], 0_u32);
            for (i, j) in (-n..=n).flat_map(|j| (-n..=n).map(move |i| (i, j))) {
                let offset = [around[0] + f64::from(i) * step, around[1] + f64::from(j) * step];
                let agree = self.agree(cortex, offset);
                if agree > most {
                    (most, sum, count) = (agree, [0.0; 2], 0);
                }
                if agree == most {
                    sum = [sum[0] + offset[0], sum[1] + offset[1]];
                    count += 1;
                }
            }
            best = sum.map(|s| s / f64::from(count.max(1)));
            reach = 2.0 * step;
        }
        let inside = best.iter().all(|o| o.abs() < SEARCH_MM - 0.5);
        (inside && most as f64 >= AGREE_MIN * self.tiles.len() as f64).then_some(best)
    }

    /// Tiles that are as the carved columns below them, when everything has moved by an offset.
    fn agree(&self, cortex: &Cortex, offset: [f64; 2]) -> usize {
        let below = |t: &Tile| cortex.column_at([t.at[0] - offset[0], t.at[1] - offset[1]]);
        self.tiles.iter().filter(|t| below(t).is_some_and(|column| self.carved[column]) == t.open).count()
    }
}
