//! How bright each tissue is on each kind of scan, drawn once a patient.
//!
//! **Units:** intensities over white matter's, so white is 1 everywhere. Ranges of T1c and FLAIR are set
//! around medians over expert labels on three real gliomas (intensity over that of white matter far from
//! the tumour, background at 0):
//!
//! | | grey | CSF | enhancing rim | oedema | necrosis |
//! |---|---|---|---|---|---|
//! | T1c | 0.74 to 0.77 | 0.28 | 1.17, 1.41, 2.01 | 0.63 to 0.87 | 0.66 to 1.13 |
//! | FLAIR | 1.01 to 1.12 | 0.18 to 0.23 | 1.57 to 1.83 | 1.63 to 1.84 | 1.48 to 2.11 |
//!
//! T1 is T1c without agent. T2 follows S = ρ·exp(−TE/T2) at TE 90 ms with T2 of 80, 100 and 2000 ms and
//! water of 0.7, 0.8 and 1 in white matter, grey matter and CSF: grey 1.4, CSF 4.2, compressed by the
//! receiver to about 3 (an expert's estimate, as are bone, scalp, dura and vessels). **Randomised**
//! contrasts, for domain randomisation, are ten times as wide and in no order; **foreign** ones lie beyond
//! the measured ranges, as another scanner's would. **Not modelled:** relaxation
//! itself, and how field strength changes it.

use crate::random::{Draws, Purpose};
use bregma_core::flow::Modality;

/// Where contrasts are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContrastMode {
    /// Ranges of real scans.
    Measured,
    /// Anything, for domain randomisation: an oedema may be dark, and a rim may not differ.
    Randomised,
    /// Another field strength and another sequence, beyond those ranges.
    Foreign,
}

/// Intensities over white matter's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Contrasts {
    pub csf: f32,
    pub grey: f32,
    pub oedema: f32,
    pub rim: f32,
    pub necrosis: f32,
    /// How much the rim's contrast varies within it, a share.
    pub patchy: f32,
    pub vessel: f32,
    /// Subdural space and dura.
    pub dura: f32,
    pub bone: f32,
    pub scalp: f32,
    /// Blood a few minutes old, on the wall of the cavity.
    pub blood: f32,
    /// The fluid that the cavity is filled with before a scan.
    pub fluid: f32,
}

impl Contrasts {
    /// Of one patient on one kind of scan; the same on every call.
    pub(crate) fn drawn(seed: u64, modality: Modality, mode: ContrastMode, enhances: bool) -> Self {
        let mut draws = Draws::new(seed ^ (modality as u64) << 56, Purpose::Contrast);
        let mut within = |[low, high]: [f64; 2]| draws.log_uniform(low, high) as f32;
        let ranges = Ranges::of(modality, enhances);
        let measured = Self {
            csf: within(ranges.csf),
            grey: within(ranges.grey),
            oedema: within(ranges.oedema),
            rim: within(ranges.rim),
            necrosis: within(ranges.necrosis),
            patchy: within([0.12, 0.3]),
            vessel: within(ranges.vessel),
            dura: within(ranges.dura),
            bone: within([0.08, 0.2]),
            scalp: within([0.4, 1.2]),
            blood: within(ranges.blood),
            fluid: within(ranges.fluid),
        };
        match mode {
            ContrastMode::Measured => measured,
            // Grey matter nearer to white matter, fluid brighter, oedema and necrosis farther off: an expert's
            // estimate of what a stronger field with shorter echoes does.
            ContrastMode::Foreign => Self {
                csf: 1.3 * measured.csf,
                grey: 1.0 + 0.55 * (measured.grey - 1.0),
                oedema: 1.0 + 1.2 * (measured.oedema - 1.0),
                necrosis: 0.85 * measured.necrosis,
                patchy: 1.5 * measured.patchy,
                vessel: 1.2 * measured.vessel,
                ..measured
            },
            ContrastMode::Randomised => {
                let mut any = || within([0.15, 3.0]);
                Self {
                    csf: any(),
                    grey: any(),
                    oedema: any(),
                    rim: any(),
                    necrosis: any(),
                    vessel: any(),
                    dura: any(),
                    blood: any(),
                    fluid: any(),
                    ..measured
                }
            }
        }
    }

    /// Intensity of every value of the head's T1 volume: straight lines between the template's modes of
    /// CSF (68), grey (166) and white matter (222), and on beyond.
    pub(crate) fn of_t1(&self) -> [f32; 256] {
        std::array::from_fn(|t1| {
            let t1 = t1 as f32;
            if t1 < 68.0 {
                self.csf * (0.7 + 0.3 * t1 / 68.0)
            } else if t1 < 166.0 {
                self.csf + (self.grey - self.csf) * (t1 - 68.0) / 98.0
            } else {
                (self.grey + (1.0 - self.grey) * (t1 - 166.0) / 56.0).max(0.5 * self.grey.min(1.0))
            }
        })
    }
}

struct Ranges {
    csf: [f64; 2],
    grey: [f64; 2],
    oedema: [f64; 2],
    rim: [f64; 2],
    necrosis: [f64; 2],
    vessel: [f64; 2],
    dura: [f64; 2],
    blood: [f64; 2],
    fluid: [f64; 2],
}

impl Ranges {
    const fn of(modality: Modality, enhances: bool) -> Self {
        match modality {
            // Still tissue in a time-of-flight sequence is saturated: nearly even.
            Modality::Mra => Self {
                csf: [0.3, 0.4],
                grey: [0.88, 0.95],
                oedema: [0.85, 0.95],
                rim: [0.9, 1.0],
                necrosis: [0.6, 0.8],
                vessel: [3.2, 4.8],
                dura: [0.4, 0.5],
                blood: [0.9, 1.0],
                fluid: [0.3, 0.4],
            },
            Modality::T1 => Self {
                csf: [0.25, 0.36],
                grey: [0.7, 0.8],
                oedema: [0.62, 0.88],
                rim: [0.6, 0.85],
                necrosis: [0.45, 0.75],
                vessel: [0.5, 0.9],
                dura: [0.3, 0.5],
                blood: [0.8, 1.05],
                fluid: [0.18, 0.3],
            },
            Modality::T1c => Self {
                csf: [0.25, 0.36],
                grey: [0.72, 0.8],
                oedema: [0.57, 0.9],
                rim: if enhances { [1.17, 2.3] } else { [0.65, 0.9] },
                necrosis: [0.45, 0.95],
                vessel: [1.3, 1.7],
                dura: [0.3, 1.1],
                blood: [0.8, 1.1],
                fluid: [0.18, 0.3],
            },
            Modality::T2 => Self {
                csf: [2.6, 3.4],
                grey: [1.3, 1.55],
                oedema: [1.7, 2.4],
                rim: [1.5, 2.1],
                necrosis: [1.9, 2.9],
                vessel: [0.3, 0.6],
                dura: [0.4, 0.8],
                blood: [0.5, 0.9],
                fluid: [2.4, 3.2],
            },
            Modality::Flair => Self {
                csf: [0.15, 0.3],
                grey: [1.02, 1.19],
                oedema: [1.55, 1.95],
                rim: [1.5, 1.9],
                necrosis: [1.35, 2.3],
                vessel: [0.5, 0.8],
                dura: [0.3, 0.6],
                blood: [1.2, 1.7],
                fluid: [0.12, 0.35],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_the_patients_own_and_cover_real_ones() {
        let drawn = |seed, m| Contrasts::drawn(seed, m, ContrastMode::Measured, true);
        assert_eq!(drawn(3, Modality::T1c), drawn(3, Modality::T1c));
        assert_ne!(drawn(3, Modality::T1c), drawn(4, Modality::T1c));
        let span = |m, part: fn(&Contrasts) -> f32| {
            let all: Vec<f32> = (0..200).map(|s| part(&drawn(s, m))).collect();
            (all.iter().copied().fold(f32::MAX, f32::min), all.iter().copied().fold(0.0, f32::max))
        };
        let covers = |(low, high): (f32, f32), real: [f32; 2]| low <= real[0] && real[1] <= high;
        assert!(covers(span(Modality::Flair, |c| c.oedema), [1.63, 1.84]));
        assert!(covers(span(Modality::Flair, |c| c.rim), [1.57, 1.83]));
        assert!(covers(span(Modality::T1c, |c| c.oedema), [0.63, 0.87]));
        assert!(covers(span(Modality::T1c, |c| c.grey), [0.74, 0.77]));
    }

    #[test]
    fn randomised_ones_are_in_no_order() {
        let drawn: Vec<Contrasts> =
            (0..100).map(|s| Contrasts::drawn(s, Modality::T1c, ContrastMode::Randomised, true)).collect();
        let darker = drawn.iter().filter(|c| c.rim < c.necrosis).count();
        assert!((25..75).contains(&darker), "{darker} of 100 rims are darker than necrosis");
    }

    #[test]
    fn the_templates_modes_keep_their_tissues() {
        let contrasts = Contrasts::drawn(1, Modality::Flair, ContrastMode::Measured, true);
        let of = contrasts.of_t1();
        assert!((of[68] - contrasts.csf).abs() < 1e-5 && (of[166] - contrasts.grey).abs() < 1e-5);
        assert!((of[222] - 1.0).abs() < 1e-5);
    }
}
