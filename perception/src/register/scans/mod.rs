//! Registration of two scans of one patient: rigid by mutual information, then deformable.
//!
//! ```text
//!  Volume ─► Layers (1, 2, 4, 8 mm) ─┬─► rigid        the patient lies otherwise: skull and skull base fit
//!                                    └─► deformable   tissue has moved within the skull, some of it is gone
//! ```
//! The *fixed* scan is the one whose coordinates count, as the intraoperative one; the *moving* scan is laid onto it.
//! **Units and frames:** mm, patient LPS of each scan. **Allocation:** runs outside the flow, and allocates. **Determinism:** the same
//! scans give the same result whatever the number of threads.
//! **Refusals:** scans without contrast, a mirrored scan, and another patient's: [`Unmatched`].
//! **Not protected against:** see [`rigid`] and [`deformable`].

mod blocks;
mod changes;
mod deformable;
mod elastic;
mod field;
mod picture;
mod rigid;
mod similarity;
#[cfg(test)]
mod tests;

use crate::scan::{BadScan, Scan};
use bregma_core::flow::{Modality, Volume};
pub use deformable::Deformable;
pub use field::Displacement;
use nalgebra::{Point3, Vector3};
use picture::Picture;
pub use rigid::Rigid;
use std::sync::Arc;

/// Steps of rigid and deformable registration together, for progress.
pub const STEPS: usize = rigid::STEPS + deformable::STEPS;

/// Why two scans were not registered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unmatched {
    /// A scan cannot be read by itself.
    #[error("the {which} scan cannot be used: {why}")]
    Bad {
        /// Which of the two.
        which: &'static str,
        /// What is wrong.
        why: BadScan,
    },
    /// Nothing to compare.
    #[error("one of the scans shows no contrast at all where they overlap")]
    Flat,
    /// Too few places of one were found in the other.
    #[error("{found} places of one scan were found in the other; at least {least} are needed to hold a registration")]
    Few {
        /// Were found.
        found: usize,
        /// Are needed.
        least: usize,
    },
    /// Left and right are exchanged in one.
    #[error(
        "one of the scans is mirrored: as they are they share a normalised mutual information of {nmi:.3}, with left and \
         right of one exchanged {mirrored:.3}; see which one's header has left and right wrong"
    )]
    Mirrored {
        /// As they are, at best.
        nmi: f64,
        /// Of the mirrored one, at best.
        mirrored: f64,
    },
    /// Nothing tells a scan from its mirror image: they do not show one head.
    #[error(
        "these look like scans of two patients: as they are they share a normalised mutual information of {nmi:.3}, and with left \
         and right of one exchanged {mirrored:.3}, hardly less"
    )]
    NoMore {
        /// As they are, at best.
        nmi: f64,
        /// Of the mirrored one, at best.
        mirrored: f64,
    },
    /// They do not show one head.
    #[error(
        "these look like scans of two patients: of the places of one with something to see, {:.1} % were found in the other; \
         at least {:.0} % are needed", found * 1e2, least * 1e2
    )]
    Strangers {
        /// Share that was found.
        found: f64,
        /// Is needed.
        least: f64,
    },
}

/// A scan at all resolutions.
#[derive(Debug, Clone)]
pub struct Layers {
    pictures: Vec<Picture>,
    modality: Modality,
    centre: Point3<f64>,
}

impl Layers {
    /// Reads a scan; `which` names it in errors.
    ///
    /// # Errors
    /// [`Unmatched::Bad`].
    pub fn of(volume: &Arc<Volume>, which: &'static str) -> Result<Self, Unmatched> {
        let scan = Scan::new(Arc::clone(volume)).map_err(|why| Unmatched::Bad { which, why })?;
        let mut pictures = vec![Picture::of(&scan)];
        for _ in 0..3 {
            let halved = pictures[pictures.len() - 1].halved();
            pictures.push(halved);
        }
        let coarse = &pictures[3];
        let shown = |v: &f32| !v.is_nan() && (scan.statistics.is_brain(*v));
        let (mut sum, mut count) = (Vector3::zeros(), 0_usize);
        for (i, v) in coarse.data.iter().enumerate() {
            if shown(v) {
                sum += coarse.grid.centre(coarse.grid.voxel(i)).coords;
                count += 1;
            }
        }
        let centre = Point3::from(sum / count.max(1) as f64);
        Ok(Self { pictures, centre, modality: volume.modality })
    }

    /// At 1, 2, 4 or 8 mm.
    fn at_mm(&self, mm: usize) -> &Picture {
        &self.pictures[mm.trailing_zeros() as usize]
    }

    /// Left and right exchanged.
    fn mirrored(&self) -> Self {
        let grid = &self.pictures[0].grid;
        let x = grid.origin[0] + 0.5 * grid.spacing_mm * (grid.dims[0] - 1) as f64;
        let mut centre = self.centre;
        centre.x = 2.0 * x - centre.x;
        // The finest layer of a mirrored scan is not read.
        let empty = Picture { grid: *grid, data: Vec::new() };
        let pictures = self.pictures.iter().enumerate().map(|(i, p)| if i < 1 { empty.clone() } else { p.mirrored() });
        Self { pictures: pictures.collect(), centre, modality: self.modality }
    }
}

/// Rigid registration: how the patient lies in one scan, seen from the other. `done` hears of each step.
///
/// # Errors
/// [`Unmatched`].
pub fn rigid(fixed: &Layers, moving: &Layers, done: &(dyn Fn() + Sync)) -> Result<Rigid, Unmatched> {
    rigid::register(fixed, moving, done)
}

/// Deformable registration, from a rigid one. `done` hears of each step; with those of [`rigid`] there are [`STEPS`].
///
/// # Errors
/// [`Unmatched`].
pub fn deformable(
    fixed: &Layers,
    moving: &Layers,
    rigid: &Rigid,
    done: &(dyn Fn() + Sync),
) -> Result<Deformable, Unmatched> {
    deformable::register(fixed, moving, rigid, done)
}
