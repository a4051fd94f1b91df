//! The greedy planner on synthetic tumours: what is reached, what is kept clear of, and that it ends.

use super::*;
use crate::memory::Memory;
use crate::planner::{Planner, View};
use crate::world::{Answer, CUT_MM, SHAFT_MM, Theatre, World, at, pointing_down};
use bregma_core::flow::{CANDIDATES_MAX, Check, Motion, WAYPOINTS_MAX, voxel};
use bregma_core::flow::{Proposal, Request};
use bregma_core::frame::{Patient, Pose, Tip};
use bregma_core::time::Instant;
use nalgebra::{Isometry3, Point3, Translation3};
use proptest::prelude::*;

fn greedy() -> Greedy {
    Greedy::new(GreedySettings::STANDARD).expect("in range")
}

fn propose(world: &World, tip: Pose<Patient, Tip>) -> Proposal {
    let (scene, memory) = (world.scene(1, Instant::START), Memory::default());
    let view = View { scene: &scene, anatomy: &world.anatomy, tip, shaft_radius_mm: SHAFT_MM, memory: &memory };
    greedy().propose(&view)
}

fn motions(proposal: Proposal) -> Vec<Motion> {
    match proposal {
        Proposal::Motions(motions) => motions,
        Proposal::Request(_) => Vec::new(),
    }
}

fn last_request(theatre: &Theatre) -> Request {
    match theatre.plans.last().map(|p| p.proposal.clone()) {
        Some(Proposal::Request(request)) => request,
        other => panic!("the last word is {other:?}"),
    }
}

#[test]
fn a_ball_is_removed_and_the_case_ends() {
    for radius in [8.0, 11.0, 14.0] {
        let world = World::ball(radius);
        let (reachable, core) = (world.reachable(), world.core.clone());
        let all = reachable.iter().filter(|r| **r).count();
        assert!(all > 300, "the test's own patient is no patient: {all} voxels");
        let mut theatre = Theatre::new(world);
        theatre.play(&Answer::Play, 400);
        let removed = (0..reachable.len()).filter(|i| reachable[*i] && !theatre.world.core[*i]).count();
        let extent = removed as f64 / all as f64;
        let of_all = 1.0
            - theatre.world.core_ml() / (core.iter().filter(|c| **c).count() as f64 * theatre.world.grid.voxel_ml());
        let overcut = theatre.world.overcut_ml(radius);
        let healthy = theatre.world.healthy_cut as f64 * theatre.world.grid.voxel_ml();
        let n = theatre.plans.len();
        let (mut seconds, mut strokes) = (0.0, 0);
        for plan in &theatre.plans {
            match &plan.proposal {
                Proposal::Motions(motions) => {
                    strokes += 1;
                    for pair in motions[0].waypoints.windows(2) {
                        let (from, to) = (at(&pair[0].patient_from_tip), at(&pair[1].patient_from_tip));
                        seconds += nalgebra::distance(&from, &to) / pair[1].feed_mm_s;
                    }
                }
                Proposal::Request(request) => eprintln!("{request:?}"),
            }
        }
        eprintln!("{strokes} motions of {:.1} s each, {seconds:.0} s in all", seconds / f64::from(strokes));
        eprintln!(
            "radius {radius}: {n} plans, {extent:.3} of the reachable, {of_all:.3} of all, overcut {overcut:.3} mL, healthy {healthy:.2} mL"
        );
        assert_eq!(last_request(&theatre), Request::Finish);
        assert!(extent >= 0.97, "{extent}");
        assert!(overcut <= 1.0, "{overcut} mL");
        assert!(
            theatre
                .sent
                .joints
                .distance(&bregma_core::arm::ArmModel::new(bregma_core::arm::ArmModelId::LbrMed7).rest())
                < 0.3,
            "left the head"
        );
    }
}

#[test]
fn tissue_that_does_not_yield_ends_the_case() {
    let mut theatre = Theatre::new(World::ball(9.0));
    theatre.play(&Answer::PlayBlunt, 400);
    assert_eq!(last_request(&theatre), Request::Finish);
    let asked = theatre.plans.iter().any(|p| matches!(&p.proposal, Proposal::Request(Request::AskSurgeon(_))));
    assert!(asked, "a whole tumour stays behind and nobody is asked");
    assert!(theatre.stage.declined_ml() > 0.05, "{}", theatre.stage.declined_ml());
}

#[test]
fn places_that_are_rejected_are_left_and_counted() {
    let mut theatre = Theatre::new(World::ball(8.0));
    theatre.play(&Answer::Reject(Check::ForbiddenClearance), 400);
    assert_eq!(last_request(&theatre), Request::Finish);
    let counted: u64 =
        theatre.stage.rejections().filter(|(c, _)| *c == Check::ForbiddenClearance).map(|(_, n)| n).sum();
    assert!(counted > 4, "{counted}");
    assert!(theatre.stage.declined_ml() > 0.02);
}

#[test]
fn the_same_case_twice_is_the_same_case() {
    let play = || {
        let mut theatre = Theatre::new(World::ball(9.0));
        theatre.play(&Answer::Play, 12);
        theatre.plans
    };
    assert_eq!(play(), play());
}

#[test]
fn nothing_behind_a_forbidden_lid_is_cut_and_the_surgeon_is_asked() {
    let mut world = World::ball(8.0);
    world.forbid(Point3::new(0.0, 0.0, 25.0), 9.0);
    let mut theatre = Theatre::new(world);
    theatre.play(&Answer::Play, 50);
    let Some(Proposal::Request(Request::AskSurgeon(words))) = theatre.plans.first().map(|p| p.proposal.clone()) else {
        panic!("{:?}", theatre.plans.first());
    };
    assert!(words.contains("forbidden region stands in the shaft's way"), "{words}");
    assert_eq!(last_request(&theatre), Request::Finish);
}

#[test]
fn a_corridor_without_a_direction_is_refused_in_words() {
    let mut world = World::ball(8.0);
    world.anatomy.corridor.target = world.anatomy.corridor.entry;
    let proposal = propose(&world, pointing_down(Point3::new(0.0, 0.0, 70.0)));
    assert!(matches!(proposal, Proposal::Request(Request::AskSurgeon(words)) if words.contains("same point")));
}

/// Everything that holds for any proposed motion.
fn check_motion(world: &World, tip: &Pose<Patient, Tip>, motion: &Motion) -> Result<(), TestCaseError> {
    let settings = GreedySettings::STANDARD;
    prop_assert!(motion.waypoints.len() >= 2 && motion.waypoints.len() <= WAYPOINTS_MAX);
    prop_assert_eq!(motion.waypoints[0].patient_from_tip, *tip);
    let forbidden = world.every(|i, w| w.state[i] & voxel::FORBIDDEN != 0);
    let entry = world.anatomy.corridor.entry;
    for pair in motion.waypoints.windows(2) {
        let (from, to) = (at(&pair[0].patient_from_tip), at(&pair[1].patient_from_tip));
        let (feed, cutting) = (pair[1].feed_mm_s, pair[1].energy.ultrasound);
        let free = from.z.min(to.z) >= 53.0;
        let limit = if cutting {
            5.0
        } else if free {
            50.0
        } else {
            10.0
        };
        prop_assert!(feed > 0.0 && feed <= limit, "{} mm/s", feed);
        prop_assert!(nalgebra::distance(&from, &to) > 0.01, "a turn on the spot");
        let z = pair[1].patient_from_tip.z_axis();
        if to.z < 45.0 {
            let off = (entry - to) - z * (entry - to).dot(&z);
            prop_assert!(off.norm() < 0.01, "the axis misses the pivot by {} mm", off.norm());
        }
        let samples = (nalgebra::distance(&from, &to) / 0.25).ceil() as usize;
        for n in 0..=samples {
            let p = from + (to - from) * (n as f64 / samples as f64);
            let nearest = forbidden.iter().map(|f| nalgebra::distance(f, &p)).fold(f64::INFINITY, f64::min);
            let needed = if cutting { CUT_MM } else { SHAFT_MM };
            prop_assert!(nearest >= needed, "{} mm from a forbidden voxel", nearest);
        }
        // The shaft above the waypoint.
        if to.z < 45.0 {
            for n in 0..(nalgebra::distance(&to, &entry) / 0.5) as usize {
                let p = to - z * (n as f64 * 0.5);
                let nearest = forbidden.iter().map(|f| nalgebra::distance(f, &p)).fold(f64::INFINITY, f64::min);
                prop_assert!(nearest >= SHAFT_MM, "the shaft is {} mm from a forbidden voxel", nearest);
                let cavity =
                    world.grid.containing(&p).is_none_or(|v| world.state[world.grid.index(v)] & voxel::CAVITY != 0);
                prop_assert!(cavity || n as f64 * 0.5 <= settings.layer_mm + 1.0, "the shaft presses into tissue");
            }
        }
        if !cutting && to.z < 40.0 {
            let open = world.grid.containing(&to).is_none_or(|v| world.state[world.grid.index(v)] & voxel::CAVITY != 0);
            prop_assert!(open, "the tip rests in tissue with the energy off");
        }
    }
    let last = motion.waypoints.last().map(|w| w.energy.ultrasound);
    prop_assert!(last.is_some());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_motion_starts_at_the_tip_and_keeps_the_rules(
        radius in 6.0..13.0f64,
        blob in prop::array::uniform3(-12.0..12.0f64),
        size in 1.0..4.0f64,
        turn in prop::array::uniform3(-0.08..0.08f64),
        place in prop::array::uniform3(-5.0..5.0f64),
        inside in any::<bool>(),
    ) {
        let mut world = World::ball(radius);
        world.forbid(Point3::from(blob), size);
        let tip = if inside {
            pointing_down(Point3::new(0.0, 0.0, 45.0 - (45.0 - radius) * 0.8))
        } else {
            let down = pointing_down(Point3::new(place[0], place[1], 75.0 + place[2]));
            let turned = nalgebra::UnitQuaternion::from_scaled_axis(turn.into()) * down.isometry().rotation;
            Pose::new(Isometry3::from_parts(Translation3::from(at(&down).coords), turned)).expect("finite")
        };
        let found = motions(propose(&world, tip));
        prop_assert!(!found.is_empty() && found.len() <= CANDIDATES_MAX);
        for motion in &found {
            check_motion(&world, &tip, motion)?;
        }
    }
}

#[test]
fn a_lobe_under_the_wall_is_removed_from_the_other_side_of_the_opening_for_little_healthy_tissue() {
    let mut world = World::ball(8.0);
    let lobe: Vec<usize> = (0..world.grid.len())
        .filter(|i| {
            let at = world.grid.centre(world.grid.voxel(*i));
            nalgebra::distance(&at, &Point3::new(15.0, 0.0, 3.0)) <= 4.5 && world.state[*i] & voxel::CAVITY == 0
        })
        .collect();
    for &i in &lobe {
        world.core[i] = true;
    }
    let mut theatre = Theatre::new(world);
    theatre.play(&Answer::Play, 400);
    let left = lobe.iter().filter(|i| theatre.world.core[**i]).count();
    assert!(left * 4 <= lobe.len(), "{left} of {} voxels are left", lobe.len());
    let healthy_ml = theatre.world.healthy_cut as f64 * theatre.world.grid.voxel_ml();
    // What a success may have cut beside the core.
    assert!(healthy_ml <= 1.0, "{healthy_ml:.2} mL of healthy tissue");
    let tilted = theatre.plans.iter().any(|plan| match &plan.proposal {
        Proposal::Motions(motions) => motions[0].waypoints.iter().any(|w| {
            let (tip, z) = (at(&w.patient_from_tip), w.patient_from_tip.z_axis());
            let entry = theatre.world.anatomy.corridor.entry;
            tip.z < 20.0 && (entry - tip).cross(&z).norm() > 3.0
        }),
        Proposal::Request(_) => false,
    });
    assert!(tilted, "every shaft went through the middle of the opening");
}
