//! A network on a GPU, by burn: the same model and the same answers as [`super::network::Networked`], within rounding.
//!
//! **Memory on the GPU:** weights, the frame, of which the scans' channels are sent once an epoch and the others each
//! time, and the ConvLSTM's state; probabilities come back. **Allocation:** burn's pools, which settle after a few
//! frames. **Errors:** burn panics where a device fails; here that becomes [`DeviceError`], and the panic's own message
//! stands on stderr. The estimator is of no more use then. **Not protected against:** a GPU that hangs.
#![expect(unsafe_code, reason = "numbers are copied to and from where burn keeps its tensors")]

use super::network::{OUTPUTS, Unfit};
use super::{Estimator, View};
use crate::engine::EngineError;
use crate::gpu::DeviceError;
use crate::gpu::cuda::{Gpu, Health, Transfer};
use crate::model::{Model, Shape};
use crate::network::api::{Backend, Cuda, CudaDevice, Tensor, sigmoid};
use crate::network::extension::cuda::located;
use crate::network::{Network, State};
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::{ROI_CHANNEL_COUNT, ROI_EDGE, ROI_VOXELS};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Channels of a frame that the scans alone make: T1c and FLAIR come first.
const SCANS: usize = 2;
/// Frames that are run before the first counts: burn compiles its kernels in the first.
const WARM_UP: usize = 3;

/// A network on a GPU.
#[derive(Debug)]
pub struct CudaNetworked {
    network: Network<Cuda>,
    device: CudaDevice,
    health: Health,
    transfer: Transfer,
    /// The frame on the GPU, and where it is there.
    input: (Tensor<Cuda, 5>, u64),
    state: Option<State<Cuda>>,
    epoch: Option<u64>,
    shares: Vec<f32>,
    digest: Digest,
}

impl CudaNetworked {
    /// The model on the GPU, its kernels compiled.
    ///
    /// # Errors
    /// [`Unfit`]; when the GPU fails.
    pub fn new(gpu: &Gpu, model: &Model) -> Result<Self, Unfit> {
        let Shape { inputs, outputs, .. } = model.shape;
        if (inputs, outputs) != (ROI_CHANNEL_COUNT, OUTPUTS) {
            return Err(Unfit::Shape { inputs, outputs });
        }
        let mut digester = Digester::new("bregma networked on cuda 1");
        let digest = digester.digest(&model.digest()).finish();
        let transfer = Transfer::new(gpu, ROI_CHANNEL_COUNT * ROI_VOXELS).map_err(EngineError::from)?;
        let device = CudaDevice::default();
        let made = on_device(|| {
            let dims = [1, ROI_CHANNEL_COUNT, ROI_EDGE, ROI_EDGE, ROI_EDGE];
            let input = located(Tensor::zeros(dims, &device))?;
            Ok((Network::from_model(model, &device), input))
        });
        let (network, input) = made.map_err(EngineError::from)?;
        let mut started = Self {
            network: network?,
            device,
            health: gpu.health().clone(),
            transfer,
            input,
            state: None,
            epoch: None,
            shares: vec![0.0; ROI_VOXELS],
            digest,
        };
        let frame = vec![0.5; ROI_CHANNEL_COUNT * ROI_VOXELS];
        for _ in 0..WARM_UP {
            started.shares(&frame, 0).map_err(EngineError::from)?;
        }
        started.epoch = None;
        Ok(started)
    }

    /// σ(logit) of every voxel, in [0, 1].
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn shares(&mut self, channels: &[f32], epoch: u64) -> Result<&[f32], DeviceError> {
        assert_eq!(channels.len(), ROI_CHANNEL_COUNT * ROI_VOXELS, "all channels of a frame");
        let anew = self.epoch != Some(epoch);
        if anew {
            (self.state, self.epoch) = (None, Some(epoch));
        }
        let skipped = if anew { 0 } else { SCANS * ROI_VOXELS };
        let to = self.input.1 + (size_of::<f32>() * skipped) as u64;
        // SAFETY: the tensor has a float for each of the frame's numbers, and what read it has ended with the last
        // frame's answer.
        unsafe { self.transfer.send(&channels[skipped..], to)? };
        let (network, device) = (&self.network, &self.device);
        let (input, state) = (self.input.0.clone(), self.state.take());
        let forward = on_device(|| {
            let (logits, state) = network.forward(input, state);
            let (shares, at) = located(sigmoid(logits))?;
            <Cuda>::sync(device).map_err(|why| format!("{why:?}"))?;
            Ok((shares, at, state))
        });
        let (shares, from, state) = forward.map_err(|why| self.health.fails(why))?;
        self.state = Some(state);
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
        let shares = self.shares(channels, view.frame.epoch)?;
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
