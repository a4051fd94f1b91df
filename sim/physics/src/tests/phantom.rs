//! A room with a round head: skull shell with a hole at the top (+z), a corridor under it, one forbidden
//! ball, one vessel, one eloquent ball below the fine region, and an arm whose tip stands above the hole
//! pointing in when it is at rest.

use super::bregma_physics::ValidateIn;
use bregma_core::arm::{ArmModel, ArmModelId, Ik, Joints};
use bregma_core::digest::Digest;
use bregma_core::flow::{
    Anatomy, ArmMount, ArmState, Capsule, Corridor, Craniotomy, Energy, ErrorBudget, GateState, Motion, Plan, Proposal,
    Region, RegionKind, Registration, Scene, Sent, Sequence, TipPose, TraceId, TrackingStatus, Waypoint, roi_grid,
    voxel,
};
use bregma_core::frame::{Flange, FrameId, Patient, Pose, Reference, Tip};
use bregma_core::grid::Grid;
use bregma_core::time::{Duration, Instant, Stamped};
use bregma_core::topic::Numbered;
use bregma_core::units::Millimetres;
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use std::sync::Arc;

pub const NOW: Instant = Instant::from_nanos(10_000_000_000);

pub struct Phantom {
    pub arm: ArmModel,
    pub mount: ArmMount,
    pub anatomy: Arc<Anatomy>,
    pub scene: Arc<Scene>,
    pub joints: Joints,
}

/// Pointing down (-z), turned about x.
pub fn down(x: f64, y: f64, z: f64) -> Pose<Patient, Tip> {
    let turned = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
    Pose::new(Isometry3::from_parts(Translation3::new(x, y, z), turned)).expect("finite")
}

pub fn to(x: f64, y: f64, z: f64, feed_mm_s: f64, energy: Energy) -> Waypoint {
    Waypoint { patient_from_tip: down(x, y, z), feed_mm_s, energy }
}

pub fn anatomy() -> Anatomy {
    let grid = Grid::centred(Point3::origin(), [84; 3], 2.5);
    let labels = (0..grid.len())
        .map(|i| {
            let p = grid.centre(grid.voxel(i));
            let r = p.coords.norm();
            let hole = p.z > 0.0 && p.coords.xy().norm() < 20.0;
            if (80.0..86.0).contains(&r) && !hole {
                1
            } else if (p - Point3::new(0.0, 0.0, -30.0)).norm() < 10.0 {
                2
            } else {
                0
            }
        })
        .collect();
    let mut anatomy = Anatomy {
        frame: FrameId::SOLE,
        vessels: vec![Capsule {
            start: Point3::new(-16.0, -20.0, 45.0),
            end: Point3::new(-16.0, 20.0, 45.0),
            radius_mm: 0.5,
        }],
        grid,
        labels,
        regions: vec![
            Region { label: 1, name: "skull".to_owned(), kind: RegionKind::Skull },
            Region { label: 2, name: "motor strip".to_owned(), kind: RegionKind::Eloquent },
        ],
        craniotomy: Craniotomy { centre: Point3::new(0.0, 0.0, 85.0), outward: Vector3::z(), radius_mm: 20.0 },
        corridor: Corridor {
            entry: Point3::new(0.0, 0.0, 78.0),
            target: Point3::new(0.0, 0.0, 40.0),
            entry_radius_mm: 12.0,
            end_radius_mm: 9.0,
            open_mm: 30.0,
        },
        digest: Digest::default(),
    };
    anatomy.digest = anatomy.digest_of_content();
    anatomy
}

pub fn scene(anatomy: &Anatomy, forbidden: impl Fn(&Point3<f64>) -> bool) -> Scene {
    let mut scene = Scene::empty();
    scene.id = Sequence(1);
    scene.trace = TraceId(7);
    scene.grid = roi_grid(Point3::new(0.0, 0.0, 45.0));
    for i in 0..scene.grid.len() {
        let p = scene.grid.centre(scene.grid.voxel(i));
        if p.coords.norm() < 78.0 {
            scene.state[i] |= voxel::BRAIN;
        }
        if anatomy.corridor.holds(&p, 10.0) {
            scene.state[i] |= voxel::CAVITY;
        }
        if forbidden(&p) {
            scene.state[i] |= voxel::FORBIDDEN;
        }
    }
    let mm = Millimetres::constant;
    scene.errors = ErrorBudget { registration: mm(0.3), calibration: mm(0.2), tracking: mm(0.2), shift: mm(0.1) };
    scene.anatomy = anatomy.digest;
    stamp(scene, NOW)
}

pub fn stamp(mut scene: Scene, captured: Instant) -> Scene {
    scene.captured = captured;
    scene.decided = captured;
    scene.digest = scene.digest_of_bytes();
    scene
}

pub fn ball(p: &Point3<f64>) -> bool {
    (p - Point3::new(18.0, 0.0, 45.0)).norm() < 6.0
}

impl Phantom {
    /// With the tip at `at` when the arm is at rest.
    pub fn with(arm: ArmModelId, flange_from_tip: Pose<Flange, Tip>, at: Pose<Patient, Tip>) -> Self {
        let arm = ArmModel::new(arm);
        let joints = arm.rest();
        let patient_from_arm_base = at * (arm.forward(&joints) * flange_from_tip).inverse();
        let mount = ArmMount { patient_from_arm_base, flange_from_tip, shaft_radius_mm: 1.25, shaft_length_mm: 180.0 };
        let anatomy = Arc::new(anatomy());
        let scene = Arc::new(scene(&anatomy, ball));
        Self { arm, mount, anatomy, scene, joints }
    }

    /// 15 mm above the hole's plane.
    pub fn new() -> Self {
        Self::with(ArmModelId::LbrMed7, long(), down(0.0, 0.0, 100.0))
    }

    /// The same with the arm moved so that the tip is at `at`.
    pub fn at(mut self, at: Pose<Patient, Tip>) -> Self {
        let target = self.mount.patient_from_arm_base.inverse() * at * self.mount.flange_from_tip.inverse();
        self.joints = self.arm.inverse(&target, &self.joints, &Ik::SEARCH).expect("within reach");
        self
    }

    pub fn tip(&self) -> Pose<Patient, Tip> {
        self.mount.patient_from_arm_base * self.arm.forward(&self.joints) * self.mount.flange_from_tip
    }

    /// Everything fresh, and a plan of these motions.
    pub fn input(&self, motions: Vec<Motion>) -> ValidateIn {
        let mut input = ValidateIn::default();
        let plan = Plan {
            sequence: Sequence(3),
            trace: TraceId(7),
            scene: Sequence(1),
            planner: "test",
            model: Digest::of(b"model"),
            proposal: Proposal::Motions(motions),
            decided: NOW,
        };
        input.plans.set([Numbered { number: 1, value: Arc::new(plan) }]);
        input.scene.set(1, Arc::clone(&self.scene));
        input.anatomy.set(1, Arc::clone(&self.anatomy));
        input.arm.set(
            1,
            ArmState { joints: self.joints, speeds: Joints::zeros(self.joints.count()), ready: true, captured: NOW },
        );
        let reference_from_tip = Stamped {
            value: Pose::<Reference, Tip>::new(*self.tip().isometry()).expect("finite"),
            captured: NOW,
            valid_for: Duration::from_millis(200),
            error: Millimetres::constant(0.5),
            drift_mm_s: 0.1,
        };
        input
            .tip
            .set(1, TipPose { trace: TraceId(7), reference_from_tip, status: TrackingStatus::Valid, received: NOW });
        let mm = Millimetres::constant;
        input.registration.set(
            1,
            Registration {
                patient_from_reference: Pose::identity(),
                fre: mm(0.5),
                predicted_tre: mm(0.8),
                up: None,
                registered: Instant::START,
                expires: NOW + Duration::from_secs(3600),
            },
        );
        input.sent.set(1, self.sent(GateState::Armed, None));
        input
    }

    pub fn sent(&self, state: GateState, approval: Option<Sequence>) -> Sent {
        Sent {
            state,
            joints: self.joints,
            energy: Energy::OFF,
            approval,
            retracting: false,
            finished: Sequence(0),
            consent: None,
            reason: None,
            sent: NOW,
        }
    }

    /// Waypoints after where the tip is.
    pub fn motion(&self, then: impl IntoIterator<Item = Waypoint>) -> Motion {
        let first = Waypoint { patient_from_tip: self.tip(), feed_mm_s: 10.0, energy: Energy::OFF };
        Motion { waypoints: std::iter::once(first).chain(then).collect() }
    }

    /// In, a cut of 4 mm at the corridor's end, and out of the tissue again.
    pub fn good(&self) -> Motion {
        self.motion([
            to(0.0, 0.0, 92.0, 30.0, Energy::OFF),
            to(2.0, 1.0, 50.0, 9.0, Energy::OFF),
            to(2.0, 1.0, 46.0, 4.0, Energy::CUT),
            to(2.0, 1.0, 52.0, 9.0, Energy::OFF),
        ])
    }
}

/// The instrument 220 mm along the flange.
pub fn long() -> Pose<Flange, Tip> {
    Pose::new(Isometry3::translation(0.0, 0.0, 220.0)).expect("finite")
}
