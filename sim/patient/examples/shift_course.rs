//! Shift of the cortex and of the deep margin over a number of seeds, both worlds.
//!
//! `cargo run --release -p bregma-patient --example shift_course -- 1000 30 [home|foreign]`

use bregma_patient::{Patient, PatientSettings, WorldKind};
use std::io::{self, Write};

/// A clinical series was looked at about then, minutes after the dura was opened.
const MINUTES: [f64; 3] = [1.0, 50.0, 107.0];

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |n: usize, otherwise: u64| words.get(n).and_then(|w| w.parse().ok()).unwrap_or(otherwise);
    let (first, count) = (number(0, 1000), number(1, 10));
    let worlds = [(WorldKind::Home, "home"), (WorldKind::Foreign, "foreign")];
    let mut values = [const { Vec::new() }; 2];
    for seed in first..first + count {
        let Ok(patient) = Patient::grow(seed, &PatientSettings::default()) else {
            writeln!(out, "{seed}: no such patient")?;
            continue;
        };
        for (values, (kind, name)) in values.iter_mut().zip(worlds) {
            if words.get(2).is_some_and(|w| w != name) {
                continue;
            }
            let course = patient.shift_course(kind, &MINUTES);
            write!(out, "{seed} {name:8} {:5.1} mL", patient.core_ml())?;
            for f in &course {
                write!(
                    out,
                    " | {:3.0} min {:5.1} ({:+5.1} out) deep {:5.1}",
                    f.minutes, f.cortical_mm, f.outward_mm, f.deep_mm
                )?;
            }
            writeln!(out)?;
            values.push(course);
        }
    }
    for (values, (_, name)) in values.iter().zip(worlds).filter(|(v, _)| !v.is_empty()) {
        for (n, minutes) in MINUTES.iter().enumerate() {
            let cortex: Vec<f64> = values.iter().map(|c| c[n].cortical_mm).collect();
            let deep: Vec<f64> = values.iter().map(|c| c[n].deep_mm).collect();
            writeln!(out, "{name} {minutes:3.0} min: cortex {} | deep {}", summary(&cortex), summary(&deep))?;
        }
    }
    Ok(())
}

fn summary(values: &[f64]) -> String {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0).max(1.0);
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    format!("{mean:.1} ± {:.1} mm ({low:.1} to {high:.1}, n = {n})", variance.sqrt())
}
