//! `bregma patient show`: a patient's scans and anatomy as files, with a configuration to run on them.

use super::{Goal, ShowArgs, say};
use crate::anatomy_file;
use crate::config::{Config, PatientSource, Source};
use crate::session::{Simulated, Theatre};
use anyhow::{Context, bail};
use std::path::Path;

/// Runs it.
///
/// # Errors
/// When no patient grows, or a file cannot be written.
pub fn show(args: &ShowArgs) -> anyhow::Result<Goal> {
    let (seed, out) = (args.seed, args.out.as_path());
    let config = Config::demo()?;
    let Source::DigitalPatient(source) = &config.source else { bail!("the demo has a digital patient") };
    let source = PatientSource { world: args.world.into(), ..*source };
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
    say(format!("\ntry it: bregma run {} --seconds 20", path.display()));
    Ok(Goal::Held)
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
    let r = &theatre.registration;
    set("registration", "translation_mm", list(&r.patient_from_reference.translation_mm()));
    set("registration", "quaternion_xyzw", list(&r.patient_from_reference.quaternion_xyzw()));
    set("registration", "fre_mm", toml::Value::Float(r.fre.get()));
    set("registration", "predicted_tre_mm", toml::Value::Float(r.predicted_tre.get()));
    set("mri", "t1c", toml::Value::String(t1c.to_owned()));
    set("mri", "flair", toml::Value::String(flair.to_owned()));
    toml::to_string(&table).context("the configuration cannot be put into TOML")
}
