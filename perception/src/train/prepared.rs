//! A step's lessons, cut, turned and disturbed: what can be made before the step's turn comes.

use super::lesson::{Batch, Lesson, together};
use super::{BadLesson, Settings, TrainError};
use crate::network::Random;
use rayon::prelude::*;
use std::sync::Arc;

/// What one step learns from.
#[derive(Debug)]
pub struct Prepared {
    pub(super) batch: Batch,
    /// T.
    pub(super) frames: usize,
    /// N.
    pub(super) lessons: usize,
    pub(super) edge: usize,
}

impl Prepared {
    /// Of that step. What is drawn follows from the settings' seed, the step, and a lesson's place among the lessons alone.
    ///
    /// # Errors
    /// A lesson that is none, or one unlike the others.
    pub fn of(settings: &Settings, step: u64, lessons: &[Arc<Lesson>]) -> Result<Self, TrainError> {
        let cut = |(nth, lesson): (usize, &Arc<Lesson>)| -> Result<Lesson, BadLesson> {
            lesson.check()?;
            let mut random = Random::new(super::drawn(settings.seed, step, 1 + nth as u64));
            let mut cut = lesson.cut(settings.edge, &mut random).turned(&mut random);
            settings.disturbing.apply(&mut cut, &mut random);
            Ok(cut)
        };
        let taken: Vec<Lesson> = lessons.par_iter().enumerate().map(cut).collect::<Result<_, _>>()?;
        let batch = together(&taken)?;
        Ok(Self { batch, frames: taken[0].frames, lessons: taken.len(), edge: taken[0].edge })
    }
}
