//! What is measured of whom, and what its row is called. Row names are a contract.
//!
//! ```text
//!  [PEER.]WHAT_EDGE_bBASE[_tTHREADS]     two threads are not written: openvino.forward_int8_64_b8, train_f32_64_b8_t1
//! ```
//! **Work** is counted as the plain sum of each layer: a multiply-add is two operations, saved ones count as done.

use bregma_perception::model::{Kind, LayerShape, Shape};
use bregma_perception::perceive::network::DEFAULT_SHAPE;

/// Threads that row names leave out.
const USUAL_THREADS: usize = 2;

/// What the row is called of how int8 logits go with our f32 logits: Pearson's, on the frame that is timed.
pub const CORRELATION: &str = "correlation_int8";

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Contender {
    /// The engine's plans; in training burn's Autodiff with the engine's kernels.
    Ours,
    /// OpenVINO; in int8 quantised by its own NNCF.
    OpenVino,
    /// ONNX Runtime; in int8 quantised by its own tools.
    OnnxRuntime,
    /// PyTorch, eager.
    PyTorch,
    /// burn's own CPU backend, with burn's own operations.
    Flex,
}

impl Contender {
    /// Ours first.
    pub const ALL: [Self; 5] = [Self::Ours, Self::OpenVino, Self::OnnxRuntime, Self::PyTorch, Self::Flex];

    /// As row names have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OpenVino => "openvino",
            Self::OnnxRuntime => "onnxruntime",
            Self::PyTorch => "pytorch",
            Self::Flex => "flex",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contender| contender.name() == name)
    }

    /// Whether it is this program; the others are Python's.
    pub const fn here(self) -> bool {
        matches!(self, Self::Ours | Self::Flex)
    }

    /// Whether it can do such a task at all.
    pub const fn does(self, task: Task) -> bool {
        match self {
            Self::Ours => true,
            Self::OpenVino | Self::OnnxRuntime => !matches!(task, Task::Train),
            Self::PyTorch | Self::Flex => !matches!(task, Task::Int8),
        }
    }
}

/// What a contender's process is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Forward, f32.
    F32,
    /// Forward, int8.
    Int8,
    /// Forward and backward, and AdamW's step, f32.
    Train,
}

impl Task {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Int8, Self::Train];

    /// As contenders are told.
    pub const fn word(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
            Self::Train => "train",
        }
    }

    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.word() == word)
    }

    /// What is asked of a contender in each round, and what the row of its times is called.
    pub const fn commands(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::F32 => &[("forward", "forward_f32")],
            Self::Int8 => &[("forward", "forward_int8")],
            Self::Train => &[("train", "train_f32"), ("train_step", "train_step_f32")],
        }
    }

    /// What the row of its peak memory is called.
    pub const fn memory(self) -> &'static str {
        match self {
            Self::F32 => "memory_f32",
            Self::Int8 => "memory_int8",
            Self::Train => "memory_train_f32",
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::F32 => "frame, f32",
            Self::Int8 => "frame, int8",
            Self::Train => "forward + backward, f32",
        }
    }
}

/// A network on volumes of one size, on so many threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// Voxels along each edge.
    pub edge: usize,
    /// Channels of the finest level.
    pub base: usize,
    /// Threads.
    pub threads: usize,
}

impl Point {
    /// What stands behind a row's `what`.
    pub fn suffix(self) -> String {
        format!("_{}_b{}{}", self.edge, self.base, self.on())
    }

    fn on(self) -> String {
        if self.threads == USUAL_THREADS { String::new() } else { format!("_t{}", self.threads) }
    }

    /// The name of the row of what the machine can compute at most in a task's numbers, on as many threads.
    pub fn peak(self, task: Task) -> String {
        format!("peak_{}{}", if task == Task::Int8 { "int8" } else { "f32" }, self.on())
    }

    /// A row's name.
    pub fn row(self, contender: Contender, what: &str) -> String {
        let front = if contender == Contender::Ours { String::new() } else { format!("{}.", contender.name()) };
        format!("{front}{what}{}", self.suffix())
    }

    /// In words.
    pub fn words(self) -> String {
        let threads = if self.threads == 1 { "1 thread".into() } else { format!("{} threads", self.threads) };
        format!("{}³, base {}, {threads}", self.edge, self.base)
    }

    /// The network.
    pub const fn shape(self) -> Shape {
        Shape { base: self.base, ..DEFAULT_SHAPE }
    }

    /// Work of one frame forward, in 10⁹ operations.
    pub fn giga_operations(self) -> f64 {
        let shape = self.shape();
        let of = |layer: &LayerShape| {
            let edge = self.edge >> level(&shape, layer);
            let stride = if layer.kind == Kind::Down3 { 8.0 } else { 1.0 };
            2e-9 * (layer.weights() * edge.pow(3)) as f64 / stride
        };
        shape.layers().iter().map(of).sum()
    }
}

/// The level of what a layer reads.
fn level(shape: &Shape, layer: &LayerShape) -> usize {
    let reads = |level: &usize| match layer.kind {
        Kind::Down3 => layer.inputs == shape.width(*level),
        Kind::Up2 => layer.inputs == shape.width(*level),
        _ => layer.outputs == shape.width(*level) || layer.name.starts_with("lstm"),
    };
    (0..shape.levels).rev().find(reads).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_names_are_the_contract() {
        let point = Point { edge: 64, base: 8, threads: 2 };
        let names = |contender, point: Point| {
            let commands = Task::ALL.iter().flat_map(|task| task.commands());
            commands.map(|(_, what)| point.row(contender, what)).collect::<Vec<_>>()
        };
        assert_eq!(
            names(Contender::Ours, point),
            ["forward_f32_64_b8", "forward_int8_64_b8", "train_f32_64_b8", "train_step_f32_64_b8"]
        );
        let alone = Point { threads: 1, ..point };
        assert_eq!(names(Contender::OpenVino, alone)[1], "openvino.forward_int8_64_b8_t1");
        assert_eq!([point.peak(Task::F32), alone.peak(Task::Int8)], ["peak_f32", "peak_int8_t1"]);
        let wide = Point { edge: 128, base: 16, threads: 4 };
        assert_eq!(wide.row(Contender::Flex, Task::Train.memory()), "flex.memory_train_f32_128_b16_t4");
        for contender in Contender::ALL {
            assert_eq!(Contender::named(contender.name()), Some(contender));
        }
    }

    #[test]
    fn a_frame_of_the_default_network_is_10_giga_operations() {
        let of = |edge, base| Point { edge, base, threads: 2 }.giga_operations();
        // 9.855 in convolutions and 0.117 in the three transposed ones.
        assert!((of(64, 8) - 9.972).abs() < 1e-3, "{}", of(64, 8));
        assert!((of(128, 8) / of(64, 8) - 8.0).abs() < 1e-9);
    }
}
