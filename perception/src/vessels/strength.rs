//! How much every voxel looks like the middle of a bright line: a filter on the Hessian at several scales.
//!
//! With the eigenvalues |λ₁| ≥ |λ₂| ≥ |λ₃| of the Hessian after Gaussian smoothing by s, the strength is
//! 4·s²·|λ₂|·(|λ₂| − |λ₃|)/|λ₁| where λ₁ and λ₂ are negative (Q. Li, S. Sone, K. Doi, Med. Phys. 30, 2003): |λ₂| on a
//! line, 0 on plates and balls, without a parameter. s² makes scales comparable (T. Lindeberg, Int. J. Comput. Vis. 30,
//! 1998); the largest of all scales counts. A Gaussian line of height h and width w gives h·4s²w²/(s² + w²)²: h at its
//! own scale. **Units:** brightness; scales in mm. **Shape:** as the picture. **Allocation:** 17 bytes a voxel. **Not
//! protected against:** sheared lattices, whose smoothing is stretched along the shear; borders, where the picture is
//! continued by its last voxel.

use super::picture::Picture;
use super::threads::fill;
use nalgebra::Matrix3;

/// A Gaussian is cut off at so many standard deviations.
const CUT: f64 = 3.5;

/// So that a Gaussian line has its own height as strength.
const LINE: f64 = 4.0;

/// Strength of every voxel and the scale that gave it.
pub(super) struct Strength {
    /// 0 where there is no line.
    pub value: Vec<f32>,
    /// Which of the scales.
    pub scale: Vec<u8>,
    /// Brightness smoothed at that scale.
    pub smooth: Vec<f32>,
}

/// Filters at every scale, smallest first; `done` hears of each.
pub(super) fn strength(picture: &Picture, scales_mm: &[f64], threads: usize, mut done: impl FnMut()) -> Strength {
    let voxels = picture.brightness.len();
    let mut of = Strength { value: vec![0.0; voxels], scale: vec![0; voxels], smooth: vec![0.0; voxels] };
    let mut smooth = picture.brightness.clone();
    let mut spare = vec![0.0; voxels];
    let mut reached_mm = 0.0_f64;
    for (n, scale_mm) in scales_mm.iter().enumerate() {
        // Variances of successive Gaussians add.
        let more_mm = (scale_mm * scale_mm - reached_mm * reached_mm).max(0.0).sqrt();
        smoothen(picture, more_mm, threads, &mut smooth, &mut spare);
        reached_mm = *scale_mm;
        lines(picture, &smooth, *scale_mm, threads, &mut spare);
        for (i, new) in spare.iter().enumerate() {
            if *new > of.value[i] {
                (of.value[i], of.scale[i], of.smooth[i]) = (*new, n as u8, smooth[i]);
            }
        }
        done();
    }
    of
}

/// Smooths by a Gaussian of that standard deviation, axis by axis.
fn smoothen(picture: &Picture, sigma_mm: f64, threads: usize, data: &mut Vec<f32>, spare: &mut Vec<f32>) {
    let [nx, ny, nz] = picture.dims;
    for (axis, n) in [nx, ny, nz].into_iter().enumerate() {
        let taps = taps(sigma_mm / picture.step_mm[axis]);
        let reach = taps.len() / 2;
        let clamp = |at: usize, tap: usize| (at + tap).saturating_sub(reach).min(n - 1);
        let from: &[f32] = data;
        match axis {
            0 => fill(threads, spare, nx, |row, out| {
                let line = &from[row * nx..][..nx];
                for (i, value) in out.iter_mut().enumerate() {
                    *value = taps.iter().enumerate().map(|(t, w)| w * line[clamp(i, t)]).sum();
                }
            }),
            1 => fill(threads, spare, nx, |row, out| {
                let (slice, j) = (row / ny * ny, row % ny);
                add_lines(out, &taps, |t| &from[(slice + clamp(j, t)) * nx..][..nx]);
            }),
            _ => fill(threads, spare, nx * ny, |k, out| {
                add_lines(out, &taps, |t| &from[clamp(k, t) * nx * ny..][..nx * ny]);
            }),
        }
        std::mem::swap(data, spare);
    }
}

fn add_lines<'a>(out: &mut [f32], taps: &[f32], line: impl Fn(usize) -> &'a [f32]) {
    out.fill(0.0);
    for (t, weight) in taps.iter().enumerate() {
        out.iter_mut().zip(line(t)).for_each(|(value, from)| *value += weight * from);
    }
}

/// Weights of a Gaussian, sigma in voxels: its integral over each voxel.
fn taps(sigma: f64) -> Vec<f32> {
    let reach = (CUT * sigma).ceil() as i32;
    let below = |x: f64| 0.5 * libm::erfc(-x / (sigma.max(1e-6) * std::f64::consts::SQRT_2));
    let weights: Vec<f64> = (-reach..=reach).map(|i| below(f64::from(i) + 0.5) - below(f64::from(i) - 0.5)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| (w / sum) as f32).collect()
}

/// The strength at one scale.
fn lines(picture: &Picture, smooth: &[f32], scale_mm: f64, threads: usize, out: &mut [f32]) {
    let [nx, ny, nz] = picture.dims;
    fill(threads, out, nx, |row, out| {
        out.fill(0.0);
        let (j, k) = (row % ny, row / ny);
        if j == 0 || k == 0 || j + 1 == ny || k + 1 == nz {
            return;
        }
        for (i, value) in out.iter_mut().enumerate().take(nx - 1).skip(1) {
            let hessian = hessian(smooth, i + nx * row, [1, nx, nx * ny]);
            // A maximum across a line bends down: without that the trace is positive, and no more is computed.
            let in_mm = picture.turn.transpose() * hessian * picture.turn;
            if in_mm.trace() < 0.0 {
                *value = (LINE * scale_mm * scale_mm * line_of(&eigenvalues(&in_mm))) as f32;
            }
        }
    });
}

/// Second differences in voxels.
fn hessian(data: &[f32], at: usize, stride: [usize; 3]) -> Matrix3<f64> {
    let read = |index: usize| f64::from(data[index]);
    let mut h = Matrix3::zeros();
    for a in 0..3 {
        h[(a, a)] = read(at + stride[a]) + read(at - stride[a]) - 2.0 * read(at);
        for b in a + 1..3 {
            let (plus, minus) = (at + stride[a], at - stride[a]);
            let mixed =
                read(plus + stride[b]) + read(minus - stride[b]) - read(plus - stride[b]) - read(minus + stride[b]);
            h[(a, b)] = 0.25 * mixed;
            h[(b, a)] = h[(a, b)];
        }
    }
    h
}

/// Eigenvalues of a symmetric matrix, ascending (O. K. Smith, Commun. ACM 4, 1961).
fn eigenvalues(m: &Matrix3<f64>) -> [f64; 3] {
    let middle = m.trace() / 3.0;
    let off = m[(0, 1)].powi(2) + m[(0, 2)].powi(2) + m[(1, 2)].powi(2);
    let spread = (0..3).map(|a| (m[(a, a)] - middle).powi(2)).sum::<f64>() + 2.0 * off;
    let radius = (spread / 6.0).sqrt();
    if radius < 1e-30 {
        return [middle; 3];
    }
    let scaled = (m - Matrix3::identity() * middle) / radius;
    let angle = libm::acos((0.5 * scaled.determinant()).clamp(-1.0, 1.0)) / 3.0;
    let high = middle + 2.0 * radius * libm::cos(angle);
    let low = middle + 2.0 * radius * libm::cos(angle + std::f64::consts::TAU / 3.0);
    [low, 3.0 * middle - low - high, high]
}

/// The strength of eigenvalues in ascending order.
fn line_of(&[low, middle, high]: &[f64; 3]) -> f64 {
    // Across a bright line both are negative, and along it the third is nearest to 0.
    if middle >= 0.0 {
        return 0.0;
    }
    (middle.abs() * (middle.abs() - high.abs()) / low.abs()).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::phantom::{Phantom, affine};
    use super::*;
    use nalgebra::Point3;

    #[test]
    fn eigenvalues_are_those_of_a_known_matrix() {
        // Q diag(−3, −1, 2) Qᵀ by two turns.
        let turn = nalgebra::Rotation3::from_euler_angles(0.4, -0.9, 1.7);
        let m = turn.matrix()
            * Matrix3::from_diagonal(&nalgebra::Vector3::new(2.0, -3.0, -1.0))
            * turn.matrix().transpose();
        let found = eigenvalues(&m);
        assert!(found.iter().zip([-3.0, -1.0, 2.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn lines_are_strong_and_plates_balls_and_dark_lines_are_not() {
        assert!((line_of(&[-4.0, -4.0, 0.0]) - 4.0).abs() < 1e-12);
        assert!(line_of(&[-4.0, 0.0, 0.0]) < 1e-12 && line_of(&[-4.0, -4.0, -4.0]) < 1e-12);
        assert!(line_of(&[0.0, 4.0, 4.0]) < 1e-12);
    }

    #[test]
    fn the_strength_is_largest_on_the_axis_at_the_scale_of_the_tube() {
        let mut phantom = Phantom::new([48; 3], affine([0.5; 3]));
        let middle = phantom.middle();
        phantom.tube(middle, nalgebra::Vector3::new(1.0, 0.4, 0.2), 2.5);
        let picture = Picture::new(&phantom.volume(), None).expect("sound");
        let found = strength(&picture, &[0.4, 0.8, 1.6], 2, || {});
        let at = |p: &Point3<f64>| {
            let mut best = (f64::INFINITY, 0);
            picture.around(p, 1.0, |i, off| best = if off.norm() < best.0 { (off.norm(), i) } else { best });
            best.1
        };
        let side = nalgebra::Vector3::new(0.0, 0.45, -0.9);
        let (axis, edge) = (at(&middle), at(&(middle + side * 2.5)));
        assert!(found.value[axis] > 4.0 * found.value[edge].max(0.01), "{} {}", found.value[axis], found.value[edge]);
        assert_eq!(found.scale[axis], 1);
    }
}
