//! The network in burn, for training and for GPUs: a residual 3D U-Net with a ConvLSTM at its bottleneck.
//!
//! What it computes stands in [`crate::model`]; here it is with a batch norm behind every convolution of a block, of
//! `down` and of `skip`, and none behind `up`, `lstm.gates` and `head`. [`Network::fold`] folds the norms into the
//! weights and gives the [`Model`] that the live stage runs without burn.
//!
//! **The norm is a batch norm because it folds away**: the live stage and int8 pay nothing for it, while an instance
//! norm would need statistics of every frame and a pass of its own behind every layer. What it costs is here:
//!
//! - statistics are those of a batch, so batches must be worth it: [`Network::sequence`] puts all T·N volumes of N
//!   sequences through the encoder at once, and through the decoder likewise;
//! - evaluation uses running statistics (momentum 0.1), which lag behind the weights; so that what is trained becomes
//!   what runs, the last part of a training keeps them still ([`Statistics::Frozen`]) and trains against them;
//! - a case unlike all training cases is not normalised to look like one.
//!
//! **Backends:** generic over [`VoxelBackend`]; a backend without kernels of ours uses burn's own operations.
//! **Shapes:** volumes `[N, C, D, H, W]`, x fastest, each edge divisible by [`Shape::edge_unit`]. **Determinism:** the
//! first weights come from a seed and are the same on every backend. **Allocation:** every step; this is not the live
//! stage. **Not protected against:** an input of another number of channels or another edge, on which burn panics as
//! on any wrong shape.

pub mod api;
pub mod device;
pub(crate) mod extension;
mod layers;
#[cfg(test)]
mod tests;

use crate::model::{Kind, Layer, LayerShape, Model, ModelFault, Shape};
use api::{Backend, Module, Tensor, sigmoid};
pub use extension::{VoxelAutodiffBackend, VoxelBackend};
use layers::{Block, Convolution, How, Normed, joined};

/// What norms normalise with while gradients are on; without gradients it is always the running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Statistics {
    /// Those of the batch, which also move the running ones.
    #[default]
    OfBatch,
    /// The running ones, which stay as they are.
    Frozen,
}

/// Whose operations compute: for comparison, and for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operations {
    /// The backend's kernels for voxels.
    #[default]
    Kernels,
    /// burn's own, with burn's own gradients.
    Plain,
}

/// What the ConvLSTM remembers; both `[N, width, D, H, W]` at the deepest level.
#[derive(Debug, Clone)]
pub struct State<B: Backend> {
    /// What it said last.
    pub hidden: Tensor<B, 5>,
    /// What it keeps.
    pub cell: Tensor<B, 5>,
}

impl<B: Backend> State<B> {
    /// The same memory, with no gradients to the past.
    #[must_use]
    pub fn detach(self) -> Self {
        Self { hidden: self.hidden.detach(), cell: self.cell.detach() }
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct Network<B: Backend> {
    encoder: Vec<Block<B>>,
    down: Vec<Normed<B>>,
    gates: Convolution<B>,
    up: Vec<Convolution<B>>,
    decoder: Vec<Block<B>>,
    head: Convolution<B>,
    #[module(skip)]
    shape: Shape,
    #[module(skip)]
    how: How,
}

impl<B: Backend> Network<B> {
    /// A network to train: weights uniform within Kaiming's bound where a ReLU follows and LeCun's where none does,
    /// biases 0, but 1 for the forget gate, so that memory is kept at first, and [`RARE`] for the outputs.
    ///
    /// # Errors
    /// As [`Shape::check`].
    pub fn new(shape: Shape, seed: u64, device: &B::Device) -> Result<Self, ModelFault> {
        shape.check()?;
        let mut random = Random(seed);
        let layers = shape.layers().into_iter().map(|place| first(place, &mut random)).collect();
        Ok(Self::assemble(Model { shape, layers }, device))
    }

    /// A network that computes what the model does, in evaluation and with [`Statistics::Frozen`]. With the statistics
    /// of batches it would compute something else: the model's own norms are gone.
    ///
    /// # Errors
    /// As [`Model::check`].
    pub fn from_model(model: &Model, device: &B::Device) -> Result<Self, ModelFault> {
        model.check()?;
        let network = Self::assemble(model.clone(), device);
        Ok(network.with_statistics(Statistics::Frozen))
    }

    fn assemble(model: Model, device: &B::Device) -> Self {
        let (shape, mut layers) = (model.shape, model.layers);
        let mut take = |name: &str| {
            let index = layers.iter().position(|layer| layer.shape.name == name);
            layers.swap_remove(index.unwrap_or_else(|| panic!("{name} is a layer of every such network")))
        };
        let mut normed = |name: String| {
            let Layer { shape, weight, bias } = take(&name);
            Normed::new(shape, weight, bias, device)
        };
        let mut block = |name: String, skip: bool| Block {
            conv1: normed(format!("{name}.conv1")),
            conv2: normed(format!("{name}.conv2")),
            skip: skip.then(|| normed(format!("{name}.skip"))),
        };
        let deep = shape.levels - 1;
        let encoder = (0..shape.levels).map(|level| block(format!("enc{level}"), level == 0)).collect();
        let decoder = (0..deep).map(|level| block(format!("dec{level}"), true)).collect();
        let down = (1..shape.levels).map(|level| normed(format!("down{level}"))).collect();
        let mut bare = |name: String| {
            let Layer { shape, weight, bias } = take(&name);
            Convolution::new(shape, weight, Some(bias), device)
        };
        let up = (0..deep).map(|level| bare(format!("up{level}"))).collect();
        let (gates, head) = (bare("lstm.gates".into()), bare("head".into()));
        let how = How { statistics: Statistics::default(), operations: Operations::default() };
        Self { encoder, down, gates, up, decoder, head, shape, how }
    }

    /// What it is made of.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// The same network, its norms set to these statistics.
    #[must_use]
    pub fn with_statistics(mut self, statistics: Statistics) -> Self {
        self.how.statistics = statistics;
        self
    }

    /// The same network by these operations.
    #[must_use]
    pub fn with_operations(mut self, operations: Operations) -> Self {
        self.how.operations = operations;
        self
    }

    /// The network as data, its norms with their running statistics folded into the weights.
    #[must_use]
    pub fn fold(&self) -> Model {
        let block = |b: &Block<B>| [Some(&b.conv1), Some(&b.conv2), b.skip.as_ref()].map(|c| c.map(Normed::fold));
        let blocks = self.encoder.iter().chain(&self.decoder).flat_map(block).flatten();
        let bare = self.up.iter().chain([&self.gates, &self.head]).map(Convolution::bare);
        let mut layers: Vec<Layer> = blocks.chain(self.down.iter().map(Normed::fold)).chain(bare).collect();
        let order = self.shape.layers();
        layers.sort_by_key(|layer| order.iter().position(|place| *place == layer.shape));
        Model { shape: self.shape, layers }
    }

    /// The memory before the first frame, of `volumes` volumes with these edges: nothing.
    #[must_use]
    pub fn start(&self, volumes: usize, edges: [usize; 3], device: &B::Device) -> State<B> {
        let (unit, width) = (self.shape.edge_unit(), self.shape.width(self.shape.levels - 1));
        let [d, h, w] = edges.map(|edge| edge / unit);
        let nothing = || Tensor::zeros([volumes, width, d, h, w], device);
        State { hidden: nothing(), cell: nothing() }
    }
}

impl<B: VoxelBackend> Network<B> {
    /// One frame of each of N volumes, `x` `[N, C, D, H, W]`, to logits `[N, outputs, D, H, W]`; no state is the state
    /// before the first frame.
    #[must_use]
    pub fn forward(&self, x: Tensor<B, 5>, state: Option<State<B>>) -> (Tensor<B, 5>, State<B>) {
        self.sequence(x, 1, state)
    }

    /// `frames` frames of each of N volumes, `x` `[frames * N, C, D, H, W]`, all volumes of the first frame first.
    ///
    /// # Panics
    /// If the batch is not divisible by `frames`, or `frames` is 0.
    #[must_use]
    pub fn sequence(&self, x: Tensor<B, 5>, frames: usize, state: Option<State<B>>) -> (Tensor<B, 5>, State<B>) {
        let [batch, _, d, h, w] = x.dims();
        assert!(frames > 0 && batch % frames == 0, "a batch of {batch} volumes is not {frames} frames of some");
        let state = state.unwrap_or_else(|| self.start(batch / frames, [d, h, w], &x.device()));
        let (mut finer, deep) = self.encode(x);
        let (remembered, state) = self.remember(&deep, frames, state);
        let mut d = deep + remembered;
        for (up, block) in self.up.iter().zip(&self.decoder).rev() {
            let same = finer.pop().expect("the encoder leaves one for every level above the deepest");
            d = block.forward(joined(same, up.forward(d, self.how), self.how), self.how);
        }
        (self.head.forward(d, self.how), state)
    }

    /// What every level but the deepest sees, and what the deepest sees.
    fn encode(&self, x: Tensor<B, 5>) -> (Vec<Tensor<B, 5>>, Tensor<B, 5>) {
        let (mut finer, mut e) = (Vec::with_capacity(self.down.len()), self.encoder[0].forward(x, self.how));
        for (down, block) in self.down.iter().zip(&self.encoder[1..]) {
            finer.push(e.clone());
            e = block.forward(down.forward(e, None, true, self.how), self.how);
        }
        (finer, e)
    }

    /// The ConvLSTM over all frames: what it says at each, `[frames * N, width, D, H, W]`, and its state behind them.
    fn remember(&self, deep: &Tensor<B, 5>, frames: usize, mut state: State<B>) -> (Tensor<B, 5>, State<B>) {
        let volumes = deep.dims()[0] / frames;
        let mut said = Vec::with_capacity(frames);
        for frame in 0..frames {
            let seen = if frames == 1 { deep.clone() } else { deep.clone().narrow(0, frame * volumes, volumes) };
            let gates = self.gates.forward(joined(seen, state.hidden, self.how), self.how);
            let width = gates.dims()[1] / 4;
            let gate = |index: usize| gates.clone().narrow(1, index * width, width);
            let new = sigmoid(gate(0)) * gate(2).tanh();
            let cell = sigmoid(gate(1)) * state.cell + new;
            state = State { hidden: sigmoid(gate(3)) * cell.clone().tanh(), cell };
            said.push(state.hidden.clone());
        }
        let all = if frames == 1 { said.remove(0) } else { Tensor::cat(said, 0) };
        (all, state)
    }
}

/// splitmix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    /// From a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    pub(crate) fn next(&mut self) -> f32 {
        ((self.bits() >> 40) as f32).mul_add(1.0 / (1 << 23) as f32, -1.0)
    }

    /// Uniform in [0, 1).
    pub(crate) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of the first `n` whole numbers.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.share() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Two of mean 0 and variance 1 (Box and Muller 1958).
    pub(crate) fn normals(&mut self) -> [f32; 2] {
        let (far, round) = (1.0 - self.share(), self.share() * std::f64::consts::TAU);
        let (sine, cosine) = libm::sincos(round);
        [cosine, sine].map(|part| ((-2.0 * libm::log(far)).sqrt() * part) as f32)
    }
}

/// A layer before training: uniform within √(6 / fan) where a ReLU follows, within √(3 / fan) elsewhere, which gives
/// variances of 2 / fan and 1 / fan; fan is the number of inputs that one output reads.
/// The logit that every output has at first: of one voxel in twenty, as tumours are rare.
const RARE: f32 = -3.0;

fn first(place: LayerShape, random: &mut Random) -> Layer {
    let fan = place.inputs * if place.kind == Kind::Up2 { 1 } else { place.kind.taps() };
    let rectified = place.name.ends_with(".conv1") || place.name.ends_with(".conv2") || place.kind == Kind::Down3;
    let bound = (if rectified { 6.0 } else { 3.0 } / fan as f32).sqrt();
    let weight = (0..place.weights()).map(|_| bound * random.next()).collect();
    let mut bias = vec![0.0; place.outputs];
    if place.name == "lstm.gates" {
        let width = place.outputs / 4;
        bias[width..2 * width].fill(1.0);
    }
    if place.name == "head" {
        bias.fill(RARE);
    }
    Layer { shape: place, weight, bias }
}
