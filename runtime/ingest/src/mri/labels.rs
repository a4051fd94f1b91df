//! Labels as a NIfTI file on the voxels of a scan, in the order in which that scan's file has them.
//!
//! Where the scan is NIfTI, its header's place in the world is taken over to the bit; where it is DICOM, the
//! lattice is its columns, rows and slices, and the file says where it lies by its sform. **Units and frames:**
//! [`Lattice`] is LPS mm, the file RAS mm. **Allocation:** the file's bytes.

use super::dicom::{self, Series};
use super::{MriError, nifti};
use ::nifti::NiftiHeader;
use ::nifti::writer::WriterOptions;
use flate2::Compression;
use nalgebra::Matrix4;
use ndarray::{Array3, ShapeBuilder};
use std::path::Path;

/// Where the voxels of a scan's file lie.
#[derive(Debug)]
pub struct Lattice {
    /// Voxels along each axis, x fastest.
    pub dims: [usize; 3],
    /// `[i, j, k, 1]` to LPS mm.
    pub patient_from_voxel: Matrix4<f64>,
    header: NiftiHeader,
    /// Where it is a DICOM series: what is referred to.
    pub(super) series: Option<Box<Series>>,
}

impl Lattice {
    /// Of a NIfTI file, whose voxels are not looked at.
    ///
    /// # Errors
    /// [`MriError`] where its header is none.
    pub fn of_file(path: &Path) -> Result<Self, MriError> {
        let (header, dims, patient_from_voxel) = nifti::read_lattice(path)?;
        Ok(Self { dims, patient_from_voxel, header, series: None })
    }

    /// Of a folder with a DICOM series, whose pixels are not looked at: columns, rows, slices along their normal.
    ///
    /// # Errors
    /// [`MriError`] where it is none.
    pub fn of_series(folder: &Path) -> Result<Self, MriError> {
        let series = dicom::series(folder)?;
        let lattice = Self::of(series.dims, series.lps_from_voxel);
        Ok(Self { series: Some(Box::new(series)), ..lattice })
    }

    fn of(dims: [usize; 3], m: Matrix4<f64>) -> Self {
        // LPS to RAS turns x and y round.
        let row = |r: usize, sign: f64| std::array::from_fn::<f32, 4, _>(|c| (sign * m[(r, c)]) as f32);
        let edge = |c: usize| m.fixed_view::<3, 1>(0, c).norm() as f32;
        let header = NiftiHeader {
            pixdim: [1.0, edge(0), edge(1), edge(2), 1.0, 1.0, 1.0, 1.0],
            xyzt_units: 2,
            sform_code: 1,
            qform_code: 0,
            srow_x: row(0, -1.0),
            srow_y: row(1, -1.0),
            srow_z: row(2, 1.0),
            ..NiftiHeader::default()
        };
        Self { dims, patient_from_voxel: m, header, series: None }
    }

    /// Volume of a voxel, mL.
    #[must_use]
    pub fn voxel_ml(&self) -> f64 {
        self.patient_from_voxel.fixed_view::<3, 3>(0, 0).determinant().abs() * 1e-3
    }

    /// Writes a label for each voxel, x fastest, gzip where the name ends in `.gz`.
    ///
    /// # Errors
    /// When the file cannot be written.
    ///
    /// # Panics
    /// When there are not as many labels as voxels: a programmer's error.
    pub fn write(&self, path: &Path, labels: Vec<u8>) -> std::io::Result<()> {
        let [nx, ny, nz] = self.dims;
        let array = Array3::from_shape_vec((nx, ny, nz).f(), labels).expect("a label for each voxel");
        let mut header =
            NiftiHeader { scl_slope: 1.0, scl_inter: 0.0, cal_min: 0.0, cal_max: 4.0, ..self.header.clone() };
        header.intent_code = 1002;
        header
            .set_description_str("bregma segment: 1 necrosis, 2 infiltrated, 4 enhancing")
            .map_err(std::io::Error::other)?;
        WriterOptions::new(path)
            .reference_header(&header)
            .compression_level(Compression::fast())
            .write_nifti(&array)
            .map_err(std::io::Error::other)
    }
}
