//! Keeps the registration: what the flow may believe of how the patient lies, until there is a reason not to.
//!
//! ```text
//!  register ─► [unchecked: nothing arms] ── a landmark is touched where it should be ─► [kept]
//!
//!              [kept] ── the reference array moved, or a landmark was touched elsewhere ─► [lost: expired, gate on Hold]
//!                                                                                              │
//!              [unchecked] ◄──────────────────── registered anew ◄─────────────────────────────┘
//! ```
//! It is one of the edges: the tracker's poses of the reference array come in, registrations go out. A registration that no longer
//! holds is published once more, expired; so align makes no more frames, the validator approves nothing, and the gate holds at
//! once with [`Reason::RegistrationLost`]. A new one takes effect without a restart, and the array's place is learnt anew with it.
//!
//! A registration that was checked elsewhere, as by `register check --keep`, begins as kept.
//!
//! **Not protected against:** what [`watch`](bregma_perception::register::watch) is not.

mod file;

pub use file::RegistrationFile;

use crate::events::Events;
use anyhow::Context;
use bregma_core::faults::Reason;
use bregma_core::flow::{ReferencePose, Registration, TrackingStatus};
use bregma_core::runner::Latches;
use bregma_core::time::Instant;
use bregma_core::topic::Publisher;
use bregma_perception::register::check::{self, Demand, Touch};
use bregma_perception::register::watch::{Bump, State, Watch};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The keeper, shared by whoever hears of the registration.
#[derive(Clone)]
pub struct Keeper(Arc<Mutex<Kept>>);

struct Kept {
    registration: Option<Registration>,
    lost: bool,
    unchecked: bool,
    watch: Watch,
    noisy: bool,
    out: Publisher<Registration>,
    latches: Latches,
    events: Events,
}

impl Keeper {
    /// Of no registration yet.
    ///
    /// # Errors
    /// Never with a usual [`Bump`].
    pub fn new(out: Publisher<Registration>, latches: Latches, events: Events) -> anyhow::Result<Self> {
        let watch = Watch::new(Bump::USUAL)?;
        let kept =
            Kept { registration: None, lost: false, unchecked: false, watch, noisy: false, out, latches, events };
        Ok(Self(Arc::new(Mutex::new(kept))))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whole after every call, whatever panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The patient was registered, first or anew, and it was seen that it holds.
    pub fn register(&self, registration: Registration) {
        self.begin(registration, false);
    }

    /// The patient was registered, first or anew; until [`Self::check`] nothing arms.
    pub fn register_unchecked(&self, registration: Registration) {
        self.begin(registration, true);
    }

    fn begin(&self, registration: Registration, unchecked: bool) {
        let mut kept = self.kept();
        kept.unchecked = unchecked;
        if unchecked {
            kept.latches.latch(Reason::RegistrationUnchecked);
        } else {
            kept.latches.clear(Reason::RegistrationUnchecked);
        }
        kept.watch.learn();
        (kept.registration, kept.lost, kept.noisy) = (Some(registration), false, false);
        kept.out.publish(registration);
        kept.latches.clear(Reason::RegistrationLost);
    }

    /// Whether nobody has touched a landmark since it was made.
    #[must_use]
    pub fn unchecked(&self) -> bool {
        self.kept().unchecked
    }

    /// Landmarks were touched: the registration holds from now on, or is withdrawn.
    ///
    /// # Errors
    /// When there is nothing to judge by; nothing has changed then.
    pub fn check(&self, now: Instant, touches: &[Touch], demand: Demand) -> anyhow::Result<()> {
        let mut kept = self.kept();
        let held =
            kept.registration.filter(|_| !kept.lost).context("there is no registration that could be checked")?;
        let checked = check::check(touches, held.patient_from_reference.isometry(), demand)?;
        let worst_mm = checked.landmarks.iter().map(|l| l.off.norm()).fold(0.0, f64::max);
        if !checked.within() {
            let Demand { limit_mm, .. } = demand;
            let why = format!(
                "a landmark was touched {worst_mm:.1} mm from where it should be; at most {limit_mm} mm is right"
            );
            kept.withdraw(now, &why);
            return Ok(());
        }
        kept.unchecked = false;
        kept.latches.clear(Reason::RegistrationUnchecked);
        kept.events
            .say(now, format!("the registration holds: {} landmarks touched within {worst_mm:.1} mm", touches.len()));
        Ok(())
    }

    /// Against gravity, by the registration that is held.
    #[must_use]
    pub fn up(&self) -> Option<[f64; 3]> {
        self.kept().registration.and_then(|registration| registration.up)
    }

    /// Whether it no longer holds, and no other has come since.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.kept().lost
    }

    /// The registration no longer holds.
    pub fn withdraw(&self, now: Instant, why: &str) {
        self.kept().withdraw(now, why);
    }

    /// The tracker saw the reference array.
    pub fn hears(&self, now: Instant, array: &ReferencePose) {
        if array.status != TrackingStatus::Valid {
            return;
        }
        let mut kept = self.kept();
        if kept.lost || kept.registration.is_none() {
            return;
        }
        // A pose that is no later than the last says nothing new; a pose is finite by construction.
        let Ok(state) = kept.watch.hear(array.tracker_from_reference.isometry(), array.captured) else { return };
        match state {
            State::Moved(moved) => kept.withdraw(
                now,
                &format!(
                    "the reference array has moved by {:.1} mm and {:.1}° since {}, or the camera or the table has: register anew, or \
                     touch a landmark to see that nothing but the camera moved",
                    moved.mm,
                    moved.rad.to_degrees(),
                    moved.since
                ),
            ),
            State::Noisy { mm, rad } if !std::mem::replace(&mut kept.noisy, true) => kept.events.say(
                now,
                format!(
                    "the reference array is seen with {mm:.2} mm and {:.2}° of noise: a bump of 2 mm or 1° would not be noticed",
                    rad.to_degrees()
                ),
            ),
            State::Noisy { .. } | State::Learning { .. } | State::Still => {}
        }
    }
}

impl Kept {
    fn withdraw(&mut self, now: Instant, why: &str) {
        let Some(held) = self.registration.filter(|_| !self.lost) else { return };
        self.lost = true;
        self.latches.latch(Reason::RegistrationLost);
        self.events.say(now, format!("the registration no longer holds: {why}"));
        self.out.publish(Registration { expires: held.expires.min(now), ..held });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::frame::{FrameId, Pose};
    use bregma_core::lane::Overflow;
    use bregma_core::time::Duration;
    use bregma_core::units::Millimetres;

    fn registration() -> Registration {
        Registration {
            patient_from_reference: Pose::identity(),
            fre: Millimetres::constant(0.5),
            predicted_tre: Millimetres::constant(0.8),
            up: None,
            registered: Instant::START,
            expires: Instant::START + Duration::from_secs(3600),
        }
    }

    fn array(ms: u64, x: f64, status: TrackingStatus) -> ReferencePose {
        let place = Pose::from_parts(FrameId::SOLE, FrameId::SOLE, [x, 0.0, 1600.0], [0.0, 0.0, 0.0, 1.0]);
        let captured = Instant::START + Duration::from_millis(ms);
        ReferencePose { tracker_from_reference: place.expect("finite"), status, captured }
    }

    #[test]
    fn a_bumped_array_ends_the_registration_at_once_and_a_new_one_begins_without_a_restart() {
        let mut out = Publisher::new(5, "registration");
        let mut registrations = out.subscribe("test", 8, Overflow::Refuse);
        let (latches, events) = (Latches::default(), Events::default());
        let keeper = Keeper::new(out, latches.clone(), events.clone()).expect("usual");
        let registration = registration();
        keeper.register(registration);
        assert_eq!(registrations.take().map(|r| r.value), Some(registration));
        let hears = |from: u64, to: u64, x: f64, status| {
            for ms in (from..to).step_by(25) {
                keeper.hears(Instant::START + Duration::from_millis(ms), &array(ms, x, status));
            }
        };
        hears(0, 5000, 0.0, TrackingStatus::Valid);
        // What nobody believes moves nothing.
        hears(5000, 8000, 3.0, TrackingStatus::LineOfSightLost);
        assert!(!keeper.lost() && registrations.take().is_none());
        hears(8000, 9000, 3.0, TrackingStatus::Valid);
        assert!(keeper.lost() && latches.read().has(Reason::RegistrationLost));
        let withdrawn = registrations.take().expect("published").value;
        assert!(
            withdrawn.expires > Instant::START + Duration::from_secs(8)
                && withdrawn.expires < Instant::START + Duration::from_secs(9)
        );
        assert!(registrations.take().is_none(), "said once");
        let said = &events.since(0)[0].words;
        assert!(said.contains("moved by 3.0 mm") && said.contains("register anew"), "{said}");
        keeper.register(registration);
        assert!(!keeper.lost() && !latches.read().has(Reason::RegistrationLost));
        // It sits there now.
        hears(9000, 15_000, 3.0, TrackingStatus::Valid);
        assert!(!keeper.lost());
        assert_eq!(registrations.take().map(|r| r.value.expires), Some(registration.expires));
        keeper.withdraw(Instant::START + Duration::from_secs(16), "a landmark was touched 4 mm away");
        assert!(keeper.lost());
    }

    #[test]
    fn nothing_arms_before_a_landmark_was_touched_where_it_should_be() {
        let mut out = Publisher::new(5, "registration");
        let mut registrations = out.subscribe("test", 8, Overflow::Refuse);
        let (latches, events) = (Latches::default(), Events::default());
        let keeper = Keeper::new(out, latches.clone(), events.clone()).expect("usual");
        let demand = Demand { limit_mm: 2.0, fle_mm: 0.5 };
        let touch = |off: f64| Touch {
            name: "nasion".to_owned(),
            scan: nalgebra::Point3::new(0.0, -90.0, 0.0),
            touched: nalgebra::Point3::new(off, -90.0, 0.0),
            tre_mm: 0.8,
        };
        assert!(keeper.check(Instant::START, &[touch(0.0)], demand).is_err(), "nobody was registered");
        let registration = registration();
        let waits = || latches.read().has(Reason::RegistrationUnchecked);
        keeper.register_unchecked(registration);
        assert!(keeper.unchecked() && waits() && registrations.take().is_some(), "displays may show it");
        assert!(keeper.check(Instant::START, &[], demand).is_err() && waits(), "nothing was touched");
        keeper.check(Instant::START, &[touch(0.6)], demand).expect("touched");
        assert!(!keeper.unchecked() && !waits() && !keeper.lost());
        assert!(events.since(0)[0].words.contains("holds: 1 landmarks touched within 0.6 mm"));
        // Made anew, it is to be seen anew; one that is off is withdrawn.
        keeper.register_unchecked(registration);
        keeper.check(Instant::START, &[touch(2.5)], demand).expect("touched");
        assert!(keeper.lost() && waits() && latches.read().has(Reason::RegistrationLost));
        keeper.register(registration);
        assert!(!waits() && !keeper.lost(), "checked elsewhere");
    }
}
