//! A disk that is full, or fails, ends the recording once and clearly; what was written stays.

use crate::made::{header, items, read};
use bregma_recordings::{Ending, Limits, RecordError, Recorder};
use std::cell::RefCell;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::rc::Rc;

/// Takes so many bytes and then no more.
struct Disk {
    bytes: Rc<RefCell<Vec<u8>>>,
    room: usize,
    error: ErrorKind,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.bytes.borrow_mut();
        let fits = bytes.len().min(self.room - held.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(self.error.into());
        }
        held.extend_from_slice(&bytes[..fits]);
        Ok(fits)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Current(0) => Ok(self.bytes.borrow().len() as u64),
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }
}

/// Writes the session to a disk with so much room: the bytes on it, and every error.
fn record(room: usize, error: ErrorKind) -> (Vec<u8>, Vec<RecordError>) {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let disk = Disk { bytes: Rc::clone(&bytes), room, error };
    let mut errors = Vec::new();
    match Recorder::on(disk, &header(), Limits::default()) {
        Err(why) => errors.push(why),
        Ok(mut recorder) => {
            errors.extend(items().iter().filter_map(|item| recorder.write(item).err()));
            errors.extend(recorder.finish().err());
        }
    }
    let held = bytes.borrow().clone();
    (held, errors)
}

#[test]
fn a_full_disk_is_said_once_and_everything_after_it_is_refused() {
    let (all, none) = record(usize::MAX, ErrorKind::StorageFull);
    assert!(none.is_empty());
    let (bytes, errors) = record(all.len() / 3, ErrorKind::StorageFull);
    let RecordError::DiskFull { durable, lost } = &errors[0] else { panic!("{:?}", errors[0]) };
    assert!(*lost > 0 && errors.len() > 2);
    let refused: Vec<_> = errors[1..].iter().map(|why| matches!(why, RecordError::Failed { .. })).collect();
    assert!(refused.iter().all(|failed| *failed));
    let (messages, ending) = read(&bytes).expect("what was written stays readable");
    // A chunk may be whole although the index after it is not: then more is there than was promised.
    assert!((durable.items..=durable.items + lost).contains(&(messages.len() as u64)));
    assert!(matches!(ending, Ending::CutAt { lost: 1.., .. }));
}

#[test]
fn wherever_the_disk_is_full_what_is_durable_can_be_read() {
    let all = record(usize::MAX, ErrorKind::StorageFull).0.len();
    let mut seen = 0;
    for room in (0..all).step_by(2503) {
        let (bytes, errors) = record(room, ErrorKind::StorageFull);
        let RecordError::DiskFull { durable, lost } = &errors[0] else { panic!("{room}: {:?}", errors[0]) };
        if durable.chunks == 0 {
            continue;
        }
        let (messages, _) = read(&bytes).expect("what was written stays readable");
        let promised = durable.items..=durable.items + lost;
        assert!(promised.contains(&(messages.len() as u64)), "room for {room} bytes");
        seen += 1;
    }
    assert!(seen > 5);
}

#[test]
fn another_failure_is_named() {
    let all = record(usize::MAX, ErrorKind::StorageFull).0.len();
    let (_, errors) = record(all / 2, ErrorKind::PermissionDenied);
    assert!(errors[0].to_string().starts_with("the disk failed (permission denied)"), "{}", errors[0]);
}

#[test]
fn impossible_limits_and_places_are_refused() {
    let disk = Disk { bytes: Rc::default(), room: 1 << 20, error: ErrorKind::StorageFull };
    let limits = Limits { chunk_bytes: 0, ..Limits::default() };
    assert!(matches!(Recorder::on(disk, &header(), limits), Err(RecordError::ChunkBytes { found: 0 })));
    let nowhere = std::path::Path::new("/nowhere/session.mcap");
    let why = Recorder::create(nowhere, &header(), Limits::default()).err().expect("refused").to_string();
    assert!(why.contains("/nowhere/session.mcap cannot be made"), "{why}");
}
