//! NIfTI-1 in one file, plain or gzip, chosen by content and not by name.
//!
//! **Frames and units:** NIfTI is RAS, in metres, millimetres or micrometres (`xyzt_units`; unknown means
//! millimetres); both end here. The sform is preferred to the qform; without either the file is refused.
//! **Allocation:** the voxels' bytes and their `f32`, after every size has been checked.
//! **Source:** nifti1.h of the NIfTI-1.1 standard, by the `nifti` crate; the qform is computed here, as the
//! crate's panics on a damaged header.

use super::{MriError, checked_size, finish};
use bregma_core::digest::Digester;
use bregma_core::flow::{Modality, Volume};
use bregma_core::frame::FrameId;
use flate2::bufread::MultiGzDecoder;
use nalgebra::{Matrix4, Quaternion, UnitQuaternion};
use nifti::{InMemNiftiVolume, IntoNdArray, NiftiHeader, NiftiType};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Bytes of a NIfTI-1 header.
const HEADER: u64 = 348;
/// Largest permitted offset of the voxels: 16 MiB of extensions.
const OFFSET_MAX: f32 = 16_777_216.0;
/// Most bytes read after the voxels to reach the checksum at the end of a gzip stream.
const TRAILING_MAX: u64 = 1 << 20;

/// Header, sides and place of a file, whose voxels are not read.
pub(super) fn read_lattice(path: &Path) -> Result<(NiftiHeader, [usize; 3], Matrix4<f64>), MriError> {
    let (mut bytes, _) = opened(path)?;
    let start = exactly(path, &mut bytes, "the header", HEADER)?;
    let header = header(path, &start)?;
    let dims = dims(path, &header)?;
    checked_size(path, dims)?;
    let lps_from_voxel = lps_from_voxel(path, &header)?;
    let header = NiftiHeader { dim: three(&header), ..header };
    Ok((header, dims, lps_from_voxel))
}

/// The file's bytes, and whether they are zipped in it.
fn opened(path: &Path) -> Result<(Box<dyn Read>, bool), MriError> {
    let io = |source| MriError::Io { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let zipped = file.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
    Ok((if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) }, zipped))
}

/// Trailing axes of length 1 are legal; readers and writers are given three.
fn three(header: &NiftiHeader) -> [u16; 8] {
    [3, header.dim[1], header.dim[2], header.dim[3], 1, 1, 1, 1]
}

pub(super) fn read_file(path: &Path, modality: Modality, claimed: Option<&str>) -> Result<Volume, MriError> {
    let io = |source| MriError::Io { path: path.to_owned(), source };
    let (mut bytes, zipped) = opened(path)?;
    let start = exactly(path, &mut bytes, "the header", HEADER)?;
    let header = header(path, &start)?;
    let dims = dims(path, &header)?;
    let voxels = checked_size(path, dims)?;
    let bits = scalar_bits(path, &header)?;
    let lps_from_voxel = lps_from_voxel(path, &header)?;
    if !header.scl_slope.is_finite() || (header.scl_slope != 0.0 && !header.scl_inter.is_finite()) {
        return Err(damaged(path, format!("scl_slope {} and scl_inter {}", header.scl_slope, header.scl_inter)));
    }

    exactly(path, &mut bytes, "the header's extension", header.vox_offset as u64 - HEADER)?;
    let raw = exactly(path, &mut bytes, "the volume", voxels as u64 * bits / 8)?;
    if zipped {
        // The checksum stands at the end of the stream; damage anywhere shows only there.
        std::io::copy(&mut bytes.take(TRAILING_MAX), &mut std::io::sink()).map_err(io)?;
    }
    let frame = claimed.map_or_else(|| own_frame(&start, &raw), FrameId::of_uid);
    let header = NiftiHeader { dim: three(&header), ..header };
    let array = InMemNiftiVolume::from_raw_data(&header, raw)
        .and_then(IntoNdArray::into_ndarray::<f32>)
        .map_err(|why| damaged(path, why.to_string()))?;
    // Memory order of a NIfTI volume is Fortran's, x fastest, which is ours.
    let (intensities, _) = array.into_raw_vec_and_offset();
    finish(path, modality, dims, intensities, &lps_from_voxel, frame)
}

fn damaged(path: &Path, what: String) -> MriError {
    MriError::Damaged { path: path.to_owned(), what }
}

/// Reads `needed` bytes and no more; grows as they come, so that a lie about the size costs nothing.
fn exactly(path: &Path, from: &mut dyn Read, what: &'static str, needed: u64) -> Result<Vec<u8>, MriError> {
    let mut bytes = Vec::new();
    match from.take(needed).read_to_end(&mut bytes) {
        Ok(found) if found as u64 == needed => Ok(bytes),
        Ok(found) => Err(MriError::Truncated { path: path.to_owned(), what, needed, found: found as u64 }),
        // A gzip stream that is cut reports it as an error of its own.
        Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(MriError::Truncated { path: path.to_owned(), what, needed, found: bytes.len() as u64 })
        }
        Err(why) => Err(damaged(path, format!("{what}: {why}"))),
    }
}

/// Checks what the `nifti` crate does not.
fn header(path: &Path, start: &[u8]) -> Result<NiftiHeader, MriError> {
    let unsupported =
        |what: &str, instead| MriError::Unsupported { path: path.to_owned(), what: what.to_owned(), instead };
    let size = [start[0], start[1], start[2], start[3]];
    if [i32::from_le_bytes(size), i32::from_be_bytes(size)].contains(&540) {
        return Err(unsupported(
            "NIfTI-2",
            "convert it to NIfTI-1 (nifti_tool -convert2dtype, or fslchfiletype NIFTI_GZ)",
        ));
    }
    match &start[344..348] {
        b"n+1\0" => {}
        b"ni1\0" => return Err(unsupported("a pair of .hdr and .img", "convert it to one .nii file")),
        _ => return Err(MriError::NotAScan { path: path.to_owned() }),
    }
    let header = NiftiHeader::from_reader(start).map_err(|why| damaged(path, why.to_string()))?;
    if header.sizeof_hdr != 348 {
        return Err(damaged(path, format!("sizeof_hdr is {}, it must be 348", header.sizeof_hdr)));
    }
    if !(HEADER as f32..=OFFSET_MAX).contains(&header.vox_offset) {
        return Err(damaged(path, format!("vox_offset is {}, it must be 348 to {OFFSET_MAX}", header.vox_offset)));
    }
    Ok(header)
}

fn dims(path: &Path, header: &NiftiHeader) -> Result<[usize; 3], MriError> {
    let count = header.dim[0];
    if !(1..=7).contains(&count) {
        return Err(damaged(path, format!("dim[0] is {count}, it must be 1 to 7")));
    }
    let all: Vec<usize> = header.dim[1..=usize::from(count)].iter().map(|d| usize::from(*d)).collect();
    match all.as_slice() {
        [x, y, z, rest @ ..] if rest.iter().all(|d| *d == 1) => Ok([*x, *y, *z]),
        _ => Err(MriError::Unsupported {
            path: path.to_owned(),
            what: format!("a NIfTI file of {all:?} voxels"),
            instead: "give one volume of three axes",
        }),
    }
}

fn scalar_bits(path: &Path, header: &NiftiHeader) -> Result<u64, MriError> {
    let kind = header.data_type().map_err(|why| damaged(path, why.to_string()))?;
    let bits = match kind {
        NiftiType::Uint8 | NiftiType::Int8 => 8,
        NiftiType::Uint16 | NiftiType::Int16 => 16,
        NiftiType::Uint32 | NiftiType::Int32 | NiftiType::Float32 => 32,
        NiftiType::Uint64 | NiftiType::Int64 | NiftiType::Float64 => 64,
        other => {
            let what = format!("data type {other:?}");
            let instead = "store intensities as integers, f32 or f64";
            return Err(MriError::Unsupported { path: path.to_owned(), what, instead });
        }
    };
    if header.bitpix == bits {
        Ok(bits as u64)
    } else {
        Err(damaged(path, format!("bitpix is {}, but {kind:?} has {bits} bits", header.bitpix)))
    }
}

fn lps_from_voxel(path: &Path, header: &NiftiHeader) -> Result<Matrix4<f64>, MriError> {
    let ras_from_voxel = if header.sform_code > 0 {
        let rows = [header.srow_x, header.srow_y, header.srow_z, [0.0, 0.0, 0.0, 1.0]];
        Matrix4::from_fn(|r, c| f64::from(rows[r][c]))
    } else if header.qform_code > 0 {
        qform(header).map_err(|what| MriError::Affine { path: path.to_owned(), what })?
    } else {
        return Err(MriError::NoOrientation { path: path.to_owned() });
    };
    let mm = match header.xyzt_units & 7 {
        0 | 2 => 1.0,
        1 => 1e3,
        3 => 1e-3,
        code => return Err(damaged(path, format!("xyzt_units has the unit of length {code}; 0 to 3 exist"))),
    };
    // RAS to LPS turns x and y round.
    Ok(Matrix4::from_fn(|r, c| ras_from_voxel[(r, c)] * [-mm, -mm, mm, 1.0][r]))
}

/// NIfTI-1.1, "method 2": a unit quaternion whose real part is implied, spacings, and qfac in `pixdim[0]`.
fn qform(header: &NiftiHeader) -> Result<Matrix4<f64>, String> {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let squares = b * b + c * c + d * d;
    if !(0.0..=1.0 + 1e-4).contains(&squares) {
        return Err(format!("its qform's quaternion has squares that add up to {squares}, more than 1"));
    }
    let rotation = UnitQuaternion::from_quaternion(Quaternion::new((1.0 - squares).max(0.0).sqrt(), b, c, d));
    let third = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let scale = [f64::from(header.pixdim[1]), f64::from(header.pixdim[2]), f64::from(header.pixdim[3]) * third];
    if header.pixdim[1..4].iter().any(|p| p.is_nan() || *p <= 0.0) {
        return Err(format!("its pixdim is {:?}", &header.pixdim[1..4]));
    }
    let mut m = rotation.to_homogeneous();
    for (axis, scale) in scale.into_iter().enumerate() {
        m.column_mut(axis).scale_mut(scale);
    }
    for (row, offset) in [header.quatern_x, header.quatern_y, header.quatern_z].into_iter().enumerate() {
        m[(row, 3)] = f64::from(offset);
    }
    Ok(m)
}

/// A frame that no other scan is in: named by header and voxels.
fn own_frame(header: &[u8], raw: &[u8]) -> FrameId {
    let mut digester = Digester::new("bregma nifti frame 0");
    digester.bytes(header).bytes(raw);
    FrameId::of_uid(&format!("nifti {}", digester.finish()))
}
