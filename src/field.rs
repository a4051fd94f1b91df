//! Signed distance fields on the fine region, millimetres: for the display and for the evaluation.

use bregma_core::flow::{ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS};
use bregma_perception::distance::{DistanceTransform, surface_mm};

/// Makes signed distance fields. **Allocation:** in [`SignedField::default`] only.
pub struct SignedField {
    transform: DistanceTransform,
    inside: Vec<u8>,
    squared: Vec<i32>,
    mm: Vec<f32>,
}

impl Default for SignedField {
    fn default() -> Self {
        Self {
            transform: DistanceTransform::new([ROI_EDGE; 3]),
            inside: vec![0; ROI_VOXELS],
            squared: vec![0; ROI_VOXELS],
            mm: vec![0.0; ROI_VOXELS],
        }
    }
}

impl SignedField {
    /// Distance of every voxel from the surface of a region, positive outside, `[64³]`.
    pub fn of(&mut self, inside: impl Iterator<Item = bool>) -> &[f32] {
        for (to, from) in self.inside.iter_mut().zip(inside) {
            *to = u8::from(from);
        }
        self.transform.signed(&self.inside, &mut self.squared);
        for (mm, squared) in self.mm.iter_mut().zip(&self.squared) {
            // Where there is no other class, farther than the region is wide.
            *mm = surface_mm(*squared, ROI_SPACING_MM).clamp(-1e3, 1e3) as f32;
        }
        &self.mm
    }
}
