//! Live brain shift: where tissue is now, from what brains do and what the microscope shows of the cortex' vessels.
//!
//! ```text
//!  what brains do (model) ──────────┐
//!  picture ─► dark lines (ridges) ──┼─► least squares (fit) ─► smoothed ─► BrainShift, when it has moved on
//!  scan's vessels (vessels) ────────┘
//! ```
//! Each look stands on its own, since what errs in one (the scan's vessels, the camera's place) errs in the next alike:
//! looks are smoothed over [`Settings::smooth`], but their number makes nothing more certain. While nothing is found,
//! the last answer stays and its deviation grows.
//!
//! **Seen well:** what moves across the view. **Seen badly:** what moves along it, by perspective alone: there the prior
//! speaks, and the deviation says so. **Units and frame:** mm, patient LPS. **Allocation:** when an anatomy or a
//! T1c arrives; none per look. **Same in, same out:** no draws, one thread.
//! **Not followed:** heart and breath, which the smoothing takes out; a cavity that closes, beyond what the cortex
//! beside it shows.

pub mod fit;
pub mod model;
pub mod ridges;
pub mod vessels;

use super::evidence::Shaft;
use crate::scan::Scan;
use bregma_core::brain_shift::{BrainShift, DEVIATION_PER_MM, SHIFT_LEN, SHIFT_PER_MM};
use bregma_core::digest::Digest;
use bregma_core::flow::{Anatomy, CameraCalibration, VideoFrame};
use bregma_core::time::{Duration, Instant};
use fit::{CAMERA, Fit, Row, STATES};
use model::{MODES, Model};
use nalgebra::{Point3, Vector3};
use ridges::{REDUCED, Ridges};
use vessels::{Sample, Search};

/// Differences smaller than this are not passed on: each makes everybody look at the whole region anew.
pub const MOVED_MM: f64 = 0.25;
/// Of how many samples in a row one speaks: along a vessel, the scan errs alike.
const ALIKE_SAMPLES: f64 = 4.0;
/// Rounds of weighing measurements by how well they fit.
const ROUNDS: usize = 3;
/// Huber's constant: 95 % as efficient as least squares where errors are normal.
const HUBER: f64 = 1.345;

/// What is expected, and how well lines are seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Sag of the exposed cortex along gravity, mm: mean.
    pub sag_mm: f64,
    /// Its standard deviation.
    pub sag_deviation_mm: f64,
    /// Standard deviation across gravity, along each of two directions.
    pub aside_deviation_mm: f64,
    /// So far from the exposed cortex half of it is felt, mm.
    pub fades_mm: f64,
    /// Places so far apart are alike to exp(−½), mm.
    pub alike_mm: f64,
    /// By which the deviation grows while nothing is seen, mm a minute.
    pub growth_mm_per_minute: f64,
    /// How well a vessel of the scan is found on its line, mm.
    pub line_error_mm: f64,
    /// How wrong the camera's scale may be: focal length, distortion; share.
    pub scale_error: f64,
    /// From look to look.
    pub every: Duration,
    /// Looks are smoothed over this.
    pub smooth: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sag_mm: 5.0,
            sag_deviation_mm: 3.5,
            aside_deviation_mm: 2.0,
            fades_mm: 60.0,
            alike_mm: 45.0,
            growth_mm_per_minute: 0.1,
            line_error_mm: 0.6,
            scale_error: 0.006,
            every: Duration::from_millis(220),
            smooth: Duration::from_secs(3),
        }
    }
}

/// Follows one patient's brain.
#[derive(Debug)]
pub struct Follower {
    settings: Settings,
    ridges: Ridges,
    patient: Option<Followed>,
    published: BrainShift,
    candidate: BrainShift,
}

/// What is known of one patient.
#[derive(Debug)]
struct Followed {
    anatomy: Digest,
    up: Vector3<f64>,
    target: Point3<f64>,
    model: Model,
    fit: Fit,
    samples: Vec<Sample>,
    /// The modes at each, and how much is felt there.
    felt: Vec<([f64; MODES], f64)>,
    search: Search,
    coefficients: [f64; STATES],
    looked: Option<Instant>,
    /// When vessels were last found.
    found: Option<Instant>,
}

impl Follower {
    /// For pictures of this size.
    #[must_use]
    pub fn new(settings: Settings, size_px: [usize; 2]) -> Self {
        Self {
            settings,
            ridges: Ridges::new(size_px),
            patient: None,
            published: BrainShift::still(Point3::origin()),
            candidate: BrainShift::still(Point3::origin()),
        }
    }

    /// Where tissue is now.
    #[must_use]
    pub const fn shift(&self) -> &BrainShift {
        &self.published
    }

    /// When vessels were last found, and how many samples of them.
    #[must_use]
    pub fn found(&self) -> Option<(Instant, usize)> {
        self.patient.as_ref().and_then(|p| p.found.map(|at| (at, p.search.found.len())))
    }

    /// Begins anew where anatomy, scan or gravity are others: with what brains do. `up` is against gravity; where nobody
    /// says, craniotomies are assumed to be turned up.
    pub fn begin(
        &mut self,
        anatomy: &Anatomy,
        scan: &Scan,
        camera: &CameraCalibration,
        up: Option<Vector3<f64>>,
        anew: bool,
    ) {
        let up = up.unwrap_or(anatomy.craniotomy.outward);
        let known = |p: &Followed| p.anatomy == anatomy.digest && p.up == up;
        if !anew && self.patient.as_ref().is_some_and(known) {
            return;
        }
        let (target, entry) = (anatomy.corridor.target, anatomy.corridor.entry);
        let model = Model::new(&self.settings, target, &entry, &up);
        let samples = vessels::exposed(anatomy, scan);
        let eye = camera.patient_from_camera.position().coordinates();
        let distance_mm = nalgebra::distance(&eye, &entry).max(50.0);
        let px = camera.focal_px[0] / (REDUCED as f64 * distance_mm);
        let camera_px = (camera.error.get() / std::f64::consts::SQRT_2 * px).max(0.1);
        let followed = Followed {
            anatomy: anatomy.digest,
            up,
            target,
            fit: Fit::new(&model, camera_px, self.settings.scale_error),
            felt: samples.iter().map(|s| model.at(&s.rest)).collect(),
            search: Search::new(samples.len(), camera, distance_mm),
            samples,
            model,
            coefficients: [0.0; STATES],
            looked: None,
            found: None,
        };
        followed.write(0.0, &mut self.candidate);
        self.published.copy_from(&self.candidate);
        self.patient = Some(followed);
    }

    /// Takes a picture in, if one is due. Whether tissue is elsewhere than it was said to be before.
    pub fn look(&mut self, picture: &VideoFrame, camera: &CameraCalibration, shaft: Option<&Shaft>) -> bool {
        let (settings, at) = (self.settings, picture.captured);
        let Some(patient) = &mut self.patient else { return false };
        let since = patient.looked.and_then(|before| at.since(before));
        if patient.looked.is_some() && since.is_none_or(|s| s < settings.every) {
            return false;
        }
        patient.looked = Some(at);
        self.ridges.find(picture);
        let (model, felt, coefficients) = (&patient.model, &patient.felt, &patient.coefficients);
        let now = |sample: usize| patient.samples[sample].rest + displaced(model, &felt[sample], coefficients);
        if patient.search.look(&self.ridges, camera, &patient.samples, shaft, now) {
            patient.bring_together(&settings, camera);
            // The first answer stands at once.
            let share = match (patient.found, since) {
                (Some(_), Some(since)) => 1.0 - libm::exp(-since.secs_f64() / settings.smooth.secs_f64()),
                _ => 1.0,
            };
            let found = patient.fit.found;
            patient.coefficients.iter_mut().zip(&found).for_each(|(c, f)| *c += share * (f - *c));
            patient.found = Some(at);
        }
        let unseen = patient.found.and_then(|found| at.since(found)).map_or(0.0, Duration::secs_f64);
        patient.write(settings.growth_mm_per_minute * unseen / 60.0, &mut self.candidate);
        let moved = apart_mm(&self.candidate, &self.published) > MOVED_MM;
        if moved {
            self.published.copy_from(&self.candidate);
        }
        moved
    }
}

impl Followed {
    /// The coefficients that fit lines and prior best.
    fn bring_together(&mut self, settings: &Settings, camera: &CameraCalibration) {
        let coefficients = self.coefficients;
        let middle = camera.centre_px.map(|c| (c - 0.5 * (REDUCED as f64 - 1.0)) / REDUCED as f64);
        // Of the answer before; the first round weighs all alike.
        let mut found: Option<[f64; STATES]> = None;
        for _ in 0..ROUNDS {
            self.fit.begin();
            for line in &self.search.found {
                let felt = &self.felt[line.sample];
                let at = self.samples[line.sample].rest + displaced(&self.model, felt, &coefficients);
                let (Some(here), Some(px_per_mm)) = (vessels::reduced(camera, &at), per_mm(camera, &at)) else {
                    continue;
                };
                let across = px_per_mm[0] * line.normal.x + px_per_mm[1] * line.normal.y;
                let mut row = Row::along(&self.model, &felt.0, &across);
                let before: f64 = row.by.iter().zip(&coefficients).map(|(b, c)| b * c).sum();
                row.by[CAMERA] = line.normal.x;
                row.by[CAMERA + 1] = line.normal.y;
                row.by[CAMERA + 2] = line.normal.x * (here.x - middle[0]) + line.normal.y * (here.y - middle[1]);
                row.off = line.off_px + before;
                let deviation_px = settings.line_error_mm * px_per_mm[0].norm().max(px_per_mm[1].norm());
                let left = found.map_or(0.0, |f| row.off - row.by.iter().zip(&f).map(|(b, c)| b * c).sum::<f64>());
                let beyond = (left.abs() / deviation_px).max(HUBER);
                row.weight = HUBER / beyond / (deviation_px * deviation_px * ALIKE_SAMPLES);
                self.fit.add(&row);
            }
            self.fit.solve();
            found = Some(self.fit.found);
        }
        self.fit.invert();
    }

    /// The displacement of every node and its deviation, with so much that time adds.
    fn write(&self, grown_mm: f64, shift: &mut BrainShift) {
        shift.set(self.target, |node| {
            let (modes, felt) = self.model.node(node);
            let mut wide = [0.0; MODES];
            wide.iter_mut().zip(modes).for_each(|(w, m)| *w = f64::from(*m));
            let by = displaced(&self.model, &(wide, f64::from(felt)), &self.coefficients);
            let variance = self.fit.variance(modes) + self.model.left_out(node);
            // A sixteenth, so that a follower never says that it knows for certain.
            (by, (variance.sqrt() + grown_mm * f64::from(felt)).max(1.0 / DEVIATION_PER_MM))
        });
    }
}

/// Mean and deviation together.
fn displaced(model: &Model, (modes, felt): &([f64; MODES], f64), of: &[f64; STATES]) -> Vector3<f64> {
    model.mean(*felt) + Fit::displacement(model, of, modes)
}

/// How a point's place in the reduced picture changes with the point: along u and along v, pixels a millimetre.
fn per_mm(camera: &CameraCalibration, at: &Point3<f64>) -> Option<[Vector3<f64>; 2]> {
    let pose = camera.patient_from_camera.isometry();
    let c = pose.inverse_transform_point(at);
    if c.z < 1.0 {
        return None;
    }
    let along = |focal: f64, of: usize| {
        let mut by = Vector3::zeros();
        by[of] = focal / c.z;
        by.z = -focal * c[of] / (c.z * c.z);
        pose.rotation * by / REDUCED as f64
    };
    Some([along(camera.focal_px[0], 0), along(camera.focal_px[1], 1)])
}

/// Largest difference between two shifts, displacement or deviation, mm.
fn apart_mm(a: &BrainShift, b: &BrainShift) -> f64 {
    if a.grid() != b.grid() {
        return f64::INFINITY;
    }
    (0..SHIFT_LEN)
        .map(|node| {
            let (m, n) = (a.moved()[node], b.moved()[node]);
            let squared: f64 = (0..3).map(|i| (f64::from(m[i]) - f64::from(n[i])).powi(2)).sum();
            let deviation = f64::from(a.deviations()[node].abs_diff(b.deviations()[node])) / DEVIATION_PER_MM;
            (squared.sqrt() / SHIFT_PER_MM).max(deviation)
        })
        .fold(0.0, f64::max)
}
