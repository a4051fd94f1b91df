//! What messages say: TRANSFORM, POSITION, STATUS, STRING, and the bytes of any other type.
//!
//! Numbers come through as they stand on the wire, NaN and infinities included: whether a pose makes sense
//! is the receiver's question, not the codec's.

use crate::encoding;
use crate::error::{DecodeError, EncodeError};
use crate::fields::{Reader, Writer};
use crate::names::TypeName;

const TRANSFORM: TypeName = TypeName::constant("TRANSFORM");
const POSITION: TypeName = TypeName::constant("POSITION");
const STATUS: TypeName = TypeName::constant("STATUS");
const STRING: TypeName = TypeName::constant("STRING");

const TRANSFORM_SIZE: usize = 48;
/// CODE, SUB_CODE, ERROR_NAME.
const STATUS_HEAD: usize = 2 + 8 + 20;
/// ENCODING, LENGTH.
const STRING_HEAD: usize = 4;

/// The content of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Content<'a> {
    /// A rotation and a translation.
    Transform(Transform),
    /// A position, with or without an orientation.
    Position(Position),
    /// How a device does.
    Status(Status<'a>),
    /// A text.
    String(Text<'a>),
    /// A type that this crate does not understand; its header and CRC were right.
    Other {
        /// Its name.
        type_name: TypeName,
        /// Its content as it came.
        bytes: &'a [u8],
    },
}

/// TRANSFORM: the upper three rows of a homogeneous matrix.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Transform {
    /// Columns as on the wire: where the x, y and z axes point, then the translation in mm.
    pub columns: [[f32; 3]; 4],
}

/// POSITION.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// mm.
    pub at: [f32; 3],
    /// What the sender says of the orientation.
    pub orientation: Orientation,
}

/// The three forms of POSITION's second half: 12, 24 or 28 bytes of content in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Orientation {
    /// Left out.
    None,
    /// x, y, z of a unit quaternion whose w is not negative and left out.
    Xyz([f32; 3]),
    /// x, y, z, w of a unit quaternion.
    Xyzw([f32; 4]),
}

/// STATUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'a> {
    /// 1 is OK; 0 is invalid; 2 and above are the protocol's errors (14 is "disabled", 16 "not ready").
    pub code: u16,
    /// The device's own number.
    pub sub_code: i64,
    /// The error's short name, without its filling; ASCII by the protocol, not checked.
    pub name: &'a [u8],
    /// For people, up to its closing zero; ASCII by the protocol, not checked.
    pub message: &'a [u8],
}

impl Status<'_> {
    /// The code of a device that does well.
    pub const OK: u16 = 1;
}

/// STRING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// How it is written: see [`encoding`].
    pub encoding: u16,
    /// The text in that encoding, not checked.
    pub bytes: &'a [u8],
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        let encoding = if text.is_ascii() { encoding::US_ASCII } else { encoding::UTF_8 };
        Self { encoding, bytes: text.as_bytes() }
    }
}

impl<'a> Content<'a> {
    /// The type's name on the wire.
    #[must_use]
    pub const fn type_name(&self) -> TypeName {
        match self {
            Self::Transform(_) => TRANSFORM,
            Self::Position(_) => POSITION,
            Self::Status(_) => STATUS,
            Self::String(_) => STRING,
            Self::Other { type_name, .. } => *type_name,
        }
    }

    pub(crate) fn decode(type_name: TypeName, mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        match type_name.as_str() {
            "TRANSFORM" => transform(fields).map(Self::Transform),
            "POSITION" => position(fields).map(Self::Position),
            "STATUS" => status(fields).map(Self::Status),
            "STRING" => string(fields).map(Self::String),
            _ => Ok(Self::Other { type_name, bytes: fields.rest() }),
        }
    }

    /// Bytes on the wire, metadata not counted.
    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        Ok(match self {
            Self::Transform(_) => TRANSFORM_SIZE,
            Self::Position(position) => match position.orientation {
                Orientation::None => 12,
                Orientation::Xyz(_) => 24,
                Orientation::Xyzw(_) => 28,
            },
            Self::Status(status) => {
                within("STATUS's ERROR_NAME", status.name.len(), 20)?;
                STATUS_HEAD + status.message.len() + 1
            }
            Self::String(text) => {
                within("STRING's text", text.bytes.len(), u16::MAX.into())?;
                STRING_HEAD + text.bytes.len()
            }
            Self::Other { bytes, .. } => bytes.len(),
        })
    }

    /// Writes the bytes that [`Self::size`] counted.
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        match self {
            Self::Transform(transform) => out.f32s(transform.columns.as_flattened()),
            Self::Position(position) => {
                out.f32s(&position.at);
                match &position.orientation {
                    Orientation::None => {}
                    Orientation::Xyz(xyz) => out.f32s(xyz),
                    Orientation::Xyzw(xyzw) => out.f32s(xyzw),
                }
            }
            Self::Status(status) => {
                out.put(&status.code.to_be_bytes());
                out.put(&status.sub_code.to_be_bytes());
                out.put(status.name);
                out.put(&[0; 20][status.name.len()..]);
                out.put(status.message);
                out.put(&[0]);
            }
            Self::String(text) => {
                out.put(&text.encoding.to_be_bytes());
                out.put(&(text.bytes.len() as u16).to_be_bytes());
                out.put(text.bytes);
            }
            Self::Other { bytes, .. } => out.put(bytes),
        }
    }
}

pub(crate) const fn within(what: &'static str, length: usize, max: usize) -> Result<(), EncodeError> {
    if length > max { Err(EncodeError::TooLong { what, length, max }) } else { Ok(()) }
}

fn transform(mut fields: Reader<'_>) -> Result<Transform, DecodeError> {
    let (offset, size) = (fields.offset, fields.left());
    if size != TRANSFORM_SIZE {
        let right = "twelve 32-bit numbers, 48 bytes, are needed";
        return Err(DecodeError::Value { field: "size of TRANSFORM's content", offset, value: size as u64, right });
    }
    let mut columns = [[0.0; 3]; 4];
    columns.as_flattened_mut().copy_from_slice(&fields.f32s::<12>("TRANSFORM")?);
    Ok(Transform { columns })
}

fn position(mut fields: Reader<'_>) -> Result<Position, DecodeError> {
    let (offset, size) = (fields.offset, fields.left());
    if !matches!(size, 12 | 24 | 28) {
        let right = "12 (position), 24 (x, y, z of the quaternion too) or 28 bytes (w too) are needed";
        return Err(DecodeError::Value { field: "size of POSITION's content", offset, value: size as u64, right });
    }
    let at = fields.f32s("POSITION")?;
    let orientation = match size {
        12 => Orientation::None,
        24 => Orientation::Xyz(fields.f32s("QUATERNION")?),
        _ => Orientation::Xyzw(fields.f32s("QUATERNION")?),
    };
    Ok(Position { at, orientation })
}

fn status(mut fields: Reader<'_>) -> Result<Status<'_>, DecodeError> {
    let code = fields.u16("STATUS's CODE")?;
    let sub_code = i64::from_be_bytes(*fields.array("STATUS's SUB_CODE")?);
    let name = until_zero(fields.bytes(20, "STATUS's ERROR_NAME")?);
    Ok(Status { code, sub_code, name, message: until_zero(fields.rest()) })
}

fn string(mut fields: Reader<'_>) -> Result<Text<'_>, DecodeError> {
    let encoding = fields.u16("STRING's ENCODING")?;
    let offset = fields.offset;
    let length = fields.u16("STRING's LENGTH")?;
    if usize::from(length) != fields.left() {
        return Err(DecodeError::Length {
            field: "STRING's LENGTH",
            offset,
            value: length.into(),
            right: "the number of bytes behind it",
            expected: fields.left() as u64,
        });
    }
    Ok(Text { encoding, bytes: fields.rest() })
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}
