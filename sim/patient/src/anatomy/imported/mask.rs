//! Which voxels are brain, with the fluid in its sulci, in a scan laid on the template's grid.
//!
//! Threshold between fluid and grey matter, erosion, largest piece, and reconstruction, within reach of
//! the registered template's brain; then closing, which bridges sulci, and filling. The family of methods
//! is Shattuck et al., *Magnetic resonance image tissue classification using a partial volume model*,
//! NeuroImage 13 (2001), with the template in the place of an edge detector. It does the same with a skull
//! and without. **Units:** voxels of 1 mm. **Not told apart:** dura where it touches the cortex, and
//! sinuses as bright as grey matter.

use crate::distance;

/// Farthest that brain may lie outside the registered template's, mm.
const REACH_MM: f32 = 6.0;
/// Radius that cuts bridges of dura, vessels and nerves.
const ERODE_MM: f32 = 3.0;
/// Radius that closes sulci.
const CLOSE_MM: f32 = 8.0;
/// What lies deeper than this in the registered template's brain is brain, whatever it looks like.
const DEEP_MM: f32 = -6.0;
/// Radius that the closed mask is opened with.
const OPEN_MM: f32 = 4.0;

/// The mask from bias-corrected intensities between `low` and `high`, and how many voxels were taken for
/// their depth alone.
pub(super) fn brain(dims: [usize; 3], values: &[f32], outside_mm: &[f32], low: f32, high: f32) -> (Vec<bool>, usize) {
    let candidate: Vec<bool> =
        values.iter().zip(outside_mm).map(|(v, d)| (low..high).contains(v) && *d < REACH_MM).collect();
    let mut core = eroded(dims, &candidate, ERODE_MM);
    largest_piece(dims, &mut core);
    let mut kept = dilated(dims, &core, ERODE_MM + 1.0);
    for (k, c) in kept.iter_mut().zip(&candidate) {
        *k &= c;
    }
    let mut closed = eroded(dims, &dilated(dims, &kept, CLOSE_MM), CLOSE_MM);
    for (c, (k, d)) in closed.iter_mut().zip(kept.iter().zip(outside_mm)) {
        *c = (*c || *k) && *d < REACH_MM;
    }
    fill(dims, &mut closed);
    // What hangs on by less than twice this radius is nerve, sinus or the floor of the nose.
    let mut body = eroded(dims, &closed, OPEN_MM);
    largest_piece(dims, &mut body);
    for (c, b) in closed.iter_mut().zip(dilated(dims, &body, OPEN_MM + 1.0)) {
        *c &= b;
    }
    let mut odd = 0;
    for (c, d) in closed.iter_mut().zip(outside_mm) {
        odd += usize::from(!*c && *d < DEEP_MM);
        *c |= *d < DEEP_MM;
    }
    (closed, odd)
}

fn eroded(dims: [usize; 3], set: &[bool], radius: f32) -> Vec<bool> {
    distance::squared(dims, |i| !set[i]).into_iter().map(|d| d > radius * radius).collect()
}

fn dilated(dims: [usize; 3], set: &[bool], radius: f32) -> Vec<bool> {
    distance::squared(dims, |i| set[i]).into_iter().map(|d| d <= radius * radius).collect()
}

/// Keeps the largest piece whose voxels share faces.
fn largest_piece(dims: [usize; 3], set: &mut [bool]) {
    let mut seen = vec![false; set.len()];
    let mut largest: Vec<usize> = Vec::new();
    for start in 0..set.len() {
        if set[start] && !seen[start] {
            let piece = flood(dims, start, &mut seen, |i| set[i]);
            if piece.len() > largest.len() {
                largest = piece;
            }
        }
    }
    set.fill(false);
    for i in largest {
        set[i] = true;
    }
}

/// Sets what cannot be reached from the grid's first corner.
fn fill(dims: [usize; 3], set: &mut [bool]) {
    let mut seen = vec![false; set.len()];
    if set.first() == Some(&false) {
        flood(dims, 0, &mut seen, |i| !set[i]);
        for (s, outside) in set.iter_mut().zip(seen) {
            *s = !outside;
        }
    }
}

/// All voxels that are joined to `start` by faces through voxels that are `open`.
fn flood(dims: [usize; 3], start: usize, seen: &mut [bool], open: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut piece = vec![start];
    let mut next = 0;
    seen[start] = true;
    while let Some(&here) = piece.get(next) {
        next += 1;
        let mut stride = 1;
        for n in dims {
            let c = here / stride % n;
            let sides = [(c > 0).then(|| here - stride), (c + 1 < n).then(|| here + stride)];
            for side in sides.into_iter().flatten() {
                if !seen[side] && open(side) {
                    seen[side] = true;
                    piece.push(side);
                }
            }
            stride *= n;
        }
    }
    piece
}
