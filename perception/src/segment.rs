//! Whole scans: where a tumour is in all of the brain, by the network that keeps the margin.
//!
//! ```text
//!  scans ─► box around the brain at 1.25 mm ─► overlapping tiles of 64³ ─► network, as in its first frame
//!                                              weighted by how far inside they are ─► shares ─► labels
//! ```
//! A tile is what align would give of a closed head: scans that are there, no cavity, nothing ever seen by a
//! microscope, and no prior, since nobody knows which of what enhances is meant. What the network says of a voxel in several tiles is averaged, the middle of a tile counting more than its
//! rim, where convolutions read zeros. **Only where every scan that is given shows the brain** is anything labelled.
//! **Labels** are those of BraTS: 1 necrosis, 2 infiltrated, 4 enhancing, 0 elsewhere; core is 1 and 4.
//! **Units and frame:** mm, patient LPS, that of the scans, which must be registered to each other. **Determinism:** the
//! same on any number of threads. **Allocation:** 16 bytes a voxel of the box, and a plan. **Not protected against:** scans
//! of other patients, or that do not lie on each other.

use crate::bits::VoxelBits;
use crate::engine::{Calibration, EngineError, Plan, Pool, Precision};
use crate::model::Model;
use crate::perceive::inputs::INPUTS;
use crate::perceive::network::OUTPUTS;
use crate::scan::Scan;
use bregma_core::flow::{Modality, ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS, RoiFrame, roi_channel, roi_grid};
use bregma_core::grid::Grid;
use nalgebra::{Matrix4, Point3, Vector3};
use rayon::prelude::*;

/// From tile to tile, at most.
const STRIDE: usize = 40;
/// Around the brain, mm.
const MARGIN_MM: f64 = 5.0;
/// A tile with less brain than that says nothing: 2 mL at 1.25 mm.
const BRAIN_MIN: usize = 1024;
/// Voxels of the box, at most: heads are smaller.
const VOXELS_MAX: usize = 64_000_000;
/// A scan has at least so many different values.
const VALUES_MIN: usize = 16;
/// A voxel of a scan counts for the box where so many in a row are brain: noise outside the head is not.
const ROW_MIN: usize = 4;

/// What there is of one patient.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scans<'a> {
    /// T1 with contrast agent.
    pub t1c: Option<&'a Scan>,
    /// FLAIR.
    pub flair: Option<&'a Scan>,
    /// T1.
    pub t1: Option<&'a Scan>,
    /// T2.
    pub t2: Option<&'a Scan>,
}

impl<'a> Scans<'a> {
    /// What align would give of them before anything is opened or seen, and what is brain in the first.
    #[must_use]
    pub fn closed_head(&self, grid: Grid) -> (RoiFrame, VoxelBits) {
        let mut frame = RoiFrame { grid, ..RoiFrame::empty() };
        let mut brain = VoxelBits::new();
        fill(self, &grid, &mut frame.channels, &mut brain);
        if let Some(first) = self.in_order().into_iter().flatten().next() {
            first.resample(&grid, &mut vec![0.0; ROI_VOXELS], &mut brain);
        }
        (frame, brain)
    }

    /// In the order of their channels.
    fn in_order(&self) -> [Option<&'a Scan>; 4] {
        [self.t1c, self.flair, self.t1, self.t2]
    }
}

/// Why nothing is segmented.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Not one scan.
    #[error("no scan; at least one of T1c, FLAIR, T1 and T2 is needed")]
    NoScan,
    /// Labels where a scan should be.
    #[error("the {modality:?} scan has only {values} different values: labels are no scan")]
    Labels {
        /// Its contrast.
        modality: Modality,
        /// Different values.
        values: usize,
    },
    /// Scans that are not in one frame of reference.
    #[error("scans are in different frames of reference; those of one patient, registered to each other, are right")]
    Frames,
    /// Scans that show no brain where the others do.
    #[error(
        "the scans share no place that is brain in all of them: they are of different heads, or do not lie on each other"
    )]
    Apart,
    /// A head that is none.
    #[error("the brain is {0} voxels of {ROI_SPACING_MM} mm large; at most {VOXELS_MAX} are right")]
    Large(usize),
    /// A network that is none of ours.
    #[error("the network reads {inputs} channels and says {outputs} values; {INPUTS} and {OUTPUTS} are right")]
    Network {
        /// Channels that it reads.
        inputs: usize,
        /// Values of a voxel.
        outputs: usize,
    },
    /// The engine refuses.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A segmented brain.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmented {
    /// The box, at 1.25 mm.
    pub grid: Grid,
    /// Of each output and voxel, what the network says, 0 to 1, `[OUTPUTS, D, H, W]`.
    pub shares: Vec<f32>,
}

/// Segments. `done` hears of each tile, and of how many there are.
///
/// # Errors
/// [`SegmentError`].
pub fn segment(
    model: &Model,
    calibration: Option<&Calibration>,
    precision: Precision,
    pool: &Pool,
    scans: &Scans<'_>,
    done: &dyn Fn(usize, usize),
) -> Result<Segmented, SegmentError> {
    let (inputs, outputs) = (model.shape.inputs, model.shape.outputs);
    if (inputs, outputs) != (INPUTS, OUTPUTS) {
        return Err(SegmentError::Network { inputs, outputs });
    }
    let grid = brain_box(scans)?;
    let mut plan = Plan::new(model, ROI_EDGE, precision, calibration)?;
    let (mut channels, mut logits) = (vec![0.0; INPUTS * ROI_VOXELS], vec![0.0; OUTPUTS * ROI_VOXELS]);
    let (mut brain, mut state) = (VoxelBits::new(), plan.state());
    let weight: Vec<f32> = (0..ROI_EDGE).map(|i| (i.min(ROI_EDGE - 1 - i) + 1) as f32).collect();
    let (mut sums, mut weights) = (vec![0.0; OUTPUTS * grid.len()], vec![0.0_f32; grid.len()]);
    let starts = grid.dims.map(starts);
    let tiles = starts.iter().map(Vec::len).product::<usize>();
    let mut made = 0;
    for z in &starts[2] {
        for y in &starts[1] {
            for x in &starts[0] {
                let corner = [*x, *y, *z];
                let middle = grid.centre(corner) - roi_grid(Point3::origin()).centre([0; 3]);
                let tile = roi_grid(Point3::from(middle));
                let shows = fill(scans, &tile, &mut channels, &mut brain);
                if shows >= BRAIN_MIN {
                    state.reset();
                    plan.run(pool, &channels, &mut state, &mut logits)?;
                    for (index, logit) in logits.iter().enumerate() {
                        let (output, voxel) = (index / ROI_VOXELS, index % ROI_VOXELS);
                        let at = [voxel % ROI_EDGE, voxel / ROI_EDGE % ROI_EDGE, voxel / (ROI_EDGE * ROI_EDGE)];
                        let place = grid.index(std::array::from_fn(|a| corner[a] + at[a]));
                        let w = weight[at[0]] * weight[at[1]] * weight[at[2]];
                        sums[output * grid.len() + place] += w / (1.0 + libm::expf(-logit));
                        if output == 0 {
                            weights[place] += w;
                        }
                    }
                }
                made += 1;
                done(made, tiles);
            }
        }
    }
    for (index, sum) in sums.iter_mut().enumerate() {
        let weight = weights[index % grid.len()];
        *sum = if weight > 0.0 { *sum / weight } else { 0.0 };
    }
    Ok(Segmented { grid, shares: sums })
}

/// The least box at 1.25 mm that holds the brain of every scan, and at least a tile.
fn brain_box(scans: &Scans<'_>) -> Result<Grid, SegmentError> {
    let present: Vec<&Scan> = scans.in_order().into_iter().flatten().collect();
    let first = present.first().ok_or(SegmentError::NoScan)?;
    for scan in &present {
        let values = different(&scan.volume().intensities);
        if values < VALUES_MIN {
            return Err(SegmentError::Labels { modality: scan.volume().modality, values });
        }
    }
    if present.iter().any(|scan| scan.frame() != first.frame()) {
        return Err(SegmentError::Frames);
    }
    let (mut low, mut high) = ([f64::NEG_INFINITY; 3], [f64::INFINITY; 3]);
    for scan in &present {
        let (from, to) = brain_of(scan);
        for a in 0..3 {
            low[a] = low[a].max(from[a]);
            high[a] = high[a].min(to[a]);
        }
    }
    if (0..3).any(|a| low[a] >= high[a]) {
        return Err(SegmentError::Apart);
    }
    let dims: [usize; 3] = std::array::from_fn(|a| {
        let mm = high[a] - low[a] + 2.0 * MARGIN_MM;
        ((mm / ROI_SPACING_MM).ceil() as usize + 1).max(ROI_EDGE)
    });
    let voxels = dims.iter().product();
    if voxels > VOXELS_MAX {
        return Err(SegmentError::Large(voxels));
    }
    let middle = Point3::from(std::array::from_fn::<f64, 3, _>(|a| 0.5 * (low[a] + high[a])));
    Ok(Grid::centred(middle, dims, ROI_SPACING_MM))
}

/// How many different values there are, up to [`VALUES_MIN`].
fn different(values: &[f32]) -> usize {
    let mut seen: Vec<u32> = Vec::with_capacity(VALUES_MIN);
    for value in values {
        if seen.len() == VALUES_MIN {
            break;
        }
        if !seen.contains(&value.to_bits()) {
            seen.push(value.to_bits());
        }
    }
    seen.len()
}

/// The box of a scan's brain, mm along the patient's axes.
fn brain_of(scan: &Scan) -> ([f64; 3], [f64; 3]) {
    let volume = scan.volume();
    let [nx, ny, _] = volume.dims;
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for (row, values) in volume.intensities.chunks_exact(nx).enumerate() {
        let mut run = 0;
        for (x, value) in values.iter().enumerate() {
            run = if scan.statistics.is_brain(*value) { run + 1 } else { 0 };
            if run < ROW_MIN {
                continue;
            }
            // The voxels before it in the run are less than the box' margin away.
            let voxel = Point3::new(x as f64, (row % ny) as f64, (row / ny) as f64);
            let at = volume.patient_from_voxel.transform_point(&voxel);
            for a in 0..3 {
                low[a] = low[a].min(at[a]);
                high[a] = high[a].max(at[a]);
            }
        }
    }
    (low, high)
}

/// Where tiles begin along an axis: they overlap, and the last ends where the box does.
fn starts(length: usize) -> Vec<usize> {
    let last = length - ROI_EDGE;
    let steps = last.div_ceil(STRIDE);
    (0..=steps).map(|n| (n * last).checked_div(steps).unwrap_or(0)).collect()
}

/// Makes a tile's channels; how many of its voxels are brain in all scans.
fn fill(scans: &Scans<'_>, tile: &Grid, channels: &mut [f32], brain: &mut VoxelBits) -> usize {
    channels.fill(0.0);
    channels[roi_channel::SEEN_AGE * ROI_VOXELS..][..ROI_VOXELS].fill(1.0);
    let mut least = ROI_VOXELS;
    for (scan, channel) in scans.in_order().into_iter().zip(roi_channel::SCANS) {
        if let Some(scan) = scan {
            scan.resample(tile, &mut channels[channel * ROI_VOXELS..][..ROI_VOXELS], brain);
            least = least.min(brain.count());
        }
    }
    least
}

impl Segmented {
    /// The label at a point: 0 outside the box.
    #[must_use]
    pub fn label(&self, at: &Point3<f64>) -> u8 {
        let share =
            |output: usize| self.grid.sample(&self.shares[output * self.grid.len()..][..self.grid.len()], at, 0.0);
        label([share(0), share(1), share(2)])
    }

    /// The middle of the core, or of the box where there is none.
    #[must_use]
    pub fn middle(&self) -> Point3<f64> {
        let (mut sum, mut n) = (Vector3::zeros(), 0.0);
        for (index, _) in self.shares[..self.grid.len()].iter().enumerate().filter(|(_, share)| **share >= 0.5) {
            sum += self.grid.centre(self.grid.voxel(index)).coords;
            n += 1.0;
        }
        let corners = [[0; 3], self.grid.dims.map(|d| d - 1)].map(|corner| self.grid.centre(corner));
        if n > 0.0 { Point3::from(sum / n) } else { nalgebra::center(&corners[0], &corners[1]) }
    }

    /// Labels on the voxels of a lattice, x fastest.
    #[must_use]
    pub fn on(&self, dims: [usize; 3], patient_from_voxel: &Matrix4<f64>) -> Vec<u8> {
        let [nx, ny, nz] = dims;
        let mut labels = vec![0; nx * ny * nz];
        labels.par_chunks_exact_mut(nx).enumerate().for_each(|(row, labels)| {
            for (x, to) in labels.iter_mut().enumerate() {
                let voxel = Point3::new(x as f64, (row % ny) as f64, (row / ny) as f64);
                *to = self.label(&patient_from_voxel.transform_point(&voxel));
            }
        });
        labels
    }
}

/// What a voxel is, by what the network says of it.
fn label([core, whole, necrosis]: [f32; OUTPUTS]) -> u8 {
    match (core >= 0.5, whole >= 0.5, necrosis >= 0.5) {
        (true, _, true) => 1,
        (true, _, false) => 4,
        (false, true, _) => 2,
        (false, false, _) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::network::untrained;
    use bregma_core::flow::Volume;
    use bregma_core::frame::FrameId;
    use bregma_core::time::Instant;
    use std::sync::{Arc, Mutex};

    /// A ball of brain, brighter to one side, in voxels of 2 mm whose axes run as they like.
    fn ball(frame: u64, middle: Point3<f64>, radius_mm: f64) -> Scan {
        let dims = [70, 60, 50];
        let patient_from_voxel = Matrix4::new_translation(&Vector3::new(70.0, -60.0, -50.0))
            * Matrix4::from_diagonal(&[-2.0, 2.0, 2.0, 1.0].into());
        let value = |i: usize| {
            let voxel = Point3::new((i % 70) as f64, (i / 70 % 60) as f64, (i / 4200) as f64);
            let at = patient_from_voxel.transform_point(&voxel);
            if (at - middle).norm() < radius_mm { 100.0 + at.x as f32 } else { 0.0 }
        };
        let intensities = (0..dims.iter().product()).map(value).collect();
        let volume = Volume {
            modality: Modality::T1c,
            dims,
            intensities,
            patient_from_voxel,
            frame: FrameId(frame),
            acquired: Instant::START,
            shift: None,
        };
        Scan::new(Arc::new(volume)).expect("a ball is a brain")
    }

    fn try_it(scans: &Scans<'_>) -> Result<(Segmented, Vec<(usize, usize)>), SegmentError> {
        let (pool, heard) = (Pool::new(2).expect("threads"), Mutex::new(Vec::new()));
        let hear = |made, of| heard.lock().expect("nobody panics").push((made, of));
        let segmented = segment(&untrained(3), None, Precision::F32, &pool, scans, &hear)?;
        Ok((segmented, heard.into_inner().expect("nobody panics")))
    }

    #[test]
    fn tiles_cover_a_box_and_overlap() {
        for length in [64, 65, 100, 104, 105, 200] {
            let starts = starts(length);
            assert_eq!((starts[0], starts[starts.len() - 1] + ROI_EDGE), (0, length));
            assert!(starts.windows(2).all(|pair| (1..=STRIDE).contains(&(pair[1] - pair[0]))), "{length}: {starts:?}");
        }
    }

    #[test]
    fn a_brain_is_tiled_whole_and_each_tile_is_heard_of() {
        let scan = ball(1, Point3::new(-5.0, 4.0, 3.0), 42.0);
        let (segmented, heard) = try_it(&Scans { t1c: Some(&scan), ..Scans::default() }).expect("a brain");
        assert!(segmented.grid.dims.iter().all(|n| (70..90).contains(n)), "{:?}", segmented.grid.dims);
        assert_eq!(heard, (1..=8).map(|n| (n, 8)).collect::<Vec<_>>());
        let middle = segmented.grid.sample(&segmented.shares, &Point3::new(-5.0, 4.0, 3.0), -1.0);
        assert!(middle > 0.0 && middle < 1.0, "the network was asked: {middle}");
        let far = Point3::new(400.0, 0.0, 0.0);
        assert_eq!(segmented.label(&far), 0, "nothing beyond the box");
        // On the scan's own voxels as at their points.
        let volume = scan.volume();
        let labels = segmented.on(volume.dims, &volume.patient_from_voxel);
        for i in (0..labels.len()).step_by(997) {
            let voxel = Point3::new((i % 70) as f64, (i / 70 % 60) as f64, (i / 4200) as f64);
            assert_eq!(labels[i], segmented.label(&volume.patient_from_voxel.transform_point(&voxel)));
        }
    }

    #[test]
    fn what_cannot_be_segmented_is_refused_in_words() {
        let why = |scans: &Scans<'_>| try_it(scans).expect_err("refused").to_string();
        assert_eq!(why(&Scans::default()), "no scan; at least one of T1c, FLAIR, T1 and T2 is needed");
        let (one, other) = (ball(1, Point3::new(-30.0, 0.0, 0.0), 15.0), ball(1, Point3::new(30.0, 0.0, 0.0), 15.0));
        let apart = Scans { t1c: Some(&one), flair: Some(&other), ..Scans::default() };
        assert!(why(&apart).starts_with("the scans share no place that is brain in all"), "{}", why(&apart));
        let mut labels = Volume::clone(one.volume());
        labels.intensities.iter_mut().for_each(|v| {
            *v = if *v > 70.0 {
                4.0
            } else if *v > 0.0 {
                2.0
            } else {
                0.0
            }
        });
        let labels = Scan::new(Arc::new(labels)).expect("not blank");
        let labelled = Scans { t1c: Some(&labels), ..Scans::default() };
        assert_eq!(why(&labelled), "the T1c scan has only 3 different values: labels are no scan");
        let strange = ball(2, Point3::new(-30.0, 0.0, 0.0), 15.0);
        let frames = Scans { t1c: Some(&one), flair: Some(&strange), ..Scans::default() };
        assert!(why(&frames).starts_with("scans are in different frames"), "{}", why(&frames));
    }

    #[test]
    fn labels_are_those_of_brats() {
        assert_eq!(label([0.9, 0.9, 0.9]), 1);
        assert_eq!(label([0.9, 0.2, 0.1]), 4, "core is tumour, whatever is said of the whole");
        assert_eq!(label([0.1, 0.9, 0.9]), 2, "no necrosis without core");
        assert_eq!(label([0.1, 0.1, 0.9]), 0);
    }
}
