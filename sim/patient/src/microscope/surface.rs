//! The tissue's surface, smooth: voxels are 1 mm, cut tissue has no steps.
//!
//! Solidity is averaged over 3 × 3 × 3 voxels (weights 1-2-1 on each axis) and the surface is where its
//! trilinear value is one half: a flat face stays where it is, corners are rounded by half a voxel, and a
//! crumb of one voxel is not shown. Colour, glow and normal are interpolated between the *solid* voxels
//! around a place, so that what was removed colours nothing. **Units:** voxels, v spanning v to v + 1.
//! **Allocation:** 14 MB, at the start. **Determinism:** places that are tried lie at fixed depths, so what
//! a ray finds does not depend on how much open space it could skip.

use super::bend::{Bend, KNOT_MM, KNOTS};
use super::rays::Rays;
use crate::truth::{SOLID, TRUTH_EDGE};
use nalgebra::Vector3;

const EDGE: usize = TRUTH_EDGE;
const STRIDE: [usize; 3] = [1, EDGE, EDGE * EDGE];
/// Voxels from the first of eight corners to the last.
const CORNERS: usize = 2 + EDGE + EDGE * EDGE;
/// Where they lie.
pub(super) const CORNER: [usize; 8] = {
    let z = EDGE * EDGE;
    [0, 1, EDGE, EDGE + 1, z, z + 1, z + EDGE, z + EDGE + 1]
};
/// Solidity of solid surroundings.
const FULL: u8 = 64;
/// Distance between tried depths, mm: no deeper than a voxel, which is what a ray may cut unseen.
const TRY_MM: f32 = 1.0;
/// Deepest try below the first knot: beyond the grid's diagonal.
const TRIES: usize = 200;
/// Edge of a block of voxels whose distance from anything solid is kept, voxels.
const BLOCK: usize = 2;
const BLOCKS: usize = EDGE / BLOCK;
/// Distances are kept up to that many blocks.
const FAR: u8 = 12;
/// Voxels that may open before those distances are computed anew; until then they are only too small.
const STALE: usize = 256;

/// A voxel of the surface, packed: eight of them are read a pixel.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    solid: bool,
    /// Out of the tissue, by differences of solidity.
    out: [i8; 3],
    colour: [u8; 3],
    glow: u8,
}

/// Colour of a voxel, and how much it can glow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stain {
    pub colour: [u8; 3],
    pub glow: u8,
}

/// What lies at a place of the surface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub colour: [f32; 3],
    pub glow: f32,
    /// Out of the tissue, of unit length.
    pub normal: Vector3<f32>,
    /// The nearest solid voxel.
    pub voxel: u32,
    /// The eight voxels around the place: their first, and the weight of each that is solid; together 1.
    pub first: u32,
    pub weights: [f32; 8],
}

/// Where a ray meets the surface.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub depth: f32,
    /// At rest.
    pub place: Vector3<f32>,
}

pub(super) struct Surface {
    /// Solid share of each voxel's surroundings, of 64; apart from the rest, to stay in the cache.
    level: Vec<u8>,
    cells: Vec<Cell>,
    /// Of every block: distance in blocks, along its farthest axis, from one that is not open throughout.
    free: Vec<u8>,
    opened: usize,
}

impl Surface {
    pub(super) fn new(state: &[u8], stain: impl Fn(usize) -> Stain) -> Self {
        let mut surface = Self {
            level: fill(state),
            cells: state.iter().map(|s| Cell { solid: *s == SOLID, ..Cell::default() }).collect(),
            free: vec![0; BLOCKS.pow(3)],
            opened: 0,
        };
        for index in 0..state.len() {
            surface.cells[index].out = surface.outward(index);
        }
        surface.stain(stain);
        surface.measure();
        surface
    }

    /// Colours every voxel anew.
    pub(super) fn stain(&mut self, stain: impl Fn(usize) -> Stain) {
        for (index, cell) in self.cells.iter_mut().enumerate() {
            let Stain { colour, glow } = if cell.solid { stain(index) } else { Stain::default() };
            (cell.colour, cell.glow) = (colour, glow);
        }
    }

    /// Opens voxels.
    pub(super) fn open(&mut self, voxels: &[u32]) {
        let around = |index: usize, reach: usize, at: &mut dyn FnMut(usize, [usize; 3])| {
            let v = [index % EDGE, (index / EDGE) % EDGE, index / STRIDE[2]];
            let span = |a: usize| v[a].saturating_sub(reach)..(v[a] + reach + 1).min(EDGE);
            for k in span(2) {
                for j in span(1) {
                    for i in span(0) {
                        let w = [i, j, k];
                        at(i + EDGE * (j + EDGE * k), std::array::from_fn(|a| w[a].abs_diff(v[a])));
                    }
                }
            }
        };
        for index in voxels {
            let index = *index as usize;
            if !self.cells[index].solid {
                continue;
            }
            self.cells[index] = Cell { out: self.cells[index].out, ..Cell::default() };
            around(index, 1, &mut |at, off| {
                let weight = off.iter().map(|o| 2 - *o as u8).product::<u8>();
                self.level[at] = self.level[at].saturating_sub(weight);
            });
            self.opened += 1;
        }
        for index in voxels {
            around(*index as usize, 2, &mut |at, _| self.cells[at].out = self.outward(at));
        }
        if self.opened > STALE {
            self.opened = 0;
            self.measure();
        }
    }

    fn outward(&self, index: usize) -> [i8; 3] {
        let level = |i: usize| self.level[i] as i8;
        std::array::from_fn(|a| {
            let c = (index / STRIDE[a]) % EDGE;
            let below = if c > 0 { index - STRIDE[a] } else { index };
            let above = if c + 1 < EDGE { index + STRIDE[a] } else { index };
            level(below) - level(above)
        })
    }

    /// Distances of all blocks, by a widening box along each axis in turn.
    fn measure(&mut self) {
        let mut open = vec![FAR; BLOCKS.pow(3)];
        for (index, level) in self.level.iter().enumerate() {
            if *level > 0 {
                let v = [index % EDGE, (index / EDGE) % EDGE, index / STRIDE[2]].map(|c| c / BLOCK);
                open[v[0] + BLOCKS * (v[1] + BLOCKS * v[2])] = 0;
            }
        }
        self.free = chessboard(open);
    }

    /// How far from a place nothing solid is, mm; a lower bound.
    #[inline]
    fn clearance(&self, place: &Vector3<f32>) -> f32 {
        const END: f32 = EDGE as f32;
        let (x, y, z) = (place.x, place.y, place.z);
        if !(x >= 0.0 && y >= 0.0 && z >= 0.0 && x < END && y < END && z < END) {
            // Outside the grid: to its nearest face.
            let out = |c: f32| (-c).max(c - END);
            return out(x).max(out(y)).max(out(z)).max(0.0);
        }
        // The place may lie at the block's edge, and so may what is solid.
        let [i, j, k] = [x as usize / BLOCK, y as usize / BLOCK, z as usize / BLOCK];
        f32::from(self.free[i + BLOCKS * (j + BLOCKS * k)].saturating_sub(1)) * BLOCK as f32
    }

    /// Trilinear solidity, 0 to 1.
    #[inline]
    fn level(&self, place: &Vector3<f32>) -> f32 {
        let Some((first, f)) = corner(place) else { return 0.0 };
        // One check of bounds for all eight.
        let at: &[u8; CORNERS] = match self.level[first..].first_chunk() {
            Some(at) => at,
            None => return 0.0,
        };
        let line = |a: u8, b: u8| f32::from(a) + f.x * (f32::from(b) - f32::from(a));
        let near = line(at[0], at[1]);
        let near = near + f.y * (line(at[EDGE], at[EDGE + 1]) - near);
        let far = line(at[STRIDE[2]], at[STRIDE[2] + 1]);
        let far = far + f.y * (line(at[STRIDE[2] + EDGE], at[STRIDE[2] + EDGE + 1]) - far);
        (near + f.z * (far - near)) / f32::from(FULL)
    }

    /// The first place of a ray where solidity passes one half, from a depth on.
    pub(super) fn meet(&self, rays: &Rays, pixel: [usize; 2], ray: &Vector3<f64>, from: f64) -> Option<Hit> {
        let bend = &rays.bend;
        let start = (rays.eye + ray * bend.first_mm).cast::<f32>();
        let path = Path { start, ray: ray.cast(), off: (!bend.still()).then(|| bend.along(pixel.map(|p| p as f64))) };
        // In f32 these depths are exact: the same depths are tried whatever was skipped.
        let mut n = (((from - bend.first_mm) as f32 / TRY_MM).max(0.0)) as usize;
        let mut before: Option<(usize, f32)> = None;
        let longest = path.ray.norm() * 1.1;
        while n < TRIES {
            let place = path.at(n as f32 * TRY_MM);
            let clear = self.clearance(&place);
            if clear >= 2.0 {
                n += ((clear / longest / TRY_MM) as usize).max(1);
                before = None;
                continue;
            }
            let level = self.level(&place);
            if level >= 0.5 {
                return Some(self.refine(&path, n, level, before.filter(|(m, _)| m + 1 == n).map(|(_, l)| l), bend));
            }
            before = Some((n, level));
            n += 1;
        }
        None
    }

    /// Between the last try in the open and the first in tissue: two steps of the false position.
    fn refine(&self, path: &Path, n: usize, level: f32, before: Option<f32>, bend: &Bend) -> Hit {
        let mut inside = (n as f32 * TRY_MM, level);
        let start = (inside.0 - TRY_MM).max(0.0);
        let mut outside = (start, before.unwrap_or_else(|| self.level(&path.at(start))));
        let between = |a: (f32, f32), b: (f32, f32)| {
            let share = if b.1 > a.1 { ((0.5 - a.1) / (b.1 - a.1)).clamp(0.0, 1.0) } else { 1.0 };
            a.0 + (b.0 - a.0) * share
        };
        let depth = between(outside, inside);
        let level = self.level(&path.at(depth));
        if level < 0.5 {
            outside = (depth, level)
        } else {
            inside = (depth, level)
        }
        let depth = between(outside, inside);
        Hit { depth: bend.first_mm as f32 + depth, place: path.at(depth) }
    }

    /// The solid voxel nearest to a place of the surface.
    #[inline]
    pub(super) fn nearest(&self, place: &Vector3<f32>) -> Option<u32> {
        let (first, f) = corner(place)?;
        let (mut best, mut voxel) = (0.0, None);
        let sides = [[1.0 - f.x, f.x], [1.0 - f.y, f.y], [1.0 - f.z, f.z]];
        for n in 0..8 {
            let index = first + CORNER[n];
            let w = sides[0][n & 1] * sides[1][n >> 1 & 1] * sides[2][n >> 2] + 1e-3;
            if self.cells[index].solid && w > best {
                (best, voxel) = (w, Some(index as u32));
            }
        }
        voxel
    }

    /// What lies there.
    #[inline]
    pub(super) fn spot(&self, place: &Vector3<f32>) -> Option<Spot> {
        let (first, f) = corner(place)?;
        let cells: &[Cell; CORNERS] = self.cells[first..].first_chunk()?;
        let (mut colour, mut glow, mut out) = ([0.0_f32; 3], 0.0, [0.0_f32; 3]);
        let (mut sum, mut best, mut voxel) = (0.0, 0.0, 0);
        let mut weights = [0.0_f32; 8];
        let sides = [[1.0 - f.x, f.x], [1.0 - f.y, f.y], [1.0 - f.z, f.z]];
        for n in 0..8 {
            let at = CORNER[n];
            let w = sides[0][n & 1] * sides[1][n >> 1 & 1] * sides[2][n >> 2];
            let cell = &cells[at];
            out[0] += f32::from(cell.out[0]) * w;
            out[1] += f32::from(cell.out[1]) * w;
            out[2] += f32::from(cell.out[2]) * w;
            if !cell.solid {
                continue;
            }
            // A voxel at no distance weighs something still, lest a place has no colour.
            let w = w + 1e-3;
            weights[n] = w;
            sum += w;
            colour[0] += f32::from(cell.colour[0]) * w;
            colour[1] += f32::from(cell.colour[1]) * w;
            colour[2] += f32::from(cell.colour[2]) * w;
            glow += w * f32::from(cell.glow);
            if w > best {
                (best, voxel) = (w, (first + at) as u32);
            }
        }
        if best <= 0.0 {
            return None;
        }
        let scale = 1.0 / sum;
        weights.iter_mut().for_each(|w| *w *= scale);
        let normal = Vector3::from(out).try_normalize(1e-3).unwrap_or_else(Vector3::z);
        let colour = [colour[0] * scale, colour[1] * scale, colour[2] * scale];
        Some(Spot { colour, glow: glow * scale / 255.0, normal, voxel, first: first as u32, weights })
    }

    /// How open the surroundings are, 0 to 1: solidity where the normal points.
    pub(super) fn openness(&self, place: &Vector3<f32>, normal: &Vector3<f32>) -> f32 {
        let near = self.level(&(place + normal * 1.6));
        let far = self.level(&(place + normal * 4.0));
        1.0 - 0.55 * near - 0.35 * far
    }
}

/// Solidity by three passes of 1-2-1; outside the grid all is open.
fn fill(state: &[u8]) -> Vec<u8> {
    let mut sum: Vec<u8> = state.iter().map(|s| u8::from(*s == SOLID)).collect();
    for stride in STRIDE {
        let from = sum.clone();
        for (index, to) in sum.iter_mut().enumerate() {
            let c = (index / stride) % EDGE;
            let below = if c > 0 { from[index - stride] } else { 0 };
            let above = if c + 1 < EDGE { from[index + stride] } else { 0 };
            *to = below + 2 * from[index] + above;
        }
    }
    sum
}

/// The voxel indices of a place's eight corners, as their first, and the fractions between them.
#[inline]
fn corner(place: &Vector3<f32>) -> Option<(usize, Vector3<f32>)> {
    const END: f32 = (EDGE - 1) as f32;
    let (x, y, z) = (place.x - 0.5, place.y - 0.5, place.z - 0.5);
    if !(x >= 0.0 && y >= 0.0 && z >= 0.0 && x < END && y < END && z < END) {
        return None;
    }
    let (i, j, k) = (x as usize, y as usize, z as usize);
    Some((i + EDGE * (j + EDGE * k), Vector3::new(x - i as f32, y - j as f32, z - k as f32)))
}

/// A ray at rest.
struct Path {
    start: Vector3<f32>,
    ray: Vector3<f32>,
    off: Option<[Vector3<f32>; KNOTS]>,
}

impl Path {
    /// At a depth below the first knot.
    #[inline]
    fn at(&self, depth: f32) -> Vector3<f32> {
        let place = self.start + self.ray * depth;
        let Some(off) = &self.off else { return place };
        let knot = (depth / KNOT_MM as f32).min((KNOTS - 1) as f32);
        let base = (knot as usize).min(KNOTS - 2);
        let t = knot - base as f32;
        place + off[base] * (1.0 - t) + off[base + 1] * t
    }
}

/// Distance of every block from the nearest that is 0, along the farthest axis; at most what it was.
fn chessboard(mut field: Vec<u8>) -> Vec<u8> {
    // The chessboard distance is the least n whose box of n blocks around holds a zero: along each axis in
    // turn, min over steps s of max(s, value there).
    for stride in [1, BLOCKS, BLOCKS * BLOCKS] {
        let from = field.clone();
        for (index, to) in field.iter_mut().enumerate() {
            let c = (index / stride) % BLOCKS;
            for s in 1..usize::from(FAR) {
                if usize::from(*to) <= s {
                    break;
                }
                let below = if c >= s { from[index - s * stride] } else { FAR };
                let above = if c + s < BLOCKS { from[index + s * stride] } else { FAR };
                *to = (*to).min(below.min(above).max(s as u8));
            }
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::{OPEN, REMOVED};

    fn floor(height: impl Fn(usize, usize) -> usize) -> Vec<u8> {
        let solid = |i: usize| i / STRIDE[2] >= height(i % EDGE, (i / EDGE) % EDGE);
        (0..EDGE.pow(3)).map(|i| if solid(i) { SOLID } else { OPEN }).collect()
    }

    #[test]
    fn blocks_know_how_far_they_are_from_anything_solid() {
        let mut field = vec![FAR; BLOCKS.pow(3)];
        let zeros = [[3, 4, 5], [30, 31, 40], [55, 0, 7]];
        for z in zeros {
            field[z[0] + BLOCKS * (z[1] + BLOCKS * z[2])] = 0;
        }
        let found = chessboard(field);
        for (index, d) in found.iter().enumerate() {
            let v = [index % BLOCKS, (index / BLOCKS) % BLOCKS, index / BLOCKS / BLOCKS];
            let from = |z: &[usize; 3]| (0..3).map(|a| z[a].abs_diff(v[a])).max().unwrap_or(0);
            let nearest = zeros.iter().map(from).min().unwrap_or(0).min(usize::from(FAR));
            assert_eq!(usize::from(*d), nearest, "{v:?}");
        }
    }

    #[test]
    fn a_flat_face_stays_where_it_is_and_faces_up() {
        let surface = Surface::new(&floor(|_, _| 40), |_| Stain { colour: [200, 100, 50], glow: 255 });
        for z in [39.9_f32, 40.0, 40.1] {
            let level = surface.level(&Vector3::new(50.2, 60.7, z));
            assert!((level - (0.5 + (z - 40.0) * 0.5)).abs() < 1e-5, "{z}: {level}");
        }
        let spot = surface.spot(&Vector3::new(50.2, 60.7, 40.0)).expect("a surface");
        assert!((spot.normal + Vector3::z()).norm() < 1e-6);
        assert!((spot.colour[1] - 100.0).abs() < 1e-3 && (spot.glow - 1.0).abs() < 1e-5);
        assert_eq!(spot.voxel as usize / STRIDE[2], 40);
    }

    #[test]
    fn a_surface_kept_up_to_date_is_the_surface_made_anew() {
        let mut state = floor(|x, y| 40 + (x / 3 + y / 4) % 5);
        let stain = |i: usize| Stain { colour: [(i % 251) as u8, 7, 9], glow: (i % 13) as u8 };
        let mut kept = Surface::new(&state, stain);
        let removed: Vec<u32> = (0..STRIDE[2]).filter(|i| i % 11 < 4).map(|i| (i + 44 * STRIDE[2]) as u32).collect();
        for chunk in removed.chunks(100) {
            kept.open(chunk);
        }
        removed.iter().for_each(|i| state[*i as usize] = REMOVED);
        let anew = Surface::new(&state, stain);
        for (index, (a, b)) in kept.cells.iter().zip(&anew.cells).enumerate() {
            assert_eq!((a.solid, a.out, a.colour, a.glow), (b.solid, b.out, b.colour, b.glow), "{index}");
        }
        assert!(kept.level == anew.level);
        assert!(kept.free.iter().zip(&anew.free).all(|(a, b)| a <= b), "distances are lower bounds");
    }
}
