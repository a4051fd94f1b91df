//! What a straight tube looks like across: a disc blurred by the scanner's point spread, and its fit to a profile.
//!
//! With r the radius and s the standard deviation of a Gaussian point spread, a disc of height 1 has at the distance d
//! from its middle the height P(d) = ∫₀ʳ (t/s²)·exp(−(d² + t²)/2s²)·I₀(dt/s²) dt: a Rice distribution, or one minus
//! Marcum's Q (J. I. Marcum, IRE Trans. Inf. Theory 6, 1960). Brightness is b + (level − b)·P with b = base + tilt·d:
//! what is around may brighten away from the vessel, as beside fluid. **The fit** finds ln r, ln s, level, base and
//! tilt by least squares (Levenberg, Quart. Appl. Math. 2, 1944; Marquardt, J. SIAM 11, 1963), each with what is known
//! of it beforehand as one more measurement. A thin tube shows r²·(level − base) and s alone: without the level its
//! radius is not known, and the error that is returned says so. **Units:** mm and brightness. **Allocation:** none.

use nalgebra::{Matrix2, SMatrix, SVector, Vector2};

/// Ln radius, ln spread, level, base, tilt.
type Unknowns = SVector<f64, 5>;
type Square = SMatrix<f64, 5, 5>;

/// The mean brightness of a ring around an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ring {
    /// Its mean distance from the axis.
    pub distance_mm: f64,
    /// Mean over its voxels.
    pub brightness: f64,
    /// Standard deviation of that mean, above 0.
    pub error: f64,
}

/// A value and how well it is known beforehand: its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    /// The value.
    pub value: f64,
    /// Its standard deviation, infinite where nothing is known.
    pub deviation: f64,
}

/// What is known before a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prior {
    /// Where the search for the radius starts; nothing more.
    pub radius_mm: f64,
    /// Natural logarithm of the point spread's standard deviation in mm.
    pub ln_spread: Known,
    /// Brightness of blood.
    pub level: Known,
}

/// A fitted tube.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    /// Radius.
    pub radius_mm: f64,
    /// Standard deviation of ln radius, by how well the rings fit.
    pub ln_radius_error: f64,
    /// Standard deviation of the point spread.
    pub spread_mm: f64,
    /// Brightness of blood.
    pub level: f64,
    /// Standard deviation of that.
    pub level_error: f64,
    /// Brightness around it.
    pub base: f64,
    /// By how much that grows away from the axis, per mm.
    pub tilt: f64,
    /// Sum of squares, priors included.
    pub misfit: f64,
}

/// What is around brightens or darkens away from the axis by so much per mm, one standard deviation.
const TILT: f64 = 0.1;
/// Rounds of the fit.
const ROUNDS: usize = 40;
/// A round that betters the sum of squares by less, as a share, is the last.
const SETTLED: f64 = 1e-6;
/// Limits of ln radius and of ln spread.
const LN_LIMITS: [f64; 2] = [-3.0, 2.5];
/// Nodes and weights of Gauss's quadrature with 16 points, the positive half.
const GAUSS: [[f64; 2]; 8] = [
    [0.095_012_509_837_637_44, 0.189_450_610_455_068_5],
    [0.281_603_550_779_258_9, 0.182_603_415_044_923_6],
    [0.458_016_777_657_227_4, 0.169_156_519_395_002_54],
    [0.617_876_244_402_643_7, 0.149_595_988_816_576_73],
    [0.755_404_408_355_003, 0.124_628_971_255_533_87],
    [0.865_631_202_387_831_7, 0.095_158_511_682_492_78],
    [0.944_575_023_073_232_6, 0.062_253_523_938_647_89],
    [0.989_400_934_991_649_9, 0.027_152_459_411_754_095],
];

/// P and its derivatives by ln r and ln s.
pub(super) fn profile(distance_mm: f64, radius_mm: f64, spread_mm: f64) -> [f64; 3] {
    let (u, a) = (distance_mm / spread_mm, radius_mm / spread_mm);
    let (low, high) = ((u - 6.0).max(0.0), a.min(u + 6.0));
    let mut height = 0.0;
    if high > low {
        let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
        let density = |t: f64| t * libm::exp(-0.5 * (u - t) * (u - t)) * bessel(0, u * t);
        for [node, weight] in GAUSS {
            height += half * weight * (density(middle + half * node) + density(middle - half * node));
        }
    }
    let edge = libm::exp(-0.5 * (u - a) * (u - a));
    let by_radius = a * a * edge * bessel(0, u * a);
    // P depends on d/s and r/s only: d·∂P/∂d + r·∂P/∂r + s·∂P/∂s = 0.
    let by_distance = -u * a * edge * bessel(1, u * a);
    [height, by_radius, -(by_radius + by_distance)]
}

/// exp(−x)·I₀(x) or exp(−x)·I₁(x) for x ≥ 0, to 1e-6 (M. Abramowitz, I. A. Stegun, 1964, 9.8.1 to 9.8.4).
fn bessel(order: usize, x: f64) -> f64 {
    const SMALL: [[f64; 7]; 2] = [
        [1.0, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813],
        [0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411],
    ];
    const LARGE: [[f64; 9]; 2] = [
        [0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281, -0.02057706, 0.02635537, -0.01647633, 0.00392377],
        [
            0.39894228,
            -0.03988024,
            -0.00362018,
            0.00163801,
            -0.01031555,
            0.02282967,
            -0.02895312,
            0.01787654,
            -0.00420059,
        ],
    ];
    let sum = |terms: &[f64], t: f64| terms.iter().rev().fold(0.0, |sum, term| sum * t + term);
    if x < 3.75 {
        let value = sum(&SMALL[order], (x / 3.75).powi(2)) * libm::exp(-x);
        if order == 0 { value } else { value * x }
    } else {
        sum(&LARGE[order], 3.75 / x) / x.sqrt()
    }
}

/// Fits a tube to rings; `None` where they say too little.
pub(super) fn fit(rings: &[Ring], prior: &Prior) -> Option<Fit> {
    let base = rings.last()?.brightness;
    let level = if prior.level.deviation.is_finite() { prior.level.value } else { rings[0].brightness.max(base + 0.1) };
    let mut at = Unknowns::from([libm::log(prior.radius_mm), prior.ln_spread.value, level, base, 0.0]);
    let mut here = normal_equations(rings, prior, &at);
    let mut damping = 1e-2;
    for _ in 0..ROUNDS {
        let damped = here.matrix + Square::from_diagonal(&here.matrix.diagonal()) * damping;
        let step = damped.cholesky()?.solve(&here.gradient);
        let mut next_at = at + step.map_with_location(|n, _, v| if n < 2 { v.clamp(-0.7, 0.7) } else { v });
        (0..2).for_each(|n| next_at[n] = next_at[n].clamp(LN_LIMITS[0], LN_LIMITS[1]));
        let next = normal_equations(rings, prior, &next_at);
        if next.sum < here.sum {
            let settled = here.sum - next.sum < SETTLED * here.sum;
            (at, here, damping) = (next_at, next, damping * 0.3);
            if settled {
                break;
            }
        } else if damping > 1e8 {
            break;
        } else {
            damping *= 5.0;
        }
    }
    let covariance = here.matrix.try_inverse()?;
    // Rings that fit worse than their errors say make everything less certain.
    let excess = (here.sum / (rings.len() as f64 - 2.0).max(1.0)).max(1.0);
    let error = |n: usize| (covariance[(n, n)].max(0.0) * excess).sqrt();
    let found = at.iter().all(|v| v.is_finite()) && at[2] > at[3] + at[4] * libm::exp(at[0]);
    found.then(|| Fit {
        radius_mm: libm::exp(at[0]),
        ln_radius_error: error(0),
        spread_mm: libm::exp(at[1]),
        level: at[2],
        level_error: error(2),
        base: at[3],
        tilt: at[4],
        misfit: here.sum,
    })
}

/// What a profile says of the point spread and the level when its radius and base are its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pull {
    /// By how much ln spread and ln level should change for this profile alone.
    pub step: Vector2<f64>,
    /// Covariance of that.
    pub covariance: Matrix2<f64>,
}

/// Fits radius and base for a given point spread and level, and says how these two should change: a step of Gauss and
/// Newton, the other two eliminated (Schur's complement). `None` where the profile says nothing.
pub(super) fn pull(rings: &[Ring], radius_mm: f64, ln_spread: f64, level: f64) -> Option<Pull> {
    let sure = |value: f64| Known { value, deviation: 1e-4 };
    let fit = fit(rings, &Prior { radius_mm, ln_spread: sure(ln_spread), level: sure(level) })?;
    let unknown = Known { value: 0.0, deviation: f64::INFINITY };
    let free = Prior { radius_mm, ln_spread: unknown, level: unknown };
    let at = Unknowns::from([libm::log(fit.radius_mm), ln_spread, level, fit.base, fit.tilt]);
    let normal = normal_equations(rings, &free, &at);
    let excess = (normal.sum / (rings.len() as f64 - 2.0).max(1.0)).max(1.0);
    let covariance = normal.matrix.try_inverse()?;
    let step = covariance * normal.gradient;
    let to_ln = Matrix2::new(1.0, 0.0, 0.0, 1.0 / level);
    let covariance = to_ln * covariance.fixed_view::<2, 2>(1, 1) * to_ln * excess;
    let of = Pull { step: to_ln * step.fixed_rows::<2>(1), covariance };
    of.step.iter().chain(of.covariance.iter()).all(|v| v.is_finite()).then_some(of)
}

struct Normal {
    matrix: Square,
    gradient: Unknowns,
    sum: f64,
}

impl Normal {
    /// Adds one measurement: what is left of it over its error, and how the model changes over it.
    fn add(&mut self, left: f64, slope: &Unknowns) {
        self.matrix += slope * slope.transpose();
        self.gradient += slope * left;
        self.sum += left * left;
    }
}

fn normal_equations(rings: &[Ring], prior: &Prior, at: &Unknowns) -> Normal {
    let (radius_mm, spread_mm, level) = (libm::exp(at[0]), libm::exp(at[1]), at[2]);
    let mut sum = Normal { matrix: Square::identity() * 1e-9, gradient: Unknowns::zeros(), sum: 0.0 };
    for ring in rings {
        let [height, by_radius, by_spread] = profile(ring.distance_mm, radius_mm, spread_mm);
        let around = at[3] + at[4] * ring.distance_mm;
        let (contrast, left) = (level - around, 1.0 - height);
        let slope = [contrast * by_radius, contrast * by_spread, height, left, left * ring.distance_mm];
        sum.add((ring.brightness - around - contrast * height) / ring.error, &(Unknowns::from(slope) / ring.error));
    }
    let flat = Known { value: 0.0, deviation: TILT };
    for (n, known) in [(1, &prior.ln_spread), (2, &prior.level), (4, &flat)] {
        if known.deviation.is_finite() {
            let slope = Unknowns::from_fn(|row, _| if row == n { 1.0 / known.deviation } else { 0.0 });
            sum.add((known.value - at[n]) / known.deviation, &slope);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_that_of_a_blurred_disc() {
        // By brute force: the share of a fine grid's Gaussian that falls into the disc.
        for (d, r, s) in [(0.0, 0.5, 0.6), (0.8, 0.5, 0.6), (1.3, 1.5, 0.5), (2.0, 3.0, 0.4), (0.3, 0.2, 1.0)] {
            let step = 0.02 * s;
            let (mut inside, mut all) = (0.0, 0.0);
            for (i, j) in (-300..=300).flat_map(|i| (-300..=300).map(move |j| (i, j))) {
                let (x, y) = (f64::from(i) * step, f64::from(j) * step);
                let weight = libm::exp(-0.5 * (x * x + y * y) / (s * s));
                all += weight;
                inside += if (x + d).hypot(y) < r { weight } else { 0.0 };
            }
            let [height, by_radius, by_spread] = profile(d, r, s);
            assert!((height - inside / all).abs() < 2e-3, "{height} is not {} at {d} {r} {s}", inside / all);
            let e = 1e-4_f64;
            let numeric = |f: &dyn Fn(f64) -> f64| (f(e.exp()) - f((-e).exp())) / (2.0 * e);
            assert!((numeric(&|k| profile(d, r * k, s)[0]) - by_radius).abs() < 1e-4);
            assert!((numeric(&|k| profile(d, r, s * k)[0]) - by_spread).abs() < 1e-4);
        }
    }

    #[test]
    fn radii_come_back_with_an_error_that_says_what_is_not_known() {
        let rings = |r: f64, s: f64, level: f64| -> Vec<Ring> {
            let ring = |n: i32| {
                let distance_mm = 0.1 + 0.2 * f64::from(n);
                Ring { distance_mm, brightness: 1.0 + (level - 1.0) * profile(distance_mm, r, s)[0], error: 0.01 }
            };
            (0..25).map(ring).collect()
        };
        let spread = Known { value: libm::log(0.5), deviation: 0.5 };
        let free = Prior { radius_mm: 1.0, ln_spread: spread, level: Known { value: 0.0, deviation: f64::INFINITY } };
        let wide = fit(&rings(1.7, 0.6, 3.5), &free).expect("fits");
        assert!((wide.radius_mm - 1.7).abs() < 0.01 && (wide.level - 3.5).abs() < 0.02, "{wide:?}");
        assert!(wide.ln_radius_error < 0.02);
        let thin = fit(&rings(0.4, 0.6, 3.5), &free).expect("fits");
        assert!(thin.ln_radius_error > 0.1, "{thin:?}");
        let known = Prior { level: Known { value: 3.5, deviation: 0.1 }, ..free };
        let thin = fit(&rings(0.4, 0.6, 3.5), &known).expect("fits");
        assert!((thin.radius_mm - 0.4).abs() < 0.01 && thin.ln_radius_error < 0.05, "{thin:?}");
        assert!(fit(&[], &free).is_none());
    }
}
