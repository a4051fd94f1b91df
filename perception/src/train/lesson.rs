//! T frames of one removal with the truth beside them, and how a step cuts and turns them.

use super::OUTPUTS;
use crate::network::Random;
use crate::perceive::inputs::INPUTS;
use rayon::prelude::*;
use std::sync::Arc;

/// Cubes are cut around a voxel this near to the core's surface, mm; where there is none, anywhere.
const NEAR_MM: f32 = 5.0;
/// Share of the cubes that are cut anywhere all the same.
const ANYWHERE: f64 = 0.2;

/// What a training learns from.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// T.
    pub frames: usize,
    /// Voxels along an edge, E.
    pub edge: usize,
    /// What a network reads, `[T, INPUTS, E, E, E]`.
    pub channels: Vec<f32>,
    /// What of the tumour has not been removed, by its number in BraTS, `[T, E, E, E]`: 0 nothing, 1 necrosis, 2 infiltrated, 4
    /// enhancing.
    pub residual: Vec<u8>,
    /// Signed distance to residual core, mm, positive outside, within ±10, `[T, E, E, E]`.
    pub margin: Vec<f32>,
}

/// Where lessons come from.
pub trait Lessons {
    /// Those of the next step: lessons of one length that have so many frames together, or the nearest number below that.
    ///
    /// # Errors
    /// When there are none any more.
    fn next(&mut self, frames: usize) -> Result<Vec<Arc<Lesson>>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Why a lesson is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLesson {
    /// A part that has another size than frames and edge say.
    #[error("a lesson of {frames} frames of {edge} voxels' edge has {found} values in {part}; {expected} are right")]
    Size {
        /// T.
        frames: usize,
        /// E.
        edge: usize,
        /// Which.
        part: &'static str,
        /// Has so many.
        found: usize,
        /// Should have.
        expected: usize,
    },
    /// No frame, or frames of no voxel.
    #[error("a lesson without a voxel")]
    Empty,
    /// A label that BraTS does not have.
    #[error("a lesson has the label {0}; 0, 1, 2 and 4 are right")]
    Label(u8),
    /// Not a number, or infinite.
    #[error("a lesson has a value in {0} that is not finite")]
    NotFinite(&'static str),
    /// Lessons of one step that do not go together.
    #[error(
        "a step of {lessons} lessons that are not alike: {frames} frames the first, and others of another number or edge"
    )]
    Unlike {
        /// So many.
        lessons: usize,
        /// Of the first.
        frames: usize,
    },
}

impl Lesson {
    /// Voxels of a frame.
    pub(super) const fn voxels(&self) -> usize {
        self.edge.pow(3)
    }

    /// # Errors
    /// [`BadLesson`].
    pub fn check(&self) -> Result<(), BadLesson> {
        let (frames, edge) = (self.frames, self.edge);
        let all = frames * self.voxels();
        let size = |part, found, expected| {
            if found == expected { Ok(()) } else { Err(BadLesson::Size { frames, edge, part, found, expected }) }
        };
        size("residual", self.residual.len(), all)?;
        size("margin", self.margin.len(), all)?;
        size("channels", self.channels.len(), all * INPUTS)?;
        if all == 0 {
            return Err(BadLesson::Empty);
        }
        if let Some(label) = self.residual.iter().find(|l| !matches!(l, 0 | 1 | 2 | 4)) {
            return Err(BadLesson::Label(*label));
        }
        for (part, values) in [("channels", &self.channels), ("margin", &self.margin)] {
            if values.iter().any(|v| !v.is_finite()) {
                return Err(BadLesson::NotFinite(part));
            }
        }
        Ok(())
    }

    /// A cube out of all frames, mostly around a place of the core's surface.
    #[must_use]
    pub(super) fn cut(&self, edge: usize, random: &mut Random) -> Self {
        let (whole, most) = (self.edge, self.edge - edge.min(self.edge));
        let edge = edge.min(whole);
        let near: Vec<usize> = match random.share() < ANYWHERE {
            true => Vec::new(),
            false => (0..self.voxels()).filter(|i| self.margin[*i].abs() < NEAR_MM).collect(),
        };
        let mut from = [0, 1, 2].map(|_| random.below(most + 1));
        if !near.is_empty() {
            let around = near[random.below(near.len())];
            let at = [around % whole, around / whole % whole, around / (whole * whole)];
            // Anywhere in the cube but at its rim.
            from = at.map(|c| c.saturating_sub(edge / 4 + random.below(edge / 2)).min(most));
        }
        let row = |start: usize| start..start + edge;
        let rows = |frame: usize| {
            (0..edge * edge).map(move |n| {
                let (y, z) = (from[1] + n % edge, from[2] + n / edge);
                (frame * whole + z) * whole * whole + y * whole + from[0]
            })
        };
        let mut cut =
            Self { frames: self.frames, edge, channels: Vec::new(), residual: Vec::new(), margin: Vec::new() };
        let volumes = self.frames * INPUTS;
        cut.channels.reserve_exact(volumes * cut.voxels());
        (0..volumes).flat_map(rows).for_each(|start| cut.channels.extend_from_slice(&self.channels[row(start)]));
        for start in (0..self.frames).flat_map(rows) {
            cut.residual.extend_from_slice(&self.residual[row(start)]);
            cut.margin.extend_from_slice(&self.margin[row(start)]);
        }
        cut
    }

    /// One of the cube's 48 symmetries: nothing that is seen depends on which side it lies.
    #[must_use]
    pub(super) fn turned(self, random: &mut Random) -> Self {
        const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let order = ORDERS[random.below(6)];
        let flips = [0, 1, 2].map(|_| random.below(2) == 1);
        let edge = self.edge;
        let places: Vec<u32> = (0..self.voxels())
            .map(|i| {
                let at = [i % edge, i / edge % edge, i / (edge * edge)];
                let from: [usize; 3] = std::array::from_fn(|a| {
                    let c = at[order[a]];
                    if flips[a] { edge - 1 - c } else { c }
                });
                ((from[2] * edge + from[1]) * edge + from[0]) as u32
            })
            .collect();
        Self {
            channels: turned(&self.channels, &places),
            residual: turned(&self.residual, &places),
            margin: turned(&self.margin, &places),
            ..self
        }
    }
}

fn turned<T: Copy>(values: &[T], places: &[u32]) -> Vec<T> {
    let volumes = values.chunks_exact(places.len());
    volumes.flat_map(|volume| places.iter().map(|from| volume[*from as usize])).collect()
}

/// Several lessons as the network takes them: all of the first frame first.
#[derive(Debug)]
pub(super) struct Batch {
    /// `[T * N, C, E, E, E]`.
    pub channels: Vec<f32>,
    /// `[T * N, OUTPUTS, E, E, E]`, 0 or 1.
    pub truth: Vec<u8>,
    /// `[T * N, E, E, E]`, mm.
    pub margin: Vec<f32>,
    /// Voxels of a frame.
    pub voxels: usize,
}

/// # Errors
/// [`BadLesson::Unlike`].
pub(super) fn together(lessons: &[Lesson]) -> Result<Batch, BadLesson> {
    let Some(&Lesson { frames, edge, .. }) = lessons.first() else {
        return Err(BadLesson::Unlike { lessons: 0, frames: 0 });
    };
    if lessons.iter().any(|l| (l.frames, l.edge) != (frames, edge)) {
        return Err(BadLesson::Unlike { lessons: lessons.len(), frames });
    }
    let voxels = edge.pow(3);
    let volumes = frames * lessons.len();
    let mut batch = Batch {
        channels: vec![0.0; volumes * INPUTS * voxels],
        truth: vec![0; volumes * OUTPUTS * voxels],
        margin: vec![0.0; volumes * voxels],
        voxels,
    };
    let channels = batch.channels.par_chunks_exact_mut(INPUTS * voxels);
    let (truth, margin) =
        (batch.truth.par_chunks_exact_mut(OUTPUTS * voxels), batch.margin.par_chunks_exact_mut(voxels));
    channels.zip(truth).zip(margin).enumerate().for_each(|(volume, ((channels, truth), margin))| {
        let (frame, lesson) = (volume / lessons.len(), &lessons[volume % lessons.len()]);
        let part = |of: usize| frame * of * voxels..(frame + 1) * of * voxels;
        channels.copy_from_slice(&lesson.channels[part(INPUTS)]);
        margin.copy_from_slice(&lesson.margin[part(1)]);
        for (output, truth) in truth.chunks_exact_mut(voxels).enumerate() {
            let labels = &lesson.residual[part(1)];
            truth.iter_mut().zip(labels).for_each(|(truth, label)| *truth = u8::from(is(output, *label)));
        }
    });
    Ok(batch)
}

/// Whether a voxel with that label is what an output is to say.
pub(super) const fn is(output: usize, label: u8) -> bool {
    match output {
        0 => matches!(label, 1 | 4),
        1 => label != 0,
        _ => label == 1,
    }
}
