//! Tracking over OpenIGTLink: poses of the tip, and of the reference array, from a tracker's TRANSFORM messages.
//!
//! [`listen`] opens a TCP port and serves one tracker at a time from one named thread; [`connect`] goes to a tracker that
//! listens itself, as PLUS does, and is over when that one hangs up. TRANSFORM messages of
//! the configured device become [`TipPose`]s; STATUS messages become events; everything else is counted.
//!
//! **Units and frames:** a TRANSFORM is `reference_from_tip`: the columns of its rotation are the tip's axes
//! and its last column the tip, in millimetres, in the sender's own frame of the reference array. That frame
//! is fixed to metal, so it is neither LPS nor RAS, and nothing is flipped here; `patient_from_reference` is
//! registration's business. A sender that converts between LPS and RAS on one side only sends a mirror image,
//! which is refused: its determinant is −1.
//!
//! **Time:** `received` is the arrival by the session's clock. `captured` is when the header says that the message was made, by
//! the sender's clock as [`crate::sender_clock`] knows it, less [`TrackingConfig::lag`], which `bregma register lag` measures. A sender
//! that gives no time is taken at its arrival; of several such poses in one read, each has that read's arrival. A clock that was set is told.
//!
//! **Status:** PLUS and 3D Slicer write `TransformStatus` (and PLUS `TransformValid`) into the metadata. `OK`
//! is valid, `OUT_OF_VIEW` and `MISSING` are a lost line of sight, `OUT_OF_VOLUME` is that; anything else is
//! unknown, hence invalid. A message without either key is what [`TrackingConfig::without_status`] says, and told once a
//! connection: header version 1 has no room for them, and such senders leave out what they do not see.
//!
//! **What is refused, and what becomes of the connection:** a message whose body, pose or content is wrong is
//! refused, counted and told, and the next one is read. A header that is wrong loses the boundary between
//! messages: the connection is closed, and the next client may come. A second client beside the first is
//! turned away at once: if it waited, its poses would age unseen in the socket and then count as new.
//!
//! **Allocation:** none per message. **Not protected against:** a client that lies, since the protocol
//! knows no authentication: hence loopback unless the configuration says otherwise; and an `on_tip` that is
//! slow, behind which poses queue in the socket: hand them to a lane.

use crate::sender_clock::{Heard, SenderClock};
use bregma_core::flow::{ReferencePose, TipPose, TraceId, TrackingStatus};
use bregma_core::frame::{Frame, FrameId, Pose};
use bregma_core::time::{Clock, Duration, Instant, Stamped};
use bregma_core::units::Millimetres;
use bregma_openigtlink::{Content, DecodeError, DeviceName, Framer, Message, Status, Timestamp, Transform, TypeName};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Loopback, and the port registered for OpenIGTLink.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 18944);
/// Longest body taken by default: a tracker's messages have some hundred bytes.
pub const DEFAULT_MAX_BODY: usize = 64 << 10;
/// How far a rotation's columns may be from orthonormal, as the largest element of `RᵀR − 1`. Single
/// precision and chained transforms leave 1e-6 to 1e-4; a scale of 0.1 % gives 2e-3.
pub const RIGID_WITHIN: f64 = 1e-3;
/// Farthest tip from the reference array, and array from the camera: no tracking camera measures beyond a few metres.
pub const FARTHEST_MM: f64 = 10_000.0;
/// Longest wait for a client or a message before looking whether the source is being dropped: bounds how
/// long a drop takes, and how long a second client waits until it is turned away.
const LOOK_UP: std::time::Duration = std::time::Duration::from_millis(20);
/// Longest wait for a tracker that listens itself.
const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// Longest lag that is taken.
const LAG_MAX: Duration = Duration::from_secs(1);
/// Most kinds of ignored messages that are told per connection; all are counted.
const IGNORED_TOLD_MAX: usize = 16;

/// What to listen for.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackingConfig {
    /// Where to listen; port 0 takes any free one.
    pub address: SocketAddr,
    /// The device whose TRANSFORM is the tip in the reference array's frame: 1 to 20 bytes of ASCII.
    pub device: String,
    /// The device whose TRANSFORM is the reference array in the tracking camera's frame, where there is one.
    pub reference: Option<String>,
    /// How long before a message's own time its pose was measured.
    pub lag: Duration,
    /// The tip's error when measured, one standard deviation.
    pub error: Millimetres,
    /// How long a pose may be believed.
    pub valid_for: Duration,
    /// How fast its error grows.
    pub drift_mm_s: f64,
    /// A client that has sent nothing for longer is disconnected, so that another may come.
    pub idle_limit: Duration,
    /// Longest body of a message, bytes.
    pub max_body: usize,
    /// What a pose is whose sender says nothing of its status.
    pub without_status: TrackingStatus,
}

impl TrackingConfig {
    /// On loopback, [`DEFAULT_ADDRESS`]; a client may be silent for 5 s. What a patient could feel has no
    /// default.
    #[must_use]
    pub fn on_loopback(device: &str, error: Millimetres, valid_for: Duration, drift_mm_s: f64) -> Self {
        Self {
            address: DEFAULT_ADDRESS,
            device: device.to_owned(),
            reference: None,
            lag: Duration::ZERO,
            error,
            valid_for,
            drift_mm_s,
            idle_limit: Duration::from_secs(5),
            max_body: DEFAULT_MAX_BODY,
            without_status: TrackingStatus::Valid,
        }
    }

    fn check(&self) -> Result<Devices, TrackingError> {
        let value = |key, value, right| Err(TrackingError::Value { key, value, right });
        if self.error.get() < 0.0 {
            return value("error", self.error.get(), "0 mm or more");
        }
        if !(0.0..=1000.0).contains(&self.drift_mm_s) {
            return value("drift_mm_s", self.drift_mm_s, "0 to 1000 mm/s");
        }
        if self.valid_for == Duration::ZERO {
            return value("valid_for", 0.0, "more than no time");
        }
        if self.idle_limit == Duration::ZERO {
            return value("idle_limit", 0.0, "more than no time");
        }
        if !(256..=1 << 30).contains(&self.max_body) {
            return value("max_body", self.max_body as f64, "256 to 2^30 bytes");
        }
        if self.lag > LAG_MAX {
            return value("lag", self.lag.secs_f64(), "0 to 1 s");
        }
        let name =
            |device: &String| DeviceName::new(device).map_err(|_| TrackingError::Device { device: device.clone() });
        if self.reference.as_ref() == Some(&self.device) {
            return Err(TrackingError::SameDevice { device: self.device.clone() });
        }
        Ok(Devices { tip: name(&self.device)?, reference: self.reference.as_ref().map(name).transpose()? })
    }
}

/// Whose TRANSFORM is what.
#[derive(Debug, Clone, Copy)]
struct Devices {
    tip: DeviceName,
    reference: Option<DeviceName>,
}

/// What was tracked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tracked {
    /// The tip.
    Tip(TipPose),
    /// The reference array.
    Reference(ReferencePose),
}

/// Why there is no tracking.
#[derive(Debug, thiserror::Error)]
pub enum TrackingError {
    /// No device can have that name.
    #[error("tracking device {device:?}: OpenIGTLink names a device in 1 to 20 bytes of printable ASCII")]
    Device {
        /// The name.
        device: String,
    },
    /// One device cannot be two things.
    #[error("tracking device {device:?} is both the tip and the reference array; each needs a device of its own")]
    SameDevice {
        /// The name.
        device: String,
    },
    /// A value is outside its range.
    #[error("tracking {key} is {value}; {right} is needed")]
    Value {
        /// Which value.
        key: &'static str,
        /// What it is.
        value: f64,
        /// What would be right.
        right: &'static str,
    },
    /// Somebody else listens there.
    #[error(
        "cannot listen for the tracker on {address}: port {} is in use. Another bregma, 3D Slicer's \
         OpenIGTLinkIF or a PLUS server may hold it (18944 is OpenIGTLink's usual port); `ss -ltnp` shows who. \
         End that program or choose another port", address.port()
    )]
    PortInUse {
        /// Where.
        address: SocketAddr,
    },
    /// The system refuses to listen there.
    #[error("cannot listen for the tracker on {address}: {source}; an address of this machine is needed")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// No tracker listens there.
    #[error("cannot connect to the tracker at {address}: {source}; its OpenIGTLink server must be running there")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("no thread for the tracker: {0}")]
    Thread(io::Error),
}

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Its bytes are wrong.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// A number of a TRANSFORM is NaN or infinite.
    #[error("the TRANSFORM holds {value} in column {column}, row {row}; a finite number is needed")]
    NotFinite {
        /// 0 to 3.
        column: usize,
        /// 0 to 2.
        row: usize,
        /// The number.
        value: f32,
    },
    /// The rotation scales or shears.
    #[error(
        "the TRANSFORM is not rigid: its axes differ from orthonormal by {measured:.2e}; at most {RIGID_WITHIN:e} is taken"
    )]
    NotRigid {
        /// Largest element of `RᵀR − 1`, without sign.
        measured: f64,
    },
    /// The rotation is a mirror image.
    #[error("the TRANSFORM is a mirror image: its determinant is {determinant:.3}; +1 is needed (LPS and RAS mixed?)")]
    Mirrored {
        /// Of the rotation.
        determinant: f64,
    },
    /// It is farther away than any tracker sees.
    #[error(
        "the TRANSFORM is {measured_mm:.0} mm long; at most {FARTHEST_MM:.0} mm is taken (metres for millimetres?)"
    )]
    TooFar {
        /// How far.
        measured_mm: f64,
    },
}

/// Why a client is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// It hung up.
    HungUp,
    /// It hung up inside a message.
    InsideMessage {
        /// Bytes of it that had come.
        pending: usize,
    },
    /// It sent nothing for longer than the limit.
    Idle,
    /// A header was wrong, so the boundary between messages was lost.
    BoundaryLost,
    /// Reading failed.
    Failed(io::ErrorKind),
    /// The source was dropped.
    Ended,
}

/// What happened beside poses.
#[derive(Debug, Clone, PartialEq)]
pub enum TrackingEvent {
    /// A client came.
    Connected {
        /// Who.
        peer: SocketAddr,
    },
    /// A client is gone; another may come.
    Disconnected {
        /// Who.
        peer: SocketAddr,
        /// Why.
        why: Gone,
    },
    /// A second client was turned away.
    TurnedAway {
        /// Who.
        peer: SocketAddr,
        /// Who is being served.
        serving: SocketAddr,
    },
    /// A message was refused.
    Refused {
        /// From whom.
        peer: SocketAddr,
        /// Why.
        why: Refusal,
    },
    /// A message of a kind that says nothing of the tip; told once per kind and connection.
    Ignored {
        /// Its type.
        type_name: TypeName,
        /// Its device.
        device: DeviceName,
    },
    /// A sender's poses say nothing of their status; told once a connection.
    WithoutStatus {
        /// Whose.
        device: DeviceName,
        /// What they are taken for.
        taken_for: TrackingStatus,
    },
    /// The sender's clock was set ahead, or back where negative; until it is known anew, poses count from their arrival.
    ClockStepped {
        /// Who.
        peer: SocketAddr,
        /// By how much, s.
        by_s: f64,
    },
    /// A device says how it does; code 1 is well.
    Status {
        /// Which.
        device: DeviceName,
        /// The protocol's code.
        code: u16,
        /// The device's own code.
        sub_code: i64,
        /// For people; at most 256 characters.
        message: String,
    },
}

impl std::fmt::Display for TrackingEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connected { peer } => write!(f, "{peer} has come"),
            Self::Disconnected { peer, why } => write!(f, "{peer} is gone: {why:?}"),
            Self::TurnedAway { peer, serving } => write!(f, "{peer} was turned away: {serving} is heard"),
            Self::Refused { why, .. } => write!(f, "a message was refused: {why}"),
            Self::Ignored { type_name, device } => {
                write!(f, "{type_name} of `{device}` says nothing that is asked for")
            }
            Self::WithoutStatus { device, taken_for } => write!(
                f,
                "poses of `{device}` come without TransformStatus, so nobody knows whether the tracker sees it; they are taken for {}",
                match taken_for {
                    TrackingStatus::Valid => "valid, as configured",
                    _ => "invalid",
                }
            ),
            Self::ClockStepped { peer, by_s } => {
                let way = if *by_s < 0.0 { "back" } else { "ahead" };
                write!(
                    f,
                    "the clock of {peer} was set {way} by {:.3} s; its poses count from their arrival until it is known anew",
                    by_s.abs()
                )
            }
            Self::Status { device, code, message, .. } => write!(f, "`{device}` has status {code}: {message}"),
        }
    }
}

/// How often what happened, since the source began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackingCounts {
    /// Poses handed on.
    pub tips: u64,
    /// Messages refused.
    pub refused: u64,
    /// Messages that say nothing of the tip.
    pub ignored: u64,
    /// Clients served.
    pub clients: u64,
    /// Clients turned away.
    pub turned_away: u64,
}

#[derive(Debug, Default)]
struct Shared {
    ending: AtomicBool,
    tips: AtomicU64,
    refused: AtomicU64,
    ignored: AtomicU64,
    clients: AtomicU64,
    turned_away: AtomicU64,
}

/// Listens until it is dropped; a drop returns after the thread has ended, 20 ms at most beside what the
/// callbacks take.
#[derive(Debug)]
pub struct TrackingSource {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl TrackingSource {
    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> TrackingCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TrackingCounts {
            tips: read(&self.shared.tips),
            refused: read(&self.shared.refused),
            ignored: read(&self.shared.ignored),
            clients: read(&self.shared.clients),
            turned_away: read(&self.shared.turned_away),
        }
    }

    /// Whether its thread lives: it ends early when a callback panics, and one that connected when the other side hung up.
    #[must_use]
    pub fn running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

impl Drop for TrackingSource {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Err only when a callback panicked: its message is already on stderr. A callback that drops
            // its own source must not wait for itself.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Listens for a tracker. Both callbacks run on the source's own thread and have to return quickly.
///
/// # Errors
/// When the configuration is out of range, the port is in use, or the system refuses.
pub fn listen(
    config: TrackingConfig,
    clock: impl Clock + Clone + 'static,
    on_tracked: impl FnMut(Tracked) + Send + 'static,
    on_event: impl FnMut(TrackingEvent) + Send + 'static,
) -> Result<TrackingSource, TrackingError> {
    let devices = config.check()?;
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => TrackingError::PortInUse { address: config.address },
        _ => TrackingError::Listen { address: config.address, source },
    };
    let listener = TcpListener::bind(config.address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let framer = Framer::new(config.max_body);
    let mut server = Server {
        config,
        devices,
        clock,
        on_tracked,
        on_event,
        listener: Some(listener),
        shared: Arc::default(),
        framer,
        sender: SenderClock::new(),
        told: Vec::new(),
        told_without: false,
    };
    let shared = Arc::clone(&server.shared);
    spawn(address, shared, move || server.run())
}

/// Connects to a tracker that listens at the configuration's address, and hears it until it hangs up. Both callbacks run on the
/// source's own thread and have to return quickly.
///
/// # Errors
/// When the configuration is out of range, nobody listens there within 5 s, or the system refuses.
pub fn connect(
    config: TrackingConfig,
    clock: impl Clock + Clone + 'static,
    on_tracked: impl FnMut(Tracked) + Send + 'static,
    on_event: impl FnMut(TrackingEvent) + Send + 'static,
) -> Result<TrackingSource, TrackingError> {
    let devices = config.check()?;
    let address = config.address;
    let stream = TcpStream::connect_timeout(&address, CONNECT_WITHIN)
        .map_err(|source| TrackingError::Connect { address, source })?;
    let framer = Framer::new(config.max_body);
    let mut server = Server {
        config,
        devices,
        clock,
        on_tracked,
        on_event,
        listener: None,
        shared: Arc::default(),
        framer,
        sender: SenderClock::new(),
        told: Vec::new(),
        told_without: false,
    };
    let shared = Arc::clone(&server.shared);
    spawn(address, shared, move || server.serve(&stream, address))
}

fn spawn(
    address: SocketAddr,
    shared: Arc<Shared>,
    run: impl FnOnce() + Send + 'static,
) -> Result<TrackingSource, TrackingError> {
    let thread =
        std::thread::Builder::new().name("ingest.tracking".to_owned()).spawn(run).map_err(TrackingError::Thread)?;
    Ok(TrackingSource { address, shared, thread: Some(thread) })
}

struct Server<C, T, E> {
    config: TrackingConfig,
    devices: Devices,
    clock: C,
    on_tracked: T,
    on_event: E,
    /// Where a client may come; none where this side connected.
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
    framer: Framer,
    sender: SenderClock,
    told: Vec<(TypeName, DeviceName)>,
    told_without: bool,
}

impl<C: Clock, T: FnMut(Tracked), E: FnMut(TrackingEvent)> Server<C, T, E> {
    fn run(&mut self) {
        while !self.ending() {
            // An error here is one client's, gone before it was accepted, or a want of descriptors that the
            // next look may find ended: in either case listening goes on.
            match self.accept() {
                Some((stream, peer)) => self.serve(&stream, peer),
                None => std::thread::park_timeout(LOOK_UP),
            }
        }
    }

    fn accept(&self) -> Option<(TcpStream, SocketAddr)> {
        self.listener.as_ref()?.accept().ok()
    }

    fn ending(&self) -> bool {
        self.shared.ending.load(Ordering::Acquire)
    }

    fn serve(&mut self, stream: &TcpStream, peer: SocketAddr) {
        count(&self.shared.clients);
        self.framer.reset();
        self.sender = SenderClock::new();
        self.told.clear();
        self.told_without = false;
        (self.on_event)(TrackingEvent::Connected { peer });
        let why = match stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(LOOK_UP))) {
            Ok(()) => self.converse(stream, peer),
            Err(why) => Gone::Failed(why.kind()),
        };
        // Closed before it is told, so that who hears of it may connect anew; it may be closed already.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        (self.on_event)(TrackingEvent::Disconnected { peer, why });
    }

    fn converse(&mut self, mut stream: &TcpStream, peer: SocketAddr) -> Gone {
        let mut heard = self.clock.now();
        while !self.ending() {
            self.turn_away_others(peer);
            let read = self.framer.read_from(&mut stream);
            let now = self.clock.now();
            match read {
                Ok(0) if self.framer.pending() == 0 => return Gone::HungUp,
                Ok(0) => return Gone::InsideMessage { pending: self.framer.pending() },
                Ok(_) => {
                    heard = now;
                    self.take(peer, now);
                    if self.framer.lost() {
                        return Gone::BoundaryLost;
                    }
                }
                Err(why) => match why.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                        if now.since(heard).is_some_and(|silent| silent > self.config.idle_limit) {
                            return Gone::Idle;
                        }
                    }
                    kind => return Gone::Failed(kind),
                },
            }
        }
        Gone::Ended
    }

    fn turn_away_others(&mut self, serving: SocketAddr) {
        while let Some((_, peer)) = self.accept() {
            count(&self.shared.turned_away);
            (self.on_event)(TrackingEvent::TurnedAway { peer, serving });
        }
    }

    /// Takes every whole message that has arrived.
    fn take(&mut self, peer: SocketAddr, now: Instant) {
        while let Some(message) = self.framer.next_message() {
            let refusal = match message {
                Err(why) => Some(why.into()),
                Ok(message) => match message.content {
                    Content::Transform(transform) if self.devices.has(message.header.device) => {
                        let device = message.header.device;
                        let (status, says) = status(&message, self.config.without_status);
                        if !says && !std::mem::replace(&mut self.told_without, true) {
                            (self.on_event)(TrackingEvent::WithoutStatus { device, taken_for: status });
                        }
                        let heard = made(&mut self.sender, message.header.timestamp, now);
                        if let Some(by_s) = heard.stepped_s {
                            (self.on_event)(TrackingEvent::ClockStepped { peer, by_s });
                        }
                        let captured = before(heard.captured, self.config.lag);
                        let (config, tip) = (&self.config, device == self.devices.tip);
                        match tracked(config, tip, status, &transform, captured, now) {
                            Ok(tracked) => {
                                count(&self.shared.tips);
                                (self.on_tracked)(tracked);
                                None
                            }
                            Err(why) => Some(why),
                        }
                    }
                    Content::Status(said) => {
                        (self.on_event)(told_status(message.header.device, &said));
                        None
                    }
                    _ => {
                        count(&self.shared.ignored);
                        let kind = (message.header.type_name, message.header.device);
                        if self.told.len() < IGNORED_TOLD_MAX && !self.told.contains(&kind) {
                            self.told.push(kind);
                            (self.on_event)(TrackingEvent::Ignored { type_name: kind.0, device: kind.1 });
                        }
                        None
                    }
                },
            };
            if let Some(why) = refusal {
                count(&self.shared.refused);
                (self.on_event)(TrackingEvent::Refused { peer, why });
            }
        }
    }
}

impl Devices {
    fn has(&self, device: DeviceName) -> bool {
        device == self.tip || Some(device) == self.reference
    }
}

/// When a message was made, by the session's clock: its arrival, where it does not say.
fn made(sender: &mut SenderClock, sent: Timestamp, now: Instant) -> Heard {
    if sent == Timestamp::NONE {
        return Heard { captured: now, stepped_s: None };
    }
    sender.hears(u64::from(sent.seconds()) * 1_000_000_000 + u64::from(sent.nanos()), now)
}

fn before(at: Instant, by: Duration) -> Instant {
    at.since(Instant::START + by).map_or(Instant::START, |since| Instant::START + since)
}

fn tracked(
    config: &TrackingConfig,
    tip: bool,
    status: TrackingStatus,
    sent: &Transform,
    captured: Instant,
    received: Instant,
) -> Result<Tracked, Refusal> {
    if !tip {
        let (status, tracker_from_reference) = pose(status, sent)?;
        return Ok(Tracked::Reference(ReferencePose { tracker_from_reference, status, captured }));
    }
    let (status, value) = pose(status, sent)?;
    let (valid_for, error, drift_mm_s) = (config.valid_for, config.error, config.drift_mm_s);
    let reference_from_tip = Stamped { value, captured, valid_for, error, drift_mm_s };
    Ok(Tracked::Tip(TipPose { trace: TraceId(0), reference_from_tip, status, received }))
}

fn count(of: &AtomicU64) {
    of.fetch_add(1, Ordering::Relaxed);
}

fn told_status(device: DeviceName, said: &Status<'_>) -> TrackingEvent {
    let message = String::from_utf8_lossy(said.message).chars().take(256).collect();
    TrackingEvent::Status { device, code: said.code, sub_code: said.sub_code, message }
}

/// What the metadata says of the pose, and whether it says anything; words without regard to case, as PLUS itself compares them.
fn status(message: &Message<'_>, without: TrackingStatus) -> (TrackingStatus, bool) {
    let said = message.metadata("TransformValid");
    let valid = said.is_none_or(|word| is(word, &["true", "1"]));
    let status = message.metadata("TransformStatus");
    let says = status.is_some() || said.is_some();
    let status = match status {
        Some(word) if is(word, &["OUT_OF_VIEW", "MISSING"]) => TrackingStatus::LineOfSightLost,
        Some(word) if is(word, &["OUT_OF_VOLUME"]) => TrackingStatus::OutOfVolume,
        Some(word) if valid && is(word, &["OK"]) => TrackingStatus::Valid,
        None if said.is_none() => without,
        None if valid => TrackingStatus::Valid,
        _ => TrackingStatus::Unknown,
    };
    (status, says)
}

fn is(word: &[u8], any_of: &[&str]) -> bool {
    any_of.iter().any(|one| word.trim_ascii().eq_ignore_ascii_case(one.as_bytes()))
}

/// The pose and its status. Where the tracker itself says that it measured nothing, whatever stands in the
/// matrix is no reason to lose that news: the pose is then the identity, and invalid.
fn pose<To: Frame, From: Frame>(
    status: TrackingStatus,
    sent: &Transform,
) -> Result<(TrackingStatus, Pose<To, From>), Refusal> {
    match rigid(sent) {
        Ok(pose) => Ok((status, pose)),
        Err(why) if status == TrackingStatus::Valid => Err(why),
        Err(_) => Ok((status, Pose::identity())),
    }
}

/// The nearest rotation to a matrix that is one within [`RIGID_WITHIN`], and its translation.
fn rigid<To: Frame, From: Frame>(sent: &Transform) -> Result<Pose<To, From>, Refusal> {
    for (column, values) in sent.columns.iter().enumerate() {
        if let Some(row) = values.iter().position(|value| !value.is_finite()) {
            return Err(Refusal::NotFinite { column, row, value: values[row] });
        }
    }
    let [x, y, z, at] = sent.columns.map(|column| Vector3::from(column.map(f64::from)));
    let rotation = Matrix3::from_columns(&[x, y, z]);
    let measured = (rotation.transpose() * rotation - Matrix3::identity()).amax();
    if measured > RIGID_WITHIN {
        return Err(Refusal::NotRigid { measured });
    }
    let determinant = rotation.determinant();
    if determinant < 0.0 {
        return Err(Refusal::Mirrored { determinant });
    }
    if at.norm() > FARTHEST_MM {
        return Err(Refusal::TooFar { measured_mm: at.norm() });
    }
    let turned = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation));
    let turned = UnitQuaternion::new_normalize(turned.into_inner());
    Pose::between(FrameId::SOLE, FrameId::SOLE, Isometry3::from_parts(Translation3::from(at), turned))
        .map_err(|why| Refusal::NotRigid { measured: why.value })
}

#[cfg(test)]
mod tests;
