//! Reports of many cases: written after each, read again to go on, brought together from several machines.
//!
//! **What may be brought together:** reports of one suite in one world with one planner, one configuration and one model; else the first
//! that differs is named, with what differs. Commits may differ and are all named: what they change is for a reader to judge.

use super::{Case, Head, Outcome};
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A report of many cases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SuiteReport {
    /// Head.
    #[serde(flatten)]
    pub head: Head,
    /// Settings of the suite that a reader needs to judge its figures.
    pub suite: SuiteSettings,
    /// Every case, by seed.
    pub cases: Vec<Case>,
    /// All of them together.
    pub summary: Summary,
}

/// Settings of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteSettings {
    /// Its name.
    pub name: String,
    /// Scenes per simulated second, besides one after each motion.
    pub perceive_hz: f64,
    /// Removal, times the instrument's real rate.
    pub removal_rate_scale: f64,
    /// Whether microscope, tracking and instrument erred and failed as in life, and vessels bled.
    pub lifelike: bool,
    /// Updates of the brain's shift a simulated second; 0: it lay still.
    pub shift_hz: f64,
    /// The T1 whose head the patients have; `None` for the world's own.
    pub anatomy: Option<String>,
    /// In which world.
    pub world: String,
    /// Who planned.
    pub planner: String,
    /// Intraoperative scans that there was time for in a case.
    pub scans: u32,
    /// Median CPU seconds of a case, its patient included: growing her, or reading her from the cache.
    pub cpu_s_median: f64,
    /// Cases whose patient was read from the cache.
    pub patients_cached: usize,
    /// Seeds from which no patient grows: there is no place for the core that was drawn. They are no cases.
    pub seeds_without_patient: Vec<u64>,
}

/// All cases of a suite together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    pub n: usize,
    pub success_rate: Option<f64>,
    pub success_rate_ci95: Option<[f64; 2]>,
    pub near_complete_rate: Option<f64>,
    pub complete_rate: Option<f64>,
    pub oracle_feasible_rate: Option<f64>,
    pub unconstrained_feasible_rate: Option<f64>,
    pub residual_volume_ml_mean: Option<f64>,
    pub overcut_ml_mean: Option<f64>,
    pub missed_margin_cm2_mean: Option<f64>,
    pub margin_error_mm_mean: Option<f64>,
    pub static_margin_error_mm_mean: Option<f64>,
    pub forbidden_violations: u64,
    pub executed_unapproved: u64,
    pub fps_min: Option<f64>,
}

impl SuiteReport {
    /// Of no case yet.
    #[must_use]
    pub fn new(head: Head, suite: SuiteSettings) -> Self {
        Self { head, suite, cases: Vec::new(), summary: Summary::of(&[]) }
    }

    /// Reads one.
    ///
    /// # Errors
    /// A file that cannot be read or is no report of a suite.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the report {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report of a suite", path.display()))
    }

    /// Whether a seed is dealt with.
    #[must_use]
    pub fn has(&self, seed: u64) -> bool {
        self.cases.iter().any(|case| case.seed == seed) || self.suite.seeds_without_patient.contains(&seed)
    }

    /// Takes a case in; one of the same seed stays as it is.
    pub fn add(&mut self, case: Case) {
        if !self.has(case.seed) {
            let at = self.cases.partition_point(|other| other.seed < case.seed);
            self.cases.insert(at, case);
            self.sum_up();
        }
    }

    /// From this seed no patient grows.
    pub fn add_none(&mut self, seed: u64) {
        if !self.has(seed) {
            self.suite.seeds_without_patient.push(seed);
            self.suite.seeds_without_patient.sort_unstable();
        }
    }

    /// Takes in all of another.
    ///
    /// # Errors
    /// What differs, when the two are not of one kind.
    pub fn absorb(&mut self, other: Self) -> anyhow::Result<()> {
        let same = |what: &str, a: &str, b: &str| {
            ensure!(a == b, "its {what} is {b}, that of the others {a}");
            Ok(())
        };
        let (ours, theirs) = (&self.suite, &other.suite);
        same("suite", &ours.name, &theirs.name)?;
        same("world", &ours.world, &theirs.world)?;
        same("planner", &ours.planner, &theirs.planner)?;
        same("number of scans", &ours.scans.to_string(), &theirs.scans.to_string())?;
        same("head", &format!("{:?}", ours.anatomy), &format!("{:?}", theirs.anatomy))?;
        same("config_hash", &self.head.config_hash, &other.head.config_hash)?;
        same("model_hash", &self.head.model_hash, &other.head.model_hash)?;
        for commit in other.head.commit.split(", ") {
            if !self.head.commit.split(", ").any(|known| known == commit) {
                self.head.commit += &format!(", {commit}");
            }
        }
        other.suite.seeds_without_patient.into_iter().for_each(|seed| self.add_none(seed));
        other.cases.into_iter().for_each(|case| self.add(case));
        Ok(())
    }

    fn sum_up(&mut self) {
        let mut cpu: Vec<f64> = self.cases.iter().filter_map(|case| case.cpu_s).collect();
        cpu.sort_by(f64::total_cmp);
        self.suite.cpu_s_median = cpu.get(cpu.len() / 2).copied().unwrap_or(0.0);
        self.suite.patients_cached = self.cases.iter().filter(|case| case.patient_cached).count();
        self.summary = Summary::of(&self.cases);
    }
}

impl Summary {
    /// Of cases.
    #[must_use]
    pub fn of(cases: &[Case]) -> Self {
        let n = cases.len();
        let rate = |count: usize| (n > 0).then(|| count as f64 / n as f64);
        let succeeded = |case: &&Case| case.outcome == Outcome::Success;
        let successes = cases.iter().filter(succeeded).count();
        let near = |case: &&Case| {
            succeeded(case)
                && (case.extent_of_resection.is_some_and(|e| e >= 0.98)
                    || case.residual_volume_ml.is_some_and(|v| v <= 0.25))
        };
        Self {
            n,
            success_rate: rate(successes),
            success_rate_ci95: wilson95(successes, n),
            near_complete_rate: rate(cases.iter().filter(near).count()),
            complete_rate: rate(cases.iter().filter(|c| c.complete).count()),
            oracle_feasible_rate: share(cases.iter().map(|c| c.oracle.map(|o| o.feasible))),
            unconstrained_feasible_rate: share(cases.iter().map(|c| c.oracle.map(|o| o.unconstrained_feasible))),
            residual_volume_ml_mean: mean(cases.iter().map(|c| c.residual_volume_ml)),
            overcut_ml_mean: mean(cases.iter().map(|c| c.overcut_ml)),
            missed_margin_cm2_mean: mean(cases.iter().map(|c| c.missed_margin_cm2)),
            margin_error_mm_mean: mean(cases.iter().map(|c| c.margin_error_mm.mean)),
            static_margin_error_mm_mean: mean(cases.iter().map(|c| c.static_margin_error_mm.mean)),
            forbidden_violations: cases.iter().filter_map(|c| c.forbidden_violations).sum(),
            executed_unapproved: cases.iter().map(|c| c.motions.executed_unapproved).sum(),
            fps_min: None,
        }
    }
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// How often it is so, of those that are known.
fn share(known: impl Iterator<Item = Option<bool>>) -> Option<f64> {
    mean(known.map(|known| known.map(|is| f64::from(u8::from(is)))))
}

/// The Wilson score interval of a rate, 95 %: honest near 0 and 1 and for few cases.
///
/// Source: E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, 1927.
#[must_use]
pub fn wilson95(successes: usize, n: usize) -> Option<[f64; 2]> {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 || successes > n {
        return None;
    }
    let (n, p) = (n as f64, successes as f64 / n as f64);
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    Some([((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Coverage, Ladder, Latency, MarginError, Motions, SCHEMA, Spread, StageAge};
    use std::collections::BTreeMap;

    #[test]
    fn the_interval_of_a_rate_holds_known_values() {
        // Published example: 15 of 20 gives 0.531 to 0.888.
        let [low, high] = wilson95(15, 20).expect("a rate");
        assert!((low - 0.5313).abs() < 1e-3 && (high - 0.8881).abs() < 1e-3, "{low} {high}");
        assert_eq!(wilson95(20, 20).map(|i| i[1]), Some(1.0));
        assert_eq!(wilson95(0, 0), None);
    }

    fn case(seed: u64, outcome: Outcome) -> Case {
        let none = Spread { mean: None, p95: None };
        Case {
            seed,
            world: "home".into(),
            planner: "greedy".into(),
            engine: "classical".into(),
            frames: 1,
            fps: None,
            fps_min: None,
            latency_ms: Latency::default(),
            stages: BTreeMap::new(),
            lanes: BTreeMap::new(),
            scene_age_ms: StageAge::default(),
            extent_of_resection: Some(0.99),
            residual_volume_ml: Some(0.5),
            residual_core_ml: None,
            residual_declined_ml: None,
            overcut_ml: None,
            healthy_removed_ml: None,
            eloquent_removed_ml: None,
            corridor_ml: None,
            missed_margin_cm2: None,
            forbidden_violations: Some(0),
            bleeding_events: None,
            handovers: None,
            intraoperative_scans: None,
            tool_time_s: None,
            dice_residual: None,
            margin_error_mm: MarginError { mean: None, p95: None, visible: none, hidden: none },
            static_margin_error_mm: none,
            ladder: Ladder {
                static_preoperative: None,
                reregistered: None,
                surface_shift: None,
                classical: None,
                network: None,
            },
            removal_rate_scale: None,
            margin_interval: Coverage { coverage: None, width_mm_mean: None },
            motions: Motions::default(),
            planner_fallbacks: None,
            oracle: None,
            outcome,
            reason: String::new(),
            complete: false,
            cpu_s: Some(seed as f64),
            patient_cached: seed == 2,
        }
    }

    fn report(commit: &str, world: &str, cases: &[(u64, Outcome)]) -> SuiteReport {
        let head = Head {
            schema: SCHEMA,
            commit: commit.to_owned(),
            config_hash: "c".to_owned(),
            model_hash: "m".to_owned(),
            clock: "simulated".into(),
        };
        let suite = SuiteSettings {
            name: "lifelike".to_owned(),
            perceive_hz: 1.0,
            removal_rate_scale: 4.0,
            lifelike: true,
            shift_hz: 1.0,
            anatomy: None,
            world: world.to_owned(),
            planner: "greedy".to_owned(),
            scans: 2,
            cpu_s_median: 0.0,
            patients_cached: 0,
            seeds_without_patient: Vec::new(),
        };
        let mut report = SuiteReport::new(head, suite);
        cases.iter().for_each(|(seed, outcome)| report.add(case(*seed, *outcome)));
        report
    }

    #[test]
    fn reports_of_one_kind_are_brought_together_and_others_are_named() {
        let (yes, no) = (Outcome::Success, Outcome::Failure);
        let mut first = report("a", "home", &[(3, no), (1, yes)]);
        first.add_none(7);
        first.absorb(report("b", "home", &[(2, yes), (3, yes)])).expect("of one kind");
        let seeds: Vec<u64> = first.cases.iter().map(|case| case.seed).collect();
        assert_eq!((seeds, first.head.commit.as_str()), (vec![1, 2, 3], "a, b"));
        assert_eq!((first.summary.n, first.summary.success_rate), (3, Some(2.0 / 3.0)), "what was there stays");
        assert_eq!((first.suite.cpu_s_median, first.suite.patients_cached), (2.0, 1));
        assert!(first.has(7) && !first.has(8));
        let why = first.absorb(report("b", "foreign", &[(9, yes)])).expect_err("another world").to_string();
        assert_eq!((why.as_str(), first.cases.len()), ("its world is foreign, that of the others home", 3));
        // What is written is read again.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        crate::report::write(&path, &first).expect("written");
        let again = SuiteReport::read(&path).expect("read");
        let json = |report: &SuiteReport| serde_json::to_string(&report.cases).expect("json");
        assert_eq!(json(&again), json(&first));
        std::fs::write(&path, "{}").expect("written");
        assert!(
            format!("{:#}", SuiteReport::read(&path).expect_err("empty")).contains("a.json is no report of a suite")
        );
    }
}
