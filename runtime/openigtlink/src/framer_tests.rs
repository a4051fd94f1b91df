//! Streams cut anywhere, damaged bodies between good ones, lost boundaries, bounded memory.

use super::*;
use crate::{Content, DeviceName, Outgoing, Timestamp, encode};
use proptest::prelude::*;

fn wire(texts: &[String]) -> Vec<u8> {
    let mut wire = Vec::new();
    for text in texts {
        let message =
            Outgoing::plain(DeviceName::constant("a"), Timestamp::NONE, Content::String(text.as_str().into()));
        let mut one = vec![0; 70_000];
        let length = encode(&message, &mut one).expect("fits");
        wire.extend(&one[..length]);
    }
    wire
}

/// Everything a framer says about a stream that comes in pieces of the given sizes.
fn heard(framer: &mut Framer, mut stream: &[u8], pieces: &[usize]) -> Vec<Result<String, DecodeError>> {
    let mut heard = Vec::new();
    let mut pieces = pieces.iter().copied().cycle();
    while !stream.is_empty() {
        let piece = pieces.next().unwrap_or(1).clamp(1, stream.len());
        let taken = framer.push(&stream[..piece]);
        stream = &stream[taken..];
        while let Some(message) = framer.next_message() {
            heard.push(message.map(|message| match message.content {
                Content::String(text) => String::from_utf8_lossy(text.bytes).into_owned(),
                other => format!("{other:?}"),
            }));
        }
        if framer.lost() {
            break;
        }
        assert!(taken > 0, "there is room after every message was taken");
    }
    heard
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        texts in prop::collection::vec("[a-z]{0,60}", 1..40),
        pieces in prop::collection::vec(1..300_usize, 1..8),
    ) {
        let heard = heard(&mut Framer::new(64), &wire(&texts), &pieces);
        prop_assert_eq!(heard.into_iter().collect::<Result<Vec<_>, _>>().expect("all are right"), texts);
    }

    #[test]
    fn no_stream_makes_it_panic_or_grow(
        stream in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => Just(1), 1 => any::<u8>()], 0..3000),
        pieces in prop::collection::vec(1..300_usize, 1..8),
    ) {
        let mut framer = Framer::new(100);
        heard(&mut framer, &stream, &pieces);
        prop_assert!(framer.buffered_max() <= HEADER_SIZE + 100);
    }
}

#[test]
fn a_damaged_body_costs_one_message() {
    let texts = ["one", "two", "three"].map(String::from);
    let mut stream = wire(&texts);
    let second = wire(&texts[..1]).len();
    stream[second + HEADER_SIZE + 5] ^= 4;
    let heard = heard(&mut Framer::new(64), &stream, &[13]);
    assert_eq!(heard[0].as_deref(), Ok("one"));
    assert!(matches!(heard[1], Err(DecodeError::Crc { .. })));
    assert_eq!(heard[2].as_deref(), Ok("three"));
}

#[test]
fn a_damaged_header_loses_the_boundary_until_the_next_connection() {
    let texts = ["one", "two"].map(String::from);
    let mut stream = wire(&texts);
    stream[1] = 9;
    let mut framer = Framer::new(64);
    let first = heard(&mut framer, &stream, &[500]);
    assert!(matches!(first.as_slice(), [Err(DecodeError::Value { field: "VERSION", value: 9, .. })]));
    assert!(framer.lost() && !framer.ready());
    assert_eq!(framer.push(b"more"), 0);
    assert_eq!(framer.read_from(&mut &b"more"[..]).expect_err("lost").kind(), io::ErrorKind::InvalidData);
    framer.reset();
    assert_eq!(heard(&mut framer, &wire(&texts), &[7]).len(), 2);
}

#[test]
fn memory_grows_with_what_arrives_not_with_what_is_announced() {
    let long = "x".repeat(60_000);
    let stream = wire(std::slice::from_ref(&long));
    let mut framer = Framer::new(65_535);
    assert_eq!(framer.push(&stream[..HEADER_SIZE + 10]), HEADER_SIZE + 10);
    assert!(framer.next_message().is_none());
    assert_eq!(framer.buffered_max(), START);
    assert_eq!(heard(&mut framer, &stream[HEADER_SIZE + 10..], &[1000]), vec![Ok(long)]);
    assert!(framer.buffered_max() <= HEADER_SIZE + 65_535);
}

#[test]
fn a_full_buffer_takes_no_more_until_a_message_is_taken() {
    let stream = wire(&vec![String::from("text"); 4]);
    let mut framer = Framer::new(stream.len() / 2 - HEADER_SIZE);
    assert_eq!(framer.push(&stream), stream.len() / 2);
    assert_eq!(framer.read_from(&mut &stream[..]).expect_err("full").kind(), io::ErrorKind::InvalidInput);
    assert!(framer.next_message().is_some_and(|message| message.is_ok()));
    assert_eq!(framer.push(&stream[stream.len() / 2..]), stream.len() / 4);
}
