//! Runs the program as a user would.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `bregma` with these arguments in `folder`, where it keeps its patients too.
pub fn bregma(folder: &Path, args: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_bregma");
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).env("BREGMA_CACHE", folder.join("cache"));
    command.output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Exit status, and what was said on both streams.
pub fn said(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}
