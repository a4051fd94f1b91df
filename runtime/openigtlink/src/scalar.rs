//! What numbers are made of, in which order their bytes stand, and in which coordinates an image lies.

use crate::error::{DecodeError, EncodeError};

/// Type of the numbers in IMAGE and NDARRAY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ScalarType {
    /// 8 bits, signed.
    I8 = 2,
    /// 8 bits.
    U8 = 3,
    /// 16 bits, signed.
    I16 = 4,
    /// 16 bits.
    U16 = 5,
    /// 32 bits, signed.
    I32 = 6,
    /// 32 bits.
    U32 = 7,
    /// Single precision.
    F32 = 10,
    /// Double precision.
    F64 = 11,
    /// Two of double precision, real and imaginary part; NDARRAY only.
    Complex = 13,
}

impl ScalarType {
    /// Bytes of one.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 => 8,
            Self::Complex => 16,
        }
    }

    /// From its number on the wire.
    #[must_use]
    pub const fn from_wire(value: u8) -> Option<Self> {
        Some(match value {
            2 => Self::I8,
            3 => Self::U8,
            4 => Self::I16,
            5 => Self::U16,
            6 => Self::I32,
            7 => Self::U32,
            10 => Self::F32,
            11 => Self::F64,
            13 => Self::Complex,
            _ => return None,
        })
    }
}

/// In which order the bytes of an image's numbers stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Endian {
    /// Highest byte first.
    Big = 1,
    /// Lowest byte first.
    Little = 2,
}

impl Endian {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    pub(crate) fn from_wire(field: &'static str, offset: usize, value: u8) -> Result<Self, DecodeError> {
        match value {
            1 => Ok(Self::Big),
            2 => Ok(Self::Little),
            _ => {
                Err(DecodeError::Value { field, offset, value: value.into(), right: "1 (big) or 2 (little) is needed" })
            }
        }
    }
}

/// In which coordinates of the patient an image lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Coordinates {
    /// Right, anterior, superior: 3D Slicer's.
    Ras = 1,
    /// Left, posterior, superior: DICOM's.
    Lps = 2,
}

impl Coordinates {
    pub(crate) fn from_wire(field: &'static str, offset: usize, value: u8) -> Result<Self, DecodeError> {
        match value {
            1 => Ok(Self::Ras),
            2 => Ok(Self::Lps),
            _ => Err(DecodeError::Value { field, offset, value: value.into(), right: "1 (RAS) or 2 (LPS) is needed" }),
        }
    }
}

/// The box of an image that a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Part {
    /// Its first voxel, along i, j, k.
    pub offset: [u16; 3],
    /// Voxels along i, j, k.
    pub size: [u16; 3],
}

impl Part {
    /// All of an image.
    #[must_use]
    pub const fn whole(size: [u16; 3]) -> Self {
        Self { offset: [0; 3], size }
    }

    /// Voxels in it.
    #[must_use]
    pub fn voxels(&self) -> u64 {
        // At most 2^48.
        self.size.iter().map(|n| u64::from(*n)).product()
    }

    /// The axis along which it does not lie within an image of `size`, and where it ends there.
    fn beyond(&self, size: [u16; 3]) -> Option<(usize, u64)> {
        let ends = [0, 1, 2].map(|axis| u64::from(self.offset[axis]) + u64::from(self.size[axis]));
        (0..3).find(|axis| ends[*axis] > size[*axis].into()).map(|axis| (axis, ends[axis]))
    }

    pub(crate) fn fits(&self, field: &'static str, offset: usize, size: [u16; 3]) -> Result<(), DecodeError> {
        match self.beyond(size) {
            None => Ok(()),
            Some((axis, value)) => Err(DecodeError::Length {
                field,
                offset: offset + 2 * axis,
                value,
                right: "the most at which it may end, the image's size,",
                expected: size[axis].into(),
            }),
        }
    }

    pub(crate) fn can_be_sent(&self, what: &'static str, size: [u16; 3]) -> Result<(), EncodeError> {
        match self.beyond(size) {
            None => Ok(()),
            Some((axis, value)) => {
                let right = "the most at which it may end, the image's size,";
                Err(EncodeError::Differs { what, value, right, expected: size[axis].into() })
            }
        }
    }
}
