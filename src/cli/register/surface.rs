//! `bregma register surface`: the patient, by traced skin and the skin in a T1-weighted scan.

use super::super::{Goal, say};
use super::kept::{self, GoalArgs, above_0};
use anyhow::{Context, bail, ensure};
use bregma_core::flow::Modality;
use bregma_ingest::mri;
use bregma_ingest::registration::traced;
use bregma_perception::register::skin;
use bregma_perception::register::surface::{self, Surface};
use std::path::PathBuf;

/// Options of `register surface`.
#[derive(Debug, clap::Args)]
pub struct SurfaceArgs {
    /// The T1-weighted scan: NIfTI, or a folder of DICOM.
    #[arg(long, value_name = "SCAN")]
    pub scan: PathBuf,
    /// Traced points, in the reference array's coordinates: .csv with x_mm, y_mm, z_mm, status; .ply (ASCII), .mrk.json, .fcsv.
    #[arg(long, value_name = "FILE")]
    pub traced: PathBuf,
    /// A registration by some landmarks, within 10 mm and 10°: .toml, .tfm or .h5.
    #[arg(long, value_name = "FILE")]
    pub start: PathBuf,
    /// Standard deviation of a traced point along the skin's normal, mm.
    #[arg(long, value_name = "MM", default_value_t = 0.5)]
    pub fle: f64,
    /// Root mean square distance from the skin, at most, mm.
    #[arg(long, value_name = "MM", default_value_t = 1.5)]
    pub rms_max: f64,
    /// What it must be good for.
    #[command(flatten)]
    pub goal: GoalArgs,
}

pub(super) fn by_surface(args: &SurfaceArgs) -> anyhow::Result<Goal> {
    above_0("fle", args.fle)?;
    above_0("rms-max", args.rms_max)?;
    let aim = args.goal.aim()?;
    // A start is off by more than its file may say; nothing here asks by how much.
    let start = kept::read("--start", &args.start, Some(surface::CAPTURE_MM))?.patient_from_reference;
    let traced = traced::read(&args.traced).with_context(|| format!("--traced {}", args.traced.display()))?;
    if traced.passed_over > 0 {
        say(format!("passed     {} points over that were not valid", traced.passed_over));
    }
    let named = || format!("--scan {}", args.scan.display());
    let scan = mri::read(&args.scan, Modality::T1).with_context(named)?;
    let skin = skin::of_scan(&scan).with_context(named)?;
    say(format!(
        "skin       {} points, around {:.0} mL; bone below {:.0} % of them",
        skin.points.len(),
        skin.head_ml,
        skin.bone_seen * 100.0
    ));
    let Some(surface) = Surface::new(skin.points, skin.normals) else {
        bail!("{}: its skin has no sound normals", named());
    };
    let found = surface::register(&surface, &traced.points, &start, args.fle)?;
    say(format!(
        "residual   {:.2} mm root mean square from the skin, of the {:.0} % of {} points that lie on it",
        found.rms_mm,
        found.on_surface * 100.0,
        traced.points.len()
    ));
    ensure!(
        found.rms_mm <= args.rms_max,
        "the traced points lie {:.2} mm from the skin, root mean square; at most {} mm are right: is it this patient's scan, and is it in the right orientation?",
        found.rms_mm,
        args.rms_max
    );
    let worst = aim.say(&found.error);
    let held = aim.held(worst);
    aim.keep(&found.patient_from_reference, &found.error, found.rms_mm, worst)?;
    Ok(if held { Goal::Held } else { Goal::Missed })
}
