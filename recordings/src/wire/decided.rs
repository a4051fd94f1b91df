//! Mirrors of what the stages decide: plans, verdicts, approvals, commands, reactions, and their steps.
//!
//! Figures that a planner or a check may have got wrong (a NaN feed, an infinite clearance) are kept as
//! they are: the recording is a witness, not a judge. Only what the flow's own types cannot hold is refused.

use super::codes::{
    PLANNERS, STAGES, check, check_code, energy, known, reaction, reaction_code, reason, state, state_code,
};
use super::parts::{Bytes, DigestWire, PoseWire, at, digest, joints, patient_point, point, sequence};
use super::{Refused, Why};
use bregma_core::arm::ArmModelId;
use bregma_core::arm::Joints;
use bregma_core::faults::Latched;
use bregma_core::flow::{
    ApprovedRecord, CheckResult, JointPath, Motion, Plan, Proposal, Reacted, Request, Sent, TraceId, Verdict, Waypoint,
    Withdrawn,
};
use bregma_core::runner::StepRecord;
use bregma_core::stage::{Saw, SawAll, TOPICS_PER_STAGE_MAX};
use bregma_core::time::Duration;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct WaypointWire {
    patient_from_tip: PoseWire,
    feed_mm_s: f64,
    energy: u8,
}

/// Numbered by postcard in the order of declaration: new ones go to the end.
#[derive(Debug, Serialize, Deserialize)]
enum ProposalWire {
    Motions(Vec<Vec<WaypointWire>>),
    Irrigate,
    Look,
    NewMri,
    AskSurgeon(String),
    Finish,
}

/// [`Plan`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanWire {
    sequence: u64,
    trace: u64,
    scene: u64,
    planner: String,
    model: DigestWire,
    proposal: ProposalWire,
    decided_ns: u64,
}

impl PlanWire {
    /// Refuses a planner that could not be read back.
    pub fn of(m: &Plan) -> Result<Self, Refused> {
        let waypoint = |w: &Waypoint| WaypointWire {
            patient_from_tip: PoseWire::of(&w.patient_from_tip),
            feed_mm_s: w.feed_mm_s,
            energy: w.energy.bits(),
        };
        let motion = |m: &Motion| m.waypoints.iter().map(waypoint).collect();
        let proposal = match &m.proposal {
            Proposal::Motions(motions) => ProposalWire::Motions(motions.iter().map(motion).collect()),
            Proposal::Request(Request::Irrigate) => ProposalWire::Irrigate,
            Proposal::Request(Request::Look) => ProposalWire::Look,
            Proposal::Request(Request::NewMri) => ProposalWire::NewMri,
            Proposal::Request(Request::AskSurgeon(why)) => ProposalWire::AskSurgeon(why.clone()),
            Proposal::Request(Request::Finish) => ProposalWire::Finish,
        };
        Ok(Self {
            sequence: m.sequence.0,
            trace: m.trace.0,
            scene: m.scene.0,
            planner: known("planner", m.planner, PLANNERS)?.to_owned(),
            model: m.model.0,
            proposal,
            decided_ns: m.decided.nanos(),
        })
    }
}

impl TryFrom<WaypointWire> for Waypoint {
    type Error = Refused;
    fn try_from(w: WaypointWire) -> Result<Self, Refused> {
        Ok(Self {
            patient_from_tip: w.patient_from_tip.pose("patient_from_tip")?,
            feed_mm_s: w.feed_mm_s,
            energy: energy("energy", w.energy)?,
        })
    }
}

impl TryFrom<PlanWire> for Plan {
    type Error = Refused;
    fn try_from(w: PlanWire) -> Result<Self, Refused> {
        let motion = |waypoints: Vec<WaypointWire>| -> Result<Motion, Refused> {
            Ok(Motion { waypoints: waypoints.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()? })
        };
        let proposal = match w.proposal {
            ProposalWire::Motions(motions) => {
                Proposal::Motions(motions.into_iter().map(motion).collect::<Result<_, _>>()?)
            }
            ProposalWire::Irrigate => Proposal::Request(Request::Irrigate),
            ProposalWire::Look => Proposal::Request(Request::Look),
            ProposalWire::NewMri => Proposal::Request(Request::NewMri),
            ProposalWire::AskSurgeon(why) => Proposal::Request(Request::AskSurgeon(why)),
            ProposalWire::Finish => Proposal::Request(Request::Finish),
        };
        Ok(Self {
            sequence: sequence(w.sequence),
            trace: TraceId(w.trace),
            scene: sequence(w.scene),
            planner: known("planner", &w.planner, PLANNERS)?,
            model: digest(w.model),
            proposal,
            decided: at(w.decided_ns),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct CheckWire {
    check: u8,
    value: f64,
    limit: f64,
    passed: bool,
    when_ns: u64,
    patient_at_mm: Option<[f64; 3]>,
}

impl CheckWire {
    fn of(m: &CheckResult) -> Self {
        Self {
            check: check_code(m.check),
            value: m.value,
            limit: m.limit,
            passed: m.passed,
            when_ns: m.when.nanos(),
            patient_at_mm: m.at.map(|p| point(&p.coordinates())),
        }
    }
}

impl TryFrom<CheckWire> for CheckResult {
    type Error = Refused;
    fn try_from(w: CheckWire) -> Result<Self, Refused> {
        Ok(Self {
            check: check("check", w.check)?,
            value: w.value,
            limit: w.limit,
            passed: w.passed,
            when: Duration::from_nanos(w.when_ns),
            at: w.patient_at_mm.map(|mm| patient_point("patient_at_mm", mm)).transpose()?,
        })
    }
}

fn checks(wires: Vec<CheckWire>) -> Result<Vec<CheckResult>, Refused> {
    wires.into_iter().map(TryInto::try_into).collect()
}

/// [`Verdict`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct VerdictWire {
    plan: u64,
    trace: u64,
    candidate: u64,
    scene: u64,
    checks: Vec<CheckWire>,
    approved: bool,
    decided_ns: u64,
}

impl VerdictWire {
    pub fn of(m: &Verdict) -> Self {
        Self {
            plan: m.plan.0,
            trace: m.trace.0,
            candidate: m.candidate as u64,
            scene: m.scene.0,
            checks: m.checks.iter().map(CheckWire::of).collect(),
            approved: m.approved,
            decided_ns: m.decided.nanos(),
        }
    }
}

impl TryFrom<VerdictWire> for Verdict {
    type Error = Refused;
    fn try_from(w: VerdictWire) -> Result<Self, Refused> {
        let candidate =
            usize::try_from(w.candidate).map_err(|_| Refused::new("candidate", Why::UnknownCode(w.candidate)))?;
        Ok(Self {
            plan: sequence(w.plan),
            trace: TraceId(w.trace),
            candidate,
            scene: sequence(w.scene),
            checks: checks(w.checks)?,
            approved: w.approved,
            decided: at(w.decided_ns),
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct PathWire {
    period_ns: u64,
    knots_rad: Vec<Vec<f64>>,
    energy: Bytes,
}

impl PathWire {
    fn of(m: &JointPath) -> Self {
        Self {
            period_ns: m.period.nanos(),
            knots_rad: m.knots.iter().map(|knot| knot.as_slice().to_vec()).collect(),
            energy: Bytes(m.energy.clone()),
        }
    }

    fn path(self, field: &'static str) -> Result<JointPath, Refused> {
        let knots = self.knots_rad.iter().map(|knot| joints(field, knot)).collect::<Result<Vec<Joints>, _>>()?;
        Ok(JointPath { period: Duration::from_nanos(self.period_ns), knots, energy: self.energy.0 })
    }
}

/// [`ApprovedRecord`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct ApprovedWire {
    sequence: u64,
    trace: u64,
    plan: u64,
    scene: u64,
    scene_digest: DigestWire,
    limits: DigestWire,
    model: DigestWire,
    arm: String,
    path: PathWire,
    retract: PathWire,
    expires_ns: u64,
    decided_ns: u64,
    worst: Vec<CheckWire>,
    hash: DigestWire,
}

impl ApprovedWire {
    pub fn of(m: &ApprovedRecord) -> Self {
        Self {
            sequence: m.sequence.0,
            trace: m.trace.0,
            plan: m.plan.0,
            scene: m.scene.0,
            scene_digest: m.scene_digest.0,
            limits: m.limits.0,
            model: m.model.0,
            arm: m.arm.name().to_owned(),
            path: PathWire::of(&m.path),
            retract: PathWire::of(&m.retract),
            expires_ns: m.expires.nanos(),
            decided_ns: m.decided.nanos(),
            worst: m.worst.iter().map(CheckWire::of).collect(),
            hash: m.hash.0,
        }
    }
}

impl TryFrom<ApprovedWire> for ApprovedRecord {
    type Error = Refused;
    fn try_from(w: ApprovedWire) -> Result<Self, Refused> {
        const ARMS: &[&str] = &[ArmModelId::LbrMed7.name(), ArmModelId::Ur5e.name()];
        let arm = ArmModelId::from_name(&w.arm)
            .ok_or_else(|| Refused::new("arm", Why::UnknownName { name: w.arm.clone(), known: ARMS }))?;
        Ok(Self {
            sequence: sequence(w.sequence),
            trace: TraceId(w.trace),
            plan: sequence(w.plan),
            scene: sequence(w.scene),
            scene_digest: digest(w.scene_digest),
            limits: digest(w.limits),
            model: digest(w.model),
            arm,
            path: w.path.path("path.knots_rad")?,
            retract: w.retract.path("retract.knots_rad")?,
            expires: at(w.expires_ns),
            decided: at(w.decided_ns),
            worst: checks(w.worst)?,
            hash: digest(w.hash),
        })
    }
}

/// [`Withdrawn`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct WithdrawnWire {
    sequence: u64,
    failed: CheckWire,
    decided_ns: u64,
}

impl WithdrawnWire {
    pub fn of(m: &Withdrawn) -> Self {
        Self { sequence: m.sequence.0, failed: CheckWire::of(&m.failed), decided_ns: m.decided.nanos() }
    }
}

impl TryFrom<WithdrawnWire> for Withdrawn {
    type Error = Refused;
    fn try_from(w: WithdrawnWire) -> Result<Self, Refused> {
        Ok(Self { sequence: sequence(w.sequence), failed: w.failed.try_into()?, decided: at(w.decided_ns) })
    }
}

/// [`Sent`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct SentWire {
    state: u8,
    joints_rad: Vec<f64>,
    energy: u8,
    approval: Option<u64>,
    retracting: bool,
    finished: u64,
    consent_ns: Option<u64>,
    reason: Option<u8>,
    sent_ns: u64,
}

impl SentWire {
    pub fn of(m: &Sent) -> Self {
        Self {
            state: state_code(m.state),
            joints_rad: m.joints.as_slice().to_vec(),
            energy: m.energy.bits(),
            approval: m.approval.map(|s| s.0),
            retracting: m.retracting,
            finished: m.finished.0,
            consent_ns: m.consent.map(|t| t.nanos()),
            reason: m.reason.map(|r| r.code()),
            sent_ns: m.sent.nanos(),
        }
    }
}

impl TryFrom<SentWire> for Sent {
    type Error = Refused;
    fn try_from(w: SentWire) -> Result<Self, Refused> {
        Ok(Self {
            state: state("state", w.state)?,
            joints: joints("joints_rad", &w.joints_rad)?,
            energy: energy("energy", w.energy)?,
            approval: w.approval.map(sequence),
            retracting: w.retracting,
            finished: sequence(w.finished),
            consent: w.consent_ns.map(at),
            reason: w.reason.map(|code| reason("reason", code)).transpose()?,
            sent: at(w.sent_ns),
        })
    }
}

/// [`Reacted`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReactedWire {
    reaction: u8,
    reason: u8,
    decided_ns: u64,
}

impl ReactedWire {
    pub const fn of(m: &Reacted) -> Self {
        Self { reaction: reaction_code(m.reaction), reason: m.reason.code(), decided_ns: m.decided.nanos() }
    }
}

impl TryFrom<ReactedWire> for Reacted {
    type Error = Refused;
    fn try_from(w: ReactedWire) -> Result<Self, Refused> {
        Ok(Self {
            reaction: reaction("reaction", w.reaction)?,
            reason: reason("reason", w.reason)?,
            decided: at(w.decided_ns),
        })
    }
}

/// [`StepRecord`], version 1.
#[derive(Debug, Serialize, Deserialize)]
pub struct StepWire {
    stage: String,
    index: u64,
    now_ns: u64,
    saw: Vec<(u8, u64, u64)>,
    latched: u32,
    overrun: bool,
    panicked: bool,
}

impl StepWire {
    /// Refuses a stage that could not be read back.
    pub fn of(m: &StepRecord) -> Result<Self, Refused> {
        Ok(Self {
            stage: known("stage", m.stage, STAGES)?.to_owned(),
            index: m.index,
            now_ns: m.now.nanos(),
            saw: m.saw.as_slice().iter().map(|s| (s.topic, s.first, s.last)).collect(),
            latched: m.saw.latched.0,
            overrun: m.overrun,
            panicked: m.panicked,
        })
    }
}

impl TryFrom<StepWire> for StepRecord {
    type Error = Refused;
    fn try_from(w: StepWire) -> Result<Self, Refused> {
        if w.saw.len() > TOPICS_PER_STAGE_MAX {
            return Err(Refused::new("saw", Why::Length { found: w.saw.len(), need: TOPICS_PER_STAGE_MAX }));
        }
        let mut saw = SawAll::default();
        saw.latched = Latched(w.latched);
        for (topic, first, last) in w.saw {
            if first > last || last - first > u64::from(u32::MAX) {
                return Err(Refused::new("saw.first", Why::UnknownCode(first)));
            }
            saw.push(Saw { topic, first, last });
        }
        Ok(Self {
            stage: known("stage", &w.stage, STAGES)?,
            index: w.index,
            now: at(w.now_ns),
            saw,
            overrun: w.overrun,
            panicked: w.panicked,
        })
    }
}
