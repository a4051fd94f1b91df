//! The 58 bytes before every message.

use crate::error::DecodeError;
use crate::fields::{Reader, Writer};
use crate::names::{DeviceName, TypeName};
use crate::timestamp::Timestamp;

/// Bytes of the header.
pub const HEADER_SIZE: usize = 58;

/// Version of the header; not that of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Protocol versions 1 and 2: the body is the content.
    V1,
    /// Protocol version 3: extended header, content, metadata.
    V2,
}

/// What every message says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Of the header.
    pub version: Version,
    /// What the content is.
    pub type_name: TypeName,
    /// Whom it comes from; may be empty.
    pub device: DeviceName,
    /// When it was measured, by the sender's clock.
    pub timestamp: Timestamp,
    /// Bytes that follow the header.
    pub body_size: usize,
    /// Of those bytes.
    pub crc: u64,
}

impl Header {
    /// Reads the first 58 bytes; what follows is not looked at.
    ///
    /// # Errors
    /// When there are fewer, when the version is neither 1 nor 2, when the type has no name or a name is
    /// not printable ASCII, when the body would be longer than `max_body`.
    #[inline]
    pub fn decode(bytes: &[u8], max_body: usize) -> Result<Self, DecodeError> {
        let Some(bytes) = bytes.first_chunk::<HEADER_SIZE>() else {
            return Err(DecodeError::Short {
                field: crate::error::HEADER,
                offset: 0,
                need: HEADER_SIZE,
                have: bytes.len(),
            });
        };
        let mut fields = Reader::new(bytes, 0);
        let version = match fields.u16("VERSION")? {
            1 => Version::V1,
            2 => Version::V2,
            other => {
                let right = "header versions 1 and 2 are defined";
                return Err(DecodeError::Value { field: "VERSION", offset: 0, value: other.into(), right });
            }
        };
        let type_name = TypeName::from_wire("TYPE", 2, fields.array("TYPE")?)?;
        if type_name.is_empty() {
            return Err(DecodeError::Name { field: "TYPE", offset: 2, value: 0 });
        }
        let device = DeviceName::from_wire("DEVICE_NAME", 14, fields.array("DEVICE_NAME")?)?;
        let timestamp = Timestamp(fields.u64("TIMESTAMP")?);
        let value = fields.u64("BODY_SIZE")?;
        let body_size = usize::try_from(value)
            .ok()
            .filter(|size| *size <= max_body)
            .ok_or(DecodeError::BodyTooLong { value, max: max_body })?;
        Ok(Self { version, type_name, device, timestamp, body_size, crc: fields.u64("CRC")? })
    }

    /// Writes the 58 bytes.
    #[inline]
    pub fn encode(&self, out: &mut [u8; HEADER_SIZE]) {
        let mut out = Writer::new(out);
        out.put(match self.version {
            Version::V1 => &[0, 1],
            Version::V2 => &[0, 2],
        });
        out.put(self.type_name.wire());
        out.put(self.device.wire());
        out.put(&self.timestamp.0.to_be_bytes());
        out.put(&(self.body_size as u64).to_be_bytes());
        out.put(&self.crc.to_be_bytes());
        debug_assert!(out.full(), "2 + 12 + 20 + 8 + 8 + 8 = 58");
    }
}
