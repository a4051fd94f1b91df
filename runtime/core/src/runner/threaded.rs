//! One named thread a stage, on the real clock. Park and wake, spinning 20 µs at most.

use super::{StageStats, Stepper, Timing};
use crate::time::{Clock, RealClock};
use crate::wake::Wake;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Looks at the flag before parking. About 20 µs on the machines at hand at 10 to 40 ns a look with a
/// pause instruction; on two cores a longer spin would take the time from the stage that is waited for.
const SPINS: u32 = 500;
/// Longest sleep: a stage looks for the end of the session this often.
const NAP: std::time::Duration = std::time::Duration::from_millis(50);

struct Running {
    thread: JoinHandle<()>,
    wake: Arc<Wake>,
    name: &'static str,
    stats: Arc<StageStats>,
}

/// The threaded executor.
pub struct Threaded {
    clock: RealClock,
    ending: Arc<AtomicBool>,
    threads: Vec<Running>,
}

impl Threaded {
    /// On a real clock.
    #[must_use]
    pub fn new(clock: RealClock) -> Self {
        Self { clock, ending: Arc::new(AtomicBool::new(false)), threads: Vec::new() }
    }

    /// Starts a stage's thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(&mut self, node: impl Stepper + 'static) -> std::io::Result<()> {
        self.spawn_prepared(node, || {})
    }

    /// As [`spawn`](Self::spawn); the new thread first calls `prepare`, to ask the system for its priority.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn_prepared(
        &mut self,
        mut node: impl Stepper + 'static,
        prepare: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let wake = Arc::new(Wake::new());
        node.wakes(&wake);
        let (name, stats) = (node.name(), node.figures());
        let (ending, clock, own) = (Arc::clone(&self.ending), self.clock.clone(), Arc::clone(&wake));
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            own.bind();
            prepare();
            while !ending.load(Ordering::Acquire) {
                let now = clock.now();
                if node.due(now) {
                    node.step(now, Timing::Real(&clock));
                    continue;
                }
                match node.next_due() {
                    None => drop(own.wait(SPINS, Some(NAP))),
                    Some(due) => {
                        let left = due.since(now).map_or(0, crate::time::Duration::nanos);
                        own.wait(0, Some(NAP.min(std::time::Duration::from_nanos(left))));
                    }
                }
            }
        })?;
        self.threads.push(Running { thread, wake, name, stats });
        Ok(())
    }

    /// Figures of every stage.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, Arc<StageStats>)> + '_ {
        self.threads.iter().map(|r| (r.name, Arc::clone(&r.stats)))
    }

    /// Ends every stage after its present step and waits for their threads.
    pub fn end(self) {
        self.ending.store(true, Ordering::Release);
        for Running { thread, wake, .. } in self.threads {
            wake.notify();
            // A panic inside a step was caught by the node; one here is a fault of the runner itself.
            assert!(thread.join().is_ok(), "a stage's runner panicked");
        }
    }
}
