//! Margin and interval by a rule that was fitted.

use crate::theatre::{Theatre, picture};
use bregma_core::digest::Digest;
use bregma_core::flow::{Light, ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS, Scene};
use bregma_perception::engine::EngineError;
use bregma_perception::perceive::margin::{Beside, Rule, WEIGHTS};
use bregma_perception::perceive::{self, Estimator, Perceive, View};
use std::sync::Arc;

/// Core to the left of a plane, and a speck beside it; another estimator says that core ends two voxels farther.
struct Plane {
    rule: Rule,
    classical: Vec<u8>,
}

const SURFACE: usize = 32;
const SPECK: [usize; 3] = [50, 40, 40];

fn left_of(surface: usize) -> Vec<u8> {
    (0..ROI_VOXELS).map(|i| if i % ROI_EDGE < surface { 250 } else { 5 }).collect()
}

impl Estimator for Plane {
    fn digest(&self) -> Digest {
        Digest::default()
    }

    fn estimate(&mut self, _: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        residual.copy_from_slice(&left_of(SURFACE));
        let [x, y, z] = SPECK;
        residual[x + ROI_EDGE * (y + ROI_EDGE * z)] = 250;
        Ok(())
    }

    fn beside(&self) -> Option<Beside<'_>> {
        Some(Beside { rule: &self.rule, classical: &self.classical })
    }
}

fn scene(rule: Rule) -> Arc<Scene> {
    let mut theatre = Theatre::new();
    let estimator = Plane { rule, classical: left_of(SURFACE + 2) };
    theatre.perceive = Perceive::with_estimator(perceive::Settings::default(), Box::new(estimator));
    theatre.scene(picture(40, Light::White, [0; 3]))
}

/// Nothing but what is added: lower bound, median and upper bound beside the surface's distance.
fn added(by: [f32; 3]) -> [f32; WEIGHTS] {
    let mut weights = [0.0; WEIGHTS];
    weights[WEIGHTS - 3..].copy_from_slice(&by);
    weights
}

#[test]
fn margin_and_interval_follow_from_a_rule_and_every_speck_counts() {
    let scene = scene(Rule::new(33, 1.5, 1e3, added([-2.0, -0.5, 1.0])));
    let at = |x: usize| scene.grid.index([x, 20, 20]);
    let near = |voxels: f64| voxels * ROI_SPACING_MM;
    // 3.5 voxels from the plane, and as many within.
    assert!((scene.margin_mm(at(SURFACE + 3)) - (near(3.5) - 0.5)).abs() < 0.02);
    assert!((scene.margin_mm(at(SURFACE - 4)) - (near(-3.5) - 0.5)).abs() < 0.02);
    assert!((scene.interval_mm(at(SURFACE + 3)) - 1.5 * 1.5).abs() <= 1.0 / 16.0);
    // Half a voxel from it, half a millimetre less is still outside; a voxel of core is within.
    assert!(scene.margin_mm(at(SURFACE)) > 0.0 && scene.margin_mm(at(SURFACE - 1)) < 0.0);
    // Far off the surface counts.
    assert!((scene.margin_mm(at(SURFACE + 12)) - near(12.5)).abs() < 0.02, "{}", scene.margin_mm(at(SURFACE + 12)));
    assert!(scene.margin_mm(scene.grid.index(SPECK)) < 0.0);
}

#[test]
fn what_another_estimator_says_moves_a_margin_where_the_rule_has_it_so() {
    // A tenth of the distance to the other's surface, of which features are a sixth.
    let mut weights = added([-1.0, 0.0, 1.0]);
    let (linear, classical) = (WEIGHTS - 3 - 10 * 3, 2);
    (0..3).for_each(|q| weights[linear + classical * 3 + q] = 0.6);
    let scene = scene(Rule::new(33, 1.0, 1e3, weights));
    let at = scene.grid.index([SURFACE + 4, 20, 20]);
    let expected = (4.5 + 0.1 * 2.5) * ROI_SPACING_MM;
    assert!((scene.margin_mm(at) - expected).abs() < 0.03, "{} for {expected}", scene.margin_mm(at));
}

#[test]
fn an_error_beyond_that_of_the_calibration_widens_the_interval() {
    let half = |error_mm: f32| {
        let scene = scene(Rule::new(33, 1.0, error_mm, added([-1.0, 0.0, 1.0])));
        (scene.interval_mm(scene.grid.index([SURFACE + 3, 20, 20])), scene.errors.rigid().get())
    };
    let (wide, rigid) = half(0.0);
    let expected = 1.0_f64.hypot(1.645 * rigid);
    assert!(rigid > 0.1 && (0.0..0.08).contains(&(wide - expected)), "{wide} for {expected}");
    assert!((half(1e3).0 - 1.0).abs() <= 1.0 / 16.0);
}
