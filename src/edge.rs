//! Edges: where devices meet the flow. An edge polls one device and publishes what it says, or passes on
//! what the gate says; it decides nothing.
//!
//! On the real clock each edge has a thread of its own ([`EdgeThreads`]); in a scenario the same edges are
//! polled in a fixed order. A device that fails is reported once a second at most, and its silence is what
//! the gate sees: unknown is invalid.

use crate::events::Events;
use crate::keeper::Keeper;
use bregma_core::devices::{Arm, DeviceFault, EnablingInput, Instrument, Tracker};
use bregma_core::flow::{ArmState, Consent, Energy, Heartbeat, InstrumentState, Sent, TipPose};
use bregma_core::time::{Clock, Duration, Instant, RealClock};
use bregma_core::topic::{Publisher, Subscriber};
use bregma_core::wake::Wake;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A device at the house's wall.
pub trait Edge: Send {
    /// Its name: of its thread and in events.
    fn name(&self) -> &'static str;
    /// Time between polls.
    fn period(&self) -> Duration;
    /// Looks at the device once.
    fn poll(&mut self, now: Instant);
}

/// The arm and its instrument: passes on what the gate sent, energy off before motion and on after it.
pub struct ArmEdge {
    /// The arm.
    pub arm: Box<dyn Arm>,
    /// The instrument on its flange.
    pub instrument: Box<dyn Instrument>,
    /// What the gate says.
    pub sent: Subscriber<Sent>,
    /// What the arm says.
    pub states: Publisher<ArmState>,
    /// What the instrument says.
    pub instrument_states: Publisher<InstrumentState>,
    /// Where faults are told.
    pub events: Events,
}

impl ArmEdge {
    fn pass_on(&mut self, now: Instant, sent: &Sent) -> Result<(), DeviceFault> {
        if sent.energy == Energy::OFF {
            self.instrument.energise(now, Energy::OFF)?;
        }
        self.arm.command(now, sent)?;
        if sent.energy != Energy::OFF {
            self.instrument.energise(now, sent.energy)?;
        }
        Ok(())
    }
}

impl Edge for ArmEdge {
    fn name(&self) -> &'static str {
        "arm"
    }
    fn period(&self) -> Duration {
        Duration::from_millis(4)
    }
    fn poll(&mut self, now: Instant) {
        // The gate's last word counts. What it said before, while this thread was late, is past: an arm that
        // caught up with it would leave the path.
        let mut last = None;
        while let Some(sent) = self.sent.take() {
            last = Some(sent.value);
        }
        if let Some(sent) = last {
            // It may have been said since this poll began: nothing is executed before.
            if let Err(why) = self.pass_on(now.max(sent.sent), &sent) {
                self.events.say(now, why.to_string());
            }
        }
        match self.arm.state(now) {
            Ok(state) => self.states.publish(state),
            Err(why) => self.events.say(now, why.to_string()),
        }
        match self.instrument.state(now) {
            Ok(state) => self.instrument_states.publish(state),
            Err(why) => self.events.say(now, why.to_string()),
        }
    }
}

/// The tracker.
pub struct TrackerEdge {
    /// The device.
    pub tracker: Box<dyn Tracker>,
    /// What it says.
    pub tips: Publisher<TipPose>,
    /// Who hears where the reference array is.
    pub keeper: Keeper,
    /// Where faults are told.
    pub events: Events,
}

impl Edge for TrackerEdge {
    fn name(&self) -> &'static str {
        "tracker"
    }
    fn period(&self) -> Duration {
        Duration::from_millis(4)
    }
    fn poll(&mut self, now: Instant) {
        loop {
            match self.tracker.poll(now) {
                Ok(Some(tip)) => self.tips.publish(tip),
                Ok(None) => break,
                Err(why) => return self.events.say(now, why.to_string()),
            }
        }
        match self.tracker.reference(now) {
            Ok(array) => array.iter().for_each(|array| self.keeper.hears(now, array)),
            Err(why) => self.events.say(now, why.to_string()),
        }
    }
}

/// The enabling input, and the heartbeat of whoever watches the runtime.
pub struct PersonEdge {
    /// The pedal.
    pub pedal: Box<dyn EnablingInput>,
    /// What it says.
    pub consents: Publisher<Consent>,
    /// Signs of life.
    pub heartbeats: Publisher<Heartbeat>,
    /// Counts them.
    pub beats: u64,
    /// Where faults are told.
    pub events: Events,
}

impl Edge for PersonEdge {
    fn name(&self) -> &'static str {
        "person"
    }
    fn period(&self) -> Duration {
        Duration::from_millis(20)
    }
    fn poll(&mut self, now: Instant) {
        match self.pedal.poll(now) {
            Ok(consent) => self.consents.publish(consent),
            Err(why) => self.events.say(now, why.to_string()),
        }
        self.beats += 1;
        self.heartbeats.publish(Heartbeat { count: self.beats, captured: now });
    }
}

/// One thread an edge, on the real clock.
pub struct EdgeThreads {
    clock: RealClock,
    ending: Arc<AtomicBool>,
    threads: Vec<(JoinHandle<()>, Arc<Wake>)>,
}

impl EdgeThreads {
    /// None yet.
    #[must_use]
    pub fn new(clock: RealClock) -> Self {
        Self { clock, ending: Arc::new(AtomicBool::new(false)), threads: Vec::new() }
    }

    /// Starts an edge's thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(&mut self, mut edge: impl Edge + 'static) -> std::io::Result<()> {
        let wake = Arc::new(Wake::new());
        let (ending, clock, own) = (Arc::clone(&self.ending), self.clock.clone(), Arc::clone(&wake));
        let thread = std::thread::Builder::new().name(edge.name().to_owned()).spawn(move || {
            own.bind();
            let mut due = clock.now();
            while !ending.load(Ordering::Acquire) {
                let now = clock.now();
                let Some(left) = due.since(now).filter(|left| left.nanos() > 0) else {
                    edge.poll(now);
                    due = due + edge.period();
                    if due < now {
                        due = now + edge.period();
                    }
                    continue;
                };
                own.wait(0, Some(std::time::Duration::from_nanos(left.nanos())));
            }
        })?;
        self.threads.push((thread, wake));
        Ok(())
    }

    /// Ends them all.
    pub fn end(self) {
        self.ending.store(true, Ordering::Release);
        for (thread, wake) in self.threads {
            wake.notify();
            assert!(thread.join().is_ok(), "an edge panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ArmEdge, Edge};
    use crate::events::Events;
    use bregma_core::arm::Joints;
    use bregma_core::devices::{Arm, DeviceFault, Instrument};
    use bregma_core::flow::{ArmState, Energy, GateState, InstrumentState, Sent, Sequence};
    use bregma_core::lane::Overflow;
    use bregma_core::time::Instant;
    use bregma_core::topic::Publisher;
    use std::sync::{Arc, Mutex};

    /// When the arm was told what.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<(Instant, Instant)>>>);

    impl Arm for Told {
        fn state(&mut self, now: Instant) -> Result<ArmState, DeviceFault> {
            let still = Joints::zeros(7);
            Ok(ArmState { joints: still, speeds: still, ready: true, captured: now })
        }
        fn command(&mut self, now: Instant, sent: &Sent) -> Result<(), DeviceFault> {
            self.0.lock().expect("no panic").push((now, sent.sent));
            Ok(())
        }
    }

    impl Instrument for Told {
        fn state(&mut self, now: Instant) -> Result<InstrumentState, DeviceFault> {
            Ok(InstrumentState { energy: Energy::OFF, captured: now })
        }
        fn energise(&mut self, now: Instant, _energy: Energy) -> Result<(), DeviceFault> {
            self.0.lock().expect("no panic").push((now, now));
            Ok(())
        }
    }

    /// A thread that is put off between reading the clock and its lane meets commands from after that reading,
    /// and more than one.
    #[test]
    fn the_arm_is_told_the_gates_last_word_and_not_before_it_was_said() {
        let told = Told::default();
        let mut gate = Publisher::new(1, "sent");
        let mut edge = ArmEdge {
            arm: Box::new(told.clone()),
            instrument: Box::new(told.clone()),
            sent: gate.subscribe("sent to arm", 8, Overflow::Fault),
            states: Publisher::new(2, "arm"),
            instrument_states: Publisher::new(3, "instrument"),
            events: Events::default(),
        };
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut say = |ms: u64| {
            gate.publish(Sent {
                state: GateState::Active,
                joints: Joints::zeros(7),
                energy: Energy::OFF,
                approval: None,
                retracting: false,
                finished: Sequence(0),
                consent: None,
                reason: None,
                sent: at(ms),
            });
        };
        [96, 104, 128].into_iter().for_each(&mut say);
        edge.poll(at(100));
        edge.poll(at(130));
        say(136);
        edge.poll(at(140));
        // Energy off, then the command: when, and when it was said.
        let expected = [(at(128), at(128)), (at(128), at(128)), (at(140), at(140)), (at(140), at(136))];
        assert_eq!(*told.0.lock().expect("no panic"), expected);
    }
}
