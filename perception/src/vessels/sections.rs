//! Cross sections: mean brightness over rings around an axis, at stations along a line.
//!
//! A station takes the voxels that the line owns in a window along it, so that noise and what lies on one side only are
//! averaged; voxels that another line brightens are left out. **Units:** mm, brightness. **Allocation:** the sections.

use super::centre::Course;
use super::disc::Ring;
use super::owners::{BESIDE_MM, Owned, scale_radius_mm};
use super::picture::Picture;
use nalgebra::Point3;

/// Distance of stations along a line.
const STATION_MM: f64 = 1.0;
/// A station sees so far both ways along the line.
const WINDOW_MM: f64 = 2.0;
/// Rings are that share of a voxel's smallest edge wide.
const RING_SHARE: f64 = 0.35;
/// Fewest voxels of a ring and rings of a station.
const RING_MIN: usize = 3;
const RINGS_MIN: usize = 6;
/// Outside a vessel, voxels nearer than that to another one's surface are left out, mm: two point spreads or so.
const CLEAR_MM: f32 = 1.2;
/// Rings within that distance from the vessel are beside it, mm.
const UNEVEN_MM: f64 = 1.5;
/// A tube is no disc and the point spread no Gaussian: by that share of its contrast.
const MODEL_ERROR: f64 = 0.02;

/// What a station sees.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// Along the line, mm.
    pub along_mm: f64,
    /// On its axis.
    pub at: Point3<f64>,
    /// Radius that the line was found at, mm.
    pub radius_mm: f64,
    /// Innermost first.
    pub rings: Vec<Ring>,
    /// Standard deviation of brightness within the rings next to the vessel.
    pub uneven: f64,
}

/// The sections of a line, in order, where both the vessel and what is around it are seen.
pub(super) fn sections(picture: &Picture, course: &Course, owned: &[Owned]) -> Vec<Section> {
    let (length_mm, spacing_mm) = (course.length_mm(), course.spacing_mm());
    let count = (length_mm / STATION_MM).round().max(1.0) as usize;
    let mut voxels = owned.to_vec();
    voxels.sort_by(|a, b| a.along_mm.total_cmp(&b.along_mm));
    let section = |n: usize| {
        let along_mm = (n as f64 + 0.5) * length_mm / count as f64;
        let place = ((along_mm / spacing_mm).round() as usize).min(course.points.len() - 1);
        let radius_mm = scale_radius_mm(course.scale_mm[place]);
        let before = |mm: f64| voxels.partition_point(|v| f64::from(v.along_mm) < mm);
        let window = &voxels[before(along_mm - WINDOW_MM)..before(along_mm + WINDOW_MM)];
        let (rings, uneven) = rings(picture, window, radius_mm)?;
        Some(Section { along_mm, at: course.points[place], radius_mm, rings, uneven })
    };
    (0..count).filter_map(section).collect()
}

/// Mean brightness by distance from the axis, of a window along a line, and how uneven rings beside the vessel are.
fn rings(picture: &Picture, window: &[Owned], radius_mm: f64) -> Option<(Vec<Ring>, f64)> {
    let width_mm = RING_SHARE * picture.finest_mm();
    let reach_mm = radius_mm + BESIDE_MM;
    let mut sums = vec![[0.0_f64; 4]; (reach_mm / width_mm).ceil() as usize];
    for voxel in window {
        let beside = f64::from(voxel.beside_mm);
        // A neighbour brightens what is near to it; inside this vessel that does not matter.
        let clear = voxel.gap_mm >= voxel.beside_mm && (beside < radius_mm || voxel.clearance_mm > CLEAR_MM);
        let Some(sum) = sums.get_mut((beside / width_mm) as usize).filter(|_| clear) else { continue };
        let brightness = f64::from(voxel.brightness);
        sum.iter_mut().zip([1.0, beside, brightness, brightness * brightness]).for_each(|(s, v)| *s += v);
    }
    let beside = sums.iter().filter(|s| s[0] > 0.0 && (0.0..UNEVEN_MM).contains(&(s[1] / s[0] - radius_mm)));
    let [count, squares] = beside.fold([0.0, 0.0], |[n, v], s| [n + s[0], v + s[3] - s[2] * s[2] / s[0]]);
    let uneven = f64::max(squares / f64::max(count, 1.0), 0.0).sqrt();
    let mut rings: Vec<Ring> =
        sums.iter().filter(|s| s[0] >= RING_MIN as f64).map(|s| ring(s, picture.noise)).collect();
    let peak = rings.first().map_or(0.0, |r| r.brightness) - rings.last().map_or(0.0, |r| r.brightness);
    rings.iter_mut().for_each(|r| r.error = r.error.hypot(MODEL_ERROR * peak));
    // Both the vessel and what is around it must be seen.
    let seen = rings.len() >= RINGS_MIN
        && rings[0].distance_mm < radius_mm
        && rings[rings.len() - 1].distance_mm > radius_mm + 0.5 * BESIDE_MM;
    seen.then_some((rings, uneven))
}

fn ring(&[count, distance, brightness, squares]: &[f64; 4], noise: f64) -> Ring {
    let mean = brightness / count;
    let variance = (squares / count - mean * mean).max(noise * noise).max(1e-8);
    Ring { distance_mm: distance / count, brightness: mean, error: (variance / count).sqrt() }
}
