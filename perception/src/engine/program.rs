//! What a network computes, step by step, and where each result lies.
//!
//! From a [`Shape`] and a volume's edge come the steps, in order, and the tensors between them. A tensor lives from the
//! step that writes it to the last that reads it; tensors that do not live at the same time share memory, so that one
//! arena, planned here, holds all. The 1×1×1 layer that a residual block adds to its output has no step and no tensor
//! of its own: the block's last step adds it.

use crate::model::{Kind, Shape};

/// A tensor of a [`Program`], by its number.
pub(super) type Id = usize;

/// The network's input; given by the caller.
pub(super) const INPUT: Id = 0;
/// The ConvLSTM's hidden state before this frame; given by the caller.
pub(super) const HIDDEN: Id = 1;

/// Something between steps.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    /// The layer that makes it, or what it is.
    pub(super) name: String,
    pub(super) channels: usize,
    /// Voxels along each edge.
    pub(super) edge: usize,
    /// After a ReLU: never below 0.
    pub(super) positive: bool,
    /// First and last step that touch it.
    pub(super) life: [usize; 2],
}

impl Tensor {
    pub(super) fn voxels(&self) -> usize {
        self.edge.pow(3)
    }
}

/// What a step does.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// A layer of these joined tensors.
    Layer {
        kind: Kind,
        /// Its place in the model.
        layer: usize,
        from: Vec<Id>,
        /// Added to the sum.
        residual: Option<Id>,
        /// A 1×1×1 layer of these joined tensors, added to the sum.
        skip: Option<(usize, Vec<Id>)>,
        relu: bool,
    },
    /// The ConvLSTM's cell: gates and encoder's end in, `e + h'` out; both states are written.
    Cell { gates: Id, encoded: Id },
}

/// One result.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) work: Work,
    pub(super) to: Id,
}

/// All steps of a network.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) tensors: Vec<Tensor>,
    pub(super) steps: Vec<Step>,
}

impl Program {
    /// The last tensor is the logits; given by the caller.
    pub(super) fn new(shape: &Shape, edge: usize) -> Self {
        let mut builder =
            Builder { shape: *shape, edge, layer: 0, program: Self { tensors: Vec::new(), steps: Vec::new() } };
        let deep = shape.levels - 1;
        let input = builder.tensor("input", shape.inputs, 0, false);
        let hidden = builder.tensor("hidden", shape.width(deep), deep, false);
        debug_assert!((input, hidden) == (INPUT, HIDDEN), "the caller's tensors come first");
        let mut encoded = vec![builder.block(0, vec![input], true)];
        for level in 1..shape.levels {
            let down = builder.layer(level, vec![encoded[level - 1]], true);
            encoded.push(builder.block(level, vec![down], false));
        }
        let gates = builder.layer(deep, vec![encoded[deep], hidden], false);
        let mut d = builder.tensor("lstm", shape.width(deep), deep, false);
        builder.program.steps.push(Step { work: Work::Cell { gates, encoded: encoded[deep] }, to: d });
        for level in (0..deep).rev() {
            let up = builder.layer(level, vec![d], false);
            d = builder.block(level, vec![encoded[level], up], true);
        }
        builder.layer(0, vec![d], false);
        builder.program.lives();
        builder.program
    }

    /// Whether the caller holds it.
    pub(super) fn given(&self, id: Id) -> bool {
        id == INPUT || id == HIDDEN || id + 1 == self.tensors.len()
    }

    /// Whether it stays in floats where others become bytes: gates and logits.
    pub(super) fn floats(&self, id: Id) -> bool {
        id + 1 == self.tensors.len()
            || self.steps.iter().any(|s| matches!(s.work, Work::Cell { gates, .. } if gates == id))
    }

    /// Words between a tensor's channels. Channels of large tensors would lie a power of two apart, and so in the same
    /// few places of every cache: they get a gap. What the caller holds and what the cell reads has none.
    pub(super) fn stride(&self, id: Id) -> usize {
        const GAP: usize = 33 * 16;
        let cell = |s: &Step| matches!(s.work, Work::Cell { gates, encoded } if [gates, encoded, s.to].contains(&id));
        let plain = self.given(id) || self.steps.iter().any(cell) || self.tensors[id].edge < 32;
        self.tensors[id].voxels() + if plain { 0 } else { GAP }
    }

    fn lives(&mut self) {
        for (at, step) in self.steps.iter().enumerate() {
            let mut touched = vec![step.to];
            match &step.work {
                Work::Layer { from, residual, skip, .. } => {
                    touched.extend(from.iter().chain(residual).chain(skip.iter().flat_map(|(_, from)| from)));
                }
                Work::Cell { gates, encoded } => touched.extend([gates, encoded]),
            }
            for id in touched {
                let life = &mut self.tensors[id].life;
                *life = [life[0].min(at), life[1].max(at)];
            }
        }
    }

    /// Where each tensor begins in one arena, in units, and how many units that takes; `units(id)` says how many each
    /// needs. Largest first, each at the lowest place that is free for all of its life.
    pub(super) fn arena(&self, units: impl Fn(Id) -> usize) -> (Vec<usize>, usize) {
        let mut order: Vec<Id> = (0..self.tensors.len()).filter(|id| units(*id) > 0).collect();
        order.sort_by_key(|id| (std::cmp::Reverse(units(*id)), *id));
        let mut starts = vec![0; self.tensors.len()];
        let mut placed: Vec<Id> = Vec::new();
        let mut end = 0;
        for id in order {
            let life = self.tensors[id].life;
            let meets = |other: &Id| {
                let other = self.tensors[*other].life;
                life[0] <= other[1] && other[0] <= life[1]
            };
            let mut taken: Vec<[usize; 2]> =
                placed.iter().filter(|p| meets(p)).map(|p| [starts[*p], starts[*p] + units(*p)]).collect();
            taken.sort_unstable();
            let mut start = 0;
            for [from, to] in taken {
                if start + units(id) <= from {
                    break;
                }
                start = start.max(to);
            }
            starts[id] = start;
            end = end.max(start + units(id));
            placed.push(id);
        }
        (starts, end)
    }
}

struct Builder {
    shape: Shape,
    edge: usize,
    /// The next layer of the model.
    layer: usize,
    program: Program,
}

impl Builder {
    fn tensor(&mut self, name: &str, channels: usize, level: usize, positive: bool) -> Id {
        let (edge, life) = (self.edge >> level, [usize::MAX, 0]);
        self.program.tensors.push(Tensor { name: name.into(), channels, edge, positive, life });
        self.program.tensors.len() - 1
    }

    /// The next layer, whose output is on `level`.
    fn layer(&mut self, level: usize, from: Vec<Id>, relu: bool) -> Id {
        self.finished(level, from, None, None, relu)
    }

    fn finished(
        &mut self,
        level: usize,
        from: Vec<Id>,
        residual: Option<Id>,
        skip: Option<(usize, Vec<Id>)>,
        relu: bool,
    ) -> Id {
        let shape = &self.shape.layers()[self.layer];
        let to = self.tensor(&shape.name, shape.outputs, level, relu);
        let work = Work::Layer { kind: shape.kind, layer: self.layer, from, residual, skip, relu };
        self.program.steps.push(Step { work, to });
        self.layer += 1;
        to
    }

    /// Two convolutions and what goes around them: a layer, or the input itself.
    fn block(&mut self, level: usize, from: Vec<Id>, projected: bool) -> Id {
        let middle = self.layer(level, from.clone(), true);
        if projected {
            let skip = Some((self.layer + 1, from));
            let to = self.finished(level, vec![middle], None, skip, true);
            self.layer += 1;
            to
        } else {
            self.finished(level, vec![middle], Some(from[0]), None, true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_is_used_once_and_reads_what_it_should() {
        for levels in 1..5 {
            let shape = Shape { inputs: 5, outputs: 2, base: 4, levels };
            let program = Program::new(&shape, 16);
            let layers = shape.layers();
            let mut used = vec![0; layers.len()];
            for step in &program.steps {
                let Work::Layer { kind, layer, from, skip, .. } = &step.work else { continue };
                let channels = |from: &[Id]| from.iter().map(|id| program.tensors[*id].channels).sum::<usize>();
                used[*layer] += 1;
                assert_eq!((layers[*layer].kind, layers[*layer].inputs), (*kind, channels(from)));
                assert_eq!(program.tensors[step.to].name, layers[*layer].name);
                if let Some((layer, from)) = skip {
                    used[*layer] += 1;
                    assert_eq!((layers[*layer].kind, layers[*layer].inputs), (Kind::Conv1, channels(from)));
                    assert!(layers[*layer].name.ends_with("skip"));
                }
            }
            assert!(used.iter().all(|n| *n == 1), "{levels} levels: {used:?}");
        }
    }

    #[test]
    fn no_two_tensors_that_live_together_share_memory() {
        for (levels, edge) in [(1, 8), (2, 16), (4, 64)] {
            let program = Program::new(&Shape { inputs: 5, outputs: 1, base: 8, levels }, edge);
            let units = |id: Id| {
                if program.given(id) { 0 } else { program.tensors[id].channels * program.tensors[id].voxels() }
            };
            let (starts, end) = program.arena(units);
            let all: usize = (0..program.tensors.len()).map(units).sum();
            assert!(end <= all && (levels == 1 || end < all));
            for a in 0..program.tensors.len() {
                assert!(starts[a] + units(a) <= end);
                for b in 0..a {
                    let [x, y] = [a, b].map(|id| program.tensors[id].life);
                    let together = x[0] <= y[1] && y[0] <= x[1];
                    let shared = starts[a] < starts[b] + units(b) && starts[b] < starts[a] + units(a);
                    assert!(!(together && shared), "{a} and {b}");
                }
            }
        }
    }
}
