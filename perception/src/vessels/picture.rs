//! A volume that was checked, in units of its tissue's brightness, and where its voxels lie.
//!
//! **Units:** mm, patient LPS; brightness 0 is the darkest percentile of the volume, 1 its tissue: the median of what
//! is brighter than half-way from the darkest to the mean, which air is not. Both are of where vessels are looked for.
//! **Allocation:** 4 bytes a voxel. **Not protected against:** volumes of something else than a head.

use super::{VesselError, Within};
use bregma_core::flow::Volume;
use nalgebra::{Matrix3, Matrix4, Point3, Vector3};

/// Fewest voxels along an axis: a second derivative with neighbours on both sides.
pub(super) const EDGE_MIN: usize = 5;
/// Most voxels; about 50 bytes each are allocated.
pub(super) const VOXELS_MAX: usize = 80_000_000;
/// Edges of a voxel, mm: finer ones would make windows too large, coarser ones show no vessel.
pub(super) const STEP_MM: [f64; 2] = [0.1, 3.0];
/// A scan has at least so many different values.
pub(super) const VALUES_MIN: usize = 16;
/// Every so-manieth voxel is looked at for percentiles.
const STRIDE: usize = 7;
/// Brightness is cut off there, so that a broken voxel does not spoil what is around it.
const BRIGHTNESS_MAX: f64 = 50.0;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    /// Voxels along x, y, z.
    pub dims: [usize; 3],
    /// Of each voxel.
    pub brightness: Vec<f32>,
    /// Standard deviation of white noise that would explain how neighbours differ.
    pub noise: f64,
    /// Distance from voxel to voxel along each axis, mm.
    pub step_mm: [f64; 3],
    /// Takes a direction in mm to voxels.
    pub turn: Matrix3<f64>,
    patient_from_voxel: Matrix4<f64>,
    voxel_from_patient: Matrix4<f64>,
}

impl Picture {
    /// Checks a volume and scales it.
    ///
    /// # Errors
    /// [`VesselError`] with what is wrong.
    pub fn new(volume: &Volume, within: Option<&Within<'_>>) -> Result<Self, VesselError> {
        check_voxels(volume)?;
        let patient_from_voxel = volume.patient_from_voxel;
        let (step_mm, voxel_from_patient) = check_affine(&patient_from_voxel)?;
        let turn = voxel_from_patient.fixed_view::<3, 3>(0, 0).into_owned();
        let mut of = Self {
            dims: volume.dims,
            brightness: volume.intensities.clone(),
            noise: 0.0,
            step_mm,
            turn,
            patient_from_voxel,
            voxel_from_patient,
        };
        let [dark, tissue] = of.range(within);
        let scale = |v: f32| ((f64::from(v) - dark) / (tissue - dark)).clamp(-BRIGHTNESS_MAX, BRIGHTNESS_MAX);
        of.brightness.iter_mut().for_each(|v| *v = scale(*v) as f32);
        of.noise = noise(&of.brightness, of.dims);
        Ok(of)
    }

    /// Intensities of brightness 0 and 1.
    fn range(&self, within: Option<&Within<'_>>) -> [f64; 2] {
        let wanted = |i: &usize| within.is_none_or(|within| within(&self.centre(self.voxel(*i))));
        let places = (0..self.brightness.len()).step_by(STRIDE).filter(wanted);
        let mut sample: Vec<f32> = places.map(|i| self.brightness[i]).collect();
        let dark = f64::from(percentile(&mut sample, 0.01));
        let mean = sample.iter().map(|v| f64::from(*v)).sum::<f64>() / sample.len().max(1) as f64;
        sample.retain(|v| f64::from(*v) > 0.5 * (dark + mean));
        let tissue = f64::from(percentile(&mut sample, 0.5));
        if tissue > dark {
            return [dark, tissue];
        }
        // Nearly all voxels are equal, or none is looked at: the whole range counts.
        let (low, high) = self.brightness.iter().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        [f64::from(low), f64::from(high)]
    }

    /// Where a voxel lies in memory.
    pub const fn index(&self, [i, j, k]: [usize; 3]) -> usize {
        i + self.dims[0] * (j + self.dims[1] * k)
    }

    /// Which voxel lies at `index`.
    pub const fn voxel(&self, index: usize) -> [usize; 3] {
        let (nx, ny) = (self.dims[0], self.dims[1]);
        [index % nx, (index / nx) % ny, index / (nx * ny)]
    }

    /// Centre of a voxel, mm.
    pub fn centre(&self, voxel: [usize; 3]) -> Point3<f64> {
        self.patient_from_voxel.transform_point(&Point3::from(voxel.map(|n| n as f64)))
    }

    /// The smallest edge of a voxel, mm.
    pub fn finest_mm(&self) -> f64 {
        self.step_mm.into_iter().fold(f64::INFINITY, f64::min)
    }

    /// Calls `visit` with every voxel within `reach_mm` of a point: index and offset from the point, mm.
    pub fn around(&self, at: &Point3<f64>, reach_mm: f64, mut visit: impl FnMut(usize, &Vector3<f64>)) {
        let middle = self.voxel_from_patient.transform_point(at);
        let range: [std::ops::Range<usize>; 3] = std::array::from_fn(|a| {
            // A ball's shadow on a voxel axis: the length of that row of the inverse.
            let reach = reach_mm * self.turn.row(a).norm();
            let low = (middle[a] - reach).ceil().max(0.0) as usize;
            let high = ((middle[a] + reach).floor() + 1.0).clamp(0.0, self.dims[a] as f64) as usize;
            low.min(high)..high
        });
        let step = self.patient_from_voxel.fixed_view::<3, 1>(0, 0).into_owned();
        for (k, j) in range[2].clone().flat_map(|k| range[1].clone().map(move |j| (k, j))) {
            let mut offset = self.centre([range[0].start, j, k]) - at;
            for i in range[0].clone() {
                if offset.norm_squared() <= reach_mm * reach_mm {
                    visit(self.index([i, j, k]), &offset);
                }
                offset += step;
            }
        }
    }
}

fn check_voxels(volume: &Volume) -> Result<(), VesselError> {
    let (dims, data) = (volume.dims, &volume.intensities);
    let voxels = dims[0].checked_mul(dims[1]).and_then(|n| n.checked_mul(dims[2])).unwrap_or(usize::MAX);
    if voxels != data.len() || voxels == 0 {
        return Err(VesselError::Size { dims, intensities: data.len() });
    }
    if voxels > VOXELS_MAX {
        return Err(VesselError::Large { dims });
    }
    if dims.iter().any(|n| *n < EDGE_MIN) {
        return Err(VesselError::Flat { dims });
    }
    if let Some((index, value)) = data.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(VesselError::NotFinite { index, value: *value });
    }
    let mut values: Vec<u32> = Vec::with_capacity(VALUES_MIN);
    for bits in data.iter().map(|v| v.to_bits()) {
        if values.len() == VALUES_MIN {
            return Ok(());
        }
        if !values.contains(&bits) {
            values.push(bits);
        }
    }
    match values.len() {
        VALUES_MIN => Ok(()),
        1 => Err(VesselError::Constant { value: data[0] }),
        values => Err(VesselError::Labels { values }),
    }
}

/// Edges of a voxel and the inverse.
fn check_affine(patient_from_voxel: &Matrix4<f64>) -> Result<([f64; 3], Matrix4<f64>), VesselError> {
    let bottom = patient_from_voxel.row(3);
    let determinant = patient_from_voxel.determinant();
    let affine = patient_from_voxel.iter().all(|v| v.is_finite())
        && [0.0, 0.0, 0.0, 1.0].iter().zip(bottom.iter()).all(|(a, b)| (a - b).abs() < 1e-9);
    let step_mm: [f64; 3] = std::array::from_fn(|a| patient_from_voxel.fixed_view::<3, 1>(0, a).norm());
    // Skewed until it is nearly flat is as bad as flat.
    let upright = determinant.abs() > 0.5 * step_mm.iter().product::<f64>();
    let inverse = patient_from_voxel.try_inverse().filter(|m| affine && upright && m.iter().all(|v| v.is_finite()));
    let inverse = inverse.ok_or(VesselError::Affine { determinant })?;
    match step_mm.into_iter().find(|s| !(STEP_MM[0]..=STEP_MM[1]).contains(s)) {
        Some(step_mm) => Err(VesselError::Step { step_mm }),
        None => Ok((step_mm, inverse)),
    }
}

/// By how much neighbours along x differ, as noise: the median's share of a normal distribution, over √2.
fn noise(brightness: &[f32], dims: [usize; 3]) -> f64 {
    let rows = brightness.chunks_exact(dims[0]).step_by(STRIDE);
    let mut steps: Vec<f32> = rows.flat_map(|row| row.windows(2).map(|w| (w[1] - w[0]).abs())).collect();
    f64::from(percentile(&mut steps, 0.5)) / 0.6745 * std::f64::consts::FRAC_1_SQRT_2
}

/// A percentile; 0 of nothing. Reorders the values.
pub(super) fn percentile(values: &mut [f32], share: f64) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let place = (share * (values.len() - 1) as f64).round() as usize;
    *values.select_nth_unstable_by(place, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::super::phantom::{Phantom, affine};
    use super::*;

    #[test]
    fn around_finds_every_voxel_of_a_ball_in_a_turned_lattice() {
        let picture =
            Picture::new(&Phantom::new([20, 24, 16], affine([0.5, 0.4, -0.9])).volume(), None).expect("sound");
        let at = picture.centre([9, 13, 7]) + Vector3::new(0.13, -0.2, 0.31);
        let mut found = Vec::new();
        picture.around(&at, 2.1, |index, offset| {
            assert!((at + offset - picture.centre(picture.voxel(index))).norm() < 1e-9);
            found.push(index);
        });
        let near = |i: &usize| (picture.centre(picture.voxel(*i)) - at).norm() <= 2.1;
        let wanted: Vec<usize> = (0..picture.brightness.len()).filter(near).collect();
        assert!(wanted.len() > 100);
        assert_eq!(found, wanted);
    }

    #[test]
    fn noise_is_measured_in_the_tissues_brightness() {
        let mut phantom = Phantom::new([40; 3], affine([0.5; 3]));
        phantom.noise = 6.0;
        // The darkest percentile of all is the sixth of air: 10 − 1.55 σ; tissue is 100.
        let picture = Picture::new(&phantom.volume(), None).expect("sound");
        assert!((picture.noise * (90.0 + 1.55 * 6.0) / 6.0 - 1.0).abs() < 0.06, "{}", picture.noise);
    }
}
