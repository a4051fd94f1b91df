//! `bregma doctor`: what this machine has.

use super::{Goal, say};
use crate::config::Config;
use crate::learning::calibration::preferred;
use crate::session::engines::{Engine, Times};
use crate::weights;
use bregma_perception::engine::Isa;
use bregma_perception::network::device::{Choice, Runs, Wish, choose};
use clap::ValueEnum;
use std::net::TcpListener;

/// Runs it. The goal is held when everything that `bregma demo` needs is there.
///
/// # Errors
/// None that is not a fault of the program.
pub fn run() -> anyhow::Result<Goal> {
    let mut held = true;
    say(format!("bregma {} ({})", env!("CARGO_PKG_VERSION"), crate::report::commit()));
    say(format!("machine    {}", crate::bench::machine()));
    say(format!("network    runs on {}", network()));
    match weights::read(None).and_then(|carried| Ok((Times::of(&carried)?, carried))) {
        Ok((times, carried)) => {
            let choice = if preferred(&carried) { times.choice() } else { Engine::Classical };
            let engine = choice.to_possible_value();
            say(format!("engine     auto takes {}: {times}", engine.as_ref().map_or("nothing", |e| e.get_name())));
            let commit = carried.figures.get("commit").map_or("unknown", String::as_str);
            say(format!("weights    {}, trained at commit {commit}", carried.model().digest()));
        }
        Err(why) => {
            held = false;
            say(format!("engine     the network cannot be run: {why:#}"));
        }
    }
    match bregma_ingest::video::gstreamer_version() {
        Ok(version) => say(format!("gstreamer  {version}")),
        Err(why) => {
            held = false;
            say(format!("gstreamer  MISSING: {why}"));
        }
    }
    for element in bregma_ingest::video::elements().unwrap_or_default() {
        held &= element.present || !element.required;
        let word = match (element.present, element.required) {
            (true, _) => "yes".to_owned(),
            (false, true) => format!("MISSING, needed: `make setup` installs it ({})", element.package),
            (false, false) => format!("no ({})", element.package),
        };
        say(format!("  {:<24} {word}", element.name));
    }
    let display = Config::demo()?.display;
    match TcpListener::bind(display) {
        Ok(_) => say(format!("display    {display} is free")),
        Err(why) => {
            held = false;
            say(format!("display    {display} is NOT free: {why}"));
        }
    }
    Ok(if held { Goal::Held } else { Goal::Missed })
}

/// What the network would run on, and why.
fn network() -> String {
    let Choice { runs, why } = choose(Wish::Auto);
    let by = match runs {
        Runs::Cpu => match Isa::detect() {
            Isa::Avx512 => "our own engine on the processor, by AVX-512 with VNNI",
            Isa::Avx2 => "our own engine on the processor, by AVX2",
            Isa::Portable => "our own engine on the processor, by portable code, which is slower",
        },
        Runs::Cuda => "burn on CUDA",
        Runs::Wgpu => "burn on wgpu",
    };
    format!("{by} ({why})")
}
