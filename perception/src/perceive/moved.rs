//! From where the scan shows tissue to where it is now: which voxel of the scan's coordinates each voxel of the scene
//! shows.
//!
//! A scene's voxel takes the nearest one. **Allocation:** in [`Moved::new`] only. **Not shown:** what has moved into the
//! region from outside; whether that is brain or cavity is taken from the region's nearest voxel, and nothing else is known of it.

use crate::bits::VoxelBits;
use bregma_core::brain_shift::BrainShift;
use bregma_core::flow::ROI_VOXELS;
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Of a voxel whose tissue came from outside the region.
const OUTSIDE: u32 = u32::MAX;

/// The way from scene to scan, voxel by voxel.
#[derive(Debug)]
pub(super) struct Moved {
    of: BrainShift,
    grid: Option<Grid>,
    from: Vec<u32>,
    /// The nearest voxel of the region, and how far from it the tissue came, mm; 0 within the region.
    nearest: Vec<(u32, f32)>,
    /// How wrong the shift of each voxel of the scene may be, mm.
    deviation_mm: Vec<f32>,
}

impl Moved {
    pub(super) fn new() -> Self {
        Self {
            of: BrainShift::still(Point3::origin()),
            grid: None,
            from: vec![OUTSIDE; ROI_VOXELS],
            nearest: vec![(0, 0.0); ROI_VOXELS],
            deviation_mm: vec![0.0; ROI_VOXELS],
        }
    }

    /// Follows shift and region; whether anything has changed.
    pub(super) fn follow(&mut self, shift: &BrainShift, grid: &Grid) -> bool {
        if self.grid == Some(*grid) && self.of == *shift {
            return false;
        }
        self.of.copy_from(shift);
        self.grid = Some(*grid);
        for index in 0..ROI_VOXELS {
            let rest = shift.rest(&grid.centre(grid.voxel(index)));
            self.from[index] = grid.containing(&rest).map_or(OUTSIDE, |v| grid.index(v) as u32);
            self.nearest[index] = nearest(grid, &rest, self.from[index]);
            self.deviation_mm[index] = shift.deviation_mm(&rest) as f32;
        }
        true
    }

    /// How wrong the shift of a voxel may be beside what the whole frame's error says, mm.
    pub(super) fn deviation_mm(&self) -> &[f32] {
        &self.deviation_mm
    }

    /// Each voxel's value; `outside` for what came from outside.
    pub(super) fn values<T: Copy>(&self, rest: &[T], outside: T, now: &mut [T]) {
        if self.of.is_still() {
            now.copy_from_slice(rest);
            return;
        }
        for (now, from) in now.iter_mut().zip(&self.from) {
            *now = rest.get(*from as usize).copied().unwrap_or(outside);
        }
    }

    /// Each voxel's distance from something. For tissue that came from outside, the least that it can be: that of the
    /// nearest voxel inside, less the way there.
    pub(super) fn distances(&self, rest_mm: &[f32], now_mm: &mut [f32]) {
        if self.of.is_still() {
            now_mm.copy_from_slice(rest_mm);
            return;
        }
        for (now, (from, beyond)) in now_mm.iter_mut().zip(&self.nearest) {
            *now = rest_mm[*from as usize] - beyond;
        }
    }

    /// Each voxel's bit; of what came from outside, that of the nearest voxel inside.
    pub(super) fn bits_about(&self, rest: &VoxelBits, now: &mut VoxelBits) {
        if self.of.is_still() {
            now.copy_from(rest);
            return;
        }
        now.fill_where(&self.nearest, |(from, _)| rest.has(from as usize));
    }

    /// Each voxel's bit; none for what came from outside.
    pub(super) fn bits(&self, rest: &VoxelBits, now: &mut VoxelBits) {
        if self.of.is_still() {
            now.copy_from(rest);
            return;
        }
        now.fill_where(&self.from, |from| from != OUTSIDE && rest.has(from as usize));
    }
}

/// The region's voxel nearest to a place, and how far that is, mm.
fn nearest(grid: &Grid, at: &Point3<f64>, inside: u32) -> (u32, f32) {
    if inside != OUTSIDE {
        return (inside, 0.0);
    }
    let coordinates = grid.coordinates(at);
    let voxel: [usize; 3] =
        std::array::from_fn(|a| coordinates[a].round().clamp(0.0, (grid.dims[a] - 1) as f64) as usize);
    (grid.index(voxel) as u32, nalgebra::distance(&grid.centre(voxel), at) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::roi_grid;
    use nalgebra::Vector3;

    #[test]
    fn tissue_is_where_it_has_moved_to_and_what_came_from_outside_is_none() {
        let (centre, grid) = (Point3::new(3.0, 4.0, 5.0), roi_grid(Point3::new(3.0, 4.0, 5.0)));
        let mut shift = BrainShift::still(centre);
        let mut moved = Moved::new();
        assert!(moved.follow(&shift, &grid) && !moved.follow(&shift, &grid));
        shift.set(centre, |_| (Vector3::new(2.5, 0.0, -3.75), 1.5));
        assert!(moved.follow(&shift, &grid));
        let mut rest = vec![0_u8; ROI_VOXELS];
        rest[grid.index([20, 20, 20])] = 9;
        let mut now = vec![7; ROI_VOXELS];
        moved.values(&rest, 1, &mut now);
        assert_eq!(now.iter().position(|v| *v == 9), Some(grid.index([22, 20, 17])));
        // Two columns along x and three layers along z came from outside.
        assert_eq!(now.iter().filter(|v| **v == 1).count(), ROI_VOXELS - 62 * 64 * 61);
        // Of those a distance is at least what it is at the border, less the way from there.
        let mut distances = vec![0.0; ROI_VOXELS];
        moved.distances(&vec![10.0; ROI_VOXELS], &mut distances);
        let least = distances.iter().copied().fold(f32::MAX, f32::min);
        let (x, z) = (2.0_f32 * 1.25, 3.0 * 1.25);
        assert!((least - (10.0 - x.hypot(z))).abs() < 1e-5, "{least}");
        let (mut bits, mut out) = (VoxelBits::new(), VoxelBits::new());
        bits.put(grid.index([20, 20, 20]));
        moved.bits(&bits, &mut out);
        assert_eq!(out.iter().collect::<Vec<_>>(), [grid.index([22, 20, 17])]);
        // What came from outside is as the border is, here along z.
        bits.put(grid.index([20, 20, 63]));
        moved.bits_about(&bits, &mut out);
        let above = (60..64).map(|k| grid.index([22, 20, k]));
        assert_eq!(
            out.iter().collect::<Vec<_>>(),
            [grid.index([22, 20, 17])].into_iter().chain(above).collect::<Vec<_>>()
        );
        assert!(moved.deviation_mm().iter().all(|d| (d - 1.5).abs() < 1e-6));
    }
}
