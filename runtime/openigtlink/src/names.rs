//! Names of fixed width on the wire: the type of a message, and the device it comes from.

use crate::error::{DecodeError, EncodeError};
use std::fmt;

/// At most `N` bytes, filled up with zeros. Compares by what stands before the first zero.
#[derive(Clone, Copy)]
pub struct Name<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

/// The message's type, as `TRANSFORM`.
pub type TypeName = Name<12>;
/// The device, as `StylusTipToReference`. The protocol has 20 bytes; senders cut what is longer.
pub type DeviceName = Name<20>;

impl<const N: usize> Name<N> {
    /// A name of 1 to `N` bytes of printable ASCII.
    ///
    /// # Errors
    /// [`EncodeError::Name`] when it is not.
    pub fn new(name: &str) -> Result<Self, EncodeError> {
        if name.is_empty() || name.len() > N || name.bytes().any(|b| !printable(b)) {
            return Err(EncodeError::Name { name: name.to_owned(), max: N });
        }
        let mut bytes = [0; N];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes, length: name.len() as u8 })
    }

    /// A name of the program itself.
    ///
    /// # Panics
    /// When it does not fit; in a `const` that is a compile error.
    #[must_use]
    pub const fn constant(name: &str) -> Self {
        let from = name.as_bytes();
        assert!(!from.is_empty() && from.len() <= N, "a constant name must fit its field");
        let mut bytes = [0; N];
        let mut at = 0;
        while at < from.len() {
            assert!(printable(from[at]), "a constant name must be printable ASCII");
            bytes[at] = from[at];
            at += 1;
        }
        Self { bytes, length: from.len() as u8 }
    }

    /// From the wire. Bytes after the first zero are taken as zeros: some senders leave old ones there.
    #[inline]
    pub(crate) fn from_wire(field: &'static str, offset: usize, wire: &[u8; N]) -> Result<Self, DecodeError> {
        let (words, odd) = wire.as_chunks::<4>();
        let (mut length, mut ended, mut behind) = (0_u8, !odd.is_empty(), u32::from(!odd.is_empty()));
        for word in words {
            let word = u32::from_le_bytes(*word);
            if ended {
                behind |= word;
                continue;
            }
            // Bits of the printable bytes in front: 32 where all four are.
            let bits = not_printable(word).trailing_zeros() & !7;
            length += (bits / 8) as u8;
            (ended, behind) = (bits < 32, word.checked_shr(bits).unwrap_or(0));
        }
        if behind == 0 { Ok(Self { bytes: *wire, length }) } else { Self::from_any(field, offset, wire) }
    }

    /// The same for a name that is followed by more than zeros, or is none.
    #[cold]
    fn from_any(field: &'static str, offset: usize, wire: &[u8; N]) -> Result<Self, DecodeError> {
        let length = wire.iter().position(|b| *b == 0).unwrap_or(N);
        if let Some(at) = wire[..length].iter().position(|b| !printable(*b)) {
            return Err(DecodeError::Name { field, offset: offset + at, value: wire[at] });
        }
        let mut bytes = [0; N];
        bytes[..length].copy_from_slice(&wire[..length]);
        Ok(Self { bytes, length: length as u8 })
    }

    /// As [`Self::from_wire`], of at most `N` bytes.
    pub(crate) fn from_bytes(field: &'static str, offset: usize, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut wire = [0; N];
        let Some(here) = wire.get_mut(..bytes.len()) else {
            let right = "the bytes that a name may have at most";
            let (value, expected) = (bytes.len() as u64, N as u64);
            return Err(DecodeError::Length { field, offset, value, right, expected });
        };
        here.copy_from_slice(bytes);
        Self::from_wire(field, offset, &wire)
    }

    /// All `N` bytes, as they go onto the wire.
    #[must_use]
    pub const fn wire(&self) -> &[u8; N] {
        &self.bytes
    }

    /// The name without its filling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Printable ASCII by construction, so this is always the text.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }

    /// Whether there is no name.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Name<12> {
    /// The name as one number, by which types are told apart.
    pub(crate) const fn key(&self) -> u128 {
        let mut key = 0;
        let mut at = 0;
        while at < 12 {
            key = key << 8 | self.bytes[at] as u128;
            at += 1;
        }
        key
    }
}

const _: () = assert!(u8::MAX as usize > 20, "a name's length fits a byte");

/// The highest bit of each byte that is not printable ASCII; no byte carries into the next, 0x7F + 0x60 being 0xDF.
const fn not_printable(word: u32) -> u32 {
    let low = word & 0x7F7F_7F7F;
    let from_space = low + 0x6060_6060;
    let delete = low + 0x0101_0101;
    (!from_space | delete | word) & 0x8080_8080
}

const fn printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

impl<const N: usize> Default for Name<N> {
    /// No name: a device may have none.
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}
impl<const N: usize> PartialEq for Name<N> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl<const N: usize> Eq for Name<N> {}
impl<const N: usize> fmt::Display for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl<const N: usize> fmt::Debug for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_fit_is_refused_with_the_limit() {
        assert!(DeviceName::new("StylusTipToReference").is_ok());
        let why = DeviceName::new("StylusTipToReference1").expect_err("21 bytes");
        assert!(why.to_string().contains("1 to 20 bytes"), "{why}");
        assert!(TypeName::new("").is_err() && TypeName::new("NaÏve").is_err() && TypeName::new("A\0B").is_err());
    }

    #[test]
    fn every_byte_at_every_place_is_told_apart() {
        for at in 0..20 {
            for value in 0..=255_u8 {
                let mut wire = *b"StylusTipToReference";
                wire[at] = value;
                let taken = DeviceName::from_wire("DEVICE_NAME", 14, &wire).map(|name| name.as_str().to_owned());
                match value {
                    0 => assert_eq!(taken.as_deref(), Ok(&"StylusTipToReference"[..at])),
                    b' '..=b'~' => assert_eq!(taken.map(String::into_bytes), Ok(wire.to_vec())),
                    _ => assert_eq!(taken, Err(DecodeError::Name { field: "DEVICE_NAME", offset: 14 + at, value })),
                }
                let mut short = [0; 12];
                short[..at.min(12)].fill(b'A');
                if at < 12 {
                    short[at] = value;
                    let taken = TypeName::from_wire("TYPE", 2, &short).is_ok();
                    assert_eq!(taken, value == 0 || printable(value), "{value} at {at}");
                }
            }
        }
    }

    #[test]
    fn what_follows_the_first_zero_is_no_part_of_the_name() {
        let name = TypeName::from_wire("TYPE", 2, b"STATUS\0junk\x01").expect("a name");
        assert_eq!(name, TypeName::constant("STATUS"));
        let why = TypeName::from_wire("TYPE", 2, b"STA\x07US\0\0\0\0\0\0").expect_err("a bell");
        assert_eq!(why, DecodeError::Name { field: "TYPE", offset: 5, value: 7 });
    }
}
