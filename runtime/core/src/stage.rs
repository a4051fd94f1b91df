//! A stage: one room of the house, and how it reads its lanes.
//!
//! **Invariant:** a stage holds no thread, channel, clock, file or log handle. Same state + same `now` +
//! same input = same output. It allocates in `new` and writes into `out`.

use crate::faults::Latched;
use crate::time::{Duration, Instant};
use crate::topic::{Numbered, Subscriber};

/// One step of the data flow.
pub trait Stage: Send {
    /// What it reads; the runner fills it from the stage's lanes.
    type In: Send;
    /// What it writes; a step may publish nothing.
    type Out: Send;
    /// What it can fail with.
    type Fault: std::error::Error;
    /// Its name: of its thread, in recordings and reports.
    const NAME: &'static str;
    /// Longest permitted `step`; listed in LIMITS.md, measured by the runner.
    const BUDGET: Duration;

    /// Takes one step.
    ///
    /// # Errors
    /// The stage's own fault; the runner counts it and latches Hold.
    fn step(&mut self, now: Instant, input: &Self::In, out: &mut Self::Out) -> Result<(), Self::Fault>;

    /// The step just taken went over [`Self::BUDGET`] where budgets bind: takes back what must not be published
    /// late, from `out` and from what the stage remembers of it. By default nothing.
    fn overran(&mut self, out: &mut Self::Out) {
        let _ = out;
    }
}

/// When a stage steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// When one of the lanes that its ports call a trigger has something new.
    OnInput,
    /// At equal steps of time.
    Every(Duration),
}

/// Which messages of a topic a step saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Saw {
    /// The topic.
    pub topic: u8,
    /// Number of the first message; 0 when none.
    pub first: u64,
    /// Number of the last message; 0 when none.
    pub last: u64,
}

/// Most topics that one stage reads.
pub const TOPICS_PER_STAGE_MAX: usize = 12;

/// What one step saw, for replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SawAll {
    saw: [Saw; TOPICS_PER_STAGE_MAX],
    count: usize,
    /// Faults that were latched when the step began.
    pub latched: Latched,
}

impl SawAll {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.count = 0;
    }
    /// Adds what was seen of one topic.
    ///
    /// # Panics
    /// With more than [`TOPICS_PER_STAGE_MAX`] topics: a programmer's error.
    pub fn push(&mut self, saw: Saw) {
        self.saw[self.count] = saw;
        self.count += 1;
    }
    /// What was seen, in the order of reading.
    #[must_use]
    pub fn as_slice(&self) -> &[Saw] {
        &self.saw[..self.count]
    }
}

/// The newest message of a topic, kept until a newer one comes.
#[derive(Debug, Clone)]
pub struct Latest<T> {
    held: Option<Numbered<T>>,
    renewed: bool,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { held: None, renewed: false }
    }
}

impl<T: Clone> Latest<T> {
    /// Takes the newest from its lane.
    pub fn fill(&mut self, from: &mut Subscriber<T>, saw: &mut SawAll) {
        self.renewed = false;
        while let Some(newer) = from.take() {
            self.held = Some(newer);
            self.renewed = true;
        }
        let number = self.number();
        saw.push(Saw { topic: from.topic(), first: number, last: number });
    }

    /// Puts a message in, for replay and tests.
    pub fn set(&mut self, number: u64, value: T) {
        self.renewed = self.number() != number;
        self.held = Some(Numbered { number, value });
    }

    /// Marks the held message as not new, for replay.
    pub fn keep(&mut self) {
        self.renewed = false;
    }

    /// The message.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.held.as_ref().map(|n| &n.value)
    }

    /// Its number in its topic; 0 when there is none.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.held.as_ref().map_or(0, |n| n.number)
    }

    /// Whether it came since the last step.
    #[must_use]
    pub const fn renewed(&self) -> bool {
        self.renewed
    }
}

/// Every message of a topic since the last step, in order; bounded by the lane.
#[derive(Debug, Clone)]
pub struct All<T> {
    messages: Vec<Numbered<T>>,
}

impl<T> All<T> {
    /// With room for a lane's capacity, so that filling never allocates.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { messages: Vec::with_capacity(capacity) }
    }

    /// Takes all from its lane.
    pub fn fill(&mut self, from: &mut Subscriber<T>, saw: &mut SawAll) {
        self.messages.clear();
        while self.messages.len() < self.messages.capacity() {
            let Some(next) = from.take() else { break };
            self.messages.push(next);
        }
        let first = self.messages.first().map_or(0, |n| n.number);
        let last = self.messages.last().map_or(0, |n| n.number);
        saw.push(Saw { topic: from.topic(), first, last });
    }

    /// Puts messages in, for replay and tests.
    pub fn set(&mut self, messages: impl IntoIterator<Item = Numbered<T>>) {
        self.messages.clear();
        self.messages.extend(messages);
    }

    /// In order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.messages.iter().map(|n| &n.value)
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<&T> {
        self.messages.last().map(|n| &n.value)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}
