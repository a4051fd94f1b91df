//! `bregma register scans` and its table: an intraoperative scan against the preoperative one.

use super::{points, write};
use crate::cli::{Goal, say};
use crate::registration;
use anyhow::{Context, ensure};
use bregma_core::flow::{Modality, Volume};
use bregma_ingest::mri;
use bregma_ingest::registration::{displacement, transform};
use bregma_perception::register::scans::{self, Displacement, Layers};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use nalgebra::Vector3;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `register scans`.
#[derive(Debug, clap::Args)]
pub struct ScansArgs {
    /// The preoperative scan: a NIfTI file, or a folder with a DICOM series.
    #[arg(value_name = "PRE")]
    pub preoperative: PathBuf,
    /// The intraoperative scan.
    #[arg(value_name = "INTRA")]
    pub intraoperative: PathBuf,
    /// Contrast of the preoperative scan.
    #[arg(long, value_enum, default_value_t = Contrast::T1c)]
    pub pre_contrast: Contrast,
    /// Contrast of the intraoperative scan.
    #[arg(long, value_enum, default_value_t = Contrast::T1c)]
    pub intra_contrast: Contrast,
    /// How the patient lies, and no deformation.
    #[arg(long)]
    pub rigid_only: bool,
    /// Points in the preoperative scan whose places in the intraoperative one are asked for: .mrk.json or .fcsv.
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// Stated error at each target, at most, mm.
    #[arg(long, value_name = "MM", default_value_t = 2.0)]
    pub tre_max: f64,
    /// Folder for rigid.tfm and displacement.nii.gz.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Contrast of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contrast {
    /// T1-weighted.
    T1,
    /// T1-weighted with contrast agent.
    T1c,
    /// T2-weighted.
    T2,
    /// Fluid-attenuated inversion recovery.
    Flair,
}

impl From<Contrast> for Modality {
    fn from(contrast: Contrast) -> Self {
        match contrast {
            Contrast::T1 => Self::T1,
            Contrast::T1c => Self::T1c,
            Contrast::T2 => Self::T2,
            Contrast::Flair => Self::Flair,
        }
    }
}

/// Options of `register scans-table`.
#[derive(Debug, clap::Args)]
pub struct ScansTableArgs {
    /// Simulated removals, half of them at home and half abroad.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub cases: usize,
    /// Seed of the first patient of each world.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub first_seed: u64,
    /// Where lines of cases are kept: cases that stand there are not run again.
    #[arg(long, value_name = "FILE", default_value = "out/scans-table.jsonl")]
    pub kept: PathBuf,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `register scans`.
pub(super) fn register(args: &ScansArgs) -> anyhow::Result<Goal> {
    let most = args.tre_max;
    ensure!(most > 0.0 && most.is_finite(), "--tre-max is {most}; a number above 0 is needed");
    let targets = args.targets.as_deref().map(|path| points("--targets", path)).transpose()?.unwrap_or_default();
    let moving = layers(&args.preoperative, args.pre_contrast, "preoperative")?;
    let fixed = layers(&args.intraoperative, args.intra_contrast, "intraoperative")?;
    let bar = ProgressBar::new(scans::STEPS as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} steps")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let done = || bar.inc(1);
    let found = scans::rigid(&fixed, &moving, &done).and_then(|rigid| {
        let deformable = (!args.rigid_only).then(|| scans::deformable(&fixed, &moving, &rigid, &done)).transpose()?;
        Ok((rigid, deformable))
    });
    bar.finish_and_clear();
    let (rigid, deformable) = found?;
    let pose = &rigid.fixed_from_moving;
    say(format!(
        "rigid      turned by {:.2} degrees, the middle of the head moved by {:.2} mm",
        pose.rotation.angle().to_degrees(),
        (rigid.error.centre - pose.inverse_transform_point(&rigid.error.centre)).norm()
    ));
    say(format!(
        "similarity {:.3} normalised mutual information at 4 mm before, {:.3} after; {:.3} at best if one were mirrored",
        rigid.nmi_before, rigid.nmi_after, rigid.nmi_mirrored
    ));
    say(format!(
        "held by    {:.0} % of places that were found in both scans, to {:.2} mm; overlap {:.0} %",
        rigid.found * 1e2,
        rigid.rms_mm,
        rigid.overlap * 1e2
    ));
    say(format!("error      {:.2} mm stated amid them, as far as bone goes", rigid.error.rms_mm(&rigid.error.centre)));
    if let Some(found) = &deformable {
        say(format!("similarity {:.3} at 2 mm rigid, {:.3} deformable", found.nmi_rigid, found.nmi));
        say(format!(
            "changed    {:.1} mL that the preoperative scan does not explain: cavity, air, fluid",
            found.changed_ml
        ));
        say(format!("folds      none: volumes shrink to {:.3} at most", found.shrinks_least));
    }
    let map = deformable.as_ref().map(|found| &found.displacement);
    let mut worst = 0.0_f64;
    for target in &targets {
        let stiff = pose * target.at;
        let Some(now) = map.map_or(Some(stiff), |map| map.fixed(&target.at)) else {
            say(format!("target     {} is nowhere: it lies in what is gone, or outside", target.label));
            worst = f64::INFINITY;
            continue;
        };
        let error = map.map_or_else(|| rigid.error.rms_mm(&now), |map| map.error_mm(&now));
        worst = worst.max(error);
        say(format!(
            "target     {}: now at {}, {:.1} mm from where bone alone has it; error {error:.2} mm stated",
            target.label,
            super::coordinates(&now),
            (now - stiff).norm()
        ));
    }
    if let Some(folder) = &args.out {
        let rigid = folder.join("rigid.tfm");
        write(&rigid, &transform::to_bytes(&rigid, pose)?)?;
        if let Some(map) = map {
            write_field(&folder.join("displacement.nii.gz"), map)?;
        }
    }
    if worst > most {
        say(format!("too much   at a target; at most {most} mm is asked for"));
        return Ok(Goal::Missed);
    }
    Ok(Goal::Held)
}

fn layers(path: &Path, contrast: Contrast, which: &'static str) -> anyhow::Result<Layers> {
    let volume: Volume = mri::read(path, contrast.into()).with_context(|| format!("the {which} scan"))?;
    Ok(Layers::of(&Arc::new(volume), which)?)
}

/// On the lattice's own nodes: rigid motion and deformation together, so that the file stands by itself.
fn write_field(path: &Path, map: &Displacement) -> anyhow::Result<()> {
    let lattice = &map.lattice;
    let at = |n: usize| lattice.centre(lattice.voxel(n));
    let vectors: Vec<Vector3<f64>> = (0..lattice.len()).map(|n| map.moving(&at(n)) - at(n)).collect();
    displacement::write(path, lattice, &vectors).with_context(|| format!("cannot write {}", path.display()))?;
    say(format!("written    {}", path.display()));
    Ok(())
}

/// `register scans-table`.
pub(super) fn table(args: &ScansTableArgs) -> anyhow::Result<Goal> {
    let ScansTableArgs { cases, first_seed, .. } = *args;
    ensure!((2..=10_000).contains(&cases), "--cases is {cases}; 2 to 10000 is right");
    let bar = ProgressBar::new(cases as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} cases, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let command = format!("bregma register scans-table --cases {cases} --first-seed {first_seed}");
    let page = registration::scans::markdown(cases, first_seed, &args.kept, &command, &|| bar.inc(1))?;
    bar.finish_and_clear();
    write(&args.out, page.as_bytes())?;
    Ok(Goal::Held)
}
