//! Rigid transforms as ITK's files: text (`.tfm`, `.txt`) and HDF5 (`.h5`, `.hdf5`), which 3D Slicer, SimpleITK and ANTs read.
//!
//! ITK's transforms resample: they take points of the fixed space to the moving one, in LPS mm. A
//! registration `patient_from_reference` is therefore kept as its inverse; Slicer, which inverts as it loads, shows data in the
//! reference's coordinates where they lie in the patient.
//! `T(x) = M (x - c) + c + t`. An `AffineTransform` has `M` row by row and `t` as parameters, `c` as fixed ones; a `VersorRigid3DTransform`
//! a unit quaternion's vector part and `t`; an `Euler3DTransform` three angles (`Rz Rx Ry`, or `Rz Ry Rx` where its fourth
//! fixed parameter is not 0) and `t` (ITK Software Guide, 2, section 3.9). A `CompositeTransform` applies its parts, the last
//! one first. An `AffineTransform` is written.
//! **Refused:** several transforms that no composite joins, other kinds, a matrix that scales, shears or mirrors.

mod hdf5;

use super::{RegistrationFileError, bytes, number, text};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};
use std::path::Path;

/// How far a matrix may be from a rotation, in any element of `MᵀM`.
const RIGID_WITHIN: f64 = 1e-4;
/// Parts of a composite, at most.
const PARTS_MAX: usize = 32;
/// Ends of names that are read.
const KINDS: &str = ".tfm, .txt, .h5, .hdf5";

/// One transform of a file.
#[derive(Debug, Clone, PartialEq, Default)]
struct Part {
    kind: String,
    parameters: Vec<f64>,
    fixed: Vec<f64>,
}

impl Part {
    /// What a transform that takes moving points to fixed ones is written as.
    fn of(fixed_from_moving: &Isometry3<f64>) -> Self {
        let inverse = fixed_from_moving.inverse();
        let turn = inverse.rotation.to_rotation_matrix();
        let rows = (0..9).map(|i| turn[(i / 3, i % 3)]);
        let parameters = rows.chain(inverse.translation.vector.iter().copied()).collect();
        Self { kind: "AffineTransform_double_3_3".into(), parameters, fixed: vec![0.0; 3] }
    }

    /// Its name without numbers' kind and dimensions.
    fn name(&self) -> Option<&str> {
        self.kind.strip_suffix("_double_3_3").or_else(|| self.kind.strip_suffix("_float_3_3"))
    }

    /// Takes fixed points to moving ones.
    fn rigid(&self) -> Result<Isometry3<f64>, RegistrationFileError> {
        let whole = |what: String| RegistrationFileError::Whole(what);
        let counted = |count: usize| {
            let found = self.parameters.len();
            if found == count {
                Ok(&self.parameters[..])
            } else {
                Err(whole(format!("its {} has {found} parameters; {count} are right", self.kind)))
            }
        };
        let (matrix, shift) = match self.name() {
            Some("AffineTransform" | "MatrixOffsetTransformBase") => {
                let p = counted(12)?;
                (Matrix3::from_row_slice(&p[..9]), &p[9..])
            }
            Some("VersorRigid3DTransform") => {
                let p = counted(6)?;
                let vector = Vector3::from_row_slice(&p[..3]);
                let rest = 1.0 - vector.norm_squared();
                if rest < -RIGID_WITHIN {
                    return Err(whole(format!("its versor has a length of {:.4}; at most 1 is right", vector.norm())));
                }
                let turn = nalgebra::Quaternion::from_parts(rest.max(0.0).sqrt(), vector);
                (*UnitQuaternion::from_quaternion(turn).to_rotation_matrix().matrix(), &p[3..])
            }
            Some("Euler3DTransform") => {
                let p = counted(6)?;
                let about = |axis, angle| Rotation3::from_axis_angle(&axis, angle);
                let (x, y, z) =
                    (about(Vector3::x_axis(), p[0]), about(Vector3::y_axis(), p[1]), about(Vector3::z_axis(), p[2]));
                let zyx = self.fixed.get(3).is_some_and(|said| *said != 0.0);
                (*(if zyx { z * y * x } else { z * x * y }).matrix(), &p[3..])
            }
            _ => {
                let right = "AffineTransform, VersorRigid3DTransform or Euler3DTransform of 3 dimensions";
                return Err(whole(format!("it holds a {}; {right} is needed", self.kind)));
            }
        };
        let centre = match self.fixed[..] {
            [x, y, z] | [x, y, z, _] => Vector3::new(x, y, z),
            [] => Vector3::zeros(),
            _ => {
                return Err(whole(format!("its {} has {} fixed parameters; 3 are right", self.kind, self.fixed.len())));
            }
        };
        let off = (matrix.transpose() * matrix - Matrix3::identity()).amax();
        if !(off <= RIGID_WITHIN && matrix.determinant() > 0.0) {
            return Err(whole("its matrix scales, shears or mirrors; a rigid one is needed".into()));
        }
        let shift = Vector3::from_row_slice(shift) + centre - matrix * centre;
        let turn = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix(&matrix));
        Ok(Isometry3::from_parts(Translation3::from(shift), turn))
    }
}

/// The transform that takes moving points to fixed ones.
fn joined(parts: &[Part]) -> Result<Isometry3<f64>, RegistrationFileError> {
    let whole = |what: String| Err(RegistrationFileError::Whole(what));
    let parts = match parts {
        [first, rest @ ..] if first.name() == Some("CompositeTransform") => rest,
        [_] => parts,
        _ => return whole(format!("it holds {} transforms; one, or one composite, is needed", parts.len())),
    };
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return whole(format!("its composite has {} parts; 1 to {PARTS_MAX} are right", parts.len()));
    }
    let product = parts.iter().try_fold(Isometry3::identity(), |product, part| Ok(product * part.rigid()?));
    product.map(|moving_from_fixed: Isometry3<f64>| moving_from_fixed.inverse())
}

/// The transform that takes moving points to fixed ones, of a file.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn read(path: &Path) -> Result<Isometry3<f64>, RegistrationFileError> {
    match kind(path).as_str() {
        "tfm" | "txt" => of_text(&text(path)?),
        "h5" | "hdf5" => joined(&hdf5::parts(bytes(path)?)?),
        _ => Err(RegistrationFileError::Kind { known: KINDS }),
    }
}

/// A file's bytes, by its name's end, of a transform that takes moving points to fixed ones.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn to_bytes(path: &Path, fixed_from_moving: &Isometry3<f64>) -> Result<Vec<u8>, RegistrationFileError> {
    match kind(path).as_str() {
        "tfm" | "txt" => Ok(to_text(fixed_from_moving).into_bytes()),
        "h5" | "hdf5" => hdf5::bytes(&Part::of(fixed_from_moving)),
        _ => Err(RegistrationFileError::Kind { known: KINDS }),
    }
}

/// Whether a file's name ends as that of a transform.
#[must_use]
pub fn named(path: &Path) -> bool {
    ["tfm", "txt", "h5", "hdf5"].contains(&kind(path).as_str())
}

fn kind(path: &Path) -> String {
    path.extension().map(|end| end.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn to_text(fixed_from_moving: &Isometry3<f64>) -> String {
    let Part { kind, parameters, .. } = Part::of(fixed_from_moving);
    let parameters: Vec<String> = parameters.iter().map(f64::to_string).collect();
    format!(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}\nParameters: {}\nFixedParameters: 0 0 0\n",
        parameters.join(" ")
    )
}

fn of_text(text: &str) -> Result<Isometry3<f64>, RegistrationFileError> {
    let mut parts: Vec<Part> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let key = key.trim();
        if key == "Transform" {
            parts.push(Part { kind: value.trim().to_owned(), ..Part::default() });
        }
        if !["Parameters", "FixedParameters"].contains(&key) {
            continue;
        }
        let values =
            value.split_whitespace().map(|word| number(index + 1, key, word)).collect::<Result<Vec<_>, _>>()?;
        let Some(part) = parts.last_mut() else {
            return Err(RegistrationFileError::line(index + 1, format!("`{key}` before any `Transform`")));
        };
        if key == "Parameters" {
            part.parameters = values;
        } else {
            part.fixed = values;
        }
    }
    joined(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Point3;
    use proptest::prelude::*;

    fn pose() -> Isometry3<f64> {
        Isometry3::new(Vector3::new(120.5, -30.25, 7.0), Vector3::new(0.3, -1.1, 0.4))
    }

    #[test]
    fn a_transform_comes_back_and_its_file_holds_the_inverse() {
        let text = to_text(&pose());
        assert!((of_text(&text).expect("reads").inverse() * pose()).translation.vector.norm() < 1e-9);
        let line = text.lines().find_map(|l| l.strip_prefix("Parameters: ")).expect("parameters");
        let p: Vec<f64> = line.split(' ').map(|w| w.parse().expect("a number")).collect();
        let fixed = Point3::new(10.0, 20.0, 30.0);
        let resampled = Matrix3::from_row_slice(&p[..9]) * fixed + Vector3::new(p[9], p[10], p[11]);
        assert!((resampled - pose().inverse() * fixed).norm() < 1e-9, "fixed to moving, as ITK resamples");
    }

    #[test]
    fn a_centre_of_rotation_counts() {
        let text =
            "Transform: AffineTransform_double_3_3\nParameters: 0 -1 0 1 0 0 0 0 1 5 0 0\nFixedParameters: 10 0 0\n";
        let moving = of_text(text).expect("reads").inverse() * Point3::new(10.0, 0.0, 0.0);
        assert!(
            (moving - Point3::new(15.0, 0.0, 0.0)).norm() < 1e-9,
            "the centre is moved by the shift alone: {moving}"
        );
    }

    /// Written by SimpleITK 2.5.7 (ITK 5.4.8), and what it says of the same file: a point, and where it takes it.
    const ITK: [(&str, &[u8], [f64; 3]); 4] = [
        ("affine.h5", include_bytes!("transform/affine.h5"), [-5.0, 1.25, 28.0]),
        ("composite.h5", include_bytes!("transform/composite.h5"), [-5.0, 1.25, 28.0]),
        ("versor.h5", include_bytes!("transform/versor.h5"), [0.187_314_846_819_665_7, 24.345_906_623_849_487, 33.0]),
        (
            "euler.h5",
            include_bytes!("transform/euler.h5"),
            [11.420_993_104_664_632, 22.275_620_059_348_88, 32.715_528_232_621_5],
        ),
    ];

    #[test]
    fn files_of_itk_are_read_as_itk_reads_them() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes, expected) in ITK {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            let found = read(&path).expect("reads").inverse() * Point3::new(10.0, 20.0, 30.0);
            assert!((found - Point3::from(expected)).norm() < 1e-9, "{name}: {found}");
        }
    }

    #[test]
    fn both_kinds_of_file_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.tfm", "a.h5", "A.HDF5"] {
            let path = folder.path().join(name);
            std::fs::write(&path, to_bytes(&path, &pose()).expect("writes")).expect("written");
            let apart = read(&path).expect("reads").inverse() * pose();
            assert!(apart.translation.vector.norm() < 1e-9 && apart.rotation.angle() < 1e-9, "{name}");
        }
        let path = folder.path().join("a.mat");
        assert!(to_bytes(&path, &pose()).is_err() && read(&path).expect_err("refused").to_string().contains(".h5"));
    }

    #[test]
    fn a_composite_applies_its_last_part_first() {
        let first = "Transform: Euler3DTransform_double_3_3\nParameters: 0 0 1.5707963267948966 0 0 0\nFixedParameters: 0 0 0 0\n";
        let second =
            "Transform: AffineTransform_double_3_3\nParameters: 1 0 0 0 1 0 0 0 1 5 0 0\nFixedParameters: 0 0 0\n";
        let text = format!("Transform: CompositeTransform_double_3_3\n{first}{second}");
        let moving = of_text(&text).expect("reads").inverse() * Point3::new(1.0, 0.0, 0.0);
        assert!((moving - Point3::new(0.0, 6.0, 0.0)).norm() < 1e-9, "shifted, then turned: {moving}");
        assert!(of_text("Transform: CompositeTransform_double_3_3\n").is_err());
    }

    #[test]
    fn what_is_not_one_rigid_transform_is_refused() {
        let said = |from: &str, to: &str| {
            of_text(&to_text(&Isometry3::identity()).replace(from, to)).expect_err("refused").to_string()
        };
        assert!(said("Parameters: 1 ", "Parameters: 1.1 ").contains("scales"));
        assert!(said("Parameters: 1 ", "Parameters: -1 ").contains("mirrors"));
        assert!(said("Parameters: 1 ", "Parameters: ").contains("11 parameters"));
        assert!(said("AffineTransform", "BSplineTransform").contains("BSplineTransform"));
        assert!(said("#Transform 0", "Transform: AffineTransform_double_3_3").contains("2 transforms"));
        assert!(of_text("hello").is_err());
        assert!(of_text("Parameters: 1 2 3").expect_err("refused").to_string().contains("line 1"));
        let versor = "Transform: VersorRigid3DTransform_double_3_3\nParameters: 1 1 0 0 0 0\nFixedParameters: 0 0 0\n";
        assert!(of_text(versor).expect_err("refused").to_string().contains("versor"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,300}", cut in 0_usize..300) {
            let _ = of_text(&text);
            let whole = to_text(&pose());
            let _ = of_text(whole.get(..cut.min(whole.len())).unwrap_or(""));
        }
    }
}
