//! What surgery adds to a scan, and where it has moved.
//!
//! The cavity is filled with fluid, with air at its top (towards the craniotomy); its wall carries patches
//! of blood and, on T1c, the thin linear enhancement that surgery itself causes and that is no tumour: about
//! a voxel deep, over part of the wall. Near air the field is uneven: the picture is displaced along the
//! readout axis x by up to some millimetres, falling by a factor e every 6 mm, and darkens beside the air.
//! Tissue stands where the displacement field has taken it. **Frame:** patient LPS, mm; masks are at rest.
//! **Source:** that thin linear enhancement at the wall is common and not tumour is reported throughout the
//! literature on intraoperative MRI; its share and strength, and the distortion's size, are an expert's
//! estimate. **Not modelled:** haemostatic material, and contrast agent that leaks as time passes.

use super::{AIR, Contrasts, depth_row};
use crate::anatomy::head::{Head, SKULL_INNER_MM};
use crate::distance;
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::shift::field::Field;
use crate::truth::Label;
use crate::tumour::noise;
use bregma_core::flow::{Modality, Volume};
use bregma_core::grid::Grid;
use bregma_core::time::Instant;
use nalgebra::Point3;

/// Distance over which the distortion falls by a factor e, mm.
const DISTORTION_MM: f32 = 6.0;
/// Farther from air than this nothing is distorted, mm.
const DISTORTED_MM: f32 = 20.0;
/// Displacement that no scan shows, mm.
const STILL_MM: f64 = 0.05;

impl Patient {
    /// A scan with what is open by then, `open[i]` for each truth voxel, and with tissue where `field` has
    /// taken it since the dura was opened.
    pub(crate) fn scan_moved(
        &self,
        modality: Modality,
        acquired: Instant,
        open: Option<&[bool]>,
        field: Option<&Field>,
    ) -> Volume {
        if modality == Modality::Mra {
            return self.mra(acquired);
        }
        let contrasts = self.contrasts(modality);
        let mut picture = self.paint(modality, &contrasts);
        let mut air = None;
        if let Some(open) = open {
            let mut draws = Draws::new(self.seed ^ acquired.nanos(), Purpose::Contrast);
            air = Some(self.add_cavity(modality, &contrasts, &mut draws, open, &mut picture));
        }
        if let Some(field) = field {
            picture = moved(&self.head, &picture, field);
        }
        if let Some(air) = air.filter(|a| a.iter().any(|a| *a)) {
            let mut draws = Draws::new(self.seed ^ acquired.nanos(), Purpose::Scan);
            self.distort(draws.uniform(-2.5, 2.5) as f32, &air, &mut picture);
        }
        self.acquire(modality, acquired, picture)
    }

    /// Paints cavity and wall; which truth voxels hold air.
    fn add_cavity(
        &self,
        modality: Modality,
        contrasts: &Contrasts,
        draws: &mut Draws,
        open: &[bool],
        picture: &mut [f32],
    ) -> Vec<bool> {
        let (truth, head) = (&self.truth, &self.head);
        let grid = &truth.grid;
        let air = self.air(open, draws.uniform(0.05, 0.3));
        let scar = draws.uniform(0.15, 0.5) as f32 * (contrasts.rim - 1.0).max(0.3);
        let (scarred, bloody) = (draws.uniform(-0.4, 0.6) as f32, draws.uniform(0.2, 1.2) as f32);
        let patches = noise::field(grid, 6.0, draws.bits());
        let [nx, ny, _] = grid.dims;
        let strides = [1, nx, nx * ny];
        for index in 0..grid.len() {
            let label = truth.labels[index];
            let cavity = open[index] && label != Label::Outside;
            let voxel = grid.voxel(index);
            let inner = (0..3).all(|a| voxel[a] > 0 && voxel[a] + 1 < grid.dims[a]);
            let wall = !cavity
                && label.tissue()
                && inner
                && strides.iter().any(|s| {
                    let beside = |n: usize| open[n] && truth.labels[n] != Label::Outside;
                    beside(index - s) || beside(index + s)
                });
            if !(cavity || wall) {
                continue;
            }
            let Some(at) = head.grid.containing(&grid.centre(voxel)) else { continue };
            let value = &mut picture[head.grid.index(at)];
            if air[index] {
                *value = AIR;
            } else if cavity {
                *value = contrasts.fluid;
            } else {
                if modality == Modality::T1c && patches[index] > scarred {
                    *value += scar;
                }
                if -patches[index] > bloody {
                    *value += 0.7 * (contrasts.blood - *value);
                }
            }
        }
        air
    }

    /// The top share of the cavity, seen from the craniotomy, and the opened bone.
    fn air(&self, open: &[bool], share: f64) -> Vec<bool> {
        let truth = &self.truth;
        let height = |i: usize| {
            let at: Point3<f64> = truth.grid.centre(truth.grid.voxel(i));
            (at - self.craniotomy.centre).dot(&self.craniotomy.outward)
        };
        let cavity = |i: &usize| open[*i] && truth.labels[*i].tissue();
        let heights = (0..truth.grid.len()).filter(cavity).map(height);
        let (low, high) = heights.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        let level = high - share * (high - low);
        let mut air = vec![false; truth.grid.len()];
        for index in (0..truth.grid.len()).filter(|i| open[*i]) {
            air[index] = match truth.labels[index] {
                Label::Outside => false,
                Label::Skull => true,
                _ => height(index) > level,
            };
        }
        air
    }

    /// Displaces the picture along x near air, and darkens it there.
    fn distort(&self, most_mm: f32, air: &[bool], picture: &mut [f32]) {
        let (grid, head) = (&self.truth.grid, &self.head.grid);
        let near = distance::squared(grid.dims, |i| air[i]);
        let nx = grid.dims[0];
        let mut clean = vec![0.0; head.dims[0]];
        for (row, near) in near.chunks_exact(nx).enumerate() {
            if near.iter().all(|d| *d > DISTORTED_MM * DISTORTED_MM) {
                continue;
            }
            let first = grid.centre(grid.voxel(row * nx));
            // The head's row that this row of the truth lies in: its voxels coincide.
            let c = head.coordinates(&first).map(f64::round);
            let inside = (1..3).all(|a| c[a] >= 0.0 && c[a] < head.dims[a] as f64);
            if !inside {
                continue;
            }
            let start = head.index([0, c[1] as usize, c[2] as usize]);
            let line = &mut picture[start..start + head.dims[0]];
            clean.copy_from_slice(line);
            for (i, squared) in near.iter().enumerate() {
                let x = c[0] + i as f64;
                let mm = squared.sqrt();
                if mm > DISTORTED_MM || x < 0.0 || x >= head.dims[0] as f64 {
                    continue;
                }
                let from = (x as f32 - most_mm * (-mm / DISTORTION_MM).exp()).clamp(0.0, clean.len() as f32 - 1.0);
                let low = (from as usize).min(clean.len() - 2);
                let f = from - low as f32;
                let dark = 1.0 - 0.5 * (-mm / 1.5).exp();
                line[x as usize] = dark * (clean[low] + (clean[low + 1] - clean[low]) * f);
            }
        }
    }
}

/// The picture with everything where the field has taken it. Bone and scalp stay; where nothing moved by a
/// twentieth of a millimetre it is left alone.
fn moved(head: &Head, picture: &[f32], field: &Field) -> Vec<f32> {
    let grid = &head.grid;
    let [nx, ny, _] = grid.dims;
    let mut depths = vec![0.0; nx];
    let mut out = picture.to_vec();
    for (row, line) in out.chunks_exact_mut(nx).enumerate() {
        let (j, k) = (row % ny, row / ny);
        depth_row(head, j, k, &mut depths);
        for (i, (value, depth)) in line.iter_mut().zip(&depths).enumerate() {
            if f64::from(-depth) >= SKULL_INNER_MM {
                continue;
            }
            let now = grid.centre([i, j, k]);
            let rest = field.rest(&now);
            if (rest - now).amax() > STILL_MM {
                *value = trilinear(grid, picture, &rest);
            }
        }
    }
    out
}

/// Points outside the grid take the value of its border.
fn trilinear(grid: &Grid, picture: &[f32], at: &Point3<f64>) -> f32 {
    let c = grid.coordinates(at);
    let mut f = [0.0_f32; 3];
    let base: [usize; 3] = std::array::from_fn(|a| {
        let inside = c[a].clamp(0.0, grid.dims[a] as f64 - 1.001);
        f[a] = (inside - inside.floor()) as f32;
        inside as usize
    });
    let [nx, ny, _] = grid.dims;
    let line = |i: usize| picture[i] + (picture[i + 1] - picture[i]) * f[0];
    let plane = |i: usize| {
        let low = line(i);
        low + (line(i + nx) - low) * f[1]
    };
    let first = grid.index(base);
    let low = plane(first);
    low + (plane(first + nx * ny) - low) * f[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patient::tests::grown;
    use nalgebra::Vector3;

    fn cored(p: &Patient) -> Vec<bool> {
        (0..p.truth.grid.len()).map(|i| p.open_at_start(i) || p.truth.labels[i].core()).collect()
    }

    fn core_mean(p: &Patient, scan: &Volume, by: &Vector3<f64>) -> f32 {
        let (t, head) = (&p.truth, &p.head.grid);
        let core = (0..t.grid.len()).filter(|i| t.labels[*i].core());
        let at = core.filter_map(|i| head.containing(&(t.grid.centre(t.grid.voxel(i)) + by)));
        let values: Vec<f32> = at.map(|v| scan.intensities[head.index(v)]).collect();
        values.iter().sum::<f32>() / values.len() as f32
    }

    #[test]
    fn the_cavity_is_dark_and_its_wall_enhances_in_part() {
        let p = grown();
        let open = cored(&p);
        let at = Instant::START;
        let (before, after) = (p.scan(Modality::T1c), p.scan_moved(Modality::T1c, at, Some(&open), None));
        let none = Vector3::zeros();
        assert!(core_mean(&p, &after, &none) < 0.5 * core_mean(&p, &before, &none));
        let again = p.scan_moved(Modality::T1c, at, Some(&open), None);
        assert!(after.intensities.iter().zip(&again.intensities).all(|(a, b)| a.to_bits() == b.to_bits()));
        // Before noise: some of the wall is brighter than it was, by less than the rim was.
        let contrasts = p.contrasts(Modality::T1c);
        let clean = p.paint(Modality::T1c, &contrasts);
        let mut cut = clean.clone();
        let mut draws = Draws::new(1, Purpose::Contrast);
        p.add_cavity(Modality::T1c, &contrasts, &mut draws, &open, &mut cut);
        let brighter = clean.iter().zip(&cut).filter(|(a, b)| **b > **a + 0.02).count();
        let darker = clean.iter().zip(&cut).filter(|(a, b)| **b < **a - 0.1).count();
        let core = p.truth.labels.iter().filter(|l| l.core()).count();
        assert!(brighter > 100 && darker > core / 2, "{brighter} brighter, {darker} darker of {core}");
    }

    #[test]
    fn a_field_takes_the_picture_along() {
        let p = grown();
        let by = Vector3::new(5.0, -4.0, 3.0);
        let grid = Grid { dims: p.head.grid.dims.map(|n| n / 4 + 1), spacing_mm: 4.0, origin: p.head.grid.origin };
        let mut field = Field::still(grid);
        field.update(|u| u.fill(by.cast::<f32>()));
        let scan = p.scan_moved(Modality::Flair, Instant::START, None, Some(&field));
        let (here, there) = (core_mean(&p, &p.scan(Modality::Flair), &Vector3::zeros()), core_mean(&p, &scan, &by));
        assert!((here - there).abs() < 0.05 * here, "{here} {there}");
    }
}
