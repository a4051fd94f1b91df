//! What all contenders read: one network, one frame, one set of sample frames, as files in a folder of their own.
//!
//! **Weights** are first weights from a seed: times and memory do not depend on what a network has learned. **Frames**
//! are waves between -1 and 2, about what scans in z-scores span. **Layout:** f32, little-endian, `[C, E, E, E]`, x
//! fastest.

use super::case::Point;
use anyhow::{Context, ensure};
use bregma_perception::engine::{Calibration, Plan, Pool, Precision};
use bregma_perception::model::file::{ModelFile, Stored};
use bregma_perception::model::{Model, onnx};
use bregma_perception::network::Network;
use bregma_perception::network::api::Flex;
use bregma_perception::perceive::inputs::inputs_digest;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Frames that int8 is calibrated on; the first is also what is timed.
const SAMPLES: usize = 4;
/// Seed of the weights.
const SEED: u64 = 1;

/// The network's file.
pub const MODEL: &str = "model.bregma";
/// What is timed.
pub const FRAME: &str = "frame";
/// What a training is to say.
pub const TARGET: &str = "target";
/// The script of other people's runtimes.
pub const SCRIPT: &str = "peer.py";

fn frame(point: Point, number: usize) -> Vec<f32> {
    let (edge, inputs) = (point.edge, point.shape().inputs);
    let wave = |i: usize| {
        let (x, y, z) = (i % edge, i / edge % edge, i / (edge * edge));
        let phase = 0.21 * x as f32 + 0.34 * y as f32 + 0.13 * z as f32 + number as f32;
        0.5 + 1.5 * phase.sin()
    };
    (0..inputs * edge.pow(3)).map(wave).collect()
}

/// Writes numbers as all contenders read them.
pub fn write_floats(path: &Path, values: &[f32]) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for value in values {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()
}

/// Reads them.
///
/// # Errors
/// A file that cannot be read, or is no file of them.
pub fn read_floats(path: &Path) -> anyhow::Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len().is_multiple_of(4), "{} has {} bytes; four a number are right", path.display(), bytes.len());
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Writes a folder for one network and one size.
///
/// # Errors
/// A shape that the engine refuses, a folder that cannot be written.
pub fn prepare(folder: &Path, point: Point) -> anyhow::Result<()> {
    let shape = point.shape();
    let model: Model = Network::<Flex>::new(shape, SEED, &Default::default())?.fold();
    let network = BufWriter::new(File::create(folder.join("model.onnx"))?);
    onnx::export(&model, point.edge, network)?;

    let pool = Pool::new(point.threads)?;
    let mut plan = Plan::new(&model, point.edge, Precision::F32, None)?;
    let (mut state, mut logits) = (plan.state(), vec![0.0; shape.outputs * point.edge.pow(3)]);
    let mut calibration = Calibration { ranges: Vec::new() };
    let mut frames = Vec::new();
    for number in 0..SAMPLES {
        let frame = frame(point, number);
        // Every sample with an empty memory, as other people's tools calibrate.
        state.reset();
        plan.calibrate(&pool, &frame, &mut state, &mut logits, &mut calibration)?;
        if number == 0 {
            write_floats(&folder.join(FRAME), &frame)?;
        }
        frames.extend(frame);
    }
    write_floats(&folder.join("frames"), &frames)?;
    let target: Vec<f32> = logits.iter().enumerate().map(|(i, _)| (i * 7919 % 1000) as f32 * 2e-3 - 1.0).collect();
    write_floats(&folder.join(TARGET), &target)?;

    let mut file = ModelFile::new(model, Stored::F32, inputs_digest())?;
    file.set_activations(&calibration.ranges);
    file.write(&folder.join(MODEL))?;
    std::fs::write(folder.join(SCRIPT), include_str!("peer.py"))?;
    Ok(())
}
