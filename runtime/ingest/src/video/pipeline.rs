//! Builds the pipeline, waits for its first frame, watches its bus, and stops it within a limit.

use super::elements::init;
use super::sinks::{self, Tap};
use super::stamps::Stamps;
use super::{OnEvent, VideoCallbacks, VideoConfig, VideoCounts, VideoError, VideoEvent, VideoSource};
use bregma_core::flow::Light;
use bregma_core::time::{Clock, Duration};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Name of a user's own appsink.
const OWN_SINK: &str = "bregma";
/// Pictures that may wait in front of the frames' sink: few, so that a live picture is new when it is seen.
const FRAMES_WAITING: u32 = 2;
/// Pictures that may wait in front of the encoder: half a second at 25 a second.
const ENCODER_WAITING: u32 = 12;
/// Frames from one key frame to the next: one second at 25 a second, so that a recording opens anywhere.
const KEY_EVERY: u32 = 25;
/// kbit/s of the encoded stream: 0.5 MB/s of the 10 that a recording may take.
const BITRATE_KBIT_S: u32 = 4_096;
/// Largest width and height: 4096, twice a 4K microscope's height.
const EDGE_MAX: usize = 4_096;

/// What both the streaming threads and the owner hold.
pub(super) struct Shared {
    pub clock: Arc<dyn Clock>,
    pub stamps: Stamps,
    pub light: Light,
    pub camera: u32,
    pub pool_slots: usize,
    pub on_event: OnEvent,
    opening: Mutex<Opening>,
    opened: Condvar,
    pub delivered: AtomicU64,
    pub dry: AtomicU64,
    pub other_size: AtomicU64,
    pub encoded: AtomicU64,
}

/// How far a source has come.
enum Opening {
    Waiting,
    Running,
    Lost(VideoError),
}

impl Shared {
    /// The first frame is here: `open` returns, and events go to the callback from now on.
    pub fn first_frame(&self) {
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner) = Opening::Running;
        self.opened.notify_all();
    }

    /// Tells of the end or of a failure: `open` while it waits, the callback afterwards.
    pub fn lost(&self, event: VideoEvent, error: impl FnOnce() -> VideoError) {
        let mut opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        match *opening {
            Opening::Running => {
                drop(opening);
                (self.on_event)(event);
            }
            Opening::Waiting => {
                *opening = Opening::Lost(error());
                self.opened.notify_all();
            }
            // The first reason stands; what follows from it adds nothing.
            Opening::Lost(_) => {}
        }
    }

    fn wait_for_first(&self, limit: Duration) -> Result<(), VideoError> {
        let opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let limit_std = std::time::Duration::from_nanos(limit.nanos());
        let waited = self.opened.wait_timeout_while(opening, limit_std, |o| matches!(o, Opening::Waiting));
        let (mut opening, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *opening, Opening::Running) {
            Opening::Running => Ok(()),
            Opening::Lost(why) => Err(why),
            Opening::Waiting => Err(VideoError::NoVideo { limit }),
        }
    }
}

/// A pipeline that plays.
pub(super) struct Running {
    pipeline: Option<gst::Pipeline>,
    pub shared: Arc<Shared>,
    pub live: bool,
}

/// Whether a launch string makes a pipeline here; nothing is opened.
///
/// # Errors
/// [`VideoError`]: which element or string, and what would be right.
pub fn parses(launch: &str) -> Result<(), VideoError> {
    init()?;
    let description = if launch.contains("appsink") { launch.to_owned() } else { format!("{launch} ! fakesink") };
    parse(launch, &description).map(drop)
}

/// Opens a source and waits for its first frame.
///
/// # Errors
/// [`VideoError`]: which element, string, or limit, and what would be right.
pub fn open(config: VideoConfig, clock: Arc<dyn Clock>, callbacks: VideoCallbacks) -> Result<VideoSource, VideoError> {
    init()?;
    check(&config)?;
    let own = config.launch.contains("appsink");
    let description = if own { config.launch.clone() } else { format!("{} ! {}", config.launch, tail(&config)) };
    let pipeline = parse(&config.launch, &description)?;
    if own && pipeline.by_name(OWN_SINK).is_none_or(|e| e.downcast::<AppSink>().is_err()) {
        return Err(VideoError::OtherSink { launch: config.launch });
    }
    if own && config.encode {
        return Err(VideoError::NothingToEncode { launch: config.launch });
    }
    let running = Running::new(pipeline, &config, clock, callbacks, Tap::Handover)?;
    let running = running.play(config.first_frame_within)?;
    Ok(VideoSource { running, camera: None })
}

/// What follows a user's source.
pub(super) fn tail(config: &VideoConfig) -> String {
    let size = config.size_px.map_or_else(String::new, |[w, h]| format!(",width={w},height={h}"));
    let scale = if config.size_px.is_some() { "! videoscale " } else { "" };
    let rgb = format!("videoconvert {scale}! video/x-raw,format=RGB{size} ! identity name=bregma_pace");
    let frames = format!(
        "queue name=bregma_frames max-size-buffers={FRAMES_WAITING} max-size-bytes=0 max-size-time=0 \
         ! appsink name={OWN_SINK} async=false"
    );
    if !config.encode {
        return format!("{rgb} ! {frames}");
    }
    format!(
        "{rgb} ! tee name=bregma_tee ! {frames} bregma_tee. \
         ! queue name=bregma_raw max-size-buffers={ENCODER_WAITING} max-size-bytes=0 max-size-time=0 \
         ! videoconvert ! video/x-raw,format=I420 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={KEY_EVERY} bitrate={BITRATE_KBIT_S} threads=1 \
         byte-stream=true ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au \
         ! appsink name=bregma_encoded async=false"
    )
}

/// Parses a description; `launch` is what the user wrote of it.
pub(super) fn parse(launch: &str, description: &str) -> Result<gst::Pipeline, VideoError> {
    let mut context = gst::ParseContext::new();
    let parsed = gst::parse::launch_full(description, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    let refused = |message: String| VideoError::Launch { launch: launch.to_owned(), message };
    match parsed {
        Ok(element) => element.downcast().map_err(|_| refused("it is a single element".to_owned())),
        // GStreamer also lists an element here that is installed and could not be set up.
        Err(why) => {
            Err(match context.missing_elements().into_iter().find(|e| gst::ElementFactory::find(e).is_none()) {
                Some(element) => VideoError::NoSuchElement { element },
                None => refused(why.message().to_owned()),
            })
        }
    }
}

/// Refuses numbers that no source can have.
pub(super) fn check(config: &VideoConfig) -> Result<(), VideoError> {
    let refused = |key, value, right| Err(VideoError::Setting { key, value, right });
    if !(1..=256).contains(&config.pool_slots) {
        return refused("pool_slots", config.pool_slots.to_string(), "1 to 256");
    }
    match config.size_px {
        Some(size) if size.iter().any(|s| !(16..=EDGE_MAX).contains(s)) => {
            refused("size_px", format!("{size:?}"), "16 to 4096 pixels each way")
        }
        _ => Ok(()),
    }
}

impl Running {
    pub fn new(
        pipeline: gst::Pipeline,
        config: &VideoConfig,
        clock: Arc<dyn Clock>,
        callbacks: VideoCallbacks,
        tap: Tap,
    ) -> Result<Self, VideoError> {
        let shared = Arc::new(Shared {
            clock,
            stamps: Stamps::new(config.camera),
            light: config.light,
            camera: config.camera,
            pool_slots: config.pool_slots,
            on_event: callbacks.on_event,
            opening: Mutex::new(Opening::Waiting),
            opened: Condvar::new(),
            delivered: AtomicU64::new(0),
            dry: AtomicU64::new(0),
            other_size: AtomicU64::new(0),
            encoded: AtomicU64::new(0),
        });
        if let Some(pace) = pipeline.by_name("bregma_pace").filter(|_| matches!(tap, Tap::Handover)) {
            sinks::stamp_at(&pace, &shared);
        }
        if let Some(Ok(sink)) = pipeline.by_name(OWN_SINK).map(|e| e.downcast::<AppSink>()) {
            sinks::frames(&sink, &shared, callbacks.on_frame);
        }
        if let Some(Ok(sink)) = pipeline.by_name("bregma_encoded").map(|e| e.downcast::<AppSink>()) {
            sinks::encoded(&sink, &shared, callbacks.on_encoded);
        }
        watch(&pipeline, &shared);
        Ok(Self { pipeline: Some(pipeline), shared, live: false })
    }

    /// Sets it going and waits for the first frame.
    pub fn play(mut self, limit: Duration) -> Result<Self, VideoError> {
        self.start()?;
        self.wait(limit)?;
        Ok(self)
    }

    /// Waits for the first frame.
    pub fn wait(&self, limit: Duration) -> Result<(), VideoError> {
        self.shared.wait_for_first(limit)
    }

    /// Sets it going.
    pub fn start(&mut self) -> Result<(), VideoError> {
        let Some(pipeline) = &self.pipeline else { return Ok(()) };
        // A live source says so here: it has nothing to show before it plays.
        let paused = pipeline.set_state(gst::State::Paused);
        self.live = matches!(paused, Ok(gst::StateChangeSuccess::NoPreroll));
        pace(pipeline, self.live);
        if paused.and_then(|_| pipeline.set_state(gst::State::Playing)).is_ok() {
            return Ok(());
        }
        // The bus has the reason, and had it before the state change returned.
        match self.shared.wait_for_first(Duration::from_millis(100)) {
            Ok(()) | Err(VideoError::NoVideo { .. }) => {
                let message = "it does not start, and gives no reason".to_owned();
                Err(VideoError::Failed { element: "pipeline".to_owned(), message })
            }
            Err(why) => Err(why),
        }
    }

    pub fn counts(&self) -> VideoCounts {
        let shared = &self.shared;
        VideoCounts {
            arrived: shared.stamps.entered(),
            delivered: shared.delivered.load(Ordering::Relaxed),
            dry: shared.dry.load(Ordering::Relaxed),
            other_size: shared.other_size.load(Ordering::Relaxed),
            encoded: shared.encoded.load(Ordering::Relaxed),
        }
    }

    /// Stops once; GStreamer waits for its streaming threads, so that happens on a thread that may be left.
    pub fn stop(&mut self, limit: Duration) -> Result<(), VideoError> {
        let Some(pipeline) = self.pipeline.take() else { return Ok(()) };
        let (done, stopped) = sync_channel(1);
        let stopper = std::thread::Builder::new().name("video-stop".to_owned()).spawn(move || {
            let _ = pipeline.set_state(gst::State::Null);
            if let Some(bus) = pipeline.bus() {
                bus.unset_sync_handler();
            }
            let _ = done.send(());
        });
        stopper.map_err(|source| VideoError::Thread { source })?;
        let waited = stopped.recv_timeout(std::time::Duration::from_nanos(limit.nanos()));
        waited.map_err(|_| VideoError::DoesNotStop { limit })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop(super::STOP_WITHIN);
    }
}

/// A live source displaces what waits; a file plays at its own speed and waits for us.
fn pace(pipeline: &gst::Pipeline, live: bool) {
    for queue in ["bregma_frames", "bregma_raw"] {
        if let Some(queue) = pipeline.by_name(queue) {
            queue.set_property_from_str("leaky", if live { "downstream" } else { "no" });
        }
    }
    let pacer = pipeline.by_name("bregma_pace");
    let ours = pacer.is_some();
    if let Some(pacer) = pacer {
        pacer.set_property("sync", !live);
    }
    for sink in [OWN_SINK, "bregma_encoded"] {
        if let Some(sink) = pipeline.by_name(sink) {
            sink.set_property("sync", !live && !ours);
        }
    }
}

/// Errors and the end, on the thread that posts them: nothing waits on the bus.
fn watch(pipeline: &gst::Pipeline, shared: &Arc<Shared>) {
    let Some(bus) = pipeline.bus() else { return };
    let shared = Arc::clone(shared);
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Eos(_) => shared.lost(VideoEvent::Ended, || VideoError::EndedAtOnce),
            gst::MessageView::Error(error) => {
                let source = error.src().and_then(|s| s.downcast_ref::<gst::Element>());
                let kind = source.and_then(|e| e.factory()).map(|f| f.name().to_string());
                let element = kind.or_else(|| error.src().map(|s| s.name().to_string())).unwrap_or_default();
                let detail = error.debug().and_then(|d| d.lines().last().map(str::to_owned));
                let detail = detail.filter(|d| !d.is_empty()).map_or_else(String::new, |d| format!(" ({d})"));
                let message = format!("{}{detail}", error.error());
                let event = VideoEvent::Failed { element: element.clone(), message: message.clone() };
                shared.lost(event, || VideoError::Failed { element, message });
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}
