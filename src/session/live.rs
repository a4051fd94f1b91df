//! A session on the real clock: threads for stages and edges, GStreamer for the microscope, taps for the
//! recording and the display.

use super::{Made, Supervisor, Theatre};
use crate::config::Config;
use crate::display::{Display, Drawing, Fixed, Options};
use crate::edge::EdgeThreads;
use crate::events::Events;
use crate::pipeline::{self, Doors, Flowing, Hooks, House, StepTap, Topics};
use crate::record::{Recording, Taps};
use anyhow::Context;
use bregma_core::faults::Reason;
use bregma_core::flow::{Order, VideoFrame};
use bregma_core::lane::{Gauge, Sender};
use bregma_core::runner::threaded::Threaded;
use bregma_core::runner::{Latches, StageStats};
use bregma_core::time::{Clock, Instant, RealClock};
use bregma_core::topic::Publisher;
use bregma_ingest::video::{EncodedChunk, VideoCallbacks, VideoEvent};
use std::path::PathBuf;
use std::sync::Arc;

/// What the session writes and shows.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// The recording.
    pub record: Option<PathBuf>,
    /// The display.
    pub display: Options,
    /// Seed, for the recording's header.
    pub seed: Option<u64>,
}

/// A session that runs.
pub struct Live {
    /// The session's clock.
    pub clock: RealClock,
    /// Events in words.
    pub events: Events,
    /// Faults latched by edges and runners.
    pub latches: Latches,
    /// Figures of the flow.
    pub flowing: Arc<Flowing>,
    /// Counters of every lane.
    pub gauges: Vec<Arc<Gauge>>,
    /// Threads of the edges.
    pub edges: EdgeThreads,
    /// Who watches.
    pub supervisor: Supervisor,
    stages: Threaded,
    recording: Option<Recording>,
    drawing: Option<Drawing>,
}

/// Where the encoder's tap goes.
pub struct EncodedTo {
    display: Option<Sender<EncodedChunk>>,
    record: Option<crate::record::TapLane>,
}

impl EncodedTo {
    /// Passes a chunk on to display and recording.
    pub fn pass(&mut self, chunk: EncodedChunk) {
        if let Some(record) = &mut self.record {
            record.send_encoded(&chunk);
        }
        if let Some(display) = &mut self.display {
            // The display's lane drops its oldest; it never refuses.
            let _ = display.send(chunk);
        }
    }

    /// Whether anybody wants encoded video.
    #[must_use]
    pub const fn wanted(&self) -> bool {
        self.display.is_some() || self.record.is_some()
    }
}

/// Starts every stage; devices and sources are the caller's, through the doors.
///
/// # Errors
/// When an output cannot be opened, or the system gives no thread.
pub fn start(
    config: &Config,
    theatre: &Theatre,
    made: Made,
    outputs: &Outputs,
) -> anyhow::Result<(Live, Doors, EncodedTo)> {
    let clock = RealClock::start();
    let (latches, events, flowing) = (Latches::default(), Events::default(), Arc::new(Flowing::default()));
    let mut topics = Topics::new();

    let mut taps = Taps::new(latches.clone());
    let recorded = outputs.record.is_some();
    if recorded {
        taps.hang_all(&mut topics);
    }
    let mut encoded_to = EncodedTo { display: None, record: None };
    let display = if outputs.display.rrd.is_some() || outputs.display.serve.is_some() {
        let (display, encoded) = Display::open(&outputs.display, &mut topics)?;
        encoded_to.display = Some(encoded);
        Some(display)
    } else {
        None
    };
    let supervisor = Supervisor::hang(&mut topics, events.clone());
    if recorded {
        encoded_to.record = Some(taps.lane("encoded to record"));
    }

    let mut steps =
        |name: &'static str| -> StepTap { if recorded { taps.lane(name).for_steps() } else { Box::new(|_| {}) } };
    let hooks = Hooks {
        latches: latches.clone(),
        events: events.clone(),
        flowing: Arc::clone(&flowing),
        plan_steps: steps("steps of plan to record"),
        validate_steps: steps("steps of validate to record"),
        command_steps: steps("steps of command to record"),
    };
    let (house, doors) = pipeline::build(topics, made.stages, hooks);
    let gauges = doors.gauges.clone();

    let recording = match &outputs.record {
        Some(path) => {
            let header = crate::record::header(config, theatre.mount, outputs.seed, bregma_recordings::ClockKind::Real);
            Some(taps.start(path, &header, clock.clone(), events.clone()).context("cannot record")?)
        }
        None => None,
    };
    let drawing = match display {
        Some(display) => {
            let fixed = Fixed { camera: theatre.camera, arm: config.arm.clone(), mount: theatre.mount };
            Some(display.start(fixed, events.clone(), clock.clone())?)
        }
        None => None,
    };
    let mut stages = Threaded::new(clock.clone());
    let House { align, perceive, plan, validate, command } = house;
    let (told, now) = (events.clone(), clock.clone());
    // The gate's millisecond is short beside a time slice: it comes before everything else.
    stages.spawn_prepared(command, move || prefer(&told, now.now())).context(NO_THREAD)?;
    for spawned in [stages.spawn(validate), stages.spawn(plan), stages.spawn(perceive), stages.spawn(align)] {
        spawned.context(NO_THREAD)?;
    }
    let edges = EdgeThreads::new(clock.clone());
    Ok((
        Live { clock, events, latches, flowing, gauges, edges, supervisor, stages, recording, drawing },
        doors,
        encoded_to,
    ))
}

const NO_THREAD: &str = "the system gave no thread for a stage";

/// Asks the system to run the calling thread before others, in real time where that is permitted.
fn prefer(events: &Events, now: Instant) {
    use thread_priority::unix::{
        RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
    };
    use thread_priority::{ThreadPriority, ThreadPriorityValue};
    // In the middle of the range: above everything ordinary, below the system's own.
    const MIDDLE: u8 = 50;
    let fifo = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let set = ThreadPriorityValue::try_from(MIDDLE).map_err(|why| why.to_string()).and_then(|value| {
        set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), fifo)
            .map_err(|why| format!("{why:?}"))
    });
    if let Err(why) = set {
        events.say(now, format!("the gate runs without real-time priority ({why}); a loaded machine may make it hold"));
    }
}

impl Live {
    /// Has the surgeon give orders. With an order to go on, faults of the moment are forgotten: a stage that
    /// faults again latches again.
    pub fn order(&mut self, now: Instant, orders: &mut Publisher<Order>) {
        if let Some(order) = self.supervisor.next_order(now) {
            super::goes_on(order, &self.latches);
            orders.publish(order);
        }
    }

    /// Figures of every stage.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, Arc<StageStats>)> {
        self.stages.figures().collect()
    }

    /// Ends edges and stages, then closes the taps. Also returns what became of the recording: an error where it
    /// could not be kept whole.
    pub fn end(self) -> (Supervisor, anyhow::Result<()>) {
        self.edges.end();
        self.stages.end();
        if let Some(drawing) = self.drawing {
            drawing.end();
        }
        let recorded = self.recording.map_or(Ok(()), |recording| recording.finish().map(drop));
        (self.supervisor, recorded)
    }
}

/// Callbacks that publish frames, pass encoded chunks on, and latch the loss of the video.
pub fn video_callbacks(
    running: &Live,
    mut frames: Publisher<Arc<VideoFrame>>,
    mut encoded_to: EncodedTo,
) -> VideoCallbacks {
    let (clock, latches, events) = (running.clock.clone(), running.latches.clone(), running.events.clone());
    VideoCallbacks {
        on_frame: Box::new(move |frame| frames.publish(frame)),
        on_encoded: Box::new(move |chunk| encoded_to.pass(chunk)),
        on_event: Arc::new(move |event| {
            if matches!(event, VideoEvent::Ended | VideoEvent::Failed { .. }) {
                latches.latch(Reason::VideoLost);
            }
            events.say(clock.now(), words(&event));
        }),
    }
}

/// What happened to the video, for people.
#[must_use]
pub fn words(event: &VideoEvent) -> String {
    match event {
        VideoEvent::Ended => "the video ended".to_owned(),
        VideoEvent::Failed { element, message } => format!("the video failed in {element}: {message}"),
        VideoEvent::PoolDry { slots } => format!("readers hold all {slots} video frames; newer ones are dropped"),
        VideoEvent::SizeChanged { from, to } => {
            format!(
                "the video's size changed from {}×{} to {}×{}; frames are held back",
                from[0], from[1], to[0], to[1]
            )
        }
    }
}
