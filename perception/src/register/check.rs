//! Known landmarks touched again: whether a registration still holds.
//!
//! Each landmark that was touched is taken to the scan by the registration and held against where the scan shows it: by a
//! limit that somebody sets, and by what the predicted error and that of a touch make plausible. Where several are off, two
//! single causes are told apart. **Moved:** one rigid motion explains them all (a bumped reference array, a patient who
//! slid in the clamp). **One bad touch:** all others are where they
//! should be. Where both explain what was found, or neither, that is said.
//!
//! **Units and frames:** scan in patient LPS, touches in the reference array's coordinates, mm. **Assumed:** errors
//! equal along all axes, the registration's common to all landmarks. **Refused:** none, unnamed numbers, a limit or error of nothing.
//! **Not protected against:** what happens where nobody touches: a turn about the landmarks that were touched; skin that
//! has moved like bone; a wrong registration that errs at the targets alone.

use super::landmarks::{self, Fiducial};
use super::least_squares::once_in_a_thousand;
use nalgebra::{Isometry3, Point3, Vector3};

/// A landmark known in the scan, and touched now.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    /// As people call it.
    pub name: String,
    /// Where the scan shows it, patient LPS, mm.
    pub scan: Point3<f64>,
    /// Where the pointer touches it, in the reference array's coordinates, mm.
    pub touched: Point3<f64>,
    /// Predicted error of the registration there, root mean square length, mm.
    pub tre_mm: f64,
}

/// What touches are held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// How far off a landmark may be, mm.
    pub limit_mm: f64,
    /// Localisation error of scan and touch together, root mean square length, mm.
    pub fle_mm: f64,
}

/// Why nothing is checked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unchecked {
    /// Nothing was touched.
    #[error("no landmark was both touched and in the scan; one at least is needed")]
    None,
    /// A coordinate that is no number.
    #[error("landmark {name} has a coordinate that is not a finite number")]
    NotFinite {
        /// Which.
        name: String,
    },
    /// A limit or an error that is none.
    #[error("{what} is {value} mm; a number above 0 is right")]
    Demand {
        /// Which.
        what: &'static str,
        /// What it is.
        value: f64,
    },
}

/// A landmark, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// As people call it.
    pub name: String,
    /// From where the scan shows it to where the registration puts the touch, patient LPS, mm.
    pub off: Vector3<f64>,
    /// What chance exceeds once in a thousand times there, mm.
    pub plausible_mm: f64,
    /// Whether it is within the limit.
    pub within: bool,
    /// Whether chance alone puts it that far off more often than once in a thousand times.
    pub plausible: bool,
}

/// What explains it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// Chance, as predicted; over a limit all the same, the registration is not good enough for that limit.
    Chance,
    /// All have moved alike: register anew.
    Moved {
        /// At the middle of the landmarks, patient LPS, mm.
        shift: Vector3<f64>,
        /// By how much all turned, rad; none where a shift explains them alone.
        turn: Option<f64>,
    },
    /// One lies apart from all others, which are where they should be: touch it again.
    BadTouch {
        /// Its place among the touches.
        index: usize,
    },
    /// Too few to tell a motion from a bad touch: touch others.
    TooFew,
    /// Neither one motion nor one bad touch: touch all again.
    Neither,
}

/// A registration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Each landmark, in their order.
    pub landmarks: Vec<Judged>,
    /// Mean of how far they are off, patient LPS, mm.
    pub mean: Vector3<f64>,
    /// What explains them.
    pub cause: Cause,
}

impl Checked {
    /// Whether every landmark is within the limit.
    #[must_use]
    pub fn within(&self) -> bool {
        self.landmarks.iter().all(|landmark| landmark.within)
    }
}

/// Holds touches against a registration.
///
/// # Errors
/// [`Unchecked`].
pub fn check(touches: &[Touch], patient_from_reference: &Isometry3<f64>, demand: Demand) -> Result<Checked, Unchecked> {
    let predicted = touches.iter().map(|t| ("the predicted error", t.tre_mm));
    for (what, value) in predicted.chain([("the limit", demand.limit_mm), ("a touch's error", demand.fle_mm)]) {
        if !(value > 0.0 && value < f64::INFINITY) {
            return Err(Unchecked::Demand { what, value });
        }
    }
    if touches.is_empty() {
        return Err(Unchecked::None);
    }
    if let Some(bad) = touches.iter().find(|t| !t.scan.iter().chain(t.touched.iter()).all(|v| v.is_finite())) {
        return Err(Unchecked::NotFinite { name: bad.name.clone() });
    }
    let off: Vec<_> = touches.iter().map(|t| patient_from_reference * t.touched - t.scan).collect();
    let judged = touches.iter().zip(&off).map(|(touch, off)| {
        // A length's mean square is the sum over three axes.
        let variance = (touch.tre_mm.powi(2) + demand.fle_mm.powi(2)) / 3.0;
        let plausible_mm = (once_in_a_thousand(3) * variance).sqrt();
        let within = off.norm() <= demand.limit_mm;
        Judged { name: touch.name.clone(), off: *off, plausible_mm, within, plausible: off.norm() <= plausible_mm }
    });
    let landmarks: Vec<Judged> = judged.collect();
    let mean = off.iter().sum::<Vector3<f64>>() / off.len() as f64;
    let cause = cause(touches, &landmarks, &mean, patient_from_reference, demand);
    Ok(Checked { landmarks, mean, cause })
}

fn cause(touches: &[Touch], landmarks: &[Judged], mean: &Vector3<f64>, pose: &Isometry3<f64>, demand: Demand) -> Cause {
    let count = landmarks.len();
    let off: Vec<usize> = (0..count).filter(|i| !landmarks[*i].plausible).collect();
    // The registration's error is common to all, so that their mean has it whole; touches err each for itself.
    let of_mean = (tre_squared(touches) + demand.fle_mm.powi(2) / count as f64) / 3.0;
    if off.is_empty() && mean.norm_squared() <= once_in_a_thousand(3) * of_mean {
        return Cause::Chance;
    }
    // Of two, the one that is where it should be may be what all turned about.
    let alone = (off.len() == 1 && count > 2).then(|| off[0]);
    match (moved(touches, landmarks, mean, pose, demand), alone) {
        (Some(moved), None) => moved,
        (None, Some(index)) => Cause::BadTouch { index },
        (Some(_), Some(_)) => Cause::TooFew,
        (None, None) if count < 3 => Cause::TooFew,
        (None, None) => Cause::Neither,
    }
}

/// Mean square of the predicted errors, mm².
fn tre_squared(touches: &[Touch]) -> f64 {
    touches.iter().map(|t| t.tre_mm.powi(2)).sum::<f64>() / touches.len() as f64
}

/// The one motion that explains all, if one does: a shift before a turn.
fn moved(
    touches: &[Touch],
    landmarks: &[Judged],
    mean: &Vector3<f64>,
    pose: &Isometry3<f64>,
    demand: Demand,
) -> Option<Cause> {
    let count = landmarks.len();
    if count < 2 {
        return None;
    }
    // What a shift leaves is the touches' error, and the registration's as far as it turns.
    let variance = (tre_squared(touches) + demand.fle_mm.powi(2)) / 3.0;
    let left = landmarks.iter().map(|l| (l.off - mean).norm_squared()).sum::<f64>() / variance;
    if left <= once_in_a_thousand(3 * (count - 1)) {
        return Some(Cause::Moved { shift: *mean, turn: None });
    }
    let fiducials: Vec<Fiducial> =
        touches.iter().map(|t| Fiducial::new(&t.name, t.scan, pose * t.touched, demand.fle_mm)).collect();
    let undone = landmarks::register(&fiducials).ok()?.patient_from_reference;
    let middle = Point3::from(touches.iter().map(|t| t.scan.coords).sum::<Vector3<f64>>() / count as f64);
    Some(Cause::Moved { shift: undone.inverse() * middle - middle, turn: Some(undone.rotation.angle()) })
}

#[cfg(test)]
mod tests;
