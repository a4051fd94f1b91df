//! What the engine refuses, and why.

use super::{Isa, Precision};
use crate::gpu::DeviceError;
use crate::model::Kind;

/// Why no plan was made, or a call was refused. Nothing was computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// The model's layers are not those of its shape.
    #[error("layer {at} is {found}, but this network has {expected} there")]
    Layer {
        /// Where in the model's list.
        at: usize,
        /// What stands there.
        found: String,
        /// What its shape demands.
        expected: String,
    },
    /// The network's shape is none that the engine knows.
    #[error("a network of {inputs} inputs, {outputs} outputs, base {base} and {levels} levels cannot be run: {why}")]
    Shape {
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
        /// Channels of the finest level.
        base: usize,
        /// Levels.
        levels: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The volume cannot be halved often enough, or is empty or too large.
    #[error("an edge of {edge} voxels: this network needs a multiple of {unit}, at most {most}")]
    Edge {
        /// As asked for.
        edge: usize,
        /// What it must be a multiple of.
        unit: usize,
        /// The largest edge.
        most: usize,
    },
    /// A slice has not the length that its shape demands.
    #[error("{what} has {found} values, not {expected}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What it should be.
        expected: usize,
    },
    /// An operation on nothing, or on more than can be addressed.
    #[error("{kind:?} of {inputs} to {outputs} channels on {batch} × {grid:?} voxels cannot be run")]
    Extent {
        /// The layer's kind.
        kind: Kind,
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
        /// Volumes in the batch.
        batch: usize,
        /// Voxels along z, y and x.
        grid: [usize; 3],
    },
    /// A weight or bias is infinite or not a number.
    #[error("{layer}: {part} {at} is {value}; training went wrong, or the file is damaged")]
    Weight {
        /// The layer's name.
        layer: String,
        /// `weight` or `bias`.
        part: &'static str,
        /// Which of them.
        at: usize,
        /// Its value.
        value: f32,
    },
    /// A GPU that was to compute instead failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// An input or state value is infinite or not a number.
    #[error("{what} {at} is {value}, not a finite number")]
    Value {
        /// Which slice.
        what: &'static str,
        /// Where in it.
        at: usize,
        /// What is there.
        value: f32,
    },
    /// Int8 needs to know how large activations get.
    #[error("{0:?} needs a calibration: run `calibrate` on sample frames first")]
    Uncalibrated(Precision),
    /// The calibration does not belong to this network.
    #[error("the calibration has {found} ranges, this network needs {expected}")]
    Calibration {
        /// Ranges that it has.
        found: usize,
        /// Ranges that are needed.
        expected: usize,
    },
    /// A range of the calibration is none.
    #[error("the calibration's range of {tensor} is {low} to {high}; it must be finite and hold 0")]
    Range {
        /// Whose range.
        tensor: String,
        /// Lower end.
        low: f32,
        /// Upper end.
        high: f32,
    },
    /// The processor has not these instructions.
    #[error("this processor has no {0:?}; the portable path runs everywhere")]
    Isa(Isa),
    /// The state was made for another plan.
    #[error("the state holds {found} values, this plan needs {expected}")]
    State {
        /// What it has.
        found: usize,
        /// What it should have.
        expected: usize,
    },
}
