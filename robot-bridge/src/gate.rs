//! The gate itself: it joins the transitions, the monitors, the look at an approval and the path clock.
//!
//! One step: note what came, react to what stands against moving, follow orders, run the path clock, take
//! an approval. Whatever the reaction, the energy is off in the very same [`Sent`]: it is on only while an
//! approved path is being played. **Units:** radians. **Allocation:** none in [`Gate::step`]; the last
//! approval's shared handle is released there when a newer one is accepted.

#[cfg(test)]
mod allocations;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod rig;
#[cfg(test)]
mod tests;

use crate::command::{CommandOut, Inputs, Refused};
use crate::inspect::{Refusal, apart, inspect, is_position};
use crate::monitor::{Monitor, View, against_leaving, against_standing, to_react};
use crate::scenes::Scenes;
use crate::settings::{Settings, SettingsFault};
use crate::states::{Act, Event, Guard, next};
use crate::track::{Approval, Drive, Track};
use bregma_core::arm::Joints;
use bregma_core::faults::{Latched, Reaction, Reason};
use bregma_core::flow::{Energy, GateState, Order, Reacted, Sent, Sequence};
use bregma_core::{Duration, Instant};

/// Withdrawals remembered for approvals that have not come yet.
const WITHDRAWN_KEPT: usize = 8;
/// A late step runs the path clock for at most this many periods: the arm falls behind, it never jumps.
const PERIODS_PER_STEP: u64 = 2;

/// The gate, whatever its approvals are.
#[derive(Debug, Clone)]
pub(crate) struct Gate<A> {
    settings: Settings,
    state: GateState,
    /// Why it holds, or what its fault is.
    cause: Option<Reason>,
    held_since: Instant,
    offered: bool,
    track: Option<Track<A>>,
    commanded: Option<Joints>,
    before: Option<Instant>,
    last_seen: Sequence,
    finished: Sequence,
    withdrawn: [Sequence; WITHDRAWN_KEPT],
    next_withdrawn: usize,
    scenes: Scenes,
    monitor: Monitor,
}

impl<A: Approval> Gate<A> {
    pub(crate) fn new(settings: Settings) -> Result<Self, SettingsFault> {
        settings.check()?;
        Ok(Self {
            settings,
            state: GateState::Disarmed,
            cause: None,
            held_since: Instant::START,
            offered: false,
            track: None,
            commanded: None,
            before: None,
            last_seen: Sequence(0),
            finished: Sequence(0),
            withdrawn: [Sequence(0); WITHDRAWN_KEPT],
            next_withdrawn: 0,
            scenes: Scenes::new(),
            monitor: Monitor::default(),
        })
    }

    pub(crate) fn step(&mut self, now: Instant, input: &Inputs<A>, out: &mut CommandOut) {
        *out = CommandOut::default();
        let (elapsed, clock_fault) = self.read_clock(now);
        self.note(now, input);
        let mut present = self.present(now, input);
        if let Some(why) = clock_fault {
            present = present.with(why);
        }
        if self.withdrawn_now(input) {
            present = present.with(Reason::ApprovalWithdrawn);
        }

        let due = to_react(self.state, self.drive() == Drive::Leaving, present);
        // A clock that jumped makes every message look old or early: then it is the cause, they are not.
        let jumped = clock_fault.filter(|why| *why == Reason::ClockBackwards && due != Latched::default());
        if let Some(why) = jumped.or(due.worst()) {
            self.react(now, why, out);
        }
        for order in input.orders.iter() {
            self.follow(now, *order, present, out);
        }
        let stood = self.drive() == Drive::Still;
        self.run(now, elapsed);
        for approval in input.approved.iter() {
            self.consider(now, approval, present, out);
        }
        self.watch_the_hold(now, out);
        self.send(now, input, present, stood, out);
    }

    /// Time since the last step, bounded, and what is wrong with it.
    fn read_clock(&mut self, now: Instant) -> (Duration, Option<Reason>) {
        let period = self.settings.period;
        let longest = Duration::from_nanos(period.nanos() * PERIODS_PER_STEP);
        match self.before.replace(now).map(|before| now.since(before)) {
            None => (period, None),
            Some(Some(elapsed)) => {
                (elapsed.min(longest), (elapsed > self.settings.gap_max).then_some(Reason::GateOverran))
            }
            Some(None) => {
                self.monitor.restart(now);
                self.held_since = now;
                (Duration::ZERO, Some(Reason::ClockBackwards))
            }
        }
    }

    fn note(&mut self, now: Instant, input: &Inputs<A>) {
        input.stamps.iter().for_each(|stamp| self.scenes.see(*stamp));
        for withdrawn in input.withdrawn.iter() {
            self.withdrawn[self.next_withdrawn] = withdrawn.sequence;
            self.next_withdrawn = (self.next_withdrawn + 1) % WITHDRAWN_KEPT;
        }
        self.monitor.hear(input.heartbeat.get());
        self.monitor.feel(now, input.consent.get());
        self.take_position(now, input);
    }

    /// Stands where the arm is when it is first heard; and again while it does not follow and nothing may
    /// move, so that it makes no jump when its brakes open.
    fn take_position(&mut self, now: Instant, input: &Inputs<A>) {
        let Some(arm) = input.arm.get() else { return };
        let fresh = now.since(arm.captured).is_some_and(|age| age <= self.settings.arm_age_max);
        let idle = matches!(self.state, GateState::Disarmed | GateState::Fault) && self.drive() == Drive::Still;
        let free = self.commanded.is_none() || (idle && !arm.ready);
        if fresh && free && is_position(&arm.joints, &self.settings.arm) {
            self.commanded = Some(arm.joints);
        }
    }

    fn present(&self, now: Instant, input: &Inputs<A>) -> Latched {
        let view = View {
            now,
            arm: input.arm.get(),
            instrument: input.instrument.get(),
            consent: input.consent.get(),
            scenes: &self.scenes,
            commanded: self.commanded.as_ref(),
            latched: input.latched,
        };
        self.monitor.present(&view, &self.settings)
    }

    fn withdrawn_now(&self, input: &Inputs<A>) -> bool {
        let playing = self.track.as_ref().filter(|track| track.drive() == Drive::Forward).map(Track::sequence);
        playing.is_some_and(|sequence| input.withdrawn.iter().any(|w| w.sequence == sequence))
    }

    fn drive(&self) -> Drive {
        self.track.as_ref().map_or(Drive::Still, Track::drive)
    }

    /// Reacts to a reason.
    fn react(&mut self, now: Instant, why: Reason, out: &mut CommandOut) {
        let (to, act) = next(self.state, Event::React(why.reaction()));
        if to == self.state {
            return;
        }
        self.enter(now, to, act);
        self.cause = Some(why);
        tell(out, now, why.reaction(), why);
    }

    /// Does what a transition asks for beside the state.
    fn enter(&mut self, now: Instant, to: GateState, act: Act) {
        if to != self.state {
            self.held_since = now;
            self.offered = false;
        }
        self.state = to;
        match (act, &mut self.track) {
            (Act::Brake, Some(track)) => track.brake(),
            (Act::Leave, Some(track)) => track.leave(),
            (Act::Keep | Act::Refuse | Act::Start, Some(_)) | (_, None) => {}
        }
    }

    /// Follows a person's order, or says what stands against it.
    fn follow(&mut self, now: Instant, order: Order, present: Latched, out: &mut CommandOut) {
        let still_there = self.cause.filter(|cause| present.0 >> cause.code() & 1 == 1);
        let standing = against_standing(present).worst();
        let against = match order {
            Order::Arm => standing,
            Order::Resume => still_there.or(standing),
            Order::ClearFault => still_there.or_else(|| standing.filter(|why| why.reaction() == Reaction::Stop)),
            Order::Retract => against_leaving(present).worst(),
            Order::Disarm => None,
        };
        let possible = match order {
            Order::Arm | Order::Resume => self.drive() == Drive::Still && self.commanded.is_some(),
            Order::Retract => self.may_leave(),
            Order::ClearFault | Order::Disarm => true,
        };
        let guard = if against.is_none() && possible { Guard::Clear } else { Guard::Stands };
        let event = match order {
            Order::Arm => Event::Arm(guard),
            Order::Disarm => Event::Disarm,
            Order::Resume => Event::Resume(guard),
            Order::Retract => Event::Retract(guard),
            Order::ClearFault => Event::ClearFault(guard),
        };
        let from = self.state;
        let (to, act) = next(from, event);
        match (order, act) {
            (_, Act::Refuse) => {
                let what = Refusal::Order { order, state: from, reason: against };
                out.refused = Some(Refused { what, decided: now });
                return;
            }
            (Order::Disarm, _) if from == GateState::Active => tell(out, now, Reaction::Hold, Reason::Ordered),
            (Order::Retract, _) => tell(out, now, Reaction::Retract, Reason::Ordered),
            (Order::Arm | Order::Disarm | Order::Resume | Order::ClearFault, _) => {}
        }
        self.enter(now, to, act);
    }

    /// Whether there is a way out, and the arm stands on it.
    fn may_leave(&self) -> bool {
        let (Some(track), Some(commanded)) = (&self.track, &self.commanded) else { return false };
        let fits =
            track.sample().is_some_and(|(on_path, _)| apart(&on_path, commanded) <= self.settings.start_tolerance_rad);
        fits && !track.is_out()
    }

    /// Runs the path clock.
    fn run(&mut self, now: Instant, elapsed: Duration) {
        let Some(track) = &mut self.track else { return };
        let playing = track.drive() == Drive::Forward;
        if track.drive() == Drive::Still || !track.advance(elapsed, self.settings.retract_rate) {
            return;
        }
        if playing {
            self.finished = track.sequence();
        }
        let (to, act) = next(self.state, Event::Finished);
        self.enter(now, to, act);
    }

    /// Takes an approval, or refuses it.
    fn consider(&mut self, now: Instant, approval: &A, present: Latched, out: &mut CommandOut) {
        match self.judge(now, approval, present) {
            Ok(brake) => {
                let (to, act) = next(self.state, Event::Accepted);
                assert_eq!(act, Act::Start, "an approval is judged only while armed");
                self.track = Some(Track::start(approval.clone(), brake));
                self.enter(now, to, act);
            }
            Err(what) => {
                out.refused = Some(Refused { what, decided: now });
                if let Some(why) = what.reason() {
                    self.react(now, why, out);
                }
            }
        }
    }

    /// Every approval spends its number, whatever becomes of it.
    fn judge(&mut self, now: Instant, approval: &A, present: Latched) -> Result<Duration, Refusal> {
        let record = approval.record();
        let sequence = record.sequence;
        let due = Sequence(self.last_seen.0.saturating_add(1));
        self.last_seen = self.last_seen.max(sequence);
        if sequence != due {
            return Err(Refusal::OutOfSequence { got: sequence, due });
        }
        let commanded = match (self.state, &self.commanded) {
            (GateState::Armed, Some(commanded)) => commanded,
            (GateState::Armed, None)
            | (GateState::Disarmed | GateState::Active | GateState::Hold | GateState::Fault, _) => {
                return Err(Refusal::NotArmed { sequence, state: self.state });
            }
        };
        if self.withdrawn.contains(&sequence) {
            return Err(Refusal::Withdrawn { sequence });
        }
        if let Some(reason) = present.worst() {
            return Err(Refusal::Stands { sequence, reason });
        }
        if self.drive() != Drive::Still {
            return Err(Refusal::StillMoving { sequence });
        }
        inspect(record, commanded, &self.scenes, &self.settings, now)
    }

    /// Offers to leave when a hold inside the head has lasted too long.
    fn watch_the_hold(&mut self, now: Instant, out: &mut CommandOut) {
        let held = now.since(self.held_since).unwrap_or(Duration::ZERO);
        let inside = self.track.as_ref().is_some_and(|track| !track.is_out());
        if self.state == GateState::Hold && inside && !self.offered && held > self.settings.hold_max {
            self.offered = true;
            tell(out, now, Reaction::Hold, Reason::HeldTooLong);
        }
    }

    fn send(&mut self, now: Instant, input: &Inputs<A>, present: Latched, stood: bool, out: &mut CommandOut) {
        let drive = self.drive();
        let moving = drive != Drive::Still || !stood;
        let sample = self.track.as_ref().filter(|_| moving).and_then(Track::sample);
        let mut energy = Energy::OFF;
        if let Some((joints, on_path)) = sample {
            self.commanded = Some(joints);
            if self.state == GateState::Active && drive == Drive::Forward {
                energy = on_path;
            }
        }
        self.monitor.told(now, energy);
        let Some(joints) = self.commanded else { return };
        let active = self.state == GateState::Active;
        out.sent = Some(Sent {
            state: self.state,
            joints,
            energy,
            approval: self.track.as_ref().filter(|_| moving).map(Track::sequence),
            retracting: drive == Drive::Leaving,
            finished: self.finished,
            consent: input.consent.get().filter(|_| active).map(|consent| consent.captured),
            reason: self.reason(present),
            sent: now,
        });
    }

    /// Why it does not move; while disarmed, what would stand against arming.
    fn reason(&self, present: Latched) -> Option<Reason> {
        match self.state {
            GateState::Disarmed => against_standing(present).worst(),
            GateState::Armed | GateState::Active => None,
            GateState::Hold if self.offered => Some(Reason::HeldTooLong),
            GateState::Hold | GateState::Fault => self.cause,
        }
    }
}

/// Publishes a reaction; of several in one step, the most severe.
fn tell(out: &mut CommandOut, now: Instant, reaction: Reaction, reason: Reason) {
    if out.reacted.is_none_or(|told| told.reaction < reaction) {
        out.reacted = Some(Reacted { reaction, reason, decided: now });
    }
}
