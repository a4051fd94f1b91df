//! `bregma register pivot`, `hand-eye` and `lag`: calibrations from files of poses.

use super::super::{Goal, say};
use super::{coordinates, write};
use anyhow::{Context, ensure};
use bregma_ingest::registration::{poses, transform};
use bregma_perception::register::{hand_eye, lag, pivot};
use nalgebra::{Isometry3, Point3};
use std::path::{Path, PathBuf};

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
    /// Where flange_from_camera is written: .tfm or .h5.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
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

pub(super) fn by_pivot(args: &PivotArgs) -> anyhow::Result<Goal> {
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

pub(super) fn by_hand_eye(args: &HandEyeArgs) -> anyhow::Result<Goal> {
    if let Some(out) = &args.out {
        ensure!(transform::named(out), "--out is {}; .tfm or .h5 is right", out.display());
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
        write(out, &transform::to_bytes(out, &found.flange_from_camera)?)?;
    }
    Ok(Goal::Held)
}

pub(super) fn by_lag(args: &LagArgs) -> anyhow::Result<Goal> {
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
