//! `bregma register`: registrations and calibrations from files, with what they are worth.

use super::{Goal, say};
use crate::registration::{self, Extent};
use crate::{scan_table, shifts};
use anyhow::{Context, ensure};
use bregma_core::flow::Modality;
use bregma_ingest::registration::{markups, poses, transform};
use bregma_perception::register::{hand_eye, lag, landmarks, pivot, scans};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use landmarks::{Fiducial, Landmarks};
use nalgebra::{Isometry3, Point3};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `register`.
#[derive(Debug, Subcommand)]
pub enum RegisterCommand {
    /// The patient, by fiducials that were touched and the same in the scan; points are paired by their labels.
    #[command(after_help = "\
Example:
  bregma register landmarks --scan scan.mrk.json --touched touched.fcsv --fle 0.7 \\
    --targets tumour.mrk.json --tre-max 2 --out out/registration.toml
Goal: at most --tre-max of predicted error at each target. FRE says nothing about it.
Writes patient_from_reference: as [source.registration] of a configuration (.toml), or for 3D Slicer (.tfm).")]
    Landmarks(LandmarksArgs),
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
    /// One scan onto another of the same patient: a newer one, with a cavity perhaps, and what has moved around it.
    #[command(after_help = "\
Example:
  bregma register scans --fixed intraoperative.nii.gz --moving preoperative.nii.gz \
    --out out/rigid.tfm --field out/moved.nii.gz        under a minute on two cores
Scans are NIfTI files or folders of a DICOM series. The rigid part is written for 3D Slicer (.tfm: put it on the moving
scan), the whole as a displacement field (.nii.gz; 5 mm grid, LPS vectors) that ITK's programs resample the moving scan by.
Mirrored scans and scans of two patients are refused.")]
    Scans(ScansArgs),
    /// What laying a newer scan onto an older one is worth, simulated: a page of docs/.
    #[command(after_help = "\
Example:
  bregma register scans-table --cases 50 --first-seed 1000000 --out docs/scans.md      about an hour on two cores")]
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

/// Options of `register lag`.
#[derive(Debug, clap::Args)]
pub struct LagArgs {
    /// Tracked positions.
    #[arg(long, value_name = "FILE")]
    pub tracked: PathBuf,
    /// The same in pictures.
    #[arg(long, value_name = "FILE")]
    pub pictured: PathBuf,
    /// The least lag that is searched, ms.
    #[arg(long, value_name = "MS", default_value_t = lag::USUAL.from_s * 1e3, allow_negative_numbers = true)]
    pub from_ms: f64,
    /// The most.
    #[arg(long, value_name = "MS", default_value_t = lag::USUAL.to_s * 1e3)]
    pub to_ms: f64,
}

/// Options of `register scans`.
#[derive(Debug, clap::Args)]
pub struct ScansArgs {
    /// The newer scan.
    #[arg(long, value_name = "PATH")]
    pub fixed: PathBuf,
    /// The older one, which is laid onto it.
    #[arg(long, value_name = "PATH")]
    pub moving: PathBuf,
    /// The two are of different contrasts, T1c and FLAIR, say.
    #[arg(long)]
    pub other_contrast: bool,
    /// As a rigid body only.
    #[arg(long)]
    pub rigid: bool,
    /// Where the rigid part is written: .tfm.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Where the whole displacement is written: .nii.gz.
    #[arg(long, value_name = "FILE", conflicts_with = "rigid")]
    pub field: Option<PathBuf>,
}

/// Options of `register scans-table`.
#[derive(Debug, clap::Args)]
pub struct ScansTableArgs {
    /// Cases in each world.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub cases: usize,
    /// Seed of the first.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub first_seed: u64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `register shift-table`.
#[derive(Debug, clap::Args)]
pub struct ShiftTableArgs {
    /// Cases in each world.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub cases: usize,
    /// Seed of the first.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub first_seed: u64,
    /// How long each is watched, s.
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub seconds: f64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `register table`.
#[derive(Debug, clap::Args)]
pub struct TableArgs {
    /// Set-ups of each row.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub setups: usize,
    /// Draws of noise of each set-up.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub draws: usize,
    /// Seed of the first set-up.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub first_seed: u64,
    /// Where the page is written.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Options of `register landmarks`.
#[derive(Debug, clap::Args)]
pub struct LandmarksArgs {
    /// Fiducials in the scan: .mrk.json or .fcsv.
    #[arg(long, value_name = "FILE")]
    pub scan: PathBuf,
    /// The same as touched, in the reference array's coordinates.
    #[arg(long, value_name = "FILE")]
    pub touched: PathBuf,
    /// Fiducial localisation error of scan and touch together, root mean square length, mm.
    #[arg(long, value_name = "MM", default_value_t = 1.0)]
    pub fle: f64,
    /// Points in the scan at which the error counts: .mrk.json or .fcsv.
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// Predicted error at each target, root mean square, at most, mm.
    #[arg(long, value_name = "MM", default_value_t = 2.0)]
    pub tre_max: f64,
    /// How long the registration is valid, hours.
    #[arg(long, value_name = "H", default_value_t = 6.0)]
    pub expires_h: f64,
    /// Where it is written: .toml or .tfm.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Options of `register pivot`.
#[derive(Debug, clap::Args)]
pub struct PivotArgs {
    /// Poses of the array.
    #[arg(long, value_name = "FILE")]
    pub poses: PathBuf,
    /// Root mean square movement of the tip, at most, mm.
    #[arg(long, value_name = "MM", default_value_t = 1.0)]
    pub rms_max: f64,
}

/// Options of `register hand-eye`.
#[derive(Debug, clap::Args)]
pub struct HandEyeArgs {
    /// Poses of arm and target.
    #[arg(long, value_name = "FILE")]
    pub poses: PathBuf,
    /// Standard deviation of the arm's position, mm.
    #[arg(long, value_name = "MM", default_value_t = 0.15)]
    pub arm_mm: f64,
    /// Standard deviation of the arm's turns, degrees.
    #[arg(long, value_name = "DEG", default_value_t = 0.05)]
    pub arm_deg: f64,
    /// Standard deviation of the target's position in the camera, mm.
    #[arg(long, value_name = "MM", default_value_t = 0.3)]
    pub camera_mm: f64,
    /// Standard deviation of the target's turns in the camera, degrees.
    #[arg(long, value_name = "DEG", default_value_t = 0.15)]
    pub camera_deg: f64,
    /// Where flange_from_camera is written: .tfm.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// Bad input.
pub fn run(command: &RegisterCommand) -> anyhow::Result<Goal> {
    match command {
        RegisterCommand::Landmarks(args) => by_landmarks(args),
        RegisterCommand::Pivot(args) => by_pivot(args),
        RegisterCommand::HandEye(args) => by_hand_eye(args),
        RegisterCommand::Lag(args) => by_lag(args),
        RegisterCommand::Scans(args) => by_scans(args),
        RegisterCommand::ScansTable(args) => scans_table(args),
        RegisterCommand::ShiftTable(args) => shift_table(args),
        RegisterCommand::Table(args) => table(args),
    }
}

fn by_landmarks(args: &LandmarksArgs) -> anyhow::Result<Goal> {
    let above_0 = |name: &str, value: f64| {
        ensure!(value > 0.0 && value.is_finite(), "--{name} is {value}; a number above 0 is needed");
        Ok(())
    };
    above_0("fle", args.fle)?;
    above_0("tre-max", args.tre_max)?;
    ensure!((0.01..=48.0).contains(&args.expires_h), "--expires-h is {}; 0.01 to 48 is right", args.expires_h);
    let (scan, touched) = (points("--scan", &args.scan)?, points("--touched", &args.touched)?);
    let targets = args.targets.as_deref().map(|path| points("--targets", path)).transpose()?.unwrap_or_default();
    if let Some(out) = &args.out {
        let known = ["toml", "tfm"].iter().any(|end| out.extension().is_some_and(|found| found == *end));
        ensure!(known, "--out is {}; .toml or .tfm is right", out.display());
        let says_too_little = out.extension().is_some_and(|end| end == "toml") && targets.is_empty();
        ensure!(!says_too_little, "a configuration holds the error at a target: name it with --targets");
    }
    let fiducials: Vec<Fiducial> = scan
        .iter()
        .filter_map(|s| {
            let other = touched.iter().find(|t| t.label == s.label)?;
            Some(Fiducial::new(&s.label, s.at, other.at, args.fle))
        })
        .collect();
    let paired = |label: &str| fiducials.iter().any(|f| f.name == label);
    for (points, place) in [(&scan, "in the scan"), (&touched, "touched")] {
        for alone in points.iter().filter(|p| !paired(&p.label)) {
            say(format!("left out   {}: only {place}", alone.label));
        }
    }
    let found = landmarks::register(&fiducials)?;
    print_fiducials(&fiducials, &found, args.fle);
    let mut worst = 0.0_f64;
    for target in &targets {
        let tre = found.error.rms_mm(&target.at);
        worst = worst.max(tre);
        say(format!("TRE        {tre:.2} mm predicted at {}", target.label));
    }
    if targets.is_empty() {
        let least = found.error.rms_mm(&found.error.centre);
        say(format!(
            "TRE        {least:.2} mm predicted amid the fiducials, where it is least; --targets names where it counts"
        ));
    }
    let held = worst <= args.tre_max;
    if !held {
        say(format!("too much   {worst:.2} mm at a target; at most {} mm is asked for", args.tre_max));
    }
    if let Some(out) = args.out.as_deref() {
        let pose = &found.patient_from_reference;
        let text = if out.extension().is_some_and(|end| end == "tfm") {
            transform::to_text(pose)
        } else {
            section(pose, found.fre_mm, worst, args.expires_h)
        };
        write(out, &text)?;
    }
    Ok(if held { Goal::Held } else { Goal::Missed })
}

fn print_fiducials(fiducials: &[Fiducial], found: &Landmarks, fle_mm: f64) {
    for (fiducial, residual) in fiducials.iter().zip(&found.residuals_mm) {
        say(format!("residual   {residual:.2} mm at {}", fiducial.name));
    }
    // Sibson 1979: six of 3 N residuals are taken up by the transform.
    let expected = fle_mm * (1.0 - 2.0 / fiducials.len() as f64).sqrt();
    say(format!("FRE        {:.2} mm; {expected:.2} mm are to be expected of an FLE of {fle_mm} mm", found.fre_mm));
}

/// The section of a configuration.
fn section(pose: &Isometry3<f64>, fre_mm: f64, tre_mm: f64, expires_h: f64) -> String {
    let (at, turn) = (pose.translation.vector, pose.rotation.coords);
    format!(
        "[source.registration]           # takes the reference array's coordinates to the scan's\n\
         translation_mm = [{:?}, {:?}, {:?}]\nquaternion_xyzw = [{:?}, {:?}, {:?}, {:?}]\n\
         fre_mm = {fre_mm:?}\npredicted_tre_mm = {tre_mm:?}\nexpires_h = {expires_h:?}\n",
        at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w
    )
}

fn by_pivot(args: &PivotArgs) -> anyhow::Result<Goal> {
    let most = args.rms_max;
    ensure!(most > 0.0 && most.is_finite(), "--rms-max is {most}; a number above 0 is needed");
    let poses = tracked(&args.poses, &[""])?;
    let found = pivot::calibrate(&poses[0], most)?;
    say(format!("tip        {} mm in the array's coordinates", coordinates(&found.tip)));
    say(format!(
        "deviation  {} mm along each axis",
        coordinates(&Point3::from(found.tip_error.diagonal().map(f64::sqrt)))
    ));
    say(format!("moved      {:.2} mm root mean square over {} poses", found.rms_mm, poses[0].len()));
    Ok(Goal::Held)
}

fn by_hand_eye(args: &HandEyeArgs) -> anyhow::Result<Goal> {
    if let Some(out) = &args.out {
        ensure!(out.extension().is_some_and(|end| end == "tfm"), "--out is {}; .tfm is right", out.display());
    }
    let poses = tracked(&args.poses, &["arm.", "camera."])?;
    let both = poses[0].iter().zip(&poses[1]);
    let seen: Vec<_> =
        both.map(|(arm, camera)| hand_eye::Seen { base_from_flange: *arm, camera_from_target: *camera }).collect();
    let precision = hand_eye::Precision {
        arm_mm: args.arm_mm,
        arm_rad: args.arm_deg.to_radians(),
        camera_mm: args.camera_mm,
        camera_rad: args.camera_deg.to_radians(),
    };
    let found = hand_eye::calibrate(&seen, precision)?;
    let turn = found.flange_from_camera.rotation.coords;
    let deviations = found.error.covariance.diagonal().map(f64::sqrt);
    let at = Point3::from(found.flange_from_camera.translation.vector);
    say(format!(
        "camera     {} mm on the flange, quaternion {:.5} {:.5} {:.5} {:.5}",
        coordinates(&at),
        turn.x,
        turn.y,
        turn.z,
        turn.w
    ));
    say(format!(
        "deviation  {} mm and {:.3} {:.3} {:.3} degrees along and about each axis",
        coordinates(&Point3::new(deviations[3], deviations[4], deviations[5])),
        deviations[0].to_degrees(),
        deviations[1].to_degrees(),
        deviations[2].to_degrees()
    ));
    say(format!(
        "residuals  {:.2} mm, {:.2} degrees over {} poses",
        found.rms_mm,
        found.rms_rad.to_degrees(),
        seen.len()
    ));
    if let Some(out) = args.out.as_deref() {
        write(out, &transform::to_text(&found.flange_from_camera))?;
    }
    Ok(Goal::Held)
}

fn by_lag(args: &LagArgs) -> anyhow::Result<Goal> {
    let tracked = poses::motion(&args.tracked).with_context(|| format!("--tracked {}", args.tracked.display()))?;
    let pictured =
        poses::pictured(&args.pictured).with_context(|| format!("--pictured {}", args.pictured.display()))?;
    say_passed(tracked.passed_over);
    let range = lag::Range { from_s: args.from_ms * 1e-3, to_s: args.to_ms * 1e-3 };
    let found = lag::calibrate(&tracked.positions, &pictured, range)?;
    say(format!("lag        {:.1} ms: a picture shows what was tracked that much before", found.lag_s * 1e3));
    say(format!("deviation  {:.2} ms", found.error_s * 1e3));
    say(format!("explained  {:.1} % of the picture's motion, over {} pictures", found.explained * 1e2, found.pictures));
    Ok(Goal::Held)
}

fn by_scans(args: &ScansArgs) -> anyhow::Result<Goal> {
    let ends = |path: &Option<PathBuf>, option: &str, end: &str| {
        let right = path.as_ref().is_none_or(|p| p.to_string_lossy().ends_with(end));
        ensure!(right, "{option} is {}; {end} is right", path.as_deref().unwrap_or(Path::new("")).display());
        Ok(())
    };
    ends(&args.out, "--out", ".tfm")?;
    ends(&args.field, "--field", ".nii.gz")?;
    let read = |option: &str, path: &Path, modality| {
        let scan = bregma_ingest::mri::read(path, modality);
        scan.map(Arc::new).with_context(|| format!("{option} {}", path.display()))
    };
    let fixed = read("--fixed", &args.fixed, Modality::T1c)?;
    let other = if args.other_contrast { Modality::Flair } else { Modality::T1c };
    let moving = read("--moving", &args.moving, other)?;
    let bar = ProgressBar::new(scans::steps(!args.rigid) as u64);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let found = scans::register(&fixed, &moving, !args.rigid, &|| bar.inc(1));
    bar.finish_and_clear();
    let found = found?;
    let rigid = &found.rigid;
    let (turn, shift) = (rigid.fixed_from_moving.rotation.angle().to_degrees(), rigid.error.centre);
    let shift = nalgebra::distance(&(rigid.fixed_from_moving * shift), &shift);
    say(format!("rigid      turned by {turn:.2}°, the head's middle moved by {shift:.2} mm"));
    say(format!(
        "error      {:.2} mm predicted at the head's middle; {:.2} mm are left where cubes are believed",
        rigid.error.rms_mm(&rigid.error.centre),
        rigid.rms_mm
    ));
    say(format!(
        "alike      {:.0} % of the places with something to see; normalised mutual information {:.3}, as the headers had it {:.3}",
        rigid.found * 100.0,
        rigid.nmi_after,
        rigid.nmi_before
    ));
    if let Some(deformable) = &found.deformable {
        let field = &deformable.displacement;
        let most = field.moved.iter().map(|m| m.norm()).fold(0.0, f64::max);
        say(format!(
            "moved      up to {most:.1} mm within the head; {:.1} mL have no counterpart; {:.1} mL of the field fold",
            deformable.changed_ml, deformable.folded_ml
        ));
        if let Some(path) = &args.field {
            let grid = &field.lattice;
            let points = (0..grid.len()).map(|node| grid.centre(grid.voxel(node)));
            let vectors: Vec<_> = points.map(|at| (field.moving(&at) - at).cast::<f32>()).collect();
            let written = bregma_ingest::registration::field::write(path, grid, &vectors);
            written.map_err(|why| anyhow::anyhow!("--field {}: {why}", path.display()))?;
            say(format!("written    {}", path.display()));
        }
    }
    if let Some(out) = &args.out {
        write(out, &transform::to_text(&rigid.fixed_from_moving))?;
    }
    Ok(Goal::Held)
}

fn scans_table(args: &ScansTableArgs) -> anyhow::Result<Goal> {
    let ScansTableArgs { cases, first_seed, .. } = *args;
    ensure!((1..=10_000).contains(&cases), "--cases is {cases}; 1 to 10000 is right");
    let bar = ProgressBar::new(2 * cases as u64);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let command = format!("bregma register scans-table --cases {cases} --first-seed {first_seed}");
    let page = scan_table::markdown(scan_table::Extent { cases, first_seed }, &command, &|| bar.inc(1))?;
    bar.finish_and_clear();
    write(&args.out, &page)?;
    Ok(Goal::Held)
}

fn shift_table(args: &ShiftTableArgs) -> anyhow::Result<Goal> {
    let ShiftTableArgs { cases, first_seed, seconds, .. } = *args;
    ensure!((1..=10_000).contains(&cases), "--cases is {cases}; 1 to 10000 is right");
    ensure!((1.0..=3600.0).contains(&seconds), "--seconds is {seconds}; 1 to 3600 is right");
    let config = crate::config::Config::parse(crate::config::DEMO, Path::new("."))?;
    let bar = ProgressBar::new(2 * cases as u64);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}")?);
    let command = format!("bregma register shift-table --cases {cases} --first-seed {first_seed} --seconds {seconds}");
    let extent = shifts::Extent { cases, first_seed, seconds };
    let page = shifts::markdown(&config, extent, &command, &|| bar.inc(1))?;
    bar.finish_and_clear();
    std::fs::write(&args.out, page).with_context(|| format!("--out {}", args.out.display()))?;
    say(format!("written    {}", args.out.display()));
    Ok(Goal::Held)
}

fn table(args: &TableArgs) -> anyhow::Result<Goal> {
    let TableArgs { setups, draws, first_seed, .. } = *args;
    ensure!((1..=100_000).contains(&setups), "--setups is {setups}; 1 to 100000 is right");
    ensure!((10..=100_000).contains(&draws), "--draws is {draws}; 10 to 100000 is right");
    let extent = Extent { setups, draws, first_seed };
    let bar = ProgressBar::new(registration::pieces(extent) as u64).with_style(
        ProgressStyle::with_template("{elapsed_precise} {bar:32} {pos}/{len}, {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    let command = format!("bregma register table --setups {setups} --draws {draws} --first-seed {first_seed}");
    let page = registration::markdown(extent, &command, &|| bar.inc(1));
    bar.finish_and_clear();
    write(&args.out, &page)?;
    Ok(Goal::Held)
}

fn points(option: &str, path: &Path) -> anyhow::Result<Vec<markups::Markup>> {
    markups::read(path).with_context(|| format!("{option} {}", path.display()))
}

fn tracked(path: &Path, prefixes: &[&str]) -> anyhow::Result<Vec<Vec<Isometry3<f64>>>> {
    let found = poses::read(path, prefixes).with_context(|| format!("--poses {}", path.display()))?;
    say_passed(found.passed_over);
    Ok(found.poses)
}

fn say_passed(count: usize) {
    if count > 0 {
        say(format!("passed     {count} poses over that were not valid"));
    }
}

fn coordinates(at: &Point3<f64>) -> String {
    format!("{:.3} {:.3} {:.3}", at.x, at.y, at.z)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot write {}", path.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    say(format!("written    {}", path.display()));
    Ok(())
}
