//! A plan allocates when it is made, and at its first frame on a pool; never again, on no thread.
#![expect(unsafe_code, reason = "counting allocations needs a global allocator, and its trait is unsafe")]

use bregma_perception::engine::{Calibration, Plan, Pool, Precision};
use bregma_perception::model::{Layer, Model, Shape};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static COUNT: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator with the caller's own arguments; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
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

/// The only test of this file: another one beside it would be counted too.
#[test]
fn a_frame_allocates_nothing_on_any_thread() {
    let shape = Shape { inputs: 5, outputs: 2, base: 8, levels: 3 };
    let layers = shape.layers().into_iter().map(|shape| {
        let weight = (0..shape.weights()).map(|i| ((i * 31 % 17) as f32 - 8.0) * 0.01).collect();
        let bias = vec![0.01; shape.outputs];
        Layer { shape, weight, bias }
    });
    let model = Model { shape, layers: layers.collect() };
    let input: Vec<f32> = (0..5 * 32 * 32 * 32_usize).map(|i| (i * 7 % 13) as f32 * 0.1).collect();
    let (pool, mut calibration) = (Pool::new(3).expect("threads"), Calibration { ranges: Vec::new() });
    let mut logits = vec![0.0; 2 * 32 * 32 * 32];
    let mut plan = Plan::new(&model, 32, Precision::F32, None).expect("a plan");
    let mut state = plan.state();
    plan.calibrate(&pool, &input, &mut state, &mut logits, &mut calibration).expect("runs");
    for precision in [Precision::F32, Precision::Int8] {
        let mut plan = Plan::new(&model, 32, precision, Some(&calibration)).expect("a plan");
        let mut state = plan.state();
        let before = COUNT.load(Ordering::Relaxed);
        plan.run(&pool, &input, &mut state, &mut logits).expect("runs");
        assert!(COUNT.load(Ordering::Relaxed) > before, "the first frame makes scratch: the count works");
        let settled = COUNT.load(Ordering::Relaxed);
        for _ in 0..100 {
            plan.run(&pool, &input, &mut state, &mut logits).expect("runs");
        }
        assert_eq!(COUNT.load(Ordering::Relaxed) - settled, 0, "{precision:?}: allocations in 100 frames");
    }
}
