//! Paired landmarks: fiducials in the scan, and the same as a tracked pointer touched them.
//!
//! A weighted closed form first (Umeyama, IEEE PAMI 13, 1991, without its scale), then Gauss and Newton's steps with the full
//! covariance of each fiducial's localisation error, which may be larger along one axis than along another: that of
//! the scan and that of the touch, turned with the transform. **FRE** is the root mean square residual; **TRE** is predicted from the stated
//! localisation errors, never from the FRE, of which it is independent.
//!
//! **Refused:** fewer than three, a line, errors that are none; and, where residuals are larger than chance permits once
//! in a thousand times, what explains them if one thing does: a mirrored list, another unit of length, two that were swapped, one
//! that lies apart. **Not protected against:** what fits by chance: with three fiducials one that lies apart by less than
//! the stated errors cannot be told, and a symmetrical arrangement fits swapped.

use super::error::{RigidError, lever};
use super::least_squares::once_in_a_thousand;
use nalgebra::{Isometry3, Matrix3, Matrix6, Point3, Rotation3, Translation3, UnitQuaternion, Vector3, Vector6};

/// A transform whose turn is less certain than this about some axis is refused, rad: 3°, 3 mm at 60 mm.
pub const TURN_UNCERTAIN_MAX: f64 = 0.052;
/// Another unit of length than ours is suspected where sizes differ by more than this.
const SCALE_APART: f64 = 0.02;
/// Steps of Gauss and Newton's, at most; three are usual.
const STEPS_MAX: usize = 20;

/// One fiducial.
#[derive(Debug, Clone, PartialEq)]
pub struct Fiducial {
    /// As people call it.
    pub name: String,
    /// Where the scan shows it, patient LPS, mm.
    pub scan: Point3<f64>,
    /// Where the pointer touched it, in the reference array's coordinates, mm.
    pub touched: Point3<f64>,
    /// Covariance of the first, mm².
    pub scan_error: Matrix3<f64>,
    /// Covariance of the second, mm².
    pub touched_error: Matrix3<f64>,
}

impl Fiducial {
    /// With the same error along every axis; `fle_mm` is its root mean square length in both together, as
    /// the literature states it: each axis has a standard deviation of `fle_mm / √3`.
    #[must_use]
    pub fn new(name: &str, scan: Point3<f64>, touched: Point3<f64>, fle_mm: f64) -> Self {
        let touched_error = Matrix3::from_diagonal_element(fle_mm * fle_mm / 3.0);
        Self { name: name.to_owned(), scan, touched, scan_error: Matrix3::zeros(), touched_error }
    }
}

/// Why there is no registration by these fiducials.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// Three points say how a body lies.
    #[error("{found} fiducials; at least 3 are needed, and 4 to find one that lies apart")]
    TooFew {
        /// How many came.
        found: usize,
    },
    /// A coordinate or an error that is no number, or no error.
    #[error("fiducial {name}: {what}")]
    Malformed {
        /// Which.
        name: String,
        /// What is wrong, and what would be right.
        what: &'static str,
    },
    /// They lie on a line, or nearly so, or close together.
    #[error(
        "the fiducials leave the turn about the axis {axis:.2?} uncertain by {degrees:.1}°; at most 3° are right: spread them, off one line"
    )]
    Line {
        /// Standard deviation, degrees.
        degrees: f64,
        /// Patient LPS.
        axis: [f64; 3],
    },
    /// The mirror image fits.
    #[error(
        "one of both lists is mirrored: as it is, it fits to {fre_mm:.1} mm, its mirror image to {mirrored_mm:.2} mm; is one in RAS, the other in LPS?"
    )]
    Mirrored {
        /// FRE.
        fre_mm: f64,
        /// That of the mirror image.
        mirrored_mm: f64,
    },
    /// Another unit of length.
    #[error("distances in the scan are {scale:.3} times those that were touched; both must be in mm")]
    Scale {
        /// Scan over touch.
        scale: f64,
    },
    /// Two were taken for each other.
    #[error(
        "{first} and {second} are swapped: as they are, the FRE is {fre_mm:.1} mm, swapped back {swapped_mm:.2} mm"
    )]
    Swapped {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// FRE as they came.
        fre_mm: f64,
        /// FRE without the mistake.
        swapped_mm: f64,
    },
    /// One disagrees with all others.
    #[error("{name} lies {apart_mm:.1} mm from where the other fiducials put it; touch it again, or leave it out")]
    Apart {
        /// Which.
        name: String,
        /// How far.
        apart_mm: f64,
    },
    /// They contradict each other, and no single mistake explains it.
    #[error(
        "the fiducials contradict each other: FRE {fre_mm:.2} mm where at most {most_mm:.2} mm are to be expected of their stated errors; {worst} fits worst"
    )]
    Inconsistent {
        /// FRE.
        fre_mm: f64,
        /// What chance exceeds once in a thousand times.
        most_mm: f64,
        /// The largest residual's.
        worst: String,
    },
}

/// A registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Landmarks {
    /// Takes the reference array's coordinates to the scan's.
    pub patient_from_reference: Isometry3<f64>,
    /// Root mean square fiducial registration error, mm.
    pub fre_mm: f64,
    /// Each fiducial's residual, mm, in their order.
    pub residuals_mm: Vec<f64>,
    /// What that means at a target.
    pub error: RigidError,
}

/// A fit that nobody has judged.
struct Fit {
    pose: Isometry3<f64>,
    residuals: Vec<Vector3<f64>>,
    error: RigidError,
    /// Sum of squared residuals in units of their errors.
    surprise: f64,
}

impl Fit {
    fn fre_mm(&self) -> f64 {
        (self.residuals.iter().map(Vector3::norm_squared).sum::<f64>() / self.residuals.len() as f64).sqrt()
    }

    fn degrees(&self) -> usize {
        3 * self.residuals.len() - 6
    }

    fn plausible(&self) -> bool {
        self.surprise <= once_in_a_thousand(self.degrees())
    }
}

/// Registers.
///
/// # Errors
/// [`Unfit`].
pub fn register(fiducials: &[Fiducial]) -> Result<Landmarks, Unfit> {
    check(fiducials)?;
    let fit = fit(fiducials);
    let (turn, axis) = fit.error.least_certain_turn();
    if !(0.0..=TURN_UNCERTAIN_MAX).contains(&turn) {
        return Err(Unfit::Line { degrees: turn.to_degrees().min(180.0), axis: axis.into() });
    }
    if !fit.plausible() {
        return Err(diagnose(fiducials, &fit));
    }
    Ok(Landmarks {
        patient_from_reference: fit.pose,
        fre_mm: fit.fre_mm(),
        residuals_mm: fit.residuals.iter().map(Vector3::norm).collect(),
        error: fit.error,
    })
}

fn check(fiducials: &[Fiducial]) -> Result<(), Unfit> {
    let found = fiducials.len();
    if found < 3 {
        return Err(Unfit::TooFew { found });
    }
    for f in fiducials {
        let malformed = |what| Unfit::Malformed { name: f.name.clone(), what };
        if !f.scan.iter().chain(f.touched.iter()).all(|v| v.is_finite()) {
            return Err(malformed("a coordinate is no finite number"));
        }
        let errors = f.scan_error.iter().chain(f.touched_error.iter());
        let sum = f.scan_error + f.touched_error;
        if !errors.clone().all(|v| v.is_finite()) || sum.cholesky().is_none() {
            return Err(malformed("its localisation error is none along some axis; a positive one is needed"));
        }
    }
    Ok(())
}

/// Weights of one number for each fiducial: the inverse of its mean variance.
fn weight(fiducial: &Fiducial) -> f64 {
    3.0 / (fiducial.scan_error + fiducial.touched_error).trace()
}

fn centre(fiducials: &[Fiducial], of: impl Fn(&Fiducial) -> Point3<f64>) -> Point3<f64> {
    let (sum, weights) = fiducials.iter().fold((Vector3::zeros(), 0.0), |(sum, all), f| {
        let weight = weight(f);
        (sum + of(f).coords * weight, all + weight)
    });
    Point3::from(sum / weights)
}

/// The best turn, or the best turn after mirroring, in closed form.
fn closed(fiducials: &[Fiducial], mirrored: bool) -> (Matrix3<f64>, [Point3<f64>; 2]) {
    let centres = [centre(fiducials, |f| f.scan), centre(fiducials, |f| f.touched)];
    let products = fiducials.iter().fold(Matrix3::zeros(), |sum, f| {
        sum + (f.scan - centres[0]) * (f.touched - centres[1]).transpose() * weight(f)
    });
    let svd = products.svd(true, true);
    let (u, vt) = (svd.u.expect("asked for"), svd.v_t.expect("asked for"));
    let sign = if mirrored { -1.0 } else { 1.0 } * (u * vt).determinant().signum();
    // nalgebra sorts singular values, largest first: the least certain direction is turned over.
    (u * Matrix3::from_diagonal(&Vector3::new(1.0, 1.0, sign)) * vt, centres)
}

/// Root mean square residual of the best mirrored transform, mm.
fn mirrored_mm(fiducials: &[Fiducial]) -> f64 {
    let (turn, [scan, touched]) = closed(fiducials, true);
    let residual = |f: &Fiducial| ((f.scan - scan) - turn * (f.touched - touched)).norm_squared();
    (fiducials.iter().map(residual).sum::<f64>() / fiducials.len() as f64).sqrt()
}

/// Gauss and Newton's steps from the closed form.
fn fit(fiducials: &[Fiducial]) -> Fit {
    let (turn, [scan, touched]) = closed(fiducials, false);
    let turn = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(turn));
    let mut pose = Isometry3::from_parts(Translation3::from(scan.coords - turn * touched.coords), turn);
    let about = centre(fiducials, |f| f.scan);
    let mut information = Matrix6::zeros();
    for _ in 0..STEPS_MAX {
        let mut slope = Vector6::zeros();
        information = Matrix6::zeros();
        let turn = pose.rotation.to_rotation_matrix();
        for f in fiducials {
            let placed = pose * f.touched;
            let lever = lever(&(placed - about));
            let weights = weights(f, turn.matrix());
            information += lever.transpose() * weights * lever;
            slope += lever.transpose() * weights * (f.scan - placed);
        }
        let Some(step) = information.cholesky().map(|c| c.solve(&slope)) else { break };
        let turn = UnitQuaternion::from_scaled_axis(step.fixed_rows::<3>(0).into_owned());
        let shift = step.fixed_rows::<3>(3).into_owned();
        let moved = about + turn * (Point3::from(pose.translation.vector) - about) + shift;
        pose = Isometry3::from_parts(Translation3::from(moved.coords), turn * pose.rotation);
        if step.norm() < 1e-12 {
            break;
        }
    }
    let residuals: Vec<_> = fiducials.iter().map(|f| f.scan - pose * f.touched).collect();
    let turn = pose.rotation.to_rotation_matrix();
    let surprise = fiducials.iter().zip(&residuals).map(|(f, r)| (r.transpose() * weights(f, turn.matrix()) * r)[0]);
    let surprise = surprise.sum();
    Fit { pose, residuals, error: RigidError::of_information(about, &information), surprise }
}

/// The inverse of a fiducial's whole covariance, in the scan's coordinates.
fn weights(f: &Fiducial, turn: &Matrix3<f64>) -> Matrix3<f64> {
    let whole = f.scan_error + turn * f.touched_error * turn.transpose();
    // The sum was checked in one set of axes; in these it may still be flat.
    whole.try_inverse().unwrap_or_else(|| Matrix3::from_diagonal_element(weight(f)))
}

/// Which single mistake explains residuals that chance does not.
fn diagnose(fiducials: &[Fiducial], found: &Fit) -> Unfit {
    let fre_mm = found.fre_mm();
    let most_mm = fre_mm * (once_in_a_thousand(found.degrees()) / found.surprise).sqrt();
    let mirrored_mm = mirrored_mm(fiducials);
    // A flat arrangement is its own mirror image, and is not told by it.
    if mirrored_mm < most_mm && mirrored_mm < 0.5 * fre_mm {
        return Unfit::Mirrored { fre_mm, mirrored_mm };
    }
    if let Some(scale) = other_unit(fiducials) {
        return Unfit::Scale { scale };
    }
    let n = fiducials.len();
    let mut swapped = Vec::new();
    for (a, b) in (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))) {
        let mut tried = fiducials.to_vec();
        (tried[a].touched, tried[b].touched) = (fiducials[b].touched, fiducials[a].touched);
        let fit = fit(&tried);
        if fit.plausible() {
            swapped.push((a, b, fit.fre_mm()));
        }
    }
    let name = |i: usize| fiducials[i].name.clone();
    if let [(first, second, swapped_mm)] = swapped[..] {
        return Unfit::Swapped { first: name(first), second: name(second), fre_mm, swapped_mm };
    }
    let mut apart = Vec::new();
    for out in (0..n).filter(|_| n > 3 && swapped.is_empty()) {
        let mut others = fiducials.to_vec();
        let one = others.remove(out);
        let fit = fit(&others);
        if fit.plausible() {
            apart.push((out, (one.scan - fit.pose * one.touched).norm()));
        }
    }
    if let [(out, apart_mm)] = apart[..] {
        return Unfit::Apart { name: name(out), apart_mm };
    }
    let worst = (0..n).max_by(|a, b| found.residuals[*a].norm().total_cmp(&found.residuals[*b].norm()));
    Unfit::Inconsistent { fre_mm, most_mm, worst: worst.map_or_else(String::new, name) }
}

/// Scan over touch, if sizes differ and explain the residuals.
fn other_unit(fiducials: &[Fiducial]) -> Option<f64> {
    let size = |of: &dyn Fn(&Fiducial) -> Point3<f64>| {
        let middle = centre(fiducials, of);
        fiducials.iter().map(|f| (of(f) - middle).norm_squared() * weight(f)).sum::<f64>().sqrt()
    };
    let scale = size(&|f| f.scan) / size(&|f| f.touched);
    if !scale.is_finite() || (scale - 1.0).abs() < SCALE_APART {
        return None;
    }
    let scaled = fiducials.iter().map(|f| Fiducial { touched: f.touched * scale, ..f.clone() });
    fit(&scaled.collect::<Vec<_>>()).plausible().then_some(scale)
}

#[cfg(test)]
mod tests;
