//! The model-predictive planner on synthetic tumours.

use super::*;
use crate::world::{Answer, Theatre, World};
use bregma_core::flow::{Proposal, Request};

fn theatre(world: World) -> Theatre {
    Theatre::with(world, Box::new(Mpc::new(GreedySettings::STANDARD).expect("in range")))
}

#[test]
fn a_ball_is_removed_and_the_case_ends() {
    let world = World::ball(11.0);
    let reachable = world.reachable();
    let all = reachable.iter().filter(|r| **r).count();
    let mut theatre = theatre(world);
    theatre.play(&Answer::Play, 400);
    let left = (0..reachable.len()).filter(|i| reachable[*i] && theatre.world.core[*i]).count();
    assert!(left * 33 <= all, "{left} of {all} voxels are left");
    assert!(theatre.world.overcut_ml(11.0) <= 1.0);
    assert!(matches!(&theatre.plans.last().expect("one").proposal, Proposal::Request(Request::Finish)));
}

#[test]
fn the_same_case_twice_is_the_same_case_and_never_touches_what_is_forbidden() {
    let play = || {
        let mut world = World::ball(9.0);
        world.forbid(Point3::new(7.0, 2.0, 1.0), 2.5);
        let mut theatre = theatre(world);
        // Carving asserts that nothing forbidden is cut.
        theatre.play(&Answer::Play, 12);
        theatre.plans
    };
    let plans = play();
    assert!(plans.len() > 3);
    assert_eq!(plans, play());
}

#[test]
fn what_is_found_is_never_worth_less_than_the_greedy_sequence() {
    use crate::memory::Memory;
    use crate::reach::{Reach, corridor_axis};
    use crate::world::{SHAFT_MM, pointing_down};
    use bregma_core::time::Instant;
    use std::sync::Arc;
    let world = World::ball(11.0);
    let (scene, memory, settings) = (world.scene(1, Instant::START), Memory::default(), GreedySettings::STANDARD);
    let tip = pointing_down(Point3::new(0.0, 0.0, 70.0));
    let view = View { scene: &scene, anatomy: &world.anatomy, tip, shaft_radius_mm: SHAFT_MM, memory: &memory };
    let axis = corridor_axis(view.anatomy).expect("an axis");
    let mut model = Model::new(Arc::new(Reach::pivots(&view, axis, &settings).swap_remove(0)), &settings, &view);
    let starts = model.starts(&Point3::new(0.0, 0.0, 70.0));
    let mut ahead = Ahead::default();
    ahead.begin(&model, &view);
    let (mut found, mut better) = (0, 0);
    for &(_, start) in starts.iter().step_by(7) {
        let mark = model.mark();
        let first = model.centre(start);
        let Some(stroke) = Stroke::begin(&mut model, &first) else { continue };
        let greedy = ahead.tried(&mut model, &stroke, &starts, || 0.0);
        let way = ahead.look_ahead(&mut model, &stroke, &starts);
        let mut worth = 0.0;
        let mut at = stroke.at;
        for to in &way {
            let (net, _) = model.carve(&at, to);
            worth += value(&model, &at, to, net);
            at = *to;
        }
        model.put_back(mark);
        assert!(worth >= greedy.worth - 1e-9, "{worth} where greedy has {}", greedy.worth);
        found += 1;
        better += usize::from(worth > greedy.worth + 1.0);
        if found == 12 {
            break;
        }
    }
    assert!(found >= 4 && better >= 1, "{better} of {found} are better");
}
