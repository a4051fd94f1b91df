//! A recording that was cut off anywhere opens up to its last whole chunk, and says so.

use crate::made::{header, items, read, recorded};
use bregma_recordings::{Ending, Item, Limits, Message, ReadError, Recorder, Recording, Session, Summary};
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::OnceLock;

/// The made session's bytes, and its messages with their numbers.
type Whole = (Vec<u8>, Vec<(u64, Message)>);

fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let bytes = recorded(&items());
        let (messages, ending) = read(&bytes).expect("whole");
        assert_eq!(ending, Ending::Complete);
        (bytes, messages)
    })
}

/// Where the chunks of the whole recording end.
fn chunk_ends(bytes: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (8, Vec::new());
    while at + 9 <= bytes.len() {
        let size = u64::from_le_bytes(bytes[at + 1..at + 9].try_into().expect("eight")) as usize;
        if bytes[at] == mcap::records::op::CHUNK {
            ends.push(at + 9 + size);
        }
        at += 9 + size;
    }
    ends
}

#[test]
fn what_was_written_is_read_in_order() {
    let (_, messages) = whole();
    let written: Vec<_> = items().into_iter().map(|Item { number, message }| (number, message)).collect();
    assert!(*messages == written, "{} messages of {}", messages.len(), written.len());
}

fn opens_up_to_its_last_whole_chunk(cut: usize) {
    let (bytes, messages) = whole();
    let ends = chunk_ends(bytes);
    let chunks = ends.iter().filter(|end| **end <= cut).count();
    match Recording::read_from(Cursor::new(&bytes[..cut])) {
        Err(ReadError::NotMcap) => assert!(cut < 8),
        Err(ReadError::NoHeader { byte }) => assert_eq!((byte, chunks), (cut as u64, 0)),
        Err(why) => panic!("cut at {cut}: {why}"),
        Ok(mut recording) => {
            assert_eq!(recording.chunks(), chunks, "cut at {cut}");
            let Ending::CutAt { byte, lost } = recording.ending() else { panic!("cut at {cut}: called complete") };
            assert_eq!(byte + lost, cut as u64);
            assert!(byte as usize >= ends[chunks - 1]);
            let read: Vec<_> = recording.messages().map(|m| m.expect("whole chunks")).collect();
            assert!(
                read.iter()
                    .zip(messages)
                    .all(|(read, (number, message))| (read.number, &read.message) == (*number, message))
            );
            assert!(chunks < ends.len() || read.len() == messages.len(), "cut at {cut}: whole chunks were left out");
        }
    }
}

#[test]
fn cut_at_every_997th_byte() {
    let length = whole().0.len();
    assert!(chunk_ends(&whole().0).len() >= 5, "the session has a chunk a second");
    for cut in (0..length).step_by(997) {
        opens_up_to_its_last_whole_chunk(cut);
    }
}

#[test]
fn cut_around_every_chunks_end() {
    for end in chunk_ends(&whole().0) {
        for cut in end - 2..end + 12 {
            opens_up_to_its_last_whole_chunk(cut);
        }
    }
}

#[test]
fn an_end_lost_to_zeros_is_a_cut() {
    let (bytes, _) = whole();
    let ends = chunk_ends(bytes);
    // From the middle of the third chunk on, as a file system leaves it after power was lost.
    let mut lost = bytes.clone();
    lost[ends[2] - 50..].fill(0);
    let recording = Recording::read_from(Cursor::new(&lost)).expect("opens");
    assert_eq!(recording.chunks(), 2);
    assert!(matches!(recording.ending(), Ending::CutAt { lost: 1.., .. }));
    // And from the end of the third on.
    let mut lost = bytes.clone();
    lost[ends[2]..].fill(0);
    assert_eq!(Recording::read_from(Cursor::new(&lost)).expect("opens").chunks(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn cut_at_random(cut in any::<prop::sample::Index>()) {
        opens_up_to_its_last_whole_chunk(cut.index(whole().0.len()));
    }

    #[test]
    fn damage_anywhere_is_an_error_or_no_harm(at in any::<prop::sample::Index>(), with in any::<u8>(), run in 1..9_usize) {
        let (whole, messages) = whole();
        let mut bytes = whole.clone();
        let at = at.index(bytes.len());
        let end = (at + run).min(bytes.len());
        bytes[at..end].fill(with);
        if let Ok((read, _)) = read(&bytes) {
            // Damage outside the chunks' content loses chunks at most; what is read is what was written.
            prop_assert!(read.iter().all(|m| messages.contains(m)));
        }
        if let Ok(mut recording) = Recording::read_from(Cursor::new(&bytes)) {
            let _ = Summary::of(&mut recording);
            let _ = Session::of(recording);
        }
    }
}

#[test]
fn a_crash_costs_at_most_the_open_chunk() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("crash.mcap");
    let mut recorder = Recorder::create(&path, &header(), Limits::default()).expect("made");
    let items = items();
    for item in &items {
        recorder.write(item).expect("written");
    }
    let durable = recorder.durable();
    assert!(durable.items > 0 && durable.items < items.len() as u64);
    // The process ends here: nothing is closed, dropped or flushed.
    let mut recording = Recording::open(&path).expect("opens");
    assert_eq!(recording.messages().count() as u64, durable.items);
    assert!(matches!(recording.ending(), Ending::CutAt { lost: 0, .. }));
    recorder.finish().expect("closed");
    let mut recording = Recording::open(&path).expect("opens");
    assert_eq!((recording.ending(), recording.messages().count()), (Ending::Complete, items.len()));
}
