//! What brains do: how far, how alike neighbours, how uncertain; before anything was measured.
//!
//! The displacement is a Gaussian process on the lattice of [`BrainShift`]: a mean that sags, and deviations that are
//! alike over [`Settings::alike_mm`], both fading with the distance from the craniotomy. Its covariance is
//! separable (a Gaussian in each axis), so that its strongest modes are products of the eigenvectors of three small
//! matrices (Karhunen–Loève): [`MODES`] of them, along gravity and twice across it. What those leave out stays in
//! the deviation.
//!
//! **Sources:** exposed cortex moves by 6.1 ± 3.4 mm, mostly along gravity (M. H. T. Reinges et al., Acta Neurochir. 146,
//! 2004; D. W. Roberts et al., Neurosurgery 43, 1998); deep margins by about half of it. That neighbours move alike
//! over [`Settings::alike_mm`] is an expert's estimate. A Gaussian process as a prior of displacements: as in
//! kriging. **Units and frame:** mm, patient LPS. **Allocation:** in [`Model::new`].
//! **Not modelled:** falx and tentorium, which hold tissue back; a cavity that closes; swelling.

use super::Settings;
use bregma_core::brain_shift::{SHIFT_LEN, SHIFT_NODES, SHIFT_SPACING_MM, shift_grid};
use bregma_core::grid::Grid;
use nalgebra::{Matrix3, Point3, SMatrix, Vector3};

/// Modes along each direction.
pub const MODES: usize = 26;

/// The prior on one patient's lattice.
#[derive(Debug)]
pub struct Model {
    grid: Grid,
    /// Against gravity, and two directions across it: columns.
    directions: Matrix3<f64>,
    /// Standard deviation along each at the exposed cortex, mm.
    deviation_mm: [f64; 3],
    sag_mm: f64,
    /// Of each node, each mode's value, fading included.
    modes: Vec<[f32; MODES]>,
    /// Of each node, how much the exposed cortex' shift is felt there, 0 to 1.
    felt: Vec<f32>,
}

impl Model {
    /// Around a target, for a brain that is exposed at `cortex` and lies so that `up` is against gravity.
    #[must_use]
    pub fn new(settings: &Settings, target: Point3<f64>, cortex: &Point3<f64>, up: &Vector3<f64>) -> Self {
        let grid = shift_grid(target);
        let line = eigen(settings.alike_mm);
        let mut order: Vec<([usize; 3], f64)> = Vec::with_capacity(SHIFT_LEN);
        for index in 0..SHIFT_LEN {
            let of = grid.voxel(index);
            order.push((of, of.iter().map(|i| line[*i].0).product()));
        }
        // Of two that are equal, the first.
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut modes = vec![[0.0; MODES]; SHIFT_LEN];
        let mut felt = vec![0.0; SHIFT_LEN];
        for (index, (modes, felt)) in modes.iter_mut().zip(&mut felt).enumerate() {
            let voxel = grid.voxel(index);
            let far = nalgebra::distance(&grid.centre(voxel), cortex) / settings.fades_mm;
            *felt = (1.0 / (1.0 + far * far)) as f32;
            for (mode, (of, strength)) in modes.iter_mut().zip(&order) {
                let product: f64 = (0..3).map(|a| line[of[a]].1[voxel[a]]).product();
                *mode = *felt * (product * strength.sqrt()) as f32;
            }
        }
        let up = up.try_normalize(1e-9).unwrap_or_else(Vector3::z);
        let aside = up.cross(&if up.x.abs() < 0.7 { Vector3::x() } else { Vector3::y() }).normalize();
        Self {
            grid,
            directions: Matrix3::from_columns(&[up, aside, up.cross(&aside)]),
            deviation_mm: [settings.sag_deviation_mm, settings.aside_deviation_mm, settings.aside_deviation_mm],
            sag_mm: settings.sag_mm,
            modes,
            felt,
        }
    }

    /// Standard deviation of a coefficient along one of the three directions, mm.
    #[must_use]
    pub const fn deviation_mm(&self, direction: usize) -> f64 {
        self.deviation_mm[direction]
    }

    /// Standard deviation along any direction at the exposed cortex, mm.
    #[must_use]
    pub fn spread(&self, along: &Vector3<f64>) -> f64 {
        (0..3).map(|a| (self.direction(a).dot(along) * self.deviation_mm[a]).powi(2)).sum::<f64>().sqrt()
    }

    /// The three directions: against gravity, and across it.
    #[must_use]
    pub fn direction(&self, which: usize) -> Vector3<f64> {
        self.directions.column(which).into_owned()
    }

    /// The modes and how much is felt at a point, between nodes trilinear.
    #[must_use]
    pub fn at(&self, rest: &Point3<f64>) -> ([f64; MODES], f64) {
        let c = self.grid.coordinates(rest).map(|v| v.clamp(0.0, (SHIFT_NODES - 1) as f64));
        let low = c.map(|v| (v as usize).min(SHIFT_NODES - 2));
        let (mut modes, mut felt) = ([0.0; MODES], 0.0);
        for corner in 0..8_usize {
            let step = [corner & 1, corner >> 1 & 1, corner >> 2];
            let weight: f64 = (0..3)
                .map(|a| {
                    let share = c[a] - low[a] as f64;
                    if step[a] == 1 { share } else { 1.0 - share }
                })
                .product();
            let node = self.grid.index(std::array::from_fn(|a| low[a] + step[a]));
            modes.iter_mut().zip(&self.modes[node]).for_each(|(m, v)| *m += weight * f64::from(*v));
            felt += weight * f64::from(self.felt[node]);
        }
        (modes, felt)
    }

    /// The mean displacement where so much is felt.
    #[must_use]
    pub fn mean(&self, felt: f64) -> Vector3<f64> {
        -self.direction(0) * (self.sag_mm * felt)
    }

    /// A node's modes, and how much is felt there.
    #[must_use]
    pub fn node(&self, index: usize) -> (&[f32; MODES], f32) {
        (&self.modes[index], self.felt[index])
    }

    /// The variance that the modes leave out at a node, mm².
    #[must_use]
    pub fn left_out(&self, index: usize) -> f64 {
        let (modes, felt) = self.node(index);
        let inside: f64 = modes.iter().map(|m| f64::from(*m).powi(2)).sum();
        let share = (f64::from(felt).powi(2) - inside).max(0.0);
        self.deviation_mm.iter().map(|d| d * d * share).sum()
    }
}

/// Eigenvalues and vectors of a Gaussian covariance along one axis of the lattice, the strongest first.
fn eigen(alike_mm: f64) -> Vec<(f64, [f64; SHIFT_NODES])> {
    let covariance = SMatrix::<f64, SHIFT_NODES, SHIFT_NODES>::from_fn(|i, j| {
        let apart = (i as f64 - j as f64) * SHIFT_SPACING_MM / alike_mm;
        libm::exp(-0.5 * apart * apart)
    });
    let found = covariance.symmetric_eigen();
    let mut modes: Vec<(f64, [f64; SHIFT_NODES])> = (0..SHIFT_NODES)
        .map(|i| (found.eigenvalues[i].max(0.0), found.eigenvectors.column(i).into_owned().into()))
        .collect();
    modes.sort_by(|a, b| b.0.total_cmp(&a.0));
    modes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> (Settings, Model, Point3<f64>) {
        let settings = Settings::default();
        let (target, cortex) = (Point3::new(20.0, -10.0, 40.0), Point3::new(25.0, -10.0, 68.0));
        (settings, Model::new(&settings, target, &cortex, &Vector3::new(0.1, 0.0, 1.0)), cortex)
    }

    #[test]
    fn the_exposed_cortex_sags_and_what_lies_deep_less() {
        let (settings, model, cortex) = model();
        let felt = |depth: f64| model.at(&(cortex - Vector3::z() * depth)).1;
        assert!(felt(0.0) > 0.9 && felt(40.0) < felt(10.0) && felt(40.0) > 0.3, "{} {}", felt(0.0), felt(40.0));
        let down = model.mean(1.0);
        assert!((down.norm() - settings.sag_mm).abs() < 1e-9 && down.z < 0.0);
    }

    #[test]
    fn the_modes_carry_most_of_what_may_happen_near_the_cortex_and_say_what_they_leave_out() {
        let (settings, model, cortex) = model();
        let whole = settings.sag_deviation_mm.powi(2) + 2.0 * settings.aside_deviation_mm.powi(2);
        for depth in [0.0, 15.0, 30.0] {
            let (modes, felt) = model.at(&(cortex - Vector3::z() * depth));
            let inside: f64 = modes.iter().map(|m| m * m).sum::<f64>() / (felt * felt);
            assert!(inside > 0.85 && inside < 1.02, "{depth}: {inside}");
        }
        let least = (0..SHIFT_LEN).map(|n| model.left_out(n)).fold(f64::INFINITY, f64::min);
        let most = (0..SHIFT_LEN).map(|n| model.left_out(n)).fold(0.0, f64::max);
        assert!(least >= 0.0 && most < whole, "{least} {most}");
    }

    #[test]
    fn neighbours_move_alike_and_what_is_far_apart_does_not() {
        let (settings, model, cortex) = model();
        let alike = |apart: f64| {
            let (a, fa) = model.at(&cortex);
            let (b, fb) = model.at(&(cortex - Vector3::x() * apart));
            a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / (fa * fb)
        };
        assert!(alike(8.0) > 0.8, "{}", alike(8.0));
        assert!((alike(settings.alike_mm) - (-0.5_f64).exp()).abs() < 0.15, "{}", alike(settings.alike_mm));
    }
}
