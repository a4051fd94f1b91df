//! Times, counted in buckets: quantiles without keeping every value, and without allocation.
//!
//! 16 buckets an octave: a quantile is at most 1/16 = 6.3 % too high, the maximum is exact.

use crate::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

const SUB: usize = 16;
const BUCKETS: usize = 61 * SUB;

/// Counts durations. One writer or many.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB as u64 {
        return nanos as usize;
    }
    let octave = 63 - nanos.leading_zeros() as usize;
    let within = (nanos >> (octave - 4)) as usize & (SUB - 1);
    (octave - 3) * SUB + within
}

fn upper_edge(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let (octave, within) = (bucket / SUB + 3, bucket % SUB);
    ((((SUB + within + 1) as u128) << (octave - 4)) - 1).min(u128::from(u64::MAX)) as u64
}

impl Histogram {
    /// Without counts.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }

    /// Counts one.
    pub fn add(&self, length: Duration) {
        self.buckets[bucket(length.nanos())].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(length.nanos(), Ordering::Relaxed);
        self.max.fetch_max(length.nanos(), Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum.load(Ordering::Relaxed))
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max.load(Ordering::Relaxed))
    }

    /// The value that a share of all, 0 to 1, does not exceed; `None` without counts.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = ((share * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, n) in self.buckets.iter().enumerate() {
            seen += n.load(Ordering::Relaxed);
            if seen >= wanted {
                return Some(Duration::from_nanos(upper_edge(index).min(self.max().nanos())));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_at_most_one_sixteenth_too_high(mut values in prop::collection::vec(0..u64::MAX / 4, 1..200), share in 0.0..1.0f64) {
            let histogram = Histogram::new();
            values.iter().for_each(|v| histogram.add(Duration::from_nanos(*v)));
            values.sort_unstable();
            let at = ((share * values.len() as f64).ceil() as usize).max(1) - 1;
            let told = histogram.quantile(share).expect("has counts").nanos();
            prop_assert!(told >= values[at]);
            prop_assert!(told as f64 <= values[at] as f64 * (1.0 + 1.0 / 16.0) + 1.0);
        }
    }

    #[test]
    fn without_counts_there_is_no_quantile() {
        assert_eq!(Histogram::new().quantile(0.5), None);
    }
}
