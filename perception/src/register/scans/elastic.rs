//! A soft solid on a lattice of cubes that is pulled towards where its nodes were seen, and held together by its stiffness.
//!
//! Least of `Σ (u - t)ᵀ I (u - t) + Σ κ uᵀ K u`, over nodes that were seen and over cells. `K` is the stiffness of a cube with eight nodes and
//! trilinear displacement, of an isotropic linear solid, by Gauss's two points along each axis (Bathe, *Finite Element Procedures*, 1996,
//! chapter 5); registration by it, with pulls from block matching, is Clatz et al. (IEEE TMI 24, 2005). Solved by conjugate gradients
//! with the nodes' own 3 × 3 blocks as a preconditioner.
//! **Units:** mm; informations and stiffness in mm⁻². **Determinism:** layers of cells are added up in a fixed order whatever the
//! number of threads.

use bregma_core::grid::Grid;
use nalgebra::{Matrix3, SMatrix, SVector, Vector3};
use rayon::prelude::*;

/// Poisson's ratio: nearly incompressible, as brain is, without locking a coarse lattice.
const POISSON: f64 = 0.4;
/// Residual over the right side at which steps end.
const RESIDUAL: f64 = 1e-3;
/// Steps at most.
const STEPS: usize = 150;

type Cell = SMatrix<f64, 24, 24>;

/// The solid.
#[derive(Debug)]
pub(super) struct Solid {
    lattice: Grid,
    /// Of a cell whose sides are a unit long, for a unit of Young's modulus; energy over volume is squared strain.
    cell: Cell,
    /// Of every cell, mm⁻².
    pub stiffness: Vec<f64>,
}

impl Solid {
    pub fn new(lattice: Grid) -> Self {
        let cells = lattice.dims.iter().map(|n| n - 1).product();
        Self { lattice, cell: unit_cell(), stiffness: vec![0.0; cells] }
    }

    /// Its nodes.
    pub fn lattice(&self) -> &Grid {
        &self.lattice
    }

    /// From node to node, mm.
    pub fn spacing_mm(&self) -> f64 {
        self.lattice.spacing_mm
    }

    /// Nodes of a cell.
    pub fn nodes(&self, cell: usize) -> [usize; 8] {
        let [nx, ny, _] = self.lattice.dims.map(|n| n - 1);
        let at = [cell % nx, cell / nx % ny, cell / (nx * ny)];
        std::array::from_fn(|c| self.lattice.index([at[0] + (c & 1), at[1] + (c >> 1 & 1), at[2] + (c >> 2)]))
    }

    /// Mean squared strain of a cell.
    pub fn strain_squared(&self, cell: usize, moved: &[Vector3<f64>]) -> f64 {
        let u = gather(&self.nodes(cell), moved, 0);
        u.dot(&(self.cell * u)) / self.lattice.spacing_mm.powi(2)
    }

    /// The displacement, from a first guess. `pulls`: information on each node and that times where it was seen.
    pub fn solve(&self, pulls: &[(Matrix3<f64>, Vector3<f64>)], moved: &mut [Vector3<f64>]) {
        let n = moved.len();
        let inverse = self.preconditioner(pulls);
        let mut along = vec![Vector3::zeros(); n];
        self.apply(pulls, moved, &mut along);
        let mut residual: Vec<Vector3<f64>> = pulls.iter().zip(&along).map(|((_, b), a)| b - a).collect();
        let right: f64 = pulls.iter().map(|(_, b)| b.norm_squared()).sum();
        let eased = |r: &[Vector3<f64>]| -> Vec<Vector3<f64>> { r.iter().zip(&inverse).map(|(r, m)| m * r).collect() };
        let dot = |a: &[Vector3<f64>], b: &[Vector3<f64>]| a.iter().zip(b).map(|(a, b)| a.dot(b)).sum::<f64>();
        let mut z = eased(&residual);
        let mut direction = z.clone();
        let mut rz = dot(&residual, &z);
        for _ in 0..STEPS {
            if dot(&residual, &residual) <= RESIDUAL * RESIDUAL * right || rz <= 0.0 {
                break;
            }
            self.apply(pulls, &direction, &mut along);
            let step = rz / dot(&direction, &along);
            for i in 0..n {
                moved[i] += direction[i] * step;
                residual[i] -= along[i] * step;
            }
            z = eased(&residual);
            let next = dot(&residual, &z);
            let share = next / rz;
            rz = next;
            direction.iter_mut().zip(&z).for_each(|(d, z)| *d = z + *d * share);
        }
    }

    fn preconditioner(&self, pulls: &[(Matrix3<f64>, Vector3<f64>)]) -> Vec<Matrix3<f64>> {
        let mut blocks: Vec<Matrix3<f64>> = pulls.iter().map(|(i, _)| *i).collect();
        for (cell, stiffness) in self.stiffness.iter().enumerate() {
            for (c, node) in self.nodes(cell).into_iter().enumerate() {
                blocks[node] += self.cell.fixed_view::<3, 3>(3 * c, 3 * c) * *stiffness;
            }
        }
        blocks.iter().map(|b| b.try_inverse().unwrap_or_else(Matrix3::identity)).collect()
    }

    /// Forces at displacements. Layers of cells touch the layer of nodes below and above them: first the even ones, then the odd.
    fn apply(&self, pulls: &[(Matrix3<f64>, Vector3<f64>)], moved: &[Vector3<f64>], out: &mut [Vector3<f64>]) {
        out.iter_mut().zip(pulls).zip(moved).for_each(|((out, (i, _)), u)| *out = i * u);
        let [nx, ny, nz] = self.lattice.dims;
        let (layer, cells) = (nx * ny, (nx - 1) * (ny - 1));
        for first in 0..2_usize {
            out[first * layer..].par_chunks_mut(2 * layer).enumerate().for_each(|(pair, out)| {
                let k = first + 2 * pair;
                if k + 1 >= nz {
                    return;
                }
                for cell in k * cells..(k + 1) * cells {
                    let stiffness = self.stiffness[cell];
                    let nodes = self.nodes(cell);
                    let force = self.cell * gather(&nodes, moved, 0) * stiffness;
                    for (c, node) in nodes.into_iter().enumerate() {
                        out[node - k * layer] += force.fixed_rows::<3>(3 * c);
                    }
                }
            });
        }
    }
}

fn gather(nodes: &[usize; 8], moved: &[Vector3<f64>], first: usize) -> SVector<f64, 24> {
    let mut u = SVector::<f64, 24>::zeros();
    for (c, node) in nodes.iter().enumerate() {
        u.fixed_rows_mut::<3>(3 * c).copy_from(&moved[node - first]);
    }
    u
}

/// Stiffness of a cube of side 1 with Young's modulus 1.
fn unit_cell() -> Cell {
    let (shear, bulk) = (0.5 / (1.0 + POISSON), POISSON / ((1.0 + POISSON) * (1.0 - 2.0 * POISSON)));
    let mut cell = Cell::zeros();
    let gauss = 0.5 / 3.0_f64.sqrt();
    for point in 0..8_usize {
        let at: [f64; 3] = std::array::from_fn(|a| 0.5 + if point >> a & 1 > 0 { gauss } else { -gauss });
        // Gradients of the nodes' shares.
        let gradients: [Vector3<f64>; 8] = std::array::from_fn(|c| {
            let on = |a: usize| c >> a & 1 > 0;
            let share = |a: usize| if on(a) { at[a] } else { 1.0 - at[a] };
            let slope = |a: usize| if on(a) { 1.0 } else { -1.0 };
            Vector3::from_fn(|a, _| (0..3).map(|b| if a == b { slope(b) } else { share(b) }).product())
        });
        for (p, q) in (0..8).flat_map(|p| (0..8).map(move |q| (p, q))) {
            let (g, h) = (gradients[p], gradients[q]);
            // Of `λ (div u)² / 2 + μ ε : ε`.
            let block =
                (g * h.transpose()) * bulk + (h * g.transpose()) * shear + Matrix3::identity() * (g.dot(&h) * shear);
            let mut place = cell.fixed_view_mut::<3, 3>(3 * p, 3 * q);
            place += block / 8.0;
        }
    }
    cell
}
