//! Settings of the stage and of the greedy planner, with the range of each.
//!
//! The program's configuration fills in every field; `STANDARD` documents the values that the tests use.

use bregma_core::digest::{Digest, Digester};
use bregma_core::time::Duration;

/// A setting lies outside its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("`{name}` is {value}; it must lie in {low} to {high}")]
pub struct OutOfRange {
    /// Which setting, as configurations write it.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// Lowest permitted.
    pub low: f64,
    /// Highest permitted.
    pub high: f64,
}

fn within(name: &'static str, value: f64, low: f64, high: f64) -> Result<(), OutOfRange> {
    // Asks "is it inside?", so NaN is refused.
    if value >= low && value <= high { Ok(()) } else { Err(OutOfRange { name, value, low, high }) }
}

/// When the stage plans again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanSettings {
    /// A plan of which nothing has been heard for so long is given up and a new one is made: no verdict, no
    /// approval being played. Longer than a validation and shorter than a person's patience.
    pub silence: Duration,
    /// Pause after a plan that was rejected for reasons that pass with time (a stale scene or tip).
    pub retry: Duration,
    /// Without any approval for so long since the first plan that failed, the surgeon is asked and the case ends.
    pub give_up: Duration,
    /// Where errors forbid too much of the residual core, the surgeon is asked for a new MRI or registration; after so long without
    /// one the planner goes on.
    pub answer: Duration,
}

impl PlanSettings {
    /// 2 s of silence, 0.5 s between retries, 60 s until the surgeon is asked, 5 s for an answer.
    pub const STANDARD: Self = Self {
        silence: Duration::from_secs(2),
        retry: Duration::from_millis(500),
        give_up: Duration::from_secs(60),
        answer: Duration::from_secs(5),
    };

    /// Whether all are in range.
    ///
    /// # Errors
    /// The first that is not, in seconds.
    pub fn check(&self) -> Result<(), OutOfRange> {
        within("silence_s", self.silence.secs_f64(), 0.2, 60.0)?;
        within("retry_s", self.retry.secs_f64(), 0.0, 10.0)?;
        within("give_up_s", self.give_up.secs_f64(), 1.0, 3600.0)?;
        within("answer_s", self.answer.secs_f64(), 0.0, 600.0)
    }
}

/// How the greedy planner cuts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GreedySettings {
    /// Tissue within this distance of the energised tip is surely gone, mm: a bite.
    pub cut_radius_mm: f64,
    /// Tissue may go as far from the energised tip as this, mm: kept off forbidden regions.
    pub removal_mm: f64,
    /// Kept free beyond shaft and cutting sphere from any forbidden voxel's edge, mm.
    pub standoff_mm: f64,
    /// How far the energised tip may stand in tissue of the given scene, along the shaft, mm: the depth of
    /// one layer. Above it the shaft's axis runs in the open.
    pub layer_mm: f64,
    /// Kept free between the shaft and the craniotomy's rim, mm.
    pub rim_clearance_mm: f64,
    /// Price of a healthy voxel within the cut radius of residual core, in residual voxels.
    pub price_near: f64,
    /// Price of any other healthy voxel, in residual voxels.
    pub price_far: f64,
    /// Longest cut of one motion, mm.
    pub stroke_mm: f64,
    /// A motion must remove at least this much, net, mm³.
    pub worth_mm3: f64,
    /// Longest stretch of healthy tissue that may be opened along the shaft to reach residual core behind
    /// it, mm; 0 forbids it.
    pub opening_mm: f64,
    /// Most candidates in a plan.
    pub candidates: usize,
    /// Speed while cutting, mm/s.
    pub feed_cut_mm_s: f64,
    /// Slowest cut, mm/s.
    pub feed_cut_min_mm_s: f64,
    /// Speed with the energy off below the craniotomy, mm/s.
    pub feed_corridor_mm_s: f64,
    /// Speed outside the head, mm/s.
    pub feed_free_mm_s: f64,
    /// What the instrument removes in a second, mm³: the feed is lowered so that it keeps up.
    pub removal_mm3_s: f64,
    /// Tissue that is residual core with at least this probability is cut. Below one half it takes an allowance
    /// beyond the likeliest margin, because core left behind costs more than tissue just outside it.
    pub cut_probability: f64,
    /// With more residual core than this left behind, the surgeon is asked, mL.
    pub ask_ml: f64,
}

impl GreedySettings {
    /// The values that the tests use.
    pub const STANDARD: Self = Self {
        cut_radius_mm: 2.0,
        removal_mm: 2.0,
        standoff_mm: 0.25,
        layer_mm: 2.5,
        rim_clearance_mm: 3.0,
        price_near: 0.2,
        price_far: 0.5,
        stroke_mm: 40.0,
        worth_mm3: 8.0,
        opening_mm: 25.0,
        candidates: 4,
        feed_cut_mm_s: 5.0,
        feed_cut_min_mm_s: 0.5,
        feed_corridor_mm_s: 9.0,
        feed_free_mm_s: 40.0,
        removal_mm3_s: 60.0,
        cut_probability: 0.5,
        ask_ml: 0.2,
    };

    fn values(&self) -> [(&'static str, f64, f64, f64); 18] {
        [
            ("cut_radius_mm", self.cut_radius_mm, 0.5, 3.0),
            ("removal_mm", self.removal_mm, self.cut_radius_mm, 4.0),
            ("standoff_mm", self.standoff_mm, 0.0, 3.0),
            ("layer_mm", self.layer_mm, 0.5, 4.0),
            ("rim_clearance_mm", self.rim_clearance_mm, 0.0, 20.0),
            ("price_near", self.price_near, 0.0, 10.0),
            ("price_far", self.price_far, 0.0, 10.0),
            ("stroke_mm", self.stroke_mm, 2.0, 100.0),
            ("worth_mm3", self.worth_mm3, 1.0, 1000.0),
            ("opening_mm", self.opening_mm, 0.0, 50.0),
            ("candidates", self.candidates as f64, 1.0, bregma_core::flow::CANDIDATES_MAX as f64),
            ("feed_cut_mm_s", self.feed_cut_mm_s, 0.1, 5.0),
            ("feed_cut_min_mm_s", self.feed_cut_min_mm_s, 0.05, self.feed_cut_mm_s),
            ("feed_corridor_mm_s", self.feed_corridor_mm_s, 0.1, 10.0),
            ("feed_free_mm_s", self.feed_free_mm_s, 0.1, 50.0),
            ("removal_mm3_s", self.removal_mm3_s, 0.1, 1e4),
            ("cut_probability", self.cut_probability, 0.05, 0.95),
            ("ask_ml", self.ask_ml, 0.0, 100.0),
        ]
    }

    /// Whether all are in range.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), OutOfRange> {
        self.values().into_iter().try_for_each(|(name, value, low, high)| within(name, value, low, high))
    }

    /// Digest of names and values.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut d = Digester::new("bregma greedy 2");
        for (name, value, _, _) in self.values() {
            d.text(name).f64(value);
        }
        d.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_settings_are_in_range_and_nan_is_not() {
        assert_eq!(GreedySettings::STANDARD.check(), Ok(()));
        assert_eq!(PlanSettings::STANDARD.check(), Ok(()));
        let bad = GreedySettings { feed_cut_mm_s: 6.0, ..GreedySettings::STANDARD };
        assert_eq!(bad.check().expect_err("too fast").to_string(), "`feed_cut_mm_s` is 6; it must lie in 0.1 to 5");
        assert!(GreedySettings { layer_mm: f64::NAN, ..GreedySettings::STANDARD }.check().is_err());
        assert!(PlanSettings { silence: Duration::ZERO, ..PlanSettings::STANDARD }.check().is_err());
    }

    #[test]
    fn other_settings_have_another_digest() {
        let other = GreedySettings { ask_ml: 0.3, ..GreedySettings::STANDARD };
        assert_ne!(other.digest(), GreedySettings::STANDARD.digest());
    }
}
