//! Brain shift: how tissue has moved since the dura was opened.
//!
//! Tissue, vessels, regions and what was removed are kept where they were before the opening, at *rest*; a
//! [`Field`] takes points between there and where they are *now*. Devices live in the now, bookkeeping at
//! rest: what is removed and what is left add up whatever moves.

pub(crate) mod field;
