//! The kernels on a GPU of NVIDIA's, by cudarc: compiled when the device is opened, run on streams of their own.
//!
//! **Transfers:** what a call needs goes to the GPU and comes back within it, so that the processor can go on with the
//! next call where the GPU fails. **Allocation:** in [`Gpu::open`] and the constructors; a resampled scan's memory on
//! the GPU lasts as long as the call. **Blocking:** a call waits for the GPU; one that hangs is not noticed here.
#![expect(unsafe_code, reason = "kernels are launched with arguments whose number and types nobody but us can check")]

use super::{DeviceError, KERNELS, NoGpu, Resampled, Sighting, UNFUSED};
use crate::align::assembly::Assembly;
use crate::align::evidence::{Look, Seen, Sight};
use crate::bits::VoxelBits;
use crate::distance::Distances;
use crate::network::device::{Choice, Runs, Wish, choose};
use crate::scan::Scan;
use bregma_core::flow::ROI_VOXELS;
use bregma_core::grid::Grid;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr, DriverError, LaunchConfig,
    PinnedHostSlice, PushKernelArg, result,
};
use cudarc::nvrtc::{CompileError, CompileOptions, compile_ptx_with_opts};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Threads of a block.
const THREADS: u32 = 256;

// SAFETY: both have C's layout, as the kernels declare them, and hold numbers alone.
unsafe impl DeviceRepr for Resampled {}
// SAFETY: the same.
unsafe impl DeviceRepr for Sighting {}

/// A GPU with our kernels on it.
#[derive(Debug, Clone)]
pub struct Gpu {
    context: Arc<CudaContext>,
    kernels: Arc<CudaModule>,
    health: Health,
}

/// Whether a GPU has failed, for all who compute on it: one failure is the last.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<AtomicBool>);

impl Health {
    /// Whether it has failed.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// It fails: nobody calls it any more.
    pub fn fails(&self, why: DeviceError) -> DeviceError {
        self.0.store(true, Ordering::Relaxed);
        why
    }

    fn watch<T>(&self, done: Result<T, DriverError>) -> Result<T, DeviceError> {
        done.map_err(|why| self.fails(refused(why)))
    }
}

fn refused(why: DriverError) -> DeviceError {
    DeviceError(format!("the driver says {:?}", why.0))
}

impl Gpu {
    /// The first GPU, and our kernels compiled for it.
    ///
    /// # Errors
    /// In words, when there is none, or it takes no kernels.
    pub fn open() -> Result<Self, NoGpu> {
        let Choice { runs, why } = choose(Wish::Cuda);
        if runs != Runs::Cuda {
            return Err(NoGpu(why));
        }
        let context = CudaContext::new(0).map_err(refused)?;
        let (major, minor) = context.compute_capability().map_err(refused)?;
        // `arch` of the options wants a name that lives as long as the program.
        let options = vec![format!("--gpu-architecture=compute_{major}{minor}"), UNFUSED.into()];
        let compiled = compile_ptx_with_opts(KERNELS, CompileOptions { options, ..CompileOptions::default() });
        let compiled = compiled.map_err(|why| {
            DeviceError(match why {
                CompileError::CompileError { log, .. } => format!("NVRTC says {}", log.to_string_lossy().trim_end()),
                other => format!("NVRTC says {other}"),
            })
        })?;
        let kernels = context.load_module(compiled).map_err(refused)?;
        Ok(Self { context, kernels, health: Health::default() })
    }

    /// Whether it has failed, and to say so.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Its name.
    ///
    /// # Errors
    /// When the driver does not say.
    pub fn name(&self) -> Result<String, DeviceError> {
        self.context.name().map_err(refused)
    }

    fn kernel(&self, name: &str) -> Result<CudaFunction, DeviceError> {
        self.kernels.load_function(name).map_err(refused)
    }

    fn stream(&self) -> Result<Arc<CudaStream>, DeviceError> {
        self.context.new_stream().map_err(refused)
    }
}

/// One thread for each of `count` results.
fn over(count: usize) -> LaunchConfig {
    let blocks = (count as u32).div_ceil(THREADS).max(1);
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// Numbers on their way between us and tensors of burn's on the same GPU, by pages that stay where they are: fresh memory
/// for each frame costs its pages anew, and tens of milliseconds in one frame of a hundred.
#[derive(Debug)]
pub struct Transfer {
    stream: Arc<CudaStream>,
    health: Health,
    pages: PinnedHostSlice<f32>,
}

impl Transfer {
    /// For at most `most` numbers at once.
    ///
    /// # Errors
    /// When the system has not the memory.
    pub fn new(gpu: &Gpu, most: usize) -> Result<Self, DeviceError> {
        // SAFETY: what is in it is written before it is read.
        let pages = unsafe { gpu.context.alloc_pinned_with_flags(most, 0) }.map_err(refused)?;
        Ok(Self { stream: gpu.stream()?, health: gpu.health.clone(), pages })
    }

    /// Writes numbers to the GPU, and waits until they are there.
    ///
    /// # Errors
    /// When the GPU fails.
    ///
    /// # Safety
    /// `to` is where as many floats lie on the GPU, and nothing there reads or writes them meanwhile.
    pub unsafe fn send(&mut self, values: &[f32], to: u64) -> Result<(), DeviceError> {
        let mut send = || {
            let pages = &mut self.pages.as_mut_slice()?[..values.len()];
            pages.copy_from_slice(values);
            self.stream.context().bind_to_thread()?;
            // SAFETY: the caller's; the pages live longer than the copy, which is waited for.
            unsafe { result::memcpy_htod_async(to, pages, self.stream.cu_stream())? };
            self.stream.synchronize()
        };
        let done = send();
        self.health.watch(done)
    }

    /// Reads numbers from the GPU.
    ///
    /// # Errors
    /// When the GPU fails; `values` then says nothing.
    ///
    /// # Safety
    /// `from` is where as many floats lie on the GPU, and nothing there writes them meanwhile.
    pub unsafe fn fetch(&mut self, from: u64, values: &mut [f32]) -> Result<(), DeviceError> {
        let mut fetch = || {
            let pages = &mut self.pages.as_mut_slice()?[..values.len()];
            self.stream.context().bind_to_thread()?;
            // SAFETY: the caller's; the pages live longer than the copy, which is waited for.
            unsafe { result::memcpy_dtoh_async(pages, from, self.stream.cu_stream())? };
            self.stream.synchronize()?;
            values.copy_from_slice(pages);
            Ok(())
        };
        let done = fetch();
        self.health.watch(done)
    }
}

/// The distance transform on a GPU, for grids of one size.
#[derive(Debug)]
pub struct GpuDistances {
    dims: [usize; 3],
    stream: Arc<CudaStream>,
    along: CudaFunction,
    across: CudaFunction,
    inside: CudaSlice<u8>,
    fields: [CudaSlice<i32>; 2],
    health: Health,
}

impl GpuDistances {
    /// For grids of `dims = [nx, ny, nz]` voxels.
    ///
    /// # Errors
    /// When the GPU has not the memory.
    pub fn new(gpu: &Gpu, dims: [usize; 3]) -> Result<Self, DeviceError> {
        let (stream, voxels) = (gpu.stream()?, dims.iter().product());
        let fields = [stream.alloc_zeros(voxels).map_err(refused)?, stream.alloc_zeros(voxels).map_err(refused)?];
        let inside = stream.alloc_zeros(voxels).map_err(refused)?;
        let (along, across) = (gpu.kernel("distance_along")?, gpu.kernel("distance_across")?);
        Ok(Self { dims, stream, along, across, inside, fields, health: gpu.health.clone() })
    }

    fn compute(&mut self, inside: &[u8], out: &mut [i32]) -> Result<(), DriverError> {
        let [nx, ny, nz] = self.dims;
        let voxels = nx * ny * nz;
        assert!(inside.len() == voxels && out.len() == voxels, "one value a voxel");
        let [x, y, z, all] = [nx, ny, nz, voxels].map(|n| n as i32);
        let (plane, [a, b]) = (x * y, &mut self.fields);
        self.stream.memcpy_htod(inside, &mut self.inside)?;
        // SAFETY: the arguments are those of the kernels, and the arrays have a value for every voxel.
        unsafe {
            let mut along = self.stream.launch_builder(&self.along);
            along.arg(&self.inside).arg(&mut *a).arg(&x).arg(&all).launch(over(voxels))?;
            let mut across = self.stream.launch_builder(&self.across);
            across.arg(&*a).arg(&mut *b).arg(&y).arg(&x).arg(&all).arg(&0_i32).launch(over(voxels))?;
            let mut across = self.stream.launch_builder(&self.across);
            across.arg(&*b).arg(&mut *a).arg(&z).arg(&plane).arg(&all).arg(&1_i32).launch(over(voxels))?;
        }
        self.stream.memcpy_dtoh(&*a, out)?;
        self.stream.synchronize()
    }
}

impl Distances for GpuDistances {
    fn lost(&self) -> bool {
        self.health.lost()
    }

    fn signed(&mut self, inside: &[u8], out: &mut [i32]) -> Result<(), DeviceError> {
        let done = self.compute(inside, out);
        self.health.watch(done)
    }
}

/// The region's assembly on a GPU.
#[derive(Debug)]
pub struct GpuAssembly {
    stream: Arc<CudaStream>,
    health: Health,
    resample: CudaFunction,
    clear: CudaFunction,
    project: CudaFunction,
    look: CudaFunction,
    z: CudaSlice<f32>,
    brain: CudaSlice<u8>,
    rgb: CudaSlice<u8>,
    nearest: CudaSlice<u32>,
    wall: CudaSlice<u32>,
    projected: CudaSlice<f32>,
    seen: CudaSlice<f32>,
    indices: Vec<u32>,
    answers: Vec<f32>,
    bytes: Vec<u8>,
    /// Looks where tissue has moved: the kernels know a grid of voxels that stand in line.
    moved: Sight,
}

impl GpuAssembly {
    /// For pictures of this size.
    ///
    /// # Errors
    /// When the GPU has not the memory.
    pub fn new(gpu: &Gpu, size_px: [usize; 2]) -> Result<Self, DeviceError> {
        let (stream, pixels) = (gpu.stream()?, (size_px[0] * size_px[1]).max(1));
        let bytes = |count| stream.alloc_zeros::<u8>(count).map_err(refused);
        let whole = |count| stream.alloc_zeros::<u32>(count).map_err(refused);
        let floats = |count| stream.alloc_zeros::<f32>(count).map_err(refused);
        Ok(Self {
            resample: gpu.kernel("resample")?,
            clear: gpu.kernel("clear_depth")?,
            project: gpu.kernel("project")?,
            look: gpu.kernel("look")?,
            z: floats(ROI_VOXELS)?,
            brain: bytes(ROI_VOXELS)?,
            rgb: bytes(3 * pixels)?,
            // No cell is smaller than a pixel.
            nearest: whole(pixels)?,
            wall: whole(ROI_VOXELS)?,
            projected: floats(3 * ROI_VOXELS)?,
            seen: floats(ROI_VOXELS)?,
            stream,
            health: gpu.health.clone(),
            indices: Vec::with_capacity(ROI_VOXELS),
            answers: vec![0.0; ROI_VOXELS],
            bytes: vec![0; ROI_VOXELS],
            moved: Sight::new(size_px),
        })
    }

    fn bring(&mut self, scan: &Scan, grid: &Grid, z: &mut [f32]) -> Result<(), DriverError> {
        let volume = self.stream.clone_htod(&scan.volume().intensities)?;
        let what = Resampled::new(scan, grid);
        // SAFETY: the arguments are those of the kernel; the volume was checked to have a value for every voxel.
        unsafe {
            let mut resample = self.stream.launch_builder(&self.resample);
            resample.arg(&volume).arg(&mut self.z).arg(&mut self.brain).arg(&what).launch(over(ROI_VOXELS))?;
        }
        self.stream.memcpy_dtoh(&self.z, z)?;
        self.stream.memcpy_dtoh(&self.brain, &mut self.bytes)?;
        self.stream.synchronize()
    }

    /// Answers for the voxels of the wall, in order.
    fn read(&mut self, look: &Look<'_>) -> Result<(), DriverError> {
        let (count, what) = (self.indices.len(), Sighting::new(look, self.indices.len()));
        let cells = what.cells();
        assert!(look.picture.rgb.len() == self.rgb.len() && cells <= self.nearest.len(), "a picture of the known size");
        self.stream.memcpy_htod(&self.indices, &mut self.wall)?;
        self.stream.memcpy_htod(&look.picture.rgb, &mut self.rgb)?;
        // SAFETY: the arguments are those of the kernels; `count` voxels fit into the arrays, cells and pixels too.
        unsafe {
            let cell_count = cells as i32;
            let mut clear = self.stream.launch_builder(&self.clear);
            clear.arg(&mut self.nearest).arg(&cell_count).launch(over(cells))?;
            let mut project = self.stream.launch_builder(&self.project);
            project.arg(&self.wall).arg(&mut self.projected).arg(&mut self.nearest).arg(&what).launch(over(count))?;
            let mut read = self.stream.launch_builder(&self.look);
            read.arg(&self.wall).arg(&self.projected).arg(&self.nearest).arg(&self.rgb).arg(&mut self.seen).arg(&what);
            read.launch(over(count))?;
        }
        self.stream.memcpy_dtoh(&self.seen.slice(..count), &mut self.answers[..count])?;
        self.stream.synchronize()
    }
}

impl Assembly for GpuAssembly {
    fn lost(&self) -> bool {
        self.health.lost()
    }

    fn resample(&mut self, scan: &Scan, grid: &Grid, z: &mut [f32], brain: &mut VoxelBits) -> Result<(), DeviceError> {
        assert_eq!((grid.len(), z.len()), (ROI_VOXELS, ROI_VOXELS), "a 64³ grid");
        let done = self.bring(scan, grid, z);
        self.health.watch(done)?;
        brain.fill_where(&self.bytes, |v| v != 0);
        Ok(())
    }

    fn look(&mut self, look: &Look<'_>, seen: &mut dyn FnMut(usize, Seen)) -> Result<(), DeviceError> {
        if !look.shift.is_still() {
            self.moved.look(look, seen);
            return Ok(());
        }
        self.indices.clear();
        self.indices.extend(look.wall.iter().map(|index| index as u32));
        if self.indices.is_empty() {
            return Ok(());
        }
        let done = self.read(look);
        self.health.watch(done)?;
        for (index, answer) in self.indices.iter().zip(&self.answers) {
            if let Some(what) = super::told(*answer, look.picture.light) {
                seen(*index as usize, what);
            }
        }
        Ok(())
    }
}
