//! Park and wake: how a stage's thread waits for its lanes.
//!
//! One consumer waits on a [`Wake`], any number of producers notify it. **Invariant:** a notification that
//! comes between the consumer's look at its lanes and its parking is not lost; the loom model in
//! `wake_model.rs` tries every interleaving. **Cost:** a notification to a thread that is awake is one
//! atomic swap.

use super::sync::{AtomicBool, Ordering, Thread, current, park, spin_loop};
use std::sync::OnceLock;

/// Where one consumer waits.
#[derive(Debug)]
pub struct Wake {
    signalled: AtomicBool,
    consumer: OnceLock<Thread>,
}

impl Wake {
    /// Nobody waits yet.
    #[must_use]
    pub fn new() -> Self {
        Self { signalled: AtomicBool::new(false), consumer: OnceLock::new() }
    }

    /// Makes the calling thread the consumer. A notification that came before is kept.
    pub fn bind(&self) {
        let _ = self.consumer.set(current());
    }

    /// Wakes the consumer, or tells it not to fall asleep.
    pub fn notify(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.consumer.get()
        {
            thread.unpark();
        }
    }

    /// Takes a notification that is there already.
    pub fn take(&self) -> bool {
        self.signalled.swap(false, Ordering::AcqRel)
    }

    /// Waits until notified, or as long as `park` sleeps when it has a limit of its own: first `spins`
    /// looks without sleeping, then parked. Returns whether it was notified; with a limit it may also
    /// return early without having been, because an earlier notification left its token behind.
    pub fn wait(&self, spins: u32, limit: Option<std::time::Duration>) -> bool {
        for _ in 0..spins {
            if self.take() {
                return true;
            }
            spin_loop();
        }
        loop {
            if self.take() {
                return true;
            }
            park(limit);
            if limit.is_some() {
                return self.take();
            }
        }
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self::new()
    }
}
