//! The network's parts: a convolution, a batch norm, the two together, and the residual block.
//!
//! Each keeps its place in the network ([`LayerShape`]) and folds itself into a [`Layer`] without norm.

use super::api::{Backend, Module, Param, RunningState, Tensor, tensor, values, weight_dims};
use super::extension::{VoxelBackend, join, layer, norm, plain_norm, statistics};
use super::{Operations, Statistics, api};
use crate::model::{Kind, Layer, LayerShape};

/// Added to a variance before its root is taken. A power of two, so that a variance of `1 - EPSILON` gives exactly 1.
pub const EPSILON: f32 = 1.0 / 131_072.0;
/// Share of a running statistic that one batch replaces.
const MOMENTUM: f32 = 0.1;

/// How the network computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// What norms normalise with, where gradients are on.
    pub statistics: Statistics,
    /// Whose operations.
    pub operations: Operations,
}

/// A convolution of any [`Kind`]; no bias where a norm follows, which would take it away.
#[derive(Module, Debug)]
pub struct Convolution<B: Backend> {
    weight: Param<Tensor<B, 5>>,
    bias: Option<Param<Tensor<B, 1>>>,
    #[module(skip)]
    place: LayerShape,
}

impl<B: Backend> Convolution<B> {
    /// From its numbers, `weight` as [`Kind`] says.
    pub fn new(place: LayerShape, weight: Vec<f32>, bias: Option<Vec<f32>>, device: &B::Device) -> Self {
        let dims = weight_dims(place.kind, place.inputs, place.outputs);
        let bias = bias.map(|bias| Param::from_tensor(tensor(bias, [place.outputs], device)));
        Self { weight: Param::from_tensor(tensor(weight, dims, device)), bias, place }
    }

    /// The layer as data; `scale` and `shift` are those of a norm behind it, by output channel.
    fn fold(&self, scale: &[f64], shift: &[f64]) -> Layer {
        let mut weight = values(self.weight.val());
        let (outputs, taps) = (self.place.outputs, self.place.kind.taps());
        for (i, w) in weight.iter_mut().enumerate() {
            let output = match self.place.kind {
                Kind::Up2 => i / taps % outputs,
                _ => i / (taps * self.place.inputs),
            };
            *w = (f64::from(*w) * scale[output]) as f32;
        }
        let own = self.bias.as_ref().map_or_else(|| vec![0.0; outputs], |bias| values(bias.val()));
        let bias = own.iter().zip(scale).zip(shift).map(|((b, s), t)| (f64::from(*b) * s + t) as f32).collect();
        Layer { shape: self.place.clone(), weight, bias }
    }

    /// The layer as data where no norm follows.
    pub fn bare(&self) -> Layer {
        let outputs = self.place.outputs;
        self.fold(&vec![1.0; outputs], &vec![0.0; outputs])
    }
}

impl<B: VoxelBackend> Convolution<B> {
    /// `x` is `[N, in, D, H, W]`.
    pub fn forward(&self, x: Tensor<B, 5>, how: How) -> Tensor<B, 5> {
        let bias = self.bias.as_ref().map(Param::val);
        match how.operations {
            Operations::Kernels => layer(self.place.kind, x, self.weight.val(), bias),
            Operations::Plain => api::conv(self.place.kind, x, self.weight.val(), bias),
        }
    }
}

/// Batch norm by channel, with what is added behind it and a ReLU in the same pass.
#[derive(Module, Debug)]
pub struct Norm<B: Backend> {
    gamma: Param<Tensor<B, 1>>,
    beta: Param<Tensor<B, 1>>,
    mean: RunningState<Tensor<B, 1>>,
    variance: RunningState<Tensor<B, 1>>,
}

impl<B: Backend> Norm<B> {
    /// One that changes nothing but adds `beta`, as long as its statistics are the running ones.
    fn new(beta: Vec<f32>, variance: f32, device: &B::Device) -> Self {
        let (channels, of) = ([beta.len()], |value| vec![value; beta.len()]);
        Self {
            gamma: Param::from_tensor(tensor(of(1.0), channels, device)),
            mean: RunningState::new(tensor(of(0.0), channels, device)),
            variance: RunningState::new(tensor(of(variance), channels, device)),
            beta: Param::from_tensor(tensor(beta, channels, device)),
        }
    }

    /// `scale` and `shift` by channel, of the running statistics.
    fn folded(&self) -> (Vec<f64>, Vec<f64>) {
        let (gamma, beta) = (values(self.gamma.val()), values(self.beta.val()));
        let (mean, variance) = (values(self.mean.value_sync()), values(self.variance.value_sync()));
        let scale = |i: usize| f64::from(gamma[i]) / (f64::from(variance[i]) + f64::from(EPSILON)).sqrt();
        let channels = 0..gamma.len();
        let shift = |i: usize| f64::from(beta[i]) - f64::from(mean[i]) * scale(i);
        (channels.clone().map(scale).collect(), channels.map(shift).collect())
    }
}

impl<B: VoxelBackend> Norm<B> {
    /// `norm(x) + add`, then a ReLU if wanted; `[N, C, D, H, W]` all.
    fn forward(&self, x: Tensor<B, 5>, add: Option<Tensor<B, 5>>, rectified: bool, how: How) -> Tensor<B, 5> {
        let from_batch = how.statistics == Statistics::OfBatch && B::ad_enabled(&x.device());
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        let (mean, variance) = if from_batch {
            let (mean, variance) = statistics(x.clone(), how.operations);
            let step = |old: &RunningState<Tensor<B, 1>>, new: &Tensor<B, 1>| {
                let kept = old.value_sync().mul_scalar(1.0 - MOMENTUM);
                old.update((kept + new.clone().detach().mul_scalar(MOMENTUM)).detach());
            };
            step(&self.mean, &mean);
            step(&self.variance, &variance);
            (mean, variance)
        } else {
            (self.mean.value_sync(), self.variance.value_sync())
        };
        match how.operations {
            Operations::Kernels => norm(x, [mean, variance, gamma, beta], add, rectified, from_batch),
            Operations::Plain => plain_norm(x, [mean, variance, gamma, beta], add, rectified),
        }
    }
}

/// A convolution with its norm.
#[derive(Module, Debug)]
pub struct Normed<B: Backend> {
    conv: Convolution<B>,
    norm: Norm<B>,
}

impl<B: Backend> Normed<B> {
    /// From the convolution's numbers and the norm's shift. The norm's scale is 1; its variance is one that makes it
    /// exactly so.
    pub fn new(place: LayerShape, weight: Vec<f32>, beta: Vec<f32>, device: &B::Device) -> Self {
        Self { conv: Convolution::new(place, weight, None, device), norm: Norm::new(beta, 1.0 - EPSILON, device) }
    }

    /// The layer as data.
    pub fn fold(&self) -> Layer {
        let (scale, shift) = self.norm.folded();
        self.conv.fold(&scale, &shift)
    }
}

impl<B: VoxelBackend> Normed<B> {
    /// `norm(conv(x)) + add`, then a ReLU if wanted.
    pub fn forward(&self, x: Tensor<B, 5>, add: Option<Tensor<B, 5>>, rectified: bool, how: How) -> Tensor<B, 5> {
        self.norm.forward(self.conv.forward(x, how), add, rectified, how)
    }
}

/// `relu(conv2(relu(conv1(x))) + skip(x))`, each with its norm; without `skip`, `x` itself is added.
#[derive(Module, Debug)]
pub struct Block<B: Backend> {
    /// The first convolution.
    pub conv1: Normed<B>,
    /// The second.
    pub conv2: Normed<B>,
    /// Past both, where the number of channels changes.
    pub skip: Option<Normed<B>>,
}

impl<B: VoxelBackend> Block<B> {
    /// `x` is `[N, in, D, H, W]`.
    pub fn forward(&self, x: Tensor<B, 5>, how: How) -> Tensor<B, 5> {
        let inner = self.conv1.forward(x.clone(), None, true, how);
        let past = match &self.skip {
            Some(skip) => skip.forward(x, None, false, how),
            None => x,
        };
        self.conv2.forward(inner, Some(past), true, how)
    }
}

/// Two tensors one behind the other in their channels.
pub fn joined<B: VoxelBackend>(a: Tensor<B, 5>, b: Tensor<B, 5>, how: How) -> Tensor<B, 5> {
    match how.operations {
        Operations::Kernels => join(a, b),
        Operations::Plain => Tensor::cat(vec![a, b], 1),
    }
}
