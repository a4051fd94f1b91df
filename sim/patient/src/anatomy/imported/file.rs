//! One T1-weighted scan out of a NIfTI-1 file, plain or gzip, chosen by content and not by name.
//!
//! **Frames and units:** NIfTI is RAS in metres, millimetres or micrometres; here it ends as LPS mm. The
//! sform is preferred to the qform; without either the file is refused, since nothing tells left from
//! right. `scl_slope` and `scl_inter` are applied. **Allocation:** the voxels as `f32` (at most 537 MB),
//! converted in blocks of 1 MiB; every size is checked before it is believed. **Source:** nifti1.h of the
//! NIfTI-1.1 standard, the header by the `nifti` crate.

use super::ImportError;
use super::scan::Scan;
use flate2::bufread::MultiGzDecoder;
use nalgebra::{Matrix4, Quaternion, UnitQuaternion};
use nifti::{Endianness, NiftiHeader, NiftiType};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Bytes of a NIfTI-1 header.
const HEADER: usize = 348;
/// Largest permitted offset of the voxels: 16 MiB of extensions.
const OFFSET_MAX: f32 = 16_777_216.0;
/// Most voxels: 512³.
const VOXELS_MAX: usize = 1 << 27;
/// Fewest voxels along an axis: 16 slices of 3 mm are 48 mm, a third of a brain.
const EDGE_MIN: usize = 16;
/// Thickest permitted slice, mm; a cortex of 2 to 4 mm does not show in thicker ones.
pub(super) const SPACING_MAX_MM: f64 = 3.0;
/// Finest permitted voxel, mm.
const SPACING_MIN_MM: f64 = 0.1;
/// Smallest volume of a voxel over the product of its edges; 1 where they are at right angles.
const SKEW_MIN: f64 = 0.5;

/// Reads, checks and scales a file.
pub(super) fn read(path: &Path) -> Result<Scan, ImportError> {
    let mut file = BufReader::new(File::open(path).map_err(|why| unreadable("the file", 0, &why))?);
    let zipped = file.fill_buf().map_err(|why| unreadable("the file", 0, &why))?.starts_with(&[0x1f, 0x8b]);
    let mut bytes: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut start = [0_u8; HEADER];
    fill(&mut bytes, "the header", 0, &mut start)?;
    let header = header(&start)?;
    let dims = dims(&header)?;
    let kind = kind(&header)?;
    let lps_from_voxel = lps_from_voxel(&header)?;
    check(&lps_from_voxel)?;
    if !header.scl_slope.is_finite() || (header.scl_slope.abs() > 0.0 && !header.scl_inter.is_finite()) {
        let what = format!("scl_slope is {} and scl_inter {}", header.scl_slope, header.scl_inter);
        return Err(ImportError::Damaged { what, right: "both must be finite" });
    }
    let mut rest = vec![0_u8; header.vox_offset as usize - HEADER];
    fill(&mut bytes, "the header's extension", HEADER, &mut rest)?;
    let voxels = voxels(&mut bytes, &header, kind, dims.iter().product())?;
    Scan::new(dims, voxels, lps_from_voxel)
}

fn unreadable(what: &'static str, at: usize, why: &std::io::Error) -> ImportError {
    ImportError::Unreadable { what, at, why: why.to_string() }
}

fn fill(from: &mut dyn Read, what: &'static str, at: usize, into: &mut [u8]) -> Result<(), ImportError> {
    from.read_exact(into).map_err(|why| unreadable(what, at, &why))
}

/// Checks what the `nifti` crate does not.
fn header(start: &[u8; HEADER]) -> Result<NiftiHeader, ImportError> {
    let size = [start[0], start[1], start[2], start[3]];
    if [i32::from_le_bytes(size), i32::from_be_bytes(size)].contains(&540) {
        return Err(ImportError::NotNifti { found: "NIfTI-2", right: "convert it to NIfTI-1" });
    }
    match &start[344..348] {
        b"n+1\0" => {}
        b"ni1\0" => {
            let found = "half of a pair .hdr and .img";
            return Err(ImportError::NotNifti { found, right: "convert it to one .nii file" });
        }
        _ => {
            let found = "no NIfTI-1 file (no \"n+1\" at byte 344)";
            return Err(ImportError::NotNifti { found, right: "give a .nii or .nii.gz" });
        }
    }
    let damaged = |what, right| ImportError::Damaged { what, right };
    let header =
        NiftiHeader::from_reader(&start[..]).map_err(|why| damaged(why.to_string(), "a whole NIfTI-1 header"))?;
    if header.sizeof_hdr != 348 {
        return Err(damaged(format!("sizeof_hdr is {}", header.sizeof_hdr), "348"));
    }
    if !(HEADER as f32..=OFFSET_MAX).contains(&header.vox_offset) {
        return Err(damaged(format!("vox_offset is {}", header.vox_offset), "348 to 16777216"));
    }
    Ok(header)
}

fn dims(header: &NiftiHeader) -> Result<[usize; 3], ImportError> {
    let count = header.dim[0];
    if !(1..=7).contains(&count) {
        return Err(ImportError::Damaged { what: format!("dim[0] is {count}"), right: "1 to 7" });
    }
    let all: Vec<usize> = header.dim[1..=usize::from(count)].iter().map(|d| usize::from(*d)).collect();
    let [x, y, z, rest @ ..] = all.as_slice() else {
        return Err(ImportError::Size { dims: format!("{all:?}"), why: "it has fewer than three axes" });
    };
    let why = if rest.iter().any(|n| *n > 1) {
        "it holds more than one volume; extract one T1-weighted volume"
    } else if x * y * z == 0 {
        "it is empty"
    } else if [x, y, z].into_iter().any(|n| *n < EDGE_MIN) {
        "fewer than 16 voxels along an axis hold no brain; give the whole head"
    } else if x.saturating_mul(*y).saturating_mul(*z) > VOXELS_MAX {
        "more than 512³ voxels; resample to 0.5 mm or coarser"
    } else {
        return Ok([*x, *y, *z]);
    };
    Err(ImportError::Size { dims: format!("{all:?}"), why })
}

fn kind(header: &NiftiHeader) -> Result<NiftiType, ImportError> {
    let right = "intensities as integers of 8 to 64 bits, f32 or f64";
    let kind = header
        .data_type()
        .map_err(|_| ImportError::Damaged { what: format!("datatype {}", header.datatype), right })?;
    let bits = match kind {
        NiftiType::Uint8 | NiftiType::Int8 => 8,
        NiftiType::Uint16 | NiftiType::Int16 => 16,
        NiftiType::Uint32 | NiftiType::Int32 | NiftiType::Float32 => 32,
        NiftiType::Uint64 | NiftiType::Int64 | NiftiType::Float64 => 64,
        other => return Err(ImportError::Damaged { what: format!("the voxels are {other:?}"), right }),
    };
    if header.bitpix == bits {
        Ok(kind)
    } else {
        let what = format!("bitpix is {}, but {kind:?} has {bits} bits", header.bitpix);
        Err(ImportError::Damaged { what, right: "a bitpix that fits the datatype" })
    }
}

/// The voxels, scaled; a value that is not finite becomes NaN, which [`Scan`] counts as no signal.
fn voxels(from: &mut dyn Read, header: &NiftiHeader, kind: NiftiType, count: usize) -> Result<Vec<f32>, ImportError> {
    let width = header.bitpix as usize / 8;
    // A slope of 0 means that the values are as they stand.
    let (slope, inter) = match header.scl_slope.abs() > 0.0 {
        true => (f64::from(header.scl_slope), f64::from(header.scl_inter)),
        false => (1.0, 0.0),
    };
    let little = header.endianness == Endianness::Little;
    let mut out = Vec::new();
    let mut block = vec![0_u8; 1 << 20];
    while out.len() < count {
        let bytes = ((count - out.len()) * width).min(block.len());
        fill(from, "the voxels", header.vox_offset as usize + out.len() * width, &mut block[..bytes])?;
        let value = |word: &[u8]| {
            let mut le = [0_u8; 8];
            le[..width].copy_from_slice(word);
            if !little {
                le[..width].reverse();
            }
            ((number(kind, le) * slope) + inter) as f32
        };
        out.extend(block[..bytes].chunks_exact(width).map(value));
    }
    Ok(out)
}

/// A number of up to eight bytes, least significant first, the rest zero.
fn number(kind: NiftiType, le: [u8; 8]) -> f64 {
    let [a, b, c, d, ..] = le;
    match kind {
        NiftiType::Uint8 => f64::from(a),
        NiftiType::Int8 => f64::from(a as i8),
        NiftiType::Uint16 => f64::from(u16::from_le_bytes([a, b])),
        NiftiType::Int16 => f64::from(i16::from_le_bytes([a, b])),
        NiftiType::Uint32 => f64::from(u32::from_le_bytes([a, b, c, d])),
        NiftiType::Int32 => f64::from(i32::from_le_bytes([a, b, c, d])),
        NiftiType::Float32 => f64::from(f32::from_le_bytes([a, b, c, d])),
        NiftiType::Uint64 => u64::from_le_bytes(le) as f64,
        NiftiType::Int64 => i64::from_le_bytes(le) as f64,
        // `kind` above has refused all others.
        _ => f64::from_le_bytes(le),
    }
}

fn lps_from_voxel(header: &NiftiHeader) -> Result<Matrix4<f64>, ImportError> {
    let ras_from_voxel = if header.sform_code > 0 {
        let rows = [header.srow_x, header.srow_y, header.srow_z, [0.0, 0.0, 0.0, 1.0]];
        Matrix4::from_fn(|r, c| f64::from(rows[r][c]))
    } else if header.qform_code > 0 {
        qform(header)?
    } else {
        return Err(ImportError::NoOrientation);
    };
    let mm = match header.xyzt_units & 7 {
        0 | 2 => 1.0,
        1 => 1e3,
        3 => 1e-3,
        code => {
            let what = format!("xyzt_units has the unit of length {code}");
            return Err(ImportError::Damaged { what, right: "0 to 3" });
        }
    };
    Ok(Matrix4::from_fn(|r, c| ras_from_voxel[(r, c)] * [-mm, -mm, mm, 1.0][r]))
}

/// NIfTI-1.1, "method 2": a unit quaternion whose real part is implied, spacings, and qfac in `pixdim[0]`.
fn qform(header: &NiftiHeader) -> Result<Matrix4<f64>, ImportError> {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let squares = b * b + c * c + d * d;
    if !(0.0..=1.0 + 1e-4).contains(&squares) {
        let what = format!("the qform's quaternion has squares that add up to {squares}");
        return Err(ImportError::Affine { what });
    }
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new((1.0 - squares).max(0.0).sqrt(), b, c, d));
    let qfac = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let mut m = rotation.to_homogeneous();
    for (axis, sign) in [1.0, 1.0, qfac].into_iter().enumerate() {
        m.column_mut(axis).scale_mut(f64::from(header.pixdim[axis + 1]) * sign);
    }
    for (row, offset) in [header.quatern_x, header.quatern_y, header.quatern_z].into_iter().enumerate() {
        m[(row, 3)] = f64::from(offset);
    }
    Ok(m)
}

/// Refuses an affine that is not finite, is singular or sheared, or has edges that hold no cortex.
fn check(m: &Matrix4<f64>) -> Result<(), ImportError> {
    if m.iter().any(|v| !v.is_finite() || v.abs() > 1e5) {
        return Err(ImportError::Affine { what: "an element is not finite, or beyond 100 m".to_owned() });
    }
    let edges: [f64; 3] = std::array::from_fn(|a| m.fixed_view::<3, 1>(0, a).norm());
    if let Some(edge) = edges.iter().find(|e| **e < SPACING_MIN_MM) {
        return Err(ImportError::Affine { what: format!("a voxel has an edge of {edge:.4} mm") });
    }
    if let Some(axis) = edges.iter().position(|e| *e > SPACING_MAX_MM + 0.01) {
        return Err(ImportError::Thick { axis, edge_mm: edges[axis] });
    }
    let share = m.fixed_view::<3, 3>(0, 0).determinant().abs() / edges.iter().product::<f64>();
    if share >= SKEW_MIN {
        Ok(())
    } else {
        Err(ImportError::Affine { what: format!("its axes are not at right angles (relative determinant {share:.2})") })
    }
}
