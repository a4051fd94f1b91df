//! Layers and their gradients.

use super::{Activation, channels_last, dense, dims, launch, room};
use crate::gpu::{LayerCall, Pass, arranged};
use crate::model::Kind;
use crate::network::api::{Cuda, Tensor};
use crate::network::extension::{inner, outer};
use burn_cubecl::kernel::into_contiguous;

/// A layer forward, or the gradient of its input; `read` is its input or its output's gradient, `written` the dimensions of
/// what comes out.
pub fn pass(
    kind: Kind,
    pass: Pass,
    read: Activation,
    weight: Activation,
    bias: Option<Activation>,
    written: [usize; 5],
) -> Activation {
    let from = dims(&read);
    let (x, y) = if pass == Pass::Input { (written, from) } else { (from, written) };
    let call = LayerCall::new(kind, pass, x, y, bias.is_some());
    let weight = into_contiguous(inner(arranged::<Cuda>(kind, pass, outer(weight))));
    let out = room(&read, written, dense(written, true));
    let bias = bias.map_or_else(|| weight.handle.clone(), |bias| into_contiguous(bias).handle);
    let buffers = vec![channels_last(read), weight.handle.clone(), bias, out.handle.clone()];
    launch(call.name, call.threads, &out, buffers, &call.dims.words());
    out
}

/// The gradient of a layer's weights, which have these dimensions.
pub fn weight_gradient(kind: Kind, x: Activation, gradient: Activation, weight: [usize; 5]) -> Activation {
    let call = LayerCall::new(kind, Pass::Weight, dims(&x), dims(&gradient), false);
    let (count, chunks) = (weight.iter().product(), call.chunks());
    let sums = room(&x, [chunks, count], [count, 1]);
    // The finer of both comes first.
    let (fine, coarse) = if kind == Kind::Up2 { (gradient, x) } else { (x, gradient) };
    let buffers = vec![channels_last(fine), channels_last(coarse), sums.handle.clone()];
    launch(call.name, call.threads, &sums, buffers, &call.dims.words());
    let sums: Tensor<Cuda, 2> = outer(sums);
    inner(sums.sum_dim(0).reshape(weight))
}
