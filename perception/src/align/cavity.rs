//! The cavity: where the energised tip has been.
//!
//! Two consecutive poses that are believed, close in time and both taken while the ultrasound was on sweep
//! a capsule. **Not protected against:** a tip that moved on a curve between two poses (at 5 mm/s and 20 Hz
//! a chord leaves it by far less than a voxel).

use bregma_core::flow::{Energy, InstrumentState, TipPose};
use bregma_core::frame::{Patient, Pose, Tip};
use bregma_core::time::{Duration, Instant};
use nalgebra::Point3;

/// States of the console that are remembered: longer than tips wait.
const STATES: usize = 256;
/// Poses that are remembered, to find where the tip was when a picture was taken.
const POSES: usize = 64;

/// What the console has said lately.
#[derive(Debug)]
pub struct Console {
    states: Ring<InstrumentState, STATES>,
}

impl Default for Console {
    fn default() -> Self {
        Self { states: Ring::new() }
    }
}

impl Console {
    /// Takes note of a state.
    pub fn say(&mut self, state: InstrumentState) {
        self.states.push(state);
    }

    /// The energy at a time: the newest state not later than it; off where that is older than `valid`.
    #[must_use]
    pub fn energy_at(&self, at: Instant, valid: Duration) -> Energy {
        let said = self.states.newest_first().find(|s| s.captured <= at);
        let believed = said.filter(|s| at.since(s.captured).is_some_and(|age| age <= valid));
        believed.map_or(Energy::OFF, |s| s.energy)
    }
}

/// A believed tip, in the patient.
#[derive(Debug, Clone, Copy)]
pub struct SweptPose {
    /// Where.
    pub patient_from_tip: Pose<Patient, Tip>,
    /// When.
    pub captured: Instant,
    /// Whether it cut.
    pub cutting: bool,
    /// As it was tracked.
    pub tip: TipPose,
}

/// Joins poses to segments.
#[derive(Debug)]
pub struct Sweep {
    poses: Ring<SweptPose, POSES>,
    joins: bool,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { poses: Ring::new(), joins: false }
    }
}

impl Sweep {
    /// The next pose; the segment that it sweeps, if it does. A pose that is not newer than the last is
    /// passed over.
    pub fn next(&mut self, pose: SweptPose, gap_max: Duration) -> Option<(Point3<f64>, Point3<f64>)> {
        let before = self.newest().copied();
        if before.is_some_and(|b| b.captured >= pose.captured) {
            return None;
        }
        let joins = std::mem::replace(&mut self.joins, true);
        self.poses.push(pose);
        let before = before.filter(|_| joins)?;
        let gap = pose.captured.since(before.captured)?;
        let at = |p: &SweptPose| p.patient_from_tip.position().coordinates();
        (before.cutting && pose.cutting && gap <= gap_max).then(|| (at(&before), at(&pose)))
    }

    /// A pose came that is not believed: the next one starts afresh.
    pub fn lost(&mut self) {
        self.joins = false;
    }

    /// Whether a tip was ever believed.
    #[must_use]
    pub fn ever(&self) -> bool {
        self.newest().is_some()
    }

    /// The last that was believed.
    #[must_use]
    pub fn newest(&self) -> Option<&SweptPose> {
        self.poses.newest_first().next()
    }

    /// The pose at a time: between the two about it, where they are no farther apart than the earlier may be believed; the nearest
    /// one elsewhere, as long as that may be believed. Nothing goes on beyond the newest pose: there it stands still.
    #[must_use]
    pub fn at(&self, at: Instant) -> Option<Pose<Patient, Tip>> {
        let believed = |p: &SweptPose, gap: Duration| gap <= p.tip.reference_from_tip.valid_for;
        let after = self.poses.newest_first().take_while(|p| p.captured > at).last();
        let before = self.poses.newest_first().find(|p| p.captured <= at);
        if let (Some(before), Some(after)) = (before, after) {
            let (past, gap) = (at.since(before.captured)?, after.captured.since(before.captured)?);
            if believed(before, gap) {
                let share = past.secs_f64() / gap.secs_f64();
                let (from, to) = (&before.patient_from_tip, &after.patient_from_tip);
                let between = from.isometry().try_lerp_slerp(to.isometry(), share, 1e-9)?;
                return Pose::between(from.to, from.from, between).ok();
            }
        }
        let away = |p: &SweptPose| Duration::from_nanos(p.captured.nanos().abs_diff(at.nanos()));
        let nearest = before.into_iter().chain(after).min_by_key(|p| away(p))?;
        believed(nearest, away(nearest)).then_some(nearest.patient_from_tip)
    }
}

/// The last `N` values.
#[derive(Debug)]
struct Ring<T, const N: usize> {
    values: Vec<T>,
    next: usize,
}

impl<T, const N: usize> Ring<T, N> {
    fn new() -> Self {
        Self { values: Vec::with_capacity(N), next: 0 }
    }

    fn push(&mut self, value: T) {
        if self.values.len() < N {
            self.values.push(value);
        } else {
            self.values[self.next] = value;
        }
        self.next = (self.next + 1) % N;
    }

    fn newest_first(&self) -> impl Iterator<Item = &T> {
        let (newer, older) = self.values.split_at(self.next.min(self.values.len()));
        newer.iter().rev().chain(older.iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::{TraceId, TrackingStatus};
    use bregma_core::frame::FrameId;
    use bregma_core::time::Stamped;
    use bregma_core::units::Millimetres;

    fn pose(ms: u64, x: f64, cutting: bool) -> SweptPose {
        let captured = Instant::START + Duration::from_millis(ms);
        let place = |mm| Pose::from_parts(FrameId::SOLE, FrameId::SOLE, mm, [0.0, 0.0, 0.0, 1.0]).expect("finite");
        let reference_from_tip = Stamped {
            value: Pose::identity(),
            captured,
            valid_for: Duration::from_millis(200),
            error: Millimetres::ZERO,
            drift_mm_s: 0.0,
        };
        let tip = TipPose { trace: TraceId(0), reference_from_tip, status: TrackingStatus::Valid, received: captured };
        SweptPose { patient_from_tip: place([x, 0.0, 0.0]), captured, cutting, tip }
    }

    #[test]
    fn only_neighbours_in_time_that_both_cut_are_joined() {
        let gap = Duration::from_millis(250);
        let mut sweep = Sweep::default();
        assert!(sweep.next(pose(0, 0.0, true), gap).is_none());
        assert!(sweep.next(pose(250, 1.0, true), gap).is_some());
        assert!(sweep.next(pose(501, 2.0, true), gap).is_none());
        assert!(sweep.next(pose(600, 3.0, false), gap).is_none());
        assert!(sweep.next(pose(700, 4.0, true), gap).is_none());
        assert!(sweep.next(pose(700, 5.0, true), gap).is_none());
        sweep.lost();
        assert!(sweep.next(pose(800, 5.0, true), gap).is_none());
        let (from, to) = sweep.next(pose(900, 6.0, true), gap).expect("joined again");
        assert!((from.x - 5.0).abs() < 1e-12 && (to.x - 6.0).abs() < 1e-12);
    }

    #[test]
    fn the_pose_is_that_at_the_pictures_time_and_stands_still_beyond_the_newest_while_it_is_believed() {
        let mut sweep = Sweep::default();
        for n in 0..100 {
            sweep.next(pose(n * 20, n as f64, false), Duration::ZERO);
        }
        let at_in =
            |sweep: &Sweep, ms| sweep.at(Instant::START + Duration::from_millis(ms)).map(|p| p.translation_mm()[0]);
        let at = |ms| at_in(&sweep, ms);
        let near = |found: Option<f64>, right: f64| found.is_some_and(|f| (f - right).abs() < 1e-9);
        assert!(near(at(1409), 70.45) && near(at(1400), 70.0), "{:?}", at(1409));
        assert_eq!(at(1980), Some(99.0));
        assert_eq!(at(2180), Some(99.0));
        assert_eq!(at(2181), None);
        // Nor across a gap that is longer than a pose may be believed.
        sweep.next(pose(2480, 110.0, false), Duration::ZERO);
        assert_eq!([2180, 2230, 2280].map(|ms| at_in(&sweep, ms)), [Some(99.0), None, Some(110.0)]);
    }

    #[test]
    fn an_old_word_of_the_console_does_not_hold() {
        let mut console = Console::default();
        let valid = Duration::from_secs(1);
        let at = |ms| Instant::START + Duration::from_millis(ms);
        for n in 0..300 {
            console.say(InstrumentState { energy: Energy::OFF, captured: at(n) });
        }
        console.say(InstrumentState { energy: Energy::CUT, captured: at(400) });
        assert_eq!(console.energy_at(at(399), valid), Energy::OFF);
        assert_eq!(console.energy_at(at(1400), valid), Energy::CUT);
        assert_eq!(console.energy_at(at(1401), valid), Energy::OFF);
    }
}
