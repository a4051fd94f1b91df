//! Files that are written whole or not at all: beside their place, and moved there. What stood there stays if that fails.

use anyhow::Context;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The folder that a file lies in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes bytes, for everybody to read.
///
/// # Errors
/// When they cannot be written, naming the file.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let readable = PermissionsExt::from_mode(0o644);
    let written = tempfile::Builder::new().permissions(readable).tempfile_in(folder_of(path)).and_then(|mut file| {
        file.write_all(bytes.as_ref())?;
        file.persist(path)?;
        Ok(())
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Has somebody write a file of the same name elsewhere, and moves it there.
///
/// # Errors
/// The writer's, as it is; when it cannot be moved.
pub fn write_by<E>(path: &Path, write: impl FnOnce(&Path) -> Result<(), E>) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let beside = tempfile::Builder::new().prefix(".bregma-").tempdir_in(folder_of(path))?;
    let part = beside.path().join(path.file_name().unwrap_or_default());
    write(&part)?;
    Ok(std::fs::rename(&part, path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        write(&path, "one").expect("written");
        let fails = write_by(&path, |part| {
            std::fs::write(part, "half")?;
            Err(std::io::Error::other("the disk is full"))
        });
        assert_eq!(fails.expect_err("it fails").to_string(), "the disk is full");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "one");
        write_by(&path, |part| std::fs::write(part, "two")).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "two");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
        let why = write(&folder.path().join("none/a.txt"), "one").expect_err("no folder").to_string();
        assert!(why.contains("none/a.txt"), "{why}");
    }
}
