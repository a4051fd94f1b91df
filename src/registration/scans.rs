//! What registration of a preoperative scan to an intraoperative one is worth: simulated removals, the true places of points
//! beside where registration has them.
//!
//! **A case:** a digital patient, scanned; a hand removes the tumour, thirty times as fast as a real one, while the brain shifts; an
//! intraoperative scan with its artefacts, after which the patient's place in the scanner is changed by up to
//! [`TURN_MOST`] and [`SHIFT_MOST_MM`]. **Points:** on the underside of the skull; 1 mm within the cortex on three rings about the
//! craniotomy; 3 mm beyond the tumour's core, away from the craniotomy. Where these are now comes from the shift's own
//! field, which registration never sees. **Every other case** also tries the preoperative scan mirrored, or that of
//! another patient. All of it is *simulated*; lines of cases are kept in a file, so that an interrupted run goes on.

use crate::bench::cpu::Busy;
use crate::patients;
use anyhow::{Context, ensure};
use bregma_core::devices::Scanner as _;
use bregma_core::flow::{Modality, Volume};
use bregma_core::time::{Clock, Duration, Instant, RealClock};
use bregma_patient::{Label, Patient, PatientCache, PatientSettings, World, WorldKind, WorldSettings};
use bregma_perception::register::scans::{self, Layers, Unmatched};
use nalgebra::{Isometry3, Point3, Unit, UnitQuaternion, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

/// The patient lies otherwise by at most that turn, 15°, and shift.
const TURN_MOST: f64 = 0.2618;
const SHIFT_MOST_MM: f64 = 25.0;
/// Simulated time that a removal may take, and a scan be waited for, s.
const REMOVAL_S: u64 = 60;
const WAIT_S: u64 = 40;
/// Rigid registration is to hold the skull base to that, mm.
const BASE_MM: f64 = 1.0;
/// Deformable registration is to leave that share of the rigid one's error.
const LEFT: f64 = 0.5;
/// A length in space, normal along each axis alike, is within so many times its root mean square in 90 %: the root of a third
/// of the quantile of chi squared with three degrees.
const INTERVAL_90: f64 = 1.4435;
/// What points within the 90 % interval may be.
const WITHIN: [f64; 2] = [0.86, 0.94];
/// Of so many seeds after a patient's own the first that grows is *another patient*.
const OTHERS: u64 = 8;
/// Both are to take so long at most, s.
const SECONDS: f64 = 60.0;

/// What one case gave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    world: String,
    seed: u64,
    /// Why there are no figures: no such patient grows, or the scans were refused.
    refused: Option<String>,
    figures: Option<Figures>,
    /// What was tried beside, and whether it was refused for the right reason.
    bad_input: String,
    bad_input_refused: bool,
}

impl Line {
    /// There are no two scans.
    fn without(kind: WorldKind, seed: u64, why: &anyhow::Error) -> Self {
        let (world, refused) = (word(kind).to_owned(), Some(format!("no case: {why:#}")));
        Self { world, seed, refused, figures: None, bad_input: String::new(), bad_input_refused: false }
    }
}

/// Lengths in mm; each a mean over points.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    base_mm: f64,
    base_max_mm: f64,
    base_stated_mm: f64,
    cortex: Places,
    deep: Places,
    shrinks_least: f64,
    nmi: [f64; 3],
    rigid_s: f64,
    deformable_s: f64,
    /// Processor time of both, all threads, where the system says it.
    cpu_s: Option<f64>,
}

/// Of one kind of point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Places {
    rigid_mm: f64,
    deformable_mm: f64,
    deformable_max_mm: f64,
    stated_mm: f64,
    /// Points that the map does not take anywhere; they count as rigid ones.
    lost: usize,
    /// Points within the 90 % interval of the error that is stated there.
    within: usize,
    points: usize,
}

/// Measures `cases` cases, the first half at home, the second abroad, and writes the page. Lines of cases are kept in `kept`. `done`
/// hears of each.
///
/// # Errors
/// When `kept` cannot be read or written.
pub fn markdown(cases: usize, first_seed: u64, kept: &Path, command: &str, done: &dyn Fn()) -> anyhow::Result<String> {
    let mut lines = read(kept)?;
    if let Some(folder) = kept.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", kept.display()))?;
    }
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(kept)
        .with_context(|| format!("cannot write {}", kept.display()))?;
    let cache = patients::cache();
    let mut rows = [Vec::new(), Vec::new()];
    for n in 0..cases {
        // Alternately, so that what was kept of an interrupted run is of both.
        let (kind, seed) = ([WorldKind::Home, WorldKind::Foreign][n % 2], first_seed + (n / 2) as u64);
        let key = (word(kind).to_owned(), seed);
        let line = match lines.remove(&key) {
            Some(line) => line,
            None => {
                let line = measure(cache.as_ref(), kind, seed).unwrap_or_else(|why| Line::without(kind, seed, &why));
                let text = serde_json::to_string(&line).context("a line is plain data")?;
                writeln!(file, "{text}").with_context(|| format!("cannot write {}", kept.display()))?;
                line
            }
        };
        rows[n % 2].push(line);
        done();
    }
    Ok(page(&rows, command))
}

fn word(kind: WorldKind) -> &'static str {
    match kind {
        WorldKind::Home => "home",
        WorldKind::Foreign => "foreign",
    }
}

/// Lines of an earlier run; the last one may have been cut.
fn read(kept: &Path) -> anyhow::Result<BTreeMap<(String, u64), Line>> {
    let text = match std::fs::read_to_string(kept) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(why) => return Err(why).with_context(|| format!("cannot read {}", kept.display())),
    };
    let mut lines = BTreeMap::new();
    for (number, text) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(text)
            .with_context(|| format!("{}, line {}: remove it, or the file", kept.display(), number + 1))?;
        lines.insert((line.world.clone(), line.seed), line);
    }
    Ok(lines)
}

/// Both scans of a patient, and where points of the first are in the second.
struct Case {
    preoperative: Arc<Volume>,
    intraoperative: Arc<Volume>,
    /// Rest and now.
    base: Vec<[Point3<f64>; 2]>,
    cortex: Vec<[Point3<f64>; 2]>,
    deep: Vec<[Point3<f64>; 2]>,
}

fn measure(cache: Option<&PatientCache>, kind: WorldKind, seed: u64) -> anyhow::Result<Line> {
    let case = case(cache, kind, seed)?;
    let fixed = Layers::of(&case.intraoperative, "intraoperative")?;
    let (bad_input, bad_input_refused) = bad_input(cache, kind, seed, &case, &fixed)?;
    let line = |refused, figures| Line {
        world: word(kind).to_owned(),
        seed,
        refused,
        figures,
        bad_input: bad_input.to_owned(),
        bad_input_refused,
    };
    Ok(match figures(&case) {
        Ok(figures) => line(None, Some(figures)),
        Err(why) => line(Some(why.to_string()), None),
    })
}

fn figures(case: &Case) -> Result<Figures, Unmatched> {
    let clock = RealClock::start();
    let now_s = || clock.now().since(Instant::START).map_or(0.0, |t| t.nanos() as f64 * 1e-9);
    let (start, busy) = (now_s(), Busy::now());
    let fixed = Layers::of(&case.intraoperative, "intraoperative")?;
    let moving = Layers::of(&case.preoperative, "preoperative")?;
    let rigid = scans::rigid(&fixed, &moving, &|| ())?;
    let rigid_s = now_s() - start;
    let deformable = scans::deformable(&fixed, &moving, &rigid, &|| ())?;
    let deformable_s = now_s() - start - rigid_s;
    let cpu_s = Busy::now().zip(busy).map(|(now, start)| now.own_since_s(start));
    let map = &deformable.displacement;
    let stiff = |rest: &Point3<f64>| rigid.fixed_from_moving * rest;
    let places = |points: &[[Point3<f64>; 2]]| {
        let off = |to: &dyn Fn(&Point3<f64>) -> Point3<f64>| -> Vec<f64> {
            points.iter().map(|[rest, now]| (to(rest) - now).norm()).collect()
        };
        let moved = off(&|rest| map.fixed(rest).unwrap_or_else(|| stiff(rest)));
        let stated: Vec<f64> = points.iter().map(|[_, now]| map.error_mm(now)).collect();
        Places {
            rigid_mm: mean(&off(&stiff)),
            deformable_mm: mean(&moved),
            deformable_max_mm: moved.iter().copied().fold(0.0, f64::max),
            stated_mm: mean(&stated),
            within: moved.iter().zip(&stated).filter(|(off, stated)| **off <= INTERVAL_90 * **stated).count(),
            lost: points.iter().filter(|[rest, _]| map.fixed(rest).is_none()).count(),
            points: points.len(),
        }
    };
    let base: Vec<f64> = case.base.iter().map(|[rest, now]| (stiff(rest) - now).norm()).collect();
    let stated: Vec<f64> = case.base.iter().map(|[_, now]| rigid.error.rms_mm(now)).collect();
    Ok(Figures {
        base_mm: mean(&base),
        base_max_mm: base.iter().copied().fold(0.0, f64::max),
        base_stated_mm: mean(&stated),
        cortex: places(&case.cortex),
        deep: places(&case.deep),
        shrinks_least: deformable.shrinks_least,
        nmi: [rigid.nmi_before, rigid.nmi_after, deformable.nmi],
        rigid_s,
        deformable_s,
        cpu_s,
    })
}

/// What was tried, and whether it was refused for what it is.
fn bad_input(
    cache: Option<&PatientCache>,
    kind: WorldKind,
    seed: u64,
    case: &Case,
    fixed: &Layers,
) -> anyhow::Result<(&'static str, bool)> {
    let (what, volume) = if seed.is_multiple_of(2) {
        let mut mirrored = (*case.preoperative).clone();
        mirrored.intensities.chunks_exact_mut(mirrored.dims[0]).for_each(<[f32]>::reverse);
        ("mirrored", mirrored)
    } else {
        // From some seeds none grows.
        let grown = (1..=OTHERS).find_map(|n| patients::fetch(cache, None, seed + n, &PatientSettings::of(kind)).ok());
        let other = grown.context("no other patient grows")?.patient;
        ("another patient", other.scan(Modality::T1c))
    };
    let found = scans::rigid(fixed, &Layers::of(&Arc::new(volume), "preoperative")?, &|| ());
    let right = match found {
        Err(Unmatched::Mirrored { .. }) => seed.is_multiple_of(2),
        Err(_) => !seed.is_multiple_of(2),
        Ok(_) => false,
    };
    Ok((what, right))
}

fn case(cache: Option<&PatientCache>, kind: WorldKind, seed: u64) -> anyhow::Result<Case> {
    let patient = Arc::new(patients::fetch(cache, None, seed, &PatientSettings::of(kind))?.patient);
    let mut settings = WorldSettings { removal_rate_scale: 30.0, picture_px: [64, 36], ..WorldSettings::of(kind) };
    settings.shift.start_minutes = [40.0, 90.0];
    let world = World::new(Arc::clone(&patient), settings)?;
    world.rehearse(seed);
    let mut now = Instant::START;
    let second = Duration::from_secs(1);
    for _ in 0..REMOVAL_S {
        now = now + second;
        world.advance(now);
        if world.rehearsed() {
            break;
        }
    }
    let mut scans = Vec::new();
    for _ in 0..WAIT_S {
        now = now + second;
        if let Ok(found) = world.scanner().scan(now) {
            scans = found;
            break;
        }
    }
    let mut intraoperative = scans.into_iter().find(|s| s.modality == Modality::T1c).context("no scan was made")?;
    let set_up = set_up(&patient, seed);
    intraoperative.patient_from_voxel = set_up.to_homogeneous() * intraoperative.patient_from_voxel;
    let (grid, moved) = world.displacements();
    let along = |a: usize| moved.iter().map(|u| u[a]).collect::<Vec<f32>>();
    let axes = [along(0), along(1), along(2)];
    let now_of = |rest: Point3<f64>| {
        let u = Vector3::from_fn(|a, _| f64::from(grid.sample(&axes[a], &rest, 0.0)));
        [rest, set_up * (rest + u)]
    };
    let base: Vec<_> = underside(&patient).into_iter().map(|p| [p, set_up * p]).collect();
    let cortex: Vec<_> = about_the_craniotomy(&patient).into_iter().map(now_of).collect();
    let deep: Vec<_> = beyond_the_core(&patient).into_iter().map(now_of).collect();
    ensure!(!base.is_empty() && !cortex.is_empty() && !deep.is_empty(), "seed {seed}: no points to measure at");
    let preoperative = Arc::new(patient.scan(Modality::T1c));
    Ok(Case { preoperative, intraoperative: Arc::new(intraoperative), base, cortex, deep })
}

/// How the patient lies in the second scan: a turn about the target and a shift.
fn set_up(patient: &Patient, seed: u64) -> Isometry3<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut within = || {
        loop {
            let v = Vector3::from_fn(|_, _| random.random_range(-1.0..1.0_f64));
            if (0.01..1.0).contains(&v.norm()) {
                return v;
            }
        }
    };
    let (axis, shift) = (within(), within() * SHIFT_MOST_MM);
    let turn = UnitQuaternion::from_axis_angle(&Unit::new_normalize(axis), TURN_MOST * axis.norm());
    let middle = patient.anatomy().corridor.target.coords;
    Isometry3::from_parts((middle - turn * middle + shift).into(), turn)
}

/// The lowest bone of every fourth column of voxels, in the middle half of the head.
fn underside(patient: &Patient) -> Vec<Point3<f64>> {
    let anatomy = patient.anatomy();
    let Some(skull) = anatomy.regions.iter().find(|r| r.name == "skull").map(|r| r.label) else { return Vec::new() };
    let [nx, ny, nz] = anatomy.grid.dims;
    let columns = (ny / 4..3 * ny / 4).step_by(4).flat_map(|j| (nx / 4..3 * nx / 4).step_by(4).map(move |i| [i, j]));
    let lowest = columns.filter_map(|[i, j]| {
        let k = (0..nz).find(|k| anatomy.labels[anatomy.grid.index([i, j, *k])] == skull)?;
        Some(anatomy.grid.centre([i, j, k]))
    });
    lowest.collect()
}

fn is_tissue(patient: &Patient, at: &Point3<f64>) -> bool {
    patient.label_at(at).is_some_and(|l| ![Label::Outside, Label::Skull, Label::Csf].contains(&l))
}

/// 1 mm within the cortex, on rings about the craniotomy's axis.
fn about_the_craniotomy(patient: &Patient) -> Vec<Point3<f64>> {
    let anatomy = patient.anatomy();
    let outward = anatomy.craniotomy.outward;
    let beside = if outward.x.abs() < 0.7 { Vector3::x() } else { Vector3::y() };
    let side = outward.cross(&beside).normalize();
    let other = outward.cross(&side);
    let rings = [13.0, 17.0, 21.0]
        .into_iter()
        .flat_map(|ring| (0..8).map(move |n| (ring, f64::from(n) * std::f64::consts::FRAC_PI_4)));
    let inward = rings.filter_map(|(ring, turn)| {
        let start = anatomy.corridor.entry + (side * turn.cos() + other * turn.sin()) * ring + outward * 20.0;
        let mut steps = (0..120).map(|n| start - outward * (0.5 * f64::from(n)));
        steps.find(|p| is_tissue(patient, p)).map(|p| p - outward)
    });
    inward.collect()
}

/// 3 mm beyond the tumour's core, in directions away from the craniotomy.
fn beyond_the_core(patient: &Patient) -> Vec<Point3<f64>> {
    let core = |l: Label| l == Label::Enhancing || l == Label::Necrosis;
    let (mut sum, mut count) = (Vector3::zeros(), 0_usize);
    for point in patient.labelled(core) {
        sum += point.coords;
        count += 1;
    }
    let middle = Point3::from(sum / count.max(1) as f64);
    let outward = patient.anatomy().craniotomy.outward;
    let directions = (0..27_i32)
        .filter(|n| *n != 13)
        .map(|n| Vector3::new(f64::from(n % 3 - 1), f64::from(n / 3 % 3 - 1), f64::from(n / 9 - 1)).normalize())
        .filter(|d| d.dot(&outward) <= 0.2);
    let beyond = directions.filter_map(|d| {
        let steps = (0..120).map(|n| middle + d * (0.5 * f64::from(n)));
        let last = steps.filter(|p| patient.label_at(p).is_some_and(core)).last()?;
        Some(last + d * 3.0).filter(|p| is_tissue(patient, p))
    });
    beyond.collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn page(rows: &[Vec<Line>; 2], command: &str) -> String {
    let cases = rows[0].len() + rows[1].len();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut out = format!(
        "# What registration of two scans is worth\n\n`{command}`, on {cores} cores that other programs shared. All of it is *simulated*: {cases} \
         removals, each with a preoperative T1c scan and an intraoperative one with cavity, brain shift and artefacts, between which \
         the patient lies otherwise by up to {:.0}° and {SHIFT_MOST_MM} mm. Errors are the distance from a point's true place, mm; *mean* is \
         over cases of the mean over a case's points, *worst* is the worst point of all. Nothing was tuned on these seeds, or \
         on the foreign world.\n\n\
         | | home | foreign | asked for |\n|---|---|---|---|\n",
        TURN_MOST.to_degrees()
    );
    let held: [Vec<&Figures>; 2] = [0, 1].map(|w: usize| rows[w].iter().filter_map(|l| l.figures.as_ref()).collect());
    let mut row = |what: &str, asked: &str, of: &dyn Fn(&[&Figures], &[Line]) -> String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {what} | {} | {} | {asked} |", of(&held[0], &rows[0]), of(&held[1], &rows[1]));
    };
    let over =
        |figures: &[&Figures], of: &dyn Fn(&Figures) -> f64| -> Vec<f64> { figures.iter().map(|f| of(f)).collect() };
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    row("cases, registered", "", &|f, l| format!("{}, {}", l.len(), f.len()));
    row("skull base, rigid: mean, worst", &format!("at most {BASE_MM} mm"), &|f, _| {
        format!("{:.2}, {:.2}", mean(&over(f, &|f| f.base_mm)), most(&over(f, &|f| f.base_max_mm)))
    });
    row("skull base, stated: mean", "", &|f, _| format!("{:.2}", mean(&over(f, &|f| f.base_stated_mm))));
    for (name, places) in
        [("cortex", (|f: &Figures| f.cortex.clone()) as fn(&Figures) -> Places), ("deep", |f| f.deep.clone())]
    {
        row(&format!("{name}, rigid: mean"), "", &|f, _| format!("{:.2}", mean(&over(f, &|f| places(f).rigid_mm))));
        row(&format!("{name}, deformable: mean, worst"), "", &|f, _| {
            let worst = most(&over(f, &|f| places(f).deformable_max_mm));
            format!("{:.2}, {worst:.2}", mean(&over(f, &|f| places(f).deformable_mm)))
        });
        row(&format!("{name}, deformable, stated: mean"), "", &|f, _| {
            format!("{:.2}", mean(&over(f, &|f| places(f).stated_mm)))
        });
        row(&format!("{name}: share of the rigid error that is left"), &format!("at most {LEFT}"), &|f, _| {
            let total = |of: &dyn Fn(&Figures) -> f64| mean(&over(f, of));
            format!("{:.2}", total(&|f| places(f).deformable_mm) / total(&|f| places(f).rigid_mm))
        });
        row(&format!("{name}: cases with at most half of it left"), "all", &|f, _| {
            let halved = f.iter().filter(|f| places(f).deformable_mm <= LEFT * places(f).rigid_mm).count();
            format!("{halved} of {}", f.len())
        });
        let asked = format!("{:.0} to {:.0} %", WITHIN[0] * 1e2, WITHIN[1] * 1e2);
        row(&format!("{name}: points within the 90 % interval that is stated"), &asked, &|f, _| {
            let sum = |of: &dyn Fn(&Places) -> usize| f.iter().map(|f| of(&places(f))).sum::<usize>();
            format!("{:.0} %", 1e2 * sum(&|p| p.within) as f64 / sum(&|p| p.points).max(1) as f64)
        });
        row(&format!("{name}: points that the map takes nowhere"), "", &|f, _| {
            let sum = |of: &dyn Fn(&Figures) -> usize| f.iter().map(|f| of(f)).sum::<usize>();
            format!("{} of {}", sum(&|f| places(f).lost), sum(&|f| places(f).points))
        });
    }
    row("least factor of volume, worst case", "above 0", &|f, _| {
        format!("{:.3}", f.iter().map(|f| f.shrinks_least).fold(f64::INFINITY, f64::min))
    });
    row("normalised mutual information as the headers say, rigid, deformable: mean", "", &|f, _| {
        let at = |n: usize| mean(&over(f, &|f| f.nmi[n]));
        format!("{:.3}, {:.3}, {:.3}", at(0), at(1), at(2))
    });
    row("time of both, reading apart: mean, longest, s", &format!("at most {SECONDS:.0} s"), &|f, _| {
        let all = over(f, &|f| f.rigid_s + f.deformable_s);
        format!("{:.1}, {:.1}", mean(&all), most(&all))
    });
    row("processor time of both, all threads: mean, longest, s", "", &|f, _| {
        let all: Vec<f64> = f.iter().filter_map(|f| f.cpu_s).collect();
        format!("{:.1}, {:.1}", mean(&all), most(&all))
    });
    for what in ["mirrored", "another patient"] {
        row(&format!("{what}: refused as such"), "all", &|_, l| {
            let tried: Vec<&Line> = l.iter().filter(|l| l.bad_input == what).collect();
            format!("{} of {}", tried.iter().filter(|l| l.bad_input_refused).count(), tried.len())
        });
    }
    for line in rows.iter().flatten() {
        if let Some(why) = &line.refused {
            let _ = write!(out, "\nNot in the figures: {}, seed {}: {why}.\n", line.world, line.seed);
        }
    }
    out.push_str(
        "\nThe skull base is held far better than a theatre's scans would be: both simulated scans show the very same skull, and only the \
         neighbourhood of air is distorted. What that leaves out, as a scanner's own distortion, no figure here shows.\n",
    );
    out
}
