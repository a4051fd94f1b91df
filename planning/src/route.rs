//! The way of the tip through the open: in, from place to place, and out, energy off.
//!
//! Inside the head the tip moves in polar coordinates about the pivot: up its own shaft's axis, a swing at
//! a constant depth, down the next axis; straight where the whole shaft stays in the open.

use crate::reach::{FREE_MM, NEAR_MM, OPEN_FROM_MM, Reach};
use crate::settings::GreedySettings;
use bregma_core::flow::{Energy, Motion, WAYPOINTS_MAX, Waypoint};
use bregma_core::frame::{Patient, Pose, Tip};
use nalgebra::{Point3, Vector3};
use std::sync::Arc;

/// Where the tip waits outside the head: above the craniotomy's plane by this much, mm.
const HUB_HEIGHT_MM: f64 = 15.0;
/// Longest straight piece of a way that turns, mm: the shaft of an interpolated pose then stays within
/// 0.1 mm of the pivot.
const PIECE_MM: f64 = 6.0;
/// How much higher each next try to swing is, mm.
const RISE_MM: f64 = 2.5;
/// A tip inside the head whose axis misses the pivot by more than 6°, or by more than so many mm, leaves along its own axis
/// first: straightening itself on the way, its shaft would press sideways.
const ALIGNED_COSINE: f64 = 0.9945;
const ALIGNED_MM: f64 = 2.0;

/// A place to pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub at: Point3<f64>,
    pub toward: Vector3<f64>,
    pub feed_mm_s: f64,
    pub energy: Energy,
}

/// Ways from the present tip.
pub(crate) struct Router<'a> {
    reach: Arc<Reach>,
    settings: &'a GreedySettings,
    tip: Pose<Patient, Tip>,
}

impl<'a> Router<'a> {
    pub fn new(reach: Arc<Reach>, settings: &'a GreedySettings, tip: Pose<Patient, Tip>) -> Self {
        Self { reach, settings, tip }
    }

    /// Where the tip is.
    pub fn here(&self) -> Point3<f64> {
        self.tip.position().coordinates()
    }

    /// Whether the tip is in the head or less than [`FREE_MM`] above it.
    pub fn inside(&self) -> bool {
        self.reach.height(&self.here()) < FREE_MM
    }

    /// From the tip to a point in the open, energy off.
    pub fn approach(&self, to: &Point3<f64>) -> Option<Vec<Stop>> {
        let mut stops = Vec::with_capacity(16);
        let mut at = self.here();
        if !self.inside() || !self.on_a_ray(&at) {
            self.out_along_own_axis(&mut stops);
            self.push(&mut stops, self.hub(), self.reach.axis);
            at = self.reach.pivot + self.reach.axis * NEAR_MM;
            if !self.reach.shaft_clear(&at, OPEN_FROM_MM) {
                return None;
            }
            self.push(&mut stops, at, self.reach.axis);
        }
        self.across(&mut stops, &at, to).then_some(stops)
    }

    /// From the tip out of the head, energy off.
    pub fn leave(&self) -> Vec<Stop> {
        let mut stops = Vec::with_capacity(8);
        let at = self.here();
        if self.on_a_ray(&at) {
            let door = self.reach.pivot + self.reach.axis * NEAR_MM;
            let (toward, _) = self.reach.polar(&at);
            self.push(&mut stops, self.reach.pivot + toward * NEAR_MM, toward);
            self.swing(&mut stops, &toward, NEAR_MM, &self.reach.axis, NEAR_MM);
            self.push(&mut stops, door, self.reach.axis);
        } else {
            self.out_along_own_axis(&mut stops);
        }
        self.push(&mut stops, self.hub(), self.reach.axis);
        stops
    }

    /// The motion through these stops; `None` when there is none or it has too many waypoints.
    pub fn motion(&self, stops: &[Stop]) -> Option<Motion> {
        let start =
            Waypoint { patient_from_tip: self.tip, feed_mm_s: self.settings.feed_corridor_mm_s, energy: Energy::OFF };
        let mut waypoints = vec![start];
        let mut last = self.here();
        for stop in stops {
            // A turn on the spot has no feed; the next stop takes it along.
            if nalgebra::distance(&last, &stop.at) < 0.05 {
                continue;
            }
            last = stop.at;
            let patient_from_tip = self.reach.pose(&stop.at, &stop.toward)?;
            waypoints.push(Waypoint { patient_from_tip, feed_mm_s: stop.feed_mm_s, energy: stop.energy });
        }
        (waypoints.len() > 1 && waypoints.len() <= WAYPOINTS_MAX).then_some(Motion { waypoints })
    }

    /// On the corridor's axis, outside the head.
    fn hub(&self) -> Point3<f64> {
        let rise = -self.reach.axis.dot(&self.reach.outward());
        let needed = HUB_HEIGHT_MM - self.reach.height(&self.reach.pivot);
        // An axis that hardly rises out of the head is no way out; 60 mm then, and the validator decides.
        let up = if rise > 0.3 { needed / rise } else { 60.0 };
        self.reach.pivot - self.reach.axis * up.clamp(0.0, 120.0)
    }

    fn on_a_ray(&self, at: &Point3<f64>) -> bool {
        let (toward, radius) = self.reach.polar(at);
        radius >= NEAR_MM - 0.5
            && toward.dot(&self.reach.axis) > 0.5
            && toward.dot(&self.tip.z_axis()) >= ALIGNED_COSINE
            && (self.reach.pivot - at).cross(&self.tip.z_axis()).norm() <= ALIGNED_MM
    }

    /// Up the tip's own axis until it is outside; nothing where it is.
    fn out_along_own_axis(&self, stops: &mut Vec<Stop>) {
        let (at, back) = (self.here(), -self.tip.z_axis());
        let (needed, rise) = (FREE_MM + 1.0 - self.reach.height(&at), back.dot(&self.reach.outward()));
        if self.inside() && rise > 0.2 {
            self.push(stops, at + back * (needed / rise), self.tip.z_axis());
        }
    }

    /// Straight, or up, over and down.
    fn across(&self, stops: &mut Vec<Stop>, from: &Point3<f64>, to: &Point3<f64>) -> bool {
        let ((out, high), (into, low)) = (self.reach.polar(from), self.reach.polar(to));
        if !self.reach.shaft_clear(to, OPEN_FROM_MM) {
            return false;
        }
        if self.line_clear(from, to) {
            let pieces = (nalgebra::distance(from, to) / PIECE_MM).ceil().max(1.0) as usize;
            for n in 1..=pieces {
                let at = if n == pieces { *to } else { from + (to - from) * (n as f64 / pieces as f64) };
                self.push(stops, at, self.reach.polar(&at).0);
            }
            return true;
        }
        let mut depth = high.min(low);
        loop {
            let depth_now = depth.max(NEAR_MM);
            if self.swing_clear(&out, &into, depth_now) {
                self.push(stops, self.reach.pivot + out * depth_now, out);
                self.swing(stops, &out, depth_now, &into, depth_now);
                self.push(stops, self.reach.pivot + into * depth_now, into);
                self.push(stops, *to, into);
                return true;
            }
            if depth <= NEAR_MM {
                return false;
            }
            depth -= RISE_MM;
        }
    }

    fn line_clear(&self, from: &Point3<f64>, to: &Point3<f64>) -> bool {
        let samples = nalgebra::distance(from, to).ceil().max(1.0) as usize;
        (0..=samples).all(|n| {
            let at = from + (to - from) * (n as f64 / samples as f64);
            self.reach.shaft_clear(&at, OPEN_FROM_MM)
        })
    }

    fn swing_clear(&self, from: &Vector3<f64>, to: &Vector3<f64>, depth: f64) -> bool {
        let samples = ((to - from).norm() * depth).ceil().max(1.0) as usize;
        (0..=samples).all(|n| {
            let toward = between(from, to, n as f64 / samples as f64);
            self.reach.shaft_clear(&(self.reach.pivot + toward * depth), OPEN_FROM_MM)
        })
    }

    fn swing(&self, stops: &mut Vec<Stop>, from: &Vector3<f64>, start: f64, to: &Vector3<f64>, end: f64) {
        let pieces = ((to - from).norm() * start.max(end) / PIECE_MM).ceil() as usize;
        for n in 1..pieces {
            let share = n as f64 / pieces as f64;
            let toward = between(from, to, share);
            self.push(stops, self.reach.pivot + toward * (start + (end - start) * share), toward);
        }
    }

    /// Energy off, at the speed of the slower end.
    fn push(&self, stops: &mut Vec<Stop>, at: Point3<f64>, toward: Vector3<f64>) {
        let last = stops.last().map_or_else(|| self.here(), |s| s.at);
        let free = self.reach.height(&last) >= FREE_MM && self.reach.height(&at) >= FREE_MM;
        let feed_mm_s = if free { self.settings.feed_free_mm_s } else { self.settings.feed_corridor_mm_s };
        stops.push(Stop { at, toward, feed_mm_s, energy: Energy::OFF });
    }
}

/// The direction at a share of the way, by normalised interpolation: no trigonometry, and directions in
/// one head are less than 90° apart.
fn between(from: &Vector3<f64>, to: &Vector3<f64>, share: f64) -> Vector3<f64> {
    (from + (to - from) * share).try_normalize(1e-9).unwrap_or(*from)
}
