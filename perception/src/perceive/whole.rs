//! What lies outside the fine region: the whole scan's core on the coarse map.

use super::prior::{Prior, PriorSettings};
use crate::bits::VoxelBits;
use crate::scan::Scan;
use bregma_core::flow::{COARSE_EDGE, COARSE_SPACING_MM, ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS, Scene, coarse_grid};
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Fine voxels of one coarse voxel along an axis.
const RATIO: usize = 2;
/// First coarse voxel that the fine region covers; both grids have the same middle.
const FIRST: usize = (COARSE_EDGE - ROI_EDGE / RATIO) / 2;
const _: () = assert!(COARSE_EDGE == ROI_EDGE, "the same kernels serve both grids");
const _: () =
    assert!((COARSE_SPACING_MM - ROI_SPACING_MM * RATIO as f64).abs() < 1e-12, "whole fine voxels in a coarse one");

/// The whole scan's core.
#[derive(Debug)]
pub(super) struct Whole {
    grid: Grid,
    /// As the scan showed it, 0 or 255.
    map: Vec<u8>,
    prior: Prior,
    t1c: Vec<f32>,
    flair: Vec<f32>,
    brain: VoxelBits,
    logit: Vec<f32>,
    outside_ml: f64,
}

impl Whole {
    pub(super) fn new() -> Self {
        let zeros = || vec![0.0; ROI_VOXELS];
        Self {
            grid: coarse_grid(Point3::origin()),
            map: vec![0; ROI_VOXELS],
            prior: Prior::new(),
            t1c: zeros(),
            flair: zeros(),
            brain: VoxelBits::new(),
            logit: zeros(),
            outside_ml: 0.0,
        }
    }

    /// Segments the scan around a fine region.
    pub(super) fn segment(&mut self, settings: &PriorSettings, fine: &Grid, t1c: &Scan, flair: Option<&Scan>) {
        let half = 0.5 * fine.spacing_mm * (ROI_EDGE - 1) as f64;
        self.grid = coarse_grid(Point3::from(fine.origin) + Vector3::repeat(half));
        self.flair.fill(0.0);
        if let Some(flair) = flair {
            flair.resample(&self.grid, &mut self.flair, &mut self.brain);
        }
        t1c.resample(&self.grid, &mut self.t1c, &mut self.brain);
        let flair = flair.map(|_| &self.flair[..]);
        self.prior.estimate(settings, &self.t1c, flair, &self.brain, &self.grid, &mut self.logit);
        for (share, logit) in self.map.iter_mut().zip(&self.logit) {
            *share = if *logit >= 0.0 { 255 } else { 0 };
        }
        let inside = FIRST..FIRST + ROI_EDGE / RATIO;
        let outside = (0..ROI_VOXELS).filter(|i| !self.grid.voxel(*i).iter().all(|v| inside.contains(v)));
        self.outside_ml = outside.filter(|i| self.map[*i] > 0).count() as f64 * self.grid.voxel_ml();
    }

    /// Writes the map with the fine region's share in its middle, and the total.
    pub(super) fn overlay(&self, core: &VoxelBits, scene: &mut Scene) {
        scene.coarse_grid = self.grid;
        scene.coarse_residual.copy_from_slice(&self.map);
        let edge = ROI_EDGE / RATIO;
        for k in 0..edge {
            for j in 0..edge {
                let row = |dj: usize, dk: usize| core.rows()[RATIO * j + dj + ROI_EDGE * (RATIO * k + dk)];
                let rows = [row(0, 0), row(1, 0), row(0, 1), row(1, 1)];
                let start = FIRST + COARSE_EDGE * (FIRST + j + COARSE_EDGE * (FIRST + k));
                for (i, share) in scene.coarse_residual[start..start + edge].iter_mut().enumerate() {
                    let count: u32 = rows.iter().map(|r| (r >> (RATIO * i) & 3).count_ones()).sum();
                    *share = (count * 255 / 8) as u8;
                }
            }
        }
        scene.residual_ml = core.count() as f64 * scene.grid.voxel_ml() + self.outside_ml;
    }
}
