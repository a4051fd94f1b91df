//! What digital patients cost: growing, reading, scanning, seeing and moving one, and learning from many.
//!
//! CPU is that of the thread that does the work; where others use the processor too, the time by the clock is
//! longer. Every row is measured in this run, none is derived from another machine.

use super::cpu::{self, Spent};
use crate::learning::{self, patients, stream::Stream, visit::Visit};
use crate::report::BenchRow;
use crate::session::Simulated;
use crate::{config, patients as kept};
use anyhow::{Context, bail};
use bregma_core::devices::Camera;
use bregma_core::flow::{Modality, VideoFrame};
use bregma_core::time::{Clock, Duration, Instant, RealClock};
use bregma_patient::{
    MicroscopeSettings, Patient, PatientCache, PatientSettings, SharedWorld, ShiftSettings, World, WorldKind,
    WorldSettings,
};
use indicatif::ProgressBar;
use std::sync::Arc;

/// Patients that are grown for that row.
const GROWN: u64 = 5;
/// Patients that are read, and scanned.
const READ: u64 = 8;
/// Pictures, and updates of the shift.
const PICTURES: usize = 60;
const UPDATES: usize = 40;
/// Visits of the rate of sequences, for each table: their setting up is part of the rate.
const VISITS: u64 = 2;

/// Measures with so many patients on disk.
///
/// # Errors
/// When there is no cache, no patient grows, or a theatre cannot be set up.
pub fn rows(count: usize, bar: &ProgressBar) -> anyhow::Result<Vec<BenchRow>> {
    let Some(cache) = kept::cache() else {
        bail!("patients are kept nowhere: set BREGMA_CACHE to a folder with {} MB for each", 10);
    };
    let settings = PatientSettings::default();
    let clock = RealClock::start();
    bar.set_length(count as u64 + GROWN + READ + 4);
    let mut rows = Vec::new();
    // First of all, while the process holds nothing else.
    bar.set_message("a live patient");
    rows.push(resident(&cache, &settings)?);
    bar.inc(1);

    bar.set_message("growing");
    let mut grown = Vec::new();
    for seed in patients::FIRST_SEED..patients::FIRST_SEED + GROWN {
        let (patient, spent) = cpu::spent(&clock, || Patient::grow(seed, &settings));
        if patient.is_ok() {
            grown.push(spent);
        }
        bar.inc(1);
    }
    rows.extend(times("patient.grow", "s", &mut grown));

    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    bar.set_message("growing those that are not on disk");
    let told = |_: u64, _: bool| bar.inc(1);
    let all = patients::Patients::prepare(Some(cache.clone()), patients::FIRST_SEED, count, &settings, jobs, told)?;
    rows.push(row("patient.on_disk", all.count() as f64, "patients", 1));
    rows.extend(files(&cache, count, &settings));

    bar.set_message("reading and scanning");
    rows.extend(reading(&clock, &all, bar)?);
    bar.set_message("microscope and shift");
    rows.extend(live(&clock, &cache, &settings)?);
    bar.inc(1);
    bar.set_message("sequences on one thread");
    let config = config::Config::demo()?;
    let learning = learning::Settings { abreast: jobs.max(2), ..learning::Settings::default() };
    rows.extend(one_visit(&clock, &config, &all, &learning)?);
    bar.inc(1);
    bar.set_message("sequences on all cores");
    rows.push(rate(&clock, config, all, &learning, jobs)?);
    bar.inc(1);
    Ok(rows)
}

fn row(name: &str, value: f64, unit: &'static str, n: usize) -> BenchRow {
    BenchRow { name: name.to_owned(), median: value, p99: None, unit, n }
}

/// CPU and time by the clock, in `s` or `ms`.
fn times(name: &str, unit: &'static str, spent: &mut [Spent]) -> [BenchRow; 2] {
    let scale = if unit == "s" { 1e-9 } else { 1e-6 };
    let mut of = |what: &str, value: fn(&Spent) -> Duration| {
        spent.sort_unstable_by_key(value);
        let at = |share: f64| {
            let index = ((spent.len() as f64 * share).ceil() as usize).clamp(1, spent.len().max(1)) - 1;
            spent.get(index).map(|s| value(s).nanos() as f64 * scale)
        };
        let (median, p99) = (at(0.5).unwrap_or(f64::NAN), at(0.99));
        BenchRow { name: format!("{name}.{what}"), median, p99, unit, n: spent.len() }
    };
    [of("cpu", |s| s.cpu), of("wall", |s| s.wall)]
}

/// The home world with everything on, as it would run live.
fn home() -> WorldSettings {
    let shift = ShiftSettings::default();
    WorldSettings { shift, microscope: MicroscopeSettings::home(), ..WorldSettings::default() }
}

/// What one patient holds in memory with her theatre and its microscope, after a second of the case.
fn resident(cache: &PatientCache, settings: &PatientSettings) -> anyhow::Result<BenchRow> {
    let before = cpu::resident_mb().context("/proc/self/status says nothing of memory")?;
    let patient = cache.grow(patients::FIRST_SEED, settings)?.patient;
    let world = World::new(patient, home())?;
    let mut camera = world.camera();
    let [width, height] = camera.size_px();
    let mut frame = VideoFrame::black(width, height);
    for n in 1..=25 {
        camera.grab(Instant::START + Duration::from_millis(40 * n), &mut frame)?;
    }
    let after = cpu::resident_mb().context("/proc/self/status says nothing of memory")?;
    Ok(row("patient.live_resident", after - before, "MB", 1))
}

fn files(cache: &PatientCache, count: usize, settings: &PatientSettings) -> Vec<BenchRow> {
    let size = |seed: u64| Some(std::fs::metadata(cache.path(seed, settings, None)).ok()?.len());
    let mut sizes: Vec<u64> = (0..count as u64).filter_map(|n| size(patients::FIRST_SEED + n)).collect();
    sizes.sort_unstable();
    let mb = |bytes: u64| bytes as f64 * 1e-6;
    let median = sizes.get(sizes.len() / 2).copied();
    let all = row("patient.files_together", mb(sizes.iter().sum()), "MB", sizes.len());
    median.map(|m| row("patient.file", mb(m), "MB", sizes.len())).into_iter().chain([all]).collect()
}

fn reading(clock: &RealClock, all: &patients::Patients, bar: &ProgressBar) -> anyhow::Result<Vec<BenchRow>> {
    let (mut read, mut scanned, mut written) = (Vec::new(), Vec::new(), Vec::new());
    let folder = tempfile::tempdir().context("no folder for the scans")?;
    for n in 0..READ {
        let (fetched, spent) = cpu::spent(clock, || all.at(n as f64 / READ as f64));
        let (patient, cached) = fetched?;
        if cached {
            read.push(spent);
        }
        let (_, spent) = cpu::spent(clock, || patient.scan(Modality::T1c));
        scanned.push(spent);
        let patient = Arc::new(patient);
        let world = World::new(Arc::clone(&patient), WorldSettings::default())?;
        let simulated = Simulated { patient, cached, world };
        let (volumes, spent) = cpu::spent(clock, || simulated.scans(folder.path()));
        volumes?;
        written.push(spent);
        bar.inc(1);
    }
    let mut rows = times("patient.read", "s", &mut read).to_vec();
    rows.extend(times("scan.t1c", "s", &mut scanned));
    rows.extend(times("scan.pair_written_and_read", "s", &mut written));
    Ok(rows)
}

/// Pictures at 25 a second while tissue is removed, and updates of the shift in both worlds.
fn live(clock: &RealClock, cache: &PatientCache, settings: &PatientSettings) -> anyhow::Result<Vec<BenchRow>> {
    let patient = Arc::new(cache.grow(patients::FIRST_SEED, settings)?.patient);
    let (world, made) = cpu::spent(clock, || World::new(Arc::clone(&patient), home()));
    let world = world?;
    let (mut camera, first) = cpu::spent(clock, || world.camera());
    let [width, height] = camera.size_px();
    let mut frame = VideoFrame::black(width, height);
    world.rehearse(1);
    let (mut pictures, mut now) = (Vec::new(), Instant::START);
    for _ in 0..PICTURES {
        now = now + Duration::from_millis(40);
        world.advance(now);
        let (grabbed, spent) = cpu::spent(clock, || camera.grab(now, &mut frame));
        grabbed?;
        pictures.push(spent);
    }
    let mut rows = times("theatre.set_up", "s", &mut [made]).to_vec();
    rows.extend(times("microscope.first_picture.home", "ms", &mut [first]));
    rows.extend(times("microscope.picture.home", "ms", &mut pictures));
    for (name, world, moving) in [
        ("theatre.200_ms.still", WorldKind::Home, false),
        ("theatre.200_ms.shift_home", WorldKind::Home, true),
        ("theatre.200_ms.shift_foreign", WorldKind::Foreign, true),
    ] {
        let shift = if moving { ShiftSettings::default() } else { ShiftSettings::off() };
        let theatre = World::new(Arc::clone(&patient), WorldSettings { world, shift, ..WorldSettings::default() })?;
        rows.extend(times(name, "ms", &mut updates(clock, &theatre)));
    }
    Ok(rows)
}

/// Steps of 200 ms: one update of the shift each, where there is one.
fn updates(clock: &RealClock, theatre: &SharedWorld) -> Vec<Spent> {
    let mut now = Instant::START;
    let step = |_| {
        now = now + Duration::from_millis(200);
        cpu::spent(clock, || theatre.advance(now)).1
    };
    (0..UPDATES).map(step).collect()
}

/// Where the time of a visit goes.
fn one_visit(
    clock: &RealClock,
    config: &config::Config,
    all: &patients::Patients,
    settings: &learning::Settings,
) -> anyhow::Result<Vec<BenchRow>> {
    let (visit, made) = cpu::spent(clock, || Visit::new(config, all, settings, 0));
    let mut visit = visit?;
    let mut sequences = Vec::new();
    while !visit.ended() {
        let (sequence, spent) = cpu::spent(clock, || visit.next(0));
        sequence?;
        sequences.push(spent);
    }
    let mut rows = times("learning.visit_set_up", "s", &mut [made]).to_vec();
    rows.extend(times("learning.sequence", "s", &mut sequences));
    Ok(rows)
}

fn rate(
    clock: &RealClock,
    config: config::Config,
    all: patients::Patients,
    settings: &learning::Settings,
    threads: usize,
) -> anyhow::Result<BenchRow> {
    let n = settings.abreast * settings.sequences * VISITS as usize;
    let before = clock.now();
    let mut stream = Stream::start(config, all, settings, threads)?;
    for _ in 0..n {
        stream.next()?;
    }
    let seconds = clock.now().since(before).map_or(f64::NAN, Duration::secs_f64);
    let name = format!("learning.sequences_of_{}_on_{threads}_threads", settings.frames);
    Ok(row(&name, n as f64 / seconds, "a second", n))
}
