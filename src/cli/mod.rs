//! The command line. Names of commands and options are a contract; each command has an example in its help.

pub mod bench;
pub mod check;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod inspect;
mod motions;
pub mod patient;
mod register;
pub mod replay;
pub mod run;
pub mod scenario;
mod segment;
mod train;
mod vessels;

use crate::display::reasons::Wanted;
use crate::session::engines::Engine;
use anyhow::Context;
use bregma_core::time::Duration;
use bregma_patient::{ImportedAnatomy, WorldKind, import_anatomy};
use bregma_perception::model::file::ModelFile;
use clap::{Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Exit status 0.
    Held,
    /// Exit status 1.
    Missed,
}

/// Real-time surgical navigation runtime. Research software, not a medical device.
#[derive(Debug, Parser)]
#[command(
    name = "bregma",
    version,
    propagate_version = true,
    after_help = "\
Exit status: 0 the goal was held, 1 it was missed, 2 bad input.

Examples:
  bregma demo                        one whole simulated tumour removal, live on rerun+http://127.0.0.1:9876/proxy
  bregma run config/theatre.toml     the runtime on real sources
  bregma scenario run --cases 20     simulated removals as fast as the machine can"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One whole simulated tumour removal on the real clock.
    #[command(after_help = "\
Example:
  bregma demo --seed 7 --record out/demo.mcap --rrd out/demo.rrd --report out/demo.json
  bregma demo --engine classical     without the network
  bregma demo --reasons 5            the display says which evidence moves the margin at the tip
  bregma demo --engine cuda          the network on a GPU (cargo build --release --features cuda)
Look at it live with `rerun rerun+http://127.0.0.1:9876/proxy`, or afterwards with `rerun out/demo.rrd`.")]
    Demo(DemoArgs),
    /// The runtime on real sources: any GStreamer string, MRI from disk, tracking over OpenIGTLink.
    #[command(after_help = "\
Example:
  bregma patient show --seed 7 --out out/patient      writes scans, anatomy and a run.toml to try it with
  bregma run out/patient/run.toml --seconds 20")]
    Run(RunArgs),
    /// Resolved values of a configuration, their hash, and what is reachable.
    #[command(after_help = "Example:\n  bregma check config/theatre.toml")]
    Check {
        /// The configuration.
        config: PathBuf,
    },
    /// What this machine has: processor, GPU, GStreamer elements, ports.
    #[command(after_help = "Example:\n  bregma doctor")]
    Doctor,
    /// Simulated tumour removals in lock-step on a simulated clock.
    #[command(subcommand)]
    Scenario(ScenarioCommand),
    /// The digital patient.
    #[command(subcommand)]
    Patient(PatientCommand),
    /// A network as ONNX, for other people's runtimes.
    #[command(after_help = "\
Examples:
  bregma export --onnx out/network.onnx                   the network that the program carries
  bregma export --onnx out/network.onnx --model trained.bregma
  bregma export --onnx out/network.onnx --untrained 1     first weights from a seed: to time a runtime with")]
    Export(ExportArgs),
    /// How the patient lies, where a tip is, how a camera sits: from files, with its error.
    #[command(subcommand)]
    Register(register::RegisterCommand),
    /// What a recording holds.
    #[command(after_help = "Example:\n  bregma inspect out/demo.mcap")]
    Inspect {
        /// The recording.
        file: PathBuf,
    },
    /// Runs plan, validate and gate again from a recording's scenes.
    #[command(after_help = "Example:\n  bregma replay out/demo.mcap --verify")]
    Replay {
        /// The recording.
        file: PathBuf,
        /// Compare every byte with what was recorded; exit status 1 when one differs.
        #[arg(long)]
        verify: bool,
    },
    /// Where a tumour is in a patient's scans: labels as NIfTI, and volumes.
    #[command(after_help = "\
Examples:
  bregma segment --t1c t1c.nii.gz --flair flair.nii.gz --out seg.nii.gz
  bregma segment --t1c dicom/t1c --out seg.nii.gz      a folder with a DICOM series
  bregma segment --t1c dicom/t1c --out seg.nii.gz --dicom-seg seg.dcm
Any of T1c, FLAIR, T1 and T2 will do; all that are given must be registered to each other. Research software: no diagnosis.")]
    Segment(segment::SegmentArgs),
    /// Why a margin is where it is: which evidence moved it, and which is missing or old.
    #[command(after_help = "\
Examples:
  bregma explain --seed 900001 --removed 0.6 --out out/reasons                          at the tip, in a simulated removal
  bregma explain --t1c t1c.nii.gz --flair flair.nii.gz --at 25,-10,40 --out out/reasons      in a patient's scans
Each kind of evidence is taken out in turn; gradient x input says the same to first order, and where.")]
    Explain(explain::ExplainArgs),
    /// Where vessels are in a scan, and how wide.
    #[command(subcommand)]
    Vessels(vessels::VesselsCommand),
    /// Weights, from digital patients.
    #[command(subcommand)]
    Train(train::TrainCommand),
    /// Measurements.
    #[command(after_help = "\
Examples:
  bregma bench pipeline --report out/bench-pipeline.json
  bregma bench patient --patients 200 --report out/bench-patient.json
  bregma bench perception --edges 64 --bases 8 --rounds 5    the default network alone, in a minute
  bregma bench perception --peers --table docs/perception-bench.md --plot docs/perception-bench.png

Patients are kept in $BREGMA_CACHE/patients, else in the user's cache folder, about 9 MB each.")]
    Bench(BenchArgs),
}

/// Options of `demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Which patient.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// End after so many seconds, reached or not.
    #[arg(long, default_value_t = 175.0, value_name = "S")]
    pub seconds: f64,
    /// No live display.
    #[arg(long)]
    pub headless: bool,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub reasons: ReasonsArgs,
    /// Write a recording.
    #[arg(long, value_name = "FILE.mcap")]
    pub record: Option<PathBuf>,
    /// Write what the display shows.
    #[arg(long, value_name = "FILE.rrd")]
    pub rrd: Option<PathBuf>,
    /// Write the report.
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Another configuration than the built-in config/demo.toml.
    #[arg(long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
}

/// What estimates the margin.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// What estimates the margin.
    #[arg(long, value_enum, default_value_t = Engine::Auto)]
    pub engine: Engine,
    /// Another network than the one that the program carries.
    #[arg(long, value_name = "FILE.bregma")]
    pub model: Option<PathBuf>,
}

impl EngineArgs {
    /// The network that is asked for.
    ///
    /// # Errors
    /// As [`crate::weights::read`].
    pub fn weights(&self) -> anyhow::Result<ModelFile> {
        crate::weights::read(self.model.as_deref())
    }
}

/// Why margins are where they are.
#[derive(Debug, Clone, clap::Args)]
pub struct ReasonsArgs {
    /// Every so many seconds the display says which evidence moves the margin at the tip, and which is missing or old. Each time it costs the
    /// network's time eight times over, on one thread; without it nothing.
    #[arg(long, value_name = "SECONDS")]
    pub reasons: Option<f64>,
}

impl ReasonsArgs {
    /// What is asked for, where a network estimates, by the name of what does.
    ///
    /// # Errors
    /// No time, reasons of an estimator that has none, and as [`EngineArgs::weights`].
    pub fn wanted(&self, name: &str, engine: &EngineArgs) -> anyhow::Result<Option<Wanted>> {
        let Some(seconds) = self.reasons else { return Ok(None) };
        anyhow::ensure!((0.5..=3600.0).contains(&seconds), "--reasons is {seconds}; 0.5 to 3600 seconds are right");
        anyhow::ensure!(
            name != "classical",
            "--reasons: the classical estimator runs, and reasons are a network's; with --engine cpu-int8 there are some"
        );
        let every = Duration::from_secs_f64(seconds).unwrap_or(Duration::ZERO);
        Ok(Some(Wanted { model: Arc::new(engine.weights()?.into_model()), every }))
    }
}

/// Options of `export`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("weights")))]
pub struct ExportArgs {
    /// Where to write it.
    #[arg(long, value_name = "FILE.onnx")]
    pub onnx: PathBuf,
    /// Another network than the one that the program carries.
    #[arg(long, value_name = "FILE.bregma", group = "weights")]
    pub model: Option<PathBuf>,
    /// The default network with first weights from a seed.
    #[arg(long, value_name = "SEED", group = "weights")]
    pub untrained: Option<u64>,
    /// Voxels along each edge of the volumes that it will take.
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub edge: usize,
}

/// Options of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration.
    pub config: PathBuf,
    /// End after so many seconds; without it, at Ctrl-C or when the video ends.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub reasons: ReasonsArgs,
}

/// Who plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlannerName {
    /// The stroke that removes most residual core for the least healthy tissue, now.
    Greedy,
    /// Layer by layer down the corridor, row by row.
    Raster,
    /// The stroke that is best some bites ahead, by sampled rollouts in the planner's model.
    Mpc,
    /// The greedy planner on the true residual core: what could have been done. Simulated cases only.
    Oracle,
}

/// `scenario`.
#[derive(Debug, Subcommand)]
pub enum ScenarioCommand {
    /// Runs cases and reports on them.
    #[command(after_help = "\
Example:
  bregma scenario run --cases 20 --first-seed 1000 --report out/suite.json
  bregma scenario run --suite tests/scenarios/lifelike.toml --oracles
  bregma scenario run --cases 100 --shard 2/4 --report out/second.json --resume   # the second quarter, gone on with
Goal: no motion executed without approval and no forbidden structure violated, in every case.")]
    Run(ScenarioArgs),
    /// Brings reports of one suite together, as from shards.
    #[command(after_help = "\
Example:
  bregma scenario merge out/first.json out/second.json --report out/suite.json")]
    Merge(MergeArgs),
    /// What each rung of the ladder is worth, from reports of one suite: a page of docs/.
    #[command(after_help = "\
Example:
  bregma scenario run --suite tests/scenarios/lifelike.toml --cases 50 --first-seed 1000000 --report home.json
  bregma scenario run --suite tests/scenarios/lifelike.toml --cases 50 --first-seed 1000000 --world foreign --report foreign.json
  bregma scenario ladder home.json foreign.json --out docs/ladder.md")]
    Ladder(LadderArgs),
    /// What the network is worth on whole cases, beside everything else that could be believed: a page of docs/.
    #[command(after_help = "\
Examples:
  bregma scenario perception --out docs/perception.md                      some hours on two cores
  bregma scenario perception --cases 4 --first-seed 200000 --world home --kept out/try.jsonl --out out/try.md
An interrupted run goes on where it was: lines of cases are kept in --kept.")]
    Perception(PerceptionArgs),
    /// What the validator and the gate let pass: motions that must be refused, motions that must not, and somebody who tries to
    /// slip one past them; a page of docs/ with a picture.
    #[command(after_help = "\
Examples:
  bregma scenario motions --out docs/validator.md --report out/motions.json           half an hour on two cores
  bregma scenario motions --per-category 20 --safe 40 --patients 4 --first-seed 200000 --out out/try.md
Goal: everything that must be refused is, nearly everything of less than a millimetre, and safe motions pass but for 2 %.")]
    Motions(MotionsArgs),
}

/// Options of `scenario motions`.
#[derive(Debug, clap::Args)]
pub struct MotionsArgs {
    /// Motions of each unsafe kind in each world, at least.
    #[arg(long, value_name = "N", default_value_t = 260)]
    pub per_category: usize,
    /// Safe motions in each world.
    #[arg(long, value_name = "N", default_value_t = 1010)]
    pub safe: usize,
    /// Motions that the search tries for each kind on each patient.
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub search: usize,
    /// Seed of the first patient of each world; the others follow.
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    pub first_seed: u64,
    /// Patients of each world.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub patients: usize,
    /// Patients at once; as many as cores by default.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Write the page, and the picture beside it.
    #[arg(long, value_name = "FILE.md")]
    pub out: Option<PathBuf>,
    /// Write the report, every motion in it.
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Write the page of an earlier run's report, and try nothing; the other options are to be those of that run.
    #[arg(long, value_name = "FILE.json")]
    pub from: Option<PathBuf>,
}

/// Options of `scenario perception`.
#[derive(Debug, clap::Args)]
pub struct PerceptionArgs {
    /// Cases of each world.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub cases: usize,
    /// Seed of the first patient of each world.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub first_seed: u64,
    /// One world alone; both without it.
    #[arg(long, value_enum)]
    pub world: Option<WorldName>,
    /// Another network than the one that the program carries.
    #[arg(long, value_name = "FILE.bregma")]
    pub model: Option<PathBuf>,
    /// Cases at once; as many as cores by default.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Where lines of cases are kept: cases that stand there are not run again.
    #[arg(long, value_name = "FILE", default_value = "out/perception.jsonl")]
    pub kept: PathBuf,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `scenario merge`.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// Reports of `scenario run`; of a case that is in several, the first counts.
    #[arg(required = true, value_name = "REPORT.json")]
    pub reports: Vec<PathBuf>,
    /// Write the report.
    #[arg(long, value_name = "FILE.json")]
    pub report: PathBuf,
}

/// A share of a suite's cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub number: u64,
    /// Of so many.
    pub of: u64,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(n, of)| Some((n.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("such as 2/4 is needed: the second quarter of the cases".to_owned()),
        }
    }
}

/// Options of `scenario ladder`.
#[derive(Debug, clap::Args)]
pub struct LadderArgs {
    /// Reports of `scenario run`, of one suite.
    #[arg(required = true, value_name = "REPORT.json")]
    pub reports: Vec<PathBuf>,
    /// Where the page is written.
    #[arg(long, value_name = "FILE.md")]
    pub out: PathBuf,
}

/// Options of `scenario run`.
#[derive(Debug, clap::Args)]
pub struct ScenarioArgs {
    /// Settings of the suite; built in: tests/scenarios/standard.toml.
    #[arg(long, value_name = "FILE")]
    pub suite: Option<PathBuf>,
    /// Number of cases.
    #[arg(long, value_name = "N")]
    pub cases: Option<u64>,
    /// Seed of the first; the others follow.
    #[arg(long, value_name = "N")]
    pub first_seed: Option<u64>,
    /// Cases at once; as many as cores by default.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Who plans.
    #[arg(long, value_enum, default_value_t = PlannerName::Greedy)]
    pub planner: PlannerName,
    /// Also have the oracle remove each tumour, and one for which nothing errs: how many cases are feasible at all, and
    /// a success may then take at most twice the oracle's tool time. About nine times the work.
    #[arg(long)]
    pub oracles: bool,
    #[command(flatten)]
    pub engine: EngineArgs,
    /// The digital patient's world. Nothing is trained or tuned on the foreign one.
    #[arg(long, value_enum, default_value_t = WorldName::Home)]
    pub world: WorldName,
    /// Operate in somebody's own head: a T1-weighted NIfTI file, with or without skull.
    #[arg(long, value_name = "T1.nii.gz")]
    pub anatomy: Option<PathBuf>,
    /// Every N-th case, from the I-th on, for several machines; `scenario merge` brings their reports together.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Write the report, after each case.
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
    /// Go on with the report of an earlier run, where there is one.
    #[arg(long)]
    pub resume: bool,
}

/// A world of the digital patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WorldName {
    /// The one that training and tuning see.
    Home,
    /// Another anatomy, tumour, scanner, microscope and shift: for evaluation alone.
    Foreign,
}

impl From<WorldName> for WorldKind {
    fn from(name: WorldName) -> Self {
        match name {
            WorldName::Home => Self::Home,
            WorldName::Foreign => Self::Foreign,
        }
    }
}

/// `patient`.
#[derive(Debug, Subcommand)]
pub enum PatientCommand {
    /// Grows a patient and writes what a theatre would have of it: scans as NIfTI, anatomy, a run.toml; and a
    /// contact sheet and an .rrd to look at.
    #[command(after_help = "\
Examples:
  bregma patient show --seed 7 --out out/patient
  bregma patient show --seed 7 --anatomy my_t1.nii.gz --out out/patient")]
    Show(ShowArgs),
    /// Draws many patients in one picture: half from the home world, half from the foreign one.
    #[command(after_help = "Example:\n  bregma patient gallery --patients 16 --first-seed 1 --out docs/patients.jpg")]
    Gallery(GalleryArgs),
    /// Measures many patients of both worlds and sets their figures beside real ones, as a Markdown table.
    #[command(after_help = "Example:\n  bregma patient table --patients 200 --first-seed 3000 --out docs/patients.md")]
    Table(TableArgs),
}

/// Options of `patient table`.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// How many in each world.
    #[arg(long, default_value_t = 200)]
    pub patients: u64,
    /// Seed of the first; the others follow.
    #[arg(long, default_value_t = 3000)]
    pub first_seed: u64,
    /// The table.
    #[arg(long, value_name = "FILE.md")]
    pub out: PathBuf,
}

/// Options of `patient gallery`.
#[derive(Debug, clap::Args)]
pub struct GalleryArgs {
    /// How many.
    #[arg(long, default_value_t = 16)]
    pub patients: u64,
    /// Seed of the first in each world; the others follow.
    #[arg(long, default_value_t = 1)]
    pub first_seed: u64,
    /// The picture, .png or .jpg.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `patient show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Which patient.
    #[arg(long)]
    pub seed: u64,
    /// Where to.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The digital patient's world.
    #[arg(long, value_enum, default_value_t = WorldName::Home)]
    pub world: WorldName,
    /// In somebody's own head: a T1-weighted NIfTI file, with or without skull.
    #[arg(long, value_name = "T1.nii.gz")]
    pub anatomy: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchName {
    /// Lanes, hops, allocations.
    Pipeline,
    /// Digital patients: growing, reading, scanning, seeing, moving, learning from them.
    Patient,
    /// The network: frames in f32 and int8, training, memory; with --peers beside other people's runtimes.
    Perception,
    /// Registrations and calibrations: error and time; with --peers beside other people's libraries.
    Registration,
}

/// Options of `bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Which.
    #[arg(value_enum, default_value_t = BenchName::Pipeline)]
    pub bench: BenchName,
    /// Patients on disk for `bench patient`; those that are missing are grown first, some seconds each.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub patients: usize,
    /// `bench perception`: OpenVINO, ONNX Runtime and PyTorch in the same run, from the virtual environment in
    /// $BREGMA_BENCH_PEERS, else target/bench-peers (`make bench-peers-env`). `bench registration`: scikit-surgery, SimpleITK,
    /// Open3D and OpenCV, from $BREGMA_REGISTER_PEERS, else target/register-peers (`make bench-register-env`).
    #[arg(long)]
    pub peers: bool,
    /// `bench perception`: voxels along the volumes' edges. Without --bases too: 32, 64, 96 and 128 at base 8, and bases
    /// 4, 8 and 16 at 64.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub edges: Vec<usize>,
    /// `bench perception`: channels of the finest level.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub bases: Vec<usize>,
    /// `bench perception`: threads. Without it: 2, and for base 8 at 64 also 1.
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub threads: Vec<usize>,
    /// `bench perception`: measurements of each, at most; a race of contenders ends after 12 s and three rounds.
    #[arg(long, value_name = "N", default_value_t = 21)]
    pub rounds: usize,
    /// `bench perception` and `bench registration`: write the table.
    #[arg(long, value_name = "FILE.md")]
    pub table: Option<PathBuf>,
    /// `bench perception`: draw the medians at 64, base 8, two threads.
    #[arg(long, value_name = "FILE.png")]
    pub plot: Option<PathBuf>,
    /// This process is a contender of `bench perception` that takes commands from its parent.
    #[arg(long, hide = true, num_args = 3, value_names = ["NAME", "TASK", "THREADS"])]
    pub serve: Vec<String>,
    /// Write the report.
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
}

/// Runs a command.
///
/// # Errors
/// Bad input: exit status 2.
pub fn run(command: Command) -> anyhow::Result<Goal> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check { config } => check::run(&config),
        Command::Doctor => doctor::run(),
        Command::Export(args) => export::run(&args),
        Command::Scenario(ScenarioCommand::Run(args)) => scenario::run(&args),
        Command::Scenario(ScenarioCommand::Merge(args)) => scenario::merge(&args),
        Command::Scenario(ScenarioCommand::Ladder(args)) => scenario::ladder(&args),
        Command::Scenario(ScenarioCommand::Perception(args)) => scenario::perception(&args),
        Command::Scenario(ScenarioCommand::Motions(args)) => motions::run(&args),
        Command::Patient(PatientCommand::Show(args)) => patient::show(&args),
        Command::Patient(PatientCommand::Table(args)) => patient::table(&args),
        Command::Patient(PatientCommand::Gallery(args)) => patient::gallery(&args),
        Command::Inspect { file } => inspect::run(&file),
        Command::Replay { file, verify } => replay::run(&file, verify),
        Command::Segment(args) => segment::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Vessels(command) => vessels::run(&command),
        Command::Train(command) => train::run(&command),
        Command::Bench(args) => bench::run(&args),
        Command::Register(command) => register::run(&command),
    }
}

/// Prints a line for the person at the console: the one place that does. Where nobody listens any more, as behind
/// `| head`, it is lost.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Reads somebody's head, shows how far it is, and says what may be wrong with it.
fn anatomy(path: &Path) -> anyhow::Result<ImportedAnatomy> {
    let bar = ProgressBar::new(1000).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let head = import_anatomy(path, &mut |step, share| {
        bar.set_message(format!("{step} {}", path.display()));
        bar.set_position((share * 1000.0) as u64);
    });
    bar.finish_and_clear();
    let head = head.with_context(|| format!("--anatomy {}", path.display()))?;
    let [fluid, grey, white] = head.report().tissue_ml;
    say(format!("anatomy  {}: grey matter {grey:.0} mL, white {white:.0} mL, fluid {fluid:.0} mL", path.display()));
    for warning in head.warnings() {
        say(format!("warning  {warning}"));
    }
    Ok(head)
}
