//! Reads and writes big-endian fields one after the other.

use crate::error::DecodeError;

/// What is left to read, and where it lies in the message.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
    /// Offset of the next byte from the start of the message.
    pub(crate) offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { left: bytes, offset }
    }

    pub(crate) const fn left(&self) -> usize {
        self.left.len()
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.offset += self.left.len();
        std::mem::take(&mut self.left)
    }

    pub(crate) fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short { field, offset: self.offset, need: count, have: self.left.len() };
        let (taken, left) = self.left.split_at_checked(count).ok_or(short)?;
        self.left = left;
        self.offset += count;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], DecodeError> {
        let short = DecodeError::Short { field, offset: self.offset, need: N, have: self.left.len() };
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(short)?;
        self.left = left;
        self.offset += N;
        Ok(taken)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(|b| u16::from_be_bytes(*b))
    }
    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(|b| u32::from_be_bytes(*b))
    }
    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(|b| u64::from_be_bytes(*b))
    }
    pub(crate) fn f32s<const N: usize>(&mut self, field: &'static str) -> Result<[f32; N], DecodeError> {
        let mut values = [0.0; N];
        let bytes = self.bytes(4 * N, field)?;
        for (value, wire) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *value = f32::from_be_bytes(*wire);
        }
        Ok(values)
    }
}

/// Writes into a buffer whose length was checked before; running over its end is a programmer's error.
pub(crate) struct Writer<'a> {
    left: &'a mut [u8],
}

impl<'a> Writer<'a> {
    pub(crate) fn new(left: &'a mut [u8]) -> Self {
        Self { left }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let (here, left) = std::mem::take(&mut self.left).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        self.left = left;
    }

    pub(crate) fn f32s(&mut self, values: &[f32]) {
        for value in values {
            self.put(&value.to_be_bytes());
        }
    }

    /// Whether every byte has been written.
    pub(crate) fn full(&self) -> bool {
        self.left.is_empty()
    }
}
