//! Block matching: where small cubes of one picture lie in another, and how well each direction of that is held.
//!
//! A cube of the fixed picture is compared with the laid one at every whole shift within reach, by the correlation
//! coefficient `c`; around the best a quadratic gives the fraction of a voxel (Ourselin et al., Image and Vision
//! Computing 19, 2001). Under normal noise and any linear map between intensities, the profile likelihood of a shift is
//! `-(n/2) ln(1 - c²)`, whose curvature at its peak is the information on it, `n c (-∇∇c) / (1 - c²)`: small along
//! edges, where a cube slides, and everywhere in what has no counterpart. **Units:** mm, mm⁻².
//! **Not protected against:** a cube that looks the same at another place within reach; robust fits leave it out.

use super::picture::Picture;
use nalgebra::{Matrix3, Vector3};
use rayon::prelude::*;

/// How cubes are compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search {
    /// Half an edge of a cube, voxels: its edge is one more than twice that.
    pub half: usize,
    /// Whole voxels that are looked at each way.
    pub reach: usize,
    /// Whether intensities rise together; else a cube may as well be the other's negative.
    pub alike: bool,
}

/// A cube that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    /// Which of the centres that were asked for.
    pub index: usize,
    /// From its place to where the laid picture shows it, mm.
    pub shift: Vector3<f64>,
    /// On the shift, mm⁻².
    pub information: Matrix3<f64>,
}

/// A cube's standard deviation must be that share of the picture's range: there is nothing to see in less.
const CONTRAST_LEAST: f32 = 0.02;
/// Correlation, at least.
const CORRELATION_LEAST: f32 = 0.5;
/// Noise in neighbouring voxels goes together; so many voxels count as one.
const VOXELS_FOR_ONE: f64 = 8.0;
/// Nothing is known better than that from one cube, mm.
const BEST_MM: f64 = 0.15;
/// Share of a cube that may be left out.
const LEFT_OUT_MOST: f64 = 0.5;

/// Finds cubes about voxels of the fixed picture in a picture on the same grid. `left_out`: voxels of the fixed one that have no
/// counterpart. In the order of the centres, with how many of them have something to see.
pub(super) fn find(
    fixed: &Picture,
    laid: &Picture,
    left_out: &[bool],
    centres: &[[usize; 3]],
    search: Search,
) -> (Vec<Match>, usize) {
    let Some((low, high)) = fixed.range() else { return (Vec::new(), 0) };
    let contrast = CONTRAST_LEAST * (high - low);
    let one = |(index, centre): (usize, &[usize; 3])| {
        let mut cube = Cube::cut(fixed, left_out, *centre, search)?;
        (cube.deviation >= contrast).then(|| cube.look(laid, search, index))
    };
    let seen: Vec<Option<Match>> = centres.par_iter().enumerate().filter_map(one).collect();
    let count = seen.len();
    (seen.into_iter().flatten().collect(), count)
}

/// A cube of the fixed picture, of mean 0 and length 1.
struct Cube {
    centre: [usize; 3],
    values: Vec<f32>,
    /// Rows of the cube that are whole, or every voxel by itself: offset of its first voxel from the centre, and its length.
    rows: Vec<([isize; 3], usize)>,
    deviation: f32,
    scores: Vec<f32>,
}

impl Cube {
    fn cut(fixed: &Picture, left_out: &[bool], centre: [usize; 3], search: Search) -> Option<Self> {
        let grid = &fixed.grid;
        let room = search.half + search.reach;
        (0..3).all(|a| centre[a] >= room && centre[a] + room < grid.dims[a]).then_some(())?;
        let (half, edge) = (search.half as isize, 2 * search.half + 1);
        let mut values = Vec::with_capacity(edge.pow(3));
        let mut rows = Vec::with_capacity(edge.pow(2));
        for (k, j) in (-half..=half).flat_map(|k| (-half..=half).map(move |j| (k, j))) {
            let start = index(fixed, centre, [-half, j, k]);
            let span = start..start + edge;
            if left_out.is_empty() || left_out[span.clone()].iter().all(|l| !l) {
                values.extend_from_slice(&fixed.data[span]);
                rows.push(([-half, j, k], edge));
            } else {
                for (i, at) in span.enumerate().filter(|(_, at)| !left_out[*at]) {
                    values.push(fixed.data[at]);
                    rows.push(([i as isize - half, j, k], 1));
                }
            }
        }
        (values.len() as f64 >= (1.0 - LEFT_OUT_MOST) * edge.pow(3) as f64).then_some(())?;
        let n = values.len() as f32;
        let mean = values.iter().sum::<f32>() / n;
        values.iter_mut().for_each(|v| *v -= mean);
        let squares = values.iter().map(|v| v * v).sum::<f32>();
        // NaN, which is in what the scan does not show, is refused here.
        (squares > 0.0).then_some(())?;
        let length = squares.sqrt();
        values.iter_mut().for_each(|v| *v /= length);
        Some(Self { centre, values, rows, deviation: length / n.sqrt(), scores: Vec::new() })
    }

    /// Correlation with the laid picture at a shift; NaN where that is not known.
    fn correlation(&self, laid: &Picture, shift: [isize; 3]) -> f32 {
        let (mut sum, mut squares, mut product) = (0.0_f32, 0.0_f32, 0.0_f32);
        let mut done = 0;
        for (from, length) in &self.rows {
            let start = index(laid, self.centre, std::array::from_fn(|a| from[a] + shift[a]));
            let there = &laid.data[start..start + length];
            for (w, f) in there.iter().zip(&self.values[done..done + length]) {
                sum += w;
                squares += w * w;
                product += w * f;
            }
            done += length;
        }
        let variance = squares - sum * sum / self.values.len() as f32;
        if variance > 1e-6 * squares {
            product / variance.sqrt()
        } else if sum.is_nan() {
            f32::NAN
        } else {
            0.0
        }
    }

    fn look(&mut self, laid: &Picture, search: Search, index: usize) -> Option<Match> {
        let reach = search.reach as isize;
        let edge = 2 * search.reach + 1;
        self.scores.clear();
        for (k, j) in (-reach..=reach).flat_map(|k| (-reach..=reach).map(move |j| (k, j))) {
            for i in -reach..=reach {
                let c = self.correlation(laid, [i, j, k]);
                self.scores.push(if search.alike { c } else { c.abs() });
            }
        }
        let known = self.scores.iter().enumerate().filter(|(_, c)| !c.is_nan());
        let (best, top) = known.max_by(|a, b| a.1.total_cmp(b.1))?;
        (*top >= CORRELATION_LEAST).then_some(())?;
        let at = [best % edge, best / edge % edge, best / (edge * edge)];
        // On the rim of what was looked at the best may lie beyond.
        at.iter().all(|v| *v > 0 && v + 1 < edge).then_some(())?;
        let score = |off: [isize; 3]| {
            let [i, j, k] = std::array::from_fn(|a| (at[a] as isize + off[a]) as usize);
            f64::from(self.scores[i + edge * (j + edge * k)])
        };
        let (gradient, curvature) = quadratic(&score);
        (gradient.sum().is_finite() && curvature.sum().is_finite()).then_some(())?;
        let top = f64::from(*top).min(0.999);
        let held = (-curvature).symmetric_eigen();
        let spacing = laid.grid.spacing_mm;
        let factor = self.values.len() as f64 / VOXELS_FOR_ONE * top / (1.0 - top * top) / (spacing * spacing);
        let mut part = Vector3::zeros();
        let mut information = Matrix3::zeros();
        for a in 0..3 {
            let (along, steep) = (held.eigenvectors.column(a), held.eigenvalues[a]);
            if steep > 1e-6 {
                part += along * (along.dot(&gradient) / steep).clamp(-0.7, 0.7);
                information += along * along.transpose() * (factor * steep).min(BEST_MM.powi(-2));
            }
        }
        let whole = Vector3::from(std::array::from_fn::<f64, 3, _>(|a| at[a] as f64 - reach as f64));
        Some(Match { index, shift: (whole + part) * spacing, information })
    }
}

fn index(picture: &Picture, centre: [usize; 3], off: [isize; 3]) -> usize {
    let [i, j, k] = std::array::from_fn(|a| (centre[a] as isize + off[a]) as usize);
    picture.grid.index([i, j, k])
}

/// Gradient and matrix of second derivatives of scores about their best, by central differences.
fn quadratic(score: &dyn Fn([isize; 3]) -> f64) -> (Vector3<f64>, Matrix3<f64>) {
    let step = |a: usize, by: isize| std::array::from_fn::<isize, 3, _>(|b| if a == b { by } else { 0 });
    let middle = score([0; 3]);
    let gradient = Vector3::from_fn(|a, _| 0.5 * (score(step(a, 1)) - score(step(a, -1))));
    let curvature = Matrix3::from_fn(|a, b| {
        if a == b {
            return score(step(a, 1)) + score(step(a, -1)) - 2.0 * middle;
        }
        let both = |s: isize, t: isize| {
            let (u, v) = (step(a, s), step(b, t));
            score(std::array::from_fn(|c| u[c] + v[c]))
        };
        0.25 * (both(1, 1) + both(-1, -1) - both(1, -1) - both(-1, 1))
    });
    (gradient, curvature)
}
