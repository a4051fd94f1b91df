//! One course, tried: inverse kinematics, then every check along the joint path as it would be played.
//!
//! **Units:** as in `Check::words`. **Allocation:** the path and its samples.

use crate::cut::Cut;
use crate::limits::LimitValues;
use crate::obstacles::Obstacles;
use crate::posture::Mounted;
use crate::profile::TipCourse;
use crate::sweep::{Clearances, Sample, Sweep, Worst, samples};
use crate::way_out::{self, Shut};
use crate::words::asks_for_more;
use crate::world::{Touched, World};
use bregma_core::arm::{Ik, Joints};
use bregma_core::flow::{Check, CheckResult, JointPath};
use bregma_core::frame::Point;
use bregma_core::time::Duration;
use nalgebra::Point3;

/// Rounding of speeds taken from differences of positions: a thousandth of the limit.
const SPEED_ROUNDING: f64 = 1e-3;
/// Jerk is taken over so many knots, 20 ms, three times: from one knot to the next what inverse kinematics may leave, 1e-6 rad,
/// would be 125 rad/s³ by itself; over five it is 1.
const JERK_KNOTS: usize = 5;
/// Dexterity is looked at after so much travel: it changes by a hundredth or so over that.
const DEXTERITY_EVERY_MM: f64 = 2.0;
/// Poisson's ratio of tissue that keeps its volume.
const POISSON: f64 = 0.5;
/// So many radii under a punch its displacement has fallen to a tenth: the depth that takes up the indentation.
const DEPTH_RADII: f64 = 8.0;

/// Force of a flat round punch of radius `a` pressed `δ` into an elastic half-space, mN: 2·E/(1 − ν²)·a·δ, of kPa and mm (I. N.
/// Sneddon, *The relation between load and penetration in the axisymmetric Boussinesq problem*, 1965). A shaft's side presses
/// less on each place: its contact is wider.
fn force_mn(indentation_mm: f64, radius_mm: f64, stiffness_kpa: f64) -> f64 {
    2.0 * stiffness_kpa / (1.0 - POISSON * POISSON) * radius_mm * indentation_mm
}

/// The mean strain under the same punch.
fn strain(indentation_mm: f64, radius_mm: f64) -> f64 {
    indentation_mm / (DEPTH_RADII * radius_mm)
}

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
    pub cut: &'a mut Cut,
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
        let (seen, roof) = self.cut.measure(self.obstacles, &tips, &path.energy, self.limits);
        let dexterity = self.dexterity(&path, &samples);
        let radius_mm = self.mounted.mount.shaft_radius_mm;
        let of_indentation = |value: f64| Worst { value, ..indentation };
        let force = of_indentation(force_mn(indentation.value, radius_mm, self.limits.stiffness_kpa));
        let strain = of_indentation(strain(indentation.value, radius_mm));
        for (check, worst, limit) in [
            (Check::Singularity, dexterity, self.limits.dexterity_mm),
            (Check::SelfCollision, own, self.limits.self_mm),
            (Check::RimClearance, rim, self.limits.rim_mm),
            (Check::ForbiddenClearance, forbidden, self.limits.forbidden_mm),
            (Check::Indentation, indentation, self.limits.indentation_mm),
            (Check::TissueForce, force, self.limits.force_mn),
            (Check::TissueStrain, strain, self.limits.strain_share),
            (Check::CutSeen, seen, self.limits.seen_s),
            (Check::Roof, roof, self.limits.roof_mm),
        ] {
            checks.push(judge(check, worst.value, limit, when(worst.knot), worst.at));
        }
        Tried { path: Some(path), samples, checks }
    }

    /// The first point of a path from which no way leads out.
    pub(crate) fn shut(&self, path: &JointPath, samples: &[Sample]) -> Option<Shut> {
        way_out::shut(self.mounted, self.obstacles, self.limits, path, samples)
    }

    fn dexterity(&self, path: &JointPath, samples: &[Sample]) -> Worst {
        let mut worst = Worst::new(f64::INFINITY);
        let mut due_mm = 0.0;
        for (n, sample) in samples.iter().enumerate() {
            if sample.travel_mm >= due_mm || n + 1 == samples.len() {
                due_mm = sample.travel_mm + DEXTERITY_EVERY_MM;
                let value = self.mounted.arm.dexterity_mm(&path.knots[sample.knot]);
                worst.least(value, sample.knot, sample.posture.tip);
            }
        }
        worst
    }

    /// Largest share of a joint's jerk limit.
    fn jerk(&self, path: &JointPath, tips: &[Point3<f64>]) -> Worst {
        let mut worst = Worst::new(0.0);
        let over_s = path.period.secs_f64() * JERK_KNOTS as f64;
        let last = path.knots.len() - 1;
        // Rest before the first knot and after the last.
        for end in 1..=last + 3 * JERK_KNOTS {
            let knot = |back: usize| end.saturating_sub(back * JERK_KNOTS).min(last);
            let [a, b, c, d] = [3, 2, 1, 0].map(|back| path.knots[knot(back)].as_slice());
            for (j, limit) in self.mounted.arm.limits().iter().enumerate() {
                let third = d[j] - 3.0 * c[j] + 3.0 * b[j] - a[j];
                worst.most(third.abs() / over_s.powi(3) / limit.jerk_rad_s3, knot(2), tips[knot(2)]);
            }
        }
        worst
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
            of(Check::JointJerk, &self.jerk(path, tips), self.limits.joint_jerk_share),
            of(Check::TipSpeed, &tip_speed, 1.0 + SPEED_ROUNDING),
        ]
    }
}
