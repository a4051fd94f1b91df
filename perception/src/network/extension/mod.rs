//! A backend with kernels for voxels: the few operations that the network's time goes into, each with its gradient.
//!
//! [`VoxelBackend`] has burn's own operations by default, so wgpu needs no more than an empty `impl`, CUDA has
//! kernels of ours (`cuda`). `Flex`, burn's CPU backend, gets kernels of ours (`flex.rs`). `Autodiff` over any such backend records them as steps of
//! its graph (`autodiff.rs`), so that training is plain burn.
//!
//! **Shapes:** activations `[N, C, D, H, W]`, statistics and norm parameters `[C]`, weights as `api::weight_dims`.

mod autodiff;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod flex;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod gpu;
mod pointwise;
mod spare;
#[cfg(test)]
mod tests;

use super::Operations;
use super::api::{self, AutodiffBackend, Backend, FloatTensor, Tensor, TensorPrimitive};
use super::layers::EPSILON;
use crate::model::Kind;

/// What a norm needs besides its input: mean, variance, scale and shift.
pub type Normalising<T> = [T; 4];

/// What a norm does besides normalising, and how its gradients go.
#[derive(Debug, Clone, Copy)]
pub struct NormHow {
    /// A ReLU follows.
    pub rectified: bool,
    /// The statistics are those of the input, and so take their part in its gradient (Ioffe and Szegedy 2015,
    /// section 3).
    pub from_batch: bool,
    /// Something is added before the ReLU.
    pub added: bool,
}

/// The gradients of a norm.
#[derive(Debug, Clone)]
pub struct NormGradients<T> {
    /// For its input.
    pub x: T,
    /// For its scale.
    pub gamma: T,
    /// For its shift, `[C]`.
    pub beta: T,
    /// For what was added behind it, if anything was: the output's gradient where the ReLU let it through.
    pub add: Option<T>,
}

/// A backend that the network runs on.
pub trait VoxelBackend: Backend {
    /// A layer of any kind.
    fn voxel_layer(
        kind: Kind,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        match kind {
            Kind::Up2 => Self::conv_transpose3d(x, weight, bias, api::up_options()),
            _ => Self::conv3d(x, weight, bias, api::conv_options(kind)),
        }
    }

    /// The gradient of a layer's input; of `x` itself only the shape counts.
    fn voxel_layer_input(
        kind: Kind,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        match kind {
            Kind::Up2 => Self::conv_transpose3d_x_backward(weight, gradient, api::up_options()),
            _ => Self::conv3d_x_backward(x, weight, gradient, api::conv_options(kind)),
        }
    }

    /// The gradient of a layer's weights; of `weight` itself only the shape counts.
    fn voxel_layer_weight(
        kind: Kind,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        match kind {
            Kind::Up2 => Self::conv_transpose3d_weight_backward(x, weight, gradient, api::up_options()),
            _ => Self::conv3d_weight_backward(x, weight, gradient, api::conv_options(kind)),
        }
    }

    /// Sums by channel, the gradient of a bias: `[N, C, D, H, W]` to `[C]`.
    fn voxel_sums(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        inner(plain_sums(outer::<Self, 5>(gradient)))
    }

    /// Mean and variance by channel, the variance that of a population.
    fn voxel_statistics(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (mean, variance) = plain_statistics(outer::<Self, 5>(x));
        (inner(mean), inner(variance))
    }

    /// A norm, with what is added behind it and a ReLU if wanted. `how.added` says whether `add` is there.
    fn voxel_norm(
        x: FloatTensor<Self>,
        by: Normalising<FloatTensor<Self>>,
        add: Option<FloatTensor<Self>>,
        how: NormHow,
    ) -> FloatTensor<Self> {
        inner(plain_norm(outer::<Self, 5>(x), by.map(outer::<Self, 1>), add.map(outer::<Self, 5>), how.rectified))
    }

    /// The gradients of a norm, from the gradient of its output `y`.
    fn voxel_norm_gradients(
        x: FloatTensor<Self>,
        by: Normalising<FloatTensor<Self>>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        how: NormHow,
    ) -> NormGradients<FloatTensor<Self>> {
        let tensors = [x, y, gradient].map(outer::<Self, 5>);
        plain_norm_gradients(tensors, by.map(outer::<Self, 1>), how)
    }

    /// Channels of `a`, then those of `b`.
    fn voxel_join(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_cat(vec![a, b], 1)
    }

    /// Some channels: `count` of them from `first` on.
    fn voxel_channels(x: FloatTensor<Self>, first: usize, count: usize) -> FloatTensor<Self> {
        inner(outer::<Self, 5>(x).narrow(1, first, count))
    }
}

/// What training wants of a backend.
pub trait VoxelAutodiffBackend: VoxelBackend + AutodiffBackend<InnerBackend: VoxelBackend> {}

impl<B: VoxelBackend + AutodiffBackend<InnerBackend: VoxelBackend>> VoxelAutodiffBackend for B {}

fn outer<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn inner<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// A layer by the backend's kernels.
pub fn layer<B: VoxelBackend>(
    kind: Kind,
    x: Tensor<B, 5>,
    weight: Tensor<B, 5>,
    bias: Option<Tensor<B, 1>>,
) -> Tensor<B, 5> {
    outer(B::voxel_layer(kind, inner(x), inner(weight), bias.map(inner)))
}

/// Mean and variance by channel. By the backend's kernels they carry no gradients: [`norm`] takes care of them.
pub fn statistics<B: VoxelBackend>(x: Tensor<B, 5>, operations: Operations) -> (Tensor<B, 1>, Tensor<B, 1>) {
    match operations {
        Operations::Plain => plain_statistics(x),
        Operations::Kernels => {
            let (mean, variance) = B::voxel_statistics(inner(x));
            (outer(mean), outer(variance))
        }
    }
}

/// A norm by the backend's kernels.
pub fn norm<B: VoxelBackend>(
    x: Tensor<B, 5>,
    by: Normalising<Tensor<B, 1>>,
    add: Option<Tensor<B, 5>>,
    rectified: bool,
    from_batch: bool,
) -> Tensor<B, 5> {
    let how = NormHow { rectified, from_batch, added: add.is_some() };
    outer(B::voxel_norm(inner(x), by.map(inner), add.map(inner), how))
}

/// Two tensors joined in their channels by the backend's kernels.
pub fn join<B: VoxelBackend>(a: Tensor<B, 5>, b: Tensor<B, 5>) -> Tensor<B, 5> {
    outer(B::voxel_join(inner(a), inner(b)))
}

/// `[C]` as `[1, C, 1, 1, 1]`.
fn broad<B: Backend>(by_channel: Tensor<B, 1>) -> Tensor<B, 5> {
    let channels = by_channel.dims()[0];
    by_channel.reshape([1, channels, 1, 1, 1])
}

fn plain_sums<B: Backend>(x: Tensor<B, 5>) -> Tensor<B, 1> {
    // One dimension after the other: a GPU has more to do at once than with a sum for each channel.
    let channels = x.dims()[1];
    x.sum_dim(4).sum_dim(3).sum_dim(2).sum_dim(0).reshape([channels])
}

fn plain_statistics<B: Backend>(x: Tensor<B, 5>) -> (Tensor<B, 1>, Tensor<B, 1>) {
    let [n, _, d, h, w] = x.dims();
    let share = 1.0 / (n * d * h * w) as f32;
    let mean = plain_sums(x.clone()).mul_scalar(share);
    let variance = plain_sums((x - broad(mean.clone())).square()).mul_scalar(share);
    (mean, variance)
}

/// A norm by burn's own operations, with burn's own gradients.
pub fn plain_norm<B: Backend>(
    x: Tensor<B, 5>,
    [mean, variance, gamma, beta]: Normalising<Tensor<B, 1>>,
    add: Option<Tensor<B, 5>>,
    rectified: bool,
) -> Tensor<B, 5> {
    let scale = gamma / variance.add_scalar(EPSILON).sqrt();
    let y = (x - broad(mean)) * broad(scale) + broad(beta);
    let y = if let Some(add) = add { y + add } else { y };
    if rectified { api::relu(y) } else { y }
}

/// With `n` the normalised input and `g` the gradient behind the ReLU: `beta` is `Σ g`, `gamma` is `Σ g n`, `x` is
/// `scale (g - (beta + n gamma) / count)`, or `scale g` where the statistics are not those of the batch.
fn plain_norm_gradients<B: Backend>(
    [x, y, gradient]: [Tensor<B, 5>; 3],
    [mean, variance, gamma, _]: Normalising<Tensor<B, 1>>,
    how: NormHow,
) -> NormGradients<FloatTensor<B>> {
    let add = if how.rectified { gradient.mask_fill(y.lower_equal_elem(0.0), 0.0) } else { gradient };
    let [n, _, d, h, w] = x.dims();
    let inverse = variance.add_scalar(EPSILON).sqrt().recip();
    let normalised = (x - broad(mean)) * broad(inverse.clone());
    let beta = plain_sums(add.clone());
    let by_gamma = plain_sums(add.clone() * normalised.clone());
    let of_statistics = (broad(beta.clone()) + normalised * broad(by_gamma.clone())).div_scalar((n * d * h * w) as f32);
    let behind = if how.from_batch { add.clone() - of_statistics } else { add.clone() };
    let x = behind * broad(gamma * inverse);
    NormGradients { x: inner(x), gamma: inner(by_gamma), beta: inner(beta), add: how.added.then(|| inner(add)) }
}
