//! Reading a recording, whole or cut off anywhere.
//!
//! [`Recording::open`] walks the file's records without reading their content, and so knows where the last
//! whole chunk ends; messages are then read chunk by chunk. **Memory:** one chunk, at most 64 MiB before and
//! 64 MiB after decompression, whatever the file claims. **Invariants:** nothing in a file makes this panic;
//! a chunk's checksum is right before any message of it is used; what lies behind the last whole chunk is
//! counted and said.

use crate::header::{Header, HeaderError};
use crate::item::Message;
use crate::topic::Topic;
use crate::wire::{self, Refused, SceneReader, WireError};
use crate::writer::{CHUNK_MAX, PROFILE};
use bregma_core::time::Instant;
use mcap::MAGIC;
use mcap::records::{Record, op};
use mcap::sans_io::{LinearReadEvent, LinearReader, LinearReaderOptions};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Opcode and length before each record.
const PREFIX: u64 = 9;
/// Most bytes of a chunk's record: zstd makes incompressible bytes a little longer.
const CHUNK_RECORD_MAX: u64 = CHUNK_MAX as u64 + (1 << 20);
/// Longest MCAP header record that is looked at.
const HEADER_RECORD_MAX: u64 = 4096;

/// How a recording ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As it should: it was closed.
    Complete,
    /// Somewhere: the process or the disk ended before it was closed.
    CutAt {
        /// Where the last whole record ends.
        byte: u64,
        /// Bytes after it, which cannot be read.
        lost: u64,
    },
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Complete => f.write_str("complete"),
            Self::CutAt { byte, lost } => {
                write!(f, "cut off: readable up to byte {byte}, {lost} bytes after it are lost")
            }
        }
    }
}

/// A recording that cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened.
    #[error("{path} cannot be opened: {why}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The disk failed while reading.
    #[error("the recording cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Something else than an MCAP file.
    #[error("this is no MCAP file: it does not begin with MCAP's magic bytes")]
    NotMcap,
    /// An MCAP file of another program.
    #[error("this MCAP file has the profile {profile:?}, not \"{PROFILE}\": another program wrote it")]
    Foreign {
        /// Its profile.
        profile: String,
    },
    /// It ends before its header.
    #[error("the recording ends at byte {byte}, before its first chunk is whole: there is nothing to read")]
    NoHeader {
        /// Where it ends.
        byte: u64,
    },
    /// Its header is not one.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A channel that this program does not know, or of another version.
    #[error("channel {channel:?} has the schema {found:?}; {}", need_schema(*.need))]
    Schema {
        /// The channel.
        channel: String,
        /// Its schema.
        found: String,
        /// The schema it should have; none when the channel is unknown.
        need: Option<&'static str>,
    },
    /// A chunk's bytes are not what was written.
    #[error("the chunk at byte {byte} is damaged: {why}")]
    Damaged {
        /// Where it begins.
        byte: u64,
        /// What is wrong.
        why: String,
    },
    /// A message has no place in the flow.
    #[error("in the chunk at byte {byte}: {why}")]
    Message {
        /// Where its chunk begins.
        byte: u64,
        /// What is wrong.
        why: WireError,
    },
    /// A message that is asked for is not there.
    #[error("{topic} {number} is not in the recording")]
    Missing {
        /// Its topic.
        topic: Topic,
        /// Its number.
        number: u64,
    },
}

fn need_schema(need: Option<&'static str>) -> String {
    need.map_or_else(|| "no such channel is known".to_owned(), |need| format!("{need:?} is needed"))
}

/// A message as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its number in its topic.
    pub number: u64,
    /// When, on the session's clock.
    pub at: Instant,
    /// Bytes in the file before compression.
    pub bytes: usize,
    /// The message.
    pub message: Message,
}

/// A message before it is decoded.
pub(crate) struct Raw {
    pub topic: Topic,
    pub number: u64,
    pub at: Instant,
    /// Number and body.
    pub data: Vec<u8>,
    /// Where the body begins.
    pub body_at: usize,
}

impl Raw {
    pub fn body(&self) -> &[u8] {
        &self.data[self.body_at..]
    }
}

#[derive(Debug, Clone, Copy)]
struct ChunkSpan {
    at: u64,
    length: u64,
}

/// A recording, open for reading.
#[derive(Debug)]
pub struct Recording<R: Read + Seek = File> {
    from: R,
    header: Header,
    ending: Ending,
    chunks: Vec<ChunkSpan>,
    channels: BTreeMap<u16, Topic>,
}

impl Recording<File> {
    /// Opens a recording.
    ///
    /// # Errors
    /// [`ReadError`] when it is none, or ends before its first chunk is whole.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|why| ReadError::Open { path: path.to_owned(), why })?;
        Self::read_from(file)
    }
}

impl<R: Read + Seek> Recording<R> {
    /// Opens a recording that may lie anywhere.
    ///
    /// # Errors
    /// As [`Recording::open`].
    pub fn read_from(mut from: R) -> Result<Self, ReadError> {
        let (mut chunks, mut ending) = survey(&mut from)?;
        let length = from.seek(SeekFrom::End(0))?;
        // After a crash of the machine the end of a file may be there in length and not in content.
        while let (Ending::CutAt { .. }, Some(last)) = (ending, chunks.last()) {
            if unpack(&mut from, *last).is_ok() {
                break;
            }
            ending = Ending::CutAt { byte: last.at, lost: length - last.at };
            chunks.pop();
        }
        let Some(first) = chunks.first() else { return Err(ReadError::NoHeader { byte: length }) };
        let (header, channels) = beginning(unpack(&mut from, *first)?, first.at)?;
        Ok(Self { from, header, ending, chunks, channels })
    }

    /// What it says of itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How it ends.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        self.ending
    }

    /// How many whole chunks it has.
    #[must_use]
    pub const fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Every message, in the order of writing, one chunk in memory at a time. After an error there are no more.
    pub fn messages(&mut self) -> impl Iterator<Item = Result<Recorded, ReadError>> + '_ {
        let mut scenes = SceneReader::default();
        let chunks = self.chunks.clone();
        let mut failed = false;
        (0..chunks.len())
            .flat_map(move |index| {
                match self.chunk(index) {
                    Ok(raws) => raws.into_iter().map(Ok).collect(),
                    Err(why) => vec![Err(why)],
                }
                .into_iter()
                .map(move |raw| (index, raw))
            })
            .map(move |(index, raw)| {
                let raw = raw?;
                let message = wire::decode(raw.topic, raw.number, raw.body(), &mut scenes)
                    .map_err(|why| ReadError::Message { byte: chunks[index].at, why })?;
                Ok(Recorded { number: raw.number, at: raw.at, bytes: raw.data.len(), message })
            })
            .take_while(move |result| !std::mem::replace(&mut failed, result.is_err()))
    }

    /// The messages of one chunk, but for the header.
    pub(crate) fn chunk(&mut self, index: usize) -> Result<Vec<Raw>, ReadError> {
        let span = self.chunks[index];
        let damaged = |why: String| ReadError::Damaged { byte: span.at, why };
        let mut raws = Vec::new();
        for record in unpack(&mut self.from, span)? {
            let Record::Message { header, data } = record else { continue };
            let Some(topic) = self.channels.get(&header.channel_id).copied() else {
                return Err(damaged(format!("a message of channel {}, which was not announced", header.channel_id)));
            };
            if topic == Topic::Header {
                continue;
            }
            let (number, body) = wire::number_of(&data).map_err(|why: Refused| damaged(why.to_string()))?;
            let body_at = data.len() - body.len();
            raws.push(Raw {
                topic,
                number,
                at: Instant::from_nanos(header.log_time),
                body_at,
                data: data.into_owned(),
            });
        }
        Ok(raws)
    }

    /// Where a chunk begins in the file.
    pub(crate) fn chunk_at(&self, index: usize) -> u64 {
        self.chunks[index].at
    }
}

/// Walks the records: where the chunks are, and how the file ends.
fn survey<R: Read + Seek>(from: &mut R) -> Result<(Vec<ChunkSpan>, Ending), ReadError> {
    let length = from.seek(SeekFrom::End(0))?;
    from.seek(SeekFrom::Start(0))?;
    let mut from = BufReader::new(from);
    let mut magic = [0; MAGIC.len()];
    let whole_magic = length >= magic.len() as u64;
    if whole_magic {
        from.read_exact(&mut magic)?;
    }
    if magic != MAGIC {
        return Err(ReadError::NotMcap);
    }
    let mut at = magic.len() as u64;
    let mut chunks = Vec::new();
    loop {
        let cut = Ending::CutAt { byte: at, lost: length - at };
        if length - at < PREFIX {
            return Ok((chunks, cut));
        }
        let mut prefix = [0; PREFIX as usize];
        from.read_exact(&mut prefix)?;
        let [opcode, size @ ..] = prefix;
        let size = u64::from_le_bytes(size);
        // No record has opcode 0: a file system that lost the end of a file fills it with zeros.
        if opcode == 0 || size > length - at - PREFIX {
            return Ok((chunks, cut));
        }
        if at == magic.len() as u64 {
            check_profile(&mut from, opcode, size)?;
        } else {
            from.seek_relative(size as i64)?;
        }
        if opcode == op::CHUNK {
            chunks.push(ChunkSpan { at, length: PREFIX + size });
        }
        at += PREFIX + size;
        if opcode == op::FOOTER {
            let cut = Ending::CutAt { byte: at, lost: length - at };
            let closed = length - at == magic.len() as u64 && from.read_exact(&mut magic).is_ok() && magic == MAGIC;
            return Ok((chunks, if closed { Ending::Complete } else { cut }));
        }
    }
}

/// The first record must be an MCAP header with our profile.
fn check_profile(from: &mut impl Read, opcode: u8, size: u64) -> Result<(), ReadError> {
    let foreign = |profile: &str| ReadError::Foreign { profile: profile.to_owned() };
    if opcode != op::HEADER || size > HEADER_RECORD_MAX {
        return Err(foreign(""));
    }
    let mut body = vec![0; size as usize];
    from.read_exact(&mut body)?;
    match mcap::parse_record(opcode, &body) {
        Ok(Record::Header(header)) if header.profile == PROFILE => Ok(()),
        Ok(Record::Header(header)) => Err(foreign(&header.profile)),
        _ => Err(foreign("")),
    }
}

/// A chunk's records, all of them, after its checksum was found right.
fn unpack<R: Read + Seek>(from: &mut R, span: ChunkSpan) -> Result<Vec<Record<'static>>, ReadError> {
    let damaged = |why: String| ReadError::Damaged { byte: span.at, why };
    if span.length > CHUNK_RECORD_MAX {
        return Err(damaged(format!("it claims {} bytes; a chunk has at most {CHUNK_RECORD_MAX}", span.length)));
    }
    from.seek(SeekFrom::Start(span.at))?;
    let mut bytes = vec![0; span.length as usize];
    from.read_exact(&mut bytes)?;
    // A record after the chunk tells a chunk that is whole from one that claims more than there is.
    bytes.extend_from_slice(&[op::DATA_END, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let options = LinearReaderOptions::default()
        .with_skip_start_magic(true)
        .with_skip_end_magic(true)
        .with_prevalidate_chunk_crcs(true)
        .with_record_length_limit(CHUNK_MAX + (1 << 20));
    let mut reader = LinearReader::new_with_options(options);
    let mut rest = &bytes[..];
    let mut records = Vec::new();
    while let Some(event) = reader.next_event() {
        match event.map_err(|why| damaged(describe(&why)))? {
            LinearReadEvent::ReadRequest(need) => {
                if rest.is_empty() {
                    break;
                }
                let (given, after) = rest.split_at(need.min(rest.len()));
                reader.insert(given.len()).copy_from_slice(given);
                reader.notify_read(given.len());
                rest = after;
            }
            LinearReadEvent::Record { opcode: op::DATA_END, .. } => return Ok(records),
            LinearReadEvent::Record { data, opcode } => {
                let record = mcap::parse_record(opcode, data).map_err(|why| damaged(describe(&why)))?;
                records.push(record.into_owned());
            }
        }
    }
    Err(damaged("it is shorter than it claims".to_owned()))
}

/// An error with its causes, in one line.
fn describe(why: &dyn std::error::Error) -> String {
    let mut said = why.to_string();
    let mut cause = why.source();
    while let Some(next) = cause {
        said = format!("{said}: {next}");
        cause = next.source();
    }
    said
}

/// The channels and the header, which stand in the first chunk.
fn beginning(records: Vec<Record<'static>>, byte: u64) -> Result<(Header, BTreeMap<u16, Topic>), ReadError> {
    let mut schemas = BTreeMap::new();
    let mut channels = BTreeMap::new();
    for record in records {
        match record {
            Record::Schema { header, .. } => {
                schemas.insert(header.id, header.name);
            }
            Record::Channel(channel) => {
                let found = schemas.get(&channel.schema_id).cloned().unwrap_or_default();
                let topic = Topic::from_name(&channel.topic).filter(|topic| topic.recorded());
                match topic {
                    Some(topic) if topic.schema() == found => channels.insert(channel.id, topic),
                    other => {
                        let need = other.map(Topic::schema);
                        return Err(ReadError::Schema { channel: channel.topic, found, need });
                    }
                };
            }
            Record::Message { header, data } if channels.get(&header.channel_id) == Some(&Topic::Header) => {
                return Ok((Header::from_json(&data)?, channels));
            }
            _ => {}
        }
    }
    Err(ReadError::Damaged { byte, why: "the first chunk holds no header".to_owned() })
}
