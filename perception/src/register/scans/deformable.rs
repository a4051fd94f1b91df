//! What tissue has moved between two scans, one of which may have a cavity: block matching pulls, an elastic lattice holds
//! together (O. Clatz et al., IEEE TMI 24, 2005).
//!
//! ```text
//!  for each round, coarse to fine:
//!    lay the moving scan onto the fixed one, as far as is known
//!    changes: where the two differ beyond what their intensities mean for each other: cavity, blood, air
//!    cubes beside these are found in the laid scan
//!    the lattice is pulled there; it gives way where it is strained most, where the brain leaves the skull
//! ```
//! **What it is not:** a diffeomorphism. The lattice is a free form held by elasticity, and where tissue tears from the skull
//! its cells may fold, in fluid and bone; [`Deformable::folded_ml`] says how much does. **Error:** near a cube that was found,
//! [`SEEN_MM`]; from there it grows with the way, by the strain that a cell resists. **Determinism:** as [`super`].

use super::Layers;
use super::blocks::{self, Match, Search};
use super::elastic::Solid;
use super::field::Displacement;
use super::picture::Picture;
use super::rigid::{Rigid, tukey};
use crate::distance::{DistanceTransform, surface_mm};
use bregma_core::grid::Grid;
use nalgebra::{Matrix3, Point3, Vector3};
use rayon::prelude::*;

/// Nodes are so many voxels of the finest picture apart.
const NODE_VOXELS: usize = 5;
/// Strain that a cell resists as one standard deviation.
const STRAIN: f64 = 0.06;
/// Strain beyond which a cell gives way, as where the brain leaves the skull.
const TEARS: f64 = 0.08;
/// A cell without counterpart is softer by that.
const CHANGED_STIFFNESS: f64 = 0.05;
/// How well one cube is believed at best, mm.
const BEST_MM: f64 = 0.15;
/// What is left of a motion where cubes were found, mm: measured on digital patients of the home world.
const SEEN_MM: f64 = 0.7;
/// By how much that grows with each millimetre from them.
const GROWS: f64 = 0.06;
/// Fits within a round, each believing less of what is far off.
const FITS: usize = 4;

/// One look at one resolution.
pub(super) struct Round {
    mm: usize,
    /// Every so many nodes are looked at.
    stride: usize,
    half: usize,
    reach: usize,
    /// Tukey's weights end there at last, mm.
    believed_mm: f64,
}

/// From coarse to fine.
pub(super) const ROUNDS: [Round; 5] = [
    Round { mm: 4, stride: 2, half: 3, reach: 3, believed_mm: 5.0 },
    Round { mm: 2, stride: 1, half: 3, reach: 3, believed_mm: 3.0 },
    Round { mm: 2, stride: 1, half: 3, reach: 2, believed_mm: 2.0 },
    Round { mm: 1, stride: 1, half: 4, reach: 2, believed_mm: 1.5 },
    Round { mm: 1, stride: 1, half: 4, reach: 2, believed_mm: 1.5 },
];

/// A deformable registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Deformable {
    /// Where points of one scan are in the other.
    pub displacement: Displacement,
    /// Volume of the lattice's cells that fold somewhere, mL.
    pub folded_ml: f64,
    /// Volume without a counterpart, mL: cavity, blood, air.
    pub changed_ml: f64,
    /// Of the cubes found in the last round, the share that is believed.
    pub believed: f64,
}

/// A node that was seen.
struct Pull {
    node: usize,
    /// Where it is, from its place, mm.
    to: Vector3<f64>,
    information: Matrix3<f64>,
}

/// Deforms; `done` hears of each round.
pub(super) fn deform(fixed: &Layers, moving: &Layers, rigid: &Rigid, done: &(dyn Fn() + Sync)) -> Deformable {
    let fine = &fixed.at_mm(1).grid;
    let lattice = Grid {
        dims: fine.dims.map(|n| (n - 1).div_ceil(NODE_VOXELS) + 1),
        spacing_mm: NODE_VOXELS as f64 * fine.spacing_mm,
        origin: fine.origin,
    };
    let mut field = Displacement {
        lattice,
        moving_from_fixed: rigid.fixed_from_moving.inverse(),
        moved: vec![Vector3::zeros(); lattice.len()],
        error_mm: vec![0.0; lattice.len()],
    };
    let mut solid = Solid::new(lattice);
    let alike = fixed.modality == moving.modality;
    let half_fine = fixed.at_mm(2);
    let mut changed = vec![false; half_fine.data.len()];
    let mut believed = Vec::new();
    let mut seen = 0;
    for (number, round) in ROUNDS.iter().enumerate() {
        let picture = fixed.at_mm(round.mm);
        let laid = lay(picture, moving.at_mm(round.mm), &field);
        let left_out = match round.mm {
            2 => {
                changed = changes(picture, &laid);
                changed.clone()
            }
            1 => finer(&changed, &half_fine.grid, &picture.grid),
            _ => Vec::new(),
        };
        let pulls = look(picture, &laid, &left_out, &field, round, alike);
        let soft = softness(&solid, &lattice, &half_fine.grid, &changed, number > 0);
        believed = pull(&mut solid, &soft, &pulls, &mut field.moved, round.believed_mm);
        seen = pulls.len();
        done();
    }
    field.error_mm = errors(&lattice, &believed);
    let ml = |voxels: usize, grid: &Grid| voxels as f64 * grid.spacing_mm.powi(3) / 1000.0;
    Deformable {
        folded_ml: ml(field.folded_cells(), &lattice),
        changed_ml: ml(changed.iter().filter(|c| **c).count(), &half_fine.grid),
        believed: believed.len() as f64 / seen.max(1) as f64,
        displacement: field,
    }
}

/// Where the nodes' cubes are.
fn look(
    picture: &Picture,
    laid: &Picture,
    left_out: &[bool],
    field: &Displacement,
    round: &Round,
    alike: bool,
) -> Vec<Pull> {
    let lattice = &field.lattice;
    let (mut nodes, mut centres) = (Vec::new(), Vec::new());
    for node in 0..lattice.len() {
        let at = lattice.voxel(node);
        if at.iter().any(|c| c % round.stride > 0) {
            continue;
        }
        let Some(voxel) = picture.grid.containing(&lattice.centre(at)) else { continue };
        if !left_out.get(picture.grid.index(voxel)).is_some_and(|l| *l) {
            nodes.push(node);
            centres.push(voxel);
        }
    }
    let search = Search { half: round.half, reach: round.reach, alike };
    let to_pull = |m: &Match| {
        let to = picture.grid.centre(centres[m.index]) + m.shift;
        let most = m.information.symmetric_eigenvalues().max().max(1e-9);
        let information = m.information * (BEST_MM.powi(-2) / most).min(1.0);
        Pull { node: nodes[m.index], to: m.shift + field.at(&to), information }
    };
    blocks::find(picture, laid, left_out, &centres, search).iter().map(to_pull).collect()
}

/// Of every cell, how stiff it is beside the others.
fn softness(solid: &Solid, lattice: &Grid, of: &Grid, changed: &[bool], known: bool) -> Vec<f64> {
    let cell = |cell: usize| {
        let nodes = solid.nodes(cell).map(|n| lattice.centre(lattice.voxel(n)));
        let middle = nalgebra::center(&nodes[0], &nodes[7]);
        let gone = known && of.containing(&middle).is_some_and(|v| changed[of.index(v)]);
        if gone { CHANGED_STIFFNESS } else { 1.0 }
    };
    (0..solid.stiffness.len()).map(cell).collect()
}

/// Pulls the lattice; the nodes that are believed in the end.
fn pull(solid: &mut Solid, soft: &[f64], pulls: &[Pull], moved: &mut [Vector3<f64>], believed_mm: f64) -> Vec<usize> {
    let spacing_mm = solid.spacing_mm();
    let unit = (STRAIN * spacing_mm).powi(-2);
    let mut reach = 2.0 * believed_mm;
    let mut believed = Vec::new();
    for _ in 0..FITS {
        let strains: Vec<f64> = (0..soft.len()).map(|cell| solid.strain_squared(cell, moved)).collect();
        for ((stiffness, soft), strain) in solid.stiffness.iter_mut().zip(soft).zip(strains) {
            *stiffness = unit * soft / (1.0 + strain / (TEARS * TEARS));
        }
        let mut on = vec![(Matrix3::zeros(), Vector3::zeros()); moved.len()];
        believed.clear();
        for Pull { node, to, information } in pulls {
            let e = to - moved[*node];
            let most = information.symmetric_eigenvalues().max().max(1e-9);
            let weight = tukey((e.dot(&(information * e)) / most).max(0.0).sqrt(), reach);
            if weight > 0.0 {
                believed.push(*node);
            }
            on[*node] = (information * weight, information * to * weight);
        }
        solid.solve(&on, moved);
        reach = (reach * 0.7).max(believed_mm);
    }
    believed
}

/// Of every node: what is left where cubes were believed, and more the farther from them.
fn errors(lattice: &Grid, believed: &[usize]) -> Vec<f32> {
    let mut seen = vec![0_u8; lattice.len()];
    believed.iter().for_each(|node| seen[*node] = 1);
    let mut squared = vec![0; lattice.len()];
    DistanceTransform::new(lattice.dims).signed(&seen, &mut squared);
    let error = |s: &i32| SEEN_MM + GROWS * surface_mm(*s, lattice.spacing_mm).clamp(0.0, 1e3);
    squared.iter().map(|s| error(s) as f32).collect()
}

/// A mask of a picture on that of half its spacing.
fn finer(mask: &[bool], coarse: &Grid, fine: &Grid) -> Vec<bool> {
    let at = |index: usize| {
        let voxel = fine.voxel(index).map(|c| c / 2);
        (0..3).all(|a| voxel[a] < coarse.dims[a]) && mask[coarse.index(voxel)]
    };
    (0..fine.len()).into_par_iter().map(at).collect()
}

/// The moving picture where the fixed one's voxels are.
fn lay(fixed: &Picture, moving: &Picture, field: &Displacement) -> Picture {
    let mut laid = Picture { grid: fixed.grid, data: vec![0.0; fixed.grid.len()] };
    let step = Vector3::x() * fixed.grid.spacing_mm;
    laid.fill_rows(|first, row| {
        for (i, value) in row.iter_mut().enumerate() {
            let at: Point3<f64> = first + step * i as f64;
            *value = moving.at(&field.moving(&at));
        }
    });
    laid
}

/// Bins of the laid picture's intensities, and of the fixed one's.
const ROWS: usize = 32;
const COLUMNS: usize = 64;
/// A voxel differs when it lies so many spreads from what is usual, and by that share of the range.
const SPREADS: f32 = 3.0;
const DIFFERS: f32 = 0.12;
/// Half the edge of the cube in which most voxels must differ, voxels.
const AROUND: usize = 2;
/// Most.
const MOST: f32 = 0.6;

/// Voxels without a counterpart: where most of what is around differs from what the laid picture's intensity usually means
/// in the fixed one.
fn changes(fixed: &Picture, laid: &Picture) -> Vec<bool> {
    let (Some((low, high)), Some((low_laid, high_laid))) = (fixed.range(), laid.range()) else {
        return vec![false; fixed.data.len()];
    };
    let bin = |value: f32, low: f32, high: f32, bins: usize| (value - low) / (high - low) * (bins - 1) as f32 + 0.5;
    let row = |v: f32| bin(v, low_laid, high_laid, ROWS) as usize;
    let column = |v: f32| bin(v, low, high, COLUMNS) as usize;
    let known = |(f, l): (&f32, &f32)| (!f.is_nan() && !l.is_nan()).then(|| (column(*f), row(*l)));
    let mut joint = vec![0_u32; ROWS * COLUMNS];
    for (column, row) in fixed.data.iter().zip(&laid.data).filter_map(known) {
        joint[row * COLUMNS + column] += 1;
    }
    // Of each intensity of the laid picture: the usual one of the fixed picture, and its spread.
    let usual: Vec<(f32, f32)> = joint
        .chunks_exact(COLUMNS)
        .map(|counts| {
            let total: u32 = counts.iter().sum();
            let at = |share: f64| {
                let mut seen = 0;
                let passes = |count: &u32| {
                    seen += count;
                    f64::from(seen) >= share * f64::from(total)
                };
                counts.iter().position(passes).unwrap_or(0) as f32
            };
            (at(0.5), (0.5 * (at(0.84) - at(0.16))).max(1.0))
        })
        .collect();
    let differs: Vec<bool> = fixed
        .data
        .iter()
        .zip(&laid.data)
        .map(|pair| {
            known(pair).is_some_and(|(column, row)| {
                let (middle, spread) = usual[row];
                let away = (column as f32 - middle).abs();
                away > SPREADS * spread && away > DIFFERS * COLUMNS as f32
            })
        })
        .collect();
    let number = |yes: &bool| f32::from(u8::from(*yes));
    let share = box_mean(&differs.iter().map(number).collect::<Vec<_>>(), fixed.grid.dims, AROUND);
    let inside: Vec<bool> = share.iter().map(|s| *s > MOST).collect();
    let near = box_mean(&inside.iter().map(number).collect::<Vec<_>>(), fixed.grid.dims, AROUND);
    near.iter()
        .zip(&differs)
        .zip(&inside)
        .map(|((near, differs), inside)| *inside || (*near > 0.0 && *differs))
        .collect()
}

/// The mean over a cube around each voxel.
fn box_mean(data: &[f32], dims: [usize; 3], half: usize) -> Vec<f32> {
    let mut now = data.to_vec();
    let strides = [1, dims[0], dims[0] * dims[1]];
    for a in 0..3 {
        let before = now.clone();
        let (stride, n) = (strides[a], dims[a]);
        now.par_iter_mut().enumerate().for_each(|(index, value)| {
            let c = index / stride % n;
            let (low, high) = (c.saturating_sub(half), (c + half).min(n - 1));
            let line = (low..=high).map(|x| before[index - c * stride + x * stride]);
            *value = line.sum::<f32>() / (high - low + 1) as f32;
        });
    }
    now
}
