//! The fine region: resampled scans, cavity, wall, and what was seen of it.
//!
//! All of it is kept where the scan shows it, so that memories stay with the tissue; tips and pictures, which are of
//! now, are brought there by the brain's shift.

use super::assembly::Assembly;
use super::evidence::{Look, Seen, Shaft};
use super::{Fault, SEEN_AGE_SCALE_S, Settings};
use crate::bits::VoxelBits;
use crate::gpu::DeviceError;
use crate::scan::Scan;
use bregma_core::brain_shift::BrainShift;
use bregma_core::digest::Digest;
use bregma_core::flow::{
    Anatomy, Capsule, Corridor, Light, ROI_CHANNEL_COUNT, ROI_EDGE, ROI_VOXELS, RoiFrame, VideoFrame, roi_grid,
};
use bregma_core::grid::Grid;
use bregma_core::time::Instant;
use nalgebra::Point3;

/// Evidence of a voxel that was seen, but never under the light that shows it: for neither.
pub const NEUTRAL: f32 = 0.5;
/// When a voxel was seen that never was.
const NEVER: f32 = f32::NEG_INFINITY;
/// Full scale of the `doubt` channel, by the channel's contract.
const DOUBT_SCALE_MM: f32 = 10.0;
const _: () = assert!(ROI_CHANNEL_COUNT == 9, "those that `write` writes");

/// State that lasts from frame to frame.
#[derive(Debug)]
pub(super) struct Region {
    /// The region, once there is an anatomy; and that anatomy.
    placed: Option<(Grid, Digest)>,
    epoch: u64,
    t1c: Vec<f32>,
    /// FLAIR, T1, T2.
    others: [Vec<f32>; 3],
    brain: VoxelBits,
    cavity: VoxelBits,
    scratch: VoxelBits,
    wall: VoxelBits,
    wall_is_old: bool,
    fluorescence: Vec<f32>,
    redness: Vec<f32>,
    /// Seconds on the session's clock.
    last_seen: Vec<f32>,
    now: f32,
    resample: bool,
    shift: BrainShift,
    /// Of every voxel, of the shift alone, mm; and whether that is of another shift or region.
    deviation_mm: Vec<f32>,
    deviation_is_old: bool,
}

impl Region {
    pub(super) fn new() -> Self {
        Self {
            placed: None,
            epoch: 0,
            t1c: vec![0.0; ROI_VOXELS],
            others: std::array::from_fn(|_| vec![0.0; ROI_VOXELS]),
            brain: VoxelBits::new(),
            cavity: VoxelBits::new(),
            scratch: VoxelBits::new(),
            wall: VoxelBits::new(),
            wall_is_old: true,
            fluorescence: vec![0.0; ROI_VOXELS],
            redness: vec![0.0; ROI_VOXELS],
            last_seen: vec![NEVER; ROI_VOXELS],
            now: 0.0,
            resample: true,
            shift: BrainShift::still(Point3::origin()),
            deviation_mm: vec![0.0; ROI_VOXELS],
            deviation_is_old: true,
        }
    }

    /// Tissue is there now.
    pub(super) fn shifts(&mut self, shift: &BrainShift) {
        self.shift.copy_from(shift);
        self.deviation_is_old = true;
    }

    /// Whether a place was carved or opened, at rest.
    pub(super) fn is_open(&self, rest: &Point3<f64>) -> bool {
        let Some((grid, _)) = &self.placed else { return false };
        grid.containing(rest).is_some_and(|[i, j, k]| self.cavity.rows()[j + ROI_EDGE * k] >> i & 1 == 1)
    }

    /// The scans have changed: they are resampled at the next [`follow`](Self::follow).
    pub(super) fn forget(&mut self) {
        self.resample = true;
    }

    /// Keeps the region around the corridor's target, and the scans on it.
    pub(super) fn follow(
        &mut self,
        anatomy: &Anatomy,
        t1c: &Scan,
        others: [Option<&Scan>; 3],
        arrived: bool,
        open_above_mm: f64,
        assembly: &mut dyn Assembly,
    ) -> Result<(), Fault> {
        let target = anatomy.corridor.target;
        if !target.iter().all(|v| v.is_finite()) {
            return Err(Fault::Target(target.coords.into()));
        }
        let grid = roi_grid(target);
        let before = self.placed.replace((grid, anatomy.digest));
        let moved = before.is_none_or(|(old, _)| old != grid);
        if let Some((old, _)) = before.filter(|_| moved) {
            self.move_cavity(&old, &grid);
        }
        if before.is_none_or(|(_, digest)| digest != anatomy.digest) {
            self.open_corridor(&grid, anatomy, open_above_mm);
        }
        if moved || arrived || self.resample {
            // Until it is done.
            self.resample = true;
            self.epoch += 1;
            self.others.iter_mut().for_each(|channel| channel.fill(0.0));
            self.fluorescence.fill(0.0);
            self.redness.fill(0.0);
            self.deviation_is_old = true;
            self.last_seen.fill(NEVER);
            self.wall_is_old = true;
            for (scan, channel) in others.iter().zip(&mut self.others) {
                if let Some(scan) = scan {
                    assembly.resample(scan, &grid, channel, &mut self.brain)?;
                }
            }
            assembly.resample(t1c, &grid, &mut self.t1c, &mut self.brain)?;
            self.resample = false;
        }
        Ok(())
    }

    /// What was open stays open where the new region covers it.
    fn move_cavity(&mut self, old: &Grid, new: &Grid) {
        self.scratch.clear();
        for index in 0..ROI_VOXELS {
            let before = old.containing(&new.centre(new.voxel(index)));
            if before.is_some_and(|voxel| self.cavity.has(old.index(voxel))) {
                self.scratch.put(index);
            }
        }
        std::mem::swap(&mut self.cavity, &mut self.scratch);
    }

    fn open_corridor(&mut self, grid: &Grid, anatomy: &Anatomy, above_mm: f64) {
        for index in 0..ROI_VOXELS {
            if anatomy.corridor.holds(&grid.centre(grid.voxel(index)), above_mm) {
                self.cavity.put(index);
            }
        }
        self.wall_is_old = true;
    }

    /// Opens the capsule between two points of now, and forgets what was seen there.
    pub(super) fn carve(&mut self, from: &Point3<f64>, to: &Point3<f64>, radius_mm: f64) {
        let Some((grid, _)) = self.placed else { return };
        let swept = Capsule { start: *from, end: *to, radius_mm };
        // Strain moves what is beside the tip by less than a tenth more than the tip.
        let reach = 1.1 * (radius_mm + 0.5 * nalgebra::distance(from, to)) + 0.5;
        let [xs, ys, zs] = grid.around(&self.shift.rest(&nalgebra::center(from, to)), reach);
        for k in zs {
            for j in ys.clone() {
                for i in xs.clone() {
                    let index = grid.index([i, j, k]);
                    let place = self.shift.now(&grid.centre([i, j, k]));
                    if swept.distance_mm(&place) <= 0.0 && self.cavity.put(index) {
                        self.fluorescence[index] = 0.0;
                        self.redness[index] = 0.0;
                        self.last_seen[index] = NEVER;
                        self.wall_is_old = true;
                    }
                }
            }
        }
    }

    /// What an intraoperative scan shows as tissue was not carved, whatever the tip seemed to sweep; the corridor stays open.
    pub(super) fn close_over(&mut self, t1c: &Scan, corridor: &Corridor, open_above_mm: f64) {
        let Some((grid, _)) = self.placed else { return };
        let least = t1c.tissue_z();
        for (index, z) in self.t1c.iter().enumerate() {
            let shown = *z >= least && self.cavity.has(index);
            if shown && !corridor.holds(&grid.centre(grid.voxel(index)), open_above_mm) {
                self.cavity.take(index);
                self.wall_is_old = true;
            }
        }
    }

    /// The time of the picture that is looked at next.
    pub(super) fn see_at(&mut self, captured: Instant) {
        self.now = captured.secs_f64() as f32;
    }

    /// Takes a picture's evidence.
    pub(super) fn look(
        &mut self,
        settings: &Settings,
        assembly: &mut dyn Assembly,
        picture: &VideoFrame,
        shaft: Option<&Shaft>,
    ) -> Result<(), DeviceError> {
        let Some((grid, _)) = &self.placed else { return Ok(()) };
        if std::mem::take(&mut self.wall_is_old) {
            self.wall.become_wall(&self.cavity, &self.brain);
        }
        let look = Look {
            picture,
            camera: &settings.camera,
            red: match picture.light {
                Light::Violet => &settings.red,
                Light::White => &settings.white,
            },
            grid,
            wall: &self.wall,
            shift: &self.shift,
            shaft,
            depth_tolerance_mm: settings.depth_tolerance_mm,
        };
        let (fluorescence, redness) = (&mut self.fluorescence, &mut self.redness);
        let (last_seen, now) = (&mut self.last_seen, self.now);
        assembly.look(&look, &mut |index, what| {
            let (shown, other, share) = match what {
                Seen::Fluorescence(share) => (&mut *fluorescence, &mut *redness, share),
                Seen::Redness(share) => (&mut *redness, &mut *fluorescence, share),
            };
            shown[index] = share;
            if last_seen[index] == NEVER {
                other[index] = NEUTRAL;
            }
            last_seen[index] = now;
        })
    }

    /// Follows how wrong the shift of every voxel may be.
    fn follow_deviation(&mut self) {
        let Some((grid, _)) = self.placed.filter(|_| std::mem::take(&mut self.deviation_is_old)) else { return };
        for (index, deviation) in self.deviation_mm.iter_mut().enumerate() {
            *deviation = self.shift.deviation_mm(&grid.centre(grid.voxel(index))) as f32;
        }
    }

    /// Writes grid, epoch and channels. The scans' channels of a slot of this epoch are already there. `rigid_mm`: what registration
    /// and calibration may be wrong by; `everywhere_mm`: a shift that is not followed.
    pub(super) fn write(&mut self, slot: &mut RoiFrame, rigid_mm: f32, everywhere_mm: f32) {
        self.follow_deviation();
        let Some((grid, _)) = self.placed else { return };
        let same_scans = slot.epoch == self.epoch && slot.grid == grid;
        slot.grid = grid;
        slot.epoch = self.epoch;
        slot.shift.copy_from(&self.shift);
        let mut channels = slot.channels.chunks_exact_mut(ROI_VOXELS);
        let [t1c, flair, cavity, fluorescence, seen_age, t1, t2, redness, doubt] =
            std::array::from_fn(|_| channels.next().unwrap_or_default());
        if !same_scans {
            t1c.copy_from_slice(&self.t1c);
            [flair, t1, t2].into_iter().zip(&self.others).for_each(|(to, from)| to.copy_from_slice(from));
        }
        for (row, out) in self.cavity.rows().iter().zip(cavity.chunks_exact_mut(ROI_EDGE)) {
            out.iter_mut().enumerate().for_each(|(i, v)| *v = (row >> i & 1) as f32);
        }
        fluorescence.copy_from_slice(&self.fluorescence);
        redness.copy_from_slice(&self.redness);
        for (doubt, deviation) in doubt.iter_mut().zip(&self.deviation_mm) {
            *doubt = ((rigid_mm.hypot(*deviation) + everywhere_mm) / DOUBT_SCALE_MM).min(1.0);
        }
        for (age, seen) in seen_age.iter_mut().zip(&self.last_seen) {
            *age = ((self.now - seen) / SEEN_AGE_SCALE_S).min(1.0);
        }
    }
}
