//! BIND: several messages in one.
//!
//! ```text
//! N u16 | N × (TYPE[12], BODY_SIZE u64) | SIZE u16 | names, each with its zero | bodies
//! ```
//!
//! The table of names and each body are made even by a zero. A child has no header of its own; device and time are by the table and
//! by the BIND. **Allocation:** none. **Invariant:** every size of a BIND that came in was compared with the bytes
//! that are there; children are not looked into until [`Child::decode`], so that BINDs in BINDs cost no stack.

use crate::content::Content;
use crate::error::{DecodeError, EncodeError};
use crate::fields::{Cut, Reader, Writer, until_zero};
use crate::header::HEADER_SIZE;
use crate::names::{DeviceName, TypeName};
use crate::options::Peer;
use crate::wanted::{count, names, names_size, type_name, write_name, write_names};
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
