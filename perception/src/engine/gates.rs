//! The ConvLSTM's pointwise half: `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')`, `d = e + h'`.
//!
//! `tanh(x) = 2 σ(2x) − 1` and `σ(x) = 1 / (1 + e^−x)`; the exponential is `2^n p(r)` with a polynomial of degree 6,
//! within 2e-7 of the exact one. **Shapes:** `[C, D, H, W]` each, gates `[4 C, D, H, W]` in the order i, f, g, o.
//! **Allocation:** none. **Not protected against:** pointers and lengths.
#![expect(unsafe_code, reason = "tensors in the plan's arena, read and written by pointer")]

use super::memory::{Mutable, Readable};
use super::simd::{LANES, Simd, Work};
use super::{Isa, Pool};

/// Values that one task takes.
const CHUNK: usize = 2048;

/// One step of the cell.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    /// Values of one gate.
    pub(super) len: usize,
    pub(super) gates: Readable<f32>,
    pub(super) cell: Mutable<f32>,
    pub(super) hidden: Mutable<f32>,
    /// Added to the hidden state for `d`, if `d` is wanted in f32.
    pub(super) sum: Option<(Readable<f32>, Mutable<f32>)>,
}

impl Cell {
    /// # Safety
    /// `isa` is available, and every pointer has `len` floats, `gates` four times as many.
    pub(super) unsafe fn run(self, pool: &Pool, isa: Isa) {
        pool.run(self.len.div_ceil(CHUNK), &|_, task| {
            let work = Chunk { cell: self, from: task * CHUNK, to: ((task + 1) * CHUNK).min(self.len) };
            // SAFETY: the caller's; chunks are disjoint.
            unsafe { isa.run(&work) };
        });
    }
}

struct Chunk {
    cell: Cell,
    from: usize,
    to: usize,
}

impl Work for Chunk {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        let Cell { len, gates, cell, hidden, sum } = self.cell;
        let mut at = self.from;
        while at < self.to {
            let n = (self.to - at).min(LANES);
            // SAFETY: the caller's.
            unsafe {
                let gate = |g: usize| V::load_n(gates.0.wrapping_add(g * len + at), n);
                let (i, f, o) = (sigmoid::<V>(gate(0)), sigmoid::<V>(gate(1)), sigmoid::<V>(gate(3)));
                let old = V::load_n(cell.get().wrapping_add(at), n);
                let new = V::fma(f, old, V::mul(i, tanh::<V>(gate(2))));
                let h = V::mul(o, tanh::<V>(new));
                V::store_n(cell.get().wrapping_add(at), new, n);
                V::store_n(hidden.get().wrapping_add(at), h, n);
                if let Some((e, d)) = sum {
                    V::store_n(d.get().wrapping_add(at), V::add(V::load_n(e.0.wrapping_add(at), n), h), n);
                }
            }
            at += LANES;
        }
    }
}

#[inline(always)]
unsafe fn exp<V: Simd>(x: V::F) -> V::F {
    // SAFETY: arithmetic only; the clamp keeps the power of two in range.
    unsafe {
        let x = V::max(V::min(x, V::splat(87.0)), V::splat(-87.0));
        let n = V::round(V::mul(x, V::splat(std::f32::consts::LOG2_E)));
        // ln 2 in two parts, the first with zeros at its end, so that n times it is exact.
        let r = V::fma(n, V::splat(-0.693_359_4), x);
        let r = V::fma(n, V::splat(2.121_944_4e-4), r);
        let mut p = V::splat(1.0 / 720.0);
        for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = V::fma(p, r, V::splat(c));
        }
        V::mul(p, V::power_of_two(n))
    }
}

#[inline(always)]
unsafe fn sigmoid<V: Simd>(x: V::F) -> V::F {
    // SAFETY: arithmetic only.
    unsafe {
        let one = V::splat(1.0);
        V::div(one, V::add(one, exp::<V>(V::sub(V::splat(0.0), x))))
    }
}

#[inline(always)]
unsafe fn tanh<V: Simd>(x: V::F) -> V::F {
    // SAFETY: arithmetic only.
    unsafe {
        let s = sigmoid::<V>(V::add(x, x));
        V::sub(V::add(s, s), V::splat(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive::Random;
    use super::*;

    #[test]
    fn the_cell_is_within_rounding_of_the_exact_one() {
        let len = 5000;
        let mut random = Random(5);
        let gates: Vec<f32> = random.values(4 * len).iter().map(|v| v * v * v * 40.0).collect();
        let (old, e) = (random.values(len), random.values(len));
        let pool = Pool::new(2).expect("threads");
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            let (mut cell, mut hidden, mut d) = (old.clone(), vec![f32::NAN; len], vec![f32::NAN; len]);
            let step = Cell {
                len,
                gates: Readable(gates.as_ptr()),
                cell: Mutable(cell.as_mut_ptr()),
                hidden: Mutable(hidden.as_mut_ptr()),
                sum: Some((Readable(e.as_ptr()), Mutable(d.as_mut_ptr()))),
            };
            // SAFETY: lengths are as they must be.
            unsafe { step.run(&pool, isa) };
            let sigmoid = |x: f32| 1.0 / (1.0 + (-f64::from(x)).exp());
            for k in 0..len {
                let [i, f, g, o] = [0, 1, 2, 3].map(|n| gates[n * len + k]);
                let c = sigmoid(f) * f64::from(old[k]) + sigmoid(i) * f64::from(g).tanh();
                let h = sigmoid(o) * c.tanh();
                let far = |found: f32, exact: f64| (f64::from(found) - exact).abs() > 1e-6;
                assert!(!far(cell[k], c) && !far(hidden[k], h), "{isa:?} {k}: {} {c} {} {h}", cell[k], hidden[k]);
                assert!(!far(d[k], h + f64::from(e[k])), "{isa:?} {k}");
            }
        }
    }
}
