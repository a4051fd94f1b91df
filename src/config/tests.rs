//! Configurations that must be read, and words that must be refused.

use super::*;

fn refused(change: impl Fn(&str) -> String) -> String {
    let text = change(DEMO);
    assert_ne!(text, DEMO, "the change must change something");
    format!("{:#}", Config::parse(&text, Path::new(".")).expect_err("refused"))
}

#[test]
fn the_demo_and_the_theatre_are_read() {
    let demo = Config::demo().expect("config/demo.toml");
    assert!(matches!(demo.source, Source::DigitalPatient(_)));
    let theatre =
        Config::parse(include_str!("../../config/theatre.toml"), Path::new("x")).expect("config/theatre.toml");
    let Source::Theatre(theatre) = theatre.source else { panic!("a theatre") };
    assert_eq!(theatre.t1c, Path::new("x/t1c.nii.gz"), "paths are relative to the file");
    demo.gate.settings(demo.arm, Digest::default(), vec![Digest::default()]).expect("the gate takes it");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let why = refused(|t| t.replace("shift_mm_per_hour", "shift_mm_per_day"));
    assert!(why.contains("shift_mm_per_day") && why.contains("shift_mm_per_hour"), "{why}");
    let why = refused(|t| t.replace("video_fps = 25", "video_fps = 25\nvideo_colour = true"));
    assert!(why.contains("video_colour"), "{why}");
}

#[test]
fn a_missing_key_is_refused_by_name() {
    let why = refused(|t| t.replace("heartbeat_age_ms = 200.0\n", ""));
    assert!(why.contains("heartbeat_age_ms"), "{why}");
}

#[test]
fn a_value_out_of_range_says_what_would_be_right() {
    let why = refused(|t| t.replace("video_fps = 25", "video_fps = 500"));
    assert_eq!(why, "`source.video_fps` is 500; it must lie in 1 to 60");
    let why = refused(|t| t.replace("\ncut_mm_s = 5.0", "\ncut_mm_s = 50.0"));
    assert!(why.contains("cut_mm_s is 50 mm/s; 0.1 to 5 mm/s is needed"), "{why}");
}

#[test]
fn nan_is_in_no_range() {
    let why = refused(|t| t.replace("shift_mm_per_hour = 0.5", "shift_mm_per_hour = nan"));
    assert!(why.contains("`align.shift_mm_per_hour` is NaN"), "{why}");
    let why = refused(|t| t.replace("\ntip_mm = 3.0", "\ntip_mm = nan"));
    assert!(why.contains("tip_mm is NaN"), "{why}");
    let why = refused(|t| t.replace("hold_s = 30.0", "hold_s = nan"));
    assert!(why.contains("hold_s") && why.contains("NaN"), "{why}");
}

#[test]
fn a_heartbeat_cannot_be_switched_off() {
    let text = DEMO.replace("heartbeat_age_ms = 200.0", "heartbeat_age_ms = 0.0");
    let config = Config::parse(&text, Path::new(".")).expect("the words are well formed");
    let why = config.gate.settings(config.arm, Digest::default(), vec![Digest::default()]).expect_err("refused");
    assert!(format!("{why:#}").contains("heartbeat_age_max"), "{why:#}");
}

#[test]
fn the_hash_is_over_values_and_not_over_comments() {
    let demo = Config::demo().expect("reads");
    let commented = Config::parse(&format!("# hello\n{DEMO}"), Path::new(".")).expect("reads");
    assert_eq!(demo.hash, commented.hash);
    let other = Config::parse(&DEMO.replace("tip_mm = 3.0", "tip_mm = 2.9"), Path::new(".")).expect("reads");
    assert_ne!(demo.hash, other.hash);
}
