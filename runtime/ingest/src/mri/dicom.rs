//! A folder that holds one DICOM series of MR slices, one file a slice.
//!
//! **Frames and units:** DICOM is LPS millimetres with voxel centres already. Slices are sorted by their
//! position along the normal, whatever their files are called. **Allocation:** one slice's file at a time
//! ([`FILE_MAX`]), and the volume, after all headers have agreed. **Source:** PS3.3 C.7.6.2 (image plane),
//! C.11.1 (rescale). Every file of the folder must be a slice, but for `DICOMDIR` and names with a leading dot:
//! a damaged slice that is passed over would be a hole in the scan.

use super::elements::{self, Fault};
use super::{EDGE_MAX, MriError, SLICE_TOLERANCE_MM, checked_size, finish};
use bregma_core::flow::{Modality, Volume};
use bregma_core::frame::FrameId;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::OpenFileOptions;
use dicom_object::file::ReadPreamble;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use dicom_pixeldata::PixelDecoder;
use nalgebra::{Matrix4, Vector3};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes of one file: a slice of 1024² at 16 bits has 2 MiB, the rest is room for private elements.
const FILE_MAX: u64 = 64 << 20;
/// Largest difference between direction cosines, and between spacings in mm, of slices of one series.
const SAME: f64 = 1e-3;

/// What one slice's header says.
struct Slice {
    path: PathBuf,
    /// Its SOP class and instance, empty where they are missing.
    instance: [String; 2],
    series: String,
    frame: String,
    dims: [usize; 2],
    spacing: [f64; 2],
    row: Vector3<f64>,
    column: Vector3<f64>,
    position: Vector3<f64>,
}

/// A series' own lattice, and what its slices are called.
#[derive(Debug)]
pub(super) struct Series {
    /// Columns, rows, slices.
    pub dims: [usize; 3],
    pub lps_from_voxel: Matrix4<f64>,
    /// Of each slice, from the first along the normal, its SOP class and instance.
    pub instances: Vec<[String; 2]>,
    /// The first slice's attributes without its pixels.
    pub about: InMemDicomObject,
}

/// Looks through a series without its pixels.
pub(super) fn series(folder: &Path) -> Result<Series, MriError> {
    let Sorted { slices, dims, lps_from_voxel, .. } = sorted(folder, None)?;
    let path = &slices[0].path;
    let about = parse(path, &bytes(path)?, Some(tags::PIXEL_DATA))?.into_inner();
    let instances = slices.into_iter().map(|slice| slice.instance).collect();
    Ok(Series { dims, lps_from_voxel, instances, about })
}

pub(super) fn read_folder(folder: &Path, modality: Modality, claimed: Option<&str>) -> Result<Volume, MriError> {
    let Sorted { slices, dims, lps_from_voxel, frame } = sorted(folder, claimed)?;
    let mut intensities = Vec::with_capacity(dims.iter().product());
    for slice in &slices {
        intensities.extend(pixels(slice)?);
    }
    finish(folder, modality, dims, intensities, &lps_from_voxel, frame)
}

/// A series' slices along their normal, all headers checked.
struct Sorted {
    slices: Vec<Slice>,
    dims: [usize; 3],
    lps_from_voxel: Matrix4<f64>,
    frame: FrameId,
}

fn sorted(folder: &Path, claimed: Option<&str>) -> Result<Sorted, MriError> {
    let mut slices = Vec::new();
    for path in files(folder)? {
        slices.push(header(&path)?);
    }
    one_series(folder, &slices)?;
    let (first, others) = slices.split_first().ok_or_else(|| MriError::Empty { path: folder.to_owned() })?;
    for slice in others {
        agree(first, slice)?;
    }
    if let Some(claimed) = claimed.filter(|c| FrameId::of_uid(c) != FrameId::of_uid(&first.frame)) {
        let (found, claimed) = (first.frame.clone(), claimed.to_owned());
        return Err(MriError::OtherFrame { path: folder.to_owned(), found, claimed });
    }
    let frame = FrameId::of_uid(&first.frame);
    let dims = [first.dims[0], first.dims[1], slices.len()];
    checked_size(folder, dims)?;
    let lps_from_voxel = stack(folder, &mut slices)?;
    Ok(Sorted { slices, dims, lps_from_voxel, frame })
}

/// Files of the folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, MriError> {
    let io = |source| MriError::Io { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name == "DICOMDIR" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        files.push(entry.path());
        if files.len() > EDGE_MAX {
            return Err(MriError::Unsupported {
                path: folder.to_owned(),
                what: format!("a folder of more than {EDGE_MAX} files"),
                instead: "give a folder with one series",
            });
        }
    }
    files.sort();
    Ok(files)
}

/// The file's bytes, once it is known that no element claims more than there are.
fn bytes(path: &Path) -> Result<Vec<u8>, MriError> {
    let io = |source| MriError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_MAX {
        let what = format!("a DICOM file of more than {FILE_MAX} bytes");
        return Err(MriError::Unsupported { path: path.to_owned(), what, instead: "export one file a slice" });
    }
    if bytes.get(128..132) != Some(b"DICM") {
        return Err(MriError::Damaged {
            path: path.to_owned(),
            what: "it does not have DICM at byte 128; a folder may hold nothing but DICOM files".to_owned(),
        });
    }
    elements::check(&bytes).map_err(|fault| match fault {
        Fault::Short { needed, left, .. } => {
            MriError::Truncated { path: path.to_owned(), what: "a DICOM element", needed, found: left }
        }
        Fault::Malformed { offset, what } => {
            MriError::Damaged { path: path.to_owned(), what: format!("at byte {offset}, {what}") }
        }
        Fault::Syntax { uid } => MriError::Unsupported {
            path: path.to_owned(),
            what: format!("transfer syntax {uid}"),
            instead: "decompress it to explicit little endian (dcmdjpeg, dcmdrle, or gdcmconv --raw)",
        },
    })?;
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8], until: Option<Tag>) -> Result<DefaultDicomObject, MriError> {
    let options = until.map_or_else(OpenFileOptions::new, |tag| OpenFileOptions::new().read_until(tag));
    let options = options.read_preamble(ReadPreamble::Always);
    options.from_reader(bytes).map_err(|why| MriError::Damaged { path: path.to_owned(), what: chain(&why) })
}

/// An error with its causes, on one line.
fn chain(why: &dyn std::error::Error) -> String {
    let mut words = why.to_string();
    let mut cause = why.source();
    while let Some(next) = cause {
        words = format!("{words}: {next}");
        cause = next.source();
    }
    words
}

fn header(path: &Path) -> Result<Slice, MriError> {
    let object = parse(path, &bytes(path)?, Some(tags::PIXEL_DATA))?;
    let at = Attributes { path, object: &object };
    at.must_be("Modality", tags::MODALITY, "MR")?;
    if at.optional_number(tags::NUMBER_OF_FRAMES).is_some_and(|n| n > 1.0) {
        let what = "a multi-frame (enhanced) MR image".to_owned();
        return Err(MriError::Unsupported { path: path.to_owned(), what, instead: "export one file a slice" });
    }
    at.must_be("SamplesPerPixel", tags::SAMPLES_PER_PIXEL, "1")?;
    at.must_be("PhotometricInterpretation", tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")?;
    let [columns] = at.numbers("Columns", tags::COLUMNS)?;
    let [rows] = at.numbers("Rows", tags::ROWS)?;
    let [down, across] = at.numbers("PixelSpacing", tags::PIXEL_SPACING)?;
    let orientation: [f64; 6] = at.numbers("ImageOrientationPatient", tags::IMAGE_ORIENTATION_PATIENT)?;
    let position: [f64; 3] = at.numbers("ImagePositionPatient", tags::IMAGE_POSITION_PATIENT)?;
    let row = Vector3::new(orientation[0], orientation[1], orientation[2]);
    let column = Vector3::new(orientation[3], orientation[4], orientation[5]);
    let right = (row.norm() - 1.0).abs() < SAME && (column.norm() - 1.0).abs() < SAME && row.dot(&column).abs() < SAME;
    if !right {
        let fault = format!("is {orientation:?}; two unit vectors at right angles are needed");
        return Err(at.fault("ImageOrientationPatient", tags::IMAGE_ORIENTATION_PATIENT, fault));
    }
    Ok(Slice {
        path: path.to_owned(),
        instance: [at.optional_text(tags::SOP_CLASS_UID), at.optional_text(tags::SOP_INSTANCE_UID)],
        series: at.text("SeriesInstanceUID", tags::SERIES_INSTANCE_UID)?,
        frame: at.text("FrameOfReferenceUID", tags::FRAME_OF_REFERENCE_UID)?,
        dims: [columns as usize, rows as usize],
        spacing: [across, down],
        row,
        column,
        position: position.into(),
    })
}

/// One file's attributes, with its name for errors.
struct Attributes<'a> {
    path: &'a Path,
    object: &'a InMemDicomObject,
}

impl Attributes<'_> {
    fn fault(&self, name: &'static str, tag: Tag, fault: String) -> MriError {
        MriError::Attribute { path: self.path.to_owned(), name, tag: tag.to_string(), fault }
    }

    fn text(&self, name: &'static str, tag: Tag) -> Result<String, MriError> {
        let found = self.object.get(tag).and_then(|element| element.to_str().ok());
        let text = found.map(|t| t.trim_matches(['\0', ' ']).to_owned()).filter(|t| !t.is_empty());
        text.ok_or_else(|| self.fault(name, tag, "is missing or empty; a slice needs it".to_owned()))
    }

    fn must_be(&self, name: &'static str, tag: Tag, right: &str) -> Result<(), MriError> {
        let found = self.text(name, tag)?;
        if found == right { Ok(()) } else { Err(self.fault(name, tag, format!("is {found}; it must be {right}"))) }
    }

    fn numbers<const N: usize>(&self, name: &'static str, tag: Tag) -> Result<[f64; N], MriError> {
        let found = self.object.get(tag).and_then(|element| element.to_multi_float64().ok());
        let found = found.ok_or_else(|| self.fault(name, tag, format!("is missing or no number; {N} are needed")))?;
        let all = found.iter().all(|v| v.is_finite());
        let wrong = || self.fault(name, tag, format!("is {found:?}; {N} finite numbers are needed"));
        <[f64; N]>::try_from(found.as_slice()).ok().filter(|_| all).ok_or_else(wrong)
    }

    fn optional_text(&self, tag: Tag) -> String {
        let found = self.object.get(tag).and_then(|element| element.to_str().ok());
        found.map(|t| t.trim_matches(['\0', ' ']).to_owned()).unwrap_or_default()
    }

    fn optional_number(&self, tag: Tag) -> Option<f64> {
        self.object.get(tag).and_then(|element| element.to_float64().ok())
    }
}

fn one_series(folder: &Path, slices: &[Slice]) -> Result<(), MriError> {
    let mut series: BTreeMap<&str, usize> = BTreeMap::new();
    for slice in slices {
        *series.entry(&slice.series).or_default() += 1;
    }
    if series.len() > 1 {
        let series = series.into_iter().map(|(uid, count)| (uid.to_owned(), count)).collect();
        return Err(MriError::ManySeries { path: folder.to_owned(), series });
    }
    Ok(())
}

fn agree(first: &Slice, slice: &Slice) -> Result<(), MriError> {
    let differs = |name, found: String, expected: String| {
        Err(MriError::SlicesDiffer { path: slice.path.clone(), name, found, expected })
    };
    if slice.frame != first.frame {
        return differs("FrameOfReferenceUID", slice.frame.clone(), first.frame.clone());
    }
    if slice.dims != first.dims {
        return differs("the size in pixels", format!("{:?}", slice.dims), format!("{:?}", first.dims));
    }
    if (0..2).any(|a| (slice.spacing[a] - first.spacing[a]).abs() > SAME) {
        return differs("PixelSpacing", format!("{:?}", slice.spacing), format!("{:?}", first.spacing));
    }
    if (slice.row - first.row).norm() > SAME || (slice.column - first.column).norm() > SAME {
        let words = |s: &Slice| format!("{:?}", [s.row.as_slice(), s.column.as_slice()].concat());
        return differs("ImageOrientationPatient", words(slice), words(first));
    }
    Ok(())
}

/// Sorts the slices along their normal and checks that they lie on an even, straight stack.
fn stack(folder: &Path, slices: &mut [Slice]) -> Result<Matrix4<f64>, MriError> {
    let normal = slices[0].row.cross(&slices[0].column);
    slices.sort_by(|a, b| normal.dot(&a.position).total_cmp(&normal.dot(&b.position)));
    let uneven = |what: String| MriError::Spacing { path: folder.to_owned(), what };
    let along = |slice: &Slice| normal.dot(&slice.position);
    let gaps: Vec<f64> = slices.windows(2).map(|pair| along(&pair[1]) - along(&pair[0])).collect();
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[sorted.len() / 2];
    for (gap, pair) in gaps.iter().zip(slices.windows(2)) {
        let (a, b) = (pair[0].path.display(), pair[1].path.display());
        if *gap < SLICE_TOLERANCE_MM {
            return Err(uneven(format!("{a} and {b} lie in one place (gap {gap:.3} mm)")));
        }
        if (gap - usual).abs() > SLICE_TOLERANCE_MM {
            return Err(uneven(format!(
                "between {a} and {b} are {gap:.3} mm, elsewhere {usual:.3} mm, so {:.0} are missing there",
                (gap / usual - 1.0).max(0.0)
            )));
        }
    }
    let first = slices[0].position;
    let step = (slices[slices.len() - 1].position - first) / (slices.len() as f64 - 1.0);
    for (n, slice) in slices.iter().enumerate() {
        let off = (slice.position - (first + step * n as f64)).norm();
        if off > SLICE_TOLERANCE_MM {
            return Err(uneven(format!(
                "{} lies {off:.3} mm beside the line through the others",
                slice.path.display()
            )));
        }
    }
    let across = slices[0].row * slices[0].spacing[0];
    let down = slices[0].column * slices[0].spacing[1];
    Ok(Matrix4::new(
        across.x, down.x, step.x, first.x, //
        across.y, down.y, step.y, first.y, //
        across.z, down.z, step.z, first.z, //
        0.0, 0.0, 0.0, 1.0,
    ))
}

/// The slice's intensities, rescaled; x fastest, as in the file.
fn pixels(slice: &Slice) -> Result<Vec<f32>, MriError> {
    let damaged = |what: String| MriError::Damaged { path: slice.path.clone(), what };
    let object = parse(&slice.path, &bytes(&slice.path)?, None)?;
    let found = object.decode_pixel_data().and_then(|pixels| pixels.to_vec::<f32>());
    let found = found.map_err(|why| damaged(format!("its pixels: {}", chain(&why))))?;
    let needed = slice.dims[0] * slice.dims[1];
    if found.len() == needed {
        Ok(found)
    } else {
        Err(damaged(format!("it has {} pixels, {needed} are needed", found.len())))
    }
}
