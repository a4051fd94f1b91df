//! The 1×1×1 layer in f32, straight from memory: voxels of all rows and planes follow each other, and nothing is packed.
//!
//! **Shapes:** `[N, C, voxels]`, one tensor (joined ones go through [`super::direct`]). **Allocation:** none.
//! **Order:** an output is summed over channels in their order. **Not protected against:** pointers and lengths.
#![expect(unsafe_code, reason = "tensors are read and written by pointer")]

use super::memory::{Mutable, Source};
use super::simd::{LANES, Simd, Work};
use super::taps::{OUTS, Tap, sums};
use super::wino::Finish;

/// Voxels in a task.
pub(super) const CHUNK: usize = 4096;

/// Some voxels of one volume.
pub(super) struct Point<'a> {
    pub(super) x: Source<f32>,
    /// Where each channel lies from the first on.
    pub(super) offsets: &'a [u32],
    pub(super) outputs: usize,
    pub(super) voxels: usize,
    /// `[out / 8][in][8]`.
    pub(super) weights: &'a [Tap<f32>],
    pub(super) bias: &'a [f32],
    pub(super) finish: Finish<'a>,
    pub(super) y: Mutable<f32>,
    pub(super) n: usize,
    pub(super) from: usize,
}

impl Work for Point<'_> {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        let end = (self.from + CHUNK).min(self.voxels);
        for block in 0..self.outputs.div_ceil(OUTS) {
            let mut at = self.from;
            while at < end {
                let wide = V::WIDE && at + 2 * LANES <= end;
                // SAFETY: whole blocks of existing voxels, or single ones.
                unsafe {
                    if wide {
                        self.tile::<V, 0, 8, 2>(block, at);
                    } else if at + LANES > end {
                        self.rest(block, at..end);
                    } else if V::WIDE {
                        self.tile::<V, 0, 8, 1>(block, at);
                    } else {
                        self.tile::<V, 0, 4, 1>(block, at);
                        self.tile::<V, 4, 4, 1>(block, at);
                    }
                }
                at += if wide { 2 * LANES } else { LANES };
            }
        }
    }
}

impl Point<'_> {
    fn to(&self, o: usize, at: usize) -> *mut f32 {
        self.y.get().wrapping_add((self.n * self.outputs + o) * self.finish.stride + at)
    }

    #[inline(always)]
    unsafe fn tile<V: Simd, const FROM: usize, const OB: usize, const NB: usize>(&self, block: usize, at: usize) {
        let x = self.x.channel(self.n, 0).wrapping_add(at);
        let weights = &self.weights[block * self.offsets.len()..];
        // SAFETY: the caller's.
        unsafe {
            let all = sums::<V, FROM, OB, NB>(&[x], LANES, self.offsets, weights);
            for (o, row) in (block * OUTS + FROM..self.outputs).zip(all) {
                let bias = V::splat(self.bias[o]);
                for (b, sum) in row.into_iter().enumerate() {
                    let value = V::add(sum, bias);
                    let value = if self.finish.relu { V::max(value, V::splat(0.0)) } else { value };
                    V::store(self.to(o, at + b * LANES), value);
                }
            }
        }
    }

    /// Voxels that fill no block.
    unsafe fn rest(&self, block: usize, voxels: std::ops::Range<usize>) {
        let weights = &self.weights[block * self.offsets.len()..];
        for o in block * OUTS..((block + 1) * OUTS).min(self.outputs) {
            for at in voxels.clone() {
                let mut sum = 0.0;
                for (c, weight) in weights.iter().take(self.offsets.len()).enumerate() {
                    // SAFETY: a voxel of an existing channel.
                    sum += unsafe { self.x.channel(self.n, c).wrapping_add(at).read() } * weight[o % OUTS];
                }
                sum += self.bias[o];
                // SAFETY: this task's own voxel.
                unsafe { self.to(o, at).write(if self.finish.relu { sum.max(0.0) } else { sum }) };
            }
        }
    }
}
