//! `bregma bench`: measurements, as a table and as JSON.

use super::{BenchArgs, BenchName, Goal, say};
use crate::bench::{self, hops, patient, steady};
use crate::report::{BenchReport, BenchRow, SCHEMA};
use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};

/// Runs it.
///
/// # Errors
/// When a bench cannot be set up.
pub fn run(args: &BenchArgs) -> anyhow::Result<Goal> {
    let (name, rows) = match args.bench {
        BenchName::Pipeline => ("pipeline", pipeline()?),
        BenchName::Patient => ("patient", patients(args.patients)?),
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
    let bar = ProgressBar::new(1).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len}, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let rows = patient::rows(count, &bar);
    bar.finish_and_clear();
    rows
}
