//! The microscope: what it shows of tissue, instrument and light.
//!
//! [`render`] composes the picture from the other modules, each of which does one thing to it. **Units:**
//! pixels, and mm along the camera's z. **Invariant:** it reads ground truth to paint a picture; only the
//! picture leaves.

mod ahead;
mod bend;
pub(crate) mod blood;
mod effects;
mod glow;
mod lens;
pub(crate) mod occlusion;
mod palette;
mod ranging;
mod rays;
pub(crate) mod render;
mod settings;
mod shade;
mod surface;
#[cfg(test)]
mod tests;
mod texture;
mod tool;
mod window;

pub use settings::{Look, MicroscopeSettings};
