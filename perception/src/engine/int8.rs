//! Layers in bytes: sums of products of unsigned with signed bytes, exact, and back to bytes in one go.
//!
//! **Shapes:** activations `[C / 4, D, H, W]` words, four channels each (NCDHW4c), one volume. Weights, taps and tasks as in
//! [`Direct`], with words for channels. `scale * sum + bias` is the result, or counts steps of its bytes; a residual is
//! added in registers, a 1×1×1 layer from a tile of floats; then four channels become one word. **Rounding:** to nearest even, once a result; the
//! portable path multiplies and adds in two roundings, so that bytes may differ by one between instructions.
//! **Allocation:** none. **Not protected against:** pointers and lengths; sums beyond 32 bits (the plan bounds channels).
#![expect(unsafe_code, reason = "packed planes in scratch memory, written and read by pointer")]

use super::direct::{Class, Direct, Part, weave};
use super::memory::{Mutable, Readable, Shared, Source};
use super::quant::{Bytes, Weights};
use super::simd::{LANES, Simd, Work};
use super::taps::{OUTS, Tap, dots};
use super::wino::{Finish, finish_row};
use super::{Isa, Pool};

/// Where a layer's results go.
#[derive(Clone, Copy)]
pub(super) enum To {
    /// Weights were made for these bytes.
    Bytes(Mutable<i32>),
    Floats(Mutable<f32>),
}

/// One layer's call.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) x: Source<i32>,
    /// What lies around each word of channels.
    pub(super) fills: &'a [i32],
    pub(super) weights: &'a Weights,
    /// Added, shaped like the output: bytes with a zero of 0, and how many steps of the output one of theirs is.
    pub(super) residual: Option<(Readable<i32>, f32)>,
    /// A 1×1×1 layer of other words of channels, added.
    pub(super) skip: Option<Skip<'a>>,
    pub(super) to: To,
    /// Words between words of channels of the output and of the residual; floats between channels.
    pub(super) stride: usize,
}

/// Offsets, weights, scales and biases of one block of outputs.
type On<'a> = (&'a [u32], &'a [Tap<i32>], &'a [f32], &'a [f32]);

/// Words of channels that skip the block's convolutions.
#[derive(Clone, Copy)]
pub(super) struct Skip<'a> {
    pub(super) x: Source<i32>,
    pub(super) words: usize,
    pub(super) weights: &'a Weights,
    /// Where each word's rows lie: see [`skipped`].
    pub(super) offsets: &'a [u32],
}

/// Offsets of skipped words behind the tile.
pub(super) fn skipped(direct: &Direct, words: usize) -> Vec<u32> {
    (0..words).map(|c| (c * direct.lattice.lanes * LANES) as u32).collect()
}

/// Words that one worker needs.
pub(super) fn scratch(direct: &Direct, skip: usize) -> usize {
    direct.scratch() + skip * direct.lattice.lanes * LANES
}

/// # Safety
/// `isa` is available; all tensors have the shapes of the layer; nobody else touches the output or the scratch, a piece
/// of which is as large as [`scratch`] says.
pub(super) unsafe fn run(direct: &Direct, (pool, isa, memory): (&Pool, Isa, Shared), call: Call<'_>) {
    debug_assert!(call.weights.taps.len() >= direct.all_taps(), "weights as planned");
    let needed = scratch(direct, call.skip.map_or(0, |s| s.words));
    pool.run(direct.tasks(1), &|worker, task| {
        let (memory, room) = memory.of(worker);
        assert!(room >= needed, "scratch as planned");
        let work = Task { shape: direct, part: direct.part(task), call, memory: memory.cast() };
        // SAFETY: the caller's; tasks write disjoint rows, and this worker alone its scratch.
        unsafe { isa.run(&work) };
    });
}

struct Task<'a> {
    shape: &'a Direct,
    part: Part,
    call: Call<'a>,
    memory: *mut i32,
}

impl Work for Task<'_> {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        let (s, part, call) = (self.shape, &self.part, &self.call);
        let lattice = &s.lattice;
        let tile = self.memory.wrapping_add(lattice.words()).cast::<f32>();
        let behind = self.memory.wrapping_add(s.scratch());
        let fill = |c: usize| call.fills[c];
        // SAFETY: the scratch is ours and large enough.
        unsafe { lattice.clear(self.memory, fill) };
        let stride = lattice.stride as isize;
        let mut packed = part.planes.start as isize * stride + lattice.low;
        for d in part.planes.clone() {
            let at = d as isize * stride;
            while packed <= at + lattice.high {
                let slot = lattice.slot(self.memory, packed);
                // SAFETY: the slot is not read before the next plane of outputs.
                unsafe { lattice.pack::<V, _>((call.x, 0..lattice.channels), part.n, packed, part.first, fill, slot) };
                packed += 1;
            }
            if let Some(skip) = call.skip {
                // SAFETY: behind the tile there is room for these words.
                unsafe { self.gather::<V>(d, skip, behind) };
            }
            for block in part.blocks.clone() {
                for (c, class) in s.classes.iter().enumerate() {
                    let mut planes = [std::ptr::null(); 3];
                    for (plane, reads) in planes.iter_mut().zip(class.planes()) {
                        *plane = lattice.slot(self.memory, at + reads).cast_const();
                    }
                    let planes = &planes[..class.planes().len()];
                    let right = class.parity[2];
                    let on = (c, class, block, d);
                    // SAFETY: taps lie in packed planes; the tile has room for both parities along x.
                    unsafe {
                        if let (Some(skip), true) = (call.skip, s.classes.len() == 1) {
                            self.skip::<V>(skip, behind, block, tile);
                        }
                        let half = tile.wrapping_add(right * OUTS * lattice.lanes * LANES);
                        match call.to {
                            To::Bytes(to) if s.classes.len() == 1 => self.block::<V, true>(on, planes, tile, to),
                            To::Bytes(to) => {
                                self.block::<V, false>(on, planes, half, to);
                                if right == 1 {
                                    self.woven::<V>(d, class, block, tile, to);
                                }
                            }
                            To::Floats(to) => {
                                self.block::<V, false>(on, planes, half, Mutable(to.get().cast()));
                                self.floats::<V>(d, block, tile, to);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// All blocks of lanes of eight outputs: to bytes at once if `OUT`, else to the tile.
    #[inline(always)]
    unsafe fn block<V: Simd, const OUT: bool>(
        &self,
        (c, class, block, d): (usize, &Class, usize, usize),
        planes: &[*const i32],
        tile: *mut f32,
        to: Mutable<i32>,
    ) {
        let (s, lattice) = (self.shape, &self.shape.lattice);
        let blocks = lattice.blocks();
        let [_, height, width] = s.grid;
        let all = s.outputs.next_multiple_of(OUTS);
        let weights = &self.call.weights.taps[block * s.taps + class.start..];
        let scales = &self.call.weights.scales[block * OUTS..][..OUTS];
        let bias = &self.call.weights.bias[c * all + block * OUTS..][..OUTS];
        for row in 0..blocks.rows {
            let mut b = 0;
            while b < blocks.each {
                let wide = V::WIDE && b + 2 <= blocks.each;
                let mut at = [std::ptr::null(); 3];
                for (at, plane) in at.iter_mut().zip(planes) {
                    *at = plane.wrapping_add(row * blocks.between + b * blocks.step);
                }
                let (at, on) = (&at[..planes.len()], (&class.offsets[..], weights, scales, bias));
                let tile = tile.wrapping_add((row * blocks.each + b) * LANES);
                // SAFETY: the caller's.
                unsafe {
                    if OUT {
                        let mut places = [(0, 0); 2];
                        for (i, place) in places.iter_mut().enumerate().take(if wide { 2 } else { 1 }) {
                            let (at, left) = lattice.place(blocks, self.part.first, row, b + i);
                            *place = (block * 2 * self.call.stride + d * height * width + at, left);
                        }
                        let words = (s.outputs - block * OUTS).div_ceil(4);
                        if wide {
                            self.out::<V, 0, 8, 2>(at, blocks.step, on, (tile, to, places, words));
                        } else if V::WIDE {
                            self.out::<V, 0, 8, 1>(at, blocks.step, on, (tile, to, places, words));
                        } else {
                            self.out::<V, 0, 4, 1>(at, blocks.step, on, (tile, to, places, words));
                            self.out::<V, 4, 4, 1>(at, blocks.step, on, (tile, to, places, words));
                        }
                    } else if wide {
                        self.tile::<V, 0, 8, 2>(at, blocks.step, on, tile);
                    } else if V::WIDE {
                        self.tile::<V, 0, 8, 1>(at, blocks.step, on, tile);
                    } else {
                        self.tile::<V, 0, 4, 1>(at, blocks.step, on, tile);
                        self.tile::<V, 4, 4, 1>(at, blocks.step, on, tile);
                    }
                }
                b += if wide { 2 } else { 1 };
            }
        }
    }

    /// `scale * sum + bias`, stored in the tile.
    #[inline(always)]
    unsafe fn tile<V: Simd, const FROM: usize, const OB: usize, const NB: usize>(
        &self,
        planes: &[*const i32],
        step: usize,
        (offsets, weights, scales, bias): On<'_>,
        tile: *mut f32,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let sums = dots::<V, FROM, OB, NB>(planes, step, offsets, weights);
            for (o, row) in (FROM..).zip(sums) {
                let (scale, bias) = (V::splat(scales[o]), V::splat(bias[o]));
                for (b, sum) in row.into_iter().enumerate() {
                    let to = tile.wrapping_add((o * self.shape.lattice.lanes + b) * LANES);
                    V::store(to, V::fma(V::to_float(sum), scale, bias));
                }
            }
        }
    }

    /// `scale * sum + bias`, what is added, and out as words of four channels; of the first `words` of this block.
    #[inline(always)]
    unsafe fn out<V: Simd, const FROM: usize, const OB: usize, const NB: usize>(
        &self,
        planes: &[*const i32],
        step: usize,
        (offsets, weights, scales, bias): On<'_>,
        (tile, to, places, words): (*const f32, Mutable<i32>, [(usize, usize); 2], usize),
    ) {
        // SAFETY: the caller's; places are in the output, and this task's alone.
        unsafe {
            let sums = dots::<V, FROM, OB, NB>(planes, step, offsets, weights);
            for (q, fours) in (FROM / 4..words).zip(sums.chunks_exact(4)) {
                for (b, (at, left)) in places.into_iter().enumerate().take(NB) {
                    let at = at + q * self.call.stride;
                    let mut values = [V::splat(0.0); 4];
                    for (k, value) in values.iter_mut().enumerate() {
                        let o = q * 4 + k;
                        *value = V::fma(V::to_float(fours[k][b]), V::splat(scales[o]), V::splat(bias[o]));
                        if self.call.skip.is_some() {
                            let tile = tile.wrapping_add((o * self.shape.lattice.lanes + b) * LANES);
                            *value = V::add(*value, V::load(tile));
                        }
                    }
                    if let Some((words, steps)) = self.call.residual {
                        let words = V::int_load_n(words.0.wrapping_add(at), left);
                        let steps = V::splat(steps);
                        values[0] = V::fma(V::byte::<0>(words), steps, values[0]);
                        values[1] = V::fma(V::byte::<1>(words), steps, values[1]);
                        values[2] = V::fma(V::byte::<2>(words), steps, values[2]);
                        values[3] = V::fma(V::byte::<3>(words), steps, values[3]);
                    }
                    V::int_store_n(to.get().wrapping_add(at), V::bytes(values), left);
                }
            }
        }
    }

    /// Rows of the words to be skipped, laid out like a tile.
    #[inline(always)]
    unsafe fn gather<V: Simd>(&self, d: usize, skip: Skip<'_>, to: *mut i32) {
        let s = self.shape;
        let [_, height, width] = s.grid;
        for c in 0..skip.words {
            let plane = skip.x.channel(self.part.n, c).wrapping_add(d * height * width);
            for r in 0..s.lattice.rows.min(height - self.part.first) {
                let from = plane.wrapping_add((self.part.first + r) * width);
                let to = to.wrapping_add(c * s.lattice.lanes * LANES + r * s.lattice.row());
                for v in (0..width).step_by(LANES) {
                    let left = (width - v).min(LANES);
                    // SAFETY: a row of the source, and one of the scratch.
                    unsafe { V::int_store_n(to.wrapping_add(v), V::int_load_n(from.wrapping_add(v), left), left) };
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn skip<V: Simd>(&self, skip: Skip<'_>, from: *const i32, block: usize, tile: *mut f32) {
        let weights = &skip.weights.taps[block * skip.words..];
        let scales = &skip.weights.scales[block * OUTS..][..OUTS];
        let bias = &skip.weights.bias[block * OUTS..][..OUTS];
        let on = (skip.offsets, weights, scales, bias);
        let lanes = self.shape.lattice.lanes;
        let mut b = 0;
        while b < lanes {
            let wide = V::WIDE && b + 2 <= lanes;
            let (from, to) = ([from.wrapping_add(b * LANES)], tile.wrapping_add(b * LANES));
            // SAFETY: the caller's.
            unsafe {
                if wide {
                    self.tile::<V, 0, 8, 2>(&from, LANES, on, to);
                } else if V::WIDE {
                    self.tile::<V, 0, 8, 1>(&from, LANES, on, to);
                } else {
                    self.tile::<V, 0, 4, 1>(&from, LANES, on, to);
                    self.tile::<V, 4, 4, 1>(&from, LANES, on, to);
                }
            }
            b += if wide { 2 } else { 1 };
        }
    }

    #[inline(always)]
    unsafe fn floats<V: Simd>(&self, d: usize, block: usize, tile: *const f32, to: Mutable<f32>) {
        let s = self.shape;
        let [_, height, width] = s.grid;
        let finish = Finish { residual: None, skip: None, relu: false, stride: self.call.stride };
        for o in 0..OUTS.min(s.outputs - block * OUTS) {
            let plane = (block * OUTS + o) * self.call.stride + d * height * width;
            for r in 0..s.lattice.rows.min(height - self.part.first) {
                let from = tile.wrapping_add(o * s.lattice.lanes * LANES + r * s.lattice.row());
                // SAFETY: `width` lanes of the tile's row, and this row of the output is this task's alone.
                unsafe { finish_row::<V>(from, width, finish, plane + (self.part.first + r) * width, to) };
            }
        }
    }

    /// Rows of both parities along x go out interleaved.
    #[inline(always)]
    unsafe fn woven<V: Simd>(&self, d: usize, class: &Class, block: usize, tile: *const f32, to: Mutable<i32>) {
        let s = self.shape;
        let [_, height, width] = s.grid;
        let z = 2 * d + class.parity[0];
        let apart = OUTS * s.lattice.lanes * LANES;
        for q in (0..2).take_while(|q| block * OUTS + q * 4 < s.outputs) {
            let plane = (block * 2 + q) * self.call.stride + z * height * width;
            for r in 0..s.lattice.rows.min(height / 2 - self.part.first) {
                let from = tile.wrapping_add(q * 4 * s.lattice.lanes * LANES + r * s.lattice.row());
                let row = plane + (2 * (self.part.first + r) + class.parity[1]) * width;
                for v in (0..width).step_by(2 * LANES) {
                    let mut both = [[0_i32; LANES]; 2];
                    let count = (width - v).min(2 * LANES);
                    // SAFETY: a block of each parity's tile, and this row is this task's alone.
                    unsafe {
                        for (parity, line) in both.iter_mut().enumerate() {
                            let from = from.wrapping_add(parity * apart + v / 2);
                            let mut values = [V::splat(0.0); 4];
                            for (k, value) in values.iter_mut().enumerate() {
                                *value = V::load_n(from.wrapping_add(k * s.lattice.lanes * LANES), count / 2);
                            }
                            V::int_store_n(line.as_mut_ptr(), V::bytes(values), LANES);
                        }
                        let to = std::slice::from_raw_parts_mut(to.get().wrapping_add(row + v), count);
                        weave(&both[0], &both[1], to);
                    }
                }
            }
        }
    }
}

/// Channels of floats that become words: `bytes(a + b)` where there is a `b`, of bytes itself.
#[derive(Clone, Copy)]
pub(super) struct Pack {
    pub(super) channels: usize,
    pub(super) voxels: usize,
    pub(super) floats: Readable<f32>,
    /// Words of the same shape, with a zero of 0, and their scale.
    pub(super) plus: Option<(Readable<i32>, f32)>,
    pub(super) to: Mutable<i32>,
    pub(super) bytes: Bytes,
}

impl Pack {
    /// # Safety
    /// `isa` is available; `channels * voxels` floats, and a word for each four channels and voxel.
    pub(super) unsafe fn run(self, pool: &Pool, isa: Isa) {
        const CHUNK: usize = 1 << 12;
        let chunks = self.voxels.div_ceil(CHUNK);
        pool.run(self.channels.div_ceil(4) * chunks, &|_, task| {
            let (word, from) = (task / chunks, task % chunks * CHUNK);
            let work = PackTask { pack: self, word, from, to: (from + CHUNK).min(self.voxels) };
            // SAFETY: the caller's; chunks are disjoint.
            unsafe { isa.run(&work) };
        });
    }
}

struct PackTask {
    pack: Pack,
    word: usize,
    from: usize,
    to: usize,
}

impl Work for PackTask {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        let Pack { channels, voxels, floats, plus, to, bytes } = self.pack;
        for at in (self.from..self.to).step_by(LANES) {
            let n = (self.to - at).min(LANES);
            let word = self.word * voxels + at;
            // SAFETY: the caller's.
            unsafe {
                let (inverse, zero) = (V::splat(1.0 / bytes.scale), V::splat(bytes.zero));
                let mut values = [V::splat(0.0); 4];
                for (k, value) in values.iter_mut().enumerate().take(channels - (self.word * 4).min(channels)) {
                    *value = V::load_n(floats.0.wrapping_add((self.word * 4 + k) * voxels + at), n);
                }
                if let Some((words, scale)) = plus {
                    let (words, scale) = (V::int_load_n(words.0.wrapping_add(word), n), V::splat(scale));
                    values[0] = V::fma(V::byte::<0>(words), scale, values[0]);
                    values[1] = V::fma(V::byte::<1>(words), scale, values[1]);
                    values[2] = V::fma(V::byte::<2>(words), scale, values[2]);
                    values[3] = V::fma(V::byte::<3>(words), scale, values[3]);
                }
                for value in &mut values {
                    *value = V::fma(*value, inverse, zero);
                }
                V::int_store_n(to.get().wrapping_add(word), V::bytes(values), n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::direct::Form;
    use super::super::memory::{Lines, Scratch};
    use super::super::naive::{Layer, Random};
    use super::super::program::{Program, Tensor};
    use super::super::quant::Joined;
    use super::*;
    use crate::model::Kind;

    /// Bytes of `channels` channels, and what they stand for.
    fn tensor(random: &mut Random, channels: usize, voxels: usize, bytes: Bytes) -> (Vec<i32>, Vec<f32>) {
        let mut words = vec![0; channels.div_ceil(4) * voxels];
        let mut values = vec![0.0; channels * voxels];
        for c in 0..channels {
            for v in 0..voxels {
                let byte = ((random.next() + 1.0) * 127.9) as u8;
                words[c / 4 * voxels + v] |= i32::from(byte) << (c % 4 * 8);
                values[c * voxels + v] = bytes.scale * (f32::from(byte) - bytes.zero);
            }
        }
        (words, values)
    }

    /// Weights that are bytes already, with 127 among those of each output.
    fn weights(random: &mut Random, kind: Kind, inputs: usize, outputs: usize) -> Vec<f32> {
        let n = kind.taps() * inputs;
        let mut all: Vec<f32> = (0..n * outputs).map(|_| (random.next() * 127.0).round() * 0.01).collect();
        for o in 0..outputs {
            all[if kind == Kind::Up2 { o * 8 } else { o * n }] = 1.27;
        }
        all
    }

    fn check(isa: Isa, kind: Kind, [first, second]: [usize; 2], outputs: usize, grid: [usize; 3]) {
        let mut random = Random(77);
        let layer = Layer { kind, inputs: first + second, outputs, batch: 1, grid };
        let (voxels, out) = (grid.iter().product::<usize>(), layer.out_grid());
        let sources = [Bytes { scale: 0.02, zero: 0.0 }, Bytes { scale: 0.02, zero: 131.0 }];
        let parts = [(first, sources[0]), (second, sources[1])];
        let [(a, a_values), (b, b_values)] = parts.map(|(c, bytes)| tensor(&mut random, c, voxels, bytes));
        let plain = |channels| Tensor { name: String::new(), channels, edge: 1, positive: false, life: [0; 2] };
        let program = Program { tensors: vec![plain(first), plain(second)], steps: Vec::new() };
        let joined = Joined::new(&program, &sources, if second > 0 { &[0, 1] } else { &[0] });
        let words = joined.words();
        let form = match kind {
            Kind::Conv3 => Form::Conv3,
            Kind::Down3 => Form::Down3,
            Kind::Conv1 => Form::Point,
            Kind::Up2 => Form::Up2,
        };
        let direct = Direct::new(form, words[0] + words[1], outputs, grid, out);
        let weight = weights(&mut random, kind, first + second, outputs);
        let bias = random.values(outputs);
        let taps = kind.taps();
        let by_output = |o: usize, c: usize, k: usize| {
            weight[if kind == Kind::Up2 { (c * outputs + o) * taps + k } else { (o * (first + second) + c) * taps + k }]
        };
        let packed = Weights::new(&direct, &joined, by_output, &bias, None);
        let x = Source::two([a.as_ptr(), b.as_ptr()], words, voxels);
        let mut expected = layer.forward(&[&a_values[..], &b_values].concat(), &weight, &bias);
        let (pool, mut scratch) = (Pool::new(2).expect("threads"), Scratch::default());
        scratch.fit(2, scratch_with_skip(&direct, words));
        let fills = joined.fills();
        let mut call = Call {
            x,
            fills: &fills,
            weights: &packed,
            residual: None,
            skip: None,
            to: To::Floats(Mutable(std::ptr::null_mut())),
            stride: out.iter().product(),
        };
        // As floats: exact but for rounding of scale and bias.
        if kind != Kind::Up2 {
            let mut y = Lines::new(layer.y_len());
            call.to = To::Floats(Mutable(y.floats_mut().as_mut_ptr()));
            // SAFETY: every length is as the layer says.
            unsafe { run(&direct, (&pool, isa, scratch.share()), call) };
            let error = super::super::naive::difference(&y.floats()[..layer.y_len()], &expected);
            assert!(error < 1e-5, "{isa:?} {kind:?} {first}+{second} to {outputs} at {grid:?}: {error}");
        }
        // As bytes, with all that can be added: within one of the rounded.
        let after = out.iter().product::<usize>();
        let (residual, residual_values) = tensor(&mut random, outputs, after, sources[0]);
        let skip_weight = weights(&mut random, Kind::Conv1, first + second, outputs);
        let point = Direct::new(Form::Point, words[0] + words[1], outputs, grid, grid);
        let bytes = Bytes { scale: 0.05, zero: 40.0 };
        let plain = |o: usize, c: usize, _: usize| skip_weight[o * (first + second) + c];
        let added = Some(Bytes { zero: 0.0, ..bytes });
        let skip_weights = Weights::new(&point, &joined, plain, &vec![0.0; outputs], added);
        let packed = Weights::new(&direct, &joined, by_output, &bias, Some(bytes));
        call.weights = &packed;
        let offsets = skipped(&direct, words[0] + words[1]);
        if kind == Kind::Conv3 {
            call.skip = Some(Skip { x, words: words[0] + words[1], weights: &skip_weights, offsets: &offsets });
            let skip = Layer { kind: Kind::Conv1, ..layer };
            let values = skip.forward(&[&a_values[..], &b_values].concat(), &skip_weight, &vec![0.0; outputs]);
            expected.iter_mut().zip(values).for_each(|(y, s)| *y += s);
        }
        if kind != Kind::Up2 {
            call.residual = Some((Readable(residual.as_ptr()), sources[0].scale / bytes.scale));
            expected.iter_mut().zip(&residual_values).for_each(|(y, r)| *y += f64::from(*r));
        }
        let guard = 64;
        let mut y = vec![0x5a5a_5a5a; outputs.div_ceil(4) * after + 2 * guard];
        call.to = To::Bytes(Mutable(y[guard..].as_mut_ptr()));
        // SAFETY: every length is as the layer says.
        unsafe { run(&direct, (&pool, isa, scratch.share()), call) };
        let end = y.len() - guard;
        assert!(y[..guard].iter().chain(&y[end..]).all(|w| *w == 0x5a5a_5a5a), "{isa:?} {kind:?} wrote beyond its end");
        for (i, expected) in expected.iter().enumerate() {
            let (o, v) = (i / after, i % after);
            let found = y[guard + o / 4 * after + v].to_le_bytes()[o % 4];
            let exact = (expected / f64::from(bytes.scale) + f64::from(bytes.zero)).clamp(0.0, 255.0);
            let far = (f64::from(found) - exact).abs();
            assert!(far < 0.51, "{isa:?} {kind:?} {grid:?} {i}: {found}, not {exact}");
        }
    }

    fn scratch_with_skip(direct: &Direct, words: [usize; 2]) -> usize {
        scratch(direct, words[0] + words[1])
    }

    #[test]
    fn every_kind_equals_a_plain_sum_on_all_instructions() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            for kind in [Kind::Conv3, Kind::Down3, Kind::Conv1, Kind::Up2] {
                for (parts, outputs, grid) in [
                    ([5, 0], 8, [4, 6, 32]),
                    ([8, 8], 8, [4, 4, 18]),
                    ([3, 6], 5, [3, 5, 7]),
                    ([4, 4], 1, [2, 8, 16]),
                    ([16, 16], 20, [8, 8, 8]),
                    ([1, 0], 3, [1, 1, 1]),
                    ([7, 1], 9, [5, 3, 33]),
                ] {
                    check(isa, kind, parts, outputs, grid);
                }
            }
        }
    }
}
