//! Exact Euclidean distance transform, 16 lines at a time.
//!
//! One pass along each axis. Along x a voxel counts its steps to the other class; along y and z a line's new value at
//! `i` is the least of `value[j] + (i - j)^2`, looked for from `i` outwards for as long as `(i - j)^2` alone is below the
//! least so far. The work grows with the distances, not with the square of the edge.
//! Source: the separable squared distance of Felzenszwalb and Huttenlocher, *Distance Transforms of Sampled Functions*,
//! Theory of Computing 8 (2012), section 2; the bounded search instead of their lower envelope is for vector
//! instructions, which [`crate::engine::Isa`] chooses.
//!
//! **Units:** voxels, squared and whole, so that results are exact (in f32 too, which holds them below 2^24);
//! [`surface_mm`] makes millimetres.
//! **Convention:** every voxel gets the squared distance from its centre to the nearest centre of the
//! *opposite* class, negative inside the region. Half a voxel less is the distance to the region's
//! surface: two neighbours of different class are at +½ and −½ voxel, and the zero lies on the face
//! between them. For planes along the axes that is exact; an oblique or curved surface lies within a
//! voxel of it, half a voxel on average.
//! **Allocation:** in [`DistanceTransform::new`] only.
#![expect(unsafe_code, reason = "vector loads from and to rows whose lengths are checked before")]

use crate::engine::Isa;
use crate::engine::simd::{LANES, Simd, Work};
use crate::gpu::DeviceError;

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

/// Who computes distances: the processor ([`DistanceTransform`]), or a GPU.
pub trait Distances: Send {
    /// Whether the device that it computes on has failed elsewhere: the processor goes on then, and no step is lost.
    fn lost(&self) -> bool {
        false
    }

    /// As [`DistanceTransform::signed`].
    ///
    /// # Errors
    /// When a device fails; `out` then says nothing.
    fn signed(&mut self, inside: &[u8], out: &mut [i32]) -> Result<(), DeviceError>;
}

impl Distances for DistanceTransform {
    fn signed(&mut self, inside: &[u8], out: &mut [i32]) -> Result<(), DeviceError> {
        Self::signed(self, inside, out);
        Ok(())
    }
}

/// More steps than any line has: there is no other class on it.
const FAR: i32 = 1 << 20;

const _: () = assert!(3 * EDGE_MAX * EDGE_MAX < 1 << 24, "squared distances are exact in f32");

/// The scratch for grids of one size, owned by the caller.
#[derive(Debug, Clone)]
pub struct DistanceTransform {
    dims: [usize; 3],
    isa: Isa,
    /// Squared distances so far, signed as the result; infinite where there is no opposite yet.
    field: Vec<f32>,
    /// Sixteen lines: `[outside or inside][at][lane]`.
    lines: Vec<f32>,
}

impl DistanceTransform {
    /// For grids of `dims = [nx, ny, nz]` voxels.
    ///
    /// # Panics
    /// With an edge of 0 or more than [`EDGE_MAX`] voxels.
    #[must_use]
    pub fn new(dims: [usize; 3]) -> Self {
        Self::on(Isa::detect(), dims)
    }

    fn on(isa: Isa, dims: [usize; 3]) -> Self {
        assert!(dims.iter().all(|n| (1..=EDGE_MAX).contains(n)), "edges of 1 to {EDGE_MAX} voxels, not {dims:?}");
        let lines = vec![0.0; 2 * LANES * dims[1].max(dims[2])];
        Self { dims, isa, field: vec![0.0; dims.iter().product()], lines }
    }

    /// Signed squared distance of each voxel to the nearest of the opposite class: the region is where
    /// `inside` is not 0, and distances are negative there. `±NOWHERE` where there is no opposite.
    ///
    /// # Panics
    /// When a slice has not as many values as the grid has voxels.
    pub fn signed(&mut self, inside: &[u8], out: &mut [i32]) {
        let [nx, ny, nz] = self.dims;
        assert!(inside.len() == nx * ny * nz && out.len() == inside.len(), "one value a voxel");
        for ((row, steps), to) in
            inside.chunks_exact(nx).zip(out.chunks_exact_mut(nx)).zip(self.field.chunks_exact_mut(nx))
        {
            along_row(row, steps, to);
        }
        for z in 0..nz {
            self.across(z * nx * ny, nx, ny);
        }
        for y in 0..ny {
            self.across(y * nx, nx * ny, nz);
        }
        for (to, value) in out.iter_mut().zip(&self.field) {
            // A cast keeps to the range: infinity becomes NOWHERE.
            *to = (*value as i32).max(-NOWHERE);
        }
    }

    /// One axis of one plane: `n` rows of `nx` voxels, `stride` apart.
    fn across(&mut self, base: usize, stride: usize, n: usize) {
        let nx = self.dims[0];
        let field = &mut self.field[base..base + (n - 1) * stride + nx];
        let plane = Plane { field: field.as_mut_ptr(), lines: self.lines.as_mut_ptr(), nx, stride, n };
        // SAFETY: the instructions were found; rows lie in `field`, 16 lines of `n`, twice, in `lines`.
        unsafe { self.isa.run(&plane) };
    }
}

/// Rows to be searched across.
struct Plane {
    field: *mut f32,
    lines: *mut f32,
    nx: usize,
    stride: usize,
    n: usize,
}

impl Work for Plane {
    #[inline(always)]
    unsafe fn run<V: Simd>(&self) {
        let inside = self.lines.wrapping_add(self.n * LANES);
        for x in (0..self.nx).step_by(LANES) {
            let left = (self.nx - x).min(LANES);
            let column = self.field.wrapping_add(x);
            // SAFETY: the caller's; `left` lanes of each row.
            unsafe {
                let zero = V::splat(0.0);
                // What is finite; a line without it stays as it is.
                let (mut near, most) = ([false; 2], V::splat(f32::MAX));
                for i in 0..self.n {
                    let value = V::load_n(column.wrapping_add(i * self.stride), left);
                    let both = [V::max(value, zero), V::max(V::sub(zero, value), zero)];
                    near[0] |= V::any_above(most, both[0]);
                    near[1] |= V::any_above(most, both[1]);
                    V::store(self.lines.wrapping_add(i * LANES), both[0]);
                    V::store(inside.wrapping_add(i * LANES), both[1]);
                }
                for i in 0..self.n {
                    let outside = if near[0] { self.least::<V>(self.lines, i) } else { V::splat(f32::INFINITY) };
                    let inside = if near[1] { self.least::<V>(inside, i) } else { V::splat(f32::INFINITY) };
                    // One of the two is 0: a voxel is of one class.
                    let to = column.wrapping_add(i * self.stride);
                    V::store_n(to, V::sub(outside, inside), left);
                }
            }
        }
    }
}

impl Plane {
    /// The least of `line[j] + (i - j)^2`.
    #[inline(always)]
    unsafe fn least<V: Simd>(&self, line: *const f32, i: usize) -> V::F {
        // SAFETY: `i - step` and `i + step` are on the line where they are read.
        unsafe {
            let at = line.wrapping_add(i * LANES);
            let mut least = V::load(at);
            let (before, after) = (i, self.n - 1 - i);
            for step in 1..=before.max(after) {
                let squared = V::splat((step * step) as f32);
                if !V::any_above(least, squared) {
                    break;
                }
                if step <= before {
                    least = V::min(least, V::add(V::load(at.wrapping_sub(step * LANES)), squared));
                }
                if step <= after {
                    least = V::min(least, V::add(V::load(at.wrapping_add(step * LANES)), squared));
                }
            }
            least
        }
    }
}

/// Squared distance along one row to the opposite class, negative inside. `steps` is scratch.
fn along_row(inside: &[u8], steps: &mut [i32], to: &mut [f32]) {
    let (mut run, mut before) = (FAR, inside[0] != 0);
    for (class, step) in inside.iter().map(|v| *v != 0).zip(steps.iter_mut()) {
        run = if class == before { run.wrapping_add(1) } else { 1 };
        before = class;
        *step = run;
    }
    (run, before) = (FAR, inside[inside.len() - 1] != 0);
    for ((class, step), to) in inside.iter().map(|v| *v != 0).zip(steps.iter()).zip(to.iter_mut()).rev() {
        run = if class == before { run.wrapping_add(1) } else { 1 };
        before = class;
        let nearest = run.min(*step);
        let squared = if nearest > FAR { f32::INFINITY } else { nearest.wrapping_mul(nearest) as f32 };
        *to = if class { -squared } else { squared };
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
            for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
                DistanceTransform::on(isa, dims).signed(&inside, &mut out);
                prop_assert_eq!(&out, &brute(dims, &inside));
            }
        }
    }

    #[test]
    fn equals_brute_force_on_sparse_seeds() {
        let dims = [17, 23, 31];
        let n = dims.iter().product::<usize>();
        let mut inside = vec![0; n];
        (0..n).step_by(1831).for_each(|i| inside[i] = 1);
        let (mut out, expected) = (vec![0; n], brute(dims, &inside));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
            DistanceTransform::on(isa, dims).signed(&inside, &mut out);
            assert_eq!(out, expected, "{isa:?}");
        }
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
