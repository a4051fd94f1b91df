//! Rigid transforms as ITK's text files (`.tfm`), which 3D Slicer and others read.
//!
//! ITK's transforms resample: they take points of the fixed space to the moving one, in LPS mm. A
//! registration `patient_from_reference` is therefore kept as its inverse; Slicer, which inverts as it loads, shows data in the
//! reference's coordinates where they lie in the patient.
//! `T(x) = M (x - c) + c + t`, with `M` row by row and `t` in `Parameters`, `c` in `FixedParameters`.
//! **Refused:** more than one transform, a matrix that scales, shears or mirrors.

use super::{RegistrationFileError, number, text};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};
use std::path::Path;

/// How far a matrix may be from a rotation, in any element of `MᵀM`.
const RIGID_WITHIN: f64 = 1e-4;

/// A file's text, of a transform that takes moving points to fixed ones.
#[must_use]
pub fn to_text(fixed_from_moving: &Isometry3<f64>) -> String {
    let inverse = fixed_from_moving.inverse();
    let turn = inverse.rotation.to_rotation_matrix();
    let rows = (0..9).map(|i| turn[(i / 3, i % 3)]);
    let parameters: Vec<String> =
        rows.chain(inverse.translation.vector.iter().copied()).map(|v| v.to_string()).collect();
    format!(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\nParameters: {}\nFixedParameters: 0 0 0\n",
        parameters.join(" ")
    )
}

/// The transform that takes moving points to fixed ones, of a file.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn read(path: &Path) -> Result<Isometry3<f64>, RegistrationFileError> {
    of_text(&text(path)?)
}

fn of_text(text: &str) -> Result<Isometry3<f64>, RegistrationFileError> {
    let whole = |what: &str| RegistrationFileError::Whole(what.to_owned());
    let (mut kinds, mut parameters, mut fixed) = (Vec::new(), None, [0.0; 3]);
    for (index, line) in text.lines().enumerate() {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let values =
            || value.split_whitespace().map(|word| number(index + 1, key, word)).collect::<Result<Vec<_>, _>>();
        match key.trim() {
            "Transform" => kinds.push(value.trim().to_owned()),
            "Parameters" => {
                let found = values()?;
                let exact: [f64; 12] = found.as_slice().try_into().map_err(|_| {
                    RegistrationFileError::line(index + 1, format!("{} parameters; 12 are right", found.len()))
                })?;
                parameters = Some(exact);
            }
            "FixedParameters" => {
                let found = values()?;
                fixed = found.as_slice().try_into().map_err(|_| {
                    RegistrationFileError::line(index + 1, format!("{} fixed parameters; 3 are right", found.len()))
                })?;
            }
            _ => {}
        }
    }
    match &kinds[..] {
        [kind] if ["AffineTransform_double_3_3", "MatrixOffsetTransformBase_double_3_3"].contains(&kind.as_str()) => {}
        [kind] => return Err(whole(&format!("it holds a {kind}; an AffineTransform_double_3_3 is needed"))),
        _ => return Err(whole(&format!("it holds {} transforms; one is needed", kinds.len()))),
    }
    let p = parameters.ok_or_else(|| whole("it holds no `Parameters:`"))?;
    let matrix = Matrix3::from_row_slice(&p[..9]);
    let off = (matrix.transpose() * matrix - Matrix3::identity()).amax();
    if !(off <= RIGID_WITHIN && matrix.determinant() > 0.0) {
        return Err(whole("its matrix scales, shears or mirrors; a rigid one is needed"));
    }
    let centre = Vector3::from(fixed);
    let shift = Vector3::new(p[9], p[10], p[11]) + centre - matrix * centre;
    let turn = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix(&matrix));
    Ok(Isometry3::from_parts(Translation3::from(shift), turn).inverse())
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
