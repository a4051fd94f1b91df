//! Training on balls that shine, and what it rests on.

use super::lesson::together;
use super::*;
use crate::engine::Pool;
use crate::network::api::{Autodiff, Flex};
use crate::perceive::inputs::INPUTS;
use std::sync::Arc;

type Train = Autodiff<Flex>;

const SMALL: Shape = Shape { inputs: INPUTS, outputs: OUTPUTS, base: 4, levels: 3 };
const EDGE: usize = 24;

/// A ball of core in a larger one that is infiltrated, with a necrotic middle; it shines on T1c and FLAIR. A second frame lacks one half.
fn ball(seed: u64) -> Lesson {
    let mut random = Random::new(seed);
    let middle = [0, 1, 2].map(|_| 9.0 + 6.0 * random.share());
    let radius = 4.0 + 2.0 * random.share();
    let voxels = EDGE.pow(3);
    let mut lesson = Lesson {
        frames: 2,
        edge: EDGE,
        channels: vec![0.0; 2 * INPUTS * voxels],
        residual: vec![0; 2 * voxels],
        margin: vec![10.0; 2 * voxels],
    };
    for i in 0..2 * voxels {
        let (frame, at) = (i / voxels, i % voxels);
        let place = [at % EDGE, at / EDGE % EDGE, at / (EDGE * EDGE)];
        let far = (0..3).map(|a| (place[a] as f64 - middle[a]).powi(2)).sum::<f64>().sqrt();
        let gone = frame == 1 && (place[0] as f64) < middle[0];
        let label = match far {
            f if f < 0.4 * radius => 1,
            f if f < radius => 4,
            f if f < radius + 3.0 => 2,
            _ => 0,
        };
        let channel = |c: usize| (frame * INPUTS + c) * voxels + at;
        lesson.channels[channel(0)] = [0.0, -1.5, 0.0, 0.0, 2.5][label] + 0.3 * random.normals()[0];
        lesson.channels[channel(1)] = if label == 0 { 0.0 } else { 2.0 } + 0.3 * random.normals()[0];
        lesson.channels[channel(2)] = f32::from(u8::from(gone && label > 0));
        lesson.residual[i] = if gone { 0 } else { label as u8 };
        if matches!(lesson.residual[i], 1 | 4) {
            lesson.margin[i] = -1.0;
        } else if far < radius + 8.0 {
            lesson.margin[i] = 1.25 * (far - radius).max(0.5) as f32;
        }
    }
    lesson
}

/// As many balls as are asked for, with the next seeds.
struct Balls(u64);

impl Lessons for Balls {
    fn next(&mut self, frames: usize) -> Result<Vec<Arc<Lesson>>, Box<dyn std::error::Error + Send + Sync>> {
        self.0 += 100;
        Ok((0..frames as u64 / 2).map(|n| Arc::new(ball(self.0 + n))).collect())
    }
}

fn settings(steps: u64) -> Settings {
    Settings {
        steps,
        frames: 4,
        edge: 16,
        rate: 1e-2,
        warm_up: steps.min(5),
        mean: 0.9,
        disturbing: Disturbing::NONE,
        ..Settings::default()
    }
}

fn trainer(settings: Settings) -> Trainer<Train> {
    Trainer::new(settings, SMALL, Default::default()).expect("settings within range")
}

fn step(trainer: &mut Trainer<Train>, lessons: &mut dyn Lessons) -> Result<Loss, TrainError> {
    let settings = trainer.settings;
    let lessons = lessons.next(settings.frames).map_err(TrainError::NoLesson)?;
    trainer.step(Prepared::of(&settings, trainer.steps(), &lessons)?)
}

fn run(trainer: &mut Trainer<Train>, from: u64, until: u64) -> Vec<f64> {
    let mut balls = Balls(1000 * from);
    (trainer.steps()..until).map(|_| step(trainer, &mut balls).expect("a step").total).collect()
}

#[test]
fn it_learns_what_shines_and_what_was_taken_out_of_it() {
    let mut trainer = trainer(settings(60));
    let held: Vec<Lesson> = (0..4).map(|n| ball(900_000 + n)).collect();
    let pool = Pool::new(1).expect("a pool");
    let before = score(&trainer.model(), &pool, &held, 1.25).expect("a score");
    run(&mut trainer, 0, 60);
    assert!(trainer.ended());
    let after = score(&trainer.model(), &pool, &held, 1.25).expect("a score");
    let overlap = |s: &Scored, output: usize| s.overlap[output].unwrap_or(0.0);
    assert!(overlap(&after, 0) > 0.8 && overlap(&after, 1) > 0.8, "{before:?} {after:?}");
    assert!(overlap(&after, 0) > overlap(&before, 0) + 0.2, "{before:?} {after:?}");
    assert!(after.margin_mm.expect("a surface") < before.margin_mm.expect("a surface"), "{before:?} {after:?}");
    assert_eq!(after.frames, 8);
}

#[test]
fn a_training_that_was_left_goes_on_to_the_same_weights() {
    let (mut whole, mut first) = (trainer(settings(8)), trainer(settings(8)));
    run(&mut whole, 0, 4);
    run(&mut first, 0, 4);
    let checkpoint = first.checkpoint().expect("records");
    let mut second = Trainer::<Train>::resume(settings(8), SMALL, Default::default(), checkpoint).expect("it resumes");
    assert_eq!(second.steps(), 4);
    assert_eq!(run(&mut whole, 7, 8), run(&mut second, 7, 8));
    assert_eq!(whole.model(), second.model(), "to the last bit");
    let mut damaged = second.checkpoint().expect("records");
    damaged.moments.truncate(100);
    let Err(why) = Trainer::<Train>::resume(settings(8), SMALL, Default::default(), damaged) else { panic!("damaged") };
    assert!(why.to_string().starts_with("the checkpoint is damaged: its digest is "), "{why}");
}

#[test]
fn the_mean_of_one_network_is_that_network_with_the_statistics_of_its_norms() {
    let mut trainer = trainer(settings(4));
    let other = trainer.network.valid();
    run(&mut trainer, 0, 4);
    let trained = trainer.network.valid();
    assert_ne!(other.fold(), trained.fold());
    assert_eq!(Mean::of(&trained).put_into(other.clone()).fold(), trained.fold(), "to the last bit");
    // Half of each: the biases of the head lie half-way.
    let mut mean = Mean::of(&other);
    mean.take(&trained, 0.5);
    let head = |model: &Model| model.layers.last().map_or(0.0, |layer| layer.bias[0]);
    let half = head(&mean.put_into(other.clone()).fold());
    assert!((half - 0.5 * (head(&other.fold()) + head(&trained.fold()))).abs() < 1e-6, "{half}");
}

#[test]
fn the_loss_gradient_is_its_gradient() {
    let batch = together(&[ball(1).cut(8, &mut Random::new(3)), ball(2).cut(8, &mut Random::new(4))]).expect("a batch");
    let mut random = Random::new(9);
    let logits: Vec<f32> = (0..batch.truth.len()).map(|_| 3.0 * random.next()).collect();
    let weights = Weights { overlap: 0.7, likelihood: 1.3, boundary: 0.9 };
    let (loss, slope) = Loss::of(&weights, &batch, &logits);
    assert!((loss.total - (0.7 * loss.overlap + 1.3 * loss.likelihood + 0.9 * loss.boundary)).abs() < 1e-6);
    // Along a random direction, so that f32 sees it.
    let direction: Vec<f32> = (0..logits.len()).map(|_| random.next()).collect();
    let at = |by: f32| {
        let moved: Vec<f32> = logits.iter().zip(&direction).map(|(z, d)| z + by * d).collect();
        Loss::of(&weights, &batch, &moved).0.total
    };
    let measured = (at(0.01) - at(-0.01)) / 0.02;
    let stated: f64 = slope.iter().zip(&direction).map(|(s, d)| f64::from(s * d)).sum();
    assert!(
        (measured - stated).abs() < 2e-3 * slope.iter().map(|s| f64::from(s.abs())).sum::<f64>(),
        "{measured} {stated}"
    );
    // Of one that is sure and right, nothing is left but the boundary's, which is below 0.
    let sure: Vec<f32> = batch.truth.iter().map(|y| if *y > 0 { 40.0 } else { -40.0 }).collect();
    let (right, _) = Loss::of(&weights, &batch, &sure);
    assert!(right.overlap.abs() < 1e-6 && right.likelihood.abs() < 1e-6 && right.boundary < 0.0, "{right:?}");
}

#[test]
fn a_cube_is_cut_and_turned_with_all_that_is_in_it() {
    let lesson = ball(5);
    let mut random = Random::new(1);
    for _ in 0..20 {
        let cut = lesson.cut(16, &mut random).turned(&mut random);
        assert_eq!(cut.check(), Ok(()));
        assert_eq!((cut.edge, cut.channels.len()), (16, 2 * INPUTS * cut.voxels()));
        // What shines lies where the label says, as before.
        let voxels = cut.voxels();
        for i in (0..voxels).filter(|i| cut.residual[*i] == 4) {
            assert!(cut.channels[i] > 1.0 && cut.margin[i] < 0.0);
        }
        for i in 0..2 * voxels {
            assert_eq!(cut.margin[i] < 0.0, matches!(cut.residual[i], 1 | 4));
        }
    }
    assert_eq!(lesson.cut(64, &mut random).edge, EDGE, "no more than there is");
}

#[test]
fn scans_are_disturbed_alike_in_every_frame_and_nothing_else_is() {
    let mut lesson = ball(6);
    let voxels = lesson.voxels();
    // Twice the same frame.
    let (first, second) = lesson.channels.split_at_mut(INPUTS * voxels);
    second.copy_from_slice(first);
    let before = lesson.clone();
    let all = Disturbing { thick: 1.0, ghost: 1.0, spike: 1.0, void: 1.0, ..Disturbing::default() };
    all.apply(&mut lesson, &mut Random::new(2));
    let of =
        |l: &Lesson, frame: usize, channel: usize| l.channels[(frame * INPUTS + channel) * voxels..][..voxels].to_vec();
    for channel in 0..INPUTS {
        assert_eq!(of(&lesson, 0, channel), of(&lesson, 1, channel), "channel {channel}");
        let changed = of(&lesson, 0, channel) != of(&before, 0, channel);
        assert_eq!(changed, channel < 2, "channel {channel}: T1 and T2 were never made, the rest is no scan");
    }
    assert_eq!((&lesson.residual, &lesson.margin), (&before.residual, &before.margin));
    assert_eq!(lesson.check(), Ok(()));
    let mut left = before.clone();
    Disturbing::NONE.apply(&mut left, &mut Random::new(2));
    assert_eq!(left, before);
    let against = disturb::of_scans(&vec![-2.0; before.channels.len()], &before.channels, EDGE, 0.1);
    let moved = |channel: usize| against[channel * voxels..][..voxels].iter().all(|v| *v == -0.1);
    assert!(moved(0) && moved(1) && (2..INPUTS).all(|c| !moved(c)));
}

#[test]
fn what_is_no_lesson_and_no_setting_is_refused_in_words() {
    let why = |lesson: &Lesson| lesson.check().expect_err("no lesson").to_string();
    let mut short = ball(1);
    short.margin.pop();
    assert_eq!(why(&short), "a lesson of 2 frames of 24 voxels' edge has 27647 values in margin; 27648 are right");
    let mut narrow = ball(1);
    narrow.channels.truncate(2 * 3 * EDGE.pow(3));
    assert!(why(&narrow).contains("82944 values in channels; 276480 are right"), "{}", why(&narrow));
    let nothing = Lesson { frames: 0, edge: EDGE, channels: Vec::new(), residual: Vec::new(), margin: Vec::new() };
    assert_eq!(why(&nothing), "a lesson without a voxel");
    let mut label = ball(1);
    label.residual[7] = 3;
    assert_eq!(why(&label), "a lesson has the label 3; 0, 1, 2 and 4 are right");
    let mut wild = ball(1);
    wild.channels[7] = f32::NAN;
    assert_eq!(why(&wild), "a lesson has a value in channels that is not finite");
    let refused = |settings: Settings| settings.check().expect_err("out of range").to_string();
    let edge = refused(Settings { edge: 50, ..Settings::default() });
    assert_eq!(edge, "training setting edge is 50; a multiple of 8 from 16 to 64 is right");
    let rate = refused(Settings { rate: f64::NAN, ..Settings::default() });
    assert_eq!(rate, "training setting rate is NaN; 0.00000001 to 1 is right");
    let unlike = [ball(1), ball(2).cut(16, &mut Random::new(1))].map(Arc::new);
    let why = Prepared::of(&Settings { edge: 24, ..settings(3) }, 0, &unlike).expect_err("unlike").to_string();
    assert!(why.starts_with("a step of 2 lessons that are not alike: 2 frames the first"), "{why}");
    let why = Prepared::of(&settings(3), 0, &[]).expect_err("none").to_string();
    assert!(why.starts_with("a step of 0 lessons"), "{why}");
    let mut apart = trainer(settings(3));
    let mut wild = Prepared::of(&settings(3), 0, &[Arc::new(ball(1))]).expect("sound so far");
    wild.batch.channels[7] = f32::NAN;
    let why = apart.step(wild).expect_err("it comes apart").to_string();
    assert_eq!(why, "at step 0 the loss is NaN: the training has come apart; a lower rate is right");
}

#[test]
fn what_a_step_learns_from_follows_from_the_seed_and_the_step() {
    let settings = Settings { disturbing: Disturbing::default(), ..settings(3) };
    let lessons = [ball(1), ball(2)].map(Arc::new);
    let of = |step| Prepared::of(&settings, step, &lessons).expect("sound").batch.channels;
    assert_eq!(of(4), of(4));
    assert_ne!(of(4), of(5));
}

#[test]
fn the_rate_grows_and_falls() {
    let s = Settings { steps: 100, warm_up: 10, rate: 1.0, ..Settings::default() };
    let rates: Vec<f64> = (0..100).map(|n| s.rate_at(n)).collect();
    assert!((rates[0] - 0.1).abs() < 1e-12 && (rates[9] - 1.0).abs() < 1e-12 && (rates[55] - 0.5).abs() < 1e-12);
    assert!(rates[99] < 0.001 && rates[10..].is_sorted_by(|a, b| a >= b));
}
