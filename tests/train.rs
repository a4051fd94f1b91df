//! `bregma train perception` as its user meets it: begun, left, gone on with, and refused in words.

mod program;

use program::{bregma, said};
use serde_json::Value;
use std::path::Path;

const SMALL: [&str; 10] = ["--steps", "3", "--patients", "1", "--held-out", "1", "--edge", "16", "--frames", "4"];

fn train(folder: &Path, args: &[&str]) -> (i32, String) {
    let begin = ["train", "perception", "--out", "out", "--device", "cpu"];
    said(&bregma(folder, &[&begin[..], args].concat()))
}

#[test]
fn a_training_is_begun_left_gone_on_with_and_leaves_a_network_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, out) = (folder.path(), folder.path().join("out"));
    let (status, text) = train(folder, &[&SMALL[..], &["--minutes", "0.0001"]].concat());
    assert!(status == 0 && text.contains("--resume` goes on"), "{status}: {text}");
    let steps = || {
        let log = std::fs::read_to_string(out.join("log.jsonl")).expect("a log");
        let last = log.lines().last().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        last.and_then(|entry| entry["step"].as_u64()).unwrap_or(0)
    };
    assert_eq!(steps(), 0, "one step makes no entry yet");

    let (status, text) = train(folder, &SMALL);
    assert!(status == 2 && text.contains("out holds a training; --resume goes on with it"), "{status}: {text}");
    let (status, text) = train(folder, &["--resume", "--steps", "9"]);
    assert!(status == 2 && text.contains("cannot be used with"), "{status}: {text}");

    let (status, text) = train(folder, &["--resume"]);
    assert!(status == 0 && text.contains("trained    out/network.bregma"), "{status}: {text}");
    assert_eq!(steps(), 3);
    let card = std::fs::read_to_string(out.join("network.md")).expect("a card");
    assert!(card.contains("3 steps of 3") && card.contains("seeds 100000 to 100000"), "{card}");
    let export = ["export", "--model", "out/network.bregma", "--onnx", "network.onnx"];
    let (status, text) = said(&bregma(folder, &export));
    assert!(status == 0 && text.contains("logits [1, 3, 64, 64, 64]"), "{status}: {text}");

    let damaged = out.join("training.ckpt");
    let mut bytes = std::fs::read(&damaged).expect("a checkpoint");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, &bytes).expect("written");
    let (status, text) = train(folder, &["--resume"]);
    assert!(status == 2 && text.contains("the checkpoint is damaged"), "{status}: {text}");
    std::fs::write(&damaged, &bytes[..middle]).expect("written");
    let (status, text) = train(folder, &["--resume"]);
    assert!(status == 2 && text.contains("training.ckpt is no training that was left"), "{status}: {text}");
}

#[test]
fn what_makes_no_training_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, phrase) in [
        (["--edge", "50"], "edge is 50; a multiple of 8 from 16 to 64"),
        (["--steps", "0"], "steps is 0; 1 to"),
        (["--patients", "0"], "patients is 0; 1 to 100000"),
        (["--minutes", "0"], "--minutes is 0; more than 0"),
        (["--rate", "-1"], "rate is -1"),
    ] {
        let (status, text) = train(folder.path(), &args);
        assert!(status == 2 && text.contains(phrase), "{status}: {text}");
    }
    let (status, text) = train(folder.path(), &["--resume"]);
    assert!(status == 2 && text.contains("recipe.json cannot be read; without --resume a training begins"), "{text}");
    assert!(!folder.path().join("out").exists());
}
