//! Benches of the program: what a hop through a lane costs, beside other people's channels in the same run,
//! what each stage allocates once it has settled, what digital patients cost, the network beside other people's
//! runtimes, and registrations beside other people's.

pub mod cpu;
pub mod hops;
pub mod patient;
pub mod perception;
pub mod registration;
pub mod steady;

use crate::report::BenchRow;
use bregma_core::time::Duration;

/// Median and 99th percentile of counted times, as a row.
#[must_use]
pub fn row(name: &str, times: &mut [Duration], per: f64) -> BenchRow {
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len().max(1)) - 1;
        times.get(index).map_or(f64::NAN, |t| t.nanos() as f64 * 1e-3 / per)
    };
    BenchRow { name: name.to_owned(), median: at(0.5), p99: Some(at(0.99)), unit: "us", n: times.len() }
}

/// Cores and processor, for reports.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown processor", |l| l.trim_start_matches(['\t', ' ', ':']));
    format!("{cores} cores, {model}")
}
