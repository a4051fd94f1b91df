//! Looks at patients: what a network and the classical estimator say of a frame, and what is so.

use crate::config::Config;
use crate::learning::Settings;
use crate::learning::patients::Patients;
use crate::learning::visit::{Seen, Visit};
use crate::perceived::{by_scene, strata_of};
use crate::session;
use anyhow::Context;
use bregma_core::digest::Digest;
use bregma_core::flow::{ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS, RoiFrame, Scene, Volume, voxel};
use bregma_core::stage::Stage;
use bregma_core::topic::Numbered;
use bregma_patient::{Place, PlaceKind, SceneTruth};
use bregma_perception::bits::VoxelBits;
use bregma_perception::distance::{DistanceTransform, surface_mm};
use bregma_perception::engine::{EngineError, Plan, Pool, Precision, State};
use bregma_perception::model::Model;
use bregma_perception::perceive::classical::share_of;
use bregma_perception::perceive::inputs::Inputs;
use bregma_perception::perceive::likeness::{Likeness, Looking};
use bregma_perception::perceive::margin::{Amount, CLASSICAL_FAR, Known, Rule};
use bregma_perception::perceive::network::OUTPUTS;
use bregma_perception::perceive::prior::PriorSettings;
use bregma_perception::perceive::trust::Trust;
use bregma_perception::perceive::{self, CORE_MIN, Estimator, Perceive, View};
use bregma_perception::train::Disturbing;
use bregma_perception::train::margin::Example;
use std::sync::{Arc, Mutex, PoisonError};

/// What may be added to logits.
pub(super) const OFFSETS: [f32; 4] = [0.0, 1.5, 3.0, 4.5];
/// A network's surfaces are taken where its logit is as much below 0: at each offset, and [`FAR`] beyond the last ones.
const SURFACES: [f32; 6] = [0.0, 1.5, 3.0, 4.5, 6.0, 7.5];
/// A network's second surface lies where its logit is so much lower than at the first,
pub(super) const FAR: f32 = 3.0;
/// which is so many of [`SURFACES`] on.
const FAR_ON: usize = 2;
/// Likelihood is asked of voxels whose true margin is within this, mm.
pub(super) const NEAR_MM: f32 = 10.0;
/// Logits are counted in bins of a twentieth between minus and plus that.
const LOGIT_MAX: f32 = 20.0;
pub(super) const LOGIT_BINS: usize = 800;
/// Places on the wall, and voxels elsewhere, that are taken from a look, about.
const PLACES: usize = 512;
const VOXELS: usize = 256;

/// Overlap, and the margin's error as a mean over places, mm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scored {
    pub dice: f64,
    pub margin_mm: f64,
}

/// A place or a voxel.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// Distance to each of the network's surfaces, mm.
    pub network_mm: [f32; SURFACES.len()],
    /// To both of the classical estimator's, mm.
    pub classical_mm: [f32; 2],
    /// The network's; none of tissue that came from outside the region.
    pub logit: Option<f32>,
    /// The classical estimator's probability, of 255.
    pub classical: u8,
    /// Stated, mm.
    pub error_mm: f32,
    pub open: bool,
    /// True.
    pub margin_mm: f32,
    /// Whether that wall was seen; none of a voxel elsewhere.
    pub visible: Option<bool>,
    pub strata: [&'static str; 6],
}

/// A frame.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub left_ml: f64,
    /// By offset.
    pub dice: [f64; OFFSETS.len()],
    pub classical: Scored,
    /// Core within each of the network's surfaces, mL.
    pub core_ml: [f32; SURFACES.len()],
    pub classical_ml: f32,
    /// Stated rigid error, mm.
    pub rigid_mm: f32,
    pub spots: Vec<Spot>,
}

/// One patient.
pub(super) struct Found {
    pub looks: Vec<Look>,
    /// Counts of voxels by logit: other tissue, and core.
    pub logits: Vec<[u64; 2]>,
}

impl Look {
    fn known(&self, spot: &Spot, offset: usize, trust: &Trust) -> Known {
        Known {
            network_mm: [spot.network_mm[offset], spot.network_mm[offset + FAR_ON]],
            classical_mm: spot.classical_mm,
            shares: [spot.logit.map_or(0, |logit| share_of(trust.tempered(logit))), spot.classical],
            error_mm: spot.error_mm,
            open: spot.open,
            core: [self.core_ml[offset], self.classical_ml].map(Amount::of_ml),
        }
    }

    /// What a rule is fitted to.
    pub(super) fn examples(&self, offset: usize, trust: &Trust) -> Vec<Example> {
        let example = |spot: &Spot| Example {
            known: self.known(spot, offset, trust),
            margin_mm: spot.margin_mm,
            visible: spot.visible == Some(true),
        };
        self.spots.iter().map(example).collect()
    }

    /// What a rule says of the places on the wall and at the tip.
    pub(super) fn said(&self, rule: &Rule, offset: usize, trust: &Trust) -> impl Iterator<Item = super::Said> {
        self.spots.iter().filter(|spot| spot.visible.is_some()).map(move |spot| {
            let [low, median, high] = rule.of(&self.known(spot, offset, trust));
            let near = spot.network_mm[offset];
            let margin = Rule::margin_mm(median, near, near < 0.0).clamp(-NEAR_MM, NEAR_MM);
            super::Said {
                error_mm: f64::from((margin - spot.margin_mm).abs()),
                half_mm: f64::from(0.5 * (high - low)),
                strata: spot.strata,
            }
        })
    }
}

pub(super) fn bin(logit: f32) -> usize {
    let share = (logit + LOGIT_MAX) / (2.0 * LOGIT_MAX);
    ((share * LOGIT_BINS as f32).max(0.0) as usize).min(LOGIT_BINS - 1)
}

pub(super) fn logit_of(bin: usize) -> f64 {
    (2.0 * (bin as f64 + 0.5) / LOGIT_BINS as f64 - 1.0) * f64::from(LOGIT_MAX)
}

/// Visits one patient.
pub(super) fn visit(
    model: &Model,
    config: &Config,
    patients: &Patients,
    settings: &Settings,
    nth: usize,
    likeness: &Mutex<Likeness>,
) -> anyhow::Result<Found> {
    let mut visit = Visit::of(config, patients, settings, nth as u64, (nth as f64 + 0.5) / patients.count() as f64)?;
    let mut watching = Watching::new(model, config, &visit)?;
    let mut found = Found { looks: Vec::new(), logits: vec![[0; 2]; LOGIT_BINS] };
    let mut looking = Looking::default();
    while !visit.ended() {
        let mut left = settings.frames;
        watching.begin();
        visit.watched(&mut |Seen { frame, brain, world }| {
            left -= 1;
            watching.see(frame, brain)?;
            if left > 0 {
                return Ok(());
            }
            // The last of a sequence, when the memory is warm.
            let mut disturbed = frame.channels.clone();
            Disturbing::default().disturb(&mut disturbed, ROI_EDGE, frame.captured.nanos());
            for channels in [&frame.channels, &disturbed] {
                if let Some(features) = looking.at(channels) {
                    likeness.lock().unwrap_or_else(PoisonError::into_inner).add(&features);
                }
            }
            let lesson = world.lesson(&frame.grid, &frame.shift);
            let near = lesson.tumour_margin.iter().map(|margin| margin.abs() < NEAR_MM);
            for ((logit, core), near) in watching.logits().iter().zip(&lesson.residual_core).zip(near) {
                if near {
                    found.logits[bin(*logit)][usize::from(*core)] += 1;
                }
            }
            let scenes = watching.scenes(frame)?;
            let truth = world.truth_of(&scenes.network[0]);
            found.looks.push(watching.look(frame, &scenes, &truth)?);
            Ok(())
        })?;
    }
    Ok(found)
}

/// Of one frame.
struct Scenes {
    /// By surface.
    network: Vec<Arc<Scene>>,
    /// With every speck: at one half, and at [`CLASSICAL_FAR`].
    classical: Vec<Arc<Scene>>,
    /// As it is live.
    beside: Arc<Scene>,
}

/// A network at work, and perceive on what it and the classical estimator say.
struct Watching {
    plan: Plan,
    pool: Pool,
    state: State,
    logits: Vec<f32>,
    said: Arc<Mutex<Vec<f32>>>,
    network: Vec<Perceive>,
    classical: Vec<Perceive>,
    /// The classical estimator's, which sees every frame, and its newest scene.
    beside: Perceive,
    newest: Option<Arc<Scene>>,
    volumes: Vec<Arc<Volume>>,
    /// Whether scenes were asked for before.
    asked: bool,
    input: perceive::In,
    frames: u64,
}

impl Watching {
    fn new(model: &Model, config: &Config, visit: &Visit) -> anyhow::Result<Self> {
        let plan = Plan::new(model, ROI_EDGE, Precision::F32, None)?;
        let said = Arc::new(Mutex::new(vec![0.0; ROI_VOXELS]));
        let by_classical = Arc::new(Mutex::new(vec![0; ROI_VOXELS]));
        let every_speck = perceive::Settings { speck_ml: 0.0, ..perceive::Settings::default() };
        let perceive = |estimator: Box<dyn Estimator>| Perceive::with_estimator(every_speck, estimator);
        let network = SURFACES.map(|offset| perceive(Box::new(Echo { said: Arc::clone(&said), offset })));
        let classical =
            [CORE_MIN, CLASSICAL_FAR].map(|from| perceive(Box::new(Above { said: Arc::clone(&by_classical), from })));
        let (volumes, anatomy) = visit.known();
        let mut input = perceive::In::default();
        input.anatomy.set(1, Arc::clone(anatomy));
        let tapped = Tapped { of: Box::new(session::engines::classical(config)), to: by_classical };
        let beside = session::perceive(config, Box::new(tapped), Box::new(DistanceTransform::new([ROI_EDGE; 3])));
        Ok(Self {
            pool: Pool::new(1).context("no thread for the network")?,
            state: plan.state(),
            plan,
            logits: vec![0.0; OUTPUTS * ROI_VOXELS],
            said,
            network: network.into(),
            classical: classical.into(),
            beside,
            newest: None,
            volumes: volumes.to_vec(),
            asked: false,
            input,
            frames: 0,
        })
    }

    /// A sequence begins.
    fn begin(&mut self) {
        self.state.reset();
    }

    /// Shows a frame to the network and to the classical estimator.
    fn see(&mut self, frame: &RoiFrame, brain: &VoxelBits) -> anyhow::Result<()> {
        // Each frame may lack something else.
        let mut inputs = Inputs::new(PriorSettings::default());
        self.plan.run(&self.pool, inputs.of(frame, brain), &mut self.state, &mut self.logits)?;
        self.frames += 1;
        self.input.roi.set(self.frames, Arc::new(frame.clone()));
        self.show_scans(self.frames == 1);
        self.newest = Some(scene_of(&mut self.beside, frame, &self.input)?);
        Ok(())
    }

    /// Scans are shown once: with the first frame that a perceive sees.
    fn show_scans(&mut self, shown: bool) {
        let scans = self.volumes.iter().filter(|_| shown).zip(1..);
        self.input.volumes.set(scans.map(|(value, number)| Numbered { number, value: Arc::clone(value) }));
    }

    /// Of the residual core.
    fn logits(&self) -> &[f32] {
        &self.logits[..ROI_VOXELS]
    }

    /// Of the frame that was seen last.
    fn scenes(&mut self, frame: &RoiFrame) -> anyhow::Result<Scenes> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).copy_from_slice(&self.logits[..ROI_VOXELS]);
        let first = !std::mem::replace(&mut self.asked, true);
        self.show_scans(first);
        let beside = self.newest.clone().context("it sees every frame")?;
        let of = |perceive: &mut Vec<Perceive>| -> anyhow::Result<Vec<_>> {
            perceive.iter_mut().map(|perceive| scene_of(perceive, frame, &self.input)).collect()
        };
        Ok(Scenes { network: of(&mut self.network)?, classical: of(&mut self.classical)?, beside })
    }

    fn look(&self, frame: &RoiFrame, scenes: &Scenes, truth: &SceneTruth) -> anyhow::Result<Look> {
        let first = &scenes.network[0];
        let dice = std::array::from_fn(|offset| by_scene(&scenes.network[offset], truth).dice);
        let classical = by_scene(&scenes.beside, truth);
        let (sum, n) = classical.everywhere();
        let ml = |scene: &Scene| (within(scene) as f64 * scene.grid.voxel_ml()) as f32;
        let spot = |at: usize, margin_mm: f32, place: Option<&Place>| {
            let centre = first.grid.centre(first.grid.voxel(at));
            let rest = frame.shift.rest(&centre);
            let from = frame.grid.containing(&rest).map(|v| frame.grid.index(v));
            let mm = |scene: &Arc<Scene>| scene.margin_mm(at) as f32;
            Spot {
                network_mm: std::array::from_fn(|surface| mm(&scenes.network[surface])),
                classical_mm: std::array::from_fn(|surface| mm(&scenes.classical[surface])),
                logit: from.map(|from| self.logits[from]),
                classical: scenes.beside.residual[at],
                error_mm: (frame.errors.rigid().get() as f32).hypot(frame.shift.deviation_mm(&rest) as f32),
                open: first.state[at] & voxel::CAVITY != 0,
                margin_mm,
                visible: place.map(|place| place.kind == PlaceKind::Visible),
                strata: place.map_or([""; 6], |place| strata_of(place, truth, 0.0, false)),
            }
        };
        let every = |count: usize, wanted: usize| count.div_ceil(wanted).max(1);
        let tips = truth.places.iter().filter(|place| place.kind == PlaceKind::Tip);
        let walls = truth.places.iter().filter(|place| place.kind != PlaceKind::Tip);
        let places = tips.chain(walls.step_by(every(truth.places.len(), PLACES)));
        let mut spots: Vec<Spot> = places.map(|place| spot(place.voxel, place.margin_mm, Some(place))).collect();
        let real = distances(&truth.residual);
        let surface = &scenes.network[1];
        let near = |at: &usize| {
            let open = first.state[*at] & voxel::CAVITY != 0;
            !open && (real[*at].abs() < NEAR_MM || surface.margin_mm(*at).abs() < f64::from(NEAR_MM))
        };
        let near: Vec<usize> = (0..ROI_VOXELS).filter(near).collect();
        spots.extend(near.iter().step_by(every(near.len(), VOXELS)).map(|at| spot(*at, real[*at], None)));
        Ok(Look {
            left_ml: truth.residual_core_ml,
            dice,
            classical: Scored { dice: classical.dice, margin_mm: sum / n.max(1) as f64 },
            core_ml: std::array::from_fn(|surface| ml(&scenes.network[surface])),
            classical_ml: ml(&scenes.classical[0]),
            rigid_mm: frame.errors.rigid().get() as f32,
            spots,
        })
    }
}

/// Voxels of core.
fn within(scene: &Scene) -> usize {
    scene.margin.iter().filter(|margin| **margin < 0).count()
}

/// Signed distances to the surface of a set of voxels, mm, within ±10.
fn distances(set: &[bool]) -> Vec<f32> {
    let bytes: Vec<u8> = set.iter().map(|v| u8::from(*v)).collect();
    let mut squared = vec![0; ROI_VOXELS];
    DistanceTransform::new([ROI_EDGE; 3]).signed(&bytes, &mut squared);
    let mm = |squared: &i32| {
        let mm = surface_mm(squared.unsigned_abs() as i32, ROI_SPACING_MM).min(f64::from(NEAR_MM)) as f32;
        if *squared < 0 { -mm } else { mm }
    };
    squared.iter().map(mm).collect()
}

fn scene_of(perceive: &mut Perceive, frame: &RoiFrame, input: &perceive::In) -> anyhow::Result<Arc<Scene>> {
    let mut out = perceive::Out::default();
    perceive.step(frame.decided, input, &mut out)?;
    out.scene.context("perceive makes a scene of the frame")
}

/// Says what a network has said, and something more.
struct Echo {
    said: Arc<Mutex<Vec<f32>>>,
    offset: f32,
}

impl Estimator for Echo {
    fn digest(&self) -> Digest {
        Digest::default()
    }

    fn estimate(&mut self, _: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        residual.iter_mut().zip(said.iter()).for_each(|(residual, logit)| *residual = share_of(*logit + self.offset));
        Ok(())
    }
}

/// Says where a probability is at least so much.
struct Above {
    said: Arc<Mutex<Vec<u8>>>,
    from: u8,
}

impl Estimator for Above {
    fn digest(&self) -> Digest {
        Digest::default()
    }

    fn estimate(&mut self, _: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        residual.iter_mut().zip(said.iter()).for_each(|(residual, share)| {
            *residual = if *share >= self.from { u8::MAX } else { 0 };
        });
        Ok(())
    }
}

/// An estimator whose probabilities are written down.
struct Tapped {
    of: Box<dyn Estimator>,
    to: Arc<Mutex<Vec<u8>>>,
}

impl Estimator for Tapped {
    fn digest(&self) -> Digest {
        self.of.digest()
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        self.of.estimate(view, residual)?;
        self.to.lock().unwrap_or_else(PoisonError::into_inner).copy_from_slice(residual);
        Ok(())
    }
}
