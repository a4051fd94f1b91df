//! The theatre around one patient: arm, instrument, tracker, microscope, scanner, pedal, and the score.
//!
//! **Time:** the world moves in steps of [`STEP`] and only when told the time, by [`SharedWorld::advance`]
//! or by any device call; what happened does not depend on how the calls divide that time.
//! **Frames:** patient LPS, mm. **Allocation:** logs grow; a step allocates nothing else.
//! **Invariant:** the devices give measurements; truth is read only by the world's own methods.

mod arm;
mod aspirator;
mod bleeding;
mod camera;
mod devices;
mod eye;
mod fault;
mod hand;
mod instrument;
mod lesson;
mod outcome;
mod registration;
#[cfg(test)]
mod rehearsed;
#[cfg(test)]
mod shifted;
#[cfg(test)]
mod tests;
mod tracker;
#[cfg(test)]
mod trouble;

pub use arm::{ArmEvent, ArmLogEntry};
pub use aspirator::{InstrumentFigures, InstrumentSettings};
pub use camera::MicroscopeHandle;
pub use devices::{ArmHandle, InstrumentHandle, PedalHandle, ScannerHandle, TrackerHandle};
pub use eye::SurgeonSight;
pub use fault::{Fault, FaultError, FaultKind, FaultPlan};
pub use lesson::{Lesson, MARGIN_MAX_MM};
pub use outcome::{Outcome, Place, PlaceKind, SceneTruth};
pub use registration::TouchedLandmark;

use crate::kind::WorldKind;
use crate::microscope::occlusion::Occlusion;
use crate::microscope::{Look, MicroscopeSettings};
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::shift::field::Field;
use crate::shift::{Shift, ShiftSettings};
use arm::SimulatedArm;
pub(crate) use arm::{SHAFT_RADIUS_MM, any_across};
use aspirator::Aspirator;
use bleeding::Bleeding;
use bregma_core::devices::DeviceFault;
use bregma_core::flow::{ArmMount, CameraCalibration, Energy, Light, Registration};
use bregma_core::frame::{Frame, FrameId, Patient as PatientFrame, Pose, Tip};
use bregma_core::grid::Grid;
use bregma_core::time::{Duration, Instant};
use fault::Faults;
use hand::Hand;
use instrument::Resection;
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use registration::{measured_up, register};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracker::SimulatedTracker;
pub use tracker::TrackerSettings;

/// Length of one internal step.
pub const STEP: Duration = Duration::from_millis(4);

/// How the theatre behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldSettings {
    /// Error of the arm's calibrated mount at the target, mm (root mean square).
    pub arm_error_mm: f64,
    /// The same, degrees.
    pub arm_error_deg: f64,
    /// Without a command for that long the arm holds and the energy goes off.
    pub arm_watchdog: Duration,
    /// Noise of the tracked tip along each axis, mm.
    pub tracker_noise_mm: f64,
    /// Noise of its direction about each axis, degrees.
    pub tracker_noise_deg: f64,
    /// From a measurement to its arrival.
    pub tracker_lag: Duration,
    /// How often line of sight is lost.
    pub dropouts_per_minute: f64,
    /// Shortest and longest loss, s.
    pub dropout_s: [f64; 2],
    /// Target registration error, mm (root mean square).
    pub registration_tre_mm: f64,
    /// Error of the microscope's calibration at the target, mm (root mean square).
    pub camera_error_mm: f64,
    /// Width and height of its picture, pixels.
    pub picture_px: [usize; 2],
    /// Its lamp.
    pub light: Light,
    /// How it shows the world.
    pub microscope: MicroscopeSettings,
    /// Tissue that the instrument removes, mm³/s; where [`InstrumentSettings::soft_mm3_s`] is 0.
    pub rate_mm3_s: f64,
    /// Factor on that rate, to shorten a case; printed in reports.
    pub removal_rate_scale: f64,
    /// Both channels of the pedal at the start.
    pub pedal: [bool; 2],
    /// Home or foreign.
    pub world: WorldKind,
    /// How the brain moves; off unless asked for.
    pub shift: ShiftSettings,
    /// How the instrument works and what bleeds; plain unless asked for.
    pub instrument: InstrumentSettings,
    /// How tracking errs beside its noise; not at all unless asked for.
    pub tracker: TrackerSettings,
}

impl Default for WorldSettings {
    fn default() -> Self {
        Self {
            arm_error_mm: 0.4,
            arm_error_deg: 0.1,
            arm_watchdog: Duration::from_millis(30),
            tracker_noise_mm: 0.3,
            tracker_noise_deg: 0.1,
            tracker_lag: Duration::from_millis(20),
            dropouts_per_minute: 0.5,
            dropout_s: [0.2, 1.0],
            registration_tre_mm: 0.7,
            camera_error_mm: 0.5,
            picture_px: [640, 360],
            light: Light::Violet,
            microscope: MicroscopeSettings::plain(),
            rate_mm3_s: 20.0,
            removal_rate_scale: 4.0,
            pedal: [true, true],
            world: WorldKind::Home,
            shift: ShiftSettings::off(),
            instrument: InstrumentSettings::plain(),
            tracker: TrackerSettings::plain(),
        }
    }
}

impl WorldSettings {
    /// The same without errors of arm, tracker, registration and camera's place.
    #[must_use]
    pub fn without_errors(self) -> Self {
        Self {
            arm_error_mm: 0.0,
            arm_error_deg: 0.0,
            tracker_noise_mm: 0.0,
            tracker_noise_deg: 0.0,
            dropouts_per_minute: 0.0,
            registration_tre_mm: 0.0,
            camera_error_mm: 0.0,
            ..self
        }
    }

    /// A world with everything that it has: a moving brain, a microscope that distorts, lags and is covered, an
    /// instrument that clogs and vessels that bleed. [`Self::default`] is calmer: a brain at rest, a plain
    /// picture, an instrument that always works.
    #[must_use]
    pub fn of(world: WorldKind) -> Self {
        let moving = Self { world, shift: ShiftSettings::default(), ..Self::default() };
        match world {
            WorldKind::Home => Self {
                microscope: MicroscopeSettings::home(),
                instrument: InstrumentSettings::home(),
                tracker: TrackerSettings::home(),
                ..moving
            },
            WorldKind::Foreign => Self {
                microscope: MicroscopeSettings::foreign(),
                instrument: InstrumentSettings::foreign(),
                tracker: TrackerSettings::foreign(),
                tracker_noise_mm: 0.4,
                tracker_lag: Duration::from_millis(35),
                dropouts_per_minute: 2.0,
                dropout_s: [0.3, 3.0],
                arm_error_mm: 0.6,
                registration_tre_mm: 1.2,
                camera_error_mm: 0.8,
                ..moving
            },
        }
    }
}

/// A setting of the world is outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("world setting {name} is {value}; {right} is needed")]
pub struct WorldSettingError {
    /// Which.
    pub name: &'static str,
    /// As given.
    pub value: String,
    /// What would be right.
    pub right: &'static str,
}

/// The theatre's state; held through a [`SharedWorld`].
pub struct World {
    pub(crate) patient: Arc<Patient>,
    pub(crate) settings: WorldSettings,
    now: Instant,
    arm: SimulatedArm,
    /// Who holds the instrument instead of the arm.
    hand: Option<Hand>,
    /// What the console was told.
    console: Energy,
    pedal: [bool; 2],
    tracker: SimulatedTracker,
    resection: Resection,
    aspirator: Aspirator,
    bleeding: Bleeding,
    faults: Faults,
    /// What gets in the way of a surgeon's view; `None` for a microscope that nothing gets in the way of.
    occlusion: Option<Occlusion>,
    shift: Shift,
    registration: Registration,
    calibrated_camera: CameraCalibration,
    true_camera: CameraCalibration,
    sight: camera::Sight,
}

impl World {
    /// Sets the theatre up around a patient; its devices' errors come from the patient's seed.
    ///
    /// # Errors
    /// [`WorldSettingError`] with the first setting that is outside its range.
    #[expect(clippy::new_ret_no_self, reason = "a world is only ever held through its shared handle")]
    pub fn new(patient: impl Into<Arc<Patient>>, settings: WorldSettings) -> Result<SharedWorld, WorldSettingError> {
        check(&settings)?;
        let patient: Arc<Patient> = patient.into();
        let arm = SimulatedArm::at_rest(&patient, &settings);
        let (calibrated_camera, true_camera) = camera::stand(&patient, &arm, &settings);
        let mut draws = Draws::new(patient.seed(), Purpose::Mount);
        let target = patient.corridor.target;
        let at = target + draws.direction() * 160.0;
        let place = Isometry3::from_parts(Translation3::from(at.coords), draws.turn(0.8));
        let mut registration = register(&patient, &settings, &place, &mut draws, Instant::START);
        let resection = Resection::new(&patient);
        let shift = Shift::new(&patient, settings.world, &settings.shift, &resection.state);
        registration.up = shift.down().map(|down| measured_up(&patient, &settings, &down));
        let down = shift.down().unwrap_or(-patient.craniotomy.outward);
        let microscope = &settings.microscope;
        let hides = microscope.look != Look::Plain && microscope.cotton_per_minute + microscope.hands_per_minute > 0.0;
        let world = Self {
            tracker: SimulatedTracker::new(patient.seed(), finite(patient.frame(), place)),
            aspirator: Aspirator::new(&patient, &settings.instrument),
            bleeding: Bleeding::new(&patient, &settings.instrument, down),
            faults: Faults::default(),
            occlusion: hides.then(|| Occlusion::new(patient.seed(), *microscope)),
            shift,
            resection,
            now: Instant::START,
            console: Energy::OFF,
            pedal: settings.pedal,
            arm,
            hand: None,
            registration,
            calibrated_camera,
            true_camera,
            sight: camera::Sight::default(),
            patient,
            settings,
        };
        Ok(SharedWorld(Arc::new(Mutex::new(world))))
    }

    fn advance(&mut self, to: Instant) {
        while self.now + STEP <= to {
            self.now = self.now + STEP;
            self.step();
        }
    }

    fn step(&mut self) {
        let tip_before = self.arm.true_tip;
        self.break_things();
        let console = self.console;
        let energy = match &mut self.hand {
            Some(hand) => {
                hand.step(&self.patient, self.shift.field(), &self.resection.state);
                (self.arm.true_tip, self.console) = (hand.tip, hand.energy);
                hand.energy
            }
            None => self.arm.step(self.now, console),
        };
        let tip = self.arm.true_tip;
        let moved = self.shift.advance(&self.patient, self.now, &self.resection.journal);
        self.works(energy, &tip, &tip_before, moved);
        if self.inside() {
            self.resection.tool_time = self.resection.tool_time + STEP;
        }
        self.tracker.step(self.now, &tip, &self.settings);
        self.sight.note(self.now, &tip, self.resection.journal.len());
    }

    /// What instrument and fluids do in a step; `moved` says whether tissue has.
    fn works(&mut self, energy: Energy, tip: &TipInPatient, tip_before: &TipInPatient, moved: bool) {
        self.aspirator.pass(self.now, STEP, energy.irrigation);
        let takes = energy.ultrasound && (energy.suction || !self.aspirator.needs_suction());
        if takes && !self.aspirator.clogged() {
            self.aspirate(tip);
        }
        if energy.ultrasound || moved || tip != tip_before {
            let cuts = energy.ultrasound && !self.bleeding.vessels_bleed();
            self.resection.touch(&self.patient, self.shift.field(), tip, cuts);
        }
        let at = self.field().rest(&tip.position().coordinates());
        let fluids = bleeding::Tip { at, energy, clogged: self.aspirator.clogged() };
        let removed = self.resection.journal.len();
        self.bleeding.pass(self.now, &self.patient, &self.resection.state, removed, &fluids);
    }

    /// The working instrument's share of a step: it takes, tugs, clogs and cuts.
    fn aspirate(&mut self, tip: &TipInPatient) {
        let rate = self.aspirator.rate_mm3_s(self.settings.rate_mm3_s) * self.settings.removal_rate_scale;
        let (patient, from) = (Arc::clone(&self.patient), self.resection.journal.len());
        let allowed = rate * STEP.secs_f64();
        let gripped = self.resection.remove(&patient, self.shift.field(), tip, allowed, &self.aspirator);
        for n in from..self.resection.journal.len() {
            let voxel = self.resection.journal[n] as usize;
            self.aspirator.took(voxel, patient.truth.grid.voxel_ml());
            if self.bleeding.vessels_bleed() {
                let at = patient.truth.grid.centre(patient.truth.grid.voxel(voxel));
                self.bleeding.cut(&patient, voxel).into_iter().for_each(|piece| self.vessel_opens(piece, at));
            }
        }
        let Some(at) = gripped else { return };
        let tears = self.aspirator.grip(self.now, at, &tip.position().coordinates()) == Some(true);
        if tears && self.bleeding.vessels_bleed() {
            let at = self.field().rest(&at);
            if let Some(piece) = self.bleeding.tear(&patient, &at, aspirator::TUG_REACH_MM) {
                self.vessel_opens(piece, at);
            }
        }
    }

    /// A vessel piece is open: a bleeding that nobody could foresee, or a structure that was known.
    fn vessel_opens(&mut self, piece: usize, at: Point3<f64>) {
        let vessel = &self.patient.vessels[piece];
        let diameter_mm = 2.0 * vessel.radius_mm;
        if bleeding::thin(vessel) && !self.was_shown(piece) {
            self.resection.bleeding += 1;
        } else {
            self.resection.cut_known();
        }
        self.bleeding.open(self.now, at, diameter_mm);
    }

    /// Where tissue is now.
    pub(crate) fn field(&self) -> &Field {
        self.shift.field()
    }

    /// Whether the tip is past the craniotomy's outer plane.
    fn inside(&self) -> bool {
        let tip = self.arm.true_tip.position().coordinates();
        let craniotomy = &self.patient.craniotomy;
        (tip - craniotomy.centre).dot(&craniotomy.outward) < 0.0
    }
}

/// A handle on the world; clones share it.
#[derive(Clone)]
pub struct SharedWorld(Arc<Mutex<World>>);

impl SharedWorld {
    /// The world, even after a panic elsewhere: its state is plain numbers.
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the world on to the last whole step before `to`; never back.
    pub fn advance(&self, to: Instant) {
        self.lock().advance(to);
    }

    /// Locks the world after moving it on.
    fn at(&self, now: Instant) -> MutexGuard<'_, World> {
        let mut world = self.lock();
        world.advance(now);
        world
    }

    /// Which of the two worlds it is.
    #[must_use]
    pub fn kind(&self) -> WorldKind {
        self.lock().settings.world
    }

    /// The microscope. Making it renders the first picture, about a quarter of a second.
    #[must_use]
    pub fn camera(&self) -> MicroscopeHandle {
        MicroscopeHandle::new(self.clone())
    }
    /// The tracking camera.
    #[must_use]
    pub fn tracker(&self) -> TrackerHandle {
        TrackerHandle(self.clone())
    }
    /// The arm.
    #[must_use]
    pub fn arm(&self) -> ArmHandle {
        ArmHandle(self.clone())
    }
    /// The aspirator's console.
    #[must_use]
    pub fn instrument(&self) -> InstrumentHandle {
        InstrumentHandle(self.clone())
    }
    /// The pedal.
    #[must_use]
    pub fn pedal(&self) -> PedalHandle {
        PedalHandle(self.clone())
    }
    /// The intraoperative scanner.
    #[must_use]
    pub fn scanner(&self) -> ScannerHandle {
        ScannerHandle(self.clone())
    }

    /// Presses or releases the pedal's two channels.
    pub fn set_pedal(&self, channels: [bool; 2]) {
        self.lock().pedal = channels;
    }

    /// A surgeon treats what bleeds: coagulates and rinses, for a time that the seed draws; over when
    /// [`SurgeonSight::treating`] is no longer set.
    ///
    /// # Errors
    /// While the instrument is in the head: there is no room for hands.
    pub fn treat(&self) -> Result<(), DeviceFault> {
        let mut world = self.lock();
        if world.inside() {
            let what = "the instrument is in the head; retract it before a treatment";
            return Err(DeviceFault { device: "surgeon's hands".to_owned(), what: what.to_owned() });
        }
        let now = world.now;
        world.bleeding.treat(now);
        Ok(())
    }

    /// What the instrument has met so far. Ground truth.
    #[must_use]
    pub fn instrument_figures(&self) -> InstrumentFigures {
        self.lock().aspirator.figures
    }

    /// Blood that came out of vessels so far, mL. Ground truth.
    #[must_use]
    pub fn blood_lost_ml(&self) -> f64 {
        self.lock().bleeding.lost_mm3 * 1e-3
    }

    /// The microscope's calibration, slightly wrong.
    #[must_use]
    pub fn camera_calibration(&self) -> CameraCalibration {
        self.lock().calibrated_camera
    }
    /// The arm's calibrated mount, slightly wrong.
    #[must_use]
    pub fn arm_mount(&self) -> ArmMount {
        self.lock().arm.mount
    }
    /// What the arm executed, by its own log. Independent of what the runtime records.
    #[must_use]
    pub fn arm_log(&self) -> Vec<ArmLogEntry> {
        self.lock().arm.log.clone()
    }
    /// How far tissue has moved from rest: the points of a grid and the displacement of each, mm. Ground
    /// truth, for pictures and for learning; nothing moves where shift is off.
    #[must_use]
    pub fn displacements(&self) -> (Grid, Vec<Vector3<f32>>) {
        let world = self.lock();
        (*world.field().grid(), world.field().displacements().to_vec())
    }
    /// Where points of tissue at rest are now. Ground truth.
    #[must_use]
    pub fn now_of(&self, rest: &[Point3<f64>]) -> Vec<Point3<f64>> {
        let world = self.lock();
        rest.iter().map(|at| world.field().now(at)).collect()
    }
    /// How far the world has moved.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.lock().now
    }
    /// The factor on removal rates, for reports.
    #[must_use]
    pub fn removal_rate_scale(&self) -> f64 {
        self.lock().settings.removal_rate_scale
    }
}

/// A pose of something of which there is one, made of finite numbers.
///
/// # Panics
/// When they are not: settings are checked and commands refused before they come here, so that is a
/// programmer's error.
fn finite<To: Frame, From: Frame>(to: FrameId, iso: Isometry3<f64>) -> Pose<To, From> {
    match Pose::between(to, FrameId::SOLE, iso) {
        Ok(pose) => pose,
        Err(why) => panic!("finite settings and joints give a finite pose: {why}"),
    }
}

/// A small displacement and turn about a point.
fn about(at: Point3<f64>, off: Vector3<f64>, turn: UnitQuaternion<f64>) -> Isometry3<f64> {
    Isometry3::from_parts(Translation3::from(at.coords + off - turn * at.coords), turn)
}

fn check(s: &WorldSettings) -> Result<(), WorldSettingError> {
    let range = |name, value: f64, low: f64, high: f64, right| {
        let inside = (low..=high).contains(&value);
        if inside { Ok(()) } else { Err(WorldSettingError { name, value: value.to_string(), right }) }
    };
    range("arm_error_mm", s.arm_error_mm, 0.0, 5.0, "0 to 5 mm")?;
    range("arm_error_deg", s.arm_error_deg, 0.0, 2.0, "0 to 2 degrees")?;
    range("arm_watchdog", s.arm_watchdog.millis_f64(), 4.0, 1000.0, "4 to 1000 ms, never 0")?;
    range("tracker_noise_mm", s.tracker_noise_mm, 0.0, 5.0, "0 to 5 mm")?;
    range("tracker_noise_deg", s.tracker_noise_deg, 0.0, 5.0, "0 to 5 degrees")?;
    range("tracker_lag", s.tracker_lag.millis_f64(), 0.0, 500.0, "0 to 500 ms")?;
    range("dropouts_per_minute", s.dropouts_per_minute, 0.0, 60.0, "0 to 60")?;
    range("dropout_s", s.dropout_s[0], 0.0, s.dropout_s[1], "shortest <= longest")?;
    range("dropout_s", s.dropout_s[1], 0.0, 60.0, "at most 60 s")?;
    range("registration_tre_mm", s.registration_tre_mm, 0.0, 10.0, "0 to 10 mm")?;
    range("camera_error_mm", s.camera_error_mm, 0.0, 10.0, "0 to 10 mm")?;
    range("picture_px", s.picture_px[0] as f64, 16.0, 1920.0, "16 to 1920 pixels across")?;
    range("picture_px", s.picture_px[1] as f64, 16.0, 1080.0, "16 to 1080 pixels down")?;
    s.microscope.check()?;
    s.instrument.check()?;
    s.tracker.check()?;
    range("rate_mm3_s", s.rate_mm3_s, 0.1, 100.0, "0.1 to 100 mm³/s")?;
    range("removal_rate_scale", s.removal_rate_scale, 0.1, 100.0, "0.1 to 100")?;
    range("shift.updates_hz", s.shift.updates_hz, 0.0, 50.0, "0 (none) to 50 a second")?;
    range("shift.start_minutes", s.shift.start_minutes[0], 0.0, s.shift.start_minutes[1], "shortest <= longest")?;
    range("shift.start_minutes", s.shift.start_minutes[1], 0.0, 600.0, "at most 600 minutes")
}

/// The tip's true pose, named once.
pub(crate) type TipInPatient = Pose<PatientFrame, Tip>;
