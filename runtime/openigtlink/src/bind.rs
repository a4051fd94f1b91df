//! BIND: several messages in one, and the lists of names by which GET_BIND and STT_BIND ask for them.
//!
//! ```text
//! BIND:      N u16 | N × (TYPE[12], BODY_SIZE u64) | SIZE u16 | names, each with its zero | bodies, each made even
//! GET_BIND:  N u16 | N × TYPE[12]                  | SIZE u16 | names, each with its zero
//! ```
//!
//! The table of names is made even by a zero. A child has no header of its own; device and time are by the table and
//! by the BIND. **Allocation:** none. **Invariant:** every size of a BIND that came in was compared with the bytes
//! that are there; children are not looked into until [`Child::decode`], so that BINDs in BINDs cost no stack.

use crate::content::Content;
use crate::error::{DecodeError, EncodeError};
use crate::fields::{Cut, Reader, Writer, until_zero, within};
use crate::header::HEADER_SIZE;
use crate::list::List;
use crate::names::{DeviceName, TypeName};
use crate::options::Peer;
use std::fmt;

/// TYPE, BODY_SIZE.
const ENTRY: usize = 12 + 8;

/// One message of a BIND.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Child<'a> {
    /// What it is.
    pub type_name: TypeName,
    /// Whom it comes from; may be empty.
    pub device: DeviceName,
    /// Its body, without a header.
    pub body: &'a [u8],
}

impl<'a> Child<'a> {
    /// What it says, where its body is content alone, as that of header version 1 is.
    ///
    /// # Errors
    /// What is wrong with it; offsets count as if a header stood before the body.
    pub fn decode(&self) -> Result<Content<'a>, DecodeError> {
        Content::decode(self.type_name, Reader::new(self.body, HEADER_SIZE), Peer::Strict)
    }
}

/// BIND.
#[derive(Clone, Copy)]
pub struct Bind<'a> {
    kept: Kept<'a>,
}

#[derive(Clone, Copy)]
enum Kept<'a> {
    Wire { table: &'a [[u8; ENTRY]], names: &'a [u8], bodies: &'a [u8] },
    Own(&'a [Child<'a>]),
}

fn entry(wire: &[u8; ENTRY]) -> (&[u8], u64) {
    let mut fields = Cut(wire);
    (fields.bytes(12), fields.take())
}

impl<'a> Bind<'a> {
    /// To be sent; [`Content::encode_into`] makes a child's body.
    #[must_use]
    pub const fn new(children: &'a [Child<'a>]) -> Self {
        Self { kept: Kept::Own(children) }
    }

    /// Number of children.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.kept {
            Kept::Wire { table, .. } => table.len(),
            Kept::Own(own) => own.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All children, in order.
    pub fn iter(&self) -> impl Iterator<Item = Child<'a>> + use<'a> {
        let mut kept = self.kept;
        std::iter::from_fn(move || match &mut kept {
            Kept::Own(own) => {
                let (first, behind) = own.split_first()?;
                *own = behind;
                Some(*first)
            }
            Kept::Wire { table, names, bodies } => {
                let (first, behind) = table.split_first()?;
                let (type_name, size) = entry(first);
                let body = bodies.get(..usize::try_from(size).ok()?)?;
                let name = until_zero(names);
                let child = Child {
                    type_name: TypeName::from_bytes("TYPE", 0, type_name).ok()?,
                    device: DeviceName::from_bytes("name", 0, name).ok()?,
                    body,
                };
                (*table, *names, *bodies) =
                    (behind, names.get(name.len() + 1..)?, bodies.get(body.len().next_multiple_of(2)..)?);
                Some(child)
            }
        })
    }

    pub(crate) fn decode(mut fields: Reader<'a>) -> Result<Self, DecodeError> {
        let count = count(&mut fields, ENTRY, "BIND's NCMESSAGES")?;
        let table_at = fields.offset;
        let table = fields.bytes(count * ENTRY, "BIND's table")?.as_chunks::<ENTRY>().0;
        for (at, wire) in table.iter().enumerate() {
            type_name("TYPE in BIND's table", table_at + at * ENTRY, entry(wire).0)?;
        }
        let names = names(&mut fields, count, Peer::Strict)?;
        let mut ahead = fields;
        for (at, wire) in table.iter().enumerate() {
            let (_, size) = entry(wire);
            let room = ahead.left() as u64;
            // The last child's filling is there, too: the table says so, and the library writes it.
            if size.checked_next_multiple_of(2).is_none_or(|even| even > room) {
                return Err(DecodeError::Length {
                    field: "BODY_SIZE in BIND's table",
                    offset: table_at + at * ENTRY + 12,
                    value: size,
                    right: "the number of bytes left for it, made even, at most,",
                    expected: room,
                });
            }
            ahead.bytes(size as usize, "BIND's bodies")?;
            ahead.even(size as usize, "the byte behind a body in BIND")?;
        }
        let bodies = fields.bytes(ahead.offset - fields.offset, "BIND's bodies")?;
        fields.end("what follows BIND's last child", "the number of bytes that may")?;
        Ok(Self { kept: Kept::Wire { table, names, bodies } })
    }

    pub(crate) fn size(&self) -> Result<usize, EncodeError> {
        Ok(match self.kept {
            Kept::Wire { table, names, bodies } => {
                4 + table.as_flattened().len() + names.len().next_multiple_of(2) + bodies.len()
            }
            Kept::Own(own) => {
                let names = names_size(own.iter().map(|child| (child.type_name, child.device)))?;
                let bodies =
                    own.iter().fold(0_usize, |sum, child| sum.saturating_add(child.body.len().next_multiple_of(2)));
                (4 + own.len() * ENTRY + names).saturating_add(bodies)
            }
        })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        out.item(&(self.len() as u16));
        match self.kept {
            Kept::Wire { table, names, bodies } => {
                out.put(table.as_flattened());
                write_names(out, names.len(), |out| out.put(names));
                out.put(bodies);
            }
            Kept::Own(own) => {
                for child in own {
                    out.put(child.type_name.wire());
                    out.item(&(child.body.len() as u64));
                }
                let size = own.iter().map(|child| child.device.as_str().len() + 1).sum();
                write_names(out, size, |out| own.iter().for_each(|child| write_name(out, child.device)));
                own.iter().for_each(|child| out.text(child.body, child.body.len().next_multiple_of(2)));
            }
        }
    }
}

impl PartialEq for Bind<'_> {
    /// Whether the children are the same, wherever they lie.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Bind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

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
fn count(fields: &mut Reader<'_>, entry: usize, field: &'static str) -> Result<usize, DecodeError> {
    let offset = fields.offset;
    let count = fields.u16(field)?;
    let room = fields.left() / entry;
    if usize::from(count) > room {
        let right = "the number of children there is room for";
        return Err(DecodeError::Length { field, offset, value: count.into(), right, expected: room as u64 });
    }
    Ok(count.into())
}

fn type_name(field: &'static str, offset: usize, wire: &[u8]) -> Result<TypeName, DecodeError> {
    let name = TypeName::from_bytes(field, offset, wire)?;
    if name.is_empty() { Err(DecodeError::Name { field, offset, value: 0 }) } else { Ok(name) }
}

/// SIZE and the table of names; what comes back are the names without what makes them even.
fn names<'a>(fields: &mut Reader<'a>, count: usize, peer: Peer) -> Result<&'a [u8], DecodeError> {
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
fn names_size(children: impl Iterator<Item = (TypeName, DeviceName)>) -> Result<usize, EncodeError> {
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

fn write_names(out: &mut Writer<'_>, size: usize, names: impl FnOnce(&mut Writer<'_>)) {
    out.item(&(size.next_multiple_of(2) as u16));
    names(out);
    out.text(&[], size % 2);
}

fn write_name(out: &mut Writer<'_>, device: DeviceName) {
    let name = device.as_str();
    out.text(name.as_bytes(), name.len() + 1);
}
