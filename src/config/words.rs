//! The words of a configuration file, before anything is checked. Units stand in the names.

use bregma_core::flow::Light;
use bregma_patient::WorldKind;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub source: SourceWords,
    pub align: AlignWords,
    pub perceive: PerceiveWords,
    pub plan: PlanWords,
    pub greedy: GreedyWords,
    pub limits: LimitWords,
    pub gate: GateWords,
    pub display: DisplayWords,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum SourceWords {
    DigitalPatient(PatientWords),
    Theatre(Box<TheatreWords>),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LightWord {
    White,
    Violet,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WorldWord {
    Home,
    Foreign,
}

impl From<WorldWord> for WorldKind {
    fn from(word: WorldWord) -> Self {
        match word {
            WorldWord::Home => Self::Home,
            WorldWord::Foreign => Self::Foreign,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TheatreWord {
    Plain,
    Lifelike,
}

impl From<LightWord> for Light {
    fn from(word: LightWord) -> Self {
        match word {
            LightWord::White => Self::White,
            LightWord::Violet => Self::Violet,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatientWords {
    pub core_ml: [f64; 2],
    pub removal_rate_mm3_s: f64,
    pub removal_rate_scale: f64,
    pub light: LightWord,
    pub world: WorldWord,
    pub theatre: TheatreWord,
    pub shift_hz: f64,
    pub video_fps: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TheatreWords {
    pub video: VideoWords,
    pub mri: MriWords,
    pub anatomy: AnatomyWords,
    pub tracking: TrackingWords,
    /// [`RegistrationWords`] or [`RegistrationFileWords`].
    pub registration: toml::Table,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VideoWords {
    pub launch: String,
    pub light: LightWord,
    pub focal_px: [f64; 2],
    pub centre_px: [f64; 2],
    pub size_px: [usize; 2],
    pub position_mm: [f64; 3],
    pub quaternion_xyzw: [f64; 4],
    pub error_mm: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MriWords {
    pub t1c: String,
    pub flair: Option<String>,
    pub t1: Option<String>,
    pub t2: Option<String>,
    /// Where intraoperative examinations will come.
    pub intraoperative: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnatomyWords {
    pub file: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrackingWords {
    pub address: String,
    pub device: String,
    /// The reference array in the camera's coordinates, where the tracker tells it.
    #[serde(default)]
    pub reference: Option<String>,
    pub lag_ms: f64,
    pub without_status: StatusWord,
    pub error_mm: f64,
    pub valid_for_ms: f64,
    pub drift_mm_s: f64,
}

/// What a pose is whose sender says nothing of its status.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StatusWord {
    Invalid,
    Valid,
}

/// A registration that another program writes, and writes again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrationFileWords {
    pub file: String,
    pub check: DemandWord,
}

/// Whether a landmark must have been touched since.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DemandWord {
    Needed,
    NotNeeded,
}

/// What `bregma register check --keep` found.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckedWords {
    pub landmarks: usize,
    pub worst_mm: f64,
    pub limit_mm: f64,
    pub passed: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistrationWords {
    pub translation_mm: [f64; 3],
    pub quaternion_xyzw: [f64; 4],
    pub fre_mm: f64,
    pub predicted_tre_mm: f64,
    #[serde(default)]
    pub up: Option<[f64; 3]>,
    pub expires_h: f64,
    /// What `bregma register check` predicts errors by; the runtime goes by `predicted_tre_mm`.
    #[serde(default)]
    pub error: Option<RigidErrorWords>,
    #[serde(default)]
    pub check: Option<CheckedWords>,
}

/// The error of a rigid transform: of turns about the centre, then of shifts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RigidErrorWords {
    pub centre_mm: [f64; 3],
    pub covariance_rad_mm: [[f64; 6]; 6],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlignWords {
    pub cutting_radius_mm: f64,
    pub carving_radius_mm: f64,
    pub shift_mm_per_hour: f64,
    pub follow_shift: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PerceiveWords {
    pub forbidden_inflation_mm: f64,
}

/// Which planners can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannerWord {
    /// The greedy planner: what gains most beside the tip.
    #[default]
    Greedy,
    /// The raster planner: layer by layer, row by row.
    Raster,
    /// The model-predictive planner: what gains most some bites ahead.
    Mpc,
}

impl PlannerWord {
    /// As configurations and reports name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Raster => "raster",
            Self::Mpc => "mpc",
        }
    }
}

/// `[plan]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanWords {
    pub planner: PlannerWord,
    pub silence_s: f64,
    pub retry_s: f64,
    pub give_up_s: f64,
    pub answer_s: f64,
}

/// `[greedy]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GreedyWords {
    pub candidates: usize,
    pub stroke_mm: f64,
    pub cut_probability: f64,
    pub feed_cut_mm_s: f64,
    pub feed_corridor_mm_s: f64,
    pub feed_free_mm_s: f64,
}

/// `[limits]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitWords {
    pub scene_age_s: f64,
    pub arm_age_s: f64,
    pub tip_mm: f64,
    pub forbidden_mm: f64,
    pub rim_mm: f64,
    pub indentation_mm: f64,
    pub cut_mm_s: f64,
    pub head_mm_s: f64,
    pub free_mm_s: f64,
    pub expires_s: f64,
}

/// `[gate]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateWords {
    pub period_ms: f64,
    pub consent_age_ms: f64,
    pub channels_settle_ms: f64,
    pub heartbeat_age_ms: f64,
    pub scene_age_ms: f64,
    pub arm_age_ms: f64,
    pub instrument_age_ms: f64,
    pub energy_off_within_ms: f64,
    pub hold_s: f64,
    pub brake_ms: f64,
    pub gap_ms: f64,
    pub retract_rate: f64,
    pub start_tolerance_rad: f64,
    pub tracking_error_rad: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DisplayWords {
    pub address: String,
}
