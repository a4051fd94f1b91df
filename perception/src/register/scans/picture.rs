//! A scan as registration reads it: on an even grid along the patient's axes, at several resolutions.
//!
//! **Units and frame:** mm, patient LPS of its own scan; intensities as they came, clipped at their 99.8th percentile. What a
//! scan does not show is NaN, and whatever is computed from it is NaN too, so that nothing is made up at the border.
//! **Determinism:** rows are filled in parallel, each by itself.

use crate::scan::Scan;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};
use rayon::prelude::*;

/// Finest spacing, mm: that of the scans.
pub(super) const FINE_MM: f64 = 1.0;
/// Voxels that a picture has at most; larger scans are read more coarsely.
const VOXELS_MAX: f64 = 24e6;
/// Share of voxels above which intensities are clipped.
const BRIGHT_SHARE: f64 = 0.002;

/// A scan on an even grid.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub grid: Grid,
    pub data: Vec<f32>,
}

impl Picture {
    /// The whole of a scan.
    pub fn of(scan: &Scan) -> Self {
        let volume = scan.volume();
        let corner = |c: usize| {
            let at: [f64; 3] = std::array::from_fn(|a| if c >> a & 1 > 0 { volume.dims[a] as f64 - 1.0 } else { 0.0 });
            volume.patient_from_voxel.transform_point(&Point3::from(at))
        };
        let (low, high) = (0..8)
            .map(corner)
            .fold((Vector3::repeat(f64::INFINITY), Vector3::repeat(f64::NEG_INFINITY)), |(low, high), c| {
                (low.inf(&c.coords), high.sup(&c.coords))
            });
        let size = high - low;
        let spacing_mm = FINE_MM.max((size.product() / VOXELS_MAX).cbrt());
        let dims = std::array::from_fn(|a| (size[a] / spacing_mm + 1e-6) as usize + 1);
        let grid = Grid { dims, spacing_mm, origin: low.into() };
        let bright = bright(&volume.intensities);
        let data: Vec<f32> = volume.intensities.iter().map(|v| v.min(bright)).collect();
        let mut picture = Self { data: vec![0.0; grid.len()], grid };
        let step = scan.voxel_from_patient().transform_vector(&Vector3::new(spacing_mm, 0.0, 0.0));
        picture.fill_rows(|first, row| {
            let mut at = scan.voxel_from_patient().transform_point(first);
            for value in row {
                *value = trilinear(&data, volume.dims, at.coords.into());
                at += step;
            }
        });
        picture
    }

    /// Every row of voxels in parallel: `fill` gets its first point and the row.
    pub fn fill_rows(&mut self, fill: impl Fn(&Point3<f64>, &mut [f32]) + Sync) {
        let grid = self.grid;
        self.data
            .par_chunks_mut(grid.dims[0])
            .enumerate()
            .for_each(|(row, values)| fill(&grid.centre([0, row % grid.dims[1], row / grid.dims[1]]), values));
    }

    /// Twice as coarse: means of eight voxels; of those that are known, if at least half are.
    pub fn halved(&self) -> Self {
        let Grid { dims, spacing_mm, origin } = self.grid;
        let grid = Grid {
            dims: dims.map(|n| (n / 2).max(1)),
            spacing_mm: 2.0 * spacing_mm,
            origin: origin.map(|o| o + 0.5 * spacing_mm),
        };
        let mut coarse = Self { data: vec![0.0; grid.len()], grid };
        coarse.data.par_chunks_mut(grid.dims[0]).enumerate().for_each(|(row, values)| {
            let (j, k) = (row % grid.dims[1], row / grid.dims[1]);
            for (i, value) in values.iter_mut().enumerate() {
                let (mut sum, mut count) = (0.0, 0);
                for c in 0..8 {
                    let at = [2 * i + (c & 1), 2 * j + (c >> 1 & 1), 2 * k + (c >> 2)];
                    if (0..3).all(|a| at[a] < dims[a]) {
                        let v = self.data[self.grid.index(at)];
                        if !v.is_nan() {
                            sum += v;
                            count += 1;
                        }
                    }
                }
                *value = if count >= 4 { sum / count as f32 } else { f32::NAN };
            }
        });
        coarse
    }

    /// The intensity at a point; NaN where the scan does not reach.
    pub fn at(&self, point: &Point3<f64>) -> f32 {
        trilinear(&self.data, self.grid.dims, self.grid.coordinates(point))
    }

    /// Left and right exchanged about the grid's middle.
    pub fn mirrored(&self) -> Self {
        let mut mirrored = self.clone();
        mirrored.data.chunks_exact_mut(self.grid.dims[0]).for_each(<[f32]>::reverse);
        mirrored
    }

    /// Lowest and highest known intensity; `None` where nothing is known or all is alike.
    pub fn range(&self) -> Option<(f32, f32)> {
        let known = self.data.iter().filter(|v| !v.is_nan());
        let (low, high) = known.fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        (low < high).then_some((low, high))
    }
}

/// The intensity that a share of [`BRIGHT_SHARE`] exceeds: fat and vessels would else fill a histogram's range.
fn bright(data: &[f32]) -> f32 {
    let stride = (data.len() / 200_000).max(1);
    let mut some: Vec<f32> = data.iter().step_by(stride).copied().collect();
    let rank = ((some.len() as f64 * (1.0 - BRIGHT_SHARE)) as usize).min(some.len().saturating_sub(1));
    if some.is_empty() { f32::MAX } else { *some.select_nth_unstable_by(rank, f32::total_cmp).1 }
}

/// At fractions of a voxel; NaN outside.
fn trilinear(data: &[f32], dims: [usize; 3], at: [f64; 3]) -> f32 {
    let (mut low, mut part) = ([0_usize; 3], [0.0_f32; 3]);
    for a in 0..3 {
        let last = dims[a] as f64 - 1.0;
        // Rounding may put the border's own voxels a trace outside.
        if !(at[a] >= -1e-6 && at[a] <= last + 1e-6) {
            return f32::NAN;
        }
        let inside = at[a].clamp(0.0, last);
        low[a] = (inside as usize).min(dims[a].saturating_sub(2));
        part[a] = (inside - low[a] as f64) as f32;
    }
    let step = [1, dims[0], dims[0] * dims[1]];
    let step: [usize; 3] = std::array::from_fn(|a| if dims[a] > 1 { step[a] } else { 0 });
    let first = low[0] + dims[0] * (low[1] + dims[1] * low[2]);
    let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let line = |i: usize| mix(data[i], data[i + step[0]], part[0]);
    let plane = |i: usize| mix(line(i), line(i + step[1]), part[1]);
    mix(plane(first), plane(first + step[2]), part[2])
}
