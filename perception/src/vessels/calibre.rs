//! How wide vessels are, by what is bright across them.
//!
//! ```text
//!  voxels around a window of a line ─► mean over rings ─► blurred disc:
//!    1. all together: how bright blood is, and how wide the point spread
//!    2. each with both as priors, so that thin ones, whose peak is blurred away, are measured by all of their light
//! ```
//! **A line has a level of its own** where it is wide enough to say so and says so clearly: veins on an angiogram. The
//! level of the others is that of wide ones around, by distance, as a receiver's field is uneven. **Units:** mm,
//! brightness. **Allocation:** the stations. **Not protected against:** thin vessels whose blood is darker than that of
//! the wide ones around: they seem thinner than they are, in proportion to the root of their level.

use super::Settings;
use super::blood::Blood;
use super::centre::Course;
use super::disc::{Fit, Known, Prior, fit};
use super::owners::{Owned, scale_radius_mm};
use super::picture::{Picture, percentile};
use super::sections::{Section, sections};
use super::threads::each;

/// A line has a level of its own where a sum of squares falls by that for each station, and the level by that share.
const OWN_MISFIT: f64 = 6.0;
const OWN_SHARE: f64 = 0.75;
/// How sure that level is, as a share.
const OWN_DOUBT: f64 = 0.1;
/// How sure a radius is where nothing was fitted: standard deviation of its natural logarithm.
const GUESS_DOUBT: f64 = 0.4;

/// A fitted section.
#[derive(Debug, Clone, Copy)]
struct Station {
    along_mm: f64,
    /// Standard deviation within rings beside the vessel.
    uneven: f64,
    fit: Fit,
}

/// Radius and standard error of ln radius of each point of a line; `own_level` where its blood is another's.
#[derive(Debug, Clone)]
pub(super) struct Calibre {
    /// mm.
    pub radius_mm: Vec<f64>,
    /// Of the natural logarithm.
    pub ln_radius_error: Vec<f64>,
    /// Median contrast over what is around.
    pub contrast: f64,
    /// Median share of that by which brightness beside the line differs around it: a sheet's is large.
    pub uneven: f64,
    /// Whether its blood is darker than what the widest vessels carry.
    pub own_level: bool,
}

/// Measures every line.
pub(super) fn calibres(
    picture: &Picture,
    courses: &[Course],
    owned: &[Vec<Owned>],
    settings: &Settings,
) -> Vec<Calibre> {
    let threads = settings.threads;
    let sections = each(threads, courses.len(), |n| sections(picture, &courses[n], &owned[n]));
    let [brightness, doubt] = settings.blood;
    let usual = Known { value: libm::log(brightness), deviation: doubt };
    let blood = Blood::of(picture, &sections, usual, threads);
    each(threads, courses.len(), |n| {
        let bound = stations(&sections[n], |s| blood.prior(s));
        let free = stations(&sections[n], |s| blood.prior_without_level(s));
        match own_level(&bound, &free, &sections[n], &blood) {
            Some(level) => {
                let own = stations(&sections[n], |s| Prior { level, ..blood.prior_without_level(s) });
                spread_out(&courses[n], &own, true)
            }
            None => spread_out(&courses[n], &bound, false),
        }
    })
}

fn stations(sections: &[Section], prior: impl Fn(&Section) -> Prior) -> Vec<Station> {
    let station = |s: &Section| {
        let fit = fit(&s.rings, &prior(s))?;
        Some(Station { along_mm: s.along_mm, uneven: s.uneven, fit })
    };
    sections.iter().filter_map(station).collect()
}

/// The level of a line whose stations fit clearly better with one of their own, which is lower; the median of what they
/// say alone.
fn own_level(bound: &[Station], free: &[Station], sections: &[Section], blood: &Blood) -> Option<Known> {
    let wide = |s: &&Station| s.fit.radius_mm > s.fit.spread_mm;
    let votes = free.iter().filter(wide).count();
    let misfit = |of: &[Station]| of.iter().map(|s| s.fit.misfit).sum::<f64>();
    let mut levels: Vec<f32> = free.iter().map(|s| s.fit.level as f32).collect();
    let value = f64::from(percentile(&mut levels, 0.5));
    let common = blood.level(&sections.get(sections.len() / 2)?.at)?;
    let clear = 2 * votes > free.len()
        && value < OWN_SHARE * common
        && misfit(bound) - misfit(free) > OWN_MISFIT * free.len() as f64;
    clear.then_some(Known { value, deviation: OWN_DOUBT * value })
}

/// From stations to all points of a line: the nearest two by distance along it; the scale where there are none.
fn spread_out(course: &Course, stations: &[Station], own_level: bool) -> Calibre {
    let spacing_mm = course.spacing_mm();
    let at = |n: usize| -> (f64, f64) {
        let along_mm = n as f64 * spacing_mm;
        let after = stations.partition_point(|s| s.along_mm < along_mm);
        let [a, b] = [after.saturating_sub(1), after.min(stations.len().saturating_sub(1))];
        let (Some(a), Some(b)) = (stations.get(a), stations.get(b)) else {
            return (libm::log(scale_radius_mm(course.scale_mm[n])), GUESS_DOUBT);
        };
        let share = ((along_mm - a.along_mm) / (b.along_mm - a.along_mm).max(1e-9)).clamp(0.0, 1.0);
        let mix = |of: fn(&Station) -> f64| of(a) + (of(b) - of(a)) * share;
        (mix(|s| libm::log(s.fit.radius_mm)), mix(|s| s.fit.ln_radius_error))
    };
    let contrast = |s: &Station| s.fit.level - s.fit.base;
    let median = |of: &dyn Fn(&Station) -> f64| {
        f64::from(percentile(&mut stations.iter().map(|s| of(s) as f32).collect::<Vec<f32>>(), 0.5))
    };
    let (ln_radius, ln_radius_error): (Vec<f64>, Vec<f64>) = (0..course.points.len()).map(at).unzip();
    Calibre {
        radius_mm: ln_radius.into_iter().map(libm::exp).collect(),
        ln_radius_error,
        contrast: median(&contrast),
        uneven: median(&|s| s.uneven / contrast(s)),
        own_level,
    }
}
