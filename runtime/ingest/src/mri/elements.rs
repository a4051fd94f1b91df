//! Walks the elements of a DICOM file and checks that none claims to be longer than what is left of it.
//!
//! The parser reserves what an element's length says, up to 4 GiB; this walk runs first and refuses the file
//! instead. **Allocation:** none. **Source:** DICOM PS3.5 section 7. **Not protected against:** contents; the
//! parser judges those.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

/// Sequences within sequences that a file may have; scanners write at most four or five.
const DEPTH_MAX: usize = 16;
/// Length that stands for "until the delimiter".
const UNDEFINED: u32 = u32::MAX;
const ITEM: Tag = Tag(0xfffe, 0xe000);
const ITEM_END: Tag = Tag(0xfffe, 0xe00d);
const SEQUENCE_END: Tag = Tag(0xfffe, 0xe0dd);

/// What stopped the walk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// An element needs more bytes than there are.
    Short { offset: usize, needed: u64, left: u64 },
    /// Something that the format does not allow.
    Malformed { offset: usize, what: &'static str },
    /// The data set is compressed or stored in an order that is not read.
    Syntax { uid: String },
}

/// Walks the whole file, preamble and meta group included.
pub(super) fn check(bytes: &[u8]) -> Result<(), Fault> {
    let mut walk = Walk { bytes, at: 132 };
    let mut syntax = String::new();
    while walk.group() == Some(2) {
        let (tag, _, length) = walk.header(false)?;
        let value = walk.skip(length)?;
        if tag == tags::TRANSFER_SYNTAX_UID {
            syntax = String::from_utf8_lossy(value).trim_end_matches(['\0', ' ']).to_owned();
        }
    }
    match syntax.as_str() {
        "1.2.840.10008.1.2" => walk.elements(true, bytes.len(), None, 0),
        "1.2.840.10008.1.2.1" => walk.elements(false, bytes.len(), None, 0),
        "" => Err(Fault::Malformed { offset: walk.at, what: "the meta group names no transfer syntax" }),
        _ => Err(Fault::Syntax { uid: syntax }),
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    fn group(&self) -> Option<u16> {
        self.bytes.get(self.at..self.at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let left = self.bytes.len().saturating_sub(self.at);
        let Some(found) = self.bytes.get(self.at..self.at + N).and_then(|b| <[u8; N]>::try_from(b).ok()) else {
            return Err(Fault::Short { offset: self.at, needed: N as u64, left: left as u64 });
        };
        self.at += N;
        Ok(found)
    }

    fn skip(&mut self, length: u32) -> Result<&'a [u8], Fault> {
        let left = self.bytes.len().saturating_sub(self.at);
        let Some(found) = self.bytes.get(self.at..).and_then(|b| b.get(..length as usize)) else {
            return Err(Fault::Short { offset: self.at, needed: u64::from(length), left: left as u64 });
        };
        self.at += length as usize;
        Ok(found)
    }

    /// Tag, whether it is a sequence, and length.
    fn header(&mut self, implicit: bool) -> Result<(Tag, Option<VR>, u32), Fault> {
        let group = u16::from_le_bytes(self.take()?);
        let tag = Tag(group, u16::from_le_bytes(self.take()?));
        if group == 0xfffe {
            return Ok((tag, None, u32::from_le_bytes(self.take()?)));
        }
        if implicit {
            let vr = StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed());
            return Ok((tag, Some(vr), u32::from_le_bytes(self.take()?)));
        }
        let vr = VR::from_binary(self.take()?).unwrap_or(VR::UN);
        if short(vr) {
            return Ok((tag, Some(vr), u32::from(u16::from_le_bytes(self.take()?))));
        }
        let _reserved: [u8; 2] = self.take()?;
        Ok((tag, Some(vr), u32::from_le_bytes(self.take()?)))
    }

    /// Elements up to `end` or, in an item of undefined length, up to its delimiter.
    fn elements(&mut self, implicit: bool, end: usize, delimiter: Option<Tag>, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Malformed { offset: self.at, what: "sequences are nested too deeply" });
        }
        while self.at < end {
            let offset = self.at;
            let (tag, vr, length) = self.header(implicit)?;
            match vr {
                None if delimiter == Some(tag) => return Ok(()),
                None => {
                    return Err(Fault::Malformed { offset, what: "an item or delimiter stands outside a sequence" });
                }
                Some(_) if tag == tags::PIXEL_DATA && length == UNDEFINED => {
                    return Err(Fault::Malformed {
                        offset,
                        what: "pixel data are in fragments, but the syntax is plain",
                    });
                }
                Some(VR::UN) if length == UNDEFINED => self.items(true, length, depth)?,
                Some(VR::SQ) => self.items(implicit, length, depth)?,
                Some(_) if length == UNDEFINED => self.items(implicit, length, depth)?,
                Some(_) => {
                    self.skip(length)?;
                }
            }
        }
        if delimiter.is_some() {
            return Err(Fault::Short { offset: self.at, needed: 8, left: 0 });
        }
        if self.at == end {
            Ok(())
        } else {
            Err(Fault::Malformed { offset: end, what: "an element crosses its item's end" })
        }
    }

    /// Items of a sequence.
    fn items(&mut self, implicit: bool, length: u32, depth: usize) -> Result<(), Fault> {
        let end = self.end(length)?;
        while self.at < end {
            let offset = self.at;
            let (tag, _, length_of_item) = self.header(implicit)?;
            if tag == SEQUENCE_END && length == UNDEFINED {
                return Ok(());
            }
            if tag != ITEM {
                return Err(Fault::Malformed { offset, what: "a sequence holds something that is no item" });
            }
            let end_of_item = self.end(length_of_item)?;
            let delimiter = (length_of_item == UNDEFINED).then_some(ITEM_END);
            self.elements(implicit, end_of_item, delimiter, depth + 1)?;
        }
        if length == UNDEFINED { Err(Fault::Short { offset: self.at, needed: 8, left: 0 }) } else { Ok(()) }
    }

    /// Where something of `length` ends; the file's end when it is not defined.
    fn end(&self, length: u32) -> Result<usize, Fault> {
        let left = self.bytes.len() - self.at;
        match length {
            UNDEFINED => Ok(self.bytes.len()),
            _ if length as usize <= left => Ok(self.at + length as usize),
            _ => Err(Fault::Short { offset: self.at, needed: u64::from(length), left: left as u64 }),
        }
    }
}

/// Whether a value of this representation has its length in 16 bits (PS3.5, table 7.1-2).
fn short(vr: VR) -> bool {
    matches!(
        vr,
        VR::AE
            | VR::AS
            | VR::AT
            | VR::CS
            | VR::DA
            | VR::DS
            | VR::DT
            | VR::FL
            | VR::FD
            | VR::IS
            | VR::LO
            | VR::LT
            | VR::PN
            | VR::SH
            | VR::SL
            | VR::SS
            | VR::ST
            | VR::TM
            | VR::UI
            | VR::UL
            | VR::US
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(syntax: &str, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\x00\x10\x00UI");
        bytes.extend((syntax.len() as u16).to_le_bytes());
        bytes.extend(syntax.as_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn an_element_that_is_longer_than_the_file_is_named() {
        let rest = b"\xe0\x7f\x10\x00OW\0\0\xf0\xff\xff\xff\x01\x02";
        let bytes = file("1.2.840.10008.1.2.1\0", rest);
        let short = Fault::Short { offset: bytes.len() - 2, needed: 0xffff_fff0, left: 2 };
        assert_eq!(check(&bytes), Err(short));
    }

    #[test]
    fn a_compressed_syntax_is_named() {
        let uid = "1.2.840.10008.1.2.4.90".to_owned();
        assert_eq!(check(&file(&uid, b"")), Err(Fault::Syntax { uid }));
    }

    #[test]
    fn a_sequence_must_end() {
        let open = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff";
        assert!(matches!(check(&file("1.2.840.10008.1.2.1\0", open)), Err(Fault::Short { .. })));
        let closed = [&open[..], b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"].concat();
        assert_eq!(check(&file("1.2.840.10008.1.2.1\0", &closed)), Ok(()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_a_panic(rest in prop::collection::vec(any::<u8>(), 0..300), implicit: bool) {
            let syntax = if implicit { "1.2.840.10008.1.2\0" } else { "1.2.840.10008.1.2.1\0" };
            let bytes = file(syntax, &rest);
            match check(&bytes) {
                Err(Fault::Short { offset, left, .. }) => prop_assert!(offset as u64 + left <= bytes.len() as u64),
                Err(Fault::Malformed { offset, .. }) => prop_assert!(offset <= bytes.len()),
                other => prop_assert_eq!(other, Ok(())),
            }
        }
    }
}
