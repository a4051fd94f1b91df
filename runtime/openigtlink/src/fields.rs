//! Reads and writes big-endian fields one after the other.

use crate::error::{DecodeError, EncodeError};
use crate::list::{Element, List};

/// What is left to read, and where it lies in the message.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    /// Offset of the next byte from the start of the message.
    pub(crate) offset: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { left: bytes, offset }
    }

    #[inline]
    pub(crate) const fn left(&self) -> usize {
        self.left.len()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.offset += self.left.len();
        std::mem::take(&mut self.left)
    }

    #[inline]
    pub(crate) fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { field, offset: self.offset, need: count, have: self.left.len() };
        let (taken, left) = self.left.split_at_checked(count).ok_or(short)?;
        self.left = left;
        self.offset += count;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], DecodeError> {
        let short = DecodeError::Short { field, offset: self.offset, need: N, have: self.left.len() };
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(short)?;
        self.left = left;
        self.offset += N;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(|b| u16::from_be_bytes(*b))
    }
    #[inline]
    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(|b| u32::from_be_bytes(*b))
    }
    #[inline]
    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(|b| u64::from_be_bytes(*b))
    }
    /// `count` elements.
    pub(crate) fn list<T: Element<'a>>(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<List<'a, T>, DecodeError> {
        let offset = self.offset;
        let bytes = self.bytes(count.saturating_mul(T::SIZE), field)?;
        for (at, wire) in bytes.chunks_exact(T::SIZE).enumerate() {
            T::look(wire, offset + at * T::SIZE)?;
        }
        Ok(List::wire(bytes))
    }

    /// As many elements as are left, of which there are only whole ones.
    pub(crate) fn rest_list<T: Element<'a>>(
        &mut self,
        field: &'static str,
        right: &'static str,
    ) -> Result<List<'a, T>, DecodeError> {
        let size = self.left();
        if !size.is_multiple_of(T::SIZE) {
            return Err(DecodeError::Value { field, offset: self.offset, value: size as u64, right });
        }
        self.list(size / T::SIZE, field)
    }

    /// The byte that makes a part's size even, where it is odd: a zero.
    pub(crate) fn even(&mut self, size: usize, field: &'static str) -> Result<(), DecodeError> {
        if size.is_multiple_of(2) {
            return Ok(());
        }
        let offset = self.offset;
        match self.array(field)? {
            [0] => Ok(()),
            [value] => {
                let right = "0 is needed where it makes a size even";
                Err(DecodeError::Value { field, offset, value: (*value).into(), right })
            }
        }
    }

    /// Refuses what is left, if anything is.
    pub(crate) fn end(&self, field: &'static str, right: &'static str) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Length { field, offset: self.offset, value: left as u64, right, expected: 0 }),
        }
    }

    #[inline]
    pub(crate) fn f32s<const N: usize>(&mut self, field: &'static str) -> Result<[f32; N], DecodeError> {
        let mut values = [0.0; N];
        let bytes = self.bytes(4 * N, field)?;
        for (value, wire) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_be_bytes(*wire);
        }
        Ok(values)
    }
}

/// Cuts an element, whose length was checked before, into its fields; running over its end is a programmer's error.
pub(crate) struct Cut<'a>(pub(crate) &'a [u8]);

impl<'a> Cut<'a> {
    #[inline]
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (here, behind) = self.0.split_at(count);
        self.0 = behind;
        here
    }

    /// A text of a fixed size, up to its first zero.
    pub(crate) fn text(&mut self, size: usize) -> &'a [u8] {
        until_zero(self.bytes(size))
    }

    #[inline]
    pub(crate) fn take<T: Element<'a>>(&mut self) -> T {
        T::read(self.bytes(T::SIZE))
    }
}

/// What stands before the first zero.
pub(crate) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

/// Whether a text fits a field of `max` bytes in which zeros end it.
pub(crate) fn text_fits(what: &'static str, text: &[u8], max: usize) -> Result<(), EncodeError> {
    within(what, text.len(), max)?;
    match text.iter().position(|byte| *byte == 0) {
        None => Ok(()),
        Some(at) => Err(EncodeError::Zero { what, at }),
    }
}

pub(crate) const fn within(what: &'static str, length: usize, max: usize) -> Result<(), EncodeError> {
    if length > max { Err(EncodeError::TooLong { what, length, max }) } else { Ok(()) }
}

/// Writes into a buffer whose length was checked before; running over its end is a programmer's error.
pub(crate) struct Writer<'a> {
    left: &'a mut [u8],
}

impl<'a> Writer<'a> {
    #[inline]
    pub(crate) fn new(left: &'a mut [u8]) -> Self {
        Self { left }
    }

    /// The next `count` bytes, for somebody else to write.
    #[inline]
    pub(crate) fn room(&mut self, count: usize) -> &'a mut [u8] {
        let (here, left) = std::mem::take(&mut self.left).split_at_mut(count);
        self.left = left;
        here
    }

    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    #[inline]
    pub(crate) fn item<'e, T: Element<'e>>(&mut self, item: &T) {
        item.write(self.room(T::SIZE));
    }

    /// A text, filled up with zeros.
    pub(crate) fn text(&mut self, text: &[u8], size: usize) {
        let room = self.room(size);
        let (here, filling) = room.split_at_mut(text.len());
        here.copy_from_slice(text);
        filling.fill(0);
    }

    /// Whether every byte has been written.
    #[inline]
    pub(crate) fn full(&self) -> bool {
        self.left.is_empty()
    }
}
