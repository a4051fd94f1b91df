//! Fluid, grey and white matter, and the bias field, of a scan laid on the template's grid.
//!
//! Expectation–maximisation on a mixture of three Gaussians with the template's maps as priors and a bias
//! field that is the exponential of a polynomial of degree 4: Van Leemput et al., *Automated model-based
//! bias field correction of MR images of the brain* and *Automated model-based tissue classification*,
//! IEEE TMI 18 (1999). Then a Markov random field over the six neighbours, solved by mean field: Zhang,
//! Brady & Smith, *Segmentation of brain MR images through a hidden Markov random field model and the
//! expectation-maximization algorithm*, IEEE TMI 20 (2001). A fourth, flat class takes what is none of the
//! three. **Units:** intensities of [`super::scan`]. **Determinism:** no draws, one thread.

use nalgebra::{DMatrix, DVector};

/// Fluid, grey, white.
pub(super) const CLASSES: usize = 3;
/// Terms of a polynomial of degree 4 in three variables.
const TERMS: usize = 35;
/// Rounds of expectation and maximisation.
const ROUNDS: usize = 18;
/// The bias field starts after the classes have found their means.
const ROUNDS_BEFORE_BIAS: usize = 4;
/// Every how manieth voxel along each axis the parameters are fitted on.
const STRIDE: usize = 3;
/// Density of the flat class, per unit of intensity, against Gaussians of weight 1.
const FLAT: f64 = 0.02;
/// Largest spread of fluid that is always allowed, against the distance of white from grey.
const FLUID_SPREAD: f64 = 0.35;
/// Strength of the Markov field: what one neighbour of a class adds to its log-odds.
const BETA: f32 = 0.35;
/// Rounds of the mean field.
const FIELD_ROUNDS: usize = 6;
/// Largest change of brightness by the bias field, as a logarithm: a factor of 4.
const BIAS_MAX: f64 = 1.4;

/// The mixture and the bias field.
#[derive(Debug, Clone)]
pub(super) struct Mixture {
    pub mean: [f64; CLASSES],
    pub variance: [f64; CLASSES],
    bias: [f64; TERMS],
    dims: [usize; 3],
}

/// A voxel that the parameters are fitted on.
struct Sample {
    value: f64,
    basis: [f64; TERMS],
    prior: [f64; CLASSES],
}

impl Mixture {
    /// Fits to `values` where `mask` is set. `None` where too little is set, or classes collapse.
    pub(super) fn fit(dims: [usize; 3], values: &[f32], mask: &[bool], priors: &[[f32; CLASSES]]) -> Option<Self> {
        let samples = samples(dims, values, mask, priors);
        let mut mixture = Self { mean: [0.0; CLASSES], variance: [0.0; CLASSES], bias: [0.0; TERMS], dims };
        let sharp = |s: &Sample| s.prior.map(|p| p * p * p);
        mixture.maximise(samples.iter().map(|s| (s.value, sharp(s))))?;
        mixture.sharpen();
        for round in 0..ROUNDS {
            let corrected: Vec<f64> =
                samples.iter().map(|s| s.value * libm::exp(-mixture.log_bias(&s.basis))).collect();
            let shares: Vec<[f64; CLASSES]> =
                samples.iter().zip(&corrected).map(|(s, v)| mixture.shares(*v, &s.prior)).collect();
            mixture.maximise(corrected.iter().copied().zip(shares.iter().copied()))?;
            if round >= ROUNDS_BEFORE_BIAS {
                mixture.update_bias(&samples, &shares)?;
            }
        }
        Some(mixture)
    }

    /// Blurred priors mix the classes: what they start from is told apart better than it was found. On T1
    /// fluid is at least as far below grey matter as white is above it.
    fn sharpen(&mut self) {
        let [fluid, grey, white] = self.mean;
        let apart = (white - grey).abs();
        self.mean[0] = fluid.min((grey - apart).max(0.2 * grey));
        self.variance = [0.6, 0.4, 0.4].map(|s| (s * apart * s * apart).max(1e-5));
    }

    /// Probability of each class for a corrected value; what is missing to 1 is none of them.
    fn shares(&self, value: f64, prior: &[f64; CLASSES]) -> [f64; CLASSES] {
        let weight: [f64; CLASSES] = std::array::from_fn(|k| prior[k] * self.density(k, value));
        let sum = weight.iter().sum::<f64>() + FLAT;
        weight.map(|w| w / sum)
    }

    fn density(&self, k: usize, value: f64) -> f64 {
        let d = value - self.mean[k];
        libm::exp(-0.5 * d * d / self.variance[k]) / (std::f64::consts::TAU * self.variance[k]).sqrt()
    }

    fn maximise(&mut self, values: impl Iterator<Item = (f64, [f64; CLASSES])>) -> Option<()> {
        let mut sums = [[0.0_f64; 3]; CLASSES];
        for (v, shares) in values {
            for (s, share) in sums.iter_mut().zip(shares) {
                s[0] += share;
                s[1] += share * v;
                s[2] += share * v * v;
            }
        }
        for (k, [n, sum, squares]) in sums.iter().copied().enumerate() {
            if n < 50.0 {
                return None;
            }
            self.mean[k] = sum / n;
            self.variance[k] = (squares / n - self.mean[k] * self.mean[k]).max(1e-5);
        }
        // One spread for grey and white: left free, white shrinks to its brightest core and grey takes all
        // that lies between.
        let [_, (grey, ng), (white, nw)] = [0, 1, 2].map(|k| (self.variance[k], sums[k][0]));
        self.variance[1] = (grey * ng + white * nw) / (ng + nw);
        self.variance[2] = self.variance[1];
        // Nor may fluid grow so wide that it takes the borders between grey and white.
        let apart = FLUID_SPREAD * (self.mean[2] - self.mean[1]);
        self.variance[0] = self.variance[0].min((9.0 * self.variance[1]).max(apart * apart));
        Some(())
    }

    /// Weighted least squares of the log ratio of what is seen to what the classes predict. Fluid is left
    /// out: its logarithm is mostly noise.
    fn update_bias(&mut self, samples: &[Sample], shares: &[[f64; CLASSES]]) -> Option<()> {
        let mut normal = DMatrix::<f64>::zeros(TERMS, TERMS);
        let mut right = DVector::<f64>::zeros(TERMS);
        for (s, share) in samples.iter().zip(shares) {
            let (mut weight, mut sum) = (0.0, 0.0);
            for ((share, variance), mean) in share.iter().zip(self.variance).zip(self.mean).skip(1) {
                let w = share / variance;
                weight += w;
                sum += w * mean;
            }
            if weight <= 0.0 || s.value <= 0.0 {
                continue;
            }
            let predicted = sum / weight;
            let weight = weight * predicted * predicted;
            let wanted = libm::log(s.value / predicted).clamp(-BIAS_MAX, BIAS_MAX);
            for r in 0..TERMS {
                let wr = weight * s.basis[r];
                right[r] += wr * wanted;
                for c in 0..=r {
                    normal[(r, c)] += wr * s.basis[c];
                }
            }
        }
        let most = normal.diagonal().max();
        for r in 0..TERMS {
            // A little stiffness keeps directions that nothing determines at 0.
            normal[(r, r)] += 1e-6 * most;
            for c in 0..r {
                normal[(c, r)] = normal[(r, c)];
            }
        }
        let solved = normal.cholesky()?.solve(&right);
        self.bias.iter_mut().zip(solved.iter()).for_each(|(b, s)| *b = *s);
        // The scale belongs to the means: the field is 1 on average.
        let mean = samples.iter().map(|s| self.log_bias(&s.basis)).sum::<f64>() / samples.len() as f64;
        self.bias[0] -= mean;
        Some(())
    }

    fn log_bias(&self, basis: &[f64; TERMS]) -> f64 {
        self.bias.iter().zip(basis).map(|(b, f)| b * f).sum::<f64>().clamp(-BIAS_MAX, BIAS_MAX)
    }

    /// Divides the bias field out. It is evaluated every fourth voxel along x and is linear between.
    pub(super) fn correct(&self, values: &mut [f32]) {
        let [nx, ny, _] = self.dims;
        for (row, line) in values.chunks_exact_mut(nx).enumerate() {
            let at =
                |i: usize| libm::exp(-self.log_bias(&basis(self.dims, [i.min(nx - 1), row % ny, row / ny]))) as f32;
            let mut here = at(0);
            for (n, four) in line.chunks_mut(4).enumerate() {
                let next = at(4 * n + 4);
                for (i, v) in four.iter_mut().enumerate() {
                    *v *= here + (next - here) * 0.25 * i as f32;
                }
                here = next;
            }
        }
    }

    /// Class probabilities of the voxels of a mask, `[fluid, grey, white]`, zero elsewhere, smoothed by
    /// the Markov field.
    pub(super) fn classify(&self, corrected: &[f32], mask: &[bool], priors: &[[f32; CLASSES]]) -> Vec<[f32; CLASSES]> {
        let inside: Vec<usize> = (0..mask.len()).filter(|i| mask[*i]).collect();
        let evidence: Vec<[f32; CLASSES]> = inside
            .iter()
            .map(|i| {
                let value = f64::from(corrected[*i]);
                let flat = FLAT / CLASSES as f64;
                std::array::from_fn(|k| {
                    // Darker than fluid is fluid, brighter than white is white.
                    let v = match k {
                        0 => value.max(self.mean[0]),
                        2 => value.min(self.mean[2]),
                        _ => value,
                    };
                    (f64::from(priors[*i][k]) * (self.density(k, v) + flat)) as f32
                })
            })
            .collect();
        let mut shares = vec![[0.0_f32; CLASSES]; mask.len()];
        for (i, e) in inside.iter().zip(&evidence) {
            shares[*i] = normalised(*e);
        }
        let [nx, ny, nz] = self.dims;
        for _ in 0..FIELD_ROUNDS {
            let before = shares.clone();
            for (i, e) in inside.iter().zip(&evidence) {
                let at = [i % nx, i / nx % ny, i / (nx * ny)];
                let mut near = [0.0_f32; CLASSES];
                let mut stride = 1;
                for (c, n) in at.into_iter().zip([nx, ny, nz]) {
                    let sides = [(c > 0).then(|| i - stride), (c + 1 < n).then(|| i + stride)];
                    for side in sides.into_iter().flatten() {
                        near.iter_mut().zip(before[side]).for_each(|(n, b)| *n += b);
                    }
                    stride *= n;
                }
                shares[*i] = normalised(std::array::from_fn(|k| e[k] * libm::expf(BETA * near[k])));
            }
        }
        shares
    }
}

fn normalised(v: [f32; CLASSES]) -> [f32; CLASSES] {
    let sum: f32 = v.iter().sum();
    if sum > 0.0 { v.map(|x| x / sum) } else { [1.0, 0.0, 0.0] }
}

fn samples(dims: [usize; 3], values: &[f32], mask: &[bool], priors: &[[f32; CLASSES]]) -> Vec<Sample> {
    let [nx, ny, nz] = dims;
    let mut samples = Vec::new();
    for k in (0..nz).step_by(STRIDE) {
        for j in (0..ny).step_by(STRIDE) {
            for i in (0..nx).step_by(STRIDE) {
                let index = i + nx * (j + ny * k);
                if mask[index] && values[index] > 0.0 {
                    samples.push(Sample {
                        value: f64::from(values[index]),
                        basis: basis(dims, [i, j, k]),
                        prior: priors[index].map(f64::from),
                    });
                }
            }
        }
    }
    samples
}

/// Products of Legendre polynomials of total degree 0 to 4, the constant first.
fn basis(dims: [usize; 3], voxel: [usize; 3]) -> [f64; TERMS] {
    let p: [[f64; 5]; 3] = std::array::from_fn(|a| {
        let x = 2.0 * voxel[a] as f64 / (dims[a] - 1).max(1) as f64 - 1.0;
        let (x2, x3) = (x * x, x * x * x);
        [1.0, x, 1.5 * x2 - 0.5, 2.5 * x3 - 1.5 * x, 4.375 * x2 * x2 - 3.75 * x2 + 0.375]
    });
    let mut out = [0.0; TERMS];
    let mut term = 0;
    for degree in 0..5 {
        for a in 0..=degree {
            for b in 0..=degree - a {
                out[term] = p[0][a] * p[1][b] * p[2][degree - a - b];
                term += 1;
            }
        }
    }
    out
}
