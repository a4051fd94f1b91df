//! One tree, grown terminal by terminal: constrained constructive optimisation.
//!
//! W. Schreiner, P. F. Buxbaum, *Computer-optimization of vascular trees*, IEEE Trans. Biomed. Eng. 40
//! (1993); in three dimensions and with terminals of unequal flow R. Karch et al., Comput. Biol. Med. 29
//! (1999). Each new terminal joins the segment for which the tree's volume grows least, at the point of
//! bifurcation where it is least. **Units:** mm; a segment's *flow* is its radius to Murray's power,
//! r = flow^(1/γ), so that flows add up where vessels branch. **Departures:** radii come from flows alone
//! (no pressures); the point of bifurcation is the weighted geometric median of the three ends, by
//! Weiszfeld's iteration, put back onto the bed; of all segments the eight nearest are tried.

use crate::anatomy::vessels::course::Bed;
use crate::anatomy::vessels::ground::Ground;
use nalgebra::{Point3, Vector3};

/// Segments that a new terminal is tried on.
const TRIED: usize = 8;
/// Steps of Weiszfeld's iteration.
const MEDIAN_STEPS: usize = 12;
/// Shortest segment, mm.
const SHORTEST_MM: f64 = 1.5;

pub(super) struct Segment {
    pub from: Point3<f64>,
    pub to: Point3<f64>,
    pub flow: f64,
    pub parent: Option<usize>,
    /// Least distance from the core along it.
    gap_mm: f64,
}

pub(super) struct Tree<'a> {
    ground: &'a Ground<'a>,
    bed: Bed,
    root: Point3<f64>,
    exponent: f64,
    pub segments: Vec<Segment>,
}

/// A place to join: the segment, the point of bifurcation, and what the tree's volume grows by (in units of
/// π mm³).
struct Joint {
    segment: usize,
    at: Point3<f64>,
    cost: f64,
}

impl<'a> Tree<'a> {
    pub(super) const fn new(ground: &'a Ground<'a>, bed: Bed, root: Point3<f64>, exponent: f64) -> Self {
        Self { ground, bed, root, exponent, segments: Vec::new() }
    }

    pub(super) fn flow(&self) -> f64 {
        self.segments.iter().filter(|s| s.parent.is_none()).map(|s| s.flow).sum()
    }

    /// Distance of the nearest segment, mm.
    pub(super) fn distance_mm(&self, at: &Point3<f64>) -> f64 {
        self.segments.iter().map(|s| to_segment(at, s)).fold((at - self.root).norm(), f64::min)
    }

    /// Joins a terminal to the tree; `false` where no way to it is free.
    pub(super) fn join(&mut self, terminal: Point3<f64>, flow: f64) -> bool {
        if self.segments.is_empty() {
            let Some(gap_mm) = self.free(&self.root, &terminal, flow) else { return false };
            self.segments.push(Segment { from: self.root, to: terminal, flow, parent: None, gap_mm });
            return true;
        }
        let mut near: Vec<(f64, usize)> =
            self.segments.iter().enumerate().map(|(n, s)| (to_segment(&terminal, s), n)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut joints: Vec<Joint> =
            near.iter().take(TRIED).filter_map(|(_, n)| self.joint(*n, &terminal, flow)).collect();
        joints.sort_by(|a, b| a.cost.total_cmp(&b.cost));
        joints.iter().any(|joint| self.split(joint, terminal, flow))
    }

    /// Where that segment would best be left.
    fn joint(&self, segment: usize, terminal: &Point3<f64>, flow: f64) -> Option<Joint> {
        let s = &self.segments[segment];
        let weights = [s.flow + flow, s.flow, flow].map(|f| self.area(f));
        let ends = [s.from, s.to, *terminal];
        let at = self.ground.settle(self.bed, median(&ends, &weights));
        let lengths = ends.map(|end| (end - at).norm());
        if lengths.iter().any(|l| *l < SHORTEST_MM) {
            return None;
        }
        let local: f64 = lengths.iter().zip(weights).map(|(l, w)| l * w).sum();
        let mut cost = local - (s.to - s.from).norm() * weights[1];
        let mut up = s.parent;
        while let Some(n) = up {
            let above = &self.segments[n];
            let wider = self.area(above.flow + flow);
            if above.gap_mm < self.ground.needed_mm(wider.sqrt()) {
                return None;
            }
            cost += (above.to - above.from).norm() * (wider - self.area(above.flow));
            up = above.parent;
        }
        Some(Joint { segment, at, cost })
    }

    /// Splits a segment and lets the new terminal leave there, if all three ways are free.
    fn split(&mut self, joint: &Joint, terminal: Point3<f64>, flow: f64) -> bool {
        let (from, to, below) = {
            let s = &self.segments[joint.segment];
            (s.from, s.to, s.flow)
        };
        let gaps = (
            self.free(&from, &joint.at, below + flow),
            self.free(&joint.at, &to, below),
            self.free(&joint.at, &terminal, flow),
        );
        let (Some(gap_mm), Some(rest), Some(new)) = gaps else { return false };
        let mut up = self.segments[joint.segment].parent;
        while let Some(n) = up {
            self.segments[n].flow += flow;
            up = self.segments[n].parent;
        }
        let lower = self.segments.len();
        for s in &mut self.segments {
            if s.parent == Some(joint.segment) {
                s.parent = Some(lower);
            }
        }
        let parent = Some(joint.segment);
        let s = &mut self.segments[joint.segment];
        (s.to, s.flow, s.gap_mm) = (joint.at, below + flow, gap_mm);
        self.segments.push(Segment { from: joint.at, to, flow: below, parent, gap_mm: rest });
        self.segments.push(Segment { from: joint.at, to: terminal, flow, parent, gap_mm: new });
        true
    }

    /// Least distance of that way from the core where a vessel of that flow may take it.
    fn free(&self, from: &Point3<f64>, to: &Point3<f64>, flow: f64) -> Option<f64> {
        let gap = self.ground.gap_mm(self.bed, &self.ground.way(self.bed, from, to))?;
        (gap >= self.ground.needed_mm(self.area(flow).sqrt())).then_some(gap)
    }

    /// Radius squared.
    fn area(&self, flow: f64) -> f64 {
        libm::pow(flow, 2.0 / self.exponent)
    }
}

fn to_segment(at: &Point3<f64>, s: &Segment) -> f64 {
    let axis = s.to - s.from;
    let t = ((at - s.from).dot(&axis) / axis.norm_squared().max(1e-12)).clamp(0.0, 1.0);
    (at - (s.from + axis * t)).norm()
}

/// The point with the least weighted sum of distances from three others.
fn median(ends: &[Point3<f64>; 3], weights: &[f64; 3]) -> Point3<f64> {
    let total: f64 = weights.iter().sum();
    let mut at =
        Point3::from(ends.iter().zip(weights).fold(Vector3::zeros(), |sum, (p, w)| sum + p.coords * *w) / total);
    for _ in 0..MEDIAN_STEPS {
        let (mut sum, mut share) = (Vector3::zeros(), 0.0);
        for (end, weight) in ends.iter().zip(weights) {
            let w = weight / (end - at).norm().max(1e-6);
            sum += end.coords * w;
            share += w;
        }
        at = Point3::from(sum / share);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_meet_at_equal_angles() {
        let ends = [Point3::new(0.0, 10.0, 0.0), Point3::new(-6.0, 0.0, 0.0), Point3::new(6.0, 0.0, 0.0)];
        let at = median(&ends, &[1.0; 3]);
        // Fermat's point sees each side under 120°: it lies 6/√3 above the base.
        assert!((at - Point3::new(0.0, 6.0 / 3.0_f64.sqrt(), 0.0)).norm() < 0.05, "{at}");
        // A vessel that carries all the weight draws it to its own end.
        assert!(median(&ends, &[1.0, 0.1, 0.1]).y > 7.0);
    }
}
