//! Who brings scans and pictures onto the fine region: the processor ([`Sight`]), or a GPU.

use super::evidence::{Look, Seen, Sight};
use crate::bits::VoxelBits;
use crate::gpu::DeviceError;
use crate::scan::Scan;
use bregma_core::grid::Grid;
use std::fmt;

/// Assembles the fine region. Keeps nothing from call to call that an answer depends on, so that another can go on
/// where one fails.
pub trait Assembly: fmt::Debug + Send {
    /// Whether the device that it computes on has failed elsewhere: the processor goes on then, and no step is lost.
    fn lost(&self) -> bool {
        false
    }

    /// As [`Scan::resample`].
    ///
    /// # Errors
    /// When a device fails; `z` and `brain` then say nothing.
    fn resample(&mut self, scan: &Scan, grid: &Grid, z: &mut [f32], brain: &mut VoxelBits) -> Result<(), DeviceError>;

    /// As [`Sight::look`].
    ///
    /// # Errors
    /// When a device fails; `seen` was not called then.
    fn look(&mut self, look: &Look<'_>, seen: &mut dyn FnMut(usize, Seen)) -> Result<(), DeviceError>;
}

impl Assembly for Sight {
    fn resample(&mut self, scan: &Scan, grid: &Grid, z: &mut [f32], brain: &mut VoxelBits) -> Result<(), DeviceError> {
        scan.resample(grid, z, brain);
        Ok(())
    }

    fn look(&mut self, look: &Look<'_>, seen: &mut dyn FnMut(usize, Seen)) -> Result<(), DeviceError> {
        Self::look(self, look, seen);
        Ok(())
    }
}
