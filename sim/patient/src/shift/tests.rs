//! Both solvers against closed forms and against each other, and one brain over an operation.

use super::body::{Grip, Hold, Lump};
use super::course::Conditions;
use super::material::Elastic as Material;
use super::*;
use crate::patient::tests::grown;
use crate::truth::OPEN;

/// Edge of the blocks' cells, mm.
const EDGE: f64 = 4.0;

/// A block of cells whose faces at low x, y and z glide on rollers; `walled` ones also at high x and y.
fn block(cells: [usize; 3], material: Material, walled: bool) -> Body {
    let grid = Grid { dims: cells.map(|n| n + 1), spacing_mm: EDGE, origin: [0.0; 3] };
    let inside = |i: &usize| grid.voxel(*i).iter().zip(cells).all(|(v, n)| *v < n);
    let lumps: Vec<Lump> = (0..grid.len()).filter(inside).map(|i| (i, material, 1.0, 1.0)).collect();
    let mut body = Body::new(grid, &lumps);
    for node in 0..body.nodes.len() {
        let v = grid.voxel(body.nodes[node] as usize);
        for (a, normal) in [Vector3::x(), Vector3::y(), Vector3::z()].into_iter().enumerate() {
            if v[a] == 0 || (walled && a < 2 && v[a] == cells[a]) {
                body.holds.push(Hold { node: node as u32, normal, stiffness: 2e4, grip: Grip::Both });
            }
        }
    }
    body
}

fn at_top(body: &Body) -> Vec<usize> {
    let high = (body.grid.dims[2] - 1) as f64 * EDGE;
    (0..body.nodes.len()).filter(|n| body.at(*n).z > high - 0.1).collect()
}

/// A load that pulls on the top, kPa.
fn pulled(body: &Body, kpa: f32) -> Load {
    let mut load = Load::at_rest(body);
    let area = body.surface();
    at_top(body).into_iter().for_each(|n| load.force[n].z = kpa * area[n].z);
    load
}

fn settled(mut solver: impl Solver, body: &Body, load: &Load) -> Vec<Vector3<f32>> {
    solver.settle(body, load);
    solver.moved().to_vec()
}

fn mean_z(moved: &[Vector3<f32>], nodes: &[usize]) -> f32 {
    nodes.iter().map(|n| moved[*n].z).sum::<f32>() / nodes.len() as f32
}

/// Constant stress gives constant strain at every node, nearly incompressible or not.
#[test]
fn finite_elements_pass_the_patch_test() {
    for bulk in [2.0_f32, 50.0] {
        let body = block([4, 3, 6], Material { shear: 1.0, bulk }, false);
        let moved = settled(Elastic::new(&body), &body, &pulled(&body, 0.05));
        let young = 9.0 * bulk / (3.0 * bulk + 1.0);
        let poisson = (3.0 * bulk - 2.0) / (2.0 * (3.0 * bulk + 1.0));
        let strain = 0.05 / young;
        for (n, u) in moved.iter().enumerate() {
            let at = body.at(n).coords.cast::<f32>();
            let expected = Vector3::new(-poisson * at.x, -poisson * at.y, at.z) * strain;
            assert!((u - expected).norm() < 0.01 * strain * 24.0, "bulk {bulk}: {u:?} for {expected:?}");
        }
    }
}

/// A pulled block of particles grows by its Young's modulus, and thins; at its free faces only half of the
/// springs' neighbours are there.
#[test]
fn particles_follow_youngs_modulus() {
    let body = block([5, 5, 8], Material { shear: 1.0, bulk: 8.0 }, false);
    let moved = settled(Particles::new(&body), &body, &pulled(&body, 0.05));
    let grown_mm = mean_z(&moved, &at_top(&body));
    let expected = 0.05 / (9.0 * 8.0 / 25.0) * 32.0;
    assert!((grown_mm / expected - 1.0).abs() < 0.08, "{grown_mm} mm for {expected}");
}

/// Between walls a block sinks under its weight by w·h²/2M, with M = K + 4/3 μ.
#[test]
fn a_walled_block_sinks_by_its_own_weight() {
    let (shear, bulk, cells) = (1.0_f32, 4.0_f32, 8);
    let body = block([3, 3, cells], Material { shear, bulk }, true);
    let mut load = Load::at_rest(&body);
    // Dry all the way: no buoyancy.
    load.act(&body, &Conditions { up: Vector3::z(), level_mm: -100.0, pressure_kpa: 0.0 });
    let high = cells as f32 * EDGE as f32;
    let expected = -material::FLUID_WEIGHT * high * high / (2.0 * (bulk + 4.0 / 3.0 * shear));
    let top = at_top(&body);
    let home = mean_z(&settled(Elastic::new(&body), &body, &load), &top);
    let foreign = mean_z(&settled(Particles::new(&body), &body, &load), &top);
    assert!((home / expected - 1.0).abs() < 0.02, "{home} mm for {expected}");
    // One pass of constraints a substep leaves particles about 8 % too soft under forces that act throughout.
    assert!((foreign / expected - 1.0).abs() < 0.1, "{foreign} mm for {expected}");
}

/// Where a linear solid would lose four fifths of its height, particles lose about a third and no layer of them
/// is crushed. (The softest
/// brain, dry from top to bottom, loses a quarter of a cell; far beyond that the pass of constraints fails.)
#[test]
fn soft_particles_are_squeezed_and_not_crushed() {
    let body = block([3, 3, 8], Material { shear: 0.1, bulk: 0.2 }, true);
    let modulus = 0.2 + 4.0 / 3.0 * 0.1;
    let moved = settled(Particles::new(&body), &body, &pulled(&body, -0.8 * modulus));
    let grid = body.grid;
    let height = |n: usize| body.at(n).z as f32 + moved[n].z;
    let numbered = |at: usize| body.nodes.iter().position(|n| *n as usize == at).expect("a full block");
    for k in 1..grid.dims[2] {
        let (low, high) = (numbered(grid.index([1, 1, k - 1])), numbered(grid.index([1, 1, k])));
        assert!(height(high) > height(low) + 0.3 * EDGE as f32, "layer {k}: {} over {}", height(high), height(low));
    }
    let squeezed = -mean_z(&moved, &at_top(&body)) / 32.0;
    assert!((0.2..0.45).contains(&squeezed), "by {squeezed} of its height");
}

#[test]
fn a_wall_pushes_one_way() {
    let mut body = block([3, 3, 4], Material { shear: 1.0, bulk: 4.0 }, false);
    for n in at_top(&body) {
        let grip = Grip::Wall { gap_mm: 0.2, tether: 0.0 };
        body.holds.push(Hold { node: n as u32, normal: Vector3::z(), stiffness: 400.0, grip });
    }
    let top = at_top(&body);
    let free = 0.3 / (9.0 * 4.0 / 13.0) * 16.0;
    for (pull, expected) in [(0.3, 0.2), (-0.3, -free)] {
        let load = pulled(&body, pull);
        for moved in [settled(Elastic::new(&body), &body, &load), settled(Particles::new(&body), &body, &load)] {
            let z = mean_z(&moved, &top);
            assert!((z - expected).abs() < 0.03 + 0.12 * expected.abs(), "pull {pull}: {z} mm for {expected}");
        }
    }
}

fn brain(kind: WorldKind) -> Brain {
    let p = grown();
    let mut brain = Brain::new(&p, kind, [0.0, 0.0]);
    let state: Vec<u8> = (0..p.truth.grid.len()).map(|i| if p.open_at_start(i) { OPEN } else { SOLID }).collect();
    brain.open(&p, &state);
    brain
}

#[test]
fn the_brain_swells_then_sags_within_the_skull_and_the_falx_holds() {
    let mut brain = brain(WorldKind::Home);
    let p = grown();
    let under = p.corridor.entry + crate::world::any_across(&p.craniotomy.outward) * 11.0;
    let mut field = Field::still(brain.body.grid);
    let mut out = Vec::new();
    for minutes in [0.5, 15.0, 30.0, 60.0, 107.0] {
        brain.settle(minutes);
        brain.write_with(Vector3::zeros(), &mut field);
        out.push((field.now(&under) - under).dot(&p.craniotomy.outward));
    }
    assert!(out[0] > 0.3, "it bulges at first: {out:?}");
    assert!(out.windows(2).all(|w| w[1] < w[0]) && out[4] < -0.5, "it sags ever after: {out:?}");
    let moved = brain.solver.moved();
    let largest = moved.iter().map(Vector3::norm).fold(0.0, f32::max);
    let (mut across, mut along) = (0.0_f32, 0.0_f32);
    for hold in &brain.body.holds {
        let u = moved[hold.node as usize];
        let off = u.dot(&hold.normal);
        match hold.grip {
            Grip::Wall { gap_mm, .. } => assert!(off < gap_mm + 0.5, "{off} mm into the skull"),
            Grip::Both => {
                across = across.max(off.abs());
                along = along.max((u - hold.normal * off).norm());
            }
        }
    }
    assert!(across < 0.25 * largest && across < along, "dura gave way by {across} of {largest} mm, glided {along}");
}

#[test]
fn two_methods_agree_on_the_direction_and_differ() {
    // One body and one load for both.
    let mut home = brain(WorldKind::Home);
    home.settle(60.0);
    let other = settled(Particles::new(&home.body), &home.body, &home.load);
    let (mut dot, mut a2, mut b2, mut off2) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for (a, b) in home.solver.moved().iter().zip(&other) {
        dot += f64::from(a.dot(b));
        a2 += f64::from(a.norm_squared());
        b2 += f64::from(b.norm_squared());
        off2 += f64::from((a - b).norm_squared());
    }
    let (cosine, apart) = (dot / (a2 * b2).sqrt(), (off2 / a2).sqrt());
    assert!(cosine > 0.9, "cosine {cosine}");
    assert!((0.02..0.5).contains(&apart), "apart by {apart} of the displacement");
    // As the worlds have them, with their own materials and course, they are further apart.
    let foreign = brain(WorldKind::Foreign);
    assert_ne!(home.course, foreign.course);
    assert!(home.body.cells.len() > foreign.body.cells.len());
}

fn start(kind: WorldKind) -> Shift {
    let p = grown();
    let state: Vec<u8> = (0..p.truth.grid.len()).map(|i| if p.open_at_start(i) { OPEN } else { SOLID }).collect();
    Shift::new(&p, kind, &ShiftSettings::default(), &state)
}

/// Core voxels in the order of their indices, as a journal.
fn journal() -> Vec<u32> {
    let labels = &grown().truth.labels;
    (0..labels.len() as u32).filter(|i| labels[*i as usize].core()).collect()
}

#[test]
fn live_updates_follow_and_do_not_depend_on_how_calls_divide_the_time() {
    let (p, journal) = (grown(), journal());
    let ms = |n: u64| Instant::START + Duration::from_millis(n);
    for kind in [WorldKind::Home, WorldKind::Foreign] {
        let (mut fine, mut coarse) = (start(kind), start(kind));
        let before = fine.field().clone();
        // 80 mm³/s, as an instrument at four times its rate would.
        for t in (0..=10_000_u64).step_by(40) {
            let taken = (t / 1000 * 80) as usize;
            fine.advance(&p, ms(t), &journal[..taken.min(journal.len())]);
            if t % 1000 == 0 {
                coarse.advance(&p, ms(t + 960), &journal[..taken.min(journal.len())]);
            }
        }
        coarse.advance(&p, ms(10_000), &journal[..800.min(journal.len())]);
        fine.advance(&p, ms(10_960), &journal[..800.min(journal.len())]);
        assert!(fine.field() == coarse.field(), "{kind:?}");
        assert!(fine.field() != &before && fine.field().largest_mm() > 0.5);
        // And it is where a solve all the way would have it.
        let brain = fine.brain.as_mut().expect("moves");
        let live = brain.solver.moved().to_vec();
        brain.settle(brain.course.start_minutes + 10.8 / 60.0);
        let behind = live.iter().zip(brain.solver.moved()).map(|(a, b)| (a - b).norm()).fold(0.0, f32::max);
        assert!(behind < 0.3, "{kind:?}: {behind} mm behind");
    }
}

#[test]
fn the_pulse_is_small_and_at_the_heart_and_the_breath() {
    let shift = start(WorldKind::Home);
    let brain = shift.brain.as_ref().expect("moves");
    let lifts: Vec<f64> = (0..600).map(|n| brain.course.pulse_mm(f64::from(n) * 0.1)).collect();
    let largest = lifts.iter().fold(0.0_f64, |m, l| m.max(l.abs()));
    assert!((0.05..0.8).contains(&largest), "{largest} mm");
    // At least the heart's 0.9 Hz over a minute, at most its and the breath's fastest together.
    let crossings = lifts.windows(2).filter(|w| w[0] < 0.0 && w[1] >= 0.0).count();
    assert!((10..=100).contains(&crossings), "{crossings} a minute");
}

#[test]
fn without_updates_nothing_moves() {
    let p = grown();
    let mut still = Shift::new(&p, WorldKind::Home, &ShiftSettings::off(), &[]);
    assert!(!still.advance(&p, Instant::START + Duration::from_secs(3600), &[]));
    assert!(still.field().largest_mm() <= 0.0 && still.field().now(&p.corridor.target) == p.corridor.target);
}

#[test]
fn particles_glide_along_the_skulls_curve_and_do_not_leave_it() {
    let mut brain = brain(WorldKind::Foreign);
    // On its side, all fluid gone: the worst that a position can do.
    let now = Conditions { up: Vector3::x(), level_mm: -200.0, pressure_kpa: 0.0 };
    brain.load.act(&brain.body, &now);
    brain.solver.settle(&brain.body, &brain.load);
    let moved = brain.solver.moved();
    let largest = moved.iter().map(Vector3::norm).fold(0.0, f32::max);
    assert!((5.0..40.0).contains(&largest), "{largest} mm");
    for hold in &brain.body.holds {
        if let Grip::Wall { gap_mm, .. } = hold.grip {
            let (out, _) = brain.body.came_out(hold, &moved[hold.node as usize]);
            assert!(out < gap_mm + 1.0, "{out} mm out of the skull");
        }
    }
    let before = moved.to_vec();
    brain.solver.settle(&brain.body, &brain.load);
    let on = before.iter().zip(brain.solver.moved()).map(|(a, b)| (a - b).norm()).fold(0.0, f32::max);
    assert!(on < 0.5, "it is at rest: {on} mm further");
}
