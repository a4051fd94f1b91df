//! Mass effect: how the core pushed the tissue around it aside while it grew.
//!
//! Part of the core replaced tissue, part displaced it. Outside the core, incompressible tissue moves
//! radially: where it is now, r, it came from ∛(r³ − a³), 4/3·π·a³ the displaced volume. Skull gives no
//! way: the push fades over the outer centimetre of the brain, halves beyond the midline, where the falx
//! holds, and ends at a reach. **Frame:** patient LPS, mm. **Allocation:** a copy of the head's volumes.
//! **Not modelled:** ventricles that give way more than tissue does, and pressure.

use super::ball_radius_mm;
use crate::anatomy::head::{Head, tissue};
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Depth below the brain's surface at which the skull no longer holds tissue, mm.
const SKULL_HOLDS_MM: f64 = 14.0;
/// Displacement below which a voxel is left alone, mm.
const STILL_MM: f64 = 0.05;

/// The head's volumes before anything pushed.
pub(crate) struct AtRest {
    t1: Vec<u8>,
    tissue: Vec<u8>,
    sheets: Vec<u8>,
}

impl AtRest {
    pub(crate) fn of(head: &Head) -> Self {
        Self { t1: head.t1.clone(), tissue: head.tissue.clone(), sheets: head.sheets.clone() }
    }

    /// Takes every push back.
    pub(crate) fn restore(&self, head: &mut Head) {
        head.t1.clone_from(&self.t1);
        head.tissue.clone_from(&self.tissue);
        head.sheets.clone_from(&self.sheets);
    }
}

/// A radial push around one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MassEffect {
    centre: Point3<f64>,
    /// Radius of the ball of the core's volume.
    core_mm: f64,
    /// Radius of the ball of the displaced volume.
    displaced_mm: f64,
    reach_mm: f64,
}

impl MassEffect {
    /// The push of a core of `core_ml`, of which `displaced_share` displaced tissue.
    pub(crate) fn new(centre: Point3<f64>, core_ml: f64, displaced_share: f64) -> Self {
        let core_mm = ball_radius_mm(core_ml);
        let reach_mm = (3.2 * core_mm).clamp(40.0, 75.0);
        Self { centre, core_mm, displaced_mm: ball_radius_mm(core_ml * displaced_share), reach_mm }
    }

    /// How far tissue that is at a distance from the centre now has come, mm, in a head without a skull.
    fn pushed_mm(&self, r: f64) -> f64 {
        let outer = r.max(self.core_mm);
        let from = libm::cbrt((outer.powi(3) - self.displaced_mm.powi(3)).max(0.0));
        // Inside the core's ball it grows evenly from nothing at the centre.
        let pushed = (outer - from) * (r / outer);
        let left = (1.0 - (r / self.reach_mm).powi(2)).max(0.0);
        pushed * left
    }

    /// Where what is at a point now was before the tumour grew.
    pub(crate) fn rest(&self, head: &Head, now: &Point3<f64>) -> Point3<f64> {
        let off: Vector3<f64> = now - self.centre;
        let r = off.norm();
        if r >= self.reach_mm || r < 1e-9 || self.displaced_mm <= 0.0 {
            return *now;
        }
        let skull = (head.depth_mm(now) / SKULL_HOLDS_MM).clamp(0.0, 1.0);
        // 1 on the core's side of the midline, 0.5 from 12 mm beyond it on.
        let beyond = -now.x * self.centre.x.signum();
        let falx = 1.0 - 0.5 * ((beyond + 6.0) / 18.0).clamp(0.0, 1.0);
        now - off * (self.pushed_mm(r) * skull * (2.0 - skull) * falx / r)
    }

    /// Moves the head's tissue, sheets and T1. What lies outside the brain stays.
    pub(crate) fn displace(&self, head: &mut Head, rest: &AtRest) {
        let grid = head.grid;
        let [xs, ys, zs] = grid.around(&self.centre, self.reach_mm);
        let mut moved = Vec::new();
        for k in zs {
            for j in ys.clone() {
                for i in xs.clone() {
                    let index = grid.index([i, j, k]);
                    if rest.tissue[index] == tissue::OUTSIDE {
                        continue;
                    }
                    let now = grid.centre([i, j, k]);
                    let from = self.rest(head, &now);
                    let Some(voxel) = grid.containing(&from) else { continue };
                    let source = grid.index(voxel);
                    if (from - now).norm() > STILL_MM && rest.tissue[source] != tissue::OUTSIDE {
                        moved.push((index, source, trilinear(&grid, &rest.t1, &from)));
                    }
                }
            }
        }
        for (index, source, t1) in moved {
            head.tissue[index] = rest.tissue[source];
            head.sheets[index] = rest.sheets[source];
            head.t1[index] = t1;
        }
    }
}

/// Points are inside the brain, which keeps off the grid's border.
fn trilinear(grid: &Grid, data: &[u8], at: &Point3<f64>) -> u8 {
    let c = grid.coordinates(at);
    let mut base = [0_usize; 3];
    let mut f = [0.0_f32; 3];
    for a in 0..3 {
        let whole = c[a].floor().clamp(0.0, grid.dims[a] as f64 - 2.0);
        (base[a], f[a]) = (whole as usize, (c[a] - whole) as f32);
    }
    let [nx, ny, _] = grid.dims;
    let first = grid.index(base);
    let line = |i: usize| {
        let (a, b) = (f32::from(data[i]), f32::from(data[i + 1]));
        a + (b - a) * f[0]
    };
    let plane = |i: usize| {
        let (a, b) = (line(i), line(i + nx));
        a + (b - a) * f[1]
    };
    let (a, b) = (plane(first), plane(first + nx * ny));
    (a + (b - a) * f[2]).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::template::template;
    use crate::anatomy::warp::Variety;

    #[test]
    fn pushes_outwards_less_with_distance_and_never_through_the_skull() {
        let mut head = Head::grow(template().expect("decodes"), 2, Variety { share: 0.05, smooth_mm: 4.0 });
        let rest = AtRest::of(&head);
        let centre = head.warp.patient([-36.0, -20.0, 30.0]);
        let push = MassEffect::new(centre, 40.0, 0.5);
        let came = |off: f64| {
            let now = centre + Vector3::new(-centre.x.signum() * off, 0.0, 0.0);
            (push.rest(&head, &now) - now).norm()
        };
        // 20 mL displaced: a = 16.8 mm; at the core's edge, 21.2 mm, tissue came from 16.8 mm.
        assert!((3.5..4.5).contains(&came(21.3)), "{}", came(21.3));
        assert!(came(21.3) > came(30.0) && came(30.0) > came(40.0) && came(45.0) > 0.1);
        // Neighbours stay in order: no tissue is folded.
        let along = |off: f64| off - came(off);
        assert!((1..140).all(|n| along(0.5 * f64::from(n)) > along(0.5 * f64::from(n) - 0.5)));
        push.displace(&mut head, &rest);
        let outside = |t: &[u8]| t.iter().filter(|t| **t == tissue::OUTSIDE).count();
        assert_eq!(outside(&head.tissue), outside(&rest.tissue));
        assert_ne!(head.t1, rest.t1);
        rest.restore(&mut head);
        assert_eq!(head.t1, rest.t1);
    }
}
