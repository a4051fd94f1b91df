//! The home solver: finite elements, linear and quasi-static, with conjugate gradients from the last state.
//!
//! Eight-node cubes; shape by full integration of the deviator, volume by the mean dilatation of a cell
//! (B-bar; T. J. R. Hughes, Int. J. Numer. Methods Eng. 15, 1980), so that nearly incompressible tissue does
//! not lock. No matrix is stored: all cells share one 24 × 24 block. Walls push one way: which of them do is
//! read from the last state before each solve; a wall is the plane of its normal, which leaves the skull by
//! u²/2R ≈ 0.7 mm where tissue glides 10 mm along it. **Units:** mm, mN, kPa. **Allocation:** in
//! [`Elastic::new`] only. **Determinism:** one thread, sums in a fixed order.

use super::Solver;
use super::body::{Body, Grip, outwards};
use super::load::Load;
use nalgebra::{Vector3, zero};

/// A solve ends when a preconditioned residual is that small on average, mm: some 0.02 mm in the field, whose
/// slowest modes converge a few hundred times more slowly.
const ENOUGH_MM: f64 = 5e-5;
/// Iterations of one live update; the state follows over some of them.
const LIVE: usize = 12;
/// Iterations between two looks at which walls push, when settling.
const ROUND: usize = 60;
/// Most of those.
const ROUNDS_MAX: usize = 24;

pub(super) struct Elastic {
    /// Stiffness of a unit cube's shape, row after row of its symmetric block.
    shape: [[f32; 24]; 24],
    moved: Vec<Vector3<f32>>,
    residual: Vec<Vector3<f32>>,
    direction: Vec<Vector3<f32>>,
    image: Vec<Vector3<f32>>,
    /// One over the diagonal.
    scale: Vec<Vector3<f32>>,
    /// Of every hold now: stiffness and where it pulls to.
    grips: Vec<(f32, f32)>,
}

impl Elastic {
    pub(super) fn new(body: &Body) -> Self {
        let zeros = vec![Vector3::zeros(); body.nodes.len()];
        Self {
            shape: unit_shape(),
            moved: zeros.clone(),
            residual: zeros.clone(),
            direction: zeros.clone(),
            image: zeros.clone(),
            scale: zeros,
            grips: vec![(0.0, 0.0); body.holds.len()],
        }
    }

    /// Reads from the last state which walls push; how many changed.
    fn grip(&mut self, body: &Body, load: &Load) -> usize {
        let mut changed = 0;
        for ((hold, grip), wet) in body.holds.iter().zip(&mut self.grips).zip(&load.wet) {
            let out = self.moved[hold.node as usize].dot(&hold.normal);
            let now = match hold.grip {
                Grip::Both => (hold.stiffness, 0.0),
                Grip::Wall { gap_mm, .. } if out > gap_mm => (hold.stiffness, gap_mm),
                Grip::Wall { tether, .. } if *wet => (tether, 0.0),
                Grip::Wall { .. } => (0.0, 0.0),
            };
            changed += usize::from((now.0 - grip.0).abs() > 1e-6);
            *grip = now;
        }
        changed
    }

    fn precondition(&mut self, body: &Body, load: &Load) {
        let edge = body.edge();
        // All diagonal entries of the shape block are the same.
        let own = self.shape[0][0];
        self.scale.fill(zero());
        for ((cell, shear), bulk) in body.cells.iter().zip(&load.shear).zip(&load.bulk) {
            let value = edge * (own * shear + bulk / 16.0);
            for node in cell.corners {
                self.scale[node as usize] += Vector3::repeat(value);
            }
        }
        for (hold, (stiffness, _)) in body.holds.iter().zip(&self.grips) {
            self.scale[hold.node as usize] += hold.normal.component_mul(&hold.normal) * *stiffness;
        }
        for s in &mut self.scale {
            *s = s.map(|v| 1.0 / v.max(1e-9));
        }
    }

    /// Conjugate gradients from the last state; whether it got there.
    fn solve(&mut self, body: &Body, load: &Load, iterations: usize) -> bool {
        self.precondition(body, load);
        stiffness(&self.shape, body, load, &self.grips, &self.moved, &mut self.image);
        for ((r, f), a) in self.residual.iter_mut().zip(&load.force).zip(&self.image) {
            *r = f - a;
        }
        for (hold, (stiffness, target)) in body.holds.iter().zip(&self.grips) {
            self.residual[hold.node as usize] += hold.normal * (stiffness * target);
        }
        let mut rho = weighed(&self.residual, &self.scale);
        for ((d, r), s) in self.direction.iter_mut().zip(&self.residual).zip(&self.scale) {
            *d = r.component_mul(s);
        }
        for _ in 0..iterations {
            if self.step_left() < ENOUGH_MM {
                return true;
            }
            stiffness(&self.shape, body, load, &self.grips, &self.direction, &mut self.image);
            let bend = dot(&self.direction, &self.image);
            if bend <= 0.0 {
                return true;
            }
            let along = (rho / bend) as f32;
            for ((u, r), (d, a)) in
                self.moved.iter_mut().zip(&mut self.residual).zip(self.direction.iter().zip(&self.image))
            {
                *u += d * along;
                *r -= a * along;
            }
            let next = weighed(&self.residual, &self.scale);
            let keep = (next / rho) as f32;
            rho = next;
            for ((d, r), s) in self.direction.iter_mut().zip(&self.residual).zip(&self.scale) {
                *d = r.component_mul(s) + *d * keep;
            }
        }
        self.step_left() < ENOUGH_MM
    }

    /// Root mean square of the preconditioned residual, mm.
    fn step_left(&self) -> f64 {
        let sum: f64 =
            self.residual.iter().zip(&self.scale).map(|(r, s)| f64::from(r.component_mul(s).norm_squared())).sum();
        (sum / self.residual.len().max(1) as f64).sqrt()
    }
}

impl Solver for Elastic {
    fn step(&mut self, body: &Body, load: &Load) {
        self.grip(body, load);
        self.solve(body, load, LIVE);
    }

    fn settle(&mut self, body: &Body, load: &Load) {
        self.grip(body, load);
        for _ in 0..ROUNDS_MAX {
            let there = self.solve(body, load, ROUND);
            if self.grip(body, load) == 0 && there {
                break;
            }
        }
    }

    fn moved(&self) -> &[Vector3<f32>] {
        &self.moved
    }
}

/// `to = K · from`.
fn stiffness(
    shape: &[[f32; 24]; 24],
    body: &Body,
    load: &Load,
    grips: &[(f32, f32)],
    from: &[Vector3<f32>],
    to: &mut [Vector3<f32>],
) {
    let edge = body.edge();
    to.fill(zero());
    for ((cell, shear), bulk) in body.cells.iter().zip(&load.shear).zip(&load.bulk) {
        let mut u = [0.0_f32; 24];
        let mut swelling = 0.0;
        for (c, node) in cell.corners.iter().enumerate() {
            let v = &from[*node as usize];
            u[3 * c..3 * c + 3].copy_from_slice(v.as_slice());
            swelling += outwards(c).dot(v);
        }
        let mut f = [0.0_f32; 24];
        for (row, v) in shape.iter().zip(u) {
            for (f, k) in f.iter_mut().zip(row) {
                *f += k * v;
            }
        }
        let push = bulk * edge / 16.0 * swelling;
        for (c, node) in cell.corners.iter().enumerate() {
            to[*node as usize] +=
                Vector3::new(f[3 * c], f[3 * c + 1], f[3 * c + 2]) * (shear * edge) + outwards(c) * push;
        }
    }
    for (hold, (stiffness, _)) in body.holds.iter().zip(grips) {
        let node = hold.node as usize;
        to[node] += hold.normal * (stiffness * hold.normal.dot(&from[node]));
    }
}

/// `∫ 2 dev ε : dev ε` over a unit cube, by 2 × 2 × 2 Gauss points.
fn unit_shape() -> [[f32; 24]; 24] {
    let root = (1.0_f64 / 3.0).sqrt();
    let mut k = [[0.0_f64; 24]; 24];
    for gauss in 0..8 {
        let at = outwards(gauss).cast::<f64>() * (0.5 * root) + Vector3::repeat(0.5);
        let slopes: [Vector3<f64>; 8] = std::array::from_fn(|c| {
            let side = outwards(c).cast::<f64>();
            let value = |a: usize| if side[a] > 0.0 { at[a] } else { 1.0 - at[a] };
            Vector3::new(side.x * value(1) * value(2), side.y * value(0) * value(2), side.z * value(0) * value(1))
        });
        for (a, ga) in slopes.iter().enumerate() {
            for (b, gb) in slopes.iter().enumerate() {
                for i in 0..3 {
                    for j in 0..3 {
                        let same = if i == j { ga.dot(gb) } else { 0.0 };
                        k[3 * a + i][3 * b + j] += (same + ga[j] * gb[i] - 2.0 / 3.0 * ga[i] * gb[j]) / 8.0;
                    }
                }
            }
        }
    }
    k.map(|row| row.map(|v| v as f32))
}

fn dot(a: &[Vector3<f32>], b: &[Vector3<f32>]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.dot(b))).sum()
}

/// `r · S r`.
fn weighed(r: &[Vector3<f32>], scale: &[Vector3<f32>]) -> f64 {
    r.iter().zip(scale).map(|(r, s)| f64::from(r.component_mul(s).dot(r))).sum()
}
