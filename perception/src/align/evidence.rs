//! What the microscope's picture says of the cavity's wall.
//!
//! A wall voxel is seen when its centre projects into the picture, no other wall voxel lies nearer to the
//! camera on its ray, and the instrument's shaft does not lie between. Whatever tissue hides a wall from
//! the camera has a wall of its own where the ray leaves it, so that wall voxels suffice as occluders.
//! Depths are kept in cells of [`CELL_PX`]² pixels.
//!
//! **Evidence:** the share of red in a 3 × 3 window, scaled by the [`RedScale`] of the light: how far tissue fluoresces under violet
//! light, how red it is under white. Where the picture is too dark or saturated, nothing is seen.
//! **Allocation:** in [`Sight::new`] only. **Not protected against:** blood over tissue that fluoresces.

use bregma_core::brain_shift::BrainShift;
use bregma_core::flow::{CameraCalibration, Light, VideoFrame};
use bregma_core::grid::Grid;
use nalgebra::Point3;

use crate::bits::VoxelBits;
use bregma_core::flow::ROI_VOXELS;

/// Edge of a depth cell, pixels: about one voxel of 1.25 mm under a usual microscope.
pub const CELL_PX: usize = 4;

/// How a share of red becomes evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RedScale {
    /// Red / (red + green + blue) of tissue that does not fluoresce: evidence 0.
    pub share_none: f32,
    /// The same of tissue that fluoresces fully: evidence 1.
    pub share_full: f32,
    /// Mean brightness, of 1, below which nothing is seen.
    pub brightness_min: f32,
    /// Mean brightness, of 1, above which the picture is saturated.
    pub brightness_max: f32,
}

impl Default for RedScale {
    /// That of violet light.
    fn default() -> Self {
        Self::VIOLET
    }
}

impl RedScale {
    /// Violet light comes back blue from healthy tissue; protoporphyrin shines at 635 nm.
    pub const VIOLET: Self = Self { share_none: 0.2, share_full: 0.6, brightness_min: 0.03, brightness_max: 0.97 };
    /// White light comes back grey from bone and white matter, pink from cortex, red from blood.
    pub const WHITE: Self = Self { share_none: 0.333, share_full: 0.733, brightness_min: 0.03, brightness_max: 0.97 };

    /// Evidence in [0, 1] at a pixel; `None` where nothing is to be seen.
    #[must_use]
    pub fn read(&self, picture: &VideoFrame, u: usize, v: usize) -> Option<Seen> {
        let mut sum = [0_u32; 3];
        let rows = v.saturating_sub(1)..(v + 2).min(picture.height);
        let columns = u.saturating_sub(1)..(u + 2).min(picture.width);
        let pixels = rows.len() * columns.len();
        for y in rows {
            let row = &picture.rgb[(y * picture.width + columns.start) * 3..(y * picture.width + columns.end) * 3];
            row.chunks_exact(3).for_each(|p| (0..3).for_each(|c| sum[c] += u32::from(p[c])));
        }
        let total = sum.iter().sum::<u32>() as f32;
        let brightness = total / (pixels.max(1) * 3 * 255) as f32;
        if !(self.brightness_min..=self.brightness_max).contains(&brightness) {
            return None;
        }
        let share = (sum[0] as f32 / total - self.share_none) / (self.share_full - self.share_none);
        Some(Seen::under(picture.light, share.clamp(0.0, 1.0)))
    }
}

/// What is seen of a voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen {
    /// How red it is, 0 to 1.
    Redness(f32),
    /// How far it fluoresces, 0 to 1.
    Fluorescence(f32),
}

impl Seen {
    /// What a scaled share of red means.
    #[must_use]
    pub const fn under(light: Light, share: f32) -> Self {
        match light {
            Light::White => Self::Redness(share),
            Light::Violet => Self::Fluorescence(share),
        }
    }
}

/// The shaft, patient mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shaft {
    /// Its far end.
    pub start: Point3<f64>,
    /// The tip.
    pub end: Point3<f64>,
    /// With its margin.
    pub radius_mm: f64,
}

impl Shaft {
    /// Whether it touches the segment from `eye` to `at`.
    #[must_use]
    pub fn covers(&self, eye: &Point3<f64>, at: &Point3<f64>) -> bool {
        let (ray, axis, between) = (at - eye, self.end - self.start, eye - self.start);
        let (a, b, c) = (ray.norm_squared().max(1e-12), ray.dot(&axis), axis.norm_squared().max(1e-12));
        let (d, e) = (ray.dot(&between), axis.dot(&between));
        // Closest points of two segments: Ericson, Real-Time Collision Detection, section 5.1.9.
        let parallel = a * c - b * b;
        let mut s = if parallel > 1e-9 { ((b * e - c * d) / parallel).clamp(0.0, 1.0) } else { 0.0 };
        let t = ((b * s + e) / c).clamp(0.0, 1.0);
        s = ((b * t - d) / a).clamp(0.0, 1.0);
        nalgebra::distance_squared(&(eye + ray * s), &(self.start + axis * t)) < self.radius_mm * self.radius_mm
    }
}

/// Where one wall voxel appears.
#[derive(Debug, Clone, Copy)]
struct Projected {
    index: u32,
    u: f32,
    v: f32,
    depth: f32,
}

/// A picture, and the wall that it shows.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The picture.
    pub picture: &'a VideoFrame,
    /// The camera that took it.
    pub camera: &'a CameraCalibration,
    /// How its red becomes evidence.
    pub red: &'a RedScale,
    /// The fine region.
    pub grid: &'a Grid,
    /// Its wall.
    pub wall: &'a VoxelBits,
    /// Where its voxels are now.
    pub shift: &'a BrainShift,
    /// The instrument's shaft, where one is there.
    pub shaft: Option<&'a Shaft>,
    /// A voxel is hidden by one that is nearer by more than this on its ray, mm.
    pub depth_tolerance_mm: f64,
}

impl Look<'_> {
    /// Where a voxel's centre is now.
    fn place(&self, index: usize) -> Point3<f64> {
        self.shift.now(&self.grid.centre(self.grid.voxel(index)))
    }

    /// Half a voxel's edge, at a depth of 1 mm, pixels.
    #[must_use]
    pub fn half_voxel_px(&self) -> f32 {
        (0.5 * self.grid.spacing_mm * self.camera.focal_px[0].max(self.camera.focal_px[1])) as f32
    }
}

/// The scratch for one picture.
#[derive(Debug)]
pub struct Sight {
    cells: [usize; 2],
    nearest: Vec<f32>,
    projected: Vec<Projected>,
}

impl Sight {
    /// For pictures of this size.
    #[must_use]
    pub fn new(size_px: [usize; 2]) -> Self {
        let cells = size_px.map(|n| n.div_ceil(CELL_PX).max(1));
        Self { cells, nearest: vec![f32::INFINITY; cells[0] * cells[1]], projected: Vec::with_capacity(ROI_VOXELS) }
    }

    /// Calls `seen` with the index of every wall voxel that the picture shows, and what it shows there.
    pub fn look(&mut self, look: &Look<'_>, mut seen: impl FnMut(usize, Seen)) {
        self.each_visible(look, |index, u, v| {
            if let Some(what) = look.red.read(look.picture, u, v) {
                seen(index, what);
            }
        });
    }

    /// Calls `seen` with the index and the pixel of every wall voxel that the camera sees.
    fn each_visible(&mut self, look: &Look<'_>, mut seen: impl FnMut(usize, usize, usize)) {
        self.project(look);
        self.nearest.fill(f32::INFINITY);
        let half_voxel_px = look.half_voxel_px();
        for p in &self.projected {
            let r = half_voxel_px / p.depth;
            let [columns, rows] = [(p.u, self.cells[0]), (p.v, self.cells[1])].map(|(c, n)| covered(c, r, n));
            for row in rows {
                for cell in &mut self.nearest[row * self.cells[0]..][columns.clone()] {
                    *cell = cell.min(p.depth);
                }
            }
        }
        let eye = look.camera.patient_from_camera.position().coordinates();
        for p in &self.projected {
            let [u, v] = [p.u.round() as usize, p.v.round() as usize];
            let cell = u / CELL_PX + self.cells[0] * (v / CELL_PX);
            let hidden = f64::from(p.depth) > f64::from(self.nearest[cell]) + look.depth_tolerance_mm;
            let index = p.index as usize;
            if !hidden && look.shaft.is_none_or(|s| !s.covers(&eye, &look.place(index))) {
                seen(index, u, v);
            }
        }
    }

    fn project(&mut self, look: &Look<'_>) {
        self.projected.clear();
        // In the precision that is rounded to a pixel later: what is short of the limit by less than that is at it.
        let limit = look.camera.size_px.map(|n| n as f32 - 0.5);
        for index in look.wall.iter() {
            let Some((u, v, depth)) = look.camera.project(&look.place(index)) else { continue };
            let [u, v] = [u, v].map(|pixel| pixel as f32);
            if u >= 0.0 && v >= 0.0 && u < limit[0] && v < limit[1] {
                self.projected.push(Projected { index: index as u32, u, v, depth: depth as f32 });
            }
        }
    }
}

/// Cells whose middle a voxel covers, and the one that its own middle is in.
fn covered(centre_px: f32, half_px: f32, cells: usize) -> std::ops::Range<usize> {
    let cell = CELL_PX as f32;
    let own = (centre_px.round() as usize / CELL_PX).min(cells - 1);
    let middle = 0.5 * (cell - 1.0);
    let low = ((centre_px - half_px - middle) / cell).ceil().max(0.0) as usize;
    let high = ((centre_px + half_px - middle) / cell).floor() + 1.0;
    low.min(own)..(high.max(0.0) as usize).clamp(own + 1, cells)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::roi_grid;
    use bregma_core::frame::{FrameId, Pose};
    use bregma_core::units::Millimetres;

    /// Looks along +z from 300 mm below the origin.
    fn camera() -> CameraCalibration {
        CameraCalibration {
            focal_px: [1200.0; 2],
            centre_px: [319.5, 179.5],
            size_px: [640, 360],
            patient_from_camera: Pose::from_parts(
                FrameId::SOLE,
                FrameId::SOLE,
                [0.0, 0.0, -300.0],
                [0.0, 0.0, 0.0, 1.0],
            )
            .expect("finite"),
            error: Millimetres::constant(0.5),
        }
    }

    fn visible(wall: &VoxelBits, shaft: Option<&Shaft>) -> Vec<usize> {
        seen_by(&camera(), wall, shaft)
    }

    fn seen_by(camera: &CameraCalibration, wall: &VoxelBits, shaft: Option<&Shaft>) -> Vec<usize> {
        let mut seen = Vec::new();
        let (grid, red) = (&roi_grid(Point3::origin()), &RedScale::default());
        let picture = &VideoFrame::black(640, 360);
        let shift = &BrainShift::still(Point3::origin());
        let look = Look { picture, camera, red, grid, wall, shift, shaft, depth_tolerance_mm: 2.0 };
        Sight::new([640, 360]).each_visible(&look, |i, _, _| seen.push(i));
        seen
    }

    #[test]
    fn a_nearer_wall_hides_the_one_behind_it_and_no_other() {
        let grid = roi_grid(Point3::origin());
        let mut wall = VoxelBits::new();
        let (front, behind, beside) = (grid.index([32, 32, 20]), grid.index([32, 32, 40]), grid.index([40, 32, 40]));
        let outside = grid.index([32, 63, 63]);
        [front, behind, beside, outside].iter().for_each(|i| {
            wall.put(*i);
        });
        assert_eq!(visible(&wall, None), [front, beside, outside]);
        wall.take(front);
        assert_eq!(visible(&wall, None), [behind, beside, outside]);
    }

    #[test]
    fn a_flat_wall_is_seen_whole() {
        let grid = roi_grid(Point3::origin());
        let mut wall = VoxelBits::new();
        for j in 20..40 {
            (20..40).for_each(|i| {
                wall.put(grid.index([i, j, 30]));
            });
        }
        assert_eq!(visible(&wall, None).len(), 400);
    }

    /// Rounded to f32 it lies at the picture's last half pixel, which no depth cell is of.
    #[test]
    fn what_is_a_hair_inside_the_picture_is_not_seen() {
        let (grid, mut wall, camera) = (roi_grid(Point3::origin()), VoxelBits::new(), camera());
        let index = grid.index([32, 32, 30]);
        wall.put(index);
        let (_, v, _) = camera.project(&grid.centre([32, 32, 30])).expect("before the camera");
        for (short_px, sees) in [(1e-9, 0), (1e-3, 1)] {
            let mut camera = camera;
            camera.centre_px[1] += 359.5 - short_px - v;
            assert_eq!(seen_by(&camera, &wall, None).len(), sees, "{short_px} px inside");
        }
    }

    #[test]
    fn the_shaft_covers_what_lies_behind_it() {
        let grid = roi_grid(Point3::origin());
        let mut wall = VoxelBits::new();
        let (covered, clear) = (grid.index([32, 32, 40]), grid.index([32, 40, 40]));
        [covered, clear].iter().for_each(|i| {
            wall.put(*i);
        });
        let shaft = Shaft { start: Point3::new(-100.0, 0.6, -20.0), end: Point3::new(0.0, 0.6, -20.0), radius_mm: 3.0 };
        assert_eq!(visible(&wall, Some(&shaft)), [clear]);
        let behind = Shaft { start: Point3::new(-100.0, 0.6, 60.0), end: Point3::new(0.0, 0.6, 60.0), radius_mm: 3.0 };
        assert_eq!(visible(&wall, Some(&behind)).len(), 2);
    }

    #[test]
    fn red_is_evidence_under_either_light_and_darkness_is_none() {
        let mut picture = VideoFrame::black(8, 8);
        let scale = RedScale::default();
        picture.light = Light::Violet;
        assert_eq!(scale.read(&picture, 4, 4), None);
        let paint = |picture: &mut VideoFrame, rgb: [u8; 3]| {
            picture.rgb.chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&rgb));
        };
        paint(&mut picture, [200, 30, 40]);
        assert_eq!(scale.read(&picture, 0, 7), Some(Seen::Fluorescence(1.0)));
        paint(&mut picture, [30, 30, 200]);
        assert_eq!(scale.read(&picture, 7, 0), Some(Seen::Fluorescence(0.0)));
        picture.light = Light::White;
        assert_eq!(RedScale::WHITE.read(&picture, 4, 4), Some(Seen::Redness(0.0)));
        paint(&mut picture, [150, 60, 60]);
        let Some(Seen::Redness(red)) = RedScale::WHITE.read(&picture, 4, 4) else { panic!("seen") };
        assert!((red - (150.0 / 270.0 - 0.333) / 0.4).abs() < 1e-6);
        paint(&mut picture, [255; 3]);
        assert_eq!(scale.read(&picture, 4, 4), None);
    }
}
