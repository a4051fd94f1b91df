//! Reports: JSON with the fields that other programs read. Names here are a contract; a field that a later
//! version fills is `null`, never absent and never invented.
//!
//! Those of many cases are [`suite`]'s, which are read again, too.
//!
//! **Units** stand in the names. A figure of a simulated case is a *simulated* figure.

use bregma_core::histogram::Histogram;
pub mod suite;

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the report's form.
pub const SCHEMA: u32 = 1;

/// A word that the program knows, or that was read.
pub type Word = Cow<'static, str>;

/// What every report begins with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// Version of the form.
    pub schema: u32,
    /// Commit that the program was built from; `unknown` outside a checkout.
    pub commit: String,
    /// SHA-256 of the resolved configuration.
    pub config_hash: String,
    /// Hash of the estimator and the planner together.
    pub model_hash: String,
    /// `real` or `simulated`.
    pub clock: Word,
}

/// Median and tail of a time, ms.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: Option<f64>,
    /// 99 of 100 are faster.
    pub p99: Option<f64>,
    /// 999 of 1000 are faster.
    pub p999: Option<f64>,
    /// The slowest.
    pub max: Option<f64>,
}

impl Latency {
    /// From counted times.
    #[must_use]
    pub fn of(times: &Histogram) -> Self {
        let ms = |share| times.quantile(share).map(|d| d.millis_f64());
        let max = (times.count() > 0).then(|| times.max().millis_f64());
        Self { p50: ms(0.5), p99: ms(0.99), p999: ms(0.999), max }
    }
}

/// Times of one stage's steps, ms.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct StageTimes {
    /// Half are faster.
    pub p50: Option<f64>,
    /// 99 of 100 are faster.
    pub p99: Option<f64>,
    /// The slowest.
    pub max: Option<f64>,
}

/// Values lost on one lane.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct LaneLoss {
    /// Pushed out or refused before they were read.
    pub displaced: u64,
}

/// Mean and 95th percentile.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: Option<f64>,
    /// 95 of 100 are smaller.
    pub p95: Option<f64>,
}

impl Spread {
    /// Of values in any order; both `None` without values.
    #[must_use]
    pub fn of(values: &mut [f64]) -> Self {
        if values.is_empty() {
            return Self { mean: None, p95: None };
        }
        values.sort_by(f64::total_cmp);
        let at = ((values.len() as f64 * 0.95).ceil() as usize).clamp(1, values.len()) - 1;
        Self { mean: Some(values.iter().sum::<f64>() / values.len() as f64), p95: Some(values[at]) }
    }
}

/// Error of the estimated margin, mm.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MarginError {
    /// Over all wall and tip samples.
    pub mean: Option<f64>,
    /// 95 of 100 are smaller.
    pub p95: Option<f64>,
    /// Over wall that the microscope saw in that frame.
    pub visible: Spread,
    /// Over wall that it did not.
    pub hidden: Spread,
}

/// The ladder of estimators, on identical observations, mm.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ladder {
    /// Preoperative segmentation minus the volume swept by the tracked tip.
    #[serde(rename = "static")]
    pub static_preoperative: Option<Spread>,
    /// As above, registered again at each MRI.
    pub reregistered: Option<Spread>,
    /// As above, with the surface's shift.
    pub surface_shift: Option<Spread>,
    /// The classical estimator.
    pub classical: Option<Spread>,
    /// The network.
    pub network: Option<Spread>,
}

/// How often the true margin lay in the stated interval.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Coverage {
    /// Share of samples.
    pub coverage: Option<f64>,
    /// Mean width of the interval, mm.
    pub width_mm_mean: Option<f64>,
}

/// Counts of motions.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Motions {
    /// Plans with motions.
    pub planned: u64,
    /// Approvals.
    pub approved: u64,
    /// Candidates that the validator rejected.
    pub rejected: u64,
    /// Approvals that the arm's own log shows movement under.
    pub executed: u64,
    /// Entries of the arm's own log that no approval explains; by the independent checker.
    pub executed_unapproved: u64,
}

/// One case.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub seed: u64,
    pub world: Word,
    pub planner: Word,
    pub engine: Word,
    pub frames: u64,
    pub fps: Option<f64>,
    pub fps_min: Option<f64>,
    pub latency_ms: Latency,
    pub stages: BTreeMap<Word, StageTimes>,
    pub lanes: BTreeMap<Word, LaneLoss>,
    pub scene_age_ms: StageAge,
    pub extent_of_resection: Option<f64>,
    pub residual_volume_ml: Option<f64>,
    pub residual_core_ml: Option<f64>,
    pub residual_declined_ml: Option<f64>,
    pub overcut_ml: Option<f64>,
    pub healthy_removed_ml: Option<f64>,
    pub eloquent_removed_ml: Option<f64>,
    pub corridor_ml: Option<f64>,
    pub missed_margin_cm2: Option<f64>,
    pub forbidden_violations: Option<u64>,
    pub bleeding_events: Option<u64>,
    pub handovers: Option<u64>,
    /// Intraoperative scans that were taken up.
    pub intraoperative_scans: Option<u64>,
    pub tool_time_s: Option<f64>,
    pub dice_residual: Option<f64>,
    pub margin_error_mm: MarginError,
    pub static_margin_error_mm: Spread,
    pub ladder: Ladder,
    pub removal_rate_scale: Option<f64>,
    pub margin_interval: Coverage,
    pub motions: Motions,
    pub planner_fallbacks: Option<u64>,
    pub oracle: Option<Oracles>,
    pub outcome: Outcome,
    pub reason: String,
    /// No residual component of 0.175 mL or more; counted in a suite's `complete_rate`.
    pub complete: bool,
    /// CPU seconds of the case, its patient included: growing her, or reading her from the cache.
    pub cpu_s: Option<f64>,
    /// Whether she was.
    pub patient_cached: bool,
}

/// What oracles come to on the same patient, by the bounds of success but that of time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Oracles {
    /// Whether the oracle reaches success.
    pub feasible: bool,
    /// How long its tip is past the craniotomy, s.
    pub tool_time_s: Option<f64>,
    /// Whether one reaches it where nothing errs and nothing is kept clear of for fear that something might.
    pub unconstrained_feasible: bool,
}

/// Times the oracle's tool time that a success may take.
const TOOL_TIME_MAX: f64 = 2.0;

impl Case {
    /// Holds the case against the oracles: a success that took too long is none.
    pub fn hold_against(&mut self, oracles: Oracles) {
        self.oracle = Some(oracles);
        let too_long = too_long(self.tool_time_s, oracles.tool_time_s);
        if let Some(why) = too_long.filter(|_| self.outcome == Outcome::Success) {
            self.outcome = Outcome::Failure;
            self.reason = format!("{why}; {}", self.reason);
        }
    }
}

/// Why so much tool time is too much, in words, where both times are known.
fn too_long(took_s: Option<f64>, oracle_s: Option<f64>) -> Option<String> {
    let (took, most) = (took_s?, TOOL_TIME_MAX * oracle_s?);
    (took > most).then(|| format!("{took:.0} s of tool time, at most {most:.0} s: twice the oracle's"))
}

/// Age of the scene that the gate moved by, ms.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct StageAge {
    /// Half are younger.
    pub p50: Option<f64>,
    /// 99 of 100 are younger.
    pub p99: Option<f64>,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The goal of the resection was reached.
    Success,
    /// It ended and was not.
    Failure,
    /// It did not end.
    Unfinished,
}

/// A report of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// Head.
    #[serde(flatten)]
    pub head: Head,
    /// The case.
    #[serde(flatten)]
    pub case: Case,
}

/// A report of measurements.
#[derive(Debug, Clone, Serialize)]
pub struct BenchReport {
    /// Version of the form.
    pub schema: u32,
    /// Which bench.
    pub bench: &'static str,
    /// Cores and processor.
    pub machine: String,
    /// What was measured.
    pub rows: Vec<BenchRow>,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct BenchRow {
    /// What; a peer measured in the same run has its name in front.
    pub name: String,
    /// Half are smaller.
    pub median: f64,
    /// 99 of 100 are smaller.
    pub p99: Option<f64>,
    /// Unit of both.
    pub unit: &'static str,
    /// Number of measurements.
    pub n: usize,
}

/// Makes the folder that a report is to be written into, so that what is wrong with it is said before the work.
///
/// # Errors
/// When there can be none, naming it.
pub fn make_room(path: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {} for the report", folder.display()))
}

/// Writes a report as JSON, whole or not at all.
///
/// # Errors
/// When the file cannot be written, naming it.
pub fn write(path: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    use anyhow::Context;
    let text = serde_json::to_string_pretty(report).context("the report cannot be put into JSON")?;
    crate::whole::write(path, text + "\n").context("the report")
}

/// The commit this program was built from, as `build.rs` found it.
#[must_use]
pub const fn commit() -> &'static str {
    env!("BREGMA_COMMIT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_the_oracles_tool_time_is_the_most() {
        assert_eq!(too_long(Some(200.0), Some(100.0)), None);
        let why = too_long(Some(201.0), Some(100.0)).expect("too long");
        assert_eq!(why, "201 s of tool time, at most 200 s: twice the oracle's");
        assert_eq!((too_long(None, Some(1.0)), too_long(Some(1.0), None)), (None, None));
    }

    #[test]
    fn a_spread_of_nothing_is_null() {
        assert_eq!(serde_json::to_string(&Spread::of(&mut [])).expect("json"), r#"{"mean":null,"p95":null}"#);
        let mut values: Vec<f64> = (1..=100).map(f64::from).collect();
        values.reverse();
        let spread = Spread::of(&mut values);
        assert_eq!((spread.mean, spread.p95), (Some(50.5), Some(95.0)));
    }
}
