//! 3×3×3 convolution with stride 1 in f32, with a third of the multiplications saved.
//!
//! Along y two rows of outputs come from four rows of inputs `d0..d3` and three weights `g0..g2` with four
//! multiplications instead of six: `m0 = (d0 - d2) g0`, `m1 = (d1 + d2) (g0 + g1 + g2) / 2`,
//! `m2 = (d2 - d1) (g0 - g1 + g2) / 2`, `m3 = (d1 - d3) g2`; then `y0 = m0 + m1 + m2` and `y1 = m1 - m2 - m3`. A 1×1×1
//! layer `g` beside it adds `(d1 + d2) g / 2` to `m1` and `(d1 - d2) g / 2` to `m2`.
//! Source: Winograd's F(2, 3), as in Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (2016),
//! section 4. Against a plain sum the rounding error grows by a small factor; the tests hold it below 1e-5 of the
//! largest output.
//!
//! ```text
//!  task: one volume, some planes, some pairs of rows, some blocks of eight output channels
//!  for each plane:  pack what is new of planes d-1, d, d+1: transformed rows, zeros around them
//!                   for each block of outputs: four sums over channels, planes and x, joined in a tile; then
//!                   bias, residual, ReLU, and rows go out
//! ```
//! **Shapes:** `[N, C, D, H, W]`, contiguous, of any size; `W` below 16 is packed without gaps between rows (*flat*),
//! three times, once for each tap along x. **Allocation:** in `new` and `weights`. **Order:** an output is summed in an order that
//! depends on shapes only. **Not protected against:** pointers and lengths; callers check them.
#![expect(unsafe_code, reason = "packed planes in scratch memory, written and read by pointer")]

use super::memory::{Mutable, Readable, Shared, Source};
use super::simd::{LANES, Simd, Work};
use super::taps::{OUTS, Tap, sums, sums_on};
use super::{Isa, Pool};

/// Where a block's input lies, and the taps of the 1×1×1 layer that joins the sums.
type Joined<'a> = (*const f32, &'a [Tap<f32>]);

/// Planes that are kept packed.
const RING: usize = 3;

/// How one convolution is cut into tasks and laid out while packed.
#[derive(Debug, Clone)]
pub(super) struct Wino {
    inputs: usize,
    outputs: usize,
    grid: [usize; 3],
    flat: bool,
    /// Pairs of rows in a task.
    pairs: usize,
    /// Planes in a task.
    planes: usize,
    /// Blocks of outputs in a task.
    blocks: usize,
    /// Floats between packed rows.
    pitch: usize,
    /// Floats between taps along x.
    across: usize,
    /// Floats between the four transformed rows.
    lift: usize,
    /// Floats of a packed channel.
    channel: usize,
    /// Blocks of 16 lanes that hold one row of every pair.
    lanes: usize,
    /// Where the taps of one plane lie: `[channel][x]`.
    offsets: Vec<u32>,
    /// Where the channels that are skipped to the output lie.
    skipped: Vec<u32>,
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// Added, shaped like the output.
    pub(super) residual: Option<Readable<f32>>,
    /// A 1×1×1 layer of other channels, added; half its weights, `[out / 8][channel][8]`. Only [`Wino`] knows it.
    pub(super) skip: Option<(Source<f32>, &'a [Tap<f32>])>,
    /// Negative values become 0.
    pub(super) relu: bool,
    /// Floats between channels of the output and of the residual.
    pub(super) stride: usize,
}

impl Wino {
    /// `skip`: channels that a 1×1×1 layer adds to the output.
    pub(super) fn new(inputs: usize, outputs: usize, grid: [usize; 3], skip: usize) -> Self {
        let [depth, height, width] = grid;
        let flat = width < LANES;
        let row_pairs = height.div_ceil(2);
        let across = width.div_ceil(LANES);
        // About 64 KB of packed planes, so that they stay in the nearest caches beside weights.
        let row = if flat { 3 * width } else { (across + 1) * LANES };
        let most = (16 * 1024 / (inputs * RING * 4 * row)).clamp(1, 8);
        let pairs = if flat { row_pairs.min(most.max(LANES.div_ceil(width) * 2)) } else { row_pairs.min(most) };
        let pairs = row_pairs.div_ceil(row_pairs.div_ceil(pairs));
        let lanes = if flat { (pairs * width).div_ceil(LANES) } else { pairs * across };
        let (pitch, step) = if flat { (width, lanes * LANES) } else { ((across + 1) * LANES, 1) };
        let lift = if flat { 3 * step } else { pairs * pitch };
        let channel = 4 * lift;
        let out_blocks = outputs.div_ceil(OUTS);
        let groups = row_pairs.div_ceil(pairs);
        // About 16 tasks: planes are split first, which costs two planes packed twice; then outputs.
        let planes = depth.div_ceil((16_usize.div_ceil(groups)).clamp(1, depth.div_ceil(4)));
        let so_far = groups * depth.div_ceil(planes);
        let blocks = out_blocks.div_ceil((8_usize.div_ceil(so_far)).clamp(1, out_blocks.div_ceil(4)));
        let offsets = (0..inputs * 3).map(|t| (t / 3 * channel + t % 3 * step) as u32).collect();
        let skipped = (0..skip).map(|c| (c * 2 * lanes * LANES) as u32).collect();
        let across = step;
        Self {
            inputs,
            outputs,
            grid,
            flat,
            pairs,
            planes,
            blocks,
            pitch,
            across,
            lift,
            channel,
            lanes,
            offsets,
            skipped,
        }
    }

    fn ring(&self) -> usize {
        RING * self.inputs * self.channel + LANES
    }

    /// Floats that one worker needs.
    pub(super) fn scratch(&self) -> usize {
        self.ring().next_multiple_of(LANES) + 2 * (OUTS + self.skipped.len()) * self.lanes * LANES
    }

    /// Taps of the transformed weights, eight floats each.
    pub(super) fn taps(&self) -> usize {
        self.outputs.div_ceil(OUTS) * 4 * 9 * self.inputs
    }

    /// Transforms `weight(out, in, tap)` into `[out / 8][4][z][in][x][8]`.
    pub(super) fn weights(&self, weight: impl Fn(usize, usize, usize) -> f32, to: &mut [Tap<f32>]) {
        to.fill([0.0; OUTS]);
        let (inputs, lift) = (self.inputs, 9 * self.inputs);
        // Eight outputs of one tap are neighbours: they are written together.
        for (block, to) in to.chunks_exact_mut(4 * lift).enumerate() {
            for c in 0..inputs {
                for (z, x) in (0..9).map(|k| (k / 3, k % 3)) {
                    for (lane, o) in (block * OUTS..self.outputs).take(OUTS).enumerate() {
                        let g = [0, 1, 2].map(|y| weight(o, c, (z * 3 + y) * 3 + x));
                        let at = (z * inputs + c) * 3 + x;
                        let half = 0.5 * (g[0] + g[2]);
                        to[at][lane] = g[0];
                        to[at + lift][lane] = half + 0.5 * g[1];
                        to[at + 2 * lift][lane] = half - 0.5 * g[1];
                        to[at + 3 * lift][lane] = g[2];
                    }
                }
            }
        }
    }

    fn tasks(&self, batch: usize) -> [usize; 4] {
        let [depth, height, _] = self.grid;
        let groups = height.div_ceil(2).div_ceil(self.pairs);
        [self.outputs.div_ceil(OUTS).div_ceil(self.blocks), groups, depth.div_ceil(self.planes), batch]
    }

    /// `y = finish(conv(x) + bias)`; `bias` is padded to a multiple of eight.
    ///
    /// # Safety
    /// `isa` is available; `x`, `y` and a residual hold `batch` volumes of this shape, `weights` as many as
    /// [`Self::taps`]; nobody else touches `y` or the scratch; a piece of it is as large as [`Self::scratch`].
    #[expect(clippy::too_many_arguments, reason = "what a convolution is made of")]
    pub(super) unsafe fn run(
        &self,
        (pool, isa, scratch): (&Pool, Isa, Shared),
        batch: usize,
        x: Source<f32>,
        weights: &[Tap<f32>],
        bias: &[f32],
        finish: Finish<'_>,
        y: Mutable<f32>,
    ) {
        debug_assert!(weights.len() >= self.taps() && bias.len() >= self.outputs.next_multiple_of(OUTS));
        let tasks = self.tasks(batch);
        pool.run(tasks.iter().product(), &|worker, task| {
            let (memory, room) = scratch.of(worker);
            assert!(room >= self.scratch(), "scratch as planned");
            let work = Task { shape: self, tasks, task, x, weights, bias, finish, y, memory };
            // SAFETY: the caller's; tasks write disjoint rows of `y`, and this worker alone its scratch.
            unsafe { isa.run(&work) };
        });
    }
}

struct Task<'a> {
    shape: &'a Wino,
    tasks: [usize; 4],
    task: usize,
    x: Source<f32>,
    weights: &'a [Tap<f32>],
    bias: &'a [f32],
    finish: Finish<'a>,
    y: Mutable<f32>,
    memory: *mut f32,
}

impl Work for Task<'_> {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        let s = self.shape;
        let [out_groups, groups, chunks, _] = self.tasks;
        let (out, rest) = (self.task % out_groups, self.task / out_groups);
        let (group, rest) = (rest % groups, rest / groups);
        let (chunk, n) = (rest % chunks, rest / chunks);
        let (first, depth) = (chunk * s.planes, s.grid[0]);
        let blocks = out * s.blocks..((out + 1) * s.blocks).min(s.outputs.div_ceil(OUTS));
        let plane = s.inputs * s.channel;
        let slot = |p: usize| self.memory.wrapping_add(p % RING * plane);
        let tile = self.memory.wrapping_add(s.ring().next_multiple_of(LANES));
        // SAFETY: the scratch is ours and large enough; what lies around packed rows stays 0 from here on.
        unsafe { self.memory.write_bytes(0, s.ring()) };
        let mut packed = first.saturating_sub(1);
        for d in first..(first + s.planes).min(depth) {
            while packed < (d + 2).min(depth) {
                // SAFETY: the plane exists, and its slot is not read before the next plane of outputs.
                unsafe { self.pack::<V>(n, packed, group * s.pairs, slot(packed)) };
                packed += 1;
            }
            let skipped = tile.wrapping_add(2 * OUTS * s.lanes * LANES);
            if let Some((source, _)) = self.finish.skip {
                // SAFETY: behind the tile there is room for these channels.
                unsafe { self.gather::<V>((n, d), group * s.pairs, source, skipped) };
            }
            let (low, high) = (usize::from(d == 0), if d + 1 < depth { 3 } else { 2 });
            let all = [d.saturating_sub(1), d, d + 1].map(|p| slot(p).cast_const());
            for block in blocks.clone() {
                let at = block * 4 * 9 * s.inputs + low * 3 * s.inputs;
                // SAFETY: taps lie in packed planes, weights in `weights`, sums in the tile.
                unsafe {
                    self.fetch::<V>((n, d), group * s.pairs, block, block == blocks.start);
                    let skip = self.finish.skip.map(|(_, weights)| {
                        (skipped.cast_const(), &weights[block * s.skipped.len()..][..s.skipped.len()])
                    });
                    self.block::<V>(&all[low..high], &self.weights[at..], skip, block, tile);
                    self.rows::<V>(n, d, group * s.pairs, block, tile);
                }
            }
        }
    }
}

impl Task<'_> {
    /// Transforms the rows of one plane that this task needs.
    #[inline(always)]
    unsafe fn pack<V: Simd>(&self, n: usize, p: usize, first: usize, to: *mut f32) {
        let s = self.shape;
        let [_, height, width] = s.grid;
        let pairs = s.pairs.min(height.div_ceil(2) - first);
        for c in 0..s.inputs {
            let plane = self.x.channel(n, c).wrapping_add(p * height * width);
            let to = to.wrapping_add(c * s.channel);
            if c + 1 < s.inputs {
                // The next channel is far away, where nothing else has it fetched in time.
                let next = self.x.channel(n, c + 1).wrapping_add(p * height * width);
                ahead::<V>(next, (2 * first).saturating_sub(1) * width..(2 * (first + pairs) + 1).min(height) * width);
            }
            let mut v = 0;
            while v < width {
                let left = (width - v).min(LANES);
                let column = plane.wrapping_add(v);
                // Two rows of each pair are the next one's first two. Row −1 is none: it wraps to the largest number.
                // SAFETY: arithmetic only.
                let mut d = [unsafe { V::splat(0.0) }; 4];
                for (k, d) in d.iter_mut().enumerate().take(2) {
                    let h = (2 * first + k).wrapping_sub(1);
                    if h < height {
                        // SAFETY: `left` lanes of an existing row.
                        *d = unsafe { V::load_n(column.wrapping_add(h * width), left) };
                    }
                }
                for pair in 0..pairs {
                    let h = 2 * (first + pair) + 1;
                    // SAFETY: `left` lanes of existing rows are read; packed rows lie in their slot.
                    unsafe {
                        for (k, d) in d.iter_mut().skip(2).enumerate() {
                            let row = column.wrapping_add((h + k) * width);
                            *d = if h + k < height { V::load_n(row, left) } else { V::splat(0.0) };
                        }
                        let t = [V::sub(d[0], d[2]), V::add(d[1], d[2]), V::sub(d[2], d[1]), V::sub(d[1], d[3])];
                        let to = to.wrapping_add(pair * s.pitch);
                        for (i, t) in t.into_iter().enumerate() {
                            let to = to.wrapping_add(i * s.lift);
                            if s.flat {
                                Self::thrice::<V>(t, width, to, s.across);
                            } else {
                                V::store(to.wrapping_add(LANES + v), t);
                            }
                        }
                        d = [d[2], d[3], d[2], d[3]];
                    }
                }
                v += LANES;
            }
        }
    }

    /// A row of fewer than 16, once for each tap along x.
    #[inline(always)]
    unsafe fn thrice<V: Simd>(row: V::F, width: usize, to: *mut f32, across: usize) {
        let mut line = [0.0_f32; 2 * LANES];
        // SAFETY: one lane to the left, `width` in the middle, and zeros to their right fit the line; `width` lanes
        // each fit the packed rows.
        unsafe {
            V::store(line.as_mut_ptr().wrapping_add(1), row);
            for x in 0..3 {
                V::store_n(to.wrapping_add(x * across), V::load(line.as_ptr().wrapping_add(x)), width);
            }
        }
    }

    /// Has what comes next on its way while sums are made: the rows that this block will write, and, for the first
    /// block of a plane, those of the next plane to be packed.
    #[inline(always)]
    unsafe fn fetch<V: Simd>(&self, (n, d): (usize, usize), first: usize, block: usize, next: bool) {
        let s = self.shape;
        let [depth, height, width] = s.grid;
        let (top, rows) = (2 * first, (2 * s.pairs).min(height - 2 * first));
        let each = |plane: *const f32, write: bool| {
            let plane = plane.wrapping_add(top * width);
            for at in (0..rows * width).step_by(LANES) {
                // SAFETY: a prefetch faults nowhere.
                unsafe {
                    if write {
                        V::prefetch::<true>(plane.wrapping_add(at))
                    } else {
                        V::prefetch::<false>(plane.wrapping_add(at))
                    }
                }
            }
        };
        for o in 0..OUTS.min(s.outputs - block * OUTS) {
            let plane = (n * s.outputs + block * OUTS + o) * self.finish.stride + d * height * width;
            each(self.y.get().cast_const().wrapping_add(plane), true);
        }
        if next && d + 2 < depth {
            for c in 0..s.inputs {
                each(self.x.channel(n, c).wrapping_add((d + 2) * height * width), false);
            }
        }
    }

    /// The tile of eight outputs for all pairs of the group: `[8][2][lanes]`.
    #[inline(always)]
    unsafe fn block<V: Simd>(
        &self,
        planes: &[*const f32],
        weights: &[Tap<f32>],
        skip: Option<(*const f32, &[Tap<f32>])>,
        block: usize,
        tile: *mut f32,
    ) {
        let s = self.shape;
        // Rows of blocks, how far apart they are, and how far apart blocks are.
        let (rows, between, each, step) = match (s.flat, s.lanes / s.pairs) {
            (true, _) => (1, 0, s.lanes, LANES),
            (false, 1) => (1, 0, s.lanes, s.pitch),
            (false, each) => (s.pairs, s.pitch, each, LANES),
        };
        let start = if s.flat { 0 } else { LANES - 1 };
        let bias: [f32; OUTS] = std::array::from_fn(|o| self.bias[block * OUTS + o]);
        for row in 0..rows {
            let mut b = 0;
            while b < each {
                let wide = V::WIDE && b + 2 <= each;
                let mut at = [std::ptr::null(); RING];
                for (at, plane) in at.iter_mut().zip(planes) {
                    *at = plane.wrapping_add(start + row * between + b * step);
                }
                let lane = (row * each + b) * LANES;
                let (at, tile) = (&at[..planes.len()], tile.wrapping_add(lane));
                let with = (&bias, skip.map(|(skipped, weights)| (skipped.wrapping_add(lane), weights)));
                // SAFETY: the caller's.
                unsafe {
                    if wide {
                        self.tile::<V, 0, 8, 2>(at, step, weights, with, tile);
                    } else if V::WIDE {
                        self.tile::<V, 0, 8, 1>(at, step, weights, with, tile);
                    } else {
                        self.tile::<V, 0, 4, 1>(at, step, weights, with, tile);
                        self.tile::<V, 4, 4, 1>(at, step, weights, with, tile);
                    }
                }
                b += if wide { 2 } else { 1 };
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Simd, const FROM: usize, const OB: usize, const NB: usize>(
        &self,
        planes: &[*const f32],
        step: usize,
        weights: &[Tap<f32>],
        (bias, skip): (&[f32; OUTS], Option<Joined<'_>>),
        tile: *mut f32,
    ) {
        let s = self.shape;
        let below = s.lanes * LANES;
        let lift = 9 * s.inputs;
        for i in 0..4 {
            let mut at = [std::ptr::null(); RING];
            for (at, plane) in at.iter_mut().zip(planes) {
                *at = plane.wrapping_add(i * s.lift);
            }
            // SAFETY: the caller's; the tile has two rows of `below` floats for each output.
            unsafe {
                let mut m = sums::<V, FROM, OB, NB>(&at[..planes.len()], step, &s.offsets, &weights[i * lift..]);
                if let (Some((skipped, weights)), 1 | 2) = (skip, i) {
                    let at = [skipped.wrapping_add((i - 1) * below)];
                    m = sums_on::<V, FROM, OB, NB>(m, &at, LANES, &s.skipped, weights);
                }
                for (o, m) in m.into_iter().enumerate() {
                    let o = FROM + o;
                    let bias = V::splat(bias[o]);
                    for (b, m) in m.into_iter().enumerate() {
                        let top = tile.wrapping_add(2 * o * below + b * LANES);
                        let bottom = top.wrapping_add(below);
                        match i {
                            0 => V::store(top, V::add(bias, m)),
                            1 => {
                                V::store(top, V::add(V::load(top), m));
                                V::store(bottom, V::add(bias, m));
                            }
                            2 => {
                                V::store(top, V::add(V::load(top), m));
                                V::store(bottom, V::sub(V::load(bottom), m));
                            }
                            _ => V::store(bottom, V::sub(V::load(bottom), m)),
                        }
                    }
                }
            }
        }
    }

    /// The channels that are skipped, for the middle two of the four sums: `d1 + d2` and `d1 - d2` of each pair of rows,
    /// laid out like a tile.
    #[inline(always)]
    unsafe fn gather<V: Simd>(&self, (n, d): (usize, usize), first: usize, source: Source<f32>, to: *mut f32) {
        let s = self.shape;
        let [_, height, width] = s.grid;
        let row = if s.flat { width } else { s.lanes / s.pairs * LANES };
        for c in 0..s.skipped.len() {
            let plane = source.channel(n, c).wrapping_add(d * height * width);
            if c + 1 < s.skipped.len() {
                let next = source.channel(n, c + 1).wrapping_add(d * height * width);
                ahead::<V>(next, 2 * first * width..(2 * (first + s.pairs)).min(height) * width);
            }
            for pair in 0..s.pairs.min(height.div_ceil(2) - first) {
                let h = 2 * (first + pair);
                let to = to.wrapping_add(2 * c * s.lanes * LANES + pair * row);
                for v in (0..width).step_by(LANES) {
                    let left = (width - v).min(LANES);
                    let at = plane.wrapping_add(h * width + v);
                    // SAFETY: rows of the source, and of the scratch.
                    unsafe {
                        let top = V::load_n(at, left);
                        let bottom =
                            if h + 1 < height { V::load_n(at.wrapping_add(width), left) } else { V::splat(0.0) };
                        V::store_n(to.wrapping_add(v), V::add(top, bottom), left);
                        V::store_n(to.wrapping_add(s.lanes * LANES + v), V::sub(top, bottom), left);
                    }
                }
            }
        }
    }

    /// Residual, ReLU, and out.
    #[inline(always)]
    unsafe fn rows<V: Simd>(&self, n: usize, d: usize, first: usize, block: usize, tile: *const f32) {
        let s = self.shape;
        let [_, height, width] = s.grid;
        let row = if s.flat { width } else { s.lanes / s.pairs * LANES };
        for o in 0..OUTS.min(s.outputs - block * OUTS) {
            let plane = (n * s.outputs + block * OUTS + o) * self.finish.stride + d * height * width;
            for pair in 0..s.pairs {
                for half in 0..2 {
                    let h = 2 * (first + pair) + half;
                    if h >= height {
                        break;
                    }
                    let from = tile.wrapping_add((2 * o + half) * s.lanes * LANES + pair * row);
                    // SAFETY: `width` lanes of the tile's row, and this row of the output is this task's alone.
                    unsafe { finish_row::<V>(from, width, self.finish, plane + h * width, self.y) };
                }
            }
        }
    }
}

/// Has floats fetched that will be read soon.
#[inline(always)]
fn ahead<V: Simd>(from: *const f32, range: std::ops::Range<usize>) {
    for at in range.step_by(LANES) {
        // SAFETY: a prefetch faults nowhere.
        unsafe { V::prefetch::<false>(from.wrapping_add(at)) };
    }
}

/// One row of sums, finished and stored at `at`.
///
/// # Safety
/// `width` floats at `from` and from `at` on in the output and residual.
#[inline(always)]
pub(super) unsafe fn finish_row<V: Simd>(
    from: *const f32,
    width: usize,
    finish: Finish<'_>,
    at: usize,
    y: Mutable<f32>,
) {
    let mut v = 0;
    while v < width {
        let left = (width - v).min(LANES);
        // SAFETY: the caller's.
        unsafe {
            let mut value = V::load_n(from.wrapping_add(v), left);
            if let Some(residual) = finish.residual {
                value = V::add(value, V::load_n(residual.0.wrapping_add(at + v), left));
            }
            if finish.relu {
                value = V::max(value, V::splat(0.0));
            }
            V::store_n(y.get().wrapping_add(at + v), value, left);
        }
        v += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Scratch;
    use super::super::naive::{Layer, Random, difference};
    use super::*;
    use crate::model::Kind;

    fn check(isa: Isa, inputs: usize, outputs: usize, batch: usize, grid: [usize; 3]) {
        let layer = Layer { kind: Kind::Conv3, inputs, outputs, batch, grid };
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (x, weight) = (random.values(layer.x_len()), random.values(layer.weights()));
        let (bias, residual) = (random.values(outputs), random.values(layer.y_len()));
        let wino = Wino::new(inputs, outputs, grid, inputs);
        let skip_weight = random.values(inputs * outputs);
        let mut skip = vec![[0.0; OUTS]; outputs.div_ceil(OUTS) * inputs];
        skip_weight
            .iter()
            .enumerate()
            .for_each(|(i, w)| skip[i / inputs / OUTS * inputs + i % inputs][i / inputs % OUTS] = 0.5 * w);
        let mut weights = vec![[0.0; OUTS]; wino.taps()];
        wino.weights(|o, c, k| weight[(o * inputs + c) * 27 + k], &mut weights);
        let pool = Pool::new(2).expect("threads");
        let mut scratch = Scratch::default();
        scratch.fit(2, wino.scratch());
        let mut padded = bias.clone();
        padded.resize(outputs.next_multiple_of(OUTS), 0.0);
        let voxels = grid.iter().product();
        let mut y = vec![f32::NAN; layer.y_len()];
        let half = inputs / 2 * voxels;
        let x = [&x[..batch * half], &x[batch * half..]];
        let source = Source::two(x.map(<[f32]>::as_ptr), [inputs / 2, inputs - inputs / 2], voxels);
        let residual_at = Some(Readable(residual.as_ptr()));
        let finish = Finish { residual: residual_at, skip: Some((source, &skip)), relu: true, stride: voxels };
        // SAFETY: every length is as the layer says.
        unsafe {
            let on = (&pool, isa, scratch.share());
            wino.run(on, batch, source, &weights, &padded, finish, Mutable(y.as_mut_ptr()));
        }
        // Joined channels lie apart for more than one volume: put them side by side for the reference.
        let rest = (inputs - inputs / 2) * voxels;
        let joined: Vec<f32> = (0..batch)
            .flat_map(|n| x[0][n * half..][..half].iter().chain(&x[1][n * rest..][..rest]).copied().collect::<Vec<_>>())
            .collect();
        let mut expected = layer.forward(&joined, &weight, &bias);
        let point = Layer { kind: Kind::Conv1, ..layer };
        let skipped = point.forward(&joined, &skip_weight, &vec![0.0; outputs]);
        expected.iter_mut().zip(&skipped).for_each(|(y, s)| *y += s);
        expected.iter_mut().zip(&residual).for_each(|(y, r)| *y = (*y + f64::from(*r)).max(0.0));
        let error = difference(&y, &expected);
        assert!(error < 1e-5, "{isa:?} {inputs} to {outputs}, {batch} × {grid:?}: {error}");
    }

    #[test]
    fn every_shape_equals_a_plain_sum() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            for (inputs, outputs, batch, grid) in [
                (5, 8, 1, [6, 6, 64]),
                (8, 8, 1, [5, 7, 33]),
                (16, 8, 2, [4, 8, 32]),
                (3, 13, 1, [3, 3, 3]),
                (1, 1, 3, [1, 1, 1]),
                (2, 4, 1, [2, 5, 17]),
                (16, 16, 1, [4, 16, 16]),
                (32, 40, 1, [8, 8, 8]),
                (9, 20, 2, [9, 5, 7]),
                (4, 4, 1, [3, 9, 48]),
                (130, 72, 1, [4, 4, 4]),
            ] {
                check(isa, inputs, outputs, batch, grid);
            }
        }
    }
}
