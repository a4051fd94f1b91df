//! COLORT: which colour each value of an image has.

use crate::error::{DecodeError, EncodeError};
use crate::fields::{Reader, Writer};
use crate::list::List;

const U8: u8 = 3;
const U16: u8 = 5;
const RGB: u8 = 19;

/// COLORT: one entry for each value that an index can take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorTable<'a> {
    /// What is looked up: the table has 256 or 65 536 entries.
    pub index: ColorIndex,
    /// The entries.
    pub colors: Colors<'a>,
}

/// What is looked up in a table of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ColorIndex {
    /// 8 bits: 256 entries.
    U8 = U8,
    /// 16 bits: 65 536 entries.
    U16 = U16,
}

impl ColorIndex {
    /// Entries of the table.
    #[must_use]
    pub const fn entries(self) -> usize {
        match self {
            Self::U8 => 1 << 8,
            Self::U16 => 1 << 16,
        }
    }
}

/// The entries of a table of colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Colors<'a> {
    /// Greys of 8 bits.
    Grey8(List<'a, u8>),
    /// Greys of 16 bits.
    Grey16(List<'a, u16>),
    /// Red, green, blue.
    Rgb(List<'a, [u8; 3]>),
}

impl<'a> ColorTable<'a> {
    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        let (have, bytes) = match &self.colors {
            Colors::Grey8(list) => (list.len(), list.size()),
            Colors::Grey16(list) => (list.len(), list.size()),
            Colors::Rgb(list) => (list.len(), list.size()),
        };
        if have != self.index.entries() {
            let (value, expected) = (have as u64, self.index.entries() as u64);
            let (what, right) = ("the number of COLORT's entries", "the number of values of its index");
            return Err(EncodeError::Differs { what, value, right, expected });
        }
        Ok(2 + bytes)
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let offset = fields.offset;
        let [index, map] = *fields.array("COLORT's INDEX_TYPE and MAP_TYPE")?;
        let index = match index {
            U8 => ColorIndex::U8,
            U16 => ColorIndex::U16,
            _ => {
                let (field, right) = ("COLORT's INDEX_TYPE", "3 (8 bits) or 5 (16 bits) is needed");
                return Err(DecodeError::Value { field, offset, value: index.into(), right });
            }
        };
        let width = match map {
            U8 => 1,
            U16 => 2,
            RGB => 3,
            _ => {
                let (field, right) = ("COLORT's MAP_TYPE", "3 (8 bits), 5 (16 bits) or 19 (RGB) is needed");
                return Err(DecodeError::Value { field, offset: offset + 1, value: map.into(), right });
            }
        };
        let (value, expected) = (fields.left() as u64, (index.entries() * width) as u64);
        if value != expected {
            let (field, right) = ("size of COLORT's TABLE", "that by its types");
            return Err(DecodeError::Length { field, offset: offset + 2, value, right, expected });
        }
        let entries = index.entries();
        let colors = match map {
            U8 => Colors::Grey8(fields.list(entries, "COLORT's TABLE")?),
            U16 => Colors::Grey16(fields.list(entries, "COLORT's TABLE")?),
            _ => Colors::Rgb(fields.list(entries, "COLORT's TABLE")?),
        };
        Ok(Self { index, colors })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        match &self.colors {
            Colors::Grey8(list) => {
                out.put(&[self.index as u8, U8]);
                list.write(out);
            }
            Colors::Grey16(list) => {
                out.put(&[self.index as u8, U16]);
                list.write(out);
            }
            Colors::Rgb(list) => {
                out.put(&[self.index as u8, RGB]);
                list.write(out);
            }
        }
    }
}
