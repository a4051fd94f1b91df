//! What the gate plays: a motion that passed every check.
//!
//! **Invariant:** only [`crate::Validate`] makes one. There is no constructor, default, conversion or
//! deserialiser outside this crate, and the record inside cannot be reached to be changed:
//!
//! ```compile_fail
//! use bregma_physics::Approved;
//! fn forge(record: bregma_core::flow::ApprovedRecord) -> Approved {
//!     Approved { record }
//! }
//! ```
//!
//! ```compile_fail
//! use bregma_physics::Approved;
//! fn forge(record: bregma_core::flow::ApprovedRecord) -> Approved {
//!     Approved::new(record)
//! }
//! ```
//!
//! ```compile_fail
//! use bregma_physics::Approved;
//! fn tamper(approved: &mut Approved) {
//!     approved.record.sequence.0 += 1;
//! }
//! ```
//!
//! What may be done is to read it:
//!
//! ```
//! use bregma_physics::Approved;
//! fn length(approved: &Approved) -> bregma_core::time::Duration {
//!     approved.record().path.length()
//! }
//! ```

use bregma_core::flow::ApprovedRecord;

/// A motion that passed every check, with its retract path.
#[derive(Debug)]
pub struct Approved {
    record: ApprovedRecord,
}

impl Approved {
    pub(crate) fn new(record: ApprovedRecord) -> Self {
        Self { record }
    }

    /// What it says.
    #[must_use]
    pub const fn record(&self) -> &ApprovedRecord {
        &self.record
    }
}
