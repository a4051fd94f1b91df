//! The safety gate: the last room before the arm.
//!
//! [`Command`] takes only `Approved` motions, which only the validator can make, and only while they are
//! fresh, in sequence, unaltered, of a scene that the gate knows, and while a person holds the enabling
//! input. It samples them at 125 to 1000 Hz. Every reaction takes the instrument's energy off first.
//! [`checker`] tells afterwards, from the arm's own log, whether anything moved without approval.
//!
//! **Units:** radians, [`bregma_core::Duration`]. **Allocation:** none in a step.
//! **Invariants:** this crate depends on neither perception nor planning, even indirectly; no position is
//! ever commanded that is not on an approved path or its retract path, but the place where the arm stood;
//! energy is on only while an approved path is being played with consent.
//! **Not protected against:** loss of the whole process (the arm's own watchdog); a tip inside the head
//! while disarmed and blind: disarmed is disarmed, the arm is then moved by hand.

pub mod checker;
mod command;
mod gate;
mod inspect;
mod monitor;
mod scenes;
mod settings;
mod states;
mod track;

pub use command::{
    APPROVED_MAX, Command, CommandIn, CommandOut, Inputs, ORDERS_MAX, Refused, STAMPS_MAX, WITHDRAWN_MAX,
};
pub use inspect::{KNOT_PERIODS, KNOTS_MAX, PathFault, Refusal};
pub use scenes::{SCENES_KEPT, SceneStamp};
pub use settings::{
    AGES, BRAKE_LONGEST, BRAKE_SHARE, BRAKES, CHANNELS_SETTLES, CONSENT_AGES, HEARTBEAT_AGES, HOLDS, PERIODS, Settings,
    SettingsFault,
};
pub use states::{Act, Event, Guard, next};
