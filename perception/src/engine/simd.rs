//! Sixteen lanes at a time, three ways: AVX-512, AVX2 and plain Rust.
//!
//! Every kernel is written once over [`Simd`] and compiled three times by [`Isa::run`], each inside a function that
//! has the instructions switched on. **Lanes:** a block is always 16 lanes of 32 bits, so that layouts do not depend
//! on the instructions: one register of AVX-512, two of AVX2. **Rounding:** AVX-512 and AVX2 multiply and add with
//! one rounding, the portable path with two; integers are exact on all three. **Allocation:** none.
//! **Not protected against:** pointers. All functions here trust their caller.
#![expect(unsafe_code, reason = "vector instructions and raw pointers; every caller owns the buffers it names")]

use super::Isa;

/// Lanes of a block.
pub(super) const LANES: usize = 16;

/// What the kernels need of a processor.
///
/// # Safety
/// Only to be called where the instructions exist, with pointers to as many lanes as the function touches.
pub(super) trait Simd: Copy {
    /// 16 floats.
    type F: Copy;
    /// 16 words: integers, or four bytes each.
    type I: Copy;
    /// Whether 16 accumulators fit into registers; else kernels keep four.
    const WIDE: bool;

    unsafe fn splat(value: f32) -> Self::F;
    unsafe fn load(at: *const f32) -> Self::F;
    unsafe fn store(at: *mut f32, value: Self::F);
    /// The first `n` lanes, the others 0.
    unsafe fn load_n(at: *const f32, n: usize) -> Self::F;
    /// The first `n` lanes only.
    unsafe fn store_n(at: *mut f32, value: Self::F, n: usize);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a b + c`.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// To the nearest whole number, ties to even.
    unsafe fn round(a: Self::F) -> Self::F;
    /// 2 to the power of a whole number in −126..=127.
    unsafe fn power_of_two(a: Self::F) -> Self::F;
    /// `b` where `a > 0`, else 0.
    unsafe fn where_positive(a: Self::F, b: Self::F) -> Self::F;

    /// Has the line that holds `at` fetched, to be read or, if `WRITE`, written soon.
    #[inline(always)]
    unsafe fn prefetch<const WRITE: bool>(_at: *const f32) {}

    unsafe fn int_splat(value: i32) -> Self::I;
    unsafe fn int_load(at: *const i32) -> Self::I;
    unsafe fn int_load_n(at: *const i32, n: usize) -> Self::I;
    unsafe fn int_store_n(at: *mut i32, value: Self::I, n: usize);
    /// Words 0, 2, 4, … and 1, 3, 5, … of two blocks in a row.
    unsafe fn split(low: Self::I, high: Self::I) -> [Self::I; 2];
    /// Adds to each lane the products of its four unsigned bytes in `x` with four signed ones in `w`.
    unsafe fn dot(sum: Self::I, x: Self::I, w: Self::I) -> Self::I;
    unsafe fn to_float(value: Self::I) -> Self::F;
    /// Unsigned byte `k` of each lane.
    unsafe fn byte<const K: i32>(value: Self::I) -> Self::F;
    /// Rounds to nearest even, clamps to 0..=255, and makes bytes 0 to 3 of each lane of the four.
    unsafe fn bytes(values: [Self::F; 4]) -> Self::I;
}

/// A piece of work that is written over any [`Simd`].
pub(super) trait Work {
    /// # Safety
    /// The instructions of `V` exist, and what `self` points to is there.
    unsafe fn run<V: Simd>(&self);
}

impl Isa {
    /// # Safety
    /// This processor has these instructions (see [`Isa::available`]), and what `work` points to is there.
    pub(super) unsafe fn run(self, work: &impl Work) {
        debug_assert!(self.available(), "no plan is made for instructions that are missing");
        // SAFETY: the caller's.
        unsafe {
            match self {
                Self::Portable => work.run::<Portable>(),
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => x86::on_avx2(work),
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => x86::on_avx512(work),
                #[cfg(not(target_arch = "x86_64"))]
                Self::Avx2 | Self::Avx512 => work.run::<Portable>(),
            }
        }
    }
}

/// Plain Rust; the compiler makes of it what it can.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn each<A: Copy>(f: impl Fn(usize) -> A) -> [A; LANES] {
    std::array::from_fn(f)
}

impl Simd for Portable {
    type F = [f32; LANES];
    type I = [i32; LANES];
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::F {
        // SAFETY: the caller's.
        unsafe { at.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: Self::F) {
        // SAFETY: the caller's.
        unsafe { at.cast::<Self::F>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn load_n(at: *const f32, n: usize) -> Self::F {
        // SAFETY: only lanes below `n` are read.
        each(|i| if i < n { unsafe { *at.wrapping_add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store_n(at: *mut f32, value: Self::F, n: usize) {
        for (i, v) in value.into_iter().enumerate().take(n) {
            // SAFETY: only lanes below `n` are written.
            unsafe { *at.wrapping_add(i) = v };
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn round(a: Self::F) -> Self::F {
        each(|i| a[i].round_ties_even())
    }
    #[inline(always)]
    unsafe fn power_of_two(a: Self::F) -> Self::F {
        each(|i| f32::from_bits(((a[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn where_positive(a: Self::F, b: Self::F) -> Self::F {
        each(|i| if a[i] > 0.0 { b[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn int_splat(value: i32) -> Self::I {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn int_load(at: *const i32) -> Self::I {
        // SAFETY: the caller's.
        unsafe { at.cast::<Self::I>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn int_load_n(at: *const i32, n: usize) -> Self::I {
        // SAFETY: only lanes below `n` are read.
        each(|i| if i < n { unsafe { *at.wrapping_add(i) } } else { 0 })
    }
    #[inline(always)]
    unsafe fn int_store_n(at: *mut i32, value: Self::I, n: usize) {
        for (i, v) in value.into_iter().enumerate().take(n) {
            // SAFETY: only lanes below `n` are written.
            unsafe { *at.wrapping_add(i) = v };
        }
    }
    #[inline(always)]
    unsafe fn split(low: Self::I, high: Self::I) -> [Self::I; 2] {
        let word = |i: usize| if i < LANES { low[i] } else { high[i - LANES] };
        [std::array::from_fn(|i| word(2 * i)), std::array::from_fn(|i| word(2 * i + 1))]
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::I, x: Self::I, w: Self::I) -> Self::I {
        each(|i| {
            let (x, w) = (x[i].to_le_bytes(), w[i].to_le_bytes().map(|b| b as i8));
            let product = |k: usize| i32::from(x[k]) * i32::from(w[k]);
            sum[i].wrapping_add(product(0) + product(1) + product(2) + product(3))
        })
    }
    #[inline(always)]
    unsafe fn to_float(value: Self::I) -> Self::F {
        each(|i| value[i] as f32)
    }
    #[inline(always)]
    unsafe fn byte<const K: i32>(value: Self::I) -> Self::F {
        each(|i| f32::from(value[i].to_le_bytes()[K as usize]))
    }
    #[inline(always)]
    unsafe fn bytes(values: [Self::F; 4]) -> Self::I {
        each(|i| i32::from_le_bytes(std::array::from_fn(|k| values[k][i].round_ties_even().clamp(0.0, 255.0) as u8)))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Simd, Work};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
    pub(super) unsafe fn on_avx512(work: &impl Work) {
        // SAFETY: the caller's; the instructions are switched on for this function and what is inlined into it.
        unsafe { work.run::<Avx512>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn on_avx2(work: &impl Work) {
        // SAFETY: as above.
        unsafe { work.run::<Avx2>() }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx512;

    #[inline(always)]
    fn mask(n: usize) -> __mmask16 {
        ((1_u32 << n.min(16)) - 1) as __mmask16
    }

    // SAFETY (of every block below): the trait's contract, stated at [`Simd`].
    #[expect(clippy::undocumented_unsafe_blocks, reason = "one contract for all, stated above")]
    impl Simd for Avx512 {
        type F = __m512;
        type I = __m512i;
        const WIDE: bool = true;

        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> __m512 {
            // With a mask that is whole, since the plain one is checked while assertions are on.
            unsafe { _mm512_maskz_loadu_ps(0xffff, at) }
        }
        #[inline(always)]
        unsafe fn store(at: *mut f32, value: __m512) {
            unsafe { _mm512_mask_storeu_ps(at, 0xffff, value) }
        }
        #[inline(always)]
        unsafe fn load_n(at: *const f32, n: usize) -> __m512 {
            unsafe { _mm512_maskz_loadu_ps(mask(n), at) }
        }
        #[inline(always)]
        unsafe fn store_n(at: *mut f32, value: __m512, n: usize) {
            unsafe { _mm512_mask_storeu_ps(at, mask(n), value) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn round(a: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        unsafe fn power_of_two(a: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(_mm512_set1_ps(1.0), a) }
        }
        #[inline(always)]
        unsafe fn where_positive(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, _mm512_setzero_ps()), b) }
        }
        #[inline(always)]
        unsafe fn prefetch<const WRITE: bool>(at: *const f32) {
            unsafe {
                if WRITE {
                    _mm_prefetch::<_MM_HINT_ET0>(at.cast());
                } else {
                    _mm_prefetch::<_MM_HINT_T0>(at.cast());
                }
            }
        }
        #[inline(always)]
        unsafe fn int_splat(value: i32) -> __m512i {
            unsafe { _mm512_set1_epi32(value) }
        }
        #[inline(always)]
        unsafe fn int_load(at: *const i32) -> __m512i {
            unsafe { _mm512_maskz_loadu_epi32(0xffff, at) }
        }
        #[inline(always)]
        unsafe fn int_load_n(at: *const i32, n: usize) -> __m512i {
            unsafe { _mm512_maskz_loadu_epi32(mask(n), at) }
        }
        #[inline(always)]
        unsafe fn int_store_n(at: *mut i32, value: __m512i, n: usize) {
            unsafe { _mm512_mask_storeu_epi32(at, mask(n), value) }
        }
        #[inline(always)]
        unsafe fn split(low: __m512i, high: __m512i) -> [__m512i; 2] {
            unsafe {
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
                [_mm512_permutex2var_epi32(low, even, high), _mm512_permutex2var_epi32(low, odd, high)]
            }
        }
        #[inline(always)]
        unsafe fn dot(sum: __m512i, x: __m512i, w: __m512i) -> __m512i {
            unsafe { _mm512_dpbusd_epi32(sum, x, w) }
        }
        #[inline(always)]
        unsafe fn to_float(value: __m512i) -> __m512 {
            unsafe { _mm512_cvtepi32_ps(value) }
        }
        #[inline(always)]
        unsafe fn byte<const K: i32>(value: __m512i) -> __m512 {
            unsafe {
                let low = _mm512_set1_epi32(0xff);
                let moved = match K {
                    0 => _mm512_and_si512(value, low),
                    1 => _mm512_and_si512(_mm512_srli_epi32(value, 8), low),
                    2 => _mm512_and_si512(_mm512_srli_epi32(value, 16), low),
                    _ => _mm512_srli_epi32(value, 24),
                };
                _mm512_cvtepi32_ps(moved)
            }
        }
        #[inline(always)]
        unsafe fn bytes(values: [__m512; 4]) -> __m512i {
            unsafe {
                let most = _mm512_set1_ps(255.0);
                let [a, b, c, d] = values.map(|v| _mm512_cvtps_epi32(_mm512_min_ps(v, most)));
                // Saturating to 16 bits with sign and then to 8 without clamps to 0..=255.
                let all = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
                let order = _mm512_set4_epi32(0x0f0b_0703, 0x0e0a_0602, 0x0d09_0501, 0x0c08_0400);
                _mm512_shuffle_epi8(all, order)
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(super) struct Avx2;

    /// The masks of both halves.
    #[inline(always)]
    unsafe fn halves(n: usize) -> [__m256i; 2] {
        const MASKS: [i32; 24] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let (first, second) = (n.min(8), n.saturating_sub(8).min(8));
        let at = |n: usize| MASKS.as_ptr().wrapping_add(8 - n).cast::<__m256i>();
        // SAFETY: 8 words from 8 − n, with n at most 8, lie inside the table.
        unsafe { [_mm256_loadu_si256(at(first)), _mm256_loadu_si256(at(second))] }
    }

    // SAFETY (of every block below): the trait's contract, stated at [`Simd`].
    #[expect(clippy::undocumented_unsafe_blocks, reason = "one contract for all, stated above")]
    impl Simd for Avx2 {
        type F = [__m256; 2];
        type I = [__m256i; 2];
        const WIDE: bool = false;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self::F {
            unsafe { [_mm256_set1_ps(value); 2] }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> Self::F {
            unsafe {
                let all = _mm256_set1_epi32(-1);
                [_mm256_maskload_ps(at, all), _mm256_maskload_ps(at.wrapping_add(8), all)]
            }
        }
        #[inline(always)]
        unsafe fn store(at: *mut f32, [low, high]: Self::F) {
            unsafe {
                let all = _mm256_set1_epi32(-1);
                _mm256_maskstore_ps(at, all, low);
                _mm256_maskstore_ps(at.wrapping_add(8), all, high);
            }
        }
        #[inline(always)]
        unsafe fn load_n(at: *const f32, n: usize) -> Self::F {
            unsafe {
                let [low, high] = halves(n);
                [_mm256_maskload_ps(at, low), _mm256_maskload_ps(at.wrapping_add(8), high)]
            }
        }
        #[inline(always)]
        unsafe fn store_n(at: *mut f32, value: Self::F, n: usize) {
            unsafe {
                let [low, high] = halves(n);
                _mm256_maskstore_ps(at, low, value[0]);
                _mm256_maskstore_ps(at.wrapping_add(8), high, value[1]);
            }
        }
        #[inline(always)]
        unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
            unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
            unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
            unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
        }
        #[inline(always)]
        unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
            unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
            unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn div(a: Self::F, b: Self::F) -> Self::F {
            unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
        }
        #[inline(always)]
        unsafe fn round(a: Self::F) -> Self::F {
            unsafe { a.map(|a| _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a)) }
        }
        #[inline(always)]
        unsafe fn power_of_two(a: Self::F) -> Self::F {
            unsafe {
                let bias = _mm256_set1_epi32(127);
                let shifted = |a| _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_cvtps_epi32(a), bias));
                [_mm256_castsi256_ps(shifted(a[0])), _mm256_castsi256_ps(shifted(a[1]))]
            }
        }
        #[inline(always)]
        unsafe fn where_positive(a: Self::F, b: Self::F) -> Self::F {
            unsafe {
                let mask = |v| _mm256_cmp_ps::<_CMP_GT_OQ>(v, _mm256_setzero_ps());
                [_mm256_and_ps(mask(a[0]), b[0]), _mm256_and_ps(mask(a[1]), b[1])]
            }
        }
        #[inline(always)]
        unsafe fn int_splat(value: i32) -> Self::I {
            unsafe { [_mm256_set1_epi32(value); 2] }
        }
        #[inline(always)]
        unsafe fn int_load(at: *const i32) -> Self::I {
            unsafe {
                let all = _mm256_set1_epi32(-1);
                [_mm256_maskload_epi32(at, all), _mm256_maskload_epi32(at.wrapping_add(8), all)]
            }
        }
        #[inline(always)]
        unsafe fn int_load_n(at: *const i32, n: usize) -> Self::I {
            unsafe {
                let [low, high] = halves(n);
                [_mm256_maskload_epi32(at, low), _mm256_maskload_epi32(at.wrapping_add(8), high)]
            }
        }
        #[inline(always)]
        unsafe fn int_store_n(at: *mut i32, value: Self::I, n: usize) {
            unsafe {
                let [low, high] = halves(n);
                _mm256_maskstore_epi32(at, low, value[0]);
                _mm256_maskstore_epi32(at.wrapping_add(8), high, value[1]);
            }
        }
        #[inline(always)]
        unsafe fn split(low: Self::I, high: Self::I) -> [Self::I; 2] {
            #[inline(always)]
            unsafe fn half<const PICK: i32>(a: __m256i, b: __m256i) -> __m256i {
                unsafe {
                    let mixed = _mm256_shuffle_ps::<PICK>(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
                    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(mixed))
                }
            }
            unsafe {
                [
                    [half::<0b10_00_10_00>(low[0], low[1]), half::<0b10_00_10_00>(high[0], high[1])],
                    [half::<0b11_01_11_01>(low[0], low[1]), half::<0b11_01_11_01>(high[0], high[1])],
                ]
            }
        }
        #[inline(always)]
        unsafe fn dot(sum: Self::I, x: Self::I, w: Self::I) -> Self::I {
            // Bytes 0 and 2, then 1 and 3, each widened to 16 bits: nothing saturates.
            #[inline(always)]
            unsafe fn half(sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
                unsafe {
                    let low = _mm256_set1_epi16(0xff);
                    let even =
                        _mm256_madd_epi16(_mm256_and_si256(x, low), _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
                    let odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8));
                    _mm256_add_epi32(sum, _mm256_add_epi32(even, odd))
                }
            }
            unsafe { [half(sum[0], x[0], w[0]), half(sum[1], x[1], w[1])] }
        }
        #[inline(always)]
        unsafe fn to_float(value: Self::I) -> Self::F {
            unsafe { [_mm256_cvtepi32_ps(value[0]), _mm256_cvtepi32_ps(value[1])] }
        }
        #[inline(always)]
        unsafe fn byte<const K: i32>(value: Self::I) -> Self::F {
            unsafe {
                let low = _mm256_set1_epi32(0xff);
                let moved = value.map(|v| match K {
                    0 => _mm256_and_si256(v, low),
                    1 => _mm256_and_si256(_mm256_srli_epi32(v, 8), low),
                    2 => _mm256_and_si256(_mm256_srli_epi32(v, 16), low),
                    _ => _mm256_srli_epi32(v, 24),
                });
                Self::to_float(moved)
            }
        }
        #[inline(always)]
        unsafe fn bytes(values: [Self::F; 4]) -> Self::I {
            unsafe {
                [0, 1].map(|h| {
                    let most = _mm256_set1_ps(255.0);
                    let [a, b, c, d] = [0, 1, 2, 3].map(|k| _mm256_cvtps_epi32(_mm256_min_ps(values[k][h], most)));
                    let all = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
                    let order = _mm256_setr_epi32(
                        0x0c08_0400,
                        0x0d09_0501,
                        0x0e0a_0602,
                        0x0f0b_0703,
                        0x0c08_0400,
                        0x0d09_0501,
                        0x0e0a_0602,
                        0x0f0b_0703,
                    );
                    _mm256_shuffle_epi8(all, order)
                })
            }
        }
    }
}
