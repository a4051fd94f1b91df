//! The microscope: where it stands, and its handle.
//!
//! It stands about 300 mm outside the brain's surface, tilted 6° from the corridor's axis so that the shaft
//! passes beside it; its picture is about 50 mm wide at the tumour. The calibration that the runtime gets
//! is an ideal pinhole, slightly wrong in place, direction and focal length; the true lens distorts, and a
//! picture shows the scene some time before its hand-over, which its stamp names. When the table moves it
//! stays behind, and looks anew. **Not modelled:** a microscope that somebody moves or zooms; tissue's movement
//! and blood are those of the hand-over.

use super::arm::SimulatedArm;
use super::fault::lasts;
use super::{STEP, SharedWorld, TipInPatient, World, WorldSettings, about, finite};
use crate::microscope::blood::Films;
use crate::microscope::render::{Renderer, Surroundings};
use crate::patient::Patient;
use crate::random::{Draws, Purpose, turn};
use crate::shift::field::Field;
use bregma_core::devices::{Camera, DeviceFault};
use bregma_core::flow::{CameraCalibration, RangeImage, VideoFrame};
use bregma_core::time::{Duration, Instant};
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};
use std::collections::VecDeque;
use std::sync::Arc;

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
    let (hand_eye, stretch) = mistaken(patient, settings);
    let with = |iso, focal: f64, error| CameraCalibration {
        focal_px: [focal; 2],
        centre_px: [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0],
        size_px: settings.picture_px,
        patient_from_camera: finite(patient.frame(), iso),
        error: Millimetres::constant(error),
    };
    (with(hand_eye * calibrated, focal * stretch, settings.camera_error_mm), with(truth, focal, 0.0))
}

/// What the calibration mistakes beside its place: a turn about the target, and the focal length's factor.
fn mistaken(patient: &Patient, settings: &WorldSettings) -> (Isometry3<f64>, f64) {
    let microscope = &settings.microscope;
    let mut draws = Draws::new(patient.seed(), Purpose::HandEye);
    let turn = draws.turn(microscope.hand_eye_deg.to_radians() / 3.0_f64.sqrt());
    // Beyond three standard deviations a calibration is not accepted.
    let stretch = 1.0 + microscope.focal_error * draws.normal().clamp(-3.0, 3.0);
    (about(patient.corridor.target, Vector3::zeros(), turn), stretch)
}

/// What stood where in the last quarter of a second, for a picture that comes late.
#[derive(Default)]
pub(super) struct Sight(VecDeque<Glance>);

#[derive(Clone, Copy)]
struct Glance {
    time: Instant,
    tip: TipInPatient,
    /// Length of the journal of removed voxels.
    removed: usize,
}

impl Sight {
    /// Longest lag that can be shown; at least the settings' 240 ms.
    const REACH: Duration = Duration::from_millis(260);

    pub(super) fn note(&mut self, time: Instant, tip: &TipInPatient, removed: usize) {
        if self.0.len() as u64 > Self::REACH.nanos() / STEP.nanos() {
            self.0.pop_front();
        }
        self.0.push_back(Glance { time, tip: *tip, removed });
    }

    /// The last glance at or before a time, or the first there is.
    fn at(&self, time: Instant) -> Option<Glance> {
        let after = self.0.partition_point(|g| g.time <= time);
        self.0.get(after.saturating_sub(1)).copied()
    }
}

/// The microscope as the runtime sees it. It renders outside the world's lock.
pub struct MicroscopeHandle {
    world: SharedWorld,
    renderer: Renderer,
    /// How much of the world's journal of removed voxels it has shown.
    shown: usize,
    fresh: Vec<u32>,
    field: Arc<Field>,
    films: Films,
    /// Where it stood when it was made.
    stood: CameraCalibration,
    /// Tip and time of the last picture, for one that is frozen.
    last: Option<(TipInPatient, Instant)>,
}

impl MicroscopeHandle {
    pub(super) fn new(world: SharedWorld) -> Self {
        let (renderer, shown, field, stood) = {
            let inner = world.lock();
            (renderer(&inner), inner.resection.journal.len(), field(&inner), inner.true_camera)
        };
        let fresh = Vec::with_capacity(1 << 15);
        Self { world, renderer, shown, fresh, field, films: Films::default(), stood, last: None }
    }

    /// Looks anew from where it stands now, after the table was moved; what had bleached glows again.
    fn stands(&mut self) {
        let inner = self.world.lock();
        if inner.true_camera != self.stood {
            (self.renderer, self.shown, self.stood) =
                (renderer(&inner), inner.resection.journal.len(), inner.true_camera);
            self.films = Films::default();
        }
    }
}

/// The picture as the world is.
fn renderer(world: &World) -> Renderer {
    let (state, settings) = (world.resection.state.clone(), &world.settings);
    Renderer::with(world.patient.clone(), world.true_camera, settings.light, state, &settings.microscope)
}

impl Camera for MicroscopeHandle {
    fn size_px(&self) -> [usize; 2] {
        self.renderer.size_px()
    }

    fn grab(&mut self, now: Instant, frame: &mut VideoFrame) -> Result<(), DeviceFault> {
        let frozen = {
            let world = self.world.at(now);
            if lasts(world.faults.video_lost, world.now) {
                return Err(DeviceFault { device: "microscope".to_owned(), what: "it gives no picture".to_owned() });
            }
            self.last.filter(|_| lasts(world.faults.video_frozen, world.now)).map(|last| (last, world.now))
        };
        if let Some(((tip, captured), now)) = frozen {
            self.renderer.picture(&tip, captured, frame);
            frame.captured = now;
            return Ok(());
        }
        self.stands();
        let (tip, captured, light, down) = {
            let world = self.world.at(now);
            let scene = Instant::from_nanos(world.now.nanos().saturating_sub(self.renderer.lag().nanos()));
            let glance = world.sight.at(scene);
            let tip = glance.map_or(world.arm.true_tip, |g| g.tip);
            let removed = glance.map_or(world.resection.journal.len(), |g| g.removed).max(self.shown);
            self.fresh.clear();
            self.fresh.extend_from_slice(&world.resection.journal[self.shown..removed]);
            self.field = field(&world);
            if let Some(films) = films(&world).filter(|films| films.version != self.films.version) {
                self.films.clone_from(films);
            }
            (tip, world.now, world.settings.light, down(&world))
        };
        self.shown += self.fresh.len();
        let world = Surroundings { time: captured, light, field: &self.field, blood: &self.films, down };
        self.renderer.follow(&world);
        self.renderer.open(&self.fresh);
        self.renderer.picture(&tip, captured, frame);
        self.last = Some((tip, captured));
        Ok(())
    }

    fn ranges(&mut self, ranges: &mut RangeImage) -> Result<bool, DeviceFault> {
        // Those of a picture that is frozen are frozen with it: their stamp grows old.
        Ok(self.last.is_some_and(|(tip, captured)| self.renderer.ranges(&tip, captured, ranges)))
    }
}

/// Where tissue is now.
fn field(world: &World) -> Arc<Field> {
    Arc::clone(world.shift.shared())
}

/// What covers the surface; `None` before anything bled or rinsed.
fn films(world: &World) -> Option<&Films> {
    world.bleeding.films()
}

/// Where gravity points: where the brain sags to, or below the craniotomy for one that lies still.
fn down(world: &World) -> Vector3<f64> {
    world.shift.down().unwrap_or(-world.patient.craniotomy.outward)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::microscope::MicroscopeSettings;
    use crate::patient::tests::grown;
    use bregma_core::frame::Pose;

    fn ms(n: u64) -> Instant {
        Instant::START + Duration::from_millis(n)
    }

    #[test]
    fn a_late_picture_shows_what_was_then() {
        let mut sight = Sight::default();
        assert!(sight.at(ms(0)).is_none());
        for n in 1..=500_usize {
            sight.note(ms(4 * n as u64), &Pose::identity(), n);
        }
        let at = |time| sight.at(ms(time)).map(|g| g.removed);
        assert_eq!((at(2000), at(1907), at(1760)), (Some(500), Some(476), Some(440)));
        assert_eq!(at(3000), Some(500), "nothing is known of later");
        assert_eq!(at(10), Some(500 - 65), "the first that is still known");
        assert!(sight.0.len() <= 66);
    }

    #[test]
    fn the_runtimes_calibration_is_an_ideal_lens_slightly_wrong() {
        let p = grown();
        let stand = |microscope| {
            let settings = WorldSettings { microscope, ..WorldSettings::default() };
            let arm = SimulatedArm::at_rest(&p, &settings);
            stand(&p, &arm, &settings)
        };
        let (plain, truth) = stand(MicroscopeSettings::plain());
        let (home, same) = stand(MicroscopeSettings::home());
        assert_eq!(truth, same);
        assert!(plain.focal_px == truth.focal_px && home.focal_px != truth.focal_px);
        let off = |camera: &CameraCalibration, at| {
            let (a, b) = (camera.project(&at).expect("in front"), truth.project(&at).expect("in front"));
            (a.0 - b.0).hypot(a.1 - b.1)
        };
        let target = p.corridor.target;
        // At the target the turn adds nothing; 40 mm above it a turn of some tenths of a degree shows.
        assert!((off(&home, target) - off(&plain, target)).abs() < 2.0);
        let above = target + p.craniotomy.outward * 40.0;
        assert!((off(&home, above) - off(&plain, above)).abs() > 0.3, "{} {}", off(&home, above), off(&plain, above));
        let bad = MicroscopeSettings { lag_ms: [0.0, 900.0], ..MicroscopeSettings::home() };
        let refused = World::new(p, WorldSettings { microscope: bad, ..WorldSettings::default() });
        assert_eq!(refused.map(|_| ()).expect_err("outside its range").name, "microscope.lag_ms");
    }
}
