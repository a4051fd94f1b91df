//! One bit for each voxel of a 64³ grid: a row of 64 voxels along x is one word.
//!
//! **Shape:** word `j + 64·k` holds row `[.., j, k]`, bit `i` its voxel `i`; the index of a voxel is that of
//! `Grid::index`. **Allocation:** in [`VoxelBits::new`] only.

use bregma_core::flow::{ROI_EDGE, ROI_VOXELS};

const ROWS: usize = ROI_EDGE * ROI_EDGE;
const _: () = assert!(ROI_EDGE == 64, "a row is one word of 64 bits");

/// A set of voxels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoxelBits {
    rows: Vec<u64>,
}

impl Default for VoxelBits {
    fn default() -> Self {
        Self::new()
    }
}

impl VoxelBits {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: vec![0; ROWS] }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.rows.fill(0);
    }

    /// Whether a voxel is in.
    #[must_use]
    pub fn has(&self, index: usize) -> bool {
        self.rows[index >> 6] >> (index & 63) & 1 == 1
    }

    /// Puts a voxel in; says whether it was out.
    pub fn put(&mut self, index: usize) -> bool {
        let (row, bit) = (&mut self.rows[index >> 6], 1 << (index & 63));
        let new = *row & bit == 0;
        *row |= bit;
        new
    }

    /// Takes a voxel out.
    pub fn take(&mut self, index: usize) {
        self.rows[index >> 6] &= !(1 << (index & 63));
    }

    /// How many are in.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.iter().map(|r| r.count_ones() as usize).sum()
    }

    /// Becomes a copy, without allocating.
    pub fn copy_from(&mut self, other: &Self) {
        self.rows.copy_from_slice(&other.rows);
    }

    /// Becomes everything that `other` has not.
    pub fn become_complement(&mut self, other: &Self) {
        self.rows.iter_mut().zip(&other.rows).for_each(|(a, b)| *a = !b);
    }

    /// Becomes those voxels of which `holds` is true, value by value.
    ///
    /// # Panics
    /// When there is not one value a voxel.
    pub fn fill_where<T: Copy>(&mut self, values: &[T], holds: impl Fn(T) -> bool) {
        assert_eq!(values.len(), ROI_VOXELS, "one value a voxel");
        for (row, values) in self.rows.iter_mut().zip(values.chunks_exact(ROI_EDGE)) {
            *row = values.iter().enumerate().fold(0, |word, (i, v)| word | u64::from(holds(*v)) << i);
        }
    }

    /// Takes out all that `other` has.
    pub fn remove(&mut self, other: &Self) {
        self.rows.iter_mut().zip(&other.rows).for_each(|(a, b)| *a &= !b);
    }

    /// Keeps what `other` has, too.
    pub fn keep(&mut self, other: &Self) {
        self.rows.iter_mut().zip(&other.rows).for_each(|(a, b)| *a &= b);
    }

    /// Puts in all that `other` has.
    pub fn add(&mut self, other: &Self) {
        self.rows.iter_mut().zip(&other.rows).for_each(|(a, b)| *a |= b);
    }

    /// Becomes the wall: voxels of `tissue` outside `cavity` with one of their six neighbours in it.
    pub fn become_wall(&mut self, cavity: &Self, tissue: &Self) {
        let rows = &cavity.rows;
        for k in 0..ROI_EDGE {
            for j in 0..ROI_EDGE {
                let at = j + ROI_EDGE * k;
                let mut near = rows[at] << 1 | rows[at] >> 1;
                if j > 0 {
                    near |= rows[at - 1];
                }
                if j + 1 < ROI_EDGE {
                    near |= rows[at + 1];
                }
                if k > 0 {
                    near |= rows[at - ROI_EDGE];
                }
                if k + 1 < ROI_EDGE {
                    near |= rows[at + ROI_EDGE];
                }
                self.rows[at] = near & !rows[at] & tissue.rows[at];
            }
        }
    }

    /// Indices of those that are in, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(|(row, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros() as usize;
                    left &= left - 1;
                    row * ROI_EDGE + bit
                })
            })
        })
    }

    /// The rows, 64 voxels a word.
    #[must_use]
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Writes 1 for each voxel that is in, 0 for the others.
    ///
    /// # Panics
    /// When there is not one value a voxel.
    pub fn expand(&self, out: &mut [u8]) {
        assert_eq!(out.len(), ROI_VOXELS, "one value a voxel");
        for (row, out) in self.rows.iter().zip(out.chunks_exact_mut(ROI_EDGE)) {
            out.iter_mut().enumerate().for_each(|(i, v)| *v = (row >> i & 1) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_in_order() {
        let mut bits = VoxelBits::new();
        for index in [5, 64, 70_000, ROI_VOXELS - 1] {
            assert!(bits.put(index) && !bits.put(index));
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [5, 64, 70_000, ROI_VOXELS - 1]);
        bits.take(64);
        let mut bytes = vec![9; ROI_VOXELS];
        bits.expand(&mut bytes);
        let mut back = VoxelBits::new();
        back.fill_where(&bytes, |v| v == 1);
        assert_eq!((back == bits, back.count()), (true, 3));
    }

    #[test]
    fn one_open_voxel_has_six_walls_and_fewer_at_a_corner() {
        let (mut cavity, mut tissue, mut wall) = (VoxelBits::new(), VoxelBits::new(), VoxelBits::new());
        tissue.rows.fill(u64::MAX);
        cavity.put(20 + 64 * (30 + 64 * 40));
        wall.become_wall(&cavity, &tissue);
        assert_eq!(wall.count(), 6);
        cavity.clear();
        cavity.put(63);
        wall.become_wall(&cavity, &tissue);
        assert_eq!(wall.iter().collect::<Vec<_>>(), [62, 63 + 64, 63 + 4096]);
    }
}
