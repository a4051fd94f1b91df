//! The skin in a T1-weighted scan: points of the head's outer surface with their normals, for registration by a traced surface.
//!
//! Air is told from tissue by the histogram (Otsu, IEEE SMC 9, 1979); the head is the largest piece of what cannot be reached
//! through air; each voxel of its rim is moved along the normal, the gradient of the smoothed head, to where the intensity is
//! half of what the skin next to it has. A point from which the way out along its normal meets the head
//! again (nostrils, airways, between ear and scalp) is left out.
//!
//! **Units and frames:** patient LPS, mm; normals point outwards. **Refused:** a scan without air around a head; and one
//! without skin, as after skull stripping: below the surface no dark bone lies between two brighter layers. **Allocation:**
//! some bytes a voxel. **Not protected against:** pads and coils that touch the head; wrap-around; a
//! face that was removed for anonymity, of which what is left is a surface too; scans in which bone is bright (CT, UTE).

use bregma_core::flow::Volume;
use nalgebra::{Matrix3, Matrix4, Point3, Vector3};

/// Bins of the histogram.
const BINS: usize = 512;
/// What is above this share of all is not in the histogram: vessels and fat.
const BRIGHT: f64 = 0.995;
/// From air to tissue, where a voxel counts as head.
const RIM: f64 = 0.35;
/// Radius over which the head is smoothed for its normals, mm, three times.
const SMOOTH_MM: f64 = 2.0;
/// How far around a rim's voxel the surface is sought, mm.
const SOUGHT_MM: f64 = 4.0;
/// Steps along a normal, mm.
const STEP_MM: f64 = 0.25;
/// Where the way out is looked at, from the surface on, mm.
const OUT_FROM_MM: f64 = 3.0;
/// Skin, fat and muscle are at most so thick over the vault, mm.
const SCALP_MM: f64 = 12.0;
/// And bone ends before, mm.
const BONE_MM: f64 = 22.0;
/// Brain, or marrow, is sought as far as this, mm.
const BELOW_MM: f64 = 32.0;
/// Bone is at most so bright as a share of the darker one of what lies above and below.
const BONE_DARK: f64 = 0.6;
/// It is at least so thick, mm; sulci are narrower.
const BONE_THICK_MM: f64 = 3.0;
/// Share of the surface below which bone must be seen.
pub const BONE_SEEN: f64 = 0.3;
/// Share of the scan's outermost voxels that may be head, where it is cut at the neck or the nose.
const EDGES_MAX: f64 = 0.4;
/// A head in the scan has at least this volume, mL: what is smaller is none, or cut off.
const HEAD_ML: f64 = 500.0;
/// Fewest points of a surface that is worth having.
const POINTS_MIN: usize = 1000;

/// Why a scan has no skin.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Skinless {
    /// All is alike, or nothing is outside.
    #[error("the scan shows no air around a head: {what}")]
    NoAir {
        /// What it shows.
        what: &'static str,
    },
    /// The largest piece is no head.
    #[error("the largest thing in the scan has {ml:.0} mL; a head has {HEAD_ML:.0} mL at least")]
    NoHead {
        /// Its volume.
        ml: f64,
    },
    /// There is a brain, and no skin.
    #[error(
        "the scan has no skin: below {percent:.0} % of its surface lies bone between scalp and brain, at least {} % is right. \
         Was the skull stripped? A traced skin needs the scan as it came from the scanner",
        BONE_SEEN * 100.0
    )]
    NoSkin {
        /// Of a hundred points, those above bone.
        percent: f64,
    },
}

/// The outer surface of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct Skin {
    /// On it, patient LPS, mm.
    pub points: Vec<Point3<f64>>,
    /// Outwards, of length 1, one for each point.
    pub normals: Vec<Vector3<f64>>,
    /// Volume within, as far as the scan reaches, mL.
    pub head_ml: f64,
    /// Share of points below which bone lies between two brighter layers.
    pub bone_seen: f64,
}

/// Finds it.
///
/// # Errors
/// [`Skinless`].
pub fn of_scan(scan: &Volume) -> Result<Skin, Skinless> {
    let grid = Grid::new(scan)?;
    let (air, tissue) = levels(&scan.intensities)?;
    let rim = air + RIM as f32 * (tissue - air);
    let mut head: Vec<bool> = scan.intensities.iter().map(|v| *v > rim).collect();
    // Before pieces are told apart: bone separates scalp from brain.
    grid.fill(&mut head);
    if grid.share_of_edges(&head) > EDGES_MAX {
        return Err(Skinless::NoAir { what: "it is mostly bright along its edges" });
    }
    grid.keep_largest(&mut head);
    let head_ml = head.iter().filter(|h| **h).count() as f64 * grid.voxel_mm3 * 1e-3;
    if head_ml < HEAD_ML {
        return Err(Skinless::NoHead { ml: head_ml });
    }
    let smooth = grid.smoothed(&head);
    let (mut points, mut normals, mut bone) = (Vec::new(), Vec::new(), 0_usize);
    for index in (0..head.len()).filter(|i| head[*i] && grid.at_rim(&head, *i)) {
        let Some(outwards) = grid.outwards(&smooth, index) else { continue };
        let Some(point) = grid.surface(scan, index, &outwards, f64::from(air)) else { continue };
        if !grid.leaves(&head, &point, &outwards) {
            continue;
        }
        bone += usize::from(grid.above_bone(scan, &point, &outwards, f64::from(air)));
        points.push(point);
        normals.push(outwards);
    }
    if points.len() < POINTS_MIN {
        return Err(Skinless::NoAir { what: "its edges cut what it shows on all sides" });
    }
    let bone_seen = bone as f64 / points.len() as f64;
    if bone_seen < BONE_SEEN {
        return Err(Skinless::NoSkin { percent: bone_seen * 100.0 });
    }
    Ok(Skin { points, normals, head_ml, bone_seen })
}

/// Intensities of air and of tissue: medians of both sides of Otsu's threshold.
fn levels(intensities: &[f32]) -> Result<(f32, f32), Skinless> {
    let least = intensities.iter().copied().fold(f32::INFINITY, f32::min);
    let mut sorted = intensities.to_vec();
    let place = ((sorted.len() as f64 * BRIGHT) as usize).min(sorted.len().saturating_sub(1));
    let most = if sorted.is_empty() { least } else { *sorted.select_nth_unstable_by(place, f32::total_cmp).1 };
    // Nor where an intensity is no number.
    if most.partial_cmp(&least) != Some(std::cmp::Ordering::Greater) {
        return Err(Skinless::NoAir { what: "it is equally bright everywhere" });
    }
    let width = (most - least) / BINS as f32;
    let mut bins = [0_u64; BINS];
    for value in intensities {
        bins[(((value - least) / width) as usize).min(BINS - 1)] += 1;
    }
    let split = otsu(&bins);
    let median = |range: std::ops::Range<usize>| {
        let all: u64 = bins[range.clone()].iter().sum();
        let mut below = 0;
        let middle = range.clone().find(|bin| {
            below += bins[*bin];
            below * 2 >= all
        });
        least + (middle.unwrap_or(range.start) as f32 + 0.5) * width
    };
    Ok((median(0..split), median(split..BINS)))
}

/// The first bin of the brighter class.
fn otsu(bins: &[u64; BINS]) -> usize {
    let all: f64 = bins.iter().map(|n| *n as f64).sum();
    let whole: f64 = bins.iter().enumerate().map(|(bin, n)| bin as f64 * *n as f64).sum();
    let (mut count, mut sum, mut best, mut split) = (0.0, 0.0, -1.0, 1);
    for (bin, n) in bins[..BINS - 1].iter().enumerate() {
        count += *n as f64;
        sum += bin as f64 * *n as f64;
        let between = (whole * count / all - sum).powi(2) / (count * (all - count)).max(1.0);
        if between > best {
            (best, split) = (between, bin + 1);
        }
    }
    split
}

/// The scan's voxels and where they lie.
struct Grid {
    dims: [usize; 3],
    patient_from_voxel: Matrix4<f64>,
    voxel_from_patient: Matrix4<f64>,
    /// Takes gradients over voxels to the patient's axes.
    gradients: Matrix3<f64>,
    spacing_mm: [f64; 3],
    voxel_mm3: f64,
}

impl Grid {
    fn new(scan: &Volume) -> Result<Self, Skinless> {
        let axes = scan.patient_from_voxel.fixed_view::<3, 3>(0, 0).into_owned();
        let inverses = scan.patient_from_voxel.try_inverse().zip(axes.transpose().try_inverse());
        let sound = scan.dims.iter().product::<usize>() == scan.intensities.len();
        let Some((voxel_from_patient, gradients)) = inverses.filter(|_| sound) else {
            return Err(Skinless::NoAir { what: "its voxels do not span space" });
        };
        Ok(Self {
            dims: scan.dims,
            patient_from_voxel: scan.patient_from_voxel,
            voxel_from_patient,
            gradients,
            spacing_mm: std::array::from_fn(|axis| axes.column(axis).norm()),
            voxel_mm3: axes.determinant().abs(),
        })
    }

    fn place(&self, index: usize) -> [usize; 3] {
        [index % self.dims[0], index / self.dims[0] % self.dims[1], index / (self.dims[0] * self.dims[1])]
    }

    /// Voxels that share a face.
    fn beside(&self, index: usize) -> impl Iterator<Item = usize> + use<> {
        let (place, dims) = (self.place(index), self.dims);
        let strides = [1, dims[0], dims[0] * dims[1]];
        (0..3).flat_map(move |axis| {
            let before = (place[axis] > 0).then(|| index - strides[axis]);
            let behind = (place[axis] + 1 < dims[axis]).then(|| index + strides[axis]);
            [before, behind].into_iter().flatten()
        })
    }

    fn at_edge(&self, index: usize) -> bool {
        let place = self.place(index);
        (0..3).any(|axis| place[axis] == 0 || place[axis] + 1 == self.dims[axis])
    }

    fn share_of_edges(&self, set: &[bool]) -> f64 {
        let (mut all, mut within) = (0_usize, 0_usize);
        for index in (0..set.len()).filter(|i| self.at_edge(*i)) {
            all += 1;
            within += usize::from(set[index]);
        }
        within as f64 / all.max(1) as f64
    }

    /// Keeps the largest piece whose voxels share faces.
    fn keep_largest(&self, set: &mut [bool]) {
        let mut piece_of = vec![0_u32; set.len()];
        let (mut pieces, mut largest, mut most, mut open) = (0, 0, 0, Vec::new());
        for start in 0..set.len() {
            if !set[start] || piece_of[start] > 0 {
                continue;
            }
            pieces += 1;
            piece_of[start] = pieces;
            open.push(start);
            let mut count = 0;
            while let Some(here) = open.pop() {
                count += 1;
                for next in self.beside(here) {
                    if set[next] && piece_of[next] == 0 {
                        piece_of[next] = pieces;
                        open.push(next);
                    }
                }
            }
            if count > most {
                (largest, most) = (pieces, count);
            }
        }
        for (keep, piece) in set.iter_mut().zip(piece_of) {
            *keep = *keep && piece == largest;
        }
    }

    /// Sets what cannot be reached from the grid's edges.
    fn fill(&self, set: &mut [bool]) {
        let mut outside = vec![false; set.len()];
        let mut open: Vec<usize> = (0..set.len()).filter(|i| !set[*i] && self.at_edge(*i)).collect();
        for start in &open {
            outside[*start] = true;
        }
        while let Some(here) = open.pop() {
            for next in self.beside(here) {
                if !set[next] && !outside[next] {
                    outside[next] = true;
                    open.push(next);
                }
            }
        }
        for (set, outside) in set.iter_mut().zip(outside) {
            *set = !outside;
        }
    }

    fn at_rim(&self, head: &[bool], index: usize) -> bool {
        self.beside(index).any(|other| !head[other])
    }

    /// The head smoothed by three running means along each axis, which together are nearly a Gaussian.
    fn smoothed(&self, head: &[bool]) -> Vec<f32> {
        let mut values: Vec<f32> = head.iter().map(|h| f32::from(u8::from(*h))).collect();
        let mut line = Vec::new();
        for axis in 0..3 {
            let stride: usize = self.dims[..axis].iter().product();
            let radius = ((SMOOTH_MM / self.spacing_mm[axis]).round() as usize).max(1);
            let length = self.dims[axis];
            for start in (0..values.len()).filter(|i| self.place(*i)[axis] == 0) {
                for _ in 0..3 {
                    line.clear();
                    line.extend((0..length).map(|n| values[start + n * stride]));
                    let at = |n: isize| line[n.clamp(0, length as isize - 1) as usize];
                    let mut sum: f32 = (-(radius as isize)..=radius as isize).map(at).sum();
                    for n in 0..length {
                        values[start + n * stride] = sum / (2 * radius + 1) as f32;
                        sum += at((n + radius + 1) as isize) - at(n as isize - radius as isize);
                    }
                }
            }
        }
        values
    }

    /// The outward normal at a voxel of the rim.
    fn outwards(&self, smooth: &[f32], index: usize) -> Option<Vector3<f64>> {
        if self.at_edge(index) {
            return None;
        }
        let strides = [1, self.dims[0], self.dims[0] * self.dims[1]];
        let gradient =
            Vector3::from_fn(|axis, _| f64::from(smooth[index + strides[axis]] - smooth[index - strides[axis]]) / 2.0);
        (-(self.gradients * gradient)).try_normalize(1e-6)
    }

    /// Intensity at a place in the patient, trilinear; `None` outside of the scan.
    fn at(&self, scan: &Volume, at: &Point3<f64>) -> Option<f64> {
        let voxel = self.voxel_from_patient.transform_point(at);
        let inside = |axis: usize| (0.0..=self.dims[axis] as f64 - 1.0).contains(&voxel[axis]);
        if !(0..3).all(inside) {
            return None;
        }
        let base: [usize; 3] = std::array::from_fn(|axis| (voxel[axis] as usize).min(self.dims[axis] - 2));
        let part: [f64; 3] = std::array::from_fn(|axis| voxel[axis] - base[axis] as f64);
        let mut sum = 0.0;
        for corner in 0..8_usize {
            let (mut weight, mut index, mut stride) = (1.0, 0, 1);
            for axis in 0..3 {
                let upper = corner >> axis & 1;
                weight *= if upper == 1 { part[axis] } else { 1.0 - part[axis] };
                index += (base[axis] + upper) * stride;
                stride *= self.dims[axis];
            }
            sum += weight * f64::from(scan.intensities[index]);
        }
        Some(sum)
    }

    /// Where the intensity, from outside inwards, first is half of the skin's.
    fn surface(&self, scan: &Volume, index: usize, outwards: &Vector3<f64>, air: f64) -> Option<Point3<f64>> {
        let place = self.place(index).map(|n| n as f64);
        let middle = self.patient_from_voxel.transform_point(&Point3::from(place));
        let steps = (SOUGHT_MM / STEP_MM) as i32;
        let along = |n: i32| middle + outwards * (f64::from(n) * STEP_MM);
        let skin = (-steps..=0).filter_map(|n| self.at(scan, &along(n))).fold(air, f64::max);
        let half = (air + skin) / 2.0;
        let mut outer: Option<(i32, f64)> = None;
        for n in (-steps..=steps).rev() {
            let value = self.at(scan, &along(n))?;
            if value >= half {
                let share = outer.map_or(0.0, |(_, before)| (half - value) / (before - value).min(-1e-9));
                // Of what is bright at once, the surface lies farther out than it was sought.
                return outer.map(|_| along(n) + outwards * (share.clamp(0.0, 1.0) * STEP_MM));
            }
            outer = Some((n, value));
        }
        None
    }

    /// Whether the way out along the normal meets the head no more.
    fn leaves(&self, head: &[bool], point: &Point3<f64>, outwards: &Vector3<f64>) -> bool {
        let step = self.spacing_mm.iter().copied().fold(f64::INFINITY, f64::min);
        let mut far = OUT_FROM_MM;
        loop {
            let voxel = self.voxel_from_patient.transform_point(&(point + outwards * far));
            let inside = |axis: usize| (-0.5..self.dims[axis] as f64 - 0.5).contains(&voxel[axis]);
            if !(0..3).all(inside) {
                return true;
            }
            let nearest: [usize; 3] =
                std::array::from_fn(|axis| (voxel[axis].round().max(0.0) as usize).min(self.dims[axis] - 1));
            if head[nearest[0] + self.dims[0] * (nearest[1] + self.dims[1] * nearest[2])] {
                return false;
            }
            far += step;
        }
    }

    /// Whether something dark and thick lies below, between two that are brighter: bone, between scalp and brain.
    fn above_bone(&self, scan: &Volume, point: &Point3<f64>, outwards: &Vector3<f64>, air: f64) -> bool {
        let below: Vec<f64> = (0..=(BELOW_MM / STEP_MM) as i32)
            .map_while(|n| self.at(scan, &(point - outwards * (f64::from(n) * STEP_MM))))
            .map(|value| value - air)
            .collect();
        let number = |mm: f64| (mm / STEP_MM) as usize;
        if below.len() <= number(BONE_MM) {
            return false;
        }
        let darkest = (number(1.0)..number(BONE_MM)).min_by(|a, b| below[*a].total_cmp(&below[*b])).unwrap_or(0);
        let brightest = |range: std::ops::Range<usize>| below[range].iter().copied().fold(0.0, f64::max);
        let above = brightest(0..darkest.min(number(SCALP_MM)));
        let beneath = brightest(darkest..below.len());
        let dark = BONE_DARK * above.min(beneath);
        let reach = |n: &usize| below[*n] < dark;
        let thick = (0..darkest).rev().take_while(reach).count() + (darkest..below.len()).take_while(reach).count();
        thick >= number(BONE_THICK_MM)
    }
}

#[cfg(test)]
mod tests;
