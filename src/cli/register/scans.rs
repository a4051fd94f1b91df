//! `bregma register scans`: one scan onto another, from files.
//!
//! **Units and frames:** patient LPS of the fixed and the moving scan, mm.

use super::super::{Goal, say};
use super::write;
use anyhow::{Context, ensure};
use bregma_core::flow::Modality;
use bregma_ingest::registration::transform;
use bregma_perception::register::scans;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of `register scans`.
#[derive(Debug, clap::Args)]
pub struct ScansArgs {
    /// The newer scan.
    #[arg(long, value_name = "PATH")]
    pub fixed: PathBuf,
    /// The older one, which is laid onto it.
    #[arg(long, value_name = "PATH")]
    pub moving: PathBuf,
    /// The two are of different contrasts, T1c and FLAIR, say.
    #[arg(long)]
    pub other_contrast: bool,
    /// As a rigid body only.
    #[arg(long)]
    pub rigid: bool,
    /// Where the rigid part is written: .tfm or .h5.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where the whole displacement is written: .nii.gz.
    #[arg(long, value_name = "FILE", conflicts_with = "rigid")]
    pub field: Option<PathBuf>,
}

pub(super) fn by_scans(args: &ScansArgs) -> anyhow::Result<Goal> {
    if let Some(out) = &args.out {
        ensure!(transform::named(out), "--out is {}; .tfm or .h5 is right", out.display());
    }
    if let Some(field) = &args.field {
        let right = field.to_string_lossy().ends_with(".nii.gz");
        ensure!(right, "--field is {}; .nii.gz is right", field.display());
    }
    let read = |option: &str, path: &Path, modality| {
        let scan = bregma_ingest::mri::read(path, modality);
        scan.map(Arc::new).with_context(|| format!("{option} {}", path.display()))
    };
    let fixed = read("--fixed", &args.fixed, Modality::T1c)?;
    let other = if args.other_contrast { Modality::Flair } else { Modality::T1c };
    let moving = read("--moving", &args.moving, other)?;
    let bar = ProgressBar::new(scans::steps(!args.rigid) as u64);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let found = scans::register(&fixed, &moving, !args.rigid, &|| bar.inc(1));
    bar.finish_and_clear();
    let found = found?;
    let rigid = &found.rigid;
    let (turn, shift) = (rigid.fixed_from_moving.rotation.angle().to_degrees(), rigid.error.centre);
    let shift = nalgebra::distance(&(rigid.fixed_from_moving * shift), &shift);
    say(format!("rigid      turned by {turn:.2}°, the head's middle moved by {shift:.2} mm"));
    say(format!(
        "error      {:.2} mm predicted at the head's middle; {:.2} mm are left where cubes are believed",
        rigid.error.rms_mm(&rigid.error.centre),
        rigid.rms_mm
    ));
    say(format!(
        "alike      {:.0} % of the places with something to see; normalised mutual information {:.3}, as the headers had it {:.3}",
        rigid.found * 100.0,
        rigid.nmi_after,
        rigid.nmi_before
    ));
    if let Some(deformable) = &found.deformable {
        let field = &deformable.displacement;
        let most = field.moved.iter().map(|m| m.norm()).fold(0.0, f64::max);
        say(format!(
            "moved      up to {most:.1} mm within the head; {:.1} mL have no counterpart; {:.1} mL of the field fold",
            deformable.changed_ml, deformable.folded_ml
        ));
        if let Some(path) = &args.field {
            let grid = &field.lattice;
            let points = (0..grid.len()).map(|node| grid.centre(grid.voxel(node)));
            let vectors: Vec<_> = points.map(|at| (field.moving(&at) - at).cast::<f32>()).collect();
            let written = bregma_ingest::registration::field::write(path, grid, &vectors);
            written.map_err(|why| anyhow::anyhow!("--field {}: {why}", path.display()))?;
            say(format!("written    {}", path.display()));
        }
    }
    if let Some(out) = &args.out {
        write(out, &transform::to_bytes(out, &rigid.fixed_from_moving)?)?;
    }
    Ok(Goal::Held)
}
