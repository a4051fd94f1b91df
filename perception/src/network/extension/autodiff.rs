//! The operations as steps of burn's graph, for any backend that has them.
//!
//! Each step keeps the tensors that its gradient needs. They are shared, not copied; a checkpointing strategy of burn
//! that would compute them again has nothing to do here. Gradients of gradients go through burn's own operations.

use super::{Kind, NormGradients, NormHow, Normalising, VoxelBackend};
use crate::network::api::{Autodiff, AutodiffBackend, FloatTensor};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::TensorMetadata;

/// Registers a gradient where one is wanted; `make` is not called elsewhere.
fn register<B: VoxelBackend>(grads: &mut Gradients, node: Option<NodeId>, make: impl FnOnce() -> FloatTensor<B>) {
    if let Some(id) = node {
        grads.register::<B>(id, make());
    }
}

#[derive(Debug)]
struct Layer(Kind);

impl<B: VoxelBackend> Backward<B, 2> for Layer {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (gradient, (x, weight)) = (grads.consume::<B>(&ops.node), ops.state);
        let [of_x, of_weight] = ops.parents.map(|node| node.map(|node| node.id));
        register::<B>(grads, of_x, || B::voxel_layer_input(self.0, x.clone(), weight.clone(), gradient.clone()));
        register::<B>(grads, of_weight, || B::voxel_layer_weight(self.0, x, weight, gradient));
    }
}

#[derive(Debug)]
struct BiasedLayer(Kind);

impl<B: VoxelBackend> Backward<B, 3> for BiasedLayer {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (gradient, (x, weight)) = (grads.consume::<B>(&ops.node), ops.state);
        let [of_x, of_weight, of_bias] = ops.parents.map(|node| node.map(|node| node.id));
        register::<B>(grads, of_x, || B::voxel_layer_input(self.0, x.clone(), weight.clone(), gradient.clone()));
        register::<B>(grads, of_weight, || B::voxel_layer_weight(self.0, x, weight, gradient.clone()));
        register::<B>(grads, of_bias, || B::voxel_sums(gradient));
    }
}

/// What a norm's gradients need.
#[derive(Debug, Clone)]
struct NormState<T> {
    x: T,
    y: T,
    by: Normalising<T>,
}

#[derive(Debug)]
struct Norm(NormHow);

/// Parents: the input, scale, shift, and what is added, if anything.
impl<B: VoxelBackend, const N: usize> Backward<B, N> for Norm {
    type State = NormState<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (gradient, NormState { x, y, by }) = (grads.consume::<B>(&ops.node), ops.state);
        let NormGradients { x, gamma, beta, add } = B::voxel_norm_gradients(x, by, y, gradient, self.0);
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        for (node, gradient) in nodes.into_iter().zip([Some(x), Some(gamma), Some(beta), add]) {
            if let Some(gradient) = gradient {
                register::<B>(grads, node, || gradient);
            }
        }
    }
}

#[derive(Debug)]
struct Join;

impl<B: VoxelBackend> Backward<B, 2> for Join {
    /// Channels of the first.
    type State = usize;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (gradient, first) = (grads.consume::<B>(&ops.node), ops.state);
        let [of_a, of_b] = ops.parents.map(|node| node.map(|node| node.id));
        register::<B>(grads, of_a, || B::voxel_channels(gradient.clone(), 0, first));
        let rest = gradient.shape()[1] - first;
        register::<B>(grads, of_b, || B::voxel_channels(gradient, first, rest));
    }
}

impl<B: VoxelBackend, C: CheckpointStrategy> VoxelBackend for Autodiff<B, C> {
    fn voxel_layer(
        kind: Kind,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        let state = (x.primitive.clone(), weight.primitive.clone());
        if let Some(bias) = bias {
            let y = B::voxel_layer(kind, x.primitive, weight.primitive, Some(bias.primitive));
            let nodes = [x.node, weight.node, bias.node];
            match Backward::<B, 3>::prepare::<C>(BiasedLayer(kind), nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(state, y),
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        } else {
            let y = B::voxel_layer(kind, x.primitive, weight.primitive, None);
            match Backward::<B, 2>::prepare::<C>(Layer(kind), [x.node, weight.node]).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(state, y),
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        }
    }

    fn voxel_statistics(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (mean, variance) = B::voxel_statistics(x.primitive);
        (Self::from_inner(mean), Self::from_inner(variance))
    }

    fn voxel_norm(
        x: FloatTensor<Self>,
        by: Normalising<FloatTensor<Self>>,
        add: Option<FloatTensor<Self>>,
        how: NormHow,
    ) -> FloatTensor<Self> {
        let [_, _, gamma, beta] = by.each_ref().map(|tensor| tensor.node.clone());
        let by = by.map(|tensor| tensor.primitive);
        let (step, input) = (Norm(how), x.primitive.clone());
        let added = add.as_ref().map(|add| add.primitive.clone());
        let y = B::voxel_norm(x.primitive, by.clone(), added, how);
        let state = NormState { x: input, y: y.clone(), by };
        if let Some(add) = add {
            let nodes = [x.node, gamma, beta, add.node];
            match Backward::<B, 4>::prepare::<C>(step, nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(state, y),
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        } else {
            match Backward::<B, 3>::prepare::<C>(step, [x.node, gamma, beta]).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(state, y),
                OpsKind::UnTracked(prepared) => prepared.finish(y),
            }
        }
    }

    fn voxel_join(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let first = a.shape()[1];
        let joined = B::voxel_join(a.primitive, b.primitive);
        match Backward::<B, 2>::prepare::<C>(Join, [a.node, b.node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(first, joined),
            OpsKind::UnTracked(prepared) => prepared.finish(joined),
        }
    }
}
