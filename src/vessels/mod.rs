//! Vessels of scans as files, and what finding them is worth on simulated ones.

pub mod compare;
pub mod files;
pub mod table;
