//! Memory that kernels work in: aligned, owned in one place, handed to them as pointers.
//!
//! **Allocation:** when made, and when [`Scratch::fit`] has to grow; never while kernels run.
#![expect(unsafe_code, reason = "pointers that cross threads; who may touch what is stated where they are made")]

use super::simd::LANES;

/// A cache line of floats.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

/// Lines, zero when made.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Vec<Line>);

impl Lines {
    pub(super) fn new(floats: usize) -> Self {
        Self(vec![Line([0.0; LANES]); floats.div_ceil(LANES)])
    }

    pub(super) fn floats(&self) -> &[f32] {
        // SAFETY: a line is exactly 16 floats, without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LANES) }
    }

    pub(super) fn floats_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * LANES) }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.0.as_slice())
    }
}

/// A piece of memory for each worker of a pool.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    lines: Lines,
    each: usize,
    workers: usize,
}

impl Scratch {
    /// Makes room for `floats` floats for each of `workers`.
    pub(super) fn fit(&mut self, workers: usize, floats: usize) {
        let each = floats.next_multiple_of(LANES);
        if workers > self.workers || each > self.each {
            (self.workers, self.each) = (workers.max(self.workers), each.max(self.each));
            self.lines = Lines::new(self.workers * self.each);
        }
    }

    /// Where each worker's piece is.
    pub(super) fn share(&mut self) -> Shared {
        Shared { base: Mutable(self.lines.floats_mut().as_mut_ptr()), each: self.each, workers: self.workers }
    }
}

/// Pieces of a [`Scratch`], borrowed for one job.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    base: Mutable<f32>,
    each: usize,
    workers: usize,
}

impl Shared {
    /// The piece of one worker, aligned to 64 bytes, and its length.
    ///
    /// # Panics
    /// When the pool has more workers than pieces were made.
    pub(super) fn of(&self, worker: usize) -> (*mut f32, usize) {
        assert!(worker < self.workers, "a piece for each worker");
        (self.base.get().wrapping_add(worker * self.each), self.each)
    }
}

/// A pointer that tasks on several threads write through, each only where no other does.
#[derive(Debug)]
pub(super) struct Mutable<T>(pub(super) *mut T);

/// A pointer that tasks on several threads read through.
#[derive(Debug)]
pub(super) struct Readable<T>(pub(super) *const T);

impl<T> Clone for Mutable<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Mutable<T> {}
impl<T> Clone for Readable<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Readable<T> {}

// SAFETY: only an address crosses; each use states why nobody else writes there.
unsafe impl<T> Send for Mutable<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Mutable<T> {}
// SAFETY: what is read is not written while a job runs.
unsafe impl<T> Send for Readable<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Readable<T> {}

impl<T> Mutable<T> {
    pub(super) fn get(self) -> *mut T {
        self.0
    }
}

/// Channels of one tensor, or of two joined: `[batch, first..., second..., D, H, W]` without a copy. Channels may lie
/// farther apart than they are long.
#[derive(Clone, Copy)]
pub(super) struct Source<T> {
    parts: [Readable<T>; 2],
    channels: [usize; 2],
    /// Words between channels.
    stride: usize,
}

impl<T> Source<T> {
    pub(super) fn one(values: *const T, channels: usize, stride: usize) -> Self {
        Self::two([values, values], [channels, 0], stride)
    }

    pub(super) fn two(parts: [*const T; 2], channels: [usize; 2], stride: usize) -> Self {
        Self { parts: parts.map(Readable), channels, stride }
    }

    /// Whether all channels of a volume follow each other.
    pub(super) fn whole(&self) -> bool {
        self.channels[1] == 0
    }

    /// Where channel `c` of volume `n` begins.
    #[inline(always)]
    pub(super) fn channel(&self, n: usize, c: usize) -> *const T {
        let [first, second] = self.channels;
        if c < first {
            self.parts[0].0.wrapping_add((n * first + c) * self.stride)
        } else {
            self.parts[1].0.wrapping_add((n * second + c - first) * self.stride)
        }
    }
}
