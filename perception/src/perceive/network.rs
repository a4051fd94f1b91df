//! A network's estimate of the residual core, frame by frame, with the memory of its ConvLSTM.
//!
//! **Shapes:** reads all channels of a `RoiFrame`, `[C, 64, 64, 64]`, and writes σ(logit) of the first output as 0 to
//! 255. **Memory:** as long as the frame's epoch lasts; a region that has moved and a new scan begin anew. **Allocation:** in `new`.
//! **Order:** the same on any number of threads. **Not protected against:** weights that were trained badly, and frames
//! unlike those of the training.

use super::classical::{Classical, share_of};
use super::{Estimator, View};
use crate::engine::{Calibration, EngineError, Plan, Pool, Precision, State};
use crate::model::file::ModelFile;
use crate::model::{Model, ModelFault, Shape};
use crate::network::{Network, api::Flex};
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::{ROI_CHANNEL_COUNT, ROI_EDGE, ROI_VOXELS, roi_channels_digest};
use std::sync::Arc;

/// Logits that a network says of a voxel: of the residual core, which the live stage reads, of the whole tumour, and of necrosis.
pub const OUTPUTS: usize = 3;
/// Their names, in order.
pub const OUTPUT_NAMES: [&str; OUTPUTS] = ["residual core", "whole tumour", "necrosis"];
/// The default network on what align makes: base 8, four levels.
pub const DEFAULT_SHAPE: Shape = Shape { inputs: ROI_CHANNEL_COUNT, outputs: OUTPUTS, base: 8, levels: 4 };
/// Made-up frames that an untrained network is calibrated on.
const MADE_UP: usize = 4;

/// Why a network cannot be the estimator.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// It was made for other inputs or outputs.
    #[error(
        "the network reads {inputs} channels and says {outputs} values a voxel; \
         {ROI_CHANNEL_COUNT} and {OUTPUTS} are what align makes and perceive reads"
    )]
    Shape {
        /// Channels of its input.
        inputs: usize,
        /// Channels of its output.
        outputs: usize,
    },
    /// It was trained on another list of channels.
    #[error("the network was trained on the channel list {found}; this runtime makes {expected}")]
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
    plan: Plan,
    pool: Arc<Pool>,
    state: State,
    logits: Vec<f32>,
    epoch: Option<u64>,
    digest: Digest,
}

impl Networked {
    /// A network out of its file; [`Precision::Int8`] needs the ranges that the file was calibrated to.
    ///
    /// # Errors
    /// [`Unfit`].
    pub fn new(file: &ModelFile, precision: Precision, pool: Arc<Pool>) -> Result<Self, Unfit> {
        let (Shape { inputs, outputs, .. }, expected) = (file.model().shape, roi_channels_digest());
        if (inputs, outputs) != (ROI_CHANNEL_COUNT, OUTPUTS) {
            return Err(Unfit::Shape { inputs, outputs });
        }
        if file.channels != expected {
            return Err(Unfit::Channels { found: file.channels, expected });
        }
        let ranges = file.activations();
        let calibration = (!ranges.is_empty()).then_some(Calibration { ranges });
        Ok(Self::of(file.model(), precision, calibration.as_ref(), pool)?)
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
        Self::of(model, precision, calibration.as_ref(), pool)
    }

    fn of(
        model: &Model,
        precision: Precision,
        calibration: Option<&Calibration>,
        pool: Arc<Pool>,
    ) -> Result<Self, EngineError> {
        let plan = Plan::new(model, ROI_EDGE, precision, calibration)?;
        let mut digester = Digester::new("bregma networked 1");
        digester.digest(&model.digest()).sizes(&[usize::from(precision == Precision::Int8)]);
        let (state, digest) = (plan.state(), digester.finish());
        Ok(Self { plan, pool, state, logits: vec![0.0; OUTPUTS * ROI_VOXELS], epoch: None, digest })
    }
}

impl Estimator for Networked {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        if self.epoch != Some(view.frame.epoch) {
            self.epoch = Some(view.frame.epoch);
            self.state.reset();
        }
        self.plan.run(&self.pool, &view.frame.channels, &mut self.state, &mut self.logits)?;
        for (residual, logit) in residual.iter_mut().zip(&self.logits) {
            *residual = share_of(*logit);
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

/// A network that does all its work on every frame, and a classical estimator whose answer counts.
///
/// For timing a runtime before there are weights: the network's answer is thrown away.
pub struct Rehearsed {
    network: Box<dyn Estimator>,
    unheard: Vec<u8>,
    classical: Classical,
}

impl Rehearsed {
    /// This network at work beside the classical estimator.
    #[must_use]
    pub fn new(classical: Classical, network: Box<dyn Estimator>) -> Self {
        Self { network, unheard: vec![0; ROI_VOXELS], classical }
    }
}

impl Estimator for Rehearsed {
    /// That of the classical estimator: it alone is heard.
    fn digest(&self) -> Digest {
        self.classical.digest()
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        self.network.estimate(view, &mut self.unheard)?;
        self.classical.estimate(view, residual)
    }
}

/// Ranges of activations on waves between -1 and 2, about what scans in z-scores span.
fn calibrated_on_made_up_frames(model: &Model, pool: &Pool) -> Result<Calibration, EngineError> {
    let mut plan = Plan::new(model, ROI_EDGE, Precision::F32, None)?;
    let (mut state, mut logits) = (plan.state(), vec![0.0; OUTPUTS * ROI_VOXELS]);
    let mut calibration = Calibration { ranges: Vec::new() };
    let mut input = vec![0.0; ROI_CHANNEL_COUNT * ROI_VOXELS];
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
    use bregma_core::flow::RoiFrame;

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
        let mut frame = RoiFrame::empty();
        frame.epoch = epoch;
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
        let file = file(ROI_CHANNEL_COUNT, roi_channels_digest());
        let mut network = Networked::new(&file, Precision::F32, pool()).expect("it fits");
        let mut estimated = |epoch| estimate(&mut network, &frame(epoch)).expect("finite");
        let (first, second) = (estimated(1), estimated(1));
        assert_ne!(first, second, "it remembers the first frame");
        assert_eq!(first, estimated(2), "it begins anew");
    }

    #[test]
    fn what_does_not_fit_the_runtime_is_refused_with_its_reason() {
        let said = |file: &ModelFile, precision| match Networked::new(file, precision, pool()) {
            Err(why) => why.to_string(),
            Ok(_) => String::new(),
        };
        let ours = roi_channels_digest();
        assert!(said(&file(4, ours), Precision::F32).contains("reads 4 channels"));
        let other = Digester::new("another list").finish();
        assert!(said(&file(ROI_CHANNEL_COUNT, other), Precision::F32).contains("trained on the channel list"));
        assert!(said(&file(ROI_CHANNEL_COUNT, ours), Precision::Int8).contains("needs a calibration"));
    }

    #[test]
    fn a_rehearsed_network_works_and_is_not_heard() {
        let settings = super::super::classical::Settings::default();
        let mut alone = Classical::new(settings);
        for precision in [Precision::F32, Precision::Int8] {
            let network = Networked::untrained(&untrained(1), precision, pool()).expect("it can be run");
            let mut rehearsed = Rehearsed::new(Classical::new(settings), Box::new(network));
            let (heard, expected) = (estimate(&mut rehearsed, &frame(1)), estimate(&mut alone, &frame(1)));
            assert_eq!(heard, expected);
            assert!(rehearsed.unheard.iter().any(|v| *v != 0), "the network has worked");
            assert_eq!(rehearsed.digest(), alone.digest());
        }
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
        let file = file(ROI_CHANNEL_COUNT, roi_channels_digest());
        let mut network = Networked::new(&file, Precision::F32, pool()).expect("it fits");
        let mut broken = frame(1);
        broken.channels[9] = f32::NAN;
        assert!(matches!(estimate(&mut network, &broken), Err(EngineError::Value { at: 9, .. })));
    }
}
