//! Bregma: a real-time surgical navigation runtime. Research software, not a medical device.
//!
//! Read `pipeline.rs` first: the whole system stands there on one screen.

mod allocations;
mod anatomy_file;
mod bench;
mod calendar;
mod cli;
mod config;
mod display;
mod edge;
mod evaluate;
mod events;
mod examinations;
mod field;
mod keeper;
mod ladder;
mod learning;
mod motions;
mod oracle;
mod patients;
mod perceived;
mod pipeline;
mod portrait;
mod reasons;
mod record;
mod registration;
mod replay;
mod report;
mod scenario;
mod session;
mod shifts;
mod surgeon;
mod vessels;
mod weights;
mod whole;

use clap::Parser;
use std::process::ExitCode;

/// Counts allocations of each thread, for `bench pipeline`; otherwise the system's own allocator.
#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

#[expect(clippy::print_stderr, reason = "what went wrong, for the person who called the program")]
fn main() -> ExitCode {
    match cli::run(cli::Cli::parse().command) {
        Ok(cli::Goal::Held) => ExitCode::SUCCESS,
        Ok(cli::Goal::Missed) => ExitCode::from(1),
        Err(why) => {
            eprintln!("bregma: {why:#}");
            ExitCode::from(2)
        }
    }
}
