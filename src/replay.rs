//! Plays a recording again: plan, validate and gate, from the recorded scenes, in the recorded order, and
//! compares every byte.
//!
//! Approvals are never made from a recording: the gate gets those that the validator makes again. So plan
//! and validate are replayed first, and the gate after them.

use crate::config::Config;
use crate::pipeline::ports::{command_in, plan_in, validate_in};
use crate::session;
use bregma_bridge::{Command, CommandIn, SceneStamp};
use bregma_core::runner::StepRecord;
use bregma_core::stage::{All, Latest, Saw, Stage};
use bregma_core::topic::Numbered;
use bregma_physics::{Approved, Validate, ValidateIn, ValidateOut};
use bregma_planning::{PlanIn, PlanStage};
use bregma_recordings::{Message, ReadError, Replayed, Session, Topic, VerifyReport, verify};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

/// Approvals that the validator made again, by their number in their topic.
type Remade = Rc<RefCell<BTreeMap<u64, Arc<Approved>>>>;

/// What one step saw, read lane by lane in the order of its ports.
struct Seen<'a> {
    session: &'a Session,
    saw: std::slice::Iter<'a, Saw>,
}

impl<'a> Seen<'a> {
    fn of(session: &'a Session, step: &'a StepRecord) -> Self {
        Self { session, saw: step.saw.as_slice().iter() }
    }

    fn next(&mut self, topic: Topic) -> Result<Saw, ReadError> {
        let saw = self.saw.next().copied().filter(|saw| saw.topic == topic.number());
        saw.ok_or(ReadError::Missing { topic, number: 0 })
    }

    fn latest<T: Clone>(
        &mut self,
        topic: Topic,
        into: &mut Latest<T>,
        pick: fn(Message) -> Option<T>,
    ) -> Result<(), ReadError> {
        let saw = self.next(topic)?;
        if saw.last == into.number() {
            into.keep();
            return Ok(());
        }
        let message = self.session.latest(topic, saw.last)?;
        let missing = ReadError::Missing { topic, number: saw.last };
        into.set(saw.last, message.and_then(pick).ok_or(missing)?);
        Ok(())
    }

    fn all<T>(&mut self, topic: Topic, into: &mut All<T>, pick: fn(Message) -> Option<T>) -> Result<(), ReadError> {
        let saw = self.next(topic)?;
        let mut messages = Vec::new();
        for (number, message) in self.session.range(topic, saw.first, saw.last)? {
            let value = pick(message).ok_or(ReadError::Missing { topic, number })?;
            messages.push(Numbered { number, value });
        }
        into.set(messages);
        Ok(())
    }
}

macro_rules! picks {
    ($($name:ident = $variant:ident: $value:ty;)*) => {$(
        fn $name(message: Message) -> Option<$value> {
            if let Message::$variant(value) = message { Some(value) } else { None }
        }
    )*};
}
picks! {
    anatomy = Anatomy: Arc<bregma_core::flow::Anatomy>;
    arm = Arm: bregma_core::flow::ArmState;
    consent = Consent: bregma_core::flow::Consent;
    heartbeat = Heartbeat: bregma_core::flow::Heartbeat;
    instrument = Instrument: bregma_core::flow::InstrumentState;
    order = Order: bregma_core::flow::Order;
    plan = Plan: Arc<bregma_core::flow::Plan>;
    registration = Registration: bregma_core::flow::Registration;
    scene = Scene: Arc<bregma_core::flow::Scene>;
    sent = Sent: bregma_core::flow::Sent;
    tip = Tip: bregma_core::flow::TipPose;
    verdict = Verdict: Arc<bregma_core::flow::Verdict>;
    withdrawn = Withdrawn: bregma_core::flow::Withdrawn;
}

struct PlanAgain {
    stage: PlanStage,
    input: PlanIn,
}

impl Replayed for PlanAgain {
    fn stage(&self) -> &'static str {
        PlanStage::NAME
    }
    fn publishes(&self) -> &'static [Topic] {
        &[Topic::Plans]
    }
    fn step(&mut self, session: &Session, step: &StepRecord) -> Result<Vec<Message>, ReadError> {
        let mut seen = Seen::of(session, step);
        seen.latest(Topic::Scenes, &mut self.input.scene, scene)?;
        seen.latest(Topic::Anatomy, &mut self.input.anatomy, anatomy)?;
        seen.latest(Topic::Sent, &mut self.input.sent, sent)?;
        seen.all(Topic::Verdicts, &mut self.input.verdicts, verdict)?;
        seen.all(Topic::Withdrawn, &mut self.input.withdrawn, withdrawn)?;
        let mut out = None;
        // A step that failed published nothing, then as now.
        Ok(match self.stage.step(step.now, &self.input, &mut out) {
            Ok(()) => out.into_iter().map(Message::Plan).collect(),
            Err(_) => Vec::new(),
        })
    }
}

struct ValidateAgain {
    stage: Validate,
    input: ValidateIn,
    remade: Remade,
    approvals: u64,
}

impl Replayed for ValidateAgain {
    fn stage(&self) -> &'static str {
        Validate::NAME
    }
    fn publishes(&self) -> &'static [Topic] {
        &[Topic::Verdicts, Topic::Approved, Topic::Withdrawn]
    }
    fn step(&mut self, session: &Session, step: &StepRecord) -> Result<Vec<Message>, ReadError> {
        let mut seen = Seen::of(session, step);
        seen.all(Topic::Plans, &mut self.input.plans, plan)?;
        seen.latest(Topic::Scenes, &mut self.input.scene, scene)?;
        seen.latest(Topic::Anatomy, &mut self.input.anatomy, anatomy)?;
        seen.latest(Topic::Arm, &mut self.input.arm, arm)?;
        seen.latest(Topic::Tips, &mut self.input.tip, tip)?;
        seen.latest(Topic::Registration, &mut self.input.registration, registration)?;
        seen.latest(Topic::Sent, &mut self.input.sent, sent)?;
        let mut out = ValidateOut::default();
        if self.stage.step(step.now, &self.input, &mut out).is_err() {
            return Ok(Vec::new());
        }
        if step.overrun {
            self.stage.overran(&mut out);
        }
        let mut messages: Vec<_> = out.verdicts.drain(..).map(Message::Verdict).collect();
        if let Some(approved) = out.approved.take() {
            messages.push(Message::Approved(Arc::new(approved.record().clone())));
            self.approvals += 1;
            self.remade.borrow_mut().insert(self.approvals, approved);
        }
        messages.extend(out.withdrawn.take().map(Message::Withdrawn));
        Ok(messages)
    }
}

struct CommandAgain {
    stage: Command,
    input: CommandIn,
    remade: Remade,
}

impl Replayed for CommandAgain {
    fn stage(&self) -> &'static str {
        Command::NAME
    }
    fn publishes(&self) -> &'static [Topic] {
        &[Topic::Sent, Topic::Reacted]
    }
    fn step(&mut self, session: &Session, step: &StepRecord) -> Result<Vec<Message>, ReadError> {
        let mut seen = Seen::of(session, step);
        let saw = seen.next(Topic::Approved)?;
        let mut approved = Vec::new();
        if saw.last > 0 {
            for number in saw.first..=saw.last {
                let value = self.remade.borrow().get(&number).cloned();
                let value = value.ok_or(ReadError::Missing { topic: Topic::Approved, number })?;
                approved.push(Numbered { number, value });
            }
        }
        self.input.approved.set(approved);
        seen.all(Topic::Withdrawn, &mut self.input.withdrawn, withdrawn)?;
        seen.latest(Topic::Arm, &mut self.input.arm, arm)?;
        seen.latest(Topic::Instrument, &mut self.input.instrument, instrument)?;
        seen.latest(Topic::Consent, &mut self.input.consent, consent)?;
        seen.latest(Topic::Heartbeat, &mut self.input.heartbeat, heartbeat)?;
        // Stamps are not recorded: they follow from the scenes, which have the same numbers.
        let stamps = seen.next(Topic::Stamps)?;
        let mut again = Vec::new();
        if stamps.last > 0 {
            for number in stamps.first..=stamps.last {
                again.push(Numbered { number, value: SceneStamp::of(&*session.scene(number)?) });
            }
        }
        self.input.stamps.set(again);
        seen.all(Topic::Orders, &mut self.input.orders, order)?;
        self.input.latched = step.saw.latched;
        let mut out = <Command as Stage>::Out::default();
        Ok(match self.stage.step(step.now, &self.input, &mut out) {
            Ok(()) => {
                let sent = out.sent.take().map(Message::Sent);
                sent.into_iter().chain(out.reacted.take().map(Message::Reacted)).collect()
            }
            Err(_) => Vec::new(),
        })
    }
}

/// Plays plan, validate and gate again, with the arm mounted as it was.
///
/// # Errors
/// When a stage cannot be made from the recording's configuration.
pub fn again(session: &Session, config: &Config) -> anyhow::Result<[VerifyReport; 2]> {
    let rooms = session::last_rooms(config, session.header().mount, session::planner(config)?)?;
    let remade = Remade::default();
    let mut plan = PlanAgain { stage: rooms.plan, input: plan_in() };
    let mut validate =
        ValidateAgain { stage: rooms.validate, input: validate_in(), remade: Rc::clone(&remade), approvals: 0 };
    let mut command = CommandAgain { stage: rooms.command, input: command_in(), remade };
    let upstream = verify(session, &mut [&mut plan, &mut validate]);
    let gate = verify(session, &mut [&mut command]);
    Ok([upstream, gate])
}
