//! What a validation costs: `validate_1s_motion`, a whole case's motion, and the re-check by a new scene.

use bregma_core::flow::{Energy, GateState, Motion};
use bregma_core::stage::Stage;
use bregma_core::time::{Clock, Duration, RealClock};
use bregma_physics::{self, Limits, Validate, ValidateOut};
use criterion::{Criterion, criterion_group, criterion_main};
use phantom::{NOW, Phantom, ball, down, scene, stamp, to};
use std::hint::black_box;
use std::sync::Arc;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../src/tests/phantom.rs"]
mod phantom;

/// Validations of which the tail is told.
const TIMES: u64 = 300;

fn validator(phantom: &Phantom) -> Validate {
    Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount")
}

fn time(c: &mut Criterion, name: &str, phantom: &Phantom, motion: Motion) {
    let mut validate = validator(phantom);
    let mut out = ValidateOut::default();
    let mut input = phantom.input(vec![motion]);
    // A scene after each motion, a little of it removed: what a simulated case does.
    let scenes: Vec<_> = (0..2_u32)
        .map(|n| Arc::new(stamp(scene(&phantom.anatomy, |p| ball(p) || p.x > 30.0 + f64::from(n)), NOW)))
        .collect();
    let mut number = 1;
    c.bench_function(name, |b| {
        b.iter(|| {
            number += 1;
            input.scene.set(number, Arc::clone(&scenes[number as usize % 2]));
            validate.step(NOW, black_box(&input), &mut out).expect("whole");
            assert!(out.approved.is_some());
        });
    });
    // The tail, and what the physics engine does for it.
    let (clock, before) = (RealClock::start(), validate.engine_steps());
    let mut times: Vec<f64> = (0..TIMES)
        .map(|n| {
            let from = clock.now();
            input.scene.set(number + n, Arc::clone(&scenes[n as usize % 2]));
            validate.step(NOW, black_box(&input), &mut out).expect("whole");
            clock.now().since(from).map_or(0.0, Duration::millis_f64)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let (median, tail) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let steps = (validate.engine_steps() - before) / TIMES;
    if let Some(approved) = &out.approved {
        let record = approved.record();
        let (path, retract) = (record.path.length(), record.retract.length());
        eprintln!(
            "{name}: path {path}, retract {retract}; median {median:.1} ms, p99 {tail:.1} ms, {steps} rapier steps"
        );
    }
}

fn benches(c: &mut Criterion) {
    let inside = Phantom::new().at(down(2.0, 1.0, 50.0));
    let short = inside.motion([to(2.0, 1.0, 48.2, 2.8, Energy::CUT)]);
    time(c, "validate_1s_motion", &inside, short);
    let long = inside.motion([
        to(2.0, 1.0, 46.5, 4.0, Energy::CUT),
        to(2.0, 1.0, 50.0, 9.0, Energy::OFF),
        to(-2.0, 1.0, 50.0, 9.0, Energy::OFF),
        to(-2.0, 1.0, 46.5, 4.0, Energy::CUT),
        to(-2.0, 1.0, 52.0, 9.0, Energy::OFF),
    ]);
    time(c, "validate_6s_motion", &inside, long);

    let outside = Phantom::new();
    let mut validate = validator(&outside);
    let mut out = ValidateOut::default();
    let mut input = outside.input(vec![outside.good()]);
    validate.step(NOW, &input, &mut out).expect("whole");
    let sequence = out.approved.as_ref().map(|a| a.record().sequence);
    input.plans.set([]);
    input.sent.set(2, outside.sent(GateState::Active, sequence));
    let scenes: Vec<_> =
        (0..2).map(|n| Arc::new(stamp(scene(&outside.anatomy, |p| ball(p) || (n == 1 && p.x < -14.0)), NOW))).collect();
    let mut number = 2;
    c.bench_function("recheck_by_a_new_scene", |b| {
        b.iter(|| {
            number += 1;
            input.scene.set(number, Arc::clone(&scenes[number as usize % 2]));
            validate.step(NOW + Duration::from_millis(10), black_box(&input), &mut out).expect("whole");
            assert!(out.withdrawn.is_none());
        });
    });
}

criterion_group!(all, benches);
criterion_main!(all);
