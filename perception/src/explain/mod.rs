//! Why a margin is where it is: which evidence moved it, and which is missing or old.
//!
//! Two answers that check each other. **Occlusion:** each kind of evidence is taken out in turn, as if its source were missing; how far the margin at a
//! place then moves, mm, is what it was worth there. **Gradient × input** (A. Shrikumar et al., 2016): the slope of the network's logit
//! around that place over every number of the input, times how far the number is from its absence; summed over a kind of evidence it
//! says the same to first order, and over channels where in the region it lies. [`Explained::agreement`] is their rank correlation.
//! **Memory:** none; the frame is read as a first one. **Units:** mm. **Allocation:** a network of burn's and its gradients, 1 GB.
//! **Not protected against:** evidence that matters only together with another.

pub mod against;

use crate::bits::VoxelBits;
use crate::distance::{DistanceTransform, surface_mm};
use crate::engine::{EngineError, Plan, Pool, Precision};
use crate::model::{Model, ModelFault};
use crate::network::Network;
use crate::network::api::{Autodiff, Flex, tensor, values};
use crate::perceive::inputs::{INPUTS, Inputs, PRIOR};
use crate::perceive::network::OUTPUTS;
use crate::perceive::prior::PriorSettings;
use bregma_core::flow::roi_channel::{CAVITY, DOUBT, FLAIR, FLUORESCENCE, REDNESS, SEEN_AGE, T1, T1C, T2};
use bregma_core::flow::{ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS, RoiFrame};

/// The logit that is explained is a mean over voxels this near, voxels.
const ABOUT: isize = 2;
/// Margins are told up to that, mm.
const MARGIN_MAX_MM: f64 = 40.0;
/// A scan older than that is old, s.
const SCAN_OLD_S: f64 = 1800.0;
/// What was seen longer ago is old, as a share of the channel's full scale of 60 s.
const SEEN_OLD: f32 = 0.5;

/// A kind of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// T1 with contrast agent, and the prior that is drawn from it.
    T1c,
    /// FLAIR.
    Flair,
    /// T1.
    T1,
    /// T2.
    T2,
    /// What the tip swept and what was open before.
    Cavity,
    /// What the microscope saw.
    Video,
    /// How far tissue may have moved.
    Doubt,
}

impl Evidence {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::T1c, Self::Flair, Self::T1, Self::T2, Self::Cavity, Self::Video, Self::Doubt];

    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::T1c => "T1c",
            Self::Flair => "FLAIR",
            Self::T1 => "T1",
            Self::T2 => "T2",
            Self::Cavity => "cavity",
            Self::Video => "video",
            Self::Doubt => "doubt of the shift",
        }
    }

    /// Its channels, and what stands there where it is absent.
    const fn channels(self) -> &'static [(usize, f32)] {
        match self {
            Self::T1c => &[(T1C, 0.0), (PRIOR, 0.0)],
            Self::Flair => &[(FLAIR, 0.0)],
            Self::T1 => &[(T1, 0.0)],
            Self::T2 => &[(T2, 0.0)],
            Self::Cavity => &[(CAVITY, 0.0)],
            Self::Video => &[(FLUORESCENCE, 0.0), (REDNESS, 0.0), (SEEN_AGE, 1.0)],
            Self::Doubt => &[(DOUBT, 0.0)],
        }
    }
}

/// Whether evidence is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// It is.
    There,
    /// It is, and this old, s.
    Old(f64),
    /// It is not.
    Missing,
}

/// What one kind of evidence is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reason {
    /// Which.
    pub evidence: Evidence,
    /// Whether it is there.
    pub standing: Standing,
    /// The margin with it less the margin without, mm: below 0 it brings core nearer.
    pub moved_mm: f64,
    /// The logit of residual core around the place with it less that without.
    pub occlusion: f64,
    /// The same to first order: gradient × input, where that was asked for.
    pub gradient: Option<f64>,
}

/// Why a margin is where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Signed margin at the place by the frame alone, mm.
    pub margin_mm: f64,
    /// Probability of residual core around it.
    pub probability: f64,
    /// Every kind of evidence, the one that moves the margin most first.
    pub reasons: Vec<Reason>,
    /// Gradient × input of every voxel, summed over channels, `[64³]`.
    pub map: Vec<f32>,
    /// Rank correlation of gradients and occlusions, -1 to 1.
    pub agreement: f64,
}

/// Why nothing is explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// A place outside the region.
    #[error("voxel {0:?} is outside the region of {ROI_EDGE} voxels' edge")]
    Outside([usize; 3]),
    /// The network is none.
    #[error(transparent)]
    Model(#[from] ModelFault),
    /// The engine refuses the frame or the network.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Explains the margin at a voxel of a frame; `brain` is what its T1c shows to be brain.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(
    model: &Model,
    pool: &Pool,
    frame: &RoiFrame,
    brain: &VoxelBits,
    at: [usize; 3],
) -> Result<Explained, ExplainError> {
    let mut occluder = Occluder::new(model)?;
    let Occluded { margin_mm, probability, mut reasons } = occluder.of(pool, frame, brain, at)?;
    let input = occluder.inputs.of(frame, brain);
    let slopes = gradient(model, input, &about(at))?;
    let mut map = vec![0.0; ROI_VOXELS];
    for reason in &mut reasons {
        let mut sum = 0.0;
        for (channel, absent) in reason.evidence.channels() {
            let part = channel * ROI_VOXELS..(channel + 1) * ROI_VOXELS;
            for ((value, slope), map) in input[part.clone()].iter().zip(&slopes[part]).zip(&mut map) {
                let worth = slope * (value - absent);
                *map += worth;
                sum += f64::from(worth);
            }
        }
        reason.gradient = Some(sum);
    }
    let agreement = ranks_agree(&reasons);
    Ok(Explained { margin_mm, probability, reasons, map, agreement })
}

/// What a network says at a place, and what it would say without each kind of evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Occluded {
    /// Signed margin at the place by the frame alone, mm.
    pub margin_mm: f64,
    /// Probability of residual core around it.
    pub probability: f64,
    /// Every kind of evidence, the one that moves the margin most first.
    pub reasons: Vec<Reason>,
}

/// Asks a network what it would say without some of what it sees. **Allocation:** in `new`, and of what is said.
pub struct Occluder {
    plan: Plan,
    inputs: Inputs,
    without: Vec<f32>,
    distances: DistanceTransform,
    logits: Vec<f32>,
    inside: Vec<u8>,
    squared: Vec<i32>,
}

impl Occluder {
    /// In f32.
    ///
    /// # Errors
    /// When the engine refuses the network.
    pub fn new(model: &Model) -> Result<Self, EngineError> {
        Ok(Self {
            plan: Plan::new(model, ROI_EDGE, Precision::F32, None)?,
            inputs: Inputs::new(PriorSettings::default()),
            without: vec![0.0; INPUTS * ROI_VOXELS],
            distances: DistanceTransform::new([ROI_EDGE; 3]),
            logits: vec![0.0; OUTPUTS * ROI_VOXELS],
            inside: vec![0; ROI_VOXELS],
            squared: vec![0; ROI_VOXELS],
        })
    }

    /// At a voxel of a frame; `brain` is what its T1c shows to be brain. The network runs once, and once more for each kind of evidence.
    ///
    /// # Errors
    /// [`ExplainError`].
    pub fn of(
        &mut self,
        pool: &Pool,
        frame: &RoiFrame,
        brain: &VoxelBits,
        at: [usize; 3],
    ) -> Result<Occluded, ExplainError> {
        if at.iter().any(|v| *v >= ROI_EDGE) {
            return Err(ExplainError::Outside(at));
        }
        let about = about(at);
        let index = at[0] + ROI_EDGE * (at[1] + ROI_EDGE * at[2]);
        let mut without = std::mem::take(&mut self.without);
        without.clear();
        without.extend_from_slice(self.inputs.of(frame, brain));
        let with = self.answer(pool, &without, index, &about)?;
        let mut reasons = Vec::with_capacity(Evidence::ALL.len());
        for evidence in Evidence::ALL {
            for (channel, absent) in evidence.channels() {
                without[channel * ROI_VOXELS..(channel + 1) * ROI_VOXELS].fill(*absent);
            }
            let answer = self.answer(pool, &without, index, &about)?;
            reasons.push(Reason {
                evidence,
                standing: standing(evidence, frame, &about),
                moved_mm: with.margin_mm - answer.margin_mm,
                occlusion: with.logit - answer.logit,
                gradient: None,
            });
            let input = self.inputs.of(frame, brain);
            for (channel, _) in evidence.channels() {
                let part = channel * ROI_VOXELS..(channel + 1) * ROI_VOXELS;
                without[part.clone()].copy_from_slice(&input[part]);
            }
        }
        self.without = without;
        reasons.sort_by(|a, b| {
            b.moved_mm.abs().total_cmp(&a.moved_mm.abs()).then(b.occlusion.abs().total_cmp(&a.occlusion.abs()))
        });
        let probability = 1.0 / (1.0 + libm::exp(-with.logit));
        Ok(Occluded { margin_mm: with.margin_mm, probability, reasons })
    }

    fn answer(&mut self, pool: &Pool, channels: &[f32], at: usize, about: &[usize]) -> Result<Answer, EngineError> {
        let mut state = self.plan.state();
        self.plan.run(pool, channels, &mut state, &mut self.logits)?;
        let cavity = &channels[CAVITY * ROI_VOXELS..][..ROI_VOXELS];
        for ((inside, logit), cavity) in self.inside.iter_mut().zip(&self.logits).zip(cavity) {
            *inside = u8::from(*logit >= 0.0 && *cavity <= 0.5);
        }
        self.distances.signed(&self.inside, &mut self.squared);
        let margin_mm = surface_mm(self.squared[at], ROI_SPACING_MM).clamp(-MARGIN_MAX_MM, MARGIN_MAX_MM);
        let sum: f64 = about.iter().map(|i| f64::from(self.logits[*i])).sum();
        Ok(Answer { margin_mm, logit: sum / about.len() as f64 })
    }
}

/// Voxels around one.
fn about(at: [usize; 3]) -> Vec<usize> {
    let mut found = Vec::new();
    let steps = || -ABOUT..=ABOUT;
    for (z, y, x) in steps().flat_map(|z| steps().flat_map(move |y| steps().map(move |x| (z, y, x)))) {
        let to = [at[0] as isize + x, at[1] as isize + y, at[2] as isize + z];
        let inside = to.iter().all(|v| (0..ROI_EDGE as isize).contains(v));
        if inside && x * x + y * y + z * z <= ABOUT * ABOUT {
            let [x, y, z] = to.map(|v| v as usize);
            found.push(x + ROI_EDGE * (y + ROI_EDGE * z));
        }
    }
    found
}

/// What the network says at the place.
#[derive(Clone, Copy)]
struct Answer {
    margin_mm: f64,
    logit: f64,
}

/// The slope of the mean logit around the place over every number of the frame.
fn gradient(model: &Model, channels: &[f32], about: &[usize]) -> Result<Vec<f32>, ModelFault> {
    type B = Autodiff<Flex>;
    let device = Default::default();
    let network = Network::<B>::from_model(model, &device)?;
    let dims = |channels| [1, channels, ROI_EDGE, ROI_EDGE, ROI_EDGE];
    let input = tensor::<B, 5>(channels.to_vec(), dims(INPUTS), &device).require_grad();
    let (logits, _) = network.forward(input.clone(), None);
    let mut weights = vec![0.0; OUTPUTS * ROI_VOXELS];
    about.iter().for_each(|i| weights[*i] = 1.0 / about.len() as f32);
    let gradients = (logits * tensor(weights, dims(OUTPUTS), &device)).sum().backward();
    Ok(input.grad(&gradients).map_or_else(|| vec![0.0; channels.len()], values))
}

fn standing(evidence: Evidence, frame: &RoiFrame, about: &[usize]) -> Standing {
    match evidence {
        Evidence::T1c | Evidence::Flair | Evidence::T1 | Evidence::T2 => {
            let (channel, _) = evidence.channels()[0];
            if frame.channel(channel).iter().all(|v| v.to_bits() == 0) {
                return Standing::Missing;
            }
            let age_s = frame.captured.since(frame.scanned).map_or(0.0, |age| age.secs_f64());
            if age_s > SCAN_OLD_S { Standing::Old(age_s) } else { Standing::There }
        }
        Evidence::Video => {
            let age = frame.channel(SEEN_AGE);
            let newest = about.iter().map(|i| age[*i]).fold(f32::INFINITY, f32::min);
            match newest {
                age if age >= 1.0 => Standing::Missing,
                age if age > SEEN_OLD => Standing::Old(f64::from(age * crate::align::SEEN_AGE_SCALE_S)),
                _ => Standing::There,
            }
        }
        Evidence::Cavity | Evidence::Doubt => Standing::There,
    }
}

/// Spearman's rank correlation of gradients and occlusions.
fn ranks_agree(reasons: &[Reason]) -> f64 {
    let ranks = |of: &dyn Fn(&Reason) -> f64| -> Vec<f64> {
        let below = |a: f64| reasons.iter().filter(|r| of(r) < a).count() as f64;
        let alike = |a: f64| reasons.iter().filter(|r| of(r) == a).count() as f64;
        reasons.iter().map(|r| below(of(r)) + 0.5 * (alike(of(r)) - 1.0)).collect()
    };
    let (a, b) = (ranks(&|r| r.gradient.unwrap_or(0.0)), ranks(&|r| r.occlusion));
    let middle = 0.5 * (reasons.len() as f64 - 1.0);
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>();
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt().max(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::network::untrained;

    fn frame() -> RoiFrame {
        let mut frame = RoiFrame::empty();
        for (i, value) in frame.channels.iter_mut().enumerate() {
            *value = libm::sinf(0.37 * (i % 64) as f32 + 0.0113 * i as f32);
        }
        frame.channels[T2 * ROI_VOXELS..][..ROI_VOXELS].fill(0.0);
        frame.channels[SEEN_AGE * ROI_VOXELS..][..ROI_VOXELS].fill(1.0);
        frame
    }

    #[test]
    fn what_is_missing_is_said_and_moves_nothing() {
        let pool = Pool::new(2).expect("threads");
        let explained =
            explain(&untrained(5), &pool, &frame(), &VoxelBits::new(), [30, 31, 32]).expect("it can be explained");
        let of = |evidence| *explained.reasons.iter().find(|r| r.evidence == evidence).expect("all are there");
        let t2 = of(Evidence::T2);
        assert_eq!((t2.standing, t2.moved_mm, t2.occlusion, t2.gradient), (Standing::Missing, 0.0, 0.0, Some(0.0)));
        assert_eq!((of(Evidence::T1c).standing, of(Evidence::Video).standing), (Standing::There, Standing::Missing));
        assert!(of(Evidence::T1c).occlusion != 0.0 && of(Evidence::T1c).gradient.is_some_and(|g| g != 0.0));
        assert!(explained.reasons.is_sorted_by(|a, b| a.moved_mm.abs() >= b.moved_mm.abs()));
        assert!(explained.map.iter().any(|v| *v != 0.0) && explained.map.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn to_first_order_the_gradient_says_what_a_small_change_does() {
        let (model, pool) = (untrained(5), Pool::new(2).expect("threads"));
        let base = Inputs::new(PriorSettings::default()).of(&frame(), &VoxelBits::new()).to_vec();
        let place = about([30, 31, 32]);
        let slopes = gradient(&model, &base, &place).expect("a network");
        let mut occluder = Occluder::new(&model).expect("a plan");
        let mut along = |by: f32| {
            let mut channels = base.clone();
            channels[..ROI_VOXELS].iter_mut().zip(&slopes).for_each(|(v, s)| *v += by * s.signum());
            occluder.answer(&pool, &channels, 30 + ROI_EDGE * (31 + ROI_EDGE * 32), &place).expect("finite").logit
        };
        let (up, down) = (along(1e-3), along(-1e-3));
        let expected: f64 = slopes[..ROI_VOXELS].iter().map(|s| 2e-3 * f64::from(s.abs())).sum();
        assert!(((up - down) / expected - 1.0).abs() < 0.1, "{} of {expected}", up - down);
    }

    #[test]
    fn ranks_agree_or_do_not() {
        let reason = |gradient, occlusion| Reason {
            evidence: Evidence::T1,
            standing: Standing::There,
            moved_mm: 0.0,
            occlusion,
            gradient: Some(gradient),
        };
        let of = |pairs: [(f64, f64); 4]| ranks_agree(&pairs.map(|(g, o)| reason(g, o)));
        assert!((of([(0.1, 1.0), (0.2, 2.0), (0.3, 30.0), (9.0, 31.0)]) - 1.0).abs() < 1e-12);
        assert!((of([(4.0, 1.0), (3.0, 2.0), (2.0, 3.0), (1.0, 4.0)]) + 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_place_outside_is_refused() {
        let pool = Pool::new(1).expect("the caller's thread");
        let why =
            explain(&untrained(5), &pool, &frame(), &VoxelBits::new(), [64, 0, 0]).expect_err("outside").to_string();
        assert!(why.contains("[64, 0, 0]"), "{why}");
    }
}
