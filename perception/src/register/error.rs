//! How wrong a rigid transform may be, and what that means at a target.
//!
//! To first order a transform that is off by a small turn `w` about a centre `c` and a small shift `s` moves a point `p`
//! by `w × (p - c) + s`. The covariance of `(w, s)` is therefore all there is to know, and the target registration error
//! at `p` is `J C Jᵀ` with `J = [-[p - c]×, 1]` (Danilchenko and Fitzpatrick, "General approach to first-order error
//! prediction in rigid point registration", IEEE TMI 30, 2011). For equal and isotropic errors it is the
//! formula of Fitzpatrick, West and Maurer (IEEE TMI 17, 1998).
//! **Not protected against:** turns so large that their sine is not their size: beyond some degrees.

use nalgebra::{Matrix3, Matrix6, Point3, SMatrix, Vector3};

/// `[v]×`, so that `cross(v) * u = v × u`.
pub(super) fn cross(v: &Vector3<f64>) -> Matrix3<f64> {
    v.cross_matrix()
}

/// How a point at `arm` from the centre moves with a small turn and shift: `[-[arm]×, 1]`.
pub(super) fn lever(arm: &Vector3<f64>) -> SMatrix<f64, 3, 6> {
    let mut lever = SMatrix::<f64, 3, 6>::zeros();
    lever.fixed_view_mut::<3, 3>(0, 0).copy_from(&-cross(arm));
    lever.fixed_view_mut::<3, 3>(0, 3).copy_from(&Matrix3::identity());
    lever
}

/// The error of a rigid transform: covariance of a small turn about a centre and of a small shift, in the coordinates
/// that the transform leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RigidError {
    /// What it turns about.
    pub centre: Point3<f64>,
    /// Of `(turn, shift)`: rad², rad mm, mm².
    pub covariance: Matrix6<f64>,
}

/// A direction that is held less than this share of the best held one counts as held by that share.
const HELD_LEAST: f64 = 1e-12;
/// Where nothing is held at all, so that no variance becomes infinite.
const INFORMATION_LEAST: f64 = 1e-30;

impl RigidError {
    /// By the information on `(turn, shift)`, the inverse of its covariance. What nothing holds becomes uncertain beyond any
    /// limit, and not, by rounding, certain.
    #[must_use]
    pub fn of_information(centre: Point3<f64>, information: &Matrix6<f64>) -> Self {
        let held = information.symmetric_eigen();
        let least = (held.eigenvalues.max() * HELD_LEAST).max(INFORMATION_LEAST);
        let variances = held.eigenvalues.map(|value| value.max(least).recip());
        let covariance = held.eigenvectors * Matrix6::from_diagonal(&variances) * held.eigenvectors.transpose();
        Self { centre, covariance }
    }

    /// Covariance of the target registration error at a point, mm².
    #[must_use]
    pub fn at(&self, target: &Point3<f64>) -> Matrix3<f64> {
        let lever = lever(&(target - self.centre));
        lever * self.covariance * lever.transpose()
    }

    /// Root mean square of the target registration error at a point, mm: of its length, not of each axis.
    #[must_use]
    pub fn rms_mm(&self, target: &Point3<f64>) -> f64 {
        self.at(target).trace().max(0.0).sqrt()
    }

    /// Standard deviation of the turn about its least certain axis, rad, and that axis.
    #[must_use]
    pub fn least_certain_turn(&self) -> (f64, Vector3<f64>) {
        let turns = self.covariance.fixed_view::<3, 3>(0, 0).into_owned().symmetric_eigen();
        let worst = turns.eigenvalues.imax();
        let variance = turns.eigenvalues[worst];
        // Of what is no number nothing is certain.
        let turn = if variance.is_finite() { variance.max(0.0).sqrt() } else { f64::INFINITY };
        (turn, turns.eigenvectors.column(worst).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_holds_is_uncertain_beyond_any_limit() {
        let mut information = Matrix6::from_diagonal_element(4.0);
        information[(1, 1)] = -1e-14; // what rounding makes of 0
        let (turn, axis) = RigidError::of_information(Point3::origin(), &information).least_certain_turn();
        assert!(turn > 1e5 && axis.y.abs() > 0.999, "{turn} {axis}");
        let nothing = RigidError::of_information(Point3::origin(), &Matrix6::zeros());
        assert!(nothing.least_certain_turn().0 > 1e9, "{nothing:?}");
        let none = RigidError { covariance: Matrix6::from_element(f64::NAN), ..nothing };
        assert!(none.least_certain_turn().0 > 1e9, "of what is no number");
    }

    #[test]
    fn a_turn_moves_a_target_by_its_distance_and_a_shift_moves_all_alike() {
        let mut covariance = Matrix6::zeros();
        covariance[(2, 2)] = 1e-4; // 0.01 rad about z
        covariance[(3, 3)] = 0.25; // 0.5 mm along x
        let error = RigidError { centre: Point3::new(1.0, 2.0, 3.0), covariance };
        assert!((error.rms_mm(&error.centre) - 0.5).abs() < 1e-12);
        let far = Point3::new(101.0, 2.0, 50.0);
        assert!((error.rms_mm(&far) - (0.25_f64 + 1.0).sqrt()).abs() < 1e-12);
        assert!((error.at(&far)[(1, 1)] - 1.0).abs() < 1e-12, "along y alone");
        let (turn, axis) = error.least_certain_turn();
        assert!((turn - 0.01).abs() < 1e-12 && axis.z.abs() > 0.999);
    }
}
