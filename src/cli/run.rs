//! `bregma run`: the runtime on real sources. Without an arm the gate stays disarmed: navigation only.

use super::{Goal, RunArgs, say};
use crate::anatomy_file;
use crate::config::{Config, RegistrationSource, Source, Theatre as Sources};
use crate::display::Options;
use crate::events::Events;
use crate::examinations::folder::Folder;
use crate::examinations::{Examinations, Pace};
use crate::keeper::{Keeper, RegistrationFile};
use crate::session::engines::Engines;
use crate::session::{self, live};
use anyhow::{Context, bail, ensure};
use bregma_core::arm::ArmModel;
use bregma_core::faults::Reason;
use bregma_core::flow::{ArmMount, Modality, Registration, Scene};
use bregma_core::frame::{FrameId, Pose};
use bregma_core::time::{Clock, Duration, Instant};
use bregma_ingest::tracking::{self, Tracked, TrackingConfig};
use bregma_ingest::video;
use indicatif::{ProgressBar, ProgressStyle};
use nalgebra::Isometry3;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Time between two looks of the console at the session.
const LOOK: Duration = Duration::from_millis(50);

/// Time between two looks at a registration's file, and at the folder of examinations.
const READ: Duration = Duration::from_secs(1);
/// Camera frames that readers may hold all together.
const FRAMES: usize = 8;

/// Runs it. The goal is held when every source lasted.
///
/// # Errors
/// Bad input, or a source or an output that cannot be opened.
pub fn run(args: &RunArgs) -> anyhow::Result<Goal> {
    if let Some(seconds) = args.seconds {
        ensure!((0.1..=1e6).contains(&seconds), "--seconds is {seconds}; it must lie in 0.1 to 1000000");
    }
    let config = Config::read(&args.config)?;
    let Source::Theatre(sources) = &config.source else {
        bail!("`run` needs `source.kind = \"theatre\"`; for the digital patient there is `bregma demo`");
    };
    let (theatre, volumes) = open(&config, sources)?;
    let engines = Engines::live(args.engine.engine, &config, &theatre, &|| args.engine.weights())?;
    engines.note.iter().for_each(say);
    let reasons = args.reasons.wanted(engines.name, &args.engine)?;
    let made = session::stages(&config, &theatre, engines, session::planner(&config)?)?;
    let outputs = live::Outputs {
        record: None,
        display: Options { serve: Some(config.display), rrd: None, reasons },
        seed: None,
    };
    let (mut running, mut doors, encoded_to) = live::start(&config, &theatre, made, &outputs)?;
    doors.anatomy.publish(Arc::clone(&theatre.anatomy));
    let keeper = Keeper::new(doors.registration, running.latches.clone(), running.events.clone())?;
    let mut file = None;
    match (&sources.registration, theatre.registration) {
        (RegistrationSource::File { path, must_be_checked }, _) => {
            file = Some(RegistrationFile::new(path, *must_be_checked, theatre.anatomy.frame));
        }
        (RegistrationSource::Here(_), Some(registration)) => keeper.register(registration),
        (RegistrationSource::Here(_), None) => {}
    }
    if sources.tracking_reference.is_none() {
        say(
            "no `source.tracking.reference`: a reference array that is bumped will not be noticed; `register check` tells",
        );
    }
    let anatomy = Arc::clone(&theatre.anatomy);
    let mut scanner = Scanner {
        folder: sources.intraoperative.as_deref().map(Folder::new),
        examinations: Examinations::after(&volumes, anatomy, doors.volumes, running.events.clone(), Pace::Beside)?,
        due: Instant::START,
    };
    if let Some(folder) = &sources.intraoperative {
        say(format!("intraoperative scans are taken up from {}", folder.display()));
    }

    let tracking = TrackingConfig {
        address: sources.tracking_address,
        reference: sources.tracking_reference.clone(),
        lag: sources.tracking_lag,
        without_status: sources.tracking_without_status,
        ..TrackingConfig::on_loopback(
            &sources.tracking_device,
            sources.tracking_error,
            sources.tracking_valid_for,
            sources.tracking_drift_mm_s,
        )
    };
    let (mut tips, events, clock) = (doors.tips, running.events.clone(), running.clock.clone());
    let hears = keeper.clone();
    let tracker = tracking::listen(
        tracking,
        running.clock.clone(),
        move |tracked| match tracked {
            Tracked::Tip(tip) => tips.publish(tip),
            Tracked::Reference(array) => hears.hears(array.captured, &array),
        },
        move |event| events.say(clock.now(), format!("tracking: {event}")),
    )?;
    let video = video::VideoConfig {
        launch: sources.launch.clone(),
        camera: 0,
        light: sources.light,
        size_px: Some(sources.camera.size_px),
        pool_slots: FRAMES,
        encode: encoded_to.wanted(),
        first_frame_within: Duration::from_secs(10),
    };
    let callbacks = live::video_callbacks(&running, doors.video, encoded_to);
    let source = video::open(video, Arc::new(running.clock.clone()), callbacks)?;
    say(format!("live: rerun rerun+http://{}/proxy", config.display));
    say(format!("tracking: OpenIGTLink TRANSFORM `{}` on {}", sources.tracking_device, sources.tracking_address));
    let lost = watch(args.seconds, &mut running, &keeper, file, &mut scanner);
    drop(source);
    drop(tracker);
    let scenes = running.flowing.scenes.load(Ordering::Relaxed);
    let latency = crate::report::Latency::of(&running.flowing.latency);
    running.end().1?;
    say(format!("{scenes} scenes; latency {:.1} ms median", latency.p50.unwrap_or(f64::NAN)));
    if let Some(reason) = lost {
        say(format!("Hold: {reason}"));
        return Ok(Goal::Missed);
    }
    Ok(Goal::Held)
}

/// Reads scans and anatomy, and ties camera and registration to the scan's frame of reference.
fn open(config: &Config, sources: &Sources) -> anyhow::Result<(session::Theatre, Vec<Arc<bregma_core::flow::Volume>>)> {
    let t1c = bregma_ingest::mri::read(&sources.t1c, Modality::T1c)?;
    let frame = t1c.frame;
    let anatomy = anatomy_file::read(&sources.anatomy, frame)?;
    let mut volumes = vec![Arc::new(t1c)];
    for (modality, path) in &sources.others {
        let mut scan = bregma_ingest::mri::read(path, *modality)?;
        if path.is_file() {
            // NIfTI has no frame-of-reference UID: whoever names both files says that they belong together.
            scan.frame = frame;
        }
        volumes.push(Arc::new(scan));
    }
    let mut camera = sources.camera;
    camera.patient_from_camera = camera.patient_from_camera.claimed_between(frame, FrameId::SOLE);
    let registration = match &sources.registration {
        RegistrationSource::Here(found) => {
            let patient_from_reference = found.patient_from_reference.claimed_between(frame, FrameId::SOLE);
            Some(Registration { patient_from_reference, ..*found })
        }
        RegistrationSource::File { .. } => None,
    };
    let mount = unmounted(&config.arm, frame, &anatomy)?;
    Ok((session::Theatre { camera, mount, registration, anatomy: Arc::new(anatomy) }, volumes))
}

/// Where the planned corridor would have an arm stand. No arm is there: the gate never arms without one.
fn unmounted(arm: &ArmModel, frame: FrameId, anatomy: &bregma_core::flow::Anatomy) -> anyhow::Result<ArmMount> {
    let flange_from_tip = Isometry3::translation(0.0, 0.0, 220.0);
    let inwards = (anatomy.corridor.target - anatomy.corridor.entry).normalize();
    let turn = nalgebra::UnitQuaternion::rotation_between(&nalgebra::Vector3::z(), &inwards).unwrap_or_else(|| {
        nalgebra::UnitQuaternion::from_axis_angle(&nalgebra::Vector3::x_axis(), std::f64::consts::PI)
    });
    let outside = anatomy.corridor.entry - inwards * 30.0;
    let patient_from_tip = Isometry3::from_parts(outside.coords.into(), turn);
    let base_from_tip = arm.forward(&arm.rest()).isometry() * flange_from_tip;
    Ok(ArmMount {
        patient_from_arm_base: Pose::between(frame, FrameId::SOLE, patient_from_tip * base_from_tip.inverse())
            .context("the anatomy's corridor gives no direction")?,
        flange_from_tip: Pose::new(flange_from_tip)?,
        shaft_radius_mm: 1.25,
        shaft_length_mm: 180.0,
    })
}

/// Takes up what a scanner exports.
struct Scanner {
    folder: Option<Folder>,
    examinations: Examinations,
    /// When to look again.
    due: Instant,
}

impl Scanner {
    fn look(&mut self, now: Instant, keeper: &Keeper, events: &Events) {
        let _ = self.examinations.look(now);
        let Some(folder) = self.folder.as_mut().filter(|_| now >= self.due) else { return };
        self.due = now + READ;
        if self.examinations.busy() {
            return;
        }
        let Some((name, scans)) = folder.look(now) else { return };
        match scans.and_then(|scans| self.examinations.take(scans, keeper.up())) {
            Ok(()) => events.say(now, format!("{name}: an intraoperative examination; it is being registered")),
            Err(why) => events.say(now, format!("{name} is not taken up, and the scan before goes on: {why:#}")),
        }
    }
}

/// Watches until the time is over or the video is lost.
fn watch(
    seconds: Option<f64>,
    running: &mut live::Live,
    keeper: &Keeper,
    mut file: Option<RegistrationFile>,
    scanner: &mut Scanner,
) -> Option<Reason> {
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{elapsed_precise} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let begin = running.clock.now();
    let mut told = 0;
    let mut due = begin;
    loop {
        let now = running.clock.now();
        if let Some(file) = file.as_mut().filter(|_| now >= due) {
            due = now + READ;
            if let Some(words) = file.look(now, keeper) {
                running.events.say(now, words);
            }
        }
        scanner.look(now, keeper, &running.events);
        if let Some(scene) = running.supervisor.look() {
            bar.set_message(words(&scene, now));
        }
        for event in running.events.since(told) {
            told = event.number;
            bar.suspend(|| say(format!("{} {}", event.at, event.words)));
        }
        if running.latches.read().has(Reason::VideoLost) {
            bar.finish_and_clear();
            return Some(Reason::VideoLost);
        }
        let elapsed = now.since(begin).unwrap_or(Duration::ZERO).secs_f64();
        if seconds.is_some_and(|s| elapsed >= s) {
            bar.finish_and_clear();
            return None;
        }
        bregma_core::time::pause(LOOK);
    }
}

fn words(scene: &Scene, now: Instant) -> String {
    let age = now.since(scene.captured).unwrap_or(Duration::ZERO);
    format!("residual core {:.2} mL · scene {} · {age} old", scene.residual_ml, scene.id.0)
}
