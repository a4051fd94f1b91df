//! One scan onto another of the same patient: as a rigid body, then with what tissue has moved.
//!
//! The *fixed* scan is the newer one, with a cavity perhaps; the *moving* one is laid onto it. [`rigid`] finds how the head
//! lies by mutual information and by cubes that look alike, [`deformable`] how the brain has moved within it.
//! **Units and frames:** mm, patient LPS, each scan its own. **Refusals:** a scan that is mirrored, one of another patient,
//! and one with nothing in it, each by what was measured. **Allocation:** outside the flow; some hundred megabytes.
//! **Determinism:** the same scans give the same answer, whatever the number of threads.
//! **Not protected against:** a mirrored scan of a head that is as good as symmetric; an identical twin.

mod blocks;
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

/// The mirrored scan fits better by more than that in normalised mutual information: then it is the mirrored one that
/// fits. Of one patient's scans the right one is ahead by about 0.15.
const MIRRORED_BY: f64 = 0.03;
/// Of cubes with something to see, at least that share must be found. Of one patient's scans a quarter is, of two
/// patients' at most a twenty-fifth.
const FOUND_LEAST: f64 = 0.1;

/// Why one scan was not laid onto another.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unmatched {
    /// A scan that cannot be used.
    #[error("the {which} scan: {why}")]
    Bad {
        /// Which.
        which: &'static str,
        /// Why.
        why: BadScan,
    },
    /// There is no contrast in one of them.
    #[error("one of the scans shows hardly any contrast; two scans of a head are needed")]
    Flat,
    /// Left and right are exchanged in one of them.
    #[error(
        "one of the scans is mirrored: exchanged left for right it fits with a normalised mutual information of {mirrored:.3}, \
         as it is with {as_is:.3}; look at the orientation in its header"
    )]
    Mirrored {
        /// Of the mirrored scan.
        mirrored: f64,
        /// Of the scan as it is.
        as_is: f64,
    },
    /// They do not show the same head.
    #[error(
        "these are not two scans of one patient: {:.1} % of the places with something to see look alike, at least {:.0} % are \
         needed",
        found * 100.0, FOUND_LEAST * 100.0
    )]
    Another {
        /// Share of cubes that were found.
        found: f64,
    },
    /// Too little is alike to say how the head lies.
    #[error("only {found} places of the two scans look alike; at least 50 are needed")]
    Nothing {
        /// How many.
        found: usize,
    },
}

/// One scan laid onto another.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// As a rigid body.
    pub rigid: Rigid,
    /// With what tissue has moved, where that was asked for.
    pub deformable: Option<Deformable>,
}

/// How often `done` of [`register`] is called.
#[must_use]
pub const fn steps(deform: bool) -> usize {
    rigid::STEPS + if deform { deformable::ROUNDS.len() } else { 0 }
}

/// Lays `moving` onto `fixed`; `done` hears of each of [`steps`].
///
/// # Errors
/// [`Unmatched`], with what was measured.
pub fn register(
    fixed: &Arc<Volume>,
    moving: &Arc<Volume>,
    deform: bool,
    done: &(dyn Fn() + Sync),
) -> Result<Matched, Unmatched> {
    let (fixed, moving) = (Layers::of(fixed, "fixed")?, Layers::of(moving, "moving")?);
    let rigid = rigid::register(&fixed, &moving, done)?;
    let deformable = deform.then(|| deformable::deform(&fixed, &moving, &rigid, done));
    Ok(Matched { rigid, deformable })
}

/// A scan at all resolutions: 1, 2, 4 and 8 mm.
#[derive(Debug, Clone)]
struct Layers {
    pictures: Vec<Picture>,
    modality: Modality,
    /// Middle of what is no air.
    centre: Point3<f64>,
}

impl Layers {
    fn of(volume: &Arc<Volume>, which: &'static str) -> Result<Self, Unmatched> {
        let scan = Scan::new(Arc::clone(volume)).map_err(|why| Unmatched::Bad { which, why })?;
        let mut pictures = vec![Picture::of(&scan)];
        for _ in 0..3 {
            pictures.push(pictures[pictures.len() - 1].halved());
        }
        let coarse = &pictures[3];
        let (mut sum, mut count) = (Vector3::zeros(), 0_usize);
        for (index, value) in coarse.data.iter().enumerate() {
            if !value.is_nan() && scan.statistics.is_brain(*value) {
                sum += coarse.grid.centre(coarse.grid.voxel(index)).coords;
                count += 1;
            }
        }
        Ok(Self { centre: Point3::from(sum / count.max(1) as f64), pictures, modality: volume.modality })
    }

    /// That of 1, 2, 4 or 8 mm.
    fn at_mm(&self, mm: usize) -> &Picture {
        &self.pictures[mm.trailing_zeros() as usize]
    }

    /// Left and right exchanged, coarse pictures only.
    fn mirrored(&self) -> Self {
        let grid = &self.pictures[0].grid;
        let x = grid.origin[0] + 0.5 * grid.spacing_mm * (grid.dims[0] - 1) as f64;
        let mut centre = self.centre;
        centre.x = 2.0 * x - centre.x;
        let empty = Picture { grid: *grid, data: Vec::new() };
        let pictures = self.pictures.iter().enumerate();
        let pictures = pictures.map(|(level, p)| if level < 2 { empty.clone() } else { p.mirrored() });
        Self { pictures: pictures.collect(), centre, modality: self.modality }
    }
}
