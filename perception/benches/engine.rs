//! Layers and whole frames of the engine: medians, and rates in GFLOP/s of the plain sum, so that saved multiplications
//! count as speed. `cargo bench -p bregma-perception --bench engine -- [FILTER]`; every figure is interleaved with the
//! others, round by round, so that a busy machine slows all of them.
#![expect(clippy::disallowed_methods, reason = "a bench measures time; nothing here runs in the runtime")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use bregma_perception::engine::{Pool, ops};
use bregma_perception::model::{Kind, Shape};
use std::time::Instant;

const ROUNDS: usize = 21;

/// Something measured: its name, its work in GFLOP, and how to do it once.
struct Case<'a> {
    name: String,
    gflop: f64,
    run: Box<dyn FnMut() + 'a>,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs all cases in turn, round by round.
fn measure(title: &str, cases: &mut [Case<'_>]) {
    let filter = std::env::args().nth(1).filter(|a| !a.starts_with("--"));
    let wanted = |name: &str| filter.as_ref().is_none_or(|f| title.contains(f.as_str()) || name.contains(f.as_str()));
    let mut times = vec![Vec::new(); cases.len()];
    for round in 0..ROUNDS + 2 {
        for (case, times) in cases.iter_mut().zip(&mut times).filter(|(case, _)| wanted(&case.name)) {
            let start = Instant::now();
            (case.run)();
            if round >= 2 {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    for (case, times) in cases.iter().zip(times).filter(|(_, times)| !times.is_empty()) {
        let best = times.iter().fold(f64::INFINITY, |m, t| m.min(*t));
        let middle = median(times);
        let rate = |ms: f64| case.gflop / ms * 1e3;
        println!(
            "{title:<22} {:<34} median {middle:8.3} ms ({:6.0} GFLOP/s)   best {best:8.3} ms ({:6.0})",
            case.name,
            rate(middle),
            rate(best)
        );
    }
}

/// Forward and both ways back of the default network's layers, as training sees them.
fn layers(threads: usize) {
    let pool = Pool::new(threads).expect("threads");
    let shape = Shape { inputs: 5, outputs: 1, base: 8, levels: 4 };
    let mut seen = std::collections::HashSet::new();
    for layer in shape.layers() {
        let level = (0..shape.levels).rev().find(|l| match layer.kind {
            Kind::Down3 => layer.inputs == shape.width(*l),
            Kind::Up2 => layer.outputs * 2 == shape.width(*l),
            _ => layer.outputs == shape.width(*l) || layer.name.starts_with("lstm"),
        });
        let edge = 64 >> level.unwrap_or(0);
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
        measure(&format!("ops, {threads} threads"), &mut cases);
    }
}

fn main() {
    [1, 2].into_iter().for_each(layers);
}
