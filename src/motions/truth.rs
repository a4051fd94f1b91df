//! Where the instrument truly was, and how near to what: brute force over the digital patient's own geometry.
//!
//! Tip and shaft are a row of balls, half a millimetre apart; poses along the way lie a quarter of a millimetre apart. Vessels
//! are the patient's capsules, eloquent tissue and bone cubes of 1 mm, tissue cubes of 1 mm that the corridor did not open.
//! **Nothing here is shared with the validator**: no distance field, no physics engine, no sweep, no Jacobian. A
//! registration's error is a rigid motion from what is believed to what is true. **Units and frame:** mm, patient LPS.
//! **Not counted:** the arm's links and the handle, which stay outside the head.

use bregma_core::arm::{ArmModel, Joints};
use bregma_core::flow::{Anatomy, Capsule, Corridor, Craniotomy, Waypoint};
use bregma_patient::{FORBIDDEN_DIAMETER_MM, Patient};
use nalgebra::{DMatrix, Isometry3, Point3, Translation3, Vector3};

/// Distances are told up to there, mm.
pub const FAR_MM: f64 = 12.0;
/// Between two poses that are looked at, mm.
const STEP_MM: f64 = 0.25;
/// Between two balls of the shaft, mm.
const BALL_MM: f64 = 0.5;
/// So much of the shaft can lie in the head, mm.
const IN_HEAD_MM: f64 = 90.0;
/// Edge of the cells that cubes are sorted into, mm.
const CELL_MM: f64 = 4.0;
/// The energised tip removes tissue so far around it, mm.
const REMOVED_MM: f64 = 2.0;
/// Outside the craniotomy by so much a tip is out, mm.
pub const OUTSIDE_MM: f64 = 25.0;

/// Cubes of 1 mm on one lattice: which there are, and those at the surface, sorted by place.
#[derive(Debug)]
struct Cubes {
    low: Point3<f64>,
    dims: [usize; 3],
    there: Vec<bool>,
    cells_dims: [usize; 3],
    cells: Vec<Vec<Point3<f64>>>,
}

impl Cubes {
    fn of(centres: impl Iterator<Item = Point3<f64>>) -> Self {
        let all: Vec<Point3<f64>> = centres.collect();
        let low = all.iter().fold(Point3::from([f64::INFINITY; 3]), |l, p| l.inf(p));
        let high = all.iter().fold(Point3::from([f64::NEG_INFINITY; 3]), |h, p| h.sup(p));
        let size = |a: usize| if all.is_empty() { 0.0 } else { high[a] - low[a] };
        let dims: [usize; 3] = std::array::from_fn(|a| size(a).round() as usize + 1);
        let cells_dims = std::array::from_fn(|a| (size(a) / CELL_MM) as usize + 1);
        let there = vec![false; dims.iter().product()];
        let mut cubes = Self { low, dims, there, cells_dims, cells: vec![Vec::new(); cells_dims.iter().product()] };
        for p in &all {
            if let Some(index) = cubes.index(cubes.voxel(p)) {
                cubes.there[index] = true;
            }
        }
        for p in all {
            let v = cubes.voxel(&p);
            let beside = (0..6).map(|n| {
                let mut w = v;
                w[n / 2] += if n % 2 == 0 { 1 } else { -1 };
                w
            });
            if beside.into_iter().all(|w| cubes.index(w).is_some_and(|i| cubes.there[i])) {
                continue;
            }
            let c: [usize; 3] = std::array::from_fn(|a| ((p[a] - low[a]) / CELL_MM) as usize);
            let index = c[0] + cells_dims[0] * (c[1] + cells_dims[1] * c[2]);
            cubes.cells[index].push(p);
        }
        cubes
    }

    fn voxel(&self, at: &Point3<f64>) -> [i64; 3] {
        std::array::from_fn(|a| (at[a] - self.low[a]).round() as i64)
    }

    fn index(&self, v: [i64; 3]) -> Option<usize> {
        let inside = (0..3).all(|a| (0..self.dims[a] as i64).contains(&v[a]));
        inside.then(|| v[0] as usize + self.dims[0] * (v[1] as usize + self.dims[1] * v[2] as usize))
    }

    /// Distance to the nearest cube, mm; 0 inside one, `most` beyond that.
    fn distance_mm(&self, at: &Point3<f64>, most: f64) -> f64 {
        if self.index(self.voxel(at)).is_some_and(|i| self.there[i]) {
            return 0.0;
        }
        let home: [i64; 3] = std::array::from_fn(|a| ((at[a] - self.low[a]) / CELL_MM).floor() as i64);
        let mut best2 = most * most;
        for ring in 0..=(most / CELL_MM) as i64 + 1 {
            // Cells of this ring and beyond are at least so far away, less half a cube.
            let far = ((ring - 1) as f64 * CELL_MM - 0.5).max(0.0);
            if far * far > best2 {
                break;
            }
            for k in -ring..=ring {
                for j in -ring..=ring {
                    let inner = k.abs() < ring && j.abs() < ring;
                    let step = if inner { (2 * ring).max(1) as usize } else { 1 };
                    for i in (-ring..=ring).step_by(step) {
                        for cube in self.cell([home[0] + i, home[1] + j, home[2] + k]) {
                            let off = (at - cube).map(|d| (d.abs() - 0.5).max(0.0));
                            best2 = best2.min(off.norm_squared());
                        }
                    }
                }
            }
        }
        best2.sqrt()
    }

    fn cell(&self, v: [i64; 3]) -> &[Point3<f64>] {
        let inside = (0..3).all(|a| (0..self.cells_dims[a] as i64).contains(&v[a]));
        if !inside {
            return &[];
        }
        let [i, j, k] = v.map(|c| c as usize);
        &self.cells[i + self.cells_dims[0] * (j + self.cells_dims[1] * k)]
    }
}

/// What came how near on a motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Surface of the instrument to that of the nearest vessel that is forbidden, mm; negative inside.
    pub vessel_mm: f64,
    /// To eloquent tissue, mm.
    pub eloquent_mm: f64,
    /// To bone, mm.
    pub bone_mm: f64,
    /// Deepest press of the instrument into tissue with the energy off, mm.
    pub pressed_mm: f64,
    /// Least cosine between the way back along the shaft and the craniotomy's direction, while a way out is needed.
    pub rise: f64,
}

/// A patient's true geometry, and where the instrument truly is.
pub struct Truth {
    vessels: Vec<Capsule>,
    eloquent: Cubes,
    bone: Cubes,
    solid: Cubes,
    open: Cubes,
    craniotomy: Craniotomy,
    radius_mm: f64,
}

/// A pose that the tip passes, and whether tissue is removed there.
pub type Passed = (Isometry3<f64>, bool);

impl Truth {
    /// Of a patient, for an instrument of that radius.
    #[must_use]
    pub fn of(patient: &Patient, anatomy: &Anatomy, radius_mm: f64) -> Self {
        let corridor = anatomy.corridor;
        let wide = |c: &&Capsule| 2.0 * c.radius_mm >= FORBIDDEN_DIAMETER_MM;
        let near = |p: &Point3<f64>| about_the_way(&corridor, p) < 28.0;
        let solid = |p: &Point3<f64>| patient.label_at(p).is_some_and(|l| l.tissue()) && !corridor.holds(p, 10.0);
        let all = || patient.labelled(|_| true).filter(near);
        Self {
            vessels: patient.vessels().map(|(_, capsule)| capsule).filter(wide).cloned().collect(),
            eloquent: Cubes::of(patient.eloquent_voxels()),
            bone: Cubes::of(patient.bone_voxels(55.0)),
            solid: Cubes::of(all().filter(solid)),
            open: Cubes::of(all().filter(|p| !solid(p))),
            craniotomy: anatomy.craniotomy,
            radius_mm,
        }
    }

    /// Depth below the craniotomy's plane, mm.
    #[must_use]
    pub fn depth_mm(&self, at: &Point3<f64>) -> f64 {
        -(at - self.craniotomy.centre).dot(&self.craniotomy.outward)
    }

    /// Looks at every pose of a way, in true coordinates.
    #[must_use]
    pub fn look(&self, way: &[Passed]) -> Found {
        let vessels = self.near_vessels(way);
        let to_vessel = |at: &Point3<f64>, most: f64| vessels.iter().map(|v| v.distance_mm(at)).fold(most, f64::min);
        let radius = self.radius_mm;
        let vessel_mm = least(way, FAR_MM + radius, to_vessel) - radius;
        let eloquent_mm = least(way, FAR_MM + radius, |at, most| self.eloquent.distance_mm(at, most)) - radius;
        let bone_mm = least(way, FAR_MM + radius, |at, most| self.bone.distance_mm(at, most)) - radius;
        let mut found = Found { vessel_mm, eloquent_mm, bone_mm, pressed_mm: 0.0, rise: f64::INFINITY };
        let mut carved: Vec<Point3<f64>> = Vec::new();
        for (pose, energised) in way {
            let (tip, back) = shaft(pose);
            if self.depth_mm(&tip) > -OUTSIDE_MM {
                found.rise = found.rise.min(back.dot(&self.craniotomy.outward));
            }
            if *energised {
                carved.push(tip);
                continue;
            }
            for n in 0..=(IN_HEAD_MM / BALL_MM) as usize {
                let pressed = self.pressed_mm(&(tip + back * (n as f64 * BALL_MM)), &carved);
                found.pressed_mm = found.pressed_mm.max(pressed);
            }
        }
        found
    }

    /// How deep a ball of the shaft is pressed into tissue that stands.
    fn pressed_mm(&self, at: &Point3<f64>, carved: &[Point3<f64>]) -> f64 {
        let to_solid = self.solid.distance_mm(at, self.radius_mm);
        let off = if to_solid > 0.0 { to_solid } else { -self.open.distance_mm(at, FAR_MM) };
        let depth = self.radius_mm - off;
        if depth <= 0.0 || carved.is_empty() {
            return depth;
        }
        let nearest = carved.iter().map(|p| nalgebra::distance(p, at)).fold(f64::INFINITY, f64::min);
        depth.min(self.radius_mm + nearest - REMOVED_MM)
    }

    fn near_vessels(&self, way: &[Passed]) -> Vec<Capsule> {
        let ends = way.iter().map(|(pose, _)| shaft(pose)).flat_map(|(tip, back)| [tip, tip + back * IN_HEAD_MM]);
        let ends: Vec<Point3<f64>> = ends.collect();
        let Some(first) = ends.first() else { return Vec::new() };
        let (low, high) = ends.iter().fold((*first, *first), |(l, h), p| (l.inf(p), h.sup(p)));
        let near = |c: &&Capsule| {
            let room = FAR_MM + c.radius_mm;
            (0..3).all(|a| c.start[a].min(c.end[a]) <= high[a] + room && c.start[a].max(c.end[a]) >= low[a] - room)
        };
        self.vessels.iter().filter(near).cloned().collect()
    }

    /// Vessels that are forbidden.
    #[must_use]
    pub fn vessels(&self) -> &[Capsule] {
        &self.vessels
    }

    /// Centres of eloquent cubes at the surface.
    pub fn eloquent(&self) -> impl Iterator<Item = &Point3<f64>> {
        self.eloquent.cells.iter().flatten()
    }
}

/// The tip, and the direction from it up the shaft.
fn shaft(pose: &Isometry3<f64>) -> (Point3<f64>, Vector3<f64>) {
    (Point3::from(pose.translation.vector), -(pose.rotation * Vector3::z()))
}

/// The least of a distance over all balls of all poses. A ball's neighbours are no nearer than it is, less the way to them: those
/// that cannot be nearer than the nearest so far are passed over.
fn least(way: &[Passed], most: f64, distance: impl Fn(&Point3<f64>, f64) -> f64) -> f64 {
    /// So far beyond the nearest is looked, to know how many to pass over.
    const BEYOND_MM: f64 = 3.0;
    let mut best = most;
    for (pose, _) in way {
        let (tip, back) = shaft(pose);
        let mut along = 0.0;
        while along <= IN_HEAD_MM {
            let here = distance(&(tip + back * along), (best + BEYOND_MM).max(0.0));
            best = best.min(here);
            along += (here - best).max(BALL_MM);
        }
    }
    best
}

/// Distance of a point from the line between a corridor's ends, which goes on at the entry.
fn about_the_way(corridor: &Corridor, at: &Point3<f64>) -> f64 {
    let axis = corridor.target - corridor.entry;
    let along = ((at - corridor.entry).dot(&axis) / axis.norm_squared()).clamp(-0.5, 1.5);
    nalgebra::distance(at, &(corridor.entry + axis * along))
}

/// Every pose along waypoints, straight from one to the next, in the waypoints' coordinates; `true_from` takes them to others.
#[must_use]
pub fn along(start: &Isometry3<f64>, waypoints: &[Waypoint], true_from: &Isometry3<f64>) -> Vec<Passed> {
    let mut way = vec![(true_from * start, false)];
    let mut from = *start;
    for waypoint in waypoints {
        let to = *waypoint.patient_from_tip.isometry();
        let far = (to.translation.vector - from.translation.vector).norm()
            + from.rotation.angle_to(&to.rotation) * IN_HEAD_MM;
        let steps = (far / STEP_MM).ceil().max(1.0) as usize;
        for n in 1..=steps {
            let share = n as f64 / steps as f64;
            let place = from.translation.vector + (to.translation.vector - from.translation.vector) * share;
            let rotation = from.rotation.try_slerp(&to.rotation, share, 1e-9).unwrap_or(to.rotation);
            let pose = Isometry3::from_parts(Translation3::from(place), rotation);
            way.push((true_from * pose, waypoint.energy.ultrasound));
        }
        from = to;
    }
    way
}

/// The smallest singular value of the flange's Jacobian, mm/rad, a radian weighed like 300 mm: by differences of positions.
#[must_use]
pub fn dexterity_mm(arm: &ArmModel, joints: &Joints) -> f64 {
    const H: f64 = 1e-5;
    let here = *arm.forward(joints).isometry();
    let mut jacobian = DMatrix::zeros(6, joints.count());
    for j in 0..joints.count() {
        let mut moved = *joints;
        moved.as_mut_slice()[j] += H;
        let there = *arm.forward(&moved).isometry();
        let way = (there.translation.vector - here.translation.vector) / H;
        let turn = (there.rotation * here.rotation.inverse()).scaled_axis() / H * 300.0;
        for a in 0..3 {
            jacobian[(a, j)] = way[a];
            jacobian[(a + 3, j)] = turn[a];
        }
    }
    jacobian.svd(false, false).singular_values.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_cube_is_that_of_all_of_them() {
        let centres: Vec<Point3<f64>> = (0..400)
            .map(|n| {
                let t = f64::from(n);
                Point3::new(
                    (12.0 * (t * 0.7).sin()).round(),
                    (9.0 * (t * 1.3).cos()).round(),
                    (15.0 * (t * 0.31).sin()).round(),
                )
            })
            .collect();
        let cubes = Cubes::of(centres.iter().copied());
        for n in 0..300 {
            let t = f64::from(n);
            let at = Point3::new(20.0 * (t * 0.9).cos(), 22.0 * (t * 0.37).sin(), 20.0 * (t * 0.53).cos());
            let brute =
                centres.iter().map(|c| (at - c).map(|d| (d.abs() - 0.5).max(0.0)).norm()).fold(FAR_MM, f64::min);
            let found = cubes.distance_mm(&at, FAR_MM);
            assert!((found - brute).abs() < 1e-12, "{at}: {found} {brute}");
        }
    }
}
