//! What a sequence lacks: scans that were never made, a video that is lost.
//!
//! A channel whose source is missing holds what align writes in that case, by the channels' contract: 0 for a
//! scan, and for the video fluorescence and redness 0 and an age of 1, never seen. Align itself makes no frame without a
//! T1c or a picture; learning may, so that an estimator does not stand on one source alone.

use super::draw;
use bregma_core::flow::roi_channel::{FLAIR, FLUORESCENCE, REDNESS, SEEN_AGE, T1, T1C, T2};
use bregma_core::flow::{ROI_CHANNEL_COUNT, ROI_VOXELS};

/// How often what is missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of sequences without T1c.
    pub t1c: f64,
    /// Share without FLAIR.
    pub flair: f64,
    /// Share without T1.
    pub t1: f64,
    /// Share without T2.
    pub t2: f64,
    /// Share without video.
    pub video: f64,
}

impl Default for Dropout {
    fn default() -> Self {
        Self { t1c: 0.05, flair: 0.2, t1: 0.3, t2: 0.3, video: 0.15 }
    }
}

/// What is missing in one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// No T1c.
    pub t1c: bool,
    /// No FLAIR.
    pub flair: bool,
    /// No T1.
    pub t1: bool,
    /// No T2.
    pub t2: bool,
    /// No video.
    pub video: bool,
}

const _: () = assert!(ROI_CHANNEL_COUNT == 9, "another channel may lack its source, too");

impl Dropout {
    /// What is missing in a sequence of a visit.
    pub(super) fn drawn(&self, seed: u64, visit: u64, nth: u64) -> Missing {
        let missing = |what, share| draw(seed, what, visit, nth) < share;
        Missing {
            t1c: missing("no t1c", self.t1c),
            flair: missing("no flair", self.flair),
            t1: missing("no t1", self.t1),
            t2: missing("no t2", self.t2),
            video: missing("no video", self.video),
        }
    }
}

impl Missing {
    /// Takes it out of one frame's channels, `[C, 64, 64, 64]`.
    pub fn take_from(self, channels: &mut [f32]) {
        let mut fill = |channel: usize, value| channels[channel * ROI_VOXELS..][..ROI_VOXELS].fill(value);
        if self.t1c {
            fill(T1C, 0.0);
        }
        if self.flair {
            fill(FLAIR, 0.0);
        }
        if self.t1 {
            fill(T1, 0.0);
        }
        if self.t2 {
            fill(T2, 0.0);
        }
        if self.video {
            fill(FLUORESCENCE, 0.0);
            fill(REDNESS, 0.0);
            fill(SEEN_AGE, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::ROI_CHANNELS;

    #[test]
    fn what_stands_where_nothing_is_is_the_contracts() {
        assert!(
            ROI_CHANNELS[FLAIR].contains("0 where there is none")
                && ROI_CHANNELS[SEEN_AGE].contains("1 where never seen")
        );
    }

    #[test]
    fn what_is_missing_goes_and_the_cavity_stays() {
        let mut channels = vec![0.5_f32; ROI_CHANNEL_COUNT * ROI_VOXELS];
        Missing { t1c: false, flair: true, t1: false, t2: true, video: true }.take_from(&mut channels);
        let first: Vec<f32> = (0..ROI_CHANNEL_COUNT).map(|c| channels[c * ROI_VOXELS + 9]).collect();
        assert_eq!(first, [0.5, 0.0, 0.5, 0.0, 1.0, 0.5, 0.0, 0.0, 0.5]);
    }

    #[test]
    fn as_often_as_it_is_told() {
        let dropout = Dropout { t1c: 0.0, flair: 0.3, t1: 0.0, t2: 0.0, video: 1.0 };
        let drawn: Vec<Missing> = (0..1000).map(|n| dropout.drawn(3, n / 8, n % 8)).collect();
        let share = drawn.iter().filter(|m| m.flair).count();
        assert!((250..350).contains(&share), "{share}");
        assert!(drawn.iter().all(|m| !m.t1c && m.video));
    }
}
