//! `bregma register` as a user would run it, from the files that other programs write.

mod program;

use program::{bregma, said};
use std::fmt::Write as _;
use std::path::Path;

/// Five points on a head, LPS, mm, and a target.
const HEAD: [(&str, [f64; 3]); 5] = [
    ("nasion", [0.0, -95.0, 10.0]),
    ("left tragus", [72.0, 5.0, -20.0]),
    ("right tragus", [-72.0, 4.0, -19.0]),
    ("inion", [2.0, 92.0, -5.0]),
    ("vertex", [1.0, 10.0, 88.0]),
];

/// A quarter turn about z and a shift, as a tracker might see the head; with an error of some tenths of a mm.
fn touched(at: [f64; 3], number: usize) -> [f64; 3] {
    let wrong = [0.3, -0.2, 0.25][number % 3];
    [-at[1] + 100.0 + wrong, at[0] - 50.0 - wrong, at[2] + 900.0 + 0.5 * wrong]
}

fn markups(points: &[(String, [f64; 3])]) -> String {
    let each: Vec<String> = points
        .iter()
        .map(|(label, p)| {
            format!(
                r#"{{"label": "{label}", "position": [{}, {}, {}], "positionStatus": "defined"}}"#,
                p[0], p[1], p[2]
            )
        })
        .collect();
    format!(
        r#"{{"markups": [{{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [{}]}}]}}"#,
        each.join(", ")
    )
}

/// In RAS, as many programs still write it.
fn fcsv(points: &[(String, [f64; 3])]) -> String {
    let mut text = "# Markups fiducial file version = 4.11\n# CoordinateSystem = RAS\n# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n".to_owned();
    for (i, (label, p)) in points.iter().enumerate() {
        writeln!(text, "n_{i},{},{},{},0,0,0,1,1,1,0,{label},,", -p[0], -p[1], p[2]).expect("a string takes it");
    }
    text
}

fn scan() -> Vec<(String, [f64; 3])> {
    HEAD.map(|(label, at)| (label.to_owned(), at)).to_vec()
}

fn touch() -> Vec<(String, [f64; 3])> {
    scan().into_iter().enumerate().map(|(i, (label, at))| (label, touched(at, i))).collect()
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("written");
}

fn register(folder: &Path, more: &[&str]) -> (i32, String) {
    let args = ["register", "landmarks", "--scan", "scan.mrk.json", "--touched", "touched.fcsv"];
    said(&bregma(folder, &[&args[..], more].concat()))
}

#[test]
fn a_patient_is_registered_from_slicers_files_and_the_error_is_held_against_its_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "scan.mrk.json", &markups(&scan()));
    write(folder.path(), "touched.fcsv", &fcsv(&touch()));
    write(folder.path(), "targets.mrk.json", &markups(&[("tumour".into(), [25.0, -10.0, 30.0])]));
    let (status, text) = register(folder.path(), &["--fle", "0.7", "--targets", "targets.mrk.json", "--out", "r.toml"]);
    assert_eq!(status, 0, "{text}");
    assert!(
        text.contains("residual") && text.contains("left tragus") && text.contains("predicted at tumour"),
        "{text}"
    );
    let section = std::fs::read_to_string(folder.path().join("r.toml")).expect("a section");
    let section: toml::Table = section.parse().expect("TOML");
    let section = section["source"]["registration"].as_table().expect("a section");
    // patient_from_reference undoes the quarter turn.
    let turn = section["quaternion_xyzw"].as_array().expect("four numbers");
    assert!((turn[2].as_float().expect("a number").abs() - 0.5_f64.sqrt()).abs() < 0.01, "{section:?}");
    let tre = section["predicted_tre_mm"].as_float().expect("a number");
    assert!((0.2..0.7).contains(&tre), "{tre}");

    let (status, text) =
        register(folder.path(), &["--targets", "targets.mrk.json", "--tre-max", "0.1", "--out", "r.tfm"]);
    assert!(status == 1 && text.contains("at most 0.1 mm"), "{status}: {text}");
    let file = std::fs::read_to_string(folder.path().join("r.tfm")).expect("a transform");
    assert!(file.starts_with("#Insight Transform File V1.0"), "{file}");
}

#[test]
fn mistakes_are_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "scan.mrk.json", &markups(&scan()));
    let refused = |points: &[(String, [f64; 3])], phrases: &[&str]| {
        write(folder.path(), "touched.fcsv", &fcsv(points));
        let (status, text) = register(folder.path(), &["--out", "r.tfm"]);
        assert!(status == 2 && phrases.iter().all(|p| text.contains(p)), "{status}: {text}");
        assert!(!folder.path().join("r.tfm").exists());
    };
    let mut swapped = touch();
    (swapped[1].1, swapped[4].1) = (swapped[4].1, swapped[1].1);
    refused(&swapped, &["left tragus and vertex are swapped"]);
    let mut apart = touch();
    apart[3].1[2] += 30.0;
    refused(&apart, &["inion lies", "touch it again"]);
    let mirrored: Vec<_> = touch().into_iter().map(|(label, p)| (label, [-p[0], p[1], p[2]])).collect();
    refused(&mirrored, &["mirrored", "RAS"]);
    refused(&touch()[..2], &["at least 3"]);
    let (status, text) = register(folder.path(), &["--fle", "0"]);
    assert!(status == 2 && text.contains("--fle is 0"), "{text}");
    let (status, text) = register(folder.path(), &["--targets", "nowhere.fcsv"]);
    assert!(status == 2 && text.contains("nowhere.fcsv"), "{text}");
}

#[test]
fn a_tip_and_a_camera_are_calibrated_from_poses() {
    let folder = tempfile::tempdir().expect("a folder");
    // A shaft of 150 mm along the array's z, tilted in a circle about a resting tip.
    let mut text = "x_mm,y_mm,z_mm,qx,qy,qz,qw,status\n0,0,0,0,0,0,1,missing\n".to_owned();
    for i in 0..60 {
        let around = f64::from(i) * 0.1047;
        let (half, axis) = (0.25_f64, [around.cos(), around.sin()]);
        let (sin, cos) = half.sin_cos();
        let tilt = 2.0 * half;
        // The tip's direction, turned by the tilt about the axis.
        let along = [150.0 * tilt.sin() * axis[1], -150.0 * tilt.sin() * axis[0], 150.0 * tilt.cos()];
        let at = [10.0 - along[0], 20.0 - along[1], 30.0 - along[2]];
        writeln!(text, "{},{},{},{},{},0,{cos},valid", at[0], at[1], at[2], sin * axis[0], sin * axis[1])
            .expect("taken");
    }
    write(folder.path(), "swung.csv", &text);
    let (status, said_text) = said(&bregma(folder.path(), &["register", "pivot", "--poses", "swung.csv"]));
    assert!(
        status == 0 && said_text.contains("150.000 mm in the array") && said_text.contains("1 poses over"),
        "{said_text}"
    );
    write(folder.path(), "no-status.csv", &text.replace(",status", ",state"));
    let (status, said_text) = said(&bregma(folder.path(), &["register", "pivot", "--poses", "no-status.csv"]));
    assert!(status == 2 && said_text.contains("no column `status`"), "{said_text}");

    let few = "arm.x_mm,arm.y_mm,arm.z_mm,arm.qx,arm.qy,arm.qz,arm.qw,camera.x_mm,camera.y_mm,camera.z_mm,camera.qx,camera.qy,camera.qz,camera.qw,status\n1,2,3,0,0,0,1,1,2,3,0,0,0,1,valid\n";
    write(folder.path(), "looked.csv", few);
    let (status, said_text) = said(&bregma(folder.path(), &["register", "hand-eye", "--poses", "looked.csv"]));
    assert!(status == 2 && said_text.contains("at least 6"), "{said_text}");
}

#[test]
fn how_late_pictures_are_is_told_from_one_motion_and_a_still_hand_tells_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let hand = |t: f64| [12.0 * (2.3 * t).sin() + 5.0 * (5.1 * t).cos(), 15.0 * (1.7 * t + 1.0).sin(), 4.0 * t.sin()];
    let files = |scale: f64| {
        let (mut tracked, mut pictured) =
            ("time_s,x_mm,y_mm,z_mm,status\n".to_owned(), "time_s,u_px,v_px\n".to_owned());
        for i in 0..600 {
            let time = f64::from(i) / 60.0;
            let [x, y, z] = hand(time).map(|v| v * scale);
            let status = if i % 50 == 0 { "line_of_sight_lost" } else { "valid" };
            writeln!(tracked, "{time},{x},{y},{z},{status}").expect("a string takes it");
        }
        for i in 0..250 {
            let time = f64::from(i) / 25.0;
            let [x, y, z] = hand(time - 0.12).map(|v| v * scale);
            let (u, v) = (900.0 * x / (300.0 + z) + 320.0, 900.0 * y / (300.0 + z) + 180.0);
            writeln!(pictured, "{time},{u},{v}").expect("a string takes it");
        }
        write(folder.path(), "tip.csv", &tracked);
        write(folder.path(), "video.csv", &pictured);
        said(&bregma(folder.path(), &["register", "lag", "--tracked", "tip.csv", "--pictured", "video.csv"]))
    };
    let (status, text) = files(1.0);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("12 poses over that were not valid"), "{text}");
    let lag = text.lines().find_map(|l| l.strip_prefix("lag")?.trim().split(' ').next()?.parse::<f64>().ok());
    assert!(lag.is_some_and(|ms| (ms - 120.0).abs() < 2.0), "{text}");
    let (status, text) = files(0.0);
    assert_eq!(status, 2, "{text}");
}

/// Registers, and touches again with what `again` does to each point.
fn checked(folder: &Path, again: impl Fn(usize, [f64; 3]) -> [f64; 3], more: &[&str]) -> (i32, String) {
    let points = touch().into_iter().enumerate().map(|(i, (label, at))| (label, again(i, at)));
    write(folder, "again.fcsv", &fcsv(&points.collect::<Vec<_>>()));
    let args = ["register", "check", "--registration", "r.toml", "--scan", "scan.mrk.json", "--touched", "again.fcsv"];
    said(&bregma(folder, &[&args[..], more].concat()))
}

fn registered() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "scan.mrk.json", &markups(&scan()));
    write(folder.path(), "touched.fcsv", &fcsv(&touch()));
    write(folder.path(), "targets.mrk.json", &markups(&[("tumour".into(), [25.0, -10.0, 30.0])]));
    for out in ["r.toml", "r.tfm"] {
        let (status, text) = register(folder.path(), &["--fle", "0.7", "--targets", "targets.mrk.json", "--out", out]);
        assert_eq!(status, 0, "{text}");
    }
    folder
}

#[test]
fn a_registration_is_checked_by_landmarks_touched_again_and_what_is_off_is_explained() {
    let folder = registered();
    let (status, text) = checked(folder.path(), |_, at| at, &["--fle", "0.7"]);
    assert!(status == 0 && text.contains("chance, as predicted") && text.contains("within 2 mm"), "{status}: {text}");
    // What is predicted grows away from the middle: the file holds the whole error.
    let predicted = |name: &str| {
        let line = text.lines().find(|l| l.contains(&format!("at {name},"))).expect("a line each");
        line.split(", ").nth(1).and_then(|w| w.split(' ').next()).and_then(|w| w.parse::<f64>().ok()).expect("mm")
    };
    assert!(predicted("inion") > predicted("left tragus"), "{text}");

    let (status, text) = checked(folder.path(), |_, at| [at[0] + 3.0, at[1] - 4.0, at[2]], &["--fle", "0.7"]);
    assert!(status == 1 && text.contains("all have moved alike, by 5") && text.contains("OVER 2 mm"), "{text}");
    let (status, text) = checked(folder.path(), |_, at| [at[0] + 3.0, at[1] - 4.0, at[2]], &["--limit", "6"]);
    assert!(status == 0 && text.contains("moved alike"), "within the limit, and said all the same: {text}");
    let lone = |i, at: [f64; 3]| if i == 3 { [at[0], at[1], at[2] + 12.0] } else { at };
    let (status, text) = checked(folder.path(), lone, &["--fle", "0.7"]);
    assert!(status == 1 && text.contains("inion alone lies apart"), "{text}");
    // As when a program took the touches for RAS and wrote LPS.
    let (status, text) = checked(folder.path(), |_, at| [-at[0], -at[1], at[2]], &[]);
    assert!(status == 1 && text.contains("between LPS and RAS"), "{text}");
}

#[test]
fn a_check_takes_configurations_and_transforms_and_says_what_they_lack() {
    let folder = registered();
    let check = |registration: &str, more: &[&str]| {
        let args = ["register", "check", "--scan", "scan.mrk.json", "--registration", registration];
        said(&bregma(folder.path(), &[&args[..], more].concat()))
    };
    let files = ["--touched", "touched.fcsv"];
    let (status, text) = check("r.tfm", &files);
    assert!(status == 2 && text.contains("--tre"), "{text}");
    let (status, text) = check("r.tfm", &["--touched", "touched.fcsv", "--tre", "0.6"]);
    assert!(status == 0 && text.contains("chance, as predicted"), "{text}");
    write(folder.path(), "theatre.toml", include_str!("../config/theatre.toml"));
    let (status, text) = check("theatre.toml", &["--touched", "scan.mrk.json"]);
    assert!(
        status == 0 && text.contains("off        0.00 mm at nasion, 1.41 mm predicted"),
        "its pose is none: {text}"
    );

    let whole = std::fs::read_to_string(folder.path().join("r.toml")).expect("a registration");
    let (before, rows) = whole.split_once("covariance_rad_mm = [\n  [").expect("a covariance");
    let wrong = [
        (whole.replace("[source.registration]", "[source.elsewhere]"), "source.registration"),
        (format!("{before}covariance_rad_mm = [\n  [-{rows}"), "is no covariance"),
        (format!("{before}covariance_rad_mm = [\n  [nan, {rows}"), "covariance_rad_mm"),
        (whole.replace("fre_mm", "fre_cm"), "fre_cm"),
    ];
    for (text, phrase) in wrong {
        write(folder.path(), "wrong.toml", &text);
        let (status, said) = check("wrong.toml", &files);
        assert!(status == 2 && said.contains("wrong.toml") && said.contains(phrase), "{phrase}: {said}");
    }
    for (more, phrase) in [
        (&[][..], "either --touched"),
        (&["--touched", "touched.fcsv", "--tracker", "127.0.0.1:1"], "either --touched"),
        (&["--touched", "touched.fcsv", "--limit", "nan"], "--limit is NaN"),
        (&["--touched", "nowhere.fcsv"], "nowhere.fcsv"),
        (&["--touched", "targets.mrk.json"], "no landmark was both touched and in the scan"),
        (&["--tracker", "nowhere"], "an address and a port are needed"),
        (&["--tracker", "127.0.0.1:1"], "must be running there"),
        (&["--tracker", "127.0.0.1:1", "--hold-s", "nan"], "--hold-s is NaN"),
    ] {
        let (status, said) = check("r.toml", more);
        assert!(status == 2 && said.contains(phrase), "{more:?}: {said}");
    }
}
