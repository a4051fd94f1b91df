//! `bregma register`: registrations and calibrations from files, with what they are worth.

mod calibrations;
mod check;
mod guided;
mod kept;
mod landmarks;
mod scans;
mod surface;
mod tables;
mod tracker;

use super::{Goal, say};
use anyhow::Context;
use bregma_ingest::registration::markups;
use clap::Subcommand;
use nalgebra::Point3;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub use calibrations::{HandEyeArgs, LagArgs, PivotArgs};
pub use check::CheckArgs;
pub use guided::GuidedArgs;
pub use landmarks::LandmarksArgs;
pub use scans::{ScansArgs, ScansTableArgs};
pub use surface::SurfaceArgs;
pub use tables::{ShiftTableArgs, TableArgs};

/// `register`.
#[derive(Debug, Subcommand)]
pub enum RegisterCommand {
    /// The patient, by fiducials that were touched and the same in the scan; points are paired by their labels.
    #[command(after_help = "\
Example:
  bregma register landmarks --scan scan.mrk.json --touched touched.fcsv --fle 0.7 \\
    --targets tumour.mrk.json --tre-max 2 --out out/registration.toml
Goal: at most --tre-max of predicted error at each target. FRE says nothing about it.
Writes patient_from_reference: as [source.registration] of a configuration (.toml), or for 3D Slicer (.tfm, .h5).")]
    Landmarks(LandmarksArgs),
    /// The same in the terminal: each landmark in turn is touched with a tracked pointer.
    #[command(after_help = "\
Example:
  bregma register guided --scan scan.mrk.json --tracker 127.0.0.1:18944 --targets tumour.mrk.json \\
    --touched out/touched.fcsv --out out/registration.toml
Of each landmark of --scan: touch it, press Enter, hold still for a second. FRE and TRE are said from the third on; one that
disagrees with the others may be touched again. --touched keeps the touches as they come, for `register landmarks`.
Goal: at most --tre-max of predicted error at each target.")]
    Guided(GuidedArgs),
    /// The patient, by points that a pointer traced on the skin, and the skin in a T1-weighted scan.
    #[command(after_help = "\
Example:
  bregma register surface --scan t1.nii.gz --traced traced.csv --start out/rough.tfm --targets tumour.mrk.json \\
    --out out/registration.toml
The start, from some landmarks, must be within 10 mm and 10° of the truth. Trace nose, brow and both sides: what could turn or
slide is refused. The scan is NIfTI or a folder of DICOM, as it came from the scanner: with its skull, and with its face.
Goal: at most --tre-max of predicted error at each target.
Not told: a mirrored scan of a face that is its own mirror image; check with a landmark that is on one side only.")]
    Surface(SurfaceArgs),
    /// Whether a registration still holds: known landmarks touched again. Before arming, and whenever in doubt.
    #[command(after_help = "\
Example:
  bregma register check --registration out/registration.toml --scan scan.mrk.json --tracker 127.0.0.1:18944 --limit 2
  bregma register check --registration run.toml --scan scan.mrk.json --touched again.fcsv
  bregma register check --registration out/registration.toml --scan scan.mrk.json --tracker 127.0.0.1:18944 --keep
  bregma register check --registration out/registration.tfm --tre 0.8 --scan scan.mrk.json --touched again.fcsv
Goal: each landmark that was touched within --limit. Beside it stand what registration and touch
predict, and what explains the errors: chance, one motion of all (register anew), one bad touch
(touch it again). With --keep a `bregma run` that reads the file takes it up, or drops it.")]
    Check(CheckArgs),
    /// Where an instrument's tip is on its tracked array, by turning it about the resting tip.
    #[command(after_help = "\
Example:
  bregma register pivot --poses swung.csv
The file has the columns x_mm, y_mm, z_mm, qx, qy, qz, qw of reference_from_array, and status: lines that do not say
`valid` do not count.")]
    Pivot(PivotArgs),
    /// How a camera sits on an arm's flange, by poses of the arm and of a target that the camera saw.
    #[command(after_help = "\
Example:
  bregma register hand-eye --poses looked.csv --out out/flange_from_camera.tfm
The file has the columns arm.x_mm … arm.qw of base_from_flange, camera.x_mm … camera.qw of camera_from_target, and
status: lines that do not say `valid` do not count.")]
    HandEye(HandEyeArgs),
    /// How late pictures are against tracked poses, by one motion that both have seen.
    #[command(after_help = "\
Example:
  bregma register lag --tracked tip.csv --pictured tip-in-video.csv
Move the instrument's tip before the camera for ten seconds, as irregularly as you can. The first file has the columns
time_s, x_mm, y_mm, z_mm and status (lines that do not say `valid` do not count), the second time_s, u_px, v_px.")]
    Lag(LagArgs),
    /// An intraoperative scan against the preoperative one: how the patient lies, and what tissue has moved.
    #[command(after_help = "\
Example:
  bregma register scans pre.nii.gz intra.nii.gz --targets tumour.mrk.json --out out/registration
Writes rigid.tfm, which shows the preoperative scan where bone puts it, and displacement.nii.gz, which also follows what
tissue has moved; 3D Slicer, ITK and SimpleITK read both. Folders with a DICOM series do as well as files. Goal: at most
--tre-max of stated error at each target. A mirrored scan and another patient's are refused.")]
    Scans(ScansArgs),
    /// What registration of two scans is worth, simulated: a page of docs/.
    #[command(after_help = "\
Example:
  bregma register scans-table --cases 50 --out docs/scans.md          about an hour on two cores
An interrupted run goes on where it was: lines of cases are kept in --kept.")]
    ScansTable(ScansTableArgs),
    /// What following the brain's shift is worth, simulated: a page of docs/.
    #[command(after_help = "\
Example:
  bregma register shift-table --cases 50 --first-seed 1000000 --out docs/brain-shift.md")]
    ShiftTable(ShiftTableArgs),
    /// What predicted errors are worth, simulated: a page of docs/.
    #[command(after_help = "\
Example:
  bregma register table --out docs/registration.md          some seconds on two cores")]
    Table(TableArgs),
}

/// Runs it.
///
/// # Errors
/// Bad input.
pub fn run(command: &RegisterCommand) -> anyhow::Result<Goal> {
    match command {
        RegisterCommand::Landmarks(args) => landmarks::by_landmarks(args),
        RegisterCommand::Guided(args) => guided::by_guide(args),
        RegisterCommand::Surface(args) => surface::by_surface(args),
        RegisterCommand::Check(args) => check::by_touch(args),
        RegisterCommand::Pivot(args) => calibrations::by_pivot(args),
        RegisterCommand::HandEye(args) => calibrations::by_hand_eye(args),
        RegisterCommand::Lag(args) => calibrations::by_lag(args),
        RegisterCommand::Scans(args) => scans::register(args),
        RegisterCommand::ScansTable(args) => scans::table(args),
        RegisterCommand::ShiftTable(args) => tables::shift_table(args),
        RegisterCommand::Table(args) => tables::table(args),
    }
}

fn points(option: &str, path: &Path) -> anyhow::Result<Vec<markups::Markup>> {
    markups::read(path).with_context(|| format!("{option} {}", path.display()))
}

fn coordinates(at: &Point3<f64>) -> String {
    format!("{:.3} {:.3} {:.3}", at.x, at.y, at.z)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", path.display()))?;
    }
    // Whole or not at all: a running `bregma run` may be reading it.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o644)).tempfile_in(folder).and_then(
        |mut file| {
            file.write_all(bytes)?;
            file.persist(path)?;
            Ok(())
        },
    );
    written.with_context(|| format!("cannot write {}", path.display()))?;
    say(format!("written    {}", path.display()));
    Ok(())
}
