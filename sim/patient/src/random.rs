//! Draws: everything random about a patient and its devices comes from one seed.
//!
//! Each purpose has its own stream of the same seed, so that a change in one leaves the others as they
//! were. Transcendental functions are `libm`'s: the same seed gives the same bytes on every machine.

use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Which purpose a stream serves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Warp = 1,
    Tumour,
    Vessels,
    Approach,
    Fluorescence,
    Scan,
    Mount,
    Tracker,
    Camera,
    Picture,
    SmoothWarp,
    Sulci,
    Microscope,
    Occlusion,
    Texture,
    HandEye,
    /// Lobes and satellites.
    TumourShape = 40,
    /// A patient's contrasts on scans.
    Contrast,
    Shift,
    /// Strokes of a rehearsal.
    Hand,
    /// Tissue's stiffness, clogs and tugs.
    Instrument = 60,
    Bleeding,
    /// Drift, outliers and jitter of the tracker.
    Wander,
    Fault,
    /// Errors of a stereo microscope's ranges.
    Ranging,
    /// How the tracking camera sees the reference array.
    Reference,
    /// Registrations after the first.
    Register,
}

pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose as u64);
        Self(rng)
    }

    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    pub(crate) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        low * libm::pow(high / low, self.0.random::<f64>())
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// Standard normal (Box–Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let u = 1.0 - self.0.random::<f64>();
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * self.0.random::<f64>())
    }

    pub(crate) fn normals(&mut self, sigma: f64) -> Vector3<f64> {
        Vector3::new(self.normal(), self.normal(), self.normal()) * sigma
    }

    pub(crate) fn direction(&mut self) -> Vector3<f64> {
        loop {
            let v = self.normals(1.0);
            if v.norm() > 1e-3 {
                return v.normalize();
            }
        }
    }

    /// A small turn, normal about each axis.
    pub(crate) fn turn(&mut self, sigma_rad: f64) -> UnitQuaternion<f64> {
        turn(self.normals(sigma_rad))
    }
}

/// The rotation with that rotation vector, by `libm`.
pub(crate) fn turn(vector: Vector3<f64>) -> UnitQuaternion<f64> {
    let angle = vector.norm();
    if angle < 1e-12 {
        return UnitQuaternion::identity();
    }
    let axis = vector * (libm::sin(angle / 2.0) / angle);
    UnitQuaternion::from_quaternion(Quaternion::new(libm::cos(angle / 2.0), axis.x, axis.y, axis.z))
}

/// 64 well-mixed bits of a seed and an index (splitmix64's finaliser).
pub(crate) fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Two nearly normal numbers from 64 bits: each the sum of four 8-bit uniforms, scaled to unit variance.
///
/// Tails end at ±3.5 σ, which noise in a picture can spare; it costs a tenth of Box–Muller.
pub(crate) fn normal_pair(bits: u64) -> (f32, f32) {
    let sum = |bits: u32| bits.to_le_bytes().iter().map(|b| f32::from(*b)).sum::<f32>();
    // Four uniforms on 0 to 255: mean 510, variance 4 · (256² − 1)/12 = 21845.
    let scale = |s: f32| (s - 510.0) / 147.801;
    (scale(sum(bits as u32)), scale(sum((bits >> 32) as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cheap_normals_have_unit_variance() {
        let n = 40_000_u64;
        let values: Vec<f32> = (0..n).flat_map(|i| <[f32; 2]>::from(normal_pair(mix(7, i)))).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |p| Draws::new(3, p).bits();
        assert_eq!(draw(Purpose::Warp), draw(Purpose::Warp));
        assert_ne!(draw(Purpose::Warp), draw(Purpose::Tumour));
    }
}
