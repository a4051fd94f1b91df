//! The ultrasonic aspirator of one case: how fast it takes which tissue, where it tugs and when it clogs.
//!
//! **Stiffness** is the truth's: necrosis is soft, grey and white matter firmer, the enhancing rim firmer
//! still, and patches of it are fibrous. A voxel of firmness f goes at soft^(1−f) · firm^f mm³/s.
//! **Tugs:** ultrasound on fibrous tissue drags a neighbourhood of 4 mm towards the tip by some tenths of a
//! millimetre for a moment: what is dragged within reach is taken, and a thin vessel in it may tear.
//! **Clogs** come with fibrous tissue; while clogged nothing is taken until irrigation has rinsed the bore.
//! **Units:** mm, mm³, s. **Where:** tissue is kept at rest, tip and tug are in the now. **Allocation:** in
//! [`Aspirator::new`]. **Determinism:** draws come with events, in the order of the world's steps.
//! **Not modelled:** tugs in the microscope's picture, what they do to wide vessels and eloquent tissue,
//! forces, heat, wear of the tip.

use super::WorldSettingError;
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::truth::Label;
use crate::tumour::noise;
use bregma_core::time::{Duration, Instant};
use nalgebra::{Point3, Vector3};

/// Radius of what a tug drags, mm (an expert's estimate).
pub(crate) const TUG_REACH_MM: f64 = 4.0;
/// From one tug to the next at least.
const TUG_REST: Duration = Duration::from_millis(400);
/// Firmness of fibrous tissue, of 255.
const FIBROUS: u8 = u8::MAX;
/// Spread of firmness about its tissue's own.
const UNEVEN: f32 = 0.08;

/// How the aspirator behaves, and what bleeds. **Source:** rates of removal, an expert's estimates for a bore of
/// about 2 mm; so is everything else here but where a source is named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstrumentSettings {
    /// Slowest and fastest removal of the softest tissue, mm³/s, drawn per patient; 0 takes everything at
    /// [`super::WorldSettings::rate_mm3_s`].
    pub soft_mm3_s: [f64; 2],
    /// The same for fibrous tissue.
    pub firm_mm3_s: [f64; 2],
    /// Least and most share of the enhancing tumour that is fibrous, drawn per patient.
    pub fibrous_share: [f64; 2],
    /// How far fibrous patches reach, mm.
    pub fibrous_mm: f64,
    /// Whether tissue goes from its surface inwards only.
    pub from_surface: bool,
    /// Whether what ultrasound fragments stays where there is no suction.
    pub needs_suction: bool,
    /// Smallest and largest tug, mm; 0 for none.
    pub tug_mm: [f64; 2],
    /// Shortest and longest tug, s.
    pub tug_s: [f64; 2],
    /// Chance that a tug tears a thin vessel in what it drags.
    pub tears: f64,
    /// Clogs for each mL of fibrous tissue taken.
    pub clogs_per_ml: f64,
    /// Shortest and longest irrigation that clears a clog, s.
    pub clears_s: [f64; 2],
    /// Least and most flow of an opened vessel over what it carried before, drawn per vessel; 0 for vessels
    /// that do not bleed.
    pub flow: [f64; 2],
    /// Vessels thinner than that stop bleeding by themselves, mm.
    pub stops_below_mm: f64,
    /// Shortest and longest time after which they do, s.
    pub stops_s: [f64; 2],
    /// Water from the tip, mm³/s.
    pub irrigation_mm3_s: f64,
    /// What suction takes away of blood and water, mm³/s.
    pub suction_mm3_s: f64,
    /// Bleeding from there on is heavy, mm³/s: a surgeon would not let it go on.
    pub heavy_mm3_s: f64,
    /// Shortest and longest time that a surgeon needs to stop a bleeding and rinse, s.
    pub treats_s: [f64; 2],
}

impl InstrumentSettings {
    /// Takes everything within reach at one rate; nothing tugs, clogs or bleeds unless a fault makes it.
    #[must_use]
    pub const fn plain() -> Self {
        Self {
            soft_mm3_s: [0.0; 2],
            firm_mm3_s: [0.0; 2],
            fibrous_share: [0.0; 2],
            fibrous_mm: 6.0,
            from_surface: false,
            needs_suction: false,
            tug_mm: [0.0; 2],
            tug_s: [0.0; 2],
            tears: 0.0,
            clogs_per_ml: 0.0,
            clears_s: [1.0; 2],
            flow: [0.0; 2],
            stops_below_mm: 0.7,
            stops_s: [5.0, 90.0],
            irrigation_mm3_s: 80.0,
            suction_mm3_s: 1500.0,
            heavy_mm3_s: 15.0,
            treats_s: [30.0, 120.0],
        }
    }

    /// The instrument that training and tuning may see.
    #[must_use]
    pub const fn home() -> Self {
        Self {
            soft_mm3_s: [15.0, 40.0],
            firm_mm3_s: [2.0, 5.0],
            fibrous_share: [0.0, 0.15],
            from_surface: true,
            needs_suction: true,
            tug_mm: [0.1, 0.5],
            tug_s: [0.1, 0.4],
            tears: 0.02,
            clogs_per_ml: 3.0,
            clears_s: [0.5, 2.0],
            flow: [0.5, 1.5],
            ..Self::plain()
        }
    }

    /// The one that nothing is ever trained or tuned on.
    #[must_use]
    pub const fn foreign() -> Self {
        Self {
            soft_mm3_s: [5.0, 25.0],
            firm_mm3_s: [1.0, 3.0],
            fibrous_share: [0.05, 0.35],
            fibrous_mm: 3.5,
            tug_mm: [0.2, 0.9],
            tug_s: [0.2, 0.8],
            tears: 0.05,
            clogs_per_ml: 8.0,
            clears_s: [1.0, 4.0],
            flow: [0.8, 3.0],
            stops_below_mm: 0.5,
            stops_s: [10.0, 240.0],
            irrigation_mm3_s: 50.0,
            suction_mm3_s: 800.0,
            ..Self::home()
        }
    }

    /// # Errors
    /// With the first setting that is outside its range.
    pub(crate) fn check(&self) -> Result<(), WorldSettingError> {
        let one = |name, value: f64, low: f64, high: f64, right| {
            let inside = (low..=high).contains(&value);
            if inside { Ok(()) } else { Err(WorldSettingError { name, value: value.to_string(), right }) }
        };
        let range = |name, [a, b]: [f64; 2], low: f64, high: f64, right| {
            let inside = low <= a && a <= b && b <= high;
            if inside { Ok(()) } else { Err(WorldSettingError { name, value: format!("{a} to {b}"), right }) }
        };
        range("instrument.soft_mm3_s", self.soft_mm3_s, 0.0, 100.0, "0 <= slowest <= fastest <= 100 mm³/s")?;
        if self.soft_mm3_s[1] > 0.0 {
            range("instrument.soft_mm3_s", self.soft_mm3_s, 0.1, 100.0, "0.1 <= slowest, or 0 for both")?;
            let most = self.soft_mm3_s[0];
            range("instrument.firm_mm3_s", self.firm_mm3_s, 0.1, most, "0.1 <= slowest <= fastest <= slowest soft")?;
        }
        range("instrument.fibrous_share", self.fibrous_share, 0.0, 1.0, "0 <= least <= most <= 1")?;
        one("instrument.fibrous_mm", self.fibrous_mm, 1.0, 50.0, "1 to 50 mm")?;
        range("instrument.tug_mm", self.tug_mm, 0.0, 1.0, "0 <= smallest <= largest <= 1 mm")?;
        range("instrument.tug_s", self.tug_s, 0.0, 5.0, "0 <= shortest <= longest <= 5 s")?;
        one("instrument.tears", self.tears, 0.0, 1.0, "0 to 1")?;
        one("instrument.clogs_per_ml", self.clogs_per_ml, 0.0, 1000.0, "0 to 1000 a mL")?;
        range("instrument.clears_s", self.clears_s, 0.0, 60.0, "0 <= shortest <= longest <= 60 s")?;
        range("instrument.flow", self.flow, 0.0, 10.0, "0 <= least <= most <= 10")?;
        one("instrument.stops_below_mm", self.stops_below_mm, 0.0, 5.0, "0 to 5 mm")?;
        range("instrument.stops_s", self.stops_s, 1.0, 3600.0, "1 <= shortest <= longest <= 3600 s")?;
        one("instrument.irrigation_mm3_s", self.irrigation_mm3_s, 0.0, 5000.0, "0 to 5000 mm³/s")?;
        one("instrument.suction_mm3_s", self.suction_mm3_s, 0.0, 50_000.0, "0 to 50000 mm³/s")?;
        one("instrument.heavy_mm3_s", self.heavy_mm3_s, 0.1, 1e4, "0.1 to 10000 mm³/s")?;
        range("instrument.treats_s", self.treats_s, 1.0, 3600.0, "1 <= shortest <= longest <= 3600 s")
    }
}

/// What the instrument has met so far. Ground truth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InstrumentFigures {
    /// Times that it tugged.
    pub tugs: u32,
    /// Times that it clogged.
    pub clogs: u32,
    /// Fibrous tissue taken, mL.
    pub fibrous_ml: f64,
}

/// Tissue that is being dragged towards the tip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tug {
    /// The middle of it, now.
    pub at: Point3<f64>,
    /// How far its middle goes.
    pub by: Vector3<f64>,
    until: Instant,
}

impl Tug {
    /// How far it carries what would be at a point now: all of it in the middle, nothing at its edge.
    pub(crate) fn drag(&self, at: &Point3<f64>) -> Vector3<f64> {
        let share = nalgebra::distance_squared(at, &self.at) / (TUG_REACH_MM * TUG_REACH_MM);
        let left = (1.0 - share).max(0.0);
        self.by * (left * left)
    }
}

/// The aspirator and what the patient's tissue is like to it.
pub(crate) struct Aspirator {
    settings: InstrumentSettings,
    draws: Draws,
    /// Removal of the softest and the firmest tissue, mm³/s; `None` where all is alike.
    rates: Option<[f64; 2]>,
    /// Firmness of every truth voxel, of 255; empty where all is alike.
    firmness: Vec<u8>,
    tug: Option<Tug>,
    next_tug: Instant,
    /// Irrigation that a clog still needs; zero while the bore is free.
    clogged: Duration,
    pub figures: InstrumentFigures,
}

impl Aspirator {
    pub(crate) fn new(patient: &Patient, settings: &InstrumentSettings) -> Self {
        let mut draws = Draws::new(patient.seed(), Purpose::Instrument);
        let rates = (settings.soft_mm3_s[1] > 0.0).then(|| {
            let [soft, firm] = [settings.soft_mm3_s, settings.firm_mm3_s];
            [draws.log_uniform(soft[0], soft[1]), draws.log_uniform(firm[0], firm[1])]
        });
        let share = draws.uniform(settings.fibrous_share[0], settings.fibrous_share[1]);
        let alike = rates.is_none() && settings.fibrous_share[1] <= 0.0;
        let firmness = if alike { Vec::new() } else { firmness(patient, share, settings.fibrous_mm, draws.bits()) };
        Self {
            settings: *settings,
            draws,
            rates,
            firmness,
            tug: None,
            next_tug: Instant::START,
            clogged: Duration::ZERO,
            figures: InstrumentFigures::default(),
        }
    }

    /// What the softest tissue goes at, mm³/s.
    pub(crate) fn rate_mm3_s(&self, otherwise: f64) -> f64 {
        self.rates.map_or(otherwise, |[soft, _]| soft)
    }

    /// How many times as long as the softest a voxel takes.
    pub(crate) fn cost(&self, voxel: usize) -> f64 {
        // soft / (soft^(1−f) · firm^f) = (soft / firm)^f.
        self.rates.map_or(1.0, |[soft, firm]| libm::pow(soft / firm, f64::from(self.firmness[voxel]) / 255.0))
    }

    pub(crate) fn fibrous(&self, voxel: usize) -> bool {
        self.firmness.get(voxel) == Some(&FIBROUS)
    }

    pub(crate) const fn outside_in(&self) -> bool {
        self.settings.from_surface
    }

    pub(crate) const fn needs_suction(&self) -> bool {
        self.settings.needs_suction
    }

    pub(crate) fn clogged(&self) -> bool {
        self.clogged > Duration::ZERO
    }

    /// What is dragged now.
    pub(crate) const fn tug(&self) -> Option<&Tug> {
        self.tug.as_ref()
    }

    /// Lets a step pass: tugs let go, and irrigation rinses the bore.
    pub(crate) fn pass(&mut self, now: Instant, step: Duration, irrigates: bool) {
        if self.tug.is_some_and(|tug| now >= tug.until) {
            self.tug = None;
        }
        if irrigates {
            self.clogged = Duration::from_nanos(self.clogged.nanos().saturating_sub(step.nanos()));
        }
    }

    /// Clogs the bore.
    pub(crate) fn clog(&mut self) {
        let [low, high] = self.settings.clears_s;
        self.clogged = Duration::from_secs_f64(self.draws.uniform(low, high)).unwrap_or(Duration::ZERO);
        self.figures.clogs += 1;
    }

    /// Fibrous tissue at a point now is within reach of the working tip. Whether a tug that began tears a
    /// vessel; `None` where none began.
    pub(crate) fn grip(&mut self, now: Instant, at: Point3<f64>, tip: &Point3<f64>) -> Option<bool> {
        let [low, high] = self.settings.tug_mm;
        if high <= 0.0 || self.tug.is_some() || now < self.next_tug {
            return None;
        }
        let size = self.draws.uniform(low, high);
        let [shortest, longest] = self.settings.tug_s;
        let until = now + Duration::from_secs_f64(self.draws.uniform(shortest, longest)).unwrap_or(Duration::ZERO);
        let tears = self.draws.uniform(0.0, 1.0) < self.settings.tears;
        // Never past the tip.
        let way = tip - at;
        let by = way.try_normalize(1e-9).map_or_else(Vector3::zeros, |w| w * size.min(way.norm()));
        self.tug = Some(Tug { at, by, until });
        self.next_tug = until + TUG_REST;
        self.figures.tugs += 1;
        Some(tears)
    }

    /// A voxel went through the bore.
    pub(crate) fn took(&mut self, voxel: usize, voxel_ml: f64) {
        if !self.fibrous(voxel) {
            return;
        }
        self.figures.fibrous_ml += voxel_ml;
        if self.settings.clogs_per_ml > 0.0 && self.draws.uniform(0.0, 1.0) < self.settings.clogs_per_ml * voxel_ml {
            self.clog();
        }
    }
}

/// Firmness of every truth voxel, of 255: its tissue's own, uneven within it; and where fibrous patches are.
fn firmness(patient: &Patient, fibrous_share: f64, patch_mm: f64, seed: u64) -> Vec<u8> {
    let truth = &patient.truth;
    let uneven = noise::field(&truth.grid, patch_mm, seed);
    let mut living: Vec<f32> =
        uneven.iter().zip(&truth.labels).filter(|(_, l)| **l == Label::Enhancing).map(|(n, _)| *n).collect();
    living.sort_unstable_by(f32::total_cmp);
    let soft = ((1.0 - fibrous_share) * living.len() as f64).round() as usize;
    let from = living.get(soft).copied().unwrap_or(f32::INFINITY);
    let firm = |(n, label): (&f32, &Label)| {
        let own = match label {
            Label::Outside | Label::Skull | Label::Csf | Label::Necrosis => return 0,
            Label::Enhancing if *n >= from => return FIBROUS,
            Label::Enhancing => 0.6,
            Label::White | Label::Infiltrated => 0.35,
            Label::Grey => 0.25,
        };
        // Below 255, which is fibrous.
        ((own + UNEVEN * n).clamp(0.0, 0.95) * 255.0) as u8
    };
    uneven.iter().zip(&truth.labels).map(firm).collect()
}
