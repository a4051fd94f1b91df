//! Where points of one scan are in another: a rigid motion, and on a lattice of nodes what tissue has moved beside it.
//!
//! **Units and frames:** mm; nodes lie in the fixed scan, patient LPS. `moving = rigid * (fixed + u(fixed))`, `u` trilinear
//! between nodes; beyond the lattice the border's value goes on. The way back is Newton's iteration, damped, from where the nearest
//! node came from. **Allocation:** none when a point is asked for.

use bregma_core::grid::Grid;
use nalgebra::{Isometry3, Matrix3, Point3, Vector3};

/// Steps of the way back, at most.
const BACK_STEPS: usize = 60;
/// The way back is exact to that, mm.
const BACK_WITHIN_MM: f64 = 1e-3;
/// Nodes on each side among which the way back finds its start, when it finds none by itself: 30 mm of 5 mm nodes.
const BACK_NODES: usize = 6;
/// A cell's corner shrinks at most to that share of its volume.
pub(super) const SHRINKS_LEAST: f64 = 0.02;
/// Passes of smoothing that take folds out, at most.
const SMOOTHED: usize = 2000;
/// How much of its neighbours' mean a node takes on in a pass where a cube was found at it.
const TAKES_HELD: f64 = 0.05;
/// And where none was.
const TAKES_FREE: f64 = 0.5;

/// A displacement field with a rigid motion after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Displacement {
    /// Nodes, in the fixed scan.
    pub lattice: Grid,
    /// Takes the fixed scan's coordinates to the moving one's where nothing has moved within the patient.
    pub moving_from_fixed: Isometry3<f64>,
    /// Of every node, in the fixed scan's coordinates, mm.
    pub moved: Vec<Vector3<f64>>,
    /// Estimated error at every node, one standard deviation of its length, mm.
    pub error_mm: Vec<f32>,
}

impl Displacement {
    /// Nothing moved within the patient.
    pub(super) fn rigid(lattice: Grid, moving_from_fixed: Isometry3<f64>) -> Self {
        let (moved, error_mm) = (vec![Vector3::zeros(); lattice.len()], vec![0.0; lattice.len()]);
        Self { lattice, moving_from_fixed, moved, error_mm }
    }

    /// Where what is at a point of the fixed scan is in the moving one.
    #[must_use]
    pub fn moving(&self, fixed: &Point3<f64>) -> Point3<f64> {
        self.moving_from_fixed * (fixed + self.at(fixed))
    }

    /// Where what is at a point of the moving scan is in the fixed one; `None` where the way back does not converge, as in what
    /// was resected.
    #[must_use]
    pub fn fixed(&self, moving: &Point3<f64>) -> Option<Point3<f64>> {
        let stiff = self.moving_from_fixed.inverse_transform_point(moving);
        self.back(&stiff, stiff).or_else(|| self.back(&stiff, self.start(&stiff)))
    }

    /// The same, sought from the place of a neighbour.
    #[must_use]
    pub fn fixed_near(&self, moving: &Point3<f64>, near: &Point3<f64>) -> Option<Point3<f64>> {
        let stiff = self.moving_from_fixed.inverse_transform_point(moving);
        self.back(&stiff, *near).or_else(|| self.fixed(moving))
    }

    /// Newton's iteration from a start; steps are halved until they help.
    fn back(&self, stiff: &Point3<f64>, start: Point3<f64>) -> Option<Point3<f64>> {
        let off = |at: &Point3<f64>| at + self.at(at) - stiff;
        let (mut at, mut was) = (start, off(&start));
        for _ in 0..BACK_STEPS {
            if was.norm() < BACK_WITHIN_MM {
                return Some(at);
            }
            let step = self.gradient(&at).try_inverse()? * was;
            // A step across many cells says little.
            let step = step * (2.0 * self.lattice.spacing_mm / step.norm().max(1e-12)).min(1.0);
            let tried = (0..8).map(|n| at - step * 0.5_f64.powi(n)).map(|p| (p, off(&p)));
            (at, was) = tried.into_iter().find(|(_, o)| o.norm() < was.norm())?;
        }
        None
    }

    /// The node nearby that comes closest.
    fn start(&self, stiff: &Point3<f64>) -> Point3<f64> {
        let middle = self.lattice.coordinates(stiff);
        let span = |a: usize| {
            let c = middle[a].round().clamp(0.0, (self.lattice.dims[a] - 1) as f64) as usize;
            c.saturating_sub(BACK_NODES)..(c + BACK_NODES + 1).min(self.lattice.dims[a])
        };
        let nodes = span(2).flat_map(|k| span(1).flat_map(move |j| span(0).map(move |i| [i, j, k])));
        let off = |v: &[usize; 3]| (self.lattice.centre(*v) + self.moved[self.lattice.index(*v)] - stiff).norm();
        nodes.min_by(|a, b| off(a).total_cmp(&off(b))).map_or(*stiff, |v| self.lattice.centre(v))
    }

    /// What tissue at a point of the fixed scan has moved beside the rigid motion, mm.
    #[must_use]
    pub fn at(&self, fixed: &Point3<f64>) -> Vector3<f64> {
        corners(&self.lattice, fixed).into_iter().map(|(node, share)| self.moved[node] * share).sum()
    }

    /// Of `fixed + u(fixed)`.
    fn gradient(&self, fixed: &Point3<f64>) -> Matrix3<f64> {
        let c = self.lattice.coordinates(fixed);
        let cell: [usize; 3] = std::array::from_fn(|a| {
            let last = self.lattice.dims[a].saturating_sub(2) as f64;
            c[a].floor().clamp(0.0, last) as usize
        });
        let part: [f64; 3] = std::array::from_fn(|a| c[a] - cell[a] as f64);
        let mut gradient = Matrix3::identity();
        for a in 0..3 {
            // Beyond the border nothing changes along that axis.
            if !(0.0..=1.0).contains(&part[a]) {
                continue;
            }
            for n in 0..8_usize {
                let on = |b: usize| n >> b & 1 > 0;
                let share = |b: usize| if on(b) { part[b].clamp(0.0, 1.0) } else { 1.0 - part[b].clamp(0.0, 1.0) };
                let others: f64 = (0..3).filter(|b| *b != a).map(share).product();
                let slope = if on(a) { others } else { -others } / self.lattice.spacing_mm;
                let node = std::array::from_fn(|b| (cell[b] + usize::from(on(b))).min(self.lattice.dims[b] - 1));
                let mut column = gradient.column_mut(a);
                column += self.moved[self.lattice.index(node)] * slope;
            }
        }
        gradient
    }

    /// Estimated error at a point of the fixed scan, one standard deviation of its length, mm.
    #[must_use]
    pub fn error_mm(&self, fixed: &Point3<f64>) -> f64 {
        corners(&self.lattice, fixed).into_iter().map(|(node, share)| f64::from(self.error_mm[node]) * share).sum()
    }

    /// The least factor by which a volume changes, over the corners of all cells: above 0 nothing folds there.
    #[must_use]
    pub fn shrinks_least(&self) -> f64 {
        cells(&self.lattice).map(|cell| self.shrinks(cell)).fold(f64::INFINITY, f64::min)
    }

    /// Over the corners of a cell.
    fn shrinks(&self, cell: [usize; 3]) -> f64 {
        let at = |v: [usize; 3]| self.moved[self.lattice.index(v)];
        let factor = |c: usize| {
            let corner: [usize; 3] = std::array::from_fn(|a| cell[a] + (c >> a & 1));
            let columns = [0, 1, 2].map(|a| {
                let (mut low, mut high) = (corner, corner);
                (low[a], high[a]) = (cell[a], cell[a] + 1);
                (at(high) - at(low)) / self.lattice.spacing_mm
            });
            (Matrix3::identity() + Matrix3::from_columns(&columns)).determinant()
        };
        (0..8).map(factor).fold(f64::INFINITY, f64::min)
    }
}

fn cells(lattice: &Grid) -> impl Iterator<Item = [usize; 3]> {
    let [nx, ny, nz] = lattice.dims.map(|n| n - 1);
    (0..nx * ny * nz).map(move |n| [n % nx, n / nx % ny, n / (nx * ny)])
}

/// Smooths around cells that shrink too far until none does, most where no cube was found. The least factor that is left.
pub(super) fn unfold(map: &mut Displacement, held: &[bool]) -> f64 {
    let lattice = map.lattice;
    let mut tight: Vec<[usize; 3]> = cells(&lattice).filter(|c| map.shrinks(*c) < SHRINKS_LEAST).collect();
    for _ in 0..SMOOTHED {
        if tight.is_empty() {
            break;
        }
        let mut nodes: Vec<usize> = tight
            .iter()
            .flat_map(|cell| (0..8).map(|c| lattice.index(std::array::from_fn(|a| cell[a] + (c >> a & 1)))))
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        let smooth = |node: &usize| {
            let around = neighbours(&lattice, *node);
            let mean = around.iter().map(|n| map.moved[*n]).sum::<Vector3<f64>>() / around.len().max(1) as f64;
            let takes = if held[*node] { TAKES_HELD } else { TAKES_FREE };
            map.moved[*node] + (mean - map.moved[*node]) * takes
        };
        let moved: Vec<Vector3<f64>> = nodes.iter().map(smooth).collect();
        nodes.iter().zip(moved).for_each(|(node, moved)| map.moved[*node] = moved);
        let mut touched: Vec<[usize; 3]> = nodes.iter().flat_map(|node| cells_of(&lattice, *node)).collect();
        touched.sort_unstable();
        touched.dedup();
        tight = touched.into_iter().filter(|c| map.shrinks(*c) < SHRINKS_LEAST).collect();
    }
    map.shrinks_least()
}

/// The cells that a node is a corner of.
fn cells_of(lattice: &Grid, node: usize) -> impl Iterator<Item = [usize; 3]> {
    let (at, dims) = (lattice.voxel(node), lattice.dims);
    (0..8_usize).filter_map(move |c| {
        let cell: [usize; 3] = std::array::from_fn(|a| at[a].wrapping_sub(c >> a & 1));
        (0..3).all(|a| cell[a] < dims[a] - 1).then_some(cell)
    })
}

fn neighbours(lattice: &Grid, node: usize) -> Vec<usize> {
    let at = lattice.voxel(node);
    let beside = (0..6_usize).filter_map(|n| {
        let (a, up) = (n / 2, n % 2 > 0);
        let mut to = at;
        to[a] = if up { at[a] + 1 } else { at[a].wrapping_sub(1) };
        (to[a] < lattice.dims[a]).then(|| lattice.index(to))
    });
    beside.collect()
}

/// The eight nodes around a point with their shares, at the border those on it.
fn corners(lattice: &Grid, at: &Point3<f64>) -> [(usize, f64); 8] {
    let c = lattice.coordinates(at);
    let (mut low, mut part) = ([0_usize; 3], [0.0; 3]);
    for a in 0..3 {
        let last = lattice.dims[a] - 1;
        let inside = c[a].clamp(0.0, last as f64);
        low[a] = (inside as usize).min(last.saturating_sub(1));
        part[a] = inside - low[a] as f64;
    }
    std::array::from_fn(|n| {
        let off = [n & 1, n >> 1 & 1, n >> 2];
        let share = (0..3).map(|a| if off[a] > 0 { part[a] } else { 1.0 - part[a] }).product();
        let node = std::array::from_fn(|a| (low[a] + off[a]).min(lattice.dims[a] - 1));
        (lattice.index(node), share)
    })
}
