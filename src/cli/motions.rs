//! `bregma scenario motions`: what the validator lets pass, as a page.

use super::{Goal, MotionsArgs, say};
use crate::motions::{self, Tried, Wanted, chart, page};
use anyhow::{Context, ensure};
use bregma_patient::{GrowError, WorldKind};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Seeds that are looked through for each patient that is wanted: from some no patient grows.
const SEEDS_EACH: usize = 3;

/// The report.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    commit: &'static str,
    config_hash: String,
    first_seed: u64,
    missed: Vec<String>,
    #[serde(flatten)]
    tried: &'a Tried,
}

/// Runs it.
///
/// # Errors
/// Bad input.
pub fn run(args: &MotionsArgs) -> anyhow::Result<Goal> {
    let MotionsArgs { per_category, safe, patients, search, first_seed, .. } = *args;
    ensure!((1..=100_000).contains(&per_category), "--per-category is {per_category}; 1 to 100000 is right");
    ensure!((1..=100_000).contains(&safe), "--safe is {safe}; 1 to 100000 is right");
    ensure!((1..=1000).contains(&patients), "--patients is {patients}; 1 to 1000 is right");
    ensure!(search <= 100_000, "--search is {search}; at most 100000 is right");
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    ensure!((1..=1024).contains(&jobs), "--jobs is {jobs}; it must lie in 1 to 1024");
    for path in args.out.iter().chain(&args.report) {
        crate::report::make_room(path)?;
    }
    let wanted = Wanted { per_category, safe, patients, search };
    let tried = match &args.from {
        Some(path) => read(path)?,
        None => all(&wanted, first_seed, jobs)?,
    };
    let missed = page::missed(&tried.lines);
    say(format!("{} motions tried", tried.lines.len()));
    missed.iter().for_each(|why| say(format!("missed     {why}")));
    if let Some(path) = &args.out {
        let command = format!(
            "bregma scenario motions --per-category {per_category} --safe {safe} --patients {patients} --search {search} --first-seed {first_seed}"
        );
        let picture = path.with_extension("png");
        let image = chart::draw(&tried.lines);
        crate::whole::write_by(&picture, |part| image.save(part))?;
        let name = picture.file_name().unwrap_or_default().to_string_lossy();
        crate::whole::write(path, page::markdown(&tried, &wanted, first_seed, &command, &name))?;
        say(format!("written    {} and {}", path.display(), picture.display()));
    }
    if let Some(path) = &args.report {
        let (config, _) = motions::setting(WorldKind::Home)?;
        let report = Report {
            schema: crate::report::SCHEMA,
            commit: crate::report::commit(),
            config_hash: config.hash.to_string(),
            first_seed,
            missed: missed.clone(),
            tried: &tried,
        };
        crate::report::write(path, &report)?;
        say(format!("report     {}", path.display()));
    }
    Ok(if missed.is_empty() { Goal::Held } else { Goal::Missed })
}

/// The motions of an earlier run.
fn read(path: &std::path::Path) -> anyhow::Result<Tried> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report of `scenario motions`", path.display()))
}

/// Every patient of both worlds.
fn all(wanted: &Wanted, first_seed: u64, jobs: usize) -> anyhow::Result<Tried> {
    let bar = ProgressBar::new(2 * wanted.patients as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} patients, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let worlds = [WorldKind::Home, WorldKind::Foreign];
    let done: [Mutex<Vec<(u64, Tried)>>; 2] = std::array::from_fn(|_| Mutex::new(Vec::new()));
    let next: [AtomicUsize; 2] = std::array::from_fn(|_| AtomicUsize::new(0));
    let failed = Mutex::new(None);
    let most = wanted.patients * SEEDS_EACH;
    // Seeds are taken in order, and of what grew the first so many count: the number of jobs changes nothing.
    let work = |which: usize| -> anyhow::Result<()> {
        loop {
            let n = next[which].fetch_add(1, Ordering::Relaxed);
            let grown = lock(&done[which]).len();
            if n >= most || (grown >= wanted.patients && n >= wanted.patients) {
                return Ok(());
            }
            let seed = first_seed + n as u64;
            match motions::patient(wanted, worlds[which], seed) {
                Ok(tried) => {
                    lock(&done[which]).push((seed, tried));
                    bar.inc(1);
                }
                Err(why) if matches!(why.downcast_ref(), Some(GrowError::NoPlace { .. })) => {}
                Err(why) => {
                    next.iter().for_each(|n| n.store(most, Ordering::Relaxed));
                    return Err(why.context(format!("{} seed {seed}", worlds[which].name())));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (work, failed) = (&work, &failed);
            scope.spawn(move || {
                for turn in 0..2 {
                    if let Err(why) = work((job + turn) % 2) {
                        lock(failed).get_or_insert(why);
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(why) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(why);
    }
    let mut all = Tried::default();
    for of_world in done {
        let mut of_world = of_world.into_inner().unwrap_or_else(PoisonError::into_inner);
        of_world.sort_by_key(|(seed, _)| *seed);
        for (_, tried) in of_world.into_iter().take(wanted.patients) {
            all.lines.extend(tried.lines);
            all.searched.extend(tried.searched);
        }
    }
    Some(all).filter(|all| !all.lines.is_empty()).context("no patient grows from any of these seeds")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
