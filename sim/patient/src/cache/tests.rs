//! What is kept is what was grown; what is not sound is grown again.

use super::*;
use crate::patient::tests::grown;
use bregma_core::flow::Modality;
use proptest::prelude::*;
use std::sync::OnceLock;

/// Seed 2, packed once.
fn packed() -> &'static (Digest, Vec<u8>) {
    static PACKED: OnceLock<(Digest, Vec<u8>)> = OnceLock::new();
    PACKED.get_or_init(|| {
        let key = key(2, &PatientSettings::default(), None);
        (key, pack(&record::write(&grown()), &key).expect("packs"))
    })
}

/// A folder that holds seed 2 under her name.
fn folder() -> (tempfile::TempDir, PatientCache, PathBuf) {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = PatientCache::new(dir.path().join("patients"), CACHE_BYTES);
    fs::create_dir(cache.folder()).expect("made");
    let path = cache.path(2, &PatientSettings::default(), None);
    fs::write(&path, &packed().1).expect("written");
    (dir, cache, path)
}

fn bits(volume: &bregma_core::flow::Volume) -> Vec<u32> {
    volume.intensities.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn a_kept_patient_is_the_grown_one_in_every_field() {
    let (_dir, cache, _) = folder();
    let never = || panic!("she is in the folder");
    let fetched = cache.fetch(&packed().0, never).expect("read");
    assert!(fetched.cached && fetched.trouble.is_none());
    let (read, grown) = (&fetched.patient, &*grown());
    assert_eq!(read.digest(), grown.digest());
    assert_eq!(read.anatomy(), grown.anatomy());
    for modality in [Modality::T1c, Modality::Flair] {
        assert_eq!(bits(&read.scan(modality)), bits(&grown.scan(modality)));
    }
    assert!(packed().1.len() < 12_000_000, "{} bytes", packed().1.len());
}

#[test]
fn digests_see_every_field() {
    let (_, file) = packed();
    let again = || unpack(file, &packed().0).expect("sound");
    let before = again().digest();
    let changed = |change: fn(&mut Patient)| {
        let mut patient = again();
        change(&mut patient);
        patient.digest() != before
    };
    assert!(!changed(|_| {}));
    assert!(changed(|p| p.head.depth[77] += 0.5));
    assert!(changed(|p| p.truth.thin_vessel_mm[9] = 1.0));
    assert!(changed(|p| p.branches[5].parent = None));
    assert!(changed(|p| p.scanner.thick_share += 0.01));
    assert!(changed(|p| p.murray_exponent = None));
    assert!(changed(|p| p.corridor.open_mm += 1e-9));
}

#[test]
fn keys_tell_seeds_settings_and_anatomies_apart() {
    let usual = PatientSettings::default();
    let mut other = usual.clone();
    other.tumour.displaced_share[1] += f64::EPSILON;
    assert_ne!(key(2, &usual, None), key(3, &usual, None));
    assert_ne!(key(2, &usual, None), key(2, &other, None));
    assert_eq!(GROWN_BY.len(), 16);
}

#[test]
fn what_is_not_sound_is_grown_again_and_replaced() {
    let (_dir, cache, path) = folder();
    let (key, whole) = packed();
    let damaged = |change: fn(&mut Vec<u8>)| {
        let mut file = whole.clone();
        change(&mut file);
        file
    };
    let cases = [
        ("cut short", damaged(|f| f.truncate(f.len() / 2))),
        ("empty", Vec::new()),
        ("another's", damaged(|f| f[20] ^= 1)),
        ("of another version", damaged(|f| f[8] = 9)),
        ("a flipped bit", damaged(|f| f[HEADER + 1000] ^= 4)),
        ("longer", damaged(|f| f.push(0))),
        ("a huge length", damaged(|f| f[52..60].copy_from_slice(&u64::MAX.to_le_bytes()))),
        (
            "something else",
            b"not a patient at all, but a file of some length that a person may have put here; and more of that"
                .to_vec(),
        ),
    ];
    for (name, file) in cases {
        fs::write(&path, file).expect("written");
        let regrown = || unpack(whole, key).map_err(|_| unreachable!("it is whole"));
        let fetched = cache.fetch(key, regrown).expect("grown");
        assert!(!fetched.cached && matches!(fetched.trouble, Some(CacheTrouble::Refused { .. })), "{name}");
        assert!(fs::read(&path).expect("there") == *whole, "{name}: replaced");
    }
}

#[test]
fn a_folder_that_takes_nothing_is_no_failure() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    fs::write(&file, b"").expect("written");
    let (key, whole) = packed();
    let grow = || unpack(whole, key).map_err(|_| unreachable!("it is whole"));
    // A file where the folder should be: what a full or read-only disk gives differs only in its words.
    let fetched = PatientCache::new(file.join("patients"), CACHE_BYTES).fetch(key, grow).expect("grown");
    assert!(!fetched.cached && matches!(fetched.trouble, Some(CacheTrouble::NotKept { .. })));
    let fetched = PatientCache::new(dir.path().join("small"), 1000).fetch(key, grow).expect("grown");
    assert!(matches!(fetched.trouble, Some(CacheTrouble::NotKept { .. })), "larger than the whole folder");
}

#[test]
fn the_oldest_go_when_the_folder_is_full() {
    let dir = tempfile::tempdir().expect("a folder");
    let cache = PatientCache::new(dir.path().to_owned(), 2500);
    let put = |name: &str, seconds: u64| {
        let file = fs::File::create(dir.path().join(name)).expect("made");
        file.set_len(1000).expect("sized");
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).expect("dated");
    };
    put("a.patient", 30);
    put("b.patient", 10);
    put("left.1-0.part", 20);
    put("notes.txt", 1);
    cache.make_room(1000).expect("room");
    let held = |name: &str| dir.path().join(name).exists();
    assert!(held("a.patient") && !held("b.patient") && !held("left.1-0.part") && held("notes.txt"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0.0..1.0f64) {
        prop_assert!(record::read(&bytes).is_err());
        prop_assert!(unpack(&bytes, &Digest::default()).is_err());
        let whole = &packed().1;
        prop_assert!(unpack(&whole[..(whole.len() as f64 * cut) as usize], &packed().0).is_err());
    }
}
