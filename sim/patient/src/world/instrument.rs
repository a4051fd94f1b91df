//! The aspirator at work: what it removes, and what tip and shaft touch.
//!
//! Energised, it removes tissue within 2 mm of the tip, nearest first, at a limited rate. **Where:** the
//! instrument is in the now, tissue is kept at rest; a field and a [`Tug`] take one to the other. Which voxel
//! is removed and counted depends on those and the [`Aspirator`] alone. **Invariant:** a voxel goes once, and
//! only within reach: removed + residual = initial. **Events:** entering a forbidden structure counts once
//! until it is left. **Allocation:** none in a step.

use super::TipInPatient;
use super::arm::SHAFT_RADIUS_MM;
use super::aspirator::{Aspirator, Tug};
use crate::anatomy::vessels::FORBIDDEN_DIAMETER_MM;
use crate::distance;
use crate::patient::Patient;
use crate::shift::field::Field;
use crate::truth::{Label, OPEN, REMOVED, SOLID, Truth};
use crate::tumour::HEALTHY_DENSITY;
use bregma_core::flow::Capsule;
use bregma_core::time::Duration;
use nalgebra::{Point3, Vector3};

/// How far from the tip tissue is removed, mm.
pub(crate) const REACH_MM: f64 = 2.0;
/// How far from the initial core removal is overcut, mm.
const OVERCUT_MM: f32 = 2.0;
/// Resectable core keeps that distance from eloquent tissue, mm.
const RESECTABLE_ELOQUENT_MM: f32 = 3.0;
/// And that from forbidden vessels, mm.
const RESECTABLE_VESSEL_MM: f32 = 1.0;
/// Length of shaft that can lie in the head, mm.
const SHAFT_IN_HEAD_MM: usize = 80;
/// A structure counts as left that far from its surface, mm.
const LEFT_MM: f64 = 0.5;
/// A tip so near to a voxel's middle stands in it, mm.
const IN_VOXEL_MM: f64 = 0.87;
/// Room around the reach in which voxels are looked for at rest: tissue there is stretched, and
/// dragged, by less.
const STRETCH_MM: f64 = 1.0;
/// Voxels of 1 mm within 2 mm and that of a point lie in a box of 7 × 7 × 7.
const NEAR_MAX: usize = 343;

pub(crate) struct Resection {
    /// Of each truth voxel: [`SOLID`], [`OPEN`] or [`REMOVED`].
    pub state: Vec<u8>,
    /// Removed voxels in order.
    pub journal: Vec<u32>,
    /// Core that may be removed, by ground truth.
    pub resectable: Vec<bool>,
    /// Signed distance from the initial core's surface, mm, positive outside.
    pub initial_mm: Vec<f32>,
    pub corridor_voxels: usize,
    pub healthy_voxels: usize,
    pub eloquent_voxels: usize,
    pub overcut_voxels: usize,
    pub violations: u32,
    pub bleeding: u32,
    pub tool_time: Duration,
    /// Removal that the rate allows and no voxel has used, mm³ of the softest tissue.
    budget: f64,
    in_vessel: bool,
    in_eloquent: bool,
    bled: Vec<bool>,
}

impl Resection {
    pub(crate) fn new(patient: &Patient) -> Self {
        let truth = &patient.truth;
        let n = truth.grid.len();
        let state: Vec<u8> = (0..n).map(|i| if patient.open_at_start(i) { OPEN } else { SOLID }).collect();
        let corridor = |i: &usize| state[*i] == OPEN && (truth.labels[*i].tissue() || truth.labels[*i] == Label::Csf);
        Self {
            corridor_voxels: (0..n).filter(corridor).count(),
            resectable: (0..n)
                .map(|i| {
                    truth.labels[i].core()
                        && truth.eloquent_mm[i] > RESECTABLE_ELOQUENT_MM
                        && truth.vessel_mm[i] > RESECTABLE_VESSEL_MM
                })
                .collect(),
            initial_mm: distance::signed(truth.grid.dims, |i| truth.labels[i].core()),
            journal: Vec::with_capacity(1 << 15),
            state,
            healthy_voxels: 0,
            eloquent_voxels: 0,
            overcut_voxels: 0,
            violations: 0,
            bleeding: 0,
            tool_time: Duration::ZERO,
            budget: 0.0,
            in_vessel: false,
            in_eloquent: false,
            bled: vec![false; patient.vessels.len()],
        }
    }

    /// Removes at most `allowed_mm3` of the softest tissue and what was left over, nearest first. The nearest
    /// fibrous voxel within reach and where it is now, if there is one.
    pub(crate) fn remove(
        &mut self,
        patient: &Patient,
        field: &Field,
        tip: &TipInPatient,
        allowed_mm3: f64,
        with: &Aspirator,
    ) -> Option<Point3<f64>> {
        let truth = &patient.truth;
        let at = tip.position().coordinates();
        let mut near = [(0.0_f64, 0_usize); NEAR_MAX];
        let mut count = 0;
        let [xs, ys, zs] = truth.grid.around(&field.rest(&at), REACH_MM + STRETCH_MM);
        for k in zs {
            for j in ys.clone() {
                for i in xs.clone() {
                    let index = truth.grid.index([i, j, k]);
                    let label = truth.labels[index];
                    let removable = self.state[index] == SOLID && (label.tissue() || label == Label::Csf);
                    if !removable {
                        continue;
                    }
                    let far = nalgebra::distance(&dragged(field.now(&truth.grid.centre([i, j, k])), with.tug()), &at);
                    let met = !with.outside_in() || far < IN_VOXEL_MM || self.exposed(truth, [i, j, k]);
                    if far <= REACH_MM && met && count < NEAR_MAX {
                        near[count] = (far, index);
                        count += 1;
                    }
                }
            }
        }
        // What is not used where there is nothing to remove is not saved up.
        self.budget = if count == 0 { 0.0 } else { self.budget + allowed_mm3 };
        near[..count].sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let fibrous = near[..count].iter().find(|(_, index)| with.fibrous(*index));
        let fibrous = fibrous.map(|(_, index)| field.now(&truth.grid.centre(truth.grid.voxel(*index))));
        for (_, index) in &near[..count] {
            let cost = with.cost(*index);
            if self.budget < cost {
                break;
            }
            self.budget -= cost;
            self.take(patient, *index);
        }
        fibrous
    }

    /// Whether something is open beside a voxel.
    fn exposed(&self, truth: &Truth, v: [usize; 3]) -> bool {
        (0..3).any(|a| {
            let beside = |c: usize| {
                let mut w = v;
                w[a] = c;
                c < truth.grid.dims[a] && self.state[truth.grid.index(w)] != SOLID
            };
            beside(v[a] + 1) || v[a].checked_sub(1).is_some_and(beside)
        })
    }

    fn take(&mut self, patient: &Patient, index: usize) {
        let truth = &patient.truth;
        self.state[index] = REMOVED;
        self.journal.push(index as u32);
        let label = truth.labels[index];
        if !label.tissue() {
            return;
        }
        self.healthy_voxels += usize::from(!label.core() && truth.density[index] < HEALTHY_DENSITY);
        self.overcut_voxels += usize::from(self.initial_mm[index] > OVERCUT_MM);
        if truth.eloquent[index] > 0 {
            self.eloquent_voxels += 1;
            self.violations += u32::from(!self.in_eloquent);
            self.in_eloquent = true;
        }
    }

    /// Counts what tip and shaft entered; with `cuts`, also the vessels that no scan shows around a tip that
    /// is energised.
    pub(crate) fn touch(&mut self, patient: &Patient, field: &Field, tip: &TipInPatient, cuts: bool) {
        let truth = &patient.truth;
        let at = tip.position().coordinates();
        let back: Vector3<f64> = -tip.z_axis();
        let (mut vessel, mut thin, mut eloquent) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
        for mm in 0..SHAFT_IN_HEAD_MM {
            let Some(voxel) = truth.grid.containing(&field.rest(&(at + back * mm as f64))) else { break };
            let index = truth.grid.index(voxel);
            vessel = vessel.min(f64::from(truth.vessel_mm[index]));
            eloquent = eloquent.min(f64::from(truth.eloquent_mm[index]));
            if mm == 0 {
                thin = f64::from(truth.thin_vessel_mm[index]);
            }
        }
        // Fields are read at voxel centres, up to 0.87 mm from the shaft: exact only where they are near.
        let gap = if vessel < SHAFT_RADIUS_MM + 2.0 { vessel_gap(patient, field, &at, &back) } else { f64::INFINITY };
        self.violations += u32::from(gap < 0.0 && !self.in_vessel);
        self.in_vessel = gap < 0.0 || (self.in_vessel && gap < LEFT_MM);
        let gap = eloquent - SHAFT_RADIUS_MM;
        self.violations += u32::from(gap < 0.0 && !self.in_eloquent);
        // Removal reaches further than the tip: it has left when nothing eloquent is within reach.
        self.in_eloquent = gap < 0.0 || (self.in_eloquent && eloquent < REACH_MM + LEFT_MM);
        if cuts && thin < SHAFT_RADIUS_MM + 1.0 {
            self.bleed(patient, &field.rest(&at));
        }
    }

    /// A vessel was opened that a person or a scan had shown: a forbidden structure, unless that was counted.
    pub(crate) fn cut_known(&mut self) {
        self.violations += u32::from(!self.in_vessel);
    }

    /// The energised tip, taken to rest, inside a vessel that no scan shows: once a vessel piece.
    fn bleed(&mut self, patient: &Patient, tip: &Point3<f64>) {
        for (vessel, bled) in patient.vessels.iter().zip(&mut self.bled) {
            let thin = 2.0 * vessel.radius_mm < FORBIDDEN_DIAMETER_MM;
            if thin && !*bled && vessel.distance_mm(tip) < SHAFT_RADIUS_MM {
                *bled = true;
                self.bleeding += 1;
            }
        }
    }
}

/// Where a point now is while the instrument tugs.
fn dragged(now: Point3<f64>, tug: Option<&Tug>) -> Point3<f64> {
    tug.map_or(now, |tug| now + tug.drag(&now))
}

/// Smallest gap between the shaft and a forbidden vessel where that is now, mm; negative inside.
fn vessel_gap(patient: &Patient, field: &Field, tip: &Point3<f64>, back: &Vector3<f64>) -> f64 {
    let far = tip + back * SHAFT_IN_HEAD_MM as f64;
    // A piece that rests further away than anything has moved is not near now.
    let near_mm = field.largest_mm() + SHAFT_RADIUS_MM + LEFT_MM;
    let near = |v: &&Capsule| 2.0 * v.radius_mm >= FORBIDDEN_DIAMETER_MM && between(v, tip, &far) <= near_mm;
    let now = |v: &Capsule| Capsule { start: field.now(&v.start), end: field.now(&v.end), radius_mm: v.radius_mm };
    let wide = patient.vessels.iter().filter(near);
    wide.map(|v| between(&now(v), tip, &far) - SHAFT_RADIUS_MM).fold(f64::INFINITY, f64::min)
}

/// Distance of a segment from a capsule's surface (C. Ericson, *Real-Time Collision Detection*, 5.1.9).
fn between(capsule: &Capsule, p: &Point3<f64>, q: &Point3<f64>) -> f64 {
    let (d1, d2, r) = (capsule.end - capsule.start, q - p, capsule.start - p);
    let (a, e, f) = (d1.norm_squared().max(1e-12), d2.norm_squared().max(1e-12), d2.dot(&r));
    let (b, c) = (d1.dot(&d2), d1.dot(&r));
    let denominator = a * e - b * b;
    let s = if denominator > 1e-12 { ((b * f - c * e) / denominator).clamp(0.0, 1.0) } else { 0.0 };
    let t = (b * s + f) / e;
    let (s, t) = if t < 0.0 {
        ((-c / a).clamp(0.0, 1.0), 0.0)
    } else if t > 1.0 {
        (((b - c) / a).clamp(0.0, 1.0), 1.0)
    } else {
        (s, t)
    };
    ((capsule.start + d1 * s) - (p + d2 * t)).norm() - capsule.radius_mm
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = Point3<f64>> {
        prop::array::uniform3(-10.0..10.0f64).prop_map(Point3::from)
    }

    proptest! {
        #[test]
        fn segments_are_as_far_apart_as_their_nearest_points(a in point(), b in point(), p in point(), q in point()) {
            let capsule = Capsule { start: a, end: b, radius_mm: 0.5 };
            let found = between(&capsule, &p, &q);
            let sampled = (0..=200).map(|n| capsule.distance_mm(&(p + (q - p) * (f64::from(n) / 200.0)))).fold(f64::INFINITY, f64::min);
            // Samples lie at most 0.09 mm apart on a segment of 35 mm.
            prop_assert!(found <= sampled + 1e-9 && sampled - found < 0.1, "{found} {sampled}");
        }
    }
}
