//! `bregma export`: a network as ONNX, for other people's runtimes.

use super::{ExportArgs, Goal, say};
use crate::weights;
use anyhow::Context;
use bregma_perception::model::onnx;
use bregma_perception::perceive::network::untrained;
use std::io::BufWriter;
use std::path::Path;

/// Runs it.
///
/// # Errors
/// A model that is none or of another runtime, an edge that does not fit, a file that cannot be written.
pub fn run(args: &ExportArgs) -> anyhow::Result<Goal> {
    let model = match args.untrained {
        Some(seed) => untrained(seed),
        None => weights::read(args.model.as_deref())?.into_model(),
    };
    let place = args.onnx.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let onnx = args.onnx.display();
    // Written beside its place and moved there: no half of a file is ever found, and an old one stays if this fails.
    let mut file = tempfile::NamedTempFile::new_in(place).with_context(|| format!("cannot write {onnx}"))?;
    onnx::export(&model, args.edge, BufWriter::new(file.as_file_mut())).with_context(|| format!("for {onnx}"))?;
    let kept = file.persist(&args.onnx).with_context(|| format!("cannot write {onnx}"))?;
    let bytes = kept.metadata().with_context(|| format!("cannot read {onnx} again"))?.len();
    let shape = model.shape;
    say(format!("{onnx}  {:.2} MB", bytes as f64 * 1e-6));
    say(format!("model      {}", model.digest()));
    let (inputs, edge, deep, small) =
        (shape.inputs, args.edge, shape.width(shape.levels - 1), args.edge / shape.edge_unit());
    say(format!(
        "inputs     input [1, {inputs}, {edge}, {edge}, {edge}], h and c [1, {deep}, {small}, {small}, {small}]"
    ));
    say(format!(
        "outputs    logits [1, {}, {edge}, {edge}, {edge}], h_next, c_next: the next frame's h and c",
        shape.outputs
    ));
    if args.untrained.is_some() {
        say("weights    UNTRAINED, from a seed: for timing and for trying a runtime, and for nothing else");
    }
    Ok(Goal::Held)
}
