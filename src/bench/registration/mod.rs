//! Registrations and calibrations beside other people's in one run: error and time on identical inputs.
//!
//! **Inputs** are drawn by chance from seeds, and written out once for all: landmarks on a head, an instrument turned about its tip, an
//! arm with a camera, points traced on a face with and without strays. **Errors** are from the truth that they were drawn from: at
//! a target in the head, of the tip, of the camera's place. All of it is *simulated*. **Times** are of one thread, each library's
//! around its own call, ours around ours, after one call that does not count. A library that is not there is a note.

mod inputs;
mod page;

use super::row;
use crate::report::BenchRow;
use anyhow::Context;
use bregma_core::time::{Clock, Duration, RealClock};
use bregma_perception::register::landmarks::{self, Fiducial};
use bregma_perception::register::surface::{self, Surface};
use bregma_perception::register::{hand_eye, pivot};
use indicatif::ProgressBar;
use inputs::Inputs;
use nalgebra::{Isometry3, Matrix4, Point3, Vector3};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

pub use page::{Head, markdown};

/// Libraries, as the script calls them.
const LIBRARIES: [&str; 4] = ["scikit-surgery", "simpleitk", "open3d", "opencv"];

/// What is registered or calibrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Paired points.
    Landmarks,
    /// Where a tip is.
    Pivot,
    /// How a camera sits on an arm.
    HandEye,
    /// Traced points on a surface.
    Surface,
    /// The same, some of them elsewhere.
    SurfaceStrays,
}

impl Task {
    /// Its name in reports.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Landmarks => "landmarks",
            Self::Pivot => "pivot",
            Self::HandEye => "hand-eye",
            Self::Surface => "surface",
            Self::SurfaceStrays => "surface with strays",
        }
    }
}

/// What somebody made of a task's inputs.
#[derive(Debug, Clone, Deserialize)]
struct Answer {
    task: Task,
    who: String,
    seconds: Vec<f64>,
    /// A matrix row by row, or a point; none where it was refused.
    found: Vec<Option<Vec<f64>>>,
    /// Of the last one that was refused.
    why: Option<String>,
}

/// What a library says.
#[derive(Debug, Deserialize)]
struct Library {
    versions: Vec<String>,
    answers: Vec<Answer>,
}

/// An answer, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What was asked.
    pub task: Task,
    /// By whom.
    pub who: String,
    /// Lengths of errors of each input that was not refused, mm.
    pub errors_mm: Vec<f64>,
    /// Turns that are wrong, degrees; of the hand-eye only.
    pub turns_deg: Vec<f64>,
    /// Of each input, s.
    pub seconds: Vec<f64>,
    /// How many inputs were refused.
    pub refused: usize,
    /// Why the last of them was.
    pub why: Option<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By task, ours first.
    pub judged: Vec<Judged>,
    /// Of the libraries.
    pub versions: Vec<String>,
    /// What did not run, and why.
    pub notes: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// When there is no room for the inputs. That a library does not run is a note.
pub fn run(python: Option<&Path>, first_seed: u64, bar: &ProgressBar) -> anyhow::Result<Outcome> {
    let inputs = Inputs::draw(first_seed);
    let folder = tempfile::tempdir().context("no folder for the inputs")?;
    std::fs::write(folder.path().join("peer.py"), include_str!("peer.py")).context("no room for the script")?;
    std::fs::write(folder.path().join("inputs.json"), serde_json::to_vec(&inputs.json())?)
        .context("no room for the inputs")?;
    let mut outcome = Outcome::default();
    bar.set_length(1 + LIBRARIES.len() as u64);
    bar.set_message("ours");
    let mut answers = ours(&inputs);
    bar.inc(1);
    if python.is_none() {
        outcome.notes.push("other people's libraries: not run: --peers was not given".into());
    }
    for library in LIBRARIES {
        bar.set_message(library);
        match python.map(|python| ask(python, folder.path(), library)) {
            Some(Ok(said)) => {
                outcome.versions.extend(said.versions);
                answers.extend(said.answers);
            }
            Some(Err(why)) => outcome.notes.push(format!("{library}: not run: {why:#}")),
            None => {}
        }
        bar.inc(1);
    }
    outcome.judged = answers.into_iter().map(|answer| judge(&inputs, answer)).collect();
    outcome.judged.sort_by_key(|judged| judged.task);
    Ok(outcome)
}

impl Outcome {
    /// For the report: of each answer its error and its time.
    #[must_use]
    pub fn rows(&self) -> Vec<BenchRow> {
        let rows = self.judged.iter().flat_map(|judged| {
            let name = format!("{}, {}", judged.task.words(), judged.who);
            let seconds = judged.seconds.iter().filter_map(|s| Duration::from_secs_f64(*s));
            let mut times: Vec<Duration> = seconds.collect();
            let errors = (!judged.errors_mm.is_empty()).then(|| BenchRow {
                name: format!("{name}, error"),
                median: page::at(&judged.errors_mm, 0.5),
                p99: Some(page::at(&judged.errors_mm, 0.99)),
                unit: "mm",
                n: judged.errors_mm.len(),
            });
            errors.into_iter().chain(std::iter::once(row(&name, &mut times, 1.0)))
        });
        rows.collect()
    }
}

/// What a library makes of it.
fn ask(python: &Path, folder: &Path, library: &str) -> anyhow::Result<Library> {
    let mut command = Command::new(python);
    command.arg("peer.py").arg(library).current_dir(folder).stdin(Stdio::null());
    for threads in
        ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"]
    {
        command.env(threads, "1");
    }
    let ran = command.output().with_context(|| format!("{} does not start", python.display()))?;
    let errors = String::from_utf8_lossy(&ran.stderr);
    let last = errors.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no words");
    anyhow::ensure!(ran.status.success(), "{last}");
    serde_json::from_slice(&ran.stdout).with_context(|| format!("its answer is no JSON as agreed; {last}"))
}

fn ours(inputs: &Inputs) -> Vec<Answer> {
    let rows = |pose: &Isometry3<f64>| pose.to_homogeneous().transpose().iter().copied().collect::<Vec<f64>>();
    let landmarks = timed(Task::Landmarks, &inputs.landmarks, |one| {
        let fiducials: Vec<Fiducial> = one
            .scan
            .iter()
            .zip(&one.touched)
            .map(|(scan, touched)| Fiducial::new("", *scan, *touched, inputs::FLE_MM * 3.0_f64.sqrt()))
            .collect();
        landmarks::register(&fiducials).map(|found| rows(&found.patient_from_reference)).map_err(|why| why.to_string())
    });
    let pivot = timed(Task::Pivot, &inputs.pivot, |one| {
        let found = pivot::calibrate(&one.poses, 10.0).map_err(|why| why.to_string())?;
        Ok(found.tip.coords.iter().copied().collect())
    });
    let hand_eye = timed(Task::HandEye, &inputs.hand_eye, |one| {
        let found = hand_eye::calibrate(&one.seen, crate::registration::precision()).map_err(|why| why.to_string())?;
        Ok(rows(&found.flange_from_camera))
    });
    let mut answers = vec![landmarks, pivot, hand_eye];
    for (task, traced) in [(Task::Surface, &inputs.traced), (Task::SurfaceStrays, &inputs.strays)] {
        answers.push(timed(task, traced, |one| {
            // Others build their tree within the call, too.
            let surface = Surface::new(inputs.points.clone(), inputs.normals.clone()).ok_or("no surface")?;
            let found = surface::register(&surface, &one.points, &one.start, inputs::TRACED_MM);
            found.map(|found| rows(&found.patient_from_reference)).map_err(|why| why.to_string())
        }));
    }
    answers
}

/// Does one after the other, the first twice.
fn timed<T>(task: Task, inputs: &[T], work: impl Fn(&T) -> Result<Vec<f64>, String>) -> Answer {
    let clock = RealClock::start();
    let mut answer = Answer { task, who: "ours".into(), seconds: Vec::new(), found: Vec::new(), why: None };
    if let Some(first) = inputs.first() {
        let _ = work(first);
    }
    for one in inputs {
        let before = clock.now();
        let found = work(one);
        answer.seconds.push(clock.now().since(before).map_or(f64::NAN, Duration::secs_f64));
        match found {
            Ok(found) => answer.found.push(Some(found)),
            Err(why) => {
                answer.found.push(None);
                answer.why = Some(why);
            }
        }
    }
    answer
}

/// Holds it against the truth.
fn judge(inputs: &Inputs, answer: Answer) -> Judged {
    let (mut errors_mm, mut turns_deg, mut refused) = (Vec::new(), Vec::new(), 0);
    for (number, found) in answer.found.iter().enumerate() {
        let Some(values) = found else {
            refused += 1;
            continue;
        };
        let pose = || matrix(values);
        let error = match answer.task {
            Task::Landmarks => inputs.landmarks.get(number).zip(pose()).map(|(one, pose)| one.off(&pose)),
            Task::Surface => inputs.traced.get(number).zip(pose()).map(|(one, pose)| one.off(&pose)),
            Task::SurfaceStrays => inputs.strays.get(number).zip(pose()).map(|(one, pose)| one.off(&pose)),
            Task::Pivot => match values[..] {
                [x, y, z] => inputs.pivot.get(number).map(|one| (Point3::new(x, y, z) - one.tip).norm()),
                _ => None,
            },
            Task::HandEye => inputs.hand_eye.get(number).zip(pose()).map(|(one, pose)| {
                let truth = one.truth.to_homogeneous();
                let turn = pose.fixed_view::<3, 3>(0, 0) * truth.fixed_view::<3, 3>(0, 0).transpose();
                turns_deg.push(((turn.trace() - 1.0) / 2.0).clamp(-1.0, 1.0).acos().to_degrees());
                (pose.fixed_view::<3, 1>(0, 3) - truth.fixed_view::<3, 1>(0, 3)).norm()
            }),
        };
        // An answer that is none, or no number, is worse than any.
        errors_mm.push(error.filter(|e| e.is_finite()).unwrap_or(f64::INFINITY));
    }
    let Answer { task, who, seconds, why, .. } = answer;
    Judged { task, who, errors_mm, turns_deg, seconds, refused, why }
}

fn matrix(values: &[f64]) -> Option<Matrix4<f64>> {
    (values.len() == 16).then(|| Matrix4::from_row_slice(values))
}

/// How far off a matrix puts a point that truly lies at the target.
fn off(pose: &Matrix4<f64>, truth: &Isometry3<f64>, target: &Point3<f64>) -> f64 {
    let there = truth.inverse() * target;
    let found: Vector3<f64> = (pose * there.to_homogeneous()).xyz();
    (found - target.coords).norm()
}

/// Answers of each task, ours first.
fn by_task(judged: &[Judged]) -> BTreeMap<Task, Vec<&Judged>> {
    let mut tasks: BTreeMap<Task, Vec<&Judged>> = BTreeMap::new();
    for one in judged {
        tasks.entry(one.task).or_default().push(one);
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_judged_by_the_truth_and_a_wrong_answer_is_seen() {
        let inputs = Inputs::few(3, 4);
        let judged: Vec<_> = ours(&inputs).into_iter().map(|answer| judge(&inputs, answer)).collect();
        let tasks = [Task::Landmarks, Task::Pivot, Task::HandEye, Task::Surface, Task::SurfaceStrays];
        assert_eq!(judged.iter().map(|j| j.task).collect::<Vec<_>>(), tasks);
        for one in &judged {
            assert!(one.refused == 0 && one.errors_mm.len() == 4, "{one:?}");
            assert!(one.errors_mm.iter().all(|e| *e < 3.0), "{one:?}");
        }
        assert!(judged[2].turns_deg.iter().all(|turn| *turn < 0.5), "{:?}", judged[2].turns_deg);
        let nothing = Answer {
            task: Task::Pivot,
            who: "nobody".into(),
            seconds: vec![1.0; 3],
            found: vec![Some(vec![0.0; 3]), Some(vec![f64::NAN; 3]), None],
            why: Some("it would not".into()),
        };
        let judged = judge(&inputs, nothing);
        assert!(judged.errors_mm[0] > 50.0 && judged.errors_mm[1].is_infinite() && judged.refused == 1, "{judged:?}");
    }

    #[test]
    fn a_library_that_is_not_there_is_a_note() {
        let folder = tempfile::tempdir().expect("a folder");
        let said = ask(&folder.path().join("bin/python"), folder.path(), "open3d").expect_err("nobody there");
        assert!(format!("{said:#}").contains("does not start"), "{said:#}");
    }
}
