//! A trained network as plain data: its shape, and its layers with every norm folded into them.
//!
//! ```text
//!  burn network ──fold──► Model ──► file, engine::Plan (f32 or int8), ONNX
//! ```
//! The one form that training writes and everything else reads: neither burn nor the engine is named here.
//!
//! The network is a residual 3D U-Net with a ConvLSTM at its bottleneck. With `block(x) = relu(conv2(relu(conv1(x)))
//! + s(x))`, where `s` is the 1×1×1 layer `skip` if there is one and `x` itself if not:
//!
//! ```text
//!  e0 = block(input)                                  layers enc0.conv1, enc0.conv2, enc0.skip
//!  el = block(relu(down(e(l-1))))    l = 1..levels    layers downL, encL.conv1, encL.conv2
//!  i, f, g, o = gates([e(levels-1), h])               layer lstm.gates
//!  c' = σ(f) c + σ(i) tanh(g)    h' = σ(o) tanh(c')
//!  d  = e(levels-1) + h'
//!  d  = block([el, up(d)])           l = levels-2..=0 layers upL, decL.conv1, decL.conv2, decL.skip
//!  logits = head(d)                                   layer head
//! ```
//! **Shapes:** activations `[C, D, H, W]`, x fastest; every edge is divisible by `2^(levels-1)`. Convolutions are
//! cross-correlations with zero padding, so that stride 1 keeps the edge and stride 2 halves it: output `o` reads
//! inputs `2 o - 1`, `2 o`, `2 o + 1`. `[a, b]` joins channels, `a` first. **Allocation:** on load.

mod check;
pub mod file;
pub mod onnx;

pub use check::{BASE_MAX, CHANNELS_MAX, LEVELS_MAX, ModelFault, WEIGHTS_MAX};

/// What a layer does to the grid, and so the shape of its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 3×3×3, stride 1, zero padding 1; weights `[out, in, 3, 3, 3]`.
    Conv3,
    /// 3×3×3, stride 2, zero padding 1; weights `[out, in, 3, 3, 3]`.
    Down3,
    /// 1×1×1; weights `[out, in]`.
    Conv1,
    /// Transposed 2×2×2, stride 2: each input voxel becomes eight; weights `[in, out, 2, 2, 2]`.
    Up2,
}

impl Kind {
    /// Weights for one pair of channels.
    #[must_use]
    pub const fn taps(self) -> usize {
        match self {
            Self::Conv3 | Self::Down3 => 27,
            Self::Conv1 => 1,
            Self::Up2 => 8,
        }
    }
}

/// What a network is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output, each a logit.
    pub outputs: usize,
    /// Channels of the finest level; each next one has twice as many.
    pub base: usize,
    /// Levels, the bottleneck among them.
    pub levels: usize,
}

/// A layer's place in the network, without weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerShape {
    /// As in the module's description.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Channels that it reads.
    pub inputs: usize,
    /// Channels that it writes.
    pub outputs: usize,
}

impl LayerShape {
    /// Weights, without biases.
    #[must_use]
    pub const fn weights(&self) -> usize {
        self.kind.taps() * self.inputs * self.outputs
    }
}

impl Shape {
    /// Channels of a level.
    #[must_use]
    pub const fn width(&self, level: usize) -> usize {
        self.base << level
    }

    /// Edges of a volume must be divisible by this.
    #[must_use]
    pub const fn edge_unit(&self) -> usize {
        1 << (self.levels - 1)
    }

    /// Every layer, in the order that they are computed in.
    #[must_use]
    pub fn layers(&self) -> Vec<LayerShape> {
        use Kind::{Conv1, Conv3, Down3, Up2};
        let mut all = Vec::new();
        let mut layer = |name: String, kind, inputs, outputs| all.push(LayerShape { name, kind, inputs, outputs });
        let (first, deep) = (self.width(0), self.levels - 1);
        layer("enc0.conv1".into(), Conv3, self.inputs, first);
        layer("enc0.conv2".into(), Conv3, first, first);
        layer("enc0.skip".into(), Conv1, self.inputs, first);
        for level in 1..self.levels {
            let (above, width) = (self.width(level - 1), self.width(level));
            layer(format!("down{level}"), Down3, above, width);
            layer(format!("enc{level}.conv1"), Conv3, width, width);
            layer(format!("enc{level}.conv2"), Conv3, width, width);
        }
        layer("lstm.gates".into(), Conv3, 2 * self.width(deep), 4 * self.width(deep));
        for level in (0..deep).rev() {
            let (below, width) = (self.width(level + 1), self.width(level));
            layer(format!("up{level}"), Up2, below, width);
            layer(format!("dec{level}.conv1"), Conv3, 2 * width, width);
            layer(format!("dec{level}.conv2"), Conv3, width, width);
            layer(format!("dec{level}.skip"), Conv1, 2 * width, width);
        }
        layer("head".into(), Conv1, first, self.outputs);
        all
    }
}

/// A layer with its numbers; norms are folded into them.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its place.
    pub shape: LayerShape,
    /// As [`Kind`] says.
    pub weight: Vec<f32>,
    /// `[out]`; of `lstm.gates` in the order input, forget, cell, output.
    pub bias: Vec<f32>,
}

/// A whole network.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What it is made of.
    pub shape: Shape,
    /// As [`Shape::layers`] lists them.
    pub layers: Vec<Layer>,
}
