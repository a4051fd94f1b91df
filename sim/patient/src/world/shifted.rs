//! The theatre around a brain that moves: what is counted stays at rest, what is met is where it is now.

use super::tests::{exact, ms, plain, theatre, tip_at};
use super::*;
use crate::patient::tests::grown;
use crate::truth::{REMOVED, SOLID};
use bregma_core::flow::{Scene, roi_grid};
use proptest::prelude::*;

/// A field that turns, stretches and carries by up to some 10 mm around the tumour.
fn bent(phase: f64, size_mm: f64) -> Field {
    let middle = grown().corridor.target;
    let grid = Grid::centred(middle, [24; 3], 8.0);
    let mut field = Field::still(grid);
    field.update(|all| {
        for (index, u) in all.iter_mut().enumerate() {
            let at = grid.centre(grid.voxel(index)) - middle;
            let wave = |a: usize, b: usize| (at[a] / 30.0 + phase).sin() * (at[b] / 40.0 - phase).cos();
            *u = (Vector3::new(wave(0, 1), wave(1, 2), wave(2, 0)) * (size_mm / 1.8)).cast();
        }
    });
    field
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn removed_and_residual_add_up_to_what_was_there_whatever_moves(
        phases in prop::collection::vec((0.0..6.0f64, 0.0..10.0f64, -12.0..12.0f64), 1..5),
    ) {
        let p = grown();
        let mut r = Resection::new(&p);
        let truth = &p.truth;
        let solid = |r: &Resection| (0..truth.grid.len()).filter(|i| r.state[*i] == SOLID && truth.labels[*i].core()).count();
        let (before, resectable, corridor) = (solid(&r), r.resectable.clone(), r.corridor_voxels);
        for (phase, size_mm, off) in phases {
            let field = bent(phase, size_mm);
            for n in 0..20 {
                let at = p.corridor.target + Vector3::new(off, f64::from(n) * 0.5 - 5.0, -off);
                r.remove(&p, &field, &tip_at(at), 8.0, &plain());
                r.touch(&p, &field, &tip_at(at), true);
            }
        }
        let core = r.journal.iter().filter(|i| truth.labels[**i as usize].core()).count();
        prop_assert_eq!(solid(&r) + core, before);
        let mut once = r.journal.clone();
        once.sort_unstable();
        once.dedup();
        prop_assert_eq!(once.len(), r.journal.len());
        prop_assert_eq!(r.journal.len(), r.state.iter().filter(|s| **s == REMOVED).count());
        // The denominator is the patient's.
        prop_assert_eq!(&r.resectable, &resectable);
        prop_assert_eq!(r.corridor_voxels, corridor);
    }

    #[test]
    fn the_instrument_meets_a_voxel_where_it_is_now(phase in 0.0..6.0f64, size_mm in 2.0..10.0f64, pick in 0_usize..4000) {
        let p = grown();
        let grid = &p.truth.grid;
        let core: Vec<usize> = (0..grid.len()).filter(|i| p.truth.labels[*i].core()).collect();
        let field = bent(phase, size_mm);
        let index = core[pick % core.len()];
        let rest = grid.centre(grid.voxel(index));
        let mut r = Resection::new(&p);
        r.remove(&p, &field, &tip_at(field.now(&rest)), 1.0, &plain());
        prop_assert_eq!(&r.journal, &vec![index as u32]);
        // Everything that one long bite takes lies within its reach now.
        r.remove(&p, &field, &tip_at(field.now(&rest)), 300.0, &plain());
        for voxel in &r.journal {
            let now = field.now(&grid.centre(grid.voxel(*voxel as usize)));
            prop_assert!(nalgebra::distance(&now, &field.now(&rest)) <= instrument::REACH_MM);
        }
        prop_assert!(r.journal.len() > 15, "{}", r.journal.len());
    }
}

fn moving() -> SharedWorld {
    theatre(WorldSettings { shift: ShiftSettings::default(), ..exact() })
}

#[test]
fn shift_alone_resects_nothing_and_opens_nothing() {
    let world = moving();
    let before = world.outcome();
    let field = world.lock().field().clone();
    assert!(field.largest_mm() > 1.0, "the shift of the first minutes is there at the start");
    world.advance(ms(5000));
    assert!(world.lock().field() != &field);
    assert_eq!(world.outcome(), before);
    assert!(before.extent_of_resection.abs() < 1e-12 && before.removed_ml.abs() < 1e-12);
    // The same denominators as without shift.
    let still = theatre(exact()).outcome();
    assert_eq!(before, still);
}

#[test]
fn vessels_and_eloquent_tissue_are_met_where_they_are_now() {
    let p = grown();
    let field = bent(1.0, 10.0);
    let wide = |v: &&bregma_core::flow::Capsule| v.radius_mm >= 0.5 && p.truth.grid.containing(&v.start).is_some();
    let far = |v: &&bregma_core::flow::Capsule| (field.now(&v.start) - v.start).norm() > 5.0;
    let vessel = p.vessels.iter().filter(wide).find(far).expect("a vessel that has moved");
    let mut r = Resection::new(&p);
    r.touch(&p, &field, &tip_at(field.now(&vessel.start)), false);
    assert!(r.violations >= 1);
    let index = (0..p.truth.grid.len()).find(|i| {
        let at = p.truth.grid.centre(p.truth.grid.voxel(*i));
        p.truth.eloquent_mm[*i] <= -0.5 && (field.now(&at) - at).norm() > 4.0
    });
    let at = p.truth.grid.centre(p.truth.grid.voxel(index.expect("eloquent tissue that has moved")));
    let mut r = Resection::new(&p);
    r.touch(&p, &field, &tip_at(field.now(&at)), false);
    assert!(r.violations >= 1);
}

#[test]
fn margins_are_compared_where_the_core_is_now() {
    let (world, p) = (moving(), grown());
    let field = world.lock().field().clone();
    let mut scene = Scene::empty();
    scene.grid = roi_grid(p.corridor.target);
    let signed = crate::distance::signed(p.truth.grid.dims, |i| p.truth.labels[i].core());
    let margin = |at: &Point3<f64>| p.truth.grid.sample(&signed, at, 10.0);
    let here = |i: usize| scene.grid.centre(scene.grid.voxel(i));
    // Distances at rest, carried along: wrong only by the strain between.
    let carried: Vec<f32> = (0..scene.grid.len()).map(|i| margin(&field.rest(&here(i)))).collect();
    let left_behind: Vec<f32> = (0..scene.grid.len()).map(|i| margin(&here(i))).collect();
    let places = world.truth_of(&scene).places;
    let errors = |of: &[f32]| -> Vec<f64> { places.iter().map(|p| p.error_mm(f64::from(of[p.voxel]))).collect() };
    let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
    let (right, wrong) = (errors(&carried), errors(&left_behind));
    let within = right.iter().filter(|e| **e < 1.3).count();
    assert!(right.len() > 300 && mean(&right) < 0.5 && within * 20 >= right.len() * 19, "{}", mean(&right));
    assert!(mean(&wrong) > 2.0 * mean(&right), "{} {}", mean(&wrong), mean(&right));
    for i in 0..scene.grid.len() {
        let at = p.truth.grid.containing(&field.rest(&scene.grid.centre(scene.grid.voxel(i))));
        scene.residual[i] = if at.is_some_and(|v| p.truth.labels[p.truth.grid.index(v)].core()) { 255 } else { 0 };
    }
    assert!((world.dice_residual(&scene) - 1.0).abs() < 1e-12);
}

#[test]
fn settings_outside_their_range_are_refused() {
    let refused = |shift| World::new(grown(), WorldSettings { shift, ..exact() }).is_err();
    assert!(refused(ShiftSettings { updates_hz: f64::NAN, ..ShiftSettings::default() }));
    assert!(refused(ShiftSettings { updates_hz: 1000.0, ..ShiftSettings::default() }));
    assert!(refused(ShiftSettings { start_minutes: [30.0, 10.0], ..ShiftSettings::default() }));
}
