//! Whether a motion is well formed, and its course if it is.

use crate::limits::LimitValues;
use crate::profile::{TipCourse, TooLong, course};
use bregma_core::flow::{Motion, WAYPOINTS_MAX};
use bregma_core::frame::{FrameId, Patient, Pose, Tip};

/// What is wrong with a motion's form.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FormFault {
    /// None, or too many waypoints.
    #[error("{found} waypoints; 1 to {WAYPOINTS_MAX} are needed")]
    Count {
        /// How many.
        found: usize,
    },
    /// A feed outside its range, or none at all.
    #[error("waypoint {waypoint} has a feed of {feed_mm_s} mm/s; {low} to {high} mm/s is needed")]
    Feed {
        /// Which, from 0.
        waypoint: usize,
        /// Its feed.
        feed_mm_s: f64,
        /// Lowest taken.
        low: f64,
        /// Highest taken.
        high: f64,
    },
    /// A pose in another scan's frame, or whose rotation is none.
    #[error(
        "waypoint {waypoint} is in patient frame {found:016x} or has no unit rotation; frame {expected:016x} is needed"
    )]
    Frame {
        /// Which, from 0.
        waypoint: usize,
        /// Its frame.
        found: u64,
        /// The scene's.
        expected: u64,
    },
    /// The first waypoint is not where the tip is.
    #[error(
        "the motion begins {off_mm:.2} mm and {turn_rad:.3} rad from the tip; {limit_mm} mm and {limit_rad} rad are allowed"
    )]
    Start {
        /// How far off.
        off_mm: f64,
        /// How far turned.
        turn_rad: f64,
        /// Allowed.
        limit_mm: f64,
        /// Allowed.
        limit_rad: f64,
    },
    /// It takes too long.
    #[error("the motion takes more than {limit_s} s")]
    TooLong {
        /// Longest allowed.
        limit_s: f64,
    },
    /// Its corners follow one another too fast to be rounded within the limit.
    #[error("the smoothed tip leaves the straight lines by {corner_mm:.2} mm; {limit_mm} mm is allowed")]
    Corner {
        /// How far.
        corner_mm: f64,
        /// Allowed.
        limit_mm: f64,
    },
}

/// The faults, and the course when there are none. The course begins at `start`, where the tip is, not at
/// the first waypoint, which may be off by what the tracker is off.
pub(crate) fn form(
    motion: &Motion,
    start: &Pose<Patient, Tip>,
    frame: FrameId,
    limits: &LimitValues,
) -> Result<TipCourse, Vec<FormFault>> {
    let mut faults = Vec::new();
    let count = motion.waypoints.len();
    if !(1..=WAYPOINTS_MAX).contains(&count) {
        return Err(vec![FormFault::Count { found: count }]);
    }
    let feeds = limits.feed_least_mm_s..=limits.free_mm_s;
    for (waypoint, w) in motion.waypoints.iter().enumerate() {
        // The first one's feed is that of the way to it, which there is none of.
        let bad = if waypoint == 0 { !w.feed_mm_s.is_finite() } else { !feeds.contains(&w.feed_mm_s) };
        if bad {
            faults.push(FormFault::Feed {
                waypoint,
                feed_mm_s: w.feed_mm_s,
                low: limits.feed_least_mm_s,
                high: limits.free_mm_s,
            });
        }
        let unit = (w.patient_from_tip.isometry().rotation.coords.norm() - 1.0).abs() < 1e-6;
        if w.patient_from_tip.to != frame || !unit {
            faults.push(FormFault::Frame { waypoint, found: w.patient_from_tip.to.0, expected: frame.0 });
        }
    }
    let first = &motion.waypoints[0].patient_from_tip;
    let off_mm = first.position().distance(&start.position()).get();
    let turn_rad = first.isometry().rotation.angle_to(&start.isometry().rotation);
    if !(off_mm <= limits.start_mm && turn_rad <= limits.start_turn_rad) {
        faults.push(FormFault::Start { off_mm, turn_rad, limit_mm: limits.start_mm, limit_rad: limits.start_turn_rad });
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    match course(start.isometry(), &motion.waypoints[1..], limits) {
        Err(TooLong { limit_s }) => Err(vec![FormFault::TooLong { limit_s }]),
        Ok(c) if c.corner_mm > limits.corner_mm => {
            Err(vec![FormFault::Corner { corner_mm: c.corner_mm, limit_mm: limits.corner_mm }])
        }
        Ok(c) => Ok(c),
    }
}
