//! Brain shift: how tissue has moved since the dura was opened.
//!
//! Tissue, vessels, regions and what was removed are kept where they were before the opening, at *rest*; a
//! [`Field`] takes points between there and where they are *now*. Devices live in the now, bookkeeping at
//! rest: what is removed and what is left add up whatever moves.
//!
//! ```text
//! Course ─► Conditions ─► Load ─► Solver ─► Field
//! (fluid, pressure, position)  ▲
//! removed voxels ──────────────┘
//! ```
//!
//! The home world solves finite elements ([`elastic`]), the foreign one moves particles ([`particles`]); the
//! brain swells into the craniotomy when the dura opens, sags as its fluid drains, closes in on the cavity,
//! and moves with heart and breath. **Skull, craniotomy and devices do not move**: a point now that lies in
//! bone is bone, whatever the field says; one whose rest point lies outside the brain is air. **Units and
//! frame:** mm, patient LPS, minutes since the dura was opened. **Allocation:** in [`Shift::new`] only.
//! **Not modelled:** flow through tissue over time, sliding of the brain along the skull against friction,
//! retractors, the instrument's own push.

mod anchors;
mod body;
mod course;
mod elastic;
pub(crate) mod field;
mod figures;
mod load;
mod material;
mod particles;
#[cfg(test)]
mod tests;

pub use figures::ShiftFigures;

use crate::kind::WorldKind;
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::truth::{Label, SOLID};
use body::Body;
use bregma_core::grid::Grid;
use bregma_core::time::{Duration, Instant};
use course::Course;
use elastic::Elastic;
use field::Field;
use load::Load;
use material::Materials;
use nalgebra::Vector3;
use particles::Particles;
use std::sync::Arc;

/// Edge of the home world's cells, mm.
const HOME_MM: f64 = 8.0;
/// Edge of the foreign world's cells, mm.
const FOREIGN_MM: f64 = 9.0;
/// Layers of grid points outside the brain that move with it, so that its surface does.
const LAYERS: usize = 3;

/// How the brain moves.
#[derive(Debug, Clone, PartialEq)]
pub struct ShiftSettings {
    /// Updates a second of simulated time, up to 50; 0 for a brain that never moves.
    pub updates_hz: f64,
    /// Shortest and longest time from the opening of the dura to the start of the case, minutes.
    pub start_minutes: [f64; 2],
}

impl ShiftSettings {
    /// A brain that never moves.
    #[must_use]
    pub const fn off() -> Self {
        Self { updates_hz: 0.0, start_minutes: [10.0, 40.0] }
    }
}

impl Default for ShiftSettings {
    fn default() -> Self {
        Self { updates_hz: 5.0, ..Self::off() }
    }
}

/// Something that moves the nodes of a body until forces balance.
trait Solver: Send {
    /// One live update from the last state, of bounded cost.
    fn step(&mut self, body: &Body, load: &Load);
    /// All the way.
    fn settle(&mut self, body: &Body, load: &Load);
    /// The displacement of every node, mm.
    fn moved(&self) -> &[Vector3<f32>];
}

/// The brain of one case as it moves.
pub(crate) struct Shift {
    field: Arc<Field>,
    brain: Option<Brain>,
    next: Instant,
    period: Duration,
    /// How much of the journal of removed voxels it has seen.
    seen: usize,
}

impl Shift {
    /// The brain when the case starts; `state` says which truth voxels are open.
    pub(crate) fn new(patient: &Patient, kind: WorldKind, settings: &ShiftSettings, state: &[u8]) -> Self {
        let period = Duration::from_secs_f64(1.0 / settings.updates_hz).unwrap_or(Duration::ZERO);
        if settings.updates_hz <= 0.0 || period == Duration::ZERO {
            let grid = Grid { dims: [2; 3], spacing_mm: 100.0, origin: [0.0; 3] };
            return Self { field: Arc::new(Field::still(grid)), brain: None, next: Instant::START, period, seen: 0 };
        }
        let mut brain = Brain::new(patient, kind, settings.start_minutes);
        brain.open(patient, state);
        brain.settle(brain.course.start_minutes);
        let mut field = Field::still(brain.body.grid);
        brain.write(0.0, &mut field);
        Self { field: Arc::new(field), brain: Some(brain), next: Instant::START + period, period, seen: 0 }
    }

    pub(crate) fn field(&self) -> &Field {
        &self.field
    }

    /// The same, to keep while the brain moves on.
    pub(crate) const fn shared(&self) -> &Arc<Field> {
        &self.field
    }

    /// Where gravity points, unit; `None` for a brain that never moves.
    pub(crate) fn down(&self) -> Option<Vector3<f64>> {
        self.brain.as_ref().map(|brain| -brain.course.up)
    }

    /// Moves on to the last whole update before `now`; `journal` lists the truth voxels removed so far.
    /// Whether anything moved.
    pub(crate) fn advance(&mut self, patient: &Patient, now: Instant, journal: &[u32]) -> bool {
        let Some(brain) = &mut self.brain else { return false };
        let before = self.field.version();
        while self.next <= now {
            for voxel in &journal[self.seen..] {
                brain.remove(patient, *voxel as usize);
            }
            self.seen = journal.len();
            let seconds = self.next.since(Instant::START).map_or(0.0, Duration::secs_f64);
            brain.step(brain.course.start_minutes + seconds / 60.0);
            brain.write(seconds, Arc::make_mut(&mut self.field));
            self.next = self.next + self.period;
        }
        self.field.version() != before
    }
}

/// Body, course and solver of one patient.
struct Brain {
    body: Body,
    course: Course,
    load: Load,
    solver: Box<dyn Solver>,
    rim: Rim,
    /// Share of the pulse at every grid point, and its direction.
    pulse: Vec<f32>,
    outward: Vector3<f32>,
}

impl Brain {
    fn new(patient: &Patient, kind: WorldKind, start_minutes: [f64; 2]) -> Self {
        let mut draws = Draws::new(patient.seed(), Purpose::Shift);
        let materials = Materials::drawn(kind, &mut draws);
        let spacing_mm = match kind {
            WorldKind::Home => HOME_MM,
            WorldKind::Foreign => FOREIGN_MM,
        };
        let body = Body::of(patient, &materials, spacing_mm);
        let top = |up: &Vector3<f64>| {
            (0..body.nodes.len()).map(|n| body.at(n).coords.dot(up)).fold(f64::NEG_INFINITY, f64::max)
        };
        let course = Course::drawn(kind, patient, start_minutes, &mut draws, top);
        let solver: Box<dyn Solver> = match kind {
            WorldKind::Home => Box::new(Elastic::new(&body)),
            WorldKind::Foreign => Box::new(Particles::new(&body)),
        };
        let grid = body.grid;
        Self {
            load: Load::at_rest(&body),
            solver,
            rim: Rim::around(&body),
            pulse: (0..grid.len()).map(|i| course::pulse_share(patient, &grid.centre(grid.voxel(i))) as f32).collect(),
            outward: patient.craniotomy.outward.cast(),
            course,
            body,
        }
    }

    /// Takes out what is open when the case starts.
    fn open(&mut self, patient: &Patient, state: &[u8]) {
        for (index, label) in patient.truth.labels.iter().enumerate() {
            if state[index] != SOLID && (label.tissue() || *label == Label::Csf) {
                self.remove(patient, index);
            }
        }
    }

    fn remove(&mut self, patient: &Patient, voxel: usize) {
        let grid = &patient.truth.grid;
        if let Some(cell) = self.body.cell_of(&grid.centre(grid.voxel(voxel))) {
            self.load.remove(&self.body, cell);
        }
    }

    fn settle(&mut self, minutes: f64) {
        self.load.act(&self.body, &self.course.at(minutes));
        self.solver.settle(&self.body, &self.load);
    }

    fn step(&mut self, minutes: f64) {
        self.load.act(&self.body, &self.course.at(minutes));
        self.solver.step(&self.body, &self.load);
    }

    /// The field as it is `seconds` after the case's start.
    fn write(&self, seconds: f64, field: &mut Field) {
        let lift = self.outward * self.course.pulse_mm(seconds) as f32;
        self.write_with(lift, field);
    }

    /// The field with a lift under the craniotomy, mm.
    fn write_with(&self, lift: Vector3<f32>, field: &mut Field) {
        field.update(|u| {
            for (at, moved) in self.body.nodes.iter().zip(self.solver.moved()) {
                u[*at as usize] = *moved;
            }
            self.rim.carry(u);
            for (u, share) in u.iter_mut().zip(&self.pulse) {
                *u += lift * *share;
            }
        });
    }
}

/// Grid points just outside the brain: they move as the points beside them do, so that what lies between
/// the outermost nodes and the surface moves with the surface.
struct Rim {
    /// Where, the share that is kept, and where its neighbours stand in `from`.
    points: Vec<(u32, f32, std::ops::Range<usize>)>,
    from: Vec<u32>,
}

impl Rim {
    fn around(body: &Body) -> Self {
        let grid = &body.grid;
        let mut known = vec![false; grid.len()];
        body.nodes.iter().for_each(|n| known[*n as usize] = true);
        let mut rim = Self { points: Vec::new(), from: Vec::new() };
        for layer in 0..LAYERS {
            let first = rim.points.len();
            for index in (0..grid.len()).filter(|i| !known[*i]) {
                let start = rim.from.len();
                rim.from.extend(around(grid, index).filter(|n| known[*n as usize]));
                if rim.from.len() > start {
                    // Half a layer on, all of it; then it fades.
                    let keeps = if layer == 0 { 1.0 } else { 0.6 };
                    rim.points.push((index as u32, keeps, start..rim.from.len()));
                }
            }
            rim.points[first..].iter().for_each(|(at, ..)| known[*at as usize] = true);
        }
        rim
    }

    fn carry(&self, u: &mut [Vector3<f32>]) {
        for (at, keeps, from) in &self.points {
            let from = &self.from[from.clone()];
            let sum: Vector3<f32> = from.iter().map(|n| u[*n as usize]).sum();
            u[*at as usize] = sum * (keeps / from.len() as f32);
        }
    }
}

/// The up to 26 neighbours of a grid point.
fn around(grid: &Grid, index: usize) -> impl Iterator<Item = u32> + use<> {
    let grid = *grid;
    let v = grid.voxel(index);
    (0..27_usize).filter_map(move |n| {
        let mut to = [0; 3];
        for (a, step) in [n % 3, n / 3 % 3, n / 9].into_iter().enumerate() {
            to[a] = (v[a] + step).checked_sub(1).filter(|i| *i < grid.dims[a])?;
        }
        (n != 13).then(|| grid.index(to) as u32)
    })
}
