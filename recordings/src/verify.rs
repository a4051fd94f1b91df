//! Playing a session again and comparing what comes out, byte for byte.
//!
//! The stages live elsewhere: the program wraps each in a [`Replayed`], which rebuilds a step's input from
//! what the step saw and hands back what the stage wrote. Steps run in the order of recording, on one
//! thread. **Invariant:** a message counts as compared only when its recorded bytes and the bytes of what
//! was recomputed were both at hand. **Not protected against:** a stage that reads anything but its input.

use crate::item::Message;
use crate::reader::{Ending, ReadError};
use crate::session::Session;
use crate::topic::Topic;
use crate::wire;
use bregma_core::runner::StepRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Most mismatches that a report keeps; all are counted.
pub const MISMATCHES_KEPT: usize = 100;

/// A stage, as replay drives it.
pub trait Replayed<R: Read + Seek = std::fs::File> {
    /// Its `Stage::NAME`.
    fn stage(&self) -> &'static str;
    /// The topics that it alone publishes.
    fn publishes(&self) -> &'static [Topic];
    /// Takes the step again: what the stage published, in that order; nothing where it failed, and not what it
    /// took back where the step was over budget.
    ///
    /// # Errors
    /// When the session does not hold what the step saw.
    fn step(&mut self, session: &Session<R>, step: &StepRecord) -> Result<Vec<Message>, ReadError>;
}

/// How what was recomputed differs from what was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The bytes differ.
    Bytes {
        /// Offset of the first that does, in the message's postcard form without its number.
        offset: usize,
        /// The first differing line of the recorded message, written out.
        recorded: String,
        /// The same line of what was recomputed.
        recomputed: String,
    },
    /// It was recomputed, and is not in the recording.
    NotRecorded,
    /// It is in the recording, and was not recomputed.
    NotRecomputed,
    /// The stage panicked then or now, but not both.
    Panic {
        /// Whether it panicked then.
        recorded: bool,
    },
    /// What the step saw is not in the recording, or cannot be read.
    Input(String),
    /// What was recomputed has no wire form.
    Unwritable(String),
}

/// Where a replay departs from its recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Stage.
    pub stage: &'static str,
    /// Its step; 0 for a message that belongs to none.
    pub step: u64,
    /// Topic of the message; none when the step itself departs.
    pub topic: Option<Topic>,
    /// Number of the message; 0 when the step itself departs.
    pub message: u64,
    /// How.
    pub difference: Difference,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} step {}", self.stage, self.step)?;
        if let Some(topic) = self.topic {
            write!(f, ", {topic} {}", self.message)?;
        }
        match &self.difference {
            Difference::Bytes { offset, recorded, recomputed } => {
                write!(f, ": byte {offset} differs: recorded `{recorded}`, recomputed `{recomputed}`")
            }
            Difference::NotRecorded => f.write_str(": recomputed, but not recorded"),
            Difference::NotRecomputed => f.write_str(": recorded, but not recomputed"),
            Difference::Panic { recorded: true } => f.write_str(": panicked when it was recorded, but not on replay"),
            Difference::Panic { recorded: false } => f.write_str(": panicked on replay, but not when it was recorded"),
            Difference::Input(why) => write!(f, ": {why}"),
            Difference::Unwritable(why) => write!(f, ": what was recomputed cannot be written: {why}"),
        }
    }
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Steps taken again.
    pub steps: u64,
    /// Steps of stages that were not given.
    pub steps_skipped: u64,
    /// Messages whose bytes were compared.
    pub compared: u64,
    /// Steps and messages at the end of a recording that was cut off, whose other half is lost.
    pub unfinished: u64,
    /// How many mismatches.
    pub mismatches: u64,
    /// The first of them.
    pub kept: Vec<Mismatch>,
}

impl VerifyReport {
    /// Whether something was compared and nothing differed.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.mismatches == 0 && self.compared > 0
    }

    fn add(&mut self, mismatch: Mismatch) {
        self.mismatches += 1;
        if self.kept.len() < MISMATCHES_KEPT {
            self.kept.push(mismatch);
        }
    }
}

/// The recorded bytes of a message against a recomputed one: `None` when they are the same.
fn compare(recorded: &[u8], recorded_message: &Message, recomputed: &Message) -> Option<Difference> {
    let bytes = match wire::bytes_of(recomputed) {
        Ok(bytes) => bytes,
        Err(why) => return Some(Difference::Unwritable(why.to_string())),
    };
    if bytes == recorded {
        return None;
    }
    let same = recorded.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
    let (a, b) = (format!("{recorded_message:#?}"), format!("{recomputed:#?}"));
    let line = a.lines().zip(b.lines()).find(|(a, b)| a != b).unwrap_or(("(no visible difference)", ""));
    let [recorded, recomputed] = [line.0, line.1].map(|line| line.trim().trim_end_matches(',').to_owned());
    Some(Difference::Bytes { offset: same, recorded, recomputed })
}

/// Plays a session again. Stages that are not given are skipped and counted.
///
/// In a recording that was cut off, lanes may have been drained unevenly: a step whose input is lost ends the
/// replay of its stage, and messages past the end of their topic are not held against it; both are counted
/// as unfinished.
pub fn verify<R: Read + Seek>(session: &Session<R>, stages: &mut [&mut dyn Replayed<R>]) -> VerifyReport {
    let mut report = VerifyReport::default();
    let cut = session.ending() != Ending::Complete;
    let mut ended = BTreeSet::new();
    // Number of the message that a topic published last.
    let mut last: BTreeMap<Topic, u64> = BTreeMap::new();
    for step in session.steps() {
        let Some(stage) = stages.iter_mut().find(|stage| stage.stage() == step.stage) else {
            report.steps_skipped += 1;
            continue;
        };
        if ended.contains(step.stage) {
            report.unfinished += 1;
            continue;
        }
        let departs =
            |difference| Mismatch { stage: step.stage, step: step.index, topic: None, message: 0, difference };
        // A stage that panicked then is expected to panic now; its state is as undefined as it was.
        let written = match catch_unwind(AssertUnwindSafe(|| stage.step(session, step))) {
            Ok(Err(ReadError::Missing { .. })) if cut => {
                report.unfinished += 1;
                ended.insert(step.stage);
                continue;
            }
            Ok(Err(why)) => {
                // Without its input the stage's state is no longer what it was: nothing after this can be compared.
                report.add(departs(Difference::Input(why.to_string())));
                ended.insert(step.stage);
                continue;
            }
            Ok(Ok(written)) => Some(written),
            Err(_) => None,
        };
        report.steps += 1;
        if written.is_none() != step.panicked {
            report.add(departs(Difference::Panic { recorded: step.panicked }));
        }
        if step.panicked {
            continue;
        }
        for message in written.unwrap_or_default() {
            let topic = message.topic();
            let number = last.entry(topic).or_insert(0);
            *number += 1;
            let difference = match (session.body(topic, *number), session.get(topic, *number)) {
                (Some(body), Ok(recorded)) => {
                    report.compared += 1;
                    compare(body, &recorded, &message)
                }
                _ if cut && session.numbers(topic).last().is_none_or(|last| last < number) => {
                    report.unfinished += 1;
                    None
                }
                _ => Some(Difference::NotRecorded),
            };
            if let Some(difference) = difference {
                report.add(Mismatch { topic: Some(topic), message: *number, ..departs(difference) });
            }
        }
    }
    for stage in stages.iter() {
        for topic in stage.publishes() {
            let compared = last.get(topic).copied().unwrap_or(0);
            for message in session.numbers(*topic).into_iter().filter(|number| *number > compared) {
                if cut {
                    report.unfinished += 1;
                    continue;
                }
                let difference = Difference::NotRecomputed;
                report.add(Mismatch { stage: stage.stage(), step: 0, topic: Some(*topic), message, difference });
            }
        }
    }
    report
}
