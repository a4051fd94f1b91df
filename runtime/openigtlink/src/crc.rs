//! The CRC of the message body: 64 bits, ECMA-182.
//!
//! Polynomial 0x42F0E1EBA9EA3693, most significant bit first, start 0, no final exclusive-or. Two ways to the same
//! number: carry-less multiplication (`clmul`, x86-64 that has it, looked up while running), and everywhere else
//! sixteen bytes a step ("slicing by 16"): table `k` holds the CRC of one byte followed by `k` zero bytes, and the
//! CRC of sixteen bytes is the exclusive-or of sixteen look-ups. The tables are built by the compiler, 32 KiB.

#[cfg(target_arch = "x86_64")]
mod clmul;

/// ECMA-182, without the leading bit.
pub(crate) const POLYNOMIAL: u64 = 0x42F0_E1EB_A9EA_3693;
/// Bytes a step.
const SLICES: usize = 16;

static TABLES: [[u64; 256]; SLICES] = tables();

const fn tables() -> [[u64; 256]; SLICES] {
    let mut tables = [[0_u64; 256]; SLICES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u64) << 56;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 63 == 1 { crc << 1 ^ POLYNOMIAL } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut slice = 1;
    while slice < SLICES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[slice - 1][byte];
            tables[slice][byte] = before << 8 ^ tables[0][(before >> 56) as usize];
            byte += 1;
        }
        slice += 1;
    }
    tables
}

/// CRC of `bytes`.
#[must_use]
pub fn crc64(bytes: &[u8]) -> u64 {
    crc64_continued(0, bytes)
}

/// CRC of what came before, whose CRC is `crc`, followed by `bytes`.
#[must_use]
pub fn crc64_continued(crc: u64, bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(crc) = clmul::crc64_continued(crc, bytes) {
        return crc;
    }
    portable(crc, bytes)
}

/// The same by tables.
pub(crate) fn portable(mut crc: u64, bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<SLICES>();
    for [a, b, c, d, e, f, g, h, last @ ..] in chunks {
        // The CRC so far overlays the first eight bytes; the other eight stand for themselves, and their
        // look-ups do not wait for it. Summed in pairs, to keep the chain from step to step short.
        let own =
            last.iter().zip(TABLES[..8].iter().rev()).fold(0, |sum, (byte, table)| sum ^ table[usize::from(*byte)]);
        let mixed = (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) ^ crc).to_be_bytes();
        let at = |slice: usize| TABLES[slice][usize::from(mixed[15 - slice])];
        crc = ((at(15) ^ at(14)) ^ (at(13) ^ at(12))) ^ ((at(11) ^ at(10)) ^ (at(9) ^ at(8))) ^ own;
    }
    for byte in rest {
        crc = crc << 8 ^ TABLES[0][usize::from((crc >> 56) as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: one bit at a time.
    fn by_bits(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(
                crc ^ u64::from(*byte) << 56,
                |crc, _| {
                    if crc >> 63 == 1 { crc << 1 ^ POLYNOMIAL } else { crc << 1 }
                },
            )
        })
    }

    #[test]
    fn the_check_value_of_crc_64_ecma_182() {
        assert_eq!(crc64(b"123456789"), 0x6C40_DF5F_0B49_7347);
        assert_eq!(crc64(b""), 0);
    }

    /// Bytes without a pattern, by a linear congruential generator.
    pub(super) fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(length)
        .collect()
    }

    #[test]
    fn multiplied_or_looked_up_it_is_the_same_at_every_length_and_alignment() {
        let bytes = noise(1200);
        for start in 0..64 {
            for length in (0..=320).chain(500..=530).chain([1000, 1023, 1024, 1025, 1100]) {
                let part = &bytes[start..start + length];
                assert_eq!(crc64(part), portable(0, part), "{length} bytes from {start}");
                assert_eq!(crc64_continued(!7, part), portable(!7, part), "{length} bytes from {start}, continued");
            }
        }
        let long = noise(100_003);
        assert_eq!(crc64(&long), portable(0, &long));
        assert_eq!(portable(0, &long[..3000]), by_bits(&long[..3000]));
    }

    proptest! {
        #[test]
        fn equals_the_definition_wherever_it_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(portable(0, &bytes), by_bits(&bytes));
            prop_assert_eq!(crc64(&bytes), by_bits(&bytes));
            prop_assert_eq!(crc64_continued(crc64(&bytes[..cut]), &bytes[cut..]), by_bits(&bytes));
        }

        #[test]
        fn multiplied_or_looked_up_it_is_the_same(
            bytes in prop::collection::vec(any::<u8>(), 0..5000), start in 0..64_usize, before: u64,
        ) {
            let part = &bytes[start.min(bytes.len())..];
            prop_assert_eq!(crc64_continued(before, part), portable(before, part));
        }
    }
}
