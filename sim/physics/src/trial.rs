//! One course, tried: inverse kinematics, then every check along the joint path as it would be played.
//!
//! **Units:** as in `Check::words`. **Allocation:** the path and its samples.

use crate::limits::LimitValues;
use crate::obstacles::Obstacles;
use crate::posture::Mounted;
use crate::profile::TipCourse;
use crate::sweep::{Clearances, Sample, Sweep, Worst, samples};
use crate::words::asks_for_more;
use crate::world::{Touched, World};
use bregma_core::arm::{Ik, Joints};
use bregma_core::flow::{Check, CheckResult, JointPath};
use bregma_core::frame::Point;
use bregma_core::time::Duration;
use nalgebra::Point3;

/// Rounding of speeds taken from differences of positions: a thousandth of the limit.
const SPEED_ROUNDING: f64 = 1e-3;

/// What trying found.
#[derive(Debug)]
pub(crate) struct Tried {
    pub path: Option<JointPath>,
    pub samples: Vec<Sample>,
    pub checks: Vec<CheckResult>,
}

impl Tried {
    /// Of a course that there is not.
    pub(crate) const fn nothing() -> Self {
        Self { path: None, samples: Vec::new(), checks: Vec::new() }
    }

    pub(crate) fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// How many checks it failed; a course that could not be solved failed at least one.
    pub(crate) fn failed(&self) -> usize {
        self.checks.iter().filter(|c| !c.passed).count().max(usize::from(self.path.is_none()))
    }
}

/// A result that passes by its check's own sense; NaN never does.
pub(crate) fn judge(check: Check, value: f64, limit: f64, when: Duration, at: Option<Point3<f64>>) -> CheckResult {
    let passed = if asks_for_more(check) { value >= limit } else { value <= limit };
    CheckResult { check, value, limit, passed, when, at: at.and_then(|p| Point::from_coordinates(p).ok()) }
}

/// Everything that a trial needs.
pub(crate) struct Room<'a> {
    pub mounted: &'a Mounted,
    pub obstacles: &'a Obstacles,
    pub limits: &'a LimitValues,
    pub sweep: &'a mut Sweep,
    pub world: &'a mut World,
}

impl Room<'_> {
    /// Tries a course from `start`. The second look is taken only at what passed the first.
    pub(crate) fn try_course(&mut self, start: &Joints, course: TipCourse) -> Tried {
        self.sweep.forget_removed();
        let mut tried = self.first_look_after(start, course);
        if tried.passed()
            && let Some(path) = &tried.path
            && let Some((what, at_time, at)) = self.world.play(path).touched
        {
            let check = if what == Touched::Skull { Check::RimClearance } else { Check::ForbiddenClearance };
            if let Some(result) = tried.checks.iter_mut().find(|c| c.check == check) {
                *result = CheckResult { passed: false, ..judge(check, 0.0, result.limit, at_time, Some(at)) };
            }
        }
        tried
    }

    /// Inverse kinematics and every clearance, without the physics engine; what the course before removed is gone.
    pub(crate) fn first_look_after(&mut self, start: &Joints, course: TipCourse) -> Tried {
        let period = crate::profile::PERIOD;
        let when = |knot: usize| Duration::from_nanos(period.nanos() * knot as u64);
        let wanted: Vec<Point3<f64>> = course.poses.iter().map(|p| p.translation.vector.into()).collect();
        let path = match self.mounted.solve(start, course) {
            Ok(path) => path,
            Err(lost) => {
                let mut result =
                    judge(Check::Reachable, lost.residual_mm, Ik::FOLLOW.position_mm, when(lost.knot), Some(lost.at));
                result.passed = false;
                return Tried { path: None, samples: Vec::new(), checks: vec![result] };
            }
        };
        let (samples, tips) = samples(self.mounted, &path, self.limits);
        let mut checks = self.kinematics(&path, &tips, &wanted);
        let found = self.sweep.measure(self.mounted, self.obstacles, &samples, &tips, self.limits);
        let Clearances { own, rim, forbidden, indentation } = found;
        for (check, worst, limit) in [
            (Check::SelfCollision, own, self.limits.self_mm),
            (Check::RimClearance, rim, self.limits.rim_mm),
            (Check::ForbiddenClearance, forbidden, self.limits.forbidden_mm),
            (Check::Indentation, indentation, self.limits.indentation_mm),
        ] {
            checks.push(judge(check, worst.value, limit, when(worst.knot), worst.at));
        }
        Tried { path: Some(path), samples, checks }
    }

    fn kinematics(&self, path: &JointPath, tips: &[Point3<f64>], wanted: &[Point3<f64>]) -> Vec<CheckResult> {
        let dt = path.period.secs_f64();
        let arm = &self.mounted.arm;
        let mut reach = Worst::new(0.0);
        let mut room = Worst::new(f64::INFINITY);
        let mut speed = Worst::new(0.0);
        let mut acceleration = Worst::new(0.0);
        let mut tip_speed = Worst::new(0.0);
        for (knot, joints) in path.knots.iter().enumerate() {
            let at = tips[knot];
            reach.most((at - wanted[knot]).norm(), knot, at);
            room.least(arm.room(joints), knot, at);
            // Rest before the first knot and after the last.
            let before = &path.knots[knot.saturating_sub(1)];
            let after = path.knots.get(knot + 1).unwrap_or(joints);
            for (j, limit) in arm.limits().iter().enumerate() {
                let (b, q, a) = (before.as_slice()[j], joints.as_slice()[j], after.as_slice()[j]);
                speed.most((a - q).abs() / dt / limit.speed_rad_s, knot, at);
                acceleration.most((a - 2.0 * q + b).abs() / (dt * dt) / limit.acceleration_rad_s2, knot, at);
            }
            if let Some(next) = tips.get(knot + 1) {
                let deep = self.obstacles.depth(&at).max(self.obstacles.depth(next)) > 0.0;
                let mut limit = if deep { self.limits.head_mm_s } else { self.limits.free_mm_s };
                if path.energy[knot] & 1 != 0 {
                    limit = limit.min(self.limits.cut_mm_s);
                }
                tip_speed.most((next - at).norm() / dt / limit, knot, at);
            }
        }
        let when = |w: &Worst| Duration::from_nanos(path.period.nanos() * w.knot as u64);
        let of = |check, w: &Worst, limit| judge(check, w.value, limit, when(w), w.at);
        vec![
            // Inverse kinematics vouches for each knot; this measures it again, with room for rounding.
            of(Check::Reachable, &reach, self.mounted.reach_limit_mm()),
            of(Check::JointPosition, &room, self.limits.joint_room_rad),
            of(Check::JointSpeed, &speed, self.limits.joint_speed_share),
            of(Check::JointAcceleration, &acceleration, self.limits.joint_acceleration_share),
            of(Check::TipSpeed, &tip_speed, 1.0 + SPEED_ROUNDING),
        ]
    }
}
