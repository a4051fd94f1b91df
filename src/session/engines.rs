//! Who assembles the region, estimates the core and measures distances: the processor, or a GPU with the processor
//! behind it.
//!
//! The network is believed where scans are like those that it learnt from; elsewhere the classical estimator stands in
//! ([`Guarded`]).

use super::{Theatre, perceive_settings};
use crate::config::Config;
use crate::learning::calibration::preferred;
use anyhow::Context;
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS};
use bregma_core::time::{Clock, RealClock};
use bregma_perception::align::assembly::Assembly;
use bregma_perception::align::evidence::Sight;
use bregma_perception::distance::{DistanceTransform, Distances};
use bregma_perception::engine::{Calibration, Plan, Pool, Precision};
use bregma_perception::model::file::ModelFile;
use bregma_perception::network::device::{Choice, Runs, Wish, choose};
use bregma_perception::perceive::Estimator;
use bregma_perception::perceive::classical::Classical;
use bregma_perception::perceive::guarded::Guarded;
use bregma_perception::perceive::inputs::INPUTS;
use bregma_perception::perceive::likeness::Likeness;
use bregma_perception::perceive::margin::Rule;
use bregma_perception::perceive::network::{Networked, OUTPUTS};
use std::sync::Arc;

/// A frame in f32 is quick enough where it takes no longer, ms: there is time for everything else on the same cores.
const F32_MS: f64 = 20.0;
/// One in int8, ms: a frame comes every 40 to 50.
const INT8_MS: f64 = 35.0;
/// Frames that a start-up measurement is the median of, behind one that does not count.
const MEASURED: usize = 5;

/// What estimates the residual core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The network, if it was better than the classical estimator on the patients that it was calibrated on, and where it
    /// keeps up on this machine, by a measurement: on a GPU, in f32, or in int8. On a simulated clock, in int8. Else the
    /// classical estimator.
    Auto,
    /// The network in int8 on the processor.
    CpuInt8,
    /// The network in f32 on the processor.
    CpuF32,
    /// The network on a GPU through CUDA, and the region's assembly and the distance transform there too. Where there is
    /// none, or the program was built without the feature `cuda`, that is said, and it is as with cpu-int8.
    Cuda,
    /// The classical estimator: tissue contrast, swept cavity, video evidence.
    Classical,
}

/// Who computes.
pub struct Engines {
    /// As reports name it.
    pub name: &'static str,
    /// What the person who asked must know.
    pub note: Option<String>,
    /// For align.
    pub assembly: Box<dyn Assembly>,
    /// For perceive.
    pub estimator: Box<dyn Estimator>,
    /// For perceive.
    pub distances: Box<dyn Distances>,
}

impl Engines {
    /// Those of an engine. `weights` are asked for where there is a network; what keeps up is measured.
    ///
    /// # Errors
    /// When the system gives no threads, the engine refuses the network, or it was never calibrated.
    pub fn live(
        engine: Engine,
        config: &Config,
        theatre: &Theatre,
        weights: &dyn Fn() -> anyhow::Result<ModelFile>,
    ) -> anyhow::Result<Self> {
        match engine {
            Engine::Auto => Self::quickest(config, theatre, &weights()?),
            _ => Self::fixed(engine, config, theatre, weights),
        }
    }

    fn fixed(
        engine: Engine,
        config: &Config,
        theatre: &Theatre,
        weights: &dyn Fn() -> anyhow::Result<ModelFile>,
    ) -> anyhow::Result<Self> {
        match engine {
            Engine::Classical => Ok(Self::classical(config, theatre)),
            Engine::CpuF32 => Self::networked(config, theatre, &weights()?, Precision::F32),
            Engine::Auto | Engine::CpuInt8 => Self::networked(config, theatre, &weights()?, Precision::Int8),
            Engine::Cuda => {
                let weights = weights()?;
                let why = match choose(Wish::Cuda) {
                    Choice { runs: Runs::Cuda, .. } => match on_cuda(config, theatre, &weights) {
                        Ok(engines) => return Ok(engines),
                        Err(why) => format!("{why:#}; the processor runs instead"),
                    },
                    Choice { why, .. } => why,
                };
                let engines = Self::networked(config, theatre, &weights, Precision::Int8)?;
                Ok(Self { note: Some(format!("--engine cuda: {why}")), ..engines })
            }
        }
    }

    /// The classical estimator.
    #[must_use]
    pub fn classical(config: &Config, theatre: &Theatre) -> Self {
        Self::on_processor("classical", theatre, Box::new(classical(config)))
    }

    fn networked(
        config: &Config,
        theatre: &Theatre,
        weights: &ModelFile,
        precision: Precision,
    ) -> anyhow::Result<Self> {
        let estimator = networked(config, weights, precision, cores())?;
        Ok(Self::on_processor(name(precision), theatre, estimator))
    }

    /// The best that keeps up here, and by which times.
    fn quickest(config: &Config, theatre: &Theatre, weights: &ModelFile) -> anyhow::Result<Self> {
        if !preferred(weights) {
            let note = "--engine auto: the classical estimator, since the network was no better on the patients that it was \
                        calibrated on; --engine cpu-int8 runs it all the same";
            return Ok(Self { note: Some(note.to_owned()), ..Self::classical(config, theatre) });
        }
        if let Choice { runs: Runs::Cuda, .. } = choose(Wish::Auto)
            && let Ok(engines) = on_cuda(config, theatre, weights)
        {
            return Ok(engines);
        }
        let times = Times::of(weights)?;
        let precision = match times.choice() {
            Engine::CpuF32 => Precision::F32,
            Engine::CpuInt8 => Precision::Int8,
            _ => {
                let note = format!(
                    "--engine auto: the classical estimator, since {times}; at most {F32_MS:.0} or {INT8_MS:.0} ms keep up. \
                     --engine cpu-int8 runs the network all the same"
                );
                return Ok(Self { note: Some(note), ..Self::classical(config, theatre) });
            }
        };
        let engines = Self::networked(config, theatre, weights, precision)?;
        Ok(Self { note: Some(format!("--engine auto: {}, since {times}", engines.name)), ..engines })
    }

    /// An estimator with everything else on the processor.
    #[must_use]
    pub fn on_processor(name: &'static str, theatre: &Theatre, estimator: Box<dyn Estimator>) -> Self {
        let assembly = Box::new(Sight::new(theatre.camera.size_px));
        let distances = Box::new(DistanceTransform::new([ROI_EDGE; 3]));
        Self { name, note: None, assembly, estimator, distances }
    }
}

/// The classical estimator, as configured.
#[must_use]
pub fn classical(config: &Config) -> Classical {
    Classical::new(perceive_settings(config).classical)
}

/// A network on so many threads, where scans are like what it learnt from.
///
/// # Errors
/// When the system gives no threads, the engine refuses the network, or it was never calibrated.
pub fn networked(
    config: &Config,
    weights: &ModelFile,
    precision: Precision,
    threads: usize,
) -> anyhow::Result<Box<dyn Estimator>> {
    let network = Networked::new(weights, precision, pool(threads)?)?;
    Ok(Box::new(guarded(config, weights, Box::new(network))?))
}

/// As reports name a network on the processor.
#[must_use]
pub const fn name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "cpu-f32",
        Precision::Int8 => "cpu-int8",
    }
}

/// A network, and the classical estimator that stands in for it.
fn guarded(config: &Config, weights: &ModelFile, network: Box<dyn Estimator>) -> anyhow::Result<Guarded> {
    let likeness = Likeness::of(&weights.ranges)
        .context("the model does not say what it learnt from; one that `bregma train perception` has finished does")?;
    let rule = Rule::out_of(&weights.ranges).context(
        "the model was not calibrated to say how sure it is; one that `bregma train calibrate` has finished is",
    )?;
    Ok(Guarded::new(network, rule, likeness, classical(config)))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn pool(threads: usize) -> anyhow::Result<Arc<Pool>> {
    Ok(Arc::new(Pool::new(threads).context("no threads for the network")?))
}

/// How long a frame takes on all cores, ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    f32: f64,
    int8: f64,
}

impl Times {
    /// Measures them.
    ///
    /// # Errors
    /// When the system gives no threads, or the engine refuses the network.
    pub fn of(weights: &ModelFile) -> anyhow::Result<Self> {
        Ok(Self { f32: frame_ms(weights, Precision::F32)?, int8: frame_ms(weights, Precision::Int8)? })
    }

    /// What keeps up.
    #[must_use]
    pub fn choice(&self) -> Engine {
        match (self.f32 <= F32_MS, self.int8 <= INT8_MS) {
            (true, _) => Engine::CpuF32,
            (false, true) => Engine::CpuInt8,
            (false, false) => Engine::Classical,
        }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { f32, int8 } = self;
        write!(f, "a frame takes {f32:.0} ms in f32 and {int8:.0} ms in int8 on {} threads", cores())
    }
}

/// A median, ms.
fn frame_ms(weights: &ModelFile, precision: Precision) -> anyhow::Result<f64> {
    let ranges = weights.activations();
    let calibration = (!ranges.is_empty()).then_some(Calibration { ranges });
    let mut plan = Plan::new(weights.model(), ROI_EDGE, precision, calibration.as_ref())?;
    let (pool, clock, mut state) = (pool(cores())?, RealClock::start(), plan.state());
    let (input, mut logits) = (vec![0.5; INPUTS * ROI_VOXELS], vec![0.0; OUTPUTS * ROI_VOXELS]);
    let mut times = Vec::with_capacity(MEASURED);
    for nth in 0..=MEASURED {
        let before = clock.now();
        plan.run(&pool, &input, &mut state, &mut logits)?;
        if let (1.., Some(took)) = (nth, clock.now().since(before)) {
            times.push(took.millis_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

#[cfg(feature = "cuda")]
fn on_cuda(config: &Config, theatre: &Theatre, weights: &ModelFile) -> anyhow::Result<Engines> {
    use bregma_perception::gpu::cuda::{Gpu, GpuAssembly, GpuDistances};
    use bregma_perception::perceive::cuda::CudaNetworked;
    use bregma_perception::perceive::network::Relieved;
    use bregma_perception::perceive::trust::Trust;
    let gpu = Gpu::open()?;
    let network = CudaNetworked::new(&gpu, weights.model(), Trust::of(&weights.ranges))?;
    let then = Networked::new(weights, Precision::Int8, pool(cores())?)?;
    let relieved = Relieved::new(Box::new(network), Box::new(then));
    Ok(Engines {
        name: "cuda",
        note: Some(format!("the network runs on {}", gpu.name()?)),
        assembly: Box::new(GpuAssembly::new(&gpu, theatre.camera.size_px)?),
        estimator: Box::new(guarded(config, weights, Box::new(relieved))?),
        distances: Box::new(GpuDistances::new(&gpu, [ROI_EDGE; 3])?),
    })
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: &Config, _: &Theatre, _: &ModelFile) -> anyhow::Result<Engines> {
    anyhow::bail!("this program was built without the feature `cuda`")
}
