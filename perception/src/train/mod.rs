//! Training of the network: lessons in, a model out.
//!
//! ```text
//!  Lessons ─► cut, turned, disturbed ─► Network (burn, any backend) ─► loss ─► AdamW ─► mean of the weights ─► Model
//!   (the caller's)      (prepared)                                  (loss)             (mean)
//! ```
//! A [`Lesson`] is T frames of one removal with the truth beside them; where they come from is a trait, [`Lessons`], since
//! nothing here knows the digital patient. Each step takes a few, [`Prepared`] while the steps before it are made, backpropagates through all T frames of each, and moves the weights;
//! what is kept is the exponential mean of the weights (B. T. Polyak and A. B. Juditsky, SIAM J. Control Optim. 30, 1992). The
//! norms' statistics are those of batches at first and stand still afterwards, so that what is trained becomes what runs: batches are small, and
//! those of scans alone are unlike those of removals.
//!
//! **What the network says:** a logit for each of [`OUTPUT_NAMES`](crate::perceive::network::OUTPUT_NAMES).
//! **Determinism:** the same lessons, settings and backend give the same weights, on the processor. **Allocation:** every step;
//! this is not the live stage.

mod disturb;
mod lesson;
mod loss;
pub mod margin;
mod mean;
mod prepared;
mod score;
#[cfg(test)]
mod tests;

pub use disturb::Disturbing;
pub use lesson::{BadLesson, Lesson, Lessons};
pub use loss::{Loss, Weights};
pub use prepared::Prepared;
pub use score::{Score, Scored, score};

use crate::model::{Model, ModelFault, Shape};
use crate::network::api::{
    AdamW, AdamWConfig, AutodiffModule, Backend, BinBytesRecorder, FullPrecisionSettings, GradientClippingConfig,
    GradientsParams, Module, Optimizer, OptimizerAdaptor, Record, Recorder, RecorderError, tensor, values,
};
use crate::network::{Network, Random, Statistics, VoxelAutodiffBackend};
use crate::perceive::network::{DEFAULT_SHAPE, OUTPUTS};
use bregma_core::digest::Digester;
use mean::Mean;
use serde::{Deserialize, Serialize};

/// How a training goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Of the first weights, and of everything that is drawn here.
    pub seed: u64,
    /// Steps in all.
    pub steps: u64,
    /// Frames of a step, T · N, over all its lessons.
    pub frames: usize,
    /// Edge of the cube that is cut out of a lesson's frames, voxels.
    pub edge: usize,
    /// The highest rate at which weights are moved.
    pub rate: f64,
    /// Steps over which it grows to that from 0; then it falls as a cosine.
    pub warm_up: u64,
    /// By which weights decay, of their size and of the rate (I. Loshchilov and F. Hutter, ICLR 2019).
    pub decay: f64,
    /// Gradients longer than that are shortened to it.
    pub longest_gradient: f32,
    /// Share of the mean that stays at each step, at last.
    pub mean: f64,
    /// Share of the steps, the last, in which the norms' statistics stand still.
    pub frozen: f64,
    /// Share of the steps whose input is moved against the network, by the sign of the loss' gradient.
    pub against: f64,
    /// By how much at most, in z-scores (I. J. Goodfellow et al., ICLR 2015).
    pub against_by: f32,
    /// What counts how much.
    pub weights: Weights,
    /// What is done to a lesson's scans.
    pub disturbing: Disturbing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            steps: 6000,
            frames: 12,
            edge: 40,
            rate: 3e-3,
            warm_up: 200,
            decay: 1e-3,
            longest_gradient: 1.0,
            mean: 0.998,
            frozen: 0.8,
            against: 0.1,
            against_by: 0.1,
            weights: Weights::default(),
            disturbing: Disturbing::default(),
        }
    }
}

/// Why a training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting that makes no sense.
    #[error("training setting {name} is {value}; {right} is right")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What would be right.
        right: String,
    },
    /// A lesson that is none.
    #[error(transparent)]
    Lesson(#[from] BadLesson),
    /// Where lessons come from, there are none.
    #[error("no lesson: {0}")]
    NoLesson(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A network that is none.
    #[error(transparent)]
    Model(#[from] ModelFault),
    /// The loss is no number any more.
    #[error("at step {step} the loss is {loss}: the training has come apart; a lower rate is right")]
    Apart {
        /// When.
        step: u64,
        /// What it is.
        loss: f64,
    },
    /// A checkpoint that was changed since it was written.
    #[error("the checkpoint is damaged: its digest is {stated}, that of its parts {found}")]
    Damaged {
        /// What it says.
        stated: String,
        /// What is so.
        found: String,
    },
    /// A checkpoint of another network.
    #[error("the checkpoint's {part} cannot be read: {why}")]
    Checkpoint {
        /// Which part.
        part: &'static str,
        /// Why.
        why: String,
    },
}

impl Settings {
    /// # Errors
    /// The first setting outside its range.
    pub fn check(&self) -> Result<(), TrainError> {
        let inside = |name, value: f64, low: f64, high: f64| {
            let right = || format!("{low} to {high}");
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(TrainError::Setting { name, value, right: right() })
            }
        };
        inside("steps", self.steps as f64, 1.0, 1e8)?;
        inside("frames", self.frames as f64, 1.0, 1024.0)?;
        let (edge, unit) = (self.edge, DEFAULT_SHAPE.edge_unit());
        if edge % unit != 0 || !(2 * unit..=64).contains(&edge) {
            let right = format!("a multiple of {unit} from {} to 64", 2 * unit);
            return Err(TrainError::Setting { name: "edge", value: edge as f64, right });
        }
        inside("rate", self.rate, 1e-8, 1.0)?;
        inside("warm_up", self.warm_up as f64, 0.0, self.steps as f64)?;
        inside("decay", self.decay, 0.0, 1.0)?;
        inside("longest_gradient", f64::from(self.longest_gradient), 1e-6, 1e6)?;
        inside("mean", self.mean, 0.0, 0.999_999)?;
        inside("frozen", self.frozen, 0.0, 1.0)?;
        inside("against", self.against, 0.0, 1.0)?;
        inside("against_by", f64::from(self.against_by), 0.0, 10.0)?;
        let Weights { overlap, likelihood, boundary } = self.weights;
        [("weights.overlap", overlap), ("weights.likelihood", likelihood), ("weights.boundary", boundary)]
            .into_iter()
            .try_for_each(|(name, weight)| inside(name, f64::from(weight), 0.0, 1e3))?;
        self.disturbing.shares().into_iter().try_for_each(|(name, share)| inside(name, share, 0.0, 1.0))
    }

    /// The rate of a step.
    #[must_use]
    pub fn rate_at(&self, step: u64) -> f64 {
        if step < self.warm_up {
            return self.rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let gone = (step - self.warm_up) as f64 / (self.steps - self.warm_up).max(1) as f64;
        self.rate * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * gone.min(1.0)))
    }
}

/// A training under way, as bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Steps that were made.
    step: u64,
    /// The network, burn's record.
    network: Vec<u8>,
    /// The optimiser's moments, burn's record.
    moments: Vec<u8>,
    /// The mean of the weights, burn's record of a network.
    mean: Vec<u8>,
    /// Of all that, as text: burn's reader panics on records that are damaged.
    digest: String,
}

impl Checkpoint {
    fn of_parts(&self) -> String {
        let mut digester = Digester::new("bregma training 1");
        digester.u64(self.step).bytes(&self.network).bytes(&self.moments).bytes(&self.mean);
        digester.finish().to_string()
    }
}

/// A training.
pub struct Trainer<B: VoxelAutodiffBackend> {
    settings: Settings,
    device: B::Device,
    network: Network<B>,
    optimiser: OptimizerAdaptor<AdamW, Network<B>, B>,
    mean: Mean,
    step: u64,
}

impl<B: VoxelAutodiffBackend> Trainer<B> {
    /// From first weights.
    ///
    /// # Errors
    /// A setting outside its range.
    pub fn new(settings: Settings, shape: Shape, device: B::Device) -> Result<Self, TrainError> {
        settings.check()?;
        let network = Network::new(shape, settings.seed, &device)?;
        let mean = Mean::of(&network.valid());
        Ok(Self { settings, optimiser: optimiser(&settings), network, mean, device, step: 0 })
    }

    /// From where another was left.
    ///
    /// # Errors
    /// A setting outside its range, or a part of the checkpoint that is none.
    pub fn resume(
        settings: Settings,
        shape: Shape,
        device: B::Device,
        checkpoint: Checkpoint,
    ) -> Result<Self, TrainError> {
        let found = checkpoint.of_parts();
        if checkpoint.digest != found {
            return Err(TrainError::Damaged { stated: checkpoint.digest, found });
        }
        let fresh = Self::new(settings, shape, device)?;
        let network = fresh.network.clone().load_record(read::<B, _>("network", checkpoint.network, &fresh.device)?);
        let mean =
            fresh.network.valid().load_record(read::<B::InnerBackend, _>("mean", checkpoint.mean, &fresh.device)?);
        let optimiser = Optimizer::<Network<B>, B>::load_record(
            fresh.optimiser,
            read::<B, _>("moments", checkpoint.moments, &fresh.device)?,
        );
        Ok(Self { network, optimiser, mean: Mean::of(&mean), step: checkpoint.step, ..fresh })
    }

    /// Steps that were made.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.step
    }

    /// Whether all were.
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.step >= self.settings.steps
    }

    /// One step.
    ///
    /// # Errors
    /// A loss that is no number.
    pub fn step(&mut self, prepared: Prepared) -> Result<Loss, TrainError> {
        let settings = self.settings;
        let mut random = Random::new(drawn(settings.seed, self.step, 0));
        let Prepared { mut batch, frames, lessons: n, edge } = prepared;
        let still = self.step as f64 >= (1.0 - settings.frozen) * settings.steps as f64;
        let statistics = if still { Statistics::Frozen } else { Statistics::OfBatch };
        self.network = self.network.clone().with_statistics(statistics);

        let shape = self.network.shape();
        let dims = |channels| [frames * n, channels, edge, edge, edge];
        let against = random.share() < settings.against;
        let channels = if against { batch.channels.clone() } else { std::mem::take(&mut batch.channels) };
        let mut input = tensor::<B, 5>(channels, dims(shape.inputs), &self.device);
        if against {
            let by = settings.against_by * random.share() as f32;
            let asked = input.clone().require_grad();
            let (logits, _) = self.network.sequence(asked.clone(), frames, None);
            let (_, slope) = Loss::of(&settings.weights, &batch, &values(logits.clone()));
            let gradients = (logits * tensor(slope, dims(shape.outputs), &self.device)).sum().backward();
            if let Some(towards) = asked.grad(&gradients) {
                let signs = disturb::of_scans(&values(towards), &batch.channels, edge, by);
                input = input + tensor(signs, dims(shape.inputs), &self.device);
            }
        }
        let (logits, _) = self.network.sequence(input, frames, None);
        let (loss, slope) = Loss::of(&settings.weights, &batch, &values(logits.clone()));
        if !loss.total.is_finite() {
            return Err(TrainError::Apart { step: self.step, loss: loss.total });
        }
        // The loss' own gradient is known: what is differentiated is the network alone.
        let gradients = (logits * tensor(slope, dims(shape.outputs), &self.device)).sum().backward();
        let gradients = GradientsParams::from_grads(gradients, &self.network);
        self.network = self.optimiser.step(settings.rate_at(self.step), self.network.clone(), gradients);
        self.step += 1;
        // At first the mean is of few steps.
        let kept = settings.mean.min(self.step as f64 / (self.step as f64 + 9.0));
        self.mean.take(&self.network.valid(), kept as f32);
        Ok(loss)
    }

    /// The mean of the weights, folded: what would run now.
    #[must_use]
    pub fn model(&self) -> Model {
        self.mean.put_into(self.network.valid()).fold()
    }

    /// All of it, to go on later.
    ///
    /// # Errors
    /// When burn cannot write a record.
    pub fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        let mut checkpoint = Checkpoint {
            digest: String::new(),
            step: self.step,
            network: write::<B, _>("network", self.network.clone().into_record())?,
            moments: write::<B, _>("moments", Optimizer::<Network<B>, B>::to_record(&self.optimiser))?,
            mean: write::<B::InnerBackend, _>("mean", self.mean.put_into(self.network.valid()).into_record())?,
        };
        checkpoint.digest = checkpoint.of_parts();
        Ok(checkpoint)
    }
}

/// A seed for what is drawn for one thing at one step.
const fn drawn(seed: u64, step: u64, thing: u64) -> u64 {
    seed ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ thing.wrapping_mul(0xD1B5_4A32_D192_ED03)
}

fn optimiser<B: VoxelAutodiffBackend>(settings: &Settings) -> OptimizerAdaptor<AdamW, Network<B>, B> {
    AdamWConfig::new()
        .with_weight_decay(settings.decay as f32)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(settings.longest_gradient)))
        .init()
}

type Bytes = BinBytesRecorder<FullPrecisionSettings>;

fn fault(part: &'static str) -> impl Fn(RecorderError) -> TrainError {
    move |why| TrainError::Checkpoint { part, why: why.to_string() }
}

fn read<X: Backend, R: Record<X>>(part: &'static str, bytes: Vec<u8>, device: &X::Device) -> Result<R, TrainError> {
    Recorder::<X>::load(&Bytes::default(), bytes, device).map_err(fault(part))
}

fn write<X: Backend, R: Record<X>>(part: &'static str, record: R) -> Result<Vec<u8>, TrainError> {
    Recorder::<X>::record(&Bytes::default(), record, ()).map_err(fault(part))
}
