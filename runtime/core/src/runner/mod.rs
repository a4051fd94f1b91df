//! Runners: they hold the clock, fill a stage's input from its lanes, call it, and publish what it wrote.
//!
//! [`threaded::Threaded`] runs one named thread a stage on the real clock; [`lockstep::LockStep`] runs all
//! stages in a fixed order on one thread on a simulated clock. Both drive the same [`Node`]s.
//! **Invariant:** a panic in a stage ends neither the thread nor the process: it is caught, counted and
//! latched as Hold. **Not protected against:** a stage that never returns; the gate sees its silence.

pub mod lockstep;
pub mod threaded;

use crate::faults::{Latched, Reason};
use crate::histogram::Histogram;
use crate::stage::{SawAll, Stage, Trigger};
use crate::time::{Clock, Duration, Instant};
use crate::wake::Wake;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Faults latched by runners and edges, shared by all of them and read by the gate.
#[derive(Debug, Clone, Default)]
pub struct Latches {
    bits: Arc<AtomicU32>,
}

impl Latches {
    /// Latches a reason.
    pub fn latch(&self, reason: Reason) {
        self.bits.fetch_or(Latched::default().with(reason).0, Ordering::AcqRel);
    }
    /// Forgets a reason whose cause is gone.
    pub fn clear(&self, reason: Reason) {
        self.bits.fetch_and(!Latched::default().with(reason).0, Ordering::AcqRel);
    }
    /// What is latched.
    #[must_use]
    pub fn read(&self) -> Latched {
        Latched(self.bits.load(Ordering::Acquire))
    }
}

/// What a stage's runner has seen of it.
#[derive(Debug, Default)]
pub struct StageStats {
    /// Time of each step.
    pub times: Histogram,
    /// Steps over budget.
    pub overruns: AtomicU64,
    /// Steps that panicked.
    pub panics: AtomicU64,
    /// Steps that returned a fault.
    pub faults: AtomicU64,
    /// Starts that came later than one whole period.
    pub missed: AtomicU64,
}

/// One step, as recorded for replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepRecord {
    /// Which stage.
    pub stage: &'static str,
    /// Number of the step, from 1.
    pub index: u64,
    /// Its `now`.
    pub now: Instant,
    /// What it saw.
    pub saw: SawAll,
    /// Whether it took longer than its budget.
    pub overrun: bool,
    /// Whether it panicked.
    pub panicked: bool,
}

/// The lanes of one stage, written by hand in the program's `pipeline.rs`.
pub trait Ports<S: Stage>: Send {
    /// Fills the input and notes what was seen.
    fn fill(&mut self, now: Instant, input: &mut S::In, saw: &mut SawAll);
    /// Whether a lane that triggers this stage has something.
    fn pending(&self) -> bool;
    /// Publishes what the stage wrote, and clears it. `published` is the time after the step.
    fn publish(&mut self, published: Instant, out: &mut S::Out);
    /// Has every trigger lane notify `wake`.
    fn wakes(&mut self, wake: &Arc<Wake>);
    /// Takes note of a step; the recording's tap. Before `publish`.
    fn record(&mut self, step: &StepRecord) {
        let _ = step;
    }
    /// Takes note of a fault that the stage returned.
    fn fault(&mut self, now: Instant, why: &S::Fault) {
        let _ = (now, why);
    }
}

/// What a step over budget does on the real clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOverrun {
    /// It is counted.
    Count,
    /// It is counted and latches a Hold: command.
    LatchHold,
}

/// A stage with its lanes.
pub struct Node<S: Stage, P: Ports<S>> {
    stage: S,
    ports: P,
    input: S::In,
    out: S::Out,
    trigger: Trigger,
    on_overrun: OnOverrun,
    latches: Latches,
    stats: Arc<StageStats>,
    index: u64,
    due: Instant,
    saw: SawAll,
}

/// How long a step took is asked of the real clock only.
#[derive(Clone, Copy)]
pub enum Timing<'a> {
    /// On this clock; budgets bind.
    Real(&'a dyn Clock),
    /// On this clock for the report; budgets do not bind.
    Simulated(&'a dyn Clock),
}

impl<S: Stage, P: Ports<S>> Node<S, P> {
    /// Joins a stage and its lanes.
    pub fn new(
        stage: S,
        ports: P,
        input: S::In,
        out: S::Out,
        trigger: Trigger,
        on_overrun: OnOverrun,
        latches: Latches,
    ) -> Self {
        Self {
            stage,
            ports,
            input,
            out,
            trigger,
            on_overrun,
            latches,
            stats: Arc::new(StageStats::default()),
            index: 0,
            due: Instant::START,
            saw: SawAll::default(),
        }
    }

    /// Its figures.
    #[must_use]
    pub fn stats(&self) -> Arc<StageStats> {
        Arc::clone(&self.stats)
    }
}

/// A node without its types, as executors hold it.
pub trait Stepper: Send {
    /// The stage's name.
    fn name(&self) -> &'static str;
    /// Its figures.
    fn figures(&self) -> Arc<StageStats>;
    /// Whether it should step at `now`.
    fn due(&self, now: Instant) -> bool;
    /// When it is next due by time; `None` when only input makes it step.
    fn next_due(&self) -> Option<Instant>;
    /// Has its trigger lanes notify `wake`.
    fn wakes(&mut self, wake: &Arc<Wake>);
    /// Takes one step.
    fn step(&mut self, now: Instant, timing: Timing<'_>);
}

impl<S: Stage, P: Ports<S>> Stepper for Node<S, P> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn figures(&self) -> Arc<StageStats> {
        self.stats()
    }

    fn due(&self, now: Instant) -> bool {
        match self.trigger {
            Trigger::OnInput => self.ports.pending(),
            Trigger::Every(_) => now >= self.due,
        }
    }

    fn next_due(&self) -> Option<Instant> {
        match self.trigger {
            Trigger::OnInput => None,
            Trigger::Every(_) => Some(self.due),
        }
    }

    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.ports.wakes(wake);
    }

    fn step(&mut self, now: Instant, timing: Timing<'_>) {
        if let Trigger::Every(period) = self.trigger {
            self.due = self.due + period;
            if self.due <= now {
                // More than a period late: start counting from here, and say so.
                self.stats.missed.fetch_add(1, Ordering::Relaxed);
                self.due = now + period;
            }
        }
        self.index += 1;
        self.saw.clear();
        self.saw.latched = self.latches.read();
        self.ports.fill(now, &mut self.input, &mut self.saw);

        let (clock, binding) = match timing {
            Timing::Real(clock) => (clock, true),
            Timing::Simulated(clock) => (clock, false),
        };
        let before = clock.now();
        let (stage, input, out) = (&mut self.stage, &self.input, &mut self.out);
        let caught = catch_unwind(AssertUnwindSafe(|| stage.step(now, input, out)));
        let took = clock.now().since(before).unwrap_or(Duration::ZERO);

        self.stats.times.add(took);
        let overrun = binding && took > S::BUDGET;
        let panicked = caught.is_err();
        let record = StepRecord { stage: S::NAME, index: self.index, now, saw: self.saw, overrun, panicked };
        self.ports.record(&record);
        if took > S::BUDGET {
            self.stats.overruns.fetch_add(1, Ordering::Relaxed);
        }
        match caught {
            Err(_) => {
                self.stats.panics.fetch_add(1, Ordering::Relaxed);
                self.latches.latch(Reason::StagePanicked);
                return;
            }
            Ok(Err(why)) => {
                self.stats.faults.fetch_add(1, Ordering::Relaxed);
                self.latches.latch(Reason::StageFaulted);
                self.ports.fault(now, &why);
                return;
            }
            Ok(Ok(())) => {}
        }
        let published = if binding { clock.now() } else { now };
        if overrun {
            if self.on_overrun == OnOverrun::LatchHold {
                self.latches.latch(Reason::GateOverran);
            }
            self.stage.overran(&mut self.out);
        }
        self.ports.publish(published, &mut self.out);
    }
}

#[cfg(test)]
mod tests;
