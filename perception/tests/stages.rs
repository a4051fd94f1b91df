//! Align and perceive together, on a hand-made theatre.

#[path = "stages/brain_shift.rs"]
mod brain_shift;
#[path = "stages/failing_device.rs"]
mod failing_device;
#[path = "stages/interval.rs"]
mod interval;
mod theatre;

use bregma_core::flow::{Energy, Light, Scene, voxel};
use bregma_core::frame::FrameId;
use bregma_core::topic::Numbered;
use bregma_core::{Millimetres, Stage};
use bregma_perception::align;
use bregma_perception::perceive;
use nalgebra::Point3;
use std::sync::Arc;
use theatre::{CORE_MM, Theatre, at, picture};

const DARK: [u8; 3] = [0; 3];

fn margin_at(scene: &Scene, x: f64, y: f64, z: f64) -> f64 {
    scene.margin_mm(index(scene, x, y, z))
}

fn index(scene: &Scene, x: f64, y: f64, z: f64) -> usize {
    scene.grid.index(scene.grid.containing(&Point3::new(x, y, z)).expect("inside the region"))
}

/// The tip goes through the shell, right across.
fn cut(theatre: &mut Theatre, energy: Energy) {
    let path: Vec<(u64, [f64; 3])> = (0..=20).map(|n| (n * 50, [0.0, 0.0, -12.0 + n as f64])).collect();
    theatre.moves(energy, &path);
}

#[test]
fn the_shell_and_its_dark_centre_are_the_core() {
    let scene = Theatre::new().scene(picture(40, Light::White, DARK));
    let (mut both, mut ours, mut truth) = (0, 0, 0);
    for i in 0..scene.residual.len() {
        let c = scene.grid.centre(scene.grid.voxel(i));
        let core = c.coords.norm() < CORE_MM && scene.state[i] & voxel::CAVITY == 0;
        let found = scene.margin[i] < 0;
        both += usize::from(core && found);
        ours += usize::from(found);
        truth += usize::from(core);
    }
    let dice = 2.0 * both as f64 / (ours + truth) as f64;
    assert!(dice > 0.95, "Dice {dice}");
    assert!((scene.residual_ml - ours as f64 * scene.grid.voxel_ml()).abs() < 1e-9);
    assert!(margin_at(&scene, 0.0, 0.0, 0.0) < -7.0);
    assert!((margin_at(&scene, 20.0, 0.0, 0.0) - 5.0).abs() < 1.25);
    let coarse: f64 = scene.coarse_residual.iter().map(|s| f64::from(*s) / 255.0 * scene.coarse_grid.voxel_ml()).sum();
    assert!((coarse - scene.residual_ml).abs() < 0.1, "{coarse} mL in the coarse map");
    assert_eq!(scene.digest, scene.digest_of_bytes());
}

#[test]
fn what_the_energised_tip_sweeps_is_gone_and_what_it_touches_without_energy_stays() {
    let mut theatre = Theatre::new();
    let before = theatre.scene(picture(0, Light::White, DARK));
    cut(&mut theatre, Energy::OFF);
    let idle = theatre.scene(picture(1000, Light::White, DARK));
    assert_eq!(before.margin, idle.margin);
    let mut theatre = Theatre::new();
    theatre.scene(picture(0, Light::White, DARK));
    cut(&mut theatre, Energy::CUT);
    let after = theatre.scene(picture(1000, Light::White, DARK));
    // The tip runs between voxel centres: 12 of them, 18.8 mm², lie within 2 mm of its path of 20 mm.
    let gone_ml = before.residual_ml - after.residual_ml;
    assert!((0.25..0.45).contains(&gone_ml), "{gone_ml} mL gone");
    let middle = index(&after, 0.0, 0.0, 0.0);
    assert_eq!(after.state[middle] & voxel::CAVITY, voxel::CAVITY);
    assert_eq!(after.residual[middle], 0);
    assert!(after.margin[middle] > 0 && before.margin[middle] < 0);
    assert_eq!(after.id.0, 2);
    let error = after.errors;
    assert_eq!((error.registration, error.calibration), (Millimetres::constant(0.6), Millimetres::constant(0.5)));
    assert!(error.shift.get() > 0.0 && (error.tracking.get() - 0.4).abs() < 1e-9);
}

#[test]
fn fluorescence_raises_what_is_seen_and_its_absence_lowers_it() {
    let look = |light, rgb| {
        let mut theatre = Theatre::new();
        theatre.scene(picture(40, light, rgb))
    };
    let nothing = look(Light::White, DARK);
    let plain = look(Light::White, [150, 110, 100]);
    let red = look(Light::Violet, [200, 30, 30]);
    let blue = look(Light::Violet, [20, 20, 150]);
    let seen: Vec<usize> = (0..plain.state.len()).filter(|i| plain.state[*i] & voxel::VISIBLE != 0).collect();
    assert!(seen.len() > 80, "{} wall voxels seen", seen.len());
    assert!(nothing.state.iter().all(|s| s & voxel::VISIBLE == 0) && nothing.seen_age_s.iter().all(|s| *s == 255));
    assert!(seen.iter().all(|i| plain.state[*i] & voxel::WALL != 0 && plain.seen_age_s[*i] == 0));
    assert_eq!(plain.residual, nothing.residual);
    assert!(seen.iter().all(|i| blue.residual[*i] <= plain.residual[*i] && plain.residual[*i] <= red.residual[*i]));
    assert!(blue.residual_ml < plain.residual_ml - 0.02, "{} mL, {} mL", blue.residual_ml, plain.residual_ml);
    let unseen = index(&plain, 0.0, 0.0, 5.0);
    assert_eq!(blue.residual[unseen], plain.residual[unseen]);
}

#[test]
fn evidence_is_remembered_and_ages_and_a_new_scan_forgets_it() {
    let mut theatre = Theatre::new();
    let blue = theatre.scene(picture(0, Light::Violet, [20, 20, 150]));
    let later = theatre.scene(picture(100_000, Light::Violet, DARK));
    let seen = (0..blue.state.len()).find(|i| blue.state[*i] & voxel::VISIBLE != 0 && blue.residual[*i] > 40);
    let seen = seen.expect("core is seen");
    assert_eq!(later.seen_age_s[seen], 100);
    assert!(later.residual[seen] > blue.residual[seen]);
    let fresh = Theatre::new().scene(picture(0, Light::White, DARK));
    assert!(later.residual[seen] < fresh.residual[seen]);
    theatre.align_in.volumes.set([Numbered { number: 2, value: Arc::new(theatre::volume()) }]);
    let forgotten = theatre.scene(picture(100_040, Light::Violet, DARK));
    assert_eq!((forgotten.residual[seen], forgotten.seen_age_s[seen]), (fresh.residual[seen], 255));
}

#[test]
fn no_picture_is_evidence_while_the_instrument_is_out_of_sight() {
    let mut theatre = Theatre::new();
    theatre.moves(Energy::OFF, &[(0, [0.0, 0.0, -60.0])]);
    let with_tip = theatre.scene(picture(0, Light::Violet, [20, 20, 150]));
    assert!(with_tip.state.iter().any(|s| s & voxel::VISIBLE != 0));
    let lost = theatre.aligned(picture(2000, Light::Violet, [200, 30, 30])).expect("works").expect("a frame");
    assert_eq!((lost.patient_from_tip, lost.errors.tracking), (None, Millimetres::constant(2.0)));
    let lost = theatre.perceived(lost).expect("works").expect("a scene");
    assert!(lost.state.iter().all(|s| s & voxel::VISIBLE == 0));
}

#[test]
fn eloquent_tissue_and_vessels_are_forbidden_with_their_margin() {
    let scene = Theatre::new().scene(picture(0, Light::White, DARK));
    let forbidden = |x, y, z| scene.state[index(&scene, x, y, z)] & voxel::FORBIDDEN != 0;
    // Total error: hypot(0.6, 0.5, 2.0) = 2.15 mm; with 1 mm of inflation 3.15 mm.
    assert!(forbidden(25.0, 0.0, 0.0) && forbidden(28.0, 0.0, 0.0) && !forbidden(32.0, 0.0, 0.0));
    assert!(forbidden(-25.0, 0.0, 0.0) && forbidden(-25.0, 0.0, 3.8) && !forbidden(-25.0, 0.0, 6.5));
    assert!(!forbidden(0.0, 0.0, 0.0));
}

#[test]
fn what_is_in_another_frame_is_refused_by_name() {
    let other = FrameId::of_uid("1.2.3");
    let mut theatre = Theatre::new();
    let mut scan = theatre::volume();
    scan.frame = other;
    theatre.align_in.volumes.set([Numbered { number: 1, value: Arc::new(scan) }]);
    let why = theatre.aligned(picture(0, Light::White, DARK)).expect_err("another scan's frame");
    let (frame, anatomy) = (other.0, FrameId::SOLE.0);
    assert_eq!(why, align::Fault::FrameDiffers { what: "the T1c scan", frame, anatomy });
    assert!(why.to_string().contains(&format!("{frame:016x}")));

    let mut theatre = Theatre::new();
    let mut registration = theatre::registration();
    registration.patient_from_reference = registration.patient_from_reference.claimed_between(other, FrameId::SOLE);
    theatre.align_in.registration.set(2, registration);
    let why = theatre.aligned(picture(0, Light::White, DARK)).expect_err("another scan's registration");
    assert_eq!(why, align::Fault::FrameDiffers { what: "the registration", frame, anatomy });

    let mut theatre = Theatre::new();
    let frame_of_ours = theatre.aligned(picture(0, Light::White, DARK)).expect("works").expect("a frame");
    let mut anatomy_elsewhere = theatre::anatomy();
    anatomy_elsewhere.frame = other;
    theatre.perceive_in.anatomy.set(2, Arc::new(anatomy_elsewhere));
    let why = theatre.perceived(frame_of_ours).expect_err("another scan's anatomy");
    let (frame, anatomy) = (FrameId::SOLE.0, other.0);
    assert_eq!(why, perceive::Fault::FrameDiffers { what: "the region of interest", frame, anatomy });
}

#[test]
fn a_registration_that_ended_and_a_picture_of_another_camera_are_refused() {
    let mut theatre = Theatre::new();
    let late = theatre.aligned(picture(3_600_001, Light::White, DARK)).expect_err("expired");
    assert_eq!(late, align::Fault::RegistrationExpired { expired: at(3_600_000), now: at(3_600_001) });
    let small = Arc::new(bregma_core::flow::VideoFrame::black(320, 180));
    let why = Theatre::new().aligned(small).expect_err("another size").to_string();
    assert!(why.contains("320 x 180") && why.contains("[640, 360]"), "{why}");
}

#[test]
fn nothing_comes_without_a_new_picture() {
    let mut theatre = Theatre::new();
    assert!(theatre.aligned(picture(0, Light::White, DARK)).expect("works").is_some());
    theatre.align_in.frame.keep();
    let mut out = None;
    theatre.align.step(at(1), &theatre.align_in, &mut out).expect("works");
    assert!(out.is_none());
}

#[test]
fn same_input_same_bytes() {
    let run = || {
        let mut theatre = Theatre::new();
        let mut digests = vec![theatre.scene(picture(0, Light::Violet, [120, 40, 60])).digest];
        cut(&mut theatre, Energy::CUT);
        digests.extend([1000, 1040].map(|ms| theatre.scene(picture(ms, Light::Violet, [30, 30, 120])).digest));
        digests
    };
    let first = run();
    assert_eq!(first, run());
    assert_ne!(first[1], first[2]);
}
