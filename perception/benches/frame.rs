//! Kernels and whole frames on one thread.

#[path = "../tests/theatre/mod.rs"]
mod theatre;

use bregma_core::flow::{Energy, Light};
use bregma_perception::distance::DistanceTransform;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use theatre::{Theatre, picture};

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
    c.bench_function("classical_frame_64", |b| {
        b.iter(|| {
            number += 1;
            theatre.perceive_in.roi.set(number, frame.clone());
            let mut out = bregma_perception::perceive::Out::default();
            let result = bregma_core::Stage::step(&mut theatre.perceive, frame.decided, &theatre.perceive_in, &mut out);
            (result, out)
        });
    });
}

criterion_group!(benches, distance, frames);
criterion_main!(benches);
