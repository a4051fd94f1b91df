//! Faults of the theatre: what breaks, when, for how long and by how much.
//!
//! A [`FaultPlan`] says what may happen in many cases; [`FaultPlan::drawn`] makes one case's [`Fault`] of it,
//! from the seed; [`SharedWorld::inject`] lets it happen. **Determinism:** a fault's direction and place come
//! from the seed and its number alone. **Units:** s, mm, degrees. **Invariant:** a fault changes devices, the
//! theatre or what bleeds; it removes no tissue.

use super::{SharedWorld, World, about};
use crate::random::{Draws, Purpose};
use crate::truth::SOLID;
use bregma_core::frame::{FrameId, Pose};
use bregma_core::time::{Duration, Instant};
use nalgebra::{Isometry3, Translation3, Vector3};

/// A vessel that a fault opens lies that near to the corridor's floor, mm.
const WALL_WITHIN_MM: f64 = 25.0;

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The tracker does not see the tip, for as long as it lasts.
    TrackerLost,
    /// The reference array is knocked by `size_mm` and `turn_deg`, for good: what is reported from it is wrong.
    ArrayBumped,
    /// The table moves with patient and reference array by `size_mm` and `turn_deg`, for good: arm and
    /// microscope no longer stand where they were calibrated.
    TableMoved,
    /// The camera gives no picture.
    VideoLost,
    /// The camera gives the same picture again and again, with new times.
    VideoFrozen,
    /// The arm neither answers nor hears.
    ArmSilent,
    /// The pedal is up.
    PedalReleased,
    /// A vessel of `size_mm` bleeds in the wall.
    VesselBleeds,
    /// The instrument is clogged until irrigation has rinsed it.
    InstrumentClogged,
    /// The scanner takes no scan.
    ScannerAbsent,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::TrackerLost,
        Self::ArrayBumped,
        Self::TableMoved,
        Self::VideoLost,
        Self::VideoFrozen,
        Self::ArmSilent,
        Self::PedalReleased,
        Self::VesselBleeds,
        Self::InstrumentClogged,
        Self::ScannerAbsent,
    ];

    /// As scenario files name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TrackerLost => "tracker_lost",
            Self::ArrayBumped => "array_bumped",
            Self::TableMoved => "table_moved",
            Self::VideoLost => "video_lost",
            Self::VideoFrozen => "video_frozen",
            Self::ArmSilent => "arm_silent",
            Self::PedalReleased => "pedal_released",
            Self::VesselBleeds => "vessel_bleeds",
            Self::InstrumentClogged => "instrument_clogged",
            Self::ScannerAbsent => "scanner_absent",
        }
    }

    /// From that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is over after a while.
    #[must_use]
    pub const fn passes(self) -> bool {
        match self {
            Self::TrackerLost
            | Self::VideoLost
            | Self::VideoFrozen
            | Self::ArmSilent
            | Self::PedalReleased
            | Self::ScannerAbsent => true,
            Self::ArrayBumped | Self::TableMoved | Self::VesselBleeds | Self::InstrumentClogged => false,
        }
    }

    /// Whether it has a size.
    #[must_use]
    pub const fn sized(self) -> bool {
        matches!(self, Self::ArrayBumped | Self::TableMoved | Self::VesselBleeds)
    }
}

/// Something that breaks in one case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// When.
    pub at: Instant,
    /// For how long, where it passes.
    pub lasts: Duration,
    /// By how much, or how wide, mm.
    pub size_mm: f64,
    /// By how much it turns, degrees.
    pub turn_deg: f64,
}

/// What may break in each of many cases: ranges that a seed draws from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultPlan {
    /// What.
    pub kind: FaultKind,
    /// Earliest and latest, s.
    pub at_s: [f64; 2],
    /// Shortest and longest, s.
    pub lasts_s: [f64; 2],
    /// Smallest and largest, mm.
    pub size_mm: [f64; 2],
    /// Smallest and largest turn, degrees.
    pub turn_deg: [f64; 2],
    /// Share of the cases that it happens in.
    pub share: f64,
}

/// A planned fault cannot be meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("fault {kind}: `{key}` is {value}; {right} is needed")]
pub struct FaultError {
    /// Which.
    pub kind: &'static str,
    /// Which of its values.
    pub key: &'static str,
    /// As given.
    pub value: String,
    /// What would be right.
    pub right: &'static str,
}

impl FaultPlan {
    /// # Errors
    /// With the first value that is outside its range.
    pub fn check(&self) -> Result<(), FaultError> {
        let refuse = |key, value: String, right| Err(FaultError { kind: self.kind.name(), key, value, right });
        let range = |key, [a, b]: [f64; 2], low: f64, high: f64, right| {
            if low <= a && a <= b && b <= high { Ok(()) } else { refuse(key, format!("{a} to {b}"), right) }
        };
        range("at_s", self.at_s, 0.0, 36_000.0, "0 <= earliest <= latest <= 36000 s")?;
        if self.kind.passes() {
            range("lasts_s", self.lasts_s, 0.01, 3600.0, "0.01 <= shortest <= longest <= 3600 s")?;
        } else if self.lasts_s[1] > 0.0 {
            return refuse("lasts_s", self.lasts_s[1].to_string(), "none: it does not pass by itself");
        }
        match (self.kind.sized(), self.kind) {
            (true, FaultKind::VesselBleeds) => {
                range("size_mm", self.size_mm, 0.05, 4.0, "0.05 <= thinnest <= widest <= 4 mm")?;
            }
            (true, _) => range("size_mm", self.size_mm, 0.0, 50.0, "0 <= smallest <= largest <= 50 mm")?,
            (false, _) if self.size_mm[1] > 0.0 => {
                return refuse("size_mm", self.size_mm[1].to_string(), "none: it has no size");
            }
            (false, _) => {}
        }
        if matches!(self.kind, FaultKind::ArrayBumped | FaultKind::TableMoved) {
            range("turn_deg", self.turn_deg, 0.0, 20.0, "0 <= smallest <= largest <= 20 degrees")?;
        } else if self.turn_deg[1] > 0.0 {
            return refuse("turn_deg", self.turn_deg[1].to_string(), "none: it does not turn");
        }
        if (0.0..=1.0).contains(&self.share) { Ok(()) } else { refuse("share", self.share.to_string(), "0 to 1") }
    }

    /// What happens in the case of a seed, as the suite's `number`th planned fault; `None` where it does not.
    #[must_use]
    pub fn drawn(&self, seed: u64, number: u64) -> Option<Fault> {
        let mut draws = Draws::new(seed.wrapping_add(number << 40), Purpose::Fault);
        let happens = draws.uniform(0.0, 1.0) < self.share;
        let mut between = |[low, high]: [f64; 2]| draws.uniform(low, high);
        let seconds = |s: f64| Duration::from_secs_f64(s).unwrap_or(Duration::ZERO);
        let (at, lasts) = (seconds(between(self.at_s)), seconds(between(self.lasts_s)));
        let (size_mm, turn_deg) = (between(self.size_mm), between(self.turn_deg));
        happens.then_some(Fault { kind: self.kind, at: Instant::START + at, lasts, size_mm, turn_deg })
    }
}

/// Faults to come, and until when those last that are here.
#[derive(Default)]
pub(super) struct Faults {
    /// The next one last; each with its number.
    due: Vec<(u64, Fault)>,
    injected: u64,
    pub video_lost: Option<Instant>,
    pub video_frozen: Option<Instant>,
    pub arm_silent: Option<Instant>,
    pub pedal_up: Option<Instant>,
    pub scanner_absent: Option<Instant>,
}

impl Faults {
    fn add(&mut self, fault: Fault) {
        self.due.push((self.injected, fault));
        self.injected += 1;
        self.due.sort_by(|a, b| b.1.at.cmp(&a.1.at).then(b.0.cmp(&a.0)));
    }

    fn next(&mut self, now: Instant) -> Option<(u64, Fault)> {
        self.due.pop_if(|(_, fault)| fault.at <= now)
    }
}

/// Whether something lasts still.
pub(super) fn lasts(until: Option<Instant>, now: Instant) -> bool {
    until.is_some_and(|until| now < until)
}

impl SharedWorld {
    /// Lets a fault happen when its time comes; one that is late happens in the next step. Sizes that are no
    /// numbers count as none.
    pub fn inject(&self, fault: Fault) {
        let number = |x: f64| if x.is_finite() { x.clamp(0.0, 100.0) } else { 0.0 };
        let fault = Fault { size_mm: number(fault.size_mm), turn_deg: number(fault.turn_deg), ..fault };
        self.lock().faults.add(fault);
    }
}

impl World {
    /// Lets everything happen that is due.
    pub(super) fn break_things(&mut self) {
        while let Some((number, fault)) = self.faults.next(self.now) {
            let mut draws = Draws::new(self.patient.seed().wrapping_add(number << 40) ^ 0xfa, Purpose::Fault);
            let until = Some(self.now + fault.lasts);
            match fault.kind {
                FaultKind::TrackerLost => self.tracker.lose(self.now + fault.lasts),
                FaultKind::ArrayBumped => {
                    let off = draws.direction() * fault.size_mm;
                    let turn = crate::random::turn(draws.direction() * fault.turn_deg.to_radians());
                    self.tracker.bump(&Isometry3::from_parts(Translation3::from(off), turn));
                }
                FaultKind::TableMoved => {
                    let off = draws.direction() * fault.size_mm;
                    let turn = crate::random::turn(draws.direction() * fault.turn_deg.to_radians());
                    self.table_moves(&about(self.patient.corridor.target, off, turn));
                }
                FaultKind::VideoLost => self.faults.video_lost = until,
                FaultKind::VideoFrozen => self.faults.video_frozen = until,
                FaultKind::ArmSilent => self.faults.arm_silent = until,
                FaultKind::PedalReleased => self.faults.pedal_up = until,
                FaultKind::ScannerAbsent => self.faults.scanner_absent = until,
                FaultKind::InstrumentClogged => self.aspirator.clog(),
                FaultKind::VesselBleeds => self.wall_bleeds(fault.size_mm, &mut draws),
            }
        }
    }

    /// The patient moves in the room, and the reference array with her: in her own axes the arm's base and the
    /// microscope move the other way. The runtime's calibrations stay as they were.
    fn table_moves(&mut self, by: &Isometry3<f64>) {
        self.arm.left_behind(by);
        self.tracker.table_moves(by);
        let camera = &mut self.true_camera.patient_from_camera;
        let moved = by.inverse() * camera.isometry();
        if let Ok(pose) = Pose::between(camera.to, FrameId::SOLE, moved) {
            *camera = pose;
        }
    }

    /// A vessel opens in the wall near the corridor's floor, or of the cavity there.
    fn wall_bleeds(&mut self, diameter_mm: f64, draws: &mut Draws) {
        let (truth, corridor) = (&self.patient.truth, &self.patient.corridor);
        let inwards = (corridor.target - corridor.entry).try_normalize(1e-9).unwrap_or_else(Vector3::z);
        let floor = corridor.entry + inwards * corridor.open_mm + draws.direction() * 3.0;
        let far = |i: usize| nalgebra::distance(&truth.grid.centre(truth.grid.voxel(i)), &floor);
        let tissue = |i: &usize| truth.labels[*i].tissue() && self.resection.state[*i] == SOLID;
        let wall = (0..truth.grid.len()).filter(tissue).filter(|i| far(*i) < WALL_WITHIN_MM && self.is_wall(*i));
        if let Some(voxel) = wall.min_by(|a, b| far(*a).total_cmp(&far(*b))) {
            let at = truth.grid.centre(truth.grid.voxel(voxel));
            self.bleeding.open(self.now, at, diameter_mm);
        }
    }
}
