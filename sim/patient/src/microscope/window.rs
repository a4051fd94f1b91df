//! What the microscope can see of the truth grid: a cube of [`TRUTH_EDGE`] voxels around the way in.
//!
//! Large tumours have larger truth grids; through a craniotomy of some 40 mm nobody sees all of one. A cube
//! of one size keeps the renderer's arithmetic constant. **Frame:** patient LPS, mm; voxels coincide with
//! the truth's. **Allocation:** in [`Window::of`] and [`Window::take`].

use crate::patient::Patient;
use crate::truth::{Label, TRUTH_EDGE};
use bregma_core::grid::Grid;

/// Distance from a vessel's surface below which a voxel is blood, mm.
const BLOOD_MM: f32 = 0.3;

/// The cube and what is in it.
pub(crate) struct Window {
    pub grid: Grid,
    pub labels: Vec<Label>,
    /// Whether a voxel is mostly a vessel.
    pub blood: Vec<bool>,
    truth: Grid,
    /// The truth voxel of the cube's first.
    first: [usize; 3],
}

impl Window {
    pub(crate) fn of(patient: &Patient) -> Self {
        let (truth, corridor) = (&patient.truth, &patient.corridor);
        // Between brain surface and target: what lies behind the target is seen last.
        let middle = truth.grid.coordinates(&nalgebra::center(&corridor.entry, &corridor.target));
        let first = std::array::from_fn(|a| {
            let most = truth.grid.dims[a].saturating_sub(TRUTH_EDGE) as f64;
            (middle[a] - TRUTH_EDGE as f64 / 2.0).round().clamp(0.0, most) as usize
        });
        let corner = truth.grid.centre(first);
        let grid = Grid { dims: [TRUTH_EDGE; 3], spacing_mm: 1.0, origin: corner.coords.into() };
        let mut window = Self { grid, labels: Vec::new(), blood: Vec::new(), truth: truth.grid, first };
        window.labels = window.take(&truth.labels);
        let (wide, thin) = (window.take(&truth.vessel_mm), window.take(&truth.thin_vessel_mm));
        window.blood = wide.iter().zip(&thin).map(|(a, b)| a.min(*b) < BLOOD_MM).collect();
        window
    }

    /// The cube's part of something kept for every truth voxel.
    pub(crate) fn take<T: Copy>(&self, of_truth: &[T]) -> Vec<T> {
        let [x, y, z] = self.first;
        let mut out = Vec::with_capacity(self.grid.len());
        for (j, k) in (0..TRUTH_EDGE).flat_map(|k| (0..TRUTH_EDGE).map(move |j| (j, k))) {
            let row = self.truth.index([x, y + j, z + k]);
            out.extend_from_slice(&of_truth[row..row + TRUTH_EDGE]);
        }
        out
    }

    /// The cube's voxel of a truth voxel, if it is in it.
    pub(crate) fn voxel(&self, of_truth: u32) -> Option<u32> {
        if self.truth.dims == self.grid.dims {
            return Some(of_truth);
        }
        let at = self.truth.voxel(of_truth as usize);
        let mut here = [0; 3];
        for a in 0..3 {
            here[a] = at[a].checked_sub(self.first[a]).filter(|c| *c < TRUTH_EDGE)?;
        }
        u32::try_from(self.grid.index(here)).ok()
    }
}
