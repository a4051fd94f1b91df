//! The theatre's devices, as the runtime sees them.
//!
//! Every call moves the world on to its `now` first. **Invariant:** nothing here gives away ground truth.

use super::SharedWorld;
use super::fault::lasts;
use bregma_core::devices::{Arm, DeviceFault, EnablingInput, Instrument, Scanner, Tracker};
use bregma_core::flow::{ArmState, Consent, Energy, InstrumentState, Modality, ReferencePose, Sent, TipPose, Volume};
use bregma_core::time::Instant;
use std::sync::Arc;

/// The arm.
#[derive(Clone)]
pub struct ArmHandle(pub(super) SharedWorld);
/// The aspirator's console.
#[derive(Clone)]
pub struct InstrumentHandle(pub(super) SharedWorld);
/// The tracking camera.
#[derive(Clone)]
pub struct TrackerHandle(pub(super) SharedWorld);
/// The pedal.
#[derive(Clone)]
pub struct PedalHandle(pub(super) SharedWorld);
/// The scanner.
#[derive(Clone)]
pub struct ScannerHandle(pub(super) SharedWorld);

fn fault(device: &str, what: impl Into<String>) -> DeviceFault {
    DeviceFault { device: device.to_owned(), what: what.into() }
}

impl Arm for ArmHandle {
    fn state(&mut self, now: Instant) -> Result<ArmState, DeviceFault> {
        let world = self.0.at(now);
        if lasts(world.faults.arm_silent, world.now) {
            return Err(fault("simulated arm", "it does not answer"));
        }
        Ok(ArmState {
            joints: world.arm.joints,
            speeds: world.arm.speeds,
            ready: world.arm.ready(),
            captured: world.now,
        })
    }

    fn command(&mut self, now: Instant, sent: &Sent) -> Result<(), DeviceFault> {
        let mut world = self.0.at(now);
        if lasts(world.faults.arm_silent, world.now) {
            return Err(fault("simulated arm", "it does not answer"));
        }
        world.arm.command(now, sent).map_err(|what| fault("simulated arm", what))
    }
}

impl Instrument for InstrumentHandle {
    fn state(&mut self, now: Instant) -> Result<InstrumentState, DeviceFault> {
        let world = self.0.at(now);
        Ok(InstrumentState { energy: world.console, captured: world.now })
    }

    fn energise(&mut self, now: Instant, energy: Energy) -> Result<(), DeviceFault> {
        self.0.at(now).console = energy;
        Ok(())
    }
}

impl Tracker for TrackerHandle {
    fn poll(&mut self, now: Instant) -> Result<Option<TipPose>, DeviceFault> {
        Ok(self.0.at(now).tracker.poll(now))
    }
    fn reference(&mut self, now: Instant) -> Result<Option<ReferencePose>, DeviceFault> {
        Ok(self.0.at(now).tracker.reference())
    }
}

impl EnablingInput for PedalHandle {
    fn poll(&mut self, now: Instant) -> Result<Consent, DeviceFault> {
        let world = self.0.at(now);
        let up = lasts(world.faults.pedal_up, world.now);
        Ok(Consent { channels: world.pedal.map(|down| down && !up), captured: now })
    }
}

impl Scanner for ScannerHandle {
    /// T1c and FLAIR of the head as it is now.
    fn scan(&mut self, now: Instant) -> Result<Vec<Volume>, DeviceFault> {
        {
            let world = self.0.at(now);
            if lasts(world.faults.scanner_absent, world.now) {
                return Err(fault("simulated scanner", "it is not in the theatre"));
            }
            if world.inside() {
                return Err(fault("simulated scanner", "the instrument is in the head; retract it before a scan"));
            }
        }
        Ok(self.0.scans_now())
    }
}

impl SharedWorld {
    /// T1c and FLAIR of the head as it is now, wherever the instrument is: for comparisons that ask what a scan would have shown.
    #[must_use]
    pub fn scans_now(&self) -> Vec<Volume> {
        let (patient, open, field, now) = {
            let world = self.lock();
            let open: Vec<bool> = world.resection.state.iter().map(|s| *s > 0).collect();
            (world.patient.clone(), open, Arc::clone(world.shift.shared()), world.now)
        };
        [Modality::T1c, Modality::Flair].map(|m| patient.scan_moved(m, now, Some(&open), Some(&field))).into()
    }
}
