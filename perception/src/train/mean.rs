//! The exponential mean of a network's weights and statistics.

use crate::network::Network;
use crate::network::VoxelBackend;
use crate::network::api::{Backend, Module, ModuleMapper, ModuleVisitor, Param, Tensor, TensorData, values};

/// Of every parameter, in the order in which a network shows them.
#[derive(Debug, Clone)]
pub(super) struct Mean {
    of: Vec<Vec<f32>>,
}

impl Mean {
    /// Of one network alone.
    pub(super) fn of<B: VoxelBackend>(network: &Network<B>) -> Self {
        Self { of: all(network) }
    }

    /// Keeps so much of itself, and takes the rest from a network.
    pub(super) fn take<B: VoxelBackend>(&mut self, network: &Network<B>, kept: f32) {
        for (mean, new) in self.of.iter_mut().zip(all(network)) {
            mean.iter_mut().zip(new).for_each(|(mean, new)| *mean = kept * *mean + (1.0 - kept) * new);
        }
    }

    /// A network with these weights.
    pub(super) fn put_into<B: VoxelBackend>(&self, network: Network<B>) -> Network<B> {
        network.map(&mut Put { left: self.of.iter() })
    }
}

fn all<B: VoxelBackend>(network: &Network<B>) -> Vec<Vec<f32>> {
    let mut seen = Seen(Vec::new());
    network.visit(&mut seen);
    seen.0
}

struct Seen(Vec<Vec<f32>>);

impl<B: Backend> ModuleVisitor<B> for Seen {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.push(values(param.val()));
    }
}

struct Put<'a> {
    left: std::slice::Iter<'a, Vec<f32>>,
}

impl<B: Backend> ModuleMapper<B> for Put<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let mean = self.left.next().expect("a network shows as many parameters as another of its shape");
        let (id, tensor, mapper) = param.consume();
        let put = Tensor::from_data(TensorData::new(mean.clone(), tensor.dims()), &tensor.device());
        Param::from_mapped_value(id, put, mapper)
    }
}
