//! Pivot calibration: where an instrument's tip is on its tracked array, from turning it about the resting tip.
//!
//! ```text
//!  reference_from_array(i) · tip = pivot      for all poses i
//! ```
//! A linear problem in six unknowns (Yaniv, "Which pivot calibration?", SPIE 9415, 2015: the algebraic one-step method).
//! An array's pose errs by a shift, and by a turn that the tip's distance enlarges across it, not along it; both
//! are estimated from the residuals of a first solution, in the array's own axes, and weigh the second.
//!
//! **Refused:** few poses, poses that hardly turn, a pivot that did not rest. **Not protected against:** a tip that
//! slides with every turn the same way; noise of turns beyond about 0.5°, which bends the problem.

use nalgebra::{Isometry3, Matrix3, Matrix6, Point3, SMatrix, Vector3, Vector6};

/// Poses, at least: ten times what six unknowns need.
pub const POSES_MIN: usize = 20;
/// The arc from one extreme to the other must be at least this, rad: 30°.
pub const TURN_MIN: f64 = 0.52;

/// Why there is no calibration by these poses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unpivoted {
    /// Too few.
    #[error("{found} poses; at least {POSES_MIN} are needed")]
    TooFew {
        /// How many came.
        found: usize,
    },
    /// A pose that is no number.
    #[error("pose {index} holds a number that is not finite")]
    NotFinite {
        /// Which.
        index: usize,
    },
    /// All poses are nearly the same, or turn about one axis alone.
    #[error(
        "the poses turn by {degrees:.0}° about their second axis; at least 30° are needed: tilt the instrument in a circle"
    )]
    HardlyTurned {
        /// How far.
        degrees: f64,
    },
    /// The tip did not rest.
    #[error(
        "the tip moved by {rms_mm:.2} mm root mean square; at most {most_mm:.2} mm are right: rest it in a divot, turn it slowly"
    )]
    Unsteady {
        /// Residual.
        rms_mm: f64,
        /// The limit.
        most_mm: f64,
    },
}

/// A tip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pivot {
    /// In the array's coordinates, mm.
    pub tip: Point3<f64>,
    /// Its covariance, mm².
    pub tip_error: Matrix3<f64>,
    /// Where it rested, in the reference's coordinates, mm.
    pub rested: Point3<f64>,
    /// Root mean square distance of the tips of all poses from there, mm.
    pub rms_mm: f64,
}

/// Calibrates. `reference_from_array` of each pose; residuals above `rms_max_mm` are a tip that did not rest.
///
/// # Errors
/// [`Unpivoted`].
pub fn calibrate(poses: &[Isometry3<f64>], rms_max_mm: f64) -> Result<Pivot, Unpivoted> {
    let found = poses.len();
    if let Some(index) = poses.iter().position(|p| !p.to_homogeneous().iter().all(|v| v.is_finite())) {
        return Err(Unpivoted::NotFinite { index });
    }
    if found < POSES_MIN {
        return Err(Unpivoted::TooFew { found });
    }
    let turned = turned(poses);
    if turned < TURN_MIN {
        return Err(Unpivoted::HardlyTurned { degrees: turned.to_degrees() });
    }
    let equal = |_: &Isometry3<f64>| Matrix3::identity();
    let unsolved = Unpivoted::HardlyTurned { degrees: turned.to_degrees() };
    let first = solve(poses, equal).ok_or_else(|| unsolved.clone())?;
    let [along, across] = spread(poses, &first.0);
    let axis = first.0.fixed_rows::<3>(0).normalize();
    let own = axis * axis.transpose();
    // In the array's axes; turned into the reference's with each pose.
    let inverse = own / along + (Matrix3::identity() - own) / across;
    let weigh = |pose: &Isometry3<f64>| {
        let turn = pose.rotation.to_rotation_matrix();
        turn.matrix() * inverse * turn.matrix().transpose()
    };
    let (solution, covariance) = solve(poses, weigh).ok_or(unsolved)?;
    let squares: f64 = poses.iter().map(|pose| residual(pose, &solution).norm_squared()).sum();
    let rms_mm = (squares / found as f64).sqrt();
    if !(0.0..=rms_max_mm).contains(&rms_mm) {
        return Err(Unpivoted::Unsteady { rms_mm, most_mm: rms_max_mm });
    }
    Ok(Pivot {
        tip: Point3::from(solution.fixed_rows::<3>(0).into_owned()),
        tip_error: covariance.fixed_view::<3, 3>(0, 0).into_owned(),
        rested: Point3::from(solution.fixed_rows::<3>(3).into_owned()),
        rms_mm,
    })
}

fn residual(pose: &Isometry3<f64>, solution: &Vector6<f64>) -> Vector3<f64> {
    pose.rotation * solution.fixed_rows::<3>(0).into_owned() + pose.translation.vector - solution.fixed_rows::<3>(3)
}

/// `[R, -1] (tip, pivot) = -t`, weighted; and the covariance where weights are inverse covariances.
fn solve(
    poses: &[Isometry3<f64>],
    weigh: impl Fn(&Isometry3<f64>) -> Matrix3<f64>,
) -> Option<(Vector6<f64>, Matrix6<f64>)> {
    let (mut normal, mut right) = (Matrix6::zeros(), Vector6::zeros());
    for pose in poses {
        let mut row = SMatrix::<f64, 3, 6>::zeros();
        row.fixed_view_mut::<3, 3>(0, 0).copy_from(pose.rotation.to_rotation_matrix().matrix());
        row.fixed_view_mut::<3, 3>(0, 3).copy_from(&-Matrix3::identity());
        let weights = weigh(pose);
        normal += row.transpose() * weights * row;
        right -= row.transpose() * weights * pose.translation.vector;
    }
    let covariance = normal.try_inverse()?;
    Some((covariance * right, covariance))
}

/// Variances of the residuals along the line from the array to the tip, and across it, mm², in the array's axes.
fn spread(poses: &[Isometry3<f64>], solution: &Vector6<f64>) -> [f64; 2] {
    let axis = solution.fixed_rows::<3>(0).normalize();
    let [mut along, mut across] = [0.0; 2];
    for pose in poses {
        let own = pose.rotation.inverse() * residual(pose, solution);
        let on = own.dot(&axis);
        along += on * on;
        across += (own.norm_squared() - on * on) / 2.0;
    }
    // Six unknowns use up two poses' worth of residuals. Exact poses have none: any equal weights are right then.
    let free = poses.len() as f64 - 2.0;
    let least = 1e-12;
    [(along / free).max(least), (across / free).max(least)]
}

/// How far the poses turn about their second axis, rad, from one extreme to the other: what a circle shows twice, and a
/// swing about one axis once.
fn turned(poses: &[Isometry3<f64>]) -> f64 {
    let first = poses[0].rotation;
    let turns: Vec<_> = poses.iter().map(|p| (first.inverse() * p.rotation).scaled_axis()).collect();
    let mean = turns.iter().sum::<Vector3<f64>>() / turns.len() as f64;
    let moments = turns.iter().fold(Matrix3::zeros(), |sum, t| sum + (t - mean) * (t - mean).transpose());
    let mut axes = moments.symmetric_eigen();
    axes.eigenvalues.as_mut_slice().sort_by(f64::total_cmp);
    // Along a circle of radius r a coordinate has a variance of r²/2.
    2.0 * (2.0 * axes.eigenvalues[1] / poses.len() as f64).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;
    use nalgebra::{Translation3, UnitQuaternion};

    const TIP: [f64; 3] = [12.0, -18.0, 160.0];

    /// A circle of tilts about a resting tip; the array's pose errs by a shift and a turn in its own axes.
    fn swung(noise: &mut Noise, count: usize, tilt: f64, [shift_mm, turn]: [f64; 2]) -> Vec<Isometry3<f64>> {
        let rested = Point3::new(40.0, 10.0, -90.0);
        let pose = |i: usize| {
            let angle = i as f64 / count as f64 * std::f64::consts::TAU;
            let axis = Vector3::new(angle.cos(), angle.sin(), 0.0);
            let rotation = UnitQuaternion::from_scaled_axis(axis * tilt)
                * UnitQuaternion::from_scaled_axis(Vector3::z() * 0.3 * (3.0 * angle).sin());
            let at = rested - rotation * Vector3::from(TIP);
            let wrong = Isometry3::new(noise.vector(shift_mm), noise.vector(turn));
            Isometry3::from_parts(Translation3::from(at.coords), rotation) * wrong
        };
        (0..count).map(pose).collect()
    }

    #[test]
    fn exact_poses_give_the_tip_exactly() {
        let pivot = calibrate(&swung(&mut Noise::new(1), 40, 0.5, [0.0; 2]), 0.01).expect("a tip");
        assert!((pivot.tip - Point3::from(TIP)).norm() < 1e-9 && pivot.rms_mm < 1e-9, "{pivot:?}");
    }

    #[test]
    fn each_coordinate_is_within_three_standard_errors_as_often_as_chance_says() {
        let mut noise = Noise::new(2);
        let (mut within, mut all) = (0, 0);
        for _ in 0..300 {
            let pivot = calibrate(&swung(&mut noise, 150, 0.5, [0.2, 0.003]), 2.0).expect("a tip");
            for (axis, truth) in TIP.iter().enumerate() {
                let off = (pivot.tip[axis] - truth) / pivot.tip_error[(axis, axis)].sqrt();
                within += usize::from(off.abs() <= 3.0);
                all += 1;
            }
        }
        // 99.7 % by the normal distribution.
        assert!(within as f64 >= 0.99 * f64::from(all), "{within} of {all}");
    }

    #[test]
    fn a_stated_error_is_as_large_as_the_spread() {
        let mut noise = Noise::new(3);
        let (mut squares, mut stated) = (Vector3::zeros(), Vector3::zeros());
        for _ in 0..300 {
            let pivot = calibrate(&swung(&mut noise, 100, 0.4, [0.2, 0.003]), 2.0).expect("a tip");
            let off = pivot.tip - Point3::from(TIP);
            squares += off.component_mul(&off);
            stated += pivot.tip_error.diagonal();
        }
        for axis in 0..3 {
            let ratio = (squares[axis] / stated[axis]).sqrt();
            assert!((0.85..1.15).contains(&ratio), "axis {axis}: {ratio}");
        }
    }

    #[test]
    fn what_says_nothing_of_a_tip_is_refused() {
        let mut noise = Noise::new(4);
        let few = swung(&mut noise, 10, 0.5, [0.1, 0.001]);
        assert!(matches!(calibrate(&few, 1.0), Err(Unpivoted::TooFew { found: 10 })));
        let hardly = swung(&mut noise, 100, 0.05, [0.1, 0.001]);
        assert!(matches!(calibrate(&hardly, 1.0), Err(Unpivoted::HardlyTurned { .. })));
        let swing: Vec<_> = (0..100).map(|i| Isometry3::rotation(Vector3::x() * (f64::from(i) * 0.02 - 1.0))).collect();
        assert!(matches!(calibrate(&swing, 1.0), Err(Unpivoted::HardlyTurned { .. })), "one axis alone");
        let mut slid = swung(&mut noise, 100, 0.5, [0.1, 0.001]);
        for (i, pose) in slid.iter_mut().enumerate() {
            pose.translation.vector.x += 10.0 * (i as f64 / 100.0);
        }
        let said = calibrate(&slid, 1.0).expect_err("it slid").to_string();
        assert!(said.contains("the tip moved by"), "{said}");
        slid[7].translation.vector.y = f64::NAN;
        assert_eq!(calibrate(&slid, 1.0), Err(Unpivoted::NotFinite { index: 7 }));
    }
}
