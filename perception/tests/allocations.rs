//! From picture to scene nothing is allocated per frame, once the scans are in.
#![expect(unsafe_code, reason = "counting allocations needs a global allocator, and its trait is unsafe")]

mod theatre;

use bregma_core::flow::{Energy, Light};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use theatre::{Theatre, picture, ranges};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting touches a
// thread-local cell without a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|c| c.set(c.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` by `alloc` above, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_frame_allocates_nothing() {
    count(Theatre::new());
}

#[test]
fn nor_does_one_that_follows_the_brain() {
    count(Theatre::following());
}

fn count(mut theatre: Theatre) {
    let pictures: Vec<_> = (0..12).map(|n| picture(n * 240, Light::Violet, [120, 40, 60])).collect();
    // The brain sinks all the while.
    let images: Vec<_> = (0..12).map(|n| ranges(n * 240, 0.4 * n as f64, |_| None)).collect();
    let mut counted = Vec::with_capacity(16);
    for ((n, picture), image) in (0..).zip(pictures).zip(images) {
        let x = n as f64;
        theatre
            .moves(Energy::CUT, &[(n * 240 + 10, [x * 0.2, 0.0, -10.0 + x]), (n * 240 + 30, [x * 0.2, 0.0, -9.5 + x])]);
        theatre.align_in.ranges.set(n + 1, image);
        let before = COUNT.with(Cell::get);
        let scene = theatre.scene(picture);
        counted.push(COUNT.with(Cell::get) - before);
        assert_eq!(scene.id.0, n + 1);
    }
    assert!(counted[0] > 0, "the scans' arrival allocates: the count works");
    assert_eq!(counted[2..], [0; 10], "allocations a frame: {counted:?}");
}
