//! The template anatomies: T1, grey and white matter at 1 mm, from embedded NIfTI files. At home the average
//! of many heads (ICBM 2009a) with deepened sulci; in the foreign world one head (Colin 27) as it is.
//!
//! **Frames:** NIfTI's world is RAS; here it becomes LPS, x fastest, all axes growing. The affine is
//! honoured, whatever the order and direction of the file's axes; an oblique one is refused.
//! **Allocation:** decoded once a process, about 26 MB, and as much again for the
//! one with deepened sulci.

use crate::anatomy::sulci;
use crate::kind::WorldKind;
use bregma_core::grid::Grid;
use flate2::read::GzDecoder;
use nalgebra::Matrix3;
use nifti::{InMemNiftiObject, NiftiHeader, NiftiObject};
use std::sync::OnceLock;

/// The files of one head.
struct Assets {
    t1: &'static [u8],
    grey: &'static [u8],
    white: &'static [u8],
}

const AVERAGE: Assets = Assets {
    t1: include_bytes!("../../assets/mni_icbm152_2009a_t1.nii.gz"),
    grey: include_bytes!("../../assets/mni_icbm152_2009a_gm.nii.gz"),
    white: include_bytes!("../../assets/mni_icbm152_2009a_wm.nii.gz"),
};
const SINGLE_HEAD: Assets = Assets {
    t1: include_bytes!("../../assets/colin27_t1.nii.gz"),
    grey: include_bytes!("../../assets/colin27_gm.nii.gz"),
    white: include_bytes!("../../assets/colin27_wm.nii.gz"),
};

/// An embedded volume cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It does not decode.
    #[error("template {name}: {why}; the asset in sim/patient/assets is damaged")]
    Decode {
        /// Which of the three.
        name: &'static str,
        /// What the decoder says.
        why: String,
    },
    /// Its axes are not the patient's.
    #[error("template {name}: affine row {row:?} is oblique or not 1 mm; an axis-aligned 1 mm volume is needed")]
    Oblique {
        /// Which of the three.
        name: &'static str,
        /// The first row that is wrong, as written.
        row: String,
    },
    /// The three do not lie on one grid.
    #[error("template {name} does not lie on the grid of the T1 volume")]
    Grid {
        /// Which of the three.
        name: &'static str,
    },
}

/// The three volumes on one LPS grid, 0 to 255.
#[derive(Clone)]
pub(crate) struct Template {
    pub grid: Grid,
    /// T1-weighted intensity; 0 outside the brain.
    pub t1: Vec<u8>,
    /// Probability of grey matter.
    pub grey: Vec<u8>,
    /// Probability of white matter.
    pub white: Vec<u8>,
    /// Own size and shape of the head: MNI vectors to patient vectors, LPS. The identity for the template.
    pub own_from_mni: Matrix3<f64>,
}

/// The embedded template, decoded on the first call.
pub(crate) fn template() -> Result<&'static Template, TemplateError> {
    static DECODED: OnceLock<Result<Template, TemplateError>> = OnceLock::new();
    DECODED.get_or_init(|| decode_all(&AVERAGE)).as_ref().map_err(Clone::clone)
}

/// The embedded template with sulci as deep as one brain has them, made on the first call.
pub(crate) fn deepened() -> Result<&'static Template, TemplateError> {
    static DEEP: OnceLock<Result<Template, TemplateError>> = OnceLock::new();
    DEEP.get_or_init(|| template().map(sulci::deepened)).as_ref().map_err(Clone::clone)
}

/// The head that a world's patients are made from, made on the first call.
pub(crate) fn of(world: WorldKind) -> Result<&'static Template, TemplateError> {
    static SINGLE: OnceLock<Result<Template, TemplateError>> = OnceLock::new();
    match world {
        WorldKind::Home => deepened(),
        WorldKind::Foreign => SINGLE.get_or_init(|| decode_all(&SINGLE_HEAD)).as_ref().map_err(Clone::clone),
    }
}

fn decode_all(assets: &Assets) -> Result<Template, TemplateError> {
    let (grid, t1) = decode("t1", assets.t1)?;
    let on_same_grid = |name, bytes| match decode(name, bytes)? {
        (other, data) if other == grid => Ok(data),
        _ => Err(TemplateError::Grid { name }),
    };
    Ok(Template {
        grid,
        t1,
        grey: on_same_grid("gm", assets.grey)?,
        white: on_same_grid("wm", assets.white)?,
        own_from_mni: Matrix3::identity(),
    })
}

fn decode(name: &'static str, bytes: &[u8]) -> Result<(Grid, Vec<u8>), TemplateError> {
    let why = |e: nifti::NiftiError| TemplateError::Decode { name, why: e.to_string() };
    let object = InMemNiftiObject::from_reader(GzDecoder::new(bytes)).map_err(why)?;
    let header = object.header().clone();
    let dims: [usize; 3] = std::array::from_fn(|a| usize::from(header.dim[a + 1]));
    let data = object.into_volume().into_nifti_typed_data::<u8>().map_err(why)?;
    to_lps(name, &header, dims, &data)
}

/// Reorders a RAS-world volume so that its axes are LPS and grow.
fn to_lps(
    name: &'static str,
    header: &NiftiHeader,
    dims: [usize; 3],
    data: &[u8],
) -> Result<(Grid, Vec<u8>), TemplateError> {
    let mut lps_from_voxel = [header.srow_x, header.srow_y, header.srow_z].map(|r| r.map(f64::from));
    for row in &mut lps_from_voxel[..2] {
        row.iter_mut().for_each(|v| *v = -*v);
    }
    // For each LPS axis: which axis of the file runs along it, and whether backwards.
    let mut along = [(0_usize, false); 3];
    let mut origin = [0.0; 3];
    for (a, row) in lps_from_voxel.iter().enumerate() {
        let axis = (0..3).find(|s| (row[*s].abs() - 1.0).abs() < 1e-5);
        match axis {
            Some(s) if (0..3).all(|o| o == s || row[o].abs() < 1e-5) => {
                let backwards = row[s] < 0.0;
                along[a] = (s, backwards);
                origin[a] = row[3] - if backwards { (dims[s] - 1) as f64 } else { 0.0 };
            }
            _ => return Err(TemplateError::Oblique { name, row: format!("{row:?}") }),
        }
    }
    let grid = Grid { dims: along.map(|(s, _)| dims[s]), spacing_mm: 1.0, origin };
    if data.len() != grid.len() {
        let why = format!("holds {} voxels of {}", data.len(), grid.len());
        return Err(TemplateError::Decode { name, why });
    }
    let strides = [1, dims[0], dims[0] * dims[1]];
    // Start and step of each LPS axis in the file's memory.
    let step: [(usize, isize); 3] = along.map(|(s, backwards)| {
        let stride = strides[s] as isize;
        if backwards { (strides[s] * (dims[s] - 1), -stride) } else { (0, stride) }
    });
    let mut out = Vec::with_capacity(grid.len());
    let base = (step[0].0 + step[1].0 + step[2].0) as isize;
    for k in 0..grid.dims[2] as isize {
        for j in 0..grid.dims[1] as isize {
            let row = base + k * step[2].1 + j * step[1].1;
            out.extend((0..grid.dims[0] as isize).map(|i| data[(row + i * step[0].1) as usize]));
        }
    }
    Ok((grid, out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Point3;

    #[test]
    fn an_asymmetric_phantom_keeps_its_left_on_plus_x() {
        // A LAS file, 4 × 3 × 2: i runs to the left, j to the front, k to the head. One bright voxel.
        let mut header = NiftiHeader {
            srow_x: [-1.0, 0.0, 0.0, 5.0],
            srow_y: [0.0, 1.0, 0.0, -7.0],
            srow_z: [0.0, 0.0, 1.0, 2.0],
            ..NiftiHeader::default()
        };
        let mut data = vec![0_u8; 24];
        data[3 + 4 * (2 + 3)] = 9; // [3, 2, 1]: RAS (2, −5, 3), LPS (−2, 5, 3)
        let (grid, lps) = to_lps("phantom", &header, [4, 3, 2], &data).expect("axis-aligned");
        let bright = lps.iter().position(|v| *v == 9).expect("kept");
        assert_eq!(grid.centre(grid.voxel(bright)), Point3::new(-2.0, 5.0, 3.0));
        // The same content in a RAS file lands in the same place.
        header.srow_x = [1.0, 0.0, 0.0, 2.0];
        let mut data = vec![0_u8; 24];
        data[4 * (2 + 3)] = 9;
        let (grid, lps) = to_lps("phantom", &header, [4, 3, 2], &data).expect("axis-aligned");
        let bright = lps.iter().position(|v| *v == 9).expect("kept");
        assert_eq!(grid.centre(grid.voxel(bright)), Point3::new(-2.0, 5.0, 3.0));
        header.srow_x = [0.9, 0.1, 0.0, 2.0];
        assert!(matches!(to_lps("phantom", &header, [4, 3, 2], &data), Err(TemplateError::Oblique { .. })));
    }

    #[test]
    fn the_embedded_volumes_decode_onto_one_grid() {
        let t = template().expect("assets decode");
        assert_eq!(t.grid.dims, [197, 233, 189]);
        let brain_ml = t.t1.iter().filter(|v| **v > 0).count() as f64 * 1e-3;
        assert!((1850.0..1920.0).contains(&brain_ml), "{brain_ml} mL");
        // White matter of the left corona radiata, MNI (−20, −10, 30): LPS (20, 10, 30).
        let at = t.grid.containing(&Point3::new(20.0, 10.0, 30.0)).expect("inside");
        assert!(t.white[t.grid.index(at)] > 200 && t.grey[t.grid.index(at)] < 60);
    }
}
