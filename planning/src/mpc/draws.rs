//! Draws that are the same on every machine: whole numbers, and sums of them.
//!
//! **Source:** SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).

/// A sequence of draws.
#[derive(Debug, Clone)]
pub(super) struct Draws(u64);

impl Draws {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Of mean 0 and standard deviation 1: the sum of twelve uniform draws less six, without any function that libraries
    /// round differently.
    pub fn about_zero(&mut self) -> f64 {
        (0..12).map(|_| (self.bits() >> 11) as f64 * f64::EPSILON * 0.5).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_mean_zero_and_deviation_one_and_repeat() {
        let (mut draws, mut again) = (Draws::new(7), Draws::new(7));
        let drawn: Vec<f64> = (0..20_000).map(|_| draws.about_zero()).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let spread = (drawn.iter().map(|d| (d - mean) * (d - mean)).sum::<f64>() / drawn.len() as f64).sqrt();
        assert!(mean.abs() < 0.03 && (spread - 1.0).abs() < 0.03, "{mean} and {spread}");
        assert_eq!(drawn[3].to_bits(), (0..4).map(|_| again.about_zero()).last().map_or(0, f64::to_bits));
        assert_ne!(drawn[0].to_bits(), Draws::new(8).about_zero().to_bits());
    }
}
