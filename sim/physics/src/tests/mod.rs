//! Tests of the whole stage in a synthetic room.

// The benchmark includes the same room from outside this crate, by the crate's name.
use crate as bregma_physics;

#[path = "phantom.rs"]
mod phantom;

mod approve;
mod clear;
mod refuse;
mod tissue;
mod ways_out;
mod withdrawn;

use crate::{LimitValues, Limits, Validate, ValidateIn, ValidateOut};
use bregma_core::flow::{Check, CheckResult, Motion};
use bregma_core::stage::Stage;
use phantom::{NOW, Phantom};

fn step(phantom: &Phantom, limits: LimitValues, input: &ValidateIn) -> ValidateOut {
    let limits = Limits::new(limits).expect("in range");
    let mut validate = Validate::new(phantom.arm.clone(), phantom.mount, limits).expect("a mount");
    let mut out = ValidateOut::default();
    validate.step(NOW, input, &mut out).expect("whole messages");
    out
}

/// The one check that failed, which must be the only one; force and strain of an indentation go with it.
fn failed(out: &ValidateOut) -> CheckResult {
    assert!(out.approved.is_none());
    let verdict = out.verdicts.last().expect("a verdict");
    assert!(!verdict.approved);
    let mut failed: Vec<&CheckResult> = verdict.checks.iter().filter(|c| !c.passed).collect();
    if failed.first().is_some_and(|first| first.check == Check::Indentation) {
        failed.retain(|c| !matches!(c.check, Check::TissueForce | Check::TissueStrain));
    }
    let said: Vec<String> = verdict.checks.iter().map(crate::words).collect();
    assert_eq!(failed.len(), 1, "{said:#?}");
    *failed[0]
}

fn refused(phantom: &Phantom, motion: Motion, limits: LimitValues, by: Check) -> CheckResult {
    let out = step(phantom, limits, &phantom.input(vec![motion]));
    let result = failed(&out);
    assert_eq!(result.check, by, "{}", crate::words(&result));
    result
}
