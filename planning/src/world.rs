//! A synthetic patient for the tests: a ball of core under an open corridor, and a gate that plays along.

use crate::{Greedy, GreedySettings, PlanIn, PlanSettings, PlanStage, Planner};
use bregma_core::arm::{ArmModel, ArmModelId, Ik, Joints};
use bregma_core::digest::Digest;
use bregma_core::flow::{
    Anatomy, ArmMount, Capsule, Check, CheckResult, Corridor, Craniotomy, Energy, GateState, Motion, Plan, Proposal,
    Scene, Sent, Sequence, Verdict, roi_grid, voxel,
};
use bregma_core::frame::{FrameId, Patient, Pose, Tip};
use bregma_core::grid::Grid;
use bregma_core::stage::Stage;
use bregma_core::time::{Duration, Instant};
use bregma_core::topic::Numbered;
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion, Vector3};
use std::sync::Arc;

pub(crate) const SHAFT_MM: f64 = 1.25;
pub(crate) const CUT_MM: f64 = 2.0;

/// The patient.
#[derive(Clone)]
pub(crate) struct World {
    pub anatomy: Anatomy,
    pub grid: Grid,
    pub core: Vec<bool>,
    pub state: Vec<u8>,
    pub healthy_cut: usize,
    pub doubtful_ml: f64,
    pub scanned: Instant,
    initial: Vec<bool>,
}

impl World {
    /// A ball around the origin; the brain's surface 45 mm above it, the bone 8 mm higher.
    pub fn ball(radius_mm: f64) -> Self {
        let entry = Point3::new(0.0, 0.0, 45.0);
        let corridor = Corridor {
            entry,
            target: Point3::origin(),
            entry_radius_mm: 11.0,
            end_radius_mm: 8.0,
            open_mm: 45.0 - radius_mm + 1.0,
        };
        let grid = roi_grid(Point3::origin());
        let anatomy = Anatomy {
            frame: FrameId::SOLE,
            vessels: Vec::new(),
            grid: Grid { dims: [1, 1, 1], spacing_mm: 1.0, origin: [0.0; 3] },
            labels: vec![0],
            regions: Vec::new(),
            craniotomy: Craniotomy { centre: Point3::new(0.0, 0.0, 53.0), outward: Vector3::z(), radius_mm: 20.0 },
            corridor,
            digest: Digest::default(),
        };
        let mut core = vec![false; grid.len()];
        let mut state = vec![voxel::BRAIN; grid.len()];
        for i in 0..grid.len() {
            let at = grid.centre(grid.voxel(i));
            if corridor.holds(&at, 20.0) {
                state[i] = voxel::CAVITY;
            } else if at.coords.norm() <= radius_mm {
                core[i] = true;
            }
        }
        Self {
            anatomy,
            grid,
            initial: core.clone(),
            core,
            state,
            healthy_cut: 0,
            doubtful_ml: 0.0,
            scanned: Instant::START,
        }
    }

    /// Forbids a ball.
    pub fn forbid(&mut self, at: Point3<f64>, radius_mm: f64) {
        for i in 0..self.grid.len() {
            if nalgebra::distance(&self.grid.centre(self.grid.voxel(i)), &at) <= radius_mm {
                self.state[i] |= voxel::FORBIDDEN;
            }
        }
    }

    pub fn scene(&self, id: u64, now: Instant) -> Scene {
        let mut scene = Scene::empty();
        (scene.id, scene.captured, scene.decided, scene.grid) = (Sequence(id), now, now, self.grid);
        scene.state.copy_from_slice(&self.state);
        for (to, core) in scene.residual.iter_mut().zip(&self.core) {
            *to = if *core { 220 } else { 10 };
        }
        scene.residual_ml = self.core_ml();
        (scene.doubtful_ml, scene.scanned) = (self.doubtful_ml, self.scanned);
        scene
    }

    pub fn core_ml(&self) -> f64 {
        self.core.iter().filter(|c| **c).count() as f64 * self.grid.voxel_ml()
    }

    /// Core that a straight shaft through the entry meets before any healthy tissue, and far enough from
    /// forbidden voxels that a cutting sphere fits: removable by anybody's reckoning.
    pub fn reachable(&self) -> Vec<bool> {
        let forbidden: Vec<_> = self.every(|s, w| w.state[s] & voxel::FORBIDDEN != 0);
        let entry = self.anatomy.corridor.entry;
        (0..self.grid.len())
            .map(|i| {
                let at = self.grid.centre(self.grid.voxel(i));
                let samples = (nalgebra::distance(&at, &entry) / 0.25) as usize;
                let clear = |p: &Point3<f64>| {
                    self.grid
                        .containing(p)
                        .map(|v| self.grid.index(v))
                        .is_none_or(|j| self.initial[j] || self.state[j] & voxel::CAVITY != 0)
                };
                let far = |p: &Point3<f64>| forbidden.iter().all(|f| nalgebra::distance(f, p) > 3.5);
                self.initial[i]
                    && far(&at)
                    && (0..=samples).all(|n| {
                        let p = at + (entry - at) * (n as f64 / samples as f64);
                        clear(&p) && (n % 4 != 0 || far(&p))
                    })
            })
            .collect()
    }

    pub fn every(&self, wanted: impl Fn(usize, &Self) -> bool) -> Vec<Point3<f64>> {
        (0..self.grid.len()).filter(|i| wanted(*i, self)).map(|i| self.grid.centre(self.grid.voxel(i))).collect()
    }

    /// Removes what the energised tip sweeps.
    pub fn carve(&mut self, motion: &Motion) {
        for pair in motion.waypoints.windows(2).filter(|p| p[1].energy.ultrasound) {
            let (start, end) = (at(&pair[0].patient_from_tip), at(&pair[1].patient_from_tip));
            let capsule = Capsule { start, end, radius_mm: CUT_MM };
            let middle = nalgebra::center(&start, &end);
            let [xs, ys, zs] = self.grid.around(&middle, CUT_MM + 0.5 * nalgebra::distance(&start, &end));
            for k in zs {
                for j in ys.clone() {
                    for i in xs.clone() {
                        let index = self.grid.index([i, j, k]);
                        if capsule.distance_mm(&self.grid.centre([i, j, k])) <= 0.0 {
                            assert_eq!(self.state[index] & voxel::FORBIDDEN, 0, "cut a forbidden voxel");
                            self.healthy_cut +=
                                usize::from(!self.core[index] && self.state[index] & voxel::CAVITY == 0);
                            self.core[index] = false;
                            self.state[index] |= voxel::CAVITY;
                        }
                    }
                }
            }
        }
    }

    /// Removed tissue more than 2 mm outside a ball of this radius, mL.
    pub fn overcut_ml(&self, radius_mm: f64) -> f64 {
        let over = self.every(|i, w| w.state[i] & voxel::CAVITY != 0);
        let outside =
            over.iter().filter(|p| p.coords.norm() > radius_mm + 2.0 && !self.anatomy.corridor.holds(p, 20.0));
        outside.count() as f64 * self.grid.voxel_ml()
    }
}

pub(crate) fn at(pose: &Pose<Patient, Tip>) -> Point3<f64> {
    pose.position().coordinates()
}

/// A tip that points straight down.
pub(crate) fn pointing_down(at: Point3<f64>) -> Pose<Patient, Tip> {
    let down = UnitQuaternion::from_quaternion(nalgebra::Quaternion::new(0.0, 1.0, 0.0, 0.0));
    Pose::new(Isometry3::from_parts(Translation3::from(at.coords), down)).expect("finite")
}

/// What the validator and the gate answer.
pub(crate) enum Answer {
    /// The first candidate is approved, played, and cuts.
    Play,
    /// It is played, and the instrument removes nothing.
    PlayBlunt,
    /// All are rejected by this check, at their first cut.
    Reject(Check),
    /// Nothing.
    Silence,
}

/// Stage, gate and patient in one room.
pub(crate) struct Theatre {
    pub world: World,
    pub stage: PlanStage,
    pub input: PlanIn,
    pub now: Instant,
    pub sent: Sent,
    pub plans: Vec<Arc<Plan>>,
    arm: ArmModel,
    mount: ArmMount,
    count: u64,
}

impl Theatre {
    pub fn new(world: World) -> Self {
        Self::with(world, Box::new(Greedy::new(GreedySettings::STANDARD).expect("in range")))
    }

    pub fn with(world: World, planner: Box<dyn Planner>) -> Self {
        let arm = ArmModel::new(ArmModelId::LbrMed7);
        let flange_from_tip = Pose::new(Isometry3::translation(0.0, 0.0, 200.0)).expect("finite");
        let tip = pointing_down(Point3::new(0.0, 0.0, 70.0));
        let mount = ArmMount {
            patient_from_arm_base: tip * (arm.forward(&arm.rest()) * flange_from_tip).inverse(),
            flange_from_tip,
            shaft_radius_mm: SHAFT_MM,
            shaft_length_mm: 200.0,
        };
        let stage = PlanStage::new(planner, PlanSettings::STANDARD, arm.clone(), mount, CUT_MM).expect("in range");
        let sent = standing(arm.rest());
        let mut theatre = Self {
            world,
            stage,
            input: PlanIn::default(),
            now: Instant::from_nanos(1),
            sent,
            plans: Vec::new(),
            arm,
            mount,
            count: 0,
        };
        theatre.input.anatomy.set(1, Arc::new(theatre.world.anatomy.clone()));
        theatre
    }

    /// A new scene, the gate's newest word, and one step.
    pub fn step(&mut self) -> Option<Arc<Plan>> {
        self.count += 1;
        self.input.scene.set(self.count, Arc::new(self.world.scene(self.count, self.now)));
        self.step_without_scene()
    }

    pub fn step_without_scene(&mut self) -> Option<Arc<Plan>> {
        self.sent.sent = self.now;
        self.input.sent.set(self.count, self.sent);
        let mut out = None;
        self.stage.step(self.now, &self.input, &mut out).expect("no fault");
        self.input.verdicts.set([]);
        self.plans.extend(out.clone());
        out
    }

    pub fn verdict(&mut self, plan: &Plan, candidate: usize, failed: Option<(Check, Point3<f64>)>) {
        let checks = failed.map(|(check, at)| CheckResult {
            check,
            value: 0.0,
            limit: 1.0,
            passed: false,
            when: Duration::ZERO,
            at: bregma_core::Point::from_coordinates(at).ok(),
        });
        let verdict = Verdict {
            plan: plan.sequence,
            trace: plan.trace,
            candidate,
            scene: plan.scene,
            approved: checks.is_none(),
            checks: checks.into_iter().collect(),
            decided: self.now,
        };
        let waiting: Vec<_> = self.input.verdicts.iter().cloned().chain([Arc::new(verdict)]).collect();
        self.input.verdicts.set(waiting.into_iter().map(|value| Numbered { number: 1, value }));
    }

    /// Lets validator and gate answer a plan, and time pass.
    pub fn answer(&mut self, plan: &Plan, answer: &Answer) {
        self.now = self.now + Duration::from_millis(500);
        let Proposal::Motions(motions) = &plan.proposal else { return };
        match answer {
            Answer::Silence => {}
            Answer::Reject(check) => {
                for (n, motion) in motions.iter().enumerate() {
                    let first = motion.waypoints.iter().find(|w| w.energy.ultrasound).unwrap_or(&motion.waypoints[0]);
                    self.verdict(plan, n, Some((*check, at(&first.patient_from_tip))));
                }
            }
            Answer::Play | Answer::PlayBlunt => {
                self.verdict(plan, 0, None);
                if matches!(answer, Answer::Play) {
                    self.world.carve(&motions[0]);
                }
                let end = motions[0].waypoints.last().expect("has waypoints").patient_from_tip;
                let flange = self.mount.patient_from_arm_base.inverse() * end * self.mount.flange_from_tip.inverse();
                self.sent.joints = self.arm.inverse(&flange, &self.sent.joints, &Ik::SEARCH).expect("reachable");
                self.sent.finished.0 += 1;
            }
        }
    }

    /// Plays a case; returns after the last word or so many plans.
    pub fn play(&mut self, answer: &Answer, plans_max: usize) {
        for _ in 0..20 * plans_max {
            let plan = self.step();
            self.now = self.now + Duration::from_millis(50);
            if let Some(plan) = plan {
                self.answer(&plan, answer);
            }
            if self.stage.finished() || self.plans.len() >= plans_max {
                return;
            }
        }
    }
}

pub(crate) fn standing(joints: Joints) -> Sent {
    Sent {
        state: GateState::Armed,
        joints,
        energy: Energy::OFF,
        approval: None,
        retracting: false,
        finished: Sequence(0),
        consent: None,
        reason: None,
        sent: Instant::START,
    }
}
