//! Files that registrations are made from and kept in: points that a person has marked, and rigid transforms.
//!
//! [`markups`] reads 3D Slicer's `.mrk.json` and `.fcsv`; [`poses`] reads tracked poses as comma-separated values;
//! [`traced`] reads points of a surface; [`transform`] writes and reads ITK's transforms (`.tfm`, `.h5`), and
//! [`displacement`] writes fields.
//! **Frames and units:** mm; whatever the file says, points leave in LPS. **Bounds:** files of 16 MB and 100,000 entries
//! at most.

mod columns;
pub mod displacement;
pub mod markups;
pub mod poses;
pub mod traced;
pub mod transform;

use std::path::Path;

/// A file is not read beyond this, bytes.
pub const BYTES_MAX: u64 = 16 << 20;
/// Points or poses of a file, at most.
pub const ENTRIES_MAX: usize = 100_000;

/// Why a file of points, poses or transforms is refused.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationFileError {
    /// It cannot be read or written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Larger than any such file.
    #[error("{bytes} bytes; {BYTES_MAX} are the most")]
    Large {
        /// Its size.
        bytes: u64,
    },
    /// A kind of file that is not known by its name.
    #[error("the name ends in neither of {known}")]
    Kind {
        /// What is read.
        known: &'static str,
    },
    /// Something in it is not as it must be.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The file as a whole is not as it must be.
    #[error("{0}")]
    Whole(String),
}

impl RegistrationFileError {
    fn line(line: usize, what: impl Into<String>) -> Self {
        Self::Line { line, what: what.into() }
    }
}

/// The bytes of a file that is not too large.
fn bytes(path: &Path) -> Result<Vec<u8>, RegistrationFileError> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > BYTES_MAX {
        return Err(RegistrationFileError::Large { bytes });
    }
    Ok(std::fs::read(path)?)
}

/// The text of a file that is not too large.
fn text(path: &Path) -> Result<String, RegistrationFileError> {
    String::from_utf8(bytes(path)?).map_err(|why| {
        let at = why.utf8_error().valid_up_to();
        RegistrationFileError::Whole(format!("byte {at} is no text in UTF-8: is it another kind of file?"))
    })
}

/// A finite number.
fn number(line: usize, what: &str, word: &str) -> Result<f64, RegistrationFileError> {
    match word.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(RegistrationFileError::line(line, format!("{what} is {word:?}; a finite number is needed"))),
    }
}
