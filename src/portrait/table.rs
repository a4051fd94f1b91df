//! What many digital patients come to, beside what was measured on real ones: one table in Markdown.
//!
//! **Units:** mL, mm, minutes since the dura was opened; contrasts over the median of white matter far from
//! the tumour. **Real contrasts:** medians over expert labels on three real gliomas, measured in the same way.
//! **Shift:** cortex of 61 patients about 50 minutes after the dura was opened and at the operation's end, M.
//! H. T. Reinges et al., Acta Neurochir. 146 (2004); the deep margin's range is an expert's estimate.

use bregma_patient::{FORBIDDEN_DIAMETER_MM, Patient, ScanFigures, ShiftFigures, VesselKind, WorldKind};
use std::fmt::Write as _;

/// When shift is looked at.
const MINUTES: [f64; 2] = [50.0, 107.0];

/// Figures of one patient.
pub struct Row {
    scans: ScanFigures,
    shift: Vec<ShiftFigures>,
    /// Diameters of arteries and veins, weighed by length: thinnest tenth, median, thickest.
    vessels: [[f64; 3]; 2],
    /// Metres of vessels, and of those that are forbidden.
    length_m: [f64; 2],
    murray: Option<f64>,
}

impl Row {
    /// Measures a patient.
    #[must_use]
    pub fn of(patient: &Patient, world: WorldKind) -> Self {
        let pieces: Vec<(VesselKind, f64, f64)> = patient
            .vessels()
            .map(|(kind, v)| (kind, 2.0 * v.radius_mm, nalgebra::distance(&v.start, &v.end)))
            .collect();
        let spread = |kind: VesselKind| {
            let mut own: Vec<(f64, f64)> = pieces.iter().filter(|p| p.0 == kind).map(|p| (p.1, p.2)).collect();
            own.sort_by(|a, b| a.0.total_cmp(&b.0));
            let whole: f64 = own.iter().map(|p| p.1).sum();
            let at = |share: f64| {
                let mut passed = 0.0;
                own.iter()
                    .find(|p| {
                        passed += p.1;
                        passed >= share * whole
                    })
                    .or(own.last())
                    .map_or(f64::NAN, |p| p.0)
            };
            [at(0.1), at(0.5), at(1.0)]
        };
        let metres = |least: f64| pieces.iter().filter(|p| p.1 >= least).map(|p| p.2).sum::<f64>() * 1e-3;
        Self {
            scans: patient.scan_figures(),
            shift: patient.shift_course(world, &MINUTES),
            vessels: [spread(VesselKind::Artery), spread(VesselKind::Vein)],
            length_m: [metres(0.0), metres(FORBIDDEN_DIAMETER_MM)],
            murray: patient.murray_exponent(),
        }
    }
}

/// Mean, standard deviation, least and most.
struct Spread([f64; 4]);

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        Self([mean, variance.sqrt(), low, high])
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [mean, deviation, low, high] = self.0;
        write!(f, "{mean:.2} ± {deviation:.2} ({low:.2} to {high:.2})")
    }
}

/// A figure's name, how to read it from a patient, and what real ones have.
type Figure = (&'static str, fn(&Row) -> f64, &'static str);

const FIGURES: [Figure; 20] = [
    ("core, mL", |r| r.scans.core_ml, "2 to 60 wanted"),
    ("whole tumour as FLAIR shows it, mL", |r| r.scans.whole_ml, ""),
    ("necrotic share of the core", |r| r.scans.necrotic_share, ""),
    ("T1c: enhancing rim", |r| r.scans.t1c.rim, "1.17, 1.41, 2.01"),
    ("T1c: oedema", |r| r.scans.t1c.oedema, "0.63 to 0.87"),
    ("T1c: grey matter", |r| r.scans.t1c.grey, "0.74 to 0.77"),
    ("FLAIR: enhancing rim", |r| r.scans.flair.rim, "1.57 to 1.83"),
    ("FLAIR: oedema", |r| r.scans.flair.oedema, "1.63 to 1.84"),
    ("FLAIR: grey matter", |r| r.scans.flair.grey, "1.01 to 1.12"),
    ("exposed cortex has moved after 50 min, mm", |r| r.shift[0].cortical_mm, "6.1 ± 3.4 (0.8 to 14.3)"),
    ("  of it outwards (sag is negative), mm", |r| r.shift[0].outward_mm, ""),
    ("deep margin has moved after 50 min, mm", |r| r.shift[0].deep_mm, "2 to 6, a tail over 10"),
    ("exposed cortex has moved after 107 min, mm", |r| r.shift[1].cortical_mm, "6.6 ± 3.2 (2.4 to 15.2) at the end"),
    ("deep margin has moved after 107 min, mm", |r| r.shift[1].deep_mm, "2 to 6, a tail over 10"),
    ("arteries, median diameter by length, mm", |r| r.vessels[0][1], "0.1 to 3.5"),
    ("arteries, largest diameter, mm", |r| r.vessels[0][2], "M1 2.5 to 3.5"),
    ("veins, median diameter by length, mm", |r| r.vessels[1][1], "0.5 to 4"),
    ("veins, largest diameter, mm", |r| r.vessels[1][2], "4, sinuses more"),
    ("vessels of 1 mm and more, m", |r| r.length_m[1], ""),
    ("Murray's exponent, fitted", |r| r.murray.unwrap_or(f64::NAN), "2 to 3"),
];

/// The table: one column a world.
#[must_use]
pub fn markdown(home: &[Row], foreign: &[Row], command: &str, unplaced: usize) -> String {
    let mut out = format!(
        "# Digital patients\n\n`{command}`: {} home and {} foreign patients; {unplaced} seeds had no place for their \
         tumour.\nMean ± standard deviation (least to most). Simulated.\n\n| | home | foreign | real |\n|---|---|---|---|\n",
        home.len(),
        foreign.len(),
    );
    for (name, of, real) in FIGURES {
        let column = |rows: &[Row]| {
            if rows.is_empty() { String::from("–") } else { Spread::of(rows.iter().map(of)).to_string() }
        };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {name} | {} | {} | {real} |", column(home), column(foreign));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_what_it_says_and_leaves_out_what_is_no_number() {
        let spread = Spread::of([1.0, 2.0, f64::NAN, 6.0].into_iter());
        assert_eq!(spread.to_string(), "3.00 ± 2.65 (1.00 to 6.00)");
    }
}
