//! The network in burn: forward, forward and backward, and a whole AdamW step, on burn's CPU backend bare and with our
//! kernels, in one run and in turn: a busy machine slows all of them.
//! `cargo bench -p bregma-perception --bench network [-- EDGE [FRAMES]] [ours]`; 64 and 1 are the defaults, `ours`
//! leaves burn's own out. Medians, and the CPU time of all threads beside them where the system tells it. burn's own is
//! so much slower that it has a quarter of the rounds.
#![expect(clippy::disallowed_methods, reason = "a bench measures time; nothing here runs in the runtime")]
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use bregma_perception::model::Shape;
use bregma_perception::network::api::{
    AdamWConfig, Autodiff, AutodiffModule, Flex, GradientsParams, Optimizer, Tensor, tensor,
};
use bregma_perception::network::{Network, Operations};
use std::time::Instant;

type Train = Autodiff<Flex>;

const SHAPE: Shape = Shape { inputs: 5, outputs: 1, base: 8, levels: 4 };
const ROUNDS: usize = 12;

/// CPU time of this process so far, in ms; 0 where there is no `/proc`.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum::<f64>();
    ticks * 10.0
}

fn volume(frames: usize, channels: usize, edge: usize) -> Tensor<Train, 5> {
    let count = frames * channels * edge.pow(3);
    let values = (0..count).map(|i| ((i * 7919 % 1000) as f32 - 500.0) * 2e-3).collect();
    tensor(values, [frames, channels, edge, edge, edge], &Default::default())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|a| a.parse::<usize>().ok());
    let (edge, frames) = (numbers.next().unwrap_or(64), numbers.next().unwrap_or(1));
    let (x, truth) = (volume(frames, SHAPE.inputs, edge), volume(frames, SHAPE.outputs, edge));
    let network = Network::<Train>::new(SHAPE, 1, &Default::default()).expect("a shape within bounds");
    let loss = |network: &Network<Train>| {
        let (logits, _) = network.sequence(x.clone(), frames, None);
        (logits - truth.clone()).square().mean()
    };
    let both = [("flex bare", Operations::Plain), ("flex, our kernels", Operations::Kernels)];
    let mut trained = both.map(|(_, operations)| network.clone().with_operations(operations));
    let mut optimiser = both.map(|_| AdamWConfig::new().init::<Train, Network<Train>>());

    const CASES: [&str; 4] = ["forward, evaluation", "forward", "forward + backward", "AdamW step"];
    let mut times = [[(); 4]; 2].map(|cases| cases.map(|()| (Vec::new(), Vec::new())));
    let only_ours = std::env::args().any(|a| a == "ours");
    for round in 0..=ROUNDS {
        for (which, (_, operations)) in both.iter().enumerate() {
            if *operations == Operations::Plain && (only_ours || round % 4 > 0) {
                continue;
            }
            let network = network.clone().with_operations(*operations);
            let valid = network.valid();
            for (case, (wall, cpu)) in times[which].iter_mut().enumerate() {
                let (cpu_start, start) = (cpu_ms(), Instant::now());
                match case {
                    0 => drop(valid.sequence(x.clone().inner(), frames, None)),
                    1 => drop(network.sequence(x.clone(), frames, None)),
                    2 => drop(loss(&network).backward()),
                    _ => {
                        let gradients = GradientsParams::from_grads(loss(&trained[which]).backward(), &trained[which]);
                        trained[which] = optimiser[which].step(1e-3, trained[which].clone(), gradients);
                    }
                }
                if round > 0 {
                    wall.push(start.elapsed().as_secs_f64() * 1e3);
                    cpu.push(cpu_ms() - cpu_start);
                }
            }
        }
    }
    println!("{frames} frame(s) of {edge}³, {} threads, medians of {ROUNDS} rounds", rayon::current_num_threads());
    for (case, name) in CASES.iter().enumerate() {
        let [bare, ours] = times.each_mut().map(|of| median(&mut of[case].0));
        let [bare_cpu, ours_cpu] = times.each_mut().map(|of| median(&mut of[case].1));
        println!(
            "{name:<20} {} {bare:8.1} ms ({bare_cpu:7.0} CPU)   {} {ours:8.1} ms ({ours_cpu:7.0} CPU)   ratio {:.1}",
            both[0].0,
            both[1].0,
            bare / ours
        );
    }
}
