//! Round trips to the last bit, and bytes that must be refused.

use super::super::{Layer, LayerShape};
use super::*;
use bregma_core::flow::roi_channels_digest;
use proptest::prelude::*;

const SHAPE: Shape = Shape { inputs: 2, outputs: 1, base: 2, levels: 2 };

/// A model of numbers that are all different.
fn model(shape: Shape, scale: f32) -> Model {
    let mut next = 0.0_f32;
    let mut take = |count: usize| {
        let number = |_| {
            next += 1.0;
            scale * (next * 0.618_034).fract() - 0.3 * scale
        };
        (0..count).map(number).collect::<Vec<f32>>()
    };
    let layer = |shape: LayerShape| Layer { weight: take(shape.weights()), bias: take(shape.outputs), shape };
    Model { shape, layers: shape.layers().into_iter().map(layer).collect() }
}

fn whole() -> ModelFile {
    let mut file = ModelFile::new(model(SHAPE, 1.0), Stored::F32, roi_channels_digest()).expect("a sound model");
    file.figures.insert("seed".into(), "7".into());
    file.ranges.insert("enc0.conv1".into(), [0.0, 3.5]);
    file.ranges.insert("input".into(), [-2.5, f32::MIN_POSITIVE]);
    file
}

fn refused(bytes: &[u8]) -> FileFault {
    ModelFile::from_bytes(bytes, &roi_channels_digest()).expect_err("bytes that must be refused")
}

/// The digest set right again, so that what stands behind it is looked at.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = file_digest(&bytes);
    bytes[16..HEADER].copy_from_slice(&digest.0);
    bytes
}

/// The file with other words in its manifest.
fn with_words(from: &str, to: &str) -> Vec<u8> {
    let bytes = whole().to_bytes().expect("a sound file");
    let length = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    let manifest = std::str::from_utf8(&bytes[HEADER..HEADER + length]).expect("JSON is text");
    assert!(manifest.contains(from), "{from} stands in {manifest}");
    let manifest = manifest.replacen(from, to, 1);
    let mut changed = bytes[..12].to_vec();
    changed.extend((manifest.len() as u32).to_le_bytes());
    changed.extend([0; 32]);
    changed.extend(manifest.as_bytes());
    changed.extend(&bytes[HEADER + length..]);
    signed(changed)
}

/// The layout, written by hand from the module's description.
#[test]
fn the_layout_is_as_described() {
    let (file, bytes) = (whole(), whole().to_bytes().expect("a sound file"));
    assert_eq!(&bytes[..8], b"\x93bregma\n");
    assert_eq!(bytes[8..12], [1, 0, 0, 0]);
    let start = HEADER + u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    assert!(
        bytes[HEADER..start].starts_with(br#"{"shape":{"inputs":2,"outputs":1,"base":2,"levels":2},"precision":"f32""#)
    );
    let first = f32::from_le_bytes(bytes[start..start + 4].try_into().expect("four bytes"));
    assert_eq!(first.to_bits(), file.model().layers[0].weight[0].to_bits());
    let last = f32::from_le_bytes(bytes[bytes.len() - 4..].try_into().expect("four bytes"));
    assert_eq!(last.to_bits(), f32::MIN_POSITIVE.to_bits(), "the end of the last range by name");
}

#[test]
fn f16_is_rounded_before_it_is_written() {
    let exact = model(SHAPE, 1.0);
    let file = ModelFile::new(exact.clone(), Stored::F16, roi_channels_digest()).expect("a sound model");
    assert_ne!(*file.model(), exact);
    let numbers = |m: &Model| m.layers.iter().flat_map(|l| l.weight.clone()).collect::<Vec<_>>();
    for (a, b) in numbers(file.model()).iter().zip(numbers(&exact)) {
        assert!((a - b).abs() <= b.abs() / 2048.0 + 3e-8, "{a} for {b}: half of the last of 11 bits");
    }
    let bytes = file.to_bytes().expect("a sound file");
    assert_eq!(ModelFile::from_bytes(&bytes, &roi_channels_digest()).expect("a sound file"), file);
    let refusal = ModelFile::new(model(SHAPE, 1e6), Stored::F16, roi_channels_digest()).expect_err("beyond f16");
    assert!(refusal.to_string().ends_with("f16 ends at 65504: store it in f32"), "{refusal}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = whole().to_bytes().expect("a sound file");
    for length in 0..bytes.len() {
        assert!(matches!(refused(&bytes[..length]), FileFault::Short { found, .. } if found == length), "{length}");
    }
}

/// Every byte of the file is under the digest, or is the digest, or is the magic.
#[test]
fn a_bit_changed_anywhere_is_refused() {
    let bytes = whole().to_bytes().expect("a sound file");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let _ = refused(&changed);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_byte() {
    let bytes = whole().to_bytes().expect("a sound file");
    let start = HEADER + u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    let put = |at: usize, new: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        signed(changed)
    };
    assert!(matches!(refused(b"PK\x03\x04 something else"), FileFault::Magic { .. }));
    assert_eq!(refused(&put(8, &[2])).to_string(), "byte 8: format version 2; 1 is what is read here");
    let refusal = refused(&put(12, &[0xff; 4])).to_string();
    assert_eq!(refusal, "byte 12: a manifest of 4294967295 bytes; at most 1048576 is right");
    let refusal = refused(&put(start + 4, &f32::NAN.to_le_bytes())).to_string();
    assert_eq!(refusal, format!("byte {}: a number of layer enc0.conv1 is not finite", start + 4));
    let refusal = refused(&put(bytes.len() - 4, &(-3_f32).to_le_bytes())).to_string();
    assert!(refusal.ends_with("range input is -2.5 to -3; finite ends, the lower first, are right"), "{refusal}");
    assert!(matches!(refused(&put(bytes.len() - 8, &[0xff; 4])), FileFault::Bounds { .. }));
    assert!(matches!(refused(&put(start, &1.0_f32.to_le_bytes())), FileFault::OtherModel { .. }));
    assert!(matches!(refused(&[bytes.clone(), vec![0]].concat()), FileFault::Long { .. }));
    let mut damaged = bytes.clone();
    damaged[start] ^= 1;
    assert!(refused(&damaged).to_string().ends_with("the file is damaged"));
}

#[test]
fn words_that_are_wrong_are_named() {
    let own = roi_channels_digest().to_string();
    let other = Digest::of(b"other channels").to_string();
    let refusal = refused(&with_words(&own, &other)).to_string();
    assert!(refusal.ends_with(&format!("this runtime has {own}: train it anew")), "{refusal}");
    let refusal = refused(&with_words("\"levels\":2", "\"levels\":18446744073709551615")).to_string();
    assert_eq!(refusal, "the model: the network's levels is 18446744073709551615; 1 to 6 is right");
    assert!(matches!(refused(&with_words("\"base\":2", "\"base\":4")), FileFault::Short { part: "numbers", .. }));
    assert!(matches!(refused(&with_words("\"base\":2", "\"base\":1")), FileFault::Long { .. }));
    assert!(matches!(refused(&with_words("\"f32\"", "\"f16\"")), FileFault::Long { .. }));
    assert!(matches!(refused(&with_words("\"f32\"", "\"f64\"")), FileFault::Manifest { .. }));
    assert!(matches!(refused(&with_words("\"input\"", "\"enc0.conv1\"")), FileFault::Names { .. }));
    let FileFault::Manifest { offset, why } = refused(&with_words("{\"shape\"", "{\"form\":1,\"shape\"")) else {
        panic!("an unknown word is refused");
    };
    assert!(offset > HEADER && offset < HEADER + 12 && why.starts_with("unknown field `form`"), "{offset}: {why}");
    assert!(matches!(refused(&with_words("{\"shape\"", "\u{7f}")), FileFault::Manifest { offset: HEADER, .. }));
}

#[test]
fn activations_keep_their_order_beside_other_ranges() {
    let mut file = whole();
    assert_eq!(file.activations(), Vec::<[f32; 2]>::new());
    let ranges: Vec<[f32; 2]> = (0..130).map(|i| [-(i as f32), i as f32 * 0.5]).collect();
    file.set_activations(&ranges[..7]);
    file.set_activations(&ranges);
    let bytes = file.to_bytes().expect("a sound file");
    let again = ModelFile::from_bytes(&bytes, &roi_channels_digest()).expect("a sound file");
    assert_eq!(again.activations(), ranges);
    assert_eq!(again.ranges["enc0.conv1"], [0.0, 3.5]);
}

#[test]
fn what_cannot_be_read_again_is_not_written() {
    let mut file = whole();
    file.ranges.insert("head".into(), [0.0, f32::NAN]);
    assert!(matches!(file.to_bytes(), Err(FileFault::Bounds { .. })));
    let mut file = whole();
    file.figures.insert("long".into(), "x".repeat(MANIFEST_MAX));
    assert!(matches!(file.to_bytes(), Err(FileFault::ManifestLength { .. })));
    let mut unsound = model(SHAPE, 1.0);
    unsound.layers[1].weight[0] = f32::NAN;
    assert!(matches!(ModelFile::new(unsound, Stored::F32, Digest::default()), Err(FileFault::Model(_))));
}

#[test]
fn a_file_on_disk_is_whole_or_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.model");
    whole().write(&path).expect("a writable folder");
    assert_eq!(ModelFile::read(&path, &roi_channels_digest()).expect("a sound file"), whole());
    let names: Vec<_> = folder.path().read_dir().expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names, ["a.model"], "nothing is left beside it");
    let missing = folder.path().join("no/such.model");
    assert!(matches!(whole().write(&missing), Err(FileFault::Disk { .. })));
    let refusal = ModelFile::read(&missing, &Digest::default()).expect_err("no file").to_string();
    assert!(refusal.starts_with(&missing.display().to_string()), "{refusal}");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        inputs in 1_usize..4, outputs in 1_usize..3, base in 1_usize..4, levels in 1_usize..4,
        half in any::<bool>(), scale in 1e-6_f32..1e4,
        figures in proptest::collection::btree_map(".{0,12}", ".{0,12}", 0..4),
        ranges in proptest::collection::btree_map(".{0,12}", (-1e30_f32..0.0, 0.0_f32..1e30), 0..4),
    ) {
        let stored = if half { Stored::F16 } else { Stored::F32 };
        let shape = Shape { inputs, outputs, base, levels };
        let mut file = ModelFile::new(model(shape, scale), stored, roi_channels_digest()).expect("a sound model");
        file.figures = figures;
        file.ranges = ranges.into_iter().map(|(name, (low, high))| (name, [low, high])).collect();
        let bytes = file.to_bytes().expect("a sound file");
        let again = ModelFile::from_bytes(&bytes, &roi_channels_digest()).expect("a sound file");
        prop_assert_eq!(again.model().digest(), file.model().digest());
        prop_assert_eq!(again, file);
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(ModelFile::from_bytes(&bytes, &roi_channels_digest()).is_err());
    }

    /// Damage behind a right digest: refused or read, and what is read is a sound model.
    #[test]
    fn any_damage_is_answered(at in 0_usize..4000, new in any::<u8>(), cut in 0_usize..64) {
        let mut bytes = whole().to_bytes().expect("a sound file");
        let at = at % bytes.len();
        bytes[at] = new;
        bytes.truncate(bytes.len() - if cut < 8 { cut } else { 0 });
        if let Ok(file) = ModelFile::from_bytes(&signed(bytes), &roi_channels_digest()) {
            prop_assert!(file.model().check().is_ok());
        }
    }
}
