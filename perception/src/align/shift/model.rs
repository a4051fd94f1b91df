//! What brains do: how far, how alike neighbours, how uncertain; before anything was measured.
//!
//! The displacement is a Gaussian process on the lattice of [`BrainShift`]: a mean that sags, and deviations that are
//! alike over [`Settings::alike_mm`], both fading with the distance from the craniotomy. Its covariance is
//! separable (a Gaussian in each axis), so that its strongest modes are products of the eigenvectors of three small
//! matrices (Karhunen–Loève): [`MODES`] of them, along gravity and twice across it. What those leave out stays in
//! the deviation.
//!
//! **After an intraoperative scan** the mean is where tissue was in it, and what may deviate is that scan's error and what brains do
//! from then on: [`Settings::after_scan`] of what they do after the dura is opened.
//!
//! **Sources:** exposed cortex moves by 6.1 ± 3.4 mm, mostly along gravity (M. H. T. Reinges et al., Acta Neurochir. 146,
//! 2004; D. W. Roberts et al., Neurosurgery 43, 1998); deep margins by about half of it. That neighbours move alike
//! over [`Settings::alike_mm`] is an expert's estimate. A Gaussian process as a prior of displacements: as in
//! kriging. **Units and frame:** mm, patient LPS. **Allocation:** in [`Model::new`].
//! **Not modelled:** falx and tentorium, which hold tissue back; a cavity that closes; swelling.

use super::Settings;
use bregma_core::brain_shift::{BrainShift, SHIFT_LEN, SHIFT_NODES, SHIFT_SPACING_MM, shift_grid};
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
    /// Of each node, mm.
    mean: Vec<Vector3<f32>>,
    /// Of each node, each mode's value, fading included.
    modes: Vec<[f32; MODES]>,
    /// Of each node, how much the exposed cortex' shift is felt there, 0 to 1.
    felt: Vec<f32>,
}

/// What is expected at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Each mode's value, fading included.
    pub modes: [f64; MODES],
    /// How much the exposed cortex' shift is felt there, 0 to 1.
    pub felt: f64,
    /// The mean displacement, mm.
    pub mean: Vector3<f64>,
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
        let mean = felt.iter().map(|f| (-up * settings.sag_mm).cast::<f32>() * *f).collect();
        let aside = up.cross(&if up.x.abs() < 0.7 { Vector3::x() } else { Vector3::y() }).normalize();
        Self {
            grid,
            directions: Matrix3::from_columns(&[up, aside, up.cross(&aside)]),
            deviation_mm: [settings.sag_deviation_mm, settings.aside_deviation_mm, settings.aside_deviation_mm],
            mean,
            modes,
            felt,
        }
    }

    /// The same since an intraoperative scan, which showed tissue there.
    #[must_use]
    pub fn since(
        settings: &Settings,
        target: Point3<f64>,
        cortex: &Point3<f64>,
        up: &Vector3<f64>,
        scan: &BrainShift,
    ) -> Self {
        // Along one direction.
        let error_mm = scan.deviation_mm(cortex) / 3.0_f64.sqrt();
        let deviation_mm = |mm: f64| (settings.after_scan * mm).hypot(error_mm);
        let since = Settings {
            sag_deviation_mm: deviation_mm(settings.sag_deviation_mm),
            aside_deviation_mm: deviation_mm(settings.aside_deviation_mm),
            ..*settings
        };
        let mut model = Self::new(&since, target, cortex, up);
        let grid = model.grid;
        for (index, mean) in model.mean.iter_mut().enumerate() {
            let rest = grid.centre(grid.voxel(index));
            *mean = (scan.now(&rest) - rest).cast();
        }
        model
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

    /// What is expected at a point, between nodes trilinear.
    #[must_use]
    pub fn at(&self, rest: &Point3<f64>) -> Place {
        let c = self.grid.coordinates(rest).map(|v| v.clamp(0.0, (SHIFT_NODES - 1) as f64));
        let low = c.map(|v| (v as usize).min(SHIFT_NODES - 2));
        let mut place = Place { modes: [0.0; MODES], felt: 0.0, mean: Vector3::zeros() };
        for corner in 0..8_usize {
            let step = [corner & 1, corner >> 1 & 1, corner >> 2];
            let weight: f64 = (0..3)
                .map(|a| {
                    let share = c[a] - low[a] as f64;
                    if step[a] == 1 { share } else { 1.0 - share }
                })
                .product();
            let node = self.grid.index(std::array::from_fn(|a| low[a] + step[a]));
            place.modes.iter_mut().zip(&self.modes[node]).for_each(|(m, v)| *m += weight * f64::from(*v));
            place.felt += weight * f64::from(self.felt[node]);
            place.mean += self.mean[node].cast() * weight;
        }
        place
    }

    /// What is expected at a node.
    #[must_use]
    pub fn node(&self, index: usize) -> Place {
        let (modes, felt) = (self.modes[index].map(f64::from), f64::from(self.felt[index]));
        Place { modes, felt, mean: self.mean[index].cast() }
    }

    /// The variance that the modes leave out at a node, mm².
    #[must_use]
    pub fn left_out(&self, index: usize) -> f64 {
        let Place { modes, felt, .. } = self.node(index);
        let inside: f64 = modes.iter().map(|m| m * m).sum();
        let share = (felt * felt - inside).max(0.0);
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
        let felt = |depth: f64| model.at(&(cortex - Vector3::z() * depth)).felt;
        assert!(felt(0.0) > 0.9 && felt(40.0) < felt(10.0) && felt(40.0) > 0.3, "{} {}", felt(0.0), felt(40.0));
        let at = model.at(&cortex);
        assert!((at.mean.norm() - settings.sag_mm * at.felt).abs() < 1e-5 && at.mean.z < 0.0);
    }

    #[test]
    fn after_a_scan_tissue_is_expected_where_it_was_in_it_and_less_may_happen() {
        let (settings, before, cortex) = model();
        let target = Point3::new(20.0, -10.0, 40.0);
        let mut scan = BrainShift::still(target);
        scan.set(target, |_| (Vector3::new(1.0, 2.0, -3.0), 1.5));
        let since = Model::since(&settings, target, &cortex, &Vector3::new(0.1, 0.0, 1.0), &scan);
        assert!((since.at(&cortex).mean - Vector3::new(1.0, 2.0, -3.0)).norm() < 1e-6);
        let expected = (settings.after_scan * settings.sag_deviation_mm).hypot(1.5 / 3.0_f64.sqrt());
        assert!((since.deviation_mm(0) - expected).abs() < 0.05 && since.deviation_mm(0) < before.deviation_mm(0));
        assert_eq!(since.at(&cortex).modes, before.at(&cortex).modes);
    }

    #[test]
    fn the_modes_carry_most_of_what_may_happen_near_the_cortex_and_say_what_they_leave_out() {
        let (settings, model, cortex) = model();
        let whole = settings.sag_deviation_mm.powi(2) + 2.0 * settings.aside_deviation_mm.powi(2);
        for depth in [0.0, 15.0, 30.0] {
            let Place { modes, felt, .. } = model.at(&(cortex - Vector3::z() * depth));
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
            let (a, b) = (model.at(&cortex), model.at(&(cortex - Vector3::x() * apart)));
            a.modes.iter().zip(b.modes).map(|(a, b)| a * b).sum::<f64>() / (a.felt * b.felt)
        };
        assert!(alike(8.0) > 0.8, "{}", alike(8.0));
        assert!((alike(settings.alike_mm) - (-0.5_f64).exp()).abs() < 0.15, "{}", alike(settings.alike_mm));
    }
}
