//! How far each voxel is from what must not be touched.
//!
//! Eloquent labels count by their nearest voxel centre on the fine region, less half a voxel; vessels by
//! their capsule's surface. Distances are exact up to [`REACH_MM`], where the scan shows the tissue; a voxel of the
//! scene takes that of the tissue that is there now. **Not protected against:** eloquent
//! tissue that lies outside the fine region, though within reach of its border.

use super::moved::Moved;
use super::{Errors, Fault};
use crate::bits::VoxelBits;
use crate::distance::{DistanceTransform, surface_mm};
use bregma_core::digest::Digest;
use bregma_core::flow::{Anatomy, ROI_EDGE, ROI_VOXELS, RegionKind};
use bregma_core::grid::Grid;

/// Distances are cut off here, mm; an inflation beyond it forbids everything.
pub const REACH_MM: f64 = 10.0;

/// Distance to the nearest forbidden structure, mm.
#[derive(Debug)]
pub struct ForbiddenField {
    of: Option<(Digest, Grid)>,
    distance_mm: Vec<f32>,
    /// Where tissue is now.
    now_mm: Vec<f32>,
    labelled: Vec<u8>,
    squared: Vec<i32>,
    transform: DistanceTransform,
}

impl Default for ForbiddenField {
    fn default() -> Self {
        Self::new()
    }
}

impl ForbiddenField {
    /// With nothing forbidden yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            of: None,
            distance_mm: vec![REACH_MM as f32; ROI_VOXELS],
            now_mm: vec![REACH_MM as f32; ROI_VOXELS],
            labelled: vec![0; ROI_VOXELS],
            squared: vec![0; ROI_VOXELS],
            transform: DistanceTransform::new([ROI_EDGE; 3]),
        }
    }

    /// Measures anew where anatomy or region has changed.
    ///
    /// # Errors
    /// [`Fault::Labels`] when the labels do not fill their grid.
    pub fn follow(&mut self, anatomy: &Anatomy, grid: &Grid) -> Result<(), Fault> {
        if self.of == Some((anatomy.digest, *grid)) {
            return Ok(());
        }
        if anatomy.labels.len() != anatomy.grid.len() {
            return Err(Fault::Labels { labels: anatomy.labels.len(), voxels: anatomy.grid.len() });
        }
        let mut eloquent = [false; 256];
        for region in &anatomy.regions {
            eloquent[usize::from(region.label)] |= region.label > 0 && region.kind == RegionKind::Eloquent;
        }
        for (index, labelled) in self.labelled.iter_mut().enumerate() {
            let there = anatomy.grid.containing(&grid.centre(grid.voxel(index)));
            *labelled = there.map_or(0, |v| u8::from(eloquent[usize::from(anatomy.labels[anatomy.grid.index(v)])]));
        }
        self.transform.signed(&self.labelled, &mut self.squared);
        for (distance, squared) in self.distance_mm.iter_mut().zip(&self.squared) {
            *distance = surface_mm(*squared, grid.spacing_mm).min(REACH_MM) as f32;
        }
        for vessel in &anatomy.vessels {
            let middle = nalgebra::center(&vessel.start, &vessel.end);
            let reach = 0.5 * nalgebra::distance(&vessel.start, &vessel.end) + vessel.radius_mm + REACH_MM;
            let [xs, ys, zs] = grid.around(&middle, reach);
            for k in zs {
                for j in ys.clone() {
                    for i in xs.clone() {
                        let distance = &mut self.distance_mm[grid.index([i, j, k])];
                        *distance = distance.min(vessel.distance_mm(&grid.centre([i, j, k])) as f32);
                    }
                }
            }
        }
        self.of = Some((anatomy.digest, *grid));
        Ok(())
    }

    /// `forbidden` becomes the scene's voxels whose centres lie no farther than a setting and the error there; `doubtful` those of
    /// them that lie farther than the setting.
    pub(super) fn within(
        &mut self,
        setting_mm: f64,
        errors: &Errors<'_>,
        moved: &Moved,
        forbidden: &mut VoxelBits,
        doubtful: &mut VoxelBits,
    ) {
        moved.distances(&self.distance_mm, &mut self.now_mm);
        let (setting_mm, rigid_mm) = (setting_mm as f32, errors.rigid_mm());
        doubtful.fill_where(&self.now_mm, |d| d > setting_mm);
        match errors.everywhere_mm() {
            Some(shift_mm) => forbidden.fill_where(&self.now_mm, |d| d <= setting_mm + rigid_mm + shift_mm),
            None => {
                let voxels = self.now_mm.iter_mut().zip(errors.deviation_mm);
                voxels.for_each(|(d, shift_mm)| *d -= rigid_mm.hypot(*shift_mm));
                forbidden.fill_where(&self.now_mm, |d| d <= setting_mm);
            }
        }
        doubtful.keep(forbidden);
    }
}
