//! Time-of-flight MR angiography at 0.5 mm, around the tumour.
//!
//! Fresh blood is bright, still tissue saturated and dark; small vessels fade, since their blood is slow
//! and fills a voxel in part only: below about 0.6 mm nothing shows. Venous blood is saturated on its way
//! back and stays faint. **Extent:** the truth grid, 112 mm at most. **Frame:** patient LPS. **Allocation:** 45 MB. **Not modelled:** the direction of flow, turbulence, slab boundaries.

use super::ScannerSettings;
use super::artefacts::Artefacts;
use super::contrasts::Contrasts;
use super::{AIR, WHITE, brain_and_shells};
use crate::anatomy::vessels::VesselKind;
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use bregma_core::flow::{Capsule, Modality, Volume};
use bregma_core::grid::Grid;
use bregma_core::time::Instant;
use nalgebra::{Matrix4, Point3, Vector3};

/// Edge of a voxel, mm.
const SPACING_MM: f64 = 0.5;
/// Largest extent, mm.
const EXTENT_MM: f64 = 112.0;
/// Diameters between which an artery's blood rises from nothing to all of its signal, mm.
const SEEN_MM: [f64; 2] = [0.45, 1.1];
/// Signal of still white matter over its signal on the other scans.
const STILL: f32 = 0.46;
/// A vein's signal as a share of an artery's.
const VENOUS_SHARE: f32 = 0.2;

impl Patient {
    /// The angiogram.
    pub(crate) fn mra(&self, acquired: Instant) -> Volume {
        let mut draws = Draws::new(self.seed ^ acquired.nanos() ^ (Modality::Mra as u64) << 60, Purpose::Scan);
        let whole = ScannerSettings { thick_share: 0.0, partial_share: 0.0, ..self.scanner };
        let artefacts = Artefacts::drawn(&mut draws, &whole, Modality::Mra);
        let gain = WHITE * draws.uniform(0.9, 1.1) as f32;
        let contrasts = self.contrasts(Modality::Mra);
        let arterial = STILL * contrasts.vessel;
        let truth = &self.truth.grid;
        let extent = (truth.dims[0] as f64).min(EXTENT_MM);
        let middle = nalgebra::center(&truth.centre([0; 3]), &truth.centre(truth.dims.map(|n| n - 1)));
        let grid = Grid::centred(middle, [(extent / SPACING_MM) as usize; 3], SPACING_MM);
        let mut picture = self.saturated(&grid, &contrasts);
        for (kind, vessel) in self.vessels() {
            let share = if kind == VesselKind::Vein { VENOUS_SHARE } else { 1.0 };
            add(&grid, vessel, arterial * share, &mut picture);
        }
        artefacts.apply(&mut picture, grid.dims, SPACING_MM, gain);
        let [x, y, z] = grid.origin;
        Volume {
            modality: Modality::Mra,
            dims: grid.dims,
            intensities: picture,
            patient_from_voxel: Matrix4::new_translation(&Vector3::new(x, y, z)).prepend_scaling(SPACING_MM),
            frame: self.frame(),
            acquired,
            shift: None,
        }
    }

    /// Still tissue, saturated: that of the nearest voxel of the head.
    fn saturated(&self, grid: &Grid, contrasts: &Contrasts) -> Vec<f32> {
        let head = &self.head.grid;
        let painted = brain_and_shells(&self.head, contrasts);
        let [xs, ys, zs]: [Vec<Option<usize>>; 3] = std::array::from_fn(|a| {
            let at = |i: usize| (grid.origin[a] + grid.spacing_mm * i as f64 - head.origin[a] + 0.5).floor();
            let inside = |v: f64| (v >= 0.0 && v < head.dims[a] as f64).then_some(v as usize);
            (0..grid.dims[a]).map(|i| inside(at(i))).collect()
        });
        let mut picture = Vec::with_capacity(grid.len());
        for (k, j) in zs.iter().flat_map(|k| ys.iter().map(move |j| (k, j))) {
            match (j, k) {
                (Some(j), Some(k)) => {
                    let row = &painted[head.index([0, *j, *k])..][..head.dims[0]];
                    picture.extend(xs.iter().map(|i| i.map_or(AIR, |i| STILL * row[i])));
                }
                _ => picture.resize(picture.len() + grid.dims[0], AIR),
            }
        }
        picture
    }
}

/// Adds one vessel: brighter the wider, by the share of each voxel that it fills.
fn add(grid: &Grid, vessel: &Capsule, level: f32, picture: &mut [f32]) {
    let seen = ((2.0 * vessel.radius_mm - SEEN_MM[0]) / (SEEN_MM[1] - SEEN_MM[0])).clamp(0.0, 1.0) as f32;
    if seen <= 0.0 {
        return;
    }
    let middle: Point3<f64> = nalgebra::center(&vessel.start, &vessel.end);
    let reach = vessel.radius_mm + 1.0 + 0.5 * nalgebra::distance(&vessel.start, &vessel.end);
    let [xs, ys, zs] = grid.around(&middle, reach);
    for (k, j) in zs.flat_map(|k| ys.clone().map(move |j| (k, j))) {
        for i in xs.clone() {
            let off = vessel.distance_mm(&grid.centre([i, j, k])) / SPACING_MM;
            let share = seen * (0.5 - off).clamp(0.0, 1.0) as f32;
            let value = &mut picture[grid.index([i, j, k])];
            *value = value.max(*value + share * (level - *value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patient::tests::grown;

    #[test]
    fn wide_arteries_shine_thin_ones_do_not_and_veins_are_faint() {
        let p = grown();
        let scan = p.scan(Modality::Mra);
        let [x, y, z] = std::array::from_fn(|a| scan.patient_from_voxel[(a, 3)]);
        let grid = Grid { dims: scan.dims, spacing_mm: SPACING_MM, origin: [x, y, z] };
        let mean = |wanted: &dyn Fn(&Capsule, bool) -> bool| {
            let chosen = p.vessels().filter(|(kind, v)| wanted(v, *kind == VesselKind::Vein));
            let middles = chosen.filter_map(|(_, v)| grid.containing(&nalgebra::center(&v.start, &v.end)));
            let values: Vec<f32> = middles.map(|v| scan.intensities[grid.index(v)]).collect();
            (values.iter().sum::<f32>() / values.len().max(1) as f32, values.len())
        };
        let (wide, n) = mean(&|v, vein| !vein && v.radius_mm > 0.6);
        let (thin, m) = mean(&|v, vein| !vein && v.radius_mm < 0.29);
        let (venous, veins) = mean(&|v, vein| vein && v.radius_mm > 0.6);
        assert!(
            n > 3 && m > 3 && veins > 3 && wide > 1.8 * thin && wide > 1.8 * venous,
            "{wide} of {n}, {thin} of {m}, {venous}"
        );
    }
}
