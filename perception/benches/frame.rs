//! Kernels and whole frames on one thread.

#[path = "../tests/theatre/mod.rs"]
mod theatre;

use bregma_core::digest::Digest;
use bregma_core::flow::{Energy, Light, ROI_VOXELS};
use bregma_core::topic::Numbered;
use bregma_perception::distance::DistanceTransform;
use bregma_perception::engine::EngineError;
use bregma_perception::perceive::classical::{self, Classical};
use bregma_perception::perceive::margin::{Beside, Rule};
use bregma_perception::perceive::{self, Estimator, Perceive, View};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use theatre::{Theatre, picture, volume};

/// A ball of 14 mL in the middle: a usual core.
fn distance(c: &mut Criterion) {
    let away = |i: usize| [i % 64, i / 64 % 64, i / 4096].map(|v| (v as f64 - 31.5).powi(2)).iter().sum::<f64>();
    let inside: Vec<u8> = (0..64 * 64 * 64).map(|i| u8::from(away(i) < 144.0)).collect();
    let (mut transform, mut out) = (DistanceTransform::new([64; 3]), vec![0; inside.len()]);
    c.bench_function("distance_transform_64", |b| b.iter(|| transform.signed(black_box(&inside), &mut out)));
}

fn frames(c: &mut Criterion) {
    let mut theatre = Theatre::new();
    let path: Vec<_> = (0..=20).map(|n| (n * 50, [0.0, 0.0, -12.0 + n as f64])).collect();
    theatre.moves(Energy::CUT, &path);
    let picture = picture(1000, Light::Violet, [120, 40, 60]);
    assert!(theatre.scene(picture.clone()).residual_ml > 0.0, "the scans are in");
    let frame = theatre.aligned(picture.clone()).expect("works").expect("a frame");
    c.bench_function("align_frame_64", |b| b.iter(|| theatre.aligned(picture.clone())));
    let mut number = 0;
    let mut step = |theatre: &mut Theatre| {
        number += 1;
        theatre.perceive_in.roi.set(number, frame.clone());
        let mut out = bregma_perception::perceive::Out::default();
        let result = bregma_core::Stage::step(&mut theatre.perceive, frame.decided, &theatre.perceive_in, &mut out);
        (result, out)
    };
    c.bench_function("classical_frame_64", |b| b.iter(|| step(&mut theatre)));
    let by_rule = ByRule {
        classical: Classical::new(classical::Settings::default()),
        said: vec![0; ROI_VOXELS],
        rule: Rule::new(33, 1.0, 1.0, std::array::from_fn(|n| 0.1 * (n as f32).sin())),
    };
    theatre.perceive = Perceive::with_estimator(perceive::Settings::default(), Box::new(by_rule));
    theatre.perceive_in.volumes.set([Numbered { number: 1, value: Arc::new(volume()) }]);
    assert!(step(&mut theatre).1.scene.is_some(), "the scans are in again");
    theatre.perceive_in.volumes.set([]);
    c.bench_function("classical_frame_64_by_a_rule", |b| b.iter(|| step(&mut theatre)));
}

/// The classical estimator, its margins by a rule: what the rule costs beside it.
struct ByRule {
    classical: Classical,
    said: Vec<u8>,
    rule: Rule,
}

impl Estimator for ByRule {
    fn digest(&self) -> Digest {
        self.classical.digest()
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        self.classical.estimate(view, &mut self.said)?;
        residual.copy_from_slice(&self.said);
        Ok(())
    }

    fn beside(&self) -> Option<Beside<'_>> {
        Some(Beside { rule: &self.rule, classical: &self.said })
    }
}

criterion_group!(benches, distance, frames);
criterion_main!(benches);
