//! A displacement field as a NIfTI-1 file, as ITK's programs read one.
//!
//! Five dimensions `[nx, ny, nz, 1, 3]`, intent 1007 (vector), 32-bit floats. **Frames:** the grid's world is RAS, as NIfTI's
//! is; the components are LPS mm, as ITK keeps them (it converts neither for this intent). A vector takes the point where it
//! stands, in the fixed scan, to its place in the moving one: what ITK resamples the moving scan by.

use bregma_core::grid::Grid;
use flate2::Compression;
use nalgebra::Vector3;
use ndarray::{Array5, ShapeBuilder};
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;
use std::path::Path;

/// Intent code of a vector at each voxel.
const VECTOR: i16 = 1007;

/// Writes a field: `.nii`, or packed, `.nii.gz`.
///
/// # Errors
/// Why the file was not written.
pub fn write(path: &Path, grid: &Grid, vectors: &[Vector3<f32>]) -> Result<(), String> {
    let [nx, ny, nz] = grid.dims;
    let spacing = grid.spacing_mm as f32;
    let [x, y, z] = grid.origin.map(|o| o as f32);
    let header = NiftiHeader {
        pixdim: [1.0, spacing, spacing, spacing, 1.0, 1.0, 1.0, 1.0],
        xyzt_units: 2,
        intent_code: VECTOR,
        sform_code: 1,
        qform_code: 1,
        // LPS to RAS: half a turn about z.
        srow_x: [-spacing, 0.0, 0.0, -x],
        srow_y: [0.0, -spacing, 0.0, -y],
        srow_z: [0.0, 0.0, spacing, z],
        quatern_b: 0.0,
        quatern_c: 0.0,
        quatern_d: 1.0,
        quatern_x: -x,
        quatern_y: -y,
        quatern_z: z,
        ..NiftiHeader::default()
    };
    let values: Vec<f32> = (0..3).flat_map(|a| vectors.iter().map(move |v| v[a])).collect();
    let array = Array5::from_shape_vec((nx, ny, nz, 1, 3).f(), values).map_err(|why| why.to_string())?;
    let options = WriterOptions::new(path).reference_header(&header).compression_level(Compression::fast());
    options.write_nifti(&array).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Point3;
    use nifti::{IntoNdArray, NiftiObject, ReaderOptions};

    #[test]
    fn a_field_comes_back_with_its_place_and_its_intent() {
        let grid = Grid::centred(Point3::new(1.0, 2.0, 3.0), [4, 5, 6], 2.5);
        let vectors: Vec<_> = (0..grid.len()).map(|n| Vector3::new(n as f32, -1.0, 0.5 * n as f32)).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("field.nii.gz");
        write(&path, &grid, &vectors).expect("is written");
        let file = ReaderOptions::new().read_file(&path).expect("is read");
        let header = file.header();
        assert_eq!((header.intent_code, &header.dim[..6]), (1007, &[5, 4, 5, 6, 1, 3][..]));
        assert!((header.srow_x[3] + grid.origin[0] as f32).abs() < 1e-6 && header.srow_x[0] < 0.0);
        let data = file.into_volume().into_ndarray::<f32>().expect("floats");
        let at = [3, 1, 2];
        for a in 0..3 {
            let found = data[[at[0], at[1], at[2], 0, a].as_slice()];
            assert!((found - vectors[grid.index(at)][a]).abs() < 1e-6);
        }
    }
}
