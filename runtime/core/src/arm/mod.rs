//! The arm: a description of 6 or 7 joints, its kinematics and its limits.
//!
//! Two arms are described: KUKA LBR Med 7 R800 and Universal Robots UR5e. **Units:** millimetres,
//! radians, seconds. **Frames:** [`crate::frame::ArmBase`], [`crate::frame::Flange`].
//! **Not protected against:** an arm whose absolute error is larger than its data sheet says.

mod kinematics;
mod models;

pub use kinematics::{Ik, IkFailure};
pub use models::{ArmModel, ArmModelId, JointLimit};

/// Most joints of any arm described here.
pub const JOINTS_MAX: usize = 7;

/// A value for each joint: positions in rad, or speeds in rad/s.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Joints {
    values: [f64; JOINTS_MAX],
    count: u8,
}

impl Joints {
    /// All zero.
    ///
    /// # Panics
    /// With more than [`JOINTS_MAX`].
    #[must_use]
    pub fn zeros(count: usize) -> Self {
        assert!(count <= JOINTS_MAX, "{count} joints are more than {JOINTS_MAX}");
        Self { values: [0.0; JOINTS_MAX], count: count as u8 }
    }

    /// From a slice; `None` when it is too long or holds a value that is not finite.
    #[must_use]
    pub fn from_slice(values: &[f64]) -> Option<Self> {
        if values.len() > JOINTS_MAX || values.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let mut joints = Self::zeros(values.len());
        joints.values[..values.len()].copy_from_slice(values);
        Some(joints)
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count as usize
    }

    /// One value a joint, from the base.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.values[..self.count()]
    }

    /// One value a joint, from the base.
    pub fn as_mut_slice(&mut self) -> &mut [f64] {
        let count = self.count();
        &mut self.values[..count]
    }

    /// `self + (other − self) · share`.
    #[must_use]
    pub fn towards(&self, other: &Self, share: f64) -> Self {
        let mut joints = *self;
        for (value, to) in joints.values.iter_mut().zip(&other.values) {
            *value += (to - *value) * share;
        }
        joints
    }

    /// Largest difference of any joint; infinite where the numbers of joints differ or a value is NaN.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f64 {
        if self.count != other.count {
            return f64::INFINITY;
        }
        self.as_slice().iter().zip(other.as_slice()).fold(0.0, |worst: f64, (a, b)| {
            let apart = (a - b).abs();
            if apart.is_nan() { f64::INFINITY } else { worst.max(apart) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joint_that_is_not_a_number_is_infinitely_far() {
        let mut broken = Joints::zeros(7);
        broken.as_mut_slice()[3] = f64::NAN;
        assert_eq!(broken.distance(&Joints::zeros(7)), f64::INFINITY);
        assert_eq!(Joints::zeros(6).distance(&Joints::zeros(7)), f64::INFINITY);
        assert_eq!(ArmModel::new(ArmModelId::LbrMed7).room(&broken), f64::NEG_INFINITY);
        assert_eq!(Joints::from_slice(&[f64::NAN]), None);
    }
}
