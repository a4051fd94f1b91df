//! What following the brain's shift is worth: simulated brains that move, seen by the runtime's own align stage.
//!
//! Each case is a patient whose dura was opened some minutes ago, in a theatre whose devices err as in life, watched for
//! a time without a cut. Where align believes tissue to be is held against where it is: on the exposed cortex, and on
//! the core's surface. Ground truth is read here only, after the fact. All of it is *simulated*.

use crate::bench::cpu;
use crate::config::Config;
use crate::patients;
use crate::session;
use anyhow::Context;
use bregma_core::devices::Camera;
use bregma_core::flow::{Modality, RangeImage, RoiFrame, TraceId, VideoFrame};
use bregma_core::pool::Pool;
use bregma_core::stage::Stage;
use bregma_core::time::{Duration, Instant};
use bregma_core::topic::Numbered;
use bregma_patient::{PatientSettings, World, WorldKind, WorldSettings};
use bregma_perception::align::shift::{Follower, Rest};
use bregma_perception::align::{self, Align};
use bregma_perception::scan::Scan;
use nalgebra::Point3;
use std::fmt::Write as _;
use std::sync::Arc;

/// From picture to picture.
const PICTURES: Duration = Duration::from_millis(220);
/// The core's volume, mL: that of the suites.
const CORE_ML: [f64; 2] = [2.0, 20.0];

/// What is watched.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Cases in each world.
    pub cases: usize,
    /// Seed of the first.
    pub first_seed: u64,
    /// How long each is watched, s.
    pub seconds: f64,
}

/// Errors of one kind of target, mm, means over a case's targets.
#[derive(Debug, Clone, Copy, Default)]
pub struct Errors {
    /// Of who believes that nothing has moved.
    pub none: f64,
    /// Of who expects what brains do.
    pub expected: f64,
    /// Of who looks.
    pub followed: f64,
    /// What align says of itself: root mean square.
    pub stated: f64,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct Case {
    /// On the exposed cortex.
    pub cortex: Errors,
    /// On the core's surface.
    pub core: Errors,
    /// Of every target, its error over what was stated: root mean square length.
    pub ratios: Vec<f64>,
    /// What the last look that counts found.
    pub found: Option<align::shift::Found>,
    /// Mean CPU time of a step of align that looks, ms: the clock of CPU time ticks too coarsely for medians.
    pub look_ms: f64,
}

/// Watches one brain.
///
/// # Errors
/// When no patient grows, or a stage refuses.
pub fn case(config: &Config, kind: WorldKind, seed: u64, seconds: f64) -> anyhow::Result<Case> {
    let settings = PatientSettings { core_ml: CORE_ML, ..PatientSettings::of(kind) };
    let patient = Arc::new(patients::fetch(patients::cache().as_ref(), None, seed, &settings)?.patient);
    let world = World::new(Arc::clone(&patient), WorldSettings::of(kind))?;
    let theatre = session::Theatre {
        camera: world.camera_calibration(),
        mount: world.arm_mount(),
        registration: Some(world.registration()),
        anatomy: Arc::new(patient.anatomy()),
    };
    let mut input = align::In::default();
    let scans = [Modality::T1c, Modality::Flair].map(|modality| Arc::new(patient.scan(modality)));
    input.volumes.set(scans.into_iter().zip(1..).map(|(value, number)| Numbered { number, value }));
    input.anatomy.set(1, Arc::clone(&theatre.anatomy));
    input.registration.set(1, world.registration());
    let follows = align::Settings { shift: Some(Default::default()), ..session::align_settings(config, &theatre) };
    let mut align = Align::new(follows);
    let mut camera = world.camera();
    let [width, height] = camera.size_px();
    let mut pictures = Pool::new("watched pictures", 2, || VideoFrame::black(width, height));
    let (mut now, mut trace, mut newest): (_, _, Option<Arc<RoiFrame>>) = (Instant::START, 0, None);
    let mut spent_ms = 0.0;
    while now.secs_f64() < seconds {
        now = now + PICTURES;
        trace += 1;
        world.advance(now);
        let picture = pictures.try_write(|frame| {
            (frame.trace, frame.received) = (TraceId(trace), now);
            camera.grab(now, frame)
        })??;
        input.frame.set(trace, picture);
        let mut image = RangeImage::blank();
        if camera.ranges(&mut image)? {
            image.received = now;
            input.ranges.set(trace, Arc::new(image));
        }
        let mut out = None;
        let before = cpu::of_this_thread();
        align.step(now, &input, &mut out)?;
        spent_ms += (cpu::of_this_thread() - before) as f64 * 1e-6;
        input.volumes.set([]);
        if let Some(frame) = out {
            newest = Some(frame);
        }
    }
    let frame = newest.context("align makes a frame of every picture")?;
    let scan = |modality| Scan::new(Arc::new(patient.scan(modality)));
    let mut blind = Follower::new(Default::default(), theatre.camera.size_px);
    let up = world.registration().up.map(Into::into);
    let (t1c, anatomy, camera) = (scan(Modality::T1c)?, &*theatre.anatomy, &theatre.camera);
    blind.begin(&Rest { anatomy, t1c: &t1c, flair: None, camera, up, scan: None }, false);
    let expected = blind.shift();
    let mut ratios = Vec::new();
    let mut errors = |targets: &[Point3<f64>]| {
        let truth = world.now_of(targets);
        let mut sum = Errors::default();
        for (rest, truth) in targets.iter().zip(&truth) {
            let off = nalgebra::distance(&frame.shift.now(rest), truth);
            let stated = frame.shift.deviation_mm(rest);
            sum.none += nalgebra::distance(rest, truth);
            sum.expected += nalgebra::distance(&expected.now(rest), truth);
            sum.followed += off;
            sum.stated += stated;
            ratios.push(off / stated.max(1e-3));
        }
        let n = targets.len().max(1) as f64;
        Errors { none: sum.none / n, expected: sum.expected / n, followed: sum.followed / n, stated: sum.stated / n }
    };
    let (cortex, core) = (errors(&patient.exposed_cortex()), errors(&patient.core_surface()));
    Ok(Case { cortex, core, ratios, found: align.followed(), look_ms: spent_ms / trace as f64 })
}

/// Watches all of these worlds, and writes the page. `done` hears of each case.
///
/// # Errors
/// As [`case`]; a seed that no patient grows from is named on the page, and no case.
pub fn markdown(
    config: &Config,
    extent: Extent,
    worlds: &[WorldKind],
    command: &str,
    done: &dyn Fn(),
) -> anyhow::Result<String> {
    let mut out = format!("# Where tissue is\n\n`{command}`. All of it is *simulated*.\n");
    for kind in worlds.iter().copied() {
        let _ = writeln!(
            out,
            "\n## {}\n\n| seed | cortex: none | expected | followed | stated | core: none | expected | followed | stated | ranges / lines | step ms |\n|---|---|---|---|---|---|---|---|---|---|---|",
            kind.name()
        );
        let mut all: Vec<Case> = Vec::new();
        for seed in extent.first_seed..extent.first_seed + extent.cases as u64 {
            match case(config, kind, seed, extent.seconds) {
                Ok(case) => {
                    let (c, d) = (&case.cortex, &case.core);
                    let _ = writeln!(
                        out,
                        "| {seed} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {:.1} |",
                        c.none,
                        c.expected,
                        c.followed,
                        c.stated,
                        d.none,
                        d.expected,
                        d.followed,
                        d.stated,
                        case.found.map_or("none".into(), |f| format!(
                            "{} / {}{}",
                            f.ranges,
                            f.vessels,
                            if f.opening { " / opening" } else { "" }
                        )),
                        case.look_ms
                    );
                    all.push(case);
                }
                Err(why) => {
                    let _ = writeln!(out, "| {seed} | {why:#} | | | | | | | | | |");
                }
            }
            done();
        }
        let mean = |of: &dyn Fn(&Case) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
        let _ = writeln!(
            out,
            "| mean | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | | |",
            mean(&|c| c.cortex.none),
            mean(&|c| c.cortex.expected),
            mean(&|c| c.cortex.followed),
            mean(&|c| c.cortex.stated),
            mean(&|c| c.core.none),
            mean(&|c| c.core.expected),
            mean(&|c| c.core.followed),
            mean(&|c| c.core.stated),
        );
        let mut ratios: Vec<f64> = all.iter().flat_map(|c| c.ratios.iter().copied()).collect();
        ratios.sort_by(f64::total_cmp);
        let rms = (ratios.iter().map(|r| r * r).sum::<f64>() / ratios.len().max(1) as f64).sqrt();
        // Of a length whose root mean square is 1 and whose three parts are alike, 90 % lie below √(6.251 / 3).
        let within = ratios.iter().filter(|r| **r <= COVERS_90).count() as f64 / ratios.len().max(1) as f64;
        let _ = writeln!(
            out,
            "\nError over stated: root mean square {rms:.2}; within the 90 % interval {:.0} %.",
            within * 100.0
        );
    }
    Ok(out)
}

/// √(χ²₃(0.9) / 3).
const COVERS_90: f64 = 1.4435;
