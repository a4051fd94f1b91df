//! What a check found, as a sentence.

use bregma_core::flow::{Check, CheckResult};
use std::fmt::Write as _;

/// Whether a check asks for at least its limit, not for at most.
#[must_use]
pub const fn asks_for_more(check: Check) -> bool {
    match check {
        Check::JointPosition
        | Check::Singularity
        | Check::SelfCollision
        | Check::RimClearance
        | Check::ForbiddenClearance => true,
        Check::WellFormed
        | Check::SceneFresh
        | Check::TipFresh
        | Check::StartsAtArm
        | Check::Reachable
        | Check::JointSpeed
        | Check::JointAcceleration
        | Check::JointJerk
        | Check::TipSpeed
        | Check::Indentation
        | Check::TissueForce
        | Check::TissueStrain
        | Check::CutSeen
        | Check::Roof
        | Check::Retract => false,
    }
}

/// "clearance from a forbidden region is 0.4 mm, 1.0 mm or more is needed, 2.31 s into the motion at
/// (12.0, -40.1, 55.3)". A value that could not be measured says so.
#[must_use]
pub fn words(result: &CheckResult) -> String {
    let (what, unit) = result.check.words();
    let digits = match unit {
        "rad" | "share of limit" | "share" | "s" => 3,
        "faults" | "checks" => 0,
        _ => 1,
    };
    let value = if result.value.is_finite() {
        format!("is {:.digits$} {unit}", result.value)
    } else {
        "cannot be measured".to_owned()
    };
    let bound = if asks_for_more(result.check) { "or more" } else { "or less" };
    let mut said = format!("{what} {value}, {:.digits$} {unit} {bound} is needed", result.limit);
    let during = result.at.is_some() || result.when.nanos() > 0;
    if during {
        let _ = write!(said, ", {:.2} s into the motion", result.when.secs_f64());
    }
    if let Some(at) = result.at {
        let p = at.coordinates();
        let _ = write!(said, " at ({:.1}, {:.1}, {:.1})", p.x, p.y, p.z);
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::frame::Point;
    use bregma_core::time::Duration;

    #[test]
    fn a_sentence_names_value_limit_when_and_where() {
        let result = CheckResult {
            check: Check::ForbiddenClearance,
            value: 0.42,
            limit: 1.0,
            passed: false,
            when: Duration::from_millis(2308),
            at: Some(Point::new(12.0, -40.1, 55.3).expect("finite")),
        };
        let said = "clearance from a forbidden region is 0.4 mm, 1.0 mm or more is needed, 2.31 s into the motion at (12.0, -40.1, 55.3)";
        assert_eq!(words(&result), said);
    }

    #[test]
    fn what_cannot_be_measured_says_so() {
        let result = CheckResult {
            check: Check::SceneFresh,
            value: f64::INFINITY,
            limit: 0.5,
            passed: false,
            when: Duration::ZERO,
            at: None,
        };
        assert_eq!(words(&result), "age of the scene cannot be measured, 0.500 s or less is needed");
    }
}
