//! Kernels of our own for CUDA: the region's assembly, the distance transform, and the network's layers and norms with their gradients.
//!
//! ```text
//!  kernels.cu ──NVRTC──► a GPU     [`cuda`], feature `cuda`: Assembly for align, Distances for perceive;
//!             │                       `network::extension`: layers and norms in burn's own stream
//!             └──C++───► the processor, in the tests: the same source against each kernel's Rust twin
//! ```
//! What the kernels read beside arrays is in structs with C's layout: [`Normed`], [`LayerDims`], [`NormDims`], [`Resampled`], [`Sighting`].
//! **Not protected against:** a GPU that computes wrongly. One that fails is left for the processor.

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(test)]
mod tests;

use crate::align::evidence::{CELL_PX, Look, Seen};
use crate::model::Kind;
use crate::network::api::{Backend, Tensor};
use crate::network::extension::NormHow;
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

/// Which way through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// From its input to its output.
    Forward,
    /// From its output's gradient to its input's.
    Input,
    /// From its input and its output's gradient to its weights' gradient.
    Weight,
}

/// What the kernels of the network's layers are of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerDims {
    volumes: i32,
    from: [i32; 3],
    to: [i32; 3],
    reads: i32,
    writes: i32,
    wide: i32,
    biased: i32,
    chunks: i32,
    rows: i32,
}

/// One of those kernels, and what it is called with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerCall {
    /// The kernel.
    pub name: &'static str,
    /// Threads that have something to do.
    pub threads: usize,
    /// What it is of.
    pub dims: LayerDims,
}

/// Threads that a kernel which sums over voxels has at least, where there is work for so many.
const SUMMING: usize = 1 << 17;

impl LayerCall {
    /// Of a layer whose input is `x` and whose output `y`, both `[N, C, D, H, W]`.
    ///
    /// # Panics
    /// With more numbers than the kernels count.
    #[must_use]
    pub fn new(kind: Kind, pass: Pass, x: [usize; 5], y: [usize; 5], biased: bool) -> Self {
        for dims in [x, y] {
            assert!(dims.iter().product::<usize>() < i32::MAX as usize, "the kernels count in 32 bits: {dims:?}");
        }
        let (name, from, to) = match (kind, pass) {
            (Kind::Conv3, Pass::Forward) => ("layer_conv3", x, y),
            (Kind::Down3, Pass::Forward) => ("layer_down3", x, y),
            (Kind::Conv1, Pass::Forward) => ("layer_conv1", x, y),
            (Kind::Up2, Pass::Forward) => ("layer_up2", x, y),
            (Kind::Conv3, Pass::Input) => ("layer_conv3", y, x),
            (Kind::Down3, Pass::Input) => ("layer_up3", y, x),
            (Kind::Conv1, Pass::Input) => ("layer_conv1", y, x),
            (Kind::Up2, Pass::Input) => ("layer_down2", y, x),
            (Kind::Conv3, Pass::Weight) => ("weight_conv3", x, y),
            (Kind::Down3, Pass::Weight) => ("weight_down3", x, y),
            (Kind::Conv1, Pass::Weight) => ("weight_conv1", x, y),
            (Kind::Up2, Pass::Weight) => ("weight_up2", y, x),
        };
        let edges = |dims: [usize; 5]| [dims[2], dims[3], dims[4]].map(|n| n as i32);
        let wide = to[1].next_multiple_of(4);
        let lines = to[0] * to[2] * to[3];
        let (mut chunks, mut rows) = (0, 0);
        let threads = match pass {
            Pass::Weight => {
                let each = from[1] * wide / 4;
                rows = lines.div_ceil(SUMMING.div_ceil(each)).max(1);
                chunks = lines.div_ceil(rows);
                each * chunks
            }
            _ if name.starts_with("layer_up") => wide / 4 * lines * to[4],
            _ => wide / 4 * lines * to[4].div_ceil(4),
        };
        let [reads, writes, wide, chunks, rows] = [from[1], to[1], wide, chunks, rows].map(|n| n as i32);
        let (volumes, biased) = (to[0] as i32, i32::from(biased));
        let dims = LayerDims { volumes, from: edges(from), to: edges(to), reads, writes, wide, biased, chunks, rows };
        Self { name, threads, dims }
    }

    /// Sums that a weight's gradient is made of.
    #[must_use]
    pub const fn chunks(&self) -> usize {
        self.dims.chunks as usize
    }
}

impl LayerDims {
    /// As words of memory, as the kernels read them.
    #[must_use]
    pub fn words(&self) -> [i32; 13] {
        let Self { volumes, from, to, reads, writes, wide, biased, chunks, rows } = *self;
        let [[a, b, c], [d, e, f]] = [from, to];
        [volumes, a, b, c, d, e, f, reads, writes, wide, biased, chunks, rows]
    }
}

/// A layer's weights as its kernels read them: `[taps, channels read, channels written]`, the last filled up to a multiple of 4 with
/// zeros. For the gradient of the input of a layer that is padded, its taps lie the other way round.
#[must_use]
pub fn arranged<B: Backend>(kind: Kind, pass: Pass, weight: Tensor<B, 5>) -> Tensor<B, 3> {
    let [a, b, k, ..] = weight.dims();
    let flat = weight.reshape([a, b, k * k * k]);
    let flat = if kind == Kind::Conv3 && pass == Pass::Input { flat.flip([2]) } else { flat };
    // The first are the layer's outputs, but of `Up2` its inputs.
    let first_written = (kind != Kind::Up2) == (pass == Pass::Forward);
    let laid = flat.permute(if first_written { [2, 1, 0] } else { [2, 0, 1] });
    let [taps, reads, writes] = laid.dims();
    let room = writes.next_multiple_of(4) - writes;
    if room == 0 {
        return laid;
    }
    let none = Tensor::zeros([taps, reads, room], &laid.device());
    Tensor::cat(vec![laid, none], 2)
}

/// What the kernels of the norm's gradients are of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormDims {
    /// Voxels of all volumes.
    pub voxels: i32,
    /// C.
    pub channels: i32,
    /// Sums for each channel.
    pub chunks: i32,
    /// Voxels that each is over.
    pub chunk: i32,
    /// Whether a ReLU followed.
    pub rectified: i32,
    /// Whether the statistics were those of the input.
    pub from_batch: i32,
}

impl NormDims {
    /// Of `[N, C, D, H, W]`.
    #[must_use]
    pub fn new(x: [usize; 5], how: NormHow) -> Self {
        let channels = x[1];
        let voxels = x.iter().product::<usize>() / channels.max(1);
        assert!(voxels * channels < i32::MAX as usize, "the kernels count in 32 bits: {x:?}");
        let chunk = voxels.div_ceil(SUMMING.div_ceil(channels.max(1))).max(1);
        let [chunks, chunk, voxels, channels] = [voxels.div_ceil(chunk), chunk, voxels, channels].map(|n| n as i32);
        let [rectified, from_batch] = [how.rectified, how.from_batch].map(i32::from);
        Self { voxels, channels, chunks, chunk, rectified, from_batch }
    }

    /// As words of memory, as the kernels read them.
    #[must_use]
    pub const fn words(&self) -> [i32; 6] {
        [self.voxels, self.channels, self.chunks, self.chunk, self.rectified, self.from_batch]
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
