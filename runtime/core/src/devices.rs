//! What a theatre's devices can do. A site's devices and the digital patient both implement these.
//!
//! The traits are called by edges (threads of the program), never from inside a stage.

use crate::flow::{
    ArmState, Consent, Energy, InstrumentState, RangeImage, ReferencePose, Sent, TipPose, VideoFrame, Volume,
};
use crate::time::{Duration, Instant};

/// A device does not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{device}: {what}")]
pub struct DeviceFault {
    /// Which device.
    pub device: String,
    /// What is wrong, in words.
    pub what: String,
}

/// From range image to range image: as often as the brain's shift is looked at.
pub const RANGES_EVERY: Duration = Duration::from_millis(200);

/// A microscope or endoscope.
pub trait Camera: Send {
    /// Width and height, pixels.
    fn size_px(&self) -> [usize; 2];
    /// Fills in the picture at `now`; its `trace` and `received` are the caller's.
    ///
    /// # Errors
    /// When there is no picture, and why.
    fn grab(&mut self, now: Instant, frame: &mut VideoFrame) -> Result<(), DeviceFault>;
    /// Fills in how far away what the last picture showed is, where the camera measures that (a stereo microscope
    /// does); `received` is the caller's. Whether it did.
    ///
    /// # Errors
    /// When it should have, and why it did not.
    fn ranges(&mut self, _ranges: &mut RangeImage) -> Result<bool, DeviceFault> {
        Ok(false)
    }
}

/// An MRI scanner.
pub trait Scanner: Send {
    /// Takes a scan of each contrast it can.
    ///
    /// # Errors
    /// When there is none, and why.
    fn scan(&mut self, now: Instant) -> Result<Vec<Volume>, DeviceFault>;
}

/// A tracking camera.
pub trait Tracker: Send {
    /// The newest pose since the last call, if there is one.
    ///
    /// # Errors
    /// When the tracker is gone, and why.
    fn poll(&mut self, now: Instant) -> Result<Option<TipPose>, DeviceFault>;
    /// Where it saw the reference array, newest since the last call, where it tells that.
    ///
    /// # Errors
    /// When the tracker is gone, and why.
    fn reference(&mut self, _now: Instant) -> Result<Option<ReferencePose>, DeviceFault> {
        Ok(None)
    }
}

/// A robot arm.
pub trait Arm: Send {
    /// Its present state.
    ///
    /// # Errors
    /// When the arm is gone, and why.
    fn state(&mut self, now: Instant) -> Result<ArmState, DeviceFault>;
    /// Follows one command of the gate.
    ///
    /// # Errors
    /// When the arm did not take it, and why.
    fn command(&mut self, now: Instant, sent: &Sent) -> Result<(), DeviceFault>;
}

/// An ultrasonic aspirator's console.
pub trait Instrument: Send {
    /// What is on.
    ///
    /// # Errors
    /// When the console is gone, and why.
    fn state(&mut self, now: Instant) -> Result<InstrumentState, DeviceFault>;
    /// Switches.
    ///
    /// # Errors
    /// When the console did not take it, and why.
    fn energise(&mut self, now: Instant, energy: Energy) -> Result<(), DeviceFault>;
}

/// A pedal or switch that a person holds.
pub trait EnablingInput: Send {
    /// Both channels as they are now.
    ///
    /// # Errors
    /// When it cannot be read, and why.
    fn poll(&mut self, now: Instant) -> Result<Consent, DeviceFault>;
}
