//! Normalised mutual information of two pictures, one laid onto the other.
//!
//! `NMI = (H(F) + H(M)) / H(F, M)`, 1 for pictures that say nothing of each other and 2 for pictures that say the same
//! (Studholme, Hill and Hawkes, Pattern Recognition 32, 1999): it hardly depends on how far they overlap, and not on
//! how intensities of one map to those of the other. Histograms have [`BINS`] bins a side; each value of the moving picture
//! counts in the two nearest ones, so that the measure changes evenly as it moves.
//! **Determinism:** voxels are counted in fixed portions, added up in their order.

use super::picture::Picture;
use nalgebra::{Isometry3, Point3};
use rayon::prelude::*;

/// Bins of each side of the histogram.
pub(super) const BINS: usize = 32;
/// Samples that are counted together.
const PORTION: usize = 1 << 14;

/// Points of the fixed picture with the bin that each counts in.
#[derive(Debug)]
pub(super) struct Samples {
    points: Vec<(Point3<f64>, usize)>,
}

/// Scales the moving picture's intensities to bins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bins {
    low: f32,
    scale: f32,
}

impl Bins {
    /// `None` for a picture without any contrast.
    pub fn of(picture: &Picture) -> Option<Self> {
        let (low, high) = picture.range()?;
        Some(Self { low, scale: (BINS - 1) as f32 / (high - low) })
    }

    pub fn place(self, value: f32) -> f32 {
        ((value - self.low) * self.scale).clamp(0.0, (BINS - 1) as f32)
    }
}

impl Samples {
    /// Every `stride`th known voxel.
    pub fn of(picture: &Picture, bins: Bins, stride: usize) -> Self {
        let grid = &picture.grid;
        let known = picture.data.iter().enumerate().step_by(stride).filter(|(_, v)| !v.is_nan());
        let points =
            known.map(|(i, v)| (grid.centre(grid.voxel(i)), (bins.place(*v) + 0.5) as usize)).collect::<Vec<_>>();
        Self { points }
    }

    /// The measure, and the share of samples that the moving picture shows. `moving_from_fixed` takes points of the fixed
    /// picture to the moving one.
    pub fn nmi(&self, moving: &Picture, bins: Bins, moving_from_fixed: &Isometry3<f64>) -> (f64, f64) {
        let count = |portion: &[(Point3<f64>, usize)]| {
            let mut joint = [0.0_f32; BINS * BINS];
            for (point, row) in portion {
                let value = moving.at(&(moving_from_fixed * point));
                if value.is_nan() {
                    continue;
                }
                let place = bins.place(value);
                let low = (place as usize).min(BINS - 2);
                let part = place - low as f32;
                joint[row * BINS + low] += 1.0 - part;
                joint[row * BINS + low + 1] += part;
            }
            joint
        };
        let portions: Vec<_> = if self.points.len() > 4 * PORTION {
            self.points.par_chunks(PORTION).map(count).collect()
        } else {
            self.points.chunks(PORTION).map(count).collect()
        };
        let mut joint = [0.0_f64; BINS * BINS];
        for portion in &portions {
            joint.iter_mut().zip(portion).for_each(|(sum, n)| *sum += f64::from(*n));
        }
        let total: f64 = joint.iter().sum();
        (nmi_of(&joint, total), total / self.points.len().max(1) as f64)
    }
}

/// Of two pictures on one grid; `None` where one has no contrast.
pub(super) fn of(fixed: &Picture, laid: &Picture) -> Option<f64> {
    let samples = Samples::of(fixed, Bins::of(fixed)?, 1);
    Some(samples.nmi(laid, Bins::of(laid)?, &Isometry3::identity()).0)
}

/// Of a joint histogram; 1 where it says nothing.
fn nmi_of(joint: &[f64; BINS * BINS], total: f64) -> f64 {
    if total <= 0.0 {
        return 1.0;
    }
    let entropy = |counts: &mut dyn Iterator<Item = f64>| -> f64 {
        counts.filter(|n| *n > 0.0).map(|n| -(n / total) * libm::log(n / total)).sum()
    };
    let rows = entropy(&mut joint.chunks_exact(BINS).map(|row| row.iter().sum()));
    let columns = entropy(&mut (0..BINS).map(|c| (0..BINS).map(|r| joint[r * BINS + c]).sum()));
    let both = entropy(&mut joint.iter().copied());
    if both > 1e-12 { (rows + columns) / both } else { 1.0 }
}
