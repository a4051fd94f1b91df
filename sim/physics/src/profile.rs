//! Waypoints to the smooth course of the tip in time.
//!
//! The straight lines between waypoints are sampled every [`PERIOD`] at their feed (a turn without way at
//! the turning limit) and passed through two moving averages one after the other, [`FIRST`] and
//! [`SECOND`] samples wide. What a piecewise constant speed was before is afterwards continuous in speed
//! *and* acceleration, at rest at both ends: speed changes by Δv take 0.24 s, with at most Δv / 0.16 s of
//! acceleration and Δv / (0.16 s · 0.08 s) of jerk. An average of points lies in their convex hull, so the
//! tip keeps to straight lines, is never faster than the highest feed near by, and cuts a corner by at
//! most half the kernel's mean width times the change of velocity. Where that is more than the corner
//! limit, and wherever the energy changes, the tip comes to rest at the waypoint. The energy switches
//! there, at rest, so that **the tip is never energised outside its energised segments**.
//!
//! **Units:** mm, s, rad. **Frame:** patient. **Allocation:** the returned course.

use crate::limits::LimitValues;
use bregma_core::flow::{Energy, Waypoint};
use bregma_core::time::Duration;
use nalgebra::{Isometry3, Quaternion, Translation3, UnitQuaternion, Vector3};

/// Time between knots.
pub const PERIOD: Duration = Duration::from_millis(4);
/// Width of the first moving average in samples.
pub const FIRST: usize = 40;
/// Width of the second.
pub const SECOND: usize = 20;
/// Samples that one smoothed knot rests on.
const WINDOW: usize = FIRST + SECOND - 1;

/// The tip's course: poses every [`PERIOD`], at rest at both ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct TipCourse {
    pub poses: Vec<Isometry3<f64>>,
    /// [`Energy::bits`] from each knot to the next.
    pub energy: Vec<u8>,
    /// Largest distance from the straight lines, mm.
    pub corner_mm: f64,
}

/// What keeps waypoints from becoming a course.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the motion takes more than {limit_s} s")]
pub(crate) struct TooLong {
    pub limit_s: f64,
}

/// Half the mean width of both averages together, s: how far a change of velocity moves the tip at a
/// corner, per mm/s.
fn corner_s() -> f64 {
    let mut sum = 0.0;
    for a in 0..FIRST {
        for b in 0..SECOND {
            sum += ((a + b) as f64 - 0.5 * (WINDOW - 1) as f64).abs();
        }
    }
    0.5 * sum / (FIRST * SECOND) as f64 * PERIOD.secs_f64()
}

/// The raw course, before smoothing.
struct Raw {
    poses: Vec<Isometry3<f64>>,
    energy: Vec<u8>,
    /// Which straight piece each sample lies on.
    piece: Vec<usize>,
}

impl Raw {
    fn push(&mut self, pose: Isometry3<f64>, energy: u8, piece: usize) {
        let mut pose = pose;
        // One hemisphere all along, so that averages of quaternions are averages of rotations.
        if let Some(last) = self.poses.last()
            && last.rotation.coords.dot(&pose.rotation.coords) < 0.0
        {
            pose.rotation = UnitQuaternion::new_unchecked(-pose.rotation.into_inner());
        }
        self.poses.push(pose);
        self.energy.push(energy);
        self.piece.push(piece);
    }

    /// Stands still long enough for the averages to come to rest. `energy` holds up to the knot at rest.
    fn rest(&mut self, pose: Isometry3<f64>, energy: u8, next: u8, piece: usize) {
        for _ in 1..WINDOW {
            self.push(pose, energy, piece);
        }
        self.push(pose, next, piece);
    }
}

fn slerp(a: &UnitQuaternion<f64>, b: &UnitQuaternion<f64>, share: f64) -> UnitQuaternion<f64> {
    a.try_slerp(b, share, 1e-9).unwrap_or(*a)
}

/// From `start` along `waypoints` (the first of a motion's own is where it starts, and is not among them).
///
/// # Errors
/// [`TooLong`] before it allocates more than the limit needs.
pub(crate) fn course(
    start: &Isometry3<f64>,
    waypoints: &[Waypoint],
    limits: &LimitValues,
) -> Result<TipCourse, TooLong> {
    let dt = PERIOD.secs_f64();
    let most = (limits.motion_s / dt) as usize;
    let too_long = TooLong { limit_s: limits.motion_s };
    let corner_s = corner_s();
    let mut raw = Raw { poses: Vec::new(), energy: Vec::new(), piece: Vec::new() };
    let mut ends = vec![start.translation.vector];
    let first_energy = waypoints.first().map_or(0, |w| w.energy.bits());
    raw.rest(*start, Energy::OFF.bits(), first_energy, 0);

    let mut at = *start;
    for (index, waypoint) in waypoints.iter().enumerate() {
        let to = *waypoint.patient_from_tip.isometry();
        let way = to.translation.vector - at.translation.vector;
        let seconds = (way.norm() / waypoint.feed_mm_s).max(at.rotation.angle_to(&to.rotation) / limits.turn_rad_s);
        let samples = (seconds / dt).ceil();
        if !(samples >= 0.0 && samples < (most.saturating_sub(raw.poses.len())) as f64) {
            return Err(too_long);
        }
        let samples = samples as usize;
        ends.push(to.translation.vector);
        for n in 1..=samples {
            let share = n as f64 / samples as f64;
            let place = at.translation.vector + way * share;
            let pose = Isometry3::from_parts(Translation3::from(place), slerp(&at.rotation, &to.rotation, share));
            raw.push(if n == samples { to } else { pose }, waypoint.energy.bits(), index);
        }
        at = to;
        if let Some(next) = waypoints.get(index + 1) {
            let onward = next.patient_from_tip.isometry().translation.vector - at.translation.vector;
            let unit = |v: Vector3<f64>| v.try_normalize(1e-9).unwrap_or_else(Vector3::zeros);
            let straight = unit(way).dot(&unit(onward)) > 1.0 - 1e-9;
            let swerve = corner_s * (unit(onward) * next.feed_mm_s - unit(way) * waypoint.feed_mm_s).norm();
            if next.energy != waypoint.energy || (!straight && swerve > limits.corner_mm) {
                raw.rest(at, waypoint.energy.bits(), next.energy.bits(), index);
            }
        }
    }
    let last = waypoints.last().map_or(0, |w| w.energy.bits());
    raw.rest(at, last, Energy::OFF.bits(), waypoints.len().saturating_sub(1));
    if raw.poses.len() > most {
        return Err(too_long);
    }
    Ok(smooth(&raw, &ends))
}

fn smooth(raw: &Raw, ends: &[Vector3<f64>]) -> TipCourse {
    // x, y, z and the quaternion's four.
    let lanes: Vec<[f64; 7]> = raw
        .poses
        .iter()
        .map(|p| {
            let (t, q) = (p.translation.vector, p.rotation.coords);
            [t.x, t.y, t.z, q.x, q.y, q.z, q.w]
        })
        .collect();
    let twice = average(&average(&lanes, FIRST), SECOND);
    let mut course =
        TipCourse { poses: Vec::with_capacity(twice.len()), energy: raw.energy[WINDOW - 1..].to_vec(), corner_mm: 0.0 };
    for (n, v) in twice.iter().enumerate() {
        let place = Vector3::new(v[0], v[1], v[2]);
        let rotation = UnitQuaternion::from_quaternion(Quaternion::new(v[6], v[3], v[4], v[5]));
        course.poses.push(Isometry3::from_parts(Translation3::from(place), rotation));
        let mut off = f64::INFINITY;
        for piece in raw.piece[n]..=raw.piece[n + WINDOW - 1] {
            let end = ends[(piece + 1).min(ends.len() - 1)];
            off =
                off.min(crate::segment::Segment::new(ends[piece].into(), end.into()).distance_to_point(&place.into()));
        }
        course.corner_mm = course.corner_mm.max(off);
    }
    course
}

/// Moving average over `width` samples; the result is `width − 1` shorter. Each window is summed anew,
/// around its first value, so that rest is exact and no rounding piles up.
fn average(lanes: &[[f64; 7]], width: usize) -> Vec<[f64; 7]> {
    lanes
        .windows(width)
        .map(|window| {
            std::array::from_fn(|a| {
                let base = window[0][a];
                base + window.iter().map(|v| v[a] - base).sum::<f64>() / width as f64
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LimitValues;
    use bregma_core::frame::Pose;
    use proptest::prelude::*;

    fn to(x: f64, y: f64, z: f64, feed_mm_s: f64, energy: Energy) -> Waypoint {
        Waypoint { patient_from_tip: Pose::new(Isometry3::translation(x, y, z)).expect("finite"), feed_mm_s, energy }
    }

    fn speeds(course: &TipCourse) -> Vec<Vector3<f64>> {
        course
            .poses
            .windows(2)
            .map(|w| (w[1].translation.vector - w[0].translation.vector) / PERIOD.secs_f64())
            .collect()
    }

    #[test]
    fn starts_and_ends_at_rest_at_its_ends() {
        let course = course(&Isometry3::identity(), &[to(10.0, 0.0, 0.0, 20.0, Energy::OFF)], &LimitValues::USUAL)
            .expect("short");
        assert_eq!(course.poses[0], Isometry3::identity());
        assert!((course.poses.last().expect("some").translation.vector - Vector3::new(10.0, 0.0, 0.0)).norm() < 1e-12);
        let v = speeds(&course);
        assert!(v[0].norm() < 0.1 && v.last().expect("some").norm() < 0.1, "{} {}", v[0], v[v.len() - 1]);
        assert_eq!(course.energy.len(), course.poses.len());
        assert!(course.corner_mm < 1e-9);
    }

    #[test]
    fn the_energy_is_on_over_its_segment_only_and_switches_at_rest() {
        let way = [
            to(5.0, 0.0, 0.0, 20.0, Energy::OFF),
            to(8.0, 0.0, 0.0, 4.0, Energy::CUT),
            to(8.0, 6.0, 0.0, 20.0, Energy::OFF),
        ];
        let course = course(&Isometry3::identity(), &way, &LimitValues::USUAL).expect("short");
        let on: Vec<usize> = (0..course.energy.len()).filter(|n| course.energy[*n] != 0).collect();
        for n in &on {
            for p in [&course.poses[*n], &course.poses[*n + 1]] {
                let t = p.translation.vector;
                assert!((5.0 - 1e-9..=8.0 + 1e-9).contains(&t.x) && t.y.abs() < 1e-9, "energised at {t}");
            }
        }
        let ends = [on[0], on[on.len() - 1] + 1];
        assert!((course.poses[ends[0]].translation.x - 5.0).abs() < 1e-9);
        assert!((course.poses[ends[1]].translation.x - 8.0).abs() < 1e-9);
        assert_eq!(course.energy.last(), Some(&0));
    }

    #[test]
    fn a_motion_that_lasts_too_long_is_refused() {
        let slow = to(1000.0, 0.0, 0.0, 0.06, Energy::OFF);
        assert!(course(&Isometry3::identity(), &[slow], &LimitValues::USUAL).is_err());
    }

    proptest! {
        #[test]
        fn bounded_in_speed_acceleration_and_corner(points in prop::collection::vec((prop::array::uniform3(-20.0..20.0f64), 1.0..50.0f64, prop::bool::ANY), 1..6)) {
            let way: Vec<Waypoint> = points.iter().map(|(p, feed, cut)| to(p[0], p[1], p[2], *feed, if *cut { Energy::CUT } else { Energy::OFF })).collect();
            let course = course(&Isometry3::identity(), &way, &LimitValues { motion_s: 300.0, ..LimitValues::USUAL }).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let top = points.iter().map(|(_, feed, _)| *feed).fold(0.0, f64::max);
            let v = speeds(&course);
            prop_assert!(v.iter().all(|v| v.norm() <= top + 1e-6));
            for w in v.windows(2) {
                // 2 · top / 0.16 s, one sample's worth.
                prop_assert!((w[1] - w[0]).norm() / PERIOD.secs_f64() <= 2.0 * top / 0.16 + 1e-3);
            }
            prop_assert!(course.corner_mm <= LimitValues::USUAL.corner_mm + 1e-9 || points.len() > 2, "{}", course.corner_mm);
        }
    }
}
