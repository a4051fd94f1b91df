//! `wake.rs` again, on loom's threads and atomics: every interleaving is tried.

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering};
    pub(super) use loom::thread::{Thread, current};

    pub(super) fn park(_limit: Option<std::time::Duration>) {
        loom::thread::park();
    }
    pub(super) fn spin_loop() {
        loom::thread::yield_now();
    }
}

#[path = "wake.rs"]
#[expect(clippy::duplicate_mod, reason = "the same source on two sets of primitives is the point")]
mod wake;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};

/// Two producers store an item each and notify; the consumer looks, waits, looks again. If a
/// notification could be lost, some interleaving would leave it parked for ever, and loom reports a
/// deadlock.
#[test]
fn no_notification_is_lost() {
    loom::model(|| {
        let wake = Arc::new(wake::Wake::new());
        let items = Arc::new(AtomicUsize::new(0));
        let (own, own_items) = (Arc::clone(&wake), Arc::clone(&items));
        let consumer = loom::thread::spawn(move || {
            own.bind();
            while own_items.load(Ordering::Acquire) < 2 {
                assert!(own.wait(0, None));
            }
        });
        let (other, other_items) = (Arc::clone(&wake), Arc::clone(&items));
        let producer = loom::thread::spawn(move || {
            other_items.fetch_add(1, Ordering::Release);
            other.notify();
        });
        items.fetch_add(1, Ordering::Release);
        wake.notify();
        producer.join().expect("no panic");
        consumer.join().expect("no panic");
    });
}

/// A consumer that binds late still sees what was notified before.
#[test]
fn a_notification_before_binding_is_kept() {
    loom::model(|| {
        let wake = Arc::new(wake::Wake::new());
        let other = Arc::clone(&wake);
        let producer = loom::thread::spawn(move || other.notify());
        producer.join().expect("no panic");
        wake.bind();
        assert!(wake.wait(0, None));
        assert!(!wake.take());
    });
}
