//! Where the scan shows tumour core: enhancing tissue connected near the planned target, and what it
//! encloses.
//!
//! 1. T1c, smoothed by a 1-2-1 kernel on fine grids, is *enhancing* above `median + contrast × 1.4826 ×
//!    MAD` of the brain on this grid, and above `z_min`; where there is FLAIR, it is not dark there. The
//!    contrast falls from `contrast[0]` to `contrast[1]` until something enhances near the target: the thin
//!    rim of a small core is dim, while a lower contrast from the start would let vessels in.
//! 2. The component nearest to the grid's middle, not farther than `target_mm` from it, and those not much
//!    farther away are the rim; its surface
//!    is then drawn again, on the scan as it is, half-way between the brain's median and the rim's, where a
//!    blurred edge lies.
//! 3. Closed by `closing_mm` and with its holes filled it is the core: necrosis belongs to it.
//! 4. `logit = −s / scale_mm`, s the signed distance from its surface, limited to ±`logit_max`; within
//!    a voxel of the surface, contrast adds or takes up to half of what the surface gives, never the sign.
//!
//! **Allocation:** in [`Prior::new`] only.

use crate::bits::VoxelBits;
use crate::distance::{DistanceTransform, surface_mm};
use crate::region::Flood;
use bregma_core::flow::{ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS};
use bregma_core::grid::Grid;

/// Histogram for medians: z from −8 to 8.
const BINS: usize = 1024;
const Z_REACH: f32 = 8.0;
/// By which the contrast falls while nothing enhances near the target.
const CONTRAST_STEP: f32 = 0.2;

/// What makes tissue core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PriorSettings {
    /// Robust standard deviations above the brain's median: where the search starts, and where it ends.
    pub contrast: [f32; 2],
    /// Least z of enhancing tissue.
    pub z_min: f32,
    /// Least FLAIR z of enhancing tissue.
    pub flair_z_min: f32,
    /// Components smaller than this are vessels or noise, mL.
    pub component_ml: f64,
    /// The core's nearest component is at most that far from the target, mm.
    pub target_mm: f64,
    /// A component belongs to the core when it is at most this much farther from the target than the
    /// nearest one, mm.
    pub together_mm: f64,
    /// Gaps in the rim up to twice this are closed, mm.
    pub closing_mm: f64,
    /// Distance over which the probability falls from 0.5 to 0.27, mm.
    pub scale_mm: f64,
    /// Limit of the prior's log-odds: even far inside, evidence counts.
    pub logit_max: f64,
}

impl Default for PriorSettings {
    fn default() -> Self {
        Self {
            contrast: [2.0, 1.2],
            z_min: 1.0,
            flair_z_min: -2.0,
            component_ml: 0.1,
            target_mm: 20.0,
            together_mm: 6.0,
            closing_mm: 2.5,
            scale_mm: 1.0,
            logit_max: 4.0,
        }
    }
}

/// The scratch.
#[derive(Debug)]
pub struct Prior {
    smooth: Vec<f32>,
    line: Vec<f32>,
    mask: VoxelBits,
    rim: VoxelBits,
    bytes: Vec<u8>,
    squared: Vec<i32>,
    bins: Vec<u32>,
    transform: DistanceTransform,
    flood: Flood,
}

impl Default for Prior {
    fn default() -> Self {
        Self::new()
    }
}

impl Prior {
    /// For grids of 64³.
    #[must_use]
    pub fn new() -> Self {
        Self {
            smooth: vec![0.0; ROI_VOXELS],
            line: vec![0.0; ROI_EDGE],
            mask: VoxelBits::new(),
            rim: VoxelBits::new(),
            bytes: vec![0; ROI_VOXELS],
            squared: vec![0; ROI_VOXELS],
            bins: vec![0; BINS],
            transform: DistanceTransform::new([ROI_EDGE; 3]),
            flood: Flood::new(),
        }
    }

    /// Log-odds of core, `[64³]`, from z-scored channels on the same grid.
    pub fn estimate(
        &mut self,
        settings: &PriorSettings,
        t1c: &[f32],
        flair: Option<&[f32]>,
        brain: &VoxelBits,
        grid: &Grid,
        logit: &mut [f32],
    ) {
        self.smooth.copy_from_slice(t1c);
        if grid.spacing_mm <= ROI_SPACING_MM {
            [1, ROI_EDGE, ROI_EDGE * ROI_EDGE].into_iter().for_each(|stride| self.smooth_along(stride));
        }
        let median = median_of(&mut self.bins, &self.smooth, brain, 0.0, false);
        let spread = 1.4826 * median_of(&mut self.bins, &self.smooth, brain, median, true);
        let mut contrast = settings.contrast[0];
        let mut least = (median + contrast * spread).max(settings.z_min);
        self.select(settings, least, flair, brain, grid);
        while self.rim.count() == 0 && contrast > settings.contrast[1] {
            contrast = (contrast - CONTRAST_STEP).max(settings.contrast[1]);
            least = (median + contrast * spread).max(settings.z_min);
            self.select(settings, least, flair, brain, grid);
        }
        if self.rim.count() > 0 {
            // Smoothing finds the rim and would also thin it: its edge is drawn on the scan as it is.
            self.smooth.copy_from_slice(t1c);
            let half_way = 0.5 * (median + median_of(&mut self.bins, &self.smooth, &self.rim, 0.0, false));
            if half_way > settings.z_min {
                least = half_way;
                self.select(settings, least, flair, brain, grid);
            }
        }
        self.close(settings.closing_mm / grid.spacing_mm);
        self.flood.fill_holes(&mut self.rim);
        self.rim.expand(&mut self.bytes);
        self.transform.signed(&self.bytes, &mut self.squared);
        let limit = settings.logit_max;
        for (index, logit) in logit.iter_mut().enumerate() {
            let surface = -surface_mm(self.squared[index], grid.spacing_mm) / settings.scale_mm;
            let near = self.squared[index].unsigned_abs() <= 1;
            let contrast = f64::from((self.smooth[index] - least) / spread.max(0.1)).clamp(-0.5, 0.5);
            let edge = if near { contrast * surface.abs() } else { 0.0 };
            *logit = (surface + edge).clamp(-limit, limit) as f32;
        }
    }

    /// `rim` becomes the tissue that enhances more than `least`, near the target.
    fn select(&mut self, settings: &PriorSettings, least: f32, flair: Option<&[f32]>, brain: &VoxelBits, grid: &Grid) {
        self.mask.clear();
        for index in brain.iter() {
            if self.smooth[index] > least && flair.is_none_or(|f| f[index] > settings.flair_z_min) {
                self.mask.put(index);
            }
        }
        self.keep_near_target(settings, grid);
    }

    /// 1-2-1 along the axis with this stride; the grid's border repeats.
    fn smooth_along(&mut self, stride: usize) {
        for start in (0..ROI_VOXELS).filter(|i| (i / stride).is_multiple_of(ROI_EDGE)) {
            let at = |n: usize| start + n * stride;
            (0..ROI_EDGE).for_each(|n| self.line[n] = self.smooth[at(n)]);
            for n in 0..ROI_EDGE {
                let (before, after) = (self.line[n.saturating_sub(1)], self.line[(n + 1).min(ROI_EDGE - 1)]);
                self.smooth[at(n)] = 0.25 * before + 0.5 * self.line[n] + 0.25 * after;
            }
        }
    }

    /// `rim` becomes the components of `mask` that belong to the target.
    fn keep_near_target(&mut self, settings: &PriorSettings, grid: &Grid) {
        let least = (settings.component_ml / grid.voxel_ml()).ceil() as usize;
        let middle = 0.5 * (ROI_EDGE - 1) as f64;
        let away_mm = |members: &[u32]| {
            let squared = |m: &u32| grid.voxel(*m as usize).iter().map(|v| (*v as f64 - middle).powi(2)).sum::<f64>();
            members.iter().map(squared).fold(f64::INFINITY, f64::min).sqrt() * grid.spacing_mm
        };
        let (flood, rim) = (&mut self.flood, &mut self.rim);
        rim.clear();
        let mut nearest = f64::INFINITY;
        flood.components(&self.mask, |members| {
            if members.len() >= least {
                let away = away_mm(members);
                if away <= settings.target_mm {
                    nearest = nearest.min(away);
                }
            }
        });
        flood.components(&self.mask, |members| {
            let belongs = nearest.is_finite() && members.len() >= least;
            if belongs && away_mm(members) <= nearest + settings.together_mm {
                members.iter().for_each(|m| {
                    rim.put(*m as usize);
                });
            }
        });
    }

    /// Dilates and erodes `rim` by balls of this many voxels.
    fn close(&mut self, radius: f64) {
        let squared = (radius * radius).floor() as i32;
        self.rim.expand(&mut self.bytes);
        self.transform.signed(&self.bytes, &mut self.squared);
        self.bytes.iter_mut().zip(&self.squared).for_each(|(b, s)| *b = u8::from(*s <= squared));
        self.transform.signed(&self.bytes, &mut self.squared);
        self.mask.fill_where(&self.squared, |s| s < -squared);
        self.rim.add(&self.mask);
    }
}

/// Median over a set of voxels of their values, or of their distance from `centre`.
fn median_of(bins: &mut [u32], values: &[f32], of: &VoxelBits, centre: f32, absolute: bool) -> f32 {
    bins.fill(0);
    let mut count = 0;
    for index in of.iter() {
        let value = values[index] - centre;
        let value = if absolute { value.abs() } else { value };
        let bin = (value + Z_REACH) / (2.0 * Z_REACH) * BINS as f32;
        bins[bin.clamp(0.0, (BINS - 1) as f32) as usize] += 1;
        count += 1;
    }
    let mut seen = 0;
    let reaches_half = |n: &u32| {
        seen += n;
        2 * seen >= count
    };
    let at = bins.iter().position(reaches_half).unwrap_or(0);
    (at as f32 + 0.5) / BINS as f32 * 2.0 * Z_REACH - Z_REACH
}
