//! A model's file: a manifest that people can read, and the numbers.
//!
//! ```text
//!   0   8  "\x93bregma\n": a first byte that is no text, an end that a copy as text would change
//!   8   4  format version, 1
//!  12   4  bytes of the manifest, M
//!  16  32  SHA-256 of everything but these 32 bytes
//!  48   M  manifest, JSON: shape, precision, channels, model, figures, ranges
//!  48+M    weights and biases of each layer in the order of `Shape::layers`, in f32 or f16
//!  ...     two f32 for each name in `ranges`: the lowest and the highest
//! ```
//! Numbers are little-endian. `channels` is the digest of the channel list that the model was trained on
//! (`roi_channels_digest`): a reader says which it has, and another is refused. `model` is [`Model::digest`], over
//! shape and numbers alone: what a scene or a recording names. `figures` are words that a training leaves: seeds,
//! commits, what was measured. `ranges` are what an int8 plan was calibrated to; here they are names with two floats.
//!
//! **Exactness:** what is written is what is read, to the last bit. In f16 that is the model rounded to f16, which
//! [`ModelFile::new`] does, so that nobody holds a model that differs from its file.
//! **Allocation:** a reader compares every length with the bytes that are there before it allocates.
//! **Not protected against:** whoever can write the file can write its digest. It finds damage, not malice.

mod fault;
mod read;
#[cfg(test)]
mod tests;

pub use fault::FileFault;

use super::{Model, Shape};
use bregma_core::digest::{Digest, Digester};
use half::f16;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// How a file begins.
const MAGIC: [u8; 8] = *b"\x93bregma\n";
/// What this code writes, and all that it reads.
const VERSION: u32 = 1;
/// Bytes before the manifest.
const HEADER: usize = 48;
/// Bytes of a manifest, at most: a thousand figures and ranges fit well.
const MANIFEST_MAX: usize = 1 << 20;

/// How the names of an int8 plan's ranges begin; a number of five digits follows, so that names sort as numbers.
const ACTIVATION: &str = "activation.";

/// What numbers are stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// Four bytes a number.
    F32,
    /// Two bytes a number: 11 bits of mantissa, and nothing above 65504.
    F16,
}

impl Stored {
    const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// Shape as it stands in a manifest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShapeWords {
    inputs: usize,
    outputs: usize,
    base: usize,
    levels: usize,
}

/// A manifest as it stands in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    shape: ShapeWords,
    precision: Stored,
    channels: String,
    model: String,
    figures: BTreeMap<String, String>,
    ranges: Vec<String>,
}

impl Model {
    /// What identifies it: a digest of its shape and its numbers.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Shape { inputs, outputs, base, levels } = self.shape;
        let mut digester = Digester::new("bregma model 1");
        digester.sizes(&[inputs, outputs, base, levels]);
        let mut bytes = Vec::new();
        for layer in &self.layers {
            bytes.clear();
            bytes.extend(layer.weight.iter().chain(&layer.bias).flat_map(|v| v.to_le_bytes()));
            digester.bytes(&bytes);
        }
        digester.finish()
    }
}

/// A model with what is known of it, as one file.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    model: Model,
    stored: Stored,
    /// The channel list that it reads, by digest.
    pub channels: Digest,
    /// Free words about it.
    pub figures: BTreeMap<String, String>,
    /// Lowest and highest value by name: what an int8 plan was calibrated to.
    pub ranges: BTreeMap<String, [f32; 2]>,
}

impl ModelFile {
    /// A model as it will be read again: rounded, if it is stored in f16.
    ///
    /// # Errors
    /// [`FileFault::Model`], and [`FileFault::Range16`] for a number that f16 cannot hold.
    pub fn new(mut model: Model, stored: Stored, channels: Digest) -> Result<Self, FileFault> {
        model.check()?;
        if stored == Stored::F16 {
            for layer in &mut model.layers {
                for value in layer.weight.iter_mut().chain(&mut layer.bias) {
                    let rounded = f16::from_f32(*value);
                    if !rounded.is_finite() {
                        return Err(FileFault::Range16 { layer: layer.shape.name.clone(), value: *value });
                    }
                    *value = rounded.to_f32();
                }
            }
        }
        Ok(Self { model, stored, channels, figures: BTreeMap::new(), ranges: BTreeMap::new() })
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The model alone.
    #[must_use]
    pub fn into_model(self) -> Model {
        self.model
    }

    /// What its numbers are stored as.
    #[must_use]
    pub const fn stored(&self) -> Stored {
        self.stored
    }

    /// Keeps what an int8 plan was calibrated to, tensor by tensor in the plan's order, among [`Self::ranges`].
    pub fn set_activations(&mut self, ranges: &[[f32; 2]]) {
        self.ranges.retain(|name, _| !name.starts_with(ACTIVATION));
        self.ranges.extend(ranges.iter().enumerate().map(|(i, range)| (format!("{ACTIVATION}{i:05}"), *range)));
    }

    /// What [`Self::set_activations`] kept, in the same order; empty where nothing was.
    #[must_use]
    pub fn activations(&self) -> Vec<[f32; 2]> {
        self.ranges.iter().filter(|(name, _)| name.starts_with(ACTIVATION)).map(|(_, range)| *range).collect()
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`FileFault::Bounds`] for a range that is none, [`FileFault::ManifestLength`] for too many words.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FileFault> {
        let Shape { inputs, outputs, base, levels } = self.model.shape;
        let manifest = Manifest {
            shape: ShapeWords { inputs, outputs, base, levels },
            precision: self.stored,
            channels: self.channels.to_string(),
            model: self.model.digest().to_string(),
            figures: self.figures.clone(),
            ranges: self.ranges.keys().cloned().collect(),
        };
        let manifest = serde_json::to_vec(&manifest).expect("words and numbers are JSON");
        if manifest.len() > MANIFEST_MAX {
            return Err(FileFault::ManifestLength { value: manifest.len(), max: MANIFEST_MAX });
        }
        let mut bytes = Vec::with_capacity(HEADER + manifest.len() + numbers(&self.model.shape) * self.stored.bytes());
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((manifest.len() as u32).to_le_bytes());
        bytes.extend([0; 32]);
        bytes.extend(manifest);
        let numbers = self.model.layers.iter().flat_map(|layer| layer.weight.iter().chain(&layer.bias));
        match self.stored {
            Stored::F32 => bytes.extend(numbers.flat_map(|v| v.to_le_bytes())),
            Stored::F16 => bytes.extend(numbers.flat_map(|v| f16::from_f32(*v).to_le_bytes())),
        }
        for (name, &range) in &self.ranges {
            fault::bounds(name, range, bytes.len())?;
            bytes.extend(range.iter().flat_map(|v| v.to_le_bytes()));
        }
        let digest = file_digest(&bytes);
        bytes[16..HEADER].copy_from_slice(&digest.0);
        Ok(bytes)
    }

    /// Reads a file's bytes, for a runtime whose channel list has this digest.
    ///
    /// # Errors
    /// [`FileFault`], with the byte where it is.
    pub fn from_bytes(bytes: &[u8], channels: &Digest) -> Result<Self, FileFault> {
        read::file(bytes, channels)
    }

    /// Writes the file beside its place and moves it there, so that no half of one is ever found.
    ///
    /// # Errors
    /// As [`Self::to_bytes`], and [`FileFault::Disk`].
    pub fn write(&self, path: &Path) -> Result<(), FileFault> {
        let (bytes, mut beside) = (self.to_bytes()?, path.as_os_str().to_owned());
        beside.push(".part");
        let beside = Path::new(&beside);
        let written = std::fs::write(beside, bytes).and_then(|()| std::fs::rename(beside, path));
        written.map_err(|why| FileFault::Disk { path: path.to_owned(), why: why.to_string() })
    }

    /// Reads a file, as [`Self::from_bytes`].
    ///
    /// # Errors
    /// As [`Self::from_bytes`], and [`FileFault::Disk`].
    pub fn read(path: &Path, channels: &Digest) -> Result<Self, FileFault> {
        let disk = |why: std::io::Error| FileFault::Disk { path: path.to_owned(), why: why.to_string() };
        Self::from_bytes(&std::fs::read(path).map_err(disk)?, channels)
    }
}

/// Numbers of all layers, biases included. The shape is within bounds.
fn numbers(shape: &Shape) -> usize {
    shape.layers().iter().map(|layer| layer.weights() + layer.outputs).sum()
}

/// Of everything but the place where it stands.
fn file_digest(bytes: &[u8]) -> Digest {
    Digester::new("bregma model file 1").bytes(&bytes[..16]).bytes(&bytes[HEADER..]).finish()
}
