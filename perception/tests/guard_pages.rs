//! Kernels with forbidden pages beside all their memory: one load or store outside it ends this program.
#![expect(unsafe_code, reason = "memory between forbidden pages needs a global allocator, and the system's calls")]
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]

mod kernels;

use bregma_perception::engine::Pool;
use kernels::{ODD, distances, layers, plans, values};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

unsafe extern "C" {
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, file: c_int, offset: i64) -> *mut c_void;
    fn mprotect(at: *mut c_void, length: usize, protection: c_int) -> c_int;
    fn munmap(at: *mut c_void, length: usize) -> c_int;
}

const PAGE: usize = 4096;
/// Smaller ones come from the system: there may be only some 65,000 mappings, and kernels' memory is large.
const GUARDED_MIN: usize = 256;
const READ_WRITE: c_int = 3;
const PRIVATE_ANONYMOUS: c_int = 0x22;

/// Puts each piece of memory at the end of its pages, before a forbidden one; or at the beginning, behind one.
struct Guarded;

static AT_THE_END: AtomicBool = AtomicBool::new(true);

/// Whether it is guarded; and its length in whole pages, with a forbidden one on both sides.
fn pages(layout: Layout) -> Option<usize> {
    (layout.size() >= GUARDED_MIN && layout.align() <= PAGE).then(|| layout.size().next_multiple_of(PAGE) + 2 * PAGE)
}

// SAFETY: a mapping of its own for each piece, large enough and aligned; `dealloc` finds the mapping from the piece,
// which lies on its second page or at most a page's length before the last.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(length) = pages(layout) else {
            // SAFETY: the caller's contract.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: a new mapping, and its first and last page forbidden.
        unsafe {
            let base = mmap(null_mut(), length, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0);
            if base as isize == -1 {
                return null_mut();
            }
            let base = base.cast::<u8>();
            if mprotect(base.cast(), PAGE, 0) != 0 || mprotect(base.add(length - PAGE).cast(), PAGE, 0) != 0 {
                return null_mut();
            }
            let room = length - 2 * PAGE - layout.size();
            let off = if AT_THE_END.load(Ordering::Relaxed) { room & !(layout.align() - 1) } else { 0 };
            base.add(PAGE + off)
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some(length) = pages(layout) else {
            // SAFETY: it came from `System`, since its layout is not guarded.
            return unsafe { System.dealloc(at, layout) };
        };
        let first = (at as usize & !(PAGE - 1)) - PAGE;
        // SAFETY: what `alloc` mapped for this piece: it begins on the second page, since less than one is left.
        unsafe { munmap(at.wrapping_sub(at as usize - first).cast(), length) };
    }
}

#[global_allocator]
static GUARDED: Guarded = Guarded;

/// The other test of this file reads no memory of its own process.
#[test]
fn no_kernel_touches_what_lies_beside_its_memory() {
    for at_the_end in [true, false] {
        AT_THE_END.store(at_the_end, Ordering::Relaxed);
        let pool = Pool::new(2).expect("threads");
        layers(&pool, &ODD);
        layers(&pool, &[[2, 9, 33], [8, 8, 16]]);
        plans(&pool, &[[4, 8], [8, 16], [12, 24]]);
        distances();
    }
}

/// The guard itself works: a read behind a piece ends a program, seen from outside.
#[test]
fn a_read_behind_the_memory_ends_the_program() {
    const CHILD: &str = "BREGMA_READ_BEHIND";
    if std::env::var_os(CHILD).is_some() {
        let piece = values(1024);
        // SAFETY: none: the page behind it is forbidden, which is what is tried.
        let behind = unsafe { piece.as_ptr().add(1024).read_volatile() };
        std::process::exit(if behind.is_nan() { 3 } else { 4 });
    }
    let this = std::env::current_exe().expect("this program");
    let mut child = std::process::Command::new(this);
    child.args(["--exact", "a_read_behind_the_memory_ends_the_program"]).env(CHILD, "1");
    let status = child.output().expect("a program").status;
    assert_eq!(status.code(), None, "killed by a signal, not ended by itself: {status}");
}
