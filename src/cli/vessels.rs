//! `bregma vessels`: where vessels are in a scan, how wide, and what finding them is worth.

use super::{Goal, say};
use crate::vessels::{files, table};
use crate::{report, whole};
use anyhow::{Context, ensure};
use bregma_core::flow::Modality;
use bregma_ingest::mri::read;
use bregma_perception::vessels::{Settings, vessels};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// `vessels`.
#[derive(Debug, clap::Subcommand)]
pub enum VesselsCommand {
    /// Finds vessels in an angiogram, or in a T1 with contrast agent: centrelines with diameters, and a plan with them as forbidden regions.
    #[command(after_help = "\
Examples:
  bregma vessels find --mra tof.nii.gz --out out/vessels
  bregma vessels find --mra dicom/tof --out out/vessels --plan out/patient/anatomy.toml      and a plan with these vessels
The folder gets vessels.json, vessels.vtk for 3D Slicer or ParaView, and with --plan an anatomy.toml.")]
    Find(FindArgs),
    /// What finding vessels is worth on simulated scans: a page of docs/.
    #[command(after_help = "\
Example:
  bregma vessels table --cases 10 --out docs/vessels.md      some minutes on two cores")]
    Table(TableArgs),
}

/// Options of `vessels find`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("scan").required(true)))]
pub struct FindArgs {
    /// A time-of-flight angiogram: a NIfTI file, or a folder with a DICOM series.
    #[arg(long, value_name = "FILE", group = "scan")]
    pub mra: Option<PathBuf>,
    /// A T1 with contrast agent. Fewer vessels show, and more that is none.
    #[arg(long, value_name = "FILE", group = "scan")]
    pub t1c: Option<PathBuf>,
    /// Where the files are written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A plan whose vessels are replaced by these, in a copy; of the same scan's coordinates.
    #[arg(long, value_name = "anatomy.toml")]
    pub plan: Option<PathBuf>,
    /// Of the plan: vessels of at least this diameter, mm.
    #[arg(long, value_name = "MM", default_value_t = 1.0)]
    pub from_mm: f64,
}

/// Options of `vessels table`.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// Patients of each world.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub cases: usize,
    /// Seed of the first of each world.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub first_seed: u64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Runs it.
///
/// # Errors
/// What is no scan or no plan, and files that cannot be written.
pub fn run(command: &VesselsCommand) -> anyhow::Result<Goal> {
    match command {
        VesselsCommand::Find(args) => find(args),
        VesselsCommand::Table(args) => page(args),
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(64)
}

fn bar(unit: &str) -> ProgressBar {
    let template = format!("{{elapsed_precise}} {{bar:32}} {{pos}}/{{len}} {unit}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn find(args: &FindArgs) -> anyhow::Result<Goal> {
    ensure!((0.0..=20.0).contains(&args.from_mm), "--from-mm is {}; 0 to 20 is right", args.from_mm);
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let text = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("the plan {}", path.display()));
    let plan = args.plan.as_deref().map(text).transpose()?;
    let (path, modality) = match (&args.mra, &args.t1c) {
        (Some(mra), _) => (mra, Modality::Mra),
        (None, t1c) => (t1c.as_ref().context("a scan is needed")?, Modality::T1c),
    };
    let volume = read(path, modality)?;
    let settings = Settings { threads: threads(), ..Settings::of(modality) };
    let bar = bar("steps");
    let tree = vessels(&volume, &settings, None, &|made, of| {
        bar.set_length(of as u64);
        bar.set_position(made as u64);
    })
    .with_context(|| path.display().to_string())?;
    bar.finish_and_clear();
    say(format!("vessels    {} branches, {:.0} mm", tree.branches.len(), tree.length_mm()));
    let widest = tree.branches.iter().flat_map(|b| &b.stations).map(|s| 2.0 * s.radius_mm).fold(0.0, f64::max);
    if tree.branches.is_empty() {
        say("none was found; that does not say that there is none");
    } else {
        say(format!("           the widest {widest:.1} mm"));
    }
    let json = args.out.join("vessels.json");
    report::write(&json, &files::graph(&tree))?;
    let vtk = args.out.join("vessels.vtk");
    whole::write(&vtk, files::vtk(&tree))?;
    say(format!("written    {}, {}", json.display(), vtk.display()));
    if let (Some(plan), Some(from)) = (plan, &args.plan) {
        let capsules = tree.capsules(args.from_mm);
        let planned = files::planned(&plan, &capsules).with_context(|| format!("the plan {}", from.display()))?;
        let to = args.out.join("anatomy.toml");
        whole::write(&to, planned)?;
        say(format!(
            "           {} with {} pieces of {} mm and more, as wide as they are in nine of ten places",
            to.display(),
            capsules.len(),
            args.from_mm
        ));
    }
    Ok(Goal::Held)
}

fn page(args: &TableArgs) -> anyhow::Result<Goal> {
    let TableArgs { cases, first_seed, .. } = *args;
    ensure!((1..=1000).contains(&cases), "--cases is {cases}; 1 to 1000 is right");
    let bar = bar("patients");
    bar.set_length(2 * cases as u64);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let command = format!("bregma vessels table --cases {cases} --first-seed {first_seed}");
    let page = table::markdown(cases, first_seed, threads(), &command, &|| bar.inc(1))?;
    bar.finish_and_clear();
    whole::write(&args.out, page)?;
    say(format!("written    {}", args.out.display()));
    Ok(Goal::Held)
}
