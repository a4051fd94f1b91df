//! The lists of names by which GET_BIND and STT_BIND ask for children, and the table of names that BIND has, too.
//!
//! ```text
//! GET_BIND:  N u16 | N × TYPE[12] | SIZE u16 | names, each with its zero
//! ```
//!
//! The table of names is made even by a zero. **Allocation:** none.

use crate::error::{DecodeError, EncodeError};
use crate::fields::{Reader, Writer, until_zero, within};
use crate::list::List;
use crate::names::{DeviceName, TypeName};
use crate::options::Peer;
use std::fmt;

/// Which children of a BIND are asked for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    kept: KeptWanted<'a>,
}

#[derive(Clone, Copy)]
enum KeptWanted<'a> {
    Wire { types: List<'a, TypeName>, names: &'a [u8] },
    Own(&'a [(TypeName, DeviceName)]),
}

impl<'a> Wanted<'a> {
    /// Types and devices, to be sent.
    #[must_use]
    pub const fn new(own: &'a [(TypeName, DeviceName)]) -> Self {
        Self { kept: KeptWanted::Own(own) }
    }

    /// Number of children asked for.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.kept {
            KeptWanted::Wire { types, .. } => types.len(),
            KeptWanted::Own(own) => own.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Types and devices, in order.
    pub fn iter(&self) -> impl Iterator<Item = (TypeName, DeviceName)> + use<'a> {
        let mut kept = self.kept;
        std::iter::from_fn(move || match &mut kept {
            KeptWanted::Own(own) => {
                let (first, behind) = own.split_first()?;
                *own = behind;
                Some(*first)
            }
            KeptWanted::Wire { types, names } => {
                let first = types.get(0)?;
                let name = until_zero(names);
                let device = DeviceName::from_bytes("name", 0, name).ok()?;
                (*types, *names) = (types.part(1, types.len() - 1)?, names.get(name.len() + 1..)?);
                Some((first, device))
            }
        })
    }

    pub(crate) fn decode(mut fields: Reader<'a>, peer: Peer) -> Result<Self, DecodeError> {
        let count = count(&mut fields, 12, "GET_BIND's NCMESSAGES")?;
        let offset = fields.offset;
        let types: List<'_, TypeName> = fields.list(count, "TYPE in GET_BIND's table")?;
        for (at, name) in types.iter().enumerate() {
            type_name("TYPE in GET_BIND's table", offset + 12 * at, name.wire())?;
        }
        let names = names(&mut fields, count, peer)?;
        fields.end("what follows GET_BIND's names", "the number of bytes that may")?;
        Ok(Self { kept: KeptWanted::Wire { types, names } })
    }

    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        Ok(4 + 12 * self.len() + names_size(self.iter())?)
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&(self.len() as u16));
        self.iter().for_each(|(type_name, _)| out.put(type_name.wire()));
        let size = self.iter().map(|(_, device)| device.as_str().len() + 1).sum();
        write_names(out, size, |out| self.iter().for_each(|(_, device)| write_name(out, device)));
    }
}

impl PartialEq for Wanted<'_> {
    /// Whether the same is asked for.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The number of children, compared with the room there is for their entries.
pub(crate) fn count(fields: &mut Reader<'_>, entry: usize, field: &'static str) -> Result<usize, DecodeError> {
    let offset = fields.offset;
    let count = fields.u16(field)?;
    let room = fields.left() / entry;
    if usize::from(count) > room {
        let right = "the number of children there is room for";
        return Err(DecodeError::Length { field, offset, value: count.into(), right, expected: room as u64 });
    }
    Ok(count.into())
}

pub(crate) fn type_name(field: &'static str, offset: usize, wire: &[u8]) -> Result<TypeName, DecodeError> {
    let name = TypeName::from_bytes(field, offset, wire)?;
    if name.is_empty() { Err(DecodeError::Name { field, offset, value: 0 }) } else { Ok(name) }
}

/// SIZE and the table of names; what comes back are the names without what makes them even.
pub(crate) fn names<'a>(fields: &mut Reader<'a>, count: usize, peer: Peer) -> Result<&'a [u8], DecodeError> {
    let (field, size_at) = ("BIND's NAME_TABLE_SIZE", fields.offset);
    let size = fields.u16(field)?;
    let wrong = |right, expected: usize| {
        Err(DecodeError::Length { field, offset: size_at, value: size.into(), right, expected: expected as u64 })
    };
    if usize::from(size) > fields.left() {
        return wrong("the number of bytes left for it, at most,", fields.left());
    }
    let offset = fields.offset;
    let table = fields.bytes(size.into(), field)?;
    let mut at = 0;
    for _ in 0..count {
        let name = until_zero(&table[at..]);
        DeviceName::from_bytes("name in BIND's table", offset + at, name)?;
        at += name.len() + 1;
        if at > table.len() {
            return wrong("too small, at least by the names and their zeros,", at);
        }
    }
    let even = at.next_multiple_of(2);
    if table.len() != even && !(peer == Peer::CppLibrary && table.len() == at) {
        return wrong("the size of all names and their zeros, made even,", even);
    }
    Reader::new(&table[at..], offset + at).even(table.len() - at, "the byte behind BIND's names")?;
    Ok(&table[..at])
}

/// Bytes of the table of names, made even.
pub(crate) fn names_size(children: impl Iterator<Item = (TypeName, DeviceName)>) -> Result<usize, EncodeError> {
    let (mut count, mut size) = (0_usize, 0_usize);
    for (type_name, device) in children {
        if type_name.is_empty() {
            return Err(EncodeError::Name { name: String::new(), max: 12 });
        }
        count += 1;
        size += device.as_str().len() + 1;
    }
    within("the number of BIND's children", count, u16::MAX.into())?;
    within("the table of names of BIND", size.next_multiple_of(2), u16::MAX.into())?;
    Ok(size.next_multiple_of(2))
}

pub(crate) fn write_names(out: &mut Writer<'_>, size: usize, names: impl FnOnce(&mut Writer<'_>)) {
    out.item(&(size.next_multiple_of(2) as u16));
    names(out);
    out.text(&[], size % 2);
}

pub(crate) fn write_name(out: &mut Writer<'_>, device: DeviceName) {
    let name = device.as_str();
    out.text(name.as_bytes(), name.len() + 1);
}
