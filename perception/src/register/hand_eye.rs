//! Hand–eye calibration: how a camera sits on an arm's flange, from poses of the arm and what the camera saw.
//!
//! ```text
//!  base_from_flange(i) · flange_from_camera · camera_from_target(i) = base_from_target      for all i
//! ```
//! A closed form first (Park and Martin, IEEE T-RA 10, 1994: turns by their logarithms, then shifts by least squares),
//! then Gauss and Newton's steps in all twelve unknowns, weighted by the stated errors of both devices: the arm's in its flange,
//! the camera's in itself. The stated errors' proportion counts; their size is taken from the residuals.
//!
//! **Refused:** few poses, turns about one axis alone, residuals far beyond the stated errors.
//! **Not protected against:** a target that moves with the arm's own turns; a camera whose lens is badly calibrated.

use super::error::{RigidError, cross};
use super::least_squares::once_in_a_thousand;
use nalgebra::{Isometry3, Matrix3, Matrix6, Point3, SMatrix, SVector, Translation3, UnitQuaternion, Vector3, Vector6};

/// Poses, at least.
pub const POSES_MIN: usize = 6;
/// Turns between poses about a second axis, at least, rad: 10°.
pub const TURN_MIN: f64 = 0.17;
/// Residuals so many times the stated errors are refused even where chance alone would not be blamed: what is stated is
/// seldom known better.
const SURPRISE_MAX: f64 = 9.0;
/// Steps of Gauss and Newton's, at most.
const STEPS_MAX: usize = 30;

/// One pose, seen by both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// By the arm.
    pub base_from_flange: Isometry3<f64>,
    /// By the camera.
    pub camera_from_target: Isometry3<f64>,
}

/// Errors of one pose, one standard deviation along and about each axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Precision {
    /// Of the arm's shift, mm.
    pub arm_mm: f64,
    /// Of the arm's turn, rad.
    pub arm_rad: f64,
    /// Of the target's place in the camera, mm.
    pub camera_mm: f64,
    /// Of the target's turn in the camera, rad.
    pub camera_rad: f64,
}

/// Why there is no calibration by these poses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unseen {
    /// Too few.
    #[error("{found} poses; at least {POSES_MIN} are needed")]
    TooFew {
        /// How many came.
        found: usize,
    },
    /// A pose or a stated error that is none.
    #[error("{what} {index} is not finite, or not above 0 where it must be")]
    Malformed {
        /// What.
        what: &'static str,
        /// Which.
        index: usize,
    },
    /// All turns are about the same axis.
    #[error("the arm turns by {degrees:.1}° about its second axis; at least 10° are needed: tilt the camera both ways")]
    OneAxis {
        /// How far.
        degrees: f64,
    },
    /// The equation does not hold.
    #[error(
        "residuals are {times:.1} times the stated errors ({mm:.2} mm, {degrees:.2}°): did the target move, or are poses paired wrongly?"
    )]
    Inconsistent {
        /// Root mean square, in units of the stated errors.
        times: f64,
        /// Shifts, root mean square.
        mm: f64,
        /// Turns, root mean square.
        degrees: f64,
    },
}

/// A calibration.
#[derive(Debug, Clone, PartialEq)]
pub struct HandEye {
    /// Where the camera is on the flange.
    pub flange_from_camera: Isometry3<f64>,
    /// Its error, in the flange's coordinates, about the camera's place.
    pub error: RigidError,
    /// Where the target stood.
    pub base_from_target: Isometry3<f64>,
    /// Root mean square of the residuals' shifts, mm.
    pub rms_mm: f64,
    /// Root mean square of the residuals' turns, rad.
    pub rms_rad: f64,
}

/// Calibrates.
///
/// # Errors
/// [`Unseen`].
pub fn calibrate(seen: &[Seen], precision: Precision) -> Result<HandEye, Unseen> {
    check(seen, precision)?;
    let degrees = turned(seen).to_degrees();
    let lacking = Unseen::OneAxis { degrees };
    if degrees < TURN_MIN.to_degrees() {
        return Err(lacking);
    }
    let flange_from_camera = closed(seen).ok_or_else(|| lacking.clone())?;
    let base_from_target = seen[0].base_from_flange * flange_from_camera * seen[0].camera_from_target;
    let mut found = Found { flange_from_camera, base_from_target };
    let mut covariance = SMatrix::<f64, 12, 12>::zeros();
    let mut surprise = 0.0;
    for _ in 0..STEPS_MAX {
        let mut normal = SMatrix::<f64, 12, 12>::zeros();
        let mut right = SVector::<f64, 12>::zeros();
        surprise = 0.0;
        for seen in seen {
            let Row { residual, slope, weights } = found.row(seen, precision);
            normal += slope.transpose() * weights * slope;
            right -= slope.transpose() * weights * residual;
            surprise += (residual.transpose() * weights * residual)[0];
        }
        covariance = normal.try_inverse().ok_or_else(|| lacking.clone())?;
        let step = covariance * right;
        found.flange_from_camera *= small(&step.fixed_rows::<6>(0).into_owned());
        found.base_from_target *= small(&step.fixed_rows::<6>(6).into_owned());
        if step.norm() < 1e-12 {
            break;
        }
    }
    let free = 6 * seen.len() - 12;
    let per = surprise / free as f64;
    let residuals: Vec<_> = seen.iter().map(|s| found.row(s, precision).residual).collect();
    let rms = |from: usize| {
        let squares = residuals.iter().map(|r| r.fixed_rows::<3>(from).norm_squared()).sum::<f64>();
        (squares / residuals.len() as f64).sqrt()
    };
    let (rms_rad, rms_mm) = (rms(0), rms(3));
    if !(0.0..=SURPRISE_MAX.max(once_in_a_thousand(free) / free as f64)).contains(&per) {
        return Err(Unseen::Inconsistent { times: per.sqrt(), mm: rms_mm, degrees: rms_rad.to_degrees() });
    }
    // Steps are small motions in the camera's axes: turned into the flange's.
    let own = (covariance * per).fixed_view::<6, 6>(0, 0).into_owned();
    let turn = found.flange_from_camera.rotation.to_rotation_matrix();
    let mut axes = Matrix6::zeros();
    axes.fixed_view_mut::<3, 3>(0, 0).copy_from(turn.matrix());
    axes.fixed_view_mut::<3, 3>(3, 3).copy_from(turn.matrix());
    let centre = Point3::from(found.flange_from_camera.translation.vector);
    Ok(HandEye {
        flange_from_camera: found.flange_from_camera,
        error: RigidError { centre, covariance: axes * own * axes.transpose() },
        base_from_target: found.base_from_target,
        rms_mm,
        rms_rad,
    })
}

fn check(seen: &[Seen], precision: Precision) -> Result<(), Unseen> {
    let Precision { arm_mm, arm_rad, camera_mm, camera_rad } = precision;
    for (index, value) in [arm_mm, arm_rad, camera_mm, camera_rad].into_iter().enumerate() {
        if !(value > 0.0 && value.is_finite()) {
            return Err(Unseen::Malformed { what: "stated error", index });
        }
    }
    let finite = |pose: &Isometry3<f64>| pose.to_homogeneous().iter().all(|v| v.is_finite());
    if let Some(index) = seen.iter().position(|s| !finite(&s.base_from_flange) || !finite(&s.camera_from_target)) {
        return Err(Unseen::Malformed { what: "pose", index });
    }
    if seen.len() < POSES_MIN { Err(Unseen::TooFew { found: seen.len() }) } else { Ok(()) }
}

/// Motions from the first pose to each other one, of the flange and of the camera.
fn motions(seen: &[Seen]) -> impl Iterator<Item = [Isometry3<f64>; 2]> {
    let first = seen[0];
    seen[1..].iter().map(move |s| {
        [
            first.base_from_flange.inverse() * s.base_from_flange,
            first.camera_from_target * s.camera_from_target.inverse(),
        ]
    })
}

/// How far the flange turns about its second axis, rad, root mean square.
fn turned(seen: &[Seen]) -> f64 {
    let moments = motions(seen).fold(Matrix3::zeros(), |sum, [flange, _]| {
        let turn = flange.rotation.scaled_axis();
        sum + turn * turn.transpose()
    });
    let mut axes = moments.symmetric_eigen();
    axes.eigenvalues.as_mut_slice().sort_by(f64::total_cmp);
    (axes.eigenvalues[1] / (seen.len() - 1) as f64).max(0.0).sqrt()
}

/// Park and Martin's, by the motions from the first pose.
fn closed(seen: &[Seen]) -> Option<Isometry3<f64>> {
    let products = motions(seen).fold(Matrix3::zeros(), |sum, [flange, camera]| {
        sum + flange.rotation.scaled_axis() * camera.rotation.scaled_axis().transpose()
    });
    let svd = products.svd(true, true);
    let (u, vt) = (svd.u?, svd.v_t?);
    let turn = u * Matrix3::from_diagonal(&Vector3::new(1.0, 1.0, (u * vt).determinant().signum())) * vt;
    let (mut normal, mut right) = (Matrix3::zeros(), Vector3::zeros());
    for [flange, camera] in motions(seen) {
        let row = flange.rotation.to_rotation_matrix().matrix() - Matrix3::identity();
        normal += row.transpose() * row;
        right += row.transpose() * (turn * camera.translation.vector - flange.translation.vector);
    }
    let shift = normal.try_inverse()? * right;
    let turn = UnitQuaternion::from_matrix(&turn);
    Some(Isometry3::from_parts(Translation3::from(shift), turn))
}

/// A small motion: `(turn, shift)`.
fn small(step: &Vector6<f64>) -> Isometry3<f64> {
    Isometry3::new(step.fixed_rows::<3>(3).into_owned(), step.fixed_rows::<3>(0).into_owned())
}

/// How a small motion `(turn, shift)` on the right of `pose` looks on its left: `pose · m = m' · pose`.
fn carried(pose: &Isometry3<f64>) -> Matrix6<f64> {
    let turn = *pose.rotation.to_rotation_matrix().matrix();
    let mut out = Matrix6::zeros();
    out.fixed_view_mut::<3, 3>(0, 0).copy_from(&turn);
    out.fixed_view_mut::<3, 3>(3, 0).copy_from(&(cross(&pose.translation.vector) * turn));
    out.fixed_view_mut::<3, 3>(3, 3).copy_from(&turn);
    out
}

struct Found {
    flange_from_camera: Isometry3<f64>,
    base_from_target: Isometry3<f64>,
}

/// One pose's residual, its slope in the twelve unknowns, and its weights.
struct Row {
    residual: Vector6<f64>,
    slope: SMatrix<f64, 6, 12>,
    weights: Matrix6<f64>,
}

impl Found {
    /// `(turn, shift)` of `target_from_base · base_from_flange · flange_from_camera · camera_from_target`, in the target.
    fn row(&self, seen: &Seen, precision: Precision) -> Row {
        let loops =
            self.base_from_target.inverse() * seen.base_from_flange * self.flange_from_camera * seen.camera_from_target;
        let mut residual = Vector6::zeros();
        residual.fixed_rows_mut::<3>(0).copy_from(&loops.rotation.scaled_axis());
        residual.fixed_rows_mut::<3>(3).copy_from(&loops.translation.vector);
        // What errs left of the target, seen from it.
        let camera = carried(&seen.camera_from_target.inverse());
        let flange = carried(&(self.flange_from_camera * seen.camera_from_target).inverse());
        let mut slope = SMatrix::<f64, 6, 12>::zeros();
        slope.fixed_view_mut::<6, 6>(0, 0).copy_from(&camera);
        slope.fixed_view_mut::<6, 6>(0, 6).copy_from(&-Matrix6::identity());
        let of = |mm: f64, rad: f64| {
            Matrix6::from_diagonal(&Vector6::new(rad * rad, rad * rad, rad * rad, mm * mm, mm * mm, mm * mm))
        };
        let covariance = camera * of(precision.camera_mm, precision.camera_rad) * camera.transpose()
            + flange * of(precision.arm_mm, precision.arm_rad) * flange.transpose();
        let weights = covariance.try_inverse().unwrap_or_else(Matrix6::identity);
        Row { residual, slope, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;

    const STATED: Precision = Precision { arm_mm: 0.1, arm_rad: 0.0005, camera_mm: 0.2, camera_rad: 0.002 };

    fn truth() -> Isometry3<f64> {
        Isometry3::new(Vector3::new(35.0, -20.0, 80.0), Vector3::new(0.1, -0.3, 1.2))
    }

    fn looked(noise: &mut Noise, count: usize, tilt: f64, p: Precision) -> Vec<Seen> {
        let target = Isometry3::new(Vector3::new(600.0, 50.0, 100.0), Vector3::new(3.0, 0.1, 0.2));
        let pose = |noise: &mut Noise| {
            let looks = Isometry3::new(Vector3::new(0.0, 0.0, 250.0) + noise.vector(40.0), noise.vector(tilt));
            let flange = target * looks.inverse() * truth().inverse();
            Seen {
                base_from_flange: flange * Isometry3::new(noise.vector(p.arm_mm), noise.vector(p.arm_rad)),
                camera_from_target: Isometry3::new(noise.vector(p.camera_mm), noise.vector(p.camera_rad)) * looks,
            }
        };
        (0..count).map(|_| pose(noise)).collect()
    }

    const EXACT: Precision = Precision { arm_mm: 0.0, arm_rad: 0.0, camera_mm: 0.0, camera_rad: 0.0 };

    #[test]
    fn exact_poses_give_the_camera_exactly() {
        let found = calibrate(&looked(&mut Noise::new(1), 8, 0.3, EXACT), STATED).expect("calibrates");
        let apart = found.flange_from_camera.inverse() * truth();
        assert!(apart.translation.vector.norm() < 1e-7 && apart.rotation.angle() < 1e-9, "{apart}");
    }

    #[test]
    fn each_coordinate_is_within_three_standard_errors_as_often_as_chance_says() {
        let mut noise = Noise::new(2);
        let (mut within, mut all) = (0, 0);
        let mut ratio = SVector::<f64, 6>::zeros();
        for _ in 0..200 {
            let found = calibrate(&looked(&mut noise, 25, 0.35, STATED), STATED).expect("calibrates");
            // The step from the truth to what was found, in the flange's axes.
            let turn = (found.flange_from_camera.rotation * truth().rotation.inverse()).scaled_axis();
            let shift = found.flange_from_camera.translation.vector - truth().translation.vector;
            let off = Vector6::new(turn.x, turn.y, turn.z, shift.x, shift.y, shift.z);
            for k in 0..6 {
                let standard = off[k] / found.error.covariance[(k, k)].sqrt();
                within += usize::from(standard.abs() <= 3.0);
                ratio[k] += standard * standard / 200.0;
                all += 1;
            }
        }
        assert!(within as f64 >= 0.99 * f64::from(all), "{within} of {all}");
        assert!(ratio.iter().all(|r| (0.7..1.4).contains(r)), "spread over stated, squared: {ratio}");
    }

    #[test]
    fn what_says_too_little_or_contradicts_itself_is_refused() {
        let mut noise = Noise::new(3);
        let seen = looked(&mut noise, 5, 0.3, STATED);
        assert_eq!(calibrate(&seen, STATED), Err(Unseen::TooFew { found: 5 }));
        let hardly = looked(&mut noise, 20, 0.02, STATED);
        assert!(matches!(calibrate(&hardly, STATED), Err(Unseen::OneAxis { .. })));
        let one_axis: Vec<_> = (0..20)
            .map(|i| {
                let spin = Isometry3::rotation(Vector3::z() * f64::from(i) * 0.1);
                Seen { base_from_flange: spin, camera_from_target: (spin * truth()).inverse() }
            })
            .collect();
        assert!(matches!(calibrate(&one_axis, STATED), Err(Unseen::OneAxis { .. })));
        let mut moved = looked(&mut noise, 20, 0.3, STATED);
        for seen in &mut moved[10..] {
            seen.base_from_flange.translation.vector.x += 10.0;
        }
        let said = calibrate(&moved, STATED).expect_err("it moved").to_string();
        assert!(said.contains("did the target move"), "{said}");
        moved[3].camera_from_target.translation.vector.z = f64::INFINITY;
        assert_eq!(calibrate(&moved, STATED), Err(Unseen::Malformed { what: "pose", index: 3 }));
        assert!(calibrate(&seen, EXACT).is_err(), "an error of nothing");
    }
}
