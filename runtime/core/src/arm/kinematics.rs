//! Forward and inverse kinematics.
//!
//! Inverse: damped least squares with a step limit (Buss, *Introduction to inverse kinematics*, 2004), with
//! a pull towards the middle of each joint's range in the null space where there is one. Sine and cosine
//! from `libm`, so that replay gives the same bytes on every machine. **Allocation:** none.

use super::{ArmModel, JOINTS_MAX, Joints};
use crate::frame::{ArmBase, Flange, FrameId, Pose};
use nalgebra::{Isometry3, Matrix3, Rotation3, SMatrix, SVector, Translation3, UnitQuaternion, Vector3};

type Jacobian = SMatrix<f64, 6, JOINTS_MAX>;

/// Weighs a radian like 300 mm, about the distance from the wrist to the tip.
const MM_PER_RAD: f64 = 300.0;

/// How inverse kinematics searches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ik {
    /// Accepted position residual, mm.
    pub position_mm: f64,
    /// Accepted rotation residual, rad.
    pub rotation_rad: f64,
    /// Most iterations.
    pub iterations: usize,
    /// How strongly it pulls to the middle of the joints' ranges, per iteration; 0 for none.
    pub centring: f64,
    /// Distance that joints keep from the ends of their ranges, rad; one that starts nearer goes no nearer.
    pub margin_rad: f64,
}

impl Ik {
    /// From far away: up to 200 iterations.
    pub const SEARCH: Self =
        Self { position_mm: 1e-4, rotation_rad: 1e-6, iterations: 200, centring: 0.02, margin_rad: 0.0 };
    /// From the sample before: a few iterations, without centring, so that the path is smooth.
    pub const FOLLOW: Self =
        Self { position_mm: 1e-4, rotation_rad: 1e-6, iterations: 20, centring: 0.0, margin_rad: 0.03 };
}

/// No joint position reaches the pose.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "inverse kinematics stopped {position_mm:.3} mm and {rotation_rad:.5} rad from the pose after {iterations} iterations"
)]
pub struct IkFailure {
    /// What was left, mm.
    pub position_mm: f64,
    /// What was left, rad.
    pub rotation_rad: f64,
    /// Iterations taken.
    pub iterations: usize,
}

impl ArmModel {
    /// The base's frame and each joint's, in the base's coordinates: `[0]` is the base, `[count]` the
    /// flange.
    #[must_use]
    pub fn joint_frames(&self, joints: &Joints) -> [Isometry3<f64>; JOINTS_MAX + 1] {
        let mut frames = [Isometry3::identity(); JOINTS_MAX + 1];
        let (mut rotation, mut origin) = (Matrix3::identity(), Vector3::zeros());
        for (i, &q) in joints.as_slice().iter().enumerate() {
            let dh = &self.dh[i];
            let (c, s) = (libm::cos(q), libm::sin(q));
            let (ca, sa) = dh.alpha;
            origin += rotation * Vector3::new(dh.a.get() * c, dh.a.get() * s, dh.d.get());
            rotation *= Matrix3::new(c, -s * ca, s * sa, s, c * ca, -c * sa, 0.0, sa, ca);
            let turned = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation));
            frames[i + 1] = Isometry3::from_parts(Translation3::from(origin), turned);
        }
        frames
    }

    /// Where the flange is.
    #[must_use]
    pub fn forward(&self, joints: &Joints) -> Pose<ArmBase, Flange> {
        let flange = self.joint_frames(joints)[joints.count()];
        match Pose::between(FrameId::SOLE, FrameId::SOLE, flange) {
            Ok(pose) => pose,
            Err(why) => panic!("finite joints give a finite pose: {why}"),
        }
    }

    /// Position of the flange, mm, its rotation, and the geometric Jacobian: rows 0 to 2 mm/rad, rows 3 to
    /// 5 rad/rad; unused columns are zero.
    fn forward_and_jacobian(&self, joints: &Joints) -> (Vector3<f64>, Matrix3<f64>, Jacobian) {
        let n = joints.count();
        let mut axes = [Vector3::z(); JOINTS_MAX];
        let mut origins = [Vector3::zeros(); JOINTS_MAX];
        let (mut rotation, mut origin) = (Matrix3::identity(), Vector3::zeros());
        for (i, &q) in joints.as_slice().iter().enumerate() {
            axes[i] = rotation.column(2).into();
            origins[i] = origin;
            let dh = &self.dh[i];
            let (c, s) = (libm::cos(q), libm::sin(q));
            let (ca, sa) = dh.alpha;
            origin += rotation * Vector3::new(dh.a.get() * c, dh.a.get() * s, dh.d.get());
            rotation *= Matrix3::new(c, -s * ca, s * sa, s, c * ca, -c * sa, 0.0, sa, ca);
        }
        let mut jacobian = Jacobian::zeros();
        for i in 0..n {
            let lever = axes[i].cross(&(origin - origins[i]));
            jacobian.fixed_view_mut::<3, 1>(0, i).copy_from(&lever);
            jacobian.fixed_view_mut::<3, 1>(3, i).copy_from(&axes[i]);
        }
        (origin, rotation, jacobian)
    }

    /// How far the arm is from a singular posture: the smallest singular value of the flange's Jacobian, mm/rad, a radian of
    /// the flange's turn weighed like 300 mm. So far the flange moves at least for a radian of the joints together, whatever
    /// its direction; 0 where it cannot move in some direction at all.
    ///
    /// Source: C. A. Klein and B. E. Blaho, *Dexterity measures for the design and control of kinematically redundant
    /// manipulators*, 1987. By Jacobi's rotations of J·Jᵀ: sums, products and square roots only.
    #[must_use]
    pub fn dexterity_mm(&self, joints: &Joints) -> f64 {
        let (_, _, mut jacobian) = self.forward_and_jacobian(joints);
        jacobian.fixed_rows_mut::<3>(3).scale_mut(MM_PER_RAD);
        let mut square = jacobian * jacobian.transpose();
        // Six sweeps leave less than rounding off the diagonal of any matrix of this size.
        for _ in 0..6 {
            for p in 0..5 {
                for q in p + 1..6 {
                    rotate(&mut square, p, q);
                }
            }
        }
        let least = (0..6).map(|i| square[(i, i)]).fold(f64::INFINITY, f64::min);
        if joints.as_slice().iter().all(|q| q.is_finite()) { least.max(0.0).sqrt() } else { 0.0 }
    }

    /// Joint positions nearer to `rest` with the flange almost where it was: a share `by` of the way there, as
    /// far as it lies in the null space. Without a redundant joint, the same joints.
    #[must_use]
    pub fn relaxed(&self, joints: &Joints, rest: &Joints, by: f64) -> Joints {
        let mut relaxed = *joints;
        if self.count() <= 6 {
            return relaxed;
        }
        let (_, _, jacobian) = self.forward_and_jacobian(joints);
        let mut pull = SVector::<f64, JOINTS_MAX>::zeros();
        for (p, (to, from)) in pull.iter_mut().zip(rest.as_slice().iter().zip(joints.as_slice())) {
            *p = by * (to - from);
        }
        // Rows of millimetres and of radians, the latter weighed like 300 mm; damped near singularities.
        let mut scaled = jacobian;
        scaled.fixed_rows_mut::<3>(3).scale_mut(MM_PER_RAD);
        let square = scaled * scaled.transpose() + SMatrix::<f64, 6, 6>::identity();
        if let Some(factor) = square.cholesky() {
            pull -= scaled.transpose() * factor.solve(&(scaled * pull));
            for (q, p) in relaxed.as_mut_slice().iter_mut().zip(pull.iter()) {
                *q += p;
            }
        }
        relaxed
    }

    /// Joint positions that bring the flange to `target`, near `seed` and within the position limits.
    ///
    /// # Errors
    /// [`IkFailure`] when it gets no closer.
    pub fn inverse(&self, target: &Pose<ArmBase, Flange>, seed: &Joints, how: &Ik) -> Result<Joints, IkFailure> {
        /// Damping, mm/rad: small beside a link, so that it matters only close to singularities.
        const DAMPING: f64 = 1.0;
        /// Longest step of a joint, rad.
        const STEP_MAX: f64 = 0.3;
        /// Distance from the goal, mm, below which the pull to the middle fades.
        const FADE_MM: f64 = 20.0;
        /// More damping where the last step made it worse.
        const CAUTION: f64 = 10.0;

        let wanted = target.isometry();
        let wanted_rotation = wanted.rotation.to_rotation_matrix();
        let mut joints = *seed;
        let (mut position_mm, mut rotation_rad) = (f64::INFINITY, f64::INFINITY);
        let mut last = f64::INFINITY;
        let mut damping = DAMPING;
        // A joint that was pushed against its bound stands still for an iteration, and the others do its share.
        let mut held = [false; JOINTS_MAX];
        for iteration in 0..how.iterations {
            let (origin, rotation, jacobian) = self.forward_and_jacobian(&joints);
            let off = wanted.translation.vector - origin;
            // Rotation vector of wanted · actualᵀ: exact in the limit of small angles, a descent direction
            // everywhere but at 180°.
            let between = Rotation3::from_matrix_unchecked(wanted_rotation.matrix() * rotation.transpose());
            let turn = UnitQuaternion::from_rotation_matrix(&between).scaled_axis();
            (position_mm, rotation_rad) = (off.norm(), turn.norm());
            if position_mm <= how.position_mm && rotation_rad <= how.rotation_rad && self.room(&joints) >= 0.0 {
                return Ok(joints);
            }
            if iteration + 1 == how.iterations {
                break;
            }
            let cost = position_mm.hypot(rotation_rad * MM_PER_RAD);
            damping = if cost > last { (damping * CAUTION).min(100.0) } else { (damping / 2.0).max(DAMPING) };
            last = cost;

            let mut scaled = jacobian;
            for (i, _) in held.iter().enumerate().filter(|(_, held)| **held) {
                scaled.column_mut(i).fill(0.0);
            }
            scaled.fixed_rows_mut::<3>(3).scale_mut(MM_PER_RAD);
            let error =
                SVector::<f64, 6>::from_iterator(off.iter().copied().chain(turn.iter().map(|v| v * MM_PER_RAD)));
            let square = scaled * scaled.transpose() + SMatrix::<f64, 6, 6>::identity() * (damping * damping);
            let Some(factor) = square.cholesky() else { break };
            let mut step: SVector<f64, JOINTS_MAX> = scaled.transpose() * factor.solve(&error);
            if how.centring > 0.0 && self.count() > 6 {
                // A null-space step is exact to first order only: near the goal it must fade, or it keeps
                // the search from ending.
                let fade = (cost / FADE_MM).min(1.0);
                let mut pull = SVector::<f64, JOINTS_MAX>::zeros();
                for (i, limit) in self.limits().iter().enumerate() {
                    pull[i] = fade * how.centring * (0.5 * (limit.low.get() + limit.high.get()) - joints.as_slice()[i]);
                }
                step += pull - scaled.transpose() * factor.solve(&(scaled * pull));
            }
            let longest = step.amax();
            if longest > STEP_MAX {
                step *= STEP_MAX / longest;
            }
            for (i, limit) in self.limits().iter().enumerate() {
                let (from, q) = (seed.as_slice()[i], joints.as_slice()[i] + step[i]);
                let low = (limit.low.get() + how.margin_rad).min(from.max(limit.low.get()));
                let high = (limit.high.get() - how.margin_rad).max(from.min(limit.high.get()));
                held[i] = !held[i] && (q < low || q > high);
                joints.as_mut_slice()[i] = q.clamp(low, high);
            }
        }
        Err(IkFailure { position_mm, rotation_rad, iterations: how.iterations })
    }
}

/// One of Jacobi's rotations: brings element `(p, q)` of a symmetric matrix to zero (Golub and Van Loan, *Matrix
/// Computations*, 8.5.2).
fn rotate(a: &mut SMatrix<f64, 6, 6>, p: usize, q: usize) {
    let off = a[(p, q)];
    if off == 0.0 {
        return;
    }
    let tau = (a[(q, q)] - a[(p, p)]) / (2.0 * off);
    let t = if tau >= 0.0 { 1.0 } else { -1.0 } / (tau.abs() + (1.0 + tau * tau).sqrt());
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    for k in 0..6 {
        let (kp, kq) = (a[(k, p)], a[(k, q)]);
        (a[(k, p)], a[(k, q)]) = (c * kp - s * kq, s * kp + c * kq);
    }
    for k in 0..6 {
        let (pk, qk) = (a[(p, k)], a[(q, k)]);
        (a[(p, k)], a[(q, k)]) = (c * pk - s * qk, s * pk + c * qk);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ArmModelId;
    use super::*;
    use proptest::prelude::*;

    fn arms() -> impl Strategy<Value = ArmModel> {
        prop::sample::select(ArmModelId::ALL.to_vec()).prop_map(ArmModel::new)
    }

    /// An arm and a posture near its rest, where it works.
    fn arm_and_joints(share: f64) -> impl Strategy<Value = (ArmModel, Joints)> {
        (arms(), prop::array::uniform7(-share..share)).prop_map(|(arm, off)| {
            let mut joints = arm.rest();
            for (q, d) in joints.as_mut_slice().iter_mut().zip(off) {
                *q += d;
            }
            (arm, joints)
        })
    }

    #[test]
    fn relaxing_moves_the_elbow_and_not_the_flange() {
        let arm = ArmModel::new(ArmModelId::LbrMed7);
        let mut joints = arm.rest();
        joints.as_mut_slice()[2] += 0.4;
        let before = arm.forward(&joints).translation_mm();
        let relaxed = arm.relaxed(&joints, &arm.rest(), 0.01);
        let after = arm.forward(&relaxed).translation_mm();
        let moved: f64 = before.iter().zip(after).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!(relaxed.distance(&arm.rest()) < joints.distance(&arm.rest()));
        assert!(relaxed.distance(&joints) > 1e-4 && moved < 0.02, "{moved} mm");
        let ur = ArmModel::new(ArmModelId::Ur5e);
        let six = Joints::zeros(6);
        assert_eq!(ur.relaxed(&six, &ur.rest(), 0.5), six);
    }

    #[test]
    fn a_joint_at_its_bound_leaves_the_work_to_the_others() {
        let arm = ArmModel::new(ArmModelId::LbrMed7);
        let mut seed = arm.rest();
        let bound = arm.limits()[2].high.get();
        seed.as_mut_slice()[2] = bound - 0.03;
        let mut pose = *arm.forward(&seed).isometry();
        for _ in 0..40 {
            pose.translation.vector += Vector3::new(0.4, 0.4, -0.2);
            let target = Pose::between(FrameId::SOLE, FrameId::SOLE, pose).expect("finite");
            seed = arm.inverse(&target, &seed, &Ik::FOLLOW).expect("six joints are left");
            assert!(seed.as_slice()[2] <= bound - 0.03 + 1e-12);
        }
    }

    #[test]
    fn a_stretched_arm_is_singular_and_one_at_rest_is_not() {
        for id in ArmModelId::ALL {
            let arm = ArmModel::new(id);
            let at_rest = arm.dexterity_mm(&arm.rest());
            assert!(at_rest > 60.0, "{id:?}: {at_rest}");
            let mut straight = arm.rest();
            let elbow = if id == ArmModelId::LbrMed7 { 3 } else { 2 };
            straight.as_mut_slice()[elbow] = 0.0;
            assert!(arm.dexterity_mm(&straight) < 1e-3, "{id:?}: {}", arm.dexterity_mm(&straight));
            straight.as_mut_slice()[elbow] = 0.05;
            assert!(arm.dexterity_mm(&straight) < 0.3 * at_rest, "{id:?}: {}", arm.dexterity_mm(&straight));
        }
    }

    proptest! {
        #[test]
        fn dexterity_is_the_smallest_singular_value((arm, joints) in arm_and_joints(1.0)) {
            let (_, _, mut jacobian) = arm.forward_and_jacobian(&joints);
            jacobian.fixed_rows_mut::<3>(3).scale_mut(MM_PER_RAD);
            let least = jacobian.svd(false, false).singular_values.min();
            prop_assert!((arm.dexterity_mm(&joints) - least).abs() < 1e-3, "{} {least}", arm.dexterity_mm(&joints));
        }
    }

    #[test]
    fn known_postures_of_the_data_sheets() {
        // LBR Med 7 straight up: 340 + 400 + 400 + 126 mm above its base.
        let lbr = ArmModel::new(ArmModelId::LbrMed7);
        let up = lbr.forward(&Joints::zeros(7)).translation_mm();
        assert!((up[2] - 1266.0).abs() < 1e-9 && up[0].abs() < 1e-9 && up[1].abs() < 1e-9, "{up:?}");
        // UR5e, all joints zero: stretched along -x; x = -(425 + 392.2), y = -(133.3 + 99.6), z = 162.5 - 99.7.
        let ur = ArmModel::new(ArmModelId::Ur5e);
        let zero = ur.forward(&Joints::zeros(6)).translation_mm();
        let expected = [-817.2, -232.9, 62.8];
        assert!(zero.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{zero:?}");
    }

    proptest! {
        #[test]
        fn inverse_undoes_forward((arm, joints) in arm_and_joints(0.4)) {
            let pose = arm.forward(&joints);
            let found = arm.inverse(&pose, &arm.rest(), &Ik::SEARCH).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let back = arm.forward(&found);
            prop_assert!(back.position().distance(&pose.position()).get() < 1e-3);
            prop_assert!(back.isometry().rotation.angle_to(&pose.isometry().rotation) < 1e-4);
            prop_assert!(arm.room(&found) >= 0.0);
        }

        #[test]
        fn a_small_step_is_followed_by_a_small_step((arm, joints) in arm_and_joints(0.3)) {
            let pose = arm.forward(&joints);
            let moved = Isometry3::from_parts(Translation3::from(pose.isometry().translation.vector + Vector3::new(0.01, -0.01, 0.005)), pose.isometry().rotation);
            let moved = Pose::new(moved).expect("finite");
            let found = arm.inverse(&moved, &joints, &Ik::FOLLOW).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert!(found.distance(&joints) < 0.01, "{}", found.distance(&joints));
        }

        #[test]
        fn the_jacobian_is_the_derivative((arm, joints) in arm_and_joints(1.0), joint in 0..6_usize) {
            const H: f64 = 1e-6;
            let (at, _, jacobian) = arm.forward_and_jacobian(&joints);
            let mut moved = joints;
            moved.as_mut_slice()[joint] += H;
            let (there, _, _) = arm.forward_and_jacobian(&moved);
            let slope = (there - at) / H;
            prop_assert!((slope - jacobian.fixed_view::<3, 1>(0, joint)).norm() < 1e-2);
        }
    }

    #[test]
    fn a_pose_out_of_reach_is_refused_with_what_was_left() {
        let arm = ArmModel::new(ArmModelId::LbrMed7);
        let far = Pose::new(Isometry3::translation(3000.0, 0.0, 0.0)).expect("finite");
        let failure = arm.inverse(&far, &arm.rest(), &Ik::SEARCH).expect_err("out of reach");
        assert!(failure.position_mm > 1000.0, "{failure}");
    }
}
