//! Layers and whole frames of the engine: medians, and rates in GFLOP/s of the plain sum, so that saved multiplications
//! count as speed. `cargo bench -p bregma-perception --bench engine -- [frames|instructions|steps|ops|thousand]`; every figure is interleaved
//! with the others of its table, round by round, so that a busy machine slows all of them. *CPU* is what all threads of
//! the process used: on a machine that is shared, half of it is what two idle cores would need. *thousand* is run
//! only if asked for: it takes four minutes.
#![expect(clippy::disallowed_methods, reason = "a bench measures time; nothing here runs in the runtime")]
#![expect(unsafe_code, reason = "the process's CPU time comes from the system's C library")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use bregma_perception::engine::{Calibration, Isa, Plan, Pool, Precision, ops, peak};
use bregma_perception::model::{Kind, Layer, LayerShape, Model, Shape};
use std::time::Instant;

const ROUNDS: usize = 21;

/// Something measured: its name, its work in GFLOP, and how to do it once.
struct Case<'a> {
    name: String,
    gflop: f64,
    run: Box<dyn FnMut() + 'a>,
}

/// Milliseconds of CPU that this process has used.
fn cpu_ms() -> f64 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const PROCESS: i32 = 2;
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: the C library's function, with room for what it writes.
    let result = unsafe { clock_gettime(PROCESS, &raw mut time) };
    assert_eq!(result, 0, "the process has a clock");
    time.seconds as f64 * 1e3 + time.nanoseconds as f64 * 1e-6
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

/// Runs all cases in turn, round by round; the medians of CPU time.
fn measure(title: &str, rounds: usize, cases: &mut [Case<'_>]) -> Vec<f64> {
    let mut times = vec![[Vec::new(), Vec::new()]; cases.len()];
    for round in 0..rounds + 2 {
        for (case, times) in cases.iter_mut().zip(&mut times) {
            let (start, cpu) = (Instant::now(), cpu_ms());
            (case.run)();
            if round >= 2 {
                times[1].push(cpu_ms() - cpu);
                times[0].push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let report = |(case, mut times): (&Case<'_>, [Vec<f64>; 2])| {
        let [wall, cpu] = [0, 1].map(|k| quantile(&mut times[k], 0.5));
        let (least, p99) = (quantile(&mut times[1], 0.0), quantile(&mut times[1], 0.99));
        println!(
            "{title:<16} {:<36} wall {wall:8.3} ms   CPU {cpu:8.3} (least {least:8.3}, p99 {p99:8.3})   {:5.0} GFLOP/CPU-s",
            case.name,
            case.gflop / cpu * 1e3
        );
        cpu
    };
    cases.iter().zip(times).map(report).collect()
}

/// The level of what a layer reads.
fn level(shape: &Shape, layer: &LayerShape) -> usize {
    let level = (0..shape.levels).rev().find(|l| match layer.kind {
        Kind::Down3 => layer.inputs == shape.width(*l),
        Kind::Up2 => layer.outputs * 2 == shape.width(*l),
        _ => layer.outputs == shape.width(*l) || layer.name.starts_with("lstm"),
    });
    level.unwrap_or(0)
}

/// Forward and both ways back of the default network's layers, as training sees them.
fn layers(threads: usize) {
    let pool = Pool::new(threads).expect("threads");
    let shape = Shape { inputs: 5, outputs: 1, base: 8, levels: 4 };
    let mut seen = std::collections::HashSet::new();
    for layer in shape.layers() {
        let edge = 64 >> level(&shape, &layer);
        let op = ops::Op { kind: layer.kind, inputs: layer.inputs, outputs: layer.outputs, batch: 1, grid: [edge; 3] };
        if !seen.insert(op) {
            continue;
        }
        let values = |n: usize| (0..n).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * 1e-3).collect::<Vec<_>>();
        let (x, g, weight) = (values(op.x_len()), values(op.y_len()), values(op.weight_len()));
        let (mut y, mut dx, mut dw) = (values(op.y_len()), values(op.x_len()), values(op.weight_len()));
        let [mut a, mut b, mut c] = [(); 3].map(|()| ops::Workspace::new());
        let voxels = op.grid.iter().product::<usize>() / if op.kind == Kind::Down3 { 8 } else { 1 };
        let gflop = 2e-9 * (op.weight_len() * voxels) as f64;
        let name = |what: &str| format!("{:?} {} to {} at {edge}, {what}", op.kind, op.inputs, op.outputs);
        let (op, pool) = (&op, &pool);
        let mut cases = [
            Case {
                name: name("forward"),
                gflop,
                run: Box::new(|| ops::forward(&mut a, pool, op, &x, &weight, None, &mut y).expect("runs")),
            },
            Case {
                name: name("data"),
                gflop,
                run: Box::new(|| ops::backward_data(&mut b, pool, op, &g, &weight, &mut dx).expect("runs")),
            },
            Case {
                name: name("weight"),
                gflop,
                run: Box::new(|| ops::backward_weight(&mut c, pool, op, &x, &g, &mut dw).expect("runs")),
            },
        ];
        measure(&format!("ops, {threads} threads"), ROUNDS, &mut cases);
    }
}

/// The default network with weights that keep activations near 1.
fn model() -> Model {
    let shape = Shape { inputs: 5, outputs: 1, base: 8, levels: 4 };
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        ((random >> 40) as f32) / ((1_u64 << 23) as f32) - 1.0
    };
    let layers = shape.layers().into_iter().map(|shape| {
        let fan = shape.inputs * if shape.kind == Kind::Up2 { 1 } else { shape.kind.taps() };
        let scale = (4.0 / fan as f32).sqrt();
        let weight = (0..shape.weights()).map(|_| next() * scale).collect();
        let bias = (0..shape.outputs).map(|_| next() * 0.1).collect();
        Layer { shape, weight, bias }
    });
    Model { shape, layers: layers.collect() }
}

/// The default network, a frame, and a calibration on it.
struct Subject {
    model: Model,
    input: Vec<f32>,
    calibration: Calibration,
}

impl Subject {
    fn new(pool: &Pool) -> Self {
        let model = model();
        let input: Vec<f32> = (0..5_usize << 18).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * 2e-3).collect();
        let mut calibration = Calibration { ranges: Vec::new() };
        let mut plan = Plan::new(&model, 64, Precision::F32, None).expect("a plan");
        let (mut state, mut logits) = (plan.state(), vec![0.0; 1 << 18]);
        plan.calibrate(pool, &input, &mut state, &mut logits, &mut calibration).expect("runs");
        Self { model, input, calibration }
    }

    fn plan(&self, isa: Isa, precision: Precision) -> Plan {
        Plan::on(isa, &self.model, 64, precision, Some(&self.calibration)).expect("a plan")
    }
}

/// GFLOP of a layer of the default network on 64³, as a plain sum.
fn gflop(shape: &Shape, layer: &LayerShape) -> f64 {
    let edge = 64 >> level(shape, layer);
    let stride = if layer.kind == Kind::Down3 { 8.0 } else { 1.0 };
    2e-9 * (layer.weights() * edge * edge * edge) as f64 / stride
}

/// Whole frames, f32 and int8, on one thread and two.
fn frames() {
    let pools = [1, 2].map(|threads| Pool::new(threads).expect("threads"));
    let subject = Subject::new(&pools[1]);
    let work: f64 = subject.model.shape.layers().iter().map(|l| gflop(&subject.model.shape, l)).sum();
    let mut cases = Vec::new();
    for pool in &pools {
        for precision in [Precision::F32, Precision::Int8] {
            let mut plan = subject.plan(Isa::detect(), precision);
            let (mut state, mut logits, input) = (plan.state(), vec![0.0; 1 << 18], &subject.input);
            println!("{precision:?}: {} bytes, and {} of scratch a thread", plan.bytes(), plan.scratch_bytes());
            let run = move || plan.run(pool, input, &mut state, &mut logits).expect("runs");
            let name = format!("{precision:?}, {} threads", pool.threads());
            cases.push(Case { name, gflop: work, run: Box::new(run) });
        }
    }
    let cpu = measure("frame of 64³", ROUNDS, &mut cases);
    println!("int8 / f32 of CPU: {:.3} on one thread, {:.3} on two", cpu[1] / cpu[0], cpu[3] / cpu[2]);
}

/// The same on one thread with other instructions.
fn instructions() {
    let pool = Pool::new(1).expect("threads");
    let subject = Subject::new(&pool);
    let work: f64 = subject.model.shape.layers().iter().map(|l| gflop(&subject.model.shape, l)).sum();
    let mut cases = Vec::new();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        for precision in [Precision::F32, Precision::Int8] {
            let mut plan = subject.plan(isa, precision);
            let (mut state, mut logits, input, pool) = (plan.state(), vec![0.0; 1 << 18], &subject.input, &pool);
            let run = move || plan.run(pool, input, &mut state, &mut logits).expect("runs");
            cases.push(Case { name: format!("{isa:?}, {precision:?}"), gflop: work, run: Box::new(run) });
        }
    }
    measure("frame of 64³", 5, &mut cases);
}

/// A thousand frames of each precision on two threads: how even their CPU time is, and beside each frame how even that
/// of as much work is which touches registers alone, and so shows what other machines on the same processor do to it.
fn thousand() {
    let pool = Pool::new(2).expect("threads");
    let subject = Subject::new(&pool);
    for precision in [Precision::Int8, Precision::F32] {
        let mut plan = subject.plan(Isa::detect(), precision);
        let (mut state, mut logits) = (plan.state(), vec![0.0; 1 << 18]);
        let mut times = [Vec::new(), Vec::new()];
        let (mut tasks, mut settled) = (16, false);
        for _ in 0..1010 {
            let start = cpu_ms();
            plan.run(&pool, &subject.input, &mut state, &mut logits).expect("runs");
            let between = cpu_ms();
            peak::exhaust(&pool, precision, tasks);
            times[0].push(between - start);
            times[1].push(cpu_ms() - between);
            // As long as a frame, as soon as it is known how long that is.
            if !settled && times[0].len() == 10 {
                settled = true;
                let [frame, registers] = [0, 1].map(|k| quantile(&mut times[k].clone(), 0.5));
                tasks = ((tasks as f64 * frame / registers).round() as usize).max(1);
                times.iter_mut().for_each(Vec::clear);
            }
        }
        for (what, times) in ["frames", "of registers alone"].iter().zip(&mut times) {
            let [median, p99] = [0.5, 0.99].map(|q| quantile(times, q));
            let (n, ratio) = (times.len(), p99 / median);
            println!("{precision:?}, {n} {what}: CPU median {median:.3} ms, p99 {p99:.3} ms, ratio {ratio:.3}");
        }
    }
}

/// Each step of a frame on one thread, f32 beside int8.
fn steps() {
    let pool = Pool::new(1).expect("threads");
    let subject = Subject::new(&pool);
    let layers = subject.model.shape.layers();
    let mut plans = [Precision::F32, Precision::Int8].map(|p| subject.plan(Isa::detect(), p));
    let mut times: Vec<(String, [Vec<f64>; 2])> = Vec::new();
    let mut states = [plans[0].state(), plans[1].state()];
    let mut logits = vec![0.0; 1 << 18];
    for round in 0..ROUNDS + 2 {
        for (k, (plan, state)) in plans.iter_mut().zip(&mut states).enumerate() {
            let (mut last, mut at) = (cpu_ms(), 0);
            let mut after = |name: &str| {
                let now = cpu_ms();
                if round >= 2 {
                    if at == times.len() {
                        times.push((name.into(), [Vec::new(), Vec::new()]));
                    }
                    times[at].1[k].push(now - last);
                }
                (last, at) = (cpu_ms(), at + 1);
            };
            plan.run_observed(&pool, &subject.input, state, &mut logits, &mut after).expect("runs");
        }
    }
    for (name, mut each) in times {
        let [f32_ms, int8_ms] = [0, 1].map(|k| quantile(&mut each[k], 0.5));
        // A block's 1×1×1 layer is part of its last convolution.
        let skip = name.replace("conv2", "skip");
        let own = layers.iter().filter(|l| l.name == name || l.name == skip);
        let work = own.fold(0.0, |all, l| all + gflop(&subject.model.shape, l));
        println!(
            "step {name:<12} {work:6.3} GFLOP   f32 {f32_ms:7.3} ms ({:4.0} GFLOP/CPU-s)   int8 {int8_ms:7.3} ms ({:4.0})",
            work / f32_ms * 1e3,
            work / int8_ms * 1e3
        );
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    if wants("frames") {
        frames();
    }
    if wants("instructions") {
        instructions();
    }
    if wanted.iter().any(|w| w == "thousand") {
        thousand();
    }
    if wants("steps") {
        steps();
    }
    if wants("ops") {
        [1, 2].into_iter().for_each(layers);
    }
}
