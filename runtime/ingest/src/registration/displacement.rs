//! Displacement fields as NIfTI files, which ITK, SimpleITK and 3D Slicer read as transforms.
//!
//! As ITK keeps them: `x` in the fixed scan is shown in the moving scan at `x + d(x)`; the grid's place is NIfTI's, in RAS, the
//! vectors are LPS mm, five axes `[nx, ny, nz, 1, 3]` of `f32`, intent 1007 (`NIFTI_INTENT_VECTOR`). ITK turns
//! the vectors of intent 1006 from RAS and leaves those of 1007 as they are. **Source:** nifti1.h of the NIfTI-1.1 standard.
//! **Allocation:** the file's bytes.

use bregma_core::grid::Grid;
use flate2::Compression;
use flate2::write::GzEncoder;
use nalgebra::Vector3;
use std::io::Write as _;
use std::path::Path;

/// Bytes of the header, and where voxels start: four bytes say that nothing extends it.
const HEADER: usize = 348;
const VOXELS_AT: usize = 352;

/// Writes a field, of [`Grid::len`] vectors in LPS mm, x fastest.
///
/// # Errors
/// When the file cannot be written.
///
/// # Panics
/// When there are not as many vectors as grid points, or a side has more than 32,767: a programmer's error.
pub fn write(path: &Path, grid: &Grid, displacements: &[Vector3<f64>]) -> std::io::Result<()> {
    assert_eq!(displacements.len(), grid.len(), "a vector for each grid point");
    let mut bytes = header(grid).to_vec();
    bytes.reserve(12 * displacements.len());
    for axis in 0..3 {
        displacements.iter().for_each(|d| bytes.extend_from_slice(&(d[axis] as f32).to_le_bytes()));
    }
    let mut file = GzEncoder::new(std::fs::File::create(path)?, Compression::fast());
    file.write_all(&bytes)?;
    file.finish()?.sync_all()
}

fn header(grid: &Grid) -> [u8; VOXELS_AT] {
    let mut header = [0; VOXELS_AT];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    let sides =
        grid.dims.map(|n| i16::try_from(n).unwrap_or_else(|_| panic!("a side of {n} points; 32767 are the most")));
    put(0, &(HEADER as i32).to_le_bytes());
    let dim = [5, sides[0], sides[1], sides[2], 1, 3, 1, 1];
    dim.iter().enumerate().for_each(|(i, n)| put(40 + 2 * i, &n.to_le_bytes()));
    put(68, &1007_i16.to_le_bytes());
    // 32-bit floats.
    put(70, &16_i16.to_le_bytes());
    put(72, &32_i16.to_le_bytes());
    let spacing = grid.spacing_mm as f32;
    let mut floats = |at: usize, values: &[f32]| {
        values.iter().enumerate().for_each(|(i, v)| put(at + 4 * i, &v.to_le_bytes()));
    };
    floats(76, &[1.0, spacing, spacing, spacing, 1.0, 1.0, 1.0, 1.0]);
    floats(108, &[VOXELS_AT as f32, 1.0]);
    // LPS to RAS is half a turn about z, as a quaternion and as rows.
    let [x, y, z] = [-grid.origin[0], -grid.origin[1], grid.origin[2]].map(|o| o as f32);
    floats(256, &[0.0, 0.0, 1.0, x, y, z]);
    floats(280, &[-spacing, 0.0, 0.0, x, 0.0, -spacing, 0.0, y, 0.0, 0.0, spacing, z]);
    // Millimetres; qform and sform are a scanner's coordinates; one file.
    put(123, &[2]);
    put(252, &1_i16.to_le_bytes());
    put(254, &1_i16.to_le_bytes());
    put(344, b"n+1\0");
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use nifti::{NiftiObject, NiftiVolume, RandomAccessNiftiVolume, ReaderOptions};

    #[test]
    fn a_reader_finds_grid_intent_and_vectors() {
        let grid = Grid { dims: [4, 3, 2], spacing_mm: 5.0, origin: [-10.0, 20.0, -30.0] };
        let each = |i: usize| Vector3::new(i as f64, -0.5 * i as f64, 100.0);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("field.nii.gz");
        write(&path, &grid, &(0..grid.len()).map(each).collect::<Vec<_>>()).expect("written");
        let object = ReaderOptions::new().read_file(&path).expect("reads");
        let header = object.header();
        assert_eq!(header.intent_code, 1007);
        assert_eq!(header.srow_x, [-5.0, 0.0, 0.0, 10.0]);
        assert_eq!([header.quatern_x, header.quatern_y, header.quatern_z], [10.0, -20.0, -30.0]);
        let volume = object.volume();
        assert_eq!(volume.dim(), [4, 3, 2, 1, 3]);
        let node = [3, 1, 1];
        let found = [0, 1, 2].map(|a| volume.get_f64(&[3, 1, 1, 0, a]).expect("a value"));
        assert_eq!(Vector3::from(found), each(grid.index(node)));
    }

    #[test]
    #[should_panic(expected = "a vector for each grid point")]
    fn too_few_vectors_are_a_mistake() {
        let grid = Grid { dims: [2, 2, 2], spacing_mm: 1.0, origin: [0.0; 3] };
        let _ = write(Path::new("nowhere"), &grid, &[]);
    }
}
