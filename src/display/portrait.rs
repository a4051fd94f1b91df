//! A digital patient as an `.rrd`: scans as slices to scroll through, vessels, core, shift, microscope.

use super::DisplayError;
use crate::portrait::{MODALITIES, Portrait, SHIFT_MINUTES};
use bregma_patient::{Label, VesselKind};
use rerun::RecordingStreamBuilder;
use std::path::Path;

/// Writes it.
///
/// # Errors
/// When rerun refuses.
pub fn write(portrait: &Portrait, path: &Path) -> Result<(), DisplayError> {
    let refused = |what: &'static str| move |e: rerun::RecordingStreamError| DisplayError::Rerun(what, e.to_string());
    let stream = RecordingStreamBuilder::new("bregma patient").save(path).map_err(refused("open the file"))?;
    let log = |path: &str, what: &dyn rerun::AsComponents| stream.log_static(path, what).map_err(refused("log"));

    for (scan, modality) in portrait.scans.iter().zip(MODALITIES) {
        let volume = scan.volume();
        let [nx, ny, nz] = volume.dims.map(|n| n as u64);
        // Rows of the tensor run slowest.
        let buffer = rerun::TensorBuffer::F32(volume.intensities.clone().into());
        let data = rerun::TensorData::new(vec![nz, ny, nx], buffer).with_dim_names([
            "z, towards the head",
            "y, towards the back",
            "x, towards the left",
        ]);
        log(&format!("scans/{modality:?}"), &rerun::Tensor::new(data))?;
    }
    for (kind, colour, name) in
        [(VesselKind::Artery, [230, 60, 60], "arteries"), (VesselKind::Vein, [80, 120, 240], "veins")]
    {
        let pieces: Vec<_> = portrait.patient.vessels().filter(|(k, _)| *k == kind).map(|(_, piece)| piece).collect();
        let point = |p: &nalgebra::Point3<f64>| p.coords.cast::<f32>().into();
        let lines: Vec<[[f32; 3]; 2]> = pieces.iter().map(|v| [point(&v.start), point(&v.end)]).collect();
        let strips = rerun::LineStrips3D::new(lines)
            .with_radii(pieces.iter().map(|v| v.radius_mm as f32))
            .with_colors([rerun::Color::from_rgb(colour[0], colour[1], colour[2])]);
        log(&format!("patient/{name}"), &strips)?;
    }
    let core: Vec<[f32; 3]> =
        portrait.patient.labelled(|label: Label| label.core()).map(|at| at.coords.cast::<f32>().into()).collect();
    let points = rerun::Points3D::new(core).with_radii([0.6]).with_colors([rerun::Color::from_rgb(200, 50, 50)]);
    log("patient/core", &points)?;

    let (grid, moved) = &portrait.shift;
    let shown: Vec<usize> = (0..grid.len()).filter(|i| moved[*i].norm() > 0.5).collect();
    let origins: Vec<[f32; 3]> =
        shown.iter().map(|i| grid.centre(grid.voxel(*i)).coords.cast::<f32>().into()).collect();
    let vectors: Vec<[f32; 3]> = shown.iter().map(|i| moved[*i].into()).collect();
    let arrows = rerun::Arrows3D::from_vectors(vectors)
        .with_origins(origins)
        .with_colors([rerun::Color::from_rgb(90, 230, 140)]);
    log(&format!("patient/shift after {SHIFT_MINUTES:.0} minutes"), &arrows)?;

    for (frame, light) in portrait.pictures.iter().zip(["white", "violet"]) {
        let size = [frame.width as u32, frame.height as u32];
        log(&format!("microscope/{light}"), &rerun::Image::from_rgb24(frame.rgb.clone(), size))?;
    }
    log("about", &rerun::TextDocument::new(portrait.words()))?;
    stream.flush_blocking().map_err(|e| DisplayError::Rerun("finish the file", e.to_string()))
}
