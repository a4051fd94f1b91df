//! Whole messages: from bytes, and into bytes.

use crate::content::Content;
use crate::crc::crc64;
use crate::error::{DecodeError, EncodeError};
use crate::extended::{self, EXTENDED_HEADER_SIZE, Entry, Extended, INDEX_ENTRY, INDEX_HEAD};
use crate::fields::{Reader, Writer, within};
use crate::header::{HEADER_SIZE, Header, Version};
use crate::names::DeviceName;
use crate::options::{Checksum, DecodeOptions};
use crate::timestamp::Timestamp;

/// A message that has come in. Texts and bytes are borrowed from what it was decoded from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Message<'a> {
    /// Its header.
    pub header: Header,
    /// Message id and metadata; `None` in version 1.
    pub extended: Option<Extended<'a>>,
    /// What it says.
    pub content: Content<'a>,
}

impl<'a> Message<'a> {
    /// The first value under `key` in the metadata.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&'a [u8]> {
        self.extended.and_then(|extended| extended.metadata.get(key))
    }
}

/// A message to be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outgoing<'a> {
    /// Version of the header; old receivers take version 1 only.
    pub version: Version,
    /// Who sends it.
    pub device: DeviceName,
    /// When it was measured.
    pub timestamp: Timestamp,
    /// The sender's number of this message; 0 in version 1.
    pub message_id: u32,
    /// Keys and values; none in version 1.
    pub metadata: &'a [Entry<'a>],
    /// What it says.
    pub content: Content<'a>,
}

impl<'a> Outgoing<'a> {
    /// Version 1, without metadata: what every receiver takes.
    #[must_use]
    pub const fn plain(device: DeviceName, timestamp: Timestamp, content: Content<'a>) -> Self {
        Self { version: Version::V1, device, timestamp, message_id: 0, metadata: &[], content }
    }
}

/// Decodes the message that `bytes` begin with; [`HEADER_SIZE`]` + header.body_size` of them belong to it.
///
/// Looks in this order: header, length, CRC, extended header and metadata, content. Allocates nothing.
///
/// # Errors
/// What is wrong first; [`DecodeError::needs_more`] where the message is not all there.
#[inline]
pub fn decode(bytes: &[u8], max_body: usize) -> Result<Message<'_>, DecodeError> {
    decode_with(bytes, &DecodeOptions::strict(max_body))
}

/// As [`decode`], less strict where the options say so.
///
/// # Errors
/// As [`decode`].
#[inline]
pub fn decode_with<'a>(bytes: &'a [u8], options: &DecodeOptions) -> Result<Message<'a>, DecodeError> {
    decode_body(Header::decode(bytes, options.max_body)?, bytes.get(HEADER_SIZE..).unwrap_or(&[]), options)
}

/// Decodes what follows a header.
pub(crate) fn decode_body<'a>(
    header: Header,
    behind: &'a [u8],
    options: &DecodeOptions,
) -> Result<Message<'a>, DecodeError> {
    let body = Reader::new(behind, HEADER_SIZE).bytes(header.body_size, crate::error::BODY)?;
    if options.checksum == Checksum::Checked {
        let computed = crc64(body);
        if computed != header.crc {
            return Err(DecodeError::Crc { header: header.crc, computed, body_size: body.len() });
        }
    }
    let (extended, content) = match header.version {
        Version::V1 => (None, Reader::new(body, HEADER_SIZE)),
        Version::V2 => extended::split(body).map(|(extended, content)| (Some(extended), content))?,
    };
    Ok(Message { header, extended, content: Content::decode(header.type_name, content, options.peer)? })
}

/// Sizes of the parts of a body.
struct Sizes {
    content: usize,
    index: usize,
    pairs: usize,
    body: usize,
}

fn sizes(message: &Outgoing<'_>) -> Result<Sizes, EncodeError> {
    let content = message.content.size()?;
    if message.version == Version::V1 {
        if message.message_id != 0 || !message.metadata.is_empty() {
            return Err(EncodeError::NeedsVersion2);
        }
        return Ok(Sizes { content, index: 0, pairs: 0, body: content });
    }
    let index_entries_max = (u16::MAX as usize - INDEX_HEAD) / INDEX_ENTRY;
    within("the list of metadata", message.metadata.len(), index_entries_max)?;
    let mut pairs = 0_usize;
    for entry in message.metadata {
        within("a metadata key", entry.key.len(), u16::MAX.into())?;
        within("a metadata value", entry.value.len(), u32::MAX as usize)?;
        pairs = pairs.saturating_add(entry.key.len()).saturating_add(entry.value.len());
    }
    within("the metadata", pairs, u32::MAX as usize)?;
    let index = INDEX_HEAD + INDEX_ENTRY * message.metadata.len();
    Ok(Sizes {
        content,
        index,
        pairs,
        body: content.saturating_add(EXTENDED_HEADER_SIZE + index).saturating_add(pairs),
    })
}

/// Bytes that [`encode`] will write.
///
/// # Errors
/// When the message cannot be written: see [`encode`].
pub fn encoded_len(message: &Outgoing<'_>) -> Result<usize, EncodeError> {
    sizes(message).map(|sizes| sizes.body.saturating_add(HEADER_SIZE))
}

/// Writes a message into `out` and returns how many bytes it took. Allocates nothing.
///
/// # Errors
/// When `out` is too small, when something is longer than its length field can say, when version 1 should
/// carry metadata, when a receiver would refuse the content. Nothing has been written then.
#[inline]
pub fn encode(message: &Outgoing<'_>, out: &mut [u8]) -> Result<usize, EncodeError> {
    encode_with(message, out, Checksum::Checked)
}

/// As [`encode`], with the CRC or, trusted, with 0 in its place.
///
/// # Errors
/// As [`encode`].
pub fn encode_with(message: &Outgoing<'_>, out: &mut [u8], checksum: Checksum) -> Result<usize, EncodeError> {
    let sizes = sizes(message)?;
    let (need, have) = (sizes.body.saturating_add(HEADER_SIZE), out.len());
    let too_small = EncodeError::BufferTooSmall { need, have };
    let Some((header, behind)) = out.split_first_chunk_mut::<HEADER_SIZE>() else { return Err(too_small) };
    let Some(body) = behind.get_mut(..sizes.body) else { return Err(too_small) };
    let mut fields = Writer::new(body);
    if message.version == Version::V2 {
        fields.put(&(EXTENDED_HEADER_SIZE as u16).to_be_bytes());
        fields.put(&(sizes.index as u16).to_be_bytes());
        fields.put(&(sizes.pairs as u32).to_be_bytes());
        fields.put(&message.message_id.to_be_bytes());
    }
    message.content.encode(&mut fields);
    if message.version == Version::V2 {
        fields.put(&(message.metadata.len() as u16).to_be_bytes());
        for entry in message.metadata {
            fields.put(&(entry.key.len() as u16).to_be_bytes());
            fields.put(&entry.encoding.to_be_bytes());
            fields.put(&(entry.value.len() as u32).to_be_bytes());
        }
        for entry in message.metadata {
            fields.put(entry.key);
            fields.put(entry.value);
        }
    }
    debug_assert!(fields.full(), "{} bytes of content were announced", sizes.content);
    Header {
        version: message.version,
        type_name: message.content.type_name(),
        device: message.device,
        timestamp: message.timestamp,
        body_size: sizes.body,
        crc: if checksum == Checksum::Checked { crc64(body) } else { 0 },
    }
    .encode(header);
    Ok(need)
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
