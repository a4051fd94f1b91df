//! Video, MRI and tracking from the outside world.
//!
//! [`video`] turns any GStreamer source into pooled [`VideoFrame`](bregma_core::flow::VideoFrame)s and, once
//! encoded, serves the recording and the display; [`mri`] reads one scan from a NIfTI file or a folder of
//! DICOM slices; [`registration`] reads marked points, tracked poses and transforms from files. Everything malformed is refused with a reason; nothing in here panics on what it reads.
//!
//! **Frames and units:** patient LPS millimetres leave this crate, whatever came in. **Time:** the session's
//! clock. **Invariant:** GStreamer and DICOM are used here and nowhere else in the runtime.

pub mod mri;
pub mod registration;
pub mod sender_clock;
pub mod tracking;
pub mod video;
