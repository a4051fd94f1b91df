//! What each stage allocates once it has settled: counted on a whole simulated case, step by step.

use crate::allocations;
use crate::report::BenchRow;
use crate::scenario::{Run, Suite, Wrap};
use crate::session::Simulated;
use anyhow::Context;
use bregma_core::runner::{StageStats, Stepper, Timing};
use bregma_core::time::Instant;
use bregma_core::wake::Wake;
use std::sync::{Arc, Mutex, PoisonError};

/// Steps of a stage before counting: pools fill and lists find their size.
const SETTLED_AFTER: u64 = 50;
/// Scenes a simulated second: the live rate, so that stages settle soon.
const PERCEIVE_HZ: f64 = 20.0;
/// Simulated seconds counted.
const SECONDS: f64 = 20.0;

/// Allocations of each step of one stage.
type Counts = Arc<Mutex<Vec<u64>>>;

struct Counted {
    inner: Box<dyn Stepper>,
    steps: u64,
    counts: Counts,
}

impl Stepper for Counted {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn figures(&self) -> Arc<StageStats> {
        self.inner.figures()
    }
    fn due(&self, now: Instant) -> bool {
        self.inner.due(now)
    }
    fn next_due(&self) -> Option<Instant> {
        self.inner.next_due()
    }
    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.inner.wakes(wake);
    }
    fn step(&mut self, now: Instant, timing: Timing<'_>) {
        let before = allocations::of_this_thread();
        self.inner.step(now, timing);
        let made = allocations::of_this_thread() - before;
        self.steps += 1;
        if self.steps > SETTLED_AFTER {
            self.counts.lock().unwrap_or_else(PoisonError::into_inner).push(made);
        }
    }
}

#[derive(Default)]
struct Counting {
    stages: Vec<(&'static str, Counts)>,
}

impl Wrap for Counting {
    fn wrap(&mut self, inner: Box<dyn Stepper>) -> Box<dyn Stepper> {
        let counts = Counts::default();
        self.stages.push((inner.name(), Arc::clone(&counts)));
        Box::new(Counted { inner, steps: 0, counts })
    }
}

/// A row a stage: median and 99th percentile of allocations a step.
///
/// # Errors
/// When the case cannot be built.
pub fn rows() -> anyhow::Result<Vec<BenchRow>> {
    let suite = Suite {
        perceive_hz: PERCEIVE_HZ,
        evaluate_every_s: 1e3,
        core_ml: [2.0, 3.0],
        ..Suite::parse(crate::scenario::STANDARD)?
    };
    let (config, source) = suite.configure()?;
    let simulated = Simulated::new(&source, None, 7)?;
    let folder = tempfile::tempdir().context("no folder for the scans")?;
    let volumes = simulated.scans(folder.path())?;
    let mut counting = Counting::default();
    let mut run = Run::new(&suite, &config, &simulated, &volumes, &[], &mut counting)?;
    while run.now().secs_f64() < SECONDS && run.supervisor.ended().is_none() {
        run.tick()?;
    }
    counting
        .stages
        .iter()
        .map(|(stage, counts)| {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
            counts.sort_unstable();
            let at = |share: f64| {
                let index = ((counts.len() as f64 * share).ceil() as usize).max(1) - 1;
                counts.get(index).map(|n| *n as f64)
            };
            Ok(BenchRow {
                name: format!("allocations_per_step.{stage}"),
                median: at(0.5).with_context(|| format!("{stage} took too few steps to settle"))?,
                p99: at(0.99),
                unit: "allocations",
                n: counts.len(),
            })
        })
        .collect()
}
