//! Scans of one patient: contrasts, cavity, files read back.

use super::*;
use crate::patient::PatientSettings;
use crate::patient::tests::grown;
use ::nifti::{NiftiObject, ReaderOptions};
use std::io::Write as _;
use std::process::Command;

fn mean(volume: &Volume, patient: &Patient, wanted: impl Fn(usize) -> bool) -> f32 {
    let (truth, head) = (&patient.truth, &patient.head);
    let at = |i: usize| head.grid.containing(&truth.grid.centre(truth.grid.voxel(i)));
    let found = (0..truth.grid.len()).filter(|i| wanted(*i)).filter_map(at);
    let values: Vec<f32> = found.map(|v| volume.intensities[head.grid.index(v)]).collect();
    values.iter().sum::<f32>() / values.len() as f32
}

#[test]
fn rim_and_oedema_show_and_necrosis_does_not() {
    let p = grown();
    let of = |volume: &Volume, label| mean(volume, &p, |i| p.truth.labels[i] == label);
    let t1c = p.scan(Modality::T1c);
    assert!(of(&t1c, Label::Enhancing) > of(&t1c, Label::White) + 30.0);
    assert!(of(&t1c, Label::Necrosis) < of(&t1c, Label::Enhancing) - 40.0);
    let flair = p.scan(Modality::Flair);
    assert!(of(&flair, Label::Infiltrated) > of(&flair, Label::White) + 40.0);
    assert!(t1c.intensities.iter().all(|v| v.is_finite()));
}

#[test]
fn figures_are_those_of_the_contrasts() {
    let p = grown();
    let (figures, drawn) = (p.scan_figures(), p.contrasts(Modality::T1c));
    assert!((figures.core_ml - p.core_ml()).abs() < 1e-9 && figures.whole_ml > figures.core_ml);
    // Blur and texture take part of what was drawn.
    assert!((figures.t1c.rim - f64::from(drawn.rim)).abs() < 0.2 * f64::from(drawn.rim), "{figures:?} {drawn:?}");
    let flair = p.contrasts(Modality::Flair);
    assert!((figures.flair.oedema - f64::from(flair.oedema)).abs() < 0.25, "{figures:?} {flair:?}");
    assert!((figures.flair.grey - f64::from(flair.grey)).abs() < 0.1, "{figures:?} {flair:?}");
}

#[test]
fn a_low_grade_core_does_not_enhance() {
    let mut settings = PatientSettings::default();
    settings.tumour.low_grade_share = 1.0;
    let p = Patient::grow(2, &settings).expect("grows");
    assert!(p.truth.labels.iter().all(|l| *l != Label::Necrosis));
    let figures = p.scan_figures();
    assert!(figures.t1c.rim < 1.0 && figures.flair.rim > 1.2, "{figures:?}");
}

#[test]
fn a_written_scan_lies_where_the_patient_does() {
    let p = grown();
    let dir = tempfile::tempdir().expect("a folder");
    let paths = p.write_preoperative(dir.path()).expect("writes");
    let object = ReaderOptions::new().read_file(&paths[0]).expect("reads back");
    let header = object.header().clone();
    let text = String::from_utf8_lossy(&header.descrip).into_owned();
    assert_eq!(text.trim_end_matches('\0'), p.uid());
    let data = object.into_volume().into_nifti_typed_data::<i16>().expect("whole numbers");
    let scan = p.scan(Modality::T1c);
    // A voxel keeps its value, and its place by the file's own RAS affine is its place in LPS.
    let voxel = [60_usize, 100, 90];
    let index = voxel[0] + scan.dims[0] * (voxel[1] + scan.dims[1] * voxel[2]);
    assert!((f32::from(data[index]) - scan.intensities[index]).abs() <= 0.5);
    let row = |r: [f32; 4]| (0..3).map(|a| f64::from(r[a]) * voxel[a] as f64).sum::<f64>() + f64::from(r[3]);
    let ras = [row(header.srow_x), row(header.srow_y), row(header.srow_z)];
    let at = Point3::from(std::array::from_fn::<f64, 3, _>(|a| voxel[a] as f64));
    let lps = scan.patient_from_voxel.transform_point(&at);
    assert!((ras[0] + lps.x).abs() < 1e-3 && (ras[1] + lps.y).abs() < 1e-3 && (ras[2] - lps.z).abs() < 1e-3);
    assert!(p.write_preoperative(&dir.path().join("absent")).is_err());
}

/// A small asymmetric volume, half a voxel off whole numbers, with slices of 3 mm.
fn phantom(modality: Modality) -> Volume {
    let dims = [12, 10, 5];
    Volume {
        modality,
        dims,
        intensities: (0..dims.iter().product()).map(|i| (i * 7 % 1901) as f32).collect(),
        patient_from_voxel: Matrix4::new_translation(&Vector3::new(-60.25, -33.5, 12.125))
            .prepend_nonuniform_scaling(&Vector3::new(0.5, 0.75, 3.0)),
        frame: grown().frame(),
        acquired: Instant::START,
        shift: None,
    }
}

#[test]
fn a_dicom_series_is_read_back_by_the_runtime_as_the_same_volume() {
    let dir = tempfile::tempdir().expect("a folder");
    let (p, volume) = (grown(), phantom(Modality::Flair));
    let paths = p.write_dicom(&volume, dir.path()).expect("writes");
    assert_eq!(paths.len(), 5);
    let back = bregma_ingest::mri::read(dir.path(), Modality::Flair).expect("is a series");
    assert_eq!((back.dims, &back.intensities, back.frame), (volume.dims, &volume.intensities, volume.frame));
    assert!((back.patient_from_voxel - volume.patient_from_voxel).amax() < 1e-6);
    // The same scan, the same bytes.
    let again = tempfile::tempdir().expect("a folder");
    let other = p.write_dicom(&volume, again.path()).expect("writes");
    let bytes = |path: &PathBuf| std::fs::read(path).expect("is there");
    assert!(paths.iter().zip(&other).all(|(a, b)| bytes(a) == bytes(b)));
    let mut tilted = volume;
    tilted.patient_from_voxel[(0, 1)] = 0.1;
    assert!(p.write_dicom(&tilted, dir.path()).is_err());
}

/// Past the test runner, which keeps what a passing test prints to itself.
fn not_run(why: &str) {
    writeln!(std::io::stderr(), "not run: {why}").expect("stderr takes a line");
}

#[test]
fn independent_checkers_find_no_error_in_a_series() {
    let p = grown();
    for modality in [Modality::T1, Modality::T1c, Modality::T2, Modality::Flair, Modality::Mra] {
        let dir = tempfile::tempdir().expect("a folder");
        let paths = p.write_dicom(&phantom(modality), dir.path()).expect("writes");
        for checker in ["dcmftest", "dciodvfy"] {
            let Ok(found) = Command::new(checker).arg(&paths[2]).output() else {
                not_run(&format!("{checker} is not installed (make peers)"));
                continue;
            };
            let said = format!("{}{}", String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
            let good = if checker == "dcmftest" { said.contains("yes:") } else { !said.contains("Error") };
            assert!(good && found.status.success(), "{checker} on {modality:?}: {said}");
        }
    }
}

/// Prints size, affine (rows) and every value of a series, as pydicom reads it.
const PYDICOM: &str = "
import sys, pydicom, numpy as np
slices = [pydicom.dcmread(p) for p in sys.argv[1:]]
row, column = (np.array(slices[0].ImageOrientationPatient[a:a + 3], float) for a in (0, 3))
normal = np.cross(row, column)
slices.sort(key=lambda s: float(np.dot(normal, np.array(s.ImagePositionPatient, float))))
first, last = (np.array(slices[i].ImagePositionPatient, float) for i in (0, -1))
down, across = (float(v) for v in slices[0].PixelSpacing)
affine = np.column_stack([row * across, column * down, (last - first) / (len(slices) - 1), first])
print(slices[0].Columns, slices[0].Rows, len(slices))
print(*affine.flatten())
for s in slices:
    values = s.pixel_array * float(getattr(s, 'RescaleSlope', 1)) + float(getattr(s, 'RescaleIntercept', 0))
    print(*values.flatten())
";

#[test]
fn pydicom_reads_a_series_back_to_the_same_array_and_affine() {
    let python = std::env::var_os("BREGMA_PEERS").map(|p| PathBuf::from(p).join("bin/python")).filter(|p| p.exists());
    let Some(python) = python else {
        not_run("pydicom is not installed (make peers)");
        return;
    };
    let (p, volume) = (grown(), phantom(Modality::T2));
    let dir = tempfile::tempdir().expect("a folder");
    let paths = p.write_dicom(&volume, dir.path()).expect("writes");
    let run = Command::new(python).args(["-c", PYDICOM]).args(&paths).output().expect("python runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let said = String::from_utf8(run.stdout).expect("text");
    let mut lines = said.lines().map(|l| l.split(' ').map(|n| n.parse::<f64>().expect("a number")).collect::<Vec<_>>());
    assert_eq!(lines.next().expect("a size"), volume.dims.map(|n| n as f64));
    let affine = lines.next().expect("an affine");
    for (n, value) in affine.iter().enumerate() {
        assert!((value - volume.patient_from_voxel[(n / 4, n % 4)]).abs() < 1e-6, "{affine:?}");
    }
    let values: Vec<f32> = lines.flatten().map(|v| v as f32).collect();
    assert_eq!(values, volume.intensities);
}
