//! The tumour: how it grows, what of it dies, and what it pushes aside.
//!
//! Two models behind one plan: [`fisher`] at home, [`lobed`] in the foreign world. Both give a cell density
//! on the truth grid; the core is where it is at least 0.8, as T1c shows it, and oedema shows from 0.16 on.
//! **Units and frame:** mm, mL, patient LPS. **Determinism:** seed and tissues decide every byte.
//! **Not modelled:** bleeding into the tumour, cysts, and growth that follows the single fibre.

pub(crate) mod fisher;
pub(crate) mod lobed;
pub(crate) mod mass_effect;
pub(crate) mod necrosis;
pub(crate) mod noise;

use crate::random::Draws;
use bregma_core::grid::Grid;
use fisher::Fisher;
use lobed::Lobed;
use necrosis::Necrosis;

/// Cell density that T1c shows: the core's edge.
pub(crate) const CORE_DENSITY: f32 = 0.8;
/// Cell density that FLAIR shows: the oedema's edge.
pub(crate) const VISIBLE_DENSITY: f32 = 0.16;
/// Below that, tissue counts as healthy.
pub(crate) const HEALTHY_DENSITY: f32 = 0.2;

/// How tumours grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TumourModel {
    /// Reaction and diffusion (Fisher–KPP).
    Fisher,
    /// Blended lobes along white matter, with a density of their own.
    Lobed,
}

/// What tumours are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TumourSettings {
    /// Which model.
    pub model: TumourModel,
    /// Share of patients whose tumour takes up no contrast agent and has no necrosis. 0 by default:
    /// T1c shows nothing of such a core, and an estimator that starts from T1c cannot work on it.
    pub low_grade_share: f64,
    /// Share of patients with one or two satellites beside the first focus; only [`TumourModel::Fisher`].
    pub multifocal_share: f64,
    /// Smallest and largest share of the core that displaced tissue instead of replacing it.
    pub displaced_share: [f64; 2],
}

impl Default for TumourSettings {
    fn default() -> Self {
        Self { model: TumourModel::Fisher, low_grade_share: 0.0, multifocal_share: 0.1, displaced_share: [0.15, 0.6] }
    }
}

impl TumourSettings {
    /// Of the foreign world.
    #[must_use]
    pub const fn foreign() -> Self {
        Self { model: TumourModel::Lobed, low_grade_share: 0.0, multifocal_share: 0.0, displaced_share: [0.3, 0.75] }
    }
}

/// What one tumour is grown with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Growth {
    /// Wanted volume of the core, mL.
    pub core_ml: f64,
    /// Whether T1c shows its rim.
    pub enhances: bool,
    /// Share of the core that displaced tissue.
    pub displaced_share: f64,
    shape: Shape,
    necrosis: Necrosis,
    seed: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Fisher(Fisher),
    Lobed(Lobed),
}

impl Growth {
    /// Draws a tumour of a core of that volume.
    pub(crate) fn drawn(draws: &mut Draws, core_ml: f64, settings: &TumourSettings) -> Self {
        let shape = match settings.model {
            TumourModel::Fisher => Shape::Fisher(Fisher::drawn(draws, settings.multifocal_share)),
            TumourModel::Lobed => Shape::Lobed(Lobed::drawn(draws)),
        };
        let necrosis = Necrosis::drawn(draws, core_ml);
        let displaced_share = draws.uniform(settings.displaced_share[0], settings.displaced_share[1]);
        let enhances = draws.uniform(0.0, 1.0) >= settings.low_grade_share;
        Self { core_ml, enhances, displaced_share, shape, necrosis, seed: draws.bits() }
    }

    /// Grows it from one voxel; `None` when there is no room for its volume.
    pub(crate) fn grow(&self, grid: &Grid, tissues: &[u8], origin: usize) -> Option<Tumour> {
        match &self.shape {
            Shape::Fisher(f) => fisher::grow(grid, tissues, origin, self.core_ml, f, self.seed),
            Shape::Lobed(l) => lobed::grow(grid, tissues, origin, self.core_ml, l, self.seed),
        }
    }

    /// Which voxels of the grown core are necrotic; none where it does not enhance.
    pub(crate) fn necrotic(&self, grid: &Grid, density: &[f32]) -> Vec<bool> {
        if self.enhances { necrosis::choose(grid, density, &self.necrosis, self.seed) } else { vec![false; grid.len()] }
    }
}

pub(crate) struct Tumour {
    /// Cell density, 0 to 1.
    pub density: Vec<f32>,
    /// Days it took.
    pub days: f64,
}

/// Radius of the ball of a volume, mm.
pub(crate) fn ball_radius_mm(ml: f64) -> f64 {
    libm::cbrt(ml * 1e3 * 3.0 / (4.0 * std::f64::consts::PI))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::head::tissue;
    use crate::random::Purpose;

    #[test]
    fn every_model_hits_its_volume_from_small_to_large() {
        for (ml, edge) in [(2.0, 64), (20.0, 80), (60.0, 104), (110.0, 120)] {
            let grid = Grid { dims: [edge; 3], spacing_mm: 1.0, origin: [0.0; 3] };
            // White matter with grey sheets in it.
            let tissues: Vec<u8> =
                (0..grid.len()).map(|i| if i % edge % 16 == 0 { tissue::GREY } else { tissue::WHITE }).collect();
            for settings in [TumourSettings { multifocal_share: 1.0, ..Default::default() }, TumourSettings::foreign()]
            {
                let growth = Growth::drawn(&mut Draws::new(7, Purpose::Tumour), ml, &settings);
                let grown = |g: &Growth| g.grow(&grid, &tissues, grid.index([edge / 2; 3])).expect("has room");
                let tumour = grown(&growth);
                let core = tumour.density.iter().filter(|u| **u >= CORE_DENSITY).count() as f64 * 1e-3;
                assert!((core / ml - 1.0).abs() < 0.1, "{core} mL for {ml} by {:?}", settings.model);
                assert!(tumour.density.iter().all(|u| (0.0..=1.0).contains(u)) && tumour.days > 0.0);
                if ml < 10.0 {
                    let again = grown(&growth).density;
                    assert!(tumour.density.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()));
                }
            }
        }
    }
}
