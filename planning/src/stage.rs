//! The stage: when a plan is due, and what became of the last one.
//!
//! A plan is published when the gate is Armed and plays nothing, the scene was captured after the last
//! motion ended, and the plan before is settled: all its candidates were rejected, its motion finished, was
//! withdrawn or held, or nothing was heard of it for [`PlanSettings::silence`]. Where errors forbid too much of the residual core,
//! re-anchoring is proposed instead of cutting: [`crate::anchor`].
//!
//! A new scan begins the case anew: what was given up or barred before was so by the old one.
//!
//! **Units and frames:** mm, patient LPS of the scene's own frame of reference. **Allocation:** per plan,
//! none per step without one. **Invariant:** after [`Request::Finish`] it publishes nothing more,
//! until a new scan comes.
//! **Not protected against:** a gate that lies about its joints; the validator compares them with the
//! tracked tip.

use crate::anchor::Anchor;
use crate::memory::{Ending, Memory};
use crate::planner::{Planner, View};
use crate::settings::{OutOfRange, PlanSettings};
use bregma_core::arm::ArmModel;
use bregma_core::brain_shift::BrainShift;
use bregma_core::flow::{
    Anatomy, ArmMount, GateState, Motion, Plan, Proposal, Request, Scene, Sent, Sequence, Verdict, Withdrawn,
};
use bregma_core::frame::{FramesDiffer, Patient, Pose, Tip};
use bregma_core::stage::{All, Latest, Stage};
use bregma_core::time::{Duration, Instant};
use std::sync::Arc;

/// Verdicts that may wait for one step: eight plans of eight candidates.
pub const VERDICTS_MAX: usize = 64;
/// Withdrawals that may wait for one step.
pub const WITHDRAWN_MAX: usize = 8;

/// What the stage reads.
#[derive(Debug, Clone)]
pub struct PlanIn {
    /// The newest scene; its arrival triggers the step.
    pub scene: Latest<Arc<Scene>>,
    /// What was planned and known before the start.
    pub anatomy: Latest<Arc<Anatomy>>,
    /// The gate's state and commanded joints.
    pub sent: Latest<Sent>,
    /// What the validator found.
    pub verdicts: All<Arc<Verdict>>,
    /// Approvals that no longer hold.
    pub withdrawn: All<Withdrawn>,
}

impl Default for PlanIn {
    fn default() -> Self {
        Self {
            scene: Latest::default(),
            anatomy: Latest::default(),
            sent: Latest::default(),
            verdicts: All::with_capacity(VERDICTS_MAX),
            withdrawn: All::with_capacity(WITHDRAWN_MAX),
        }
    }
}

/// What the stage cannot work with.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PlanFault {
    /// The gate speaks of another arm.
    #[error("the gate sent {sent} joints; the arm has {arm}")]
    JointCount {
        /// In the message.
        sent: usize,
        /// Of the arm.
        arm: usize,
    },
    /// The arm's mount speaks of another frame of reference.
    #[error("the arm's mount does not fit: {0}")]
    Frames(#[from] FramesDiffer),
    /// An array of the scene has the wrong length.
    #[error("scene {scene}: `{array}` holds {length} values; its grid has {voxels} voxels")]
    SceneShape {
        /// The scene.
        scene: u64,
        /// Which array.
        array: &'static str,
        /// Its length.
        length: usize,
        /// What the grid needs.
        voxels: usize,
    },
}

/// What the stage waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it published in this step.
    Nothing,
    /// A scene, an anatomy or the gate's first message.
    Inputs,
    /// The anatomy that the scene was made with.
    Anatomy,
    /// The gate to be Armed and standing still.
    Gate,
    /// The last plan to be settled.
    Settled,
    /// A scene captured after the last motion.
    Scene,
    /// A moment, after a rejection that passes with time.
    Retry,
    /// The surgeon, who was asked for a new MRI or registration.
    Answer,
    /// Nothing more: the case is finished.
    Finished,
}

/// The plan that is out.
struct Out {
    plan: Arc<Plan>,
    scene: Arc<Scene>,
    finished_before: Sequence,
    rejected: Vec<bool>,
    of_the_place: bool,
    approved: Option<usize>,
    heard: Instant,
}

/// Plans the next motion. See the module.
pub struct PlanStage {
    planner: Box<dyn Planner>,
    settings: PlanSettings,
    arm: ArmModel,
    mount: ArmMount,
    cut_radius_mm: f64,
    memory: Memory,
    out: Option<Out>,
    sequence: u64,
    finished: Option<Sequence>,
    was_moving: bool,
    still_since: Instant,
    retry_at: Instant,
    anchor: Anchor,
    answer_at: Instant,
    failing_since: Option<Instant>,
    gave_up: bool,
    done: bool,
    /// When the scan was acquired by which it plans.
    scanned: Instant,
    waiting: Waiting,
    declined_ml: f64,
    place: Place,
}

/// The anatomy with its corridor where that is now: regions and vessels a planner reads from the scene, which has moved
/// them.
#[derive(Default)]
struct Place(Option<(BrainShift, Arc<Anatomy>, Arc<Anatomy>)>);

impl Place {
    fn at(&mut self, anatomy: &Arc<Anatomy>, scene: &Scene) -> Arc<Anatomy> {
        if scene.shift.is_still() {
            return Arc::clone(anatomy);
        }
        match &self.0 {
            Some((shift, of, here)) if *shift == scene.shift && of.digest == anatomy.digest => Arc::clone(here),
            _ => {
                let corridor = anatomy.corridor.moved(&scene.shift);
                let here = Arc::new(Anatomy { corridor, ..Anatomy::clone(anatomy) });
                self.0 = Some((scene.shift.clone(), Arc::clone(anatomy), Arc::clone(&here)));
                here
            }
        }
    }
}

impl PlanStage {
    /// `cut_radius_mm`: within this distance of the tip, energised, tissue is expected to go.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn new(
        planner: Box<dyn Planner>,
        settings: PlanSettings,
        arm: ArmModel,
        mount: ArmMount,
        cut_radius_mm: f64,
    ) -> Result<Self, OutOfRange> {
        settings.check()?;
        if !(0.5..=3.0).contains(&cut_radius_mm) {
            return Err(OutOfRange { name: "cut_radius_mm", value: cut_radius_mm, low: 0.5, high: 3.0 });
        }
        Ok(Self {
            planner,
            settings,
            arm,
            mount,
            cut_radius_mm,
            memory: Memory::default(),
            out: None,
            sequence: 0,
            finished: None,
            was_moving: false,
            still_since: Instant::START,
            retry_at: Instant::START,
            anchor: Anchor::default(),
            answer_at: Instant::START,
            failing_since: None,
            gave_up: false,
            done: false,
            scanned: Instant::START,
            waiting: Waiting::Inputs,
            declined_ml: 0.0,
            place: Place::default(),
        })
    }

    /// What the last step waited for.
    #[must_use]
    pub const fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// How often each check rejected a candidate.
    pub fn rejections(&self) -> impl Iterator<Item = (bregma_core::flow::Check, u64)> + '_ {
        self.memory.rejections()
    }

    /// Residual core where the planner no longer goes, mL, in the scene of the last plan.
    #[must_use]
    pub const fn declined_ml(&self) -> f64 {
        self.declined_ml
    }

    /// Whether the last word was said.
    #[must_use]
    pub const fn finished(&self) -> bool {
        self.done
    }

    /// Takes in what was heard since the last step; settles the plan that is out.
    fn listen(&mut self, now: Instant, input: &PlanIn, sent: &Sent) {
        let moving = sent.state == GateState::Active || sent.approval.is_some();
        let finished_before = self.finished.replace(sent.finished);
        if self.was_moving && !moving || finished_before.is_some_and(|before| before != sent.finished) {
            // It ended at this message or before.
            self.still_since = sent.sent;
        }
        self.was_moving = moving;
        let Some(mut out) = self.out.take() else { return };
        for verdict in input.verdicts.iter().filter(|v| v.plan == out.plan.sequence) {
            out.heard = now;
            let Proposal::Motions(motions) = &out.plan.proposal else { continue };
            let Some(motion) = motions.get(verdict.candidate) else { continue };
            if verdict.approved {
                out.approved = Some(verdict.candidate);
                self.failing_since = None;
            } else if !std::mem::replace(&mut out.rejected[verdict.candidate], true) {
                out.of_the_place |= self.memory.reject(motion, verdict);
            }
        }
        if moving {
            out.heard = now;
        }
        let withdrawn = input.withdrawn.iter().any(|w| w.sequence > out.finished_before);
        let ending = if sent.finished > out.finished_before {
            Some(Ending::Finished)
        } else if withdrawn {
            Some(Ending::Withdrawn)
        } else if matches!(sent.state, GateState::Hold | GateState::Fault | GateState::Disarmed) {
            Some(Ending::Held)
        } else {
            None
        };
        if let Some(ending) = ending {
            // Also where the whole motion lay between two steps.
            self.still_since = sent.sent;
            if let Some(motion) = out.approved.and_then(|n| motion_of(&out.plan, n)) {
                self.memory.ended(motion, &out.scene, self.cut_radius_mm, ending);
            }
        } else if out.approved.is_none() && out.rejected.iter().all(|r| *r) {
            self.failing_since.get_or_insert(now);
            if !out.of_the_place {
                self.retry_at = now + self.settings.retry;
            }
        } else if now.since(out.heard).is_some_and(|silent| silent >= self.settings.silence) {
            self.failing_since.get_or_insert(out.heard);
        } else {
            self.out = Some(out);
        }
    }

    /// By a new scan.
    fn begin_anew(&mut self, now: Instant, scene: &Scene) {
        self.scanned = scene.scanned;
        self.memory.forget();
        self.anchor = Anchor::default();
        (self.answer_at, self.retry_at) = (now, now);
        (self.failing_since, self.gave_up, self.done) = (None, false, false);
    }

    /// What keeps a plan from being made now.
    fn obstacle(&self, now: Instant, scene: &Scene, anatomy: &Anatomy, sent: &Sent) -> Option<Waiting> {
        if self.done {
            Some(Waiting::Finished)
        } else if scene.anatomy != anatomy.digest {
            Some(Waiting::Anatomy)
        } else if sent.state != GateState::Armed || sent.approval.is_some() {
            Some(Waiting::Gate)
        } else if self.out.is_some() {
            Some(Waiting::Settled)
        } else if scene.captured < self.still_since {
            Some(Waiting::Scene)
        } else if now < self.retry_at {
            Some(Waiting::Retry)
        } else if now < self.answer_at {
            Some(Waiting::Answer)
        } else {
            None
        }
    }

    /// The commanded tip in the scene's frame.
    fn tip(&self, scene: &Scene, sent: &Sent) -> Result<Pose<Patient, Tip>, PlanFault> {
        if sent.joints.count() != self.arm.count() {
            return Err(PlanFault::JointCount { sent: sent.joints.count(), arm: self.arm.count() });
        }
        let base = self.mount.patient_from_arm_base;
        if base.to != scene.frame {
            return Err(FramesDiffer { kind: "patient", left: scene.frame.0, right: base.to.0 }.into());
        }
        let patient_from_flange = base.then(&self.arm.forward(&sent.joints))?;
        Ok(patient_from_flange.then(&self.mount.flange_from_tip)?)
    }

    fn propose(&mut self, now: Instant, view: &View<'_>) -> Proposal {
        let given_up =
            self.failing_since.and_then(|since| now.since(since)).is_some_and(|d| d >= self.settings.give_up);
        if !given_up {
            if self.anchor.asks(view.scene) {
                self.answer_at = now + self.settings.answer;
                return Proposal::Request(Request::NewMri);
            }
            return self.planner.propose(view);
        }
        if self.gave_up {
            return Proposal::Request(Request::Finish);
        }
        self.gave_up = true;
        let (ml, limit) = (view.scene.residual_ml, self.settings.give_up);
        let words = format!("{ml:.2} mL of residual core is left: no motion was approved for {limit}. Shall it stay?");
        Proposal::Request(Request::AskSurgeon(words))
    }
}

fn motion_of(plan: &Plan, candidate: usize) -> Option<&Motion> {
    match &plan.proposal {
        Proposal::Motions(motions) => motions.get(candidate),
        Proposal::Request(_) => None,
    }
}

fn check_shape(scene: &Scene) -> Result<(), PlanFault> {
    let (fine, coarse) = (scene.grid.len(), scene.coarse_grid.len());
    for (array, length, voxels) in [
        ("state", scene.state.len(), fine),
        ("residual", scene.residual.len(), fine),
        ("coarse_residual", scene.coarse_residual.len(), coarse),
    ] {
        if length != voxels {
            return Err(PlanFault::SceneShape { scene: scene.id.0, array, length, voxels });
        }
    }
    Ok(())
}

impl std::fmt::Debug for PlanStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let planner = self.planner.name();
        f.debug_struct("PlanStage").field("planner", &planner).field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Stage for PlanStage {
    type In = PlanIn;
    type Out = Option<Arc<Plan>>;
    type Fault = PlanFault;
    const NAME: &'static str = "plan";
    /// One camera period at 20 Hz: a plan is due once a motion, and the arm stands still meanwhile.
    const BUDGET: Duration = Duration::from_millis(50);

    fn step(&mut self, now: Instant, input: &PlanIn, out: &mut Self::Out) -> Result<(), PlanFault> {
        *out = None;
        let (Some(scene), Some(anatomy), Some(sent)) = (input.scene.get(), input.anatomy.get(), input.sent.get())
        else {
            self.waiting = Waiting::Inputs;
            return Ok(());
        };
        self.listen(now, input, sent);
        if scene.scanned > self.scanned {
            self.begin_anew(now, scene);
        }
        if let Some(obstacle) = self.obstacle(now, scene, anatomy, sent) {
            self.waiting = obstacle;
            return Ok(());
        }
        check_shape(scene)?;
        let tip = self.tip(scene, sent)?;
        self.memory.review(scene);
        self.declined_ml = self.memory.declined_ml(scene);
        let memory = std::mem::take(&mut self.memory);
        let here = self.place.at(anatomy, scene);
        let view = View { scene, anatomy: &here, tip, shaft_radius_mm: self.mount.shaft_radius_mm, memory: &memory };
        let proposal = self.propose(now, &view);
        self.memory = memory;
        self.sequence += 1;
        let plan = Arc::new(Plan {
            sequence: Sequence(self.sequence),
            trace: scene.trace,
            scene: scene.id,
            planner: self.planner.name(),
            model: self.planner.model(),
            proposal,
            decided: now,
        });
        match &plan.proposal {
            Proposal::Motions(motions) => {
                self.out = Some(Out {
                    plan: Arc::clone(&plan),
                    scene: Arc::clone(scene),
                    finished_before: sent.finished,
                    rejected: vec![false; motions.len()],
                    of_the_place: false,
                    approved: None,
                    heard: now,
                });
            }
            Proposal::Request(Request::Finish) => self.done = true,
            Proposal::Request(_) => {}
        }
        self.waiting = Waiting::Nothing;
        *out = Some(plan);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
