//! The network that the program carries, and those that people give it.

use anyhow::Context;
use bregma_perception::model::file::ModelFile;
use bregma_perception::perceive::inputs::inputs_digest;
use std::path::Path;

/// The default network: made by `bregma train perception`; its card lies beside it.
const CARRIED: &[u8] = include_bytes!("../perception/weights/network.bregma");

/// The network in a file, or the one that is carried.
///
/// # Errors
/// A file that cannot be read, is none of ours, or reads other inputs than this runtime's.
pub fn read(path: Option<&Path>) -> anyhow::Result<ModelFile> {
    let ours = inputs_digest();
    match path {
        Some(path) => ModelFile::read(path, &ours).with_context(|| format!("the model {}", path.display())),
        None => ModelFile::from_bytes(CARRIED, &ours).context("the network that the program carries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_perception::perceive::likeness::Likeness;
    use bregma_perception::perceive::margin::Rule;
    use bregma_perception::perceive::network::{DEFAULT_SHAPE, OUTPUT_NAMES};

    #[test]
    fn what_is_carried_is_whole_small_and_calibrated() {
        let file = read(None).expect("it is carried");
        assert_eq!(file.model().shape, DEFAULT_SHAPE);
        assert!(CARRIED.len() <= 10_000_000, "{} bytes", CARRIED.len());
        assert!(!file.activations().is_empty(), "it can be run in int8");
        assert!(Rule::out_of(&file.ranges).is_some() && Likeness::of(&file.ranges).is_some());
        assert_eq!(file.figures.get("outputs"), Some(&OUTPUT_NAMES.join(", ")));
        assert!(file.figures.contains_key("recipe") && file.figures.contains_key("commit"));
    }

    #[test]
    fn a_file_that_is_none_is_refused_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nothing.bregma");
        std::fs::write(&path, &CARRIED[..1000]).expect("written");
        let why = format!("{:#}", read(Some(&path)).expect_err("it is cut"));
        assert!(why.contains("nothing.bregma") && why.contains("the file ends at byte 1000"), "{why}");
    }
}
