//! Align follows a brain that sinks, by what a stereo microscope measures of it, and says how sure it is.

use crate::theatre::{Theatre, picture, ranges};
use bregma_core::brain_shift::BrainShift;
use bregma_core::flow::{Light, RangeImage, RoiFrame};
use nalgebra::{Point3, Vector3};
use std::sync::Arc;

/// Beside the corridor's mouth.
const CORTEX: Point3<f64> = Point3::new(13.0, 4.0, -50.0);
/// At the core.
const DEEP: Point3<f64> = Point3::new(0.0, 0.0, 10.0);

fn watch(
    theatre: &mut Theatre,
    ms: std::ops::Range<u64>,
    mut image: impl FnMut(u64) -> Option<Arc<RangeImage>>,
) -> Arc<RoiFrame> {
    let mut newest = None;
    for (n, ms) in ms.step_by(250).enumerate() {
        if let Some(image) = image(ms) {
            theatre.align_in.ranges.set(n as u64 + 1, image);
        }
        newest = theatre.aligned(picture(ms, Light::White, [150, 90, 80])).expect("align works").or(newest);
    }
    newest.expect("a frame for a picture")
}

fn sunk(shift: &BrainShift, at: Point3<f64>) -> Vector3<f64> {
    shift.now(&at) - at
}

#[test]
fn a_cortex_that_sank_is_followed_and_what_lies_deep_by_less() {
    for sank in [11.0, 0.0, 5.0] {
        let mut theatre = Theatre::following();
        let frame = watch(&mut theatre, 0..5000, |ms| Some(ranges(ms, sank, |_| None)));
        let (surface, deep) = (sunk(&frame.shift, CORTEX), sunk(&frame.shift, DEEP));
        // The ball has no dura, whose thickness is taken off where there is a T1c alone; and 5 mm was expected.
        assert!((surface.z - sank).abs() < 2.8, "{sank}: {surface}");
        assert!(surface.xy().norm() < 1.0, "{sank}: aside by {surface}");
        assert!(sank < 1.0 || deep.z > 0.2 * surface.z && deep.z < surface.z, "{deep} below {surface}");
        let (stated, below) = (frame.shift.deviation_mm(&CORTEX), frame.shift.deviation_mm(&DEEP));
        assert!(stated > 1.0 && stated < 4.0 && below > 0.5, "{stated} {below}");
        let found = theatre.align.followed().expect("it looks");
        assert!(found.ranges >= 25 && found.vessels == 0, "{found:?}");
    }
}

#[test]
fn hands_and_cotton_are_not_the_cortex() {
    let mut theatre = Theatre::following();
    let clear = watch(&mut theatre, 0..4000, |ms| Some(ranges(ms, 8.0, |_| None)));
    let mut theatre = Theatre::following();
    let hidden = watch(&mut theatre, 0..4000, |ms| {
        Some(ranges(ms, 8.0, |[u, v]| match (u, v) {
            (u, _) if u < 200.0 => Some(60.0),
            (u, v) if u > 440.0 && v > 240.0 => Some(2.5),
            _ => None,
        }))
    });
    let apart = (sunk(&clear.shift, CORTEX) - sunk(&hidden.shift, CORTEX)).norm();
    assert!(apart < 0.8, "{apart} mm");
}

#[test]
fn while_nothing_is_measured_the_last_answer_stays_and_grows_less_certain() {
    let mut theatre = Theatre::following();
    let blind = watch(&mut theatre, 0..500, |_| None);
    assert!(theatre.align.followed().is_none());
    let seen = watch(&mut theatre, 500..4000, |ms| Some(ranges(ms, 9.0, |_| None)));
    assert!(seen.shift.deviation_mm(&CORTEX) < 0.8 * blind.shift.deviation_mm(&CORTEX));
    // Twenty minutes later the last range image is old, and counts for nothing.
    let later = watch(&mut theatre, 1_200_000..1_201_000, |_| None);
    let moved = (sunk(&later.shift, CORTEX) - sunk(&seen.shift, CORTEX)).norm();
    assert!(moved < 0.3, "{moved}");
    assert!(later.shift.deviation_mm(&CORTEX) > seen.shift.deviation_mm(&CORTEX) + 1.0);
    assert!(later.errors.shift.get() > seen.errors.shift.get(), "the budget carries it");
}

#[test]
fn same_in_same_out() {
    let one = |_| watch(&mut Theatre::following(), 0..2000, |ms| Some(ranges(ms, 6.0, |_| None)));
    let [a, b] = [0, 1].map(one);
    assert_eq!(a.shift, b.shift);
}

#[test]
fn an_opening_that_moved_aside_takes_the_cortex_with_it() {
    // The corridor's mouth, 9 mm around the middle at rest, as it appears 250 mm away.
    let hole = |aside_mm: f64| {
        move |[u, v]: [f64; 2]| {
            let mm = [u - 319.5, v - 179.5].map(|px| px * 252.0 / 1200.0);
            ((mm[0] - aside_mm).hypot(mm[1]) < 9.0).then_some(-25.0)
        }
    };
    let [still, moved] = [0.0, 4.0].map(|aside_mm| {
        let mut theatre = Theatre::following();
        let frame = watch(&mut theatre, 0..5000, |ms| Some(ranges(ms, 4.0, hole(aside_mm))));
        assert!(theatre.align.followed().expect("it looks").opening, "{aside_mm}");
        sunk(&frame.shift, Point3::new(0.0, 0.0, -50.0))
    });
    // Tiles are 4 mm wide here, and nothing was expected to move aside.
    assert!(still.xy().norm() < 0.8, "{still}");
    assert!((moved - still).x > 2.2 && (moved - still).x < 4.5 && (moved - still).y.abs() < 0.8, "{moved} {still}");
}
