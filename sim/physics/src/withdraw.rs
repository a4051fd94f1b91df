//! Whether an approval still holds when a new scene comes.
//!
//! The path was checked against every voxel that was forbidden then; so only voxels that are forbidden
//! *since* can make it fail, and each needs looking at only where the shaft, by the way it still has to
//! go, can come near it. That takes microseconds, not a validation. **Units:** mm. **Allocation:** none.

use crate::approved::Approved;
use crate::limits::LimitValues;
use crate::segment::Segment;
use crate::sweep::Sample;
use crate::trial::judge;
use bregma_core::arm::Joints;
use bregma_core::flow::{Check, CheckResult, Scene, Sent, Withdrawn, voxel};
use bregma_core::time::{Duration, Instant};
use nalgebra::Point3;
use std::sync::Arc;

/// The last approval, as long as it may be played or is.
#[derive(Debug)]
pub(crate) struct Held {
    pub approved: Arc<Approved>,
    pub samples: Vec<Sample>,
    /// The scene it was last found good in.
    pub scene: Arc<Scene>,
    pub shaft_radius_mm: f64,
    /// The first knot that is not surely behind.
    pub knot: usize,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Fate {
    Holds,
    Over,
    Withdrawn(Withdrawn),
}

impl Held {
    /// Looks at a new scene.
    pub(crate) fn look(&mut self, now: Instant, scene: &Arc<Scene>, sent: Option<&Sent>, limits: &LimitValues) -> Fate {
        let record = self.approved.record();
        let sequence = record.sequence;
        let playing = sent.is_some_and(|s| s.approval == Some(sequence));
        let over = sent.is_some_and(|s| s.finished >= sequence || (s.retracting && playing));
        if over || (!playing && now > record.expires) {
            return Fate::Over;
        }
        if let Some(sent) = sent.filter(|_| playing) {
            self.knot = reached(&record.path.knots, self.knot, &sent.joints);
        }
        let period = record.path.period;
        match self.newly_forbidden(scene, limits, period) {
            Some(failed) => Fate::Withdrawn(Withdrawn { sequence, failed, decided: now }),
            None => {
                self.scene = Arc::clone(scene);
                Fate::Holds
            }
        }
    }

    fn newly_forbidden(&self, scene: &Scene, limits: &LimitValues, period: Duration) -> Option<CheckResult> {
        let same_grid = scene.grid == self.scene.grid && scene.state.len() == self.scene.state.len();
        // The sample at or before the knot reached still speaks for what follows it.
        let first = self.samples.partition_point(|s| s.knot <= self.knot).saturating_sub(1);
        let remaining = &self.samples[first..];
        let slack_most_mm = remaining.iter().map(|s| s.slack_mm).fold(0.0, f64::max);
        let thick_mm = (self.shaft_radius_mm, slack_most_mm);
        // Most voxels lie outside the box of all that the shaft still sweeps.
        let reach = self.shaft_radius_mm + slack_most_mm + limits.forbidden_mm + scene.grid.spacing_mm;
        let ends = || remaining.iter().flat_map(|s| [s.posture.tip, s.posture.top]);
        let low = ends().fold(Point3::from([f64::INFINITY; 3]), |b, p| b.inf(&p));
        let high = ends().fold(Point3::from([f64::NEG_INFINITY; 3]), |b, p| b.sup(&p));
        let near = |p: &Point3<f64>| (0..3).all(|a| p[a] >= low[a] - reach && p[a] <= high[a] + reach);
        for (index, state) in scene.state.iter().enumerate() {
            if state & voxel::FORBIDDEN == 0 || (same_grid && self.scene.state[index] & voxel::FORBIDDEN != 0) {
                continue;
            }
            let centre = scene.grid.centre(scene.grid.voxel(index));
            if !near(&centre) {
                continue;
            }
            if let Some((value, knot, at)) = nearest(remaining, &centre, scene.grid.spacing_mm, thick_mm, limits) {
                let when = Duration::from_nanos(period.nanos() * knot as u64);
                return Some(judge(Check::ForbiddenClearance, value, limits.forbidden_mm, when, Some(at)));
            }
        }
        None
    }
}

/// First sample at which one voxel is too near: clearance, knot, and where on the shaft. `thick_mm` is the
/// shaft's radius and the largest slack of any sample.
fn nearest(
    samples: &[Sample],
    centre: &Point3<f64>,
    edge_mm: f64,
    thick_mm: (f64, f64),
    limits: &LimitValues,
) -> Option<(f64, usize, Point3<f64>)> {
    let (radius_mm, slack_most_mm) = thick_mm;
    let half_diagonal = 0.5 * edge_mm * 3.0_f64.sqrt();
    let reach = radius_mm + slack_most_mm + limits.forbidden_mm + half_diagonal;
    let mut i = 0;
    while i < samples.len() {
        let sample = &samples[i];
        let shaft = sample.posture.shaft();
        let distance = shaft.distance_to_point(centre);
        if distance >= reach {
            // No point of the shaft comes within reach before it has travelled so far.
            let until = sample.travel_mm + distance - reach;
            i += 1 + samples[i + 1..].partition_point(|s| s.travel_mm < until);
            continue;
        }
        let (gap, at) = to_cube(&shaft, centre, edge_mm);
        let value = gap - radius_mm - sample.slack_mm;
        if value < limits.forbidden_mm {
            return Some((value, sample.knot, at));
        }
        i += 1;
    }
    None
}

/// Distance of a segment from a cube: convex along the segment, so thirds close in on it.
fn to_cube(line: &Segment, centre: &Point3<f64>, edge_mm: f64) -> (f64, Point3<f64>) {
    let at = |s: f64| {
        let p = line.point(s);
        let gap = (p - centre).map(|d| (d.abs() - 0.5 * edge_mm).max(0.0)).norm();
        (gap, p)
    };
    let (mut low, mut high) = (0.0, line.length());
    for _ in 0..40 {
        let third = (high - low) / 3.0;
        if at(low + third).0 <= at(high - third).0 {
            high -= third;
        } else {
            low += third;
        }
    }
    at(0.5 * (low + high))
}

/// The first knot from `from` on whose piece holds `joints`; `from` when none does.
fn reached(knots: &[Joints], from: usize, joints: &Joints) -> usize {
    /// What interpolation rounds.
    const ROUNDING_RAD: f64 = 1e-7;
    let on = |knot: &usize| {
        let (a, b) = (&knots[*knot], knots.get(knot + 1).unwrap_or(&knots[*knot]));
        let (mut along, mut long) = (0.0, 0.0);
        for ((p, q), r) in a.as_slice().iter().zip(b.as_slice()).zip(joints.as_slice()) {
            along += (q - p) * (r - p);
            long += (q - p) * (q - p);
        }
        let share = if long > 0.0 { (along / long).clamp(0.0, 1.0) } else { 0.0 };
        a.towards(b, share).distance(joints) <= ROUNDING_RAD
    };
    (from..knots.len()).find(on).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cube_beside_a_line_is_as_far_as_it_looks() {
        let line = Segment::new(Point3::new(-10.0, 0.0, 0.0), Point3::new(10.0, 0.0, 0.0));
        let (gap, at) = to_cube(&line, &Point3::new(3.0, 4.0, 0.0), 2.0);
        assert!((gap - 3.0).abs() < 1e-9 && (2.0..=4.0).contains(&at.x));
        assert!(to_cube(&line, &Point3::new(0.0, 0.5, 0.0), 2.0).0 < 1e-9);
    }

    #[test]
    fn the_point_reached_is_found_going_forward_only() {
        let knots: Vec<Joints> =
            [0.0, 1.0, 2.0, 1.0, 0.0].iter().map(|q| Joints::from_slice(&[*q; 6]).expect("six")).collect();
        let at = Joints::from_slice(&[1.5; 6]).expect("six");
        assert_eq!(reached(&knots, 0, &at), 1);
        assert_eq!(reached(&knots, 2, &at), 2);
        assert_eq!(reached(&knots, 3, &Joints::from_slice(&[1.7; 6]).expect("six")), 3);
    }
}
