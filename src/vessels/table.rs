//! The page about vessels: how many are found in simulated angiograms, where, and how wide.

use super::compare::{Comparison, FoundStep, compare, median};
use crate::patients;
use anyhow::Context;
use bregma_core::flow::Modality;
use bregma_patient::{GrowError, PatientSettings, VesselKind, WorldKind};
use bregma_perception::vessels::{Settings, vessels};
use std::fmt::Write as _;

/// Diameters that are told apart, mm.
const RANGES_MM: [[f64; 2]; 7] =
    [[1.0, 99.0], [1.0, 1.1], [1.1, 1.25], [1.25, 1.5], [1.5, 2.0], [2.0, 2.5], [2.5, 99.0]];
/// Nineteen of twenty positions lie within so many standard errors of one axis: a Rayleigh distribution.
const POSITION_95: f64 = 2.45;

/// Looks at `cases` patients of each world; `done` hears of each.
///
/// # Errors
/// When a patient cannot be had, or a scan is refused.
pub fn markdown(
    cases: usize,
    first_seed: u64,
    threads: usize,
    command: &str,
    done: &dyn Fn(),
) -> anyhow::Result<String> {
    let cache = patients::cache();
    let worlds = [WorldKind::Home, WorldKind::Foreign];
    let mut of = [Modality::Mra, Modality::T1c].map(|_| [Comparison::default(), Comparison::default()]);
    let mut counts = [0, 0];
    for (world, kind) in worlds.into_iter().enumerate() {
        for seed in (0..cases as u64).map(|n| first_seed + n) {
            match patients::fetch(cache.as_ref(), None, seed, &PatientSettings::of(kind)) {
                Ok(fetched) => {
                    counts[world] += 1;
                    for (nth, modality) in [Modality::Mra, Modality::T1c].into_iter().enumerate() {
                        let scan = fetched.patient.scan(modality);
                        let settings = Settings { threads, ..Settings::of(modality) };
                        let tree = vessels(&scan, &settings, None, &|_, _| ())
                            .with_context(|| format!("{} seed {seed}, {modality:?}", kind.name()))?;
                        of[nth][world].add(compare(&scan, &tree, fetched.patient.vessels()));
                    }
                }
                Err(GrowError::NoPlace { .. }) => {}
                Err(why) => return Err(why).with_context(|| format!("{} seed {seed}", kind.name())),
            }
            done();
        }
    }
    let mut out = format!(
        "# Vessels\n\n`{command}`. Vessels found in simulated scans beside the true ones, {} patients at home and {} in the foreign world. \
         All of it is *simulated*. A true vessel is found where an axis lies within 1 mm of its own; a found one is true where any vessel \
         lies there that a scan can show. Nothing was tuned on these seeds, or on the foreign world.\n\n",
        counts[0], counts[1]
    );
    out.push_str("## Time-of-flight MRA, 0.5 mm\n\n");
    table(&mut out, &of[0], true);
    out.push_str("\n## T1 with contrast agent, 1 mm\n\n");
    table(&mut out, &of[1], false);
    Ok(out)
}

fn table(out: &mut String, [home, foreign]: &[Comparison; 2], asked: bool) {
    out.push_str("| | home | foreign | asked for |\n|---|---|---|---|\n");
    let mut row = |name: &str, of: &dyn Fn(&Comparison) -> String, bar: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {name} | {} | {} | {bar} |", of(home), of(foreign));
    };
    let percent = |share: Option<f64>| share.map_or_else(|| "–".into(), |s| format!("{:.1} %", 1e2 * s));
    for (kind, name) in [(VesselKind::Artery, "arteries"), (VesselKind::Vein, "veins")] {
        row(&format!("{name} of 1 mm and more: share of their length found"), &|c| percent(c.recall(kind)), "");
    }
    row("share of what is found that is a vessel", &|c| percent(c.precision()), "");
    for range in RANGES_MM {
        let name = match range {
            range if range == RANGES_MM[0] => {
                "arteries of 1 mm and more: error of the diameter, median (signed)".to_owned()
            }
            [low, high] if high > 50.0 => format!("of {low} mm and more"),
            [low, high] => format!("of {low} to {high} mm"),
        };
        let error = |c: &Comparison| {
            let of = |f: &dyn Fn(f64) -> f64| {
                median(c.matched(VesselKind::Artery, range).map(|(t, found)| f(found.diameter_mm / t - 1.0)).collect())
            };
            of(&f64::abs)
                .zip(of(&|e| e))
                .map_or_else(|| "–".into(), |(a, s)| format!("{:.1} % ({:+.1} %)", 1e2 * a, 1e2 * s))
        };
        row(&name, &error, if asked && range == RANGES_MM[0] { "≤ 10 %" } else { "" });
    }
    let steps = |c: &Comparison, f: &dyn Fn(&(f64, FoundStep)) -> bool| {
        let all: Vec<_> = c.matched(VesselKind::Artery, RANGES_MM[0]).collect();
        percent((!all.is_empty()).then(|| all.iter().filter(|s| f(s)).count() as f64 / all.len() as f64))
    };
    row(
        "diameters within two standard errors",
        &|c| steps(c, &|(t, found)| (found.diameter_mm - t).abs() <= 2.0 * found.diameter_error_mm),
        "95 %",
    );
    let off = |c: &Comparison| median(c.matched(VesselKind::Artery, RANGES_MM[0]).map(|(_, f)| f.off_mm).collect());
    row("axes off, median, mm", &|c| off(c).map_or_else(|| "–".into(), |mm| format!("{mm:.2}")), "");
    row(
        "axes within 2.45 standard errors",
        &|c| steps(c, &|(_, found)| found.off_mm <= POSITION_95 * found.position_error_mm),
        "95 %",
    );
}
