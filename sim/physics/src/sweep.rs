//! Clearances along a path, swept between samples.
//!
//! Samples are knots, taken so that no point of instrument or arm travels more than `step_mm` from one to
//! the next, the travel added up knot by knot. Whatever is anywhere between two samples is within half
//! of that travel of one of them, so half of it is taken off every clearance: **what passes here passes
//! between the samples too**, however thin it is. Along shaft, handle and links, points are looked at
//! wherever the distance at the point before cannot rule them out, never farther apart than
//! [`ALONG_MM`] beyond that; half of it is taken off as well.
//!
//! Clearances of [`EXACT_BELOW_MM`] and more are lower bounds, good to a voxel's diagonal, and none is
//! reported above [`FAR_MM`].
//!
//! **Pressed from the start:** tissue may have moved onto a shaft that stood clear of it. Such a motion, out of the head above all,
//! must ease what it began with: see [`Easing`]. **Units:** mm. **Allocation:** work space, once.

use crate::cubes::Cubes;
use crate::limits::LimitValues;
use crate::obstacles::Obstacles;
use crate::posture::{Mounted, Posture};
use crate::segment::Segment;
use bregma_core::flow::JointPath;
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Clearances are reported up to here.
pub const FAR_MM: f64 = 25.0;
/// Finest step along a shaft or link.
pub const ALONG_MM: f64 = 0.2;
/// By how much the brain's shift may stretch tissue: a strain of a quarter.
const STRETCH: f64 = 1.25;
/// Clearances below this are exact, above it lower bounds.
pub const EXACT_BELOW_MM: f64 = 5.0;

/// A motion that starts pressed deeper into tissue than the limit may ease it up to so many times the limit; from deeper a person must
/// bring it out.
const EASED_MOST: f64 = 2.0;

/// Worst value so far, and where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Worst {
    pub value: f64,
    /// Knot of the path.
    pub knot: usize,
    pub at: Option<Point3<f64>>,
}

impl Worst {
    pub(crate) const fn new(value: f64) -> Self {
        Self { value, knot: 0, at: None }
    }

    /// Keeps the smaller; NaN counts as smallest.
    pub(crate) fn least(&mut self, value: f64, knot: usize, at: Point3<f64>) {
        if value < self.value || value.is_nan() {
            *self = Self { value: if value.is_nan() { f64::NEG_INFINITY } else { value }, knot, at: Some(at) };
        }
    }

    /// Keeps the larger; NaN counts as largest.
    pub(crate) fn most(&mut self, value: f64, knot: usize, at: Point3<f64>) {
        if value > self.value || value.is_nan() {
            *self = Self { value: if value.is_nan() { f64::INFINITY } else { value }, knot, at: Some(at) };
        }
    }

    /// The same of another worst.
    fn most_of(&mut self, other: Self) {
        if other.value > self.value {
            *self = other;
        }
    }
}

/// How deep a motion may be pressed into tissue that it began deeper in than the limit, or within a step of it: never deeper than it
/// was at any sample before, but for one step's travel, until it is within the limit, and within the limit from then on. Until then
/// the tip goes no deeper into the head either; and it ends no deeper than it began, so that motions do not add up.
#[derive(Debug, Clone, Copy)]
struct Easing {
    start_mm: f64,
    allowed_mm: f64,
    tip_deepest_mm: f64,
}

impl Easing {
    /// From how deep the start is pressed, and how deep in the head its tip is.
    fn of(start_mm: f64, tip_mm: f64, limits: &LimitValues) -> Self {
        let limit = limits.indentation_mm;
        let deeper_mm = start_mm + limits.step_mm;
        let eased = deeper_mm > limit && start_mm <= EASED_MOST * limit;
        let allowed_mm = if eased { deeper_mm } else { limit };
        Self { start_mm, allowed_mm, tip_deepest_mm: tip_mm + limits.step_mm }
    }

    fn is_needed(&self, limits: &LimitValues) -> bool {
        self.allowed_mm > limits.indentation_mm
    }

    /// What a sample counts as: the limit at most where it eases what was, its own value else.
    fn judge(&mut self, here: Worst, tip_mm: f64, limits: &LimitValues) -> Worst {
        let limit = limits.indentation_mm;
        if here.value > self.allowed_mm || tip_mm > self.tip_deepest_mm {
            return here;
        }
        self.allowed_mm = self.allowed_mm.min((here.value + limits.step_mm).max(limit));
        Worst { value: here.value.min(limit), ..here }
    }

    /// What the last sample counts as.
    fn judge_end(&self, here: Worst, limits: &LimitValues) -> Worst {
        let limit = limits.indentation_mm;
        if here.value > self.start_mm.max(limit) { here } else { Worst { value: here.value.min(limit), ..here } }
    }
}

/// A knot at which clearances are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub knot: usize,
    pub posture: Posture,
    /// Half of the longer travel to its neighbours, mm.
    pub slack_mm: f64,
    /// Travel since the start, mm.
    pub travel_mm: f64,
    pub energised: bool,
}

/// The samples of a path, and of every knot the tip: for speeds and for what was removed.
pub(crate) fn samples(mounted: &Mounted, path: &JointPath, limits: &LimitValues) -> (Vec<Sample>, Vec<Point3<f64>>) {
    let mut samples: Vec<Sample> = Vec::new();
    let mut tips = Vec::with_capacity(path.knots.len());
    let (mut since, mut total) = (0.0, 0.0);
    let mut before: Option<(usize, Posture)> = None;
    let energised = |knot: usize| path.energy[knot] & 1 != 0;
    let mut take = |knot: usize, posture: Posture, since: f64, total: f64, energised: bool| {
        if let Some(last) = samples.last_mut() {
            last.slack_mm = f64::max(last.slack_mm, 0.5 * since);
        }
        samples.push(Sample { knot, posture, slack_mm: 0.5 * since, travel_mm: total, energised });
    };
    for (knot, joints) in path.knots.iter().enumerate() {
        // At rest nothing changes.
        let posture = match &before {
            Some((b, posture)) if path.knots[*b] == *joints => *posture,
            _ => mounted.posture(joints),
        };
        tips.push(posture.tip);
        if let Some((b, earlier)) = before {
            let step = posture.moved(&earlier);
            // Energy bounds are samples as well, so that each sample speaks for one kind of motion.
            let switches = energised(b) != energised(knot);
            if since > 0.0 && (since + step > limits.step_mm) {
                take(b, earlier, since, total, energised(b));
                since = 0.0;
            }
            since += step;
            total += step;
            if switches {
                take(knot, posture, since, total, energised(knot));
                since = 0.0;
            }
        } else {
            take(knot, posture, 0.0, 0.0, energised(knot));
        }
        before = Some((knot, posture));
    }
    if let Some((knot, posture)) = before {
        take(knot, posture, since, total, energised(knot));
    }
    (samples, tips)
}

/// Worst clearance of a thick line from cubes, if it is less than `worst`: distance less `thick_mm`.
fn along(
    line: &Segment,
    thick_mm: f64,
    cubes: &Cubes,
    counts: &impl Fn([usize; 3]) -> bool,
    all_count: bool,
    worst: f64,
) -> Option<(f64, Point3<f64>)> {
    let still = |at: &Point3<f64>| *at;
    along_moved(line, thick_mm, cubes, counts, all_count, worst, &still, 1.0)
}

/// The same from cubes that have moved: `place` says where a point was at rest, and distances there change by at most
/// `stretch` times as much as along the line.
#[expect(clippy::too_many_arguments, reason = "they are those of `along`, and where the cubes are")]
fn along_moved(
    line: &Segment,
    thick_mm: f64,
    cubes: &Cubes,
    counts: &impl Fn([usize; 3]) -> bool,
    all_count: bool,
    worst: f64,
    place: &impl Fn(&Point3<f64>) -> Point3<f64>,
    stretch: f64,
) -> Option<(f64, Point3<f64>)> {
    let length = line.length();
    let mut found = None;
    let mut bound = worst + thick_mm + 0.5 * ALONG_MM;
    let mut s = 0.0;
    loop {
        let now = line.point(s);
        let at = place(&now);
        let low = cubes.at_least(&at);
        let mut distance = low;
        if low < bound {
            let exact_below = bound.min(thick_mm + EXACT_BELOW_MM);
            if low < exact_below {
                distance = cubes.nearer(&at, exact_below, counts, all_count).unwrap_or(exact_below);
            }
            if distance < bound {
                bound = distance;
                found = Some((distance - thick_mm - 0.5 * ALONG_MM, now));
            }
        }
        if s >= length {
            return found;
        }
        // Nothing nearer than `bound` lies before `s + distance − bound`.
        s = (s + (distance - bound).max(0.0) / stretch + ALONG_MM).min(length);
    }
}

/// Work space: from which travel on each vessel must be looked at again, and where the energised tip has been.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    due_mm: Vec<f64>,
    removed: Vec<Point3<f64>>,
}

/// Worst clearances of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clearances {
    pub own: Worst,
    pub rim: Worst,
    pub forbidden: Worst,
    pub indentation: Worst,
}

impl Sweep {
    /// Tissue is all there again.
    pub(crate) fn forget_removed(&mut self) {
        self.removed.clear();
    }

    /// All clearances along the samples. What is removed on the way is gone for the next course too, until
    /// [`Self::forget_removed`].
    pub(crate) fn measure(
        &mut self,
        mounted: &Mounted,
        obstacles: &Obstacles,
        samples: &[Sample],
        tips: &[Point3<f64>],
        limits: &LimitValues,
    ) -> Clearances {
        let mut worst = Clearances {
            own: Worst::new(FAR_MM),
            rim: Worst::new(FAR_MM),
            forbidden: Worst::new(FAR_MM),
            indentation: Worst::new(0.0),
        };
        self.due_mm.clear();
        self.due_mm.resize(obstacles.vessels.len(), 0.0);
        let pairs = own_pairs(mounted, limits);
        let mut energised_from = None;
        let mut easing = None;
        for sample in samples {
            own(mounted, &pairs, sample, &mut worst.own);
            rim(mounted, obstacles, sample, limits, &mut worst.rim);
            self.forbidden(mounted, obstacles, sample, &mut worst.forbidden);
            let until = sample.knot;
            if let Some(from) = energised_from {
                self.removed.extend(&tips[from..=until]);
            } else if sample.energised {
                self.removed.push(tips[until]);
            }
            energised_from = sample.energised.then_some(until + 1).filter(|from| *from < tips.len());
            let pressed = |from: Worst| self.pressed(mounted, obstacles, sample, limits, from);
            let tip_mm = obstacles.depth(&sample.posture.tip);
            let easing = easing.get_or_insert_with(|| Easing::of(pressed(Worst::new(0.0)).value, tip_mm, limits));
            if easing.is_needed(limits) {
                let here = pressed(Worst::new(0.0));
                worst.indentation.most_of(easing.judge(here, tip_mm, limits));
                if samples.last().is_some_and(|last| last.knot == sample.knot) {
                    worst.indentation.most_of(easing.judge_end(here, limits));
                }
            } else {
                worst.indentation = pressed(worst.indentation);
            }
        }
        worst
    }

    fn forbidden(&mut self, mounted: &Mounted, obstacles: &Obstacles, sample: &Sample, worst: &mut Worst) {
        let thick = mounted.mount.shaft_radius_mm + sample.slack_mm;
        let shaft = sample.posture.shaft();
        if let Some((value, at)) = along(&shaft, thick, &obstacles.forbidden, &|_| true, true, worst.value) {
            worst.least(value, sample.knot, at);
        }
        let outside = outside_of(obstacles.eloquent.grid(), obstacles.forbidden.grid());
        let (eloquent, shift) = (&obstacles.eloquent, &obstacles.shift);
        let (place, error_mm) = (|at: &Point3<f64>| shift.rest(at), thick + obstacles.error_mm);
        let found = along_moved(&shaft, error_mm, eloquent, &outside, false, worst.value, &place, STRETCH);
        if let Some((value, at)) = found {
            worst.least(value, sample.knot, at);
        }
        for (vessel, due) in obstacles.vessels.iter().zip(&mut self.due_mm) {
            if sample.travel_mm < *due {
                continue;
            }
            let (distance, at) = shaft.distance(&Segment::new(vessel.capsule.start, vessel.capsule.end));
            let value = distance - vessel.capsule.radius_mm - vessel.error_mm - thick;
            worst.least(value, sample.knot, at);
            // Nearer than the worst only after so much more travel; the slack may grow to half a step.
            *due = sample.travel_mm + (value - worst.value - 1.0).max(0.0);
        }
    }

    /// The deepest that a sample is pressed into tissue, if it is deeper than `worst`.
    fn pressed(
        &self,
        mounted: &Mounted,
        obstacles: &Obstacles,
        sample: &Sample,
        limits: &LimitValues,
        mut worst: Worst,
    ) -> Worst {
        let thick = mounted.mount.shaft_radius_mm + sample.slack_mm;
        // A press has one direction; what the tip itself has removed lies where the tip was, whatever the registration.
        let error_mm = limits.press_sigmas * obstacles.rigid_mm / 3.0_f64.sqrt();
        let shaft = sample.posture.shaft();
        let length = shaft.length();
        let mut s = 0.0;
        loop {
            let at = shaft.point(s);
            let mut depth = thick + error_mm - obstacles.off_tissue(&at);
            if depth > worst.value && !self.removed.is_empty() {
                let nearest = self.removed.iter().map(|p| (p - at).norm_squared()).fold(f64::INFINITY, f64::min).sqrt();
                depth = depth.min(thick + nearest - limits.removal_mm);
            }
            worst.most(depth, sample.knot, at);
            if s >= length {
                return worst;
            }
            // The field changes by at most about 1 mm a mm; half of what it allows, to be safe.
            s = (s + (0.5 * (worst.value - depth)).max(0.5)).min(length);
        }
    }
}

/// Whether a block of the region map lies outside the fine region, where the scene does not speak.
fn outside_of(blocks: &Grid, fine: &Grid) -> impl Fn([usize; 3]) -> bool {
    let (blocks, fine) = (*blocks, *fine);
    move |voxel| fine.containing(&blocks.centre(voxel)).is_none()
}

/// Pairs of links that could meet: not neighbours, and not held apart by so short a link that their
/// capsules overlap by design. Link `count` is handle and shaft.
pub(crate) fn own_pairs(mounted: &Mounted, limits: &LimitValues) -> Vec<(usize, usize)> {
    let n = mounted.arm.count();
    let rest = mounted.posture(&mounted.arm.rest());
    let between = |i: usize, j: usize| (i + 1..j).map(|k| rest.link(k).length()).sum::<f64>();
    let mut pairs = Vec::new();
    for i in 0..n {
        for j in i + 2..=n {
            let radii = mounted.arm.link_radius_mm() * if j == n { 1.0 } else { 2.0 };
            if between(i, j) > radii + limits.self_mm {
                pairs.push((i, j));
            }
        }
    }
    pairs
}

pub(crate) fn own(mounted: &Mounted, pairs: &[(usize, usize)], sample: &Sample, worst: &mut Worst) {
    let p = &sample.posture;
    for (i, j) in pairs {
        let link = p.link(*i);
        let radius = mounted.arm.link_radius_mm();
        // Both may move towards each other: the slack twice.
        let off = radius + 2.0 * sample.slack_mm;
        if *j == p.count {
            let (d, at) = link.distance(&p.shaft());
            worst.least(d - off - mounted.mount.shaft_radius_mm, sample.knot, at);
            let (d, at) = link.distance(&p.handle());
            worst.least(d - off - mounted.mount.shaft_radius_mm, sample.knot, at);
        } else {
            let (d, at) = link.distance(&p.link(*j));
            worst.least(d - off - radius, sample.knot, at);
        }
    }
}

/// Clearance of handle and links from the skull: of all that does not slide along the shaft's own line.
pub(crate) fn along_skull(
    mounted: &Mounted,
    obstacles: &Obstacles,
    sample: &Sample,
    limits: &LimitValues,
    worst: &mut Worst,
) {
    let p = &sample.posture;
    let more = sample.slack_mm + obstacles.rigid_mm;
    let handle = Some((p.handle(), limits.handle_radius_mm)).filter(|(line, _)| line.length() > 1.0);
    let links = (0..p.count).map(|i| (p.link(i), mounted.arm.link_radius_mm()));
    for (line, radius) in handle.into_iter().chain(links) {
        if let Some((value, at)) =
            along(&line, radius + more, &obstacles.skull, &|_| true, true, FAR_MM.min(worst.value))
        {
            worst.least(value, sample.knot, at);
        }
    }
}

fn rim(mounted: &Mounted, obstacles: &Obstacles, sample: &Sample, limits: &LimitValues, worst: &mut Worst) {
    let p = &sample.posture;
    let more = sample.slack_mm + obstacles.rigid_mm;
    let shaft_mm = mounted.mount.shaft_radius_mm;
    let link_mm = mounted.arm.link_radius_mm();
    let tool = [(p.shaft(), shaft_mm), (p.handle(), limits.handle_radius_mm)];
    // A handle without length is none: the shaft reaches the flange.
    let tool = &tool[..if tool[1].0.length() > 1.0 { 2 } else { 1 }];
    let links = (0..p.count).map(|i| (p.link(i), link_mm));
    for (line, radius) in tool.iter().copied().chain(links) {
        if let Some((value, at)) = along(&line, radius + more, &obstacles.skull, &|_| true, true, worst.value) {
            worst.least(value, sample.knot, at);
        }
    }
    // The circle of the craniotomy: where the tool crosses its plane.
    if obstacles.depth(&p.tip) <= 0.0 {
        return;
    }
    let hole = &obstacles.craniotomy;
    let crossing = tool.iter().find_map(|(line, radius)| {
        let (low, high) = (obstacles.depth(&line.start), obstacles.depth(&line.end));
        (low > 0.0 && high <= 0.0).then(|| (line.start + (line.end - line.start) * (low / (low - high)), *radius))
    });
    match crossing {
        Some((at, radius)) => {
            let value = hole.radius_mm - (at - hole.centre).norm() - radius - more;
            worst.least(value, sample.knot, at);
        }
        // The whole tool is below the rim.
        None => worst.least(-obstacles.depth(&p.tip), sample.knot, p.tip),
    }
}
