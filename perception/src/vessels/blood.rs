//! How bright blood is, and how wide the point spread: what all vessels have in common.
//!
//! A wide vessel shows the level on its plateau, a thin one the point spread by how far its light is smeared, and
//! neither shows both. So both are fitted to all sections at once, each with a radius and a base of its own, by Gauss's
//! and Newton's method; that each section has a level and a point spread slightly off the common ones widens what it
//! says, and sections that disagree, such as veins', count for less (P. J. Huber, Ann. Math. Stat. 35, 1964). Around
//! that the level varies slowly, as a receiver's field does: it is a mean over sections by distance. **Units:**
//! brightness, mm. **Allocation:** a level for each section. **Not protected against:** scans whose vessels are all
//! thinner than the point spread: the level is then known badly, and errors are large.

use super::disc::{Fit, Known, Prior, Pull, fit, pull};
use super::picture::{Picture, percentile};
use super::sections::Section;
use super::threads::each;
use nalgebra::{Matrix2, Point3, Vector2};

/// Before anything was fitted: the point spread over the mean edge of a voxel, and how sure that is (natural logarithm).
const SPREAD_SHARE: f64 = 1.0;
const SPREAD_DOUBT: f64 = 0.5;
/// How much point spread (natural logarithm) and level (share) vary from section to section.
const SPREAD_VARIES: f64 = 0.05;
const LEVEL_VARIES: f64 = 0.06;
/// More sections than that are no use: every second one or so is looked at.
const SECTIONS_MAX: usize = 3000;
/// Rounds of the common fit, and its longest step.
const ROUNDS: usize = 15;
const STEP_MAX: f64 = 0.2;
/// Sections overlap: so many say as much as one that stands alone, a window of 4 mm every millimetre.
const OVERLAP: f64 = 4.0;
/// A section farther off than so many standard deviations counts for less.
const HUBER: f64 = 2.0;
/// How far sections speak for others' level.
const FIELD_MM: f64 = 25.0;
/// Sections whose level is less sure, as a share, do not.
const TELLING_ERROR: f64 = 0.25;
/// The common fit starts at the level that this share of sections does not reach: arteries are brighter than veins.
const BRIGHT_SHARE: f64 = 0.85;
/// The common level counts as much as so many sections at hand.
const COMMON_WEIGHT: f64 = 2.0;

const UNKNOWN: Known = Known { value: 0.0, deviation: f64::INFINITY };

/// What vessels have in common.
#[derive(Debug, Clone)]
pub(super) struct Blood {
    ln_spread: Known,
    /// None where nothing was seen.
    common: Option<f64>,
    /// Where sections know their level: place, level over the common one, weight.
    field: Vec<(Point3<f64>, f64, f64)>,
}

impl Blood {
    /// Learns from all sections; `usual` is the logarithm of blood's brightness on such scans.
    pub fn of(picture: &Picture, sections: &[Vec<Section>], usual: Known, threads: usize) -> Self {
        let every = sections.iter().map(Vec::len).sum::<usize>().div_ceil(SECTIONS_MAX).max(1);
        let all: Vec<&Section> = sections.iter().flatten().step_by(every).collect();
        let mean_mm = picture.step_mm.iter().sum::<f64>() / 3.0;
        let first = Known { value: libm::log(SPREAD_SHARE * mean_mm), deviation: SPREAD_DOUBT };
        let Some(mut at) = start(&all, first, threads) else {
            return Self { ln_spread: first, common: None, field: Vec::new() };
        };
        for _ in 0..ROUNDS {
            let pulls = each(threads, all.len(), |n| pull(&all[n].rings, all[n].radius_mm, at[0], libm::exp(at[1])));
            let step = together(pulls.iter().flatten(), &at, &[first, usual]);
            at += step.map(|v| v.clamp(-STEP_MAX, STEP_MAX));
        }
        let level = libm::exp(at[1]);
        let ln_spread = Known { value: at[0], deviation: SPREAD_VARIES };
        let mut of = Self { ln_spread, common: Some(level), field: Vec::new() };
        of.field = of.field(&all, threads);
        of
    }

    /// Levels of sections that know theirs.
    fn field(&self, sections: &[&Section], threads: usize) -> Vec<(Point3<f64>, f64, f64)> {
        let common = self.common.unwrap_or(1.0);
        let fits = each(threads, sections.len(), |n| fit(&sections[n].rings, &self.prior_without_level(sections[n])));
        let level = |(section, fit): (&&Section, Option<Fit>)| {
            let fit = fit?;
            let (level, error) = (fit.level / common, fit.level_error / common);
            let variance = error * error + LEVEL_VARIES * LEVEL_VARIES;
            let off = (level - 1.0).abs() / (error * error + 4.0 * LEVEL_VARIES * LEVEL_VARIES).sqrt();
            let tells = error < TELLING_ERROR && off < HUBER;
            tells.then_some((section.at, level, LEVEL_VARIES * LEVEL_VARIES / variance))
        };
        sections.iter().zip(fits).filter_map(level).collect()
    }

    /// What is known of a section before it is fitted.
    pub fn prior(&self, section: &Section) -> Prior {
        // Where no vessel says: a thin vessel's peak is blurred to about half its level.
        let peak = section.rings.first().map_or(1.0, |r| r.brightness);
        let level = match self.level(&section.at) {
            Some(value) => Known { value, deviation: LEVEL_VARIES * value },
            None => Known { value: 1.5 * peak, deviation: 0.5 * peak },
        };
        Prior { level, ..self.prior_without_level(section) }
    }

    /// The same, its level being its own.
    pub fn prior_without_level(&self, section: &Section) -> Prior {
        Prior { radius_mm: section.radius_mm, ln_spread: self.ln_spread, level: UNKNOWN }
    }

    /// How bright blood is at a place; none where nothing was seen.
    pub fn level(&self, at: &Point3<f64>) -> Option<f64> {
        let (mut sum, mut weight) = (COMMON_WEIGHT, COMMON_WEIGHT);
        for (place, level, of) in &self.field {
            let w = of * libm::exp(-0.5 * (place - at).norm_squared() / (FIELD_MM * FIELD_MM));
            sum += w * level;
            weight += w;
        }
        Some(self.common? * sum / weight)
    }
}

/// Ln spread and ln level that the common fit starts at: of the brightest blood among sections that know their level.
fn start(sections: &[&Section], first: Known, threads: usize) -> Option<Vector2<f64>> {
    let fits = each(threads, sections.len(), |n| {
        fit(&sections[n].rings, &Prior { radius_mm: sections[n].radius_mm, ln_spread: first, level: UNKNOWN })
    });
    let mut fits: Vec<Fit> = fits.into_iter().flatten().collect();
    let error = |f: &Fit| f.level_error / f.level;
    fits.sort_by(|a, b| error(a).total_cmp(&error(b)));
    let telling = fits.partition_point(|f| error(f) < TELLING_ERROR).max(fits.len().div_ceil(10));
    fits.truncate(telling);
    let middle = |of: &dyn Fn(&Fit) -> f64, fits: &[Fit], share: f64| {
        let mut values: Vec<f32> = fits.iter().map(|f| of(f) as f32).collect();
        f64::from(percentile(&mut values, share))
    };
    let level = middle(&|f| f.level, &fits, BRIGHT_SHARE);
    fits.retain(|f| (f.level / level - 1.0).abs() < TELLING_ERROR);
    let ln_spread = middle(&|f| libm::log(f.spread_mm), &fits, 0.5);
    (!fits.is_empty()).then(|| Vector2::new(ln_spread, libm::log(level.max(1e-3))))
}

/// The step that all want together: a mean by what each knows, and by what was known of both before.
fn together<'a>(pulls: impl Iterator<Item = &'a Pull>, at: &Vector2<f64>, known: &[Known; 2]) -> Vector2<f64> {
    let varies = Matrix2::from_diagonal(&Vector2::new(SPREAD_VARIES, LEVEL_VARIES).map(|v| v * v));
    let (mut matrix, mut sum) = (Matrix2::zeros(), Vector2::zeros());
    for (n, before) in known.iter().enumerate() {
        let weight = before.deviation.powi(-2);
        matrix[(n, n)] += weight;
        sum[n] += weight * (before.value - at[n]);
    }
    for pull in pulls {
        let Some(sure) = (pull.covariance + varies).try_inverse() else { continue };
        let off = pull.step.dot(&(sure * pull.step)).max(0.0).sqrt();
        let weight = (HUBER / off).min(1.0) / OVERLAP;
        matrix += sure * weight;
        sum += sure * pull.step * weight;
    }
    matrix.try_inverse().map_or_else(Vector2::zeros, |m| m * sum)
}
