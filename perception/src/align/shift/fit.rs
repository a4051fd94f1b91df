//! What was measured, brought together with what brains do: least squares with the prior as a term.
//!
//! Each measurement is one [`Row`]: how much each coefficient moves it, what it is off by, and how wrong it may be. The
//! normal matrix is small ([`STATES`]²) and factorised in place (Cholesky). **Allocation:** in [`Fit::new`].

use super::model::{MODES, Model};
use nalgebra::Vector3;

/// Coefficients of the modes along three directions; then what is the camera's: an offset and a scale of its picture, and
/// what its ranges are too long by.
pub const STATES: usize = 3 * MODES + 4;
/// The camera's offset along u and v, and its scale, among the coefficients.
pub const CAMERA: usize = 3 * MODES;
/// What ranges are too long by, mm.
pub const RANGE: usize = CAMERA + 3;

/// One measured number.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// By how much it grows with each coefficient.
    pub by: [f64; STATES],
    /// What it is more than with all coefficients 0.
    pub off: f64,
    /// 1 / variance.
    pub weight: f64,
}

impl Row {
    /// Of something that measures the displacement of a point with these modes along a direction.
    #[must_use]
    pub fn along(model: &Model, modes: &[f64; MODES], direction: &Vector3<f64>) -> Self {
        let mut by = [0.0; STATES];
        for axis in 0..3 {
            let share = model.direction(axis).dot(direction);
            by[axis * MODES..][..MODES].iter_mut().zip(modes).for_each(|(b, m)| *b = share * m);
        }
        Self { by, off: 0.0, weight: 0.0 }
    }
}

/// The coefficients, and how certain they are.
#[derive(Debug)]
pub struct Fit {
    prior: [f64; STATES],
    /// Row by row; the lower half counts.
    normal: Vec<f64>,
    right: [f64; STATES],
    /// What was found last.
    pub found: [f64; STATES],
    /// Its covariance, row by row.
    covariance: Vec<f64>,
}

impl Fit {
    /// With the prior alone; `camera_px`: how far off the camera's picture may be, pixels; `scale` by what share.
    /// Ranges are taken to be right until [`Self::expect_bias`] says otherwise.
    #[must_use]
    pub fn new(model: &Model, camera_px: f64, scale: f64) -> Self {
        let mut prior = [0.0; STATES];
        for (state, prior) in prior.iter_mut().enumerate() {
            let deviation = match state {
                s if s < CAMERA => model.deviation_mm(s / MODES),
                s if s < CAMERA + 2 => camera_px,
                RANGE => 0.0,
                _ => scale,
            };
            *prior = 1.0 / (deviation * deviation).max(1e-12);
        }
        let mut fit = Self {
            prior,
            normal: vec![0.0; STATES * STATES],
            right: [0.0; STATES],
            found: [0.0; STATES],
            covariance: vec![0.0; STATES * STATES],
        };
        fit.begin();
        fit.solve();
        fit.invert();
        fit
    }

    /// How much too long ranges may be, mm: a standard deviation.
    pub fn expect_bias(&mut self, mm: f64) {
        self.prior[RANGE] = 1.0 / (mm * mm).max(1e-12);
    }

    /// Forgets all measurements.
    pub fn begin(&mut self) {
        self.normal.fill(0.0);
        self.right = [0.0; STATES];
        (0..STATES).for_each(|i| self.normal[i * STATES + i] = self.prior[i]);
    }

    /// Takes one in.
    pub fn add(&mut self, row: &Row) {
        for i in 0..STATES {
            let w = row.weight * row.by[i];
            self.right[i] += w * row.off;
            self.normal[i * STATES..=i * STATES + i].iter_mut().zip(&row.by).for_each(|(n, b)| *n += w * b);
        }
    }

    /// The coefficients that fit best. The normal matrix becomes its factor.
    pub fn solve(&mut self) {
        let l = &mut self.normal;
        for i in 0..STATES {
            for j in 0..=i {
                let (head, tail) = l.split_at_mut(i * STATES);
                let (row, other) = (&mut tail[..=i], if j < i { &head[j * STATES..][..=j] } else { &[][..] });
                if j < i {
                    let sum: f64 = row[..j].iter().zip(other).map(|(a, b)| a * b).sum();
                    row[j] = (row[j] - sum) / other[j];
                } else {
                    let sum: f64 = row[..i].iter().map(|a| a * a).sum();
                    // The prior keeps it above 0.
                    row[i] = (row[i] - sum).max(1e-12).sqrt();
                }
            }
        }
        self.found = self.right;
        self.substitute_found();
    }

    fn substitute_found(&mut self) {
        let mut x = self.found;
        substitute(&self.normal, &mut x);
        self.found = x;
    }

    /// The covariance of what was found, from the factor.
    pub fn invert(&mut self) {
        for column in 0..STATES {
            let mut x = [0.0; STATES];
            x[column] = 1.0;
            substitute(&self.normal, &mut x);
            (0..STATES).for_each(|i| self.covariance[i * STATES + column] = x[i]);
        }
    }

    /// Displacement of a point with these modes, beside the mean, mm.
    #[must_use]
    pub fn displacement(model: &Model, of: &[f64; STATES], modes: &[f64; MODES]) -> Vector3<f64> {
        (0..3)
            .map(|axis| {
                let along: f64 = of[axis * MODES..][..MODES].iter().zip(modes).map(|(c, m)| c * m).sum();
                model.direction(axis) * along
            })
            .sum()
    }

    /// Variance of the displacement of a point with these modes, over its three directions, mm².
    #[must_use]
    pub fn variance(&self, modes: &[f64; MODES]) -> f64 {
        let mut sum = 0.0;
        for axis in 0..3 {
            for i in 0..MODES {
                let row = &self.covariance[(axis * MODES + i) * STATES + axis * MODES..][..MODES];
                let inner: f64 = row.iter().zip(modes).map(|(c, m)| c * m).sum();
                sum += inner * modes[i];
            }
        }
        sum.max(0.0)
    }

    /// Variance of the displacement of such a point along a direction, mm².
    #[must_use]
    pub fn variance_along(&self, row: &Row) -> f64 {
        let along =
            |i: usize| -> f64 { self.covariance[i * STATES..][..STATES].iter().zip(&row.by).map(|(c, b)| c * b).sum() };
        (0..STATES).map(|i| row.by[i] * along(i)).sum::<f64>().max(0.0)
    }
}

/// `x` becomes (L·Lᵀ)⁻¹·x.
fn substitute(l: &[f64], x: &mut [f64; STATES]) {
    for i in 0..STATES {
        let sum: f64 = l[i * STATES..][..i].iter().zip(&x[..i]).map(|(a, b)| a * b).sum();
        x[i] = (x[i] - sum) / l[i * STATES + i];
    }
    for i in (0..STATES).rev() {
        let mut sum = x[i];
        for (j, x) in x.iter().enumerate().skip(i + 1) {
            sum -= l[j * STATES + i] * x;
        }
        x[i] = sum / l[i * STATES + i];
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use nalgebra::Point3;

    fn model() -> (Model, Point3<f64>) {
        let cortex = Point3::new(0.0, 0.0, 30.0);
        (Model::new(&Settings::default(), Point3::origin(), &cortex, &Vector3::z()), cortex)
    }

    #[test]
    fn without_a_measurement_the_prior_stands() {
        let (model, cortex) = model();
        let fit = Fit::new(&model, 6.0, 0.005);
        assert!(fit.found.iter().all(|c| c.abs() < 1e-12));
        let modes = model.at(&cortex).modes;
        let row = Row::along(&model, &modes, &Vector3::z());
        let expected = model.deviation_mm(0).powi(2) * modes.iter().map(|m| m * m).sum::<f64>();
        assert!((fit.variance_along(&row) - expected).abs() < 1e-6 * expected);
    }

    #[test]
    fn what_is_measured_at_the_cortex_tells_of_what_lies_below_and_less_the_deeper() {
        let (model, cortex) = model();
        let mut fit = Fit::new(&model, 6.0, 0.005);
        fit.begin();
        for (x, y) in [(10.0, 0.0), (-10.0, 5.0), (0.0, -12.0)] {
            let modes = model.at(&(cortex + Vector3::new(x, y, 0.0))).modes;
            for (direction, off) in [(Vector3::z(), -3.0), (Vector3::x(), 1.0), (Vector3::y(), 0.0)] {
                fit.add(&Row { off, weight: 1.0 / 0.25, ..Row::along(&model, &modes, &direction) });
            }
        }
        fit.solve();
        fit.invert();
        let at = |depth: f64| {
            let super::super::model::Place { modes, felt, .. } = model.at(&(cortex - Vector3::z() * depth));
            let row = Row::along(&model, &modes, &Vector3::z());
            let prior = model.deviation_mm(0).powi(2) * modes.iter().map(|m| m * m).sum::<f64>();
            (Fit::displacement(&model, &fit.found, &modes), fit.variance_along(&row) / prior, felt)
        };
        let (surface, left, _) = at(0.0);
        assert!((surface - Vector3::new(1.0, 0.0, -3.0)).norm() < 0.4, "{surface}");
        let (deep, left_deep, _) = at(35.0);
        assert!(deep.z < -0.5 && deep.z > surface.z, "{deep}");
        assert!(left < 0.05 && left_deep > 3.0 * left && left_deep < 1.0, "{left} {left_deep}");
    }
}
