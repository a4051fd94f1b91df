//! `bregma replay`: plan, validate and gate again, from what was recorded.

use super::{Goal, say};
use crate::config::Config;
use crate::replay;
use anyhow::{Context, ensure};
use bregma_recordings::Session;
use std::path::Path;

/// Runs it. The goal is held when every compared byte is the same.
///
/// # Errors
/// When the recording cannot be read, or was made with a configuration that this program resolves otherwise.
pub fn run(path: &Path, check: bool) -> anyhow::Result<Goal> {
    let session = Session::open(path).with_context(|| format!("cannot replay {}", path.display()))?;
    let header = session.header();
    let config = Config::parse(&header.config_toml, Path::new(".")).context("in the recording's configuration")?;
    ensure!(
        config.hash == header.config_hash,
        "the recording's configuration resolves to {} here and to {} then: replay it with the program that made it \
         (version {}, commit {})",
        config.hash.short(),
        header.config_hash.short(),
        header.program,
        header.commit
    );
    say(format!("recording  {} ({})", path.display(), session.ending()));
    let [upstream, gate] = replay::again(&session, &config)?;
    let steps = upstream.steps + gate.steps;
    let compared = upstream.compared + gate.compared;
    let mismatches = upstream.mismatches + gate.mismatches;
    say(format!("replayed   {steps} steps of plan, validate and command"));
    say(format!("compared   {compared} messages, byte for byte"));
    say(format!("mismatches {mismatches}"));
    for mismatch in upstream.kept.iter().chain(&gate.kept).take(20) {
        say(format!("  {mismatch}"));
    }
    let holds = upstream.holds() && gate.holds();
    Ok(if holds || !check { Goal::Held } else { Goal::Missed })
}
