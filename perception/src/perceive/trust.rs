//! How far a network can be believed: what its training's calibration left in the model's file.
//!
//! To a network's logits an **offset** is added, by which the margin's error on patients that were not learnt from is least: one half is where the core's
//! surface is best taken. They are then divided by a **temperature**: one number, by which the likelihood of those patients
//! is best (Guo et al. 2017). The margin's **interval** reaches as far as a surface at a lower and one at a higher probability
//! than one half lie apart, with the errors of align beside it, times a factor: by it, in nine of ten places of a patient that was not learnt from, the true
//! margin lies within (conformal prediction; patients, not voxels, are counted alike). **Units:** mm.

use bregma_core::digest::Digester;
use std::collections::BTreeMap;

const OFFSET: &str = "trust.offset";
const TEMPERATURE: &str = "trust.temperature";
const BETWEEN: &str = "trust.between";
const FACTOR: &str = "trust.factor";

/// How a margin's interval follows from probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The probabilities, of 0 to 255, whose surfaces it reaches to: one below 128 and one above.
    pub between: [u8; 2],
    /// What the distance to them is multiplied by, together with align's error.
    pub factor: f32,
}

/// What is known of a network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trust {
    /// What is added to logits.
    pub offset: f32,
    /// What they are then divided by.
    pub temperature: f32,
    /// None where it was never calibrated.
    pub interval: Option<Interval>,
}

impl Default for Trust {
    /// Of a network that was not calibrated.
    fn default() -> Self {
        Self { offset: 0.0, temperature: 1.0, interval: None }
    }
}

impl Trust {
    /// As ranges of a model's file, by name.
    #[must_use]
    pub fn ranges(&self) -> BTreeMap<String, [f32; 2]> {
        let one = |name: &str, value| (name.to_owned(), [value; 2]);
        let mut ranges = BTreeMap::from([one(OFFSET, self.offset), one(TEMPERATURE, self.temperature)]);
        if let Some(Interval { between, factor }) = self.interval {
            ranges.insert(BETWEEN.to_owned(), between.map(f32::from));
            ranges.insert(FACTOR.to_owned(), [factor; 2]);
        }
        ranges
    }

    /// Out of a model's file. What makes no sense there is as if it were not there.
    #[must_use]
    pub fn of(ranges: &BTreeMap<String, [f32; 2]>) -> Self {
        let sound = |v: f32| (1e-3..=1e3).contains(&v);
        let one = |name: &str| ranges.get(name).map(|range| range[0]).filter(|v| sound(*v));
        let between = ranges.get(BETWEEN).map(|pair| pair.map(|v| v.round().clamp(0.0, 255.0) as u8));
        let between = between.filter(|[low, high]| (1..128).contains(low) && *high > 128);
        let interval = between.zip(one(FACTOR)).map(|(between, factor)| Interval { between, factor });
        let offset = ranges.get(OFFSET).map(|range| range[0]).filter(|v| v.abs() <= 20.0);
        Self { offset: offset.unwrap_or(0.0), temperature: one(TEMPERATURE).unwrap_or(1.0), interval }
    }

    /// A logit with that done to it.
    #[must_use]
    pub fn tempered(&self, logit: f32) -> f32 {
        (logit + self.offset) / self.temperature
    }

    /// All of it: what a scene becomes depends on it.
    pub(super) fn digest_into(&self, digester: &mut Digester) {
        let Interval { between, factor } = self.interval.unwrap_or(Interval { between: [0, 0], factor: 0.0 });
        digester.f64(f64::from(self.offset)).f64(f64::from(self.temperature)).bytes(&between).f64(f64::from(factor));
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
        let interval = Some(Interval { between: [40, 220], factor: 0.9 });
        let trust = Trust { offset: -0.75, temperature: 1.5, interval };
        assert_eq!(trust.tempered(3.75), 2.0);
        assert_eq!(Trust::of(&trust.ranges()), trust);
        assert_eq!(Trust::of(&Trust::default().ranges()), Trust::default());
        assert_eq!(Trust::of(&BTreeMap::new()), Trust::default());
        let with = |name: &str, range| {
            let mut ranges = trust.ranges();
            ranges.insert(name.to_owned(), range);
            Trust::of(&ranges)
        };
        assert_eq!(with(BETWEEN, [140.0, 220.0]).interval, None);
        assert_eq!(with(FACTOR, [f32::NAN; 2]).interval, None);
        assert_eq!(with(TEMPERATURE, [0.0; 2]).temperature, 1.0);
        assert_eq!(with(OFFSET, [f32::NAN; 2]).offset, 0.0);
    }
}
