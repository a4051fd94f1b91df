//! From floats to bytes: ranges of activations, and weights as signed bytes.
//!
//! An activation is `scale * (byte - zero)`, with one scale and zero point a tensor, from the range that sample frames
//! showed. After a ReLU zero is 0. A layer's input scales are multiplied into its weights before these are rounded, each
//! output channel with a scale of its own: tensors of different scales can so be joined without a copy.
//! `y = scale[o] * Σ byte w + bias[o] - scale[o] * Σ zero w`: exact but for the rounding of weights and results.
//! **Not protected against:** frames that look unlike the samples. What is beyond a range is clamped to it.

use super::EngineError;
use super::direct::Direct;
use super::program::{HIDDEN, Id, Program};
use super::taps::{OUTS, Tap};

/// How large activations get: what [`super::Plan::calibrate`] has seen. Plain data, to be kept beside a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Lowest and highest value of each tensor, 0 included, in the order that the plan computes them in.
    pub ranges: Vec<[f32; 2]>,
}

/// One tensor's bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bytes {
    pub(super) scale: f32,
    pub(super) zero: f32,
}

impl Bytes {
    /// Four zeros.
    pub(super) fn fill(self) -> i32 {
        i32::from_le_bytes([self.zero as u8; 4])
    }
}

/// How each tensor becomes bytes.
pub(super) fn all_bytes(program: &Program, calibration: &Calibration) -> Result<Vec<Bytes>, EngineError> {
    let (found, expected) = (calibration.ranges.len(), program.tensors.len());
    if found != expected {
        return Err(EngineError::Calibration { found, expected });
    }
    let each = program.tensors.iter().zip(&calibration.ranges).enumerate();
    each.map(|(id, (tensor, [low, high]))| {
        // The hidden state is bounded by its making, whatever the samples showed.
        let [low, high] = if id == HIDDEN { [-1.0, 1.0] } else { [*low, *high] };
        let holds_zero = (f32::MIN..=0.0).contains(&low) && (0.0..=f32::MAX).contains(&high);
        if !holds_zero || !(high - low).is_finite() {
            return Err(EngineError::Range { tensor: tensor.name.clone(), low, high });
        }
        let low = if tensor.positive { 0.0 } else { low };
        // What never was anything but 0 gets a range all the same.
        let width = if high - low > f32::MIN_POSITIVE * 1e6 { high - low } else { 1.0 };
        let scale = width / 255.0;
        Ok(Bytes { scale, zero: (-low / scale).round().clamp(0.0, 255.0) })
    })
    .collect()
}

/// A layer's weights as bytes.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    pub(super) taps: Vec<Tap<i32>>,
    /// One float for each output channel, padded to eight.
    pub(super) scales: Vec<f32>,
    /// The same for each class of outputs, with zero points taken off.
    pub(super) bias: Vec<f32>,
}

/// Where words of four channels come from, when tensors are joined.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    /// Channels and bytes of each tensor.
    parts: Vec<(usize, Bytes)>,
}

impl Joined {
    pub(super) fn new(program: &Program, bytes: &[Bytes], from: &[Id]) -> Self {
        Self { parts: from.iter().map(|id| (program.tensors[*id].channels, bytes[*id])).collect() }
    }

    /// Words of each of at most two tensors.
    pub(super) fn words(&self) -> [usize; 2] {
        let words = |part: usize| self.parts.get(part).map_or(0, |(channels, _)| channels.div_ceil(4));
        [words(0), words(1)]
    }

    /// What lies around each word of channels.
    pub(super) fn fills(&self) -> Vec<i32> {
        self.parts.iter().flat_map(|(channels, bytes)| vec![bytes.fill(); channels.div_ceil(4)]).collect()
    }

    /// The channel in byte `b` of word `w`, if there is one, and its bytes.
    fn channel(&self, word: usize, b: usize) -> Option<(usize, Bytes)> {
        let (mut word, mut before) = (word, 0);
        for (channels, bytes) in &self.parts {
            if word < channels.div_ceil(4) {
                return (word * 4 + b < *channels).then_some((before + word * 4 + b, *bytes));
            }
            word -= channels.div_ceil(4);
            before += channels;
        }
        None
    }
}

impl Weights {
    /// `weight(out, in, tap)`.
    pub(super) fn new(
        direct: &Direct,
        joined: &Joined,
        weight: impl Fn(usize, usize, usize) -> f32,
        bias: &[f32],
    ) -> Self {
        let outputs = direct.outputs.next_multiple_of(OUTS);
        let effective = |o: usize, word: usize, b: usize, k: usize| {
            joined.channel(word, b).map_or((0.0, 0.0), |(c, bytes)| (weight(o, c, k) * bytes.scale, bytes.zero))
        };
        let mut largest = vec![0.0_f32; outputs];
        direct.places(|_, _, o, word, k| {
            (0..4).for_each(|b| largest[o] = largest[o].max(effective(o, word, b, k).0.abs()));
        });
        let scales: Vec<f32> = largest.iter().map(|m| if *m > 0.0 { m / 127.0 } else { 1.0 }).collect();
        let mut taps = vec![[0; OUTS]; direct.all_taps()];
        let classes = direct.classes.len();
        let mut zeros = vec![0.0_f64; classes * outputs];
        direct.places(|tap, lane, o, word, k| {
            // Where there are classes, each has one tap.
            let class = if classes == 1 { 0 } else { k };
            let bytes = [0, 1, 2, 3].map(|b| {
                let (value, zero) = effective(o, word, b, k);
                let byte = (value / scales[o]).round_ties_even().clamp(-127.0, 127.0);
                zeros[class * outputs + o] += f64::from(zero * byte);
                byte as i8 as u8
            });
            taps[tap][lane] = i32::from_le_bytes(bytes);
        });
        let bias = (0..classes * outputs)
            .map(|i| {
                let o = i % outputs;
                bias.get(o).map_or(0.0, |b| (f64::from(*b) - f64::from(scales[o]) * zeros[i]) as f32)
            })
            .collect();
        Self { taps, scales, bias }
    }
}
