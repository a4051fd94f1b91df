//! Vessels: arteries and veins as trees of capsules, on the brain's surface and in its depth.
//!
//! Stems run where anatomy puts them ([`course`]); from their ends trees grow into their territories by
//! constrained constructive optimisation ([`tree`]); some arteries of the surface send perforators into the
//! white matter. Where a vessel branches, r^γ = Σ rᵢ^γ (C. D. Murray, PNAS 12, 1926, with γ = 3; here γ is
//! drawn from 2.7 to 3). They keep away from the tumour's core, as vessels that a growing mass displaces
//! do, and stems are moved out of its way. **Units and frame:** mm, patient LPS. **Not modelled:** the
//! tumour's own vessels, flow, the sinuses, the vessels of the cerebellum, arteries thinner than 0.1 mm, and that
//! arteries and veins give way to each other.

mod course;
mod ground;
mod tree;

use crate::anatomy::head::{Head, tissue};
use crate::random::Draws;
use bregma_core::flow::Capsule;
use course::{Bed, COURSES, Calibre, Course};
use ground::Ground;
use nalgebra::{Point3, Vector3};
use tree::Tree;

/// Vessels from that diameter are forbidden structures, and what the scans show.
pub const FORBIDDEN_DIAMETER_MM: f64 = 1.0;
/// Longest piece.
const PIECE_MM: f64 = 8.0;
/// Murray's exponent is drawn from that range.
const EXPONENT: [f64; 2] = [2.7, 3.0];
/// A terminal's flow beside the mean of its tree.
const UNEVEN: [f64; 2] = [0.6, 1.4];
/// Tries for each terminal.
const TRIES: usize = 12;
/// Share of the surface's terminal arteries that send perforators down.
const PERFORATING: f64 = 0.35;
/// How deep those reach, mm.
const PERFORATOR_MM: [f64; 2] = [8.0, 24.0];
/// Thinnest perforator, radius mm.
const THINNEST_MM: f64 = 0.05;

/// Which way its blood flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VesselKind {
    /// To the brain.
    Artery,
    /// From it.
    Vein,
}

/// What a piece of a vessel belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Branch {
    pub kind: VesselKind,
    /// The piece that it goes on from, nearer to the heart or the sinus; `None` where a tree starts.
    pub parent: Option<usize>,
}

/// Every vessel of a head.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vasculature {
    pub pieces: Vec<Capsule>,
    /// Of each piece.
    pub branches: Vec<Branch>,
}

/// Grows every tree. `core_mm` is the distance of a point from the tumour's core.
pub(crate) fn grow(
    head: &Head,
    draws: &mut Draws,
    clearance_mm: f64,
    core_mm: &dyn Fn(&Point3<f64>) -> f64,
) -> Vasculature {
    let ground = Ground { head, core_mm, clearance_mm };
    let exponent = draws.uniform(EXPONENT[0], EXPONENT[1]);
    let surface = surface(head);
    let mut grown = Vasculature { pieces: Vec::new(), branches: Vec::new() };
    for side in [-1.0, 1.0] {
        let mut stems: Vec<Option<Stem<'_>>> = Vec::with_capacity(COURSES.len());
        for course in &COURSES {
            let stem = Stem::grow(&ground, draws, course, side, exponent, &stems, &surface);
            stems.push(stem);
        }
        grown.take(&ground, draws, &stems, exponent);
    }
    grown
}

/// Points of the brain's surface, with their MNI coordinates.
fn surface(head: &Head) -> Vec<(Point3<f64>, Vector3<f64>)> {
    let shell = |i: &usize| (0.0..2.0).contains(&head.depth[*i]);
    // Every third is plenty.
    let at = (0..head.coarse.len()).filter(shell).step_by(3).map(|i| head.coarse.centre(head.coarse.voxel(i)));
    at.map(|p| (p, head.warp.mni_ras(&p))).collect()
}

/// A stem in a head, with the tree at its end.
struct Stem<'a> {
    course: &'a Course,
    points: Vec<Point3<f64>>,
    /// The most that its tree and the stems that leave it may carry.
    wanted: f64,
    tree: Tree<'a>,
}

impl<'a> Stem<'a> {
    fn grow(
        ground: &'a Ground<'a>,
        draws: &mut Draws,
        course: &'a Course,
        side: f64,
        exponent: f64,
        earlier: &[Option<Self>],
        surface: &[(Point3<f64>, Vector3<f64>)],
    ) -> Option<Self> {
        let diameter_mm = match course.calibre {
            Calibre::DiameterMm(low, high) => draws.log_uniform(low, high),
            Calibre::Share(_) => 0.0,
        };
        let above = course.from.map(|n| earlier[n].as_ref());
        let wanted = match (&course.calibre, above) {
            (Calibre::Share(share), Some(above)) => above?.wanted * share,
            _ => libm::pow(0.5 * diameter_mm, exponent),
        };
        let radius_mm = libm::pow(wanted, 1.0 / exponent);
        let mut points = Vec::new();
        for (n, [x, y, z]) in course.stem.iter().enumerate() {
            // It starts where the one above ends, wherever the tumour has moved that.
            let start = if n == 0 { above.flatten().and_then(|a| a.points.last()) } else { None };
            let at = match start {
                Some(at) => *at,
                None => ground.displaced(ground.head.warp.patient([side * x, *y, *z]), radius_mm)?,
            };
            points.push(at);
        }
        let last = points.pop()?;
        points.push(if course.stem.len() == 1 || course.bed != Bed::Deep {
            ground.settle(course.bed, last)
        } else {
            last
        });
        let way: Vec<Point3<f64>> = points.windows(2).flat_map(|leg| ground.way(Bed::Deep, &leg[0], &leg[1])).collect();
        let free = |at: &Point3<f64>| (ground.core_mm)(at) >= ground.needed_mm(radius_mm);
        if !points.iter().chain(&way).all(free) {
            return None;
        }
        let root = *points.last()?;
        let mut stem = Self { course, points, wanted, tree: Tree::new(ground, course.bed, root, exponent) };
        stem.fill(ground, draws, side, surface);
        Some(stem)
    }

    /// Grows the tree into its territory.
    fn fill(&mut self, ground: &Ground<'_>, draws: &mut Draws, side: f64, surface: &[(Point3<f64>, Vector3<f64>)]) {
        let course = self.course;
        if course.terminals == 0 {
            return;
        }
        let own = |(_, mni): &&(Point3<f64>, Vector3<f64>)| mni.x * side > 0.0 && course.serves(mni);
        let pial: Vec<Point3<f64>> = match course.bed {
            Bed::Pial => surface.iter().filter(own).map(|(at, _)| *at).collect(),
            Bed::Medial | Bed::Deep => Vec::new(),
        };
        if course.bed == Bed::Pial && pial.is_empty() {
            return;
        }
        let mean = self.wanted / course.terminals as f64;
        let mut left = self.wanted;
        // Terminals keep a distance that shrinks as tries fail.
        let mut apart_mm = 16.0;
        for _ in 0..TRIES * course.terminals {
            let flow = (mean * draws.uniform(UNEVEN[0], UNEVEN[1])).min(left);
            let at = match course.bed {
                Bed::Pial => ground.settle(Bed::Pial, pial[draws.below(pial.len())]),
                Bed::Medial | Bed::Deep => {
                    let [low, high] = course.territory;
                    let [x, y, z] = std::array::from_fn(|a| draws.uniform(low[a], high[a]));
                    let mni = Vector3::new(side * x, y, z);
                    if !course.serves(&mni) {
                        continue;
                    }
                    ground.settle(course.bed, ground.head.warp.patient(mni.into()))
                }
            };
            if self.tree.distance_mm(&at) < apart_mm || !self.tree.join(at, flow) {
                apart_mm *= 0.95;
                continue;
            }
            left -= flow;
            // What is left would make no terminal of its own.
            if left < 0.5 * UNEVEN[0] * mean {
                break;
            }
        }
    }
}

impl Vasculature {
    /// Takes one side's stems and trees, parents before children.
    fn take(&mut self, ground: &Ground<'_>, draws: &mut Draws, stems: &[Option<Stem<'_>>], exponent: f64) {
        let mut flows: Vec<f64> = stems.iter().map(|s| s.as_ref().map_or(0.0, |s| s.tree.flow())).collect();
        // Stems that leave others come later in the table.
        for (n, stem) in stems.iter().enumerate().rev() {
            if let Some(from) = stem.as_ref().and_then(|s| s.course.from) {
                flows[from] += flows[n];
            }
        }
        let mut ends: Vec<Option<usize>> = vec![None; stems.len()];
        for (n, stem) in stems.iter().enumerate() {
            let Some(stem) = stem.as_ref().filter(|_| flows[n] > 0.0) else { continue };
            let radius_mm = libm::pow(flows[n], 1.0 / exponent);
            let mut end = stem.course.from.and_then(|from| ends[from]);
            for leg in stem.points.windows(2) {
                end = self.push(&ground.way(Bed::Deep, &leg[0], &leg[1]), radius_mm, stem.course.kind, end);
            }
            ends[n] = end;
            self.take_tree(ground, draws, stem, end, exponent);
        }
    }

    fn take_tree(
        &mut self,
        ground: &Ground<'_>,
        draws: &mut Draws,
        stem: &Stem<'_>,
        root: Option<usize>,
        exponent: f64,
    ) {
        let segments = &stem.tree.segments;
        let children = |of: Option<usize>| (0..segments.len()).filter(move |n| segments[*n].parent == of);
        let mut next: Vec<(usize, Option<usize>)> = children(None).map(|n| (n, root)).collect();
        while let Some((n, above)) = next.pop() {
            let s = &segments[n];
            let way = ground.way(stem.course.bed, &s.from, &s.to);
            let end = self.push(&way, libm::pow(s.flow, 1.0 / exponent), stem.course.kind, above);
            let below = next.len();
            next.extend(children(Some(n)).map(|c| (c, end)));
            let terminal =
                next.len() == below && stem.course.bed == Bed::Pial && stem.course.kind == VesselKind::Artery;
            if terminal && draws.uniform(0.0, 1.0) < PERFORATING {
                self.perforate(ground, draws, &s.to, s.flow, end, exponent);
            }
        }
    }

    /// Two perforators that share a terminal's flow and dive into the white matter.
    fn perforate(
        &mut self,
        ground: &Ground<'_>,
        draws: &mut Draws,
        at: &Point3<f64>,
        flow: f64,
        above: Option<usize>,
        exponent: f64,
    ) {
        let share = draws.uniform(0.3, 0.7);
        let mut dives = Vec::new();
        for part in [share, 1.0 - share] {
            let inward = -ground.head.outward(at) + draws.direction() * 0.35;
            let depth_mm = draws.uniform(PERFORATOR_MM[0], PERFORATOR_MM[1]);
            let Some(inward) = inward.try_normalize(1e-6) else { return };
            let way = ground.way(Bed::Deep, at, &(at + inward * depth_mm));
            let radius_mm = libm::pow(flow * part, 1.0 / exponent);
            let clear = ground.gap_mm(Bed::Deep, &way).is_some_and(|gap| gap >= ground.needed_mm(radius_mm));
            let ends_in_tissue =
                way.last().is_some_and(|end| matches!(ground.head.tissue_at(end), tissue::GREY | tissue::WHITE));
            if !clear || !ends_in_tissue || radius_mm < THINNEST_MM {
                return;
            }
            dives.push((way, radius_mm));
        }
        for (way, radius_mm) in dives {
            self.push(&way, radius_mm, VesselKind::Artery, above);
        }
    }

    /// Adds a way's pieces; the last one's place.
    fn push(&mut self, way: &[Point3<f64>], radius_mm: f64, kind: VesselKind, above: Option<usize>) -> Option<usize> {
        let mut parent = above;
        for leg in way.windows(2) {
            self.pieces.push(Capsule { start: leg[0], end: leg[1], radius_mm });
            self.branches.push(Branch { kind, parent });
            parent = Some(self.pieces.len() - 1);
        }
        parent
    }

    /// Murray's exponent fitted to every branching: the median of the γ with r^γ = Σ rᵢ^γ. `None` where
    /// nothing branches.
    pub(crate) fn fitted_exponent(&self) -> Option<f64> {
        let mut children: Vec<Vec<f64>> = vec![Vec::new(); self.pieces.len()];
        for (piece, branch) in self.pieces.iter().zip(&self.branches) {
            if let Some(parent) = branch.parent {
                children[parent].push(piece.radius_mm);
            }
        }
        let branchings = self.pieces.iter().zip(&children).filter(|(_, c)| c.len() >= 2);
        let mut fits: Vec<f64> = branchings.filter_map(|(p, c)| exponent_of(p.radius_mm, c)).collect();
        fits.sort_by(f64::total_cmp);
        fits.get(fits.len() / 2).copied()
    }
}

/// γ with Σ (rᵢ/r)^γ = 1, by bisection between 0.5 and 20; `None` where a child is as wide as its parent.
fn exponent_of(radius_mm: f64, children_mm: &[f64]) -> Option<f64> {
    let (mut low, mut high) = (0.5, 20.0);
    let sum = |g: f64| children_mm.iter().map(|c| libm::pow(c / radius_mm, g)).sum::<f64>();
    if sum(low) <= 1.0 || sum(high) >= 1.0 {
        return None;
    }
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if sum(middle) > 1.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests;
