//! The scanner: T1, T1c, T2 and FLAIR of the whole head at 1 mm, and an MRA of 0.5 mm around the tumour.
//!
//! [`contrasts`] says how bright tissue is, this file paints the head with it, [`intraop`] what surgery
//! added, [`mra`] flowing blood, and [`artefacts`] what the picture suffers. [`nifti`] and [`dicom`] write
//! files. **Frames:** patient LPS, mm. **Units:** painted over white matter's intensity; scans in a
//! scanner's own, white matter at about 222. **Allocation:** about 60 MB a scan. **Determinism:** contrasts
//! by the patient's seed, artefacts by seed, time and modality.

pub(crate) mod artefacts;
pub(crate) mod contrasts;
mod dicom;
pub(crate) mod figures;
mod intraop;
mod mra;
mod nifti;

use crate::anatomy::head::{Head, SCALP_OUTER_MM, SKULL_INNER_MM, SKULL_OUTER_MM, tissue};
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::truth::Label;
use crate::tumour::noise;
use artefacts::Artefacts;
use bregma_core::flow::{Modality, Volume};
use bregma_core::time::Instant;
use contrasts::{ContrastMode, Contrasts};
use nalgebra::{Matrix4, Point3, Vector3};
use std::path::{Path, PathBuf};

/// Thinnest vessel that T1c shows in part, radius.
const SHOWN_RADIUS_MM: f64 = 0.4;
/// Intensity of white matter in the files, before the patient's gain.
const WHITE: f32 = 222.0;
/// Air's intensity over white matter's, before noise.
const AIR: f32 = 0.005;
/// Cell densities between which oedema's water rises from nothing to all.
const WATER: [f32; 2] = [0.04, 0.28];

/// What scans are drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScannerSettings {
    /// Contrasts.
    pub contrasts: ContrastMode,
    /// Share of FLAIR and T2 scans with slices of 2 to 5 mm.
    pub thick_share: f64,
    /// Share of scans in which the patient moved.
    pub motion_share: f64,
    /// Share of scans that do not cover the whole head.
    pub partial_share: f64,
    /// By how much noise is stronger in the middle of the head than outside it, as parallel imaging has it; a
    /// share.
    pub noise_rise: f64,
}

impl Default for ScannerSettings {
    fn default() -> Self {
        Self {
            contrasts: ContrastMode::Measured,
            thick_share: 0.1,
            motion_share: 0.1,
            partial_share: 0.05,
            noise_rise: 0.0,
        }
    }
}

impl ScannerSettings {
    /// Of the foreign world: another scanner's contrasts, more of what spoils scans, uneven noise.
    #[must_use]
    pub const fn foreign() -> Self {
        Self {
            contrasts: ContrastMode::Foreign,
            thick_share: 0.3,
            motion_share: 0.25,
            partial_share: 0.1,
            noise_rise: 1.5,
        }
    }

    /// The first share that is none.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let shares = [
            ("scanner.thick_share", self.thick_share),
            ("scanner.motion_share", self.motion_share),
            ("scanner.partial_share", self.partial_share),
        ];
        if !(0.0..=5.0).contains(&self.noise_rise) {
            return Err(("scanner.noise_rise", self.noise_rise.to_string()));
        }
        let wrong = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share));
        wrong.map_or(Ok(()), |(name, share)| Err((name, share.to_string())))
    }
}

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
            nifti::write(&self.scan(modality), self.uid(), path)?;
        }
        Ok(paths)
    }

    /// Writes any scan of this patient as a NIfTI file, `.nii` or `.nii.gz` by its name.
    ///
    /// # Errors
    /// [`WriteScanError`] with the file and what is wrong.
    pub fn write_nifti(&self, volume: &Volume, path: &Path) -> Result<(), WriteScanError> {
        nifti::write(volume, self.uid(), path)
    }

    /// Writes any scan of this patient as a DICOM series, one file a slice, into a folder that exists.
    ///
    /// # Errors
    /// [`WriteScanError`] with the file and what is wrong.
    pub fn write_dicom(&self, volume: &Volume, dir: &Path) -> Result<Vec<PathBuf>, WriteScanError> {
        dicom::write(volume, self.seed, self.uid(), dir)
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
            shift: None,
        };
        nifti::write(&map, self.uid(), &path)?;
        Ok(path)
    }

    /// A scan with what is open by then: `open[i]` for each truth voxel; nothing has moved.
    pub(crate) fn scan_with(&self, modality: Modality, acquired: Instant, open: Option<&[bool]>) -> Volume {
        self.scan_moved(modality, acquired, open, None)
    }

    fn contrasts(&self, modality: Modality) -> Contrasts {
        Contrasts::drawn(self.seed, modality, self.scanner.contrasts, self.enhances)
    }

    /// The head at rest before surgery, over white matter's intensity.
    fn paint(&self, modality: Modality, contrasts: &Contrasts) -> Vec<f32> {
        let mut picture = brain_and_shells(&self.head, contrasts);
        self.add_tumour(contrasts, &mut picture);
        if matches!(modality, Modality::T1c | Modality::T2) {
            self.add_vessels(contrasts.vessel, &mut picture);
        }
        picture
    }

    /// Puts a painted picture through the scanner.
    fn acquire(&self, modality: Modality, acquired: Instant, mut picture: Vec<f32>) -> Volume {
        let head = &self.head;
        let mut draws = Draws::new(self.seed ^ acquired.nanos() ^ (modality as u64) << 60, Purpose::Scan);
        let gain = WHITE * draws.uniform(0.9, 1.1) as f32;
        let artefacts = Artefacts::drawn(&mut draws, &self.scanner, modality);
        artefacts.apply(&mut picture, head.grid.dims, 1.0, gain);
        let [nx, ny, _] = head.grid.dims;
        let (intensities, slices, first, step) = artefacts.sliced(picture, head.grid.dims);
        let [x, y, z] = head.grid.origin;
        Volume {
            modality,
            dims: [nx, ny, slices],
            intensities,
            patient_from_voxel: Matrix4::new_translation(&Vector3::new(x, y, z + first))
                .prepend_nonuniform_scaling(&Vector3::new(1.0, 1.0, step)),
            frame: self.frame(),
            acquired,
            shift: None,
        }
    }

    fn add_tumour(&self, contrasts: &Contrasts, picture: &mut [f32]) {
        let truth = &self.truth;
        let texture = noise::field(&truth.grid, 5.0, Draws::new(self.seed, Purpose::Contrast).bits());
        let [nx, _, _] = truth.grid.dims;
        for row in 0..truth.grid.len() / nx {
            let start = row * nx;
            if truth.density[start..start + nx].iter().all(|u| *u <= WATER[0]) {
                continue;
            }
            for (i, texture) in texture.iter().enumerate().skip(start).take(nx) {
                let u = truth.density[i];
                let label = truth.labels[i];
                if u <= WATER[0] || !label.tissue() {
                    continue;
                }
                let at = truth.grid.centre(truth.grid.voxel(i));
                let Some(voxel) = self.head.grid.containing(&at) else { continue };
                let value = &mut picture[self.head.grid.index(voxel)];
                let varied = |level: f32, share: f32| level * (1.0 + share * texture.clamp(-2.5, 2.5));
                *value = match label {
                    // The agent's part of the rim varies, not the tissue below it.
                    Label::Enhancing => 1.0 + (contrasts.rim - 1.0) * varied(1.0, contrasts.patchy),
                    Label::Necrosis => varied(contrasts.necrosis, 0.08),
                    _ => {
                        let water = ((u - WATER[0]) / (WATER[1] - WATER[0])).min(1.0);
                        *value + water * (varied(contrasts.oedema, 0.06) - *value)
                    }
                };
            }
        }
    }

    fn add_vessels(&self, level: f32, picture: &mut [f32]) {
        let grid = &self.head.grid;
        for vessel in self.vessels.iter().filter(|v| v.radius_mm >= SHOWN_RADIUS_MM) {
            let middle: Point3<f64> = nalgebra::center(&vessel.start, &vessel.end);
            let reach = vessel.radius_mm + 1.0 + 0.5 * nalgebra::distance(&vessel.start, &vessel.end);
            let [xs, ys, zs] = grid.around(&middle, reach);
            for (k, j) in zs.flat_map(|k| ys.clone().map(move |j| (k, j))) {
                for i in xs.clone() {
                    // Share of the voxel that is blood, linear over its width.
                    let share = (0.5 - vessel.distance_mm(&grid.centre([i, j, k]))).clamp(0.0, 1.0) as f32;
                    if share > 0.0 {
                        let value = &mut picture[grid.index([i, j, k])];
                        *value += share * (level - *value);
                    }
                }
            }
        }
    }
}

/// Brain by its T1, and what lies around it by its distance.
fn brain_and_shells(head: &Head, contrasts: &Contrasts) -> Vec<f32> {
    let of_t1 = contrasts.of_t1();
    let outside = |above: f32| match f64::from(above) {
        a if a < SKULL_INNER_MM => contrasts.dura,
        a if a < SKULL_OUTER_MM => contrasts.bone,
        a if a < SCALP_OUTER_MM => contrasts.scalp,
        _ => AIR,
    };
    let [nx, ny, _] = head.grid.dims;
    let mut depths = vec![0.0; nx];
    let mut picture = Vec::with_capacity(head.grid.len());
    for row in 0..head.grid.len() / nx {
        let tissues = &head.tissue[row * nx..(row + 1) * nx];
        let t1 = &head.t1[row * nx..(row + 1) * nx];
        let inside = tissues.iter().all(|t| *t != tissue::OUTSIDE);
        if !inside {
            depth_row(head, row % ny, row / ny, &mut depths);
        }
        picture.extend(tissues.iter().zip(t1).zip(&depths).map(|((t, t1), depth)| match *t {
            tissue::OUTSIDE => outside(-depth),
            _ => of_t1[usize::from(*t1)],
        }));
    }
    picture
}

/// Depth below the brain's surface along one row of the head's grid, from the coarse grid at twice its
/// spacing: a fine voxel lies a quarter of a coarse one from the nearest centre.
fn depth_row(head: &Head, j: usize, k: usize, depths: &mut [f32]) {
    let coarse = &head.coarse;
    let near = |fine: usize, n: usize| {
        let c = fine as f32 / 2.0 - 0.25;
        let low = (c.max(0.0) as usize).min(n - 1);
        (low, (low + 1).min(n - 1), (c - low as f32).clamp(0.0, 1.0))
    };
    let [nx, ny, nz] = coarse.dims;
    let ((y0, y1, fy), (z0, z1, fz)) = (near(j, ny), near(k, nz));
    let line = |y: usize, z: usize| &head.depth[nx * (y + ny * z)..][..nx];
    let (a, b, c, d) = (line(y0, z0), line(y1, z0), line(y0, z1), line(y1, z1));
    let at = |i: usize| {
        let (low, high) = (a[i] + (b[i] - a[i]) * fy, c[i] + (d[i] - c[i]) * fy);
        low + (high - low) * fz
    };
    for (i, depth) in depths.iter_mut().enumerate() {
        let (x0, x1, fx) = near(i, nx);
        let (low, high) = (at(x0), at(x1));
        *depth = low + (high - low) * fx;
    }
}

#[cfg(test)]
mod tests;
