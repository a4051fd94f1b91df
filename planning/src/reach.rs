//! Where a straight instrument through one pivot can stand.
//!
//! The shaft is a cylinder whose axis passes through one pivot, in the corridor's opening or a little above it;
//! so a tip's position alone fixes its direction. Of one opening there are several pivots ([`Reach::pivots`]): through
//! its middle most is reached, from beside it what lies under the opposite wall. Roll: the rotation from the corridor's axis to the tip's direction is the least one, and
//! the orientation on the axis is fitted to the present tip; so orientation varies smoothly, and a closed
//! loop comes back to the roll that it started with. Square roots only, no transcendental function.
//!
//! **Not protected against:** an entry that moves with the brain; the validator checks the real rim.

use crate::field::{At, Field};
use crate::planner::View;
use crate::settings::GreedySettings;
use bregma_core::flow::{Anatomy, Corridor, Craniotomy};
use bregma_core::frame::{Patient, Pose, Tip};
use nalgebra::{Isometry3, Point3, Quaternion, Translation3, UnitQuaternion, Vector3};
use std::sync::Arc;

/// Tips closer to the pivot than this are led along the corridor's axis only, mm: nearer, a small step
/// would be a large turn.
pub(crate) const NEAR_MM: f64 = 8.0;
/// Above the craniotomy's plane by this much, the tip is outside the head, mm.
pub(crate) const FREE_MM: f64 = 5.0;
/// How far the part of the tip ahead of the open may be off by the voxels' edges, mm.
pub(crate) const OPEN_FROM_MM: f64 = 0.6;
/// Distance between samples along the shaft, mm: less than a voxel.
const SAMPLE_MM: f64 = 1.0;
/// How far above the pivot the shaft is checked, mm: to the end of any fine region.
const ABOVE_MM: f64 = 60.0;

/// What keeps a shaft from a place, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The craniotomy's rim, or the pivot is too near.
    Rim,
    /// A forbidden region.
    Forbidden,
    /// Tissue that is still there.
    Tissue,
}

/// The pivot and what surrounds it.
#[derive(Debug)]
pub(crate) struct Reach {
    pub field: Arc<Field>,
    pub pivot: Point3<f64>,
    pub axis: Vector3<f64>,
    corridor: Corridor,
    craniotomy: Craniotomy,
    rim_mm: f64,
    shaft_least: u8,
    cut_least: u8,
    cut_least_between: u8,
    reference: UnitQuaternion<f64>,
    tip: Pose<Patient, Tip>,
}

/// The corridor's axis from the entry into the head; `None` when the entry is the target.
pub(crate) fn corridor_axis(anatomy: &Anatomy) -> Option<Vector3<f64>> {
    (anatomy.corridor.target - anatomy.corridor.entry).try_normalize(1e-6)
}

/// Pivots beside the middle one, on each of two circles.
const BESIDE: [[f64; 2]; 8] = {
    const D: f64 = std::f64::consts::FRAC_1_SQRT_2;
    [[1.0, 0.0], [D, D], [0.0, 1.0], [-D, D], [-1.0, 0.0], [-D, -D], [0.0, -1.0], [D, -D]]
};
/// Radii of the circles, in shares of what the opening leaves free.
const CIRCLES: [f64; 2] = [0.55, 1.0];
/// Kept free between the shaft and the opening's edge at the pivot, mm.
const EDGE_MM: f64 = 1.0;

/// The middle of the opening, or above it where the corridor is too short for a tip to stand [`NEAR_MM`] below the entry in
/// the open; then points beside it, nearer ones first.
fn pivots(corridor: &Corridor, axis: &Vector3<f64>, shaft_radius_mm: f64) -> Vec<Point3<f64>> {
    let middle = corridor.entry - axis * (NEAR_MM + 1.0 - corridor.open_mm).max(0.0);
    let free = (corridor.entry_radius_mm - shaft_radius_mm - EDGE_MM).max(0.0);
    let [u, v] = across(axis);
    let circle = |share: f64| BESIDE.map(|[x, y]| middle + (u * x + v * y) * (free * share));
    std::iter::once(middle).chain(CIRCLES.into_iter().flat_map(circle)).collect()
}

/// Two directions across an axis, at right angles.
pub(crate) fn across(axis: &Vector3<f64>) -> [Vector3<f64>; 2] {
    let other = if axis.x.abs() < 0.6 { Vector3::x() } else { Vector3::y() };
    let first = axis.cross(&other).normalize();
    [first, axis.cross(&first)]
}

/// Farthest forbidden voxel that matters, mm.
fn forbidden_reach_mm(shaft_mm: f64, settings: &GreedySettings, spacing_mm: f64) -> f64 {
    settings.removal_mm.max(shaft_mm) + settings.standoff_mm + spacing_mm
}

impl Reach {
    /// Through each pivot of the corridor's opening, the middle one first.
    pub fn pivots(view: &View<'_>, axis: Vector3<f64>, settings: &GreedySettings) -> Vec<Self> {
        let reach_mm = forbidden_reach_mm(view.shaft_radius_mm, settings, view.scene.grid.spacing_mm);
        let field = Arc::new(Field::new(view.scene, view.anatomy, &axis, reach_mm));
        let pivots = pivots(&view.anatomy.corridor, &axis, view.shaft_radius_mm);
        pivots.into_iter().map(|pivot| Self::through(pivot, Arc::clone(&field), view, axis, settings)).collect()
    }

    fn through(
        pivot: Point3<f64>,
        field: Arc<Field>,
        view: &View<'_>,
        axis: Vector3<f64>,
        settings: &GreedySettings,
    ) -> Self {
        let (half, half_diagonal) = (0.5 * field.grid.spacing_mm, field.half_diagonal_mm());
        let (shaft, cut) = (view.shaft_radius_mm, settings.removal_mm);
        // At a voxel's centre: radius, standoff and the forbidden voxel's own half edge. Elsewhere the
        // centre of the holding voxel may be half a diagonal farther away, and a sample 0.05 mm.
        let cut_least = field.least(cut + settings.standoff_mm + half);
        let orientation = view.tip.isometry().rotation;
        let [shaft_least, cut_least, cut_least_between] = [
            field.least((shaft + settings.standoff_mm + half).max(shaft + half_diagonal)),
            cut_least,
            field.least(cut + half_diagonal + 0.05).max(cut_least),
        ];
        Self {
            field,
            pivot,
            axis,
            corridor: view.anatomy.corridor,
            craniotomy: view.anatomy.craniotomy,
            rim_mm: view.anatomy.craniotomy.radius_mm - shaft - settings.rim_clearance_mm,
            shaft_least,
            cut_least,
            cut_least_between,
            reference: least_turn(&view.tip.z_axis(), &axis) * orientation,
            tip: view.tip,
        }
    }

    /// The pose of a tip that points along `toward`.
    pub fn pose(&self, at: &Point3<f64>, toward: &Vector3<f64>) -> Option<Pose<Patient, Tip>> {
        let rotation = least_turn(&self.axis, toward) * self.reference;
        Pose::between(self.tip.to, self.tip.from, Isometry3::from_parts(Translation3::from(at.coords), rotation)).ok()
    }

    /// Direction and distance of a tip from the pivot.
    pub fn polar(&self, at: &Point3<f64>) -> (Vector3<f64>, f64) {
        let off = at - self.pivot;
        let radius = off.norm();
        if radius > 1e-9 { (off / radius, radius) } else { (self.axis, 0.0) }
    }

    /// Height above the craniotomy's plane, mm.
    pub fn height(&self, at: &Point3<f64>) -> f64 {
        (at - self.craniotomy.centre).dot(&self.craniotomy.outward)
    }

    /// Out of the head.
    pub fn outward(&self) -> Vector3<f64> {
        self.craniotomy.outward
    }

    /// Whether a shaft along a direction is in the open above the pivot: beside a steep way in, the cortex rises.
    pub fn open_above(&self, toward: &Vector3<f64>) -> bool {
        (0..=(ABOVE_MM / SAMPLE_MM) as usize).all(|n| self.open(&(self.pivot - toward * (n as f64 * SAMPLE_MM))))
    }

    /// Whether a shaft along a direction comes in by the craniotomy, and its tip is not too near the pivot.
    pub fn may_stand(&self, toward: &Vector3<f64>, radius: f64) -> bool {
        radius >= NEAR_MM - 1e-9 && toward.dot(&self.axis) >= 0.5 && self.rim_clear(toward)
    }

    /// Whether the shaft along a direction keeps clear of the craniotomy's rim.
    fn rim_clear(&self, toward: &Vector3<f64>) -> bool {
        let rise = -toward.dot(&self.craniotomy.outward);
        if rise < 0.2 {
            return false;
        }
        let up = (self.craniotomy.centre - self.pivot).dot(&self.craniotomy.outward) / rise;
        nalgebra::distance(&(self.pivot - toward * up), &self.craniotomy.centre) <= self.rim_mm
    }

    pub fn open(&self, at: &Point3<f64>) -> bool {
        match self.field.at(at) {
            At::Voxel(i) => self.field.open[i],
            At::Outside => (at - self.pivot).dot(&self.axis) < 0.0 || self.corridor.holds(at, 0.0),
        }
    }

    /// Whether the shaft of a tip may stand there: see [`Self::obstacle`].
    pub fn shaft_clear(&self, tip: &Point3<f64>, bare_mm: f64) -> bool {
        self.obstacle(tip, bare_mm).is_none()
    }

    /// What keeps the shaft of a tip from standing there: off forbidden regions along its whole length, in the
    /// open from `bare_mm` above the tip on, and clear of the rim it may.
    pub fn obstacle(&self, tip: &Point3<f64>, bare_mm: f64) -> Option<Obstacle> {
        let (toward, radius) = self.polar(tip);
        if !self.may_stand(&toward, radius) {
            return Some(Obstacle::Rim);
        }
        let samples = ((radius + ABOVE_MM) / SAMPLE_MM) as usize;
        let mut tissue = None;
        for n in 0..=samples {
            let t = n as f64 * SAMPLE_MM;
            let at = tip - toward * t;
            match self.field.at(&at) {
                At::Voxel(i) => {
                    if !self.field.clear(i, self.shaft_least) {
                        return Some(Obstacle::Forbidden);
                    }
                    if t > bare_mm && !self.field.open[i] {
                        tissue = Some(Obstacle::Tissue);
                    }
                }
                At::Outside if t > radius => break,
                At::Outside => {
                    if t > bare_mm && !self.corridor.holds(&at, 0.0) {
                        tissue = Some(Obstacle::Tissue);
                    }
                }
            }
        }
        tissue
    }

    /// Whether the cutting sphere around a voxel's centre keeps off forbidden regions.
    pub fn cut_clear(&self, index: usize) -> bool {
        self.field.clear(index, self.cut_least)
    }

    /// Whether a voxel lies farther from every forbidden voxel than that; as far as the field reaches.
    pub fn far_from_forbidden(&self, index: usize, mm: f64) -> bool {
        self.field.clear(index, self.field.least(mm))
    }

    /// The same at any point; nothing is cut outside the fine region.
    pub fn cut_clear_at(&self, at: &Point3<f64>) -> bool {
        match self.field.at(at) {
            At::Voxel(i) => self.field.clear(i, self.cut_least_between),
            At::Outside => false,
        }
    }

    /// Whether the energised tip may go straight from one point to another.
    pub fn cut_line_clear(&self, from: &Point3<f64>, to: &Point3<f64>, bare_mm: f64) -> bool {
        let pieces = (nalgebra::distance(from, to) / 0.5).ceil().max(1.0) as usize;
        (0..=pieces).all(|n| {
            let at = from + (to - from) * (n as f64 / pieces as f64);
            self.cut_clear_at(&at) && (n % 2 == 1 || self.shaft_clear(&at, bare_mm))
        })
    }

    /// The nearest point up the shaft from a tip that lies in the open, and 1 mm more.
    pub fn above(&self, tip: &Point3<f64>, most_mm: f64) -> Option<Point3<f64>> {
        let (toward, radius) = self.polar(tip);
        let steps = (most_mm / 0.25) as usize;
        let rise = (0..=steps).map(|n| n as f64 * 0.25).find(|t| self.open(&(tip - toward * *t)))? + 1.0;
        (radius - rise >= NEAR_MM).then(|| tip - toward * rise)
    }
}

/// The least rotation that takes one unit vector to another.
fn least_turn(from: &Vector3<f64>, to: &Vector3<f64>) -> UnitQuaternion<f64> {
    // Half-angle form: (1 + a·b, a × b) has the right direction, and only needs normalising.
    let real = 1.0 + from.dot(to);
    if real < 1e-9 {
        // Opposite: half a turn about any axis across; the smallest component gives a safe one.
        let other = if from.x.abs() < 0.6 { Vector3::x() } else { Vector3::y() };
        return UnitQuaternion::from_quaternion(Quaternion::from_parts(0.0, from.cross(&other)));
    }
    UnitQuaternion::from_quaternion(Quaternion::from_parts(real, from.cross(to)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_least_turn_arrives_and_is_undone(a in prop::array::uniform3(-1.0..1.0f64), b in prop::array::uniform3(-1.0..1.0f64)) {
            let (Some(a), Some(b)) = (Vector3::from(a).try_normalize(0.1), Vector3::from(b).try_normalize(0.1)) else {
                return Ok(());
            };
            prop_assert!((least_turn(&a, &b) * a - b).norm() < 1e-6);
            let back = least_turn(&b, &a) * least_turn(&a, &b);
            prop_assert!(a.dot(&b) < -0.999 || back.angle() < 1e-6);
        }
    }

    #[test]
    fn opposite_directions_are_half_a_turn() {
        for axis in [Vector3::x(), Vector3::y(), Vector3::z()] {
            assert!((least_turn(&axis, &-axis) * axis + axis).norm() < 1e-12);
        }
    }
}
