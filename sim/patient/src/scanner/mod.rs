//! The scanner: T1c and FLAIR of the whole head at 1 mm.
//!
//! Contrast from the template's T1; the rim enhances, necrosis and cavity are dark, oedema is bright on
//! FLAIR by its cell density, vessels of 0.8 mm and more are bright on T1c. On it: blur, a smooth bias
//! field and Rician noise. **Frames:** memory is LPS; the NIfTI files are RAS, as NIfTI's world is.
//! **Allocation:** about 60 MB a scan. **Not modelled:** distortion by air, movement.

use crate::anatomy::head::{Head, SCALP_OUTER_MM, SKULL_INNER_MM, SKULL_OUTER_MM, tissue};
use crate::patient::Patient;
use crate::random::{Draws, Purpose, mix, normal_pair};
use crate::truth::Label;
use bregma_core::flow::{Modality, Volume};
use bregma_core::time::Instant;
use nalgebra::{Matrix4, Point3, Vector3};
use ndarray::{Array3, ShapeBuilder};
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;
use std::path::{Path, PathBuf};

/// Thinnest vessel that T1c shows in part, radius.
const SHOWN_RADIUS_MM: f64 = 0.4;
/// Noise of each channel, in units of a scan where white matter on T1c is 222.
const NOISE: f32 = 5.0;
/// Largest share by which the bias field changes intensities.
const BIAS: f64 = 0.08;

/// A scan could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}; the scan was not written")]
pub struct WriteScanError {
    /// Where it should have gone.
    pub path: PathBuf,
    /// What the writer says.
    pub why: String,
}

impl Patient {
    /// The preoperative scan.
    #[must_use]
    pub fn scan(&self, modality: Modality) -> Volume {
        self.scan_with(modality, Instant::START, None)
    }

    /// Writes the preoperative `t1c.nii.gz` and `flair.nii.gz` into a folder, with sform and qform; the
    /// frame-of-reference UID stands in the description.
    ///
    /// # Errors
    /// [`WriteScanError`] with the file and what is wrong.
    pub fn write_preoperative(&self, dir: &Path) -> Result<[PathBuf; 2], WriteScanError> {
        let paths = [dir.join("t1c.nii.gz"), dir.join("flair.nii.gz")];
        for (path, modality) in paths.iter().zip([Modality::T1c, Modality::Flair]) {
            write(&self.scan(modality), self.uid(), path)?;
        }
        Ok(paths)
    }

    /// Writes the label map of [`Patient::anatomy`] as `regions.nii.gz` into a folder.
    ///
    /// # Errors
    /// [`WriteScanError`] with the file and what is wrong.
    pub fn write_labels(&self, dir: &Path) -> Result<PathBuf, WriteScanError> {
        let anatomy = self.anatomy();
        let path = dir.join("regions.nii.gz");
        let [x, y, z] = anatomy.grid.origin;
        let affine = Matrix4::new_translation(&Vector3::new(x, y, z)).prepend_scaling(anatomy.grid.spacing_mm);
        let map = Volume {
            modality: Modality::T1,
            dims: anatomy.grid.dims,
            intensities: anatomy.labels.iter().map(|l| f32::from(*l)).collect(),
            patient_from_voxel: affine,
            frame: anatomy.frame,
            acquired: Instant::START,
        };
        write(&map, self.uid(), &path)?;
        Ok(path)
    }

    /// A scan with what is open by then: `open[i]` for each truth voxel.
    pub(crate) fn scan_with(&self, modality: Modality, acquired: Instant, open: Option<&[bool]>) -> Volume {
        let head = &self.head;
        let mut picture = brain_and_shells(head, modality);
        self.add_tumour(modality, open, &mut picture);
        if modality == Modality::T1c {
            self.add_vessels(open, &mut picture);
        }
        blur(&mut picture, head.grid.dims);
        let seed = Draws::new(self.seed ^ acquired.nanos(), Purpose::Scan).bits() ^ modality as u64;
        degrade(&mut picture, head.grid.dims, seed);
        let [x, y, z] = head.grid.origin;
        Volume {
            modality,
            dims: head.grid.dims,
            intensities: picture,
            patient_from_voxel: Matrix4::new_translation(&Vector3::new(x, y, z)),
            frame: self.frame(),
            acquired,
        }
    }

    fn add_tumour(&self, modality: Modality, open: Option<&[bool]>, picture: &mut [f32]) {
        let truth = &self.truth;
        for (index, label) in truth.labels.iter().enumerate() {
            let at = truth.grid.centre(truth.grid.voxel(index));
            let Some(voxel) = self.head.grid.containing(&at) else { continue };
            let value = &mut picture[self.head.grid.index(voxel)];
            if open.is_some_and(|o| o[index]) && *label != Label::Outside {
                *value = if modality == Modality::T1c { 45.0 } else { 25.0 };
                continue;
            }
            let u = truth.density[index];
            *value = match (modality, label) {
                (Modality::T1c, Label::Enhancing) => 330.0,
                (Modality::T1c, Label::Necrosis) => 75.0,
                (Modality::Flair, Label::Enhancing) => 205.0,
                (Modality::Flair, Label::Necrosis) => 95.0,
                (Modality::Flair, l) if l.tissue() => *value + 110.0 * (u / 0.4).min(1.0),
                (_, l) if l.tissue() => *value * (1.0 - 0.2 * u),
                _ => *value,
            };
        }
    }

    fn add_vessels(&self, open: Option<&[bool]>, picture: &mut [f32]) {
        let grid = &self.head.grid;
        for vessel in self.vessels.iter().filter(|v| v.radius_mm >= SHOWN_RADIUS_MM) {
            let middle: Point3<f64> = nalgebra::center(&vessel.start, &vessel.end);
            let reach = vessel.radius_mm + 1.0 + 0.5 * nalgebra::distance(&vessel.start, &vessel.end);
            let [xs, ys, zs] = grid.around(&middle, reach);
            for (k, j) in zs.flat_map(|k| ys.clone().map(move |j| (k, j))) {
                for i in xs.clone() {
                    let at = grid.centre([i, j, k]);
                    let gone = open
                        .is_some_and(|o| self.truth.grid.containing(&at).is_some_and(|v| o[self.truth.grid.index(v)]));
                    // Share of the voxel that is blood, linear over its width.
                    let share = (0.5 - vessel.distance_mm(&at)).clamp(0.0, 1.0) as f32;
                    if share > 0.0 && !gone {
                        let value = &mut picture[grid.index([i, j, k])];
                        *value += share * (310.0 - *value).max(0.0);
                    }
                }
            }
        }
    }
}

/// Brain by its T1, and what lies around it by its distance.
fn brain_and_shells(head: &Head, modality: Modality) -> Vec<f32> {
    let t1c = modality == Modality::T1c;
    let outside = |index: usize| {
        let above = -head.depth_mm(&head.grid.centre(head.grid.voxel(index)));
        match above {
            a if a < SKULL_INNER_MM => {
                if t1c {
                    62.0
                } else {
                    22.0
                }
            }
            a if a < SKULL_OUTER_MM => 28.0,
            a if a < SCALP_OUTER_MM => {
                if t1c {
                    170.0
                } else {
                    120.0
                }
            }
            _ => 2.0,
        }
    };
    let value = |(index, t): (usize, &u8)| {
        let t1 = f32::from(head.t1[index]);
        match *t {
            tissue::OUTSIDE => outside(index),
            _ if t1c => t1,
            // CSF 68 becomes 22, grey 166 becomes 140, white 222 becomes 112.
            _ if t1 < 68.0 => 22.0,
            _ if t1 < 166.0 => 22.0 + (t1 - 68.0) * (118.0 / 98.0),
            _ => 140.0 - (t1 - 166.0) * 0.5,
        }
    };
    head.tissue.iter().enumerate().map(value).collect()
}

/// Three taps along each axis: 0.15, 0.7, 0.15.
fn blur(picture: &mut [f32], dims: [usize; 3]) {
    let mut stride = 1;
    for n in dims {
        // Blocks of `n` lines of `stride` values: the axis runs across the lines.
        for block in picture.chunks_exact_mut(n * stride) {
            let mut before: Vec<f32> = block[..stride].to_vec();
            for line in 0..n {
                let (here, rest) = block[line * stride..].split_at_mut(stride);
                for (i, value) in here.iter_mut().enumerate() {
                    let old = *value;
                    let after = rest.get(i).copied().unwrap_or(old);
                    *value = 0.7 * old + 0.15 * (before[i] + after);
                    before[i] = old;
                }
            }
        }
        stride *= n;
    }
}

/// Bias field, then Rician noise: the length of a signal with noise in both channels.
fn degrade(picture: &mut [f32], dims: [usize; 3], seed: u64) {
    let c: [f64; 6] = std::array::from_fn(|i| {
        let unit = (mix(seed, i as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        (2.0 * unit - 1.0) * BIAS / 3.0
    });
    let [nx, ny, nz] = dims;
    for (row, line) in picture.chunks_exact_mut(nx).enumerate() {
        let y = 2.0 * (row % ny) as f64 / ny as f64 - 1.0;
        let z = 2.0 * (row / ny) as f64 / nz as f64 - 1.0;
        for (i, value) in line.iter_mut().enumerate() {
            let x = 2.0 * i as f64 / nx as f64 - 1.0;
            let bias = 1.0 + x * (c[0] + c[3] * y) + y * (c[1] + c[4] * z) + z * (c[2] + c[5] * x);
            let (a, b) = normal_pair(mix(seed, (row * nx + i + 6) as u64));
            let real = *value * bias as f32 + NOISE * a;
            *value = (real * real + NOISE * NOISE * b * b).sqrt();
        }
    }
}

fn write(volume: &Volume, uid: &str, path: &Path) -> Result<(), WriteScanError> {
    let failed = |why: String| WriteScanError { path: path.to_owned(), why };
    let [nx, ny, nz] = volume.dims;
    let m = &volume.patient_from_voxel;
    // LPS to RAS: the first two rows change their sign. The axes are the patient's, so the rotation of
    // the qform is half a turn about z.
    let row = |r: usize, sign: f64| std::array::from_fn::<f32, 4, _>(|c| (sign * m[(r, c)]) as f32);
    let mut header = NiftiHeader {
        pixdim: [m[(0, 0)] as f32; 8],
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
    // Whole numbers: a scanner's own.
    let values: Vec<i16> = volume.intensities.iter().map(|v| v.round() as i16).collect();
    let array = Array3::from_shape_vec((nx, ny, nz).f(), values).map_err(|e| failed(e.to_string()))?;
    WriterOptions::new(path).reference_header(&header).write_nifti(&array).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patient::tests::grown;
    use nifti::{NiftiObject, ReaderOptions};

    fn mean(volume: &Volume, patient: &Patient, wanted: impl Fn(usize) -> bool) -> f32 {
        let (truth, head) = (&patient.truth, &patient.head);
        let at = |i: usize| head.grid.containing(&truth.grid.centre(truth.grid.voxel(i)));
        let found = (0..truth.grid.len()).filter(|i| wanted(*i)).filter_map(at);
        let values: Vec<f32> = found.map(|v| volume.intensities[head.grid.index(v)]).collect();
        values.iter().sum::<f32>() / values.len() as f32
    }

    #[test]
    fn rim_and_oedema_show_and_necrosis_does_not() {
        let p = grown();
        let of = |volume: &Volume, label| mean(volume, &p, |i| p.truth.labels[i] == label);
        let t1c = p.scan(Modality::T1c);
        assert!(of(&t1c, Label::Enhancing) > of(&t1c, Label::White) + 40.0);
        assert!(of(&t1c, Label::Necrosis) < of(&t1c, Label::White) - 40.0);
        let flair = p.scan(Modality::Flair);
        assert!(of(&flair, Label::Infiltrated) > of(&flair, Label::White) + 40.0);
        assert!(t1c.intensities.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn a_written_scan_lies_where_the_patient_does() {
        let p = grown();
        let dir = tempfile::tempdir().expect("a folder");
        let paths = p.write_preoperative(dir.path()).expect("writes");
        let object = ReaderOptions::new().read_file(&paths[0]).expect("reads back");
        let header = object.header().clone();
        let text = String::from_utf8_lossy(&header.descrip).into_owned();
        assert_eq!(text.trim_end_matches('\0'), p.uid());
        let data = object.into_volume().into_nifti_typed_data::<i16>().expect("whole numbers");
        let scan = p.scan(Modality::T1c);
        // A voxel keeps its value, and its place by the file's own RAS affine is its place in LPS.
        let voxel = [60_usize, 100, 90];
        let index = voxel[0] + scan.dims[0] * (voxel[1] + scan.dims[1] * voxel[2]);
        assert!((f32::from(data[index]) - scan.intensities[index]).abs() <= 0.5);
        let row = |r: [f32; 4]| (0..3).map(|a| f64::from(r[a]) * voxel[a] as f64).sum::<f64>() + f64::from(r[3]);
        let ras = [row(header.srow_x), row(header.srow_y), row(header.srow_z)];
        let lps = p.head.grid.centre(voxel);
        assert!((ras[0] + lps.x).abs() < 1e-3 && (ras[1] + lps.y).abs() < 1e-3 && (ras[2] - lps.z).abs() < 1e-3);
        assert!(p.write_preoperative(&dir.path().join("absent")).is_err());
    }
}
