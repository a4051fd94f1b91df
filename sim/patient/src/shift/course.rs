//! The course of an operation as far as the brain feels it: head position, fluid, pressure, pulse.
//!
//! **Units:** minutes since the dura was opened, mm, kPa. **Sources:** a falling level of fluid as the cause
//! of sag: M. I. Miga et al., IEEE Trans. Med. Imaging 18, 1999; pulsation below 0.8 mm at about 1 Hz with
//! the heart and 0.2 Hz with the breath. The ranges of level, pressure and their times are an expert's
//! estimate, chosen so that the shift of the home world's cortex spans what was measured (M. H. T. Reinges
//! et al., Acta Neurochir. 146, 2004: 6.1 ± 3.4 mm, 0.8 to 14.3).

use crate::kind::WorldKind;
use crate::patient::Patient;
use crate::random::{Draws, turn};
use nalgebra::{Point3, Vector3};

/// What acts at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Conditions {
    /// Unit, against gravity.
    pub up: Vector3<f32>,
    /// Height of the fluid's level along `up`, mm.
    pub level_mm: f32,
    /// Pressure in the brain above the air's, kPa.
    pub pressure_kpa: f32,
}

/// What one patient's operation does over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Course {
    kind: WorldKind,
    pub up: Vector3<f64>,
    /// Height of the brain's top.
    top_mm: f64,
    /// How far the level falls in the end.
    fall_mm: f64,
    fall_minutes: f64,
    /// Pressure when the dura opens, and the share of it that stays.
    pressure_kpa: f64,
    stays: f64,
    subside_minutes: f64,
    /// Amplitudes of heart and breath at the craniotomy, mm; their rates, Hz; their phases.
    pulse_mm: [f64; 2],
    pulse_hz: [f64; 2],
    phase: [f64; 2],
    /// Minutes since opening when the case starts.
    pub start_minutes: f64,
}

impl Course {
    /// Draws a course; `top` gives the brain's highest point along a direction.
    pub(super) fn drawn(
        kind: WorldKind,
        patient: &Patient,
        start_minutes: [f64; 2],
        draws: &mut Draws,
        top: impl Fn(&Vector3<f64>) -> f64,
    ) -> Self {
        // The craniotomy is turned towards the ceiling, give or take what the position allows.
        let lean = draws.direction();
        let angle = (draws.normal() * 25.0).clamp(-60.0, 60.0).to_radians();
        let outward = patient.craniotomy.outward;
        let axis = outward.cross(&lean).try_normalize(1e-6).unwrap_or_else(Vector3::zeros);
        let up = turn(axis * angle) * outward;
        // Large tumours stand under more pressure.
        let size = libm::cbrt(patient.core_ml() / 10.0);
        let (fall_mm, fall_minutes) = match kind {
            WorldKind::Home => (draws.log_uniform(22.0, 85.0), draws.uniform(8.0, 25.0)),
            WorldKind::Foreign => (draws.uniform(10.0, 90.0), draws.uniform(20.0, 70.0)),
        };
        Self {
            kind,
            up,
            top_mm: top(&up),
            fall_mm,
            fall_minutes,
            pressure_kpa: draws.log_uniform(0.1, 0.6) * size,
            stays: draws.uniform(0.0, 0.3),
            subside_minutes: draws.uniform(5.0, 15.0),
            pulse_mm: [draws.uniform(0.05, 0.35), draws.uniform(0.05, 0.4)],
            pulse_hz: [draws.uniform(0.9, 1.4), draws.uniform(0.17, 0.27)],
            phase: [draws.uniform(0.0, 1.0), draws.uniform(0.0, 1.0)],
            start_minutes: draws.uniform(start_minutes[0], start_minutes[1]),
        }
    }

    /// What acts then.
    pub(super) fn at(&self, minutes: f64) -> Conditions {
        let minutes = minutes.max(0.0);
        // Home: it drains ever more slowly. Foreign: at a constant rate until it is gone.
        let drained = match self.kind {
            WorldKind::Home => 1.0 - libm::exp(-minutes / self.fall_minutes),
            WorldKind::Foreign => (minutes / self.fall_minutes).min(1.0),
        };
        let swollen = self.stays + (1.0 - self.stays) * libm::exp(-minutes / self.subside_minutes);
        Conditions {
            up: self.up.cast(),
            level_mm: (self.top_mm - self.fall_mm * drained) as f32,
            pressure_kpa: (self.pressure_kpa * swollen) as f32,
        }
    }

    /// How far heart and breath lift the brain under the craniotomy, mm.
    pub(super) fn pulse_mm(&self, seconds: f64) -> f64 {
        (0..2)
            .map(|i| {
                let turns = self.pulse_hz[i] * seconds + self.phase[i];
                self.pulse_mm[i] * libm::sin(std::f64::consts::TAU * (turns - turns.floor()))
            })
            .sum()
    }
}

/// Share of the pulse at a point: all of it at the craniotomy, none far from it.
pub(super) fn pulse_share(patient: &Patient, at: &Point3<f64>) -> f64 {
    const REACH_MM: f64 = 30.0;
    let far = nalgebra::distance(at, &patient.corridor.entry) / REACH_MM;
    libm::exp(-far * far)
}
