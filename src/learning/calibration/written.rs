//! What a calibration found, into a model's file and its card.

use super::looks::NEAR_MM;
use super::{Beside, Calibrated, FOLDS, Wanted};
use crate::whole;
use anyhow::Context;
use bregma_perception::model::file::ModelFile;
use bregma_perception::perceive::margin::WEIGHTS;
use bregma_perception::perceive::{likeness, trust};
use std::path::Path;

/// Writes it into a model's file, in place of what stood there.
pub fn put_into(file: &mut ModelFile, found: &Calibrated) {
    file.ranges.retain(|name, _| !trust::is_one(name) && !likeness::is_one(name));
    file.ranges.extend(found.trust.ranges());
    file.ranges.extend(found.rule.ranges());
    file.ranges.extend(found.likeness.ranges());
    file.figures.insert("calibration".to_owned(), lines(found).join("; "));
    file.figures.insert(BETTER.to_owned(), better(found).to_string());
}

/// The figure of a model's file that says whether it was better than the classical estimator on the patients that it was calibrated on.
const BETTER: &str = "better than the classical estimator";

/// Whether it was: in margin whatever was left, and in overlap in the mean over that.
pub(super) fn better(found: &Calibrated) -> bool {
    let nearer = |b: &Beside| b.margin_mm[0] < b.margin_mm[1];
    let over: f64 = found.beside.iter().map(|b| b.dice[0] - b.dice[1]).sum();
    found.beside.iter().all(nearer) && over > 0.0
}

/// Whether a model's file says that it is to be preferred to the classical estimator.
#[must_use]
pub fn preferred(file: &ModelFile) -> bool {
    file.figures.get(BETTER).is_some_and(|said| said == "true")
}

/// What was found, for people.
#[must_use]
pub fn lines(found: &Calibrated) -> Vec<String> {
    let Calibrated { trust, rule, likelihood, width_mm, within, patients, beside, .. } = found;
    let mut lines = vec![
        format!(
            "logits plus {:.2}, by which overlap is best; temperature {:.2}: {:.4} nats a voxel within {NEAR_MM} mm of the core, {:.4} before",
            trust.offset, trust.temperature, likelihood[1], likelihood[0]
        ),
        format!(
            "margins and their 90 % interval by a rule of {WEIGHTS} numbers, held against patients that it does not know, in {FOLDS} parts: half of the interval times {:.2}, {width_mm:.2} mm wide in the mean over {patients} patients",
            rule.factor
        ),
    ];
    for Beside { left, frames, dice, margin_mm } in beside {
        lines.push(format!(
            "{left}, {frames} frames: Dice {:.3}, margin {:.2} mm; the classical estimator {:.3}, {:.2} mm",
            dice[0], margin_mm[0], dice[1], margin_mm[1]
        ));
    }
    let word = if better(found) {
        "better: in margin whatever was left, in overlap in the mean"
    } else {
        "not better in margin whatever was left, or not in overlap in the mean: `auto` stays with the classical estimator"
    };
    lines.push(word.to_owned());
    let shares = within.iter().map(|(stratum, share)| format!("{stratum} {:.0} %", 100.0 * share));
    lines.push(format!("within it: {}", shares.collect::<Vec<_>>().join(", ")));
    lines
}

/// Writes it into a network's card, in place of what stood there of an earlier calibration.
///
/// # Errors
/// When the card cannot be read or written.
pub fn put_into_card(path: &Path, wanted: &Wanted, found: &Calibrated) -> anyhow::Result<()> {
    const BEGINS: &str = "## Calibration";
    let card = std::fs::read_to_string(path).with_context(|| format!("the card {} cannot be read", path.display()))?;
    let before = card.split(BEGINS).next().unwrap_or_default().trim_end();
    let seeds = format!("{} to {}", wanted.first_seed, wanted.first_seed + wanted.patients as u64 - 1);
    let text = format!(
        "{before}\n\n{BEGINS}\n\nOn patients of seeds {seeds}, {} places in the removal of each, by `bregma train calibrate` at commit {}:\n\n- {}\n",
        wanted.sequences,
        crate::report::commit(),
        lines(found).join("\n- ")
    );
    whole::write(path, text)
}
