//! One removal in a simulated theatre, seen by the runtime's own align stage, cut into sequences.
//!
//! Devices are polled as the runtime polls them; the hand that removes needs no arm. Each sequence begins at a
//! stage of its own, so that they reach from the beginning of the removal to its end, whatever the core's size.
//! **Allocation:** about 0.3 GB: patient, scans, theatre.

use super::dropout::Missing;
use super::patients::Patients;
use super::{Sequence, Settings, draw};
use crate::config::Config;
use crate::session::{self, Theatre};
use anyhow::Context;
use bregma_core::devices::{Camera, Instrument, Tracker};
use bregma_core::flow::{
    Anatomy, Energy, InstrumentState, Light, Modality, ROI_CHANNEL_COUNT, ROI_VOXELS, RangeImage, RoiFrame, TipPose,
    TraceId, VideoFrame, Volume, roi_channel, roi_grid,
};
use bregma_core::pool::Pool;
use bregma_core::stage::Stage;
use bregma_core::time::{Duration, Instant};
use bregma_core::topic::Numbered;
use bregma_patient::{
    InstrumentHandle, Lesson, MicroscopeHandle, MicroscopeSettings, Patient, SharedWorld, ShiftSettings, TrackerHandle,
    TrackerSettings, World, WorldSettings,
};
use bregma_perception::align::{self, Align};
use bregma_perception::bits::VoxelBits;
use bregma_perception::perceive::inputs::shown;
use bregma_perception::perceive::prior::{Prior, PriorSettings};
use bregma_perception::scan::Scan;
use nalgebra::{Point3, Vector3};
use std::sync::Arc;

/// How often devices are polled, as the runtime does.
const POLL: Duration = Duration::from_millis(4);
/// The console's state is told again after that: it is believed for a second.
const RETOLD: Duration = Duration::from_millis(400);
/// Camera frames that are held at once.
const FRAMES: usize = 2;
/// How much faster than a real aspirator the hand removes. At 240 mm³/s its tip moves by less than its own
/// reach from one tracked pose to the next, so that align can follow what it does.
const HASTE: f64 = 12.0;
/// How often it is looked whether a stage is reached.
const LOOKED: Duration = Duration::from_millis(400);
/// Between looks by which align follows the brain, and how many come before a sequence.
const FOLLOWED: Duration = Duration::from_millis(240);
const SETTLED: usize = 3;
/// And how many before the first cut, when nothing is known of it yet.
const SETTLED_AT_FIRST: usize = 10;
/// What lies within so much of the core's surface says how far off align is there, mm,
const SURFACE_MM: f32 = 3.0;
/// and a hand that goes by that is off by up to so much more along each axis, mm.
const UNSURE_MM: f64 = 0.5;
/// A stage that is not reached by then is left as it is.
const STAGE_MAX: Duration = Duration::from_secs(40);

/// Scans alone are cut out around the target, within so much along each axis.
const NEAR_MM: f64 = 25.0;
/// Or within so much, which is most of the head.
const ANYWHERE_MM: f64 = 70.0;
/// What is missing is drawn apart from what is in removals.
const SCANS_FROM: u64 = 1 << 32;

/// What is seen of a removal at one moment.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// As align gives it, with what is left out taken out.
    pub frame: &'a RoiFrame,
    /// What her T1c shows to be brain, on the frame's grid.
    pub brain: &'a VoxelBits,
    /// The truth.
    pub world: &'a SharedWorld,
}

/// A removal under way.
pub struct Visit {
    number: u64,
    settings: Settings,
    patient: Arc<Patient>,
    world: SharedWorld,
    camera: MicroscopeHandle,
    tracker: TrackerHandle,
    instrument: InstrumentHandle,
    align: Align,
    input: align::In,
    volumes: Vec<Arc<Volume>>,
    anatomy: Arc<Anatomy>,
    pictures: Pool<VideoFrame>,
    tips: Vec<Numbered<TipPose>>,
    said: Vec<Numbered<InstrumentState>>,
    /// What the console said last, and when.
    told: Option<(Energy, Instant)>,
    now: Instant,
    frames: u64,
    /// Sequences made.
    made: u64,
    /// Of the corridor.
    target: Point3<f64>,
    /// Her scans, until all frames of them alone are made; and how many are.
    scans: Vec<Scan>,
    alone: u64,
    /// The brain lies still, and align does not follow it.
    still: bool,
    t1c: Scan,
    /// What it shows to be brain; the region does not move.
    brain: Option<VoxelBits>,
}

impl Visit {
    /// Sets the theatre of a visit up.
    ///
    /// # Errors
    /// When the patient cannot be had or a setting is refused.
    pub fn new(config: &Config, patients: &Patients, settings: &Settings, number: u64) -> anyhow::Result<Self> {
        Self::of(config, patients, settings, number, draw(settings.seed, "patient", number, 0))
    }

    /// The same, of the patient at a share of the list.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(
        config: &Config,
        patients: &Patients,
        settings: &Settings,
        number: u64,
        share: f64,
    ) -> anyhow::Result<Self> {
        let one = |what| draw(settings.seed, what, number, 0);
        let (patient, _) = patients.at(share)?;
        let patient = Arc::new(patient);
        let still = one("still") < settings.still_share;
        let world = World::new(Arc::clone(&patient), world_settings(settings, number, still))?;
        let theatre = Theatre {
            camera: world.camera_calibration(),
            mount: world.arm_mount(),
            registration: Some(world.registration()),
            anatomy: Arc::new(patient.anatomy()),
        };
        let mut input = align::In::default();
        let scans = [Modality::T1c, Modality::Flair, Modality::T1, Modality::T2]
            .map(|modality| Arc::new(patient.scan(modality)));
        let read = scans.iter().map(|scan| Scan::new(Arc::clone(scan))).collect::<Result<Vec<_>, _>>()?;
        let volumes = scans.to_vec();
        input.volumes.set(scans.into_iter().zip(1..).map(|(value, number)| Numbered { number, value }));
        input.anatomy.set(1, Arc::clone(&theatre.anatomy));
        input.registration.set(1, world.registration());
        let [width, height] = settings.picture_px;
        Ok(Self {
            number,
            camera: world.camera(),
            tracker: world.tracker(),
            instrument: world.instrument(),
            align: Align::new(align::Settings {
                shift: (!still).then(Default::default),
                ..session::align_settings(config, &theatre)
            }),
            input,
            volumes,
            anatomy: Arc::clone(&theatre.anatomy),
            pictures: Pool::new("learning pictures", FRAMES, || VideoFrame::black(width, height)),
            tips: Vec::with_capacity(align::TIPS_MAX),
            said: Vec::with_capacity(align::INSTRUMENT_MAX),
            told: None,
            now: Instant::START,
            frames: 0,
            made: 0,
            alone: 0,
            still,
            t1c: read[0].clone(),
            brain: None,
            scans: if settings.scans > 0 { read } else { Vec::new() },
            target: theatre.anatomy.corridor.target,
            settings: settings.clone(),
            patient,
            world,
        })
    }

    /// Whether all its sequences are made.
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.made >= self.settings.sequences as u64
    }

    /// The next sequence; `number` is the one it gets.
    ///
    /// # Errors
    /// When a device or align refuses, which is a programmer's error.
    pub fn next(&mut self, number: u64) -> anyhow::Result<Sequence> {
        if self.alone < self.settings.scans as u64 {
            return Ok(self.scans_alone(number));
        }
        let mut sequence = Sequence::empty(number, self.patient.seed(), self.settings.frames, Missing::default());
        let mut prior = Prior::new();
        let (missing, removed_share) = self.watched(&mut |Seen { frame, brain, world }| {
            if sequence.channels.is_empty() {
                let [t1c, flair] = [roi_channel::T1C, roi_channel::FLAIR].map(|c| frame.channel(c));
                shown(&mut prior, &PriorSettings::default(), t1c, flair, brain, &frame.grid, &mut sequence.prior);
            }
            let lesson = world.lesson(&frame.grid, &frame.shift);
            sequence.channels.extend_from_slice(&frame.channels);
            sequence.captured_s.push(frame.captured.secs_f64());
            sequence.residual.extend(lesson.residual);
            sequence.cavity.extend(lesson.cavity);
            sequence.tumour_margin.extend(lesson.tumour_margin);
            sequence.displacement.extend(lesson.displacement);
            Ok(())
        })?;
        (sequence.missing, sequence.removed_share) = (missing, removed_share);
        Ok(sequence)
    }

    /// Plays the next sequence's frames, each shown with what its drawing leaves out taken out of it; what that is, and the share of the core
    /// that had been removed before.
    ///
    /// # Errors
    /// When a device or align refuses, which is a programmer's error, or `each` does.
    pub fn watched(&mut self, each: &mut dyn FnMut(Seen<'_>) -> anyhow::Result<()>) -> anyhow::Result<(Missing, f64)> {
        self.scans = Vec::new();
        if self.made == 0 {
            self.take_up()?;
        }
        let (seed, visit, nth) = (self.settings.seed, self.number, self.made);
        self.made += 1;
        let missing = self.settings.dropout.drawn(seed, visit, nth);
        let gap = between(log_uniform(self.settings.gap_s, draw(seed, "gap", visit, nth)));
        let stage = (nth as f64 + draw(seed, "stage", visit, nth)) / self.settings.sequences as f64;
        let removed_share = self.frames(stage, gap, missing, each)?;
        Ok((missing, removed_share))
    }

    /// Plays a sequence's frames from where that share of the core is removed on; the share that was.
    ///
    /// # Errors
    /// As [`Self::watched`].
    pub fn from(&mut self, share: f64, each: &mut dyn FnMut(Seen<'_>) -> anyhow::Result<()>) -> anyhow::Result<f64> {
        self.frames(share, between(self.settings.gap_s[0]), Missing::default(), each)
    }

    fn frames(
        &mut self,
        share: f64,
        gap: Duration,
        missing: Missing,
        each: &mut dyn FnMut(Seen<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<f64> {
        let removed_share = self.reach(share)?;
        for _ in 0..SETTLED {
            if !self.still {
                self.advance(FOLLOWED)?;
                self.look()?;
            }
        }
        for _ in 0..self.settings.frames {
            self.advance(gap)?;
            let frame = self.look()?;
            if self.brain.is_none() {
                let mut brain = VoxelBits::new();
                self.t1c.resample(&frame.grid, &mut vec![0.0; ROI_VOXELS], &mut brain);
                self.brain = Some(brain);
            }
            let brain = self.brain.as_ref().context("it was made just now")?;
            if missing == Missing::default() {
                each(Seen { frame: &frame, brain, world: &self.world })?;
            } else {
                let mut frame = RoiFrame::clone(&frame);
                missing.take_from(&mut frame.channels);
                each(Seen { frame: &frame, brain, world: &self.world })?;
            }
        }
        Ok(removed_share)
    }

    /// The scans that align was given, and what was planned.
    #[must_use]
    pub fn known(&self) -> (&[Arc<Volume>], &Arc<Anatomy>) {
        (&self.volumes, &self.anatomy)
    }

    /// Her scans anywhere in the head, every second time near the tumour: as align gives them before anything is opened.
    fn scans_alone(&mut self, number: u64) -> Sequence {
        let (seed, visit, nth) = (self.settings.seed, self.number, self.alone);
        self.alone += 1;
        let missing = Missing { video: false, ..self.settings.dropout.drawn(seed, visit, SCANS_FROM + nth) };
        let one = |what| draw(seed, what, visit, nth);
        let about = if nth.is_multiple_of(2) { NEAR_MM } else { ANYWHERE_MM };
        let off = ["x", "y", "z"].map(|axis| about * (2.0 * one(axis) - 1.0));
        let grid = roi_grid(self.target + Vector3::from(off));
        let mut channels = vec![0.0; ROI_CHANNEL_COUNT * ROI_VOXELS];
        let mut brain = VoxelBits::new();
        for (scan, channel) in self.scans.iter().zip(roi_channel::SCANS) {
            scan.resample(&grid, &mut channels[channel * ROI_VOXELS..][..ROI_VOXELS], &mut brain);
        }
        // Never seen.
        channels[roi_channel::SEEN_AGE * ROI_VOXELS..][..ROI_VOXELS].fill(1.0);
        missing.take_from(&mut channels);
        let lesson = self.patient.lesson(&grid);
        Sequence {
            number,
            patient: self.patient.seed(),
            frames: 1,
            missing,
            removed_share: 0.0,
            captured_s: vec![0.0],
            channels,
            prior: vec![0.0; ROI_VOXELS],
            residual: lesson.residual,
            cavity: lesson.cavity,
            tumour_margin: lesson.tumour_margin,
            displacement: lesson.displacement,
        }
    }

    /// Puts the instrument into a hand.
    fn take_up(&mut self) -> anyhow::Result<()> {
        let one = |what, nth| draw(self.settings.seed, what, self.number, nth);
        let seed = (one("hand", 0) * f64::from(u32::MAX)) as u64;
        let unsure: [f64; 3] = std::array::from_fn(|a| (2.0 * one("unsure", a as u64) - 1.0) * UNSURE_MM);
        let mut astray_mm = Vector3::zeros();
        if one("astray", 0) < self.settings.astray_share {
            let settled = if self.still { 0 } else { SETTLED_AT_FIRST };
            for _ in 0..settled {
                self.advance(FOLLOWED)?;
                self.look()?;
            }
            self.advance(FOLLOWED)?;
            let frame = self.look()?;
            astray_mm = off_mm(&frame, &self.world.lesson(&frame.grid, &frame.shift)) + Vector3::from(unsure);
        }
        self.world.rehearse_astray(seed, &astray_mm);
        Ok(())
    }

    /// Plays on until that share of the core is removed, or no more will be; the share that is.
    fn reach(&mut self, share: f64) -> anyhow::Result<f64> {
        let until = self.now + STAGE_MAX;
        loop {
            let removed = self.world.removed_core_ml() / self.patient.core_ml();
            if removed >= share || self.now >= until || self.world.rehearsed() {
                return Ok(removed);
            }
            self.advance(LOOKED)?;
            if !self.still {
                // The brain is followed while it is cut, as it is live: what is swept lies where its tissue was.
                self.look()?;
            }
        }
    }

    /// Plays on, polling tracker and console.
    fn advance(&mut self, by: Duration) -> anyhow::Result<()> {
        let end = self.now + by;
        while self.now + POLL <= end {
            self.now = self.now + POLL;
            self.world.advance(self.now);
            while let Some(tip) = self.tracker.poll(self.now)? {
                self.tips.push(Numbered { number: self.now.nanos(), value: tip });
            }
            let state = self.instrument.state(self.now)?;
            let known = |(energy, at): (Energy, Instant)| {
                energy == state.energy && self.now.since(at).is_some_and(|age| age < RETOLD)
            };
            if !self.told.is_some_and(known) {
                self.told = Some((state.energy, self.now));
                self.said.push(Numbered { number: self.now.nanos(), value: state });
            }
            if self.tips.len() == align::TIPS_MAX || self.said.len() == align::INSTRUMENT_MAX {
                self.input.frame.keep();
                self.step()?;
            }
        }
        Ok(())
    }

    /// Takes a picture and has align make a frame of it.
    fn look(&mut self) -> anyhow::Result<Arc<RoiFrame>> {
        self.frames += 1;
        let (trace, now, camera) = (TraceId(self.frames), self.now, &mut self.camera);
        let picture = self.pictures.try_write(|frame| {
            (frame.trace, frame.received) = (trace, now);
            camera.grab(now, frame)
        })??;
        self.input.frame.set(self.frames, picture);
        let mut ranges = RangeImage::blank();
        if self.camera.ranges(&mut ranges)? {
            ranges.received = now;
            self.input.ranges.set(self.frames, Arc::new(ranges));
        }
        self.step()?.context("align makes a frame of every picture")
    }

    fn step(&mut self) -> anyhow::Result<Option<Arc<RoiFrame>>> {
        self.input.tips.set(self.tips.drain(..));
        self.input.instrument.set(self.said.drain(..));
        let mut out = None;
        let stepped = self.align.step(self.now, &self.input, &mut out);
        self.input.volumes.set([]);
        stepped?;
        Ok(out)
    }
}

/// How far what align shows at the core's surface lies from there in truth, tissue at rest, mm.
fn off_mm(frame: &RoiFrame, lesson: &Lesson) -> Vector3<f64> {
    let (mut sum, mut n) = (Vector3::zeros(), 0.0);
    for (index, _) in lesson.tumour_margin.iter().enumerate().filter(|(_, margin)| margin.abs() < SURFACE_MM) {
        let rest = frame.grid.centre(frame.grid.voxel(index));
        let moved: [f64; 3] = std::array::from_fn(|a| f64::from(lesson.displacement[a * ROI_VOXELS + index]));
        sum += frame.shift.now(&rest) - rest - Vector3::from(moved);
        n += 1.0;
    }
    if n > 0.0 { sum / n } else { sum }
}

/// The home world of a visit: devices that err as in life, but for what ends a case.
fn world_settings(settings: &Settings, visit: u64, still: bool) -> WorldSettings {
    let one = |what| draw(settings.seed, what, visit, 0);
    let [low, high] = settings.opened_minutes;
    let minutes = low + (high - low) * one("opened");
    WorldSettings {
        light: if one("light") < settings.violet_share { Light::Violet } else { Light::White },
        picture_px: settings.picture_px,
        microscope: MicroscopeSettings::home(),
        removal_rate_scale: HASTE,
        shift: ShiftSettings { updates_hz: if still { 0.0 } else { settings.shift_hz }, start_minutes: [minutes; 2] },
        tracker: TrackerSettings::home(),
        ..WorldSettings::default()
    }
}

fn log_uniform([low, high]: [f64; 2], share: f64) -> f64 {
    low * (high / low).powf(share)
}

/// Whole polls, so that no rounding of a time changes what is seen.
fn between(seconds: f64) -> Duration {
    Duration::from_millis(4 * (seconds * 250.0).round() as u64)
}
