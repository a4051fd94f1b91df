//! Ground truth around the tumour, on a 1 mm grid. **Never reachable through a device.**
//!
//! **Frame:** patient LPS, mm. Voxels coincide with the head's.

use crate::anatomy::eloquent;
use crate::anatomy::head::{Head, tissue};
use crate::distance;
use crate::tumour::mass_effect::MassEffect;
use crate::tumour::{CORE_DENSITY, VISIBLE_DENSITY};
use bregma_core::flow::Capsule;
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Edge of the truth grid in voxels, for cores up to 25 mL: the fine region's 80 mm and room for the way in.
pub const TRUTH_EDGE: usize = 112;
/// Core volumes from which the grid is larger, mL, and its edge then: a ball of 110 mL is 60 mm wide, its
/// oedema up to 100 mm.
const LARGER: [(f64, usize); 3] = [(70.0, 160), (40.0, 144), (25.0, 128)];
/// Distances to vessels are kept up to there.
pub(crate) const VESSEL_REACH_MM: f32 = 6.0;
/// Tissue there.
pub(crate) const SOLID: u8 = 0;
/// Open when the case started.
pub(crate) const OPEN: u8 = 1;
/// Removed since.
pub(crate) const REMOVED: u8 = 2;

/// What a voxel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Label {
    /// Outside the brain and the bone: subdural space, scalp, air.
    Outside,
    /// Bone with dura.
    Skull,
    /// Cerebrospinal fluid, ventricles included.
    Csf,
    /// Grey matter.
    Grey,
    /// White matter.
    White,
    /// Tissue that tumour cells have infiltrated enough to show on FLAIR.
    Infiltrated,
    /// The core's living part; it enhances, unless the tumour is of low grade.
    Enhancing,
    /// The core's necrotic centre.
    Necrosis,
}

impl Label {
    /// Necrotic or enhancing.
    #[must_use]
    pub const fn core(self) -> bool {
        matches!(self, Self::Enhancing | Self::Necrosis)
    }

    /// Tissue of the brain, tumour included.
    #[must_use]
    pub const fn brain(self) -> bool {
        matches!(self, Self::Grey | Self::White | Self::Infiltrated) || self.core()
    }

    /// As BraTS numbers it; 0 of what is no tumour.
    #[must_use]
    pub const fn brats(self) -> u8 {
        match self {
            Self::Necrosis => 1,
            Self::Infiltrated => 2,
            Self::Enhancing => 4,
            _ => 0,
        }
    }

    const ALL: [Self; 8] = [
        Self::Outside,
        Self::Skull,
        Self::Csf,
        Self::Grey,
        Self::White,
        Self::Infiltrated,
        Self::Enhancing,
        Self::Necrosis,
    ];

    /// The label that is that number.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// Whether it is tissue of the brain or the tumour.
    #[must_use]
    pub const fn tissue(self) -> bool {
        matches!(self, Self::Grey | Self::White | Self::Infiltrated | Self::Enhancing | Self::Necrosis)
    }
}

/// Ground truth before the first cut.
pub(crate) struct Truth {
    pub grid: Grid,
    /// Cell density, 0 to 1.
    pub density: Vec<f32>,
    pub labels: Vec<Label>,
    /// Eloquent region of brain tissue, 0 for none.
    pub eloquent: Vec<u8>,
    /// Distance from eloquent tissue, mm.
    pub eloquent_mm: Vec<f32>,
    /// Distance from the surface of the nearest vessel of at least 1 mm, mm, up to 6.
    pub vessel_mm: Vec<f32>,
    /// The same for thinner vessels.
    pub thin_vessel_mm: Vec<f32>,
}

/// Edge of the truth grid of a core, in voxels.
pub(crate) fn edge(core_ml: f64) -> usize {
    LARGER.iter().find(|(from, _)| core_ml > *from).map_or(TRUTH_EDGE, |(_, edge)| *edge)
}

/// A truth grid around a head voxel, with the tissues there.
pub(crate) fn crop(head: &Head, middle: [usize; 3], edge: usize) -> (Grid, Vec<u8>) {
    let half = edge / 2;
    let origin = std::array::from_fn(|a| head.grid.origin[a] + middle[a] as f64 - half as f64);
    let grid = Grid { dims: [edge; 3], spacing_mm: 1.0, origin };
    let mut tissues = vec![tissue::OUTSIDE; grid.len()];
    for (row, line) in tissues.chunks_exact_mut(edge).enumerate() {
        let (j, k) = (row % edge + middle[1], row / edge + middle[2]);
        let (Some(j), Some(k)) = (j.checked_sub(half), k.checked_sub(half)) else { continue };
        if j >= head.grid.dims[1] || k >= head.grid.dims[2] {
            continue;
        }
        for (i, to) in line.iter_mut().enumerate() {
            if let Some(i) = (i + middle[0]).checked_sub(half).filter(|i| *i < head.grid.dims[0]) {
                *to = head.tissue[head.grid.index([i, j, k])];
            }
        }
    }
    (grid, tissues)
}

/// The eloquent region of every voxel, 0 for none.
pub(crate) fn eloquent_map(head: &Head, push: &MassEffect, grid: &Grid, tissues: &[u8]) -> Vec<u8> {
    let label = |(i, t): (usize, &u8)| match *t {
        tissue::GREY | tissue::WHITE => {
            let rest = push.rest(head, &grid.centre(grid.voxel(i)));
            eloquent::region(&head.warp.mni_ras(&rest))
        }
        _ => 0,
    };
    tissues.iter().enumerate().map(label).collect()
}

pub(crate) fn labels(head: &Head, grid: &Grid, tissues: &[u8], density: &[f32], necrotic: &[bool]) -> Vec<Label> {
    let label = |i: usize| match tissues[i] {
        tissue::OUTSIDE => {
            let above = -head.depth_mm(&grid.centre(grid.voxel(i)));
            if (crate::anatomy::head::SKULL_INNER_MM..crate::anatomy::head::SKULL_OUTER_MM).contains(&above) {
                Label::Skull
            } else {
                Label::Outside
            }
        }
        tissue::CSF | tissue::VENTRICLE => Label::Csf,
        _ if necrotic[i] => Label::Necrosis,
        _ if density[i] >= CORE_DENSITY => Label::Enhancing,
        _ if density[i] >= VISIBLE_DENSITY => Label::Infiltrated,
        tissue::GREY => Label::Grey,
        _ => Label::White,
    };
    (0..grid.len()).map(label).collect()
}

/// Distance of every voxel from the nearest surface of those vessels, mm, up to [`VESSEL_REACH_MM`].
pub(crate) fn vessel_distance<'a>(grid: &Grid, vessels: impl Iterator<Item = &'a Capsule>) -> Vec<f32> {
    let mut field = vec![VESSEL_REACH_MM; grid.len()];
    for vessel in vessels {
        let middle: Point3<f64> = nalgebra::center(&vessel.start, &vessel.end);
        let reach =
            f64::from(VESSEL_REACH_MM) + vessel.radius_mm + 0.5 * nalgebra::distance(&vessel.start, &vessel.end);
        let [xs, ys, zs] = grid.around(&middle, reach);
        for k in zs {
            for j in ys.clone() {
                for i in xs.clone() {
                    let at = &mut field[grid.index([i, j, k])];
                    *at = at.min(vessel.distance_mm(&grid.centre([i, j, k])) as f32);
                }
            }
        }
    }
    field
}

/// Distance from eloquent tissue, mm.
pub(crate) fn eloquent_distance(grid: &Grid, eloquent: &[u8]) -> Vec<f32> {
    let squared = distance::squared(grid.dims, |i| eloquent[i] > 0);
    squared.into_iter().map(|d| if d > 0.0 { d.sqrt() - 0.5 } else { -0.5 }).collect()
}
