//! What a plan costs: `greedy_plan`, four candidates from a whole core of 11.5 mL.

use bregma_core::flow::Proposal;
use bregma_core::time::Instant;
use bregma_planning::{Greedy, GreedySettings, Memory, PlanIn, PlanSettings, PlanStage, Planner, View};
use criterion::{Criterion, criterion_group, criterion_main};
use nalgebra::Point3;
use std::hint::black_box;
use world::{SHAFT_MM, World, pointing_down};

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../src/world.rs"]
mod world;

fn benches(c: &mut Criterion) {
    let world = World::ball(14.0);
    let scene = world.scene(1, Instant::START);
    let memory = Memory::default();
    let tip = pointing_down(Point3::new(0.0, 0.0, 70.0));
    let view = View { scene: &scene, anatomy: &world.anatomy, tip, shaft_radius_mm: SHAFT_MM, memory: &memory };
    let mut planner = Greedy::new(GreedySettings::STANDARD).expect("within range");
    c.bench_function("greedy_plan", |b| {
        b.iter(|| {
            let proposal = planner.propose(black_box(&view));
            assert!(matches!(&proposal, Proposal::Motions(motions) if motions.len() == 4));
        });
    });
}

criterion_group!(plans, benches);
criterion_main!(plans);
