//! A contender's process: commands in, one line of JSON back for each.
//!
//! What is heard is not trusted: a process that ends, says something else, says nothing or never ends a line becomes a
//! [`PeerFault`] within the time that its command is given, and is killed when it is dropped. **Threads:** one a
//! process, which reads its lines into a bounded channel. **Times** in an answer are the contender's own measurements.

use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Bytes of a line, at most.
const LINE_MAX: u64 = 4096;
/// Lines that wait, at most: there is one answer to each command.
const LINES_MAX: usize = 4;
/// Letters that are shown of what a contender said wrongly.
const SHOWN: usize = 300;

/// Why a contender is not measured.
#[derive(Debug, thiserror::Error)]
pub enum PeerFault {
    /// Its program cannot be started.
    #[error("{program} cannot be started: {why}")]
    Start {
        /// Which.
        program: String,
        /// What the system says.
        why: std::io::Error,
    },
    /// It ended.
    #[error("it ended at `{command}` ({status}){said}")]
    Ended {
        /// What it was asked.
        command: String,
        /// How it ended.
        status: String,
        /// The last line of its standard error, if any.
        said: String,
    },
    /// It does not answer.
    #[error("no answer to `{command}` within {seconds:.0} s")]
    Silent {
        /// What it was asked.
        command: String,
        /// How long it had.
        seconds: f64,
    },
    /// It answers something else.
    #[error("its answer to `{command}` is no line of JSON as agreed: {line:?}")]
    Junk {
        /// What it was asked.
        command: String,
        /// What it said.
        line: String,
    },
    /// It says itself what is wrong.
    #[error("{0}")]
    Says(String),
    /// A number that was to be there is not, or is none.
    #[error("its answer to `{command}` has `{what}` = {found:?}; a number above 0 is right")]
    Number {
        /// What it was asked.
        command: String,
        /// Which.
        what: &'static str,
        /// What is there.
        found: Option<f64>,
    },
}

/// An answer: of these, those that the command asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// What the training lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Most memory ever held for the model, MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mb: Option<f64>,
    /// Weights and activations of a plan, MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_mb: Option<f64>,
    /// How many operations were done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<f64>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Answer {
    /// One of its numbers, which must be one.
    ///
    /// # Errors
    /// [`PeerFault::Number`] when it is not there, not finite, or not above 0.
    pub fn number(&self, command: &str, what: &'static str) -> Result<f64, PeerFault> {
        let found = match what {
            "seconds" => self.seconds,
            "loss" => self.loss,
            "mb" => self.mb,
            "plan_mb" => self.plan_mb,
            _ => self.operations,
        };
        match found {
            Some(value) if value > 0.0 && value < f64::INFINITY => Ok(value),
            _ => Err(PeerFault::Number { command: command.into(), what, found }),
        }
    }
}

/// A line as an answer.
fn parse(command: &str, line: &str) -> Result<Answer, PeerFault> {
    let junk = || PeerFault::Junk { command: command.into(), line: line.trim_end().chars().take(SHOWN).collect() };
    // A list would do for the parser too, by the order of the fields.
    if !line.starts_with('{') {
        return Err(junk());
    }
    let answer: Answer = serde_json::from_str(line).map_err(|_| junk())?;
    match answer.error {
        Some(why) => Err(PeerFault::Says(why)),
        None => Ok(answer),
    }
}

/// A contender at work.
pub struct Peer {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    stderr: PathBuf,
}

impl Peer {
    /// Starts it; what it says on standard error goes into the file.
    ///
    /// # Errors
    /// [`PeerFault::Start`].
    pub fn start(mut command: Command, stderr: PathBuf) -> Result<Self, PeerFault> {
        let program = command.get_program().to_string_lossy().into_owned();
        let fault = |why| PeerFault::Start { program: program.clone(), why };
        let errors = std::fs::File::create(&stderr).map_err(fault)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn().map_err(fault)?;
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (to, lines) = sync_channel(LINES_MAX);
        let read = move || {
            let mut from = BufReader::new(stdout);
            loop {
                let mut line = Vec::new();
                let read = from.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
                if !matches!(read, Ok(1..)) || to.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        };
        let reader = std::thread::Builder::new().name(format!("hears-{}", child.id())).spawn(read);
        let peer = Self { child, stdin, lines, stderr };
        // The peer exists by now, so that its process is ended where its reader is not started.
        reader.map_err(fault)?;
        Ok(peer)
    }

    /// Gives a command, and waits for its answer.
    ///
    /// # Errors
    /// [`PeerFault`], all but [`PeerFault::Start`].
    pub fn ask(&mut self, command: &str, within: Duration) -> Result<Answer, PeerFault> {
        let sent = self.stdin.write_all(format!("{command}\n").as_bytes()).and_then(|()| self.stdin.flush());
        if sent.is_err() {
            return Err(self.ended(command));
        }
        match self.lines.recv_timeout(within) {
            Ok(line) => parse(command, &line),
            Err(RecvTimeoutError::Timeout) => {
                Err(PeerFault::Silent { command: command.into(), seconds: within.as_secs_f64() })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended(command)),
        }
    }

    fn ended(&mut self, command: &str) -> PeerFault {
        // It may have closed its output only: it is not waited for, but ended.
        let _ = self.child.kill();
        let status = self.child.wait().map_or_else(|why| why.to_string(), |status| status.to_string());
        PeerFault::Ended { command: command.into(), status, said: last_words(&self.stderr) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last line of a file that says something, for the end of a message.
pub fn last_words(path: &std::path::Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.map_or_else(String::new, |line| format!(": {}", line.trim().chars().take(SHOWN).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const LATE: Duration = Duration::from_secs(20);

    /// A peer made of a line of shell.
    fn shell(folder: &std::path::Path, script: &str) -> Peer {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Peer::start(command, folder.join("stderr")).expect("there is a shell")
    }

    fn says(script: &str, within: Duration) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        shell(folder.path(), script).ask("forward", within).expect_err("a fault").to_string()
    }

    #[test]
    fn a_peer_that_answers_is_heard() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut peer = shell(folder.path(), r#"while read c; do echo "{\"seconds\": 0.25}"; done"#);
        for _ in 0..3 {
            let answer = peer.ask("forward", LATE).expect("an answer");
            assert_eq!(answer.number("forward", "seconds").expect("a number").to_string(), "0.25");
            assert!(answer.number("forward", "mb").expect_err("none").to_string().contains("`mb` = None"));
        }
    }

    #[test]
    fn a_peer_that_dies_hangs_or_talks_junk_is_a_fault_with_its_reason() {
        let died = says("read c; echo trouble >&2; exit 3", LATE);
        assert!(died.contains("ended at `forward`") && died.contains('3') && died.contains("trouble"), "{died}");
        assert!(says("exec sleep 60", SOON).contains("no answer to `forward` within"));
        assert!(says("read c; echo hello", LATE).contains("\"hello\""));
        assert!(says(r#"read c; echo '{"error": "no such device"}'"#, LATE).contains("no such device"));
        let endless = says("read c; exec cat /dev/zero", LATE);
        assert!(endless.contains("no line of JSON"), "{endless}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let fault = Peer::start(Command::new("no-such-program"), folder.path().join("stderr")).err();
        assert!(fault.expect("a fault").to_string().contains("no-such-program"));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for line in [r#"{"seconds": 0}"#, r#"{"seconds": -1}"#, r#"{"seconds": null}"#, "{}"] {
            let answer = parse("forward", line).expect("JSON as agreed");
            assert!(answer.number("forward", "seconds").is_err(), "{line}");
        }
        for line in ["", "null", "[1]", "1.5", r#"{"seconds": "1"}"#, r#"{"second": 1}"#, r#"{"seconds": 1"#, "NaN"] {
            assert!(parse("forward", line).is_err(), "{line}");
        }
    }
}
