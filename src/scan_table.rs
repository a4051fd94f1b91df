//! What laying a new scan onto an old one is worth: simulated patients, scanned before and after most of their tumour was
//! removed.
//!
//! The later scan is taken after the hour that it took, with the cavity filled, brain shift, distortion, air and blood, by a
//! scanner in which the head lies otherwise: up to 8° and 10 mm, drawn. Where points of the older scan come to lie by
//! the registration is held against where they are. Ground truth is read here only, after the fact. All of it is
//! *simulated*.

use crate::patients;
use anyhow::Context;
use bregma_core::devices::Scanner;
use bregma_core::flow::{Modality, RegionKind, Volume};
use bregma_core::time::{Clock, Duration, Instant, RealClock};
use bregma_patient::{Label, Patient, PatientSettings, World, WorldKind, WorldSettings};
use bregma_perception::register::scans;
use nalgebra::{Isometry3, Point3, UnitQuaternion, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write as _;
use std::sync::Arc;

/// The core's volume, mL: that of the suites.
const CORE_ML: [f64; 2] = [2.0, 20.0];
/// How the head lies otherwise, at most.
const TURN_DEG: f64 = 8.0;
const SHIFT_MM: f64 = 10.0;
/// The dura was opened so long before the later scan, minutes.
const OPEN_MINUTES: [f64; 2] = [40.0, 90.0];
/// Beside the core, tissue that stays, mm.
const BESIDE_MM: f64 = 3.0;
/// Every so many voxels of the skull base.
const BASE_STRIDE: usize = 4;

/// What is registered.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Cases in each world.
    pub cases: usize,
    /// Seed of the first.
    pub first_seed: u64,
}

/// Mean error of one kind of target, mm: as it lay, as a rigid body, deformed.
type Errors = [f64; 3];

/// What came of a case.
struct Case {
    base: [f64; 2],
    stated_base: f64,
    cortex: Errors,
    deep: Errors,
    /// Errors of the deformed targets over what is stated of each.
    ratios: Vec<f64>,
    folded_ml: f64,
    seconds: f64,
}

/// What takes a figure of a case.
type Figure<'a> = dyn Fn(&Case) -> f64 + 'a;

/// Points at rest, and where they are in the later scan.
struct Target {
    rest: Point3<f64>,
    later: Point3<f64>,
}

fn case(kind: WorldKind, seed: u64) -> anyhow::Result<Case> {
    let settings = PatientSettings { core_ml: CORE_ML, ..PatientSettings::of(kind) };
    let patient = Arc::new(patients::fetch(patients::cache().as_ref(), None, seed, &settings)?.patient);
    let mut theatre = WorldSettings::of(kind);
    theatre.removal_rate_scale = 30.0;
    theatre.shift.start_minutes = OPEN_MINUTES;
    theatre.picture_px = [64, 36];
    let world = World::new(Arc::clone(&patient), theatre)?;
    world.rehearse(seed);
    let mut now = Instant::START;
    let second = Duration::from_secs(1);
    for _ in 0..60 {
        now = now + second;
        world.advance(now);
        if world.rehearsed() {
            break;
        }
    }
    // A scanner may need a while.
    let mut scanned = None;
    for _ in 0..60 {
        now = now + second;
        if let Ok(scans) = world.scanner().scan(now) {
            scanned = scans.into_iter().find(|s| s.modality == Modality::T1c);
            break;
        }
    }
    let mut later = scanned.context("the scanner gives a T1c")?;
    let lies = otherwise(seed, &patient);
    later.patient_from_voxel = lies.to_homogeneous() * later.patient_from_voxel;
    let (fixed, moving): (Arc<Volume>, _) = (Arc::new(later), Arc::new(patient.scan(Modality::T1c)));

    let clock = RealClock::start();
    let found = scans::register(&fixed, &moving, true, &|| ())?;
    let seconds = clock.now().secs_f64();

    let deformable = found.deformable.context("was asked for")?;
    let rigid = |p: &Point3<f64>| found.rigid.fixed_from_moving * p;
    let mut ratios = Vec::new();
    let mut errors = |rest: Vec<Point3<f64>>| -> Errors {
        let later = world.now_of(&rest).into_iter().map(|p| lies * p);
        let targets: Vec<Target> = rest.iter().zip(later).map(|(rest, later)| Target { rest: *rest, later }).collect();
        let mean =
            |of: &mut dyn FnMut(&Target) -> f64| targets.iter().map(of).sum::<f64>() / targets.len().max(1) as f64;
        [
            mean(&mut |t| nalgebra::distance(&(lies * t.rest), &t.later)),
            mean(&mut |t| nalgebra::distance(&rigid(&t.rest), &t.later)),
            mean(&mut |t| {
                let at = deformable.displacement.fixed(&t.rest).unwrap_or_else(|| rigid(&t.rest));
                let off = nalgebra::distance(&at, &t.later);
                ratios.push(off / deformable.displacement.error_mm(&at).max(1e-3));
                off
            }),
        ]
    };
    let cortex = errors(patient.exposed_cortex());
    let deep = errors(beside_the_core(&patient));
    let base = skull_base(&patient);
    let off = |p: &Point3<f64>, at: Point3<f64>| nalgebra::distance(&at, &(lies * p));
    let mean = |of: &dyn Fn(&Point3<f64>) -> f64| base.iter().map(of).sum::<f64>() / base.len().max(1) as f64;
    Ok(Case {
        base: [mean(&|p| off(p, *p)), mean(&|p| off(p, rigid(p)))],
        stated_base: mean(&|p| found.rigid.error.rms_mm(&rigid(p))),
        cortex,
        deep,
        ratios,
        folded_ml: deformable.folded_ml,
        seconds,
    })
}

/// How the head lies in the later scan.
fn otherwise(seed: u64, patient: &Patient) -> Isometry3<f64> {
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    let mut some = |most: f64| {
        let way = Vector3::from_fn(|_, _| draws.random_range(-1.0..=1.0_f64));
        way.try_normalize(1e-6).unwrap_or_else(Vector3::x) * draws.random_range(0.0..=most)
    };
    let (turn, shift) = (UnitQuaternion::from_scaled_axis(some(TURN_DEG.to_radians())), some(SHIFT_MM));
    let middle = patient.anatomy().corridor.target.coords;
    Isometry3::from_parts((middle - turn * middle + shift).into(), turn)
}

/// Tissue around where the core was.
fn beside_the_core(patient: &Patient) -> Vec<Point3<f64>> {
    let surface = patient.core_surface();
    let middle = Point3::from(surface.iter().map(|p| p.coords).sum::<Vector3<f64>>() / surface.len().max(1) as f64);
    let beside = surface.iter().filter_map(|p| Some(p + (p - middle).try_normalize(1e-6)? * BESIDE_MM));
    let stays = |p: &Point3<f64>| {
        patient.label_at(p).is_some_and(|l| !matches!(l, Label::Outside | Label::Skull | Label::Csf) && !l.core())
    };
    beside.filter(stays).collect()
}

/// The lowest skull of columns in the head's middle.
fn skull_base(patient: &Patient) -> Vec<Point3<f64>> {
    let anatomy = patient.anatomy();
    let grid = &anatomy.grid;
    let skull =
        |index: usize| anatomy.regions.iter().any(|r| r.kind == RegionKind::Skull && r.label == anatomy.labels[index]);
    let [nx, ny, nz] = grid.dims;
    let columns = (ny / 4..3 * ny / 4).step_by(BASE_STRIDE);
    let columns = columns.flat_map(|j| (nx / 4..3 * nx / 4).step_by(BASE_STRIDE).map(move |i| (i, j)));
    columns
        .filter_map(|(i, j)| (0..nz).find(|k| skull(grid.index([i, j, *k]))).map(|k| grid.centre([i, j, k])))
        .collect()
}

/// Registers all, and writes the page. `done` hears of each case.
///
/// # Errors
/// None of a case's: what went wrong with it stands on the page.
pub fn markdown(extent: Extent, command: &str, done: &dyn Fn()) -> anyhow::Result<String> {
    let mut out = format!(
        "# A scan onto another\n\n`{command}`. Errors in mm, means over a case's targets. All of it is *simulated*.\n"
    );
    for kind in [WorldKind::Home, WorldKind::Foreign] {
        let _ = writeln!(
            out,
            "\n## {}\n\n| seed | skull base: as it lay | rigid | stated | cortex: as it lay | rigid | deformed | deep: as it lay | rigid \
             | deformed | folds, mL | s |\n|---|---|---|---|---|---|---|---|---|---|---|---|",
            kind.name()
        );
        let mut all: Vec<Case> = Vec::new();
        for seed in extent.first_seed..extent.first_seed + extent.cases as u64 {
            match case(kind, seed) {
                Ok(c) => {
                    row(&mut out, &seed.to_string(), &|of| of(&c));
                    all.push(c);
                }
                Err(why) => {
                    let _ = writeln!(out, "| {seed} | {why:#} | | | | | | | | | | |");
                }
            }
            done();
        }
        let n = all.len().max(1) as f64;
        row(&mut out, "mean", &|of| all.iter().map(of).sum::<f64>() / n);
        let worst = all.iter().map(|c| c.base[1]).fold(0.0, f64::max);
        let slowest = all.iter().map(|c| c.seconds).fold(0.0, f64::max);
        let mut ratios: Vec<f64> = all.iter().flat_map(|c| c.ratios.iter().copied()).collect();
        ratios.sort_by(f64::total_cmp);
        // √(χ²₃(0.9) / 3): of a length whose root mean square is 1 and whose three parts are alike.
        let within = ratios.iter().filter(|r| **r <= 1.4435).count() as f64 / ratios.len().max(1) as f64;
        let _ = writeln!(
            out,
            "\nWorst rigid error at the skull base {worst:.2} mm; slowest {slowest:.0} s on {} threads; deformed targets within the 90 % \
             interval {:.0} %.",
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            within * 100.0
        );
    }
    Ok(out)
}

/// One line of the table, by what takes a figure of a case.
fn row(out: &mut String, name: &str, of: &dyn Fn(&Figure<'_>) -> f64) {
    let _ = write!(out, "| {name} ");
    let figures: [&Figure<'_>; 10] = [
        &|c| c.base[0],
        &|c| c.base[1],
        &|c| c.stated_base,
        &|c| c.cortex[0],
        &|c| c.cortex[1],
        &|c| c.cortex[2],
        &|c| c.deep[0],
        &|c| c.deep[1],
        &|c| c.deep[2],
        &|c| c.folded_ml,
    ];
    for figure in figures {
        let _ = write!(out, "| {:.2} ", of(figure));
    }
    let _ = writeln!(out, "| {:.0} |", of(&|c| c.seconds));
}
