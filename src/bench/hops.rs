//! One hop between two threads: half of a round trip, with both sides spinning or both parked.
//!
//! Every channel carries a `u64` back and forth in the same way; the rows differ in the channel only.
//! Predicted: a spinning hop costs one cache line's way between two cores, about 0.1 µs; a parked one a
//! futex wake-up, 5 to 20 µs.

use crate::bench::row;
use crate::report::BenchRow;
use bregma_core::lane::{Overflow, lane};
use bregma_core::time::{Clock, Duration, RealClock};
use bregma_core::wake::Wake;
use std::sync::Arc;

/// Round trips measured, spinning.
const SPINNING: usize = 200_000;
/// Round trips measured, parked.
const PARKED: usize = 20_000;
/// Round trips before measuring.
const WARM_UP: usize = 1_000;

/// One side of a back-and-forth.
pub trait Ends: Send {
    /// Sends a value.
    fn send(&mut self, value: u64);
    /// Takes the next, however this channel waits.
    fn take(&mut self) -> u64;
}

/// Times `n` round trips between two threads; each time is of a whole round trip.
fn round_trips(mut near: impl Ends, mut far: impl Ends, n: usize) -> Vec<Duration> {
    let total = n + WARM_UP;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..total {
                let value = far.take();
                far.send(value);
            }
        });
        let clock = RealClock::start();
        let mut times = Vec::with_capacity(n);
        for round in 0..total as u64 {
            let before = clock.now();
            near.send(round);
            let back = near.take();
            let after = clock.now();
            assert_eq!(back, round, "the channel keeps order");
            if round >= WARM_UP as u64 {
                times.push(after.since(before).unwrap_or(Duration::ZERO));
            }
        }
        times
    })
}

fn hop(name: &str, near: impl Ends, far: impl Ends, n: usize) -> BenchRow {
    row(name, &mut round_trips(near, far, n), 2.0)
}

/// Our lanes; with a wake they park, without one they spin.
struct OurLanes {
    out: bregma_core::lane::Sender<u64>,
    inn: bregma_core::lane::Receiver<u64>,
    wake: Option<Arc<Wake>>,
    bound: bool,
}

impl Ends for OurLanes {
    fn send(&mut self, value: u64) {
        assert!(self.out.send(value).is_ok(), "one value at a time fits");
    }
    fn take(&mut self) -> u64 {
        loop {
            if let Some(value) = self.inn.take() {
                return value;
            }
            match &self.wake {
                None => std::hint::spin_loop(),
                Some(wake) => {
                    if !self.bound {
                        wake.bind();
                        self.bound = true;
                        continue;
                    }
                    wake.wait(0, Some(std::time::Duration::from_secs(1)));
                }
            }
        }
    }
}

fn ours(parked: bool) -> (OurLanes, OurLanes) {
    let (to_far, mut from_near) = lane("there", 8, Overflow::Refuse);
    let (to_near, mut from_far) = lane("back", 8, Overflow::Refuse);
    let wake_for = |receiver: &mut bregma_core::lane::Receiver<u64>| {
        parked.then(|| {
            let wake = Arc::new(Wake::new());
            receiver.wakes(&wake);
            wake
        })
    };
    let (near_wake, far_wake) = (wake_for(&mut from_far), wake_for(&mut from_near));
    (
        OurLanes { out: to_far, inn: from_far, wake: near_wake, bound: false },
        OurLanes { out: to_near, inn: from_near, wake: far_wake, bound: false },
    )
}

/// Any pair of functions as an end.
struct Through<S, T> {
    send: S,
    take: T,
}

impl<S: FnMut(u64) + Send, T: FnMut() -> u64 + Send> Ends for Through<S, T> {
    fn send(&mut self, value: u64) {
        (self.send)(value);
    }
    fn take(&mut self) -> u64 {
        (self.take)()
    }
}

fn std_channels(parked: bool) -> (impl Ends, impl Ends) {
    let (to_far, from_near) = std::sync::mpsc::sync_channel::<u64>(8);
    let (to_near, from_far) = std::sync::mpsc::sync_channel::<u64>(8);
    let take = move |from: std::sync::mpsc::Receiver<u64>| {
        move || {
            if parked {
                return from.recv().unwrap_or(u64::MAX);
            }
            loop {
                if let Ok(value) = from.try_recv() {
                    return value;
                }
                std::hint::spin_loop();
            }
        }
    };
    let send = |to: std::sync::mpsc::SyncSender<u64>| move |value| assert!(to.send(value).is_ok());
    (Through { send: send(to_far), take: take(from_far) }, Through { send: send(to_near), take: take(from_near) })
}

#[cfg(feature = "bench-peers")]
fn crossbeam_channels(parked: bool) -> (impl Ends, impl Ends) {
    let (to_far, from_near) = crossbeam_channel::bounded::<u64>(8);
    let (to_near, from_far) = crossbeam_channel::bounded::<u64>(8);
    let take = move |from: crossbeam_channel::Receiver<u64>| {
        move || {
            if parked {
                return from.recv().unwrap_or(u64::MAX);
            }
            loop {
                if let Ok(value) = from.try_recv() {
                    return value;
                }
                std::hint::spin_loop();
            }
        }
    };
    let send = |to: crossbeam_channel::Sender<u64>| move |value| assert!(to.send(value).is_ok());
    (Through { send: send(to_far), take: take(from_far) }, Through { send: send(to_near), take: take(from_near) })
}

/// iceoryx2's publish-subscribe between threads of one process, spinning (it has no blocking take).
#[cfg(feature = "bench-peers")]
fn iceoryx2_services() -> anyhow::Result<(impl Ends, impl Ends)> {
    use iceoryx2::prelude::*;
    let node = NodeBuilder::new().create::<local_threadsafe::Service>()?;
    let service = |name: &str| -> anyhow::Result<_> {
        let name = ServiceName::new(name)?;
        Ok(node.service_builder(&name).publish_subscribe::<u64>().open_or_create()?)
    };
    let (there, back) = (service("bregma/bench/there")?, service("bregma/bench/back")?);
    let (to_far, from_near) = (there.publisher_builder().create()?, there.subscriber_builder().create()?);
    let (to_near, from_far) = (back.publisher_builder().create()?, back.subscriber_builder().create()?);
    let send = |to: iceoryx2::port::publisher::Publisher<local_threadsafe::Service, u64, ()>| {
        move |value| assert!(to.send_copy(value).is_ok())
    };
    let take = |from: iceoryx2::port::subscriber::Subscriber<local_threadsafe::Service, u64, ()>| {
        move || loop {
            if let Ok(Some(sample)) = from.receive() {
                return *sample;
            }
            std::hint::spin_loop();
        }
    };
    Ok((Through { send: send(to_far), take: take(from_far) }, Through { send: send(to_near), take: take(from_near) }))
}

/// All hops, one after the other.
///
/// # Errors
/// When a peer cannot be set up.
pub fn rows() -> anyhow::Result<Vec<BenchRow>> {
    let mut rows = Vec::new();
    let (near, far) = ours(false);
    rows.push(hop("lane_hop", near, far, SPINNING));
    let (near, far) = std_channels(false);
    rows.push(hop("std_sync_channel.lane_hop", near, far, SPINNING));
    #[cfg(feature = "bench-peers")]
    {
        let (near, far) = crossbeam_channels(false);
        rows.push(hop("crossbeam_channel.lane_hop", near, far, SPINNING));
        let (near, far) = iceoryx2_services()?;
        rows.push(hop("iceoryx2.lane_hop", near, far, SPINNING));
    }
    let (near, far) = ours(true);
    rows.push(hop("lane_hop_parked", near, far, PARKED));
    let (near, far) = std_channels(true);
    rows.push(hop("std_sync_channel.lane_hop_parked", near, far, PARKED));
    #[cfg(feature = "bench-peers")]
    {
        let (near, far) = crossbeam_channels(true);
        rows.push(hop("crossbeam_channel.lane_hop_parked", near, far, PARKED));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_comes_back_spinning_and_parked() {
        for parked in [false, true] {
            let (near, far) = ours(parked);
            assert_eq!(round_trips(near, far, 100).len(), 100);
        }
    }
}
