//! ITK's transforms in HDF5: groups `TransformGroup/0`, `1`, … with `TransformType` and, but for composites, `TransformParameters` and
//! `TransformFixedParameters` (ITK's HDF5TransformIO).
//!
//! **Bounds:** the file is in memory; of each dataset its size is looked at before it is read. A panic of the
//! HDF5 reader is caught and is a refusal. **Strings** are written with variable length in ASCII: ITK reads no other.

use super::super::RegistrationFileError;
use super::{PARTS_MAX, Part};
use hdf5_pure::{CharacterSet, Datatype, File, FileBuilder, StringPadding, VlenStringReadOptions, make_u8_type};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Numbers of a rigid transform, at most.
const NUMBERS_MAX: u64 = 16;
/// Letters of its name, at most.
const NAME_MAX: usize = 256;

fn refused(what: impl std::fmt::Display) -> RegistrationFileError {
    RegistrationFileError::Whole(format!("as HDF5 of ITK: {what}"))
}

/// The transforms of a file, in their order.
pub(super) fn parts(bytes: Vec<u8>) -> Result<Vec<Part>, RegistrationFileError> {
    catch_unwind(AssertUnwindSafe(|| read(bytes))).unwrap_or_else(|_| Err(refused("its structure is damaged")))
}

fn read(bytes: Vec<u8>) -> Result<Vec<Part>, RegistrationFileError> {
    let file = File::from_bytes(bytes).map_err(refused)?;
    let group = file.group("TransformGroup").map_err(|_| refused("it has no group `TransformGroup`"))?;
    let count = group.groups().map_err(refused)?.len();
    if count > PARTS_MAX + 1 {
        return Err(refused(format!("{count} transforms; {PARTS_MAX} are the most")));
    }
    (0..count).map(|number| part(&file, number)).collect()
}

fn part(file: &File, number: usize) -> Result<Part, RegistrationFileError> {
    let path = |name: &str| format!("TransformGroup/{number}/{name}");
    let within = |what: &str, why: &dyn std::fmt::Display| refused(format!("{}: {why}", path(what)));
    let options = VlenStringReadOptions::new().with_max_elements(1).with_max_payload_bytes(NAME_MAX);
    let kind = file.dataset(&path("TransformType")).and_then(|d| d.read_vlen_strings(options));
    let kind = kind.map_err(|why| within("TransformType", &why))?.into_iter().next();
    let kind = kind.ok_or_else(|| within("TransformType", &"it is empty"))?;
    if kind.starts_with("CompositeTransform") {
        return Ok(Part { kind, ..Part::default() });
    }
    let numbers = |name: &str| {
        let dataset = file.dataset(&path(name)).map_err(|why| within(name, &why))?;
        let shape = dataset.shape().map_err(|why| within(name, &why))?;
        let count = shape.iter().try_fold(1_u64, |n, d| n.checked_mul(*d)).unwrap_or(u64::MAX);
        if count > NUMBERS_MAX {
            let what = format!("a {kind} with {count} numbers; a rigid transform has {NUMBERS_MAX} at most");
            return Err(within(name, &what));
        }
        let values = dataset.read_f64().map_err(|why| within(name, &why))?;
        match values.iter().find(|v| !v.is_finite()) {
            Some(value) => Err(within(name, &format!("it holds {value}; finite numbers are needed"))),
            None => Ok(values),
        }
    };
    Ok(Part { parameters: numbers("TransformParameters")?, fixed: numbers("TransformFixedParameters")?, kind })
}

/// A file of one transform.
pub(super) fn bytes(part: &Part) -> Result<Vec<u8>, RegistrationFileError> {
    let ascii = || Datatype::VariableLength {
        is_string: true,
        padding: Some(StringPadding::NullTerminate),
        charset: Some(CharacterSet::Ascii),
        base_type: Box::new(make_u8_type()),
    };
    let mut file = FileBuilder::new();
    // ITK names itself here; who reads this does not ask.
    for (name, value) in [("ITKVersion", "5.0.0"), ("HDFVersion", "HDF5"), ("OSName", "any"), ("OSVersion", "any")] {
        file.create_dataset(name).with_vlen_strings(&[value]).with_dtype(ascii());
    }
    let mut all = file.create_group("TransformGroup");
    let mut one = all.create_group("0");
    one.create_dataset("TransformType").with_vlen_strings(&[part.kind.as_str()]).with_dtype(ascii());
    one.create_dataset("TransformParameters").with_f64_data(&part.parameters);
    one.create_dataset("TransformFixedParameters").with_f64_data(&part.fixed);
    all.add_group(one.finish());
    file.add_group(all.finish());
    file.finish().map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Isometry3, Vector3};
    use proptest::prelude::*;
    use std::process::Command;

    const AFFINE: &[u8] = include_bytes!("affine.h5");

    #[test]
    fn what_is_no_transform_is_refused_with_its_place() {
        assert!(parts(b"hello".to_vec()).is_err());
        let none = FileBuilder::new().finish().expect("a file");
        assert!(parts(none).expect_err("refused").to_string().contains("TransformGroup"));
        let huge = Part { parameters: vec![1.0; 17], ..Part::of(&Isometry3::identity()) };
        let said = parts(bytes(&huge).expect("writes")).expect_err("refused").to_string();
        assert!(said.contains("TransformGroup/0/TransformParameters") && said.contains("17 numbers"), "{said}");
        let broken = Part { fixed: vec![0.0, f64::NAN, 0.0], ..Part::of(&Isometry3::identity()) };
        assert!(parts(bytes(&broken).expect("writes")).expect_err("refused").to_string().contains("NaN"));
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that did not run says so")]
    fn simpleitk_reads_what_we_write() {
        let python = std::env::var_os("BREGMA_PEERS").map(|p| std::path::PathBuf::from(p).join("bin/python"));
        let has = |python: &std::path::PathBuf| {
            Command::new(python).args(["-c", "import SimpleITK"]).output().is_ok_and(|run| run.status.success())
        };
        let Some(python) = python.filter(has) else {
            eprintln!("not run: SimpleITK is not installed (make peers)");
            return;
        };
        let pose = Isometry3::new(Vector3::new(120.5, -30.25, 7.0), Vector3::new(0.3, -1.1, 0.4));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.h5");
        std::fs::write(&path, bytes(&Part::of(&pose)).expect("writes")).expect("written");
        let script = "import SimpleITK as s, sys; print(*s.ReadTransform(sys.argv[1]).TransformPoint((1.0, 2.0, 3.0)))";
        let run = Command::new(python).args(["-c", script]).arg(&path).output().expect("python runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let said = String::from_utf8(run.stdout).expect("text");
        let found: Vec<f64> = said.split_whitespace().map(|w| w.parse().expect("a number")).collect();
        let expected = pose.inverse() * nalgebra::Point3::new(1.0, 2.0, 3.0);
        assert!((nalgebra::Point3::new(found[0], found[1], found[2]) - expected).norm() < 1e-9, "{said}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0..AFFINE.len(), value: u8, cut in 0..AFFINE.len()) {
            let mut damaged = AFFINE.to_vec();
            damaged[at] = value;
            let _ = parts(damaged.clone());
            damaged.truncate(cut);
            let _ = parts(damaged);
        }
    }
}
