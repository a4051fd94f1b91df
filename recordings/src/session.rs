//! Everything that replay needs of a recording: the steps, and every message by its number.
//!
//! **Memory:** all but video and scenes is held decoded (a minute at 250 commands a second: about 10 MB);
//! scenes stay in the file and are decoded when asked for, the last [`SCENES_HELD`] of them kept (1.8 MB
//! each), so that steps in the order of the session find theirs at hand. Steps far back cost a chunk's
//! decoding. **Not protected against:** a file that changes while it is read.

use crate::header::Header;
use crate::item::Message;
use crate::reader::{Ending, Raw, ReadError, Recording};
use crate::topic::Topic;
use crate::wire::{self, SceneReader};
use bregma_core::flow::Scene;
use bregma_core::runner::StepRecord;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

/// Decoded scenes that a session keeps: 60 MB.
pub const SCENES_HELD: usize = 32;

struct Kept {
    message: Message,
    body: Box<[u8]>,
}

/// A recording, ready to be played again.
pub struct Session<R: Read + Seek = File> {
    header: Header,
    ending: Ending,
    steps: Vec<StepRecord>,
    messages: BTreeMap<Topic, BTreeMap<u64, Kept>>,
    /// Chunk of each scene.
    scenes: BTreeMap<u64, usize>,
    store: RefCell<SceneStore<R>>,
}

impl Session<File> {
    /// Opens a recording for replay.
    ///
    /// # Errors
    /// [`ReadError`] when it cannot be read, or a message in it has no place in the flow.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::of(Recording::open(path)?)
    }
}

impl<R: Read + Seek> Session<R> {
    /// Of a recording that is open already.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn of(mut recording: Recording<R>) -> Result<Self, ReadError> {
        let mut steps = Vec::new();
        let mut scenes = BTreeMap::new();
        let mut messages: BTreeMap<Topic, BTreeMap<u64, Kept>> = BTreeMap::new();
        let mut none = SceneReader::default();
        for chunk in 0..recording.chunks() {
            let byte = recording.chunk_at(chunk);
            for raw in recording.chunk(chunk)? {
                match raw.topic {
                    Topic::Encoded => continue,
                    Topic::Scenes => {
                        scenes.insert(raw.number, chunk);
                        continue;
                    }
                    _ => {}
                }
                let message = wire::decode(raw.topic, raw.number, raw.body(), &mut none)
                    .map_err(|why| ReadError::Message { byte, why })?;
                if let Message::Step(step) = message {
                    steps.push(step.record());
                } else {
                    let kept = Kept { message, body: raw.body().into() };
                    messages.entry(raw.topic).or_default().insert(raw.number, kept);
                }
            }
        }
        let (header, ending) = (recording.header().clone(), recording.ending());
        Ok(Self { header, ending, steps, messages, scenes, store: RefCell::new(SceneStore::new(recording)) })
    }

    /// What the recording says of itself.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// How the recording ends.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        self.ending
    }

    /// Every step, in the order of recording: of one stage, the order in which it took them.
    #[must_use]
    pub fn steps(&self) -> &[StepRecord] {
        &self.steps
    }

    /// The steps of one stage, in order.
    pub fn steps_of<'a>(&'a self, stage: &'a str) -> impl Iterator<Item = &'a StepRecord> {
        self.steps.iter().filter(move |step| step.stage == stage)
    }

    /// The message that a step saw as the latest; `None` where `last` is 0, which is to say none.
    ///
    /// # Errors
    /// [`ReadError::Missing`] when it is not in the recording; others when a scene cannot be read.
    pub fn latest(&self, topic: Topic, last: u64) -> Result<Option<Message>, ReadError> {
        if last == 0 { Ok(None) } else { self.get(topic, last).map(Some) }
    }

    /// The messages from `first` to `last` with their numbers, as a step saw them; none where `last` is 0. A
    /// number that was displaced from the step's lane cannot be told from one that it saw.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub fn range(&self, topic: Topic, first: u64, last: u64) -> Result<Vec<(u64, Message)>, ReadError> {
        if last == 0 {
            return Ok(Vec::new());
        }
        // Stops at the first that is missing: a wrong range asks for no memory.
        (first..=last).map(|number| Ok((number, self.get(topic, number)?))).collect()
    }

    /// One message.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub fn get(&self, topic: Topic, number: u64) -> Result<Message, ReadError> {
        if topic == Topic::Scenes {
            return self.scene(number).map(Message::Scene);
        }
        let kept = self.messages.get(&topic).and_then(|of_topic| of_topic.get(&number));
        kept.map(|kept| kept.message.clone()).ok_or(ReadError::Missing { topic, number })
    }

    /// One scene.
    ///
    /// # Errors
    /// As [`latest`](Self::latest).
    pub fn scene(&self, number: u64) -> Result<Arc<Scene>, ReadError> {
        let missing = ReadError::Missing { topic: Topic::Scenes, number };
        let Some(&chunk) = self.scenes.get(&number) else { return Err(missing) };
        self.store.borrow_mut().get(chunk, number)?.ok_or(missing)
    }

    /// The numbers of a topic's messages, in order.
    #[must_use]
    pub fn numbers(&self, topic: Topic) -> Vec<u64> {
        if topic == Topic::Scenes {
            return self.scenes.keys().copied().collect();
        }
        self.messages.get(&topic).map(|of_topic| of_topic.keys().copied().collect()).unwrap_or_default()
    }

    /// The bytes of a message as they were recorded, its number excluded; `None` for scenes, video and what is
    /// not there.
    pub(crate) fn body(&self, topic: Topic, number: u64) -> Option<&[u8]> {
        self.messages.get(&topic)?.get(&number).map(|kept| &*kept.body)
    }
}

/// Reads scenes from the file, and keeps the last few.
struct SceneStore<R: Read + Seek> {
    recording: Recording<R>,
    chunk: Option<usize>,
    /// Scenes of `chunk` that are not decoded yet, in order.
    waiting: VecDeque<Raw>,
    reader: SceneReader,
    held: VecDeque<(u64, Arc<Scene>)>,
}

impl<R: Read + Seek> SceneStore<R> {
    fn new(recording: Recording<R>) -> Self {
        let (waiting, held) = (VecDeque::new(), VecDeque::with_capacity(SCENES_HELD));
        Self { recording, chunk: None, waiting, reader: SceneReader::default(), held }
    }

    fn get(&mut self, chunk: usize, number: u64) -> Result<Option<Arc<Scene>>, ReadError> {
        if let Some((_, scene)) = self.held.iter().find(|(held, _)| *held == number) {
            return Ok(Some(Arc::clone(scene)));
        }
        if self.chunk != Some(chunk) || !self.waiting.iter().any(|raw| raw.number == number) {
            self.chunk = None;
            let raws = self.recording.chunk(chunk)?.into_iter();
            self.waiting = raws.filter(|raw| raw.topic == Topic::Scenes).collect();
            self.reader = SceneReader::default();
            self.chunk = Some(chunk);
        }
        while let Some(raw) = self.waiting.pop_front() {
            let byte = self.recording.chunk_at(chunk);
            let message = wire::decode(raw.topic, raw.number, raw.body(), &mut self.reader)
                .map_err(|why| ReadError::Message { byte, why })?;
            let Message::Scene(scene) = message else { continue };
            if self.held.len() == SCENES_HELD {
                self.held.pop_front();
            }
            self.held.push_back((raw.number, Arc::clone(&scene)));
            if raw.number == number {
                return Ok(Some(scene));
            }
        }
        Ok(None)
    }
}
