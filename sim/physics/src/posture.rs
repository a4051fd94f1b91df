//! From the tip's course to the joint path that is played, and where everything is along it.
//!
//! Inverse kinematics happens here and nowhere else, once, at every knot, each from the one before.
//! **Units:** mm, rad. **Frames:** [`Posture`] holds patient coordinates. **Allocation:** the returned
//! path and postures.

use crate::profile::{PERIOD, TipCourse};
use crate::segment::Segment;
use bregma_core::arm::{ArmModel, Ik, JOINTS_MAX, Joints};
use bregma_core::flow::{ArmMount, JointPath};
use bregma_core::frame::{Patient, Pose, Tip};
use nalgebra::{Isometry3, Point3, Vector3};

/// Weighs a radian of what inverse kinematics left like 300 mm, as it does itself.
const MM_PER_RAD: f64 = 300.0;

/// The arm and what it carries, as one body of lines: enough for every distance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posture {
    /// Origins of the base and of each joint's frame; the last is the flange.
    pub joints: [Point3<f64>; JOINTS_MAX + 1],
    /// Joints of the arm.
    pub count: usize,
    /// The tip.
    pub tip: Point3<f64>,
    /// Upper end of the shaft.
    pub top: Point3<f64>,
}

impl Posture {
    pub(crate) fn flange(&self) -> Point3<f64> {
        self.joints[self.count]
    }

    /// From the tip to the shaft's upper end.
    pub(crate) fn shaft(&self) -> Segment {
        Segment::new(self.tip, self.top)
    }

    /// From the shaft's upper end to the flange.
    pub(crate) fn handle(&self) -> Segment {
        Segment::new(self.top, self.flange())
    }

    /// Link from joint `i`'s frame to the next.
    pub(crate) fn link(&self, i: usize) -> Segment {
        Segment::new(self.joints[i], self.joints[i + 1])
    }

    /// Most that any point of instrument and arm has moved since `before`.
    pub(crate) fn moved(&self, before: &Self) -> f64 {
        let arm = self.joints.iter().zip(&before.joints).take(self.count + 1);
        let tool = [(&self.tip, &before.tip), (&self.top, &before.top)];
        arm.chain(tool).map(|(a, b)| (a - b).norm_squared()).fold(0.0, f64::max).sqrt()
    }
}

/// The arm where it is mounted, with its instrument.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    pub arm: ArmModel,
    pub mount: ArmMount,
}

/// Inverse kinematics found no joint position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unreachable {
    /// Which knot.
    pub knot: usize,
    /// Where the tip should have been.
    pub at: Point3<f64>,
    /// What was left: mm, with a radian like 300 mm.
    pub residual_mm: f64,
}

impl Mounted {
    /// Frames of the base and of each joint in patient coordinates.
    pub(crate) fn frames(&self, joints: &Joints) -> [Isometry3<f64>; JOINTS_MAX + 1] {
        let base = self.mount.patient_from_arm_base.isometry();
        self.arm.joint_frames(joints).map(|frame| base * frame)
    }

    /// Where the tip is.
    pub(crate) fn tip(&self, joints: &Joints) -> Pose<Patient, Tip> {
        self.mount.patient_from_arm_base * self.arm.forward(joints) * self.mount.flange_from_tip
    }

    pub(crate) fn posture(&self, joints: &Joints) -> Posture {
        let frames = self.frames(joints);
        let tip = frames[joints.count()] * self.mount.flange_from_tip.isometry();
        let axis = tip.rotation * Vector3::z();
        let at = Point3::from(tip.translation.vector);
        Posture {
            joints: frames.map(|frame| frame.translation.vector.into()),
            count: joints.count(),
            tip: at,
            top: at - axis * self.mount.shaft_length_mm,
        }
    }

    /// Largest distance of a solved tip from the wanted one, mm: what inverse kinematics may leave at the
    /// flange, its rotation carried to the tip, and as much again for rounding.
    pub(crate) fn reach_limit_mm(&self) -> f64 {
        let lever_mm = self.mount.flange_from_tip.isometry().translation.vector.norm();
        2.0 * (Ik::FOLLOW.position_mm + Ik::FOLLOW.rotation_rad * lever_mm)
    }

    /// The joint path along a course that begins where `start` is.
    ///
    /// # Errors
    /// [`Unreachable`] at the first knot that inverse kinematics does not reach.
    pub(crate) fn solve(&self, start: &Joints, course: TipCourse) -> Result<JointPath, Unreachable> {
        let base_from_patient = self.mount.patient_from_arm_base.inverse();
        let tip_from_flange = self.mount.flange_from_tip.inverse();
        let patient = self.mount.patient_from_arm_base.to;
        let mut knots = Vec::with_capacity(course.poses.len());
        knots.push(*start);
        let mut joints = *start;
        for (knot, pose) in course.poses.iter().enumerate().skip(1) {
            if *pose != course.poses[knot - 1] {
                let at = Point3::from(pose.translation.vector);
                let lost = |residual_mm| Unreachable { knot, at, residual_mm };
                let patient_from_tip = Pose::<Patient, Tip>::between(patient, self.mount.flange_from_tip.from, *pose)
                    .map_err(|_| lost(f64::INFINITY))?;
                let target = base_from_patient * patient_from_tip * tip_from_flange;
                joints = self
                    .arm
                    .inverse(&target, &joints, &Ik::FOLLOW)
                    .map_err(|e| lost(e.position_mm + MM_PER_RAD * e.rotation_rad))?;
            }
            knots.push(joints);
        }
        Ok(JointPath { period: PERIOD, knots, energy: course.energy })
    }
}
