//! The head of one patient: the template, warped, with its tissues.
//!
//! **Frames:** patient LPS, mm. **Grids:** `grid` at 1 mm over the whole head, `coarse` at 2 mm (its
//! voxels are 2 × 2 × 2 of the fine one's). Skull and scalp are *modelled* as shells around the brain
//! mask, since the template has none: bone from 1.5 to 9 mm outside it, scalp to 14 mm.

use crate::anatomy::template::Template;
use crate::distance;
use crate::random::{Draws, Purpose};
use bregma_core::grid::Grid;
use nalgebra::{Matrix3, Point3, Vector3};

/// Inner face of the bone, mm outside the brain.
pub(crate) const SKULL_INNER_MM: f64 = 1.5;
/// Outer face of the bone.
pub(crate) const SKULL_OUTER_MM: f64 = 9.0;
/// Outer face of the scalp.
pub(crate) const SCALP_OUTER_MM: f64 = 14.0;
/// Room around the brain in the head's grid.
const ROOM_MM: f64 = 18.0;

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
    pub coarse: Grid,
    /// Depth below the brain's outer surface on the coarse grid, mm; negative outside.
    pub depth: Vec<f32>,
    pub warp: Warp,
}

/// A linear map about the template's origin, the anterior commissure.
pub(crate) struct Warp {
    patient_from_template: Matrix3<f64>,
    template_from_patient: Matrix3<f64>,
}

impl Warp {
    /// ±5 % along each axis, shears and turns of a few degrees.
    fn drawn(seed: u64, share: f64, own_from_mni: &Matrix3<f64>) -> Self {
        let mut draws = Draws::new(seed, Purpose::Warp);
        let mut m = Matrix3::zeros();
        for r in 0..3 {
            for c in 0..3 {
                m[(r, c)] =
                    if r == c { 1.0 + draws.uniform(-share, share) } else { draws.uniform(-share, share) * 0.4 };
            }
        }
        // Diagonally dominant for any share below 0.5, so it has an inverse; a head's own shape has one too.
        let m = m * own_from_mni;
        let inverse = m.try_inverse().unwrap_or_else(Matrix3::identity);
        Self { patient_from_template: m, template_from_patient: inverse }
    }

    /// A published MNI coordinate (RAS, mm) in this patient.
    pub(crate) fn patient(&self, mni_ras: [f64; 3]) -> Point3<f64> {
        Point3::from(self.patient_from_template * Vector3::new(-mni_ras[0], -mni_ras[1], mni_ras[2]))
    }

    /// The MNI coordinate (RAS, mm) of a patient point.
    pub(crate) fn mni_ras(&self, at: &Point3<f64>) -> Vector3<f64> {
        let t = self.template_from_patient * at.coords;
        Vector3::new(-t.x, -t.y, t.z)
    }
}

impl Head {
    pub(crate) fn grow(template: &Template, seed: u64, warp_share: f64) -> Self {
        let warp = Warp::drawn(seed, warp_share, &template.own_from_mni);
        let grid = bounds(template, &warp);
        let mut head = Self {
            t1: vec![0; grid.len()],
            tissue: vec![tissue::OUTSIDE; grid.len()],
            coarse: Grid { dims: grid.dims.map(|n| n / 2), spacing_mm: 2.0, origin: grid.origin.map(|o| o + 0.5) },
            depth: Vec::new(),
            grid,
            warp,
        };
        head.resample(template);
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

    fn resample(&mut self, template: &Template) {
        let [nx, ny, nz] = self.grid.dims;
        let step = self.warp.template_from_patient.column(0).into_owned();
        for k in 0..nz {
            for j in 0..ny {
                let first = self.warp.template_from_patient * self.grid.centre([0, j, k]).coords;
                let start = Vector3::from_fn(|a, _| first[a] - template.grid.origin[a]);
                let row = self.grid.index([0, j, k]);
                for i in 0..nx {
                    let Some(corner) = Corner::new(&(start + step * i as f64), &template.grid) else { continue };
                    let t1 = corner.value(&template.t1);
                    // Half of a voxel's share of brain tissue of average brightness.
                    if t1 < 30.0 {
                        continue;
                    }
                    let (grey, white) = (corner.value(&template.grey), corner.value(&template.white));
                    self.t1[row + i] = t1.round() as u8;
                    self.tissue[row + i] = if grey + white < 128.0 {
                        tissue::CSF
                    } else if grey >= white {
                        tissue::GREY
                    } else {
                        tissue::WHITE
                    };
                }
            }
        }
    }

    /// CSF deep inside, near the middle, is ventricle.
    fn name_ventricles(&mut self) {
        for index in 0..self.grid.len() {
            if self.tissue[index] != tissue::CSF {
                continue;
            }
            let at = self.grid.centre(self.grid.voxel(index));
            let mni = self.warp.mni_ras(&at);
            let boxed = mni.x.abs() < 40.0 && (-55.0..45.0).contains(&mni.y) && (-25.0..40.0).contains(&mni.z);
            if boxed && self.depth_mm(&at) > 15.0 {
                self.tissue[index] = tissue::VENTRICLE;
            }
        }
    }
}

/// A 1 mm grid around the warped brain with room for the skull; even numbers of voxels.
fn bounds(template: &Template, warp: &Warp) -> Grid {
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    for (index, _) in template.t1.iter().enumerate().filter(|(_, v)| **v > 0) {
        let p = warp.patient_from_template * template.grid.centre(template.grid.voxel(index)).coords;
        for a in 0..3 {
            low[a] = low[a].min(p[a]);
            high[a] = high[a].max(p[a]);
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
    fn new(at: &Vector3<f64>, grid: &Grid) -> Option<Self> {
        let mut base = [0_usize; 3];
        let mut f = [0.0_f32; 3];
        for a in 0..3 {
            let whole = at[a].floor();
            if !(whole >= 0.0 && whole + 1.0 < grid.dims[a] as f64) {
                return None;
            }
            base[a] = whole as usize;
            f[a] = (at[a] - whole) as f32;
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
