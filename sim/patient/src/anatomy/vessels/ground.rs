//! The ground that vessels grow on: the head's surfaces, and the tumour that they keep away from.

use crate::anatomy::head::{Head, tissue};
use crate::anatomy::vessels::course::Bed;
use crate::anatomy::vessels::{FORBIDDEN_DIAMETER_MM, PIECE_MM};
use nalgebra::{Point3, Vector3};

/// Depth at which surface vessels run.
const SURFACE_DEPTH_MM: f64 = 0.5;
/// Distance of the fissure's walls from the midline.
const MEDIAL_MM: f64 = 2.5;
/// Distance of thin vessels from the core.
const THIN_CLEARANCE_MM: f64 = 1.5;
/// How far a stem may be displaced by the tumour, in steps of what is missing.
const PUSHES: usize = 8;

pub(super) struct Ground<'a> {
    pub head: &'a Head,
    /// Distance of a point from the tumour's core, mm.
    pub core_mm: &'a dyn Fn(&Point3<f64>) -> f64,
    /// What vessels of 1 mm or more keep from it, mm.
    pub clearance_mm: f64,
}

impl Ground<'_> {
    /// The distance from the core that a vessel of that radius keeps with its axis, mm.
    pub(super) fn needed_mm(&self, radius_mm: f64) -> f64 {
        let wide = 2.0 * radius_mm >= FORBIDDEN_DIAMETER_MM;
        radius_mm + if wide { self.clearance_mm } else { THIN_CLEARANCE_MM }
    }

    /// The point of the bed near a point.
    pub(super) fn settle(&self, bed: Bed, mut at: Point3<f64>) -> Point3<f64> {
        match bed {
            Bed::Deep => {}
            Bed::Pial => {
                for _ in 0..6 {
                    let off = (self.head.depth_mm(&at) - SURFACE_DEPTH_MM).clamp(-10.0, 10.0);
                    if off.abs() < 0.2 {
                        break;
                    }
                    at += self.head.outward(&at) * off;
                }
            }
            Bed::Medial => {
                // LPS: +x is the left, which is −x in RAS.
                for _ in 0..3 {
                    let mni = self.head.warp.mni_ras(&at);
                    at.x += mni.x - MEDIAL_MM.copysign(mni.x);
                }
            }
        }
        at
    }

    /// Whether a vessel may run there, the tumour aside.
    pub(super) fn holds(&self, bed: Bed, at: &Point3<f64>) -> bool {
        match bed {
            Bed::Pial => (-1.0..4.0).contains(&self.head.depth_mm(at)),
            Bed::Medial | Bed::Deep => self.head.tissue_at(at) != tissue::OUTSIDE,
        }
    }

    /// The way between two points of a bed in pieces of at most [`PIECE_MM`], both ends included.
    pub(super) fn way(&self, bed: Bed, from: &Point3<f64>, to: &Point3<f64>) -> Vec<Point3<f64>> {
        let pieces = ((to - from).norm() / PIECE_MM).ceil().max(1.0) as usize;
        let inner = (1..pieces).map(|n| self.settle(bed, from + (to - from) * (n as f64 / pieces as f64)));
        std::iter::once(*from).chain(inner).chain([*to]).collect()
    }

    /// Least distance of a way from the core, mm; `None` where it leaves its bed.
    pub(super) fn gap_mm(&self, bed: Bed, way: &[Point3<f64>]) -> Option<f64> {
        let mut least = f64::INFINITY;
        for leg in way.windows(2) {
            let middle = nalgebra::center(&leg[0], &leg[1]);
            if !self.holds(bed, &middle) || !self.holds(bed, &leg[1]) {
                return None;
            }
            // No point of the leg is farther than a quarter of it from the three that are looked at.
            let near = [leg[0], middle, leg[1]].iter().map(|at| (self.core_mm)(at)).fold(f64::INFINITY, f64::min);
            least = least.min(near - 0.25 * (leg[1] - leg[0]).norm());
        }
        Some(least)
    }

    /// A stem's point displaced by the tumour until it is far enough; `None` where it does not get there.
    pub(super) fn displaced(&self, mut at: Point3<f64>, radius_mm: f64) -> Option<Point3<f64>> {
        let needed = self.needed_mm(radius_mm) + 0.25 * PIECE_MM;
        for _ in 0..PUSHES {
            let missing = needed - (self.core_mm)(&at);
            if missing <= 0.0 {
                return Some(at);
            }
            let slope = |a: usize| {
                let mut e = Vector3::zeros();
                e[a] = 1.0;
                (self.core_mm)(&(at + e)) - (self.core_mm)(&(at - e))
            };
            at += Vector3::new(slope(0), slope(1), slope(2)).try_normalize(1e-9)? * (missing + 0.2);
        }
        None
    }
}
