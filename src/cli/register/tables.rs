//! `bregma register table`, `scans-table` and `shift-table`: pages of docs/, simulated.

use super::super::{Goal, WorldName};
use super::write;
use crate::registration::{self, Extent};
use crate::shifts;
use anyhow::ensure;
use bregma_patient::WorldKind;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};

/// Options of `register shift-table`.
#[derive(Debug, clap::Args)]
pub struct ShiftTableArgs {
    /// Cases in each world.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub cases: usize,
    /// Seed of the first.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub first_seed: u64,
    /// How long each is watched, s.
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    /// This world alone; both where none is named.
    #[arg(long, value_enum)]
    pub world: Option<WorldName>,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `register table`.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// Set-ups of each row.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub setups: usize,
    /// Draws of noise of each set-up.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub draws: usize,
    /// Seed of the first set-up.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first_seed: u64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

pub(super) fn shift_table(args: &ShiftTableArgs) -> anyhow::Result<Goal> {
    let ShiftTableArgs { cases, first_seed, seconds, world, .. } = *args;
    ensure!((1..=10_000).contains(&cases), "--cases is {cases}; 1 to 10000 is right");
    ensure!((1.0..=3600.0).contains(&seconds), "--seconds is {seconds}; 1 to 3600 is right");
    let config = crate::config::Config::parse(crate::config::DEMO, Path::new("."))?;
    let worlds = world.map_or_else(|| vec![WorldKind::Home, WorldKind::Foreign], |world| vec![world.into()]);
    let bar = ProgressBar::new((worlds.len() * cases) as u64);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}")?);
    let mut command =
        format!("bregma register shift-table --cases {cases} --first-seed {first_seed} --seconds {seconds}");
    if let [only] = worlds[..] {
        command += &format!(" --world {}", only.name());
    }
    let extent = shifts::Extent { cases, first_seed, seconds };
    let page = shifts::markdown(&config, extent, &worlds, &command, &|| bar.inc(1))?;
    bar.finish_and_clear();
    write(&args.out, page.as_bytes())?;
    Ok(Goal::Held)
}

pub(super) fn table(args: &TableArgs) -> anyhow::Result<Goal> {
    let TableArgs { setups, draws, first_seed, .. } = *args;
    ensure!((1..=100_000).contains(&setups), "--setups is {setups}; 1 to 100000 is right");
    ensure!((10..=100_000).contains(&draws), "--draws is {draws}; 10 to 100000 is right");
    let extent = Extent { setups, draws, first_seed };
    let bar = ProgressBar::new(registration::pieces(extent) as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len}, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let command = format!("bregma register table --setups {setups} --draws {draws} --first-seed {first_seed}");
    let page = registration::markdown(extent, &command, &|| bar.inc(1));
    bar.finish_and_clear();
    write(&args.out, page.as_bytes())?;
    Ok(Goal::Held)
}
