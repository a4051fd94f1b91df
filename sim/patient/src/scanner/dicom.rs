//! Scans as DICOM series: MR Image Storage, one file a slice, explicit little endian.
//!
//! **Frames:** DICOM is LPS millimetres, as memory is; rows run along +x, columns along +y, slices along
//! +z, so the array and the affine are the volume's own. **Identity:** study, series and instances are named
//! by UIDs under 2.25 (PS3.5 B.2) that follow from seed, contrast and time: the same scan has the same
//! bytes. Values are whole numbers, a scanner's own, in 16 bits. **Allocation:** a slice at a time.
//! **Source:** PS3.3 A.4 (MR Image IOD), C.7.6.2 (image plane), C.8.3.1 (MR image). The patient is invented
//! and says so in its name; repetition and echo times are usual ones, and nothing here is simulated by them.

use super::WriteScanError;
use crate::random::mix;
use bregma_core::flow::{Modality, Volume};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use std::path::{Path, PathBuf};

/// When every study is said to have been made: nothing here asks the time.
const DATE: &str = "20000101";

/// What kind of sequence makes a contrast, by its usual parameters.
struct Sequence {
    number: &'static str,
    description: &'static str,
    scanning: &'static str,
    variant: &'static str,
    acquisition: &'static str,
    repetition_ms: &'static str,
    echo_ms: &'static str,
    inversion_ms: Option<&'static str>,
    echoes: &'static str,
    agent: Option<&'static str>,
}

impl Sequence {
    const fn of(modality: Modality) -> Self {
        let t1 = Self {
            number: "1",
            description: "T1",
            scanning: "GR",
            variant: "SP\\MP",
            acquisition: "3D",
            repetition_ms: "1900",
            echo_ms: "2.5",
            inversion_ms: None,
            echoes: "1",
            agent: None,
        };
        let spin = Self {
            scanning: "SE",
            variant: "SK",
            acquisition: "2D",
            repetition_ms: "5000",
            echo_ms: "90",
            echoes: "15",
            ..t1
        };
        match modality {
            Modality::T1 => t1,
            Modality::T1c => {
                Self { number: "2", description: "T1 with contrast agent", agent: Some("gadolinium chelate"), ..t1 }
            }
            Modality::T2 => Self { number: "3", description: "T2", ..spin },
            Modality::Flair => Self {
                number: "4",
                description: "FLAIR",
                scanning: "SE\\IR",
                repetition_ms: "9000",
                inversion_ms: Some("2500"),
                ..spin
            },
            Modality::Mra => Self {
                number: "5",
                description: "time-of-flight MRA",
                variant: "SP",
                repetition_ms: "22",
                echo_ms: "3.5",
                ..t1
            },
        }
    }
}

/// Writes `slice-0001.dcm` and on into a folder that exists; the files' paths, from the lowest slice up.
pub(super) fn write(volume: &Volume, seed: u64, frame_uid: &str, dir: &Path) -> Result<Vec<PathBuf>, WriteScanError> {
    let [nx, ny, _] = volume.dims;
    let m = &volume.patient_from_voxel;
    let along_axes = (0..3).all(|r| (0..3).all(|c| if r == c { m[(r, c)] > 0.0 } else { m[(r, c)].abs() < 1e-9 }));
    if !along_axes || nx > usize::from(u16::MAX) || ny > usize::from(u16::MAX) {
        let why = format!("its axes are not the patient's, or its slices of {nx} by {ny} do not fit 16 bits");
        return Err(WriteScanError { path: dir.to_owned(), why });
    }
    let series = Series::of(volume, seed, frame_uid);
    let mut paths = Vec::new();
    for (k, slice) in volume.intensities.chunks_exact(nx * ny).enumerate() {
        let path = dir.join(format!("slice-{:04}.dcm", k + 1));
        let failed = |why: String| WriteScanError { path: path.clone(), why };
        let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        let file = series.slice(k, slice).with_meta(meta).map_err(|e| failed(e.to_string()))?;
        file.write_to_file(&path).map_err(|e| failed(e.to_string()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// What all slices share.
struct Series<'a> {
    volume: &'a Volume,
    seed: u64,
    frame_uid: &'a str,
    series: u128,
    window: [String; 2],
}

impl<'a> Series<'a> {
    fn of(volume: &'a Volume, seed: u64, frame_uid: &'a str) -> Self {
        let about = mix(seed, volume.modality as u64) ^ mix(volume.acquired.nanos(), 7);
        // The low 16 bits number the instances.
        let series = (u128::from(mix(about, 1)) << 64 | u128::from(mix(about, 2))) & !0xffff;
        let brightest = volume.intensities.iter().copied().fold(1.0_f32, f32::max);
        let window = [(0.35 * brightest).round().to_string(), (0.7 * brightest).round().max(1.0).to_string()];
        Self { volume, seed, frame_uid, series, window }
    }

    fn slice(&self, k: usize, intensities: &[f32]) -> InMemDicomObject {
        let mut slice = Elements(InMemDicomObject::new_empty());
        self.identity(k, &mut slice);
        self.place(k, &mut slice);
        self.sequence(&mut slice);
        let [nx, ny, _] = self.volume.dims;
        slice.number(tags::SAMPLES_PER_PIXEL, 1);
        slice.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
        slice.number(tags::ROWS, ny as u16);
        slice.number(tags::COLUMNS, nx as u16);
        slice.number(tags::BITS_ALLOCATED, 16);
        slice.number(tags::BITS_STORED, 16);
        slice.number(tags::HIGH_BIT, 15);
        slice.number(tags::PIXEL_REPRESENTATION, 0);
        slice.text(tags::WINDOW_CENTER, VR::DS, &self.window[0]);
        slice.text(tags::WINDOW_WIDTH, VR::DS, &self.window[1]);
        // Below 0 and above 65535 the cast stops at the ends.
        let pixels: Vec<u16> = intensities.iter().map(|v| v.round() as u16).collect();
        slice.put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()));
        slice.0
    }

    /// Patient, study, series, instance, equipment.
    fn identity(&self, k: usize, slice: &mut Elements) {
        let uid = |n: u128| format!("2.25.{n}");
        let sequence = Sequence::of(self.volume.modality);
        slice.text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE);
        slice.text(tags::SOP_INSTANCE_UID, VR::UI, &uid(self.series | (k as u128 + 1)));
        slice.text(tags::STUDY_DATE, VR::DA, DATE);
        slice.text(tags::STUDY_TIME, VR::TM, "000000");
        slice.text(tags::CONTENT_DATE, VR::DA, DATE);
        slice.text(tags::CONTENT_TIME, VR::TM, "000000");
        slice.text(tags::ACCESSION_NUMBER, VR::SH, "");
        slice.text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, "");
        slice.text(tags::MANUFACTURER, VR::LO, "Bregma digital patient");
        slice.text(tags::PATIENT_NAME, VR::PN, &format!("Simulated^Seed {}", self.seed));
        slice.text(tags::PATIENT_ID, VR::LO, &format!("BREGMA-{}", self.seed));
        slice.text(tags::PATIENT_BIRTH_DATE, VR::DA, "");
        slice.text(tags::PATIENT_SEX, VR::CS, "");
        slice.text(
            tags::STUDY_INSTANCE_UID,
            VR::UI,
            &uid(u128::from(mix(self.seed, 90)) << 64 | u128::from(mix(self.seed, 91))),
        );
        slice.text(tags::STUDY_ID, VR::SH, "1");
        slice.text(tags::MODALITY, VR::CS, "MR");
        slice.text(tags::SERIES_INSTANCE_UID, VR::UI, &uid(self.series));
        slice.text(tags::SERIES_NUMBER, VR::IS, sequence.number);
        slice.text(tags::SERIES_DESCRIPTION, VR::LO, sequence.description);
        slice.text(tags::BODY_PART_EXAMINED, VR::CS, "BRAIN");
        slice.text(tags::PATIENT_POSITION, VR::CS, "HFS");
        slice.text(tags::INSTANCE_NUMBER, VR::IS, &(k + 1).to_string());
        slice.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\OTHER");
    }

    /// Frame of reference and image plane.
    fn place(&self, k: usize, slice: &mut Elements) {
        let m = &self.volume.patient_from_voxel;
        let position: [f64; 3] = std::array::from_fn(|a| m[(a, 3)] + m[(a, 2)] * k as f64);
        slice.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, self.frame_uid);
        slice.text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
        slice.text(tags::IMAGE_POSITION_PATIENT, VR::DS, &position.map(decimal).join("\\"));
        slice.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0");
        // Distance between rows, then between columns.
        slice.text(tags::PIXEL_SPACING, VR::DS, &[m[(1, 1)], m[(0, 0)]].map(decimal).join("\\"));
        slice.text(tags::SLICE_THICKNESS, VR::DS, &decimal(m[(2, 2)]));
        slice.text(tags::SPACING_BETWEEN_SLICES, VR::DS, &decimal(m[(2, 2)]));
        slice.text(tags::SLICE_LOCATION, VR::DS, &decimal(position[2]));
    }

    fn sequence(&self, slice: &mut Elements) {
        let sequence = Sequence::of(self.volume.modality);
        slice.text(tags::SCANNING_SEQUENCE, VR::CS, sequence.scanning);
        slice.text(tags::SEQUENCE_VARIANT, VR::CS, sequence.variant);
        slice.text(tags::SCAN_OPTIONS, VR::CS, "");
        slice.text(tags::MR_ACQUISITION_TYPE, VR::CS, sequence.acquisition);
        slice.text(tags::REPETITION_TIME, VR::DS, sequence.repetition_ms);
        slice.text(tags::ECHO_TIME, VR::DS, sequence.echo_ms);
        slice.text(tags::ECHO_TRAIN_LENGTH, VR::IS, sequence.echoes);
        if let Some(inversion) = sequence.inversion_ms {
            slice.text(tags::INVERSION_TIME, VR::DS, inversion);
        }
        if let Some(agent) = sequence.agent {
            slice.text(tags::CONTRAST_BOLUS_AGENT, VR::LO, agent);
        }
    }
}

struct Elements(InMemDicomObject);

impl Elements {
    fn put(&mut self, tag: Tag, vr: VR, value: PrimitiveValue) {
        self.0.put(DataElement::new(tag, vr, value));
    }

    fn text(&mut self, tag: Tag, vr: VR, text: &str) {
        // A backslash parts the values of one element.
        let values = text.split('\\').map(str::to_owned).collect();
        self.put(tag, vr, if text.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::Strs(values) });
    }

    fn number(&mut self, tag: Tag, value: u16) {
        self.put(tag, VR::US, PrimitiveValue::from(value));
    }
}

/// A decimal string of at most 16 characters (PS3.5 6.2), to a micrometre.
fn decimal(value: f64) -> String {
    let text = format!("{value:.3}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.to_owned() }
}
