//! Takes any bytes through everything that a receiver would do with them; what must never happen panics.

#![allow(dead_code, reason = "every test and target that takes this in uses a part of it")]

use bregma_openigtlink::{
    Checksum, Content, DecodeOptions, Entry, Framer, HEADER_SIZE, Message, Outgoing, Peer, crc64, decode_with, encode,
    encoded_len,
};

/// Longest body that is taken.
pub const MAX: usize = 1 << 16;

/// All ways to receive.
pub const WAYS: [DecodeOptions; 4] = [
    DecodeOptions::strict(MAX),
    DecodeOptions { max_body: MAX, checksum: Checksum::Trusted, peer: Peer::Strict },
    DecodeOptions { max_body: MAX, checksum: Checksum::Checked, peer: Peer::CppLibrary },
    DecodeOptions { max_body: MAX, checksum: Checksum::Trusted, peer: Peer::CppLibrary },
];

/// Decodes, walks through everything, and sends what is understood on. Returns whether it was taken.
pub fn bytes(bytes: &[u8], options: &DecodeOptions) -> bool {
    let message = match decode_with(bytes, options) {
        Ok(message) => message,
        Err(why) => {
            assert!(!why.to_string().is_empty(), "every refusal has words");
            return false;
        }
    };
    walk(&message);
    let metadata: Vec<Entry<'_>> = message.extended.iter().flat_map(|extended| extended.metadata).collect();
    let again = sent_on(&message, &metadata);
    // What a lenient receiver took may be nothing that can be sent.
    let length = match encoded_len(&again) {
        Ok(length) => length,
        Err(why) => {
            assert!(options.peer != Peer::Strict, "was taken strictly and cannot be sent: {why}");
            return true;
        }
    };
    let mut wire = vec![0; length];
    assert_eq!(encode(&again, &mut wire), Ok(length), "as long as was said");
    match decode_with(&wire, &DecodeOptions::strict(MAX + 64)) {
        Ok(twice) => {
            let metadata: Vec<Entry<'_>> = twice.extended.iter().flat_map(|extended| extended.metadata).collect();
            let mut again = vec![0; length];
            assert_eq!(encode(&sent_on(&twice, &metadata), &mut again), Ok(length));
            assert!(again == wire, "what was sent on comes out as it went in");
        }
        Err(why) => assert!(options.peer != Peer::Strict, "was sent on and refused: {why}"),
    }
    true
}

/// The types whose contents are understood, and one of others.
const TYPES: [&str; 32] = [
    "TRANSFORM",
    "POSITION",
    "QTRANS",
    "TDATA",
    "QTDATA",
    "IMAGE",
    "IMGMETA",
    "LBMETA",
    "COLORT",
    "POINT",
    "TRAJ",
    "POLYDATA",
    "STATUS",
    "STRING",
    "CAPABILITY",
    "SENSOR",
    "NDARRAY",
    "COMMAND",
    "RTS_COMMAND",
    "BIND",
    "VIDEO",
    "VIDEOMETA",
    "GET_IMAGE",
    "STT_TDATA",
    "STT_QTDATA",
    "STT_VIDEO",
    "GET_BIND",
    "STT_BIND",
    "STP_TDATA",
    "RTS_TDATA",
    "RTS_BIND",
    "WEATHER",
];

/// Bytes as the content of the type that the first of them picks; its highest bit picks header version 2.
pub fn body(bytes: &[u8]) {
    let Some((pick, content)) = bytes.split_first() else { return };
    let wire = framed(1 + (pick >> 7), TYPES[usize::from(*pick) % TYPES.len()].as_bytes(), content);
    for options in WAYS {
        self::bytes(&wire, &options);
    }
}

/// A whole message as [`body`] takes it: its content behind the number of its type.
pub fn seed(wire: &[u8]) -> Option<Vec<u8>> {
    let name = wire.get(2..14)?;
    let pick = TYPES.iter().position(|kind| name.iter().copied().eq(kind.bytes().chain([0; 12]).take(12)))? as u8;
    let version = (wire[1] - 1) << 7;
    Some([&[pick | version], wire.get(HEADER_SIZE..)?].concat())
}

/// The same bytes as a stream, in pieces whose sizes they say themselves; memory stays bounded.
pub fn stream(bytes: &[u8], options: DecodeOptions) {
    let mut framer = Framer::with_options(options);
    let (mut left, mut turn) = (bytes, 0);
    while !left.is_empty() {
        let piece = 1 + usize::from(bytes[turn % bytes.len()]).min(left.len() - 1);
        turn += 1;
        let taken = framer.push(&left[..piece]);
        left = &left[taken..];
        while let Some(message) = framer.next_message() {
            if let Ok(message) = message {
                walk(&message);
            }
        }
        if framer.lost() {
            assert_eq!(framer.push(left), 0, "nothing is taken any more");
            break;
        }
        assert!(taken > 0, "there is room after every message was taken");
    }
    assert!(framer.buffered_max() <= HEADER_SIZE + options.max_body.max(4096), "memory is bounded");
}

/// A message with the body's true length and CRC, so that bytes reach the parts behind the header.
pub fn framed(version: u8, type_name: &[u8], body: &[u8]) -> Vec<u8> {
    let mut wire = vec![0; HEADER_SIZE];
    wire[1] = version;
    wire[2..2 + type_name.len().min(12)].copy_from_slice(&type_name[..type_name.len().min(12)]);
    wire[14..18].copy_from_slice(b"fuzz");
    wire[42..50].copy_from_slice(&(body.len() as u64).to_be_bytes());
    wire[50..58].copy_from_slice(&crc64(body).to_be_bytes());
    wire.extend(body);
    wire
}

fn sent_on<'a>(message: &Message<'a>, metadata: &'a [Entry<'a>]) -> Outgoing<'a> {
    Outgoing {
        version: message.header.version,
        device: message.header.device,
        timestamp: message.header.timestamp,
        message_id: message.extended.map_or(0, |extended| extended.message_id),
        metadata,
        content: message.content,
    }
}

/// Every element of every list is read, by its words.
fn walk(message: &Message<'_>) {
    struct Nowhere(usize);
    impl std::fmt::Write for Nowhere {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut words = Nowhere(0);
    std::fmt::Write::write_fmt(&mut words, format_args!("{message:?}")).expect("nowhere takes all");
    assert!(words.0 > 0, "a message has words");
    match &message.content {
        Content::Bind(bind) => {
            assert_eq!(bind.iter().count(), bind.len(), "every child is there");
            for child in bind.iter() {
                if let Err(why) = child.decode() {
                    assert!(!why.to_string().is_empty(), "every refusal has words");
                }
            }
        }
        Content::PolyData(surface) => {
            assert_eq!(surface.attributes.iter().count(), surface.attributes.len(), "every attribute is there");
            for cells in [surface.vertices, surface.lines, surface.polygons, surface.triangle_strips] {
                let points: usize = cells.iter().map(|cell| 1 + cell.len()).sum();
                assert_eq!(points, cells.flat().len(), "cells are whole");
                let index = cells.iter().flatten().max().unwrap_or(0) as usize;
                assert!(index == 0 || index < surface.points.len(), "an index is that of a point");
            }
        }
        Content::Image(image) => assert!(image.grid().size == image.size, "a grid is as large as its image"),
        _ => {}
    }
}
