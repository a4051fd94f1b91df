//! Strokes: where to start cutting, and how far to go on.
//!
//! Each voxel has a worth in hundredths of a residual voxel: residual core gains, healthy tissue costs,
//! the open is nothing. A bite at a tip position is worth the sum over the cutting sphere. A stroke starts
//! at a good bite and goes on to the neighbour with the most worth for its length, on a copy that is carved
//! as it goes. The tip stands at most one layer deep in the *given* scene's tissue, so that a stroke is
//! valid whether or not the validator carves along. Whole numbers wherever ties are broken.

use super::route::{Router, Stop};
use crate::field::{Field, squared_distance};
use crate::memory::stamp;
use crate::planner::View;
use crate::reach::{OPEN_FROM_MM, Reach};
use crate::settings::GreedySettings;
use bregma_core::flow::{Energy, Motion, WAYPOINTS_MAX, voxel};
use nalgebra::Point3;

/// Worth of a residual voxel; everything else is in these hundredths.
const UNIT: i32 = 100;
/// Worth of a healthy voxel that stands between the open and residual core, once nothing else is left.
const WAY_WORTH: i32 = 50;
/// So many residual voxels must lie behind it.
const WAY_HITS: u16 = 3;
/// Price of a mm of travel to the start,
const TRAVEL_PRICE: f64 = 5.0;
/// and of each mm of depth: layers go from the corridor inwards.
const DEPTH_PRICE: f64 = 15.0;
/// Price of a mm of stroke.
const LENGTH_PRICE: f64 = 60.0;
/// Longest jump within a stroke, mm, and the least worth of the bite at its end.
const HOP_MM: f64 = 8.0;
const HOP_WORTH: i32 = 2 * UNIT;
/// Steps of a stroke in voxels²: up to 2.2 voxels, 2.8 mm; two spheres of 2 mm still overlap.
const STEP2_MAX: i32 = 5;
/// Starts of two candidates differ by this much, mm.
const APART_MM: f64 = 5.0;
/// Most waypoints that cut; the rest is for the way there and back.
const STROKE_WAYPOINTS_MAX: usize = 40;
const _: () = assert!(STROKE_WAYPOINTS_MAX + 20 < WAYPOINTS_MAX, "room for the approach");

/// One voxel's change, to be undone.
struct Carved {
    index: usize,
    worth: i32,
}

/// A search on one view.
pub(super) struct Search<'a> {
    field: &'a Field,
    reach: &'a Reach<'a>,
    settings: &'a GreedySettings,
    worth: Vec<i32>,
    solid: Vec<bool>,
    residual: Vec<bool>,
    barred: Vec<bool>,
    bite: Vec<[i32; 3]>,
    steps: Vec<[i32; 3]>,
    /// 0 unknown, 1 clear, 2 not.
    shaft: Vec<u8>,
}

impl<'a> Search<'a> {
    pub fn new(field: &'a Field, reach: &'a Reach<'a>, settings: &'a GreedySettings, view: &View<'_>) -> Self {
        let scene = view.scene;
        let voxels = field.grid.len();
        let solid: Vec<bool> = scene.state.iter().map(|s| s & voxel::CAVITY == 0).collect();
        let least = (settings.cut_probability * 255.0).round() as u8;
        let residual: Vec<bool> = scene.residual.iter().zip(&solid).map(|(p, solid)| *p >= least && *solid).collect();
        let bite_voxels = settings.cut_radius_mm / field.grid.spacing_mm;
        let bite2 = bite_voxels * bite_voxels;
        let near = squared_distance(&residual, field.grid.dims, bite_voxels.ceil().max(1.0) as usize);
        let price = |p: f64| -(p * f64::from(UNIT)).round() as i32;
        let (price_near, price_far) = (price(settings.price_near), price(settings.price_far));
        let worth = (0..voxels)
            .map(|i| match (solid[i], residual[i]) {
                (false, _) => 0,
                (true, true) => UNIT,
                (true, false) if f64::from(near[i]) <= bite2 => price_near,
                (true, false) => price_far,
            })
            .collect();
        Self {
            field,
            reach,
            settings,
            worth,
            solid,
            residual,
            barred: view.memory.barred(&field.grid),
            bite: offsets(bite2),
            steps: offsets(f64::from(STEP2_MAX)).into_iter().filter(|o| *o != [0, 0, 0]).collect(),
            shaft: vec![0; voxels],
        }
    }

    /// Motions in order of preference, each starting elsewhere.
    pub fn candidates(&mut self, router: &Router<'_>) -> Vec<Motion> {
        let starts = self.starts(&router.here());
        let mut tried = vec![false; self.field.grid.len()];
        let mut motions = Vec::new();
        let mut undo = Vec::new();
        for &(_, start) in &starts {
            if tried[start] || !self.shaft_clear(start) {
                continue;
            }
            let stroke = self.stroke(start, &starts, &mut undo);
            for carved in undo.drain(..).rev() {
                self.worth[carved.index] = carved.worth;
                self.solid[carved.index] = true;
            }
            tried[start] = true;
            let Some((stops, net)) = stroke else { continue };
            for stop in &stops {
                // Half a layer: starts deeper down or beside a weak stroke are still tried.
                stamp(&self.field.grid, &stop.at, 0.5 * self.settings.layer_mm, |i| tried[i] = true);
            }
            let net_mm3 = f64::from(net) / f64::from(UNIT) * self.field.grid.spacing_mm.powi(3);
            if net_mm3 < self.settings.worth_mm3 {
                continue;
            }
            let Some(mut way) = stops.first().and_then(|first| router.approach(&first.at)) else { continue };
            way.extend_from_slice(&stops[1..]);
            let Some(motion) = router.motion(&way) else { continue };
            motions.push(motion);
            if motions.len() == self.settings.candidates {
                break;
            }
            stamp(&self.field.grid, &self.centre(start), APART_MM, |i| tried[i] = true);
        }
        motions
    }

    /// Gives worth to healthy tissue that stands in the way of residual core. Returns whether there is any.
    pub fn open_ways(&mut self) -> bool {
        let grid = self.field.grid;
        let most = (self.settings.opening_mm / (0.5 * grid.spacing_mm)) as usize;
        let mut hits = vec![0_u16; grid.len()];
        let mut way = Vec::new();
        for target in (0..grid.len()).filter(|i| self.residual[*i]) {
            let (toward, radius) = self.reach.polar(&self.centre(target));
            way.clear();
            let mut passed = 0;
            let samples = (radius / (0.5 * grid.spacing_mm)) as usize;
            // From the pivot down, half a voxel at a time.
            for n in 1..=samples {
                let at = self.reach.pivot + toward * (n as f64 * 0.5 * grid.spacing_mm);
                let Some(v) = grid.containing(&at) else { continue };
                let i = grid.index(v);
                if self.field.open[i] || self.residual[i] {
                    continue;
                }
                passed += 1;
                if passed > most || self.barred[i] || !self.reach.cut_clear(i) {
                    way.clear();
                    break;
                }
                if way.last() != Some(&i) {
                    way.push(i);
                }
            }
            for &i in &way {
                hits[i] = hits[i].saturating_add(1);
            }
        }
        let mut any = false;
        for (i, hits) in hits.into_iter().enumerate() {
            if hits >= WAY_HITS {
                self.worth[i] = WAY_WORTH;
                any = true;
            }
        }
        any
    }

    /// Tip positions with a worthwhile bite, best first; ties in memory's order.
    fn starts(&self, here: &Point3<f64>) -> Vec<(f64, usize)> {
        let grid = &self.field.grid;
        let wanted: Vec<bool> = self.worth.iter().map(|w| *w > 0).collect();
        let reach = (self.settings.cut_radius_mm / grid.spacing_mm).ceil().max(1.0) as usize;
        let near = squared_distance(&wanted, grid.dims, reach);
        let mut starts = Vec::new();
        for (i, d) in near.iter().enumerate() {
            if usize::from(*d) > reach * reach || self.barred[i] || !self.reach.cut_clear(i) {
                continue;
            }
            let worth = self.bite_worth(grid.voxel(i));
            if worth >= UNIT {
                let at = self.centre(i);
                let cost = TRAVEL_PRICE * nalgebra::distance(&at, here) + DEPTH_PRICE * self.reach.polar(&at).1;
                starts.push((f64::from(worth) - cost, i));
            }
        }
        starts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        starts
    }

    /// Stops from the open above the start to the open above the end, and their net worth; the first is
    /// where the energy goes on. Carves as it goes.
    fn stroke(&mut self, start: usize, starts: &[(f64, usize)], undo: &mut Vec<Carved>) -> Option<(Vec<Stop>, i32)> {
        let layer = self.settings.layer_mm;
        let first = self.centre(start);
        let above = self.reach.above(&first, layer + 0.5)?;
        if !self.reach.shaft_clear(&above, OPEN_FROM_MM) || !self.reach.cut_line_clear(&above, &first, layer) {
            return None;
        }
        let mut stops = vec![self.stop(&above, &above, 0)];
        let mut net = 0;
        let (mut at, mut length) = (start, 0.0);
        self.cut(&above, &first, &mut stops, &mut net, undo);
        while length < self.settings.stroke_mm && stops.len() <= STROKE_WAYPOINTS_MAX {
            let Some(next) = self.neighbour(at).or_else(|| self.hop(at, starts)) else { break };
            let (from, to) = (self.centre(at), self.centre(next));
            length += nalgebra::distance(&from, &to);
            self.cut(&from, &to, &mut stops, &mut net, undo);
            at = next;
        }
        // Ends in the open of the given scene, energy on to there: whoever comes next need not believe the carving.
        let end = self.centre(at);
        if let Some(up) = self.reach.above(&end, layer + 0.5).filter(|up| self.reach.cut_line_clear(&end, up, layer)) {
            stops.push(self.stop(&up, &end, 0));
        }
        Some((stops, net))
    }

    /// The adjacent bite with the most worth for its length.
    fn neighbour(&mut self, at: usize) -> Option<usize> {
        let grid = self.field.grid;
        let here = grid.voxel(at);
        let mut best: Option<(f64, usize)> = None;
        for n in 0..self.steps.len() {
            let step = self.steps[n];
            let Some(there) = offset(here, step, grid.dims) else { continue };
            let i = grid.index(there);
            if self.barred[i] || !self.reach.cut_clear(i) {
                continue;
            }
            let worth = self.bite_worth(there);
            if worth < UNIT {
                continue;
            }
            let length2 = step.iter().map(|v| f64::from(v * v)).sum::<f64>();
            let value = f64::from(worth)
                - LENGTH_PRICE * length2.sqrt() * grid.spacing_mm
                - DEPTH_PRICE * self.reach.polar(&self.centre(i)).1;
            if best.is_some_and(|(b, _)| value <= b) || !self.shaft_clear(i) {
                continue;
            }
            let middle = nalgebra::center(&self.centre(at), &self.centre(i));
            if self.reach.shaft_clear(&middle, self.settings.layer_mm) {
                best = Some((value, i));
            }
        }
        best.map(|(_, i)| i)
    }

    /// A farther bite, where nothing is left beside the tip.
    fn hop(&mut self, at: usize, starts: &[(f64, usize)]) -> Option<usize> {
        const TRIES: usize = 6;
        let from = self.centre(at);
        let mut options: Vec<(f64, usize)> = Vec::new();
        for &(_, i) in starts {
            let length = nalgebra::distance(&self.centre(i), &from);
            if i == at || length > HOP_MM {
                continue;
            }
            let worth = self.bite_worth(self.field.grid.voxel(i));
            if worth >= HOP_WORTH {
                options.push((f64::from(worth) - LENGTH_PRICE * length, i));
            }
        }
        options.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        options.into_iter().take(TRIES).map(|(_, i)| i).find(|&i| {
            let to = self.centre(i);
            self.line_worth(&from, &to) >= UNIT && self.reach.cut_line_clear(&from, &to, self.settings.layer_mm)
        })
    }

    /// Carves a straight piece and adds its stop, slow enough for the instrument to keep up.
    fn cut(
        &mut self,
        from: &Point3<f64>,
        to: &Point3<f64>,
        stops: &mut Vec<Stop>,
        net: &mut i32,
        undo: &mut Vec<Carved>,
    ) {
        let mut indices = Vec::with_capacity(128);
        along(&self.field.grid, from, to, self.settings.cut_radius_mm, |i| {
            if self.solid[i] {
                indices.push(i);
            }
        });
        let voxels = indices.len();
        for index in indices {
            *net += self.worth[index];
            undo.push(Carved { index, worth: self.worth[index] });
            self.worth[index] = 0;
            self.solid[index] = false;
        }
        stops.push(self.stop(to, from, voxels));
    }

    fn stop(&self, to: &Point3<f64>, from: &Point3<f64>, voxels: usize) -> Stop {
        let volume = voxels as f64 * self.field.grid.spacing_mm.powi(3);
        let feed = self.settings.removal_mm3_s * nalgebra::distance(from, to) / volume.max(1e-9);
        let feed_mm_s = feed.clamp(self.settings.feed_cut_min_mm_s, self.settings.feed_cut_mm_s);
        Stop { at: *to, toward: self.reach.polar(to).0, feed_mm_s, energy: Energy::CUT }
    }

    fn line_worth(&self, from: &Point3<f64>, to: &Point3<f64>) -> i32 {
        let mut sum = 0;
        along(&self.field.grid, from, to, self.settings.cut_radius_mm, |i| sum += self.worth[i]);
        sum
    }

    fn bite_worth(&self, at: [usize; 3]) -> i32 {
        let grid = &self.field.grid;
        self.bite.iter().filter_map(|o| offset(at, *o, grid.dims)).map(|v| self.worth[grid.index(v)]).sum()
    }

    fn shaft_clear(&mut self, index: usize) -> bool {
        if self.shaft[index] == 0 {
            let clear = self.reach.shaft_clear(&self.centre(index), self.settings.layer_mm);
            self.shaft[index] = if clear { 1 } else { 2 };
        }
        self.shaft[index] == 1
    }

    fn centre(&self, index: usize) -> Point3<f64> {
        self.field.grid.centre(self.field.grid.voxel(index))
    }
}

/// Whole offsets within √`most2` voxels, in memory's order.
fn offsets(most2: f64) -> Vec<[i32; 3]> {
    let edge = most2.sqrt().floor() as i32;
    let mut all = Vec::new();
    for k in -edge..=edge {
        for j in -edge..=edge {
            for i in -edge..=edge {
                if f64::from(i * i + j * j + k * k) <= most2 {
                    all.push([i, j, k]);
                }
            }
        }
    }
    all
}

fn offset(at: [usize; 3], by: [i32; 3], dims: [usize; 3]) -> Option<[usize; 3]> {
    let mut there = [0; 3];
    for a in 0..3 {
        there[a] = at[a].checked_add_signed(by[a] as isize).filter(|v| *v < dims[a])?;
    }
    Some(there)
}

/// Calls `with` for each voxel whose centre lies within `radius_mm` of a straight piece.
fn along(
    grid: &bregma_core::grid::Grid,
    from: &Point3<f64>,
    to: &Point3<f64>,
    radius_mm: f64,
    mut with: impl FnMut(usize),
) {
    let capsule = bregma_core::flow::Capsule { start: *from, end: *to, radius_mm };
    let ([xs, ys, zs], [xt, yt, zt]) = (grid.around(from, radius_mm), grid.around(to, radius_mm));
    for k in zs.start.min(zt.start)..zs.end.max(zt.end) {
        for j in ys.start.min(yt.start)..ys.end.max(yt.end) {
            for i in xs.start.min(xt.start)..xs.end.max(xt.end) {
                if capsule.distance_mm(&grid.centre([i, j, k])) <= 0.0 {
                    with(grid.index([i, j, k]));
                }
            }
        }
    }
}
