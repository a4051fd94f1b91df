//! The file read back: what a checker of ONNX would look at. Whether a runtime computes the same, the crate's
//! own test asks one.

use super::super::{LayerShape, Shape};
use super::*;
use std::collections::BTreeSet;

fn model() -> Model {
    let shape = Shape { inputs: 3, outputs: 2, base: 2, levels: 3 };
    let layer = |shape: LayerShape| Layer {
        weight: (0..shape.weights()).map(|i| i as f32 * 0.25).collect(),
        bias: vec![0.5; shape.outputs],
        shape,
    };
    Model { shape, layers: shape.layers().into_iter().map(layer).collect() }
}

fn exported(model: &Model) -> proto::Model {
    let mut bytes = Vec::new();
    export(model, 8, &mut bytes).expect("a sound model");
    proto::Model::decode(bytes.as_slice()).expect("what was written")
}

#[test]
fn every_name_is_made_once_and_before_it_is_read() {
    let graph = exported(&model()).graph.expect("a graph");
    let names = |values: &[ValueInfo]| values.iter().map(|v| v.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&graph.input), ["input", "h", "c"]);
    assert_eq!(names(&graph.output), ["logits", "h_next", "c_next"]);
    let mut known: BTreeSet<String> = names(&graph.input).into_iter().collect();
    known.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    for node in &graph.node {
        for input in &node.input {
            assert!(known.contains(input), "{} reads {input}, which nothing made", node.name);
        }
        for output in &node.output {
            assert!(known.insert(output.clone()), "{output} is made twice");
        }
    }
    assert!(names(&graph.output).iter().all(|name| known.contains(name)));
}

#[test]
fn every_number_of_the_model_is_there() {
    let model = model();
    let file = exported(&model);
    let graph = file.graph.expect("a graph");
    assert_eq!(graph.initializer.len(), 2 * model.layers.len());
    for layer in &model.layers {
        let find = |what: &str| {
            let name = format!("{}.{what}", layer.shape.name);
            graph.initializer.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("{name} is missing"))
        };
        let (weight, bias) = (find("weight"), find("bias"));
        let bytes: Vec<u8> = layer.weight.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(weight.raw_data, bytes);
        assert_eq!(weight.dims.iter().product::<i64>() as usize, layer.weight.len());
        assert_eq!(bias.raw_data.len(), 4 * layer.bias.len());
    }
    assert_eq!(file.metadata_props[0].value, model.digest().to_string());
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let refused = |model: &Model, edge| export(model, edge, Vec::new()).expect_err("a refusal").to_string();
    for edge in [0, 6, 2048] {
        let expected = format!("an edge of {edge} voxels; a multiple of 4, at most 1024, is right for this model");
        assert_eq!(refused(&model(), edge), expected);
    }
    let mut damaged = model();
    damaged.layers.pop();
    assert_eq!(refused(&damaged, 8), "the model: the network has 18 layers; its shape has 19");
    let mut no_room = [0_u8; 100];
    assert!(matches!(export(&model(), 8, &mut no_room[..]), Err(OnnxFault::Write(_))));
}
