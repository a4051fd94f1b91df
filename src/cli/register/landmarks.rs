//! `bregma register landmarks`: the patient, by fiducials in the scan and the same as touched.

use super::super::{Goal, say};
use super::kept::{GoalArgs, above_0};
use super::points;
use bregma_ingest::registration::markups::Markup;
use bregma_perception::register::landmarks::{self, Fiducial, Landmarks};
use std::path::PathBuf;

/// Options of `register landmarks`.
#[derive(Debug, clap::Args)]
pub struct LandmarksArgs {
    /// Fiducials in the scan: .mrk.json or .fcsv.
    #[arg(long, value_name = "FILE")]
    pub scan: PathBuf,
    /// The same as touched, in the reference array's coordinates.
    #[arg(long, value_name = "FILE")]
    pub touched: PathBuf,
    /// Fiducial localisation error of scan and touch together, root mean square length, mm.
    #[arg(long, value_name = "MM", default_value_t = 1.0)]
    pub fle: f64,
    /// What it must be good for.
    #[command(flatten)]
    pub goal: GoalArgs,
}

pub(super) fn by_landmarks(args: &LandmarksArgs) -> anyhow::Result<Goal> {
    above_0("fle", args.fle)?;
    let aim = args.goal.aim()?;
    let (scan, touched) = (points("--scan", &args.scan)?, points("--touched", &args.touched)?);
    let fiducials: Vec<Fiducial> =
        paired(&scan, &touched).map(|(s, t)| Fiducial::new(&s.label, s.at, t.at, args.fle)).collect();
    say_unpaired(&scan, &touched);
    let found = landmarks::register(&fiducials)?;
    say_fiducials(&fiducials, &found, args.fle);
    let worst = aim.say(&found.error);
    let held = aim.held(worst);
    aim.keep(&found.patient_from_reference, &found.error, found.fre_mm, worst)?;
    Ok(if held { Goal::Held } else { Goal::Missed })
}

/// Points of one name, in the order of the scan's.
pub(super) fn paired<'a>(scan: &'a [Markup], touched: &'a [Markup]) -> impl Iterator<Item = (&'a Markup, &'a Markup)> {
    scan.iter().filter_map(|s| Some((s, touched.iter().find(|t| t.label == s.label)?)))
}

/// Says which points are in one list only.
pub(super) fn say_unpaired(scan: &[Markup], touched: &[Markup]) {
    let within = |points: &[Markup], label: &str| points.iter().any(|p| p.label == label);
    for (points, others, place) in [(scan, touched, "in the scan"), (touched, scan, "touched")] {
        for alone in points.iter().filter(|p| !within(others, &p.label)) {
            say(format!("left out   {}: only {place}", alone.label));
        }
    }
}

/// Says residuals and FRE.
pub(super) fn say_fiducials(fiducials: &[Fiducial], found: &Landmarks, fle_mm: f64) {
    for (fiducial, residual) in fiducials.iter().zip(&found.residuals_mm) {
        say(format!("residual   {residual:.2} mm at {}", fiducial.name));
    }
    // Sibson 1979: six of 3 N residuals are taken up by the transform.
    let expected = fle_mm * (1.0 - 2.0 / fiducials.len() as f64).sqrt();
    say(format!("FRE        {:.2} mm; {expected:.2} mm are to be expected of an FLE of {fle_mm} mm", found.fre_mm));
}
