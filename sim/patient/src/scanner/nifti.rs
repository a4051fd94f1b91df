//! Scans as NIfTI-1 files.
//!
//! **Frames:** memory is LPS; the file is RAS, as NIfTI's world is, with sform and qform. The
//! frame-of-reference UID stands in the description. Values are whole numbers, a scanner's own, packed with
//! the fastest level of gzip. The volume's axes must be the patient's.

use super::WriteScanError;
use bregma_core::flow::Volume;
use flate2::Compression;
use ndarray::{Array3, ShapeBuilder};
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;
use std::path::Path;

pub(super) fn write(volume: &Volume, uid: &str, path: &Path) -> Result<(), WriteScanError> {
    let failed = |why: String| WriteScanError { path: path.to_owned(), why };
    let [nx, ny, nz] = volume.dims;
    let m = &volume.patient_from_voxel;
    // LPS to RAS: the first two rows change their sign. The axes are the patient's, so the rotation of
    // the qform is half a turn about z.
    let row = |r: usize, sign: f64| std::array::from_fn::<f32, 4, _>(|c| (sign * m[(r, c)]) as f32);
    let spacing: [f32; 3] = std::array::from_fn(|a| m[(a, a)] as f32);
    let mut header = NiftiHeader {
        pixdim: [1.0, spacing[0], spacing[1], spacing[2], 1.0, 1.0, 1.0, 1.0],
        xyzt_units: 2,
        sform_code: 1,
        qform_code: 1,
        srow_x: row(0, -1.0),
        srow_y: row(1, -1.0),
        srow_z: row(2, 1.0),
        quatern_b: 0.0,
        quatern_c: 0.0,
        quatern_d: 1.0,
        quatern_x: -m[(0, 3)] as f32,
        quatern_y: -m[(1, 3)] as f32,
        quatern_z: m[(2, 3)] as f32,
        ..NiftiHeader::default()
    };
    header.set_description_str(uid).map_err(|e| failed(e.to_string()))?;
    let values: Vec<i16> = volume.intensities.iter().map(|v| v.round() as i16).collect();
    let array = Array3::from_shape_vec((nx, ny, nz).f(), values).map_err(|e| failed(e.to_string()))?;
    WriterOptions::new(path)
        .reference_header(&header)
        .compression_level(Compression::fast())
        .write_nifti(&array)
        .map_err(|e| failed(e.to_string()))
}
