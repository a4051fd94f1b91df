//! Align: scans, tracked tips and pictures, brought onto the fine region of interest.
//!
//! Each new picture makes one `RoiFrame` of 64³ voxels of 1.25 mm around the corridor's target. The scans
//! are resampled when they arrive; the cavity is what the corridor opened and the energised tip has swept
//! since ([`cavity`]); the pictures are back-projected onto the cavity's wall ([`evidence`]). All of it is kept where the
//! scan shows the tissue; where the tissue is now, [`shift`] follows.
//!
//! **Units and frames:** mm, patient LPS, in the anatomy's frame of reference: a scan or a registration of
//! another frame is refused by name. **Allocation:** in `new` and when a scan arrives; none per frame.
//! **Invariants:** a picture makes a frame only with a T1c, an anatomy and a registration that has not
//! expired. A tip that is not believed sweeps nothing, and while the instrument's place is unknown no
//! picture is evidence: a shaft must not pass for tissue that does not fluoresce.
//! **An intraoperative scan** that was brought back to rest ([`shift::scanned`]) says anew what tissue is there: what it shows as
//! tissue counts as carved no longer; and where that was, from where the brain is followed on.
//! **Not protected against:** cavity that was opened outside the fine region. Brain shift that is not followed
//! stands in the error budget as a bias that grows with time since the first registration of a scan: registering the skull anew
//! brings no brain back. Of shift that is followed, what it
//! may be wrong by.

pub mod assembly;
pub mod cavity;
pub mod evidence;
mod region;
pub mod shift;

use crate::gpu::DeviceError;
use crate::scan::{BadScan, Scan};
use assembly::Assembly;
use bregma_core::flow::{
    Anatomy, CameraCalibration, Energy, ErrorBudget, InstrumentState, Modality, ROI_VOXELS, RangeImage, Registration,
    RoiFrame, TipPose, TrackingStatus, VideoFrame, Volume,
};
use bregma_core::frame::{FrameId, FramesDiffer, Patient, Pose, Tip};
use bregma_core::pool::{Pool, PoolDry};
use bregma_core::time::{Duration, Instant};
use bregma_core::units::Millimetres;
use bregma_core::{All, Latest, Stage};
use cavity::{Console, Sweep, SweptPose};
use evidence::{RedScale, Shaft, Sight};
use region::Region;
use shift::Follower;
use std::sync::Arc;

/// Room for tips between two steps: 8 s at 60 Hz, for a suite that perceives once a second or slower.
pub const TIPS_MAX: usize = 512;
/// Room for scans: four contrasts, twice.
pub const VOLUMES_MAX: usize = 8;
/// Room for the console's states.
pub const INSTRUMENT_MAX: usize = 64;
/// Frames in the pool: two lanes' worth and what perceive holds.
const FRAMES: usize = 6;
/// Full scale of the `seen_age` channel, by the channel's contract.
pub const SEEN_AGE_SCALE_S: f32 = 60.0;

/// What align needs to know of its theatre.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The microscope.
    pub camera: CameraCalibration,
    /// Tissue within this of the energised tip is believed gone, mm: what the instrument removes, less the tip's
    /// error. Too much carved is residual core never looked for again; too little is cut twice.
    pub carving_radius_mm: f64,
    /// The instrument's shaft, mm.
    pub shaft_radius_mm: f64,
    /// How far the shaft reaches back from the tip, mm.
    pub shaft_length_mm: f64,
    /// Added around the shaft where it covers the picture: tracking and video lag, mm.
    pub shaft_margin_mm: f64,
    /// How far the corridor is open above its entry, mm.
    pub open_above_mm: f64,
    /// Two poses farther apart in time are not joined to a swept segment.
    pub sweep_gap_max: Duration,
    /// How long the console's last word on its energy holds.
    pub instrument_valid: Duration,
    /// Tip error that is budgeted while no tip is believed, mm.
    pub tip_error_unseen_mm: f64,
    /// Bias that brain shift adds to the error while nothing measures it, mm per hour.
    pub shift_mm_per_hour: f64,
    /// A wall voxel is hidden by one that is nearer by more than this on its ray, mm.
    pub depth_tolerance_mm: f64,
    /// How the red of violet light becomes evidence.
    pub red: RedScale,
    /// The same of white light.
    pub white: RedScale,
    /// How brain shift is followed; none where it is not.
    pub shift: Option<shift::Settings>,
}

impl Settings {
    /// The usual instrument under this camera: an ultrasonic aspirator whose effect ends 2 mm from its
    /// tip, and 1 mm of shift an hour.
    #[must_use]
    pub fn with_camera(camera: CameraCalibration) -> Self {
        Self {
            camera,
            carving_radius_mm: 2.0,
            shaft_radius_mm: 2.0,
            shaft_length_mm: 150.0,
            shaft_margin_mm: 1.0,
            open_above_mm: 40.0,
            sweep_gap_max: Duration::from_millis(250),
            instrument_valid: Duration::from_secs(1),
            tip_error_unseen_mm: 2.0,
            shift_mm_per_hour: 1.0,
            depth_tolerance_mm: 2.0,
            red: RedScale::VIOLET,
            white: RedScale::WHITE,
            shift: None,
        }
    }
}

/// Why align refuses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Something speaks of another scan's coordinates.
    #[error("{what} is in frame {frame:016x}, the anatomy in {anatomy:016x}; a registration between the two is needed")]
    FrameDiffers {
        /// What.
        what: &'static str,
        /// Its frame.
        frame: u64,
        /// The anatomy's.
        anatomy: u64,
    },
    /// A scan is malformed.
    #[error(transparent)]
    BadScan(#[from] BadScan),
    /// An intraoperative scan came, and nobody follows the brain from it.
    #[error("an intraoperative {0:?} scan came, but the brain's shift is not followed; it is needed to take one up")]
    NotFollowed(Modality),
    /// The tip is measured from another reference array than the one registered.
    #[error("tracked tip: {0}")]
    Reference(#[from] FramesDiffer),
    /// The registration ended.
    #[error("the registration expired at {expired}, it is {now}; a new one is needed")]
    RegistrationExpired {
        /// When it ended.
        expired: Instant,
        /// The time.
        now: Instant,
    },
    /// The registration was made after now.
    #[error("the registration was made at {registered}, later than now, {now}; its clock is not the session's")]
    RegistrationFromTheFuture {
        /// When it says it was made.
        registered: Instant,
        /// The time.
        now: Instant,
    },
    /// The picture is not the calibrated camera's.
    #[error(
        "a picture of {width} x {height} pixels and {bytes} bytes; the camera is calibrated for {expected:?}, 3 bytes a pixel"
    )]
    PictureSize {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Its bytes.
        bytes: usize,
        /// The calibration's pixels.
        expected: [usize; 2],
    },
    /// A picture is older than the one before it.
    #[error("a picture captured at {captured} came after one captured at {before}")]
    PictureOutOfOrder {
        /// When it was captured.
        captured: Instant,
        /// When the one before was.
        before: Instant,
    },
    /// The corridor's target is no place.
    #[error("the corridor's target is {0:?}; finite coordinates are needed")]
    Target([f64; 3]),
    /// What assembles the region failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Nobody lets go of frames.
    #[error(transparent)]
    PoolDry(#[from] PoolDry),
}

/// What align reads.
#[derive(Debug)]
pub struct In {
    /// The newest picture; its arrival triggers.
    pub frame: Latest<Arc<VideoFrame>>,
    /// How far away what pictures show is, where the camera measures it.
    pub ranges: Latest<Arc<RangeImage>>,
    /// Every tracked tip, in order.
    pub tips: All<TipPose>,
    /// Every scan.
    pub volumes: All<Arc<Volume>>,
    /// How the patient lies.
    pub registration: Latest<Registration>,
    /// What was planned.
    pub anatomy: Latest<Arc<Anatomy>>,
    /// Every state of the instrument's console.
    pub instrument: All<InstrumentState>,
}

impl Default for In {
    fn default() -> Self {
        Self {
            frame: Latest::default(),
            ranges: Latest::default(),
            tips: All::with_capacity(TIPS_MAX),
            volumes: All::with_capacity(VOLUMES_MAX),
            registration: Latest::default(),
            anatomy: Latest::default(),
            instrument: All::with_capacity(INSTRUMENT_MAX),
        }
    }
}

/// Which scans came, until each was seen to.
#[derive(Debug, Clone, Copy, Default)]
struct Arrived {
    any: bool,
    /// A T1c in whose coordinates tissue rests from now on.
    rest: bool,
    /// A T1c that was brought back to those.
    intraoperative: bool,
}

/// The stage.
#[derive(Debug)]
pub struct Align {
    settings: Settings,
    arrived: Arrived,
    /// The T1c in whose coordinates tissue rests.
    rest: Option<Scan>,
    /// The newest FLAIR in those.
    rest_flair: Option<Scan>,
    /// The newest T1c.
    t1c: Option<Scan>,
    flair: Option<Scan>,
    t1: Option<Scan>,
    t2: Option<Scan>,
    region: Region,
    follower: Option<Follower>,
    console: Console,
    sweep: Sweep,
    assembly: Box<dyn Assembly>,
    last_picture: Option<Instant>,
    /// When the patient was first registered to this T1c.
    shifts_since: Option<Instant>,
    frames: Pool<RoiFrame>,
}

impl Align {
    /// Allocates all it needs but the scans.
    ///
    /// # Panics
    /// With a setting that is not finite or is negative: the configuration checks them first.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let sight = Sight::new(settings.camera.size_px);
        Self::with_assembly(settings, Box::new(sight))
    }

    /// With another assembly than the processor's. Where it fails, a step fails, and the processor's goes on.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn with_assembly(settings: Settings, assembly: Box<dyn Assembly>) -> Self {
        let s = &settings;
        let lengths = [
            s.carving_radius_mm,
            s.shaft_radius_mm,
            s.shaft_length_mm,
            s.shaft_margin_mm,
            s.open_above_mm,
            s.tip_error_unseen_mm,
            s.shift_mm_per_hour,
            s.depth_tolerance_mm,
        ];
        assert!(lengths.iter().all(|v| v.is_finite() && *v >= 0.0), "align's lengths are finite and not negative");
        Self {
            assembly,
            follower: settings.shift.map(|shift| Follower::new(shift, settings.camera.size_px)),
            settings,
            arrived: Arrived::default(),
            rest: None,
            rest_flair: None,
            t1c: None,
            flair: None,
            t1: None,
            t2: None,
            region: Region::new(),
            console: Console::default(),
            sweep: Sweep::default(),
            last_picture: None,
            shifts_since: None,
            frames: Pool::new("roi frames", FRAMES, RoiFrame::empty),
        }
    }

    /// What the last look at the brain's shift that counts found.
    #[must_use]
    pub fn followed(&self) -> Option<shift::Found> {
        self.follower.as_ref().and_then(Follower::found)
    }

    /// Takes the scans that came. Of several the sound ones are taken, whatever the others are.
    fn take_scans(&mut self, volumes: &All<Arc<Volume>>, frame: Option<FrameId>) -> Result<(), Fault> {
        let followed = self.follower.is_some();
        let arrived = &mut self.arrived;
        let mut refused = Ok(());
        for volume in volumes.iter() {
            let (kept, what) = match volume.modality {
                Modality::T1c => (&mut self.t1c, "the T1c scan"),
                Modality::Flair => (&mut self.flair, "the FLAIR scan"),
                Modality::T1 => (&mut self.t1, "the T1 scan"),
                Modality::T2 => (&mut self.t2, "the T2 scan"),
                Modality::Mra => continue,
            };
            let mut checked = frame.map_or(Ok(()), |f| same_frame(what, volume.frame, f));
            if volume.shift.is_some() && !followed {
                checked = Err(Fault::NotFollowed(volume.modality));
            }
            match checked.and_then(|()| Scan::new(Arc::clone(volume)).map_err(Fault::from)) {
                Ok(scan) => {
                    arrived.any = true;
                    if volume.modality == Modality::T1c {
                        arrived.intraoperative = volume.shift.is_some();
                        if !arrived.intraoperative || self.rest.is_none() {
                            self.rest = Some(scan.clone());
                            self.shifts_since = None;
                            arrived.rest = true;
                        }
                    }
                    if volume.modality == Modality::Flair && volume.shift.is_none() {
                        self.rest_flair = Some(scan.clone());
                    }
                    *kept = Some(scan);
                }
                Err(why) => refused = Err(why),
            }
        }
        refused
    }

    /// Drops scans that are not in the anatomy's frame: they came before it, or it has changed since.
    fn keep_only(&mut self, frame: FrameId) -> Result<(), Fault> {
        let scans = [
            (&mut self.rest, "the T1c scan"),
            (&mut self.rest_flair, "the FLAIR scan"),
            (&mut self.t1c, "the T1c scan"),
            (&mut self.flair, "the FLAIR scan"),
            (&mut self.t1, "the T1 scan"),
            (&mut self.t2, "the T2 scan"),
        ];
        for (kept, what) in scans {
            if let Some(scan) = kept {
                let found = scan.frame();
                if found != frame {
                    *kept = None;
                    self.region.forget();
                    same_frame(what, found, frame)?;
                }
            }
        }
        Ok(())
    }

    /// Sweeps the cavity with every tip that came.
    fn sweep_tips(&mut self, tips: &All<TipPose>, registration: &Registration) -> Result<(), Fault> {
        for tip in tips.iter() {
            // Judged when it was received: where the tip was stays true, however late it is read here.
            if tip.status != TrackingStatus::Valid || !tip.reference_from_tip.fresh(tip.received) {
                self.sweep.lost();
                continue;
            }
            let measured = &tip.reference_from_tip;
            let pose = SweptPose {
                patient_from_tip: registration.patient_from_reference.then(&measured.value)?,
                captured: measured.captured,
                cutting: self.console.energy_at(measured.captured, self.settings.instrument_valid).ultrasound,
                tip: *tip,
            };
            if let Some((from, to)) = self.sweep.next(pose, self.settings.sweep_gap_max) {
                self.region.carve(&from, &to, self.settings.carving_radius_mm);
            }
        }
        Ok(())
    }

    fn errors(&self, now: Instant, registration: &Registration, since: Duration) -> ErrorBudget {
        let tip = self.sweep.newest().and_then(|p| p.tip.reference_from_tip.error_at(now));
        ErrorBudget {
            registration: registration.predicted_tre,
            calibration: self.settings.camera.error,
            tracking: tip.unwrap_or(Millimetres::constant(self.settings.tip_error_unseen_mm)),
            shift: self.shift_error(since),
        }
    }

    /// What brain shift may add at the target.
    fn shift_error(&self, since: Duration) -> Millimetres {
        match &self.follower {
            Some(follower) => {
                let shift = follower.shift();
                Millimetres::new(shift.deviation_mm(&shift.centre())).unwrap_or(Millimetres::ZERO)
            }
            None => Millimetres::constant(self.settings.shift_mm_per_hour * since.secs_f64() / 3600.0),
        }
    }

    /// The shaft as it lay when the picture was taken. `Err` when an instrument is there but its place is
    /// not believed.
    fn shaft(&self, tip: Option<&Pose<Patient, Tip>>) -> Result<Option<Shaft>, ()> {
        match tip {
            Some(tip) => {
                let end = tip.position().coordinates();
                let start = end - tip.z_axis() * self.settings.shaft_length_mm;
                let radius_mm = self.settings.shaft_radius_mm + self.settings.shaft_margin_mm;
                Ok(Some(Shaft { start, end, radius_mm }))
            }
            None if self.sweep.ever() => Err(()),
            None => Ok(None),
        }
    }

    fn check_picture(&mut self, picture: &VideoFrame) -> Result<(), Fault> {
        let expected = self.settings.camera.size_px;
        let (width, height, bytes) = (picture.width, picture.height, picture.rgb.len());
        if [width, height] != expected || bytes != width * height * 3 {
            return Err(Fault::PictureSize { width, height, bytes, expected });
        }
        if let Some(before) = self.last_picture.filter(|before| picture.captured < *before) {
            return Err(Fault::PictureOutOfOrder { captured: picture.captured, before });
        }
        self.last_picture = Some(picture.captured);
        Ok(())
    }
}

fn same_frame(what: &'static str, frame: FrameId, anatomy: FrameId) -> Result<(), Fault> {
    if frame == anatomy { Ok(()) } else { Err(Fault::FrameDiffers { what, frame: frame.0, anatomy: anatomy.0 }) }
}

impl Stage for Align {
    type In = In;
    type Out = Option<Arc<RoiFrame>>;
    type Fault = Fault;
    const NAME: &'static str = "align";
    const BUDGET: Duration = Duration::from_millis(30);

    fn step(&mut self, now: Instant, input: &In, out: &mut Self::Out) -> Result<(), Fault> {
        *out = None;
        if self.assembly.lost() {
            self.assembly = Box::new(Sight::new(self.settings.camera.size_px));
        }
        let done = self.align(now, input, out);
        if let Err(Fault::Device(_)) = &done {
            self.assembly = Box::new(Sight::new(self.settings.camera.size_px));
        }
        done
    }
}

impl Align {
    fn align(&mut self, now: Instant, input: &In, out: &mut Option<Arc<RoiFrame>>) -> Result<(), Fault> {
        input.instrument.iter().for_each(|state| self.console.say(*state));
        let anatomy = input.anatomy.get();
        let scans = self.take_scans(&input.volumes, anatomy.map(|a| a.frame));
        let Some(anatomy) = anatomy else { return scans };
        let kept = self.keep_only(anatomy.frame);
        let (Some(t1c), Some(at_rest)) = (&self.t1c, &self.rest) else { return scans.and(kept) };
        let scanned = t1c.volume().acquired;
        let open_above_mm = self.settings.open_above_mm;
        let others = [self.flair.as_ref(), self.t1.as_ref(), self.t2.as_ref()];
        self.region.follow(anatomy, t1c, others, self.arrived.any, open_above_mm, &mut *self.assembly)?;
        self.arrived.any = false;
        if std::mem::take(&mut self.arrived.intraoperative) {
            self.region.close_over(t1c, &anatomy.corridor, open_above_mm);
        }

        let Some(registration) = input.registration.get() else { return scans.and(kept) };
        same_frame("the registration", registration.patient_from_reference.to, anatomy.frame)?;
        if now > registration.expires {
            return Err(Fault::RegistrationExpired { expired: registration.expires, now });
        }
        let registered = registration.registered;
        now.since(registered).ok_or(Fault::RegistrationFromTheFuture { registered, now })?;
        let since = now.since(*self.shifts_since.get_or_insert(registered)).unwrap_or(Duration::ZERO);
        if let Some(follower) = &mut self.follower {
            let rest = shift::Rest {
                anatomy,
                t1c: at_rest,
                flair: self.rest_flair.as_ref(),
                camera: &self.settings.camera,
                up: registration.up.map(|up| up.into()),
                scan: t1c.volume().shift.as_ref(),
            };
            follower.begin(&rest, std::mem::take(&mut self.arrived.rest));
            self.region.shifts(follower.shift());
        }
        self.sweep_tips(&input.tips, registration)?;
        scans.and(kept)?;

        let Some(picture) = input.frame.get().filter(|_| input.frame.renewed()) else { return Ok(()) };
        self.check_picture(picture)?;
        let tip = self.sweep.at(picture.captured);
        self.region.see_at(picture.captured);
        if let Ok(shaft) = self.shaft(tip.as_ref()) {
            if let Some(follower) = &mut self.follower {
                let region = &self.region;
                let view = shift::View {
                    picture,
                    ranges: input.ranges.get().map(|r| &**r),
                    camera: &self.settings.camera,
                    shaft: shaft.as_ref(),
                    open: &|rest| region.is_open(rest) || anatomy.corridor.holds(rest, open_above_mm),
                };
                if follower.look(&view) {
                    self.region.shifts(follower.shift());
                }
            }
            self.region.look(&self.settings, &mut *self.assembly, picture, shaft.as_ref())?;
        }
        let errors = self.errors(now, registration, since);
        let energy = self.console.energy_at(picture.captured, self.settings.instrument_valid);
        // Where the shift is followed every voxel has a deviation of its own.
        let everywhere_mm = if self.follower.is_some() { 0.0 } else { errors.shift.get() };
        let rigid_mm = errors.registration.quadrature(errors.calibration).get();
        let region = &mut self.region;
        *out = Some(self.frames.write(|slot| {
            slot.trace = picture.trace;
            slot.captured = picture.captured;
            slot.decided = now;
            slot.frame = anatomy.frame;
            slot.scanned = scanned;
            slot.patient_from_tip = tip;
            slot.energy = energy;
            slot.errors = errors;
            region.write(slot, rigid_mm as f32, everywhere_mm as f32);
        })?);
        Ok(())
    }
}

const _: () = assert!(ROI_VOXELS < u32::MAX as usize, "voxel indices fit in 32 bits");
const _: () = assert!(Energy::OFF.bits() == 0, "an unknown console is one that is off");
