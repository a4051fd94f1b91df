//! A new scene against an approval that is being played.

use super::phantom::{NOW, Phantom, ball, scene, stamp};
use crate::{Limits, Validate, ValidateIn, ValidateOut};
use bregma_core::flow::{Check, GateState, Scene, Sequence};
use bregma_core::stage::Stage;
use bregma_core::time::Duration;
use nalgebra::Point3;
use std::sync::Arc;

struct Playing {
    phantom: Phantom,
    validate: Validate,
    input: ValidateIn,
    out: ValidateOut,
    approved: Arc<crate::Approved>,
}

impl Playing {
    fn new() -> Self {
        let phantom = Phantom::new();
        let mut validate = Validate::new(phantom.arm.clone(), phantom.mount, Limits::usual()).expect("a mount");
        let mut input = phantom.input(vec![phantom.good()]);
        let mut out = ValidateOut::default();
        validate.step(NOW, &input, &mut out).expect("whole");
        let approved = out.approved.take().expect("approved");
        input.plans.set([]);
        Self { phantom, validate, input, out, approved }
    }

    /// `after` into the path, a scene in which `forbidden` is so as well.
    fn new_scene(&mut self, after: Duration, forbidden: impl Fn(&Point3<f64>) -> bool) {
        let now = NOW + after;
        let mut scene = scene(&self.phantom.anatomy, |p| ball(p) || forbidden(p));
        scene.id = Sequence(2 + after.nanos() / 1_000_000);
        self.put(now, stamp(scene, now));
    }

    fn put(&mut self, now: bregma_core::time::Instant, scene: Scene) {
        let record = self.approved.record();
        let mut sent = self.phantom.sent(GateState::Active, Some(record.sequence));
        let after = now.since(NOW).expect("later");
        sent.joints = record.path.at(after).expect("knots").0;
        self.input.sent.set(now.nanos(), sent);
        self.input.scene.set(now.nanos(), Arc::new(scene));
        self.validate.step(now, &self.input, &mut self.out).expect("whole");
    }
}

fn at_the_corridors_end(p: &Point3<f64>) -> bool {
    (p - Point3::new(2.0, 1.0, 50.0)).norm() < 1.5
}

#[test]
fn the_same_scene_again_keeps_it() {
    let mut playing = Playing::new();
    for tenth in 1..10 {
        playing.new_scene(Duration::from_millis(100 * tenth), |_| false);
        assert_eq!(playing.out.withdrawn, None);
    }
}

#[test]
fn a_new_forbidden_region_ahead_withdraws_it_once() {
    let mut playing = Playing::new();
    playing.new_scene(Duration::from_secs(1), at_the_corridors_end);
    let withdrawn = playing.out.withdrawn.expect("in the way");
    assert_eq!(withdrawn.sequence, playing.approved.record().sequence);
    assert_eq!(withdrawn.failed.check, Check::ForbiddenClearance);
    assert!(!withdrawn.failed.passed && withdrawn.failed.value < 1.0 && withdrawn.failed.when > Duration::from_secs(1));
    playing.new_scene(Duration::from_millis(1100), at_the_corridors_end);
    assert_eq!(playing.out.withdrawn, None);
}

#[test]
fn one_before_it_is_started_withdraws_it_too_and_one_out_of_the_way_does_not() {
    let mut playing = Playing::new();
    playing.new_scene(Duration::from_millis(50), |p| (p - Point3::new(-18.0, 0.0, 45.0)).norm() < 5.0);
    assert_eq!(playing.out.withdrawn, None);
    playing.new_scene(Duration::from_millis(100), at_the_corridors_end);
    assert!(playing.out.withdrawn.is_some());
}

#[test]
fn what_is_behind_does_not_count() {
    let mut playing = Playing::new();
    let length = playing.approved.record().path.length();
    // At its end the tip is back at 52 mm, the corridor's end below it no longer in the way.
    playing.new_scene(length, |p| (p - Point3::new(2.0, 1.0, 42.0)).norm() < 2.0);
    assert_eq!(playing.out.withdrawn, None);
    playing.new_scene(length + Duration::from_millis(100), |p| (p - Point3::new(2.0, 1.0, 60.0)).norm() < 2.0);
    assert!(playing.out.withdrawn.is_some(), "the shaft is still there");
}

#[test]
fn a_region_that_moved_is_looked_at_whole() {
    let mut playing = Playing::new();
    let now = NOW + Duration::from_millis(500);
    let mut moved = scene(&playing.phantom.anatomy, |_| false);
    moved.grid.origin[0] += 0.4;
    let near = moved.grid.containing(&Point3::new(2.0, 1.0, 50.0)).expect("inside");
    moved.state[moved.grid.index(near)] |= bregma_core::flow::voxel::FORBIDDEN;
    playing.put(now, stamp(moved, now));
    assert!(playing.out.withdrawn.is_some());
}

#[test]
fn one_that_came_too_late_does_not_end_the_watch_over_the_one_before() {
    let mut playing = Playing::new();
    let late = playing.phantom.input(vec![playing.phantom.good()]);
    playing.validate.step(NOW, &late, &mut playing.out).expect("whole");
    assert!(playing.out.approved.is_some());
    playing.validate.overran(&mut playing.out);
    playing.new_scene(Duration::from_millis(100), at_the_corridors_end);
    let sequence = playing.approved.record().sequence;
    assert_eq!(playing.out.withdrawn.as_ref().map(|w| w.sequence), Some(sequence));
}
