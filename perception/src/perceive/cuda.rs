//! A network on a GPU, by burn: the same model and the same answers as [`super::network::Networked`], within rounding.
//!
//! **Memory on the GPU:** weights, the frame, of which the scans' channels are sent once an epoch and the others each
//! time, and the ConvLSTM's state; probabilities come back. **Allocation:** burn's pools, which settle after a few
//! frames. **Errors:** burn panics where a device fails; here that becomes [`DeviceError`], and the panic's own message
//! stands on stderr. The estimator is of no more use then. **Not protected against:** a GPU that hangs.
#![expect(unsafe_code, reason = "numbers are copied to and from where burn keeps its tensors")]

use super::inputs::{INPUTS, Inputs};
use super::network::{OUTPUTS, Rhythm, Unfit};
use super::prior::PriorSettings;
use super::trust::Trust;
use super::{Estimator, View};
use crate::bits::VoxelBits;
use crate::engine::EngineError;
use crate::gpu::DeviceError;
use crate::gpu::cuda::{Gpu, Health, Transfer};
use crate::model::{Model, Shape};
use crate::network::api::{Backend, Cuda, CudaDevice, Tensor, sigmoid};
use crate::network::extension::cuda::located;
use crate::network::{Network, State};
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS, RoiFrame};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Channels of a frame that the scans alone make, at its beginning: T1c and FLAIR.
const SCANS: usize = 2;
/// Frames that are run before the first counts: burn compiles its kernels in the first.
const WARM_UP: usize = 3;

/// A network on a GPU.
#[derive(Debug)]
pub struct CudaNetworked {
    inputs: Inputs,
    network: Network<Cuda>,
    device: CudaDevice,
    health: Health,
    transfer: Transfer,
    /// The frame on the GPU, and where it is there.
    input: (Tensor<Cuda, 5>, u64),
    rhythm: Rhythm,
    state: Option<State<Cuda>>,
    /// Of the frame on the GPU.
    epoch: Option<u64>,
    shares: Vec<f32>,
    trust: Trust,
    digest: Digest,
}

impl CudaNetworked {
    /// The model on the GPU, its kernels compiled.
    ///
    /// # Errors
    /// [`Unfit`]; when the GPU fails.
    pub fn new(gpu: &Gpu, model: &Model, trust: Trust) -> Result<Self, Unfit> {
        let Shape { inputs, outputs, .. } = model.shape;
        if (inputs, outputs) != (INPUTS, OUTPUTS) {
            return Err(Unfit::Shape { inputs, outputs });
        }
        let mut digester = Digester::new("bregma networked on cuda 3");
        digester.digest(&model.digest());
        trust.digest_into(&mut digester);
        let digest = digester.finish();
        let transfer = Transfer::new(gpu, INPUTS * ROI_VOXELS).map_err(EngineError::from)?;
        let device = CudaDevice::default();
        let made = on_device(|| {
            let dims = [1, INPUTS, ROI_EDGE, ROI_EDGE, ROI_EDGE];
            let input = located(Tensor::zeros(dims, &device))?;
            Ok((Network::from_model(model, &device), input))
        });
        let (network, input) = made.map_err(EngineError::from)?;
        let mut started = Self {
            inputs: Inputs::new(PriorSettings::default()),
            network: network?,
            device,
            health: gpu.health().clone(),
            transfer,
            input,
            rhythm: Rhythm::default(),
            state: None,
            epoch: None,
            shares: vec![0.0; ROI_VOXELS],
            trust,
            digest,
        };
        let mut frame = RoiFrame::empty();
        frame.channels.fill(0.5);
        for _ in 0..WARM_UP {
            started.shares(&frame, &VoxelBits::new()).map_err(EngineError::from)?;
        }
        (started.inputs, started.rhythm, started.epoch) =
            (Inputs::new(PriorSettings::default()), Rhythm::default(), None);
        Ok(started)
    }

    /// σ(logit / T) of every voxel, in [0, 1].
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn shares(&mut self, frame: &RoiFrame, brain: &VoxelBits) -> Result<&[f32], DeviceError> {
        let channels = self.inputs.of(frame, brain);
        if self.rhythm.begins(frame) {
            self.state = None;
        }
        let known = self.epoch.replace(frame.epoch) == Some(frame.epoch);
        let skipped = if known { SCANS * ROI_VOXELS } else { 0 };
        let to = self.input.1 + (size_of::<f32>() * skipped) as u64;
        // SAFETY: the tensor has a float for each of the frame's numbers, and what read it has ended with the last
        // frame's answer.
        unsafe { self.transfer.send(&channels[skipped..], to)? };
        let (network, device, Trust { offset, temperature }) = (&self.network, &self.device, self.trust);
        let (input, state) = (self.input.0.clone(), self.state.clone());
        let forward = on_device(|| {
            let (logits, state) = network.forward(input, state);
            let (shares, at) = located(sigmoid(logits.add_scalar(offset).div_scalar(temperature)))?;
            <Cuda>::sync(device).map_err(|why| format!("{why:?}"))?;
            Ok((shares, at, state))
        });
        let (shares, from, state) = forward.map_err(|why| self.health.fails(why))?;
        if self.rhythm.goes_on(frame) {
            self.state = Some(state);
        }
        // SAFETY: the tensor has a float for each voxel of each output, the first output's first; it lives until the
        // end of this function, and nothing is under way any more.
        unsafe { self.transfer.fetch(from, &mut self.shares)? };
        drop(shares);
        Ok(&self.shares)
    }
}

impl Estimator for CudaNetworked {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn lost(&self) -> bool {
        self.health.lost()
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        let channels = &view.frame.channels;
        if let Some(at) = channels.iter().position(|v| !v.is_finite()) {
            return Err(EngineError::Value { what: "input", at, value: channels[at] });
        }
        let shares = self.shares(view.frame, view.brain)?;
        for (residual, share) in residual.iter_mut().zip(shares) {
            *residual = (255.0 * share).round() as u8;
        }
        Ok(())
    }
}

/// What burn does on its device, its panics as errors.
fn on_device<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, DeviceError> {
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(said.unwrap_or("burn gave up without a word").to_owned())
    });
    // Behind the first line there is a backtrace.
    done.map_err(|why| DeviceError(why.lines().next().unwrap_or_default().to_owned()))
}
