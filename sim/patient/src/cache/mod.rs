//! Patients kept on disk: growing one takes seconds, reading her a fraction of one.
//!
//! One file holds one patient ([`record`]), packed with zstd:
//!
//! ```text
//! "BREGMAPT" | version u32 | key [32] | length packed u64 | length unpacked u64 | SHA-256 of packed [32] | packed
//! ```
//! The key is a digest of the seed, every setting, the anatomy, and the code that patients grow by: other
//! code, another key, another file. **Invariants:** a patient that is read equals the one that would be grown,
//! in every field; a file that is cut short, damaged, of another version or another patient's is replaced, and
//! never read. A file appears whole or not at all (it is written beside its name and then renamed), so any
//! number of processes may share a folder. A folder that cannot be written keeps nothing, and that is no
//! failure. **Bounds:** the folder's size; the files written first go first. **Not protected against:** somebody
//! who forges a file with its digest.

mod bytes;
mod record;
#[cfg(test)]
mod tests;

use crate::anatomy::imported::ImportedAnatomy;
use crate::patient::{GrowError, Patient, PatientSettings};
use bregma_core::digest::{Digest, Digester};
use bytes::Damaged;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The usual bound on a folder: a thousand patients or more.
pub const CACHE_BYTES: u64 = 10_000_000_000;
/// The first bytes of a file.
const MAGIC: &[u8; 8] = b"BREGMAPT";
/// Of the layout in [`record`]; also in the key.
const VERSION: u32 = 1;
/// Bytes before the packed record.
const HEADER: usize = 8 + 4 + 32 + 8 + 8 + 32;
/// A record is never larger: heads are at most 15 MB in three maps, truth at most 25.
const RECORD_MAX: u64 = 1 << 28;
/// zstd's: higher levels pack 5 % better and take twice as long and more.
const LEVEL: i32 = 1;
/// The code that patients grow by; see `build.rs`.
const GROWN_BY: &str = env!("BREGMA_GROWN_BY");

/// A folder of grown patients.
#[derive(Debug, Clone)]
pub struct PatientCache {
    folder: PathBuf,
    bytes_max: u64,
}

/// A patient, and where she came from.
pub struct Fetched {
    /// She.
    pub patient: Patient,
    /// Whether she was read from the folder, not grown.
    pub cached: bool,
    /// Why she was grown although there is a file, or why she was not kept.
    pub trouble: Option<CacheTrouble>,
}

/// What is wrong with a kept patient or the folder. No patient is lost by it, only time.
#[derive(Debug, thiserror::Error)]
pub enum CacheTrouble {
    /// A file cannot be read.
    #[error("{path}: {why}; the patient is grown again")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A file is not what this program writes under that name.
    #[error("{path}: {what}; the patient is grown again and the file replaced")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The folder takes no file.
    #[error("{path}: {why}; the patient is not kept")]
    NotKept {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

impl PatientCache {
    /// A cache in a folder, which is made when a patient is first kept.
    #[must_use]
    pub const fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// [`Patient::grow`], or the same patient read from the folder.
    ///
    /// # Errors
    /// [`GrowError`], by what is wrong with seed or settings. The folder causes none.
    pub fn grow(&self, seed: u64, settings: &PatientSettings) -> Result<Fetched, GrowError> {
        self.fetch(&key(seed, settings, None), || Patient::grow(seed, settings))
    }

    /// [`Patient::grow_in`], or the same patient read from the folder.
    ///
    /// # Errors
    /// As [`Self::grow`].
    pub fn grow_in(
        &self,
        anatomy: &ImportedAnatomy,
        seed: u64,
        settings: &PatientSettings,
    ) -> Result<Fetched, GrowError> {
        self.fetch(&key(seed, settings, Some(anatomy)), || Patient::grow_in(anatomy, seed, settings))
    }

    /// Where the patient of a seed is kept, whether she is there or not.
    #[must_use]
    pub fn path(&self, seed: u64, settings: &PatientSettings, anatomy: Option<&ImportedAnatomy>) -> PathBuf {
        self.file(&key(seed, settings, anatomy))
    }

    fn file(&self, key: &Digest) -> PathBuf {
        self.folder.join(format!("{key}.patient"))
    }

    fn fetch(&self, key: &Digest, grow: impl FnOnce() -> Result<Patient, GrowError>) -> Result<Fetched, GrowError> {
        let path = self.file(key);
        let mut trouble = match read(&path, key) {
            Ok(Some(patient)) => return Ok(Fetched { patient, cached: true, trouble: None }),
            Ok(None) => None,
            Err(trouble) => Some(trouble),
        };
        let patient = grow()?;
        if let Err(why) = self.keep(&path, key, &patient) {
            trouble = Some(CacheTrouble::NotKept { path, why });
        }
        Ok(Fetched { patient, cached: false, trouble })
    }

    fn keep(&self, path: &Path, key: &Digest, patient: &Patient) -> io::Result<()> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let file = pack(&record::write(patient), key)?;
        let size = file.len() as u64;
        if size > self.bytes_max {
            let what = format!("{size} bytes are more than the folder's {}", self.bytes_max);
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        fs::create_dir_all(&self.folder)?;
        self.make_room(size)?;
        // No two writers share a name: processes differ by their number, threads by the count.
        let nth = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_extension(format!("{}-{nth}.part", std::process::id()));
        let written = fs::write(&beside, file).and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            // Nothing depends on this one; what it leaves goes with the oldest.
            let _ = fs::remove_file(&beside);
        }
        written
    }

    /// Deletes the files written first until so many bytes more fit.
    fn make_room(&self, wanted: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let ours = entry.path().extension().is_some_and(|e| e == "patient" || e == "part");
            // A file that another process just took away is no longer there to count.
            if let Some(about) = entry.metadata().ok().filter(|about| ours && about.is_file()) {
                files.push((about.modified()?, entry.path(), about.len()));
            }
        }
        files.sort();
        let mut held: u64 = files.iter().map(|(_, _, size)| size).sum();
        for (_, path, size) in files {
            if held + wanted <= self.bytes_max {
                break;
            }
            match fs::remove_file(path) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => held -= size,
            }
        }
        Ok(())
    }
}

impl Patient {
    /// A digest of everything about her: head, truth, vessels, the way in, and what her scans are made of.
    #[must_use]
    pub fn digest(&self) -> Digest {
        record::digest(self)
    }
}

/// What decides a patient. `Debug` writes every field of the settings, and floats so that they read back the
/// same.
fn key(seed: u64, settings: &PatientSettings, anatomy: Option<&ImportedAnatomy>) -> Digest {
    let mut key = Digester::new("bregma patient key");
    key.u64(u64::from(VERSION)).text(GROWN_BY).u64(seed).text(&format!("{settings:?}"));
    if let Some(anatomy) = anatomy {
        key.digest(&anatomy.digest());
    }
    key.finish()
}

fn pack(record: &[u8], key: &Digest) -> io::Result<Vec<u8>> {
    let packed = zstd::bulk::compress(record, LEVEL)?;
    let mut file = Vec::with_capacity(HEADER + packed.len());
    file.extend(MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend(key.0);
    file.extend((packed.len() as u64).to_le_bytes());
    file.extend((record.len() as u64).to_le_bytes());
    file.extend(Digest::of(&packed).0);
    file.extend(packed);
    Ok(file)
}

/// The patient in a file; `None` where there is no file.
fn read(path: &Path, key: &Digest) -> Result<Option<Patient>, CacheTrouble> {
    let file = match fs::read(path) {
        Ok(file) => file,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(CacheTrouble::Unreadable { path: path.to_owned(), why }),
    };
    unpack(&file, key).map(Some).map_err(|what| CacheTrouble::Refused { path: path.to_owned(), what })
}

fn unpack(file: &[u8], key: &Digest) -> Result<Patient, String> {
    let Some((header, packed)) = file.split_at_checked(HEADER) else {
        return Err(format!("{} bytes, a header has {HEADER}", file.len()));
    };
    let mut header = bytes::Reader::new(header);
    let damaged = |d: Damaged| d.to_string();
    if header.array().map_err(damaged)? != *MAGIC {
        return Err("no patient's file by its first bytes".to_owned());
    }
    let version = u32::from_le_bytes(header.array().map_err(damaged)?);
    if version != VERSION {
        return Err(format!("its version is {version}, {VERSION} is needed"));
    }
    if header.array().map_err(damaged)? != key.0 {
        return Err("it is another patient's".to_owned());
    }
    let (length, unpacked) = (header.u64().map_err(damaged)?, header.u64().map_err(damaged)?);
    if length != packed.len() as u64 || unpacked > RECORD_MAX {
        return Err(format!("{} bytes are packed, its header says {length} for {unpacked}", packed.len()));
    }
    if Digest::of(packed).0 != header.array().map_err(damaged)? {
        return Err("its bytes are not those that were written".to_owned());
    }
    let record = zstd::bulk::decompress(packed, unpacked as usize).map_err(|why| format!("zstd: {why}"))?;
    record::read(&record).map_err(damaged)
}
