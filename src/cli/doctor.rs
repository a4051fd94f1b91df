//! `bregma doctor`: what this machine has.

use super::{Goal, say};
use crate::config::Config;
use std::net::TcpListener;
use std::path::Path;

/// Runs it. The goal is held when everything that `bregma demo` needs is there.
///
/// # Errors
/// None that is not a fault of the program.
pub fn run() -> anyhow::Result<Goal> {
    let mut held = true;
    say(format!("bregma {} ({})", env!("CARGO_PKG_VERSION"), crate::report::commit()));
    say(format!("machine    {}", crate::bench::machine()));
    say(format!("vector     {}", vector()));
    say(format!("gpu        {}", gpu()));
    say("engine     auto takes the classical estimator: it is the only one yet");
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

fn vector() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512vnni") {
            return "AVX-512 with VNNI";
        }
        if std::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
    }
    "portable code only"
}

/// What can be told without a driver's library: nothing here uses a GPU yet.
fn gpu() -> String {
    let device = Path::new("/proc/driver/nvidia/gpus");
    match std::fs::read_dir(device) {
        Ok(gpus) => format!("{} NVIDIA device(s); nothing uses them yet", gpus.count()),
        Err(_) => "none (nothing needs one yet)".to_owned(),
    }
}
