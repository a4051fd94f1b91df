//! `bregma scenario run`: many cases in lock-step, and what they come to together.

use super::{Goal, LadderArgs, MergeArgs, PerceptionArgs, PlannerName, ScenarioArgs, Shard, say};
use crate::bench::cpu;
use crate::config::{Config, PatientSource, PlannerWord};
use crate::perceived::cases::Wanted;
use crate::report::suite::{SuiteReport, SuiteSettings};
use crate::report::{Case, Head, SCHEMA};
use crate::scenario::{self, Estimates, Plans, Played, Suite};
use crate::session;
use anyhow::{Context, ensure};
use bregma_patient::{GrowError, ImportedAnatomy, WorldKind};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    suite.estimates = Estimates::of(args.engine.engine, &|| args.engine.weights())?;
    suite.world = args.world.into();
    suite.planner = match args.planner {
        PlannerName::Greedy => Plans::Believing(PlannerWord::Greedy),
        PlannerName::Raster => Plans::Believing(PlannerWord::Raster),
        PlannerName::Mpc => Plans::Believing(PlannerWord::Mpc),
        PlannerName::Oracle => Plans::Oracle,
    };
    suite.cases = args.cases.unwrap_or(suite.cases);
    suite.first_seed = args.first_seed.unwrap_or(suite.first_seed);
    ensure!((1..=1_000_000).contains(&suite.cases), "--cases is {}; it must lie in 1 to 1000000", suite.cases);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores);
    ensure!((1..=1024).contains(&jobs), "--jobs is {jobs}; it must lie in 1 to 1024");

    args.report.as_deref().map_or(Ok(()), crate::report::make_room)?;
    let (config, source) = suite.configure()?;
    let head = args.anatomy.as_deref().map(super::anatomy).transpose()?;
    let shard = args.shard.unwrap_or(Shard { number: 1, of: 1 });
    let mut report = SuiteReport::new(head_of(&config, &suite)?, settings(&suite, args));
    if args.resume {
        let path = args.report.as_deref().context("--resume needs --report: the report that is gone on with")?;
        if path.exists() {
            let before = SuiteReport::read(path)?;
            report.absorb(before).with_context(|| format!("cannot go on with {}", path.display()))?;
        }
    }
    let seeds: Vec<u64> = (0..suite.cases)
        .filter(|index| index % shard.of == shard.number - 1)
        .map(|index| suite.first_seed + index)
        .filter(|seed| !report.has(*seed))
        .collect();
    let report = Mutex::new(report);
    let bar = ProgressBar::new(seeds.len() as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} cases, {eta} left  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<anyhow::Error>> = Mutex::new(None);
    let fails = |why: anyhow::Error| {
        next.store(seeds.len(), Ordering::Relaxed);
        lock(&failed).get_or_insert(why);
    };
    // What is done is kept, whatever comes.
    let keeps = |take: &dyn Fn(&mut SuiteReport)| {
        let mut report = lock(&report);
        take(&mut report);
        bar.inc(1);
        args.report.as_deref().map_or(Ok(()), |path| crate::report::write(path, &*report))
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let kept = match play(&suite, &config, &source, head.as_ref(), seed, args.oracles) {
                        Ok(case) => {
                            bar.suspend(|| say(line(&case)));
                            keeps(&|report| report.add(case.clone()))
                        }
                        Err(why) if grows_none(&why) => {
                            bar.suspend(|| say(format!("no patient: {}", why.root_cause())));
                            keeps(&|report| report.add_none(seed))
                        }
                        Err(why) => Err(why.context(format!("seed {seed}"))),
                    };
                    if let Err(why) = kept {
                        return fails(why);
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    if let Some(why) = lock(&failed).take() {
        return Err(why);
    }
    let report = report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(
        !report.cases.is_empty(),
        "no patient grows from any seed of {} to {}; choose another --first-seed",
        suite.first_seed,
        suite.first_seed + suite.cases - 1
    );
    print(&report);
    if let Some(path) = &args.report {
        crate::report::write(path, &report)?;
        say(format!("report     {}", path.display()));
    }
    Ok(goal(&report))
}

/// Brings reports of one suite together.
///
/// # Errors
/// Reports that cannot be read or are not of one kind, and one that cannot be written.
pub fn merge(args: &MergeArgs) -> anyhow::Result<Goal> {
    let (first, others) = args.reports.split_first().context("reports are needed")?;
    let mut report = SuiteReport::read(first)?;
    for path in others {
        report.absorb(SuiteReport::read(path)?).with_context(|| path.display().to_string())?;
    }
    print(&report);
    crate::report::write(&args.report, &report)?;
    say(format!("report     {}", args.report.display()));
    Ok(goal(&report))
}

fn goal(report: &SuiteReport) -> Goal {
    let s = &report.summary;
    if s.forbidden_violations == 0 && s.executed_unapproved == 0 { Goal::Held } else { Goal::Missed }
}

/// One case, with what it took.
fn play(
    suite: &Suite,
    config: &Config,
    source: &PatientSource,
    head: Option<&ImportedAnatomy>,
    seed: u64,
    oracles: bool,
) -> anyhow::Result<Case> {
    let before = cpu::of_this_thread();
    let Played { mut case, patient_cached, .. } =
        scenario::case(suite, config, source, head, seed, &suite.estimates.beside())?;
    case.cpu_s = Some((cpu::of_this_thread() - before) as f64 * 1e-9);
    case.patient_cached = patient_cached;
    if oracles {
        case.hold_against(scenario::oracles(suite, head, seed).context("an oracle's case")?);
    }
    Ok(case)
}

fn head_of(config: &Config, suite: &Suite) -> anyhow::Result<Head> {
    let model = session::model(&suite.estimates.estimator(config)?.digest(), &suite.planner.model(config)?);
    Ok(Head {
        schema: SCHEMA,
        commit: crate::report::commit().to_owned(),
        config_hash: config.hash.to_string(),
        model_hash: model.to_string(),
        clock: "simulated".into(),
    })
}

fn settings(suite: &Suite, args: &ScenarioArgs) -> SuiteSettings {
    SuiteSettings {
        name: suite.name.clone(),
        perceive_hz: suite.perceive_hz,
        removal_rate_scale: suite.removal_rate_scale,
        lifelike: suite.lifelike,
        shift_hz: suite.shift_hz,
        anatomy: args.anatomy.as_ref().map(|path| path.display().to_string()),
        world: suite.world.name().to_owned(),
        planner: suite.planner.name().to_owned(),
        scans: suite.scans,
        cpu_s_median: 0.0,
        patients_cached: 0,
        seeds_without_patient: Vec::new(),
    }
}

/// Whether a case failed because its seed has no patient.
fn grows_none(why: &anyhow::Error) -> bool {
    matches!(why.downcast_ref(), Some(GrowError::NoPlace { .. }))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn line(case: &Case) -> String {
    format!(
        "seed {:>6}  {:<10} removed {:>5.1} %  left {:>5.2} mL  overcut {:>5.2} mL  violations {}  unapproved {}  {:>5.1} s CPU  {}",
        case.seed,
        format!("{:?}", case.outcome),
        case.extent_of_resection.unwrap_or(f64::NAN) * 100.0,
        case.residual_volume_ml.unwrap_or(f64::NAN),
        case.overcut_ml.unwrap_or(f64::NAN),
        case.forbidden_violations.unwrap_or(0),
        case.motions.executed_unapproved,
        case.cpu_s.unwrap_or(f64::NAN),
        case.reason,
    )
}

/// Writes the page about the ladder.
///
/// # Errors
/// As [`crate::ladder::page::markdown`], and when it cannot be written.
pub fn ladder(args: &LadderArgs) -> anyhow::Result<Goal> {
    let page = crate::ladder::page::markdown(&args.reports, "bregma scenario ladder")?;
    crate::whole::write(&args.out, page)?;
    say(format!("written    {}", args.out.display()));
    Ok(Goal::Held)
}

/// Writes the page about the network.
///
/// # Errors
/// As [`crate::perceived::cases::page`], and when it cannot be written.
pub fn perception(args: &PerceptionArgs) -> anyhow::Result<Goal> {
    let PerceptionArgs { cases, first_seed, .. } = *args;
    ensure!((1..=10_000).contains(&cases), "--cases is {cases}; 1 to 10000 is right");
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    ensure!((1..=1024).contains(&jobs), "--jobs is {jobs}; it must lie in 1 to 1024");
    crate::report::make_room(&args.kept)?;
    crate::report::make_room(&args.out)?;
    let both = [WorldKind::Home, WorldKind::Foreign];
    let one = args.world.map(|world| [world.into()]);
    let wanted = Wanted {
        cases,
        first_seed,
        worlds: one.as_ref().map_or(&both, |one| one.as_slice()),
        weights: crate::weights::read(args.model.as_deref())?,
        jobs,
        kept: &args.kept,
    };
    let bar = ProgressBar::new((cases * wanted.worlds.len()) as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} cases, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let command = format!("bregma scenario perception --cases {cases} --first-seed {first_seed}");
    let page = crate::perceived::cases::page(&wanted, &command, &|| bar.inc(1))?;
    bar.finish_and_clear();
    crate::whole::write(&args.out, page)?;
    say(format!("written    {}", args.out.display()));
    Ok(Goal::Held)
}

fn print(report: &SuiteReport) {
    let s = &report.summary;
    let percent = |rate: Option<f64>| rate.map_or_else(|| "–".into(), |r| format!("{:.1} %", r * 100.0));
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| format!("{v:.2}"));
    let ci = s
        .success_rate_ci95
        .map_or_else(String::new, |[low, high]| format!(" (95 % interval {:.1} to {:.1})", low * 100.0, high * 100.0));
    say(format!(
        "\n{} simulated cases, {} world, {} planner, {}",
        s.n,
        report.suite.world,
        report.suite.planner,
        report.cases.first().map_or("", |case| &case.engine)
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
