//! Rigid registration of two scans: mutual information finds the place, robust block matching makes it exact.
//!
//! ```text
//!  8 mm   normalised mutual information from many turns, about centres of mass, centres of the grids, and as the headers say
//!  4 mm   the best few, each followed up its own hill
//!  2 mm   the best one; all of it once more for the mirrored scan, which must say less; then cubes of it are found in the other, and a rigid motion is fitted to where they are
//!  1 mm   cubes again
//! ```
//! **Brain shift and cavity:** the fit believes a cube by its distance from the common motion, with Tukey's weights at
//! [`BELIEVED_MM`]: skull, skull base and scalp move alike to a fraction of that, tissue that has shifted does not.
//! What has no counterpart correlates with nothing and is not found at all.
//! **Error:** of the fit by the cubes' information, as large as their residuals show, plus what leaving out each of [`PARTS`]
//! sectors of the head would change (the delete-a-group jackknife: Künsch, Annals of Statistics 17, 1989): neighbouring cubes err
//! together, and a shift that is still in it pulls the sectors apart.
//! **Not protected against:** a scan without skull in which most of the brain has moved; that motion is then taken for the
//! patient's.

use super::blocks::{self, Match, Search};
use super::picture::Picture;
use super::similarity::{Bins, Samples};
use super::{Layers, Unmatched};
use crate::register::error::{RigidError, lever};
use nalgebra::{Isometry3, Matrix6, Point3, Translation3, UnitQuaternion, Vector3, Vector6};
use rayon::prelude::*;

/// Turns about each axis that the search starts from: 20°, so that any turn up to 30° is within 17° of one.
const START_TURN: f64 = 0.35;
/// Starts that are followed.
const FOLLOWED: usize = 8;
/// Of these, on to the next resolution.
const FOLLOWED_ON: usize = 3;
/// Half of [`crate::register::surface`]'s kind of reach: Tukey's weights end that far from the common motion, mm.
const BELIEVED_MM: f64 = 0.8;
/// The same at 2 mm.
const COARSE_MM: f64 = 1.2;
/// Sectors of the head that are left out in turn.
const PARTS: usize = 8;
/// A cube within that of its place counts as agreeing, mm: beyond it brain shift is rare.
const AGREEING_MM: f64 = 4.0;
/// Of one head the right way round says so many times as much of it as its mirror image, above the 1 of no relation: 1.5 to 2.4
/// were seen of one head, 0.9 to 1.1 of two.
const MORE: f64 = 1.2;
/// Share of cubes with something to see that must be found: of one head 0.4 to 0.5 were, of two less than 0.1.
const FOUND_LEAST: f64 = 0.2;
/// No registration is said to be better than that share of a voxel along each axis: interpolation and intensities that err
/// together are not in the fit's residuals.
const BEST_VOXELS: f64 = 0.05;
/// Cubes that a fit is made of, at least.
const MATCHES_LEAST: usize = 50;
/// Steps of a fit.
const FIT_STEPS: usize = 30;

/// A rigid registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Rigid {
    /// Takes the moving scan's coordinates to the fixed one's.
    pub fixed_from_moving: Isometry3<f64>,
    /// What it means at a target, in the fixed scan.
    pub error: RigidError,
    /// Normalised mutual information as the headers have it, at 4 mm.
    pub nmi_before: f64,
    /// The same after registration.
    pub nmi_after: f64,
    /// Of the mirrored moving scan at its best, at 2 mm.
    pub nmi_mirrored: f64,
    /// Share of the fixed scan that the moving one shows.
    pub overlap: f64,
    /// Share of cubes that were found, of those with something to see.
    pub found: f64,
    /// Of those found, the share within 4 mm of the common motion.
    pub agreeing: f64,
    /// Of those found, the share that the fit believes.
    pub believed: f64,
    /// Root mean square residual of the believed cubes along the directions that each holds, mm.
    pub rms_mm: f64,
}

/// Registers; `done` hears of each of [`STEPS`] steps.
pub(super) fn register(fixed: &Layers, moving: &Layers, done: &(dyn Fn() + Sync)) -> Result<Rigid, Unmatched> {
    let place = search(fixed, moving, 8, 4)?;
    let nmi_before = place.identity;
    let mut moving_from_fixed = climb(fixed, moving, 2, &place.moving_from_fixed, [0.02, 1.5], 0.15)?;
    done();
    let mirror = moving.mirrored();
    let mirror_from_fixed = search(fixed, &mirror, 8, 4)?.moving_from_fixed;
    let mirror_from_fixed = climb(fixed, &mirror, 2, &mirror_from_fixed, [0.02, 1.5], 0.15)?;
    done();
    let (nmi, _) = measure(fixed, moving, 2, &moving_from_fixed)?;
    let (mirrored, _) = measure(fixed, &mirror, 2, &mirror_from_fixed)?;
    if mirrored - 1.0 > MORE * (nmi - 1.0) {
        return Err(Unmatched::Mirrored { nmi, mirrored });
    }
    if nmi - 1.0 < MORE * (mirrored - 1.0) {
        return Err(Unmatched::NoMore { nmi, mirrored });
    }
    done();
    let mut last = None;
    for (mm, stride, reach, believed_mm) in
        [(2, 4, 4, COARSE_MM), (2, 4, 2, COARSE_MM), (1, 6, 2, BELIEVED_MM), (1, 6, 2, BELIEVED_MM)]
    {
        let (picture, other) = (fixed.at_mm(mm), moving.at_mm(mm));
        let centres = centres(picture, stride);
        let laid = lay(picture, other, &moving_from_fixed);
        let search = Search { half: 3, reach, alike: fixed.modality == moving.modality };
        let (matches, seen) = blocks::find(picture, &laid, &[], &centres, search);
        let at = |m: &Match| picture.grid.centre(centres[m.index]);
        let fit =
            Fit::of(&matches, at, believed_mm).ok_or(Unmatched::Few { found: matches.len(), least: MATCHES_LEAST })?;
        moving_from_fixed *= fit.motion;
        last = Some((fit, matches.len() as f64 / seen.max(1) as f64));
        done();
    }
    let Some((fit, found)) = last else { return Err(Unmatched::Flat) };
    if found < FOUND_LEAST {
        return Err(Unmatched::Strangers { found, least: FOUND_LEAST });
    }
    let (nmi_after, overlap) = measure(fixed, moving, 4, &moving_from_fixed)?;
    let mut error = fit.error;
    let least = (BEST_VOXELS * fixed.at_mm(1).grid.spacing_mm).powi(2);
    (3..6).for_each(|a| error.covariance[(a, a)] += least);
    Ok(Rigid {
        fixed_from_moving: moving_from_fixed.inverse(),
        error,
        nmi_before,
        nmi_after,
        nmi_mirrored: mirrored,
        overlap,
        found,
        agreeing: fit.agreeing,
        believed: fit.believed,
        rms_mm: fit.rms_mm,
    })
}

/// How often `done` is called.
pub(super) const STEPS: usize = 7;

/// The moving picture where the fixed one's voxels are.
pub(super) fn lay(fixed: &Picture, moving: &Picture, moving_from_fixed: &Isometry3<f64>) -> Picture {
    let mut laid = Picture { grid: fixed.grid, data: vec![0.0; fixed.grid.len()] };
    let step = moving_from_fixed * Vector3::x() * fixed.grid.spacing_mm;
    laid.fill_rows(|first, row| {
        let start = moving_from_fixed * first;
        for (i, value) in row.iter_mut().enumerate() {
            *value = moving.at(&(start + step * i as f64));
        }
    });
    laid
}

/// Every so many voxels of the picture, those that are not air.
fn centres(picture: &Picture, stride: usize) -> Vec<[usize; 3]> {
    let grid = &picture.grid;
    let along = |a: usize| (stride / 2..grid.dims[a]).step_by(stride);
    let all = along(2).flat_map(|k| along(1).flat_map(move |j| along(0).map(move |i| [i, j, k])));
    all.filter(|v| !picture.data[grid.index(*v)].is_nan()).collect()
}

/// Where a search ended.
struct Place {
    moving_from_fixed: Isometry3<f64>,
    /// Normalised mutual information of the headers' own place.
    identity: f64,
}

/// From many starts at one resolution, the best few on to the next.
fn search(fixed: &Layers, moving: &Layers, coarse: usize, finer: usize) -> Result<Place, Unmatched> {
    let (picture, other) = (fixed.at_mm(coarse), moving.at_mm(coarse));
    let measured = Measured::of(picture, other, 1)?;
    let (here, there) = (fixed.centre, moving.centre);
    let middle = |p: &Picture| {
        let [i, j, k] = p.grid.dims.map(|n| n - 1);
        nalgebra::center(&p.grid.centre([0; 3]), &p.grid.centre([i, j, k]))
    };
    let pairs = [(here, there), (middle(picture), middle(other)), (here, here)];
    let turns = (0..27_i32).map(|n| [n % 3 - 1, n / 3 % 3 - 1, n / 9 - 1].map(f64::from));
    let starts: Vec<Isometry3<f64>> = turns
        .flat_map(|[x, y, z]| {
            let turn = UnitQuaternion::from_euler_angles(x * START_TURN, y * START_TURN, z * START_TURN);
            pairs.map(|(from, to)| Isometry3::from_parts(Translation3::from(to.coords - turn * from.coords), turn))
        })
        .collect();
    let ranked = |starts: Vec<Isometry3<f64>>, score: &(dyn Fn(&Isometry3<f64>) -> f64 + Sync)| {
        let mut scored: Vec<(f64, Isometry3<f64>)> = starts.into_par_iter().map(|s| (score(&s), s)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored
    };
    let first = ranked(starts, &|s| measured.nmi(s));
    let followed: Vec<_> = first.iter().take(FOLLOWED).map(|(_, s)| *s).collect();
    let followed: Vec<_> =
        followed.into_par_iter().map(|s| measured.climb(&s, &fixed.centre, [0.12, 10.0], 0.1)).collect();
    let best: Vec<_> = ranked(followed, &|s| measured.nmi(s)).into_iter().take(FOLLOWED_ON).map(|(_, s)| s).collect();
    let measured = Measured::of(fixed.at_mm(finer), moving.at_mm(finer), 1)?;
    let best: Vec<_> = best.into_par_iter().map(|s| measured.climb(&s, &fixed.centre, [0.05, 4.0], 0.1)).collect();
    let identity = measured.nmi(&Isometry3::identity());
    let (_, moving_from_fixed) = ranked(best, &|s| measured.nmi(s)).into_iter().next().ok_or(Unmatched::Flat)?;
    Ok(Place { moving_from_fixed, identity })
}

fn climb(
    fixed: &Layers,
    moving: &Layers,
    mm: usize,
    start: &Isometry3<f64>,
    steps: [f64; 2],
    least: f64,
) -> Result<Isometry3<f64>, Unmatched> {
    // A quarter of a million samples or so say what two million do.
    let stride = (fixed.at_mm(mm).data.len() / 250_000).max(1) | 1;
    Ok(Measured::of(fixed.at_mm(mm), moving.at_mm(mm), stride)?.climb(start, &fixed.centre, steps, least))
}

fn measure(fixed: &Layers, moving: &Layers, mm: usize, at: &Isometry3<f64>) -> Result<(f64, f64), Unmatched> {
    let measured = Measured::of(fixed.at_mm(mm), moving.at_mm(mm), 1)?;
    Ok(measured.samples.nmi(measured.moving, measured.bins, at))
}

/// Two pictures between which mutual information is measured.
struct Measured<'a> {
    samples: Samples,
    moving: &'a Picture,
    bins: Bins,
}

/// Pictures overlap at least by that share wherever mutual information is believed.
const OVERLAP_LEAST: f64 = 0.3;

impl<'a> Measured<'a> {
    fn of(fixed: &Picture, moving: &'a Picture, stride: usize) -> Result<Self, Unmatched> {
        let flat = || Unmatched::Flat;
        let samples = Samples::of(fixed, Bins::of(fixed).ok_or_else(flat)?, stride);
        Ok(Self { samples, moving, bins: Bins::of(moving).ok_or_else(flat)? })
    }

    fn nmi(&self, moving_from_fixed: &Isometry3<f64>) -> f64 {
        let (nmi, overlap) = self.samples.nmi(self.moving, self.bins, moving_from_fixed);
        if overlap >= OVERLAP_LEAST { nmi } else { 1.0 }
    }

    /// Uphill along turns about a centre and shifts, by Hooke and Jeeves (Journal of the ACM 8, 1961): try each way, go on along
    /// what helped, halve the steps when nothing does. `steps`: rad, mm; until they are `least` of that.
    fn climb(&self, start: &Isometry3<f64>, centre: &Point3<f64>, steps: [f64; 2], least: f64) -> Isometry3<f64> {
        let at = |p: &Vector6<f64>| start * turned(centre, p);
        let score = |p: &Vector6<f64>| self.nmi(&at(p));
        let (mut here, mut scale) = (Vector6::zeros(), 1.0);
        let mut best = score(&here);
        while scale >= least {
            let (from, was) = (here, best);
            for a in 0..6 {
                let size = scale * if a < 3 { steps[0] } else { steps[1] };
                for sign in [1.0, -1.0] {
                    let mut tried = here;
                    tried[a] += sign * size;
                    let found = score(&tried);
                    if found > best {
                        (here, best) = (tried, found);
                        break;
                    }
                }
            }
            if best > was {
                let on = here + (here - from);
                let found = score(&on);
                if found > best {
                    (here, best) = (on, found);
                }
            } else {
                scale *= 0.5;
            }
        }
        at(&here)
    }
}

/// A turn about a point, then a shift.
fn turned(centre: &Point3<f64>, p: &Vector6<f64>) -> Isometry3<f64> {
    let turn = UnitQuaternion::from_scaled_axis(p.fixed_rows::<3>(0).into_owned());
    let shift = p.fixed_rows::<3>(3).into_owned();
    Isometry3::from_parts(Translation3::from(centre.coords - turn * centre.coords + shift), turn)
}

/// A rigid motion fitted to cubes.
pub(super) struct Fit {
    /// Takes points of the fixed picture to where the laid one shows them.
    pub motion: Isometry3<f64>,
    pub error: RigidError,
    pub agreeing: f64,
    pub believed: f64,
    pub rms_mm: f64,
}

impl Fit {
    /// `None` where too little holds it.
    pub fn of(matches: &[Match], at: impl Fn(&Match) -> Point3<f64>, believed_mm: f64) -> Option<Self> {
        (matches.len() >= MATCHES_LEAST).then_some(())?;
        let places: Vec<Point3<f64>> = matches.iter().map(&at).collect();
        let centre = Point3::from(places.iter().map(|p| p.coords).sum::<Vector3<f64>>() / places.len() as f64);
        let mut p = Vector6::zeros();
        let mut reach = 8.0_f64;
        for _ in 0..FIT_STEPS {
            let weights: Vec<f64> =
                matches.iter().zip(&places).map(|(m, at)| tukey(off(m, at, &centre, &p), reach)).collect();
            let (information, right) = equations(matches, &places, &centre, |i| weights[i]);
            let next = information.cholesky()?.solve(&right);
            let settled = (next - p).norm() < 1e-7 && reach <= believed_mm;
            p = next;
            if settled {
                break;
            }
            reach = (reach * 0.75).max(believed_mm);
        }
        let offs: Vec<f64> = matches.iter().zip(&places).map(|(m, at)| off(m, at, &centre, &p)).collect();
        let weight = |i: usize| tukey(offs[i], believed_mm);
        let (information, _) = equations(matches, &places, &centre, weight);
        let total: f64 = (0..matches.len()).map(weight).sum();
        let squares: f64 = (0..matches.len()).map(|i| weight(i) * offs[i] * offs[i]).sum();
        let chi: f64 = (0..matches.len()).map(|i| weight(i) * excess(&matches[i], &places[i], &centre, &p)).sum();
        // A cube holds between one and three directions; two on average.
        let scale = (chi / (2.0 * total - 6.0).max(1.0)).max(1.0);
        let mut covariance = information.try_inverse()? * scale;
        covariance += jackknife(matches, &places, &centre, &weight, &p)?;
        let share = |count: usize| count as f64 / matches.len() as f64;
        Some(Self {
            motion: turned(&centre, &p),
            error: RigidError { centre, covariance },
            agreeing: share(offs.iter().filter(|o| **o < AGREEING_MM).count()),
            believed: share(offs.iter().filter(|o| **o < believed_mm).count()),
            rms_mm: (squares / total.max(1e-9)).sqrt(),
        })
    }
}

/// How a cube is off a motion, mm.
fn residual(m: &Match, at: &Point3<f64>, centre: &Point3<f64>, p: &Vector6<f64>) -> Vector3<f64> {
    m.shift - lever(&(at - centre)) * p
}

/// Its length along the directions that the cube holds, mm.
fn off(m: &Match, at: &Point3<f64>, centre: &Point3<f64>, p: &Vector6<f64>) -> f64 {
    let e = residual(m, at, centre, p);
    let most = m.information.symmetric_eigenvalues().max().max(1e-9);
    (e.dot(&(m.information * e)) / most).max(0.0).sqrt()
}

/// The same in standard deviations, squared.
fn excess(m: &Match, at: &Point3<f64>, centre: &Point3<f64>, p: &Vector6<f64>) -> f64 {
    let e = residual(m, at, centre, p);
    e.dot(&(m.information * e))
}

fn equations(
    matches: &[Match],
    places: &[Point3<f64>],
    centre: &Point3<f64>,
    weight: impl Fn(usize) -> f64,
) -> (Matrix6<f64>, Vector6<f64>) {
    let (mut information, mut right) = (Matrix6::zeros(), Vector6::zeros());
    for (i, (m, at)) in matches.iter().zip(places).enumerate() {
        let w = weight(i);
        if w > 0.0 {
            let lever = lever(&(at - centre));
            let held = lever.transpose() * m.information * w;
            information += held * lever;
            right += held * m.shift;
        }
    }
    (information, right)
}

/// How much the fit changes when sectors of the head are left out.
fn jackknife(
    matches: &[Match],
    places: &[Point3<f64>],
    centre: &Point3<f64>,
    weight: &dyn Fn(usize) -> f64,
    p: &Vector6<f64>,
) -> Option<Matrix6<f64>> {
    let part = |at: &Point3<f64>| (0..3).map(|a| usize::from(at[a] > centre[a]) << a).sum::<usize>();
    let mut covariance = Matrix6::zeros();
    for left_out in 0..PARTS {
        let kept = |i: usize| if part(&places[i]) == left_out { 0.0 } else { weight(i) };
        let (information, right) = equations(matches, places, centre, kept);
        let change = information.cholesky()?.solve(&right) - p;
        covariance += change * change.transpose();
    }
    Some(covariance * ((PARTS - 1) as f64 / PARTS as f64))
}

pub(super) fn tukey(distance: f64, reach: f64) -> f64 {
    let share = distance / reach;
    if share < 1.0 { (1.0 - share * share).powi(2) } else { 0.0 }
}
