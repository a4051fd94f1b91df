//! Seeded noise for tests.

use nalgebra::Vector3;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(super) struct Noise(ChaCha8Rng);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Between.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0.random_range(low..high)
    }

    /// Normally distributed, by Box and Muller.
    pub(super) fn normal(&mut self, deviation: f64) -> f64 {
        let (u, v) = (self.0.random_range(f64::MIN_POSITIVE..1.0), self.0.random_range(0.0..1.0));
        deviation * (-2.0 * f64::ln(u)).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// With this standard deviation along each axis.
    pub(super) fn vector(&mut self, deviation: f64) -> Vector3<f64> {
        Vector3::from_fn(|_, _| self.normal(deviation))
    }
}
