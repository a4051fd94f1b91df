//! What stands against a motion at this moment.
//!
//! Every limit is asked "is it inside?" and every age of a message from the future is outside: the gate
//! fails closed. **Allocation:** none. **Not protected against:** two contacts of the enabling input that
//! fail closed together; the heartbeat's sender lying.

use crate::inspect::{apart, is_position};
use crate::scenes::Scenes;
use crate::settings::Settings;
use bregma_core::arm::Joints;
use bregma_core::faults::{Latched, Reaction, Reason};
use bregma_core::flow::{ArmState, Consent, Energy, GateState, Heartbeat, InstrumentState};
use bregma_core::{Duration, Instant};

/// Bits of [`Energy::bits`].
const CHANNELS: usize = 3;

/// What must be remembered from step to step to tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Monitor {
    heartbeat: Option<Heartbeat>,
    differ_since: Option<Instant>,
    off_since: [Option<Instant>; CHANNELS],
}

/// The newest messages, and what the arm was last told.
pub(crate) struct View<'a> {
    pub(crate) now: Instant,
    pub(crate) arm: Option<&'a ArmState>,
    pub(crate) instrument: Option<&'a InstrumentState>,
    pub(crate) consent: Option<&'a Consent>,
    pub(crate) scenes: &'a Scenes,
    pub(crate) commanded: Option<&'a Joints>,
    pub(crate) latched: Latched,
}

fn fresh(now: Instant, captured: Option<Instant>, age_max: Duration) -> bool {
    captured.and_then(|captured| now.since(captured)).is_some_and(|age| age <= age_max)
}

impl Monitor {
    /// Takes note of a sign of life; one whose count has not grown is none.
    pub(crate) fn hear(&mut self, heartbeat: Option<&Heartbeat>) {
        if let Some(heard) = heartbeat
            && self.heartbeat.is_none_or(|last| heard.count > last.count)
        {
            self.heartbeat = Some(*heard);
        }
    }

    /// Takes note of how the enabling input's channels lie.
    pub(crate) fn feel(&mut self, now: Instant, consent: Option<&Consent>) {
        let differ = consent.is_some_and(|c| c.channels[0] != c.channels[1]);
        self.differ_since = differ.then(|| self.differ_since.unwrap_or(now));
    }

    /// Takes note of what the instrument is told.
    pub(crate) fn told(&mut self, now: Instant, energy: Energy) {
        for (channel, since) in self.off_since.iter_mut().enumerate() {
            *since = (energy.bits() >> channel & 1 == 0).then(|| since.unwrap_or(now));
        }
    }

    /// Starts counting from `now`, after the clock jumped.
    pub(crate) fn restart(&mut self, now: Instant) {
        for since in self.off_since.iter_mut().chain([&mut self.differ_since]) {
            *since = since.map(|_| now);
        }
    }

    /// All reasons that stand against a motion now.
    pub(crate) fn present(&self, view: &View<'_>, settings: &Settings) -> Latched {
        let now = view.now;
        let consent = self.consent(view, settings);
        let heartbeat = fresh(now, self.heartbeat.map(|h| h.captured), settings.heartbeat_age_max);
        let scene = fresh(now, view.scenes.newest().map(|s| s.captured), settings.scene_age_max);
        let arm_heard = fresh(now, view.arm.map(|a| a.captured), settings.arm_age_max);
        let ready = view.arm.is_none_or(|a| a.ready);
        let follows = view.arm.is_none_or(|a| {
            is_position(&a.joints, &settings.arm)
                && view.commanded.is_none_or(|told| apart(told, &a.joints) <= settings.tracking_error_max_rad)
        });
        let facts = [
            (!heartbeat, Reason::HeartbeatLost),
            (!scene, Reason::SceneStale),
            (!arm_heard, Reason::ArmStale),
            (!ready, Reason::ArmNotReady),
            (!follows, Reason::TrackingError),
            (!self.instrument_agrees(view, settings), Reason::InstrumentDisagrees),
        ];
        let present = facts.iter().filter(|(stands, _)| *stands).fold(view.latched, |set, (_, why)| set.with(*why));
        consent.map_or(present, |why| present.with(why))
    }

    fn consent(&self, view: &View<'_>, settings: &Settings) -> Option<Reason> {
        let Some(consent) = view.consent.filter(|c| fresh(view.now, Some(c.captured), settings.consent_age_max)) else {
            return Some(Reason::ConsentStale);
        };
        let defective = || {
            self.differ_since
                .and_then(|since| view.now.since(since))
                .is_none_or(|differed| differed >= settings.channels_settle)
        };
        match consent.channels {
            [true, true] => None,
            [false, false] => Some(Reason::ConsentReleased),
            [true, false] | [false, true] if defective() => Some(Reason::ConsentDisagrees),
            [true, false] | [false, true] => Some(Reason::ConsentReleased),
        }
    }

    /// Whether the console is heard, and says of nothing that it is on which was switched off in good time.
    fn instrument_agrees(&self, view: &View<'_>, settings: &Settings) -> bool {
        let Some(said) = view.instrument else { return false };
        fresh(view.now, Some(said.captured), settings.instrument_age_max)
            && self.off_since.iter().enumerate().all(|(channel, off_since)| {
                let on = said.energy.bits() >> channel & 1 == 1;
                let late = off_since
                    .and_then(|off| said.captured.since(off))
                    .is_some_and(|after| after > settings.energy_off_within);
                !(on && late)
            })
    }
}

fn set_of(keeps: impl Fn(Reason) -> bool, present: Latched) -> Latched {
    let mask = Reason::ALL.iter().filter(|r| keeps(**r)).fold(Latched::default(), |set, r| set.with(*r));
    Latched(present.0 & mask.0)
}

/// Those that matter while standing: a person need not hold the pedal then.
pub(crate) fn against_standing(present: Latched) -> Latched {
    set_of(|reason| reason != Reason::ConsentReleased, present)
}

/// Those that matter while leaving.
pub(crate) fn against_leaving(present: Latched) -> Latched {
    set_of(keeps_from_leaving, present)
}

/// Those that the gate reacts to.
pub(crate) fn to_react(state: GateState, leaving: bool, present: Latched) -> Latched {
    match (state, leaving) {
        (GateState::Disarmed, _) => set_of(|reason| reason == Reason::ClockBackwards, present),
        (GateState::Armed, _) => against_standing(present),
        (GateState::Active, false) => present,
        (GateState::Active, true) => against_leaving(present),
        (GateState::Hold, _) => set_of(|reason| reason.reaction() == Reaction::Stop, present),
        (GateState::Fault, _) => Latched::default(),
    }
}

/// Whether a reason keeps the arm from leaving the head by a way that was validated before. What only
/// speaks of the scene, the planner, the validator or the recording does not.
const fn keeps_from_leaving(reason: Reason) -> bool {
    match reason {
        Reason::ConsentReleased
        | Reason::ConsentStale
        | Reason::ConsentDisagrees
        | Reason::HeartbeatLost
        | Reason::ArmStale
        | Reason::ArmNotReady
        | Reason::TrackingError
        | Reason::ClockBackwards
        | Reason::InstrumentDisagrees => true,
        Reason::SceneStale
        | Reason::ApprovalWithdrawn
        | Reason::ApprovalForged
        | Reason::ApprovalReplayed
        | Reason::ApprovalExpired
        | Reason::ApprovalElsewhere
        | Reason::StagePanicked
        | Reason::StageFaulted
        | Reason::GateOverran
        | Reason::RecordingFailed
        | Reason::VideoLost
        | Reason::LineOfSightLost
        | Reason::Ordered
        | Reason::HeldTooLong
        | Reason::RegistrationLost
        | Reason::RegistrationUnchecked => false,
    }
}
