//! The hand that removes tumour for learning, the truth that learning is given, and that both repeat.

use super::tests::{exact, ms, theatre};
use super::*;
use crate::patient::PatientSettings;
use crate::patient::tests::grown;
use crate::truth::SOLID;
use bregma_core::brain_shift::BrainShift;
use bregma_core::devices::{Camera, Instrument, Scanner, Tracker};
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::{Modality, VideoFrame, Volume, roi_grid};

fn still() -> BrainShift {
    BrainShift::still(Point3::origin())
}

fn moving() -> WorldSettings {
    WorldSettings { shift: ShiftSettings::default(), removal_rate_scale: 30.0, ..WorldSettings::default() }
}

fn rehearsing(seed: u64, settings: WorldSettings, until_ms: u64) -> SharedWorld {
    let world = theatre(settings);
    world.rehearse(seed);
    world.advance(ms(until_ms));
    world
}

#[test]
fn a_hand_removes_core_and_little_else_and_says_so() {
    let settings = WorldSettings { removal_rate_scale: 60.0, ..exact() };
    let world = rehearsing(3, settings, 400);
    let early = world.outcome();
    let (mut cut, mut off) = (0, 0);
    while !world.rehearsed() && world.now() < ms(40_000) {
        let now = world.now() + Duration::from_millis(200);
        let energy = world.instrument().state(now).expect("answers").energy;
        if energy.ultrasound { cut += 1 } else { off += 1 }
    }
    let late = world.outcome();
    assert!(world.rehearsed() && cut > 5 && off > 2, "cut {cut}, off {off}");
    assert!(late.residual_core_ml < early.residual_core_ml && late.removed_ml > early.removed_ml);
    let removed = early.residual_core_ml - late.residual_core_ml;
    assert!((world.removed_core_ml() - (early.core_ml - late.residual_core_ml)).abs() < 0.05 * early.core_ml);
    assert!(removed > 0.0 && removed <= world.removed_core_ml());
    // It leaves at most a ball of 9 mm alone, and stays near the core elsewhere.
    assert!(late.core_ml - late.residual_core_ml > late.core_ml - 3.3, "{late:?}");
    assert!(late.healthy_removed_ml < 0.5 * late.core_ml, "{late:?}");
    world.advance(world.now() + Duration::from_secs(2));
    let tip = world.lock().arm.true_tip.position().coordinates();
    assert!((tip - grown().craniotomy.centre).dot(&grown().craniotomy.outward) > 20.0, "it ends outside");
}

#[test]
fn a_hand_that_goes_astray_takes_healthy_tissue_and_leaves_core_or_takes_that_too_at_last() {
    let settings = WorldSettings { removal_rate_scale: 60.0, ..exact() };
    let ends = |seed: u64, astray_mm: f64| {
        let world = theatre(settings.clone());
        world.rehearse_astray(seed, &Vector3::new(0.0, astray_mm, 0.0));
        while !world.rehearsed() && world.now() < ms(80_000) {
            world.advance(world.now() + Duration::from_secs(1));
        }
        world.outcome()
    };
    let (exact, astray) = (ends(3, 0.0), [ends(3, 4.0), ends(4, 4.0), ends(5, 4.0), ends(6, 4.0)]);
    assert!(astray.iter().all(|end| end.overcut_ml > exact.overcut_ml + 0.1 * exact.core_ml));
    // Some see it and remove the rest, and some do not.
    let left: Vec<f64> = astray.iter().map(|end| end.residual_core_ml / end.core_ml).collect();
    let most = left.iter().copied().fold(0.0, f64::max);
    let least = left.iter().copied().fold(1.0, f64::min);
    assert!(most > 0.2 && least < 0.5 * most, "{left:?}");
}

/// The margin at one voxel, by looking at every other.
fn margin_by_hand(world: &World, grid: &Grid, index: usize) -> f32 {
    let holds = |at: &Point3<f64>| world.residual_now(at);
    let here = grid.centre(grid.voxel(index));
    let inside = holds(&here);
    let reach = 10_isize;
    let mut least = f64::INFINITY;
    for n in 0..(2 * reach + 1).pow(3) {
        let w = 2 * reach + 1;
        let step = [n % w - reach, n / w % w - reach, n / (w * w) - reach].map(|s| s as f64 * grid.spacing_mm);
        let at = here + Vector3::from(step);
        if holds(&at) != inside {
            least = least.min((at - here).norm());
        }
    }
    let mm = least - 0.5 * grid.spacing_mm;
    (if inside { -mm } else { mm }).clamp(-10.0, 10.0) as f32
}

#[test]
fn a_lesson_is_the_truth_where_tissue_is_now() {
    let world = rehearsing(5, moving(), 3000);
    let grid = roi_grid(grown().corridor.target);
    let lesson = world.lesson(&grid, &still());
    let inner = world.lock();
    let ml = lesson.residual_core.iter().filter(|c| **c > 0).count() as f64 * grid.voxel_ml();
    let outcome = inner.patient.core_ml();
    assert!(ml > 0.5 && ml < outcome, "{ml} of {outcome} mL");
    assert!((ml / world_residual_ml(&inner) - 1.0).abs() < 0.1, "{ml} against {}", world_residual_ml(&inner));
    for index in (0..grid.len()).step_by(7919) {
        let now = grid.centre(grid.voxel(index));
        let moved = Vector3::from(std::array::from_fn::<f32, 3, _>(|a| lesson.displacement[a * grid.len() + index]));
        let rest = now - moved.cast::<f64>();
        assert!((rest - inner.field().rest(&now)).norm() < 1e-4);
        let by_hand = margin_by_hand(&inner, &grid, index);
        assert!((lesson.tumour_margin[index] - by_hand).abs() < 1e-4, "{} {by_hand}", lesson.tumour_margin[index]);
        assert_eq!(lesson.residual_core[index] > 0, lesson.tumour_margin[index] < 0.0);
        assert_eq!(lesson.residual_core[index] > 0, matches!(lesson.residual[index], 1 | 4));
        let state = inner
            .patient
            .truth
            .grid
            .containing(&rest)
            .map(|v| inner.resection.state[inner.patient.truth.grid.index(v)]);
        assert!(lesson.cavity[index] == 0 || state != Some(SOLID));
    }
    let count = |kind: u8| lesson.residual.iter().filter(|r| **r == kind).count();
    assert!(count(2) > 1000 && count(4) > 300, "{} infiltrated, {} enhancing", count(2), count(4));
    let farthest = lesson.displacement.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    assert!((0.3..30.0).contains(&farthest), "{farthest} mm");
    assert!(lesson.cavity.iter().filter(|c| **c > 0).count() > 300);
}

fn world_residual_ml(world: &World) -> f64 {
    let truth = &world.patient.truth;
    let left = |i: &usize| world.resection.state[*i] == SOLID && truth.labels[*i].core();
    (0..truth.grid.len()).filter(left).count() as f64 * 1e-3
}

#[test]
fn a_grid_beside_the_core_still_knows_how_far_that_is() {
    let world = theatre(exact());
    let target = grown().corridor.target;
    let far = world.lesson(&roi_grid(target + Vector3::x() * 500.0), &still());
    assert!(far.tumour_margin.iter().all(|m| *m >= MARGIN_MAX_MM) && far.residual_core.iter().all(|c| *c == 0));
    assert!(far.displacement.iter().all(|d| d.abs() < 1e-6));
    // The core's edge is somewhere within 36 mm of its middle; this grid begins within its reach or in it.
    let near = world.lesson(&Grid { dims: [8; 3], spacing_mm: 1.25, origin: target.coords.into() }, &still());
    assert!(near.tumour_margin.iter().any(|m| *m < MARGIN_MAX_MM));
}

#[test]
fn before_anything_is_opened_or_moves_the_patient_is_what_her_theatre_is_later() {
    let patient = grown();
    let grid = roi_grid(patient.corridor.target);
    let (before, later) = (patient.lesson(&grid), theatre(exact()).lesson(&grid, &still()));
    assert!(before.cavity.iter().all(|c| *c == 0) && before.displacement.iter().all(|d| *d == 0.0));
    for i in 0..grid.len() {
        assert!(before.residual[i] == later.residual[i] || later.cavity[i] == 1, "{i}");
        assert_eq!(before.residual_core[i] > 0, before.tumour_margin[i] < 0.0);
        assert!(before.tumour_margin[i] <= later.tumour_margin[i] + 1e-6, "opening takes nothing nearer");
    }
}

fn add_volume(digester: &mut Digester, volume: &Volume) {
    digester.sizes(&volume.dims).u64(volume.intensities.len() as u64);
    volume.intensities.iter().for_each(|v| {
        digester.u64(u64::from(v.to_bits()));
    });
}

/// A patient's first second in a theatre, with everything that anybody can see of it.
fn everything(patient: &Arc<Patient>, kind: WorldKind) -> Digest {
    let (microscope, picture_px) = (MicroscopeSettings::home(), [160, 90]);
    let settings = WorldSettings { world: kind, microscope, picture_px, ..moving() };
    let world = World::new(Arc::clone(patient), settings).expect("within range");
    world.rehearse(11);
    let mut digester = Digester::new("test");
    digester.digest(&patient.digest()).digest(&patient.anatomy().digest);
    for modality in [Modality::T1c, Modality::Mra] {
        add_volume(&mut digester, &patient.scan(modality));
    }
    let (mut camera, mut tracker) = (world.camera(), world.tracker());
    let mut frame = VideoFrame::black(160, 90);
    for n in 1..=5 {
        let now = ms(n * 200);
        if let Some(tip) = tracker.poll(now).expect("answers") {
            digester.f64s(&tip.reference_from_tip.value.translation_mm());
        }
        camera.grab(now, &mut frame).expect("answers");
        digester.bytes(&frame.rgb);
        let (_, moved) = world.displacements();
        moved.iter().flat_map(|u| u.iter()).for_each(|v| {
            digester.u64(u64::from(v.to_bits()));
        });
        let lesson = world.lesson(&roi_grid(patient.corridor.target), &still());
        digester.bytes(&lesson.residual_core).bytes(&lesson.cavity);
        lesson.tumour_margin.iter().chain(&lesson.displacement).for_each(|v| {
            digester.u64(u64::from(v.to_bits()));
        });
    }
    if let Ok(scans) = world.scanner().scan(ms(1004)) {
        scans.iter().for_each(|scan| add_volume(&mut digester, scan));
    }
    digester.finish()
}

#[test]
fn the_same_seed_gives_the_same_bytes_in_two_threads_at_once() {
    let again = || Arc::new(Patient::grow(2, &PatientSettings::default()).expect("grows"));
    let (one, two) = std::thread::scope(|scope| {
        let other = scope.spawn(|| everything(&again(), WorldKind::Home));
        (everything(&grown(), WorldKind::Home), other.join().expect("no panic"))
    });
    assert_eq!(one, two);
}

#[test]
fn a_lesson_follows_what_is_believed_of_the_shift() {
    let world = theatre(moving());
    world.advance(ms(500));
    let patient = grown();
    let target = patient.corridor.target;
    let inner = world.lock();
    let mut right = still();
    let nodes = bregma_core::brain_shift::shift_grid(target);
    right.set(target, |node| {
        let rest = nodes.centre(nodes.voxel(node));
        (inner.field().now(&rest) - rest, 0.5)
    });
    drop(inner);
    assert!(right.largest_mm() > 1.0, "{}", right.largest_mm());
    let grid = roi_grid(target);
    // Who believes right sees the scan's labels where the scan shows them.
    let at_rest = |lesson: &Lesson| {
        let wrong = (0..grid.len()).filter(|i| {
            let voxel = patient.truth.grid.containing(&grid.centre(grid.voxel(*i)));
            let core = voxel.is_some_and(|v| {
                let i = patient.truth.grid.index(v);
                patient.truth.labels[i].core() && world.lock().resection.state[i] == SOLID
            });
            core != (lesson.residual_core[*i] > 0)
        });
        wrong.count()
    };
    let (follows, ignores) = (at_rest(&world.lesson(&grid, &right)), at_rest(&world.lesson(&grid, &still())));
    assert!(3 * follows < ignores, "{follows} voxels are wrong, {ignores} of who ignores the shift");
}
