//! A hand that removes tumour as a surgeon may, for learning: no arm, no plan, no gate.
//!
//! It works from what is open into the core, nearest and shallowest first, stroke by stroke, through the
//! corridor's entry; it is unsteady, leaves a part of the core alone for its own reasons, and now and then
//! withdraws to let the microscope look. It knows the truth, as no planner may: what is learnt from it is what
//! a cavity looks like, not how to cut. It may be told to go astray, as whoever follows a navigation that is off: then it removes what lies that far from
//! core, leaves as much of it on the other side, and half of such hands see that and remove the rest too. **Frame:** its goals are tissue at rest, met where that is now.
//! **Determinism:** by its seed; `sqrt` apart no function of a library. **Allocation:** in [`Hand::new`] only.
//! **Not modelled:** a shaft that keeps out of tissue, cutting outside the core on purpose.

use super::outcome::neighbours;
use super::{STEP, SharedWorld, TipInPatient, any_across, finite};
use crate::patient::Patient;
use crate::random::{Draws, Purpose};
use crate::shift::field::Field;
use crate::truth::SOLID;
use bregma_core::flow::Energy;
use nalgebra::{Isometry3, Matrix3, Point3, Rotation3, Translation3, UnitQuaternion, Vector3};

/// Voxels of core that a stroke is chosen among.
const CHOSEN_AMONG: usize = 192;
/// A goal farther away than that is gone to with the energy off, mm.
const STROKE_MM: f64 = 5.0;
/// How much a millimetre of depth weighs against one of distance.
const DEPTH_WEIGHT: f64 = 0.6;
/// What a goal that nothing opens yet weighs, mm: it is taken when there is no other.
const BURIED_MM: f64 = 30.0;
/// Unsteadiness along each axis, least and most, mm.
const UNSTEADY_MM: [f64; 2] = [0.2, 1.0];
/// Radius of the ball that is left alone, mm; nothing is where it is below 0.
const LEFT_ALONE_MM: [f64; 2] = [-6.0, 9.0];
/// Share of the hands that went astray which remove what they left.
const CORRECTS: f64 = 0.5;
/// Strokes between two looks.
const STROKES: [f64; 2] = [15.0, 60.0];
/// How long a look takes, s.
const LOOK_S: f64 = 0.5;
/// Where it waits meanwhile, outside the craniotomy, mm.
const OUTSIDE_MM: f64 = 25.0;
/// Removed volume over the tip's way, mm²: strokes overlap, so it is less than the 12.6 mm² within reach.
const STROKE_AREA_MM2: f64 = 6.0;
/// It stays at a goal until that much could have been removed, mm³: half the ball within reach, the other
/// half being open as a rule.
const STAYS_MM3: f64 = 14.0;
/// Speed while nothing is cut, mm/s at least.
const TRAVEL_MM_S: f64 = 150.0;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Doing {
    Choosing,
    Going(Point3<f64>),
    /// Towards a goal, and how long it stays there, s.
    Cutting(Point3<f64>, f64),
    Withdrawing,
    Looking(f64),
    Done,
}

pub(super) struct Hand {
    draws: Draws,
    /// Truth voxels that it means to remove, and those that it removes when it has done so.
    left: Vec<u32>,
    then: Vec<u32>,
    doing: Doing,
    at: Point3<f64>,
    rate_mm3_s: f64,
    cut_mm_s: f64,
    unsteady_mm: f64,
    /// Strokes until it looks.
    strokes: usize,
    pub tip: TipInPatient,
    pub energy: Energy,
}

impl Hand {
    fn new(patient: &Patient, seed: u64, rate_mm3_s: f64, astray_mm: &Vector3<f64>) -> Self {
        let mut draws = Draws::new(patient.seed() ^ seed.rotate_left(17), Purpose::Hand);
        let truth = &patient.truth;
        let core: Vec<u32> = (0..truth.grid.len()).filter(|i| truth.labels[*i].core()).map(|i| i as u32).collect();
        // By whole voxels, so that no two become one.
        let by: [isize; 3] = std::array::from_fn(|a| (astray_mm[a] / truth.grid.spacing_mm).round() as isize);
        let moved = |index: &u32| {
            let voxel = truth.grid.voxel(*index as usize);
            let to = [0, 1, 2].map(|a| voxel[a].checked_add_signed(by[a]).filter(|v| *v < truth.grid.dims[a]));
            let [Some(x), Some(y), Some(z)] = to else { return None };
            let to = truth.grid.index([x, y, z]);
            truth.labels[to].brain().then_some(to as u32)
        };
        let mut left: Vec<u32> = core.iter().filter_map(moved).collect();
        let at = |index: u32| truth.grid.centre(truth.grid.voxel(index as usize));
        let radius_mm = draws.uniform(LEFT_ALONE_MM[0], LEFT_ALONE_MM[1]);
        let middle = draws.below(left.len().max(1));
        if let Some(middle) = left.get(middle).map(|index| at(*index)) {
            left.retain(|index| nalgebra::distance(&at(*index), &middle) > radius_mm);
        }
        let outside = patient.craniotomy.centre + patient.craniotomy.outward * OUTSIDE_MM;
        Self {
            unsteady_mm: draws.uniform(UNSTEADY_MM[0], UNSTEADY_MM[1]),
            strokes: draws.uniform(STROKES[0], STROKES[1]) as usize,
            then: if by != [0; 3] && draws.uniform(0.0, 1.0) < CORRECTS { core } else { Vec::new() },
            draws,
            left,
            doing: Doing::Choosing,
            at: outside,
            rate_mm3_s,
            cut_mm_s: rate_mm3_s / STROKE_AREA_MM2,
            tip: pose(patient, &outside),
            energy: Energy::OFF,
        }
    }

    /// One step of its work.
    pub(super) fn step(&mut self, patient: &Patient, field: &Field, state: &[u8]) {
        let outside = patient.craniotomy.centre + patient.craniotomy.outward * OUTSIDE_MM;
        let travel_mm_s = TRAVEL_MM_S.max(3.0 * self.cut_mm_s);
        let doing = self.doing;
        let (there, then) = match doing {
            Doing::Choosing => (true, self.choose(patient, field, state)),
            Doing::Going(goal) => (self.reach(&goal, travel_mm_s), self.cutting(goal)),
            Doing::Cutting(goal, left_s) if left_s > 0.0 => {
                let there = self.reach(&goal, self.cut_mm_s);
                (there, Doing::Cutting(goal, left_s - STEP.secs_f64()))
            }
            Doing::Cutting(..) => (true, Doing::Choosing),
            Doing::Withdrawing => (self.reach(&outside, travel_mm_s), Doing::Looking(LOOK_S)),
            Doing::Looking(left_s) if left_s > 0.0 => (true, Doing::Looking(left_s - STEP.secs_f64())),
            Doing::Looking(_) => (true, Doing::Choosing),
            Doing::Done => (self.reach(&outside, travel_mm_s), Doing::Done),
        };
        self.doing = if there { then } else { doing };
        self.energy = if matches!(self.doing, Doing::Cutting(..)) { Energy::CUT } else { Energy::OFF };
        self.tip = pose(patient, &self.at);
    }

    fn cutting(&self, goal: Point3<f64>) -> Doing {
        Doing::Cutting(goal, STAYS_MM3 / self.rate_mm3_s)
    }

    /// Moves towards a goal; whether it is there.
    fn reach(&mut self, goal: &Point3<f64>, speed_mm_s: f64) -> bool {
        let (way, step) = (goal - self.at, speed_mm_s * STEP.secs_f64());
        let far = way.norm();
        self.at = if far <= step { *goal } else { self.at + way * (step / far) };
        far <= step
    }

    fn choose(&mut self, patient: &Patient, field: &Field, state: &[u8]) -> Doing {
        if self.strokes == 0 {
            self.strokes = self.draws.uniform(STROKES[0], STROKES[1]) as usize;
            return Doing::Withdrawing;
        }
        self.strokes -= 1;
        let next = self.next(patient, field, state).or_else(|| {
            self.left = std::mem::take(&mut self.then);
            self.next(patient, field, state)
        });
        let Some(index) = next else { return Doing::Done };
        let grid = &patient.truth.grid;
        let goal = field.now(&grid.centre(grid.voxel(index))) + self.draws.normals(self.unsteady_mm);
        if nalgebra::distance(&goal, &self.at) > STROKE_MM { Doing::Going(goal) } else { self.cutting(goal) }
    }

    /// The next voxel, of some drawn ones the nearest, shallowest and most open.
    fn next(&mut self, patient: &Patient, field: &Field, state: &[u8]) -> Option<usize> {
        let grid = &patient.truth.grid;
        let (here, inwards) = (field.rest(&self.at), -patient.craniotomy.outward);
        let mut best: Option<(f64, usize)> = None;
        let mut tried = 0;
        while tried < CHOSEN_AMONG && !self.left.is_empty() {
            let n = self.draws.below(self.left.len());
            let index = self.left[n] as usize;
            if state[index] != SOLID {
                self.left.swap_remove(n);
                continue;
            }
            tried += 1;
            let at = grid.centre(grid.voxel(index));
            let opened = neighbours(grid, index).into_iter().flatten().any(|n| state[n] != SOLID);
            let depth = (at - patient.corridor.entry).dot(&inwards);
            let cost = nalgebra::distance(&at, &here) + DEPTH_WEIGHT * depth + if opened { 0.0 } else { BURIED_MM };
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, index));
            }
        }
        best.map(|(_, index)| index)
    }
}

/// The tip at a point, its shaft through the corridor's entry.
fn pose(patient: &Patient, at: &Point3<f64>) -> TipInPatient {
    let inwards = -patient.craniotomy.outward;
    // Beside or outside the entry, straight in.
    let through = (at - patient.corridor.entry).try_normalize(1.0).filter(|z| z.dot(&inwards) > 0.7);
    let z: Vector3<f64> = through.unwrap_or(inwards);
    let x = any_across(&z);
    let turn = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, z.cross(&x), z]));
    let turn = UnitQuaternion::from_rotation_matrix(&turn);
    finite(patient.frame(), Isometry3::from_parts(Translation3::from(at.coords), turn))
}

impl SharedWorld {
    /// Puts the instrument into a hand that removes the tumour by itself from now on, for learning. Arm and
    /// console are out of play: tracker, microscope and console report what the hand does.
    pub fn rehearse(&self, seed: u64) {
        self.rehearse_astray(seed, &Vector3::zeros());
    }

    /// The same, what it removes lying that far from the core: tissue at rest, mm.
    pub fn rehearse_astray(&self, seed: u64, astray_mm: &Vector3<f64>) {
        let mut world = self.lock();
        let settings = &world.settings;
        let hand = Hand::new(&world.patient, seed, settings.rate_mm3_s * settings.removal_rate_scale, astray_mm);
        world.arm.true_tip = hand.tip;
        world.hand = Some(hand);
    }

    /// Whether a hand holds the instrument and has removed all it meant to.
    #[must_use]
    pub fn rehearsed(&self) -> bool {
        self.lock().hand.as_ref().is_some_and(|hand| hand.doing == Doing::Done)
    }
}
