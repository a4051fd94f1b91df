//! Counts what each thread allocates, so that "no allocation per frame" is measured and not hoped.
//!
//! **Cost:** one thread-local increment an allocation.

#![expect(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; its blocks pass straight on to the system's allocator"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a count.
pub struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of the calling thread since it began.
#[must_use]
pub fn of_this_thread() -> u64 {
    COUNT.with(Cell::get)
}

// SAFETY: every call is passed on unchanged to `System`, which keeps GlobalAlloc's contract; the count is a
// plain thread-local integer without a destructor, and is not touched while the thread is being torn down.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get().wrapping_add(1)));
        // SAFETY: `layout` is the caller's, whose contract is System's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get().wrapping_add(1)));
        // SAFETY: `layout` is the caller's, whose contract is System's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get().wrapping_add(1)));
        // SAFETY: `at` came from System with `layout`; the caller keeps the rest of the contract.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above, that is from System, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_allocation_is_counted() {
        let before = super::of_this_thread();
        let boxed = std::hint::black_box(Box::new(7_u64));
        assert!(super::of_this_thread() > before, "{boxed}");
    }
}
