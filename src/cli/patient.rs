//! `bregma patient show`: a patient's scans and anatomy as files, with a configuration to run on them, and
//! what there is to look at. `bregma patient gallery`: many patients in one picture.

use super::{GalleryArgs, Goal, ShowArgs, TableArgs, WorldName, say};
use crate::anatomy_file;
use crate::config::{Config, PatientSource, Source};
use crate::display;
use crate::portrait::{Portrait, sheet, table};
use crate::session::{Simulated, Theatre};
use anyhow::{Context, bail, ensure};
use bregma_patient::{Patient, PatientSettings, WorldKind};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Runs it.
///
/// # Errors
/// When no patient grows, or a file cannot be written.
pub fn show(args: &ShowArgs) -> anyhow::Result<Goal> {
    let (seed, out) = (args.seed, args.out.as_path());
    let source = source(args.world)?;
    let head = args.anatomy.as_deref().map(super::anatomy).transpose()?;
    let simulated = Simulated::new(&source, head.as_ref(), seed)?;
    let patient = &simulated.patient;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let [t1c, flair] = patient.write_preoperative(out)?;
    let labels = patient.write_labels(out)?;
    let anatomy = patient.anatomy();
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    anatomy_file::write(&out.join("anatomy.toml"), &anatomy, &name(&labels))?;

    let theatre = simulated.theatre();
    let text = theatre_text(&theatre, &name(&t1c), &name(&flair))?;
    let path = out.join("run.toml");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Config::read(&path)?;
    say(format!("T1c     {}", t1c.display()));
    say(format!("FLAIR   {}", flair.display()));
    say(format!("labels  {}", labels.display()));
    say(format!("anatomy {}", out.join("anatomy.toml").display()));

    let portrait = Portrait::new(&source, head.as_ref(), seed)?;
    let sheet = out.join("sheet.png");
    sheet::contact_sheet(&portrait).save(&sheet).with_context(|| format!("cannot write {}", sheet.display()))?;
    let rrd = out.join("patient.rrd");
    display::portrait::write(&portrait, &rrd).with_context(|| format!("cannot write {}", rrd.display()))?;
    say(format!("sheet   {}", sheet.display()));
    say(format!("views   {0}   rerun {0}", rrd.display()));
    say(format!("\ntry it: bregma run {} --seconds 20", path.display()));
    Ok(Goal::Held)
}

/// Draws many patients: the first half at home, the second abroad.
///
/// # Errors
/// When a patient does not grow, or the picture cannot be written.
pub fn gallery(args: &GalleryArgs) -> anyhow::Result<Goal> {
    ensure!((2..=64).contains(&args.patients), "--patients is {}; it must lie in 2 to 64", args.patients);
    let bar = ProgressBar::new(args.patients).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} patients, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let home = args.patients - args.patients / 2;
    let mut thumbnails = Vec::new();
    for (world, count) in [(WorldName::Home, home), (WorldName::Foreign, args.patients / 2)] {
        let source = PatientSource { core_ml: [2.0, 20.0], ..source(world)? };
        for seed in args.first_seed..args.first_seed + count {
            thumbnails.push(sheet::thumbnail(&Portrait::new(&source, None, seed)?));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let out = &args.out;
    sheet::gallery(&thumbnails).save(out).with_context(|| format!("cannot write {}", out.display()))?;
    say(format!("gallery {}", out.display()));
    Ok(Goal::Held)
}

/// Measures many patients on all cores.
///
/// # Errors
/// When the table cannot be written.
pub fn table(args: &TableArgs) -> anyhow::Result<Goal> {
    ensure!((2..=100_000).contains(&args.patients), "--patients is {}; it must lie in 2 to 100000", args.patients);
    let bar = ProgressBar::new(2 * args.patients).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len} patients, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let measure = |kind: WorldKind| -> Vec<Option<table::Row>> {
        let next = AtomicU64::new(0);
        let rows = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= args.patients {
                            return;
                        }
                        let settings = PatientSettings { core_ml: [2.0, 60.0], ..PatientSettings::of(kind) };
                        let patient = Patient::grow(args.first_seed + index, &settings).ok();
                        let row = patient.map(|p| table::Row::of(&p, kind));
                        rows.lock().unwrap_or_else(PoisonError::into_inner).push((index, row));
                        bar.inc(1);
                    }
                });
            }
        });
        let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        // By seed, so that the table does not depend on which core was faster.
        rows.sort_by_key(|(index, _)| *index);
        rows.into_iter().map(|(_, row)| row).collect()
    };
    let [home, foreign] = [WorldKind::Home, WorldKind::Foreign].map(measure);
    bar.finish_and_clear();
    let unplaced = home.iter().chain(&foreign).filter(|row| row.is_none()).count();
    let [home, foreign] = [home, foreign].map(|rows| rows.into_iter().flatten().collect::<Vec<_>>());
    let command = format!("bregma patient table --patients {} --first-seed {}", args.patients, args.first_seed);
    let text = table::markdown(&home, &foreign, &command, unplaced);
    std::fs::write(&args.out, text).with_context(|| format!("cannot write {}", args.out.display()))?;
    say(format!("table   {}", args.out.display()));
    Ok(Goal::Held)
}

/// The demo's patient, in one of the worlds.
fn source(world: WorldName) -> anyhow::Result<PatientSource> {
    let config = Config::demo()?;
    let Source::DigitalPatient(source) = &config.source else { bail!("the demo has a digital patient") };
    Ok(PatientSource { world: world.into(), ..*source })
}

/// `config/theatre.toml` with this patient's files, camera and registration.
fn theatre_text(theatre: &Theatre, t1c: &str, flair: &str) -> anyhow::Result<String> {
    let mut table: toml::Table = include_str!("../../config/theatre.toml").parse().context("in config/theatre.toml")?;
    let source = table["source"].as_table_mut().context("config/theatre.toml has a [source]")?;
    let list = |values: &[f64]| toml::Value::Array(values.iter().map(|v| toml::Value::Float(*v)).collect());
    let mut set = |section: &str, key: &str, value: toml::Value| {
        if let Some(table) = source.get_mut(section).and_then(toml::Value::as_table_mut) {
            table.insert(key.to_owned(), value);
        }
    };
    let c = &theatre.camera;
    set("video", "focal_px", list(&c.focal_px));
    set("video", "centre_px", list(&c.centre_px));
    set("video", "position_mm", list(&c.patient_from_camera.translation_mm()));
    set("video", "quaternion_xyzw", list(&c.patient_from_camera.quaternion_xyzw()));
    set("video", "error_mm", toml::Value::Float(c.error.get()));
    if let Some(r) = &theatre.registration {
        set("registration", "translation_mm", list(&r.patient_from_reference.translation_mm()));
        set("registration", "quaternion_xyzw", list(&r.patient_from_reference.quaternion_xyzw()));
        set("registration", "fre_mm", toml::Value::Float(r.fre.get()));
        set("registration", "predicted_tre_mm", toml::Value::Float(r.predicted_tre.get()));
    }
    set("mri", "t1c", toml::Value::String(t1c.to_owned()));
    set("mri", "flair", toml::Value::String(flair.to_owned()));
    toml::to_string(&table).context("the configuration cannot be put into TOML")
}
