//! What header version 2 adds inside the body: an extended header before the content, metadata behind it.
//!
//! ```text
//! extended header:  EXT_HEADER_SIZE u16 | METADATA_HEADER_SIZE u16 | METADATA_SIZE u32 | MSG_ID u32
//! metadata index:   INDEX_COUNT u16 | INDEX_COUNT × (KEY_SIZE u16, VALUE_ENCODING u16, VALUE_SIZE u32)
//! metadata:         INDEX_COUNT × (key, value)
//! ```
//!
//! An extended header longer than 12 bytes is a later protocol's: what follows the twelfth is skipped. An
//! index of no bytes at all counts as an index of no entries.

use crate::error::DecodeError;
use crate::fields::Reader;
use crate::header::HEADER_SIZE;

/// Bytes of the extended header that this protocol defines.
pub const EXTENDED_HEADER_SIZE: usize = 12;
/// Bytes of INDEX_COUNT.
pub(crate) const INDEX_HEAD: usize = 2;
/// Bytes of one entry of the index.
pub(crate) const INDEX_ENTRY: usize = 8;

/// The extended header and the metadata of a message of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended<'a> {
    /// The sender's number of this message.
    pub message_id: u32,
    /// Keys and values.
    pub metadata: Metadata<'a>,
}

/// One key and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Key; ASCII by the protocol, not checked.
    pub key: &'a [u8],
    /// How the value is written: see [`crate::encoding`].
    pub encoding: u16,
    /// Value, in that encoding, not checked.
    pub value: &'a [u8],
}

/// Keys and values, still in the bytes of the message; all lengths have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata<'a> {
    index: &'a [[u8; INDEX_ENTRY]],
    pairs: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// Number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// All entries in their order on the wire.
    #[must_use]
    pub fn iter(&self) -> Entries<'a> {
        Entries { index: self.index.iter(), pairs: self.pairs }
    }

    /// The first value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a [u8]> {
        self.iter().find(|entry| entry.key == key.as_bytes()).map(|entry| entry.value)
    }
}

impl<'a> IntoIterator for Metadata<'a> {
    type Item = Entry<'a>;
    type IntoIter = Entries<'a>;
    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// Walks through [`Metadata`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    index: std::slice::Iter<'a, [u8; INDEX_ENTRY]>,
    pairs: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;
    fn next(&mut self) -> Option<Entry<'a>> {
        let (key_size, encoding, value_size) = sizes(self.index.next()?);
        let (key, pairs) = self.pairs.split_at_checked(key_size)?;
        let (value, pairs) = pairs.split_at_checked(value_size)?;
        self.pairs = pairs;
        Some(Entry { key, encoding, value })
    }
}

/// Key's size, value's encoding, value's size.
fn sizes(&[k0, k1, e0, e1, v0, v1, v2, v3]: &[u8; INDEX_ENTRY]) -> (usize, u16, usize) {
    let value_size = u32::from_be_bytes([v0, v1, v2, v3]);
    (u16::from_be_bytes([k0, k1]).into(), u16::from_be_bytes([e0, e1]), value_size as usize)
}

/// Splits a body of version 2; the reader that comes back holds the content alone.
pub(crate) fn split(body: &[u8]) -> Result<(Extended<'_>, Reader<'_>), DecodeError> {
    let mut fields = Reader::new(body, HEADER_SIZE);
    let extended_size = usize::from(fields.u16("EXT_HEADER_SIZE")?);
    let index_size = usize::from(fields.u16("METADATA_HEADER_SIZE")?);
    let metadata_size = fields.u32("METADATA_SIZE")?;
    let message_id = fields.u32("MSG_ID")?;
    if extended_size < EXTENDED_HEADER_SIZE {
        let right = "it counts itself and has 12 bytes at least";
        let value = extended_size as u64;
        return Err(DecodeError::Value { field: "EXT_HEADER_SIZE", offset: HEADER_SIZE, value, right });
    }
    fields.bytes(extended_size - EXTENDED_HEADER_SIZE, "extended header")?;
    let room = fields.left();
    let too_long = |field, offset, value: u64, room: usize| DecodeError::Length {
        field,
        offset,
        value,
        right: "the room left in the body for metadata",
        expected: room as u64,
    };
    let Some(room_for_pairs) = room.checked_sub(index_size) else {
        return Err(too_long("METADATA_HEADER_SIZE", HEADER_SIZE + 2, index_size as u64, room));
    };
    let pairs_size = metadata_size as usize;
    let Some(content_size) = room_for_pairs.checked_sub(pairs_size) else {
        return Err(too_long("METADATA_SIZE", HEADER_SIZE + 4, metadata_size.into(), room_for_pairs));
    };
    let content_at = fields.offset;
    let content = fields.bytes(content_size, "content")?;
    let metadata = metadata(&mut fields, index_size, pairs_size)?;
    Ok((Extended { message_id, metadata }, Reader::new(content, content_at)))
}

fn metadata<'a>(fields: &mut Reader<'a>, index_size: usize, pairs_size: usize) -> Result<Metadata<'a>, DecodeError> {
    let index_at = fields.offset;
    let mut head = Reader::new(fields.bytes(index_size, "metadata index")?, index_at);
    let count = if index_size == 0 { 0 } else { usize::from(head.u16("INDEX_COUNT")?) };
    let (index, odd) = head.rest().as_chunks::<INDEX_ENTRY>();
    if index.len() != count || !odd.is_empty() {
        return Err(DecodeError::Length {
            field: "METADATA_HEADER_SIZE",
            offset: HEADER_SIZE + 2,
            value: index_size as u64,
            right: "the size of INDEX_COUNT entries, 2 + 8 × INDEX_COUNT,",
            expected: (INDEX_HEAD + INDEX_ENTRY * count) as u64,
        });
    }
    // At most 8191 entries of less than 2³³ bytes: below 2⁴⁶.
    let sum: u64 = index.iter().map(sizes).map(|(key, _, value)| key as u64 + value as u64).sum();
    if sum != pairs_size as u64 {
        return Err(DecodeError::Length {
            field: "METADATA_SIZE",
            offset: HEADER_SIZE + 4,
            value: pairs_size as u64,
            right: "the sum of all keys and values in the index",
            expected: sum,
        });
    }
    Ok(Metadata { index, pairs: fields.rest() })
}
