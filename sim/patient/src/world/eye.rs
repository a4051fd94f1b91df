//! What a surgeon sees through the microscope: how much of the wound is covered, and whether it bleeds.
//!
//! A coarse look from where the microscope truly stands: a ray for every 1.2 mm, through air and what was
//! opened, to the first tissue. **Frames:** patient LPS now, mm. **Allocation:** none. It is a person's view,
//! not the runtime's: no device gives it away. **Not modelled:** focus, depth of blood that can be looked
//! through, what a person remembers.

use super::{SharedWorld, World};
use crate::truth::{Label, OPEN, REMOVED, SOLID};
use nalgebra::Point3;

/// Rays across and down the picture.
const RAYS: [usize; 2] = [40, 22];
/// Length of a step along a ray, mm.
const STEP_MM: f64 = 0.7;
/// Blood that hides so much of a voxel covers it, of 255.
const COVERS: u8 = 128;
/// A voxel of a thin vessel: its middle lies that near its surface, mm; so far the microscope paints it.
const VESSEL_MM: f32 = 0.3;

/// What a surgeon sees now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SurgeonSight {
    /// Share of the wall of corridor and cavity in view that blood covers.
    pub covered: f64,
    /// Share of the middle of the picture that cotton or hands hide.
    pub occluded: f64,
    /// Whether it bleeds heavily into view.
    pub heavy_bleeding: bool,
    /// Whether the tip is past the craniotomy.
    pub inside: bool,
    /// Whether a treatment goes on.
    pub treating: bool,
}

impl SharedWorld {
    /// What a surgeon sees now.
    #[must_use]
    pub fn sight(&self) -> SurgeonSight {
        self.lock().sight()
    }
}

impl World {
    fn sight(&self) -> SurgeonSight {
        let covered = self.covered();
        let heavy = self.bleeding.flow_mm3_s(self.now) >= self.settings.instrument.heavy_mm3_s;
        SurgeonSight {
            covered,
            occluded: self.occlusion.as_ref().map_or(0.0, |o| o.hidden(self.now.secs_f64())),
            heavy_bleeding: heavy && covered > 0.0,
            inside: self.inside(),
            treating: self.bleeding.treating(),
        }
    }

    /// Share of the wall in view that blood covers.
    fn covered(&self) -> f64 {
        let Some(films) = self.bleeding.films().filter(|films| !films.films.is_empty()) else { return 0.0 };
        let [width, height] = self.true_camera.size_px.map(|n| n as f64);
        let (mut wall, mut hidden) = (0_u32, 0_u32);
        for row in 0..RAYS[1] {
            for column in 0..RAYS[0] {
                let u = (column as f64 + 0.5) / RAYS[0] as f64 * width;
                let v = (row as f64 + 0.5) / RAYS[1] as f64 * height;
                let Some(voxel) = self.meets(u, v).filter(|voxel| self.is_wall(*voxel)) else { continue };
                wall += 1;
                // Films are listed by voxel.
                let film = films.films.binary_search_by_key(&(voxel as u32), |film| film.voxel);
                hidden += u32::from(film.is_ok_and(|n| films.films[n].blood >= COVERS));
            }
        }
        if wall == 0 { 0.0 } else { f64::from(hidden) / f64::from(wall) }
    }

    /// The truth voxel of tissue that a ray through the picture meets first, from the craniotomy on.
    fn meets(&self, u: f64, v: f64) -> Option<usize> {
        let eye = Point3::from(self.true_camera.patient_from_camera.isometry().translation.vector);
        let ray = self.true_camera.ray(u, v);
        let craniotomy = &self.patient.craniotomy;
        let fall = ray.dot(&craniotomy.outward);
        if fall >= -1e-6 {
            return None;
        }
        let start = (craniotomy.centre - eye).dot(&craniotomy.outward) / fall;
        let enters = eye + ray * start;
        if nalgebra::distance(&enters, &craniotomy.centre) > craniotomy.radius_mm {
            return None;
        }
        let grid = &self.patient.truth.grid;
        let longest = grid.dims.iter().max().copied().unwrap_or(0) as f64 * grid.spacing_mm;
        let steps = (longest / STEP_MM) as usize;
        for n in 0..steps {
            let at = enters + ray * (n as f64 * STEP_MM);
            let Some(voxel) = grid.containing(&self.field().rest(&at)) else { continue };
            let index = grid.index(voxel);
            if self.resection.state[index] == SOLID && self.patient.truth.labels[index] != Label::Outside {
                return Some(index);
            }
        }
        None
    }

    /// Whether a voxel is wall of the cavity or of the corridor: beside what was opened in tissue.
    pub(super) fn is_wall(&self, voxel: usize) -> bool {
        let grid = &self.patient.truth.grid;
        let v = grid.voxel(voxel);
        (0..27).any(|n| {
            let by = [n % 3, n / 3 % 3, n / 9];
            let mut beside = [0; 3];
            for a in 0..3 {
                let c = (v[a] + by[a]).checked_sub(1).filter(|c| *c < grid.dims[a]);
                let Some(c) = c else { return false };
                beside[a] = c;
            }
            let m = grid.index(beside);
            let label = self.patient.truth.labels[m];
            match self.resection.state[m] {
                REMOVED => true,
                OPEN => label.tissue() || label == Label::Csf,
                _ => false,
            }
        })
    }

    /// Whether a person could have seen a vessel piece before the last second's work: some of it lay bare, was
    /// not under blood, and nothing stood between it and the microscope.
    pub(super) fn was_shown(&self, piece: usize) -> bool {
        let vessel = &self.patient.vessels[piece];
        let (truth, recent) = (&self.patient.truth, &self.resection.journal[self.bleeding.a_second_ago()..]);
        let solid = |i: usize| self.resection.state[i] == SOLID || recent.contains(&(i as u32));
        let length = nalgebra::distance(&vessel.start, &vessel.end);
        let pieces = length.ceil().max(1.0) as usize;
        (0..=pieces).any(|n| {
            let at = vessel.start + (vessel.end - vessel.start) * (n as f64 / pieces as f64);
            let [xs, ys, zs] = truth.grid.around(&at, 1.0);
            zs.flat_map(|k| ys.clone().map(move |j| (j, k))).any(|(j, k)| {
                xs.clone().any(|i| {
                    let index = truth.grid.index([i, j, k]);
                    truth.thin_vessel_mm[index] <= VESSEL_MM
                        && solid(index)
                        && self.bleeding.covered(index) < 0.5
                        && self.in_view([i, j, k], &solid)
                })
            })
        })
    }

    /// Whether nothing solid stands between a voxel and the microscope.
    fn in_view(&self, voxel: [usize; 3], solid: &impl Fn(usize) -> bool) -> bool {
        let grid = &self.patient.truth.grid;
        let from = self.field().now(&grid.centre(voxel));
        let eye = Point3::from(self.true_camera.patient_from_camera.isometry().translation.vector);
        let Some(way) = (eye - from).try_normalize(1e-9) else { return false };
        let mut n = 1.0;
        loop {
            let at = from + way * (n * STEP_MM);
            let Some(here) = grid.containing(&self.field().rest(&at)) else { return true };
            let index = grid.index(here);
            if here != voxel && solid(index) && self.patient.truth.labels[index] != Label::Outside {
                return false;
            }
            n += 1.0;
        }
    }
}
