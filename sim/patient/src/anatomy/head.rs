//! The head of one patient: the template, warped, with its tissues.
//!
//! **Frames:** patient LPS, mm. **Grids:** `grid` at 1 mm over the whole head, `coarse` at 2 mm (its
//! voxels are 2 × 2 × 2 of the fine one's). Skull and scalp are *modelled* as shells around the brain
//! mask, since the template has none: bone from 1.5 to 9 mm outside it, scalp to 14 mm. Dura lines the
//! bone; falx and tentorium are sheets of their own ([`crate::anatomy::sheets`]), and no brain tissue.

use crate::anatomy::sheets;
use crate::anatomy::sulci::{FluidEdge, OUTSIDE_T1};
use crate::anatomy::template::Template;
use crate::anatomy::warp::{Variety, Warp};
use crate::distance;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Inner face of the bone, mm outside the brain.
pub(crate) const SKULL_INNER_MM: f64 = 1.5;
/// Outer face of the bone.
pub(crate) const SKULL_OUTER_MM: f64 = 9.0;
/// Outer face of the scalp.
pub(crate) const SCALP_OUTER_MM: f64 = 14.0;
/// Room around the brain in the head's grid.
const ROOM_MM: f64 = 18.0;
/// Voxels of a row from one that is warped to the next.
const STRIDE: usize = 4;
/// Ventricles lie at least that deep.
const VENTRICLE_DEPTH_MM: f64 = 15.0;

/// Values of [`Head::tissue`].
pub(crate) mod tissue {
    pub(crate) const OUTSIDE: u8 = 0;
    pub(crate) const CSF: u8 = 1;
    pub(crate) const GREY: u8 = 2;
    pub(crate) const WHITE: u8 = 3;
    pub(crate) const VENTRICLE: u8 = 4;
}

pub(crate) struct Head {
    pub grid: Grid,
    /// T1 intensity, 0 outside the brain.
    pub t1: Vec<u8>,
    /// Of [`tissue`].
    pub tissue: Vec<u8>,
    /// Of [`sheets`]: falx and tentorium.
    pub sheets: Vec<u8>,
    pub coarse: Grid,
    /// Depth below the brain's outer surface on the coarse grid, mm; negative outside.
    pub depth: Vec<f32>,
    pub warp: Warp,
}

impl Head {
    /// The head of a seed, from any anatomy that lies in the template's frame.
    pub(crate) fn grow(template: &Template, seed: u64, variety: Variety) -> Self {
        let warp = Warp::drawn(template, seed, variety);
        let grid = bounds(template, &warp);
        let mut head = Self {
            t1: vec![0; grid.len()],
            tissue: vec![tissue::OUTSIDE; grid.len()],
            sheets: vec![sheets::NONE; grid.len()],
            coarse: coarse_of(&grid),
            depth: Vec::new(),
            grid,
            warp,
        };
        head.resample(template, &FluidEdge::drawn(&template.grid, seed));
        let mask: Vec<bool> = (0..head.coarse.len())
            .map(|i| {
                let v = head.coarse.voxel(i).map(|n| n * 2);
                head.tissue[head.grid.index(v)] != tissue::OUTSIDE
            })
            .collect();
        head.depth = distance::signed(head.coarse.dims, |i| mask[i]).into_iter().map(|d| -2.0 * d).collect();
        head.name_ventricles();
        head
    }

    /// Depth below the brain's outer surface, mm; negative outside.
    pub(crate) fn depth_mm(&self, at: &Point3<f64>) -> f64 {
        f64::from(self.coarse.sample(&self.depth, at, -30.0))
    }

    /// Unit vector out of the brain.
    pub(crate) fn outward(&self, at: &Point3<f64>) -> Vector3<f64> {
        let slope = |a: usize| {
            let mut e = Vector3::zeros();
            e[a] = 3.0;
            self.depth_mm(&(at - e)) - self.depth_mm(&(at + e))
        };
        Vector3::new(slope(0), slope(1), slope(2)).try_normalize(1e-9).unwrap_or_else(Vector3::z)
    }

    /// Tissue at a point.
    pub(crate) fn tissue_at(&self, at: &Point3<f64>) -> u8 {
        self.grid.containing(at).map_or(tissue::OUTSIDE, |v| self.tissue[self.grid.index(v)])
    }

    /// Whether a voxel of the head's grid is falx or tentorium: it holds its place while brain moves.
    pub(crate) fn stiff_sheet(&self, index: usize) -> bool {
        self.sheets[index] != sheets::NONE
    }

    fn resample(&mut self, template: &Template, edge: &FluidEdge) {
        let nx = self.grid.dims[0];
        let mut along = vec![Point3::origin(); nx];
        for row in 0..self.grid.len() / nx.max(1) {
            self.trace(row * nx, &mut along);
            for (i, at) in along.iter().enumerate() {
                let Some(corner) = Corner::new(at, &template.grid) else { continue };
                let t1 = corner.value(&template.t1);
                if t1 < OUTSIDE_T1 {
                    continue;
                }
                let index = row * nx + i;
                let (grey, white) = (corner.value(&template.grey), corner.value(&template.white));
                self.t1[index] = t1.round() as u8;
                self.sheets[index] = sheets::sheet(&Vector3::new(-at.x, -at.y, at.z));
                self.tissue[index] = if self.stiff_sheet(index) || edge.fluid(grey + white, at) {
                    tissue::CSF
                } else if grey >= white {
                    tissue::GREY
                } else {
                    tissue::WHITE
                };
            }
        }
    }

    /// The template points of a row of voxels: every [`STRIDE`]-th by the warp, straight lines between
    /// them, which are off by some hundredths of a millimetre.
    fn trace(&self, first: usize, along: &mut [Point3<f64>]) {
        let warped = |i: usize| self.warp.template_from_patient(&self.grid.centre(self.grid.voxel(first + i)));
        let last = along.len().saturating_sub(1);
        let mut from = warped(0);
        for start in (0..=last).step_by(STRIDE) {
            let end = (start + STRIDE).min(last);
            let to = warped(end);
            for (n, at) in along[start..=end].iter_mut().enumerate() {
                *at = from + (to - from) * (n as f64 / (end - start).max(1) as f64);
            }
            from = to;
        }
    }

    /// CSF deep inside, near the middle, is ventricle.
    fn name_ventricles(&mut self) {
        for index in 0..self.grid.len() {
            if self.tissue[index] != tissue::CSF || self.stiff_sheet(index) {
                continue;
            }
            let at = self.grid.centre(self.grid.voxel(index));
            if self.depth_mm(&at) > VENTRICLE_DEPTH_MM && ventricular(&self.warp.mni_ras(&at)) {
                self.tissue[index] = tissue::VENTRICLE;
            }
        }
    }
}

/// Where fluid belongs to a ventricle (MNI, RAS, mm; read off the template): the lateral ones with their
/// horns, the third, and the fourth. Deep sulci, the cisterns and the Sylvian fissure lie outside.
fn ventricular(mni: &Vector3<f64>) -> bool {
    let (x, y, z) = (mni.x.abs(), mni.y, mni.z);
    let body = x < 26.0 && (-32.0..38.0).contains(&y) && z > -2.0 && z < 30.0 - 0.012 * (y + 5.0) * (y + 5.0);
    let third = x < 6.0 && (-32.0..8.0).contains(&y) && (-14.0..20.0).contains(&z);
    let trigone = (8.0..38.0).contains(&x) && (-62.0..-26.0).contains(&y) && (-6.0..26.0).contains(&z);
    let temporal = (22.0..42.0).contains(&x) && (-45.0..-2.0).contains(&y) && (-26.0..0.0).contains(&z);
    let fourth = x < 10.0 && (-58.0..-32.0).contains(&y) && (-48.0..-14.0).contains(&z);
    body || third || trigone || temporal || fourth
}

/// The 2 mm grid over a head's grid.
pub(crate) fn coarse_of(grid: &Grid) -> Grid {
    Grid { dims: grid.dims.map(|n| n / 2), spacing_mm: 2.0, origin: grid.origin.map(|o| o + 0.5) }
}

/// A 1 mm grid around the warped brain with room for the skull; even numbers of voxels.
fn bounds(template: &Template, warp: &Warp) -> Grid {
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    let nx = template.grid.dims[0].max(1);
    for (row, line) in template.t1.chunks_exact(nx).enumerate() {
        // The ends of each row are enough: what lies between them is inside.
        let ends = [line.iter().position(|v| *v > 0), line.iter().rposition(|v| *v > 0)];
        for i in ends.into_iter().flatten() {
            let p = warp.patient_from_template(&template.grid.centre(template.grid.voxel(row * nx + i)));
            for a in 0..3 {
                low[a] = low[a].min(p[a]);
                high[a] = high[a].max(p[a]);
            }
        }
    }
    let origin = low.map(|v| (v - ROOM_MM).floor());
    let dims = std::array::from_fn(|a| 2 * ((high[a] + ROOM_MM - origin[a]) / 2.0).ceil() as usize);
    Grid { dims, spacing_mm: 1.0, origin }
}

/// Trilinear weights shared by the template's three volumes.
struct Corner {
    index: usize,
    row: usize,
    slice: usize,
    f: [f32; 3],
}

impl Corner {
    fn new(at: &Point3<f64>, grid: &Grid) -> Option<Self> {
        let mut base = [0_usize; 3];
        let mut f = [0.0_f32; 3];
        for a in 0..3 {
            let c = (at[a] - grid.origin[a]) / grid.spacing_mm;
            let whole = c.floor();
            if !(whole >= 0.0 && whole + 1.0 < grid.dims[a] as f64) {
                return None;
            }
            base[a] = whole as usize;
            f[a] = (c - whole) as f32;
        }
        Some(Self { index: grid.index(base), row: grid.dims[0], slice: grid.dims[0] * grid.dims[1], f })
    }

    fn value(&self, data: &[u8]) -> f32 {
        let line = |i: usize| {
            let (a, b) = (f32::from(data[i]), f32::from(data[i + 1]));
            a + (b - a) * self.f[0]
        };
        let plane = |i: usize| {
            let (a, b) = (line(i), line(i + self.row));
            a + (b - a) * self.f[1]
        };
        let (a, b) = (plane(self.index), plane(self.index + self.slice));
        a + (b - a) * self.f[2]
    }
}
