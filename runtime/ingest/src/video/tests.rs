//! Real pipelines, each waited for with a limit.

use super::*;
use bregma_core::devices::{Camera, DeviceFault};
use bregma_core::time::{Clock, RealClock};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

/// What a source said, in order.
#[derive(Debug, Clone)]
enum Said {
    Frame(Arc<VideoFrame>),
    Chunk(EncodedChunk),
    Event(VideoEvent),
}

/// Collects what a source says.
#[derive(Clone, Default)]
struct Ear(Arc<(Mutex<VecDeque<Said>>, Condvar)>);

impl Ear {
    fn hear(&self, said: Said) {
        self.0.0.lock().expect("no test panics while it holds this").push_back(said);
        self.0.1.notify_all();
    }

    fn callbacks(&self) -> VideoCallbacks {
        let [a, b, c] = [self.clone(), self.clone(), self.clone()];
        VideoCallbacks {
            on_frame: Box::new(move |f| a.hear(Said::Frame(f))),
            on_encoded: Box::new(move |e| b.hear(Said::Chunk(e))),
            on_event: Arc::new(move |e| c.hear(Said::Event(e))),
        }
    }

    /// Everything up to and with the first that `last` picks.
    fn until(&self, last: impl Fn(&Said) -> bool) -> Vec<Said> {
        let mut heard = Vec::new();
        let limit = std::time::Duration::from_secs(10);
        let mut queue = self.0.0.lock().expect("no test panics while it holds this");
        loop {
            while let Some(said) = queue.pop_front() {
                let done = last(&said);
                heard.push(said);
                if done {
                    return heard;
                }
            }
            let (next, waited) = self.0.1.wait_timeout(queue, limit).expect("not poisoned");
            assert!(!waited.timed_out(), "nothing more after {} within 10 s: {:?}", heard.len(), heard.last());
            queue = next;
        }
    }
}

fn frames(said: &[Said]) -> Vec<&Arc<VideoFrame>> {
    said.iter().filter_map(|s| if let Said::Frame(f) = s { Some(f) } else { None }).collect()
}

fn ended(said: &Said) -> bool {
    matches!(said, Said::Event(VideoEvent::Ended))
}

fn config(launch: &str) -> VideoConfig {
    VideoConfig {
        launch: launch.to_owned(),
        camera: 3,
        light: Light::Violet,
        size_px: None,
        pool_slots: 32,
        encode: false,
        first_frame_within: Duration::from_secs(8),
    }
}

fn clock() -> Arc<RealClock> {
    Arc::new(RealClock::start())
}

/// 62 pixels across: a row of 186 bytes that GStreamer pads to 188.
const RED: &str = "videotestsrc pattern=red num-buffers=10 ! video/x-raw,width=62,height=48,framerate=100/1";

fn refusal(config: VideoConfig) -> VideoError {
    match open(config, clock(), Ear::default().callbacks()) {
        Ok(_) => panic!("the source opened"),
        Err(why) => why,
    }
}

#[test]
fn ten_red_pictures_are_ten_red_frames_and_an_end() {
    let ear = Ear::default();
    let source = open(config(RED), clock(), ear.callbacks()).expect("opens");
    let said = ear.until(ended);
    let frames = frames(&said);
    assert_eq!(frames.len(), 10);
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!((frame.width, frame.height, frame.camera, frame.light), (62, 48, 3, Light::Violet));
        assert_eq!(frame.trace, TraceId(3 << 40 | (n as u64 + 1)));
        assert!(frame.captured <= frame.received);
        for pixel in frame.rgb.chunks_exact(3) {
            assert!(pixel[0] > 240 && pixel[1] < 15 && pixel[2] < 15, "{pixel:?} in frame {n}");
        }
    }
    assert!(frames.windows(2).all(|pair| pair[0].captured < pair[1].captured));
    assert!(!source.live());
    let counts = source.counts();
    assert_eq!((counts.arrived, counts.delivered, counts.dry), (10, 10, 0));
    source.close().expect("stops");
}

#[test]
fn a_size_is_scaled_to() {
    let ear = Ear::default();
    let config = VideoConfig { size_px: Some([32, 20]), ..config(RED) };
    let _source = open(config, clock(), ear.callbacks()).expect("opens");
    let said = ear.until(ended);
    let frames = frames(&said);
    assert_eq!((frames.len(), frames[0].width, frames[0].height, frames[0].rgb.len()), (10, 32, 20, 32 * 20 * 3));
}

#[test]
fn an_own_appsink_is_used_and_another_refused() {
    let ear = Ear::default();
    let own = format!("{RED} ! videoconvert ! appsink name=bregma");
    let source = open(config(&own), clock(), ear.callbacks()).expect("opens");
    assert_eq!(frames(&ear.until(ended)).len(), 10);
    drop(source);
    assert!(matches!(refusal(config(&format!("{RED} ! videoconvert ! appsink"))), VideoError::OtherSink { .. }));
    let encode = VideoConfig { encode: true, ..config(&own) };
    assert!(matches!(refusal(encode), VideoError::NothingToEncode { .. }));
}

#[test]
fn an_element_that_does_not_exist_is_named_with_its_package() {
    let words = refusal(config("videotestsauce ! jpegdec")).to_string();
    assert!(words.starts_with("there is no GStreamer element `videotestsauce`; gst-inspect-1.0"), "{words}");
    let words = VideoError::NoSuchElement { element: "x264enc".to_owned() }.to_string();
    assert_eq!(words, "there is no GStreamer element `x264enc`; Debian has it in gstreamer1.0-plugins-ugly");
}

#[test]
fn a_string_that_is_no_pipeline_is_refused() {
    for launch in [
        "",
        "!!!",
        "videotestsrc ! ! jpegdec",
        "videotestsrc no-such-property=1",
        "videotestsrc ! audioconvert",
        "videotestsrc ! fakesink",
    ] {
        let why = refusal(config(launch));
        assert!(matches!(why, VideoError::Launch { .. } | VideoError::Failed { .. }), "{launch:?}: {why}");
    }
}

#[test]
fn settings_outside_their_range_are_refused() {
    let why = refusal(VideoConfig { pool_slots: 0, ..config(RED) });
    assert_eq!(why.to_string(), "pool_slots is 0; it must be 1 to 256");
    let why = refusal(VideoConfig { size_px: Some([1 << 20, 2]), ..config(RED) });
    assert!(matches!(why, VideoError::Setting { key: "size_px", .. }), "{why}");
}

#[test]
fn a_file_that_is_missing_fails_with_the_element_and_the_reason() {
    let why = refusal(config("filesrc location=no/such/film.mkv ! decodebin"));
    let VideoError::Failed { element, message } = &why else { panic!("{why}") };
    assert_eq!(element, "filesrc");
    assert!(message.contains("no/such/film.mkv"), "{message}");
}

#[test]
fn a_source_without_pictures_is_said_to_have_none() {
    let silent = refusal(VideoConfig {
        first_frame_within: Duration::from_millis(300),
        ..config(
            "udpsrc port=0 ! application/x-rtp,media=video,encoding-name=H264,clock-rate=90000 ! rtph264depay ! avdec_h264",
        )
    });
    assert_eq!(silent.to_string(), "no frame within 300.0 ms; is the source sending?");
    let empty = refusal(config("videotestsrc num-buffers=0"));
    assert!(matches!(empty, VideoError::EndedAtOnce), "{empty}");
}

/// A short film in a file.
fn film(path: &std::path::Path) {
    let ear = Ear::default();
    let launch = format!(
        "videotestsrc num-buffers=60 ! video/x-raw,width=320,height=240,framerate=200/1 ! tee name=t ! queue \
         ! x264enc tune=zerolatency key-int-max=10 ! matroskamux ! filesink location={} t. ! queue",
        path.display()
    );
    let _source = open(VideoConfig { pool_slots: 64, ..config(&launch) }, clock(), ear.callbacks()).expect("opens");
    ear.until(ended);
}

#[test]
fn a_film_is_played_and_one_that_breaks_off_ends_mid_stream() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let path = dir.path().join("film.mkv");
    film(&path);
    let play = |path: &std::path::Path| {
        let ear = Ear::default();
        let launch = format!("filesrc location={} ! decodebin", path.display());
        let config = VideoConfig { pool_slots: 64, ..config(&launch) };
        let _source = open(config, clock(), ear.callbacks()).expect("opens");
        let said = ear.until(|s| matches!(s, Said::Event(VideoEvent::Ended | VideoEvent::Failed { .. })));
        frames(&said).len()
    };
    assert_eq!(play(&path), 60);
    let bytes = std::fs::read(&path).expect("just written");
    let cut = dir.path().join("cut.mkv");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a temporary folder takes files");
    let shown = play(&cut);
    assert!((1..60).contains(&shown), "{shown} frames of half a film");
}

#[test]
fn a_failure_mid_stream_is_an_event() {
    let ear = Ear::default();
    let launch = format!("{RED} ! identity error-after=6");
    let _source = open(config(&launch), clock(), ear.callbacks()).expect("opens");
    let said = ear.until(|s| matches!(s, Said::Event(VideoEvent::Failed { .. })));
    let Some(Said::Event(VideoEvent::Failed { element, .. })) = said.last() else { panic!("{said:?}") };
    assert_eq!(element, "identity");
    assert!(!said.iter().any(ended));
}

#[test]
fn a_change_of_size_is_said_once_and_its_frames_are_held_back() {
    let ear = Ear::default();
    let part = |w, h| format!("videotestsrc num-buffers=5 ! video/x-raw,width={w},height={h},framerate=100/1");
    let launch = format!("concat name=c {} ! c. {} ! c. c.", part(64, 48), part(32, 24));
    let source = open(config(&launch), clock(), ear.callbacks()).expect("opens");
    let said = ear.until(ended);
    assert_eq!(frames(&said).len(), 5);
    let events: Vec<_> = said.iter().filter(|s| matches!(s, Said::Event(_))).collect();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(matches!(events[0], Said::Event(VideoEvent::SizeChanged { from: [64, 48], to: [32, 24] })), "{events:?}");
    assert_eq!(source.counts().other_size, 5);
}

#[test]
fn readers_that_keep_every_frame_run_the_pool_dry_and_nothing_hangs() {
    let ear = Ear::default();
    let config = VideoConfig { pool_slots: 4, ..config(RED) };
    let source = open(config, clock(), ear.callbacks()).expect("opens");
    let said = ear.until(ended); // the frames in here are the leak
    assert_eq!(frames(&said).len(), 4);
    let dry = said.iter().filter(|s| matches!(s, Said::Event(VideoEvent::PoolDry { slots: 4 }))).count();
    assert_eq!((dry, source.counts().dry), (1, 6));
    source.close().expect("stops");
}

#[test]
fn encoded_chunks_begin_with_a_key_frame_and_carry_their_frames_times() {
    let ear = Ear::default();
    let launch = "videotestsrc num-buffers=30 ! video/x-raw,width=128,height=96,framerate=100/1";
    let source = open(VideoConfig { encode: true, ..config(launch) }, clock(), ear.callbacks()).expect("opens");
    let said = ear.until(ended);
    let frames = frames(&said);
    let chunks: Vec<&EncodedChunk> =
        said.iter().filter_map(|s| if let Said::Chunk(c) = s { Some(c) } else { None }).collect();
    assert_eq!((frames.len(), chunks.len(), source.counts().encoded), (30, 30, 30));
    assert!(chunks[0].keyframe && chunks[25].keyframe && !chunks[1].keyframe);
    for (frame, chunk) in frames.iter().zip(&chunks) {
        assert_eq!((frame.trace, frame.captured), (chunk.trace, chunk.captured));
        assert!(chunk.data.starts_with(&[0, 0, 0, 1]) || chunk.data.starts_with(&[0, 0, 1]), "{:?}", &chunk.data[..4]);
    }
    // Parameter sets (7 and 8) stand in front of every key frame, so that decoding can start there.
    let kinds =
        |data: &[u8]| -> Vec<u8> { data.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3] & 31).collect() };
    for key in chunks.iter().filter(|c| c.keyframe) {
        let kinds = kinds(&key.data);
        assert!([5, 7, 8].iter().all(|k| kinds.contains(k)), "{kinds:?}");
    }
}

/// Pictures whose first bytes tell their number, captured 5 ms before the grab.
struct Counting {
    size: [usize; 2],
    grabbed: Vec<Instant>,
    log: Arc<Mutex<Vec<Instant>>>,
    fails_after: usize,
}

impl Camera for Counting {
    fn size_px(&self) -> [usize; 2] {
        self.size
    }
    fn grab(&mut self, now: Instant, frame: &mut VideoFrame) -> Result<(), DeviceFault> {
        if self.grabbed.len() == self.fails_after {
            return Err(DeviceFault { device: "counting camera".to_owned(), what: "lens cap on".to_owned() });
        }
        frame.captured = Instant::from_nanos(now.nanos().saturating_sub(5_000_000));
        frame.light = if self.grabbed.len().is_multiple_of(2) { Light::White } else { Light::Violet };
        frame.rgb.fill(0);
        frame.rgb[..3].copy_from_slice(&[self.grabbed.len() as u8, 200, 100]);
        let last = frame.rgb.len() - 1;
        frame.rgb[last] = 77;
        self.grabbed.push(frame.captured);
        self.log.lock().expect("no test panics while it holds this").push(frame.captured);
        Ok(())
    }
}

fn camera_config(encode: bool) -> CameraConfig {
    CameraConfig { camera: 0, fps: 100, pool_slots: 64, encode, first_frame_within: Duration::from_secs(8) }
}

#[test]
fn a_camera_of_our_own_keeps_its_times_its_light_and_its_pixels() {
    let ear = Ear::default();
    let log = Arc::new(Mutex::new(Vec::new()));
    let camera = Counting { size: [62, 48], grabbed: Vec::new(), log: Arc::clone(&log), fails_after: usize::MAX };
    let clock = RealClock::start();
    let source = open_camera(Box::new(camera), camera_config(true), clock.clone(), ear.callbacks(), Box::new(|_| {}))
        .expect("opens");
    assert!(source.live());
    let chunks = std::cell::Cell::new(0);
    let said = ear.until(|s| {
        chunks.set(chunks.get() + usize::from(matches!(s, Said::Chunk(_))));
        chunks.get() == 20
    });
    source.close().expect("stops");
    let grabbed = log.lock().expect("the camera is gone").clone();
    let frames = frames(&said);
    assert!(frames.len() >= 15, "{} frames beside 20 chunks", frames.len());
    for frame in frames {
        let n = usize::from(frame.rgb[0]);
        assert_eq!(frame.rgb[..3], [n as u8, 200, 100]);
        assert_eq!(frame.rgb[frame.rgb.len() - 1], 77);
        assert_eq!(frame.captured, grabbed[n], "frame {n}");
        assert_eq!(frame.light, if n.is_multiple_of(2) { Light::White } else { Light::Violet });
        assert_eq!(frame.trace, TraceId(n as u64 + 1));
        assert!(frame.captured < frame.received && frame.received <= clock.now());
    }
    for said in &said {
        if let Said::Chunk(chunk) = said {
            assert_eq!(chunk.captured, grabbed[chunk.trace.0 as usize - 1]);
        }
    }
}

#[test]
fn a_camera_that_fails_is_said_to_once() {
    let ear = Ear::default();
    let camera = Counting { size: [64, 48], grabbed: Vec::new(), log: Arc::default(), fails_after: 5 };
    let source =
        open_camera(Box::new(camera), camera_config(false), RealClock::start(), ear.callbacks(), Box::new(|_| {}))
            .expect("opens");
    let said = ear.until(|s| matches!(s, Said::Event(_)));
    let failed = VideoEvent::Failed { element: "counting camera".to_owned(), message: "lens cap on".to_owned() };
    assert!(matches!(said.last(), Some(Said::Event(e)) if *e == failed), "{said:?}");
    drop(source);
    let camera = Counting { size: [64, 48], grabbed: Vec::new(), log: Arc::default(), fails_after: 0 };
    let opened =
        open_camera(Box::new(camera), camera_config(false), RealClock::start(), ear.callbacks(), Box::new(|_| {}));
    assert!(matches!(opened, Err(VideoError::Failed { .. })), "a camera that never gives a picture");
}

#[test]
fn the_required_elements_are_listed_and_here() {
    let elements = elements().expect("GStreamer starts");
    for name in ["appsink", "videoconvert", "x264enc", "v4l2src", "rtspsrc", "srtsrc", "udpsrc", "avdec_h264"] {
        assert!(elements.iter().any(|e| e.name == name), "{name}");
    }
    let missing: Vec<_> = elements.iter().filter(|e| e.required && !e.present).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(gstreamer_version().expect("GStreamer starts").starts_with("GStreamer 1."));
}
