//! One scan from disk: a NIfTI file, or a folder that holds one DICOM series.
//!
//! **Frames and units:** what comes out is LPS millimetres, voxel centres, with the voxel axes permuted and
//! flipped so that they run nearest to +L, +P and +S; no value is interpolated. **Identity:** a DICOM series
//! is in the frame that its FrameOfReferenceUID names. NIfTI carries no such name, so by default a file is in
//! a frame of its own, named by its content, and two files meet only through a registration; a caller who
//! *knows* that a file lies in a frame says so with [`read_in_frame`]. **Allocation:** bounded before it is
//! made, by [`EDGE_MAX`] and [`VOXELS_MAX`] and by the length of the file.
//! **Not protected against:** a file whose geometry is plausible and wrong, slices missing at the end of a
//! series, and a scan of another patient.

mod dicom;
mod elements;
pub mod labels;
mod nifti;
mod orient;
pub mod segmentation;

use bregma_core::flow::{Modality, Volume};
use bregma_core::frame::FrameId;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Most voxels along one axis. Head scans have at most 512; 1024 leaves room for interpolated ones.
pub const EDGE_MAX: usize = 1024;
/// Fewest voxels along one axis: a single slice is no volume.
pub const EDGE_MIN: usize = 2;
/// Most voxels in all: 2²⁸ `f32` are 1 GiB.
pub const VOXELS_MAX: usize = 1 << 28;
/// Edges of voxels that a scan of a head can have, mm.
pub const SPACING_MM: std::ops::RangeInclusive<f64> = 0.05..=20.0;
/// How far slices may lie from an even stack, mm: positions are written with a few digits.
pub const SLICE_TOLERANCE_MM: f64 = 0.05;

/// Why a scan was refused.
#[derive(Debug, thiserror::Error)]
pub enum MriError {
    /// The disk said no.
    #[error("{path}: cannot be read: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither of the formats.
    #[error("{path}: is neither NIfTI-1 nor DICOM; give a .nii or .nii.gz file, or a folder with one DICOM series")]
    NotAScan {
        /// The file.
        path: PathBuf,
    },
    /// A DICOM file where a folder is wanted.
    #[error("{path}: is one DICOM file; give the folder that holds the whole series")]
    OneSliceFile {
        /// The file.
        path: PathBuf,
    },
    /// The bytes end early.
    #[error("{path}: is truncated: {what} needs {needed} bytes, {found} are there")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: &'static str,
        /// Bytes that it says it has.
        needed: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// The bytes contradict the format.
    #[error("{path}: is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        what: String,
    },
    /// A correct file of a kind that is not read.
    #[error("{path}: {what} is not supported; {instead}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What would be right.
        instead: &'static str,
    },
    /// A size outside the bounds.
    #[error(
        "{path}: has {dims:?} voxels; each axis must have {EDGE_MIN} to {EDGE_MAX}, all together at most {VOXELS_MAX}"
    )]
    Size {
        /// The file or folder.
        path: PathBuf,
        /// Voxels along each axis.
        dims: [usize; 3],
    },
    /// No place in the patient.
    #[error(
        "{path}: says nothing of where it lies: sform_code and qform_code are 0; set the sform to scanner coordinates"
    )]
    NoOrientation {
        /// The file.
        path: PathBuf,
    },
    /// A place that cannot be.
    #[error("{path}: its voxels do not span space: {what}; three independent axes of {} to {} mm are needed", SPACING_MM.start(), SPACING_MM.end())]
    Affine {
        /// The file or folder.
        path: PathBuf,
        /// Which figure is wrong.
        what: String,
    },
    /// An intensity that is no number.
    #[error("{path}: voxel {voxel:?} is {value}; intensities must be finite")]
    Intensity {
        /// The file or folder.
        path: PathBuf,
        /// Voxel in the file's own order.
        voxel: [usize; 3],
        /// Its value.
        value: f32,
    },
    /// A missing or unreadable attribute.
    #[error("{path}: {name} {tag} {fault}")]
    Attribute {
        /// The file.
        path: PathBuf,
        /// Its keyword.
        name: &'static str,
        /// Its tag, `(gggg,eeee)`.
        tag: String,
        /// What is wrong, and what would be right.
        fault: String,
    },
    /// No slices.
    #[error("{path}: holds no DICOM file")]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// More than one series.
    #[error("{path}: holds {} series, {}; give a folder with one", series.len(), listed(series))]
    ManySeries {
        /// The folder.
        path: PathBuf,
        /// Each SeriesInstanceUID and its number of slices, by UID.
        series: Vec<(String, usize)>,
    },
    /// Slices of one series that do not agree.
    #[error("{path}: {name} is {found}, but {expected} in the other slices of the series")]
    SlicesDiffer {
        /// The file that differs.
        path: PathBuf,
        /// In what.
        name: &'static str,
        /// What it says.
        found: String,
        /// What the first slice says.
        expected: String,
    },
    /// Slices that make no even stack.
    #[error("{path}: slices are not evenly stacked: {what}; complete the series, or export it again")]
    Spacing {
        /// The folder.
        path: PathBuf,
        /// Where and by how much.
        what: String,
    },
    /// The caller's frame is not the scan's.
    #[error("{path}: lies in the frame {found}, not in {claimed}, which it was said to be in")]
    OtherFrame {
        /// The folder.
        path: PathBuf,
        /// FrameOfReferenceUID of the series.
        found: String,
        /// What the caller gave.
        claimed: String,
    },
    /// A third-party reader panicked on the bytes.
    #[error("{path}: is damaged in a way that its reader does not survive: {what}")]
    ReaderPanicked {
        /// The file or folder.
        path: PathBuf,
        /// The panic's words.
        what: String,
    },
}

fn listed(series: &[(String, usize)]) -> String {
    let words: Vec<String> = series.iter().map(|(uid, slices)| format!("{uid} ({slices} slices)")).collect();
    words.join(" and ")
}

/// Reads the scan at `path`, choosing the format by content. A NIfTI file is in a frame of its own.
///
/// # Errors
/// [`MriError`]: what was wrong, where, and what would be right.
pub fn read(path: &Path, modality: Modality) -> Result<Volume, MriError> {
    guarded(path, || choose(path, modality, None))
}

/// As [`read`], where the caller knows the frame of reference: of two co-registered NIfTI files, say. A
/// DICOM series must name the same frame itself.
///
/// # Errors
/// [`MriError`]: what was wrong, where, and what would be right.
pub fn read_in_frame(path: &Path, modality: Modality, frame_uid: &str) -> Result<Volume, MriError> {
    guarded(path, || choose(path, modality, Some(frame_uid)))
}

fn choose(path: &Path, modality: Modality, claimed: Option<&str>) -> Result<Volume, MriError> {
    let io = |source| MriError::Io { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        return dicom::read_folder(path, modality, claimed);
    }
    let mut start = Vec::with_capacity(352);
    std::fs::File::open(path).map_err(io)?.take(352).read_to_end(&mut start).map_err(io)?;
    if start.get(128..132) == Some(b"DICM") {
        Err(MriError::OneSliceFile { path: path.to_owned() })
    } else {
        nifti::read_file(path, modality, claimed)
    }
}

/// Turns a panic of a third-party reader into an error. The closure only builds new values, so nothing half
/// written outlives it.
fn guarded<T>(path: &Path, reader: impl FnOnce() -> Result<T, MriError>) -> Result<T, MriError> {
    catch_unwind(AssertUnwindSafe(reader)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let what = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Err(MriError::ReaderPanicked { path: path.to_owned(), what: what.unwrap_or_else(|| "no words".to_owned()) })
    })
}

/// Refuses sizes outside the bounds, before anything is allocated.
fn checked_size(path: &Path, dims: [usize; 3]) -> Result<usize, MriError> {
    let inside = dims.iter().all(|d| (EDGE_MIN..=EDGE_MAX).contains(d));
    let voxels = dims.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= VOXELS_MAX);
    match voxels {
        Some(voxels) if inside => Ok(voxels),
        _ => Err(MriError::Size { path: path.to_owned(), dims }),
    }
}

/// The common end of both readers: checks, reorders, and gives the scan its frame.
fn finish(
    path: &Path,
    modality: Modality,
    dims: [usize; 3],
    intensities: Vec<f32>,
    lps_from_voxel: &nalgebra::Matrix4<f64>,
    frame: FrameId,
) -> Result<Volume, MriError> {
    if let Some(at) = intensities.iter().position(|v| !v.is_finite()) {
        let voxel = [at % dims[0], at / dims[0] % dims[1], at / (dims[0] * dims[1])];
        return Err(MriError::Intensity { path: path.to_owned(), voxel, value: intensities[at] });
    }
    orient::check(lps_from_voxel).map_err(|what| MriError::Affine { path: path.to_owned(), what })?;
    let (dims, intensities, patient_from_voxel) = orient::nearest_lps(dims, intensities, lps_from_voxel);
    let acquired = bregma_core::Instant::START;
    Ok(Volume { modality, dims, intensities, patient_from_voxel, frame, acquired, shift: None })
}

#[cfg(test)]
mod tests;
