//! The template's maps as priors of the three classes.
//!
//! An affine map leaves folds some millimetres apart, so the maps are blurred by that much, and no class
//! is ever impossible. **Units:** probabilities. **Allocation:** 12 bytes a voxel, and as much again while
//! they are made.

use super::tissue::CLASSES;
use crate::anatomy::template::Template;

/// Half width of the box that is applied three times: a standard deviation of 3.5 mm.
const RADIUS: usize = 3;
/// Share of a prior that knows nothing.
const FLAT: f32 = 0.06;

/// `[fluid, grey, white]` of every voxel of the template's grid; each adds up to 1.
pub(super) fn priors(template: &Template) -> Vec<[f32; CLASSES]> {
    let blurred = |value: &dyn Fn(usize) -> f32| {
        let mut map: Vec<f32> = (0..template.grid.len()).map(value).collect();
        for _ in 0..3 {
            blur(template.grid.dims, &mut map);
        }
        map
    };
    let brain = blurred(&|i| f32::from(u8::from(template.t1[i] > 0)));
    let grey = blurred(&|i| f32::from(template.grey[i]) / 255.0);
    let white = blurred(&|i| f32::from(template.white[i]) / 255.0);
    (0..brain.len())
        .map(|i| {
            let fluid = (brain[i] - grey[i] - white[i]).max(0.0);
            let sum = fluid + grey[i] + white[i];
            let scale = if sum > 1e-3 { (1.0 - FLAT) / sum } else { 0.0 };
            let rest = (1.0 - scale * sum) / CLASSES as f32;
            [fluid, grey[i], white[i]].map(|p| p * scale + rest)
        })
        .collect()
}

/// A running mean of `2·RADIUS + 1` voxels along each axis; what lies outside the grid is 0.
fn blur(dims: [usize; 3], map: &mut [f32]) {
    let part = 1.0 / (2 * RADIUS + 1) as f32;
    let mut stride = 1;
    for n in dims {
        for block in map.chunks_exact_mut(n * stride) {
            let mut line = vec![0.0_f32; n];
            for start in 0..stride {
                for (i, v) in line.iter_mut().enumerate() {
                    *v = block[start + i * stride];
                }
                let mut sum: f32 = line[..RADIUS.min(n)].iter().sum();
                for i in 0..n {
                    sum += line.get(i + RADIUS).copied().unwrap_or(0.0);
                    block[start + i * stride] = sum * part;
                    sum -= if i >= RADIUS { line[i - RADIUS] } else { 0.0 };
                }
            }
        }
        stride *= n;
    }
}
