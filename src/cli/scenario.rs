//! `bregma scenario run`: many cases in lock-step, and what they come to together.

use super::{Engine, Goal, LadderArgs, PlannerName, ScenarioArgs, say};
use crate::bench::cpu;
use crate::report::{Case, Head, Outcome, SCHEMA, SuiteReport, SuiteSettings, Summary, wilson95};
use crate::scenario::{self, Plans, Played, Suite};
use crate::session;
use anyhow::{Context, bail, ensure};
use bregma_patient::GrowError;
use bregma_perception::perceive::Estimator;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Runs it.
///
/// # Errors
/// Bad input.
pub fn run(args: &ScenarioArgs) -> anyhow::Result<Goal> {
    let mut suite = match &args.suite {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read the suite {}", path.display()))?;
            Suite::parse(&text).with_context(|| format!("in {}", path.display()))?
        }
        None => Suite::parse(scenario::STANDARD)?,
    };
    match args.engine {
        Engine::Auto | Engine::Classical => {}
        Engine::CpuInt8 | Engine::CpuF32 | Engine::Cuda => bail!(
            "--engine: an untrained network changes no case, and trained weights do not exist yet; \
             `auto` and `classical` are right here, `bregma demo` times the network"
        ),
    }
    suite.world = args.world.into();
    suite.planner = match args.planner {
        PlannerName::Greedy => Plans::Greedy,
        PlannerName::Oracle => Plans::Oracle,
    };
    suite.cases = args.cases.unwrap_or(suite.cases);
    suite.first_seed = args.first_seed.unwrap_or(suite.first_seed);
    ensure!((1..=1_000_000).contains(&suite.cases), "--cases is {}; it must lie in 1 to 1000000", suite.cases);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores);
    ensure!((1..=1024).contains(&jobs), "--jobs is {jobs}; it must lie in 1 to 1024");

    let (config, source) = suite.configure()?;
    let head = args.anatomy.as_deref().map(super::anatomy).transpose()?;
    let bar = ProgressBar::new(suite.cases).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} cases, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let next = AtomicU64::new(0);
    let done: Mutex<Vec<(Case, f64)>> = Mutex::new(Vec::new());
    let cached = AtomicUsize::new(0);
    let without: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    let failed: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let fails = |seed: u64, why: anyhow::Error| {
        next.store(suite.cases, Ordering::Relaxed);
        lock(&failed).get_or_insert(why.context(format!("seed {seed}")));
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(usize::try_from(suite.cases).unwrap_or(usize::MAX)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= suite.cases {
                        return;
                    }
                    let seed = suite.first_seed + index;
                    let before = cpu::of_this_thread();
                    match scenario::case(&suite, &config, &source, head.as_ref(), seed) {
                        Ok(Played { mut case, patient_cached }) => {
                            cached.fetch_add(usize::from(patient_cached), Ordering::Relaxed);
                            let cpu = (cpu::of_this_thread() - before) as f64 * 1e-9;
                            if args.oracles {
                                match scenario::oracles(&suite, head.as_ref(), seed) {
                                    Ok(oracles) => case.hold_against(oracles),
                                    Err(why) => return fails(seed, why.context("an oracle's case")),
                                }
                            }
                            bar.suspend(|| say(line(&case, cpu)));
                            lock(&done).push((case, cpu));
                            bar.inc(1);
                        }
                        Err(why) if grows_none(&why) => {
                            bar.suspend(|| say(format!("no patient: {}", why.root_cause())));
                            lock(&without).push(seed);
                            bar.inc(1);
                        }
                        Err(why) => return fails(seed, why),
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(why) = lock(&failed).take() {
        return Err(why);
    }
    let (mut done, mut without) = (std::mem::take(&mut *lock(&done)), std::mem::take(&mut *lock(&without)));
    ensure!(
        !done.is_empty(),
        "no patient grows from any seed of {} to {}; choose another --first-seed",
        suite.first_seed,
        suite.first_seed + suite.cases - 1
    );
    without.sort_unstable();
    done.sort_by_key(|(case, _)| case.seed);
    let mut cpu: Vec<f64> = done.iter().map(|(_, cpu)| *cpu).collect();
    cpu.sort_by(f64::total_cmp);
    let cases: Vec<Case> = done.into_iter().map(|(case, _)| case).collect();
    let summary = summarise(&cases);

    let model = session::model(&session::engines::classical(&config).digest(), &suite.planner.model(&config)?);
    let report = SuiteReport {
        head: Head {
            schema: SCHEMA,
            commit: crate::report::commit().to_owned(),
            config_hash: config.hash.to_string(),
            model_hash: model.to_string(),
            clock: "simulated",
        },
        suite: SuiteSettings {
            name: suite.name.clone(),
            perceive_hz: suite.perceive_hz,
            removal_rate_scale: suite.removal_rate_scale,
            lifelike: suite.lifelike,
            shift_hz: suite.shift_hz,
            anatomy: args.anatomy.as_ref().map(|path| path.display().to_string()),
            cpu_s_median: cpu[cpu.len() / 2],
            patients_cached: cached.into_inner(),
            seeds_without_patient: without,
        },
        cases,
        summary,
    };
    print(&report, &suite);
    if let Some(path) = &args.report {
        crate::report::write(path, &report)?;
        say(format!("report     {}", path.display()));
    }
    let s = &report.summary;
    let held = s.forbidden_violations == 0 && s.executed_unapproved == 0;
    Ok(if held { Goal::Held } else { Goal::Missed })
}

/// Whether a case failed because its seed has no patient.
fn grows_none(why: &anyhow::Error) -> bool {
    matches!(why.downcast_ref(), Some(GrowError::NoPlace { .. }))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn line(case: &Case, cpu: f64) -> String {
    format!(
        "seed {:>6}  {:<10} removed {:>5.1} %  left {:>5.2} mL  overcut {:>5.2} mL  violations {}  unapproved {}  {:>5.1} s CPU  {}",
        case.seed,
        format!("{:?}", case.outcome),
        case.extent_of_resection.unwrap_or(f64::NAN) * 100.0,
        case.residual_volume_ml.unwrap_or(f64::NAN),
        case.overcut_ml.unwrap_or(f64::NAN),
        case.forbidden_violations.unwrap_or(0),
        case.motions.executed_unapproved,
        cpu,
        case.reason,
    )
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// How often it is so, of those that are known.
fn share(known: impl Iterator<Item = Option<bool>>) -> Option<f64> {
    mean(known.map(|known| known.map(|is| f64::from(u8::from(is)))))
}

/// Writes the page about the ladder.
///
/// # Errors
/// As [`crate::ladder::page::markdown`], and when it cannot be written.
pub fn ladder(args: &LadderArgs) -> anyhow::Result<Goal> {
    let page = crate::ladder::page::markdown(&args.reports, "bregma scenario ladder")?;
    std::fs::write(&args.out, page).with_context(|| format!("cannot write {}", args.out.display()))?;
    say(format!("written    {}", args.out.display()));
    Ok(Goal::Held)
}

fn summarise(cases: &[Case]) -> Summary {
    let n = cases.len();
    let rate = |count: usize| (n > 0).then(|| count as f64 / n as f64);
    let succeeded = |case: &&Case| case.outcome == Outcome::Success;
    let successes = cases.iter().filter(succeeded).count();
    let near = |case: &&Case| {
        succeeded(case)
            && (case.extent_of_resection.is_some_and(|e| e >= 0.98)
                || case.residual_volume_ml.is_some_and(|v| v <= 0.25))
    };
    Summary {
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

fn print(report: &SuiteReport, suite: &Suite) {
    let s = &report.summary;
    let percent = |rate: Option<f64>| rate.map_or_else(|| "–".into(), |r| format!("{:.1} %", r * 100.0));
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| format!("{v:.2}"));
    let ci = s
        .success_rate_ci95
        .map_or_else(String::new, |[low, high]| format!(" (95 % interval {:.1} to {:.1})", low * 100.0, high * 100.0));
    say(format!(
        "\n{} simulated cases, {} world, {} planner, classical estimator",
        s.n,
        suite.world.name(),
        suite.planner.name()
    ));
    say(format!("  success                {}{ci}", percent(s.success_rate)));
    say(format!("  near-complete          {}", percent(s.near_complete_rate)));
    say(format!("  complete               {}", percent(s.complete_rate)));
    if s.oracle_feasible_rate.is_some() {
        say(format!("  the oracle succeeds    {}", percent(s.oracle_feasible_rate)));
        say(format!("  an unconstrained one   {}", percent(s.unconstrained_feasible_rate)));
    }
    say(format!("  residual volume        {} mL mean", number(s.residual_volume_ml_mean)));
    say(format!("  overcut                {} mL mean", number(s.overcut_ml_mean)));
    say(format!(
        "  margin error           {} mm mean; static {} mm",
        number(s.margin_error_mm_mean),
        number(s.static_margin_error_mm_mean)
    ));
    say(format!("  forbidden violations   {}", s.forbidden_violations));
    say(format!("  executed unapproved    {}", s.executed_unapproved));
    say(format!(
        "  CPU a case             {:.1} s median, {} of {} patients read from the cache; removal at {} times a real \
         aspirator's rate",
        report.suite.cpu_s_median, report.suite.patients_cached, s.n, report.suite.removal_rate_scale
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_without_a_patient_is_told_from_what_else_goes_wrong() {
        let none = Err::<(), _>(GrowError::NoPlace { seed: 7, core_ml: 14.8, attempts: 24 });
        let why = none.context("no patient grows from seed 7").context("a case").expect_err("none");
        assert!(grows_none(&why) && why.root_cause().to_string().starts_with("seed 7: no place"), "{why:#}");
        let wrong = GrowError::Setting { name: "core_ml", value: "-1".into(), right: "more than 0" };
        assert!(!grows_none(&Err::<(), _>(wrong).context("no patient").expect_err("wrong")));
        assert!(!grows_none(&anyhow::anyhow!("no place")));
    }
}
