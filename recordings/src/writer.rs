//! The recorder: items in, MCAP out, a chunk a second.
//!
//! One thread owns it and drains the lanes into [`Recorder::write`]. A chunk is closed, compressed (zstd 1)
//! and handed to the disk with `fsync` every [`Limits::chunk_period`] of the session's time or
//! [`Limits::chunk_bytes`]; only then is it in the file at all, so that whatever happens the file is whole
//! chunks and at most the beginning of one more. **Allocation:** per item, on the recorder's thread.
//! **Not protected against:** a session in which nothing happens keeps its chunk open; a caller that
//! wants it on disk calls [`Recorder::flush`].

use crate::header::Header;
use crate::item::{Item, Message};
use crate::topic::Topic;
use crate::wire::{Encoder, WireError, describe};
use bregma_core::time::{Duration, Instant};
use mcap::records::MessageHeader;
use mcap::{Compression, McapError, WriteOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Profile in the MCAP header: what makes a file ours.
pub(crate) const PROFILE: &str = "bregma";
/// Largest single message: a region map or a key scene is far below, a video frame too.
pub(crate) const MESSAGE_MAX: usize = 32 << 20;
/// Largest chunk before compression, for reader and writer.
pub(crate) const CHUNK_MAX: usize = 64 << 20;
/// Largest [`Limits::chunk_bytes`].
const CHUNK_BYTES_MAX: usize = 16 << 20;
// A chunk is closed before a message that would follow chunk_bytes; records' own headers are 31 bytes, and
// the first chunk holds the schemas (under 1 MiB) beside them.
const _: () = assert!(CHUNK_BYTES_MAX + MESSAGE_MAX + (1 << 20) < CHUNK_MAX);

/// How often what is recorded reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time in one chunk, of the session's clock; each chunk begins with a key scene. Twice this is
    /// the most that a crash may cost.
    pub chunk_period: Duration,
    /// Most bytes in one chunk, before compression; at most 16 MiB.
    pub chunk_bytes: usize,
}

impl Default for Limits {
    /// A second, and 8 MiB: at 25 scenes a second a chunk holds about 3 MB.
    fn default() -> Self {
        Self { chunk_period: Duration::from_secs(1), chunk_bytes: 8 << 20 }
    }
}

/// The recording could not take something.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be made.
    #[error("the recording {path} cannot be made: {why}")]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The limits are not possible.
    #[error("chunks of {found} bytes are not possible; 1 to {CHUNK_BYTES_MAX} are")]
    ChunkBytes {
        /// What was asked for.
        found: usize,
    },
    /// A message has no place on the wire; the recording goes on without it.
    #[error(transparent)]
    Refused(#[from] WireError),
    /// A message is too large; the recording goes on without it.
    #[error("{topic} {number} has {bytes} bytes; a message has at most {MESSAGE_MAX}")]
    TooLarge {
        /// Its topic.
        topic: Topic,
        /// Its number.
        number: u64,
        /// Its size.
        bytes: usize,
    },
    /// The disk is full: the recording ends here, what was written before stays readable.
    #[error("the disk is full: the recording ends after {} items, the last {lost} are lost", durable.items)]
    DiskFull {
        /// What is safe, at least.
        durable: Figures,
        /// Items of the open chunk, which may not be.
        lost: u64,
    },
    /// The disk failed: the recording ends here, what was written before stays readable.
    #[error("the disk failed ({why}): the recording ends after {} items, the last {lost} are lost", durable.items)]
    Disk {
        /// What is safe, at least.
        durable: Figures,
        /// Items of the open chunk, which may not be.
        lost: u64,
        /// What the disk said.
        why: String,
    },
    /// The recording failed before, and said so.
    #[error("the recording has failed: {refused} items were refused since")]
    Failed {
        /// Items since then, this one included.
        refused: u64,
    },
}

/// What a recording holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Items written.
    pub items: u64,
    /// Chunks closed.
    pub chunks: u64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// A file whose `flush` reaches the disk.
#[derive(Debug)]
pub struct DiskFile(BufWriter<Synced>);

#[derive(Debug)]
struct Synced(File);

impl Write for Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}
impl Seek for Synced {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}
impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
impl Seek for DiskFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// Writes a recording.
pub struct Recorder<W: Write + Seek = DiskFile> {
    mcap: mcap::Writer<Counted<W>>,
    written: Arc<AtomicU64>,
    limits: Limits,
    encoder: Encoder,
    channels: BTreeMap<Topic, u16>,
    durable: Figures,
    open: Open,
    now: Instant,
    refused: Option<u64>,
}

// The thread that writes is not the one that starts the recording.
const _: () = {
    const fn moves_to_its_thread<T: Send>() {}
    moves_to_its_thread::<Recorder>();
};

/// The chunk that is not on disk yet.
#[derive(Default)]
struct Open {
    items: u64,
    bytes: usize,
    since: Option<Instant>,
}

struct Counted<W> {
    inner: W,
    written: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.inner.write(bytes)?;
        self.written.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
impl<W: Seek> Seek for Counted<W> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl Recorder<DiskFile> {
    /// Starts a recording in a file; one of that name is written over. The header is on disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be made, or its header cannot be written.
    pub fn create(path: &Path, header: &Header, limits: Limits) -> Result<Self, RecordError> {
        let file = File::create(path).map_err(|why| RecordError::Create { path: path.to_owned(), why })?;
        // A chunk is written in a few pieces; the buffer joins them.
        Self::on(DiskFile(BufWriter::with_capacity(1 << 16, Synced(file))), header, limits)
    }
}

impl<W: Write + Seek> Recorder<W> {
    /// Starts a recording on anything that can be written to.
    ///
    /// # Errors
    /// When the limits are not possible, or the header cannot be written.
    pub fn on(to: W, header: &Header, limits: Limits) -> Result<Self, RecordError> {
        if !(1..=CHUNK_BYTES_MAX).contains(&limits.chunk_bytes) {
            return Err(RecordError::ChunkBytes { found: limits.chunk_bytes });
        }
        let written = Arc::default();
        let to = Counted { inner: to, written: Arc::clone(&written) };
        let options = WriteOptions::new()
            .profile(PROFILE)
            .library(concat!("bregma-recordings ", env!("CARGO_PKG_VERSION")))
            .compression(Some(Compression::Zstd))
            .compression_level(1)
            .compression_threads(0)
            .chunk_size(None)
            .disable_seeking(true);
        let start = |why: McapError| disk_error(why, Figures::default(), 0);
        let mcap = options.create(to).map_err(start)?;
        let channels = BTreeMap::new();
        let (encoder, durable, open) = (Encoder::default(), Figures::default(), Open::default());
        let mut recorder =
            Self { mcap, written, limits, encoder, channels, durable, open, now: Instant::START, refused: None };
        recorder.start(header).map_err(start)?;
        Ok(recorder)
    }

    /// The first chunk: all schemas and channels, and the header. Chunks after it need only this one to be read.
    fn start(&mut self, header: &Header) -> Result<(), McapError> {
        let none = BTreeMap::new();
        for topic in Topic::ALL.iter().copied().filter(|topic| topic.recorded()) {
            let schema = self.mcap.add_schema(topic.schema(), "text", describe(topic).as_bytes())?;
            let encoding = if topic == Topic::Header { "json" } else { "postcard" };
            let channel = self.mcap.add_channel(schema, topic.name(), encoding, &none)?;
            self.channels.insert(topic, channel);
        }
        let channel_id = self.channels[&Topic::Header];
        let first = MessageHeader { channel_id, sequence: 1, log_time: 0, publish_time: 0 };
        self.mcap.write_to_known_channel(&first, header.to_json().as_bytes())?;
        self.mcap.flush()?;
        self.durable = Figures { items: 0, chunks: 1, bytes: self.written.load(Ordering::Relaxed) };
        Ok(())
    }

    /// Writes an item.
    ///
    /// # Errors
    /// [`RecordError::Refused`] or [`TooLarge`](RecordError::TooLarge) for an item that is left out, while the
    /// recording goes on; [`DiskFull`](RecordError::DiskFull) or [`Disk`](RecordError::Disk) once, when it
    /// ends; [`Failed`](RecordError::Failed) from then on.
    pub fn write(&mut self, item: &Item) -> Result<(), RecordError> {
        if let Some(refused) = &mut self.refused {
            *refused += 1;
            return Err(RecordError::Failed { refused: *refused });
        }
        // A message that does not say when it was, is of the newest time heard.
        let at = item.message.at().unwrap_or(self.now);
        self.now = self.now.max(at);
        let since = *self.open.since.get_or_insert(self.now);
        let age = self.now.since(since).unwrap_or(Duration::ZERO);
        if age >= self.limits.chunk_period || self.open.bytes >= self.limits.chunk_bytes {
            self.flush()?;
            self.open.since = Some(self.now);
        }

        let topic = item.message.topic();
        let data = self.encoder.encode(item.number, &item.message, Vec::new())?;
        if data.len() > MESSAGE_MAX {
            if matches!(item.message, Message::Scene(_)) {
                self.encoder.key_scene();
            }
            return Err(RecordError::TooLarge { topic, number: item.number, bytes: data.len() });
        }
        let header = MessageHeader {
            channel_id: self.channels[&topic],
            sequence: (item.number & u64::from(u32::MAX)) as u32,
            log_time: at.nanos(),
            publish_time: at.nanos(),
        };
        self.mcap.write_to_known_channel(&header, &data).map_err(|why| self.fail(why))?;
        self.open.items += 1;
        self.open.bytes += data.len();
        Ok(())
    }

    /// Closes the open chunk and has it reach the disk; the next scene is a key scene.
    ///
    /// # Errors
    /// As [`write`](Self::write), when the disk is full or fails.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        if let Some(refused) = self.refused {
            return Err(RecordError::Failed { refused });
        }
        if self.open.items > 0 {
            self.mcap.flush().map_err(|why| self.fail(why))?;
            self.durable.items += self.open.items;
            self.durable.chunks += 1;
            self.durable.bytes = self.written.load(Ordering::Relaxed);
        }
        self.open = Open::default();
        self.encoder.key_scene();
        Ok(())
    }

    /// Closes the recording: summary, index, footer.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(mut self) -> Result<Figures, RecordError> {
        self.flush()?;
        self.mcap.finish().map_err(|why| self.fail(why))?;
        self.durable.bytes = self.written.load(Ordering::Relaxed);
        Ok(self.durable)
    }

    /// What is on disk.
    #[must_use]
    pub const fn durable(&self) -> Figures {
        self.durable
    }

    /// Whether it has failed, and takes no more.
    #[must_use]
    pub const fn failed(&self) -> bool {
        self.refused.is_some()
    }

    fn fail(&mut self, why: McapError) -> RecordError {
        self.refused = Some(0);
        disk_error(why, self.durable, std::mem::take(&mut self.open.items))
    }
}

fn disk_error(why: McapError, durable: Figures, lost: u64) -> RecordError {
    match why {
        McapError::Io(why) if why.kind() == ErrorKind::StorageFull => RecordError::DiskFull { durable, lost },
        McapError::Io(why) => RecordError::Disk { durable, lost, why: why.to_string() },
        other => RecordError::Disk { durable, lost, why: other.to_string() },
    }
}
