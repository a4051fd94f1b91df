//! Where the voxels of an image lie: from IMAGE's centre to its first voxel, and back.
//!
//! Index (i, j, k) means the *centre* of a voxel, from (0, 0, 0) to (n − 1, …), and
//!
//! ```text
//! mm = first + i · axis_i + j · axis_j + k · axis_k        axis = direction × spacing
//! centre = first + ½ Σ (n − 1) · axis                      the image spans −½ … n − ½ along each axis
//! ```
//!
//! The wire has the centre in single precision; everything here is double, and rounds once, on the way to the wire:
//! `from_centred` is exact but for the last bit of a double. 3D Slicer, PLUS and OpenIGTLinkIO take the same ½ (n − 1).
//! **Frames:** whichever the image is in; [`Grid::in_other_coordinates`] goes from RAS to LPS and back, and flips signs
//! only. Voxels stay where they are. **Allocation:** none. **Not protected against:** axes that are no right angles or
//! have no length: they come through as they are.

use crate::pose::Matrix;

/// Where the voxels of an image lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Voxels along i, j, k.
    pub size: [u16; 3],
    /// Axes i, j, k: from one voxel to the next, mm.
    pub axes: [[f64; 3]; 3],
    /// Centre of voxel (0, 0, 0), mm.
    pub first: [f64; 3],
}

impl Grid {
    /// From unit directions of i, j, k, spacings in mm, and the centre of voxel (0, 0, 0).
    #[must_use]
    pub fn new(size: [u16; 3], directions: [[f64; 3]; 3], spacing: [f64; 3], first: [f64; 3]) -> Self {
        let axes = std::array::from_fn(|axis| directions[axis].map(|part| part * spacing[axis]));
        Self { size, axes, first }
    }

    /// From IMAGE's matrix, whose last column is the centre of the whole image.
    #[must_use]
    pub fn from_centred(size: [u16; 3], [i, j, k, centre]: &Matrix) -> Self {
        let axes = [i, j, k].map(|axis| axis.map(f64::from));
        let grid = Self { size, axes, first: centre.map(f64::from) };
        Self { first: grid.at(grid.middle().map(|half| -half)), ..grid }
    }

    /// IMAGE's matrix: axes, then the centre of the whole image, rounded to single precision.
    #[must_use]
    pub fn centred(&self) -> Matrix {
        let [i, j, k] = self.axes;
        [i, j, k, self.centre()].map(|column| column.map(|part| part as f32))
    }

    /// The index of the centre, which lies between voxels where a size is even.
    #[must_use]
    pub fn middle(&self) -> [f64; 3] {
        self.size.map(|n| (f64::from(n) - 1.0) / 2.0)
    }

    /// The centre of the whole image, mm.
    #[must_use]
    pub fn centre(&self) -> [f64; 3] {
        self.at(self.middle())
    }

    /// The outer corner of the first voxel, where the image begins, mm.
    #[must_use]
    pub fn corner(&self) -> [f64; 3] {
        self.at([-0.5; 3])
    }

    /// Where an index lies, mm; between voxels, too.
    #[must_use]
    pub fn at(&self, index: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|row| {
            self.first[row] + index[0] * self.axes[0][row] + index[1] * self.axes[1][row] + index[2] * self.axes[2][row]
        })
    }

    /// From one voxel to the next along i, j, k, mm.
    #[must_use]
    pub fn spacing(&self) -> [f64; 3] {
        self.axes.map(|[x, y, z]| x.hypot(y).hypot(z))
    }

    /// Unit directions of i, j, k; `None` where an axis has no length, or one that is no number.
    #[must_use]
    pub fn directions(&self) -> Option<[[f64; 3]; 3]> {
        let spacing = self.spacing();
        let sound = spacing.iter().all(|length| length.is_finite() && *length > 0.0);
        sound.then(|| std::array::from_fn(|axis| self.axes[axis].map(|part| part / spacing[axis])))
    }

    /// The same in the other of RAS and LPS: x and y change signs.
    #[must_use]
    pub fn in_other_coordinates(&self) -> Self {
        let flipped = |[x, y, z]: [f64; 3]| [-x, -y, z];
        Self { size: self.size, axes: self.axes.map(flipped), first: flipped(self.first) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 3 × 4 × 5 voxels of 0.5, 1 and 2 mm; i goes to −y, j to z, k to −x. No two numbers of it are alike.
    fn phantom() -> Grid {
        let directions = [[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]];
        Grid::new([3, 4, 5], directions, [0.5, 1.0, 2.0], [10.0, 20.0, 30.0])
    }

    #[test]
    fn an_asymmetric_phantom_lies_where_it_was_put() {
        let phantom = phantom();
        // (2, 3, 4): x = 10 − 4·2, y = 20 − 2·0.5, z = 30 + 3·1.
        assert_eq!(phantom.at([2.0, 3.0, 4.0]), [2.0, 19.0, 33.0]);
        assert_eq!(phantom.middle(), [1.0, 1.5, 2.0]);
        // Half the way there: (6, 19.5, 31.5).
        assert_eq!(phantom.centre(), [6.0, 19.5, 31.5]);
        // Half a voxel before the first: +1, +0.25, −0.5.
        assert_eq!(phantom.corner(), [11.0, 20.25, 29.5]);
        let matrix = [[0.0, -0.5, 0.0], [0.0, 0.0, 1.0], [-2.0, 0.0, 0.0], [6.0, 19.5, 31.5]];
        assert_eq!(phantom.centred(), matrix);
        assert_eq!(Grid::from_centred([3, 4, 5], &matrix), phantom);
        assert_eq!(phantom.spacing(), [0.5, 1.0, 2.0]);
        let [i, j, k] = phantom.directions().expect("has lengths");
        assert_eq!((i, j, k), ([0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]));
    }

    #[test]
    fn ras_and_lps_are_the_same_place_with_two_signs_changed() {
        let (here, there) = (phantom(), phantom().in_other_coordinates());
        for index in [[0.0; 3], [2.0, 3.0, 4.0], [0.5, -0.5, 7.0]] {
            let ([x, y, z], other) = (here.at(index), there.at(index));
            assert_eq!([-x, -y, z], other);
        }
        assert_eq!(there.in_other_coordinates(), here);
        assert_eq!(there.centre(), [-6.0, -19.5, 31.5]);
    }

    #[test]
    fn axes_without_a_length_have_no_directions() {
        let flat = Grid { axes: [[1.0, 0.0, 0.0], [0.0; 3], [0.0, 0.0, 1.0]], ..phantom() };
        assert_eq!(flat.directions(), None);
        assert_eq!(Grid { axes: [[f64::NAN; 3]; 3], ..flat }.directions(), None);
    }

    proptest! {
        #[test]
        fn to_the_centre_and_back_rounds_once(
            size in prop::array::uniform3(1..2000_u16),
            matrix in prop::array::uniform4(prop::array::uniform3(-300.0..300.0_f32)),
        ) {
            let grid = Grid::from_centred(size, &matrix);
            let again = grid.centred();
            prop_assert_eq!(&again[..3], &matrix[..3], "axes are not rounded at all");
            for (again, centre) in again[3].iter().zip(&matrix[3]) {
                // Sums of 1000 · 300 mm in double: 1e-10 mm; one rounding to single.
                prop_assert!((again - centre).abs() <= centre.abs() * f32::EPSILON + 1e-9, "{} {}", again, centre);
            }
        }
    }
}
