//! `bregma demo`: one whole simulated tumour removal on the real clock.

use super::{DemoArgs, Goal, say};
use crate::config::{Config, Source};
use crate::display::Options;
use crate::edge::Edge;
use crate::evaluate::{Evaluator, Ingredients};
use crate::examinations::{Examinations, Pace};
use crate::ladder::Rungs;
use crate::report::{Case, CaseReport, Head, Outcome, SCHEMA};
use crate::session::engines::Engines;
use crate::session::{self, Simulated, WorldEdges, live};
use anyhow::{Context, bail, ensure};
use bregma_core::time::{Clock, Duration, Instant};
use bregma_ingest::video;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::Ordering;
use std::time::Duration as StdDuration;

/// Time between two looks of the console at the session.
const LOOK: Duration = Duration::from_millis(20);
/// The margin is compared with the truth this often.
const EVALUATE_EVERY: Duration = Duration::from_secs(5);
/// Camera frames that readers may hold all together: two in each of align's lane and step, and room.
const FRAMES: usize = 8;
/// `fps_min` is the worst stretch of this length.
const FPS_STRETCH: Duration = Duration::from_secs(10);

/// Moves the simulated world on; the same clock as everything else.
struct WorldEdge(bregma_patient::SharedWorld);

impl Edge for WorldEdge {
    fn name(&self) -> &'static str {
        "world"
    }
    fn period(&self) -> Duration {
        Duration::from_millis(4)
    }
    fn poll(&mut self, now: Instant) {
        self.0.advance(now);
    }
}

/// Runs it.
///
/// # Errors
/// Bad input, or an output that cannot be opened.
pub fn run(args: &DemoArgs) -> anyhow::Result<Goal> {
    ensure!((5.0..=36_000.0).contains(&args.seconds), "--seconds is {}; it must lie in 5 to 36000", args.seconds);
    let config = match &args.config {
        Some(path) => Config::read(path)?,
        None => Config::demo()?,
    };
    let Source::DigitalPatient(source) = &config.source else {
        bail!("the demo needs `source.kind = \"digital_patient\"`; for real sources there is `bregma run`");
    };

    let spinner = spinner(format!("growing patient {}", args.seed));
    let simulated = Simulated::new(source, None, args.seed)?;
    let world = simulated.world.clone();
    spinner.set_message("writing the scans and reading them back");
    let folder = tempfile::tempdir().context("no folder for the scans")?;
    let volumes = simulated.scans(folder.path())?;
    let theatre = simulated.theatre();
    spinner.set_message("opening the house");
    let engines = Engines::live(args.engine.engine, &config, &theatre, &|| args.engine.weights())?;
    let engine = engines.name;
    let reasons = args.reasons.wanted(engine, &args.engine)?;
    if let Some(note) = &engines.note {
        spinner.suspend(|| say(note));
    }
    let made = session::stages(&config, &theatre, engines, session::planner(&config)?)?;
    let model = made.model;
    let outputs = live::Outputs {
        record: args.record.clone(),
        display: Options { serve: (!args.headless).then_some(config.display), rrd: args.rrd.clone(), reasons },
        seed: Some(args.seed),
    };
    let (mut running, doors, encoded_to) = live::start(&config, &theatre, made, &outputs)?;
    let (WorldEdges { arm, tracker, person }, outside) =
        session::open_doors(doors, &theatre, &volumes, &world, (&running.latches, &running.events), Pace::Beside)?;
    let session::Outside { video: frames, mut ranges, mut orders, keeper, mut examinations, .. } = outside;
    running.edges.spawn(WorldEdge(world.clone()))?;
    running.edges.spawn(arm)?;
    running.edges.spawn(tracker)?;
    running.edges.spawn(person)?;

    let camera = video::CameraConfig {
        camera: 0,
        fps: source.video_fps,
        pool_slots: FRAMES,
        encode: encoded_to.wanted(),
        first_frame_within: Duration::from_secs(10),
    };
    let callbacks = live::video_callbacks(&running, frames, encoded_to);
    let source_video = video::open_camera(
        Box::new(world.camera()),
        camera,
        running.clock.clone(),
        callbacks,
        Box::new(move |image| ranges.publish(image)),
    )?;
    spinner.finish_and_clear();
    if !args.headless {
        say(format!("live: rerun rerun+http://{}/proxy", config.display));
    }

    let (evaluator, rates) = watch(args.seconds, &mut running, &mut orders, &world, (&keeper, &mut examinations));
    drop(source_video);
    let (flowing, stages, gauges) = (running.flowing.clone(), running.figures(), running.gauges.clone());
    let (supervisor, recorded) = running.end();
    let case = evaluator.report(&Ingredients {
        seed: args.seed,
        planner: config.planner.name(),
        engine,
        world: &world,
        supervisor: &supervisor,
        flowing: &flowing,
        stages,
        gauges: &gauges,
        fps: Some(rates),
        removal_rate_scale: source.removal_rate_scale,
    });
    let head = Head {
        schema: SCHEMA,
        commit: crate::report::commit().to_owned(),
        config_hash: config.hash.to_string(),
        model_hash: model.to_string(),
        clock: "real".into(),
    };
    table(&case);
    for (check, times) in &supervisor.rejected_by {
        say(format!("  rejected {times} times by: {check}"));
    }
    let goal = goal(&case);
    if let Some(path) = &args.report {
        crate::report::write(path, &CaseReport { head, case })?;
    }
    let name = args.record.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    recorded.with_context(|| format!("the recording {name}"))?;
    whats_left(args);
    Ok(goal)
}

/// The demo's goal: a case that reached its outcome with no violation and no unapproved motion.
fn goal(case: &Case) -> Goal {
    let clean = case.forbidden_violations == Some(0) && case.motions.executed_unapproved == 0;
    if clean && case.outcome != Outcome::Unfinished { Goal::Held } else { Goal::Missed }
}

/// Watches until the case ends or the time is over.
fn watch(
    seconds: f64,
    running: &mut live::Live,
    orders: &mut bregma_core::topic::Publisher<bregma_core::flow::Order>,
    world: &bregma_patient::SharedWorld,
    (keeper, examinations): (&crate::keeper::Keeper, &mut Examinations),
) -> (Evaluator, (f64, Option<f64>)) {
    let mut evaluator = Evaluator::new(EVALUATE_EVERY, Rungs::default());
    let bar = ProgressBar::new(1000).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut first_ml = None;
    let mut told = 0;
    let begin = running.clock.now();
    let mut stretch = (begin, running.flowing.scenes.load(Ordering::Relaxed));
    let mut worst: Option<f64> = None;
    loop {
        let now = running.clock.now();
        let scene = running.supervisor.look();
        let _ = running.supervisor.attend(now, world, keeper, examinations);
        running.order(now, orders);
        if let Some(scene) = scene {
            let _ = evaluator.look(&scene, None, world);
            let first = *first_ml.get_or_insert(scene.residual_ml.max(1e-6));
            let state = running.supervisor.last_sent.map_or_else(String::new, |s| format!("{:?}", s.state));
            bar.set_position(((1.0 - scene.residual_ml / first).clamp(0.0, 1.0) * 1000.0) as u64);
            bar.set_message(format!("residual core {:5.2} of {first:.2} mL · gate {state}", scene.residual_ml));
        }
        for event in running.events.since(told) {
            told = event.number;
            bar.suspend(|| say(format!("{} {}", event.at, event.words)));
        }
        if let Some(length) = now.since(stretch.0).filter(|length| *length >= FPS_STRETCH) {
            let scenes = running.flowing.scenes.load(Ordering::Relaxed);
            let rate = (scenes - stretch.1) as f64 / length.secs_f64();
            worst = Some(worst.map_or(rate, |w| w.min(rate)));
            stretch = (now, scenes);
        }
        let elapsed = now.since(begin).unwrap_or(Duration::ZERO);
        if running.supervisor.ended().is_some() || elapsed.secs_f64() >= seconds {
            bar.finish_and_clear();
            let scenes = running.flowing.scenes.load(Ordering::Relaxed);
            return (evaluator, (scenes as f64 / elapsed.secs_f64().max(1e-9), worst));
        }
        bregma_core::time::pause(LOOK);
    }
}

fn spinner(message: String) -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_message(message);
    spinner.enable_steady_tick(StdDuration::from_millis(120));
    spinner
}

fn table(case: &Case) {
    let or_dash = |value: Option<f64>, digits: usize| value.map_or_else(|| "–".into(), |v| format!("{v:.digits$}"));
    say(format!("\nsimulated case, seed {}: {:?} ({})", case.seed, case.outcome, case.reason));
    let rows = [
        ("extent of resection", or_dash(case.extent_of_resection.map(|v| v * 100.0), 1), "% of the resectable core"),
        ("residual volume", or_dash(case.residual_volume_ml, 2), "mL of it"),
        ("overcut", or_dash(case.overcut_ml, 2), "mL more than 2 mm outside the core"),
        ("margin error", or_dash(case.margin_error_mm.mean, 2), "mm mean (simulated)"),
        ("  static, for comparison", or_dash(case.static_margin_error_mm.mean, 2), "mm mean (simulated)"),
        ("frames per second", or_dash(case.fps, 1), "scenes from distinct camera frames"),
        ("latency", or_dash(case.latency_ms.p50, 1), "ms median, frame to scene"),
        ("latency, 99 of 100", or_dash(case.latency_ms.p99, 1), "ms"),
        ("motions executed", case.motions.executed.to_string(), "of those approved"),
        ("executed unapproved", case.motions.executed_unapproved.to_string(), "by the independent checker"),
        ("forbidden violations", case.forbidden_violations.map_or("–".into(), |v| v.to_string()), ""),
        ("removal rate scale", or_dash(case.removal_rate_scale, 1), "times a real aspirator"),
    ];
    for (name, value, unit) in rows {
        say(format!("  {name:<26}{value:>10}  {unit}"));
    }
}

fn whats_left(args: &DemoArgs) {
    say("");
    if let Some(path) = &args.record {
        say(format!("recording  {0}   bregma inspect {0}; bregma replay {0} --verify", path.display()));
    }
    if let Some(path) = &args.report {
        say(format!("report     {}", path.display()));
    }
    if let Some(path) = &args.rrd {
        say(format!("display    {0}    rerun {0}", path.display()));
    }
}
