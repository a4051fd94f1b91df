//! Cuts a stream of bytes into messages.
//!
//! Bytes go in as a socket hands them over, in pieces of any size; messages come out one by one, borrowed
//! from the framer's buffer.
//!
//! **Policy.** OpenIGTLink has no mark that says "a message begins here"; only the header tells where the
//! next one is.
//! - A message whose header is right and whose body is not (CRC, extended header, metadata, content) is
//!   refused, and the framer goes on behind it: the boundary is known.
//! - A header that is wrong (version, names, a body longer than the limit) loses the boundary. The framer
//!   refuses it once and is [`lost`](Framer::lost) from then on: it takes no more bytes and gives no more
//!   messages. Searching for something that looks like a header would sooner or later take one out of an
//!   image's pixels; close the connection, a new one starts at a boundary.
//!
//! **Bounds:** one buffer of at most [`HEADER_SIZE`]` + max_body` bytes. It grows by doubling, only when it
//! is full of bytes that have arrived: a header that announces much and brings nothing costs nothing.

use crate::error::DecodeError;
use crate::header::{HEADER_SIZE, Header};
use crate::message::{Message, decode_body};
use crate::options::DecodeOptions;
use std::io::{self, Read};

/// First size of the buffer: some forty TRANSFORM messages.
const START: usize = 4096;

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Bytes `start..end` of the buffer have arrived and are not yet consumed.
    start: usize,
    end: usize,
    options: DecodeOptions,
    lost: bool,
}

impl Framer {
    /// Takes bodies of at most `max_body` bytes.
    #[must_use]
    pub fn new(max_body: usize) -> Self {
        Self::with_options(DecodeOptions::strict(max_body))
    }

    /// Takes what the options let pass.
    #[must_use]
    pub fn with_options(options: DecodeOptions) -> Self {
        let max_body = options.max_body.min(usize::MAX - HEADER_SIZE);
        let options = DecodeOptions { max_body, ..options };
        Self { buffer: vec![0; START.min(HEADER_SIZE + max_body)], start: 0, end: 0, options, lost: false }
    }

    /// Whether the boundary between messages is lost: the connection has to be closed.
    #[must_use]
    pub const fn lost(&self) -> bool {
        self.lost
    }

    /// Bytes that have arrived and belong to no message that was handed out.
    #[must_use]
    pub const fn pending(&self) -> usize {
        self.end - self.start
    }

    /// Bytes that its buffer takes at present.
    #[must_use]
    pub fn buffered_max(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets everything, for a new connection; keeps the buffer.
    pub const fn reset(&mut self) {
        self.start = 0;
        self.end = 0;
        self.lost = false;
    }

    /// Whether [`next_message`](Self::next_message) has something to say.
    #[must_use]
    pub fn ready(&self) -> bool {
        match self.header() {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(header)) => self.pending() - HEADER_SIZE >= header.body_size,
        }
    }

    /// The header at the front, when it is all there.
    fn header(&self) -> Option<Result<Header, DecodeError>> {
        let pending = &self.buffer[self.start..self.end];
        (!self.lost && pending.len() >= HEADER_SIZE).then(|| Header::decode(pending, self.options.max_body))
    }

    /// The next message, or why it was refused; `None` when more bytes are needed or the boundary is lost.
    pub fn next_message(&mut self) -> Option<Result<Message<'_>, DecodeError>> {
        let header = match self.header()? {
            Ok(header) => header,
            Err(why) => {
                self.lost = true;
                return Some(Err(why));
            }
        };
        let length = HEADER_SIZE + header.body_size;
        if self.pending() < length {
            return None;
        }
        let begin = self.start;
        self.start += length;
        Some(decode_body(header, &self.buffer[begin + HEADER_SIZE..begin + length], &self.options))
    }

    /// Room for more bytes behind those that wait; none when a whole message waits in a full buffer, or
    /// when the boundary is lost.
    fn room(&mut self) -> &mut [u8] {
        if self.lost {
            return &mut [];
        }
        if self.start > 0 && (self.start == self.end || self.end == self.buffer.len()) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let limit = HEADER_SIZE + self.options.max_body;
        if self.end == self.buffer.len() && self.end < limit {
            self.buffer.resize(self.end.saturating_mul(2).clamp(HEADER_SIZE, limit), 0);
        }
        &mut self.buffer[self.end..]
    }

    /// Takes as many bytes as there is room for, and returns how many. After `next_message` gave `None`
    /// that is one at least, unless the boundary is lost.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            let room = self.room();
            let count = room.len().min(bytes.len() - taken);
            if count == 0 {
                break;
            }
            room[..count].copy_from_slice(&bytes[taken..taken + count]);
            self.end += count;
            taken += count;
        }
        taken
    }

    /// Reads once, straight into the buffer. Call it when [`ready`](Self::ready) says no. `Ok(0)` is the
    /// end of the stream.
    ///
    /// # Errors
    /// The reader's own; `InvalidData` when the boundary is lost; `InvalidInput` when the buffer is full of
    /// messages that nobody took.
    pub fn read_from(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        if self.lost {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the boundary between messages is lost"));
        }
        let room = self.room();
        if room.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message waits: take it before reading on"));
        }
        let most = room.len();
        let count = reader.read(room)?.min(most);
        self.end += count;
        Ok(count)
    }

    /// Bytes of the message at the front: those needed in all, as far as is known.
    pub(crate) fn needed(&self) -> usize {
        match self.header() {
            Some(Ok(header)) => HEADER_SIZE + header.body_size,
            _ => HEADER_SIZE,
        }
    }
}

#[cfg(test)]
#[path = "framer_tests.rs"]
mod tests;
