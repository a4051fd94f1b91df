//! Sulci as deep as one brain has them.
//!
//! The template is the mean of many brains, whose sulci do not lie on each other: of the fluid in them a
//! shallow valley in the share of tissue is left. Here each valley is deepened: where the share of tissue
//! p lies below its local mean (nearly Gaussian, σ 2.4 mm) it becomes p − 2.5 (mean − p), and T1 darkens as tissue gives
//! way to fluid; the white matter's share is steepened by an unsharp mask, so that its blades reach into
//! the gyri. Where fluid starts is then moved up and down by a smooth field of each seed
//! ([`FluidEdge`]), so that sulci are deeper here and shallower there. **Units:** the template's 0 to 255.
//! **Invariant:** the brain's outer surface stays as it was. **Not modelled:** sulci that are not in the
//! average at all.

use crate::anatomy::template::Template;
use crate::anatomy::warp::{SPLINE_SD, spline};
use crate::random::{Draws, Purpose};
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Radius, voxels, of the three box means that stand for a Gaussian: σ² = 3 · (5² − 1)/12 = 6.
const BOX_RADIUS: usize = 2;
/// How much deeper a valley becomes.
const DEEPEN: f32 = 2.5;
/// Gain of the unsharp mask on white matter.
const STEEPEN: f32 = 0.8;
/// T1 intensity below which a voxel is outside the brain: half of a voxel's share of average tissue.
pub(crate) const OUTSIDE_T1: f32 = 30.0;
/// T1 intensity of fluid in the template.
const FLUID_T1: f32 = 70.0;
/// Tissue's share below which a voxel is fluid, and how far a seed's field moves it (one SD).
const FLUID_BELOW: f32 = 128.0;
const FLUID_BELOW_SD: f32 = 25.0;
/// How far it can be moved.
const FLUID_BELOW_RANGE: std::ops::RangeInclusive<f32> = 64.0..=192.0;
/// Distance of that field's coefficients, mm, and of its nodes.
const KNOT_MM: f64 = 24.0;
const NODE_MM: f64 = 12.0;

/// The template with its sulci deepened.
pub(crate) fn deepened(template: &Template) -> Template {
    let dims = template.grid.dims;
    let inside: Vec<f32> = template.t1.iter().map(|t| f32::from(u8::from(f32::from(*t) >= OUTSIDE_T1))).collect();
    let share = |i: usize| (f32::from(template.grey[i]) + f32::from(template.white[i])).min(255.0) * inside[i];
    let weight = mean(inside.clone(), dims);
    let tissue = mean((0..template.t1.len()).map(share).collect(), dims);
    let white = mean(template.white.iter().map(|w| f32::from(*w)).collect(), dims);
    let mut deep = Template { grid: template.grid, ..template.clone() };
    for i in 0..template.t1.len() {
        if inside[i] <= 0.0 {
            continue;
        }
        let was = share(i);
        let valley = (tissue[i] / weight[i].max(0.05) - was).max(0.0);
        let now = (was - DEEPEN * valley).max(0.0);
        let steep = f32::from(template.white[i]);
        let white_now = (steep + STEEPEN * (steep - white[i])).clamp(0.0, now);
        deep.white[i] = white_now.round() as u8;
        deep.grey[i] = (now - white_now).round() as u8;
        let lost = (was - now) / 255.0;
        let t1 = f32::from(template.t1[i]);
        deep.t1[i] = (t1 - lost * (t1 - FLUID_T1).max(0.0)).max(OUTSIDE_T1).round() as u8;
    }
    deep
}

/// Three box means along each axis: nearly a Gaussian.
fn mean(mut data: Vec<f32>, dims: [usize; 3]) -> Vec<f32> {
    let mut out = vec![0.0; data.len()];
    for a in 0..3 {
        let stride: usize = dims[..a].iter().product();
        for _ in 0..3 {
            box_mean(&data, &mut out, stride, dims[a]);
            std::mem::swap(&mut data, &mut out);
        }
    }
    data
}

/// The mean over [`BOX_RADIUS`] voxels either way along one axis; voxels outside count as nothing.
fn box_mean(data: &[f32], out: &mut [f32], stride: usize, n: usize) {
    const SHARE: f32 = 1.0 / (2 * BOX_RADIUS + 1) as f32;
    let mut sum = vec![0.0_f32; stride];
    for (from, to) in data.chunks_exact(stride * n).zip(out.chunks_exact_mut(stride * n)) {
        let row = |m: usize| &from[m * stride..(m + 1) * stride];
        sum.fill(0.0);
        for m in 0..BOX_RADIUS.min(n) {
            sum.iter_mut().zip(row(m)).for_each(|(s, v)| *s += v);
        }
        for (m, to) in to.chunks_exact_mut(stride).enumerate() {
            if m + BOX_RADIUS < n {
                sum.iter_mut().zip(row(m + BOX_RADIUS)).for_each(|(s, v)| *s += v);
            }
            to.iter_mut().zip(&sum).for_each(|(t, s)| *t = s * SHARE);
            if let Some(gone) = m.checked_sub(BOX_RADIUS) {
                sum.iter_mut().zip(row(gone)).for_each(|(s, v)| *s -= v);
            }
        }
    }
}

/// Where tissue gives way to fluid in one patient: a smooth field in template space.
pub(crate) struct FluidEdge {
    grid: Grid,
    below: Vec<f32>,
}

impl FluidEdge {
    pub(crate) fn drawn(template: &Grid, seed: u64) -> Self {
        let cells: [usize; 3] =
            std::array::from_fn(|a| (template.spacing_mm * template.dims[a] as f64 / KNOT_MM).ceil() as usize);
        let per = (KNOT_MM / NODE_MM) as usize;
        let knots = cells.map(|n| n + 3);
        let mut draws = Draws::new(seed, Purpose::Sulci);
        let sd = FLUID_BELOW_SD / SPLINE_SD as f32;
        let coefficients = (0..knots.iter().product()).map(|_| FLUID_BELOW + sd * draws.normal() as f32).collect();
        let below = spline(coefficients, knots, per);
        Self { grid: Grid { dims: cells.map(|n| n * per + 1), spacing_mm: NODE_MM, origin: template.origin }, below }
    }

    /// Whether a template point with that share of tissue, 0 to 255, is fluid.
    pub(crate) fn fluid(&self, share: f32, at: &Point3<f64>) -> bool {
        share < *FLUID_BELOW_RANGE.start() || (share < *FLUID_BELOW_RANGE.end() && share < self.at(at))
    }

    fn at(&self, at: &Point3<f64>) -> f32 {
        self.grid.sample(&self.below, at, FLUID_BELOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::template;
    use crate::distance;

    /// Share of fluid, and the cortex's thickness (quartiles, mm), within 20 mm of the convexity.
    fn measured(t: &Template) -> (f64, [f64; 3]) {
        let dims = t.grid.dims;
        let inside = |i: usize| f32::from(t.t1[i]) >= OUTSIDE_T1;
        let fluid = |i: usize| f32::from(t.grey[i]) + f32::from(t.white[i]) < FLUID_BELOW;
        let white = |i: usize| inside(i) && !fluid(i) && t.white[i] > t.grey[i];
        let depth = distance::squared(dims, |i| !inside(i));
        let to_white = distance::squared(dims, white);
        let to_fluid = distance::squared(dims, |i| !inside(i) || fluid(i));
        // Above the temporal lobes' base, so that cerebellum and brain stem are left out.
        let shell = |i: &usize| inside(*i) && depth[*i] <= 400.0 && t.grid.centre(t.grid.voxel(*i)).z > -10.0;
        let all: Vec<usize> = (0..t.t1.len()).filter(shell).collect();
        let share = all.iter().filter(|i| fluid(**i)).count() as f64 / all.len() as f64;
        // Both distances run between centres of voxels: together one voxel more than the sheet is thick.
        let thick = |i: &usize| f64::from(to_white[*i].sqrt() + to_fluid[*i].sqrt() - 1.0);
        let mut cortex: Vec<f64> =
            all.iter().filter(|i| !fluid(**i) && !white(**i) && depth[**i] <= 225.0).map(thick).collect();
        cortex.sort_by(f64::total_cmp);
        (share, [1, 2, 3].map(|q| cortex[q * cortex.len() / 4]))
    }

    #[test]
    fn sulci_reach_between_the_gyri_and_the_cortex_is_as_thick_as_cortex() {
        let raw = template::template().expect("assets decode");
        let (before, thick_before) = measured(raw);
        let (after, thick) = measured(template::deepened().expect("assets decode"));
        assert!((0.05..0.11).contains(&before), "{before}: the average brain");
        assert!((0.14..0.24).contains(&after), "{after}");
        assert!(thick[1] < thick_before[1] - 1.0, "{thick:?} after {thick_before:?}");
        assert!(thick[0] >= 2.0 && thick[2] <= 4.5 && (2.0..=4.0).contains(&thick[1]), "{thick:?}");
    }

    #[test]
    fn the_outer_surface_stays() {
        let (raw, deep) = (template::template().expect("decodes"), template::deepened().expect("decodes"));
        let inside = |t: &Template, i: usize| f32::from(t.t1[i]) >= OUTSIDE_T1;
        assert!((0..raw.t1.len()).all(|i| inside(raw, i) == inside(deep, i)));
    }

    #[test]
    fn where_fluid_starts_differs_from_place_to_place_and_from_seed_to_seed() {
        let grid = Grid { dims: [197, 233, 189], spacing_mm: 1.0, origin: [-98.0, -98.0, -72.0] };
        let edges = [FluidEdge::drawn(&grid, 1), FluidEdge::drawn(&grid, 2)];
        let values: Vec<f32> =
            (0..40).map(|n| edges[n % 2].at(&Point3::new(f64::from(n as u8) * 2.0 - 40.0, 20.0, 30.0))).collect();
        let mean = values.iter().sum::<f32>() / 40.0;
        let spread = values.iter().map(|v| (v - mean).abs()).sum::<f32>() / 40.0;
        assert!((80.0..176.0).contains(&mean) && spread > 4.0, "{mean} {spread}");
    }
}
