//! One training of the network that keeps the margin: from patients to a model in a folder.
//!
//! ```text
//!  patients ─► Stream ─► Kept ─► Trainer ─┬► training.ckpt, log.jsonl, curves.png     every now and then, and to go on from
//!  held-out patients ─► Score ────────────┘► network.bregma, network.md               at the end, and at every checkpoint
//! ```
//! The folder's `recipe.json` says all that the weights follow from. A training that was left goes on with the same recipe; it sees
//! other lessons than one that never was, since theatres begin anew. **Seeds:** patients to learn from and patients to
//! score on are both of the seeds for learning, and apart; no claim is made on either.

use super::lessons::{Kept, lesson};
use super::patients::Patients;
use super::stream::Stream;
use super::{Settings, curves};
use crate::config::Config;
use crate::patients;
use crate::{report, whole};
use anyhow::{Context, ensure};
use bregma_core::flow::{ROI_EDGE, ROI_SPACING_MM};
use bregma_core::time::{Clock, RealClock};
use bregma_patient::PatientSettings;
use bregma_perception::engine::{Calibration, Plan, Pool, Precision};
use bregma_perception::model::file::{ModelFile, Stored};
use bregma_perception::network::VoxelAutodiffBackend;
use bregma_perception::perceive::inputs::inputs_digest;
use bregma_perception::perceive::network::{DEFAULT_SHAPE, OUTPUT_NAMES};
use bregma_perception::train::{self, Checkpoint, Lesson, Lessons, Loss, Prepared, Scored, TrainError, Trainer, score};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Steps that one entry of the log is of.
const ENTRY: u64 = 25;
/// Steps from score to score.
const SCORED: u64 = 250;
/// Steps whose lessons wait.
const AHEAD: usize = 2;
/// From checkpoint to checkpoint, s.
const KEPT_S: f64 = 600.0;

/// All that weights follow from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The training's own.
    pub training: train::Settings,
    /// First seed and number of the patients that are learnt from.
    pub patients: (u64, usize),
    /// Of those that are scored on.
    pub held_out: (u64, usize),
    /// Smallest and largest core, mL.
    pub core_ml: [f64; 2],
    /// Frames of a lesson.
    pub frames: usize,
    /// Frames of removals that are kept to learn from again, and as many of scans alone.
    pub kept: usize,
    /// Each is learnt from about so often.
    pub uses: f64,
    /// Share of the steps that learn from scans alone.
    pub scans: f64,
    /// Theatres that removals are played in at once.
    pub theatres: usize,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            training: train::Settings::default(),
            patients: (super::patients::FIRST_SEED, 200),
            held_out: (900_000, 8),
            core_ml: PatientSettings::default().core_ml,
            frames: 4,
            kept: 192,
            uses: 5.0,
            scans: 0.25,
            theatres: 4,
        }
    }
}

impl Recipe {
    /// # Errors
    /// The first part that makes no sense, and what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        self.training.check()?;
        let inside = |name: &str, value: f64, low: f64, high: f64| {
            let right = (low..=high).contains(&value);
            ensure!(right, "the recipe's {name} is {value}; {low} to {high} is right");
            Ok(())
        };
        inside("patients", self.patients.1 as f64, 1.0, 1e5)?;
        inside("held_out", self.held_out.1 as f64, 1.0, 1e5)?;
        inside("core_ml[0]", self.core_ml[0], 0.1, self.core_ml[1])?;
        inside("frames", self.frames as f64, 2.0, 64.0)?;
        inside("kept", self.kept as f64, self.frames as f64, 1e6)?;
        inside("uses", self.uses, 1.0, 1e3)?;
        inside("scans", self.scans, 0.0, 0.9)?;
        inside("theatres", self.theatres as f64, 1.0, 256.0)
    }
}

/// A line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Steps that were made.
    pub step: u64,
    /// Time since the training began, without pauses, s.
    pub seconds: f64,
    /// Rate at which weights are moved.
    pub rate: f64,
    /// Mean over the steps since the last entry.
    pub loss: Loss,
    /// The mean of the weights on held-out patients, where it was scored.
    pub scored: Option<Scored>,
}

/// A training as it is kept on disk.
#[derive(Serialize, Deserialize)]
struct Left {
    checkpoint: Checkpoint,
    seconds: f64,
    entries: Vec<Entry>,
}

/// What happens in a training.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// One more patient is there, of so many.
    Patient(usize),
    /// Held-out sequences are made, of so many.
    HeldOut(usize),
    /// Training begins, behind so many steps of so many.
    Begins(u64, u64),
    /// A step was made.
    Step,
    /// The log has one more line.
    Logged(&'a Entry),
}

/// A training in a folder.
pub struct Training<'a> {
    /// Where.
    pub folder: &'a Path,
    /// From what.
    pub recipe: Recipe,
    /// Go on from what is there.
    pub resume: bool,
    /// Stop after that, and keep it to go on from.
    pub minutes: Option<f64>,
    /// Threads that make lessons, and as many that score.
    pub threads: usize,
}

impl Training<'_> {
    /// Trains on a device until all steps are made or the time is over; whether all are.
    ///
    /// # Errors
    /// When something cannot be read or written, no patient grows, or the loss is no number any more.
    pub fn run<B: VoxelAutodiffBackend>(
        &self,
        device: B::Device,
        device_name: &str,
        hear: &(dyn Fn(Heard<'_>) + Sync),
    ) -> anyhow::Result<bool> {
        let Self { folder, recipe, .. } = self;
        let kept_at = folder.join("training.ckpt");
        let left = self.resume.then(|| read(&kept_at)).transpose()?;
        let (seconds, entries) = left.as_ref().map_or((0.0, Vec::new()), |l| (l.seconds, l.entries.clone()));
        let mut trainer = match left {
            Some(left) => Trainer::<B>::resume(recipe.training, DEFAULT_SHAPE, device, left.checkpoint)
                .with_context(|| format!("{} cannot be gone on from", kept_at.display()))?,
            None => Trainer::<B>::new(recipe.training, DEFAULT_SHAPE, device)?,
        };
        let pool = Pool::new(self.threads).context("no threads to score with")?;
        let held_out = self.held_out(hear)?;
        let lessons = self.lessons(trainer.steps())?;
        hear(Heard::Begins(trainer.steps(), recipe.training.steps));
        std::thread::scope(|scope| {
            // The next steps' lessons are made beside a step.
            let (to, prepared) = sync_channel(AHEAD);
            let steps = trainer.steps()..recipe.training.steps;
            scope.spawn(move || prepare(lessons, &recipe.training, steps, &to));
            self.learn(&mut trainer, &prepared, (seconds, entries), device_name, (&pool, &held_out), hear)
        })?;
        Ok(trainer.ended())
    }

    /// Steps until all are made or the time is over.
    fn learn<B: VoxelAutodiffBackend>(
        &self,
        trainer: &mut Trainer<B>,
        prepared: &Receiver<Result<Prepared, TrainError>>,
        (mut seconds, mut entries): (f64, Vec<Entry>),
        device_name: &str,
        (pool, held_out): (&Pool, &[Lesson]),
        hear: &(dyn Fn(Heard<'_>) + Sync),
    ) -> anyhow::Result<()> {
        let recipe = &self.recipe;
        let (clock, begun_at) = (RealClock::start(), seconds);
        let start = clock.now();
        let elapsed = || clock.now().since(start).map_or(0.0, |d| d.secs_f64());
        let mut kept_last = 0.0;
        let mut losses: Vec<Loss> = Vec::new();
        while !trainer.ended() {
            let prepared = prepared.recv().context("nobody makes lessons any more")??;
            losses.push(trainer.step(prepared)?);
            hear(Heard::Step);
            let step = trainer.steps();
            seconds = begun_at + elapsed();
            if step.is_multiple_of(ENTRY) || trainer.ended() {
                let scored = (step.is_multiple_of(SCORED) || trainer.ended())
                    .then(|| score(&trainer.model(), pool, held_out, ROI_SPACING_MM))
                    .transpose()?;
                let rate = recipe.training.rate_at(step.saturating_sub(1));
                entries.push(Entry { step, seconds, rate, loss: mean(&losses), scored });
                losses.clear();
                entries.last().into_iter().for_each(|entry| hear(Heard::Logged(entry)));
            }
            let over = self.minutes.is_some_and(|minutes| elapsed() > 60.0 * minutes);
            if over || trainer.ended() || elapsed() - kept_last > KEPT_S {
                kept_last = elapsed();
                self.keep(trainer, seconds, &entries, device_name, pool, held_out)?;
            }
            if over {
                break;
            }
        }
        Ok(())
    }

    fn settings(&self) -> PatientSettings {
        PatientSettings { core_ml: self.recipe.core_ml, ..PatientSettings::default() }
    }

    /// Sequences of patients that nothing is learnt from, with every stream there.
    fn held_out(&self, hear: &(dyn Fn(Heard<'_>) + Sync)) -> anyhow::Result<Vec<Lesson>> {
        let (first, count) = self.recipe.held_out;
        let heard = |_, _| hear(Heard::Patient(count));
        let patients = Patients::prepare(patients::cache(), first, count, &self.settings(), self.threads, heard)?;
        let none = super::dropout::Dropout { t1c: 0.0, flair: 0.0, t1: 0.0, t2: 0.0, video: 0.0 };
        let settings = Settings {
            seed: 0,
            sequences: 2,
            abreast: patients.count().min(8),
            dropout: none,
            frames: self.recipe.frames,
            ..Settings::default()
        };
        let count = 2 * patients.count();
        let mut stream = Stream::start(Config::demo()?, patients, &settings, self.threads)?;
        let made = (0..count).map(|_| {
            hear(Heard::HeldOut(count));
            stream.next().map(lesson)
        });
        made.collect()
    }

    fn lessons(&self, step: u64) -> anyhow::Result<Kept> {
        let Recipe { training, patients: (first, count), frames, kept, uses, scans, theatres, .. } = self.recipe;
        let patients = Patients::on_demand(patients::cache(), first, count, &self.settings())?;
        // Theatres begin anew where a training goes on: others than before.
        let seed = training.seed.wrapping_mul(1_000_003).wrapping_add(step);
        // As many frames of scans alone as their share of the steps takes, over a visit's removals.
        let learning = Settings { seed, frames, abreast: theatres, ..Settings::default() };
        let removals = (learning.sequences * frames) as f64;
        let settings = Settings { scans: (removals * scans / (1.0 - scans)).ceil() as usize, ..learning };
        let stream = Stream::start(Config::demo()?, patients, &settings, self.threads)?;
        Ok(Kept::new(stream, seed, kept, uses, scans))
    }

    fn keep<B: VoxelAutodiffBackend>(
        &self,
        trainer: &Trainer<B>,
        seconds: f64,
        entries: &[Entry],
        device: &str,
        pool: &Pool,
        held_out: &[Lesson],
    ) -> anyhow::Result<()> {
        let Self { folder, recipe, .. } = self;
        let left = Left { checkpoint: trainer.checkpoint()?, seconds, entries: entries.to_vec() };
        whole::write(&folder.join("training.ckpt"), &postcard::to_stdvec(&left)?)?;
        let mut log = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut log, entry)?;
            log.push(b'\n');
        }
        whole::write(&folder.join("log.jsonl"), &log)?;
        if let Some(picture) = curves::draw(entries) {
            let mut png = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut png, image::ImageFormat::Png)?;
            whole::write(&folder.join("curves.png"), png.get_ref())?;
        }
        let model = trainer.model();
        let ranges = calibrated(&model, pool, held_out)?;
        let mut file = ModelFile::new(model, Stored::F32, inputs_digest())?;
        file.set_activations(&ranges);
        let last = entries.iter().rev().find_map(|e| e.scored.map(|s| (e.step, s)));
        let card = card(recipe, trainer.steps(), seconds, device, last);
        for (name, value) in [
            ("commit", report::commit().to_owned()),
            ("recipe", serde_json::to_string(recipe)?),
            ("steps", trainer.steps().to_string()),
            ("outputs", OUTPUT_NAMES.join(", ")),
            ("scored", serde_json::to_string(&last)?),
        ] {
            file.figures.insert(name.to_owned(), value);
        }
        whole::write(&folder.join("network.bregma"), &file.to_bytes()?)?;
        whole::write(&folder.join("network.md"), card.as_bytes())
    }
}

/// Makes what those steps learn from, until nobody takes it any more.
fn prepare(
    mut lessons: Kept,
    settings: &train::Settings,
    steps: Range<u64>,
    to: &SyncSender<Result<Prepared, TrainError>>,
) {
    for step in steps {
        let taken = lessons.next(settings.frames).map_err(TrainError::NoLesson);
        let made = taken.and_then(|lessons| Prepared::of(settings, step, &lessons));
        let sound = made.is_ok();
        if to.send(made).is_err() || !sound {
            return;
        }
    }
}

/// Takes a folder for a new training, or one that was left; its recipe, which `wanted` is where it is new.
///
/// # Errors
/// A folder that holds another training, or none to go on with.
pub fn folder(path: &Path, resume: bool, wanted: Recipe) -> anyhow::Result<Recipe> {
    let (recipe, left) = (path.join("recipe.json"), path.join("training.ckpt"));
    if resume {
        let text = std::fs::read(&recipe)
            .with_context(|| format!("{} cannot be read; without --resume a training begins", recipe.display()))?;
        ensure!(
            left.exists(),
            "{} has a recipe and no training.ckpt to go on from: begin without --resume",
            path.display()
        );
        let found: Recipe = serde_json::from_slice(&text).with_context(|| format!("in {}", recipe.display()))?;
        found.check().with_context(|| format!("in {}", recipe.display()))?;
        return Ok(found);
    }
    wanted.check()?;
    ensure!(
        !left.exists(),
        "{} holds a training; --resume goes on with it, another --out begins a new one",
        path.display()
    );
    std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    whole::write(&recipe, serde_json::to_string_pretty(&wanted)?.as_bytes())?;
    Ok(wanted)
}

fn read(path: &Path) -> anyhow::Result<Left> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    postcard::from_bytes(&bytes).with_context(|| format!("{} is no training that was left", path.display()))
}

/// What activations reach on lessons, for a plan in int8.
fn calibrated(model: &bregma_perception::model::Model, pool: &Pool, on: &[Lesson]) -> anyhow::Result<Vec<[f32; 2]>> {
    let mut plan = Plan::new(model, ROI_EDGE, Precision::F32, None)?;
    let mut logits = vec![0.0; model.shape.outputs * ROI_EDGE.pow(3)];
    let mut calibration = Calibration { ranges: Vec::new() };
    for lesson in on {
        let mut state = plan.state();
        for frame in lesson.channels.chunks_exact(lesson.channels.len() / lesson.frames) {
            plan.calibrate(pool, frame, &mut state, &mut logits, &mut calibration)?;
        }
    }
    Ok(calibration.ranges)
}

fn mean(losses: &[Loss]) -> Loss {
    let n = losses.len().max(1) as f64;
    let of = |part: &dyn Fn(&Loss) -> f64| losses.iter().map(part).sum::<f64>() / n;
    Loss {
        total: of(&|l| l.total),
        overlap: of(&|l| l.overlap),
        likelihood: of(&|l| l.likelihood),
        boundary: of(&|l| l.boundary),
    }
}

/// The model card.
fn card(recipe: &Recipe, steps: u64, seconds: f64, device: &str, scored: Option<(u64, Scored)>) -> String {
    let Recipe { training, patients, held_out, core_ml, frames, kept, uses, scans, .. } = recipe;
    let mut out = String::from("# The network that keeps the margin\n\n");
    let _ = writeln!(
        out,
        "A residual 3D U-Net with a ConvLSTM, base {}, {} levels, {} channels in, {} values out ({}). Trained on digital patients of the \
         home world alone, by `bregma train perception` at commit {}: {} steps of {}, {:.1} hours on {device}.\n",
        DEFAULT_SHAPE.base,
        DEFAULT_SHAPE.levels,
        DEFAULT_SHAPE.inputs,
        DEFAULT_SHAPE.outputs,
        OUTPUT_NAMES.join(", "),
        report::commit(),
        steps,
        training.steps,
        seconds / 3600.0
    );
    let _ = writeln!(
        out,
        "**Data:** patients of seeds {} to {} with cores of {} to {} mL; sequences of {frames} frames of simulated removals as align sees \
         them, and in {:.0} % of the steps scans alone from anywhere in the head; {kept} frames of each kept at a time, each learnt from \
         about {uses} times; cubes of {} voxels, turned, their scans disturbed \
         as real ones are. **Seed** {}. All else stands in `recipe.json`.\n",
        patients.0,
        patients.0 + patients.1 as u64 - 1,
        core_ml[0],
        core_ml[1],
        100.0 * scans,
        training.edge,
        training.seed
    );
    match scored {
        Some((step, Scored { overlap, margin_mm, frames })) => {
            let word = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| format!("{v:.3}"));
            let overlaps = OUTPUT_NAMES.iter().zip(overlap).map(|(name, value)| format!("{name} {}", word(value)));
            let _ = writeln!(
                out,
                "**Held-out patients** (seeds {} to {}, {frames} frames, after step {step}): Dice of {}; error of the margin within 5 mm of \
                 the core's surface {} mm. The ranges of int8 are taken from them, and they may have been looked at: no claim is made on them.\n",
                held_out.0,
                held_out.0 + held_out.1 as u64 - 1,
                overlaps.collect::<Vec<_>>().join(", "),
                word(margin_mm)
            );
        }
        None => out.push_str("**Held-out patients:** not scored yet.\n\n"),
    }
    out.push_str(
        "**Limits:** simulated data only; research software, not a medical device. What it was never shown: children, earlier surgery, \
         more than one tumour, scans without a brain in them.\n",
    );
    out
}
