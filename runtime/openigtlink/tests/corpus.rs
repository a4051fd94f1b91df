//! What the fuzz targets kept, and 100 000 damaged messages, go through what the fuzz targets do: without libFuzzer,
//! on every test run.

mod exercise;
mod made;

use std::path::Path;

/// Files that a fuzz target kept; it takes `count` at least.
fn kept(target: &str, count: usize, mut each: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/kept").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("a kept corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= count, "{} files in {}", files.len(), folder.display());
    files.iter().for_each(|file| each(&std::fs::read(file).expect("a readable file")));
}

#[test]
fn what_the_fuzz_targets_kept_does_no_harm() {
    kept("header", 50, |bytes| {
        exercise::WAYS.iter().for_each(|options| {
            exercise::bytes(bytes, options);
        });
    });
    kept("body", 100, exercise::body);
    kept("stream", 50, |bytes| exercise::WAYS.iter().for_each(|options| exercise::stream(bytes, *options)));
}

#[test]
fn a_hundred_thousand_damaged_messages_do_no_harm() {
    let mut dice = made::Dice::new(2);
    let (mut taken, mut refused) = (0, 0);
    for turn in 0..100_000 {
        let wire = made::damaged(&mut dice);
        let options = &exercise::WAYS[turn % exercise::WAYS.len()];
        *(if exercise::bytes(&wire, options) { &mut taken } else { &mut refused }) += 1;
        exercise::stream(&wire, *options);
    }
    // Both happen often, or the damage is no test.
    assert!(taken > 10_000 && refused > 10_000, "{taken} taken, {refused} refused");
}
