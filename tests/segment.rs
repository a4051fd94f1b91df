//! `bregma segment` as its user meets it: on a simulated patient's scans, and on what is no scan.

mod program;

use program::{bregma, said};
use std::path::Path;

fn segment(folder: &Path, args: &[&str]) -> (i32, String) {
    said(&bregma(folder, &[&["segment", "--untrained", "1"][..], args].concat()))
}

#[test]
fn a_patients_scans_are_labelled_on_their_own_voxels_and_what_is_no_scan_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (status, text) = said(&bregma(folder, &["patient", "show", "--seed", "7", "--out", "p"]));
    assert_eq!(status, 0, "{text}");

    let (status, text) = segment(
        folder,
        &[
            "--t1c",
            "p/t1c.nii.gz",
            "--flair",
            "p/flair.nii.gz",
            "--out",
            "new/seg.nii.gz",
            "--dicom-seg",
            "new/seg.dcm",
        ],
    );
    assert_eq!(status, 0, "{text}");
    for phrase in ["core ", "mL (labels 1 + 4;", "whole ", "UNTRAINED", "written    new/seg.nii.gz", "new/seg.dcm"] {
        assert!(text.contains(phrase), "{phrase}: {text}");
    }
    // Against what it says itself, and against a scan, which are no labels.
    let (status, text) =
        segment(folder, &["--t1c", "p/t1c.nii.gz", "--against", "new/seg.nii.gz", "--out", "again/seg.nii.gz"]);
    assert!(status == 0 && text.contains("against    new/seg.nii.gz: Dice of the whole tumour"), "{status}: {text}");
    let (status, text) = segment(folder, &["--t1c", "p/t1c.nii.gz", "--against", "p/t1c.nii.gz", "--out", "x.nii.gz"]);
    assert!(status == 2 && text.contains("0 to 4 are right"), "{status}: {text}");
    // Its labels are no scan.
    let (status, text) = segment(folder, &["--t1c", "new/seg.nii.gz", "--out", "again.nii.gz"]);
    assert!(
        status == 2 && (text.contains("labels are no scan") || text.contains("shows no brain")),
        "{status}: {text}"
    );
    let (status, text) = segment(folder, &["--t1c", "p/run.toml", "--out", "again.nii.gz"]);
    assert!(status == 2 && text.contains("give a .nii or .nii.gz file"), "{status}: {text}");
    let (status, text) = segment(folder, &["--t1c", "p/t1c.nii.gz", "--out", "again.png"]);
    assert!(status == 2 && text.contains("ends in .nii.gz or .nii"), "{status}: {text}");
    let (status, text) = segment(folder, &["--t1c", "p/t1c.nii.gz", "--numbers", "int8", "--out", "again.nii.gz"]);
    assert!(status == 2 && text.contains("was not calibrated"), "{status}: {text}");
    let (status, text) = segment(folder, &["--out", "again.nii.gz"]);
    assert!(status == 2 && text.contains("at least one of --t1c, --flair, --t1 and --t2"), "{status}: {text}");
    assert!(!folder.join("again.nii.gz").exists());
}

#[test]
fn a_margin_is_explained_in_scans_and_what_makes_no_place_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (status, text) = said(&bregma(folder, &["patient", "show", "--seed", "7", "--out", "p"]));
    assert_eq!(status, 0, "{text}");
    let explain = |args: &[&str]| {
        let begin = ["explain", "--t1c", "p/t1c.nii.gz", "--out", "reasons"];
        said(&bregma(folder, &[&begin[..], args].concat()))
    };
    let (status, text) = explain(&["--at", "10,-20,30"]);
    assert_eq!(status, 0, "{text}");
    for phrase in
        ["margin ", "T1c ", "moves the margin by", "FLAIR", "MISSING", "rank the evidence alike", "reasons.png"]
    {
        assert!(text.contains(phrase), "{phrase}: {text}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("reasons/reasons.json")).expect("written")).expect("JSON");
    assert_eq!(json["reasons"].as_array().map(Vec::len), Some(7), "{json}");
    let (status, text) = explain(&[]);
    assert!(status == 2 && text.contains("--at"), "{status}: {text}");
    let (status, text) = explain(&["--at", "here"]);
    assert!(status == 2 && text.contains("12.5,-30,44"), "{status}: {text}");
    let (status, text) = explain(&["--at", "10,-20,30", "--seed", "900001"]);
    assert!(status == 2 && text.contains("cannot be used with"), "{status}: {text}");
    let (status, text) = said(&bregma(folder, &["explain", "--seed", "7", "--out", "reasons"]));
    assert!(status == 2 && text.contains("100000 to 999999 are for learning"), "{status}: {text}");
}

#[test]
fn vessels_of_a_scan_become_files_and_a_plan_and_what_is_no_scan_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let (status, text) = said(&bregma(folder, &["patient", "show", "--seed", "7", "--out", "p"]));
    assert_eq!(status, 0, "{text}");
    let find = ["vessels", "find", "--t1c", "p/t1c.nii.gz", "--out", "v", "--plan", "p/anatomy.toml"];
    let (status, text) = said(&bregma(folder, &find));
    assert!(status == 0 && text.contains(" branches, ") && text.contains("the widest"), "{status}: {text}");
    let plan = std::fs::read_to_string(folder.join("v/anatomy.toml")).expect("a plan");
    assert!(plan.contains("[[vessels]]") && plan.contains("[corridor]"), "{plan}");
    assert!(std::fs::read_to_string(folder.join("v/vessels.vtk")).expect("lines").contains("diameter_mm"));
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("v/vessels.json")).expect("written")).expect("JSON");
    assert!(json["branches"].as_array().is_some_and(|b| !b.is_empty()), "{json}");
    let refused = |args: &[&str], phrase: &str| {
        let (status, text) = said(&bregma(folder, &[&["vessels", "find", "--out", "v"], args].concat()));
        assert!(status == 2 && text.contains(phrase) && !text.contains("panicked"), "{status}: {text}");
    };
    refused(&["--t1c", "p/regions.nii.gz"], "labels are no scan");
    refused(&["--mra", "p/run.toml"], "give a .nii or .nii.gz file");
    refused(&[], "--mra <FILE>");
    refused(&["--t1c", "p/t1c.nii.gz", "--plan", "p/none.toml"], "the plan p/none.toml");
    refused(&["--t1c", "p/t1c.nii.gz", "--from-mm", "99"], "--from-mm is 99");
}
