//! Smooth noise: normal numbers on a lattice, interpolated between.
//!
//! **Units:** the grid's own mm; the field's correlation reaches about one cell of the lattice.
//! **Determinism:** a value depends on the seed and the place alone. Variance is 1 over many cells.

use crate::random::{mix, normal_pair};
use bregma_core::grid::Grid;

/// Noise over every voxel of a grid, with a correlation length in mm.
pub(crate) fn field(grid: &Grid, cell_mm: f64, seed: u64) -> Vec<f32> {
    let step = (grid.spacing_mm / cell_mm) as f32;
    let cells: [usize; 3] = grid.dims.map(|n| (n as f32 * step) as usize + 2);
    let lattice: Vec<f32> = (0..cells.iter().product::<usize>()).map(|i| normal_pair(mix(seed, i as u64)).0).collect();
    // Along each axis: the lower lattice point and the weight of the upper one. A weighted mean of two
    // normals loses variance; dividing by the weights' length gives it back.
    let axis = |n: usize| -> Vec<(usize, f32, f32)> {
        (0..n)
            .map(|i| {
                let at = i as f32 * step;
                let f = at - at.floor();
                let f = f * f * (3.0 - 2.0 * f);
                let length = (f * f + (1.0 - f) * (1.0 - f)).sqrt();
                (at as usize, (1.0 - f) / length, f / length)
            })
            .collect()
    };
    let [xs, ys, zs] = grid.dims.map(axis);
    let mut out = Vec::with_capacity(grid.len());
    let mut line = vec![0.0_f32; cells[0]];
    for (k, low_z, high_z) in zs {
        for (j, low_y, high_y) in &ys {
            let row = |j: usize, k: usize| &lattice[cells[0] * (j + cells[1] * k)..][..cells[0]];
            let (a, b, c, d) = (row(*j, k), row(j + 1, k), row(*j, k + 1), row(j + 1, k + 1));
            for (i, v) in line.iter_mut().enumerate() {
                *v = (a[i] * low_y + b[i] * high_y) * low_z + (c[i] * low_y + d[i] * high_y) * high_z;
            }
            out.extend(xs.iter().map(|(i, low, high)| line[*i] * low + line[i + 1] * high));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_smooth_and_of_unit_variance() {
        let grid = Grid { dims: [96; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let noise = field(&grid, 6.0, 5);
        let n = noise.len() as f32;
        let mean = noise.iter().sum::<f32>() / n;
        let variance = noise.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        assert!(mean.abs() < 0.1 && (variance - 1.0).abs() < 0.15, "{mean} {variance}");
        // A voxel is a sixth of a cell: neighbours are nearly the same, voxels a dozen apart are strangers.
        let correlation = |apart: usize| {
            let pairs = noise.chunks(96).flat_map(|row| row.iter().zip(&row[apart..]));
            pairs.map(|(a, b)| a * b).sum::<f32>() / (n * (96 - apart) as f32 / 96.0 * variance)
        };
        assert!(correlation(1) > 0.9 && correlation(12).abs() < 0.1, "{} {}", correlation(1), correlation(12));
        assert_ne!(noise, field(&grid, 6.0, 6));
    }
}
