//! Why a model's file is refused, with the byte where it is and what would be right.

use super::super::ModelFault;
use bregma_core::digest::Digest;
use std::path::PathBuf;

/// Why a model's file is refused, or not written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FileFault {
    /// The file ends too soon.
    #[error("the file ends at byte {found}, within its {part}; {expected} bytes are right")]
    Short {
        /// What is cut.
        part: &'static str,
        /// Bytes that are there.
        found: usize,
        /// Bytes that must be there, at least.
        expected: usize,
    },
    /// Something else than a model's file.
    #[error("byte 0: the file begins with {found:02x?}; {expected:02x?} is right")]
    Magic {
        /// Its first bytes.
        found: [u8; 8],
        /// What is right.
        expected: [u8; 8],
    },
    /// A file of another time.
    #[error("byte 8: format version {found}; {expected} is what is read here")]
    Version {
        /// Its version.
        found: u32,
        /// What is right.
        expected: u32,
    },
    /// A manifest too large to be one.
    #[error("byte 12: a manifest of {value} bytes; at most {max} is right")]
    ManifestLength {
        /// Its bytes.
        value: usize,
        /// The most that is taken.
        max: usize,
    },
    /// The manifest is not the JSON that it should be.
    #[error("byte {offset}: the manifest: {why}")]
    Manifest {
        /// Where in the file.
        offset: usize,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The shape is out of bounds, or the model is not of its shape.
    #[error("the model: {0}")]
    Model(#[from] ModelFault),
    /// Trained on other channels than this runtime has.
    #[error("byte 48: the model reads channels {found}; this runtime has {expected}: train it anew")]
    Channels {
        /// The model's.
        found: String,
        /// This runtime's.
        expected: Digest,
    },
    /// More bytes than the model has.
    #[error("the file has {found} bytes; {expected} is right for its manifest")]
    Long {
        /// Bytes that are there.
        found: usize,
        /// What is right.
        expected: usize,
    },
    /// Damaged between writing and reading.
    #[error("byte 16: the file says its digest is {found}; it is {expected}: the file is damaged")]
    Digest {
        /// What the file says.
        found: Digest,
        /// What it is.
        expected: Digest,
    },
    /// The manifest is another model's.
    #[error("byte 48: the manifest is of model {found}; the numbers are of {expected}")]
    OtherModel {
        /// What the manifest says.
        found: String,
        /// What it is.
        expected: Digest,
    },
    /// A number that is none.
    #[error("byte {offset}: a number of layer {layer} is not finite")]
    NotFinite {
        /// Where in the file.
        offset: usize,
        /// Which layer.
        layer: String,
    },
    /// A range with two names alike.
    #[error("byte 48: range {name} stands before another name that is not after it; sorted, each once, is right")]
    Names {
        /// The first of the two.
        name: String,
    },
    /// A range whose ends are not finite, or the wrong way round.
    #[error("byte {offset}: range {name} is {low} to {high}; finite ends, the lower first, are right")]
    Bounds {
        /// Its name.
        name: String,
        /// Its lowest value.
        low: f32,
        /// Its highest value.
        high: f32,
        /// Where in the file.
        offset: usize,
    },
    /// A number too large to be stored in f16.
    #[error("layer {layer} has a number {value}; f16 ends at 65504: store it in f32")]
    Range16 {
        /// Which layer.
        layer: String,
        /// The number.
        value: f32,
    },
    /// The disk refuses.
    #[error("{}: {why}", path.display())]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}

/// Whether a range is one. Asked as "is it inside?", so that what is not a number is refused.
pub(super) fn bounds(name: &str, [low, high]: [f32; 2], offset: usize) -> Result<(), FileFault> {
    if low.is_finite() && high.is_finite() && low <= high {
        Ok(())
    } else {
        Err(FileFault::Bounds { name: name.to_owned(), low, high, offset })
    }
}
