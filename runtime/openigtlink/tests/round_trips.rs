//! Every type: what is encoded is decoded; what is cut, too long or lies about a length is refused.

mod exercise;
mod made;

use bregma_openigtlink::{
    Content, DecodeError, DeviceName, EncodeError, HEADER_SIZE, Outgoing, Timestamp, crc64, decode, encode, encoded_len,
};
use proptest::prelude::*;
use std::path::Path;

const MAX: usize = 1 << 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_encoded_is_decoded_whatever_it_is(kind in 0..made::KINDS, seed: u64) {
        made::with(kind, seed, |content| {
            let message = Outgoing::plain(DeviceName::constant("a"), Timestamp(seed), content);
            let length = encoded_len(&message).expect("can be sent");
            let mut wire = vec![0xEE; length + 3];
            prop_assert_eq!(encode(&message, &mut wire), Ok(length));
            prop_assert_eq!(&wire[length..], &[0xEE; 3]);
            let back = decode(&wire, MAX).expect("was just written");
            prop_assert_eq!(back.content, content);
            prop_assert_eq!((back.header.type_name, back.header.body_size), (content.type_name(), length - HEADER_SIZE));
            let mut body = vec![0; length - HEADER_SIZE];
            prop_assert_eq!(content.encode_into(&mut body), Ok(body.len()));
            prop_assert_eq!(&body, &wire[HEADER_SIZE..length]);
            Ok(())
        })?;
    }

    #[test]
    fn what_was_decoded_is_sent_on_as_it_came(kind in 0..made::KINDS, seed: u64) {
        let wire = made::message(kind, seed);
        for options in exercise::WAYS {
            prop_assert!(exercise::bytes(&wire, &options), "kind {}, seed {}", kind, seed);
        }
    }

    #[test]
    fn a_message_that_is_not_all_there_needs_more(kind in 0..made::KINDS, seed: u64) {
        let wire = made::message(kind, seed);
        for length in 0..wire.len() {
            let why = decode(&wire[..length], MAX).expect_err("is not all there");
            prop_assert!(why.needs_more() && matches!(why, DecodeError::Short { .. }), "{} of {}: {}", length, wire.len(), why);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        kind in 0..made::KINDS, seed: u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut wire = made::message(kind, seed);
        for (at, value) in changes {
            let at = at.index(wire.len());
            wire[at] = value;
        }
        for options in exercise::WAYS {
            exercise::bytes(&wire, &options);
            exercise::stream(&wire, options);
        }
    }
}

/// The C++ library's messages, and one of each kind that it does not know.
fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut samples: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of vectors")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "bin"))
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a readable vector")))
        .filter(|(name, _)| !name.ends_with("get_bind_odd_names.bin"))
        .collect();
    samples.extend([2, 17, 18, 20, 21, 28].map(|kind| (format!("kind {kind}"), made::message(kind, 4))));
    samples.sort();
    assert!(samples.len() >= 40, "{} samples", samples.len());
    samples
}

fn type_name(wire: &[u8]) -> String {
    String::from_utf8_lossy(&wire[2..14]).trim_end_matches('\0').to_owned()
}

/// The message with another content, with the length and the CRC of that.
fn with_content(wire: &[u8], content: &[u8]) -> Vec<u8> {
    exercise::framed(1, type_name(wire).as_bytes(), content)
}

/// Whether it is taken with another content.
fn take(wire: &[u8], content: &[u8]) -> Result<(), DecodeError> {
    decode(&with_content(wire, content), MAX).map(|_| ())
}

/// Whether a content of this length may be right, the rest of it being as it was.
fn may_be(kind: &str, length: usize) -> bool {
    match kind {
        "TDATA" => length.is_multiple_of(70),
        "QTDATA" => length.is_multiple_of(50),
        "POINT" => length.is_multiple_of(136),
        "TRAJ" => length.is_multiple_of(150),
        "IMGMETA" => length.is_multiple_of(260),
        "LBMETA" => length.is_multiple_of(116),
        "VIDEOMETA" => length.is_multiple_of(322),
        "CAPABILITY" => length.is_multiple_of(12),
        "POSITION" | "QTRANS" => matches!(length, 12 | 24 | 28),
        // Texts and pictures that end where the body ends.
        "STATUS" => length >= 30,
        "VIDEO" => length >= 76,
        // All children: nothing, or nothing behind the interval.
        "GET_BIND" => length == 0,
        "STT_BIND" => length == 8,
        _ => false,
    }
}

#[test]
fn a_content_cut_anywhere_or_too_long_is_refused() {
    for (name, wire) in samples() {
        let (content, kind) = (&wire[HEADER_SIZE..], type_name(&wire));
        assert!(decode(&with_content(&wire, content), MAX).is_ok(), "{name} as it is");
        for length in 0..content.len() {
            let taken = take(&wire, &content[..length]);
            assert!(taken.is_err() || may_be(&kind, length), "{name}: {length} of {} bytes", content.len());
            if let Err(why) = taken {
                assert!(!why.needs_more() && !why.loses_framing(), "{name}: {why}");
            }
        }
        for more in 1..4 {
            let longer: Vec<_> = content.iter().copied().chain(std::iter::repeat_n(0, more)).collect();
            let taken = take(&wire, &longer);
            assert!(taken.is_err() || may_be(&kind, longer.len()), "{name}: {more} more");
        }
    }
}

/// Where lengths and counts stand in the contents of the samples: offset, bytes.
fn lengths(kind: &str) -> Vec<(usize, usize)> {
    match kind {
        "STRING" => vec![(2, 2)],
        "COMMAND" | "RTS_COMMAND" => vec![(134, 4)],
        "SENSOR" => vec![(0, 1)],
        "NDARRAY" => vec![(1, 1), (2, 2), (4, 2)],
        // Components, scalar type, sizes of the part.
        "IMAGE" => vec![(2, 1), (66, 2), (68, 2), (70, 2)],
        // Counts and sizes of the head; N of the first vertex and the first polygon; N of the first attribute.
        "POLYDATA" => {
            let points = 40 + 4 * 12;
            let head = (0..10).map(|at| (4 * at, 4));
            head.chain([(points, 4), (points + 8 + 12, 4), (points + 8 + 12 + 32 + 20 + 2, 4)]).collect()
        }
        // Children, sizes of their bodies, size of the names.
        "BIND" => vec![(0, 2), (14, 8), (34, 8), (42, 2)],
        "GET_BIND" => vec![(0, 2), (26, 2)],
        "STT_BIND" => vec![(8, 2), (22, 2)],
        _ => vec![],
    }
}

#[test]
fn every_length_that_lies_is_refused() {
    let mut lies = 0;
    for (name, wire) in samples() {
        let content = &wire[HEADER_SIZE..];
        for (at, width) in lengths(&type_name(&wire)) {
            if at + width > content.len() {
                continue;
            }
            let mut wide = [0; 8];
            wide[8 - width..].copy_from_slice(&content[at..at + width]);
            let truth = u64::from_be_bytes(wide);
            let most = u64::MAX >> (64 - 8 * width);
            let near = [truth.wrapping_sub(1), truth + 1, truth + 2, truth * 2 + 1, truth.wrapping_add(4), truth / 2];
            for lie in near.into_iter().chain([0, 1, most, most - 1, most / 2, most / 2 + 1]).map(|lie| lie & most) {
                // A zero makes a child's odd body even: 7 bytes and that are as good as 8.
                let same = type_name(&wire) == "BIND" && width == 8 && lie.div_ceil(2) == truth.div_ceil(2);
                if lie == truth || same {
                    continue;
                }
                let mut content = content.to_vec();
                content[at..at + width].copy_from_slice(&lie.to_be_bytes()[8 - width..]);
                let taken = take(&wire, &content);
                let why = taken.expect_err(&format!("{name}: {truth} at {at} is said to be {lie}"));
                assert!(!why.needs_more() && !why.loses_framing(), "{name}: {why}");
                lies += 1;
            }
        }
    }
    assert!(lies > 300, "{lies} lies were told");
}

#[test]
fn a_body_that_the_header_lies_about_is_refused() {
    for (name, wire) in samples() {
        let truth = wire.len() - HEADER_SIZE;
        for lie in [0, 1, truth.wrapping_sub(1), truth + 1, truth * 2 + 2, MAX, usize::MAX] {
            if lie == truth {
                continue;
            }
            let mut wire = wire.clone();
            wire[42..50].copy_from_slice(&(lie as u64).to_be_bytes());
            // An empty body's CRC is 0, and so the CRC of a body of zeros: GET_ messages have no body.
            let taken = decode(&wire, MAX);
            assert!(taken.is_err(), "{name}: a body of {truth} bytes is said to have {lie}");
        }
    }
}

#[test]
fn what_a_receiver_would_refuse_is_not_sent() {
    let cannot = |content: Content<'_>| {
        let message = Outgoing::plain(DeviceName::constant("a"), Timestamp::NONE, content);
        let mut out = [0xAA; 600];
        let why = encode(&message, &mut out).expect_err("must not be sent");
        assert_eq!(out, [0xAA; 600], "nothing was written");
        why
    };
    made::with(5, 1, |content| {
        let Content::Image(image) = content else { panic!("kind 5 is IMAGE") };
        let why = cannot(Content::Image(bregma_openigtlink::Image { components: 0, ..image }));
        assert_eq!(why.to_string(), "IMAGE's NUM_COMPONENTS is 0; a voxel has one number at least");
        let shorter = &image.voxels[..image.voxels.len().saturating_sub(1)];
        let part = bregma_openigtlink::Part::whole(image.size);
        assert!(matches!(
            cannot(Content::Image(bregma_openigtlink::Image { part, voxels: shorter, ..image })),
            EncodeError::Differs { .. }
        ));
        let part = bregma_openigtlink::Part { offset: [1; 3], size: image.size };
        assert!(matches!(
            cannot(Content::Image(bregma_openigtlink::Image { part, ..image })),
            EncodeError::Differs { .. }
        ));
    });
    let zero = bregma_openigtlink::Status { code: 1, sub_code: 0, name: b"A\0B", message: b"" };
    assert_eq!(cannot(Content::Status(zero)), EncodeError::Zero { what: "STATUS's ERROR_NAME", at: 1 });
    let tools = [bregma_openigtlink::Tool {
        name: b"longer than twenty bytes",
        kind: bregma_openigtlink::ToolKind::SIX_D,
        matrix: [[0.0; 3]; 4],
    }];
    let tools = Content::Tools(bregma_openigtlink::List::new(&tools));
    assert!(matches!(cannot(tools), EncodeError::TooLong { length: 24, max: 20, .. }));
    let surface = |cells: &'static [u32]| {
        let points = bregma_openigtlink::List::new(&[[0.0; 3]; 3]);
        Content::PolyData(bregma_openigtlink::PolyData {
            points,
            polygons: bregma_openigtlink::Cells::new(cells),
            ..Default::default()
        })
    };
    let why = cannot(surface(&[3, 0, 1, 3]));
    assert_eq!(why.to_string(), "POLYDATA's POLYGONS is 3; above every index of a point: the number of points is 3");
    assert!(matches!(cannot(surface(&[3, 0, 1])), EncodeError::Differs { value: 3, expected: 2, .. }));
    let type_name = bregma_openigtlink::TypeName::constant("GET_IMAGE");
    let ask = bregma_openigtlink::Ask::Video { codec: *b"H264", interval_ms: 40 };
    assert!(matches!(cannot(Content::Request { type_name, ask }), EncodeError::TypeName { .. }));
    assert!(matches!(cannot(Content::Reply { type_name, status: 0 }), EncodeError::TypeName { .. }));
    assert_eq!(crc64(b""), 0, "so that a request without a body has CRC 0");
}
