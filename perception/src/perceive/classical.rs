//! The classical estimator: the scan's prior, the cavity, and the newest evidence on its wall.
//!
//! Evidence `e` in [0, 1] becomes log-odds between those of a negative and a positive 5-ALA test, 0 at
//! one half: `ln((1 − se) / sp)` at 0 and `ln(se / (1 − sp))` at 1 (sensitivity 0.87, specificity 0.89). It
//! loses half its weight every `half_life_s`, and reaches `spread_mm` into the tissue below the wall,
//! falling linearly. Where several wall voxels reach a voxel, their weighted mean counts, with the weight of
//! the nearest. **Memory:** per epoch; the newest evidence of a voxel replaces what was there.
//! **Not protected against:** false positives that lie together, as those of real 5-ALA do.

use super::prior::{Prior, PriorSettings};
use super::{Estimator, View};
use crate::align::SEEN_AGE_SCALE_S;
use crate::engine::EngineError;
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::roi_channel::{FLAIR, FLUORESCENCE, SEEN_AGE, T1C};
use bregma_core::flow::{ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS};

/// Name of this estimator and version of its arithmetic.
const NAME: &str = "bregma classical estimator 2";

/// What evidence is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What the scan is worth.
    pub prior: PriorSettings,
    /// Share of core that fluoresces.
    pub sensitivity: f64,
    /// Share of other tissue that does not.
    pub specificity: f64,
    /// How far evidence reaches below the wall, mm.
    pub spread_mm: f64,
    /// After this time it counts half.
    pub half_life_s: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prior: PriorSettings::default(),
            sensitivity: 0.87,
            specificity: 0.89,
            spread_mm: 2.0,
            half_life_s: 300.0,
        }
    }
}

/// What reaches a voxel from the wall.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    weighted: f32,
    weight: f32,
    nearest: f32,
}

/// The estimator.
#[derive(Debug)]
pub struct Classical {
    settings: Settings,
    digest: Digest,
    epoch: Option<u64>,
    prior: Prior,
    logit: Vec<f32>,
    /// The prior as probability, 0 to 255.
    share: Vec<u8>,
    /// Newest evidence of each voxel, log-odds.
    evidence: Vec<f32>,
    /// When it was seen, s on the session's clock.
    seen: Vec<f32>,
    reached: Vec<Reached>,
    touched: Vec<u32>,
    /// Steps to voxels within reach, and their weight.
    steps: Vec<([isize; 3], f32)>,
}

impl Classical {
    /// Allocates all it needs.
    ///
    /// # Panics
    /// With a sensitivity or specificity not inside (0, 1): the configuration checks them first.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let inside = |v: f64| v > 0.0 && v < 1.0;
        assert!(inside(settings.sensitivity) && inside(settings.specificity), "shares inside (0, 1)");
        Self {
            settings,
            digest: digest_of(&settings),
            epoch: None,
            prior: Prior::new(),
            logit: vec![0.0; ROI_VOXELS],
            share: vec![0; ROI_VOXELS],
            evidence: vec![0.0; ROI_VOXELS],
            seen: vec![f32::NEG_INFINITY; ROI_VOXELS],
            reached: vec![Reached::default(); ROI_VOXELS],
            touched: Vec::with_capacity(ROI_VOXELS),
            steps: steps_within(settings.spread_mm / ROI_SPACING_MM),
        }
    }

    /// Log-odds of evidence in [0, 1].
    fn log_odds(&self, evidence: f32) -> f32 {
        let (se, sp) = (self.settings.sensitivity, self.settings.specificity);
        let (none, full) = (libm::log((1.0 - se) / sp) as f32, libm::log(se / (1.0 - sp)) as f32);
        let off = 2.0 * evidence - 1.0;
        if off < 0.0 { -off * none } else { off * full }
    }

    /// Log-odds of what a wall voxel shows. Necrosis does not fluoresce: where the scan shows core that does
    /// not enhance, darkness says nothing.
    fn worth(&self, evidence: f32, index: usize, view: &View<'_>) -> f32 {
        let odds = self.log_odds(evidence);
        let necrotic = self.logit[index] > 0.0 && view.frame.channel(T1C)[index] < self.settings.prior.z_min;
        if necrotic { odds.max(0.0) } else { odds }
    }

    fn begin(&mut self, view: &View<'_>) {
        let frame = view.frame;
        let flair = frame.channel(FLAIR);
        let flair = flair.iter().any(|v| v.to_bits() != 0).then_some(flair);
        self.prior.estimate(&self.settings.prior, frame.channel(T1C), flair, view.brain, &frame.grid, &mut self.logit);
        self.share.iter_mut().zip(&self.logit).for_each(|(share, logit)| *share = share_of(*logit));
        self.seen.fill(f32::NEG_INFINITY);
        self.epoch = Some(frame.epoch);
    }

    /// Spreads what the wall says into `reached`.
    fn spread(&mut self, view: &View<'_>) {
        let now = view.frame.captured.secs_f64() as f32;
        let (age, fluorescence) = (view.frame.channel(SEEN_AGE), view.frame.channel(FLUORESCENCE));
        for index in view.wall.iter() {
            if age[index] < 1.0 {
                self.evidence[index] = self.worth(fluorescence[index], index, view);
                self.seen[index] = now - age[index] * SEEN_AGE_SCALE_S;
            }
            let since = (now - self.seen[index]).max(0.0);
            if !since.is_finite() {
                continue;
            }
            let value = self.evidence[index] * libm::exp2f(-since / self.settings.half_life_s);
            let at = view.frame.grid.voxel(index).map(|v| v as isize);
            for (step, weight) in &self.steps {
                let to: [isize; 3] = std::array::from_fn(|a| at[a] + step[a]);
                if to.iter().any(|v| *v < 0 || *v >= ROI_EDGE as isize) {
                    continue;
                }
                let to = to[0] as usize + ROI_EDGE * (to[1] as usize + ROI_EDGE * to[2] as usize);
                if view.cavity.has(to) {
                    continue;
                }
                let reached = &mut self.reached[to];
                if reached.weight <= 0.0 {
                    self.touched.push(to as u32);
                }
                reached.weighted += weight * value;
                reached.weight += weight;
                reached.nearest = reached.nearest.max(*weight);
            }
        }
    }
}

impl Estimator for Classical {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        if self.epoch != Some(view.frame.epoch) {
            self.begin(view);
        }
        self.touched.clear();
        self.spread(view);
        residual.copy_from_slice(&self.share);
        for index in view.cavity.iter() {
            residual[index] = 0;
            self.seen[index] = f32::NEG_INFINITY;
        }
        for index in self.touched.iter().map(|t| *t as usize) {
            let reached = std::mem::take(&mut self.reached[index]);
            residual[index] = share_of(self.logit[index] + reached.weighted / reached.weight * reached.nearest);
        }
        Ok(())
    }
}

/// Probability of log-odds, 0 to 255; 128 and above from 0 on.
#[must_use]
pub fn share_of(logit: f32) -> u8 {
    (255.0 / (1.0 + libm::expf(-logit))).round() as u8
}

/// Whole steps to voxels within `reach` voxels, with a weight that falls from 1 to a share at the end.
fn steps_within(reach: f64) -> Vec<([isize; 3], f32)> {
    let edge = reach.floor() as isize;
    let mut steps = Vec::new();
    for z in -edge..=edge {
        for y in -edge..=edge {
            for x in -edge..=edge {
                let away = ((x * x + y * y + z * z) as f64).sqrt();
                if away <= reach {
                    steps.push(([x, y, z], (1.0 - away / (reach + 1.0)) as f32));
                }
            }
        }
    }
    steps
}

fn digest_of(settings: &Settings) -> Digest {
    let p = &settings.prior;
    let mut d = Digester::new(NAME);
    p.contrast
        .into_iter()
        .chain([p.z_min, p.flair_z_min])
        .map(f64::from)
        .chain([p.component_ml, p.target_mm, p.together_mm])
        .chain([p.closing_mm, p.scale_mm, p.logit_max, settings.sensitivity, settings.specificity])
        .chain([settings.spread_mm, f64::from(settings.half_life_s)])
        .for_each(|v| {
            let _ = d.f64(v);
        });
    d.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_worth_its_likelihood_ratio() {
        let classical = Classical::new(Settings::default());
        assert!((classical.log_odds(1.0).exp() - 0.87 / 0.11).abs() < 1e-4);
        assert!((classical.log_odds(0.0).exp() - 0.13 / 0.89).abs() < 1e-5);
        assert!(classical.log_odds(0.5).abs() < 1e-6);
    }

    #[test]
    fn even_odds_are_core() {
        assert_eq!((share_of(0.0), share_of(-0.02), share_of(50.0), share_of(-50.0)), (128, 126, 255, 0));
    }

    #[test]
    fn other_settings_are_another_model() {
        let other = Settings { half_life_s: 299.0, ..Settings::default() };
        assert_ne!(Classical::new(Settings::default()).digest(), Classical::new(other).digest());
    }
}
