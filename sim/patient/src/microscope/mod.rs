//! The microscope: what it shows of tissue, instrument and light.
//!
//! **Units:** pixels, and mm along the camera's z. **Invariant:** it reads ground truth to paint a picture;
//! only the picture leaves.

pub(crate) mod render;
