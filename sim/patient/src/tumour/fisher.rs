//! Reaction and diffusion (Fisher–KPP): explicit finite differences on the truth grid.
//!
//! ∂u/∂t = ∇·(D ∇u) + ρ u (1 − u), with D in grey matter a fifth of white matter's and none in CSF
//! (K. R. Swanson et al., Cell Prolif. 33, 2000). D and ρ vary smoothly from place to place, so that cores
//! are no balls; a satellite starts late beside the first focus. Grown until the core, u ≥ 0.8, has the
//! wanted volume; the last step is taken in part, so that it has it to a voxel's share. **Time:** the step
//! is 0.15 mm² / D, below the scheme's limit of 1/6 mm² / D. **Allocation:** eight fields of the grid.

use super::{CORE_DENSITY, Tumour, ball_radius_mm, noise};
use crate::anatomy::head::tissue;
use crate::random::{Draws, mix};
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// D·dt/h², stable below 1/6.
const COURANT: f32 = 0.15;
/// Diffusion in grey matter as a share of white matter's.
const GREY_SHARE: f32 = 0.2;
/// Density that is worth computing.
const FLOOR: f32 = 1e-6;
/// Radius of a satellite when it starts: over that of the ball of the core's volume, and over the front's
/// width, which it loses while its own front forms.
const FOCUS: [f64; 2] = [0.3, 1.4];
/// Most steps: a front moves 0.3/width mm a step, so that 110 mL take about 500.
const STEPS_MAX: u32 = 6000;
/// Correlation lengths of proliferation and of diffusion, mm.
const PATCH_MM: [f64; 2] = [9.0, 6.0];
/// Widths √(D/ρ) that a 1 mm grid resolves and that a head holds, mm. The 80 to 16 % band is about six
/// times as wide: 6 to 17 mm, as in the real patients 1 to 3 by their labels' volumes (6, 12, 16 mm).
pub(super) const WIDTH_MM: [f64; 2] = [1.0, 2.8];

/// What such a tumour is grown with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fisher {
    /// √(D/ρ) in white matter, mm.
    pub width_mm: f64,
    /// Proliferation, 1/day.
    pub rho_per_day: f64,
    /// 0 for the same growth everywhere; at 1, ρ varies by a factor e^0.6 (one standard deviation).
    pub irregularity: f64,
    /// Satellites: the share of the core's volume at which each starts, and how far beyond the ball of the
    /// core's volume, mm.
    pub satellites: Vec<(f64, f64)>,
}

impl Fisher {
    /// D 0.02 to 1 mm²/day and ρ 0.003 to 0.09 /day, log-uniform, where the width suits the grid. The
    /// ranges are an expert's estimate but for ρ = 0.012, the typical high grade's.
    pub(super) fn drawn(draws: &mut Draws, multifocal_share: f64) -> Self {
        let (mut rho_per_day, mut width_mm) = (0.0, 0.0);
        // About one pair in three is taken.
        for _ in 0..64 {
            let d = draws.log_uniform(0.02, 1.0);
            rho_per_day = draws.log_uniform(0.003, 0.09);
            width_mm = libm::sqrt(d / rho_per_day);
            if (WIDTH_MM[0]..=WIDTH_MM[1]).contains(&width_mm) {
                break;
            }
        }
        let irregularity = draws.uniform(0.2, 1.0);
        let multifocal = draws.uniform(0.0, 1.0) < multifocal_share;
        let satellites = if multifocal { 1 + draws.below(2) } else { 0 };
        Self {
            width_mm: width_mm.clamp(WIDTH_MM[0], WIDTH_MM[1]),
            rho_per_day,
            irregularity,
            satellites: (0..satellites).map(|_| (draws.uniform(0.03, 0.25), draws.uniform(5.0, 11.0))).collect(),
        }
    }
}

/// Grows from one voxel; `None` when the wanted volume is not reached, because CSF walls it in.
pub(super) fn grow(
    grid: &Grid,
    tissues: &[u8],
    origin: usize,
    core_ml: f64,
    fisher: &Fisher,
    seed: u64,
) -> Option<Tumour> {
    let mut medium = Medium::new(grid, tissues, fisher, seed);
    let mut waiting = foci(grid, tissues, origin, core_ml, fisher, seed);
    let wanted = (core_ml * 1e3) as usize;
    let focus_mm = FOCUS[0] * ball_radius_mm(core_ml) + FOCUS[1] * fisher.width_mm;
    let mut u = vec![0.0_f32; grid.len()];
    let mut next = u.clone();
    u[origin] = 1.0;
    medium.reach(grid.voxel(origin));
    for step in 1..STEPS_MAX {
        let core = medium.step(&u, &mut next);
        std::mem::swap(&mut u, &mut next);
        if core >= wanted {
            let share = medium.last_step(&next, &mut u, wanted);
            let step_days = f64::from(COURANT) / (fisher.width_mm * fisher.width_mm * fisher.rho_per_day);
            return Some(Tumour { density: u, days: (f64::from(step - 1) + share) * step_days });
        }
        waiting.retain(|(start, voxel)| {
            let due = core >= *start;
            if due {
                medium.seed(grid, *voxel, focus_mm, &mut u);
            }
            !due
        });
    }
    None
}

/// Where satellites start, and at which number of core voxels: white matter off the first focus.
fn foci(grid: &Grid, tissues: &[u8], origin: usize, core_ml: f64, fisher: &Fisher, seed: u64) -> Vec<(usize, usize)> {
    let centre: Point3<f64> = grid.centre(grid.voxel(origin));
    let radius = ball_radius_mm(core_ml);
    let mut found = Vec::new();
    for (n, (start, beyond)) in fisher.satellites.iter().enumerate() {
        let mut draws = Draws::new(mix(seed, n as u64), crate::random::Purpose::TumourShape);
        let place = (0..40).find_map(|_| {
            let voxel = grid.containing(&(centre + draws.direction() * (radius + beyond)))?;
            let inside = (0..3).all(|a| (2..grid.dims[a] - 2).contains(&voxel[a]));
            (inside && tissues[grid.index(voxel)] == tissue::WHITE).then(|| grid.index(voxel))
        });
        found.extend(place.map(|voxel| ((start * core_ml * 1e3) as usize, voxel)));
    }
    found
}

/// Tissue as the scheme sees it, and the box in which there are cells.
struct Medium {
    dims: [usize; 3],
    /// Conductance of the face towards the next voxel along each axis: harmonic mean, none into CSF.
    faces: [Vec<f32>; 3],
    /// ρ·dt, with dt = COURANT·h²/D and D = ρ·width².
    rate: Vec<f32>,
    low: [usize; 3],
    high: [usize; 3],
}

impl Medium {
    fn new(grid: &Grid, tissues: &[u8], fisher: &Fisher, seed: u64) -> Self {
        let [nx, ny, _] = grid.dims;
        let strides = [1, nx, nx * ny];
        let patches = noise::field(grid, PATCH_MM[0], mix(seed, 100));
        let paths = noise::field(grid, PATCH_MM[1], mix(seed, 101));
        let (spread, narrow) = (0.6 * fisher.irregularity as f32, 0.35 * fisher.irregularity as f32);
        let share = |t: u8| match t {
            tissue::WHITE => 1.0,
            tissue::GREY => GREY_SHARE,
            _ => 0.0,
        };
        let d: Vec<f32> = tissues
            .iter()
            .zip(&paths)
            .map(|(t, p)| COURANT * share(*t) * (1.0 - narrow * (0.5 + 0.5 * p)).clamp(0.2, 1.0))
            .collect();
        let faces = std::array::from_fn(|a| {
            let face = |i: usize| {
                let (x, y) = (d[i], d.get(i + strides[a]).copied().unwrap_or(0.0));
                if x > 0.0 && y > 0.0 { 2.0 * x * y / (x + y) } else { 0.0 }
            };
            (0..d.len()).map(face).collect()
        });
        let rate = COURANT / (fisher.width_mm * fisher.width_mm) as f32;
        let rate = patches.iter().map(|p| rate * libm::expf(spread * p.clamp(-2.5, 2.0))).collect();
        Self { dims: grid.dims, faces, rate, low: [usize::MAX; 3], high: [0; 3] }
    }

    /// Starts a focus: tissue within a radius is full of cells, since a lone voxel's would drift apart.
    fn seed(&mut self, grid: &Grid, voxel: usize, radius_mm: f64, u: &mut [f32]) {
        let centre = grid.centre(grid.voxel(voxel));
        let [xs, ys, zs] = grid.around(&centre, radius_mm);
        for (k, j) in zs.flat_map(|k| ys.clone().map(move |j| (k, j))) {
            for i in xs.clone() {
                let index = grid.index([i, j, k]);
                let near = nalgebra::distance(&grid.centre([i, j, k]), &centre) <= radius_mm;
                // No face leads into CSF.
                let tissue = self.faces.iter().any(|f| f[index] > 0.0);
                let inner = (0..3).all(|a| (1..grid.dims[a] - 1).contains(&[i, j, k][a]));
                if near && tissue && inner {
                    u[index] = 1.0;
                    self.reach([i, j, k]);
                }
            }
        }
    }

    /// Takes a voxel into the box.
    fn reach(&mut self, voxel: [usize; 3]) {
        for (a, v) in voxel.into_iter().enumerate() {
            self.low[a] = self.low[a].min(v);
            self.high[a] = self.high[a].max(v);
        }
    }

    /// One step; the number of core voxels after it. The box grows by a voxel and shrinks to what lives.
    fn step(&mut self, u: &[f32], next: &mut [f32]) -> usize {
        let [nx, ny, _] = self.dims;
        for a in 0..3 {
            self.low[a] = self.low[a].saturating_sub(1).max(1);
            self.high[a] = (self.high[a] + 1).min(self.dims[a] - 2);
        }
        let (low, high) = (self.low, self.high);
        (self.low, self.high) = ([usize::MAX; 3], [0; 3]);
        let mut core = 0;
        for k in low[2]..=high[2] {
            for j in low[1]..=high[1] {
                let start = nx * (j + ny * k) + low[0];
                let row = &mut next[start..=start + high[0] - low[0]];
                self.row(u, start, row);
                core += row.iter().filter(|v| **v >= CORE_DENSITY).count();
                if let Some(first) = row.iter().position(|v| *v > FLOOR) {
                    let last = row.iter().rposition(|v| *v > FLOOR).unwrap_or(first);
                    self.reach([low[0] + first, j, k]);
                    self.reach([low[0] + last, j, k]);
                }
            }
        }
        core
    }

    fn row(&self, u: &[f32], start: usize, row: &mut [f32]) {
        let n = row.len();
        let (sy, sz) = (self.dims[0], self.dims[0] * self.dims[1]);
        let at = |from: usize| &u[from..from + n];
        let face = |a: usize, from: usize| &self.faces[a][from..from + n];
        let (here, rate) = (at(start), &self.rate[start..start + n]);
        let (left, right) = (at(start - 1), at(start + 1));
        let (front, back) = (at(start - sy), at(start + sy));
        let (below, above) = (at(start - sz), at(start + sz));
        let (to_left, to_right) = (face(0, start - 1), face(0, start));
        let (to_front, to_back) = (face(1, start - sy), face(1, start));
        let (to_below, to_above) = (face(2, start - sz), face(2, start));
        for i in 0..n {
            let v = here[i];
            let mut flow = to_right[i] * (right[i] - v) + to_left[i] * (left[i] - v);
            flow += to_back[i] * (back[i] - v) + to_front[i] * (front[i] - v);
            flow += to_above[i] * (above[i] - v) + to_below[i] * (below[i] - v);
            row[i] = (v + flow + rate[i] * v * (1.0 - v)).min(1.0);
        }
    }

    /// Goes back from `u` towards the step before until the core has `wanted` voxels; the share of the
    /// step that is left.
    fn last_step(&self, before: &[f32], u: &mut [f32], wanted: usize) -> f64 {
        let [nx, ny, _] = self.dims;
        let rows: Vec<std::ops::Range<usize>> = (self.low[2]..=self.high[2])
            .flat_map(|k| (self.low[1]..=self.high[1]).map(move |j| nx * (j + ny * k)))
            .map(|row| row + self.low[0]..row + self.high[0] + 1)
            .collect();
        let part = |b: f32, u: f32, share: f32| b + (u - b) * share;
        let core = |share: f32, u: &[f32]| -> usize {
            let count = |r: &std::ops::Range<usize>| {
                before[r.clone()]
                    .iter()
                    .zip(&u[r.clone()])
                    .filter(|(b, u)| part(**b, **u, share) >= CORE_DENSITY)
                    .count()
            };
            rows.iter().map(count).sum()
        };
        let (mut low, mut high) = (0.0_f32, 1.0_f32);
        for _ in 0..10 {
            let middle = 0.5 * (low + high);
            if core(middle, u) >= wanted { high = middle } else { low = middle }
        }
        for r in &rows {
            for (b, u) in before[r.clone()].iter().zip(&mut u[r.clone()]) {
                *u = part(*b, *u, high);
            }
        }
        f64::from(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(width_mm: f64) -> Fisher {
        Fisher { width_mm, rho_per_day: 0.02, irregularity: 0.0, satellites: Vec::new() }
    }

    fn core(tumour: &Tumour) -> usize {
        tumour.density.iter().filter(|u| **u >= CORE_DENSITY).count()
    }

    #[test]
    fn reaches_its_volume_and_grows_along_white_matter() {
        let grid = Grid { dims: [48; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        // White matter on one side of the origin, grey on the other, and a wall of CSF beyond x = 40.
        let tissues: Vec<u8> = (0..grid.len())
            .map(|i| match grid.voxel(i)[0] {
                0..24 => tissue::WHITE,
                24..40 => tissue::GREY,
                _ => tissue::CSF,
            })
            .collect();
        let origin = grid.index([23, 24, 24]);
        let tumour = grow(&grid, &tissues, origin, 1.0, &even(1.5), 1).expect("has room");
        assert!((1000..1020).contains(&core(&tumour)), "{} mm³", core(&tumour));
        let reach =
            |side: isize| (1..20).take_while(|n| tumour.density[origin.wrapping_add_signed(side * n)] > 0.5).count();
        assert!(reach(-1) > reach(1) + 1, "{} {}", reach(-1), reach(1));
        assert!((0..grid.len()).all(|i| tissues[i] != tissue::CSF || tumour.density[i] <= 0.0));
    }

    #[test]
    fn a_walled_in_tumour_is_refused() {
        let grid = Grid { dims: [16; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let mut tissues = vec![tissue::CSF; grid.len()];
        tissues[grid.index([8; 3])] = tissue::WHITE;
        assert!(grow(&grid, &tissues, grid.index([8; 3]), 5.0, &even(1.0), 1).is_none());
    }

    /// Share of the core that lies outside the ball of its volume around its centroid.
    fn off_ball(grid: &Grid, tumour: &Tumour) -> f64 {
        let core: Vec<Point3<f64>> = (0..grid.len())
            .filter(|i| tumour.density[*i] >= CORE_DENSITY)
            .map(|i| grid.centre(grid.voxel(i)))
            .collect();
        let n = core.len() as f64;
        let middle = Point3::from(core.iter().fold(nalgebra::Vector3::zeros(), |s, p| s + p.coords) / n);
        let radius = ball_radius_mm(n * 1e-3);
        core.iter().filter(|p| nalgebra::distance(p, &middle) > radius).count() as f64 / n
    }

    #[test]
    fn irregular_cores_are_no_balls_and_satellites_stand_apart() {
        let grid = Grid { dims: [64; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let tissues = vec![tissue::WHITE; grid.len()];
        let origin = grid.index([32; 3]);
        let grown = |fisher: &Fisher| grow(&grid, &tissues, origin, 4.0, fisher, 3).expect("has room");
        let ball = off_ball(&grid, &grown(&even(1.2)));
        let irregular = off_ball(&grid, &grown(&Fisher { irregularity: 1.0, ..even(1.2) }));
        assert!(ball < 0.03 && irregular > 0.06, "{ball} {irregular}");
        let two = grown(&Fisher { satellites: vec![(0.1, 8.0)], ..even(1.2) });
        let far = |i: usize| nalgebra::distance(&grid.centre(grid.voxel(i)), &grid.centre([32; 3]));
        let apart = (0..grid.len()).filter(|i| two.density[*i] >= CORE_DENSITY && far(*i) > 15.0).count();
        assert!(apart > 100, "{apart} voxels of a satellite");
    }
}
