//! Kernels of ours on burn's CUDA backend, as tasks in burn's own stream: layers, norms and the gradients of both.
//!
//! burn compiles and launches tasks from its own description of kernels; here that description is of an empty kernel,
//! and its text is exchanged for ours. A kernel's arguments are the buffers, in order. Activations look as everywhere, `[N, C,
//! D, H, W]`, and lie in memory with their channels last.

mod layers;
mod norms;

use crate::gpu::KERNELS;
use crate::network::api::{Cuda, Tensor, TensorPrimitive};
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::{Handle, KernelArguments};
use burn_cubecl::cubecl::zspace::metadata::Metadata;
use burn_cubecl::cubecl::{CompilationError, CubeTask, KernelSettings};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
pub use layers::{pass, weight_gradient};
pub use norms::{norm, norm_gradients};

type Compiler = <CudaRuntime as Runtime>::Compiler;
type Options = <Compiler as burn_cubecl::cubecl::Compiler>::CompilationOptions;
pub(super) type Activation = CubeTensor<CudaRuntime>;

/// Threads of a block.
const THREADS: u32 = 256;

/// A kernel of `kernels.cu`, by its name.
struct Task(&'static str);

impl KernelMetadata for Task {
    fn id(&self) -> KernelId {
        KernelId::new::<Self>().cube_dim(CubeDim::new_1d(THREADS)).info(self.0)
    }

    fn address_type(&self) -> StorageType {
        AddressType::U32.unsigned_type()
    }
}

impl CubeTask<Compiler> for Task {
    fn compile(
        &self,
        compiler: &mut Compiler,
        options: &Options,
        mode: ExecutionMode,
        address_type: StorageType,
    ) -> Result<CompiledKernel<Compiler>, CompilationError> {
        use burn_cubecl::cubecl::Compiler as _;
        let cube_dim = CubeDim::new_1d(THREADS);
        let empty = KernelBuilder::new().build(KernelSettings::default().cube_dim(cube_dim).kernel_name(self.0));
        Ok(CompiledKernel {
            entrypoint_name: self.0.to_owned(),
            debug_name: Some(self.0),
            source: KERNELS.to_owned(),
            repr: Some(compiler.compile(empty, options, mode, address_type)?),
            cube_dim,
            debug_info: None,
        })
    }
}

/// Launches a kernel whose last argument is `what`, words that it reads; `like` is a tensor of the device's.
fn launch(name: &'static str, threads: usize, like: &Activation, buffers: Vec<Handle>, what: &[i32]) {
    let words: Vec<u8> = what.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let what = like.client.create_from_slice(&words);
    let buffers = buffers.into_iter().chain([what]).map(Handle::binding).collect();
    let blocks = (threads as u32).div_ceil(THREADS);
    let arguments = KernelArguments::new().with_buffers(buffers);
    like.client.launch(Box::new(Task(name)), CubeCount::Static(blocks, 1, 1), arguments);
}

/// Room for a tensor of these dimensions, which lie as `strides` say without gaps; nothing is in it yet.
fn room<const D: usize>(like: &Activation, dims: [usize; D], strides: [usize; D]) -> Activation {
    let y = like.client.empty(dims.iter().product::<usize>() * size_of::<f32>());
    CubeTensor::new(like.client.clone(), y, Metadata::new(dims, strides), like.device.clone(), like.dtype)
}

/// Where a tensor's numbers lie on the GPU, without gaps, in the order of its dimensions; and the tensor, which keeps
/// them there. What was to be computed for it may still be under way.
///
/// # Errors
/// In words, when the GPU has failed.
pub fn located(tensor: Tensor<Cuda, 5>) -> Result<(Tensor<Cuda, 5>, u64), String> {
    let whole = into_contiguous(tensor.into_primitive().tensor());
    let resource = whole.client.get_resource(whole.handle.clone()).map_err(|why| format!("{why:?}"))?;
    let at = resource.resource().ptr;
    Ok((Tensor::from_primitive(TensorPrimitive::Float(whole)), at))
}

/// Strides of `[N, C, D, H, W]` without gaps.
fn dense([_, c, d, h, w]: [usize; 5], channels_last: bool) -> [usize; 5] {
    if channels_last { [d * h * w * c, 1, h * w * c, w * c, c] } else { [c * d * h * w, d * h * w, h * w, w, 1] }
}

/// The dimensions of an activation.
fn dims(x: &Activation) -> [usize; 5] {
    std::array::from_fn(|a| x.meta.shape()[a])
}

/// The numbers of an activation, its channels last; copied where they lie otherwise.
fn channels_last(x: Activation) -> Handle {
    into_contiguous(burn_cubecl::ops::permute(x, &[0, 2, 3, 4, 1])).handle
}
