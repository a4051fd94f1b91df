//! How good a model is on lessons that it did not learn from: by the engine that runs live, frame by frame with its memory.

use super::lesson::{Lesson, is};
use super::{OUTPUTS, TrainError};
use crate::distance::{DistanceTransform, surface_mm};
use crate::engine::{EngineError, Plan, Pool, Precision};
use crate::model::Model;
use crate::perceive::inputs::INPUTS;
use serde::{Deserialize, Serialize};

/// Margins are compared where the true one is within this, mm.
const NEAR_MM: f32 = 5.0;
/// And cut off at that.
const MARGIN_MAX_MM: f64 = 10.0;
/// An overlap is asked of frames with so many true voxels at least: 0.5 mL at 1.25 mm.
const VOXELS_LEAST: u64 = 256;

/// Sums over frames.
#[derive(Debug, Clone, Default)]
pub struct Score {
    overlap: [(f64, u64); OUTPUTS],
    margin_mm: (f64, u64),
    frames: u64,
}

/// What they come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// Dice's overlap of each output, a mean over frames with at least 0.5 mL of it; none without such a frame.
    pub overlap: [Option<f64>; OUTPUTS],
    /// Mean of |estimated − true margin| where the true one is within 5 mm.
    pub margin_mm: Option<f64>,
    /// Frames.
    pub frames: u64,
}

impl Score {
    /// What it comes to.
    #[must_use]
    pub fn scored(&self) -> Scored {
        let mean = |(sum, n): (f64, u64)| (n > 0).then(|| sum / n as f64);
        Scored { overlap: self.overlap.map(mean), margin_mm: mean(self.margin_mm), frames: self.frames }
    }
}

/// A model on lessons, each from its first frame on.
///
/// # Errors
/// A lesson that is none, or a model that the engine refuses.
pub fn score<'a>(
    model: &Model,
    pool: &Pool,
    lessons: impl IntoIterator<Item = &'a Lesson>,
    spacing_mm: f64,
) -> Result<Scored, ScoreError> {
    let mut score = Score::default();
    let mut plan: Option<(usize, Plan, DistanceTransform)> = None;
    for lesson in lessons {
        lesson.check().map_err(TrainError::from)?;
        let (edge, voxels) = (lesson.edge, lesson.voxels());
        if plan.as_ref().is_none_or(|(of, ..)| *of != edge) {
            let made = Plan::new(model, edge, Precision::F32, None)?;
            plan = Some((edge, made, DistanceTransform::new([edge; 3])));
        }
        let Some((_, plan, distances)) = &mut plan else { continue };
        let (mut state, mut logits) = (plan.state(), vec![0.0; OUTPUTS * voxels]);
        let (mut inside, mut far) = (vec![0; voxels], vec![0; voxels]);
        for frame in 0..lesson.frames {
            let of = INPUTS * voxels;
            plan.run(pool, &lesson.channels[frame * of..][..of], &mut state, &mut logits)?;
            let labels = &lesson.residual[frame * voxels..][..voxels];
            score.frames += 1;
            for output in 0..OUTPUTS {
                let (mut both, mut said, mut true_) = (0_u64, 0_u64, 0_u64);
                for (logit, label) in logits[output * voxels..][..voxels].iter().zip(labels) {
                    let (p, y) = (*logit > 0.0, is(output, *label));
                    both += u64::from(p && y);
                    said += u64::from(p);
                    true_ += u64::from(y);
                }
                if true_ >= VOXELS_LEAST {
                    score.overlap[output].0 += 2.0 * both as f64 / (said + true_) as f64;
                    score.overlap[output].1 += 1;
                }
            }
            inside.iter_mut().zip(&logits).for_each(|(inside, logit)| *inside = u8::from(*logit > 0.0));
            distances.signed(&inside, &mut far);
            for (far, true_) in far.iter().zip(&lesson.margin[frame * voxels..][..voxels]) {
                if true_.abs() < NEAR_MM {
                    let margin = surface_mm(*far, spacing_mm).clamp(-MARGIN_MAX_MM, MARGIN_MAX_MM);
                    score.margin_mm.0 += (margin - f64::from(*true_)).abs();
                    score.margin_mm.1 += 1;
                }
            }
        }
    }
    Ok(score.scored())
}

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A lesson that is none.
    #[error(transparent)]
    Lesson(#[from] TrainError),
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
