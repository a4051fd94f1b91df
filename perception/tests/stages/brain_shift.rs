//! Align follows a brain that sinks, by what a stereo microscope measures of it, and says how sure it is.

use crate::theatre::{Theatre, at, picture, ranges, volume};
use bregma_core::brain_shift::BrainShift;
use bregma_core::flow::{Energy, Light, Modality, RangeImage, RoiFrame, Volume};
use bregma_core::topic::Numbered;
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

#[test]
fn an_intraoperative_scan_says_where_tissue_was_and_what_was_not_carved_after_all() {
    let mut theatre = Theatre::following();
    let shift = watch(&mut theatre, 0..500, |_| None).shift.clone();
    // The tip sweeps two places, as is believed.
    let (kept, gone) = ([11.5, 0.0, 4.0], [-11.5, 0.0, 4.0]);
    let swept = |place: [f64; 3]| -> [f64; 3] { shift.now(&Point3::from(place)).coords.into() };
    theatre.moves(Energy::CUT, &[(600, swept(kept)), (610, swept(kept))]);
    theatre.aligned(picture(620, Light::White, [150, 90, 80])).expect("align works");
    theatre.moves(Energy::OFF, &[(1200, swept(gone))]);
    theatre.aligned(picture(1210, Light::White, [150, 90, 80])).expect("align works");
    theatre.moves(Energy::CUT, &[(1600, swept(gone)), (1610, swept(gone))]);
    let before = theatre.aligned(picture(1620, Light::White, [150, 90, 80])).expect("align works").expect("a frame");
    let open = |frame: &RoiFrame, place: [f64; 3]| {
        let voxel = frame.grid.containing(&Point3::from(place)).expect("in the region");
        frame.channel(2)[frame.grid.index(voxel)] > 0.5
    };
    assert!(open(&before, kept) && open(&before, gone) && before.scanned == at(0));

    let mut found = BrainShift::still(Point3::origin());
    found.set(Point3::origin(), |_| (Vector3::new(1.0, -2.0, 6.0), 0.9));
    let mut scan = Volume { acquired: at(1700), shift: Some(Arc::new(found)), ..volume() };
    let middle = Vector3::repeat(-54.5 * 1.1);
    for (n, value) in scan.intensities.iter_mut().enumerate() {
        let at = Point3::new(n % 110, n / 110 % 110, n / 12100).map(|c| c as f64 * 1.1) + middle;
        if nalgebra::distance(&at, &Point3::from(gone)) < 4.0 {
            *value = 20.0;
        }
    }
    // Who does not follow the brain cannot take it up, and goes on with the scan before.
    let mut still = Theatre::new();
    let first = still.aligned(picture(1000, Light::White, [150, 90, 80])).expect("align works").expect("a frame");
    still.align_in.volumes.set([Numbered { number: 2, value: Arc::new(scan.clone()) }]);
    let why = still.aligned(picture(1800, Light::White, [150, 90, 80])).expect_err("refused").to_string();
    assert!(why.contains("shift is not followed"), "{why}");
    let next = still.aligned(picture(1900, Light::White, [150, 90, 80])).expect("align works").expect("a frame");
    assert_eq!(next.channel(0), first.channel(0));

    // A broken FLAIR beside it is refused, and costs nothing of what the T1c says.
    let broken = Volume { modality: Modality::Flair, intensities: Vec::new(), ..scan.clone() };
    let both = [(2, scan), (3, broken)].map(|(number, scan)| Numbered { number, value: Arc::new(scan) });
    theatre.align_in.volumes.set(both);
    theatre.aligned(picture(1750, Light::White, [150, 90, 80])).expect_err("a broken FLAIR");
    let after = theatre.aligned(picture(1800, Light::White, [150, 90, 80])).expect("align works").expect("a frame");
    assert_eq!((after.scanned, after.epoch), (at(1700), before.epoch + 1));
    assert!(!open(&after, kept) && open(&after, gone), "it shows tissue at one, fluid at the other");
    assert!(open(&after, [0.0, 0.0, -30.0]), "the corridor is open");
    let moved = sunk(&after.shift, DEEP);
    assert!((moved - Vector3::new(1.0, -2.0, 6.0)).norm() < 0.05, "{moved}");
    assert!(after.shift.deviation_mm(&CORTEX) < 0.6 * before.shift.deviation_mm(&CORTEX));
    // From there it is followed on.
    let mut later = after.clone();
    for (n, ms) in (2000..6000).step_by(250).enumerate() {
        theatre.moves(Energy::OFF, &[(ms, [0.0, 200.0, -150.0])]);
        theatre.align_in.ranges.set(n as u64 + 1, ranges(ms, 9.0, |_| None));
        later = theatre.aligned(picture(ms, Light::White, [150, 90, 80])).expect("align works").expect("a frame");
    }
    let (was, is) = (sunk(&after.shift, CORTEX), sunk(&later.shift, CORTEX));
    assert!(is.z > was.z + 0.3 && (is - was).xy().norm() < 0.7, "{was} {is}");
    assert_eq!(later.scanned, at(1700));
}
