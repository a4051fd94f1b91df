//! The recording's tap: every message of the flow goes down a lane of its own to one thread that writes
//! MCAP. The lanes may not lose a value: where one would, or where the disk is full, the runtime holds.
//!
//! **Bounds:** [`LANE_CAPACITY`] values a topic; at the busiest topic (the gate, 250 a second) two seconds.
//! **Not protected against:** loss of the process; then the open chunk is lost.

use crate::config::Config;
use crate::events::Events;
use crate::pipeline::{StepTap, Topics};
use anyhow::Context;
use bregma_core::faults::Reason;
use bregma_core::flow::ArmMount;
use bregma_core::lane::{Overflow, Receiver, Sender, lane};
use bregma_core::runner::{Latches, StepRecord};
use bregma_core::time::{Clock, RealClock};
use bregma_core::topic::Publisher;
use bregma_core::wake::Wake;
use bregma_ingest::video::EncodedChunk;
use bregma_recordings::{ClockKind, EncodedFrame, Figures, Header, Item, Limits, RecordError, Recorder};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Values that a lane to the recording holds.
const LANE_CAPACITY: usize = 512;
/// Longest time between two looks at the lanes.
const LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// Lanes to the recording, as they are being hung onto topics.
pub struct Taps {
    lanes: Vec<Receiver<Item>>,
    latches: Latches,
}

impl Taps {
    /// None yet. A lane that overflows latches [`Reason::RecordingFailed`].
    #[must_use]
    pub const fn new(latches: Latches) -> Self {
        Self { lanes: Vec::new(), latches }
    }

    /// A lane of its own, to be written to from one thread.
    pub fn lane(&mut self, name: &'static str) -> TapLane {
        let (sender, receiver) = lane(name, LANE_CAPACITY, Overflow::Fault);
        self.lanes.push(receiver);
        TapLane { sender, latches: self.latches.clone() }
    }

    fn hang<T: Clone + 'static>(
        &mut self,
        name: &'static str,
        publisher: &mut Publisher<T>,
        mut item: impl FnMut(u64, &T) -> Item + Send + 'static,
    ) {
        let mut lane = self.lane(name);
        publisher.tap(move |number, value| lane.send(item(number, value)));
    }

    /// Hangs onto everything that the recording keeps.
    pub fn hang_all(&mut self, t: &mut Topics) {
        self.hang("tips to record", &mut t.tips, |n, v| Item::tip(n, *v));
        self.hang("ranges to record", &mut t.ranges, |n, v| Item::ranges(n, Arc::clone(v)));
        self.hang("volumes to record", &mut t.volumes, Item::volume);
        self.hang("registration to record", &mut t.registration, |n, v| Item::registration(n, *v));
        self.hang("anatomy to record", &mut t.anatomy, |n, v| Item::anatomy(n, Arc::clone(v)));
        self.hang("scenes to record", &mut t.scenes, |n, v| Item::scene(n, Arc::clone(v)));
        self.hang("plans to record", &mut t.plans, |n, v| Item::plan(n, Arc::clone(v)));
        self.hang("verdicts to record", &mut t.verdicts, |n, v| Item::verdict(n, Arc::clone(v)));
        self.hang("approved to record", &mut t.approved, |n, v| Item::approved(n, Arc::new(v.record().clone())));
        self.hang("withdrawn to record", &mut t.withdrawn, |n, v| Item::withdrawn(n, *v));
        self.hang("sent to record", &mut t.sent, |n, v| Item::sent(n, *v));
        self.hang("reacted to record", &mut t.reacted, |n, v| Item::reacted(n, *v));
        self.hang("arm to record", &mut t.arm, |n, v| Item::arm(n, *v));
        self.hang("instrument to record", &mut t.instrument, |n, v| Item::instrument(n, *v));
        self.hang("consent to record", &mut t.consent, |n, v| Item::consent(n, *v));
        self.hang("heartbeat to record", &mut t.heartbeat, |n, v| Item::heartbeat(n, *v));
        self.hang("orders to record", &mut t.orders, |n, v| Item::order(n, *v));
    }
}

/// One lane to the recording.
pub struct TapLane {
    sender: Sender<Item>,
    latches: Latches,
}

impl TapLane {
    /// Sends an item; when the lane is full, the recording has a hole and the runtime holds.
    pub fn send(&mut self, item: Item) {
        if self.sender.send(item).is_err() && !self.sender.abandoned() {
            self.latches.latch(Reason::RecordingFailed);
        }
    }

    /// Sends a chunk of encoded video; its number is its trace.
    pub fn send_encoded(&mut self, chunk: &EncodedChunk) {
        let &EncodedChunk { trace, captured, keyframe, ref data } = chunk;
        let frame = EncodedFrame { trace, camera: 0, captured, keyframe, data: data.to_vec() };
        self.send(Item::encoded(trace.0, Arc::new(frame)));
    }

    /// As a tap for steps.
    #[must_use]
    pub fn for_steps(mut self) -> StepTap {
        Box::new(move |step: &StepRecord| self.send(Item::step(*step)))
    }
}

impl Taps {
    /// Creates the file and starts the recorder's thread.
    ///
    /// # Errors
    /// When the file cannot be made, or the system gives no thread.
    pub fn start(self, path: &Path, header: &Header, clock: RealClock, events: Events) -> anyhow::Result<Recording> {
        if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let recorder = Recorder::create(path, header, Limits::default())?;
        let ending = Arc::new(AtomicBool::new(false));
        let wake = Arc::new(Wake::new());
        let (told, own) = (Arc::clone(&ending), Arc::clone(&wake));
        let Self { lanes, latches } = self;
        let thread = std::thread::Builder::new().name("record".to_owned()).spawn(move || {
            own.bind();
            write_all(recorder, lanes, &latches, &clock, &events, &told, &own)
        })?;
        Ok(Recording { thread, ending, wake })
    }
}

/// Drains the lanes until told to end, then once more. A disk that fails latches a Hold at once; the lanes go
/// on being drained, so that nothing else is held up.
fn write_all(
    mut recorder: Recorder,
    mut lanes: Vec<Receiver<Item>>,
    latches: &Latches,
    clock: &RealClock,
    events: &Events,
    told: &AtomicBool,
    wake: &Wake,
) -> Result<Figures, RecordError> {
    let mut failed = None;
    loop {
        let last = told.load(Ordering::Acquire);
        for lane in &mut lanes {
            while let Some(item) = lane.take() {
                if failed.is_some() {
                    continue;
                }
                match recorder.write(&item) {
                    Ok(()) => {}
                    Err(why @ (RecordError::Refused(_) | RecordError::TooLarge { .. })) => {
                        events.say(clock.now(), why.to_string());
                    }
                    Err(why) => {
                        events.say(clock.now(), why.to_string());
                        latches.latch(Reason::RecordingFailed);
                        failed = Some(why);
                    }
                }
            }
        }
        if last {
            return match failed {
                Some(why) => Err(why),
                None => recorder.finish(),
            };
        }
        wake.wait(0, Some(LOOK));
    }
}

/// A recording that is being written.
pub struct Recording {
    thread: JoinHandle<Result<Figures, RecordError>>,
    ending: Arc<AtomicBool>,
    wake: Arc<Wake>,
}

impl Recording {
    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// When the recording is not whole, and why.
    pub fn finish(self) -> anyhow::Result<Figures> {
        self.ending.store(true, Ordering::Release);
        self.wake.notify();
        match self.thread.join() {
            Ok(figures) => Ok(figures?),
            Err(_) => anyhow::bail!("the recorder panicked; what it had written stays readable"),
        }
    }
}

/// What a recording says of its session.
#[must_use]
pub fn header(config: &Config, mount: ArmMount, seed: Option<u64>, clock: ClockKind) -> Header {
    Header {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        commit: crate::report::commit().to_owned(),
        config_toml: config.text.clone(),
        config_hash: config.hash,
        resolved: config.resolved.clone(),
        seed,
        clock,
        mount,
        started_s: bregma_core::time::calendar_seconds(),
    }
}
