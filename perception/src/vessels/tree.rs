//! What was found: branches between nodes, and the capsules that stand for them.
//!
//! **Units and frame:** mm, patient LPS. Errors are one standard deviation; that of a position is across the branch,
//! along each of the two axes there. **Allocation:** as returned.

use bregma_core::flow::Capsule;
use nalgebra::Point3;

/// Longest capsule, mm.
const CAPSULE_MM: f64 = 8.0;
/// A capsule's axis is no farther than that from the points it stands for, mm.
const SAGITTA_MM: f64 = 0.15;
/// Radii along a capsule differ by no more than that share of their mean.
const TAPER: f64 = 0.15;

/// A place on a branch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Station {
    /// On the axis.
    pub at: Point3<f64>,
    /// Radius, mm.
    pub radius_mm: f64,
    /// Standard error of that, mm.
    pub radius_error_mm: f64,
    /// Standard error of the axis across the branch, mm.
    pub position_error_mm: f64,
}

/// A vessel from node to node.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// Where it starts and ends, in [`VesselTree::nodes`]; the same twice for a ring.
    pub nodes: [usize; 2],
    /// About half a millimetre apart, the first and the last at the nodes; two at least.
    pub stations: Vec<Station>,
    /// Whether its blood is clearly darker than that of the widest vessels: a vein's on an angiogram.
    pub faint: bool,
}

/// Vessels as a graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VesselTree {
    /// Ends and bifurcations; two branches meet where a third was refused.
    pub nodes: Vec<Point3<f64>>,
    /// Between them.
    pub branches: Vec<Branch>,
}

/// A piece of a vessel as a forbidden region takes it, with what is uncertain about it.
#[derive(Debug, Clone, PartialEq)]
pub struct VesselCapsule {
    /// Axis and mean radius.
    pub capsule: Capsule,
    /// Standard error of the radius, mm: the largest along it.
    pub radius_error_mm: f64,
    /// Standard error of the axis across it, mm: the largest along it, with what the straight axis cuts off.
    pub position_error_mm: f64,
}

impl Branch {
    /// From node to node.
    #[must_use]
    pub fn length_mm(&self) -> f64 {
        self.stations.windows(2).map(|w| nalgebra::distance(&w[0].at, &w[1].at)).sum()
    }
}

impl VesselTree {
    /// Of all branches.
    #[must_use]
    pub fn length_mm(&self) -> f64 {
        self.branches.iter().map(Branch::length_mm).sum()
    }

    /// How many branches end at each node: 1 at an end, 3 and more at a bifurcation.
    #[must_use]
    pub fn degrees(&self) -> Vec<usize> {
        let mut of = vec![0; self.nodes.len()];
        self.branches.iter().flat_map(|b| b.nodes).for_each(|n| of[n] += 1);
        of
    }

    /// Pieces that are straight and of one width, of branches whose diameter is at least `diameter_min_mm` there.
    #[must_use]
    pub fn capsules(&self, diameter_min_mm: f64) -> Vec<VesselCapsule> {
        let mut of = Vec::new();
        for branch in &self.branches {
            let mut first = 0;
            while first + 1 < branch.stations.len() {
                let longest = (first + 2..branch.stations.len()).take_while(|n| alike(&branch.stations[first..=*n]));
                let last = longest.last().unwrap_or(first + 1);
                of.push(capsule(&branch.stations[first..=last]));
                first = last;
            }
        }
        of.retain(|c| 2.0 * c.capsule.radius_mm >= diameter_min_mm);
        of
    }
}

/// Whether one capsule may stand for these.
fn alike(stations: &[Station]) -> bool {
    let (first, last) = (stations[0].at, stations[stations.len() - 1].at);
    let (low, high) =
        stations.iter().map(|s| s.radius_mm).fold((f64::INFINITY, 0.0_f64), |(l, h), r| (l.min(r), h.max(r)));
    nalgebra::distance(&first, &last) <= CAPSULE_MM
        && high - low <= TAPER * 0.5 * (high + low)
        && sagitta_mm(stations) <= SAGITTA_MM
}

/// Largest distance of a station from the straight line between the first and the last.
fn sagitta_mm(stations: &[Station]) -> f64 {
    let (start, end) = (stations[0].at, stations[stations.len() - 1].at);
    let axis = Capsule { start, end, radius_mm: 0.0 };
    stations.iter().map(|s| axis.distance_mm(&s.at)).fold(0.0, f64::max)
}

fn capsule(stations: &[Station]) -> VesselCapsule {
    let mean = stations.iter().map(|s| s.radius_mm).sum::<f64>() / stations.len() as f64;
    let largest = |of: fn(&Station) -> f64| stations.iter().map(of).fold(0.0, f64::max);
    VesselCapsule {
        capsule: Capsule { start: stations[0].at, end: stations[stations.len() - 1].at, radius_mm: mean },
        radius_error_mm: largest(|s| s.radius_error_mm),
        position_error_mm: largest(|s| s.position_error_mm).hypot(sagitta_mm(stations)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(at: impl Fn(f64) -> Point3<f64>, radius_mm: impl Fn(f64) -> f64) -> VesselTree {
        let station = |n: i32| {
            let t = 0.5 * f64::from(n);
            Station { at: at(t), radius_mm: radius_mm(t), radius_error_mm: 0.05 + 0.001 * t, position_error_mm: 0.1 }
        };
        let stations: Vec<Station> = (0..=60).map(station).collect();
        let nodes = vec![stations[0].at, stations[60].at];
        VesselTree { nodes, branches: vec![Branch { nodes: [0, 1], stations, faint: false }] }
    }

    #[test]
    fn a_straight_branch_becomes_few_capsules_and_a_bent_or_tapering_one_more() {
        let straight = tree(|t| Point3::new(t, 0.0, 0.0), |_| 1.0).capsules(1.0);
        assert_eq!(straight.len(), 4, "30 mm in pieces of at most 8");
        let bent = tree(|t| Point3::new(8.0 * (t / 8.0).sin(), 8.0 * (t / 8.0).cos(), 0.0), |_| 1.0);
        let capsules = bent.capsules(1.0);
        assert!((9..=15).contains(&capsules.len()), "{}", capsules.len());
        for station in &bent.branches[0].stations {
            let off = capsules.iter().map(|c| c.capsule.distance_mm(&station.at) + 1.0).fold(f64::INFINITY, f64::min);
            assert!(off <= SAGITTA_MM + 1e-9, "{off}");
        }
        assert!(capsules.iter().all(|c| c.position_error_mm >= 0.1 && c.radius_error_mm >= 0.05));
        let tapering = tree(|t| Point3::new(t, 0.0, 0.0), |t| 1.5 - t / 30.0);
        assert!(tapering.capsules(0.0).len() > 5);
        let wide = tapering.capsules(2.0);
        assert!(!wide.is_empty() && wide.iter().all(|c| c.capsule.radius_mm >= 1.0 && c.capsule.start.x < 15.0));
    }

    #[test]
    fn lengths_and_degrees_are_counted() {
        let tree = tree(|t| Point3::new(t, 0.0, 0.0), |_| 1.0);
        assert!((tree.length_mm() - 30.0).abs() < 1e-9);
        assert_eq!(tree.degrees(), [1, 1]);
    }
}
