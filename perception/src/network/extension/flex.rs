//! burn's CPU backend, with the engine's kernels and the loops of `pointwise.rs`.
//!
//! Tensors are f32. One that is not contiguous is copied first; a gradient that nobody else holds is overwritten by
//! the next, and the memory of any other tensor that ends here is kept for one to come (`spare.rs`). **Threads:** the engine's kernels share one pool of as many threads as rayon has, which burn's own
//! operations use; it lives as long as the process, since a backend of burn is a type without a value.
//! **Not protected against:** wrong shapes, which panic as they do in burn.

use super::pointwise::{self, Extent, Slope};
use super::spare::Spare;
use super::{EPSILON, Kind, NormGradients, NormHow, Normalising, VoxelBackend};
use crate::engine::{Pool, ops};
use crate::network::api::Flex;
use burn::tensor::{Bytes, DType, Shape, TensorMetadata};
use burn_flex::{FlexTensor, Layout};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The engine as training uses it: one call at a time, each on all threads.
struct Engine {
    pool: Pool,
    workspace: Mutex<ops::Workspace>,
    spare: Mutex<Spare>,
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let pool = Pool::new(rayon::current_num_threads()).or_else(|_| Pool::new(1));
        let pool = pool.unwrap_or_else(|why| unreachable!("a pool of one starts no thread: {why}"));
        Engine { pool, workspace: Mutex::default(), spare: Mutex::default() }
    })
}

fn whole(tensor: FlexTensor) -> FlexTensor {
    assert_eq!(tensor.dtype(), DType::F32, "the kernels for voxels compute in f32");
    if tensor.as_slice::<f32>().is_some() { tensor } else { tensor.to_contiguous() }
}

/// The values of a tensor that [`whole`] gave.
fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous and f32")
}

/// Memory for a tensor that is about to be written as a whole.
fn memory(length: usize) -> Vec<f32> {
    engine().spare.lock().unwrap_or_else(PoisonError::into_inner).take(length)
}

/// Ends tensors; the memory of those that nobody else holds is kept.
fn end<const N: usize>(tensors: [FlexTensor; N]) {
    for tensor in tensors {
        let whole = tensor.as_slice::<f32>().is_some_and(|values| size_of_val(values) == tensor.bytes().len());
        if !whole || !tensor.is_unique() {
            continue;
        }
        if let Ok(values) = tensor.into_data().bytes.try_into_vec() {
            engine().spare.lock().unwrap_or_else(PoisonError::into_inner).give(values);
        }
    }
}

fn make<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(dims)), DType::F32)
}

fn dims(tensor: &FlexTensor) -> [usize; 5] {
    tensor.shape().dims()
}

fn extent(dims: [usize; 5]) -> Extent {
    Extent { volumes: dims[0], channels: dims[1], voxels: dims[2] * dims[3] * dims[4] }
}

fn op(kind: Kind, x: &FlexTensor, weight: &FlexTensor) -> ops::Op {
    let ([batch, inputs, d, h, w], shape) = (dims(x), dims(weight));
    let outputs = if kind == Kind::Up2 { shape[1] } else { shape[0] };
    ops::Op { kind, inputs, outputs, batch, grid: [d, h, w] }
}

/// Calls the engine, for an output of `count` values.
fn computed(
    count: usize,
    call: impl FnOnce(&mut ops::Workspace, &Pool, &mut [f32]) -> Result<(), crate::engine::EngineError>,
) -> Vec<f32> {
    let engine = engine();
    let mut workspace = engine.workspace.lock().unwrap_or_else(PoisonError::into_inner);
    let mut out = memory(count);
    call(&mut workspace, &engine.pool, &mut out).unwrap_or_else(|why| panic!("a layer of the network: {why}"));
    out
}

/// `1 / √(variance + ε)` by channel.
fn inverse(variance: &FlexTensor) -> Vec<f32> {
    slice(variance).iter().map(|v| 1.0 / (v + EPSILON).sqrt()).collect()
}

impl VoxelBackend for Flex {
    fn voxel_layer(kind: Kind, x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
        let (x, weight, bias) = (whole(x), whole(weight), bias.map(whole));
        let op = op(kind, &x, &weight);
        let y = computed(op.y_len(), |workspace, pool, y| {
            ops::forward(workspace, pool, &op, slice(&x), slice(&weight), bias.as_ref().map(slice), y)
        });
        end([x]);
        let [d, h, w] = op.out_grid();
        make(y, [op.batch, op.outputs, d, h, w])
    }

    fn voxel_layer_input(kind: Kind, x: FlexTensor, weight: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (op, weight, gradient) = (op(kind, &x, &weight), whole(weight), whole(gradient));
        let dx = computed(op.x_len(), |workspace, pool, dx| {
            ops::backward_data(workspace, pool, &op, slice(&gradient), slice(&weight), dx)
        });
        let dx = make(dx, dims(&x));
        end([gradient, x]);
        dx
    }

    fn voxel_layer_weight(kind: Kind, x: FlexTensor, weight: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (op, x, gradient) = (op(kind, &x, &weight), whole(x), whole(gradient));
        let dw = computed(op.weight_len(), |workspace, pool, dw| {
            ops::backward_weight(workspace, pool, &op, slice(&x), slice(&gradient), dw)
        });
        end([x, gradient]);
        make(dw, dims(&weight))
    }

    fn voxel_sums(gradient: FlexTensor) -> FlexTensor {
        let (extent, gradient) = (extent(dims(&gradient)), whole(gradient));
        let sums = pointwise::channel_sums(slice(&gradient), extent);
        end([gradient]);
        make(sums, [extent.channels])
    }

    fn voxel_statistics(x: FlexTensor) -> (FlexTensor, FlexTensor) {
        let (extent, x) = (extent(dims(&x)), whole(x));
        let (mean, variance) = pointwise::statistics(slice(&x), extent);
        (make(mean, [extent.channels]), make(variance, [extent.channels]))
    }

    fn voxel_norm(x: FlexTensor, by: Normalising<FlexTensor>, add: Option<FlexTensor>, how: NormHow) -> FlexTensor {
        let (dims, x, [mean, variance, gamma, beta], add) = (dims(&x), whole(x), by.map(whole), add.map(whole));
        let scale: Vec<f32> = inverse(&variance).iter().zip(slice(&gamma)).map(|(i, g)| i * g).collect();
        let by_channel = slice(&mean).iter().zip(&scale).zip(slice(&beta));
        let shift: Vec<f32> = by_channel.map(|((mean, scale), beta)| beta - mean * scale).collect();
        let mut y = memory(slice(&x).len());
        let added = add.as_ref().map(slice);
        pointwise::normalise(slice(&x), extent(dims), (&scale, &shift), added, how.rectified, &mut y);
        end([x]);
        if let Some(add) = add {
            end([add]);
        }
        make(y, dims)
    }

    fn voxel_norm_gradients(
        x: FlexTensor,
        by: Normalising<FlexTensor>,
        y: FlexTensor,
        gradient: FlexTensor,
        how: NormHow,
    ) -> NormGradients<FlexTensor> {
        let (dims, x, y, mut gradient) = (dims(&x), whole(x), whole(y), whole(gradient));
        let ([mean, variance, gamma, _], extent) = (by.map(whole), extent(dims));
        let (inverse, mean, of_relu) = (inverse(&variance), slice(&mean), how.rectified.then(|| slice(&y)));
        let (beta, by_gamma) = pointwise::gradient_sums(slice(&x), of_relu, slice(&gradient), extent, (mean, &inverse));

        // scale (g - (beta + (x - mean) inverse gamma) / count), gathered by g and x.
        let count = (extent.volumes * extent.voxels) as f32;
        let a: Vec<f32> = inverse.iter().zip(slice(&gamma)).map(|(i, g)| i * g).collect();
        let part = |channel: usize| if how.from_batch { -a[channel] / count } else { 0.0 };
        let b: Vec<f32> = (0..a.len()).map(|c| part(c) * inverse[c] * by_gamma[c]).collect();
        let c = (0..a.len()).map(|c| part(c) * beta[c] - b[c] * mean[c]).collect();
        let slope = Slope { a, b, c };

        if gradient.try_storage_mut::<f32>().is_none_or(|all| all.len() != slice(&x).len()) {
            let mut own = memory(slice(&x).len());
            own.copy_from_slice(slice(&gradient));
            gradient = make(own, dims);
        }
        let (dx, add) = match (how.added, of_relu) {
            (false, y) => {
                pointwise::gradient_in_place(slice(&x), y, gradient.storage_mut(), extent, &slope);
                (gradient, None)
            }
            (true, Some(y)) => {
                let mut dx = memory(slice(&x).len());
                pointwise::gradients_in_place(slice(&x), y, gradient.storage_mut(), extent, &slope, &mut dx);
                (make(dx, dims), Some(gradient))
            }
            (true, None) => {
                let add = gradient.clone();
                pointwise::gradient_in_place(slice(&x), None, gradient.storage_mut(), extent, &slope);
                (gradient, Some(add))
            }
        };
        end([x, y]);
        let [gamma, beta] = [by_gamma, beta].map(|sums| make(sums, [extent.channels]));
        NormGradients { x: dx, gamma, beta, add }
    }

    fn voxel_join(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let ([n, first, d, h, w], [_, second, ..]) = (dims(&a), dims(&b));
        let (a, b, channels) = (whole(a), whole(b), first + second);
        let mut out = memory(n * channels * d * h * w);
        for (from, count, to) in [(&a, first, 0), (&b, second, first)] {
            pointwise::copy_channels(slice(from), extent(dims(from)), (0, count), &mut out, (channels, to));
        }
        end([a, b]);
        make(out, [n, channels, d, h, w])
    }

    fn voxel_channels(x: FlexTensor, first: usize, count: usize) -> FlexTensor {
        // A copy, not a view: burn adds views value by value, which costs much more.
        let ([n, _, d, h, w], x) = (dims(&x), whole(x));
        let mut out = memory(n * count * d * h * w);
        pointwise::copy_channels(slice(&x), extent(dims(&x)), (first, count), &mut out, (count, 0));
        end([x]);
        make(out, [n, count, d, h, w])
    }
}
