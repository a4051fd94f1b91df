//! Plans against the network written out plainly.

use super::naive::{Layer, Random};
use super::*;
use crate::model::{Kind, Layer as ModelLayer, Model, Shape};

/// A network with random weights that keep activations near 1.
pub(super) fn model(shape: Shape, seed: u64) -> Model {
    let mut random = Random(seed);
    let layers = shape
        .layers()
        .into_iter()
        .map(|shape| {
            let fan = shape.inputs * if shape.kind == Kind::Up2 { 1 } else { shape.kind.taps() };
            let scale = (if shape.name.contains("conv2") { 1.0 } else { 2.0 } * 3.0 / fan as f32).sqrt();
            let weight = random.values(shape.weights()).into_iter().map(|v| v * scale).collect();
            let bias = random.values(shape.outputs).into_iter().map(|v| v * 0.1).collect();
            ModelLayer { shape, weight, bias }
        })
        .collect();
    Model { shape, layers }
}

/// A ball, a slope and noise: what a scan might look like.
pub(super) fn frame(inputs: usize, edge: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed | 1);
    let centre = [0, 1, 2].map(|_| (0.5 + 0.2 * random.next()) * edge as f32);
    let mut values = Vec::with_capacity(inputs * edge.pow(3));
    for c in 0..inputs {
        for i in 0..edge.pow(3) {
            let at = [i / edge / edge, i / edge % edge, i % edge].map(|v| v as f32);
            let away = at.iter().zip(centre).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            let ball = (edge as f32 * 0.25 - away).clamp(-2.0, 2.0);
            values.push(ball * (0.5 + 0.3 * c as f32) + at[c % 3] / edge as f32 - 0.5 + 0.1 * random.next());
        }
    }
    values
}

struct Plain<'a> {
    model: &'a Model,
    edge: usize,
}

impl Plain<'_> {
    fn layer(&self, name: &str, x: &[f64], level: usize) -> Vec<f64> {
        let layer = self.model.layers.iter().find(|l| l.shape.name == name).expect("a layer");
        let x: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        let (kind, inputs, outputs) = (layer.shape.kind, layer.shape.inputs, layer.shape.outputs);
        let plain = Layer { kind, inputs, outputs, batch: 1, grid: [self.edge >> level; 3] };
        plain.forward(&x, &layer.weight, &layer.bias)
    }

    fn block(&self, name: &str, x: &[f64], level: usize, projected: bool) -> Vec<f64> {
        let middle = relu(self.layer(&format!("{name}.conv1"), x, level));
        let sum = self.layer(&format!("{name}.conv2"), &middle, level);
        let skip = if projected { self.layer(&format!("{name}.skip"), x, level) } else { x.to_vec() };
        relu(sum.iter().zip(skip).map(|(a, b)| a + b).collect())
    }

    fn run(&self, input: &[f32], [hidden, cell]: &mut [Vec<f64>; 2]) -> Vec<f64> {
        let deep = self.model.shape.levels - 1;
        let input: Vec<f64> = input.iter().map(|v| f64::from(*v)).collect();
        let mut encoded = vec![self.block("enc0", &input, 0, true)];
        for level in 1..=deep {
            let down = relu(self.layer(&format!("down{level}"), &encoded[level - 1], level - 1));
            encoded.push(self.block(&format!("enc{level}"), &down, level, false));
        }
        let gates = self.layer("lstm.gates", &[&encoded[deep][..], hidden].concat(), deep);
        let len = hidden.len();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for k in 0..len {
            let [i, f, g, o] = [0, 1, 2, 3].map(|n| gates[n * len + k]);
            cell[k] = sigmoid(f) * cell[k] + sigmoid(i) * g.tanh();
            hidden[k] = sigmoid(o) * cell[k].tanh();
        }
        let mut d: Vec<f64> = encoded[deep].iter().zip(hidden).map(|(e, h)| e + *h).collect();
        for level in (0..deep).rev() {
            let up = self.layer(&format!("up{level}"), &d, level + 1);
            d = self.block(&format!("dec{level}"), &[&encoded[level][..], &up].concat(), level, true);
        }
        self.layer("head", &d, 0)
    }
}

fn relu(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|v| v.max(0.0)).collect()
}

fn available() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

/// What a plan says to three frames.
fn sequence(plan: &mut Plan, threads: usize, frames: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let pool = Pool::new(threads).expect("threads");
    let mut state = plan.state();
    let mut all = Vec::new();
    for frame in frames {
        let mut logits = vec![f32::NAN; plan.shape().outputs * plan.edge().pow(3)];
        plan.run(&pool, frame, &mut state, &mut logits).expect("runs");
        all.push(logits);
    }
    all
}

fn calibrated(model: &Model, edge: usize, frames: &[Vec<f32>]) -> Calibration {
    let mut plan = Plan::new(model, edge, Precision::F32, None).expect("a plan");
    let pool = Pool::new(2).expect("threads");
    let (mut state, mut calibration) = (plan.state(), Calibration { ranges: Vec::new() });
    let mut logits = vec![0.0; model.shape.outputs * edge.pow(3)];
    for frame in frames {
        plan.calibrate(&pool, frame, &mut state, &mut logits, &mut calibration).expect("runs");
    }
    calibration
}

#[test]
fn a_plan_in_f32_is_the_network_written_out_plainly() {
    for (shape, edge) in [
        (Shape { inputs: 5, outputs: 1, base: 8, levels: 3 }, 16),
        (Shape { inputs: 3, outputs: 4, base: 4, levels: 2 }, 10),
        (Shape { inputs: 1, outputs: 2, base: 6, levels: 1 }, 7),
        (Shape { inputs: 2, outputs: 2, base: 4, levels: 4 }, 24),
    ] {
        let model = model(shape, 99);
        let frames: Vec<_> = (0..3).map(|n| frame(shape.inputs, edge, n)).collect();
        let plain = Plain { model: &model, edge };
        let len = shape.width(shape.levels - 1) * (edge >> (shape.levels - 1)).pow(3);
        let mut state = [vec![0.0; len], vec![0.0; len]];
        let expected: Vec<Vec<f64>> = frames.iter().map(|f| plain.run(f, &mut state)).collect();
        for isa in available() {
            let mut plan = Plan::on(isa, &model, edge, Precision::F32, None).expect("a plan");
            for (found, expected) in sequence(&mut plan, 2, &frames).iter().zip(&expected) {
                let error = naive::difference(found, expected);
                assert!(error < 1e-5, "{isa:?} {shape:?} at {edge}: {error}");
            }
        }
    }
}

#[test]
fn bytes_agree_with_floats() {
    for (shape, edge) in [
        (Shape { inputs: 5, outputs: 3, base: 8, levels: 3 }, 32),
        (Shape { inputs: 3, outputs: 2, base: 6, levels: 2 }, 12),
        (Shape { inputs: 5, outputs: 2, base: 4, levels: 4 }, 40),
    ] {
        let model = model(shape, 17);
        let frames: Vec<_> = (0..3).map(|n| frame(shape.inputs, edge, n)).collect();
        let calibration = calibrated(&model, edge, &frames);
        let mut floats = Plan::new(&model, edge, Precision::F32, None).expect("a plan");
        let expected = sequence(&mut floats, 2, &frames);
        for isa in available() {
            let mut plan = Plan::on(isa, &model, edge, Precision::Int8, Some(&calibration)).expect("a plan");
            let (mut same, mut all) = (0, 0);
            for (found, expected) in sequence(&mut plan, 2, &frames).iter().zip(&expected) {
                let voxels = edge.pow(3);
                let highest = |logits: &[f32], v: usize| {
                    let of = |o: &usize| logits[o * voxels + v];
                    (0..shape.outputs).max_by(|a, b| of(a).total_cmp(&of(b)))
                };
                same += (0..voxels).filter(|v| highest(found, *v) == highest(expected, *v)).count();
                all += voxels;
                let square = |v: f64| v * v;
                let error = expected.iter().zip(found).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum::<f64>();
                let error = (error / expected.iter().map(|v| square(f64::from(*v))).sum::<f64>()).sqrt();
                assert!(error < 0.05, "{isa:?} {shape:?}: {error}");
            }
            let share = same as f64 / all as f64;
            assert!(share >= 0.99, "{isa:?} {shape:?}: {share}");
        }
    }
}

#[test]
fn bytes_differ_by_rounding_between_instructions() {
    let shape = Shape { inputs: 5, outputs: 2, base: 8, levels: 2 };
    let model = model(shape, 5);
    let frames: Vec<_> = (0..2).map(|n| frame(5, 16, n)).collect();
    let calibration = calibrated(&model, 16, &frames);
    let results: Vec<_> = available()
        .map(|isa| {
            let mut plan = Plan::on(isa, &model, 16, Precision::Int8, Some(&calibration)).expect("a plan");
            sequence(&mut plan, 1, &frames)
        })
        .collect();
    for other in &results[1..] {
        for (a, b) in results[0].iter().zip(other) {
            let exact: Vec<f64> = a.iter().map(|v| f64::from(*v)).collect();
            let error = naive::difference(b, &exact);
            assert!(error < 0.02, "{error}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let shape = Shape { inputs: 5, outputs: 2, base: 8, levels: 3 };
    let model = model(shape, 3);
    let frames: Vec<_> = (0..2).map(|n| frame(5, 32, n)).collect();
    let calibration = calibrated(&model, 32, &frames);
    for precision in [Precision::F32, Precision::Int8] {
        let run = |threads| {
            let mut plan = Plan::new(&model, 32, precision, Some(&calibration)).expect("a plan");
            sequence(&mut plan, threads, &frames)
        };
        let one = run(1);
        assert!([2, 3, 7].into_iter().all(|threads| run(threads) == one), "{precision:?}");
    }
}

#[test]
fn a_reset_state_is_a_new_one() {
    let shape = Shape { inputs: 2, outputs: 1, base: 4, levels: 2 };
    let model = model(shape, 8);
    let mut plan = Plan::new(&model, 8, Precision::F32, None).expect("a plan");
    let pool = Pool::new(1).expect("threads");
    let (mut state, input) = (plan.state(), frame(2, 8, 1));
    let mut logits = [vec![0.0; 512], vec![0.0; 512], vec![0.0; 512]];
    plan.run(&pool, &input, &mut state, &mut logits[0]).expect("runs");
    plan.run(&pool, &input, &mut state, &mut logits[1]).expect("runs");
    assert_ne!(logits[0], logits[1], "the second frame remembers the first");
    state.reset();
    assert_eq!(state, plan.state());
    plan.run(&pool, &input, &mut state, &mut logits[2]).expect("runs");
    assert_eq!(logits[0], logits[2]);
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let shape = Shape { inputs: 2, outputs: 1, base: 4, levels: 2 };
    let good = model(shape, 8);
    let refused = |model: &Model, edge, precision, calibration: Option<&Calibration>| {
        Plan::new(model, edge, precision, calibration).err().map(|e| e.to_string()).unwrap_or_default()
    };
    let f32_at = |model: &Model, edge| refused(model, edge, Precision::F32, None);
    assert_eq!(f32_at(&good, 7), "an edge of 7 voxels: this network needs a multiple of 2, at most 256");
    assert!(f32_at(&good, 0).contains("an edge of 0"));
    assert!(f32_at(&good, 1024).contains("at most 256"));
    let mut bad = good.clone();
    bad.layers[1].weight[7] = f32::NAN;
    assert_eq!(f32_at(&bad, 8), "enc0.conv2: weight 7 is NaN; training went wrong, or the file is damaged");
    let mut bad = good.clone();
    bad.layers[3].bias[0] = f32::INFINITY;
    assert!(f32_at(&bad, 8).contains("down1: bias 0 is inf"));
    let mut bad = good.clone();
    bad.layers.swap(0, 1);
    assert!(f32_at(&bad, 8).starts_with("layer 0 is enc0.conv2"));
    let mut bad = good.clone();
    bad.layers.pop();
    assert!(f32_at(&bad, 8).contains("is nothing, but this network has head"));
    let mut bad = good.clone();
    bad.layers[0].weight.pop();
    assert!(f32_at(&bad, 8).contains("weight has 215 values, not 216"));
    let mut bad = good.clone();
    bad.shape.levels = 0;
    assert!(f32_at(&bad, 8).contains("1 to 8 levels"));
    bad.shape = Shape { base: 1000, levels: 4, ..shape };
    assert!(f32_at(&bad, 8).contains("1024 channels"));
    assert!(refused(&good, 8, Precision::Int8, None).contains("needs a calibration"));
    let mut calibration = calibrated(&good, 8, &[frame(2, 8, 1)]);
    calibration.ranges[4] = [0.5, 1.0];
    assert!(refused(&good, 8, Precision::Int8, Some(&calibration)).contains("0.5 to 1"));
    calibration.ranges[4] = [0.0, f32::NAN];
    assert!(refused(&good, 8, Precision::Int8, Some(&calibration)).contains("must be finite"));
    calibration.ranges.pop();
    assert!(refused(&good, 8, Precision::Int8, Some(&calibration)).contains("ranges"));
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.available()) {
        assert_eq!(Plan::on(isa, &good, 8, Precision::F32, None).err(), Some(EngineError::Isa(isa)));
    }
}

#[test]
fn a_frame_that_does_not_fit_is_refused_and_changes_nothing() {
    let shape = Shape { inputs: 2, outputs: 1, base: 4, levels: 2 };
    let model = model(shape, 8);
    let mut plan = Plan::new(&model, 8, Precision::F32, None).expect("a plan");
    let pool = Pool::new(1).expect("threads");
    let (mut state, mut input, mut logits) = (plan.state(), frame(2, 8, 1), vec![0.0; 512]);
    let short = plan.run(&pool, &input[1..], &mut state, &mut logits);
    assert_eq!(short, Err(EngineError::Length { what: "input", found: 1023, expected: 1024 }));
    let short = plan.run(&pool, &input, &mut state, &mut logits[1..]);
    assert_eq!(short, Err(EngineError::Length { what: "logits", found: 511, expected: 512 }));
    input[77] = f32::NEG_INFINITY;
    let infinite = plan.run(&pool, &input, &mut state, &mut logits);
    assert_eq!(infinite, Err(EngineError::Value { what: "input", at: 77, value: f32::NEG_INFINITY }));
    let mut other = Plan::new(&model, 16, Precision::F32, None).expect("a plan").state();
    input[77] = 0.0;
    let state_of_another = plan.run(&pool, &input, &mut other, &mut logits);
    assert_eq!(state_of_another, Err(EngineError::State { found: 4096, expected: 512 }));
    assert!(logits.iter().all(|v| *v == 0.0) && state == plan.state());
}

#[test]
fn bytes_take_less_than_a_third_of_the_memory() {
    let shape = Shape { inputs: 5, outputs: 1, base: 8, levels: 4 };
    let model = model(shape, 1);
    let calibration = calibrated(&model, 64, &[frame(5, 64, 1)]);
    let floats = Plan::new(&model, 64, Precision::F32, None).expect("a plan");
    let bytes = Plan::new(&model, 64, Precision::Int8, Some(&calibration)).expect("a plan");
    let ratio = bytes.bytes() as f64 / floats.bytes() as f64;
    assert!(ratio <= 0.3, "{ratio}");
}
