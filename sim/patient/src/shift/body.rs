//! The brain as the solvers see it: cubic cells of a coarse grid, their nodes, and what holds them.
//!
//! **Units and frame:** mm, kPa, mN, patient LPS. A cell's shear modulus is the mean of what fills it
//! (Voigt), its bulk modulus the harmonic mean (Reuss): fluid that can leave makes a cell compressible
//! however little of it there is. Cells at the brain's surface count by the share that is brain.
//! **Allocation:** in the constructors only.

use super::anchors;
use super::material::{Elastic, Materials};
use crate::anatomy::head::{SKULL_INNER_MM, tissue};
use crate::patient::Patient;
use crate::truth::Label;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// A grid point without tissue.
pub(super) const NONE: u32 = u32::MAX;
/// Cells with less brain than that are left out.
const LEAST_SHARE: f32 = 0.3;
/// Stiffness of the skull against a cell face, as a multiple of a cell's own.
const WALL_FACTOR: f32 = 60.0;
/// Depth below the craniotomy's plane to which its opening counts, mm.
const OPENING_DEPTH_MM: f64 = 40.0;

/// A cube between eight nodes. Corner `c` lies at bit 0 along x, bit 1 along y, bit 2 along z.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub corners: [u32; 8],
    pub centre: Vector3<f32>,
    pub elastic: Elastic,
    /// Share of its volume inside the brain's surface.
    pub share: f32,
    /// Share of its volume that is tissue, not fluid.
    pub solid: f32,
}

/// How a node is held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Grip {
    /// Both ways along the normal: falx, tentorium, brainstem.
    Both,
    /// The inner face of the skull: it cannot go further out than the gap, and where no air has come
    /// between it is held back by the tether, mN/mm.
    Wall { gap_mm: f32, tether: f32 },
}

/// A spring on a node along one direction.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hold {
    pub node: u32,
    /// Unit; outwards for a wall.
    pub normal: Vector3<f32>,
    /// mN/mm.
    pub stiffness: f32,
    pub grip: Grip,
}

/// Cells, nodes, and what holds them.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// The nodes' grid, over the whole head.
    pub grid: Grid,
    /// Index in the grid of every node that has tissue.
    pub nodes: Vec<u32>,
    pub cells: Vec<Cell>,
    pub holds: Vec<Hold>,
    /// Nodes under the craniotomy and the area of surface that each stands for, outwards, mm².
    pub opened: Vec<(u32, Vector3<f32>)>,
    /// Depth below the brain's surface at rest of every grid point, mm; empty where there is no skull.
    depth: Vec<f32>,
    /// The cell whose first corner lies at a grid point.
    cell_at: Vec<u32>,
}

/// What fills a cell, voxels of 1 mm³.
#[derive(Debug, Clone, Copy, Default)]
struct Filling {
    white: f32,
    grey: f32,
    rim: f32,
    necrosis: f32,
    fluid: f32,
}

impl Filling {
    fn brain(&self) -> f32 {
        self.solid() + self.fluid
    }

    fn solid(&self) -> f32 {
        self.white + self.grey + self.rim + self.necrosis
    }

    fn elastic(&self, m: &Materials) -> Elastic {
        let parts = [
            (self.white, m.white),
            (self.grey, m.grey),
            (self.rim, m.rim),
            (self.necrosis, m.necrosis),
            (self.fluid, m.fluid),
        ];
        let all = self.brain().max(1e-6);
        let shear = parts.iter().map(|(v, e)| v * e.shear).sum::<f32>() / all;
        let soft = parts.iter().map(|(v, e)| v / e.bulk).sum::<f32>() / all;
        Elastic { shear, bulk: 1.0 / soft }
    }
}

/// A cell before its nodes are numbered: first corner in the grid, material, share of brain, share of tissue.
pub(super) type Lump = (usize, Elastic, f32, f32);

impl Body {
    /// The brain of a patient at rest.
    pub(super) fn of(patient: &Patient, materials: &Materials, spacing_mm: f64) -> Self {
        let grid = node_grid(&patient.head.grid, spacing_mm);
        let volume = (spacing_mm * spacing_mm * spacing_mm) as f32;
        let lump = |(first, filling): (usize, &Filling)| {
            let share = (filling.brain() / volume).min(1.0);
            let Elastic { shear, bulk } = filling.elastic(materials);
            let elastic = Elastic { shear: shear * share, bulk: bulk * share };
            (share >= LEAST_SHARE).then_some((first, elastic, share, (filling.solid() / volume).min(share)))
        };
        let lumps: Vec<Lump> = fill(patient, &grid).iter().enumerate().filter_map(lump).collect();
        let mut body = Self::new(grid, &lumps);
        body.depth = (0..grid.len()).map(|i| patient.head.depth_mm(&grid.centre(grid.voxel(i))) as f32).collect();
        body.hold_surface(patient, materials);
        anchors::hold(&mut body, &patient.head.warp, materials);
        body
    }

    /// Cells with nothing that holds them.
    pub(super) fn new(grid: Grid, lumps: &[Lump]) -> Self {
        let mut number = vec![NONE; grid.len()];
        let mut cell_at = vec![NONE; grid.len()];
        let corner = |first: usize, c: usize| {
            let [i, j, k] = grid.voxel(first);
            grid.index([i + (c & 1), j + (c >> 1 & 1), k + (c >> 2)])
        };
        for (n, (first, ..)) in lumps.iter().enumerate() {
            cell_at[*first] = n as u32;
            for c in 0..8 {
                number[corner(*first, c)] = 0;
            }
        }
        let nodes: Vec<u32> = (0..grid.len() as u32).filter(|i| number[*i as usize] != NONE).collect();
        for (n, at) in nodes.iter().enumerate() {
            number[*at as usize] = n as u32;
        }
        let half = Vector3::repeat(0.5 * grid.spacing_mm);
        let cell = |&(first, elastic, share, solid): &Lump| Cell {
            corners: std::array::from_fn(|c| number[corner(first, c)]),
            centre: (grid.centre(grid.voxel(first)).coords + half).cast(),
            elastic,
            share,
            solid,
        };
        Self {
            cells: lumps.iter().map(cell).collect(),
            holds: Vec::new(),
            opened: Vec::new(),
            depth: Vec::new(),
            nodes,
            cell_at,
            grid,
        }
    }

    /// Edge of a cell, mm.
    pub(super) fn edge(&self) -> f32 {
        self.grid.spacing_mm as f32
    }

    /// Where a node is at rest.
    pub(super) fn at(&self, node: usize) -> Point3<f64> {
        self.grid.centre(self.grid.voxel(self.nodes[node] as usize))
    }

    /// How far a node that moved by `moved` came out along a wall's own curve, mm, and which way out is
    /// there. Without a skull the wall is the plane of its normal.
    pub(super) fn came_out(&self, hold: &Hold, moved: &Vector3<f32>) -> (f32, Vector3<f32>) {
        let plane = (moved.dot(&hold.normal), hold.normal);
        let node = hold.node as usize;
        let Some(before) = self.depth.get(self.nodes[node] as usize) else { return plane };
        let at = self.grid.coordinates(&(self.at(node) + moved.cast::<f64>()));
        let mut base = [0; 3];
        let mut part = [0.0_f32; 3];
        for a in 0..3 {
            let inside = at[a].clamp(0.0, (self.grid.dims[a] - 1) as f64);
            base[a] = (inside as usize).min(self.grid.dims[a].saturating_sub(2));
            part[a] = (inside - base[a] as f64) as f32;
        }
        let first = self.grid.index(base);
        let (nx, ny) = (self.grid.dims[0], self.grid.dims[1]);
        let (mut depth, mut slope) = (0.0, Vector3::zeros());
        for c in 0..8_usize {
            let value = self.depth[first + (c & 1) + nx * ((c >> 1 & 1) + ny * (c >> 2))];
            let sign = outwards(c);
            let weight: [f32; 3] = std::array::from_fn(|a| if sign[a] > 0.0 { part[a] } else { 1.0 - part[a] });
            depth += value * weight[0] * weight[1] * weight[2];
            slope.x += value * sign.x * weight[1] * weight[2];
            slope.y += value * sign.y * weight[0] * weight[2];
            slope.z += value * sign.z * weight[0] * weight[1];
        }
        slope.try_normalize(1e-6).map_or(plane, |inwards| (before - depth, -inwards))
    }

    /// The cell that holds a rest point.
    pub(super) fn cell_of(&self, at: &Point3<f64>) -> Option<usize> {
        let half = Vector3::repeat(0.5 * self.grid.spacing_mm);
        let first = self.grid.index(self.grid.containing(&(at - half))?);
        Some(self.cell_at[first]).filter(|c| *c != NONE).map(|c| c as usize)
    }

    /// Area of the body's surface that each node stands for, outwards, mm²; zero inside.
    pub(super) fn surface(&self) -> Vec<Vector3<f32>> {
        let quarter = 0.25 * self.edge() * self.edge();
        let mut area = vec![Vector3::zeros(); self.nodes.len()];
        // Each cell's faces, outwards; between two cells they cancel.
        for cell in &self.cells {
            for (c, node) in cell.corners.iter().enumerate() {
                area[*node as usize] += outwards(c) * quarter;
            }
        }
        area
    }

    /// The skull and, under the craniotomy, its absence.
    fn hold_surface(&mut self, patient: &Patient, materials: &Materials) {
        let craniotomy = &patient.craniotomy;
        let face = self.edge() * self.edge();
        for (node, area) in self.surface().into_iter().enumerate() {
            let size = area.norm();
            if size < 1e-3 * face {
                continue;
            }
            let at = self.at(node);
            let off = at - craniotomy.centre;
            let along = off.dot(&craniotomy.outward);
            let across = (off - craniotomy.outward * along).norm();
            if along > -OPENING_DEPTH_MM && across <= craniotomy.radius_mm {
                self.opened.push((node as u32, area));
                continue;
            }
            let grip = Grip::Wall { gap_mm: SKULL_INNER_MM as f32, tether: materials.tether_kpa_mm * size };
            let normal = patient.head.outward(&at).cast();
            let stiffness = WALL_FACTOR * materials.white.shear * self.edge();
            self.holds.push(Hold { node: node as u32, normal, stiffness, grip });
        }
    }
}

/// Signs of a corner: where it lies from its cell's middle.
pub(super) fn outwards(corner: usize) -> Vector3<f32> {
    let sign = |bit: usize| if corner >> bit & 1 == 1 { 1.0 } else { -1.0 };
    Vector3::new(sign(0), sign(1), sign(2))
}

/// Nodes over the whole head; cells are filled by whole voxels.
fn node_grid(head: &Grid, spacing_mm: f64) -> Grid {
    let dims = head.dims.map(|n| (n as f64 / spacing_mm).ceil() as usize + 1);
    Grid { dims, spacing_mm, origin: head.origin.map(|o| o - 0.5) }
}

/// What fills the cell at every grid point.
fn fill(patient: &Patient, nodes: &Grid) -> Vec<Filling> {
    let (head, truth) = (&patient.head, &patient.truth);
    let mut filling = vec![Filling::default(); nodes.len()];
    // Along each axis: the cell that a voxel of the head lies in.
    let cells: [Vec<usize>; 3] = std::array::from_fn(|a| {
        (0..head.grid.dims[a]).map(|i| ((i as f64 + 0.5) / nodes.spacing_mm) as usize).collect()
    });
    for (row, line) in head.tissue.chunks_exact(head.grid.dims[0]).enumerate() {
        let (j, k) = (row % head.grid.dims[1], row / head.grid.dims[1]);
        let first = nodes.index([0, cells[1][j], cells[2][k]]);
        for (i, what) in line.iter().enumerate() {
            let at = &mut filling[first + cells[0][i]];
            match *what {
                tissue::CSF | tissue::VENTRICLE => at.fluid += 1.0,
                tissue::GREY => at.grey += 1.0,
                tissue::WHITE => at.white += 1.0,
                _ => {}
            }
        }
    }
    // The tumour takes the place of what it grew in.
    for (index, label) in truth.labels.iter().enumerate().filter(|(_, l)| l.core()) {
        let at = truth.grid.centre(truth.grid.voxel(index));
        let Some(voxel) = head.grid.containing(&at) else { continue };
        let cell = &mut filling[nodes.index(std::array::from_fn(|a| cells[a][voxel[a]]))];
        match head.tissue[head.grid.index(voxel)] {
            tissue::GREY => cell.grey -= 1.0,
            tissue::WHITE => cell.white -= 1.0,
            _ => continue,
        }
        if *label == Label::Necrosis { cell.necrosis += 1.0 } else { cell.rim += 1.0 }
    }
    filling
}
