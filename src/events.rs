//! What happened, in words: the last few hundred events, for the console, the display and the report.
//!
//! Bounded; the same words are told once a second at most, so that a device that fails 250 times a second
//! does not push out everything else.

use bregma_core::time::{Duration, Instant};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most events kept.
const KEPT_MAX: usize = 256;
/// The same words are told again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Number, from 1.
    pub number: u64,
    /// When.
    pub at: Instant,
    /// What.
    pub words: String,
}

/// A shared, bounded list of events.
#[derive(Debug, Clone, Default)]
pub struct Events {
    list: Arc<Mutex<Told>>,
}

#[derive(Debug, Default)]
struct Told {
    events: VecDeque<Event>,
    last: u64,
}

impl Events {
    fn told(&self) -> MutexGuard<'_, Told> {
        // The list is whole after every push, whatever panicked while holding it.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells an event.
    pub fn say(&self, at: Instant, words: impl Into<String>) {
        let words = words.into();
        let mut told = self.told();
        let lately = |e: &&Event| at.since(e.at).is_none_or(|age| age < AGAIN_AFTER);
        if told.events.iter().rev().take_while(lately).any(|e| e.words == words) {
            return;
        }
        told.last += 1;
        let number = told.last;
        if told.events.len() == KEPT_MAX {
            told.events.pop_front();
        }
        told.events.push_back(Event { number, at, words });
    }

    /// Those after a number.
    #[must_use]
    pub fn since(&self, number: u64) -> Vec<Event> {
        self.told().events.iter().filter(|e| e.number > number).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_told_once_a_second() {
        let events = Events::default();
        for ms in [0, 10, 999, 1001, 1500] {
            events.say(Instant::START + Duration::from_millis(ms), "arm: gone");
        }
        events.say(Instant::START + Duration::from_millis(1501), "arm: back");
        let words: Vec<_> = events.since(0).into_iter().map(|e| (e.number, e.words)).collect();
        assert_eq!(words, [(1, "arm: gone".into()), (2, "arm: gone".into()), (3, "arm: back".to_owned())]);
        assert_eq!(events.since(2).len(), 1);
    }

    #[test]
    fn the_list_is_bounded() {
        let events = Events::default();
        for n in 0..1000 {
            events.say(Instant::START, n.to_string());
        }
        assert_eq!(events.since(0).len(), KEPT_MAX);
    }
}
