//! Runs the cases of the page, on several threads, and keeps a line of each: an interrupted run goes on where it was.

use super::page::{ESTIMATORS, markdown};
use super::shadow::Altered;
use super::{CLASSICAL, CaseFigures};
use crate::scenario::{self, Beside, Estimates, Suite};
use anyhow::{Context, ensure};
use bregma_core::time::Duration;
use bregma_patient::{GrowError, WorldKind};
use bregma_perception::engine::Precision;
use bregma_perception::model::file::ModelFile;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The suite that cases are of.
const SUITE: &str = include_str!("../../tests/scenarios/perception.toml");

/// Which cases, and by what.
pub struct Wanted<'a> {
    /// Cases of each world.
    pub cases: usize,
    /// Seed of the first.
    pub first_seed: u64,
    /// Worlds.
    pub worlds: &'a [WorldKind],
    /// The network.
    pub weights: ModelFile,
    /// Cases at once.
    pub jobs: usize,
    /// Where lines are kept.
    pub kept: &'a Path,
}

/// What is watched without all that the flow sees begins anew with the frames of so long before one that is compared.
const BEFORE: Duration = Duration::from_secs(4);

/// Scans are moved against the network by that share of their range,
const ATTACK_SHARE: f32 = 0.03;
/// in one of so many frames that are compared: seconds each.
const ATTACKED_ONE_IN: u32 = 4;

/// The estimators that are watched beside the flow's.
fn beside(weights: &Arc<ModelFile>, seed: u64) -> Vec<Beside> {
    let int8 = || Estimates::Network(Arc::clone(weights), Precision::Int8);
    let with = |name: &str| match name {
        "f32" => Some((Estimates::Network(Arc::clone(weights), Precision::F32), Altered::Nothing, None)),
        "forgets" => Some((int8(), Altered::Memory, Some((Duration::ZERO, 1)))),
        "blind" => Some((int8(), Altered::Video, Some((BEFORE, 1)))),
        "preoperative" => Some((int8(), Altered::NewerScans, Some((BEFORE, 1)))),
        "disturbed" => Some((int8(), Altered::Scans(seed), Some((BEFORE, 1)))),
        "attacked" => {
            let attacked = Estimates::Attacked(Arc::clone(weights), ATTACK_SHARE);
            Some((attacked, Altered::Nothing, Some((Duration::ZERO, ATTACKED_ONE_IN))))
        }
        CLASSICAL => Some((Estimates::Classical, Altered::Nothing, None)),
        _ => None,
    };
    let all = ESTIMATORS.iter().filter_map(|(name, _)| with(name).map(|found| (*name, found)));
    all.map(|(name, (estimates, altered, before))| Beside { name, estimates, altered, before }).collect()
}

/// Runs those that are not kept yet, and makes the page. `done` hears of each.
///
/// # Errors
/// When a stage refuses, `kept` cannot be read or written, or holds cases of another network.
pub fn page(wanted: &Wanted<'_>, command: &str, done: &(dyn Fn() + Sync)) -> anyhow::Result<String> {
    let weights = Arc::new(wanted.weights.clone());
    let suite = |world| -> anyhow::Result<Suite> {
        let estimates = Estimates::Network(Arc::clone(&weights), Precision::Int8);
        Ok(Suite { world, estimates, ..Suite::parse(SUITE).context("the built-in suite")? })
    };
    let (config, _) = suite(WorldKind::Home)?.configure()?;
    let model = suite(WorldKind::Home)?.estimates.estimator(&config)?.digest().to_string();
    let kept = read(wanted.kept, &model)?;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(wanted.kept);
    let file = Mutex::new(file.with_context(|| format!("cannot write {}", wanted.kept.display()))?);
    // Alternately, so that what was kept of an interrupted run is of all worlds.
    let seeds = (0..wanted.cases as u64).map(|n| wanted.first_seed + n);
    let all: Vec<(WorldKind, u64)> =
        seeds.flat_map(|seed| wanted.worlds.iter().map(move |world| (*world, seed))).collect();
    let found = Mutex::new(Vec::new());
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let one = |world: WorldKind, seed| -> anyhow::Result<Option<CaseFigures>> {
        if let Some(case) = kept.get(&(world.name().to_owned(), seed)) {
            return Ok(Some(case.clone()));
        }
        let suite = suite(world)?;
        let (config, source) = suite.configure()?;
        let played = scenario::case(&suite, &config, &source, None, seed, &beside(&weights, seed));
        let watch = match played {
            Ok(played) => played.watch,
            Err(why) if matches!(why.downcast_ref(), Some(GrowError::NoPlace { .. })) => return Ok(None),
            Err(why) => return Err(why.context(format!("{} seed {seed}", world.name()))),
        };
        let case = watch.figures(seed, world.name(), model.clone());
        let line = serde_json::to_string(&case).context("a line is plain data")?;
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").with_context(|| format!("cannot write {}", wanted.kept.display()))?;
        Ok(Some(case))
    };
    std::thread::scope(|scope| {
        for _ in 0..wanted.jobs.min(all.len()) {
            scope.spawn(|| {
                while let Some((world, seed)) = all.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    match one(world, seed) {
                        Ok(case) => found.lock().unwrap_or_else(PoisonError::into_inner).extend(case),
                        Err(why) => {
                            next.store(all.len(), Ordering::Relaxed);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
                        }
                    }
                    done();
                }
            });
        }
    });
    if let Some(why) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(why);
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|case| case.seed);
    Ok(markdown(&found, command))
}

/// Cases of an earlier run of the same network.
fn read(kept: &Path, model: &str) -> anyhow::Result<BTreeMap<(String, u64), CaseFigures>> {
    let text = match std::fs::read_to_string(kept) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(why) => return Err(why).with_context(|| format!("cannot read {}", kept.display())),
    };
    let mut cases = BTreeMap::new();
    for (number, text) in text.lines().enumerate() {
        let place = || format!("{}, line {}: remove it, or the file", kept.display(), number + 1);
        let case: CaseFigures = serde_json::from_str(text).with_context(place)?;
        ensure!(case.model == model, "{}: it is of the network {}, not of {model}", place(), case.model);
        cases.insert((case.world.clone(), case.seed), case);
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_another_network_and_cut_ones_are_refused_with_their_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept.jsonl");
        let case = CaseFigures {
            seed: 3,
            world: "home".into(),
            model: "one".into(),
            frames: Vec::new(),
            covered: BTreeMap::new(),
            errors: Vec::new(),
        };
        let line = serde_json::to_string(&case).expect("JSON");
        std::fs::write(&path, format!("{line}\n{line}\n")).expect("written");
        assert_eq!(read(&path, "one").expect("fine").get(&("home".to_owned(), 3)), Some(&case));
        let why = read(&path, "other").expect_err("of another").to_string();
        assert!(why.contains("line 1") && why.contains("of the network one"), "{why}");
        std::fs::write(&path, format!("{line}\n{}", &line[..20])).expect("written");
        assert!(format!("{:#}", read(&path, "one").expect_err("cut")).contains("line 2"));
        assert!(read(&folder.path().join("none"), "one").expect("nothing yet").is_empty());
    }

    #[test]
    fn the_suite_is_one() {
        let suite = Suite::parse(SUITE).expect("it is right");
        assert!(
            (suite.name.as_str(), suite.scans, suite.lifelike) == ("perception", 1, true)
                && suite.first_seed >= 1_000_000
        );
        suite.configure().expect("it fits");
    }
}
