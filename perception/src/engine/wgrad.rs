//! What gradients of outputs say about weights, for every kind of layer in f32.
//!
//! `dW[m][c][tap] = Σ g[m][q] x[c][stride q + tap]` over all outputs `q` of all volumes. One of the two tensors, *fine*,
//! is packed as a [`Lattice`]; the other, *coarse*, block by block beside it. For the transposed layer the roles are
//! swapped: its output gradient is the fine one and its input the coarse one.
//!
//! ```text
//!  task: some blocks of eight `m`, some `c`, some planes of the batch
//!  for each few planes:  pack both;  for each three taps: 24 sums in registers over these planes, added to memory
//!  at the end:           16 lanes become one; parts of the batch are added in their order
//! ```
//! **Order:** fixed by shapes alone. **Allocation:** none; scratch comes from the caller.
//! **Not protected against:** pointers and lengths.
#![expect(unsafe_code, reason = "packed planes and sums in scratch memory, written and read by pointer")]

use super::direct::Form;
use super::lattice::{Lattice, fill_words};
use super::memory::{Mutable, Shared, Source};
use super::simd::{LANES, Simd, Work};
use super::taps::OUTS;
use super::{Isa, Pool};
use std::ops::Range;

/// Taps that are summed together.
const TOGETHER: usize = 3;

/// Blocks of 16 outputs that are summed in registers: the coarse ones, 16 KB, stay in the first cache meanwhile.
const STEPS: usize = 32;

/// How the sum is cut into tasks.
#[derive(Debug, Clone)]
pub(super) struct Wgrad {
    form: Form,
    lattice: Lattice,
    /// Channels of the coarse and of the fine tensor.
    coarse: usize,
    fine: usize,
    batch: usize,
    /// Planes of outputs that are summed in one go.
    planes: usize,
    /// Blocks of coarse channels in a task; of fine ones as many as the lattice has.
    blocks: usize,
    /// Parts of the batch.
    parts: usize,
    /// Where the taps of one plane lie.
    offsets: Vec<u32>,
}

impl Wgrad {
    /// `read`: grid of the fine tensor.
    pub(super) fn new(form: Form, coarse: usize, fine: usize, batch: usize, read: [usize; 3]) -> Self {
        let all = coarse.div_ceil(OUTS);
        let blocks = all.min(4);
        let channels = fine.min(32 / blocks);
        let one = form.lattice(channels, read, 1, STEPS);
        let planes = (STEPS / one.lanes).clamp(1, 8).min(one.out[0]);
        let lattice = form.lattice(channels, read, planes, STEPS);
        let planes = (STEPS / lattice.lanes).clamp(1, planes);
        let cut = all.div_ceil(blocks) * fine.div_ceil(channels);
        let parts = 16_usize.div_ceil(cut).min((batch * lattice.out[0]).div_ceil(4));
        let mut offsets = Vec::new();
        for c in 0..channels {
            for (y, _) in form.axis(0) {
                offsets.extend(form.axis(0).iter().map(|(x, _)| lattice.offset(c, *y, *x)));
            }
        }
        Self { form, lattice, coarse, fine, batch, planes, blocks, parts, offsets }
    }

    fn edge(&self) -> usize {
        self.form.edge()
    }

    fn taps(&self) -> usize {
        self.edge().pow(3)
    }

    /// Weights.
    pub(super) fn len(&self) -> usize {
        self.coarse * self.fine * self.taps()
    }

    /// Floats of sums for one block: `[z][offset][8][16]`.
    fn sums(&self) -> usize {
        self.edge() * self.offsets.len() * OUTS * LANES
    }

    fn packed_coarse(&self) -> usize {
        self.planes * self.lattice.lanes * OUTS * LANES
    }

    /// Floats that one worker needs.
    pub(super) fn scratch(&self) -> usize {
        self.lattice.words() + self.packed_coarse() + self.blocks * self.sums()
    }

    /// Floats of what parts leave behind.
    pub(super) fn partial(&self) -> usize {
        if self.parts > 1 { self.parts * self.len() } else { 0 }
    }

    /// `dw = Σ`, `[coarse][fine][taps]`.
    ///
    /// # Safety
    /// `isa` is available; the tensors hold this batch, `dw` [`Self::len`] and `partial` [`Self::partial`] floats;
    /// nobody else touches those or the scratch, a piece of which is as large as [`Self::scratch`].
    pub(super) unsafe fn run(
        &self,
        (pool, isa, scratch): (&Pool, Isa, Shared),
        coarse: Source<f32>,
        fine: Source<f32>,
        partial: Mutable<f32>,
        dw: Mutable<f32>,
    ) {
        let outs = self.coarse.div_ceil(OUTS).div_ceil(self.blocks);
        let ins = self.fine.div_ceil(self.lattice.channels);
        let to = if self.parts > 1 { partial } else { dw };
        pool.run(outs * ins * self.parts, &|worker, task| {
            let (memory, room) = scratch.of(worker);
            assert!(room >= self.scratch(), "scratch as planned");
            let (out, rest) = (task % outs, task / outs);
            let (c, part) = (rest % ins * self.lattice.channels, rest / ins);
            let to = Mutable(to.get().wrapping_add(part * self.len()));
            let channels = c..(c + self.lattice.channels).min(self.fine);
            let work = Task { shape: self, block: out * self.blocks, channels, part, coarse, fine, to, memory };
            // SAFETY: the caller's; tasks write disjoint weights of their part.
            unsafe { isa.run(&work) };
        });
        if self.parts > 1 {
            let each = self.len().div_ceil(16);
            pool.run(16, &|_, task| {
                for at in (task * each..(task + 1) * each).take_while(|at| *at < self.len()) {
                    let mut sum = 0.0;
                    for part in 0..self.parts {
                        // SAFETY: every part has written every weight; tasks sum disjoint ones.
                        sum += unsafe { partial.get().wrapping_add(part * self.len() + at).read() };
                    }
                    // SAFETY: as above.
                    unsafe { dw.get().wrapping_add(at).write(sum) };
                }
            });
        }
    }
}

struct Task<'a> {
    shape: &'a Wgrad,
    block: usize,
    channels: Range<usize>,
    part: usize,
    coarse: Source<f32>,
    fine: Source<f32>,
    to: Mutable<f32>,
    memory: *mut f32,
}

impl Work for Task<'_> {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        let s = self.shape;
        let lattice = &s.lattice;
        let sums = self.memory.wrapping_add(lattice.words() + s.packed_coarse());
        // SAFETY: the scratch is ours and large enough.
        unsafe { fill_words(sums, s.blocks * s.sums(), 0.0) };
        let depth = lattice.out[0];
        let each = (s.batch * depth).div_ceil(s.parts);
        let mine = self.part * each..((self.part + 1) * each).min(s.batch * depth);
        for n in 0..s.batch {
            let (start, end) = (mine.start.max(n * depth), mine.end.min((n + 1) * depth));
            if start < end {
                for group in 0..lattice.groups() {
                    // SAFETY: as above.
                    unsafe { self.planes::<V>(n, group * lattice.rows, start - n * depth..end - n * depth, sums) };
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.reduce(sums) };
    }
}

impl Task<'_> {
    #[inline(always)]
    unsafe fn planes<V: Simd>(&self, n: usize, first: usize, planes: Range<usize>, sums: *mut f32) {
        let s = self.shape;
        let lattice = &s.lattice;
        let stride = lattice.stride as isize;
        let coarse = self.memory.wrapping_add(lattice.words());
        // Rows outside the volume are not those of the group before.
        // SAFETY: the scratch is ours and large enough.
        unsafe { lattice.clear(self.memory, |_| 0) };
        let mut packed = planes.start as isize * stride + lattice.low;
        let mut start = planes.start;
        while start < planes.end {
            let count = s.planes.min(planes.end - start);
            while packed <= (start + count - 1) as isize * stride + lattice.high {
                let slot = lattice.slot(self.memory, packed);
                // SAFETY: no plane is overwritten that these outputs read: the ring holds theirs.
                unsafe { lattice.pack::<V, _>((self.fine, self.channels.clone()), n, packed, first, |_| 0, slot) };
                packed += 1;
            }
            for b in 0..s.blocks.min(s.coarse.div_ceil(OUTS) - self.block) {
                // SAFETY: the packed block has room for these planes.
                unsafe { self.pack::<V>(n, (self.block + b) * OUTS, first, start..start + count, coarse) };
                for (z, (reads, _)) in s.form.axis(0).iter().enumerate() {
                    let mut at = [std::ptr::null(); 8];
                    for (at, d) in at.iter_mut().zip(start..start + count) {
                        *at = lattice.slot(self.memory, d as isize * stride + reads).cast_const();
                    }
                    let sums = sums.wrapping_add((b * s.edge() + z) * s.offsets.len() * OUTS * LANES);
                    for (t, offsets) in s.offsets.chunks(TOGETHER).enumerate() {
                        let sums = sums.wrapping_add(t * TOGETHER * OUTS * LANES);
                        // SAFETY: taps lie in packed planes, sums in their place.
                        unsafe { self.taps::<V>(&at[..count], coarse, offsets, sums) };
                    }
                }
            }
            start += count;
        }
    }

    /// Eight channels of the coarse tensor: `[plane][block][8][16]`, zeros where there is no output.
    #[inline(always)]
    unsafe fn pack<V: Simd>(&self, n: usize, m: usize, first: usize, planes: Range<usize>, to: *mut f32) {
        let s = self.shape;
        let [depth, height, width] = s.lattice.out;
        let rows = s.lattice.rows.min(height - first);
        for (p, d) in planes.enumerate() {
            for o in 0..OUTS {
                let to = to.wrapping_add((p * s.lattice.lanes * OUTS + o) * LANES);
                let from = (m + o < s.coarse)
                    .then(|| self.coarse.channel(n, m + o).wrapping_add((d * height + first) * width));
                debug_assert!(d < depth, "a plane of outputs");
                for block in 0..s.lattice.lanes {
                    let (at, left) = if s.lattice.flat {
                        (block * LANES, (rows * width).saturating_sub(block * LANES))
                    } else {
                        let across = width.div_ceil(LANES);
                        let (row, v) = (block / across, block % across * LANES);
                        (row * width + v, if row < rows { width - v } else { 0 })
                    };
                    // SAFETY: `left` floats of the tensor, and a block of scratch.
                    unsafe {
                        let value = match from {
                            Some(from) if left >= LANES => V::load(from.wrapping_add(at)),
                            Some(from) if left > 0 => V::load_n(from.wrapping_add(at), left),
                            _ => V::splat(0.0),
                        };
                        V::store(to.wrapping_add(block * OUTS * LANES), value);
                    }
                }
            }
        }
    }

    /// Adds to the sums of up to three taps.
    #[inline(always)]
    unsafe fn taps<V: Simd>(&self, planes: &[*const f32], coarse: *const f32, offsets: &[u32], sums: *mut f32) {
        // SAFETY: the caller's.
        unsafe {
            match (offsets, V::WIDE) {
                (&[a, b, c], true) => self.rows::<V, 0, 8, 3>(planes, coarse, [a, b, c], sums),
                (_, true) => {
                    for (t, offset) in offsets.iter().enumerate() {
                        self.rows::<V, 0, 8, 1>(planes, coarse, [*offset], sums.wrapping_add(t * OUTS * LANES));
                    }
                }
                (_, false) => {
                    for (t, offset) in offsets.iter().enumerate() {
                        let sums = sums.wrapping_add(t * OUTS * LANES);
                        self.rows::<V, 0, 4, 1>(planes, coarse, [*offset], sums);
                        self.rows::<V, 4, 4, 1>(planes, coarse, [*offset], sums);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn rows<V: Simd, const FROM: usize, const OB: usize, const TB: usize>(
        &self,
        planes: &[*const f32],
        coarse: *const f32,
        offsets: [u32; TB],
        sums: *mut f32,
    ) {
        let blocks = self.shape.lattice.blocks();
        // SAFETY: the caller's.
        unsafe {
            let mut all = [[V::splat(0.0); OB]; TB];
            let mut g = coarse.wrapping_add(FROM * LANES);
            for plane in planes {
                for row in 0..blocks.rows {
                    let mut x = plane.wrapping_add(row.wrapping_mul(blocks.between));
                    for _ in 0..blocks.each {
                        let mut values = [V::splat(0.0); TB];
                        for (value, offset) in values.iter_mut().zip(offsets) {
                            *value = V::load(x.wrapping_add(offset as usize));
                        }
                        for o in 0..OB {
                            let g = V::load(g.wrapping_add(o * LANES));
                            for (sums, value) in all.iter_mut().zip(values) {
                                sums[o] = V::fma(value, g, sums[o]);
                            }
                        }
                        g = g.wrapping_add(OUTS * LANES);
                        x = x.wrapping_add(blocks.step);
                    }
                }
            }
            for (t, row) in all.into_iter().enumerate() {
                for (o, sum) in row.into_iter().enumerate() {
                    let to = sums.wrapping_add((t * OUTS + FROM + o) * LANES);
                    V::store(to, V::add(V::load(to), sum));
                }
            }
        }
    }

    /// Sixteen lanes become one, and weights go out.
    #[inline(always)]
    unsafe fn reduce(&self, sums: *const f32) {
        let s = self.shape;
        let (edge, flat) = (s.edge(), s.edge() * s.edge());
        for m in self.block * OUTS..((self.block + s.blocks) * OUTS).min(s.coarse) {
            let b = m / OUTS - self.block;
            for (c, channel) in self.channels.clone().enumerate() {
                for z in 0..edge {
                    for k in 0..flat {
                        let tap = (b * edge + z) * s.offsets.len() + c * flat + k;
                        let at = (m * s.fine + channel) * s.taps() + z * flat + k;
                        // SAFETY: sums and weights of this task.
                        unsafe {
                            let lanes = sums.wrapping_add((tap * OUTS + m % OUTS) * LANES);
                            let lanes = std::slice::from_raw_parts(lanes, LANES);
                            let pairs: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
                            let fours: [f32; 4] = std::array::from_fn(|i| pairs[i] + pairs[i + 4]);
                            self.to.get().wrapping_add(at).write((fours[0] + fours[2]) + (fours[1] + fours[3]));
                        }
                    }
                }
            }
        }
    }
}
