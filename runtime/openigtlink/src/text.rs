//! STATUS, STRING and COMMAND: messages whose content is a text.
//!
//! Texts come through as bytes: which characters they are is said by their encoding, or ASCII by the protocol, and
//! is not checked.

use crate::encoding;
use crate::error::{DecodeError, EncodeError};
use crate::fields::{Cut, Reader, Writer, text_fits, until_zero, within};

/// CODE, SUB_CODE, ERROR_NAME.
const STATUS_HEAD: usize = 2 + 8 + STATUS_NAME;
const STATUS_NAME: usize = 20;
/// ENCODING, LENGTH.
const STRING_HEAD: usize = 4;
/// COMMAND_ID, COMMAND_NAME, ENCODING, LENGTH.
const COMMAND_HEAD: usize = 4 + COMMAND_NAME + 2 + 4;
const COMMAND_NAME: usize = 128;

/// STATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// 1 is OK; 0 is invalid; 2 and above are the protocol's errors (13 is "not ready", 15 "disabled").
    pub code: u16,
    /// The device's own number.
    pub sub_code: i64,
    /// The error's short name, without its filling; at most 20 bytes, ASCII by the protocol, not checked.
    pub name: &'a [u8],
    /// For people, up to its closing zero; ASCII by the protocol, not checked.
    pub message: &'a [u8],
}

impl<'a> Status<'a> {
    /// The code of a device that does well.
    pub const OK: u16 = 1;

    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        text_fits("STATUS's ERROR_NAME", self.name, STATUS_NAME)?;
        text_fits("STATUS's message", self.message, usize::MAX)?;
        Ok(STATUS_HEAD + self.message.len() + 1)
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let code = fields.u16("STATUS's CODE")?;
        let sub_code = i64::from_be_bytes(*fields.array("STATUS's SUB_CODE")?);
        let name = until_zero(fields.bytes(STATUS_NAME, "STATUS's ERROR_NAME")?);
        Ok(Status { code, sub_code, name, message: until_zero(fields.rest()) })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&self.code);
        out.put(&self.sub_code.to_be_bytes());
        out.text(self.name, STATUS_NAME);
        out.text(self.message, self.message.len() + 1);
    }
}

/// STRING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// How it is written: see [`encoding`].
    pub encoding: u16,
    /// The text in that encoding, not checked; at most 65 535 bytes.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        let encoding = if text.is_ascii() { encoding::US_ASCII } else { encoding::UTF_8 };
        Self { encoding, bytes: text.as_bytes() }
    }
}

impl<'a> Text<'a> {
    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        within("STRING's text", self.bytes.len(), u16::MAX.into())?;
        Ok(STRING_HEAD + self.bytes.len())
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let encoding = fields.u16("STRING's ENCODING")?;
        let offset = fields.offset;
        let length = fields.u16("STRING's LENGTH")?;
        agrees("STRING's LENGTH", offset, length.into(), fields.left())?;
        Ok(Text { encoding, bytes: fields.rest() })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&self.encoding);
        out.item(&(self.bytes.len() as u16));
        out.put(self.bytes);
    }
}

/// COMMAND, and RTS_COMMAND, which answers one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// The sender's number of the command; the answer repeats it.
    pub id: u32,
    /// What is to be done; in an answer, the error's name where there was one. At most 128 bytes, without filling.
    pub name: &'a [u8],
    /// How `text` is written: see [`encoding`].
    pub encoding: u16,
    /// The command itself, XML as a rule, not checked.
    pub text: &'a [u8],
}

impl<'a> Command<'a> {
    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        text_fits("COMMAND's COMMAND_NAME", self.name, COMMAND_NAME)?;
        within("COMMAND's text", self.text.len(), u32::MAX as usize)?;
        Ok(COMMAND_HEAD + self.text.len())
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let offset = fields.offset;
        let mut head = Cut(fields.bytes(COMMAND_HEAD, "COMMAND's first 138 bytes")?);
        let (id, name, encoding, length) = (head.take(), head.text(COMMAND_NAME), head.take(), head.take::<u32>());
        agrees("COMMAND's LENGTH", offset + COMMAND_HEAD - 4, length, fields.left())?;
        Ok(Command { id, name, encoding, text: fields.rest() })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&self.id);
        out.text(self.name, COMMAND_NAME);
        out.item(&self.encoding);
        out.item(&(self.text.len() as u32));
        out.put(self.text);
    }
}

/// A length counts exactly the bytes behind it.
fn agrees(field: &'static str, offset: usize, value: u32, left: usize) -> Result<(), DecodeError> {
    if value as usize == left {
        return Ok(());
    }
    let right = "the number of bytes behind it";
    Err(DecodeError::Length { field, offset, value: value.into(), right, expected: left as u64 })
}
