//! Ground truth as learning needs it: on a grid of the scan's points, where their tissue is believed to be now.
//! **Never through a device.**
//!
//! **Units and frame:** mm, patient LPS. **Allocation:** what it returns, and a byte a truth voxel.

use super::{SharedWorld, World};
use crate::Patient;
use crate::distance;
use crate::shift::field::BackLines;
use crate::truth::{Label, SOLID};
use bregma_core::brain_shift::BrainShift;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Margins are given up to that, mm, both ways.
pub const MARGIN_MAX_MM: f32 = 10.0;

/// What is true at every point of a grid now, x fastest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lesson {
    /// What of the tumour has not been removed, `[D, H, W]`: 0 nothing, 1 necrosis, 2 infiltrated, 4 enhancing, as BraTS numbers
    /// them (B. H. Menze et al., IEEE TMI 34, 2015). Residual core is 1 and 4.
    pub residual: Vec<u8>,
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
    /// The truth on a grid of the scan's points, each where `believed` says that it is now, for learning.
    #[must_use]
    pub fn lesson(&self, grid: &Grid, believed: &BrainShift) -> Lesson {
        self.lock().lesson(grid, believed)
    }
}

/// A box of a grid's voxels; may reach outside it.
#[derive(Debug, Clone, Copy)]
struct Span {
    low: [isize; 3],
    high: [isize; 3],
}

impl World {
    fn lesson(&self, grid: &Grid, believed: &BrainShift) -> Lesson {
        let (n, truth) = (grid.len(), &self.patient.truth);
        let mut lesson = Lesson {
            residual: Vec::with_capacity(n),
            residual_core: Vec::with_capacity(n),
            cavity: Vec::with_capacity(n),
            tumour_margin: Vec::new(),
            displacement: vec![0.0; 3 * n],
        };
        let mut lines = BackLines::of(self.field());
        let mut back = vec![Vector3::zeros(); grid.dims[0]];
        for row in 0..grid.dims[1] * grid.dims[2] {
            let start = row * grid.dims[0];
            let first = grid.centre(grid.voxel(start));
            let point = |i: usize| Point3::new(first.x + grid.spacing_mm * i as f64, first.y, first.z);
            if believed.is_still() {
                lines.line(&first, grid.spacing_mm, &mut back);
            } else {
                for (i, off) in back.iter_mut().enumerate() {
                    let now = believed.now(&point(i));
                    *off = (self.field().rest(&now) - now).cast();
                }
            }
            for (i, off) in back.iter().enumerate() {
                for (a, off) in off.iter().enumerate() {
                    lesson.displacement[a * n + start + i] = -off;
                }
                let now = believed.now(&point(i));
                let there = truth.grid.containing(&(now + off.cast::<f64>())).map(|v| truth.grid.index(v));
                let (residual, open) = there.map_or((0, false), |i| {
                    let (label, solid) = (truth.labels[i], self.resection.state[i] == SOLID);
                    (if solid { label.brats() } else { 0 }, !solid && (label.tissue() || label == Label::Csf))
                });
                lesson.residual.push(residual);
                lesson.residual_core.push(u8::from(matches!(residual, 1 | 4)));
                lesson.cavity.push(u8::from(open));
            }
        }
        let room_mm = self.field().largest_mm() + believed.largest_mm();
        let core = self.patient.core_span(grid, room_mm);
        let beside = |at: [isize; 3]| self.residual_now(&believed.now(&place(grid, at)));
        lesson.tumour_margin = margin_on(grid, &lesson.residual_core, core, beside);
        lesson
    }
}

impl Patient {
    /// The truth on a grid of the scan's points before anything was opened or has moved, for learning.
    #[must_use]
    pub fn lesson(&self, grid: &Grid) -> Lesson {
        let label = |at: &Point3<f64>| {
            self.truth.grid.containing(at).map_or(Label::Outside, |v| self.truth.labels[self.truth.grid.index(v)])
        };
        let residual: Vec<u8> = (0..grid.len()).map(|i| label(&grid.centre(grid.voxel(i))).brats()).collect();
        let residual_core: Vec<u8> = residual.iter().map(|r| u8::from(matches!(r, 1 | 4))).collect();
        let beside = |at: [isize; 3]| label(&place(grid, at)).core();
        let tumour_margin = margin_on(grid, &residual_core, self.core_span(grid, 0.0), beside);
        let (cavity, displacement) = (vec![0; grid.len()], vec![0.0; 3 * grid.len()]);
        Lesson { residual, residual_core, cavity, tumour_margin, displacement }
    }

    /// The voxels of a grid that may hold core that has moved by no more than `room_mm`.
    fn core_span(&self, grid: &Grid, room_mm: f64) -> Option<Span> {
        let truth = &self.truth;
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
        let room = room_mm + truth.grid.spacing_mm;
        let near =
            |at: Point3<f64>, off: f64| grid.coordinates(&at).map(|c| (c + off / grid.spacing_mm).round() as isize);
        Some(Span { low: near(truth.grid.centre(low), -room), high: near(truth.grid.centre(high), room) })
    }
}

/// The margin on a grid whose residual core is known, and lies within `core`. Core just outside the grid counts: `beside` knows it.
fn margin_on(grid: &Grid, residual: &[u8], core: Option<Span>, beside: impl Fn([isize; 3]) -> bool) -> Vec<f32> {
    let mut margin = vec![MARGIN_MAX_MM; grid.len()];
    let reach = (f64::from(MARGIN_MAX_MM) / grid.spacing_mm).ceil() as isize + 1;
    // Only core that is within reach of the grid can count, and only voxels within reach of that.
    let Some(core) = core.and_then(|core| core.within(&Span::of(grid).grown(reach))) else {
        return margin;
    };
    // One voxel more on every side holds no core, so that all core has an outside.
    let inner = core.grown(1);
    let holds = |at: [isize; 3]| {
        let inside = (0..3).all(|a| (0..grid.dims[a] as isize).contains(&at[a]));
        let known = inside.then(|| residual[grid.index(at.map(|v| v as usize))] > 0);
        core.contains(&at) && known.unwrap_or_else(|| beside(at))
    };
    let there: Vec<bool> = (0..inner.count()).map(|i| holds(inner.voxel(i))).collect();
    if !there.contains(&true) {
        return margin;
    }
    let depth = distance::squared(inner.dims(), |i| !there[i]);
    let outer = core.grown(reach);
    let in_core = |at: &[isize; 3]| inner.contains(at) && there[inner.index(at)];
    let far = distance::squared(outer.dims(), |i| in_core(&outer.voxel(i)));
    for (index, margin) in margin.iter_mut().enumerate() {
        let at = grid.voxel(index).map(|v| v as isize);
        if !outer.contains(&at) {
            continue;
        }
        let outside = far[outer.index(&at)];
        // Centres of the two classes are whole voxels apart, the surface half-way.
        let voxels = if outside > 0.0 { outside.sqrt() - 0.5 } else { 0.5 - depth[inner.index(&at)].sqrt() };
        *margin = (voxels * grid.spacing_mm as f32).clamp(-MARGIN_MAX_MM, MARGIN_MAX_MM);
    }
    margin
}

/// Centre of a voxel that may lie outside its grid.
fn place(grid: &Grid, voxel: [isize; 3]) -> Point3<f64> {
    Point3::from(std::array::from_fn::<f64, 3, _>(|a| grid.origin[a] + grid.spacing_mm * voxel[a] as f64))
}

impl Span {
    fn of(grid: &Grid) -> Self {
        Self { low: [0; 3], high: grid.dims.map(|n| n as isize - 1) }
    }

    fn grown(&self, by: isize) -> Self {
        Self { low: self.low.map(|v| v - by), high: self.high.map(|v| v + by) }
    }

    /// What is in both; `None` where nothing is.
    fn within(&self, other: &Self) -> Option<Self> {
        let low: [isize; 3] = std::array::from_fn(|a| self.low[a].max(other.low[a]));
        let high: [isize; 3] = std::array::from_fn(|a| self.high[a].min(other.high[a]));
        (0..3).all(|a| low[a] <= high[a]).then_some(Self { low, high })
    }

    fn contains(&self, voxel: &[isize; 3]) -> bool {
        (0..3).all(|a| (self.low[a]..=self.high[a]).contains(&voxel[a]))
    }

    fn dims(&self) -> [usize; 3] {
        std::array::from_fn(|a| (self.high[a] - self.low[a] + 1) as usize)
    }

    fn count(&self) -> usize {
        self.dims().iter().product()
    }

    fn voxel(&self, index: usize) -> [isize; 3] {
        let [nx, ny, _] = self.dims();
        let at = [index % nx, (index / nx) % ny, index / (nx * ny)];
        std::array::from_fn(|a| self.low[a] + at[a] as isize)
    }

    fn index(&self, voxel: &[isize; 3]) -> usize {
        let ([nx, ny, _], at) = (self.dims(), std::array::from_fn::<_, 3, _>(|a| (voxel[a] - self.low[a]) as usize));
        at[0] + nx * (at[1] + ny * at[2])
    }
}
