//! How far the cortex that a range image shows lies from where the scan has it.
//!
//! Each measured place is held against the place of the scan's cortex that is believed to be there now; how far apart they
//! are along the surface's normal is one number of the fit (point to plane: Y. Chen and G. Medioni, Image and Vision Computing 10,
//! 1992). Not counted are the corridor, what was carved, the shaft, and what lies farther from where it is expected than
//! [`Settings::gate`](super::Settings) lets it: hands, cotton, a cavity's floor. **Units:** mm. **Allocation:** when an anatomy arrives.

use super::cortex::{Cortex, Spot};
use crate::align::evidence::Shaft;
use bregma_core::flow::{CameraCalibration, RANGE_SIZE, RangeImage};
use nalgebra::Point3;

/// Around the corridor's mouth, so much is not counted, mm: its edge gives way.
pub const MOUTH_MM: f64 = 2.0;
/// So many must be counted.
pub const COUNTED_MIN: usize = 25;

/// A measured place, and the scan's place that it is believed to be.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Where it was measured.
    pub at: Point3<f64>,
    /// What it is believed to be.
    pub spot: Spot,
}

/// Room for the measured places of one image.
#[must_use]
pub fn room() -> Vec<Measured> {
    Vec::with_capacity(RANGE_SIZE[0] * RANGE_SIZE[1])
}

/// Where a range was measured.
#[must_use]
pub fn place(camera: &CameraCalibration, [u, v]: [f64; 2], range_mm: f64) -> Point3<f64> {
    let slope = |a: usize, pixel: f64| (pixel - camera.centre_px[a]) / camera.focal_px[a];
    camera.patient_from_camera.isometry() * Point3::new(slope(0, u) * range_mm, slope(1, v) * range_mm, range_mm)
}

/// Fills in what an image shows of the cortex. `rest` says where what is somewhere now was at rest, `open` what was
/// carved there.
pub fn measured(
    image: &RangeImage,
    camera: &CameraCalibration,
    cortex: &Cortex,
    mouth_mm: f64,
    shaft: Option<&Shaft>,
    seen: (impl Fn(&Point3<f64>) -> Point3<f64>, impl Fn(&Point3<f64>) -> bool),
    to: &mut Vec<Measured>,
) {
    let (rest, open) = seen;
    let eye = camera.patient_from_camera.position().coordinates();
    to.clear();
    for (pixel, range) in image.measured(camera.size_px) {
        let at = place(camera, pixel, range);
        // The bone stays where it was: its edge is told by where it is, what lies below by where it was.
        if !cortex.in_opening(&at) {
            continue;
        }
        let Some((spot, aside)) = cortex.below(&rest(&at)) else { continue };
        let inside = spot.rest - spot.normal * 1.5;
        if aside > mouth_mm + MOUTH_MM && !open(&inside) && shaft.is_none_or(|s| !s.covers(&eye, &at)) {
            to.push(Measured { at, spot });
        }
    }
}
