//! What a GPU makes of align and perceive, beside the processor's: agreement first, then times with all transfers, then
//! what happens when the device fails. `cargo bench -p bregma-perception --features cuda --bench cuda [-- FRAMES]`;
//! 1000 frames are the default; `-- gradients` compares the network's gradients alone. Exit status 1 where an agreement is missed, 2 where there is no GPU.
#![expect(clippy::disallowed_methods, reason = "a bench measures time; nothing here runs in the runtime")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(unsafe_code, reason = "a kernel is launched that must fail")]

#[path = "../tests/theatre/mod.rs"]
mod theatre;

use bregma_core::flow::{Energy, Light, ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS, RoiFrame, VideoFrame};
use bregma_perception::align::{self, Align};
use bregma_perception::bits::VoxelBits;
use bregma_perception::distance::{DistanceTransform, Distances, surface_mm};
use bregma_perception::engine::{Plan, Pool, Precision};
use bregma_perception::gpu::cuda::{Gpu, GpuAssembly, GpuDistances};
use bregma_perception::network::api::{
    AdamWConfig, Autodiff, Backend, Cuda, Flex, GradientsParams, Module, ModuleVisitor, Optimizer, Param, Tensor,
    tensor, values,
};
use bregma_perception::network::{Network, Operations, Statistics, VoxelAutodiffBackend};
use bregma_perception::perceive::cuda::CudaNetworked;
use bregma_perception::perceive::inputs::Inputs;
use bregma_perception::perceive::network::{DEFAULT_SHAPE, Networked, OUTPUTS, Relieved, untrained};
use bregma_perception::perceive::prior::PriorSettings;
use bregma_perception::perceive::trust::Trust;
use bregma_perception::perceive::{self, Estimator, Perceive};
use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg};
use std::sync::Arc;
use std::time::{Duration, Instant};
use theatre::{Theatre, at, camera, picture};

const SIZE: [usize; 2] = [640, 360];
/// From frame to frame, as far as the network's memory is concerned, ms.
const REMEMBERED_MS: u64 = 500;

/// Median, 99th percentile and most, ms.
fn spread(name: &str, times: &mut [f64]) {
    assert!(!times.is_empty(), "{name} was measured");
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1];
    println!("{name:<46} median {:8.3} ms   p99 {:8.3}   most {:8.3}   n {}", at(0.5), at(0.99), at(1.0), times.len());
}

fn timed<T>(times: &mut Vec<f64>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = work();
    times.push(start.elapsed().as_secs_f64() * 1e3);
    made
}

/// A picture with spots.
fn spotted(ms: u64) -> Arc<VideoFrame> {
    let light = if (ms / 1000).is_multiple_of(2) { Light::Violet } else { Light::White };
    let mut frame = (*picture(ms, light, [90, 50, 70])).clone();
    for (i, pixel) in frame.rgb.chunks_exact_mut(3).enumerate() {
        let spot = (i % 640 / 16 + i / 640 / 16 * 7 + ms as usize / 40).wrapping_mul(2_654_435_761) >> 7;
        pixel[0] = (spot & 0xff) as u8;
        pixel[2] = (spot >> 8 & 0xff) as u8;
    }
    Arc::new(frame)
}

/// The tip at a frame, on a spiral through the core.
fn tip(frame: u64) -> [f64; 3] {
    let turn = frame as f64 * 0.05;
    let away = 11.0 * (frame as f64 / 1000.0).sqrt();
    [away * turn.cos(), away * turn.sin(), -6.0 + 12.0 * (frame as f64 * 0.003).sin()]
}

fn step(theatre: &mut Theatre, frame: u64, picture: &Arc<VideoFrame>) -> Arc<RoiFrame> {
    let ms = 1000 + 40 * frame;
    let path: Vec<_> = (0..4).map(|k| (ms - 40 + 10 * k, tip(frame))).collect();
    theatre.moves(Energy::CUT, &path);
    theatre.aligned(Arc::clone(picture)).expect("align works").expect("a frame for a picture")
}

/// Margins in mm from probabilities.
fn margins(distances: &mut dyn Distances, shares: &[f32], squared: &mut [i32]) -> Vec<f64> {
    let inside: Vec<u8> = shares.iter().map(|p| u8::from(*p >= 0.5)).collect();
    distances.signed(&inside, squared).expect("works");
    squared.iter().map(|s| surface_mm(*s, ROI_SPACING_MM)).collect()
}

fn main() {
    let frames = std::env::args().skip(1).find_map(|a| a.parse::<u64>().ok()).unwrap_or(1000);
    let gpu = match Gpu::open() {
        Ok(gpu) => gpu,
        Err(why) => {
            println!("not run: {why}");
            std::process::exit(2);
        }
    };
    println!("{}", gpu.name().expect("a name"));
    let mut held = gradients();
    if std::env::args().any(|a| a == "gradients") {
        std::process::exit(i32::from(!held));
    }
    held &= agreement(&gpu, frames);
    frame_by_frame(&gpu, frames);
    kernels(&gpu);
    training(1, ROI_EDGE, Operations::Plain, 5);
    training(1, ROI_EDGE, Operations::Kernels, 20);
    training(48, 40, Operations::Kernels, 20);
    held &= failure();
    println!("{}", if held { "all agreements held" } else { "AN AGREEMENT WAS MISSED" });
    // The device is of no more use: what holds memory on it is not dropped.
    std::process::exit(i32::from(!held));
}

/// Align and the network on the same pictures, on the processor and on the GPU.
fn agreement(gpu: &Gpu, frames: u64) -> bool {
    let model = untrained(7);
    let pool = Arc::new(Pool::new(std::thread::available_parallelism().map_or(1, usize::from)).expect("threads"));
    let mut plan = Plan::new(&model, ROI_EDGE, Precision::F32, None).expect("a plan");
    let (mut state, mut logits) = (plan.state(), vec![0.0; OUTPUTS * ROI_VOXELS]);
    let (mut inputs, brain) = (Inputs::new(PriorSettings::default()), VoxelBits::new());
    let started = Instant::now();
    let mut network = CudaNetworked::new(gpu, &model, Trust::default()).expect("a network on the GPU");
    println!(
        "network ready {:.1} s after it was asked for: burn compiles its kernels",
        started.elapsed().as_secs_f64()
    );

    let mut ours = Theatre::new();
    let mut theirs = Theatre::new();
    let settings = align::Settings::with_camera(camera());
    theirs.align = Align::with_assembly(settings, Box::new(GpuAssembly::new(gpu, SIZE).expect("memory")));
    let mut distances = GpuDistances::new(gpu, [ROI_EDGE; 3]).expect("memory");
    let mut twin = DistanceTransform::new([ROI_EDGE; 3]);
    let (mut shares, mut squared) = (vec![0.0; ROI_VOXELS], vec![0; ROI_VOXELS]);
    let [mut assembly, mut assembly_cpu, mut forward, mut forward_cpu, mut distance, mut distance_cpu, mut all] =
        [(); 7].map(|()| Vec::new());
    let (mut channels_differ, mut apart, mut worst_mean, mut distances_differ) = (0, 0.0_f32, 0.0_f64, 0);
    let (mut apart_sum, mut compared) = (0.0_f64, 0_u64);
    for frame in 0..frames {
        let picture = spotted(1000 + 40 * frame);
        let expected = timed(&mut assembly_cpu, || step(&mut ours, frame, &picture));
        let found = timed(&mut assembly, || step(&mut theirs, frame, &picture));
        // The scans' resampling rounds otherwise (see the kernels' tests); all else is the same to the bit.
        let scans = 2 * ROI_VOXELS;
        let near = |a: &f32, b: &f32| (a - b).abs() < 1e-4;
        let same = expected.channels[scans..] == found.channels[scans..]
            && expected.channels[..scans].iter().zip(&found.channels[..scans]).all(|(a, b)| near(a, b));
        channels_differ += u64::from(!same);
        // So far apart that the memory goes on with every frame, on both sides.
        let apart_s = at(REMEMBERED_MS * frame);
        let slow = RoiFrame { captured: apart_s, ..RoiFrame::clone(&expected) };
        timed(&mut forward_cpu, || plan.run(&pool, inputs.of(&slow, &brain), &mut state, &mut logits)).expect("runs");
        let answer = timed(&mut forward, || network.shares(&slow, &brain));
        shares.copy_from_slice(answer.expect("runs"));
        let truth: Vec<f32> = logits[..ROI_VOXELS].iter().map(|l| 1.0 / (1.0 + (-l).exp())).collect();
        apart = truth.iter().zip(&shares).map(|(a, b)| (a - b).abs()).fold(apart, |w, d| if d <= w { w } else { d });
        let theirs = timed(&mut distance, || margins(&mut distances, &shares, &mut squared));
        let found = squared.clone();
        margins(&mut twin, &shares, &mut squared);
        distances_differ += u64::from(found != squared);
        let ours = timed(&mut distance_cpu, || margins(&mut twin, &truth, &mut squared));
        let (mut sum, mut count) = (0.0, 0_u64);
        for ((a, b), p) in ours.iter().zip(&theirs).zip(&truth) {
            if (p - 0.5).abs() >= 1e-3 && a.is_finite() && b.is_finite() {
                sum += (a - b).abs();
                count += 1;
            }
        }
        if count > 0 {
            worst_mean = worst_mean.max(sum / count as f64);
        }
        (apart_sum, compared) = (apart_sum + sum, compared + count);
        all.push(assembly.last().unwrap_or(&0.0) + forward.last().unwrap_or(&0.0) + distance.last().unwrap_or(&0.0));
    }
    let mean = apart_sum / compared.max(1) as f64;
    println!("agreement over {frames} frames with the processor in f32:");
    println!("  frames whose channels differ                {channels_differ} (bar 0)");
    println!("  probability, most                           {apart:.2e} (bar 1e-3)");
    println!("  margin, mean and the worst frame's mean     {mean:.5} mm, {worst_mean:.5} mm (bar 0.1)");
    println!("  distance transforms that differ             {distances_differ} (bar 0)");
    // The first few still fill caches.
    let warm = |times: &mut Vec<f64>| times.drain(..5.min(times.len() / 2)).count();
    for times in [&mut assembly, &mut assembly_cpu, &mut forward, &mut forward_cpu, &mut distance, &mut distance_cpu] {
        warm(times);
    }
    warm(&mut all);
    spread("align step, GPU assembly, with transfers", &mut assembly);
    spread("align step, processor", &mut assembly_cpu);
    spread("forward to probabilities, GPU, with transfers", &mut forward);
    spread("forward, processor, f32", &mut forward_cpu);
    spread("margin from probabilities, GPU distances", &mut distance);
    spread("margin from probabilities, processor", &mut distance_cpu);
    spread("all three on the GPU, processor's twins between", &mut all);
    channels_differ == 0 && apart <= 1e-3 && worst_mean <= 0.1 && distances_differ == 0
}

/// A thousand frames through the GPU and nothing else, at the rate of the camera and as fast as they go.
fn frame_by_frame(gpu: &Gpu, frames: u64) {
    let mut network = CudaNetworked::new(gpu, &untrained(7), Trust::default()).expect("a network on the GPU");
    let brain = VoxelBits::new();
    let mut distances = GpuDistances::new(gpu, [ROI_EDGE; 3]).expect("memory");
    let (mut inside, mut squared) = (vec![0; ROI_VOXELS], vec![0; ROI_VOXELS]);
    for every in [None, Some(Duration::from_millis(40))] {
        let mut theatre = Theatre::new();
        let assembly = GpuAssembly::new(gpu, SIZE).expect("memory");
        theatre.align = Align::with_assembly(align::Settings::with_camera(camera()), Box::new(assembly));
        let pictures: Vec<_> = (0..25).map(|frame| spotted(1000 + 40 * frame)).collect();
        let [mut all, mut assembled, mut forward, mut distance] = [(); 4].map(|()| Vec::new());
        let frames = if every.is_some() { frames / 4 } else { frames };
        for frame in 0..frames + 5 {
            let mut picture = (*pictures[frame as usize % pictures.len()]).clone();
            (picture.captured, picture.received) = (at(1000 + 40 * frame), at(1000 + 40 * frame));
            let (picture, begun) = (Arc::new(picture), Instant::now());
            let roi = timed(&mut assembled, || step(&mut theatre, frame, &picture));
            timed(&mut forward, || {
                let shares = network.shares(&roi, &brain).expect("runs");
                inside.iter_mut().zip(shares).for_each(|(inside, p)| *inside = u8::from(*p >= 0.5));
            });
            timed(&mut distance, || distances.signed(&inside, &mut squared)).expect("works");
            let took = begun.elapsed();
            all.push(took.as_secs_f64() * 1e3);
            if let Some(left) = every.and_then(|every| every.checked_sub(took)) {
                std::thread::sleep(left);
            }
        }
        let how = if every.is_some() { "25 frames a second" } else { "as fast as it goes" };
        let parts = [("align step", assembled), ("forward", forward), ("distances", distance)];
        for (name, mut times) in parts.into_iter().chain([("all three (bar 15 ms p99)", all)]) {
            spread(&format!("{name}, {how}"), &mut times[5..]);
        }
    }
}

/// Single calls.
fn kernels(gpu: &Gpu) {
    for edge in [64, 128] {
        let away =
            |i: usize| [i % edge, i / edge % edge, i / edge / edge].map(|v| (v as f64 - edge as f64 / 2.0).powi(2));
        let ball = (edge as f64 * 0.19).powi(2);
        let inside: Vec<u8> = (0..edge.pow(3)).map(|i| u8::from(away(i).iter().sum::<f64>() < ball)).collect();
        let mut out = vec![0; inside.len()];
        let mut distances = GpuDistances::new(gpu, [edge; 3]).expect("memory");
        let mut twin = DistanceTransform::new([edge; 3]);
        let (mut times, mut twin_times) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            timed(&mut times, || distances.signed(&inside, &mut out)).expect("works");
            timed(&mut twin_times, || twin.signed(&inside, &mut out));
        }
        spread(&format!("distance transform, {edge}³, GPU"), &mut times);
        spread(&format!("distance transform, {edge}³, processor"), &mut twin_times);
    }
    let device = Default::default();
    let network = Network::<Cuda>::from_model(&untrained(7), &device).expect("a sound model");
    let inputs = DEFAULT_SHAPE.inputs;
    let values: Vec<f32> = (0..inputs * ROI_VOXELS).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * 2e-3).collect();
    let x = tensor::<Cuda, 5>(values, [1, inputs, ROI_EDGE, ROI_EDGE, ROI_EDGE], &device);
    let both = [Operations::Kernels, Operations::Plain].map(|how| network.clone().with_operations(how));
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..60 {
        for (network, times) in both.iter().zip(&mut times) {
            let mut kept = Vec::new();
            timed(&mut kept, || {
                let (logits, _) = network.forward(x.clone(), None);
                drop(logits);
                <Cuda>::sync(&device).expect("the GPU goes on");
            });
            if round >= 10 {
                times.append(&mut kept);
            }
        }
    }
    spread("forward without transfers, our kernels", &mut times[0]);
    spread("forward without transfers, burn's own", &mut times[1]);
}

/// Gradients of a short sequence on the GPU beside the processor's.
fn gradients() -> bool {
    fn of<B: VoxelAutodiffBackend>(frozen: Statistics) -> Vec<Vec<f32>> {
        let device = Default::default();
        let network =
            Network::<B>::new(DEFAULT_SHAPE, 1, &device).expect("a shape within bounds").with_statistics(frozen);
        let dims = |channels: usize| [4, channels, 24, 16, 32];
        let numbers = |dims: [usize; 5], by: usize| {
            let values = (0..dims.iter().product()).map(|i: usize| ((i * by % 1000) as f32 - 500.0) * 2e-3).collect();
            tensor::<B, 5>(values, dims, &device)
        };
        let x = numbers(dims(DEFAULT_SHAPE.inputs), 7919).require_grad();
        let (logits, _) = network.sequence(x.clone(), 2, None);
        let slopes = numbers(dims(OUTPUTS), 104_729);
        let gradients = (logits * slopes).sum().backward();
        let mut seen = Slopes { gradients: &gradients, all: vec![values(x.grad(&gradients).expect("a gradient"))] };
        network.visit(&mut seen);
        seen.all
    }
    let mut held = true;
    for statistics in [Statistics::OfBatch, Statistics::Frozen] {
        let (ours, twins) = (of::<Autodiff<Cuda>>(statistics), of::<Autodiff<Flex>>(statistics));
        // By length, and by the one value that differs most.
        let length = |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let most = |v: &mut dyn Iterator<Item = f32>| v.fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
        let worst = |size: &dyn Fn(&mut dyn Iterator<Item = f32>) -> f64| {
            let apart = ours.iter().zip(&twins).map(|(a, b)| {
                let finite = a.iter().all(|v| v.is_finite());
                let difference = size(&mut a.iter().zip(b).map(|(a, b)| a - b));
                if finite { difference / size(&mut b.iter().copied()).max(f64::MIN_POSITIVE) } else { f64::INFINITY }
            });
            apart.fold(0.0, f64::max)
        };
        let (by_length, by_value) = (worst(&length), worst(&most));
        println!(
            "gradients, {statistics:?}: of {} the most that one differs by length {by_length:.1e}, by value {by_value:.1e} (bar 1e-3 both)",
            ours.len()
        );
        held &= by_length < 1e-3 && by_value < 1e-3 && ours.len() == twins.len();
    }
    held
}

/// Gradients of every parameter, in order.
struct Slopes<'a, B: VoxelAutodiffBackend> {
    gradients: &'a B::Gradients,
    all: Vec<Vec<f32>>,
}

impl<B: VoxelAutodiffBackend> ModuleVisitor<B> for Slopes<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        // Running statistics have none.
        self.all.extend(param.val().grad(self.gradients).map(values));
    }
}

/// A step of AdamW on so many frames of this edge, forward and backward, by our kernels and by burn's.
fn training(frames: usize, edge: usize, operations: Operations, rounds: usize) {
    type Train = Autodiff<Cuda>;
    let device = Default::default();
    let volume = |channels: usize| {
        let values = (0..frames * channels * edge.pow(3)).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * 2e-3).collect();
        tensor::<Train, 5>(values, [frames, channels, edge, edge, edge], &device)
    };
    let (x, truth) = (volume(DEFAULT_SHAPE.inputs), volume(OUTPUTS));
    let mut network = Network::<Train>::new(DEFAULT_SHAPE, 1, &device).expect("a shape within bounds");
    network = network.with_operations(operations).with_statistics(Statistics::Frozen);
    let mut optimiser = AdamWConfig::new().init::<Train, Network<Train>>();
    let loss = |network: &Network<Train>| -> Tensor<Train, 1> {
        (network.sequence(x.clone(), 4.min(frames), None).0 - truth.clone()).square().mean()
    };
    let (mut ahead, mut both, mut step) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds + 2 {
        let [mut first, mut one, mut other] = [Vec::new(), Vec::new(), Vec::new()];
        timed(&mut first, || {
            drop(loss(&network));
            <Cuda>::sync(&device).expect("the GPU goes on");
        });
        timed(&mut one, || {
            drop(loss(&network).backward());
            <Cuda>::sync(&device).expect("the GPU goes on");
        });
        network = timed(&mut other, || {
            let gradients = GradientsParams::from_grads(loss(&network).backward(), &network);
            let stepped = optimiser.step(1e-3, network.clone(), gradients);
            <Cuda>::sync(&device).expect("the GPU goes on");
            stepped
        });
        if round >= 2 {
            ahead.append(&mut first);
            both.append(&mut one);
            step.append(&mut other);
        }
    }
    assert!(loss(&network).into_scalar().is_finite(), "training goes on");
    let of = format!("{frames} frames of {edge}³, {operations:?}");
    spread(&format!("{of}: forward"), &mut ahead);
    spread(&format!("{of}: forward + backward"), &mut both);
    spread(&format!("{of}: step of AdamW"), &mut step);
}

/// The device fails in the middle of a run: how many frames are lost.
fn failure() -> bool {
    let (model, pool) = (untrained(7), Arc::new(Pool::new(2).expect("threads")));
    let gpu = Gpu::open().expect("still there");
    let device: Box<dyn Estimator> =
        Box::new(CudaNetworked::new(&gpu, &model, Trust::default()).expect("a network on the GPU"));
    let then = Networked::untrained(&model, Precision::F32, pool).expect("a plan");
    let mut theatre = Theatre::new();
    let estimator = Relieved::new(device, Box::new(then));
    theatre.perceive = Perceive::with_estimator(perceive::Settings::default(), Box::new(estimator))
        .with_distances(Box::new(GpuDistances::new(&gpu, [ROI_EDGE; 3]).expect("memory")));
    let assembly = GpuAssembly::new(&gpu, SIZE).expect("memory");
    theatre.align = Align::with_assembly(align::Settings::with_camera(camera()), Box::new(assembly));
    // First weights call one voxel in twenty core, so that none is above one half: that something is said shows that it works.
    let before = theatre.scene(picture(960, Light::Violet, [120, 40, 60]));
    assert!(before.residual.iter().any(|share| *share > 0), "it works before it fails");
    std::panic::set_hook(Box::new(|_| {}));
    let (mut said, mut scenes, mut lost) = (Vec::new(), Vec::new(), 0);
    for frame in 0..12_u64 {
        if frame == 4 {
            poison();
        }
        let aligned = theatre.aligned(picture(1000 + 40 * frame, Light::Violet, [120, 40, 60]));
        let scene = aligned.map_err(|why| why.to_string()).and_then(|roi| {
            let roi = roi.ok_or("no frame")?;
            theatre.perceived(roi).map_err(|why| why.to_string())?.ok_or_else(|| "no scene".to_owned())
        });
        match scene {
            Ok(scene) => scenes.push((frame, scene.model)),
            Err(why) => {
                lost += 1;
                said.push(format!("frame {frame} at {}: {why}", at(1000 + 40 * frame)));
            }
        }
    }
    println!("a device that fails at frame 4: {lost} frames lost of 12");
    said.iter().for_each(|line| println!("  {line}"));
    let after = scenes.iter().find(|(frame, _)| *frame >= 4).map(|(frame, _)| *frame);
    println!(
        "  first scene after it: frame {after:?}, another model's: {}",
        scenes.first().map(|s| s.1) != scenes.last().map(|s| s.1)
    );
    lost <= 2 && after.is_some() && scenes.last().map(|(frame, _)| *frame) == Some(11)
}

/// Makes the device fail: a kernel that writes where nothing is.
fn poison() {
    let context = CudaContext::new(0).expect("a device");
    let source = "extern \"C\" __global__ void astray(int* nowhere) { *nowhere = 1; }";
    let module = context.load_module(cudarc::nvrtc::compile_ptx(source).expect("compiles")).expect("loads");
    let (kernel, stream) = (module.load_function("astray").expect("a kernel"), context.default_stream());
    let one = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: none: that is what it is for. The address is no one's.
    let _ = unsafe { stream.launch_builder(&kernel).arg(&8_u64).launch(one) };
    let _ = stream.synchronize();
}
