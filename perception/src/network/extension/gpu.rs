//! Backends of burn on GPUs: burn's own operations, by the default methods, but for the norm on CUDA.

use super::VoxelBackend;

#[cfg(feature = "cuda")]
impl VoxelBackend for burn::backend::Cuda {
    fn voxel_norm(
        x: super::FloatTensor<Self>,
        by: super::Normalising<super::FloatTensor<Self>>,
        add: Option<super::FloatTensor<Self>>,
        how: super::NormHow,
    ) -> super::FloatTensor<Self> {
        super::cuda::norm(x, by, add, how.rectified)
    }
}

#[cfg(feature = "wgpu")]
impl VoxelBackend for burn::backend::Wgpu {}
