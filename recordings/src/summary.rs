//! What is in a recording: the data for `bregma inspect`.

use crate::header::{ClockKind, Header};
use crate::item::Message;
use crate::reader::{Ending, ReadError, Recording};
use crate::topic::Topic;
use crate::wire::{self, SceneReader};
use bregma_core::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Seek};

/// One channel, in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSummary {
    /// Topic, or of steps the stage: `steps.plan`.
    pub name: String,
    /// Messages.
    pub count: u64,
    /// Their bytes before compression.
    pub bytes: u64,
    /// Time of the earliest.
    pub first: Instant,
    /// Time of the latest.
    pub last: Instant,
    /// Messages whose numbers should be there and are not, or came out of order.
    pub gaps: u64,
    newest: u64,
}

impl ChannelSummary {
    /// Messages a second; `None` with fewer than two, or all at one time.
    #[must_use]
    pub fn rate_hz(&self) -> Option<f64> {
        let span = self.last.since(self.first)?;
        (self.count > 1 && span > Duration::ZERO).then(|| (self.count - 1) as f64 / span.secs_f64())
    }

    fn add(&mut self, number: u64, at: Instant, bytes: usize) {
        (self.first, self.last) = if self.count == 0 { (at, at) } else { (self.first.min(at), self.last.max(at)) };
        self.count += 1;
        self.bytes += bytes as u64;
        // Numbers begin with 1 and grow by one.
        self.gaps += number.abs_diff(self.newest.saturating_add(1));
        self.newest = number;
    }
}

/// A recording, in figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// What it says of itself.
    pub header: Header,
    /// How it ends.
    pub ending: Ending,
    /// Whole chunks.
    pub chunks: usize,
    /// From the earliest message to the latest.
    pub duration: Duration,
    /// Channels with messages, by topic.
    pub channels: Vec<ChannelSummary>,
}

impl Summary {
    /// Reads the whole recording, one chunk at a time; scenes are counted, not decoded.
    ///
    /// # Errors
    /// [`ReadError`] where a chunk is damaged.
    pub fn of<R: Read + Seek>(recording: &mut Recording<R>) -> Result<Self, ReadError> {
        let mut channels: BTreeMap<(Topic, &'static str), ChannelSummary> = BTreeMap::new();
        for index in 0..recording.chunks() {
            let byte = recording.chunk_at(index);
            for raw in recording.chunk(index)? {
                let stage = match raw.topic {
                    Topic::Steps => stage(raw.number, raw.body(), byte)?,
                    _ => "",
                };
                let name = if stage.is_empty() { raw.topic.to_string() } else { format!("{}.{stage}", raw.topic) };
                let new = ChannelSummary {
                    name,
                    count: 0,
                    bytes: 0,
                    first: Instant::START,
                    last: Instant::START,
                    gaps: 0,
                    newest: 0,
                };
                channels.entry((raw.topic, stage)).or_insert(new).add(raw.number, raw.at, raw.data.len());
            }
        }
        let first = channels.values().map(|c| c.first).min().unwrap_or_default();
        let last = channels.values().map(|c| c.last).max().unwrap_or_default();
        Ok(Self {
            header: recording.header().clone(),
            ending: recording.ending(),
            chunks: recording.chunks(),
            duration: last.since(first).unwrap_or(Duration::ZERO),
            channels: channels.into_values().collect(),
        })
    }

    /// As a table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let h = &self.header;
        let clock = match h.clock {
            ClockKind::Real => "real",
            ClockKind::Simulated => "simulated",
        };
        let seed = h.seed.map_or_else(|| "none".to_owned(), |seed| seed.to_string());
        let mut text = format!(
            "program   {} (commit {})\nconfig    {}\nseed      {seed}\nclock     {clock}\nstarted   {} s since 1970\n\
             duration  {}\nchunks    {}\nending    {}\n\n",
            h.program, h.commit, h.config_hash, h.started_s, self.duration, self.chunks, self.ending
        );
        let _ = writeln!(
            text,
            "{:<16} {:>8} {:>10} {:>9} {:>9} {:>8} {:>6}",
            "channel", "count", "KiB", "first s", "last s", "Hz", "gaps"
        );
        for c in &self.channels {
            let rate = c.rate_hz().map_or_else(|| "-".to_owned(), |hz| format!("{hz:.1}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<16} {:>8} {:>10.1} {:>9.3} {:>9.3} {:>8} {:>6}",
                c.name,
                c.count,
                c.bytes as f64 / 1024.0,
                c.first.secs_f64(),
                c.last.secs_f64(),
                rate,
                c.gaps
            );
        }
        text
    }
}

fn stage(number: u64, body: &[u8], byte: u64) -> Result<&'static str, ReadError> {
    match wire::decode(Topic::Steps, number, body, &mut SceneReader::default()) {
        Ok(Message::Step(step)) => Ok(step.record().stage),
        Ok(_) => Ok(""),
        Err(why) => Err(ReadError::Message { byte, why }),
    }
}
