//! The stage: a plan in, verdicts and at most one approval out.
//!
//! Candidates are tried in the planner's order until one passes. What is checked is the joint path as it
//! will be played: inverse kinematics, time parametrisation and smoothing happen here, once.
//! The scene and the tracked tip are read fresh, never by way of the plan. Of several plans that arrived
//! since the last step only the newest counts: its planner has replaced the others.
//!
//! **Units:** mm, rad, s. **Frames:** everything must speak of the scene's frame of reference.
//! **Allocation:** each validation builds its paths; work space and fields are kept.
//! **Invariant:** no verdict depends on how long anything took. **Not protected against:** a registration
//! that is wrong by less than its error says; what no message holds.

use crate::approved::Approved;
use crate::cut::Cut;
use crate::form::{FormFault, form};
use crate::limits::{LimitValues, Limits};
use crate::obstacles::{Malformed, Obstacles};
use crate::posture::Mounted;
use crate::profile::{TipCourse, course};
use crate::sweep::Sweep;
use crate::trial::{Room, Tried, judge};
use crate::way_out;
use crate::withdraw::{Fate, Held};
use crate::world::World;
use bregma_core::arm::{ArmModel, Joints};
use bregma_core::digest::Digest;
use bregma_core::flow::{
    Anatomy, ApprovedRecord, ArmMount, ArmState, Check, CheckResult, Energy, GateState, Motion, Plan, Proposal,
    Registration, Scene, Sent, Sequence, TipPose, TraceId, TrackingStatus, Verdict, Waypoint, Withdrawn,
};
use bregma_core::frame::{FrameId, Patient, Point, Pose, Tip};
use bregma_core::stage::{All, Latest, Stage};
use bregma_core::time::{Duration, Instant};
use nalgebra::{Isometry3, Translation3};
use std::sync::Arc;

/// Plans that may wait between two steps.
pub const PLANS_MAX: usize = 4;
/// A retract path keeps to the speed inside the head until so far outside, mm: where the smoothing begins
/// to speed up is then still outside.
const CLEAR_OF_RIM_MM: f64 = 5.0;

/// What the stage reads.
#[derive(Debug)]
pub struct ValidateIn {
    /// Plans since the last step.
    pub plans: All<Arc<Plan>>,
    /// The newest scene.
    pub scene: Latest<Arc<Scene>>,
    /// The newest anatomy.
    pub anatomy: Latest<Arc<Anatomy>>,
    /// The arm's newest state.
    pub arm: Latest<ArmState>,
    /// The newest tracked tip.
    pub tip: Latest<TipPose>,
    /// How the patient lies in the tracker's world.
    pub registration: Latest<Registration>,
    /// What the arm was last told.
    pub sent: Latest<Sent>,
}

impl Default for ValidateIn {
    fn default() -> Self {
        Self {
            plans: All::with_capacity(PLANS_MAX),
            scene: Latest::default(),
            anatomy: Latest::default(),
            arm: Latest::default(),
            tip: Latest::default(),
            registration: Latest::default(),
            sent: Latest::default(),
        }
    }
}

/// What the stage writes; emptied at the start of each step.
#[derive(Debug, Default)]
pub struct ValidateOut {
    /// One a candidate that was tried.
    pub verdicts: Vec<Arc<Verdict>>,
    /// The candidate that passed.
    pub approved: Option<Arc<Approved>>,
    /// An approval that no longer holds.
    pub withdrawn: Option<Withdrawn>,
}

/// What the stage can fail with: a message that contradicts itself. Nothing is approved in such a step.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ValidateFault {
    /// A scene or an anatomy.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A mount from which nothing can be computed.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum MountRefused {
    /// A size outside its range.
    #[error("{what} is {value} mm; {low} to {high} mm is needed")]
    Size {
        /// Which.
        what: &'static str,
        /// What it is.
        value: f64,
        /// Lowest taken.
        low: f64,
        /// Highest taken.
        high: f64,
    },
    /// The poses do not meet at the one arm's base and flange.
    #[error("the mount's base and flange frames are not the arm's own; frame 0 is needed for both")]
    Frames,
}

/// The validator.
pub struct Validate {
    mounted: Mounted,
    limits: Limits,
    limits_digest: Digest,
    obstacles: Option<Obstacles>,
    anatomy: Digest,
    sweep: Sweep,
    cut: Cut,
    world: World,
    sequence: Sequence,
    held: Option<Held>,
    /// What was held before the approval of this step, in case that is taken back.
    superseded: Option<Held>,
}

/// What every candidate of a plan shares.
struct Before<'a> {
    now: Instant,
    scene: Option<&'a Arc<Scene>>,
    start: Option<Joints>,
    /// Scene, tip and arm.
    checks: [CheckResult; 3],
    retract: Option<Tried>,
}

impl Validate {
    /// For one arm, where it is mounted, under these limits.
    ///
    /// # Errors
    /// [`MountRefused`].
    pub fn new(arm: ArmModel, mount: ArmMount, limits: Limits) -> Result<Self, MountRefused> {
        let sizes = [
            ("the shaft's radius", mount.shaft_radius_mm, 0.1, 20.0),
            ("the shaft's length", mount.shaft_length_mm, 10.0, 1000.0),
        ];
        if let Some((what, value, low, high)) =
            sizes.into_iter().find(|(_, value, low, high)| !(low..=high).contains(&value))
        {
            return Err(MountRefused::Size { what, value, low, high });
        }
        let sole = [mount.patient_from_arm_base.from, mount.flange_from_tip.to];
        if sole != [FrameId::SOLE; 2] {
            return Err(MountRefused::Frames);
        }
        let mounted = Mounted { arm, mount };
        let world = World::new(&mounted, limits.values().handle_radius_mm);
        Ok(Self {
            mounted,
            limits,
            limits_digest: limits.digest(),
            obstacles: None,
            anatomy: Digest::default(),
            sweep: Sweep::default(),
            cut: Cut::default(),
            world,
            sequence: Sequence(0),
            held: None,
            superseded: None,
        })
    }

    /// Its limits.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Steps that the physics engine has taken so far, for reports.
    #[must_use]
    pub const fn engine_steps(&self) -> u64 {
        self.world.steps
    }

    /// Where the tip is at these joint positions, by the arm's own account.
    #[must_use]
    pub fn tip(&self, joints: &Joints) -> Pose<Patient, Tip> {
        self.mounted.tip(joints)
    }

    /// What is wrong with a motion's form, in words; a verdict only counts them.
    #[must_use]
    pub fn form_faults(&self, motion: &Motion, start: &Joints, frame: FrameId) -> Vec<FormFault> {
        form(motion, &self.mounted.tip(start), frame, self.limits.values()).err().unwrap_or_default()
    }

    fn scene_fresh(&self, now: Instant, scene: Option<&Arc<Scene>>, anatomy: Option<&Arc<Anatomy>>) -> CheckResult {
        let one = scene.zip(anatomy).filter(|(s, a)| s.anatomy == a.digest && s.frame == a.frame);
        let age = one.and_then(|(s, _)| now.since(s.captured));
        judge(
            Check::SceneFresh,
            age.map_or(f64::INFINITY, Duration::secs_f64),
            self.limits.values().scene_age_s,
            Duration::ZERO,
            None,
        )
    }

    fn tip_fresh(&self, now: Instant, input: &ValidateIn, frame: Option<FrameId>) -> CheckResult {
        let off = || {
            let tip =
                input.tip.get().filter(|t| t.status == TrackingStatus::Valid && t.reference_from_tip.fresh(now))?;
            let registration = input.registration.get().filter(|r| r.registered <= now && now <= r.expires)?;
            let arm = input.arm.get().filter(|a| a.joints.count() == self.mounted.arm.count())?;
            let tracked = registration.patient_from_reference.then(&tip.reference_from_tip.value).ok()?;
            let own = self.mounted.tip(&arm.joints);
            (Some(tracked.to) == frame)
                .then(|| (tracked.position().distance(&own.position()).get(), own.position().coordinates()))
        };
        let found = off();
        judge(
            Check::TipFresh,
            found.map_or(f64::INFINITY, |f| f.0),
            self.limits.values().tip_mm,
            Duration::ZERO,
            found.map(|f| f.1),
        )
    }

    /// The arm stands where it was told to, and is not being moved.
    fn starts_at_arm(&self, now: Instant, input: &ValidateIn, frame: Option<FrameId>) -> CheckResult {
        let l = self.limits.values();
        let off = || {
            let arm =
                input.arm.get().filter(|a| now.since(a.captured).is_some_and(|age| age.secs_f64() <= l.arm_age_s))?;
            let sent = input
                .sent
                .get()
                .filter(|s| s.state != GateState::Active && s.joints.count() == self.mounted.arm.count())?;
            (Some(self.mounted.mount.patient_from_arm_base.to) == frame).then(|| sent.joints.distance(&arm.joints))
        };
        judge(Check::StartsAtArm, off().unwrap_or(f64::INFINITY), l.start_rad, Duration::ZERO, None)
    }

    /// Brings the fields up to the newest messages.
    fn refresh(&mut self, input: &ValidateIn) -> Result<(), Malformed> {
        let (Some(scene), Some(anatomy)) = (input.scene.get(), input.anatomy.get()) else { return Ok(()) };
        match &mut self.obstacles {
            None => self.obstacles = Some(Obstacles::new(scene, anatomy)?),
            Some(held) => {
                if self.anatomy != anatomy.digest {
                    held.take_anatomy(anatomy)?;
                }
                held.take_scene(scene)?;
            }
        }
        self.anatomy = anatomy.digest;
        if let Some(held) = &self.obstacles {
            self.world.take(held);
        }
        Ok(())
    }

    fn try_one(&mut self, motion: &Motion, before: &mut Before<'_>) -> (Option<Tried>, Vec<CheckResult>) {
        let l = *self.limits.values();
        let formed = match (before.scene, before.start) {
            (Some(scene), Some(start)) => form(motion, &self.mounted.tip(&start), scene.frame, &l).map_err(|f| f.len()),
            _ => Err(1),
        };
        let faults = formed.as_ref().err().map_or(0.0, |n| *n as f64);
        let mut checks = vec![judge(Check::WellFormed, faults, 0.0, Duration::ZERO, None)];
        checks.extend(before.checks);
        let (true, Ok(course), Some(start)) = (checks.iter().all(|c| c.passed), formed, before.start) else {
            return (None, checks);
        };
        let Some(obstacles) = &self.obstacles else { return (None, checks) };
        let retract_course =
            before.retract.is_none().then(|| retract_course_from(&self.mounted, obstacles, &l, &start));
        let mut room = Room {
            mounted: &self.mounted,
            obstacles,
            limits: &l,
            sweep: &mut self.sweep,
            cut: &mut self.cut,
            world: &mut self.world,
        };
        let tried = room.try_course(&start, course);
        checks.extend_from_slice(&tried.checks);
        if !tried.passed() {
            return (None, checks);
        }
        // Where the motion ends the next one begins, and that one needs a way out from there: never go where there is
        // none. The second look at it is taken then.
        let end = tried.path.as_ref().and_then(|path| path.knots.last().copied());
        let out_of_end = end.map(|end| {
            let course = retract_course_from(&self.mounted, obstacles, &l, &end);
            let tried = course.map_or_else(Tried::nothing, |course| room.first_look_after(&end, course));
            (tried, self.mounted.tip(&end).position().coordinates())
        });
        // The way out of the start does not depend on the candidate: tried once a plan.
        if let Some(course) = retract_course {
            before.retract = Some(course.map_or_else(Tried::nothing, |course| room.try_course(&start, course)));
        }
        let from_start = before.retract.as_ref().map_or(1, Tried::failed);
        // A motion may be stopped anywhere, and then the next one begins there.
        let shut = tried.path.as_ref().and_then(|path| room.shut(path, &tried.samples));
        let out_of_end = out_of_end.filter(|_| from_start == 0);
        let way_out = out_of_end.as_ref().map(|(tried, _)| tried).or(before.retract.as_ref());
        let first = way_out.and_then(|r| r.checks.iter().find(|c| !c.passed));
        let from_end = out_of_end.as_ref().map_or(0, |(tried, _)| tried.failed());
        let failed = from_start + from_end + usize::from(shut.is_some());
        let mut result = judge(Check::Retract, failed as f64, 0.0, Duration::ZERO, None);
        (result.when, result.at) = match (&out_of_end, &tried.path) {
            (_, Some(path))
                if from_start + from_end == 0
                    && let Some(shut) = shut =>
            {
                (Duration::from_nanos(path.period.nanos() * shut.knot as u64), Point::from_coordinates(shut.at).ok())
            }
            (Some((_, at)), Some(path)) if failed > 0 => (path.length(), Point::from_coordinates(*at).ok()),
            _ => (first.map_or(Duration::ZERO, |c| c.when), first.and_then(|c| c.at)),
        };
        checks.push(result);
        // What it failed follows, so that the rejection says why.
        checks.extend(way_out.iter().flat_map(|r| &r.checks).filter(|c| !c.passed));
        (result.passed.then_some(tried), checks)
    }

    fn validate(&mut self, now: Instant, plan: &Plan, motions: &[Motion], input: &ValidateIn, out: &mut ValidateOut) {
        let scene = input.scene.get();
        let frame = scene.map(|s| s.frame);
        let mut before = Before {
            now,
            scene,
            start: input.sent.get().map(|s| s.joints).filter(|q| q.count() == self.mounted.arm.count()),
            checks: [
                self.scene_fresh(now, scene, input.anatomy.get()),
                self.tip_fresh(now, input, frame),
                self.starts_at_arm(now, input, frame),
            ],
            retract: None,
        };
        for (candidate, motion) in motions.iter().take(bregma_core::flow::CANDIDATES_MAX).enumerate() {
            let (tried, checks) = self.try_one(motion, &mut before);
            let approved = tried.is_some();
            out.verdicts.push(Arc::new(Verdict {
                plan: plan.sequence,
                trace: scene.map_or(TraceId(0), |s| s.trace),
                candidate,
                scene: scene.map_or(Sequence(0), |s| s.id),
                checks: checks.clone(),
                approved,
                decided: now,
            }));
            if let Some(tried) = tried {
                out.approved = self.approve(plan, tried, checks, before);
                return;
            }
        }
    }

    fn approve(
        &mut self,
        plan: &Plan,
        tried: Tried,
        worst: Vec<CheckResult>,
        before: Before<'_>,
    ) -> Option<Arc<Approved>> {
        let (path, retract, scene) = (tried.path?, before.retract?.path?, before.scene?);
        self.sequence.0 += 1;
        let expires = before.now + Duration::from_secs_f64(self.limits.values().expires_s)?;
        let mut record = ApprovedRecord {
            sequence: self.sequence,
            trace: scene.trace,
            plan: plan.sequence,
            scene: scene.id,
            scene_digest: scene.digest,
            limits: self.limits_digest,
            model: plan.model,
            arm: self.mounted.arm.id,
            path,
            retract,
            expires,
            decided: before.now,
            worst,
            hash: Digest::default(),
        };
        record.hash = record.hash_with(&scene.digest, &self.limits_digest, &plan.model);
        let approved = Arc::new(Approved::new(record));
        self.superseded = self.held.replace(Held {
            approved: Arc::clone(&approved),
            samples: tried.samples,
            scene: Arc::clone(scene),
            shaft_radius_mm: self.mounted.mount.shaft_radius_mm,
            knot: 0,
        });
        Some(approved)
    }
}

/// Straight back along the shaft until outside; `None` when that leads nowhere.
fn retract_course_from(
    mounted: &Mounted,
    obstacles: &Obstacles,
    limits: &LimitValues,
    start: &Joints,
) -> Option<TipCourse> {
    let from = mounted.tip(start);
    let (at, back) = (from.position().coordinates(), -from.z_axis());
    let rise = back.dot(&obstacles.craniotomy.outward);
    let depth = obstacles.depth(&at);
    let mut waypoints = Vec::new();
    for (outside_mm, feed_mm_s) in
        [(CLEAR_OF_RIM_MM.min(limits.outside_mm), limits.head_mm_s), (limits.outside_mm, limits.retract_mm_s)]
    {
        if depth > -outside_mm {
            if rise < way_out::OUTWARD_LEAST {
                return None;
            }
            let to = at + back * ((depth + outside_mm) / rise);
            let iso = Isometry3::from_parts(Translation3::from(to.coords), from.isometry().rotation);
            let patient_from_tip = Pose::between(from.to, from.from, iso).ok()?;
            waypoints.push(Waypoint { patient_from_tip, feed_mm_s, energy: Energy::OFF });
        }
    }
    course(from.isometry(), &waypoints, limits).ok()
}

impl Stage for Validate {
    type In = ValidateIn;
    type Out = ValidateOut;
    type Fault = ValidateFault;
    const NAME: &'static str = "validate";
    const BUDGET: Duration = Duration::from_millis(1000);

    fn step(&mut self, now: Instant, input: &Self::In, out: &mut Self::Out) -> Result<(), Self::Fault> {
        out.verdicts.clear();
        out.approved = None;
        out.withdrawn = None;
        self.superseded = None;
        if input.scene.renewed()
            && let (Some(scene), Some(held)) = (input.scene.get(), &mut self.held)
        {
            match held.look(now, scene, input.sent.get(), self.limits.values()) {
                Fate::Holds => {}
                Fate::Over => self.held = None,
                Fate::Withdrawn(withdrawn) => {
                    out.withdrawn = Some(withdrawn);
                    self.held = None;
                }
            }
        }
        if let Some(plan) = input.plans.last()
            && let Proposal::Motions(motions) = &plan.proposal
        {
            self.refresh(input)?;
            self.validate(now, plan, motions, input, out);
        }
        Ok(())
    }

    /// An approval that comes too late was never given: it has no number, and what held before it still does.
    /// Rejections and withdrawals are right however late.
    fn overran(&mut self, out: &mut Self::Out) {
        out.verdicts.retain(|verdict| !verdict.approved);
        if out.approved.take().is_some() {
            self.sequence.0 -= 1;
            self.held = self.superseded.take();
        }
    }
}
