//! Bad input, as a user would give it: each gets exit status 2 and an error that says what was wrong, where,
//! and what would be right. Nothing panics.

mod program;

use program::{bregma, said};
use std::net::TcpListener;
use std::path::Path;

const THEATRE: &str = include_str!("../config/theatre.toml");

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Runs it, and demands status 2, every phrase, and no panic.
fn refused(folder: &Path, args: &[&str], phrases: &[&str]) {
    let (status, text) = said(&bregma(folder, args));
    assert_eq!(status, 2, "{args:?}: {text}");
    for phrase in phrases {
        assert!(text.contains(phrase), "{args:?}: `{phrase}` is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{args:?}: {text}");
}

#[test]
fn an_unknown_key_names_file_and_key() {
    let folder = folder();
    let text = THEATRE.replace("drift_mm_s", "drift_cm_s");
    std::fs::write(folder.path().join("x.toml"), text).expect("written");
    refused(folder.path(), &["check", "x.toml"], &["x.toml", "drift_cm_s"]);
    refused(folder.path(), &["run", "x.toml"], &["x.toml", "drift_cm_s"]);
}

#[test]
fn a_unit_out_of_range_says_the_range() {
    let folder = folder();
    std::fs::write(folder.path().join("x.toml"), THEATRE.replace("error_mm = 0.35", "error_mm = 350.0"))
        .expect("written");
    refused(folder.path(), &["run", "x.toml"], &["source.tracking.error_mm", "350", "0 to 20"]);
}

#[test]
fn nan_is_refused() {
    let folder = folder();
    let text = THEATRE.replace("predicted_tre_mm = 1.0", "predicted_tre_mm = nan");
    std::fs::write(folder.path().join("x.toml"), text).expect("written");
    refused(folder.path(), &["run", "x.toml"], &["source.registration.predicted_tre_mm", "NaN"]);
}

#[test]
fn a_missing_file_is_named() {
    let folder = folder();
    refused(folder.path(), &["run", "nowhere.toml"], &["nowhere.toml", "No such file"]);
    refused(folder.path(), &["inspect", "nowhere.mcap"], &["nowhere.mcap"]);
    refused(folder.path(), &["replay", "nowhere.mcap", "--verify"], &["nowhere.mcap"]);
    refused(folder.path(), &["scenario", "run", "--suite", "nowhere.toml"], &["nowhere.toml"]);
    std::fs::write(folder.path().join("x.toml"), THEATRE).expect("written");
    refused(folder.path(), &["run", "x.toml"], &["t1c.nii.gz"]);
}

#[test]
fn a_file_that_is_no_recording_says_so() {
    let folder = folder();
    std::fs::write(folder.path().join("x.mcap"), b"this is not a recording").expect("written");
    refused(folder.path(), &["inspect", "x.mcap"], &["x.mcap"]);
    std::fs::write(folder.path().join("x.mcap"), b"").expect("written");
    refused(folder.path(), &["inspect", "x.mcap"], &["x.mcap"]);
}

#[test]
fn numbers_out_of_range_on_the_command_line_are_refused() {
    let folder = folder();
    refused(folder.path(), &["demo", "--seconds", "nan"], &["--seconds", "NaN"]);
    refused(folder.path(), &["scenario", "run", "--cases", "0"], &["--cases", "1 to 1000000"]);
    refused(folder.path(), &["scenario", "run", "--planner", "magic"], &["magic", "greedy"]);
}

#[test]
fn a_port_in_use_is_named_with_a_way_out() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let text = include_str!("../config/demo.toml").replace("127.0.0.1:9876", &address);
    std::fs::write(folder.path().join("x.toml"), text).expect("written");
    refused(folder.path(), &["demo", "--config", "x.toml"], &[&address, "in use", "display.address"]);
}

/// A patient's files, written once for the tests that need real scans.
fn patient(folder: &Path) {
    let (status, text) = said(&bregma(folder, &["patient", "show", "--seed", "3", "--out", "."]));
    assert_eq!(status, 0, "{text}");
}

#[test]
fn scans_and_video_that_are_broken_are_refused_by_name() {
    let folder = folder();
    let at = folder.path();
    patient(at);
    let run = std::fs::read_to_string(at.join("run.toml")).expect("run.toml");

    let launch = run.lines().find(|l| l.starts_with("launch")).expect("a launch string").to_owned();
    std::fs::write(at.join("x.toml"), run.replace(&launch, "launch = \"nosuchsrc num-buffers=3\"")).expect("written");
    refused(at, &["run", "x.toml", "--seconds", "5"], &["nosuchsrc"]);

    let name = run.lines().find_map(|l| l.strip_prefix("t1c = ")).expect("a T1c").trim_matches('"').to_owned();
    let whole = std::fs::read(at.join(&name)).expect("the T1c");
    std::fs::write(at.join(&name), &whole[..whole.len() / 2]).expect("written");
    refused(at, &["run", "run.toml", "--seconds", "5"], &[&name]);
}

#[test]
fn video_that_ends_mid_stream_holds_with_its_reason() {
    let folder = folder();
    let at = folder.path();
    patient(at);
    let run = std::fs::read_to_string(at.join("run.toml")).expect("run.toml");
    let launch = run.lines().find(|l| l.starts_with("launch")).expect("a launch string").to_owned();
    let short = "launch = \"videotestsrc num-buffers=10 ! video/x-raw,width=640,height=360,framerate=25/1\"";
    std::fs::write(at.join("x.toml"), run.replace(&launch, short)).expect("written");
    let (status, text) = said(&bregma(at, &["run", "x.toml", "--seconds", "20"]));
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("the video was lost"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

/// No file may grow beyond 8.9 MB: more than the scans, less than the recording; to the program, a full disk.
#[test]
fn a_disk_that_fills_up_while_recording_holds_with_its_reason_and_keeps_what_was_written() {
    let folder = folder();
    let at = folder.path();
    let limited =
        "trap '' XFSZ; ulimit -f 8700; exec \"$0\" demo --headless --seconds 25 --record a.mcap --report a.json";
    let run = std::process::Command::new("bash")
        .args(["-c", limited, env!("CARGO_BIN_EXE_bregma")])
        .current_dir(at)
        .output()
        .expect("bash runs");
    let (status, text) = said(&run);
    assert_eq!(status, 2, "{text}");
    for phrase in ["the recording failed", "a.mcap", "File too large"] {
        assert!(text.contains(phrase), "`{phrase}` is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(at.join("a.json").exists(), "the report of the case is written all the same: {text}");
    let (status, text) = said(&bregma(at, &["inspect", "a.mcap"]));
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("cut off"), "{text}");
}

#[test]
fn an_export_says_what_is_wrong_with_weights_edge_or_place() {
    let folder = folder();
    let onnx = folder.path().join("network.onnx");
    let onnx = onnx.to_str().expect("a path of plain letters");
    refused(folder.path(), &["export", "--onnx", onnx, "--model", "a", "--untrained", "1"], &["cannot be used with"]);
    refused(folder.path(), &["export", "--onnx", onnx, "--untrained", "1", "--edge", "60"], &["60", "multiple of 8"]);
    refused(folder.path(), &["export", "--onnx", "absent/network.onnx", "--untrained", "1"], &["absent/network.onnx"]);
    let broken = folder.path().join("broken.bregma");
    std::fs::write(&broken, b"no model").expect("the folder is writable");
    let broken = broken.to_str().expect("a path of plain letters");
    refused(folder.path(), &["export", "--onnx", onnx, "--model", broken], &["broken.bregma", "byte"]);
    assert!(!Path::new(onnx).exists(), "what was refused leaves no file");
}

#[test]
fn a_reader_that_leaves_early_is_no_fault() {
    use std::process::{Command, Stdio};
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_bregma"));
    let doctor = doctor.arg("doctor").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut doctor = doctor.spawn().expect("the program starts");
    drop(doctor.stdout.take());
    let said = doctor.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&said.stderr);
    assert!(!text.contains("panicked"), "{text}");
}
