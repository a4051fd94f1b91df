//! What this machine can compute at most: multiply-adds on registers alone, with the kernels' own instructions.
//!
//! ```text
//!  f32:   a = a b + c                              2 operations a lane
//!  int8:  a = a + Σ x w over four pairs of bytes   8 operations a lane
//! ```
//! Chains that do not wait for each other hide the instruction's latency. Nothing is loaded or stored, so a kernel that
//! multiplies as often as the plain sum says is slower; one that saves multiplications, as Winograd's does, may seem
//! faster. **Time** is the caller's to measure. **Allocation:** none.
#![expect(unsafe_code, reason = "vector instructions, on registers alone")]

use super::simd::{LANES, Simd, Work};
use super::{Isa, Pool, Precision};
use std::hint::black_box;

/// Turns of one task: about half a millisecond, so that threads share evenly.
const TURNS: usize = 1 << 17;
/// Chains where 32 registers of 16 lanes exist.
const CHAINS_WIDE: usize = 12;
/// Chains where 16 registers of 8 lanes exist, two for each chain.
const CHAINS: usize = 5;

/// Multiplies and adds on all threads of the pool, `tasks` pieces of work, and returns how many operations that were;
/// one multiply-add counts as two.
pub fn exhaust(pool: &Pool, precision: Precision, tasks: usize) -> f64 {
    exhaust_on(Isa::detect(), pool, precision, tasks)
}

fn exhaust_on(isa: Isa, pool: &Pool, precision: Precision, tasks: usize) -> f64 {
    pool.run(tasks, &|_, _| {
        // SAFETY: the caller has detected the instructions; the work touches no memory.
        unsafe {
            match precision {
                Precision::F32 => isa.run(&Floats),
                Precision::Int8 => isa.run(&Bytes),
            }
        }
    });
    let chains = if isa == Isa::Avx512 { CHAINS_WIDE } else { CHAINS };
    let each = if precision == Precision::F32 { 2 } else { 8 };
    (chains * LANES * each * TURNS) as f64 * tasks as f64
}

struct Floats;
struct Bytes;

impl Work for Floats {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        // SAFETY: the caller's.
        unsafe {
            if V::WIDE {
                floats::<V, CHAINS_WIDE>();
            } else {
                floats::<V, CHAINS>();
            }
        }
    }
}

impl Work for Bytes {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        // SAFETY: the caller's.
        unsafe {
            if V::WIDE {
                bytes::<V, CHAINS_WIDE>();
            } else {
                bytes::<V, CHAINS>();
            }
        }
    }
}

/// Every chain tends to 1: neither it nor its steps become so small that the processor slows down.
#[inline(always)]
unsafe fn floats<V: Simd, const N: usize>() {
    // SAFETY: the caller's.
    unsafe {
        let (b, c) = (V::splat(black_box(0.5)), V::splat(black_box(0.5)));
        let mut chains: [V::F; N] = std::array::from_fn(|_| V::splat(black_box(1.0)));
        for _ in 0..TURNS {
            for chain in &mut chains {
                *chain = V::fma(*chain, b, c);
            }
        }
        let mut sum = chains[0];
        for chain in &chains[1..] {
            sum = V::add(sum, *chain);
        }
        black_box(V::any_above(sum, c));
    }
}

/// Each chain is also its own weight, so that no compiler takes the product out of the loop.
#[inline(always)]
unsafe fn bytes<V: Simd, const N: usize>() {
    // SAFETY: the caller's.
    unsafe {
        let x = V::int_splat(black_box(0x0102_0304));
        let mut chains: [V::I; N] = std::array::from_fn(|_| V::int_splat(black_box(0x0506_0708)));
        for _ in 0..TURNS {
            for chain in &mut chains {
                *chain = V::dot(*chain, x, *chain);
            }
        }
        let mut sum = V::to_float(chains[0]);
        for chain in &chains[1..] {
            sum = V::add(sum, V::to_float(*chain));
        }
        black_box(V::any_above(sum, V::splat(0.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_on_every_path() {
        let pool = Pool::new(2).expect("threads");
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            for (precision, each) in [(Precision::F32, 2.0), (Precision::Int8, 8.0)] {
                let [once, thrice] = [1, 3].map(|tasks| exhaust_on(isa, &pool, precision, tasks));
                assert!(once.is_finite() && once >= each * (LANES * TURNS) as f64, "{isa:?}, {precision:?}: {once}");
                assert!((thrice / once - 3.0).abs() < 1e-12, "{isa:?}, {precision:?}: {once}, {thrice}");
            }
        }
    }
}
