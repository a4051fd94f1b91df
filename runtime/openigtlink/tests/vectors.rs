//! The reference library's own messages, and messages that a receiver must refuse.
//!
//! They lie under `BREGMA_TEST_DATA`, in `openigtlink/vectors` and `openigtlink/refused`; where it is unset
//! these tests say so. The messages laid out by hand in `src/message_tests.rs` need nothing.

use bregma_openigtlink::{
    Content, DecodeError, DecodeOptions, Entry, Orientation, Outgoing, Peer, Status, Version, decode, decode_with,
    encode, encoded_len,
};
use std::io::Write;
use std::path::PathBuf;

const MAX: usize = 1 << 20;

/// Files of a folder in the order of their names; `None` when there is no test data on this machine.
fn files(folder: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let Some(root) = std::env::var_os("BREGMA_TEST_DATA") else {
        writeln!(std::io::stderr(), "not run: BREGMA_TEST_DATA is unset").expect("stderr takes a line");
        return None;
    };
    let folder = PathBuf::from(root).join("openigtlink").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|why| panic!("{}: {why}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "bin"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("a readable file"))
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no .bin file", folder.display());
    Some(files)
}

#[test]
fn every_vector_decodes_and_encodes_to_the_same_bytes() {
    let Some(files) = files("vectors") else { return };
    let mut understood = 0;
    for (name, bytes) in &files {
        let message = decode(bytes, MAX).unwrap_or_else(|why| panic!("{name}: {why}"));
        understood += usize::from(!matches!(message.content, Content::Other { .. }));
        let metadata: Vec<Entry<'_>> = message.extended.iter().flat_map(|extended| extended.metadata).collect();
        let again = Outgoing {
            version: message.header.version,
            device: message.header.device,
            timestamp: message.header.timestamp,
            message_id: message.extended.map_or(0, |extended| extended.message_id),
            metadata: &metadata,
            content: message.content,
        };
        let mut wire = vec![0; encoded_len(&again).expect("can be sent")];
        encode(&again, &mut wire).expect("can be sent");
        assert!(wire == *bytes, "{name} does not come out as it went in");
    }
    assert_eq!((files.len(), understood), (23, 23));
}

#[test]
fn the_contents_are_what_the_reference_library_put_there() {
    let Some(files) = files("vectors") else { return };
    let vector = |name: &str| &files.iter().find(|(n, _)| n == name).expect("in the folder").1;
    let at = [46.0531, 19.4709, 46.0531_f32];
    let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);

    for (name, version) in [("test_transform_message", Version::V1), ("test_transform_message_Format2", Version::V2)] {
        let message = decode(vector(name), MAX).expect("is right");
        let Content::Transform(transform) = message.content else { panic!("{name}: {:?}", message.content) };
        assert!(near(&transform.columns[0], &[-0.954_892, 0.196_632, -0.222_525]), "{transform:?}");
        assert!(near(&transform.columns[2], &[0.222_525, 0.970_014, -0.097_75]), "{transform:?}");
        assert!(near(&transform.columns[3], &at), "{transform:?}");
        assert_eq!((message.header.version, message.header.device.as_str()), (version, "DeviceName"));
        let age = message.metadata("Second patient age");
        assert_eq!(age, (version == Version::V2).then_some(&b"25"[..]));
    }
    let Content::Position(position) = decode(vector("test_position_message"), MAX).expect("is right").content else {
        panic!("no POSITION")
    };
    assert!(near(&position.at, &at));
    let Orientation::Xyzw(xyzw) = position.orientation else { panic!("{position:?}") };
    assert!(near(&xyzw, &[0.0, 0.577_35, 0.577_35, 0.333_333]), "{xyzw:?}");

    let status = Status { code: 15, sub_code: 10, name: b"ACTUATOR_DISABLED", message: b"Actuator A is disabled." };
    assert_eq!(decode(vector("test_status_message"), MAX).expect("is right").content, Content::Status(status));
    let string = decode(vector("test_string_message"), MAX).expect("is right").content;
    assert_eq!(string, Content::String("Welcome to OpenIGTLink".into()));
}

/// Whether a refusal is of the class that the corpus names.
fn agrees(why: &DecodeError, class: &str) -> bool {
    match why {
        DecodeError::Crc { .. } => class == "CRC_MISMATCH",
        // 2^62 announced bytes are over the limit before they are missing.
        DecodeError::BodyTooLong { .. } => class == "SHORT_BUFFER",
        DecodeError::Short { .. } if why.needs_more() => class == "SHORT_BUFFER",
        DecodeError::Short { .. }
        | DecodeError::Value { .. }
        | DecodeError::Length { .. }
        | DecodeError::Name { .. } => class == "MALFORMED",
    }
}

#[test]
fn what_must_be_refused_is_refused_for_the_right_reason() {
    let Some(files) = files("refused") else { return };
    let index =
        PathBuf::from(std::env::var_os("BREGMA_TEST_DATA").expect("was set")).join("openigtlink/refused/index.json");
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(index).expect("a readable index")).expect("JSON");
    for (name, bytes) in &files {
        let class = index[name]["error_class"].as_str().unwrap_or_else(|| panic!("{name} is not in index.json"));
        let lenient = DecodeOptions { peer: Peer::CppLibrary, ..DecodeOptions::strict(MAX) };
        for options in [DecodeOptions::strict(MAX), lenient] {
            match decode_with(bytes, &options) {
                Err(why) => assert!(agrees(&why, class), "{name} is {class}, not: {why}"),
                Ok(message) => panic!("{name} was taken: {message:?}"),
            }
        }
    }
    assert_eq!(files.len(), 16);
}
