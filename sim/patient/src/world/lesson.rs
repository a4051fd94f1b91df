//! Ground truth as learning needs it: on a grid of points where tissue is now. **Never through a device.**
//!
//! **Units and frame:** mm, patient LPS. **Allocation:** what it returns, and a byte a truth voxel.

use super::{SharedWorld, World};
use crate::distance;
use crate::truth::{Label, SOLID};
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Margins are given up to that, mm, both ways.
pub const MARGIN_MAX_MM: f32 = 10.0;

/// What is true at every point of a grid now, x fastest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lesson {
    /// 1 where there is core that has not been removed, `[D, H, W]`.
    pub residual_core: Vec<u8>,
    /// 1 where tissue or fluid was opened before the start or has been removed since, `[D, H, W]`.
    pub cavity: Vec<u8>,
    /// Signed distance to residual core, mm, positive outside, within ±10, `[D, H, W]`. The surface lies half
    /// a voxel from the centres on either side. 10 everywhere where no core is left.
    pub tumour_margin: Vec<f32>,
    /// How far what is at a point now has moved from where it was at rest, mm: x, y, z, `[3, D, H, W]`. It goes
    /// on smoothly into fluid, bone and air.
    pub displacement: Vec<f32>,
}

impl SharedWorld {
    /// The truth on a grid of points now, for learning.
    #[must_use]
    pub fn lesson(&self, grid: &Grid) -> Lesson {
        self.lock().lesson(grid)
    }
}

/// A box of a grid's voxels; may reach outside it.
#[derive(Debug, Clone, Copy)]
struct Span {
    low: [isize; 3],
    high: [isize; 3],
}

impl World {
    fn lesson(&self, grid: &Grid) -> Lesson {
        let (n, truth) = (grid.len(), &self.patient.truth);
        let mut lesson = Lesson {
            residual_core: Vec::with_capacity(n),
            cavity: Vec::with_capacity(n),
            tumour_margin: Vec::new(),
            displacement: vec![0.0; 3 * n],
        };
        for index in 0..n {
            let now = grid.centre(grid.voxel(index));
            let rest = self.field().rest(&now);
            for (a, moved) in (now - rest).iter().enumerate() {
                lesson.displacement[a * n + index] = *moved as f32;
            }
            let there = truth.grid.containing(&rest).map(|v| truth.grid.index(v));
            let (core, open) = there.map_or((false, false), |i| {
                let label = truth.labels[i];
                let solid = self.resection.state[i] == SOLID;
                (solid && label.core(), !solid && (label.tissue() || label == Label::Csf))
            });
            lesson.residual_core.push(u8::from(core));
            lesson.cavity.push(u8::from(open));
        }
        lesson.tumour_margin = self.margin_on(grid);
        lesson
    }

    /// The margin on a grid. Residual core just outside the grid counts.
    fn margin_on(&self, grid: &Grid) -> Vec<f32> {
        let mut margin = vec![MARGIN_MAX_MM; grid.len()];
        let reach = (f64::from(MARGIN_MAX_MM) / grid.spacing_mm).ceil() as isize + 1;
        let Some(core) = self.core_span(grid) else { return margin };
        // Only core that is within reach of the grid can count, and only voxels within reach of that.
        let Some(core) = core.within(&grown(grid, reach)) else { return margin };
        let span = Span { low: core.low.map(|v| v - reach), high: core.high.map(|v| v + reach) };
        let dims: [usize; 3] = std::array::from_fn(|a| (span.high[a] - span.low[a] + 1) as usize);
        let origin = std::array::from_fn(|a| grid.origin[a] + grid.spacing_mm * span.low[a] as f64);
        let near = Grid { dims, spacing_mm: grid.spacing_mm, origin };
        let inner: [std::ops::RangeInclusive<usize>; 3] =
            std::array::from_fn(|a| reach as usize..=(dims[a] - 1 - reach as usize));
        let there: Vec<bool> = (0..near.len())
            .map(|i| {
                let v = near.voxel(i);
                (0..3).all(|a| inner[a].contains(&v[a])) && self.residual_now(&near.centre(v))
            })
            .collect();
        if !there.contains(&true) {
            return margin;
        }
        let field = distance::signed(dims, |i| there[i]);
        for (index, margin) in margin.iter_mut().enumerate() {
            let v = grid.voxel(index);
            let at: [isize; 3] = std::array::from_fn(|a| v[a] as isize - span.low[a]);
            if (0..3).all(|a| (0..dims[a] as isize).contains(&at[a])) {
                let mm = field[near.index(at.map(|v| v as usize))] * grid.spacing_mm as f32;
                *margin = mm.clamp(-MARGIN_MAX_MM, MARGIN_MAX_MM);
            }
        }
        margin
    }

    /// The voxels of a grid that may hold core now.
    fn core_span(&self, grid: &Grid) -> Option<Span> {
        let truth = &self.patient.truth;
        let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
        for index in (0..truth.grid.len()).filter(|i| truth.labels[*i].core()) {
            for (a, v) in truth.grid.voxel(index).into_iter().enumerate() {
                low[a] = low[a].min(v);
                high[a] = high[a].max(v);
            }
        }
        if low[0] == usize::MAX {
            return None;
        }
        let room = self.field().largest_mm() + truth.grid.spacing_mm;
        let place =
            |at: Point3<f64>, off: f64| grid.coordinates(&at).map(|c| (c + off / grid.spacing_mm).round() as isize);
        Some(Span { low: place(truth.grid.centre(low), -room), high: place(truth.grid.centre(high), room) })
    }
}

/// A grid's own voxels and `reach` more on every side.
fn grown(grid: &Grid, reach: isize) -> Span {
    Span { low: [-reach; 3], high: grid.dims.map(|n| n as isize - 1 + reach) }
}

impl Span {
    /// What is in both; `None` where nothing is.
    fn within(&self, other: &Self) -> Option<Self> {
        let low: [isize; 3] = std::array::from_fn(|a| self.low[a].max(other.low[a]));
        let high: [isize; 3] = std::array::from_fn(|a| self.high[a].min(other.high[a]));
        (0..3).all(|a| low[a] <= high[a]).then_some(Self { low, high })
    }
}
