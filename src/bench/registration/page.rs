//! The page of docs/ with registrations beside other people's.

use super::{Judged, Outcome, Task, by_task};
use std::fmt::Write as _;

/// What stands above the tables.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// How it was called.
    pub command: &'a str,
    /// What it ran on.
    pub machine: &'a str,
    /// How busy other programs kept it.
    pub others: &'a str,
}

/// Writes it.
#[must_use]
pub fn markdown(outcome: &Outcome, head: &Head<'_>) -> String {
    let versions = if outcome.versions.is_empty() { "none".into() } else { outcome.versions.join(", ") };
    let mut out = format!(
        "# Registrations beside other people's\n\n`{}` on {}; one run, one thread each; other programs used {} of the machine. \
         Libraries: {versions}. All inputs are *simulated*, the same for all, and every error is from the truth behind them.\n",
        head.command, head.machine, head.others
    );
    for note in &outcome.notes {
        // Writing to a String cannot fail, here and below.
        let _ = write!(out, "\n{note}\n");
    }
    for (task, answers) in by_task(&outcome.judged) {
        let _ = write!(out, "\n## {}\n\n{}\n\n", title(task), about(task));
        let turns = answers.iter().any(|one| !one.turns_deg.is_empty());
        let (head, rule) = if turns { (" turn, rms |", "---|") } else { ("", "") };
        let _ = writeln!(
            out,
            "| who | error, rms | 95 % | worst |{head} refused | median time |\n|---|---|---|---|{rule}---|---|"
        );
        for one in answers {
            let _ = writeln!(out, "{}", line(one, turns));
        }
    }
    out
}

fn line(one: &Judged, turns: bool) -> String {
    let rms = |values: &[f64]| (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    let mm = |value: f64| if value.is_nan() { "–".into() } else { format!("{value:.3} mm") };
    let turn = if turns { format!(" {:.3}° |", rms(&one.turns_deg)) } else { String::new() };
    format!(
        "| {} | {} | {} | {} |{turn} {} of {} | {} |",
        one.who,
        mm(rms(&one.errors_mm)),
        mm(at(&one.errors_mm, 0.95)),
        mm(at(&one.errors_mm, 1.0)),
        one.refused,
        one.seconds.len(),
        time(at(&one.seconds, 0.5))
    )
}

fn time(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.1} µs", seconds * 1e6) } else { format!("{:.2} ms", seconds * 1e3) }
}

/// The value that this share of all do not exceed.
pub(super) fn at(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

const fn title(task: Task) -> &'static str {
    match task {
        Task::Landmarks => "Paired landmarks",
        Task::Pivot => "Pivot calibration",
        Task::HandEye => "Hand-eye calibration",
        Task::Surface => "Traced surface",
        Task::SurfaceStrays => "Traced surface with strays",
    }
}

const fn about(task: Task) -> &'static str {
    match task {
        Task::Landmarks => {
            "Six fiducials on a head, each touch off by 0.5 mm along each axis; error at a target in the head. With equal errors all of these \
             solve the same problem, and the same optimum is right. Ours also says the error to expect at each point, \
             and refuses what chance explains less than once in a thousand times, within that time."
        }
        Task::Pivot => {
            "80 to 200 poses, tilts of 20° to 35°, tips 100 to 250 mm from the array, its pose off by 0.1 to 0.3 mm and 0.05° to 0.2°; error of \
             the tip. Ours also says the tip's covariance."
        }
        Task::HandEye => {
            "15 to 30 looks, the arm off by 0.15 mm and 0.05°, the target in the camera by 0.3 mm and 0.15°; error of the camera's place on \
             the flange. Ours is told these precisions, weighs by them, and says the result's covariance; the others take none."
        }
        Task::Surface => {
            "150 points on a face of 43,200, each off by 0.5 mm along each axis, from a start that is 5 mm and 5° away; error at a target in \
             the head. Each builds its search tree within the call. Ours tries 13 starts, to find whether another place fits as well."
        }
        Task::SurfaceStrays => "The same, 15 % of the points 25 mm away from where they should be.",
    }
}
