//! The CRC of the message body: 64 bits, ECMA-182.
//!
//! Polynomial 0x42F0E1EBA9EA3693, most significant bit first, start 0, no final exclusive-or. Sixteen bytes
//! a step ("slicing by 16"): table `k` holds the CRC of one byte followed by `k` zero bytes, and the CRC of
//! sixteen bytes is the exclusive-or of sixteen look-ups. The tables are built by the compiler, 32 KiB.

/// ECMA-182, without the leading bit.
const POLYNOMIAL: u64 = 0x42F0_E1EB_A9EA_3693;
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
pub fn crc64_continued(mut crc: u64, bytes: &[u8]) -> u64 {
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

    proptest! {
        #[test]
        fn equals_the_definition_wherever_it_is_cut(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(crc64(&bytes), by_bits(&bytes));
            prop_assert_eq!(crc64_continued(crc64(&bytes[..cut]), &bytes[cut..]), by_bits(&bytes));
        }
    }
}
