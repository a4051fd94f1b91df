//! Registrations as files: `[source.registration]` of a configuration (.toml), with their error, or a transform (.tfm, .h5)
//! without it; and the goal that all of them are held to.
//!
//! **Units and frames:** patient_from_reference, patient LPS, mm.

use super::super::say;
use super::{points, write};
use crate::config;
use anyhow::{Context, ensure};
use bregma_ingest::registration::markups::Markup;
use bregma_ingest::registration::transform;
use bregma_perception::register::RigidError;
use nalgebra::{Isometry3, Point3};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a registration must be good for, and where it goes.
#[derive(Debug, clap::Args)]
pub struct GoalArgs {
    /// Points in the scan at which the error counts: .mrk.json or .fcsv.
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// Predicted error at each target, root mean square, at most, mm.
    #[arg(long, value_name = "MM", default_value_t = 2.0)]
    pub tre_max: f64,
    /// How long the registration is valid, hours.
    #[arg(long, value_name = "H", default_value_t = 6.0)]
    pub expires_h: f64,
    /// Where it is written: .toml, .tfm or .h5.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The same, read and found sound.
#[derive(Debug)]
pub(super) struct Aim<'a> {
    args: &'a GoalArgs,
    targets: Vec<Markup>,
}

impl GoalArgs {
    /// Reads and checks it before anybody touches anything.
    pub(super) fn aim(&self) -> anyhow::Result<Aim<'_>> {
        above_0("tre-max", self.tre_max)?;
        ensure!((0.01..=48.0).contains(&self.expires_h), "--expires-h is {}; 0.01 to 48 is right", self.expires_h);
        let targets = self.targets.as_deref().map(|path| points("--targets", path)).transpose()?.unwrap_or_default();
        if let Some(out) = &self.out {
            let known = is_section(out) || transform::named(out);
            ensure!(known, "--out is {}; .toml, .tfm or .h5 is right", out.display());
            let says_too_little = is_section(out) && targets.is_empty();
            ensure!(!says_too_little, "a configuration holds the error at a target: name it with --targets");
        }
        Ok(Aim { args: self, targets })
    }
}

impl Aim<'_> {
    /// Says the error at each target; the largest, mm.
    pub(super) fn say(&self, error: &RigidError) -> f64 {
        let mut worst = 0.0_f64;
        for target in &self.targets {
            let tre = error.rms_mm(&target.at);
            worst = worst.max(tre);
            say(format!("TRE        {tre:.2} mm predicted at {}", target.label));
        }
        if self.targets.is_empty() {
            let least = error.rms_mm(&error.centre);
            say(format!(
                "TRE        {least:.2} mm predicted amid the points, where it is least; --targets names where it counts"
            ));
        }
        worst
    }

    /// Whether the goal is held; said where it is not.
    pub(super) fn held(&self, worst_mm: f64) -> bool {
        let held = worst_mm <= self.args.tre_max;
        if !held {
            say(format!("too much   {worst_mm:.2} mm at a target; at most {} mm is asked for", self.args.tre_max));
        }
        held
    }

    /// Writes the registration, if it is to be written.
    pub(super) fn keep(
        &self,
        pose: &Isometry3<f64>,
        error: &RigidError,
        fre_mm: f64,
        worst_mm: f64,
    ) -> anyhow::Result<()> {
        let Some(out) = self.args.out.as_deref() else { return Ok(()) };
        let bytes = if is_section(out) {
            section(pose, error, fre_mm, worst_mm, self.args.expires_h).into_bytes()
        } else {
            transform::to_bytes(out, pose)?
        };
        write(out, &bytes)
    }
}

fn is_section(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml"))
}

/// A number that must be above 0.
pub(super) fn above_0(name: &str, value: f64) -> anyhow::Result<()> {
    ensure!(value > 0.0 && value.is_finite(), "--{name} is {value}; a number above 0 is needed");
    Ok(())
}

/// The section of a configuration.
fn section(pose: &Isometry3<f64>, error: &RigidError, fre_mm: f64, tre_mm: f64, expires_h: f64) -> String {
    let (at, turn, centre) = (pose.translation.vector, pose.rotation.coords, error.centre);
    let mut text = format!(
        "[source.registration]           # takes the reference array's coordinates to the scan's\n\
         translation_mm = [{:?}, {:?}, {:?}]\nquaternion_xyzw = [{:?}, {:?}, {:?}, {:?}]\n\
         fre_mm = {fre_mm:?}\npredicted_tre_mm = {tre_mm:?}\nexpires_h = {expires_h:?}\n\n\
         [source.registration.error]     # of turns about the centre, rad, and of shifts, mm, patient LPS\n\
         centre_mm = [{:?}, {:?}, {:?}]\ncovariance_rad_mm = [\n",
        at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w, centre.x, centre.y, centre.z
    );
    for row in error.covariance.row_iter() {
        let row: Vec<String> = row.iter().map(|v| format!("{v:?}")).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  [{}],", row.join(", "));
    }
    text + "]\n"
}

/// How wrong a registration is said to be.
#[derive(Debug, Clone, PartialEq)]
enum Predicted {
    /// As it follows at each point.
    Follows(Box<RigidError>),
    /// One number for all points, root mean square, mm.
    Alike(f64),
}

/// A registration that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// Takes the reference array's coordinates to the scan's.
    pub(super) patient_from_reference: Isometry3<f64>,
    predicted: Predicted,
}

impl Kept {
    /// Predicted error at a point of the scan, root mean square length, mm.
    pub(super) fn tre_mm(&self, at: &Point3<f64>) -> f64 {
        match &self.predicted {
            Predicted::Follows(error) => error.rms_mm(at),
            Predicted::Alike(mm) => *mm,
        }
    }
}

/// Refuses a file that cannot hold a check, before anybody touches anything.
pub(super) fn has_room(path: &Path) -> anyhow::Result<()> {
    ensure!(is_section(path), "--keep: {} has no room for a check; a registration in .toml has", path.display());
    Ok(())
}

/// Writes what touching landmarks again has shown into the file of a registration, in place of what stood there.
pub(super) fn keep_check(path: &Path, check: &config::Check) -> anyhow::Result<()> {
    let named = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(named)?;
    // What was written with care, comments and all, stays as it is.
    let start = text.find("[source.registration.check]").unwrap_or(text.len());
    let after = text[start..].find("\n[").map_or(text.len(), |n| start + n + 1);
    let (before, rest) = (text[..start].trim_end(), text[after..].trim_start());
    let config::Check { landmarks, worst_mm, limit_mm, passed } = check;
    let section = format!(
        "[source.registration.check]     # landmarks touched again\n\
         landmarks = {landmarks}\nworst_mm = {worst_mm:?}\nlimit_mm = {limit_mm:?}\npassed = {passed}\n"
    );
    let whole =
        if rest.is_empty() { format!("{before}\n\n{section}") } else { format!("{before}\n\n{section}\n{rest}") };
    config::registration_of(&whole).with_context(named)?;
    write(path, whole.as_bytes())
}

/// Reads one. `tre_mm`: what is predicted where the file does not say so.
pub(super) fn read(option: &str, path: &Path, tre_mm: Option<f64>) -> anyhow::Result<Kept> {
    let named = || format!("{option} {}", path.display());
    if is_section(path) {
        let text = std::fs::read_to_string(path).with_context(named)?;
        let config::Kept { registration, error, .. } = config::registration_of(&text).with_context(named)?;
        let alike = tre_mm.unwrap_or(registration.predicted_tre.get());
        let predicted = error.map_or(Predicted::Alike(alike), |error| Predicted::Follows(Box::new(error)));
        return Ok(Kept { patient_from_reference: *registration.patient_from_reference.isometry(), predicted });
    }
    ensure!(transform::named(path), "{}: .toml, .tfm or .h5 is right", named());
    let patient_from_reference = transform::read(path).with_context(named)?;
    let mm = tre_mm
        .with_context(|| format!("{}: a transform holds no error; name what is predicted with --tre, mm", named()))?;
    Ok(Kept { patient_from_reference, predicted: Predicted::Alike(mm) })
}
