//! `bregma explain`: why a margin is where it is.

use super::segment::{self, ScanArgs};
use super::{Goal, say};
use crate::config::Config;
use crate::learning::Settings;
use crate::learning::dropout::Dropout;
use crate::learning::patients::Patients;
use crate::learning::visit::{Seen, Visit};
use crate::{patients, reasons, report, weights};
use anyhow::{Context, ensure};
use bregma_core::flow::{ROI_EDGE, RoiFrame, roi_grid};
use bregma_patient::PatientSettings;
use bregma_perception::bits::VoxelBits;
use bregma_perception::engine::Pool;
use bregma_perception::explain::{Explained, explain};
use bregma_perception::segment::Scans;
use indicatif::ProgressBar;
use nalgebra::Point3;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// A digital patient of the seeds for learning, 100000 to 999999, whose tumour is being removed.
    #[arg(long, value_name = "N", conflicts_with = "scans", required_unless_present = "scans")]
    pub seed: Option<u64>,
    /// Share of her core that is removed already, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "seed")]
    pub removed: f64,
    #[command(flatten)]
    pub scans: ScanArgs,
    /// The place, patient LPS, mm; the tip, of a digital patient, without it.
    #[arg(long, value_name = "X,Y,Z", value_parser = point, allow_hyphen_values = true, required_unless_present = "seed")]
    pub at: Option<Point3<f64>>,
    /// Another network than the one that the program carries.
    #[arg(long, value_name = "FILE.bregma")]
    pub model: Option<PathBuf>,
    /// Where reasons.png and reasons.json are written.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

fn point(text: &str) -> Result<Point3<f64>, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok([x, y, z]) if [x, y, z].iter().all(|v| v.is_finite()) => Ok(Point3::new(*x, *y, *z)),
        _ => Err("three numbers such as 12.5,-30,44 are needed".to_owned()),
    }
}

/// What is written as JSON.
#[derive(Serialize)]
struct Written<'a> {
    commit: &'a str,
    model: String,
    at_mm: [f64; 3],
    margin_mm: f64,
    probability: f64,
    agreement: f64,
    reasons: Vec<WrittenReason>,
}

#[derive(Serialize)]
struct WrittenReason {
    evidence: &'static str,
    standing: String,
    moved_mm: f64,
    occlusion_logit: f64,
    gradient_logit: Option<f64>,
}

/// Runs it.
///
/// # Errors
/// No patient, scans that do not go together, a place outside, a file that cannot be written.
pub fn run(args: &ExplainArgs) -> anyhow::Result<Goal> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let file = weights::read(args.model.as_deref())?;
    let spinner = ProgressBar::new_spinner().with_message("playing the removal");
    spinner.enable_steady_tick(Duration::from_millis(120));
    let (frame, brain) = match args.seed {
        Some(seed) => simulated(seed, args.removed)?,
        None => of_scans(&args.scans, args.at.context("--at is needed with scans")?)?,
    };
    let tip = frame.patient_from_tip.map(|tip| tip.position().coordinates());
    let at = args.at.or(tip).unwrap_or_else(|| frame.grid.centre([ROI_EDGE / 2; 3]));
    let voxel = frame.grid.containing(&at).with_context(|| {
        let word = |p: Point3<f64>| format!("{:.0},{:.0},{:.0}", p.x, p.y, p.z);
        let (low, high) = (frame.grid.centre([0; 3]), frame.grid.centre([ROI_EDGE - 1; 3]));
        format!("--at {} is outside the region, which reaches from {} to {} mm", word(at), word(low), word(high))
    })?;
    spinner.set_message("taking evidence out in turn");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = Pool::new(cores).context("no threads for the network")?;
    let explained = explain(file.model(), &pool, &frame, &brain, voxel)?;
    spinner.finish_and_clear();
    say(format!("at {:.1}, {:.1}, {:.1} mm", at.x, at.y, at.z));
    reasons::lines(&explained).into_iter().for_each(say);
    let picture = args.out.join("reasons.png");
    reasons::picture(&explained, &frame, voxel)
        .save(&picture)
        .with_context(|| format!("cannot write {}", picture.display()))?;
    let json = args.out.join("reasons.json");
    report::write(&json, &written(&explained, &file.model().digest().to_string(), at))?;
    say(format!("written    {}, {}", picture.display(), json.display()));
    Ok(Goal::Held)
}

fn written(explained: &Explained, model: &str, at: Point3<f64>) -> Written<'static> {
    let reasons = explained.reasons.iter().map(|r| WrittenReason {
        evidence: r.evidence.name(),
        standing: format!("{:?}", r.standing),
        moved_mm: r.moved_mm,
        occlusion_logit: r.occlusion,
        gradient_logit: r.gradient,
    });
    Written {
        commit: report::commit(),
        model: model.to_owned(),
        at_mm: [at.x, at.y, at.z],
        margin_mm: explained.margin_mm,
        probability: explained.probability,
        agreement: explained.agreement,
        reasons: reasons.collect(),
    }
}

/// What align sees of a removal that is that far.
fn simulated(seed: u64, removed: f64) -> anyhow::Result<(RoiFrame, VoxelBits)> {
    ensure!((0.0..=1.0).contains(&removed), "--removed is {removed}; 0 to 1 is right");
    let patients = Patients::prepare(patients::cache(), seed, 1, &PatientSettings::default(), 1, |_, _| ())?;
    let none = Dropout { t1c: 0.0, flair: 0.0, t1: 0.0, t2: 0.0, video: 0.0 };
    let settings = Settings { seed, sequences: 1, frames: 4, dropout: none, ..Settings::default() };
    let mut visit = Visit::new(&Config::demo()?, &patients, &settings, 0)?;
    let mut newest = None;
    visit.from(removed, &mut |Seen { frame, brain, .. }| {
        newest = Some((frame.clone(), brain.clone()));
        Ok(())
    })?;
    newest.context("a frame comes of every look")
}

/// A closed head.
fn of_scans(args: &ScanArgs, at: Point3<f64>) -> anyhow::Result<(RoiFrame, VoxelBits)> {
    let given = segment::given(args)?;
    let [t1c, flair, t1, t2] = &given.scans;
    let scans = Scans { t1c: t1c.as_ref(), flair: flair.as_ref(), t1: t1.as_ref(), t2: t2.as_ref() };
    Ok(scans.closed_head(roi_grid(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_three_numbers() {
        assert_eq!(point("12.5, -30,44"), Ok(Point3::new(12.5, -30.0, 44.0)));
        for wrong in ["1,2", "1,2,3,4", "a,b,c", "1,2,inf", ""] {
            assert!(point(wrong).expect_err("refused").contains("12.5,-30,44"), "{wrong}");
        }
    }
}
