//! What is demanded of the default network at 64³ on two threads, beside what a run has measured.
//!
//! **Ratios** are of medians in the same run, ours over theirs. Milliseconds are those of the machine as it was: a run
//! on a busy one says little by them.

use super::table::find;
use crate::report::BenchRow;
use std::fmt::Write as _;

/// One demand.
struct Bar {
    words: &'static str,
    /// The row that counts.
    row: &'static str,
    /// What it is divided by.
    by: Option<&'static str>,
    /// The most that is right.
    most: f64,
}

const BARS: [Bar; 8] = [
    Bar { words: "f32 frame, ms", row: "forward_f32_64_b8", by: None, most: 40.0 },
    Bar {
        words: "f32 frame ÷ OpenVINO's",
        row: "forward_f32_64_b8",
        by: Some("openvino.forward_f32_64_b8"),
        most: 0.65,
    },
    Bar { words: "int8 frame, ms", row: "forward_int8_64_b8", by: None, most: 15.0 },
    Bar {
        words: "int8 frame ÷ OpenVINO's in int8 (0.6 is aimed at)",
        row: "forward_int8_64_b8",
        by: Some("openvino.forward_int8_64_b8"),
        most: 1.0,
    },
    Bar { words: "forward + backward, ms", row: "train_f32_64_b8", by: None, most: 250.0 },
    Bar {
        words: "forward + backward ÷ PyTorch's",
        row: "train_f32_64_b8",
        by: Some("pytorch.train_f32_64_b8"),
        most: 0.3,
    },
    Bar {
        words: "memory of the int8 plan ÷ the f32 plan's",
        row: "plan_memory_int8_64_b8",
        by: Some("plan_memory_f32_64_b8"),
        most: 0.3,
    },
    Bar {
        words: "memory of the int8 plan ÷ burn-flex's peak",
        row: "plan_memory_int8_64_b8",
        by: Some("flex.memory_f32_64_b8"),
        most: 0.2,
    },
];

/// As a table in Markdown; empty where nothing of it was measured.
#[must_use]
pub fn markdown(rows: &[BenchRow]) -> String {
    let measured = |bar: &Bar| {
        let value = find(rows, bar.row)?.median;
        Some(value / bar.by.map_or(Some(1.0), |by| find(rows, by).map(|row| row.median))?)
    };
    let mut out = String::new();
    for bar in &BARS {
        let Some(value) = measured(bar) else { continue };
        let held = if value <= bar.most { "held" } else { "missed" };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {} | {value:.3} | {} | {held} |", bar.words, bar.most);
    }
    if !out.is_empty() {
        out.insert_str(0, "| default network, 64³, 2 threads | measured | at most | |\n|---|---|---|---|\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_held_or_missed_and_what_was_not_measured_is_left_out() {
        let row = |name: &str, median| BenchRow { name: name.into(), median, p99: None, unit: "ms", n: 1 };
        let text = markdown(&[row("forward_f32_64_b8", 30.0), row("openvino.forward_f32_64_b8", 40.0)]);
        assert!(text.contains("| f32 frame, ms | 30.000 | 40 | held |"), "{text}");
        assert!(text.contains("| f32 frame ÷ OpenVINO's | 0.750 | 0.65 | missed |"), "{text}");
        assert!(!text.contains("int8") && markdown(&[]).is_empty());
    }
}
