//! The stage: when a plan is due, and what becomes of the ones before.

use super::*;
use crate::world::{Answer, Theatre, World};
use bregma_core::arm::Joints;
use bregma_core::flow::Check;
use bregma_core::frame::FrameId;
use bregma_core::topic::Numbered;

fn theatre() -> Theatre {
    Theatre::new(World::ball(8.0))
}

fn wait(theatre: &mut Theatre, millis: u64) {
    theatre.now = theatre.now + Duration::from_millis(millis);
}

#[test]
fn it_plans_only_while_the_gate_is_armed_and_still() {
    let mut theatre = theatre();
    for state in [GateState::Disarmed, GateState::Active, GateState::Hold, GateState::Fault] {
        theatre.sent.state = state;
        assert!(theatre.step().is_none());
        assert_eq!(theatre.stage.waiting(), Waiting::Gate);
    }
    theatre.sent.state = GateState::Armed;
    theatre.sent.approval = Some(Sequence(1));
    assert!(theatre.step().is_none());
    theatre.sent.approval = None;
    wait(&mut theatre, 50);
    assert_eq!(theatre.step().map(|p| p.sequence), Some(Sequence(1)));
    assert_eq!(theatre.stage.waiting(), Waiting::Nothing);
}

#[test]
fn one_plan_at_a_time_until_nothing_is_heard_for_two_seconds() {
    let mut theatre = theatre();
    let plan = theatre.step().expect("due");
    theatre.answer(&plan, &Answer::Silence);
    for _ in 0..3 {
        assert!(theatre.step().is_none());
        assert_eq!(theatre.stage.waiting(), Waiting::Settled);
        wait(&mut theatre, 400);
    }
    wait(&mut theatre, 300);
    assert_eq!(theatre.step().map(|p| p.sequence), Some(Sequence(2)), "2 s of silence");
}

#[test]
fn a_motion_that_plays_is_waited_for() {
    let mut theatre = theatre();
    let plan = theatre.step().expect("due");
    theatre.verdict(&plan, 0, None);
    theatre.sent.state = GateState::Active;
    theatre.sent.approval = Some(Sequence(1));
    for _ in 0..20 {
        wait(&mut theatre, 500);
        assert!(theatre.step().is_none(), "10 s of playing is no silence");
    }
    theatre.sent.state = GateState::Armed;
    theatre.sent.approval = None;
    theatre.sent.finished = Sequence(1);
    // The gate's word is newer than the scene: another scene is needed.
    theatre.now = theatre.now + Duration::from_millis(40);
    assert!(theatre.step_without_scene().is_none());
    assert_eq!(theatre.stage.waiting(), Waiting::Scene);
    wait(&mut theatre, 50);
    assert_eq!(theatre.step().map(|p| p.sequence), Some(Sequence(2)));
}

#[test]
fn all_rejected_where_they_cut_means_another_plan_at_once_and_part_rejected_does_not() {
    let mut theatre = theatre();
    let plan = theatre.step().expect("due");
    let Proposal::Motions(motions) = &plan.proposal else { panic!("{plan:?}") };
    let others = motions.len() as u64 - 1;
    assert!(others > 0, "the test needs several candidates");
    let cuts: Vec<_> = motions.iter().map(|m| crate::memory::energised(m).last().expect("a stroke")).collect();
    theatre.verdict(&plan, 0, Some((Check::ForbiddenClearance, cuts[0])));
    wait(&mut theatre, 50);
    assert!(theatre.step().is_none(), "{others} more candidates");
    for (candidate, cut) in cuts.iter().enumerate().skip(1) {
        theatre.verdict(&plan, candidate, Some((Check::Indentation, *cut)));
    }
    wait(&mut theatre, 50);
    assert!(theatre.step().is_some());
    let counts: Vec<_> = theatre.stage.rejections().filter(|(_, n)| *n > 0).collect();
    assert_eq!(counts, [(Check::ForbiddenClearance, 1), (Check::Indentation, others)]);
}

#[test]
fn a_way_that_was_rejected_is_tried_again_later_and_given_up_after_some_times() {
    let mut theatre = theatre();
    let mut plans = Vec::new();
    let outside = nalgebra::Point3::new(500.0, 0.0, 0.0);
    for _ in 0..6 {
        let plan = theatre.step().expect("due");
        let Proposal::Motions(motions) = plan.proposal.clone() else { panic!("{plan:?}") };
        for candidate in 0..motions.len() {
            theatre.verdict(&plan, candidate, Some((Check::RimClearance, outside)));
        }
        wait(&mut theatre, 50);
        assert!(theatre.step().is_none());
        assert_eq!(theatre.stage.waiting(), Waiting::Retry, "the scene is still the same");
        wait(&mut theatre, 500);
        plans.push(motions);
    }
    let start = |motion: &Motion| crate::memory::energised(motion).next().expect("a stroke");
    assert!(plans.iter().all(|p| start(&p[0]) == start(&plans[0][0])), "a brain that moves may make way");
    let plan = theatre.step().expect("due");
    let Proposal::Motions(motions) = &plan.proposal else { panic!("{plan:?}") };
    assert!(motions.iter().all(|m| plans[0].iter().all(|before| start(m) != start(before))), "elsewhere now");
}

#[test]
fn where_errors_forbid_too_much_a_new_anchor_is_asked_for_and_silence_means_to_go_on() {
    let mut theatre = theatre();
    theatre.world.doubtful_ml = 100.0;
    let plan = theatre.step().expect("due");
    assert_eq!(plan.proposal, Proposal::Request(Request::NewMri));
    wait(&mut theatre, 4900);
    assert!(theatre.step().is_none());
    assert_eq!(theatre.stage.waiting(), Waiting::Answer);
    wait(&mut theatre, 100);
    let plan = theatre.step().expect("due");
    assert!(matches!(plan.proposal, Proposal::Motions(_)), "around what is forbidden: {plan:?}");
}

#[test]
fn a_new_scan_begins_anew_what_was_finished_and_what_was_waited_for() {
    let mut theatre = theatre();
    theatre.play(&Answer::Reject(Check::SceneFresh), 200);
    assert!(theatre.stage.finished());
    wait(&mut theatre, 50);
    assert!(theatre.step().is_none());
    theatre.world.scanned = theatre.now;
    wait(&mut theatre, 50);
    let plan = theatre.step().expect("begun anew");
    assert!(matches!(plan.proposal, Proposal::Motions(_)) && !theatre.stage.finished(), "{plan:?}");
    // The answer to a question is a scan, however early it comes.
    theatre.answer(&plan, &Answer::Reject(Check::SceneFresh));
    theatre.world.doubtful_ml = 100.0;
    wait(&mut theatre, 50);
    assert!(theatre.step().is_none());
    wait(&mut theatre, 1000);
    assert_eq!(theatre.step().expect("due").proposal, Proposal::Request(Request::NewMri));
    wait(&mut theatre, 100);
    assert!(theatre.step().is_none());
    (theatre.world.scanned, theatre.world.doubtful_ml) = (theatre.now, 0.0);
    wait(&mut theatre, 50);
    assert!(matches!(theatre.step().expect("answered").proposal, Proposal::Motions(_)));
}

#[test]
fn a_withdrawn_or_held_motion_is_settled() {
    for held in [false, true] {
        let mut theatre = theatre();
        let plan = theatre.step().expect("due");
        theatre.verdict(&plan, 0, None);
        theatre.sent.state = if held { GateState::Hold } else { GateState::Armed };
        if !held {
            let failed = bregma_core::flow::CheckResult {
                check: Check::ForbiddenClearance,
                value: 0.0,
                limit: 1.0,
                passed: false,
                when: Duration::ZERO,
                at: None,
            };
            let value = Withdrawn { sequence: Sequence(1), failed, decided: theatre.now };
            theatre.input.withdrawn.set([Numbered { number: 1, value }]);
        }
        wait(&mut theatre, 50);
        let after = theatre.step();
        assert_eq!(after.is_some(), !held);
        theatre.input.withdrawn.set([]);
        theatre.sent.state = GateState::Armed;
        wait(&mut theatre, 50);
        assert_eq!(theatre.step().is_some(), held);
    }
}

#[test]
fn without_any_approval_the_surgeon_is_asked_and_the_case_ends() {
    for answer in [Answer::Reject(Check::SceneFresh), Answer::Silence] {
        let mut theatre = theatre();
        theatre.play(&answer, 200);
        let last: Vec<_> = theatre.plans.iter().rev().take(2).map(|p| p.proposal.clone()).collect();
        assert_eq!(last[0], Proposal::Request(Request::Finish));
        let Proposal::Request(Request::AskSurgeon(words)) = &last[1] else { panic!("{last:?}") };
        assert!(words.contains("no motion was approved for 60.00 s"), "{words}");
        assert!(theatre.now >= Instant::START + Duration::from_secs(60));
        assert!(theatre.step().is_none());
        assert_eq!(theatre.stage.waiting(), Waiting::Finished);
    }
}

#[test]
fn a_moment_that_does_not_fit_is_no_ground_against_a_place() {
    let mut theatre = theatre();
    let first = theatre.step().expect("due");
    theatre.answer(&first, &Answer::Reject(Check::TipFresh));
    assert!(theatre.step().is_none());
    assert_eq!(theatre.stage.waiting(), Waiting::Retry);
    wait(&mut theatre, 500);
    assert_eq!(theatre.step().expect("due again").proposal, first.proposal);
}

#[test]
fn inputs_that_do_not_fit_are_refused_by_name() {
    let mut theatre = theatre();
    theatre.sent.joints = Joints::zeros(6);
    let mut out = None;
    theatre.input.sent.set(9, theatre.sent);
    theatre.input.scene.set(9, Arc::new(theatre.world.scene(9, theatre.now)));
    let why = theatre.stage.step(theatre.now, &theatre.input, &mut out).expect_err("six joints");
    assert_eq!(why.to_string(), "the gate sent 6 joints; the arm has 7");

    let mut scene = theatre.world.scene(10, theatre.now);
    scene.residual.truncate(7);
    theatre.input.scene.set(10, Arc::new(scene));
    let why = theatre.stage.step(theatre.now, &theatre.input, &mut out).expect_err("short");
    assert_eq!(why.to_string(), "scene 10: `residual` holds 7 values; its grid has 262144 voxels");

    theatre.sent.joints = Joints::zeros(7);
    theatre.input.sent.set(11, theatre.sent);
    let mut scene = theatre.world.scene(11, theatre.now);
    scene.frame = FrameId(5);
    theatre.input.scene.set(11, Arc::new(scene));
    let why = theatre.stage.step(theatre.now, &theatre.input, &mut out).expect_err("another scan");
    assert!(why.to_string().contains("poses do not meet"), "{why}");
    assert!(out.is_none());
}

#[test]
fn a_scene_of_another_anatomy_is_not_planned_on() {
    let mut theatre = theatre();
    let mut anatomy = theatre.world.anatomy.clone();
    anatomy.digest = bregma_core::digest::Digest::of(b"another");
    theatre.input.anatomy.set(2, Arc::new(anatomy));
    assert!(theatre.step().is_none());
    assert_eq!(theatre.stage.waiting(), Waiting::Anatomy);
}
