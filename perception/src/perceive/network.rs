//! A network's estimate of the residual core, frame by frame, with the memory of its ConvLSTM.
//!
//! **Shapes:** reads [`Inputs`] of a frame, `[INPUTS, 64, 64, 64]`, and writes σ of the first output's logit, tempered by its [`Trust`], as 0 to
//! 255. **Memory:** as long as the frame's epoch lasts; a region that has moved, a new scan, and a
//! stream that was lost for [`LOST`] begin anew. It goes on at most every [`REMEMBERED`], about as in training: the frames between read it
//! and leave it as it is. A first frame needs no others before it: half of what is learnt from are first frames or scans alone.
//! **Allocation:** in `new`.
//! **Order:** the same on any number of threads. **Not protected against:** weights that were trained badly; frames
//! unlike those of the training are [`super::guarded`]'s.

use super::classical::share_of;
use super::inputs::{INPUTS, Inputs, inputs_digest};
use super::prior::PriorSettings;
use super::trust::Trust;
use super::{Estimator, View};
use crate::engine::{Calibration, EngineError, Plan, Pool, Precision, State};
use crate::model::file::ModelFile;
use crate::model::{Model, ModelFault, Shape};
use crate::network::{Network, api::Flex};
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS, RoiFrame};
use bregma_core::time::{Duration, Instant};
use std::sync::Arc;

/// Logits that a network says of a voxel: of the residual core, which the live stage reads, of the whole tumour, and of necrosis.
pub const OUTPUTS: usize = 3;
/// Their names, in order.
pub const OUTPUT_NAMES: [&str; OUTPUTS] = ["residual core", "whole tumour", "necrosis"];
/// The default network on what align makes: base 8, four levels.
pub const DEFAULT_SHAPE: Shape = Shape { inputs: INPUTS, outputs: OUTPUTS, base: 8, levels: 4 };
/// Its memory goes on at most so often.
pub const REMEMBERED: Duration = Duration::from_millis(500);
/// After so long without a frame it begins anew.
pub const LOST: Duration = Duration::from_secs(5);
/// Made-up frames that an untrained network is calibrated on.
const MADE_UP: usize = 4;

/// Why a network cannot be the estimator.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It was made for other inputs or outputs.
    #[error(
        "the network reads {inputs} channels and says {outputs} values a voxel; \
         {INPUTS} and {OUTPUTS} are right"
    )]
    Shape {
        /// Channels of its input.
        inputs: usize,
        /// Channels of its output.
        outputs: usize,
    },
    /// It was trained on another list of channels.
    #[error("the network was trained on the inputs {found}; this runtime makes {expected}")]
    Channels {
        /// Its list, by digest.
        found: Digest,
        /// Ours.
        expected: Digest,
    },
    /// It is no network.
    #[error(transparent)]
    Model(#[from] ModelFault),
    /// The engine, or the GPU, refuses it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A network that estimates.
#[derive(Debug)]
pub struct Networked {
    inputs: Inputs,
    plan: Plan,
    pool: Arc<Pool>,
    memory: Memory,
    logits: Vec<f32>,
    trust: Trust,
    digest: Digest,
}

/// What is remembered.
#[derive(Debug)]
struct Memory {
    rhythm: Rhythm,
    kept: State,
    /// Of the newest frame.
    newest: State,
}

/// When a memory begins anew, and when it goes on.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    epoch: Option<u64>,
    /// Capture of the newest frame, and of the one that the memory is of.
    seen: Option<Instant>,
    went_on: Option<Instant>,
}

impl Rhythm {
    /// Whether the memory begins anew with a frame.
    pub(super) fn begins(&mut self, frame: &RoiFrame) -> bool {
        let since = self.seen.and_then(|seen| frame.captured.since(seen));
        let begins = self.epoch != Some(frame.epoch) || since.is_none_or(|gap| gap >= LOST);
        (self.epoch, self.seen) = (Some(frame.epoch), Some(frame.captured));
        if begins {
            self.went_on = None;
        }
        begins
    }

    /// Whether it goes on with the frame, after it was read.
    pub(super) fn goes_on(&mut self, frame: &RoiFrame) -> bool {
        let due = self.went_on.is_none_or(|at| frame.captured.since(at).is_some_and(|gap| gap >= REMEMBERED));
        if due {
            self.went_on = Some(frame.captured);
        }
        due
    }
}

impl Networked {
    /// A network out of its file; [`Precision::Int8`] needs the ranges that the file was calibrated to.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn new(file: &ModelFile, precision: Precision, pool: Arc<Pool>) -> Result<Self, Unfit> {
        let (Shape { inputs, outputs, .. }, expected) = (file.model().shape, inputs_digest());
        if (inputs, outputs) != (INPUTS, OUTPUTS) {
            return Err(Unfit::Shape { inputs, outputs });
        }
        if file.channels != expected {
            return Err(Unfit::Channels { found: file.channels, expected });
        }
        let ranges = file.activations();
        let calibration = (!ranges.is_empty()).then_some(Calibration { ranges });
        Ok(Self::of(file.model(), precision, calibration.as_ref(), Trust::of(&file.ranges), pool)?)
    }

    /// A model with first weights; in int8 calibrated on made-up frames.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn untrained(model: &Model, precision: Precision, pool: Arc<Pool>) -> Result<Self, EngineError> {
        let calibration = match precision {
            Precision::F32 => None,
            Precision::Int8 => Some(calibrated_on_made_up_frames(model, &pool)?),
        };
        Self::of(model, precision, calibration.as_ref(), Trust::default(), pool)
    }

    fn of(
        model: &Model,
        precision: Precision,
        calibration: Option<&Calibration>,
        trust: Trust,
        pool: Arc<Pool>,
    ) -> Result<Self, EngineError> {
        let plan = Plan::new(model, ROI_EDGE, precision, calibration)?;
        let mut digester = Digester::new("bregma networked 3");
        digester.digest(&model.digest()).sizes(&[usize::from(precision == Precision::Int8)]);
        trust.digest_into(&mut digester);
        let memory = Memory { rhythm: Rhythm::default(), kept: plan.state(), newest: plan.state() };
        let digest = digester.finish();
        Ok(Self {
            inputs: Inputs::new(PriorSettings::default()),
            plan,
            pool,
            memory,
            logits: vec![0.0; OUTPUTS * ROI_VOXELS],
            trust,
            digest,
        })
    }
}

impl Estimator for Networked {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        let Memory { rhythm, kept, newest } = &mut self.memory;
        if rhythm.begins(view.frame) {
            kept.reset();
        }
        newest.copy_from(kept);
        let input = self.inputs.of(view.frame, view.brain);
        self.plan.run(&self.pool, input, newest, &mut self.logits)?;
        if rhythm.goes_on(view.frame) {
            kept.copy_from(newest);
        }
        for (residual, logit) in residual.iter_mut().zip(&self.logits) {
            *residual = share_of(self.trust.tempered(*logit));
        }
        Ok(())
    }
}

/// The network of [`DEFAULT_SHAPE`] with first weights from a seed.
///
/// # Panics
/// Never: the default shape is within bounds.
#[must_use]
pub fn untrained(seed: u64) -> Model {
    let network = Network::<Flex>::new(DEFAULT_SHAPE, seed, &Default::default());
    network.expect("the default shape is within bounds").fold()
}

/// A device's estimator, and another that takes over for good in the frame after one in which the device failed.
///
/// That one frame is lost, and its error says why. The other begins with nothing remembered.
pub struct Relieved {
    /// Kept where it has failed: what it holds is not let go of on a device that answers with errors.
    device: Box<dyn Estimator>,
    then: Box<dyn Estimator>,
    relieved: bool,
}

impl Relieved {
    /// `device` first, `then` when it fails.
    #[must_use]
    pub fn new(device: Box<dyn Estimator>, then: Box<dyn Estimator>) -> Self {
        Self { device, then, relieved: false }
    }
}

impl Estimator for Relieved {
    fn digest(&self) -> Digest {
        if self.relieved { self.then.digest() } else { self.device.digest() }
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        self.relieved |= self.device.lost();
        if self.relieved {
            return self.then.estimate(view, residual);
        }
        let done = self.device.estimate(view, residual);
        self.relieved = matches!(done, Err(EngineError::Device(_)));
        done
    }
}

/// Ranges of activations on waves between -1 and 2, about what scans in z-scores span.
fn calibrated_on_made_up_frames(model: &Model, pool: &Pool) -> Result<Calibration, EngineError> {
    let mut plan = Plan::new(model, ROI_EDGE, Precision::F32, None)?;
    let (mut state, mut logits) = (plan.state(), vec![0.0; OUTPUTS * ROI_VOXELS]);
    let mut calibration = Calibration { ranges: Vec::new() };
    let mut input = vec![0.0; INPUTS * ROI_VOXELS];
    for frame in 0..MADE_UP {
        for (i, value) in input.iter_mut().enumerate() {
            let (x, y, z) = (i % ROI_EDGE, i / ROI_EDGE % ROI_EDGE, i / (ROI_EDGE * ROI_EDGE));
            let phase = 0.21 * x as f32 + 0.34 * y as f32 + 0.13 * z as f32 + frame as f32;
            *value = 0.5 + 1.5 * libm::sinf(phase);
        }
        plan.calibrate(pool, &input, &mut state, &mut logits, &mut calibration)?;
    }
    Ok(calibration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::VoxelBits;
    use crate::gpu::DeviceError;
    use crate::model::file::Stored;

    fn pool() -> Arc<Pool> {
        Arc::new(Pool::new(1).expect("a pool of the caller alone"))
    }

    fn estimate(estimator: &mut dyn Estimator, frame: &RoiFrame) -> Result<Vec<u8>, EngineError> {
        let none = VoxelBits::new();
        let mut residual = vec![7; ROI_VOXELS];
        let view = View { frame, cavity: &none, wall: &none, brain: &none };
        estimator.estimate(&view, &mut residual).map(|()| residual)
    }

    fn frame(epoch: u64) -> RoiFrame {
        at(epoch, 0)
    }

    fn at(epoch: u64, ms: u64) -> RoiFrame {
        let mut frame = RoiFrame::empty();
        (frame.epoch, frame.captured) = (epoch, Instant::START + Duration::from_millis(ms));
        frame.channels.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 97) as f32 / 97.0 - 0.3);
        frame
    }

    fn file(inputs: usize, channels: Digest) -> ModelFile {
        let shape = Shape { inputs, base: 4, levels: 2, ..DEFAULT_SHAPE };
        let model = Network::<Flex>::new(shape, 3, &Default::default()).expect("a shape within bounds").fold();
        ModelFile::new(model, Stored::F32, channels).expect("a whole model")
    }

    #[test]
    fn memory_lasts_as_long_as_the_epoch() {
        let file = file(INPUTS, inputs_digest());
        let mut network = Networked::new(&file, Precision::F32, pool()).expect("it fits");
        let mut estimated = |epoch, ms| estimate(&mut network, &at(epoch, ms)).expect("finite");
        let (first, second) = (estimated(1, 1000), estimated(1, 1500));
        assert_ne!(first, second, "it remembers the first frame");
        assert_eq!(first, estimated(2, 2000), "it begins anew");
        // Frames between are read with what is remembered, and not remembered themselves.
        let later: Vec<_> = [2050, 2450].map(|ms| estimated(2, ms)).into();
        assert_eq!(later, [second.clone(), second.clone()]);
        assert_eq!(estimated(2, 2500), second);
        assert_ne!(estimated(2, 2550), second, "now two are remembered");
        assert_eq!(estimated(2, 7550), first, "a stream that was lost begins anew");
    }

    #[test]
    fn what_does_not_fit_the_runtime_is_refused_with_its_reason() {
        let said = |file: &ModelFile, precision| match Networked::new(file, precision, pool()) {
            Err(why) => why.to_string(),
            Ok(_) => String::new(),
        };
        let ours = inputs_digest();
        assert!(said(&file(4, ours), Precision::F32).contains("reads 4 channels"));
        let other = Digester::new("another list").finish();
        assert!(said(&file(INPUTS, other), Precision::F32).contains("trained on the inputs"));
        assert!(said(&file(INPUTS, ours), Precision::Int8).contains("needs a calibration"));
    }

    /// Says its number, and fails from a frame on.
    struct Device {
        frames: usize,
        fails: EngineError,
    }

    impl Estimator for Device {
        fn digest(&self) -> Digest {
            Digester::new("a device").finish()
        }

        fn estimate(&mut self, _: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
            self.frames = self.frames.checked_sub(1).ok_or_else(|| self.fails.clone())?;
            residual.fill(200);
            Ok(())
        }
    }

    #[test]
    fn where_a_device_fails_one_frame_is_lost_and_the_processor_goes_on() {
        let model = untrained(1);
        let processor = || Networked::untrained(&model, Precision::F32, pool()).expect("it can be run");
        let device = Device { frames: 2, fails: DeviceError("no more".into()).into() };
        let mut relieved = Relieved::new(Box::new(device), Box::new(processor()));
        let before = relieved.digest();
        for _ in 0..2 {
            assert_eq!(estimate(&mut relieved, &frame(1)), Ok(vec![200; ROI_VOXELS]));
        }
        let lost = estimate(&mut relieved, &frame(1)).expect_err("it fails").to_string();
        assert_eq!(lost, "the GPU failed: no more; the processor takes over");
        let mut alone = processor();
        for _ in 0..2 {
            assert_eq!(estimate(&mut relieved, &frame(1)), estimate(&mut alone, &frame(1)));
        }
        assert_ne!(relieved.digest(), before, "the scene names who estimates");
    }

    #[test]
    fn a_frame_that_a_device_refuses_is_not_its_failure() {
        let refusal = EngineError::Value { what: "input", at: 9, value: f32::NAN };
        let model = untrained(1);
        let processor = Networked::untrained(&model, Precision::F32, pool()).expect("it can be run");
        let mut relieved = Relieved::new(Box::new(Device { frames: 0, fails: refusal }), Box::new(processor));
        for _ in 0..2 {
            let refused = estimate(&mut relieved, &frame(1));
            assert!(matches!(refused, Err(EngineError::Value { at: 9, .. })));
        }
    }

    #[test]
    fn a_value_that_is_not_finite_is_refused() {
        let file = file(INPUTS, inputs_digest());
        let mut network = Networked::new(&file, Precision::F32, pool()).expect("it fits");
        let mut broken = frame(1);
        broken.channels[9] = f32::NAN;
        assert!(matches!(estimate(&mut network, &broken), Err(EngineError::Value { at: 9, .. })));
    }
}
