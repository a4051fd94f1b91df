//! Who assembles the region, estimates the core and measures distances: the processor, or a GPU with the processor
//! behind it.

use super::{Theatre, perceive_settings};
use crate::config::Config;
use anyhow::Context;
use bregma_core::flow::ROI_EDGE;
use bregma_perception::align::assembly::Assembly;
use bregma_perception::align::evidence::Sight;
use bregma_perception::distance::{DistanceTransform, Distances};
use bregma_perception::engine::{Pool, Precision};
use bregma_perception::network::device::{Choice, Runs, Wish, choose};
use bregma_perception::perceive::Estimator;
use bregma_perception::perceive::classical::Classical;
use bregma_perception::perceive::network::{Networked, Rehearsed, untrained};
use std::sync::Arc;

/// Seed of the first weights of a network that is only rehearsed.
const REHEARSAL: u64 = 0;

/// Who computes.
pub struct Engines {
    /// As reports name it.
    pub name: &'static str,
    /// What the person who asked for another engine must know.
    pub note: Option<String>,
    /// For align.
    pub assembly: Box<dyn Assembly>,
    /// For perceive.
    pub estimator: Box<dyn Estimator>,
    /// For perceive.
    pub distances: Box<dyn Distances>,
}

impl Engines {
    /// The classical estimator.
    #[must_use]
    pub fn classical(config: &Config, theatre: &Theatre) -> Self {
        Self::on_processor("classical", theatre, Box::new(classical(config)))
    }

    /// The classical estimator with an untrained network at work beside it, on all cores.
    ///
    /// # Errors
    /// When the system gives no threads, or the engine refuses the network.
    pub fn rehearsed(config: &Config, theatre: &Theatre, precision: Precision) -> anyhow::Result<Self> {
        let name = match precision {
            Precision::F32 => "classical, untrained cpu-f32 beside it",
            Precision::Int8 => "classical, untrained cpu-int8 beside it",
        };
        let estimator = Rehearsed::new(classical(config), Box::new(networked(precision)?));
        Ok(Self::on_processor(name, theatre, Box::new(estimator)))
    }

    /// The classical estimator with an untrained network at work beside it, and everything that a GPU can do on a GPU.
    /// Where there is none, or it refuses the network or our kernels, the network in int8 on the processor, and a note.
    ///
    /// # Errors
    /// As [`Self::rehearsed`].
    pub fn rehearsed_on_cuda(config: &Config, theatre: &Theatre) -> anyhow::Result<Self> {
        let why = match choose(Wish::Cuda) {
            Choice { runs: Runs::Cuda, .. } => match on_cuda(config, theatre) {
                Ok(engines) => return Ok(engines),
                Err(why) => format!("{why:#}; the processor runs instead"),
            },
            Choice { why, .. } => why,
        };
        Ok(Self { note: Some(format!("--engine cuda: {why}")), ..Self::rehearsed(config, theatre, Precision::Int8)? })
    }

    fn on_processor(name: &'static str, theatre: &Theatre, estimator: Box<dyn Estimator>) -> Self {
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

/// An untrained network on all cores.
fn networked(precision: Precision) -> anyhow::Result<Networked> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = Arc::new(Pool::new(cores).context("no threads for the network")?);
    Ok(Networked::untrained(&untrained(REHEARSAL), precision, pool)?)
}

#[cfg(feature = "cuda")]
fn on_cuda(config: &Config, theatre: &Theatre) -> anyhow::Result<Engines> {
    use bregma_perception::gpu::cuda::{Gpu, GpuAssembly, GpuDistances};
    use bregma_perception::perceive::cuda::CudaNetworked;
    use bregma_perception::perceive::network::Relieved;
    let gpu = Gpu::open()?;
    let network = CudaNetworked::new(&gpu, &untrained(REHEARSAL))?;
    let relieved = Relieved::new(Box::new(network), Box::new(networked(Precision::Int8)?));
    Ok(Engines {
        name: "classical, untrained cuda beside it",
        note: Some(format!("--engine cuda: {}", gpu.name()?)),
        assembly: Box::new(GpuAssembly::new(&gpu, theatre.camera.size_px)?),
        estimator: Box::new(Rehearsed::new(classical(config), Box::new(relieved))),
        distances: Box::new(GpuDistances::new(&gpu, [ROI_EDGE; 3])?),
    })
}

#[cfg(not(feature = "cuda"))]
fn on_cuda(_: &Config, _: &Theatre) -> anyhow::Result<Engines> {
    anyhow::bail!("this program was built without the feature `cuda`")
}
