//! Time is given, never asked.
//!
//! [`Instant`] is a point on the session's own clock, [`Duration`] a length of time; they are different
//! types, both whole nanoseconds. A stage receives `now`; only a runner holds a [`Clock`].
//! **Invariant:** this is the one module that may read the machine's clock. **Not protected against:** a
//! source whose own clock drifts; that is align's work.

use crate::units::Millimetres;
use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A point in time: nanoseconds since the session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Instant(u64);

/// A length of time in nanoseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Duration(u64);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Whole nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// Whole microseconds.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros * 1_000)
    }
    /// Whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000_000)
    }
    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000_000)
    }
    /// Seconds with a fraction; negative or non-finite input is refused.
    #[must_use]
    pub fn from_secs_f64(secs: f64) -> Option<Self> {
        (0.0..=1e9).contains(&secs).then_some(Self((secs * 1e9).round() as u64))
    }
    /// In nanoseconds.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
    /// In seconds.
    #[must_use]
    pub const fn secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }
    /// In milliseconds.
    #[must_use]
    pub const fn millis_f64(self) -> f64 {
        self.0 as f64 * 1e-6
    }
}

impl Instant {
    /// The start of the session.
    pub const START: Self = Self(0);

    /// Nanoseconds since the session began.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// Nanoseconds since the session began.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }
    /// Seconds since the session began, for people and for numeric kernels.
    #[must_use]
    pub const fn secs_f64(self) -> f64 {
        self.0 as f64 * 1e-9
    }
    /// How long ago `earlier` was; `None` when it lies in the future (a clock that jumped: fail closed).
    #[must_use]
    pub const fn since(self, earlier: Self) -> Option<Duration> {
        match self.0.checked_sub(earlier.0) {
            Some(nanos) => Some(Duration(nanos)),
            None => None,
        }
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}
impl Add for Duration {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}
impl Sub for Duration {
    type Output = Self;
    /// Never negative: what would be is zero.
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{} ns", self.0),
            1_000..1_000_000 => write!(f, "{:.1} µs", self.0 as f64 * 1e-3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} ms", self.0 as f64 * 1e-6),
            _ => write!(f, "{:.2} s", self.secs_f64()),
        }
    }
}
impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={:.3} s", self.secs_f64())
    }
}

/// A measurement that knows when it was made, how long it may be believed, and how its error grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamped<T> {
    /// What was measured.
    pub value: T,
    /// When the device handed it over.
    pub captured: Instant,
    /// How long after that it may be used.
    pub valid_for: Duration,
    /// Error when it was captured, one standard deviation.
    pub error: Millimetres,
    /// How fast that error grows, mm per second.
    pub drift_mm_s: f64,
}

impl<T> Stamped<T> {
    /// Its age at `now`; `None` when it was captured after `now`.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        now.since(self.captured)
    }

    /// Whether it may still be believed at `now`. A measurement from the future may not.
    #[must_use]
    pub fn fresh(&self, now: Instant) -> bool {
        self.age(now).is_some_and(|age| age <= self.valid_for)
    }

    /// `error + drift × age`; `None` when it is not [`fresh`](Self::fresh).
    #[must_use]
    pub fn error_at(&self, now: Instant) -> Option<Millimetres> {
        let age = self.age(now).filter(|age| *age <= self.valid_for)?;
        Millimetres::new(self.error.get() + self.drift_mm_s * age.secs_f64()).ok()
    }
}

/// Where `now` comes from. Held by runners and by device adapters, never by a stage.
pub trait Clock: Send + Sync {
    /// The present, on the session's clock.
    fn now(&self) -> Instant;
}

/// The machine's monotonic clock, zero when it was made.
#[derive(Debug, Clone)]
pub struct RealClock {
    start: std::time::Instant,
}

impl RealClock {
    /// Starts a session: now is [`Instant::START`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for RealClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Instant {
        Instant(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Clone, Default)]
pub struct SimClock {
    now: Arc<AtomicU64>,
}

impl SimClock {
    /// At [`Instant::START`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(by.0, Ordering::AcqRel);
    }
    /// Jumps to `to`, for replay.
    pub fn set(&self, to: Instant) {
        self.now.store(to.0, Ordering::Release);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::Acquire))
    }
}

/// Waits on the machine's clock; for device adapters that pace a simulated source, never for stages.
#[expect(clippy::disallowed_methods, reason = "the one place that may sleep")]
pub fn pause(length: Duration) {
    std::thread::sleep(std::time::Duration::from_nanos(length.0));
}

/// Seconds since 1970 by the machine's calendar clock, for file names and headers only.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the calendar")]
pub fn calendar_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(at: u64) -> Stamped<()> {
        Stamped {
            value: (),
            captured: Instant::from_nanos(at),
            valid_for: Duration::from_secs(2),
            error: Millimetres::constant(0.5),
            drift_mm_s: 0.25,
        }
    }

    #[test]
    fn error_grows_with_age_until_it_may_not_be_believed() {
        let m = stamped(0);
        assert_eq!(m.error_at(Instant::START), Some(Millimetres::constant(0.5)));
        assert_eq!(m.error_at(Instant::START + Duration::from_secs(2)), Some(Millimetres::constant(1.0)));
        assert_eq!(m.error_at(Instant::START + Duration::from_millis(2001)), None);
    }

    #[test]
    fn a_measurement_from_the_future_is_not_fresh() {
        assert!(!stamped(10).fresh(Instant::from_nanos(9)));
        assert_eq!(stamped(10).error_at(Instant::from_nanos(9)), None);
    }

    #[test]
    fn the_simulated_clock_moves_only_when_told() {
        let clock = SimClock::new();
        let other = clock.clone();
        assert_eq!(clock.now(), other.now());
        clock.advance(Duration::from_millis(5));
        assert_eq!(other.now(), Instant::from_nanos(5_000_000));
    }

    #[test]
    fn durations_read_well() {
        assert_eq!(Duration::from_micros(1500).to_string(), "1.5 ms");
        assert_eq!(Duration::from_secs_f64(f64::NAN), None);
        assert_eq!(Duration::from_secs_f64(-1.0), None);
    }
}
