//! The simulated arm: an LBR Med 7 that follows commands, watches for their absence, and keeps a log.
//!
//! **Units:** rad, mm. It moves towards the commanded joints within its speed limits and gets there within
//! one step when it can. Its calibrated [`ArmMount`] is slightly wrong, as every arm's is. **Its own
//! watchdog** stands where the whole process is lost: no command for a while, and it holds with the
//! energy off. **Not modelled:** dynamics, compliance, brakes.

use super::{STEP, TipInPatient, WorldSettings, about, finite};
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use bregma_core::arm::{ArmModel, ArmModelId, Joints};
use bregma_core::flow::{ArmMount, Energy, Sent, Sequence};
use bregma_core::frame::{FrameId, Pose};
use bregma_core::time::{Duration, Instant};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

/// Flange to tip, along the flange's +z, mm.
const TIP_MM: f64 = 185.0;
/// The instrument's shaft.
pub(crate) const SHAFT_RADIUS_MM: f64 = 1.25;
const SHAFT_LENGTH_MM: f64 = 150.0;
/// Where the tip stands at rest, outside the craniotomy on the corridor's axis.
const STANDOFF_MM: f64 = 30.0;

/// After a hold it follows again once it is told to be within that of where it is, rad.
const RESUMES_WITHIN_RAD: f64 = 1e-3;

/// Why the arm wrote a line into its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmEvent {
    /// Joints moved or the effective energy changed.
    Executed,
    /// The watchdog tripped: holding, energy off.
    Watchdog,
    /// A command came again after that, to stand where it stands.
    Resumed,
}

/// One line of the arm's own log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmLogEntry {
    /// When, by the arm.
    pub time: Instant,
    /// Why.
    pub event: ArmEvent,
    /// Where the joints are now.
    pub joints: Joints,
    /// Where the last command wants them.
    pub commanded: Joints,
    /// Whether they moved in this step.
    pub moved: bool,
    /// What the instrument really does.
    pub energy: Energy,
    /// The approval that the last command named.
    pub approval: Option<Sequence>,
    /// Whether it said that it retracts.
    pub retracting: bool,
}

pub(crate) struct SimulatedArm {
    model: ArmModel,
    pub mount: ArmMount,
    true_base: Isometry3<f64>,
    pub joints: Joints,
    pub speeds: Joints,
    commanded: Joints,
    approval: Option<Sequence>,
    retracting: bool,
    last_command: Option<Instant>,
    watchdog: Duration,
    holding: bool,
    energy: Energy,
    pub true_tip: TipInPatient,
    /// Sideways direction towards the base, in the patient.
    pub base_side: Vector3<f64>,
    frame: FrameId,
    pub log: Vec<ArmLogEntry>,
}

impl SimulatedArm {
    pub(crate) fn at_rest(patient: &Patient, settings: &WorldSettings) -> Self {
        let model = ArmModel::new(ArmModelId::LbrMed7);
        let flange_from_tip = Isometry3::translation(0.0, 0.0, TIP_MM);
        let base_from_tip = model.forward(&model.rest()).isometry() * flange_from_tip;
        let (patient_from_base, base_side) = stand(patient, &base_from_tip);
        let mut draws = Draws::new(patient.seed() ^ 0xa4, Purpose::Mount);
        let off = draws.normals(settings.arm_error_mm / 3.0_f64.sqrt());
        let turn = draws.turn(settings.arm_error_deg.to_radians() / 3.0_f64.sqrt());
        let frame = patient.frame();
        let mount = ArmMount {
            patient_from_arm_base: finite(frame, patient_from_base),
            flange_from_tip: finite(FrameId::SOLE, flange_from_tip),
            shaft_radius_mm: SHAFT_RADIUS_MM,
            shaft_length_mm: SHAFT_LENGTH_MM,
        };
        let joints = model.rest();
        let mut arm = Self {
            true_base: about(patient.corridor.target, off, turn) * patient_from_base,
            commanded: joints,
            speeds: Joints::zeros(model.count()),
            approval: None,
            retracting: false,
            last_command: None,
            watchdog: settings.arm_watchdog,
            holding: true,
            energy: Energy::OFF,
            true_tip: Pose::identity(),
            log: Vec::with_capacity(1 << 12),
            joints,
            model,
            mount,
            base_side,
            frame,
        };
        arm.true_tip = arm.tip();
        arm
    }

    /// Takes one command; what is wrong with it, if anything.
    pub(crate) fn command(&mut self, now: Instant, sent: &Sent) -> Result<(), String> {
        let n = sent.joints.count();
        if n != self.model.count() {
            return Err(format!("a command for {n} joints; this arm has {}", self.model.count()));
        }
        if sent.joints.as_slice().iter().any(|q| !q.is_finite()) {
            return Err(String::from("a commanded joint is not a number"));
        }
        let room = self.model.room(&sent.joints);
        if room < 0.0 {
            return Err(format!("a commanded joint lies {:.4} rad outside its limits", -room));
        }
        self.commanded = sent.joints;
        self.approval = sent.approval;
        self.retracting = sent.retracting;
        self.last_command = Some(now);
        // After a hold the way to where the path has gone on to is not the path: it goes on only when it is
        // told to stand where it stands.
        if self.holding && sent.joints.distance(&self.joints) <= RESUMES_WITHIN_RAD {
            self.holding = false;
            self.write(now, ArmEvent::Resumed, false);
        }
        Ok(())
    }

    /// The patient moved, the base did not: in her axes it moved the other way.
    pub(crate) fn left_behind(&mut self, patient_moved: &Isometry3<f64>) {
        self.true_base = patient_moved.inverse() * self.true_base;
        self.true_tip = self.tip();
    }

    /// Whether it follows commands.
    pub(crate) const fn ready(&self) -> bool {
        !self.holding
    }

    /// One step; what the instrument really does in it.
    pub(crate) fn step(&mut self, now: Instant, console: Energy) -> Energy {
        let silent = self.last_command.is_none_or(|last| now.since(last).is_some_and(|age| age > self.watchdog));
        if silent && !self.holding {
            self.holding = true;
            self.commanded = self.joints;
            self.energy = Energy::OFF;
            self.speeds = Joints::zeros(self.model.count());
            self.write(now, ArmEvent::Watchdog, false);
        }
        if self.holding {
            return Energy::OFF;
        }
        let moved = self.follow();
        if moved {
            self.true_tip = self.tip();
        }
        if moved || console != self.energy {
            self.energy = console;
            self.write(now, ArmEvent::Executed, moved);
        }
        console
    }

    /// One step straight towards the command, as far as the slowest joint can go: all joints arrive together,
    /// so that a command which comes late does not lead off the path.
    fn follow(&mut self) -> bool {
        let before = self.joints;
        let left = |i: usize| self.commanded.as_slice()[i] - before.as_slice()[i];
        let most = |i: usize| self.model.limits()[i].speed_rad_s * STEP.secs_f64();
        let share = (0..self.model.count()).map(|i| most(i) / left(i).abs().max(most(i))).fold(1.0, f64::min);
        for i in 0..self.model.count() {
            let (from, to) = (before.as_slice()[i], self.commanded.as_slice()[i]);
            let reached = if share < 1.0 { from + (to - from) * share } else { to };
            self.joints.as_mut_slice()[i] = reached;
            self.speeds.as_mut_slice()[i] = (reached - from) / STEP.secs_f64();
        }
        self.joints != before
    }

    fn tip(&self) -> TipInPatient {
        let iso = self.true_base * self.model.forward(&self.joints).isometry() * self.mount.flange_from_tip.isometry();
        finite(self.frame, iso)
    }

    fn write(&mut self, time: Instant, event: ArmEvent, moved: bool) {
        self.log.push(ArmLogEntry {
            time,
            event,
            joints: self.joints,
            commanded: self.commanded,
            moved,
            energy: self.energy,
            approval: self.approval,
            retracting: self.retracting,
        });
    }
}

/// Where the base stands so that the resting tip looks down the corridor, with the base to the side and
/// towards the feet.
fn stand(patient: &Patient, base_from_tip: &Isometry3<f64>) -> (Isometry3<f64>, Vector3<f64>) {
    let inwards = -patient.craniotomy.outward;
    let tip = patient.craniotomy.centre - inwards * STANDOFF_MM;
    // LPS: +x is the patient's left; −z is towards the feet.
    let wish = Vector3::new(0.6 * patient.craniotomy.outward.x.signum(), 0.0, -0.8);
    let side = (wish - inwards * wish.dot(&inwards)).try_normalize(1e-6).unwrap_or_else(|| any_across(&inwards));
    let base = base_from_tip.inverse().translation.vector;
    let across = base.xy().norm().max(1e-9);
    let (c, s) = (base.x / across, base.y / across);
    // The tip's x axis such that (base.x, base.y) points along `side`.
    let x = side * c - inwards.cross(&side) * s;
    let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, inwards.cross(&x), inwards]));
    let patient_from_tip =
        Isometry3::from_parts(Translation3::from(tip.coords), UnitQuaternion::from_rotation_matrix(&rotation));
    (patient_from_tip * base_from_tip.inverse(), side)
}

/// Some unit vector across another.
pub(crate) fn any_across(v: &Vector3<f64>) -> Vector3<f64> {
    let other = if v.x.abs() < 0.9 { Vector3::x() } else { Vector3::y() };
    v.cross(&other).normalize()
}
