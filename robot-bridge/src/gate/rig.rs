//! A gate with everything around it, for its tests: an arm that does as it is told, a person, a clock.

use super::Gate;
use crate::command::{CommandOut, Inputs};
use crate::scenes::SceneStamp;
use crate::settings::Settings;
use crate::track::Approval;
use bregma_core::arm::{ArmModel, ArmModelId, Joints};
use bregma_core::digest::Digest;
use bregma_core::faults::Latched;
use bregma_core::flow::{
    ApprovedRecord, ArmState, Check, CheckResult, Consent, Energy, GateState, Heartbeat, InstrumentState, JointPath,
    Order, Sent, Sequence, TraceId, Withdrawn,
};
use bregma_core::topic::Numbered;
use bregma_core::{Duration, Instant};
use std::sync::Arc;

pub(crate) const PERIOD: Duration = Duration::from_millis(4);

/// An approval that no validator made: exists in tests only.
impl Approval for Arc<ApprovedRecord> {
    fn record(&self) -> &ApprovedRecord {
        self
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        arm: ArmModel::new(ArmModelId::LbrMed7),
        period: PERIOD,
        limits: Digest::of(b"limits"),
        models: vec![Digest::of(b"greedy"), Digest::of(b"policy")],
        start_tolerance_rad: 1e-3,
        tracking_error_max_rad: 0.02,
        consent_age_max: Duration::from_millis(100),
        channels_settle: Duration::from_millis(40),
        heartbeat_age_max: Duration::from_millis(100),
        scene_age_max: Duration::from_millis(500),
        arm_age_max: Duration::from_millis(50),
        instrument_age_max: Duration::from_millis(200),
        energy_off_within: Duration::from_millis(100),
        hold_max: Duration::from_secs(2),
        brake: Duration::from_millis(100),
        retract_rate: 0.5,
        gap_max: Duration::from_millis(100),
    }
}

/// A path at a constant speed of every joint, rad/s, cutting after its first quarter.
pub(crate) fn path(from: &Joints, speed: f64, knots: usize, cut: bool) -> JointPath {
    let at = |i: usize| {
        let mut joints = *from;
        joints.as_mut_slice().iter_mut().for_each(|q| *q += speed * PERIOD.secs_f64() * i as f64);
        joints
    };
    let energy = |i: usize| if cut && i >= knots / 4 { Energy::CUT.bits() } else { 0 };
    JointPath { period: PERIOD, knots: (0..knots).map(at).collect(), energy: (0..knots).map(energy).collect() }
}

/// Everything around a gate.
pub(crate) struct Rig {
    pub(crate) gate: Gate<Arc<ApprovedRecord>>,
    pub(crate) input: Inputs<Arc<ApprovedRecord>>,
    pub(crate) out: CommandOut,
    pub(crate) now: Instant,
    pub(crate) number: u64,
    /// What the world does by itself in each step; tests switch parts off.
    pub(crate) pedal: [bool; 2],
    pub(crate) hears_pedal: bool,
    pub(crate) hears_heart: bool,
    pub(crate) sees: bool,
    pub(crate) hears_arm: bool,
    pub(crate) ready: bool,
    pub(crate) joints: Joints,
    pub(crate) hears_console: bool,
    pub(crate) console: Option<Energy>,
    pub(crate) latched: Latched,
    orders: Vec<Order>,
    withdrawn: Vec<Sequence>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        let joints = settings.arm.rest();
        Self {
            gate: Gate::new(settings).expect("the rig's settings are good"),
            input: Inputs::default(),
            out: CommandOut::default(),
            now: Instant::from_nanos(1_000_000_000),
            number: 0,
            pedal: [true, true],
            hears_pedal: true,
            hears_heart: true,
            sees: true,
            hears_arm: true,
            ready: true,
            joints,
            hears_console: true,
            console: None,
            latched: Latched::default(),
            orders: Vec::with_capacity(8),
            withdrawn: Vec::with_capacity(8),
        }
    }

    /// Armed, after two steps.
    pub(crate) fn armed() -> Self {
        let mut rig = Self::new();
        rig.step();
        rig.order(Order::Arm);
        assert_eq!(rig.step().state, GateState::Armed);
        rig
    }

    /// Playing approval 1, `knots` long, half way.
    pub(crate) fn cutting(knots: usize) -> Self {
        let mut rig = Self::armed();
        let approval = rig.approval(1, 0.05, knots);
        rig.approve(approval);
        assert_eq!(rig.step().state, GateState::Active);
        for _ in 0..knots / 2 {
            rig.step();
        }
        let sent = rig.sent();
        assert_eq!((sent.state, sent.energy), (GateState::Active, Energy::CUT));
        rig
    }

    /// A genuine approval of a path that starts where the arm is.
    pub(crate) fn approval(&self, sequence: u64, speed: f64, knots: usize) -> ApprovedRecord {
        let start = self.out.sent.map_or(self.joints, |sent| sent.joints);
        let scene = self.number;
        let mut record = ApprovedRecord {
            sequence: Sequence(sequence),
            trace: TraceId(1),
            plan: Sequence(sequence),
            scene: Sequence(scene),
            scene_digest: Digest::of(&scene.to_le_bytes()),
            limits: Digest::of(b"limits"),
            model: Digest::of(b"greedy"),
            arm: ArmModelId::LbrMed7,
            path: path(&start, speed, knots, true),
            retract: path(&start, -speed, knots, false),
            expires: self.now + Duration::from_secs(1),
            decided: self.now,
            worst: Vec::new(),
            hash: Digest::default(),
        };
        sign(&mut record);
        record
    }

    pub(crate) fn approve(&mut self, record: ApprovedRecord) {
        self.input.approved.set([Numbered { number: record.sequence.0, value: Arc::new(record) }]);
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.orders.push(order);
    }

    pub(crate) fn withdraw(&mut self, sequence: u64) {
        self.withdrawn.push(Sequence(sequence));
    }

    pub(crate) fn sent(&self) -> Sent {
        self.out.sent.expect("the arm has been heard")
    }

    pub(crate) fn step(&mut self) -> Sent {
        self.prepare(PERIOD);
        self.gate.step(self.now, &self.input, &mut self.out);
        self.settle();
        self.sent()
    }

    pub(crate) fn steps(&mut self, times: usize) {
        for _ in 0..times {
            self.step();
        }
    }

    /// Lets the world go on and fills the gate's input.
    pub(crate) fn prepare(&mut self, elapsed: Duration) {
        self.now = self.now + elapsed;
        self.number += 1;
        let (n, now) = (self.number, self.now);
        if self.hears_pedal {
            self.input.consent.set(n, Consent { channels: self.pedal, captured: now });
        }
        if self.hears_heart {
            self.input.heartbeat.set(n, Heartbeat { count: n, captured: now });
        }
        if self.hears_arm {
            let speeds = Joints::zeros(7);
            self.input.arm.set(n, ArmState { joints: self.joints, speeds, ready: self.ready, captured: now });
        }
        if self.hears_console {
            let told = self.out.sent.map_or(Energy::OFF, |sent| sent.energy);
            self.input.instrument.set(n, InstrumentState { energy: self.console.unwrap_or(told), captured: now });
        }
        let stamp = SceneStamp { id: Sequence(n), digest: Digest::of(&n.to_le_bytes()), captured: now };
        self.input.stamps.set(self.sees.then_some(Numbered { number: n, value: stamp }));
        self.input.orders.set(self.orders.drain(..).map(|value| Numbered { number: n, value }));
        let failed = CheckResult {
            check: Check::SceneFresh,
            value: 1.0,
            limit: 0.5,
            passed: false,
            when: Duration::ZERO,
            at: None,
        };
        let withdrawn = |sequence| Numbered { number: n, value: Withdrawn { sequence, failed, decided: now } };
        self.input.withdrawn.set(self.withdrawn.drain(..).map(withdrawn));
        self.input.latched = self.latched;
    }

    /// The arm does as it was told.
    pub(crate) fn settle(&mut self) {
        self.input.approved.set([]);
        if let Some(sent) = self.out.sent.filter(|_| self.ready) {
            self.joints = sent.joints;
        }
    }
}

/// Makes the hash fit what the record says.
pub(crate) fn sign(record: &mut ApprovedRecord) {
    record.hash = record.hash_with(&record.scene_digest, &record.limits, &record.model);
}
