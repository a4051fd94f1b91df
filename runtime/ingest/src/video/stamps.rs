//! What belongs to a picture but does not travel with it through a pipeline: trace, capture and light.
//!
//! A picture is entered under its running time (the one figure that converters and encoders leave alone) and
//! looked up by each branch at its end. **Allocation:** in `new` only. **Invariant:** bounded; the oldest
//! entry goes first, and a picture without an entry is stamped on arrival.

use bregma_core::flow::{Light, TraceId};
use bregma_core::time::Instant;
use gstreamer::ClockTime;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Pictures on their way at one time: two short queues and an encoder hold at most 20.
const CAPACITY: usize = 64;

/// What belongs to one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stamp {
    pub trace: TraceId,
    pub captured: Instant,
    pub light: Light,
}

/// The stamps of pictures on their way.
#[derive(Debug)]
pub(super) struct Stamps {
    camera: u32,
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    last: u64,
    waiting: VecDeque<(ClockTime, Stamp)>,
}

impl Stamps {
    pub fn new(camera: u32) -> Self {
        Self { camera, entries: Mutex::new(Entries { last: 0, waiting: VecDeque::with_capacity(CAPACITY) }) }
    }

    /// Enters a picture; it gets the next trace, which is also its number.
    pub fn enter(&self, running: Option<ClockTime>, captured: Instant, light: Light) -> Stamp {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.last += 1;
        // 2⁴⁰ pictures are 1,000 years at 30 a second; traces of two cameras never meet.
        let stamp = Stamp { trace: TraceId(u64::from(self.camera) << 40 | entries.last), captured, light };
        if let Some(running) = running {
            if entries.waiting.len() == CAPACITY {
                entries.waiting.pop_front();
            }
            entries.waiting.push_back((running, stamp));
        }
        stamp
    }

    /// The stamp of a picture; the newest of equals. It stays, for the other branch.
    pub fn find(&self, running: Option<ClockTime>) -> Option<Stamp> {
        let running = running?;
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.waiting.iter().rev().find(|(at, _)| *at == running).map(|(_, stamp)| *stamp)
    }

    /// How many have been entered.
    pub fn entered(&self) -> u64 {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_branches_find_a_picture_until_it_is_long_gone() {
        let stamps = Stamps::new(2);
        for n in 0..100 {
            stamps.enter(Some(ClockTime::from_mseconds(n)), Instant::from_nanos(n), Light::White);
        }
        let found = stamps.find(Some(ClockTime::from_mseconds(99))).expect("just entered");
        assert_eq!((found.trace, found.captured), (TraceId(2 << 40 | 100), Instant::from_nanos(99)));
        assert_eq!(stamps.find(Some(ClockTime::from_mseconds(99))), Some(found));
        assert_eq!(stamps.find(Some(ClockTime::from_mseconds(35))), None);
        assert_eq!((stamps.find(None), stamps.entered()), (None, 100));
    }
}
