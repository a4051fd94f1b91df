//! Elements of one fixed size in a row: still on the wire, or the caller's own.
//!
//! A message that came in keeps its lists as the bytes that they came in, big-endian, and reads an element when it
//! is asked for it; one to be sent keeps a slice of the sender's. Both are the same type, so that what was decoded
//! can be sent on. **Allocation:** none. **Invariant:** what is on the wire is whole elements, checked when it was
//! decoded.

use crate::error::{DecodeError, EncodeError};
use crate::fields::Writer;
use crate::names::Name;
use std::fmt;

/// What a [`List`] may hold: numbers, arrays of them, names, and the elements of the protocol's lists.
pub trait Element<'a>: Copy + Sealed {
    /// Bytes on the wire.
    #[doc(hidden)]
    const SIZE: usize;
    /// From exactly [`Self::SIZE`] bytes.
    #[doc(hidden)]
    fn read(wire: &'a [u8]) -> Self;
    /// Into exactly [`Self::SIZE`] bytes, after [`Self::check`].
    #[doc(hidden)]
    fn write(&self, wire: &mut [u8]);
    /// Whether it can be written.
    #[doc(hidden)]
    fn check(&self) -> Result<(), EncodeError> {
        Ok(())
    }
    /// Whether the bytes, which lie at `offset` of the message, are one.
    #[doc(hidden)]
    fn look(_wire: &[u8], _offset: usize) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// The list of elements is the protocol's.
pub trait Sealed {}

/// Elements of one fixed size in a row.
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    kept: Kept<'a, T>,
}

#[derive(Clone, Copy)]
enum Kept<'a, T> {
    Wire(&'a [u8]),
    Own(&'a [T]),
}

impl<'a, T: Element<'a>> List<'a, T> {
    /// The caller's own, to be sent.
    #[must_use]
    pub const fn new(own: &'a [T]) -> Self {
        Self { kept: Kept::Own(own) }
    }

    /// From the wire; what is beyond the last whole element is left out, and was refused before.
    pub(crate) const fn wire(bytes: &'a [u8]) -> Self {
        Self { kept: Kept::Wire(bytes) }
    }

    /// Number of elements.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.kept {
            Kept::Wire(bytes) => bytes.len() / T::SIZE,
            Kept::Own(own) => own.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T> {
        match self.kept {
            Kept::Wire(bytes) => {
                let from = index.checked_mul(T::SIZE)?;
                bytes.get(from..from.checked_add(T::SIZE)?).map(T::read)
            }
            Kept::Own(own) => own.get(index).copied(),
        }
    }

    /// `count` of them from `first` on; `None` where there are not as many.
    #[must_use]
    pub fn part(&self, first: usize, count: usize) -> Option<Self> {
        let last = first.checked_add(count).filter(|last| *last <= self.len())?;
        let kept = match self.kept {
            Kept::Wire(bytes) => Kept::Wire(&bytes[first * T::SIZE..last * T::SIZE]),
            Kept::Own(own) => Kept::Own(&own[first..last]),
        };
        Some(Self { kept })
    }

    /// All of them, in order.
    #[must_use]
    pub fn iter(&self) -> Items<'a, T> {
        match self.kept {
            Kept::Wire(bytes) => Items { wire: bytes.chunks_exact(T::SIZE), own: [].iter() },
            Kept::Own(own) => Items { wire: [].chunks_exact(T::SIZE), own: own.iter() },
        }
    }

    /// The bytes as they came, big-endian; `None` for the caller's own.
    #[must_use]
    pub const fn wire_bytes(&self) -> Option<&'a [u8]> {
        match self.kept {
            Kept::Wire(bytes) => Some(bytes),
            Kept::Own(_) => None,
        }
    }

    /// Bytes on the wire.
    pub(crate) const fn size(&self) -> usize {
        self.len().saturating_mul(T::SIZE)
    }

    pub(crate) fn check(&self) -> Result<(), EncodeError> {
        match self.kept {
            Kept::Wire(_) => Ok(()),
            Kept::Own(own) => own.iter().try_for_each(T::check),
        }
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        match self.kept {
            Kept::Wire(bytes) => out.put(bytes),
            Kept::Own(own) => {
                let room = out.room(self.size());
                own.iter().zip(room.chunks_exact_mut(T::SIZE)).for_each(|(item, wire)| item.write(wire));
            }
        }
    }
}

impl<'a, T: Element<'a>> From<&'a [T]> for List<'a, T> {
    fn from(own: &'a [T]) -> Self {
        Self::new(own)
    }
}

impl<'a, T: Element<'a>> Default for List<'a, T> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<'a, T: Element<'a> + PartialEq> PartialEq for List<'a, T> {
    /// Whether the elements are the same, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, T: Element<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Element<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;
    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

/// Walks through a [`List`].
#[derive(Debug, Clone)]
pub struct Items<'a, T> {
    wire: std::slice::ChunksExact<'a, u8>,
    own: std::slice::Iter<'a, T>,
}

impl<'a, T: Element<'a>> Iterator for Items<'a, T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        match self.wire.next() {
            Some(wire) => Some(T::read(wire)),
            None => self.own.next().copied(),
        }
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.wire.len() + self.own.len();
        (left, Some(left))
    }
}

impl<'a, T: Element<'a>> ExactSizeIterator for Items<'a, T> {}

macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Sealed for $number {}
        impl<'a> Element<'a> for $number {
            const SIZE: usize = size_of::<$number>();
            #[inline]
            fn read(wire: &'a [u8]) -> Self {
                let mut bytes = [0; size_of::<$number>()];
                bytes.copy_from_slice(wire);
                Self::from_be_bytes(bytes)
            }
            #[inline]
            fn write(&self, wire: &mut [u8]) {
                wire.copy_from_slice(&self.to_be_bytes());
            }
        }
    )* };
}
numbers!(u8, i8, u16, i16, u32, i32, u64, f32, f64);

impl<T: Sealed, const N: usize> Sealed for [T; N] {}
impl<'a, T: Element<'a>, const N: usize> Element<'a> for [T; N] {
    const SIZE: usize = T::SIZE * N;
    #[inline]
    fn read(wire: &'a [u8]) -> Self {
        std::array::from_fn(|at| T::read(&wire[at * T::SIZE..(at + 1) * T::SIZE]))
    }
    #[inline]
    fn write(&self, wire: &mut [u8]) {
        self.iter().zip(wire.chunks_exact_mut(T::SIZE)).for_each(|(item, wire)| item.write(wire));
    }
}

impl<const N: usize> Sealed for Name<N> {}
impl<'a, const N: usize> Element<'a> for Name<N> {
    const SIZE: usize = N;
    fn read(wire: &'a [u8]) -> Self {
        Self::from_bytes("name", 0, wire).unwrap_or_default()
    }
    fn write(&self, wire: &mut [u8]) {
        wire.copy_from_slice(self.wire());
    }
    fn look(wire: &[u8], offset: usize) -> Result<(), DecodeError> {
        Self::from_bytes("name in a list", offset, wire).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TypeName;

    #[test]
    fn own_and_wire_say_the_same() {
        let own = [[1.5_f32, -2.0, 3.0], [4.0, 5.0, f32::INFINITY]];
        let own = List::new(&own);
        let mut bytes = [0; 24];
        own.write(&mut Writer::new(&mut bytes));
        assert_eq!(&bytes[..8], &[0x3F, 0xC0, 0, 0, 0xC0, 0, 0, 0]);
        let wire = List::<[f32; 3]>::wire(&bytes);
        assert_eq!((wire, wire.len(), wire.iter().len()), (own, 2, 2));
        assert_eq!((wire.get(1), wire.get(2)), (Some([4.0, 5.0, f32::INFINITY]), None));
        assert_eq!(wire.part(1, 1).map(|part| part.len()), Some(1));
        assert!(wire.part(1, 2).is_none() && wire.part(usize::MAX, 2).is_none() && wire.get(usize::MAX).is_none());
        assert!(wire != List::new(&[[1.5, -2.0, 3.0]]) && own.wire_bytes().is_none());
    }

    #[test]
    fn a_name_in_a_list_is_looked_at() {
        assert!(TypeName::look(b"TRANSFORM\0\0\0", 58).is_ok());
        let why = TypeName::look(b"TRA\nSFORM\0\0\0", 58);
        assert_eq!(why, Err(DecodeError::Name { field: "name in a list", offset: 61, value: b'\n' }));
    }
}
