//! The simulated tracking camera: 40 poses a second, with noise, lag and loss of line of sight.
//!
//! **Frames:** the tip from the reference array. While line of sight is lost it keeps reporting, with that
//! status and the last pose it had. **Not modelled:** a reference array that moves.

use super::{TipInPatient, WorldSettings, finite};
use crate::random::{Draws, Purpose};
use bregma_core::flow::{TipPose, TraceId, TrackingStatus};
use bregma_core::frame::{FrameId, Patient, Pose, Reference, Tip};
use bregma_core::time::{Duration, Instant, Stamped};
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Translation3};
use std::collections::VecDeque;

/// 40 Hz.
const PERIOD: Duration = Duration::from_millis(25);
/// How long a pose may be believed.
const VALID_FOR: Duration = Duration::from_millis(250);
/// Error of a pose, 0.3 mm of noise and what the array's calibration adds.
const ERROR_MM: f64 = 0.35;
/// How fast that error grows: slow motions of the tip between poses, mm/s.
const DRIFT_MM_S: f64 = 1.0;
/// Poses under way: 500 ms of lag at 40 Hz, and the one that is just made.
const QUEUE_MAX: usize = 24;

pub(crate) struct SimulatedTracker {
    draws: Draws,
    reference_from_patient: Pose<Reference, Patient>,
    next: Instant,
    lost_until: Instant,
    last: Option<Pose<Reference, Tip>>,
    under_way: VecDeque<TipPose>,
}

impl SimulatedTracker {
    pub(crate) fn new(seed: u64, patient_from_reference: Pose<Patient, Reference>) -> Self {
        Self {
            draws: Draws::new(seed, Purpose::Tracker),
            reference_from_patient: patient_from_reference.inverse(),
            next: Instant::START,
            lost_until: Instant::START,
            last: None,
            under_way: VecDeque::with_capacity(QUEUE_MAX),
        }
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
        let lost = now < self.lost_until;
        let measured = if lost { self.last } else { None };
        let pose = measured.unwrap_or_else(|| self.measure(tip, settings));
        self.last = Some(pose);
        if self.under_way.len() == QUEUE_MAX {
            self.under_way.pop_front();
        }
        self.under_way.push_back(TipPose {
            trace: TraceId(0),
            reference_from_tip: Stamped {
                value: pose,
                captured: now,
                valid_for: VALID_FOR,
                error: Millimetres::constant(ERROR_MM),
                drift_mm_s: DRIFT_MM_S,
            },
            status: if lost { TrackingStatus::LineOfSightLost } else { TrackingStatus::Valid },
            received: now + settings.tracker_lag,
        });
    }

    /// The newest pose that has arrived by `now` and was not given before.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<TipPose> {
        let mut newest = None;
        while self.under_way.front().is_some_and(|pose| pose.received <= now) {
            newest = self.under_way.pop_front();
        }
        newest
    }

    fn measure(&mut self, tip: &TipInPatient, settings: &WorldSettings) -> Pose<Reference, Tip> {
        let off = self.draws.normals(settings.tracker_noise_mm);
        let turn = self.draws.turn(settings.tracker_noise_deg.to_radians());
        let truth = self.reference_from_patient * *tip;
        let noisy = Isometry3::from_parts(
            Translation3::from(truth.isometry().translation.vector + off),
            turn * truth.isometry().rotation,
        );
        finite(FrameId::SOLE, noisy)
    }
}
