//! Whether a tracked tip is held still, and where: what a touch is made of.
//!
//! A tip counts as held when valid poses without a gap cover the whole of [`Hold::length`], scatter by no more than
//! [`Hold::scatter_mm`] about their mean, and have not slid: the means of both halves lie within half of that. The result is the
//! mean. An invalid pose, one that is no number, a gap, and time that stands still or goes back begin it anew, and say why.
//!
//! **Units:** mm, in whatever frame the tip comes in. **Time is given:** each pose's capture. **Allocation:** the poses of one
//! hold. **Not protected against:** a tip that is held still in the wrong place; a tracker that repeats its last pose and calls it
//! valid, of which [`Held::frozen`] tells.

use bregma_core::flow::TrackingStatus;
use bregma_core::time::{Duration, Instant};
use nalgebra::{Point3, Vector3};
use std::collections::VecDeque;

/// Fewest poses of a hold.
pub const POSES_MIN: usize = 10;
/// Poses that are kept at most: a tracker of a kilohertz over some seconds.
const POSES_MAX: usize = 16_384;

/// What a hold must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hold {
    /// How long.
    pub length: Duration,
    /// Longest time between two poses.
    pub gap: Duration,
    /// Root mean square distance of the poses from their mean, at most, mm.
    pub scatter_mm: f64,
}

/// A tip that was held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Held {
    /// Mean of the poses.
    pub at: Point3<f64>,
    /// Root mean square distance from it, mm.
    pub scatter_mm: f64,
    /// How many they were.
    pub poses: usize,
    /// Whether all were equal to the bit, as nothing that is measured is.
    pub frozen: bool,
}

/// Why it is not held yet.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Unheld {
    /// The tracker says that it does not measure it.
    #[error("{}", invalid(*status))]
    Invalid {
        /// What it says.
        status: TrackingStatus,
    },
    /// A pose that is no number.
    #[error("the tracker sends numbers that are not finite")]
    NotFinite,
    /// Nothing came for a while.
    #[error("no pose came for {ms:.0} ms; at most {most_ms:.0} ms are right")]
    Gap {
        /// How long.
        ms: f64,
        /// The limit.
        most_ms: f64,
    },
    /// Time stood still, or went back.
    #[error("a pose was captured at {captured}, not after the last at {last}: a clock was set back")]
    NotLater {
        /// When.
        captured: Instant,
        /// The last one.
        last: Instant,
    },
    /// It moves.
    #[error("the tip moves: {scatter_mm:.2} mm about its mean, {slid_mm:.2} mm on the way; at most {most_mm} and {} mm are right", most_mm / 2.0)]
    Moving {
        /// Root mean square distance from the mean, mm.
        scatter_mm: f64,
        /// Between the means of both halves, mm.
        slid_mm: f64,
        /// Limit of the first.
        most_mm: f64,
    },
    /// So few poses came that their mean says little.
    #[error("{poses} poses in that time; at least {POSES_MIN} are needed")]
    Sparse {
        /// How many.
        poses: usize,
    },
    /// It has not been held for long enough.
    #[error("held for {held_s:.1} s")]
    Short {
        /// So far.
        held_s: f64,
    },
}

fn invalid(status: TrackingStatus) -> &'static str {
    match status {
        TrackingStatus::Valid => "the pose is valid",
        TrackingStatus::LineOfSightLost => "the camera does not see the pointer (line of sight lost)",
        TrackingStatus::OutOfVolume => "the pointer is outside the tracker's volume",
        TrackingStatus::Unknown => "the tracker does not say that the pose is valid (status unknown)",
    }
}

/// Hears poses until a tip is held.
#[derive(Debug, Clone)]
pub struct Still {
    hold: Hold,
    poses: VecDeque<(Instant, Point3<f64>)>,
}

impl Still {
    /// One that has heard nothing.
    #[must_use]
    pub fn new(hold: Hold) -> Self {
        Self { hold, poses: VecDeque::new() }
    }

    /// Hears a pose.
    ///
    /// # Errors
    /// Why the tip is not held yet.
    pub fn hear(&mut self, captured: Instant, status: TrackingStatus, tip: &Point3<f64>) -> Result<Held, Unheld> {
        if status != TrackingStatus::Valid {
            return self.anew(Unheld::Invalid { status });
        }
        if !tip.iter().all(|v| v.is_finite()) {
            return self.anew(Unheld::NotFinite);
        }
        if let Some((last, _)) = self.poses.back().copied() {
            match captured.since(last) {
                // Several poses of one read have its time.
                Some(Duration::ZERO) => {}
                None => return self.anew(Unheld::NotLater { captured, last }),
                Some(gap) if gap > self.hold.gap => {
                    self.poses.clear();
                    self.poses.push_back((captured, *tip));
                    return Err(Unheld::Gap { ms: gap.millis_f64(), most_ms: self.hold.gap.millis_f64() });
                }
                Some(_) => {}
            }
        }
        if self.poses.len() == POSES_MAX {
            self.poses.pop_front();
        }
        self.poses.push_back((captured, *tip));
        // The oldest that is kept is the last one from before the time that counts.
        while self.poses.get(1).is_some_and(|(second, _)| self.covers(captured, *second)) {
            self.poses.pop_front();
        }
        self.judge(captured)
    }

    fn anew(&mut self, why: Unheld) -> Result<Held, Unheld> {
        self.poses.clear();
        Err(why)
    }

    fn covers(&self, now: Instant, since: Instant) -> bool {
        now.since(since).is_some_and(|span| span >= self.hold.length)
    }

    fn judge(&self, now: Instant) -> Result<Held, Unheld> {
        let poses = self.poses.len();
        let at = mean(self.poses.iter());
        let squares: f64 = self.poses.iter().map(|(_, p)| (p - at).norm_squared()).sum();
        let scatter_mm = (squares / poses as f64).sqrt();
        let slid_mm =
            (mean(self.poses.iter().take(poses.div_ceil(2))) - mean(self.poses.iter().skip(poses / 2))).norm();
        let most_mm = self.hold.scatter_mm;
        if !(scatter_mm <= most_mm && slid_mm <= most_mm / 2.0) {
            return Err(Unheld::Moving { scatter_mm, slid_mm, most_mm });
        }
        let (first, tip) = self.poses[0];
        if !self.covers(now, first) {
            return Err(Unheld::Short { held_s: now.since(first).map_or(0.0, Duration::secs_f64) });
        }
        if poses < POSES_MIN {
            return Err(Unheld::Sparse { poses });
        }
        let frozen = self.poses.iter().all(|(_, p)| p.coords == tip.coords);
        Ok(Held { at, scatter_mm, poses, frozen })
    }
}

fn mean<'a>(poses: impl ExactSizeIterator<Item = &'a (Instant, Point3<f64>)>) -> Point3<f64> {
    let count = poses.len().max(1) as f64;
    Point3::from(poses.map(|(_, p)| p.coords).sum::<Vector3<f64>>() / count)
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;

    const HOLD: Hold = Hold { length: Duration::from_secs(1), gap: Duration::from_millis(200), scatter_mm: 0.8 };

    fn at_ms(ms: u64) -> Instant {
        Instant::START + Duration::from_millis(ms)
    }

    /// Hears a tip at 20 poses a second until it is held.
    fn held(still: &mut Still, from_ms: u64, tip: impl Fn(u64) -> Point3<f64>) -> Option<(u64, Held)> {
        (0..200)
            .map(|i| from_ms + 50 * i)
            .find_map(|ms| still.hear(at_ms(ms), TrackingStatus::Valid, &tip(ms)).ok().map(|held| (ms, held)))
    }

    #[test]
    fn a_tip_that_is_held_for_a_second_is_its_mean() {
        let mut noise = Noise::new(1);
        let there = Point3::new(10.0, -300.0, 1200.0);
        let drawn: Vec<_> = (0..400).map(|_| there + noise.vector(0.25)).collect();
        let (ms, found) = held(&mut Still::new(HOLD), 0, |ms| drawn[ms as usize / 50]).expect("held");
        assert_eq!((ms, found.poses, found.frozen), (1000, 21, false));
        assert!((found.at - there).norm() < 0.25 && (0.3..0.6).contains(&found.scatter_mm), "{found:?}");
    }

    #[test]
    fn a_hand_that_comes_or_slides_is_waited_for() {
        let coming = |ms: u64| {
            Point3::new(f64::from(u32::try_from(2000_u64.saturating_sub(ms)).expect("small")) * 0.1, 0.0, 0.0)
        };
        let (ms, found) = held(&mut Still::new(HOLD), 0, coming).expect("held at last");
        assert!(ms >= 2900 && found.at.x < 0.1, "{ms}: {found:?}");
        // 2 mm/s: each second alone scatters by 0.6 mm only.
        assert_eq!(held(&mut Still::new(HOLD), 0, |ms| Point3::new(ms as f64 * 0.002, 0.0, 0.0)), None);
    }

    #[test]
    fn what_interrupts_a_hold_is_said_and_it_begins_anew() {
        let tip = Point3::new(1.0, 2.0, 3.0);
        let begun = || {
            let mut still = Still::new(HOLD);
            for i in 0..15 {
                assert!(matches!(still.hear(at_ms(i * 50), TrackingStatus::Valid, &tip), Err(Unheld::Short { .. })));
            }
            still
        };
        let cases = [
            (750, TrackingStatus::Unknown, tip, "status unknown"),
            (750, TrackingStatus::LineOfSightLost, tip, "line of sight"),
            (750, TrackingStatus::OutOfVolume, tip, "volume"),
            (750, TrackingStatus::Valid, Point3::new(f64::NAN, 0.0, 0.0), "not finite"),
            (600, TrackingStatus::Valid, tip, "set back"),
            (950, TrackingStatus::Valid, tip, "no pose came for 250 ms"),
            (750, TrackingStatus::Valid, Point3::new(80.0, 0.0, 0.0), "the tip moves"),
        ];
        for (ms, status, at, phrase) in cases {
            let mut still = begun();
            let said = still.hear(at_ms(ms), status, &at).expect_err("interrupted").to_string();
            assert!(said.contains(phrase), "{said}");
            let (ms, found) = held(&mut still, 1000, |_| tip).expect("held afterwards");
            assert!(ms >= 1950 && found.frozen, "{phrase}: {ms}, {found:?}");
        }
    }

    #[test]
    fn few_poses_are_said_to_be_few() {
        let mut still = Still::new(HOLD);
        let tip = Point3::origin();
        let said = (0..20).map(|i| still.hear(at_ms(i * 180), TrackingStatus::Valid, &tip)).last();
        assert_eq!(said, Some(Err(Unheld::Sparse { poses: 7 })));
    }
}
