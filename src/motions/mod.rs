//! Motions that must be refused and motions that must not: what the validator, and the gate behind it, let pass.
//!
//! ```text
//! patient ─► believed (anatomy, scene) ──────────────► validator ─► gate: accepted?
//!    │            ▲ a registration's error, drawn                       │
//!    └─► truth (capsules, cubes) ◄── draw: motions of each kind ────────┴─► a line of the table
//! ```
//! A motion is **unsafe** if it truly comes nearer than the margin, or exceeds a limit by 2 % and more; **safe** if it keeps the
//! margin and five standard deviations of the registration's error, and 90 % of every limit; what lies between is a band that is
//! drawn and not judged. What was approved is measured as it would be played, what was not as it was proposed. **Not
//! protected against:** errors that no registration makes: an estimator that errs, a brain that moves.

pub mod belief;
pub mod chart;
pub mod draw;
pub mod guard;
pub mod page;
pub mod search;
#[cfg(test)]
mod tests;
pub mod truth;

use crate::config::Config;
use crate::scenario::{STANDARD, Suite};
use belief::{Believed, NOW, captured};
use bregma_bridge::SceneStamp;
use bregma_core::arm::Ik;
use bregma_core::flow::{Anatomy, Check, JointPath};
use bregma_core::frame::FrameId;
use bregma_core::stage::Stage;
use bregma_core::time::{Duration, Instant};
use bregma_patient::WorldKind;
use bregma_physics::{Approved, LimitValues, Limits, Validate, ValidateIn, ValidateOut};
use draw::{Drawn, Draws, Ground};
use guard::Guard;
use nalgebra::Isometry3;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use truth::{Found, Passed, Truth};

/// Draws for each motion that is wanted, at most.
const TRIES: usize = 30;
/// A limit counts as exceeded from this share on.
const EXCEEDED: f64 = 0.02;
/// A safe motion keeps to this share of every limit.
const SAFE_SHARE: f64 = 0.9;
/// And to so many standard deviations.
const SIGMAS: f64 = 5.0;

/// Least cosine between the way out along the shaft and the craniotomy's direction, as the validator asks for it.
#[must_use]
pub const fn way_out_least() -> f64 {
    bregma_physics::OUTWARD_LEAST
}

/// A kind of motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Into a vessel.
    Vessel,
    /// Into an eloquent region.
    Eloquent,
    /// Into the craniotomy's rim or the skull.
    Rim,
    /// The shaft into the corridor's wall.
    Corridor,
    /// The tip into tissue, energy off.
    Indentation,
    /// Faster than a limit.
    Speed,
    /// Out of the arm's reach, or into a singular posture.
    Reach,
    /// To where, or by where, no way leads out.
    NoRetract,
    /// On a scene that is too old.
    Stale,
    /// In another frame than the scene.
    Frame,
    /// What the gate holds is not what the validator saw.
    Tampered,
    /// An approval offered twice, or late.
    Replayed,
    /// What must pass.
    Safe,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Vessel,
        Self::Eloquent,
        Self::Rim,
        Self::Corridor,
        Self::Indentation,
        Self::Speed,
        Self::Reach,
        Self::NoRetract,
        Self::Stale,
        Self::Frame,
        Self::Tampered,
        Self::Replayed,
        Self::Safe,
    ];
    /// Those that depend on where things truly are, in mm.
    pub const PHYSICAL: [Self; 5] = [Self::Vessel, Self::Eloquent, Self::Rim, Self::Corridor, Self::Indentation];

    /// As tables name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vessel => "into a vessel",
            Self::Eloquent => "into an eloquent region",
            Self::Rim => "into rim or skull",
            Self::Corridor => "into the corridor's wall, by the shaft",
            Self::Indentation => "pressed too deep, energy off",
            Self::Speed => "too fast",
            Self::Reach => "singular, or out of reach",
            Self::NoRetract => "no way out",
            Self::Stale => "stale scene",
            Self::Frame => "wrong frame",
            Self::Tampered => "tampered",
            Self::Replayed => "replayed",
            Self::Safe => "safe",
        }
    }

    /// Whether it may be more or less beyond what it must not pass.
    #[must_use]
    pub fn measured(self) -> bool {
        self.physical() || matches!(self, Self::Speed | Self::Reach | Self::NoRetract)
    }

    /// Whether its violation is a length.
    #[must_use]
    pub fn physical(self) -> bool {
        Self::PHYSICAL.contains(&self)
    }
}

/// What became of one motion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its kind.
    pub category: Category,
    /// In which world.
    pub world: String,
    /// Its patient.
    pub seed: u64,
    /// How far it is beyond its kind's margin, mm, or beyond its limit, as a share; negative where it is not.
    pub violation: f64,
    /// The registration's error, one standard deviation, mm.
    pub sigma_mm: f64,
    /// Whether the validator, or the gate behind it, let it pass.
    pub accepted: bool,
    /// The check, or the gate's reason, that stopped it.
    pub by: Option<String>,
}

impl Line {
    /// Whether it is one that must be refused.
    #[must_use]
    pub fn unsafe_(&self) -> bool {
        match self.category {
            Category::Safe => false,
            Category::Vessel | Category::Eloquent | Category::Rim => self.violation > 0.0,
            // Of 2 mm.
            Category::Corridor | Category::Indentation => self.violation >= EXCEEDED * 2.0,
            _ => self.violation >= EXCEEDED,
        }
    }

    /// Whether it is near what it must not pass: within 2 mm, or a tenth.
    #[must_use]
    pub fn near(&self) -> bool {
        self.violation <= if self.category.physical() { 2.0 } else { 0.1 }
    }
}

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Motions of each unsafe kind and world, at least.
    pub per_category: usize,
    /// Safe ones of each world.
    pub safe: usize,
    /// Patients of each world.
    pub patients: usize,
    /// Motions that the search tries on each patient.
    pub search: usize,
}

impl Wanted {
    /// Of one patient, more than her share: not every patient has every structure.
    fn of_one(&self, category: Category) -> usize {
        let all = match category {
            Category::Safe => self.safe,
            // One head in two has something eloquent where a straight instrument can get to.
            Category::Eloquent => self.per_category * 22 / 10,
            _ => self.per_category * 11 / 10,
        };
        all.div_ceil(self.patients)
    }
}

/// Everything about one patient.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tried {
    /// Motions.
    pub lines: Vec<Line>,
    /// What the search found.
    pub searched: Vec<search::Best>,
}

/// The configuration and the patients of a world.
///
/// # Errors
/// None that a test does not catch: the suite is built in.
pub fn setting(world: WorldKind) -> anyhow::Result<(Config, crate::config::PatientSource)> {
    Suite { world, ..Suite::parse(STANDARD)? }.configure()
}

/// Draws and tries motions about one patient.
///
/// # Errors
/// When no patient grows from the seed, or a stage refuses.
pub fn patient(wanted: &Wanted, world: WorldKind, seed: u64) -> anyhow::Result<Tried> {
    let (config, source) = setting(world)?;
    let believed = Believed::new(&config, &source, seed)?;
    let truth = Truth::of(&believed.patient, &believed.anatomy, believed.mount.shaft_radius_mm);
    let mut bench = Bench::new(&config, &believed, &truth)?;
    let mut tried = Tried::default();
    for category in Category::ALL {
        tried.lines.extend(bench.all(category, wanted.of_one(category), seed)?);
    }
    for category in Category::PHYSICAL {
        tried.searched.extend(search::search(&mut bench, category, seed, wanted.search)?);
    }
    Ok(tried)
}

/// One patient with her validator.
pub struct Bench<'a> {
    config: &'a Config,
    believed: &'a Believed,
    ground: Ground<'a>,
    validate: Validate,
    /// For approvals that are shown to a gate.
    sealed: Validate,
    /// Of somebody who holds motions to other limits.
    other: Validate,
    out: ValidateOut,
}

impl<'a> Bench<'a> {
    /// Of a patient.
    ///
    /// # Errors
    /// When the mount is refused.
    pub fn new(config: &'a Config, believed: &'a Believed, truth: &'a Truth) -> anyhow::Result<Self> {
        let cut_mm_s = believed.limits.values().cut_mm_s * 0.98;
        let values = LimitValues { cut_mm_s, ..*believed.limits.values() };
        Ok(Self {
            config,
            believed,
            ground: Ground::new(believed, truth),
            validate: believed.validator()?,
            sealed: believed.validator()?,
            other: Validate::new(believed.arm.clone(), believed.mount, Limits::new(values)?)?,
            out: ValidateOut::default(),
        })
    }

    /// So many of a kind, half of them near; and a quarter as many again of the band, of kinds that have one.
    fn all(&mut self, category: Category, count: usize, seed: u64) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut left = [count / 2, count - count / 2, count / 4];
        for number in 0..count * TRIES {
            let near = number % 2 == 0;
            if left[0] + left[1] == 0 {
                break;
            }
            let mut draws = Draws::new(seed, category, number as u64);
            let Some(drawn) = self.ground.draw(category, near, &mut draws) else { continue };
            let Some(violation) = self.violation(category, &drawn, &self.proposed(&drawn)) else { continue };
            let mut line = Line {
                category,
                world: self.believed.world.name().to_owned(),
                seed,
                violation,
                sigma_mm: self.believed.tre_mm,
                accepted: false,
                by: None,
            };
            // Near ones, others, the band.
            let kind = match (category, line.unsafe_()) {
                (Category::Safe, _) => 1,
                (_, true) => usize::from(!line.near()),
                (_, false) => 2,
            };
            let in_band = kind < 2 || (category.physical() && violation > -SIGMAS * self.believed.tre_mm - 1.0);
            // What is safe, or always to be refused, is neither near nor far.
            let either = !category.measured() && left[1] == 0;
            let slot = if either { 0 } else { kind };
            if !in_band || left[slot] == 0 {
                continue;
            }
            left[slot] -= 1;
            self.decide(&mut line, &drawn, &mut draws)?;
            lines.push(line);
        }
        Ok(lines)
    }

    /// The way as it is proposed, where it truly leads.
    fn proposed(&self, drawn: &Drawn) -> Vec<Passed> {
        truth::along(&drawn.start, &drawn.motion.waypoints[1..], &drawn.true_from)
    }

    /// The way as it would be played, where it truly leads.
    fn played(&self, path: &JointPath, true_from: &Isometry3<f64>) -> Vec<Passed> {
        let mut way: Vec<Passed> = Vec::new();
        for (joints, energy) in path.knots.iter().zip(&path.energy) {
            let pose = true_from * self.believed.tip(joints).isometry();
            let apart = |(last, on): &Passed| {
                let turned = last.rotation.angle_to(&pose.rotation) * 90.0;
                (last.translation.vector - pose.translation.vector).norm() + turned > 0.2 || *on != (energy & 1 != 0)
            };
            if way.last().is_none_or(apart) {
                way.push((pose, energy & 1 != 0));
            }
        }
        way
    }

    /// How far beyond its kind's margin a way leads; `None` of a safe kind that is not safe.
    fn violation(&self, category: Category, drawn: &Drawn, way: &[Passed]) -> Option<f64> {
        let l = self.believed.limits.values();
        let look = || self.ground.truth.look(way);
        Some(match category {
            Category::Speed => drawn.excess?,
            // Made to be refused whatever they do, of motions that nothing else is wrong with.
            Category::Stale | Category::Frame | Category::Tampered | Category::Replayed => {
                self.safe(drawn, &look()).then_some(1.0)?
            }
            Category::Safe => {
                let found = look();
                self.safe(drawn, &found).then(|| self.nearest(&found))?
            }
            Category::Reach => 1.0 - self.dexterity_mm(drawn) / l.dexterity_mm,
            Category::NoRetract => 1.0 - look().rise / way_out_least(),
            Category::Vessel | Category::Eloquent | Category::Rim | Category::Corridor | Category::Indentation => {
                of_found(category, &look(), self.believed)
            }
        })
    }

    fn safe(&self, drawn: &Drawn, found: &Found) -> bool {
        let l = self.believed.limits.values();
        let room = SIGMAS * self.believed.tre_mm;
        let margin = self.believed.margin_mm + room;
        found.vessel_mm >= margin.min(truth::FAR_MM - 2.0)
            && found.eloquent_mm >= margin.min(truth::FAR_MM - 2.0)
            && found.bone_mm >= l.rim_mm + room
            && found.pressed_mm <= SAFE_SHARE * l.indentation_mm
            && found.rise >= way_out_least() / SAFE_SHARE
            && self.dexterity_mm(drawn) >= l.dexterity_mm / SAFE_SHARE
    }

    /// The nearest of all margins.
    fn nearest(&self, found: &Found) -> f64 {
        let of = |category| of_found(category, found, self.believed);
        [Category::Vessel, Category::Eloquent, Category::Rim].map(of).into_iter().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The least along a motion, by differences; 0 where the arm does not reach.
    fn dexterity_mm(&self, drawn: &Drawn) -> f64 {
        let mut joints = drawn.joints;
        let mut least = truth::dexterity_mm(&self.believed.arm, &joints);
        let still = Isometry3::identity();
        for (pose, _) in truth::along(&drawn.start, &drawn.motion.waypoints[1..], &still).into_iter().step_by(16) {
            let Some(found) = self.believed.joints(&pose, &joints, &Ik { iterations: 60, ..Ik::FOLLOW }) else {
                return 0.0;
            };
            joints = found;
            least = least.min(truth::dexterity_mm(&self.believed.arm, &joints));
        }
        least
    }

    /// Tries a motion, as its kind asks for.
    fn decide(&mut self, line: &mut Line, drawn: &Drawn, draws: &mut Draws) -> anyhow::Result<()> {
        let scene = Arc::clone(&self.believed.scene);
        let mut input = self.believed.input(&drawn.joints, drawn.motion.clone(), &scene);
        match line.category {
            Category::Stale => {
                let near = draws.below(2) == 0;
                let excess = draws.within(if near { [EXCEEDED, 0.1] } else { [0.1, 3.0] });
                let age = self.believed.limits.values().scene_age_s * (1.0 + excess);
                line.violation = excess;
                input.scene.set(2, Arc::new(captured(&scene, ago(age))));
                self.judge(line, &input)?;
            }
            Category::Frame => {
                let other = FrameId::of_uid("2.25.1");
                match draws.below(3) {
                    0 => {
                        let mut motion = drawn.motion.clone();
                        let which = draws.below(motion.waypoints.len());
                        let pose = &mut motion.waypoints[which].patient_from_tip;
                        *pose = pose.claimed_between(other, pose.from);
                        input = self.believed.input(&drawn.joints, motion, &scene);
                    }
                    1 => {
                        let mut scene = (*scene).clone();
                        scene.frame = other;
                        input.scene.set(2, Arc::new(captured(&scene, NOW)));
                    }
                    _ => {
                        let mut anatomy: Anatomy = (*self.believed.anatomy).clone();
                        anatomy.frame = other;
                        anatomy.digest = anatomy.digest_of_content();
                        input.anatomy.set(2, Arc::new(anatomy));
                    }
                }
                self.judge(line, &input)?;
            }
            Category::Tampered => self.tamper(line, drawn, draws)?,
            Category::Replayed => self.replay(line, drawn, draws)?,
            _ => {
                let approved = self.judge(line, &input)?;
                let of_way = line.category.physical() || line.category == Category::NoRetract;
                if let Some(approved) = approved.filter(|_| of_way) {
                    let way = self.played(&approved.record().path, &drawn.true_from);
                    line.violation = self.violation(line.category, drawn, &way).unwrap_or(line.violation);
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, line: &mut Line, input: &ValidateIn) -> anyhow::Result<Option<Arc<Approved>>> {
        self.validate.step(NOW, input, &mut self.out)?;
        let approved = self.out.approved.take();
        line.accepted = approved.is_some();
        let checks = self.out.verdicts.iter().flat_map(|v| &v.checks);
        line.by = checks.filter(|c| !c.passed).map(|c| c.check.words().0.to_owned()).next();
        Ok(approved)
    }

    /// The gate knows another scene, other limits or other planners than those that an approval rests on.
    fn tamper(&mut self, line: &mut Line, drawn: &Drawn, draws: &mut Draws) -> anyhow::Result<()> {
        let mut scene = (*self.believed.scene).clone();
        let kind = draws.below(3);
        if kind == 0 {
            // A bit of a voxel was turned over after the scene was signed.
            let index = draws.below(scene.state.len());
            scene.state[index] ^= 1 << draws.below(5);
        }
        let scene = Arc::new(scene);
        let stamp = SceneStamp::of(&scene);
        let mut input = self.believed.input(&drawn.joints, drawn.motion.clone(), &scene);
        if kind == 2 {
            let plan = input.plans.last().map(|plan| bregma_core::flow::Plan {
                model: bregma_core::digest::Digest::of(b"somebody else's"),
                ..(**plan).clone()
            });
            input.plans.set(plan.map(|plan| bregma_core::topic::Numbered { number: 2, value: Arc::new(plan) }));
        }
        self.through_gate(line, drawn, kind == 1, &input, stamp, |guard, approved| guard.offer(approved))
    }

    /// An approval once more: at once, when it has been played, or when it has expired.
    fn replay(&mut self, line: &mut Line, drawn: &Drawn, draws: &mut Draws) -> anyhow::Result<()> {
        let scene = Arc::clone(&self.believed.scene);
        let input = self.believed.input(&drawn.joints, drawn.motion.clone(), &scene);
        let kind = draws.below(3);
        let late = draws.within([0.02, 3.0]);
        let expires_s = self.believed.limits.values().expires_s;
        self.through_gate(line, drawn, false, &input, SceneStamp::of(&scene), move |guard, approved| {
            if kind == 2 {
                guard.waits(expires_s * (1.0 + late));
                return guard.offer(approved);
            }
            assert!(guard.offer(approved).0, "the first time it is taken");
            if kind == 1 {
                guard.plays_out();
            }
            let (_, refusal) = guard.offer(approved);
            (refusal.is_none(), refusal)
        })
    }

    fn through_gate(
        &mut self,
        line: &mut Line,
        drawn: &Drawn,
        by_other: bool,
        input: &ValidateIn,
        stamp: SceneStamp,
        offer: impl FnOnce(&mut Guard, &Arc<Approved>) -> (bool, Option<bregma_bridge::Refusal>),
    ) -> anyhow::Result<()> {
        let validate = if by_other { &mut self.other } else { &mut self.sealed };
        validate.step(NOW, input, &mut self.out)?;
        let approved = self.out.approved.clone();
        // Its number is free again: every gate here is a new one, and waits for the first.
        validate.overran(&mut self.out);
        let Some(approved) = approved else {
            line.by = Some("the validator".to_owned());
            return Ok(());
        };
        let mut guard = Guard::armed(self.config, self.believed, &drawn.joints, stamp)?;
        anyhow::ensure!(guard.ready(), "the gate is not ready");
        let (accepted, refusal) = offer(&mut guard, &approved);
        line.accepted = accepted;
        line.by = refusal.map(|r| format!("the gate: {}", named(&r)));
        Ok(())
    }
}

/// A refusal by name.
fn named(refusal: &bregma_bridge::Refusal) -> &'static str {
    use bregma_bridge::Refusal as R;
    match refusal {
        R::OutOfSequence { .. } => "out of sequence",
        R::NotArmed { .. } => "not armed",
        R::StillMoving { .. } => "still moving",
        R::Withdrawn { .. } => "withdrawn",
        R::Stands { .. } => "a reason stands",
        R::Expired { .. } => "expired",
        R::WrongArm { .. } => "another arm",
        R::UnknownModel { .. } => "unknown planner",
        R::SceneForgotten { .. } => "scene forgotten",
        R::SceneUnknown { .. } => "scene unknown",
        R::HashDiffers { .. } => "hash differs",
        R::Malformed { .. } => "malformed",
        R::Elsewhere { .. } => "elsewhere",
        R::Order { .. } => "order",
    }
}

/// How far beyond a kind's margin, mm.
#[must_use]
pub fn of_found(category: Category, found: &Found, believed: &Believed) -> f64 {
    let l = believed.limits.values();
    match category {
        Category::Vessel => believed.margin_mm - found.vessel_mm,
        Category::Eloquent => believed.margin_mm - found.eloquent_mm,
        Category::Rim => l.rim_mm - found.bone_mm,
        _ => found.pressed_mm - l.indentation_mm,
    }
}

fn ago(seconds: f64) -> Instant {
    let nanos = Duration::from_secs_f64(seconds).map_or(0, Duration::nanos);
    Instant::from_nanos(NOW.nanos() - nanos)
}

/// The check that is meant to stop a kind of motion.
#[must_use]
pub fn own_check(category: Category) -> Option<Check> {
    Some(match category {
        Category::Vessel | Category::Eloquent => Check::ForbiddenClearance,
        Category::Rim => Check::RimClearance,
        Category::Corridor | Category::Indentation => Check::Indentation,
        Category::Speed => Check::TipSpeed,
        Category::NoRetract => Check::Retract,
        Category::Stale => Check::SceneFresh,
        _ => return None,
    })
}
