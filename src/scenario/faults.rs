//! Faults in a suite's file: the file's words, made into plans that each case's seed draws from.
//!
//! ```toml
//! [[faults]]
//! kind = "vessel_bleeds"      # the names of `bregma_patient::FaultKind`
//! at_s = [60.0, 90.0]         # drawn from there; a single number stands for itself
//! size_mm = 1.0               # of array_bumped, table_moved and vessel_bleeds
//! # lasts_s                   # of what passes by itself
//! # turn_deg                  # of array_bumped and table_moved; 0 where it is left out
//! # share                     # of the cases; every one where it is left out
//! ```

use anyhow::{Context, ensure};
use bregma_patient::{FaultKind, FaultPlan};
use serde::Deserialize;

/// One fault, as a suite's file says it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultWords {
    /// Its name.
    pub kind: String,
    /// When, simulated seconds.
    pub at_s: Span,
    /// For how long, s.
    pub lasts_s: Option<Span>,
    /// By how much, or how wide, mm.
    pub size_mm: Option<Span>,
    /// By how much it turns, degrees.
    pub turn_deg: Option<Span>,
    /// Share of the cases.
    pub share: Option<f64>,
}

/// A number, or a range to draw from.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged, expecting = "a number, or a range such as [5.0, 20.0], is needed")]
pub enum Span {
    /// This.
    One(f64),
    /// Least and most.
    Range([f64; 2]),
}

impl Span {
    const fn range(self) -> [f64; 2] {
        match self {
            Self::One(value) => [value; 2],
            Self::Range(range) => range,
        }
    }
}

impl FaultWords {
    /// The plan that they say.
    ///
    /// # Errors
    /// What is wrong, in which key, and what would be right.
    pub fn plan(&self) -> anyhow::Result<FaultPlan> {
        let kind = FaultKind::named(&self.kind).with_context(|| {
            let names = FaultKind::ALL.map(FaultKind::name).join(", ");
            format!("`kind` is \"{}\"; it must be one of {names}", self.kind)
        })?;
        ensure!(!kind.passes() || self.lasts_s.is_some(), "fault {}: `lasts_s` is needed", kind.name());
        ensure!(!kind.sized() || self.size_mm.is_some(), "fault {}: `size_mm` is needed", kind.name());
        let or_none = |span: Option<Span>| span.map_or([0.0; 2], Span::range);
        let plan = FaultPlan {
            kind,
            at_s: self.at_s.range(),
            lasts_s: or_none(self.lasts_s),
            size_mm: or_none(self.size_mm),
            turn_deg: or_none(self.turn_deg),
            share: self.share.unwrap_or(1.0),
        };
        plan.check()?;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{STANDARD, Suite};

    fn with(fault: &str) -> anyhow::Result<Suite> {
        Suite::parse(&format!("{STANDARD}\n[[faults]]\n{fault}\n"))
    }

    #[test]
    fn faults_are_read_and_what_is_wrong_is_named() {
        let suite = with("kind = \"table_moved\"\nat_s = [10, 20.5]\nsize_mm = 2\nshare = 0.5").expect("a fault");
        let plan = suite.faults[0].plan().expect("it was checked");
        assert_eq!((plan.at_s, plan.size_mm, plan.share), ([10.0, 20.5], [2.0; 2], 0.5));
        let said = |fault: &str| format!("{:#}", with(fault).expect_err("refused"));
        assert!(said("kind = \"meteorite\"\nat_s = 1.0").contains("it must be one of tracker_lost, array_bumped"));
        assert!(said("kind = \"tracker_lost\"\nat_s = 1.0").contains("`lasts_s` is needed"));
        assert!(said("kind = \"array_bumped\"\nat_s = 1.0").contains("`size_mm` is needed"));
        let share = said("kind = \"scanner_absent\"\nat_s = 1.0\nlasts_s = 9.0\nshare = 2.0");
        assert!(share.contains("1. of [[faults]]") && share.contains("`share` is 2; 0 to 1"), "{share}");
        assert!(said("kind = \"pedal_released\"\nat_s = \"soon\"\nlasts_s = 1.0").contains("a range such as"));
        assert!(said("kind = \"pedal_released\"\nat_s = 1.0\nlasts_s = 1.0\nwhy = 3").contains("why"));
    }
}
