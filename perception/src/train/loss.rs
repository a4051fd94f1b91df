//! How wrong logits are, and the gradient of that by each of them, in one pass.
//!
//! Three terms, of σ(z) = p against truth y, over all frames of a step:
//! - **likelihood:** the binary cross-entropy, a mean over voxels;
//! - **overlap:** 1 - (2 Σ p y + 1) / (Σ p + Σ y + 1) (F. Milletari et al., 3DV 2016), over the whole step, so that a
//!   frame without tumour does not divide by nothing;
//! - **boundary:** of the residual core, the mean of p times the signed distance to its surface over 10 mm (H. Kervadec et al., MIDL
//!   2019): what lies far on the wrong side costs more than what lies near.
//!
//! Of the outputs, which are weighed by [`OF_OUTPUTS`], the residual core is what the live stage reads.
//! On the processor whatever the backend is: logits come here, their gradient goes back. **Sums:** f64, of a fixed order.

use super::OUTPUTS;
use super::lesson::Batch;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What counts how much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Of Dice's.
    pub overlap: f32,
    /// Of the cross-entropy.
    pub likelihood: f32,
    /// Of the boundary's.
    pub boundary: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { overlap: 1.0, likelihood: 1.0, boundary: 0.5 }
    }
}

/// How wrong a step's logits were.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Loss {
    /// Weighted sum.
    pub total: f64,
    /// 1 less the overlap, a mean over outputs.
    pub overlap: f64,
    /// Cross-entropy.
    pub likelihood: f64,
    /// The boundary's term.
    pub boundary: f64,
}

/// What each output counts.
const OF_OUTPUTS: [f64; OUTPUTS] = [0.6, 0.25, 0.15];
/// Where margins are cut off, mm.
const MARGIN_MAX_MM: f32 = 10.0;
/// Added to both parts of the overlap.
const SMOOTH: f64 = 1.0;

#[derive(Clone, Copy, Default)]
struct Sums {
    likelihood: f64,
    boundary: f64,
    both: f64,
    said: f64,
    true_: f64,
}

impl Loss {
    /// Of logits `[T * N, OUTPUTS, E, E, E]`; and its gradient, of the same shape.
    pub(super) fn of(weights: &Weights, batch: &Batch, logits: &[f32]) -> (Self, Vec<f32>) {
        let voxels = batch.voxels;
        assert_eq!(logits.len(), batch.truth.len(), "a logit for every truth");
        let volumes: Vec<Sums> = logits
            .par_chunks_exact(voxels)
            .zip(batch.truth.par_chunks_exact(voxels))
            .enumerate()
            .map(|(volume, (z, y))| {
                let margin = (volume % OUTPUTS == 0).then(|| &batch.margin[volume / OUTPUTS * voxels..][..voxels]);
                let mut sums = Sums::default();
                for (i, (z, y)) in z.iter().zip(y).enumerate() {
                    let (p, y) = (sigmoid(*z), f32::from(*y));
                    sums.likelihood += f64::from(z.max(0.0) - z * y + libm::log1pf(libm::expf(-z.abs())));
                    sums.both += f64::from(p * y);
                    sums.said += f64::from(p);
                    sums.true_ += f64::from(y);
                    if let Some(margin) = margin {
                        sums.boundary += f64::from(p * margin[i] / MARGIN_MAX_MM);
                    }
                }
                sums
            })
            .collect();
        let mut outputs = [Sums::default(); OUTPUTS];
        for (volume, sums) in volumes.iter().enumerate() {
            let all = &mut outputs[volume % OUTPUTS];
            all.likelihood += sums.likelihood;
            all.boundary += sums.boundary;
            all.both += sums.both;
            all.said += sums.said;
            all.true_ += sums.true_;
        }
        let of_core = batch.margin.len() as f64;
        let below = outputs.map(|s| s.said + s.true_ + SMOOTH);
        let above = outputs.map(|s| 2.0 * s.both + SMOOTH);
        let overlap = (0..OUTPUTS).map(|o| OF_OUTPUTS[o] * (1.0 - above[o] / below[o])).sum::<f64>();
        let likelihood = (0..OUTPUTS).map(|o| OF_OUTPUTS[o] * outputs[o].likelihood).sum::<f64>() / of_core;
        let boundary = outputs[0].boundary / of_core;
        let of = |weight: f32| f64::from(weight);
        let total =
            of(weights.overlap) * overlap + of(weights.likelihood) * likelihood + of(weights.boundary) * boundary;

        let mut slope = vec![0.0; logits.len()];
        slope.par_chunks_exact_mut(voxels).enumerate().for_each(|(volume, slope)| {
            let output = volume % OUTPUTS;
            let margin = (output == 0).then(|| &batch.margin[volume / OUTPUTS * voxels..][..voxels]);
            let by_likelihood = of(weights.likelihood) * OF_OUTPUTS[output] / of_core;
            let by_overlap = of(weights.overlap) * OF_OUTPUTS[output];
            let (where_not, where_true) = (
                (by_overlap * above[output] / (below[output] * below[output])) as f32,
                (by_overlap * 2.0 / below[output]) as f32,
            );
            let by_boundary = (of(weights.boundary) / (of_core * f64::from(MARGIN_MAX_MM))) as f32;
            let (z, y) = (&logits[volume * voxels..][..voxels], &batch.truth[volume * voxels..][..voxels]);
            for (i, slope) in slope.iter_mut().enumerate() {
                let (p, y) = (sigmoid(z[i]), f32::from(y[i]));
                let by_p = where_not - where_true * y + margin.map_or(0.0, |m| by_boundary * m[i]);
                *slope = by_likelihood as f32 * (p - y) + by_p * p * (1.0 - p);
            }
        });
        (Self { total, overlap, likelihood, boundary }, slope)
    }
}

fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-z))
}
