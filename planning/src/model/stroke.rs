//! Strokes: from the open above a start, from bite to bite, to the open above the end.
//!
//! Where a stroke goes is a [`Course`]'s business; that it may go there, how fast, and how it begins and ends is
//! decided here, alike for every planner.

use super::Model;
use crate::memory::stamp;
use crate::reach::OPEN_FROM_MM;
use crate::route::{Router, Stop};
use crate::strokes::Course;
use bregma_core::flow::{Energy, Motion, WAYPOINTS_MAX};
use nalgebra::Point3;

/// Starts of two candidates differ by this much, mm.
const APART_MM: f64 = 5.0;
/// Most waypoints that cut; the rest is for the way there and back.
const STROKE_WAYPOINTS_MAX: usize = 40;
const _: () = assert!(STROKE_WAYPOINTS_MAX + 20 < WAYPOINTS_MAX, "room for the approach");

/// A stroke that is being made.
#[derive(Debug, Clone)]
pub(crate) struct Stroke {
    /// The first is in the open above the start, where the energy goes on.
    stops: Vec<Stop>,
    /// Worth of what it takes, net.
    pub net: i32,
    /// Way that was cut, mm.
    pub length_mm: f64,
    /// Where the tip is.
    pub at: Point3<f64>,
}

impl Stroke {
    /// Into the tissue at a start, from the open above it; `None` where there is no way in.
    pub fn begin(model: &mut Model, first: &Point3<f64>) -> Option<Self> {
        let (reach, layer) = (&model.reach, model.settings.layer_mm);
        let above = reach.above(first, layer + 0.5)?;
        if !reach.shaft_clear(&above, OPEN_FROM_MM) || !reach.cut_line_clear(&above, first, layer) {
            return None;
        }
        let mut stroke = Self { stops: Vec::with_capacity(24), net: 0, length_mm: 0.0, at: above };
        stroke.stops.push(stop(model, &above, &above, 0));
        stroke.cut(model, first);
        stroke.length_mm = 0.0;
        Some(stroke)
    }

    /// Whether it may still go on.
    pub fn may_go_on(&self, model: &Model) -> bool {
        self.length_mm < model.settings.stroke_mm && self.stops.len() <= STROKE_WAYPOINTS_MAX
    }

    /// Carves a straight piece and adds its stop, slow enough for the instrument to keep up.
    pub fn cut(&mut self, model: &mut Model, to: &Point3<f64>) {
        let (net, voxels) = model.carve(&self.at, to);
        self.net += net;
        self.length_mm += nalgebra::distance(&self.at, to);
        self.stops.push(stop(model, to, &self.at, voxels));
        self.at = *to;
    }

    /// Ends in the open of the given scene, energy on to there: whoever comes next need not believe the carving.
    fn close(mut self, model: &Model) -> Vec<Stop> {
        let layer = model.settings.layer_mm;
        let clear = |up: &Point3<f64>| model.reach.cut_line_clear(&self.at, up, layer);
        if let Some(up) = model.reach.above(&self.at, layer + 0.5).filter(clear) {
            self.stops.push(stop(model, &up, &self.at, 0));
        }
        self.stops
    }
}

fn stop(model: &Model, to: &Point3<f64>, from: &Point3<f64>, voxels: usize) -> Stop {
    let settings = &model.settings;
    let volume = voxels as f64 * model.grid().spacing_mm.powi(3);
    let feed = settings.removal_mm3_s * nalgebra::distance(from, to) / volume.max(1e-9);
    let feed_mm_s = feed.clamp(settings.feed_cut_min_mm_s, settings.feed_cut_mm_s);
    Stop { at: *to, toward: model.reach.polar(to).0, feed_mm_s, energy: Energy::CUT }
}

/// Motions in a course's order of preference, each starting elsewhere.
pub(crate) fn motions<C: Course + ?Sized>(course: &mut C, model: &mut Model, router: &Router<'_>) -> Vec<Motion> {
    let grid = model.grid();
    let starts = course.starts(model, &router.here());
    let mut tried = vec![false; grid.len()];
    let mut motions = Vec::new();
    for &(_, start) in &starts {
        if tried[start] || !model.shaft_clear(start) {
            continue;
        }
        let mark = model.mark();
        let made = Stroke::begin(model, &model.centre(start)).map(|mut stroke| {
            while stroke.may_go_on(model) {
                let Some(next) = course.next(model, &stroke, &starts) else { break };
                stroke.cut(model, &next);
            }
            let net = stroke.net;
            (stroke.close(model), net)
        });
        model.put_back(mark);
        tried[start] = true;
        let Some((stops, net)) = made else { continue };
        for stop in &stops {
            // Half a layer: starts deeper down or beside a weak stroke are still tried.
            stamp(&grid, &stop.at, 0.5 * model.settings.layer_mm, |i| tried[i] = true);
        }
        let net_mm3 = f64::from(net) / f64::from(super::UNIT) * grid.spacing_mm.powi(3);
        if net_mm3 < model.settings.worth_mm3 {
            continue;
        }
        let Some(mut way) = stops.first().and_then(|first| router.approach(&first.at)) else { continue };
        way.extend_from_slice(&stops[1..]);
        let Some(motion) = router.motion(&way) else { continue };
        motions.push(motion);
        if motions.len() == model.settings.candidates {
            break;
        }
        stamp(&grid, &model.centre(start), APART_MM, |i| tried[i] = true);
    }
    motions
}
