//! A margin's interval, of an estimator that says how it follows from its probabilities.

use crate::theatre::{Theatre, picture};
use bregma_core::digest::Digest;
use bregma_core::flow::{Light, ROI_EDGE, ROI_SPACING_MM};
use bregma_perception::engine::EngineError;
use bregma_perception::perceive::trust::Interval;
use bregma_perception::perceive::{self, Estimator, Perceive, View};

/// Core to the left of a plane, unsure over some voxels on either side of it.
struct Plane {
    interval: Interval,
}

const SURFACE: usize = 32;

impl Estimator for Plane {
    fn digest(&self) -> Digest {
        Digest::default()
    }

    fn estimate(&mut self, _: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        for (i, residual) in residual.iter_mut().enumerate() {
            *residual = match i % ROI_EDGE {
                x if x + 3 < SURFACE => 250,
                x if x < SURFACE => 200,
                x if x < SURFACE + 5 => 60,
                _ => 5,
            };
        }
        Ok(())
    }

    fn interval(&self) -> Option<Interval> {
        Some(self.interval)
    }
}

fn half_mm(between: [u8; 2], factor: f32) -> (f64, f64) {
    let mut theatre = Theatre::new();
    let estimator = Plane { interval: Interval { between, factor } };
    theatre.perceive = Perceive::with_estimator(perceive::Settings::default(), Box::new(estimator));
    let scene = theatre.scene(picture(40, Light::White, [0; 3]));
    let at = scene.grid.index([SURFACE + 8, 20, 20]);
    // 8.5 voxels from where the core is likely, and the surfaces at other probabilities are 5 voxels nearer and 3 farther.
    assert!((scene.margin_mm(at) - 8.5 * ROI_SPACING_MM).abs() < 0.02, "{}", scene.margin_mm(at));
    let error_mm = scene.errors.rigid().get() + scene.errors.shift.get();
    (scene.interval_mm(at), error_mm)
}

#[test]
fn an_interval_reaches_to_the_surfaces_at_its_probabilities() {
    let expected =
        |voxels: f64, error_mm: f64, factor: f64| factor * ((voxels + 0.5) * ROI_SPACING_MM).hypot(1.645 * error_mm);
    for (between, voxels) in [([50, 210], 5.0), ([100, 210], 3.0), ([100, 150], 0.0)] {
        for factor in [1.0, 0.5] {
            let (half, error_mm) = half_mm(between, factor);
            let expected = expected(voxels, error_mm, f64::from(factor));
            // Rounded up to a sixteenth.
            assert!((0.0..0.08).contains(&(half - expected)), "{between:?}: {half} mm for {expected}");
        }
    }
}
