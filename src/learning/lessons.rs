//! Lessons for perception's training: sequences of removals, each learnt from a few times.
//!
//! A theatre costs more than a step, so that sequences are kept, and as many new ones taken as each is learnt from `uses` times; the
//! oldest goes. The first step waits until a quarter of the room is taken. Steps learn either from removals or from scans alone, which are of one frame. **Determinism:** the order follows from the stream and the
//! seed. **Allocation:** 10 MB a frame that is kept.

use super::stream::Stream;
use super::{Sequence, draw};
use bregma_core::flow::{ROI_CHANNEL_COUNT, ROI_EDGE, ROI_VOXELS};
use bregma_perception::perceive::inputs::INPUTS;
use bregma_perception::train::{Lesson, Lessons};
use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;

/// Sequences that are kept, and lent out.
pub struct Kept {
    stream: Stream,
    seed: u64,
    /// Frames that are kept, at most.
    room: usize,
    /// Each is learnt from about so often.
    uses: f64,
    /// Share of the steps that learn from scans alone.
    scans: f64,
    removals: Shelf,
    alone: Shelf,
    asked: u64,
    /// Frames that were lent out, over `uses`, less those that were made.
    owed: f64,
}

/// Lessons of one length.
#[derive(Default)]
struct Shelf(VecDeque<Arc<Lesson>>);

impl Shelf {
    fn frames(&self) -> usize {
        self.0.iter().map(|lesson| lesson.frames).sum()
    }
}

impl Kept {
    /// From a stream; `room` and `uses` count frames.
    #[must_use]
    pub fn new(stream: Stream, seed: u64, room: usize, uses: f64, scans: f64) -> Self {
        let (removals, alone) = (Shelf::default(), Shelf::default());
        Self { stream, seed, room, uses, scans, removals, alone, asked: 0, owed: 0.0 }
    }

    fn take_new(&mut self) -> anyhow::Result<()> {
        let new = lesson(self.stream.next()?);
        self.owed -= new.frames as f64;
        let shelf = if new.frames > 1 { &mut self.removals } else { &mut self.alone };
        shelf.0.push_back(Arc::new(new));
        while shelf.frames() > self.room {
            shelf.0.pop_front();
        }
        Ok(())
    }
}

impl Lessons for Kept {
    fn next(&mut self, frames: usize) -> Result<Vec<Arc<Lesson>>, Box<dyn Error + Send + Sync>> {
        self.owed += frames as f64 / self.uses;
        self.asked += 1;
        let of_scans = draw(self.seed, "of scans", self.asked, 0) < self.scans;
        let lying = |kept: &Self| if of_scans { kept.alone.0.len() } else { kept.removals.0.len() };
        // The first steps choose among several too.
        let few = |kept: &Self| kept.removals.frames() < kept.room / 4;
        while self.owed > 0.0 || lying(self) == 0 || few(self) {
            self.take_new()?;
        }
        let shelf = if of_scans { &self.alone } else { &self.removals };
        let count = (frames / shelf.0[0].frames.max(1)).max(1) as u64;
        let drawn = |nth| {
            let at = draw(self.seed, "lesson", self.asked, nth) * shelf.0.len() as f64;
            Arc::clone(&shelf.0[(at as usize).min(shelf.0.len() - 1)])
        };
        Ok((0..count).map(drawn).collect())
    }
}

/// What a training learns from a sequence.
#[must_use]
pub fn lesson(sequence: Sequence) -> Lesson {
    let Sequence { frames, channels, prior, residual, tumour_margin, .. } = sequence;
    let mut inputs = Vec::with_capacity(frames * INPUTS * ROI_VOXELS);
    for frame in channels.chunks_exact(ROI_CHANNEL_COUNT * ROI_VOXELS) {
        inputs.extend_from_slice(frame);
        inputs.extend_from_slice(&prior);
    }
    Lesson { frames, edge: ROI_EDGE, channels: inputs, residual, margin: tumour_margin }
}
