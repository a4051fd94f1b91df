//! What predicted registration errors are worth: set-ups drawn by chance, each measured many times, the prediction beside
//! what the draws show.
//!
//! **Set-ups:** fiducials on a head's ellipsoid, a target within it, an unknown pose of the patient. **Where the prediction's
//! assumptions hold** errors are independent from fiducial to fiducial; **where they do not**, as when skin has moved
//! between scan and touch, neighbours err alike. Each set-up's numbers come from its own seed, so that the number of threads
//! changes nothing. All of it is *simulated*.

pub mod scans;

use bregma_perception::register::{hand_eye, lag, landmarks, pivot};
use landmarks::Fiducial;
use nalgebra::{DMatrix, DVector, Isometry3, Matrix3, Point2, Point3, Translation3, UnitQuaternion, Vector3, Vector6};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Set-ups of each row.
    pub setups: usize,
    /// Draws of noise of each.
    pub draws: usize,
    /// Seed of the first.
    pub first_seed: u64,
}

/// Within this share of what draws show a prediction counts as right.
const RIGHT: f64 = 0.1;
/// Calibrations of each kind, for each 1,000 set-ups: three and six coordinates each make 3,000 values.
const PIVOTS: usize = 1000;
const HAND_EYES: usize = 500;
/// Of temporal calibrations.
const LAGS: usize = 500;
/// A lag is wanted to this, s.
const LAG_WITHIN_S: f64 = 0.002;

/// Of how the errors of neighbouring fiducials go together.
#[derive(Debug, Clone, Copy)]
enum Errors {
    /// Independent, equal along all axes.
    Equal,
    /// Independent, up to three times as large along one axis.
    Unequal,
    /// Half of the variance is common to neighbours, fading with their distance over this length, mm.
    Alike(f64),
}

/// Rows of the first table.
const ROWS: [(Errors, &str); 6] = [
    (Errors::Equal, "independent, equal along all axes"),
    (Errors::Unequal, "independent, up to 3 times as large along one axis"),
    (Errors::Alike(20.0), "half of the variance shared over 20 mm"),
    (Errors::Alike(50.0), "half of the variance shared over 50 mm"),
    (Errors::Alike(100.0), "half of the variance shared over 100 mm"),
    (Errors::Alike(1e6), "half of the variance shared by all"),
];

/// Measures, and writes the page. `done` hears of each piece of work.
#[must_use]
pub fn markdown(extent: Extent, command: &str, done: &(dyn Fn() + Sync)) -> String {
    let mut out = format!(
        "# What registrations are worth\n\n`{command}`. All of it is *simulated*: {} set-ups a row, {} draws of noise each.\n\n\
         ## Predicted beside measured TRE\n\nFour to twelve fiducials on a head, a target within it, a localisation error of 0.2 to 1 mm \
         (standard deviation along an axis). *Right*: the predicted root mean square within 10 % of what the draws show. \
         *Ratio*: predicted over measured; below 1 the prediction promises too much.\n\n\
         | errors of the fiducials | set-ups | right | ratio, median | 5th to 95th percentile | refused draws |\n|---|---|---|---|---|---|\n",
        extent.setups, extent.draws
    );
    for (row, (errors, words)) in ROWS.iter().enumerate() {
        let seed = extent.first_seed + (row as u64) * 1_000_000;
        let found = each(extent.setups, done, |i| setup(*errors, extent.draws, seed + i as u64));
        let refused: usize = found.iter().map(|f| f.1).sum();
        let mut ratios: Vec<f64> = found.iter().filter_map(|f| f.0).collect();
        ratios.sort_by(f64::total_cmp);
        let at = |share: f64| ratios.get((ratios.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
        let right = ratios.iter().filter(|r| (1.0 - RIGHT..=1.0 / (1.0 - RIGHT)).contains(*r)).count();
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            out,
            "| {words} | {} | {:.1} % | {:.3} | {:.2} to {:.2} | {:.2} % |",
            ratios.len(),
            right as f64 / ratios.len().max(1) as f64 * 100.0,
            at(0.5),
            at(0.05),
            at(0.95),
            refused as f64 / (found.len() * extent.draws) as f64 * 100.0
        );
    }
    out.push_str(
        "\nA set-up whose fiducials hold a turn worse than to 3° is refused, and not in the rows; of draws, one in a thousand is to be \
         refused by chance where the assumptions hold. What neighbours share no registration can see: it moves the target as it moves \
         them. Skin that may have moved wants fiducials in bone, or far apart.\n\n\
         ## Calibrations\n\n*Within*: coordinates off by at most three of their stated standard errors; chance gives 99.73 %. \
         *Spread*: root mean square of coordinates' errors over their stated ones.\n\n\
         | | calibrations | values | within | spread |\n|---|---|---|---|---|\n",
    );
    let share = |count: usize| (count * extent.setups).div_ceil(1000);
    let rows: [(&str, Vec<Vec<f64>>); 2] = [
        ("pivot: the tip", each(share(PIVOTS), done, |i| pivoted(extent.first_seed + i as u64))),
        (
            "hand-eye: the camera's shift and turn",
            each(share(HAND_EYES), done, |i| looked(extent.first_seed + i as u64)),
        ),
    ];
    for (words, found) in rows {
        let values: Vec<f64> = found.iter().flatten().copied().collect();
        let within = values.iter().filter(|v| v.abs() <= 3.0).count() as f64 / values.len().max(1) as f64;
        let spread = (values.iter().map(|v| v * v).sum::<f64>() / values.len().max(1) as f64).sqrt();
        let _ =
            writeln!(out, "| {words} | {} | {} | {:.2} % | {spread:.3} |", found.len(), values.len(), within * 100.0);
    }
    let lags = each(share(LAGS), done, |i| timed(extent.first_seed + i as u64));
    let within =
        |most: &dyn Fn(&[f64; 2]) -> bool| lags.iter().filter(|l| most(l)).count() as f64 / lags.len() as f64 * 100.0;
    let spread = (lags.iter().map(|[off, stated]| (off / stated).powi(2)).sum::<f64>() / lags.len() as f64).sqrt();
    let _ = writeln!(
        out,
        "| lag of pictures against poses | {} | {} | {:.2} %; {:.2} % within 2 ms | {spread:.3} |",
        lags.len(),
        lags.len(),
        within(&|[off, stated]| off.abs() <= 3.0 * stated),
        within(&|[off, _]| off.abs() <= LAG_WITHIN_S)
    );
    out.push_str(
        "\nPivot: 80 to 200 poses, tilts of 20° to 35°, tips 100 to 250 mm from the array, its pose off by 0.1 to 0.3 mm and 0.05° to \
         0.2°. Hand-eye: 15 to 30 poses, the arm off by 0.15 mm and 0.05°, the target in the camera by 0.3 mm and 0.15°. \
         Lag: ten seconds of a hand's motion of 15 to 30 mm, 60 poses a second off by 0.25 mm, 25 pictures a second off by 1 px, of 5 px a mm \
         at most.\n",
    );
    out
}

/// How many pieces of work there are.
#[must_use]
pub fn pieces(extent: Extent) -> usize {
    let share = |count: usize| (count * extent.setups).div_ceil(1000);
    ROWS.len() * extent.setups + share(PIVOTS) + share(HAND_EYES) + share(LAGS)
}

/// Does `work(i)` for all `i`, on all cores; in their order.
fn each<T: Send>(count: usize, done: &(dyn Fn() + Sync), work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    let one = work(i);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((i, one));
                    done();
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(i, _)| *i);
    found.into_iter().map(|(_, one)| one).collect()
}

/// Seeded chance.
pub(crate) struct Chance(pub(crate) ChaCha8Rng);

impl Chance {
    /// Of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Evenly distributed.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0.random_range(low..high)
    }

    /// Normally distributed with a standard deviation of 1, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let (u, v) = (self.0.random_range(f64::MIN_POSITIVE..1.0), self.0.random_range(0.0..1.0));
        (-2.0 * f64::ln(u)).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Normally distributed along each axis.
    pub(crate) fn vector(&mut self, deviation: f64) -> Vector3<f64> {
        Vector3::from_fn(|_, _| deviation * self.normal())
    }

    /// The same in shifts and turns.
    pub(crate) fn pose(&mut self, mm: f64, rad: f64) -> Isometry3<f64> {
        Isometry3::new(self.vector(mm), self.vector(rad))
    }

    /// On the head, above the ears.
    pub(crate) fn on_head(&mut self) -> Point3<f64> {
        let (around, up) = (self.between(0.0, std::f64::consts::TAU), self.between(-0.2, 1.3));
        Point3::new(75.0 * around.cos() * up.cos(), 95.0 * around.sin() * up.cos(), 80.0 * up.sin())
    }

    /// Within it.
    pub(crate) fn in_head(&mut self) -> Point3<f64> {
        loop {
            let at = Vector3::from_fn(|_, _| self.between(-1.0, 1.0));
            if at.norm() <= 1.0 {
                return Point3::new(60.0 * at.x, 75.0 * at.y, 50.0 * at.z + 10.0);
            }
        }
    }
}

/// Predicted over measured root mean square of the TRE, if the set-up is taken; and how many draws were refused.
fn setup(errors: Errors, draws: usize, seed: u64) -> (Option<f64>, usize) {
    let mut chance = Chance::new(seed);
    let count = chance.0.random_range(4..=12);
    let scan: Vec<Point3<f64>> = (0..count).map(|_| chance.on_head()).collect();
    let (target, truth) = (chance.in_head(), chance.pose(300.0, 0.8));
    let deviation = chance.between(0.2, 1.0);
    let mut along = Vector3::repeat(deviation);
    if let Errors::Unequal = errors {
        along.z = deviation.min(0.5) * chance.between(1.0, 3.0);
        (along.x, along.y) = (deviation.min(0.5), deviation.min(0.5));
    }
    let covariance = Matrix3::from_diagonal(&along.component_mul(&along));
    let shared = match errors {
        Errors::Alike(length) => shared(&scan, length),
        Errors::Equal | Errors::Unequal => None,
    };
    let (mut squares, mut predicted, mut refused, mut taken) = (0.0, 0.0, 0, false);
    for _ in 0..draws {
        let mut wrong: Vec<Vector3<f64>> = (0..count).map(|_| chance.vector(1.0)).collect();
        if let Some(shared) = &shared {
            // Half of the variance from each.
            let own = wrong.clone();
            for axis in 0..3 {
                let drawn = shared * DVector::from_fn(count, |_, _| chance.normal());
                for (i, wrong) in wrong.iter_mut().enumerate() {
                    wrong[axis] = (own[i][axis] + drawn[i]) * 0.5_f64.sqrt();
                }
            }
        }
        let fiducials: Vec<Fiducial> = scan
            .iter()
            .zip(&wrong)
            .map(|(at, wrong)| Fiducial {
                name: String::new(),
                scan: *at,
                touched: truth.inverse() * at + wrong.component_mul(&along),
                scan_error: Matrix3::zeros(),
                touched_error: covariance,
            })
            .collect();
        match landmarks::register(&fiducials) {
            Ok(found) => {
                taken = true;
                squares += (found.patient_from_reference * (truth.inverse() * target) - target).norm_squared();
                predicted += found.error.at(&target).trace();
            }
            Err(_) => refused += 1,
        }
    }
    // A set-up that is mostly refused has no prediction to judge.
    let judged = taken && refused * 2 < draws;
    (judged.then(|| (predicted / squares).sqrt()), if judged { refused } else { 0 })
}

/// A factor of the correlation of what fiducials share, which fades with their distance as a Gaussian does.
fn shared(scan: &[Point3<f64>], length: f64) -> Option<DMatrix<f64>> {
    let n = scan.len();
    let correlation = |i: usize, j: usize| {
        let apart = (scan[i] - scan[j]).norm() / length;
        // What keeps the matrix positive where two nearly coincide.
        (-0.5 * apart * apart).exp() + if i == j { 1e-9 } else { 0.0 }
    };
    DMatrix::from_fn(n, n, correlation).cholesky().map(|c| c.l())
}

/// Poses of an array that was turned about its resting tip.
pub(crate) struct Swung {
    pub(crate) tip: Point3<f64>,
    pub(crate) poses: Vec<Isometry3<f64>>,
}

/// 80 to 200 of them, off by a tracker's error.
pub(crate) fn swung(seed: u64) -> Swung {
    let mut chance = Chance::new(seed);
    let tip = Point3::new(chance.between(-30.0, 30.0), chance.between(-30.0, 30.0), chance.between(100.0, 250.0));
    let (count, tilt) = (chance.0.random_range(80..=200), chance.between(0.35, 0.61));
    let (mm, rad) = (chance.between(0.1, 0.3), chance.between(0.05, 0.2).to_radians());
    let (rested, stand) = (Point3::from(chance.vector(100.0)), chance.pose(0.0, 0.8).rotation);
    let poses: Vec<Isometry3<f64>> = (0..count)
        .map(|i| {
            let around = f64::from(i) / f64::from(count) * std::f64::consts::TAU;
            let axis = Vector3::new(around.cos(), around.sin(), 0.0);
            let turn = stand * UnitQuaternion::from_scaled_axis(axis * tilt + chance.vector(0.05));
            let at = rested - turn * tip.coords;
            Isometry3::from_parts(Translation3::from(at.coords), turn) * chance.pose(mm, rad)
        })
        .collect();
    Swung { tip, poses }
}

/// Errors of a tip's coordinates over their stated ones.
fn pivoted(seed: u64) -> Vec<f64> {
    let Swung { tip, poses } = swung(seed);
    // A refusal is a value beyond any limit: it counts against the method.
    let Ok(found) = pivot::calibrate(&poses, 10.0) else { return vec![f64::INFINITY; 3] };
    (0..3).map(|k| (found.tip[k] - tip[k]) / found.tip_error[(k, k)].sqrt()).collect()
}

/// What an arm and the camera on it said of a target.
pub(crate) struct Looked {
    /// flange_from_camera.
    pub(crate) truth: Isometry3<f64>,
    pub(crate) seen: Vec<hand_eye::Seen>,
}

/// How precise arm and camera are here.
pub(crate) fn precision() -> hand_eye::Precision {
    let (arm_rad, camera_rad) = (0.05_f64.to_radians(), 0.15_f64.to_radians());
    hand_eye::Precision { arm_mm: 0.15, arm_rad, camera_mm: 0.3, camera_rad }
}

/// 15 to 30 looks.
pub(crate) fn looks(seed: u64) -> Looked {
    let (mut chance, precision) = (Chance::new(seed), precision());
    let truth = chance.pose(60.0, 0.8);
    let target = Isometry3::from(Vector3::new(600.0, 0.0, 100.0)) * chance.pose(50.0, 0.8);
    let count = chance.0.random_range(15..=30);
    let seen: Vec<hand_eye::Seen> = (0..count)
        .map(|_| {
            let looks = Isometry3::from(Vector3::new(0.0, 0.0, 250.0)) * chance.pose(30.0, 0.35);
            let p = precision;
            hand_eye::Seen {
                base_from_flange: target * looks.inverse() * truth.inverse() * chance.pose(p.arm_mm, p.arm_rad),
                camera_from_target: chance.pose(p.camera_mm, p.camera_rad) * looks,
            }
        })
        .collect();
    Looked { truth, seen }
}

/// Errors of a camera's turn and shift over their stated ones.
fn looked(seed: u64) -> Vec<f64> {
    let Looked { truth, seen } = looks(seed);
    let Ok(found) = hand_eye::calibrate(&seen, precision()) else { return vec![f64::INFINITY; 6] };
    let turn = (found.flange_from_camera.rotation * truth.rotation.inverse()).scaled_axis();
    let shift = found.flange_from_camera.translation.vector - truth.translation.vector;
    let off = Vector6::new(turn.x, turn.y, turn.z, shift.x, shift.y, shift.z);
    (0..6).map(|k| off[k] / found.error.covariance[(k, k)].sqrt()).collect()
}

/// How far off a lag is, and its stated error, s.
fn timed(seed: u64) -> [f64; 2] {
    let mut chance = Chance::new(seed);
    let late = chance.between(-0.05, 0.3);
    // Slow waves along each axis: amplitude in mm, rate in rad/s, phase.
    let waves: [[[f64; 3]; 4]; 3] = std::array::from_fn(|_| {
        std::array::from_fn(|_| {
            [chance.between(3.0, 10.0), chance.between(0.8, 7.0), chance.between(0.0, std::f64::consts::TAU)]
        })
    });
    let hand = |time: f64| {
        Point3::from(waves.map(|w| w.iter().map(|[mm, rate, phase]| mm * (rate * time + phase).sin()).sum()))
    };
    let view = chance.pose(0.0, 0.6).rotation;
    let (focal, depth) = (chance.between(500.0, 1500.0), chance.between(200.0, 400.0));
    let tracked: Vec<(f64, Point3<f64>)> = (0..600)
        .map(|i| {
            let time = f64::from(i) / 60.0 + chance.between(-0.002, 0.002);
            (time, hand(time) + chance.vector(0.25))
        })
        .collect();
    let pictured: Vec<(f64, Point2<f64>)> = (0..250)
        .map(|i| {
            let time = f64::from(i) / 25.0 + chance.between(-0.001, 0.001);
            let seen = view * hand(time - late);
            let scale = focal / (depth + seen.z);
            (time, Point2::new(seen.x * scale + chance.normal(), seen.y * scale + chance.normal()))
        })
        .collect();
    match lag::calibrate(&tracked, &pictured, lag::USUAL) {
        Ok(found) => [found.lag_s - late, found.error_s],
        // A refusal counts against the method.
        Err(_) => [f64::INFINITY, 1.0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_table_is_the_same_on_every_run_and_counts_its_work() {
        let extent = Extent { setups: 8, draws: 60, first_seed: 5 };
        let heard = AtomicUsize::new(0);
        let count = || {
            heard.fetch_add(1, Ordering::Relaxed);
        };
        let [one, other] = [(); 2].map(|()| markdown(extent, "a command", &count));
        assert_eq!(one, other);
        assert_eq!(heard.into_inner(), 2 * pieces(extent));
        assert!(one.contains("| independent, equal along all axes | 8 |"), "{one}");
    }

    #[test]
    fn shared_errors_are_drawn_with_the_stated_variance() {
        let scan: Vec<_> = (0..6).map(|i| Point3::new(20.0 * f64::from(i), 0.0, 0.0)).collect();
        let factor = shared(&scan, 50.0).expect("positive");
        let covariance = &factor * factor.transpose();
        assert!(covariance.diagonal().iter().all(|v| (v - 1.0).abs() < 1e-6), "{covariance}");
        assert!((covariance[(0, 1)] - (-0.08_f64).exp()).abs() < 1e-6);
    }
}
