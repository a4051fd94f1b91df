//! One network, four ways: burn trains it, a file keeps it, the engine runs it in f32 and, by the file's ranges, in
//! int8. What is trained must be what runs.

use bregma_core::flow::{ROI_CHANNEL_COUNT, roi_channels_digest};
use bregma_perception::engine::{Calibration, Plan, Pool, Precision};
use bregma_perception::model::Shape;
use bregma_perception::model::file::{ModelFile, Stored};
use bregma_perception::network::Network;
use bregma_perception::network::api::{Autodiff, AutodiffModule, Flex, Tensor, tensor, values};

type Train = Autodiff<Flex>;

const EDGE: usize = 16;
const FRAMES: usize = 4;
const SHAPE: Shape = Shape { inputs: ROI_CHANNEL_COUNT, outputs: 1, base: 8, levels: 4 };

/// A frame's channels: a ball that moves, and something finer.
fn frame(t: usize) -> Vec<f32> {
    let voxel = |i: usize| {
        let (c, x, y, z) = (i / EDGE.pow(3), i % EDGE, i / EDGE % EDGE, i / EDGE.pow(2) % EDGE);
        let away = [x, y, z].map(|v| (v as f32 - 7.5 - t as f32).powi(2)).iter().sum::<f32>();
        let fine = ((i * 37 + t * 11) % 101) as f32 / 101.0 - 0.5;
        if away < 20.0 + c as f32 { 1.0 + fine } else { 0.5 * fine }
    };
    (0..SHAPE.inputs * EDGE.pow(3)).map(voxel).collect()
}

fn volumes(frames: impl IntoIterator<Item = usize>) -> (usize, Vec<f32>) {
    let frames: Vec<Vec<f32>> = frames.into_iter().map(frame).collect();
    (frames.len(), frames.concat())
}

/// A network whose norms have seen some batches.
fn trained() -> Network<Flex> {
    let device = Default::default();
    let network = Network::<Train>::new(SHAPE, 11, &device).expect("a shape within bounds");
    for step in 0..6 {
        let (count, values) = volumes(step..step + 2);
        let x: Tensor<Train, 5> = tensor(values, [count, SHAPE.inputs, EDGE, EDGE, EDGE], &device);
        drop(network.sequence(x, count, None));
    }
    network.valid()
}

/// The largest difference, and that over the largest magnitude of `b`.
fn apart(a: &[f32], b: &[f32]) -> (f32, f32) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|v| v.is_finite()), "numbers");
    let worst = a.iter().zip(b).fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    (worst, worst / b.iter().fold(0.0_f32, |m, v| m.max(v.abs())))
}

/// Logits of every frame, and the state behind the last.
fn run(plan: &mut Plan, mut calibration: Option<&mut Calibration>) -> (Vec<Vec<f32>>, Vec<f32>) {
    let (pool, mut state) = (Pool::new(2).expect("threads"), plan.state());
    let of = |t| {
        let mut logits = vec![0.0; EDGE.pow(3)];
        match calibration.as_deref_mut() {
            Some(seen) => plan.calibrate(&pool, &frame(t), &mut state, &mut logits, seen),
            None => plan.run(&pool, &frame(t), &mut state, &mut logits),
        }
        .expect("a frame of this plan");
        logits
    };
    let logits = (0..FRAMES).map(of).collect();
    (logits, state.hidden().to_vec())
}

#[test]
fn what_is_trained_is_what_runs() {
    let network = trained();
    let mut file = ModelFile::new(network.fold(), Stored::F32, roi_channels_digest()).expect("a sound model");
    let mut plan = Plan::new(file.model(), EDGE, Precision::F32, None).expect("a plan");
    let mut calibration = Calibration { ranges: Vec::new() };
    let (engines, hidden) = run(&mut plan, Some(&mut calibration));

    let mut state = None;
    for (t, engine) in engines.iter().enumerate() {
        let x = tensor(frame(t), [1, SHAPE.inputs, EDGE, EDGE, EDGE], &Default::default());
        let (logits, next) = network.forward(x, state);
        let (worst, _) = apart(engine, &values(logits));
        assert!(worst <= 1e-4, "frame {t}: burn and the engine are {worst:e} apart");
        state = Some(next);
    }
    let (worst, _) = apart(&hidden, &values(state.expect("frames").hidden));
    assert!(worst <= 1e-4, "the state is {worst:e} apart");

    file.set_activations(&calibration.ranges);
    let bytes = file.to_bytes().expect("a sound file");
    let again = ModelFile::from_bytes(&bytes, &roi_channels_digest()).expect("the file just written");
    assert_eq!(run(&mut Plan::new(again.model(), EDGE, Precision::F32, None).expect("a plan"), None).0, engines);
    let calibration = Calibration { ranges: again.activations() };
    let mut int8 = Plan::new(again.model(), EDGE, Precision::Int8, Some(&calibration)).expect("a plan in int8");
    for (t, (a, b)) in run(&mut int8, None).0.iter().zip(&engines).enumerate() {
        let (_, share) = apart(a, b);
        assert!(share < 0.1, "frame {t}: int8 is {share} of the largest logit apart");
    }
}

/// A model stored in f16 is another one, by its digest, and nearly the same by what it says.
#[test]
fn half_the_bytes_say_nearly_the_same() {
    let model = trained().fold();
    let half = ModelFile::new(model.clone(), Stored::F16, roi_channels_digest()).expect("a sound model");
    assert_ne!(half.model().digest(), model.digest());
    let of = |model| run(&mut Plan::new(model, EDGE, Precision::F32, None).expect("a plan"), None).0.concat();
    let (_, share) = apart(&of(half.model()), &of(&model));
    assert!(share > 0.0 && share < 1e-2, "{share}");
    let bytes = half.to_bytes().expect("a sound file").len();
    let whole = ModelFile::new(model, Stored::F32, roi_channels_digest()).expect("a sound model");
    assert!(bytes * 2 < whole.to_bytes().expect("a sound file").len() + 2000);
}
