//! From strong voxels to lines of single voxels.
//!
//! [`mask`] keeps what hangs together with a strong voxel (hysteresis); [`thin`] takes voxels away, weakest first, as
//! long as the mask's topology stays and no line's end goes: what is left runs along the crest of the strength. A voxel
//! may go where it is *simple* (G. Malandain, G. Bertrand, ICPR 1992): one 26-connected component of the mask and one
//! 6-connected component of the rest in its neighbourhood. **Shape:** voxel indices of the picture. **Allocation:** a
//! byte a voxel, and a heap of the mask. **Invariant:** the order is that of strength, then index: always the same.

use super::picture::Picture;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Which voxels belong to something; what lies on the picture's rim never does.
pub(super) struct Mask {
    /// 1 where it does.
    pub on: Vec<u8>,
    stride: [usize; 3],
}

/// Voxels that may belong and hang together with one that surely does.
pub(super) fn mask(picture: &Picture, may: impl Fn(usize) -> bool, surely: impl Fn(usize) -> bool) -> Mask {
    let [nx, ny, _] = picture.dims;
    let mut mask = Mask { on: vec![0; picture.brightness.len()], stride: [1, nx, nx * ny] };
    let inner = |index: usize| picture.voxel(index).iter().zip(picture.dims).all(|(v, n)| *v > 0 && v + 1 < n);
    let mut next: Vec<usize> = (0..mask.on.len()).filter(|i| surely(*i) && inner(*i) && may(*i)).collect();
    next.iter().for_each(|i| mask.on[*i] = 1);
    while let Some(index) = next.pop() {
        for neighbour in mask.around(index) {
            if mask.on[neighbour] == 0 && may(neighbour) && inner(neighbour) {
                mask.on[neighbour] = 1;
                next.push(neighbour);
            }
        }
    }
    mask
}

/// Thins a mask to lines.
pub(super) fn thin(mask: &mut Mask, strength: &[f32]) {
    // Strengths are not negative: their bits are in the same order.
    let key = |i: usize| Reverse((strength[i].to_bits(), i));
    let mut heap: BinaryHeap<_> = (0..mask.on.len()).filter(|i| mask.on[*i] == 1).map(key).collect();
    while let Some(Reverse((_, index))) = heap.pop() {
        let near = mask.neighbourhood(index);
        let others = near.iter().filter(|on| **on).count() - usize::from(near[13]);
        if mask.on[index] == 0 || others < 2 || !is_simple(&near) {
            continue;
        }
        mask.on[index] = 0;
        // They may have become simple.
        heap.extend(mask.around(index).filter(|n| mask.on[*n] == 1).map(key));
    }
}

impl Mask {
    /// The 26 neighbours of a voxel that is not on the rim.
    pub fn around(&self, index: usize) -> impl Iterator<Item = usize> + use<> {
        let stride = self.stride;
        (0..27).filter(|n| *n != 13).map(move |n| place(index, n, stride))
    }

    fn neighbourhood(&self, index: usize) -> [bool; 27] {
        std::array::from_fn(|n| self.on[place(index, n, self.stride)] == 1)
    }
}

/// The n-th of the 27 voxels around one, itself the 13th.
const fn place(index: usize, n: usize, stride: [usize; 3]) -> usize {
    let back = stride[0] + stride[1] + stride[2];
    index + n % 3 * stride[0] + n / 3 % 3 * stride[1] + n / 9 * stride[2] - back
}

/// Whether taking away the middle changes no topology.
fn is_simple(near: &[bool; 27]) -> bool {
    let mask = |n: usize| n != 13 && near[n];
    // Of the rest, only the eighteen that share a face or an edge with the middle.
    let rest = |n: usize| n != 13 && !near[n] && faces(n, 13) <= 2;
    components(mask, |a, b| CORNER[a].iter().zip(CORNER[b]).all(|(x, y)| x.abs_diff(y) <= 1), |_| true) == 1
        && components(rest, |a, b| faces(a, b) == 1, |n| faces(n, 13) == 1) == 1
}

/// Where the n-th of the 27 lies.
const CORNER: [[u8; 3]; 27] = {
    let mut of = [[0; 3]; 27];
    let mut n = 0;
    while n < 27 {
        of[n] = [(n % 3) as u8, (n / 3 % 3) as u8, (n / 9) as u8];
        n += 1;
    }
    of
};

/// Faces that a way from one to the other crosses.
fn faces(a: usize, b: usize) -> u8 {
    (0..3).map(|axis| CORNER[a][axis].abs_diff(CORNER[b][axis])).sum()
}

/// Connected components that hold one that counts.
fn components(
    part: impl Fn(usize) -> bool,
    touch: impl Fn(usize, usize) -> bool,
    counts: impl Fn(usize) -> bool,
) -> usize {
    let mut seen = [false; 27];
    let mut found = 0;
    for start in 0..27 {
        if seen[start] || !part(start) || !counts(start) {
            continue;
        }
        found += 1;
        seen[start] = true;
        let mut next = [0; 27];
        let mut waiting = 1;
        next[0] = start;
        while waiting > 0 {
            waiting -= 1;
            let here = next[waiting];
            for (n, seen) in seen.iter_mut().enumerate() {
                if !*seen && part(n) && touch(here, n) {
                    *seen = true;
                    next[waiting] = n;
                    waiting += 1;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::phantom::{Phantom, affine};
    use super::*;

    fn near(on: &[usize]) -> [bool; 27] {
        std::array::from_fn(|n| n == 13 || on.contains(&n))
    }

    #[test]
    fn simple_voxels_are_told_from_those_that_hold_things_together() {
        // The end of a line; a step on a surface.
        assert!(
            is_simple(&near(&[12])) && is_simple(&near(&[9, 10, 11, 12, 14, 15, 16, 17, 0, 1, 2, 3, 4, 5, 6, 7, 8]))
        );
        // The middle of a line, of a plate, of a solid; nothing around.
        assert!(!is_simple(&near(&[12, 14])) && !is_simple(&near(&[])));
        assert!(!is_simple(&near(&[9, 10, 11, 12, 14, 15, 16, 17])) && !is_simple(&[true; 27]));
    }

    #[test]
    fn a_bar_becomes_a_line_along_its_crest_and_a_ring_stays_a_ring() {
        let picture = Picture::new(&Phantom::new([24, 15, 15], affine([0.5; 3])).volume(), None).expect("sound");
        let crest = |i: usize| {
            let [_, j, k] = picture.voxel(i).map(|v| v as f32);
            10.0 - (j - 7.0).abs() - (k - 7.0).abs()
        };
        let strength: Vec<f32> = (0..picture.brightness.len()).map(crest).collect();
        let mut bar = mask(&picture, |i| strength[i] > 6.5, |i| strength[i] > 9.5);
        thin(&mut bar, &strength);
        let left: Vec<usize> = (0..bar.on.len()).filter(|i| bar.on[*i] == 1).collect();
        assert!((18..=22).contains(&left.len()), "{} voxels", left.len());
        assert!(left.iter().all(|i| strength[*i] > 9.5));
        let round = |i: usize| {
            let [i, j, k] = picture.voxel(i).map(|v| v as f64);
            ((i - 11.0).hypot(j - 7.0) - 4.0).hypot(k - 7.0)
        };
        let strength: Vec<f32> = (0..strength.len()).map(|i| (10.0 - round(i)).max(0.0) as f32).collect();
        let mut ring = mask(&picture, |i| round(i) < 2.0, |i| round(i) < 0.5);
        thin(&mut ring, &strength);
        let neighbours = |i: &usize| ring.around(*i).filter(|n| ring.on[*n] == 1).count();
        let left: Vec<usize> = (0..ring.on.len()).filter(|i| ring.on[*i] == 1).collect();
        assert!(left.len() > 15 && left.iter().all(|i| neighbours(i) == 2), "{} voxels", left.len());
    }
}
