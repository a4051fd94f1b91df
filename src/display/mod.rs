//! What the theatre sees: rerun carries it, live over loopback and into an `.rrd` file.
//!
//! One thread drains lanes that drop their oldest value, so a slow display never holds up the flow.
//! **Read-only.** **Units and frames:** patient LPS mm. **On stale data** the state says *stale*, with the
//! age, never only the old number. A later issue makes it fit for a theatre.

mod layout;
mod overlay;
pub mod portrait;
pub mod reasons;
mod screen;
pub mod slices;
mod surface;

use crate::events::Events;
use crate::pipeline::Topics;
use bregma_core::arm::ArmModel;
use bregma_core::flow::{Anatomy, ArmMount, CameraCalibration, Plan, RoiFrame, Scene, Sent, TipPose, Verdict};
use bregma_core::lane::{Overflow, Receiver, Sender, lane};
use bregma_core::time::{Clock, Duration, RealClock};
use bregma_core::topic::Subscriber;
use bregma_core::wake::Wake;
use bregma_ingest::video::EncodedChunk;
use rerun::{RecordingStream, RecordingStreamBuilder};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Time between two scenes that are drawn: 5 a second are smooth to look at and leave the cores to the flow.
const SCENE_EVERY: Duration = Duration::from_millis(200);
/// Time between two meshes.
const MESH_EVERY: Duration = Duration::from_millis(500);
/// A scene older than this is shown as stale.
const STALE_AFTER: Duration = Duration::from_millis(500);
/// Most memory that the live server keeps for viewers that join late, bytes.
const SERVER_MEMORY: u64 = 256 << 20;

/// Where the display goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Serve live viewers there; loopback unless somebody says otherwise.
    pub serve: Option<SocketAddr>,
    /// Write an `.rrd` file.
    pub rrd: Option<PathBuf>,
    /// Say why the margin at the tip is where it is.
    pub reasons: Option<reasons::Wanted>,
}

/// What is drawn but does not change.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// The microscope.
    pub camera: CameraCalibration,
    /// The arm.
    pub arm: ArmModel,
    /// How it stands.
    pub mount: ArmMount,
}

/// The display cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// Somebody else listens there.
    #[error(
        "the display's port {0} is in use ({1}): close the other viewer or session, or choose another with \
         `display.address` (or --display ADDRESS:PORT)"
    )]
    PortInUse(SocketAddr, std::io::Error),
    /// rerun refused.
    #[error("rerun cannot {0}: {1}")]
    Rerun(&'static str, String),
    /// The system gave no thread.
    #[error("no thread for the display: {0}")]
    Thread(std::io::Error),
}

/// The lanes that the display reads.
struct Lanes {
    scenes: Subscriber<Arc<Scene>>,
    rois: Subscriber<Arc<RoiFrame>>,
    anatomy: Subscriber<Arc<Anatomy>>,
    tips: Subscriber<TipPose>,
    sent: Subscriber<Sent>,
    plans: Subscriber<Arc<Plan>>,
    verdicts: Subscriber<Arc<Verdict>>,
    video: Receiver<EncodedChunk>,
}

/// The display's lanes on the topics, before its thread starts.
pub struct Display {
    lanes: Lanes,
    recording: RecordingStream,
    reasons: Option<(reasons::Wanted, reasons::Lanes)>,
}

/// The display, drawing.
pub struct Drawing {
    thread: JoinHandle<()>,
    reasons: Option<JoinHandle<()>>,
    ending: Arc<AtomicBool>,
    wake: Arc<Wake>,
}

impl Display {
    /// Opens the outputs and hangs lanes onto the topics. The encoded video goes into the sender.
    ///
    /// # Errors
    /// When the port is taken or a file cannot be made.
    pub fn open(options: &Options, topics: &mut Topics) -> Result<(Self, Sender<EncodedChunk>), DisplayError> {
        use Overflow::DropOldest;
        let recording = record_to(options)?;
        let (encoded, video) = lane("encoded to display", 64, DropOldest);
        let lanes = Lanes {
            scenes: topics.scenes.subscribe("scenes to display", 2, DropOldest),
            rois: topics.rois.subscribe("rois to display", 2, DropOldest),
            anatomy: topics.anatomy.subscribe("anatomy to display", 2, DropOldest),
            tips: topics.tips.subscribe("tips to display", 2, DropOldest),
            sent: topics.sent.subscribe("sent to display", 2, DropOldest),
            plans: topics.plans.subscribe("plans to display", 4, DropOldest),
            verdicts: topics.verdicts.subscribe("verdicts to display", 32, DropOldest),
            video,
        };
        let reasons = options.reasons.clone().map(|wanted| (wanted, reasons::Lanes::hang(topics)));
        Ok((Self { lanes, recording, reasons }, encoded))
    }

    /// Starts drawing.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self, fixed: Fixed, events: Events, clock: RealClock) -> Result<Drawing, DisplayError> {
        let ending = Arc::new(AtomicBool::new(false));
        let wake = Arc::new(Wake::new());
        let (told, own) = (Arc::clone(&ending), Arc::clone(&wake));
        let board = reasons::Board::default();
        let reasons = self.reasons.map(|(wanted, lanes)| {
            let beside = (events.clone(), clock.clone());
            reasons::start(wanted, lanes, board.clone(), Arc::clone(&ending), beside)
        });
        let reasons = reasons.transpose()?;
        let thread = std::thread::Builder::new()
            .name("display".to_owned())
            .spawn(move || {
                own.bind();
                let mut screen = screen::Screen::new(self.recording, fixed, events, board);
                let mut lanes = self.lanes;
                while !told.load(Ordering::Acquire) {
                    screen.draw(clock.now(), &mut lanes);
                    own.wait(0, Some(std::time::Duration::from_millis(40)));
                }
                screen.draw(clock.now(), &mut lanes);
                screen.close();
            })
            .map_err(DisplayError::Thread)?;
        Ok(Drawing { thread, reasons, ending, wake })
    }
}

impl Drawing {
    /// Draws what is left and closes the outputs.
    pub fn end(self) {
        self.ending.store(true, Ordering::Release);
        self.wake.notify();
        assert!(self.thread.join().is_ok(), "the display panicked");
        if let Some(reasons) = self.reasons {
            assert!(reasons.join().is_ok(), "who asks for reasons panicked");
        }
    }
}

/// Opens rerun's sinks.
fn record_to(options: &Options) -> Result<RecordingStream, DisplayError> {
    let failed = |what: &'static str| move |why: &dyn std::fmt::Display| DisplayError::Rerun(what, why.to_string());
    let recording = RecordingStreamBuilder::new("bregma").buffered().map_err(|e| failed("start")(&e))?;
    let file = options
        .rrd
        .as_ref()
        .map(rerun::sink::FileSink::new)
        .transpose()
        .map_err(|e| failed("create the .rrd file")(&e))?;
    let server = match options.serve {
        None => None,
        Some(address) => {
            // rerun binds in a thread of its own and only logs a failure: so look first.
            drop(TcpListener::bind(address).map_err(|e| DisplayError::PortInUse(address, e))?);
            let limit = rerun::MemoryLimit::from_bytes(SERVER_MEMORY);
            let limits = rerun::ServerOptions { memory_limit: limit, ..Default::default() };
            let sink = rerun::grpc_server::GrpcServerSink::new(&address.ip().to_string(), address.port(), limits);
            Some(sink.map_err(|e| failed("serve live viewers")(&e))?)
        }
    };
    match (file, server) {
        (Some(file), Some(server)) => recording.set_sinks((file, server)),
        (Some(file), None) => recording.set_sinks((file,)),
        (None, Some(server)) => recording.set_sinks((server,)),
        (None, None) => return Ok(RecordingStream::disabled()),
    }
    Ok(recording)
}
