//! The page about estimates: what the network is worth on whole cases, beside what else could be believed.

use super::{BIN_MM, CLASSICAL, CaseFigures, Covered, Frame, OWN, STRATA, Said};
use std::fmt::Write as _;

/// A piece of residual core counts as found where one of at least this is said, mL: half of what makes a resection incomplete.
const FOUND_ML: f64 = 0.0875;
/// A piece that must be found, mL.
const PIECE_ML: f64 = 0.175;
/// The share that intervals are to hold.
const NOMINAL: f64 = 0.9;

/// Every estimator, as frames name it and as people do.
pub const ESTIMATORS: [(&str, &str); 11] = [
    (OWN, "the network, int8"),
    ("f32", "the same in f32"),
    ("forgets", "state reset every frame"),
    ("blind", "video removed"),
    ("preoperative", "MRI frozen at preoperative"),
    ("disturbed", "scans with artefacts"),
    ("attacked", "scans moved against the network, state reset, one frame in four"),
    (CLASSICAL, "classical estimator"),
    ("surface_shift", "newest MRI, surface shift, less what was swept"),
    ("reregistered", "begun anew with each MRI, less what was swept"),
    ("static", "static: preoperative, less what was swept"),
];
/// Of them, the ladder's other rungs.
const OTHERS: [&str; 4] = [CLASSICAL, "surface_shift", "reregistered", "static"];

/// Cases of one world.
struct World<'a>(Vec<&'a CaseFigures>);

impl World<'_> {
    /// Mean over cases of a mean over the frames that count.
    fn macro_mean(&self, of: impl Fn(&Frame) -> Option<f64>) -> Option<f64> {
        mean(self.0.iter().filter_map(|case| mean(case.frames.iter().filter_map(&of))))
    }

    fn dice(&self, by: &str, [from, to]: [f64; 2]) -> Option<f64> {
        self.macro_mean(|f| (f.true_ml >= from && f.true_ml < to).then(|| f.said.get(by).map(|s| s.dice)).flatten())
    }

    /// Mean over cases of a case's mean error, mm.
    fn margin(&self, by: &str, of: impl Fn(&Said) -> (f64, u64)) -> Option<f64> {
        let of_case = |case: &CaseFigures| {
            let all = case.frames.iter().filter_map(|f| f.said.get(by)).map(&of);
            let (sum, n) = all.fold((0.0, 0), |(sum, n), (s, m)| (sum + s, n + m));
            (n > 0).then(|| sum / n as f64)
        };
        mean(self.0.iter().filter_map(|case| of_case(case)))
    }

    /// Frames with less than a millilitre left.
    fn small(&self) -> impl Iterator<Item = (&Frame, &Said)> {
        self.0.iter().flat_map(|c| &c.frames).filter(|f| f.true_ml < 1.0).filter_map(|f| Some((f, f.said.get(OWN)?)))
    }

    /// Share of frames with less than a millilitre left, in which a piece is, or is not, and that is said.
    fn found(&self, there: bool) -> (usize, usize) {
        let frames = self.small().filter(|(f, _)| (f.largest_ml >= PIECE_ML) == there);
        frames.fold((0, 0), |(right, all), (_, s)| (right + usize::from((s.largest_ml >= FOUND_ML) == there), all + 1))
    }

    fn volume_error(&self) -> Option<f64> {
        let mut errors: Vec<f64> = self.small().map(|(f, s)| (s.residual_ml - f.true_ml).abs()).collect();
        errors.sort_by(f64::total_cmp);
        errors.get(errors.len() / 2).copied()
    }

    /// Mean over cases of the share of places within the interval, and of its width, mm.
    fn covered(&self, stratum: &str) -> Option<(f64, f64)> {
        let parts: Vec<&Covered> = self.0.iter().filter_map(|c| c.covered.get(stratum)).collect();
        let share = mean(parts.iter().map(|c| c.within as f64 / c.places as f64))?;
        Some((share, mean(parts.iter().map(|c| c.width_mm / c.places as f64))?))
    }

    /// The narrowest interval of one width for all that holds nine of ten places, cases counting alike, mm.
    fn constant_width(&self) -> Option<f64> {
        let bins = self.0.first()?.errors.len();
        let share = |bin: usize| {
            mean(self.0.iter().map(|c| {
                let n = c.errors.iter().sum::<u64>().max(1);
                c.errors[..=bin].iter().sum::<u64>() as f64 / n as f64
            }))
        };
        let enough = (0..bins).find(|bin| share(*bin).is_some_and(|s| s >= NOMINAL))?;
        Some(2.0 * BIN_MM * (enough + 1) as f64)
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_u64), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// The page.
#[must_use]
pub fn markdown(cases: &[CaseFigures], command: &str) -> String {
    let of = |world: &str| World(cases.iter().filter(|c| c.world == world).collect());
    let worlds = [of("home"), of("foreign")];
    let counts: Vec<String> = worlds.iter().map(|w| w.0.len().to_string()).collect();
    let frames: usize = cases.iter().map(|c| c.frames.len()).sum();
    let mut out = format!(
        "# What the network is worth\n\n`{command}`. Whole simulated removals, {} at home and {} in the foreign world, {frames} frames \
         every 10 simulated seconds, with time for one intraoperative MRI each and faults as tests/scenarios/perception.toml says. All of it is \
         *simulated*. The removals went by the network, in int8; everything else saw the same frames beside it. Figures are means over \
         cases of a case's mean unless they say otherwise. Nothing was learnt, calibrated or tuned on these seeds, or on the foreign \
         world.\n\n",
        counts[0], counts[1]
    );
    bars(&mut out, &worlds);
    estimators(&mut out, &worlds);
    intervals(&mut out, &worlds);
    let seeds = |world: &World<'_>| world.0.iter().map(|c| c.seed.to_string()).collect::<Vec<_>>().join(", ");
    let _ = write!(out, "\nSeeds. Home: {}. Foreign: {}.\n", seeds(&worlds[0]), seeds(&worlds[1]));
    out
}

fn row(out: &mut String, first: &str, cells: [String; 2], bar: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "| {first} | {} | {} | {bar} |", cells[0], cells[1]);
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".into(), |v| format!("{v:.digits$}"))
}

fn bars(out: &mut String, worlds: &[World<'_>; 2]) {
    out.push_str("| | home | foreign | asked for |\n|---|---|---|---|\n");
    let each = |of: &dyn Fn(&World<'_>) -> String| [of(&worlds[0]), of(&worlds[1])];
    let large = [5.0, f64::INFINITY];
    let dice = |by: &'static str, ml: [f64; 2]| each(&move |w| number(w.dice(by, ml), 3));
    row(out, "Dice of residual core, 5 mL or more left", dice(OWN, large), "≥ 0.90");
    row(out, "the same, 1 to 5 mL left", dice(OWN, [1.0, 5.0]), "≥ 0.80");
    row(out, "below 1 mL: error of the volume, median, mL", each(&|w| number(w.volume_error(), 2)), "≤ 0.3");
    let found = |there| {
        each(&|w| {
            let (right, all) = w.found(there);
            if all == 0 { "–".into() } else { format!("{:.2} ({right} of {all})", right as f64 / all as f64) }
        })
    };
    row(out, "below 1 mL: frames with a piece of 0.175 mL or more in which one is found", found(true), "≥ 0.9");
    row(out, "below 1 mL: frames without one in which none is", found(false), "≥ 0.9");
    let ours = |w: &World<'_>| w.margin(OWN, Said::seen);
    row(out, "error of the margin, visible wall and tip, mm", each(&|w| number(ours(w), 2)), "≤ 1.0");
    let over = |w: &World<'_>, by: &str| Some(ours(w)? / w.margin(by, Said::seen)?);
    row(out, "the same, over that of static navigation", each(&|w| number(over(w, "static"), 2)), "≤ 0.4");
    let best = |w: &World<'_>| {
        let others = OTHERS.iter().filter_map(|by| Some((over(w, by)?, *by)));
        others.max_by(|a, b| a.0.total_cmp(&b.0)).map_or_else(|| "–".into(), |(over, by)| format!("{over:.2} ({by})"))
    };
    row(out, "the same, over that of the ladder's best other rung", each(&best), "≤ 0.66");
    let percent = |w: &World<'_>| w.covered("all").map_or_else(|| "–".into(), |(s, _)| format!("{:.0} %", 1e2 * s));
    row(out, "places within the 90 % interval", each(&percent), "86 to 94 %");
    let width = |w: &World<'_>| {
        let (Some((_, ours)), Some(constant)) = (w.covered("all"), w.constant_width()) else { return "–".into() };
        format!("{:.2} ({ours:.2} over {constant:.2} mm)", ours / constant)
    };
    row(out, "its width, over the best constant one", each(&width), "≤ 0.7");
    let loss = |from: &'static str, to: &'static str| {
        each(&move |w| {
            let lost = |f: &Frame| {
                let said = f.said.get(from).zip(f.said.get(to)).filter(|_| f.true_ml >= 1.0);
                said.map(|(from, to)| from.dice - to.dice)
            };
            number(w.macro_mean(lost), 3)
        })
    };
    row(out, "Dice that int8 loses against f32, 1 mL or more left", loss("f32", OWN), "≤ 0.01");
    row(out, "Dice that artefacts cost, 1 mL or more left", loss(OWN, "disturbed"), "≤ 0.05");
    row(
        out,
        "Dice that scans moved against it by 0.03 of their range cost, 1 mL or more left, state reset",
        loss("forgets", "attacked"),
        "≤ 0.05",
    );
}

fn estimators(out: &mut String, worlds: &[World<'_>; 2]) {
    out.push_str(
        "\nBeside each other, home / foreign:\n\n| | Dice, ≥ 5 mL | Dice, 1 to 5 mL | margin, visible wall and tip, mm | margin, all \
         places, mm |\n|---|---|---|---|---|\n",
    );
    for (by, words) in ESTIMATORS {
        let each = |of: &dyn Fn(&World<'_>) -> String| format!("{} / {}", of(&worlds[0]), of(&worlds[1]));
        let _ = writeln!(
            out,
            "| {words} | {} | {} | {} | {} |",
            each(&|w| number(w.dice(by, [5.0, f64::INFINITY]), 3)),
            each(&|w| number(w.dice(by, [1.0, 5.0]), 3)),
            each(&|w| number(w.margin(by, Said::seen), 2)),
            each(&|w| number(w.margin(by, Said::everywhere), 2)),
        );
    }
}

fn intervals(out: &mut String, worlds: &[World<'_>; 2]) {
    out.push_str("\nThe 90 % interval, by stratum: places within it, and its mean width.\n\n| | home | foreign | asked for |\n|---|---|---|---|\n");
    for stratum in STRATA {
        let cell = |w: &World<'_>| {
            w.covered(stratum).map_or_else(|| "–".into(), |(share, mm)| format!("{:.0} %, {mm:.1} mm", 1e2 * share))
        };
        row(
            out,
            stratum,
            [cell(&worlds[0]), cell(&worlds[1])],
            if stratum == STRATA[0] { "86 to 94 %" } else { "≥ 80 %" },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn said(dice: f64, visible: (f64, u64), largest_ml: f64, residual_ml: f64) -> Said {
        Said { dice, visible, largest_ml, residual_ml, ..Said::default() }
    }

    fn case(seed: u64, world: &str, frames: Vec<Frame>) -> CaseFigures {
        let covered = BTreeMap::from([("all".to_owned(), Covered { within: 9, places: 10, width_mm: 20.0 })]);
        let mut errors = vec![0; 400];
        (errors[0], errors[39]) = (89, 11);
        CaseFigures { seed, world: world.into(), model: "m".into(), frames, covered, errors }
    }

    fn frame(true_ml: f64, largest_ml: f64, own: Said, classical: Said) -> Frame {
        let said = BTreeMap::from([(OWN.to_owned(), own), ("classical".to_owned(), classical)]);
        Frame { at_s: 1.0, true_ml, largest_ml, said }
    }

    #[test]
    fn figures_are_means_over_cases() {
        let large = |dice, mm| frame(6.0, 5.0, said(dice, (mm, 1), 5.0, 6.0), said(0.5, (2.0, 1), 5.0, 6.0));
        let cases = [
            case(1, "home", vec![large(0.9, 1.0), large(0.9, 1.0), large(0.9, 1.0)]),
            case(2, "home", vec![large(0.7, 3.0)]),
            case(
                1,
                "foreign",
                vec![
                    frame(0.5, 0.3, said(0.5, (1.0, 2), 0.2, 0.8), said(0.1, (4.0, 2), 0.0, 0.0)),
                    frame(0.5, 0.2, said(0.5, (1.0, 2), 0.01, 0.4), said(0.1, (4.0, 2), 0.0, 0.0)),
                    frame(0.1, 0.1, said(0.5, (1.0, 2), 0.01, 0.1), said(0.1, (4.0, 2), 0.0, 0.0)),
                ],
            ),
        ];
        let page = markdown(&cases, "bregma scenario perception");
        for line in [
            "| Dice of residual core, 5 mL or more left | 0.800 | – | ≥ 0.90 |",
            "| error of the margin, visible wall and tip, mm | 2.00 | 0.50 | ≤ 1.0 |",
            "| the same, over that of the ladder's best other rung | 1.00 (classical) | 0.25 (classical) | ≤ 0.66 |",
            "| below 1 mL: error of the volume, median, mL | – | 0.10 | ≤ 0.3 |",
            "| below 1 mL: frames with a piece of 0.175 mL or more in which one is found | – | 0.50 (1 of 2) | ≥ 0.9 |",
            "| below 1 mL: frames without one in which none is | – | 1.00 (1 of 1) | ≥ 0.9 |",
            "| its width, over the best constant one | 0.50 (2.00 over 4.00 mm) | 0.50 (2.00 over 4.00 mm) | ≤ 0.7 |",
            "| classical estimator | 0.500 / – | – / – | 2.00 / 2.00 | 2.00 / 2.00 |",
            "Seeds. Home: 1, 2. Foreign: 1.",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }
}
