//! Every other layer in f32: stride 2, 1×1×1, transposed, and what takes gradients back to their inputs.
//!
//! All are sums over taps of a [`Lattice`]. Where outputs are twice as fine as the lattice, *classes* of outputs, one
//! for each parity along z, y and x, have taps of their own, and rows of two classes are interleaved on their way out:
//!
//! | layer | lattice | classes, taps along an axis |
//! |---|---|---|
//! | 3×3×3, stride 1 | stride 1, −1..=1 | 1, three |
//! | 3×3×3, stride 2 | stride 2, −1..=1 | 1, three |
//! | 1×1×1 | stride 1, 0 | 1, one |
//! | transposed 2×2×2 | stride 1, 0 | 8, one each |
//! | back through stride 2 | stride 1, 0..=1 | 8, one if even, two if odd |
//! | back through transposed | stride 2, 0..=1 | 1, two |
//!
//! **Shapes, allocation, order:** as in [`super::wino`]. **Not protected against:** pointers and lengths.
#![expect(unsafe_code, reason = "packed planes in scratch memory, written and read by pointer")]

use super::lattice::Lattice;
use super::memory::{Mutable, Shared, Source};
use super::simd::{LANES, Simd, Work};
use super::taps::{OUTS, Tap, sums};
use super::wino::{Finish, finish_row};
use super::{Isa, Pool, point};

/// What is computed, and along which taps: pairs of where a tap reads and which weight it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Conv3,
    Down3,
    Point,
    Up2,
    DownBack,
    UpBack,
}

impl Form {
    fn stride(self) -> usize {
        if matches!(self, Self::Down3 | Self::UpBack) { 2 } else { 1 }
    }

    fn range(self) -> (isize, isize) {
        match self {
            Self::Conv3 | Self::Down3 => (-1, 1),
            Self::Point | Self::Up2 => (0, 0),
            Self::DownBack | Self::UpBack => (0, 1),
        }
    }

    /// `planes` of outputs are computed from what is kept; `most`: blocks of a group of rows.
    pub(super) fn lattice(self, channels: usize, read: [usize; 3], planes: usize, most: usize) -> Lattice {
        Lattice::new(channels, read, self.stride(), self.range(), planes, most)
    }

    /// How much finer outputs are than the lattice.
    fn spread(self) -> usize {
        if matches!(self, Self::Up2 | Self::DownBack) { 2 } else { 1 }
    }

    /// Weights along an axis.
    pub(super) fn edge(self) -> usize {
        match self {
            Self::Conv3 | Self::Down3 | Self::DownBack => 3,
            Self::Point => 1,
            Self::Up2 | Self::UpBack => 2,
        }
    }

    /// `(reads, weight)` along one axis, for outputs of one parity.
    pub(super) fn axis(self, parity: usize) -> &'static [(isize, usize)] {
        match (self, parity) {
            (Self::Conv3 | Self::Down3, _) => &[(-1, 0), (0, 1), (1, 2)],
            (Self::Point, _) | (Self::Up2, 0) => &[(0, 0)],
            (Self::Up2, _) => &[(0, 1)],
            (Self::DownBack, 0) => &[(0, 1)],
            (Self::DownBack, _) => &[(0, 2), (1, 0)],
            (Self::UpBack, _) => &[(0, 0), (1, 1)],
        }
    }
}

/// Outputs of one parity.
#[derive(Debug, Clone)]
pub(super) struct Class {
    form: Form,
    /// Along z, y, x.
    pub(super) parity: [usize; 3],
    /// Where taps of one plane lie: `[channel][y][x]`.
    pub(super) offsets: Vec<u32>,
    /// Taps of the classes before it.
    pub(super) start: usize,
}

impl Class {
    /// Planes that it reads, relative to the output's.
    pub(super) fn planes(&self) -> impl ExactSizeIterator<Item = isize> {
        self.form.axis(self.parity[0]).iter().map(|(reads, _)| *reads)
    }

    fn taps(&self) -> usize {
        self.planes().len() * self.offsets.len()
    }
}

/// How a layer is cut into tasks and laid out while packed.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    pub(super) form: Form,
    pub(super) lattice: Lattice,
    pub(super) outputs: usize,
    /// Of what is written.
    pub(super) grid: [usize; 3],
    pub(super) classes: Vec<Class>,
    /// Taps of one block of outputs, all classes.
    pub(super) taps: usize,
    /// Where whole channels lie, for [`Form::Point`].
    straight: Vec<u32>,
    /// Lattice planes in a task.
    pub(super) planes: usize,
    /// Blocks of outputs in a task.
    pub(super) blocks: usize,
}

/// What one task does.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) n: usize,
    /// First output row, on the lattice.
    pub(super) first: usize,
    pub(super) planes: std::ops::Range<usize>,
    pub(super) blocks: std::ops::Range<usize>,
}

impl Direct {
    /// `read` and `grid`: of what is read, and of what is written.
    pub(super) fn new(form: Form, inputs: usize, outputs: usize, read: [usize; 3], grid: [usize; 3]) -> Self {
        let lattice = form.lattice(inputs, read, 1, usize::MAX);
        let mut classes: Vec<Class> = Vec::new();
        let parities = if form.spread() == 2 { 8 } else { 1 };
        for parity in (0..parities).map(|p| [p / 4, p / 2 % 2, p % 2]) {
            let mut offsets = Vec::new();
            for c in 0..inputs {
                for (y, _) in form.axis(parity[1]) {
                    offsets.extend(form.axis(parity[2]).iter().map(|(x, _)| lattice.offset(c, *y, *x)));
                }
            }
            let start = classes.last().map_or(0, |c| c.start + c.taps());
            classes.push(Class { form, parity, offsets, start });
        }
        let taps = classes.last().map_or(0, |c| c.start + c.taps());
        let voxels = read.iter().product::<usize>();
        let straight =
            if form == Form::Point { (0..inputs).map(|c| (c * voxels) as u32).collect() } else { Vec::new() };
        let (depth, groups, all) = (lattice.out[0], lattice.groups(), outputs.div_ceil(OUTS));
        let planes = depth.div_ceil(16_usize.div_ceil(groups).clamp(1, depth.div_ceil(4)));
        let so_far = groups * depth.div_ceil(planes);
        let blocks = all.div_ceil(8_usize.div_ceil(so_far).clamp(1, all.div_ceil(2)));
        let mut direct = Self { form, lattice, outputs, grid, classes, taps, straight, planes, blocks };
        direct.channels_apart(read.iter().product());
        direct
    }

    /// What is read has its channels this many floats apart.
    pub(super) fn channels_apart(&mut self, stride: usize) {
        if self.form == Form::Point {
            self.straight = (0..self.lattice.channels).map(|c| (c * stride) as u32).collect();
        }
    }

    /// Taps of all weights.
    pub(super) fn all_taps(&self) -> usize {
        self.outputs.div_ceil(OUTS) * self.taps
    }

    /// Calls `put(tap, lane, out, in, weight)` for each weight's place: `[out / 8][class][z][in][y][x][8]`.
    pub(super) fn places(&self, mut put: impl FnMut(usize, usize, usize, usize, usize)) {
        let edge = self.form.edge();
        for o in 0..self.outputs {
            for class in &self.classes {
                let mut tap = o / OUTS * self.taps + class.start;
                let [z, y, x] = class.parity.map(|p| self.form.axis(p));
                for (_, z) in z {
                    for c in 0..self.lattice.channels {
                        for (_, y) in y {
                            for (_, x) in x {
                                put(tap, o % OUTS, o, c, (z * edge + y) * edge + x);
                                tap += 1;
                            }
                        }
                    }
                }
            }
        }
    }

    pub(super) fn weights(&self, weight: impl Fn(usize, usize, usize) -> f32, to: &mut [Tap<f32>]) {
        to.fill([0.0; OUTS]);
        self.places(|tap, lane, o, c, k| to[tap][lane] = weight(o, c, k));
    }

    /// Words of the tile: `[x parity][8][lanes]`.
    pub(super) fn tile(&self) -> usize {
        self.form.spread() * OUTS * self.lattice.lanes * LANES
    }

    /// Words that one worker needs.
    pub(super) fn scratch(&self) -> usize {
        self.lattice.words() + self.tile()
    }

    pub(super) fn tasks(&self, batch: usize) -> usize {
        self.outputs.div_ceil(OUTS).div_ceil(self.blocks)
            * self.lattice.groups()
            * self.lattice.out[0].div_ceil(self.planes)
            * batch
    }

    pub(super) fn part(&self, task: usize) -> Part {
        let all = self.outputs.div_ceil(OUTS);
        let (depth, groups) = (self.lattice.out[0], self.lattice.groups());
        let (outs, chunks) = (all.div_ceil(self.blocks), depth.div_ceil(self.planes));
        let (out, rest) = (task % outs, task / outs);
        let (group, rest) = (rest % groups, rest / groups);
        let (chunk, n) = (rest % chunks, rest / chunks);
        Part {
            n,
            first: group * self.lattice.rows,
            planes: chunk * self.planes..((chunk + 1) * self.planes).min(depth),
            blocks: out * self.blocks..((out + 1) * self.blocks).min(all),
        }
    }

    /// `y = finish(layer(x) + bias)`; `bias` is padded to a multiple of eight. Layers that spread ignore `finish`.
    ///
    /// # Safety
    /// As [`super::wino::Wino::run`].
    #[expect(clippy::too_many_arguments, reason = "what a layer is made of")]
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
        debug_assert!(weights.len() >= self.all_taps() && bias.len() >= self.outputs.next_multiple_of(OUTS));
        if self.form == Form::Point && x.whole() && finish.residual.is_none() {
            let voxels = self.grid.iter().product::<usize>();
            let chunks = voxels.div_ceil(point::CHUNK);
            pool.run(batch * chunks, &|_, task| {
                let (n, from) = (task / chunks, task % chunks * point::CHUNK);
                let (offsets, outputs) = (&self.straight[..], self.outputs);
                let work = point::Point { x, offsets, outputs, voxels, weights, bias, finish, y, n, from };
                // SAFETY: the caller's; tasks write disjoint voxels.
                unsafe { isa.run(&work) };
            });
            return;
        }
        pool.run(self.tasks(batch), &|worker, task| {
            let (memory, room) = scratch.of(worker);
            assert!(room >= self.scratch(), "scratch as planned");
            let work = Task { shape: self, part: self.part(task), x, weights, bias, finish, y, memory };
            // SAFETY: the caller's; tasks write disjoint rows of `y`, and this worker alone its scratch.
            unsafe { isa.run(&work) };
        });
    }
}

struct Task<'a> {
    shape: &'a Direct,
    part: Part,
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
        let (s, part) = (self.shape, &self.part);
        let lattice = &s.lattice;
        let tile = self.memory.wrapping_add(lattice.words());
        // SAFETY: the scratch is ours and large enough.
        unsafe { lattice.clear(self.memory, |_| 0) };
        let stride = lattice.stride as isize;
        let mut packed = part.planes.start as isize * stride + lattice.low;
        for d in part.planes.clone() {
            let at = d as isize * stride;
            while packed <= at + lattice.high {
                let slot = lattice.slot(self.memory, packed);
                // SAFETY: the slot is not read before the next plane of outputs.
                unsafe { lattice.pack::<V, _>((self.x, 0..lattice.channels), part.n, packed, part.first, |_| 0, slot) };
                packed += 1;
            }
            for block in part.blocks.clone() {
                for class in &s.classes {
                    let mut planes = [std::ptr::null(); 3];
                    for (plane, reads) in planes.iter_mut().zip(class.planes()) {
                        *plane = lattice.slot(self.memory, at + reads).cast_const();
                    }
                    let planes = &planes[..class.planes().len()];
                    let weights = &self.weights[block * s.taps + class.start..];
                    let right = class.parity[2];
                    // SAFETY: taps lie in packed planes; the tile has room for both parities along x.
                    unsafe {
                        let tile = tile.wrapping_add(right * OUTS * lattice.lanes * LANES);
                        self.block::<V>(class, planes, weights, block, tile);
                    }
                    if s.form.spread() == 1 {
                        // SAFETY: the tile is complete.
                        unsafe { self.rows::<V>(d, block, tile) };
                    } else if right == 1 {
                        // SAFETY: both parities along x are.
                        unsafe { self.woven(d, class.parity, block, tile) };
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    unsafe fn block<V: Simd>(
        &self,
        class: &Class,
        planes: &[*const f32],
        weights: &[Tap<f32>],
        block: usize,
        tile: *mut f32,
    ) {
        let blocks = self.shape.lattice.blocks();
        for row in 0..blocks.rows {
            let mut b = 0;
            while b < blocks.each {
                let wide = V::WIDE && b + 2 <= blocks.each;
                let mut at = [std::ptr::null(); 3];
                for (at, plane) in at.iter_mut().zip(planes) {
                    *at = plane.wrapping_add(row * blocks.between + b * blocks.step);
                }
                let to = tile.wrapping_add((row * blocks.each + b) * LANES);
                let on = (class, &at[..planes.len()], weights, block, to);
                // SAFETY: the caller's.
                unsafe {
                    if wide {
                        self.tile::<V, 0, 8, 2>(on, blocks.step);
                    } else if V::WIDE {
                        self.tile::<V, 0, 8, 1>(on, blocks.step);
                    } else {
                        self.tile::<V, 0, 4, 1>(on, blocks.step);
                        self.tile::<V, 4, 4, 1>(on, blocks.step);
                    }
                }
                b += if wide { 2 } else { 1 };
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Simd, const FROM: usize, const OB: usize, const NB: usize>(
        &self,
        (class, planes, weights, block, tile): (&Class, &[*const f32], &[Tap<f32>], usize, *mut f32),
        step: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let all = sums::<V, FROM, OB, NB>(planes, step, &class.offsets, weights);
            for (o, row) in (FROM..).zip(all) {
                let bias = V::splat(self.bias[block * OUTS + o]);
                for (b, sum) in row.into_iter().enumerate() {
                    let to = tile.wrapping_add((o * self.shape.lattice.lanes + b) * LANES);
                    V::store(to, V::add(sum, bias));
                }
            }
        }
    }

    /// Rows go out as they are.
    #[inline(always)]
    unsafe fn rows<V: Simd>(&self, d: usize, block: usize, tile: *const f32) {
        let s = self.shape;
        let [_, height, width] = s.grid;
        for o in 0..OUTS.min(s.outputs - block * OUTS) {
            let plane = (self.part.n * s.outputs + block * OUTS + o) * self.finish.stride + d * height * width;
            for r in 0..s.lattice.rows.min(height - self.part.first) {
                let from = tile.wrapping_add(o * s.lattice.lanes * LANES + r * s.lattice.row());
                // SAFETY: `width` lanes of the tile's row, and this row of the output is this task's alone.
                unsafe { finish_row::<V>(from, width, self.finish, plane + (self.part.first + r) * width, self.y) };
            }
        }
    }

    /// Rows of both parities along x go out interleaved.
    #[inline(always)]
    unsafe fn woven(&self, d: usize, parity: [usize; 3], block: usize, tile: *const f32) {
        let s = self.shape;
        let [depth, height, width] = s.grid;
        let z = 2 * d + parity[0];
        if z >= depth {
            return;
        }
        let apart = OUTS * s.lattice.lanes * LANES;
        for o in 0..OUTS.min(s.outputs - block * OUTS) {
            let plane = (self.part.n * s.outputs + block * OUTS + o) * self.finish.stride + z * height * width;
            for r in 0..s.lattice.rows {
                let y = 2 * (self.part.first + r) + parity[1];
                if y >= height {
                    break;
                }
                let from = tile.wrapping_add(o * s.lattice.lanes * LANES + r * s.lattice.row());
                // SAFETY: rows of the tile, and a row of the output that is this task's alone.
                unsafe {
                    let even = std::slice::from_raw_parts(from, width.div_ceil(2));
                    let odd = std::slice::from_raw_parts(from.wrapping_add(apart), width / 2);
                    let to = self.y.get().wrapping_add(plane + y * width);
                    weave(even, odd, std::slice::from_raw_parts_mut(to, width));
                }
            }
        }
    }
}

/// `even[0], odd[0], even[1], …`.
#[inline(always)]
pub(super) fn weave<T: Copy>(even: &[T], odd: &[T], to: &mut [T]) {
    for ((pair, even), odd) in to.chunks_exact_mut(2).zip(even).zip(odd) {
        (pair[0], pair[1]) = (*even, *odd);
    }
    if let ([.., last], true) = (to, even.len() > odd.len()) {
        *last = even[even.len() - 1];
    }
}
