//! Temporal calibration: how much later a camera's pictures are stamped than the tracker's poses, from one motion that
//! both have seen.
//!
//! ```text
//!  picture(t) ≈ A · tracked(t - lag) + b
//! ```
//! For each lag the best `A` and `b` are a linear problem; what is left of the picture's motion is smallest at the right one
//! (variable projection: Golub and Pereyra, 1973). Any lens is near enough to linear over a motion of some centimetres, so
//! that neither needs to be calibrated first. The standard error follows from how fast the residual grows with the lag.
//! **Units:** s, mm, px. **Tracked positions** are smoothed over some poses, never across a gap, never beyond the ends.
//! **Refused:** no common motion, too little or too regular a one, a lag outside the range that was searched.
//! **Not protected against:** a lag that changes while the motion lasts, and rolling shutters.

use nalgebra::{Point2, Point3, SMatrix, SVector, Vector2, Vector3};

/// Of the camera: 6 of `A`, 2 of `b`, 3 of `c`.
const UNKNOWNS: usize = 11;
/// Pictures that count, at least.
pub const PICTURES_MIN: usize = 50;
/// Neighbouring poses farther apart are a gap, s.
const GAP_MAX_S: f64 = 0.25;
/// Step of the first search, s: a tenth of the fastest motion of a hand.
const STEP_S: f64 = 0.005;
/// The search ends there, s.
const FINE_S: f64 = 1e-6;
/// Another minimum counts if it lies as far away, s.
const APART_S: f64 = 0.02;
/// It explains the pictures as well if its residual is larger by at most so many variances: five standard errors.
const AS_WELL: f64 = 25.0;
/// No lens is so linear and no interpolation so good that less than this share of the motion's square is left: 1 % of the motion.
const UNEXPLAINED_LEAST: f64 = 1e-4;
/// Share of the picture's motion that the tracker's must explain.
const EXPLAINED_MIN: f64 = 0.5;

/// Lags that are searched, s.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The least; negative where poses are the later ones.
    pub from_s: f64,
    /// The most.
    pub to_s: f64,
}

/// What is usual: video is 60 to 120 ms late, tracking up to 60.
pub const USUAL: Range = Range { from_s: -0.1, to_s: 0.4 };

/// A calibration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lag {
    /// A picture of time `t` shows what was tracked at `t - lag_s`.
    pub lag_s: f64,
    /// Its standard error.
    pub error_s: f64,
    /// Share of the picture's motion that is explained, 0 to 1.
    pub explained: f64,
    /// Pictures that counted.
    pub pictures: usize,
}

/// Why no lag can be told.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Untimed {
    /// A time or a place that is no number.
    #[error("{what} {index} holds a number that is not finite")]
    NotFinite {
        /// Pose or picture.
        what: &'static str,
        /// Which.
        index: usize,
    },
    /// Times must rise.
    #[error("{what} {index} is not later than the one before it: did a clock step?")]
    Backwards {
        /// Pose or picture.
        what: &'static str,
        /// Which.
        index: usize,
    },
    /// A range that is none.
    #[error("lags from {from_s} to {to_s} s are none to search; at least 20 ms within ±10 s are right")]
    Range {
        /// The least.
        from_s: f64,
        /// The most.
        to_s: f64,
    },
    /// Too few pictures with tracked positions around them.
    #[error(
        "{found} pictures have tracked positions over all lags that are searched; at least {PICTURES_MIN} are needed"
    )]
    TooFew {
        /// How many.
        found: usize,
    },
    /// The motions have little in common.
    #[error(
        "the tracked motion explains {percent:.0} % of the picture's; at least 50 % is needed: is it the same motion?"
    )]
    Unlike {
        /// How much.
        percent: f64,
    },
    /// Two lags explain the pictures as well.
    #[error("{first_ms:.0} and {second_ms:.0} ms explain the pictures as well: move less regularly")]
    Ambiguous {
        /// One.
        first_ms: f64,
        /// The other.
        second_ms: f64,
    },
    /// The best lag is the first or the last.
    #[error("the best lag is {lag_ms:.0} ms, at the end of those that were searched; search farther")]
    End {
        /// Which.
        lag_ms: f64,
    },
}

/// Calibrates, by times and places of poses and of pictures.
///
/// # Errors
/// [`Untimed`].
pub fn calibrate(
    tracked: &[(f64, Point3<f64>)],
    pictured: &[(f64, Point2<f64>)],
    range: Range,
) -> Result<Lag, Untimed> {
    check("pose", tracked.iter().map(|(t, p)| (*t, p.iter().all(|v| v.is_finite()))))?;
    check("picture", pictured.iter().map(|(t, p)| (*t, p.iter().all(|v| v.is_finite()))))?;
    let Range { from_s, to_s } = range;
    if !((-10.0..=10.0).contains(&from_s) && (from_s + 0.02..=10.0).contains(&to_s)) {
        return Err(Untimed::Range { from_s, to_s });
    }
    let pictures: Vec<(f64, Point2<f64>)> =
        pictured.iter().filter(|(t, _)| covered(tracked, t - to_s, t - from_s)).copied().collect();
    let found = pictures.len();
    if found < PICTURES_MIN {
        return Err(Untimed::TooFew { found });
    }
    let problem = Problem::new(tracked, &pictures);
    let count = ((to_s - from_s) / STEP_S).ceil() as usize;
    let at = |i: usize| from_s + (to_s - from_s) * i as f64 / count as f64;
    let left: Vec<f64> = (0..=count).map(|i| problem.left(at(i))).collect();
    let best = (0..=count).min_by(|a, b| left[*a].total_cmp(&left[*b])).unwrap_or(0);
    if best == 0 || best == count {
        return Err(Untimed::End { lag_ms: at(best) * 1e3 });
    }
    let lag_s = narrowed(at(best - 1), at(best + 1), |lag| problem.left(lag));
    let rest = problem.left(lag_s);
    let explained = 1.0 - rest / problem.motion;
    // No motion at all makes it no number, and is refused as well.
    if !(EXPLAINED_MIN..=1.0 + 1e-9).contains(&explained) {
        return Err(Untimed::Unlike { percent: (explained * 100.0).max(0.0) });
    }
    let variance =
        (rest / (2 * found - UNKNOWNS - 1) as f64).max(problem.motion / (2 * found) as f64 * UNEXPLAINED_LEAST);
    let minimum = |i: &usize| left[*i] <= left[i - 1] && left[*i] <= left[i + 1];
    let as_well = |i: &usize| (at(*i) - lag_s).abs() > APART_S && left[*i] - rest <= AS_WELL * variance;
    if let Some(other) = (1..count).filter(minimum).find(as_well) {
        return Err(Untimed::Ambiguous { first_ms: lag_s * 1e3, second_ms: at(other) * 1e3 });
    }
    Ok(Lag { lag_s, error_s: (variance / problem.information(lag_s)).sqrt(), explained, pictures: found })
}

fn check(what: &'static str, samples: impl Iterator<Item = (f64, bool)>) -> Result<(), Untimed> {
    let mut before = f64::NEG_INFINITY;
    for (index, (time, place_is_finite)) in samples.enumerate() {
        if !time.is_finite() || !place_is_finite {
            return Err(Untimed::NotFinite { what, index });
        }
        if time <= before {
            return Err(Untimed::Backwards { what, index });
        }
        before = time;
    }
    Ok(())
}

/// Index of the last pose at or before a time.
fn before(tracked: &[(f64, Point3<f64>)], time: f64) -> Option<usize> {
    tracked.partition_point(|(t, _)| *t <= time).checked_sub(1)
}

/// Whether poses stand on both sides of every time between two, without a gap.
fn covered(tracked: &[(f64, Point3<f64>)], from: f64, to: f64) -> bool {
    let (Some(first), Some(last)) = (before(tracked, from), before(tracked, to)) else { return false };
    last + 1 < tracked.len() && (first..=last).all(|i| tracked[i + 1].0 - tracked[i].0 <= GAP_MAX_S)
}

/// Position and velocity at a time: a line through the poses around it, weighted by a Gaussian of this width.
///
/// Not between two neighbours alone: a pose's noise would then count whole on it and half amid two, and draw the lag to
/// where pictures fall amid poses.
fn around(tracked: &[(f64, Point3<f64>)], time: f64, width: f64) -> [Vector3<f64>; 2] {
    let first = tracked.partition_point(|(t, _)| *t < time - 4.0 * width);
    let near = tracked[first..].iter().take_while(|(t, _)| *t <= time + 4.0 * width);
    let [mut m0, mut m1, mut m2] = [0.0; 3];
    let [mut y0, mut y1] = [Vector3::zeros(); 2];
    for (t, p) in near {
        let off = t - time;
        let weight = (-0.5 * (off / width).powi(2)).exp();
        m0 += weight;
        m1 += weight * off;
        m2 += weight * off * off;
        y0 += p.coords * weight;
        y1 += p.coords * (weight * off);
    }
    let determinant = (m0 * m2 - m1 * m1).max(f64::MIN_POSITIVE);
    [(y0 * m2 - y1 * m1) / determinant, (y1 * m0 - y0 * m1) / determinant]
}

/// Width of that line's weights: somewhat more than from pose to pose, so that each counts alike wherever a picture falls.
fn width(tracked: &[(f64, Point3<f64>)]) -> f64 {
    let mut apart: Vec<f64> = tracked.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    apart.sort_by(f64::total_cmp);
    1.25 * apart.get(apart.len() / 2).copied().unwrap_or(STEP_S)
}

/// The least of a function with one minimum, by the golden section.
fn narrowed(mut from: f64, mut to: f64, value: impl Fn(f64) -> f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    while to - from > FINE_S {
        let (a, b) = (to - GOLDEN * (to - from), from + GOLDEN * (to - from));
        if value(a) <= value(b) { to = b } else { from = a }
    }
    0.5 * (from + to)
}

type Camera = SVector<f64, UNKNOWNS>;
type Normal = SMatrix<f64, UNKNOWNS, UNKNOWNS>;
type Rows = SMatrix<f64, 2, UNKNOWNS>;

/// What the unknowns are multiplied by for one picture: `A p + b - place (c · p)`; `one` is 0 for the rate of that.
fn rows(p: &Vector3<f64>, one: f64, place: &Vector2<f64>) -> Rows {
    let mut rows = Rows::zeros();
    for k in 0..2 {
        rows.fixed_view_mut::<1, 3>(k, 4 * k).copy_from(&p.transpose());
        rows[(k, 4 * k + 3)] = one;
        rows.fixed_view_mut::<1, 3>(k, 8).copy_from(&(p.transpose() * -place[k]));
    }
    rows
}

struct Problem<'a> {
    /// About their mean, in units of their spread.
    tracked: Vec<(f64, Point3<f64>)>,
    width: f64,
    pictures: &'a [(f64, Point2<f64>)],
    middle: Point2<f64>,
    /// Sum of squares of the picture's motion about its mean, px².
    motion: f64,
}

impl<'a> Problem<'a> {
    fn new(tracked: &[(f64, Point3<f64>)], pictures: &'a [(f64, Point2<f64>)]) -> Self {
        let mean = tracked.iter().map(|(_, p)| p.coords).sum::<Vector3<f64>>() / tracked.len() as f64;
        let squares: f64 = tracked.iter().map(|(_, p)| (p.coords - mean).norm_squared()).sum();
        let spread = (squares / tracked.len() as f64).sqrt().max(1e-9);
        let middle = Point2::from(pictures.iter().map(|(_, p)| p.coords).sum::<Vector2<f64>>() / pictures.len() as f64);
        let motion = pictures.iter().map(|(_, p)| (p - middle).norm_squared()).sum();
        let tracked: Vec<_> = tracked.iter().map(|(t, p)| (*t, Point3::from((p.coords - mean) / spread))).collect();
        Self { width: width(&tracked), tracked, pictures, middle, motion }
    }

    /// Of each picture, its place and the rows of its position and of its velocity at a lag.
    fn rows(&self, lag: f64) -> impl Iterator<Item = (Vector2<f64>, Rows, Rows)> {
        self.pictures.iter().map(move |(time, place)| {
            let place = place - self.middle;
            let [at, velocity] = around(&self.tracked, time - lag, self.width);
            (place, rows(&at, 1.0, &place), rows(&velocity, 0.0, &place))
        })
    }

    /// The best camera at a lag, and the inverse of the normal matrix.
    fn fit(&self, lag: f64) -> (Camera, Normal) {
        let (mut normal, mut right) = (Normal::zeros(), Camera::zeros());
        for (place, rows, _) in self.rows(lag) {
            normal += rows.transpose() * rows;
            right += rows.transpose() * place;
        }
        // A motion along a line or in a plane holds not all unknowns: what it does not hold stays 0.
        let inverse = normal.pseudo_inverse(normal.amax() * 1e-10).unwrap_or_else(|_| Normal::zeros());
        (inverse * right, inverse)
    }

    /// What a lag leaves of the picture's motion, px².
    fn left(&self, lag: f64) -> f64 {
        let (camera, _) = self.fit(lag);
        self.rows(lag).map(|(place, rows, _)| (place - rows * camera).norm_squared()).sum()
    }

    /// How much the pictures move with the lag, beyond what another camera would take up, px²/s².
    fn information(&self, lag: f64) -> f64 {
        let (camera, inverse) = self.fit(lag);
        let right =
            self.rows(lag).fold(Camera::zeros(), |sum, (_, rows, rate)| sum + rows.transpose() * (rate * camera));
        let taken = inverse * right;
        self.rows(lag).map(|(_, rows, rate)| (rate * camera - rows * taken).norm_squared()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::noise::Noise;
    use super::*;

    /// A hand's motion: some slow waves along each axis.
    struct Hand([[[f64; 3]; 4]; 3]);

    impl Hand {
        fn new(noise: &mut Noise) -> Self {
            Self(std::array::from_fn(|_| {
                std::array::from_fn(|_| {
                    [noise.between(2.0, 12.0), noise.between(0.8, 6.0), noise.between(0.0, std::f64::consts::TAU)]
                })
            }))
        }

        fn at(&self, time: f64) -> Point3<f64> {
            Point3::from(
                self.0.map(|waves| waves.iter().map(|[mm, rate, phase]| mm * (rate * time + phase).sin()).sum()),
            )
        }
    }

    type Seen = (Vec<(f64, Point3<f64>)>, Vec<(f64, Point2<f64>)>);

    /// Ten seconds at 60 and 25 Hz with jitter, a tracker that errs by 0.25 mm and a picture that errs by a pixel.
    fn watched(noise: &mut Noise, lag: f64) -> Seen {
        let hand = Hand::new(noise);
        let tracked = (0..600)
            .map(|i| {
                let time = f64::from(i) / 60.0 + noise.between(-0.002, 0.002);
                (time, hand.at(time) + noise.vector(0.25))
            })
            .collect();
        let pictured = (0..250)
            .map(|i| {
                let time = f64::from(i) / 25.0 + noise.between(-0.001, 0.001);
                let p = hand.at(time - lag);
                // A camera 250 mm away.
                let depth = 250.0 + p.z + 0.3 * p.x;
                (time, Point2::new(900.0 * p.x / depth + noise.normal(1.0), 900.0 * p.y / depth + noise.normal(1.0)))
            })
            .collect();
        (tracked, pictured)
    }

    #[test]
    fn lags_are_found_within_two_milliseconds_and_as_well_as_stated() {
        let mut noise = Noise::new(1);
        let (mut squares, mut within) = (0.0, 0);
        for _ in 0..100 {
            let lag = noise.between(-0.05, 0.3);
            let (tracked, pictured) = watched(&mut noise, lag);
            let found = calibrate(&tracked, &pictured, USUAL).expect("a lag");
            let off = found.lag_s - lag;
            assert!(off.abs() < 0.002, "{:.2} ms off, {:.2} stated", off * 1e3, found.error_s * 1e3);
            squares += (off / found.error_s).powi(2) / 100.0;
            within += usize::from(off.abs() <= 3.0 * found.error_s);
        }
        assert!(within >= 97 && squares.sqrt() < 1.4, "{within} within, spread {}", squares.sqrt());
    }

    #[test]
    fn a_gap_in_tracking_is_not_bridged() {
        let mut noise = Noise::new(2);
        let (mut tracked, pictured) = watched(&mut noise, 0.08);
        tracked.retain(|(t, _)| !(3.0..4.0).contains(t));
        let found = calibrate(&tracked, &pictured, USUAL).expect("a lag");
        assert!((found.lag_s - 0.08).abs() < 0.002 && found.pictures < 215, "{found:?}");
        tracked.retain(|(t, _)| (3.0..5.0).contains(t));
        assert!(matches!(calibrate(&tracked, &pictured, USUAL), Err(Untimed::TooFew { .. })));
    }

    #[test]
    fn what_tells_no_lag_is_refused() {
        let mut noise = Noise::new(3);
        let (tracked, pictured) = watched(&mut noise, 0.08);
        let (_, other) = watched(&mut noise, 0.08);
        assert!(matches!(calibrate(&tracked, &other, USUAL), Err(Untimed::Unlike { .. } | Untimed::End { .. })));
        let still: Vec<_> = pictured.iter().map(|(t, _)| (*t, Point2::new(1.0, 2.0))).collect();
        let said = calibrate(&tracked, &still, USUAL);
        assert!(matches!(said, Err(Untimed::Unlike { .. } | Untimed::End { .. })), "{said:?}");
        let circle = |t: f64| Point3::new(20.0 * (20.0 * t).cos(), 20.0 * (20.0 * t).sin(), 0.0);
        let turning: Vec<_> = (0..600).map(|i| (f64::from(i) / 60.0, circle(f64::from(i) / 60.0))).collect();
        let seen: Vec<_> = (0..250).map(|i| (f64::from(i) / 25.0, circle(f64::from(i) / 25.0 - 0.08).xy())).collect();
        let said = calibrate(&turning, &seen, USUAL);
        assert!(said.is_err(), "a circle at one rate fits at any lag: {said:?}");
        let mut stepped = tracked.clone();
        stepped[300].0 -= 1.0;
        assert_eq!(calibrate(&stepped, &pictured, USUAL), Err(Untimed::Backwards { what: "pose", index: 300 }));
        stepped[300].0 = f64::NAN;
        assert_eq!(calibrate(&stepped, &pictured, USUAL), Err(Untimed::NotFinite { what: "pose", index: 300 }));
        let short = Range { from_s: 0.15, to_s: 0.4 };
        assert!(matches!(calibrate(&tracked, &pictured, short), Err(Untimed::End { .. })), "the lag is below");
        assert!(matches!(calibrate(&tracked, &pictured, Range { from_s: 1.0, to_s: 0.0 }), Err(Untimed::Range { .. })));
    }
}
