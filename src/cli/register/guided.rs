//! `bregma register guided`: the patient, by landmarks that a person touches one by one, as the terminal asks for them.
//!
//! From the third touch on residuals, FRE and TRE are said after each. Where one touch, or two that were taken for each other,
//! explain a contradiction, they may be touched again at once. Nothing is written as a registration unless all touches together are
//! one; `--touched` keeps the touches themselves, as they come.

use super::super::{Goal, say};
use super::kept::{Aim, GoalArgs, above_0};
use super::landmarks::say_fiducials;
use super::tracker::{Answer, Person, Tracker, TrackerArgs};
use super::{points, write};
use anyhow::{Context, ensure};
use bregma_ingest::registration::markups::{self, Markup};
use bregma_perception::register::landmarks::{self, Fiducial, Landmarks, Unfit};
use nalgebra::Point3;
use std::collections::VecDeque;
use std::path::PathBuf;

/// Options of `register guided`.
#[derive(Debug, clap::Args)]
pub struct GuidedArgs {
    /// Landmarks in the scan, in the order in which they are to be touched: .mrk.json or .fcsv.
    #[arg(long, value_name = "FILE")]
    pub scan: PathBuf,
    /// The tracker.
    #[command(flatten)]
    pub tracker: TrackerArgs,
    /// Fiducial localisation error of scan and touch together, root mean square length, mm.
    #[arg(long, value_name = "MM", default_value_t = 1.0)]
    pub fle: f64,
    /// Where touches are kept as they come, in the reference array's coordinates: .fcsv.
    #[arg(long, value_name = "FILE")]
    pub touched: Option<PathBuf>,
    /// What it must be good for.
    #[command(flatten)]
    pub goal: GoalArgs,
}

pub(super) fn by_guide(args: &GuidedArgs) -> anyhow::Result<Goal> {
    above_0("fle", args.fle)?;
    let aim = args.goal.aim()?;
    let scan = points("--scan", &args.scan)?;
    ensure!(scan.len() >= 3, "--scan {}: {} landmarks; at least 3 are needed", args.scan.display(), scan.len());
    if let Some(path) = &args.touched {
        let right = path.extension().is_some_and(|end| end == "fcsv");
        ensure!(right, "--touched is {}; .fcsv is right", path.display());
    }
    let tracker = Tracker::open(&args.tracker)?;
    let mut guide = Guide { args, scan: &scan, touched: vec![None; scan.len()], tracker, person: Person::new() };
    guide.all(&aim)?;
    let fiducials = guide.fiducials();
    let found = landmarks::register(&fiducials).with_context(|| match &args.touched {
        Some(path) => format!("no registration is written; the touches are in {}", path.display()),
        None => "no registration is written".into(),
    })?;
    say(format!("registered {} of {} landmarks", fiducials.len(), scan.len()));
    let worst = aim.say(&found.error);
    let held = aim.held(worst);
    aim.keep(&found.patient_from_reference, &found.error, found.fre_mm, worst)?;
    say("next       touch a landmark again with `bregma register check` before arming");
    Ok(if held { Goal::Held } else { Goal::Missed })
}

/// Who leads through it, and what was touched so far.
struct Guide<'a> {
    args: &'a GuidedArgs,
    scan: &'a [Markup],
    touched: Vec<Option<Point3<f64>>>,
    tracker: Tracker,
    person: Person,
}

impl Guide<'_> {
    /// Asks for each landmark, and again for those that disagree.
    fn all(&mut self, aim: &Aim<'_>) -> anyhow::Result<()> {
        let mut open: VecDeque<usize> = (0..self.scan.len()).collect();
        while let Some(index) = open.pop_front() {
            let words = format!("{} of {}: {}", index + 1, self.scan.len(), self.scan[index].label);
            match self.person.touch(&mut self.tracker, &words)? {
                Answer::Ended => return Ok(()),
                Answer::Skipped => self.touched[index] = None,
                Answer::Touched(at) => self.touched[index] = Some(at),
            }
            self.keep()?;
            let fiducials = self.fiducials();
            if fiducials.len() < 3 {
                continue;
            }
            match landmarks::register(&fiducials) {
                Ok(found) => self.say(&fiducials, &found, aim),
                Err(why) => {
                    say(format!("no fit     {why}"));
                    let suspects = suspects(&why);
                    if !suspects.is_empty() {
                        say(format!("again      {}: touch it once more, or leave it out", suspects.join(", ")));
                    }
                    for name in suspects.into_iter().rev() {
                        let Some(index) = self.scan.iter().position(|s| s.label == name) else { continue };
                        open.retain(|other| *other != index);
                        open.push_front(index);
                    }
                }
            }
        }
        Ok(())
    }

    fn say(&self, fiducials: &[Fiducial], found: &Landmarks, aim: &Aim<'_>) {
        say_fiducials(fiducials, found, self.args.fle);
        aim.say(&found.error);
    }

    fn fiducials(&self) -> Vec<Fiducial> {
        let both = self.scan.iter().zip(&self.touched);
        both.filter_map(|(s, t)| Some(Fiducial::new(&s.label, s.at, (*t)?, self.args.fle))).collect()
    }

    fn keep(&self) -> anyhow::Result<()> {
        let Some(path) = &self.args.touched else { return Ok(()) };
        let both = self.scan.iter().zip(&self.touched);
        let touched: Vec<_> = both.filter_map(|(s, t)| Some(Markup { label: s.label.clone(), at: (*t)? })).collect();
        write(path, markups::to_fcsv(&touched).as_bytes())
    }
}

/// Which landmarks are to be touched again, for what was found.
fn suspects(why: &Unfit) -> Vec<&str> {
    match why {
        Unfit::Apart { name, .. } => vec![name],
        Unfit::Inconsistent { worst, .. } => vec![worst],
        Unfit::Swapped { first, second, .. } => vec![first, second],
        Unfit::TooFew { .. }
        | Unfit::Malformed { .. }
        | Unfit::Line { .. }
        | Unfit::Mirrored { .. }
        | Unfit::Scale { .. } => Vec::new(),
    }
}
