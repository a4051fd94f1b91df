//! What a scan suffers between the head and the file.
//!
//! In this order: blur (the point spread of the sequence), motion (a ghost along the phase-encoding axis y,
//! and more blur), bias field (polynomials of the second degree), Rician noise (the length of a complex
//! signal with normal noise in both channels; H. Gudbjartsson, S. Patz, Magn. Reson. Med. 34, 1995; in the
//! foreign world stronger towards the head's middle, as a coil array's geometry factor makes it: K. P.
//! Pruessmann et al., Magn. Reson. Med. 42, 1999), thick slices, partial coverage. **Units:** mm; intensities over white matter's. **Allocation:** none, but for
//! motion and thick slices. **Not modelled:** distortion by gradients, wrap-around, spikes.

use super::ScannerSettings;
use crate::random::{Draws, mix};
use bregma_core::flow::Modality;
use std::sync::OnceLock;

/// Entries of the table of normal numbers.
const NORMALS: usize = 1 << 12;

/// Of one scan.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Artefacts {
    /// Standard deviation of the point spread, mm.
    pub blur_mm: f64,
    /// Share and offset in voxels of the ghost.
    pub ghost: Option<(f32, usize)>,
    /// Coefficients of x, y, z, xy, yz, zx, on axes from −1 to 1.
    pub bias: [f32; 6],
    /// Standard deviation of either channel over white matter's intensity.
    pub noise: f32,
    /// By how much it is stronger in the middle of the picture, a share.
    pub rise: f32,
    /// Voxels of 1 mm in a slice.
    pub slice: usize,
    /// Slices that are missing at the neck's end and at the crown's, share of the head.
    pub uncovered: [f64; 2],
    seed: u64,
}

impl Artefacts {
    pub(super) fn drawn(draws: &mut Draws, settings: &ScannerSettings, modality: Modality) -> Self {
        let mut chance = |share: f64| draws.uniform(0.0, 1.0) < share;
        let (moves, thick, partial) =
            (chance(settings.motion_share), chance(settings.thick_share), chance(settings.partial_share));
        let largest = draws.uniform(0.02, 0.12);
        let ghost = (draws.uniform(0.03, 0.1) as f32, 20 + draws.below(50));
        let slice = 2 + draws.below(4);
        let blur_mm = draws.uniform(0.35, 0.6);
        Self {
            blur_mm: if moves { blur_mm + draws.uniform(0.2, 0.5) } else { blur_mm },
            ghost: moves.then_some(ghost),
            bias: std::array::from_fn(|_| (draws.uniform(-1.0, 1.0) * largest / 2.0) as f32),
            noise: draws.log_uniform(0.012, 0.035) as f32,
            rise: settings.noise_rise as f32,
            // T1c is acquired in three dimensions; FLAIR and T2 often are not.
            slice: if thick && matches!(modality, Modality::Flair | Modality::T2) { slice } else { 1 },
            uncovered: if partial { [draws.uniform(0.0, 0.15), draws.uniform(0.0, 0.05)] } else { [0.0; 2] },
            seed: draws.bits(),
        }
    }

    /// Everything that keeps the grid: blur, ghost, bias, noise; then times `gain`.
    pub(super) fn apply(&self, picture: &mut [f32], dims: [usize; 3], spacing_mm: f64, gain: f32) {
        blur(picture, dims, self.blur_mm / spacing_mm);
        if let Some((share, offset)) = self.ghost {
            ghost(picture, dims, share, offset);
        }
        self.bias_and_noise(picture, dims, gain);
    }

    fn bias_and_noise(&self, picture: &mut [f32], dims: [usize; 3], gain: f32) {
        let [nx, ny, nz] = dims;
        let b = self.bias;
        let normals = normals();
        let unit = |i: usize, n: usize| 2.0 * i as f32 / n as f32 - 1.0;
        let xs: Vec<f32> = (0..nx).map(|i| unit(i, nx)).collect();
        for (row, line) in picture.chunks_exact_mut(nx).enumerate() {
            let (y, z) = (unit(row % ny, ny), unit(row / ny, nz));
            // Along a row the field is a straight line.
            let start = 1.0 + b[1] * y + b[2] * z + b[4] * y * z;
            let slope = b[0] + b[3] * y + b[5] * z;
            let row_seed = mix(self.seed, row as u64);
            let aside = (1.0 - y * y).max(0.0) * (1.0 - z * z).max(0.0) * self.rise;
            for (pair, (values, x)) in line.chunks_mut(2).zip(xs.chunks(2)).enumerate() {
                let bits = mix(row_seed, pair as u64);
                for (n, (value, x)) in values.iter_mut().zip(x).enumerate() {
                    let draw = |c: usize| normals[(bits >> (24 * n + 12 * c)) as usize % NORMALS];
                    let noise = self.noise * (1.0 + aside * (1.0 - x * x));
                    let real = *value * (start + slope * x) + noise * draw(0);
                    let imaginary = noise * draw(1);
                    *value = gain * (real * real + imaginary * imaginary).sqrt();
                }
            }
        }
    }

    /// Averages slices and leaves the uncovered ones out: the new picture, its slices, and the first
    /// slice's centre and the slices' distance in old slices.
    pub(super) fn sliced(&self, picture: Vec<f32>, dims: [usize; 3]) -> (Vec<f32>, usize, f64, f64) {
        let [nx, ny, nz] = dims;
        let first = (self.uncovered[0] * nz as f64) as usize;
        let last = nz - (self.uncovered[1] * nz as f64) as usize;
        let slices = (last - first) / self.slice;
        if self.slice == 1 && slices == nz {
            return (picture, nz, 0.0, 1.0);
        }
        let area = nx * ny;
        let mut out = vec![0.0; area * slices];
        for (to, from) in out.chunks_exact_mut(area).zip(picture[first * area..].chunks_exact(area * self.slice)) {
            for slice in from.chunks_exact(area) {
                to.iter_mut().zip(slice).for_each(|(t, s)| *t += s / self.slice as f32);
            }
        }
        (out, slices, first as f64 + 0.5 * (self.slice as f64 - 1.0), self.slice as f64)
    }
}

/// Normal numbers at evenly spaced ranks, in no order that matters: a random index draws one. Their
/// variance is 1; tails end at ±3.7 σ.
fn normals() -> &'static [f32; NORMALS] {
    static TABLE: OnceLock<[f32; NORMALS]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [0.0_f64; NORMALS];
        // Newton's method from the last rank's value on Φ(x) = rank; ranks ascend from the middle.
        let mut x = 0.0_f64;
        for n in 0..NORMALS / 2 {
            let rank = 0.5 + (n as f64 + 0.5) / NORMALS as f64;
            for _ in 0..30 {
                let error = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2) - rank;
                let slope = libm::exp(-0.5 * x * x) / libm::sqrt(std::f64::consts::TAU);
                x -= error / slope;
            }
            (table[NORMALS / 2 + n], table[NORMALS / 2 - 1 - n]) = (x, -x);
        }
        let variance = table.iter().map(|v| v * v).sum::<f64>() / NORMALS as f64;
        table.map(|v| (v / libm::sqrt(variance)) as f32)
    })
}

/// Three taps along each axis with the variance of the point spread, `sigma` in voxels.
fn blur(picture: &mut [f32], dims: [usize; 3], sigma: f64) {
    // Taps (a, 1 − 2a, a) have the variance 2a; beyond a third they would ring.
    let mut left = sigma * sigma;
    while left > 1e-6 {
        let a = (0.5 * left).min(0.25) as f32;
        let [nx, ny, nz] = dims;
        for line in picture.chunks_exact_mut(nx) {
            let mut before = line[0];
            for i in 0..nx {
                let (old, after) = (line[i], line[(i + 1).min(nx - 1)]);
                line[i] = old + a * (before + after - 2.0 * old);
                before = old;
            }
        }
        for slice in picture.chunks_exact_mut(nx * ny) {
            across(slice, nx, ny, a);
        }
        across(picture, nx * ny, nz, a);
        left -= 2.0 * f64::from(a);
    }
}

/// The taps across `n` lines of `width` values.
fn across(lines: &mut [f32], width: usize, n: usize, a: f32) {
    let mut before = lines[..width].to_vec();
    for line in 0..n {
        let (here, rest) = lines[line * width..].split_at_mut(width);
        if line + 1 < n {
            for ((value, before), after) in here.iter_mut().zip(&mut before).zip(&rest[..width]) {
                let old = *value;
                *value = old + a * (*before + after - 2.0 * old);
                *before = old;
            }
        } else {
            for (value, before) in here.iter_mut().zip(&before) {
                *value += a * (before - *value);
            }
        }
    }
}

/// Adds a share of the picture, moved along y both ways.
fn ghost(picture: &mut [f32], dims: [usize; 3], share: f32, offset: usize) {
    let [nx, ny, _] = dims;
    for slice in picture.chunks_exact_mut(nx * ny) {
        let clean = slice.to_vec();
        for j in 0..ny {
            let to = &mut slice[j * nx..(j + 1) * nx];
            for from in [j.checked_sub(offset), Some(j + offset).filter(|f| *f < ny)].into_iter().flatten() {
                let from = &clean[from * nx..(from + 1) * nx];
                to.iter_mut().zip(from).for_each(|(t, f)| *t += 0.5 * share * f);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    fn clean() -> Artefacts {
        let settings =
            ScannerSettings { motion_share: 0.0, thick_share: 0.0, partial_share: 0.0, ..Default::default() };
        Artefacts { bias: [0.0; 6], ..Artefacts::drawn(&mut Draws::new(1, Purpose::Scan), &settings, Modality::T1) }
    }

    #[test]
    fn noise_is_rician() {
        let dims = [64; 3];
        let artefacts = Artefacts { noise: 0.05, ..clean() };
        let statistics = |level: f32| {
            let mut picture = vec![level; 64 * 64 * 64];
            artefacts.bias_and_noise(&mut picture, dims, 1.0);
            let n = picture.len() as f64;
            let mean = picture.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let variance = picture.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
            (mean, variance.sqrt())
        };
        // In air: Rayleigh, mean σ·√(π/2), deviation σ·√(2 − π/2). In tissue: nearly normal.
        let (mean, deviation) = statistics(0.0);
        assert!((mean / 0.05 - 1.2533).abs() < 0.01 && (deviation / 0.05 - 0.6551).abs() < 0.01, "{mean} {deviation}");
        let (mean, deviation) = statistics(1.0);
        assert!((mean - 1.00125).abs() < 5e-4 && (deviation / 0.05 - 1.0).abs() < 0.02, "{mean} {deviation}");
    }

    #[test]
    fn blur_keeps_the_sum_and_has_its_width() {
        let dims = [31; 3];
        for sigma in [0.4_f64, 0.9, 1.6] {
            let mut picture = vec![0.0_f32; 31 * 31 * 31];
            picture[15 + 31 * (15 + 31 * 15)] = 1.0;
            blur(&mut picture, dims, sigma);
            let sum: f32 = picture.iter().sum();
            for stride in [1, 31, 31 * 31] {
                let at = |i: usize| (i / stride % 31) as f32 - 15.0;
                let variance: f32 = picture.iter().enumerate().map(|(i, v)| v * at(i) * at(i)).sum();
                assert!((f64::from(variance).sqrt() - sigma).abs() < 0.02, "{variance} for {sigma}");
            }
            assert!((sum - 1.0).abs() < 1e-4);
        }
    }

    #[test]
    fn slices_average_and_lie_in_their_middle() {
        let artefacts = Artefacts { slice: 3, uncovered: [0.1, 0.0], ..clean() };
        let picture: Vec<f32> = (0..4 * 4 * 20).map(|i| (i / 16) as f32).collect();
        let (out, slices, first, step) = artefacts.sliced(picture, [4, 4, 20]);
        assert_eq!((slices, out.len(), step), (6, 96, 3.0));
        // Slices 2, 3 and 4 make the first one: its middle is slice 3.
        assert!((out[0] - 3.0).abs() < 1e-6 && (first - 3.0).abs() < 1e-12);
    }
}
