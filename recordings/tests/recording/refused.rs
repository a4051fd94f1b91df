//! Bytes that a reader must refuse: `recordings/refused`, each with its reason in `index.tsv`.
//!
//! The files are made by `cases` below; with `BREGMA_WRITE_REFUSED` set the test writes them anew.

use crate::made::{header, items, read, recorded};
use bregma_recordings::wire::bytes_of;
use bregma_recordings::{Item, Message, Topic};
use mcap::WriteOptions;
use mcap::records::MessageHeader;
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("refused")
}

/// A file made by hand: header, one channel and one message.
fn made(profile: &str, header: &str, topic: &str, schema: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let options = WriteOptions::new().profile(profile).disable_seeking(true).compression_threads(0);
    let mut writer = options.create(&mut bytes).expect("memory");
    let none = BTreeMap::new();
    let mut channel = |topic: &str, schema: &str| {
        let schema = writer.add_schema(schema, "text", b"").expect("memory");
        writer.add_channel(schema, topic, "postcard", &none).expect("memory")
    };
    let channels = if topic == "header" {
        [channel(topic, schema); 2]
    } else {
        let other = channel(topic, schema);
        [channel("header", Topic::Header.schema()), other]
    };
    for (channel_id, data) in channels.into_iter().zip([header.as_bytes(), data]) {
        let first = MessageHeader { channel_id, sequence: 1, log_time: 0, publish_time: 0 };
        writer.write_to_known_channel(&first, data).expect("memory");
    }
    writer.finish().expect("memory");
    drop(writer);
    bytes.into_inner()
}

/// Offsets of the chunks.
fn chunks(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut chunks) = (8, Vec::new());
    while at + 9 <= bytes.len() {
        if bytes[at] == mcap::records::op::CHUNK {
            chunks.push(at);
        }
        at += 9 + u64::from_le_bytes(bytes[at + 1..at + 9].try_into().expect("eight")) as usize;
    }
    chunks
}

fn cases() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let json = header().to_json();
    let small: Vec<Item> = items()
        .into_iter()
        .filter(|i| matches!(i.message, Message::Heartbeat(_) | Message::Order(_)))
        .take(20)
        .collect();
    let mut good = recorded(&small);
    let at = chunks(&good);
    // What follows the third chunk is large and of no use here.
    good.truncate(at[3]);
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let channel = |topic: &str, schema: &str, data: &[u8]| made("bregma", &json, topic, schema, data);
    let message = |topic: Topic, data: &[u8]| channel(topic.name(), topic.schema(), data);
    let scene = || {
        let body = bytes_of(&Message::Scene(crate::made::scene(0))).expect("has a wire form");
        [vec![1], body].concat()
    };
    vec![
        ("empty.mcap", "no MCAP file", Vec::new()),
        ("text.mcap", "no MCAP file", b"this is not a recording".to_vec()),
        ("magic_only.mcap", "nothing to read", good[..8].to_vec()),
        ("first_chunk_cut.mcap", "before its first chunk is whole", good[..at[0] + 100].to_vec()),
        ("other_profile.mcap", "another program wrote it", made("ros2", &json, "header", "bregma.Header.1", b"")),
        ("first_chunk_damaged.mcap", "is damaged", changed(&|b| b[at[0] + 300] ^= 0x10)),
        ("second_chunk_damaged.mcap", "is damaged", changed(&|b| b[at[1] + 60] ^= 0x10)),
        // The fields of a chunk after opcode and length: two times, size, checksum, compression.
        (
            "chunk_claims_2_to_60.mcap",
            "is damaged",
            changed(&|b| b[at[0] + 25..at[0] + 33].copy_from_slice(&(1_u64 << 60).to_le_bytes())),
        ),
        (
            "chunk_without_checksum_claims_much.mcap",
            "is damaged",
            changed(&|b| {
                b[at[0] + 25..at[0] + 33].copy_from_slice(&(1_u64 << 62).to_le_bytes());
                b[at[0] + 33..at[0] + 37].fill(0);
            }),
        ),
        ("unknown_compression.mcap", "is damaged", changed(&|b| b[at[0] + 41..at[0] + 45].copy_from_slice(b"zst9"))),
        ("unknown_channel.mcap", "no such channel is known", channel("telepathy", "bregma.Thought.1", &[1])),
        ("newer_schema.mcap", "\"bregma.TipPose.1\" is needed", channel("tips", "bregma.TipPose.9", &[1])),
        (
            "newer_header.mcap",
            "this program reads schema 1",
            made("bregma", &json.replace("\"schema\": 1", "\"schema\": 9"), "orders", "bregma.Order.1", &[1, 1]),
        ),
        ("header_is_no_json.mcap", "the header is not valid", made("bregma", "{", "orders", "bregma.Order.1", &[1, 1])),
        ("unknown_order.mcap", "orders 1: `order`: 99 means nothing here", message(Topic::Orders, &[1, 99])),
        ("order_too_long.mcap", "1 bytes follow the message", message(Topic::Orders, &[1, 1, 1])),
        ("endless_number.mcap", "is damaged", message(Topic::Orders, &[255; 12])),
        (
            "path_of_2_to_60_knots.mcap",
            "approved 1: `message`",
            message(
                Topic::Approved,
                &[&[1, 1, 1, 1, 1][..], &[7; 96], b"\x04ur5e\x01", &[255, 255, 255, 255, 255, 255, 255, 15]].concat(),
            ),
        ),
        (
            "anatomy_of_2_to_31_voxels.mcap",
            "`label_runs`",
            message(
                Topic::Anatomy,
                &[&[1, 8, 0, 1, 1, 1][..], &[0; 32], &[1, 255, 255, 255, 255, 7, 1, 0], &[0; 128 + 32]].concat(),
            ),
        ),
        ("scene_without_its_base.mcap", "is the difference to scene 64", {
            // `based_on` stands before the runs' length: the last zero before it.
            let mut data = scene();
            let runs = bytes_of(&Message::Scene(crate::made::scene(0))).expect("has a wire form").len();
            let based_on = data.len() - runs + based_on_at(&data[1..]);
            data[based_on] = 64;
            message(Topic::Scenes, &data)
        }),
        ("scene_runs_short.mcap", "`runs`", {
            let mut data = scene();
            let end = data.len() - 1;
            data[end] ^= 1;
            message(Topic::Scenes, &data)
        }),
    ]
}

/// Where `based_on` stands in a key scene's body: after grids, digests and figures of known size.
fn based_on_at(body: &[u8]) -> usize {
    // id, trace, captured, decided, and scanned behind the errors: one byte each in this scene; a grid is three bytes and four floats.
    let grid = 3 + 32;
    let at = 4 + grid + 1 + grid + 2 * 8 + 32 + 1 + 3 * 32;
    assert_eq!(body[at], 0, "a key scene builds on none");
    at
}

#[test]
fn every_file_in_the_folder_is_refused_for_its_reason() {
    if std::env::var_os("BREGMA_WRITE_REFUSED").is_some() {
        let mut index = String::new();
        for (name, reason, bytes) in cases() {
            fs::write(folder().join(name), bytes).expect("the folder can be written");
            index += &format!("{name}\t{reason}\n");
        }
        fs::write(folder().join("index.tsv"), index).expect("the folder can be written");
    }
    let index = fs::read_to_string(folder().join("index.tsv")).expect("the corpus has an index");
    let mut size = 0;
    for line in index.lines() {
        let (name, reason) = line.split_once('\t').expect("name, tab, reason");
        let bytes = fs::read(folder().join(name)).expect("the index names files that are there");
        size += bytes.len();
        let said = read(&bytes).err().unwrap_or_else(|| panic!("{name} was read")).to_string();
        assert!(said.contains(reason), "{name}: {said:?} instead of {reason:?}");
    }
    let files = fs::read_dir(folder()).expect("is there").count();
    assert_eq!(index.lines().count() + 1, files, "every file has a reason");
    assert!(files > 15 && size < 50_000, "{files} files, {size} bytes");
}

#[test]
fn what_is_made_now_is_refused_too() {
    for (name, reason, bytes) in cases() {
        let said = read(&bytes).err().unwrap_or_else(|| panic!("{name} was read")).to_string();
        assert!(said.contains(reason), "{name}: {said:?} instead of {reason:?}");
    }
}
