//! Live brain shift: where tissue is now, from what brains do and what the microscope shows of the cortex.
//!
//! ```text
//!  what brains do, or a scan since (model) ──┐
//!  range image ─► places of the cortex       │
//!  scan ─► its cortex (cortex) ──► (ranges) ─┤
//!  what was carved of it ────────► (mouth) ──┼─► least squares (fit) ─► smoothed ─► BrainShift, when it has moved on
//!  picture ─► dark lines (ridges)            │
//!  scan's vessels ─────────────► (vessels) ──┘
//! ```
//! Each look stands on its own, since what errs in one (the scan, the camera's place) errs in the next alike: looks are
//! smoothed over [`Settings::smooth`], but their number makes nothing more certain. While nothing is found, the last
//! answer stays and its deviation grows.
//!
//! **Who sees what:** ranges what moves along the surface's normal; the opening, and vessels, what moves across the view. A microscope with
//! one lens sees by its vessels alone; what moves along the view is then left to the prior, and the deviation says so.
//! Cortical surfaces and stereo microscopes are how the field follows shift (H. Sun et al., IEEE TMI 24, 2005; S. Ji
//! et al., Medical Image Analysis 18, 2014). **Units and frame:** mm, patient LPS. **Allocation:** when an anatomy or a
//! T1c arrives; none per look. **Same in, same out:** no draws, one thread.
//! **Not followed:** heart and breath, which the smoothing takes out; a cavity that closes, beyond what the cortex
//! beside it shows.

pub mod cortex;
pub mod fit;
pub mod model;
pub mod mouth;
pub mod ranges;
pub mod ridges;
pub mod scanned;
pub mod vessels;

use super::evidence::Shaft;
use crate::scan::Scan;
use bregma_core::brain_shift::{BrainShift, DEVIATION_PER_MM, SHIFT_LEN, SHIFT_PER_MM};
use bregma_core::digest::Digest;
use bregma_core::flow::{Anatomy, CameraCalibration, RANGE_SIZE, RangeImage, VideoFrame};
use bregma_core::time::{Duration, Instant};
use cortex::Cortex;
use fit::{CAMERA, Fit, RANGE, Row, STATES};
use model::{Model, Place};
use mouth::Mouth;
use nalgebra::{Point3, Vector3};
use ranges::{COUNTED_MIN, Measured};
use ridges::{REDUCED, Ridges};
use std::sync::Arc;
use vessels::{Sample, Search};

/// Differences smaller than this are not passed on: each makes everybody look at the whole region anew.
pub const MOVED_MM: f64 = 0.25;
/// Of how many samples in a row one speaks: along a vessel, the scan errs alike.
const ALIKE_SAMPLES: f64 = 4.0;
/// Of how many ranges in a row one speaks: over some millimetres, the scan's surface errs alike.
const ALIKE_RANGES: f64 = 12.0;
/// Rounds of weighing measurements by how well they fit.
const ROUNDS: usize = 4;
/// Huber's constant: 95 % as efficient as least squares where errors are normal.
const HUBER: f64 = 1.345;
/// Tukey's, of the biweight.
const TUKEY: f64 = 4.685;
const RANGES_MAX: usize = RANGE_SIZE[0] * RANGE_SIZE[1];
/// A range image older than this beside its picture is not looked at.
const RANGES_VALID: Duration = Duration::from_millis(500);

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
    /// Of what a brain may do, so much may still happen once a scan has shown it open.
    pub after_scan: f64,
    /// Places so far apart are alike to exp(−½), mm.
    pub alike_mm: f64,
    /// By which the deviation grows while nothing is seen, mm a minute.
    pub growth_mm_per_minute: f64,
    /// How well a vessel of the scan is found on its line, mm.
    pub line_error_mm: f64,
    /// How well the scan shows where the cortex is, mm.
    pub surface_error_mm: f64,
    /// How well what was carved says where the opening is, mm: its edge gives way.
    pub mouth_error_mm: f64,
    /// A range farther than so many standard deviations from what is expected is of something else.
    pub gate: f64,
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
            after_scan: 0.35,
            alike_mm: 45.0,
            growth_mm_per_minute: 0.1,
            line_error_mm: 0.6,
            surface_error_mm: 0.8,
            mouth_error_mm: 0.8,
            gate: 3.0,
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
    scan: Option<Arc<BrainShift>>,
    target: Point3<f64>,
    model: Model,
    fit: Fit,
    samples: Vec<Sample>,
    /// What is expected at each.
    places: Vec<Place>,
    search: Search,
    cortex: Cortex,
    mouth_mm: f64,
    measured: Vec<Measured>,
    /// A row of each, and how far it may be from what is expected, mm.
    ranged: Vec<(Row, f64)>,
    mouth: Mouth,
    /// Where the opening is along the cortex' two directions, from where it was at rest, mm, if the last look found it.
    opening: Option<[f64; 2]>,
    /// What is left of each in a round of the fit, mm, and its middle's search.
    left: Vec<f64>,
    sorted: Vec<f64>,
    /// How many ranges the last look counted.
    counted: usize,
    coefficients: [f64; STATES],
    looked: Option<Instant>,
    /// When anything was last found.
    found: Option<Instant>,
}

/// Where tissue rests: what does not change from picture to picture.
#[derive(Debug, Clone, Copy)]
pub struct Rest<'a> {
    /// What was planned.
    pub anatomy: &'a Anatomy,
    /// The scan whose coordinates are those of rest.
    pub t1c: &'a Scan,
    /// FLAIR in the same.
    pub flair: Option<&'a Scan>,
    /// The microscope.
    pub camera: &'a CameraCalibration,
    /// Against gravity; where nobody says, craniotomies are assumed to be turned up.
    pub up: Option<Vector3<f64>>,
    /// Where tissue was in the newest intraoperative scan.
    pub scan: Option<&'a Arc<BrainShift>>,
}

/// What there is to look at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The picture.
    pub picture: &'a VideoFrame,
    /// The newest range image, where there is one.
    pub ranges: Option<&'a RangeImage>,
    /// The camera of both.
    pub camera: &'a CameraCalibration,
    /// The shaft, where it is in view.
    pub shaft: Option<&'a Shaft>,
    /// Whether something was carved at a place, at rest.
    pub open: &'a dyn Fn(&Point3<f64>) -> bool,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// When.
    pub at: Instant,
    /// Samples of vessels on a line.
    pub vessels: usize,
    /// Ranges that are the cortex'.
    pub ranges: usize,
    /// Whether the opening was.
    pub opening: bool,
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

    /// What was found last.
    #[must_use]
    pub fn found(&self) -> Option<Found> {
        let patient = self.patient.as_ref()?;
        Some(Found {
            at: patient.found?,
            vessels: patient.search.found.len(),
            ranges: patient.counted,
            opening: patient.opening.is_some(),
        })
    }

    /// Begins anew where any of it is another than before, or `anew`: with what brains do, or have done since a scan.
    pub fn begin(&mut self, rest: &Rest<'_>, anew: bool) {
        let Rest { anatomy, t1c, flair, camera, up, scan } = *rest;
        let up = up.unwrap_or(anatomy.craniotomy.outward);
        let known = |p: &Followed| p.anatomy == anatomy.digest && p.up == up && same(p.scan.as_ref(), scan);
        if !anew && self.patient.as_ref().is_some_and(known) {
            return;
        }
        let (target, entry) = (anatomy.corridor.target, anatomy.corridor.entry);
        let model = match scan {
            Some(scan) => Model::since(&self.settings, target, &entry, &up, scan),
            None => Model::new(&self.settings, target, &entry, &up),
        };
        let samples = vessels::exposed(anatomy, t1c);
        let eye = camera.patient_from_camera.position().coordinates();
        let distance_mm = nalgebra::distance(&eye, &entry).max(50.0);
        let px = camera.focal_px[0] / (REDUCED as f64 * distance_mm);
        let camera_px = (camera.error.get() / std::f64::consts::SQRT_2 * px).max(0.1);
        let cortex = Cortex::new(anatomy, t1c, flair);
        let followed = Followed {
            anatomy: anatomy.digest,
            up,
            scan: scan.cloned(),
            target,
            fit: Fit::new(&model, camera_px, self.settings.scale_error),
            places: samples.iter().map(|s| model.at(&s.rest)).collect(),
            search: Search::new(samples.len(), camera, distance_mm),
            samples,
            model,
            mouth: Mouth::new(&cortex, RANGES_MAX),
            opening: None,
            cortex,
            mouth_mm: anatomy.corridor.entry_radius_mm,
            measured: ranges::room(),
            ranged: Vec::with_capacity(RANGES_MAX),
            left: Vec::with_capacity(RANGES_MAX),
            sorted: Vec::with_capacity(RANGES_MAX),
            counted: 0,
            coefficients: [0.0; STATES],
            looked: None,
            found: None,
        };
        followed.write(0.0, &mut self.candidate);
        self.published.copy_from(&self.candidate);
        self.patient = Some(followed);
    }

    /// Takes a picture in, if one is due. Whether tissue is elsewhere than it was said to be before.
    pub fn look(&mut self, view: &View<'_>) -> bool {
        let (settings, at) = (self.settings, view.picture.captured);
        let Some(patient) = &mut self.patient else { return false };
        let since = patient.looked.and_then(|before| at.since(before));
        if patient.looked.is_some() && since.is_none_or(|s| s < settings.every) {
            return false;
        }
        patient.looked = Some(at);
        self.ridges.find(view.picture);
        let fresh = |r: &&RangeImage| {
            Duration::from_nanos(r.captured.nanos().abs_diff(at.nanos())) <= RANGES_VALID && r.noise_mm > 0.0
        };
        let ranges = view.ranges.filter(fresh);
        patient.measured.clear();
        if let Some(image) = ranges {
            let believed = &self.published;
            let seen = (|p: &Point3<f64>| believed.rest(p), view.open);
            ranges::measured(
                image,
                view.camera,
                &patient.cortex,
                patient.mouth_mm,
                view.shaft,
                seen,
                &mut patient.measured,
            );
        }
        let (model, places, coefficients) = (&patient.model, &patient.places, &patient.coefficients);
        let now = |sample: usize| patient.samples[sample].rest + displaced(model, &places[sample], coefficients);
        if !patient.search.look(&self.ridges, view.camera, &patient.samples, view.shaft, now) {
            patient.search.found.clear();
        }
        patient.opening = None;
        patient.bring_together(&settings, view.camera, ranges);
        if let Some(image) = ranges.filter(|_| patient.counted >= COUNTED_MIN) {
            // Now that it is known how deep the cortex lies.
            patient.find_opening(view, image);
            if patient.opening.is_some() {
                patient.bring_together(&settings, view.camera, ranges);
            }
        }
        if patient.counted >= COUNTED_MIN || !patient.search.found.is_empty() {
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
    /// The coefficients that fit ranges, lines and prior best. What was counted too little counts for nothing.
    fn bring_together(&mut self, settings: &Settings, camera: &CameraCalibration, ranges: Option<&RangeImage>) {
        self.fit.expect_bias(ranges.map_or(0.0, |r| r.bias_mm.hypot(self.cortex.error_mm())));
        let noise_mm = ranges.map_or(1.0, |r| r.noise_mm).hypot(settings.surface_error_mm);
        self.take_ranges(camera, noise_mm);
        // Of the round before; the first weighs by what is expected.
        let mut found: Option<[f64; STATES]> = None;
        self.counted = 0;
        for round in 0..ROUNDS {
            self.fit.begin();
            self.add_lines(settings, camera, found.as_ref());
            self.counted = self.add_ranges(settings, noise_mm, found.as_ref());
            self.add_opening(settings, camera);
            if self.counted < COUNTED_MIN && round > 0 {
                self.ranged.clear();
            }
            self.fit.solve();
            found = Some(self.fit.found);
        }
        // A fit of nothing is the prior, and no reason to believe it more than what was found before.
        if self.counted >= COUNTED_MIN || !self.search.found.is_empty() {
            self.fit.invert();
        }
    }

    /// Where the opening is, by the cortex as the last fit has it.
    fn find_opening(&mut self, view: &View<'_>, image: &RangeImage) {
        let (model, cortex, found) = (&self.model, &self.cortex, &self.fit.found);
        let (entry, outward) = (*cortex.entry(), *cortex.outward());
        let at_entry = displaced(model, &model.at(&entry), found);
        let eye = view.camera.patient_from_camera.position().coordinates();
        self.mouth.begin(cortex, view.open);
        for (pixel, range) in image.measured(view.camera.size_px) {
            let ends = ranges::place(view.camera, pixel, range);
            let Some(ray) = (ends - eye).try_normalize(1e-9) else { continue };
            let fall = ray.dot(&outward);
            if fall > -0.1 || view.shaft.is_some_and(|s| s.covers(&eye, &ends)) {
                continue;
            }
            // From the plane of the entry down or up to the cortex: it is smooth, so that two steps do.
            let mut along = (entry + at_entry - eye).dot(&outward) / fall;
            let mut rest = Some(eye + ray * along - at_entry);
            for _ in 0..2 {
                rest = rest.and_then(|r| cortex.below(&r)).map(|(spot, _)| {
                    let moved = displaced(model, &model.at(&spot.rest), found);
                    along += (spot.rest + moved - (eye + ray * along)).dot(&outward) / fall;
                    eye + ray * along - moved
                });
            }
            let meets = eye + ray * along;
            if let Some(rest) = rest.filter(|_| cortex.in_opening(&meets)) {
                self.mouth.add(cortex, &rest, (meets - ends).dot(&outward));
            }
        }
        let offset = self.mouth.offset(cortex);
        self.opening = offset.map(|o| [0, 1].map(|a| at_entry.dot(&cortex.directions()[a]) + o[a]));
    }

    fn add_opening(&mut self, settings: &Settings, camera: &CameraCalibration) {
        let Some(opening) = self.opening else { return };
        let entry = *self.cortex.entry();
        let place = self.model.at(&entry);
        let axes = camera.patient_from_camera.isometry().rotation.to_rotation_matrix();
        let range = nalgebra::distance(&camera.patient_from_camera.position().coordinates(), &entry);
        let px_mm = REDUCED as f64 * range / camera.focal_px[0];
        for (direction, off) in self.cortex.directions().iter().zip(opening) {
            let mut row = Row::along(&self.model, &place.modes, direction);
            let [u, v] = [0, 1].map(|a| direction.dot(&axes.matrix().column(a)));
            (row.by[CAMERA], row.by[CAMERA + 1]) = (u * px_mm, v * px_mm);
            row.off = off - direction.dot(&place.mean);
            row.weight = 1.0 / (settings.mouth_error_mm * settings.mouth_error_mm);
            self.fit.add(&row);
        }
    }

    fn add_lines(&mut self, settings: &Settings, camera: &CameraCalibration, found: Option<&[f64; STATES]>) {
        let coefficients = self.coefficients;
        let middle = camera.centre_px.map(|c| (c - 0.5 * (REDUCED as f64 - 1.0)) / REDUCED as f64);
        for line in &self.search.found {
            let place = &self.places[line.sample];
            let at = self.samples[line.sample].rest + displaced(&self.model, place, &coefficients);
            let (Some(here), Some(px_per_mm)) = (vessels::reduced(camera, &at), per_mm(camera, &at)) else {
                continue;
            };
            let across = px_per_mm[0] * line.normal.x + px_per_mm[1] * line.normal.y;
            let mut row = Row::along(&self.model, &place.modes, &across);
            let before: f64 = row.by.iter().zip(&coefficients).map(|(b, c)| b * c).sum();
            row.by[CAMERA] = line.normal.x;
            row.by[CAMERA + 1] = line.normal.y;
            row.by[CAMERA + 2] = line.normal.x * (here.x - middle[0]) + line.normal.y * (here.y - middle[1]);
            row.off = line.off_px + before;
            let deviation_px = settings.line_error_mm * px_per_mm[0].norm().max(px_per_mm[1].norm());
            let left = found.map_or(0.0, |f| left_of(&row, f));
            let beyond = (left.abs() / deviation_px).max(HUBER);
            row.weight = HUBER / beyond / (deviation_px * deviation_px * ALIKE_SAMPLES);
            self.fit.add(&row);
        }
    }

    /// Makes a row of every measured place.
    fn take_ranges(&mut self, camera: &CameraCalibration, noise_mm: f64) {
        let axes = camera.patient_from_camera.isometry().rotation.to_rotation_matrix();
        let eye = camera.patient_from_camera.position().coordinates();
        self.ranged.clear();
        for Measured { at, spot } in &self.measured {
            let place = self.model.at(&spot.rest);
            let mut row = Row::along(&self.model, &place.modes, &spot.normal);
            let range = (at - eye).dot(&axes.matrix().column(2));
            let [u, v, z] = [0, 1, 2].map(|a| spot.normal.dot(&axes.matrix().column(a)));
            // A picture that is off by a pixel shows everything as far aside as a pixel is wide there.
            let px_mm = REDUCED as f64 * range / camera.focal_px[0];
            (row.by[CAMERA], row.by[CAMERA + 1], row.by[RANGE]) = (u * px_mm, v * px_mm, z);
            row.off = spot.normal.dot(&(at - spot.rest - place.mean));
            self.ranged.push((row, (place.felt * self.model.spread(&spot.normal)).hypot(noise_mm)));
        }
    }

    /// How many ranges count.
    fn add_ranges(&mut self, settings: &Settings, noise_mm: f64, found: Option<&[f64; STATES]>) -> usize {
        self.left.clear();
        self.left.extend(self.ranged.iter().map(|(row, _)| found.map_or(row.off, |f| left_of(row, f))));
        // At first they are held against their own middle; how far good ones scatter, their median distance says.
        let middle = if found.is_none() { median(&mut self.sorted, self.left.iter().copied()) } else { 0.0 };
        self.left.iter_mut().for_each(|l| *l -= middle);
        let scatter = 1.4826 * median(&mut self.sorted, self.left.iter().map(|l| l.abs()));
        let scatter = scatter.max(noise_mm);
        let mut counted = 0;
        for ((row, expected_mm), left) in self.ranged.iter_mut().zip(&self.left) {
            let off = left / (TUKEY * scatter);
            if row.off.abs() > settings.gate * *expected_mm || off.abs() >= 1.0 {
                continue;
            }
            counted += 1;
            let biweight = (1.0 - off * off).powi(2);
            row.weight = biweight / (noise_mm * noise_mm * ALIKE_RANGES);
            self.fit.add(row);
        }
        counted
    }

    /// The displacement of every node and its deviation, with so much that time adds.
    fn write(&self, grown_mm: f64, shift: &mut BrainShift) {
        shift.set(self.target, |node| {
            let place = self.model.node(node);
            let by = displaced(&self.model, &place, &self.coefficients);
            let variance = self.fit.variance(&place.modes) + self.model.left_out(node);
            // A sixteenth, so that a follower never says that it knows for certain.
            (by, (variance.sqrt() + grown_mm * place.felt).max(1.0 / DEVIATION_PER_MM))
        });
    }
}

/// Whether two are the very same.
fn same(a: Option<&Arc<BrainShift>>, b: Option<&Arc<BrainShift>>) -> bool {
    a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
}

/// The middle value, in a scratch of the caller's; 0 of nothing.
fn median(scratch: &mut Vec<f64>, of: impl Iterator<Item = f64>) -> f64 {
    scratch.clear();
    scratch.extend(of);
    scratch.sort_unstable_by(f64::total_cmp);
    scratch.get(scratch.len() / 2).copied().unwrap_or(0.0)
}

/// What a fit leaves of a measured number.
fn left_of(row: &Row, found: &[f64; STATES]) -> f64 {
    row.off - row.by.iter().zip(found).map(|(b, c)| b * c).sum::<f64>()
}

/// Mean and deviation together.
fn displaced(model: &Model, place: &Place, of: &[f64; STATES]) -> Vector3<f64> {
    place.mean + Fit::displacement(model, of, &place.modes)
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
