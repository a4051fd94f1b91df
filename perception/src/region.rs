//! Connected regions of a 64³ grid: components, specks and holes, by flooding over six neighbours.
//!
//! **Allocation:** in [`Flood::new`] only: every voxel fits on the stack. **Order:** voxels are visited from
//! the lowest index up, so that results never depend on anything but the set.

use crate::bits::VoxelBits;
use bregma_core::flow::{ROI_EDGE, ROI_VOXELS};

/// Index steps to the six neighbours, with the axis and the direction.
const STEPS: [(usize, bool, usize); 6] = [
    (0, false, 1),
    (0, true, 1),
    (1, false, ROI_EDGE),
    (1, true, ROI_EDGE),
    (2, false, ROI_EDGE * ROI_EDGE),
    (2, true, ROI_EDGE * ROI_EDGE),
];

/// Scratch for flooding.
#[derive(Debug, Clone)]
pub struct Flood {
    /// Members of the component flooded last, in the order of flooding.
    members: Vec<u32>,
    left: VoxelBits,
}

impl Default for Flood {
    fn default() -> Self {
        Self::new()
    }
}

impl Flood {
    /// With room for every voxel.
    #[must_use]
    pub fn new() -> Self {
        Self { members: Vec::with_capacity(ROI_VOXELS), left: VoxelBits::new() }
    }

    /// Floods `left` from a voxel; the members are taken out of it.
    fn from(&mut self, seed: usize) {
        self.members.clear();
        self.left.take(seed);
        self.members.push(seed as u32);
        let mut next = 0;
        while next < self.members.len() {
            let index = self.members[next] as usize;
            next += 1;
            let at = [index & 63, index >> 6 & 63, index >> 12];
            for (axis, up, step) in STEPS {
                if at[axis] == if up { ROI_EDGE - 1 } else { 0 } {
                    continue;
                }
                let neighbour = if up { index + step } else { index - step };
                if self.left.has(neighbour) {
                    self.left.take(neighbour);
                    self.members.push(neighbour as u32);
                }
            }
        }
    }

    /// Calls `with` for each component of `set`, its members in the order of flooding.
    pub fn components(&mut self, set: &VoxelBits, mut with: impl FnMut(&[u32])) {
        self.left.copy_from(set);
        for row in 0..set.rows().len() {
            while self.left.rows()[row] != 0 {
                let seed = row * ROI_EDGE + self.left.rows()[row].trailing_zeros() as usize;
                self.from(seed);
                with(&self.members);
            }
        }
    }

    /// Takes components of fewer than `least` voxels out of `set`.
    pub fn drop_specks(&mut self, set: &mut VoxelBits, least: usize) {
        self.left.copy_from(set);
        for row in 0..ROI_EDGE * ROI_EDGE {
            while self.left.rows()[row] != 0 {
                let seed = row * ROI_EDGE + self.left.rows()[row].trailing_zeros() as usize;
                self.from(seed);
                if self.members.len() < least {
                    self.members.iter().for_each(|m| set.take(*m as usize));
                }
            }
        }
    }

    /// Puts into `set` every voxel that cannot be reached from the grid's border without crossing it.
    pub fn fill_holes(&mut self, set: &mut VoxelBits) {
        self.left.become_complement(set);
        for index in 0..ROI_VOXELS {
            let border = [index & 63, index >> 6 & 63, index >> 12].iter().any(|v| *v == 0 || *v == ROI_EDGE - 1);
            if border && self.left.has(index) {
                self.from(index);
            }
        }
        set.add(&self.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cube(set: &mut VoxelBits, low: usize, high: usize) {
        for k in low..high {
            for j in low..high {
                (low..high).for_each(|i| {
                    set.put(i + 64 * (j + 64 * k));
                });
            }
        }
    }

    #[test]
    fn specks_go_and_the_rest_stays() {
        let mut set = VoxelBits::new();
        cube(&mut set, 10, 14);
        let large = set.count();
        cube(&mut set, 20, 22);
        let mut sizes = Vec::new();
        let mut flood = Flood::new();
        flood.components(&set, |members| sizes.push(members.len()));
        assert_eq!(sizes, [64, 8]);
        flood.drop_specks(&mut set, 9);
        assert_eq!(set.count(), large);
    }

    #[test]
    fn rows_do_not_wrap_around_the_grids_edge() {
        let mut set = VoxelBits::new();
        set.put(63);
        set.put(64);
        let mut count = 0;
        Flood::new().components(&set, |_| count += 1);
        assert_eq!(count, 2);
    }

    #[test]
    fn a_hole_is_filled_and_a_bay_is_not() {
        let (mut shell, mut inner) = (VoxelBits::new(), VoxelBits::new());
        cube(&mut shell, 10, 20);
        cube(&mut inner, 12, 18);
        let whole = shell.count();
        shell.remove(&inner);
        let mut open = shell.clone();
        Flood::new().fill_holes(&mut shell);
        assert_eq!(shell.count(), whole);
        (10..12).for_each(|i| open.take(i + 64 * (15 + 64 * 15)));
        let before = open.count();
        Flood::new().fill_holes(&mut open);
        assert_eq!(open.count(), before);
    }
}
