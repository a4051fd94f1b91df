//! Reorders voxels so that their axes run nearest to +L, +P and +S.
//!
//! **Frames and units:** matrices take `[i, j, k, 1]` (voxel centres) to LPS mm. **Invariant:** a permutation
//! and flips only: every intensity keeps its place in the patient to rounding, none is interpolated.
//! **Allocation:** one new volume, none when the order is right already.

use super::SPACING_MM;
use nalgebra::Matrix4;

/// Smallest permitted volume of a voxel over the product of its edges; 1 where they are at right angles.
const SKEW_MIN: f64 = 1e-3;

/// The six orders of three axes; `order[a]` is the voxel axis that shall run along patient axis `a`.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Edges of a voxel, mm.
fn edges(m: &Matrix4<f64>) -> [f64; 3] {
    std::array::from_fn(|axis| m.fixed_view::<3, 1>(0, axis).norm())
}

/// Refuses an affine that is not finite, is singular, or has edges outside [`SPACING_MM`].
pub(super) fn check(m: &Matrix4<f64>) -> Result<(), String> {
    if m.iter().any(|v| !v.is_finite() || v.abs() > 1e5) {
        return Err("an element of its affine is not finite, or beyond 100 m".to_owned());
    }
    let edges = edges(m);
    if let Some(edge) = edges.iter().find(|e| !SPACING_MM.contains(*e)) {
        return Err(format!("an edge of {edge} mm"));
    }
    let share = m.fixed_view::<3, 3>(0, 0).determinant().abs() / (edges[0] * edges[1] * edges[2]);
    if share >= SKEW_MIN { Ok(()) } else { Err(format!("its affine is singular (relative determinant {share:.1e})")) }
}

/// The volume in its new order: dimensions, voxels and affine.
pub(super) fn nearest_lps(
    dims: [usize; 3],
    voxels: Vec<f32>,
    m: &Matrix4<f64>,
) -> ([usize; 3], Vec<f32>, Matrix4<f64>) {
    // Adding 0 turns -0, which sign changes leave behind, into 0.
    let m = m.map(|v| v + 0.0);
    let edges = edges(&m);
    let along = |patient: usize, axis: usize| m[(patient, axis)] / edges[axis];
    let score = |order: &[usize; 3]| (0..3).map(|a| along(a, order[a]).abs()).sum::<f64>();
    // The first of equals: the choice is the same on every machine.
    let order = ORDERS.iter().skip(1).fold(ORDERS[0], |best, o| if score(o) > score(&best) + 1e-9 { *o } else { best });
    let flip: [bool; 3] = std::array::from_fn(|a| along(a, order[a]) < 0.0);
    if order == ORDERS[0] && flip == [false; 3] {
        return (dims, voxels, m);
    }
    let new_dims: [usize; 3] = std::array::from_fn(|a| dims[order[a]]);
    let mut old_from_new = Matrix4::zeros();
    old_from_new[(3, 3)] = 1.0;
    for a in 0..3 {
        old_from_new[(order[a], a)] = if flip[a] { -1.0 } else { 1.0 };
        old_from_new[(order[a], 3)] = if flip[a] { new_dims[a] as f64 - 1.0 } else { 0.0 };
    }
    let strides = [1, dims[0], dims[0] * dims[1]];
    let at = |a: usize, n: usize| (if flip[a] { new_dims[a] - 1 - n } else { n }) * strides[order[a]];
    let mut out = Vec::with_capacity(voxels.len());
    for k in 0..new_dims[2] {
        for j in 0..new_dims[1] {
            let row = at(2, k) + at(1, j);
            out.extend((0..new_dims[0]).map(|i| voxels[row + at(0, i)]));
        }
    }
    (new_dims, out, (m * old_from_new).map(|v| v + 0.0))
}
