//! A page about the ladder, from reports of suites.
//!
//! **Read as JSON:** reports are kept for long, and by others; what is missing in one is said, with its file.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// The rungs, as reports name them and as people do.
const RUNGS: [(&str, &str); 4] = [
    ("static", "static: preoperative segmentation, less what the tip swept"),
    ("reregistered", "+ begun anew with each intraoperative MRI"),
    ("surface_shift", "+ surface shift, between scans"),
    ("classical", "the classical estimator, with the microscope's evidence"),
];

/// A case's numbers.
struct Row {
    rungs: [Option<f64>; 4],
    success: bool,
    extent: f64,
    left_ml: f64,
    overcut_ml: f64,
    violations: u64,
    unapproved: u64,
}

/// Reads the reports; each case once.
fn rows(files: &[PathBuf]) -> anyhow::Result<BTreeMap<String, BTreeMap<u64, Row>>> {
    let mut worlds: BTreeMap<String, BTreeMap<u64, Row>> = BTreeMap::new();
    let mut config: Option<(String, String)> = None;
    for file in files {
        let named = || file.display().to_string();
        let text = std::fs::read_to_string(file).with_context(named)?;
        let report: Value = serde_json::from_str(&text).with_context(named)?;
        let suite = (report["suite"]["name"].to_string(), report["model_hash"].to_string());
        let first = config.get_or_insert_with(|| suite.clone());
        ensure!(
            *first == suite,
            "{}: suite {} with model {}; the others are {} with {}",
            named(),
            suite.0,
            suite.1,
            first.0,
            first.1
        );
        for case in report["cases"].as_array().with_context(|| format!("{}: there are no cases in it", named()))? {
            let number = |key: &str| case[key].as_f64().with_context(|| format!("{}: a case without `{key}`", named()));
            let row = Row {
                rungs: RUNGS.map(|(key, _)| case["ladder"][key]["mean"].as_f64()),
                success: case["outcome"] == "success",
                extent: number("extent_of_resection")?,
                left_ml: number("residual_volume_ml")?,
                overcut_ml: number("overcut_ml")?,
                violations: number("forbidden_violations")? as u64,
                unapproved: case["motions"]["executed_unapproved"].as_u64().unwrap_or(0),
            };
            let world = case["world"].as_str().unwrap_or("?").to_owned();
            worlds.entry(world).or_default().insert(number("seed")? as u64, row);
        }
    }
    Ok(worlds)
}

/// The page.
///
/// # Errors
/// A file that cannot be read, is no report, or is of another suite or model than the first.
pub fn markdown(files: &[PathBuf], command: &str) -> anyhow::Result<String> {
    let worlds = rows(files)?;
    ensure!(!worlds.is_empty(), "none of the reports holds a case");
    // Home before foreign, as everywhere.
    let columns: Vec<(&String, Vec<&Row>)> =
        worlds.iter().rev().map(|(w, rows)| (w, rows.values().collect())).collect();
    let mut out = format!(
        "# The ladder\n\n`{command}`. How wrong the margin is at the cavity's wall and at the tip, mm, each rung on the very same \
         observations: mean over cases of a case's mean, every error cut at 10 mm. All of it is *simulated*. Below the rungs, what came of \
         the removals, which went by the classical estimator. Nothing was tuned on these seeds, or on the foreign world.\n\n"
    );
    let mut line = |first: &str, cells: Vec<String>| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| {first} | {} |", cells.join(" | "));
    };
    line("", columns.iter().map(|(world, _)| (*world).clone()).collect());
    line("---", columns.iter().map(|_| "---".to_owned()).collect());
    let mut row = |first: &str, of: &dyn Fn(&[&Row]) -> String| {
        line(first, columns.iter().map(|(_, rows)| of(rows)).collect());
    };
    row("cases", &|rows| rows.len().to_string());
    for (rung, (_, words)) in RUNGS.iter().enumerate() {
        row(words, &|rows| {
            let pairs: Vec<(f64, f64)> = rows.iter().filter_map(|r| Some((r.rungs[rung]?, r.rungs[0]?))).collect();
            if pairs.is_empty() {
                return "–".to_owned();
            }
            let n = pairs.len() as f64;
            let (mean, still) = pairs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
            let better = pairs.iter().filter(|(x, y)| x < y).count();
            match rung {
                0 => format!("{mean:.2}"),
                _ => format!("{mean:.2} ({:+.0} %; better in {better} of {})", 1e2 * (mean / still - 1.0), pairs.len()),
            }
        });
    }
    row("success", &|rows| format!("{} of {}", rows.iter().filter(|r| r.success).count(), rows.len()));
    row("extent of resection, mean", &|rows| format!("{:.0} %", 1e2 * mean(rows, |r| r.extent)));
    row("residual volume, mean, mL", &|rows| format!("{:.2}", mean(rows, |r| r.left_ml)));
    row("overcut, mean, mL", &|rows| format!("{:.2}", mean(rows, |r| r.overcut_ml)));
    row("forbidden violations", &|rows| rows.iter().map(|r| r.violations).sum::<u64>().to_string());
    row("executed unapproved", &|rows| rows.iter().map(|r| r.unapproved).sum::<u64>().to_string());
    let seeds = worlds.iter().rev().map(|(world, rows)| {
        let seeds: Vec<String> = rows.keys().map(u64::to_string).collect();
        format!("{world}: {}", seeds.join(", "))
    });
    let _ = write!(out, "\nSeeds. {}.\n", seeds.collect::<Vec<_>>().join(". "));
    Ok(out)
}

fn mean(rows: &[&Row], of: impl Fn(&Row) -> f64) -> f64 {
    rows.iter().map(|row| of(row)).sum::<f64>() / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(world: &str, seed: u64, rungs: [f64; 2], suite: &str) -> String {
        serde_json::json!({
            "model_hash": "abc",
            "suite": { "name": suite },
            "cases": [{
                "seed": seed, "world": world, "outcome": "success", "extent_of_resection": 0.9, "residual_volume_ml": 0.5,
                "overcut_ml": 0.1, "forbidden_violations": 0, "motions": { "executed_unapproved": 0 },
                "ladder": { "static": { "mean": rungs[0] }, "surface_shift": { "mean": rungs[1] }, "reregistered": null }
            }]
        })
        .to_string()
    }

    #[test]
    fn reports_are_brought_together_and_strangers_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let files = [
            file("a.json", report("home", 1, [2.0, 1.0], "lifelike")),
            file("b.json", report("home", 2, [4.0, 5.0], "lifelike")),
            file("c.json", report("foreign", 1, [3.0, 3.0], "lifelike")),
            // The same case twice counts once.
            file("d.json", report("home", 2, [4.0, 5.0], "lifelike")),
        ];
        let page = markdown(&files, "bregma scenario ladder").expect("reports");
        assert!(page.contains("|  | home | foreign |") && page.contains("| cases | 2 | 1 |"), "{page}");
        assert!(page.contains("| 3.00 (+0 %; better in 1 of 2) | 3.00 (+0 %; better in 0 of 1) |"), "{page}");
        assert!(page.contains("each intraoperative MRI | – | – |") && page.contains("home: 1, 2"), "{page}");
        let other = file("e.json", report("home", 3, [1.0, 1.0], "standard"));
        let why = markdown(&[files[0].clone(), other], "").expect_err("another suite").to_string();
        assert!(why.contains("e.json") && why.contains("standard"), "{why}");
        let broken = file("f.json", "{".to_owned());
        assert!(format!("{:#}", markdown(&[broken], "").expect_err("no JSON")).contains("f.json"));
    }
}
