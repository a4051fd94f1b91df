//! CRC-64 by carry-less multiplication: PCLMULQDQ, and VPCLMULQDQ with AVX-512 for long inputs.
//!
//! The bytes are a polynomial over GF(2), first bit highest. What has been read is kept as 128 bits that are
//! congruent to it modulo the CRC's polynomial P. To read on by `d` bits is to multiply by xᵈ:
//! `high · x^(d + 64) + low · x^d`, two multiplications by constants `x^k mod P`. Four such sums run side by side, of
//! 128 bits each, or of 4 × 128; at the end they are brought together and reduced by Barrett's method.
//! Zeros in front change nothing, so the first block holds the bytes by which the length exceeds a multiple of 16.
//!
//! Source: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009.
//! **Allocation:** none. **Invariant:** nothing is read but the bytes of the slice.
#![expect(unsafe_code, reason = "vector loads, and calls of functions compiled for instructions found while running")]

use super::{POLYNOMIAL, portable};
use std::arch::x86_64::{
    __m128i, __m512i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_set_epi64x, _mm_shuffle_epi8,
    _mm_xor_si128, _mm512_broadcast_i32x4, _mm512_clmulepi64_epi128, _mm512_extracti32x4_epi32, _mm512_inserti32x4,
    _mm512_loadu_si512, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

/// Bytes of a block.
const BLOCK: usize = 16;
/// Fewer bytes than this are looked up.
const FEWEST: usize = BLOCK;
/// From here on the wide registers pay for being switched on: 2 × 4 registers of 64 bytes.
const WIDE: usize = 512;

/// `x^exponent mod P`.
const fn power(exponent: u32) -> u64 {
    let mut rest = 1_u64;
    let mut done = 0;
    while done < exponent {
        rest = if rest >> 63 == 1 { rest << 1 ^ POLYNOMIAL } else { rest << 1 };
        done += 1;
    }
    rest
}

/// `⌊x^128 / P⌋` without its highest bit, x^64.
const fn barrett() -> u64 {
    let (mut rest, mut quotient) = (1_u64, 0_u64);
    // Long division of x^128: 64 bits bring x^64, whose quotient is the highest bit, then 64 more.
    let mut bit = 0;
    while bit < 128 {
        let carry = rest >> 63;
        rest <<= 1;
        if carry == 1 {
            rest ^= POLYNOMIAL;
        }
        quotient = quotient << 1 | carry;
        bit += 1;
    }
    quotient
}

/// Multipliers that move 128 bits on by `bits`: for the low half, then for the high.
const fn on_by(bits: u32) -> [u64; 2] {
    [power(bits), power(bits + 64)]
}

const ON_128: [u64; 2] = on_by(128);
const ON_256: [u64; 2] = on_by(256);
const ON_384: [u64; 2] = on_by(384);
const ON_512: [u64; 2] = on_by(512);
const ON_1024: [u64; 2] = on_by(1024);
const ON_1536: [u64; 2] = on_by(1536);
const ON_2048: [u64; 2] = on_by(2048);
const BARRETT: u64 = barrett();

/// Byte `i` of the block comes from byte `15 - i` of memory. A window of these 32 that begins `s` later brings the
/// first `16 - s` bytes, and zeros in front (bit 7 set): see [`head`].
static REVERSED: [u8; 2 * BLOCK] = {
    let mut order = [0x80; 2 * BLOCK];
    let mut at = 0;
    while at < BLOCK {
        order[at] = (BLOCK - 1 - at) as u8;
        at += 1;
    }
    order
};

/// `None` where the processor has not the instructions.
pub(super) fn crc64_continued(crc: u64, bytes: &[u8]) -> Option<u64> {
    if bytes.len() < FEWEST || !is_x86_feature_detected!("pclmulqdq") || !is_x86_feature_detected!("ssse3") {
        return None;
    }
    // A CRC so far overlays the first eight bytes, so it has to be looked up into the odd ones first.
    let (crc, bytes) = if crc == 0 {
        (0, bytes)
    } else {
        let (odd, whole) = bytes.split_at(bytes.len() % BLOCK);
        (portable(crc, odd), whole)
    };
    if bytes.len() >= WIDE
        && is_x86_feature_detected!("vpclmulqdq")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
    {
        // SAFETY: the processor has just been asked for each of the instructions.
        return Some(unsafe { wide(crc, bytes) });
    }
    // SAFETY: the processor has just been asked for both instructions.
    Some(unsafe { narrow(crc, bytes) })
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn pair([low, high]: [u64; 2]) -> __m128i {
    _mm_set_epi64x(high.cast_signed(), low.cast_signed())
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn order(from: usize) -> __m128i {
    let window = &REVERSED[from..from + BLOCK];
    // SAFETY: the slice is 16 bytes long, and the load asks for no alignment.
    unsafe { _mm_loadu_si128(window.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn load(block: &[u8; BLOCK], order: __m128i) -> __m128i {
    // SAFETY: the array is 16 bytes long, and the load asks for no alignment.
    let bytes = unsafe { _mm_loadu_si128(block.as_ptr().cast()) };
    _mm_shuffle_epi8(bytes, order)
}

/// The odd bytes in front as one block with zeros before them, or the first whole block; and the blocks behind.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn head(crc: u64, bytes: &[u8]) -> (__m128i, &[[u8; BLOCK]]) {
    let odd = bytes.len() % BLOCK;
    let taken = if odd == 0 { BLOCK } else { odd };
    let first = bytes.first_chunk::<BLOCK>().expect("the caller brings a block");
    let first = load(first, order(BLOCK - taken));
    (_mm_xor_si128(first, pair([0, crc])), bytes[taken..].as_chunks().0)
}

/// `sum`, read on by as many bits as `by` says, and `next` there.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn fold(sum: __m128i, by: __m128i, next: __m128i) -> __m128i {
    let low = _mm_clmulepi64_si128::<0x00>(sum, by);
    let high = _mm_clmulepi64_si128::<0x11>(sum, by);
    _mm_xor_si128(_mm_xor_si128(low, high), next)
}

/// `sum · x^64 mod P`.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn reduced(sum: __m128i) -> u64 {
    // high · x^128 + low · x^64: 127 bits after the first multiplication.
    let by = pair([ON_128[0], BARRETT]);
    let high = _mm_clmulepi64_si128::<0x01>(sum, by);
    let sum = _mm_xor_si128(high, pair([0, _mm_cvtsi128_si64(sum).cast_unsigned()]));
    // The quotient by P is the upper half plus the upper half of its product with ⌊x^128 / P⌋.
    let quotient = _mm_xor_si128(_mm_clmulepi64_si128::<0x11>(sum, by), sum);
    let times_p = _mm_clmulepi64_si128::<0x01>(quotient, pair([POLYNOMIAL, 0]));
    _mm_cvtsi128_si64(_mm_xor_si128(times_p, sum)).cast_unsigned()
}

/// What is behind the last whole group of four blocks, one block after the other.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn rest(sum: __m128i, blocks: &[[u8; BLOCK]], order: __m128i) -> u64 {
    let on_128 = pair(ON_128);
    reduced(blocks.iter().fold(sum, |sum, block| fold(sum, on_128, load(block, order))))
}

#[target_feature(enable = "pclmulqdq,ssse3")]
fn narrow(crc: u64, bytes: &[u8]) -> u64 {
    let (first, blocks) = head(crc, bytes);
    let order = order(0);
    let Some(([second, third, fourth], behind)) = blocks.split_first_chunk() else {
        return rest(first, blocks, order);
    };
    let mut sums = [first, load(second, order), load(third, order), load(fourth, order)];
    let (groups, single) = behind.as_chunks::<4>();
    let on_512 = pair(ON_512);
    for group in groups {
        for (sum, block) in sums.iter_mut().zip(group) {
            *sum = fold(*sum, on_512, load(block, order));
        }
    }
    rest(together(sums), single, order)
}

/// Four sums of blocks that follow each other.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3")]
fn together([a, b, c, d]: [__m128i; 4]) -> __m128i {
    fold(a, pair(ON_384), fold(b, pair(ON_256), fold(c, pair(ON_128), d)))
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3,avx512f,avx512bw,vpclmulqdq")]
fn wide_load(blocks: &[[u8; BLOCK]; 4], order: __m512i) -> __m512i {
    // SAFETY: the array is 64 bytes long, and the load asks for no alignment.
    let bytes = unsafe { _mm512_loadu_si512(blocks.as_ptr().cast()) };
    _mm512_shuffle_epi8(bytes, order)
}

#[inline]
#[target_feature(enable = "pclmulqdq,ssse3,avx512f,avx512bw,vpclmulqdq")]
fn wide_fold(sum: __m512i, by: __m512i, next: __m512i) -> __m512i {
    let low = _mm512_clmulepi64_epi128::<0x00>(sum, by);
    let high = _mm512_clmulepi64_epi128::<0x11>(sum, by);
    // Exclusive-or of three.
    _mm512_ternarylogic_epi64::<0x96>(low, high, next)
}

#[target_feature(enable = "pclmulqdq,ssse3,avx512f,avx512bw,vpclmulqdq")]
fn wide(crc: u64, bytes: &[u8]) -> u64 {
    let (first, blocks) = head(crc, bytes);
    let order = order(0);
    // The blocks behind the first, in groups of four; the first goes before them by itself.
    let (groups, single) = blocks.as_chunks::<4>();
    let Some(([a, b, c, d], groups)) = groups.split_first_chunk() else { return narrow(crc, bytes) };
    let wide_order = _mm512_broadcast_i32x4(order);
    let by = |bits: [u64; 2]| _mm512_broadcast_i32x4(pair(bits));
    let mut sums =
        [wide_load(a, wide_order), wide_load(b, wide_order), wide_load(c, wide_order), wide_load(d, wide_order)];
    // The first block lies 128 bits before the first lane: moved on by 128 it belongs there.
    let moved = fold(first, pair(ON_128), pair([0, 0]));
    sums[0] = with_first_lane(sums[0], moved);
    let (sixteens, fours) = groups.as_chunks::<4>();
    let on_2048 = by(ON_2048);
    for sixteen in sixteens {
        for (sum, four) in sums.iter_mut().zip(sixteen) {
            *sum = wide_fold(*sum, on_2048, wide_load(four, wide_order));
        }
    }
    let [a, b, c, d] = sums;
    let mut sum = wide_fold(a, by(ON_1536), wide_fold(b, by(ON_1024), wide_fold(c, by(ON_512), d)));
    for four in fours {
        sum = wide_fold(sum, by(ON_512), wide_load(four, wide_order));
    }
    let lanes = [
        _mm512_extracti32x4_epi32::<0>(sum),
        _mm512_extracti32x4_epi32::<1>(sum),
        _mm512_extracti32x4_epi32::<2>(sum),
        _mm512_extracti32x4_epi32::<3>(sum),
    ];
    rest(together(lanes), single, order)
}

/// `lane` added to the lowest 128 bits, which hold the first of the four blocks.
#[inline]
#[target_feature(enable = "pclmulqdq,ssse3,avx512f,avx512bw,vpclmulqdq")]
fn with_first_lane(sum: __m512i, lane: __m128i) -> __m512i {
    _mm512_xor_si512(sum, _mm512_inserti32x4::<0>(_mm512_setzero_si512(), lane))
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn narrow_and_wide_are_the_tables() {
        let bytes = noise(5000);
        for length in (16..700).chain([1000, 2047, 2048, 2049, 4999]) {
            for crc in [0, 0x0123_4567_89AB_CDEF] {
                let whole = if crc == 0 { length } else { length / BLOCK * BLOCK };
                let part = &bytes[1..][..whole.min(4999)];
                if is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("ssse3") {
                    // SAFETY: the processor has just been asked for both instructions.
                    assert_eq!(unsafe { narrow(crc, part) }, portable(crc, part), "narrow, {whole}");
                }
                if is_x86_feature_detected!("vpclmulqdq")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                {
                    // SAFETY: the processor has just been asked for each of the instructions.
                    assert_eq!(unsafe { wide(crc, part) }, portable(crc, part), "wide, {whole}");
                }
            }
        }
    }

    #[test]
    fn the_constants_are_powers_of_x() {
        assert_eq!(power(64), POLYNOMIAL);
        assert_eq!(power(63), 1 << 63);
        // x^128 mod P is the CRC of x^64, a one followed by eight zero bytes.
        assert_eq!(power(128), portable(0, &[1, 0, 0, 0, 0, 0, 0, 0, 0]));
    }
}
