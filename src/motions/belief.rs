//! What the validator is shown of a patient: anatomy as the runtime knows it, and a scene made of that.
//!
//! What the scan shows is believed as it is; by how much the registration is wrong is drawn elsewhere and told the validator in
//! the scene's error budget alone. The whole wall is in the microscope's view. **Units and frame:** mm, patient LPS.
//! **Not modelled:** an estimator that errs; a brain that moves.

use crate::config::{Config, PatientSource};
use crate::session::Simulated;
use bregma_core::arm::{ArmModel, Ik, Joints};
use bregma_core::digest::Digest;
use bregma_core::flow::{
    Anatomy, ArmMount, ArmState, Energy, ErrorBudget, GateState, Motion, Plan, Proposal, ROI_EDGE, RegionKind,
    Registration, Scene, Sent, Sequence, TipPose, TraceId, TrackingStatus, roi_grid, voxel,
};
use bregma_core::frame::{Pose, Reference, Tip};
use bregma_core::grid::Grid;
use bregma_core::time::{Duration, Instant, Stamped};
use bregma_core::topic::Numbered;
use bregma_core::units::Millimetres;
use bregma_patient::{Label, Patient, WorldKind};
use bregma_perception::distance::{DistanceTransform, surface_mm};
use bregma_physics::{Limits, Validate, ValidateIn};
use nalgebra::{Isometry3, Point3};
use std::sync::Arc;

/// When everything happens.
pub const NOW: Instant = Instant::from_nanos(10_000_000_000);

/// A patient as the runtime believes her to be.
pub struct Believed {
    /// The patient.
    pub patient: Arc<Patient>,
    /// In which world.
    pub world: WorldKind,
    /// What is known of her.
    pub anatomy: Arc<Anatomy>,
    /// The scene.
    pub scene: Arc<Scene>,
    /// The arm.
    pub arm: ArmModel,
    /// Where it stands.
    pub mount: ArmMount,
    /// What motions are held to.
    pub limits: Limits,
    /// What forbidden structures are kept clear of beside the error budget, mm: perceive's share and the validator's.
    pub margin_mm: f64,
    /// The registration's error, root mean square length, mm.
    pub tre_mm: f64,
    /// Its planner, as the gate knows it.
    pub model: Digest,
}

impl Believed {
    /// Of a seed.
    ///
    /// # Errors
    /// When no patient grows from it.
    pub fn new(config: &Config, source: &PatientSource, seed: u64) -> anyhow::Result<Self> {
        let simulated = Simulated::new(source, None, seed)?;
        let theatre = simulated.theatre();
        let tre_mm = source.theatre().registration_tre_mm;
        let scene = scene(&simulated.patient, &theatre.anatomy, config.forbidden_inflation_mm, tre_mm);
        Ok(Self {
            world: source.world,
            anatomy: theatre.anatomy,
            scene: Arc::new(scene),
            arm: config.arm.clone(),
            mount: theatre.mount,
            limits: config.limits,
            margin_mm: config.forbidden_inflation_mm + config.limits.values().forbidden_mm,
            tre_mm,
            model: Digest::of(b"a planner of the table"),
            patient: simulated.patient,
        })
    }

    /// A validator for her.
    ///
    /// # Errors
    /// When the mount is refused.
    pub fn validator(&self) -> anyhow::Result<Validate> {
        Ok(Validate::new(self.arm.clone(), self.mount, self.limits)?)
    }

    /// Where the tip is at rest.
    #[must_use]
    pub fn tip_at_rest(&self) -> Isometry3<f64> {
        *self.tip(&self.arm.rest()).isometry()
    }

    /// Where the tip is, by the arm's own account.
    #[must_use]
    pub fn tip(&self, joints: &Joints) -> Pose<bregma_core::frame::Patient, Tip> {
        self.mount.patient_from_arm_base * self.arm.forward(joints) * self.mount.flange_from_tip
    }

    /// Joints that bring the tip there.
    #[must_use]
    pub fn joints(&self, tip: &Isometry3<f64>, near: &Joints, how: &Ik) -> Option<Joints> {
        let patient_from_tip = self.pose(tip)?;
        let target =
            self.mount.patient_from_arm_base.inverse() * patient_from_tip * self.mount.flange_from_tip.inverse();
        self.arm.inverse(&target, near, how).ok()
    }

    /// A tip's pose in her frame.
    #[must_use]
    pub fn pose(&self, tip: &Isometry3<f64>) -> Option<Pose<bregma_core::frame::Patient, Tip>> {
        Pose::between(self.anatomy.frame, self.mount.flange_from_tip.from, *tip).ok()
    }

    /// Everything that the validator reads, fresh, with the arm standing at `joints`, and a plan of one motion.
    #[must_use]
    pub fn input(&self, joints: &Joints, motion: Motion, scene: &Arc<Scene>) -> ValidateIn {
        let mut input = ValidateIn::default();
        let plan = Plan {
            sequence: Sequence(1),
            trace: TraceId(1),
            scene: scene.id,
            planner: "greedy",
            model: self.model,
            proposal: Proposal::Motions(vec![motion]),
            decided: NOW,
        };
        let mm = Millimetres::constant;
        input.plans.set([Numbered { number: 1, value: Arc::new(plan) }]);
        input.scene.set(1, Arc::clone(scene));
        input.anatomy.set(1, Arc::clone(&self.anatomy));
        let speeds = Joints::zeros(joints.count());
        input.arm.set(1, ArmState { joints: *joints, speeds, ready: true, captured: NOW });
        let tip = *self.tip(joints).isometry();
        let sole = bregma_core::FrameId::SOLE;
        if let Ok(value) = Pose::<Reference, Tip>::between(sole, sole, tip) {
            let valid_for = Duration::from_millis(200);
            let reference_from_tip = Stamped { value, captured: NOW, valid_for, error: mm(0.3), drift_mm_s: 0.0 };
            let status = TrackingStatus::Valid;
            input.tip.set(1, TipPose { trace: TraceId(1), reference_from_tip, status, received: NOW });
        }
        if let Ok(patient_from_reference) = Pose::between(self.anatomy.frame, sole, Isometry3::identity()) {
            let expires = NOW + Duration::from_secs(3600);
            let (fre, predicted_tre) = (mm(0.5), mm(self.tre_mm));
            let registered = Instant::START;
            input
                .registration
                .set(1, Registration { patient_from_reference, fre, predicted_tre, up: None, registered, expires });
        }
        input.sent.set(1, standing(joints));
        input
    }
}

fn standing(joints: &Joints) -> Sent {
    Sent {
        state: GateState::Armed,
        joints: *joints,
        energy: Energy::OFF,
        approval: None,
        retracting: false,
        finished: Sequence(0),
        consent: None,
        reason: None,
        sent: NOW,
    }
}

/// A scene with a later capture, or an earlier one.
#[must_use]
pub fn captured(scene: &Scene, captured: Instant) -> Scene {
    let mut scene = Scene { captured, decided: captured, ..scene.clone() };
    scene.digest = scene.digest_of_bytes();
    scene
}

/// What perceive would say of a patient whose anatomy is known and whose residual core is all of her tumour.
fn scene(patient: &Patient, anatomy: &Anatomy, inflation_mm: f64, tre_mm: f64) -> Scene {
    let mut scene = Scene::empty();
    let mm = Millimetres::constant;
    (scene.id, scene.trace, scene.frame, scene.anatomy) = (Sequence(1), TraceId(1), anatomy.frame, anatomy.digest);
    scene.grid = roi_grid(anatomy.corridor.target);
    scene.errors = ErrorBudget { registration: mm(tre_mm), ..ErrorBudget::default() };
    let grid = scene.grid;
    let reach_mm = inflation_mm + scene.errors.total(&scene.shift).get();
    for (index, forbidden_mm) in forbidden_mm(anatomy, &grid).into_iter().enumerate() {
        let at = grid.centre(grid.voxel(index));
        let label = patient.label_at(&at).unwrap_or(Label::Outside);
        let open = anatomy.corridor.holds(&at, 10.0) && !label.core();
        let state = &mut scene.state[index];
        *state |= if label.tissue() { voxel::BRAIN } else { 0 };
        *state |= if open { voxel::CAVITY } else { 0 };
        *state |= if forbidden_mm <= reach_mm { voxel::FORBIDDEN } else { 0 };
        scene.residual[index] = if label.core() { 255 } else { 0 };
    }
    let open = |i: usize| scene.state[i] & voxel::CAVITY != 0;
    let wall: Vec<usize> = (0..grid.len()).filter(|i| !open(*i) && beside(&grid, *i, &open)).collect();
    for index in wall.into_iter().filter(|i| scene.state[*i] & voxel::BRAIN != 0).collect::<Vec<_>>() {
        scene.state[index] |= voxel::WALL | voxel::VISIBLE;
        scene.seen_age_s[index] = 0;
    }
    captured(&scene, NOW)
}

fn beside(grid: &Grid, index: usize, is: &impl Fn(usize) -> bool) -> bool {
    let v = grid.voxel(index);
    (0..3).any(|a| {
        let at = |c: usize| {
            let mut w = v;
            w[a] = c;
            c < grid.dims[a] && is(grid.index(w))
        };
        at(v[a] + 1) || v[a].checked_sub(1).is_some_and(at)
    })
}

/// Distance of every voxel's centre from what is known to be forbidden, mm: as perceive measures it.
fn forbidden_mm(anatomy: &Anatomy, grid: &Grid) -> Vec<f64> {
    let mut eloquent = [false; 256];
    for region in anatomy.regions.iter().filter(|r| r.kind == RegionKind::Eloquent) {
        eloquent[usize::from(region.label)] = true;
    }
    let label = |at: &Point3<f64>| anatomy.grid.containing(at).map_or(0, |v| anatomy.labels[anatomy.grid.index(v)]);
    let labelled: Vec<u8> =
        (0..grid.len()).map(|i| u8::from(eloquent[usize::from(label(&grid.centre(grid.voxel(i))))])).collect();
    let mut squared = vec![0; grid.len()];
    DistanceTransform::new([ROI_EDGE; 3]).signed(&labelled, &mut squared);
    let mut far: Vec<f64> = squared.iter().map(|s| surface_mm(*s, grid.spacing_mm)).collect();
    for vessel in &anatomy.vessels {
        let middle = nalgebra::center(&vessel.start, &vessel.end);
        let reach = 0.5 * nalgebra::distance(&vessel.start, &vessel.end) + vessel.radius_mm + 10.0;
        let [xs, ys, zs] = grid.around(&middle, reach);
        for k in zs {
            for j in ys.clone() {
                for i in xs.clone() {
                    let far = &mut far[grid.index([i, j, k])];
                    *far = far.min(vessel.distance_mm(&grid.centre([i, j, k])));
                }
            }
        }
    }
    far
}
