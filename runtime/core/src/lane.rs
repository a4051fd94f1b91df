//! Lanes: the only way from one thread to another. Bounded, named, lock-free.
//!
//! A lane has one sender and one receiver, a fixed capacity, and says what overflow *does*
//! ([`Overflow`]); every value that did not arrive is counted. **Allocation:** in [`lane`] only.
//! **Source:** the queue is crossbeam's `ArrayQueue`; ours are the policies, the counters and the wake.
//! **Not protected against:** a receiver that never looks; the counters show it.

use crate::wake::Wake;
use crossbeam_queue::ArrayQueue;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// What happens to a value that finds its lane full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest waiting value makes room: video, poses, display.
    DropOldest,
    /// The new value goes back to its sender: plans, motions.
    Refuse,
    /// The new value goes back and the lane is at fault from then on: the recording.
    Fault,
}

/// A value came back: the lane was full.
#[derive(Debug, thiserror::Error)]
#[error("lane `{lane}` is full ({capacity} values)")]
pub struct Full<T> {
    /// The value.
    pub value: T,
    /// The lane's name.
    pub lane: &'static str,
    /// Its capacity.
    pub capacity: usize,
}

#[derive(Debug)]
struct Shared<T> {
    queue: ArrayQueue<T>,
    overflow: Overflow,
    wake: OnceLock<Arc<Wake>>,
    gauge: Arc<Gauge>,
}

/// What a lane has seen; read by reports and displays.
#[derive(Debug)]
pub struct Gauge {
    /// The lane's name.
    pub name: &'static str,
    /// Its capacity.
    pub capacity: usize,
    sent: AtomicU64,
    displaced: AtomicU64,
    refused: AtomicU64,
    faulted: AtomicBool,
}

impl Gauge {
    /// Values that went in.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
    /// Values that went in and were pushed out before they were read.
    #[must_use]
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }
    /// Values that did not go in.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
    /// Whether a value was refused on a lane that may not refuse.
    #[must_use]
    pub fn faulted(&self) -> bool {
        self.faulted.load(Ordering::Acquire)
    }
}

/// The end that values go into.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end that they come out of.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

/// Makes a lane.
///
/// # Panics
/// With no capacity.
#[must_use]
pub fn lane<T>(name: &'static str, capacity: usize, overflow: Overflow) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "lane `{name}` needs a capacity");
    let gauge = Arc::new(Gauge {
        name,
        capacity,
        sent: AtomicU64::new(0),
        displaced: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        faulted: AtomicBool::new(false),
    });
    let shared = Arc::new(Shared { queue: ArrayQueue::new(capacity), overflow, wake: OnceLock::new(), gauge });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl<T> Sender<T> {
    /// Puts a value in and wakes the receiver.
    ///
    /// # Errors
    /// [`Full`] with the value, where the policy refuses.
    pub fn send(&mut self, value: T) -> Result<(), Full<T>> {
        let shared = &*self.shared;
        let gauge = &*shared.gauge;
        match shared.overflow {
            Overflow::DropOldest => {
                if shared.queue.force_push(value).is_some() {
                    gauge.displaced.fetch_add(1, Ordering::Relaxed);
                }
            }
            Overflow::Refuse | Overflow::Fault => {
                if let Err(value) = shared.queue.push(value) {
                    gauge.refused.fetch_add(1, Ordering::Relaxed);
                    if shared.overflow == Overflow::Fault {
                        gauge.faulted.store(true, Ordering::Release);
                    }
                    return Err(Full { value, lane: gauge.name, capacity: gauge.capacity });
                }
            }
        }
        gauge.sent.fetch_add(1, Ordering::Relaxed);
        if let Some(wake) = shared.wake.get() {
            wake.notify();
        }
        Ok(())
    }

    /// The lane's counters.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.shared.gauge)
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }
}

impl<T> Receiver<T> {
    /// The oldest waiting value.
    pub fn take(&mut self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Whether a value waits.
    #[must_use]
    pub fn pending(&self) -> bool {
        !self.shared.queue.is_empty()
    }

    /// From now on each value notifies `wake`. Once per lane.
    pub fn wakes(&mut self, wake: &Arc<Wake>) {
        let _ = self.shared.wake.set(Arc::clone(wake));
    }

    /// The lane's counters.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.shared.gauge)
    }

    /// Whether the sender is gone; what waits can still be taken.
    #[must_use]
    pub fn closed(&self) -> bool {
        Arc::strong_count(&self.shared) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn drop_oldest_keeps_the_newest_and_counts() {
        let (mut tx, mut rx) = lane("video", 2, Overflow::DropOldest);
        for n in 0..5 {
            tx.send(n).expect("never refuses");
        }
        assert_eq!((rx.take(), rx.take(), rx.take()), (Some(3), Some(4), None));
        assert_eq!((rx.gauge().sent(), rx.gauge().displaced()), (5, 3));
    }

    #[test]
    fn refuse_gives_the_value_back() {
        let (mut tx, mut rx) = lane("plans", 1, Overflow::Refuse);
        tx.send("a").expect("room");
        let back = tx.send("b").expect_err("full");
        assert_eq!(back.value, "b");
        assert_eq!(back.to_string(), "lane `plans` is full (1 values)");
        assert!(!tx.gauge().faulted());
        assert_eq!(rx.take(), Some("a"));
    }

    #[test]
    fn fault_latches() {
        let (mut tx, mut rx) = lane("recording", 1, Overflow::Fault);
        tx.send(1).expect("room");
        assert!(tx.send(2).is_err());
        rx.take();
        tx.send(3).expect("room again");
        assert!(tx.gauge().faulted(), "a hole in the recording is not forgotten");
    }

    #[test]
    fn each_end_knows_when_the_other_is_gone() {
        let (mut tx, mut rx) = lane("x", 1, Overflow::Refuse);
        tx.send(1).expect("room");
        drop(tx);
        assert!(rx.closed());
        assert_eq!(rx.take(), Some(1));
    }

    proptest! {
        #[test]
        fn a_lane_is_a_bounded_queue(ops in prop::collection::vec(prop::option::of(0..100u8), 0..60), capacity in 1..5usize) {
            let (mut tx, mut rx) = lane("model", capacity, Overflow::DropOldest);
            let mut model = VecDeque::new();
            let mut displaced = 0;
            for op in ops {
                if let Some(value) = op {
                    if model.len() == capacity {
                        model.pop_front();
                        displaced += 1;
                    }
                    model.push_back(value);
                    tx.send(value).expect("never refuses");
                } else {
                    prop_assert_eq!(rx.take(), model.pop_front());
                }
            }
            prop_assert_eq!(rx.gauge().displaced(), displaced);
        }
    }
}
