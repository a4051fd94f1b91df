//! The norm on burn's CUDA backend: the kernel `norm_activation` of ours, as one task in burn's own stream, where burn's
//! own operations would read and write the activation once for each of difference, product, sum, what is added, and
//! ReLU.
//!
//! burn compiles and launches tasks from its own description of kernels; here that description is of an empty kernel,
//! and its text is exchanged for ours. The kernel's arguments are the buffers, in order.

use super::Normalising;
use crate::gpu::{KERNELS, Normed, Strides};
use crate::network::api::{Cuda, Tensor, TensorPrimitive};
use burn_cubecl::cubecl::cuda::CudaRuntime;
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::cubecl::server::KernelArguments;
use burn_cubecl::cubecl::zspace::metadata::Metadata;
use burn_cubecl::cubecl::{CompilationError, CubeTask, KernelSettings};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

type Compiler = <CudaRuntime as Runtime>::Compiler;
type Options = <Compiler as burn_cubecl::cubecl::Compiler>::CompilationOptions;
type Activation = CubeTensor<CudaRuntime>;

const NAME: &str = "norm_activation";
/// Threads of a block.
const THREADS: u32 = 256;

/// The kernel as a task.
struct NormActivation;

impl KernelMetadata for NormActivation {
    fn id(&self) -> KernelId {
        KernelId::new::<Self>().cube_dim(CubeDim::new_1d(THREADS))
    }

    fn address_type(&self) -> StorageType {
        AddressType::U32.unsigned_type()
    }
}

impl CubeTask<Compiler> for NormActivation {
    fn compile(
        &self,
        compiler: &mut Compiler,
        options: &Options,
        mode: ExecutionMode,
        address_type: StorageType,
    ) -> Result<CompiledKernel<Compiler>, CompilationError> {
        use burn_cubecl::cubecl::Compiler as _;
        let cube_dim = CubeDim::new_1d(THREADS);
        let empty = KernelBuilder::new().build(KernelSettings::default().cube_dim(cube_dim).kernel_name(NAME));
        Ok(CompiledKernel {
            entrypoint_name: NAME.to_owned(),
            debug_name: Some(NAME),
            source: KERNELS.to_owned(),
            repr: Some(compiler.compile(empty, options, mode, address_type)?),
            cube_dim,
            debug_info: None,
        })
    }
}

/// `norm(x) + add`, then a ReLU if wanted. The output lies in memory as `x` does, without gaps.
pub fn norm(x: Activation, by: Normalising<Activation>, add: Option<Activation>, rectified: bool) -> Activation {
    let of = |what: &[usize]| -> [i32; 5] { std::array::from_fn(|a| what[a] as i32) };
    let dims: [usize; 5] = std::array::from_fn(|a| x.meta.shape()[a]);
    let numbers = dims.iter().product::<usize>();
    assert!(numbers < i32::MAX as usize, "the kernel counts in 32 bits: {dims:?}");
    let channels_last = dims[1] > 1 && x.meta.strides()[1] == 1;
    let normed = Normed {
        dims: dims.map(|n| n as i32),
        channels_last: i32::from(channels_last),
        added: i32::from(add.is_some()),
        rectified: i32::from(rectified),
        x: Strides(of(x.meta.strides())),
        add: Strides(of(add.as_ref().unwrap_or(&x).meta.strides())),
    };
    let words: Vec<u8> = normed.words().iter().flat_map(|word| word.to_ne_bytes()).collect();
    let client = x.client.clone();
    let (what, y) = (client.create_from_slice(&words), client.empty(numbers * size_of::<f32>()));
    let [mean, variance, gamma, beta] = by.map(|t| into_contiguous(t).handle.binding());
    let added = add.unwrap_or_else(|| x.clone()).handle.binding();
    let buffers =
        vec![x.handle.clone().binding(), mean, variance, gamma, beta, added, y.clone().binding(), what.binding()];
    let blocks = (numbers as u32).div_ceil(THREADS);
    client.launch(
        Box::new(NormActivation),
        CubeCount::Static(blocks, 1, 1),
        KernelArguments::new().with_buffers(buffers),
    );
    let metadata = Metadata::new(dims, dense(dims, channels_last));
    CubeTensor::new(client, y, metadata, x.device, x.dtype)
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
