//! Where simulated patients come from: the cache on disk where there is one, else grown anew.
//!
//! The folder is `patients/` in `$BREGMA_CACHE`, else in `$XDG_CACHE_HOME/bregma`, else in `~/.cache/bregma`;
//! with `BREGMA_CACHE` set to nothing, or without a home, none is kept.

use bregma_patient::{CACHE_BYTES, Fetched, GrowError, ImportedAnatomy, Patient, PatientCache, PatientSettings};
use std::ffi::OsString;
use std::path::PathBuf;

/// The program's cache.
#[must_use]
pub fn cache() -> Option<PatientCache> {
    let folder = folder(|name| std::env::var_os(name))?;
    Some(PatientCache::new(folder, CACHE_BYTES))
}

/// The patient of a seed, in somebody's own head where one is given; from a cache where there is one.
///
/// # Errors
/// When no patient grows from this seed.
pub fn fetch(
    cache: Option<&PatientCache>,
    head: Option<&ImportedAnatomy>,
    seed: u64,
    settings: &PatientSettings,
) -> Result<Fetched, GrowError> {
    let grown = |patient| Fetched { patient, cached: false, trouble: None };
    match (cache, head) {
        (Some(cache), None) => cache.grow(seed, settings),
        (Some(cache), Some(head)) => cache.grow_in(head, seed, settings),
        (None, None) => Patient::grow(seed, settings).map(grown),
        (None, Some(head)) => Patient::grow_in(head, seed, settings).map(grown),
    }
}

fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // A relative path would mean another folder wherever the program is called.
    let set = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let root = match variable("BREGMA_CACHE") {
        Some(_) => set("BREGMA_CACHE")?,
        None => set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")))?.join("bregma"),
    };
    Some(root.join("patients"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_first_that_is_named() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<(String, OsString)> = set.iter().map(|(n, v)| ((*n).to_owned(), (*v).into())).collect();
            folder(move |name| set.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()))
        };
        let all = [("BREGMA_CACHE", "/a"), ("XDG_CACHE_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(with(&all), Some("/a/patients".into()));
        assert_eq!(with(&all[1..]), Some("/b/bregma/patients".into()));
        assert_eq!(with(&all[2..]), Some("/c/.cache/bregma/patients".into()));
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("BREGMA_CACHE", ""), ("HOME", "/c")]), None, "set to nothing: none is kept");
        assert_eq!(with(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/c")]), Some("/c/.cache/bregma/patients".into()));
    }
}
