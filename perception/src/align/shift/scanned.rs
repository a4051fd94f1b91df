//! What an intraoperative scan says: where tissue was when it was taken, and the scan brought back to where tissue rests.
//!
//! ```text
//!  Displacement (register::scans) ─► places within the brain ─► least squares (fit) ─► BrainShift
//!  scan ─► read where each voxel of the scan at rest was then ─► Volume at rest, with that shift
//! ```
//! Registration says for places of the intraoperative scan where they were before. The skull holds both scans together, so that what is
//! left is where tissue has gone. The shift's lattice is coarse, and the brain leaves the skull: only places within the brain are
//! fitted, by what brains do, which carries their displacement on beyond its surface. **Units and frames:** mm, patient LPS at rest.
//! **Determinism:** whatever the number of threads. **Allocation:** runs outside the flow, and allocates.
//! **Not protected against:** tissue that is gone has no place in the intraoperative scan; there the scan at rest shows what
//! the cavity is filled with, as far as the registration takes it there.

use super::Settings;
use super::fit::{Fit, Row};
use super::model::Model;
use crate::register::scans::Displacement;
use crate::scan::{BadScan, Scan};
use bregma_core::brain_shift::{BrainShift, SHIFT_NODES, SHIFT_SPACING_MM};
use bregma_core::flow::{Anatomy, Volume};
use nalgebra::{Point3, Vector3};
use rayon::prelude::*;
use std::sync::Arc;

/// Between a place within the skull and the target lies no dark line of that length, mm: bone is one.
const BONE_MM: f64 = 4.0;
/// Dark places nearer to the target than that are cysts, mm.
const NEAR_MM: f64 = 15.0;
/// From step to step on that line, mm.
const STEP_MM: f64 = 1.0;
/// Below the cortex' plane at the craniotomy by so much, mm: above lie dura and scalp.
const BELOW_MM: f64 = 2.0;
/// Of so many nodes one speaks: registration leaves them out together.
const ALIKE_NODES: f64 = 27.0;
/// A node's error is no less, mm.
const ERROR_LEAST_MM: f64 = 0.3;
/// Nodes that hold the shift, at least.
const NODES_LEAST: usize = 100;

/// Why a scan says nothing of the shift.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unknown {
    /// One of the scans is malformed.
    #[error(transparent)]
    BadScan(#[from] BadScan),
    /// Too little of the brain is in both scans.
    #[error(
        "only {found} places within the brain around the corridor's target are in both scans; at least {least} are needed"
    )]
    Few {
        /// Were found.
        found: usize,
        /// Are needed.
        least: usize,
    },
}

/// Where tissue was in an intraoperative scan that was registered by `map`, whose moving scan is the one at rest. `up` is against gravity.
///
/// # Errors
/// [`Unknown::Few`].
pub fn shift(
    settings: &Settings,
    map: &Displacement,
    rest: &Scan,
    anatomy: &Anatomy,
    up: Option<Vector3<f64>>,
) -> Result<BrainShift, Unknown> {
    let up = up.unwrap_or(anatomy.craniotomy.outward);
    let target = anatomy.corridor.target;
    let model = Model::new(settings, target, &anatomy.corridor.entry, &up);
    let mut fit = Fit::new(&model, 0.0, 0.0);
    fit.begin();
    let brain = Brain { rest, anatomy, bright: rest.tissue_brightness() };
    let reach = 0.5 * (SHIFT_NODES - 1) as f64 * SHIFT_SPACING_MM;
    let (mut found, mut squares) = (0, 0.0);
    for (node, error_mm) in map.error_mm.iter().enumerate() {
        let fixed = map.lattice.centre(map.lattice.voxel(node));
        let at = map.moving(&fixed);
        if (at - target).amax() > reach || !brain.holds(&at) {
            continue;
        }
        found += 1;
        let now = map.moving_from_fixed * fixed;
        let place = model.at(&at);
        let error_mm = f64::from(*error_mm).max(ERROR_LEAST_MM);
        squares += error_mm * error_mm;
        for axis in 0..3 {
            let direction = model.direction(axis);
            let mut row = Row::along(&model, &place.modes, &direction);
            row.off = direction.dot(&(now - at - place.mean));
            row.weight = 3.0 / (error_mm * error_mm * ALIKE_NODES);
            fit.add(&row);
        }
    }
    if found < NODES_LEAST {
        return Err(Unknown::Few { found, least: NODES_LEAST });
    }
    fit.solve();
    fit.invert();
    let usual = squares / f64::from(u32::try_from(found).unwrap_or(u32::MAX));
    let mut shift = BrainShift::still(target);
    shift.set(target, |node| {
        let place = model.node(node);
        let by = place.mean + Fit::displacement(&model, &fit.found, &place.modes);
        // What places err by together, no fit of them shows.
        (by, (fit.variance(&place.modes) + model.left_out(node) + usual).sqrt())
    });
    Ok(shift)
}

/// What counts as brain in the scan at rest.
struct Brain<'a> {
    rest: &'a Scan,
    anatomy: &'a Anatomy,
    bright: f32,
}

impl Brain<'_> {
    fn holds(&self, at: &Point3<f64>) -> bool {
        let (corridor, outward) = (&self.anatomy.corridor, self.anatomy.craniotomy.outward);
        if (at - corridor.entry).dot(&outward) > -BELOW_MM || !self.is_tissue(at) {
            return false;
        }
        let way = at - corridor.target;
        let length = way.norm();
        let mut dark = 0.0;
        let mut along = NEAR_MM;
        while along < length {
            dark = if self.is_tissue(&(corridor.target + way * (along / length))) { 0.0 } else { dark + STEP_MM };
            if dark >= BONE_MM {
                return false;
            }
            along += STEP_MM;
        }
        true
    }

    fn is_tissue(&self, at: &Point3<f64>) -> bool {
        self.rest.brightness(at) >= self.bright
    }
}

/// An intraoperative scan, brought back to where tissue rests, on the voxels of the scan at rest; with where tissue was then. What has
/// no place in it is as dark as its background.
///
/// # Errors
/// [`Unknown::BadScan`].
pub fn at_rest(
    scan: &Arc<Volume>,
    rest: &Volume,
    map: &Displacement,
    shift: &Arc<BrainShift>,
) -> Result<Volume, Unknown> {
    let read = Scan::new(Arc::clone(scan))?;
    let [nx, ny, _] = rest.dims;
    let mut intensities = vec![read.statistics.background; rest.intensities.len()];
    intensities.par_chunks_exact_mut(nx).enumerate().for_each(|(row, line)| {
        let mut near: Option<Point3<f64>> = None;
        for (i, value) in line.iter_mut().enumerate() {
            let voxel = Point3::new(i as f64, (row % ny) as f64, (row / ny) as f64);
            let at = rest.patient_from_voxel.transform_point(&voxel);
            let place = near.map_or_else(|| map.fixed(&at), |near| map.fixed_near(&at, &near));
            if let Some(place) = place {
                *value += read.brightness(&place);
            }
            near = place;
        }
    });
    Ok(Volume {
        modality: scan.modality,
        dims: rest.dims,
        intensities,
        patient_from_voxel: rest.patient_from_voxel,
        frame: rest.frame,
        acquired: scan.acquired,
        shift: Some(Arc::clone(shift)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::digest::Digest;
    use bregma_core::flow::{Corridor, Craniotomy, Modality};
    use bregma_core::frame::FrameId;
    use bregma_core::grid::Grid;
    use bregma_core::time::Instant;
    use nalgebra::{Isometry3, Matrix4};

    const EDGE: usize = 130;
    const ENTRY: Point3<f64> = Point3::new(0.0, 0.0, 46.0);

    /// What the head is at rest: brain whose brightness changes, bone, scalp.
    fn head(at: &Point3<f64>) -> f32 {
        let wave = at.x.mul_add(0.2, 1.0).sin() + (0.17 * at.y).cos() + (0.15 * at.z).sin();
        match at.coords.norm() {
            r if r < 50.0 => 100.0 + 8.0 * wave as f32,
            r if r < 57.0 => 10.0,
            r if r < 62.0 => 90.0,
            _ => 0.0,
        }
    }

    fn volume(acquired: Instant, value: impl Fn(&Point3<f64>) -> f32) -> Arc<Volume> {
        let middle = (EDGE as f64 - 1.0) / 2.0;
        let places = (0..EDGE.pow(3)).map(|n| Point3::new(n % EDGE, n / EDGE % EDGE, n / EDGE / EDGE));
        let intensities = places.map(|p| value(&p.map(|c| c as f64 - middle))).collect();
        let patient_from_voxel = Matrix4::new_translation(&Vector3::repeat(-middle));
        let (modality, dims, frame) = (Modality::T1c, [EDGE; 3], FrameId(7));
        Arc::new(Volume { modality, dims, intensities, patient_from_voxel, frame, acquired, shift: None })
    }

    fn anatomy() -> Anatomy {
        let grid = Grid::centred(Point3::origin(), [2; 3], 1.0);
        Anatomy {
            frame: FrameId(7),
            vessels: Vec::new(),
            grid,
            labels: vec![0; grid.len()],
            regions: Vec::new(),
            craniotomy: Craniotomy { centre: ENTRY, outward: Vector3::z(), radius_mm: 15.0 },
            corridor: Corridor {
                entry: ENTRY,
                target: Point3::new(2.0, -3.0, 20.0),
                entry_radius_mm: 8.0,
                end_radius_mm: 6.0,
                open_mm: 20.0,
            },
            digest: Digest::default(),
        }
    }

    /// How far tissue that is at a place of the intraoperative scan was from it before: it has sunk.
    fn before(fixed: &Point3<f64>) -> Vector3<f64> {
        let far = (fixed - ENTRY).norm_squared() / (2.0 * 35.0 * 35.0);
        // What leaves the skull leaves it behind.
        if fixed.coords.norm() < 50.0 { Vector3::new(0.0, 1.0, 7.0) * libm::exp(-far) } else { Vector3::zeros() }
    }

    fn map(set_up: Isometry3<f64>) -> Displacement {
        let lattice = Grid::centred(Point3::origin(), [27; 3], 5.0);
        let at = |n: usize| set_up.inverse_transform_point(&lattice.centre(lattice.voxel(n)));
        let moved = (0..lattice.len()).map(|n| set_up.rotation * before(&at(n))).collect();
        Displacement { lattice, moving_from_fixed: set_up.inverse(), moved, error_mm: vec![0.6; lattice.len()] }
    }

    #[test]
    fn a_scan_says_where_tissue_was_and_beyond_the_brain_it_goes_on_as_below() {
        let rest = volume(Instant::START, head);
        let settings = Settings::default();
        // The patient lay otherwise in the second scan.
        let set_up = Isometry3::new(Vector3::new(4.0, -2.0, 3.0), Vector3::new(0.02, 0.05, -0.03));
        let map = map(set_up);
        let scan = Scan::new(Arc::clone(&rest)).expect("sound");
        let shift = super::shift(&settings, &map, &scan, &anatomy(), None).expect("enough of the brain");
        for fixed in [
            Point3::new(0.0, 0.0, 20.0),
            Point3::new(10.0, 5.0, 30.0),
            Point3::new(-8.0, 8.0, 36.0),
            Point3::new(0.0, 0.0, 38.0),
        ] {
            let gone = before(&fixed);
            let rest = fixed + gone;
            let off = (shift.now(&rest) - fixed).norm();
            assert!(off < 0.15 * gone.norm() + 0.2, "{fixed}: {off} of {}", gone.norm());
            let stated = shift.deviation_mm(&rest);
            assert!((0.6..1.5).contains(&stated), "{stated}");
        }
        // The dura above the brain is bone's neighbour; what is believed of it is what the cortex below does.
        let above = ENTRY + Vector3::z() * 6.0;
        assert!(shift.now(&above).z < above.z - 4.0, "{}", shift.now(&above));
        let bare =
            Scan::new(volume(Instant::START, |at| if at.coords.norm() < 12.0 { 100.0 + at.x as f32 } else { 0.0 }))
                .expect("a scan");
        let why = super::shift(&settings, &map, &bare, &anatomy(), None).expect_err("too little");
        assert!(matches!(why, Unknown::Few { .. }), "{why}");
    }

    #[test]
    fn a_scan_that_is_brought_back_shows_tissue_where_it_rests_and_when_it_was_made() {
        let rest = volume(Instant::START, head);
        let (map, acquired) = (map(Isometry3::identity()), Instant::from_nanos(90));
        let later = volume(acquired, |fixed| head(&map.moving(fixed)));
        let shift = Arc::new(BrainShift::still(Point3::origin()));
        let back = at_rest(&later, &rest, &map, &shift).expect("sound");
        assert_eq!((back.acquired, back.frame, back.dims), (acquired, FrameId(7), rest.dims));
        assert!(back.shift.as_ref().is_some_and(|s| Arc::ptr_eq(s, &shift)));
        let off = |n: usize| (back.intensities[n] - rest.intensities[n]).abs();
        let within: Vec<usize> = (0..rest.intensities.len())
            .filter(|n| {
                let at = Point3::new(n % EDGE, n / EDGE % EDGE, n / EDGE / EDGE).map(|c| c as f64 - 64.5);
                at.coords.norm() < 40.0
            })
            .collect();
        let worst = within.iter().map(|n| off(*n)).fold(0.0, f32::max);
        assert!(worst < 3.0, "{worst}");
        let plain = within.iter().filter(|n| (later.intensities[**n] - rest.intensities[**n]).abs() > 4.0).count();
        assert!(plain > 10_000, "before it was elsewhere: {plain}");
    }
}
