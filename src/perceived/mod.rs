//! How good estimates are: what perceive said, and what others would have said, at frames of whole simulated cases.
//!
//! ```text
//!  a case in lock-step ─┬─► the flow's scene ──┐
//!                       ├─► shadows' scenes ───┼─► Watch ─► CaseFigures ─► a line of a file ─► page
//!                       └─► ladder's rungs ────┘
//!                                truth, after the fact
//! ```
//! Frames are uniform in time: every so many simulated seconds. **Units:** mm, mL. Ground truth is read here, and nothing that is read here reaches a
//! stage.

pub mod cases;
mod page;
pub mod shadow;

use crate::evaluate::{Looked, Rung};
use bregma_core::flow::Scene;
use bregma_core::grid::Grid;
use bregma_core::time::Instant;
use bregma_patient::{Place, PlaceKind, SceneTruth};
use serde::{Deserialize, Serialize};
use shadow::Shadow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Errors are counted in bins of that, mm.
pub const BIN_MM: f64 = 0.05;
/// Bins: errors are cut off at 10 mm on both sides, so that none is larger than 20.
const BINS: usize = 400;

/// What one estimator said at one frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Residual core, mL: of the whole head, where that is said; else in the fine region.
    pub residual_ml: f64,
    /// Its largest piece in the fine region, mL.
    pub largest_ml: f64,
    /// Dice's overlap with the true residual core in the fine region.
    pub dice: f64,
    /// Sum of errors on visible wall, mm, and how many.
    pub visible: (f64, u64),
    /// On hidden wall.
    pub hidden: (f64, u64),
    /// At the tip, mm.
    pub tip: Option<f64>,
}

impl Said {
    /// Sum of errors on visible wall and at the tip, mm, and how many.
    #[must_use]
    pub fn seen(&self) -> (f64, u64) {
        (self.visible.0 + self.tip.unwrap_or(0.0), self.visible.1 + u64::from(self.tip.is_some()))
    }

    /// At all places.
    #[must_use]
    pub fn everywhere(&self) -> (f64, u64) {
        let (sum, n) = self.seen();
        (sum + self.hidden.0, n + self.hidden.1)
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// Simulated time, s.
    pub at_s: f64,
    /// True residual core, mL.
    pub true_ml: f64,
    /// Its largest piece, mL.
    pub largest_ml: f64,
    /// What each estimator said.
    pub said: BTreeMap<String, Said>,
}

/// How the interval that scenes state did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Covered {
    /// Places whose truth lies in it.
    pub within: u64,
    /// Places.
    pub places: u64,
    /// Sum of widths, mm.
    pub width_mm: f64,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseFigures {
    /// Which.
    pub seed: u64,
    /// Where.
    pub world: String,
    /// Hash of estimator and planner.
    pub model: String,
    /// Frames in order.
    pub frames: Vec<Frame>,
    /// The flow's interval, by stratum.
    pub covered: BTreeMap<String, Covered>,
    /// How many of the flow's errors lie in each bin of [`BIN_MM`].
    pub errors: Vec<u64>,
}

/// Watches a case.
pub struct Watch {
    shadows: Vec<Shadow>,
    frames: Vec<Frame>,
    covered: BTreeMap<String, Covered>,
    errors: Vec<u64>,
}

/// The flow's own estimator, as frames name it.
pub const OWN: &str = "own";
/// The classical estimator beside it.
pub const CLASSICAL: &str = "classical";

impl Watch {
    /// With these others beside the flow.
    #[must_use]
    pub fn new(shadows: Vec<Shadow>) -> Self {
        Self { shadows, frames: Vec::new(), covered: BTreeMap::new(), errors: vec![0; BINS] }
    }

    /// What an estimator beside the flow says of the frame that a scene was made of.
    pub fn beside(&mut self, name: &str, scene: &Scene) -> Option<Arc<Scene>> {
        self.shadows.iter_mut().find(|shadow| shadow.name == name)?.beside(scene).cloned()
    }

    /// Takes down what was said of a frame whose truth is known. `fault`: something is broken now.
    pub fn look(&mut self, scene: &Scene, Looked { truth, rungs }: &Looked, fault: bool) {
        let mut said = BTreeMap::from([(OWN.to_owned(), by_scene(scene, truth))]);
        for shadow in &mut self.shadows {
            let name = shadow.name.to_owned();
            if let Some(other) = shadow.beside(scene) {
                said.insert(name, by_scene(other, truth));
            }
        }
        for Rung { name, core, margins } in rungs {
            let ml = core.iter().filter(|c| **c).count() as f64 * scene.grid.voxel_ml();
            said.insert((*name).to_owned(), what(&scene.grid, core, &|voxel| f64::from(margins[voxel]), ml, truth));
        }
        let (true_ml, largest_ml) = (truth.residual_core_ml, truth.largest_ml);
        let mri_min = scene.captured.since(scene.scanned).map_or(0.0, |age| age.secs_f64() / 60.0);
        for place in &truth.places {
            let (error_mm, half_mm) = (place.error_mm(scene.margin_mm(place.voxel)), scene.interval_mm(place.voxel));
            self.errors[((error_mm / BIN_MM) as usize).min(BINS - 1)] += 1;
            for stratum in strata_of(place, truth, mri_min, fault) {
                let covered = self.covered.entry(stratum.to_owned()).or_default();
                covered.places += 1;
                covered.within += u64::from(error_mm <= half_mm);
                covered.width_mm += 2.0 * half_mm;
            }
        }
        let at_s = scene.captured.since(Instant::START).map_or(0.0, |d| d.secs_f64());
        self.frames.push(Frame { at_s, true_ml, largest_ml, said });
    }

    /// What it came to.
    #[must_use]
    pub fn figures(self, seed: u64, world: &str, model: String) -> CaseFigures {
        let Self { frames, covered, errors, .. } = self;
        CaseFigures { seed, world: world.to_owned(), model, frames, covered, errors }
    }
}

/// Every stratum.
pub const STRATA: [&str; 14] = [
    "all",
    "visible wall",
    "hidden wall",
    "at the tip",
    "less than 20 mm deep",
    "20 to 40 mm deep",
    "more than 40 mm deep",
    "residual of 5 mL or more",
    "residual of 1 to 5 mL",
    "residual below 1 mL",
    "MRI of the last 5 minutes",
    "MRI older than 5 minutes",
    "with a fault",
    "without a fault",
];

/// Those that a place is in, so many minutes after the newest MRI.
#[must_use]
pub fn strata_of(place: &Place, truth: &SceneTruth, mri_min: f64, fault: bool) -> [&'static str; 6] {
    strata(place.kind, f64::from(place.depth_mm), truth.residual_core_ml, mri_min, fault)
}

fn strata(kind: PlaceKind, depth_mm: f64, true_ml: f64, mri_min: f64, fault: bool) -> [&'static str; 6] {
    let kind = match kind {
        PlaceKind::Visible => STRATA[1],
        PlaceKind::Hidden => STRATA[2],
        PlaceKind::Tip => STRATA[3],
    };
    let deep = if depth_mm < 20.0 { STRATA[4] } else { STRATA[5 + usize::from(depth_mm > 40.0)] };
    let left = if true_ml >= 5.0 { STRATA[7] } else { STRATA[8 + usize::from(true_ml < 1.0)] };
    [STRATA[0], kind, deep, left, STRATA[10 + usize::from(mri_min > 5.0)], STRATA[12 + usize::from(!fault)]]
}

/// What a scene says, held against the truth.
#[must_use]
pub fn by_scene(scene: &Scene, truth: &SceneTruth) -> Said {
    let core: Vec<bool> = scene.margin.iter().map(|margin| *margin < 0).collect();
    what(&scene.grid, &core, &|voxel| scene.margin_mm(voxel), scene.residual_ml, truth)
}

fn what(grid: &Grid, core: &[bool], margin_mm: &dyn Fn(usize) -> f64, residual_ml: f64, truth: &SceneTruth) -> Said {
    let both = core.iter().zip(&truth.residual).filter(|(said, real)| **said && **real).count();
    let each = core.iter().filter(|c| **c).count() + truth.residual.iter().filter(|c| **c).count();
    let mut said = Said {
        residual_ml,
        largest_ml: largest(core, grid) as f64 * grid.voxel_ml(),
        dice: if each == 0 { 1.0 } else { 2.0 * both as f64 / each as f64 },
        ..Said::default()
    };
    for place in &truth.places {
        let error_mm = place.error_mm(margin_mm(place.voxel));
        match place.kind {
            PlaceKind::Visible => said.visible = (said.visible.0 + error_mm, said.visible.1 + 1),
            PlaceKind::Hidden => said.hidden = (said.hidden.0 + error_mm, said.hidden.1 + 1),
            PlaceKind::Tip => said.tip = Some(error_mm),
        }
    }
    said
}

/// Voxels of the largest piece of core, joined over faces.
fn largest(core: &[bool], grid: &Grid) -> usize {
    let dims = grid.dims;
    let steps = [1, dims[0], dims[0] * dims[1]];
    let mut left = core.to_vec();
    let (mut most, mut stack) = (0, Vec::new());
    for start in 0..left.len() {
        if !std::mem::take(&mut left[start]) {
            continue;
        }
        stack.push(start);
        let mut size = 0;
        while let Some(index) = stack.pop() {
            size += 1;
            let at = grid.voxel(index);
            for a in 0..3 {
                let beside = [(at[a] > 0).then(|| index - steps[a]), (at[a] + 1 < dims[a]).then(|| index + steps[a])];
                for next in beside.into_iter().flatten() {
                    if std::mem::take(&mut left[next]) {
                        stack.push(next);
                    }
                }
            }
        }
        most = most.max(size);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_is_held_against_the_truth() {
        let mut scene = Scene::empty();
        let mut truth = SceneTruth { residual: vec![false; scene.margin.len()], ..SceneTruth::default() };
        let at = |x: usize, y: usize| scene.grid.index([x, y, 10]);
        let (said, real) = ([at(10, 10), at(11, 10), at(30, 30)], [at(10, 10), at(12, 10)]);
        said.iter().for_each(|i| scene.margin[*i] = -64);
        real.iter().for_each(|i| truth.residual[*i] = true);
        let place = |voxel, margin_mm, kind| Place { voxel, margin_mm, kind, depth_mm: 30.0 };
        scene.margin[7] = 128;
        scene.interval[7] = 16;
        truth.places =
            vec![place(7, 2.5, PlaceKind::Visible), place(7, 4.0, PlaceKind::Hidden), place(7, 2.0, PlaceKind::Tip)];
        (truth.residual_core_ml, truth.largest_ml) = (0.5, 0.3);
        let mut watch = Watch::new(Vec::new());
        let mut core = vec![false; scene.margin.len()];
        core[real[0]] = true;
        let rung = Rung { name: "static", core, margins: vec![3.0; scene.margin.len()] };
        watch.look(&scene, &Looked { truth, rungs: vec![rung] }, true);
        let figures = watch.figures(9, "home", "abc".into());
        let still = figures.frames[0].said["static"];
        assert!((still.dice - 2.0 / 3.0).abs() < 1e-12 && still.tip == Some(1.0) && still.visible == (0.5, 1));
        let own = figures.frames[0].said[OWN];
        assert!((own.dice - 0.4).abs() < 1e-12);
        assert!((own.largest_ml - 2.0 * scene.grid.voxel_ml()).abs() < 1e-12);
        assert_eq!((own.visible, own.hidden, own.tip), ((0.5, 1), (2.0, 1), Some(0.0)));
        let covered = |stratum: &str| figures.covered.get(stratum).map(|c| (c.within, c.places));
        assert_eq!(covered("all"), Some((2, 3)));
        assert_eq!((covered("visible wall"), covered("hidden wall")), (Some((1, 1)), Some((0, 1))));
        assert_eq!((covered("20 to 40 mm deep"), covered("residual below 1 mL")), (Some((2, 3)), Some((2, 3))));
        assert_eq!((covered("with a fault"), covered("without a fault")), (Some((2, 3)), None));
        assert_eq!((figures.errors[0], figures.errors[10], figures.errors[40]), (1, 1, 1));
        let text = serde_json::to_string(&figures).expect("JSON");
        assert_eq!(serde_json::from_str::<CaseFigures>(&text).expect("it was written"), figures);
    }

    #[test]
    fn every_place_is_in_a_stratum_of_each_kind() {
        for depth_mm in [0.0, 20.0, 41.0] {
            for ml in [0.0, 1.0, 5.0] {
                let of = strata(PlaceKind::Tip, depth_mm, ml, ml, false);
                assert!(of.iter().all(|s| STRATA.contains(s)), "{of:?}");
            }
        }
        assert_eq!(strata(PlaceKind::Hidden, 41.0, 0.5, 6.0, true)[1..4], [STRATA[2], STRATA[6], STRATA[9]]);
    }
}
