//! Why the margin at the tip is where it is: which evidence moves it, and which is missing or old.
//!
//! ```text
//!  rois ─┐
//!  volumes ├─► the network, without each kind of evidence in turn ─► Board ─► the state on the screen
//!  tip ──┘      (a thread of its own, every so many seconds)
//! ```
//! Beside the flow: lanes drop their oldest, and what is asked costs the network's time once for each kind of evidence, on one thread. What stands on the
//! board is of one frame, and says how old that is. **Of the network's first frame:** without what it remembers.

use super::DisplayError;
use crate::events::Events;
use crate::pipeline::Topics;
use bregma_core::flow::{Modality, ROI_VOXELS, RoiFrame, Volume};
use bregma_core::lane::Overflow::DropOldest;
use bregma_core::time::{Clock, Duration, Instant, RealClock};
use bregma_core::topic::Subscriber;
use bregma_core::wake::Wake;
use bregma_perception::bits::VoxelBits;
use bregma_perception::engine::Pool;
use bregma_perception::explain::{Occluder, Reason, Standing};
use bregma_perception::model::Model;
use bregma_perception::scan::Scan;
use nalgebra::Point3;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A board older than that says so.
const OLD_AFTER: Duration = Duration::from_secs(20);
/// Evidence that moves the margin by less is not named, mm.
const NAMED_MM: f64 = 0.05;
/// How often it is looked whether the display ends.
const LOOKED: std::time::Duration = std::time::Duration::from_millis(100);

/// What is asked, and how often.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The network that estimates.
    pub model: Arc<Model>,
    /// Time between two answers, at least.
    pub every: Duration,
}

/// What was found at the tip.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    captured: Instant,
    margin_mm: f64,
    reasons: Vec<Reason>,
}

/// What screen and thread tell each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    tip: Option<Point3<f64>>,
    found: Option<Found>,
}

impl Board {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the tip is now.
    pub(super) fn tip(&self, tip: Option<Point3<f64>>) {
        self.notes().tip = tip;
    }

    /// A line for people; none before anything was found.
    pub(super) fn words(&self, now: Instant) -> Option<String> {
        self.notes().found.as_ref().map(|found| found.words(now))
    }
}

impl Found {
    fn words(&self, now: Instant) -> String {
        let age = now.since(self.captured).unwrap_or(Duration::ZERO);
        let mut text = format!("why {:+.1} mm by the network ({age} ago", self.margin_mm);
        text.push_str(if age > OLD_AFTER { ", OLD):" } else { "):" });
        let there = |r: &&Reason| r.standing != Standing::Missing && r.moved_mm.abs() >= NAMED_MM;
        let mut named = self.reasons.iter().filter(there).peekable();
        if named.peek().is_none() {
            text.push_str(" no single kind of evidence moves it");
        }
        for reason in named {
            // Writing to a string cannot fail.
            let _ = write!(text, " {} {:+.1} mm ·", reason.evidence.name(), reason.moved_mm);
        }
        let mut text = text.trim_end_matches(" ·").to_owned();
        let names = |standing: &dyn Fn(&Standing) -> bool| -> Vec<&str> {
            self.reasons.iter().filter(|r| standing(&r.standing)).map(|r| r.evidence.name()).collect()
        };
        let missing = names(&|s| *s == Standing::Missing);
        if !missing.is_empty() {
            let _ = write!(text, " · **MISSING** {}", missing.join(", "));
        }
        for reason in &self.reasons {
            if let Standing::Old(seconds) = reason.standing {
                let _ = write!(text, " · **OLD** {} {:.0} min", reason.evidence.name(), seconds / 60.0);
            }
        }
        text
    }
}

/// What the thread reads.
pub(super) struct Lanes {
    rois: Subscriber<Arc<RoiFrame>>,
    volumes: Subscriber<Arc<Volume>>,
}

impl Lanes {
    pub(super) fn hang(topics: &mut Topics) -> Self {
        Self {
            rois: topics.rois.subscribe("rois to reasons", 1, DropOldest),
            volumes: topics.volumes.subscribe("volumes to reasons", 8, DropOldest),
        }
    }
}

/// Asks until `ending`.
pub(super) fn start(
    wanted: Wanted,
    mut lanes: Lanes,
    board: Board,
    ending: Arc<AtomicBool>,
    (events, clock): (Events, RealClock),
) -> Result<JoinHandle<()>, DisplayError> {
    let ask = move || {
        let wake = Wake::new();
        wake.bind();
        let mut asking = match Asking::new(&wanted.model) {
            Ok(asking) => asking,
            Err(why) => return events.say(clock.now(), format!("reasons: {why}")),
        };
        let mut asked: Option<Instant> = None;
        while !ending.load(Ordering::Acquire) {
            asking.take_scans(&mut lanes.volumes);
            let now = clock.now();
            let due = asked.and_then(|at| now.since(at)).is_none_or(|since| since >= wanted.every);
            let tip = board.notes().tip;
            if let (true, Some(tip), Some(frame)) = (due, tip, lanes.rois.take()) {
                asked = Some(now);
                match asking.of(&frame.value, &tip) {
                    Ok(found) => board.notes().found = found.or_else(|| board.notes().found.take()),
                    Err(why) => events.say(now, format!("reasons: {why}")),
                }
            }
            wake.wait(0, Some(LOOKED));
        }
    };
    std::thread::Builder::new().name("reasons".to_owned()).spawn(ask).map_err(DisplayError::Thread)
}

/// The network, asked.
struct Asking {
    occluder: Occluder,
    pool: Pool,
    t1c: Option<Scan>,
    /// What that shows to be brain, and on which grid.
    brain: VoxelBits,
    placed: Option<bregma_core::grid::Grid>,
    z: Vec<f32>,
}

impl Asking {
    fn new(model: &Model) -> anyhow::Result<Self> {
        Ok(Self {
            occluder: Occluder::new(model)?,
            pool: Pool::new(1)?,
            t1c: None,
            brain: VoxelBits::new(),
            placed: None,
            z: vec![0.0; ROI_VOXELS],
        })
    }

    fn take_scans(&mut self, volumes: &mut Subscriber<Arc<Volume>>) {
        while let Some(volume) = volumes.take() {
            // One that is malformed is refused, and told of, by perceive.
            if volume.value.modality == Modality::T1c
                && let Ok(scan) = Scan::new(volume.value)
            {
                (self.t1c, self.placed) = (Some(scan), None);
            }
        }
    }

    /// None where the tip is outside the region, or there is no scan yet.
    fn of(&mut self, frame: &RoiFrame, tip: &Point3<f64>) -> anyhow::Result<Option<Found>> {
        let Some(t1c) = &self.t1c else { return Ok(None) };
        let Some(at) = frame.grid.containing(&frame.shift.rest(tip)) else { return Ok(None) };
        if self.placed != Some(frame.grid) {
            t1c.resample(&frame.grid, &mut self.z, &mut self.brain);
            self.placed = Some(frame.grid);
        }
        let said = self.occluder.of(&self.pool, frame, &self.brain, at)?;
        Ok(Some(Found { captured: frame.captured, margin_mm: said.margin_mm, reasons: said.reasons }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_perception::explain::Evidence;

    fn reason(evidence: Evidence, standing: Standing, moved_mm: f64) -> Reason {
        Reason { evidence, standing, moved_mm, occlusion: moved_mm, gradient: None }
    }

    #[test]
    fn a_line_says_what_moves_the_margin_what_is_missing_and_what_is_old() {
        let board = Board::default();
        assert_eq!(board.words(Instant::START), None);
        let captured = Instant::START + Duration::from_secs(10);
        board.notes().found = Some(Found {
            captured,
            margin_mm: 2.34,
            reasons: vec![
                reason(Evidence::T1c, Standing::Old(2400.0), -4.1),
                reason(Evidence::Cavity, Standing::There, 0.8),
                reason(Evidence::Video, Standing::There, 0.01),
                reason(Evidence::Flair, Standing::Missing, 0.0),
            ],
        });
        let said = board.words(captured + Duration::from_secs(2)).expect("found");
        assert!(said.starts_with("why +2.3 mm by the network (2"), "{said}");
        assert!(said.contains("): T1c -4.1 mm · cavity +0.8 mm · **MISSING** FLAIR · **OLD** T1c 40 min"), "{said}");
        let later = board.words(captured + Duration::from_secs(25)).expect("found");
        assert!(later.contains(", OLD):"), "{later}");
        board.notes().found = Some(Found { captured, margin_mm: -1.0, reasons: Vec::new() });
        let none = board.words(captured).expect("found");
        assert!(none.ends_with("no single kind of evidence moves it"), "{none}");
    }
}
