//! Where the scan's vessels are in a picture: an offset of all of them first, then each by itself.
//!
//! 1. Vessels on the exposed cortex, sampled every [`STEP_MM`], are projected where they are believed to be now. Of all
//!    offsets of the picture up to [`SEARCH_MM`], the one at which most of them lie on lines that run as they do.
//! 2. Around that, each sample looks along its normal for the strongest line, as edges are tracked (C. Harris and C. Stennett,
//!    RAPID, BMVC 1990).
//!
//! An offset counts only if it stands out of the others ([`STANDS_OUT`]) and enough samples then find a line. **Units:** mm;
//! pixels of the reduced picture. **Allocation:** when an anatomy arrives. **Not protected against:** a cortex
//! whose own small vessels, which no scan shows, run like those that it shows a few millimetres aside.

use super::ridges::{REDUCED, Ridges};
use crate::align::evidence::Shaft;
use crate::scan::Scan;
use bregma_core::flow::{Anatomy, CameraCalibration};
use nalgebra::{Point3, Vector2, Vector3};

/// From sample to sample along a vessel.
pub const STEP_MM: f64 = 1.0;
/// Offsets of the whole picture that are tried.
const SEARCH_MM: f64 = 6.0;
/// Samples that must be in view.
const VIEW_MIN: usize = 12;
/// Standard deviations that the best offset's agreement lies above the mean of all.
const STANDS_OUT: f32 = 4.0;
/// How far around the offset each looks for its line.
const EACH_MM: f64 = 1.2;
/// A line of less is none.
const STRENGTH_MIN: f32 = 0.015;
/// Share of samples that must find one.
const FOUND_MIN: f64 = 0.4;
/// Samples outside the craniotomy by more than that are not looked at, mm.
const BESIDE_MM: f64 = 3.0;
/// How deep below the craniotomy's plane cortex may lie, mm.
const DEEP_MM: f64 = 30.0;

/// A place on a vessel, in the scan's coordinates.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Where.
    pub rest: Point3<f64>,
    /// Along the vessel, unit.
    pub along: Vector3<f64>,
}

/// A sample's line.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Which sample.
    pub sample: usize,
    /// Across the vessel in the picture, unit.
    pub normal: Vector2<f64>,
    /// How far along it the line lies from where the vessel was believed to be, pixels of the reduced picture.
    pub off_px: f64,
}

/// The exposed vessels of an anatomy.
#[must_use]
pub fn exposed(anatomy: &Anatomy, scan: &Scan) -> Vec<Sample> {
    let hole = &anatomy.craniotomy;
    let mut samples = Vec::new();
    for vessel in &anatomy.vessels {
        let (axis, length) = (vessel.end - vessel.start, nalgebra::distance(&vessel.start, &vessel.end));
        let Some(along) = axis.try_normalize(1e-6) else { continue };
        for n in 0..(length / STEP_MM).ceil() as usize {
            let rest = vessel.start + along * (n as f64 * STEP_MM);
            let off = rest - hole.centre;
            let depth = -off.dot(&hole.outward);
            let aside = (off + hole.outward * depth).norm();
            let inside = (-5.0..DEEP_MM).contains(&depth) && aside < hole.radius_mm + BESIDE_MM;
            if inside && !scan.covered(&rest, &hole.outward, vessel.radius_mm) {
                samples.push(Sample { rest, along });
            }
        }
    }
    samples
}

/// A sample as the picture would show it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sample: usize,
    at: Vector2<f32>,
    double: [f32; 2],
}

/// The scratch of one search.
#[derive(Debug, Default)]
pub struct Search {
    seen: Vec<Seen>,
    scores: Vec<f32>,
    /// What was found last.
    pub found: Vec<Found>,
}

impl Search {
    /// With room for so many samples in pictures of this size.
    #[must_use]
    pub fn new(samples: usize, camera: &CameraCalibration, distance_mm: f64) -> Self {
        let reach = reach_px(camera, distance_mm);
        Self {
            seen: Vec::with_capacity(samples),
            scores: Vec::with_capacity((2 * reach + 1).pow(2)),
            found: Vec::with_capacity(samples),
        }
    }

    /// Finds the samples' lines; `now` says where a sample is believed to be. Whether the answer counts.
    pub fn look(
        &mut self,
        ridges: &Ridges,
        camera: &CameraCalibration,
        samples: &[Sample],
        shaft: Option<&Shaft>,
        now: impl Fn(usize) -> Point3<f64>,
    ) -> bool {
        self.found.clear();
        self.project(ridges, camera, samples, shaft, now);
        if self.seen.len() < VIEW_MIN {
            return false;
        }
        let Some(offset) = self.best_offset(ridges, camera, samples) else { return false };
        self.each(ridges, camera, samples, offset);
        self.found.len() as f64 >= FOUND_MIN * self.seen.len() as f64 && self.found.len() >= VIEW_MIN
    }

    fn project(
        &mut self,
        ridges: &Ridges,
        camera: &CameraCalibration,
        samples: &[Sample],
        shaft: Option<&Shaft>,
        now: impl Fn(usize) -> Point3<f64>,
    ) {
        self.seen.clear();
        let eye = camera.patient_from_camera.position().coordinates();
        let [w, h] = ridges.size().map(|n| n as f64);
        for (sample, what) in samples.iter().enumerate() {
            let at = now(sample);
            let (Some(here), Some(there)) = (reduced(camera, &at), reduced(camera, &(at + what.along))) else {
                continue;
            };
            let inside = here.x >= 0.0 && here.y >= 0.0 && here.x < w && here.y < h;
            // One that runs towards the eye has no direction in the picture.
            let Some(along) = (there - here).try_normalize(0.3) else { continue };
            if inside && shaft.is_none_or(|s| !s.covers(&eye, &at)) {
                let double = [along.x * along.x - along.y * along.y, 2.0 * along.x * along.y].map(|v| v as f32);
                self.seen.push(Seen { sample, at: here.cast(), double });
            }
        }
    }

    /// The offset at which most samples lie on lines, if it stands out.
    fn best_offset(&mut self, ridges: &Ridges, camera: &CameraCalibration, samples: &[Sample]) -> Option<Vector2<f32>> {
        let reach = reach_px(camera, distance_mm(camera, samples)) as isize;
        self.scores.clear();
        let (mut best, mut at) = (f32::NEG_INFINITY, Vector2::zeros());
        for dv in -reach..=reach {
            for du in -reach..=reach {
                let offset = Vector2::new(du as f32, dv as f32);
                let score: f32 = self
                    .seen
                    .iter()
                    .map(|s| ridges.at(s.at.x + offset.x, s.at.y + offset.y).along(s.double))
                    // A strong line must not speak for many weak ones.
                    .map(|s| s.min(0.1))
                    .sum();
                self.scores.push(score);
                // What is near is likelier than what is far.
                let likely = score * (1.0 - 0.3 * offset.norm_squared() / (2 * reach * reach) as f32);
                if likely > best {
                    (best, at) = (likely, offset);
                }
            }
        }
        let count = self.scores.len() as f32;
        let mean = self.scores.iter().sum::<f32>() / count;
        let spread = (self.scores.iter().map(|s| (s - mean).powi(2)).sum::<f32>() / count).sqrt();
        (best > mean + STANDS_OUT * spread && spread > 0.0).then_some(at)
    }

    /// Each sample's own line around the offset.
    fn each(&mut self, ridges: &Ridges, camera: &CameraCalibration, samples: &[Sample], offset: Vector2<f32>) {
        let px = EACH_MM * camera.focal_px[0] / (REDUCED as f64 * distance_mm(camera, samples));
        for seen in &self.seen {
            // Half the double angle, across the line.
            let angle = 0.5 * libm::atan2f(seen.double[1], seen.double[0]);
            let normal = Vector2::new(-libm::sinf(angle), libm::cosf(angle));
            let steps = (2.0 * px).ceil() as isize;
            let (mut sum, mut weighed) = (0.0_f32, 0.0_f32);
            for n in -steps..=steps {
                let off = 0.5 * n as f32;
                let at = seen.at + offset + normal * off;
                let strength = ridges.at(at.x, at.y).along(seen.double);
                if strength > STRENGTH_MIN {
                    // The strongest counts most: its square's middle.
                    sum += strength * strength;
                    weighed += strength * strength * off;
                }
            }
            if sum > 0.0 {
                let off_px = f64::from(weighed / sum + offset.dot(&normal));
                self.found.push(Found { sample: seen.sample, normal: normal.cast(), off_px });
            }
        }
    }
}

/// Where a point appears in the reduced picture.
#[must_use]
pub fn reduced(camera: &CameraCalibration, at: &Point3<f64>) -> Option<Vector2<f64>> {
    let (u, v, _) = camera.project(at)?;
    // The middle of a reduced pixel is the middle of its four by four.
    let middle = 0.5 * (REDUCED as f64 - 1.0);
    Some(Vector2::new((u - middle) / REDUCED as f64, (v - middle) / REDUCED as f64))
}

fn distance_mm(camera: &CameraCalibration, samples: &[Sample]) -> f64 {
    let eye = camera.patient_from_camera.position().coordinates();
    samples.first().map_or(300.0, |s| nalgebra::distance(&eye, &s.rest)).max(50.0)
}

fn reach_px(camera: &CameraCalibration, distance_mm: f64) -> usize {
    ((SEARCH_MM * camera.focal_px[0] / (REDUCED as f64 * distance_mm)).ceil() as usize).clamp(4, 40)
}
