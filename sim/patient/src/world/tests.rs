//! The theatre, driven through its devices and scored by its truth.

use super::*;
use crate::microscope::render::Renderer;
use crate::patient::tests::grown;
use crate::truth::Label;
use crate::truth::{REMOVED, SOLID};
use bregma_core::arm::{ArmModel, ArmModelId, Ik, Joints};
use bregma_core::devices::{Arm, Camera, EnablingInput, Instrument, Scanner, Tracker};
use bregma_core::flow::{GateState, Scene, Sent, Sequence, TrackingStatus, VideoFrame, roi_grid, voxel};

pub(super) fn exact() -> WorldSettings {
    WorldSettings::default().without_errors()
}

pub(super) fn theatre(settings: WorldSettings) -> SharedWorld {
    World::new(grown(), settings).expect("settings are within range")
}

pub(super) fn ms(n: u64) -> Instant {
    Instant::START + Duration::from_millis(n)
}

fn sent(joints: Joints, now: Instant) -> Sent {
    Sent {
        state: GateState::Active,
        joints,
        energy: Energy::OFF,
        approval: Some(Sequence(7)),
        retracting: false,
        finished: Sequence(0),
        consent: None,
        reason: None,
        sent: now,
    }
}

/// Takes everything alike.
pub(super) fn plain() -> Aspirator {
    Aspirator::new(&grown(), &InstrumentSettings::plain())
}

/// Nothing moves.
pub(super) fn still() -> Field {
    Field::still(bregma_core::grid::Grid { dims: [2; 3], spacing_mm: 100.0, origin: [0.0; 3] })
}

/// The tip at a point, pointing down the corridor.
pub(super) fn tip_at(at: Point3<f64>) -> TipInPatient {
    let p = grown();
    let turn = UnitQuaternion::rotation_between(&Vector3::z(), &-p.craniotomy.outward).unwrap_or_default();
    Pose::between(p.frame(), FrameId::SOLE, Isometry3::from_parts(Translation3::from(at.coords), turn)).expect("finite")
}

#[test]
fn at_rest_the_tip_stands_outside_the_craniotomy_and_looks_down_the_corridor() {
    let (world, p) = (theatre(exact()), grown());
    let mount = world.arm_mount();
    let arm = ArmModel::new(ArmModelId::LbrMed7);
    let tip = mount.patient_from_arm_base * arm.forward(&arm.rest()) * mount.flange_from_tip;
    let corridor = p.corridor;
    let axis = (corridor.target - corridor.entry).normalize();
    assert!((tip.z_axis() - axis).norm() < 1e-9);
    let from_centre = tip.position().coordinates() - p.craniotomy.centre;
    assert!((from_centre + axis * 30.0).norm() < 1e-9);
    // The base and the column above it stand clear of the head.
    let base = mount.patient_from_arm_base.isometry();
    for height in [0.0, 170.0, 340.0] {
        assert!(p.head.depth_mm(&(base * Point3::new(0.0, 0.0, height))) <= -29.0);
    }
    // The target is within reach by inverse kinematics.
    let at = tip_at(corridor.target);
    let upright = Isometry3::from_parts(Translation3::from(at.isometry().translation.vector), tip.isometry().rotation);
    let upright: TipInPatient = Pose::between(p.frame(), FrameId::SOLE, upright).expect("finite");
    let flange = mount.patient_from_arm_base.inverse() * upright * mount.flange_from_tip.inverse();
    assert!(arm.inverse(&flange, &arm.rest(), &Ik::SEARCH).is_ok());
}

#[test]
fn the_calibrated_mount_is_wrong_by_as_much_as_it_says() {
    let (right, wrong) = (theatre(exact()), theatre(WorldSettings::default()));
    assert_eq!(right.arm_mount(), wrong.arm_mount());
    let tip = |w: &SharedWorld| w.lock().arm.true_tip.position();
    let off = tip(&right).distance(&tip(&wrong)).get();
    assert!((0.02..1.5).contains(&off), "{off} mm");
    let registration = wrong.registration();
    assert!((registration.predicted_tre.get() - 0.7).abs() < 1e-12);
    let (a, b) = (right.registration().patient_from_reference, registration.patient_from_reference);
    let target = grown().corridor.target;
    let missed = (b.isometry() * a.isometry().inverse() * target - target).norm();
    assert!((0.01..2.5).contains(&missed), "{missed} mm");
}

#[test]
fn the_arm_follows_within_a_step_and_its_speed_and_logs_it() {
    let world = theatre(exact());
    let mut arm = world.arm();
    let mut joints = arm.state(ms(0)).expect("answers").joints;
    joints.as_mut_slice()[0] += 0.001;
    arm.command(ms(0), &sent(joints, ms(0))).expect("takes it");
    assert_eq!(arm.state(ms(4)).expect("answers").joints, joints);
    // 98 °/s · 4 ms = 0.00684 rad: a jump takes several steps.
    joints.as_mut_slice()[0] += 0.02;
    arm.command(ms(4), &sent(joints, ms(4))).expect("takes it");
    assert!(arm.state(ms(8)).expect("answers").joints.distance(&joints) > 0.013);
    assert!(arm.state(ms(16)).expect("answers").joints.distance(&joints) < 1e-12);
    let log = world.arm_log();
    assert!(log.iter().filter(|l| l.moved).all(|l| l.approval == Some(Sequence(7))));
    assert_eq!(log.iter().filter(|l| l.moved).count(), 4);
    assert!(arm.command(ms(16), &sent(Joints::zeros(6), ms(16))).is_err());
    let outside = Joints::from_slice(&[9.0; 7]).expect("finite");
    assert!(arm.command(ms(16), &sent(outside, ms(16))).is_err());
}

#[test]
fn all_joints_of_a_late_command_arrive_together() {
    let world = theatre(exact());
    let mut arm = world.arm();
    let start = arm.state(ms(0)).expect("answers").joints;
    arm.command(ms(0), &sent(start, ms(0))).expect("takes it");
    let mut joints = start;
    for (i, off) in [0.05, -0.01, 0.0, 0.02].into_iter().enumerate() {
        joints.as_mut_slice()[i] += off;
    }
    let mut before = 0.0;
    for n in 1..=7 {
        arm.command(ms(4 * n - 4), &sent(joints, ms(4 * n - 4))).expect("takes it");
        let now = arm.state(ms(4 * n)).expect("answers").joints;
        let gone = |i: usize| (now.as_slice()[i] - start.as_slice()[i]) / (joints.as_slice()[i] - start.as_slice()[i]);
        assert!((gone(1) - gone(0)).abs() < 1e-9 && (gone(3) - gone(0)).abs() < 1e-9, "off the straight way");
        assert!(gone(0) > before);
        before = gone(0);
    }
    assert!(before < 1.0 && arm.state(ms(32)).expect("answers").joints == joints, "eight steps of 98 °/s");
}

#[test]
fn without_commands_the_arm_holds_with_the_energy_off() {
    let world = theatre(exact());
    let (mut arm, mut console) = (world.arm(), world.instrument());
    let mut joints = arm.state(ms(0)).expect("answers").joints;
    arm.command(ms(0), &sent(joints, ms(0))).expect("takes it");
    assert!(arm.state(ms(0)).expect("answers").ready, "it follows once it is told to stand where it stands");
    joints.as_mut_slice()[3] += 1.0;
    arm.command(ms(0), &sent(joints, ms(0))).expect("takes it");
    console.energise(ms(0), Energy::CUT).expect("switches");
    world.advance(ms(20));
    assert_eq!(world.arm_log().last().expect("moved").energy, Energy::CUT);
    let stopped = arm.state(ms(40)).expect("answers").joints;
    let last = *world.arm_log().last().expect("moved");
    assert_eq!((last.event, last.energy), (ArmEvent::Watchdog, Energy::OFF));
    assert!((ms(30)..=ms(36)).contains(&last.time), "{}", last.time);
    assert_eq!(arm.state(ms(400)).expect("answers").joints, stopped);
    assert!(stopped.distance(&joints) > 0.5);
    // A command that goes on from somewhere else is not followed: the way there would be nobody's path.
    arm.command(ms(396), &sent(joints, ms(396))).expect("heard");
    let state = arm.state(ms(400)).expect("answers");
    assert!(!state.ready && state.joints == stopped);
    arm.command(ms(400), &sent(stopped, ms(400))).expect("takes it");
    assert!(world.arm_log().iter().any(|l| l.event == ArmEvent::Resumed && l.time == ms(400)));
    let zero = WorldSettings { arm_watchdog: Duration::ZERO, ..exact() };
    assert!(World::new(grown(), zero).is_err(), "a watchdog cannot be 0");
}

#[test]
fn what_happened_does_not_depend_on_how_calls_divide_the_time() {
    let run = |every: u64| {
        let world = theatre(WorldSettings { dropouts_per_minute: 30.0, ..WorldSettings::default() });
        let (mut arm, mut tracker) = (world.arm(), world.tracker());
        let rest = arm.state(ms(0)).expect("answers").joints;
        let mut poses = Vec::new();
        for t in (0..2000).step_by(every as usize) {
            if t % 20 == 0 {
                let mut joints = rest;
                joints.as_mut_slice()[6] += t as f64 * 1e-4;
                arm.command(ms(t), &sent(joints, ms(t))).expect("takes it");
            }
            if t % 20 == 0 {
                poses.extend(tracker.poll(ms(t)).expect("answers"));
            }
            world.advance(ms(t));
        }
        world.advance(ms(2000));
        (world.arm_log(), poses)
    };
    let (a, b) = (run(4), run(20));
    assert!(!a.0.is_empty() && a.1.len() > 50);
    assert!(a == b);
}

#[test]
fn the_tracker_lags_is_noisy_and_says_when_it_is_blind() {
    let world = theatre(WorldSettings { dropouts_per_minute: 40.0, ..WorldSettings::default() });
    let (mut tracker, registration) = (world.tracker(), world.registration());
    let truth = world.lock().arm.true_tip;
    let (mut valid, mut lost, mut errors) = (0, 0, Vec::new());
    for t in (0..10_000).step_by(5) {
        let Some(pose) = tracker.poll(ms(t)).expect("answers") else { continue };
        let stamped = pose.reference_from_tip;
        assert!(pose.received <= ms(t) && pose.received == stamped.captured + Duration::from_millis(20));
        match pose.status {
            TrackingStatus::Valid => {
                valid += 1;
                let said = registration.patient_from_reference * stamped.value;
                errors.push(said.position().distance(&truth.position()).get());
            }
            TrackingStatus::LineOfSightLost => lost += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(valid + lost > 390 && lost > 8 && valid > 100, "{valid} valid, {lost} lost");
    // 0.3 mm along each axis, and a constant registration error; 120 mm from the target its turn adds to it.
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    assert!((0.3..2.5).contains(&mean), "{mean} mm");
}

#[test]
fn removal_conserves_volume_and_keeps_to_its_rate() {
    let p = grown();
    let mut r = Resection::new(&p);
    let core = |i: &usize| p.truth.labels[*i].core();
    let before = (0..p.truth.grid.len()).filter(|i| core(i) && r.state[*i] == SOLID).count();
    let axis = -p.craniotomy.outward;
    // 2 s at 80 mm³/s while the tip goes from the near surface 8 mm into the core.
    for n in 0..500 {
        let at = p.corridor.entry + axis * (p.corridor.open_mm + 8.0 * f64::from(n) / 500.0);
        r.remove(&p, &still(), &tip_at(at), 80.0 * STEP.secs_f64(), &plain());
    }
    assert!(r.journal.len() <= 160 && r.journal.len() > 60, "{} mm³", r.journal.len());
    let removed = |what: &dyn Fn(usize) -> bool| r.journal.iter().filter(|i| what(**i as usize)).count();
    let after = (0..p.truth.grid.len()).filter(|i| core(i) && r.state[*i] == SOLID).count();
    assert_eq!(before - after, removed(&|i| core(&i)));
    assert_eq!(r.journal.len(), r.state.iter().filter(|s| **s == REMOVED).count());
    let mut once = r.journal.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), r.journal.len(), "no voxel is removed twice");
    assert_eq!(r.overcut_voxels, removed(&|i| p.truth.labels[i].tissue() && r.initial_mm[i] > 2.0));
    assert_eq!((r.violations, r.eloquent_voxels), (0, 0));
}

#[test]
fn entering_a_forbidden_structure_counts_once_until_it_is_left() {
    let p = grown();
    let mut r = Resection::new(&p);
    let truth = &p.truth;
    // Eloquent tissue on the way to which the shaft passes no wide vessel: that would count for itself.
    let passes_no_vessel = |i: &usize| {
        let tip = tip_at(truth.grid.centre(truth.grid.voxel(*i)));
        let along = (0..100).map(|mm| tip.position().coordinates() - tip.z_axis() * f64::from(mm));
        along.map_while(|at| truth.grid.containing(&at)).all(|v| truth.vessel_mm[truth.grid.index(v)] > 5.0)
    };
    let eloquent = (0..truth.grid.len())
        .find(|i| truth.eloquent_mm[*i] <= -0.5 && passes_no_vessel(i))
        .expect("eloquent tissue near the tumour");
    let inside = tip_at(truth.grid.centre(truth.grid.voxel(eloquent)));
    let outside = tip_at(p.craniotomy.centre + p.craniotomy.outward * 20.0);
    for _ in 0..3 {
        r.touch(&p, &still(), &inside, false);
    }
    assert_eq!(r.violations, 1);
    r.touch(&p, &still(), &outside, false);
    r.touch(&p, &still(), &inside, false);
    assert_eq!(r.violations, 2);
    let in_grid = |v: &&bregma_core::flow::Capsule| truth.grid.containing(&v.start).is_some();
    let wide = p.vessels.iter().filter(|v| v.radius_mm >= 0.5).find(in_grid).expect("a vessel near the tumour");
    let mut r = Resection::new(&p);
    r.touch(&p, &still(), &tip_at(wide.start), false);
    assert!(r.violations >= 1 && r.bleeding == 0);
    let thin = p.vessels.iter().filter(|v| v.radius_mm < 0.5).find(in_grid).expect("a thin vessel near the tumour");
    r.touch(&p, &still(), &tip_at(thin.start), false);
    assert_eq!(r.bleeding, 0, "without energy nothing is cut");
    r.touch(&p, &still(), &tip_at(thin.start), true);
    let first = r.bleeding;
    r.touch(&p, &still(), &tip_at(thin.start), true);
    assert!(first >= 1 && r.bleeding == first);
}

#[test]
fn the_picture_shows_a_voxel_where_the_calibration_says() {
    let (world, p) = (theatre(exact()), grown());
    let calibration = world.camera_calibration();
    let mut camera = world.camera();
    let mut frame = VideoFrame::black(640, 360);
    camera.grab(ms(0), &mut frame).expect("a picture");
    // Open three voxels of the corridor's floor and see which pixels change.
    let centre = calibration.centre_px.map(|c| c as usize);
    let floor = {
        let state = world.lock().resection.state.clone();
        let renderer = Renderer::new(p.clone(), calibration, Light::Violet, state);
        renderer.sees(centre[1] * 640 + centre[0]).expect("the axis meets tissue")
    };
    let mut removed = world.lock().resection.state.clone();
    removed[floor] = REMOVED;
    let before = Renderer::new(p.clone(), calibration, Light::Violet, world.lock().resection.state.clone());
    let after = Renderer::new(p.clone(), calibration, Light::Violet, removed);
    let changed: Vec<usize> =
        (0..640 * 360).filter(|i| before.sees(*i) == Some(floor) && after.sees(*i) != Some(floor)).collect();
    let (u, v, _) = calibration.project(&p.truth.grid.centre(p.truth.grid.voxel(floor))).expect("in front");
    let mean = |f: fn(usize) -> usize| changed.iter().map(|i| f(*i) as f64).sum::<f64>() / changed.len() as f64;
    // A voxel is 13 pixels wide; parts of it may be hidden by its neighbours.
    assert!(changed.len() > 40, "{} pixels", changed.len());
    assert!((mean(|i| i % 640) - u).abs() < 8.0 && (mean(|i| i / 640) - v).abs() < 8.0);
    // Most of what is enhancing glows red, most of what is healthy does not.
    assert_eq!((frame.width, frame.height, frame.light), (640, 360, Light::Violet));
    let red = |of: &dyn Fn(usize) -> bool| {
        let shown: Vec<usize> = (0..640 * 360).filter(|i| before.sees(*i).is_some_and(of)).collect();
        assert!(shown.len() > 400, "{} pixels", shown.len());
        shown.iter().filter(|i| frame.rgb[3 * **i] > 90).count() as f64 / shown.len() as f64
    };
    let enhancing = red(&|voxel| p.truth.labels[voxel] == Label::Enhancing);
    let healthy = red(&|voxel| p.truth.labels[voxel].tissue() && p.truth.density[voxel] < 0.2);
    assert!(enhancing > 0.5 && healthy < 0.3, "{enhancing} of enhancing, {healthy} of healthy tissue glow");
}

#[test]
fn a_picture_kept_up_to_date_is_the_picture_made_anew() {
    let (world, p) = (theatre(exact()), grown());
    let state = world.lock().resection.state.clone();
    let camera = world.camera_calibration();
    let mut kept = Renderer::new(p.clone(), camera, Light::White, state.clone());
    let mut resection = Resection::new(&p);
    for n in 0..200 {
        let at = p.corridor.entry - p.craniotomy.outward * (p.corridor.open_mm + 4.0 * f64::from(n) / 200.0);
        let from = resection.journal.len();
        resection.remove(&p, &still(), &tip_at(at), 2.0, &plain());
        kept.open(&resection.journal[from..]);
    }
    let anew = Renderer::new(p.clone(), camera, Light::White, resection.state.clone());
    let untouched = Renderer::new(p.clone(), camera, Light::White, state);
    let pictures = [&kept, &anew, &untouched].map(|r| {
        let mut frame = VideoFrame::black(640, 360);
        r.picture(&tip_at(p.corridor.entry), ms(40), &mut frame);
        frame.rgb
    });
    assert!(pictures[0] == pictures[1]);
    assert!(pictures[0] != pictures[2]);
}

#[test]
fn the_score_before_and_after_a_perfect_resection() {
    let (world, p) = (theatre(exact()), grown());
    let before = world.outcome();
    assert!((before.core_ml - p.core_ml()).abs() < 1e-9 && before.corridor_ml > 1.0);
    assert!(before.extent_of_resection.abs() < 1e-12 && !before.success && !before.complete);
    assert!((before.residual_core_ml - before.core_ml).abs() < 1e-9);
    assert!(before.resectable_ml > 0.9 * before.core_ml);
    {
        let mut w = world.lock();
        for i in 0..p.truth.grid.len() {
            if p.truth.labels[i].core() {
                w.resection.state[i] = REMOVED;
            }
        }
    }
    let after = world.outcome();
    assert!(after.success && after.near_complete && after.complete, "{after:?}");
    assert!(after.residual_core_ml.abs() < 1e-12 && after.missed_margin_cm2.abs() < 1e-12);
}

#[test]
fn what_uncertainty_forbade_is_resectable_core_where_the_scene_forbids() {
    let world = theatre(exact());
    let outcome = world.outcome();
    let mut scene = Scene::empty();
    scene.grid = bregma_core::flow::roi_grid(grown().corridor.target);
    assert!(world.declined_ml(&scene).abs() < 1e-12, "nothing is forbidden");
    scene.state.fill(voxel::FORBIDDEN);
    let all = world.declined_ml(&scene);
    assert!((all - outcome.residual_volume_ml).abs() < 1e-9, "{all} of {} mL", outcome.residual_volume_ml);
    assert!(all < outcome.residual_core_ml + 1e-12);
}

#[test]
fn no_setting_changes_what_a_resection_is_measured_by() {
    let measure = |settings| {
        let start = theatre(settings).outcome();
        (start.core_ml, start.resectable_ml, start.residual_volume_ml, start.corridor_ml)
    };
    let plain = measure(exact());
    assert!(plain.1 > 0.0 && plain.1 <= plain.0, "{plain:?}");
    let rough = WorldSettings { registration_tre_mm: 4.0, camera_error_mm: 4.0, arm_error_mm: 3.0, ..exact() };
    let fast = WorldSettings { removal_rate_scale: 20.0, rate_mm3_s: 40.0, light: Light::White, ..exact() };
    let elsewhere = WorldSettings { world: WorldKind::Foreign, ..exact() };
    for settings in [rough, fast, elsewhere] {
        assert_eq!(measure(settings), plain);
    }
}

#[test]
fn places_on_the_wall_know_the_true_margin_and_what_was_seen() {
    let (world, p) = (theatre(exact()), grown());
    let mut scene = Scene::empty();
    scene.grid = roi_grid(p.corridor.target);
    let signed = crate::distance::signed(p.truth.grid.dims, |i| p.truth.labels[i].core());
    let exact: Vec<f32> = (0..scene.grid.len())
        .map(|i| p.truth.grid.sample(&signed, &scene.grid.centre(scene.grid.voxel(i)), 10.0))
        .collect();
    let truth = world.truth_of(&scene);
    let off = |by: f32| {
        let errors =
            truth.places.iter().map(|place| place.error_mm(f64::from(exact[place.voxel].clamp(-5.0, 5.0) + by)));
        errors.sum::<f64>() / truth.places.len() as f64
    };
    // The scene's voxels are 1.25 mm, and a margin changes by at most its distance: ½·1.25·√3 = 1.08 mm.
    let errors = truth.places.iter().map(|place| place.error_mm(f64::from(exact[place.voxel])));
    let within = errors.filter(|e| *e < 1.08).count();
    assert!(truth.places.len() > 300 && within * 20 >= truth.places.len() * 19, "{within} of {}", truth.places.len());
    assert!(off(3.0) > 2.0, "{}", off(3.0));
    assert!(truth.places.iter().all(|place| place.kind != PlaceKind::Visible), "nothing was seen");
    assert!(truth.places.iter().all(|place| (-10.0..120.0).contains(&place.depth_mm)));
    assert!((truth.residual_core_ml - p.core_ml()).abs() < 1e-9 && truth.largest_ml > 0.5 * p.core_ml());
    scene.state.iter_mut().for_each(|s| *s |= voxel::VISIBLE);
    let seen = world.truth_of(&scene).places;
    assert!(seen.len() == truth.places.len() && seen.iter().all(|place| place.kind != PlaceKind::Hidden));
    for i in 0..scene.grid.len() {
        let at = p.truth.grid.containing(&scene.grid.centre(scene.grid.voxel(i)));
        let core = at.is_some_and(|v| p.truth.labels[p.truth.grid.index(v)].core());
        assert_eq!(truth.residual[i], core);
        scene.residual[i] = if core { 255 } else { 0 };
    }
    assert!((world.dice_residual(&scene) - 1.0).abs() < 1e-12);
    scene.residual.fill(0);
    assert!(world.dice_residual(&scene).abs() < 1e-12);
}

#[test]
fn the_pedal_the_console_and_the_scanner_answer() {
    let world = theatre(exact());
    let mut pedal = world.pedal();
    assert_eq!(pedal.poll(ms(4)).expect("answers").channels, [true, true]);
    world.set_pedal([true, false]);
    assert_eq!(pedal.poll(ms(8)).expect("answers").channels, [true, false]);
    let mut console = world.instrument();
    console.energise(ms(8), Energy::CUT).expect("switches");
    assert_eq!(console.state(ms(8)).expect("answers").energy, Energy::CUT);
    let p = grown();
    let scans = world.scanner().scan(ms(12)).expect("the instrument is outside");
    // The corridor is dark in an intraoperative scan, and was white matter in the one before.
    let inside = p.corridor.entry - p.craniotomy.outward * (p.corridor.open_mm * 0.6);
    let at = p.head.grid.index(p.head.grid.containing(&inside).expect("in the head"));
    assert!(scans[0].intensities[at] < 80.0 && p.scan(bregma_core::flow::Modality::T1c).intensities[at] > 120.0);
    assert_ne!(p.truth.labels[p.truth.grid.index(p.truth.grid.containing(&inside).expect("near"))], Label::Outside);
    world.lock().arm.true_tip = tip_at(inside);
    assert!(world.scanner().scan(ms(12)).is_err());
}
