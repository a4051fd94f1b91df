//! The simulated tracking camera: 40 poses a second of tip and reference array, with noise, drift, lag and loss of line of sight.
//!
//! **Frames:** the tip from the reference array, which may be bumped. While line of sight is lost it keeps
//! reporting, with that status and the last pose it had. **Invariant:** noise keeps its root mean square
//! whatever its tails; without wander the draws are those of noise and losses alone.

use super::{TipInPatient, WorldSettingError, WorldSettings, finite};
use crate::random::{Draws, Purpose};
use bregma_core::flow::{ReferencePose, TipPose, TraceId, TrackingStatus};
use bregma_core::frame::{FrameId, Patient, Pose, Reference, Tip, Tracker};
use bregma_core::time::{Duration, Instant, Stamped};
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Quaternion, Translation3, Unit, Vector3, Vector4};
use std::collections::VecDeque;

/// 40 Hz.
const PERIOD: Duration = Duration::from_millis(25);
/// How long a pose may be believed.
const VALID_FOR: Duration = Duration::from_millis(250);
/// Error of a pose, 0.3 mm of noise and what the array's calibration adds.
const ERROR_MM: f64 = 0.35;
/// How fast that error grows: slow motions of the tip between poses, mm/s.
const DRIFT_MM_S: f64 = 1.0;
/// The reference array before the camera, when it was set up: 1.6 m away, facing it.
const STANDS: Isometry3<f64> = Isometry3 {
    rotation: Unit::new_unchecked(Quaternion { coords: Vector4::new(1.0, 0.0, 0.0, 0.0) }),
    translation: Translation3 { vector: Vector3::new(80.0, -60.0, 1600.0) },
};
/// Poses under way: 500 ms of lag and 100 ms of jitter at 40 Hz, and the one that is just made.
const QUEUE_MAX: usize = 26;

/// How tracking errs beside its noise. Ranges are an expert's estimate. A setting that is 0 is off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackerSettings {
    /// Degrees of freedom of the noise, Student's t, at least 3; 0 for normal noise.
    pub freedom: u32,
    /// Drift, mm (root mean square over three axes).
    pub drift_mm: f64,
    /// How long a drift lasts, s.
    pub drift_s: f64,
    /// Most that a pose comes later than the lag says, ms.
    pub jitter_ms: f64,
}

impl TrackerSettings {
    /// Normal noise and nothing else.
    #[must_use]
    pub const fn plain() -> Self {
        Self { freedom: 0, drift_mm: 0.0, drift_s: 300.0, jitter_ms: 0.0 }
    }

    /// The tracker that training and tuning may see.
    #[must_use]
    pub const fn home() -> Self {
        Self { freedom: 0, drift_mm: 0.1, drift_s: 600.0, jitter_ms: 6.0 }
    }

    /// One with heavy tails and more drift, which nothing is ever trained or tuned on.
    #[must_use]
    pub const fn foreign() -> Self {
        Self { freedom: 3, drift_mm: 0.4, drift_s: 120.0, jitter_ms: 20.0 }
    }

    /// # Errors
    /// With the first setting that is outside its range.
    pub(crate) fn check(&self) -> Result<(), WorldSettingError> {
        let range = |name, value: f64, low: f64, high: f64, right| {
            let inside = (low..=high).contains(&value);
            if inside { Ok(()) } else { Err(WorldSettingError { name, value: value.to_string(), right }) }
        };
        if self.freedom > 0 {
            range("tracker.freedom", f64::from(self.freedom), 3.0, 100.0, "3 to 100, or 0 for normal noise")?;
        }
        range("tracker.drift_mm", self.drift_mm, 0.0, 5.0, "0 to 5 mm")?;
        range("tracker.drift_s", self.drift_s, 1.0, 36_000.0, "1 to 36000 s")?;
        range("tracker.jitter_ms", self.jitter_ms, 0.0, 100.0, "0 to 100 ms")
    }

    const fn wanders(&self) -> bool {
        self.freedom > 0 || self.drift_mm > 0.0 || self.jitter_ms > 0.0
    }
}

pub(crate) struct SimulatedTracker {
    draws: Draws,
    /// Of what comes beside noise and losses.
    wander: Draws,
    /// mm, in the reference array's axes.
    drift: Vector3<f64>,
    /// Of how the reference array itself is seen.
    array: Draws,
    tracker_from_reference: Isometry3<f64>,
    reference_from_patient: Pose<Reference, Patient>,
    next: Instant,
    lost_until: Instant,
    last: Option<Pose<Reference, Tip>>,
    under_way: VecDeque<(TipPose, ReferencePose)>,
    seen: Option<ReferencePose>,
}

impl SimulatedTracker {
    pub(crate) fn new(seed: u64, patient_from_reference: Pose<Patient, Reference>) -> Self {
        Self {
            draws: Draws::new(seed, Purpose::Tracker),
            wander: Draws::new(seed, Purpose::Wander),
            drift: Vector3::zeros(),
            array: Draws::new(seed, Purpose::Reference),
            tracker_from_reference: STANDS,
            reference_from_patient: patient_from_reference.inverse(),
            next: Instant::START,
            lost_until: Instant::START,
            last: None,
            under_way: VecDeque::with_capacity(QUEUE_MAX),
            seen: None,
        }
    }

    /// Nothing is seen until then.
    pub(crate) fn lose(&mut self, until: Instant) {
        self.lost_until = self.lost_until.max(until);
    }

    /// The reference array is knocked: turned and moved in its own axes.
    pub(crate) fn bump(&mut self, by: &Isometry3<f64>) {
        let reference = &mut self.reference_from_patient;
        let bumped = by.inverse() * reference.isometry();
        // Rigid motions of finite poses are finite, and the frames stay.
        if let Ok(pose) = Pose::between(reference.to, reference.from, bumped) {
            *reference = pose;
        }
        self.tracker_from_reference *= by;
    }

    /// The table moves, and patient and array with it: `by` in the patient's own axes.
    pub(crate) fn table_moves(&mut self, by: &Isometry3<f64>) {
        let reference_from_patient = self.reference_from_patient.isometry();
        self.tracker_from_reference *= reference_from_patient * by * reference_from_patient.inverse();
    }

    /// Where the array truly sits on the patient.
    pub(crate) fn patient_from_reference(&self) -> Pose<Patient, Reference> {
        self.reference_from_patient.inverse()
    }

    pub(crate) fn step(&mut self, now: Instant, tip: &TipInPatient, settings: &WorldSettings) {
        if now < self.next {
            return;
        }
        self.next = self.next + PERIOD;
        if now >= self.lost_until {
            let chance = settings.dropouts_per_minute / 60.0 * PERIOD.secs_f64();
            if self.draws.uniform(0.0, 1.0) < chance {
                let length = self.draws.uniform(settings.dropout_s[0], settings.dropout_s[1]);
                self.lost_until = now + Duration::from_secs_f64(length).unwrap_or(Duration::ZERO);
            }
        }
        let late = self.wander(&settings.tracker);
        let lost = now < self.lost_until;
        let measured = if lost { self.last } else { None };
        let pose = measured.unwrap_or_else(|| self.measure(tip, settings));
        self.last = Some(pose);
        if self.under_way.len() == QUEUE_MAX {
            self.under_way.pop_front();
        }
        let array = self.measure_array(now, settings);
        let tip = TipPose {
            trace: TraceId(0),
            reference_from_tip: Stamped {
                value: pose,
                captured: now,
                valid_for: VALID_FOR,
                error: Millimetres::constant(ERROR_MM),
                drift_mm_s: DRIFT_MM_S,
            },
            status: if lost { TrackingStatus::LineOfSightLost } else { TrackingStatus::Valid },
            received: now + settings.tracker_lag + late,
        };
        self.under_way.push_back((tip, array));
    }

    /// The newest pose that has arrived by `now` and was not given before.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<TipPose> {
        let mut newest = None;
        while let Some((tip, array)) = self.under_way.pop_front_if(|(tip, _)| tip.received <= now) {
            (newest, self.seen) = (Some(tip), Some(array));
        }
        newest
    }

    /// The same of the reference array; it comes with the tip's.
    pub(crate) fn reference(&mut self) -> Option<ReferencePose> {
        self.seen.take()
    }

    fn measure_array(&mut self, now: Instant, settings: &WorldSettings) -> ReferencePose {
        let off = self.array.normals(settings.tracker_noise_mm);
        let turn = self.array.turn(settings.tracker_noise_deg.to_radians());
        let truth = &self.tracker_from_reference;
        let noisy = Isometry3::from_parts((truth.translation.vector + off).into(), turn * truth.rotation);
        let tracker_from_reference: Pose<Tracker, Reference> = finite(FrameId::SOLE, noisy);
        ReferencePose { tracker_from_reference, status: TrackingStatus::Valid, captured: now }
    }

    /// Drifts for one period; how late this pose comes.
    fn wander(&mut self, settings: &TrackerSettings) -> Duration {
        if !settings.wanders() {
            return Duration::ZERO;
        }
        // Ornstein and Uhlenbeck: back to nothing over `drift_s`, kept up by noise.
        let share = (PERIOD.secs_f64() / settings.drift_s).min(1.0);
        let kick = settings.drift_mm / 3.0_f64.sqrt() * (share * (2.0 - share)).sqrt();
        self.drift = self.drift * (1.0 - share) + self.wander.normals(kick);
        let late = self.wander.uniform(0.0, settings.jitter_ms);
        Duration::from_secs_f64(late * 1e-3).unwrap_or(Duration::ZERO)
    }

    /// Factor on normal noise that makes it Student's t of the same variance.
    fn tail(&mut self, freedom: u32) -> f64 {
        if freedom == 0 {
            return 1.0;
        }
        let chi2: f64 = (0..freedom).map(|_| self.wander.normal()).map(|n| n * n).sum();
        (f64::from(freedom.saturating_sub(2)) / chi2.max(1e-3)).sqrt()
    }

    fn measure(&mut self, tip: &TipInPatient, settings: &WorldSettings) -> Pose<Reference, Tip> {
        let tail = self.tail(settings.tracker.freedom);
        let off = self.draws.normals(settings.tracker_noise_mm) * tail + self.drift;
        let turn = self.draws.turn(settings.tracker_noise_deg.to_radians());
        let truth = self.reference_from_patient * *tip;
        let noisy = Isometry3::from_parts(
            Translation3::from(truth.isometry().translation.vector + off),
            turn * truth.isometry().rotation,
        );
        finite(FrameId::SOLE, noisy)
    }
}
