//! The two arms, as their data sheets give them.

use super::{JOINTS_MAX, Joints};
use crate::units::{Millimetres, Radians};

/// Which arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArmModelId {
    /// KUKA LBR Med 7 R800: 7 joints, reach 800 mm.
    LbrMed7,
    /// Universal Robots UR5e: 6 joints, reach 850 mm.
    Ur5e,
}

impl ArmModelId {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::LbrMed7, Self::Ur5e];

    /// As written in configurations and recordings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LbrMed7 => "lbr_med_7",
            Self::Ur5e => "ur5e",
        }
    }

    /// From that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.name() == name)
    }
}

/// What one joint may do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JointLimit {
    /// Lowest position.
    pub low: Radians,
    /// Highest position.
    pub high: Radians,
    /// Highest speed, rad/s.
    pub speed_rad_s: f64,
    /// Highest acceleration, rad/s².
    pub acceleration_rad_s2: f64,
    /// Highest jerk, rad/s³.
    pub jerk_rad_s3: f64,
}

/// Time in which a joint may come to its highest acceleration, s.
const JERK_S: f64 = 0.1;

/// Denavit–Hartenberg parameters of one joint, standard convention:
/// `Rz(θ) · Tz(d) · Tx(a) · Rx(α)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dh {
    pub d: Millimetres,
    pub a: Millimetres,
    /// Cosine and sine of α, exact: α is a multiple of 90° in both arms.
    pub alpha: (f64, f64),
}

/// An arm.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmModel {
    /// Which one.
    pub id: ArmModelId,
    pub(super) dh: [Dh; JOINTS_MAX],
    limits: [JointLimit; JOINTS_MAX],
    count: usize,
    link_radius_mm: f64,
    rest: Joints,
}

const fn limit(low_deg: f64, high_deg: f64, speed_deg_s: f64, acceleration_rad_s2: f64) -> JointLimit {
    JointLimit {
        low: Radians::from_degrees(low_deg),
        high: Radians::from_degrees(high_deg),
        speed_rad_s: Radians::from_degrees(speed_deg_s).get(),
        acceleration_rad_s2,
        jerk_rad_s3: acceleration_rad_s2 / JERK_S,
    }
}

const fn dh(d: f64, a: f64, alpha: (f64, f64)) -> Dh {
    Dh { d: Millimetres::constant(d), a: Millimetres::constant(a), alpha }
}

const FLAT: (f64, f64) = (1.0, 0.0);
const UP: (f64, f64) = (0.0, 1.0);
const DOWN: (f64, f64) = (0.0, -1.0);
const NONE: Dh = dh(0.0, 0.0, FLAT);

impl ArmModel {
    /// The arm with that name.
    ///
    /// Sources: *LBR Med 7 R800* specification (link lengths 340, 400, 400, 126 mm; axis ranges; axis
    /// speeds at rated load); Universal Robots, *DH parameters for calculations of kinematics and
    /// dynamics* (UR5e) and its data sheet (±360°, 180 °/s). Neither maker publishes joint accelerations:
    /// 10 rad/s² is ours, far above what a tip that moves 50 mm/s needs; and so is the jerk, that acceleration
    /// within 0.1 s: a seventieth of what Franka Emika states for its arm (7500 rad/s³, *FCI documentation*).
    #[must_use]
    pub fn new(id: ArmModelId) -> Self {
        let ready = |q: &[f64]| {
            let mut joints = Joints::zeros(q.len());
            for (to, degrees) in joints.as_mut_slice().iter_mut().zip(q) {
                *to = Radians::from_degrees(*degrees).get();
            }
            joints
        };
        match id {
            ArmModelId::LbrMed7 => Self {
                id,
                dh: [
                    dh(340.0, 0.0, DOWN),
                    dh(0.0, 0.0, UP),
                    dh(400.0, 0.0, UP),
                    dh(0.0, 0.0, DOWN),
                    dh(400.0, 0.0, DOWN),
                    dh(0.0, 0.0, UP),
                    dh(126.0, 0.0, FLAT),
                ],
                limits: [
                    limit(-170.0, 170.0, 98.0, 10.0),
                    limit(-120.0, 120.0, 98.0, 10.0),
                    limit(-170.0, 170.0, 100.0, 10.0),
                    limit(-120.0, 120.0, 130.0, 10.0),
                    limit(-170.0, 170.0, 140.0, 10.0),
                    limit(-120.0, 120.0, 180.0, 10.0),
                    limit(-175.0, 175.0, 180.0, 10.0),
                ],
                count: 7,
                link_radius_mm: 68.0,
                rest: ready(&[0.0, 25.0, 0.0, -80.0, 0.0, 75.0, 0.0]),
            },
            ArmModelId::Ur5e => Self {
                id,
                dh: [
                    dh(162.5, 0.0, UP),
                    dh(0.0, -425.0, FLAT),
                    dh(0.0, -392.2, FLAT),
                    dh(133.3, 0.0, UP),
                    dh(99.7, 0.0, DOWN),
                    dh(99.6, 0.0, FLAT),
                    NONE,
                ],
                limits: [limit(-360.0, 360.0, 180.0, 10.0); JOINTS_MAX],
                count: 6,
                link_radius_mm: 58.0,
                rest: ready(&[0.0, -90.0, 90.0, -90.0, -90.0, 0.0]),
            },
        }
    }

    /// Number of joints.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// What each joint may do, from the base.
    #[must_use]
    pub fn limits(&self) -> &[JointLimit] {
        &self.limits[..self.count]
    }

    /// Radius of a capsule that holds any link, mm.
    #[must_use]
    pub const fn link_radius_mm(&self) -> f64 {
        self.link_radius_mm
    }

    /// A posture away from singularities and limits, where inverse kinematics can start.
    #[must_use]
    pub const fn rest(&self) -> Joints {
        self.rest
    }

    /// Smallest distance to a position limit, rad; negative outside. Minus infinity when the number of
    /// joints is not this arm's, or one is NaN.
    #[must_use]
    pub fn room(&self, joints: &Joints) -> f64 {
        if joints.count() != self.count || joints.as_slice().iter().any(|q| q.is_nan()) {
            return f64::NEG_INFINITY;
        }
        joints
            .as_slice()
            .iter()
            .zip(self.limits())
            .fold(f64::INFINITY, |room, (q, limit)| room.min(q - limit.low.get()).min(limit.high.get() - q))
    }
}
