//! Topics: what a stage publishes, numbered, to every lane that wants it.
//!
//! The number is the topic's own, the same in every lane and in the recording; a gap in a lane is a value
//! that was displaced. **Invariant:** publishing to a tap never blocks the flow.

use crate::lane::{Gauge, Overflow, Receiver, Sender, lane};
use crate::wake::Wake;
use std::sync::Arc;

/// A message and its number in its topic, from 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered<T> {
    /// Number of the message.
    pub number: u64,
    /// The message.
    pub value: T,
}

/// The end of a topic that a stage writes to.
pub struct Publisher<T> {
    topic: u8,
    name: &'static str,
    last: u64,
    lanes: Vec<Sender<Numbered<T>>>,
    tap: Option<Tap<T>>,
}

/// Told of every message of a topic, on the publisher's thread.
type Tap<T> = Box<dyn FnMut(u64, &T) + Send>;

/// The end of a topic that a stage reads from: one lane.
#[derive(Debug)]
pub struct Subscriber<T> {
    topic: u8,
    lane: Receiver<Numbered<T>>,
}

impl<T: Clone> Publisher<T> {
    /// A topic without readers.
    #[must_use]
    pub fn new(topic: u8, name: &'static str) -> Self {
        Self { topic, name, last: 0, lanes: Vec::new(), tap: None }
    }

    /// A new lane from here. Its name is that of the topic and its reader.
    pub fn subscribe(&mut self, lane_name: &'static str, capacity: usize, overflow: Overflow) -> Subscriber<T> {
        let (sender, receiver) = lane(lane_name, capacity, overflow);
        self.lanes.push(sender);
        Subscriber { topic: self.topic, lane: receiver }
    }

    /// Has `tap` told of every message, as the recording is. It must not block.
    pub fn tap(&mut self, tap: impl FnMut(u64, &T) + Send + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// Sends a message down every lane. A lane that refuses counts it; the others still get it.
    pub fn publish(&mut self, value: T) {
        self.last += 1;
        let number = self.last;
        if let Some(tap) = &mut self.tap {
            tap(number, &value);
        }
        let Some((last, others)) = self.lanes.split_last_mut() else { return };
        for lane in others {
            let _ = lane.send(Numbered { number, value: value.clone() });
        }
        let _ = last.send(Numbered { number, value });
    }

    /// The topic's number.
    #[must_use]
    pub const fn topic(&self) -> u8 {
        self.topic
    }

    /// The topic's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The counters of all its lanes.
    pub fn gauges(&self) -> impl Iterator<Item = Arc<Gauge>> + '_ {
        self.lanes.iter().map(Sender::gauge)
    }
}

impl<T> Subscriber<T> {
    /// The oldest waiting message.
    pub fn take(&mut self) -> Option<Numbered<T>> {
        self.lane.take()
    }
    /// Whether one waits.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.lane.pending()
    }
    /// The topic's number.
    #[must_use]
    pub const fn topic(&self) -> u8 {
        self.topic
    }
    /// From now on each message notifies `wake`.
    pub fn wakes(&mut self, wake: &Arc<Wake>) {
        self.lane.wakes(wake);
    }
    /// Whether the publisher is gone.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.lane.closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{All, Latest, Saw, SawAll};

    #[test]
    fn every_lane_sees_the_same_numbers() {
        let mut topic = Publisher::new(3, "scenes");
        let mut plan = topic.subscribe("scenes to plan", 1, Overflow::DropOldest);
        let mut record = topic.subscribe("scenes to record", 8, Overflow::Fault);
        for scene in ["a", "b", "c"] {
            topic.publish(scene);
        }
        let (mut latest, mut all, mut saw) = (Latest::default(), All::with_capacity(8), SawAll::default());
        latest.fill(&mut plan, &mut saw);
        all.fill(&mut record, &mut saw);
        assert_eq!((latest.get(), latest.number(), latest.renewed()), (Some(&"c"), 3, true));
        assert_eq!(all.iter().copied().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(saw.as_slice(), [Saw { topic: 3, first: 3, last: 3 }, Saw { topic: 3, first: 1, last: 3 }]);
        saw.clear();
        latest.fill(&mut plan, &mut saw);
        assert_eq!((latest.get(), latest.renewed()), (Some(&"c"), false));
        assert_eq!(topic.gauges().map(|g| g.displaced()).sum::<u64>(), 2);
    }
}
