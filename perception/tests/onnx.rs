//! What ONNX Runtime makes of an exported model, against our own forward. `make peers` brings it; where it is not, the
//! test prints `not run`.

use bregma_perception::model::{Shape, onnx};
use bregma_perception::network::Network;
use bregma_perception::network::api::{Flex, Tensor, tensor, values};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

const EDGE: usize = 32;
const FRAMES: usize = 3;

/// Runs the frames one after the other, `h` and `c` handed on; writes logits, `h` and `c` of each.
const SCRIPT: &str = r#"
import sys, numpy, onnxruntime
folder, frames, edge, channels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
session = onnxruntime.InferenceSession(folder + "/model.onnx", providers=["CPUExecutionProvider"])
shapes = {value.name: value.shape for value in session.get_inputs()}
frame = numpy.fromfile(folder + "/input", "<f4").reshape(frames, 1, channels, edge, edge, edge)
h, c = numpy.zeros(shapes["h"], "f4"), numpy.zeros(shapes["c"], "f4")
with open(folder + "/output", "wb") as out:
    for t in range(frames):
        logits, h, c = session.run(["logits", "h_next", "c_next"], {"input": frame[t], "h": h, "c": c})
        for value in (logits, h, c):
            out.write(value.astype("<f4").tobytes())
"#;

fn run(command: &mut Command) -> Result<(), String> {
    let out = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    let said = || format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim_end());
    if out.status.success() { Ok(()) } else { Err(said()) }
}

/// The interpreter of an environment that has ONNX Runtime.
fn python() -> Result<PathBuf, String> {
    let peers = std::env::var_os("BREGMA_PEERS").ok_or("BREGMA_PEERS names no folder (make peers)")?;
    let python = PathBuf::from(peers).join("bin/python");
    run(Command::new(&python).args(["-c", "import onnxruntime"])).map(|()| python)
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |worst, d| if d <= worst { worst } else { d })
}

#[test]
fn onnx_runtime_agrees() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            writeln!(std::io::stderr(), "not run: no ONNX Runtime: {why}").expect("stderr takes a line");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (shape, device) = (Shape { inputs: 5, outputs: 1, base: 8, levels: 4 }, Default::default());
    let network = Network::<Flex>::new(shape, 3, &device).expect("a shape within bounds");
    let file = std::fs::File::create(folder.path().join("model.onnx")).expect("a writable folder");
    onnx::export(&network.fold(), EDGE, file).expect("a sound model");

    let count = shape.inputs * EDGE.pow(3);
    let frame = |t: usize| (0..count).map(move |i| ((i * 37 + t * 11) % 101) as f32 / 50.0 - 1.0);
    let input: Vec<u8> = (0..FRAMES).flat_map(frame).flat_map(f32::to_le_bytes).collect();
    std::fs::write(folder.path().join("input"), input).expect("a writable folder");
    let numbers = [FRAMES, EDGE, shape.inputs].map(|n| n.to_string());
    run(Command::new(python).args(["-c", SCRIPT]).arg(folder.path()).args(numbers)).expect("ONNX Runtime takes it");
    let output = std::fs::read(folder.path().join("output")).expect("an output");
    let mut output: Vec<f32> = output.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();

    let (mut state, mut worst_of_all) = (None, 0.0_f32);
    for t in 0..FRAMES {
        let x: Tensor<Flex, 5> = tensor(frame(t).collect(), [1, shape.inputs, EDGE, EDGE, EDGE], &device);
        let (logits, next) = network.forward(x, state);
        for (what, ours) in
            [("logits", values(logits)), ("h", values(next.hidden.clone())), ("c", values(next.cell.clone()))]
        {
            let rest = output.split_off(ours.len());
            let worst = apart(&ours, &output);
            worst_of_all = worst_of_all.max(worst);
            assert!(worst <= 1e-4, "{what} of frame {t}: {worst:e} apart");
            assert!(ours.iter().any(|v| v.abs() > 1e-2), "{what} of frame {t} says something");
            output = rest;
        }
        state = Some(next);
    }
    assert!(output.is_empty(), "{} numbers more than expected", output.len());
    writeln!(std::io::stderr(), "ONNX Runtime and ours: {worst_of_all:e} apart at most").expect("stderr");
}
