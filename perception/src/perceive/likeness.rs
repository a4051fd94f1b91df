//! Whether a region's scans are like those that a network learnt from.
//!
//! [`Features`] are what a person would look at first, of each contrast: how its brightness is spread, how rough it is, and how it goes
//! with the others. [`Likeness`] holds the range of each over the training's lessons, widened; a scan with a feature outside is unlike,
//! and the feature, its value and its range say why. Wrong contrasts, labels, clipped or blank scans, a volume that lies mirrored on the
//! others and heavy noise are found like that; a wrong scan that has the statistics of a right one is not.
//! **Units:** z-scores as align gives them. **Allocation:** none after `new` but words, where something is unlike.

use bregma_core::flow::roi_channel::SCANS;
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS};
use std::collections::BTreeMap;
use std::fmt;

/// Percentiles that are looked at.
const PERCENTILES: [usize; 5] = [5, 25, 50, 75, 95];
/// Names of contrasts, in the order of their channels.
const CONTRASTS: [&str; 4] = ["T1c", "FLAIR", "T1", "T2"];
/// Features of one contrast: percentiles, and how rough it is.
const OF_ONE: usize = PERCENTILES.len() + 1;
/// Pairs of contrasts.
const PAIRS: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
/// All features.
const ALL: usize = 4 * OF_ONE + PAIRS.len();
/// Bins of the histogram that percentiles come from, and what it spans, in z-scores.
const BINS: usize = 1024;
const SPAN: [f32; 2] = [-8.0, 24.0];
/// Brighter than the darkest by that share of the way to the 98th percentile is head, as in `scan`.
const HEAD_SHARE: f32 = 0.05;
/// A region with less of the head says nothing.
const VOXELS_MIN: usize = 4096;
/// A range is widened by that share of itself on either side.
const WIDENED: f32 = 0.25;
/// How the names of ranges begin in a model's file.
const PREFIX: &str = "likeness.";

/// What a region's scans look like; `NaN` where a contrast is missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features([f32; ALL]);

/// Looks at regions.
#[derive(Debug, Clone)]
pub struct Looking {
    bins: Vec<u32>,
    head: Vec<bool>,
}

impl Default for Looking {
    fn default() -> Self {
        Self { bins: vec![0; BINS], head: vec![false; ROI_VOXELS] }
    }
}

impl Looking {
    /// The features of a frame's channels, `[C, 64, 64, 64]`; none where there is next to no head in it.
    ///
    /// # Panics
    /// With fewer channels.
    pub fn at(&mut self, channels: &[f32]) -> Option<Features> {
        let scans = SCANS.map(|c| &channels[c * ROI_VOXELS..][..ROI_VOXELS]);
        let present = scans.map(|scan| scan.iter().any(|v| v.to_bits() != 0));
        self.head.fill(false);
        for (scan, _) in scans.iter().zip(present).filter(|(_, present)| *present) {
            let darkest = scan.iter().copied().fold(f32::INFINITY, f32::min);
            let bright = self.percentiles(scan, |_| true, [98])[0];
            let from = darkest + HEAD_SHARE * (bright - darkest);
            self.head.iter_mut().zip(*scan).for_each(|(head, v)| *head |= *v > from);
        }
        if self.head.iter().filter(|head| **head).count() < VOXELS_MIN {
            return None;
        }
        let mut features = [f32::NAN; ALL];
        for (nth, scan) in scans.into_iter().enumerate().filter(|(nth, _)| present[*nth]) {
            let head = std::mem::take(&mut self.head);
            let percentiles = self.percentiles(scan, |i| head[i], PERCENTILES);
            self.head = head;
            let of = &mut features[nth * OF_ONE..][..OF_ONE];
            of[..PERCENTILES.len()].copy_from_slice(&percentiles);
            of[PERCENTILES.len()] = self.roughness(scan) / (percentiles[3] - percentiles[1]).max(1e-3);
        }
        for (nth, (a, b)) in PAIRS.into_iter().enumerate().filter(|(_, (a, b))| present[*a] && present[*b]) {
            features[4 * OF_ONE + nth] = self.correlation(scans[a], scans[b]);
        }
        Some(Features(features))
    }

    fn percentiles<const N: usize>(&mut self, scan: &[f32], of: impl Fn(usize) -> bool, at: [usize; N]) -> [f32; N] {
        self.bins.fill(0);
        let [low, high] = SPAN;
        let width = (high - low) / BINS as f32;
        let mut count = 0_u64;
        for (_, v) in scan.iter().enumerate().filter(|(i, _)| of(*i)) {
            self.bins[(((v - low) / width).max(0.0) as usize).min(BINS - 1)] += 1;
            count += 1;
        }
        at.map(|percent| {
            let (wanted, mut seen) = ((count * percent as u64).div_ceil(100), 0_u64);
            let reached = |n: &u32| {
                seen += u64::from(*n);
                seen >= wanted
            };
            low + width * (self.bins.iter().position(reached).unwrap_or(BINS - 1) as f32 + 0.5)
        })
    }

    /// Mean step between neighbours along the three axes.
    fn roughness(&self, scan: &[f32]) -> f32 {
        let (mut sum, mut n) = (0.0_f64, 0_u64);
        for step in [1, ROI_EDGE, ROI_EDGE * ROI_EDGE] {
            for i in (0..ROI_VOXELS - step).filter(|i| self.head[*i] && self.head[*i + step]) {
                sum += f64::from((scan[i + step] - scan[i]).abs());
                n += 1;
            }
        }
        (sum / n.max(1) as f64) as f32
    }

    fn correlation(&self, a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0_f64; 6];
        for (x, y) in a.iter().zip(b).zip(&self.head).filter(|(_, head)| **head).map(|(pair, _)| pair) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            let parts = [1.0, x, y, x * x, y * y, x * y];
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        let [n, x, y, xx, yy, xy] = sums;
        let (across, own) = (n * xy - x * y, (n * xx - x * x) * (n * yy - y * y));
        (across / own.max(1e-9).sqrt()) as f32
    }
}

/// The range of each feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Likeness([[f32; 2]; ALL]);

/// A feature that lies outside its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unlike {
    feature: usize,
    value: f32,
    range: [f32; 2],
}

impl Default for Likeness {
    /// Of nothing yet: everything is unlike it.
    fn default() -> Self {
        Self([[f32::INFINITY, f32::NEG_INFINITY]; ALL])
    }
}

impl Likeness {
    /// Takes what a network learnt from into account.
    pub fn add(&mut self, features: &Features) {
        for ([low, high], value) in self.0.iter_mut().zip(features.0).filter(|(_, v)| v.is_finite()) {
            (*low, *high) = (low.min(value), high.max(value));
        }
    }

    /// The feature that is farthest outside its widened range, if one is.
    #[must_use]
    pub fn unlike(&self, features: &Features) -> Option<Unlike> {
        let off = |[low, high]: [f32; 2], value: f32| {
            let room = WIDENED * (high - low);
            // A missing contrast is no feature; a range of nothing holds nothing.
            let (below, above) = (low - room - value, value - high - room);
            if value.is_nan() { f32::NEG_INFINITY } else { below.max(above) / (high - low).max(1e-3) }
        };
        let each = self.0.iter().zip(features.0).enumerate();
        let (feature, (range, value)) =
            each.max_by(|(_, (a, x)), (_, (b, y))| off(**a, *x).total_cmp(&off(**b, *y)))?;
        let [low, high] = *range;
        let room = WIDENED * (high - low);
        (off(*range, value) > 0.0).then_some(Unlike { feature, value, range: [low - room, high + room] })
    }

    /// As ranges of a model's file, by name.
    #[must_use]
    pub fn ranges(&self) -> BTreeMap<String, [f32; 2]> {
        let known = self.0.iter().enumerate().filter(|(_, [low, high])| low <= high);
        known.map(|(nth, range)| (format!("{PREFIX}{nth:02}"), *range)).collect()
    }

    /// Out of a model's file; none where the file says nothing of it.
    #[must_use]
    pub fn of(ranges: &BTreeMap<String, [f32; 2]>) -> Option<Self> {
        let mut likeness = Self::default();
        let mut any = false;
        for (nth, range) in likeness.0.iter_mut().enumerate() {
            if let Some(found) = ranges.get(&format!("{PREFIX}{nth:02}")) {
                *range = *found;
                any = true;
            }
        }
        any.then_some(likeness)
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feature, value, range: [low, high] } = *self;
        let of_one = 4 * OF_ONE;
        if feature < of_one {
            let contrast = CONTRASTS[feature / OF_ONE];
            match PERCENTILES.get(feature % OF_ONE) {
                Some(percent) => write!(f, "the {percent}th percentile of {contrast} is {value:.2}")?,
                None => write!(f, "the roughness of {contrast} is {value:.2}")?,
            }
        } else {
            let (a, b) = PAIRS[feature - of_one];
            write!(f, "the correlation of {} with {} is {value:.2}", CONTRASTS[a], CONTRASTS[b])?;
        }
        if low <= high {
            write!(f, "; what was learnt from has {low:.2} to {high:.2}")
        } else {
            write!(f, "; nothing of the kind was learnt from")
        }
    }
}

/// Whether a range of a model's file is of this.
#[must_use]
pub fn is_one(name: &str) -> bool {
    name.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::ROI_CHANNEL_COUNT;

    /// A head of four contrasts, another for each number.
    fn head(number: u64) -> Vec<f32> {
        let mut channels = vec![0.0; ROI_CHANNEL_COUNT * ROI_VOXELS];
        let phase = number as f32;
        for i in 0..ROI_VOXELS {
            let at = [i % ROI_EDGE, i / ROI_EDGE % ROI_EDGE, i / (ROI_EDGE * ROI_EDGE)].map(|v| v as f32 - 31.5);
            let radius = at.iter().map(|v| v * v).sum::<f32>().sqrt();
            let fold = (0.3 * at[0] + phase).sin() * (0.23 * at[1] - phase).cos() * (0.17 * at[2]).sin();
            let grain = ((i * 7919 + number as usize * 131) % 101) as f32 / 101.0 - 0.5;
            let shades = [fold, -0.8 * fold, 0.9 * fold, -fold];
            for (channel, shade) in SCANS.into_iter().zip(shades) {
                channels[channel * ROI_VOXELS + i] = if radius < 29.0 { shade + 0.2 * grain } else { -3.0 };
            }
        }
        channels
    }

    fn learnt() -> (Likeness, Looking) {
        let (mut likeness, mut looking) = (Likeness::default(), Looking::default());
        for number in 0..6 {
            likeness.add(&looking.at(&head(number)).expect("a head"));
        }
        (likeness, looking)
    }

    fn said(channels: &[f32]) -> Option<String> {
        let (likeness, mut looking) = learnt();
        likeness.unlike(&looking.at(channels).expect("a head")).map(|unlike| unlike.to_string())
    }

    #[test]
    fn a_head_of_the_same_kind_is_alike_with_any_contrast_missing() {
        assert_eq!(said(&head(77)), None);
        for channel in SCANS {
            let mut one_less = head(77);
            one_less[channel * ROI_VOXELS..][..ROI_VOXELS].fill(0.0);
            assert_eq!(said(&one_less), None);
        }
    }

    #[test]
    fn what_is_wrong_with_a_scan_is_said() {
        let changed = |change: &dyn Fn(&mut [f32])| {
            let mut channels = head(77);
            change(&mut channels[..ROI_VOXELS]);
            said(&channels).expect("it is unlike")
        };
        let labels = changed(&|t1c| t1c.iter_mut().for_each(|v| *v = if *v > 0.3 { 4.0 } else { 0.0 }));
        assert!(labels.contains("T1c"), "{labels}");
        let clipped = changed(&|t1c| t1c.iter_mut().for_each(|v| *v = v.min(-0.4)));
        assert!(clipped.contains("T1c"), "{clipped}");
        let wrong = changed(&|t1c| t1c.iter_mut().filter(|v| **v > -2.0).for_each(|v| *v = -*v));
        assert!(wrong.contains("correlation of T1c"), "{wrong}");
        let flipped = changed(&|t1c| t1c.chunks_exact_mut(ROI_EDGE * ROI_EDGE).for_each(|plane| plane.reverse()));
        assert!(flipped.contains("correlation of T1c"), "{flipped}");
        let noisy = changed(&|t1c| {
            let noise = |i: usize| ((i * 104_729) % 997) as f32 / 250.0 - 2.0;
            t1c.iter_mut().enumerate().for_each(|(i, v)| *v += noise(i));
        });
        assert!(noisy.contains("T1c"), "{noisy}");
    }

    #[test]
    fn next_to_no_head_says_nothing() {
        assert!(Looking::default().at(&vec![0.0; ROI_CHANNEL_COUNT * ROI_VOXELS]).is_none());
    }

    #[test]
    fn what_was_learnt_from_goes_through_a_models_file() {
        let (likeness, mut looking) = learnt();
        let back = Likeness::of(&likeness.ranges()).expect("it was written");
        assert_eq!(back, likeness);
        assert_eq!(Likeness::of(&BTreeMap::new()), None);
        // A contrast that was never learnt from is unlike.
        let ranges = likeness.ranges().into_iter().filter(|(name, _)| name.as_str() >= "likeness.06").collect();
        let without = Likeness::of(&ranges).expect("others are there");
        let unlike = without.unlike(&looking.at(&head(3)).expect("a head")).expect("T1c was never learnt");
        assert!(unlike.to_string().ends_with("nothing of the kind was learnt from"), "{unlike}");
    }
}
