//! The network against its description, and folded against itself.

use super::api::{Autodiff, AutodiffModule, Flex, Tensor, conv, relu, sigmoid, tensor, values};
use super::*;

type Train = Autodiff<Flex>;

const SMALL: Shape = Shape { inputs: 3, outputs: 2, base: 4, levels: 3 };

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = Random(seed);
    (0..count).map(|_| random.next()).collect()
}

fn volumes<B: Backend>(seed: u64, dims: [usize; 5]) -> Tensor<B, 5> {
    tensor(numbers(seed, dims.iter().product()), dims, &Default::default())
}

/// The largest difference over the largest magnitude of `b`.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let worst =
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |m: f32, d| if d.is_nan() { d } else { m.max(d) });
    worst / size
}

/// The description in [`crate::model`], word by word, in burn's plain operations.
fn described(model: &Model, x: Tensor<Flex, 5>, state: State<Flex>) -> (Tensor<Flex, 5>, State<Flex>) {
    let device = x.device();
    let layer = |name: &str, x: Tensor<Flex, 5>| {
        let layer = model.layers.iter().find(|l| l.shape.name == name).expect("a layer of that name");
        let dims = api::weight_dims(layer.shape.kind, layer.shape.inputs, layer.shape.outputs);
        let weight = tensor(layer.weight.clone(), dims, &device);
        conv(layer.shape.kind, x, weight, Some(tensor(layer.bias.clone(), [layer.shape.outputs], &device)))
    };
    let has = |name: &str| model.layers.iter().any(|l| l.shape.name == name);
    let block = |name: &str, x: Tensor<Flex, 5>| {
        let inner = relu(layer(&format!("{name}.conv1"), x.clone()));
        let skip = format!("{name}.skip");
        let past = if has(&skip) { layer(&skip, x) } else { x };
        relu(layer(&format!("{name}.conv2"), inner) + past)
    };
    let mut e = vec![block("enc0", x)];
    for l in 1..model.shape.levels {
        e.push(block(&format!("enc{l}"), relu(layer(&format!("down{l}"), e[l - 1].clone()))));
    }
    let deep = e.pop().expect("a deepest level");
    let gates = layer("lstm.gates", Tensor::cat(vec![deep.clone(), state.hidden], 1));
    let [i, f, g, o] = <[_; 4]>::try_from(gates.chunk(4, 1)).expect("four gates");
    let cell = sigmoid(f) * state.cell + sigmoid(i) * g.tanh();
    let hidden = sigmoid(o) * cell.clone().tanh();
    let mut d = deep + hidden.clone();
    for l in (0..model.shape.levels - 1).rev() {
        d = block(&format!("dec{l}"), Tensor::cat(vec![e[l].clone(), layer(&format!("up{l}"), d)], 1));
    }
    (layer("head", d), State { hidden, cell })
}

/// A network that has seen some batches, so that its norms do something.
fn trained(shape: Shape, edge: usize) -> Network<Train> {
    let network = Network::<Train>::new(shape, 7, &Default::default()).expect("a shape within bounds");
    for step in 0..4 {
        let x = volumes(step, [2, shape.inputs, edge, edge, edge]) * 2.0 + 0.5;
        let _ = network.sequence(x, 2, None);
    }
    network
}

#[test]
fn folded_network_is_the_network_in_evaluation() {
    let (network, edges) = (trained(SMALL, 8).valid(), [8, 12, 16]);
    let model = network.fold();
    assert_eq!(model.check(), Ok(()));
    let mut ours = Some(network.start(1, edges, &Default::default()));
    let mut described_state = ours.clone().expect("just made");
    for frame in 0..3 {
        let x = volumes::<Flex>(100 + frame, [1, 3, 8, 12, 16]);
        let (logits, state) = network.forward(x.clone(), ours);
        let (expected, expected_state) = described(&model, x, described_state);
        assert_eq!(logits.dims(), [1, 2, 8, 12, 16]);
        let difference = apart(&values(logits), &values(expected));
        assert!(difference <= 1e-4, "frame {frame}: logits differ by {difference:e}");
        let difference = apart(&values(state.cell.clone()), &values(expected_state.cell.clone()));
        assert!(difference <= 1e-4, "frame {frame}: the state differs by {difference:e}");
        (ours, described_state) = (Some(state), expected_state);
    }
}

#[test]
fn a_network_from_a_model_is_that_model() {
    let model = trained(SMALL, 8).fold();
    let network = Network::<Flex>::from_model(&model, &Default::default()).expect("a sound model");
    assert_eq!(network.fold(), model, "to the last bit");
    let mut damaged = model;
    damaged.layers[0].bias[0] = f32::INFINITY;
    assert!(Network::<Flex>::from_model(&damaged, &Default::default()).is_err());
}

/// Frames of a sequence at once and one after the other; memory is what makes the second differ from the first.
#[test]
fn a_sequence_is_its_frames() {
    let network = trained(SMALL, 8).valid();
    let x = volumes::<Flex>(5, [6, 3, 8, 8, 8]);
    let (all, last) = network.sequence(x.clone(), 3, None);
    let mut state = None;
    for frame in 0..3 {
        let (logits, next) = network.forward(x.clone().narrow(0, frame * 2, 2), state);
        let difference = apart(&values(logits), &values(all.clone().narrow(0, frame * 2, 2)));
        assert!(difference < 1e-5, "frame {frame} differs by {difference:e}");
        state = Some(next);
    }
    assert!(apart(&values(state.expect("three frames").hidden), &values(last.hidden)) < 1e-5);
    let (without, _) = network.forward(x.narrow(0, 4, 2), None);
    assert!(apart(&values(without), &values(all.narrow(0, 4, 2))) > 1e-3, "memory changes nothing");
}

#[test]
fn frozen_statistics_stay_and_batches_move_them() {
    let shape = Shape { levels: 2, ..SMALL };
    let network = trained(shape, 4);
    let before = network.fold();
    let frozen = network.clone().with_statistics(Statistics::Frozen);
    let x = volumes::<Train>(1, [1, 3, 4, 4, 4]) + 3.0;
    let (y, _) = frozen.forward(x.clone(), None);
    assert_eq!(frozen.fold(), before);
    let (evaluated, _) = network.valid().forward(x.clone().inner(), None);
    assert!(apart(&values(y.inner()), &values(evaluated)) < 1e-6);
    let _ = network.forward(x, None);
    assert_ne!(network.fold(), before);
}

#[test]
fn a_seed_is_a_network() {
    let of = |seed| Network::<Flex>::new(SMALL, seed, &Default::default()).expect("a sound shape").fold();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    assert!(Network::<Flex>::new(Shape { base: 0, ..SMALL }, 1, &Default::default()).is_err());
    let one_level = Shape { levels: 1, ..SMALL };
    let network = Network::<Flex>::new(one_level, 1, &Default::default()).expect("a sound shape");
    assert_eq!(network.forward(volumes(1, [1, 3, 2, 3, 4]), None).0.dims(), [1, 2, 2, 3, 4]);
}

/// Training by kernels and by burn's own operations: the same loss, and the same gradient of every parameter.
#[test]
fn kernels_train_as_burn_does() {
    use super::api::{Module, ModuleVisitor, Param};
    struct All<'a>(&'a <Train as super::api::AutodiffBackend>::Gradients, Vec<f32>);
    impl ModuleVisitor<Train> for All<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Train, D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                self.1.extend(values(gradient));
            }
        }
    }
    for statistics in [Statistics::OfBatch, Statistics::Frozen] {
        let network = trained(SMALL, 8).with_statistics(statistics);
        let gradients = |operations: Operations| {
            let network = network.clone().with_operations(operations);
            let (logits, _) = network.sequence(volumes(9, [4, 3, 8, 12, 8]), 2, None);
            let loss = (logits - volumes(10, [4, 2, 8, 12, 8])).square().mean();
            let gradients = loss.backward();
            let mut all = All(&gradients, values(loss.clone()));
            network.visit(&mut all);
            all.1
        };
        let (ours, burns) = (gradients(Operations::Kernels), gradients(Operations::Plain));
        assert!(ours.len() > 10_000, "every parameter has a gradient: {}", ours.len());
        let difference = apart(&ours, &burns);
        assert!(difference < 1e-4, "{statistics:?}: {difference:e}");
    }
}

/// A training stopped and taken up again: parameters, running statistics and the optimiser's moments go through
/// burn's record, and the next step is the same to the last bit.
#[test]
fn a_record_goes_on_where_it_was_left() {
    use super::api::{AdamWConfig, BinBytesRecorder, FullPrecisionSettings, GradientsParams, Optimizer, Recorder};
    let (recorder, device) = (BinBytesRecorder::<FullPrecisionSettings>::default(), Default::default());
    let shape = Shape { levels: 2, ..SMALL };
    let loss = |network: &Network<Train>, seed| {
        let (logits, _) = network.forward(volumes(seed, [2, 3, 4, 4, 4]), None);
        (logits - volumes(50, [2, 2, 4, 4, 4])).square().mean()
    };
    let step = |network: Network<Train>, optimiser: &mut _, seed| {
        let gradients = GradientsParams::from_grads(loss(&network, seed).backward(), &network);
        Optimizer::<Network<Train>, Train>::step(optimiser, 1e-2, network, gradients)
    };
    let mut optimiser = AdamWConfig::new().init();
    let mut network = Network::<Train>::new(shape, 1, &device).expect("a sound shape");
    let mut losses = Vec::new();
    for seed in 0..8 {
        losses.push(loss(&network, 0).into_scalar());
        network = step(network, &mut optimiser, seed % 2);
    }
    assert!(losses[7] < 0.8 * losses[0], "it learns: {losses:?}");

    let record = |bytes: Result<Vec<u8>, _>| -> Vec<u8> {
        bytes.map_err(|why: burn::record::RecorderError| why.to_string()).expect("a record")
    };
    let of_network = record(recorder.record(network.clone().into_record(), ()));
    let of_optimiser = record(recorder.record(Optimizer::<Network<Train>, Train>::to_record(&optimiser), ()));
    let other = Network::<Train>::new(shape, 2, &device).expect("a sound shape");
    let again = other.load_record(recorder.load(of_network, &device).expect("a record"));
    let moments = recorder.load(of_optimiser, &device).expect("a record");
    let mut resumed = AdamWConfig::new().init();
    resumed = Optimizer::<Network<Train>, Train>::load_record(resumed, moments);
    assert_eq!(again.fold(), network.fold());
    assert_eq!(step(again, &mut resumed, 9).fold(), step(network, &mut optimiser, 9).fold());
}
