//! Tugs, clogs, bleeding, faults and a moving tracker, driven through the world and its devices.

use super::aspirator::TUG_REACH_MM;
use super::bleeding::{FLOW_PER_MM3, Well};
use super::tests::{exact, ms, still, theatre, tip_at};
use super::*;
use crate::patient::tests::grown;
use crate::truth::{Label, REMOVED, SOLID};
use bregma_core::devices::{Arm, Camera, EnablingInput, Scanner, Tracker};
use bregma_core::flow::{GateState, Sent, Sequence, TrackingStatus, VideoFrame};
use proptest::prelude::*;

fn settings(instrument: InstrumentSettings) -> WorldSettings {
    WorldSettings { instrument, ..exact() }
}

/// Holds the tip at a point with the energy on: the simulated arm is taken out of the way.
fn work(world: &SharedWorld, at: Point3<f64>, energy: Energy, steps: usize) {
    let mut w = world.lock();
    w.arm.true_tip = tip_at(at);
    w.console = energy;
    for _ in 0..steps {
        w.now = w.now + STEP;
        let tip = w.arm.true_tip;
        w.break_things();
        w.works(energy, &tip, &tip, false);
    }
}

/// A bite into the corridor's floor and on into the core, deeper each time.
fn dig(world: &SharedWorld, strokes: usize) {
    let p = grown();
    let axis = -p.craniotomy.outward;
    let side = any_across(&axis);
    for n in 0..strokes {
        let off = side * ((n % 7) as f64 - 3.0) + axis.cross(&side) * ((n / 7 % 7) as f64 - 3.0);
        let at = p.corridor.entry + axis * (p.corridor.open_mm + 10.0 * n as f64 / strokes as f64) + off;
        work(world, at, Energy::CUT, 50);
    }
}

#[test]
fn removed_and_residual_add_up_through_tugs_clogs_and_bleeding() {
    let rough = InstrumentSettings {
        fibrous_share: [0.5, 0.5],
        tug_mm: [0.3, 0.9],
        tears: 1.0,
        clogs_per_ml: 60.0,
        ..InstrumentSettings::home()
    };
    let (world, p) = (theatre(settings(rough)), grown());
    let before = world.outcome();
    dig(&world, 150);
    let (after, figures) = (world.outcome(), world.instrument_figures());
    let w = world.lock();
    let removed = w.resection.journal.iter().filter(|i| p.truth.labels[**i as usize].core()).count();
    assert!((before.residual_core_ml - after.residual_core_ml - removed as f64 * 1e-3).abs() < 1e-9);
    assert_eq!(w.resection.journal.len(), w.resection.state.iter().filter(|s| **s == REMOVED).count());
    let mut once = w.resection.journal.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), w.resection.journal.len());
    let fibrous = w.resection.journal.iter().filter(|i| w.aspirator.fibrous(**i as usize)).count();
    assert!((figures.fibrous_ml - fibrous as f64 * 1e-3).abs() < 1e-9);
    assert!(figures.tugs > 5 && figures.clogs > 0 && removed > 100, "{figures:?}, {removed} voxels");
    assert_eq!((before.resectable_ml, before.corridor_ml), (after.resectable_ml, after.corridor_ml));
}

#[test]
fn firm_tissue_goes_slower_and_as_much_of_the_tumour_is_fibrous_as_was_drawn() {
    let p = grown();
    let rough = InstrumentSettings {
        soft_mm3_s: [20.0, 20.0],
        firm_mm3_s: [2.0, 2.0],
        fibrous_share: [0.3, 0.3],
        ..InstrumentSettings::home()
    };
    let aspirator = Aspirator::new(&p, &rough);
    let of = |label: Label| (0..p.truth.grid.len()).filter(move |i| grown().truth.labels[*i] == label);
    let rate = |voxels: Vec<usize>| {
        let cost = voxels.iter().map(|i| aspirator.cost(*i)).sum::<f64>() / voxels.len() as f64;
        aspirator.rate_mm3_s(0.0) / cost
    };
    let living: Vec<usize> = of(Label::Enhancing).collect();
    let (firm, plain): (Vec<usize>, Vec<usize>) = living.iter().partition(|i| aspirator.fibrous(**i));
    let share = firm.len() as f64 / living.len() as f64;
    assert!((share - 0.3).abs() < 0.01, "{share}");
    let (necrosis, white) = (rate(of(Label::Necrosis).collect()), rate(of(Label::White).collect()));
    let (plain, firm) = (rate(plain), rate(firm));
    assert!((necrosis - 20.0).abs() < 1e-9 && (firm - 2.0).abs() < 1e-9, "{necrosis} {firm}");
    assert!(necrosis > white && white > plain && plain > firm, "{necrosis} {white} {plain} {firm}");
    // What is fibrous hangs together: most of its neighbours are.
    let beside = firm_neighbours(&p, &aspirator, &living);
    assert!(beside > 0.6, "{beside}");
}

/// Share of fibrous voxels' neighbours along x, of living tumour, that are fibrous too.
fn firm_neighbours(p: &Patient, aspirator: &Aspirator, living: &[usize]) -> f64 {
    let firm = living.iter().filter(|i| aspirator.fibrous(**i) && p.truth.labels[**i + 1] == Label::Enhancing);
    let (all, both) = firm.fold((0, 0), |(n, m), i| (n + 1, m + usize::from(aspirator.fibrous(*i + 1))));
    f64::from(u32::try_from(both).unwrap_or(0)) / f64::from(u32::try_from(all).unwrap_or(1)).max(1.0)
}

#[test]
fn nothing_goes_without_suction_or_while_clogged_and_irrigation_clears() {
    let (world, p) = (theatre(settings(InstrumentSettings::home())), grown());
    let at = p.corridor.entry - p.craniotomy.outward * (p.corridor.open_mm + 1.0);
    let removed = |world: &SharedWorld| world.lock().resection.journal.len();
    work(&world, at, Energy { ultrasound: true, ..Energy::OFF }, 100);
    assert_eq!(removed(&world), 0, "what is fragmented stays without suction");
    world.lock().aspirator.clog();
    work(&world, at, Energy { ultrasound: true, suction: true, irrigation: false }, 1000);
    assert_eq!(removed(&world), 0, "clogged until it is rinsed");
    // The longest clog needs 2 s of irrigation.
    work(&world, at, Energy { irrigation: true, ..Energy::OFF }, 500);
    work(&world, at, Energy::CUT, 250);
    assert!(removed(&world) > 3, "{}", removed(&world));
    // Tissue goes from its surface inwards only: inside solid tissue there is nothing to begin with but
    // the voxel that the tip stands in.
    let world = theatre(settings(InstrumentSettings::home()));
    let core = (0..p.truth.grid.len()).filter(|i| p.truth.labels[*i].core());
    let deepest = core.min_by(|a, b| {
        let of = |i: usize| world.lock().resection.initial_mm[i];
        of(*a).total_cmp(&of(*b))
    });
    let centre = p.truth.grid.centre(p.truth.grid.voxel(deepest.expect("a core")));
    let mut r = Resection::new(&p);
    r.remove(&p, &still(), &tip_at(centre), 1e3, &Aspirator::new(&p, &InstrumentSettings::home()));
    assert_eq!(r.journal.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_tug_brings_tissue_nearer_by_no_more_than_its_size_and_lets_go(
        off in prop::array::uniform3(-3.0..3.0f64), away in prop::array::uniform3(-6.0..6.0f64),
    ) {
        let p = grown();
        let rough = InstrumentSettings { tug_mm: [0.2, 0.8], fibrous_share: [0.3, 0.3], ..InstrumentSettings::home() };
        let mut aspirator = Aspirator::new(&p, &rough);
        let at = p.corridor.target;
        let tip = at + Vector3::from(off);
        prop_assert!(aspirator.grip(ms(0), at, &tip).is_some());
        let tug = *aspirator.tug().expect("it tugs");
        prop_assert!(tug.by.norm() <= 0.8 + 1e-12 && tug.by.norm() <= Vector3::from(off).norm() + 1e-12);
        let other = at + Vector3::from(away);
        let drag = tug.drag(&other);
        prop_assert!(drag.norm() <= tug.by.norm() + 1e-12);
        prop_assert!(Vector3::from(away).norm() < TUG_REACH_MM || drag.norm() < 1e-12);
        prop_assert!(nalgebra::distance(&(at + tug.drag(&at)), &tip) <= nalgebra::distance(&at, &tip) + 1e-12);
        aspirator.pass(ms(2000), STEP, false);
        prop_assert!(aspirator.tug().is_none());
    }
}

#[test]
fn an_opened_vessel_gives_what_its_diameter_carries_and_a_thin_one_stops() {
    let world = theatre(settings(InstrumentSettings { flow: [1.0, 1.0], ..InstrumentSettings::home() }));
    let (p, mut w) = (grown(), world.lock());
    let at = |n: f64| p.corridor.entry - p.craniotomy.outward * (p.corridor.open_mm * n);
    let mut last = |diameter: f64, n: f64| -> Well {
        w.bleeding.open(ms(0), at(n), diameter);
        *w.bleeding.wells().last().expect("it bleeds")
    };
    let (thin, middle, wide) = (last(0.2, 0.1), last(0.5, 0.5), last(1.0, 0.9));
    // The middle cerebral artery's 2510 mm³/s through 3 mm: by the cube, 93 mm³/s through 1 mm.
    assert!((wide.rate_mm3_s - 93.0).abs() < 1e-9 && (FLOW_PER_MM3 * 27.0 - 2510.0).abs() < 5.0);
    assert!((middle.rate_mm3_s * 8.0 - wide.rate_mm3_s).abs() < 1e-9);
    assert!((thin.rate_mm3_s * 125.0 - wide.rate_mm3_s).abs() < 1e-9);
    let later = |well: &Well, s: u64| well.now_mm3_s(ms(s * 1000)) / well.rate_mm3_s;
    assert!(later(&thin, 1) < 1.0 && later(&thin, 100) < 1e-12 && later(&middle, 100) < 1e-12);
    assert!((later(&wide, 36_000) - 1.0).abs() < 1e-12, "a wide one goes on");
    // Cut again beside it, a vessel gives no more than its wider hole.
    let n = w.bleeding.wells().len();
    w.bleeding.open(ms(0), at(0.9), 0.4);
    assert_eq!(w.bleeding.wells().len(), n);
    assert!((w.bleeding.flow_mm3_s(ms(0)) - (93.0 + 93.0 / 8.0 + 93.0 / 125.0)).abs() < 1e-9);
}

#[test]
fn a_bleeding_covers_the_wound_and_a_surgeon_stops_it() {
    let (world, p) = (theatre(exact()), grown());
    assert_eq!(world.sight(), SurgeonSight::default());
    let fault =
        |at, size_mm| Fault { kind: FaultKind::VesselBleeds, at, lasts: Duration::ZERO, size_mm, turn_deg: 0.0 };
    world.inject(fault(ms(1000), 1.2));
    world.advance(ms(900));
    assert!(!world.sight().heavy_bleeding && world.blood_lost_ml() <= 0.0);
    world.advance(ms(4000));
    let bleeds = world.sight();
    assert!(bleeds.heavy_bleeding && bleeds.covered > 0.2, "{bleeds:?}");
    // 1.2³ · 93 = 161 mm³/s.
    assert!((world.blood_lost_ml() - 0.48).abs() < 0.04, "{} mL", world.blood_lost_ml());
    {
        let w = world.lock();
        let map = w.bleeding.map().expect("something bled");
        let found = map.held()[0] + map.sucked()[0] + map.spilled()[0];
        assert!((found - w.bleeding.lost_mm3).abs() < 0.02 * found, "{found} of {}", w.bleeding.lost_mm3);
        assert!(map.films().films.iter().all(|f| w.resection.state[f.voxel as usize] == SOLID));
    }
    // Suction at the floor takes some of it away; the vessel goes on.
    let floor = p.corridor.entry - p.craniotomy.outward * (p.corridor.open_mm - 1.0);
    work(&world, floor, Energy { suction: true, ..Energy::OFF }, 500);
    assert!(world.lock().bleeding.map().expect("as before").sucked()[0] > 50.0);
    assert!(world.treat().is_err(), "no room for hands while the instrument is in");
    work(&world, p.craniotomy.centre + p.craniotomy.outward * 20.0, Energy::OFF, 1);
    world.treat().expect("the tip is out");
    let began = world.now();
    assert!(world.sight().treating);
    world.advance(began + Duration::from_secs(29));
    assert!(world.sight().treating && world.sight().heavy_bleeding);
    world.advance(began + Duration::from_secs(121));
    assert_eq!(world.sight(), SurgeonSight::default());
    let lost = world.blood_lost_ml();
    world.advance(began + Duration::from_secs(125));
    assert!((world.blood_lost_ml() - lost).abs() < 1e-12);
}

#[test]
fn cutting_a_vessel_opens_it_and_counts_it_once_by_whether_it_could_be_seen() {
    let (world, p) = (theatre(settings(InstrumentSettings::home())), grown());
    let truth = &p.truth;
    let mut w = world.lock();
    // A voxel deep in solid tissue that holds a thin vessel and no wide one.
    let buried = |i: &usize| {
        truth.thin_vessel_mm[*i] <= 0.2
            && truth.vessel_mm[*i] > 3.0
            && truth.labels[*i].tissue()
            && truth.grid.around(&truth.grid.centre(truth.grid.voxel(*i)), 4.0).into_iter().all(|r| r.len() >= 8)
            && !w.is_wall(*i)
            && truth.labels[*i] != Label::Grey
    };
    let voxel = (0..truth.grid.len()).find(buried).expect("a thin vessel in the white matter");
    let pieces = w.bleeding.cut(&p, voxel);
    assert!(!pieces.is_empty());
    let at = truth.grid.centre(truth.grid.voxel(voxel));
    w.vessel_opens(pieces[0], at);
    assert_eq!((w.resection.bleeding, w.resection.violations), (1, 0), "nobody could see it");
    assert!(w.bleeding.cut(&p, voxel).is_empty(), "a piece opens once");
    assert!(w.bleeding.flow_mm3_s(w.now) > 0.0);
    // Wide vessels are known.
    let wide = p.vessels.iter().position(|v| v.radius_mm >= 0.5).expect("a wide vessel");
    w.vessel_opens(wide, p.vessels[wide].start);
    assert_eq!((w.resection.bleeding, w.resection.violations), (1, 1));
    // A thin one that lies bare in the corridor's wall, in the light, has been shown: take away what covers it.
    let eye = Point3::from(w.true_camera.patient_from_camera.isometry().translation.vector);
    let cleared = |at: Point3<f64>| {
        let way = (eye - at).normalize();
        (0..truth.grid.len()).filter(move |i| {
            let off = truth.grid.centre(truth.grid.voxel(*i)) - at;
            let along = off.dot(&way);
            along > 0.6 && (off - way * along).norm() < 2.0
        })
    };
    let open: Vec<usize> = cleared(at).collect();
    open.iter().for_each(|i| w.resection.state[*i] = REMOVED);
    assert!(w.was_shown(pieces[0]));
    w.resection.journal.extend(open.iter().map(|i| *i as u32));
    assert!(!w.was_shown(pieces[0]), "laid bare within the last second, nobody had time to see it");
}

#[test]
fn blood_and_water_pool_together() {
    let (world, p) =
        (theatre(settings(InstrumentSettings { flow: [1.0, 1.0], ..InstrumentSettings::home() })), grown());
    dig(&world, 20);
    {
        let mut w = world.lock();
        let now = w.now;
        let floor = p.corridor.entry - p.craniotomy.outward * p.corridor.open_mm;
        w.bleeding.open(now, floor, 1.0);
    }
    let floor = p.corridor.entry - p.craniotomy.outward * (p.corridor.open_mm - 1.0);
    work(&world, floor, Energy { irrigation: true, ..Energy::OFF }, 500);
    let map = world.lock().bleeding.map().map(|m| m.held()).expect("wet");
    assert!(map[0] > 100.0 && map[1] > 10.0, "{map:?} mm³ of blood and water pool");
}

fn sent(world: &SharedWorld, now: Instant) -> Sent {
    Sent {
        state: GateState::Active,
        joints: world.lock().arm.joints,
        energy: Energy::OFF,
        approval: Some(Sequence(1)),
        retracting: false,
        finished: Sequence(0),
        consent: None,
        reason: None,
        sent: now,
    }
}

fn happens(kind: FaultKind, size_mm: f64, turn_deg: f64) -> Fault {
    Fault { kind, at: ms(1000), lasts: Duration::from_secs(2), size_mm, turn_deg }
}

/// The tip as the runtime would know it: tracked pose and registration.
fn tracked(world: &SharedWorld, now: Instant) -> Point3<f64> {
    world.advance(now);
    let pose = world.tracker().poll(now).expect("answers").expect("a pose is due");
    (world.registration().patient_from_reference * pose.reference_from_tip.value).position().coordinates()
}

#[test]
fn a_bumped_array_shifts_what_is_reported_and_nothing_else() {
    let world = theatre(exact());
    let before = tracked(&world, ms(900));
    let truth = world.lock().arm.true_tip;
    assert!(nalgebra::distance(&before, &truth.position().coordinates()) < 1e-6);
    world.inject(happens(FaultKind::ArrayBumped, 4.0, 0.0));
    let after = tracked(&world, ms(2000));
    assert!((nalgebra::distance(&after, &before) - 4.0).abs() < 1e-6, "{}", nalgebra::distance(&after, &before));
    assert_eq!(world.lock().arm.true_tip, truth);
    // It does not pass.
    assert!((nalgebra::distance(&tracked(&world, ms(60_000)), &before) - 4.0).abs() < 1e-6);
}

#[test]
fn a_moved_table_leaves_the_tracker_right_and_the_arm_and_the_microscope_wrong() {
    let (world, p) = (theatre(exact()), grown());
    let camera = world.camera_calibration();
    let mut microscope = world.camera();
    let mut frame = VideoFrame::black(640, 360);
    microscope.grab(ms(900), &mut frame).expect("a picture");
    let before = tracked(&world, ms(900));
    world.inject(happens(FaultKind::TableMoved, 5.0, 0.0));
    let after = tracked(&world, ms(2000));
    let true_tip = world.lock().arm.true_tip.position().coordinates();
    assert!((nalgebra::distance(&true_tip, &before) - 5.0).abs() < 1e-6, "the arm stayed while she moved");
    assert!(nalgebra::distance(&after, &true_tip) < 1e-6, "and the tracker sees it");
    // By its mount the arm still believes to stand where it stood.
    let (mount, arm) = (world.arm_mount(), bregma_core::arm::ArmModel::new(bregma_core::arm::ArmModelId::LbrMed7));
    let believed = mount.patient_from_arm_base * arm.forward(&world.lock().arm.joints) * mount.flange_from_tip;
    assert!(nalgebra::distance(&believed.position().coordinates(), &before) < 1e-6);
    assert_eq!(world.camera_calibration(), camera, "nobody calibrates anew");
    let off = (world.lock().true_camera.patient_from_camera.isometry().inverse()
        * camera.patient_from_camera.isometry())
    .translation
    .vector
    .norm();
    assert!((off - 5.0).abs() < 1e-6);
    let mut moved = VideoFrame::black(640, 360);
    microscope.grab(ms(2000), &mut moved).expect("a picture");
    let differs = frame.rgb.iter().zip(&moved.rgb).filter(|(a, b)| a.abs_diff(**b) > 25).count();
    assert!(differs > frame.rgb.len() / 50, "{differs} of {} bytes", frame.rgb.len());
    assert_eq!(world.outcome().removed_ml.to_bits(), 0.0_f64.to_bits());
    assert!(p.corridor.open_mm > 0.0);
}

#[test]
fn what_is_lost_comes_back_after_its_time() {
    let world = theatre(exact());
    for kind in [
        FaultKind::TrackerLost,
        FaultKind::VideoLost,
        FaultKind::ArmSilent,
        FaultKind::PedalReleased,
        FaultKind::ScannerAbsent,
    ] {
        world.inject(happens(kind, 0.0, 0.0));
    }
    let mut camera = world.camera();
    let mut frame = VideoFrame::black(640, 360);
    let mut look = |now: Instant| {
        world.advance(now);
        let tracker = world.tracker().poll(now).expect("answers").map(|pose| pose.status);
        let tracked = tracker == Some(TrackingStatus::Valid);
        let pedal = world.pedal().poll(now).expect("answers").channels == [true, true];
        let order = sent(&world, now);
        let arm = world.arm().state(now).is_ok() && world.arm().command(now, &order).is_ok();
        [tracked, camera.grab(now, &mut frame).is_ok(), arm, pedal, world.scanner().scan(now).is_ok()]
    };
    assert_eq!(look(ms(900)), [true; 5]);
    assert_eq!(look(ms(2000)), [false; 5]);
    assert_eq!(look(ms(3200)), [true; 5]);
    // Without commands the arm had held by itself.
    assert!(world.arm_log().iter().any(|line| line.event == ArmEvent::Watchdog));
}

#[test]
fn a_frozen_picture_is_the_last_one_with_a_new_time() {
    let world = theatre(exact());
    world.inject(happens(FaultKind::VideoFrozen, 0.0, 0.0));
    let mut camera = world.camera();
    let mut grab = |now: Instant| {
        let mut frame = VideoFrame::black(640, 360);
        camera.grab(now, &mut frame).expect("a picture");
        frame
    };
    let (last, frozen, again, free) = (grab(ms(980)), grab(ms(1500)), grab(ms(2500)), grab(ms(3500)));
    assert!(frozen.rgb == last.rgb && again.rgb == last.rgb && free.rgb != last.rgb);
    assert_eq!((frozen.captured, again.captured), (ms(1500), ms(2500)));
}

#[test]
fn faults_come_from_the_seed_as_often_as_they_should_and_plans_are_checked() {
    let plan = FaultPlan {
        kind: FaultKind::TableMoved,
        at_s: [10.0, 60.0],
        lasts_s: [0.0; 2],
        size_mm: [1.0, 5.0],
        turn_deg: [0.0, 2.0],
        share: 0.3,
    };
    plan.check().expect("it is as it should be");
    let drawn: Vec<Fault> = (0..2000).filter_map(|seed| plan.drawn(seed, 0)).collect();
    assert!((500..700).contains(&drawn.len()), "{} of 2000", drawn.len());
    assert!(drawn.iter().all(|f| (10.0..=60.0).contains(&f.at.secs_f64()) && (1.0..=5.0).contains(&f.size_mm)));
    assert_eq!(plan.drawn(7, 3), plan.drawn(7, 3));
    assert!((0..200).any(|seed| plan.drawn(seed, 0) != plan.drawn(seed, 1)));
    let refused = |change: fn(&mut FaultPlan)| {
        let mut other = plan;
        change(&mut other);
        other.check().expect_err("it cannot be meant").key
    };
    assert_eq!(refused(|p| p.at_s = [5.0, f64::NAN]), "at_s");
    assert_eq!(refused(|p| p.lasts_s = [1.0, 2.0]), "lasts_s");
    assert_eq!(refused(|p| p.size_mm = [5.0, 1.0]), "size_mm");
    assert_eq!(refused(|p| p.share = 1.5), "share");
    assert_eq!(refused(|p| p.kind = FaultKind::PedalReleased), "lasts_s");
    for kind in FaultKind::ALL {
        assert_eq!(FaultKind::named(kind.name()), Some(kind));
    }
}

#[test]
fn a_tracker_abroad_has_tails_and_drifts_and_comes_late() {
    let noise = |tracker: TrackerSettings| {
        let world = theatre(WorldSettings { tracker_noise_mm: 0.3, tracker, ..exact() });
        let truth = world.lock().arm.true_tip.position().coordinates();
        let (mut errors, mut late) = (Vec::new(), 0.0_f64);
        let registration = world.registration().patient_from_reference;
        let mut tracker = world.tracker();
        for t in (0..200_000).step_by(4) {
            let Some(pose) = tracker.poll(ms(t)).expect("answers") else { continue };
            let taken = pose.received.since(pose.reference_from_tip.captured).expect("in order");
            late = late.max(taken.millis_f64());
            errors.push((registration * pose.reference_from_tip.value).position().coordinates() - truth);
        }
        let rms = (errors.iter().map(Vector3::norm_squared).sum::<f64>() / errors.len() as f64).sqrt();
        let far = errors.iter().filter(|e| e.norm() > 5.0 * 0.3).count() as f64 / errors.len() as f64;
        // Drift is what is left when a second of noise is averaged away.
        let seconds: Vec<Vector3<f64>> =
            errors.chunks(400).map(|c| c.iter().sum::<Vector3<f64>>() / c.len() as f64).collect();
        let drift = seconds.iter().map(Vector3::norm).fold(0.0, f64::max);
        (rms, far, drift, late)
    };
    let (plain, foreign) = (noise(TrackerSettings::plain()), noise(TrackerSettings::foreign()));
    assert!(
        (plain.0 - 0.52).abs() < 0.02 && plain.1 < 1e-3 && plain.2 < 0.1 && (plain.3 - 20.0).abs() < 1e-9,
        "{plain:?}"
    );
    assert!(foreign.1 > 5.0 * plain.1.max(1e-4) && foreign.2 > 0.15, "{foreign:?}");
    assert!(foreign.3 > 30.0 && foreign.3 <= 40.0, "{foreign:?}");
}

#[test]
fn settings_outside_their_range_are_refused_by_name() {
    let name = |settings| World::new(grown(), settings).map(|_| ()).expect_err("outside its range").name;
    let home = InstrumentSettings::home();
    let of = |instrument| WorldSettings { instrument, ..exact() };
    assert_eq!(name(of(InstrumentSettings { tug_mm: [0.5, 3.0], ..home })), "instrument.tug_mm");
    assert_eq!(name(of(InstrumentSettings { firm_mm3_s: [2.0, f64::NAN], ..home })), "instrument.firm_mm3_s");
    assert_eq!(name(of(InstrumentSettings { fibrous_share: [0.3, 0.2], ..home })), "instrument.fibrous_share");
    let tracker = TrackerSettings { freedom: 2, ..TrackerSettings::foreign() };
    assert_eq!(name(WorldSettings { tracker, ..exact() }), "tracker.freedom");
    for instrument in [InstrumentSettings::plain(), home, InstrumentSettings::foreign()] {
        for tracker in [TrackerSettings::plain(), TrackerSettings::home(), TrackerSettings::foreign()] {
            assert!(instrument.check().is_ok() && tracker.check().is_ok());
        }
    }
}
