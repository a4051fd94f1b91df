//! 5-ALA: where tissue fluoresces, and how light bleaches it.
//!
//! Sensitivity 0.87 and specificity 0.89 (S. Zhao et al., PLoS ONE 8, e63682, 2013: 0.81 to 0.92 and 0.79
//! to 0.94), misses correlated over about 3 mm (an expert's estimate), dark in necrosis. Bleaching as
//! published for an operating microscope's lamps: 36 % is left after about 25 min of violet or 87 min of
//! white light, taken as exponential and counted for each voxel from when it was first exposed.
//! **Units:** s. **Not modelled:** uptake that differs within a tumour, other than by cell density.

use crate::random::{Draws, Purpose, mix, normal_pair};
use crate::truth::{Label, TRUTH_EDGE};
use bregma_core::flow::Light;

/// Tissue without tumour that glows all the same.
const MISSED: f64 = 1.0 - 0.89;
/// Tumour that glows.
const FOUND: f64 = 0.87;
/// ln(1/0.36).
const TO_36_PERCENT: f64 = 1.021_651_247_531_981;
/// Light until 36 % is left, s.
const VIOLET_S: f64 = 25.0 * 60.0;
const WHITE_S: f64 = 87.0 * 60.0;
/// Of a voxel that light has not reached yet.
const DARK: f32 = f32::INFINITY;

/// How brightly each voxel would glow, 0 to 255.
///
/// A correlated normal field gives each place a rank v in [0, 1]; tissue glows where v is below
/// p = 0.11 + (0.87 − 0.11)·s, with s rising from 0 at a cell density of 0.5 to 1 at 0.8.
pub(super) fn fluorescence(seed: u64, labels: &[Label], density: &[f32]) -> Vec<u8> {
    let seed = Draws::new(seed, Purpose::Fluorescence).bits();
    let mut field: Vec<f32> = (0..labels.len()).map(|i| normal_pair(mix(seed, i as u64)).0).collect();
    // Two boxes of 7 voxels along each axis: σ² = 2 · (7² − 1)/12 = 8, σ = 2.8 mm.
    for stride in [1, TRUTH_EDGE, TRUTH_EDGE * TRUTH_EDGE] {
        box_of_seven(&mut field, stride);
        box_of_seven(&mut field, stride);
    }
    let n = field.len() as f64;
    let variance = field.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>() / n;
    let scale = 1.0 / (2.0 * variance).sqrt();
    let glow = |(index, g): (usize, &f32)| {
        let label = labels[index];
        if !label.tissue() || label == Label::Necrosis {
            return 0;
        }
        let s = ((f64::from(density[index]) - 0.5) / 0.3).clamp(0.0, 1.0);
        let p = MISSED + (FOUND - MISSED) * s * s * (3.0 - 2.0 * s);
        let rank = 0.5 * (1.0 + libm::erf(f64::from(*g) * scale));
        (((p - rank) / 0.06 + 0.5).clamp(0.0, 1.0) * 255.0) as u8
    };
    field.iter().enumerate().map(glow).collect()
}

/// Sums of seven along one axis; the ends repeat.
fn box_of_seven(field: &mut [f32], stride: usize) {
    const N: usize = TRUTH_EDGE;
    let mut line = [0.0_f32; N];
    for block in 0..field.len() / (N * stride) {
        for offset in 0..stride {
            let start = block * N * stride + offset;
            for (i, v) in line.iter_mut().enumerate() {
                *v = field[start + i * stride];
            }
            for i in 0..N {
                let sum: f32 = (0..7).map(|d| line[(i + d).saturating_sub(3).min(N - 1)]).sum();
                field[start + i * stride] = sum;
            }
        }
    }
}

/// How far light has bleached what it shone on.
pub(super) struct Bleaching {
    /// Light so far; 1 leaves a share of 1/e.
    dose: f64,
    /// The dose when each voxel was first exposed.
    first: Vec<f32>,
}

impl Bleaching {
    pub(super) fn new(voxels: usize) -> Self {
        Self { dose: 0.0, first: vec![DARK; voxels] }
    }

    pub(super) fn shine(&mut self, light: Light, seconds: f64) {
        let until = match light {
            Light::Violet => VIOLET_S,
            Light::White => WHITE_S,
        };
        self.dose += seconds.max(0.0) * TO_36_PERCENT / until;
    }

    pub(super) const fn dose(&self) -> f64 {
        self.dose
    }

    /// The share that a voxel under the light has left; its light counts from the first call on.
    pub(super) fn left(&mut self, voxel: usize) -> f32 {
        let first = &mut self.first[voxel];
        if *first >= DARK {
            *first = self.dose as f32;
        }
        libm::expf(*first - self.dose as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tumour_glows_and_healthy_tissue_does_not_as_often_as_published() {
        let n = TRUTH_EDGE.pow(3);
        let share = |label: Label, density: f32, seed: u64| {
            let glow = fluorescence(seed, &vec![label; n], &vec![density; n]);
            glow.iter().filter(|g| **g >= 128).count() as f64 / n as f64
        };
        // A core of 10 mL has room for ten independent places only: a whole grid of one tissue has 1400.
        let sensitivity = share(Label::Enhancing, 0.9, 4);
        let specificity = 1.0 - share(Label::White, 0.05, 4);
        // The published 95 % intervals, and closer to their means than half of that.
        assert!((sensitivity - 0.87).abs() < 0.03, "{sensitivity}");
        assert!((specificity - 0.89).abs() < 0.03, "{specificity}");
        assert!(share(Label::Necrosis, 1.0, 4) <= 0.0);
        let between = share(Label::Infiltrated, 0.65, 4);
        assert!((0.35..0.65).contains(&between), "{between}");
    }

    #[test]
    fn misses_lie_together() {
        let n = TRUTH_EDGE.pow(3);
        let glow = fluorescence(7, &vec![Label::Enhancing; n], &vec![0.9; n]);
        let dark = |i: usize| glow[i] < 128;
        let pairs = |stride: usize| {
            let missed: Vec<usize> = (0..n - stride).filter(|i| dark(*i)).collect();
            missed.iter().filter(|i| dark(**i + stride)).count() as f64 / missed.len() as f64
        };
        assert!(pairs(1) > 0.7 && pairs(20) < 0.3, "{} {}", pairs(1), pairs(20));
    }

    #[test]
    fn light_bleaches_to_36_percent_and_only_what_it_reaches() {
        let mut b = Bleaching::new(3);
        assert!((b.left(0) - 1.0).abs() < 1e-6);
        b.shine(Light::Violet, 25.0 * 60.0);
        assert!((b.left(0) - 0.36).abs() < 1e-3, "{}", b.left(0));
        assert!((b.left(1) - 1.0).abs() < 1e-6, "exposed only now");
        b.shine(Light::White, 87.0 * 60.0);
        assert!((b.left(0) - 0.36 * 0.36).abs() < 1e-3 && (b.left(1) - 0.36).abs() < 1e-3);
        b.shine(Light::White, -5.0);
        assert!((b.left(2) - 1.0).abs() < 1e-6);
    }
}
