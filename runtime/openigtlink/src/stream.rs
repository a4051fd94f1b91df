//! Messages from a reader and into a writer, blocking.

use crate::error::{DecodeError, EncodeError};
use crate::framer::Framer;
use crate::message::{Message, Outgoing, encode, encoded_len};
use std::io::{self, Read, Write};

/// No message could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The message was refused. Read on unless [`Framer::lost`].
    #[error("message refused: {0}")]
    Refused(#[from] DecodeError),
    /// The stream ended inside a message.
    #[error("the stream ended inside a message: {have} of at least {need} bytes came")]
    CutShort {
        /// Bytes that came.
        have: usize,
        /// Bytes that the message has, as far as is known.
        need: usize,
    },
    /// Reading failed. After a time-out nothing is lost: call again.
    #[error("reading failed: {0}")]
    Io(#[from] io::Error),
}

/// No message could be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The message cannot be sent as it is.
    #[error(transparent)]
    Message(#[from] EncodeError),
    /// Writing failed; the other side may hold a part of the message: close the connection.
    #[error("writing failed: {0}")]
    Io(#[from] io::Error),
}

/// Waits for the next message; `None` when the stream ends between two messages.
///
/// # Errors
/// See [`ReadError`].
pub fn read_message<'f>(reader: &mut impl Read, framer: &'f mut Framer) -> Result<Option<Message<'f>>, ReadError> {
    while !framer.ready() {
        match framer.read_from(reader) {
            Ok(0) if framer.pending() == 0 => return Ok(None),
            Ok(0) => return Err(ReadError::CutShort { have: framer.pending(), need: framer.needed() }),
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(framer.next_message().transpose()?)
}

/// Writes one message through `scratch`, which grows to the longest message sent and is reused. Returns the
/// bytes written. Does not flush.
///
/// # Errors
/// See [`WriteError`].
pub fn write_message(
    writer: &mut impl Write,
    scratch: &mut Vec<u8>,
    message: &Outgoing<'_>,
) -> Result<usize, WriteError> {
    let length = encoded_len(message)?;
    if scratch.len() < length {
        scratch.resize(length, 0);
    }
    let length = encode(message, scratch)?;
    writer.write_all(&scratch[..length])?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, DeviceName, HEADER_SIZE, Timestamp};

    fn text(text: &str) -> Outgoing<'_> {
        Outgoing::plain(DeviceName::constant("console"), Timestamp(7), Content::String(text.into()))
    }

    #[test]
    fn what_was_written_is_read_to_the_end() {
        let (mut wire, mut scratch) = (Vec::new(), Vec::new());
        for words in ["first", "the second, which is longer", "3"] {
            write_message(&mut wire, &mut scratch, &text(words)).expect("a vector takes all");
        }
        let (mut reader, mut framer) = (wire.as_slice(), Framer::new(64));
        for words in ["first", "the second, which is longer", "3"] {
            let message = read_message(&mut reader, &mut framer).expect("read").expect("a message");
            assert_eq!(message.content, Content::String(words.into()));
        }
        assert!(read_message(&mut reader, &mut framer).expect("read").is_none());
    }

    #[test]
    fn a_stream_that_ends_inside_a_message_says_so() {
        let (mut wire, mut scratch) = (Vec::new(), Vec::new());
        write_message(&mut wire, &mut scratch, &text("cut")).expect("a vector takes all");
        wire.pop();
        let (mut reader, mut framer) = (wire.as_slice(), Framer::new(64));
        let why = read_message(&mut reader, &mut framer).expect_err("a byte is missing");
        assert!(matches!(why, ReadError::CutShort { have, need } if need == have + 1 && need == HEADER_SIZE + 7));
    }
}
