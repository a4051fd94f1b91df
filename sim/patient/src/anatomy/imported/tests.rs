//! What the reader refuses, and what the whole way from a scan to a template gives.

use super::*;
use crate::random::{mix, normal_pair};
use ndarray::{Array, Array3, IxDyn, ShapeBuilder};
use nifti::NiftiHeader;
use nifti::writer::WriterOptions;
use std::io::Write;
use std::sync::OnceLock;

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn header(ras_from_voxel: &Matrix4<f64>) -> NiftiHeader {
    let row = |r: usize| [0, 1, 2, 3].map(|c| ras_from_voxel[(r, c)] as f32);
    NiftiHeader {
        sform_code: 1,
        xyzt_units: 2,
        srow_x: row(0),
        srow_y: row(1),
        srow_z: row(2),
        ..NiftiHeader::default()
    }
}

fn plain() -> NiftiHeader {
    header(&Matrix4::identity())
}

/// A bright box in the dark, not symmetric in any axis.
fn phantom(at: [usize; 3]) -> f32 {
    let inside = (3..12).contains(&at[0]) && (4..18).contains(&at[1]) && (2..19).contains(&at[2]);
    if inside { 100.0 + at[0] as f32 + 3.0 * at[1] as f32 + 7.0 * at[2] as f32 } else { (at[0] % 3) as f32 }
}

/// Writes a volume, patches bytes of the uncompressed file, cuts it, and reads it.
fn read_patched(
    header: &NiftiHeader,
    dims: &[usize],
    patches: &[(usize, &[u8])],
    cut: Option<usize>,
) -> Result<Scan, ImportError> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("scan.nii");
    let data = Array::from_shape_fn(IxDyn(dims).f(), |i| phantom([i[0], i[1], i[2]]));
    WriterOptions::new(&path).reference_header(header).write_nifti(&data).expect("writes");
    let mut bytes = std::fs::read(&path).expect("reads");
    for (at, patch) in patches {
        bytes[*at..at + patch.len()].copy_from_slice(patch);
    }
    bytes.truncate(cut.unwrap_or(bytes.len()));
    std::fs::write(&path, bytes).expect("writes");
    file::read(&path)
}

#[test]
fn a_file_in_any_of_48_orientations_is_the_same_scan() {
    let dims = [20, 22, 24];
    let middle = Point3::new(-8.0, -11.0, 12.0);
    let mut seen = 0;
    for order in ORDERS {
        for signs in 0..8_usize {
            // Voxel axis `a` of the file runs along axis `order[a]` of the phantom, backwards where signed.
            let mut ras_from_voxel = Matrix4::zeros();
            ras_from_voxel[(3, 3)] = 1.0;
            let sizes = order.map(|o| dims[o]);
            for a in 0..3 {
                let back = signs >> a & 1 == 1;
                ras_from_voxel[(order[a], a)] = if back { -1.0 } else { 1.0 };
                ras_from_voxel[(order[a], 3)] = if back { dims[order[a]] as f64 - 1.0 } else { 0.0 };
            }
            let value = |file: [usize; 3]| {
                let mut at = [0; 3];
                for a in 0..3 {
                    at[order[a]] = if signs >> a & 1 == 1 { sizes[a] - 1 - file[a] } else { file[a] };
                }
                phantom(at)
            };
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("scan.nii.gz");
            let data = Array3::from_shape_fn((sizes[0], sizes[1], sizes[2]).f(), |(i, j, k)| value([i, j, k]));
            WriterOptions::new(&path).reference_header(&header(&ras_from_voxel)).write_nifti(&data).expect("writes");
            let scan = file::read(&path).expect("is whole");
            let found = |lps: Point3<f64>| {
                let index = scan.voxel_from_lps().transform_point(&lps);
                scan.at(index.coords.map(|c| c as f32).into())
            };
            // RAS (8, 11, 12) is LPS (−8, −11, 12); a step along each axis raises it by 1, 3 and 7 units.
            let here = found(middle).expect("inside");
            let unit = (found(middle + nalgebra::Vector3::new(0.0, 0.0, 1.0)).expect("inside") - here) / 7.0;
            let x = found(middle - nalgebra::Vector3::x()).expect("inside") - here;
            let y = found(middle - nalgebra::Vector3::y()).expect("inside") - here;
            assert!(unit > 1e-4 && (x / unit - 1.0).abs() < 0.01 && (y / unit - 3.0).abs() < 0.01, "{order:?} {signs}");
            assert_eq!(found(Point3::new(3.0, 0.0, 0.0)), None);
            seen += 1;
        }
    }
    assert_eq!(seen, 48);
}

#[test]
fn what_is_no_volume_of_a_head_is_refused_with_its_reason() {
    let dims = [20, 22, 24];
    let read = |h: &NiftiHeader| read_patched(h, &dims, &[], None);
    let patched = |patches: &[(usize, &[u8])]| read_patched(&plain(), &dims, patches, None);
    assert!(read(&plain()).is_ok(), "the file that the others are made from is whole");
    let said = |result: Result<Scan, ImportError>| result.err().map(|e| e.to_string()).unwrap_or_default();
    let scaled = |x: f64, y: f64, z: f64| header(&Matrix4::new_nonuniform_scaling(&nalgebra::Vector3::new(x, y, z)));
    let mut sheared = Matrix4::identity();
    sheared[(0, 1)] = 2.0;
    let cases = [
        ("more than one volume", read_patched(&plain(), &[20, 22, 24, 3], &[], None)),
        ("it is empty", patched(&[(42, &[0, 0])])),
        ("fewer than 16 voxels", read_patched(&plain(), &[20, 22, 5], &[], None)),
        ("fewer than three axes", patched(&[(40, &[2, 0])])),
        ("sizeof_hdr", patched(&[(40, &[9, 0])])),
        ("axis 2 has steps of 6.00 mm", read(&scaled(1.0, 1.0, 6.0))),
        ("edge of 0.0000 mm", read(&scaled(1.0, 0.0, 1.0))),
        ("not at right angles", read(&header(&sheared))),
        ("not finite", read(&NiftiHeader { srow_y: [f32::NAN, 1.0, 0.0, 0.0], ..plain() })),
        ("left from right", patched(&[(252, &[0, 0, 0, 0])])),
        ("add up to", patched(&[(252, &[1, 0, 0, 0]), (256, &7_f32.to_le_bytes())])),
        ("no NIfTI-1 file", patched(&[(344, b"oops")])),
        ("half of a pair", patched(&[(344, b"ni1\0")])),
        ("vox_offset", patched(&[(108, &f32::NAN.to_le_bytes())])),
        ("bitpix is 8", patched(&[(72, &[8, 0])])),
        ("Rgb24", patched(&[(70, &[128, 0])])),
        ("scl_slope", patched(&[(112, &f32::INFINITY.to_le_bytes())])),
        ("the voxels at byte", read_patched(&plain(), &dims, &[], Some(5000))),
        ("the header at byte 0", read_patched(&plain(), &dims, &[], Some(100))),
        ("the header at byte 0", read_patched(&plain(), &dims, &[], Some(0))),
        // A slope of 1e-38 leaves one value.
        ("blank", patched(&[(112, &1e-38_f32.to_le_bytes()), (116, &500_f32.to_le_bytes())])),
        // 10·v − 1000: air at −1000, the box at 0 to 1900.
        ("this is a CT", patched(&[(112, &10_f32.to_le_bytes()), (116, &(-1000_f32).to_le_bytes())])),
    ];
    for (words, result) in cases {
        let message = said(result);
        assert!(message.contains(words), "expected '{words}', got '{message}'");
    }
    let absent = import_anatomy(Path::new("absent.nii"), &mut |_, _| ());
    assert!(matches!(absent, Err(ImportError::Unreadable { .. })));
}

#[test]
fn scaling_byte_order_and_qform_are_honoured() {
    let dims = [20, 22, 24];
    let scaled = read_patched(&plain(), &dims, &[(112, &2_f32.to_le_bytes()), (116, &7_f32.to_le_bytes())], None);
    let (scaled, plain_scan) = (scaled.expect("whole"), read_patched(&plain(), &dims, &[], None).expect("whole"));
    assert!(scaled.voxels.iter().zip(&plain_scan.voxels).all(|(a, b)| (a - b).abs() < 1e-5));
    let q = NiftiHeader { sform_code: 0, qform_code: 1, quatern_d: 1.0, quatern_x: 5.0, pixdim: [1.0; 8], ..plain() };
    let turned = read_patched(&q, &dims, &[], None).expect("whole");
    // Half a turn about z in RAS, which LPS turns back.
    let want = Matrix4::new_translation(&nalgebra::Vector3::new(-5.0, 0.0, 0.0));
    assert!((turned.lps_from_voxel - want).amax() < 1e-5, "{}", turned.lps_from_voxel);
}

#[test]
fn damaged_files_are_refused_without_a_panic() {
    let Some(root) = std::env::var_os("BREGMA_TEST_DATA") else {
        writeln!(std::io::stderr(), "not run: BREGMA_TEST_DATA is unset").expect("stderr takes a line");
        return;
    };
    let folder = Path::new(&root).join("refused/nifti");
    let mut tried = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of damaged files") {
        let path = entry.expect("an entry").path();
        assert!(file::read(&path).is_err(), "{} was taken", path.display());
        tried += 1;
    }
    assert!(tried >= 6, "{tried} files");
}

/// A head made of hard labels of the template, in a frame of its own: known truth.
struct Made {
    scan: Scan,
    scan_from_mni: Matrix4<f64>,
}

/// 1.5 mm voxels, axes in the order of a sagittal scan and oblique, a neck's worth of air, bias and noise.
fn made(value: impl Fn(u8, f32) -> f32) -> Made {
    let t = template().expect("assets decode");
    let outside = register::outside_mm(t);
    let turn = crate::random::turn(nalgebra::Vector3::new(0.2, -0.06, 0.1)).to_homogeneous();
    let mut shape = Matrix4::new_nonuniform_scaling(&nalgebra::Vector3::new(0.93, 0.9, 0.96));
    shape[(0, 1)] = 0.02;
    let scan_from_mni = Matrix4::new_translation(&nalgebra::Vector3::new(6.0, -23.0, 31.0)) * turn * shape;
    let mut lps_from_voxel = Matrix4::zeros();
    (lps_from_voxel[(1, 0)], lps_from_voxel[(2, 1)], lps_from_voxel[(0, 2)]) = (1.5, -1.5, 1.5);
    let dims = [152, 160, 128];
    lps_from_voxel.set_column(3, &nalgebra::Vector4::new(-90.0, -130.0, 150.0, 1.0));
    let mni_from_voxel = scan_from_mni.try_inverse().expect("regular") * lps_from_voxel;
    let mut voxels = Vec::with_capacity(dims.iter().product());
    for index in 0..dims.iter().product::<usize>() {
        let at = [index % dims[0], index / dims[0] % dims[1], index / (dims[0] * dims[1])];
        let mut sum = 0.0;
        // The mean of four corners of the voxel stands for its partial volume.
        for (x, y, z) in [(0.3, 0.3, 0.3), (-0.3, -0.3, 0.3), (-0.3, 0.3, -0.3), (0.3, -0.3, -0.3)] {
            let p = Point3::new(at[0] as f64 + x, at[1] as f64 + y, at[2] as f64 + z);
            let found = t.grid.containing(&mni_from_voxel.transform_point(&p)).map(|v| t.grid.index(v));
            sum += 0.25 * found.map_or(2.0, |i| value(label(t, i), outside[i]));
        }
        let [u, v, w] = std::array::from_fn(|a| at[a] as f32 / dims[a] as f32 - 0.5);
        let bias = 1.0 + 0.35 * u - 0.3 * v * v + 0.25 * w * u;
        let (a, b) = normal_pair(mix(5, index as u64));
        voxels.push(((sum * bias + 5.0 * a).powi(2) + 25.0 * b * b).sqrt());
    }
    Made { scan: Scan::new(dims, voxels, lps_from_voxel).expect("a scan"), scan_from_mni }
}

/// One for both tests that need it.
fn head() -> (Scan, Matrix4<f64>) {
    static HEAD: OnceLock<Made> = OnceLock::new();
    let made = HEAD.get_or_init(|| made(t1));
    let scan = Scan { voxels: made.scan.voxels.clone(), ..made.scan };
    (scan, made.scan_from_mni)
}

/// 0 outside, 1 fluid, 2 grey, 3 white.
fn label(t: &Template, i: usize) -> u8 {
    match (t.t1[i], t.grey[i], t.white[i]) {
        (0, ..) => 0,
        (_, g, w) if u16::from(g) + u16::from(w) < 128 => 1,
        (_, g, w) if g >= w => 2,
        _ => 3,
    }
}

fn t1(label: u8, outside_mm: f32) -> f32 {
    match label {
        0 if outside_mm < 1.5 => 55.0,
        0 if outside_mm < 8.0 => 25.0,
        0 if outside_mm < 14.0 => 230.0,
        0 => 4.0,
        l => [0.0, 55.0, 140.0, 205.0][usize::from(l)],
    }
}

#[test]
fn a_tilted_shaded_noisy_head_gives_its_tissues_and_its_place_back() {
    let (scan, true_place) = head();
    let anatomy = from_scan(scan, &mut |_, _| ()).expect("a head");
    assert!(anatomy.report().with_skull && anatomy.warnings().is_empty(), "{:?}", anatomy.warnings());
    // Landmarks, MNI RAS: both commissures, the poles, the hand knob, the cerebellum.
    let marks = [
        [0., 2., -2.],
        [0., -25., 0.],
        [0., 66., 0.],
        [0., -104., 0.],
        [-62., -10., 0.],
        [62., -10., 0.],
        [-38., -22., 58.],
        [20., -60., -48.],
    ];
    for [x, y, z] in marks {
        let at = Point3::new(-x, -y, z);
        let error = anatomy.report().scan_from_mni.transform_point(&at) - true_place.transform_point(&at);
        assert!(error.norm() < 3.0, "{at}: {:.2} mm", error.norm());
    }
    let (t, got) = (template().expect("assets decode"), &anatomy.template);
    for (class, name) in [(2, "grey"), (3, "white")] {
        let (mut both, mut all) = (0.0, 0.0);
        for i in 0..t.grid.len() {
            let (a, b) = (label(t, i) == class, label(got, i) == class);
            both += f64::from(u8::from(a && b));
            all += f64::from(u8::from(a)) + f64::from(u8::from(b));
        }
        let dice = 2.0 * both / all;
        assert!(dice > 0.85, "{name}: Dice {dice:.3}");
    }
    // The head's own size comes back through the stretch of the affine.
    let want = own_shape(&true_place);
    assert!((got.own_from_mni - want).amax() < 0.02, "{}", got.own_from_mni - want);
    // And a patient grows in it.
    let patient =
        crate::Patient::grow_in(&anatomy, 4, &crate::PatientSettings::default()).expect("seed 4 has a patient");
    assert!(patient.core_ml() > 1.0);
}

#[test]
fn a_turned_picture_and_noise_are_refused() {
    // The header says that the feet lie where the head is: half a turn about the long axis of x.
    let (mut turned, _) = head();
    let half = Matrix4::from_diagonal(&nalgebra::Vector4::new(1.0, -1.0, -1.0, 1.0));
    turned.lps_from_voxel = half * turned.lps_from_voxel;
    let refused = from_scan(turned, &mut |_, _| ()).err().expect("refused");
    assert!(matches!(refused, ImportError::Orientation { .. }), "{refused}");
    assert!(refused.to_string().contains("head lies where the header says feet"), "{refused}");
    let noise = (0..48 * 48 * 48).map(|i| normal_pair(mix(9, i)).0.abs()).collect();
    let noise = Scan::new([48; 3], noise, Matrix4::new_scaling(3.0)).expect("a scan");
    let refused = from_scan(noise, &mut |_, _| ()).err().expect("refused");
    assert!(matches!(refused, ImportError::NoBrain { .. }), "{refused}");
}

/// `BREGMA_TEST_T1` names a T1 of an adult's whole head, such as `ch2.nii.gz` of Debian's mricron-data.
#[test]
fn a_real_t1_gives_a_plausible_brain() {
    let Some(path) = std::env::var_os("BREGMA_TEST_T1") else {
        writeln!(std::io::stderr(), "not run: BREGMA_TEST_T1 is unset").expect("stderr takes a line");
        return;
    };
    let anatomy = import_anatomy(Path::new(&path), &mut |_, _| ()).expect("a T1");
    let [fluid, grey, white] = anatomy.report().tissue_ml;
    assert!((1000.0..2000.0).contains(&(fluid + grey + white)), "{fluid:.0} {grey:.0} {white:.0} mL");
    // Grey over white matter is 1.1 to 1.6 in adults (an expert's estimate), less where T1 takes deep nuclei for white.
    assert!((0.95..1.7).contains(&(grey / white)), "{grey:.0} and {white:.0} mL");
    assert!(crate::Patient::grow_in(&anatomy, 4, &crate::PatientSettings::default()).is_ok());
}
