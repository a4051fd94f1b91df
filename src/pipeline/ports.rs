//! The ports of each stage: how its input is filled from its lanes, and where what it writes goes.
//!
//! The order in which a port reads its lanes is the order in which replay finds them in the recording.

use crate::events::Events;
use crate::pipeline::StepTap;
use bregma_bridge::{Command, CommandIn, SceneStamp};
use bregma_core::flow::{
    Anatomy, ArmState, Consent, Energy, Heartbeat, InstrumentState, Order, Plan, RangeImage, Reacted, Registration,
    RoiFrame, Scene, Sent, TipPose, Verdict, VideoFrame, Volume, Withdrawn,
};
use bregma_core::histogram::Histogram;
use bregma_core::runner::{Ports, StepRecord};
use bregma_core::stage::{All, Latest, SawAll, Stage};
use bregma_core::time::Instant;
use bregma_core::topic::{Publisher, Subscriber};
use bregma_core::wake::Wake;
use bregma_perception::align::{Align, In as AlignIn};
use bregma_perception::perceive::{In as PerceiveIn, Out as PerceiveOut, Perceive};
use bregma_physics::{Approved, Validate, ValidateIn, ValidateOut};
use bregma_planning::{PlanIn, PlanStage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of the flow while it runs.
#[derive(Debug, Default)]
pub struct Flowing {
    /// From a frame's capture to its scene's publication.
    pub latency: Histogram,
    /// Age of the newest scene at each step of the gate that moves the arm.
    pub scene_age: Histogram,
    /// Scenes made from distinct camera frames.
    pub scenes: AtomicU64,
    /// Capture of the newest scene, ns.
    pub newest_scene: AtomicU64,
}

macro_rules! say_faults {
    ($stage:ty) => {
        fn fault(&mut self, now: Instant, why: &<$stage as Stage>::Fault) {
            self.events.say(now, format!("{}: {why}", <$stage>::NAME));
        }
    };
}

/// What align reads and writes.
pub struct AlignPorts {
    pub frame: Subscriber<Arc<VideoFrame>>,
    pub ranges: Subscriber<Arc<RangeImage>>,
    pub tips: Subscriber<TipPose>,
    pub volumes: Subscriber<Arc<Volume>>,
    pub registration: Subscriber<Registration>,
    pub anatomy: Subscriber<Arc<Anatomy>>,
    pub instrument: Subscriber<InstrumentState>,
    pub events: Events,
    pub rois: Publisher<Arc<RoiFrame>>,
}

pub(crate) fn align_in() -> AlignIn {
    AlignIn {
        frame: Latest::default(),
        ranges: Latest::default(),
        tips: All::with_capacity(512),
        volumes: All::with_capacity(8),
        registration: Latest::default(),
        anatomy: Latest::default(),
        instrument: All::with_capacity(512),
    }
}

impl Ports<Align> for AlignPorts {
    fn fill(&mut self, _now: Instant, input: &mut AlignIn, saw: &mut SawAll) {
        input.frame.fill(&mut self.frame, saw);
        input.ranges.fill(&mut self.ranges, saw);
        input.tips.fill(&mut self.tips, saw);
        input.volumes.fill(&mut self.volumes, saw);
        input.registration.fill(&mut self.registration, saw);
        input.anatomy.fill(&mut self.anatomy, saw);
        input.instrument.fill(&mut self.instrument, saw);
    }
    fn pending(&self) -> bool {
        self.frame.pending()
    }
    fn publish(&mut self, _published: Instant, out: &mut Option<Arc<RoiFrame>>) {
        if let Some(roi) = out.take() {
            self.rois.publish(roi);
        }
    }
    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.frame.wakes(wake);
    }
    say_faults!(Align);
}

/// What perceive reads and writes.
pub struct PerceivePorts {
    pub roi: Subscriber<Arc<RoiFrame>>,
    pub anatomy: Subscriber<Arc<Anatomy>>,
    pub volumes: Subscriber<Arc<Volume>>,
    pub events: Events,
    pub flowing: Arc<Flowing>,
    pub scenes: Publisher<Arc<Scene>>,
    pub stamps: Publisher<SceneStamp>,
}

pub(crate) fn perceive_in() -> PerceiveIn {
    PerceiveIn { roi: Latest::default(), anatomy: Latest::default(), volumes: All::with_capacity(8) }
}

impl Ports<Perceive> for PerceivePorts {
    fn fill(&mut self, _now: Instant, input: &mut PerceiveIn, saw: &mut SawAll) {
        input.roi.fill(&mut self.roi, saw);
        input.anatomy.fill(&mut self.anatomy, saw);
        input.volumes.fill(&mut self.volumes, saw);
    }
    fn pending(&self) -> bool {
        self.roi.pending()
    }
    fn publish(&mut self, published: Instant, out: &mut PerceiveOut) {
        if let Some(notice) = out.notice.take() {
            self.events.say(published, format!("{}: {notice}", Perceive::NAME));
        }
        let Some(scene) = out.scene.take() else { return };
        if let Some(latency) = published.since(scene.captured) {
            self.flowing.latency.add(latency);
        }
        if self.flowing.newest_scene.swap(scene.captured.nanos(), Ordering::Relaxed) != scene.captured.nanos() {
            self.flowing.scenes.fetch_add(1, Ordering::Relaxed);
        }
        // The gate's own copy of the digest, from the bytes as they leave this room.
        self.stamps.publish(SceneStamp::of(&scene));
        self.scenes.publish(scene);
    }
    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.roi.wakes(wake);
    }
    say_faults!(Perceive);
}

/// What plan reads and writes.
pub struct PlanPorts {
    pub scene: Subscriber<Arc<Scene>>,
    pub anatomy: Subscriber<Arc<Anatomy>>,
    pub sent: Subscriber<Sent>,
    pub verdicts: Subscriber<Arc<Verdict>>,
    pub withdrawn: Subscriber<Withdrawn>,
    pub events: Events,
    pub step: StepTap,
    pub plans: Publisher<Arc<Plan>>,
}

pub(crate) fn plan_in() -> PlanIn {
    PlanIn {
        scene: Latest::default(),
        anatomy: Latest::default(),
        sent: Latest::default(),
        verdicts: All::with_capacity(64),
        withdrawn: All::with_capacity(8),
    }
}

impl Ports<PlanStage> for PlanPorts {
    fn fill(&mut self, _now: Instant, input: &mut PlanIn, saw: &mut SawAll) {
        input.scene.fill(&mut self.scene, saw);
        input.anatomy.fill(&mut self.anatomy, saw);
        input.sent.fill(&mut self.sent, saw);
        input.verdicts.fill(&mut self.verdicts, saw);
        input.withdrawn.fill(&mut self.withdrawn, saw);
    }
    fn pending(&self) -> bool {
        self.scene.pending()
    }
    fn publish(&mut self, _published: Instant, out: &mut Option<Arc<Plan>>) {
        if let Some(plan) = out.take() {
            self.plans.publish(plan);
        }
    }
    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.scene.wakes(wake);
    }
    fn record(&mut self, step: &StepRecord) {
        (self.step)(step);
    }
    say_faults!(PlanStage);
}

/// What validate reads and writes.
pub struct ValidatePorts {
    pub plans: Subscriber<Arc<Plan>>,
    pub scene: Subscriber<Arc<Scene>>,
    pub anatomy: Subscriber<Arc<Anatomy>>,
    pub arm: Subscriber<ArmState>,
    pub tip: Subscriber<TipPose>,
    pub registration: Subscriber<Registration>,
    pub sent: Subscriber<Sent>,
    pub events: Events,
    pub step: StepTap,
    pub verdicts: Publisher<Arc<Verdict>>,
    pub approved: Publisher<Arc<Approved>>,
    pub withdrawn: Publisher<Withdrawn>,
}

pub(crate) fn validate_in() -> ValidateIn {
    ValidateIn {
        plans: All::with_capacity(4),
        scene: Latest::default(),
        anatomy: Latest::default(),
        arm: Latest::default(),
        tip: Latest::default(),
        registration: Latest::default(),
        sent: Latest::default(),
    }
}

impl Ports<Validate> for ValidatePorts {
    fn fill(&mut self, _now: Instant, input: &mut ValidateIn, saw: &mut SawAll) {
        input.plans.fill(&mut self.plans, saw);
        input.scene.fill(&mut self.scene, saw);
        input.anatomy.fill(&mut self.anatomy, saw);
        input.arm.fill(&mut self.arm, saw);
        input.tip.fill(&mut self.tip, saw);
        input.registration.fill(&mut self.registration, saw);
        input.sent.fill(&mut self.sent, saw);
    }
    fn pending(&self) -> bool {
        self.plans.pending() || self.scene.pending()
    }
    fn publish(&mut self, _published: Instant, out: &mut ValidateOut) {
        for verdict in out.verdicts.drain(..) {
            self.verdicts.publish(verdict);
        }
        if let Some(approved) = out.approved.take() {
            self.approved.publish(approved);
        }
        if let Some(withdrawn) = out.withdrawn.take() {
            self.withdrawn.publish(withdrawn);
        }
    }
    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.plans.wakes(wake);
        self.scene.wakes(wake);
    }
    fn record(&mut self, step: &StepRecord) {
        (self.step)(step);
    }
    say_faults!(Validate);
}

/// What command reads and writes.
pub struct CommandPorts {
    pub approved: Subscriber<Arc<Approved>>,
    pub withdrawn: Subscriber<Withdrawn>,
    pub arm: Subscriber<ArmState>,
    pub instrument: Subscriber<InstrumentState>,
    pub consent: Subscriber<Consent>,
    pub heartbeat: Subscriber<Heartbeat>,
    pub stamps: Subscriber<SceneStamp>,
    pub orders: Subscriber<Order>,
    pub events: Events,
    pub flowing: Arc<Flowing>,
    pub step: StepTap,
    pub sent: Publisher<Sent>,
    pub reacted: Publisher<Reacted>,
}

pub(crate) fn command_in() -> CommandIn {
    CommandIn {
        approved: All::with_capacity(4),
        withdrawn: All::with_capacity(8),
        arm: Latest::default(),
        instrument: Latest::default(),
        consent: Latest::default(),
        heartbeat: Latest::default(),
        stamps: All::with_capacity(8),
        orders: All::with_capacity(8),
        latched: bregma_core::faults::Latched::default(),
    }
}

impl Ports<Command> for CommandPorts {
    fn fill(&mut self, _now: Instant, input: &mut CommandIn, saw: &mut SawAll) {
        input.approved.fill(&mut self.approved, saw);
        input.withdrawn.fill(&mut self.withdrawn, saw);
        input.arm.fill(&mut self.arm, saw);
        input.instrument.fill(&mut self.instrument, saw);
        input.consent.fill(&mut self.consent, saw);
        input.heartbeat.fill(&mut self.heartbeat, saw);
        input.stamps.fill(&mut self.stamps, saw);
        input.orders.fill(&mut self.orders, saw);
        input.latched = saw.latched;
    }
    fn pending(&self) -> bool {
        false
    }
    fn publish(&mut self, published: Instant, out: &mut <Command as Stage>::Out) {
        if let Some(sent) = out.sent.take() {
            if sent.energy != Energy::OFF {
                let captured = Instant::from_nanos(self.flowing.newest_scene.load(Ordering::Relaxed));
                if let Some(age) = published.since(captured) {
                    self.flowing.scene_age.add(age);
                }
            }
            self.sent.publish(sent);
        }
        if let Some(reacted) = out.reacted.take() {
            self.events.say(published, format!("{:?}: {}", reacted.reaction, reacted.reason));
            self.reacted.publish(reacted);
        }
    }
    fn wakes(&mut self, _wake: &Arc<Wake>) {}
    fn record(&mut self, step: &StepRecord) {
        (self.step)(step);
    }
    say_faults!(Command);
}
