//! IMAGE: voxels, and where they lie.
//!
//! ```text
//! 0  2      3        4      5       6         12          60       66       72
//! |V | COMP | SCALAR | ENDI | COORD | SIZE[3] | MATRIX[12] | OFF[3] | PART[3] | voxels ...
//! ```
//!
//! **Units:** millimetres. **Frames:** the message says RAS or LPS itself, and its matrix holds the *centre* of the
//! whole image, not a corner and not the centre of the part that is sent: [`Image::grid`] brings it to where voxels
//! lie. **Allocation:** none; voxels stay where they came, in the byte order that `endian` says.

use crate::error::{DecodeError, EncodeError};
use crate::fields::{Cut, Reader, Writer};
use crate::grid::Grid;
use crate::pose::Matrix;
use crate::scalar::{Coordinates, Endian, Part, ScalarType};

const HEAD: usize = 72;
/// The one version of this head.
const VERSION: u16 = 1;
const SCALARS: &str = "2, 3 (8 bits), 4, 5 (16), 6, 7 (32), 10 (single) or 11 (double precision) is needed";

/// IMAGE.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Image<'a> {
    /// Numbers of a voxel: 1, or 3 for colours and vectors.
    pub components: u8,
    /// What they are; not [`ScalarType::Complex`].
    pub scalar: ScalarType,
    /// In which order their bytes stand in `voxels`.
    pub endian: Endian,
    /// In which coordinates `matrix` is.
    pub coordinates: Coordinates,
    /// Voxels of the whole image along i, j, k.
    pub size: [u16; 3],
    /// Axes i, j, k times their spacing, then the centre of the whole image, in mm: see [`Grid::centred`].
    pub matrix: Matrix,
    /// Which voxels are here.
    pub part: Part,
    /// Their numbers, `[k, j, i, component]`, i the faster, of the part alone.
    pub voxels: &'a [u8],
}

impl<'a> Image<'a> {
    /// Where its voxels lie, in [`Self::coordinates`].
    #[must_use]
    pub fn grid(&self) -> Grid {
        Grid::from_centred(self.size, &self.matrix)
    }

    /// Bytes of the voxels of a part: at most 2^48 · 255 · 8, below 2^59.
    fn expected(&self) -> u64 {
        self.part.voxels() * u64::from(self.components) * self.scalar.size() as u64
    }

    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        if self.components == 0 {
            let right = "a voxel has one number at least";
            return Err(EncodeError::Value { what: "IMAGE's NUM_COMPONENTS", value: 0, right });
        }
        if self.scalar == ScalarType::Complex {
            return Err(EncodeError::Value { what: "IMAGE's SCALAR_TYPE", value: 13, right: SCALARS });
        }
        self.part.can_be_sent("the end of IMAGE's part", self.size)?;
        if self.voxels.len() as u64 != self.expected() {
            return Err(EncodeError::Differs {
                what: "the size of IMAGE's voxels",
                value: self.voxels.len() as u64,
                right: "voxels × components × bytes of the scalar type",
                expected: self.expected(),
            });
        }
        Ok(HEAD + self.voxels.len())
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let offset = fields.offset;
        let mut head = Cut(fields.bytes(HEAD, "IMAGE's first 72 bytes")?);
        let version: u16 = head.take();
        if version != VERSION {
            let (field, right) = ("IMAGE's HEADER_VERSION", "1 is defined");
            return Err(DecodeError::Value { field, offset, value: version.into(), right });
        }
        let [components, scalar, endian, coordinates] = head.take();
        if components == 0 {
            let (field, right) = ("IMAGE's NUM_COMPONENTS", "a voxel has one number at least");
            return Err(DecodeError::Value { field, offset: offset + 2, value: 0, right });
        }
        let scalar = ScalarType::from_wire(scalar).filter(|scalar| *scalar != ScalarType::Complex).ok_or(
            DecodeError::Value {
                field: "IMAGE's SCALAR_TYPE",
                offset: offset + 3,
                value: scalar.into(),
                right: SCALARS,
            },
        )?;
        let image = Self {
            components,
            scalar,
            endian: Endian::from_wire("IMAGE's ENDIAN", offset + 4, endian)?,
            coordinates: Coordinates::from_wire("IMAGE's COORD", offset + 5, coordinates)?,
            size: head.take(),
            matrix: head.take(),
            part: Part { offset: head.take(), size: head.take() },
            voxels: fields.rest(),
        };
        image.part.fits("the end of IMAGE's part", offset + 60, image.size)?;
        if image.voxels.len() as u64 != image.expected() {
            return Err(DecodeError::Length {
                field: "IMAGE's part",
                offset: offset + 66,
                value: image.expected(),
                right: "the number of bytes behind it",
                expected: image.voxels.len() as u64,
            });
        }
        Ok(image)
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&VERSION);
        out.put(&[self.components, self.scalar as u8, self.endian as u8, self.coordinates as u8]);
        out.item(&self.size);
        out.item(&self.matrix);
        out.item(&self.part.offset);
        out.item(&self.part.size);
        out.put(self.voxels);
    }
}
