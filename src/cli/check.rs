//! `bregma check`: what a configuration comes to, and what of it is reachable.

use super::{Goal, say};
use crate::config::{Config, RegistrationSource, Source};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// Runs it.
///
/// # Errors
/// When the configuration is not one.
pub fn run(path: &Path) -> anyhow::Result<Goal> {
    let config = Config::read(path)?;
    say(&config.resolved);
    say(format!("hash = {}", config.hash));
    say("\nlimits: unit, range, source");
    for row in bregma_physics::Limits::TABLE {
        say(format!("  {:<26}{:>8} to {:<8} {:<7} {}", row.name, row.low, row.high, row.unit, row.source));
    }
    say("\nreachable");
    let mut all = true;
    let mut tell = |what: &str, fault: Option<String>| {
        all &= fault.is_none();
        say(format!("  {what:<44} {}", fault.unwrap_or_else(|| "yes".into())));
    };
    let port = |address: SocketAddr| TcpListener::bind(address).err().map(|e| format!("NO: {e}"));
    tell(&format!("display on {}", config.display), port(config.display));
    if let Source::Theatre(t) = &config.source {
        let exists = |p: &Path| (!p.exists()).then(|| "NO: there is no such file or folder".to_owned());
        tell(&format!("T1c {}", t.t1c.display()), exists(&t.t1c));
        for (modality, path) in &t.others {
            tell(&format!("{modality:?} {}", path.display()), exists(path));
        }
        tell(&format!("anatomy {}", t.anatomy.display()), exists(&t.anatomy));
        if let RegistrationSource::File { path, .. } = &t.registration {
            tell(&format!("registration {}", path.display()), exists(path));
        }
        tell(&format!("tracking on {}", t.tracking_address), port(t.tracking_address));
        let parsed = bregma_ingest::video::parses(&t.launch).err().map(|e| format!("NO: {e}"));
        tell("video launch string", parsed);
    }
    Ok(if all { Goal::Held } else { Goal::Missed })
}
