//! A model as ONNX, for other people's runtimes.
//!
//! Inputs `input` `[1, C, E, E, E]`, `h` and `c` `[1, width, e, e, e]` with `e` the edge at the deepest level; outputs
//! `logits` `[1, outputs, E, E, E]`, `h_next` and `c_next`, which are the next frame's `h` and `c`; before the first
//! frame both are 0. Opset 17, numbers in f32, one node a step of the description in [`crate::model`], each named after
//! its layer. The model's digest stands in the metadata as `bregma.model`. ONNX wants every name once, so outputs
//! cannot be called `h` and `c` themselves.
//!
//! **Source:** the ONNX specification, IR version 8. **Allocation:** the whole file in memory, once.
//! **Not protected against:** a runtime that computes otherwise; the test beside this crate asks ONNX Runtime.

mod proto;
#[cfg(test)]
mod tests;

use super::{Kind, Layer, Model, ModelFault};
use prost::Message;
use proto::{Attribute, Graph, Node, OperatorSet, Pair, Tensor, ValueInfo};
use std::io::Write;

/// What the operators mean.
const OPSET: i64 = 17;
/// What the file's structure means; the one that came with the opset.
const IR_VERSION: i64 = 8;

/// Why a model is not exported.
#[derive(Debug, thiserror::Error)]
pub enum OnnxFault {
    /// The model is none.
    #[error("the model: {0}")]
    Model(#[from] ModelFault),
    /// Volumes of this edge cannot be halved often enough.
    #[error("an edge of {edge} voxels; a multiple of {unit}, at most {EDGE_MAX}, is right for this model")]
    Edge {
        /// What was asked for.
        edge: usize,
        /// What divides it.
        unit: usize,
    },
    /// The writer refuses.
    #[error("writing ONNX: {0}")]
    Write(#[from] std::io::Error),
}

/// Voxels of an edge, at most: a volume of more is no region of interest.
pub const EDGE_MAX: usize = 1024;

/// Writes a model that takes volumes of `edge` voxels a side.
///
/// # Errors
/// [`OnnxFault`].
pub fn export(model: &Model, edge: usize, mut writer: impl Write) -> Result<(), OnnxFault> {
    model.check()?;
    let unit = model.shape.edge_unit();
    if edge == 0 || edge > EDGE_MAX || !edge.is_multiple_of(unit) {
        return Err(OnnxFault::Edge { edge, unit });
    }
    let file = proto::Model {
        ir_version: IR_VERSION,
        producer_name: "bregma".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(Builder::build(model, edge)),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
        metadata_props: vec![Pair { key: "bregma.model".into(), value: model.digest().to_string() }],
    };
    writer.write_all(&file.encode_to_vec())?;
    writer.flush()?;
    Ok(())
}

/// The graph as it grows; a value is known by its name.
struct Builder<'a> {
    model: &'a Model,
    graph: Graph,
}

impl Builder<'_> {
    fn build(model: &Model, edge: usize) -> Graph {
        let shape = model.shape;
        let (deep, small) = (shape.width(shape.levels - 1), edge / shape.edge_unit());
        let value = |name: &str, channels, edge| ValueInfo::of(name, [1, channels, edge, edge, edge]);
        let graph = Graph {
            name: "bregma".into(),
            node: Vec::new(),
            initializer: Vec::new(),
            input: vec![value("input", shape.inputs, edge), value("h", deep, small), value("c", deep, small)],
            output: vec![
                value("logits", shape.outputs, edge),
                value("h_next", deep, small),
                value("c_next", deep, small),
            ],
        };
        let mut builder = Builder { model, graph };
        builder.network();
        builder.graph
    }

    fn network(&mut self) {
        let levels = self.model.shape.levels;
        let mut e = vec![self.block("enc0", "input".into())];
        for level in 1..levels {
            let down = self.layer(&format!("down{level}"), &e[level - 1].clone(), None);
            let down = self.node("Relu", &[&down], &format!("down{level}.relu"));
            e.push(self.block(&format!("enc{level}"), down));
        }
        let deep = e.pop().expect("a shape within bounds has a level");
        self.lstm(&deep);
        let mut d = self.node("Add", &[&deep, "h_next"], "lstm.add");
        for level in (0..levels - 1).rev() {
            let up = self.layer(&format!("up{level}"), &d, None);
            let joined = self.join(&[&e[level].clone(), &up], &format!("dec{level}.join"));
            d = self.block(&format!("dec{level}"), joined);
        }
        self.layer("head", &d, Some("logits"));
    }

    /// `relu(conv2(relu(conv1(x))) + s(x))`.
    fn block(&mut self, name: &str, x: String) -> String {
        let inner = self.layer(&format!("{name}.conv1"), &x, None);
        let inner = self.node("Relu", &[&inner], &format!("{name}.relu1"));
        let inner = self.layer(&format!("{name}.conv2"), &inner, None);
        let skip = format!("{name}.skip");
        let has_skip = self.model.layers.iter().any(|layer| layer.shape.name == skip);
        let past = if has_skip { self.layer(&skip, &x, None) } else { x };
        let sum = self.node("Add", &[&inner, &past], &format!("{name}.add"));
        self.node("Relu", &[&sum], &format!("{name}.relu2"))
    }

    /// `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')`.
    fn lstm(&mut self, deep: &str) {
        let joined = self.join(&[deep, "h"], "lstm.join");
        let gates = self.layer("lstm.gates", &joined, None);
        let parts = ["i", "f", "g", "o"].map(|gate| format!("lstm.{gate}"));
        self.graph.node.push(Node {
            input: vec![gates],
            output: parts.to_vec(),
            name: "lstm.split".into(),
            op_type: "Split".into(),
            attribute: vec![Attribute::int("axis", 1)],
        });
        let [i, f, g, o] = parts;
        let i = self.node("Sigmoid", &[&i], "lstm.i.open");
        let f = self.node("Sigmoid", &[&f], "lstm.f.open");
        let g = self.node("Tanh", &[&g], "lstm.g.new");
        let o = self.node("Sigmoid", &[&o], "lstm.o.open");
        let kept = self.node("Mul", &[&f, "c"], "lstm.kept");
        let new = self.node("Mul", &[&i, &g], "lstm.new");
        let cell = self.node("Add", &[&kept, &new], "c_next");
        let said = self.node("Tanh", &[&cell], "lstm.said");
        self.node("Mul", &[&o, &said], "h_next");
    }

    fn join(&mut self, inputs: &[&str], name: &str) -> String {
        let name = self.node("Concat", inputs, name);
        self.graph.node.last_mut().expect("pushed just now").attribute.push(Attribute::int("axis", 1));
        name
    }

    /// A node with one output, which has its name.
    fn node(&mut self, operator: &str, inputs: &[&str], name: &str) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute: Vec::new(),
        });
        name.to_owned()
    }

    /// One layer with its weights; its output has its name, or another that is given.
    fn layer(&mut self, name: &str, x: &str, output: Option<&str>) -> String {
        let model = self.model;
        let layer = model.layers.iter().find(|layer| layer.shape.name == name);
        let Layer { shape, weight, bias } = layer.expect("a checked model has every layer of its shape");
        let (outputs, inputs) = (shape.outputs, shape.inputs);
        let (operator, dims, stride, padding) = match shape.kind {
            Kind::Conv3 => ("Conv", [outputs, inputs, 3, 3, 3], 1, 1),
            Kind::Down3 => ("Conv", [outputs, inputs, 3, 3, 3], 2, 1),
            Kind::Conv1 => ("Conv", [outputs, inputs, 1, 1, 1], 1, 0),
            Kind::Up2 => ("ConvTranspose", [inputs, outputs, 2, 2, 2], 2, 0),
        };
        let (weights, biases) = (format!("{name}.weight"), format!("{name}.bias"));
        self.graph.initializer.push(Tensor::of(&weights, &dims, weight));
        self.graph.initializer.push(Tensor::of(&biases, &[outputs], bias));
        let name = self.node(operator, &[x, &weights, &biases], output.unwrap_or(name));
        self.graph.node.last_mut().expect("pushed just now").attribute = vec![
            Attribute::ints("kernel_shape", [dims[2] as i64; 3].to_vec()),
            Attribute::ints("strides", vec![stride; 3]),
            Attribute::ints("pads", vec![padding; 6]),
        ];
        name
    }
}
