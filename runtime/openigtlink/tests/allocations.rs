//! Decoding, encoding, and walking through what was decoded allocate nothing, whatever the type.
//!
//! The allocator counts on the thread of the test alone, so that others beside it do not matter.

#![expect(unsafe_code, reason = "a global allocator can only be written with unsafe")]

mod made;

use bregma_openigtlink::{Content, DeviceName, Framer, Outgoing, Timestamp, decode, encode};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is handed to the system's allocator unchanged; the counter is a plain cell of the thread,
// initialised at compile time, so that counting neither allocates nor races. `realloc` comes by way of `alloc`.
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

/// Reads every element of every list, and says how many there were.
fn walk(content: &Content<'_>) -> usize {
    match content {
        Content::Tools(list) => list.iter().count(),
        Content::TurnedTools(list) => list.iter().count(),
        Content::Images(list) => list.iter().count(),
        Content::Labels(list) => list.iter().count(),
        Content::Points(list) => list.iter().count(),
        Content::Trajectories(list) => list.iter().count(),
        Content::Capability(list) => list.iter().count(),
        Content::Videos(list) => list.iter().count(),
        Content::Sensor(sensor) => sensor.values.iter().count(),
        Content::NdArray(array) => array.size.iter().count() + array.values.len(),
        Content::Bind(bind) => bind.iter().filter(|child| child.decode().is_ok()).count(),
        Content::PolyData(surface) => {
            surface.points.iter().count()
                + surface.polygons.iter().flatten().count()
                + surface.attributes.iter().flat_map(|attribute| attribute.values).count()
        }
        _ => 0,
    }
}

#[test]
fn neither_decoding_nor_encoding_allocates() {
    let before = allocated();
    drop(std::hint::black_box(Box::new([0_u8; 64])));
    assert_eq!(allocated(), before + 1, "the counter counts");

    let mut walked = 0;
    for kind in 0..made::KINDS {
        for seed in 0..20 {
            made::with(kind, seed, |content| {
                let message = Outgoing::plain(DeviceName::constant("a"), Timestamp(seed), content);
                let mut wire = [0; 8192];
                let before = allocated();
                let length = encode(&message, &mut wire).expect("fits");
                let back = decode(&wire[..length], 8192).expect("was just written");
                walked += walk(&back.content);
                let again = Outgoing::plain(back.header.device, back.header.timestamp, back.content);
                let mut once_more = [0; 8192];
                assert_eq!(encode(&again, &mut once_more), Ok(length));
                assert_eq!(allocated(), before, "kind {kind}, seed {seed}");
                assert!(once_more == wire, "kind {kind}, seed {seed}");
            });
        }
    }
    assert!(walked > 500, "{walked} elements were walked through");
}

#[test]
fn a_framer_that_is_warm_allocates_nothing() {
    let messages: Vec<_> = (0..made::KINDS).map(|kind| made::message(kind, 1)).collect();
    let mut framer = Framer::new(8192);
    let (mut heard, mut settled) = (0, 0);
    for round in 0..3 {
        if round == 1 {
            settled = allocated();
        }
        for wire in &messages {
            let mut left = wire.as_slice();
            while !left.is_empty() {
                let taken = framer.push(&left[..left.len().min(100)]);
                left = &left[taken..];
                while let Some(message) = framer.next_message() {
                    heard += usize::from(message.is_ok());
                }
            }
        }
    }
    assert_eq!(allocated(), settled, "the buffer has grown to the longest message in the first round");
    assert_eq!(heard, 3 * made::KINDS);
}
