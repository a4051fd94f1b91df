//! The last look at an approval before the arm follows it.
//!
//! The hash binds the approval to the scene, the limits and the planner, each by the gate's *own* copy.
//! The look at the path after it is cheap and independent of the validator: number of joints, finite,
//! inside the position limits, no step faster than the joints' speed limits. **Allocation:** none.
//! **Not protected against:** a path that is well formed and still hurts; that is the validator's work.

use crate::scenes::{Known, Scenes};
use crate::settings::{BRAKE_LONGEST, Settings};
use crate::track::brake_time;
use bregma_core::arm::{ArmModel, Joints};
use bregma_core::faults::Reason;
use bregma_core::flow::{ApprovedRecord, GateState, JointPath, Order, Sequence};
use bregma_core::{Duration, Instant};

/// Most knots of a path and of its retract path: 33 s each at 4 ms.
///
/// The bound keeps the work finite; it does not keep the accepting step within the stage's budget. Hashing
/// takes about 0.2 µs a knot, so that some 4500 knots of both paths together use up 1 ms.
pub const KNOTS_MAX: usize = 8192;
/// Time between knots is inside these: below, the gate's step would skip knots; above, straight lines
/// between knots are no longer what was validated.
pub const KNOT_PERIODS: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(50)];
/// Share by which a step may pass the speed limit: rounding of what lies exactly at it.
const SPEED_SLACK: f64 = 1e-6;

/// What the gate refused, and the fact that it refused it for.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Approvals count by one.
    #[error("approval {} came when {} was due; none is taken twice or out of sequence", got.0, due.0)]
    OutOfSequence {
        /// Its number.
        got: Sequence,
        /// The only number that would do.
        due: Sequence,
    },
    /// The gate is not standing ready.
    #[error("approval {} came while the gate was {state:?}; only an armed gate takes one", sequence.0)]
    NotArmed {
        /// Its number.
        sequence: Sequence,
        /// The gate's state.
        state: GateState,
    },
    /// The arm is still coming to a stand.
    #[error("approval {} came before the arm stood still", sequence.0)]
    StillMoving {
        /// Its number.
        sequence: Sequence,
    },
    /// It was withdrawn before it could start.
    #[error("approval {} was withdrawn before it could start", sequence.0)]
    Withdrawn {
        /// Its number.
        sequence: Sequence,
    },
    /// A reason stands against any motion.
    #[error("approval {} came while {reason}", sequence.0)]
    Stands {
        /// Its number.
        sequence: Sequence,
        /// The reason.
        reason: Reason,
    },
    /// Too late.
    #[error("approval {} could be started until {expires}; it is {now}", sequence.0)]
    Expired {
        /// Its number.
        sequence: Sequence,
        /// Until when.
        expires: Instant,
        /// When it came.
        now: Instant,
    },
    /// For another arm.
    #[error("approval {} is for another arm", sequence.0)]
    WrongArm {
        /// Its number.
        sequence: Sequence,
    },
    /// From a planner that is not on the gate's list.
    #[error("approval {} is for a planner that the gate does not know", sequence.0)]
    UnknownModel {
        /// Its number.
        sequence: Sequence,
    },
    /// Of a scene so old that the gate has forgotten it.
    #[error("approval {} rests on scene {}, which is older than all that the gate remembers", sequence.0, scene.0)]
    SceneForgotten {
        /// Its number.
        sequence: Sequence,
        /// The scene.
        scene: Sequence,
    },
    /// Of a scene that the gate never saw.
    #[error("approval {} rests on scene {}, which the gate never saw", sequence.0, scene.0)]
    SceneUnknown {
        /// Its number.
        sequence: Sequence,
        /// The scene.
        scene: Sequence,
    },
    /// The hash over the gate's own copies is another.
    #[error("approval {} has a hash that does not fit the gate's own scene, limits and model", sequence.0)]
    HashDiffers {
        /// Its number.
        sequence: Sequence,
    },
    /// A path that cannot be played.
    #[error("approval {} has a path that cannot be played: {fault}", sequence.0)]
    Malformed {
        /// Its number.
        sequence: Sequence,
        /// What is wrong.
        fault: PathFault,
    },
    /// It starts where the arm is not.
    #[error("approval {} starts {off_rad:.5} rad from where the arm stands; at most {limit_rad:.5} rad", sequence.0)]
    Elsewhere {
        /// Its number.
        sequence: Sequence,
        /// Largest difference of a joint.
        off_rad: f64,
        /// The limit.
        limit_rad: f64,
    },
    /// A person's order that cannot be followed now.
    #[error("the order {order:?} cannot be followed in {state:?}{}", match reason { Some(r) => r.words(), None => "" })]
    Order {
        /// The order.
        order: Order,
        /// The gate's state.
        state: GateState,
        /// What stands against it, when that is all that does.
        reason: Option<Reason>,
    },
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PathFault {
    /// None, or more than can be looked at in one step.
    #[error("{0} knots; from 1 to {KNOTS_MAX}")]
    Knots(usize),
    /// Time between knots.
    #[error("{0} between knots; from {low} to {high}", low = KNOT_PERIODS[0], high = KNOT_PERIODS[1])]
    Period(Duration),
    /// A byte of energy for each knot, with known bits; none on the way out.
    #[error("energy that does not fit its knots")]
    Energy,
    /// A knot has another number of joints, or one that is not finite.
    #[error("knot {0} is not a position of this arm")]
    NotJoints(usize),
    /// A knot outside the arm's position limits.
    #[error("knot {knot} is {beyond_rad:.5} rad beyond a joint's limit")]
    Position {
        /// Which.
        knot: usize,
        /// How far.
        beyond_rad: f64,
    },
    /// A step faster than a joint's speed limit.
    #[error("the step to knot {knot} has {share:.3} of a joint's speed limit")]
    Speed {
        /// Which.
        knot: usize,
        /// Speed over its limit.
        share: f64,
    },
    /// The retract path begins elsewhere.
    #[error("the retract path begins {0:.5} rad from the path's start")]
    Apart(f64),
    /// Too fast to be brought to a stand in time.
    #[error("it needs {0} to brake; at most {BRAKE_LONGEST}")]
    Brake(Duration),
}

impl Refusal {
    /// The reason that a refused approval is for the gate; `None` where it is none, as nothing is
    /// allowed to move anyway.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::OutOfSequence { .. } => Some(Reason::ApprovalReplayed),
            Self::NotArmed { .. } | Self::Order { .. } => None,
            Self::StillMoving { .. } | Self::Elsewhere { .. } => Some(Reason::ApprovalElsewhere),
            Self::Withdrawn { .. } => Some(Reason::ApprovalWithdrawn),
            Self::Stands { reason, .. } => Some(*reason),
            Self::Expired { .. } => Some(Reason::ApprovalExpired),
            Self::SceneForgotten { .. } => Some(Reason::SceneStale),
            Self::WrongArm { .. }
            | Self::UnknownModel { .. }
            | Self::SceneUnknown { .. }
            | Self::HashDiffers { .. }
            | Self::Malformed { .. } => Some(Reason::ApprovalForged),
        }
    }
}

/// Largest difference of any joint; infinite where the numbers of joints differ or one is not finite.
pub(crate) fn apart(a: &Joints, b: &Joints) -> f64 {
    let finite = |j: &Joints| j.as_slice().iter().all(|q| q.is_finite());
    if finite(a) && finite(b) { a.distance(b) } else { f64::INFINITY }
}

/// Whether it is a position of this arm, its limits aside.
pub(crate) fn is_position(joints: &Joints, arm: &ArmModel) -> bool {
    joints.count() == arm.count() && joints.as_slice().iter().all(|q| q.is_finite())
}

/// Looks at what an approval says. Its sequence and whatever stands against any motion come before.
///
/// Gives the time in which the path clock must be brought to zero.
pub(crate) fn inspect(
    record: &ApprovedRecord,
    commanded: &Joints,
    scenes: &Scenes,
    settings: &Settings,
    now: Instant,
) -> Result<Duration, Refusal> {
    let sequence = record.sequence;
    if now > record.expires {
        return Err(Refusal::Expired { sequence, expires: record.expires, now });
    }
    if record.arm != settings.arm.id {
        return Err(Refusal::WrongArm { sequence });
    }
    let Some(model) = settings.models.iter().find(|model| **model == record.model) else {
        return Err(Refusal::UnknownModel { sequence });
    };
    let scene = match scenes.known(record.scene) {
        Known::Digest(digest) => digest,
        Known::Forgotten => return Err(Refusal::SceneForgotten { sequence, scene: record.scene }),
        Known::Never => return Err(Refusal::SceneUnknown { sequence, scene: record.scene }),
    };
    for path in [&record.path, &record.retract] {
        // Before the hash, which takes as long as the paths are.
        if !(1..=KNOTS_MAX).contains(&path.knots.len()) {
            return Err(Refusal::Malformed { sequence, fault: PathFault::Knots(path.knots.len()) });
        }
    }
    if record.hash_with(&scene, &settings.limits, model) != record.hash {
        return Err(Refusal::HashDiffers { sequence });
    }
    let brake = look(record, settings).map_err(|fault| Refusal::Malformed { sequence, fault })?;
    let off_rad = apart(&record.path.knots[0], commanded);
    if off_rad > settings.start_tolerance_rad {
        return Err(Refusal::Elsewhere { sequence, off_rad, limit_rad: settings.start_tolerance_rad });
    }
    Ok(brake)
}

/// The cheap last look at both paths; they have knots.
fn look(record: &ApprovedRecord, settings: &Settings) -> Result<Duration, PathFault> {
    look_at_path(&record.path, &settings.arm, 7)?;
    look_at_path(&record.retract, &settings.arm, 0)?;
    // They are one way: from the end of one to the start of the other there must be no step.
    let between = apart(&record.path.knots[0], &record.retract.knots[0]);
    if between > settings.start_tolerance_rad {
        return Err(PathFault::Apart(between));
    }
    let brake = brake_time(record, &settings.arm, settings.brake);
    if brake > BRAKE_LONGEST { Err(PathFault::Brake(brake)) } else { Ok(brake) }
}

fn look_at_path(path: &JointPath, arm: &ArmModel, energy_bits: u8) -> Result<(), PathFault> {
    if !(KNOT_PERIODS[0]..=KNOT_PERIODS[1]).contains(&path.period) {
        return Err(PathFault::Period(path.period));
    }
    if path.energy.len() != path.knots.len() || path.energy.iter().any(|bits| bits & !energy_bits != 0) {
        return Err(PathFault::Energy);
    }
    let period_s = path.period.secs_f64();
    let mut before: Option<&Joints> = None;
    for (knot, joints) in path.knots.iter().enumerate() {
        if !is_position(joints, arm) {
            return Err(PathFault::NotJoints(knot));
        }
        let room = arm.room(joints);
        if room < 0.0 {
            return Err(PathFault::Position { knot, beyond_rad: -room });
        }
        if let Some(before) = before {
            let share = before
                .as_slice()
                .iter()
                .zip(joints.as_slice())
                .zip(arm.limits())
                .fold(0.0_f64, |worst, ((a, b), limit)| worst.max((b - a).abs() / (period_s * limit.speed_rad_s)));
            if share > 1.0 + SPEED_SLACK {
                return Err(PathFault::Speed { knot, share });
            }
        }
        before = Some(joints);
    }
    Ok(())
}
