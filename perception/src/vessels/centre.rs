//! Centrelines between voxels: every point is moved to the middle of the brightness around it, across the line.
//!
//! A step of mean shift (D. Comaniciu, P. Meer, IEEE TPAMI 24, 2002): the mean of the offsets in the plane across the
//! line, weighted by brightness over the surroundings' and by a Gaussian as wide as the scale at which the line was
//! found; then the line is smoothed. **Units:** mm. **Allocation:** the lines. **Not protected against:** a bright
//! neighbour within two scales, which draws a line to itself.

use super::picture::Picture;
use nalgebra::{Point3, Vector3};

/// Distance of points.
pub(super) const SPACING_MM: f64 = 0.5;
/// Steps of mean shift.
const STEPS: usize = 5;
/// At a free end, so many scales of a line may be no line.
const HOOK_SCALES: f64 = 3.0;
/// Along the line, brightness counts within that distance.
const ALONG_MM: f64 = 1.0;

/// A centreline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Course {
    /// About [`SPACING_MM`] apart, nodes included.
    pub points: Vec<Point3<f64>>,
    /// Scale at which each was found, mm.
    pub scale_mm: Vec<f64>,
    /// By how much each still wants to move, mm.
    pub unrest_mm: Vec<f64>,
}

impl Course {
    /// Refines a way of voxel centres, each with its scale; `free` says which of its ends meet no other line.
    pub fn refined(picture: &Picture, way: &[(Point3<f64>, f64)], free: [bool; 2]) -> Self {
        let mut places: Vec<Place> = way.iter().map(|(at, scale_mm)| (*at, [*scale_mm, 0.0])).collect();
        // Chains of voxels are jagged.
        places = resampled(&places);
        (0..4).for_each(|_| smoothen(&mut places));
        for _ in 0..STEPS {
            let moves: Vec<Vector3<f64>> = (0..places.len())
                .map(|n| shift(picture, &places[n].0, &direction(places.len(), n, |i| places[i].0), places[n].1[0]))
                .collect();
            for ((at, [_, unrest_mm]), by) in places.iter_mut().zip(&moves) {
                *at += by;
                *unrest_mm = by.norm();
            }
            smoothen(&mut places);
        }
        for free in free {
            if free {
                unhook(&mut places);
            }
            places.reverse();
        }
        let places = resampled(&places);
        Self {
            points: places.iter().map(|p| p.0).collect(),
            scale_mm: places.iter().map(|p| p.1[0]).collect(),
            unrest_mm: places.iter().map(|p| p.1[1]).collect(),
        }
    }

    /// Its length.
    pub fn length_mm(&self) -> f64 {
        self.points.windows(2).map(|w| nalgebra::distance(&w[0], &w[1])).sum()
    }

    /// Mean distance of its points.
    pub fn spacing_mm(&self) -> f64 {
        self.length_mm() / (self.points.len() - 1) as f64
    }
}

/// A point with its scale and by how much it still wants to move.
type Place = (Point3<f64>, [f64; 2]);

/// Direction of a line at one of its points; any where it is a point.
pub(super) fn tangent(points: &[Point3<f64>], n: usize) -> Vector3<f64> {
    direction(points.len(), n, |i| points[i])
}

fn direction(count: usize, n: usize, at: impl Fn(usize) -> Point3<f64>) -> Vector3<f64> {
    let (before, after) = (n.saturating_sub(2), (n + 2).min(count - 1));
    (at(after) - at(before)).try_normalize(1e-9).unwrap_or_else(Vector3::x)
}

/// Places at even distances.
fn resampled(way: &[Place]) -> Vec<Place> {
    let length: f64 = way.windows(2).map(|w| nalgebra::distance(&w[0].0, &w[1].0)).sum();
    let pieces = (length / SPACING_MM).round().max(2.0) as usize;
    let step = length / pieces as f64;
    let mut places = vec![way[0]];
    let mut passed = 0.0;
    for leg in way.windows(2) {
        let [(from, a), (to, b)] = [leg[0], leg[1]];
        let leg_mm = nalgebra::distance(&from, &to);
        while places.len() < pieces && places.len() as f64 * step <= passed + leg_mm {
            let share = (places.len() as f64 * step - passed) / leg_mm.max(1e-12);
            places.push((from + (to - from) * share, std::array::from_fn(|i| a[i] + (b[i] - a[i]) * share)));
        }
        passed += leg_mm;
    }
    places.push(way[way.len() - 1]);
    places
}

/// A quarter of both neighbours; ends stay.
fn smoothen(places: &mut [Place]) {
    let mut before = places[0].0;
    for n in 1..places.len() - 1 {
        let here = places[n].0;
        places[n].0 = here + ((before - here) + (places[n + 1].0 - here)) * 0.25;
        before = here;
    }
}

/// Takes off what turns back at the start of a line: at a tube's end the middle of the brightness lies inside it.
fn unhook(places: &mut Vec<Place>) {
    let reach = (HOOK_SCALES * places[0].1[0] / SPACING_MM).ceil() as usize;
    if places.len() < 2 * reach + 3 {
        return;
    }
    let ahead = (places[reach + 2].0 - places[reach].0).try_normalize(1e-9).unwrap_or_else(Vector3::x);
    let backward = |n: &usize| (places[*n + 1].0 - places[*n].0).dot(&ahead) < 0.5 * SPACING_MM;
    let hooked = (0..reach).rev().find(backward).map_or(0, |n| n + 1);
    places.drain(..hooked);
}

/// By how much a point is beside the middle.
fn shift(picture: &Picture, at: &Point3<f64>, along: &Vector3<f64>, scale_mm: f64) -> Vector3<f64> {
    let reach_mm = 3.0 * scale_mm;
    let mut voxels = Vec::with_capacity(512);
    picture.around(at, reach_mm.hypot(ALONG_MM), |index, offset| {
        let along_mm = offset.dot(along);
        let across = offset - along * along_mm;
        if along_mm.abs() <= ALONG_MM && across.norm() <= reach_mm {
            voxels.push((across, f64::from(picture.brightness[index])));
        }
    });
    let (level, slope) = surroundings(&voxels, 2.0 * scale_mm);
    let (mut sum, mut weight) = (Vector3::zeros(), 0.0);
    for (across, brightness) in voxels {
        let over = (brightness - level - slope.dot(&across)).max(0.0);
        let w = over * libm::exp(-0.5 * across.norm_squared() / (scale_mm * scale_mm));
        sum += across * w;
        weight += w;
    }
    if weight > 1e-9 { sum / weight } else { Vector3::zeros() }
}

/// A plane through what is farther from the axis than that: vessels lie between fluid and tissue, one side brighter.
fn surroundings(voxels: &[(Vector3<f64>, f64)], from_mm: f64) -> (f64, Vector3<f64>) {
    let far = || voxels.iter().filter(|(across, _)| across.norm() > from_mm);
    let count = far().count().max(1) as f64;
    let level = far().map(|(_, brightness)| brightness).sum::<f64>() / count;
    // Around a full ring Σ x xᵀ is half of Σ |x|² in the plane across.
    let spread: f64 = far().map(|(across, _)| 0.5 * across.norm_squared()).sum();
    let moment: Vector3<f64> = far().map(|(across, brightness)| across * (brightness - level)).sum();
    (level, moment / spread.max(1e-9))
}
