//! Who may depend on whom: reads `cargo metadata` and fails on any edge that ARCHITECTURE.md does not draw.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::{BTreeMap, BTreeSet};

/// The edges between our own crates. Left may use right; nothing else may.
const MAY_USE: &[(&str, &[&str])] = &[
    ("bregma-core", &[]),
    ("bregma-openigtlink", &[]),
    ("bregma-ingest", &["bregma-core", "bregma-openigtlink"]),
    ("bregma-perception", &["bregma-core"]),
    ("bregma-planning", &["bregma-core"]),
    ("bregma-physics", &["bregma-core"]),
    ("bregma-patient", &["bregma-core"]),
    ("bregma-recordings", &["bregma-core"]),
    ("bregma-bridge", &["bregma-core", "bregma-openigtlink", "bregma-physics"]),
    (
        "bregma",
        &[
            "bregma-bridge",
            "bregma-core",
            "bregma-ingest",
            "bregma-openigtlink",
            "bregma-patient",
            "bregma-perception",
            "bregma-physics",
            "bregma-planning",
            "bregma-recordings",
        ],
    ),
];

/// Heavy packages, by the start of their name, and the crates that may use them.
const ONE_ROOM_EACH: &[(&str, &[&str])] = &[
    ("gstreamer", &["bregma-ingest"]),
    ("dicom", &["bregma-ingest", "bregma-patient"]),
    ("rapier3d", &["bregma-physics"]),
    ("rerun", &["bregma"]),
    ("mcap", &["bregma-recordings"]),
    ("burn", &["bregma-perception", "bregma-planning"]),
    ("cudarc", &["bregma-perception"]),
    ("crossbeam-queue", &["bregma-core"]),
];

/// One of our crates and what it depends on, tests and benches excluded.
type Edges = BTreeMap<String, BTreeSet<String>>;

fn edges() -> Edges {
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata reads this workspace");
    let normal = |p: &cargo_metadata::Package| {
        p.dependencies.iter().filter(|d| d.kind != DependencyKind::Development).map(|d| d.name.clone()).collect()
    };
    metadata.packages.iter().map(|p| (p.name.to_string(), normal(p))).collect()
}

/// Every edge that is not allowed, in words.
fn faults(edges: &Edges) -> Vec<String> {
    let mut faults = Vec::new();
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    for (from, uses) in edges {
        let Some(may) = allowed.get(from.as_str()) else {
            faults.push(format!("{from} is not drawn in the layering"));
            continue;
        };
        for to in uses {
            if edges.contains_key(to) && !may.contains(&to.as_str()) {
                faults.push(format!("{from} uses {to}, which it may not"));
            }
            for (heavy, rooms) in ONE_ROOM_EACH {
                if to.starts_with(heavy) && !rooms.contains(&from.as_str()) {
                    faults.push(format!("{from} uses {to}, which belongs in {}", rooms.join(" and ")));
                }
            }
        }
    }
    faults
}

#[test]
fn no_arrow_runs_up() {
    let edges = edges();
    assert_eq!(edges.len(), MAY_USE.len(), "every crate of the workspace is drawn");
    let faults = faults(&edges);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The check itself: with a forbidden edge added, it names it.
#[test]
fn a_forbidden_edge_is_named() {
    let mut edges = edges();
    edges.get_mut("bregma-bridge").expect("it is there").insert("bregma-planning".into());
    edges.get_mut("bregma-core").expect("it is there").insert("bregma-physics".into());
    edges.get_mut("bregma-planning").expect("it is there").insert("rapier3d".into());
    assert_eq!(
        faults(&edges),
        [
            "bregma-bridge uses bregma-planning, which it may not",
            "bregma-core uses bregma-physics, which it may not",
            "bregma-planning uses rapier3d, which belongs in bregma-physics",
        ]
    );
}
