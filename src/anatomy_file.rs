//! The surgeon's plan as files: `anatomy.toml` beside a label map in NIfTI.
//!
//! **Units and frames:** millimetres in patient LPS coordinates of the scan whose `frame_of_reference` is
//! named. Labels are read through ingest, like any other scan.

use anyhow::{Context, bail, ensure};
use bregma_core::flow::{Anatomy, Capsule, Corridor, Craniotomy, Modality, Region, RegionKind, Volume};
use bregma_core::frame::FrameId;
use bregma_core::grid::Grid;
use nalgebra::{Matrix4, Point3, Unit, Vector3};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The words of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    labels: String,
    corridor: CorridorWords,
    craniotomy: CraniotomyWords,
    #[serde(default)]
    regions: Vec<RegionWords>,
    #[serde(default)]
    vessels: Vec<VesselWords>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CorridorWords {
    entry_mm: [f64; 3],
    target_mm: [f64; 3],
    entry_radius_mm: f64,
    end_radius_mm: f64,
    open_mm: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CraniotomyWords {
    centre_mm: [f64; 3],
    outward: [f64; 3],
    radius_mm: f64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionWords {
    label: u8,
    name: String,
    kind: KindWord,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindWord {
    Eloquent,
    Skull,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VesselWords {
    start_mm: [f64; 3],
    end_mm: [f64; 3],
    radius_mm: f64,
}

fn inside(name: &str, value: f64, low: f64, high: f64) -> anyhow::Result<f64> {
    ensure!((low..=high).contains(&value), "`{name}` is {value}; it must lie in {low} to {high}");
    Ok(value)
}

fn point(name: &str, mm: [f64; 3]) -> anyhow::Result<Point3<f64>> {
    for value in mm {
        inside(name, value, -500.0, 500.0)?;
    }
    Ok(Point3::from(mm))
}

/// Reads `anatomy.toml` and the label map beside it.
///
/// # Errors
/// What is wrong, in which file and key, and what would be right.
pub fn read(path: &Path, frame: FrameId) -> anyhow::Result<Anatomy> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read the anatomy {}", path.display()))?;
    let words: Words = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    resolve(words, path, frame).with_context(|| format!("in {}", path.display()))
}

fn resolve(words: Words, path: &Path, frame: FrameId) -> anyhow::Result<Anatomy> {
    let labels_path = path.parent().unwrap_or(Path::new(".")).join(&words.labels);
    let volume = bregma_ingest::mri::read(&labels_path, Modality::T1)?;
    let (grid, labels) = label_map(&volume).with_context(|| format!("in {}", labels_path.display()))?;
    let regions: Vec<Region> = words
        .regions
        .into_iter()
        .map(|r| Region {
            label: r.label,
            name: r.name,
            kind: match r.kind {
                KindWord::Eloquent => RegionKind::Eloquent,
                KindWord::Skull => RegionKind::Skull,
            },
        })
        .collect();
    if let Some(unknown) = labels.iter().find(|l| **l != 0 && regions.iter().all(|r| r.label != **l)) {
        bail!("the label map holds label {unknown}, which no [[regions]] entry names");
    }
    let outward = Unit::try_new(Vector3::from(words.craniotomy.outward), 1e-6)
        .context("`craniotomy.outward` must be a direction, not zero or NaN")?;
    let vessels = words
        .vessels
        .into_iter()
        .map(|v| {
            Ok(Capsule {
                start: point("vessels.start_mm", v.start_mm)?,
                end: point("vessels.end_mm", v.end_mm)?,
                radius_mm: inside("vessels.radius_mm", v.radius_mm, 0.05, 10.0)?,
            })
        })
        .collect::<anyhow::Result<_>>()?;
    let corridor = Corridor {
        entry: point("corridor.entry_mm", words.corridor.entry_mm)?,
        target: point("corridor.target_mm", words.corridor.target_mm)?,
        entry_radius_mm: inside("corridor.entry_radius_mm", words.corridor.entry_radius_mm, 1.0, 40.0)?,
        end_radius_mm: inside("corridor.end_radius_mm", words.corridor.end_radius_mm, 1.0, 40.0)?,
        open_mm: inside("corridor.open_mm", words.corridor.open_mm, 0.0, 120.0)?,
    };
    inside("corridor length", nalgebra::distance(&corridor.entry, &corridor.target), 1.0, 150.0)?;
    let mut anatomy = Anatomy {
        frame,
        vessels,
        grid,
        labels,
        regions,
        craniotomy: Craniotomy {
            centre: point("craniotomy.centre_mm", words.craniotomy.centre_mm)?,
            outward: outward.into_inner(),
            radius_mm: inside("craniotomy.radius_mm", words.craniotomy.radius_mm, 3.0, 80.0)?,
        },
        corridor,
        digest: Default::default(),
    };
    anatomy.digest = anatomy.digest_of_content();
    Ok(anatomy)
}

/// A label map must lie along the patient's axes with one spacing: it is planned, not scanned.
fn label_map(volume: &Volume) -> anyhow::Result<(Grid, Vec<u8>)> {
    let m = &volume.patient_from_voxel;
    let spacing_mm = m[(0, 0)];
    let straight = Matrix4::new_translation(&m.fixed_view::<3, 1>(0, 3).into_owned()).prepend_scaling(spacing_mm);
    ensure!(
        spacing_mm > 0.0 && (m - straight).amax() < 1e-3,
        "a label map's voxels must be cubes along the patient's axes; resample it (its affine is {m:.3})"
    );
    let labels = volume
        .intensities
        .iter()
        .map(|v| {
            let label = v.round();
            ensure!((0.0..=255.0).contains(&label), "{v} is no label: whole numbers from 0 to 255 are");
            Ok(label as u8)
        })
        .collect::<anyhow::Result<_>>()?;
    Ok((Grid { dims: volume.dims, spacing_mm, origin: [m[(0, 3)], m[(1, 3)], m[(2, 3)]] }, labels))
}

/// Writes `anatomy.toml`; the label map is the caller's, under `labels`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, anatomy: &Anatomy, labels: &str) -> anyhow::Result<()> {
    let words = Words {
        labels: labels.to_owned(),
        corridor: CorridorWords {
            entry_mm: anatomy.corridor.entry.into(),
            target_mm: anatomy.corridor.target.into(),
            entry_radius_mm: anatomy.corridor.entry_radius_mm,
            end_radius_mm: anatomy.corridor.end_radius_mm,
            open_mm: anatomy.corridor.open_mm,
        },
        craniotomy: CraniotomyWords {
            centre_mm: anatomy.craniotomy.centre.into(),
            outward: anatomy.craniotomy.outward.into(),
            radius_mm: anatomy.craniotomy.radius_mm,
        },
        regions: anatomy
            .regions
            .iter()
            .map(|r| RegionWords {
                label: r.label,
                name: r.name.clone(),
                kind: match r.kind {
                    RegionKind::Eloquent => KindWord::Eloquent,
                    RegionKind::Skull => KindWord::Skull,
                },
            })
            .collect(),
        vessels: anatomy
            .vessels
            .iter()
            .map(|v| VesselWords { start_mm: v.start.into(), end_mm: v.end.into(), radius_mm: v.radius_mm })
            .collect(),
    };
    let text = toml::to_string(&words).context("the anatomy cannot be put into TOML")?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
