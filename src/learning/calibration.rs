//! How far a trained network can be believed: measured on patients that it did not learn from, and written into its file.
//!
//! ```text
//!  visits of other patients ─► frames ─┬► Features, as they are and disturbed ─► Likeness
//!                                      ├► logits against the truth ────────────► temperature
//!                                      └► Perceive, at several offsets ─► looks ─┬► overlap ─► offset
//!                                         the classical estimator beside it      └► spots against the truth ─► margin::Rule
//! ```
//! **Offset:** what is added to logits so that overlap is best, patients counting alike, and what is left likewise. **Temperature:** by the likelihood of
//! voxels within 10 mm of the core's surface. **Margin and interval:** a [`Rule`], fitted by quantile regression; its factor is the nine-tenths quantile of error over
//! stated half-width, patients counting alike, wall and tip together. That and every figure of margins is of rules that were fitted without the patient that they are held
//! against, in [`FOLDS`] parts; the one that is kept is fitted to all. Coverage is promised for patients drawn as these are (split conformal
//! prediction). The offset's overlap beside the classical estimator is the best of so many. **Seeds:** of the
//! seeds for learning, apart from those that are learnt from and scored on; no claim is made on them. Home world alone.

mod looks;
mod written;

pub use written::{lines, preferred, put_into, put_into_card};

use super::Settings;
use super::dropout::Dropout;
use super::patients::Patients;
use crate::config::Config;
use crate::perceived::STRATA;
use anyhow::{Context, ensure};
use bregma_perception::model::Model;
use bregma_perception::perceive::classical::share_of;
use bregma_perception::perceive::likeness::Likeness;
use bregma_perception::perceive::margin::Rule;
use bregma_perception::perceive::trust::Trust;
use bregma_perception::train::margin::{Example, fit};
use looks::{FAR, Found, Look, OFFSETS, logit_of, visit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Strata that visits have: kinds of place, depths, and what is left.
const OF_VISITS: usize = 10;
/// Share of places that an interval is to hold.
const NOMINAL: f64 = 0.9;
/// Parts that patients are split into.
pub const FOLDS: usize = 4;
/// Temperatures that are tried, in steps of a fiftieth.
const TEMPERATURES: std::ops::RangeInclusive<u32> = 15..=250;
/// What is left, mL: how it is called, from and to.
const LEFT: [(&str, f64, f64); 3] = [(STRATA[7], 5.0, f64::INFINITY), (STRATA[8], 1.0, 5.0), (STRATA[9], 0.0, 1.0)];

/// Which patients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// Seed of the first, of those for learning.
    pub first_seed: u64,
    /// How many.
    pub patients: usize,
    /// Sequences of a visit to each.
    pub sequences: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// Offset and temperature.
    pub trust: Trust,
    /// How margins follow.
    pub rule: Rule,
    /// What scans look like that it can be believed on.
    pub likeness: Likeness,
    /// Negative log-likelihood a voxel, at temperature 1 and at the best.
    pub likelihood: [f64; 2],
    /// Mean width of the interval, mm.
    pub width_mm: f64,
    /// Share of places within it, by stratum; each patient by a rule that does not know them.
    pub within: Vec<(&'static str, f64)>,
    /// Patients that count.
    pub patients: usize,
    /// How it did beside the classical estimator, by what was left.
    pub beside: Vec<Beside>,
}

/// A network and the classical estimator on the same frames: means over patients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// How much was left.
    pub left: &'static str,
    /// Frames.
    pub frames: usize,
    /// Dice's overlap of residual core: the network's and the classical estimator's.
    pub dice: [f64; 2],
    /// Error of the margin on the wall and at the tip, mm, of both.
    pub margin_mm: [f64; 2],
}

/// Calibrates. `done` hears of each patient.
///
/// # Errors
/// When no patient grows, or a stage refuses.
pub fn calibrate(
    model: &Model,
    wanted: &Wanted,
    threads: usize,
    done: &(dyn Fn() + Sync),
) -> anyhow::Result<Calibrated> {
    let config = Config::demo()?;
    let settings = bregma_patient::PatientSettings::default();
    let patients =
        Patients::prepare(crate::patients::cache(), wanted.first_seed, wanted.patients, &settings, threads, |_, _| ())?;
    // A theatre has T1c and FLAIR, and now and then the others.
    let dropout = Dropout { t1c: 0.0, flair: 0.05, t1: 0.5, t2: 0.5, video: 0.05 };
    ensure!(patients.count() >= FOLDS, "{} patients grew; {FOLDS} are needed", patients.count());
    let visits = Settings {
        seed: wanted.first_seed,
        sequences: wanted.sequences,
        dropout,
        still_share: 0.0,
        ..Settings::default()
    };
    let (next, failed) = (std::sync::atomic::AtomicUsize::new(0), Mutex::new(None));
    let (found, likeness) = (Mutex::new(BTreeMap::new()), Mutex::new(Likeness::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, patients.count()) {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if nth >= patients.count() {
                        return;
                    }
                    match visit(model, &config, &patients, &visits, nth, &likeness) {
                        Ok(one) => {
                            found.lock().unwrap_or_else(PoisonError::into_inner).insert(nth, one);
                        }
                        Err(why) => {
                            next.store(patients.count(), std::sync::atomic::Ordering::Relaxed);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
                        }
                    }
                    done();
                }
            });
        }
    });
    if let Some(why) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(why);
    }
    let found: Vec<Found> = found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    let likeness = likeness.into_inner().unwrap_or_else(PoisonError::into_inner);
    fitted(&found, likeness, wanted.first_seed)
}

/// A place with what was said of it by a rule that does not know its patient.
struct Said {
    error_mm: f64,
    half_mm: f64,
    strata: [&'static str; 6],
}

fn fitted(found: &[Found], likeness: Likeness, seed: u64) -> anyhow::Result<Calibrated> {
    let offset = (0..OFFSETS.len())
        .max_by(|a, b| overlap(found, *a).total_cmp(&overlap(found, *b)))
        .context("offsets to try")?;
    let tried = TEMPERATURES.map(|n| 0.02 * f64::from(n)).map(|t| (loss(found, offset, t), t));
    let (best, temperature) = tried.min_by(|a, b| a.0.total_cmp(&b.0)).context("temperatures to try")?;
    let trust = Trust { offset: OFFSETS[offset], temperature: temperature as f32 };

    let examples: Vec<Vec<Vec<Example>>> = found
        .iter()
        .map(|one| one.looks.iter().map(|look| look.examples(offset, &trust)).filter(|e| !e.is_empty()).collect())
        .collect();
    let looked: Vec<&Look> = found.iter().flat_map(|one| &one.looks).collect();
    ensure!(!looked.is_empty(), "no place of a wall was seen in any visit");
    let error_mm = looked.iter().map(|look| look.rigid_mm).sum::<f32>() / looked.len() as f32;
    let far = share_of(-FAR / trust.temperature);
    let rule_of = |knows: &dyn Fn(usize) -> bool| {
        let known: Vec<&[Vec<Example>]> = (0..found.len())
            .filter(|nth| knows(*nth) && !examples[*nth].is_empty())
            .map(|nth| examples[nth].as_slice())
            .collect();
        (!known.is_empty()).then(|| Rule::new(far, 1.0, error_mm, fit(&known, seed)))
    };
    let mut said = Vec::with_capacity(found.len());
    let mut margins = vec![Vec::new(); found.len()];
    let rules: Vec<Option<Rule>> = (0..FOLDS).map(|fold| rule_of(&|nth| nth % FOLDS != fold)).collect();
    for (nth, one) in found.iter().enumerate() {
        let rule = rules[nth % FOLDS].as_ref().context("patients with walls in several parts are needed")?;
        let mut of_patient = Vec::new();
        for look in &one.looks {
            let places: Vec<Said> = look.said(rule, offset, &trust).collect();
            margins[nth].push(places.iter().map(|p| p.error_mm).sum::<f64>() / places.len().max(1) as f64);
            of_patient.extend(places);
        }
        said.push(of_patient);
    }
    said.retain(|places| !places.is_empty());
    let factor = quantile(&said).context("no place of a wall was seen in any visit")?;
    let each = |of: &dyn Fn(&[Said]) -> Option<f64>| {
        let all: Vec<f64> = said.iter().filter_map(|places| of(places)).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    };
    let width =
        |places: &[Said]| Some(places.iter().map(|p| 2.0 * factor * p.half_mm).sum::<f64>() / places.len() as f64);
    // A visit has neither a newer MRI nor faults: of those nothing is known here.
    let within = STRATA[..OF_VISITS].iter().filter_map(|stratum| {
        let share = each(&|places| {
            let of = || places.iter().filter(|place| place.strata.contains(stratum));
            let inside = of().filter(|p| p.error_mm <= factor * p.half_mm).count();
            (of().count() > 0).then(|| inside as f64 / of().count() as f64)
        });
        share.map(|share| (*stratum, share))
    });
    let within = within.collect();
    let mut rule = rule_of(&|_| true).context("no place of a wall was seen in any visit")?;
    rule.factor = factor as f32;
    Ok(Calibrated {
        trust,
        rule,
        likeness,
        likelihood: [loss(found, offset, 1.0), best],
        width_mm: each(&width).unwrap_or(0.0),
        within,
        patients: said.len(),
        beside: beside(found, offset, &margins),
    })
}

/// Mean of overlap over what is left, patients counting alike.
fn overlap(found: &[Found], offset: usize) -> f64 {
    let of = |(_, from, to): &(&str, f64, f64)| {
        let dice = |look: &Look| (*from..*to).contains(&look.left_ml).then_some(look.dice[offset]);
        mean(found.iter().filter_map(|one| mean(one.looks.iter().filter_map(dice))))
    };
    mean(LEFT.iter().filter_map(of)).unwrap_or(0.0)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_u64), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// Negative log-likelihood a voxel, patients counting alike.
fn loss(found: &[Found], offset: usize, temperature: f64) -> f64 {
    let of_one = |one: &Found| {
        let (mut sum, mut n) = (0.0, 0);
        for (bin, [other, core]) in one.logits.iter().enumerate() {
            let logit = (logit_of(bin) + f64::from(OFFSETS[offset])) / temperature;
            // −ln σ(x) = ln(1 + e^−x).
            sum += *core as f64 * (-logit).exp().ln_1p() + *other as f64 * logit.exp().ln_1p();
            n += other + core;
        }
        (n > 0).then(|| sum / n as f64)
    };
    mean(found.iter().filter_map(of_one)).unwrap_or(0.0)
}

/// `margins`: of each patient, the error of each look by a rule that does not know her, mm.
fn beside(found: &[Found], offset: usize, margins: &[Vec<f64>]) -> Vec<Beside> {
    let of = |(left, from, to): (&'static str, f64, f64)| {
        let each: Vec<Vec<(&Look, f64)>> = found
            .iter()
            .zip(margins)
            .map(|(one, mm)| one.looks.iter().zip(mm.iter().copied()))
            .map(|looks| looks.filter(|(look, _)| (from..to).contains(&look.left_ml)).collect())
            .filter(|looks: &Vec<_>| !looks.is_empty())
            .collect();
        let of = |f: &dyn Fn(&(&Look, f64)) -> f64| {
            mean(each.iter().filter_map(|looks| mean(looks.iter().map(f)))).unwrap_or(0.0)
        };
        (!each.is_empty()).then(|| Beside {
            left,
            frames: each.iter().map(Vec::len).sum(),
            dice: [of(&|(look, _)| look.dice[offset]), of(&|(look, _)| look.classical.dice)],
            margin_mm: [of(&|(_, mm)| *mm), of(&|(look, _)| look.classical.margin_mm)],
        })
    };
    LEFT.into_iter().filter_map(of).collect()
}

/// The least factor by which nine of ten places lie within, patients counting alike; one more patient, of whom nothing is known, would have
/// all of hers outside.
fn quantile(said: &[Vec<Said>]) -> Option<f64> {
    let weight = 1.0 / (said.len() + 1) as f64;
    let ratio = |p: &Said| p.error_mm / p.half_mm.max(1e-3);
    let mut ratios: Vec<(f64, f64)> =
        said.iter().flat_map(|places| places.iter().map(|p| (ratio(p), weight / places.len() as f64))).collect();
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    let reached = |(_, weight): &&(f64, f64)| {
        sum += weight;
        sum >= NOMINAL
    };
    ratios.iter().find(reached).or(ratios.last()).map(|(ratio, _)| *ratio)
}

#[cfg(test)]
mod tests {
    use super::looks::{LOGIT_BINS, Scored, Spot, bin};
    use super::written::better;
    use super::*;

    /// Of the offsets, the one by which overlap is best.
    const BEST: usize = 1;

    /// Spots whose true margin is a millimetre less than the surface says, give or take.
    fn spots(patient: u64) -> Vec<Spot> {
        let mut state = patient + 1;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let one = |_| {
            let near = 4.0 * random();
            Spot {
                network_mm: std::array::from_fn(|s| near - 0.5 * (s as f32 - BEST as f32)),
                classical_mm: [near + random(), near - 1.0],
                logit: Some(-near),
                classical: 60,
                error_mm: 2.0,
                open: false,
                margin_mm: near - 1.0 + 0.5 * random(),
                visible: Some(true),
                strata: [STRATA[0]; 6],
            }
        };
        (0..60).map(one).collect()
    }

    /// Voxels whose logits, with the best offset, are three times what they should be.
    fn sure(patient: u64) -> Found {
        let mut logits = vec![[0; 2]; LOGIT_BINS];
        for (bin, counts) in logits.iter_mut().enumerate() {
            let p = 1.0 / (1.0 + (-(logit_of(bin) + f64::from(OFFSETS[BEST])) / 3.0).exp());
            *counts = [(1e5 * (1.0 - p)) as u64, (1e5 * p) as u64];
        }
        let mut dice = [0.7; OFFSETS.len()];
        dice[BEST] = 0.9;
        let look = Look {
            left_ml: 6.0,
            dice,
            classical: Scored { dice: 0.8, margin_mm: 2.0 },
            core_ml: [3.0; 6],
            classical_ml: 2.5,
            rigid_mm: 0.7,
            spots: spots(patient),
        };
        Found { looks: vec![look], logits }
    }

    #[test]
    fn an_overconfident_network_is_cooled_and_margins_follow_from_what_was_seen() {
        let found: Vec<Found> = (0..12).map(sure).collect();
        let fit = fitted(&found, Likeness::default(), 3).expect("places were seen");
        assert_eq!(fit.trust.offset, OFFSETS[BEST]);
        assert!((fit.trust.temperature - 3.0).abs() < 0.05, "{}", fit.trust.temperature);
        assert!(fit.likelihood[1] < fit.likelihood[0]);
        assert_eq!(fit.rule.far, share_of(-FAR / fit.trust.temperature));
        assert!((fit.rule.error_mm - 0.7).abs() < 1e-6);
        let [one] = fit.beside[..] else { panic!("{:?}", fit.beside) };
        assert_eq!((one.left, one.frames), (STRATA[7], 12));
        let near = |a: [f64; 2], b: [f64; 2], by: f64| (a[0] - b[0]).abs() < by && (a[1] - b[1]).abs() < 1e-9;
        // Half a millimetre either way, uniformly: a quarter in the mean.
        assert!(near(one.dice, [0.9, 0.8], 1e-9) && near(one.margin_mm, [0.25, 2.0], 0.1), "{one:?}");
        assert!((0.8..2.0).contains(&fit.width_mm), "{}", fit.width_mm);
        assert!(better(&fit) && lines(&fit).iter().any(|line| line.starts_with("better: ")));
        for worse in [Beside { margin_mm: [2.0, 1.0], ..one }, Beside { dice: [0.6, 0.8], ..one }] {
            assert!(!better(&Calibrated { beside: vec![one, worse], ..fit.clone() }), "{worse:?}");
        }
        assert!(fit.within.iter().all(|(_, share)| *share >= 0.85), "{:?}", fit.within);
    }

    #[test]
    fn patients_count_alike_however_many_places_they_have() {
        let place = |error_mm: f64| Said { error_mm, half_mm: 1.0, strata: [STRATA[0]; 6] };
        let mut said: Vec<Vec<Said>> = (0..9).map(|_| vec![place(4.0)]).collect();
        said.push((0..1000).map(|_| place(1.0)).collect());
        assert_eq!(quantile(&said), Some(4.0));
    }

    #[test]
    fn bins_hold_their_logits() {
        for logit in [-19.99_f32, -3.2, 0.01, 7.7, 19.9] {
            assert!((logit_of(bin(logit)) - f64::from(logit)).abs() <= 0.026, "{logit}");
        }
        assert_eq!((bin(-1e9), bin(1e9)), (0, LOGIT_BINS - 1));
    }
}
