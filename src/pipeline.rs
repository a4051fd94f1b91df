//! The whole system on one screen: which stage reads which topic, and what overflow does.
//!
//! ```text
//!  video ─┐
//!  ranges ┤                                   ┌───────── scenes, stamps ─────────┐
//!  tips ──┼─► align ─► rois ─► perceive ─► scenes ─► plan ─► plans ─► validate ─► approved ─► command ─► sent ─► arm
//!  volumes┘                                   └── verdicts, withdrawn ◄──────┘                        │
//!                         sent, arm, instrument ◄─────────────────────────────────────────────────────┘
//! ```
//!
//! The graph is static. Taps (recording, display) hang on the publishers in [`crate::record`] and
//! [`crate::display`]; they never block the flow. **Invariant:** nothing here decides anything.

pub(crate) mod ports;

pub use ports::{AlignPorts, CommandPorts, Flowing, PerceivePorts, PlanPorts, ValidatePorts};

use crate::events::Events;
use bregma_bridge::SceneStamp;
use bregma_core::flow::{
    Anatomy, ArmState, Consent, Heartbeat, InstrumentState, Order, Plan, RangeImage, Reacted, Registration, RoiFrame,
    Scene, Sent, TipPose, Verdict, VideoFrame, Volume, Withdrawn,
};
use bregma_core::lane::Gauge;
use bregma_core::lane::Overflow::{DropOldest, Refuse};
use bregma_core::runner::{Latches, Node, OnOverrun, StepRecord};
use bregma_core::stage::Trigger;
use bregma_core::time::Duration;
use bregma_core::topic::{Publisher, Subscriber};
use bregma_physics::Approved;
use bregma_recordings::Topic;
use std::sync::Arc;

/// Time between two steps of the gate: 250 a second, within the 125 to 1000 that arms take.
pub const GATE_PERIOD: Duration = Duration::from_millis(4);

/// Every topic's publisher, before it is given to whoever publishes it.
pub struct Topics {
    /// Camera frames, from ingest.
    pub video: Publisher<Arc<VideoFrame>>,
    /// How far away what they show is, from ingest.
    pub ranges: Publisher<Arc<RangeImage>>,
    /// Tracked tips, from ingest.
    pub tips: Publisher<TipPose>,
    /// Scans, from ingest.
    pub volumes: Publisher<Arc<Volume>>,
    /// Registrations.
    pub registration: Publisher<Registration>,
    /// What was planned and known before.
    pub anatomy: Publisher<Arc<Anatomy>>,
    /// Regions of interest, from align.
    pub rois: Publisher<Arc<RoiFrame>>,
    /// Scenes, from perceive.
    pub scenes: Publisher<Arc<Scene>>,
    /// Number, digest and age of each scene, for the gate.
    pub stamps: Publisher<SceneStamp>,
    /// Plans.
    pub plans: Publisher<Arc<Plan>>,
    /// Verdicts, from validate.
    pub verdicts: Publisher<Arc<Verdict>>,
    /// Approvals, from validate.
    pub approved: Publisher<Arc<Approved>>,
    /// Approvals that no longer hold.
    pub withdrawn: Publisher<Withdrawn>,
    /// What the gate tells the arm.
    pub sent: Publisher<Sent>,
    /// The gate's reactions.
    pub reacted: Publisher<Reacted>,
    /// What the arm says.
    pub arm: Publisher<ArmState>,
    /// What the instrument says.
    pub instrument: Publisher<InstrumentState>,
    /// The pedal.
    pub consent: Publisher<Consent>,
    /// Signs of life.
    pub heartbeat: Publisher<Heartbeat>,
    /// What a person orders.
    pub orders: Publisher<Order>,
}

impl Topics {
    /// All of them, without readers.
    #[must_use]
    pub fn new() -> Self {
        fn topic<T: Clone>(topic: Topic) -> Publisher<T> {
            Publisher::new(topic.number(), topic.name())
        }
        Self {
            video: topic(Topic::Video),
            ranges: topic(Topic::Ranges),
            tips: topic(Topic::Tips),
            volumes: topic(Topic::Volumes),
            registration: topic(Topic::Registration),
            anatomy: topic(Topic::Anatomy),
            rois: topic(Topic::Rois),
            scenes: topic(Topic::Scenes),
            stamps: topic(Topic::Stamps),
            plans: topic(Topic::Plans),
            verdicts: topic(Topic::Verdicts),
            approved: topic(Topic::Approved),
            withdrawn: topic(Topic::Withdrawn),
            sent: topic(Topic::Sent),
            reacted: topic(Topic::Reacted),
            arm: topic(Topic::Arm),
            instrument: topic(Topic::Instrument),
            consent: topic(Topic::Consent),
            heartbeat: topic(Topic::Heartbeat),
            orders: topic(Topic::Orders),
        }
    }
}

impl Default for Topics {
    fn default() -> Self {
        Self::new()
    }
}

/// The stages, made and configured.
pub struct Stages {
    /// Align.
    pub align: bregma_perception::align::Align,
    /// Perceive.
    pub perceive: bregma_perception::perceive::Perceive,
    /// Plan.
    pub plan: bregma_planning::PlanStage,
    /// Validate.
    pub validate: bregma_physics::Validate,
    /// Command.
    pub command: bregma_bridge::Command,
}

/// The stages in their lanes, ready for an executor, in the order of the flow.
pub struct House {
    /// Align.
    pub align: Node<bregma_perception::align::Align, AlignPorts>,
    /// Perceive.
    pub perceive: Node<bregma_perception::perceive::Perceive, PerceivePorts>,
    /// Plan.
    pub plan: Node<bregma_planning::PlanStage, PlanPorts>,
    /// Validate.
    pub validate: Node<bregma_physics::Validate, ValidatePorts>,
    /// Command.
    pub command: Node<bregma_bridge::Command, CommandPorts>,
}

/// The publishers that stay with the edges of the house.
pub struct Doors {
    /// Camera frames.
    pub video: Publisher<Arc<VideoFrame>>,
    /// How far away what they show is.
    pub ranges: Publisher<Arc<RangeImage>>,
    /// Tracked tips.
    pub tips: Publisher<TipPose>,
    /// Scans.
    pub volumes: Publisher<Arc<Volume>>,
    /// Registrations.
    pub registration: Publisher<Registration>,
    /// Anatomy.
    pub anatomy: Publisher<Arc<Anatomy>>,
    /// What the arm says.
    pub arm: Publisher<ArmState>,
    /// What the instrument says.
    pub instrument: Publisher<InstrumentState>,
    /// The pedal.
    pub consent: Publisher<Consent>,
    /// Signs of life.
    pub heartbeat: Publisher<Heartbeat>,
    /// Orders.
    pub orders: Publisher<Order>,
    /// What the gate tells the arm.
    pub to_arm: Subscriber<Sent>,
    /// Counters of every lane of the house.
    pub gauges: Vec<Arc<Gauge>>,
}

/// Told of each step that replay needs: of plan, validate and command.
pub type StepTap = Box<dyn FnMut(&StepRecord) + Send>;

/// What the program hangs onto the stages: where steps, faults and figures go.
pub struct Hooks {
    /// Faults latched by runners.
    pub latches: Latches,
    /// Events in words.
    pub events: Events,
    /// Figures of the flow.
    pub flowing: Arc<Flowing>,
    /// Told of each step of plan.
    pub plan_steps: StepTap,
    /// Told of each step of validate.
    pub validate_steps: StepTap,
    /// Told of each step of command.
    pub command_steps: StepTap,
}

/// Joins topics and stages. Taps on `topics` must be set before.
#[must_use]
pub fn build(mut t: Topics, stages: Stages, hooks: Hooks) -> (House, Doors) {
    // A publisher moves to whoever writes to it once every reader has its lane: so from the arm back to the
    // eye, after the lanes that run backwards.
    let to_arm = t.sent.subscribe("sent to arm", 64, Refuse);
    let sent_to_validate = t.sent.subscribe("sent to validate", 2, DropOldest);
    let sent_to_plan = t.sent.subscribe("sent to plan", 2, DropOldest);
    let verdicts_to_plan = t.verdicts.subscribe("verdicts to plan", 64, DropOldest);
    let withdrawn_to_plan = t.withdrawn.subscribe("withdrawn to plan", 8, DropOldest);

    let command = CommandPorts {
        approved: t.approved.subscribe("approved to command", 4, Refuse),
        withdrawn: t.withdrawn.subscribe("withdrawn to command", 8, DropOldest),
        arm: t.arm.subscribe("arm to command", 2, DropOldest),
        instrument: t.instrument.subscribe("instrument to command", 2, DropOldest),
        consent: t.consent.subscribe("consent to command", 8, DropOldest),
        heartbeat: t.heartbeat.subscribe("heartbeat to command", 8, DropOldest),
        stamps: t.stamps.subscribe("stamps to command", 8, DropOldest),
        orders: t.orders.subscribe("orders to command", 8, Refuse),
        events: hooks.events.clone(),
        flowing: Arc::clone(&hooks.flowing),
        step: hooks.command_steps,
        sent: t.sent,
        reacted: t.reacted,
    };
    let validate = ValidatePorts {
        plans: t.plans.subscribe("plans to validate", 4, Refuse),
        scene: t.scenes.subscribe("scenes to validate", 2, DropOldest),
        anatomy: t.anatomy.subscribe("anatomy to validate", 2, DropOldest),
        arm: t.arm.subscribe("arm to validate", 2, DropOldest),
        tip: t.tips.subscribe("tips to validate", 2, DropOldest),
        registration: t.registration.subscribe("registration to validate", 2, DropOldest),
        sent: sent_to_validate,
        events: hooks.events.clone(),
        step: hooks.validate_steps,
        verdicts: t.verdicts,
        approved: t.approved,
        withdrawn: t.withdrawn,
    };
    let plan = PlanPorts {
        scene: t.scenes.subscribe("scenes to plan", 2, DropOldest),
        anatomy: t.anatomy.subscribe("anatomy to plan", 2, DropOldest),
        sent: sent_to_plan,
        verdicts: verdicts_to_plan,
        withdrawn: withdrawn_to_plan,
        events: hooks.events.clone(),
        step: hooks.plan_steps,
        plans: t.plans,
    };
    let perceive = PerceivePorts {
        roi: t.rois.subscribe("rois to perceive", 2, DropOldest),
        anatomy: t.anatomy.subscribe("anatomy to perceive", 2, DropOldest),
        volumes: t.volumes.subscribe("volumes to perceive", 8, Refuse),
        events: hooks.events.clone(),
        flowing: Arc::clone(&hooks.flowing),
        scenes: t.scenes,
        stamps: t.stamps,
    };
    let align = AlignPorts {
        frame: t.video.subscribe("video to align", 2, DropOldest),
        ranges: t.ranges.subscribe("ranges to align", 2, DropOldest),
        tips: t.tips.subscribe("tips to align", 512, DropOldest),
        volumes: t.volumes.subscribe("volumes to align", 8, Refuse),
        registration: t.registration.subscribe("registration to align", 2, DropOldest),
        anatomy: t.anatomy.subscribe("anatomy to align", 2, DropOldest),
        instrument: t.instrument.subscribe("instrument to align", 512, DropOldest),
        events: hooks.events.clone(),
        rois: t.rois,
    };

    let mut gauges: Vec<Arc<Gauge>> = Vec::new();
    gauges.extend(
        t.video
            .gauges()
            .chain(t.ranges.gauges())
            .chain(t.tips.gauges())
            .chain(t.volumes.gauges())
            .chain(t.anatomy.gauges()),
    );
    gauges.extend(t.registration.gauges().chain(t.arm.gauges()).chain(t.instrument.gauges()));
    gauges.extend(t.consent.gauges().chain(t.heartbeat.gauges()).chain(t.orders.gauges()));
    gauges.extend(align.rois.gauges().chain(perceive.scenes.gauges()).chain(perceive.stamps.gauges()));
    gauges.extend(plan.plans.gauges().chain(validate.verdicts.gauges()).chain(validate.approved.gauges()));
    gauges.extend(validate.withdrawn.gauges().chain(command.sent.gauges()).chain(command.reacted.gauges()));

    let latches = &hooks.latches;
    let on_input = Trigger::OnInput;
    let house = House {
        align: Node::new(stages.align, align, ports::align_in(), None, on_input, OnOverrun::Count, latches.clone()),
        perceive: Node::new(
            stages.perceive,
            perceive,
            ports::perceive_in(),
            bregma_perception::perceive::Out::default(),
            on_input,
            OnOverrun::Count,
            latches.clone(),
        ),
        plan: Node::new(stages.plan, plan, ports::plan_in(), None, on_input, OnOverrun::Count, latches.clone()),
        validate: Node::new(
            stages.validate,
            validate,
            ports::validate_in(),
            Default::default(),
            on_input,
            OnOverrun::Count,
            latches.clone(),
        ),
        command: Node::new(
            stages.command,
            command,
            ports::command_in(),
            Default::default(),
            Trigger::Every(GATE_PERIOD),
            OnOverrun::LatchHold,
            latches.clone(),
        ),
    };
    let doors = Doors {
        video: t.video,
        ranges: t.ranges,
        tips: t.tips,
        volumes: t.volumes,
        registration: t.registration,
        anatomy: t.anatomy,
        arm: t.arm,
        instrument: t.instrument,
        consent: t.consent,
        heartbeat: t.heartbeat,
        orders: t.orders,
        to_arm,
        gauges,
    };
    (house, doors)
}
