//! A step allocates nothing, and takes far less than its budget.
//!
//! The allocator counts on the thread of the test alone, so that others beside it do not matter.

#![expect(unsafe_code, reason = "a global allocator can only be written with unsafe")]

use super::rig::{PERIOD, Rig};
use bregma_core::flow::{GateState, Order};
use bregma_core::{Clock, Duration, RealClock};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is handed to the system's allocator unchanged; the counter is a plain cell of the
// thread, initialised at compile time, so that counting neither allocates nor races.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above with the same layout, as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

fn allocated() -> u64 {
    ALLOCATED.with(Cell::get)
}

#[test]
fn no_step_allocates() {
    let made = allocated();
    drop(std::hint::black_box(Box::new([0_u8; 64])));
    assert_eq!(allocated(), made + 1, "the counter counts");

    let mut rig = Rig::armed();
    let (first, refused) = (rig.approval(1, 0.05, 200), rig.approval(7, 0.05, 10));
    rig.approve(first);
    let mut states = Vec::with_capacity(2000);
    for step in 0..2000 {
        match step {
            60 => rig.pedal = [false, false],
            700 => rig.pedal = [true, true],
            705 => rig.order(Order::Retract),
            1500 => rig.approve(refused.clone()),
            1600 => rig.order(Order::ClearFault),
            1700 => rig.order(Order::Disarm),
            _ => {}
        }
        rig.prepare(PERIOD);
        let before = allocated();
        rig.gate.step(rig.now, &rig.input, &mut rig.out);
        assert_eq!(allocated(), before, "step {step}");
        rig.settle();
        states.push(rig.sent().state);
    }
    for state in [GateState::Disarmed, GateState::Armed, GateState::Active, GateState::Hold, GateState::Fault] {
        assert!(states.contains(&state), "{state:?} was not reached");
    }
}

#[test]
fn a_step_takes_far_less_than_its_budget() {
    let clock = RealClock::start();
    let mut rig = Rig::armed();
    let mut times = Vec::with_capacity(4000);
    let mut accepting = Vec::with_capacity(8);
    for sequence in 1..=8 {
        // Path and retract path of 4 s each; the accepting step hashes both, in proportion to their knots.
        let approval = rig.approval(sequence, if sequence % 2 == 1 { 0.02 } else { -0.02 }, 1000);
        rig.approve(approval);
        for step in 0..1001 {
            rig.prepare(PERIOD);
            let before = clock.now();
            rig.gate.step(rig.now, &rig.input, &mut rig.out);
            let took = clock.now().since(before).unwrap_or(Duration::ZERO);
            rig.settle();
            if step == 0 { &mut accepting } else { &mut times }.push(took);
        }
        assert_eq!(rig.sent().finished.0, sequence);
    }
    times.sort_unstable();
    accepting.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    eprintln!("step p50 {p50}, p99 {p99}; step that accepts 8 s of paths: median {}", accepting[4]);
    assert!(p99 < Duration::from_micros(200), "p99 {p99}");
    assert!(accepting[4] < Duration::from_millis(1), "the accepting step takes {}", accepting[4]);
}
