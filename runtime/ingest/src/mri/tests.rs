//! Synthetic scans, written here and read back: an asymmetric phantom in every orientation, and everything
//! that must be refused.

use super::labels::Lattice;
use super::segmentation::Maker;
use super::*;
use ::nifti::NiftiHeader;
use ::nifti::writer::WriterOptions;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use nalgebra::Matrix4;
use ndarray::Array3;
use proptest::prelude::*;
use tempfile::TempDir;

/// The phantom: 5 × 4 × 3 voxels along L, P, S, each with a value of its own.
const DIMS: [usize; 3] = [5, 4, 3];
const SPACING: [f64; 3] = [1.0, 1.5, 2.0];
const ORIGIN: [f64; 3] = [-7.0, 11.0, 23.0];

fn phantom([l, p, s]: [usize; 3]) -> i16 {
    (100 * l + 10 * p + s) as i16 - 200
}

/// How a file's voxel axis runs: along which patient axis, and whether backwards.
type Axes = [(usize, bool); 3];

fn all_48() -> Vec<Axes> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let with_signs = |o: [usize; 3]| (0..8_u8).map(move |s| [0, 1, 2].map(|a| (o[a], s >> a & 1 == 1)));
    orders.into_iter().flat_map(with_signs).collect()
}

/// Patient voxel of a file's voxel.
fn patient_voxel(axes: &Axes, file: [usize; 3]) -> [usize; 3] {
    let mut out = [0; 3];
    for (a, (patient, back)) in axes.iter().enumerate() {
        out[*patient] = if *back { DIMS[*patient] - 1 - file[a] } else { file[a] };
    }
    out
}

fn file_dims(axes: &Axes) -> [usize; 3] {
    axes.map(|(patient, _)| DIMS[patient])
}

fn lps_from_patient_voxel() -> Matrix4<f64> {
    let mut m = Matrix4::from_diagonal(&[SPACING[0], SPACING[1], SPACING[2], 1.0].into());
    (0..3).for_each(|a| m[(a, 3)] = ORIGIN[a]);
    m
}

/// The file's own affine, LPS.
fn lps_from_file_voxel(axes: &Axes) -> Matrix4<f64> {
    let mut m = Matrix4::zeros();
    m[(3, 3)] = 1.0;
    for (a, (patient, back)) in axes.iter().enumerate() {
        m[(*patient, a)] = if *back { -SPACING[*patient] } else { SPACING[*patient] };
        m[(*patient, 3)] =
            ORIGIN[*patient] + if *back { SPACING[*patient] * (DIMS[*patient] as f64 - 1.0) } else { 0.0 };
    }
    m
}

fn ras_rows(lps: &Matrix4<f64>, unit: f64) -> [[f32; 4]; 3] {
    let sign = [-1.0, -1.0, 1.0];
    std::array::from_fn(|r| std::array::from_fn(|c| (lps[(r, c)] * sign[r] * unit) as f32))
}

fn nifti_header(axes: &Axes) -> NiftiHeader {
    let [srow_x, srow_y, srow_z] = ras_rows(&lps_from_file_voxel(axes), 1.0);
    NiftiHeader { srow_x, srow_y, srow_z, sform_code: 1, qform_code: 0, xyzt_units: 2, ..NiftiHeader::default() }
}

fn write_nifti(path: &Path, axes: &Axes, header: &NiftiHeader) {
    let [x, y, z] = file_dims(axes);
    let data = Array3::from_shape_fn((x, y, z), |(i, j, k)| phantom(patient_voxel(axes, [i, j, k])));
    WriterOptions::new(path).reference_header(header).write_nifti(&data).expect("a temporary folder takes files");
}

fn assert_is_phantom(volume: &Volume, what: &str) {
    assert_eq!(volume.dims, DIMS, "{what}");
    let off = (volume.patient_from_voxel - lps_from_patient_voxel()).abs().max();
    assert!(off < 1e-4, "{what}: affine off by {off}: {}", volume.patient_from_voxel);
    for (index, value) in volume.intensities.iter().enumerate() {
        let voxel = [index % 5, index / 5 % 4, index / 20];
        assert!((value - f32::from(phantom(voxel))).abs() < 1e-3, "{what}: voxel {voxel:?} is {value}");
    }
}

const PLAIN: Axes = [(0, false), (1, false), (2, false)];

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[test]
fn nifti_in_all_48_orientations_is_the_same_volume() {
    let dir = folder();
    for (n, axes) in all_48().iter().enumerate() {
        let path = dir.path().join(if n.is_multiple_of(2) { "phantom.nii" } else { "phantom.nii.gz" });
        write_nifti(&path, axes, &nifti_header(axes));
        assert_is_phantom(&read(&path, Modality::T1c).expect("whole"), &format!("{axes:?}"));
    }
}

#[test]
fn a_qform_places_the_same_volume_as_an_sform() {
    let dir = folder();
    let path = dir.path().join("qform.nii");
    // 180° about z: a RAS quaternion (b, c, d) = (0, 0, 1) turns both in-plane axes, which is LPS.
    let [x, y, z] = ORIGIN.map(|v| v as f32);
    let header = NiftiHeader {
        qform_code: 1,
        sform_code: 0,
        quatern_d: 1.0,
        quatern_x: -x,
        quatern_y: -y,
        quatern_z: z,
        pixdim: [1.0, 1.0, 1.5, 2.0, 1.0, 1.0, 1.0, 1.0],
        ..NiftiHeader::default()
    };
    write_nifti(&path, &PLAIN, &header);
    assert_is_phantom(&read(&path, Modality::T1).expect("whole"), "qform");
    // qfac −1 turns the third axis round.
    let axes = [(0, false), (1, false), (2, true)];
    let pixdim = [-1.0, 1.0, 1.5, 2.0, 1.0, 1.0, 1.0, 1.0];
    write_nifti(&path, &axes, &NiftiHeader { pixdim, quatern_z: z + 4.0, ..header });
    assert_is_phantom(&read(&path, Modality::T1).expect("whole"), "qform, qfac -1");
}

#[test]
fn metres_and_micrometres_become_millimetres() {
    let dir = folder();
    for (code, unit) in [(1_u8, 1e-3), (3, 1e3)] {
        let path = dir.path().join("units.nii");
        let [srow_x, srow_y, srow_z] = ras_rows(&lps_from_file_voxel(&PLAIN), unit);
        let header = NiftiHeader { srow_x, srow_y, srow_z, xyzt_units: code, ..nifti_header(&PLAIN) };
        write_nifti(&path, &PLAIN, &header);
        assert_is_phantom(&read(&path, Modality::T2).expect("whole"), &format!("unit code {code}"));
    }
}

#[test]
fn an_oblique_scan_keeps_every_voxel_in_its_place() {
    let dir = folder();
    let tilt = nalgebra::Rotation3::from_euler_angles(0.3, -0.2, 0.25).to_homogeneous();
    for axes in all_48() {
        let path = dir.path().join("oblique.nii");
        let lps = tilt * lps_from_file_voxel(&axes);
        let [srow_x, srow_y, srow_z] = ras_rows(&lps, 1.0);
        write_nifti(&path, &axes, &NiftiHeader { srow_x, srow_y, srow_z, ..nifti_header(&axes) });
        let volume = read(&path, Modality::T1).expect("whole");
        let expected = tilt * lps_from_patient_voxel();
        assert!((volume.patient_from_voxel - expected).abs().max() < 1e-4, "{axes:?}");
        assert!((volume.intensities[4] - f32::from(phantom([4, 0, 0]))).abs() < 1e-3);
    }
}

#[test]
fn labels_lie_on_the_voxels_of_the_scans_file_in_its_own_order() {
    let dir = folder();
    let (scan, out) = (dir.path().join("scan.nii"), dir.path().join("labels.nii.gz"));
    let tilt = nalgebra::Rotation3::from_euler_angles(0.3, -0.2, 0.25).to_homogeneous();
    for axes in all_48() {
        let lps = tilt * lps_from_file_voxel(&axes);
        let [srow_x, srow_y, srow_z] = ras_rows(&lps, 1.0);
        write_nifti(&scan, &axes, &NiftiHeader { srow_x, srow_y, srow_z, ..nifti_header(&axes) });
        let lattice = Lattice::of_file(&scan).expect("a scan");
        assert_eq!(lattice.dims, file_dims(&axes));
        assert!((lattice.patient_from_voxel - lps).abs().max() < 1e-4 && (lattice.voxel_ml() - 3e-3).abs() < 1e-6);
        // Each voxel says what its neighbours do not.
        let labels: Vec<u8> = (1..=60).collect();
        lattice.write(&out, labels.clone()).expect("written");
        let written = NiftiHeader::from_file(&out).expect("a header");
        assert_eq!((written.srow_x, written.srow_y, written.srow_z), (srow_x, srow_y, srow_z), "to the bit");
        let (order, again) = (read(&scan, Modality::T1).expect("whole"), read(&out, Modality::T1).expect("whole"));
        assert_eq!((order.dims, order.patient_from_voxel), (again.dims, again.patient_from_voxel));
        let from_patient = lps.try_inverse().expect("regular");
        for (index, value) in again.intensities.iter().enumerate() {
            let [nx, ny, _] = again.dims;
            let voxel =
                nalgebra::Point3::new((index % nx) as f64, (index / nx % ny) as f64, (index / (nx * ny)) as f64);
            let at = from_patient.transform_point(&again.patient_from_voxel.transform_point(&voxel));
            let [i, j, k] = [at.x, at.y, at.z].map(|c| c.round() as usize);
            let [fx, fy, _] = lattice.dims;
            assert_eq!(*value, f32::from(labels[i + fx * (j + fy * k)]), "{axes:?}");
        }
    }
    // Of a DICOM series: columns, rows, slices.
    for axes in all_48().into_iter().step_by(5) {
        let series_dir = folder();
        write_series(series_dir.path(), series(&axes));
        let lattice = Lattice::of_series(series_dir.path()).expect("a series");
        lattice.write(&out, (1..=60).collect()).expect("written");
        let volume = read(&out, Modality::T1).expect("whole");
        let back = lattice.patient_from_voxel.try_inverse().expect("regular");
        let at =
            back.transform_point(&volume.patient_from_voxel.transform_point(&nalgebra::Point3::new(1.0, 2.0, 1.0)));
        let [i, j, k] = [at.x, at.y, at.z].map(|c| c.round() as usize);
        let [nx, ny, _] = lattice.dims;
        let index = 1 + volume.dims[0] * (2 + volume.dims[1]);
        assert_eq!(volume.intensities[index], (1 + i + nx * (j + ny * k)) as f32, "{axes:?}");
    }
    std::fs::write(&scan, b"no header").expect("written");
    assert!(matches!(Lattice::of_file(&scan), Err(MriError::Truncated { .. })));
}

/// A name, what reading said, and what it should have.
type Case = (&'static str, Result<Volume, MriError>, fn(&MriError) -> bool);

/// Writes a phantom, changes bytes at places, and returns what reading says.
fn nifti_with(patches: &[(usize, &[u8])], cut: Option<usize>) -> Result<Volume, MriError> {
    let dir = folder();
    let path = dir.path().join("changed.nii");
    write_nifti(&path, &PLAIN, &nifti_header(&PLAIN));
    let mut bytes = std::fs::read(&path).expect("just written");
    for (at, patch) in patches {
        bytes[*at..*at + patch.len()].copy_from_slice(patch);
    }
    bytes.truncate(cut.unwrap_or(bytes.len()));
    std::fs::write(&path, bytes).expect("a temporary folder takes files");
    read(&path, Modality::T1)
}

#[test]
fn nifti_that_cannot_be_believed_is_refused_with_its_reason() {
    assert!(nifti_with(&[], None).is_ok(), "the file that the others are made from is whole");
    let four = [4_u16, 5, 4, 3, 2].map(u16::to_le_bytes).concat();
    let huge = [3_u16, 1024, 1024, 1024].map(u16::to_le_bytes).concat();
    let wide = [3_u16, 60_000, 4, 3].map(u16::to_le_bytes).concat();
    let nan = f32::NAN.to_le_bytes();
    let zero_column = [0_u8; 4];
    let cases: [Case; 13] = [
        ("cut in the volume", nifti_with(&[], Some(400)), |e| {
            matches!(e, MriError::Truncated { needed: 120, found: 48, .. })
        }),
        ("cut in the header", nifti_with(&[], Some(100)), |e| {
            matches!(e, MriError::Truncated { what: "the header", .. })
        }),
        ("empty", nifti_with(&[], Some(0)), |e| matches!(e, MriError::Truncated { .. })),
        ("four axes", nifti_with(&[(40, &four)], None), |e| matches!(e, MriError::Unsupported { .. })),
        ("2^30 voxels", nifti_with(&[(40, &huge)], None), |e| matches!(e, MriError::Size { .. })),
        ("60,000 across", nifti_with(&[(40, &wide)], None), |e| matches!(e, MriError::Size { .. })),
        ("no sform or qform", nifti_with(&[(252, &[0; 4])], None), |e| matches!(e, MriError::NoOrientation { .. })),
        ("NaN in the sform", nifti_with(&[(280, &nan)], None), |e| matches!(e, MriError::Affine { .. })),
        ("an axis of no length", nifti_with(&[(280, &zero_column)], None), |e| matches!(e, MriError::Affine { .. })),
        ("complex numbers", nifti_with(&[(70, &32_i16.to_le_bytes())], None), |e| {
            matches!(e, MriError::Unsupported { .. })
        }),
        ("wrong magic", nifti_with(&[(344, b"n+9\0")], None), |e| matches!(e, MriError::NotAScan { .. })),
        ("unit code 5", nifti_with(&[(123, &[5])], None), |e| matches!(e, MriError::Damaged { .. })),
        ("slope NaN", nifti_with(&[(112, &nan)], None), |e| matches!(e, MriError::Damaged { .. })),
    ];
    for (name, got, right) in cases {
        let why = got.expect_err(name);
        assert!(right(&why), "{name}: {why}");
        assert!(why.to_string().contains("changed.nii"), "{name} does not say where: {why}");
    }
}

#[test]
fn an_intensity_that_is_no_number_is_named() {
    let dir = folder();
    let path = dir.path().join("nan.nii");
    let data = Array3::from_shape_fn((3, 3, 3), |at| if at == (2, 1, 0) { f32::NAN } else { 1.0 });
    WriterOptions::new(&path).reference_header(&nifti_header(&PLAIN)).write_nifti(&data).expect("written");
    let why = read(&path, Modality::T1).expect_err("NaN");
    assert!(matches!(why, MriError::Intensity { voxel: [2, 1, 0], .. }), "{why}");
}

#[test]
fn damage_anywhere_in_a_gzip_stream_is_seen() {
    let dir = folder();
    let path = dir.path().join("phantom.nii.gz");
    write_nifti(&path, &PLAIN, &nifti_header(&PLAIN));
    let whole = std::fs::read(&path).expect("just written");
    let last = whole.len() - 6; // in the checksum
    let mut bad = whole.clone();
    bad[last] ^= 0xff;
    std::fs::write(&path, bad).expect("written");
    assert!(read(&path, Modality::T1).is_err());
    std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let why = read(&path, Modality::T1).expect_err("half a stream");
    assert!(matches!(why, MriError::Truncated { .. } | MriError::Damaged { .. }), "{why}");
}

#[test]
fn two_files_share_a_frame_only_if_the_caller_says_so() {
    let dir = folder();
    let (a, b) = (dir.path().join("a.nii"), dir.path().join("b.nii"));
    write_nifti(&a, &PLAIN, &nifti_header(&PLAIN));
    write_nifti(&b, &PLAIN, &NiftiHeader { cal_max: 1.0, ..nifti_header(&PLAIN) });
    let frame = |p: &Path| read(p, Modality::T1).expect("whole").frame;
    assert_eq!(frame(&a), frame(&a));
    assert_ne!(frame(&a), frame(&b));
    let claimed = read_in_frame(&b, Modality::T1, "1.2.3").expect("whole").frame;
    assert_eq!(claimed, FrameId::of_uid("1.2.3"));
}

/// One slice, for tests to change.
struct Slice {
    object: InMemDicomObject,
    name: String,
}

fn put(object: &mut InMemDicomObject, tag: dicom_core::Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    object.put(DataElement::new(tag, vr, value.into()));
}

fn joined(values: &[f64]) -> String {
    values.iter().map(f64::to_string).collect::<Vec<_>>().join("\\")
}

/// The phantom as a series: rows and columns along the first two axes, a slice for each of the third.
fn series(axes: &Axes) -> Vec<Slice> {
    let lps = lps_from_file_voxel(axes);
    let [x, y, z] = file_dims(axes);
    let unit = |a: usize| {
        let c = lps.fixed_view::<3, 1>(0, a);
        (c / c.norm()).as_slice().to_vec()
    };
    (0..z)
        .map(|k| {
            let mut o = InMemDicomObject::new_empty();
            let at = lps * nalgebra::Vector4::new(0.0, 0.0, k as f64, 1.0);
            put(&mut o, tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.4");
            put(&mut o, tags::SOP_INSTANCE_UID, VR::UI, format!("1.2.3.{k}"));
            put(&mut o, tags::MODALITY, VR::CS, "MR");
            put(&mut o, tags::STUDY_INSTANCE_UID, VR::UI, "1.2.840.55");
            put(&mut o, tags::SERIES_INSTANCE_UID, VR::UI, "1.2.840.77");
            put(&mut o, tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.840.99");
            put(&mut o, tags::IMAGE_POSITION_PATIENT, VR::DS, joined(&at.as_slice()[..3]));
            put(&mut o, tags::IMAGE_ORIENTATION_PATIENT, VR::DS, joined(&[unit(0), unit(1)].concat()));
            put(&mut o, tags::PIXEL_SPACING, VR::DS, joined(&[SPACING[axes[1].0], SPACING[axes[0].0]]));
            put(&mut o, tags::SAMPLES_PER_PIXEL, VR::US, 1_u16);
            put(&mut o, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
            put(&mut o, tags::ROWS, VR::US, y as u16);
            put(&mut o, tags::COLUMNS, VR::US, x as u16);
            put(&mut o, tags::BITS_ALLOCATED, VR::US, 16_u16);
            put(&mut o, tags::BITS_STORED, VR::US, 16_u16);
            put(&mut o, tags::HIGH_BIT, VR::US, 15_u16);
            put(&mut o, tags::PIXEL_REPRESENTATION, VR::US, 1_u16);
            // Stored × 0.5 + 10 is the phantom, so stored values are signed.
            put(&mut o, tags::RESCALE_SLOPE, VR::DS, "0.5");
            put(&mut o, tags::RESCALE_INTERCEPT, VR::DS, "10");
            let stored = |n: usize| ((phantom(patient_voxel(axes, [n % x, n / x, k])) - 10) * 2) as u16;
            let pixels: Vec<u16> = (0..x * y).map(stored).collect();
            put(&mut o, tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()));
            // Names in another order than the slices.
            Slice { object: o, name: format!("IM{}", [7, 2, 5, 1, 9][k]) }
        })
        .collect()
}

fn write_series(dir: &Path, slices: Vec<Slice>) {
    for Slice { object, name } in slices {
        let meta = FileMetaTableBuilder::new().transfer_syntax("1.2.840.10008.1.2.1");
        let file = object.with_meta(meta).expect("has its SOP UIDs");
        file.write_to_file(dir.join(name)).expect("a temporary folder takes files");
    }
}

fn read_series(slices: Vec<Slice>) -> Result<Volume, MriError> {
    let dir = folder();
    write_series(dir.path(), slices);
    read(dir.path(), Modality::T1c)
}

#[test]
fn dicom_in_every_orientation_is_the_same_volume() {
    // Slices are sorted along the normal, so the 48 are read as 24 right-handed ones; all must agree.
    for axes in all_48() {
        let volume = read_series(series(&axes)).expect("whole");
        assert_is_phantom(&volume, &format!("{axes:?}"));
        assert_eq!(volume.frame, FrameId::of_uid("1.2.840.99"));
    }
}

#[test]
fn two_series_in_one_folder_are_named_with_their_counts() {
    let mut slices = series(&PLAIN);
    put(&mut slices[1].object, tags::SERIES_INSTANCE_UID, VR::UI, "1.2.840.78");
    let words = read_series(slices).expect_err("two series").to_string();
    assert!(words.contains("2 series, 1.2.840.77 (2 slices) and 1.2.840.78 (1 slices)"), "{words}");
}

#[test]
fn dicom_that_cannot_be_believed_is_refused_with_its_reason() {
    let changed = |tag, vr, value: &str| {
        let mut slices = series(&PLAIN);
        put(&mut slices[2].object, tag, vr, value);
        read_series(slices).expect_err("changed")
    };
    let why = changed(tags::MODALITY, VR::CS, "CT");
    assert!(why.to_string().contains("Modality (0008,0060) is CT; it must be MR"), "{why}");
    let why = changed(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.4");
    assert!(matches!(why, MriError::SlicesDiffer { name: "FrameOfReferenceUID", .. }), "{why}");
    let why = changed(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\0\\0\\1");
    assert!(matches!(why, MriError::SlicesDiffer { name: "ImageOrientationPatient", .. }), "{why}");
    let why = changed(tags::PIXEL_SPACING, VR::DS, "1.5\\1.1");
    assert!(matches!(why, MriError::SlicesDiffer { name: "PixelSpacing", .. }), "{why}");
    let why = changed(tags::IMAGE_POSITION_PATIENT, VR::DS, "-7\\11\\27.4");
    assert!(matches!(why, MriError::Spacing { .. }), "uneven: {why}");
    let why = changed(tags::IMAGE_POSITION_PATIENT, VR::DS, "-7\\11\\23");
    assert!(why.to_string().contains("lie in one place"), "twice: {why}");
    let why = changed(tags::IMAGE_POSITION_PATIENT, VR::DS, "-7\\11");
    assert!(matches!(why, MriError::Attribute { .. }), "two coordinates: {why}");
    let why = changed(tags::NUMBER_OF_FRAMES, VR::IS, "3");
    assert!(why.to_string().contains("multi-frame"), "{why}");

    let mut nameless = series(&PLAIN);
    nameless[0].object.remove_element(tags::FRAME_OF_REFERENCE_UID);
    let why = read_series(nameless).expect_err("no frame");
    assert!(why.to_string().contains("FrameOfReferenceUID (0020,0052) is missing"), "{why}");
    let why = read_series(series(&PLAIN).into_iter().take(1).collect()).expect_err("one slice");
    assert!(matches!(why, MriError::Size { .. } | MriError::Spacing { .. }), "{why}");
    assert!(matches!(read_series(Vec::new()).expect_err("no slice"), MriError::Empty { .. }));
}

#[test]
fn a_missing_slice_is_found_between_its_neighbours() {
    // Four slices along the long axis, one taken out.
    let axes = [(1, false), (2, false), (0, false)];
    let mut slices = series(&axes);
    slices.remove(2);
    let words = read_series(slices).expect_err("a hole").to_string();
    assert!(words.contains("2.000 mm, elsewhere 1.000 mm, so 1 are missing there"), "{words}");
}

#[test]
fn a_claimed_frame_must_be_the_series_own() {
    let dir = folder();
    write_series(dir.path(), series(&PLAIN));
    assert!(read_in_frame(dir.path(), Modality::T1, "1.2.840.99").is_ok());
    let why = read_in_frame(dir.path(), Modality::T1, "1.2.840.98").expect_err("another frame");
    assert!(matches!(why, MriError::OtherFrame { .. }), "{why}");
}

#[test]
fn a_slice_cut_anywhere_is_refused() {
    let dir = folder();
    write_series(dir.path(), series(&PLAIN));
    let victim = dir.path().join("IM2");
    let whole = std::fs::read(&victim).expect("just written");
    for cut in (0..whole.len()).step_by(7) {
        std::fs::write(&victim, &whole[..cut]).expect("written");
        let why = read(dir.path(), Modality::T1).expect_err("cut");
        assert!(why.to_string().contains("IM2"), "cut at {cut}: {why}");
    }
    let one = read(&victim, Modality::T1).expect_err("a file, not a folder");
    assert!(matches!(one, MriError::OneSliceFile { .. } | MriError::Truncated { .. }), "{one}");
}

#[test]
fn what_is_not_there_is_said() {
    let why = read(Path::new("no/such/scan.nii"), Modality::T1).expect_err("missing");
    assert!(matches!(why, MriError::Io { .. }) && why.to_string().contains("no/such/scan.nii"), "{why}");
}

#[test]
fn a_reader_that_panics_becomes_an_error() {
    let why = guarded::<()>(Path::new("x"), || panic!("out of range")).expect_err("panicked");
    assert_eq!(why.to_string(), "x: is damaged in a way that its reader does not survive: out of range");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_change_of_bytes_makes_a_nifti_reader_panic(at in 0_usize..352, value: [u8; 4], gap in 1_usize..40) {
        let first = at.min(348);
        let got = nifti_with(&[(first, &value[..]), ((first + gap).min(460), &value[..2])], None);
        prop_assert!(!matches!(got, Err(MriError::ReaderPanicked { .. })), "{:?}", got);
    }

    #[test]
    fn no_change_of_bytes_makes_a_dicom_reader_panic(at in 0.0..1.0_f64, value: [u8; 3]) {
        let dir = folder();
        write_series(dir.path(), series(&PLAIN));
        let victim = dir.path().join("IM2");
        let mut bytes = std::fs::read(&victim).expect("just written");
        // Behind the preamble, which nobody reads.
        let first = 128 + ((bytes.len() - 131) as f64 * at) as usize;
        bytes[first..first + 3].copy_from_slice(&value);
        std::fs::write(&victim, bytes).expect("written");
        let got = read(dir.path(), Modality::T1);
        prop_assert!(!matches!(got, Err(MriError::ReaderPanicked { .. })), "{:?}", got);
    }
}

/// Files that crashed other readers: each is read or refused, alone and as a folder.
#[test]
#[expect(clippy::print_stdout, reason = "a test that did not run says so")]
fn damaged_files_of_others_are_survived() {
    let Some(data) = std::env::var_os("BREGMA_TEST_DATA") else {
        println!("not run: BREGMA_TEST_DATA is unset");
        return;
    };
    let mut tried = 0;
    for kind in ["dicom", "nifti"] {
        let refused = Path::new(&data).join("refused").join(kind);
        for entry in std::fs::read_dir(&refused).expect("the test data hold refused files") {
            let path = entry.expect("readable").path();
            let dir = folder();
            std::fs::copy(&path, dir.path().join("slice")).expect("a temporary folder takes files");
            for at in [path.as_path(), dir.path()] {
                let got = read(at, Modality::T1);
                assert!(!matches!(got, Err(MriError::ReaderPanicked { .. })), "{}: {got:?}", path.display());
                println!("{}: {}", path.display(), got.map_or_else(|e| e.to_string(), |v| format!("{:?}", v.dims)));
                tried += 1;
            }
        }
    }
    assert!(tried >= 2 * 13, "only {tried} reads");
}

/// Two of three slices have labels, one of them all three.
fn labelled() -> Vec<u8> {
    let mut labels = vec![0; 60];
    (3..9).for_each(|i| labels[i] = 2);
    labels[5] = 1;
    labels[6] = 4;
    labels[59] = 4;
    labels
}

const MAKER: Maker<'_> = Maker { algorithm: "bregma test", made: ["20261127", "120000"] };

/// Writes a series and a segmentation of it; the folder holds both.
fn segmented(axes: &Axes) -> (TempDir, PathBuf, Lattice) {
    let dir = folder();
    let mut slices = series(axes);
    for slice in &mut slices {
        put(&mut slice.object, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 100");
        put(&mut slice.object, tags::PATIENT_NAME, VR::PN, "Müller^Änne");
    }
    write_series(dir.path(), slices);
    let lattice = Lattice::of_series(dir.path()).expect("a series");
    let (out, labels) = (dir.path().join(".seg.dcm"), labelled());
    segmentation::write(&out, &lattice, &labels, &segmentation::GLIOMA, &MAKER).expect("written");
    (dir, out, lattice)
}

/// Frames by source image and segment, as highdicom reads them; then the first frame's place, as pydicom does.
const HIGHDICOM: &str = "
import sys, glob, pydicom, highdicom as hd
seg = hd.seg.segread(sys.argv[1])
assert seg.segmentation_type == hd.seg.SegmentationTypeValues.BINARY
slices = [pydicom.dcmread(p) for p in glob.glob(sys.argv[2] + '/IM*')]
import numpy as np
row, column = (np.array(slices[0].ImageOrientationPatient[a:a + 3], float) for a in (0, 3))
slices.sort(key=lambda s: float(np.dot(np.cross(row, column), np.array(s.ImagePositionPatient, float))))
found = seg.get_pixels_by_source_instance([s.SOPInstanceUID for s in slices], ignore_spatial_locations=False, assert_missing_frames_are_empty=True)
print(*found.shape)
print(*found.flatten().astype(int))
print(*[d.segment_label.replace(' ', '_') for d in (seg.get_segment_description(n) for n in seg.segment_numbers)])
print(seg.FrameOfReferenceUID == slices[0].FrameOfReferenceUID, seg.StudyInstanceUID == slices[0].StudyInstanceUID, seg.PatientName == slices[0].PatientName == 'Müller^Änne')
";

#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn highdicom_finds_each_segment_on_the_slice_that_it_was_made_of() {
    let python = std::env::var_os("BREGMA_PEERS").map(|p| PathBuf::from(p).join("bin/python"));
    let has = |python: &PathBuf| {
        let asked = std::process::Command::new(python).args(["-c", "import highdicom"]).output();
        asked.is_ok_and(|run| run.status.success())
    };
    let Some(python) = python.filter(has) else {
        eprintln!("not run: highdicom is not installed (make peers)");
        return;
    };
    for axes in [PLAIN, [(1, true), (2, false), (0, true)]] {
        let (dir, out, lattice) = segmented(&axes);
        let run = std::process::Command::new(&python).args(["-c", HIGHDICOM]).arg(&out).arg(dir.path()).output();
        let run = run.expect("python runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let said = String::from_utf8(run.stdout).expect("text");
        let lines: Vec<&str> = said.lines().collect();
        let [nx, ny, nz] = lattice.dims;
        assert_eq!(lines[0], format!("{nz} {ny} {nx} 3"));
        let found: Vec<u8> = lines[1].split(' ').map(|n| n.parse().expect("a number")).collect();
        for (index, label) in labelled().iter().enumerate() {
            let expected: Vec<u8> = segmentation::GLIOMA.iter().map(|s| u8::from(s.label == *label)).collect();
            assert_eq!(found[3 * index..][..3], expected, "{axes:?}: voxel {index}");
        }
        assert!(lines[2].starts_with("necrosis_of") && lines[2].ends_with("enhancing_tumour"), "{}", lines[2]);
        assert_eq!(lines[3], "True True True");
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn independent_checkers_find_no_error_in_a_segmentation() {
    let (dir, of_series, _) = segmented(&PLAIN);
    let scan = dir.path().join("scan.nii");
    write_nifti(&scan, &PLAIN, &nifti_header(&PLAIN));
    let of_nifti = dir.path().join(".seg-of-nifti.dcm");
    let lattice = Lattice::of_file(&scan).expect("a scan");
    segmentation::write(&of_nifti, &lattice, &labelled(), &segmentation::GLIOMA, &MAKER).expect("written");
    for path in [&of_series, &of_nifti] {
        for checker in ["dcmftest", "dciodvfy"] {
            let Ok(found) = std::process::Command::new(checker).arg(path).output() else {
                eprintln!("not run: {checker} is not installed (make peers)");
                continue;
            };
            let said = format!("{}{}", String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
            let good = if checker == "dcmftest" { said.contains("yes:") } else { !said.contains("Error") };
            assert!(good && found.status.success(), "{checker} on {}: {said}", path.display());
        }
    }
    let again = dir.path().join(".again.dcm");
    segmentation::write(&again, &lattice, &labelled(), &segmentation::GLIOMA, &MAKER).expect("written");
    let bytes = |path: &Path| std::fs::read(path).expect("is there");
    assert_eq!(bytes(&of_nifti), bytes(&again), "the same segmentation has the same bytes");
    let why = segmentation::write(&again, &lattice, &[0; 60], &segmentation::GLIOMA, &MAKER).expect_err("nothing");
    assert!(why.to_string().starts_with("nothing is labelled"), "{why}");
}
