//! IMGMETA, LBMETA and VIDEOMETA: which images, labels and videos a server has.
//!
//! Texts are bytes up to their first zero, ASCII by the protocol, not checked: patients' names are not ASCII
//! everywhere. **Not protected against:** who reads along; names and numbers of patients travel in the clear.

use crate::error::EncodeError;
use crate::fields::{Cut, Writer, text_fits};
use crate::list::{Element, Sealed};
use crate::pose::Matrix;
use crate::timestamp::Timestamp;

const NAME: usize = 64;
const DEVICE: usize = 20;
const MODALITY: usize = 32;
const PATIENT: usize = 64;

/// One image of IMGMETA, 260 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageMeta<'a> {
    /// What it is; at most 64 bytes.
    pub name: &'a [u8],
    /// What to ask for with GET_IMAGE; at most 20 bytes.
    pub device: &'a [u8],
    /// As `CT`, `MR`; at most 32 bytes.
    pub modality: &'a [u8],
    /// At most 64 bytes.
    pub patient_name: &'a [u8],
    /// At most 64 bytes.
    pub patient_id: &'a [u8],
    /// When it was made.
    pub scanned: Timestamp,
    /// Voxels along i, j, k.
    pub size: [u16; 3],
    /// The number of the scalar type, as in IMAGE; not checked.
    pub scalar: u8,
}

impl Sealed for ImageMeta<'_> {}
impl<'a> Element<'a> for ImageMeta<'a> {
    const SIZE: usize = NAME + DEVICE + MODALITY + 2 * PATIENT + 8 + 6 + 2;
    fn read(wire: &'a [u8]) -> Self {
        let mut fields = Cut(wire);
        Self {
            name: fields.text(NAME),
            device: fields.text(DEVICE),
            modality: fields.text(MODALITY),
            patient_name: fields.text(PATIENT),
            patient_id: fields.text(PATIENT),
            scanned: Timestamp(fields.take()),
            size: fields.take(),
            scalar: fields.take(),
        }
    }
    fn write(&self, wire: &mut [u8]) {
        let mut out = Writer::new(wire);
        out.text(self.name, NAME);
        out.text(self.device, DEVICE);
        out.text(self.modality, MODALITY);
        out.text(self.patient_name, PATIENT);
        out.text(self.patient_id, PATIENT);
        out.item(&self.scanned.0);
        out.item(&self.size);
        out.put(&[self.scalar, 0]);
    }
    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of an image in IMGMETA", self.name, NAME)?;
        text_fits("the device of an image in IMGMETA", self.device, DEVICE)?;
        text_fits("the modality of an image in IMGMETA", self.modality, MODALITY)?;
        text_fits("a patient's name in IMGMETA", self.patient_name, PATIENT)?;
        text_fits("a patient's id in IMGMETA", self.patient_id, PATIENT)
    }
}

/// One label of LBMETA, 116 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelMeta<'a> {
    /// What it is; at most 64 bytes.
    pub name: &'a [u8],
    /// What to ask for with GET_IMAGE; at most 20 bytes.
    pub device: &'a [u8],
    /// Value of its voxels.
    pub label: u8,
    /// Red, green, blue, opacity; all 0 for "no wish".
    pub rgba: [u8; 4],
    /// Voxels along i, j, k.
    pub size: [u16; 3],
    /// Device name of the image that was labelled; at most 20 bytes, may be empty.
    pub owner: &'a [u8],
}

impl Sealed for LabelMeta<'_> {}
impl<'a> Element<'a> for LabelMeta<'a> {
    const SIZE: usize = NAME + DEVICE + 2 + 4 + 6 + DEVICE;
    fn read(wire: &'a [u8]) -> Self {
        let mut fields = Cut(wire);
        let (name, device, [label, _reserved]) = (fields.text(NAME), fields.text(DEVICE), fields.take());
        Self { name, device, label, rgba: fields.take(), size: fields.take(), owner: fields.text(DEVICE) }
    }
    fn write(&self, wire: &mut [u8]) {
        let mut out = Writer::new(wire);
        out.text(self.name, NAME);
        out.text(self.device, DEVICE);
        out.put(&[self.label, 0]);
        out.put(&self.rgba);
        out.item(&self.size);
        out.text(self.owner, DEVICE);
    }
    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of a label in LBMETA", self.name, NAME)?;
        text_fits("the device of a label in LBMETA", self.device, DEVICE)?;
        text_fits("the owner of a label in LBMETA", self.owner, DEVICE)
    }
}

/// One video of VIDEOMETA, 322 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VideoMeta<'a> {
    /// What it is; at most 64 bytes.
    pub name: &'a [u8],
    /// What to ask for with STT_VIDEO; at most 64 bytes, though a header's has 20.
    pub device: &'a [u8],
    /// At most 64 bytes.
    pub patient_name: &'a [u8],
    /// At most 64 bytes.
    pub patient_id: &'a [u8],
    /// As the sender counts it.
    pub zoom: i16,
    /// As the sender measures it.
    pub focal_length: f64,
    /// Pixels along i, j, k.
    pub size: [u16; 3],
    /// As in IMAGE: i, j, k axes times their spacing, then the centre, in mm.
    pub matrix: Matrix,
    /// The number of the scalar type, as in IMAGE; not checked.
    pub scalar: u8,
}

impl Sealed for VideoMeta<'_> {}
impl<'a> Element<'a> for VideoMeta<'a> {
    const SIZE: usize = 2 * NAME + 2 * PATIENT + 2 + 8 + 6 + 48 + 2;
    fn read(wire: &'a [u8]) -> Self {
        let mut fields = Cut(wire);
        Self {
            name: fields.text(NAME),
            device: fields.text(NAME),
            patient_name: fields.text(PATIENT),
            patient_id: fields.text(PATIENT),
            zoom: fields.take(),
            focal_length: fields.take(),
            size: fields.take(),
            matrix: fields.take(),
            scalar: fields.take(),
        }
    }
    fn write(&self, wire: &mut [u8]) {
        let mut out = Writer::new(wire);
        out.text(self.name, NAME);
        out.text(self.device, NAME);
        out.text(self.patient_name, PATIENT);
        out.text(self.patient_id, PATIENT);
        out.item(&self.zoom);
        out.item(&self.focal_length);
        out.item(&self.size);
        out.item(&self.matrix);
        out.put(&[self.scalar, 0]);
    }
    fn check(&self) -> Result<(), EncodeError> {
        text_fits("the name of a video in VIDEOMETA", self.name, NAME)?;
        text_fits("the device of a video in VIDEOMETA", self.device, NAME)?;
        text_fits("a patient's name in VIDEOMETA", self.patient_name, PATIENT)?;
        text_fits("a patient's id in VIDEOMETA", self.patient_id, PATIENT)
    }
}
