//! What a network reads of a frame: the channels that align made, and behind them the *prior*, where the newest scan shows core.
//!
//! The prior is that of the classical estimator ([`super::prior`]) as log-odds over their limit, from -1 to 1, on the frame's grid; 0
//! throughout where there is no T1c, or nobody knows which of what enhances is meant, as in a tile of a whole scan. So a network begins with what can be had
//! without it, and learns what the scan does not show: what was taken out, what has moved, what the microscope saw, and where the prior
//! errs. **Shapes:** `[INPUTS, 64, 64, 64]`. **Allocation:** in `new`. **Order:** the prior once an epoch, as the classical estimator
//! does; what comes with the epoch's first frame stays.

use super::prior::{Prior, PriorSettings};
use crate::bits::VoxelBits;
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::roi_channel::{FLAIR, SCANS, T1C};
use bregma_core::flow::{ROI_CHANNEL_COUNT, ROI_VOXELS, RoiFrame, roi_channels_digest};
use bregma_core::grid::Grid;

/// Channels that a network reads.
pub const INPUTS: usize = ROI_CHANNEL_COUNT + 1;
/// Which of them is the prior.
pub const PRIOR: usize = ROI_CHANNEL_COUNT;
/// What stands there.
const PRIOR_WORDS: &str =
    "prior: log-odds of core by the newest T1c and FLAIR over their limit, in [-1, 1]; 0 where nothing is known";

/// Digest of what is read: a network that was trained on anything else is refused.
#[must_use]
pub fn inputs_digest() -> Digest {
    Digester::new("bregma network inputs 1").digest(&roi_channels_digest()).text(PRIOR_WORDS).finish()
}

/// Makes them of frames.
#[derive(Debug)]
pub struct Inputs {
    settings: PriorSettings,
    prior: Prior,
    epoch: Option<u64>,
    values: Vec<f32>,
}

impl Inputs {
    /// With the classical estimator's settings of the prior.
    #[must_use]
    pub fn new(settings: PriorSettings) -> Self {
        Self { settings, prior: Prior::new(), epoch: None, values: vec![0.0; INPUTS * ROI_VOXELS] }
    }

    /// Those of a frame, `[INPUTS, 64, 64, 64]`; `brain` is what its T1c shows to be brain.
    pub fn of(&mut self, frame: &RoiFrame, brain: &VoxelBits) -> &[f32] {
        let anew = self.epoch.replace(frame.epoch) != Some(frame.epoch);
        for channel in (0..ROI_CHANNEL_COUNT).filter(|c| anew || !SCANS.contains(c)) {
            self.values[channel * ROI_VOXELS..][..ROI_VOXELS].copy_from_slice(frame.channel(channel));
        }
        if anew {
            let Self { settings, prior, values, .. } = self;
            let to = &mut values[PRIOR * ROI_VOXELS..];
            shown(prior, settings, frame.channel(T1C), frame.channel(FLAIR), brain, &frame.grid, to);
        }
        &self.values
    }
}

/// The prior of two scans on a grid, `[64³]`. A scan that is 0 throughout is none.
pub fn shown(
    prior: &mut Prior,
    settings: &PriorSettings,
    t1c: &[f32],
    flair: &[f32],
    brain: &VoxelBits,
    grid: &Grid,
    to: &mut [f32],
) {
    let there = |scan: &[f32]| scan.iter().any(|v| v.to_bits() != 0);
    if !there(t1c) {
        to.fill(0.0);
        return;
    }
    prior.estimate(settings, t1c, there(flair).then_some(flair), brain, grid, to);
    let limit = settings.logit_max as f32;
    to.iter_mut().for_each(|v| *v /= limit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::ROI_EDGE;
    use bregma_core::flow::roi_channel::FLUORESCENCE;

    /// A bright ball in a brain.
    fn frame(epoch: u64) -> (RoiFrame, VoxelBits) {
        let mut frame = RoiFrame { epoch, ..RoiFrame::empty() };
        let mut brain = VoxelBits::new();
        for i in 0..ROI_VOXELS {
            let at = [i % ROI_EDGE, i / ROI_EDGE % ROI_EDGE, i / (ROI_EDGE * ROI_EDGE)].map(|v| v as f32 - 31.5);
            let radius = at.iter().map(|v| v * v).sum::<f32>().sqrt();
            frame.channels[T1C * ROI_VOXELS + i] = if radius < 8.0 { 4.0 } else { 0.1 * libm::sinf(i as f32) };
            brain.put(i);
        }
        (frame, brain)
    }

    #[test]
    fn the_prior_is_where_the_scan_shows_core_and_the_other_channels_are_the_frames() {
        let (mut frame, brain) = frame(1);
        let mut inputs = Inputs::new(PriorSettings::default());
        let first = inputs.of(&frame, &brain).to_vec();
        assert_eq!(first[..ROI_CHANNEL_COUNT * ROI_VOXELS], frame.channels);
        let middle = PRIOR * ROI_VOXELS + 32 + ROI_EDGE * (32 + ROI_EDGE * 32);
        assert!((first[middle] - 1.0).abs() < 1e-6 && (first[PRIOR * ROI_VOXELS] + 1.0).abs() < 1e-6);
        // Within an epoch scans stay, and with them the prior; evidence is the newest.
        frame.channels[..ROI_VOXELS].fill(0.0);
        frame.channels[FLUORESCENCE * ROI_VOXELS + 9] = 0.7;
        let next = inputs.of(&frame, &brain).to_vec();
        assert_eq!((next[middle], next[FLUORESCENCE * ROI_VOXELS + 9]), (first[middle], 0.7));
        assert_eq!(next[..ROI_VOXELS], first[..ROI_VOXELS]);
        // Without a T1c nothing is known.
        frame.epoch = 2;
        assert!(inputs.of(&frame, &brain)[PRIOR * ROI_VOXELS..].iter().all(|v| *v == 0.0));
    }
}
