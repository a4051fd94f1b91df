//! Reads a model's file. No length in it is believed before it was compared with the bytes that are there.

use super::super::{Layer, Model, Shape};
use super::{FileFault, HEADER, MAGIC, MANIFEST_MAX, Manifest, ModelFile, ShapeWords, Stored, VERSION};
use super::{fault, file_digest, numbers};
use bregma_core::digest::Digest;
use half::f16;
use std::collections::BTreeMap;

/// Four bytes at an offset within the header, which is there.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

pub(super) fn file(bytes: &[u8], channels: &Digest) -> Result<ModelFile, FileFault> {
    let manifest_bytes = manifest_length(bytes)?;
    let manifest = manifest(&bytes[HEADER..HEADER + manifest_bytes])?;
    let ShapeWords { inputs, outputs, base, levels } = manifest.shape;
    let shape = Shape { inputs, outputs, base, levels };
    shape.check()?;
    if manifest.channels != channels.to_string() {
        return Err(FileFault::Channels { found: manifest.channels, expected: *channels });
    }
    if let Some(pair) = manifest.ranges.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(FileFault::Names { name: pair[0].clone() });
    }

    // No product overflows: the shape is within bounds, and names were read from bytes that are there.
    let start = HEADER + manifest_bytes;
    let expected = start + numbers(&shape) * manifest.precision.bytes() + manifest.ranges.len() * 8;
    if bytes.len() < expected {
        return Err(FileFault::Short { part: "numbers", found: bytes.len(), expected });
    }
    if bytes.len() > expected {
        return Err(FileFault::Long { found: bytes.len(), expected });
    }
    let (says, is) = (Digest(bytes[16..HEADER].try_into().expect("32 bytes")), file_digest(bytes));
    if says != is {
        return Err(FileFault::Digest { found: says, expected: is });
    }

    let mut from = Numbers { bytes, offset: start };
    let model = model(shape, manifest.precision, &mut from)?;
    let is = model.digest();
    if manifest.model != is.to_string() {
        return Err(FileFault::OtherModel { found: manifest.model, expected: is });
    }
    let mut ranges = BTreeMap::new();
    for name in manifest.ranges {
        let offset = from.offset;
        let range = [from.next(Stored::F32), from.next(Stored::F32)];
        fault::bounds(&name, range, offset)?;
        ranges.insert(name, range);
    }
    Ok(ModelFile { model, stored: manifest.precision, channels: *channels, figures: manifest.figures, ranges })
}

/// Checks the header; the manifest's bytes are there.
fn manifest_length(bytes: &[u8]) -> Result<usize, FileFault> {
    let short = |part, expected| Err(FileFault::Short { part, found: bytes.len(), expected });
    if let Some(found) = bytes.first_chunk().filter(|first| **first != MAGIC) {
        return Err(FileFault::Magic { found: *found, expected: MAGIC });
    }
    if bytes.len() < HEADER {
        return short("header", HEADER);
    }
    let version = u32_at(bytes, 8);
    if version != VERSION {
        return Err(FileFault::Version { found: version, expected: VERSION });
    }
    let length = u32_at(bytes, 12) as usize;
    if length > MANIFEST_MAX {
        return Err(FileFault::ManifestLength { value: length, max: MANIFEST_MAX });
    }
    if bytes.len() < HEADER + length {
        return short("manifest", HEADER + length);
    }
    Ok(length)
}

fn manifest(bytes: &[u8]) -> Result<Manifest, FileFault> {
    serde_json::from_slice(bytes).map_err(|why| {
        // serde_json counts lines and columns from 1; an empty manifest is wrong in line 0 or column 0.
        let before = bytes.split_inclusive(|b| *b == b'\n').take(why.line().saturating_sub(1)).map(<[u8]>::len);
        let offset = HEADER + before.sum::<usize>() + why.column().saturating_sub(1);
        FileFault::Manifest { offset, why: why.to_string() }
    })
}

/// Numbers one after the other; their bytes are there.
struct Numbers<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Numbers<'_> {
    fn next(&mut self, stored: Stored) -> f32 {
        let at = &self.bytes[self.offset..];
        self.offset += stored.bytes();
        match stored {
            Stored::F32 => f32::from_le_bytes([at[0], at[1], at[2], at[3]]),
            Stored::F16 => f16::from_le_bytes([at[0], at[1]]).to_f32(),
        }
    }
}

fn model(shape: Shape, stored: Stored, from: &mut Numbers<'_>) -> Result<Model, FileFault> {
    let mut layers = Vec::new();
    for place in shape.layers() {
        let mut take = |count: usize| {
            let mut values = Vec::with_capacity(count);
            for _ in 0..count {
                let (offset, value) = (from.offset, from.next(stored));
                if !value.is_finite() {
                    return Err(FileFault::NotFinite { offset, layer: place.name.clone() });
                }
                values.push(value);
            }
            Ok(values)
        };
        let (weight, bias) = (take(place.weights())?, take(place.outputs)?);
        layers.push(Layer { shape: place, weight, bias });
    }
    Ok(Model { shape, layers })
}
