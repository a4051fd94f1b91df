//! Which part of the core is dead: deep in it, where vitality is low, and more of it the larger the core.
//!
//! Shares of real cores by their labels (patients 1 to 3): 45 % of 59 mL, 2 % of 9 mL, 5 % of 26 mL.

use super::{CORE_DENSITY, noise};
use crate::distance;
use crate::random::{Draws, mix};
use bregma_core::grid::Grid;

/// How much dies, and where at the earliest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Necrosis {
    /// Wanted share of the core.
    pub share: f64,
    /// Thickness of the living rim at its usual place, mm.
    pub rim_mm: f64,
}

impl Necrosis {
    pub(super) fn drawn(draws: &mut Draws, core_ml: f64) -> Self {
        let rim_mm = draws.uniform(2.2, 3.6);
        let vigour = draws.uniform(0.0, 1.0);
        let share = 0.02 + 0.55 * vigour * libm::sqrt(vigour) * (1.0 - libm::exp(-core_ml / 15.0));
        Self { share, rim_mm }
    }
}

/// Which voxels are necrotic: the deepest and least vital ones inside the rim, up to the wanted share.
pub(crate) fn choose(grid: &Grid, density: &[f32], necrosis: &Necrosis, seed: u64) -> Vec<bool> {
    let mut dead = vec![false; grid.len()];
    let depth = distance::squared(grid.dims, |i| density[i] < CORE_DENSITY);
    let vitality = noise::field(grid, 7.0, mix(seed, 300));
    let core = depth.iter().filter(|d| **d > 0.0 && **d < distance::NOWHERE).count();
    let score = |i: usize| {
        let rim = necrosis.rim_mm as f32 * (1.0 + 0.3 * vitality[i].clamp(-1.5, 2.0));
        depth[i].sqrt() - rim
    };
    let inside = |i: &usize| depth[*i] > 0.0 && depth[*i] < distance::NOWHERE;
    let mut candidates: Vec<(f32, usize)> =
        (0..grid.len()).filter(inside).map(|i| (score(i), i)).filter(|(s, _)| *s > 0.0).collect();
    let wanted = ((core as f64 * necrosis.share) as usize).min(candidates.len());
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    for (_, index) in &candidates[..wanted] {
        dead[*index] = true;
    }
    dead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_inside_a_rim_and_has_its_share() {
        let grid = Grid { dims: [48; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let off = |i: usize| nalgebra::distance(&grid.centre(grid.voxel(i)), &grid.centre([24; 3]));
        let density: Vec<f32> = (0..grid.len()).map(|i| if off(i) < 15.0 { 0.9 } else { 0.1 }).collect();
        let core = density.iter().filter(|u| **u >= CORE_DENSITY).count();
        let dead = choose(&grid, &density, &Necrosis { share: 0.3, rim_mm: 2.5 }, 1);
        let count = dead.iter().filter(|d| **d).count();
        assert_eq!(count, (core as f64 * 0.3) as usize);
        // The thinnest rim is 0.55 of the usual one.
        assert!((0..grid.len()).all(|i| !dead[i] || off(i) < 15.0 - 1.0));
        // Its edge is irregular: no distance from the centre separates the dead from the living.
        let reach = (0..grid.len()).filter(|i| dead[*i]).map(off).fold(0.0, f64::max);
        assert!((0..grid.len()).filter(|i| !dead[*i] && off(*i) < reach - 1.0).count() > 200);
        assert!(choose(&grid, &vec![0.0; grid.len()], &Necrosis { share: 0.3, rim_mm: 2.5 }, 1).iter().all(|d| !d));
    }

    #[test]
    fn small_cores_have_little() {
        let share = |ml: f64| {
            let all = (0..200).map(|n| Necrosis::drawn(&mut Draws::new(n, crate::random::Purpose::Tumour), ml).share);
            all.sum::<f64>() / 200.0
        };
        assert!(share(2.0) < 0.06 && share(60.0) > 0.2, "{} {}", share(2.0), share(60.0));
    }
}
