//! Tumour growth: reaction–diffusion (Fisher–KPP), explicit finite differences on a 1 mm grid.
//!
//! ∂u/∂t = ∇·(D ∇u) + ρ u (1 − u), with D in grey matter a fifth of white matter's and none in CSF
//! (K. R. Swanson et al., Cell Prolif. 33, 2000). Grown until the core, u ≥ 0.8 as T1c shows it, has the
//! wanted volume. **Time:** the step is 0.15 mm² / D, below the scheme's limit of 1/6 mm² / D. **Not
//! modelled:** mass effect, and lobes that are not Fisher–KPP.

use crate::anatomy::head::tissue;
use crate::distance;
use bregma_core::grid::Grid;

/// Cell density that T1c shows: the core's edge.
pub(crate) const CORE_DENSITY: f32 = 0.8;
/// Cell density that FLAIR shows: the oedema's edge.
pub(crate) const VISIBLE_DENSITY: f32 = 0.16;
/// Below that, tissue counts as healthy.
pub(crate) const HEALTHY_DENSITY: f32 = 0.2;
/// D·dt/h², stable below 1/6.
const COURANT: f32 = 0.15;
/// Diffusion in grey matter as a share of white matter's.
const GREY_SHARE: f32 = 0.2;
/// Density that is worth computing.
const FLOOR: f32 = 1e-6;

/// What a tumour is grown with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Growth {
    /// √(D/ρ) in white matter, mm: the width of the front is about six times that.
    pub width_mm: f64,
    /// Proliferation, 1/day.
    pub rho_per_day: f64,
    /// Wanted volume of the core, mL.
    pub core_ml: f64,
}

pub(crate) struct Tumour {
    /// Cell density, 0 to 1.
    pub density: Vec<f32>,
    /// Days it took.
    pub days: f64,
}

/// Grows from one voxel; `None` when the wanted volume is not reached, because CSF walls it in.
pub(crate) fn grow(grid: &Grid, tissues: &[u8], origin: usize, growth: &Growth) -> Option<Tumour> {
    let [nx, ny, _] = grid.dims;
    let strides = [1, nx, nx * ny];
    let d: Vec<f32> = tissues
        .iter()
        .map(|t| match *t {
            tissue::WHITE => COURANT,
            tissue::GREY => COURANT * GREY_SHARE,
            _ => 0.0,
        })
        .collect();
    // Conductance of the face towards the next voxel along each axis: harmonic mean, none into CSF.
    let faces: [Vec<f32>; 3] = std::array::from_fn(|a| {
        let face = |i: usize| {
            let (x, y) = (d[i], d.get(i + strides[a]).copied().unwrap_or(0.0));
            if x > 0.0 && y > 0.0 { 2.0 * x * y / (x + y) } else { 0.0 }
        };
        (0..d.len()).map(face).collect()
    });
    // ρ·dt, with dt = COURANT·h²/D and D = ρ·width².
    let rate = COURANT / (growth.width_mm * growth.width_mm) as f32;
    let wanted = (growth.core_ml * 1e3) as usize;
    let mut u = vec![0.0_f32; d.len()];
    let mut next = u.clone();
    u[origin] = 1.0;
    let start = grid.voxel(origin);
    let (mut low, mut high) = (start, start);
    // A front moves 0.3/width mm a step; 4000 steps are ten times what 20 mL take.
    for step in 1..4000_u32 {
        for a in 0..3 {
            low[a] = low[a].saturating_sub(1).max(1);
            high[a] = (high[a] + 1).min(grid.dims[a] - 2);
        }
        let (mut reached_low, mut reached_high, mut core) = (high, low, 0);
        for k in low[2]..=high[2] {
            for j in low[1]..=high[1] {
                let row = nx * (j + ny * k);
                let mut alive = None;
                for i in low[0]..=high[0] {
                    let c = row + i;
                    let here = u[c];
                    let mut flow = faces[0][c] * (u[c + 1] - here) + faces[0][c - 1] * (u[c - 1] - here);
                    flow += faces[1][c] * (u[c + nx] - here) + faces[1][c - nx] * (u[c - nx] - here);
                    let s = strides[2];
                    flow += faces[2][c] * (u[c + s] - here) + faces[2][c - s] * (u[c - s] - here);
                    let now = (here + flow + rate * here * (1.0 - here)).min(1.0);
                    next[c] = now;
                    core += usize::from(now >= CORE_DENSITY);
                    if now > FLOOR {
                        alive = Some((alive.map_or(i, |(first, _)| first), i));
                    }
                }
                if let Some((first, last)) = alive {
                    reached_low = [reached_low[0].min(first), reached_low[1].min(j), reached_low[2].min(k)];
                    reached_high = [reached_high[0].max(last), reached_high[1].max(j), reached_high[2].max(k)];
                }
            }
        }
        std::mem::swap(&mut u, &mut next);
        (low, high) = (reached_low, reached_high);
        if core >= wanted {
            let step_days = f64::from(COURANT) / (growth.width_mm * growth.width_mm * growth.rho_per_day);
            return Some(Tumour { density: u, days: f64::from(step) * step_days });
        }
    }
    None
}

/// Which core voxels are necrotic: deeper than the enhancing rim.
pub(crate) fn necrosis(grid: &Grid, density: &[f32], rim_mm: f64) -> Vec<bool> {
    let depth = distance::squared(grid.dims, |i| density[i] < CORE_DENSITY);
    let rim = (rim_mm * rim_mm) as f32;
    depth.iter().map(|d| *d > rim && *d < distance::NOWHERE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let growth = Growth { width_mm: 1.5, rho_per_day: 0.02, core_ml: 1.0 };
        let tumour = grow(&grid, &tissues, origin, &growth).expect("has room");
        let core = tumour.density.iter().filter(|u| **u >= CORE_DENSITY).count();
        assert!((1000..1250).contains(&core), "{core} mm³");
        let reach =
            |side: isize| (1..20).take_while(|n| tumour.density[origin.wrapping_add_signed(side * n)] > 0.5).count();
        assert!(reach(-1) > reach(1) + 1, "{} {}", reach(-1), reach(1));
        assert!((0..grid.len()).all(|i| tissues[i] != tissue::CSF || tumour.density[i] <= 0.0));
    }

    #[test]
    fn a_walled_in_tumour_is_refused() {
        let grid = Grid { dims: [16; 3], spacing_mm: 1.0, origin: [0.0; 3] };
        let growth = Growth { width_mm: 1.0, rho_per_day: 0.02, core_ml: 5.0 };
        let mut tissues = vec![tissue::CSF; grid.len()];
        tissues[grid.index([8; 3])] = tissue::WHITE;
        assert!(grow(&grid, &tissues, grid.index([8; 3]), &growth).is_none());
    }
}
