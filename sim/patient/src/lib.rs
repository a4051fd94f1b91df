//! The digital patient: anatomy, tumour, microscope, scanner, tracker, instrument, arm.
//!
//! One seed makes one [`Patient`]; a [`SharedWorld`] sets the theatre's devices around it and moves only
//! when it is told the time. Devices implement the traits of [`bregma_core::devices`]; what they give is
//! all that the runtime may know, beside [`Patient::anatomy`].
//!
//! **Units and frames:** millimetres, patient LPS. **Invariant:** no ground truth passes through a device
//! trait; outcomes are read from the world itself, by whoever scores a case. **Not modelled:** forces.

mod anatomy;
mod cache;
mod distance;
mod kind;
mod microscope;
mod patient;
mod random;
mod scanner;
mod shift;
mod truth;
mod tumour;
mod world;

pub use anatomy::imported::{ImportError, ImportReport, ImportedAnatomy, import_anatomy};
pub use anatomy::template::TemplateError;
pub use anatomy::vessels::{FORBIDDEN_DIAMETER_MM, VesselKind};
pub use cache::{CACHE_BYTES, CacheTrouble, Fetched, PatientCache};
pub use kind::WorldKind;
pub use microscope::{Look, MicroscopeSettings};
pub use patient::{GrowError, Patient, PatientSettings};
pub use scanner::contrasts::ContrastMode;
pub use scanner::figures::{ScanFigures, TissueContrast};
pub use scanner::{ScannerSettings, WriteScanError};
pub use shift::{ShiftFigures, ShiftSettings};
pub use truth::{Label, TRUTH_EDGE};
pub use tumour::{TumourModel, TumourSettings};
pub use world::{
    ArmEvent, ArmHandle, ArmLogEntry, Fault, FaultError, FaultKind, FaultPlan, InstrumentFigures, InstrumentHandle,
    InstrumentSettings, Lesson, MARGIN_MAX_MM, MicroscopeHandle, Outcome, PedalHandle, Place, PlaceKind, STEP,
    ScannerHandle, SceneTruth, SharedWorld, SurgeonSight, TouchedLandmark, TrackerHandle, TrackerSettings, World,
    WorldSettingError, WorldSettings,
};
