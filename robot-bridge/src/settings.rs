//! What the gate is told once: its arm, its own copies of the digests, and every limit.
//!
//! **Units:** in the names, or a [`Duration`]. There is no default: each value is something a patient
//! could feel. [`Settings::check`] asks of each "is it inside?", so that NaN is refused.

use bregma_core::Duration;
use bregma_core::arm::ArmModel;
use bregma_core::digest::Digest;

/// The gate steps 125 to 1000 times a second.
pub const PERIODS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(8)];
/// Longest age of the enabling input: a person's hand opens in about 200 ms, this adds half of that.
pub const CONSENT_AGES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];
/// Limits of the heartbeat's age limit. Not zero and not forever: it cannot be switched off.
pub const HEARTBEAT_AGES: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(2)];
/// How long two contacts of one switch may differ while it moves.
pub const CHANNELS_SETTLES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(500)];
/// Limits of every other age.
pub const AGES: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(5)];
/// Limits of the time that a hold inside the head may last before leaving is offered.
pub const HOLDS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(600)];
/// Limits of the brake's shortest time.
pub const BRAKES: [Duration; 2] = [Duration::from_millis(8), Duration::from_millis(500)];
/// A path that needs longer than this to brake is refused.
pub const BRAKE_LONGEST: Duration = Duration::from_millis(1000);
/// Share of a joint's acceleration limit that braking may add to the path's own.
pub const BRAKE_SHARE: f64 = 0.5;

const _: () = assert!(HEARTBEAT_AGES[0].nanos() > 0, "a heartbeat limit of zero would never be met");
const _: () = assert!(CONSENT_AGES[1].nanos() <= 100_000_000, "consent is older than 100 ms: nobody holds it");
const _: () = assert!(CONSENT_AGES[1].nanos() >= PERIODS[1].nanos(), "consent must outlive one step");
const _: () = assert!(BRAKE_LONGEST.nanos() >= BRAKES[1].nanos(), "the shortest brake is not over the longest");

/// Everything the gate is told once.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The arm that it commands.
    pub arm: ArmModel,
    /// Time between two steps; inside [`PERIODS`].
    pub period: Duration,
    /// Digest of the validator's limits, the gate's own copy.
    pub limits: Digest,
    /// Digests of the planners that may ask for motions; at least one.
    pub models: Vec<Digest>,
    /// An approved path starts at most this far, rad, from where the arm was last told to be. The gate
    /// goes there in its first step, so it is at most what the slowest joint may move in one period.
    pub start_tolerance_rad: f64,
    /// Largest difference of a measured joint from its command, rad, the arm's lag included.
    pub tracking_error_max_rad: f64,
    /// Longest age of the enabling input; inside [`CONSENT_AGES`].
    pub consent_age_max: Duration,
    /// How long its two channels may differ before that is a defect; inside [`CHANNELS_SETTLES`]. While
    /// they differ nobody consents.
    pub channels_settle: Duration,
    /// Longest age of the heartbeat; inside [`HEARTBEAT_AGES`].
    pub heartbeat_age_max: Duration,
    /// Longest age of the newest scene, from its camera frame's capture.
    pub scene_age_max: Duration,
    /// Longest age of the arm's state.
    pub arm_age_max: Duration,
    /// Longest age of the instrument's state.
    pub instrument_age_max: Duration,
    /// How long after the command to switch off the console may still say that energy is on.
    pub energy_off_within: Duration,
    /// How long a hold inside the head may last before leaving is offered; inside [`HOLDS`].
    pub hold_max: Duration,
    /// Shortest time in which the path clock goes from full rate to zero; inside [`BRAKES`]. A fast path
    /// takes longer, so that braking adds at most [`BRAKE_SHARE`] of a joint's acceleration limit.
    pub brake: Duration,
    /// Rate of the path clock on the way back along a path, inside (0, 1].
    pub retract_rate: f64,
    /// A step that comes this late after the one before holds.
    pub gap_max: Duration,
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SettingsFault {
    /// A time outside its limits.
    #[error("the gate's {name} is {value}; it must be from {low} to {high}")]
    Time {
        /// Which.
        name: &'static str,
        /// What was given.
        value: Duration,
        /// Shortest.
        low: Duration,
        /// Longest.
        high: Duration,
    },
    /// A number outside its limits.
    #[error("the gate's {name} is {value}; it must be above 0 and at most {high}")]
    Number {
        /// Which.
        name: &'static str,
        /// What was given.
        value: f64,
        /// Highest.
        high: f64,
    },
    /// No planner may ask for anything.
    #[error("the gate's list of models is empty; it must hold the digest of each planner that may ask for motions")]
    NoModels,
}

impl Settings {
    /// Whether every value can be used.
    ///
    /// # Errors
    /// The first that cannot, with its limits.
    pub fn check(&self) -> Result<(), SettingsFault> {
        let times = [
            ("period", self.period, PERIODS),
            ("consent_age_max", self.consent_age_max, CONSENT_AGES),
            ("channels_settle", self.channels_settle, CHANNELS_SETTLES),
            ("heartbeat_age_max", self.heartbeat_age_max, HEARTBEAT_AGES),
            ("scene_age_max", self.scene_age_max, AGES),
            ("arm_age_max", self.arm_age_max, AGES),
            ("instrument_age_max", self.instrument_age_max, AGES),
            ("energy_off_within", self.energy_off_within, AGES),
            ("hold_max", self.hold_max, HOLDS),
            ("brake", self.brake, BRAKES),
            ("gap_max", self.gap_max, [Duration::from_nanos(2 * self.period.nanos()), AGES[1]]),
        ];
        for (name, value, [low, high]) in times {
            if !(low..=high).contains(&value) {
                return Err(SettingsFault::Time { name, value, low, high });
            }
        }
        let slowest = self.arm.limits().iter().fold(f64::INFINITY, |s, limit| s.min(limit.speed_rad_s));
        let numbers = [
            ("start_tolerance_rad", self.start_tolerance_rad, slowest * self.period.secs_f64()),
            ("tracking_error_max_rad", self.tracking_error_max_rad, 0.2),
            ("retract_rate", self.retract_rate, 1.0),
        ];
        for (name, value, high) in numbers {
            if !(value > 0.0 && value <= high) {
                return Err(SettingsFault::Number { name, value, high });
            }
        }
        if self.models.is_empty() { Err(SettingsFault::NoModels) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::rig;

    #[test]
    fn what_lies_outside_is_refused_by_name() {
        let good = rig::settings();
        assert_eq!(good.check(), Ok(()));
        let named = |change: fn(&mut Settings)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check().expect_err("outside its limits").to_string()
        };
        assert!(named(|s| s.heartbeat_age_max = Duration::ZERO).contains("heartbeat_age_max is 0 ns"));
        assert!(named(|s| s.consent_age_max = Duration::from_millis(101)).contains("consent_age_max"));
        assert!(named(|s| s.period = Duration::from_millis(9)).contains("period"));
        assert!(named(|s| s.start_tolerance_rad = f64::NAN).contains("start_tolerance_rad is NaN"));
        assert!(named(|s| s.start_tolerance_rad = 0.01).contains("at most 0.0068"));
        assert!(named(|s| s.retract_rate = 0.0).contains("retract_rate"));
        assert!(named(|s| s.models.clear()).contains("models"));
        assert!(named(|s| s.gap_max = s.period).contains("gap_max"));
    }
}
