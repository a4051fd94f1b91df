//! TRANSFORM, POSITION, and QTRANS, which is POSITION under its older name.
//!
//! **Units:** millimetres by the protocol. **Frames:** neither message says in which coordinates it is, RAS, LPS or a
//! device's own: that is between sender and receiver, and belongs into the receiver's configuration. Numbers come
//! through as they stand on the wire, NaN and infinities included.

use crate::error::DecodeError;
use crate::fields::{Reader, Writer};
use crate::list::Element;

/// Twelve numbers.
pub(crate) const TRANSFORM_SIZE: usize = 48;

/// Columns as on the wire: where the x, y and z axes point, then a place, in mm.
pub type Matrix = [[f32; 3]; 4];

/// TRANSFORM: the upper three rows of a homogeneous matrix.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Transform {
    /// Columns as on the wire: where the x, y and z axes point, then the translation in mm.
    pub columns: [[f32; 3]; 4],
}

/// POSITION or QTRANS.
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

impl Transform {
    #[inline]
    pub(crate) fn decode(mut fields: Reader<'_>) -> Result<Self, DecodeError> {
        let (offset, size) = (fields.offset, fields.left());
        if size != TRANSFORM_SIZE {
            let right = "twelve 32-bit numbers, 48 bytes, are needed";
            return Err(DecodeError::Value { field: "size of TRANSFORM's content", offset, value: size as u64, right });
        }
        let bytes = fields.array::<TRANSFORM_SIZE>("TRANSFORM")?;
        Ok(Self { columns: Element::read(bytes) })
    }

    #[inline]
    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&self.columns);
    }
}

impl Position {
    pub(crate) const fn size(&self) -> usize {
        match self.orientation {
            Orientation::None => 12,
            Orientation::Xyz(_) => 24,
            Orientation::Xyzw(_) => 28,
        }
    }

    pub(crate) fn decode(mut fields: Reader<'_>) -> Result<Self, DecodeError> {
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
        Ok(Self { at, orientation })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&self.at);
        match &self.orientation {
            Orientation::None => {}
            Orientation::Xyz(xyz) => out.item(xyz),
            Orientation::Xyzw(xyzw) => out.item(xyzw),
        }
    }
}
