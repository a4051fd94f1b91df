//! Enumerations and names as they stand on the wire. A number or name, once given, means the same for ever.

use super::{Refused, Why};
use bregma_core::faults::{Reaction, Reason};
use bregma_core::flow::{Check, Energy, GateState, Modality, Order, RegionKind, TrackingStatus};

/// Stages whose steps are recorded: their `Stage::NAME`.
pub const STAGES: &[&str] = &["align", "perceive", "plan", "validate", "command"];

/// Planners: their names as they stand in `Plan::planner`.
pub const PLANNERS: &[&str] = &["greedy", "raster", "mpc", "rl", "oracle"];

/// The program's own copy of a name.
pub fn known(field: &'static str, name: &str, known: &'static [&'static str]) -> Result<&'static str, Refused> {
    let found = known.iter().copied().find(|k| *k == name);
    found.ok_or_else(|| Refused::new(field, Why::UnknownName { name: name.to_owned(), known }))
}

macro_rules! codes {
    ($to:ident, $from:ident, $kind:ident { $($variant:ident = $code:literal),* $(,)? }) => {
        pub const fn $to(value: $kind) -> u8 {
            match value {
                $($kind::$variant => $code,)*
            }
        }
        pub fn $from(field: &'static str, code: u8) -> Result<$kind, Refused> {
            match code {
                $($code => Ok($kind::$variant),)*
                other => Err(Refused::new(field, Why::UnknownCode(u64::from(other)))),
            }
        }
    };
}

codes!(modality_code, modality, Modality { T1 = 1, T1c = 2, T2 = 3, Flair = 4, Mra = 5 });
codes!(status_code, status, TrackingStatus { Valid = 1, LineOfSightLost = 2, OutOfVolume = 3, Unknown = 4 });
codes!(region_code, region, RegionKind { Eloquent = 1, Skull = 2 });
codes!(order_code, order, Order { Arm = 1, Disarm = 2, Resume = 3, Retract = 4, ClearFault = 5 });
codes!(state_code, state, GateState { Disarmed = 1, Armed = 2, Active = 3, Hold = 4, Fault = 5 });
codes!(reaction_code, reaction, Reaction { Hold = 1, Retract = 2, Stop = 3 });
codes!(check_code, check, Check {
    WellFormed = 1,
    SceneFresh = 2,
    TipFresh = 3,
    StartsAtArm = 4,
    Reachable = 5,
    JointPosition = 6,
    JointSpeed = 7,
    JointAcceleration = 8,
    TipSpeed = 9,
    SelfCollision = 10,
    RimClearance = 11,
    ForbiddenClearance = 12,
    Indentation = 13,
    Retract = 14,
    JointJerk = 15,
    Singularity = 16,
    TissueForce = 17,
    TissueStrain = 18,
    CutSeen = 19,
    Roof = 20,
});

/// By [`Reason::code`].
pub fn reason(field: &'static str, code: u8) -> Result<Reason, Refused> {
    Reason::from_code(code).ok_or_else(|| Refused::new(field, Why::UnknownCode(u64::from(code))))
}

/// By [`Energy::bits`].
pub fn energy(field: &'static str, bits: u8) -> Result<Energy, Refused> {
    Energy::from_bits(bits).ok_or_else(|| Refused::new(field, Why::UnknownCode(u64::from(bits))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_comes_back_from_its_code_and_no_other_code_is_taken() {
        for value in Check::ALL {
            assert_eq!(check("check", check_code(value)), Ok(value));
        }
        for code in [0, 21, 255] {
            let why = Why::UnknownCode(u64::from(code));
            assert_eq!(check("check", code), Err(Refused::new("check", why)));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        assert_eq!(known("planner", "mpc", PLANNERS), Ok("mpc"));
        let said = known("planner", "dice", PLANNERS).expect_err("unknown").to_string();
        assert!(said.starts_with("`planner`: the name \"dice\" is not among [\"greedy\""), "{said}");
    }
}
