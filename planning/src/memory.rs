//! What became of earlier motions: places where the validator said no, and places that did not yield.
//!
//! **Units and frames:** mm, patient LPS; places are kept in patient coordinates because the fine region
//! moves. **Bounds:** at most [`PLACES_MAX`] places; a full memory bars nothing new, and the stage's time
//! limit still ends the case. **Invariant:** what is known of a place only grows,
//! until a new scan.

use bregma_core::flow::{Check, CheckResult, Motion, Scene, Verdict, voxel};
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Most places remembered: ten strokes of every wall of a 110 mL core.
pub const PLACES_MAX: usize = 8192;
/// Points closer than this are one place, mm: the radius of one bite.
pub const PLACE_RADIUS_MM: f64 = 2.0;
/// A place is barred at so many rejections' weight: two where the stroke itself failed,
pub const REJECTIONS_MAX: u8 = 6;
const REJECTED_HERE: u8 = 3;
/// six where the way to the stroke did, or out of it.
const REJECTED_ON_THE_WAY: u8 = 1;
/// Leaving the head is given up after so many.
const LEAVING_MAX: u8 = 2;
/// A stroke without effect wears a place by this much,
pub const WEAR_STALLED: u8 = 4;
/// any other stroke by this much,
pub const WEAR_VISITED: u8 = 1;
/// and at this much it is barred: three strokes without effect, or twelve with.
pub const WEAR_MAX: u8 = 12;

/// How an approved motion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Played to its end.
    Finished,
    /// The validator withdrew its approval.
    Withdrawn,
    /// The gate held it.
    Held,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    at: Point3<f64>,
    rejected: u8,
    wear: u8,
}

/// What one stroke should have changed.
#[derive(Debug, Clone, PartialEq)]
struct Review {
    places: Vec<Point3<f64>>,
    /// Tissue that the tip swept, and whether it was residual core.
    swept: Vec<(Point3<f64>, bool)>,
}

/// The memory of a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    places: Vec<Place>,
    counts: [u64; Check::ALL.len()],
    leave_rejected: u8,
    review: Option<Review>,
}

/// Checks that fail because of the moment, not because of the place.
const fn passing(check: Check) -> bool {
    matches!(check, Check::SceneFresh | Check::TipFresh | Check::StartsAtArm)
}

impl Memory {
    /// How often each check failed, in the order of [`Check::ALL`].
    pub fn rejections(&self) -> impl Iterator<Item = (Check, u64)> + '_ {
        Check::ALL.into_iter().zip(self.counts)
    }

    /// Forgets places; how often checks failed stays known.
    pub(crate) fn forget(&mut self) {
        *self = Self { counts: self.counts, ..Self::default() };
    }

    /// Whether leaving the head was rejected too often to ask again.
    #[must_use]
    pub const fn leaving_is_barred(&self) -> bool {
        self.leave_rejected >= LEAVING_MAX
    }

    /// Takes note of a rejection. Returns whether it is due to the place, and not to the moment or the way there.
    pub fn reject(&mut self, motion: &Motion, verdict: &Verdict) -> bool {
        let mut blamed: Option<&CheckResult> = None;
        let mut of_the_place = false;
        for failed in verdict.checks.iter().filter(|c| !c.passed) {
            if let Some(n) = Check::ALL.iter().position(|c| *c == failed.check) {
                self.counts[n] += 1;
            }
            if !passing(failed.check) {
                of_the_place = true;
                blamed = blamed.or(Some(failed));
            }
        }
        // A verdict that names no failed check still counts against the place: else it would be offered for ever.
        of_the_place |= verdict.checks.iter().all(|c| c.passed);
        if !of_the_place {
            return false;
        }
        let stroke: Vec<_> = energised(motion).collect();
        let Some(first) = stroke.first() else {
            self.leave_rejected = self.leave_rejected.saturating_add(1);
            return true;
        };
        // Where the check failed, if that is on the stroke: there is no cutting there. Else it was the way to it or out of it, and
        // the start of the stroke is tried some times more: the brain moves, and the tip stands elsewhere then.
        let closest =
            blamed.filter(|c| c.check != Check::Retract).and_then(|c| c.at).map(|p| p.coordinates()).and_then(|at| {
                let closest = stroke
                    .iter()
                    .min_by(|a, b| nalgebra::distance_squared(a, &at).total_cmp(&nalgebra::distance_squared(b, &at)))?;
                (nalgebra::distance(closest, &at) <= 2.0 * PLACE_RADIUS_MM).then_some(*closest)
            });
        let nowhere = blamed.is_none_or(|c| c.at.is_none() && c.check != Check::Retract);
        let (at, by) = match closest {
            Some(at) => (at, REJECTED_HERE),
            None if nowhere => (*first, REJECTED_HERE),
            None => (*first, REJECTED_ON_THE_WAY),
        };
        if let Some(place) = self.place(at) {
            place.rejected = place.rejected.saturating_add(by);
        }
        closest.is_some() || nowhere
    }

    /// Takes note of how an approved motion ended; `scene` is the one it was planned on.
    pub fn ended(&mut self, motion: &Motion, scene: &Scene, cut_radius_mm: f64, ending: Ending) {
        let places: Vec<_> = energised(motion).collect();
        match ending {
            Ending::Finished => {
                self.leave_rejected = 0;
                if !places.is_empty() {
                    let swept = swept(scene, &places, cut_radius_mm);
                    self.review = Some(Review { places, swept });
                }
            }
            Ending::Withdrawn => self.wear(&places, WEAR_STALLED),
            Ending::Held => self.wear(&places, WEAR_VISITED),
        }
    }

    /// Compares what the last stroke should have changed with what a later scene shows.
    pub fn review(&mut self, scene: &Scene) {
        let Some(review) = self.review.take() else { return };
        let (mut residual, mut residual_left, mut tissue_left) = (0, 0, 0);
        for (at, was_residual) in &review.swept {
            let index = scene.grid.containing(at).map(|v| scene.grid.index(v));
            let here = index.is_some_and(|i| scene.state[i] & voxel::CAVITY == 0);
            tissue_left += usize::from(here);
            residual += usize::from(*was_residual);
            residual_left += usize::from(*was_residual && here && index.is_some_and(|i| is_residual(scene, i)));
        }
        let stalled = if residual > 0 { 2 * residual_left > residual } else { 2 * tissue_left > review.swept.len() };
        self.wear(&review.places, if stalled { WEAR_STALLED } else { WEAR_VISITED });
    }

    /// One flag a voxel of `grid`: whether the tip shall not cut there any more.
    #[must_use]
    pub fn barred(&self, grid: &Grid) -> Vec<bool> {
        let mut barred = vec![false; grid.len()];
        for place in self.places.iter().filter(|p| p.rejected >= REJECTIONS_MAX || p.wear >= WEAR_MAX) {
            stamp(grid, &place.at, PLACE_RADIUS_MM, |i| barred[i] = true);
        }
        barred
    }

    /// Residual core at barred places, mL.
    #[must_use]
    pub fn declined_ml(&self, scene: &Scene) -> f64 {
        let barred = self.barred(&scene.grid);
        let voxels = (0..scene.grid.len()).filter(|&i| barred[i] && is_residual(scene, i)).count();
        voxels as f64 * scene.grid.voxel_ml()
    }

    fn wear(&mut self, places: &[Point3<f64>], by: u8) {
        // A place is worn once a stroke, however many waypoints lie in it.
        let mut touched: Vec<usize> = places.iter().filter_map(|at| self.index(*at)).collect();
        touched.sort_unstable();
        touched.dedup();
        for i in touched {
            self.places[i].wear = self.places[i].wear.saturating_add(by);
        }
    }

    fn place(&mut self, at: Point3<f64>) -> Option<&mut Place> {
        self.index(at).map(|i| &mut self.places[i])
    }

    /// The place that holds a point, made if there is none; `None` when the memory is full.
    fn index(&mut self, at: Point3<f64>) -> Option<usize> {
        let held = self.places.iter().position(|p| nalgebra::distance(&p.at, &at) <= PLACE_RADIUS_MM);
        held.or_else(|| {
            (self.places.len() < PLACES_MAX).then(|| {
                self.places.push(Place { at, rejected: 0, wear: 0 });
                self.places.len() - 1
            })
        })
    }
}

/// Whether a voxel is residual core: more likely than not, and not yet removed.
pub(crate) fn is_residual(scene: &Scene, index: usize) -> bool {
    scene.residual[index] >= 128 && scene.state[index] & voxel::CAVITY == 0
}

/// Waypoints reached with the ultrasound on.
pub(crate) fn energised(motion: &Motion) -> impl Iterator<Item = Point3<f64>> + '_ {
    let cutting = motion.waypoints.iter().filter(|w| w.energy.ultrasound);
    cutting.map(|w| w.patient_from_tip.position().coordinates())
}

/// Calls `with` for each voxel whose centre lies within `radius_mm` of a point.
pub(crate) fn stamp(grid: &Grid, at: &Point3<f64>, radius_mm: f64, mut with: impl FnMut(usize)) {
    let [xs, ys, zs] = grid.around(at, radius_mm);
    for k in zs {
        for j in ys.clone() {
            for i in xs.clone() {
                if nalgebra::distance_squared(&grid.centre([i, j, k]), at) <= radius_mm * radius_mm {
                    with(grid.index([i, j, k]));
                }
            }
        }
    }
}

fn swept(scene: &Scene, tips: &[Point3<f64>], radius_mm: f64) -> Vec<(Point3<f64>, bool)> {
    let mut indices = Vec::new();
    for at in tips {
        stamp(&scene.grid, at, radius_mm, |i| {
            if scene.state[i] & voxel::CAVITY == 0 {
                indices.push(i);
            }
        });
    }
    indices.sort_unstable();
    indices.dedup();
    indices.into_iter().map(|i| (scene.grid.centre(scene.grid.voxel(i)), is_residual(scene, i))).collect()
}
