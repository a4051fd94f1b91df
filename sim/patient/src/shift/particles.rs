//! The foreign solver: particles on a lattice under position-based constraints (XPBD).
//!
//! Source: M. Macklin, M. Müller, N. Chentanez, *XPBD*, Motion in Games 2016, one pass of constraints a
//! substep (*Small steps in physics simulation*, SCA 2019). Springs along the cells' edges and face
//! diagonals, all of stiffness μ·h, make an isotropic solid with Poisson's ratio ¼; a constraint on each
//! cell's volume adds what the tissue's bulk modulus has beyond that. Both stiffen with strain. Strains are finite: a turned piece is
//! not a strained one, and the skull is met where it curves, not on a plane through where a node was. Masses are fictitious and motion is damped: it comes to rest where forces balance.
//! **Units:** mm, mN, kPa; a substep is the unit of time. **Allocation:** in [`Particles::new`] only.
//! **Determinism:** one thread, constraints in a fixed order.

use super::Solver;
use super::body::{Body, Cell, Grip, outwards};
use super::load::Load;
use nalgebra::Vector3;

/// Share of its speed that a particle keeps from one substep to the next.
const KEEPS: f32 = 0.94;
/// Mass of a particle as a multiple of the stiffness around it. One pass of constraints leaves springs too
/// soft by a share that falls with it; a wave needs its root in substeps to cross a cell.
const MASS: f32 = 4.0;
/// Substeps of one live update.
const LIVE: usize = 6;
/// Substeps after which a lattice of 25 cells across has come to rest.
const SETTLE: usize = 800;

/// Two particles and what draws them to their distance at rest.
struct Spring {
    ends: [u32; 2],
    rest: Vector3<f32>,
    length: f32,
    /// The cells it is part of; `u32::MAX` for none.
    cells: [u32; 4],
    /// Stiffness is the sum of its cells' moduli times this, mm.
    share: f32,
    stiffness: f32,
}

pub(super) struct Particles {
    springs: Vec<Spring>,
    /// Modulus of every cell's volume constraint, kPa.
    volume: Vec<f32>,
    /// One over the fictitious mass.
    light: Vec<f32>,
    moved: Vec<Vector3<f32>>,
    before: Vec<Vector3<f32>>,
    /// Version of the load that stiffness was read from.
    read: Option<u64>,
}

impl Particles {
    pub(super) fn new(body: &Body) -> Self {
        let n = body.nodes.len();
        Self {
            springs: springs(body),
            volume: vec![0.0; body.cells.len()],
            light: vec![0.0; n],
            moved: vec![Vector3::zeros(); n],
            before: vec![Vector3::zeros(); n],
            read: None,
        }
    }

    /// Reads stiffness from what is left of the cells.
    fn read(&mut self, body: &Body, load: &Load) {
        if self.read == Some(load.version) {
            return;
        }
        self.read = Some(load.version);
        let edge = body.edge();
        let mut mass = vec![0.0_f32; self.light.len()];
        for spring in &mut self.springs {
            let cells = spring.cells.iter().filter(|c| **c != u32::MAX);
            spring.stiffness = spring.share * cells.map(|c| load.shear[*c as usize]).sum::<f32>();
            for end in spring.ends {
                mass[end as usize] += spring.stiffness;
            }
        }
        for (((cell, volume), shear), bulk) in body.cells.iter().zip(&mut self.volume).zip(&load.shear).zip(&load.bulk)
        {
            // Springs give λ = μ, that is K = 5/3 μ.
            *volume = (bulk - 5.0 / 3.0 * shear).max(0.0);
            for node in cell.corners {
                mass[node as usize] += *volume * edge * 3.0 / 16.0;
            }
        }
        for (light, mass) in self.light.iter_mut().zip(mass) {
            *light = 1.0 / (MASS * mass.max(1e-3));
        }
    }

    fn run(&mut self, body: &Body, load: &Load, substeps: usize) {
        self.read(body, load);
        for _ in 0..substeps {
            self.substep(body, load);
        }
    }

    fn substep(&mut self, body: &Body, load: &Load) {
        for ((u, before), (f, light)) in
            self.moved.iter_mut().zip(&mut self.before).zip(load.force.iter().zip(&self.light))
        {
            let speed = (*u - *before) * KEEPS;
            *before = *u;
            *u += speed + f * *light;
        }
        for spring in &self.springs {
            spring.project(&mut self.moved, &self.light);
        }
        for (cell, modulus) in body.cells.iter().zip(&self.volume) {
            if *modulus > 0.0 {
                keep_volume(cell, *modulus, body.edge(), &mut self.moved, &self.light);
            }
        }
        for (hold, wet) in body.holds.iter().zip(&load.wet) {
            let node = hold.node as usize;
            let along = self.moved[node].dot(&hold.normal);
            let (stiffness, off, normal) = match hold.grip {
                Grip::Both => (hold.stiffness, along, hold.normal),
                Grip::Wall { gap_mm, tether } => match body.came_out(hold, &self.moved[node]) {
                    (out, normal) if out > gap_mm => (hold.stiffness, out - gap_mm, normal),
                    _ if *wet => (tether, along, hold.normal),
                    _ => continue,
                },
            };
            let light = self.light[node];
            self.moved[node] -= normal * (light * off / (light + 1.0 / stiffness));
        }
    }
}

impl Solver for Particles {
    fn step(&mut self, body: &Body, load: &Load) {
        self.run(body, load, LIVE);
    }

    fn settle(&mut self, body: &Body, load: &Load) {
        self.run(body, load, SETTLE);
    }

    fn moved(&self) -> &[Vector3<f32>] {
        &self.moved
    }
}

impl Spring {
    fn project(&self, moved: &mut [Vector3<f32>], light: &[f32]) {
        let [a, b] = self.ends.map(|e| e as usize);
        let now = self.rest + (moved[b] - moved[a]);
        let length = now.norm();
        if self.stiffness <= 0.0 || length < 1e-3 {
            return;
        }
        let off = length - self.length;
        let strain = off / self.length;
        let stiffness = self.stiffness * stiffening(strain);
        let pull = off / (light[a] + light[b] + 1.0 / stiffness) / length;
        moved[a] += now * (pull * light[a]);
        moved[b] -= now * (pull * light[b]);
    }
}

/// How much stiffer a spring or a volume is at a strain: (1 + 6 ε²)³, nearly twice at 20 %, 16 times at a
/// half. Brain stiffens both ways (S. Budday et al., 2020); the figures are an expert's estimate.
fn stiffening(strain: f32) -> f32 {
    let s = 1.0 + 6.0 * strain * strain;
    s * s * s
}

/// Draws a cell's volume, that of the box of its mean edges, towards its own.
fn keep_volume(cell: &Cell, modulus: f32, edge: f32, moved: &mut [Vector3<f32>], light: &[f32]) {
    let mut edges = [Vector3::zeros(); 3];
    let mut weight = 0.0;
    for (c, node) in cell.corners.iter().enumerate() {
        let (sign, u) = (outwards(c), moved[*node as usize]);
        for a in 0..3 {
            edges[a] += u * (0.25 * sign[a]);
        }
        weight += light[*node as usize];
    }
    for (a, e) in edges.iter_mut().enumerate() {
        e[a] += edge;
    }
    let volume = edge * edge * edge;
    let faces = [edges[1].cross(&edges[2]), edges[2].cross(&edges[0]), edges[0].cross(&edges[1])];
    let off = edges[0].dot(&faces[0]) / volume - 1.0;
    // The slope for corner c is (± faces[0] ± faces[1] ± faces[2]) / 4V; over all corners its square is
    // nearly 3·h⁴/16V².
    let slope2 = weight * faces.iter().map(Vector3::norm_squared).sum::<f32>() / (16.0 * volume * volume);
    let modulus = modulus * stiffening(off);
    let push = off / (slope2 + 1.0 / (modulus * volume)) / (4.0 * volume);
    for (c, node) in cell.corners.iter().enumerate() {
        let sign = outwards(c);
        let slope = faces[0] * sign.x + faces[1] * sign.y + faces[2] * sign.z;
        moved[*node as usize] -= slope * (push * light[*node as usize]);
    }
}

/// The edges and face diagonals of all cells, each once.
fn springs(body: &Body) -> Vec<Spring> {
    let edge = body.edge();
    let mut found: std::collections::BTreeMap<[u32; 2], Spring> = std::collections::BTreeMap::new();
    for (n, cell) in body.cells.iter().enumerate() {
        for a in 0..8_usize {
            for b in a + 1..8 {
                let apart = (a ^ b).count_ones();
                if apart == 3 {
                    continue;
                }
                let rest = (outwards(b) - outwards(a)) * (0.5 * edge);
                let ends = [cell.corners[a], cell.corners[b]];
                // An edge inside lies in four cells, a diagonal in two.
                let share = edge / if apart == 1 { 4.0 } else { 2.0 };
                let new = || Spring { ends, rest, length: rest.norm(), cells: [u32::MAX; 4], share, stiffness: 0.0 };
                let spring = found.entry(ends).or_insert_with(new);
                if let Some(free) = spring.cells.iter_mut().find(|c| **c == u32::MAX) {
                    *free = n as u32;
                }
            }
        }
    }
    found.into_values().collect()
}
