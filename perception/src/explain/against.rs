//! An estimator whose scans are moved against it: how little it takes to mislead a network.
//!
//! Every scan of a frame is moved by the sign of a gradient (I. J. Goodfellow et al., ICLR 2015), by a share of the scan's own range: that
//! between its 1st and 99th percentile in the brain. The gradient is that of the cross-entropy with what the network itself says of residual core, so that
//! no truth is needed. What is not a scan (cavity, evidence, ages) stays, and the prior is made anew of the moved scans. Each frame is its first: nothing is
//! remembered. **For evaluation alone:** seconds and hundreds of megabytes a frame.

use crate::engine::EngineError;
use crate::model::{Model, ModelFault};
use crate::network::Network;
use crate::network::api::{Autodiff, Flex, tensor, values};
use crate::perceive::inputs::{INPUTS, Inputs};
use crate::perceive::margin::Beside;
use crate::perceive::network::OUTPUTS;
use crate::perceive::prior::PriorSettings;
use crate::perceive::{Estimator, View};
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::roi_channel::SCANS;
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS, RoiFrame};

type B = Autodiff<Flex>;

/// An estimator, and who works against it.
pub struct Attacked {
    of: Box<dyn Estimator>,
    network: Network<B>,
    inputs: Inputs,
    share: f32,
    moved: RoiFrame,
    frames: u64,
}

impl Attacked {
    /// `of` is the live form of `model`; scans are moved by `share` of their range.
    ///
    /// # Errors
    /// A model that is none.
    pub fn new(of: Box<dyn Estimator>, model: &Model, share: f32) -> Result<Self, ModelFault> {
        let network = Network::from_model(model, &Default::default())?;
        let inputs = Inputs::new(PriorSettings::default());
        Ok(Self { of, network, inputs, share, moved: RoiFrame::empty(), frames: 0 })
    }

    /// Moves the scans of the frame.
    fn work_against(&mut self, view: &View<'_>) {
        let channels = self.inputs.of(view.frame, view.brain);
        let dims = |channels| [1, channels, ROI_EDGE, ROI_EDGE, ROI_EDGE];
        let device = Default::default();
        let asked = tensor::<B, 5>(channels.to_vec(), dims(INPUTS), &device).require_grad();
        let (logits, _) = self.network.forward(asked.clone(), None);
        let mut slope = vec![0.0; OUTPUTS * ROI_VOXELS];
        for (slope, logit) in slope.iter_mut().zip(&values(logits.clone())).take(ROI_VOXELS) {
            let p = 1.0 / (1.0 + libm::expf(-logit));
            *slope = if *logit >= 0.0 { p - 1.0 } else { p };
        }
        let gradients = (logits * tensor(slope, dims(OUTPUTS), &device)).sum().backward();
        let Some(towards) = asked.grad(&gradients).map(values) else { return };
        for channel in SCANS {
            let part = channel * ROI_VOXELS..(channel + 1) * ROI_VOXELS;
            let scan = &mut self.moved.channels[part.clone()];
            if scan.iter().all(|v| *v == 0.0) {
                continue;
            }
            let by = self.share * range(view.brain.iter().map(|i| scan[i]).collect());
            scan.iter_mut().zip(&towards[part]).for_each(|(v, g)| *v += if *g == 0.0 { 0.0 } else { by.copysign(*g) });
        }
    }
}

/// From the 1st to the 99th percentile.
fn range(mut values: Vec<f32>) -> f32 {
    values.sort_by(f32::total_cmp);
    let at = |share: f64| values.get((share * values.len().saturating_sub(1) as f64) as usize).copied().unwrap_or(0.0);
    at(0.99) - at(0.01)
}

impl Estimator for Attacked {
    fn digest(&self) -> Digest {
        let mut digester = Digester::new("bregma attacked 1");
        digester.digest(&self.of.digest()).f64(f64::from(self.share));
        digester.finish()
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        self.moved.clone_from(view.frame);
        self.work_against(view);
        self.frames += 1;
        self.moved.epoch = self.frames;
        self.of.estimate(&View { frame: &self.moved, ..*view }, residual)
    }

    fn beside(&self) -> Option<Beside<'_>> {
        self.of.beside()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::VoxelBits;
    use crate::perceive::network::untrained;

    /// Shows what it is shown.
    struct Mirror;

    impl Estimator for Mirror {
        fn digest(&self) -> Digest {
            Digest::default()
        }

        fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
            for (i, residual) in residual.iter_mut().enumerate() {
                let moved = SCANS.map(|c| view.frame.channels[c * ROI_VOXELS + i]);
                // T1c was 1 and FLAIR 2; the others are missing.
                let by = [moved[0] - 1.0, moved[1] - 2.0].map(|by| (by.abs() * 1e3).round() as u8);
                let rest = moved[2] != 0.0 || moved[3] != 0.0 || view.frame.channels[4 * ROI_VOXELS + i] != 0.5;
                *residual = if rest { 255 } else { by[0].max(by[1]) };
            }
            Ok(())
        }
    }

    #[test]
    fn scans_are_moved_by_a_share_of_their_range_and_nothing_else_is() {
        let mut frame = RoiFrame::empty();
        frame.channels[..ROI_VOXELS].fill(1.0);
        frame.channels[SCANS[1] * ROI_VOXELS..][..ROI_VOXELS].fill(2.0);
        frame.channels[4 * ROI_VOXELS..][..ROI_VOXELS].fill(0.5);
        let (mut brain, none) = (VoxelBits::new(), VoxelBits::new());
        (0..1000).for_each(|i| {
            brain.put(i);
        });
        // A fiftieth of the voxels of brain is brighter in T1c, by 2, so that the range of that is 2, and that of FLAIR is nothing.
        (0..20).for_each(|i| frame.channels[i] = 3.0);
        let mut attacked = Attacked::new(Box::new(Mirror), &untrained(1), 0.03).expect("a model");
        let mut residual = vec![0; ROI_VOXELS];
        let view = View { frame: &frame, cavity: &none, wall: &none, brain: &brain };
        attacked.estimate(&view, &mut residual).expect("it sees");
        let moved = residual[20..].iter().filter(|by| **by == 60).count();
        assert!(moved > ROI_VOXELS / 2, "{moved} voxels moved by 0.06");
        assert!(residual[20..].iter().all(|by| *by == 60 || *by == 0), "by nothing else");
        assert!(attacked.digest() != Mirror.digest());
    }
}
