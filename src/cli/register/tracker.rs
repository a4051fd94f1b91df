//! A tracked pointer and a person at the terminal: touches, one by one.
//!
//! A touch begins with the person's Enter, so that a pointer at rest on the table is no touch, and is taken when the tip was held
//! still and valid for a while ([`still`]). What is waited for is said when it changes. A tracker that hangs up is connected to
//! again; one that gives no touch for [`TrackerArgs::patience_s`] is said so, and the person asked anew. **Status:** a pose whose
//! sender says nothing of its status does not count, unless `--without-status` says that it does.
//!
//! **Not protected against:** a person who touches something else.

use super::super::say;
use anyhow::{Context, bail, ensure};
use bregma_core::flow::{TipPose, TrackingStatus};
use bregma_core::lane::{self, Overflow, Receiver};
use bregma_core::time::{Clock, Duration, Instant, RealClock};
use bregma_core::units::Millimetres;
use bregma_ingest::tracking::{self, Tracked, TrackingConfig, TrackingEvent, TrackingSource};
use bregma_perception::register::still::{self, Hold, Still};
use nalgebra::Point3;
use std::io::{BufRead, Read};
use std::net::{SocketAddr, ToSocketAddrs};

/// Between two looks at what came.
const LOOK: Duration = Duration::from_millis(10);
/// Between two tries to connect again.
const RETRY: Duration = Duration::from_millis(500);
/// Between two lines that say what is waited for.
const SAY_AGAIN: Duration = Duration::from_secs(2);
/// Poses that wait at most: seconds of a fast tracker.
const POSES: usize = 4096;
/// Events that wait at most; what is displaced are older ones.
const EVENTS: usize = 256;
/// A line from the terminal is at most so long, bytes.
const LINE_MAX: u64 = 4096;
/// Longest time between two poses of a hold.
const GAP: Duration = Duration::from_millis(250);

/// Options of a tracker.
#[derive(Debug, clap::Args)]
pub struct TrackerArgs {
    /// Connect to an OpenIGTLink tracker that listens there, as PLUS does: an address and a port.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "listen")]
    pub tracker: Option<String>,
    /// Listen there for an OpenIGTLink tracker that connects, as 3D Slicer does.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// The device whose TRANSFORM is the pointer's tip in the reference array's coordinates.
    #[arg(long, value_name = "NAME", default_value = "TipToReference")]
    pub device: String,
    /// How long the tip is held, s.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub hold_s: f64,
    /// How far it may scatter meanwhile, root mean square, mm.
    #[arg(long, value_name = "MM", default_value_t = 0.8)]
    pub still: f64,
    /// How long a touch is waited for before you are asked again, s.
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    pub patience_s: f64,
    /// Take poses whose sender says nothing of their status for valid.
    #[arg(long)]
    pub without_status: bool,
}

impl TrackerArgs {
    /// Whether a tracker is named.
    pub(super) fn named(&self) -> bool {
        self.tracker.is_some() || self.listen.is_some()
    }
}

/// A tracker that is listened to.
pub(super) struct Tracker {
    config: TrackingConfig,
    connects: bool,
    line: Line,
    clock: RealClock,
    hold: Hold,
    patience: Duration,
    /// What was said last of anything beside poses.
    told: String,
}

/// A source, and what comes from it.
struct Line {
    source: TrackingSource,
    tips: Receiver<TipPose>,
    events: Receiver<TrackingEvent>,
}

impl Line {
    fn open(config: &TrackingConfig, connects: bool, clock: &RealClock) -> Result<Self, tracking::TrackingError> {
        let (mut to_tips, tips) = lane::lane("register.tips", POSES, Overflow::DropOldest);
        let (mut to_events, events) = lane::lane("register.events", EVENTS, Overflow::DropOldest);
        // These lanes displace what is old, and refuse nothing.
        let on_tracked = move |tracked| match tracked {
            Tracked::Tip(tip) => drop(to_tips.send(tip)),
            Tracked::Reference(_) => {}
        };
        let on_event = move |event| drop(to_events.send(event));
        let (config, clock) = (config.clone(), clock.clone());
        let source = if connects {
            tracking::connect(config, clock, on_tracked, on_event)
        } else {
            tracking::listen(config, clock, on_tracked, on_event)
        };
        Ok(Self { source: source?, tips, events })
    }
}

impl Tracker {
    /// Opens it.
    pub(super) fn open(args: &TrackerArgs) -> anyhow::Result<Self> {
        let (option, words) = match (&args.tracker, &args.listen) {
            (Some(words), None) => ("--tracker", words),
            (None, Some(words)) => ("--listen", words),
            _ => bail!("one of --tracker and --listen is needed"),
        };
        let seconds = |name: &str, value: f64, from: f64, to: f64| {
            ensure!((from..=to).contains(&value), "--{name} is {value}; {from} to {to} is right");
            Duration::from_secs_f64(value).with_context(|| format!("--{name} is no length of time"))
        };
        ensure!((0.01..=10.0).contains(&args.still), "--still is {}; 0.01 to 10 is right", args.still);
        let hold = Hold { length: seconds("hold-s", args.hold_s, 0.1, 30.0)?, gap: GAP, scatter_mm: args.still };
        let patience = seconds("patience-s", args.patience_s, 0.5, 3600.0)?;
        let without_status = if args.without_status { TrackingStatus::Valid } else { TrackingStatus::Unknown };
        let config = TrackingConfig {
            address: address(option, words)?,
            without_status,
            ..TrackingConfig::on_loopback(&args.device, Millimetres::ZERO, GAP, 0.0)
        };
        let (connects, clock) = (args.tracker.is_some(), RealClock::start());
        let line = Line::open(&config, connects, &clock)?;
        let address = line.source.address();
        let how = if connects { "connected to" } else { "listening on" };
        say(format!("tracker    {how} {address}, TRANSFORM `{}`", args.device));
        Ok(Self { config, connects, line, clock, hold, patience, told: String::new() })
    }

    /// Waits until the tip was held.
    ///
    /// # Errors
    /// What was waited for last, in words, when patience ends.
    fn held(&mut self) -> Result<still::Held, String> {
        let began = self.clock.now();
        let mut told = Told::new(began);
        while self.line.tips.take().is_some() {} // from before it was asked for
        let mut still = Still::new(self.hold);
        let mut heard = began;
        let mut why = "no pose has come".to_owned();
        loop {
            while let Some(event) = self.line.events.take() {
                // A tracker whose messages are wrong sends a hundred of them a second.
                match event {
                    TrackingEvent::Refused { why: refusal, .. } => why = format!("a message was refused: {refusal}"),
                    other => self.tell(&other),
                }
            }
            while let Some(tip) = self.line.tips.take() {
                let stamped = &tip.reference_from_tip;
                heard = stamped.captured;
                let at = Point3::from(stamped.value.isometry().translation.vector);
                match still.hear(stamped.captured, tip.status, &at) {
                    Ok(held) => return Ok(held),
                    Err(still::Unheld::Short { .. }) => {}
                    Err(unheld) => why = unheld.to_string(),
                }
            }
            let now = self.clock.now();
            let silent = now.since(heard).unwrap_or(Duration::ZERO);
            if !self.line.source.running() {
                still = Still::new(self.hold);
                why = self.again().unwrap_or(why);
            } else if silent > GAP {
                still = Still::new(self.hold);
                why = format!("no pose of `{}` has come for {:.0} s", self.config.device, silent.secs_f64());
            }
            if now.since(began).is_some_and(|waited| waited >= self.patience) {
                return Err(why);
            }
            told.say(now, &why);
            bregma_core::time::pause(LOOK);
        }
    }

    /// Connects again; why not, in words.
    fn again(&mut self) -> Option<String> {
        bregma_core::time::pause(RETRY);
        match Line::open(&self.config, self.connects, &self.clock) {
            Ok(line) => {
                self.line = line;
                say("tracker    connected again");
                None
            }
            Err(why) => Some(why.to_string()),
        }
    }

    /// Says what happened beside poses, once while it goes on.
    fn tell(&mut self, event: &TrackingEvent) {
        let words = match event {
            TrackingEvent::Connected { .. } if self.connects => return,
            TrackingEvent::Status { code: 1, .. } => return,
            TrackingEvent::Ignored { type_name, device } => {
                format!("{type_name} of `{device}` says nothing of `{}`", self.config.device)
            }
            event => event.to_string(),
        };
        if self.told != words {
            say(format!("tracker    {words}"));
            self.told = words;
        }
    }
}

/// What was said of the waiting, and when.
struct Told {
    last: Instant,
    words: String,
}

impl Told {
    fn new(now: Instant) -> Self {
        Self { last: now, words: String::new() }
    }

    /// Says it, if it is new and has lasted.
    fn say(&mut self, now: Instant, why: &str) {
        if now.since(self.last).is_some_and(|since| since >= SAY_AGAIN) && self.words != why {
            say(format!("waiting    {why}"));
            (self.last, self.words) = (now, why.to_owned());
        }
    }
}

fn address(option: &str, words: &str) -> anyhow::Result<SocketAddr> {
    let right = || format!("{option} is `{words}`; an address and a port are needed, such as 127.0.0.1:18944");
    words.to_socket_addrs().with_context(right)?.next().with_context(right)
}

/// What came of asking for a touch.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// Where the tip was held, in the reference array's coordinates, mm.
    Touched(Point3<f64>),
    /// It is left out.
    Skipped,
    /// No more is to be touched.
    Ended,
}

/// Who answers at the terminal.
pub(super) struct Person {
    input: std::io::StdinLock<'static>,
}

impl Person {
    pub(super) fn new() -> Self {
        Self { input: std::io::stdin().lock() }
    }

    /// Asks; the answer without blanks, in small letters. `None`: the input has ended.
    pub(super) fn ask(&mut self, words: &str) -> anyhow::Result<Option<String>> {
        say(words);
        let mut line = Vec::new();
        self.input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).context("the terminal cannot be read")?;
        let text = String::from_utf8_lossy(&line).trim().to_lowercase();
        Ok((!line.is_empty()).then_some(text))
    }

    /// Asks for one landmark until it is touched or left out.
    pub(super) fn touch(&mut self, tracker: &mut Tracker, landmark: &str) -> anyhow::Result<Answer> {
        loop {
            let asked = format!("touch      {landmark}; hold the tip there, then Enter (s: leave it out, q: end)");
            match self.ask(&asked)?.as_deref() {
                None => bail!("the input ended while {landmark} was asked for; no registration or check comes of it"),
                Some("q") => return Ok(Answer::Ended),
                Some("s") => return Ok(Answer::Skipped),
                Some("") => {}
                Some(other) => {
                    say(format!("unknown    {other:?}; Enter, s or q is right"));
                    continue;
                }
            }
            match tracker.held() {
                Ok(held) => {
                    let at = super::coordinates(&held.at);
                    say(format!("held       {at} mm, scatter {:.2} mm over {} poses", held.scatter_mm, held.poses));
                    if held.frozen {
                        say(
                            "suspect    all poses are equal to the bit: does the tracker measure, or repeat its last pose?",
                        );
                    }
                    return Ok(Answer::Touched(held.at));
                }
                Err(why) => say(format!("not taken  {why}")),
            }
        }
    }
}
