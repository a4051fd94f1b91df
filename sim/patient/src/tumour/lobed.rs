//! A lobulated tumour that is not Fisher–KPP, for the foreign world.
//!
//! Balls chained along white matter, blended smoothly (d = −k ln Σ exp(−dᵢ/k)) and displaced by noise, give
//! every voxel a level. The core is what is invaded first from the origin, lowest level next, until the
//! volume is reached: connected, and never through CSF. Outside it the cell density falls as
//! 0.8·(1 − s)², s the distance over a reach that varies with tissue and place, to nothing at s = 1: a
//! front's tail is exponential and never ends. **Units:** mm. **Not modelled:** time; the age is a nominal
//! one. The figures are an expert's estimate.

use super::{CORE_DENSITY, Tumour, ball_radius_mm, noise};
use crate::anatomy::head::tissue;
use crate::distance;
use crate::random::{Draws, Purpose, mix};
use bregma_core::grid::Grid;
use nalgebra::Point3;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// By how much grey matter resists, mm of level.
const GREY_RESISTS_MM: f32 = 2.0;

/// What such a tumour is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lobed {
    /// Lobes beside the first.
    pub lobes: usize,
    /// Their radii over that of the ball of the core's volume.
    pub lobe_share: [f64; 2],
    /// Amplitude of the surface's noise over the same radius.
    pub rough: f64,
    /// How far infiltration reaches in white matter, mm.
    pub reach_mm: f64,
    /// Speed of its edge, mm/day, for the nominal age.
    pub mm_per_day: f64,
}

impl Lobed {
    pub(super) fn drawn(draws: &mut Draws) -> Self {
        Self {
            lobes: 4 + draws.below(6),
            lobe_share: [0.3, draws.uniform(0.55, 0.8)],
            rough: draws.uniform(0.08, 0.2),
            reach_mm: draws.log_uniform(9.0, 28.0),
            mm_per_day: draws.log_uniform(0.02, 0.15),
        }
    }
}

/// Shapes the tumour around one voxel; `None` when the tissue that can be reached holds no such core.
pub(super) fn grow(
    grid: &Grid,
    tissues: &[u8],
    origin: usize,
    core_ml: f64,
    lobed: &Lobed,
    seed: u64,
) -> Option<Tumour> {
    let radius = ball_radius_mm(core_ml);
    let lobes = chain(grid, tissues, origin, radius, lobed, seed);
    let levels = levels(grid, tissues, &lobes, radius, lobed, seed);
    let core = invade(grid, tissues, &levels, origin, (core_ml * 1e3) as usize)?;
    let days = radius / lobed.mm_per_day;
    Some(Tumour { density: density(grid, tissues, &core, lobed, seed), days })
}

/// Centres and radii: each lobe grows out of an earlier one, towards white matter.
fn chain(grid: &Grid, tissues: &[u8], origin: usize, radius: f64, lobed: &Lobed, seed: u64) -> Vec<(Point3<f64>, f64)> {
    let mut draws = Draws::new(seed, Purpose::TumourShape);
    let mut lobes = vec![(grid.centre(grid.voxel(origin)), 0.62 * radius)];
    let white = |at: &Point3<f64>| grid.containing(at).is_some_and(|v| tissues[grid.index(v)] == tissue::WHITE);
    for _ in 0..lobed.lobes {
        let (parent, size) = lobes[draws.below(lobes.len())];
        let own = radius * draws.uniform(lobed.lobe_share[0], lobed.lobe_share[1]);
        // A dozen directions: the one whose way lies most in white matter.
        let best = (0..12)
            .map(|_| parent + draws.direction() * (0.75 * size + 0.55 * own))
            .max_by_key(|end| (1..=6).filter(|n| white(&parent.lerp(end, f64::from(*n) / 6.0))).count());
        lobes.extend(best.map(|at| (at, own)));
    }
    lobes
}

/// The blended distance of every voxel, with noise; what is no tissue keeps infinity.
fn levels(
    grid: &Grid,
    tissues: &[u8],
    lobes: &[(Point3<f64>, f64)],
    radius: f64,
    lobed: &Lobed,
    seed: u64,
) -> Vec<f32> {
    let blend = (0.12 * radius) as f32;
    let coarse = noise::field(grid, 0.5 * radius, mix(seed, 200));
    let fine = noise::field(grid, (0.2 * radius).max(2.0), mix(seed, 201));
    let rough = (lobed.rough * radius) as f32;
    let level = |i: usize| {
        let resists = match tissues[i] {
            tissue::WHITE => 0.0,
            tissue::GREY => GREY_RESISTS_MM,
            _ => return f32::INFINITY,
        };
        let at = grid.centre(grid.voxel(i));
        let each = |(c, r): &(Point3<f64>, f64)| (nalgebra::distance(c, &at) - r) as f32;
        let nearest = lobes.iter().map(each).fold(f32::INFINITY, f32::min);
        let sum: f32 = lobes.iter().map(|l| (nearest - each(l)) / blend).filter(|e| *e > -6.0).map(libm::expf).sum();
        nearest - blend * libm::logf(sum) + rough * (coarse[i] + 0.4 * fine[i]) + resists
    };
    (0..grid.len()).map(level).collect()
}

/// Takes the reachable voxel of the lowest level until there are `wanted`.
fn invade(grid: &Grid, tissues: &[u8], levels: &[f32], origin: usize, wanted: usize) -> Option<Vec<bool>> {
    let [nx, ny, _] = grid.dims;
    let strides = [1, nx, nx * ny];
    let mut core = vec![false; grid.len()];
    let mut queued = core.clone();
    // Levels are within a metre: 1/4096 mm as whole numbers sorts them, and the index breaks ties.
    let key = |i: usize| Reverse(((levels[i] * 4096.0) as i64, i));
    if !matches!(tissues[origin], tissue::WHITE | tissue::GREY) {
        return None;
    }
    let mut heap = BinaryHeap::from([key(origin)]);
    queued[origin] = true;
    for _ in 0..wanted {
        let Reverse((_, index)) = heap.pop()?;
        core[index] = true;
        let voxel = grid.voxel(index);
        for a in 0..3 {
            let below = (voxel[a] > 0).then(|| index - strides[a]);
            let above = (voxel[a] + 1 < grid.dims[a]).then(|| index + strides[a]);
            for next in [below, above].into_iter().flatten() {
                if levels[next].is_finite() && !std::mem::replace(&mut queued[next], true) {
                    heap.push(key(next));
                }
            }
        }
    }
    Some(core)
}

fn density(grid: &Grid, tissues: &[u8], core: &[bool], lobed: &Lobed, seed: u64) -> Vec<f32> {
    let outside = distance::squared(grid.dims, |i| core[i]);
    let inside = distance::squared(grid.dims, |i| !core[i]);
    let uneven = noise::field(grid, 8.0, mix(seed, 202));
    let value = |i: usize| {
        let share = match tissues[i] {
            tissue::WHITE => 1.0,
            tissue::GREY => 0.5,
            _ => return 0.0,
        };
        if core[i] {
            return CORE_DENSITY + (1.0 - CORE_DENSITY) * (1.0 - libm::expf(-0.5 * inside[i].sqrt()));
        }
        let reach = lobed.reach_mm as f32 * share * (1.0 + 0.4 * uneven[i].clamp(-2.0, 2.0));
        let left = (1.0 - outside[i].sqrt() / reach).max(0.0);
        // Just below the core's own.
        0.999 * CORE_DENSITY * left * left
    };
    (0..grid.len()).map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_its_volume_in_one_piece_and_is_no_front() {
        let grid = Grid { dims: [80; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let tissues = vec![tissue::WHITE; grid.len()];
        let origin = grid.index([40; 3]);
        let lobed = Lobed::drawn(&mut Draws::new(4, Purpose::Tumour));
        let tumour = grow(&grid, &tissues, origin, 8.0, &lobed, 4).expect("has room");
        let core = tumour.density.iter().filter(|u| **u >= CORE_DENSITY).count();
        assert_eq!(core, 8000);
        // In even tissue a Fisher front is a ball: its radius is the same in every direction. This has lobes.
        let reach = |n: u64| {
            let way = Draws::new(n, Purpose::Warp).direction();
            let at = |r: f64| grid.containing(&(grid.centre([40; 3]) + way * r)).map(|v| grid.index(v));
            (1..76).take_while(|r| at(0.5 * f64::from(*r)).is_some_and(|i| tumour.density[i] >= CORE_DENSITY)).count()
        };
        let reaches: Vec<f64> = (0..60).map(|n| 0.5 * reach(n) as f64).collect();
        let mean = reaches.iter().sum::<f64>() / 60.0;
        let spread = (reaches.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 60.0).sqrt();
        assert!(spread > 0.15 * mean, "mean {mean}, spread {spread}");
        // A front has a tail beyond any distance; this ends.
        let furthest = grid.index([1; 3]);
        assert!(tumour.density[furthest] <= 0.0);
    }

    #[test]
    fn csf_stops_it() {
        let grid = Grid { dims: [40; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let tissues: Vec<u8> =
            (0..grid.len()).map(|i| if grid.voxel(i)[0] == 22 { tissue::CSF } else { tissue::WHITE }).collect();
        let lobed = Lobed::drawn(&mut Draws::new(1, Purpose::Tumour));
        let tumour = grow(&grid, &tissues, grid.index([15, 20, 20]), 3.0, &lobed, 1).expect("has room");
        assert!((0..grid.len()).all(|i| grid.voxel(i)[0] <= 22 || tumour.density[i] < CORE_DENSITY));
        assert!(grow(&grid, &tissues, grid.index([15, 20, 20]), 60.0, &lobed, 1).is_none());
    }
}
