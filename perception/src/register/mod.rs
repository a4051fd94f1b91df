//! Registration: how one set of coordinates lies in another, and how far that may be wrong at a target.
//!
//! ```text
//!  landmarks   fiducials that were touched, and the same in the scan  ──► patient_from_reference
//!  surface     points on skin or bone, and the scan's surface         ──► the same
//!  skin        a T1-weighted scan                                     ──► that surface
//!  scans       a scan, and a newer one of the same patient         ──► fixed_from_moving, and what tissue has moved
//!  pivot       an instrument turned about its resting tip             ──► where the tip is on its array
//!  hand_eye    arm poses, and what a camera on it saw                 ──► flange_from_camera
//!  lag         one motion that tracker and camera saw                 ──► how late pictures are
//!  still       a tracked tip that is held                             ──► one touch
//!  check       known landmarks touched again                          ──► whether the registration still holds
//!  watch       the reference array's poses while operating            ──► when it moved, and how far
//! ```
//! Each result holds its error as a [`RigidError`], which says what it means at any point: a registration error
//! without its target says nothing (FRE and TRE are independent: Fitzpatrick, SPIE 7261, 2009).
//! **Units:** mm, radians; covariances mm², one standard deviation throughout. **Allocation:** these run outside the
//! flow, and allocate. **Refusals:** an arrangement that leaves something undetermined, and measurements that
//! contradict each other more than their stated errors allow, are refused with what was found.
//! **Not protected against:** errors that all measurements share, such as a scan whose voxels are larger than its
//! header says by less than the errors show; skin that moved as a whole between scan and touch.

pub mod check;
pub mod error;
pub mod hand_eye;
pub mod lag;
pub mod landmarks;
mod least_squares;
#[cfg(test)]
mod noise;
pub mod pivot;
pub mod scans;
pub mod skin;
pub mod still;
pub mod surface;
pub mod watch;

pub use error::RigidError;
