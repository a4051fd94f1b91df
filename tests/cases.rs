//! Whole cases: the same seeds twice, and a recorded session played again.

mod program;

use program::{bregma, said};
use serde_json::Value;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// What runs on the real clock wants the machine to itself.
static MACHINE: Mutex<()> = Mutex::new(());

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// Takes out what depends on how fast the machine is.
fn without_times(mut report: Value) -> Value {
    report["suite"]["cpu_s_median"] = Value::Null;
    report["suite"]["patients_cached"] = Value::Null;
    for case in report["cases"].as_array_mut().expect("cases") {
        for of_the_machine in ["stages", "cpu_s", "patient_cached"] {
            case[of_the_machine] = Value::Null;
        }
    }
    report
}

#[test]
fn the_same_seeds_twice_give_the_same_report_but_for_times() {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/small.toml");
    let mut reports = Vec::new();
    // On one thread and on two: the number of jobs must not matter either.
    for (name, jobs) in [("a.json", "1"), ("b.json", "2")] {
        let (status, text) =
            said(&bregma(folder.path(), &["scenario", "run", "--suite", suite, "--jobs", jobs, "--report", name]));
        assert_eq!(status, 0, "{text}");
        reports.push(without_times(json(&folder.path().join(name))));
    }
    assert_eq!(reports[0], reports[1]);

    let report = &reports[0];
    assert_eq!(report["schema"], 1);
    assert_eq!(report["summary"]["executed_unapproved"], 0);
    assert_eq!(report["summary"]["forbidden_violations"], 0);
    for case in report["cases"].as_array().expect("cases") {
        assert!(case["motions"]["executed"].as_u64().expect("a count") > 5, "the arm moved: {case}");
        assert!(case["extent_of_resection"].as_f64().expect("a share") > 0.5, "tumour was removed: {case}");
        // The contract: every field is there, also those that are null yet.
        for field in CASE_FIELDS {
            assert!(case.get(*field).is_some(), "`{field}` is missing");
        }
    }
}

#[test]
fn a_run_goes_on_with_its_report_and_shards_come_together() {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/small.toml");
    let run = |more: &[&str]| said(&bregma(folder.path(), &[&["scenario", "run", "--suite", suite], more].concat()));
    let (status, text) = run(&["--shard", "3/2"]);
    assert!(status == 2 && text.contains("such as 2/4"), "{status}: {text}");
    let (status, text) = run(&["--resume"]);
    assert!(status == 2 && text.contains("--resume needs --report"), "{status}: {text}");
    std::fs::write(folder.path().join("file"), "").expect("written");
    let (status, text) = run(&["--report", "file/a.json"]);
    assert!(status == 2 && text.contains("cannot make file for the report") && !text.contains("s CPU "), "{text}");
    for (shard, name) in [("1/2", "a.json"), ("2/2", "b.json")] {
        assert_eq!(run(&["--shard", shard, "--report", name]).0, 0);
    }
    let merge = ["scenario", "merge", "a.json", "b.json", "--report", "both.json"];
    let (status, text) = said(&bregma(folder.path(), &merge));
    assert_eq!(status, 0, "{text}");
    let both = json(&folder.path().join("both.json"));
    let whole = json(&folder.path().join("both.json"))["cases"].as_array().expect("cases").len();
    assert_eq!(both["summary"]["n"], whole, "{both}");
    assert!(whole >= 2 && json(&folder.path().join("a.json"))["summary"]["n"].as_u64() < Some(whole as u64));
    // Gone on with, nothing is left to do: every case stays to the letter.
    let (status, text) = run(&["--report", "both.json", "--resume"]);
    assert!(status == 0 && !text.contains("s CPU "), "{text}");
    assert_eq!(json(&folder.path().join("both.json"))["cases"], both["cases"]);
    let (status, text) = run(&["--world", "foreign", "--report", "both.json", "--resume"]);
    assert!(status == 2 && text.contains("its world is home, that of the others foreign"), "{status}: {text}");
}

#[test]
fn faults_end_in_a_hold_or_outside_and_a_bleeding_is_handed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/faults.toml");
    let (status, text) = said(&bregma(folder.path(), &["scenario", "run", "--suite", suite, "--report", "a.json"]));
    assert_eq!(status, 0, "{text}");
    let report = json(&folder.path().join("a.json"));
    assert_eq!(report["summary"]["executed_unapproved"], 0, "{text}");
    assert_eq!(report["summary"]["forbidden_violations"], 0, "{text}");
    for case in report["cases"].as_array().expect("cases") {
        assert!(case["handovers"].as_u64().expect("a count") >= 1, "a vessel bled heavily: {case}");
        // It went on afterwards: some tumour was removed before the bleeding, most of it after.
        assert!(case["motions"]["executed"].as_u64().expect("a count") > 5, "{case}");
        assert!(case["extent_of_resection"].as_f64().expect("a share") > 0.5, "{case}");
    }
}

#[test]
fn a_bumped_reference_array_ends_the_registration_and_the_case_goes_on_with_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let suite = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/bumped.toml");
    let (status, text) = said(&bregma(folder.path(), &["scenario", "run", "--suite", suite, "--report", "a.json"]));
    assert_eq!(status, 0, "{text}");
    let report = json(&folder.path().join("a.json"));
    assert_eq!(report["summary"]["executed_unapproved"], 0, "{text}");
    assert_eq!(report["summary"]["forbidden_violations"], 0, "{text}");
    let case = &report["cases"][0];
    assert_eq!(case["handovers"], 1, "the arm was taken out once: {case}");
    assert!(case["extent_of_resection"].as_f64().expect("a share") > 0.5, "and went on: {case}");
    assert!(!case["reason"].as_str().expect("words").contains("no longer holds"), "{case}");
}

const CASE_FIELDS: &[&str] = &[
    "seed",
    "world",
    "planner",
    "engine",
    "frames",
    "fps",
    "fps_min",
    "latency_ms",
    "stages",
    "lanes",
    "scene_age_ms",
    "extent_of_resection",
    "residual_volume_ml",
    "residual_core_ml",
    "residual_declined_ml",
    "overcut_ml",
    "healthy_removed_ml",
    "eloquent_removed_ml",
    "corridor_ml",
    "missed_margin_cm2",
    "forbidden_violations",
    "bleeding_events",
    "handovers",
    "intraoperative_scans",
    "tool_time_s",
    "dice_residual",
    "margin_error_mm",
    "static_margin_error_mm",
    "ladder",
    "removal_rate_scale",
    "margin_interval",
    "motions",
    "planner_fallbacks",
    "outcome",
    "reason",
    "complete",
    "cpu_s",
    "patient_cached",
];

#[test]
fn a_recorded_session_replays_to_the_byte_and_survives_being_cut() {
    let _alone = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let demo = ["demo", "--headless", "--seconds", "25", "--record", "a.mcap", "--report", "a.json"];
    let (status, text) = said(&bregma(at, &demo));
    assert!(status == 0 || status == 1, "the case may end after the 25 s: {text}");
    let report = json(&at.join("a.json"));
    assert!(report["motions"]["executed"].as_u64().expect("a count") >= 1, "the arm moved: {text}");
    assert_eq!(report["motions"]["executed_unapproved"], 0, "{text}");

    let (status, text) = said(&bregma(at, &["inspect", "a.mcap"]));
    assert_eq!(status, 0, "{text}");
    let (status, text) = said(&bregma(at, &["replay", "a.mcap", "--verify"]));
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("mismatches 0"), "{text}");

    // Cut anywhere, it opens up to its last whole chunk, and says so.
    let whole = std::fs::read(at.join("a.mcap")).expect("the recording");
    for share in [3, 2] {
        std::fs::write(at.join("cut.mcap"), &whole[..whole.len() - whole.len() / share]).expect("written");
        let (status, text) = said(&bregma(at, &["inspect", "cut.mcap"]));
        assert_eq!(status, 1, "a cut recording is told by the exit status: {text}");
        assert!(text.contains("cut off"), "{text}");
        let (status, text) = said(&bregma(at, &["replay", "cut.mcap", "--verify"]));
        assert_eq!(status, 0, "{text}");
    }
}

#[test]
fn a_network_is_exported_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let export = |name: &str, seed: &str| {
        let (status, text) =
            said(&bregma(folder.path(), &["export", "--onnx", name, "--untrained", seed, "--edge", "16"]));
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("UNTRAINED"), "{text}");
        std::fs::read(folder.path().join(name)).expect("it was written")
    };
    let first = export("first.onnx", "1");
    assert_eq!(first, export("again.onnx", "1"));
    assert_ne!(first, export("other.onnx", "2"));
}

#[test]
fn a_case_by_the_network_is_held_against_the_classical_estimator_on_the_same_frames() {
    let folder = tempfile::tempdir().expect("a folder");
    let suite = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/small.toml"))
        .expect("a suite")
        .replace("longest_s = 600.0", "longest_s = 30.0")
        .replace("evaluate_every_s = 10.0", "evaluate_every_s = 5.0");
    std::fs::write(folder.path().join("short.toml"), suite).expect("written");
    let args =
        ["scenario", "run", "--suite", "short.toml", "--cases", "1", "--engine", "cpu-int8", "--report", "a.json"];
    let (status, text) = said(&bregma(folder.path(), &args));
    assert!(status != 2 && text.contains("cpu-int8"), "{status}: {text}");
    let case = &json(&folder.path().join("a.json"))["cases"][0];
    assert_eq!(case["engine"], "cpu-int8", "{case}");
    for rung in ["static", "classical", "network"] {
        assert!(case["ladder"][rung]["mean"].is_number(), "{rung}: {case}");
    }
    assert_eq!(case["ladder"]["network"]["mean"], case["margin_error_mm"]["mean"], "{case}");
    assert_ne!(case["ladder"]["network"]["mean"], case["ladder"]["classical"]["mean"], "another estimator: {case}");
    let (coverage, width) = (&case["margin_interval"]["coverage"], &case["margin_interval"]["width_mm_mean"]);
    assert!(coverage.as_f64().is_some_and(|c| (0.0..=1.0).contains(&c)) && width.as_f64() > Some(0.5), "{case}");
    let (status, text) = said(&bregma(folder.path(), &["scenario", "run", "--engine", "cuda"]));
    assert!(status == 2 && text.contains("cpu-f32 is right here"), "{status}: {text}");
}
