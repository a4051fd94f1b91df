//! Labels as a DICOM Segmentation, binary: a frame for each label and slice that has any.
//!
//! Where the labels lie on a DICOM series, patient, study and frame of reference are taken over from it and each frame
//! refers to the slice it was made of; where they lie on a NIfTI file, which names nobody, patient and study are empty and
//! the frame of reference is new.
//! **Units and frame:** LPS mm; frames are the planes of the lattice's third axis. **Identity:** UIDs under 2.25
//! (PS3.5 B.2) that follow from the labels and what they lie on, so that the same segmentation has the same bytes. **Sources:**
//! PS3.3 A.51 (Segmentation IOD), C.8.20 (its modules), C.7.6.16 (functional groups), C.7.6.17 (dimensions); codes of SNOMED CT as
//! CID 7150 and CID 7151 list them. **Allocation:** an eighth of a byte a voxel of every frame.

use super::labels::Lattice;
use bregma_core::digest::{Digest, Digester};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use nalgebra::Vector3;
use std::path::Path;

/// What a label stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The label.
    pub label: u8,
    /// For people.
    pub name: &'static str,
    /// SNOMED CT's code of what it is, and its meaning.
    pub kind: [&'static str; 2],
}

/// The labels of a glioma, as BraTS numbers them.
pub const GLIOMA: [Segment; 3] = [
    Segment { label: 1, name: "necrosis of the tumour's core", kind: ["6574001", "Necrosis"] },
    Segment { label: 2, name: "infiltrated or oedematous tissue", kind: ["79654002", "Edema"] },
    Segment { label: 4, name: "enhancing tumour", kind: ["108369006", "Neoplasm"] },
];

/// Who made it, and when.
#[derive(Debug, Clone, Copy)]
pub struct Maker<'a> {
    /// The algorithm's name, with its version.
    pub algorithm: &'a str,
    /// Date, `YYYYMMDD`, and time, `HHMMSS`.
    pub made: [&'a str; 2],
}

/// Why no segmentation is written.
#[derive(Debug, thiserror::Error)]
pub enum SegmentationError {
    /// Nothing is labelled, and DICOM knows no segmentation without a frame.
    #[error("nothing is labelled: a DICOM Segmentation has at least one frame")]
    Empty,
    /// The disk said no, or the encoder.
    #[error("cannot be written: {0}")]
    Disk(String),
}

/// Writes the labels of a lattice, x fastest, as one file.
///
/// # Errors
/// [`SegmentationError`].
///
/// # Panics
/// When there are not as many labels as voxels: a programmer's error.
pub fn write(
    path: &Path,
    lattice: &Lattice,
    labels: &[u8],
    segments: &[Segment],
    maker: &Maker<'_>,
) -> Result<(), SegmentationError> {
    assert_eq!(labels.len(), lattice.dims.iter().product::<usize>(), "a label for each voxel");
    let frames = frames(lattice, labels, segments);
    if frames.is_empty() {
        return Err(SegmentationError::Empty);
    }
    let mut digester = Digester::new("bregma dicom segmentation 1");
    digester.bytes(labels).text(maker.algorithm).f64s(lattice.patient_from_voxel.as_slice());
    if let Some(series) = &lattice.series {
        series.instances.iter().for_each(|[_, uid]| {
            digester.text(uid);
        });
    }
    let named = Named(digester.finish());
    let mut object = InMemDicomObject::new_empty();
    identity(&mut object, lattice, maker, &named);
    image(&mut object, lattice, frames.len(), &named);
    sequence(
        &mut object,
        tags::SEGMENT_SEQUENCE,
        segments.iter().zip(1..).map(|(s, n)| segment(s, n, maker)).collect(),
    );
    groups(&mut object, lattice, &frames);
    references(&mut object, lattice);
    let mut bits = Bits::default();
    frames.iter().for_each(|frame| bits.push(lattice, labels, segments[frame.segment].label, frame.slice));
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bits.whole().into())));
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let failed = |why: String| SegmentationError::Disk(why);
    object.with_meta(meta).map_err(|e| failed(e.to_string()))?.write_to_file(path).map_err(|e| failed(e.to_string()))
}

/// A frame that has any voxel of its label.
struct Frame {
    segment: usize,
    slice: usize,
}

fn frames(lattice: &Lattice, labels: &[u8], segments: &[Segment]) -> Vec<Frame> {
    let [nx, ny, nz] = lattice.dims;
    let all = (0..segments.len()).flat_map(|segment| (0..nz).map(move |slice| Frame { segment, slice }));
    all.filter(|f| labels[f.slice * nx * ny..][..nx * ny].contains(&segments[f.segment].label)).collect()
}

/// Bits one after the other, the lowest of a byte first, without a gap between frames (PS3.5 8.1.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, lattice: &Lattice, labels: &[u8], label: u8, slice: usize) {
        let plane = lattice.dims[0] * lattice.dims[1];
        for value in &labels[slice * plane..][..plane] {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if *value == label {
                self.bytes[self.count / 8] |= 1 << (self.count % 8);
            }
            self.count += 1;
        }
    }

    /// Of an even length.
    fn whole(mut self) -> Vec<u8> {
        if !self.bytes.len().is_multiple_of(2) {
            self.bytes.push(0);
        }
        self.bytes
    }
}

/// UIDs that follow from a digest.
struct Named(Digest);

impl Named {
    fn uid(&self, what: &str) -> String {
        let digest = Digester::new("bregma dicom uid").digest(&self.0).text(what).finish();
        let number = u128::from_be_bytes(std::array::from_fn(|i| digest.0[i]));
        format!("2.25.{number}")
    }
}

fn text(object: &mut InMemDicomObject, tag: Tag, vr: VR, value: &str) {
    object.put(DataElement::new(tag, vr, PrimitiveValue::from(value)));
}

fn number(object: &mut InMemDicomObject, tag: Tag, value: u16) {
    object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
}

fn sequence(object: &mut InMemDicomObject, tag: Tag, items: Vec<InMemDicomObject>) {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

fn item(fill: impl FnOnce(&mut InMemDicomObject)) -> InMemDicomObject {
    let mut item = InMemDicomObject::new_empty();
    fill(&mut item);
    item
}

fn code(value: &str, scheme: &str, meaning: &str) -> InMemDicomObject {
    item(|c| {
        text(c, tags::CODE_VALUE, VR::SH, value);
        text(c, tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme);
        text(c, tags::CODE_MEANING, VR::LO, meaning);
    })
}

/// Numbers as DICOM's decimal strings, of 16 characters at most.
fn decimals<const N: usize>(values: [f64; N]) -> String {
    let one = |v: f64| {
        let places = (0..=8).rev().find(|p| format!("{v:.p$}").len() <= 16);
        format!("{v:.p$}", p = places.unwrap_or(0))
    };
    values.map(one).join("\\")
}

/// Patient, study, series, equipment and instance.
fn identity(object: &mut InMemDicomObject, lattice: &Lattice, maker: &Maker<'_>, named: &Named) {
    let taken_over = [
        (tags::PATIENT_NAME, VR::PN, ""),
        (tags::PATIENT_ID, VR::LO, ""),
        (tags::PATIENT_BIRTH_DATE, VR::DA, ""),
        (tags::PATIENT_SEX, VR::CS, ""),
        (tags::STUDY_DATE, VR::DA, ""),
        (tags::STUDY_TIME, VR::TM, ""),
        (tags::ACCESSION_NUMBER, VR::SH, ""),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN, ""),
        (tags::STUDY_ID, VR::SH, ""),
        (tags::STUDY_INSTANCE_UID, VR::UI, "study"),
        (tags::FRAME_OF_REFERENCE_UID, VR::UI, "frame of reference"),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO, ""),
    ];
    // In which the names are that are taken over.
    let characters = lattice.series.as_ref().and_then(|series| series.about.get(tags::SPECIFIC_CHARACTER_SET));
    characters.into_iter().for_each(|element| {
        object.put(element.clone());
    });
    for (tag, vr, otherwise) in taken_over {
        let found = lattice.series.as_ref().and_then(|series| series.about.get(tag));
        match found {
            Some(element) => {
                object.put(element.clone());
            }
            None if vr == VR::UI => text(object, tag, vr, &named.uid(otherwise)),
            None => text(object, tag, vr, otherwise),
        }
    }
    text(object, tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE);
    text(object, tags::SOP_INSTANCE_UID, VR::UI, &named.uid("instance"));
    text(object, tags::MODALITY, VR::CS, "SEG");
    text(object, tags::SERIES_INSTANCE_UID, VR::UI, &named.uid("series"));
    text(object, tags::SERIES_NUMBER, VR::IS, "900");
    text(object, tags::SERIES_DESCRIPTION, VR::LO, "Tumour by Bregma, research only");
    text(object, tags::INSTANCE_NUMBER, VR::IS, "1");
    text(object, tags::CONTENT_DATE, VR::DA, maker.made[0]);
    text(object, tags::CONTENT_TIME, VR::TM, maker.made[1]);
    text(object, tags::SERIES_DATE, VR::DA, maker.made[0]);
    text(object, tags::SERIES_TIME, VR::TM, maker.made[1]);
    text(object, tags::MANUFACTURER, VR::LO, "Bregma");
    text(object, tags::MANUFACTURER_MODEL_NAME, VR::LO, "bregma segment");
    text(object, tags::DEVICE_SERIAL_NUMBER, VR::LO, "none");
    text(object, tags::SOFTWARE_VERSIONS, VR::LO, maker.algorithm);
    text(object, tags::CONTENT_LABEL, VR::CS, "TUMOUR");
    text(object, tags::CONTENT_DESCRIPTION, VR::LO, "Glioma, labels as BraTS numbers them");
    text(object, tags::CONTENT_CREATOR_NAME, VR::PN, "");
}

/// What pixels there are, and what frames are told apart by.
fn image(object: &mut InMemDicomObject, lattice: &Lattice, frames: usize, named: &Named) {
    text(object, tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY");
    number(object, tags::SAMPLES_PER_PIXEL, 1);
    text(object, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    text(object, tags::NUMBER_OF_FRAMES, VR::IS, &frames.to_string());
    number(object, tags::ROWS, lattice.dims[1] as u16);
    number(object, tags::COLUMNS, lattice.dims[0] as u16);
    number(object, tags::BITS_ALLOCATED, 1);
    number(object, tags::BITS_STORED, 1);
    number(object, tags::HIGH_BIT, 0);
    number(object, tags::PIXEL_REPRESENTATION, 0);
    text(object, tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00");
    text(object, tags::SEGMENTATION_TYPE, VR::CS, "BINARY");
    let dimensions = named.uid("dimensions");
    let organisation = item(|o| text(o, tags::DIMENSION_ORGANIZATION_UID, VR::UI, &dimensions));
    sequence(object, tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organisation]);
    let index = |tag: Tag, group: Tag, name: &str| {
        item(|i| {
            text(i, tags::DIMENSION_ORGANIZATION_UID, VR::UI, &dimensions);
            i.put(DataElement::new(tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::from(tag)));
            i.put(DataElement::new(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::from(group)));
            text(i, tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, name);
        })
    };
    let segments = index(tags::REFERENCED_SEGMENT_NUMBER, tags::SEGMENT_IDENTIFICATION_SEQUENCE, "segment");
    let places = index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "position");
    sequence(object, tags::DIMENSION_INDEX_SEQUENCE, vec![segments, places]);
}

fn segment(segment: &Segment, nth: u16, maker: &Maker<'_>) -> InMemDicomObject {
    item(|s| {
        number(s, tags::SEGMENT_NUMBER, nth);
        text(s, tags::SEGMENT_LABEL, VR::LO, segment.name);
        text(s, tags::SEGMENT_DESCRIPTION, VR::ST, &format!("label {} of BraTS", segment.label));
        text(s, tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC");
        text(s, tags::SEGMENT_ALGORITHM_NAME, VR::LO, maker.algorithm);
        let category = code("49755003", "SCT", "Morphologically Abnormal Structure");
        sequence(s, tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, vec![category]);
        let [value, meaning] = segment.kind;
        sequence(s, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, vec![code(value, "SCT", meaning)]);
    })
}

/// Where frames lie, and what each is of.
fn groups(object: &mut InMemDicomObject, lattice: &Lattice, frames: &[Frame]) {
    let m = &lattice.patient_from_voxel;
    let axis = |c: usize| Vector3::new(m[(0, c)], m[(1, c)], m[(2, c)]);
    let [across, down, step] = [0, 1, 2].map(axis);
    let shared = item(|shared| {
        let (x, y) = (across.normalize(), down.normalize());
        let turned = item(|o| {
            text(o, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, &decimals([x[0], x[1], x[2], y[0], y[1], y[2]]));
        });
        sequence(shared, tags::PLANE_ORIENTATION_SEQUENCE, vec![turned]);
        let measures = item(|o| {
            text(o, tags::SLICE_THICKNESS, VR::DS, &decimals([step.norm()]));
            text(o, tags::SPACING_BETWEEN_SLICES, VR::DS, &decimals([step.norm()]));
            // Between rows, then between columns.
            text(o, tags::PIXEL_SPACING, VR::DS, &decimals([down.norm(), across.norm()]));
        });
        sequence(shared, tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
    });
    sequence(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
    let each = frames.iter().map(|frame| {
        item(|group| {
            let indices = [frame.segment as u32 + 1, frame.slice as u32 + 1];
            let content = item(|o| {
                let values = PrimitiveValue::U32(indices.into_iter().collect());
                o.put(DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, values));
            });
            sequence(group, tags::FRAME_CONTENT_SEQUENCE, vec![content]);
            let corner: [f64; 3] = std::array::from_fn(|a| m[(a, 3)] + m[(a, 2)] * frame.slice as f64);
            let place = item(|o| text(o, tags::IMAGE_POSITION_PATIENT, VR::DS, &decimals(corner)));
            sequence(group, tags::PLANE_POSITION_SEQUENCE, vec![place]);
            let of = item(|o| number(o, tags::REFERENCED_SEGMENT_NUMBER, frame.segment as u16 + 1));
            sequence(group, tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![of]);
            let source = lattice.series.as_ref().map(|series| &series.instances[frame.slice]);
            if let Some(source) = source.filter(|[class, uid]| !class.is_empty() && !uid.is_empty()) {
                sequence(group, tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation(source)]);
            }
        })
    });
    sequence(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, each.collect());
}

fn derivation([class, uid]: &[String; 2]) -> InMemDicomObject {
    item(|d| {
        sequence(d, tags::DERIVATION_CODE_SEQUENCE, vec![code("113076", "DCM", "Segmentation")]);
        let source = item(|s| {
            text(s, tags::REFERENCED_SOP_CLASS_UID, VR::UI, class);
            text(s, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid);
            text(s, tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES");
            let purpose = code("121322", "DCM", "Source image for image processing operation");
            sequence(s, tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, vec![purpose]);
        });
        sequence(d, tags::SOURCE_IMAGE_SEQUENCE, vec![source]);
    })
}

/// The series that the labels lie on.
fn references(object: &mut InMemDicomObject, lattice: &Lattice) {
    let Some(series) = &lattice.series else { return };
    let Some(uid) = series.about.get(tags::SERIES_INSTANCE_UID) else { return };
    let instance = |[class, uid]: &[String; 2]| {
        item(|i| {
            text(i, tags::REFERENCED_SOP_CLASS_UID, VR::UI, class);
            text(i, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, uid);
        })
    };
    let named = series.instances.iter().filter(|[class, uid]| !class.is_empty() && !uid.is_empty());
    let instances: Vec<_> = named.map(instance).collect();
    if instances.is_empty() {
        return;
    }
    let of = item(|s| {
        s.put(uid.clone());
        sequence(s, tags::REFERENCED_INSTANCE_SEQUENCE, instances);
    });
    sequence(object, tags::REFERENCED_SERIES_SEQUENCE, vec![of]);
}
