//! How far a network can be believed: what its training's calibration left in the model's file.
//!
//! To a network's logits an **offset** is added, by which overlap with the core of patients that were not learnt from is best: one half is where
//! the core's surface is best taken. They are then divided by a **temperature**: one number, by which the likelihood of those patients
//! is best (Guo et al. 2017). How the **margin** and its interval follow is a rule of its own ([`super::margin`]).

use bregma_core::digest::Digester;
use std::collections::BTreeMap;

const OFFSET: &str = "trust.offset";
const TEMPERATURE: &str = "trust.temperature";

/// What is known of a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trust {
    /// What is added to logits.
    pub offset: f32,
    /// What they are then divided by.
    pub temperature: f32,
}

impl Default for Trust {
    /// Of a network that was not calibrated.
    fn default() -> Self {
        Self { offset: 0.0, temperature: 1.0 }
    }
}

impl Trust {
    /// As ranges of a model's file, by name.
    #[must_use]
    pub fn ranges(&self) -> BTreeMap<String, [f32; 2]> {
        let one = |name: &str, value| (name.to_owned(), [value; 2]);
        BTreeMap::from([one(OFFSET, self.offset), one(TEMPERATURE, self.temperature)])
    }

    /// Out of a model's file. What makes no sense there is as if it were not there.
    #[must_use]
    pub fn of(ranges: &BTreeMap<String, [f32; 2]>) -> Self {
        let sound = |v: f32| (1e-3..=1e3).contains(&v);
        let one = |name: &str| ranges.get(name).map(|range| range[0]).filter(|v| sound(*v));
        let offset = ranges.get(OFFSET).map(|range| range[0]).filter(|v| v.abs() <= 20.0);
        Self { offset: offset.unwrap_or(0.0), temperature: one(TEMPERATURE).unwrap_or(1.0) }
    }

    /// A logit with that done to it.
    #[must_use]
    pub fn tempered(&self, logit: f32) -> f32 {
        (logit + self.offset) / self.temperature
    }

    /// All of it: what a scene becomes depends on it.
    pub(super) fn digest_into(&self, digester: &mut Digester) {
        digester.f64(f64::from(self.offset)).f64(f64::from(self.temperature));
    }
}

/// Whether a range of a model's file is of this.
#[must_use]
pub fn is_one(name: &str) -> bool {
    name.starts_with("trust.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_through_a_models_file_and_nonsense_does_not() {
        let trust = Trust { offset: -0.75, temperature: 1.5 };
        assert_eq!(trust.tempered(3.75), 2.0);
        assert_eq!(Trust::of(&trust.ranges()), trust);
        assert_eq!(Trust::of(&Trust::default().ranges()), Trust::default());
        assert_eq!(Trust::of(&BTreeMap::new()), Trust::default());
        let with = |name: &str, range| {
            let mut ranges = trust.ranges();
            ranges.insert(name.to_owned(), range);
            Trust::of(&ranges)
        };
        assert_eq!(with(TEMPERATURE, [0.0; 2]).temperature, 1.0);
        assert_eq!(with(OFFSET, [f32::NAN; 2]).offset, 0.0);
    }
}
