//! The scene as the planner's geometry needs it: what is open, and how far forbidden regions are.
//!
//! **Shape:** one value a voxel of the scene's grid, `[nz, ny, nx]`. **Units:** squared distances are in
//! voxels², whole numbers, capped; so that every comparison is exact.

use bregma_core::flow::{Anatomy, Scene, voxel};
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// What stands where.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub grid: Grid,
    /// Cavity, or above the entry and no brain: where the way in is steep, the cortex rises beside it.
    pub open: Vec<bool>,
    /// Squared distance to the nearest forbidden voxel's centre, voxels², capped at `cap`.
    forbidden2: Vec<u8>,
    cap: u8,
}

/// Where a point falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Voxel(usize),
    Outside,
}

impl Field {
    /// `reach_mm`: how far away a forbidden voxel must be seen.
    pub fn new(scene: &Scene, anatomy: &Anatomy, axis: &Vector3<f64>, reach_mm: f64) -> Self {
        let grid = scene.grid;
        let reach = ((reach_mm / grid.spacing_mm).ceil() as usize + 1).clamp(1, 15);
        let forbidden: Vec<bool> = scene.state.iter().map(|s| s & voxel::FORBIDDEN != 0).collect();
        let mut open: Vec<bool> = scene.state.iter().map(|s| s & voxel::CAVITY != 0).collect();
        let [nx, ny, nz] = grid.dims;
        let step = axis.x * grid.spacing_mm;
        for k in 0..nz {
            for j in 0..ny {
                let first = (grid.centre([0, j, k]) - anatomy.corridor.entry).dot(axis);
                let row = grid.index([0, j, k]);
                for (i, (o, state)) in open[row..row + nx].iter_mut().zip(&scene.state[row..row + nx]).enumerate() {
                    *o |= state & voxel::BRAIN == 0 && first + step * (i as f64) < 0.0;
                }
            }
        }
        Self { grid, open, forbidden2: squared_distance(&forbidden, grid.dims, reach), cap: (reach * reach + 1) as u8 }
    }

    pub fn at(&self, point: &Point3<f64>) -> At {
        self.grid.containing(point).map_or(At::Outside, |v| At::Voxel(self.grid.index(v)))
    }

    /// Whether no forbidden voxel's centre lies closer than √`least` voxels to this voxel's centre.
    pub fn clear(&self, index: usize, least: u8) -> bool {
        self.forbidden2[index] >= least
    }

    /// The smallest squared distance in voxels², between centres, that keeps `mm`.
    pub fn least(&self, mm: f64) -> u8 {
        let voxels = mm / self.grid.spacing_mm;
        // Capped distances are known to be at least `cap`; more cannot be asked.
        (voxels * voxels).ceil().clamp(0.0, f64::from(self.cap)) as u8
    }

    /// Half a voxel's space diagonal, mm: how far a point may be from the centre of the voxel that holds it.
    pub fn half_diagonal_mm(&self) -> f64 {
        self.grid.spacing_mm * 0.5 * 3.0_f64.sqrt()
    }
}

/// Squared Euclidean distance between voxel centres to the nearest set voxel, voxels², exact up to `reach`
/// voxels and capped at `reach² + 1`. One pass an axis, as distances add in squares.
pub(crate) fn squared_distance(set: &[bool], [nx, ny, nz]: [usize; 3], reach: usize) -> Vec<u8> {
    let cap = (reach * reach + 1).min(255) as u8;
    let mut from: Vec<u8> = set.iter().map(|s| if *s { 0 } else { cap }).collect();
    let mut to = from.clone();
    for row in 0..ny * nz {
        let (source, target) = (&set[row * nx..][..nx], &mut to[row * nx..][..nx]);
        let mut last = usize::MAX;
        for i in 0..nx {
            last = if source[i] { 0 } else { last.saturating_add(1) };
            target[i] = if last <= reach { (last * last) as u8 } else { cap };
        }
        last = usize::MAX;
        for i in (0..nx).rev() {
            last = if source[i] { 0 } else { last.saturating_add(1) };
            if last <= reach {
                target[i] = target[i].min((last * last) as u8);
            }
        }
    }
    from.copy_from_slice(&to);
    // Rows of x are contiguous, so that both passes work on whole rows.
    for (count, stride) in [(ny, 1), (nz, ny)] {
        for row in 0..ny * nz {
            let place = row / stride % count;
            for d in 1..=reach {
                let add = (d * d) as u8;
                for other in
                    [place.checked_sub(d).map(|_| row - d * stride), (place + d < count).then(|| row + d * stride)]
                {
                    let Some(other) = other else { continue };
                    let (source, target) = (&from[other * nx..][..nx], &mut to[row * nx..][..nx]);
                    for (t, s) in target.iter_mut().zip(source) {
                        *t = (*t).min(s.saturating_add(add));
                    }
                }
            }
        }
        from.copy_from_slice(&to);
    }
    for d in &mut to {
        *d = (*d).min(cap);
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn distances_are_exact_up_to_the_reach(
            points in prop::collection::vec((0..9_usize, 0..8_usize, 0..7_usize), 0..6),
            reach in 1..5_usize,
        ) {
            let grid = Grid { dims: [9, 8, 7], spacing_mm: 1.0, origin: [0.0; 3] };
            let mut set = vec![false; grid.len()];
            for (i, j, k) in points {
                set[grid.index([i, j, k])] = true;
            }
            let found = squared_distance(&set, grid.dims, reach);
            for (a, found) in found.into_iter().enumerate() {
                let nearest = (0..grid.len()).filter(|b| set[*b]).map(|b| {
                    let (p, q) = (grid.voxel(a), grid.voxel(b));
                    (0..3).map(|x| p[x].abs_diff(q[x]).pow(2)).sum::<usize>()
                }).min().unwrap_or(usize::MAX);
                let expected = if nearest <= reach * reach { nearest } else { reach * reach + 1 };
                prop_assert_eq!(usize::from(found), expected);
            }
        }
    }
}
