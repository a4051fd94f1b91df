//! From the template to one patient and back.
//!
//! patient = A · exp(v)(template): an affine part about the template's origin, the anterior commissure,
//! after the flow of a stationary velocity field. The field is a cubic B-spline with random coefficients;
//! exp(v) is found by scaling and squaring, its inverse is exp(−v) (V. Arsigny et al., *A log-Euclidean
//! framework for statistics on diffeomorphisms*, MICCAI 2006), so neither way folds. **Frames:** template
//! LPS and patient LPS, mm; published coordinates are MNI, RAS. **Allocation:** two displacements on a
//! 4.8 mm grid, about 4 MB. **Not modelled:** gyri that a single brain has and the average lacks.

use crate::anatomy::template::Template;
use crate::random::{Draws, Purpose};
use bregma_core::grid::Grid;
use nalgebra::{Matrix3, Point3, Vector3};
use std::sync::OnceLock;

/// Distance of the spline's coefficients, mm: the scale on which heads differ here.
const KNOT_MM: f64 = 24.0;
/// Distance of the displacements' nodes, mm.
const NODE_MM: f64 = 4.8;
/// Nodes from one coefficient to the next.
const PER_KNOT: usize = 5;
/// Room around the template, mm: tissue never flows further.
const ROOM_MM: f64 = 25.0;
/// The flow is composed of 2⁵ equal steps; at 0.5 mm each they are far below a node's distance.
const SQUARINGS: u32 = 5;
/// The two ways agree to that, after at most so many steps.
const AGREE_MM: f64 = 0.02;
const CORRECTIONS_MAX: usize = 12;
/// Standard deviation of a spline whose coefficients have a standard deviation of one: (151/315)^(3/2),
/// the mean of Σ B² along each of three axes.
pub(crate) const SPLINE_SD: f64 = 0.3319;
/// Shears and turns as a share of the largest change along an axis.
const SHEAR_SHARE: f64 = 0.4;

/// How much heads differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Variety {
    /// Largest relative change along an axis.
    pub share: f64,
    /// Root-mean-square displacement of the smooth part, mm.
    pub smooth_mm: f64,
}

/// What warps are drawn on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ground {
    /// The template's grid.
    pub template: Grid,
    /// The head's own size and shape.
    pub own_from_mni: Matrix3<f64>,
    pub variety: Variety,
}

/// One patient's map, both ways; drawn when it is first asked for.
pub(crate) struct Warp {
    ground: Ground,
    seed: u64,
    maps: OnceLock<Maps>,
}

struct Maps {
    affine: Matrix3<f64>,
    affine_back: Matrix3<f64>,
    flow: Displacement,
    flow_back: Displacement,
}

impl Warp {
    /// The warp of a seed for a template; a head's own size and shape come before the affine part.
    pub(crate) fn drawn(template: &Template, seed: u64, variety: Variety) -> Self {
        Self::on(Ground { template: template.grid, own_from_mni: template.own_from_mni, variety }, seed)
    }

    /// The warp of a seed on a ground.
    pub(crate) const fn on(ground: Ground, seed: u64) -> Self {
        Self { ground, seed, maps: OnceLock::new() }
    }

    fn maps(&self) -> &Maps {
        self.maps.get_or_init(|| Maps::drawn(&self.ground, self.seed))
    }

    /// What it was drawn on.
    pub(crate) const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Every number of both ways, in a fixed order.
    pub(crate) fn numbers(&self) -> Vec<f64> {
        let maps = self.maps();
        let affine = maps.affine.iter().chain(&maps.affine_back).copied();
        let nodes = maps.flow.nodes.iter().chain(&maps.flow_back.nodes);
        affine.chain(nodes.flat_map(|v| v.iter().map(|c| f64::from(*c)))).collect()
    }

    /// A published MNI coordinate (RAS, mm) in this patient.
    pub(crate) fn patient(&self, mni_ras: [f64; 3]) -> Point3<f64> {
        self.patient_from_template(&Point3::new(-mni_ras[0], -mni_ras[1], mni_ras[2]))
    }

    /// The MNI coordinate (RAS, mm) of a patient point.
    pub(crate) fn mni_ras(&self, at: &Point3<f64>) -> Vector3<f64> {
        let t = self.template_from_patient(at);
        Vector3::new(-t.x, -t.y, t.z)
    }

    /// A template point (LPS) in this patient.
    pub(crate) fn patient_from_template(&self, at: &Point3<f64>) -> Point3<f64> {
        // exp(v), then steps by the affine part's slope against what the way back leaves: the difference
        // between the two interpolated fields, some tenths of a millimetre, goes.
        let maps = self.maps();
        let mut patient = maps.affine * (at + maps.flow.at(at).cast::<f64>());
        for _ in 0..CORRECTIONS_MAX {
            let off = at - self.template_from_patient(&patient);
            if off.norm() < AGREE_MM {
                break;
            }
            patient += maps.affine * off;
        }
        patient
    }

    /// The template point (LPS) of a patient point.
    pub(crate) fn template_from_patient(&self, at: &Point3<f64>) -> Point3<f64> {
        let maps = self.maps();
        let t = maps.affine_back * at;
        t + maps.flow_back.at(&t).cast::<f64>()
    }
}

impl Maps {
    fn drawn(ground: &Ground, seed: u64) -> Self {
        let variety = ground.variety;
        let mut draws = Draws::new(seed, Purpose::Warp);
        let mut affine = Matrix3::zeros();
        for r in 0..3 {
            for c in 0..3 {
                let change = draws.uniform(-variety.share, variety.share);
                affine[(r, c)] = if r == c { 1.0 + change } else { change * SHEAR_SHARE };
            }
        }
        // Diagonally dominant for any share below 0.5, so it has an inverse; a head's own shape has one too.
        affine *= ground.own_from_mni;
        let affine_back = affine.try_inverse().unwrap_or_else(Matrix3::identity);
        let (grid, velocity) = velocity(&ground.template, seed, variety.smooth_mm);
        let flow = Displacement::flow(grid, &velocity, 1.0);
        let flow_back = Displacement::flow(grid, &velocity, -1.0);
        Self { affine, affine_back, flow, flow_back }
    }
}

/// The velocity field on the nodes around a template, mm per unit of time.
fn velocity(template: &Grid, seed: u64, smooth_mm: f64) -> (Grid, Vec<Vector3<f32>>) {
    let extent = |a: usize| template.spacing_mm * (template.dims[a] as f64 - 1.0) + 2.0 * ROOM_MM;
    let cells: [usize; 3] = std::array::from_fn(|a| (extent(a) / KNOT_MM).ceil() as usize);
    let grid = Grid {
        dims: cells.map(|n| n * PER_KNOT + 1),
        spacing_mm: NODE_MM,
        origin: template.origin.map(|o| o - ROOM_MM),
    };
    // A spline of n cells has n + 3 coefficients.
    let knots = cells.map(|n| n + 3);
    let mut draws = Draws::new(seed, Purpose::SmoothWarp);
    let sigma = smooth_mm / (f64::sqrt(3.0) * SPLINE_SD);
    let coefficients = (0..knots.iter().product()).map(|_| draws.normals(sigma).cast::<f32>()).collect();
    (grid, spline(coefficients, knots, PER_KNOT))
}

/// Values of a uniform cubic B-spline at `per` points a cell, one axis after the other.
pub(crate) fn spline<T>(coefficients: Vec<T>, knots: [usize; 3], per: usize) -> Vec<T>
where
    T: Copy + std::ops::Mul<f32, Output = T> + std::ops::Add<Output = T>,
{
    let weights: Vec<[f32; 4]> = (0..per).map(|n| cubic(n as f32 / per as f32)).collect();
    let mut values = coefficients;
    let mut dims = knots;
    for a in 0..3 {
        let mut to = dims;
        to[a] = (dims[a] - 3) * per + 1;
        let stride: usize = dims[..a].iter().product();
        let next = (0..to.iter().product::<usize>()).map(|index| {
            let (inner, rest) = (index % stride, index / stride);
            let (n, outer) = (rest % to[a], rest / to[a]);
            // The last point is the end of the last cell.
            let cell = (n / per).min(dims[a] - 4);
            let w = if n - cell * per == per { cubic(1.0) } else { weights[n - cell * per] };
            let first = inner + stride * (cell + dims[a] * outer);
            let c = |m: usize| values[first + m * stride] * w[m];
            c(0) + c(1) + c(2) + c(3)
        });
        values = next.collect();
        dims = to;
    }
    values
}

/// The four cubic B-splines at `t` of a cell.
fn cubic(t: f32) -> [f32; 4] {
    let s = 1.0 - t;
    [
        s * s * s / 6.0,
        (3.0 * t * t * t - 6.0 * t * t + 4.0) / 6.0,
        (3.0 * s * s * s - 6.0 * s * s + 4.0) / 6.0,
        t * t * t / 6.0,
    ]
}

/// A displacement on nodes, trilinear between them; the border's value continues outside.
struct Displacement {
    grid: Grid,
    nodes: Vec<Vector3<f32>>,
}

impl Displacement {
    /// exp(sign · velocity) − identity.
    fn flow(grid: Grid, velocity: &[Vector3<f32>], sign: f32) -> Self {
        let share = sign / 2.0_f32.powi(SQUARINGS as i32);
        let mut flow = Self { grid, nodes: velocity.iter().map(|v| v * share).collect() };
        for _ in 0..SQUARINGS {
            let twice = (0..grid.len()).map(|index| {
                let u = flow.nodes[index];
                u + flow.at(&(grid.centre(grid.voxel(index)) + u.cast::<f64>()))
            });
            flow.nodes = twice.collect();
        }
        flow
    }

    fn at(&self, at: &Point3<f64>) -> Vector3<f32> {
        let mut base = [0_usize; 3];
        let mut f = [0.0_f32; 3];
        for a in 0..3 {
            let last = (self.grid.dims[a] - 1) as f64;
            // NaN becomes 0 in the cast.
            let c = ((at[a] - self.grid.origin[a]) / NODE_MM).clamp(0.0, last);
            base[a] = (c as usize).min(self.grid.dims[a] - 2);
            f[a] = (c - base[a] as f64) as f32;
        }
        let (row, slice) = (self.grid.dims[0], self.grid.dims[0] * self.grid.dims[1]);
        let line = |i: usize| self.nodes[i] + (self.nodes[i + 1] - self.nodes[i]) * f[0];
        let plane = |i: usize| {
            let (a, b) = (line(i), line(i + row));
            a + (b - a) * f[1]
        };
        let first = self.grid.index(base);
        let (a, b) = (plane(first), plane(first + slice));
        a + (b - a) * f[2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::template;
    use proptest::prelude::*;

    const LARGEST: Variety = Variety { share: 0.1, smooth_mm: 5.0 };

    fn any_template() -> &'static Template {
        template::template().expect("decodes")
    }

    /// Smallest and largest determinant of the Jacobian of the map through a lattice 4 mm apart, by
    /// differences over 1 mm.
    fn determinants(map: impl Fn(&Point3<f64>) -> Point3<f64>) -> (f64, f64) {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for index in 0..36 * 44 * 36 {
            let (i, j, k) = (index % 36, (index / 36) % 44, index / (36 * 44));
            let at = Point3::new(-70.0 + 4.0 * f64::from(i), -86.0 + 4.0 * f64::from(j), -60.0 + 4.0 * f64::from(k));
            let here = map(&at);
            let column = |e: Vector3<f64>| map(&(at + e)) - here;
            let d = Matrix3::from_columns(&[column(Vector3::x()), column(Vector3::y()), column(Vector3::z())]);
            least = least.min(d.determinant());
            most = most.max(d.determinant());
        }
        (least, most)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 0, ..ProptestConfig::default() })]
        #[test]
        fn neither_way_folds_and_there_and_back_is_where_it_was(seed in any::<u64>()) {
            let warp = Warp::drawn(any_template(), seed, LARGEST);
            let (least, most) = determinants(|at| warp.patient_from_template(at));
            prop_assert!(least > 0.05 && most < 8.0, "there: {least} to {most}");
            let (least, most) = determinants(|at| warp.template_from_patient(at));
            prop_assert!(least > 0.05 && most < 8.0, "back: {least} to {most}");
            let mut draws = Draws::new(seed, Purpose::Scan);
            for _ in 0..2000 {
                let at = Point3::new(draws.uniform(-75.0, 75.0), draws.uniform(-75.0, 105.0), draws.uniform(-60.0, 85.0));
                let there_and_back = warp.template_from_patient(&warp.patient_from_template(&at));
                let off = (there_and_back - at).norm();
                prop_assert!(off < 0.3, "{off} mm at {at}");
                let back_and_there = warp.patient_from_template(&warp.template_from_patient(&at));
                prop_assert!((back_and_there - at).norm() < 0.3, "{} mm at {at}", (back_and_there - at).norm());
            }
        }
    }

    #[test]
    fn it_moves_as_far_as_it_is_told_and_each_seed_differently() {
        let moved = |seed: u64, smooth_mm: f64| {
            let warp = Warp::drawn(any_template(), seed, Variety { share: 0.0, smooth_mm });
            let mut draws = Draws::new(9, Purpose::Scan);
            let square: f64 = (0..4000)
                .map(|_| {
                    let at =
                        Point3::new(draws.uniform(-70.0, 70.0), draws.uniform(-70.0, 90.0), draws.uniform(-50.0, 80.0));
                    (warp.patient_from_template(&at) - at).norm_squared()
                })
                .sum();
            (square / 4000.0).sqrt()
        };
        let mean = (0..6).map(|seed| moved(seed, 4.0)).sum::<f64>() / 6.0;
        assert!((3.0..5.0).contains(&mean), "{mean} mm");
        assert!(moved(1, 0.0) < 1e-6);
        let at = |seed| Warp::drawn(any_template(), seed, LARGEST).patient([-40.0, 20.0, 30.0]);
        assert!((at(1) - at(2)).norm() > 0.5 && at(1) == at(1));
    }

    #[test]
    fn a_spline_of_equal_coefficients_is_constant() {
        let values = spline(vec![2.5_f32; 5 * 4 * 6], [5, 4, 6], 4);
        assert_eq!(values.len(), 9 * 5 * 13);
        assert!(values.iter().all(|v| (v - 2.5).abs() < 1e-5));
    }
}
