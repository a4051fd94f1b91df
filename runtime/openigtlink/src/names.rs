//! Names of fixed width on the wire: the type of a message, and the device it comes from.

use crate::error::{DecodeError, EncodeError};
use std::fmt;

/// At most `N` bytes, filled up with zeros. Compares by what stands before the first zero.
#[derive(Clone, Copy)]
pub struct Name<const N: usize> {
    bytes: [u8; N],
    length: usize,
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
        Ok(Self { bytes, length: name.len() })
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
        Self { bytes, length: from.len() }
    }

    /// From the wire. Bytes after the first zero are taken as zeros: some senders leave old ones there.
    pub(crate) fn from_wire(field: &'static str, offset: usize, wire: &[u8; N]) -> Result<Self, DecodeError> {
        let length = wire.iter().position(|b| *b == 0).unwrap_or(N);
        if let Some(at) = wire[..length].iter().position(|b| !printable(*b)) {
            return Err(DecodeError::Name { field, offset: offset + at, value: wire[at] });
        }
        let mut bytes = [0; N];
        bytes[..length].copy_from_slice(&wire[..length]);
        Ok(Self { bytes, length })
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
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or("")
    }

    /// Whether there is no name.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
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
    fn what_follows_the_first_zero_is_no_part_of_the_name() {
        let name = TypeName::from_wire("TYPE", 2, b"STATUS\0junk\x01").expect("a name");
        assert_eq!(name, TypeName::constant("STATUS"));
        let why = TypeName::from_wire("TYPE", 2, b"STA\x07US\0\0\0\0\0\0").expect_err("a bell");
        assert_eq!(why, DecodeError::Name { field: "TYPE", offset: 5, value: 7 });
    }
}
