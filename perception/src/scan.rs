//! A scan on a grid: what is brain in it, its intensities in standard deviations of the brain, and its
//! resampling through the volume's affine.
//!
//! **What counts as brain:** a voxel whose intensity differs from the background's by more than 5 % of
//! the way from the background to the 98th percentile. The background is the median of the eight
//! corners, so that scans whose brain was cut out, raw scans with noisy air, and scans that were already
//! normalised (with negative values inside) are all told apart from it. **Not protected against:** bone
//! marrow, fat and muscle of a raw scan, which count as brain here.
//! **Allocation:** when a scan arrives, in [`BrainStatistics::of`]; resampling allocates nothing.

use crate::bits::VoxelBits;
use bregma_core::flow::{Modality, ROI_VOXELS, Volume};
use bregma_core::frame::FrameId;
use bregma_core::grid::Grid;
use nalgebra::{Matrix4, Point3, Vector3};

/// Share of the way from the background to the 98th percentile above which a voxel is brain.
const BRAIN_SHARE: f64 = 0.05;
/// Bins of the histogram that percentiles are read from: 0.02 % of the range each.
const BINS: usize = 4096;

/// Of what the brain usually is brighter than the background, tissue is at least this share.
const TISSUE_SHARE: f32 = 0.55;
/// Brighter than this, in standard deviations from the brain's mean, is tissue and neither fluid nor bone.
const COVERS_Z: f32 = -1.0;

/// A scan that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BadScan {
    /// The number of intensities is not that of voxels.
    #[error("a {modality:?} scan of {dims:?} voxels has {intensities} intensities; one for each voxel is needed")]
    Size {
        /// Its contrast.
        modality: Modality,
        /// Its voxels.
        dims: [usize; 3],
        /// How many intensities came.
        intensities: usize,
    },
    /// An intensity is NaN or infinite.
    #[error("a {modality:?} scan has the intensity {value} at voxel {index}; finite numbers are needed")]
    NotFinite {
        /// Its contrast.
        modality: Modality,
        /// Where.
        index: usize,
        /// What.
        value: f32,
    },
    /// The affine has no inverse.
    #[error(
        "the affine of a {modality:?} scan maps a volume to nothing (determinant {determinant}); it must have an inverse"
    )]
    Affine {
        /// Its contrast.
        modality: Modality,
        /// Of the affine.
        determinant: f64,
    },
    /// There is nothing but background.
    #[error("a {modality:?} scan shows no brain: all its intensities lie near the background's {background}")]
    Blank {
        /// Its contrast.
        modality: Modality,
        /// Of the corners.
        background: f32,
    },
}

/// What is in the scan as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrainStatistics {
    /// Median intensity of the eight corners.
    pub background: f32,
    /// Intensities farther than this from the background are brain.
    pub reach: f32,
    /// Mean over the brain.
    pub mean: f32,
    /// Standard deviation over the brain, above 0.
    pub deviation: f32,
}

impl BrainStatistics {
    /// Looks through a whole scan.
    ///
    /// # Errors
    /// [`BadScan`] when it is malformed or blank.
    pub fn of(volume: &Volume) -> Result<Self, BadScan> {
        let modality = volume.modality;
        let [nx, ny, nz] = volume.dims;
        let data = &volume.intensities;
        let voxels = nx.checked_mul(ny).and_then(|n| n.checked_mul(nz)).unwrap_or(usize::MAX);
        if voxels == 0 || voxels != data.len() {
            return Err(BadScan::Size { modality, dims: volume.dims, intensities: data.len() });
        }
        if let Some((index, value)) = data.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(BadScan::NotFinite { modality, index, value: *value });
        }
        let determinant = volume.patient_from_voxel.determinant();
        if !(determinant.abs() > 1e-9 && determinant.is_finite()) {
            return Err(BadScan::Affine { modality, determinant });
        }
        let mut corners: [f32; 8] = std::array::from_fn(|c| {
            let [i, j, k] = [(c & 1) * (nx - 1), (c >> 1 & 1) * (ny - 1), (c >> 2) * (nz - 1)];
            data[i + nx * (j + ny * k)]
        });
        corners.sort_by(f32::total_cmp);
        let background = corners[3];
        let reach = (BRAIN_SHARE * (percentile_off(data, background, 0.98) - f64::from(background))).abs() as f32;
        let (mut count, mut sum, mut squares) = (0_u64, 0.0_f64, 0.0_f64);
        for value in data.iter().filter(|v| (**v - background).abs() > reach) {
            // Centred on the background, so that large offsets cost no digits.
            let value = f64::from(*value) - f64::from(background);
            count += 1;
            sum += value;
            squares += value * value;
        }
        let mean = sum / count.max(1) as f64;
        let deviation = (squares / count.max(1) as f64 - mean * mean).max(0.0).sqrt();
        if count == 0 || deviation <= 0.0 {
            return Err(BadScan::Blank { modality, background });
        }
        Ok(Self { background, reach, mean: (mean + f64::from(background)) as f32, deviation: deviation as f32 })
    }

    /// Whether an intensity is brain.
    #[must_use]
    pub fn is_brain(&self, intensity: f32) -> bool {
        (intensity - self.background).abs() > self.reach
    }

    /// An intensity in standard deviations from the brain's mean.
    #[must_use]
    pub fn z(&self, intensity: f32) -> f32 {
        (intensity - self.mean) / self.deviation
    }
}

/// A percentile of those intensities that are not exactly the background's; the background when all are.
fn percentile_off(data: &[f32], background: f32, share: f64) -> f64 {
    let bits = background.to_bits();
    let range = || data.iter().filter(|v| v.to_bits() != bits);
    let (low, high) = range().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    if low >= high {
        return f64::from(if low > high { background } else { low });
    }
    let mut bins = vec![0_u64; BINS];
    let scale = (BINS - 1) as f64 / (f64::from(high) - f64::from(low));
    let bin = |v: f32| ((f64::from(v) - f64::from(low)) * scale) as usize;
    range().for_each(|v| bins[bin(*v).min(BINS - 1)] += 1);
    let wanted = (bins.iter().sum::<u64>() as f64 * share).ceil() as u64;
    let mut seen = 0;
    let at = bins
        .iter()
        .position(|n| {
            seen += n;
            seen >= wanted
        })
        .unwrap_or(BINS - 1);
    f64::from(low) + (at as f64 + 0.5) / scale
}

/// A scan, checked, with what is needed to read it at a patient point.
#[derive(Debug, Clone)]
pub struct Scan {
    volume: std::sync::Arc<Volume>,
    voxel_from_patient: Matrix4<f64>,
    /// What is in it.
    pub statistics: BrainStatistics,
}

impl Scan {
    /// Checks a volume and looks through it.
    ///
    /// # Errors
    /// [`BadScan`] when it is malformed or blank.
    pub fn new(volume: std::sync::Arc<Volume>) -> Result<Self, BadScan> {
        let statistics = BrainStatistics::of(&volume)?;
        let (modality, determinant) = (volume.modality, volume.patient_from_voxel.determinant());
        let inverse = volume.patient_from_voxel.try_inverse().filter(|m| m.iter().all(|v| v.is_finite()));
        let voxel_from_patient = inverse.ok_or(BadScan::Affine { modality, determinant })?;
        Ok(Self { volume, voxel_from_patient, statistics })
    }

    /// The volume itself.
    #[must_use]
    pub fn volume(&self) -> &std::sync::Arc<Volume> {
        &self.volume
    }

    /// Takes patient mm to voxels.
    #[must_use]
    pub fn voxel_from_patient(&self) -> &Matrix4<f64> {
        &self.voxel_from_patient
    }

    /// Its frame of reference.
    #[must_use]
    pub fn frame(&self) -> FrameId {
        self.volume.frame
    }

    /// Whether tissue lies over a point, in a direction, within some millimetres of a vessel of this radius: what lies on
    /// the brain's surface has fluid and bone over it, which are dark.
    #[must_use]
    pub fn covered(&self, at: &Point3<f64>, over: &Vector3<f64>, radius_mm: f64) -> bool {
        let tissue = |mm: f64| self.tissue(&(at + over * (radius_mm + mm)));
        [1.5, 2.5, 3.5, 4.5, 5.5].into_iter().filter(|mm| tissue(*mm)).count() >= 3
    }

    /// How much brighter than the background the brain usually is: the median, of every seventh voxel.
    #[must_use]
    pub fn usual(&self) -> f32 {
        let of = self.volume.intensities.iter().step_by(7).filter(|v| self.statistics.is_brain(**v));
        let mut of: Vec<f32> = of.map(|v| v - self.statistics.background).collect();
        of.sort_unstable_by(f32::total_cmp);
        of.get(of.len() / 2).copied().unwrap_or(0.0)
    }

    /// Brighter than this, in standard deviations from the brain's mean, is tissue, and neither fluid nor air: rather more than half as bright as
    /// the brain usually is. On T1c fluid is a third as bright (see the digital patient's contrasts, set around three real gliomas).
    #[must_use]
    pub fn tissue_z(&self) -> f32 {
        self.statistics.z(self.statistics.background + self.tissue_brightness())
    }

    /// The same, over the background.
    #[must_use]
    pub fn tissue_brightness(&self) -> f32 {
        TISSUE_SHARE * self.usual()
    }

    /// How much brighter than the background a point is.
    #[must_use]
    pub fn brightness(&self, at: &Point3<f64>) -> f32 {
        self.intensity(&self.voxel_from_patient.transform_point(at)) - self.statistics.background
    }

    /// Whether a point is as bright as tissue, and neither fluid nor bone.
    fn tissue(&self, at: &Point3<f64>) -> bool {
        self.statistics.z(self.intensity(&self.voxel_from_patient.transform_point(at))) > COVERS_Z
    }

    /// Trilinear z-scores on a 64³ grid; what the scan does not show counts as background. `brain` becomes
    /// the voxels that are brain.
    pub fn resample(&self, grid: &Grid, z: &mut [f32], brain: &mut VoxelBits) {
        assert_eq!((grid.len(), z.len()), (ROI_VOXELS, ROI_VOXELS), "a 64³ grid");
        let step = self.voxel_from_patient.transform_vector(&Vector3::new(grid.spacing_mm, 0.0, 0.0));
        for (row, values) in z.chunks_exact_mut(grid.dims[0]).enumerate() {
            let start = grid.centre([0, row % grid.dims[1], row / grid.dims[1]]);
            let mut at = self.voxel_from_patient.transform_point(&start);
            for value in values {
                *value = self.intensity(&at);
                at += step;
            }
        }
        brain.fill_where(z, |v| self.statistics.is_brain(v));
        z.iter_mut().for_each(|v| *v = self.statistics.z(*v));
    }

    /// Trilinear intensity at fractions of a voxel.
    fn intensity(&self, at: &Point3<f64>) -> f32 {
        let dims = self.volume.dims;
        let mut low = [0_isize; 3];
        let mut part = [0.0_f32; 3];
        for a in 0..3 {
            if !(at[a] > -1.0 && at[a] < dims[a] as f64) {
                return self.statistics.background;
            }
            let floor = at[a].floor();
            low[a] = floor as isize;
            part[a] = (at[a] - floor) as f32;
        }
        let data = &self.volume.intensities;
        let read = |i: isize, j: isize, k: isize| {
            let inside = [i, j, k].iter().zip(dims).all(|(v, n)| *v >= 0 && (*v as usize) < n);
            if inside {
                data[i as usize + dims[0] * (j as usize + dims[1] * k as usize)]
            } else {
                self.statistics.background
            }
        };
        let [i, j, k] = low;
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let line = |j: isize, k: isize| mix(read(i, j, k), read(i + 1, j, k), part[0]);
        mix(mix(line(j, k), line(j + 1, k), part[1]), mix(line(j, k + 1), line(j + 1, k + 1), part[1]), part[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::roi_grid;
    use bregma_core::time::Instant;
    use std::sync::Arc;

    fn volume(dims: [usize; 3], patient_from_voxel: Matrix4<f64>, value: impl Fn([usize; 3]) -> f32) -> Volume {
        let intensities = (0..dims.iter().product())
            .map(|n: usize| value([n % dims[0], n / dims[0] % dims[1], n / dims[0] / dims[1]]))
            .collect();
        Volume {
            modality: Modality::T1c,
            dims,
            intensities,
            patient_from_voxel,
            frame: FrameId::SOLE,
            acquired: Instant::START,
            shift: None,
        }
    }

    #[test]
    fn a_ramp_comes_back_through_a_flipped_and_scaled_affine() {
        let mut affine = Matrix4::new_nonuniform_scaling(&Vector3::new(-2.0, 1.0, 3.0));
        affine.set_column(3, &nalgebra::Vector4::new(70.0, -80.0, -90.0, 1.0));
        let inner = |n: usize, size: usize| n > 0 && n + 1 < size;
        let dims = [70, 160, 60];
        let ramp = |v: [usize; 3]| {
            let brain = (0..3).all(|a| inner(v[a], dims[a]));
            if brain { 100.0 + 1.0 * v[0] as f32 + 2.0 * v[1] as f32 + 0.5 * v[2] as f32 } else { 0.0 }
        };
        let scan = Scan::new(Arc::new(volume(dims, affine, ramp))).expect("sound");
        let grid = roi_grid(Point3::new(0.3, 0.1, -0.2));
        let (mut z, mut brain) = (vec![0.0; ROI_VOXELS], VoxelBits::new());
        scan.resample(&grid, &mut z, &mut brain);
        assert_eq!(brain.count(), ROI_VOXELS);
        for index in [0, 777, 100_000, ROI_VOXELS - 1] {
            let at = grid.centre(grid.voxel(index));
            let truth = 100.0 + (70.0 - at.x) / 2.0 + 2.0 * (at.y + 80.0) + 0.5 * (at.z + 90.0) / 3.0;
            let got = z[index] * scan.statistics.deviation + scan.statistics.mean;
            assert!((f64::from(got) - truth).abs() < 0.01, "{got} is not {truth}");
        }
    }

    #[test]
    fn the_brain_is_told_from_air_that_is_noisy_and_from_values_that_are_negative() {
        let inside = |v: [usize; 3]| v.iter().all(|c| (8..24).contains(c));
        let noise = |v: [usize; 3]| ((v[0] * 7 + v[1] * 13 + v[2] * 29) % 11) as f32;
        let raw = volume([32; 3], Matrix4::identity(), |v| if inside(v) { 300.0 + 10.0 * noise(v) } else { noise(v) });
        let s = BrainStatistics::of(&raw).expect("sound");
        assert!(s.is_brain(300.0) && !s.is_brain(10.0) && (s.mean - 350.0).abs() < 5.0);
        let normalised = volume([32; 3], Matrix4::identity(), |v| if inside(v) { noise(v) - 5.5 } else { 0.0 });
        let s = BrainStatistics::of(&normalised).expect("sound");
        assert!(s.is_brain(-3.0) && !s.is_brain(0.0) && s.mean.abs() < 1.0);
    }

    #[test]
    fn malformed_scans_are_refused_with_the_reason() {
        let sound = volume([4; 3], Matrix4::identity(), |v| v[0] as f32 * 10.0);
        let refused = |change: &dyn Fn(&mut Volume)| {
            let mut bad = sound.clone();
            change(&mut bad);
            Scan::new(Arc::new(bad)).expect_err("refused").to_string()
        };
        assert!(refused(&|v| v.intensities.truncate(9)).contains("has 9 intensities"));
        assert!(refused(&|v| v.intensities[7] = f32::NAN).contains("NaN at voxel 7"));
        assert!(refused(&|v| v.patient_from_voxel.fill(0.0)).contains("determinant 0"));
        assert!(refused(&|v| v.intensities.fill(3.0)).contains("no brain"));
    }
}
