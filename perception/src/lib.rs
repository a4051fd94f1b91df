//! Align and perceive: what the microscope, the tracker and the scans say, brought onto one grid, and
//! where the residual tumour core is on it.
//!
//! [`align::Align`] turns pictures, tracked tips and scans into a `RoiFrame`; [`perceive::Perceive`] turns
//! that into a `Scene` with its signed margin, by an [`perceive::Estimator`]. [`distance`] is the exact
//! Euclidean distance transform that the margin rests on.
//!
//! **Units and frames:** millimetres, patient LPS; the fine region is `[64, 64, 64]` voxels of 1.25 mm.
//! **Allocation:** in `new`, and when a scan arrives; none per frame afterwards.
//! **Invariant:** nothing here knows ground truth, plans a motion or reads a clock.
//! **Not protected against:** brain shift where it is not followed ([`align::Settings::shift`]): it is then an error that
//! grows with time.

pub mod align;
pub mod bits;
pub mod distance;
pub mod engine;
pub mod explain;
pub mod gpu;
pub mod model;
pub mod network;
pub mod perceive;
pub mod region;
pub mod register;
pub mod scan;
pub mod segment;
pub mod train;
pub mod vessels;
