//! What a surface says of its points and cells: named arrays of numbers, in single precision.

use crate::error::{DecodeError, EncodeError};
use crate::fields::{Cut, Reader, Writer, text_fits, until_zero};
use crate::list::{Element, List};
use crate::options::Peer;
use std::fmt;

/// TYPE, NCOMPONENTS, N.
const HEAD: usize = 6;
const NAME_MAX: usize = 255;

/// What the numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Meaning {
    /// Any number of them for each point or cell.
    Scalars = 0,
    /// Three.
    Vectors = 1,
    /// Three.
    Normals = 2,
    /// Nine.
    Tensors = 3,
    /// Four: red, green, blue, opacity.
    Rgba = 4,
    /// Two or three.
    TextureCoordinates = 5,
}

impl Meaning {
    const fn takes(self, components: u8, peer: Peer) -> Result<(), &'static str> {
        // The C++ library 1.11 writes everything but scalars, vectors and normals of points as tensors.
        if matches!(peer, Peer::CppLibrary) && components == 9 {
            return Ok(());
        }
        match (self, components) {
            (Self::Scalars, 1..)
            | (Self::Vectors | Self::Normals | Self::TextureCoordinates, 3)
            | (Self::Tensors, 9)
            | (Self::Rgba, 4)
            | (Self::TextureCoordinates, 2) => Ok(()),
            (Self::Scalars, _) => Err("scalars have one number at least"),
            (Self::Vectors | Self::Normals, _) => Err("vectors and normals have 3 numbers"),
            (Self::Tensors, _) => Err("tensors have 9 numbers"),
            (Self::Rgba, _) => Err("colours with opacity have 4 numbers"),
            (Self::TextureCoordinates, _) => Err("texture coordinates have 2 or 3 numbers"),
        }
    }
}

/// One array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attribute<'a> {
    /// Of the cells; else of the points.
    pub of_cells: bool,
    /// What the numbers mean.
    pub meaning: Meaning,
    /// Numbers for each point or cell.
    pub components: u8,
    /// At most 255 bytes, ASCII by the protocol, not checked.
    pub name: &'a [u8],
    /// The numbers, `[point or cell, component]`, the components of one together.
    pub values: List<'a, f32>,
}

impl Attribute<'_> {
    const fn kind(&self) -> u8 {
        (self.of_cells as u8) << 4 | self.meaning as u8
    }

    /// Points or cells that it is of.
    fn tuples(&self) -> usize {
        self.values.len() / usize::from(self.components).max(1)
    }

    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of an attribute of POLYDATA", self.name, NAME_MAX)?;
        let what = "the number of components of an attribute of POLYDATA";
        self.meaning.takes(self.components, Peer::Strict).map_err(|right| EncodeError::Value {
            what,
            value: self.components.into(),
            right,
        })?;
        if !self.values.len().is_multiple_of(self.components.into()) {
            return Err(EncodeError::Differs {
                what: "the number of values of an attribute of POLYDATA",
                value: self.values.len() as u64,
                right: "that of whole tuples",
                expected: (self.tuples() * usize::from(self.components)) as u64,
            });
        }
        Ok(())
    }
}

/// All arrays of a surface.
#[derive(Clone, Copy, Default)]
pub struct Attributes<'a> {
    kept: Kept<'a>,
}

#[derive(Clone, Copy)]
enum Kept<'a> {
    Wire { heads: &'a [[u8; HEAD]], names: &'a [u8], values: &'a [u8] },
    Own(&'a [Attribute<'a>]),
}

impl Default for Kept<'_> {
    fn default() -> Self {
        Self::Own(&[])
    }
}

/// Type, components and number of tuples.
fn head(head: &[u8; HEAD]) -> (u8, u8, u32) {
    let mut head = Cut(head);
    let [kind, components] = head.take();
    (kind, components, head.take())
}

const fn meaning(kind: u8) -> Option<(bool, Meaning)> {
    let meaning = match kind & 0xF {
        0 => Meaning::Scalars,
        1 => Meaning::Vectors,
        2 => Meaning::Normals,
        3 => Meaning::Tensors,
        4 => Meaning::Rgba,
        5 => Meaning::TextureCoordinates,
        _ => return None,
    };
    match kind >> 4 {
        0 => Some((false, meaning)),
        1 => Some((true, meaning)),
        _ => None,
    }
}

impl<'a> Attributes<'a> {
    /// To be sent.
    #[must_use]
    pub const fn new(own: &'a [Attribute<'a>]) -> Self {
        Self { kept: Kept::Own(own) }
    }

    /// Number of arrays.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.kept {
            Kept::Wire { heads, .. } => heads.len(),
            Kept::Own(own) => own.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All arrays, in order.
    pub fn iter(&self) -> impl Iterator<Item = Attribute<'a>> + use<'a> {
        let mut kept = self.kept;
        std::iter::from_fn(move || match &mut kept {
            Kept::Own(own) => {
                let (first, behind) = own.split_first()?;
                *own = behind;
                Some(*first)
            }
            Kept::Wire { heads, names, values } => {
                let (first, behind) = heads.split_first()?;
                let (kind, components, tuples) = head(first);
                let (of_cells, meaning) = meaning(kind)?;
                let name = until_zero(names);
                let size = usize::from(components).checked_mul(tuples as usize)?.checked_mul(4)?;
                let (here, values_behind) = values.split_at_checked(size)?;
                (*heads, *values, *names) = (behind, values_behind, names.get(name.len() + 1..)?);
                Some(Attribute { of_cells, meaning, components, name, values: List::wire(here) })
            }
        })
    }

    /// What is left of the body: heads of `count` arrays, their names, their values.
    pub(crate) fn decode(count: u32, count_at: usize, mut fields: Reader<'a>, peer: Peer) -> Result<Self, DecodeError> {
        let room = fields.left() / HEAD;
        if count as usize > room {
            return Err(DecodeError::Length {
                field: "POLYDATA's NATTRIBUTES",
                offset: count_at,
                value: count.into(),
                right: "the number of attributes there is room for",
                expected: room as u64,
            });
        }
        let heads_at = fields.offset;
        let heads = fields.bytes(count as usize * HEAD, "POLYDATA's attributes")?.as_chunks::<HEAD>().0;
        // At most 2^31 of less than 2^42 bytes in a body of less than 2^64: the sum is checked all the same.
        let mut need = 0_u64;
        for (at, wire) in heads.iter().enumerate() {
            let (kind, components, tuples) = head(wire);
            let offset = heads_at + at * HEAD;
            let Some((_, meaning)) = meaning(kind) else {
                let right = "0x00 to 0x05 (points) or 0x10 to 0x15 (cells) is needed";
                let field = "TYPE of an attribute of POLYDATA";
                return Err(DecodeError::Value { field, offset, value: kind.into(), right });
            };
            meaning.takes(components, peer).map_err(|right| {
                let field = "NCOMPONENTS of an attribute of POLYDATA";
                DecodeError::Value { field, offset: offset + 1, value: components.into(), right }
            })?;
            need = need.saturating_add(u64::from(components) * u64::from(tuples) * 4);
        }
        let names = names(count as usize, &mut fields)?;
        if need != fields.left() as u64 {
            return Err(DecodeError::Length {
                field: "size of the values of POLYDATA's attributes, by NCOMPONENTS × N × 4,",
                offset: fields.offset,
                value: need,
                right: "the number of bytes for them",
                expected: fields.left() as u64,
            });
        }
        Ok(Self { kept: Kept::Wire { heads, names, values: fields.rest() } })
    }

    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        match self.kept {
            Kept::Wire { heads, names, values } => Ok(heads.as_flattened().len() + padded(names.len()) + values.len()),
            Kept::Own(own) => {
                let mut sizes = [0_usize; 2];
                for attribute in own {
                    attribute.check()?;
                    sizes[0] += attribute.name.len() + 1;
                    sizes[1] = sizes[1].saturating_add(HEAD + attribute.values.size());
                }
                Ok(padded(sizes[0]).saturating_add(sizes[1]))
            }
        }
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) {
        match self.kept {
            Kept::Wire { heads, names, values } => {
                out.put(heads.as_flattened());
                out.text(names, padded(names.len()));
                out.put(values);
            }
            Kept::Own(own) => {
                let mut names = 0;
                for attribute in own {
                    out.put(&[attribute.kind(), attribute.components]);
                    out.item(&(attribute.tuples() as u32));
                    names += attribute.name.len() + 1;
                }
                own.iter().for_each(|attribute| out.text(attribute.name, attribute.name.len() + 1));
                out.text(&[], names % 2);
                own.iter().for_each(|attribute| attribute.values.write(out));
            }
        }
    }
}

impl PartialEq for Attributes<'_> {
    /// Whether the arrays are the same, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// To an even number of bytes.
const fn padded(size: usize) -> usize {
    size.next_multiple_of(2)
}

/// `count` names, each with its closing zero, then a byte that makes their sum even. What comes back are the names.
fn names<'a>(count: usize, fields: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let field = "name of an attribute of POLYDATA";
    let mut ahead = *fields;
    for _ in 0..count {
        let offset = ahead.offset;
        let rest = ahead.rest();
        let length = until_zero(rest).len();
        if length > NAME_MAX {
            let right = "the bytes that it may have at most";
            return Err(DecodeError::Length { field, offset, value: length as u64, right, expected: NAME_MAX as u64 });
        }
        ahead = Reader::new(rest, offset);
        ahead.bytes(length + 1, field)?;
    }
    let size = ahead.offset - fields.offset;
    let names = fields.bytes(size, field)?;
    fields.even(size, "the byte behind the names of POLYDATA's attributes")?;
    Ok(names)
}

/// The values of an attribute are single precision.
const _: () = assert!(<f32 as Element<'static>>::SIZE == 4);
