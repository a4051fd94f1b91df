//! Deformable registration of two scans, one of which may have a cavity: cubes that are found pull, an elastic lattice
//! holds together.
//!
//! ```text
//!  4 mm   coarse cubes, far                     every round: find cubes of the fixed scan in the moving one as it is laid so far,
//!  2 mm   cubes, then what has no counterpart   believe those that neighbours bear out, solve the solid with robust weights
//!  1 mm   fine cubes                            last: take folds out, and leave parts out in turn to see the error
//! ```
//! **Cavity and air:** voxels whose intensity the other scan does not explain ([`changes`]) are left out of every cube; cells there
//! hardly resist. **Skull:** it stays while the brain leaves it; a cell's stiffness falls as it is strained
//! beyond [`TEARS`], so that a gap may open between them (the line process of Black and Rangarajan, IJCV 19, 1996, as Geman
//! and McClure's weights). **Folds** are smoothed out at the end until no cell's corner shrinks below
//! [`field::SHRINKS_LEAST`]: the map can then be inverted; it is free-form, not a flow.
//! **Error:** at nodes, by cross-validation, one half of the parts predicting where cubes of the other lie; by how few cubes were found
//! around; and by strain ([`FOUND`], [`ALONE`], [`BENT`]). **Determinism:** whatever the number of threads.
//! **Not protected against:** tissue that has no contrast is carried along by its surroundings; what was resected has no place in the
//! fixed scan, and where the map takes it means nothing.

use super::blocks::{self, Search};
use super::changes::{changes, finer};
use super::elastic::Solid;
use super::field::{self, Displacement};
use super::picture::Picture;
use super::rigid::{Rigid, tukey};
use super::{Layers, Unmatched};
use bregma_core::grid::Grid;
use nalgebra::{Matrix3, Point3, Vector3};

/// Nodes are so many voxels of the finest picture apart.
const NODE_VOXELS: usize = 5;
/// Strain that a cell resists as one standard deviation.
const STRAIN: f64 = 0.06;
/// Strain beyond which a cell gives way, as where the brain leaves the skull.
const TEARS: f64 = 0.08;
/// Stiffness of a cell without a counterpart, as a share.
const CAVITY: f64 = 0.05;
/// Solutions of a round, each with weights from the one before.
const SOLUTIONS: usize = 4;
/// Of the neighbours of a cube that were found, at least that share must lie like it.
const BORNE_OUT: f64 = 0.3;
/// Like it: within so much of a node's distance.
const ALIKE: f64 = 0.4;
/// Nodes that are left out together, along each axis, to see the error.
const PART_NODES: usize = 3;
/// Nodes around a node whose residuals say its error.
const NEARBY_NODES: usize = 3;
/// Of what cubes are off when their part is left out: a node's error where all around it were found, and what is added where none was;
/// and of the distance between nodes, for a strain of one. Fitted on eleven simulated removals of the home world.
const FOUND: f32 = 0.4;
const ALONE: f32 = 2.5;
const BENT: f64 = 0.2;
/// Found cubes that hold the lattice, at least.
const FOUND_LEAST: usize = 200;

/// A deformable registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Deformable {
    /// Where points of one scan are in the other.
    pub displacement: Displacement,
    /// Least factor by which a volume changes from the fixed scan to the moving one.
    pub shrinks_least: f64,
    /// Volume of the fixed scan that the moving one does not explain, mL: cavity, air, fluid where tissue was.
    pub changed_ml: f64,
    /// Cubes that hold it.
    pub found: usize,
    /// Normalised mutual information at 2 mm after rigid registration.
    pub nmi_rigid: f64,
    /// The same after this.
    pub nmi: f64,
}

struct Round {
    mm: usize,
    /// Every so many nodes.
    stride: usize,
    half: usize,
    reach: usize,
    /// Tukey's weights end so far from the solution, mm.
    believed_mm: f64,
}

const ROUNDS: [Round; 7] = [
    Round { mm: 4, stride: 2, half: 3, reach: 5, believed_mm: 8.0 },
    Round { mm: 4, stride: 2, half: 2, reach: 3, believed_mm: 5.0 },
    Round { mm: 2, stride: 2, half: 3, reach: 3, believed_mm: 3.0 },
    Round { mm: 2, stride: 1, half: 2, reach: 3, believed_mm: 2.0 },
    Round { mm: 2, stride: 1, half: 2, reach: 3, believed_mm: 2.0 },
    Round { mm: 1, stride: 1, half: 3, reach: 2, believed_mm: 1.5 },
    Round { mm: 1, stride: 1, half: 3, reach: 2, believed_mm: 1.5 },
];

/// How often `done` is called.
pub(super) const STEPS: usize = ROUNDS.len() + 1;

/// A cube that was found, on a node.
#[derive(Debug, Clone, Copy)]
struct Seen {
    node: usize,
    /// How far what is at the node lies from it, mm.
    to: Vector3<f64>,
    information: Matrix3<f64>,
    /// On the direction that is held best.
    most: f64,
}

impl Seen {
    /// How far a solution is off it, along the directions that it holds, mm.
    fn off(&self, moved: &Vector3<f64>) -> f64 {
        let e = self.to - moved;
        (e.dot(&(self.information * e)) / self.most.max(1e-9)).max(0.0).sqrt()
    }
}

/// Registers; `done` hears of each of [`STEPS`] steps.
///
/// # Errors
/// [`Unmatched::Few`] where too few cubes are found to hold anything.
pub(super) fn register(
    fixed: &Layers,
    moving: &Layers,
    rigid: &Rigid,
    done: &(dyn Fn() + Sync),
) -> Result<Deformable, Unmatched> {
    let fine = &fixed.at_mm(1).grid;
    let lattice = Grid {
        dims: fine.dims.map(|n| (n - 1).div_ceil(NODE_VOXELS).max(1) + 1),
        spacing_mm: NODE_VOXELS as f64 * fine.spacing_mm,
        origin: fine.origin,
    };
    let mut map = Displacement::rigid(lattice, rigid.fixed_from_moving.inverse());
    let nmi_rigid = similarity(fixed, moving, &map)?;
    let mut solid = Solid::new(lattice);
    let mut changed: Vec<bool> = Vec::new();
    let (mut seen, mut weights) = (Vec::new(), Vec::new());
    for round in &ROUNDS {
        let (picture, other) = (fixed.at_mm(round.mm), moving.at_mm(round.mm));
        if round.mm < 4 {
            let coarse = fixed.at_mm(2);
            changed = changes(coarse, &lay(coarse, moving.at_mm(2), &map));
        }
        let left_out = match round.mm {
            1 => finer(&changed, &fixed.at_mm(2).grid, &picture.grid),
            _ => changed.clone(),
        };
        let search = Search { half: round.half, reach: round.reach, alike: fixed.modality == moving.modality };
        seen = look(picture, &lay(picture, other, &map), &left_out, &map, round.stride, search);
        seen = borne_out(&lattice, &seen, round.stride);
        if seen.len() < FOUND_LEAST {
            return Err(Unmatched::Few { found: seen.len(), least: FOUND_LEAST });
        }
        let soft = softness(&lattice, &changed, &fixed.at_mm(2).grid);
        weights = settle(&mut solid, &soft, &seen, round.believed_mm, &mut map.moved);
        done();
    }
    let mut held = vec![false; lattice.len()];
    seen.iter().zip(&weights).filter(|(_, w)| **w > 0.0).for_each(|(s, _)| held[s.node] = true);
    map.error_mm = errors(&solid, &seen, &weights, &held, &map.moved);
    let shrinks_least = field::unfold(&mut map, &held);
    let nmi = similarity(fixed, moving, &map)?;
    done();
    let changed_ml = changed.iter().filter(|c| **c).count() as f64 * fixed.at_mm(2).grid.voxel_ml();
    Ok(Deformable { displacement: map, shrinks_least, changed_ml, found: seen.len(), nmi_rigid, nmi })
}

/// Normalised mutual information at 2 mm.
fn similarity(fixed: &Layers, moving: &Layers, map: &Displacement) -> Result<f64, Unmatched> {
    super::similarity::of(fixed.at_mm(2), &lay(fixed.at_mm(2), moving.at_mm(2), map)).ok_or(Unmatched::Flat)
}

/// The moving picture where the fixed one's voxels are.
fn lay(fixed: &Picture, moving: &Picture, map: &Displacement) -> Picture {
    let mut laid = Picture { grid: fixed.grid, data: vec![0.0; fixed.grid.len()] };
    let step = Vector3::x() * fixed.grid.spacing_mm;
    laid.fill_rows(|first, row| {
        for (i, value) in row.iter_mut().enumerate() {
            let at: Point3<f64> = first + step * i as f64;
            *value = moving.at(&map.moving(&at));
        }
    });
    laid
}

/// Cubes about nodes, found in the picture as it is laid.
fn look(
    picture: &Picture,
    laid: &Picture,
    left_out: &[bool],
    map: &Displacement,
    stride: usize,
    search: Search,
) -> Vec<Seen> {
    let lattice = &map.lattice;
    let (mut nodes, mut centres) = (Vec::new(), Vec::new());
    for node in 0..lattice.len() {
        let at = lattice.voxel(node);
        if at.iter().any(|c| c % stride > 0) {
            continue;
        }
        let Some(voxel) = picture.grid.containing(&lattice.centre(at)) else { continue };
        if left_out.get(picture.grid.index(voxel)) != Some(&true) {
            nodes.push(node);
            centres.push(voxel);
        }
    }
    let (matches, _) = blocks::find(picture, laid, left_out, &centres, search);
    let seen = matches.iter().map(|m| {
        // The laid picture shows at a place what the map takes it to.
        let shown = picture.grid.centre(centres[m.index]) + m.shift;
        let most = m.information.symmetric_eigenvalues().max();
        Seen { node: nodes[m.index], to: m.shift + map.at(&shown), information: m.information, most }
    });
    seen.collect()
}

/// Those that enough of their found neighbours lie like; a cube with fewer than three found neighbours is not.
fn borne_out(lattice: &Grid, seen: &[Seen], stride: usize) -> Vec<Seen> {
    let mut of_node = vec![usize::MAX; lattice.len()];
    seen.iter().enumerate().for_each(|(i, s)| of_node[s.node] = i);
    let alike_mm = ALIKE * lattice.spacing_mm * stride as f64;
    let kept = seen.iter().filter(|s| {
        let at = lattice.voxel(s.node);
        let (mut near, mut alike) = (0_usize, 0_usize);
        for n in 0..27_usize {
            let to: [usize; 3] = [n % 3, n / 3 % 3, n / 9].map(|o| o.wrapping_sub(1).wrapping_mul(stride)).map(|o| o);
            let to: [usize; 3] = std::array::from_fn(|a| at[a].wrapping_add(to[a]));
            if n == 13 || (0..3).any(|a| to[a] >= lattice.dims[a]) {
                continue;
            }
            if let Some(other) = seen.get(of_node[lattice.index(to)]) {
                near += 1;
                alike += usize::from(s.off(&other.to) < alike_mm);
            }
        }
        near >= 3 && alike as f64 >= BORNE_OUT * near as f64
    });
    kept.copied().collect()
}

/// Of every cell: 1, or less where the moving scan does not explain the fixed one.
fn softness(lattice: &Grid, changed: &[bool], grid: &Grid) -> Vec<f64> {
    let [nx, ny, nz] = lattice.dims.map(|n| n - 1);
    let soft = (0..nx * ny * nz).map(|c| {
        let at = [c % nx, c / nx % ny, c / (nx * ny)];
        let middle = lattice.centre(at) + Vector3::repeat(0.5 * lattice.spacing_mm);
        let changed = grid.containing(&middle).and_then(|v| changed.get(grid.index(v)));
        if changed == Some(&true) { CAVITY } else { 1.0 }
    });
    soft.collect()
}

/// Solves with robust weights, which it returns for every cube.
fn settle(solid: &mut Solid, soft: &[f64], seen: &[Seen], believed_mm: f64, moved: &mut [Vector3<f64>]) -> Vec<f64> {
    let unit = (STRAIN * solid.spacing_mm()).powi(-2);
    let mut reach = 2.0 * believed_mm;
    let mut weights = Vec::new();
    for _ in 0..SOLUTIONS {
        for (cell, soft) in soft.iter().enumerate() {
            let strain = solid.strain_squared(cell, moved) / (TEARS * TEARS);
            solid.stiffness[cell] = unit * soft / (1.0 + strain);
        }
        weights = seen.iter().map(|s| tukey(s.off(&moved[s.node]), reach)).collect::<Vec<_>>();
        solid.solve(&pulls(moved.len(), seen, &weights), moved);
        reach = (0.7 * reach).max(believed_mm);
    }
    weights
}

fn pulls(nodes: usize, seen: &[Seen], weights: &[f64]) -> Vec<(Matrix3<f64>, Vector3<f64>)> {
    let mut pulls = vec![(Matrix3::zeros(), Vector3::zeros()); nodes];
    for (s, w) in seen.iter().zip(weights) {
        pulls[s.node] = (s.information * *w, s.information * s.to * *w);
    }
    pulls
}

/// Of every node, mm. Three things make it: what cubes nearby were off when their part was left out, a share of which a node errs where
/// all its neighbours were found; how few of those were; and how much tissue is strained there, since straight lines between nodes, and
/// a stiffness that is a guess, both err by that.
fn errors(solid: &Solid, seen: &[Seen], weights: &[f64], held: &[bool], moved: &[Vector3<f64>]) -> Vec<f32> {
    let lattice = solid.lattice();
    let half = |node: usize| lattice.voxel(node).iter().map(|c| c / PART_NODES).sum::<usize>() % 2;
    let (mut squares, mut counts) = (vec![0.0_f32; moved.len()], vec![0.0_f32; moved.len()]);
    for left_out in 0..2 {
        let kept: Vec<f64> =
            seen.iter().zip(weights).map(|(s, w)| if half(s.node) == left_out { 0.0 } else { *w }).collect();
        let mut without = moved.to_vec();
        solid.solve(&pulls(moved.len(), seen, &kept), &mut without);
        for (s, w) in seen.iter().zip(weights).filter(|(s, _)| half(s.node) == left_out) {
            squares[s.node] = (w * s.off(&without[s.node]).powi(2)) as f32;
            counts[s.node] = *w as f32;
        }
    }
    let everywhere = squares.iter().sum::<f32>() / counts.iter().sum::<f32>().max(1e-6);
    let squares = super::changes::box_mean(&squares, lattice.dims, NEARBY_NODES);
    let counts = super::changes::box_mean(&counts, lattice.dims, NEARBY_NODES);
    // At least eight cubes' worth of what is nearby; the rest is as everywhere.
    let least = 8.0 / (2.0 * NEARBY_NODES as f32 + 1.0).powi(3);
    let found: Vec<f32> = held.iter().map(|h| f32::from(u8::from(*h))).collect();
    let found = super::changes::box_mean(&found, lattice.dims, 1);
    let mut strained = vec![0.0_f32; moved.len()];
    for cell in 0..solid.stiffness.len() {
        let strain = solid.strain_squared(cell, moved) as f32;
        solid.nodes(cell).iter().for_each(|node| strained[*node] = strained[*node].max(strain));
    }
    let bent_mm = (BENT * lattice.spacing_mm) as f32;
    let error = |i: usize| {
        let rest = (least - counts[i]).max(0.0);
        let left_out = (squares[i] + rest * everywhere) / (counts[i] + rest);
        let alone = ALONE * (1.0 - found[i]);
        (left_out * (FOUND * FOUND + alone * alone) + bent_mm * bent_mm * strained[i]).sqrt()
    };
    (0..moved.len()).map(error).collect()
}
