//! Norms and their gradients: one pass over an activation, where burn's own operations would read and write it once for
//! each of difference, product, sum, what is added, and ReLU.

use super::{Activation, channels_last, dense, dims, launch, room};
use crate::gpu::{NormDims, Normed, Strides};
use crate::network::api::{Cuda, Tensor};
use crate::network::extension::{NormGradients, NormHow, Normalising, inner, outer};
use burn_cubecl::kernel::into_contiguous;

/// `norm(x) + add`, then a ReLU if wanted. The output lies in memory as `x` does, without gaps.
pub fn norm(x: Activation, by: Normalising<Activation>, add: Option<Activation>, rectified: bool) -> Activation {
    let of = |what: &[usize]| -> [i32; 5] { std::array::from_fn(|a| what[a] as i32) };
    let dims = dims(&x);
    let numbers = dims.iter().product::<usize>();
    assert!(numbers < i32::MAX as usize, "the kernel counts in 32 bits: {dims:?}");
    let channels_last = dims[1] > 1 && x.meta.strides()[1] == 1;
    let normed = Normed {
        dims: dims.map(|n| n as i32),
        channels_last: i32::from(channels_last),
        added: i32::from(add.is_some()),
        rectified: i32::from(rectified),
        x: Strides(of(x.meta.strides())),
        add: Strides(of(add.as_ref().unwrap_or(&x).meta.strides())),
    };
    let y = room(&x, dims, dense(dims, channels_last));
    let [mean, variance, gamma, beta] = by.map(|t| into_contiguous(t).handle);
    let added = add.map_or_else(|| x.handle.clone(), |add| add.handle);
    let buffers = vec![x.handle, mean, variance, gamma, beta, added, y.handle.clone()];
    launch("norm_activation", numbers, &y, buffers, &normed.words());
    y
}

/// The gradients of a norm, from the gradient of its output `y`.
pub fn norm_gradients(
    x: Activation,
    by: Normalising<Activation>,
    y: Activation,
    gradient: Activation,
    how: NormHow,
) -> NormGradients<Activation> {
    let (dims, channels) = (dims(&x), dims(&x)[1]);
    let what = NormDims::new(dims, how);
    let chunks = what.chunks as usize;
    let sums = room(&x, [chunks, 2, channels], [2 * channels, channels, 1]);
    let [of_x, of_add] = [(); 2].map(|()| room(&x, dims, dense(dims, true)));
    let [mean, variance, gamma, _] = by.map(|t| into_contiguous(t).handle);
    let [x, y, gradient] = [x, y, gradient].map(channels_last);
    let seen = vec![x.clone(), mean.clone(), variance.clone(), y.clone(), gradient.clone(), sums.handle.clone()];
    launch("norm_sums", chunks * channels, &sums, seen, &what.words());
    let sums = into_contiguous(inner(outer::<Cuda, 3>(sums).sum_dim(0)));
    let seen = vec![x, mean, variance, gamma, y, gradient, sums.handle.clone()];
    let written = [of_x.handle.clone(), of_add.handle.clone()];
    let buffers = seen.into_iter().chain(written).collect();
    launch("norm_gradient", dims.iter().product(), &of_x, buffers, &what.words());
    let sums: Tensor<Cuda, 3> = outer(sums);
    let part = |nth: usize| inner::<Cuda, 1>(sums.clone().narrow(1, nth, 1).reshape([channels]));
    NormGradients { x: of_x, gamma: part(1), beta: part(0), add: how.added.then_some(of_add) }
}
