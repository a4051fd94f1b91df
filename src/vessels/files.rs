//! Vessels as files: `vessels.json` with centrelines, diameters and their errors; `vessels.vtk`, which 3D Slicer and ParaView show; and a
//! surgeon's plan with them as forbidden regions.
//!
//! **Units and frame:** mm, patient LPS, that of the scan; the VTK file says so in its second line.

use bregma_perception::vessels::{VesselCapsule, VesselTree};
use serde::Serialize;
use std::fmt::Write as _;

/// Of one side: nine of ten surfaces lie within so many standard errors.
const NINETY: f64 = 1.645;

#[derive(Serialize)]
struct Words {
    schema: u32,
    commit: &'static str,
    frame: &'static str,
    nodes: Vec<[f64; 3]>,
    branches: Vec<BranchWords>,
}

#[derive(Serialize)]
struct BranchWords {
    nodes: [usize; 2],
    faint: bool,
    points: Vec<PointWords>,
}

#[derive(Serialize)]
struct PointWords {
    at_mm: [f64; 3],
    diameter_mm: f64,
    diameter_error_mm: f64,
    position_error_mm: f64,
}

/// The graph, to be written as JSON.
#[must_use]
pub fn graph(tree: &VesselTree) -> impl Serialize + use<> {
    let at = |p: &nalgebra::Point3<f64>| [p.x, p.y, p.z];
    let branches = tree.branches.iter().map(|branch| BranchWords {
        nodes: branch.nodes,
        faint: branch.faint,
        points: branch
            .stations
            .iter()
            .map(|s| PointWords {
                at_mm: at(&s.at),
                diameter_mm: 2.0 * s.radius_mm,
                diameter_error_mm: 2.0 * s.radius_error_mm,
                position_error_mm: s.position_error_mm,
            })
            .collect(),
    });
    Words {
        schema: 1,
        commit: crate::report::commit(),
        frame: "patient LPS, mm",
        nodes: tree.nodes.iter().map(at).collect(),
        branches: branches.collect(),
    }
}

/// Lines with a diameter at every point, in VTK's old text form.
#[must_use]
pub fn vtk(tree: &VesselTree) -> String {
    let points: usize = tree.branches.iter().map(|b| b.stations.len()).sum();
    let mut out = format!(
        "# vtk DataFile Version 3.0\nvessels, patient LPS, mm SPACE=LPS\nASCII\nDATASET POLYDATA\nPOINTS {points} double\n"
    );
    // Writing to a string cannot fail.
    for s in tree.branches.iter().flat_map(|b| &b.stations) {
        let _ = writeln!(out, "{:.4} {:.4} {:.4}", s.at.x, s.at.y, s.at.z);
    }
    let _ = writeln!(out, "LINES {} {}", tree.branches.len(), tree.branches.len() + points);
    let mut next = 0;
    for branch in &tree.branches {
        let _ = write!(out, "{}", branch.stations.len());
        for _ in &branch.stations {
            let _ = write!(out, " {next}");
            next += 1;
        }
        out.push('\n');
    }
    let _ = writeln!(out, "POINT_DATA {points}\nSCALARS diameter_mm double 1\nLOOKUP_TABLE default");
    for s in tree.branches.iter().flat_map(|b| &b.stations) {
        let _ = writeln!(out, "{:.4}", 2.0 * s.radius_mm);
    }
    out
}

/// A radius within which a vessel lies in nine of ten places, its own error and its position's together, mm.
#[must_use]
pub fn forbidden_radius_mm(vessel: &VesselCapsule) -> f64 {
    vessel.capsule.radius_mm + NINETY * vessel.radius_error_mm.hypot(vessel.position_error_mm)
}

/// A plan, `anatomy.toml`, with these vessels in place of its own.
///
/// # Errors
/// A plan that is no TOML.
pub fn planned(plan: &str, vessels: &[VesselCapsule]) -> Result<String, toml::de::Error> {
    let mut plan: toml::Table = toml::from_str(plan)?;
    let number = |v: f64| toml::Value::Float((v * 1e4).round() / 1e4);
    let point = |p: &nalgebra::Point3<f64>| toml::Value::Array([p.x, p.y, p.z].map(number).into());
    let words = vessels.iter().map(|v| {
        let mut table = toml::Table::new();
        table.insert("start_mm".into(), point(&v.capsule.start));
        table.insert("end_mm".into(), point(&v.capsule.end));
        table.insert("radius_mm".into(), number(forbidden_radius_mm(v)));
        toml::Value::Table(table)
    });
    plan.insert("vessels".into(), toml::Value::Array(words.collect()));
    Ok(plan.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::flow::Capsule;
    use bregma_perception::vessels::{Branch, Station};
    use nalgebra::Point3;

    fn tree() -> VesselTree {
        let station = |x: f64| Station {
            at: Point3::new(x, 2.0, 3.0),
            radius_mm: 0.75,
            radius_error_mm: 0.03,
            position_error_mm: 0.04,
        };
        let branch = Branch { nodes: [0, 1], stations: vec![station(0.0), station(0.5)], faint: false };
        VesselTree { nodes: vec![Point3::new(0.0, 2.0, 3.0), Point3::new(0.5, 2.0, 3.0)], branches: vec![branch] }
    }

    #[test]
    fn a_graph_is_written_with_diameters_and_errors() {
        let json = serde_json::to_value(graph(&tree())).expect("JSON");
        assert_eq!(json["branches"][0]["points"][1]["diameter_mm"], 1.5);
        assert_eq!(json["branches"][0]["points"][1]["diameter_error_mm"], 0.06);
        assert_eq!((&json["nodes"][1][0], &json["frame"]), (&0.5.into(), &"patient LPS, mm".into()));
        let vtk = vtk(&tree());
        assert!(vtk.contains("POINTS 2 double\n0.0000 2.0000 3.0000\n") && vtk.contains("LINES 1 3\n2 0 1\n"), "{vtk}");
        assert!(vtk.ends_with("LOOKUP_TABLE default\n1.5000\n1.5000\n"));
    }

    #[test]
    fn a_plan_keeps_everything_but_its_vessels_which_grow_by_what_they_may_be_off() {
        let capsule = Capsule { start: Point3::new(1.0, 2.0, 3.0), end: Point3::new(4.0, 5.0, 6.0), radius_mm: 1.0 };
        let vessel = VesselCapsule { capsule, radius_error_mm: 0.03, position_error_mm: 0.04 };
        let plan = "labels = \"l.nii.gz\"\n[corridor]\nopen_mm = 10.0\n[[vessels]]\nradius_mm = 9.0\n";
        let table: toml::Table = toml::from_str(&planned(plan, &[vessel]).expect("a plan")).expect("TOML");
        let vessels = table["vessels"].as_array().expect("some");
        assert_eq!((vessels.len(), table["corridor"]["open_mm"].as_float()), (1, Some(10.0)));
        assert_eq!(vessels[0]["radius_mm"].as_float(), Some(1.0823));
        assert!(planned("labels =", &[]).is_err());
    }
}
