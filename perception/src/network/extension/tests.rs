//! The kernels under burn's graph: against burn's own operations and gradients, and against finite differences.

use super::*;
use crate::network::api::{Autodiff, Flex, conv, tensor, values, weight_dims};

type Train = Autodiff<Flex>;

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn random<B: Backend, const D: usize>(seed: u64, dims: [usize; D]) -> Tensor<B, D> {
    tensor(numbers(seed, dims.iter().product()), dims, &Default::default())
}

/// The largest difference over the largest magnitude of `b`; infinite where something is no number.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|v| v.is_finite()), "numbers");
    let size = b.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0, |m: f32, (a, b)| m.max((a - b).abs())) / size
}

const KINDS: [Kind; 4] = [Kind::Conv3, Kind::Down3, Kind::Conv1, Kind::Up2];

/// Output and gradients of `sum(f(inputs) · weights of its own)`.
fn derived<const N: usize>(
    inputs: [Tensor<Flex, 5>; N],
    f: impl Fn([Tensor<Train, 5>; N]) -> Tensor<Train, 5>,
) -> Vec<Vec<f32>> {
    let inputs = inputs.map(|x| Tensor::<Train, 5>::from_inner(x).require_grad());
    let y = f(inputs.clone());
    let loss = (y.clone() * random(99, y.dims())).sum();
    let gradients = loss.backward();
    let of = |x: &Tensor<Train, 5>| values(x.grad(&gradients).expect("a gradient"));
    let mut all = vec![values(y.inner())];
    all.extend(inputs.iter().map(of));
    all
}

#[test]
fn layers_are_those_of_burn_with_their_gradients() {
    for (kind, (n, inputs, outputs, [d, h, w])) in KINDS.into_iter().flat_map(|kind| {
        [(1, 5, 8, [6, 4, 18]), (2, 3, 2, [3, 5, 7]), (2, 16, 9, [4, 4, 16])].map(|shape| (kind, shape))
    }) {
        let (x, weight) = (random(1, [n, inputs, d, h, w]), random(2, weight_dims(kind, inputs, outputs)));
        let bias = random::<Flex, 5>(3, [1, outputs, 1, 1, 1]);
        for biased in [true, false] {
            let ours = derived([x.clone(), weight.clone(), bias.clone()], |[x, weight, bias]| {
                let flat = bias.clone().reshape([outputs]);
                let y = layer(kind, x, weight, biased.then_some(flat));
                // Without a bias it still needs a gradient to be compared: that of 0 times itself.
                y + bias * if biased { 0.0 } else { 1.0 }
            });
            let burns = derived([x.clone(), weight.clone(), bias.clone()], |[x, weight, bias]| {
                conv(kind, x, weight, Some(bias.reshape([outputs])))
            });
            for (what, (a, b)) in ["y", "dx", "dw", "db"].iter().zip(ours.iter().zip(&burns)) {
                let difference = apart(a, b);
                assert!(difference < 2e-5, "{what} of {kind:?} {inputs} to {outputs}: {difference:e}");
            }
        }
    }
}

fn norm_of(
    [x, add, gamma, beta]: [Tensor<Train, 5>; 4],
    how: (bool, bool, bool),
    operations: Operations,
) -> Tensor<Train, 5> {
    let (rectified, from_batch, added) = how;
    let channels = x.dims()[1];
    let [gamma, beta] = [gamma, beta].map(|t| t.reshape([channels]));
    let (mean, variance) = if from_batch {
        statistics(x.clone(), operations)
    } else {
        (random(20, [channels]), random::<Train, 1>(21, [channels]).add_scalar(1.5))
    };
    let by = [mean, variance, gamma, beta];
    let y = match operations {
        Operations::Kernels => norm(x, by, added.then(|| add.clone()), rectified, from_batch),
        Operations::Plain => plain_norm(x, by, added.then(|| add.clone()), rectified),
    };
    if added { y } else { y + add }
}

#[test]
fn norms_are_those_of_burn_with_their_gradients() {
    for (n, channels, [d, h, w]) in [(1, 3, [4, 5, 6]), (3, 2, [2, 3, 40]), (2, 1, [1, 1, 3])] {
        for how in (0..8).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0)) {
            let x = random(1, [n, channels, d, h, w]) * 3.0 + 5.0;
            let small = |seed| random::<Flex, 5>(seed, [1, channels, 1, 1, 1]);
            let inputs = [x, random(2, [n, channels, d, h, w]), small(3) + 1.5, small(4)];
            let ours = derived(inputs.clone(), |inputs| norm_of(inputs, how, Operations::Kernels));
            let burns = derived(inputs, |inputs| norm_of(inputs, how, Operations::Plain));
            for (what, (a, b)) in ["y", "dx", "dadd", "dgamma", "dbeta"].iter().zip(ours.iter().zip(&burns)) {
                let difference = apart(a, b);
                assert!(difference < 5e-5, "{what} of {how:?} at {n}×{channels}: {difference:e}");
            }
        }
    }
}

/// burn's default methods are what GPUs run: the same norm by them.
#[test]
fn default_gradients_of_a_norm_are_those_of_the_kernels() {
    let dims = [2, 3, 2, 3, 5];
    let how = NormHow { rectified: true, from_batch: true, added: true };
    let by = || [random(1, [3]), random::<Flex, 1>(2, [3]) + 1.5, random(3, [3]), random(4, [3])];
    let [x, y, gradient] = [5, 6, 7].map(|seed| random::<Flex, 5>(seed, dims));
    let plain = plain_norm_gradients([x.clone(), y.clone(), gradient.clone()], by(), how);
    let ours = Flex::voxel_norm_gradients(inner(x), by().map(inner), inner(y), inner(gradient), how);
    let flat = |t: NormGradients<FloatTensor<Flex>>| {
        let [x, add] = [t.x, t.add.expect("something was added")].map(|t| values(outer::<Flex, 5>(t)));
        let [gamma, beta] = [t.gamma, t.beta].map(|t| values(outer::<Flex, 1>(t)));
        [x, add, gamma, beta].concat()
    };
    assert!(apart(&flat(ours), &flat(plain)) < 1e-5);
}

#[test]
fn joined_channels_come_apart_again() {
    for n in [1, 3] {
        let inputs = || [random(1, [n, 2, 2, 3, 4]), random(2, [n, 3, 2, 3, 4])];
        let ours = derived(inputs(), |[a, b]| join(a, b));
        let burns = derived(inputs(), |[a, b]| Tensor::cat(vec![a, b], 1));
        assert_eq!(ours, burns);
    }
}

/// Tensors that do not lie one value after the other, as burn's graph hands them on.
#[test]
fn views_are_taken_as_they_look() {
    let turned = random::<Flex, 5>(1, [2, 6, 4, 3, 5]).swap_dims(2, 4).narrow(1, 2, 3);
    let flat = tensor::<Flex, 5>(values(turned.clone()), turned.dims(), &Default::default());
    let weight = random::<Flex, 5>(2, [2, 3, 3, 3, 3]);
    let of = |x: Tensor<Flex, 5>| values(layer(Kind::Conv3, x, weight.clone(), None));
    assert_eq!(of(turned.clone()), of(flat.clone()));
    let of = |x: Tensor<Flex, 5>| {
        let (mean, variance) = statistics(x.clone(), Operations::Kernels);
        let ones = Tensor::<Flex, 1>::ones([3], &Default::default());
        values(join(norm(x.clone(), [mean, variance, ones.clone(), ones], Some(x.clone()), true, true), x))
    };
    assert_eq!(of(turned), of(flat));
}

/// The gradients of a block's worth of steps against differences of its loss, in steps of 1/128.
#[test]
fn gradients_are_slopes() {
    let shapes = [[2, 2, 4, 4, 4], [4, 2, 3, 3, 3], [4, 2, 1, 1, 1], [1, 4, 1, 1, 1], [1, 4, 1, 1, 1], [4, 2, 2, 2, 2]];
    let start: Vec<Vec<f32>> =
        shapes.iter().zip(1..).map(|(dims, seed)| numbers(seed, dims.iter().product())).collect();
    let loss = |inputs: &[Vec<f32>]| {
        let make = |i: usize| tensor::<Train, 5>(inputs[i].clone(), shapes[i], &Default::default()).require_grad();
        let all: [Tensor<Train, 5>; 6] = std::array::from_fn(make);
        let [x, weight, skip, gamma, beta, up] = all.clone();
        let inner = layer(Kind::Down3, x.clone(), weight, None);
        let (mean, variance) = statistics(inner.clone(), Operations::Kernels);
        let past = layer(Kind::Conv1, x, skip, None).slice([0..2, 0..4, 0..2, 0..2, 0..2]);
        let by = [mean, variance, gamma.reshape([4]) + 2.0, beta.reshape([4])];
        let y = norm(inner, by, Some(past), false, true);
        let y = layer(Kind::Up2, y.clone(), up, None);
        let y = join(y.clone(), y.clone() * y);
        ((y * random(50, [2, 4, 4, 4, 4])).sum(), all)
    };
    let (at_start, inputs) = loss(&start);
    let gradients = at_start.backward();
    let step = 1.0 / 128.0;
    for (i, input) in inputs.iter().enumerate() {
        let gradient = values(input.grad(&gradients).expect("a gradient"));
        let size = gradient.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
        for at in (0..gradient.len()).step_by(gradient.len().div_ceil(9)) {
            let moved = |by: f32| {
                let mut moved = start.clone();
                moved[i][at] += by;
                f64::from(loss(&moved).0.into_scalar())
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            let difference = (slope - f64::from(gradient[at])).abs() / f64::from(size);
            assert!(difference < 5e-3, "input {i}, {at}: {slope} and {} of at most {size}", gradient[at]);
        }
    }
}

/// A mean far from 0 costs the variance nothing.
#[test]
fn statistics_are_exact_far_from_zero() {
    let x = random::<Flex, 5>(1, [2, 1, 16, 16, 16]) + 1000.0;
    let exact: Vec<f64> = values(x.clone()).into_iter().map(f64::from).collect();
    let mean = exact.iter().sum::<f64>() / exact.len() as f64;
    let variance = exact.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / exact.len() as f64;
    let (m, v) = statistics(x, Operations::Kernels);
    let (m, v) = (f64::from(values(m)[0]), f64::from(values(v)[0]));
    assert!((m - mean).abs() < 1e-4 && (v / variance - 1.0).abs() < 1e-5, "{m} {mean}, {v} {variance}");
}

#[test]
fn what_is_no_number_shows() {
    let x = tensor::<Flex, 5>(vec![1.0, f32::NAN, -2.0, 3.0], [1, 2, 1, 1, 2], &Default::default());
    let one = Tensor::<Flex, 1>::ones([2], &Default::default());
    let y = values(norm(x, [one.clone() * 0.0, one.clone(), one.clone(), one * 0.0], None, true, false));
    assert!(y[1].is_nan() && y[2] == 0.0 && y[3] > 2.9, "{y:?}");
}
