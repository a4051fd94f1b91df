//! The house is tidy: promises name tests that exist, no test is skipped, nothing is left unfinished, no
//! path of somebody's machine is in the project, licences are allowed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Text files of the project, without what is built, with their path from the root.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", ".git", "out", "corpus", "artifacts"].contains(&name.as_str()) {
                    walk(&path, into);
                }
            } else {
                into.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter(|p| endings.iter().any(|e| p.to_string_lossy().ends_with(e)))
        .map(|p| {
            let name = p.strip_prefix(root()).expect("inside").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&p).unwrap_or_else(|e| panic!("{name}: {e}"));
            (name, text)
        })
        .collect()
}

/// Lines of all Rust and build files that hold a phrase; this file is left out, since it holds them all.
fn lines_with(phrases: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in files(&[".rs", ".toml", ".md", "Makefile", ".ci/run"]) {
        if name == "tests/tidy.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if phrases.iter().any(|p| line.contains(p)) {
                found.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn no_test_is_skipped() {
    let found = lines_with(&["#[ignore", "#[cfg(FALSE)]", "#[cfg(any())]"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    let found =
        lines_with(&["todo!(", "unimplemented!(", "TODO", "FIXME", "XXX", "HACK", "for now,", "not yet implemented"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_path_of_a_machine_is_in_the_project() {
    let found = lines_with(&["/work/", "/root/", "/home/", "/tmp/"]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_file_says_what_it_does() {
    let silent: Vec<_> = files(&[".rs"])
        .into_iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "files without a module doc: {silent:?}");
}

#[test]
fn no_file_is_too_long_to_read() {
    let long: Vec<_> = files(&[".rs"])
        .into_iter()
        .map(|(name, text)| (text.lines().count(), name))
        // The messages of the flow stand in one file, so that the contract can be read in one go.
        .filter(|(lines, name)| *lines > 800 && name != "runtime/core/src/flow.rs")
        .collect();
    assert!(long.is_empty(), "over 800 lines: {long:?}");
}

/// Rows of LIMITS.md: `(id, shown by)`.
fn promises() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("LIMITS.md")).expect("LIMITS.md");
    let rows: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| id") && !line.starts_with("| -"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 4, "a row has an id, a promise, a value and what shows it: {line}");
            (cells[0].to_owned(), cells[3].to_owned())
        })
        .collect();
    assert!(rows.len() >= 20, "LIMITS.md holds {} promises", rows.len());
    rows
}

#[test]
fn every_promise_names_what_shows_it() {
    let sources = files(&[".rs"]);
    let shown = |name: &str| {
        sources.iter().any(|(_, text)| text.contains(&format!("fn {name}(")) || text.contains(&format!("\"{name}\"")))
    };
    let mut ids = BTreeSet::new();
    for (id, by) in promises() {
        assert!(ids.insert(id.clone()), "{id} stands twice");
        if by == "*pending*" {
            continue;
        }
        let names: Vec<&str> = by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{id}: `{by}` names no test or bench, and does not say *pending*");
        for name in names {
            let last = name.rsplit("::").next().expect("a part");
            assert!(shown(last), "{id}: no test or bench is called `{last}`");
        }
    }
}

#[test]
fn every_package_has_a_licence_that_we_allow() {
    let deny: toml::Table =
        std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml").parse().expect("deny.toml is TOML");
    let allowed: BTreeSet<&str> =
        deny["licenses"]["allow"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    let metadata = cargo_metadata::MetadataCommand::new().exec().expect("cargo metadata");
    // SPDX: OR takes one, AND takes all; old manifests write `/` for OR.
    let one = |term: &str| allowed.contains(term.trim().trim_matches(['(', ')']));
    let fits = |expression: &str| {
        expression.replace('/', " OR ").split(" OR ").any(|choice| choice.split(" AND ").all(one))
            || expression.split(" AND ").all(|part| part.split(" OR ").any(one))
    };
    let refused: Vec<_> = metadata
        .packages
        .iter()
        .filter(|p| p.source.is_some())
        .filter(|p| !p.license.as_deref().is_some_and(fits))
        .map(|p| format!("{} {}: {}", p.name, p.version, p.license.as_deref().unwrap_or("no licence named")))
        .collect();
    assert!(refused.is_empty(), "licences that deny.toml does not allow:\n{}", refused.join("\n"));
}
