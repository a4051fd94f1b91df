//! Configurations: the file's words (`words.rs`), and what they mean here.
//!
//! Unknown keys are refused, units stand in key names, every range asks "is it inside?" so that NaN is
//! refused, and no value that a patient could feel has a hidden default. [`Config::hash`] is over the
//! resolved values, so that comments and order do not matter.

mod words;
pub use words::PlannerWord;

use anyhow::{Context, ensure};
use bregma_core::arm::{ArmModel, ArmModelId};
use bregma_core::digest::Digest;
use bregma_core::flow::{CameraCalibration, Light, Modality, Registration, TrackingStatus};
use bregma_core::frame::{FrameId, Pose};
use bregma_core::time::{Duration, Instant};
use bregma_core::units::Millimetres;
use bregma_patient::{PatientSettings, ShiftSettings, WorldKind, WorldSettings};
use bregma_perception::register::RigidError;
use bregma_physics::{LimitValues, Limits};
use nalgebra::Matrix6;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use words::{GateWords, GreedyWords, LimitWords, PlanWords};

/// The demo's configuration, as it stands in `config/demo.toml`.
pub const DEMO: &str = include_str!("../../config/demo.toml");

/// Where everything comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The digital patient.
    DigitalPatient(PatientSource),
    /// Real devices and files.
    Theatre(Box<Theatre>),
}

/// How the digital patient is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PatientSource {
    /// Smallest and largest core, mL.
    pub core_ml: [f64; 2],
    /// What the instrument removes, mm³/s, unscaled.
    pub removal_rate_mm3_s: f64,
    /// Times that.
    pub removal_rate_scale: f64,
    /// The microscope's lamp.
    pub light: Light,
    /// Pictures a second.
    pub video_fps: u32,
    /// Home, or foreign: another anatomy, tumour, scanner, microscope and shift, that nothing is tuned on.
    pub world: WorldKind,
    /// Whether the microscope distorts, lags, fades and is covered at times, tracking wanders, the instrument
    /// clogs and vessels bleed, as in life.
    pub lifelike: bool,
    /// How often the brain's shift is brought up to date, a second; 0 for a brain that lies still.
    pub shift_hz: f64,
    /// Whether no device and no registration errs at all: for an oracle that knows everything.
    pub exact: bool,
}

impl PatientSource {
    /// What the patient is drawn from.
    #[must_use]
    pub fn patient(&self) -> PatientSettings {
        PatientSettings { core_ml: self.core_ml, ..PatientSettings::of(self.world) }
    }

    /// What the theatre around her is like.
    #[must_use]
    pub fn theatre(&self) -> WorldSettings {
        let (full, plain) = (WorldSettings::of(self.world), WorldSettings::default());
        let full = if self.exact { full.without_errors() } else { full };
        WorldSettings {
            rate_mm3_s: self.removal_rate_mm3_s,
            removal_rate_scale: self.removal_rate_scale,
            light: self.light,
            shift: ShiftSettings { updates_hz: self.shift_hz, ..full.shift },
            microscope: if self.lifelike { full.microscope } else { plain.microscope },
            instrument: if self.lifelike { full.instrument } else { plain.instrument },
            tracker: if self.lifelike { full.tracker } else { plain.tracker },
            ..full
        }
    }
}

/// A theatre's sources.
#[derive(Debug, Clone)]
pub struct Theatre {
    /// GStreamer launch string, without its sink.
    pub launch: String,
    /// The microscope's lamp.
    pub light: Light,
    /// The microscope; its frame identity is set when the scan is known.
    pub camera: CameraCalibration,
    /// T1c: a NIfTI file or a DICOM folder.
    pub t1c: PathBuf,
    /// FLAIR, T1 and T2, where there are such.
    pub others: Vec<(Modality, PathBuf)>,
    /// Where intraoperative examinations will come: [`crate::examinations::folder`].
    pub intraoperative: Option<PathBuf>,
    /// `anatomy.toml`.
    pub anatomy: PathBuf,
    /// Where the tracker connects to.
    pub tracking_address: SocketAddr,
    /// Which device name is the tip.
    pub tracking_device: String,
    /// Error of a tracked tip.
    pub tracking_error: Millimetres,
    /// How long a tracked tip may be believed.
    pub tracking_valid_for: Duration,
    /// How fast its error grows.
    pub tracking_drift_mm_s: f64,
    /// Which device name is the reference array, as the camera sees it.
    pub tracking_reference: Option<String>,
    /// How long before a message's own time its pose was measured.
    pub tracking_lag: Duration,
    /// What a pose is whose sender says nothing of its status.
    pub tracking_without_status: TrackingStatus,
    /// How the patient lies in the tracker's world; its frame identity is set when the scan is known.
    pub registration: RegistrationSource,
}

/// Where a registration comes from.
#[derive(Debug, Clone)]
pub enum RegistrationSource {
    /// The configuration.
    Here(Registration),
    /// A file that is read again whenever it has changed.
    File {
        /// Which.
        path: PathBuf,
        /// Whether it counts only once a landmark was touched again.
        must_be_checked: bool,
    },
}

/// A registration from a file, with what else stands there.
#[derive(Debug, Clone)]
pub struct Kept {
    /// How the patient lies.
    pub registration: Registration,
    /// What it means at any target.
    pub error: Option<RigidError>,
    /// What touching landmarks again has shown.
    pub check: Option<Check>,
}

/// Landmarks touched again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// How many.
    pub landmarks: usize,
    /// How far the worst was off, mm.
    pub worst_mm: f64,
    /// How far it may be, mm.
    pub limit_mm: f64,
    /// Whether all were within.
    pub passed: bool,
}

/// A whole configuration, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything comes from.
    pub source: Source,
    /// Radius within which the energised tip may remove tissue, mm.
    pub cutting_radius_mm: f64,
    /// Radius within which tissue is believed gone, mm: the cutting radius less the tip's error.
    pub carving_radius_mm: f64,
    /// Bias of brain shift, mm per hour, where it is not followed.
    pub shift_mm_per_hour: f64,
    /// Whether brain shift is followed.
    pub follow_shift: bool,
    /// Beside the error budget, mm.
    pub forbidden_inflation_mm: f64,
    /// When to plan.
    pub plan: bregma_planning::PlanSettings,
    /// Who plans.
    pub planner: PlannerWord,
    /// How planners cut.
    pub greedy: bregma_planning::GreedySettings,
    /// What the validator holds a motion to.
    pub limits: Limits,
    /// What the gate is told, without its digests.
    pub gate: Gate,
    /// The arm.
    pub arm: ArmModel,
    /// Where live viewers are served.
    pub display: SocketAddr,
    /// The file's text, for the recording.
    pub text: String,
    /// Every resolved value, a line each.
    pub resolved: String,
    /// Over the resolved values.
    pub hash: Digest,
}

/// The gate's times and tolerances.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    pub period: Duration,
    pub consent_age_max: Duration,
    pub channels_settle: Duration,
    pub heartbeat_age_max: Duration,
    pub scene_age_max: Duration,
    pub arm_age_max: Duration,
    pub instrument_age_max: Duration,
    pub energy_off_within: Duration,
    pub hold_max: Duration,
    pub brake: Duration,
    pub gap_max: Duration,
    pub retract_rate: f64,
    pub start_tolerance_rad: f64,
    pub tracking_error_max_rad: f64,
}

fn inside(key: &str, value: f64, low: f64, high: f64) -> anyhow::Result<f64> {
    ensure!((low..=high).contains(&value), "`{key}` is {value}; it must lie in {low} to {high}");
    Ok(value)
}

fn millis(key: &str, value: f64, low: f64, high: f64) -> anyhow::Result<Duration> {
    let value = inside(key, value, low, high)?;
    Duration::from_secs_f64(value * 1e-3).with_context(|| format!("`{key}` is no length of time"))
}

impl Config {
    /// Reads a configuration file; paths in it are relative to it.
    ///
    /// # Errors
    /// What is wrong, in which key, and what would be right.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("."))).with_context(|| format!("in {}", path.display()))
    }

    /// The demo's configuration.
    ///
    /// # Errors
    /// None that a test does not catch: the text is built in.
    pub fn demo() -> anyhow::Result<Self> {
        Self::parse(DEMO, Path::new(".")).context("in the built-in config/demo.toml")
    }

    /// From text; paths are relative to `folder`.
    ///
    /// # Errors
    /// What is wrong, in which key, and what would be right.
    pub fn parse(text: &str, folder: &Path) -> anyhow::Result<Self> {
        let words: words::Words = toml::from_str(text)?;
        let source = source(&words.source, folder)?;
        let plan = plan(&words.plan)?;
        let greedy = greedy(&words.greedy, &words.align)?;
        let limits = limits(&words.limits, words.align.cutting_radius_mm)?;
        let gate = gate(&words.gate)?;
        let display = words.display.address.parse().with_context(|| {
            format!(
                "`display.address` is `{}`; an address and a port are needed, such as 127.0.0.1:9876",
                words.display.address
            )
        })?;
        let cutting_radius_mm = inside("align.cutting_radius_mm", words.align.cutting_radius_mm, 0.5, 3.0)?;
        let carving_radius_mm =
            inside("align.carving_radius_mm", words.align.carving_radius_mm, 0.5, cutting_radius_mm)?;
        let shift_mm_per_hour = inside("align.shift_mm_per_hour", words.align.shift_mm_per_hour, 0.0, 20.0)?;
        let forbidden_inflation_mm =
            inside("perceive.forbidden_inflation_mm", words.perceive.forbidden_inflation_mm, 0.0, 10.0)?;
        let follow_shift = words.align.follow_shift;
        if let Source::Theatre(theatre) = &source {
            ensure!(
                follow_shift || theatre.intraoperative.is_none(),
                "`source.mri.intraoperative` names a folder, and `align.follow_shift` is false; it must be true: tissue is where a new scan \
                 shows it at that moment only"
            );
        }
        let mut config = Self {
            source,
            cutting_radius_mm,
            carving_radius_mm,
            shift_mm_per_hour,
            follow_shift,
            forbidden_inflation_mm,
            plan,
            planner: words.plan.planner,
            greedy,
            limits,
            gate,
            arm: ArmModel::new(ArmModelId::LbrMed7),
            display,
            text: text.to_owned(),
            resolved: String::new(),
            hash: Digest::default(),
        };
        config.settle();
        Ok(config)
    }

    /// Writes out the resolved values and their hash; to be called after a value was changed.
    pub fn settle(&mut self) {
        use std::fmt::Write;
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn std::fmt::Debug| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key} = {value:?}");
        };
        line("source", &self.source);
        line("align.cutting_radius_mm", &self.cutting_radius_mm);
        line("align.carving_radius_mm", &self.carving_radius_mm);
        line("align.shift_mm_per_hour", &self.shift_mm_per_hour);
        line("align.follow_shift", &self.follow_shift);
        line("perceive.forbidden_inflation_mm", &self.forbidden_inflation_mm);
        line("plan", &self.plan);
        line("plan.planner", &self.planner);
        line("greedy", &self.greedy);
        for (row, value) in self.limits.each() {
            line(&format!("limits.{} [{}]", row.name, row.unit), &value);
        }
        line("gate", &self.gate);
        line("arm", &self.arm.id.name());
        self.hash = Digest::of(text.as_bytes());
        self.resolved = text;
    }
}

fn source(words: &words::SourceWords, folder: &Path) -> anyhow::Result<Source> {
    Ok(match words {
        words::SourceWords::DigitalPatient(w) => {
            let [low, high] = w.core_ml;
            inside("source.core_ml[0]", low, 0.5, 110.0)?;
            inside("source.core_ml[1]", high, low, 110.0)?;
            Source::DigitalPatient(PatientSource {
                core_ml: w.core_ml,
                removal_rate_mm3_s: inside("source.removal_rate_mm3_s", w.removal_rate_mm3_s, 1.0, 40.0)?,
                removal_rate_scale: inside("source.removal_rate_scale", w.removal_rate_scale, 0.1, 20.0)?,
                light: w.light.into(),
                video_fps: inside("source.video_fps", f64::from(w.video_fps), 1.0, 60.0)? as u32,
                world: w.world.into(),
                lifelike: matches!(w.theatre, words::TheatreWord::Lifelike),
                shift_hz: inside("source.shift_hz", w.shift_hz, 0.0, 50.0)?,
                exact: false,
            })
        }
        words::SourceWords::Theatre(w) => Source::Theatre(Box::new(theatre(w, folder)?)),
    })
}

fn theatre(w: &words::TheatreWords, folder: &Path) -> anyhow::Result<Theatre> {
    let v = &w.video;
    for (key, value) in ["source.video.focal_px[0]", "source.video.focal_px[1]"].iter().zip(v.focal_px) {
        inside(key, value, 10.0, 1e6)?;
    }
    for (key, value) in ["source.video.centre_px[0]", "source.video.centre_px[1]"].iter().zip(v.centre_px) {
        inside(key, value, -1e5, 1e5)?;
    }
    for (key, value) in ["source.video.size_px[0]", "source.video.size_px[1]"].iter().zip(v.size_px) {
        inside(key, value as f64, 16.0, 8192.0)?;
    }
    placed("source.video.position_mm", v.position_mm, v.quaternion_xyzw)?;
    Ok(Theatre {
        launch: v.launch.clone(),
        light: v.light.into(),
        camera: CameraCalibration {
            focal_px: v.focal_px,
            centre_px: v.centre_px,
            size_px: v.size_px,
            patient_from_camera: Pose::from_parts(FrameId::SOLE, FrameId::SOLE, v.position_mm, v.quaternion_xyzw)?,
            error: mm("source.video.error_mm", v.error_mm)?,
        },
        t1c: folder.join(&w.mri.t1c),
        others: [(Modality::Flair, &w.mri.flair), (Modality::T1, &w.mri.t1), (Modality::T2, &w.mri.t2)]
            .into_iter()
            .filter_map(|(modality, file)| Some((modality, folder.join(file.as_ref()?))))
            .collect(),
        intraoperative: w.mri.intraoperative.as_ref().map(|name| folder.join(name)),
        anatomy: folder.join(&w.anatomy.file),
        tracking_address: w.tracking.address.parse().with_context(|| {
            format!("`source.tracking.address` is `{}`; such as 127.0.0.1:18944 is needed", w.tracking.address)
        })?,
        tracking_device: w.tracking.device.clone(),
        tracking_error: mm("source.tracking.error_mm", w.tracking.error_mm)?,
        tracking_valid_for: millis("source.tracking.valid_for_ms", w.tracking.valid_for_ms, 10.0, 5000.0)?,
        tracking_drift_mm_s: inside("source.tracking.drift_mm_s", w.tracking.drift_mm_s, 0.0, 100.0)?,
        tracking_reference: w.tracking.reference.clone(),
        tracking_lag: millis("source.tracking.lag_ms", w.tracking.lag_ms, 0.0, 1000.0)?,
        tracking_without_status: match w.tracking.without_status {
            words::StatusWord::Invalid => TrackingStatus::Unknown,
            words::StatusWord::Valid => TrackingStatus::Valid,
        },
        registration: registration_source(&w.registration, folder)?,
    })
}

/// Whether a place and a turn can be one.
fn placed(key: &str, mm: [f64; 3], xyzw: [f64; 4]) -> anyhow::Result<()> {
    mm.iter().try_for_each(|m| inside(key, *m, -5000.0, 5000.0).map(drop))?;
    let length = xyzw.iter().map(|q| q * q).sum::<f64>().sqrt();
    inside(&format!("{key}: length of quaternion_xyzw"), length, 0.99, 1.01).map(drop)
}

/// A length that may be an error's.
fn mm(key: &str, value: f64) -> anyhow::Result<Millimetres> {
    Ok(Millimetres::new(inside(key, value, 0.0, 20.0)?)?)
}

fn registration_source(section: &toml::Table, folder: &Path) -> anyhow::Result<RegistrationSource> {
    let table = toml::Value::Table(section.clone());
    if section.contains_key("file") {
        let w: words::RegistrationFileWords = table.try_into().context("in [source.registration]")?;
        let must_be_checked = matches!(w.check, words::DemandWord::Needed);
        return Ok(RegistrationSource::File { path: folder.join(&w.file), must_be_checked });
    }
    let kept = registration(&table.try_into().context("in [source.registration]")?)?;
    if let Some(check) = kept.check.filter(|check| !check.passed) {
        anyhow::bail!(
            "[source.registration.check] says that a landmark was {} mm off, at most {} mm is right: register anew",
            check.worst_mm,
            check.limit_mm
        );
    }
    Ok(RegistrationSource::Here(kept.registration))
}

fn registration(r: &words::RegistrationWords) -> anyhow::Result<Kept> {
    placed("source.registration.translation_mm", r.translation_mm, r.quaternion_xyzw)?;
    let hours = inside("source.registration.expires_h", r.expires_h, 0.01, 48.0)?;
    let expires =
        Duration::from_secs_f64(hours * 3600.0).context("`source.registration.expires_h` is no length of time")?;
    let registration = Registration {
        patient_from_reference: Pose::from_parts(FrameId::SOLE, FrameId::SOLE, r.translation_mm, r.quaternion_xyzw)?,
        fre: mm("source.registration.fre_mm", r.fre_mm)?,
        predicted_tre: mm("source.registration.predicted_tre_mm", r.predicted_tre_mm)?,
        up: r.up.map(up).transpose()?,
        registered: Instant::START,
        expires: Instant::START + expires,
    };
    let key = "source.registration.check";
    let check = r.check.as_ref().map(|w| {
        let worst_mm = inside(&format!("{key}.worst_mm"), w.worst_mm, 0.0, 1e4)?;
        let limit_mm = inside(&format!("{key}.limit_mm"), w.limit_mm, 0.0, 100.0)?;
        ensure!(
            !w.passed || (worst_mm <= limit_mm && w.landmarks > 0),
            "`{key}.passed` is true, and its numbers say that it did not"
        );
        Ok(Check { landmarks: w.landmarks, worst_mm, limit_mm, passed: w.passed })
    });
    Ok(Kept { registration, error: r.error.as_ref().map(rigid_error).transpose()?, check: check.transpose()? })
}

fn rigid_error(w: &words::RigidErrorWords) -> anyhow::Result<RigidError> {
    let key = "source.registration.error";
    w.centre_mm.iter().try_for_each(|m| inside(&format!("{key}.centre_mm"), *m, -5000.0, 5000.0).map(drop))?;
    let covariance = Matrix6::from_fn(|row, column| w.covariance_rad_mm[row][column]);
    let largest = covariance.amax();
    let symmetric = (covariance - covariance.transpose()).amax() <= 1e-6 * largest;
    ensure!(
        covariance.iter().all(|v| v.is_finite())
            && symmetric
            && covariance.symmetric_eigenvalues().min() >= -1e-9 * largest,
        "`{key}.covariance_rad_mm` is no covariance; 6 rows of 6 finite numbers, symmetric, no variance below 0, are needed"
    );
    Ok(RigidError { centre: w.centre_mm.into(), covariance })
}

/// The registration of a configuration, or of a file that holds `[source.registration]` alone; and its error and check, where
/// these are written.
///
/// # Errors
/// What is wrong, in which key, and what would be right.
pub fn registration_of(text: &str) -> anyhow::Result<Kept> {
    let mut table: toml::Table = toml::from_str(text)?;
    let source = table.get_mut("source").and_then(toml::Value::as_table_mut);
    let section = source.and_then(|source| source.remove("registration"));
    let section = section.context("there is no `[source.registration]` in it")?;
    registration(&section.try_into().context("in [source.registration]")?)
}

/// A direction against gravity, made a unit long.
fn up(up: [f64; 3]) -> anyhow::Result<[f64; 3]> {
    let unit = nalgebra::Vector3::from(up).try_normalize(1e-3).filter(|v| v.iter().all(|c| c.is_finite()));
    let what =
        format!("`source.registration.up` is {up:?}; a direction in patient LPS is needed, such as [0.0, -1.0, 0.0]");
    Ok(unit.context(what)?.into())
}

fn plan(w: &PlanWords) -> anyhow::Result<bregma_planning::PlanSettings> {
    let secs = |key: &str, value: f64| {
        Duration::from_secs_f64(value).with_context(|| format!("`plan.{key}` is {value}; seconds from 0 up are needed"))
    };
    let settings = bregma_planning::PlanSettings {
        silence: secs("silence_s", w.silence_s)?,
        retry: secs("retry_s", w.retry_s)?,
        give_up: secs("give_up_s", w.give_up_s)?,
        answer: secs("answer_s", w.answer_s)?,
    };
    settings.check().context("in [plan]")?;
    Ok(settings)
}

fn greedy(w: &GreedyWords, align: &words::AlignWords) -> anyhow::Result<bregma_planning::GreedySettings> {
    let settings = bregma_planning::GreedySettings {
        cut_radius_mm: align.carving_radius_mm,
        removal_mm: align.cutting_radius_mm,
        candidates: w.candidates,
        stroke_mm: w.stroke_mm,
        cut_probability: w.cut_probability,
        feed_cut_mm_s: w.feed_cut_mm_s,
        feed_corridor_mm_s: w.feed_corridor_mm_s,
        feed_free_mm_s: w.feed_free_mm_s,
        ..bregma_planning::GreedySettings::STANDARD
    };
    settings.check().context("in [greedy]")?;
    Ok(settings)
}

fn limits(w: &LimitWords, cutting_radius_mm: f64) -> anyhow::Result<Limits> {
    let values = LimitValues {
        scene_age_s: w.scene_age_s,
        arm_age_s: w.arm_age_s,
        tip_mm: w.tip_mm,
        forbidden_mm: w.forbidden_mm,
        rim_mm: w.rim_mm,
        indentation_mm: w.indentation_mm,
        cut_mm_s: w.cut_mm_s,
        head_mm_s: w.head_mm_s,
        free_mm_s: w.free_mm_s,
        expires_s: w.expires_s,
        removal_mm: cutting_radius_mm,
        ..LimitValues::USUAL
    };
    Limits::new(values).context("in [limits]")
}

fn gate(w: &GateWords) -> anyhow::Result<Gate> {
    let ms = |key: &str, value: f64| millis(&format!("gate.{key}"), value, 0.0, 600_000.0);
    Ok(Gate {
        period: ms("period_ms", w.period_ms)?,
        consent_age_max: ms("consent_age_ms", w.consent_age_ms)?,
        channels_settle: ms("channels_settle_ms", w.channels_settle_ms)?,
        heartbeat_age_max: ms("heartbeat_age_ms", w.heartbeat_age_ms)?,
        scene_age_max: ms("scene_age_ms", w.scene_age_ms)?,
        arm_age_max: ms("arm_age_ms", w.arm_age_ms)?,
        instrument_age_max: ms("instrument_age_ms", w.instrument_age_ms)?,
        energy_off_within: ms("energy_off_within_ms", w.energy_off_within_ms)?,
        hold_max: ms("hold_s", w.hold_s * 1e3)?,
        brake: ms("brake_ms", w.brake_ms)?,
        gap_max: ms("gap_ms", w.gap_ms)?,
        retract_rate: w.retract_rate,
        start_tolerance_rad: w.start_tolerance_rad,
        tracking_error_max_rad: w.tracking_error_rad,
    })
}

impl Gate {
    /// The gate's settings, with its own copies of the digests.
    ///
    /// # Errors
    /// The first value outside its range.
    pub fn settings(
        &self,
        arm: ArmModel,
        limits: Digest,
        models: Vec<Digest>,
    ) -> anyhow::Result<bregma_bridge::Settings> {
        let settings = bregma_bridge::Settings {
            arm,
            period: self.period,
            limits,
            models,
            start_tolerance_rad: self.start_tolerance_rad,
            tracking_error_max_rad: self.tracking_error_max_rad,
            consent_age_max: self.consent_age_max,
            channels_settle: self.channels_settle,
            heartbeat_age_max: self.heartbeat_age_max,
            scene_age_max: self.scene_age_max,
            arm_age_max: self.arm_age_max,
            instrument_age_max: self.instrument_age_max,
            energy_off_within: self.energy_off_within,
            hold_max: self.hold_max,
            brake: self.brake,
            retract_rate: self.retract_rate,
            gap_max: self.gap_max,
        };
        settings.check().context("in [gate]")?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests;
