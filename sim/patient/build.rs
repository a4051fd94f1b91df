//! Names the code that patients grow by, so that a patient kept on disk is never read by other code.
//!
//! The name covers this crate's sources and assets, the core's, and every locked dependency: too much rather
//! than too little. What only looks at a patient or plays around her is left out. FNV-1a of 64 bits: it guards
//! against oversight, not against malice.

use std::path::{Path, PathBuf};

/// What patients grow by, relative to this crate.
const GROWN_BY: [&str; 4] = ["src", "assets", "../../runtime/core/src", "../../Cargo.lock"];
/// Rooms that meet patients only when they are grown; nothing that grows may use them.
const LATER: [&str; 3] = ["src/microscope", "src/shift", "src/world"];

fn main() -> std::io::Result<()> {
    let mut files = Vec::new();
    for root in GROWN_BY {
        collect(Path::new(root), &mut files)?;
    }
    // By names, so that no file system's order matters.
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in &files {
        let content = std::fs::read(file)?;
        let name = file.to_string_lossy();
        for byte in name.bytes().chain([0]).chain(content.len().to_le_bytes()).chain(content) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo::rustc-env=BREGMA_GROWN_BY={hash:016x}");
    for root in GROWN_BY.iter().chain(&["build.rs"]) {
        println!("cargo::rerun-if-changed={root}");
    }
    Ok(())
}

/// Adds a file, or every file of a folder. A root that is not there, as outside the workspace, adds nothing.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if LATER.iter().any(|later| path == Path::new(later)) || !path.exists() {
        return Ok(());
    }
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}
