//! What a plan does once, at load: checks a model, and lays out and packs each step's weights.
//!
//! **Allocation:** here, and nowhere later. **Bad input:** a model that is not what its shape says, a weight that is not
//! finite, or a volume that cannot be halved often enough is refused by name.

use super::direct::{Direct, Form};
use super::int8;
use super::program::{Id, Program, Tensor, Work};
use super::quant::{Bytes, Joined, Weights};
use super::taps::{OUTS, Tap};
use super::wino::Wino;
use super::{EngineError, Precision};
use crate::model::{Kind, Layer, Model};

/// Longest edge of a volume.
pub(super) const EDGE_MAX: usize = 256;

/// Most channels of a layer: 27 × 2048 products of two bytes stay far below 2³¹.
const CHANNELS_MAX: usize = 2048;

/// A step, ready to run.
#[derive(Debug)]
pub(super) enum Ready {
    Wino { wino: Wino, weights: Vec<Tap<f32>>, bias: Vec<f32>, skip: Vec<Tap<f32>> },
    Direct { direct: Direct, weights: Vec<Tap<f32>>, bias: Vec<f32> },
    Int8 { direct: Direct, weights: Weights, fills: Vec<i32>, words: [usize; 2], skip: Option<Skip> },
    Cell,
}

/// A 1×1×1 layer in bytes, added to another's tile.
#[derive(Debug)]
pub(super) struct Skip {
    pub(super) weights: Weights,
    pub(super) words: [usize; 2],
    pub(super) offsets: Vec<u32>,
}

impl Skip {
    pub(super) fn all(&self) -> usize {
        self.words[0] + self.words[1]
    }
}

impl Ready {
    /// 32-bit words of scratch for each worker.
    pub(super) fn scratch(&self) -> usize {
        match self {
            Self::Wino { wino, .. } => wino.scratch(),
            Self::Direct { direct, .. } => direct.scratch(),
            Self::Int8 { direct, skip, .. } => int8::scratch(direct, skip.as_ref().map_or(0, Skip::all)),
            Self::Cell => 0,
        }
    }

    /// Bytes of weights, biases and scales.
    pub(super) fn weights(&self) -> usize {
        let bytes = |w: &Weights| size_of_val(&w.taps[..]) + size_of_val(&w.bias[..]) + size_of_val(&w.scales[..]);
        match self {
            Self::Wino { weights, bias, skip, .. } => {
                size_of_val(&weights[..]) + size_of_val(&bias[..]) + size_of_val(&skip[..])
            }
            Self::Direct { weights, bias, .. } => size_of_val(&weights[..]) + size_of_val(&bias[..]),
            Self::Int8 { weights, skip, .. } => bytes(weights) + skip.as_ref().map_or(0, |s| bytes(&s.weights)),
            Self::Cell => 0,
        }
    }
}

/// Refuses a model or an edge that no plan can be made of.
pub(super) fn check(model: &Model, edge: usize) -> Result<(), EngineError> {
    let shape = model.shape;
    let refuse = |why| {
        let (inputs, outputs, base, levels) = (shape.inputs, shape.outputs, shape.base, shape.levels);
        Err(EngineError::Shape { inputs, outputs, base, levels, why })
    };
    if !(1..=8).contains(&shape.levels) {
        return refuse("it needs 1 to 8 levels");
    }
    if [shape.inputs, shape.outputs, shape.base].iter().any(|n| !(1..=CHANNELS_MAX).contains(n)) {
        return refuse("it needs 1 to 2048 channels everywhere");
    }
    if 4 * shape.width(shape.levels - 1) > 4 * CHANNELS_MAX || 2 * shape.width(shape.levels - 1) > CHANNELS_MAX {
        return refuse("its deepest level has more than 1024 channels");
    }
    let unit = shape.edge_unit();
    if edge == 0 || !edge.is_multiple_of(unit) || edge > EDGE_MAX {
        return Err(EngineError::Edge { edge, unit, most: EDGE_MAX });
    }
    let layers = shape.layers();
    for at in 0..layers.len().max(model.layers.len()) {
        let describe = |l: Option<&crate::model::LayerShape>| {
            l.map_or("nothing".into(), |l| format!("{} ({:?}, {} to {})", l.name, l.kind, l.inputs, l.outputs))
        };
        let (found, expected) = (model.layers.get(at).map(|l| &l.shape), layers.get(at));
        if found != expected {
            return Err(EngineError::Layer { at, found: describe(found), expected: describe(expected) });
        }
    }
    model.layers.iter().try_for_each(numbers)
}

fn numbers(layer: &Layer) -> Result<(), EngineError> {
    for (part, what, values, expected) in [
        ("weight", "a layer's weight", &layer.weight, layer.shape.weights()),
        ("bias", "a layer's bias", &layer.bias, layer.shape.outputs),
    ] {
        if values.len() != expected {
            return Err(EngineError::Length { what, found: values.len(), expected });
        }
        if let Some((at, value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(EngineError::Weight { layer: layer.shape.name.clone(), part, at, value: *value });
        }
    }
    Ok(())
}

fn form(kind: Kind) -> Form {
    match kind {
        Kind::Conv3 => Form::Conv3,
        Kind::Down3 => Form::Down3,
        Kind::Conv1 => Form::Point,
        Kind::Up2 => Form::Up2,
    }
}

/// A layer's weight by output, input and tap, however it is stored.
fn by_output(layer: &Layer) -> impl Fn(usize, usize, usize) -> f32 {
    let (taps, inputs, outputs) = (layer.shape.kind.taps(), layer.shape.inputs, layer.shape.outputs);
    let swapped = layer.shape.kind == Kind::Up2;
    move |o, c, k| layer.weight[if swapped { (c * outputs + o) * taps + k } else { (o * inputs + c) * taps + k }]
}

fn padded(bias: &[f32], more: Option<&[f32]>) -> Vec<f32> {
    let mut all: Vec<f32> = match more {
        Some(more) => bias.iter().zip(more).map(|(a, b)| a + b).collect(),
        None => bias.to_vec(),
    };
    all.resize(bias.len().next_multiple_of(OUTS), 0.0);
    all
}

/// Packs one step. `bytes`: how each tensor becomes bytes, for [`Precision::Int8`]; those that do not are floats.
pub(super) fn step(model: &Model, program: &Program, work: &Work, to: Id, bytes: Option<&[Bytes]>) -> Ready {
    let Work::Layer { kind, layer, from, skip, .. } = work else { return Ready::Cell };
    let (layer, grid) = (&model.layers[*layer], |t: &Tensor| [t.edge; 3]);
    let (read, written) = (grid(&program.tensors[from[0]]), grid(&program.tensors[to]));
    let weight = by_output(layer);
    let outputs = layer.shape.outputs;
    if let Some(bytes) = bytes {
        let joined = Joined::new(program, bytes, from);
        let words = joined.words();
        let direct = Direct::new(form(*kind), words[0] + words[1], outputs, read, written);
        let result = (!program.floats(to)).then(|| bytes[to]);
        let skip = skip.as_ref().map(|(skip, from)| {
            let (layer, joined) = (&model.layers[*skip], Joined::new(program, bytes, from));
            let words = joined.words();
            // The zero is the layer's own, and is not added twice.
            let added = result.map(|to| Bytes { zero: 0.0, ..to });
            let point = Direct::new(Form::Point, words[0] + words[1], outputs, written, written);
            let weights = Weights::new(&point, &joined, by_output(layer), &layer.bias, added);
            Skip { weights, words, offsets: int8::skipped(&direct, words[0] + words[1]) }
        });
        let weights = Weights::new(&direct, &joined, weight, &layer.bias, result);
        return Ready::Int8 { fills: joined.fills(), direct, weights, words, skip };
    }
    if *kind != Kind::Conv3 {
        let mut direct = Direct::new(form(*kind), layer.shape.inputs, outputs, read, written);
        direct.channels_apart(program.stride(from[0]));
        let mut weights = vec![[0.0; OUTS]; direct.all_taps()];
        direct.weights(weight, &mut weights);
        return Ready::Direct { direct, weights, bias: padded(&layer.bias, None) };
    }
    let skip = skip.as_ref().map(|(skip, _)| &model.layers[*skip]);
    let channels = skip.map_or(0, |s| s.shape.inputs);
    let wino = Wino::new(layer.shape.inputs, outputs, read, channels);
    let mut weights = vec![[0.0; OUTS]; wino.taps()];
    wino.weights(weight, &mut weights);
    let bias = padded(&layer.bias, skip.map(|s| &s.bias[..]));
    let mut point = vec![[0.0; OUTS]; outputs.div_ceil(OUTS) * channels];
    for (i, w) in skip.iter().flat_map(|s| s.weight.iter().enumerate()) {
        let (o, c) = (i / channels, i % channels);
        point[o / OUTS * channels + c][o % OUTS] = 0.5 * w;
    }
    Ready::Wino { wino, weights, bias, skip: point }
}

/// What is wrong with the precision that was asked for.
pub(super) fn calibrated(precision: Precision, calibration: bool) -> Result<(), EngineError> {
    if precision == Precision::Int8 && !calibration { Err(EngineError::Uncalibrated(precision)) } else { Ok(()) }
}
