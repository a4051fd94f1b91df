//! Simulated removals in lock-step on a simulated clock, as fast as the machine can.
//!
//! The same stages and lanes as live; the edges are polled in a fixed order every 4 ms of simulated time,
//! and the camera is read through its trait at `perceive_hz` and once after each motion. **Deterministic:**
//! the same seed, commit and configuration give the same report but for times.

mod faults;

pub use faults::FaultWords;

use crate::config::{Config, PatientSource, PlannerWord};
use crate::edge::Edge;
use crate::evaluate::{Evaluator, Ingredients};
use crate::events::Events;
use crate::examinations::{Pace, Taken};
use crate::ladder::{Rungs, Still};
use crate::learning::calibration::preferred;
use crate::oracle::Oracle;
use crate::perceived::shadow::{Altered, Shadow, Shown};
use crate::perceived::{CLASSICAL, Watch};
use crate::pipeline::{self, Flowing, Hooks, Topics};
use crate::report::{Case, Oracles, Outcome};
use crate::session::engines::{self, Engine, Engines};
use crate::session::{self, Simulated, Supervisor, Theatre};
use crate::surgeon::Surgeon;
use anyhow::{Context, ensure};
use bregma_core::devices::{Camera, DeviceFault, RANGES_EVERY};
use bregma_core::digest::Digest;
use bregma_core::flow::{ROI_EDGE, RangeImage, Sequence, TraceId, VideoFrame, Volume};
use bregma_core::pool::Pool;
use bregma_core::runner::Latches;
use bregma_core::runner::lockstep::LockStep;
use bregma_core::time::{Clock, Duration, Instant, SimClock};
use bregma_patient::{ImportedAnatomy, SharedWorld, WorldKind};
use bregma_perception::distance::DistanceTransform;
use bregma_perception::engine::Precision;
use bregma_perception::explain::against::Attacked;
use bregma_perception::model::file::ModelFile;
use bregma_perception::perceive::Estimator;
use bregma_planning::Planner;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// The suite that runs unless another is named.
pub const STANDARD: &str = include_str!("../tests/scenarios/standard.toml");
/// One tick of the simulated clock: the gate's period.
const TICK: Duration = pipeline::GATE_PERIOD;
/// Camera frames that may be held at once.
const FRAMES: usize = 8;
/// What breaks counts as broken for so long.
const BROKEN: Duration = Duration::from_secs(60);

/// A suite: which cases, and how they are run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Number of cases.
    pub cases: u64,
    /// Seed of the first.
    pub first_seed: u64,
    /// Scenes per simulated second, besides one after each motion.
    pub perceive_hz: f64,
    /// A case that has not ended by then is unfinished, simulated seconds.
    pub longest_s: f64,
    /// The margin is compared with the truth this often, simulated seconds.
    pub evaluate_every_s: f64,
    /// The core's volume is drawn from here, mL.
    pub core_ml: [f64; 2],
    /// How much faster than a real aspirator the simulated one removes.
    pub removal_rate_scale: f64,
    /// Whether microscope, tracking and instrument err and fail as in life, and vessels bleed.
    pub lifelike: bool,
    /// Updates of the brain's shift a simulated second; 0 for a brain that lies still.
    pub shift_hz: f64,
    /// Intraoperative scans that there is time for in a case, at most.
    #[serde(default)]
    pub scans: u32,
    /// What may break in each case.
    #[serde(default)]
    pub faults: Vec<FaultWords>,
    /// In which world; the command line says.
    #[serde(skip)]
    pub world: WorldKind,
    /// Who plans; the command line says.
    #[serde(skip)]
    pub planner: Plans,
    /// What estimates the margin; the command line says.
    #[serde(skip)]
    pub estimates: Estimates,
}

/// What estimates a suite's margins.
#[derive(Debug, Clone, Default)]
pub enum Estimates {
    /// The classical estimator.
    #[default]
    Classical,
    /// A network on the processor.
    Network(Arc<ModelFile>, Precision),
    /// The same in int8, its scans moved against it by a share of their range.
    Attacked(Arc<ModelFile>, f32),
}

impl Estimates {
    /// An engine's, with its weights. A simulated clock waits for everybody: `auto` is the network in int8, if it is to be preferred.
    ///
    /// # Errors
    /// A GPU, which is for the real clock, and weights that cannot be had.
    pub fn of(engine: Engine, weights: &dyn Fn() -> anyhow::Result<ModelFile>) -> anyhow::Result<Self> {
        Ok(match engine {
            Engine::Classical => Self::Classical,
            Engine::CpuF32 => Self::Network(Arc::new(weights()?), Precision::F32),
            Engine::Auto => match weights()? {
                file if preferred(&file) => Self::Network(Arc::new(file), Precision::Int8),
                _ => Self::Classical,
            },
            Engine::CpuInt8 => Self::Network(Arc::new(weights()?), Precision::Int8),
            Engine::Cuda => anyhow::bail!("--engine cuda: simulated cases run on the processor; cpu-f32 is right here"),
        })
    }

    /// As reports name it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Classical => "classical",
            Self::Network(_, precision) => engines::name(*precision),
            Self::Attacked(..) => "attacked",
        }
    }

    /// Who is beside the flow in any case, so that there is something to hold it against.
    #[must_use]
    pub fn beside(&self) -> Vec<Beside> {
        match self {
            Self::Classical => Vec::new(),
            Self::Network(..) | Self::Attacked(..) => vec![Beside::classical()],
        }
    }

    /// Makes one, on the caller's thread alone: cases run beside each other.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub fn estimator(&self, config: &Config) -> anyhow::Result<Box<dyn Estimator>> {
        match self {
            Self::Classical => Ok(Box::new(engines::classical(config))),
            Self::Network(weights, precision) => engines::networked(config, weights, *precision, 1),
            Self::Attacked(weights, share) => {
                let live = engines::networked(config, weights, Precision::Int8, 1)?;
                Ok(Box::new(Attacked::new(live, weights.model(), *share)?))
            }
        }
    }
}

/// Who plans a suite's motions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plans {
    /// One that a configuration can name, on what the runtime believes.
    Believing(PlannerWord),
    /// The greedy planner on the true residual core.
    Oracle,
    /// The same where nothing errs, and nothing is kept clear of for fear that something might.
    Unconstrained,
}

impl Plans {
    /// As reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Believing(word) => word.name(),
            Self::Oracle => "oracle",
            Self::Unconstrained => "unconstrained oracle",
        }
    }

    /// Hash of the planner.
    ///
    /// # Errors
    /// When a setting is refused.
    pub fn model(self, config: &Config) -> anyhow::Result<Digest> {
        Ok(match self {
            Self::Believing(_) => session::planner(config)?.model(),
            Self::Oracle | Self::Unconstrained => Oracle::model_over(&session::greedy(config)?),
        })
    }
}

impl Default for Plans {
    fn default() -> Self {
        Self::Believing(PlannerWord::default())
    }
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// What is wrong, in which key, and what would be right.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let suite: Self = toml::from_str(text)?;
        let inside = |key: &str, value: f64, low: f64, high: f64| {
            ensure!((low..=high).contains(&value), "`{key}` is {value}; it must lie in {low} to {high}");
            Ok(())
        };
        inside("cases", suite.cases as f64, 1.0, 1e6)?;
        inside("perceive_hz", suite.perceive_hz, 0.2, 60.0)?;
        inside("longest_s", suite.longest_s, 10.0, 36_000.0)?;
        inside("evaluate_every_s", suite.evaluate_every_s, 0.1, 3600.0)?;
        inside("core_ml[0]", suite.core_ml[0], 0.5, 110.0)?;
        inside("core_ml[1]", suite.core_ml[1], suite.core_ml[0], 110.0)?;
        inside("shift_hz", suite.shift_hz, 0.0, 50.0)?;
        inside("scans", f64::from(suite.scans), 0.0, 10.0)?;
        ensure!(
            suite.scans == 0 || suite.shift_hz > 0.0,
            "`scans` is {}, and `shift_hz` 0: a scan is taken up where the brain's shift is followed",
            suite.scans
        );
        inside("removal_rate_scale", suite.removal_rate_scale, 0.1, 20.0)?;
        for (number, fault) in suite.faults.iter().enumerate() {
            fault.plan().with_context(|| format!("in the {}. of [[faults]]", number + 1))?;
        }
        Ok(suite)
    }

    /// The configuration that a suite's cases run with: the demo's, with the suite's own values. A scene may be
    /// as old as the next one is far.
    ///
    /// # Errors
    /// When a value does not fit.
    pub fn configure(&self) -> anyhow::Result<(Config, PatientSource)> {
        let age_s = (1.5 / self.perceive_hz).max(0.5);
        let text = crate::config::DEMO
            .replace("\nscene_age_s = 0.5", &format!("\nscene_age_s = {age_s}"))
            .replace("\nscene_age_ms = 500.0", &format!("\nscene_age_ms = {}", age_s * 1e3));
        let mut config = Config::parse(&text, Path::new(".")).context("in the suite's configuration")?;
        let crate::config::Source::DigitalPatient(source) = &mut config.source else {
            anyhow::bail!("a suite needs the digital patient");
        };
        source.core_ml = self.core_ml;
        source.removal_rate_scale = self.removal_rate_scale;
        source.world = self.world;
        source.lifelike = self.lifelike;
        source.shift_hz = self.shift_hz;
        config.follow_shift = self.shift_hz > 0.0;
        if let Plans::Believing(planner) = self.planner {
            config.planner = planner;
        }
        if self.planner == Plans::Unconstrained {
            (source.exact, source.lifelike) = (true, false);
            (config.forbidden_inflation_mm, config.shift_mm_per_hour) = (0.0, 0.0);
        }
        let source = *source;
        config.settle();
        Ok((config, source))
    }
}

/// One case in lock-step, tick by tick.
pub struct Run {
    clock: SimClock,
    world: SharedWorld,
    camera: Box<dyn Camera>,
    frames: Pool<VideoFrame>,
    ranges: Pool<RangeImage>,
    ranged: Option<Instant>,
    trace: u64,
    edges: Vec<Box<dyn Edge>>,
    due: [Instant; 3],
    outside: session::Outside,
    /// The stages.
    pub runner: LockStep,
    /// Who watches.
    pub supervisor: Supervisor,
    latches: Latches,
    flowing: Arc<Flowing>,
    evaluator: Evaluator,
    config: Config,
    theatre: Theatre,
    last_picture: Option<Arc<VideoFrame>>,
    picture_every: Duration,
    picture_due: Instant,
    settled: (Sequence, u64),
    events: Events,
    /// Who else is watched, and how they do.
    watch: Watch,
    /// When something breaks.
    faults: Vec<Instant>,
}

/// Another estimator that is watched beside the flow's.
#[derive(Debug, Clone)]
pub struct Beside {
    /// As tables name it.
    pub name: &'static str,
    /// What it is.
    pub estimates: Estimates,
    /// What it is not shown.
    pub altered: Altered,
    /// It is shown the frames that are compared, one in so many of them, and those of so long before; all where there is none.
    pub before: Option<(Duration, u32)>,
}

impl Beside {
    /// The classical estimator.
    #[must_use]
    pub const fn classical() -> Self {
        Self { name: CLASSICAL, estimates: Estimates::Classical, altered: Altered::Nothing, before: None }
    }
}

/// Wraps a stage's node on its way into the runner, as `bench` does to count.
pub trait Wrap {
    /// Takes a node and hands back what steps in its place.
    fn wrap(&mut self, node: Box<dyn bregma_core::runner::Stepper>) -> Box<dyn bregma_core::runner::Stepper>;
}

/// Leaves nodes as they are.
pub struct Bare;

impl Wrap for Bare {
    fn wrap(&mut self, node: Box<dyn bregma_core::runner::Stepper>) -> Box<dyn bregma_core::runner::Stepper> {
        node
    }
}

impl Run {
    /// Puts a world, the house and its edges together.
    ///
    /// # Errors
    /// When a stage refuses its settings.
    pub fn new(
        suite: &Suite,
        config: &Config,
        simulated: &Simulated,
        volumes: &[Arc<Volume>],
        beside: &[Beside],
        wrap: &mut dyn Wrap,
    ) -> anyhow::Result<Self> {
        let theatre = simulated.theatre();
        let world = simulated.world.clone();
        let planner: Box<dyn Planner> = match suite.planner {
            Plans::Believing(_) => session::planner(config)?,
            Plans::Oracle | Plans::Unconstrained => Box::new(Oracle::new(session::greedy(config)?, world.clone())),
        };
        let engines = Engines::on_processor(suite.estimates.name(), &theatre, suite.estimates.estimator(config)?);
        let made = session::stages(config, &theatre, engines, planner)?;
        let clock = SimClock::new();
        let (latches, events, flowing) = (Latches::default(), Events::default(), Arc::new(Flowing::default()));
        let mut topics = Topics::new();
        let mut supervisor = Supervisor::hang(&mut topics, events.clone());
        supervisor.surgeon = Surgeon::with_scans(suite.scans);
        let hooks = Hooks {
            latches: latches.clone(),
            events: events.clone(),
            flowing: Arc::clone(&flowing),
            plan_steps: Box::new(|_| {}),
            validate_steps: Box::new(|_| {}),
            command_steps: Box::new(|_| {}),
        };
        let still =
            config.follow_shift.then(|| Still::hang(&mut topics, session::align_settings(config, &theatre), volumes));
        let every =
            Duration::from_secs_f64(suite.evaluate_every_s).context("`evaluate_every_s` is no length of time")?;
        let aligned = session::align_settings(config, &theatre);
        let (mut shadows, mut shadow_nodes) = (Vec::new(), Vec::new());
        for Beside { name, estimates, altered, before } in beside {
            let shown = before.map_or(Shown::All, |(before, one_in)| Shown::Compared {
                every: Duration::from_nanos(every.nanos() * u64::from(one_in)),
                before,
            });
            let perceive = session::perceive(
                config,
                estimates.estimator(config)?,
                Box::new(DistanceTransform::new([ROI_EDGE; 3])),
            );
            let (shadow, nodes) = Shadow::hang(&mut topics, name, perceive, (*altered, shown), (&aligned, volumes));
            shadows.push(shadow);
            shadow_nodes.extend(nodes);
        }
        let (house, doors) = pipeline::build(topics, made.stages, hooks);
        let mut runner = LockStep::new(clock.clone());
        let still = still.map(|(still, node)| {
            runner.add_boxed(Box::new(node));
            still
        });
        // In the order of the flow: one pass carries a frame from align to the gate.
        runner.add_boxed(wrap.wrap(Box::new(house.align)));
        runner.add_boxed(wrap.wrap(Box::new(house.perceive)));
        runner.add_boxed(wrap.wrap(Box::new(house.plan)));
        runner.add_boxed(wrap.wrap(Box::new(house.validate)));
        runner.add_boxed(wrap.wrap(Box::new(house.command)));
        shadow_nodes.into_iter().for_each(|node| runner.add_boxed(node));

        let (edges, outside) =
            session::open_doors(doors, &theatre, volumes, &world, (&latches, &events), Pace::AtOnce)?;
        let session::WorldEdges { arm, tracker, person } = edges;
        let camera: Box<dyn Camera> = Box::new(world.camera());
        let [width, height] = camera.size_px();
        let between = |hz: f64| Duration::from_secs_f64(1.0 / hz).context("a rate above zero is needed");
        Ok(Self {
            clock,
            world,
            camera,
            frames: Pool::new("scenario frames", FRAMES, || VideoFrame::black(width, height)),
            ranges: Pool::new("scenario range images", FRAMES, RangeImage::blank),
            ranged: None,
            trace: 0,
            edges: vec![Box::new(arm), Box::new(tracker), Box::new(person)],
            due: [Instant::START; 3],
            outside,
            runner,
            supervisor,
            latches,
            flowing,
            evaluator: Evaluator::new(every, Rungs::new(still)),
            config: config.clone(),
            theatre,
            last_picture: None,
            picture_every: between(suite.perceive_hz)?,
            picture_due: Instant::START,
            settled: (Sequence(0), 0),
            events,
            watch: Watch::new(shadows),
            faults: Vec::new(),
        })
    }

    /// Takes one tick.
    ///
    /// # Errors
    /// When stages feed each other in a circle.
    pub fn tick(&mut self) -> anyhow::Result<()> {
        self.clock.advance(TICK);
        let now = self.clock.now();
        self.world.advance(now);
        for (edge, due) in self.edges.iter_mut().zip(&mut self.due) {
            if now >= *due {
                edge.poll(now);
                *due = *due + edge.period();
            }
        }
        // A picture at the suite's rate, and one as soon as a motion has ended or was rejected.
        let settled = (self.supervisor.finished(), self.supervisor.rejected);
        if now >= self.picture_due || settled != self.settled {
            self.settled = settled;
            self.picture_due = now + self.picture_every;
            self.picture(now);
        }
        self.runner.settle()?;
        let scene = self.supervisor.look();
        let outside = &mut self.outside;
        let became = self.supervisor.attend(now, &self.world, &outside.keeper, &mut outside.examinations);
        if let (Some(Taken::Up), Some(scene), Some(picture)) = (became, &self.supervisor.scene, &self.last_picture) {
            self.evaluator.scanned(scene, &self.config, &self.theatre, &self.world, picture)?;
        }
        if let Some(order) = self.supervisor.next_order(now) {
            session::goes_on(order, &self.latches);
            self.outside.orders.publish(order);
        }
        if let Some(scene) = scene {
            let classical = self.watch.beside(CLASSICAL, &scene);
            if let Some(looked) = self.evaluator.look(&scene, classical.as_deref(), &self.world) {
                let broken = |at: &Instant| now.since(*at).is_some_and(|since| since < BROKEN);
                self.watch.look(&scene, &looked, self.faults.iter().any(broken));
            }
        }
        Ok(())
    }

    fn picture(&mut self, now: Instant) {
        self.trace += 1;
        let (trace, camera) = (TraceId(self.trace), &mut self.camera);
        let frame = self.frames.try_write(|frame| {
            frame.trace = trace;
            frame.received = now;
            camera.grab(now, frame)
        });
        if self.ranged.and_then(|before| now.since(before)).is_none_or(|since| since >= RANGES_EVERY) {
            self.ranged = Some(now);
            let (camera, mut has) = (&mut self.camera, false);
            let ranges = self.ranges.try_write(|ranges| {
                ranges.received = now;
                has = camera.ranges(ranges)?;
                Ok::<_, DeviceFault>(())
            });
            // Before the picture that they belong to: both are there when align wakes.
            match ranges {
                Ok(Ok(ranges)) if has => self.outside.ranges.publish(ranges),
                Ok(Ok(_)) => {}
                Ok(Err(why)) => self.events.say(now, why.to_string()),
                Err(why) => self.events.say(now, why.to_string()),
            }
        }
        match frame {
            Ok(Ok(frame)) => {
                self.last_picture = Some(Arc::clone(&frame));
                self.outside.video.publish(frame);
            }
            Ok(Err(why)) => self.events.say(now, why.to_string()),
            Err(why) => self.events.say(now, why.to_string()),
        }
    }

    /// Simulated time so far.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Ends the case and reports on it, and on who was watched.
    #[must_use]
    pub fn report(self, suite: &Suite, seed: u64) -> (Case, Watch) {
        let Self { evaluator, world, supervisor, flowing, runner, outside, watch, .. } = self;
        let case = evaluator.report(&Ingredients {
            seed,
            planner: suite.planner.name(),
            engine: suite.estimates.name(),
            world: &world,
            supervisor: &supervisor,
            flowing: &flowing,
            stages: runner.figures().collect(),
            gauges: &outside.gauges,
            fps: None,
            removal_rate_scale: suite.removal_rate_scale,
        });
        (case, watch)
    }
}

/// What oracles come to on a case's patient, to hold the case against.
///
/// # Errors
/// As [`case`].
pub fn oracles(suite: &Suite, head: Option<&ImportedAnatomy>, seed: u64) -> anyhow::Result<Oracles> {
    let play = |planner| {
        let suite = Suite { planner, ..suite.clone() };
        let (config, source) = suite.configure()?;
        Ok::<_, anyhow::Error>(case(&suite, &config, &source, head, seed, &[])?.case)
    };
    let (oracle, unconstrained) = (play(Plans::Oracle)?, play(Plans::Unconstrained)?);
    Ok(Oracles {
        feasible: oracle.outcome == Outcome::Success,
        tool_time_s: oracle.tool_time_s,
        unconstrained_feasible: unconstrained.outcome == Outcome::Success,
    })
}

/// A case that has ended.
pub struct Played {
    /// Its report.
    pub case: Case,
    /// Whether its patient was read from the cache and not grown.
    pub patient_cached: bool,
    /// Who was watched.
    pub watch: Watch,
}

/// Runs one case to its end, with others beside the flow that are watched.
///
/// # Errors
/// When no patient grows, or the house cannot be built.
pub fn case(
    suite: &Suite,
    config: &Config,
    source: &PatientSource,
    head: Option<&ImportedAnatomy>,
    seed: u64,
    beside: &[Beside],
) -> anyhow::Result<Played> {
    let simulated = Simulated::new(source, head, seed)?;
    let mut faults = Vec::new();
    for (number, fault) in suite.faults.iter().enumerate() {
        if let Some(fault) = fault.plan()?.drawn(seed, number as u64) {
            faults.push(fault.at);
            simulated.world.inject(fault);
        }
    }
    let folder = tempfile::tempdir().context("no folder for the scans")?;
    let volumes = simulated.scans(folder.path())?;
    let mut run = Run::new(suite, config, &simulated, &volumes, beside, &mut Bare)?;
    run.faults = faults;
    while run.supervisor.ended().is_none() && run.now().secs_f64() < suite.longest_s {
        run.tick()?;
    }
    let (case, watch) = run.report(suite, seed);
    Ok(Played { case, patient_cached: simulated.cached, watch })
}
