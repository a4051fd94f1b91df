//! A digital patient at a glance: scans, microscope, vessels and shift, for a contact sheet, a gallery and an
//! `.rrd`.
//!
//! **Frames:** patient LPS, mm. Slices are drawn as radiologists look at them: axial from the feet, coronal
//! from the front (the patient's left on the right), sagittal from the left with the front on the left.
//! **Ground truth** is drawn here, and nowhere in the runtime.

pub mod canvas;
pub mod sheet;
pub mod table;

use crate::config::PatientSource;
use crate::session::Simulated;
use anyhow::Context;
use bregma_core::devices::Camera;
use bregma_core::flow::{Light, Modality, VideoFrame, Volume};
use bregma_core::grid::Grid;
use bregma_core::time::{Duration, Instant};
use bregma_patient::{ImportedAnatomy, Patient, ShiftSettings, World, WorldSettings};
use nalgebra::{Matrix4, Point3, Vector3};
use std::sync::Arc;

/// Shift is shown that long after the dura was opened, minutes.
pub const SHIFT_MINUTES: f64 = 50.0;

/// The kinds of scan, in the order of the sheet's columns.
pub const MODALITIES: [Modality; 4] = [Modality::T1, Modality::T1c, Modality::T2, Modality::Flair];

/// All that is drawn of one patient.
pub struct Portrait {
    /// Who.
    pub patient: Arc<Patient>,
    /// Name of the world.
    pub world: &'static str,
    /// Of [`MODALITIES`].
    pub scans: Vec<Scan>,
    /// White light, then violet.
    pub pictures: [VideoFrame; 2],
    /// Rest points of a grid, and how far each has moved, mm.
    pub shift: (Grid, Vec<Vector3<f32>>),
}

impl Portrait {
    /// Has everything made that is drawn.
    ///
    /// # Errors
    /// When no patient grows, or a device fails.
    pub fn new(source: &PatientSource, head: Option<&ImportedAnatomy>, seed: u64) -> anyhow::Result<Self> {
        let source = PatientSource { lifelike: true, shift_hz: 1.0, ..*source };
        let simulated = Simulated::new(&source, head, seed)?;
        let patient = simulated.patient;
        let picture = |light: Light| -> anyhow::Result<VideoFrame> {
            let world = World::new(Arc::clone(&patient), WorldSettings { light, ..source.theatre() })?;
            let mut camera = world.camera();
            let [width, height] = camera.size_px();
            let mut frame = VideoFrame::black(width, height);
            let soon = Instant::START + Duration::from_millis(500);
            camera.grab(soon, &mut frame).context("the microscope's picture")?;
            Ok(frame)
        };
        let late = ShiftSettings { start_minutes: [SHIFT_MINUTES; 2], ..source.theatre().shift };
        let shifted = World::new(Arc::clone(&patient), WorldSettings { shift: late, ..source.theatre() })?;
        Ok(Self {
            world: shifted.kind().name(),
            scans: MODALITIES.iter().map(|m| Scan::new(patient.scan(*m))).collect(),
            pictures: [picture(Light::White)?, picture(Light::Violet)?],
            shift: shifted.displacements(),
            patient,
        })
    }

    /// Where tissue at a rest point is after [`SHIFT_MINUTES`], relative to it; mm.
    #[must_use]
    pub fn moved(&self, rest: &Point3<f64>) -> Vector3<f64> {
        let (grid, moved) = &self.shift;
        grid.containing(rest).map_or_else(Vector3::zeros, |v| moved[grid.index(v)].cast())
    }

    /// Words for the sheet's head.
    #[must_use]
    pub fn words(&self) -> String {
        let largest = self.shift.1.iter().map(|u| u.norm()).fold(0.0, f32::max);
        format!(
            "seed {}, {} world: core {:.1} mL, grown for {:.0} days, {} pieces of vessels, tissue moves up to {largest:.1} mm \
             in {SHIFT_MINUTES:.0} min",
            self.patient.seed(),
            self.world,
            self.patient.core_ml(),
            self.patient.growth_days(),
            self.patient.vessels().count(),
        )
    }
}

/// A scan that can be asked for its brightness anywhere.
pub struct Scan {
    volume: Volume,
    voxel_from_patient: Matrix4<f64>,
    /// Intensity that is drawn white.
    white: f32,
}

impl Scan {
    fn new(volume: Volume) -> Self {
        let voxel_from_patient = volume.patient_from_voxel.try_inverse().unwrap_or_else(Matrix4::identity);
        // The brightest thousandth of the head may burn out: vessels in T1c. Oedema in FLAIR may not.
        let mut head: Vec<f32> = volume.intensities.iter().copied().step_by(7).filter(|v| *v > 30.0).collect();
        let rank = head.len() * 999 / 1000;
        let white = if head.is_empty() { 1.0 } else { *head.select_nth_unstable_by(rank, f32::total_cmp).1 };
        Self { volume, voxel_from_patient, white }
    }

    /// The scan.
    #[must_use]
    pub const fn volume(&self) -> &Volume {
        &self.volume
    }

    /// Grey level at a point, black outside the scan.
    #[must_use]
    pub fn grey(&self, at: &Point3<f64>) -> u8 {
        let v = self.voxel_from_patient.transform_point(at);
        let dims = self.volume.dims;
        let inside = (0..3).all(|a| v[a] >= -0.5 && v[a] <= dims[a] as f64 - 0.5);
        if !inside {
            return 0;
        }
        let [i, j, k] = std::array::from_fn(|a| (v[a].round() as usize).min(dims[a] - 1));
        let value = self.volume.intensities[i + dims[0] * (j + dims[1] * k)];
        (value / self.white * 255.0).clamp(0.0, 255.0) as u8
    }
}
