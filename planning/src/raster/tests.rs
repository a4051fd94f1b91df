//! The raster planner on synthetic tumours.

use super::*;
use crate::world::{Answer, Theatre, World};
use bregma_core::flow::{Proposal, Request};

fn theatre(world: World) -> Theatre {
    Theatre::with(world, Box::new(Raster::new(GreedySettings::STANDARD).expect("in range")))
}

#[test]
fn a_ball_is_removed_from_the_corridor_inwards_and_the_case_ends() {
    let world = World::ball(11.0);
    let (reachable, all) = (world.reachable(), world.reachable().iter().filter(|r| **r).count());
    let mut theatre = theatre(world);
    theatre.play(&Answer::Play, 400);
    let left = (0..reachable.len()).filter(|i| reachable[*i] && theatre.world.core[*i]).count();
    assert!(left * 33 <= all, "{left} of {all} voxels are left");
    assert!(theatre.world.overcut_ml(11.0) <= 1.0);
    assert!(matches!(&theatre.plans.last().expect("one").proposal, Proposal::Request(Request::Finish)));
    let depths: Vec<f64> = theatre
        .plans
        .iter()
        .filter_map(|plan| match &plan.proposal {
            Proposal::Motions(motions) => crate::memory::energised(&motions[0]).map(|at| at.z).reduce(f64::min),
            Proposal::Request(_) => None,
        })
        .collect();
    assert!(depths.len() > 4, "{depths:?}");
    let (first, last) = (depths[0], depths.iter().copied().fold(f64::INFINITY, f64::min));
    assert!(first > 5.0 && last < -7.0, "it begins at {first} mm and comes down to {last} mm");
    // Layers: no stroke reaches more than two layers below the deepest one before it.
    let mut deepest = first;
    for depth in depths {
        assert!(depth >= deepest - 2.0 * GreedySettings::STANDARD.layer_mm, "{depth} mm after {deepest} mm");
        deepest = deepest.min(depth);
    }
}

#[test]
fn the_side_of_a_forbidden_region_comes_last() {
    let mut world = World::ball(9.0);
    world.forbid(Point3::new(10.0, 0.0, 3.0), 3.0);
    let mut theatre = theatre(world);
    theatre.step();
    let plan = theatre.plans.first().expect("a plan").clone();
    let Proposal::Motions(motions) = &plan.proposal else { panic!("{:?}", plan.proposal) };
    let first = crate::memory::energised(&motions[0]).next().expect("a cut");
    assert!(first.x < 5.0, "{first}");
}
