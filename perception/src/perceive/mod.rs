//! Perceive: the residual core and its signed margin, as a `Scene` in canonical form.
//!
//! An [`Estimator`] says how likely each voxel of the fine region is residual core; the core is where that
//! is at least one half; its exact signed distance is the margin. The classical estimator is
//! [`classical::Classical`]; a network, [`network::Networked`], stands beside it behind the same trait. Where both say something and a rule was fitted
//! to what they say ([`guarded::Guarded`], [`margin::Rule`]), margin and interval follow from that, and every speck of core counts; else specks are left out.
//!
//! An estimator's memories stay with the tissue, where the scan shows it; the scene is where tissue is now ([`moved`]).
//!
//! **Units:** as in `flow::Scene`. **Interval** where no rule was fitted: half-width 1.96 × the error there plus half a
//! voxel, doubled where the estimate is undecided: `½ · spacing · (1 + 4p(1 − p))`. The error there is `errors.rigid()` and that of the brain's shift: where it is followed, its deviation at the voxel, in
//! quadrature; else `errors.shift`, added.
//! **Forbidden:** eloquent labels and vessels, inflated by a setting plus the error there, which is one
//! standard deviation with the bias, not a bound: whoever plans beside it keeps a clearance of his own.
//! An inflation beyond [`forbidden::REACH_MM`] forbids everything.
//! **Allocation:** in `new` and when a scan arrives; none per frame. **Invariant:** same messages in the
//! same order, same bytes. **Not protected against:** tissue removed outside the fine region: the coarse
//! map keeps what the scan showed there.

pub mod classical;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod forbidden;
pub mod guarded;
pub mod inputs;
pub mod likeness;
pub mod margin;
mod moved;
pub mod network;
pub mod prior;
pub mod trust;
mod whole;

use crate::bits::VoxelBits;
use crate::distance::{DistanceTransform, Distances, NOWHERE, surface_mm};
use crate::engine::EngineError;
use crate::gpu::DeviceError;
use crate::region::Flood;
use crate::scan::{BadScan, Scan};
use bregma_core::digest::Digest;
use bregma_core::flow::roi_channel::{CAVITY, SEEN_AGE};
use bregma_core::flow::{
    Anatomy, INTERVAL_PER_MM, MARGIN_PER_MM, Modality, ROI_EDGE, ROI_SPACING_MM, ROI_VOXELS, RoiFrame, Scene, Sequence,
    Volume, voxel,
};
use bregma_core::frame::FrameId;
use bregma_core::grid::Grid;
use bregma_core::pool::{Pool, PoolDry};
use bregma_core::time::{Duration, Instant};
use bregma_core::{All, Latest, Stage};
use classical::Classical;
use forbidden::ForbiddenField;
use margin::{Amount, Beside, CLASSICAL_FAR, Known, LANES, REACH_MM, Rule};
use moved::Moved;
use std::sync::Arc;
use whole::Whole;

/// Room for scans: four contrasts, twice.
pub const VOLUMES_MAX: usize = 8;
/// Scenes in the pool: what plan, validate, gate, record and display hold, and what waits in their lanes.
const SCENES: usize = 16;
/// Nine in ten of what is normally distributed lie within so many standard deviations.
const NINETY: f32 = 1.645;
/// A residual of at least this is core: probability one half.
pub const CORE_MIN: u8 = 128;

/// What an estimator sees.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The frame.
    pub frame: &'a RoiFrame,
    /// What is open.
    pub cavity: &'a VoxelBits,
    /// Brain beside what is open.
    pub wall: &'a VoxelBits,
    /// Brain, as far as the scan shows.
    pub brain: &'a VoxelBits,
}

/// Says how likely each voxel is residual core.
pub trait Estimator: Send {
    /// Binds name, weights and settings.
    fn digest(&self) -> Digest;

    /// Whether the device that it computes on has failed elsewhere: the processor goes on then, and no step is lost.
    fn lost(&self) -> bool {
        false
    }

    /// Writes the probability of residual core, `[64³]`, 0 to 255. Keeps its memory as long as the frame's
    /// epoch lasts, allocates nothing, and depends on nothing but the views it was given.
    ///
    /// # Errors
    /// When the engine refuses the frame, as for a value that is not finite. `residual` then says nothing.
    fn estimate(&mut self, view: &View<'_>, residual: &mut [u8]) -> Result<(), EngineError>;

    /// How margin and interval follow from what it wrote last, and from what; none for the distance to the core's surface.
    fn beside(&self) -> Option<Beside<'_>> {
        None
    }

    /// What a person must know, said once: allocates only where there is something.
    fn notice(&mut self) -> Option<String> {
        None
    }
}

/// What perceive needs to know beside its estimator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Inflation of forbidden regions beside the error budget, mm.
    pub forbidden_inflation_mm: f64,
    /// Components of core smaller than this are ignored where no rule was fitted for margins, mL.
    pub speck_ml: f64,
    /// The classical estimator's settings; its prior also segments the whole scan for the coarse map.
    pub classical: classical::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self { forbidden_inflation_mm: 1.0, speck_ml: 0.02, classical: classical::Settings::default() }
    }
}

/// Why perceive refuses.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Two inputs speak of different scans' coordinates.
    #[error("{what} is in frame {frame:016x}, the anatomy in {anatomy:016x}; both must be one scan's")]
    FrameDiffers {
        /// What.
        what: &'static str,
        /// Its frame.
        frame: u64,
        /// The anatomy's.
        anatomy: u64,
    },
    /// A scan is malformed.
    #[error(transparent)]
    BadScan(#[from] BadScan),
    /// The anatomy's labels do not fill its grid.
    #[error("the anatomy has {labels} labels for a grid of {voxels} voxels; one for each is needed")]
    Labels {
        /// How many came.
        labels: usize,
        /// How many are needed.
        voxels: usize,
    },
    /// A frame's grid is not 64³ at 1.25 mm, or its channels do not fill it.
    #[error(
        "a frame of {dims:?} voxels of {spacing_mm} mm with {values} values; 64³ of 1.25 mm with all channels is needed"
    )]
    Frame {
        /// Its voxels.
        dims: [usize; 3],
        /// Their edge.
        spacing_mm: f64,
        /// Its values.
        values: usize,
    },
    /// The engine refuses a frame.
    #[error("the estimator: {0}")]
    Estimator(#[from] EngineError),
    /// What computes distances failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Nobody lets go of scenes.
    #[error(transparent)]
    PoolDry(#[from] PoolDry),
}

/// What perceive reads.
#[derive(Debug)]
pub struct In {
    /// The newest frame; its arrival triggers.
    pub roi: Latest<Arc<RoiFrame>>,
    /// What was planned.
    pub anatomy: Latest<Arc<Anatomy>>,
    /// Every scan.
    pub volumes: All<Arc<Volume>>,
}

impl Default for In {
    fn default() -> Self {
        Self { roi: Latest::default(), anatomy: Latest::default(), volumes: All::with_capacity(VOLUMES_MAX) }
    }
}

/// What perceive makes.
#[derive(Debug, Default)]
pub struct Out {
    /// A scene of the newest frame.
    pub scene: Option<Arc<Scene>>,
    /// What a person must know.
    pub notice: Option<String>,
}

/// The stage.
pub struct Perceive {
    settings: Settings,
    estimator: Box<dyn Estimator>,
    t1c: Option<Scan>,
    flair: Option<Scan>,
    whole: Whole,
    forbidden: ForbiddenField,
    moved: Moved,
    work: Work,
    /// Which region and epoch brain, whole-scan map and memories are of.
    placed: Option<(Grid, u64)>,
    scans_changed: bool,
    last: Sequence,
    scenes: Pool<Scene>,
}

/// What is rewritten with every frame.
struct Work {
    /// Where the scan shows it.
    rest: Layers,
    /// Probability of residual core there.
    residual: Vec<u8>,
    /// Where it is now.
    now: Layers,
    forbidden: VoxelBits,
    doubtful: VoxelBits,
    core: VoxelBits,
    bytes: Vec<u8>,
    squared: Vec<i32>,
    z: Vec<f32>,
    /// Seconds on the session's clock, where the scan shows it.
    last_seen: Vec<f32>,
    ages: Vec<u8>,
    distances: Box<dyn Distances>,
    flood: Flood,
    margins: Vec<i16>,
    /// Where it is now, by the classical estimator.
    classical: Vec<u8>,
    /// Distances to the network's second surface, and to both of the classical estimator's.
    beside: [Vec<i16>; 3],
}

/// What tissue there is.
#[derive(Default)]
struct Layers {
    brain: VoxelBits,
    cavity: VoxelBits,
    wall: VoxelBits,
    visible: VoxelBits,
}

impl Perceive {
    /// With the classical estimator.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with_estimator(settings, Box::new(Classical::new(settings.classical)))
    }

    /// With any estimator.
    ///
    /// # Panics
    /// With a setting that is not finite or is negative: the configuration checks them first.
    #[must_use]
    pub fn with_estimator(settings: Settings, estimator: Box<dyn Estimator>) -> Self {
        let sound = |v: f64| v.is_finite() && v >= 0.0;
        assert!(sound(settings.forbidden_inflation_mm) && sound(settings.speck_ml), "finite and not negative");
        Self {
            settings,
            estimator,
            t1c: None,
            flair: None,
            whole: Whole::new(),
            forbidden: ForbiddenField::new(),
            moved: Moved::new(),
            work: Work::new(),
            placed: None,
            scans_changed: false,
            last: Sequence(0),
            scenes: Pool::new("scenes", SCENES, Scene::empty),
        }
    }

    /// With others' distances than the processor's. Where they fail, a step fails, and the processor's go on.
    #[must_use]
    pub fn with_distances(mut self, distances: Box<dyn Distances>) -> Self {
        self.work.distances = distances;
        self
    }

    fn take_scans(&mut self, volumes: &All<Arc<Volume>>) -> Result<(), Fault> {
        let mut refused = Ok(());
        for volume in volumes.iter() {
            let kept = match volume.modality {
                Modality::T1c => &mut self.t1c,
                Modality::Flair => &mut self.flair,
                Modality::T1 | Modality::T2 | Modality::Mra => continue,
            };
            match Scan::new(Arc::clone(volume)) {
                Ok(scan) => {
                    *kept = Some(scan);
                    self.scans_changed = true;
                }
                Err(why) => refused = Err(why.into()),
            }
        }
        refused
    }

    /// Brain and whole-scan map for a new region, epoch or scan.
    fn follow(&mut self, frame: &RoiFrame, anatomy: FrameId) -> Result<bool, Fault> {
        let Some(t1c) = &self.t1c else { return Ok(false) };
        same_frame("the T1c scan", t1c.frame(), anatomy)?;
        if let Some(flair) = &self.flair {
            same_frame("the FLAIR scan", flair.frame(), anatomy)?;
        }
        let place = (frame.grid, frame.epoch);
        if self.placed != Some(place) || self.scans_changed {
            let same_epoch = self.placed == Some(place);
            self.placed = Some(place);
            self.scans_changed = false;
            t1c.resample(&frame.grid, &mut self.work.z, &mut self.work.rest.brain);
            self.whole.segment(&self.settings.classical.prior, &frame.grid, t1c, self.flair.as_ref());
            if !same_epoch {
                self.work.last_seen.fill(f32::NEG_INFINITY);
            }
        }
        Ok(true)
    }
}

/// How wrong places may be in a frame, mm, one standard deviation.
struct Errors<'a> {
    frame: &'a RoiFrame,
    /// Of the brain's shift, for every voxel of the scene.
    deviation_mm: &'a [f32],
}

impl Errors<'_> {
    fn rigid_mm(&self) -> f32 {
        self.frame.errors.rigid().get() as f32
    }

    /// What the brain's shift adds, where it is the same everywhere: it is not followed.
    fn everywhere_mm(&self) -> Option<f32> {
        (!self.frame.shift.is_followed()).then(|| self.frame.errors.shift.get() as f32)
    }

    /// All of it, of every voxel.
    fn all_mm(&self) -> impl Iterator<Item = f32> {
        let of = self.of();
        self.deviation_mm.iter().map(move |mm| of(*mm))
    }

    /// All of it, of a voxel by its deviation.
    fn of(&self) -> impl Fn(f32) -> f32 + use<> {
        let (rigid_mm, everywhere_mm) = (self.rigid_mm(), self.everywhere_mm());
        move |mm| everywhere_mm.map_or_else(|| rigid_mm.hypot(mm), |all| rigid_mm + all)
    }
}

/// Half of an interval as a scene holds it, never less than it is.
fn half_width(mm: f32) -> u8 {
    let scaled = mm * INTERVAL_PER_MM as f32;
    // Rounded up, by what the processor does without being called.
    let whole = scaled as u8;
    whole.saturating_add(u8::from(scaled > f32::from(whole)))
}

/// A margin as a scene holds it, mm, on the side of the surface that its voxel is on.
fn held(mm: f32, core: bool) -> i16 {
    let scaled = mm * MARGIN_PER_MM as f32;
    let margin = (scaled + 0.5_f32.copysign(scaled)) as i16;
    if core { margin.min(-1) } else { margin.max(1) }
}

fn on_processor() -> Box<dyn Distances> {
    Box::new(DistanceTransform::new([ROI_EDGE; 3]))
}

fn same_frame(what: &'static str, frame: FrameId, anatomy: FrameId) -> Result<(), Fault> {
    if frame == anatomy { Ok(()) } else { Err(Fault::FrameDiffers { what, frame: frame.0, anatomy: anatomy.0 }) }
}

impl Stage for Perceive {
    type In = In;
    type Out = Out;
    type Fault = Fault;
    const NAME: &'static str = "perceive";
    const BUDGET: Duration = Duration::from_millis(45);

    fn step(&mut self, now: Instant, input: &In, out: &mut Self::Out) -> Result<(), Fault> {
        *out = Out::default();
        self.take_scans(&input.volumes)?;
        let (Some(frame), Some(anatomy)) = (input.roi.get(), input.anatomy.get()) else { return Ok(()) };
        if !input.roi.renewed() {
            return Ok(());
        }
        if self.work.distances.lost() {
            self.work.distances = on_processor();
        }
        check_frame(frame)?;
        same_frame("the region of interest", frame.frame, anatomy.frame)?;
        if !self.follow(frame, anatomy.frame)? {
            return Ok(());
        }
        self.moved.follow(&frame.shift, &frame.grid);
        self.forbidden.follow(anatomy, &frame.grid)?;
        let errors = Errors { frame, deviation_mm: self.moved.deviation_mm() };
        let Work { forbidden, doubtful, .. } = &mut self.work;
        self.forbidden.within(self.settings.forbidden_inflation_mm, &errors, &self.moved, forbidden, doubtful);

        let id = Sequence(self.last.0 + 1);
        let (work, estimator, whole, moved) = (&mut self.work, &mut self.estimator, &mut self.whole, &self.moved);
        let least = (self.settings.speck_ml / frame.grid.voxel_ml()).ceil() as usize;
        let (mut estimated, mut measured) = (Ok(()), Ok(()));
        let scene = self.scenes.write(|scene| {
            scene.id = id;
            scene.trace = frame.trace;
            scene.captured = frame.captured;
            scene.decided = now;
            scene.grid = frame.grid;
            scene.frame = frame.frame;
            scene.errors = frame.errors;
            scene.shift.copy_from(&frame.shift);
            scene.scanned = frame.scanned;
            scene.anatomy = anatomy.digest;
            work.open(frame);
            let Work { rest, residual, .. } = work;
            let view = View { frame, cavity: &rest.cavity, wall: &rest.wall, brain: &rest.brain };
            estimated = estimator.estimate(&view, residual);
            scene.model = estimator.digest();
            work.carry(moved, scene);
            measured = match estimator.beside() {
                Some(beside) => work.measure_by(scene, &errors, &beside, moved),
                None => work.measure(scene, least, &errors),
            };
            work.describe(frame, moved, scene);
            whole.overlay(&work.core, scene);
            work.doubtful.keep(&work.core);
            scene.doubtful_ml = work.doubtful.count() as f64 * scene.grid.voxel_ml();
            scene.digest = scene.digest_of_bytes();
        })?;
        out.notice = estimator.notice();
        estimated?;
        if measured.is_err() {
            self.work.distances = on_processor();
        }
        measured?;
        self.last = id;
        out.scene = Some(scene);
        Ok(())
    }
}

fn check_frame(frame: &RoiFrame) -> Result<(), Fault> {
    let (dims, spacing_mm, values) = (frame.grid.dims, frame.grid.spacing_mm, frame.channels.len());
    let sound = dims == [ROI_EDGE; 3]
        && spacing_mm.to_bits() == ROI_SPACING_MM.to_bits()
        && values == bregma_core::flow::ROI_CHANNEL_COUNT * ROI_VOXELS;
    if sound { Ok(()) } else { Err(Fault::Frame { dims, spacing_mm, values }) }
}

impl Work {
    fn new() -> Self {
        let bits = VoxelBits::new;
        // Squared distances on 64³ end at 3 × 63².
        let furthest = 3 * (ROI_EDGE as i32 - 1).pow(2);
        Self {
            rest: Layers::default(),
            residual: vec![0; ROI_VOXELS],
            now: Layers::default(),
            forbidden: bits(),
            doubtful: bits(),
            core: bits(),
            bytes: vec![0; ROI_VOXELS],
            squared: vec![0; ROI_VOXELS],
            z: vec![0.0; ROI_VOXELS],
            last_seen: vec![f32::NEG_INFINITY; ROI_VOXELS],
            ages: vec![255; ROI_VOXELS],
            distances: on_processor(),
            flood: Flood::new(),
            classical: vec![0; ROI_VOXELS],
            beside: std::array::from_fn(|_| vec![0; ROI_VOXELS]),
            margins: (0..=furthest)
                .map(|s| (surface_mm(s, ROI_SPACING_MM) * MARGIN_PER_MM).round().clamp(0.0, 32767.0) as i16)
                .collect(),
        }
    }

    /// Reads what is open, its wall, and what of the wall is seen now.
    fn open(&mut self, frame: &RoiFrame) {
        let rest = &mut self.rest;
        rest.cavity.fill_where(frame.channel(CAVITY), |v| v > 0.5);
        rest.wall.become_wall(&rest.cavity, &rest.brain);
        rest.visible.clear();
        let age = frame.channel(SEEN_AGE);
        for index in rest.wall.iter().filter(|i| age[*i] <= 0.0) {
            rest.visible.put(index);
        }
    }

    /// Brings all of it to where it is now.
    fn carry(&mut self, moved: &Moved, scene: &mut Scene) {
        moved.values(&self.residual, 0, &mut scene.residual);
        let (rest, now) = (&self.rest, &mut self.now);
        moved.bits_about(&rest.brain, &mut now.brain);
        moved.bits_about(&rest.cavity, &mut now.cavity);
        moved.bits(&rest.visible, &mut now.visible);
        now.wall.become_wall(&now.cavity, &now.brain);
        now.visible.keep(&now.wall);
    }

    /// Core, margin and interval from the probability.
    fn measure(&mut self, scene: &mut Scene, least: usize, errors: &Errors<'_>) -> Result<(), DeviceError> {
        let Scene { residual, margin, interval: half, .. } = scene;
        self.surface(residual, CORE_MIN, least, margin)?;
        let doubt: [f32; 256] = std::array::from_fn(|r| {
            let p = r as f32 / 255.0;
            0.5 * ROI_SPACING_MM as f32 * (1.0 + 4.0 * p * (1.0 - p))
        });
        let voxels = half.iter_mut().zip(residual.iter()).zip(errors.all_mm());
        voxels.for_each(|((half, residual), error_mm)| {
            *half = half_width(1.96 * error_mm + doubt[usize::from(*residual)]);
        });
        Ok(())
    }

    /// The same by a rule that was fitted.
    fn measure_by(
        &mut self,
        scene: &mut Scene,
        errors: &Errors<'_>,
        &Beside { rule, classical }: &Beside<'_>,
        moved: &Moved,
    ) -> Result<(), DeviceError> {
        let Scene { residual, margin, interval: half, grid, .. } = scene;
        let mut now = std::mem::take(&mut self.classical);
        moved.values(classical, 0, &mut now);
        let mut beside = std::mem::take(&mut self.beside);
        let [network_far, by_classical, classical_far] = &mut beside;
        let amount = |core: &VoxelBits| Amount::of_ml((core.count() as f64 * grid.voxel_ml()) as f32);
        let mut surfaces = || {
            self.surface(residual, rule.far, 1, network_far)?;
            self.surface(&now, CLASSICAL_FAR, 1, classical_far)?;
            self.surface(&now, CORE_MIN, 1, by_classical)?;
            let by_classical = amount(&self.core);
            // Last, since its core is what counts.
            self.surface(residual, CORE_MIN, 1, margin)?;
            Ok([amount(&self.core), by_classical])
        };
        let measured = surfaces();
        if let Ok(core) = measured {
            let rigid_mm = errors.rigid_mm();
            let mm = |margin: i16| f32::from(margin) / MARGIN_PER_MM as f32;
            let (mut median, mut wide) = ([0.0; LANES], [0.0; LANES]);
            let error_mm = errors.of();
            // Where all surfaces are beyond its reach, what it sees is the same everywhere, but for errors and shares.
            let away = Known {
                network_mm: [REACH_MM; 2],
                classical_mm: [REACH_MM; 2],
                shares: [0; 2],
                error_mm: error_mm(errors.deviation_mm[ROI_VOXELS / 2]),
                open: false,
                core,
            };
            let [low, _, high] = rule.of(&away);
            let away = half_width(rule.half_mm(0.5 * (high - low), rigid_mm));
            let reach = (f64::from(REACH_MM) * MARGIN_PER_MM) as i16;
            for (row, margins) in margin.chunks_exact_mut(LANES).enumerate() {
                if self.now.brain.rows()[row] | self.now.cavity.rows()[row] == 0 {
                    // Neither brain nor open: nobody asks how far bone is from core.
                    half[row * LANES..][..LANES].fill(u8::MAX);
                    continue;
                }
                let part = row * LANES..(row + 1) * LANES;
                let surfaces =
                    [&*margins, &network_far[part.clone()], &by_classical[part.clone()], &classical_far[part.clone()]];
                if surfaces.iter().all(|surface| surface.iter().all(|margin| *margin >= reach)) {
                    half[part].fill(away);
                    continue;
                }
                let open = self.now.cavity.rows()[row];
                let known = (0..LANES).map(|lane| {
                    let at = row * LANES + lane;
                    Known {
                        network_mm: [mm(margins[lane]), mm(network_far[at])],
                        classical_mm: [mm(by_classical[at]), mm(classical_far[at])],
                        shares: [residual[at], now[at]],
                        error_mm: error_mm(errors.deviation_mm[at]),
                        open: open >> lane & 1 == 1,
                        core,
                    }
                });
                rule.row(known, &mut median, &mut wide);
                let core = self.core.rows()[row];
                for (lane, margin) in margins.iter_mut().enumerate() {
                    let core = core >> lane & 1 == 1;
                    let near = if *margin == i16::MAX { f32::INFINITY } else { mm(*margin) };
                    *margin = held(Rule::margin_mm(median[lane], near, core), core);
                    half[row * LANES + lane] = half_width(rule.half_mm(wide[lane], rigid_mm));
                }
            }
        }
        (self.classical, self.beside) = (now, beside);
        measured.map(|_| ())
    }

    /// The signed distance to where probability reaches a share, specks apart.
    fn surface(&mut self, residual: &[u8], share: u8, least: usize, margin: &mut [i16]) -> Result<(), DeviceError> {
        self.core.fill_where(residual, |v| v >= share);
        self.core.remove(&self.now.cavity);
        self.flood.drop_specks(&mut self.core, least);
        self.core.expand(&mut self.bytes);
        self.distances.signed(&self.bytes, &mut self.squared)?;
        for (margin, squared) in margin.iter_mut().zip(&self.squared) {
            let distance = match squared.unsigned_abs() as i32 {
                NOWHERE => i16::MAX,
                squared => self.margins[squared as usize],
            };
            *margin = if *squared < 0 { -distance } else { distance };
        }
        Ok(())
    }

    /// State bits and ages.
    fn describe(&mut self, frame: &RoiFrame, moved: &Moved, scene: &mut Scene) {
        let layers = [
            (&self.now.cavity, voxel::CAVITY),
            (&self.forbidden, voxel::FORBIDDEN),
            (&self.now.wall, voxel::WALL),
            (&self.now.visible, voxel::VISIBLE),
            (&self.now.brain, voxel::BRAIN),
        ];
        for (row, state) in scene.state.chunks_exact_mut(ROI_EDGE).enumerate() {
            let words = layers.map(|(bits, flag)| (bits.rows()[row], flag));
            for (i, state) in state.iter_mut().enumerate() {
                *state = words.iter().fold(0, |all, (word, flag)| all | ((word >> i & 1) as u8 * flag));
            }
        }
        let now = frame.captured.secs_f64() as f32;
        let ages = frame.channel(SEEN_AGE).iter().zip(&mut self.last_seen).zip(&mut self.ages);
        for ((age, last), out) in ages {
            // An age at full scale says nothing: the frame may have forgotten what is remembered here.
            let seen = now - age * crate::align::SEEN_AGE_SCALE_S;
            *last = if *age < 1.0 { seen } else { *last };
            *out = (now - *last).clamp(0.0, 255.0) as u8;
        }
        for index in self.rest.cavity.iter() {
            self.last_seen[index] = f32::NEG_INFINITY;
            self.ages[index] = 255;
        }
        moved.values(&self.ages, 255, &mut scene.seen_age_s);
    }
}
