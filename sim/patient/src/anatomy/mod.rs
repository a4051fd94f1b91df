//! The head: template, warp, tissues, vessels, eloquent regions, and the way in.
//!
//! **Frames:** MNI is RAS; a patient's head is LPS, mm. Everything here is as it was before the dura was
//! opened.

pub(crate) mod approach;
pub(crate) mod eloquent;
pub(crate) mod head;
pub(crate) mod imported;
pub(crate) mod sheets;
pub(crate) mod sulci;
pub(crate) mod template;
pub(crate) mod vessels;
pub(crate) mod warp;
