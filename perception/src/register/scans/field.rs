//! Where points of one scan are in another: a rigid motion, and on a lattice of nodes what tissue has moved beside it.
//!
//! **Units and frames:** mm; nodes lie in the fixed scan, patient LPS. `moving = rigid * (fixed + u(fixed))`, `u` trilinear
//! between nodes; beyond the lattice the border's value goes on. The way back is a fixed-point iteration, which converges while `u` changes by
//! less than a millimetre per millimetre. **Allocation:** none when a point is asked for.

use bregma_core::grid::Grid;
use nalgebra::{Isometry3, Matrix3, Point3, Vector3};

/// Fixed-point steps of the way back, at most.
const BACK_STEPS: usize = 60;
/// The way back is exact to that, mm.
const BACK_WITHIN_MM: f64 = 1e-4;

/// A displacement field with a rigid motion before it.
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
    /// Where what is at a point of the fixed scan is in the moving one.
    #[must_use]
    pub fn moving(&self, fixed: &Point3<f64>) -> Point3<f64> {
        self.moving_from_fixed * (fixed + self.at(fixed))
    }

    /// Where what is at a point of the moving scan is in the fixed one; `None` where the way back does not converge.
    #[must_use]
    pub fn fixed(&self, moving: &Point3<f64>) -> Option<Point3<f64>> {
        let stiff = self.moving_from_fixed.inverse_transform_point(moving);
        let mut at = stiff;
        for _ in 0..BACK_STEPS {
            let next = stiff - self.at(&at);
            let apart = (next - at).norm();
            at = next;
            if apart < BACK_WITHIN_MM {
                return Some(at);
            }
        }
        None
    }

    /// What tissue at a point of the fixed scan has moved beside the rigid motion, mm.
    #[must_use]
    pub fn at(&self, fixed: &Point3<f64>) -> Vector3<f64> {
        let mut sum = Vector3::zeros();
        for (node, share) in corners(&self.lattice, fixed) {
            sum += self.moved[node] * share;
        }
        sum
    }

    /// Estimated error at a point of the fixed scan, one standard deviation of its length, mm.
    #[must_use]
    pub fn error_mm(&self, fixed: &Point3<f64>) -> f64 {
        corners(&self.lattice, fixed).into_iter().map(|(node, share)| f64::from(self.error_mm[node]) * share).sum()
    }

    /// How many cells fold: those at one of whose corners a volume's factor is not above 0.
    #[must_use]
    pub fn folded_cells(&self) -> usize {
        let [nx, ny, nz] = self.lattice.dims;
        let folds = |n: &usize| {
            let cell = [n % (nx - 1), n / (nx - 1) % (ny - 1), n / ((nx - 1) * (ny - 1))];
            (0..8).any(|c| {
                let off = [c & 1, c >> 1 & 1, c >> 2];
                let at = |a: usize, o: usize| {
                    let mut v: [usize; 3] = std::array::from_fn(|b| cell[b] + off[b]);
                    v[a] = cell[a] + o;
                    self.moved[self.lattice.index(v)]
                };
                let columns = [0, 1, 2].map(|a| (at(a, 1) - at(a, 0)) / self.lattice.spacing_mm);
                (Matrix3::identity() + Matrix3::from_columns(&columns)).determinant() <= 0.0
            })
        };
        (0..(nx - 1) * (ny - 1) * (nz - 1)).filter(folds).count()
    }
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
