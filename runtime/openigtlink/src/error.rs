//! What is wrong with a message: which field, at which byte, what it holds, and what would be right.
//!
//! Offsets count from the first byte of the message's header.

use crate::names::TypeName;

/// The fields whose bytes may still be on their way: see [`DecodeError::needs_more`].
pub(crate) const HEADER: &str = "header";
/// See [`HEADER`].
pub(crate) const BODY: &str = "body";

/// Bytes that are no OpenIGTLink message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("{field} at byte {offset} needs {need} bytes and {have} are there")]
    Short {
        /// Which field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// Bytes that it needs.
        need: usize,
        /// Bytes that are left for it.
        have: usize,
    },
    /// A field holds a value that it may not hold.
    #[error("{field} at byte {offset} is {value}; {right}")]
    Value {
        /// Which field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// What it holds.
        value: u64,
        /// What would be right.
        right: &'static str,
    },
    /// A length does not agree with the room there is for what it measures.
    #[error("{field} at byte {offset} is {value}; {right} is {expected}")]
    Length {
        /// Which field.
        field: &'static str,
        /// Where it begins.
        offset: usize,
        /// What it holds.
        value: u64,
        /// What it has to agree with.
        right: &'static str,
        /// That other length.
        expected: u64,
    },
    /// The body is longer than the receiver takes.
    #[error("BODY_SIZE at byte 42 is {value}; this receiver takes at most {max} bytes")]
    BodyTooLong {
        /// What the header says.
        value: u64,
        /// The receiver's limit.
        max: usize,
    },
    /// The body is not what was sent.
    #[error("CRC at byte 50 is {header:#018x}; that of the {body_size} bytes of the body is {computed:#018x}")]
    Crc {
        /// What the header says.
        header: u64,
        /// What the body gives (ECMA-182).
        computed: u64,
        /// Length of the body.
        body_size: usize,
    },
    /// A name holds a byte that no name may hold.
    #[error("{field} holds {value:#04x} at byte {offset}; printable ASCII, filled up with zeros, is needed")]
    Name {
        /// Which field.
        field: &'static str,
        /// Where the byte is.
        offset: usize,
        /// The byte.
        value: u8,
    },
}

impl DecodeError {
    /// Whether this may still become a message when more bytes come: the header or the body is not all there.
    #[must_use]
    pub fn needs_more(&self) -> bool {
        matches!(self, Self::Short { field: HEADER | BODY, .. })
    }

    /// Whether the header itself is at fault, so that nobody knows where the next message begins.
    #[must_use]
    pub const fn loses_framing(&self) -> bool {
        match self {
            Self::BodyTooLong { .. } => true,
            Self::Crc { .. } => false,
            Self::Short { offset, .. }
            | Self::Value { offset, .. }
            | Self::Length { offset, .. }
            | Self::Name { offset, .. } => *offset < crate::HEADER_SIZE,
        }
    }
}

/// A message that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The caller's buffer is too small.
    #[error("the message takes {need} bytes and the buffer holds {have}")]
    BufferTooSmall {
        /// Bytes that the message takes.
        need: usize,
        /// Bytes that the buffer holds.
        have: usize,
    },
    /// Something is longer than its length field can say.
    #[error("{what} is {length} long; at most {max} can be sent")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        max: usize,
    },
    /// A text holds a zero, and would end there for the receiver.
    #[error("{what} holds a zero at byte {at}, which would end it")]
    Zero {
        /// Which text.
        what: &'static str,
        /// Where in the text.
        at: usize,
    },
    /// A field would hold a value that it may not hold: receivers would refuse it.
    #[error("{what} is {value}; {right}")]
    Value {
        /// Which field.
        what: &'static str,
        /// What it would hold.
        value: u64,
        /// What would be right.
        right: &'static str,
    },
    /// Two things of the content do not agree.
    #[error("{what} is {value}; {right} is {expected}")]
    Differs {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: u64,
        /// What it has to agree with.
        right: &'static str,
        /// That other value.
        expected: u64,
    },
    /// A type's name does not go with the content.
    #[error("a message of type {name} cannot carry this content; {right}")]
    TypeName {
        /// The name.
        name: TypeName,
        /// What would be right.
        right: &'static str,
    },
    /// Header version 1 has no place for it.
    #[error("header version 1 carries neither metadata nor a message id; send version 2")]
    NeedsVersion2,
    /// A name that does not fit its field.
    #[error("the name {name:?} does not fit: 1 to {max} bytes of printable ASCII are needed")]
    Name {
        /// The name.
        name: String,
        /// Bytes of the field.
        max: usize,
    },
}
