//! Found vessels beside true ones: what was found, what is true of it, where it is, and how wide.
//!
//! True axes and found ones are walked in steps of a quarter of a millimetre. **Recall** is the share of true steps of
//! vessels of at least 1 mm diameter that have a found axis within 1 mm; **precision** is the share of found steps that
//! have a true axis within 1 mm, of any vessel that the scan shows at all. Diameters are compared at found steps next to
//! true ones. True steps next to the scan's border do not count. **Units:** mm, patient LPS.

use bregma_core::flow::{Capsule, Volume};
use bregma_patient::VesselKind;
use bregma_perception::vessels::{Station, VesselTree};
use nalgebra::{Matrix4, Point3};
use std::collections::BTreeMap;

/// From step to step, mm.
const STEP_MM: f64 = 0.25;
/// What is farther apart is not the same, mm.
const WITHIN_MM: f64 = 1.0;
/// Narrower vessels are not asked for, diameter mm.
const ASKED_MM: f64 = 1.0;
/// Narrower vessels show on no scan, diameter mm.
const SHOWN_MM: f64 = 0.45;
/// So near to the border, steps do not count, mm.
const BORDER_MM: f64 = 1.5;

/// A step along a true vessel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrueStep {
    /// Artery or vein.
    pub kind: VesselKind,
    /// Its diameter, mm.
    pub diameter_mm: f64,
    /// What was found of it.
    pub found: Option<FoundStep>,
}

/// What was found within reach of a true step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundStep {
    /// Distance of the axes, mm.
    pub off_mm: f64,
    /// Diameter, mm.
    pub diameter_mm: f64,
    /// Its standard error, mm.
    pub diameter_error_mm: f64,
    /// Standard error of the position, mm.
    pub position_error_mm: f64,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// Steps along true vessels of at least 1 mm.
    pub asked: Vec<TrueStep>,
    /// Found steps, and those of them beside a true vessel.
    pub found: [usize; 2],
}

/// Compares; the volume says where vessels could be found.
pub fn compare<'a>(
    volume: &Volume,
    tree: &VesselTree,
    truth: impl Iterator<Item = (VesselKind, &'a Capsule)>,
) -> Comparison {
    let stations: Vec<Station> = tree.branches.iter().flat_map(|b| walk(&b.stations)).collect();
    let found = Places::of(stations.iter().map(|s| s.at));
    let inside = Inside::of(volume);
    let mut of = Comparison::default();
    let mut axes = Vec::new();
    for (kind, vessel) in truth.filter(|(_, v)| 2.0 * v.radius_mm >= SHOWN_MM) {
        let diameter_mm = 2.0 * vessel.radius_mm;
        for at in steps(&vessel.start, &vessel.end) {
            axes.push(at);
            if diameter_mm >= ASKED_MM && inside.holds(&at) {
                let nearest = found.nearest(&at).map(|(n, off_mm)| (stations[n], off_mm));
                let found = nearest.map(|(s, off_mm)| FoundStep {
                    off_mm,
                    diameter_mm: 2.0 * s.radius_mm,
                    diameter_error_mm: 2.0 * s.radius_error_mm,
                    position_error_mm: s.position_error_mm,
                });
                of.asked.push(TrueStep { kind, diameter_mm, found });
            }
        }
    }
    let truth = Places::of(axes.into_iter());
    of.found = [stations.len(), stations.iter().filter(|s| truth.nearest(&s.at).is_some()).count()];
    of
}

/// Points along a straight axis.
fn steps(start: &Point3<f64>, end: &Point3<f64>) -> impl Iterator<Item = Point3<f64>> + use<> {
    let (start, way) = (*start, end - start);
    let count = (way.norm() / STEP_MM).ceil().max(1.0) as usize;
    (0..count).map(move |n| start + way * ((n as f64 + 0.5) / count as f64))
}

/// Stations at even steps between those of a branch.
fn walk(stations: &[Station]) -> Vec<Station> {
    let mut of = Vec::new();
    for pair in stations.windows(2) {
        let count = (nalgebra::distance(&pair[0].at, &pair[1].at) / STEP_MM).round().max(1.0);
        for n in 0..count as usize {
            let share = (n as f64 + 0.5) / count;
            let mix = |a: f64, b: f64| a + (b - a) * share;
            of.push(Station {
                at: pair[0].at + (pair[1].at - pair[0].at) * share,
                radius_mm: mix(pair[0].radius_mm, pair[1].radius_mm),
                radius_error_mm: mix(pair[0].radius_error_mm, pair[1].radius_error_mm),
                position_error_mm: mix(pair[0].position_error_mm, pair[1].position_error_mm),
            });
        }
    }
    of
}

/// Points in cubes as wide as the reach.
struct Places {
    points: Vec<Point3<f64>>,
    cubes: BTreeMap<[i64; 3], Vec<usize>>,
}

impl Places {
    fn of(points: impl Iterator<Item = Point3<f64>>) -> Self {
        let points: Vec<Point3<f64>> = points.collect();
        let mut cubes: BTreeMap<[i64; 3], Vec<usize>> = BTreeMap::new();
        points.iter().enumerate().for_each(|(n, p)| cubes.entry(cube(p)).or_default().push(n));
        Self { points, cubes }
    }

    /// The nearest point within reach, and how far it is.
    fn nearest(&self, at: &Point3<f64>) -> Option<(usize, f64)> {
        let [x, y, z] = cube(at);
        let around = (0..27).map(|n| [x + n % 3 - 1, y + n / 3 % 3 - 1, z + n / 9 - 1]);
        let near = around.filter_map(|c| self.cubes.get(&c)).flatten();
        let off = near.map(|n| (*n, nalgebra::distance(&self.points[*n], at))).filter(|(_, d)| *d <= WITHIN_MM);
        off.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

fn cube(at: &Point3<f64>) -> [i64; 3] {
    std::array::from_fn(|a| (at[a] / WITHIN_MM).floor() as i64)
}

/// What a volume shows, less its border.
struct Inside {
    voxel_from_patient: Option<Matrix4<f64>>,
    dims: [usize; 3],
    border: [f64; 3],
}

impl Inside {
    fn of(volume: &Volume) -> Self {
        let edge = |a: usize| volume.patient_from_voxel.fixed_view::<3, 1>(0, a).norm();
        Self {
            voxel_from_patient: volume.patient_from_voxel.try_inverse(),
            dims: volume.dims,
            border: std::array::from_fn(|a| BORDER_MM / edge(a)),
        }
    }

    fn holds(&self, at: &Point3<f64>) -> bool {
        self.voxel_from_patient.is_some_and(|m| {
            let voxel = m.transform_point(at);
            (0..3).all(|a| voxel[a] >= self.border[a] && voxel[a] <= self.dims[a] as f64 - 1.0 - self.border[a])
        })
    }
}

impl Comparison {
    /// Adds another patient's.
    pub fn add(&mut self, other: Self) {
        self.asked.extend(other.asked);
        self.found.iter_mut().zip(other.found).for_each(|(sum, n)| *sum += n);
    }

    /// Share of the true steps of a kind that were found; none where there are none.
    #[must_use]
    pub fn recall(&self, kind: VesselKind) -> Option<f64> {
        let of = self.asked.iter().filter(|s| s.kind == kind);
        share(of.clone().filter(|s| s.found.is_some()).count(), of.count())
    }

    /// Share of the found steps that are true; none where nothing was found.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        share(self.found[1], self.found[0])
    }

    /// Found steps of true vessels of a kind, of diameters from one to below another, mm.
    pub fn matched(&self, kind: VesselKind, [low, high]: [f64; 2]) -> impl Iterator<Item = (f64, FoundStep)> + '_ {
        let wanted = move |s: &&TrueStep| s.kind == kind && s.diameter_mm >= low && s.diameter_mm < high;
        self.asked.iter().filter(wanted).filter_map(|s| Some((s.diameter_mm, s.found?)))
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The middle value; none of nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::Modality;
    use bregma_core::frame::FrameId;
    use bregma_core::time::Instant;
    use bregma_perception::vessels::Branch;

    /// A straight vessel along x, found so far off it, of a true diameter of 2 mm.
    fn compared(off_mm: f64, diameter_mm: f64) -> Comparison {
        let station = |x: i32| Station {
            at: Point3::new(f64::from(x), 10.0 + off_mm, 10.0),
            radius_mm: 0.5 * diameter_mm,
            radius_error_mm: 0.1,
            position_error_mm: 0.1,
        };
        let branch = Branch { nodes: [0, 1], stations: (0..=20).map(station).collect(), faint: false };
        let nodes = vec![branch.stations[0].at, branch.stations[20].at];
        let volume = Volume {
            modality: Modality::Mra,
            dims: [21; 3],
            intensities: Vec::new(),
            patient_from_voxel: Matrix4::identity(),
            frame: FrameId::SOLE,
            acquired: Instant::START,
            shift: None,
        };
        let truth = Capsule { start: Point3::new(0.0, 10.0, 10.0), end: Point3::new(20.0, 10.0, 10.0), radius_mm: 1.0 };
        let thin = Capsule { start: Point3::new(0.0, 5.0, 5.0), end: Point3::new(20.0, 5.0, 5.0), radius_mm: 0.1 };
        let truth = [(VesselKind::Artery, &truth), (VesselKind::Vein, &thin)];
        compare(&volume, &VesselTree { nodes, branches: vec![branch] }, truth.into_iter())
    }

    #[test]
    fn what_is_near_is_found_and_what_is_far_is_not() {
        let near = compared(0.5, 2.4);
        assert_eq!(near.asked.len(), 68, "17 mm of 20, less the border, in steps of a quarter");
        assert_eq!((near.recall(VesselKind::Artery), near.recall(VesselKind::Vein)), (Some(1.0), None));
        assert_eq!(near.precision(), Some(1.0));
        let matched: Vec<_> = near.matched(VesselKind::Artery, [1.0, 3.0]).collect();
        assert!(matched.iter().all(|(t, f)| (f.diameter_mm / t - 1.2).abs() < 1e-9 && (f.off_mm - 0.5).abs() < 0.01));
        let far = compared(1.5, 2.0);
        assert_eq!((far.recall(VesselKind::Artery), far.precision()), (Some(0.0), Some(0.0)));
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(Vec::new())), (Some(2.0), None));
    }
}
