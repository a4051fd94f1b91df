//! How planes of a volume are packed, so that every tap of every output is a plain load.
//!
//! Outputs lie on a lattice: output `q` reads inputs `stride * q + k` for taps `k` in `low..=high`, on each axis. A
//! packed plane holds the rows that a group of output rows needs. With `k = stride * m + parity`, rows and columns of
//! each parity lie together, so that a step along the lattice is a step of one in memory:
//!
//! ```text
//!  wide rows (16 or more):   [channel][row parity][column parity][row][16 of fill, columns, fill]   k moves by m
//!  flat (fewer than 16):     [channel][row parity][k][row][column]                                  k is a copy
//! ```
//! Flat rows follow each other without gaps, so that a block of 16 lanes holds several. What lies outside the volume
//! has the *fill*: 0, or the zero point of bytes. **Words** of 32 bits: floats, or four bytes. **Allocation:** none.
#![expect(unsafe_code, reason = "packed planes in scratch memory, written by pointer")]

use super::memory::Source;
use super::simd::{LANES, Simd};
use std::ops::Range;

/// One layer's packed planes.
#[derive(Debug, Clone)]
pub(super) struct Lattice {
    pub(super) channels: usize,
    /// Of what is packed.
    grid: [usize; 3],
    /// Outputs along each axis.
    pub(super) out: [usize; 3],
    pub(super) stride: usize,
    pub(super) low: isize,
    pub(super) high: isize,
    pub(super) flat: bool,
    /// Output rows in a group.
    pub(super) rows: usize,
    /// Planes that are kept.
    pub(super) ring: usize,
    /// Blocks of 16 lanes in a group of output rows.
    pub(super) lanes: usize,
    /// Packed rows of one parity.
    tall: usize,
    pitch: usize,
    channel: usize,
}

/// Where blocks lie: rows of them, `each` in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    pub(super) rows: usize,
    /// Words between rows of blocks.
    pub(super) between: usize,
    pub(super) each: usize,
    /// Words between blocks of a row.
    pub(super) step: usize,
}

impl Blocks {
    /// Of `rows` packed rows, `pitch` words apart, that make `lanes` blocks.
    pub(super) fn new(flat: bool, rows: usize, pitch: usize, lanes: usize) -> Self {
        match (flat, lanes / rows) {
            (true, _) => Self { rows: 1, between: 0, each: lanes, step: LANES },
            (false, 1) => Self { rows: 1, between: 0, each: lanes, step: pitch },
            (false, each) => Self { rows, between: pitch, each, step: LANES },
        }
    }
}

impl Lattice {
    /// `planes`: how many planes of outputs are computed from what is kept.
    pub(super) fn new(
        channels: usize,
        grid: [usize; 3],
        stride: usize,
        (low, high): (isize, isize),
        planes: usize,
    ) -> Self {
        let out = grid.map(|n| n.div_ceil(stride));
        let step = stride as isize;
        let span = (high.div_euclid(step) - low.div_euclid(step)) as usize;
        let ring = (planes - 1) * stride + (high - low + 1) as usize;
        let flat = out[2] < LANES;
        let across = out[2].div_ceil(LANES);
        let pitch = if flat { out[2] } else { (across + 1) * LANES };
        let copies = stride * if flat { (high - low + 1) as usize } else { stride };
        // About 128 KB of packed planes; flat rows fill at least two blocks.
        let most = (32 * 1024 / (channels * ring * copies * pitch)).saturating_sub(span).clamp(1, 16);
        let rows = out[1].min(if flat { most.max((2 * LANES).div_ceil(out[2])) } else { most });
        let lanes = if flat { (rows * out[2]).div_ceil(LANES) } else { rows * across };
        let tall = rows + span;
        // What lies right of a channel's last row is its own fill, not the next one's.
        let channel = copies * tall * pitch + if flat { 0 } else { LANES };
        Self { channels, grid, out, stride, low, high, flat, rows, ring, lanes, tall, pitch, channel }
    }

    /// Groups of output rows.
    pub(super) fn groups(&self) -> usize {
        self.out[1].div_ceil(self.rows)
    }

    /// Taps along one axis.
    pub(super) fn width(&self) -> usize {
        (self.high - self.low + 1) as usize
    }

    /// Words of all kept planes, and what a block may read beyond them.
    pub(super) fn words(&self) -> usize {
        (self.ring * self.channels * self.channel + 2 * LANES).next_multiple_of(LANES)
    }

    /// Words of one plane.
    pub(super) fn plane(&self) -> usize {
        self.channels * self.channel
    }

    /// Where plane `p` is kept, `p` counted from `low` of the first.
    pub(super) fn slot<T>(&self, memory: *mut T, p: isize) -> *mut T {
        memory.wrapping_add((p - self.low) as usize % self.ring * self.plane())
    }

    pub(super) fn blocks(&self) -> Blocks {
        Blocks::new(self.flat, self.rows, self.pitch, self.lanes)
    }

    /// Lanes between output rows in a tile.
    pub(super) fn row(&self) -> usize {
        if self.flat { self.out[2] } else { self.lanes / self.rows * LANES }
    }

    /// Where tap `(y, x)` of a channel lies for the first output of a group.
    pub(super) fn offset(&self, channel: usize, y: isize, x: isize) -> u32 {
        let s = self.stride as isize;
        let low = self.low.div_euclid(s);
        let parity = |k: isize| k.rem_euclid(s) as usize;
        let down = (y.div_euclid(s) - low) as usize;
        let at = if self.flat {
            (parity(y) * self.width() + (x - self.low) as usize) * self.tall * self.pitch + down * self.pitch
        } else {
            let right = LANES as isize + x.div_euclid(s);
            (parity(y) * self.stride + parity(x)) * self.tall * self.pitch + down * self.pitch + right as usize
        };
        (channel * self.channel + at) as u32
    }

    /// Fills all that is kept, `fill(channel)` each.
    ///
    /// # Safety
    /// [`Self::words`] words at `memory`.
    #[inline(always)]
    pub(super) unsafe fn clear<T>(&self, memory: *mut T, fill: impl Fn(usize) -> i32) {
        let memory = memory.cast::<i32>();
        let all = self.ring * self.channels;
        for c in 0..all {
            // SAFETY: the caller's.
            unsafe { fill_words(memory.wrapping_add(c * self.channel), self.channel, fill(c % self.channels)) };
        }
        let end = all * self.channel;
        // SAFETY: the caller's.
        unsafe { fill_words(memory.wrapping_add(end), self.words() - end, fill(self.channels - 1)) };
    }

    /// Packs what a group of output rows from `first` on needs of plane `p`, or fills it if there is no such plane.
    ///
    /// # Safety
    /// The instructions of `V` exist; a plane's words at `to`, around which the fill was written; `T` is a word, and `x`
    /// holds this grid.
    #[inline(always)]
    pub(super) unsafe fn pack<V: Simd, T>(
        &self,
        (x, channels): (Source<T>, Range<usize>),
        n: usize,
        p: isize,
        first: usize,
        fill: impl Fn(usize) -> i32,
        to: *mut T,
    ) {
        const { assert!(size_of::<T>() == 4, "words") };
        let ([depth, height, width], to) = (self.grid, to.cast::<i32>());
        if p < 0 || p >= depth as isize {
            for c in 0..self.channels {
                // SAFETY: the plane's words.
                unsafe { fill_words(to.wrapping_add(c * self.channel), self.channel, fill(c)) };
            }
            return;
        }
        let low = self.low.div_euclid(self.stride as isize);
        for (c, channel) in channels.enumerate() {
            let plane = x.channel(n, channel).cast::<i32>().wrapping_add(p as usize * height * width);
            let to = to.wrapping_add(c * self.channel);
            for parity in 0..self.stride {
                for i in 0..self.tall {
                    let row = (first as isize + i as isize + low) * self.stride as isize + parity as isize;
                    if row < 0 || row >= height as isize {
                        continue;
                    }
                    let row = plane.wrapping_add(row as usize * width);
                    let to = to.wrapping_add(i * self.pitch);
                    // SAFETY: the row exists; packed rows of `out[2]` words lie in their channel.
                    unsafe {
                        match (self.flat, self.stride) {
                            (true, _) => self.flat_row::<V>(row, parity, fill(c), to),
                            (false, 1) => self.plain_row::<V>(row, to),
                            (false, _) => self.halved_row::<V>(row, parity, to),
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn plain_row<V: Simd>(&self, row: *const i32, to: *mut i32) {
        let width = self.grid[2];
        for v in (0..width).step_by(LANES) {
            let left = (width - v).min(LANES);
            // SAFETY: the caller's.
            unsafe {
                let words = V::int_load_n(row.wrapping_add(v), left);
                V::int_store_n(to.wrapping_add(LANES + v), words, left);
            }
        }
    }

    /// Even columns to one place, odd ones to another.
    #[inline(always)]
    unsafe fn halved_row<V: Simd>(&self, row: *const i32, parity: usize, to: *mut i32) {
        let width = self.grid[2];
        let apart = self.tall * self.pitch;
        let even = to.wrapping_add(parity * 2 * apart + LANES);
        let odd = even.wrapping_add(apart);
        for v in (0..width).step_by(2 * LANES) {
            let left = width - v;
            // SAFETY: the caller's.
            unsafe {
                let low = V::int_load_n(row.wrapping_add(v), left);
                let high = V::int_load_n(row.wrapping_add(v + LANES), left.saturating_sub(LANES));
                let [a, b] = V::split(low, high);
                V::int_store_n(even.wrapping_add(v / 2), a, left.div_ceil(2));
                V::int_store_n(odd.wrapping_add(v / 2), b, left / 2);
            }
        }
    }

    /// A short row, once for each tap along x.
    #[inline(always)]
    unsafe fn flat_row<V: Simd>(&self, row: *const i32, parity: usize, fill: i32, to: *mut i32) {
        // Two blocks of a row with one of fill on each side, and one more that a load may touch.
        let mut line = [fill; 5 * LANES];
        let (width, middle) = (self.grid[2], line.as_mut_ptr().wrapping_add(LANES));
        // SAFETY: a flat row of outputs is shorter than a block, so what it reads is shorter than two; taps reach one
        // word to each side.
        unsafe {
            for v in (0..width).step_by(LANES) {
                let left = width - v;
                V::int_store_n(middle.wrapping_add(v), V::int_load_n(row.wrapping_add(v), left), left);
            }
            for k in 0..self.width() {
                let from = middle.wrapping_offset(self.low + k as isize).cast_const();
                let to = to.wrapping_add((parity * self.width() + k) * self.tall * self.pitch);
                let words = if self.stride == 1 {
                    V::int_load(from)
                } else {
                    V::split(V::int_load(from), V::int_load(from.wrapping_add(LANES)))[0]
                };
                V::int_store_n(to, words, self.out[2]);
            }
        }
    }
}

/// # Safety
/// `n` words at `to`.
#[inline(always)]
pub(super) unsafe fn fill_words<T: Copy>(to: *mut T, n: usize, fill: T) {
    // SAFETY: the caller's; `MaybeUninit` since scratch is only written here.
    unsafe { std::slice::from_raw_parts_mut(to.cast::<std::mem::MaybeUninit<T>>(), n) }
        .fill(std::mem::MaybeUninit::new(fill));
}
