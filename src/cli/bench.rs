//! `bregma bench`: measurements, as a table and as JSON.

use super::{BenchArgs, BenchName, Goal, say};
use crate::bench::perception::case::{Point, Task};
use crate::bench::perception::{self, Outcome, Settings, bars, picture, serve, table};
use crate::bench::{self, cpu, hops, patient, registration, steady};
use crate::report::{BenchReport, BenchRow, SCHEMA};
use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// What says where other people's runtimes are, and where they are if nobody says.
const PEERS: [&str; 2] = ["BREGMA_BENCH_PEERS", "target/bench-peers"];
/// The same of other people's registrations.
const REGISTER_PEERS: [&str; 2] = ["BREGMA_REGISTER_PEERS", "target/register-peers"];
/// Seed of the first input of `bench registration`.
const REGISTER_SEED: u64 = 1;

/// Runs it.
///
/// # Errors
/// When a bench cannot be set up.
pub fn run(args: &BenchArgs) -> anyhow::Result<Goal> {
    if !args.serve.is_empty() {
        serve::serve(&args.serve, std::io::stdin().lock(), std::io::stdout().lock())?;
        return Ok(Goal::Held);
    }
    let (name, rows) = match args.bench {
        BenchName::Pipeline => ("pipeline", pipeline()?),
        BenchName::Patient => ("patient", patients(args.patients)?),
        BenchName::Perception => ("perception", network(args)?),
        BenchName::Registration => ("registration", registrations(args)?),
    };
    let report = BenchReport { schema: SCHEMA, bench: name, machine: bench::machine(), rows };
    say(format!("{name:<44}{:>12}{:>12}  {:<12}{:>8}", "median", "p99", "unit", "n"));
    for row in &report.rows {
        let p99 = row.p99.map_or_else(|| "–".into(), |v| format!("{v:.3}"));
        say(format!("{:<44}{:>12.3}{:>12}  {:<12}{:>8}", row.name, row.median, p99, row.unit, row.n));
    }
    #[cfg(not(feature = "bench-peers"))]
    if args.bench == BenchName::Pipeline {
        say("\nother people's channels in the same run: make bench-peers");
    }
    if let Some(path) = &args.report {
        crate::report::write(path, &report)?;
        say(format!("report     {}", path.display()));
    }
    Ok(Goal::Held)
}

fn pipeline() -> anyhow::Result<Vec<BenchRow>> {
    let mut rows = hops::rows()?;
    rows.extend(steady::rows()?);
    Ok(rows)
}

fn patients(count: usize) -> anyhow::Result<Vec<BenchRow>> {
    ensure!((8..=100_000).contains(&count), "--patients is {count}; it must lie in 8 to 100000");
    let bar = bar();
    let rows = patient::rows(count, &bar);
    bar.finish_and_clear();
    rows
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(1).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len}, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    bar
}

/// The network beside other people's runtimes; table and picture are written here, since they hold more than rows.
fn network(args: &BenchArgs) -> anyhow::Result<Vec<BenchRow>> {
    let points = perception::points(&args.edges, &args.bases, &args.threads)?;
    let python = args.peers.then(|| python(PEERS)).transpose()?;
    let before = cpu::Busy::now();
    let bar = bar();
    let outcome = perception::run(&Settings { points: points.clone(), rounds: args.rounds, python }, &bar);
    bar.finish_and_clear();
    let mut outcome = outcome?;
    let others = others(before);
    outcome.notes.insert(0, format!("other programs used {others} of the machine's processors during the run"));
    shares(&outcome, &points);
    say(bars::markdown(&outcome.rows));
    outcome.notes.iter().for_each(say);
    say("");
    let usual = Point { edge: 64, base: 8, threads: 2 };
    let drawn = match &args.plot {
        Some(path) => {
            let image = picture::draw(&outcome.rows, usual);
            let image = image.context("--plot: nothing was measured at 64, base 8, two threads")?;
            image.save(path).with_context(|| format!("cannot write {}", path.display()))?;
            path.file_name().map(|name| name.to_string_lossy().into_owned())
        }
        None => None,
    };
    if let Some(path) = &args.table {
        let command: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("bregma {}", command.join(" "));
        let seconds = bregma_core::time::calendar_seconds();
        let machine = bench::machine();
        let head = table::Head { command: &command, machine: &machine, seconds, picture: drawn.as_deref() };
        std::fs::write(path, table::markdown(&outcome, &points, &head))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(outcome.rows)
}

/// Registrations beside other people's; the table is written here, since it holds more than rows.
fn registrations(args: &BenchArgs) -> anyhow::Result<Vec<BenchRow>> {
    let python = args.peers.then(|| python(REGISTER_PEERS)).transpose()?;
    let (before, bar) = (cpu::Busy::now(), bar());
    let outcome = registration::run(python.as_deref(), REGISTER_SEED, &bar);
    bar.finish_and_clear();
    let outcome = outcome?;
    let others = others(before);
    outcome.notes.iter().for_each(say);
    if let Some(path) = &args.table {
        let command: Vec<String> = std::env::args().skip(1).collect();
        let command = format!("bregma {}", command.join(" "));
        let machine = bench::machine();
        let head = registration::Head { command: &command, machine: &machine, others: &others };
        std::fs::write(path, registration::markdown(&outcome, &head))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(outcome.rows())
}

/// How busy other programs kept the processors since then, in words.
fn others(before: Option<cpu::Busy>) -> String {
    let others = cpu::Busy::now().zip(before).and_then(|(now, before)| now.others_since(before));
    others.map_or_else(|| "an unknown share".into(), |share| format!("{:.0} %", share * 1e2))
}

/// Each frame's share of what the machine can compute at most.
fn shares(outcome: &Outcome, points: &[Point]) {
    for (point, task) in points.iter().flat_map(|point| [Task::F32, Task::Int8].map(|task| (*point, task))) {
        for (_, what) in task.commands() {
            let name = point.row(perception::case::Contender::Ours, what);
            let frame = table::find(&outcome.rows, &name);
            if let Some(share) = frame.and_then(|frame| table::share(&outcome.rows, point, task, frame)) {
                say(format!("{name:<44}{:>11.1} % of {}", share * 1e2, point.peak(task)));
            }
        }
    }
}

/// The interpreter of a virtual environment that holds other people's programs.
fn python([variable, usual]: [&str; 2]) -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from);
    let python = Path::new(&folder).join("bin/python");
    // Contenders run in folders of their own: the path must hold from there. A link is kept, since it is what tells
    // Python that it is in an environment.
    std::path::absolute(&python).with_context(|| format!("no path to {}", python.display()))
}
