//! Reduces a T1 of one head to a small asset: brightness, grey and white matter on the template's grid.
//!
//! `cargo run --release -p bregma-patient --example single_head -- T1.nii.gz FOLDER NAME`

use bregma_patient::import_anatomy;
use flate2::Compression;
use ndarray::{Array3, ShapeBuilder};
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;
use std::io::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [scan, folder, name] = args.as_slice() else {
        return Err("T1.nii.gz FOLDER NAME are needed".into());
    };
    let head = import_anatomy(Path::new(scan), &mut |_, _| {})?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:#?}\n{:#?}", head.report(), head.warnings())?;
    let grid = head.grid();
    let [x, y, z] = grid.origin.map(|v| v as f32);
    // NIfTI's world is RAS: x and y run the other way.
    let header = NiftiHeader {
        pixdim: [1.0; 8],
        xyzt_units: 2,
        sform_code: 4,
        srow_x: [-1.0, 0.0, 0.0, -x],
        srow_y: [0.0, -1.0, 0.0, -y],
        srow_z: [0.0, 0.0, 1.0, z],
        ..NiftiHeader::default()
    };
    let [nx, ny, nz] = grid.dims;
    for (what, values) in ["t1", "gm", "wm"].iter().zip(head.maps()) {
        let path = Path::new(folder).join(format!("{name}_{what}.nii.gz"));
        let array = Array3::from_shape_vec((nx, ny, nz).f(), values.to_vec())?;
        WriterOptions::new(&path)
            .reference_header(&header)
            .compression_level(Compression::best())
            .write_nifti(&array)?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}
