//! What one scan shows that the other does not explain: a cavity, air, fluid where tissue was.
//!
//! Both lie on one grid. Of all voxels with one intensity in the laid scan the fixed one's median and spread say what is usual;
//! a voxel that is far from it has changed if most of its surroundings have, too. **Units:** intensities in
//! bins of the joint histogram. **Not protected against:** a contrast agent that changed half of a tissue.

use super::picture::Picture;
use bregma_core::grid::Grid;
use rayon::prelude::*;

/// Bins of the laid picture.
const ROWS: usize = 32;
/// Bins of the fixed picture.
const COLUMNS: usize = 64;
/// Unusual: so many times the spread, half of 16th to 84th percentile, from the median.
const SPREADS: f32 = 3.0;
/// And at least that share of the whole range.
const SHARE_LEAST: f32 = 0.12;
/// Voxels on each side of the cube that is its surroundings.
const AROUND: usize = 2;
/// Share of the surroundings that must be unusual.
const UNUSUAL_LEAST: f32 = 0.6;

/// For every voxel whether it has changed.
pub(super) fn changes(fixed: &Picture, laid: &Picture) -> Vec<bool> {
    let (Some(of_fixed), Some(of_laid)) = (fixed.range(), laid.range()) else {
        return vec![false; fixed.data.len()];
    };
    let bin =
        |v: f32, (low, high): (f32, f32), bins: usize| ((v - low) / (high - low) * (bins - 1) as f32 + 0.5) as usize;
    let both = || fixed.data.iter().zip(&laid.data);
    let mut joint = vec![0_u32; ROWS * COLUMNS];
    for (f, l) in both().filter(|(f, l)| !f.is_nan() && !l.is_nan()) {
        joint[bin(*l, of_laid, ROWS) * COLUMNS + bin(*f, of_fixed, COLUMNS)] += 1;
    }
    let usual: Vec<(f32, f32)> = joint.chunks_exact(COLUMNS).map(usual).collect();
    let off: Vec<bool> = both()
        .map(|(f, l)| {
            if f.is_nan() || l.is_nan() {
                return false;
            }
            let (median, spread) = usual[bin(*l, of_laid, ROWS)];
            let away = (bin(*f, of_fixed, COLUMNS) as f32 - median).abs();
            away > (SPREADS * spread).max(SHARE_LEAST * COLUMNS as f32)
        })
        .collect();
    let share = |on: &mut dyn Iterator<Item = bool>| {
        box_mean(&on.map(|o| f32::from(u8::from(o))).collect::<Vec<_>>(), fixed.grid.dims, AROUND)
    };
    let core: Vec<bool> = share(&mut off.iter().copied()).iter().map(|s| *s > UNUSUAL_LEAST).collect();
    let near = share(&mut core.iter().copied());
    near.iter().zip(&off).zip(&core).map(|((near, off), core)| *core || (*near > 0.0 && *off)).collect()
}

/// Median and half of the distance from the 16th to the 84th percentile of a histogram, at least one bin.
fn usual(counts: &[u32]) -> (f32, f32) {
    let total: u32 = counts.iter().sum();
    let at = |share: f64| {
        let mut seen = 0;
        let reached = |c: &u32| {
            seen += c;
            f64::from(seen) >= share * f64::from(total)
        };
        counts.iter().position(reached).unwrap_or(0) as f32
    };
    (at(0.5), (0.5 * (at(0.84) - at(0.16))).max(1.0))
}

/// The same for voxels of half the size.
pub(super) fn finer(mask: &[bool], coarse: &Grid, fine: &Grid) -> Vec<bool> {
    let on = |i: usize| {
        let at = fine.voxel(i).map(|c| c / 2);
        (0..3).all(|a| at[a] < coarse.dims[a]) && mask[coarse.index(at)]
    };
    (0..fine.len()).into_par_iter().map(on).collect()
}

/// Means of the cubes around voxels; beyond the border lie zeros.
pub(super) fn box_mean(data: &[f32], dims: [usize; 3], half: usize) -> Vec<f32> {
    let mut now = data.to_vec();
    let strides = [1, dims[0], dims[0] * dims[1]];
    for (stride, n) in strides.into_iter().zip(dims) {
        let before = now.clone();
        now.par_iter_mut().enumerate().for_each(|(i, value)| {
            let at = i / stride % n;
            let first = i - at * stride;
            let sum: f32 = (at.saturating_sub(half)..=(at + half).min(n - 1)).map(|x| before[first + x * stride]).sum();
            *value = sum / (2 * half + 1) as f32;
        });
    }
    now
}
