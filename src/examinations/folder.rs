//! A folder that a scanner's workstation exports to: each folder in it is one examination.
//!
//! `t1c.nii.gz` (or `.nii`, or a folder `t1c` with a DICOM series) is needed; `flair`, `t1` and `t2` may be beside it. An
//! examination is read once nothing in it has changed for [`QUIET`]. **Nothing held is lost:** one that cannot be read is told, once,
//! and read again when it changes.

use anyhow::Context;
use bregma_core::flow::{Modality, Volume};
use bregma_core::time::{Duration, Instant};
use bregma_ingest::mri;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// So long nothing may have changed.
pub const QUIET: Duration = Duration::from_secs(3);

/// Names of contrasts.
const CONTRASTS: [(&str, Modality); 4] =
    [("t1c", Modality::T1c), ("flair", Modality::Flair), ("t1", Modality::T1), ("t2", Modality::T2)];

/// How large and how old everything in an examination is.
type State = Vec<(PathBuf, u64, Option<std::time::SystemTime>)>;

/// The folder, and what is known of it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    seen: BTreeMap<PathBuf, Seen>,
}

#[derive(Debug)]
struct Seen {
    state: State,
    since: Instant,
    read: bool,
}

impl Folder {
    /// Not looked at yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), seen: BTreeMap::new() }
    }

    /// The next examination that is complete, with its name: its scans, or why they cannot be read. The folder itself need not be
    /// there yet.
    pub fn look(&mut self, now: Instant) -> Option<(String, anyhow::Result<Vec<Volume>>)> {
        let entries = std::fs::read_dir(&self.path).ok()?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_dir()).collect();
        folders.sort();
        for folder in folders {
            let state = state(&folder, 2);
            let seen = self.seen.entry(folder.clone()).or_insert_with(|| Seen {
                state: State::new(),
                since: now,
                read: false,
            });
            if seen.state != state {
                *seen = Seen { state, since: now, read: false };
            }
            let quiet = now.since(seen.since).is_some_and(|age| age >= QUIET);
            if !seen.read && quiet && !seen.state.is_empty() {
                seen.read = true;
                return Some((folder.display().to_string(), read(&folder, now)));
            }
        }
        None
    }
}

/// Of everything in a folder, so many levels deep.
fn state(folder: &Path, deep: usize) -> State {
    let Ok(entries) = std::fs::read_dir(folder) else { return State::new() };
    let mut all = State::new();
    for path in entries.flatten().map(|e| e.path()) {
        match std::fs::metadata(&path) {
            Ok(m) if m.is_dir() && deep > 1 => all.extend(state(&path, deep - 1)),
            Ok(m) if m.is_file() => all.push((path, m.len(), m.modified().ok())),
            Ok(_) | Err(_) => {}
        }
    }
    all.sort();
    all
}

/// Its scans; those of an examination that has just been made were acquired just now.
fn read(folder: &Path, now: Instant) -> anyhow::Result<Vec<Volume>> {
    let mut scans = Vec::new();
    for (name, modality) in CONTRASTS {
        let mut paths =
            [format!("{name}.nii.gz"), format!("{name}.nii"), name.to_owned()].into_iter().map(|n| folder.join(n));
        let Some(path) = paths.find(|p| p.exists()) else { continue };
        let mut scan = mri::read(&path, modality)?;
        scan.acquired = now;
        scans.push(scan);
    }
    let t1c = scans.iter().any(|scan| scan.modality == Modality::T1c);
    t1c.then_some(scans).with_context(|| {
        format!(
            "{}: there is neither t1c.nii.gz nor t1c.nii nor a folder t1c with a DICOM series in it",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_examination_is_read_once_nothing_in_it_changes_and_again_when_it_does() {
        let root = tempfile::tempdir().expect("a folder");
        let mut folder = Folder::new(&root.path().join("scans"));
        let at = |s: u64| Instant::START + Duration::from_secs(s);
        assert!(folder.look(at(0)).is_none(), "it is not there yet");
        let first = root.path().join("scans/first");
        std::fs::create_dir_all(&first).expect("made");
        assert!(folder.look(at(1)).is_none() && folder.look(at(9)).is_none(), "there is nothing in it");
        std::fs::write(first.join("flair.nii"), b"half of").expect("written");
        assert!(folder.look(at(10)).is_none() && folder.look(at(12)).is_none());
        std::fs::write(first.join("flair.nii"), b"half of it").expect("written");
        assert!(folder.look(at(13)).is_none() && folder.look(at(15)).is_none(), "it is still being written");
        let (name, read) = folder.look(at(16)).expect("quiet");
        let why = format!("{:#}", read.expect_err("no scan"));
        assert!(name.ends_with("first") && why.contains("flair.nii"), "{name}: {why}");
        assert!(folder.look(at(30)).is_none(), "told once");
        std::fs::remove_file(first.join("flair.nii")).expect("removed");
        std::fs::write(first.join("notes.txt"), b"none").expect("written");
        assert!(folder.look(at(31)).is_none());
        let (_, read) = folder.look(at(40)).expect("it has changed");
        assert!(read.expect_err("no T1c").to_string().contains("neither t1c.nii.gz"));
    }
}
