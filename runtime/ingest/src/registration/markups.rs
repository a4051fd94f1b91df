//! Points that a person has marked: 3D Slicer's `.mrk.json` (markups schema 1.0) and `.fcsv`.
//!
//! **Frames:** both formats say whether they are LPS or RAS; a file that does not say is refused, since half of all such
//! files were written in either. **Refused:** no point at all, a point without a place, two of one name, other units than mm.

use super::{ENTRIES_MAX, RegistrationFileError, number, text};
use nalgebra::Point3;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub struct Markup {
    /// Its label.
    pub label: String,
    /// Where, LPS, mm.
    pub at: Point3<f64>,
}

/// Reads a file, by its name's end.
///
/// # Errors
/// [`RegistrationFileError`].
pub fn read(path: &Path) -> Result<Vec<Markup>, RegistrationFileError> {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let points = if name.ends_with(".json") {
        of_json(&text(path)?)
    } else if name.ends_with(".fcsv") {
        of_fcsv(&text(path)?)
    } else {
        Err(RegistrationFileError::Kind { known: ".mrk.json, .json, .fcsv" })
    }?;
    checked(points)
}

/// Points as `.fcsv`, in the coordinates that they have, which it calls LPS; commas and line breaks of labels become blanks.
#[must_use]
pub fn to_fcsv(points: &[Markup]) -> String {
    use std::fmt::Write;
    let mut text = format!("# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n# columns = {COLUMNS}\n");
    for (index, Markup { label, at }) in points.iter().enumerate() {
        let label = label.replace([',', '\n', '\r'], " ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{},{:?},{:?},{:?},0,0,0,1,1,1,0,{label},,", index + 1, at.x, at.y, at.z);
    }
    text
}

fn checked(points: Vec<Markup>) -> Result<Vec<Markup>, RegistrationFileError> {
    let whole = |what: String| Err(RegistrationFileError::Whole(what));
    if points.is_empty() {
        return whole("there is no point in it".into());
    }
    if points.len() > ENTRIES_MAX {
        return whole(format!("{} points; {ENTRIES_MAX} are the most", points.len()));
    }
    let mut names = BTreeSet::new();
    for point in &points {
        if !names.insert(&point.label) {
            return whole(format!("two points are called {:?}; each needs a name of its own", point.label));
        }
        if !point.at.iter().all(|v| v.is_finite()) {
            return whole(format!("{:?} has a coordinate that is not finite", point.label));
        }
    }
    Ok(points)
}

/// LPS of coordinates in a system that the file names.
fn lps(system: &str, at: [f64; 3]) -> Option<Point3<f64>> {
    match system.trim() {
        "LPS" | "1" => Some(Point3::from(at)),
        "RAS" | "0" => Some(Point3::new(-at[0], -at[1], at[2])),
        _ => None,
    }
}

const SYSTEMS: &str = "LPS or RAS is needed";

#[derive(Deserialize)]
struct File {
    markups: Vec<List>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    coordinate_system: Option<String>,
    coordinate_units: Option<Units>,
    #[serde(default)]
    control_points: Vec<Control>,
}

/// A word, or, in newer files, a coded entry that ends in it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Units {
    Word(String),
    Coded(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    #[serde(default)]
    label: String,
    position: Option<[f64; 3]>,
    position_status: Option<String>,
}

fn of_json(text: &str) -> Result<Vec<Markup>, RegistrationFileError> {
    let file: File =
        serde_json::from_str(text).map_err(|why| RegistrationFileError::line(why.line(), why.to_string()))?;
    let mut points = Vec::new();
    for list in file.markups {
        let system = list.coordinate_system.unwrap_or_default();
        let unit = match &list.coordinate_units {
            None => "mm",
            Some(Units::Word(word)) => word.as_str(),
            Some(Units::Coded(words)) => words.first().map_or("", String::as_str),
        };
        if unit != "mm" {
            return Err(RegistrationFileError::Whole(format!("`coordinateUnits` is {unit:?}; mm is needed")));
        }
        for (i, control) in list.control_points.into_iter().enumerate() {
            let label = if control.label.is_empty() { format!("point {}", i + 1) } else { control.label };
            let placed =
                control.position.filter(|_| control.position_status.as_deref().unwrap_or("defined") == "defined");
            let Some(at) = placed else {
                return Err(RegistrationFileError::Whole(format!("{label:?} has no place yet; set or delete it")));
            };
            let Some(at) = lps(&system, at) else {
                return Err(RegistrationFileError::Whole(format!("`coordinateSystem` is {system:?}; {SYSTEMS}")));
            };
            points.push(Markup { label, at });
        }
    }
    Ok(points)
}

/// Where columns are if nobody says.
const COLUMNS: &str = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID";

fn of_fcsv(text: &str) -> Result<Vec<Markup>, RegistrationFileError> {
    let (mut system, mut columns) = (None, COLUMNS.to_owned());
    let mut points = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number_of = index + 1;
        if let Some(said) = line.strip_prefix('#') {
            let mut halves = said.splitn(2, '=').map(str::trim);
            match (halves.next(), halves.next()) {
                (Some("CoordinateSystem"), Some(value)) => system = Some(value.to_owned()),
                (Some("columns"), Some(value)) => columns = value.to_owned(),
                _ => {}
            }
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        let words: Vec<&str> = line.split(',').collect();
        let column = |name: &str| {
            let at = columns.split(',').position(|c| c.trim() == name);
            let word = at.and_then(|at| words.get(at));
            word.copied().ok_or_else(|| {
                RegistrationFileError::line(number_of, format!("no column `{name}`; the columns are {columns}"))
            })
        };
        let mut at = [0.0; 3];
        for (value, name) in at.iter_mut().zip(["x", "y", "z"]) {
            *value = number(number_of, name, column(name)?)?;
        }
        let system = system.as_deref().ok_or_else(|| {
            RegistrationFileError::line(number_of, format!("no `# CoordinateSystem = …` before it; {SYSTEMS}"))
        })?;
        let at = lps(system, at).ok_or_else(|| {
            RegistrationFileError::line(number_of, format!("the coordinate system is {system:?}; {SYSTEMS}"))
        })?;
        let label = column("label").unwrap_or("").trim();
        let label = if label.is_empty() { format!("point {}", points.len() + 1) } else { label.to_owned() };
        points.push(Markup { label, at });
        if points.len() > ENTRIES_MAX {
            break;
        }
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JSON: &str = r#"{"@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#",
      "markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": [
        {"id": "1", "label": "nasion", "position": [1.5, -80.0, 10.0], "positionStatus": "defined"},
        {"id": "2", "label": "left tragus", "position": [72.0, 5.0, -20.0], "positionStatus": "defined"}]}]}"#;
    const FCSV: &str = "# Markups fiducial file version = 4.11\n# CoordinateSystem = RAS\n\
        # columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n\
        vtk_0,-1.5,80,10,0,0,0,1,1,1,0,nasion,,\nvtk_1,-72,-5,-20,0,0,0,1,1,1,0,left tragus,,\n";

    #[test]
    fn both_formats_say_the_same_in_lps() {
        let json = checked(of_json(JSON).expect("reads")).expect("sound");
        assert_eq!(json[0], Markup { label: "nasion".into(), at: Point3::new(1.5, -80.0, 10.0) });
        assert_eq!(json, of_fcsv(FCSV).expect("reads"));
        assert_eq!(json, of_fcsv(&FCSV.replace("= RAS", "= 0")).expect("reads"), "as older programs write it");
    }

    #[test]
    fn what_is_written_comes_back() {
        let mut points = of_json(JSON).expect("reads");
        points[1].at.x = 1.0 / 3.0;
        assert_eq!(of_fcsv(&to_fcsv(&points)).expect("reads"), points);
        points[0].label = "a,b\nc".into();
        assert_eq!(of_fcsv(&to_fcsv(&points)).expect("reads")[0].label, "a b c");
    }

    #[test]
    fn what_is_missing_or_wrong_is_said_with_its_place() {
        let json =
            |from: &str, to: &str| of_json(&JSON.replace(from, to)).and_then(checked).expect_err("refused").to_string();
        assert!(json("\"LPS\"", "\"IJK\"").contains("LPS or RAS is needed"));
        assert!(json("\"coordinateSystem\": \"LPS\",", "").contains("LPS or RAS is needed"));
        assert!(json("\"coordinateUnits\": \"mm\"", "\"coordinateUnits\": \"cm\"").contains("mm is needed"));
        assert!(json("left tragus", "nasion").contains("two points are called"));
        assert!(json("\"positionStatus\": \"defined\"", "\"positionStatus\": \"undefined\"").contains("no place yet"));
        assert!(json("[1.5,", "[").contains("line 3"), "{}", json("[1.5,", "["));
        let fcsv =
            |from: &str, to: &str| of_fcsv(&FCSV.replace(from, to)).and_then(checked).expect_err("refused").to_string();
        assert!(fcsv("# CoordinateSystem = RAS\n", "").contains("no `# CoordinateSystem"));
        assert!(fcsv("-72,", "many,").contains("line 5: x is \"many\""));
        assert!(fcsv("-72,", "NaN,").contains("a finite number"));
        assert!(checked(Vec::new()).expect_err("refused").to_string().contains("no point"));
    }

    #[test]
    fn files_are_told_by_their_names_and_huge_ones_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        assert_eq!(read(&write("a.mrk.json", JSON)).expect("reads").len(), 2);
        assert_eq!(read(&write("A.FCSV", FCSV)).expect("reads").len(), 2);
        assert!(read(&write("a.txt", FCSV)).expect_err("refused").to_string().contains(".fcsv"));
        assert!(read(&folder.path().join("none.fcsv")).is_err());
        let huge = std::fs::File::create(folder.path().join("huge.fcsv")).expect("a file");
        huge.set_len(super::super::BYTES_MAX + 1).expect("room");
        assert!(read(&folder.path().join("huge.fcsv")).expect_err("refused").to_string().contains("the most"));
        let path = folder.path().join("b.fcsv");
        std::fs::write(&path, [0xff, 0xfe, 0x00]).expect("written");
        assert!(read(&path).expect_err("refused").to_string().contains("byte 0"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,400}", cut in 0_usize..600) {
            let _ = of_json(&text);
            let _ = of_fcsv(&text);
            let _ = of_json(JSON.get(..cut.min(JSON.len())).unwrap_or(""));
            let _ = of_fcsv(FCSV.get(..cut.min(FCSV.len())).unwrap_or(""));
        }
    }
}
