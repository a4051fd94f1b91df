//! The score of a case, by ground truth. **Never shown to the runtime.**
//!
//! Definitions are those of the report's fields. **Units:** mL, cm², mm, s. **Allocation:** a few MB a
//! call. **Where:** volumes and areas are counted at rest, whatever moves; margins are compared in the now,
//! where the scene is: residual core is warped there on a 1 mm grid, exact to half a voxel and the field's
//! own way back. The oracle's term of *success* and the independent check of the arm's log are the caller's.

use super::{SharedWorld, World};
use crate::distance;
use crate::truth::Label;
use crate::truth::{OPEN, REMOVED, SOLID};
use bregma_core::flow::{Scene, voxel};
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

/// Margins are compared within that of zero, mm.
const CLAMP_MM: f64 = 10.0;
/// Missed margin lies that close to the initial core's surface, mm.
const MISSED_WITHIN_MM: f32 = 5.0;
/// Smallest residual component that makes a resection incomplete, mm³.
const COMPONENT_MM3: usize = 175;

/// What a case came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Core before the first cut, mL.
    pub core_ml: f64,
    /// The part of it that may be removed, mL.
    pub resectable_ml: f64,
    /// Resectable core left, mL.
    pub residual_volume_ml: f64,
    /// All core left, mL.
    pub residual_core_ml: f64,
    /// Share of the resectable core removed.
    pub extent_of_resection: f64,
    /// Tissue removed more than 2 mm outside the initial core, mL.
    pub overcut_ml: f64,
    /// Tissue removed whose cell density is below 20 %, mL.
    pub healthy_removed_ml: f64,
    /// Eloquent tissue removed, mL.
    pub eloquent_removed_ml: f64,
    /// Opened before the start, in none of the others, mL.
    pub corridor_ml: f64,
    /// All that was removed, CSF included, mL.
    pub removed_ml: f64,
    /// Area of cavity wall whose tissue is resectable core near the initial core's surface, cm².
    pub missed_margin_cm2: f64,
    /// Times the instrument entered a true forbidden structure, or cut a vessel that was known or in view.
    pub forbidden_violations: u32,
    /// Vessels cut that nobody could see: thinner than 1 mm, and not in the microscope's view before. Where
    /// vessels do not bleed: times the energised tip met a vessel that no scan shows.
    pub bleeding_events: u32,
    /// Time that the tip was past the craniotomy, s.
    pub tool_time_s: f64,
    /// No violation, at least 95 % of the resectable core removed with at most 1 mL left, overcut within
    /// bounds. The oracle's term and unapproved motions are not in it.
    pub success: bool,
    /// Success, and at least 98 % removed or at most 0.25 mL left.
    pub near_complete: bool,
    /// No residual component of 0.175 mL or more.
    pub complete: bool,
}

/// What is true where and when a scene was made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SceneTruth {
    /// The true cavity wall, as far as it lies in the fine region, and the true tip.
    pub places: Vec<Place>,
    /// Whether residual core is at each voxel's centre, `[64³]`.
    pub residual: Vec<bool>,
    /// All residual core, mL.
    pub residual_core_ml: f64,
    /// Its largest piece, mL.
    pub largest_ml: f64,
}

/// A place where margins are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The voxel of the scene that it lies in.
    pub voxel: usize,
    /// True `tumour_margin`, mm, within ±10.
    pub margin_mm: f32,
    /// What kind of place.
    pub kind: PlaceKind,
    /// How deep under the middle of the craniotomy, along the way in, mm.
    pub depth_mm: f32,
}

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    /// On wall that the scene says the microscope saw.
    Visible,
    /// On the rest of the wall.
    Hidden,
    /// At the tip.
    Tip,
}

impl Place {
    /// How far off an estimate at its voxel is, cut off at ±10 mm as the truth is, mm.
    #[must_use]
    pub fn error_mm(&self, estimated_mm: f64) -> f64 {
        (estimated_mm.clamp(-CLAMP_MM, CLAMP_MM) - f64::from(self.margin_mm)).abs()
    }
}

impl SharedWorld {
    /// Share of each voxel of a grid that holds residual core now, 0 to 255. Ground truth: for an oracle.
    #[must_use]
    pub fn true_residual(&self, grid: &Grid) -> Vec<u8> {
        self.lock().true_residual(grid)
    }

    /// The score so far.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.lock().outcome()
    }

    /// Core removed so far, mL: a thousandth of the work of the whole score.
    #[must_use]
    pub fn removed_core_ml(&self) -> f64 {
        let world = self.lock();
        let truth = &world.patient.truth;
        let core = world.resection.journal.iter().filter(|i| truth.labels[**i as usize].core());
        core.count() as f64 * truth.grid.voxel_ml()
    }

    /// What a scene should have said; of the scene it reads where it lies, and what was seen.
    #[must_use]
    pub fn truth_of(&self, scene: &Scene) -> SceneTruth {
        self.lock().truth_of(scene)
    }

    /// Resectable core left where the scene forbids every cut, mL: what uncertainty forbade, since the true
    /// structures would permit it. Core outside the scene's fine region is not counted.
    #[must_use]
    pub fn declined_ml(&self, scene: &Scene) -> f64 {
        self.lock().declined_ml(scene)
    }

    /// Dice overlap of the scene's residual core (probability of a half and more) with the true one, on
    /// the scene's grid; 1 where both are empty.
    #[must_use]
    pub fn dice_residual(&self, scene: &Scene) -> f64 {
        self.lock().dice_residual(scene)
    }
}

impl World {
    fn residual(&self, index: usize) -> bool {
        self.resection.state[index] == SOLID && self.patient.truth.labels[index].core()
    }

    fn outcome(&self) -> Outcome {
        let (r, truth) = (&self.resection, &self.patient.truth);
        let ml = |voxels: usize| voxels as f64 * truth.grid.voxel_ml();
        let count = |what: &dyn Fn(usize) -> bool| (0..truth.grid.len()).filter(|i| what(*i)).count();
        let core_ml = ml(count(&|i| truth.labels[i].core()));
        let resectable_ml = ml(count(&|i| r.resectable[i]));
        let residual_volume_ml = ml(count(&|i| r.resectable[i] && r.state[i] == SOLID));
        let extent = if resectable_ml > 0.0 { 1.0 - residual_volume_ml / resectable_ml } else { 1.0 };
        let overcut_ml = ml(r.overcut_voxels);
        let success = r.violations == 0
            && extent >= 0.95
            && residual_volume_ml <= 1.0
            && overcut_ml <= f64::max(1.0, 0.2 * core_ml);
        Outcome {
            core_ml,
            resectable_ml,
            residual_volume_ml,
            residual_core_ml: ml(count(&|i| self.residual(i))),
            extent_of_resection: extent,
            overcut_ml,
            healthy_removed_ml: ml(r.healthy_voxels),
            eloquent_removed_ml: ml(r.eloquent_voxels),
            corridor_ml: ml(r.corridor_voxels),
            removed_ml: ml(r.journal.len()),
            missed_margin_cm2: self.missed_margin_cm2(),
            forbidden_violations: r.violations,
            bleeding_events: r.bleeding,
            tool_time_s: r.tool_time.secs_f64(),
            success,
            near_complete: success && (extent >= 0.98 || residual_volume_ml <= 0.25),
            complete: self.largest_component() < COMPONENT_MM3,
        }
    }

    /// Faces between the cavity and resectable core near the initial core's surface. A face of 1 mm² on
    /// a slanted wall overstates its area by up to √3, by 1.5 on average over directions.
    fn missed_margin_cm2(&self) -> f64 {
        const FACES_PER_AREA: f64 = 1.5;
        let (r, truth) = (&self.resection, &self.patient.truth);
        let missed = |i: &usize| r.state[*i] == SOLID && r.resectable[*i] && r.initial_mm[*i].abs() <= MISSED_WITHIN_MM;
        let faces: usize = (0..truth.grid.len()).filter(missed).map(|i| self.open_faces(i)).sum();
        faces as f64 / FACES_PER_AREA * 1e-2
    }

    /// How many of a voxel's six neighbours are cavity: removed, or tissue that the corridor opened.
    fn open_faces(&self, index: usize) -> usize {
        let (r, truth) = (&self.resection, &self.patient.truth);
        neighbours(&self.patient.truth.grid, index)
            .into_iter()
            .flatten()
            .filter(|n| {
                r.state[*n] == REMOVED
                    || (r.state[*n] == OPEN && (truth.labels[*n].tissue() || truth.labels[*n] == Label::Csf))
            })
            .count()
    }

    /// Largest piece of residual core, joined over faces, mm³.
    fn largest_component(&self) -> usize {
        let n = self.patient.truth.grid.len();
        let mut left: Vec<bool> = (0..n).map(|i| self.residual(i)).collect();
        let (mut largest, mut stack) = (0, Vec::new());
        for start in 0..n {
            if !left[start] {
                continue;
            }
            left[start] = false;
            stack.push(start);
            let mut size = 0;
            while let Some(index) = stack.pop() {
                size += 1;
                for next in neighbours(&self.patient.truth.grid, index).into_iter().flatten() {
                    if std::mem::take(&mut left[next]) {
                        stack.push(next);
                    }
                }
            }
            largest = largest.max(size);
        }
        largest
    }

    /// Whether a point holds residual core now.
    pub(super) fn residual_now(&self, at: &Point3<f64>) -> bool {
        let grid = &self.patient.truth.grid;
        grid.containing(&self.field().rest(at)).is_some_and(|v| self.residual(grid.index(v)))
    }

    /// Share of each voxel that holds residual core now, 0 to 255, by points a millimetre apart at most.
    fn true_residual(&self, grid: &Grid) -> Vec<u8> {
        let across = grid.spacing_mm.ceil().max(1.0) as usize;
        let points = across.pow(3);
        let step = grid.spacing_mm / across as f64;
        let off = |n: usize| (n as f64 - 0.5 * (across as f64 - 1.0)) * step;
        let offsets: Vec<Vector3<f64>> = (0..points)
            .map(|n| Vector3::new(off(n % across), off(n / across % across), off(n / across / across)))
            .collect();
        (0..grid.len())
            .map(|i| {
                let at = grid.centre(grid.voxel(i));
                let full = offsets.iter().filter(|off| self.residual_now(&(at + *off))).count();
                (full * 255 / points) as u8
            })
            .collect()
    }

    /// True `tumour_margin` now, within 12 mm of where the initial core can be: a grid and its field, mm.
    /// Outside it the margin is beyond the clamp.
    fn true_margin(&self) -> (Grid, Vec<f32>) {
        let truth = &self.patient.truth;
        let (mut low, mut high) = (truth.grid.dims, [0; 3]);
        for index in (0..truth.grid.len()).filter(|i| truth.labels[*i].core()) {
            for (a, v) in truth.grid.voxel(index).into_iter().enumerate() {
                low[a] = low[a].min(v);
                high[a] = high[a].max(v);
            }
        }
        let room = (CLAMP_MM + self.field().largest_mm()).ceil() as usize + 2;
        let dims = std::array::from_fn(|a| (high[a] + 2 * room + 1).saturating_sub(low[a]));
        let origin = std::array::from_fn(|a| truth.grid.origin[a] + low[a] as f64 - room as f64);
        let grid = Grid { dims, spacing_mm: 1.0, origin };
        let there: Vec<bool> = (0..grid.len()).map(|i| self.residual_now(&grid.centre(grid.voxel(i)))).collect();
        let field = distance::signed(dims, |i| there[i]);
        (grid, field)
    }

    fn truth_of(&self, scene: &Scene) -> SceneTruth {
        let truth = &self.patient.truth;
        let left = (0..truth.grid.len()).filter(|i| self.residual(*i)).count();
        SceneTruth {
            places: self.places(scene),
            residual: (0..scene.grid.len())
                .map(|i| self.residual_now(&scene.grid.centre(scene.grid.voxel(i))))
                .collect(),
            residual_core_ml: left as f64 * truth.grid.voxel_ml(),
            largest_ml: self.largest_component() as f64 * truth.grid.voxel_ml(),
        }
    }

    fn places(&self, scene: &Scene) -> Vec<Place> {
        let truth = &self.patient.truth;
        let (near, margin) = self.true_margin();
        let way_in = (self.patient.corridor.target - self.patient.corridor.entry).normalize();
        let place = |at: &Point3<f64>, voxel: [usize; 3], kind| Place {
            voxel: scene.grid.index(voxel),
            margin_mm: near.sample(&margin, at, CLAMP_MM as f32).clamp(-CLAMP_MM as f32, CLAMP_MM as f32),
            kind,
            depth_mm: (at - self.patient.craniotomy.centre).dot(&way_in) as f32,
        };
        let mut places = Vec::new();
        for index in 0..truth.grid.len() {
            let wall =
                self.resection.state[index] == SOLID && truth.labels[index].tissue() && self.open_faces(index) > 0;
            if !wall {
                continue;
            }
            let at = self.field().now(&truth.grid.centre(truth.grid.voxel(index)));
            let Some(v) = scene.grid.containing(&at) else { continue };
            places.push(place(&at, v, if seen(scene, v) { PlaceKind::Visible } else { PlaceKind::Hidden }));
        }
        let tip = self.arm.true_tip.position().coordinates();
        places.extend(scene.grid.containing(&tip).map(|v| place(&tip, v, PlaceKind::Tip)));
        places
    }

    fn declined_ml(&self, scene: &Scene) -> f64 {
        let (r, grid) = (&self.resection, &self.patient.truth.grid);
        let forbidden = |i: &usize| {
            let at = self.field().now(&grid.centre(grid.voxel(*i)));
            let voxel = scene.grid.containing(&at);
            voxel.is_some_and(|v| scene.state[scene.grid.index(v)] & voxel::FORBIDDEN != 0)
        };
        let left = (0..grid.len()).filter(|i| r.resectable[*i] && r.state[*i] == SOLID);
        left.filter(forbidden).count() as f64 * grid.voxel_ml()
    }

    fn dice_residual(&self, scene: &Scene) -> f64 {
        let (mut both, mut sum) = (0_usize, 0_usize);
        for (index, probability) in scene.residual.iter().enumerate() {
            let real = self.residual_now(&scene.grid.centre(scene.grid.voxel(index)));
            let said = *probability >= 128;
            both += usize::from(real && said);
            sum += usize::from(real) + usize::from(said);
        }
        if sum == 0 { 1.0 } else { 2.0 * both as f64 / sum as f64 }
    }
}

/// The six neighbours of a truth voxel.
pub(super) fn neighbours(grid: &Grid, index: usize) -> [Option<usize>; 6] {
    let mut found = [None; 6];
    let (mut stride, mut rest) = (1, index);
    for axis in 0..3 {
        let c = rest % grid.dims[axis];
        rest /= grid.dims[axis];
        found[2 * axis] = (c > 0).then(|| index - stride);
        found[2 * axis + 1] = (c + 1 < grid.dims[axis]).then(|| index + stride);
        stride *= grid.dims[axis];
    }
    found
}

/// Whether the scene says that the microscope saw the wall at a voxel or one beside it: the scene's wall
/// and the true one differ by up to a voxel.
fn seen(scene: &Scene, v: [usize; 3]) -> bool {
    let bit = |v: [usize; 3]| scene.state[scene.grid.index(v)] & voxel::VISIBLE != 0;
    bit(v)
        || (0..3).any(|a| {
            let mut low = v;
            low[a] = v[a].saturating_sub(1);
            let mut high = v;
            high[a] = (v[a] + 1).min(scene.grid.dims[a] - 1);
            bit(low) || bit(high)
        })
}
