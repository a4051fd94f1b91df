//! One network, one size, one task: every contender in turn, round by round.
//!
//! **Order:** ours, then the others, then ours again; a pause before each lets threads of the last one, which spin
//! for a while after their work, fall asleep. **A turn** is one frame that is not counted, since caches still hold what
//! the last contender left there, and up to [`FRAMES`] that are; of training, which is longer than that matters, one
//! step. **Slow ones** have a quarter of the rounds. **Limits:** a race ends early when its time is over, with at least
//! [`ROUNDS_LEAST`] rounds. **Agreement:** in f32 logits may be [`APART_MAX`]
//! apart from ours and the loss [`LOSS_APART_MAX`] of itself; in int8, where everybody rounds in his own way, the
//! correlation with our f32 logits is a row.

use super::case::{CORRELATION, Contender, Point, Task};
use super::folder::{SCRIPT, read_floats};
use super::talk::{Peer, PeerFault, last_words};
use super::{Outcome, row};
use crate::report::BenchRow;
use anyhow::{Context, anyhow};
use bregma_core::time::{Clock, RealClock, pause};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// How far apart logits may be in f32.
const APART_MAX: f32 = 1e-3;
/// How far apart losses may be, as a share.
const LOSS_APART_MAX: f64 = 1e-3;
/// Rounds of a race that runs out of time.
const ROUNDS_LEAST: usize = 3;
/// How long a race runs, seconds.
const RACE_S: f64 = 12.0;
/// Frames of a turn that are counted, at most.
const FRAMES: usize = 3;
/// How long a turn may go on, seconds; one frame is counted always.
const TURN_S: f64 = 0.5;
/// Who takes that many times ours is slow.
const SLOW: f64 = 8.0;
/// Slow contenders have one round in so many.
const SLOW_EVERY: usize = 4;
/// How long a contender may take to be ready: large libraries are read from disk.
const LOAD_MAX: Duration = Duration::from_secs(180);
/// How long it may take for anything else.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// OpenMP's and ONNX Runtime's threads spin for a few milliseconds at most.
const PAUSE: bregma_core::time::Duration = bregma_core::time::Duration::from_millis(15);

/// What is run.
pub struct Race<'a> {
    /// What contenders read.
    pub folder: &'a Path,
    /// Size, network, threads.
    pub point: Point,
    /// What they do.
    pub task: Task,
    /// Rounds, at most.
    pub rounds: usize,
    /// The interpreter of other people's runtimes.
    pub python: Option<&'a Path>,
}

/// A contender in the race.
struct Runner {
    who: Contender,
    peer: Peer,
    /// Seconds of each command.
    times: Vec<Vec<f64>>,
    slow: bool,
    memory: Vec<BenchRow>,
}

impl Race<'_> {
    /// Runs it; figures, notes and the machine's peak are added to what is there.
    ///
    /// # Errors
    /// When our own contender fails.
    pub fn run(&self, outcome: &mut Outcome, peaks: &mut BTreeMap<String, Vec<f64>>) -> anyhow::Result<()> {
        let clock = RealClock::start();
        let mut ours = self.enter(Contender::Ours).map_err(|why| anyhow!("{}: {why}", self.title()))?;
        let truth = read_floats(&self.folder.join("ours.logits"))?;
        if self.task == Task::F32 {
            std::fs::copy(self.folder.join("ours.logits"), self.folder.join("truth")).context("no room for logits")?;
        }
        let loss = self.warm_up(&mut ours, None).map_err(|why| anyhow!("{}: {why}", self.title()))?;
        let usual = ours.times.iter().map(|t| t[0]).sum::<f64>();
        if self.task == Task::Int8 {
            self.note_correlation(Contender::Ours, outcome)?;
        }
        let mut runners = vec![ours];
        for who in Contender::ALL.into_iter().filter(|who| *who != Contender::Ours && who.does(self.task)) {
            if !who.here() && self.python.is_none() {
                continue;
            }
            match self.admit(who, &truth, loss, usual) {
                Ok(runner) => {
                    if self.task == Task::Int8 {
                        self.note_correlation(who, outcome)?;
                    }
                    runners.push(runner);
                }
                Err(why) => outcome.notes.push(format!("{}: {}: not run: {why}", self.title(), who.name())),
            }
        }
        runners.iter_mut().for_each(|runner| runner.times.iter_mut().for_each(Vec::clear));
        let begin = clock.now();
        for round in 0..self.rounds {
            let over = clock.now().since(begin).is_some_and(|d| d.secs_f64() > RACE_S);
            if over && round >= ROUNDS_LEAST {
                break;
            }
            self.round(round, &mut runners, outcome, peaks)?;
        }
        for runner in &mut runners {
            for ((_, what), times) in self.task.commands().iter().zip(&mut runner.times) {
                times.iter_mut().for_each(|seconds| *seconds *= 1e3);
                outcome.rows.extend(row(&self.point.row(runner.who, what), times, "ms"));
            }
            outcome.rows.append(&mut runner.memory);
        }
        Ok(())
    }

    fn title(&self) -> String {
        format!("{}, {}", self.task.words(), self.point.words())
    }

    /// Each contender once, and one look at the machine's peak.
    fn round(
        &self,
        round: usize,
        runners: &mut Vec<Runner>,
        outcome: &mut Outcome,
        peaks: &mut BTreeMap<String, Vec<f64>>,
    ) -> anyhow::Result<()> {
        if self.task != Task::Train {
            pause(PAUSE);
            let answer = runners[0].peer.ask("peak", ANSWER_MAX)?;
            let rate = answer.number("peak", "operations")? / answer.number("peak", "seconds")?;
            peaks.entry(self.point.peak(self.task)).or_default().push(rate * 1e-9);
        }
        let mut lost = Vec::new();
        for (at, runner) in runners.iter_mut().enumerate() {
            if runner.slow && !round.is_multiple_of(SLOW_EVERY) {
                continue;
            }
            for ((command, _), times) in self.task.commands().iter().zip(&mut runner.times) {
                pause(PAUSE);
                match self.turn(&mut runner.peer, command) {
                    Ok(counted) => times.extend(counted),
                    Err(why) if runner.who == Contender::Ours => return Err(anyhow!("{}: {why}", self.title())),
                    Err(why) => {
                        outcome.notes.push(format!("{}: {}: not run: {why}", self.title(), runner.who.name()));
                        lost.push(at);
                        break;
                    }
                }
            }
        }
        lost.into_iter().rev().for_each(|at| drop(runners.remove(at)));
        Ok(())
    }

    /// Seconds of what is counted.
    fn turn(&self, peer: &mut Peer, command: &str) -> Result<Vec<f64>, PeerFault> {
        let mut once = || peer.ask(command, ANSWER_MAX)?.number(command, "seconds");
        let mut spent = once()?;
        if self.task == Task::Train {
            return Ok(vec![spent]);
        }
        let mut counted = Vec::new();
        while counted.is_empty() || (counted.len() < FRAMES && spent < TURN_S) {
            let seconds = once()?;
            spent += seconds;
            counted.push(seconds);
        }
        Ok(counted)
    }

    /// A contender that is ready, agrees with ours and is warm.
    fn admit(&self, who: Contender, truth: &[f32], loss: Option<f64>, usual: f64) -> Result<Runner, String> {
        if self.task == Task::Int8 {
            self.quantise(who)?;
        }
        let mut runner = self.enter(who).map_err(|why| why.to_string())?;
        let logits = self.logits(who).map_err(|why| why.to_string())?;
        if logits.len() != truth.len() {
            return Err(format!("it has {} logits, and we have {}", logits.len(), truth.len()));
        }
        let apart = logits.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, |worst, d| {
            // What is no number is as far apart as can be.
            if d <= worst { worst } else { d }
        });
        if self.task != Task::Int8 && !(0.0..=APART_MAX).contains(&apart) {
            return Err(format!("its logits are {apart:e} apart from ours; {APART_MAX:e} is the most"));
        }
        self.warm_up(&mut runner, loss).map_err(|why| why.to_string())?;
        runner.slow = runner.times.iter().map(|t| t[0]).sum::<f64>() > SLOW * usual;
        Ok(runner)
    }

    /// Its process, with the model loaded and its logits written.
    fn enter(&self, who: Contender) -> Result<Runner, PeerFault> {
        let mut peer = Peer::start(self.command(who)?, self.folder.join(format!("{}.stderr", who.name())))?;
        peer.ask("load", LOAD_MAX)?;
        peer.ask("logits", ANSWER_MAX)?;
        let times = vec![Vec::new(); self.task.commands().len()];
        Ok(Runner { who, peer, times, slow: false, memory: Vec::new() })
    }

    fn command(&self, who: Contender) -> Result<Command, PeerFault> {
        let threads = self.point.threads.to_string();
        let words = [who.name(), self.task.word(), &threads];
        let mut command = match self.python {
            Some(python) if !who.here() => {
                let mut command = Command::new(python);
                // PyTorch has a team of threads for each direction; one that spins while the other works doubles its time.
                command.arg(SCRIPT).env("OMP_WAIT_POLICY", "PASSIVE");
                command
            }
            _ => {
                let program = std::env::current_exe();
                let fault = |why| PeerFault::Start { program: "this program".into(), why };
                let mut command = Command::new(program.map_err(fault)?);
                command.args(["bench", "perception", "--serve"]).env("RAYON_NUM_THREADS", &threads);
                command
            }
        };
        command.args(words).current_dir(self.folder);
        Ok(command)
    }

    /// Every command once, and memory after the first; the loss of a training, which must be as ours is.
    fn warm_up(&self, runner: &mut Runner, ours: Option<f64>) -> Result<Option<f64>, PeerFault> {
        let mut loss = None;
        for (at, (command, _)) in self.task.commands().iter().enumerate() {
            let answer = runner.peer.ask(command, ANSWER_MAX)?;
            runner.times[at].push(answer.number(command, "seconds")?);
            if at > 0 {
                continue;
            }
            if self.task == Task::Train {
                let own = answer.number(command, "loss")?;
                let apart = ours.map_or(0.0, |ours| (own / ours - 1.0).abs());
                if apart > LOSS_APART_MAX {
                    return Err(PeerFault::Says(format!("its loss of the first step is {own}, and ours {ours:?}")));
                }
                loss = Some(own);
            }
            let answer = runner.peer.ask("memory", ANSWER_MAX)?;
            let one = |name: &str, mb| BenchRow {
                name: self.point.row(runner.who, name),
                median: mb,
                p99: None,
                unit: "MB",
                n: 1,
            };
            runner.memory.push(one(self.task.memory(), answer.number("memory", "mb")?));
            if answer.plan_mb.is_some() {
                let what = format!("plan_{}", self.task.memory());
                runner.memory.push(one(&what, answer.number("memory", "plan_mb")?));
            }
        }
        Ok(loss)
    }

    fn logits(&self, who: Contender) -> anyhow::Result<Vec<f32>> {
        read_floats(&self.folder.join(format!("{}.logits", who.name())))
    }

    fn note_correlation(&self, who: Contender, outcome: &mut Outcome) -> anyhow::Result<()> {
        let truth = read_floats(&self.folder.join("truth"))?;
        let r = correlation(&self.logits(who)?, &truth);
        outcome.rows.push(BenchRow { name: self.point.row(who, CORRELATION), median: r, p99: None, unit: "1", n: 1 });
        Ok(())
    }

    /// Has a contender make its int8 model, once for all numbers of threads of a folder.
    fn quantise(&self, who: Contender) -> Result<(), String> {
        let Some(python) = self.python else { return Ok(()) };
        let (out, err) = (self.folder.join("quantise.stdout"), self.folder.join("quantise.stderr"));
        let file = |path: &Path| std::fs::File::create(path).map(Stdio::from).map_err(|why| why.to_string());
        let mut command = Command::new(python);
        // Tools that would report their use elsewhere are asked not to.
        command.args([SCRIPT, who.name(), "quantise"]).current_dir(self.folder).env("NNCF_CI", "1");
        command.stdin(Stdio::null()).stdout(file(&out)?).stderr(file(&err)?);
        let mut child = command.spawn().map_err(|why| format!("{}: {why}", python.display()))?;
        let clock = RealClock::start();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|why| why.to_string())? {
                break status;
            }
            if clock.now().secs_f64() > LOAD_MAX.as_secs_f64() {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("its int8 model was not made within {:.0} s", LOAD_MAX.as_secs_f64()));
            }
            pause(PAUSE);
        };
        if status.success() {
            Ok(())
        } else {
            Err(format!("its int8 model was not made ({status}){}", last_words(&err)))
        }
    }
}

/// Pearson's.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let n = a.len().min(b.len()) as f64;
    let mean = |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sums = a.iter().zip(b).fold([0.0; 3], |[ab, aa, bb], (a, b)| {
        let (a, b) = (f64::from(*a) - mean_a, f64::from(*b) - mean_b);
        [ab + a * b, aa + a * a, bb + b * b]
    });
    sums[0] / (sums[1] * sums[2]).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_is_one_for_what_is_scaled_and_less_for_what_differs() {
        let a = [1.0, 2.0, 3.0, 5.0];
        assert!((correlation(&a, &a.map(|v| 3.0 * v - 1.0)) - 1.0).abs() < 1e-12);
        assert!(correlation(&a, &[5.0, 1.0, 4.0, 2.0]) < 0.5);
    }
}
