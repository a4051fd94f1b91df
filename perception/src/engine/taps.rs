//! The two inner loops: sums over taps, in registers.
//!
//! A *tap* is one input value that an output needs, for one input channel: where it lies in a packed plane, relative
//! to the output's place there. Convolutions of every kind are sums over taps; what differs is how planes are packed
//! ([`super::lattice`], [`super::wino`]) and which taps there are. **Shapes:** a tile is `OB` output channels times
//! `NB` blocks of 16 voxels along x. Weights of a tap stand together, eight output channels each. **Allocation:** none.
#![expect(unsafe_code, reason = "raw pointers into packed planes and weights, whose extents the geometry fixes")]

use super::simd::Simd;

/// Output channels whose weights stand together.
pub(super) const OUTS: usize = 8;

/// Weights of one tap.
pub(super) type Tap<T> = [T; OUTS];

/// Sums of `weights[plane][offset][FROM + o] * plane[block * step + offset]`, planes outermost.
///
/// # Safety
/// The instructions of `V` exist, and 16 lanes can be read at every offset from every block of every plane.
#[inline(always)]
pub(super) unsafe fn sums<V: Simd, const FROM: usize, const OB: usize, const NB: usize>(
    planes: &[*const f32],
    step: usize,
    offsets: &[u32],
    weights: &[Tap<f32>],
) -> [[V::F; NB]; OB] {
    // SAFETY: the caller's. Weights are read through references: a raw pointer would be compared with null each time
    // while assertions are on, and this is the hottest loop of all.
    unsafe {
        let mut sums = [[V::splat(0.0); NB]; OB];
        for (plane, weights) in planes.iter().zip(weights.chunks_exact(offsets.len())) {
            for (offset, weight) in offsets.iter().zip(weights) {
                let x = plane.wrapping_add(*offset as usize);
                let mut values = [V::splat(0.0); NB];
                for (b, value) in values.iter_mut().enumerate() {
                    *value = V::load(x.wrapping_add(b.wrapping_mul(step)));
                }
                for (row, weight) in sums.iter_mut().zip(&weight[FROM..]) {
                    let weight = V::splat(*weight);
                    for (sum, value) in row.iter_mut().zip(values) {
                        *sum = V::fma(value, weight, *sum);
                    }
                }
            }
        }
        sums
    }
}

/// The same of words of four unsigned bytes with words of four signed ones.
///
/// # Safety
/// As [`sums`].
#[inline(always)]
pub(super) unsafe fn dots<V: Simd, const FROM: usize, const OB: usize, const NB: usize>(
    planes: &[*const i32],
    step: usize,
    offsets: &[u32],
    weights: &[Tap<i32>],
) -> [[V::I; NB]; OB] {
    // SAFETY: as in `sums`.
    unsafe {
        let mut sums = [[V::int_splat(0); NB]; OB];
        for (plane, weights) in planes.iter().zip(weights.chunks_exact(offsets.len())) {
            for (offset, weight) in offsets.iter().zip(weights) {
                let x = plane.wrapping_add(*offset as usize);
                let mut values = [V::int_splat(0); NB];
                for (b, value) in values.iter_mut().enumerate() {
                    *value = V::int_load(x.wrapping_add(b.wrapping_mul(step)));
                }
                for (row, weight) in sums.iter_mut().zip(&weight[FROM..]) {
                    let weight = V::int_splat(*weight);
                    for (sum, value) in row.iter_mut().zip(values) {
                        *sum = V::dot(*sum, value, weight);
                    }
                }
            }
        }
        sums
    }
}
