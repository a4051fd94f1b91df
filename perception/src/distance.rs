//! Exact Euclidean distance transform, linear in the number of voxels.
//!
//! One pass along each axis; along y and z the distance is the lower envelope of parabolas, one a voxel.
//! Source: Felzenszwalb and Huttenlocher, *Distance Transforms of Sampled Functions*, Theory of Computing
//! 8 (2012), section 2.
//!
//! **Units:** voxels, squared and whole, so that results are exact; [`surface_mm`] makes millimetres.
//! **Convention:** every voxel gets the squared distance from its centre to the nearest centre of the
//! *opposite* class, negative inside the region. Half a voxel less is the distance to the region's
//! surface: two neighbours of different class are at +½ and −½ voxel, and the zero lies on the face
//! between them. For planes along the axes that is exact; an oblique or curved surface lies within a
//! voxel of it, half a voxel on average.
//! **Allocation:** in [`DistanceTransform::new`] only.

/// Squared distance where no voxel of the opposite class exists.
pub const NOWHERE: i32 = i32::MAX;

/// Most voxels on an edge: squared distances and their sums stay far below [`NOWHERE`].
pub const EDGE_MAX: usize = 1024;

/// Millimetres from a region's surface, from a value of [`DistanceTransform::signed`]: positive outside,
/// infinite where there is no other class.
#[must_use]
pub fn surface_mm(signed: i32, spacing_mm: f64) -> f64 {
    if signed == NOWHERE {
        return f64::INFINITY;
    }
    if signed == -NOWHERE {
        return f64::NEG_INFINITY;
    }
    let distance = (f64::from(signed.unsigned_abs()).sqrt() - 0.5) * spacing_mm;
    if signed < 0 { -distance } else { distance }
}

/// One vertex of the lower envelope.
#[derive(Debug, Clone, Copy, Default)]
struct Parabola {
    /// Where its vertex is.
    at: i32,
    /// Its height there.
    height: i32,
    /// Its height plus the square of where it is.
    offset: i32,
    /// From where on it is the lowest.
    from: f64,
}

/// The scratch for grids of one size, owned by the caller.
#[derive(Debug, Clone)]
pub struct DistanceTransform {
    dims: [usize; 3],
    tile: Vec<i32>,
    line: Vec<i32>,
    envelope: Vec<Parabola>,
    /// `1 / 2d` for each distance between two vertices.
    half_inverse: Vec<f64>,
}

impl DistanceTransform {
    /// For grids of `dims = [nx, ny, nz]` voxels.
    ///
    /// # Panics
    /// With an edge of 0 or more than [`EDGE_MAX`] voxels.
    #[must_use]
    pub fn new(dims: [usize; 3]) -> Self {
        assert!(dims.iter().all(|n| (1..=EDGE_MAX).contains(n)), "edges of 1 to {EDGE_MAX} voxels, not {dims:?}");
        let longest = dims[1].max(dims[2]);
        Self {
            dims,
            tile: vec![0; dims[0] * longest],
            line: vec![0; longest],
            envelope: vec![Parabola::default(); longest],
            half_inverse: (0..=longest).map(|d| 0.5 / (d.max(1) as f64)).collect(),
        }
    }

    /// Signed squared distance of each voxel to the nearest of the opposite class: the region is where
    /// `inside` is not 0, and distances are negative there. `±NOWHERE` where there is no opposite.
    ///
    /// # Panics
    /// When a slice has not as many values as the grid has voxels.
    pub fn signed(&mut self, inside: &[u8], out: &mut [i32]) {
        let [nx, ny, nz] = self.dims;
        assert!(inside.len() == nx * ny * nz && out.len() == inside.len(), "one value a voxel");
        for (row, out) in inside.chunks_exact(nx).zip(out.chunks_exact_mut(nx)) {
            along_row(row, out);
        }
        for z in 0..nz {
            self.across(out, z * nx * ny, nx, ny);
        }
        for y in 0..ny {
            self.across(out, y * nx, nx * ny, nz);
        }
    }

    /// One axis of one plane: `n` rows of `nx` voxels, `stride` apart. Lines are gathered into a
    /// transposed tile first, so that memory is read along rows.
    fn across(&mut self, out: &mut [i32], base: usize, stride: usize, n: usize) {
        let nx = self.dims[0];
        for r in 0..n {
            let row = &out[base + r * stride..][..nx];
            for (value, to) in row.iter().zip(self.tile[r..].iter_mut().step_by(n)) {
                *to = *value;
            }
        }
        for line in self.tile.chunks_exact_mut(n).take(nx) {
            let (scratch, half) = (&mut self.line[..n], &self.half_inverse[..]);
            scratch.copy_from_slice(line);
            one_class(scratch, 1, line, &mut self.envelope, half);
            one_class(scratch, -1, line, &mut self.envelope, half);
        }
        for r in 0..n {
            let row = &mut out[base + r * stride..][..nx];
            for (to, value) in row.iter_mut().zip(self.tile[r..].iter().step_by(n)) {
                *to = *value;
            }
        }
    }
}

/// Squared distance along one row to the opposite class, negative inside.
fn along_row(inside: &[u8], out: &mut [i32]) {
    let mut run = i32::MAX;
    let mut before = inside[0] != 0;
    for (class, to) in inside.iter().map(|v| *v != 0).zip(out.iter_mut()) {
        run = if class == before { run.saturating_add(1) } else { 1 };
        before = class;
        *to = run;
    }
    run = i32::MAX;
    before = inside[inside.len() - 1] != 0;
    for (class, to) in inside.iter().map(|v| *v != 0).zip(out.iter_mut()).rev() {
        run = if class == before { run.saturating_add(1) } else { 1 };
        before = class;
        let nearest = run.min(*to);
        let squared = if nearest == i32::MAX { NOWHERE } else { nearest * nearest };
        *to = if class { -squared } else { squared };
    }
}

/// Distances of one class along a line: `sign` 1 for the voxels outside, −1 for those inside. A voxel of
/// the opposite class is at distance 0.
fn one_class(line: &[i32], sign: i32, out: &mut [i32], envelope: &mut [Parabola], half_inverse: &[f64]) {
    if line.iter().all(|v| v.signum() != sign) {
        return;
    }
    let mut count = 0_usize;
    for (at, value) in line.iter().enumerate() {
        let height = value.wrapping_mul(sign).max(0);
        if height == NOWHERE {
            continue;
        }
        let at = at as i32;
        let mut from = f64::NEG_INFINITY;
        while count > 0 {
            let last = envelope[count - 1];
            // Below 4 × EDGE_MAX²: no overflow, and no check in the hottest loop.
            let rise = height.wrapping_add(at.wrapping_mul(at)).wrapping_sub(last.offset);
            from = f64::from(rise) * half_inverse[at.wrapping_sub(last.at) as usize];
            if from > last.from {
                break;
            }
            count -= 1;
            from = f64::NEG_INFINITY;
        }
        envelope[count] = Parabola { at, height, offset: height.wrapping_add(at.wrapping_mul(at)), from };
        count += 1;
    }
    if count == 0 {
        return;
    }
    let mut lowest = 0;
    for (at, (value, to)) in line.iter().zip(out.iter_mut()).enumerate() {
        if value.signum() == sign {
            while lowest + 1 < count && envelope[lowest + 1].from <= at as f64 {
                lowest += 1;
            }
            let p = envelope[lowest];
            let away = (at as i32).wrapping_sub(p.at);
            *to = sign.wrapping_mul(p.height.wrapping_add(away.wrapping_mul(away)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brute(dims: [usize; 3], inside: &[u8]) -> Vec<i32> {
        let at = |i: usize| [i % dims[0], i / dims[0] % dims[1], i / dims[0] / dims[1]].map(|v| v as i32);
        (0..inside.len())
            .map(|i| {
                let nearest = (0..inside.len())
                    .filter(|j| (inside[*j] != 0) != (inside[i] != 0))
                    .map(|j| (0..3).map(|a| (at(i)[a] - at(j)[a]).pow(2)).sum::<i32>())
                    .min()
                    .unwrap_or(NOWHERE);
                if inside[i] != 0 { -nearest } else { nearest }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn equals_brute_force(
            dims in prop::array::uniform3(1..9_usize),
            seeds in prop::collection::vec(any::<u8>(), 512),
            share in 0..=255_u8,
        ) {
            let n = dims.iter().product::<usize>();
            let inside: Vec<u8> = seeds[..n].iter().map(|s| u8::from(*s < share)).collect();
            let mut out = vec![0; n];
            DistanceTransform::new(dims).signed(&inside, &mut out);
            prop_assert_eq!(out, brute(dims, &inside));
        }
    }

    #[test]
    fn equals_brute_force_on_sparse_seeds() {
        let dims = [17, 23, 31];
        let n = dims.iter().product::<usize>();
        let mut inside = vec![0; n];
        (0..n).step_by(1831).for_each(|i| inside[i] = 1);
        let mut out = vec![0; n];
        DistanceTransform::new(dims).signed(&inside, &mut out);
        assert_eq!(out, brute(dims, &inside));
    }

    #[test]
    fn a_planes_surface_lies_on_the_face_between_voxels() {
        for axis in 0..3 {
            let at = |i: usize| [i % 16, i / 16 % 16, i / 256][axis];
            let inside: Vec<u8> = (0..4096).map(|i| u8::from(at(i) < 7)).collect();
            let mut out = vec![0; 4096];
            DistanceTransform::new([16; 3]).signed(&inside, &mut out);
            for (i, v) in out.iter().enumerate() {
                let expected = (at(i) as f64 - 6.5) * 1.25;
                assert!((surface_mm(*v, 1.25) - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_balls_surface_is_within_a_voxel_of_the_truth() {
        let at = |i: usize| [i % 64, i / 64 % 64, i / 4096].map(|v| v as f64 - 31.5);
        let radius = |i: usize| at(i).iter().map(|v| v * v).sum::<f64>().sqrt();
        let inside: Vec<u8> = (0..64 * 64 * 64).map(|i| u8::from(radius(i) <= 15.0)).collect();
        let mut out = vec![0; inside.len()];
        DistanceTransform::new([64; 3]).signed(&inside, &mut out);
        let errors: Vec<f64> = (0..inside.len()).map(|i| surface_mm(out[i], 1.0) - (radius(i) - 15.0)).collect();
        assert!(errors.iter().all(|e| e.abs() < 0.9));
        assert!(errors.iter().map(|e| e.abs()).sum::<f64>() / (errors.len() as f64) < 0.5);
    }

    #[test]
    fn one_class_alone_is_nowhere_near_another() {
        let mut out = vec![0; 8];
        let mut transform = DistanceTransform::new([2; 3]);
        transform.signed(&[0; 8], &mut out);
        assert_eq!(out, [NOWHERE; 8]);
        assert!(surface_mm(out[0], 1.0) > 1e300);
        transform.signed(&[1; 8], &mut out);
        assert!(surface_mm(out[0], 1.0) < -1e300);
    }
}
