//! Tracked poses as comma-separated values: a heading that names the columns, then a pose a line.
//!
//! Columns are `x_mm, y_mm, z_mm` and a unit quaternion `qx, qy, qz, qw`; others are passed over. A file of two devices at
//! once has a prefix in front of each: `arm.x_mm`, `camera.qw`. **Status:** a column `status` must say `valid` in each line
//! that is to count; without the column nothing says that poses were valid, and the file is refused.

use super::{RegistrationFileError, columns, text};
use nalgebra::{Isometry3, Point2, Point3, Quaternion, Translation3, UnitQuaternion};
use std::path::Path;

/// How far from 1 a quaternion's length may be.
const UNIT_WITHIN: f64 = 1e-3;
const NAMES: [&str; 7] = ["x_mm", "y_mm", "z_mm", "qx", "qy", "qz", "qw"];

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracked {
    /// Of each prefix, the poses of lines that say valid, in their order.
    pub poses: Vec<Vec<Isometry3<f64>>>,
    /// How many lines did not say so.
    pub passed_over: usize,
}

/// Reads a file of devices with these prefixes; an empty one is none.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn read(path: &Path, prefixes: &[&str]) -> Result<Tracked, RegistrationFileError> {
    of_text(&text(path)?, prefixes)
}

fn of_text(text: &str, prefixes: &[&str]) -> Result<Tracked, RegistrationFileError> {
    let names: Vec<String> = prefixes.iter().flat_map(|p| NAMES.map(|name| format!("{p}{name}"))).collect();
    let found = columns::of_text(text, &names, true)?;
    let mut poses = vec![Vec::new(); prefixes.len()];
    for (line, values) in &found.rows {
        for (poses, values) in poses.iter_mut().zip(values.chunks_exact(NAMES.len())) {
            poses.push(pose(*line, values)?);
        }
    }
    Ok(Tracked { poses, passed_over: found.passed_over })
}

fn pose(line: usize, v: &[f64]) -> Result<Isometry3<f64>, RegistrationFileError> {
    let turn = Quaternion::new(v[6], v[3], v[4], v[5]);
    if (turn.norm() - 1.0).abs() > UNIT_WITHIN {
        let what = format!("the quaternion's length is {:.4}; 1 is right", turn.norm());
        return Err(RegistrationFileError::line(line, what));
    }
    Ok(Isometry3::from_parts(Translation3::new(v[0], v[1], v[2]), UnitQuaternion::from_quaternion(turn)))
}

/// Where something was over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// Seconds, and where.
    pub positions: Vec<(f64, Point3<f64>)>,
    /// How many lines did not say that they are valid.
    pub passed_over: usize,
}

/// Positions of one device over time: the columns `time_s, x_mm, y_mm, z_mm` and `status`.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn motion(path: &Path) -> Result<Motion, RegistrationFileError> {
    let names = ["time_s", "x_mm", "y_mm", "z_mm"].map(String::from);
    let found = columns::of_text(&text(path)?, &names, true)?;
    let positions = found.rows.iter().map(|(_, v)| (v[0], Point3::new(v[1], v[2], v[3]))).collect();
    Ok(Motion { positions, passed_over: found.passed_over })
}

/// Where something is in pictures over time: the columns `time_s, u_px, v_px`.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn pictured(path: &Path) -> Result<Vec<(f64, Point2<f64>)>, RegistrationFileError> {
    let names = ["time_s", "u_px", "v_px"].map(String::from);
    let found = columns::of_text(&text(path)?, &names, false)?;
    Ok(found.rows.iter().map(|(_, v)| (v[0], Point2::new(v[1], v[2]))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "# a tracker\nx_mm,y_mm,z_mm,qx,qy,qz,qw,status\n1,2,3,0,0,0,1,valid\n4,5,6,0,0,1,0,missing\n7,8,9,0,1,0,0,valid\n";

    #[test]
    fn valid_lines_are_read_and_others_counted() {
        let Tracked { poses, passed_over } = of_text(TEXT, &[""]).expect("reads");
        assert_eq!((poses[0].len(), passed_over), (2, 1));
        assert_eq!(poses[0][1].translation.vector.z.to_string(), "9");
        assert!((poses[0][1].rotation.angle() - std::f64::consts::PI).abs() < 1e-12);
    }

    #[test]
    fn two_devices_stand_side_by_side() {
        let heading: Vec<String> = ["arm.", "camera."].iter().flat_map(|p| NAMES.map(|n| format!("{p}{n}"))).collect();
        let text = format!("{},status\n1,0,0,0,0,0,1,2,0,0,0,0,0,1,valid\n", heading.join(","));
        let Tracked { poses, .. } = of_text(&text, &["arm.", "camera."]).expect("reads");
        assert_eq!([poses[0].len(), poses[1].len()], [1, 1]);
        assert!((poses[1][0].translation.vector.x - 2.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |from: &str, to: &str| of_text(&TEXT.replace(from, to), &[""]).expect_err("refused").to_string();
        assert!(said(",status", "").contains("no column `status`"));
        assert!(said("0,0,0,1,valid", "0,0,0,2,valid").contains("line 3: the quaternion's length is 2"));
        assert!(said("7,8,9", "7,8").contains("line 5: 7 values"));
        assert!(said("7,8,9", "7,inf,9").contains("line 5: y_mm"));
        assert!(of_text("", &[""]).expect_err("refused").to_string().contains("empty"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,300}", cut in 0_usize..200) {
            let _ = of_text(&text, &[""]);
            let _ = of_text(TEXT.get(..cut.min(TEXT.len())).unwrap_or(""), &["", "arm."]);
        }
    }
}
