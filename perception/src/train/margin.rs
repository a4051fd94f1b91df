//! Fits the function by which margins follow from surfaces: quantile regression by Adam, from first weights of a seed.
//!
//! The loss of a quantile τ is `max(τ r, (τ − 1) r)` of the residual r, quadratic within a tenth of a millimetre. Each step takes a few looks
//! at patients, patients alike, and of each look as many places on visible wall as elsewhere. **Sums:** f64, in a fixed order: the same places
//! and seed give the same function.

use crate::network::Random;
use crate::perceive::margin::{
    FEATURES, FIRST, FIRST_BIAS, HIDDEN, Known, LAST, LINEAR, OFFSET, QUANTILES, REACH_MM, SECOND, SECOND_BIAS, WEIGHTS,
};

/// Steps of a fit.
const STEPS: usize = 4000;
/// Looks that a step takes.
const LOOKS: usize = 24;
/// Places of each kind that it takes of each.
const PLACES: usize = 24;
/// The highest rate; it falls as a cosine.
const RATE: f64 = 0.01;
/// By which weights decay, times the rate.
const DECAY: f64 = 1e-4;
/// Losses are quadratic within that, mm.
const SMOOTH_MM: f64 = 0.1;

/// A place whose margin is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example {
    /// What the function sees.
    pub known: Known,
    /// The true margin, mm, within ±10.
    pub margin_mm: f32,
    /// Whether it is on wall that was seen.
    pub visible: bool,
}

type Layer<const N: usize> = [f64; N];

/// What passes through the function, kept for its gradient.
struct Passed {
    x: Layer<FEATURES>,
    first: Layer<HIDDEN>,
    second: Layer<HIDDEN>,
    said: Layer<3>,
}

/// Numbers of the function by which the margins of those places are best said: of each patient, the places of each look.
///
/// # Panics
/// Where there is no patient, one without a look, or a look without a place: nothing can be learnt from it.
#[must_use]
pub fn fit(patients: &[&[Vec<Example>]], seed: u64) -> [f32; WEIGHTS] {
    let mut random = Random::new(seed);
    let mut w = begun(&mut random);
    let (mut mean, mut square) = ([0.0; WEIGHTS], [0.0; WEIGHTS]);
    for step in 1..=STEPS {
        let mut slope = [0.0; WEIGHTS];
        let mut count = 0;
        for _ in 0..LOOKS {
            let looks = patients[random.below(patients.len())];
            let look = &looks[random.below(looks.len())];
            let parts = [true, false].map(|visible| look.iter().filter(move |e| e.visible == visible).count());
            for (visible, there) in [true, false].into_iter().zip(parts) {
                for _ in 0..PLACES.min(there) {
                    let nth = random.below(there);
                    let example = look.iter().filter(|e| e.visible == visible).nth(nth);
                    add_slope(&w, example.expect("there are so many"), &mut slope);
                    count += 1;
                }
            }
        }
        let rate = RATE * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * step as f64 / STEPS as f64));
        for i in 0..WEIGHTS {
            let by = slope[i] / f64::from(count.max(1));
            mean[i] = 0.9 * mean[i] + 0.1 * by;
            square[i] = 0.999 * square[i] + 0.001 * by * by;
            let (a, b) =
                (mean[i] / (1.0 - libm::pow(0.9, step as f64)), square[i] / (1.0 - libm::pow(0.999, step as f64)));
            w[i] -= rate * (a / (b.sqrt() + 1e-8) + DECAY * w[i]);
        }
    }
    w.map(|v| v as f32)
}

/// Hidden layers by LeCun's bound, nothing at the end but an interval of 3 mm.
fn begun(random: &mut Random) -> [f64; WEIGHTS] {
    let mut w = [0.0; WEIGHTS];
    let mut fill = |range: std::ops::Range<usize>, from: usize| {
        let bound = (3.0 / from as f64).sqrt();
        w[range].iter_mut().for_each(|w| *w = bound * f64::from(random.next()));
    };
    fill(FIRST..FIRST_BIAS, FEATURES);
    fill(SECOND..SECOND_BIAS, HIDDEN);
    w[OFFSET..].copy_from_slice(&[-1.5, 0.0, 1.5]);
    w
}

fn pass(w: &[f64; WEIGHTS], known: &Known) -> Passed {
    let x = known.features().map(f64::from);
    let first = std::array::from_fn(|to| (w[FIRST_BIAS + to] + sum(&x, &w[FIRST..], to)).max(0.0));
    let second = std::array::from_fn(|to| (w[SECOND_BIAS + to] + sum(&first, &w[SECOND..], to)).max(0.0));
    let near = f64::from(known.network_mm[0].clamp(-REACH_MM, REACH_MM));
    let last = |to: usize| (0..HIDDEN).map(|from| second[from] * w[LAST + from * 3 + to]).sum::<f64>();
    let linear = |to: usize| (0..FEATURES).map(|from| x[from] * w[LINEAR + from * 3 + to]).sum::<f64>();
    let said = std::array::from_fn(|to| near + last(to) + linear(to) + w[OFFSET + to]);
    Passed { x, first, second, said }
}

/// Into one of [`HIDDEN`] values.
fn sum(x: &[f64], w: &[f64], to: usize) -> f64 {
    x.iter().enumerate().map(|(from, x)| x * w[from * HIDDEN + to]).sum()
}

/// Adds the loss' gradient at one place.
fn add_slope(w: &[f64; WEIGHTS], example: &Example, slope: &mut [f64; WEIGHTS]) {
    let Passed { x, first, second, said } = pass(w, &example.known);
    let by: [f64; 3] = std::array::from_fn(|q| {
        let residual = f64::from(example.margin_mm) - said[q];
        let tau = f64::from(QUANTILES[q]);
        let side = if residual > 0.0 { -tau } else { 1.0 - tau };
        side * (residual.abs() / SMOOTH_MM).min(1.0)
    });
    for (q, by) in by.iter().enumerate() {
        slope[OFFSET + q] += by;
        (0..FEATURES).for_each(|from| slope[LINEAR + from * 3 + q] += by * x[from]);
        (0..HIDDEN).for_each(|from| slope[LAST + from * 3 + q] += by * second[from]);
    }
    let back = |to: usize, on: bool| if on { (0..3).map(|q| by[q] * w[LAST + to * 3 + q]).sum() } else { 0.0 };
    let second_by: Layer<HIDDEN> = std::array::from_fn(|to| back(to, second[to] > 0.0));
    let first_by: Layer<HIDDEN> = std::array::from_fn(|from| {
        if first[from] > 0.0 { (0..HIDDEN).map(|to| second_by[to] * w[SECOND + from * HIDDEN + to]).sum() } else { 0.0 }
    });
    for to in 0..HIDDEN {
        slope[SECOND_BIAS + to] += second_by[to];
        slope[FIRST_BIAS + to] += first_by[to];
        (0..HIDDEN).for_each(|from| slope[SECOND + from * HIDDEN + to] += first[from] * second_by[to]);
        (0..FEATURES).for_each(|from| slope[FIRST + from * HIDDEN + to] += x[from] * first_by[to]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::margin::tests::known;
    use crate::perceive::margin::{Amount, Rule};

    const MUCH: [f32; 2] = [12.0, 11.0];
    const LITTLE: [f32; 2] = [0.5, 0.4];

    /// Margins are a millimetre less than the surface says, and uniformly spread by up to 2 mm where core is little, by 1 where it is much.
    fn examples(seed: u64) -> Vec<Vec<Example>> {
        let mut random = Random::new(seed);
        let mut one = || {
            let much = random.below(2) == 1;
            let near = 5.0 * random.next();
            let spread = if much { 1.0 } else { 2.0 };
            let core = if much { MUCH } else { LITTLE }.map(Amount::of_ml);
            let margin_mm = near - 1.0 + spread * random.next();
            Example { known: Known { core, ..known(near) }, margin_mm, visible: random.below(2) == 1 }
        };
        (0..8).map(|_| (0..200).map(|_| one()).collect()).collect()
    }

    #[test]
    fn a_median_and_bounds_that_differ_are_found_on_others() {
        let patients: Vec<_> = (0..6).map(examples).collect();
        let slices: Vec<&[Vec<Example>]> = patients.iter().map(Vec::as_slice).collect();
        let rule = Rule::new(33, 1.0, 1.0, fit(&slices, 7));
        for (core, spread) in [(MUCH.map(Amount::of_ml), 1.0), (LITTLE.map(Amount::of_ml), 2.0)] {
            for near in [-3.0, 0.5, 4.0] {
                let [low, middle, high] = rule.of(&Known { core, ..known(near) });
                assert!((middle - (near - 1.0)).abs() < 0.25, "{middle} at {near}");
                // Nine of ten of what is uniform lie within nine tenths of its width.
                assert!((0.5 * (high - low) - 0.9 * spread).abs() < 0.25, "{low} to {high} at {near}, {spread}");
            }
        }
        let others: Vec<Example> = examples(99).into_iter().flatten().collect();
        let within = others.iter().filter(|e| {
            let [low, _, high] = rule.of(&e.known);
            (low..=high).contains(&e.margin_mm)
        });
        let share = within.count() as f64 / others.len() as f64;
        assert!((0.86..0.94).contains(&share), "{share}");
        assert_eq!(fit(&slices, 7), fit(&slices, 7), "it is the same every time");
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let w: [f64; WEIGHTS] = std::array::from_fn(|n| 0.2 * libm::sin(1.3 * n as f64));
        let example = Example { known: known(2.0), margin_mm: -1.0, visible: true };
        let loss = |w: &[f64; WEIGHTS]| -> f64 {
            let said = pass(w, &example.known).said;
            (0..3)
                .map(|q| {
                    let (r, tau) = (f64::from(example.margin_mm) - said[q], f64::from(QUANTILES[q]));
                    (tau * r).max((tau - 1.0) * r)
                })
                .sum()
        };
        let mut slope = [0.0; WEIGHTS];
        add_slope(&w, &example, &mut slope);
        for i in 0..WEIGHTS {
            let [less, more] = [-1e-6, 1e-6].map(|by| {
                let mut w = w;
                w[i] += by;
                loss(&w)
            });
            assert!(((more - less) / 2e-6 - slope[i]).abs() < 1e-5, "{i}");
        }
    }
}
