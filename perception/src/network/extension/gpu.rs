//! Backends of burn on GPUs: burn's own operations, by the default methods.

use super::VoxelBackend;

#[cfg(feature = "cuda")]
impl VoxelBackend for burn::backend::Cuda {}

#[cfg(feature = "wgpu")]
impl VoxelBackend for burn::backend::Wgpu {}
