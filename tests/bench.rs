//! `bregma bench perception` as a user would run it: without other people's runtimes, and with ones that are missing.

mod program;

use program::{bregma, said};
use serde_json::Value;

/// The smallest of what can be measured.
const SMALL: [&str; 10] = ["bench", "perception", "--edges", "32", "--bases", "4", "--threads", "1", "--rounds", "1"];

#[test]
fn our_rows_are_there_and_missing_peers_are_named_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let outputs = ["--peers", "--report", "r.json", "--table", "t.md"];
    let (status, text) = said(&bregma(folder.path(), &[&SMALL[..], &outputs].concat()));
    assert_eq!(status, 0, "{text}");
    for peer in ["openvino", "onnxruntime", "pytorch"] {
        assert!(text.contains(&format!("{peer}: not run: ")), "{text}");
    }
    let report = std::fs::read_to_string(folder.path().join("r.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["bench"], "perception");
    let rows = report["rows"].as_array().expect("rows");
    for (name, unit) in [
        ("forward_f32_32_b4_t1", "ms"),
        ("forward_int8_32_b4_t1", "ms"),
        ("train_f32_32_b4_t1", "ms"),
        ("train_step_f32_32_b4_t1", "ms"),
        ("flex.forward_f32_32_b4_t1", "ms"),
        ("flex.train_f32_32_b4_t1", "ms"),
        ("memory_int8_32_b4_t1", "MB"),
        ("plan_memory_int8_32_b4_t1", "MB"),
        ("peak_f32_t1", "GFLOP/s"),
        ("peak_int8_t1", "GOP/s"),
        ("distance_transform_64", "ms"),
        ("distance_transform_128", "ms"),
    ] {
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"));
        assert!(row["median"].as_f64().is_some_and(|v| v > 0.0) && row["unit"] == unit, "{row}");
    }
    let table = std::fs::read_to_string(folder.path().join("t.md")).expect("a table");
    assert!(table.contains("32³, base 4, 1 thread") && table.contains("not run"), "{table}");
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, phrase) in [(["--edges", "60"], "multiples of 8"), (["--rounds", "0"], "1 to 10000")] {
        let (status, text) = said(&bregma(folder.path(), &[&["bench", "perception"][..], &args].concat()));
        assert!(status == 2 && text.contains(phrase), "{status}: {text}");
    }
}
