//! Plans the next cut.
//!
//! [`PlanStage`] decides *when* a plan is due and remembers what became of the ones before; a [`Planner`]
//! decides *what* to propose. [`Greedy`] is the first planner: it removes the most residual core for the
//! least healthy tissue, one stroke at a time, and ends by itself.
//!
//! **Units and frames:** millimetres, patient LPS, mm/s. **Invariant:** nothing here moves an arm; every
//! proposal is tried by the validator first. **Not protected against:** a scene that is wrong; the planner
//! believes its bytes.

mod anchor;
mod field;
mod greedy;
mod left;
mod memory;
mod model;
mod mpc;
mod planner;
mod raster;
mod reach;
mod route;
mod settings;
mod stage;
mod strokes;
#[cfg(test)]
mod world;

pub use anchor::SHARE_MAX as DOUBTFUL_SHARE_MAX;
pub use greedy::{Greedy, Nearest};
pub use memory::{Ending, Memory};
pub use mpc::{Ahead, Mpc};
pub use planner::{Planner, View};
pub use raster::{Raster, Rows};
pub use settings::{GreedySettings, OutOfRange, PlanSettings};
pub use stage::{PlanFault, PlanIn, PlanStage, VERDICTS_MAX, WITHDRAWN_MAX, Waiting};
pub use strokes::Strokes;
