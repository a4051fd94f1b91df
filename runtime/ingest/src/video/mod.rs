//! Video from any GStreamer source, as pooled frames and as one encoded stream.
//!
//! ```text
//! launch string ─► videoconvert ─► RGB ─► pace ─┬─► queue ─► appsink ─► on_frame (record, align, display)
//!  or a Camera                                  └─► queue ─► x264 ─► appsink ─► on_encoded
//! ```
//!
//! **Units and frames:** pixels, rows from the top without padding; instants of the session's clock.
//! `captured` is the hand-over by the source: of our own cameras the instant that they say, of any other
//! source the moment its picture leaves the converter. A camera's own lag is not in it. **Allocation:** the
//! pool of frames, at the first one; per frame nothing on our side, per encoded chunk its bytes.
//! **Threads:** callbacks run on GStreamer's streaming threads and must not block, nor drop the source.
//! **Overflow:** a live source never waits for us: its oldest waiting pictures are displaced, and counted by
//! [`VideoSource::counts`]. A file is played at its own speed, and waits. **Not protected against:** a source that repeats
//! an old picture under a new time stamp; that is for who reads the picture.

mod camera;
mod elements;
mod pipeline;
mod sinks;
mod stamps;

pub use camera::{CameraConfig, open_camera};
pub use elements::{ElementStatus, elements, gstreamer_version};
pub use pipeline::{open, parses};

use bregma_core::flow::{Light, RangeImage, TraceId, VideoFrame};
use bregma_core::time::{Duration, Instant};
use std::sync::Arc;

/// What to open, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoConfig {
    /// A GStreamer pipeline without a sink, such as `v4l2src ! image/jpeg ! jpegdec`; or one that ends in
    /// `appsink name=bregma`.
    pub launch: String,
    /// Number of the camera, for frames and traces.
    pub camera: u32,
    /// What the microscope's lamp is set to.
    pub light: Light,
    /// Width and height to scale to; as the source gives them otherwise.
    pub size_px: Option<[usize; 2]>,
    /// Frames that readers may hold all together.
    pub pool_slots: usize,
    /// Whether the encoder runs.
    pub encode: bool,
    /// How long the first frame may take.
    pub first_frame_within: Duration,
}

/// What happened to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoEvent {
    /// The source has no more pictures.
    Ended,
    /// An element, or our own camera, reports an error.
    Failed {
        /// Which.
        element: String,
        /// What it says.
        message: String,
    },
    /// Readers hold every frame of the pool; said once until it has recovered.
    PoolDry {
        /// How many frames the pool has.
        slots: usize,
    },
    /// The source's size is not what it began with. Frames are held back until it is again.
    SizeChanged {
        /// What the pool, and the calibration, are made for.
        from: [usize; 2],
        /// What arrives.
        to: [usize; 2],
    },
}

/// One access unit of H.264 (Annex B).
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedChunk {
    /// The frame's trace.
    pub trace: TraceId,
    /// The frame's capture.
    pub captured: Instant,
    /// Whether decoding can start here; parameter sets are then in front.
    pub keyframe: bool,
    /// The bytes, beginning with a start code.
    pub data: Arc<[u8]>,
}

/// Who is told of each frame.
pub type OnFrame = Box<dyn FnMut(Arc<VideoFrame>) + Send>;
/// Who is told of each range image.
pub type OnRanges = Box<dyn FnMut(Arc<RangeImage>) + Send>;
/// Who is told of each encoded chunk.
pub type OnEncoded = Box<dyn FnMut(EncodedChunk) + Send>;
/// Who is told what happened to the source.
pub type OnEvent = Arc<dyn Fn(VideoEvent) + Send + Sync>;

/// Who is told.
pub struct VideoCallbacks {
    /// Of each frame.
    pub on_frame: OnFrame,
    /// Of each encoded chunk.
    pub on_encoded: OnEncoded,
    /// Of everything else.
    pub on_event: OnEvent,
}

/// What a source has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VideoCounts {
    /// Pictures that the source handed over.
    pub arrived: u64,
    /// Frames given to `on_frame`.
    pub delivered: u64,
    /// Frames lost to a dry pool.
    pub dry: u64,
    /// Frames held back for their size.
    pub other_size: u64,
    /// Chunks given to `on_encoded`.
    pub encoded: u64,
}

/// Why a source did not open, or did not close.
#[derive(Debug, thiserror::Error)]
pub enum VideoError {
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {message}")]
    Init {
        /// What it says.
        message: String,
    },
    /// An element is not installed.
    #[error("there is no GStreamer element `{element}`; {}", elements::remedy(element))]
    NoSuchElement {
        /// Its name.
        element: String,
    },
    /// The string does not make a pipeline.
    #[error("`{launch}` is no pipeline: {message}; try it with gst-launch-1.0 and a fakesink at its end")]
    Launch {
        /// The string.
        launch: String,
        /// What GStreamer says.
        message: String,
    },
    /// It ends in an appsink that is not ours.
    #[error("`{launch}` has an appsink of another name; leave the sink away, or write `appsink name=bregma`")]
    OtherSink {
        /// The string.
        launch: String,
    },
    /// An own sink and the encoder do not go together.
    #[error("`{launch}` ends in its own appsink, so there is nothing to encode from; leave the sink away")]
    NothingToEncode {
        /// The string.
        launch: String,
    },
    /// A number of the configuration is outside its range.
    #[error("{key} is {value}; it must be {right}")]
    Setting {
        /// Which.
        key: &'static str,
        /// What it is.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// It failed before the first frame.
    #[error("the source fails before its first frame: {element}: {message}")]
    Failed {
        /// Which element.
        element: String,
        /// What it says.
        message: String,
    },
    /// It ended before the first frame.
    #[error("the source ends before its first frame")]
    EndedAtOnce,
    /// Nothing comes.
    #[error("no frame within {limit}; is the source sending?")]
    NoVideo {
        /// How long was waited.
        limit: Duration,
    },
    /// A streaming thread does not come back.
    #[error("the pipeline does not stop within {limit}; a callback, or a device, blocks it")]
    DoesNotStop {
        /// How long was waited.
        limit: Duration,
    },
    /// The system gives no thread.
    #[error("no thread for the source: {source}")]
    Thread {
        /// What the system says.
        source: std::io::Error,
    },
}

/// A running source. Dropping it stops the pipeline, within [`STOP_WITHIN`].
pub struct VideoSource {
    running: pipeline::Running,
    camera: Option<camera::Grabber>,
}

/// How long a pipeline may take to stop: ten frames at 5 a second, the slowest source that makes sense.
pub const STOP_WITHIN: Duration = Duration::from_secs(2);

impl VideoSource {
    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> VideoCounts {
        self.running.counts()
    }

    /// Whether the source is live, and so displaces pictures rather than wait.
    #[must_use]
    pub fn live(&self) -> bool {
        self.running.live
    }

    /// Stops, and says whether that worked.
    ///
    /// # Errors
    /// [`VideoError::DoesNotStop`] when a streaming thread does not come back in time; it is then left behind.
    pub fn close(mut self) -> Result<(), VideoError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), VideoError> {
        drop(self.camera.take());
        self.running.stop(STOP_WITHIN)
    }
}

impl Drop for VideoSource {
    fn drop(&mut self) {
        // There is nobody to tell: who wants to know calls `close`.
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests;
