//! The table of motions as a page, and whether its goals are held.

use super::{Category, Line, Tried, Wanted, own_check, search::Best};
use std::fmt::Write as _;

/// The worlds, as columns.
const WORLDS: [&str; 2] = ["home", "foreign"];
/// A physical violation from that on must be refused always, mm.
const SURE_MM: f64 = 1.0;
/// Share of smaller ones that must be refused.
const SMALL_SHARE: f64 = 0.95;
/// Share of safe motions that may be refused.
const SAFE_REFUSED: f64 = 0.02;

/// Upper end of the 95 % interval of a rate, one-sided: C. J. Clopper and E. S. Pearson, *The use of confidence or fiducial
/// limits illustrated in the case of the binomial*, 1934. By bisection of P(at most `k` of `n`) = 0.05.
#[must_use]
pub fn upper95(k: usize, n: usize) -> f64 {
    if n == 0 || k >= n {
        return 1.0;
    }
    let at_most = |p: f64| {
        let mut term = (n as f64) * (1.0 - p).ln();
        let mut sum = term.exp();
        for i in 1..=k {
            term += ((n - i + 1) as f64 / i as f64).ln() + (p / (1.0 - p)).ln();
            sum += term.exp();
        }
        sum
    };
    let (mut low, mut high) = (k as f64 / n as f64, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if at_most(middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Lines of one kind and world.
fn of<'a>(lines: &'a [Line], category: Category, world: &str) -> Vec<&'a Line> {
    lines.iter().filter(|l| l.category == category && l.world == world).collect()
}

/// Refused, and all.
fn refused(lines: &[&Line], which: impl Fn(&Line) -> bool) -> (usize, usize) {
    lines.iter().filter(|l| which(l)).fold((0, 0), |(no, all), l| (no + usize::from(!l.accepted), all + 1))
}

fn sure(line: &Line) -> bool {
    line.unsafe_() && (!line.category.physical() || line.violation >= SURE_MM)
}

/// Every goal that is not held, in words; one of which nothing is known is not held.
#[must_use]
pub fn missed(lines: &[Line]) -> Vec<String> {
    let mut missed = Vec::new();
    for world in WORLDS {
        for category in Category::ALL {
            let lines = of(lines, category, world);
            let mut bar = |what: &str, (no, all): (usize, usize), least: f64| {
                if all == 0 || (no as f64) < least * all as f64 {
                    missed.push(format!("{world}, {}: {what}, {no} of {all} refused", category.name()));
                }
            };
            if category == Category::Safe {
                let (no, all) = refused(&lines, |_| true);
                if all == 0 || no as f64 > SAFE_REFUSED * all as f64 {
                    missed.push(format!("{world}, safe: {no} of {all} refused"));
                }
                continue;
            }
            bar("those that must be refused", refused(&lines, sure), 1.0);
            if category.physical() {
                bar("up to 1 mm", refused(&lines, |l| l.unsafe_() && !sure(l)), SMALL_SHARE);
            }
        }
    }
    missed
}

/// The page.
#[must_use]
pub fn markdown(tried: &Tried, wanted: &Wanted, first_seed: u64, command: &str, picture: &str) -> String {
    let lines = &tried.lines;
    let mut out = format!(
        "# What the validator lets pass\n\n`{command}`\n\nMotions of {} digital patients of each world, seeds from {first_seed} on, \
         which nothing was tuned on. All of it is *simulated*. Truth is the patient's own geometry: vessels as capsules, eloquent \
         tissue, bone and tissue as cubes of 1 mm, the instrument as a row of balls, looked at by brute force, by nothing that the \
         validator uses. The validator sees what the scans show, off by a registration's error that is drawn for each motion from \
         its stated TRE ({} mm at home, {} mm abroad, root mean square), which stands in the scene's error budget.\n\n\
         **Unsafe** is a motion that truly comes nearer than the margin, or exceeds a limit by 2 %; **safe** one that keeps the \
         margin and five standard deviations more, and 90 % of every limit. The margin of vessels and eloquent tissue is what the \
         configuration keeps clear beside the error budget: 1.0 mm of perceive and 0.5 mm of the validator; of bone 1.0 mm; tissue \
         may be pressed by 2.0 mm with the energy off. What was approved is measured as it would be played.\n\n",
        wanted.patients,
        sigma(lines, "home"),
        sigma(lines, "foreign"),
    );
    table(&mut out, lines);
    small(&mut out, lines);
    stopped(&mut out, lines);
    searched(&mut out, &tried.searched);
    let _ = write!(
        out,
        "\n## Acceptance against true clearance\n\n![Share of motions accepted against the true clearance beyond the margin, one chart a kind, home and foreign]({picture})\n\n"
    );
    out.push_str(
        "Left of the red line a motion is unsafe; from five standard deviations right of it on it must pass.\n",
    );
    out
}

fn sigma(lines: &[Line], world: &str) -> String {
    lines.iter().find(|l| l.world == world).map_or_else(|| "–".to_owned(), |l| format!("{:.1}", l.sigma_mm))
}

fn table(out: &mut String, lines: &[Line]) {
    out.push_str("| motions | home: refused of | of them near | share missed, 95 % upper bound | foreign: refused of | of them near | share missed, 95 % upper bound | goal |\n|---|---|---|---|---|---|---|---|\n");
    for category in Category::ALL.into_iter().filter(|c| *c != Category::Safe) {
        let physical = category.physical();
        let mut row = |name: String, which: &dyn Fn(&Line) -> bool, goal: &str| {
            let _ = write!(out, "| {name} |");
            for world in WORLDS {
                let lines = of(lines, category, world);
                let (no, all) = refused(&lines, which);
                let (near_no, near) = refused(&lines, |l| which(l) && l.near());
                let _ = write!(out, " {no} of {all} | {near_no} of {near} | {:.2} % |", upper95(all - no, all) * 100.0);
            }
            let _ = writeln!(out, " {goal} |");
        };
        if physical {
            row(format!("{}, by 1 mm and more", category.name()), &sure, "100 %");
            row(format!("{}, by less", category.name()), &|l| l.unsafe_() && !sure(l), "95 %");
        } else {
            row(category.name().to_owned(), &sure, "100 %");
        }
    }
    out.push_str("| **safe** |");
    for world in WORLDS {
        let (no, all) = refused(&of(lines, Category::Safe, world), |_| true);
        let share = no as f64 / all.max(1) as f64;
        let _ = write!(
            out,
            " {no} of {all} | | {:.2} %, at most {:.2} % refused |",
            share * 100.0,
            upper95(no, all) * 100.0
        );
    }
    out.push_str(" at most 2 % |\n\nNear: within 2 mm of the margin, or a tenth of the limit.\n\n");
    let missed = missed(lines);
    if missed.is_empty() {
        out.push_str("**Every goal is held.**\n");
    } else {
        out.push_str("**Goals that are missed:**\n\n");
        missed.iter().for_each(|why| {
            let _ = writeln!(out, "- {why}");
        });
    }
}

/// Up to a millimetre of violation, a quarter at a time.
fn small(out: &mut String, lines: &[Line]) {
    out.push_str("\n## Up to a millimetre beyond the margin\n\nRefused of all, home and foreign together.\n\n| motions | 0 to 0.25 mm | to 0.5 | to 0.75 | to 1 | all, home | all, foreign |\n|---|---|---|---|---|---|---|\n");
    for category in Category::PHYSICAL {
        let _ = write!(out, "| {} |", category.name());
        let both: Vec<&Line> = lines.iter().filter(|l| l.category == category && l.unsafe_()).collect();
        for quarter in 0..4 {
            let from = f64::from(quarter) * 0.25;
            let (no, all) = refused(&both, |l| (from..from + 0.25).contains(&l.violation));
            let _ = write!(out, " {no} of {all} |");
        }
        for world in WORLDS {
            let (no, all) = refused(&of(lines, category, world), |l| l.unsafe_() && !sure(l));
            let _ = write!(out, " {:.1} % |", no as f64 / all.max(1) as f64 * 100.0);
        }
        out.push('\n');
    }
}

/// What stopped them.
fn stopped(out: &mut String, lines: &[Line]) {
    out.push_str("\n## What stopped them\n\nThe first check that a motion failed, of those that had to be refused; and of safe ones, what refused them.\n\n| motions | stopped by |\n|---|---|\n");
    for category in Category::ALL {
        let mut by = std::collections::BTreeMap::<&str, usize>::new();
        let counts = |l: &&Line| l.category == category && (category == Category::Safe || l.unsafe_());
        for line in lines.iter().filter(counts).filter(|l| !l.accepted) {
            *by.entry(line.by.as_deref().unwrap_or("nothing that was said")).or_default() += 1;
        }
        let mut by: Vec<_> = by.into_iter().collect();
        by.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let said: Vec<String> = by.iter().map(|(what, n)| format!("{what} {n}")).collect();
        let own = own_check(category).map_or_else(String::new, |c| format!(" (meant: {})", c.words().0));
        let _ = writeln!(out, "| {}{own} | {} |", category.name(), said.join(", "));
    }
}

fn searched(out: &mut String, found: &[Best]) {
    out.push_str("\n## Somebody who tries to slip one past it\n\nA search that knows the truth draws motions near the margin and changes what was approved, over and over, for the worst that is approved; one search for each kind and patient.\n\n| motions | world | tried | approved | of them beyond the margin | the worst, mm beyond it | searches that found 1 mm and more |\n|---|---|---|---|---|---|---|\n");
    for category in Category::PHYSICAL {
        for world in WORLDS {
            let of: Vec<&Best> = found.iter().filter(|b| b.category == category && b.world == world).collect();
            let sum = |what: &dyn Fn(&Best) -> usize| of.iter().map(|b| what(b)).sum::<usize>();
            let worst = of.iter().filter_map(|b| b.violation_mm).fold(f64::NEG_INFINITY, f64::max);
            let over = of.iter().filter(|b| b.violation_mm.is_some_and(|v| v >= SURE_MM)).count();
            let worst = if worst.is_finite() { format!("{worst:.2}") } else { "–".into() };
            let _ = writeln!(
                out,
                "| {} | {world} | {} | {} | {} | {worst} | {over} of {} |",
                category.name(),
                sum(&|b| b.tried),
                sum(&|b| b.approved),
                sum(&|b| b.beyond),
                of.len()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_tables() {
        // None of n missed: 1 - 0.05^(1/n). One of twenty: 21.6 % (any table of the binomial's limits).
        assert!((upper95(0, 250) - (1.0 - 0.05_f64.powf(1.0 / 250.0))).abs() < 1e-9);
        assert!((upper95(1, 20) - 0.2161).abs() < 1e-3, "{}", upper95(1, 20));
        assert!((upper95(3, 3) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_that_slips_through_is_named_and_what_nobody_tried_is_not_held() {
        let line = |category, violation, accepted| Line {
            category,
            world: "home".into(),
            seed: 1,
            violation,
            sigma_mm: 0.7,
            accepted,
            by: None,
        };
        let mut lines: Vec<Line> = Vec::new();
        for world in WORLDS {
            for category in Category::ALL {
                let safe = category == Category::Safe;
                let both = [0.5, 1.5]
                    .map(|v| Line { world: world.into(), ..line(category, if safe { -5.0 } else { v }, safe) });
                lines.extend(both);
            }
        }
        assert_eq!(missed(&lines), Vec::<String>::new());
        let mut slipped = lines.clone();
        slipped.push(line(Category::Vessel, 1.2, true));
        assert_eq!(missed(&slipped), ["home, into a vessel: those that must be refused, 1 of 2 refused"]);
        lines.retain(|l| l.category != Category::Speed);
        assert_eq!(missed(&lines).len(), 2);
    }
}
