//! Backends of burn on GPUs: kernels of ours on CUDA (`cuda`), burn's own operations elsewhere, by the default methods.

#[cfg(feature = "cuda")]
mod on_cuda {
    use crate::gpu::Pass;
    use crate::model::Kind;
    use crate::network::api::{Cuda, FloatTensor, Tensor};
    use crate::network::extension::{NormGradients, NormHow, Normalising, VoxelBackend, cuda, inner, outer};
    use burn::tensor::TensorMetadata;

    /// An activation as it looks with its channels last.
    const LAST: [isize; 5] = [0, 2, 3, 4, 1];
    /// And back.
    const SECOND: [isize; 5] = [0, 4, 1, 2, 3];

    fn dims(of: &FloatTensor<Cuda>) -> [usize; 5] {
        std::array::from_fn(|a| of.shape()[a])
    }

    /// The dimensions of a layer's output.
    fn output(kind: Kind, [n, _, d, h, w]: [usize; 5], weight: [usize; 5]) -> [usize; 5] {
        let to = |edge: usize| match kind {
            Kind::Conv3 | Kind::Conv1 => edge,
            Kind::Down3 => edge.div_ceil(2),
            Kind::Up2 => 2 * edge,
        };
        [n, if kind == Kind::Up2 { weight[1] } else { weight[0] }, to(d), to(h), to(w)]
    }

    impl VoxelBackend for Cuda {
        fn voxel_layer(
            kind: Kind,
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            bias: Option<FloatTensor<Self>>,
        ) -> FloatTensor<Self> {
            let written = output(kind, dims(&x), dims(&weight));
            cuda::pass(kind, Pass::Forward, x, weight, bias, written)
        }

        fn voxel_layer_input(
            kind: Kind,
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            cuda::pass(kind, Pass::Input, gradient, weight, None, dims(&x))
        }

        fn voxel_layer_weight(
            kind: Kind,
            x: FloatTensor<Self>,
            weight: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
        ) -> FloatTensor<Self> {
            cuda::weight_gradient(kind, x, gradient, dims(&weight))
        }

        fn voxel_norm(
            x: FloatTensor<Self>,
            by: Normalising<FloatTensor<Self>>,
            add: Option<FloatTensor<Self>>,
            how: NormHow,
        ) -> FloatTensor<Self> {
            cuda::norm(x, by, add, how.rectified)
        }

        fn voxel_norm_gradients(
            x: FloatTensor<Self>,
            by: Normalising<FloatTensor<Self>>,
            y: FloatTensor<Self>,
            gradient: FloatTensor<Self>,
            how: NormHow,
        ) -> NormGradients<FloatTensor<Self>> {
            cuda::norm_gradients(x, by, y, gradient, how)
        }

        fn voxel_join(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
            let both = [a, b].map(|t| outer::<Self, 5>(t).permute(LAST));
            inner(Tensor::cat(both.into(), 4).permute(SECOND))
        }
    }
}

#[cfg(feature = "wgpu")]
impl super::VoxelBackend for burn::backend::Wgpu {}
