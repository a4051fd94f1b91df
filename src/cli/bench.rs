//! `bregma bench`: measurements, as a table and as JSON.

use super::{BenchArgs, BenchName, Goal, say};
use crate::bench::{self, hops, steady};
use crate::report::{BenchReport, SCHEMA};

/// Runs it.
///
/// # Errors
/// When a bench cannot be set up.
pub fn run(args: &BenchArgs) -> anyhow::Result<Goal> {
    let BenchName::Pipeline = args.bench;
    let mut rows = hops::rows()?;
    rows.extend(steady::rows()?);
    let report = BenchReport { schema: SCHEMA, bench: "pipeline", machine: bench::machine(), rows };
    say(format!("{:<44}{:>12}{:>12}  {:<12}{:>8}", "pipeline", "median", "p99", "unit", "n"));
    for row in &report.rows {
        let p99 = row.p99.map_or_else(|| "–".into(), |v| format!("{v:.3}"));
        say(format!("{:<44}{:>12.3}{:>12}  {:<12}{:>8}", row.name, row.median, p99, row.unit, row.n));
    }
    #[cfg(not(feature = "bench-peers"))]
    say("\nother people's channels in the same run: make bench-peers");
    if let Some(path) = &args.report {
        crate::report::write(path, &report)?;
        say(format!("report     {}", path.display()));
    }
    Ok(Goal::Held)
}
