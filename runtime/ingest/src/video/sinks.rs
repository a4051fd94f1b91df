//! The ends of the pipeline: pictures into the pool, access units into chunks.
//!
//! **Allocation:** the pool, at the first frame; per frame none on our side; per chunk its bytes.
//! **Invariant:** rows are copied one by one, as GStreamer pads them (to 4 bytes) and we do not.

use super::pipeline::Shared;
use super::stamps::Stamp;
use super::{EncodedChunk, OnEncoded, OnFrame, VideoEvent};
use bregma_core::flow::VideoFrame;
use bregma_core::pool::Pool;
use bregma_core::time::Instant;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use gstreamer_video::{VideoFrameExt, VideoFrameRef, VideoInfo};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where a picture's stamp comes from.
pub(super) enum Tap {
    /// Entered as the picture leaves the converter.
    Handover,
    /// Entered by our own camera as it grabs.
    Camera,
}

/// Samples that GStreamer may hold for us; we take each as it comes.
const SINK_HOLDS: u32 = 2;

/// Enters each picture as it leaves `pace`.
pub(super) fn stamp_at(pace: &gst::Element, shared: &Arc<Shared>) {
    let Some(pad) = pace.static_pad("src") else { return };
    let shared = Arc::clone(shared);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &info.data {
            let segment = pad.sticky_event::<gst::event::Segment>(0);
            let running = segment.and_then(|event| running_time(event.segment(), buffer));
            shared.stamps.enter(running, shared.clock.now(), shared.light);
        }
        gst::PadProbeReturn::Ok
    });
}

fn running_time(segment: &gst::Segment, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    segment.downcast_ref::<gst::ClockTime>().and_then(|s| buffer.pts().and_then(|pts| s.to_running_time(pts)))
}

/// The stamp that a sample was entered with; made now where it was not.
fn stamp(shared: &Shared, sample: &gst::SampleRef, buffer: &gst::BufferRef, now: Instant) -> Stamp {
    let running = sample.segment().and_then(|segment| running_time(segment, buffer));
    shared.stamps.find(running).unwrap_or_else(|| shared.stamps.enter(running, now, shared.light))
}

/// Gives each picture of `sink` to `on_frame`.
pub(super) fn frames(sink: &AppSink, shared: &Arc<Shared>, mut on_frame: OnFrame) {
    sink.set_caps(Some(&gst::Caps::builder("video/x-raw").field("format", "RGB").build()));
    sink.set_max_buffers(SINK_HOLDS);
    sink.set_drop(true);
    let mut frames = Frames { shared: Arc::clone(shared), info: None, pool: None, dry: false, other: None };
    let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let Some(frame) = frames.take(&sample)? {
            on_frame(frame);
        }
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}

struct Frames {
    shared: Arc<Shared>,
    info: Option<(gst::Caps, VideoInfo)>,
    pool: Option<(Pool<VideoFrame>, [usize; 2])>,
    dry: bool,
    other: Option<[usize; 2]>,
}

impl Frames {
    /// The picture as a pooled frame; none when the pool is dry or the size is another.
    fn take(&mut self, sample: &gst::SampleRef) -> Result<Option<Arc<VideoFrame>>, gst::FlowError> {
        let received = self.shared.clock.now();
        let (Some(buffer), Some(caps)) = (sample.buffer(), sample.caps()) else { return Ok(None) };
        if self.info.as_ref().is_none_or(|(known, _)| known.as_ref() != caps) {
            let info = VideoInfo::from_caps(caps).map_err(|_| gst::FlowError::NotNegotiated)?;
            self.info = Some((caps.to_owned(), info));
        }
        let Some((_, info)) = &self.info else { return Ok(None) };
        let stamp = stamp(&self.shared, sample, buffer, received);
        let size = [info.width() as usize, info.height() as usize];
        let slots = self.shared.pool_slots;
        let (pool, made_for) = self
            .pool
            .get_or_insert_with(|| (Pool::new("video frames", slots, || VideoFrame::black(size[0], size[1])), size));
        if *made_for != size {
            self.shared.other_size.fetch_add(1, Ordering::Relaxed);
            if self.other != Some(size) {
                self.other = Some(size);
                (self.shared.on_event)(VideoEvent::SizeChanged { from: *made_for, to: size });
            }
            return Ok(None);
        }
        self.other = None;
        let picture = VideoFrameRef::from_buffer_ref_readable(buffer, info).map_err(|_| gst::FlowError::Error)?;
        let camera = self.shared.camera;
        let written = pool.try_write(|frame| {
            frame.trace = stamp.trace;
            frame.camera = camera;
            frame.light = stamp.light;
            frame.captured = stamp.captured;
            frame.received = received;
            copy_rows(&picture, &mut frame.rgb, size)
        });
        match written {
            Ok(Ok(frame)) => {
                self.dry = false;
                if self.shared.delivered.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.shared.first_frame();
                }
                Ok(Some(frame))
            }
            Ok(Err(ShortPicture)) => Err(gst::FlowError::Error),
            Err(_) => {
                self.shared.dry.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.dry, true) {
                    (self.shared.on_event)(VideoEvent::PoolDry { slots });
                }
                Ok(None)
            }
        }
    }
}

/// A buffer has fewer rows or shorter ones than its caps say.
struct ShortPicture;

fn copy_rows(
    from: &VideoFrameRef<&gst::BufferRef>,
    to: &mut [u8],
    [width, height]: [usize; 2],
) -> Result<(), ShortPicture> {
    let stride = usize::try_from(from.plane_stride()[0]).map_err(|_| ShortPicture)?;
    let data = from.plane_data(0).map_err(|_| ShortPicture)?;
    for (y, row) in to.chunks_exact_mut(width * 3).enumerate().take(height) {
        row.copy_from_slice(data.get(y * stride..y * stride + width * 3).ok_or(ShortPicture)?);
    }
    Ok(())
}

/// Gives each access unit of `sink` to `on_encoded`.
pub(super) fn encoded(sink: &AppSink, shared: &Arc<Shared>, mut on_encoded: OnEncoded) {
    let shared = Arc::clone(shared);
    let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let Some(buffer) = sample.buffer() else { return Ok(gst::FlowSuccess::Ok) };
        let stamp = stamp(&shared, &sample, buffer, shared.clock.now());
        let bytes = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
        shared.encoded.fetch_add(1, Ordering::Relaxed);
        on_encoded(EncodedChunk {
            trace: stamp.trace,
            captured: stamp.captured,
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            data: Arc::from(bytes.as_slice()),
        });
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
}
