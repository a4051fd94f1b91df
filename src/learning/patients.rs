//! The patients that are learnt from: kept on disk, read when they are needed.

use crate::patients;
use anyhow::Context;
use bregma_patient::{GrowError, Patient, PatientCache, PatientSettings};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Seeds from here on are for learning. Suites and tables that inform a design use smaller ones; those that a claim is
/// made on use [`END_SEED`] and more, which nothing is learnt from.
pub const FIRST_SEED: u64 = 100_000;
/// End of the seeds for learning.
pub const END_SEED: u64 = 1_000_000;

fn for_learning(first: u64, count: usize) -> anyhow::Result<()> {
    let right = first >= FIRST_SEED && first.saturating_add(count as u64) <= END_SEED && count > 0;
    anyhow::ensure!(
        right,
        "{count} patients from seed {first} on: seeds {FIRST_SEED} to {} are for learning",
        END_SEED - 1
    );
    Ok(())
}

/// Seeds of patients that can be grown, how, and where they are kept.
#[derive(Debug, Clone)]
pub struct Patients {
    cache: Option<PatientCache>,
    seeds: Vec<u64>,
    settings: PatientSettings,
}

impl Patients {
    /// Grows the patients of `count` seeds from `first` on, on `jobs` threads, and keeps them where there is a
    /// cache. Seeds from which none grows are left out. `each` is told of every one, and whether she was there.
    ///
    /// # Errors
    /// When a setting is refused, a seed is not for learning, or none has a patient.
    pub fn prepare(
        cache: Option<PatientCache>,
        first: u64,
        count: usize,
        settings: &PatientSettings,
        jobs: usize,
        each: impl Fn(u64, bool) + Sync,
    ) -> anyhow::Result<Self> {
        for_learning(first, count)?;
        let next = AtomicUsize::new(0);
        let seeds = Mutex::new(Vec::with_capacity(count));
        let refused: Mutex<Option<GrowError>> = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..jobs.clamp(1, count.max(1)) {
                scope.spawn(|| {
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= count {
                            return;
                        }
                        let seed = first + nth as u64;
                        match patients::fetch(cache.as_ref(), None, seed, settings) {
                            Ok(fetched) => {
                                seeds.lock().unwrap_or_else(PoisonError::into_inner).push(seed);
                                each(seed, fetched.cached);
                            }
                            Err(GrowError::NoPlace { .. }) => each(seed, false),
                            Err(why) => {
                                refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
                                return;
                            }
                        }
                    }
                });
            }
        });
        if let Some(why) = refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(why.into());
        }
        let mut seeds = seeds.into_inner().unwrap_or_else(PoisonError::into_inner);
        seeds.sort_unstable();
        anyhow::ensure!(!seeds.is_empty(), "no patient grows from {count} seeds from {first} on");
        Ok(Self { cache, seeds, settings: settings.clone() })
    }

    /// The patients of `count` seeds from `first` on, each grown when she is first asked for.
    ///
    /// # Errors
    /// When a seed is not for learning.
    pub fn on_demand(
        cache: Option<PatientCache>,
        first: u64,
        count: usize,
        settings: &PatientSettings,
    ) -> anyhow::Result<Self> {
        for_learning(first, count)?;
        Ok(Self { cache, seeds: (first..first + count as u64).collect(), settings: settings.clone() })
    }

    /// How many seeds.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.seeds.len()
    }

    /// The patient at a share in [0, 1) of the list, or the next after her where none grows; and whether she came from the cache.
    ///
    /// # Errors
    /// When none grows from any seed.
    pub fn at(&self, share: f64) -> anyhow::Result<(Patient, bool)> {
        let n = self.seeds.len();
        let nth = ((share * n as f64) as usize).min(n.saturating_sub(1));
        for seed in (0..n).map(|step| self.seeds[(nth + step) % n]) {
            match patients::fetch(self.cache.as_ref(), None, seed, &self.settings) {
                Ok(fetched) => return Ok((fetched.patient, fetched.cached)),
                Err(GrowError::NoPlace { .. }) => {}
                Err(why) => return Err(why).with_context(|| format!("no patient grows from seed {seed}")),
            }
        }
        anyhow::bail!("no patient grows from any of {n} seeds")
    }
}
