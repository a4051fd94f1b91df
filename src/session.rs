//! One session: the rooms, the devices and the taps, made from a configuration and joined.
//!
//! The same parts run on the real clock (`demo`, `run`: [`live`]) and in lock-step (`scenario run`, `bench`:
//! [`crate::scenario`]).

pub mod engines;
pub mod live;

use crate::config::{Config, PatientSource, PlannerWord};
use crate::edge::{ArmEdge, PersonEdge, TrackerEdge};
use crate::events::Events;
use crate::examinations::{Examinations, Pace, Taken};
use crate::keeper::Keeper;
use crate::patients;
use crate::pipeline::{Doors, Stages};
use crate::surgeon::{Ended, Surgeon};
use anyhow::Context;
use bregma_core::devices::Scanner as _;
use bregma_core::digest::{Digest, Digester};
use bregma_core::faults::Reason;
use bregma_core::flow::{
    Anatomy, ApprovedRecord, ArmMount, CameraCalibration, Check, GateState, Modality, Order, Plan, Proposal,
    RangeImage, Registration, Scene, Sent, Sequence, Verdict, VideoFrame, Volume,
};
use bregma_core::lane::Gauge;
use bregma_core::lane::Overflow::{DropOldest, Refuse};
use bregma_core::runner::Latches;
use bregma_core::time::{Duration, Instant};
use bregma_core::topic::{Publisher, Subscriber};
use bregma_ingest::mri;
use bregma_patient::{ImportedAnatomy, Patient, SharedWorld, World};
use bregma_perception::distance::Distances;
use bregma_perception::perceive::Estimator;
use bregma_perception::register::check::{Demand, Touch};
use bregma_physics::Approved;
use bregma_planning::{Greedy, Mpc, Planner, Raster};
use engines::Engines;
use std::path::Path;
use std::sync::Arc;

/// What the rooms must know of a theatre before the first frame.
#[derive(Debug, Clone)]
pub struct Theatre {
    /// The microscope.
    pub camera: CameraCalibration,
    /// How the arm stands.
    pub mount: ArmMount,
    /// How the patient lies in the tracker's world, where that is known from the start.
    pub registration: Option<Registration>,
    /// What was planned and known before.
    pub anatomy: Arc<Anatomy>,
}

/// The stages, and what binds them.
pub struct Made {
    /// The stages.
    pub stages: Stages,
    /// Estimator and planner together.
    pub model: Digest,
}

/// Plan, validate and command: the rooms that replay steps again.
pub struct LastRooms {
    /// Plan.
    pub plan: bregma_planning::PlanStage,
    /// Validate.
    pub validate: bregma_physics::Validate,
    /// Command.
    pub command: bregma_bridge::Command,
}

/// The greedy planner, as configured.
///
/// # Errors
/// When a setting is refused.
pub fn greedy(config: &Config) -> anyhow::Result<Greedy> {
    Greedy::new(config.greedy).context("in [greedy]")
}

/// The planner that is configured.
///
/// # Errors
/// When a setting is refused.
pub fn planner(config: &Config) -> anyhow::Result<Box<dyn Planner>> {
    Ok(match config.planner {
        PlannerWord::Greedy => Box::new(greedy(config)?),
        PlannerWord::Raster => Box::new(Raster::new(config.greedy).context("in [greedy]")?),
        PlannerWord::Mpc => Box::new(Mpc::new(config.greedy).context("in [greedy]")?),
    })
}

/// Makes plan, validate and command.
///
/// # Errors
/// When a setting is refused.
pub fn last_rooms(config: &Config, mount: ArmMount, planner: Box<dyn Planner>) -> anyhow::Result<LastRooms> {
    let model = planner.model();
    let plan =
        bregma_planning::PlanStage::new(planner, config.plan, config.arm.clone(), mount, config.carving_radius_mm)
            .context("in [plan]")?;
    let validate =
        bregma_physics::Validate::new(config.arm.clone(), mount, config.limits).context("the arm's mount")?;
    let gate = config.gate.settings(config.arm.clone(), config.limits.digest(), vec![model])?;
    let command = bregma_bridge::Command::new(gate).context("in [gate]")?;
    Ok(LastRooms { plan, validate, command })
}

/// Makes every stage.
///
/// # Errors
/// When a setting is refused.
pub fn stages(config: &Config, theatre: &Theatre, engines: Engines, planner: Box<dyn Planner>) -> anyhow::Result<Made> {
    let Engines { assembly, estimator, distances, .. } = engines;
    let align = bregma_perception::align::Align::with_assembly(align_settings(config, theatre), assembly);
    let model = model(&estimator.digest(), &planner.model());
    let perceive = perceive(config, estimator, distances);
    let LastRooms { plan, validate, command } = last_rooms(config, theatre.mount, planner)?;
    Ok(Made { stages: Stages { align, perceive, plan, validate, command }, model })
}

/// What align needs to know of a theatre.
#[must_use]
pub fn align_settings(config: &Config, theatre: &Theatre) -> bregma_perception::align::Settings {
    use bregma_perception::align::Settings;
    Settings {
        carving_radius_mm: config.carving_radius_mm,
        shift_mm_per_hour: config.shift_mm_per_hour,
        shift: config.follow_shift.then(Default::default),
        shaft_radius_mm: theatre.mount.shaft_radius_mm,
        shaft_length_mm: theatre.mount.shaft_length_mm,
        ..Settings::with_camera(theatre.camera)
    }
}

/// Estimator and planner together, as reports name them.
#[must_use]
pub fn model(estimator: &Digest, planner: &Digest) -> Digest {
    Digester::new("bregma models 1").digest(estimator).digest(planner).finish()
}

/// Perceive, as configured.
#[must_use]
pub fn perceive(
    config: &Config,
    estimator: Box<dyn Estimator>,
    distances: Box<dyn Distances>,
) -> bregma_perception::perceive::Perceive {
    bregma_perception::perceive::Perceive::with_estimator(perceive_settings(config), estimator)
        .with_distances(distances)
}

fn perceive_settings(config: &Config) -> bregma_perception::perceive::Settings {
    use bregma_perception::perceive::Settings;
    Settings { forbidden_inflation_mm: config.forbidden_inflation_mm, ..Settings::default() }
}

/// A patient in a theatre of her own.
pub struct Simulated {
    /// The patient.
    pub patient: Arc<Patient>,
    /// Whether she was read from the cache, not grown.
    pub cached: bool,
    /// The theatre around her.
    pub world: SharedWorld,
}

impl Simulated {
    /// Grows a patient, in somebody's own head where one is given, or takes her from the cache, and sets a
    /// theatre up around her.
    ///
    /// # Errors
    /// When no patient grows from this seed.
    pub fn new(source: &PatientSource, head: Option<&ImportedAnatomy>, seed: u64) -> anyhow::Result<Self> {
        let fetched = patients::fetch(patients::cache().as_ref(), head, seed, &source.patient())
            .with_context(|| format!("no patient grows from seed {seed}"))?;
        let patient = Arc::new(fetched.patient);
        let world = World::new(Arc::clone(&patient), source.theatre())?;
        Ok(Self { patient, cached: fetched.cached, world })
    }

    /// What the rooms may know of the theatre.
    #[must_use]
    pub fn theatre(&self) -> Theatre {
        Theatre {
            camera: self.world.camera_calibration(),
            mount: self.world.arm_mount(),
            registration: Some(self.world.registration()),
            anatomy: Arc::new(self.patient.anatomy()),
        }
    }

    /// Writes the preoperative scans to disk and reads them back through ingest, as a theatre would. The files
    /// of one examination share its frame of reference.
    ///
    /// # Errors
    /// When they cannot be written or read.
    pub fn scans(&self, folder: &Path) -> anyhow::Result<Vec<Arc<Volume>>> {
        let paths = self.patient.write_preoperative(folder)?;
        paths
            .iter()
            .zip([Modality::T1c, Modality::Flair])
            .map(|(path, modality)| Ok(Arc::new(mri::read_in_frame(path, modality, self.patient.uid())?)))
            .collect()
    }
}

/// Faults that a person may go on after: what caused them is over when the next step is taken.
const PASSING: [Reason; 3] = [Reason::GateOverran, Reason::StagePanicked, Reason::StageFaulted];

/// With an order to go on, faults of the moment are forgotten: a stage that faults again latches again.
pub fn goes_on(order: Order, latches: &Latches) {
    if matches!(order, Order::Resume | Order::ClearFault | Order::Arm) {
        PASSING.into_iter().for_each(|reason| latches.clear(reason));
    }
}

/// Watches a session from outside the flow: counts motions, keeps approvals for the checker, and has the
/// surgeon give orders.
pub struct Supervisor {
    sent: Subscriber<Sent>,
    plans: Subscriber<Arc<Plan>>,
    verdicts: Subscriber<Arc<Verdict>>,
    approved: Subscriber<Arc<Approved>>,
    scenes: Subscriber<Arc<Scene>>,
    /// The surgeon.
    pub surgeon: Surgeon,
    /// The newest message of the gate.
    pub last_sent: Option<Sent>,
    /// The newest scene.
    pub scene: Option<Arc<Scene>>,
    /// What was approved.
    pub approvals: Vec<ApprovedRecord>,
    /// Plans with motions.
    pub planned: u64,
    /// Candidates rejected.
    pub rejected: u64,
    /// How often each check rejected; of the retract path, which of its own checks.
    pub rejected_by: std::collections::BTreeMap<String, u64>,
    /// When the gate was first armed, and last active.
    pub active: Option<(Instant, Instant)>,
    /// When the surgeon next looks into the wound.
    looks: Instant,
    /// Whether the surgeon holds the pedal down.
    pedal: bool,
    /// Where what happens is told.
    events: Events,
}

/// How far off a landmark may be, mm, and how well one is touched: the defaults of `register check`.
const CHECK: Demand = Demand { limit_mm: 2.0, fle_mm: 1.0 };

fn touch(landmark: bregma_patient::TouchedLandmark) -> Touch {
    let bregma_patient::TouchedLandmark { name, scan, touched, tre_mm } = landmark;
    Touch { name: name.to_owned(), scan, touched, tre_mm }
}

/// Time between two looks of the surgeon into the wound.
const GLANCE: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Hangs its lanes onto the topics.
    pub fn hang(t: &mut crate::pipeline::Topics, events: Events) -> Self {
        Self {
            sent: t.sent.subscribe("sent to supervisor", 64, DropOldest),
            plans: t.plans.subscribe("plans to supervisor", 64, Refuse),
            verdicts: t.verdicts.subscribe("verdicts to supervisor", 256, Refuse),
            approved: t.approved.subscribe("approved to supervisor", 64, Refuse),
            scenes: t.scenes.subscribe("scenes to supervisor", 1, DropOldest),
            surgeon: Surgeon::new(),
            last_sent: None,
            scene: None,
            approvals: Vec::new(),
            planned: 0,
            rejected: 0,
            rejected_by: std::collections::BTreeMap::new(),
            active: None,
            looks: Instant::START,
            pedal: true,
            events,
        }
    }

    /// Has the surgeon look into a simulated wound, hold the pedal or not, treat what bleeds, and register or scan the patient anew where
    /// that is needed. What became of a scan, if anything just did.
    pub fn attend(
        &mut self,
        now: Instant,
        world: &SharedWorld,
        keeper: &Keeper,
        examinations: &mut Examinations,
    ) -> Option<Taken> {
        if now >= self.looks {
            self.looks = now + GLANCE;
            self.surgeon.sees_registration(now, keeper.lost(), keeper.unchecked());
            if self.surgeon.registers(now) {
                keeper.register_unchecked(world.register_anew());
            } else if self.surgeon.checks(now) {
                let touches: Vec<Touch> = world.touch_landmarks().into_iter().map(touch).collect();
                if let Err(why) = keeper.check(now, &touches, CHECK) {
                    self.events.say(now, format!("no landmark was checked: {why:#}"));
                }
            }
            self.surgeon.sees_wound(now, world.sight());
            if self.surgeon.treats() {
                // Refused while the tip is in the head: the next look tries again.
                let _ = world.treat();
            }
        }
        if self.pedal != self.surgeon.pedal() {
            self.pedal = self.surgeon.pedal();
            world.set_pedal([self.pedal; 2]);
        }
        let mut became = examinations.look(now);
        if became.is_none() && !examinations.busy() && self.surgeon.scans(now) {
            let made = world.scanner().scan(now).map_err(anyhow::Error::from);
            if let Err(why) = made.and_then(|scans| examinations.take(scans, keeper.up())) {
                self.events.say(now, format!("no intraoperative scan: {why:#}"));
                became = Some(Taken::Refused);
            }
        }
        if let Some(became) = became {
            self.surgeon.scanned(became == Taken::Up);
        }
        became
    }

    /// Takes what is new. Returns a scene when there is a new one.
    pub fn look(&mut self) -> Option<Arc<Scene>> {
        let mut newest = None;
        while let Some(scene) = self.scenes.take() {
            self.surgeon.sees_scene();
            newest = Some(scene.value);
        }
        if newest.is_some() {
            self.scene.clone_from(&newest);
        }
        while let Some(plan) = self.plans.take() {
            if matches!(plan.value.proposal, Proposal::Motions(_)) {
                self.planned += 1;
            }
            self.surgeon.hears(&plan.value);
        }
        while let Some(verdict) = self.verdicts.take() {
            if !verdict.value.approved {
                self.rejected += 1;
                let mut failed = verdict.value.checks.iter().filter(|c| !c.passed).map(|c| c.check);
                let by = match (failed.next(), failed.next()) {
                    (Some(Check::Retract), Some(inner)) => format!("{} of the retract path", inner.words().0),
                    (Some(check), _) => check.words().0.to_owned(),
                    (None, _) => continue,
                };
                *self.rejected_by.entry(by).or_default() += 1;
            }
        }
        while let Some(approved) = self.approved.take() {
            self.approvals.push(approved.value.record().clone());
        }
        while let Some(sent) = self.sent.take() {
            if sent.value.state == GateState::Active {
                let first = self.active.map_or(sent.value.sent, |(first, _)| first);
                self.active = Some((first, sent.value.sent));
            }
            self.last_sent = Some(sent.value);
        }
        newest
    }

    /// What the surgeon orders now.
    pub fn next_order(&mut self, now: Instant) -> Option<Order> {
        self.surgeon.orders(now, self.last_sent.as_ref()?)
    }

    /// The last approval that was played to its end.
    #[must_use]
    pub fn finished(&self) -> Sequence {
        self.last_sent.map_or(Sequence(0), |sent| sent.finished)
    }

    /// How the case ended, as the surgeon saw it.
    #[must_use]
    pub fn ended(&self) -> Option<&Ended> {
        self.surgeon.ended()
    }
}

/// The edges of a simulated theatre.
pub struct WorldEdges {
    /// Arm and instrument.
    pub arm: ArmEdge,
    /// Tracker.
    pub tracker: TrackerEdge,
    /// Pedal and heartbeat.
    pub person: PersonEdge,
}

/// What stays with whoever runs the session.
pub struct Outside {
    /// Camera frames.
    pub video: Publisher<Arc<VideoFrame>>,
    /// How far away what they show is.
    pub ranges: Publisher<Arc<RangeImage>>,
    /// Orders.
    pub orders: Publisher<Order>,
    /// Who keeps the registration.
    pub keeper: Keeper,
    /// Who takes intraoperative scans up.
    pub examinations: Examinations,
    /// Counters of every lane of the house.
    pub gauges: Vec<Arc<Gauge>>,
}

/// Hands the doors to a world's devices, and publishes what does not change.
///
/// # Errors
/// As [`Keeper::new`] and [`Examinations::after`].
pub fn open_doors(
    doors: Doors,
    theatre: &Theatre,
    volumes: &[Arc<Volume>],
    world: &SharedWorld,
    (latches, events): (&Latches, &Events),
    pace: Pace,
) -> anyhow::Result<(WorldEdges, Outside)> {
    let Doors {
        video,
        ranges,
        tips,
        volumes: scans,
        registration,
        mut anatomy,
        arm,
        instrument,
        consent,
        heartbeat,
        orders,
        to_arm,
        gauges,
    } = doors;
    anatomy.publish(Arc::clone(&theatre.anatomy));
    let keeper = Keeper::new(registration, latches.clone(), events.clone())?;
    theatre.registration.into_iter().for_each(|registration| keeper.register_unchecked(registration));
    let examinations = Examinations::after(volumes, Arc::clone(&theatre.anatomy), scans, events.clone(), pace)?;
    let arm = ArmEdge {
        arm: Box::new(world.arm()),
        instrument: Box::new(world.instrument()),
        sent: to_arm,
        states: arm,
        instrument_states: instrument,
        events: events.clone(),
    };
    let tracker =
        TrackerEdge { tracker: Box::new(world.tracker()), tips, keeper: keeper.clone(), events: events.clone() };
    let person = PersonEdge {
        pedal: Box::new(world.pedal()),
        consents: consent,
        heartbeats: heartbeat,
        beats: 0,
        events: events.clone(),
    };
    Ok((WorldEdges { arm, tracker, person }, Outside { video, ranges, orders, keeper, examinations, gauges }))
}
