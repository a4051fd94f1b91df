//! What this crate takes from burn above the level of its graph: one place to look at when burn changes.
//!
//! Below that level there are `extension/autodiff.rs` (steps of the graph) and `extension/flex.rs` (storage of
//! tensors), each alone with what it uses.

#[cfg(feature = "wgpu")]
pub use burn::backend::Wgpu;
pub use burn::backend::{Autodiff, Flex};
#[cfg(feature = "cuda")]
pub use burn::backend::{Cuda, cuda::CudaDevice};
pub use burn::grad_clipping::GradientClippingConfig;
pub use burn::lr_scheduler;
pub use burn::module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, RunningState};
pub use burn::optim::adaptor::OptimizerAdaptor;
pub use burn::optim::{AdamW, AdamWConfig, GradientsAccumulator, GradientsParams, Optimizer};
pub use burn::record::{BinBytesRecorder, FullPrecisionSettings, Record, Recorder, RecorderError};
pub use burn::tensor::activation::{relu, sigmoid};
pub use burn::tensor::backend::{AutodiffBackend, Backend};
pub use burn::tensor::ops::FloatTensor;
pub use burn::tensor::{Tensor, TensorData, TensorPrimitive};

use crate::model::Kind;
use burn::tensor::module;
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

/// A tensor of these numbers; there are as many as the dimensions say.
pub fn tensor<B: Backend, const D: usize>(values: Vec<f32>, dims: [usize; D], device: &B::Device) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// A tensor's numbers, the last dimension fastest, in f32 whatever the backend's own precision is.
pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().into_vec().expect("converted to f32 just now")
}

/// The dimensions of a layer's weights as burn wants them; numbers lie as [`Kind`] says.
pub const fn weight_dims(kind: Kind, inputs: usize, outputs: usize) -> [usize; 5] {
    match kind {
        Kind::Conv3 | Kind::Down3 => [outputs, inputs, 3, 3, 3],
        Kind::Conv1 => [outputs, inputs, 1, 1, 1],
        Kind::Up2 => [inputs, outputs, 2, 2, 2],
    }
}

/// A plain convolution's options; `Up2` has those of [`up`].
pub fn conv_options(kind: Kind) -> ConvOptions<3> {
    let (stride, padding) = match kind {
        Kind::Conv3 => (1, 1),
        Kind::Down3 => (2, 1),
        Kind::Conv1 => (1, 0),
        Kind::Up2 => unreachable!("a transposed convolution has options of its own"),
    };
    ConvOptions::new([stride; 3], [padding; 3], [1; 3], 1)
}

/// The options of `Up2`.
pub fn up_options() -> ConvTransposeOptions<3> {
    ConvTransposeOptions::new([2; 3], [0; 3], [0; 3], [1; 3], 1)
}

/// A layer by burn's own operations: `x` is `[N, in, D, H, W]`, `bias` `[out]`.
pub fn conv<B: Backend>(kind: Kind, x: Tensor<B, 5>, weight: Tensor<B, 5>, bias: Option<Tensor<B, 1>>) -> Tensor<B, 5> {
    match kind {
        Kind::Up2 => module::conv_transpose3d(x, weight, bias, up_options()),
        _ => module::conv3d(x, weight, bias, conv_options(kind)),
    }
}
