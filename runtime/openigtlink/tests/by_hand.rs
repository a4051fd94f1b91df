//! Messages laid out field by field from the protocol's tables, for what the C++ library 1.11 does not write: COMMAND,
//! VIDEO, VIDEOMETA, QTRANS, STT_VIDEO, and header version 2.

mod exercise;

use bregma_openigtlink::{
    Ask, Attribute, Attributes, Content, Coordinates, DecodeOptions, DeviceName, Endian, Entry, List, Meaning,
    Orientation, Outgoing, Part, Peer, PolyData, Timestamp, Version, decode, decode_with, encode, encoded_len,
};
use exercise::framed;

const MAX: usize = 1 << 16;

/// A text, filled up with zeros.
fn field(text: &str, size: usize) -> Vec<u8> {
    let mut field = text.as_bytes().to_vec();
    field.resize(size, 0);
    field
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// i along y, j along z, k along x, of 0.5, 0.25 and 1 mm; the centre at (1, 2, 3).
const MATRIX: [f32; 12] = [0.0, 0.5, 0.0, 0.0, 0.0, 0.25, 1.0, 0.0, 0.0, 1.0, 2.0, 3.0];

fn comes_out_as_it_went_in(wire: &[u8]) {
    let message = decode(wire, MAX).expect("is right");
    let again = Outgoing::plain(message.header.device, message.header.timestamp, message.content);
    let mut out = vec![0; encoded_len(&again).expect("can be sent")];
    encode(&again, &mut out).expect("can be sent");
    assert_eq!(out, wire);
}

#[test]
fn a_command_and_its_answer() {
    let mut body = 7_u32.to_be_bytes().to_vec();
    body.extend(field("Retract", 128));
    body.extend([0, 106, 0, 0, 0, 9]);
    body.extend(b"<mm>5</m>");
    for (name, answers) in [("COMMAND", false), ("RTS_COMMAND", true)] {
        let wire = framed(1, name.as_bytes(), &body);
        let (command, answer) = match decode(&wire, MAX).expect("is right").content {
            Content::Command(command) => (command, false),
            Content::CommandReply(command) => (command, true),
            other => panic!("{other:?}"),
        };
        assert_eq!((command.id, command.name, command.encoding, answer), (7, &b"Retract"[..], 106, answers));
        assert_eq!(command.text, b"<mm>5</m>");
        comes_out_as_it_went_in(&wire);
    }
    body[137] = 8;
    let why = decode(&framed(1, b"COMMAND", &body), MAX).map(|_| ()).expect_err("nine bytes");
    assert_eq!(why.to_string(), "COMMAND's LENGTH at byte 192 is 8; the number of bytes behind it is 9");
}

#[test]
fn a_video_and_the_list_of_videos() {
    let mut body = vec![0, 1, 2];
    body.extend(b"H264");
    body.extend([0, 3, 2, 0x02, 0x80, 0x01, 0xE0, 0, 1]);
    body.extend(floats(&MATRIX));
    body.extend([0, 16, 0, 0, 0, 0, 0x02, 0x70, 0x01, 0xE0, 0, 1]);
    assert_eq!(body.len(), 76);
    body.extend(b"\0\0\0\x01\x67");
    let wire = framed(1, b"VIDEO", &body);
    let Content::Video(video) = decode(&wire, MAX).expect("is right").content else { panic!("no VIDEO") };
    assert_eq!((video.endian, &video.codec, video.frame_type), (Endian::Little, b"H264", 3));
    assert_eq!((video.coordinates, video.size), (Coordinates::Lps, [640, 480, 1]));
    assert_eq!(video.part, Part { offset: [16, 0, 0], size: [624, 480, 1] });
    assert_eq!((video.picture, video.grid().spacing()), (&b"\0\0\0\x01\x67"[..], [0.5, 0.25, 1.0]));
    // Half of 639 steps of 0.5 mm along y, half of 479 of 0.25 mm along z before the centre.
    assert_eq!(video.grid().first, [1.0, 2.0 - 159.75, 3.0 - 59.875]);
    comes_out_as_it_went_in(&wire);
    body[65] = 17;
    let why = decode(&framed(1, b"VIDEO", &body), MAX).map(|_| ()).expect_err("beyond the picture");
    assert!(why.to_string().contains("is 641; the most at which it may end, the image's size, is 640"), "{why}");

    let mut body =
        [field("Microscope, left", 64), field("MicroscopeLeft", 64), field("Phantom", 64), field("P-1", 64)].concat();
    body.extend([0xFF, 0xFE]);
    body.extend(250.5_f64.to_be_bytes());
    body.extend([0x02, 0x80, 0x01, 0xE0, 0, 1]);
    body.extend(floats(&MATRIX));
    body.extend([3, 0]);
    assert_eq!(body.len(), 322);
    let wire = framed(1, b"VIDEOMETA", &body);
    let Content::Videos(videos) = decode(&wire, MAX).expect("is right").content else { panic!("no VIDEOMETA") };
    let video = videos.get(0).expect("one");
    assert_eq!((video.name, video.device), (&b"Microscope, left"[..], &b"MicroscopeLeft"[..]));
    assert_eq!((video.patient_name, video.patient_id), (&b"Phantom"[..], &b"P-1"[..]));
    assert_eq!((video.zoom, video.focal_length, video.size, video.scalar), (-2, 250.5, [640, 480, 1], 3));
    assert_eq!(video.matrix.as_flattened(), MATRIX);
    comes_out_as_it_went_in(&wire);
}

#[test]
fn a_position_under_its_older_name() {
    let wire = framed(1, b"QTRANS", &floats(&[1.0, 2.0, 3.0, 0.5, 0.5, -0.5, 0.5]));
    let Content::QTrans(position) = decode(&wire, MAX).expect("is right").content else { panic!("no QTRANS") };
    assert_eq!((position.at, position.orientation), ([1.0, 2.0, 3.0], Orientation::Xyzw([0.5, 0.5, -0.5, 0.5])));
    comes_out_as_it_went_in(&wire);
}

#[test]
fn a_stream_of_video_is_asked_for() {
    let wire = framed(1, b"STT_VIDEO", b"VP90\0\0\0\x28");
    let ask = Ask::Video { codec: *b"VP90", interval_ms: 40 };
    let Content::Request { ask: asked, .. } = decode(&wire, MAX).expect("is right").content else { panic!("no STT_") };
    assert_eq!(asked, ask);
    comes_out_as_it_went_in(&wire);
    // The library's later versions send a ninth byte.
    let nine = framed(1, b"STT_VIDEO", b"VP90\0\0\0\x28\x01");
    assert!(decode(&nine, MAX).is_err());
    let lenient = DecodeOptions { peer: Peer::CppLibrary, ..DecodeOptions::strict(MAX) };
    let Content::Request { ask: asked, .. } = decode_with(&nine, &lenient).expect("as it is").content else {
        panic!("no STT_")
    };
    assert_eq!(asked, ask);
}

#[test]
fn types_of_others_are_handed_on() {
    for name in ["GET_WEATHER", "WEATHER", "GET_", "RTS_", "COLORTABLE"] {
        let wire = framed(1, name.as_bytes(), b"as it is");
        let content = decode(&wire, MAX).expect("is right").content;
        let Content::Other { type_name, bytes } = content else { panic!("{name} is {content:?}") };
        assert_eq!((type_name.as_str(), bytes), (name, &b"as it is"[..]));
        comes_out_as_it_went_in(&wire);
    }
}

#[test]
fn header_version_2_carries_any_content_between_its_parts() {
    let content = b"\0\x03\0\x02hi";
    let mut body = vec![0, 12, 0, 10, 0, 0, 0, 7, 0, 0, 0, 42];
    body.extend(content);
    body.extend([0, 1, 0, 4, 0, 3, 0, 0, 0, 3]);
    body.extend(b"Unitmm.");
    let wire = framed(2, b"STRING", &body);
    let message = decode(&wire, MAX).expect("is right");
    assert_eq!(message.content, Content::String("hi".into()));
    assert_eq!(
        (message.metadata("Unit"), message.extended.map(|extended| extended.message_id)),
        (Some(&b"mm."[..]), Some(42))
    );
    let again = Outgoing {
        version: Version::V2,
        device: DeviceName::constant("fuzz"),
        timestamp: Timestamp::NONE,
        message_id: 42,
        metadata: &[Entry { key: b"Unit", encoding: 3, value: b"mm." }],
        content: message.content,
    };
    let mut out = vec![0; encoded_len(&again).expect("can be sent")];
    encode(&again, &mut out).expect("can be sent");
    assert_eq!(out, wire);
}

#[test]
fn attributes_that_the_library_makes_tensors_are_taken_only_when_asked_for() {
    let values: [f32; 9] = std::array::from_fn(|at| at as f32);
    let attributes = [Attribute {
        of_cells: true,
        meaning: Meaning::Tensors,
        components: 9,
        name: b"flow",
        values: List::new(&values),
    }];
    let surface = PolyData { attributes: Attributes::new(&attributes), ..PolyData::default() };
    let mut content = [0; 200];
    let length = Content::PolyData(surface).encode_into(&mut content).expect("can be sent");
    // TYPE of the first attribute follows 40 bytes: a cell's vector, of nine numbers.
    content[40] = 0x11;
    let wire = framed(1, b"POLYDATA", &content[..length]);
    let why = decode(&wire, MAX).map(|_| ()).expect_err("a vector of nine numbers");
    assert!(why.to_string().ends_with("at byte 99 is 9; vectors and normals have 3 numbers"), "{why}");
    let lenient = DecodeOptions { peer: Peer::CppLibrary, ..DecodeOptions::strict(MAX) };
    let Content::PolyData(surface) = decode_with(&wire, &lenient).expect("as it is").content else {
        panic!("no POLYDATA")
    };
    let attribute = surface.attributes.iter().next().expect("one");
    assert_eq!((attribute.of_cells, attribute.meaning, attribute.components), (true, Meaning::Vectors, 9));
    assert_eq!(attribute.values.iter().collect::<Vec<_>>(), values);
}

#[test]
fn a_checksum_is_left_out_only_where_both_sides_trust() {
    use bregma_openigtlink::{Checksum, DecodeError, encode_with};
    let message = Outgoing::plain(DeviceName::constant("a"), Timestamp::NONE, Content::String("text".into()));
    let mut wire = [0; 66];
    assert_eq!(encode_with(&message, &mut wire, Checksum::Trusted), Ok(66));
    assert_eq!(wire[50..58], [0; 8]);
    assert!(matches!(decode(&wire, MAX), Err(DecodeError::Crc { header: 0, .. })), "strict by default");
    let trusting = DecodeOptions { checksum: Checksum::Trusted, ..DecodeOptions::strict(MAX) };
    assert_eq!(decode_with(&wire, &trusting).map(|message| message.content), Ok(Content::String("text".into())));
    // Everything else is looked at all the same.
    wire[61] = 9;
    assert!(matches!(decode_with(&wire, &trusting), Err(DecodeError::Length { value: 9, expected: 4, .. })));
}
