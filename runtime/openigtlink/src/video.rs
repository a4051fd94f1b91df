//! VIDEO: one compressed picture, and where it lies; STT_VIDEO asks for a stream of them.
//!
//! ```text
//! 0   2      3          7       9       10        16           64       70        76
//! | V | ENDI | CODEC[4] | FRAME | COORD | SIZE[3] | MATRIX[12] | OFF[3] | PART[3] | picture ...
//! ```
//!
//! **Units:** millimetres; matrix and coordinates are IMAGE's. The picture is the codec's business: its length is what
//! is left of the body, and says nothing of sizes.

use crate::error::{DecodeError, EncodeError};
use crate::fields::{Cut, Reader, Writer};
use crate::grid::Grid;
use crate::pose::Matrix;
use crate::scalar::{Coordinates, Endian, Part};

const HEAD: usize = 76;
const VERSION: u16 = 1;

/// VIDEO.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Video<'a> {
    /// In which order bytes of numbers stand once it is decompressed.
    pub endian: Endian,
    /// As `H264`, `VP90`, `X265`, `AV10`, `I420`; all four bytes count.
    pub codec: [u8; 4],
    /// As the codec's encoder calls it: key picture or not; the protocol leaves it open.
    pub frame_type: u16,
    /// In which coordinates `matrix` is.
    pub coordinates: Coordinates,
    /// Pixels of the whole picture along i, j, k; k is 1.
    pub size: [u16; 3],
    /// Axes i, j, k times their spacing, then the centre of the picture, in mm: see [`Grid::centred`].
    pub matrix: Matrix,
    /// Which pixels are here.
    pub part: Part,
    /// Compressed, not looked at.
    pub picture: &'a [u8],
}

impl<'a> Video<'a> {
    /// Where its pixels lie, in [`Self::coordinates`].
    #[must_use]
    pub fn grid(&self) -> Grid {
        Grid::from_centred(self.size, &self.matrix)
    }

    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        self.part.can_be_sent("the end of VIDEO's part", self.size)?;
        Ok(HEAD + self.picture.len())
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let offset = fields.offset;
        let mut head = Cut(fields.bytes(HEAD, "VIDEO's first 76 bytes")?);
        let version: u16 = head.take();
        if version != VERSION {
            let (field, right) = ("VIDEO's HEADER_VERSION", "1 is defined");
            return Err(DecodeError::Value { field, offset, value: version.into(), right });
        }
        let video = Self {
            endian: Endian::from_wire("VIDEO's ENDIAN", offset + 2, head.take())?,
            codec: head.take(),
            frame_type: head.take(),
            coordinates: Coordinates::from_wire("VIDEO's COORD", offset + 9, head.take())?,
            size: head.take(),
            matrix: head.take(),
            part: Part { offset: head.take(), size: head.take() },
            picture: fields.rest(),
        };
        video.part.fits("the end of VIDEO's part", offset + 64, video.size)?;
        Ok(video)
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&VERSION);
        out.put(&[self.endian as u8]);
        out.put(&self.codec);
        out.item(&self.frame_type);
        out.put(&[self.coordinates as u8]);
        out.item(&self.size);
        out.item(&self.matrix);
        out.item(&self.part.offset);
        out.item(&self.part.size);
        out.put(self.picture);
    }
}
