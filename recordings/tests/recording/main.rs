//! Recordings as files: written, read, cut, damaged, counted and played again.

mod cut;
mod full_disk;
mod made;
mod rate;
mod refused;
mod replay;
mod summary;
