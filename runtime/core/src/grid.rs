//! Regular grids of voxels in patient coordinates, x fastest.
//!
//! **Shape:** `dims = [nx, ny, nz]`; voxel `[i, j, k]` has index `i + nx·(j + ny·k)`, so that the same
//! memory read as a tensor is `[D, H, W] = [nz, ny, nx]`. **Units:** mm, LPS. Coordinates are of voxel
//! *centres*.

use nalgebra::Point3;

/// A grid whose axes are the patient's (LPS).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Voxels along x, y, z.
    pub dims: [usize; 3],
    /// Edge of a voxel, mm; the same on all axes.
    pub spacing_mm: f64,
    /// Centre of voxel `[0, 0, 0]`, patient mm.
    pub origin: [f64; 3],
}

impl Grid {
    /// A grid of `dims` voxels whose middle lies at `centre`.
    #[must_use]
    pub fn centred(centre: Point3<f64>, dims: [usize; 3], spacing_mm: f64) -> Self {
        let origin = std::array::from_fn(|a| centre[a] - spacing_mm * 0.5 * (dims[a] as f64 - 1.0));
        Self { dims, spacing_mm, origin }
    }

    /// Number of voxels.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.dims[0] * self.dims[1] * self.dims[2]
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Volume of a voxel, mL.
    #[must_use]
    pub fn voxel_ml(&self) -> f64 {
        self.spacing_mm.powi(3) * 1e-3
    }

    /// Where a voxel lies in memory.
    #[must_use]
    pub const fn index(&self, [i, j, k]: [usize; 3]) -> usize {
        i + self.dims[0] * (j + self.dims[1] * k)
    }

    /// Which voxel lies at `index`.
    #[must_use]
    pub const fn voxel(&self, index: usize) -> [usize; 3] {
        let (nx, ny) = (self.dims[0], self.dims[1]);
        [index % nx, (index / nx) % ny, index / (nx * ny)]
    }

    /// Centre of a voxel in patient mm.
    #[must_use]
    pub fn centre(&self, voxel: [usize; 3]) -> Point3<f64> {
        Point3::from(std::array::from_fn::<f64, 3, _>(|a| self.origin[a] + self.spacing_mm * voxel[a] as f64))
    }

    /// Voxel coordinates of a point, fractions of a voxel; not limited to the grid.
    #[must_use]
    pub fn coordinates(&self, at: &Point3<f64>) -> [f64; 3] {
        std::array::from_fn(|a| (at[a] - self.origin[a]) / self.spacing_mm)
    }

    /// The voxel that holds a point; `None` outside the grid (and for NaN).
    #[must_use]
    pub fn containing(&self, at: &Point3<f64>) -> Option<[usize; 3]> {
        let mut voxel = [0; 3];
        for (a, c) in self.coordinates(at).into_iter().enumerate() {
            let c = (c + 0.5).floor();
            if !(c >= 0.0 && c < self.dims[a] as f64) {
                return None;
            }
            voxel[a] = c as usize;
        }
        Some(voxel)
    }

    /// The range of voxels, per axis, whose centres may lie within `radius_mm` of a point; empty ranges
    /// where there are none.
    #[must_use]
    pub fn around(&self, at: &Point3<f64>, radius_mm: f64) -> [std::ops::Range<usize>; 3] {
        let c = self.coordinates(at);
        let r = radius_mm / self.spacing_mm;
        std::array::from_fn(|a| {
            let low = (c[a] - r).ceil().max(0.0) as usize;
            let high = ((c[a] + r).floor() + 1.0).clamp(0.0, self.dims[a] as f64) as usize;
            low.min(high)..high
        })
    }

    /// Trilinear value of `data` at a point; voxels outside count as `outside`.
    #[must_use]
    pub fn sample(&self, data: &[f32], at: &Point3<f64>, outside: f32) -> f32 {
        let c = self.coordinates(at);
        let base: [f64; 3] = c.map(f64::floor);
        let mut sum = 0.0_f64;
        for corner in 0..8_usize {
            let mut weight = 1.0;
            let mut index = Some(0_usize);
            for a in [2, 1, 0] {
                let up = (corner >> a & 1) as f64;
                let fraction = c[a] - base[a];
                weight *= if up > 0.0 { fraction } else { 1.0 - fraction };
                let v = base[a] + up;
                index = match index {
                    Some(i) if v >= 0.0 && v < self.dims[a] as f64 => Some(i * self.dims[a] + v as usize),
                    _ => None,
                };
            }
            sum += weight * f64::from(index.map_or(outside, |i| data[i]));
        }
        sum as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid() -> Grid {
        Grid { dims: [5, 7, 3], spacing_mm: 1.25, origin: [-3.0, 10.0, 0.5] }
    }

    #[test]
    fn index_and_voxel_agree() {
        let g = grid();
        for index in 0..g.len() {
            assert_eq!(g.index(g.voxel(index)), index);
            assert_eq!(g.containing(&g.centre(g.voxel(index))), Some(g.voxel(index)));
        }
        assert_eq!(g.containing(&Point3::new(f64::NAN, 10.0, 0.5)), None);
    }

    #[test]
    fn samples_a_linear_ramp_exactly() {
        let g = grid();
        let data: Vec<f32> = (0..g.len())
            .map(|i| {
                let c = g.centre(g.voxel(i));
                (2.0 * c.x - c.y + 3.0 * c.z) as f32
            })
            .collect();
        let at = Point3::new(-1.1, 13.3, 1.9);
        assert!((f64::from(g.sample(&data, &at, 0.0)) - (2.0 * at.x - at.y + 3.0 * at.z)).abs() < 1e-4);
        assert!((g.sample(&data, &Point3::new(500.0, 0.0, 0.0), -1.0) + 1.0).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn around_misses_no_voxel(x in -20.0..20.0f64, y in -20.0..30.0f64, z in -20.0..20.0f64, r in 0.0..8.0f64) {
            let g = grid();
            let at = Point3::new(x, y, z);
            let [xs, ys, zs] = g.around(&at, r);
            for index in 0..g.len() {
                let v = g.voxel(index);
                if nalgebra::distance(&g.centre(v), &at) <= r {
                    prop_assert!(xs.contains(&v[0]) && ys.contains(&v[1]) && zs.contains(&v[2]));
                }
            }
        }
    }
}
