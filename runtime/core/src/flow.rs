//! The messages of the flow: what one stage says to the next.
//!
//! ```text
//! VideoFrame ┐                                  ┌─► Verdict
//! Volume     ├─► RoiFrame ─► Scene ─► Plan ─► validate ─► Approved ─► Sent ─► arm
//! TipPose    ┘                  └───────────────┘  └─► Withdrawn
//! ```
//!
//! **Units and frames:** millimetres, radians, patient LPS. **Time:** every message says when the world it
//! speaks of was (`captured`) and when it was made (`decided`). One [`TraceId`] follows a camera frame
//! through all of them. **Allocation:** large messages travel as `Arc` from a [`crate::pool::Pool`].
//! `Approved` is not here: only the validator can construct it; [`ApprovedRecord`] is what it says.

use crate::arm::{ArmModelId, Joints};
use crate::brain_shift::BrainShift;
use crate::digest::{Digest, Digester};
use crate::frame::{ArmBase, Camera, Flange, FrameId, Patient, Point, Pose, Reference, Tip, Tracker};
use crate::grid::Grid;
use crate::time::{Duration, Instant, Stamped};
use crate::units::Millimetres;
use nalgebra::{Matrix4, Point3, Vector3};
use std::sync::Arc;

/// Edge of the fine region of interest in voxels.
pub const ROI_EDGE: usize = 64;
/// Voxels of the fine region of interest.
pub const ROI_VOXELS: usize = ROI_EDGE * ROI_EDGE * ROI_EDGE;
/// Edge of its voxels, mm: 64 × 1.25 = 80 mm, the width of a large core.
pub const ROI_SPACING_MM: f64 = 1.25;
/// Edge of the coarse map's voxels, mm.
pub const COARSE_SPACING_MM: f64 = 2.5;
/// Edge of the coarse map in voxels: 64 × 2.5 = 160 mm, wider than any whole tumour seen (106 mm).
pub const COARSE_EDGE: usize = 64;
/// Most candidate motions in one [`Plan`].
pub const CANDIDATES_MAX: usize = 8;
/// Most waypoints in one [`Motion`].
pub const WAYPOINTS_MAX: usize = 64;

/// Follows one camera frame from capture to the arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TraceId(pub u64);

/// Numbers scenes, plans and approvals within a session, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Sequence(pub u64);

/// A picture: RGB, 8 bits, rows from the top without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoFrame {
    /// Its trace.
    pub trace: TraceId,
    /// Which camera.
    pub camera: u32,
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
    /// What the microscope's lamp was set to.
    pub light: Light,
    /// Hand-over by the device.
    pub captured: Instant,
    /// Arrival here.
    pub received: Instant,
}

impl VideoFrame {
    /// A black frame of a fixed size, for pools.
    #[must_use]
    pub fn black(width: usize, height: usize) -> Self {
        Self {
            trace: TraceId(0),
            camera: 0,
            width,
            height,
            rgb: vec![0; width * height * 3],
            light: Light::White,
            captured: Instant::START,
            received: Instant::START,
        }
    }
}

/// Columns and rows of a [`RangeImage`].
pub const RANGE_SIZE: [usize; 2] = [32, 18];
/// Steps of a range in a millimetre.
pub const RANGE_PER_MM: f64 = 32.0;

/// How far away what a camera shows is, as a stereo microscope or a range scanner measures it.
///
/// The picture is divided into [`RANGE_SIZE`] tiles; a range is that of a tile's middle, along the camera's z.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeImage {
    /// Which camera's picture.
    pub camera: u32,
    /// Row by row, 1/32 mm; 0 where nothing was measured.
    pub ranges: [u16; RANGE_SIZE[0] * RANGE_SIZE[1]],
    /// Standard deviation of one range by itself, mm, finite and above 0.
    pub noise_mm: f64,
    /// Standard deviation of what is common to all of them, mm, finite and not negative.
    pub bias_mm: f64,
    /// Hand-over by the device.
    pub captured: Instant,
    /// Arrival here.
    pub received: Instant,
}

impl RangeImage {
    /// Nothing measured.
    #[must_use]
    pub const fn blank() -> Self {
        Self {
            camera: 0,
            ranges: [0; RANGE_SIZE[0] * RANGE_SIZE[1]],
            noise_mm: 1.0,
            bias_mm: 0.0,
            captured: Instant::START,
            received: Instant::START,
        }
    }

    /// What was measured: pixel of the camera's picture, and range, mm.
    pub fn measured(&self, size_px: [usize; 2]) -> impl Iterator<Item = ([f64; 2], f64)> + '_ {
        let tiles = self.ranges.iter().enumerate().filter(|(_, range)| **range > 0);
        tiles.map(move |(tile, range)| (tile_middle(tile, size_px), f64::from(*range) / RANGE_PER_MM))
    }
}

/// The pixel in the middle of a tile of a [`RangeImage`].
#[must_use]
pub fn tile_middle(tile: usize, size_px: [usize; 2]) -> [f64; 2] {
    let of = [tile % RANGE_SIZE[0], tile / RANGE_SIZE[0]];
    std::array::from_fn(|a| (of[a] as f64 + 0.5) / RANGE_SIZE[a] as f64 * size_px[a] as f64 - 0.5)
}

/// The microscope's illumination; never both at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Light {
    /// White light.
    White,
    /// Violet light that makes 5-ALA fluoresce red.
    Violet,
}

/// A pinhole camera's intrinsics and where it stands. Pixel `(u, v) = (fx·x/z + cx, fy·y/z + cy)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraCalibration {
    /// Focal lengths, pixels.
    pub focal_px: [f64; 2],
    /// Principal point, pixels; the centre of the first pixel is (0, 0).
    pub centre_px: [f64; 2],
    /// Picture size, pixels.
    pub size_px: [usize; 2],
    /// Where the camera stands.
    pub patient_from_camera: Pose<Patient, Camera>,
    /// Error of the back-projection at the target, one standard deviation.
    pub error: Millimetres,
}

impl CameraCalibration {
    /// Where a patient point appears: `(u, v, depth mm)`; `None` behind the camera.
    #[must_use]
    pub fn project(&self, at: &Point3<f64>) -> Option<(f64, f64, f64)> {
        let c = self.patient_from_camera.isometry().inverse_transform_point(at);
        (c.z > 1e-6).then(|| {
            let u = self.focal_px[0] * c.x / c.z + self.centre_px[0];
            let v = self.focal_px[1] * c.y / c.z + self.centre_px[1];
            (u, v, c.z)
        })
    }

    /// The ray through a pixel: unit direction in patient coordinates.
    #[must_use]
    pub fn ray(&self, u: f64, v: f64) -> Vector3<f64> {
        let c =
            Vector3::new((u - self.centre_px[0]) / self.focal_px[0], (v - self.centre_px[1]) / self.focal_px[1], 1.0);
        self.patient_from_camera.isometry() * c.normalize()
    }
}

/// What kind of MRI a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Modality {
    /// T1-weighted.
    T1,
    /// T1-weighted with contrast agent.
    T1c,
    /// T2-weighted.
    T2,
    /// Fluid-attenuated inversion recovery.
    Flair,
    /// Time-of-flight MR angiography.
    Mra,
}

/// A scan. Voxel `[i, j, k]` has index `i + nx·(j + ny·k)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Which contrast.
    pub modality: Modality,
    /// `[nx, ny, nz]`.
    pub dims: [usize; 3],
    /// Intensities in the scanner's own units; finite.
    pub intensities: Vec<f32>,
    /// Takes `[i, j, k, 1]` (voxel centres) to patient LPS mm.
    pub patient_from_voxel: Matrix4<f64>,
    /// Frame of reference of the scan.
    pub frame: FrameId,
    /// When it was acquired on the session's clock; the session's start for a preoperative scan.
    pub acquired: Instant,
    /// Where the tissue that it shows was then, of an intraoperative scan that was brought back to the coordinates of the one
    /// before; none of a scan in coordinates of its own.
    pub shift: Option<Arc<BrainShift>>,
}

/// What the tracker says of the tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackingStatus {
    /// Measured now.
    Valid,
    /// The camera cannot see the instrument's array.
    LineOfSightLost,
    /// The array is outside the tracker's measuring volume.
    OutOfVolume,
    /// Anything else; invalid.
    Unknown,
}

/// One tracked position of the instrument's tip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TipPose {
    /// Its trace: the newest camera frame when it was received.
    pub trace: TraceId,
    /// Where the tip is, from the reference array; error and age inside.
    pub reference_from_tip: Stamped<Pose<Reference, Tip>>,
    /// Whether it may be believed. Unknown is invalid.
    pub status: TrackingStatus,
    /// Arrival here.
    pub received: Instant,
}

/// Where the tracking camera saw the reference array. It stays at the edge: what follows from it is that a registration no longer
/// holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReferencePose {
    /// Takes the reference array's coordinates to the camera's.
    pub tracker_from_reference: Pose<Tracker, Reference>,
    /// Whether it may be believed. Unknown is invalid.
    pub status: TrackingStatus,
    /// When it was measured.
    pub captured: Instant,
}

/// How the patient lies in the tracker's world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Registration {
    /// Takes the reference array's coordinates to the scan's.
    pub patient_from_reference: Pose<Patient, Reference>,
    /// Root mean square fiducial registration error.
    pub fre: Millimetres,
    /// Predicted target registration error at the target.
    pub predicted_tre: Millimetres,
    /// Against gravity, unit, patient LPS; none where nobody said how the head lies.
    pub up: Option<[f64; 3]>,
    /// When it was made.
    pub registered: Instant,
    /// When it ends.
    pub expires: Instant,
}

/// Independent terms of the error at the margin, one standard deviation each.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ErrorBudget {
    /// Target registration error.
    pub registration: Millimetres,
    /// Camera calibration.
    pub calibration: Millimetres,
    /// Tip tracking, age included.
    pub tracking: Millimetres,
    /// Brain shift since the scan. Where it is not followed, a bias, added and not squared; where it is, its deviation
    /// at the target, a term like the others.
    pub shift: Millimetres,
}

impl ErrorBudget {
    /// At the target, for a brain that lies so: independent terms in quadrature, a bias added.
    #[must_use]
    pub fn total(&self, brain: &BrainShift) -> Millimetres {
        if brain.is_followed() { self.rigid().quadrature(self.shift) } else { self.rigid() + self.shift }
    }

    /// At a place of the scan, mm: as [`Self::total`], with the deviation there.
    #[must_use]
    pub fn at_mm(&self, brain: &BrainShift, rest: &Point3<f64>) -> f64 {
        let rigid = self.rigid().get();
        if brain.is_followed() { rigid.hypot(brain.deviation_mm(rest)) } else { rigid + self.shift.get() }
    }

    /// Without what brain shift adds: of what is bone or metal.
    #[must_use]
    pub fn rigid(&self) -> Millimetres {
        self.registration.quadrature(self.calibration).quadrature(self.tracking)
    }
}

/// Channels of a [`RoiFrame`], version 1: a contract, bound by its hash. Whoever changes it retrains.
pub const ROI_CHANNELS: [&str; 9] = [
    "t1c: last T1c, z-scored over the brain of the whole scan",
    "flair: last FLAIR, z-scored likewise; 0 where there is none",
    "cavity: 1 where the energised tip has swept or the corridor was open, else 0",
    "fluorescence: back-projected 5-ALA evidence in [0, 1]; 0 where never seen, 0.5 where never under violet light",
    "seen_age: seconds since the voxel was last seen, over 60, in [0, 1]; 1 where never seen",
    "t1: last T1, z-scored likewise; 0 where there is none",
    "t2: last T2, z-scored likewise; 0 where there is none",
    "redness: back-projected share of red under white light in [0, 1]; 0 where never seen, 0.5 where never under white light",
    "doubt: how far tissue may be from where it is shown, one standard deviation, over 10 mm, in [0, 1]; grows with the scan's age",
];

/// Number of channels.
pub const ROI_CHANNEL_COUNT: usize = ROI_CHANNELS.len();

/// Which channel is which.
pub mod roi_channel {
    /// T1c.
    pub const T1C: usize = 0;
    /// FLAIR.
    pub const FLAIR: usize = 1;
    /// Cavity.
    pub const CAVITY: usize = 2;
    /// 5-ALA evidence.
    pub const FLUORESCENCE: usize = 3;
    /// How long ago a voxel was seen.
    pub const SEEN_AGE: usize = 4;
    /// T1.
    pub const T1: usize = 5;
    /// T2.
    pub const T2: usize = 6;
    /// Evidence under white light.
    pub const REDNESS: usize = 7;
    /// How far tissue may be from where it is shown.
    pub const DOUBT: usize = 8;
    /// Those that scans are in.
    pub const SCANS: [usize; 4] = [T1C, FLAIR, T1, T2];
}

/// Digest of the channel list.
#[must_use]
pub fn roi_channels_digest() -> Digest {
    let mut digester = Digester::new("bregma roi channels 1");
    for channel in ROI_CHANNELS {
        digester.text(channel);
    }
    digester.finish()
}

/// Everything perception sees, on the fine region of interest, where the newest scan shows it: memories of tissue stay
/// with the tissue, and `shift` says where it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct RoiFrame {
    /// Trace of the camera frame that it was made for.
    pub trace: TraceId,
    /// Capture of that frame.
    pub captured: Instant,
    /// When it was made.
    pub decided: Instant,
    /// 64³ at 1.25 mm.
    pub grid: Grid,
    /// Which scan's coordinates.
    pub frame: FrameId,
    /// `[C, 64, 64, 64]`, C as in [`ROI_CHANNELS`].
    pub channels: Vec<f32>,
    /// Grows by one whenever a new scan arrived or the region moved: memories are then reset.
    pub epoch: u64,
    /// When the T1c was acquired.
    pub scanned: Instant,
    /// The tip at the frame's time, where it is now; none when it may not be believed.
    pub patient_from_tip: Option<Pose<Patient, Tip>>,
    /// Whether the instrument's energy was on.
    pub energy: Energy,
    /// Errors predicted at the target.
    pub errors: ErrorBudget,
    /// How far tissue has moved since the scan.
    pub shift: BrainShift,
}

impl RoiFrame {
    /// An empty frame for pools.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            trace: TraceId(0),
            captured: Instant::START,
            decided: Instant::START,
            grid: roi_grid(Point3::origin()),
            frame: FrameId::SOLE,
            channels: vec![0.0; ROI_CHANNEL_COUNT * ROI_VOXELS],
            epoch: 0,
            scanned: Instant::START,
            patient_from_tip: None,
            energy: Energy::OFF,
            errors: ErrorBudget::default(),
            shift: BrainShift::still(Point3::origin()),
        }
    }

    /// One channel, `[64, 64, 64]`.
    #[must_use]
    pub fn channel(&self, channel: usize) -> &[f32] {
        &self.channels[channel * ROI_VOXELS..(channel + 1) * ROI_VOXELS]
    }
}

/// The fine region around a point.
#[must_use]
pub fn roi_grid(centre: Point3<f64>) -> Grid {
    Grid::centred(centre, [ROI_EDGE; 3], ROI_SPACING_MM)
}

/// The coarse map's grid around a point.
#[must_use]
pub fn coarse_grid(centre: Point3<f64>) -> Grid {
    Grid::centred(centre, [COARSE_EDGE; 3], COARSE_SPACING_MM)
}

/// Bits of [`Scene::state`].
pub mod voxel {
    /// Removed, or open since before the start.
    pub const CAVITY: u8 = 1;
    /// Inside a forbidden region, inflated by the error budget.
    pub const FORBIDDEN: u8 = 2;
    /// Tissue with an open neighbour: the cavity's wall.
    pub const WALL: u8 = 4;
    /// Wall seen by the microscope in the frame this scene was made from.
    pub const VISIBLE: u8 = 8;
    /// Brain tissue, as far as the scan shows; outside it there is CSF, dura, skull or air.
    pub const BRAIN: u8 = 16;
}

/// Full scale of [`Scene::margin`]: 1/64 mm.
pub const MARGIN_PER_MM: f64 = 64.0;
/// Full scale of [`Scene::interval`]: 1/16 mm.
pub const INTERVAL_PER_MM: f64 = 16.0;

/// The tumour's margin and what else is known, where it is now, in canonical quantised form: plan, validate and the
/// recording all read these bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// Number within the session.
    pub id: Sequence,
    /// Trace of the camera frame that it was made from.
    pub trace: TraceId,
    /// Capture of that frame.
    pub captured: Instant,
    /// When it was made.
    pub decided: Instant,
    /// The fine region.
    pub grid: Grid,
    /// Which scan's coordinates.
    pub frame: FrameId,
    /// Signed `tumour_margin`, `[64³]`, 1/64 mm, positive outside the residual core.
    pub margin: Vec<i16>,
    /// Half-width of the margin's interval, `[64³]`, 1/16 mm.
    pub interval: Vec<u8>,
    /// Probability of residual core, `[64³]`, 0 to 255.
    pub residual: Vec<u8>,
    /// Bits of [`voxel`], `[64³]`.
    pub state: Vec<u8>,
    /// Seconds since each voxel was last seen, `[64³]`; 255 where longer or never.
    pub seen_age_s: Vec<u8>,
    /// The coarse map's grid.
    pub coarse_grid: Grid,
    /// Share of each coarse voxel that is residual core, 0 to 255, the fine region included.
    pub coarse_residual: Vec<u8>,
    /// Estimated residual core, whole head, mL.
    pub residual_ml: f64,
    /// Of it, in the fine region, what could be cut if nothing erred, and is forbidden because something may, mL.
    pub doubtful_ml: f64,
    /// Errors at the margin.
    pub errors: ErrorBudget,
    /// How far tissue has moved since the scan: what is kept in the scan's coordinates is found by it.
    pub shift: BrainShift,
    /// When the scan that it starts from was acquired.
    pub scanned: Instant,
    /// Which anatomy it was made with.
    pub anatomy: Digest,
    /// Which estimator, by hash.
    pub model: Digest,
    /// Of everything above; the approval is bound to it.
    pub digest: Digest,
}

impl Scene {
    /// An empty scene for pools.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            id: Sequence(0),
            trace: TraceId(0),
            captured: Instant::START,
            decided: Instant::START,
            grid: roi_grid(Point3::origin()),
            frame: FrameId::SOLE,
            margin: vec![i16::MAX; ROI_VOXELS],
            interval: vec![0; ROI_VOXELS],
            residual: vec![0; ROI_VOXELS],
            state: vec![0; ROI_VOXELS],
            seen_age_s: vec![255; ROI_VOXELS],
            coarse_grid: coarse_grid(Point3::origin()),
            coarse_residual: vec![0; COARSE_EDGE * COARSE_EDGE * COARSE_EDGE],
            residual_ml: 0.0,
            doubtful_ml: 0.0,
            errors: ErrorBudget::default(),
            shift: BrainShift::still(Point3::origin()),
            scanned: Instant::START,
            anatomy: Digest::default(),
            model: Digest::default(),
            digest: Digest::default(),
        }
    }

    /// The digest of its bytes, `digest` itself excluded. Allocates nothing.
    #[must_use]
    pub fn digest_of_bytes(&self) -> Digest {
        let mut d = Digester::new("bregma scene 4");
        d.u64(self.id.0).u64(self.trace.0).u64(self.captured.nanos()).u64(self.decided.nanos()).u64(self.frame.0);
        for grid in [&self.grid, &self.coarse_grid] {
            d.sizes(&grid.dims).f64(grid.spacing_mm).f64s(&grid.origin);
        }
        d.i16s(&self.margin).bytes(&self.interval).bytes(&self.residual).bytes(&self.state).bytes(&self.seen_age_s);
        d.bytes(&self.coarse_residual).f64(self.residual_ml).f64(self.doubtful_ml);
        let e = &self.errors;
        d.f64s(&[e.registration, e.calibration, e.tracking, e.shift].map(Millimetres::get));
        self.shift.digest_into(&mut d);
        d.u64(self.scanned.nanos()).digest(&self.anatomy).digest(&self.model);
        d.finish()
    }

    /// `tumour_margin` of a voxel, mm.
    #[must_use]
    pub fn margin_mm(&self, index: usize) -> f64 {
        f64::from(self.margin[index]) / MARGIN_PER_MM
    }

    /// Half of the width of its interval, mm.
    #[must_use]
    pub fn interval_mm(&self, index: usize) -> f64 {
        f64::from(self.interval[index]) / INTERVAL_PER_MM
    }
}

/// A cylinder with round ends, patient mm.
#[derive(Debug, Clone, PartialEq)]
pub struct Capsule {
    /// One end of its axis.
    pub start: Point3<f64>,
    /// The other end.
    pub end: Point3<f64>,
    /// Radius, mm.
    pub radius_mm: f64,
}

impl Capsule {
    /// Where it lies now.
    #[must_use]
    pub fn moved(&self, shift: &BrainShift) -> Self {
        Self { start: shift.now(&self.start), end: shift.now(&self.end), radius_mm: self.radius_mm }
    }

    /// Distance of a point from its surface, mm; negative inside.
    #[must_use]
    pub fn distance_mm(&self, at: &Point3<f64>) -> f64 {
        let axis = self.end - self.start;
        let t = ((at - self.start).dot(&axis) / axis.norm_squared().max(1e-12)).clamp(0.0, 1.0);
        nalgebra::distance(at, &(self.start + axis * t)) - self.radius_mm
    }
}

/// What a labelled region of [`Anatomy`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegionKind {
    /// Tissue that must not be hurt.
    Eloquent,
    /// Bone with dura.
    Skull,
}

/// A named label of the region map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Its value in [`Anatomy::labels`].
    pub label: u8,
    /// As people call it.
    pub name: String,
    /// What it is.
    pub kind: RegionKind,
}

/// The opening in the skull.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Craniotomy {
    /// Its middle, on the outer surface.
    pub centre: Point3<f64>,
    /// Unit vector out of the head.
    pub outward: Vector3<f64>,
    /// Radius, mm.
    pub radius_mm: f64,
}

/// The way in: a cone from `entry` to `target`, open when the case starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corridor {
    /// Where in: the middle of the opening in the brain's surface.
    pub entry: Point3<f64>,
    /// Where to: the planned point in the tumour.
    pub target: Point3<f64>,
    /// Radius at the entry, mm.
    pub entry_radius_mm: f64,
    /// Radius where the open part ends, mm.
    pub end_radius_mm: f64,
    /// Length of the open part from the entry towards the target, mm.
    pub open_mm: f64,
}

impl Corridor {
    /// Where it lies now: entry and target are tissue.
    #[must_use]
    pub fn moved(&self, shift: &BrainShift) -> Self {
        Self { entry: shift.now(&self.entry), target: shift.now(&self.target), ..*self }
    }

    /// Whether a point lies in the part that is open when the case starts. It also reaches
    /// `above_mm` out of the head, above the entry.
    #[must_use]
    pub fn holds(&self, at: &Point3<f64>, above_mm: f64) -> bool {
        let axis = (self.target - self.entry).normalize();
        let along = (at - self.entry).dot(&axis);
        if along < -above_mm || along > self.open_mm {
            return false;
        }
        let across = ((at - self.entry) - axis * along).norm();
        let share = (along / self.open_mm.max(1e-9)).clamp(0.0, 1.0);
        across <= self.entry_radius_mm + (self.end_radius_mm - self.entry_radius_mm) * share
    }
}

/// What was planned and known before the start, in the scan's coordinates; sent on change.
#[derive(Debug, Clone, PartialEq)]
pub struct Anatomy {
    /// Which scan's coordinates.
    pub frame: FrameId,
    /// Vessels that the scans show.
    pub vessels: Vec<Capsule>,
    /// Grid of the region map.
    pub grid: Grid,
    /// Labels, 0 where there is no region.
    pub labels: Vec<u8>,
    /// What the labels mean.
    pub regions: Vec<Region>,
    /// The opening.
    pub craniotomy: Craniotomy,
    /// The way in.
    pub corridor: Corridor,
    /// Of everything above.
    pub digest: Digest,
}

impl Anatomy {
    /// The digest of its content, `digest` itself excluded.
    #[must_use]
    pub fn digest_of_content(&self) -> Digest {
        let mut d = Digester::new("bregma anatomy 1");
        d.u64(self.frame.0).u64(self.vessels.len() as u64);
        for v in &self.vessels {
            d.f64s(v.start.coords.as_slice());
            d.f64s(v.end.coords.as_slice());
            d.f64(v.radius_mm);
        }
        d.sizes(&self.grid.dims).f64(self.grid.spacing_mm).f64s(&self.grid.origin);
        d.bytes(&self.labels).u64(self.regions.len() as u64);
        for r in &self.regions {
            d.u64(u64::from(r.label)).text(&r.name).u64(match r.kind {
                RegionKind::Eloquent => 1,
                RegionKind::Skull => 2,
            });
        }
        d.f64s(self.craniotomy.centre.coords.as_slice());
        d.f64s(self.craniotomy.outward.as_slice());
        d.f64(self.craniotomy.radius_mm);
        d.f64s(self.corridor.entry.coords.as_slice());
        d.f64s(self.corridor.target.coords.as_slice());
        d.f64(self.corridor.entry_radius_mm).f64(self.corridor.end_radius_mm).f64(self.corridor.open_mm);
        d.finish()
    }
}

/// What the instrument's console is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Energy {
    /// Ultrasonic aspiration: this is what removes tissue.
    pub ultrasound: bool,
    /// Suction.
    pub suction: bool,
    /// Irrigation.
    pub irrigation: bool,
}

impl Energy {
    /// Everything off.
    pub const OFF: Self = Self { ultrasound: false, suction: false, irrigation: false };
    /// Cutting: all three.
    pub const CUT: Self = Self { ultrasound: true, suction: true, irrigation: true };

    /// One byte: bit 0 ultrasound, 1 suction, 2 irrigation.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.ultrasound as u8 | (self.suction as u8) << 1 | (self.irrigation as u8) << 2
    }
    /// From that byte; unknown bits are refused.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits > 7 {
            return None;
        }
        Some(Self { ultrasound: bits & 1 != 0, suction: bits & 2 != 0, irrigation: bits & 4 != 0 })
    }
}

/// A tip pose to pass through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waypoint {
    /// The tip there.
    pub patient_from_tip: Pose<Patient, Tip>,
    /// Speed of the tip on the way to it, mm/s.
    pub feed_mm_s: f64,
    /// Energy on the way to it.
    pub energy: Energy,
}

/// A motion of the tip: straight from waypoint to waypoint, starting where the tip now is.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// At most [`WAYPOINTS_MAX`]; the first is where the motion starts.
    pub waypoints: Vec<Waypoint>,
}

/// What a planner may ask for instead of a motion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Wash the wall.
    Irrigate,
    /// Hold still and look.
    Look,
    /// A new scan.
    NewMri,
    /// The surgeon decides; with the reason in words.
    AskSurgeon(String),
    /// Nothing that may be removed is left.
    Finish,
}

/// Candidates in order of preference, or a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Proposal {
    /// At most [`CANDIDATES_MAX`], best first.
    Motions(Vec<Motion>),
    /// Something else than a motion.
    Request(Request),
}

/// What the planner proposes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Number within the session.
    pub sequence: Sequence,
    /// Trace of the scene.
    pub trace: TraceId,
    /// The scene that it was made from.
    pub scene: Sequence,
    /// Which planner.
    pub planner: &'static str,
    /// Its model's or settings' hash.
    pub model: Digest,
    /// What it proposes.
    pub proposal: Proposal,
    /// When.
    pub decided: Instant,
}

/// What the validator checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Check {
    /// The scene is young enough.
    SceneFresh,
    /// The tracked tip is young enough, valid, and where the arm says it is.
    TipFresh,
    /// The arm's state is young enough and the motion starts there.
    StartsAtArm,
    /// Inverse kinematics found a joint path.
    Reachable,
    /// Joint position limits.
    JointPosition,
    /// Joint speed limits.
    JointSpeed,
    /// Joint acceleration limits.
    JointAcceleration,
    /// Tip speed limits, by where the tip is and by energy.
    TipSpeed,
    /// Arm against itself.
    SelfCollision,
    /// Shaft or arm against the skull and the craniotomy's rim.
    RimClearance,
    /// Tip and shaft against forbidden regions, inflated by the error budget.
    ForbiddenClearance,
    /// Tip and shaft pressing into tissue with the energy off. A motion that starts deeper than the limit or within a step of it,
    /// because tissue has moved onto the shaft, and on its way goes deeper by one step at most, counts as the limit.
    Indentation,
    /// The retract path passes the same checks.
    Retract,
    /// The plan itself is well formed.
    WellFormed,
    /// Joint jerk limits.
    JointJerk,
    /// How far the arm stays from postures in which some motion of the flange needs joints of any speed.
    Singularity,
    /// What presses on tissue by that depth, by a compliance model.
    TissueForce,
    /// How far tissue is stretched by it, by the same model.
    TissueStrain,
    /// Only wall that was seen lately is cut.
    CutSeen,
    /// No tissue is left hanging over what is removed.
    Roof,
}

impl Check {
    /// All of them, in order.
    pub const ALL: [Self; 20] = [
        Self::WellFormed,
        Self::SceneFresh,
        Self::TipFresh,
        Self::StartsAtArm,
        Self::Reachable,
        Self::JointPosition,
        Self::JointSpeed,
        Self::JointAcceleration,
        Self::JointJerk,
        Self::Singularity,
        Self::TipSpeed,
        Self::SelfCollision,
        Self::RimClearance,
        Self::ForbiddenClearance,
        Self::Indentation,
        Self::TissueForce,
        Self::TissueStrain,
        Self::CutSeen,
        Self::Roof,
        Self::Retract,
    ];

    /// In words a person understands, with its unit.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::SceneFresh => ("age of the scene", "s"),
            Self::TipFresh => ("tracked tip against the arm's own tip", "mm"),
            Self::StartsAtArm => ("start of the motion against the arm", "rad"),
            Self::Reachable => ("inverse kinematics residual", "mm"),
            Self::JointPosition => ("distance to a joint's limit", "rad"),
            Self::JointSpeed => ("joint speed", "share of limit"),
            Self::JointAcceleration => ("joint acceleration", "share of limit"),
            Self::JointJerk => ("joint jerk", "share of limit"),
            Self::Singularity => ("least motion of the flange for a turn of the joints", "mm/rad"),
            Self::TipSpeed => ("tip speed", "share of limit"),
            Self::SelfCollision => ("clearance of the arm from itself", "mm"),
            Self::RimClearance => ("clearance from the skull and the craniotomy's rim", "mm"),
            Self::ForbiddenClearance => ("clearance from a forbidden region", "mm"),
            Self::Indentation => ("depth pressed into tissue with the energy off", "mm"),
            Self::TissueForce => ("force on tissue", "mN"),
            Self::TissueStrain => ("strain of tissue", "share"),
            Self::CutSeen => ("time since the wall that is cut was seen", "s"),
            Self::Roof => ("unsupported length of tissue over the cut", "mm"),
            Self::Retract => ("checks that the retract path fails", "checks"),
            Self::WellFormed => ("faults in the plan's form", "faults"),
        }
    }
}

/// One check's worst value along a motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckResult {
    /// Which check.
    pub check: Check,
    /// Worst value; its unit is in [`Check::words`].
    pub value: f64,
    /// The limit.
    pub limit: f64,
    /// Whether it passed.
    pub passed: bool,
    /// When in the motion, from its start.
    pub when: Duration,
    /// Where, patient mm.
    pub at: Option<Point<Patient>>,
}

/// What the validator found for one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The plan.
    pub plan: Sequence,
    /// Trace of the scene.
    pub trace: TraceId,
    /// Which of its candidates, from 0.
    pub candidate: usize,
    /// The scene it was checked against.
    pub scene: Sequence,
    /// Worst value of each check that ran.
    pub checks: Vec<CheckResult>,
    /// Whether all passed, and an approval follows.
    pub approved: bool,
    /// When.
    pub decided: Instant,
}

/// Joint positions at equal steps of time, as played.
#[derive(Debug, Clone, PartialEq)]
pub struct JointPath {
    /// Time between knots.
    pub period: Duration,
    /// Knots; the first is the start. Between two, the gate interpolates linearly.
    pub knots: Vec<Joints>,
    /// [`Energy::bits`] of each knot, valid from it to the next.
    pub energy: Vec<u8>,
}

impl JointPath {
    /// How long it takes.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_nanos(self.period.nanos() * self.knots.len().saturating_sub(1) as u64)
    }

    /// Position and energy at a time from its start; the last knot, energy off, after its end.
    /// `None` when it has no knots, or no time between them.
    #[must_use]
    pub fn at(&self, time: Duration) -> Option<(Joints, Energy)> {
        let step = usize::try_from(time.nanos().checked_div(self.period.nanos())?).unwrap_or(usize::MAX - 1);
        let last = self.knots.last()?;
        if step + 1 >= self.knots.len() {
            return Some((*last, Energy::OFF));
        }
        let share = (time.nanos() % self.period.nanos()) as f64 / self.period.nanos() as f64;
        let joints = self.knots[step].towards(&self.knots[step + 1], share);
        Some((joints, Energy::from_bits(*self.energy.get(step)?)?))
    }

    fn digest_into(&self, d: &mut Digester) {
        d.u64(self.period.nanos()).u64(self.knots.len() as u64);
        d.u64(self.knots.first().map_or(0, |k| k.count() as u64));
        // Whole knots in blocks: one number at a time would cost the gate most of its millisecond.
        d.f64s(self.knots.iter().flat_map(|knot| knot.as_slice()));
        d.bytes(&self.energy);
    }
}

/// What an approval says; the plain mirror of the validator's `Approved`, from which none can be made.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovedRecord {
    /// Number of the approval, growing by one.
    pub sequence: Sequence,
    /// Trace of the scene.
    pub trace: TraceId,
    /// The plan that it came from.
    pub plan: Sequence,
    /// The scene it was checked against.
    pub scene: Sequence,
    /// Digest of that scene.
    pub scene_digest: Digest,
    /// Digest of the validator's limits.
    pub limits: Digest,
    /// Hash of the model that made the plan.
    pub model: Digest,
    /// Which arm.
    pub arm: ArmModelId,
    /// What is played.
    pub path: JointPath,
    /// From the path's start out of the head, energy off. From a point inside the path, the way back to
    /// its start comes first.
    pub retract: JointPath,
    /// The approval may be started until then.
    pub expires: Instant,
    /// When it was made.
    pub decided: Instant,
    /// Worst value of each check.
    pub worst: Vec<CheckResult>,
    /// Over all that moves and all that it rests on.
    pub hash: Digest,
}

impl ApprovedRecord {
    /// The hash over joint path, retract path, scene, limits, model, sequence and expiry, computed with the
    /// caller's own copies of scene digest, limits and model. Allocates nothing.
    #[must_use]
    pub fn hash_with(&self, scene: &Digest, limits: &Digest, model: &Digest) -> Digest {
        let mut d = Digester::new("bregma approved 1");
        self.path.digest_into(&mut d);
        self.retract.digest_into(&mut d);
        d.digest(scene).digest(limits).digest(model);
        d.u64(self.sequence.0).u64(self.expires.nanos()).u64(self.scene.0).text(self.arm.name());
        d.finish()
    }
}

/// Why an approval no longer holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Withdrawn {
    /// The approval.
    pub sequence: Sequence,
    /// The check that the newest scene fails.
    pub failed: CheckResult,
    /// When.
    pub decided: Instant,
}

/// What the arm says of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmState {
    /// Measured positions, rad.
    pub joints: Joints,
    /// Measured speeds, rad/s.
    pub speeds: Joints,
    /// Whether its brakes are open and it follows commands.
    pub ready: bool,
    /// When it measured.
    pub captured: Instant,
}

/// What the instrument's console says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstrumentState {
    /// What is on.
    pub energy: Energy,
    /// When it said so.
    pub captured: Instant,
}

/// A person's enabling input: pedal or switch, two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    /// Both channels; they must agree.
    pub channels: [bool; 2],
    /// When it was read.
    pub captured: Instant,
}

/// A sign of life from the process that watches the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Grows by one.
    pub count: u64,
    /// When.
    pub captured: Instant,
}

/// What a person orders at the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Allow motions from now on.
    Arm,
    /// Allow none.
    Disarm,
    /// Go on after a hold.
    Resume,
    /// Bring the tip out by the last retract path.
    Retract,
    /// Forget a fault whose cause is gone.
    ClearFault,
}

/// The gate's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GateState {
    /// No motion is allowed.
    Disarmed,
    /// Ready, standing still.
    Armed,
    /// Playing an approved path, or a retract path.
    Active,
    /// Standing still because of a reason; energy off.
    Hold,
    /// Latched until a person clears it.
    Fault,
}

/// What the arm was told, when, under which approval and whose consent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sent {
    /// The gate's state.
    pub state: GateState,
    /// Where the arm shall be.
    pub joints: Joints,
    /// What the instrument shall do.
    pub energy: Energy,
    /// Under which approval; `None` when standing still where it stood.
    pub approval: Option<Sequence>,
    /// Whether the retract path is being played.
    pub retracting: bool,
    /// The last approval that was played to its end.
    pub finished: Sequence,
    /// When the consent it rests on was read; `None` without.
    pub consent: Option<Instant>,
    /// The gate's present reason for not moving.
    pub reason: Option<crate::faults::Reason>,
    /// When.
    pub sent: Instant,
}

/// A reaction of the gate, on change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reacted {
    /// Which.
    pub reaction: crate::faults::Reaction,
    /// Why.
    pub reason: crate::faults::Reason,
    /// When.
    pub decided: Instant,
}

/// Where the arm stands and what it carries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmMount {
    /// The arm's base in the patient's frame, by calibration.
    pub patient_from_arm_base: Pose<Patient, ArmBase>,
    /// The instrument on the flange.
    pub flange_from_tip: Pose<Flange, Tip>,
    /// Radius of the instrument's shaft, mm.
    pub shaft_radius_mm: f64,
    /// Length of the shaft from the tip, mm.
    pub shaft_length_mm: f64,
}

/// A shared scan.
pub type SharedVolume = Arc<Volume>;
/// A shared scene.
pub type SharedScene = Arc<Scene>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_is_where_its_name_says() {
        use roi_channel::{CAVITY, DOUBT, FLAIR, FLUORESCENCE, REDNESS, SCANS, SEEN_AGE, T1, T1C, T2};
        let all = [T1C, FLAIR, CAVITY, FLUORESCENCE, SEEN_AGE, T1, T2, REDNESS, DOUBT];
        let names = ["t1c:", "flair:", "cavity:", "fluorescence:", "seen_age:", "t1:", "t2:", "redness:", "doubt:"];
        assert!(all.iter().zip(names).all(|(channel, name)| ROI_CHANNELS[*channel].starts_with(name)));
        assert_eq!((all.len(), SCANS), (ROI_CHANNEL_COUNT, [T1C, FLAIR, T1, T2]));
    }

    #[test]
    fn energy_survives_its_byte_and_unknown_bits_are_refused() {
        for bits in 0..8 {
            assert_eq!(Energy::from_bits(bits).map(Energy::bits), Some(bits));
        }
        assert_eq!(Energy::from_bits(8), None);
    }

    #[test]
    fn a_scene_that_differs_anywhere_has_another_digest() {
        let scene = Scene::empty();
        let before = scene.digest_of_bytes();
        let mut other = scene.clone();
        other.margin[ROI_VOXELS - 1] -= 1;
        assert_ne!(before, other.digest_of_bytes());
        let mut other = scene.clone();
        other.coarse_residual[7] = 1;
        assert_ne!(before, other.digest_of_bytes());
        let mut other = scene;
        other.errors.shift = Millimetres::constant(0.1);
        assert_ne!(before, other.digest_of_bytes());
    }

    #[test]
    fn a_path_ends_with_the_energy_off() {
        let knots = vec![Joints::zeros(6), Joints::from_slice(&[0.1; 6]).expect("six")];
        let path = JointPath { period: Duration::from_millis(4), knots, energy: vec![7, 7] };
        let (middle, energy) = path.at(Duration::from_millis(2)).expect("has knots");
        assert!((middle.as_slice()[0] - 0.05).abs() < 1e-12);
        assert_eq!(energy, Energy::CUT);
        assert_eq!(path.at(Duration::from_millis(4)).expect("has knots").1, Energy::OFF);
        assert_eq!(path.length(), Duration::from_millis(4));
    }

    #[test]
    fn a_camera_projects_what_its_ray_hits() {
        let camera = CameraCalibration {
            focal_px: [900.0, 910.0],
            centre_px: [320.0, 180.0],
            size_px: [640, 360],
            patient_from_camera: Pose::from_parts(
                FrameId::SOLE,
                FrameId::SOLE,
                [10.0, 20.0, 300.0],
                [0.9, 0.1, -0.2, 0.3],
            )
            .expect("finite"),
            error: Millimetres::constant(0.5),
        };
        let eye = camera.patient_from_camera.position().coordinates();
        let (u, v, _) = camera.project(&(eye + camera.ray(100.0, 50.0) * 250.0)).expect("in front");
        assert!((u - 100.0).abs() < 1e-9 && (v - 50.0).abs() < 1e-9);
        assert!(camera.project(&(eye - camera.ray(100.0, 50.0) * 250.0)).is_none());
    }
}
