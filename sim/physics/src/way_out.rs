//! Whether a way leads out of the head from every point of a motion, energy off.
//!
//! Out means straight back along the shaft. The shaft then slides along its own line, which the sweep has measured at every
//! sample; what remains to be asked is whether that line leads outwards, at every sample, and whether the arm can draw the
//! instrument back along it: within its reach and its joints' ranges, its links and the handle clear of each other and of the
//! bone. That is tried at points at most [`APART_MM`] of travel apart, at steps of [`STEP_MM`], and half of either is taken
//! off every clearance: **a way that is found between two points that were tried is no nearer to anything**. The way out of
//! the motion's start is the retract path itself, tried whole; a hold in the middle goes back along the motion first, through
//! places that were measured with the tissue that was there, and more of it is gone by then.
//!
//! **Units:** mm, rad. **Allocation:** none. **Not protected against:** a joint that must turn far between two points that
//! were tried, beyond the half of its turn that is taken off its room.

use crate::limits::LimitValues;
use crate::obstacles::Obstacles;
use crate::posture::{Mounted, Posture};
use crate::sweep::{Sample, Worst, along_skull, own, own_pairs};
use bregma_core::arm::{Ik, Joints};
use bregma_core::flow::JointPath;
use bregma_core::frame::{Patient, Pose, Tip};
use nalgebra::{Isometry3, Point3, Translation3};

/// Longest travel between points from which the way out is tried.
const APART_MM: f64 = 4.0;
/// From one position on a way out to the next.
const STEP_MM: f64 = 2.0;
/// Least cosine between the way out along the shaft and the craniotomy's own direction: 78°.
pub const OUTWARD_LEAST: f64 = 0.2;

/// Where no way leads out: knot, and where the tip was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shut {
    pub knot: usize,
    pub at: Point3<f64>,
}

/// How far back along the shaft a tip is outside; `None` where it never is.
pub(crate) fn length_mm(obstacles: &Obstacles, outside_mm: f64, tip: &Pose<Patient, Tip>) -> Option<f64> {
    let depth = obstacles.depth(&tip.position().coordinates());
    if depth <= -outside_mm {
        return Some(0.0);
    }
    let rise = (-tip.z_axis()).dot(&obstacles.craniotomy.outward);
    (rise >= OUTWARD_LEAST).then(|| (depth + outside_mm) / rise)
}

/// The first point of a motion from which no way leads out.
pub(crate) fn shut(
    mounted: &Mounted,
    obstacles: &Obstacles,
    limits: &LimitValues,
    path: &JointPath,
    samples: &[Sample],
) -> Option<Shut> {
    let pairs = own_pairs(mounted, limits);
    let mut tried: Option<(f64, Joints)> = None;
    for (n, sample) in samples.iter().enumerate() {
        let joints = &path.knots[sample.knot];
        let shut = Some(Shut { knot: sample.knot, at: sample.posture.tip });
        let tip = mounted.tip(joints);
        let Some(length) = length_mm(obstacles, limits.outside_mm, &tip) else { return shut };
        // The next one would be too far from the last that was tried.
        let next = samples.get(n + 1).map_or(sample.travel_mm, |s| s.travel_mm);
        let due = tried.is_none_or(|(travel, _)| next - travel > APART_MM) || n + 1 == samples.len();
        if !due {
            continue;
        }
        let turned = tried.map_or(0.0, |(_, before)| 0.5 * joints.distance(&before));
        tried = Some((sample.travel_mm, *joints));
        if !leads_out(mounted, obstacles, limits, &pairs, (joints, &tip), length, turned) {
            return shut;
        }
    }
    None
}

/// Whether the arm can draw the instrument back.
fn leads_out(
    mounted: &Mounted,
    obstacles: &Obstacles,
    limits: &LimitValues,
    pairs: &[(usize, usize)],
    (joints, tip): (&Joints, &Pose<Patient, Tip>),
    length_mm: f64,
    turned_rad: f64,
) -> bool {
    let (back, rotation) = (-tip.z_axis(), tip.isometry().rotation);
    let steps = (length_mm / STEP_MM).ceil() as usize;
    let base_from_patient = mounted.mount.patient_from_arm_base.inverse();
    let tip_from_flange = mounted.mount.flange_from_tip.inverse();
    let mut joints = *joints;
    let mut before: Option<Posture> = None;
    for n in 0..=steps {
        if n > 0 {
            let at = tip.position().coordinates() + back * (length_mm * n as f64 / steps as f64);
            let iso = Isometry3::from_parts(Translation3::from(at.coords), rotation);
            let Ok(pose) = Pose::<Patient, Tip>::between(tip.to, tip.from, iso) else { return false };
            let target = base_from_patient * pose * tip_from_flange;
            let Ok(found) = mounted.arm.inverse(&target, &joints, &Ik::FOLLOW) else { return false };
            joints = found;
        }
        let posture = mounted.posture(&joints);
        let moved = before.map_or(STEP_MM, |b| posture.moved(&b));
        let slack_mm = 0.5 * (moved + APART_MM);
        let sample = Sample { knot: 0, posture, slack_mm, travel_mm: 0.0, energised: false };
        let mut clear = Worst::new(f64::INFINITY);
        own(mounted, pairs, &sample, &mut clear);
        let mut bone = Worst::new(f64::INFINITY);
        along_skull(mounted, obstacles, &sample, limits, &mut bone);
        let room = mounted.arm.room(&joints) - turned_rad;
        let fits = clear.value >= limits.self_mm && bone.value >= limits.rim_mm && room >= limits.joint_room_rad;
        if !fits || mounted.arm.dexterity_mm(&joints) < limits.dexterity_mm {
            return false;
        }
        before = Some(posture);
    }
    true
}
