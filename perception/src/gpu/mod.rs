//! Kernels of our own for CUDA: the region's assembly, the distance transform, norm and activation.
//!
//! ```text
//!  kernels.cu ──NVRTC──► a GPU     [`cuda`], feature `cuda`: Assembly for align, Distances for perceive
//!             └──C++───► the processor, in the tests: the same source against each kernel's Rust twin
//! ```
//! What the kernels read beside arrays is in structs with C's layout: [`Normed`], [`Resampled`], [`Sighting`].
//! **Not protected against:** a GPU that computes wrongly. One that fails is left for the processor.

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(test)]
mod tests;

use crate::align::evidence::{CELL_PX, Look, Seen};
use crate::scan::Scan;
use bregma_core::flow::{Light, ROI_EDGE};
use bregma_core::grid::Grid;
use nalgebra::Matrix4;

/// The kernels' source.
pub const KERNELS: &str = include_str!("kernels.cu");
/// What its compiler is told beside the architecture: no contraction to fused operations, so that results are those of
/// the Rust twins.
pub const UNFUSED: &str = "--fmad=false";

/// A GPU failed. What it was to compute was not computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the GPU failed: {0}; the processor takes over")]
pub struct DeviceError(pub String);

/// There is no GPU to compute on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no GPU is used: {0}")]
pub struct NoGpu(pub String);

impl From<DeviceError> for NoGpu {
    fn from(why: DeviceError) -> Self {
        Self(why.0)
    }
}

/// Where the numbers of an activation `[N, C, D, H, W]` are, in floats.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides(pub [i32; 5]);

/// What `norm_activation` is of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Normed {
    /// `[N, C, D, H, W]`.
    pub dims: [i32; 5],
    /// Whether the output, which is dense, has its channels last in memory.
    pub channels_last: i32,
    /// Whether something is added before the ReLU.
    pub added: i32,
    /// Whether a ReLU follows.
    pub rectified: i32,
    /// Of the input.
    pub x: Strides,
    /// Of what is added.
    pub add: Strides,
}

impl Normed {
    /// As words of memory, as the kernel reads them.
    #[must_use]
    pub fn words(&self) -> [i32; 18] {
        let mut words = [0; 18];
        words[..5].copy_from_slice(&self.dims);
        words[5..8].copy_from_slice(&[self.channels_last, self.added, self.rectified]);
        words[8..13].copy_from_slice(&self.x.0);
        words[13..].copy_from_slice(&self.add.0);
        words
    }
}

/// A scan and the region that `resample` brings it onto.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampled {
    voxel_from_patient: [f64; 12],
    origin: [f64; 3],
    spacing: f64,
    scan: [i32; 3],
    region: [i32; 3],
    background: f32,
    reach: f32,
    mean: f32,
    deviation: f32,
}

impl Resampled {
    /// Of this scan onto this grid.
    #[must_use]
    pub fn new(scan: &Scan, grid: &Grid) -> Self {
        let statistics = scan.statistics;
        Self {
            voxel_from_patient: rows(scan.voxel_from_patient()),
            origin: grid.origin,
            spacing: grid.spacing_mm,
            scan: scan.volume().dims.map(|n| n as i32),
            region: grid.dims.map(|n| n as i32),
            background: statistics.background,
            reach: statistics.reach,
            mean: statistics.mean,
            deviation: statistics.deviation,
        }
    }
}

/// A picture and the wall that `project` and `look` bring together.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    camera_from_patient: [f64; 12],
    eye: [f64; 3],
    focal: [f64; 2],
    centre: [f64; 2],
    origin: [f64; 3],
    spacing: f64,
    tolerance: f64,
    shaft_start: [f64; 3],
    shaft_end: [f64; 3],
    shaft_radius: f64,
    has_shaft: i32,
    size: [i32; 2],
    cells: [i32; 2],
    region: [i32; 3],
    count: i32,
    half_voxel: f32,
    share_none: f32,
    share_full: f32,
    brightness_min: f32,
    brightness_max: f32,
}

impl Sighting {
    /// Of a look at `count` voxels of wall.
    #[must_use]
    pub fn new(look: &Look<'_>, count: usize) -> Self {
        let (camera, grid, red) = (look.camera, look.grid, look.red);
        let shaft = look.shaft.copied();
        let ends = shaft.map_or([[0.0; 3]; 2], |s| [s.start.coords.into(), s.end.coords.into()]);
        Self {
            camera_from_patient: rows(&camera.patient_from_camera.isometry().inverse().to_homogeneous()),
            eye: camera.patient_from_camera.position().coordinates().coords.into(),
            focal: camera.focal_px,
            centre: camera.centre_px,
            origin: grid.origin,
            spacing: grid.spacing_mm,
            tolerance: look.depth_tolerance_mm,
            shaft_start: ends[0],
            shaft_end: ends[1],
            shaft_radius: shaft.map_or(0.0, |s| s.radius_mm),
            has_shaft: i32::from(shaft.is_some()),
            size: camera.size_px.map(|n| n as i32),
            cells: camera.size_px.map(|n| n.div_ceil(CELL_PX).max(1) as i32),
            region: grid.dims.map(|n| n as i32),
            count: count as i32,
            half_voxel: look.half_voxel_px(),
            share_none: red.share_none,
            share_full: red.share_full,
            brightness_min: red.brightness_min,
            brightness_max: red.brightness_max,
        }
    }

    /// Cells of depth, in all.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells.iter().map(|n| *n as usize).product()
    }
}

/// What `look` wrote of a voxel that was seen under a light.
#[must_use]
pub fn told(answer: f32, light: Light) -> Option<Seen> {
    (answer >= 0.0).then_some(Seen::under(light, answer))
}

/// The three upper rows of a transform, row by row.
fn rows(m: &Matrix4<f64>) -> [f64; 12] {
    std::array::from_fn(|i| m[(i / 4, i % 4)])
}

const _: () = assert!(ROI_EDGE.pow(3) < i32::MAX as usize, "the kernels count in 32 bits");
