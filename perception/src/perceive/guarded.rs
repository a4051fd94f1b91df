//! A network that is believed only on what is like what it learnt from; elsewhere the classical estimator is.
//!
//! ```text
//!  a new scan or region ─► Features ─► Likeness ─┬► like:   the network's estimate
//!                                                └► unlike: the classical estimator's, and why
//! ```
//! The classical estimator works on every frame all the same: margins follow from what both say, and its memory of what was seen is whole when it
//! has to stand in. Who
//! estimates is decided anew with each epoch, and said when it changes; the scene names it by digest.
//! **Allocation:** in `new`, and of words where something changes.

use super::classical::Classical;
use super::likeness::{Likeness, Looking};
use super::margin::{Beside, Rule};
use super::{Estimator, View};
use crate::engine::EngineError;
use bregma_core::digest::{Digest, Digester};
use bregma_core::flow::ROI_VOXELS;

/// A network, and who stands in for it.
pub struct Guarded {
    network: Box<dyn Estimator>,
    rule: Rule,
    classical: Classical,
    /// What it says of the frame.
    said: Vec<u8>,
    likeness: Likeness,
    looking: Looking,
    epoch: Option<u64>,
    unlike: bool,
    notice: Option<String>,
}

impl Guarded {
    /// This network where a region is like what it learnt from; margins by a rule that was fitted to it.
    #[must_use]
    pub fn new(network: Box<dyn Estimator>, rule: Rule, likeness: Likeness, classical: Classical) -> Self {
        let (looking, said) = (Looking::default(), vec![0; ROI_VOXELS]);
        Self { network, rule, classical, said, likeness, looking, epoch: None, unlike: false, notice: None }
    }

    fn look(&mut self, view: &View<'_>) {
        // Next to no head in the region: nothing is known of it, and nothing is believed.
        let features = self.looking.at(&view.frame.channels);
        let why = features.map_or(Some("the region shows next to no head".to_owned()), |features| {
            self.likeness.unlike(&features).map(|unlike| unlike.to_string())
        });
        match &why {
            Some(why) => {
                self.notice = Some(format!(
                    "the scans are unlike those that the network learnt from: {why}. The classical estimator stands in"
                ));
            }
            None if self.unlike => {
                self.notice = Some("the scans are like those that the network learnt from; it goes on".to_owned());
            }
            None => {}
        }
        self.unlike = why.is_some();
    }
}

impl Estimator for Guarded {
    fn digest(&self) -> Digest {
        if self.unlike {
            return self.classical.digest();
        }
        let mut digester = Digester::new("bregma guarded 2");
        digester.digest(&self.network.digest()).digest(&self.classical.digest());
        self.rule.digest_into(&mut digester);
        digester.finish()
    }

    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
        if self.epoch != Some(view.frame.epoch) {
            self.epoch = Some(view.frame.epoch);
            self.look(view);
        }
        self.classical.estimate(view, &mut self.said)?;
        if self.unlike {
            residual.copy_from_slice(&self.said);
            return Ok(());
        }
        self.network.estimate(view, residual)
    }

    fn lost(&self) -> bool {
        self.network.lost()
    }

    fn beside(&self) -> Option<Beside<'_>> {
        (!self.unlike).then_some(Beside { rule: &self.rule, classical: &self.said })
    }

    fn notice(&mut self) -> Option<String> {
        self.notice.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::VoxelBits;
    use bregma_core::flow::RoiFrame;

    struct Says(u8);

    impl Estimator for Says {
        fn digest(&self) -> Digest {
            Digester::new("says").finish()
        }

        fn estimate(&mut self, _: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError> {
            residual.fill(self.0);
            Ok(())
        }
    }

    fn frame(epoch: u64, contrast: f32) -> RoiFrame {
        let mut frame = RoiFrame::empty();
        frame.epoch = epoch;
        let wave = |i: usize| contrast * libm::sinf(0.37 * (i % 64) as f32 + 0.011 * i as f32);
        frame.channels[..ROI_VOXELS].iter_mut().enumerate().for_each(|(i, v)| *v = wave(i));
        frame
    }

    #[test]
    fn the_classical_estimator_stands_in_where_scans_are_unlike_and_it_is_said_once() {
        let mut likeness = Likeness::default();
        for contrast in [0.9, 1.0, 1.1] {
            likeness.add(&Looking::default().at(&frame(1, contrast).channels).expect("a head"));
        }
        let rule = Rule::new(33, 1.0, 0.0, [0.0; super::super::margin::WEIGHTS]);
        let classical = || Classical::new(super::super::classical::Settings::default());
        let mut guarded = Guarded::new(Box::new(Says(201)), rule, likeness, classical());
        let mut estimated = |frame: &RoiFrame| {
            let none = VoxelBits::new();
            let mut residual = vec![7; ROI_VOXELS];
            let view = View { frame, cavity: &none, wall: &none, brain: &none };
            guarded.estimate(&view, &mut residual).expect("they do not fail");
            assert_eq!(
                guarded.beside().is_some(),
                residual[99] == 201,
                "margins follow from both where it is believed"
            );
            (residual[99], guarded.digest(), guarded.notice())
        };
        let (said, network, notice) = estimated(&frame(1, 1.05));
        assert!(said == 201 && network != classical().digest() && notice.is_none());
        let (said, by, notice) = estimated(&frame(2, 4.0));
        assert!(said != 201 && by == classical().digest());
        let notice = notice.expect("it is said");
        assert!(
            notice.contains("percentile of T1c") && notice.ends_with("The classical estimator stands in"),
            "{notice}"
        );
        assert_eq!(estimated(&frame(2, 4.0)).2, None, "once");
        let (said, by, notice) = estimated(&frame(3, 1.0));
        assert!(said == 201 && by == network && notice.is_some_and(|n| n.ends_with("it goes on")));
        let nothing = RoiFrame { epoch: 4, ..RoiFrame::empty() };
        assert!(estimated(&nothing).2.is_some_and(|n| n.contains("next to no head")));
    }
}
