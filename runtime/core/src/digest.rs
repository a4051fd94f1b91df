//! SHA-256 over canonical bytes: what an approval, a scene and a configuration are bound by.
//!
//! Numbers are written little-endian, sequences with their length first, so that two different values
//! never have the same bytes. Source: FIPS 180-4, by the `sha2` crate.

use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of bare bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first eight bytes in hexadecimal, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Builds a [`Digest`] value by value. Allocates nothing.
#[derive(Clone)]
pub struct Digester(Sha256);

impl Digester {
    /// `domain` keeps digests of different things apart.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        let mut digester = Self(Sha256::new());
        digester.text(domain);
        digester
    }
    /// Bytes, with their number first.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }
    /// UTF-8, with its number of bytes first.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }
    /// A whole number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.update(value.to_le_bytes());
        self
    }
    /// The bits of a float.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.u64(value.to_bits())
    }
    /// The bits of floats, without their number: for vectors of a fixed length.
    pub fn f64s<'a>(&mut self, values: impl IntoIterator<Item = &'a f64>) -> &mut Self {
        let mut block = [0_u8; 256];
        let mut filled = 0;
        for value in values {
            block[filled..filled + 8].copy_from_slice(&value.to_bits().to_le_bytes());
            filled += 8;
            if filled == block.len() {
                self.0.update(block);
                filled = 0;
            }
        }
        self.0.update(&block[..filled]);
        self
    }
    /// Sizes, without their number.
    pub fn sizes(&mut self, sizes: &[usize]) -> &mut Self {
        for size in sizes {
            self.u64(*size as u64);
        }
        self
    }
    /// Whole numbers of 16 bits, with their number first.
    pub fn i16s(&mut self, values: &[i16]) -> &mut Self {
        self.u64(values.len() as u64);
        let mut block = [0_u8; 512];
        for chunk in values.chunks(256) {
            for (to, value) in block.chunks_exact_mut(2).zip(chunk) {
                to.copy_from_slice(&value.to_le_bytes());
            }
            self.0.update(&block[..chunk.len() * 2]);
        }
        self
    }
    /// Another digest.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.0.update(digest.0);
        self
    }
    /// The digest of everything so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(self.0.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), known);
    }

    #[test]
    fn floats_in_blocks_are_floats_one_by_one() {
        let values: Vec<f64> = (0..77).map(|v| f64::from(v) * 0.1).collect();
        let mut one_by_one = Digester::new("t");
        values.iter().for_each(|v| {
            one_by_one.f64(*v);
        });
        assert_eq!(Digester::new("t").f64s(&values).finish(), one_by_one.finish());
    }

    #[test]
    fn where_one_value_ends_matters() {
        let of = |a: &str, b: &str| Digester::new("test").text(a).text(b).finish();
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_ne!(Digester::new("a").finish(), Digester::new("b").finish());
    }

    #[test]
    fn numbers_of_16_bits_are_hashed_whole() {
        let mut values: Vec<i16> = (0..1000).collect();
        let before = Digester::new("t").i16s(&values).finish();
        values[999] += 1;
        assert_ne!(before, Digester::new("t").i16s(&values).finish());
    }
}
