//! The margin out of several surfaces, by a small function that a calibration fits.
//!
//! Where a probability reaches one half, core most likely ends. How far a place is from core is another question: a second surface, farther
//! out, says what may be core too, another estimator may see it otherwise, and what of the brain's shift is not known moves all of it. So the
//! median of the margin, and the bounds of the 90 % interval around it, are functions of what is known at a voxel ([`Known`]): two hidden
//! layers of [`HIDDEN`] values each, and a linear part, added to the distance to the surface at one half. They are fitted by quantile
//! regression (R. Koenker and G. Bassett, Econometrica 46, 1978) on patients that were not learnt from, and their distance from the median is
//! multiplied by a factor, by which nine of ten places of other patients lie within (conformal prediction).
//!
//! **Units:** mm, mL. **Beyond 10 mm**, where truth is cut off, the distance to the surface at one half counts, smoothly from 8 mm
//! on. **Sign:** of the core at one half: an estimate on its wrong side is brought to the surface. **Allocation:** none.

use bregma_core::digest::Digester;
use std::collections::BTreeMap;

/// Numbers that are known at a voxel.
pub const FEATURES: usize = 10;
/// Values of a hidden layer.
pub const HIDDEN: usize = 8;
/// Lower bound, median, upper bound.
pub const QUANTILES: [f32; 3] = [0.05, 0.5, 0.95];
/// Numbers that are fitted.
pub const WEIGHTS: usize = OFFSET + QUANTILES.len();
/// Where each part of them begins: `[from][to]` of both layers, the last one, the linear part; each but that with what is added.
pub(crate) const FIRST: usize = 0;
pub(crate) const FIRST_BIAS: usize = FIRST + FEATURES * HIDDEN;
pub(crate) const SECOND: usize = FIRST_BIAS + HIDDEN;
pub(crate) const SECOND_BIAS: usize = SECOND + HIDDEN * HIDDEN;
pub(crate) const LAST: usize = SECOND_BIAS + HIDDEN;
pub(crate) const LINEAR: usize = LAST + HIDDEN * QUANTILES.len();
pub(crate) const OFFSET: usize = LINEAR + FEATURES * QUANTILES.len();
/// Distances count up to that, mm.
pub const REACH_MM: f32 = 12.0;
/// From here on the nearest surface counts, and from there on it alone, mm.
const FADES_MM: [f32; 2] = [8.0, 10.0];
/// The classical estimator's second surface is at this probability, of 255.
pub const CLASSICAL_FAR: u8 = 47;

const WEIGHT: &str = "trust.margin.weight.";
const FAR: &str = "trust.margin.far";
const FACTOR: &str = "trust.margin.factor";
const ERROR: &str = "trust.margin.error";

/// What is known at a voxel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// Signed distance to where the network's probability reaches one half, and a lower share, mm.
    pub network_mm: [f32; 2],
    /// The same of the classical estimator's, at one half and at [`CLASSICAL_FAR`], mm.
    pub classical_mm: [f32; 2],
    /// Both probabilities, of 255.
    pub shares: [u8; 2],
    /// How wrong places may be there, mm, one standard deviation.
    pub error_mm: f32,
    /// Whether it is open.
    pub open: bool,
    /// How much core both say there is in the region.
    pub core: [Amount; 2],
}

/// A volume, as the function takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amount(f32);

impl Amount {
    /// Of so many mL.
    #[must_use]
    pub fn of_ml(ml: f32) -> Self {
        Self(libm::log1pf(ml) - 1.0)
    }
}

impl Known {
    /// As the function takes it, about -2 to 2.
    #[must_use]
    pub fn features(&self) -> [f32; FEATURES] {
        let far = |mm: f32| mm.clamp(-REACH_MM, REACH_MM) / 6.0;
        let share = |share: u8| f32::from(share) / 127.5 - 1.0;
        let [network, beyond, classical, classical_beyond] =
            [self.network_mm[0], self.network_mm[1], self.classical_mm[0], self.classical_mm[1]].map(far);
        let [by_network, by_classical] = self.shares.map(share);
        let [Amount(core), Amount(classical_core)] = self.core;
        let error = self.error_mm.min(10.0) - 2.0;
        let open = if self.open { 1.0 } else { 0.0 };
        [network, beyond, classical, classical_beyond, by_network, by_classical, error, open, core, classical_core]
    }
}

/// The function, with what it was fitted for.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The network's second surface is at this probability, of 255.
    pub far: u8,
    /// What half of the interval is multiplied by.
    pub factor: f32,
    /// What rigid errors were stated where it was fitted, mm: what is beyond that widens the interval.
    pub error_mm: f32,
    /// [`WEIGHTS`] numbers.
    weights: Box<[f32; WEIGHTS]>,
}

/// So many voxels at once.
pub(crate) const LANES: usize = 64;

impl Rule {
    /// Of its numbers.
    #[must_use]
    pub fn new(far: u8, factor: f32, error_mm: f32, weights: [f32; WEIGHTS]) -> Self {
        Self { far, factor, error_mm, weights: Box::new(weights) }
    }

    /// Median, and half of the interval before the factor, mm, for a row of voxels.
    pub(super) fn row(&self, known: impl Iterator<Item = Known>, median: &mut [f32; LANES], half: &mut [f32; LANES]) {
        let mut x = [[0.0; LANES]; FEATURES];
        let mut near = [0.0; LANES];
        for (lane, known) in known.take(LANES).enumerate() {
            near[lane] = known.network_mm[0].clamp(-REACH_MM, REACH_MM);
            for (column, feature) in x.iter_mut().zip(known.features()) {
                column[lane] = feature;
            }
        }
        let w = &self.weights;
        let (mut first, mut second) = ([[0.0; LANES]; HIDDEN], [[0.0; LANES]; HIDDEN]);
        layer(&x, &w[FIRST..FIRST_BIAS], &w[FIRST_BIAS..SECOND], &mut first);
        rectify(&mut first);
        layer(&first, &w[SECOND..SECOND_BIAS], &w[SECOND_BIAS..LAST], &mut second);
        rectify(&mut second);
        let (mut bent, mut straight) = ([[0.0; LANES]; 3], [[0.0; LANES]; 3]);
        layer(&second, &w[LAST..LINEAR], &w[OFFSET..], &mut bent);
        layer(&x, &w[LINEAR..OFFSET], &[0.0; 3], &mut straight);
        for lane in 0..LANES {
            let [a, b, c] = [0, 1, 2].map(|q| bent[q][lane] + straight[q][lane]);
            // In order, whatever was fitted.
            let (low, high) = (a.min(b).min(c), a.max(b).max(c));
            median[lane] = near[lane] + a.max(b).min(a.min(b).max(c));
            half[lane] = 0.5 * (high - low);
        }
    }

    /// The same of one voxel: lower bound, median, upper bound, mm.
    #[must_use]
    pub fn of(&self, known: &Known) -> [f32; 3] {
        let (mut median, mut half) = ([0.0; LANES], [0.0; LANES]);
        self.row(std::iter::once(*known), &mut median, &mut half);
        [median[0] - half[0], median[0], median[0] + half[0]]
    }

    /// The margin where the function says `median` and the surface at one half is `near` away, mm, on core's side or not.
    #[must_use]
    pub fn margin_mm(median: f32, near: f32, core: bool) -> f32 {
        let [from, to] = FADES_MM;
        let share = (median.abs() - from) / (to - from);
        let margin =
            if share >= 1.0 { near } else { median + share.max(0.0) * (near.clamp(-REACH_MM, REACH_MM) - median) };
        if core { margin.min(0.0) } else { margin.max(0.0) }
    }

    /// Half of the interval, mm, with the factor and what rigid error is stated beyond that of the calibration.
    #[must_use]
    pub fn half_mm(&self, half: f32, rigid_mm: f32) -> f32 {
        let beyond = (rigid_mm * rigid_mm - self.error_mm * self.error_mm).max(0.0).sqrt();
        let (fitted, added) = (self.factor * half, super::NINETY * beyond);
        if added > 0.0 { (fitted * fitted + added * added).sqrt() } else { fitted }
    }

    /// As ranges of a model's file, by name.
    #[must_use]
    pub fn ranges(&self) -> BTreeMap<String, [f32; 2]> {
        let one = |name: &str, value| (name.to_owned(), [value; 2]);
        let mut ranges =
            BTreeMap::from([one(FAR, f32::from(self.far)), one(FACTOR, self.factor), one(ERROR, self.error_mm)]);
        ranges.extend(self.weights.iter().enumerate().map(|(n, weight)| one(&format!("{WEIGHT}{n:03}"), *weight)));
        ranges
    }

    /// Out of a model's file; none where a part is missing or makes no sense.
    #[must_use]
    pub fn out_of(ranges: &BTreeMap<String, [f32; 2]>) -> Option<Self> {
        let one = |name: &str, [low, high]: [f32; 2]| {
            ranges.get(name).map(|range| range[0]).filter(|v| (low..=high).contains(v))
        };
        let far = one(FAR, [1.0, 127.0])? as u8;
        let (factor, error_mm) = (one(FACTOR, [1e-3, 1e3])?, one(ERROR, [0.0, 1e3])?);
        let mut weights = Box::new([0.0; WEIGHTS]);
        for (n, weight) in weights.iter_mut().enumerate() {
            *weight = one(&format!("{WEIGHT}{n:03}"), [-1e3, 1e3])?;
        }
        Some(Self { far, factor, error_mm, weights })
    }

    /// All of it: what a scene becomes depends on it.
    pub(super) fn digest_into(&self, digester: &mut Digester) {
        digester.bytes(&[self.far]).f64(f64::from(self.factor)).f64(f64::from(self.error_mm));
        self.weights.iter().for_each(|weight| {
            digester.f64(f64::from(*weight));
        });
    }
}

/// What margins follow from beside an estimator's own probability.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// By which rule.
    pub rule: &'a Rule,
    /// What the classical estimator says of the same frame, where the scan shows it, `[64³]`, 0 to 255.
    pub classical: &'a [u8],
}

fn layer<const FROM: usize, const TO: usize>(
    x: &[[f32; LANES]; FROM],
    weights: &[f32],
    bias: &[f32],
    y: &mut [[f32; LANES]; TO],
) {
    for (to, y) in y.iter_mut().enumerate() {
        y.fill(bias[to]);
        for (from, x) in x.iter().enumerate() {
            let weight = weights[from * TO + to];
            y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
        }
    }
}

fn rectify(columns: &mut [[f32; LANES]; HIDDEN]) {
    columns.iter_mut().flatten().for_each(|v| *v = v.max(0.0));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A place outside core, by both.
    pub(crate) fn known(near_mm: f32) -> Known {
        Known {
            network_mm: [near_mm, near_mm - 1.0],
            classical_mm: [near_mm + 0.5, near_mm - 0.7],
            shares: [if near_mm < 0.0 { 200 } else { 40 }, 60],
            error_mm: 2.2,
            open: false,
            core: [3.0, 2.0].map(Amount::of_ml),
        }
    }

    fn some() -> Rule {
        let weights = std::array::from_fn(|n| 0.3 * libm::sinf(1.7 * n as f32));
        Rule::new(33, 1.1, 0.8, weights)
    }

    #[test]
    fn a_row_says_of_each_voxel_what_the_function_says() {
        let rule = some();
        let mm = |lane: usize| 0.4 * lane as f32 - 12.0;
        let (mut median, mut half) = ([0.0; LANES], [0.0; LANES]);
        rule.row((0..LANES).map(|lane| known(mm(lane))), &mut median, &mut half);
        for lane in 0..LANES {
            let x = known(mm(lane)).features();
            let through = |x: &[f32], weights: usize, bias: usize, to: usize, count: usize| {
                let sum = x.iter().enumerate().map(|(from, x)| x * rule.weights[weights + from * count + to]);
                sum.sum::<f32>() + rule.weights[bias + to]
            };
            let first: Vec<f32> = (0..HIDDEN).map(|to| through(&x, FIRST, FIRST_BIAS, to, HIDDEN).max(0.0)).collect();
            let second: Vec<f32> =
                (0..HIDDEN).map(|to| through(&first, SECOND, SECOND_BIAS, to, HIDDEN).max(0.0)).collect();
            let linear = |to: usize| -> f32 {
                x.iter().enumerate().map(|(from, x)| x * rule.weights[LINEAR + from * 3 + to]).sum()
            };
            let mut said: Vec<f32> = (0..3).map(|to| through(&second, LAST, OFFSET, to, 3) + linear(to)).collect();
            said.sort_by(f32::total_cmp);
            let near = mm(lane).clamp(-REACH_MM, REACH_MM);
            assert!((median[lane] - near - said[1]).abs() < 1e-4, "{lane}");
            assert!((half[lane] - 0.5 * (said[2] - said[0])).abs() < 1e-4, "{lane}");
            let [low, middle, high] = rule.of(&known(mm(lane)));
            assert!((middle - median[lane]).abs() < 1e-6 && (0.5 * (high - low) - half[lane]).abs() < 1e-5);
        }
    }

    #[test]
    fn it_goes_through_a_models_file_and_nonsense_does_not() {
        let rule = some();
        assert_eq!(Rule::out_of(&rule.ranges()), Some(rule.clone()));
        for (name, value) in [(FAR, 200.0), (FACTOR, f32::NAN), (ERROR, -1.0), ("trust.margin.weight.216", 1e9)] {
            let mut ranges = rule.ranges();
            assert!(ranges.insert(name.to_owned(), [value; 2]).is_some(), "{name}");
            assert_eq!(Rule::out_of(&ranges), None, "{name}");
        }
        let mut ranges = rule.ranges();
        ranges.remove("trust.margin.weight.007");
        assert_eq!(Rule::out_of(&ranges), None);
    }

    #[test]
    fn far_off_the_nearest_surface_counts_and_the_sign_is_that_of_the_core() {
        let margin = |median, near| Rule::margin_mm(median, near, near < 0.0);
        assert_eq!((margin(3.0, 4.0), margin(-2.0, -1.5)), (3.0, -2.0));
        assert_eq!((margin(9.0, 11.0), margin(10.5, 25.0), margin(-11.0, -14.0)), (10.0, 25.0, -14.0));
        assert_eq!((margin(-0.5, 0.6), margin(0.5, -0.6)), (0.0, 0.0));
        assert!((some().half_mm(2.0, 0.8) - 2.2).abs() < 1e-6);
        let wider = some().half_mm(2.0, 1.0);
        assert!((wider - 2.2_f32.hypot(1.645 * 0.6)).abs() < 1e-4, "{wider}");
    }
}
