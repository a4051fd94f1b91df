//! How far a trained network can be believed: measured on patients that it did not learn from, and written into its file.
//!
//! ```text
//!  visits of other patients ─► frames ─┬► Features, as they are and disturbed ─► Likeness
//!                                      ├► logits against the truth ────────────► temperature
//!                                      └► Perceive, for several offsets and intervals ─► scenes against the truth ─► offset, Interval
//! ```
//! **Offset:** what is added to logits so that the margin's error is least, patients counting alike: a network that learns overlap leaves thin remains
//! out, and a margin ends at those. How it does beside the classical estimator is said of the same patients, so that it is the best of so many
//! offsets there. **Temperature:** by the likelihood of voxels within 10 mm of the core's surface. **Interval:** of several pairs of probabilities the one that comes out
//! narrowest; its factor is the nine-tenths quantile of error over stated half-width, patients counting alike, wall and tip
//! together. Coverage is promised for patients drawn as these are (split conformal prediction). **Seeds:** of the
//! seeds for learning, apart from those that are learnt from and scored on; no claim is made on them. Home world alone.

use super::patients::Patients;
use super::visit::{Seen, Visit};
use super::{Settings, dropout::Dropout};
use crate::config::Config;
use crate::perceived::{STRATA, by_scene, strata_of};
use crate::{session, whole};
use anyhow::Context;
use bregma_core::digest::Digest;
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS, RoiFrame, Scene, Volume};
use bregma_core::stage::Stage;
use bregma_core::topic::Numbered;
use bregma_patient::{Place, SceneTruth};
use bregma_perception::bits::VoxelBits;
use bregma_perception::distance::DistanceTransform;
use bregma_perception::engine::{EngineError, Plan, Pool, Precision};
use bregma_perception::model::Model;
use bregma_perception::model::file::ModelFile;
use bregma_perception::perceive::classical::share_of;
use bregma_perception::perceive::inputs::Inputs;
use bregma_perception::perceive::likeness::{self, Likeness, Looking};
use bregma_perception::perceive::network::OUTPUTS;
use bregma_perception::perceive::prior::PriorSettings;
use bregma_perception::perceive::trust::{self, Interval, Trust};
use bregma_perception::perceive::{self, Estimator, Perceive, View};
use bregma_perception::train::Disturbing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// What may be added to logits.
const OFFSETS: [f32; 5] = [0.0, 1.5, 3.0, 4.5, 6.0];
/// Logits whose surfaces an interval may reach to, either way.
const LEVELS: [f32; 4] = [0.5, 1.0, 2.0, 4.0];
/// Strata that visits have: kinds of place, depths, and what is left.
const OF_VISITS: usize = 10;
/// Share of places that an interval is to hold.
const NOMINAL: f64 = 0.9;
/// Likelihood is asked of voxels whose true margin is within this, mm.
const NEAR_MM: f32 = 10.0;
/// Logits are counted in bins of a twentieth between minus and plus that.
const LOGIT_MAX: f32 = 20.0;
const LOGIT_BINS: usize = 800;
/// Temperatures that are tried, in steps of a fiftieth.
const TEMPERATURES: std::ops::RangeInclusive<u32> = 15..=250;

/// Which patients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// Seed of the first, of those for learning.
    pub first_seed: u64,
    /// How many.
    pub patients: usize,
    /// Sequences of a visit to each.
    pub sequences: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// Temperature and interval.
    pub trust: Trust,
    /// What scans look like that it can be believed on.
    pub likeness: Likeness,
    /// Negative log-likelihood a voxel, at temperature 1 and at the best.
    pub likelihood: [f64; 2],
    /// Mean width of the interval, mm.
    pub width_mm: f64,
    /// Share of places within it, by stratum; on the very places that it was fitted on.
    pub within: Vec<(&'static str, f64)>,
    /// Patients that count.
    pub patients: usize,
    /// How it did beside the classical estimator, by what was left.
    pub beside: Vec<Beside>,
}

/// A network and the classical estimator on the same frames: means over patients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// How much was left.
    pub left: &'static str,
    /// Frames.
    pub frames: usize,
    /// Dice's overlap of residual core: the network's and the classical estimator's.
    pub dice: [f64; 2],
    /// Error of the margin on the wall and at the tip, mm, of both.
    pub margin_mm: [f64; 2],
}

/// A scene by offset and level.
type Scenes = [[Arc<Scene>; LEVELS.len()]; OFFSETS.len()];

/// A place: its error by offset, and the half-width that each level states there, mm.
struct Compared {
    errors_mm: [f64; OFFSETS.len()],
    halves_mm: [[f32; LEVELS.len()]; OFFSETS.len()],
    strata: [&'static str; 6],
}

/// Overlap, and the margin's error as a mean over places, mm.
#[derive(Clone, Copy)]
struct Scored {
    dice: f64,
    margin_mm: f64,
}

/// A frame: of the network by offset, and of the classical estimator.
#[derive(Clone, Copy)]
struct OfFrame {
    left_ml: f64,
    network: [Scored; OFFSETS.len()],
    classical: Scored,
}

/// One patient.
struct Found {
    frames: Vec<OfFrame>,
    places: Vec<Compared>,
    /// Counts of voxels by logit: other tissue, and core.
    logits: Vec<[u64; 2]>,
}

/// Calibrates. `done` hears of each patient.
///
/// # Errors
/// When no patient grows, or a stage refuses.
pub fn calibrate(
    model: &Model,
    wanted: &Wanted,
    threads: usize,
    done: &(dyn Fn() + Sync),
) -> anyhow::Result<Calibrated> {
    let config = Config::demo()?;
    let settings = bregma_patient::PatientSettings::default();
    let patients =
        Patients::prepare(crate::patients::cache(), wanted.first_seed, wanted.patients, &settings, threads, |_, _| ())?;
    // A theatre has T1c and FLAIR, and now and then the others.
    let dropout = Dropout { t1c: 0.0, flair: 0.05, t1: 0.5, t2: 0.5, video: 0.05 };
    let visits = Settings {
        seed: wanted.first_seed,
        sequences: wanted.sequences,
        dropout,
        still_share: 0.0,
        ..Settings::default()
    };
    let (next, failed) = (std::sync::atomic::AtomicUsize::new(0), Mutex::new(None));
    let (found, likeness) = (Mutex::new(BTreeMap::new()), Mutex::new(Likeness::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, patients.count()) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if nth >= patients.count() {
                        return;
                    }
                    match visit(model, &config, &patients, &visits, nth, &likeness) {
                        Ok(one) => {
                            found.lock().unwrap_or_else(PoisonError::into_inner).insert(nth, one);
                        }
                        Err(why) => {
                            next.store(patients.count(), std::sync::atomic::Ordering::Relaxed);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
                        }
                    }
                    done();
                }
            });
        }
    });
    if let Some(why) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(why);
    }
    let found: Vec<Found> = found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    let likeness = likeness.into_inner().unwrap_or_else(PoisonError::into_inner);
    fitted(&found, likeness)
}

/// Visits one patient.
fn visit(
    model: &Model,
    config: &Config,
    patients: &Patients,
    settings: &Settings,
    nth: usize,
    likeness: &Mutex<Likeness>,
) -> anyhow::Result<Found> {
    let mut visit = Visit::of(config, patients, settings, nth as u64, (nth as f64 + 0.5) / patients.count() as f64)?;
    let mut watching = Watching::new(model, config, &visit)?;
    let mut found = Found { frames: Vec::new(), places: Vec::new(), logits: vec![[0; 2]; LOGIT_BINS] };
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
            let truth = world.truth_of(&scenes[0][0]);
            let scored = |scene: &Scene| {
                let said = by_scene(scene, &truth);
                let (sum, n) = said.everywhere();
                Scored { dice: said.dice, margin_mm: sum / n.max(1) as f64 }
            };
            found.frames.push(OfFrame {
                left_ml: truth.residual_core_ml,
                network: scenes.each_ref().map(|levels| scored(&levels[0])),
                classical: scored(watching.classical.as_ref().context("it sees every frame")?),
            });
            found.places.extend(truth.places.iter().map(|place| compared(place, &scenes, &truth)));
            Ok(())
        })?;
    }
    Ok(found)
}

fn compared(place: &Place, scenes: &Scenes, truth: &SceneTruth) -> Compared {
    let halves =
        |levels: &[Arc<Scene>; LEVELS.len()]| levels.each_ref().map(|scene| scene.interval_mm(place.voxel) as f32);
    Compared {
        errors_mm: scenes.each_ref().map(|levels| place.error_mm(levels[0].margin_mm(place.voxel))),
        halves_mm: scenes.each_ref().map(halves),
        strata: strata_of(place, truth, 0.0, false),
    }
}

fn bin(logit: f32) -> usize {
    let share = (logit + LOGIT_MAX) / (2.0 * LOGIT_MAX);
    ((share * LOGIT_BINS as f32).max(0.0) as usize).min(LOGIT_BINS - 1)
}

fn logit_of(bin: usize) -> f64 {
    (2.0 * (bin as f64 + 0.5) / LOGIT_BINS as f64 - 1.0) * f64::from(LOGIT_MAX)
}

/// A network at work, and perceive on what it says, once for each offset and level.
struct Watching {
    plan: Plan,
    pool: Pool,
    state: bregma_perception::engine::State,
    said: Arc<Mutex<Vec<f32>>>,
    logits: Vec<f32>,
    perceive: Vec<Perceive>,
    /// The classical estimator's, which sees every frame, and its newest scene.
    beside: Perceive,
    classical: Option<Arc<Scene>>,
    volumes: Vec<Arc<Volume>>,
    /// Whether scenes of each level were asked for before.
    asked: bool,
    input: perceive::In,
    frames: u64,
}

impl Watching {
    fn new(model: &Model, config: &Config, visit: &Visit) -> anyhow::Result<Self> {
        let plan = Plan::new(model, ROI_EDGE, Precision::F32, None)?;
        let said = Arc::new(Mutex::new(vec![0.0; ROI_VOXELS]));
        let variants = OFFSETS.iter().flat_map(|offset| LEVELS.iter().map(move |level| (*offset, *level)));
        let perceive = variants.map(|(offset, level)| {
            let echo = Echo { said: Arc::clone(&said), offset, between: [-level, level].map(share_of) };
            session::perceive(config, Box::new(echo), Box::new(DistanceTransform::new([ROI_EDGE; 3])))
        });
        let perceive = perceive.collect();
        let (volumes, anatomy) = visit.known();
        let mut input = perceive::In::default();
        input.anatomy.set(1, Arc::clone(anatomy));
        let classical = Box::new(session::engines::classical(config));
        let beside = session::perceive(config, classical, Box::new(DistanceTransform::new([ROI_EDGE; 3])));
        let pool = Pool::new(1).context("no thread for the network")?;
        let (state, logits) = (plan.state(), vec![0.0; OUTPUTS * ROI_VOXELS]);
        Ok(Self {
            plan,
            pool,
            state,
            said,
            logits,
            perceive,
            beside,
            classical: None,
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
        self.classical = Some(scene_of(&mut self.beside, frame, &self.input)?);
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

    /// One for each offset and level, of the frame that was seen last.
    fn scenes(&mut self, frame: &RoiFrame) -> anyhow::Result<Scenes> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).copy_from_slice(&self.logits[..ROI_VOXELS]);
        let first = !std::mem::replace(&mut self.asked, true);
        self.show_scans(first);
        let scenes = self.perceive.iter_mut().map(|perceive| scene_of(perceive, frame, &self.input));
        let scenes: Vec<_> = scenes.collect::<anyhow::Result<_>>()?;
        let (levels, _) = scenes.as_chunks::<{ LEVELS.len() }>();
        levels.to_vec().try_into().map_err(|_| anyhow::anyhow!("a scene of each offset and level"))
    }
}

fn scene_of(perceive: &mut Perceive, frame: &RoiFrame, input: &perceive::In) -> anyhow::Result<Arc<Scene>> {
    let mut out = perceive::Out::default();
    perceive.step(frame.decided, input, &mut out)?;
    out.scene.context("perceive makes a scene of the frame")
}

/// Says what a network has said.
struct Echo {
    said: Arc<Mutex<Vec<f32>>>,
    offset: f32,
    between: [u8; 2],
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

    fn interval(&self) -> Option<Interval> {
        Some(Interval { between: self.between, factor: 1.0 })
    }
}

fn fitted(found: &[Found], likeness: Likeness) -> anyhow::Result<Calibrated> {
    let seen: Vec<&Found> = found.iter().filter(|one| !one.places.is_empty()).collect();
    let error_mm = |offset: usize| {
        let of = |one: &Found| one.places.iter().map(|p| p.errors_mm[offset]).sum::<f64>() / one.places.len() as f64;
        seen.iter().map(|one| of(one)).sum::<f64>() / seen.len() as f64
    };
    let offset = (0..OFFSETS.len()).min_by(|a, b| error_mm(*a).total_cmp(&error_mm(*b))).context("offsets to try")?;
    let loss = |temperature: f64| {
        let of_one = |one: &Found| {
            let (mut sum, mut n) = (0.0, 0);
            for (bin, [other, core]) in one.logits.iter().enumerate() {
                let logit = (logit_of(bin) + f64::from(OFFSETS[offset])) / temperature;
                // −ln σ(x) = ln(1 + e^−x).
                sum += *core as f64 * (-logit).exp().ln_1p() + *other as f64 * logit.exp().ln_1p();
                n += other + core;
            }
            (n > 0).then(|| sum / n as f64)
        };
        let all: Vec<f64> = found.iter().filter_map(of_one).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    };
    let tried = TEMPERATURES.map(|n| 0.02 * f64::from(n)).map(|t| (loss(t), t));
    let (best, temperature) = tried.min_by(|a, b| a.0.total_cmp(&b.0)).context("temperatures to try")?;
    let levels = (0..LEVELS.len()).filter_map(|level| {
        let factor = quantile(&seen, offset, level)?;
        let width = |one: &Found| {
            one.places.iter().map(|p| 2.0 * factor * f64::from(p.halves_mm[offset][level])).sum::<f64>()
                / one.places.len() as f64
        };
        Some((seen.iter().map(|one| width(one)).sum::<f64>() / seen.len() as f64, level, factor))
    });
    let (width_mm, level, factor) =
        levels.min_by(|a, b| a.0.total_cmp(&b.0)).context("no place of a wall was seen in any visit")?;
    let reach = LEVELS[level] / temperature as f32;
    let interval = Interval { between: [-reach, reach].map(share_of), factor: factor as f32 };
    let trust = Trust { offset: OFFSETS[offset], temperature: temperature as f32, interval: Some(interval) };
    // A visit has neither a newer MRI nor faults: of those nothing is known here.
    let within = STRATA[..OF_VISITS].iter().filter_map(|stratum| {
        let shares = seen.iter().filter_map(|one| {
            let of = || one.places.iter().filter(|place| place.strata.contains(stratum));
            let inside = of().filter(|p| p.errors_mm[offset] <= factor * f64::from(p.halves_mm[offset][level])).count();
            (of().count() > 0).then(|| inside as f64 / of().count() as f64)
        });
        let shares: Vec<f64> = shares.collect();
        (!shares.is_empty()).then(|| (*stratum, shares.iter().sum::<f64>() / shares.len() as f64))
    });
    let beside = beside(found, offset);
    Ok(Calibrated {
        beside,
        trust,
        likeness,
        likelihood: [loss(1.0), best],
        width_mm,
        within: within.collect(),
        patients: seen.len(),
    })
}

fn beside(found: &[Found], offset: usize) -> Vec<Beside> {
    let sizes = [(STRATA[7], 5.0, f64::INFINITY), (STRATA[8], 1.0, 5.0), (STRATA[9], 0.0, 1.0)];
    let of = |(left, from, to): (&'static str, f64, f64)| {
        let each: Vec<Vec<_>> = found
            .iter()
            .map(|one| one.frames.iter().filter(|f| (from..to).contains(&f.left_ml)).collect())
            .filter(|frames: &Vec<_>| !frames.is_empty())
            .collect();
        let mean = |of: &dyn Fn(&OfFrame) -> f64| {
            each.iter().map(|f| f.iter().map(|f| of(f)).sum::<f64>() / f.len() as f64).sum::<f64>() / each.len() as f64
        };
        (!each.is_empty()).then(|| Beside {
            left,
            frames: each.iter().map(Vec::len).sum(),
            dice: [mean(&|f| f.network[offset].dice), mean(&|f| f.classical.dice)],
            margin_mm: [mean(&|f| f.network[offset].margin_mm), mean(&|f| f.classical.margin_mm)],
        })
    };
    sizes.into_iter().filter_map(of).collect()
}

/// The least factor by which nine of ten places lie within, patients counting alike; one more patient, of whom nothing is known, would have
/// all of hers outside.
fn quantile(seen: &[&Found], offset: usize, level: usize) -> Option<f64> {
    let weight = 1.0 / (seen.len() + 1) as f64;
    let ratio = |p: &Compared| p.errors_mm[offset] / f64::from(p.halves_mm[offset][level]).max(1e-3);
    let mut ratios: Vec<(f64, f64)> =
        seen.iter().flat_map(|one| one.places.iter().map(|p| (ratio(p), weight / one.places.len() as f64))).collect();
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    let reached = |(_, weight): &&(f64, f64)| {
        sum += weight;
        sum >= NOMINAL
    };
    ratios.iter().find(reached).or(ratios.last()).map(|(ratio, _)| *ratio)
}

/// Writes it into a model's file, in place of what stood there.
pub fn put_into(file: &mut ModelFile, found: &Calibrated) {
    file.ranges.retain(|name, _| !trust::is_one(name) && !likeness::is_one(name));
    file.ranges.extend(found.trust.ranges());
    file.ranges.extend(found.likeness.ranges());
    file.figures.insert("calibration".to_owned(), lines(found).join("; "));
    file.figures.insert(BETTER.to_owned(), better(found).to_string());
}

/// The figure of a model's file that says whether it was better than the classical estimator on the patients that it was calibrated on.
const BETTER: &str = "better than the classical estimator";

/// Whether it was: in overlap and in margin, whatever was left.
fn better(found: &Calibrated) -> bool {
    let each = |b: &Beside| b.dice[0] > b.dice[1] && b.margin_mm[0] < b.margin_mm[1];
    !found.beside.is_empty() && found.beside.iter().all(each)
}

/// Whether a model's file says that it is to be preferred to the classical estimator.
#[must_use]
pub fn preferred(file: &ModelFile) -> bool {
    file.figures.get(BETTER).is_some_and(|said| said == "true")
}

/// What was found, for people.
#[must_use]
pub fn lines(found: &Calibrated) -> Vec<String> {
    let Calibrated { trust, likelihood, width_mm, within, patients, beside, .. } = found;
    let mut lines = vec![format!(
        "logits plus {:.2}, by which margins are nearest; temperature {:.2}: {:.4} nats a voxel within {NEAR_MM} mm of the core, {:.4} before",
        trust.offset, trust.temperature, likelihood[1], likelihood[0]
    )];
    if let Some(Interval { between: [low, high], factor }) = trust.interval {
        lines.push(format!(
            "90 % interval: {factor:.2} times as far as the surfaces at {:.2} and {:.2}, {width_mm:.2} mm wide in the mean over {patients} patients",
            f64::from(low) / 255.0,
            f64::from(high) / 255.0
        ));
    }
    for Beside { left, frames, dice, margin_mm } in beside {
        lines.push(format!(
            "{left}, {frames} frames: Dice {:.3}, margin {:.2} mm; the classical estimator {:.3}, {:.2} mm",
            dice[0], margin_mm[0], dice[1], margin_mm[1]
        ));
    }
    let word = if better(found) {
        "better in all of it"
    } else {
        "not better in all of it: `auto` stays with the classical estimator"
    };
    lines.push(word.to_owned());
    let shares = within.iter().map(|(stratum, share)| format!("{stratum} {:.0} %", 100.0 * share));
    lines.push(format!("within it, where it was fitted: {}", shares.collect::<Vec<_>>().join(", ")));
    lines
}

/// Writes it into a network's card, in place of what stood there of an earlier calibration.
///
/// # Errors
/// When the card cannot be read or written.
pub fn put_into_card(path: &Path, wanted: &Wanted, found: &Calibrated) -> anyhow::Result<()> {
    const BEGINS: &str = "## Calibration";
    let card = std::fs::read_to_string(path).with_context(|| format!("the card {} cannot be read", path.display()))?;
    let before = card.split(BEGINS).next().unwrap_or_default().trim_end();
    let seeds = format!("{} to {}", wanted.first_seed, wanted.first_seed + wanted.patients as u64 - 1);
    let text = format!(
        "{before}\n\n{BEGINS}\n\nOn patients of seeds {seeds}, {} places in the removal of each, by `bregma train calibrate` at commit {}:\n\n- {}\n",
        wanted.sequences,
        crate::report::commit(),
        lines(found).join("\n- ")
    );
    whole::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the offsets, the one by which errors are least.
    const BEST: usize = 1;

    fn place(error_mm: f64, half_mm: f32) -> Compared {
        let mut halves_mm = [[20.0; LEVELS.len()]; OFFSETS.len()];
        halves_mm[BEST][2] = half_mm;
        let mut errors_mm = [error_mm + 1.0; OFFSETS.len()];
        errors_mm[BEST] = error_mm;
        Compared { errors_mm, halves_mm, strata: [STRATA[0]; 6] }
    }

    /// Voxels whose logits, with the best offset, are three times what they should be.
    fn sure(places: Vec<Compared>) -> Found {
        let mut logits = vec![[0; 2]; LOGIT_BINS];
        for (bin, counts) in logits.iter_mut().enumerate() {
            let p = 1.0 / (1.0 + (-(logit_of(bin) + f64::from(OFFSETS[BEST])) / 3.0).exp());
            *counts = [(1e5 * (1.0 - p)) as u64, (1e5 * p) as u64];
        }
        let [mut network, classical] =
            [(0.7, 3.0), (0.8, 2.0)].map(|(dice, margin_mm)| [Scored { dice, margin_mm }; OFFSETS.len()]);
        network[BEST] = Scored { dice: 0.9, margin_mm: 1.0 };
        Found { frames: vec![OfFrame { left_ml: 6.0, network, classical: classical[0] }], places, logits }
    }

    #[test]
    fn an_overconfident_network_is_cooled_and_the_narrowest_interval_taken() {
        // Half-widths that follow the error, but are a twentieth of it in one place of twenty.
        let narrow = |i: i32| if i == 0 { 0.05 } else { 0.5 };
        let one = |n: i32| (0..20).map(|i| place(1.0 + f64::from(n), (1.0 + n as f32) * narrow(i))).collect();
        let found: Vec<Found> = (0..40).map(|n| sure(one(n))).collect();
        let fit = fitted(&found, Likeness::default()).expect("places were seen");
        assert_eq!(fit.trust.offset, OFFSETS[BEST]);
        assert!((fit.trust.temperature - 3.0).abs() < 0.05, "{}", fit.trust.temperature);
        assert!(fit.likelihood[1] < fit.likelihood[0]);
        let interval = fit.trust.interval.expect("fitted");
        let reach = LEVELS[2] / fit.trust.temperature;
        assert_eq!(interval.between, [-reach, reach].map(share_of));
        assert!((interval.factor - 2.0).abs() < 1e-4, "{}", interval.factor);
        let expected = Beside { left: STRATA[7], frames: 40, dice: [0.9, 0.8], margin_mm: [1.0, 2.0] };
        let near = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).abs() < 1e-9 && (a[1] - b[1]).abs() < 1e-9;
        let [one] = fit.beside[..] else { panic!("{:?}", fit.beside) };
        assert!(
            one.frames == 40 && near(one.dice, expected.dice) && near(one.margin_mm, expected.margin_mm),
            "{one:?}"
        );
        assert!(better(&fit) && lines(&fit).iter().any(|line| line == "better in all of it"));
        let worse = Beside { margin_mm: [2.0, 1.0], ..one };
        assert!(!better(&Calibrated { beside: vec![one, worse], ..fit.clone() }));
        assert!(fit.within.iter().all(|(_, share)| *share >= 0.9), "{:?}", fit.within);
    }

    #[test]
    fn patients_count_alike_however_many_places_they_have() {
        let many = sure((0..1000).map(|_| place(1.0, 1.0)).collect());
        let few: Vec<Found> = (0..9).map(|_| sure(vec![place(4.0, 1.0)])).collect();
        let all: Vec<&Found> = few.iter().chain([&many]).collect();
        assert_eq!(quantile(&all, BEST, 2), Some(4.0));
    }

    #[test]
    fn bins_hold_their_logits() {
        for logit in [-19.99_f32, -3.2, 0.01, 7.7, 19.9] {
            assert!((logit_of(bin(logit)) - f64::from(logit)).abs() <= 0.026, "{logit}");
        }
        assert_eq!((bin(-1e9), bin(1e9)), (0, LOGIT_BINS - 1));
    }
}
