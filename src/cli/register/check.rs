//! `bregma register check`: known landmarks touched again, held against what the registration promises and a limit.

use super::super::{Goal, say};
use super::kept::{self, Kept, above_0};
use super::landmarks::{paired, say_unpaired};
use super::points;
use super::tracker::{Answer, Person, Tracker, TrackerArgs};
use crate::config;
use anyhow::ensure;
use bregma_ingest::registration::markups::Markup;
use bregma_perception::register::check::{self, Cause, Checked, Demand, Touch};
use std::path::PathBuf;

/// Options of `register check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The registration: a configuration or its [source.registration] (.toml), or a transform (.tfm or .h5, with --tre).
    #[arg(long, value_name = "FILE")]
    pub registration: PathBuf,
    /// Landmarks in the scan: .mrk.json or .fcsv.
    #[arg(long, value_name = "FILE")]
    pub scan: PathBuf,
    /// The same as touched now, in the reference array's coordinates. Without it they are touched with --tracker or --listen.
    #[arg(long, value_name = "FILE")]
    pub touched: Option<PathBuf>,
    /// The tracker.
    #[command(flatten)]
    pub tracker: TrackerArgs,
    /// How far off a landmark may be, mm.
    #[arg(long, value_name = "MM", default_value_t = 2.0)]
    pub limit: f64,
    /// Localisation error of a landmark in scan and touch together, root mean square length, mm.
    #[arg(long, value_name = "MM", default_value_t = 1.0)]
    pub fle: f64,
    /// Predicted error of the registration, root mean square, mm, where its file does not say.
    #[arg(long, value_name = "MM")]
    pub tre: Option<f64>,
    /// Write what was found into the registration's file (.toml), where `bregma run` sees it at once.
    #[arg(long)]
    pub keep: bool,
}

pub(super) fn by_touch(args: &CheckArgs) -> anyhow::Result<Goal> {
    above_0("limit", args.limit)?;
    above_0("fle", args.fle)?;
    args.tre.map_or(Ok(()), |mm| above_0("tre", mm))?;
    if args.keep {
        kept::has_room(&args.registration)?;
    }
    let kept = kept::read("--registration", &args.registration, args.tre)?;
    let scan = points("--scan", &args.scan)?;
    let touched = match (&args.touched, args.tracker.named()) {
        (Some(path), false) => points("--touched", path)?,
        (None, true) => touch_each(&scan, &args.tracker)?,
        _ => anyhow::bail!("either --touched, or one of --tracker and --listen is needed"),
    };
    say_unpaired(&scan, &touched);
    let touches: Vec<Touch> = paired(&scan, &touched).map(|(s, t)| touch(s, t, &kept)).collect();
    let found =
        check::check(&touches, &kept.patient_from_reference, Demand { limit_mm: args.limit, fle_mm: args.fle })?;
    let goal = judge(&touches, &found, args);
    if args.keep {
        let worst_mm = found.landmarks.iter().map(|landmark| landmark.off.norm()).fold(0.0, f64::max);
        let check = config::Check {
            landmarks: touches.len(),
            worst_mm,
            limit_mm: args.limit,
            passed: matches!(goal, Goal::Held),
        };
        kept::keep_check(&args.registration, &check)?;
    }
    Ok(goal)
}

fn touch(scan: &Markup, touched: &Markup, kept: &Kept) -> Touch {
    Touch { name: scan.label.clone(), scan: scan.at, touched: touched.at, tre_mm: kept.tre_mm(&scan.at) }
}

/// Landmarks that a person touches now; some may be left out.
fn touch_each(scan: &[Markup], args: &TrackerArgs) -> anyhow::Result<Vec<Markup>> {
    let (mut tracker, mut person) = (Tracker::open(args)?, Person::new());
    let mut touched = Vec::new();
    for (index, landmark) in scan.iter().enumerate() {
        let words = format!("{} of {}: {}", index + 1, scan.len(), landmark.label);
        match person.touch(&mut tracker, &words)? {
            Answer::Touched(at) => touched.push(Markup { label: landmark.label.clone(), at }),
            Answer::Skipped => {}
            Answer::Ended => break,
        }
    }
    ensure!(!touched.is_empty(), "no landmark was touched; nothing is checked");
    Ok(touched)
}

/// Says what was found, and what to do.
fn judge(touches: &[Touch], found: &Checked, args: &CheckArgs) -> Goal {
    for (landmark, touch) in found.landmarks.iter().zip(touches) {
        let (off, tre) = (landmark.off.norm(), touch.tre_mm.hypot(args.fle));
        let limit = if landmark.within { "within" } else { "OVER" };
        let chance = if landmark.plausible {
            String::new()
        } else {
            format!("; chance exceeds {:.2} mm once in a thousand times", landmark.plausible_mm)
        };
        say(format!(
            "off        {off:.2} mm at {}, {tre:.2} mm predicted, {limit} {} mm{chance}",
            landmark.name, args.limit
        ));
    }
    say(format!("mean       {:.2} {:.2} {:.2} mm to left, back and head", found.mean.x, found.mean.y, found.mean.z));
    say(format!("cause      {}", words(&found.cause, touches)));
    if found.within() { Goal::Held } else { Goal::Missed }
}

fn words(cause: &Cause, touches: &[Touch]) -> String {
    match cause {
        Cause::Chance => "chance, as predicted".into(),
        // Half a turn is no bump: two axes have changed their signs.
        Cause::Moved { turn: Some(turn), .. } if *turn > 3.0 => {
            "half a turn: were the touches converted between LPS and RAS on the way here, or when they were registered?"
                .into()
        }
        Cause::Moved { shift, turn } => {
            let turn = turn.map_or_else(String::new, |rad| format!(" and turned by {:.1}°", rad.to_degrees()));
            format!(
                "all have moved alike, by {:.2} mm{turn}: was the reference array bumped, or did the head slide? Register anew",
                shift.norm()
            )
        }
        Cause::BadTouch { index } => {
            format!("{} alone lies apart from all others: touch it again", touches[*index].name)
        }
        Cause::TooFew => "one that moved or one bad touch, too few to tell: touch others too".into(),
        Cause::Neither => {
            "neither one motion nor one bad touch explains it: touch all again, then register anew".into()
        }
    }
}
