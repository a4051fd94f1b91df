//! A camera of our own (the digital patient's microscope, say) through a real GStreamer pipeline.
//!
//! A named thread grabs at the camera's rate and pushes into an `appsrc`; from there on it is a source like
//! any other. **Time:** a buffer's time stamp is the camera's `captured`, on the session's clock; the instant
//! itself, and the light, wait beside the pipeline and are joined to the picture again at its end.
//! **Allocation:** GStreamer's buffer pool and one scratch frame, before the first grab.

use super::pipeline::{Running, Shared, check, parse, tail};
use super::sinks::Tap;
use super::{OnRanges, VideoCallbacks, VideoConfig, VideoError, VideoEvent, VideoSource};
use bregma_core::devices::{Camera, DeviceFault, RANGES_EVERY};
use bregma_core::flow::{Light, RangeImage, VideoFrame};
use bregma_core::pool::Pool;
use bregma_core::time::{Clock, Duration, Instant, RealClock};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use gstreamer_video::{VideoBufferPool, VideoFormat, VideoFrameExt, VideoFrameRef, VideoInfo};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// How to run a camera of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CameraConfig {
    /// Number of the camera, for frames and traces.
    pub camera: u32,
    /// Pictures a second.
    pub fps: u32,
    /// Frames that readers may hold all together.
    pub pool_slots: usize,
    /// Whether the encoder runs.
    pub encode: bool,
    /// How long the first frame may take.
    pub first_frame_within: Duration,
}

/// Range images that readers may hold all together.
const RANGES: usize = 8;
/// Pictures a second that a camera can have.
const FPS: std::ops::RangeInclusive<u32> = 1..=240;

/// Runs a camera and waits for its first frame. Ranges, where the camera measures them, are told every
/// [`RANGES_EVERY`] on the thread that grabs.
///
/// # Errors
/// [`VideoError`]: which element, setting, or limit, and what would be right.
pub fn open_camera(
    camera: Box<dyn Camera>,
    config: CameraConfig,
    clock: RealClock,
    callbacks: VideoCallbacks,
    on_ranges: OnRanges,
) -> Result<VideoSource, VideoError> {
    super::elements::init()?;
    let setting = |key, value, right| VideoError::Setting { key, value, right };
    if !FPS.contains(&config.fps) {
        return Err(setting("fps", config.fps.to_string(), "1 to 240 pictures a second"));
    }
    let [width, height] = camera.size_px();
    let size = [width, height].map(u32::try_from);
    let ([Ok(w), Ok(h)], true) = (size, [width, height].iter().all(|s| (16..=4096).contains(s))) else {
        return Err(setting("the camera's size", format!("{width}×{height}"), "16 to 4096 pixels each way"));
    };
    let fps = gst::Fraction::new(i32::try_from(config.fps).unwrap_or(i32::MAX), 1);
    let info = VideoInfo::builder(VideoFormat::Rgb, w, h).fps(fps).build();
    let info = info.map_err(|why| VideoError::Init { message: why.to_string() })?;
    let caps = info.to_caps().map_err(|why| VideoError::Init { message: why.to_string() })?;

    let source = "appsrc name=bregma_source is-live=true format=time max-buffers=2 leaky-type=downstream".to_owned();
    let video = VideoConfig {
        launch: source,
        camera: config.camera,
        light: Light::White,
        size_px: None,
        pool_slots: config.pool_slots,
        encode: config.encode,
        first_frame_within: config.first_frame_within,
    };
    check(&video)?;
    let pipeline = parse(&video.launch, &format!("{} ! {}", video.launch, tail(&video)))?;
    let Some(Ok(sink)) = pipeline.by_name("bregma_source").map(|e| e.downcast::<AppSrc>()) else {
        return Err(VideoError::NoSuchElement { element: "appsrc".to_owned() });
    };
    sink.set_caps(Some(&caps));
    let buffers = buffer_pool(&caps, &info)?;

    let mut running = Running::new(pipeline, &video, Arc::new(clock.clone()), callbacks, Tap::Camera)?;
    running.start()?;
    let grabbing = Grabbing {
        camera,
        clock,
        shared: Arc::clone(&running.shared),
        into: sink,
        info,
        buffers,
        period: Duration::from_nanos(1_000_000_000 / u64::from(config.fps)),
        last: None,
        failing: false,
        ranges: Pool::new("range images", RANGES, RangeImage::blank),
        ranged: None,
        on_ranges,
    };
    let grabber = Grabber::start(grabbing)?;
    running.wait(config.first_frame_within)?;
    Ok(VideoSource { running, camera: Some(grabber) })
}

fn buffer_pool(caps: &gst::Caps, info: &VideoInfo) -> Result<VideoBufferPool, VideoError> {
    let pool = VideoBufferPool::new();
    let failed = |why: gst::glib::BoolError| VideoError::Init { message: format!("its buffer pool: {why}") };
    let bytes = u32::try_from(info.size()).unwrap_or(u32::MAX);
    let mut settings = pool.config();
    settings.set_params(Some(caps), bytes, 4, 0);
    pool.set_config(settings).map_err(failed)?;
    pool.set_active(true).map_err(failed)?;
    Ok(pool)
}

/// The thread that grabs; it ends when this is dropped.
pub(super) struct Grabber {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Grabber {
    fn start(mut grabbing: Grabbing) -> Result<Self, VideoError> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&stop);
        let work = move || {
            if catch_unwind(AssertUnwindSafe(|| grabbing.run(&seen))).is_err() {
                grabbing.report("camera".to_owned(), "its code panicked; no more pictures come".to_owned());
            }
        };
        let thread = std::thread::Builder::new().name("camera".to_owned()).spawn(work);
        let thread = Some(thread.map_err(|source| VideoError::Thread { source })?);
        Ok(Self { stop, thread })
    }
}

impl Drop for Grabber {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        // Ends after the present grab; a panic in the camera's code has been reported as a failure.
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

struct Grabbing {
    camera: Box<dyn Camera>,
    clock: RealClock,
    shared: Arc<Shared>,
    into: AppSrc,
    info: VideoInfo,
    buffers: VideoBufferPool,
    period: Duration,
    last: Option<gst::ClockTime>,
    failing: bool,
    ranges: Pool<RangeImage>,
    /// When ranges were told last.
    ranged: Option<Instant>,
    on_ranges: OnRanges,
}

impl Grabbing {
    fn run(&mut self, (stop, wake): &(Mutex<bool>, Condvar)) {
        let mut frame = VideoFrame::black(self.info.width() as usize, self.info.height() as usize);
        let mut due = self.clock.now();
        loop {
            let now = self.clock.now();
            let early = std::time::Duration::from_nanos(due.since(now).map_or(0, Duration::nanos));
            let stopped = stop.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = wake.wait_timeout_while(stopped, early, |stopped| !*stopped);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
            self.grab(&mut frame);
            // A grab that took longer than a period is not made up for: the next one is due now.
            due = (due + self.period).max(self.clock.now());
        }
    }

    fn grab(&mut self, frame: &mut VideoFrame) {
        let now = self.clock.now();
        frame.captured = now;
        let done = self.camera.grab(now, frame).map_err(|why| (why.device, why.what));
        match done.and_then(|()| self.push(frame).map_err(|why| ("appsrc".to_owned(), why))) {
            Ok(()) => {
                self.failing = false;
                self.tell_ranges(now);
            }
            // Said once until it works again; meanwhile no frame comes, and what is held grows stale.
            Err((element, message)) if !std::mem::replace(&mut self.failing, true) => {
                self.report(element, message);
            }
            Err(_) => {}
        }
    }

    /// Ranges of the picture just grabbed, if they are due and the camera has any. Without them what is held grows stale.
    fn tell_ranges(&mut self, now: Instant) {
        if self.ranged.and_then(|before| now.since(before)).is_some_and(|since| since < RANGES_EVERY) {
            return;
        }
        let (camera, clock, mut has) = (&mut self.camera, &self.clock, false);
        let told = self.ranges.try_write(|ranges| {
            has = camera.ranges(ranges)?;
            ranges.received = clock.now();
            Ok::<_, DeviceFault>(())
        });
        match told {
            Ok(Ok(ranges)) if has => {
                self.ranged = Some(now);
                (self.on_ranges)(ranges);
            }
            Ok(Ok(_)) => self.ranged = Some(now),
            Ok(Err(why)) => self.report(why.device, why.what),
            Err(dry) => self.report("range images".to_owned(), dry.to_string()),
        }
    }

    fn report(&self, element: String, message: String) {
        let event = VideoEvent::Failed { element: element.clone(), message: message.clone() };
        self.shared.lost(event, || VideoError::Failed { element, message });
    }

    /// Copies the picture into a buffer of GStreamer's and enters its stamp.
    fn push(&mut self, frame: &VideoFrame) -> Result<(), String> {
        let size = [self.info.width() as usize, self.info.height() as usize];
        if [frame.width, frame.height] != size || frame.rgb.len() != size[0] * size[1] * 3 {
            return Err(format!(
                "a picture of {}×{}, announced was {}×{}",
                frame.width, frame.height, size[0], size[1]
            ));
        }
        let pts = self.next_pts(frame.captured);
        let mut buffer = self.buffers.acquire_buffer(None).map_err(|why| format!("no buffer: {why:?}"))?;
        let writable = buffer.get_mut().ok_or("a buffer of the pool is shared")?;
        writable.set_pts(pts);
        let mut picture =
            VideoFrameRef::from_buffer_ref_writable(writable, &self.info).map_err(|why| why.to_string())?;
        let stride = usize::try_from(picture.plane_stride()[0]).map_err(|why| why.to_string())?;
        let data = picture.plane_data_mut(0).map_err(|why| why.to_string())?;
        for (from, to) in frame.rgb.chunks_exact(size[0] * 3).zip(data.chunks_mut(stride)) {
            to[..from.len()].copy_from_slice(from);
        }
        drop(picture);
        // The segment of an appsrc in time format starts at 0, so running time is the time stamp.
        self.shared.stamps.enter(Some(pts), frame.captured, frame.light);
        self.into.push_buffer(buffer).map(|_| ()).map_err(|why| format!("does not take a picture: {why:?}"))
    }

    /// The capture as a time stamp; encoders need them to grow, so an equal or older one moves up by 1 ns.
    fn next_pts(&mut self, captured: Instant) -> gst::ClockTime {
        let wanted = gst::ClockTime::from_nseconds(captured.nanos());
        let pts = self.last.map_or(wanted, |last| wanted.max(last + gst::ClockTime::NSECOND));
        self.last = Some(pts);
        pts
    }
}
