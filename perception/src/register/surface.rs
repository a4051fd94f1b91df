//! Surface registration: points that a pointer traced on skin or bone, laid onto that surface in the scan.
//!
//! Closest points by a k-d tree, distances along the surface's normals (Chen and Medioni, 1992), Tukey's weights
//! against points that are on something else, from several starts around the given one. The error at a target follows
//! from how well the traced points hold each turn and shift; where they hold one badly (a sphere turns, a plane slides), or another start fits
//! as well elsewhere, the registration is refused.
//!
//! **Neighbours err alike** on real skin, where scan and touch differ by patches and not by points. How much is seen from how the result
//! moves when patches of [`PATCH_MM`] are left out, one at a time (jackknife by clusters: Bell and McCaffrey, Survey Methodology
//! 28, 2002, their CR3); in each direction of turn and shift the larger of this covariance and that of independent errors counts.
//!
//! **Not protected against:** a start farther off than [`CAPTURE_MM`] and [`CAPTURE`]; skin that has moved, which lies on the surface
//! and is wrong all the same.

use super::error::{RigidError, lever};
use kiddo::{ImmutableKdTree, SquaredEuclidean};
use nalgebra::{Isometry3, Matrix6, Point3, Translation3, UnitQuaternion, Vector3, Vector6};
use std::collections::BTreeMap;

/// Traced points, at least.
pub const TRACED_MIN: usize = 30;
/// How far off a start may be: mm.
pub const CAPTURE_MM: f64 = 10.0;
/// How far off a start may be: rad, 10°.
pub const CAPTURE: f64 = 0.175;
/// Shares of traced points that must lie on the surface.
const ON_MIN: f64 = 0.7;
/// A turn or shift that is less certain than this is refused: 3°.
const TURN_UNCERTAIN_MAX: f64 = super::landmarks::TURN_UNCERTAIN_MAX;
/// The same of a shift, mm.
const SHIFT_UNCERTAIN_MAX_MM: f64 = 2.0;
/// Tukey's constant: 95 % as efficient as least squares where errors are normal.
const TUKEY: f64 = 4.685;
/// Steps from each start, at most.
const STEPS_MAX: usize = 80;
/// Edge of the patches over which errors may go together, mm.
pub const PATCH_MM: f64 = 40.0;
/// Two results are the same place within this at the traced points, mm.
const SAME_MM: f64 = 3.0;
/// Another result fits as well if its residuals are at most so many times as large.
const AS_WELL: f64 = 1.2;

/// A surface in the scan.
#[derive(Debug)]
pub struct Surface {
    tree: ImmutableKdTree<f64, 3>,
    points: Vec<Point3<f64>>,
    normals: Vec<Vector3<f64>>,
}

impl Surface {
    /// Of points, patient LPS, mm, each with its unit normal. `None` where there are none, or a number is not finite.
    #[must_use]
    pub fn new(points: Vec<Point3<f64>>, normals: Vec<Vector3<f64>>) -> Option<Self> {
        let finite = points.iter().all(|p| p.iter().all(|v| v.is_finite()));
        let unit = normals.iter().all(|n| (n.norm() - 1.0).abs() < 1e-3);
        if points.is_empty() || points.len() != normals.len() || !finite || !unit {
            return None;
        }
        let coordinates: Vec<[f64; 3]> = points.iter().map(|p| p.coords.into()).collect();
        Some(Self { tree: ImmutableKdTree::new_from_slice(&coordinates), points, normals })
    }

    /// Distance of a point from the tangent plane at the closest surface point, mm, its normal, and how far that point is.
    fn beside(&self, at: &Point3<f64>) -> (f64, Vector3<f64>, f64) {
        let nearest = self.tree.nearest_one::<SquaredEuclidean>(&at.coords.into());
        let index = usize::try_from(nearest.item).unwrap_or(usize::MAX);
        let (point, normal) = (self.points[index], self.normals[index]);
        ((at - point).dot(&normal), normal, nearest.distance.sqrt())
    }
}

/// Why these points say not how the patient lies.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unlaid {
    /// Too few.
    #[error("{found} traced points; at least {TRACED_MIN} are needed")]
    TooFew {
        /// How many came.
        found: usize,
    },
    /// A coordinate that is no number.
    #[error("traced point {index} holds a number that is not finite")]
    NotFinite {
        /// Which.
        index: usize,
    },
    /// The points are on something else.
    #[error(
        "{percent:.0} % of the traced points lie on the surface; at least 70 % must: is it the right surface, and the start within 10 mm and 10°?"
    )]
    Off {
        /// How many of a hundred.
        percent: f64,
    },
    /// The shape does not hold the points.
    #[error(
        "the traced points could turn by {degrees:.1}° or slide by {mm:.1} mm along the surface; at most 3° and 2 mm are right: trace nose, brow and both sides; if they are traced, is it this patient's scan?"
    )]
    Loose {
        /// Standard deviation of the least certain turn, degrees.
        degrees: f64,
        /// That of the least certain shift, mm.
        mm: f64,
    },
    /// Two places fit.
    #[error(
        "the traced points fit {mm:.1} mm apart as well ({first_mm:.2} and {second_mm:.2} mm): trace more of the surface"
    )]
    Ambiguous {
        /// How far apart, at the traced points.
        mm: f64,
        /// Residual here.
        first_mm: f64,
        /// Residual there.
        second_mm: f64,
    },
}

/// A registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Laid {
    /// Takes the reference array's coordinates to the scan's.
    pub patient_from_reference: Isometry3<f64>,
    /// Root mean square distance of the points on the surface from it, mm.
    pub rms_mm: f64,
    /// Share of the points that are on it.
    pub on_surface: f64,
    /// What it means at a target.
    pub error: RigidError,
}

/// Lays traced points, in the reference array's coordinates, onto the surface. `fle_mm`: standard deviation of a traced point
/// along the normal, as stated; a larger one that the residuals show counts.
///
/// # Errors
/// [`Unlaid`].
pub fn register(
    surface: &Surface,
    traced: &[Point3<f64>],
    start: &Isometry3<f64>,
    fle_mm: f64,
) -> Result<Laid, Unlaid> {
    let found = traced.len();
    if let Some(index) = traced.iter().position(|p| !p.iter().all(|v| v.is_finite())) {
        return Err(Unlaid::NotFinite { index });
    }
    if found < TRACED_MIN {
        return Err(Unlaid::TooFew { found });
    }
    let mut ends: Vec<End> = starts(start, traced).map(|start| lay(surface, traced, start, fle_mm)).collect();
    ends.sort_by(|a, b| a.merit.total_cmp(&b.merit));
    let best = &mut ends[0];
    best.error.covariance = larger(&best.error.covariance, &by_patches(surface, traced, best, fle_mm));
    let best = &ends[0];
    if best.on_surface < ON_MIN {
        return Err(Unlaid::Off { percent: best.on_surface * 100.0 });
    }
    let (turn, _) = best.error.least_certain_turn();
    let shifts = best.error.covariance.fixed_view::<3, 3>(3, 3).into_owned().symmetric_eigenvalues();
    let shift = shifts.max().max(0.0).sqrt();
    if !(0.0..=TURN_UNCERTAIN_MAX).contains(&turn) || !(0.0..=SHIFT_UNCERTAIN_MAX_MM).contains(&shift) {
        return Err(Unlaid::Loose { degrees: turn.to_degrees(), mm: shift });
    }
    let apart = |other: &End| {
        let squares: f64 = traced.iter().map(|p| (best.pose * p - other.pose * p).norm_squared()).sum();
        (squares / found as f64).sqrt()
    };
    // Where residuals are far below the stated error, a proportion of them says nothing.
    let as_well = |other: &&End| other.merit.max(fle_mm) <= AS_WELL * best.merit.max(fle_mm) && apart(other) > SAME_MM;
    if let Some(other) = ends.iter().skip(1).find(as_well) {
        let (first_mm, second_mm) = (best.rms_mm, other.rms_mm);
        return Err(Unlaid::Ambiguous { mm: apart(other), first_mm, second_mm });
    }
    Ok(Laid { patient_from_reference: best.pose, rms_mm: best.rms_mm, on_surface: best.on_surface, error: best.error })
}

/// The start itself, and turned and shifted both ways along each axis by half of what may be captured.
fn starts(start: &Isometry3<f64>, traced: &[Point3<f64>]) -> impl Iterator<Item = Isometry3<f64>> {
    let middle = start * Point3::from(traced.iter().map(|p| p.coords).sum::<Vector3<f64>>() / traced.len() as f64);
    let start = *start;
    let each = (0..3).flat_map(|k| [-1.0, 1.0].map(|sign| Vector3::ith(k, sign)));
    let turned = each.clone().map(move |axis| {
        let turn = UnitQuaternion::from_scaled_axis(axis * (CAPTURE / 2.0));
        about(&middle, turn, Vector3::zeros()) * start
    });
    let shifted = each.map(move |axis| Isometry3::from(axis * (CAPTURE_MM / 2.0)) * start);
    std::iter::once(start).chain(turned).chain(shifted)
}

/// A turn about a point, then a shift.
fn about(centre: &Point3<f64>, turn: UnitQuaternion<f64>, shift: Vector3<f64>) -> Isometry3<f64> {
    Isometry3::from_parts(Translation3::from(centre.coords - turn * centre.coords + shift), turn)
}

/// Where the steps from one start end.
struct End {
    pose: Isometry3<f64>,
    rms_mm: f64,
    on_surface: f64,
    error: RigidError,
    /// Root mean square distance with far points counted as at the edge of what is believed, mm: comparable between ends.
    merit: f64,
}

fn lay(surface: &Surface, traced: &[Point3<f64>], start: Isometry3<f64>, fle_mm: f64) -> End {
    let mut pose = start;
    let mut error = RigidError::of_information(Point3::origin(), &Matrix6::zeros());
    let mut reach = f64::INFINITY;
    for _ in 0..STEPS_MAX {
        let placed: Vec<_> = traced.iter().map(|p| pose * p).collect();
        let beside: Vec<_> = placed.iter().map(|p| surface.beside(p)).collect();
        reach = TUKEY * spread(&beside).max(fle_mm);
        let centre = Point3::from(placed.iter().map(|p| p.coords).sum::<Vector3<f64>>() / placed.len() as f64);
        let (mut normal, mut right, mut squares, mut weights) = (Matrix6::zeros(), Vector6::zeros(), 0.0, 0.0);
        for (at, (distance, along, _)) in placed.iter().zip(&beside) {
            let weight = tukey(*distance, reach);
            let row = (along.transpose() * lever(&(at - centre))).transpose();
            normal += row * row.transpose() * weight;
            right -= row * (*distance * weight);
            squares += weight * distance * distance;
            weights += weight;
        }
        let variance = (squares / (weights - 6.0).max(1.0)).max(fle_mm * fle_mm);
        error = RigidError::of_information(centre, &(normal / variance));
        let mut step = error.covariance / variance * right;
        // A turn that nothing holds must not run away on the way.
        let most = (step.fixed_rows::<3>(0).norm() / CAPTURE).max(step.fixed_rows::<3>(3).norm() / CAPTURE_MM);
        step /= most.max(1.0);
        let turn = UnitQuaternion::from_scaled_axis(step.fixed_rows::<3>(0).into_owned());
        pose = about(&centre, turn, step.fixed_rows::<3>(3).into_owned()) * pose;
        if step.norm() < 1e-9 {
            break;
        }
    }
    let distances: Vec<f64> = traced.iter().map(|p| surface.beside(&(pose * p)).2).collect();
    let planes: Vec<f64> = traced.iter().map(|p| surface.beside(&(pose * p)).0).collect();
    let on = planes.iter().filter(|d| d.abs() < reach);
    let count = on.clone().count();
    let rms_mm = (on.map(|d| d * d).sum::<f64>() / count.max(1) as f64).sqrt();
    // Points beyond the surface's end have a tangent plane near by, and are on nothing.
    let near = distances.iter().filter(|d| **d < reach + CAPTURE_MM).count();
    let cap = 3.0 * fle_mm.max(0.5);
    let merit = (planes.iter().map(|d| d.abs().min(cap).powi(2)).sum::<f64>() / traced.len() as f64).sqrt();
    End { pose, rms_mm, on_surface: count.min(near) as f64 / traced.len() as f64, error, merit }
}

/// Covariance of turn and shift by leaving out patches of the surface; none where there are too few to tell.
fn by_patches(surface: &Surface, traced: &[Point3<f64>], end: &End, fle_mm: f64) -> Matrix6<f64> {
    let placed: Vec<_> = traced.iter().map(|p| end.pose * p).collect();
    let beside: Vec<_> = placed.iter().map(|p| surface.beside(p)).collect();
    let reach = TUKEY * spread(&beside).max(fle_mm);
    // Sorted by their places, so that sums do not depend on chance.
    let mut patches: BTreeMap<[i64; 3], (Matrix6<f64>, Vector6<f64>)> = BTreeMap::new();
    for (at, (distance, along, _)) in placed.iter().zip(&beside) {
        let weight = tukey(*distance, reach);
        let row = (along.transpose() * lever(&(at - end.error.centre))).transpose();
        let place = at.coords.map(|v| (v / PATCH_MM).floor() as i64);
        let patch = patches.entry(place.into()).or_insert_with(|| (Matrix6::zeros(), Vector6::zeros()));
        patch.0 += row * row.transpose() * weight;
        patch.1 += row * (weight * distance);
    }
    let whole: Matrix6<f64> = patches.values().map(|(information, _)| information).sum();
    let moved = patches.values().map(|(information, pull)| {
        // What the others alone would say: one step from here.
        let step = (whole - information).cholesky()?.solve(pull);
        Some(step * step.transpose())
    });
    let count = patches.len() as f64;
    let sum = moved.sum::<Option<Matrix6<f64>>>().unwrap_or_else(Matrix6::zeros);
    sum * ((count - 1.0) / count)
}

/// In each direction the larger of two covariances.
fn larger(one: &Matrix6<f64>, other: &Matrix6<f64>) -> Matrix6<f64> {
    let Some(root) = one.cholesky().map(|c| c.l()) else { return *one };
    let Some(back) = root.try_inverse() else { return *one };
    let beside = (back * other * back.transpose()).symmetric_eigen();
    let root = root * beside.eigenvectors;
    let larger = root * Matrix6::from_diagonal(&beside.eigenvalues.map(|v| v.max(1.0))) * root.transpose();
    if larger.iter().all(|v| v.is_finite()) { larger } else { *one }
}

/// A robust standard deviation of the distances, mm: from their median size.
fn spread(beside: &[(f64, Vector3<f64>, f64)]) -> f64 {
    let mut sizes: Vec<f64> = beside.iter().map(|(distance, ..)| distance.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    1.4826 * sizes[sizes.len() / 2]
}

fn tukey(distance: f64, reach: f64) -> f64 {
    let share = distance / reach;
    if share.abs() < 1.0 { (1.0 - share * share).powi(2) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;

    /// The front of a head: an ellipsoid with a nose, eye sockets and a brow.
    fn face() -> Surface {
        let (mut points, mut normals) = (Vec::new(), Vec::new());
        let at = |u: f64, v: f64| {
            let bump = |cu: f64, cv: f64, width: f64, height: f64| {
                height * (-((u - cu).powi(2) + (v - cv).powi(2)) / (2.0 * width * width)).exp()
            };
            let out = 1.0 + bump(0.0, -0.3, 0.13, 0.25) - bump(0.35, 0.0, 0.15, 0.10) - bump(-0.35, 0.0, 0.15, 0.10)
                + bump(0.0, 0.35, 0.3, 0.04);
            Point3::new(75.0 * u.sin() * v.cos() * out, -95.0 * u.cos() * v.cos() * out, 100.0 * v.sin() * out)
        };
        for (i, j) in (0..240).flat_map(|i| (0..180).map(move |j| (i, j))) {
            let (u, v) = (f64::from(i) * 0.01 - 1.2, f64::from(j) * 0.01 - 0.9);
            let (du, dv) = (at(u + 1e-4, v) - at(u - 1e-4, v), at(u, v + 1e-4) - at(u, v - 1e-4));
            points.push(at(u, v));
            normals.push(du.cross(&dv).normalize());
        }
        Surface::new(points, normals).expect("a surface")
    }

    fn traced(noise: &mut Noise, surface: &Surface, count: usize, pose: &Isometry3<f64>, mm: f64) -> Vec<Point3<f64>> {
        let one = |noise: &mut Noise| {
            let index = noise.between(0.0, surface.points.len() as f64) as usize;
            pose.inverse() * (surface.points[index] + surface.normals[index] * noise.normal(mm))
        };
        (0..count).map(|_| one(noise)).collect()
    }

    fn off(noise: &mut Noise) -> Isometry3<f64> {
        let turn = noise.vector(1.0).normalize() * 0.14;
        Isometry3::new(noise.vector(1.0).normalize() * 8.0, turn)
    }

    #[test]
    fn a_face_is_found_from_anywhere_within_the_capture_and_as_well_as_stated() {
        let (surface, mut noise) = (face(), Noise::new(1));
        let target = Point3::new(20.0, 20.0, 40.0);
        let (mut squares, mut stated) = (0.0, 0.0);
        for _ in 0..40 {
            let truth = Isometry3::new(noise.vector(200.0), noise.vector(0.7));
            let traced = traced(&mut noise, &surface, 150, &truth, 0.5);
            let found = register(&surface, &traced, &(off(&mut noise) * truth), 0.5).expect("registers");
            let apart = (found.patient_from_reference * (truth.inverse() * target) - target).norm();
            assert!(apart < 3.0, "{apart} mm off, rms {}", found.rms_mm);
            squares += apart * apart;
            stated += found.error.at(&target).trace();
        }
        let ratio = f64::sqrt(squares / stated);
        assert!((0.6..1.5).contains(&ratio), "spread over stated: {ratio}");
    }

    #[test]
    fn errors_that_neighbours_share_are_in_what_is_stated() {
        let (surface, mut noise) = (face(), Noise::new(4));
        let target = Point3::new(20.0, 20.0, 40.0);
        let (mut squares, mut stated) = (0.0, 0.0);
        for _ in 0..60 {
            let truth = Isometry3::new(noise.vector(50.0), noise.vector(0.3));
            // Skin and scan differ by waves of some centimetres, 0.7 mm root mean square.
            let waves: Vec<_> =
                (0..8).map(|_| (noise.vector(0.05), noise.between(0.0, std::f64::consts::TAU))).collect();
            let wave =
                |at: &Point3<f64>| waves.iter().map(|(k, phase)| (k.dot(&at.coords) + phase).sin() * 0.35).sum::<f64>();
            let points: Vec<_> = (0..200)
                .map(|_| {
                    let index = noise.between(0.0, surface.points.len() as f64) as usize;
                    let (at, normal) = (surface.points[index], surface.normals[index]);
                    truth.inverse() * (at + normal * (wave(&at) + noise.normal(0.3)))
                })
                .collect();
            let found = register(&surface, &points, &(off(&mut noise) * truth), 0.4).expect("registers");
            squares += (found.patient_from_reference * (truth.inverse() * target) - target).norm_squared();
            stated += found.error.at(&target).trace();
        }
        let ratio = f64::sqrt(squares / stated);
        assert!((0.6..1.5).contains(&ratio), "spread over stated: {ratio}");
    }

    #[test]
    fn a_fifth_of_points_on_something_else_costs_little() {
        let (surface, mut noise) = (face(), Noise::new(2));
        let target = Point3::new(0.0, 0.0, 30.0);
        for _ in 0..10 {
            let truth = Isometry3::new(noise.vector(50.0), noise.vector(0.3));
            let mut points = traced(&mut noise, &surface, 150, &truth, 0.4);
            for point in &mut points[..30] {
                *point += noise.vector(1.0).normalize() * 25.0;
            }
            let found = register(&surface, &points, &(off(&mut noise) * truth), 0.4).expect("registers");
            let apart = (found.patient_from_reference * (truth.inverse() * target) - target).norm();
            assert!(apart < 2.0 && found.on_surface < 0.95, "{apart} mm off, {} on", found.on_surface);
        }
    }

    #[test]
    fn what_slides_or_lies_elsewhere_is_refused() {
        let mut noise = Noise::new(3);
        let ball = |i: i32, j: i32| {
            let (u, v) = (f64::from(i) * 0.02, f64::from(j) * 0.02);
            Vector3::new(u.sin() * v.cos(), u.cos() * v.cos(), v.sin())
        };
        let normals: Vec<_> = (-50..50).flat_map(|i| (-50..50).map(move |j| ball(i, j))).collect();
        let sphere = Surface::new(normals.iter().map(|n| Point3::from(n * 90.0)).collect(), normals).expect("a sphere");
        let points = traced(&mut noise, &sphere, 100, &Isometry3::identity(), 0.5);
        let said = register(&sphere, &points, &Isometry3::identity(), 0.5);
        assert!(matches!(said, Err(Unlaid::Loose { .. } | Unlaid::Ambiguous { .. })), "a sphere turns: {said:?}");

        let face = face();
        let elsewhere: Vec<_> = (0..100).map(|_| Point3::from(noise.vector(60.0))).collect();
        let said = register(&face, &elsewhere, &Isometry3::identity(), 0.5);
        assert!(matches!(said, Err(Unlaid::Off { .. } | Unlaid::Loose { .. })), "a cloud: {said:?}");
        assert!(matches!(
            register(&face, &elsewhere[..5], &Isometry3::identity(), 0.5),
            Err(Unlaid::TooFew { found: 5 })
        ));
        let mut broken = elsewhere.clone();
        broken[9].x = f64::NAN;
        assert_eq!(register(&face, &broken, &Isometry3::identity(), 0.5), Err(Unlaid::NotFinite { index: 9 }));
        assert!(Surface::new(Vec::new(), Vec::new()).is_none());
    }
}
