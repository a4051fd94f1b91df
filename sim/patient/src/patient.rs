//! One patient from one seed.
//!
//! Anatomy, tumour, vessels, eloquent regions, and the way in. **Frames:** patient LPS, mm, in the frame
//! that the patient's UID names. **Determinism:** the same seed and settings give the same bytes.
//! **Allocation:** about 40 MB. **Not modelled:** brain shift.

use crate::anatomy::approach::{self, Goal};
use crate::anatomy::eloquent;
use crate::anatomy::head::{Head, SKULL_INNER_MM, SKULL_OUTER_MM, tissue};
use crate::anatomy::imported::ImportedAnatomy;
use crate::anatomy::template::{self, Template, TemplateError};
use crate::anatomy::vessels::{self, Branch, FORBIDDEN_DIAMETER_MM, VesselKind};
use crate::anatomy::warp::Variety;
use crate::distance;
use crate::kind::WorldKind;
use crate::random::{Draws, Purpose};
use crate::scanner::ScannerSettings;
use crate::truth::{self, Label, Truth};
use crate::tumour::mass_effect::{AtRest, MassEffect};
use crate::tumour::{CORE_DENSITY, Growth, Tumour, TumourSettings, ball_radius_mm};
use bregma_core::flow::{Anatomy, Capsule, Corridor, Craniotomy, Region, RegionKind};
use bregma_core::frame::FrameId;
use bregma_core::grid::Grid;
use nalgebra::Point3;

/// Largest extent of a core along an axis from its centroid, mm: within the fine region's 40.
const CORE_REACH_MM: f64 = 36.0;
/// The same for larger cores, over the radius of the ball of their volume: 50 mm at 110 mL. They do not
/// fit the fine region at once.
const LARGE_REACH: f64 = 1.7;
/// Depth of the core's near surface below the convexity, mm.
const NEAR_DEPTH_MM: std::ops::RangeInclusive<f64> = 5.0..=25.0;
/// From that volume on a core may come nearer to the surface and the midline: no head holds it otherwise.
const LARGE_ML: f64 = 25.0;
/// Least depth of a large core's near surface, mm: a mantle of cortex stays above it, pushed there by the
/// mass.
const LARGE_NEAR_MM: f64 = 2.5;

/// What patients are drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientSettings {
    /// Whose anatomy.
    pub world: WorldKind,
    /// Smallest and largest core, mL; drawn log-uniformly. At most 110.
    pub core_ml: [f64; 2],
    /// Largest relative change of the template's axes; at most 0.1.
    pub warp_share: f64,
    /// Root-mean-square displacement of the smooth part of the warp, mm; at most 5.
    pub warp_smooth_mm: f64,
    /// Distance that vessels of 1 mm or more keep from the core, mm.
    pub vessel_clearance_mm: f64,
    /// Smallest and largest distance of eloquent tissue that the core's place is drawn for, mm.
    pub eloquent_clearance_mm: [f64; 2],
    /// Most places that are tried.
    pub attempts: usize,
    /// What tumours are drawn from.
    pub tumour: TumourSettings,
    /// What scans are drawn from.
    pub scanner: ScannerSettings,
}

impl Default for PatientSettings {
    fn default() -> Self {
        Self {
            world: WorldKind::Home,
            core_ml: [2.0, 20.0],
            warp_share: 0.08,
            warp_smooth_mm: 4.0,
            vessel_clearance_mm: 4.0,
            eloquent_clearance_mm: [2.0, 12.0],
            attempts: 24,
            tumour: TumourSettings::default(),
            scanner: ScannerSettings::default(),
        }
    }
}

impl PatientSettings {
    /// What a world's patients are drawn from; [`Self::default`] is the home world's.
    #[must_use]
    pub fn of(world: WorldKind) -> Self {
        match world {
            WorldKind::Home => Self::default(),
            WorldKind::Foreign => Self {
                world,
                warp_share: 0.1,
                warp_smooth_mm: 5.0,
                vessel_clearance_mm: 3.0,
                tumour: TumourSettings::foreign(),
                scanner: ScannerSettings::foreign(),
                ..Self::default()
            },
        }
    }
}

/// There is no such patient.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GrowError {
    /// The embedded anatomy cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A setting is outside its range.
    #[error("patient setting {name} is {value}; {right} is needed")]
    Setting {
        /// Which.
        name: &'static str,
        /// As given.
        value: String,
        /// What would be right.
        right: &'static str,
    },
    /// No place in this head holds such a tumour with a clear way in.
    #[error(
        "seed {seed}: no place for a core of {core_ml:.1} mL with a clear way in was found in {attempts} attempts; try another seed"
    )]
    NoPlace {
        /// The seed.
        seed: u64,
        /// The core that was drawn.
        core_ml: f64,
        /// How many places were tried.
        attempts: usize,
    },
}

/// A digital patient. What the runtime may know of it: [`Patient::anatomy`] and its scans.
pub struct Patient {
    pub(crate) seed: u64,
    pub(crate) uid: String,
    pub(crate) head: Head,
    pub(crate) truth: Truth,
    pub(crate) vessels: Vec<Capsule>,
    /// What each vessel is and goes on from.
    pub(crate) branches: Vec<Branch>,
    pub(crate) craniotomy: Craniotomy,
    pub(crate) corridor: Corridor,
    /// Whether T1c shows the core's living part.
    pub(crate) enhances: bool,
    pub(crate) scanner: ScannerSettings,
    pub(crate) eloquent_coarse: Vec<u8>,
    pub(crate) core_ml: f64,
    pub(crate) growth_days: f64,
    pub(crate) murray_exponent: Option<f64>,
}

impl Patient {
    /// Grows the patient of a seed.
    ///
    /// # Errors
    /// [`GrowError`], by what is wrong.
    pub fn grow(seed: u64, settings: &PatientSettings) -> Result<Self, GrowError> {
        Self::grow_on(template::of(settings.world)?, seed, settings)
    }

    /// Grows the patient of a seed in an imported head.
    ///
    /// # Errors
    /// [`GrowError`], by what is wrong.
    pub fn grow_in(anatomy: &ImportedAnatomy, seed: u64, settings: &PatientSettings) -> Result<Self, GrowError> {
        Self::grow_on(&anatomy.template, seed, settings)
    }

    fn grow_on(template: &Template, seed: u64, settings: &PatientSettings) -> Result<Self, GrowError> {
        check(settings)?;
        let variety = Variety { share: settings.warp_share, smooth_mm: settings.warp_smooth_mm };
        let mut head = Head::grow(template, seed, variety);
        let rest = AtRest::of(&head);
        let eloquent_rest_mm = coarse_distance(&head, &coarse_eloquent(&head, None));
        let mut draws = Draws::new(seed, Purpose::Tumour);
        let core_ml = draws.log_uniform(settings.core_ml[0], settings.core_ml[1]);
        let growth = Growth::drawn(&mut draws, core_ml, &settings.tumour);
        let edge = truth::edge(core_ml);
        for attempt in 0..settings.attempts {
            rest.restore(&mut head);
            let Some(origin) = place(&head, &mut draws, &eloquent_rest_mm, core_ml, settings) else { break };
            let push = MassEffect::new(head.grid.centre(origin), core_ml, growth.displaced_share);
            push.displace(&mut head, &rest);
            let (grid, tissues) = truth::crop(&head, origin, edge);
            let room = if core_ml > LARGE_ML { below_mantle(&head, &grid, &tissues) } else { tissues.clone() };
            let Some(tumour) = growth.grow(&grid, &room, grid.index([edge / 2; 3])) else { continue };
            let eloquent = truth::eloquent_map(&head, &push, &grid, &tissues);
            let core: Vec<Point3<f64>> = (0..grid.len())
                .filter(|i| tumour.density[*i] >= CORE_DENSITY)
                .map(|i| grid.centre(grid.voxel(i)))
                .collect();
            let Some(goal) = fits(&head, &core, &tumour, &eloquent) else { continue };
            let eloquent_coarse = coarse_eloquent(&head, Some(&push));
            let eloquent_mm = coarse_distance(&head, &eloquent_coarse);
            let outside = distance::signed(grid.dims, |i| tumour.density[i] >= CORE_DENSITY);
            let far = |at: &Point3<f64>| f64::from(grid.sample(&outside, at, 50.0));
            let mut vessel_draws = Draws::new(seed.wrapping_add((attempt as u64) << 40), Purpose::Vessels);
            let vasculature = vessels::grow(&head, &mut vessel_draws, settings.vessel_clearance_mm, &far);
            let vessels = &vasculature.pieces;
            let radius = Draws::new(seed, Purpose::Approach).uniform(16.0, 20.0);
            let Some((craniotomy, corridor)) = approach::choose(&head, &goal, &eloquent_mm, vessels, radius) else {
                continue;
            };
            let necrotic = growth.necrotic(&grid, &tumour.density);
            let wide = |v: &&Capsule| 2.0 * v.radius_mm >= FORBIDDEN_DIAMETER_MM;
            let truth = Truth {
                labels: truth::labels(&head, &grid, &tissues, &tumour.density, &necrotic),
                eloquent_mm: truth::eloquent_distance(&grid, &eloquent),
                vessel_mm: truth::vessel_distance(&grid, vessels.iter().filter(wide)),
                thin_vessel_mm: truth::vessel_distance(&grid, vessels.iter().filter(|v| !wide(v))),
                density: tumour.density,
                eloquent,
                grid,
            };
            return Ok(Self {
                seed,
                uid: format!("2.25.{}", 1_000_000_000 + u128::from(seed)),
                core_ml: core.len() as f64 * 1e-3,
                growth_days: tumour.days,
                enhances: growth.enhances,
                scanner: settings.scanner,
                head,
                truth,
                murray_exponent: vasculature.fitted_exponent(),
                vessels: vasculature.pieces,
                branches: vasculature.branches,
                craniotomy,
                corridor,
                eloquent_coarse,
            });
        }
        Err(GrowError::NoPlace { seed, core_ml, attempts: settings.attempts })
    }

    /// Its seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The scans' frame-of-reference UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The frame that the UID names.
    #[must_use]
    pub fn frame(&self) -> FrameId {
        FrameId::of_uid(&self.uid)
    }

    /// Volume of the core before the first cut, mL, for reports.
    #[must_use]
    pub const fn core_ml(&self) -> f64 {
        self.core_ml
    }

    /// How long the tumour grew, days.
    #[must_use]
    pub const fn growth_days(&self) -> f64 {
        self.growth_days
    }

    /// What is at a point at rest; `None` far from the tumour. Ground truth, for pictures.
    #[must_use]
    pub fn label_at(&self, at: &Point3<f64>) -> Option<Label> {
        let grid = &self.truth.grid;
        grid.containing(at).map(|v| self.truth.labels[grid.index(v)])
    }

    /// The points at rest whose label is wanted, a millimetre apart. Ground truth, for pictures.
    pub fn labelled(&self, wanted: impl Fn(Label) -> bool) -> impl Iterator<Item = Point3<f64>> {
        let truth = &self.truth;
        (0..truth.grid.len()).filter(move |i| wanted(truth.labels[*i])).map(|i| truth.grid.centre(truth.grid.voxel(i)))
    }

    /// Centres of all voxels of 1 mm about the tumour that hold eloquent tissue, at rest. Ground truth, for scoring.
    pub fn eloquent_voxels(&self) -> impl Iterator<Item = Point3<f64>> {
        let truth = &self.truth;
        (0..truth.grid.len()).filter(|i| truth.eloquent[*i] > 0).map(|i| truth.grid.centre(truth.grid.voxel(i)))
    }

    /// Centres of all voxels of 1 mm within a distance of the craniotomy's middle that are bone with dura, what was sawn out
    /// taken away. Ground truth, for scoring.
    pub fn bone_voxels(&self, within_mm: f64) -> impl Iterator<Item = Point3<f64>> {
        let (grid, hole) = (&self.head.grid, self.craniotomy);
        let [xs, ys, zs] = grid.around(&hole.centre, within_mm);
        let bone = move |at: &Point3<f64>| {
            let off = at - hole.centre;
            let along = off.dot(&hole.outward);
            let sawn = along > -40.0 && (off - hole.outward * along).norm() <= hole.radius_mm;
            let above = -self.head.depth_mm(at);
            off.norm() <= within_mm && !sawn && (SKULL_INNER_MM..SKULL_OUTER_MM).contains(&above)
        };
        zs.flat_map(move |k| {
            let xs = xs.clone();
            ys.clone().flat_map(move |j| xs.clone().map(move |i| [i, j, k]))
        })
        .map(move |v| grid.centre(v))
        .filter(bone)
    }

    /// Every piece of every vessel with its kind, whether a scan shows it or not, for reports.
    pub fn vessels(&self) -> impl Iterator<Item = (VesselKind, &Capsule)> {
        self.branches.iter().map(|b| b.kind).zip(&self.vessels)
    }

    /// Murray's exponent fitted to the vessels' branchings, for reports; `None` where nothing branches.
    #[must_use]
    pub const fn murray_exponent(&self) -> Option<f64> {
        self.murray_exponent
    }

    /// What was planned and known before the start: what the runtime may know.
    ///
    /// The region map has voxels of 2 mm; one is eloquent when any of its eight 1 mm voxels is.
    #[must_use]
    pub fn anatomy(&self) -> Anatomy {
        let grid = self.head.coarse;
        let mut labels = self.eloquent_coarse.clone();
        let axis = self.craniotomy.outward;
        for (index, label) in labels.iter_mut().enumerate() {
            let above = -f64::from(self.head.depth[index]);
            if *label > 0 || !(SKULL_INNER_MM..SKULL_OUTER_MM).contains(&above) {
                continue;
            }
            let off = grid.centre(grid.voxel(index)) - self.craniotomy.centre;
            let along = off.dot(&axis);
            let sawn = along > -40.0 && (off - axis * along).norm() <= self.craniotomy.radius_mm;
            if !sawn {
                *label = eloquent::SKULL;
            }
        }
        let eloquent = eloquent::NAMES.iter().map(|(label, name)| (*label, *name, RegionKind::Eloquent));
        let regions = eloquent
            .chain([(eloquent::SKULL, "skull", RegionKind::Skull)])
            .map(|(label, name, kind)| Region { label, name: name.to_owned(), kind })
            .collect();
        let shown = |v: &&Capsule| 2.0 * v.radius_mm >= FORBIDDEN_DIAMETER_MM;
        let mut anatomy = Anatomy {
            frame: self.frame(),
            vessels: self.vessels.iter().filter(shown).cloned().collect(),
            grid,
            labels,
            regions,
            craniotomy: self.craniotomy,
            corridor: self.corridor,
            digest: bregma_core::digest::Digest::default(),
        };
        anatomy.digest = anatomy.digest_of_content();
        anatomy
    }

    /// Whether a truth voxel is open when the case starts: outside, in the craniotomy, in the corridor.
    pub(crate) fn open_at_start(&self, index: usize) -> bool {
        let at = self.truth.grid.centre(self.truth.grid.voxel(index));
        match self.truth.labels[index] {
            Label::Outside => true,
            Label::Skull => {
                let off = at - self.craniotomy.centre;
                let along = off.dot(&self.craniotomy.outward);
                along > -40.0 && (off - self.craniotomy.outward * along).norm() <= self.craniotomy.radius_mm
            }
            Label::Enhancing | Label::Necrosis => false,
            Label::Csf | Label::Grey | Label::White | Label::Infiltrated => self.corridor.holds(&at, 10.0),
        }
    }
}

fn check(settings: &PatientSettings) -> Result<(), GrowError> {
    let range = |name, [low, high]: [f64; 2], most: f64, right| {
        let inside = low > 0.0 && low <= high && high <= most;
        if inside { Ok(()) } else { Err(GrowError::Setting { name, value: format!("{low} to {high}"), right }) }
    };
    range("core_ml", settings.core_ml, 110.0, "0 < low <= high <= 110 mL")?;
    range("tumour.displaced_share", settings.tumour.displaced_share, 0.9, "0 < low <= high <= 0.9")?;
    range("eloquent_clearance_mm", settings.eloquent_clearance_mm, 40.0, "0 < low <= high <= 40 mm")?;
    let one = |name, value: f64, most: f64, right| {
        let inside = (0.0..=most).contains(&value);
        if inside { Ok(()) } else { Err(GrowError::Setting { name, value: value.to_string(), right }) }
    };
    one("tumour.low_grade_share", settings.tumour.low_grade_share, 1.0, "0 to 1")?;
    one("tumour.multifocal_share", settings.tumour.multifocal_share, 1.0, "0 to 1")?;
    settings.scanner.check().map_err(|(name, value)| GrowError::Setting { name, value, right: "0 to 1" })?;
    one("warp_share", settings.warp_share, 0.1, "0 to 0.1")?;
    one("warp_smooth_mm", settings.warp_smooth_mm, 5.0, "0 to 5 mm")?;
    one("vessel_clearance_mm", settings.vessel_clearance_mm, 20.0, "0 to 20 mm")
}

/// The eloquent region of every coarse voxel: that of any of its eight fine ones.
fn coarse_eloquent(head: &Head, push: Option<&MassEffect>) -> Vec<u8> {
    let (grid, coarse) = (&head.grid, &head.coarse);
    let fine = |v: [usize; 3]| {
        let index = grid.index(v);
        match head.tissue[index] {
            tissue::GREY | tissue::WHITE => {
                let now = grid.centre(v);
                let rest = push.map_or(now, |p| p.rest(head, &now));
                eloquent::region(&head.warp.mni_ras(&rest))
            }
            _ => 0,
        }
    };
    (0..coarse.len())
        .map(|i| {
            let [x, y, z] = coarse.voxel(i).map(|n| 2 * n);
            (0..8).map(|c| fine([x + (c & 1), y + (c >> 1 & 1), z + (c >> 2)])).max().unwrap_or(0)
        })
        .collect()
}

/// Distance of every coarse voxel from eloquent tissue, mm.
fn coarse_distance(head: &Head, eloquent: &[u8]) -> Vec<f32> {
    let squared = distance::squared(head.coarse.dims, |i| eloquent[i] > 0);
    squared.into_iter().map(|d| 2.0 * d.sqrt() - 1.0).collect()
}

/// Draws where the tumour starts: white matter above the tentorium at the wanted depth.
fn place(
    head: &Head,
    draws: &mut Draws,
    eloquent_mm: &[f32],
    core_ml: f64,
    settings: &PatientSettings,
) -> Option<[usize; 3]> {
    let radius = ball_radius_mm(core_ml);
    for _ in 0..200_000 {
        let voxel: [usize; 3] = std::array::from_fn(|a| draws.below(head.grid.dims[a]));
        if head.tissue[head.grid.index(voxel)] != tissue::WHITE {
            continue;
        }
        let at = head.grid.centre(voxel);
        let mni = head.warp.mni_ras(&at);
        let above_tentorium = mni.z > 0.0 || (mni.z > -15.0 && mni.y > -20.0);
        let depth = head.depth_mm(&at) - radius;
        let clearance = draws.uniform(settings.eloquent_clearance_mm[0], settings.eloquent_clearance_mm[1]);
        let eloquent = f64::from(head.coarse.sample(eloquent_mm, &at, 100.0)) - radius;
        // Two millimetres inside the range: the grown core is no ball.
        let (near, aside) = if core_ml > LARGE_ML {
            (-0.35 * radius, 0.7 * radius)
        } else {
            (NEAR_DEPTH_MM.start() + 2.0, radius + 4.0)
        };
        let deep_enough = depth >= near && depth <= NEAR_DEPTH_MM.end() - 3.0;
        if above_tentorium && deep_enough && mni.x.abs() > aside && eloquent >= clearance {
            return Some(voxel);
        }
    }
    None
}

/// The tissues with the outermost ones taken away, as a large core finds them.
fn below_mantle(head: &Head, grid: &Grid, tissues: &[u8]) -> Vec<u8> {
    // Half a millimetre more than the least depth: the field is interpolated between 2 mm voxels.
    let deep = |i: usize| head.depth_mm(&grid.centre(grid.voxel(i))) >= LARGE_NEAR_MM + 0.5;
    let kept = |(i, t): (usize, &u8)| if *t != tissue::OUTSIDE && deep(i) { *t } else { tissue::OUTSIDE };
    tissues.iter().enumerate().map(kept).collect()
}

/// The grown core as a goal; `None` where it lies too deep or shallow, is too wide, or holds eloquent
/// tissue.
fn fits<'a>(head: &Head, core: &'a [Point3<f64>], tumour: &Tumour, eloquent: &[u8]) -> Option<Goal<'a>> {
    let touched = eloquent.iter().zip(&tumour.density).filter(|(e, u)| **e > 0 && **u >= CORE_DENSITY).count();
    let sum = core.iter().fold(nalgebra::Vector3::zeros(), |sum, p| sum + p.coords);
    let centroid = Point3::from(sum / core.len().max(1) as f64);
    let reach = core.iter().map(|p| (p - centroid).amax()).fold(0.0, f64::max);
    let depth = core.iter().map(|p| head.depth_mm(p)).fold(f64::INFINITY, f64::min);
    let goal = Goal { voxels: core, centroid, radius_mm: ball_radius_mm(core.len() as f64 * 1e-3) };
    let large = core.len() as f64 * 1e-3 > LARGE_ML;
    let reach_max = if large { CORE_REACH_MM.max(LARGE_REACH * goal.radius_mm) } else { CORE_REACH_MM };
    let near = if large { LARGE_NEAR_MM } else { *NEAR_DEPTH_MM.start() };
    (touched == 0 && reach <= reach_max && (near..=*NEAR_DEPTH_MM.end()).contains(&depth)).then_some(goal)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bregma_core::flow::Modality;
    use std::sync::{Arc, OnceLock};

    /// One patient for the tests of this crate.
    pub(crate) fn grown() -> Arc<Patient> {
        static GROWN: OnceLock<Arc<Patient>> = OnceLock::new();
        let grow = || Arc::new(Patient::grow(2, &PatientSettings::default()).expect("seed 2 has a patient"));
        GROWN.get_or_init(grow).clone()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
        let (a, b) = (grown(), Patient::grow(2, &PatientSettings::default()).expect("as before"));
        assert_eq!(a.anatomy(), b.anatomy());
        assert!(a.truth.density.iter().zip(&b.truth.density).all(|(x, y)| x.to_bits() == y.to_bits()));
        let scans = [a.scan(Modality::T1c), b.scan(Modality::T1c)];
        assert!(scans[0].intensities.iter().zip(&scans[1].intensities).all(|(x, y)| x.to_bits() == y.to_bits()));
        let other = Patient::grow(3, &PatientSettings::default()).expect("seed 3 has a patient");
        assert_ne!(a.anatomy().digest, other.anatomy().digest);
    }

    #[test]
    fn patients_are_what_the_settings_say() {
        for seed in [2, 1000, 1001, 1002] {
            let grown_now = if seed == 2 {
                grown()
            } else {
                Arc::new(Patient::grow(seed, &PatientSettings::default()).expect("grows"))
            };
            let (p, t) = (&*grown_now, &grown_now.truth);
            assert!((2.0..=21.0).contains(&p.core_ml()), "seed {seed}: {} mL", p.core_ml());
            let core: Vec<usize> = (0..t.grid.len()).filter(|i| t.labels[*i].core()).collect();
            assert_eq!(core.len(), (p.core_ml() * 1e3).round() as usize);
            let at = |i: &usize| t.grid.centre(t.grid.voxel(*i));
            let depth = core.iter().map(|i| p.head.depth_mm(&at(i))).fold(f64::INFINITY, f64::min);
            assert!((5.0..=25.0).contains(&depth), "seed {seed}: near surface {depth} mm deep");
            assert!(core.iter().all(|i| t.eloquent[*i] == 0 && (at(i) - p.corridor.target).amax() < 40.0));
            assert!(core.iter().all(|i| t.vessel_mm[*i] > 3.0), "seed {seed}: a wide vessel in the core");
            let necrotic = core.iter().filter(|i| t.labels[**i] == Label::Necrosis).count();
            assert!(necrotic > 0 && necrotic < core.len());
            // The corridor opens no core, ends at it, and keeps clear of what is eloquent.
            let opened = (0..t.grid.len()).filter(|i| p.corridor.holds(&at(i), 0.0));
            assert!(opened.clone().all(|i| t.eloquent[i] == 0));
            let taken = opened.filter(|i| t.labels[*i].core()).count();
            assert!(taken < core.len() / 50, "seed {seed}: {taken} voxels of core in the corridor");
        }
    }

    #[test]
    fn the_left_hand_area_is_on_the_left() {
        let anatomy = grown().anatomy();
        let side = |label: u8| {
            let found = anatomy.labels.iter().enumerate().filter(|(_, l)| **l == label);
            let xs: Vec<f64> = found.map(|(i, _)| anatomy.grid.centre(anatomy.grid.voxel(i)).x).collect();
            assert!(xs.len() > 50, "label {label}");
            xs.iter().sum::<f64>() / xs.len() as f64
        };
        // LPS: +x is the patient's left.
        assert!(side(1) > 20.0 && side(2) < -20.0 && side(3) > 10.0 && side(5) > 30.0 && side(6) > 30.0);
        assert_eq!(anatomy.digest, anatomy.digest_of_content());
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let refused = |change: fn(&mut PatientSettings)| {
            let mut settings = PatientSettings::default();
            change(&mut settings);
            matches!(Patient::grow(1, &settings), Err(GrowError::Setting { .. }))
        };
        assert!(refused(|s| s.core_ml = [f64::NAN, 20.0]));
        assert!(refused(|s| s.core_ml = [2.0, 200.0]));
        assert!(refused(|s| s.warp_share = 0.5));
        assert!(refused(|s| s.warp_smooth_mm = 9.0));
        assert!(refused(|s| s.vessel_clearance_mm = -1.0));
    }
}
