//! This program as a contender: the protocol of `peer.py`, for the engine and for burn's own backend.
//!
//! A process of its own, as every contender has, so that its memory is its own and no other's threads are in it.
//! **Threads:** the engine's pool is made for them; burn takes them from `RAYON_NUM_THREADS`, which the parent sets.
//! **In burn** a network keeps its norms, whose statistics stand still: the same numbers as the exported network, which
//! has them folded into its weights, for a little more work.

use super::case::{Contender, Task};
use super::folder::{FRAME, MODEL, TARGET, read_floats, write_floats};
use super::talk::Answer;
use crate::bench::cpu;
use anyhow::{Context, bail, ensure};
use bregma_core::time::{Clock, RealClock};
use bregma_perception::engine::{Calibration, Plan, Pool, Precision, State, peak};
use bregma_perception::model::file::ModelFile;
use bregma_perception::network::api::{
    AdamWConfig, Autodiff, AutodiffModule, Flex, GradientsParams, Optimizer, Tensor, tensor, values,
};
use bregma_perception::network::{Network, Operations};
use bregma_perception::perceive::inputs::inputs_digest;
use std::io::{BufRead, Write};
use std::path::Path;

type Train = Autodiff<Flex>;

/// Pieces of work of one look at the machine's peak: about 10 ms.
const PEAK_TASKS: usize = 16;
/// How far AdamW goes in one step.
const LEARNING_RATE: f64 = 1e-3;
/// A megabyte, bytes.
const MB: f64 = 1e6;

/// Answers commands until there are no more.
///
/// # Errors
/// A word that is none, a folder without a frame, an answer that nobody takes.
pub fn serve(words: &[String], commands: impl BufRead, mut answers: impl Write) -> anyhow::Result<()> {
    let [contender, task, threads] = words else { bail!("a contender has a name, a task and a number of threads") };
    let contender = Contender::named(contender).filter(|c| c.here()).context("no contender of this program's")?;
    let task = Task::named(task).filter(|task| contender.does(*task)).context("no task of this contender's")?;
    let threads: usize = threads.parse().context("no number of threads")?;
    let mut server = Server { contender, task, threads, clock: RealClock::start(), before_mb: 0.0, loaded: None };
    for command in commands.lines() {
        let answer = server.answer(command?.trim());
        let answer = answer.unwrap_or_else(|why| Answer { error: Some(format!("{why:#}")), ..Answer::default() });
        writeln!(answers, "{}", serde_json::to_string(&answer)?)?;
        answers.flush()?;
    }
    Ok(())
}

struct Server {
    contender: Contender,
    task: Task,
    threads: usize,
    clock: RealClock,
    /// What the process held before the model was loaded.
    before_mb: f64,
    loaded: Option<Loaded>,
}

/// A model, ready to run.
enum Loaded {
    Engine(Box<Engine>),
    Forward(Box<Network<Flex>>, Tensor<Flex, 5>),
    Train(Box<Training>),
}

/// A plan with all that it needs.
struct Engine {
    plan: Plan,
    pool: Pool,
    state: State,
    frame: Vec<f32>,
    logits: Vec<f32>,
}

/// Takes one step from a network and its gradients.
type Step = Box<dyn FnMut(Network<Train>, GradientsParams) -> Network<Train>>;

struct Training {
    network: Network<Train>,
    step: Step,
    frame: Tensor<Train, 5>,
    target: Tensor<Train, 5>,
}

impl Training {
    fn loss(&self) -> Tensor<Train, 1> {
        let (logits, _) = self.network.forward(self.frame.clone(), None);
        (logits - self.target.clone()).square().mean()
    }
}

impl Server {
    fn answer(&mut self, command: &str) -> anyhow::Result<Answer> {
        let none = Answer::default();
        if command == "load" {
            return self.load().map(|()| none);
        }
        let (threads, task) = (self.threads, self.task);
        let precision = if task == Task::Int8 { Precision::Int8 } else { Precision::F32 };
        let loaded = self.loaded.as_mut().context("nothing is loaded")?;
        let clock = &self.clock;
        let since = |start| clock.now().since(start).map(|d| d.secs_f64());
        let start = clock.now();
        match command {
            "logits" => loaded.logits(self.contender).map(|()| none),
            "memory" => {
                let most = cpu::most_resident_mb().context("the system does not say what is held")?;
                let plan_mb = match loaded {
                    Loaded::Engine(engine) => Some(engine.plan.bytes() as f64 / MB),
                    _ => None,
                };
                Ok(Answer { mb: Some(most - self.before_mb), plan_mb, ..none })
            }
            "peak" => {
                let own;
                let pool = match loaded {
                    Loaded::Engine(engine) => &engine.pool,
                    _ => {
                        own = Pool::new(threads)?;
                        &own
                    }
                };
                let start = clock.now();
                let operations = peak::exhaust(pool, precision, PEAK_TASKS);
                Ok(Answer { seconds: since(start), operations: Some(operations), ..none })
            }
            "forward" => {
                loaded.forward()?;
                Ok(Answer { seconds: since(start), ..none })
            }
            "train" | "train_step" => {
                let Loaded::Train(training) = loaded else { bail!("nothing that can be trained is loaded") };
                let loss = training.loss();
                let lost = loss.clone().detach();
                let gradients = loss.backward();
                if command == "train_step" {
                    let gradients = GradientsParams::from_grads(gradients, &training.network);
                    training.network = (training.step)(training.network.clone(), gradients);
                }
                let seconds = since(start);
                let loss = lost.into_data().iter::<f64>().next();
                Ok(Answer { seconds, loss, ..none })
            }
            _ => bail!("an unknown command: {command}"),
        }
    }

    fn load(&mut self) -> anyhow::Result<()> {
        // What all contenders are given is not the model's memory: it is read before the count begins.
        let frame = read_floats(Path::new(FRAME))?;
        let target = (self.task == Task::Train).then(|| read_floats(Path::new(TARGET))).transpose()?;
        self.before_mb = cpu::resident_mb().context("the system does not say what is held")?;

        let file = ModelFile::read(Path::new(MODEL), &inputs_digest())?;
        let calibration = Calibration { ranges: file.activations() };
        let model = file.into_model();
        let (shape, device) = (model.shape, Default::default());
        let edge = (1..=1024_usize).find(|edge| shape.inputs * edge.pow(3) == frame.len());
        let edge = edge.context("the frame is no cube of the network's channels")?;
        let dims = |channels| [1, channels, edge, edge, edge];
        let operations = if self.contender == Contender::Flex { Operations::Plain } else { Operations::Kernels };
        self.loaded = Some(match (self.contender, self.task) {
            (Contender::Ours, Task::F32 | Task::Int8) => {
                let precision = if self.task == Task::Int8 { Precision::Int8 } else { Precision::F32 };
                let plan = Plan::new(&model, edge, precision, Some(&calibration))?;
                let (state, logits) = (plan.state(), vec![0.0; shape.outputs * edge.pow(3)]);
                let pool = Pool::new(self.threads)?;
                Loaded::Engine(Box::new(Engine { plan, pool, state, frame, logits }))
            }
            (_, Task::Train) => {
                let network = Network::<Train>::from_model(&model, &device)?.with_operations(operations);
                let target = target.context("no target")?;
                ensure!(target.len() == shape.outputs * edge.pow(3), "the target has another size than the logits");
                let mut optimiser = AdamWConfig::new().init::<Train, Network<Train>>();
                Loaded::Train(Box::new(Training {
                    network,
                    step: Box::new(move |network, gradients| optimiser.step(LEARNING_RATE, network, gradients)),
                    frame: tensor(frame, dims(shape.inputs), &device),
                    target: tensor(target, dims(shape.outputs), &device),
                }))
            }
            _ => {
                let network = Network::<Flex>::from_model(&model, &device)?.with_operations(operations);
                Loaded::Forward(Box::new(network), tensor(frame, dims(shape.inputs), &device))
            }
        });
        Ok(())
    }
}

impl Loaded {
    fn forward(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Engine(engine) => {
                let Engine { plan, pool, state, frame, logits } = &mut **engine;
                plan.run(pool, frame, state, logits)?;
            }
            Self::Forward(network, frame) => drop(network.forward(frame.clone(), None)),
            Self::Train(_) => bail!("what is loaded is to be trained"),
        }
        Ok(())
    }

    fn logits(&mut self, contender: Contender) -> anyhow::Result<()> {
        let path = format!("{}.logits", contender.name());
        let written = match self {
            Self::Engine(engine) => {
                engine.state.reset();
                let Engine { plan, pool, state, frame, logits } = &mut **engine;
                plan.run(pool, frame, state, logits)?;
                write_floats(Path::new(&path), logits)
            }
            Self::Forward(network, frame) => {
                write_floats(Path::new(&path), &values(network.forward(frame.clone(), None).0))
            }
            Self::Train(training) => {
                let frame = training.frame.clone().inner();
                write_floats(Path::new(&path), &values(training.network.valid().forward(frame, None).0))
            }
        };
        written.with_context(|| format!("cannot write {path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_answered_and_what_is_no_contender_refused() {
        let served = |words: [&str; 3], commands: &str| {
            let mut answers = Vec::new();
            let result = serve(&words.map(String::from), commands.as_bytes(), &mut answers);
            result.map(|()| String::from_utf8(answers).expect("text"))
        };
        let said = served(["ours", "f32", "1"], "forward\ndance\n").expect("served");
        assert_eq!(said.lines().count(), 2);
        assert!(said.lines().all(|line| line.contains("nothing is loaded")), "{said}");
        for words in [["openvino", "f32", "1"], ["flex", "int8", "1"], ["ours", "f64", "1"], ["ours", "f32", "two"]] {
            assert!(served(words, "").is_err(), "{words:?}");
        }
    }
}
