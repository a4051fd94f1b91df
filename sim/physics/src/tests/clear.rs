//! The distance fields against the physics engine, and what passes between two samples.

use super::phantom::{Phantom, ball, down, scene, to};
use crate::limits::LimitValues;
use crate::obstacles::{Obstacles, Vessel};
use crate::posture::Mounted;
use crate::profile::course;
use crate::sweep::{Sample, Sweep, samples};
use crate::world::{Touched, World};
use bregma_core::flow::{Capsule, Energy};
use nalgebra::Point3;
use rapier3d::parry::query::intersection_test;
use rapier3d::parry::shape::{Ball, Voxels};
use rapier3d::prelude::{IVector, Pose, Vector};

fn mounted(phantom: &Phantom) -> Mounted {
    Mounted { arm: phantom.arm.clone(), mount: phantom.mount }
}

#[test]
fn fields_and_engine_agree_on_where_voxels_begin() {
    let phantom = Phantom::new();
    let obstacles = Obstacles::new(&phantom.scene, &phantom.anatomy).expect("whole");
    for cubes in [&obstacles.forbidden, &obstacles.skull] {
        let grid = *cubes.grid();
        let keys: Vec<IVector> = (0..grid.len())
            .filter(|i| cubes.filled()[*i])
            .map(|i| {
                let v = grid.voxel(i);
                IVector::new(v[0] as i32, v[1] as i32, v[2] as i32)
            })
            .collect();
        let voxels = Voxels::new(Vector::splat(grid.spacing_mm as f32), &keys);
        let corner = Vector::from(grid.origin.map(|o| (o - 0.5 * grid.spacing_mm) as f32));
        let mut compared = 0;
        for n in 0..200 {
            let t = f64::from(n);
            let at = Point3::new(24.0 * (t * 0.7).cos(), 24.0 * (t * 1.3).sin(), 48.0 + 20.0 * (t * 0.31).sin());
            let Some(distance) = cubes.nearer(&at, 60.0, |_| true, true).filter(|d| *d > 0.1) else { continue };
            compared += 1;
            let centre = Pose::from_translation(Vector::new(at.x as f32, at.y as f32, at.z as f32));
            let meets = |radius: f64| {
                intersection_test(&Pose::from_translation(corner), &voxels, &centre, &Ball::new(radius as f32))
                    .expect("supported")
                    .intersecting
            };
            assert!(!meets(distance - 0.01), "{at}: {distance}");
            assert!(meets(distance + 0.01), "{at}: {distance}");
        }
        assert!(compared > 100, "{compared}");
    }
}

#[test]
fn the_second_look_sees_what_the_first_would_and_edits_by_difference() {
    let phantom = Phantom::new();
    let mounted = mounted(&phantom);
    let limits = LimitValues::USUAL;
    let mut world = World::new(&mounted, limits.handle_radius_mm);
    let waypoints = [to(0.0, 0.0, 46.0, 9.0, Energy::OFF)];
    let path = mounted
        .solve(&phantom.joints, course(phantom.tip().isometry(), &waypoints, &limits).expect("short"))
        .expect("reached");
    let mut obstacles = Obstacles::new(&phantom.scene, &phantom.anatomy).expect("whole");
    world.take(&obstacles);
    let seen = world.play(&path);
    assert_eq!(seen.touched, None);
    assert!(seen.tissue_steps > 5, "the tip ends 2 mm in tissue: {}", seen.tissue_steps);

    let wall = scene(&phantom.anatomy, |p| ball(p) || (p - Point3::new(0.0, 0.0, 55.0)).norm() < 1.5);
    obstacles.take_scene(&wall).expect("whole");
    world.take(&obstacles);
    let (what, when, at) = world.play(&path).touched.expect("in the way");
    assert_eq!(what, Touched::Forbidden);
    assert!(at.z > 55.0 && at.z < 58.5 && when.nanos() > 0, "{at}");

    obstacles.take_scene(&phantom.scene).expect("whole");
    world.take(&obstacles);
    assert_eq!(world.play(&path), seen);

    let (start, end) = (Point3::new(-5.0, 1.0, 60.0), Point3::new(5.0, 1.0, 60.0));
    obstacles.vessels.push(Vessel { capsule: Capsule { start, end, radius_mm: 0.5 }, error_mm: 0.0 });
    world.take(&obstacles);
    assert_eq!(world.play(&path).touched.map(|t| t.0), Some(Touched::Vessel));
}

#[test]
fn the_second_look_sees_bone() {
    let phantom = Phantom::new();
    let mounted = mounted(&phantom);
    let limits = LimitValues::USUAL;
    let mut world = World::new(&mounted, limits.handle_radius_mm);
    world.take(&Obstacles::new(&phantom.scene, &phantom.anatomy).expect("whole"));
    let waypoints = [to(30.0, 0.0, 100.0, 30.0, Energy::OFF), to(30.0, 0.0, 78.0, 9.0, Energy::OFF)];
    let path = mounted
        .solve(&phantom.joints, course(phantom.tip().isometry(), &waypoints, &limits).expect("short"))
        .expect("reached");
    assert_eq!(world.play(&path).touched.map(|t| t.0), Some(Touched::Skull));
}

/// Two samples 3 mm apart, and a thread of 0.1 mm midway, that neither of them is near.
#[test]
fn a_thin_vessel_between_two_samples_is_caught() {
    let phantom = Phantom::new().at(down(0.0, 0.0, 60.0));
    let mounted = mounted(&phantom);
    let limits = LimitValues::USUAL;
    let mut obstacles = Obstacles::new(&scene(&phantom.anatomy, |_| false), &phantom.anatomy).expect("whole");
    (obstacles.error_mm, obstacles.rigid_mm) = (0.0, 0.0);
    let (start, end) = (Point3::new(3.0, -9.0, 58.0), Point3::new(3.0, 9.0, 58.0));
    obstacles.vessels = vec![Vessel { capsule: Capsule { start, end, radius_mm: 0.05 }, error_mm: 0.0 }];
    let at = |x: f64| Phantom::new().at(down(x, 0.0, 56.0)).joints;
    let (a, b) = (mounted.posture(&at(0.0)), mounted.posture(&at(6.0)));
    let sample = |knot, posture, slack_mm, travel_mm| Sample { knot, posture, slack_mm, travel_mm, energised: false };
    let tips = [a.tip, b.tip];
    let travel = b.moved(&a);
    let mut sweep = Sweep::default();
    let swept = [sample(0, a, 0.5 * travel, 0.0), sample(1, b, 0.5 * travel, travel)];
    assert!(sweep.measure(&mounted, &obstacles, &swept, &tips, &limits).forbidden.value < 0.0);
    // Without the slack it would have slipped through.
    let bare = [sample(0, a, 0.0, 0.0), sample(1, b, 0.0, travel)];
    assert!(sweep.measure(&mounted, &obstacles, &bare, &tips, &limits).forbidden.value > 1.0);
}

#[test]
fn samples_are_near_enough_and_hold_the_longest_travel() {
    let phantom = Phantom::new();
    let mounted = mounted(&phantom);
    let limits = LimitValues::USUAL;
    let waypoints = [
        to(0.0, 0.0, 92.0, 40.0, Energy::OFF),
        to(3.0, 0.0, 60.0, 9.0, Energy::OFF),
        to(3.0, 2.0, 60.0, 4.0, Energy::CUT),
    ];
    let path = mounted
        .solve(&phantom.joints, course(phantom.tip().isometry(), &waypoints, &limits).expect("short"))
        .expect("reached");
    let (samples, tips) = samples(&mounted, &path, &limits);
    assert_eq!(tips.len(), path.knots.len());
    assert_eq!((samples[0].knot, samples[samples.len() - 1].knot), (0, path.knots.len() - 1));
    for pair in samples.windows(2) {
        let travel: f64 = (pair[0].knot..pair[1].knot)
            .map(|k| mounted.posture(&path.knots[k + 1]).moved(&mounted.posture(&path.knots[k])))
            .sum();
        assert!(travel <= limits.step_mm + 1e-9, "{travel}");
        assert!(pair[0].slack_mm >= 0.5 * travel - 1e-9 && pair[1].slack_mm >= 0.5 * travel - 1e-9);
    }
}
