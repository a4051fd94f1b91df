//! The validator: it tries a motion in a model of the room before the arm may.
//!
//! ```text
//! Plan ─► form ─► profile (time, smoothing) ─► posture (inverse kinematics) ─► joint path
//!                                                                                │
//! Scene, Anatomy ─► obstacles (cubes: exact distances) ─► sweep: clearances ◄────┤
//!                └► world (rapier3d at 100 Hz): second look ◄────────────────────┘
//! all 20 checks pass, for the path and its retract path ─► Approved
//! a new scene ─► withdraw: does what remains of the path still hold?
//! ```
//!
//! [`Validate`] is the stage, and the only maker of [`Approved`]. What is checked is what is played: nothing
//! after it solves, re-times or smooths. **Units:** millimetres, radians, seconds. **Frames:** patient LPS.
//! **Determinism:** same input, same bytes; transcendental functions from `libm`, the physics engine with
//! `enhanced-determinism`, no verdict by the clock. **Not protected against:** what neither scene nor
//! anatomy holds, and tissue that does not part where the energised tip has been.

mod approved;
mod cubes;
mod cut;
mod form;
mod limits;
mod obstacles;
mod posture;
mod profile;
mod segment;
mod sweep;
mod trial;
mod validate;
mod way_out;
mod withdraw;
mod words;
mod world;

pub use approved::Approved;
pub use form::FormFault;
pub use limits::{LimitRefused, LimitRow, LimitValues, Limits};
pub use obstacles::{BLOCK_MM, Malformed};
pub use profile::PERIOD;
pub use sweep::{ALONG_MM, EXACT_BELOW_MM, FAR_MM};
pub use validate::{MountRefused, PLANS_MAX, Validate, ValidateFault, ValidateIn, ValidateOut};
pub use way_out::OUTWARD_LEAST;
pub use words::{asks_for_more, words};
pub use world::RATE_HZ;

#[cfg(test)]
mod tests;
