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
    Energy, InstrumentState, Light, Modality, ROI_CHANNEL_COUNT, ROI_VOXELS, RangeImage, RoiFrame, TipPose, TraceId,
    VideoFrame, roi_channel, roi_grid,
};
use bregma_core::pool::Pool;
use bregma_core::stage::Stage;
use bregma_core::time::{Duration, Instant};
use bregma_core::topic::Numbered;
use bregma_patient::{
    InstrumentHandle, MicroscopeHandle, MicroscopeSettings, Patient, SharedWorld, ShiftSettings, TrackerHandle, World,
    WorldSettings,
};
use bregma_perception::align::{self, Align};
use bregma_perception::bits::VoxelBits;
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
/// A stage that is not reached by then is left as it is.
const STAGE_MAX: Duration = Duration::from_secs(40);

/// Scans alone are cut out around the target, within so much along each axis.
const NEAR_MM: f64 = 25.0;
/// Or within so much, which is most of the head.
const ANYWHERE_MM: f64 = 70.0;
/// What is missing is drawn apart from what is in removals.
const SCANS_FROM: u64 = 1 << 32;

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
}

impl Visit {
    /// Sets the theatre of a visit up.
    ///
    /// # Errors
    /// When the patient cannot be had or a setting is refused.
    pub fn new(config: &Config, patients: &Patients, settings: &Settings, number: u64) -> anyhow::Result<Self> {
        let one = |what| draw(settings.seed, what, number, 0);
        let (patient, _) = patients.at(one("patient"))?;
        let patient = Arc::new(patient);
        let world = World::new(Arc::clone(&patient), world_settings(settings, number))?;
        world.rehearse((one("hand") * f64::from(u32::MAX)) as u64);
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
        input.volumes.set(scans.into_iter().zip(1..).map(|(value, number)| Numbered { number, value }));
        input.anatomy.set(1, Arc::clone(&theatre.anatomy));
        input.registration.set(1, world.registration());
        let [width, height] = settings.picture_px;
        Ok(Self {
            number,
            camera: world.camera(),
            tracker: world.tracker(),
            instrument: world.instrument(),
            align: Align::new(session::align_settings(config, &theatre)),
            input,
            pictures: Pool::new("learning pictures", FRAMES, || VideoFrame::black(width, height)),
            tips: Vec::with_capacity(align::TIPS_MAX),
            said: Vec::with_capacity(align::INSTRUMENT_MAX),
            told: None,
            now: Instant::START,
            frames: 0,
            made: 0,
            scans: if settings.scans > 0 { read } else { Vec::new() },
            alone: 0,
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
        self.scans = Vec::new();
        let (seed, visit, nth) = (self.settings.seed, self.number, self.made);
        self.made += 1;
        let missing = self.settings.dropout.drawn(seed, visit, nth);
        let gap = between(log_uniform(self.settings.gap_s, draw(seed, "gap", visit, nth)));
        let stage = (nth as f64 + draw(seed, "stage", visit, nth)) / self.settings.sequences as f64;
        let mut sequence = Sequence::empty(number, self.patient.seed(), self.settings.frames, missing);
        sequence.removed_share = self.reach(stage)?;
        for _ in 0..self.settings.frames {
            self.advance(gap)?;
            let frame = self.look()?;
            let lesson = self.world.lesson(&frame.grid, &frame.shift);
            let from = sequence.channels.len();
            sequence.channels.extend_from_slice(&frame.channels);
            missing.take_from(&mut sequence.channels[from..]);
            sequence.captured_s.push(frame.captured.secs_f64());
            sequence.residual.extend(lesson.residual);
            sequence.cavity.extend(lesson.cavity);
            sequence.tumour_margin.extend(lesson.tumour_margin);
            sequence.displacement.extend(lesson.displacement);
        }
        Ok(sequence)
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
            residual: lesson.residual,
            cavity: lesson.cavity,
            tumour_margin: lesson.tumour_margin,
            displacement: lesson.displacement,
        }
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

/// The home world of a visit.
fn world_settings(settings: &Settings, visit: u64) -> WorldSettings {
    let one = |what| draw(settings.seed, what, visit, 0);
    let [low, high] = settings.opened_minutes;
    let minutes = low + (high - low) * one("opened");
    WorldSettings {
        light: if one("light") < settings.violet_share { Light::Violet } else { Light::White },
        picture_px: settings.picture_px,
        microscope: MicroscopeSettings::home(),
        removal_rate_scale: HASTE,
        shift: ShiftSettings { updates_hz: settings.shift_hz, start_minutes: [minutes; 2] },
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
