//! What bleeds: vessels that were opened, the blood and water that pool, and how a surgeon stops it.
//!
//! **Flow:** an opened vessel gives what it carried, times a factor drawn for each: Q = k·d³, as the vessels
//! of this head obey Murray's law (C. D. Murray, PNAS 12, 1926), with k from the middle cerebral artery:
//! 21 % of 717 mL/min (L. Zarrinkoob et al., J. Cereb. Blood Flow Metab. 35, 2015) through about 3 mm.
//! **It stops** by itself in thin vessels, falling to nothing over seconds to minutes (an expert's estimate);
//! wide ones go on until somebody treats them. **Units:** mm, mm³, s; places at rest. **Allocation:** 13 bytes
//! a truth voxel once something bleeds or rinses; lists that grow. **Invariant:** poured = held + sucked +
//! spilled; no tissue is removed here. **Not modelled:** spasm, blood pressure, clotting, brain that swells.

use super::aspirator::InstrumentSettings;
use crate::anatomy::vessels::FORBIDDEN_DIAMETER_MM;
use crate::microscope::blood::{BloodMap, Films, Flow, Source};
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use bregma_core::flow::{Capsule, Energy};
use bregma_core::time::{Duration, Instant};
use nalgebra::{Point3, Vector3};

/// Flow of a whole vessel over its diameter cubed, 1/s: 0.21 · 717 mL/min = 2510 mm³/s over (3 mm)³.
pub(crate) const FLOW_PER_MM3: f64 = 93.0;
/// A thin vessel is cut when the middle of a removed voxel is that near its surface, mm; a wide one when it
/// lies in it.
const CUT_MM: f32 = 0.3;
/// A second cut so near a well is the same hole, mm.
const SAME_MM: f64 = 3.0;
/// Time between two looks at what flows.
const PERIOD: Duration = Duration::from_millis(100);
/// How far the jet wets and suction drinks, mm.
const JET_MM: f64 = 3.0;
const SUCTION_MM: f64 = 3.0;

/// A hole in a vessel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Well {
    pub at: Point3<f64>,
    pub rate_mm3_s: f64,
    opened: Instant,
    /// When it will have stopped by itself.
    stops: Option<Instant>,
}

impl Well {
    /// What it gives now, mm³/s.
    pub(crate) fn now_mm3_s(&self, now: Instant) -> f64 {
        let Some(stops) = self.stops else { return self.rate_mm3_s };
        let (whole, age) = (stops.since(self.opened), now.since(self.opened));
        let share = match (whole, age) {
            (Some(whole), Some(age)) if whole > Duration::ZERO => age.secs_f64() / whole.secs_f64(),
            _ => 1.0,
        };
        self.rate_mm3_s * (1.0 - share).max(0.0)
    }
}

pub(crate) struct Bleeding {
    settings: InstrumentSettings,
    draws: Draws,
    wells: Vec<Well>,
    /// Of each vessel piece: whether it was opened.
    opened: Vec<bool>,
    map: Option<BloodMap>,
    down: Vector3<f64>,
    next: Instant,
    /// Since when a surgeon treats, and until when.
    treatment: Option<[Instant; 2]>,
    /// Length of the journal one to two seconds ago, and at the last whole second.
    marks: [usize; 2],
    mark_due: Instant,
    /// Blood that came out of vessels so far, mm³.
    pub lost_mm3: f64,
}

impl Bleeding {
    pub(crate) fn new(patient: &Patient, settings: &InstrumentSettings, down: Vector3<f64>) -> Self {
        Self {
            settings: *settings,
            draws: Draws::new(patient.seed(), Purpose::Bleeding),
            wells: Vec::new(),
            opened: vec![false; patient.vessels.len()],
            map: None,
            down,
            next: Instant::START,
            treatment: None,
            marks: [0; 2],
            mark_due: Instant::START,
            lost_mm3: 0.0,
        }
    }

    /// Whether vessels bleed when they are cut.
    pub(crate) fn vessels_bleed(&self) -> bool {
        self.settings.flow[1] > 0.0
    }

    /// Vessel pieces that a removed voxel cuts for the first time.
    pub(crate) fn cut(&mut self, patient: &Patient, voxel: usize) -> Vec<usize> {
        let truth = &patient.truth;
        if truth.vessel_mm[voxel] > 0.0 && truth.thin_vessel_mm[voxel] > CUT_MM {
            return Vec::new();
        }
        let at = truth.grid.centre(truth.grid.voxel(voxel));
        let cuts = |v: &Capsule| v.distance_mm(&at) <= if thin(v) { f64::from(CUT_MM) } else { 0.0 };
        let fresh = |(piece, v): (usize, &Capsule)| (!self.opened[piece] && cuts(v)).then_some(piece);
        let pieces: Vec<usize> = patient.vessels.iter().enumerate().filter_map(fresh).collect();
        pieces.iter().for_each(|piece| self.opened[*piece] = true);
        pieces
    }

    /// The thin vessel nearest to a place at rest that was not opened before, within a reach; now it is.
    pub(crate) fn tear(&mut self, patient: &Patient, at: &Point3<f64>, reach_mm: f64) -> Option<usize> {
        let near = |(piece, v): (usize, &Capsule)| {
            let far = v.distance_mm(at);
            (thin(v) && !self.opened[piece] && far <= reach_mm).then_some((far, piece))
        };
        let nearest = patient.vessels.iter().enumerate().filter_map(near).min_by(|a, b| a.0.total_cmp(&b.0));
        let (_, piece) = nearest?;
        self.opened[piece] = true;
        Some(piece)
    }

    /// A vessel of that diameter bleeds from now on.
    pub(crate) fn open(&mut self, now: Instant, at: Point3<f64>, diameter_mm: f64) {
        let [low, high] = self.settings.flow;
        let factor = if high > 0.0 { self.draws.uniform(low, high) } else { 1.0 };
        let rate_mm3_s = factor * FLOW_PER_MM3 * diameter_mm * diameter_mm * diameter_mm;
        let share = diameter_mm / self.settings.stops_below_mm.max(1e-9);
        let [shortest, longest] = self.settings.stops_s;
        // Wider ones take longer.
        let seconds = self.draws.log_uniform(shortest, longest) * share.clamp(0.2, 1.0);
        let stops = (share < 1.0).then(|| now + Duration::from_secs_f64(seconds).unwrap_or(Duration::ZERO));
        let well = Well { at, rate_mm3_s, opened: now, stops };
        // Cut again upstream or downstream, one vessel gives no more than the wider of its holes.
        match self.wells.iter_mut().find(|w| nalgebra::distance(&w.at, &at) < SAME_MM) {
            Some(same) if same.now_mm3_s(now) >= rate_mm3_s => {}
            Some(same) => *same = well,
            None => self.wells.push(well),
        }
    }

    /// All that flows now, mm³/s.
    pub(crate) fn flow_mm3_s(&self, now: Instant) -> f64 {
        self.wells.iter().map(|w| w.now_mm3_s(now)).sum()
    }

    /// What covers the surface; `None` before anything bled or rinsed.
    pub(crate) fn films(&self) -> Option<&Films> {
        self.map.as_ref().map(BloodMap::films)
    }

    /// How much blood hides a voxel, 0 to 1.
    pub(crate) fn covered(&self, voxel: usize) -> f32 {
        self.map.as_ref().map_or(0.0, |map| map.covered(voxel))
    }

    /// How much of the journal is at least a second old: what was gone when a person last looked.
    pub(crate) const fn a_second_ago(&self) -> usize {
        self.marks[0]
    }

    /// A surgeon stops what bleeds, and rinses; over when [`Bleeding::treating`] says so. What still comes
    /// meanwhile, less and less, the surgeon's own sucker takes.
    pub(crate) fn treat(&mut self, now: Instant) {
        if self.treatment.is_none() {
            let [low, high] = self.settings.treats_s;
            let seconds = self.draws.uniform(low, high);
            self.treatment = Some([now, now + Duration::from_secs_f64(seconds).unwrap_or(Duration::ZERO)]);
        }
    }

    pub(crate) const fn treating(&self) -> bool {
        self.treatment.is_some()
    }

    /// What is left to treat, 1 to 0; `None` while nobody does.
    fn untreated(&self, now: Instant) -> Option<f64> {
        let [began, by] = self.treatment?;
        let (left, whole) = (by.since(now).unwrap_or(Duration::ZERO), by.since(began)?);
        Some(left.secs_f64() / whole.secs_f64().max(1e-9))
    }

    /// Lets a step pass. `tip` is where the tip is at rest; `energy` what the instrument really does.
    pub(crate) fn pass(&mut self, now: Instant, patient: &Patient, state: &[u8], removed: usize, tip: &Tip) {
        if now >= self.mark_due {
            self.mark_due = self.mark_due + Duration::from_secs(1);
            self.marks = [self.marks[1], removed];
        }
        if now < self.next {
            return;
        }
        self.next = self.next + PERIOD;
        let dt = PERIOD.secs_f64();
        if let Some(left) = self.untreated(now) {
            self.lost_mm3 += self.flow_mm3_s(now) * left * dt;
            if left <= 0.0 {
                self.treatment = None;
                self.wells.clear();
                self.map.iter_mut().for_each(BloodMap::dry);
            }
            return;
        }
        self.wells.retain(|w| w.stops.is_none_or(|stops| now < stops));
        let rinses = self.vessels_bleed() && tip.energy.irrigation;
        if self.map.is_none() && (rinses || !self.wells.is_empty()) {
            self.map = Some(BloodMap::new(patient.truth.grid, self.down));
        }
        let Some(map) = &mut self.map else { return };
        let source = |w: &Well| Source { at: w.at, rate_mm3_s: w.now_mm3_s(now) };
        let sources: Vec<Source> = self.wells.iter().map(source).collect();
        self.lost_mm3 += sources.iter().map(|s| s.rate_mm3_s * dt).sum::<f64>();
        let s = &self.settings;
        let flow = |on: bool, rate_mm3_s, reach_mm| on.then_some(Flow { at: tip.at, rate_mm3_s, reach_mm });
        let irrigation = flow(tip.energy.irrigation, s.irrigation_mm3_s, JET_MM);
        let suction = flow(tip.energy.suction && !tip.clogged, s.suction_mm3_s, SUCTION_MM);
        map.step(dt, state, &sources, irrigation, suction);
    }

    #[cfg(test)]
    pub(crate) fn wells(&self) -> &[Well] {
        &self.wells
    }

    #[cfg(test)]
    pub(crate) const fn map(&self) -> Option<&BloodMap> {
        self.map.as_ref()
    }
}

/// The tip, as fluids meet it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tip {
    /// At rest.
    pub at: Point3<f64>,
    pub energy: Energy,
    pub clogged: bool,
}

/// Whether no scan shows it.
pub(crate) fn thin(vessel: &Capsule) -> bool {
    2.0 * vessel.radius_mm < FORBIDDEN_DIAMETER_MM
}
