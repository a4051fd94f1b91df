//! Points that a pointer traced on a surface: `.csv`, `.ply` (ASCII), `.mrk.json`, `.fcsv`.
//!
//! A `.csv` has the columns `x_mm, y_mm, z_mm` and `status`; lines that do not say `valid` do not count. Of a `.ply` (Stanford's
//! polygon format 1.0) the vertices' `x, y, z` are taken, as they are: it names neither a unit nor a frame, and must be in mm.
//! **Refused:** a binary `.ply`; no point at all. **Bounds:** those of this folder.

use super::{ENTRIES_MAX, RegistrationFileError, columns, markups, number, text};
use nalgebra::Point3;
use std::path::Path;

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// In the file's coordinates, mm.
    pub points: Vec<Point3<f64>>,
    /// How many lines did not say that they are valid.
    pub passed_over: usize,
}

/// Reads a file, by its name's end.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn read(path: &Path) -> Result<Traced, RegistrationFileError> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let found = if name.ends_with(".csv") {
        of_csv(&text(path)?)?
    } else if name.ends_with(".ply") {
        Traced { points: of_ply(&bytes_as_text(path)?)?, passed_over: 0 }
    } else if name.ends_with(".json") || name.ends_with(".fcsv") {
        Traced { points: markups::read(path)?.iter().map(|m| m.at).collect(), passed_over: 0 }
    } else {
        return Err(RegistrationFileError::Kind { known: ".csv, .ply, .mrk.json, .json, .fcsv" });
    };
    if found.points.is_empty() {
        let what = format!("there is no valid point in it; {} lines are not valid", found.passed_over);
        return Err(RegistrationFileError::Whole(what));
    }
    Ok(found)
}

/// Its text; a binary file is to be refused for what its heading says.
fn bytes_as_text(path: &Path) -> Result<String, RegistrationFileError> {
    match text(path) {
        Err(RegistrationFileError::Whole(_)) => Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned()),
        other => other,
    }
}

fn of_csv(text: &str) -> Result<Traced, RegistrationFileError> {
    let names = ["x_mm", "y_mm", "z_mm"].map(String::from);
    let found = columns::of_text(text, &names, true)?;
    let points = found.rows.iter().map(|(_, v)| Point3::new(v[0], v[1], v[2])).collect();
    Ok(Traced { points, passed_over: found.passed_over })
}

/// One element of a heading.
struct Element {
    name: String,
    count: usize,
    properties: Vec<String>,
}

fn of_ply(text: &str) -> Result<Vec<Point3<f64>>, RegistrationFileError> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let whole = |what: &str| RegistrationFileError::Whole(what.into());
    if lines.next().map(|(_, line)| line) != Some("ply") {
        return Err(whole("it does not begin with `ply`"));
    }
    let mut elements: Vec<Element> = Vec::new();
    loop {
        let Some((number, line)) = lines.next() else { return Err(whole("its heading has no `end_header`")) };
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = |what: &str| RegistrationFileError::line(number, format!("`{line:.60}`: {what}"));
        match words[..] {
            ["end_header"] => break,
            ["format", "ascii", "1.0"] | ["comment" | "obj_info", ..] | [] => {}
            ["format", ..] => return Err(wrong("`format ascii 1.0` is needed; write it as text, not binary")),
            ["element", name, count] => {
                let count = count.parse().ok().filter(|n| *n <= ENTRIES_MAX);
                let count = count.ok_or_else(|| wrong(&format!("a number of up to {ENTRIES_MAX} is needed")))?;
                elements.push(Element { name: name.into(), count, properties: Vec::new() });
            }
            ["property", "list", ..] if elements.last().is_some_and(|e| e.name != "vertex") => {}
            ["property", _, name] if !elements.is_empty() => {
                if let Some(element) = elements.last_mut() {
                    element.properties.push(name.into());
                }
            }
            _ => return Err(wrong("no part of a heading that is known")),
        }
    }
    let mut points = Vec::new();
    for element in &elements {
        if element.name != "vertex" {
            // An element's values may stand on one line each only.
            lines.by_ref().take(element.count).for_each(drop);
            continue;
        }
        let place = |axis: &str| {
            let at = element.properties.iter().position(|p| p == axis);
            at.ok_or_else(|| whole(&format!("its vertices have no property `{axis}`")))
        };
        let places = [place("x")?, place("y")?, place("z")?];
        for found in 0..element.count {
            let Some((at, line)) = lines.next() else {
                return Err(whole(&format!("{found} of {} vertices are there", element.count)));
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            let value = |axis: usize| {
                let name = ["x", "y", "z"][axis];
                number(at, name, words.get(places[axis]).copied().unwrap_or(""))
            };
            points.push(Point3::new(value(0)?, value(1)?, value(2)?));
        }
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLY: &str = "ply\nformat ascii 1.0\ncomment traced\nelement vertex 2\nproperty float nx\nproperty double x\nproperty double y\nproperty double z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n9 1 2 3\n9 4.5 -5 6e1\n3 0 1 1\n";
    const CSV: &str = "x_mm,y_mm,z_mm,status\n1,2,3,valid\n4.5,-5,60,valid\n7,8,9,out_of_volume\n";

    fn file(name: &str, bytes: &[u8]) -> Result<Traced, RegistrationFileError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        read(&path)
    }

    #[test]
    fn each_kind_says_the_same() {
        let points = vec![Point3::new(1.0, 2.0, 3.0), Point3::new(4.5, -5.0, 60.0)];
        let csv = file("a.csv", CSV.as_bytes()).expect("reads");
        assert_eq!(csv, Traced { points: points.clone(), passed_over: 1 });
        assert_eq!(file("a.PLY", PLY.as_bytes()).expect("reads").points, points);
        let named: Vec<_> = points.iter().map(|at| markups::Markup { label: at.x.to_string(), at: *at }).collect();
        assert_eq!(file("a.fcsv", markups::to_fcsv(&named).as_bytes()).expect("reads").points, points);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let said =
            |from: &str, to: &str| file("a.ply", PLY.replace(from, to).as_bytes()).expect_err("refused").to_string();
        assert!(said("ascii", "binary_little_endian").contains("as text, not binary"));
        assert!(
            said("vertex 2", "vertex 20").contains("3 of 20 vertices")
                || said("vertex 2", "vertex 20").contains("z is")
        );
        assert!(said("vertex 2", "vertex many").contains("line 4"));
        assert!(said("vertex 2", "vertex 999999999").contains("100000"));
        assert!(said("double z", "double w").contains("no property `z`"));
        assert!(said("-5", "nan").contains("line 13: y is \"nan\""));
        assert!(said("end_header", "").contains("line 12"), "{}", said("end_header", ""));
        assert!(said("ply", "off").contains("begin with `ply`"));
        assert!(said("vertex 2", "vertex 0").contains("no valid point"));
        let binary = [b"ply\nformat binary_big_endian 1.0\n".as_slice(), &[0xff, 0x00, 0xfe]].concat();
        assert!(file("b.ply", &binary).expect_err("refused").to_string().contains("not binary"));
        assert!(
            file("a.csv", CSV.replace(",valid", ",lost").as_bytes())
                .expect_err("refused")
                .to_string()
                .contains("3 lines")
        );
        assert!(file("a.csv", CSV.replace("status", "state").as_bytes()).is_err());
        assert!(file("a.obj", PLY.as_bytes()).expect_err("refused").to_string().contains(".ply"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,300}", cut in 0_usize..300) {
            let _ = of_ply(&text);
            let _ = of_ply(&format!("ply\n{text}"));
            let _ = of_ply(PLY.get(..cut.min(PLY.len())).unwrap_or(""));
            let _ = of_csv(&text);
        }
    }
}
