//! How the patient is registered, first and anew, and landmarks that are touched to see whether that holds.
//!
//! A registration is the reference array's true place with an error: off at the target, turned about it. **Units and frames:** mm;
//! scan in patient LPS, touches in the reference array's coordinates. **Not modelled:** fiducials one by one, skin that moves.

use super::{SharedWorld, WorldSettings, about, finite};
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use bregma_core::flow::Registration;
use bregma_core::time::{Duration, Instant};
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Point3, Vector3};

/// How wrong the table's scale says where up is, degrees, root mean square: an expert's estimate.
const UP_ERROR_DEG: f64 = 3.0;
/// Error of a landmark touched with the pointer, root mean square length, mm: a tracked pointer's 0.3 to 0.5 mm and the hand's.
const POINTER_ERROR_MM: f64 = 0.7;
/// From the craniotomy's rim to the landmarks that are touched, mm.
const BESIDE_CRANIOTOMY_MM: f64 = 15.0;

/// A known landmark, touched with the pointer.
#[derive(Debug, Clone, PartialEq)]
pub struct TouchedLandmark {
    /// Which.
    pub name: &'static str,
    /// Where the scan shows it, patient LPS, mm.
    pub scan: Point3<f64>,
    /// Where the pointer touched it, in the reference array's coordinates, mm.
    pub touched: Point3<f64>,
    /// Predicted error of the registration there, root mean square length, mm.
    pub tre_mm: f64,
}

/// The registration that is made of the reference array's true place.
pub(super) fn register(
    patient: &Patient,
    settings: &WorldSettings,
    place: &Isometry3<f64>,
    draws: &mut Draws,
    registered: Instant,
) -> Registration {
    let target = patient.corridor.target;
    // Root mean square over three axes; a turn of 0.15° about the target adds 0.1 mm at its edge.
    let off = draws.normals(settings.registration_tre_mm / 3.0_f64.sqrt());
    let turn = draws.turn(if settings.registration_tre_mm > 0.0 { 0.15_f64.to_radians() } else { 0.0 });
    let error = about(target, off, turn);
    let fre = Millimetres::constant(0.6 + 0.2 * draws.uniform(0.0, 1.0));
    Registration {
        patient_from_reference: finite(patient.frame(), error * place),
        fre,
        predicted_tre: Millimetres::constant(settings.registration_tre_mm),
        up: None,
        registered,
        expires: registered + Duration::from_secs(8 * 3600),
    }
}

/// Against gravity, as the table's own scale says it.
pub(super) fn measured_up(patient: &Patient, settings: &WorldSettings, down: &Vector3<f64>) -> [f64; 3] {
    let mut draws = Draws::new(patient.seed() ^ 0x75, Purpose::Mount);
    let off =
        draws.turn(if settings.registration_tre_mm > 0.0 { UP_ERROR_DEG.to_radians() / 3.0_f64.sqrt() } else { 0.0 });
    (off * -down).into()
}

impl SharedWorld {
    /// The patient's registration, slightly wrong; valid for the whole session.
    #[must_use]
    pub fn registration(&self) -> Registration {
        self.lock().registration
    }

    /// Registers the patient anew, as the reference array sits now, with another draw of the error; valid for the rest of the
    /// session. The arm must be out of the head: landmarks are touched by hand.
    #[must_use]
    pub fn register_anew(&self) -> Registration {
        let mut world = self.lock();
        let mut draws = Draws::new(world.patient.seed() ^ world.now.nanos(), Purpose::Register);
        let place = *world.tracker.patient_from_reference().isometry();
        let up = world.registration.up;
        world.registration = register(&world.patient, &world.settings, &place, &mut draws, world.now);
        world.registration.up = up;
        world.registration
    }

    /// Known landmarks on the skull beside the craniotomy, touched with the pointer as the reference array sits now. With the pointer's
    /// error; the registration errs by itself.
    #[must_use]
    pub fn touch_landmarks(&self) -> Vec<TouchedLandmark> {
        let world = self.lock();
        let mut draws = Draws::new(world.patient.seed() ^ world.now.nanos() ^ 0x70, Purpose::Register);
        let reference_from_patient = world.tracker.patient_from_reference().isometry().inverse();
        let (entry, outward) = (world.patient.corridor.entry, world.patient.craniotomy.outward);
        let side = outward.cross(&if outward.x.abs() < 0.7 { Vector3::x() } else { Vector3::y() }).normalize();
        let error_mm = if world.settings.registration_tre_mm > 0.0 { POINTER_ERROR_MM / 3.0_f64.sqrt() } else { 0.0 };
        let beside = [("first", side), ("second", outward.cross(&side)), ("third", -side)];
        beside
            .map(|(name, direction)| {
                let scan = entry + direction * (world.patient.craniotomy.radius_mm + BESIDE_CRANIOTOMY_MM);
                let touched = reference_from_patient * scan + draws.normals(error_mm);
                let tre_mm = world.settings.registration_tre_mm.max(0.1);
                TouchedLandmark { name, scan, touched, tre_mm }
            })
            .into()
    }
}
