//! The ground floor of Bregma: what every room stands on.
//!
//! Units, frames of reference, time, lanes between threads, stages and the runners that drive them,
//! faults and reactions, the arm, and the messages of the flow. **No I/O**, and no dependency on any
//! other crate of ours.
//!
//! Read [`flow`] first: it is what the rooms say to each other. Then [`stage`] and [`runner`].

pub mod arm;
pub mod brain_shift;
pub mod devices;
pub mod digest;
pub mod faults;
pub mod flow;
pub mod frame;
pub mod grid;
pub mod histogram;
pub mod lane;
pub mod pool;
pub mod runner;
pub mod stage;
mod sync;
pub mod time;
pub mod topic;
pub mod units;
pub mod wake;
#[cfg(test)]
mod wake_model;

pub use frame::{FrameId, Point, Pose};
pub use stage::{All, Latest, Stage, Trigger};
pub use time::{Clock, Duration, Instant, RealClock, SimClock, Stamped};
pub use units::{Millimetres, Radians};
