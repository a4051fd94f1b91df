//! The primitives that `wake.rs` stands on; its loom model swaps them for loom's.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::thread::{Thread, current};

/// Parks the calling thread, for `limit` at most where there is one.
pub(crate) fn park(limit: Option<std::time::Duration>) {
    match limit {
        Some(limit) => std::thread::park_timeout(limit),
        None => std::thread::park(),
    }
}
