//! Data for learning: what align sees of a simulated removal, with the truth beside it.
//!
//! ```text
//! cached patient ─► theatre, a hand that removes ─► camera, tracker, console ─► align ─► dropout ─► Sequence
//!                          └───────────── ground truth, where tissue is now ────────────────────────┘
//! ```
//! A [`visit::Visit`] is one removal in the home world with its shift, cut into sequences of `frames` frames
//! each, behind some frames of her scans alone; [`stream::Stream`] plays visits on all cores and hands their sequences out in order. **Nothing here
//! can be set to the foreign world**: what is learnt never saw it. **Determinism:** a sequence follows from
//! [`Settings`], the patients and its number; threads change nothing. **Units and frames:** mm, patient LPS,
//! tensors as `[.., D, H, W]`, x fastest, on the frame's grid of 64³ at 1.25 mm. **Allocation:** 39 MB a
//! sequence of 4; as many theatres as `abreast`. **Not modelled:** intraoperative scans, and a region that
//! moves.

pub mod calibration;
mod curves;
pub mod dropout;
pub mod lessons;
pub mod patients;
pub mod stream;
pub mod training;
pub mod visit;

use bregma_core::digest::Digester;
use bregma_core::flow::{ROI_CHANNEL_COUNT, ROI_VOXELS};
use dropout::{Dropout, Missing};

/// What sequences are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Of everything that is drawn here.
    pub seed: u64,
    /// Frames of a sequence, T.
    pub frames: usize,
    /// Sequences of one visit: more of them share the cost of setting the theatre up.
    pub sequences: usize,
    /// Frames of a visit's scans alone, anywhere in the head and before anything is opened; they come first, each a
    /// sequence of one frame.
    pub scans: usize,
    /// Theatres that are played in turn; part of the order, whatever the number of threads.
    pub abreast: usize,
    /// Shortest and longest simulated time between two frames, s; drawn log-uniformly for each sequence.
    pub gap_s: [f64; 2],
    /// Shortest and longest time from the opening of the dura to a visit, minutes.
    pub opened_minutes: [f64; 2],
    /// Share of visits under violet light; the others are under white.
    pub violet_share: f64,
    /// Picture of the simulated microscope, pixels. A fine voxel is six of these wide, not sixteen as live.
    pub picture_px: [usize; 2],
    /// Updates of the brain's shift a simulated second, where it moves.
    pub shift_hz: f64,
    /// Share of visits to a brain that lies still, which align does not follow; the others it follows.
    pub still_share: f64,
    /// Share of visits in which the hand removes what align believes to be core, as whoever follows a navigation does; in the others it knows the truth.
    pub astray_share: f64,
    /// How often what is missing.
    pub dropout: Dropout,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            frames: 4,
            sequences: 16,
            scans: 0,
            abreast: 2,
            gap_s: [0.25, 1.5],
            opened_minutes: [0.0, 120.0],
            violet_share: 0.85,
            picture_px: [256, 144],
            shift_hz: 0.5,
            still_share: 0.15,
            astray_share: 0.7,
            dropout: Dropout::default(),
        }
    }
}

impl Settings {
    /// # Errors
    /// The first setting outside its range, and what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        let inside = |name: &str, value: f64, low: f64, high: f64| {
            let right = (low..=high).contains(&value);
            anyhow::ensure!(right, "learning setting {name} is {value}; {low} to {high} is needed");
            Ok(())
        };
        inside("frames", self.frames as f64, 1.0, 64.0)?;
        inside("sequences", self.sequences as f64, 1.0, 1024.0)?;
        inside("scans", self.scans as f64, 0.0, 1024.0)?;
        inside("abreast", self.abreast as f64, 1.0, 256.0)?;
        inside("gap_s[0]", self.gap_s[0], 0.04, self.gap_s[1])?;
        inside("gap_s[1]", self.gap_s[1], self.gap_s[0], 30.0)?;
        inside("opened_minutes[0]", self.opened_minutes[0], 0.0, self.opened_minutes[1])?;
        inside("opened_minutes[1]", self.opened_minutes[1], self.opened_minutes[0], 600.0)?;
        inside("violet_share", self.violet_share, 0.0, 1.0)?;
        inside("shift_hz", self.shift_hz, 0.0, 50.0)?;
        inside("still_share", self.still_share, 0.0, 1.0)?;
        inside("astray_share", self.astray_share, 0.0, 1.0)?;
        let Dropout { t1c, flair, t1, t2, video } = self.dropout;
        [
            ("dropout.t1c", t1c),
            ("dropout.flair", flair),
            ("dropout.t1", t1),
            ("dropout.t2", t2),
            ("dropout.video", video),
        ]
        .into_iter()
        .try_for_each(|(name, share)| inside(name, share, 0.0, 1.0))
    }
}

/// T frames of one removal, in order, and what was true at each.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Which.
    pub number: u64,
    /// Of the patient.
    pub patient: u64,
    /// T.
    pub frames: usize,
    /// What was left out of the channels.
    pub missing: Missing,
    /// Share of the core that had been removed before its first frame.
    pub removed_share: f64,
    /// Simulated time of each frame, s, `[T]`.
    pub captured_s: Vec<f64>,
    /// As align gives them, `[T, C, 64, 64, 64]`; C as in [`bregma_core::flow::ROI_CHANNELS`].
    pub channels: Vec<f32>,
    /// Where the scans show core, as a network reads it (`perceive::inputs`), `[64, 64, 64]`; 0 throughout in scans alone.
    pub prior: Vec<f32>,
    /// What of the tumour has not been removed, by its number in BraTS, `[T, 64, 64, 64]`: 0 nothing, 1 necrosis, 2
    /// infiltrated, 4 enhancing.
    pub residual: Vec<u8>,
    /// 1 where tissue or fluid was opened or removed, `[T, 64, 64, 64]`.
    pub cavity: Vec<u8>,
    /// Signed distance to residual core, mm, positive outside, within ±10, `[T, 64, 64, 64]`.
    pub tumour_margin: Vec<f32>,
    /// How far tissue there has moved since the scan, mm: x, y, z, `[T, 3, 64, 64, 64]`.
    pub displacement: Vec<f32>,
}

impl Sequence {
    fn empty(number: u64, patient: u64, frames: usize, missing: Missing) -> Self {
        let room = frames * ROI_VOXELS;
        Self {
            number,
            patient,
            frames,
            missing,
            removed_share: 0.0,
            captured_s: Vec::with_capacity(frames),
            channels: Vec::with_capacity(room * ROI_CHANNEL_COUNT),
            prior: vec![0.0; ROI_VOXELS],
            residual: Vec::with_capacity(room),
            cavity: Vec::with_capacity(room),
            tumour_margin: Vec::with_capacity(room),
            displacement: Vec::with_capacity(room * 3),
        }
    }
}

/// A number in [0, 1) that follows from the seed, what it is for, and two counts.
fn draw(seed: u64, what: &str, visit: u64, nth: u64) -> f64 {
    let digest = Digester::new("bregma learning").u64(seed).text(what).u64(visit).u64(nth).finish();
    let bits = u64::from_le_bytes(std::array::from_fn(|i| digest.0[i]));
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
