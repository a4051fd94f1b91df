//! What a run has measured, for readers: one table of times, one of memory, and what was not run.

use super::case::{CORRELATION, Contender, Point, Task};
use super::{Outcome, bars};
use crate::calendar;
use crate::report::BenchRow;
use std::fmt::Write as _;

/// What a reader needs beside the figures.
pub struct Head<'a> {
    /// How it was called.
    pub command: &'a str,
    /// Cores and processor.
    pub machine: &'a str,
    /// When, seconds since 1970.
    pub seconds: u64,
    /// Where the picture is, from the table's place.
    pub picture: Option<&'a str>,
}

/// A row by its name.
pub fn find<'a>(rows: &'a [BenchRow], name: &str) -> Option<&'a BenchRow> {
    rows.iter().find(|row| row.name == name)
}

/// Share of the machine's peak that a frame reaches, by the plain sum; `None` where one of them was not measured. The peak
/// is the 99th percentile of what was seen: on a busy machine its median is no peak.
pub fn share(rows: &[BenchRow], point: Point, task: Task, frame: &BenchRow) -> Option<f64> {
    let peak = find(rows, &point.peak(task))?.p99?;
    (task != Task::Train).then(|| point.giga_operations() / (frame.median * 1e-3) / peak)
}

/// The whole page.
#[must_use]
pub fn markdown(outcome: &Outcome, points: &[Point], head: &Head<'_>) -> String {
    let mut out = format!(
        "# The network beside other people's runtimes\n\n`{}`, {} UTC, {}.\n\n\
         One exported network, one frame, the same threads; a process each, in turn, in one run. Cells are median / 99th \
         percentile (ours ÷ theirs), ms; slow contenders have a quarter of the rounds. A turn is a frame that is not \
         counted and up to three that are; in training, one step. Work is the plain sum, a \
         multiply-add as two; a kernel that saves multiplications may so pass the peak, which is the 99th \
         percentile of what registers alone did between the rounds. In training burn's networks, \
         ours and flex, keep their norms, whose statistics stand still; PyTorch has them folded away.\n\n",
        head.command,
        calendar::date(head.seconds),
        head.machine,
    );
    if let Some(picture) = head.picture {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "![Medians at 64³, base 8, two threads]({picture})\n");
    }
    let demanded = bars::markdown(&outcome.rows);
    if !demanded.is_empty() {
        let _ = writeln!(out, "## What is demanded\n\n{demanded}");
    }
    for task in Task::ALL {
        for (_, what) in task.commands() {
            times(&mut out, outcome, points, task, what);
        }
    }
    correlation(&mut out, outcome, points);
    memory(&mut out, outcome, points);
    out.push_str("## The machine's peak and the distance transform\n\n| | median | 99th percentile | unit | n |\n|---|---|---|---|---|\n");
    let kept = |row: &&BenchRow| row.name.starts_with("peak") || row.name.starts_with("distance");
    for row in outcome.rows.iter().filter(kept) {
        let p99 = row.p99.map_or_else(|| "–".into(), |p99| format!("{p99:.2}"));
        let _ = writeln!(out, "| `{}` | {:.2} | {p99} | {} | {} |", row.name, row.median, row.unit, row.n);
    }
    out.push_str("\n## Notes\n\n");
    for note in &outcome.notes {
        let _ = writeln!(out, "- {note}");
    }
    out
}

fn others(task: Task) -> impl Iterator<Item = Contender> {
    Contender::ALL.into_iter().filter(move |who| *who != Contender::Ours && who.does(task))
}

fn heading(out: &mut String, first: &[&'static str], task: Task) {
    let cells: Vec<&str> = first.iter().copied().chain(others(task).map(Contender::name)).collect();
    let _ = writeln!(out, "| {} |\n|{}", cells.join(" | "), "---|".repeat(cells.len()));
}

fn times(out: &mut String, outcome: &Outcome, points: &[Point], task: Task, what: &str) {
    let _ = writeln!(out, "## `{what}`\n");
    heading(out, &["", "n", "ours", "share of peak"], task);
    for point in points {
        let Some(ours) = find(&outcome.rows, &point.row(Contender::Ours, what)) else { continue };
        let cell = |row: &BenchRow| {
            let rarer = if row.n == ours.n { String::new() } else { format!(", n {}", row.n) };
            format!("{:.1} / {:.1}{rarer}", row.median, row.p99.unwrap_or(f64::NAN))
        };
        let share =
            share(&outcome.rows, *point, task, ours).map_or_else(|| "–".into(), |s| format!("{:.0} %", s * 1e2));
        let _ = write!(out, "| {} | {} | {} | {share} |", point.words(), ours.n, cell(ours));
        for who in others(task) {
            let _ = match find(&outcome.rows, &point.row(who, what)) {
                Some(row) => write!(out, " {} ({:.2}) |", cell(row), ours.median / row.median),
                None => write!(out, " not run |"),
            };
        }
        out.push('\n');
    }
    out.push('\n');
}

/// How int8 goes with f32.
fn correlation(out: &mut String, outcome: &Outcome, points: &[Point]) {
    out.push_str(
        "## Int8 beside f32\n\nCorrelation of int8 logits with our f32 logits, on the frame that is timed.\n\n",
    );
    heading(out, &["", "ours"], Task::Int8);
    for point in points {
        let Some(ours) = find(&outcome.rows, &point.row(Contender::Ours, CORRELATION)) else { continue };
        let _ = write!(out, "| {} | {:.5} |", point.words(), ours.median);
        for who in others(Task::Int8) {
            let _ = match find(&outcome.rows, &point.row(who, CORRELATION)) {
                Some(row) => write!(out, " {:.5} |", row.median),
                None => write!(out, " not run |"),
            };
        }
        out.push('\n');
    }
    out.push('\n');
}

/// Memory of all tasks: most that a process held for the model, MB.
fn memory(out: &mut String, outcome: &Outcome, points: &[Point]) {
    out.push_str(
        "## Memory, MB\n\nThe most that a process held, less what it held before it loaded the model (ours ÷ theirs). \
         *Plan* is our weights and activations alone.\n\n",
    );
    let others: Vec<Contender> = Contender::ALL.into_iter().skip(1).collect();
    let names: Vec<&str> = others.iter().map(|who| who.name()).collect();
    let _ = writeln!(out, "| | | plan | ours | {} |\n|{}", names.join(" | "), "---|".repeat(4 + names.len()));
    for (point, task) in points.iter().flat_map(|point| Task::ALL.map(|task| (point, task))) {
        let Some(ours) = find(&outcome.rows, &point.row(Contender::Ours, task.memory())) else { continue };
        let plan = find(&outcome.rows, &point.row(Contender::Ours, &format!("plan_{}", task.memory())));
        let plan = plan.map_or_else(|| "–".into(), |row| format!("{:.1}", row.median));
        let _ = write!(out, "| {} | {} | {plan} | {:.1} |", point.words(), task.words(), ours.median);
        for who in &others {
            let _ = match find(&outcome.rows, &point.row(*who, task.memory())) {
                Some(row) => write!(out, " {:.1} ({:.2}) |", row.median, ours.median / row.median),
                None if who.does(task) => write!(out, " not run |"),
                None => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, median: f64) -> BenchRow {
        BenchRow { name: name.into(), median, p99: Some(median * 1.5), unit: "ms", n: 7 }
    }

    #[test]
    fn a_page_holds_ratios_shares_and_who_was_not_run() {
        let point = Point { edge: 64, base: 8, threads: 2 };
        let rows = vec![
            row("forward_f32_64_b8", 40.0),
            row("openvino.forward_f32_64_b8", 80.0),
            row("peak_f32", 498.2 / 1.5),
            row("memory_f32_64_b8", 30.0),
        ];
        let outcome = Outcome { rows, notes: vec!["flex: not run: a reason".into()] };
        let head = Head { command: "bregma bench perception", machine: "one", seconds: 0, picture: None };
        let page = markdown(&outcome, &[point], &head);
        assert!(
            page.contains("| 64³, base 8, 2 threads | 7 | 40.0 / 60.0 | 50 % | 80.0 / 120.0 (0.50) | not run |"),
            "{page}"
        );
        assert!(page.contains("flex: not run: a reason") && page.contains("1970-01-01"));
    }
}
