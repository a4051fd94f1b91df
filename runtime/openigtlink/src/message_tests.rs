//! Messages laid out by hand from the protocol's tables, round trips, and bytes of any kind.

use super::*;
use crate::{Orientation, Position, Status, Text, Transform, TypeName, encoding};
use proptest::prelude::*;

const MAX: usize = 1 << 16;

/// A message built field by field, without the encoder.
fn by_hand(version: u16, type_name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend(type_name.bytes().chain(std::iter::repeat(0)).take(12));
    bytes.extend(b"StylusTipToReference");
    bytes.extend(0x0000_0001_8000_0000_u64.to_be_bytes());
    bytes.extend((body.len() as u64).to_be_bytes());
    bytes.extend(crc64(body).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Identity rotation, translation (1, 2, −3) mm.
fn transform_content() -> Vec<u8> {
    let one = [0x3F, 0x80, 0, 0];
    let zero = [0; 4];
    [one, zero, zero, zero, one, zero, zero, zero, one, one, [0x40, 0, 0, 0], [0xC0, 0x40, 0, 0]].concat()
}

fn refusal(bytes: &[u8]) -> DecodeError {
    decode(bytes, MAX).expect_err("must be refused")
}

#[test]
fn a_transform_laid_out_by_hand() {
    let bytes = by_hand(1, "TRANSFORM", &transform_content());
    assert_eq!(bytes.len(), 58 + 48);
    let message = decode(&bytes, MAX).expect("is right");
    assert_eq!(message.header.device.as_str(), "StylusTipToReference");
    assert_eq!((message.header.timestamp.seconds(), message.header.timestamp.nanos()), (1, 500_000_000));
    let columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 2.0, -3.0]];
    assert_eq!(message.content, Content::Transform(Transform { columns }));
    assert_eq!(message.extended, None);
}

#[test]
fn metadata_laid_out_by_hand() {
    let mut body = vec![0, 12, 0, 18, 0, 0, 0, 23, 0, 0, 0, 9];
    body.extend(transform_content());
    body.extend([0, 2, 0, 15, 0, 3, 0, 0, 0, 2, 0, 1, 0, 106, 0, 0, 0, 5]);
    body.extend(b"TransformStatusOKkv\xC3\xA4ue");
    let bytes = by_hand(2, "TRANSFORM", &body);
    let message = decode(&bytes, MAX).expect("is right");
    assert_eq!(message.extended.map(|extended| extended.message_id), Some(9));
    assert_eq!(message.metadata("TransformStatus"), Some(&b"OK"[..]));
    assert_eq!(message.metadata("k"), Some("väue".as_bytes()));
    assert_eq!(message.metadata("K"), None);

    // Every length of the extended header and the index, made wrong one by one.
    for (at, value) in [
        (1, 11),
        (1, 13),
        (3, 17),
        (3, 19),
        (3, 255),
        (5, 255),
        (7, 22),
        (7, 24),
        (61, 1),
        (61, 3),
        (63, 14),
        (66, 255),
    ] {
        let mut wrong = body.clone();
        wrong[at] = value;
        let why = refusal(&by_hand(2, "TRANSFORM", &wrong));
        assert!(!why.loses_framing(), "byte {at} = {value}: {why}");
    }
}

#[test]
fn a_status_without_its_closing_zero_is_read_to_its_end() {
    let mut body = vec![0, 13, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE];
    body.extend(b"NOT_READY\0\0\0\0\0\0\0\0\0\0\0warming up");
    let bytes = by_hand(1, "STATUS", &body);
    let expected = Status { code: 13, sub_code: -2, name: b"NOT_READY", message: b"warming up" };
    assert_eq!(decode(&bytes, MAX).expect("is right").content, Content::Status(expected));
    assert!(matches!(
        refusal(&by_hand(1, "STATUS", &body[..29])),
        DecodeError::Short { offset: 68, need: 20, have: 19, .. }
    ));
}

#[test]
fn refusals_name_the_field_the_byte_and_what_would_be_right() {
    let good = by_hand(1, "TRANSFORM", &transform_content());
    assert!(matches!(refusal(&good[..57]), DecodeError::Short { field: "header", need: 58, have: 57, .. }));
    assert!(matches!(refusal(&good[..105]), DecodeError::Short { field: "body", offset: 58, need: 48, have: 47 }));
    let why = refusal(&by_hand(3, "TRANSFORM", &transform_content()));
    assert_eq!(why.to_string(), "VERSION at byte 0 is 3; header versions 1 and 2 are defined");
    assert!(why.loses_framing());
    assert_eq!(decode(&good, 47), Err(DecodeError::BodyTooLong { value: 48, max: 47 }));
    let mut flipped = good.clone();
    flipped[70] ^= 1;
    assert!(matches!(refusal(&flipped), DecodeError::Crc { body_size: 48, .. }));
    let why = refusal(&by_hand(1, "TRANSFORM", &[0; 49]));
    assert!(matches!(why, DecodeError::Value { offset: 58, value: 49, .. }), "{why}");
    assert!(matches!(refusal(&by_hand(1, "POSITION", &[0; 32])), DecodeError::Value { value: 32, .. }));
    let why = refusal(&by_hand(1, "STRING", b"\0\x03\0\x64hello"));
    assert_eq!(why.to_string(), "STRING's LENGTH at byte 60 is 100; the number of bytes behind it is 5");
    let mut nameless = good;
    nameless[2] = 0;
    assert!(refusal(&nameless).loses_framing());
}

#[test]
fn a_header_of_version_2_without_an_extended_header_is_refused() {
    let why = refusal(&by_hand(2, "TRANSFORM", &transform_content()));
    assert!(matches!(why, DecodeError::Short { field: "extended header", .. }), "{why}");
}

#[test]
fn a_message_that_cannot_be_written_leaves_the_buffer_alone() {
    let content = Content::String(Text { encoding: encoding::US_ASCII, bytes: b"hello" });
    let mut message = Outgoing::plain(DeviceName::default(), Timestamp::NONE, content);
    let mut out = [0xAA; 66];
    assert_eq!(encode(&message, &mut out), Err(EncodeError::BufferTooSmall { need: 67, have: 66 }));
    message.message_id = 1;
    assert_eq!(encode(&message, &mut out), Err(EncodeError::NeedsVersion2));
    let long = vec![b'x'; 65_536];
    message =
        Outgoing::plain(DeviceName::default(), Timestamp::NONE, Content::String(Text { encoding: 3, bytes: &long }));
    assert!(matches!(encode(&message, &mut out), Err(EncodeError::TooLong { length: 65_536, max: 65_535, .. })));
    let status = Status { code: 1, sub_code: 0, name: b"LONGER_THAN_TWENTY_BYTES", message: b"" };
    message.content = Content::Status(status);
    assert!(matches!(encode(&message, &mut out), Err(EncodeError::TooLong { max: 20, .. })));
    assert_eq!(out, [0xAA; 66]);
}

/// Bytes that a text up to a zero may hold.
fn text(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255_u8, 0..=most)
}

/// What a content is made of, owned, so that proptest can shrink it.
#[derive(Debug, Clone)]
enum Made {
    Transform([[f32; 3]; 4]),
    Position([f32; 3], Option<[f32; 4]>, bool),
    Status(u16, i64, Vec<u8>, Vec<u8>),
    String(u16, Vec<u8>),
    Other(String, Vec<u8>),
}

impl Made {
    fn content(&self) -> Content<'_> {
        match self {
            Self::Transform(columns) => Content::Transform(Transform { columns: *columns }),
            Self::Position(at, orientation, whole) => Content::Position(Position {
                at: *at,
                orientation: match orientation {
                    None => Orientation::None,
                    Some([x, y, z, _]) if !whole => Orientation::Xyz([*x, *y, *z]),
                    Some(xyzw) => Orientation::Xyzw(*xyzw),
                },
            }),
            Self::Status(code, sub_code, name, message) => {
                Content::Status(Status { code: *code, sub_code: *sub_code, name, message })
            }
            Self::String(encoding, bytes) => Content::String(Text { encoding: *encoding, bytes }),
            Self::Other(name, bytes) => Content::Other { type_name: TypeName::new(name).expect("made to fit"), bytes },
        }
    }
}

fn number() -> impl Strategy<Value = f32> {
    -1e6..1e6_f32
}

fn made() -> impl Strategy<Value = Made> {
    prop_oneof![
        prop::array::uniform4(prop::array::uniform3(number())).prop_map(Made::Transform),
        (prop::array::uniform3(number()), prop::option::of(prop::array::uniform4(number())), any::<bool>())
            .prop_map(|(at, orientation, whole)| Made::Position(at, orientation, whole)),
        (any::<u16>(), any::<i64>(), text(20), text(90)).prop_map(|(c, s, n, m)| Made::Status(c, s, n, m)),
        (any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(e, b)| Made::String(e, b)),
        ("[A-Z]{1,5}X[0-9]{1,6}", prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(n, b)| Made::Other(n, b)),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        made in made(),
        device in "[ -~]{1,20}",
        stamp: u64,
        v2 in prop::option::of((any::<u32>(), prop::collection::vec((text(30), any::<u16>(), text(50)), 0..6))),
    ) {
        let pairs = v2.as_ref().map_or(&[][..], |(_, pairs)| pairs.as_slice());
        let metadata: Vec<_> =
            pairs.iter().map(|(key, encoding, value)| Entry { key, encoding: *encoding, value }).collect();
        let out = Outgoing {
            version: if v2.is_some() { Version::V2 } else { Version::V1 },
            device: DeviceName::new(&device).expect("fits"),
            timestamp: Timestamp(stamp),
            message_id: v2.as_ref().map_or(0, |(id, _)| *id),
            metadata: &metadata,
            content: made.content(),
        };
        let mut wire = vec![0xEE; encoded_len(&out).expect("can be sent") + 3];
        let length = encode(&out, &mut wire).expect("can be sent");
        prop_assert_eq!(&wire[length..], &[0xEE; 3]);
        let message = decode(&wire, MAX).expect("was just written");
        prop_assert_eq!(message.content, out.content);
        prop_assert_eq!((message.header.device, message.header.timestamp), (out.device, out.timestamp));
        let entries: Vec<_> = message.extended.iter().flat_map(|extended| extended.metadata).collect();
        prop_assert_eq!(entries, metadata);
        prop_assert_eq!(message.extended.map(|extended| extended.message_id), v2.as_ref().map(|(id, _)| *id));

        // Any one bit of the body makes it another body; any cut is seen.
        let bit = stamp as usize % (8 * (length - HEADER_SIZE).max(1));
        if length > HEADER_SIZE {
            wire[HEADER_SIZE + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(matches!(decode(&wire, MAX), Err(DecodeError::Crc { .. })), "a flipped bit");
            prop_assert!(matches!(decode(&wire[..length - 1], MAX), Err(DecodeError::Short { .. })), "a cut");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes, MAX).map_err(|why| why.to_string());
    }

    /// With a header and a CRC that are right, so that the bytes reach the parts behind them.
    #[test]
    fn no_body_makes_it_panic(
        version in 1..3_u16,
        kind in prop::sample::select(vec!["TRANSFORM", "POSITION", "STATUS", "STRING", "IMAGE"]),
        mut body in prop::collection::vec(any::<u8>(), 0..120),
        small in prop::collection::vec(0..24_u8, 8),
    ) {
        // Small numbers in the length fields reach deeper than random ones.
        for (byte, small) in body.iter_mut().zip([0, small[1] + 8, 0, small[3], 0, 0, 0, small[7]]) {
            *byte = small;
        }
        let bytes = by_hand(version, kind, &body);
        if let Ok(message) = decode(&bytes, MAX) {
            let walked = message.extended.map_or(0, |extended| extended.metadata.iter().count());
            prop_assert_eq!(walked, message.extended.map_or(0, |extended| extended.metadata.len()));
        }
    }
}
