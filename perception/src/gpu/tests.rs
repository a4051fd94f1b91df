//! The kernels' source, compiled for the processor, against its Rust twins; and compiled for GPUs where NVRTC is found.
#![expect(unsafe_code, reason = "functions of a library that was compiled here are called by their C types")]

use super::{KERNELS, LayerCall, NormDims, Normed, Pass, Resampled, Sighting, Strides, UNFUSED, arranged, told};
use crate::align::evidence::{Look, RedScale, Shaft, Sight};
use crate::bits::VoxelBits;
use crate::distance::DistanceTransform;
use crate::model::Kind;
use crate::network::api::{Flex, Tensor, TensorPrimitive, tensor, values, weight_dims};
use crate::network::extension::{NormHow, VoxelBackend};
use crate::scan::Scan;
use bregma_core::Millimetres;
use bregma_core::flow::{CameraCalibration, Light, Modality, ROI_VOXELS, VideoFrame, Volume, roi_grid};
use bregma_core::frame::{FrameId, Pose};
use bregma_core::time::Instant;
use libloading::Library;
use nalgebra::{Matrix4, Point3, Rotation3, Vector3};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

fn not_run(why: impl std::fmt::Display) {
    writeln!(std::io::stderr(), "not run: {why}").expect("stderr takes a line");
}

/// Numbers that look like chance, in [0, 1).
fn chance(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The kernels on the processor.
struct Host {
    library: Library,
    _folder: tempfile::TempDir,
}

impl Host {
    /// Compiled with the system's C++ compiler; without one the test says so.
    fn compile() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let [source, shim, library] = ["kernels.cu", "shim.h", "kernels.so"].map(|name| folder.path().join(name));
        std::fs::write(&source, KERNELS).expect("a writable folder");
        std::fs::write(&shim, include_str!("shim.h")).expect("a writable folder");
        let mut compiler = Command::new("c++");
        compiler.args(["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Werror", "-shared", "-fPIC", "-include"]);
        let out = match compiler.arg(&shim).args(["-x", "c++"]).arg(&source).arg("-o").arg(&library).output() {
            Ok(out) => out,
            Err(why) => {
                not_run(format_args!("no C++ compiler: {why}"));
                return None;
            }
        };
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        // SAFETY: it was compiled just now and has no initialisers.
        let library = unsafe { Library::new(&library) }.expect("a library");
        Some(Self { library, _folder: folder })
    }

    /// Runs a kernel as every thread of the blocks that hold `count` threads, those beyond among them.
    ///
    /// # Safety
    /// `F` is the kernel's type, and `call` gives it what it reads and writes.
    unsafe fn run<F: Copy>(&self, name: &str, count: usize, call: impl Fn(F)) {
        // SAFETY: the types are those of shim.h and, by the caller, of the kernel.
        let (become_thread, kernel) = unsafe {
            let kernel = *self.library.get::<F>(name.as_bytes()).expect("a kernel of this name");
            (*self.library.get::<extern "C" fn(u32)>(b"become_thread").expect("the shim's"), kernel)
        };
        for index in 0..count.next_multiple_of(256) {
            become_thread(index as u32);
            call(kernel);
        }
    }
}

#[test]
fn distances_are_the_twins_to_the_last_step() {
    let Some(host) = Host::compile() else { return };
    let mut random = chance(1);
    for (dims, share) in
        [([64, 64, 64], 0.02), ([17, 23, 31], 0.5), ([1, 9, 70], 0.001), ([5, 4, 3], 1.1), ([8; 3], 0.0)]
    {
        let [nx, ny, nz] = dims;
        let all = nx * ny * nz;
        let inside: Vec<u8> = (0..all).map(|_| u8::from(random() < share)).collect();
        let (mut a, mut b, mut expected) = (vec![-7; all], vec![-7; all], vec![0; all]);
        DistanceTransform::new(dims).signed(&inside, &mut expected);
        let [x, y, z, count] = [nx, ny, nz, all].map(|n| n as c_int);
        type Along = extern "C" fn(*const u8, *mut c_int, c_int, c_int);
        type Across = extern "C" fn(*const c_int, *mut c_int, c_int, c_int, c_int, c_int);
        let (a_to, b_to) = (a.as_mut_ptr(), b.as_mut_ptr());
        // SAFETY: the kernels' types; all arrays have a value for every voxel.
        unsafe {
            host.run::<Along>("distance_along", all, |kernel| kernel(inside.as_ptr(), a_to, x, count));
            host.run::<Across>("distance_across", all, |kernel| kernel(a_to, b_to, y, x, count, 0));
            host.run::<Across>("distance_across", all, |kernel| kernel(b_to, a_to, z, x * y, count, 1));
        }
        assert_eq!(a, expected, "{dims:?}");
    }
}

/// A noisy scan whose axes are not the patient's.
fn oblique_scan() -> Scan {
    let (dims, mut random) = ([90, 100, 80], chance(2));
    let intensities = (0..dims.iter().product())
        .map(|n: usize| {
            let v = [n % dims[0], n / dims[0] % dims[1], n / dims[0] / dims[1]];
            let away: f64 = v.iter().zip(dims).map(|(v, n)| (*v as f64 - 0.5 * n as f64).powi(2)).sum();
            if away < 900.0 { (100.0 + 50.0 * random()) as f32 } else { 0.0 }
        })
        .collect();
    let turn = Rotation3::from_euler_angles(0.3, -0.2, 0.1).to_homogeneous();
    let patient_from_voxel = turn
        * Matrix4::new_nonuniform_scaling(&Vector3::new(0.9, 1.0, 1.4))
        * Matrix4::new_translation(&Vector3::new(-45.0, -50.0, -40.0));
    let (modality, frame, acquired) = (Modality::T1c, FrameId::SOLE, Instant::START);
    Scan::new(Arc::new(Volume { modality, dims, intensities, patient_from_voxel, frame, acquired, shift: None }))
        .expect("a scan")
}

#[test]
fn a_scan_comes_onto_the_region_as_by_the_twin() {
    let Some(host) = Host::compile() else { return };
    let scan = oblique_scan();
    for centre in [Point3::new(3.0, -2.0, 1.0), Point3::new(25.0, 20.0, -18.0)] {
        let grid = roi_grid(centre);
        let (mut expected, mut expected_brain) = (vec![0.0; ROI_VOXELS], VoxelBits::new());
        scan.resample(&grid, &mut expected, &mut expected_brain);
        let (mut z, mut brain, what) =
            (vec![f32::NAN; ROI_VOXELS], vec![7_u8; ROI_VOXELS], Resampled::new(&scan, &grid));
        type Kernel = extern "C" fn(*const f32, *mut f32, *mut u8, Resampled);
        let (data, z_to, brain_to) = (scan.volume().intensities.as_ptr(), z.as_mut_ptr(), brain.as_mut_ptr());
        // SAFETY: the kernel's type; the volume is whole, the region 64³.
        unsafe { host.run::<Kernel>("resample", ROI_VOXELS, |kernel| kernel(data, z_to, brain_to, what)) };
        // The twin walks along a row by steps, which round otherwise.
        let apart = z.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{apart}");
        let other = (0..ROI_VOXELS).filter(|i| (brain[*i] != 0) != expected_brain.has(*i)).count();
        assert!(other <= 2, "{other} voxels lie on the border of what is brain");
        assert!(expected_brain.count() > 10_000 && expected_brain.count() < ROI_VOXELS);
    }
}

#[test]
fn a_picture_says_the_same_of_the_wall_as_by_the_twin() {
    let Some(host) = Host::compile() else { return };
    let (grid, red, size) = (roi_grid(Point3::new(4.0, -3.0, 6.0)), RedScale::default(), [640, 360]);
    let turn = nalgebra::UnitQuaternion::from_euler_angles(0.15, -0.1, 0.4);
    let q = turn.quaternion();
    let place = (Point3::new(4.0, -3.0, 6.0) - turn * Vector3::new(0.0, 0.0, 300.0)).coords;
    let pose = Pose::from_parts(FrameId::SOLE, FrameId::SOLE, place.into(), [q.i, q.j, q.k, q.w]);
    let camera = CameraCalibration {
        focal_px: [1900.0, 1850.0],
        centre_px: [321.0, 177.5],
        size_px: size,
        patient_from_camera: pose.expect("finite"),
        error: Millimetres::constant(0.5),
    };
    let (mut open, mut cavity, mut wall) = (VoxelBits::new(), VoxelBits::new(), VoxelBits::new());
    open.become_complement(&VoxelBits::new());
    for index in 0..ROI_VOXELS {
        let from = grid.centre(grid.voxel(index)) - Point3::new(2.0, -4.0, 3.0);
        if from.norm() < 17.0 || (from.xy().norm() < 6.0 && from.z < 0.0) {
            cavity.put(index);
            open.take(index);
        }
    }
    wall.become_wall(&cavity, &open);
    let (mut random, mut picture) = (chance(3), VideoFrame::black(size[0], size[1]));
    for pixel in picture.rgb.chunks_exact_mut(3) {
        let bright = if random() < 0.1 { 0.0 } else { 255.0 };
        pixel.iter_mut().for_each(|v| *v = (random() * bright) as u8);
    }
    let shaft = Shaft { start: Point3::new(-60.0, 40.0, -120.0), end: Point3::new(3.0, -2.0, 5.0), radius_mm: 3.0 };
    let (depth_tolerance_mm, shift) = (2.0, bregma_core::brain_shift::BrainShift::still(Point3::origin()));
    for (light, shaft) in [(Light::Violet, Some(&shaft)), (Light::Violet, None), (Light::White, Some(&shaft))] {
        picture.light = light;
        let look = Look {
            picture: &picture,
            camera: &camera,
            red: &red,
            grid: &grid,
            wall: &wall,
            shift: &shift,
            shaft,
            depth_tolerance_mm,
        };
        let mut expected = Vec::new();
        Sight::new(size).look(&look, |index, what| expected.push((index, what)));
        let indices: Vec<u32> = wall.iter().map(|index| index as u32).collect();
        let (count, what) = (indices.len(), Sighting::new(&look, indices.len()));
        let (mut projected, mut nearest, mut seen) = (vec![0.0; 3 * count], vec![0; what.cells()], vec![0.0; count]);
        let (to, near, out) = (projected.as_mut_ptr(), nearest.as_mut_ptr(), seen.as_mut_ptr());
        type Clear = extern "C" fn(*mut u32, c_int);
        type Project = extern "C" fn(*const u32, *mut f32, *mut u32, Sighting);
        type Read = extern "C" fn(*const u32, *const f32, *const u32, *const u8, *mut f32, Sighting);
        let (at, rgb) = (indices.as_ptr(), picture.rgb.as_ptr());
        // SAFETY: the kernels' types; every array has a value for each voxel of the wall, cell and pixel.
        unsafe {
            host.run::<Clear>("clear_depth", what.cells(), |kernel| kernel(near, what.cells() as c_int));
            host.run::<Project>("project", count, |kernel| kernel(at, to, near, what));
            host.run::<Read>("look", count, |kernel| kernel(at, to, near, rgb, out, what));
        }
        let of = |(index, answer): (&u32, &f32)| told(*answer, light).map(|what| (*index as usize, what));
        let told: Vec<_> = indices.iter().zip(&seen).filter_map(of).collect();
        assert_eq!(told, expected);
        assert!(expected.len() > 200 && expected.len() < count, "{} of {count} are seen", expected.len());
    }
}

#[test]
fn a_norm_is_the_twins_wherever_its_channels_lie() {
    let Some(host) = Host::compile() else { return };
    let (dims, device) = ([2, 6, 3, 4, 5], Default::default());
    let [n, c, d, h, w] = dims;
    let (numbers, mut random) = (dims.iter().product::<usize>(), chance(4));
    let mut noise = |count: usize| -> Vec<f32> { (0..count).map(|_| (4.0 * random() - 2.0) as f32).collect() };
    let (x, add, by) =
        (noise(numbers), noise(numbers), [noise(c), noise(c).iter().map(|v| v * v).collect(), noise(c), noise(c)]);
    let inner = |t: Tensor<Flex, 5>| t.into_primitive().tensor();
    let first = |v: &Vec<f32>| tensor::<Flex, 1>(v.clone(), [c], &device).into_primitive().tensor();
    let plain = [c * d * h * w, d * h * w, h * w, w, 1];
    let last = [d * h * w * c, 1, h * w * c, w * c, c];
    for (channels_last, added, rectified) in [(false, true, true), (true, true, false), (true, false, true)] {
        let how = NormHow { rectified, from_batch: false, added };
        let sent = |v: &Vec<f32>| inner(tensor::<Flex, 5>(v.clone(), dims, &device));
        let y = Flex::voxel_norm(sent(&x), by.each_ref().map(first), added.then(|| sent(&add)), how);
        let expected = values(Tensor::<Flex, 5>::from_primitive(TensorPrimitive::Float(y)));
        let order = if channels_last { last } else { plain };
        let at = |i: usize| -> usize {
            let of = [i / plain[0], i / plain[1] % c, i / plain[2] % d, i / w % h, i % w];
            of.iter().zip(order).map(|(v, stride)| v * stride).sum()
        };
        let mut laid = vec![0.0; numbers];
        (0..numbers).for_each(|i| laid[at(i)] = x[i]);
        let what = Normed {
            dims: [n, c, d, h, w].map(|v| v as i32),
            channels_last: i32::from(channels_last),
            added: i32::from(added),
            rectified: i32::from(rectified),
            x: Strides(order.map(|v| v as i32)),
            add: Strides(plain.map(|v| v as i32)),
        };
        let words = what.words();
        type Kernel =
            extern "C" fn(*const f32, *const f32, *const f32, *const f32, *const f32, *const f32, *mut f32, *const i32);
        let mut found = vec![f32::NAN; numbers];
        let (to, [mean, variance, gamma, beta]) = (found.as_mut_ptr(), by.each_ref().map(|v| v.as_ptr()));
        // SAFETY: the kernel's type; every array has a value for each number or channel.
        unsafe {
            host.run::<Kernel>("norm_activation", numbers, |kernel| {
                kernel(laid.as_ptr(), mean, variance, gamma, beta, add.as_ptr(), to, words.as_ptr());
            });
        }
        for (i, expected) in expected.iter().enumerate() {
            assert!(
                (found[at(i)] - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{i}: {} {expected}",
                found[at(i)]
            );
        }
    }
}

fn numbers(random: &mut impl FnMut() -> f64, count: usize) -> Vec<f32> {
    (0..count).map(|_| (2.0 * random() - 1.0) as f32).collect()
}

/// Numbers of `[N, C, D, H, W]` with their channels last.
fn laid(tensor: Tensor<Flex, 5>) -> Vec<f32> {
    values(tensor.permute([0, 2, 3, 4, 1]))
}

/// The largest difference over the largest magnitude.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0, |m: f32, (a, b)| if a.is_finite() { m.max((a - b).abs()) } else { f32::INFINITY }) / size
}

#[test]
fn layers_and_their_gradients_are_the_twins() {
    type Layer = extern "C" fn(*const f32, *const f32, *const f32, *mut f32, *const i32);
    type Weight = extern "C" fn(*const f32, *const f32, *mut f32, *const i32);
    let Some(host) = Host::compile() else { return };
    let mut random = chance(11);
    for kind in [Kind::Conv3, Kind::Down3, Kind::Conv1, Kind::Up2] {
        for (n, reads, writes, [d, h, w]) in [(2, 10, 8, [5, 4, 7]), (1, 8, 3, [3, 6, 9]), (3, 5, 16, [4, 4, 4])] {
            let case = format!("{kind:?}, {n} of {reads} to {writes} channels, {d} x {h} x {w}");
            let shape = weight_dims(kind, reads, writes);
            let make = |random: &mut _, dims: [usize; 5]| -> Tensor<Flex, 5> {
                tensor(numbers(random, dims.iter().product()), dims, &Default::default())
            };
            let (x, weight) = (make(&mut random, [n, reads, d, h, w]), make(&mut random, shape));
            let bias = numbers(&mut random, writes);
            let inner = |t: &Tensor<Flex, 5>| t.clone().into_primitive().tensor();
            let outer = |t| Tensor::<Flex, 5>::from_primitive(TensorPrimitive::Float(t));
            let told = tensor::<Flex, 1>(bias.clone(), [writes], &Default::default()).into_primitive().tensor();
            let y = outer(Flex::voxel_layer(kind, inner(&x), inner(&weight), Some(told)));
            let gradient = make(&mut random, y.dims());
            let of_x = outer(Flex::voxel_layer_input(kind, inner(&x), inner(&weight), inner(&gradient)));
            let of_weight = outer(Flex::voxel_layer_weight(kind, inner(&x), inner(&weight), inner(&gradient)));

            for (pass, read, expected) in [(Pass::Forward, &x, &y), (Pass::Input, &gradient, &of_x)] {
                let call = LayerCall::new(kind, pass, x.dims(), y.dims(), pass == Pass::Forward);
                let (read, weight) = (laid(read.clone()), values(arranged(kind, pass, weight.clone())));
                let (mut found, words) = (vec![f32::NAN; expected.dims().iter().product()], call.dims.words());
                let to = found.as_mut_ptr();
                // SAFETY: the kernel's type; the arrays have the sizes that its dimensions say.
                unsafe {
                    host.run::<Layer>(call.name, call.threads, |kernel| {
                        kernel(read.as_ptr(), weight.as_ptr(), bias.as_ptr(), to, words.as_ptr());
                    });
                }
                let difference = apart(&found, &laid(expected.clone()));
                assert!(difference < 1e-5, "{pass:?} of {case}: {difference:e}");
            }

            let call = LayerCall::new(kind, Pass::Weight, x.dims(), y.dims(), false);
            let (fine, coarse) = if kind == Kind::Up2 { (gradient, x) } else { (x, gradient) };
            let (fine, coarse, words) = (laid(fine), laid(coarse), call.dims.words());
            let count: usize = shape.iter().product();
            let mut sums = vec![f32::NAN; call.chunks() * count];
            let to = sums.as_mut_ptr();
            // SAFETY: as above.
            unsafe {
                host.run::<Weight>(call.name, call.threads, |kernel| {
                    kernel(fine.as_ptr(), coarse.as_ptr(), to, words.as_ptr());
                });
            }
            let found: Vec<f32> = (0..count).map(|i| sums.iter().skip(i).step_by(count).sum()).collect();
            let difference = apart(&found, &values(of_weight));
            assert!(difference < 1e-5, "weights of {case}: {difference:e}");
        }
    }
}

#[test]
fn gradients_of_norms_are_the_twins() {
    type Sums = extern "C" fn(*const f32, *const f32, *const f32, *const f32, *const f32, *mut f32, *const i32);
    type Gradient = extern "C" fn(
        *const f32,
        *const f32,
        *const f32,
        *const f32,
        *const f32,
        *const f32,
        *const f32,
        *mut f32,
        *mut f32,
        *const i32,
    );
    let Some(host) = Host::compile() else { return };
    let mut random = chance(12);
    let dims = [2, 5, 3, 4, 6];
    let count: usize = dims.iter().product();
    for (rectified, from_batch) in [(true, true), (true, false), (false, true)] {
        let how = NormHow { rectified, from_batch, added: true };
        let by = [1.0, 2.0, 1.0, 1.0]
            .map(|more| -> Vec<f32> { numbers(&mut random, 5).into_iter().map(|v| v + more).collect() });
        let tensors = [(); 3].map(|()| tensor::<Flex, 5>(numbers(&mut random, count), dims, &Default::default()));
        let inner = |t: &Tensor<Flex, 5>| t.clone().into_primitive().tensor();
        let [x, y, gradient] = tensors.each_ref().map(inner);
        let told =
            by.each_ref().map(|v| tensor::<Flex, 1>(v.clone(), [5], &Default::default()).into_primitive().tensor());
        let expected = Flex::voxel_norm_gradients(x, told, y, gradient, how);

        let what = NormDims::new(dims, how);
        let words = what.words();
        let [x, y, gradient] = tensors.map(laid);
        let [mean, variance, gamma, _] = by.each_ref().map(|v| v.as_ptr());
        let mut sums = vec![f32::NAN; what.chunks as usize * 10];
        let (mut of_x, mut of_add) = (vec![f32::NAN; count], vec![f32::NAN; count]);
        let (to, [to_x, to_add]) = (sums.as_mut_ptr(), [of_x.as_mut_ptr(), of_add.as_mut_ptr()]);
        // SAFETY: the kernels' types; the arrays have the sizes that their dimensions say.
        unsafe {
            host.run::<Sums>("norm_sums", what.chunks as usize * 5, |kernel| {
                kernel(x.as_ptr(), mean, variance, y.as_ptr(), gradient.as_ptr(), to, words.as_ptr());
            });
        }
        let whole: Vec<f32> = (0..10).map(|i| sums.iter().skip(i).step_by(10).sum()).collect();
        // SAFETY: as above.
        unsafe {
            host.run::<Gradient>("norm_gradient", count, |kernel| {
                let (y, gradient, sums) = (y.as_ptr(), gradient.as_ptr(), whole.as_ptr());
                kernel(x.as_ptr(), mean, variance, gamma, y, gradient, sums, to_x, to_add, words.as_ptr());
            });
        }
        let of = |t| Tensor::<Flex, 5>::from_primitive(TensorPrimitive::Float(t));
        let flat = |t| values(Tensor::<Flex, 1>::from_primitive(TensorPrimitive::Float(t)));
        let add = expected.add.expect("something was added");
        for (what, found, expected) in [
            ("x", of_x, laid(of(expected.x))),
            ("add", of_add, laid(of(add))),
            ("beta", whole[..5].to_vec(), flat(expected.beta)),
            ("gamma", whole[5..].to_vec(), flat(expected.gamma)),
        ] {
            let difference = apart(&found, &expected);
            assert!(difference < 1e-5, "{what}, {how:?}: {difference:e}");
        }
    }
}

/// NVRTC where `make peers` put it, or where the system has it.
fn nvrtc() -> Result<Library, String> {
    let mut names: Vec<PathBuf> = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"].map(PathBuf::from).into();
    let folder = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    if let Some(peers) = std::env::var_os("BREGMA_PEERS") {
        let pythons = folder(PathBuf::from(peers).join("lib"));
        let packages = pythons.flat_map(|python| folder(python.join("site-packages/nvidia")));
        let files = packages.flat_map(|package| folder(package.join("lib")));
        let is_it = |file: &PathBuf| file.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libnvrtc.so"));
        names.splice(0..0, files.filter(is_it));
    }
    let mut said = String::new();
    for name in names {
        // SAFETY: NVIDIA's runtime compiler, by its name.
        match unsafe { Library::new(&name) } {
            Ok(library) => return Ok(library),
            Err(why) => said = why.to_string(),
        }
    }
    Err(said)
}

/// Compiles the kernels for an architecture; the size of what a GPU would load, or the compiler's complaints.
fn compile_for(nvrtc: &Library, architecture: &str) -> Result<usize, String> {
    type Create = unsafe extern "C" fn(
        *mut *mut c_void,
        *const c_char,
        *const c_char,
        c_int,
        *const c_void,
        *const c_void,
    ) -> c_int;
    type Compile = unsafe extern "C" fn(*mut c_void, c_int, *const *const c_char) -> c_int;
    type Size = unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int;
    type Text = unsafe extern "C" fn(*mut c_void, *mut u8) -> c_int;
    let [source, name] = [KERNELS, "kernels.cu"].map(|s| CString::new(s).expect("no zero in it"));
    let options = [format!("--gpu-architecture={architecture}"), UNFUSED.to_owned()];
    let options = options.map(|s| CString::new(s).expect("no zero in it"));
    let options = options.each_ref().map(|s| s.as_ptr());
    let (mut program, mut size, null) = (std::ptr::null_mut(), 0, std::ptr::null());
    // SAFETY: the functions' types are those of NVRTC's manual, every pointer is to what a call reads or writes; the
    // program is left to the end of the process.
    unsafe {
        let get =
            |name: &str| -> *mut c_void { *nvrtc.get::<*mut c_void>(name.as_bytes()).expect("a function of NVRTC") };
        let create: Create = std::mem::transmute(get("nvrtcCreateProgram"));
        let compile: Compile = std::mem::transmute(get("nvrtcCompileProgram"));
        let [log_size, binary_size] =
            ["nvrtcGetProgramLogSize", "nvrtcGetCUBINSize"].map(|n| std::mem::transmute::<*mut c_void, Size>(get(n)));
        let log: Text = std::mem::transmute(get("nvrtcGetProgramLog"));
        assert_eq!(create(&raw mut program, source.as_ptr(), name.as_ptr(), 0, null, null), 0);
        if compile(program, options.len() as c_int, options.as_ptr()) != 0 {
            assert_eq!(log_size(program, &raw mut size), 0);
            let mut text = vec![0; size];
            assert_eq!(log(program, text.as_mut_ptr()), 0);
            return Err(String::from_utf8_lossy(&text).into_owned());
        }
        assert_eq!(binary_size(program, &raw mut size), 0);
    }
    Ok(size)
}

#[test]
fn nvrtc_compiles_the_kernels_for_ampere_and_hopper() {
    let nvrtc = match nvrtc() {
        Ok(nvrtc) => nvrtc,
        Err(why) => return not_run(format_args!("no NVRTC: {why}")),
    };
    for architecture in ["sm_80", "sm_90"] {
        assert!(compile_for(&nvrtc, architecture).expect("no complaints") > 1000, "{architecture}");
    }
}
