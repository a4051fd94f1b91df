//! What the energised tip removes, seen as a surgeon would: was the wall seen that it begins at, and does it dig under
//! tissue that stays?
//!
//! **Removed** is every tissue voxel of the scene whose centre comes within `removal_mm` of an energised tip. **Seen:**
//! wherever that takes wall away, some wall within reach of the tip, or beside it, must have been in the microscope's line of
//! sight lately; the value is the longest time since. What lies behind the wall shows itself only once the wall is gone, and
//! is not asked for. **Under a roof** is a removed voxel if the straight line from it to the corridor's entry passes through
//! tissue that stays; it reaches as far under that as it is from the nearest open voxel whose line is clear. A roof is held
//! by whatever stands at its sides, too: over a narrow tunnel it spans the tunnel's width only. The value is the longest
//! unsupported length, of each voxel the reach or the shortest span across, whichever is less.
//!
//! **Units:** mm, s. **Allocation:** work space, once. **Not protected against:** tissue outside the fine region, where nothing
//! is cut by any planner here; a wall that moved since it was seen by more than a voxel.

use crate::limits::LimitValues;
use crate::obstacles::Obstacles;
use crate::sweep::Worst;
use bregma_core::flow::voxel;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Age at full scale: longer ago, or never.
const NEVER: u8 = u8::MAX;
/// Reaches under a roof are told up to there, mm.
const ROOF_FAR_MM: f64 = 10.0;
/// Tips nearer to the one before are not looked at, mm: they remove the same voxels but for slivers.
const TIPS_MM: f64 = 0.2;

/// What is asked of the wall in a scene.
#[derive(Debug, Default)]
pub(crate) struct Wall {
    state: Vec<u8>,
    seen_age_s: Vec<u8>,
}

impl Wall {
    pub(crate) fn take(&mut self, state: &[u8], seen_age_s: &[u8]) {
        self.state.clear();
        self.state.extend_from_slice(state);
        self.seen_age_s.clear();
        self.seen_age_s.extend_from_slice(seen_age_s);
    }

    fn is(&self, index: usize) -> bool {
        self.state[index] & voxel::WALL != 0
    }

    /// Seconds since the wall at a voxel or beside it was seen.
    fn age(&self, grid: &Grid, v: [usize; 3]) -> u8 {
        let near = |a: usize| v[a].saturating_sub(1)..(v[a] + 2).min(grid.dims[a]);
        let mut least = NEVER;
        for k in near(2) {
            for j in near(1) {
                for i in near(0) {
                    let index = grid.index([i, j, k]);
                    if self.is(index) {
                        let now = self.state[index] & voxel::VISIBLE != 0;
                        least = least.min(if now { 0 } else { self.seen_age_s[index] });
                    }
                }
            }
        }
        least
    }
}

/// Work space.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// 1 where this motion removes tissue.
    gone: Vec<u8>,
    /// Of each voxel: 0 unknown, 1 its line to the entry is clear, 2 it is not.
    line: Vec<u8>,
    removed: Vec<(usize, usize)>,
    offsets: Vec<([i32; 3], f64)>,
}

impl Cut {
    /// Longest time since a wall that is cut was seen, s, and longest unsupported length of a roof, mm.
    pub(crate) fn measure(
        &mut self,
        obstacles: &Obstacles,
        tips: &[Point3<f64>],
        energy: &[u8],
        limits: &LimitValues,
    ) -> (Worst, Worst) {
        let (mut seen, mut roof) = (Worst::new(0.0), Worst::new(0.0));
        if energy.iter().all(|bits| bits & 1 == 0) {
            return (seen, roof);
        }
        let grid = *obstacles.tissue.solid().grid();
        self.gone.clear();
        self.gone.resize(grid.len(), 0);
        self.removed.clear();
        let mut last: Option<Point3<f64>> = None;
        for (knot, tip) in tips.iter().enumerate() {
            let on = energy[knot] & 1 != 0 || (knot > 0 && energy[knot - 1] & 1 != 0);
            if !on || last.is_some_and(|l| nalgebra::distance(&l, tip) < TIPS_MM) {
                continue;
            }
            last = Some(*tip);
            if let Some(age) = self.remove(obstacles, &grid, tip, knot, limits.removal_mm) {
                seen.most(f64::from(age), knot, *tip);
            }
        }
        self.line.clear();
        self.line.resize(grid.len(), 0);
        if self.offsets.is_empty() {
            self.offsets = offsets(ROOF_FAR_MM, grid.spacing_mm);
        }
        let across = across(&(obstacles.corridor.target - obstacles.corridor.entry));
        for n in 0..self.removed.len() {
            let (index, knot) = self.removed[n];
            if !self.clear(obstacles, &grid, index) {
                // The reach is a search: only asked for where it can be the shorter one.
                let span_mm = self.span_mm(obstacles, &grid, index, &across);
                let length_mm =
                    if span_mm <= roof.value { span_mm } else { span_mm.min(self.reach_mm(obstacles, &grid, index)) };
                roof.most(length_mm, knot, grid.centre(grid.voxel(index)));
            }
        }
        (seen, roof)
    }

    /// Takes away what is in reach of a tip; the age of the wall there, if some of it was wall.
    fn remove(
        &mut self,
        obstacles: &Obstacles,
        grid: &Grid,
        tip: &Point3<f64>,
        knot: usize,
        reach_mm: f64,
    ) -> Option<u8> {
        let [xs, ys, zs] = grid.around(tip, reach_mm);
        let mut age = None;
        for k in zs {
            for j in ys.clone() {
                for i in xs.clone() {
                    let index = grid.index([i, j, k]);
                    let there = obstacles.tissue.solid().filled()[index] && self.gone[index] == 0;
                    if !there || nalgebra::distance(&grid.centre([i, j, k]), tip) > reach_mm {
                        continue;
                    }
                    self.gone[index] = 1;
                    self.removed.push((index, knot));
                    if obstacles.wall.is(index) {
                        let here = obstacles.wall.age(grid, [i, j, k]);
                        age = Some(age.map_or(here, |a: u8| a.min(here)));
                    }
                }
            }
        }
        age
    }

    fn stands(&self, obstacles: &Obstacles, index: usize) -> bool {
        obstacles.tissue.solid().filled()[index] && self.gone[index] == 0
    }

    /// Whether the line from a voxel to the corridor's entry is clear of tissue that stays.
    fn clear(&mut self, obstacles: &Obstacles, grid: &Grid, index: usize) -> bool {
        if self.line[index] == 0 {
            let from = grid.centre(grid.voxel(index));
            let way = obstacles.corridor.entry - from;
            let steps = (way.norm() / (0.5 * grid.spacing_mm)).ceil().max(1.0) as usize;
            let mut clear = true;
            for n in 1..=steps {
                let Some(v) = grid.containing(&(from + way * (n as f64 / steps as f64))) else { break };
                if self.stands(obstacles, grid.index(v)) {
                    clear = false;
                    break;
                }
            }
            self.line[index] = if clear { 1 } else { 2 };
        }
        self.line[index] == 1
    }

    /// Shortest open way across a voxel, from tissue that stays to tissue that stays, mm.
    fn span_mm(&self, obstacles: &Obstacles, grid: &Grid, index: usize, across: &[Vector3<f64>; 4]) -> f64 {
        let at = grid.centre(grid.voxel(index));
        let step = 0.5 * grid.spacing_mm;
        let open = |way: Vector3<f64>| {
            let most = (ROOF_FAR_MM / step) as usize;
            let stands = |n: &usize| {
                grid.containing(&(at + way * (*n as f64 * step))).is_some_and(|v| self.stands(obstacles, grid.index(v)))
            };
            (1..=most).find(stands).unwrap_or(most) as f64 * step
        };
        across.iter().map(|way| open(*way) + open(-way)).fold(f64::INFINITY, f64::min)
    }

    /// From a voxel to the nearest open one whose line is clear.
    fn reach_mm(&mut self, obstacles: &Obstacles, grid: &Grid, index: usize) -> f64 {
        let v = grid.voxel(index);
        for n in 0..self.offsets.len() {
            let (by, far) = self.offsets[n];
            let there: [Option<usize>; 3] =
                std::array::from_fn(|a| v[a].checked_add_signed(by[a] as isize).filter(|c| *c < grid.dims[a]));
            let [Some(i), Some(j), Some(k)] = there else { continue };
            let other = grid.index([i, j, k]);
            if !self.stands(obstacles, other) && self.clear(obstacles, grid, other) {
                return far;
            }
        }
        ROOF_FAR_MM
    }
}

/// Four directions across an axis, 45° apart; any four where the axis has no length.
fn across(axis: &Vector3<f64>) -> [Vector3<f64>; 4] {
    let axis = axis.try_normalize(1e-9).unwrap_or_else(Vector3::z);
    let other = if axis.x.abs() < 0.6 { Vector3::x() } else { Vector3::y() };
    let first = axis.cross(&other).normalize();
    let second = axis.cross(&first);
    [first, (first + second).normalize(), second, (second - first).normalize()]
}

/// Every step to a voxel no farther than that, nearest first.
fn offsets(far_mm: f64, spacing_mm: f64) -> Vec<([i32; 3], f64)> {
    let edge = (far_mm / spacing_mm) as i32;
    let mut all = Vec::new();
    for k in -edge..=edge {
        for j in -edge..=edge {
            for i in -edge..=edge {
                let far = f64::from(i * i + j * j + k * k).sqrt() * spacing_mm;
                if far <= far_mm {
                    all.push(([i, j, k], far));
                }
            }
        }
    }
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all
}
