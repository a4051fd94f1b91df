//! The microscope: where it stands, and its handle.
//!
//! It stands about 300 mm outside the brain's surface, tilted 6° from the corridor's axis so that the shaft
//! passes beside it; its picture is about 50 mm wide at the tumour. The calibration that the runtime gets
//! is slightly wrong. **Not modelled:** lens distortion, focus, glare.

use super::arm::SimulatedArm;
use super::{SharedWorld, WorldSettings, finite};
use crate::microscope::render::Renderer;
use crate::patient::Patient;
use crate::random::{Draws, Purpose, turn};
use bregma_core::devices::{Camera, DeviceFault};
use bregma_core::flow::{CameraCalibration, VideoFrame};
use bregma_core::time::Instant;
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

/// From the microscope to the brain's surface.
const WORKING_DISTANCE_MM: f64 = 300.0;
/// From the corridor's axis.
const TILT_DEG: f64 = 6.0;
/// Width of the picture at the tumour's near surface.
const FIELD_MM: f64 = 50.0;

/// The calibrated camera and the true one.
pub(super) fn stand(
    patient: &Patient,
    arm: &SimulatedArm,
    settings: &WorldSettings,
) -> (CameraCalibration, CameraCalibration) {
    let inwards = -patient.craniotomy.outward;
    // Tilted across the arm's side, so that arm and microscope stand beside each other.
    let direction = turn(arm.base_side * TILT_DEG.to_radians()) * inwards;
    let near = patient.corridor.entry + inwards * patient.corridor.open_mm;
    let distance = WORKING_DISTANCE_MM + patient.corridor.open_mm;
    let eye = near - direction * distance;
    let x = (arm.base_side - direction * arm.base_side.dot(&direction)).normalize();
    let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, direction.cross(&x), direction]));
    let [width, height] = settings.picture_px;
    let focal = width as f64 * distance / FIELD_MM;
    let truth = Isometry3::from_parts(Translation3::from(eye.coords), UnitQuaternion::from_rotation_matrix(&rotation));
    let mut draws = Draws::new(patient.seed(), Purpose::Camera);
    // Across the view, root mean square over two axes; along it an error moves no pixel.
    let sigma = settings.camera_error_mm / std::f64::consts::SQRT_2;
    let off = Vector3::new(draws.normal() * sigma, draws.normal() * sigma, 0.0);
    let calibrated = truth * Isometry3::from_parts(Translation3::from(off), UnitQuaternion::identity());
    let with = |iso, error| CameraCalibration {
        focal_px: [focal; 2],
        centre_px: [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0],
        size_px: settings.picture_px,
        patient_from_camera: finite(patient.frame(), iso),
        error: Millimetres::constant(error),
    };
    (with(calibrated, settings.camera_error_mm), with(truth, 0.0))
}

/// The microscope as the runtime sees it. It renders outside the world's lock.
pub struct MicroscopeHandle {
    world: SharedWorld,
    renderer: Renderer,
    /// How much of the world's journal of removed voxels it has shown.
    shown: usize,
    fresh: Vec<u32>,
}

impl MicroscopeHandle {
    pub(super) fn new(world: SharedWorld) -> Self {
        let (renderer, shown) = {
            let inner = world.lock();
            let state = inner.resection.state.clone();
            let renderer = Renderer::new(inner.patient.clone(), inner.true_camera, inner.settings.light, state);
            (renderer, inner.resection.journal.len())
        };
        Self { world, renderer, shown, fresh: Vec::with_capacity(1 << 15) }
    }
}

impl Camera for MicroscopeHandle {
    fn size_px(&self) -> [usize; 2] {
        self.renderer.size_px()
    }

    fn grab(&mut self, now: Instant, frame: &mut VideoFrame) -> Result<(), DeviceFault> {
        let (tip, captured) = {
            let world = self.world.at(now);
            self.fresh.clear();
            self.fresh.extend_from_slice(&world.resection.journal[self.shown..]);
            (world.arm.true_tip, world.now)
        };
        self.shown += self.fresh.len();
        self.renderer.open(&self.fresh);
        self.renderer.picture(&tip, captured, frame);
        Ok(())
    }
}
