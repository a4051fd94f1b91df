//! `bregma inspect`: what a recording holds.

use super::{Goal, say};
use anyhow::Context;
use bregma_recordings::{Ending, Recording, Summary};
use std::path::Path;

/// Runs it. The goal is held when the recording is complete.
///
/// # Errors
/// When it cannot be read at all.
pub fn run(path: &Path) -> anyhow::Result<Goal> {
    let mut recording = Recording::open(path).with_context(|| format!("cannot inspect {}", path.display()))?;
    let summary = Summary::of(&mut recording).with_context(|| format!("in {}", path.display()))?;
    say(summary.to_text());
    Ok(if recording.ending() == Ending::Complete { Goal::Held } else { Goal::Missed })
}
