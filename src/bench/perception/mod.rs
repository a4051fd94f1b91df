//! The network beside other people's runtimes, in one run: frames in f32 and int8, training, memory, and the share of
//! what this machine can compute at most.
//!
//! ```text
//!  folder: one network, one frame ──► a process each: ours, OpenVINO, ONNX Runtime, PyTorch, burn-flex
//!                                        │ logits, compared with ours; who differs is not timed
//!                                        └ rounds: each in turn, and the machine's peak in between
//! ```
//! **Times** are taken inside each process, around its runtime's own call; a busy machine slows all of them, so that
//! ratios within a run mean more than milliseconds. **Memory** is the most that a process held, less what it held
//! before it loaded the model. **Not measured:** a contender that is missing, fails or disagrees is named with its
//! reason. **Not protected against:** a machine whose load changes within a round.

pub mod bars;
pub mod case;
pub mod folder;
pub mod picture;
pub mod race;
pub mod serve;
pub mod table;
pub mod talk;

use crate::report::BenchRow;
use anyhow::{Context, ensure};
use bregma_core::time::{Clock, RealClock};
use bregma_perception::distance::DistanceTransform;
use bregma_perception::model::BASE_MAX;
use case::{Point, Task};
use indicatif::ProgressBar;
use race::Race;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;

/// Edges and bases that are measured if nobody says which: each with the default of the other, on two threads.
const EDGES: [usize; 4] = [32, 64, 96, 128];
const BASES: [usize; 3] = [4, 8, 16];
/// The default network's; if nobody says on how many threads, it alone is measured on one too.
const USUAL: Point = Point { edge: 64, base: 8, threads: 2 };
/// Voxels along an edge, at most: training on more would want tens of GB.
const EDGE_MAX: usize = 256;
/// Threads, at most.
const THREADS_MAX: usize = 64;
/// Rounds, at most.
const ROUNDS_MAX: usize = 10_000;
/// Edges of the grids that the distance transform is timed on.
const DISTANCES: [usize; 2] = [64, 128];

/// What is measured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sizes, networks and threads.
    pub points: Vec<Point>,
    /// Measurements of each, at most.
    pub rounds: usize,
    /// The interpreter of other people's runtimes; `None`: they are not asked.
    pub python: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Figures.
    pub rows: Vec<BenchRow>,
    /// What else a reader should know: agreement, and who was not run and why.
    pub notes: Vec<String>,
}

/// All points of these lists; an empty one is the usual choice.
///
/// # Errors
/// A number out of its range, which is named.
pub fn points(edges: &[usize], bases: &[usize], threads: &[usize]) -> anyhow::Result<Vec<Point>> {
    let unit = USUAL.shape().edge_unit();
    for edge in edges {
        let fits = (unit..=EDGE_MAX).contains(edge) && edge.is_multiple_of(unit);
        ensure!(fits, "--edges has {edge}; multiples of {unit} up to {EDGE_MAX} are right");
    }
    for base in bases {
        ensure!((1..=BASE_MAX).contains(base), "--bases has {base}; 1 to {BASE_MAX} are right");
    }
    for count in threads {
        ensure!((1..=THREADS_MAX).contains(count), "--threads has {count}; 1 to {THREADS_MAX} are right");
    }
    let sizes: Vec<[usize; 2]> = match (edges, bases) {
        ([], []) => {
            let of_edges = EDGES.iter().map(|edge| [*edge, USUAL.base]);
            of_edges.chain(BASES.iter().map(|base| [USUAL.edge, *base])).collect()
        }
        ([], bases) => bases.iter().map(|base| [USUAL.edge, *base]).collect(),
        (edges, []) => edges.iter().map(|edge| [*edge, USUAL.base]).collect(),
        (edges, bases) => edges.iter().flat_map(|edge| bases.iter().map(|base| [*edge, *base])).collect(),
    };
    let alone = threads.is_empty().then_some(Point { threads: 1, ..USUAL });
    let threads = if threads.is_empty() { &[USUAL.threads] } else { threads };
    let of = |threads: usize| sizes.iter().map(move |[edge, base]| Point { edge: *edge, base: *base, threads });
    let mut points: Vec<Point> = threads.iter().flat_map(|threads| of(*threads)).collect();
    points.extend(alone.filter(|_| points.contains(&USUAL)));
    points.sort_unstable();
    points.dedup();
    Ok(points)
}

/// Measures all of it.
///
/// # Errors
/// When our own contenders fail. That other people's do is a note.
pub fn run(settings: &Settings, bar: &ProgressBar) -> anyhow::Result<Outcome> {
    let rounds = settings.rounds;
    ensure!((1..=ROUNDS_MAX).contains(&rounds), "--rounds is {rounds}; 1 to {ROUNDS_MAX} are right");
    let mut outcome = Outcome::default();
    if settings.python.is_none() {
        outcome.notes.push("other people's runtimes: not run: --peers was not given".into());
    }
    bar.set_length((settings.points.len() * Task::ALL.len()) as u64);
    let mut peaks = BTreeMap::<String, Vec<f64>>::new();
    for point in &settings.points {
        let folder = tempfile::tempdir().context("no folder for what contenders read")?;
        folder::prepare(folder.path(), *point).with_context(|| format!("a network for {}", point.words()))?;
        for task in Task::ALL {
            bar.set_message(format!("{}, {}", task.words(), point.words()));
            let race = Race { folder: folder.path(), point: *point, task, rounds, python: settings.python.as_deref() };
            race.run(&mut outcome, &mut peaks)?;
            bar.inc(1);
        }
    }
    for (name, mut rates) in peaks {
        let unit = if name.contains("int8") { "GOP/s" } else { "GFLOP/s" };
        outcome.rows.extend(row(&name, &mut rates, unit));
    }
    for edge in DISTANCES {
        outcome.rows.extend(distance(edge, rounds));
    }
    Ok(outcome)
}

/// Median and 99th percentile; none without values.
fn row(name: &str, values: &mut [f64], unit: &'static str) -> Option<BenchRow> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len().max(1)) - 1;
        values.get(index).copied()
    };
    let (median, p99) = (at(0.5)?, at(0.99));
    Some(BenchRow { name: name.to_owned(), median, p99, unit, n: values.len() })
}

/// A ball of a usual core's size in the middle, on the calling thread alone.
fn distance(edge: usize, rounds: usize) -> Option<BenchRow> {
    let clock = RealClock::start();
    let (middle, radius) = ((edge as f64 - 1.0) / 2.0, edge as f64 * 12.0 / 64.0);
    let away = |i: usize| {
        let at = [i % edge, i / edge % edge, i / (edge * edge)];
        at.map(|v| (v as f64 - middle).powi(2)).iter().sum::<f64>()
    };
    let inside: Vec<u8> = (0..edge.pow(3)).map(|i| u8::from(away(i) < radius * radius)).collect();
    let (mut transform, mut out) = (DistanceTransform::new([edge; 3]), vec![0; inside.len()]);
    let mut times = Vec::new();
    for _ in 0..=rounds {
        let start = clock.now();
        transform.signed(black_box(&inside), &mut out);
        times.extend(clock.now().since(start).map(|d| d.millis_f64()));
        black_box(&out);
    }
    row(&format!("distance_transform_{edge}"), times.get_mut(1..)?, "ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_crossed_and_their_absence_is_the_usual_choice() {
        let usual = points(&[], &[], &[]).expect("points");
        assert_eq!(usual.len(), EDGES.len() + BASES.len(), "{usual:?}");
        assert!(usual.contains(&USUAL) && usual.contains(&Point { threads: 1, ..USUAL }));
        assert_eq!(points(&[32], &[], &[]).expect("points"), [Point { edge: 32, ..USUAL }]);
        assert_eq!(points(&[32, 64], &[4, 8, 16], &[1, 2]).expect("points").len(), 12);
        assert_eq!(points(&[], &[4], &[2]).expect("points"), [Point { base: 4, ..USUAL }]);
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        let said = |edges: &[usize], bases: &[usize], threads: &[usize]| {
            points(edges, bases, threads).expect_err("refused").to_string()
        };
        assert!(said(&[60], &[], &[2]).contains("--edges has 60"));
        assert!(said(&[512], &[], &[2]).contains("--edges has 512"));
        assert!(said(&[], &[0], &[2]).contains("--bases has 0"));
        assert!(said(&[], &[], &[0]).contains("--threads has 0"));
    }

    #[test]
    fn a_median_is_one_of_the_values_and_nothing_has_none() {
        let row = row("x", &mut [3.0, 1.0, 2.0], "ms").expect("a row");
        assert!((row.median - 2.0).abs() < 1e-12 && row.n == 3);
        assert!(super::row("x", &mut [], "ms").is_none());
    }
}
