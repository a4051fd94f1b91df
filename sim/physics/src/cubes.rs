//! A set of voxels as solid cubes, and the exact distance of a point from them.
//!
//! The physics engine has no distance query against its voxel shapes, only an intersection test; so
//! clearances come from here, and a test holds both to the same answer. The distance from every voxel's
//! centre to the nearest filled centre (exact Euclidean transform in whole numbers, linear time: Meijster,
//! Roerdink, Hesselink, *A general algorithm for computing distance transforms in linear time*, 2000)
//! bounds every query from both sides; where the bound does not decide, the few cubes that can be nearest
//! are looked at one by one.
//!
//! **Units:** millimetres. **Allocation:** when the grid's size changes.

use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Half of a cube's diagonal over its edge.
const HALF_DIAGONAL: f64 = 0.866_025_403_784_438_6;
/// More than any squared distance, in voxels, on a grid of at most [`EDGE_MAX`] voxels a side.
const NONE: i32 = 1 << 24;
/// Longest grid side taken.
pub(crate) const EDGE_MAX: usize = 1024;
const _: () = assert!((3 * EDGE_MAX * EDGE_MAX) < NONE as usize);

/// Work space of [`squared_distances`].
#[derive(Debug, Default)]
struct Lines {
    g: Vec<i32>,
    sites: Vec<usize>,
    from: Vec<usize>,
    out: Vec<i32>,
}

/// Squared distance in voxels from each centre to the nearest filled centre; [`NONE`] or more where
/// nothing is filled.
fn squared_distances(dims: [usize; 3], filled: &[bool], out: &mut Vec<i32>, lines: &mut Lines) {
    let [nx, ny, nz] = dims;
    out.clear();
    out.resize(filled.len(), NONE);
    for (row, from) in out.chunks_exact_mut(nx).zip(filled.chunks_exact(nx)) {
        let mut last = None;
        for i in 0..nx {
            if from[i] {
                last = Some(i);
            }
            if let Some(l) = last {
                row[i] = ((i - l) * (i - l)) as i32;
            }
        }
        last = None;
        for i in (0..nx).rev() {
            if from[i] {
                last = Some(i);
            }
            if let Some(l) = last {
                row[i] = row[i].min(((l - i) * (l - i)) as i32);
            }
        }
    }
    for k in 0..nz {
        for i in 0..nx {
            line(out, i + nx * ny * k, nx, ny, lines);
        }
    }
    for j in 0..ny {
        for i in 0..nx {
            line(out, i + nx * j, nx * ny, nz, lines);
        }
    }
}

/// Lower envelope of the parabolas of one line, in place.
fn line(data: &mut [i32], first: usize, stride: usize, n: usize, lines: &mut Lines) {
    let Lines { g, sites, from, out } = lines;
    g.clear();
    g.extend((0..n).map(|u| data[first + u * stride]));
    if g.iter().all(|v| *v >= NONE) || g.iter().all(|v| *v == 0) {
        return;
    }
    sites.clear();
    from.clear();
    let value = |site: usize, at: usize| g[site] + (at as i32 - site as i32).pow(2);
    for u in 0..n {
        if g[u] >= NONE {
            continue;
        }
        while let (Some(&site), Some(&start)) = (sites.last(), from.last()) {
            if value(site, start) > value(u, start) {
                sites.pop();
                from.pop();
            } else {
                break;
            }
        }
        match sites.last() {
            None => {
                sites.push(u);
                from.push(0);
            }
            Some(&site) => {
                // First place where u is nearer than `site`.
                let (s, v) = (site as i32, u as i32);
                let cut = 1 + (v * v - s * s + g[u] - g[site]).div_euclid(2 * (v - s));
                if cut >= 0 && (cut as usize) < n {
                    sites.push(u);
                    from.push(cut as usize);
                }
            }
        }
    }
    out.clear();
    out.resize(n, NONE);
    let mut last = sites.len();
    for at in (0..n).rev() {
        while last > 0 && from[last - 1] > at {
            last -= 1;
        }
        if last > 0 {
            out[at] = value(sites[last - 1], at);
        }
    }
    for (at, v) in out.iter().enumerate() {
        data[first + at * stride] = *v;
    }
}

/// Solid cubes on a grid.
#[derive(Debug)]
pub(crate) struct Cubes {
    grid: Grid,
    filled: Vec<bool>,
    /// Distance in mm from each centre to the nearest filled centre; infinite when there is none.
    reach_mm: Vec<f32>,
    any: bool,
    squares: Vec<i32>,
    lines: Lines,
    offered: Vec<bool>,
}

impl Default for Cubes {
    fn default() -> Self {
        Self {
            grid: Grid { dims: [0; 3], spacing_mm: 1.0, origin: [0.0; 3] },
            filled: Vec::new(),
            reach_mm: Vec::new(),
            any: false,
            squares: Vec::new(),
            lines: Lines::default(),
            offered: Vec::new(),
        }
    }
}

impl Cubes {
    /// Takes a new set; returns whether it differs from the one before. Costs little when it does not.
    pub(crate) fn fill(&mut self, grid: &Grid, filled: impl Iterator<Item = bool>) -> bool {
        self.offered.clear();
        self.offered.extend(filled);
        assert_eq!(self.offered.len(), grid.len(), "one value a voxel");
        let same = self.offered == self.filled && grid.dims == self.grid.dims;
        let moved = self.grid != *grid;
        self.grid = *grid;
        if same {
            // The distances are in voxels' units times the spacing, which is part of the grid.
            if moved {
                self.measure();
            }
            return moved;
        }
        std::mem::swap(&mut self.offered, &mut self.filled);
        squared_distances(grid.dims, &self.filled, &mut self.squares, &mut self.lines);
        self.any = self.filled.iter().any(|f| *f);
        self.measure();
        true
    }

    fn measure(&mut self) {
        let h = self.grid.spacing_mm;
        self.reach_mm.clear();
        self.reach_mm.extend(
            self.squares.iter().map(|s| if *s >= NONE { f32::INFINITY } else { (f64::from(*s).sqrt() * h) as f32 }),
        );
    }

    pub(crate) const fn grid(&self) -> &Grid {
        &self.grid
    }

    pub(crate) fn filled(&self) -> &[bool] {
        &self.filled
    }

    /// Distance in mm from each centre to the nearest filled centre.
    pub(crate) fn reach_mm(&self) -> &[f32] {
        &self.reach_mm
    }

    /// Never more than the distance to the nearest cube, and at most a voxel's diagonal less; and a
    /// distance within which one surely lies.
    fn bounds(&self, at: &Point3<f64>) -> (f64, f64) {
        if !self.any {
            return (f64::INFINITY, f64::INFINITY);
        }
        let h = self.grid.spacing_mm;
        let mut voxel = [0_usize; 3];
        let (mut off2, mut box2) = (0.0, 0.0);
        for a in 0..3 {
            let c = (at[a] - self.grid.origin[a]) / h;
            let last = (self.grid.dims[a] - 1) as f64;
            let v = (c + 0.5).floor().clamp(0.0, last);
            voxel[a] = v as usize;
            off2 += (c - v) * (c - v);
            let out = (-0.5 - c).max(c - last - 0.5).max(0.0);
            box2 += out * out;
        }
        let off = off2.sqrt() * h;
        // A part in a million for the rounding to f32.
        let reach = f64::from(self.reach_mm[self.grid.index(voxel)]);
        let low = (reach * (1.0 - 1e-6) - off - HALF_DIAGONAL * h).max(box2.sqrt() * h);
        (low, reach * (1.0 + 1e-6) + off)
    }

    /// A lower bound of the distance, as good as a voxel's diagonal.
    pub(crate) fn at_least(&self, at: &Point3<f64>) -> f64 {
        self.bounds(at).0
    }

    /// Distance to the nearest cube that `counts`; 0 inside one, `None` when it is `bound` or more.
    pub(crate) fn nearer(
        &self,
        at: &Point3<f64>,
        bound: f64,
        counts: impl Fn([usize; 3]) -> bool,
        all_count: bool,
    ) -> Option<f64> {
        let (low, high) = self.bounds(at);
        if low >= bound {
            return None;
        }
        let h = self.grid.spacing_mm;
        let window = if all_count { bound.min(high + h) } else { bound };
        let mut best2 = window * window;
        let mut found = false;
        let ranges = self.grid.around(at, window + 0.5 * h);
        let square = |a: usize, v: usize| {
            let d = ((at[a] - self.grid.origin[a] - h * v as f64).abs() - 0.5 * h).max(0.0);
            d * d
        };
        for k in ranges[2].clone() {
            let dz = square(2, k);
            if dz >= best2 {
                continue;
            }
            for j in ranges[1].clone() {
                let dy = dz + square(1, j);
                if dy >= best2 {
                    continue;
                }
                let row = self.grid.index([0, j, k]);
                for i in ranges[0].clone() {
                    if self.filled[row + i] {
                        let d = dy + square(0, i);
                        if d < best2 && counts([i, j, k]) {
                            best2 = d;
                            found = true;
                        }
                    }
                }
            }
        }
        found.then(|| best2.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn distances_are_those_of_brute_force(
            seed in prop::collection::vec(prop::bool::weighted(0.03), 7 * 9 * 8),
            at in prop::array::uniform3(-14.0..14.0f64),
            bound in 0.5..30.0f64,
        ) {
            let grid = Grid::centred(Point3::new(0.3, -0.2, 0.1), [7, 9, 8], 1.25);
            let mut cubes = Cubes::default();
            cubes.fill(&grid, seed.iter().copied());
            let at = Point3::from(at);
            let brute = (0..grid.len()).filter(|i| seed[*i]).map(|i| {
                let c = grid.centre(grid.voxel(i));
                (0..3).map(|a| ((at[a] - c[a]).abs() - 0.625).max(0.0).powi(2)).sum::<f64>().sqrt()
            }).fold(f64::INFINITY, f64::min);
            prop_assert!(cubes.at_least(&at) <= brute + 1e-9);
            match cubes.nearer(&at, bound, |_| true, true) {
                Some(d) => prop_assert!((d - brute).abs() < 1e-9 && d < bound),
                None => prop_assert!(brute >= bound),
            }
            for (index, reach) in cubes.reach_mm().iter().enumerate() {
                let c = grid.centre(grid.voxel(index));
                let least = (0..grid.len()).filter(|i| seed[*i]).map(|i| nalgebra::distance(&c, &grid.centre(grid.voxel(i)))).fold(f64::INFINITY, f64::min);
                prop_assert!(f64::from(*reach) == least || (f64::from(*reach) - least).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn the_same_set_again_is_no_change_and_another_place_is() {
        let grid = Grid::centred(Point3::origin(), [4, 4, 4], 1.0);
        let mut cubes = Cubes::default();
        assert!(cubes.fill(&grid, (0..64).map(|i| i == 7)));
        assert!(!cubes.fill(&grid, (0..64).map(|i| i == 7)));
        let moved = Grid::centred(Point3::new(1.0, 0.0, 0.0), [4, 4, 4], 1.0);
        assert!(cubes.fill(&moved, (0..64).map(|i| i == 7)));
        assert!(cubes.fill(&moved, (0..64).map(|_| false)));
        assert_eq!(cubes.nearer(&Point3::origin(), 1e3, |_| true, true), None);
    }
}
