//! Sequences are what align sees, with the truth at that time, whoever makes them.

use super::lessons::Kept;
use super::patients::Patients;
use super::stream::Stream;
use super::*;
use crate::config::Config;
use bregma_core::digest::Digest;
use bregma_core::flow::ROI_VOXELS;
use bregma_patient::{PatientCache, PatientSettings};
use bregma_perception::train::Lessons;
use std::sync::OnceLock;

/// Two small patients, kept in a folder for as long as the tests run.
fn two() -> Patients {
    static TWO: OnceLock<(tempfile::TempDir, Patients)> = OnceLock::new();
    let (_, patients) = TWO.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = PatientCache::new(folder.path().to_owned(), 100_000_000);
        let small = PatientSettings { core_ml: [2.0, 5.0], ..PatientSettings::default() };
        let made = Patients::prepare(Some(cache), patients::FIRST_SEED, 2, &small, 2, |_, _| {}).expect("they grow");
        (folder, made)
    });
    patients.clone()
}

fn short() -> Settings {
    Settings { frames: 2, sequences: 3, picture_px: [160, 90], ..Settings::default() }
}

fn made(settings: &Settings, threads: usize, n: usize) -> Vec<Sequence> {
    let mut stream = Stream::start(Config::demo().expect("it is built in"), two(), settings, threads).expect("starts");
    (0..n).map(|_| stream.next().expect("made")).collect()
}

/// Of every byte.
fn digest(s: &Sequence) -> Digest {
    let mut digester = Digester::new("test");
    let Missing { t1c, flair, t1, t2, video } = s.missing;
    digester.u64(s.number).u64(s.patient).f64(s.removed_share).f64s(&s.captured_s);
    digester.bytes(&[t1c, flair, t1, t2, video].map(u8::from)).bytes(&s.residual).bytes(&s.cavity);
    for values in [&s.channels, &s.prior, &s.tumour_margin, &s.displacement] {
        digester.bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
    }
    digester.finish()
}

#[test]
fn threads_change_neither_the_order_nor_a_byte() {
    let digests = |threads| -> Vec<_> { made(&short(), threads, 4).iter().map(digest).collect() };
    let one = digests(1);
    assert_eq!(one, digests(2));
    assert_ne!(one[0], one[1]);
    let other = Settings { seed: 2, ..short() };
    assert_ne!(digest(&made(&other, 1, 1)[0]), one[0]);
}

#[test]
fn a_visit_goes_from_a_whole_tumour_to_a_cavity_that_align_follows() {
    let dropout = Dropout { t1c: 0.0, flair: 0.0, t1: 0.0, t2: 0.0, video: 0.0 };
    let whole = Settings { abreast: 1, dropout, ..short() };
    let sequences = made(&whole, 1, 3);
    let shares: Vec<f64> = sequences.iter().map(|s| s.removed_share).collect();
    assert!(shares[0] < 0.3 && shares.is_sorted() && shares[2] > shares[0] + 0.1, "{shares:?}");
    for s in &sequences {
        assert_eq!(s.channels.len(), s.frames * ROI_CHANNEL_COUNT * ROI_VOXELS);
        assert_eq!((s.residual.len(), s.cavity.len()), (s.frames * ROI_VOXELS, s.frames * ROI_VOXELS));
        assert_eq!((s.tumour_margin.len(), s.displacement.len()), (s.frames * ROI_VOXELS, 3 * s.frames * ROI_VOXELS));
        assert!(s.captured_s.is_sorted() && s.captured_s.len() == s.frames);
        assert!(s.channels.iter().chain(&s.displacement).all(|v| v.is_finite()));
        assert!(s.tumour_margin.iter().zip(&s.residual).all(|(m, r)| (*m < 0.0) == matches!(*r, 1 | 4)));
    }
    let last = &sequences[2];
    let at = (last.frames - 1) * ROI_CHANNEL_COUNT * ROI_VOXELS;
    let channel = |c: usize| &last.channels[at + c * ROI_VOXELS..][..ROI_VOXELS];
    let truth = &last.cavity[(last.frames - 1) * ROI_VOXELS..];
    // Most of what is open is known to be: the tip's error, what it reaches, and shift are left.
    let open = truth.iter().filter(|c| **c > 0).count();
    let known = channel(2).iter().zip(truth).filter(|(c, t)| **c > 0.5 && **t > 0).count();
    assert!(known * 2 > open, "{known} of {open}");
    assert!([0, 1, 5, 6].iter().all(|scan| channel(*scan).iter().any(|v| v.abs() > 1.0)));
    assert!(channel(8).iter().all(|doubt| *doubt > 0.0 && *doubt < 1.0), "nothing is where it is shown for certain");
    assert!(channel(4).iter().any(|age| *age < 0.1), "the microscope saw some wall");
}

#[test]
fn a_stream_that_is_dropped_ends_its_threads() {
    let stream = Stream::start(Config::demo().expect("it is built in"), two(), &short(), 2).expect("starts");
    drop(stream);
    let bad = Settings { frames: 0, ..short() };
    assert!(Stream::start(Config::demo().expect("it is built in"), two(), &bad, 2).is_err());
}

#[test]
fn draws_are_uniform_and_differ_by_every_part() {
    let mean = (0..2000).map(|n| draw(1, "test", 5, n)).sum::<f64>() / 2000.0;
    assert!((mean - 0.5).abs() < 0.03, "{mean}");
    let one = draw(1, "test", 5, 7);
    for other in [draw(2, "test", 5, 7), draw(1, "other", 5, 7), draw(1, "test", 6, 7), draw(1, "test", 5, 8)] {
        assert!((one - other).abs() > 1e-9);
    }
    assert!((one - draw(1, "test", 5, 7)).abs() < f64::EPSILON);
}

#[test]
fn settings_outside_their_range_are_refused_by_name() {
    assert!(Settings::default().check().is_ok());
    let refused = |change: fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().expect_err("refused").to_string()
    };
    assert!(refused(|s| s.frames = 0).contains("frames is 0"));
    assert!(refused(|s| s.gap_s = [2.0, 1.0]).contains("gap_s"));
    assert!(refused(|s| s.dropout.video = f64::NAN).contains("dropout.video is NaN"));
}

#[test]
fn seeds_that_claims_are_made_on_are_not_learnt_from() {
    let settings = PatientSettings::default();
    for first in [0, 1000, patients::END_SEED - 1, patients::END_SEED] {
        let refused = Patients::prepare(None, first, 2, &settings, 1, |_, _| {}).expect_err("not for learning");
        assert!(refused.to_string().contains("are for learning"), "{refused}");
    }
}

#[test]
fn scans_alone_come_first_and_show_a_whole_tumour_and_no_theatre() {
    let dropout = Dropout { t1c: 0.0, flair: 0.0, t1: 0.0, t2: 1.0, video: 0.0 };
    let settings = Settings { abreast: 1, scans: 2, sequences: 1, dropout, ..short() };
    let sequences = made(&settings, 1, 4);
    assert_eq!(
        sequences.iter().map(|s| s.frames).collect::<Vec<_>>(),
        [1, 1, 2, 1],
        "the next visit begins with scans, too"
    );
    let near = &sequences[0];
    assert!(near.residual.iter().filter(|r| **r == 4).count() > 300 && near.cavity.iter().all(|c| *c == 0));
    let channel = |c: usize| &near.channels[c * ROI_VOXELS..][..ROI_VOXELS];
    let constant = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    for (c, value) in constant.into_iter().enumerate() {
        let is = channel(c).iter().all(|v| *v == value);
        assert_eq!(is, !matches!(c, 0 | 1 | 5), "channel {c}");
    }
    let of = |kind: u8| {
        let here = near.residual.iter().zip(channel(0)).filter(|(r, _)| **r == kind).map(|(_, z)| f64::from(*z));
        let (n, sum) = here.fold((0_u32, 0.0), |(n, sum), z| (n + 1, sum + z));
        sum / f64::from(n.max(1))
    };
    assert!(of(4) > of(2) + 0.5, "what enhances does so on T1c: {} {}", of(4), of(2));
    assert_eq!(digest(near), digest(&made(&settings, 1, 1)[0]));
}

#[test]
fn steps_learn_from_removals_or_from_scans_alone_in_one_order_whatever_the_threads() {
    let settings = Settings { scans: 3, sequences: 2, abreast: 2, ..short() };
    let lent = |threads: usize| {
        let stream = Stream::start(Config::demo().expect("it is built in"), two(), &settings, threads).expect("starts");
        let mut kept = Kept::new(stream, 5, 8, 2.0, 0.5);
        let steps = (0..10).map(|_| kept.next(4).expect("lessons"));
        steps.map(|lessons| lessons.iter().map(|l| (l.frames, l.margin[77], l.channels[99])).collect()).collect()
    };
    let steps: Vec<Vec<(usize, f32, f32)>> = lent(1);
    assert_eq!(steps, lent(2));
    for step in &steps {
        assert!(step.iter().all(|(frames, ..)| *frames == step[0].0), "of one length: {step:?}");
        assert_eq!(step.len() * step[0].0, 4, "{step:?}");
    }
    let alone = steps.iter().filter(|step| step[0].0 == 1).count();
    assert!((2..=8).contains(&alone), "both kinds: {alone} of 10");
}
