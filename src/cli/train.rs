//! `bregma train`: weights from digital patients.

use super::{Goal, say};
use crate::learning::calibration;
use crate::learning::training::{self, Heard, Recipe, Training};
use anyhow::{Context, bail, ensure};
use bregma_perception::network::api::{Autodiff, Flex};
use bregma_perception::network::device::{Choice, Runs, Wish, choose};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;

/// Seed of the first patient that a network is calibrated on: behind those that it is scored on.
const CALIBRATED_FROM: u64 = 950_000;

/// Where the processor or a GPU is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Device {
    /// A GPU through CUDA if there is one, else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// A GPU through CUDA; without one nothing is trained.
    Cuda,
}

/// `train`.
#[derive(Debug, clap::Subcommand)]
pub enum TrainCommand {
    /// The network that keeps the margin, from simulated removals.
    #[command(after_help = "\
Examples:
  bregma train perception --out out/perception                  begins a training
  bregma train perception --out out/perception --resume         goes on with it
  bregma train perception --out out/try --steps 200 --patients 4 --held-out 2 --edge 32

It takes about 10 GB of memory. The folder holds recipe.json, log.jsonl, curves.png, training.ckpt to go on from, and the network with its card.
A network is calibrated before it is run: bregma train calibrate.")]
    Perception(PerceptionArgs),
    /// How far a trained network can be believed: offset, temperature, the rule for margins and their interval, and what it learnt from; into its file and its card.
    #[command(after_help = "\
Example:
  bregma train calibrate --model out/perception/network.bregma

A quarter of an hour on two cores. A network that was not calibrated is not run on a patient.")]
    Calibrate(CalibrateArgs),
}

/// Options of `train calibrate`.
#[derive(Debug, clap::Args)]
pub struct CalibrateArgs {
    /// The network; it is written anew, and a part of its card, the file beside it that ends in .md.
    #[arg(long, value_name = "FILE.bregma", default_value = "out/perception/network.bregma")]
    pub model: PathBuf,
    /// Patients to calibrate on, from seed 950000 on.
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub patients: usize,
    /// Places in the removal of each that are looked at.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub sequences: usize,
    /// Threads [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Options of `train perception`.
#[derive(Debug, clap::Args)]
pub struct PerceptionArgs {
    /// The training's folder.
    #[arg(long, value_name = "DIR", default_value = "out/perception")]
    pub out: PathBuf,
    /// Go on with the training in the folder, by its own recipe.
    #[arg(long, conflicts_with_all = ["steps", "seed", "patients", "held_out", "frames", "edge", "rate", "mean", "uses", "theatres", "kept"])]
    pub resume: bool,
    /// Stop after so many minutes of training, which begins once the held-out patients are grown, and keep what is needed to go on.
    #[arg(long, value_name = "M")]
    pub minutes: Option<f64>,
    /// Steps in all [default: 6000].
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Of the first weights and of all that is drawn [default: 1].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Patients to learn from, from seed 100000 on [default: 200].
    #[arg(long, value_name = "N")]
    pub patients: Option<usize>,
    /// Patients to score on, from seed 900000 on [default: 8].
    #[arg(long, value_name = "N")]
    pub held_out: Option<usize>,
    /// Frames of a step, over all its sequences [default: 12].
    #[arg(long, value_name = "N")]
    pub frames: Option<usize>,
    /// Edge of the cubes that are cut out of them, voxels, a multiple of 8 up to 64 [default: 40].
    #[arg(long, value_name = "N")]
    pub edge: Option<usize>,
    /// Highest rate at which weights are moved [default: 0.003].
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// Share of the weights' mean that stays at each step [default: 0.998].
    #[arg(long, value_name = "S")]
    pub mean: Option<f64>,
    /// Times that each frame is learnt from, about [default: 5].
    #[arg(long, value_name = "N")]
    pub uses: Option<f64>,
    /// Theatres that removals are played in at once, 0.3 GB each [default: 4].
    #[arg(long, value_name = "N")]
    pub theatres: Option<usize>,
    /// Frames of removals that are kept to learn from again, 12 MB each, and as many of scans alone [default: 192].
    #[arg(long, value_name = "N")]
    pub kept: Option<usize>,
    /// What trains.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    pub device: Device,
    /// Threads that make lessons [default: all].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Runs it.
///
/// # Errors
/// As [`Training::run`], and options out of range.
pub fn run(command: &TrainCommand) -> anyhow::Result<Goal> {
    match command {
        TrainCommand::Perception(args) => perception(args),
        TrainCommand::Calibrate(args) => calibrate(args),
    }
}

/// `train calibrate`.
fn calibrate(args: &CalibrateArgs) -> anyhow::Result<Goal> {
    ensure!((2..=1000).contains(&args.patients), "--patients is {}; 2 to 1000 is right", args.patients);
    ensure!((1..=256).contains(&args.sequences), "--sequences is {}; 1 to 256 is right", args.sequences);
    let wanted =
        calibration::Wanted { first_seed: CALIBRATED_FROM, patients: args.patients, sequences: args.sequences };
    let mut file = crate::weights::read(Some(&args.model))?;
    let card = args.model.with_extension("md");
    ensure!(card.is_file(), "the card {} is not there; a network and its card stay together", card.display());
    let bar = ProgressBar::new(args.patients as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:28} {pos}/{len} patients, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    let threads = args.threads.unwrap_or_else(cores).clamp(1, 256);
    let found = calibration::calibrate(file.model(), &wanted, threads, &|| bar.inc(1))?;
    bar.finish_and_clear();
    calibration::put_into(&mut file, &found);
    calibration::put_into_card(&card, &wanted, &found)?;
    file.write(&args.model)?;
    for line in calibration::lines(&found) {
        say(line);
    }
    say(format!("calibrated {}, its card {}", args.model.display(), card.display()));
    Ok(Goal::Held)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `train perception`.
fn perception(args: &PerceptionArgs) -> anyhow::Result<Goal> {
    if let Some(minutes) = args.minutes {
        ensure!(minutes > 0.0, "--minutes is {minutes}; more than 0 is right");
    }
    let recipe = training::folder(&args.out, args.resume, wanted(args))?;
    let threads = args.threads.unwrap_or_else(cores).clamp(1, 256);
    let training = Training { folder: &args.out, recipe, resume: args.resume, minutes: args.minutes, threads };
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:28} {pos}/{len} {msg}, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(Duration::from_millis(500));
    let hear = |heard: Heard<'_>| show(&bar, heard);
    let whole = match device(args.device)? {
        Runs::Cuda => on_cuda(&training, &hear)?,
        _ => training.run::<Autodiff<Flex>>(Default::default(), "the processor", &hear)?,
    };
    bar.finish_and_clear();
    let folder = args.out.display();
    if whole {
        say(format!("trained    {folder}/network.bregma, its card network.md, its curves curves.png"));
    } else {
        say(format!("left       {folder}: `bregma train perception --out {folder} --resume` goes on"));
    }
    Ok(Goal::Held)
}

/// The recipe that the options ask for.
fn wanted(args: &PerceptionArgs) -> Recipe {
    let mut recipe = Recipe::default();
    let t = &mut recipe.training;
    t.steps = args.steps.unwrap_or(t.steps);
    t.warm_up = t.warm_up.min(t.steps / 10);
    t.seed = args.seed.unwrap_or(t.seed);
    t.frames = args.frames.unwrap_or(t.frames);
    t.edge = args.edge.unwrap_or(t.edge);
    t.rate = args.rate.unwrap_or(t.rate);
    t.mean = args.mean.unwrap_or(t.mean);
    recipe.patients.1 = args.patients.unwrap_or(recipe.patients.1);
    recipe.held_out.1 = args.held_out.unwrap_or(recipe.held_out.1);
    recipe.uses = args.uses.unwrap_or(recipe.uses);
    recipe.theatres = args.theatres.unwrap_or(recipe.theatres);
    recipe.kept = args.kept.unwrap_or(recipe.kept);
    recipe
}

fn device(wish: Device) -> anyhow::Result<Runs> {
    let Choice { runs, why } = match wish {
        Device::Cpu => choose(Wish::Cpu),
        Device::Auto | Device::Cuda => choose(Wish::Cuda),
    };
    if wish == Device::Cuda && runs != Runs::Cuda {
        bail!("--device cuda: {why}");
    }
    say(format!("trains on  {why}"));
    Ok(runs)
}

#[cfg(feature = "cuda")]
fn on_cuda(training: &Training<'_>, hear: &(dyn Fn(Heard<'_>) + Sync)) -> anyhow::Result<bool> {
    use bregma_perception::network::api::Cuda;
    training.run::<Autodiff<Cuda>>(Default::default(), "a GPU through CUDA", hear).context("on CUDA")
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: &Training<'_>, _: &(dyn Fn(Heard<'_>) + Sync)) -> anyhow::Result<bool> {
    Err(anyhow::anyhow!("this program was built without the feature `cuda`")).context("on CUDA")
}

fn show(bar: &ProgressBar, heard: Heard<'_>) {
    let counts = |name: &'static str, of: usize| {
        if bar.message() != name {
            bar.set_position(0);
            bar.set_message(name);
            bar.set_length(of as u64);
        }
        bar.inc(1);
    };
    match heard {
        Heard::Patient(of) => counts("patients", of),
        Heard::HeldOut(of) => counts("held-out sequences", of),
        Heard::Begins(step, of) => {
            bar.set_length(of);
            bar.set_position(step);
            bar.set_message("steps");
            bar.reset_eta();
        }
        Heard::Step => bar.inc(1),
        Heard::Logged(entry) => {
            let mut words = format!("loss {:.3}", entry.loss.total);
            if let Some(scored) = entry.scored {
                let word = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| format!("{v:.3}"));
                let [core, whole, necrosis] = scored.overlap.map(word);
                let margin = word(scored.margin_mm);
                let line = format!(
                    "step {:>6}  loss {:.3}  Dice of core {core}, whole tumour {whole}, necrosis {necrosis}; margin {margin} mm",
                    entry.step, entry.loss.total
                );
                bar.suspend(|| say(line));
                words = format!("{words}, core {core}");
            }
            bar.set_message(words);
        }
    }
}
