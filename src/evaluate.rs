//! Compares what the runtime believed with what was true, from outside the flow.
//!
//! Ground truth is the digital patient's own; nothing here is ever shown to a stage. The lower rungs of the ladder are
//! [`crate::ladder`]'s. **Units:** mm, mL.

use crate::config::Config;
use crate::field::SignedField;
use crate::ladder::Rungs;
use crate::report::{
    Case, Coverage, Ladder, LaneLoss, Latency, MarginError, Motions, Outcome, Spread, StageAge, StageTimes, Word,
};
use crate::session::{Supervisor, Theatre};
use crate::surgeon::Ended;
use bregma_bridge::checker;
use bregma_core::flow::{Scene, VideoFrame};
use bregma_core::lane::Gauge;
use bregma_core::runner::StageStats;
use bregma_core::time::{Duration, Instant};
use bregma_patient::{PlaceKind, SceneTruth, SharedWorld};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Collects errors of the margin over a case.
pub struct Evaluator {
    every: Duration,
    last: Option<Instant>,
    rungs: Rungs,
    signed: SignedField,
    visible: Vec<f64>,
    hidden: Vec<f64>,
    tip: Vec<f64>,
    still: Vec<f64>,
    reregistered: Vec<f64>,
    moved: Vec<f64>,
    classical: Vec<f64>,
    interval: Interval,
}

/// How often the truth lies in the interval that a scene states.
#[derive(Debug, Clone, Copy, Default)]
struct Interval {
    places: u64,
    within: u64,
    width_mm: f64,
}

impl Evaluator {
    /// Compares a scene every so often, and what the lower rungs of the ladder would have had in its place.
    #[must_use]
    pub fn new(every: Duration, rungs: Rungs) -> Self {
        Self {
            every,
            last: None,
            rungs,
            signed: SignedField::default(),
            visible: Vec::new(),
            hidden: Vec::new(),
            tip: Vec::new(),
            still: Vec::new(),
            reregistered: Vec::new(),
            moved: Vec::new(),
            classical: Vec::new(),
            interval: Interval::default(),
        }
    }

    /// Looks at a scene when one is due; what was found, when it was. `classical` is what the classical estimator says of the same
    /// frame, where the flow goes by another: simpler navigation would segment by it. Without it the rungs start from the flow's own.
    pub fn look(&mut self, scene: &Scene, classical: Option<&Scene>, world: &SharedWorld) -> Option<Looked> {
        self.rungs.begin(classical.unwrap_or(scene));
        let due = self.last.and_then(|at| scene.captured.since(at)).is_none_or(|age| age >= self.every);
        if !due {
            return None;
        }
        self.last = Some(scene.captured);
        let truth = world.truth_of(scene);
        for place in &truth.places {
            let error_mm = place.error_mm(scene.margin_mm(place.voxel));
            match place.kind {
                PlaceKind::Visible => self.visible.push(error_mm),
                PlaceKind::Hidden => self.hidden.push(error_mm),
                PlaceKind::Tip => self.tip.push(error_mm),
            }
            let half_mm = scene.interval_mm(place.voxel);
            self.interval.places += 1;
            self.interval.within += u64::from(error_mm <= half_mm);
            self.interval.width_mm += 2.0 * half_mm;
            self.classical.extend(classical.map(|scene| place.error_mm(scene.margin_mm(place.voxel))));
        }
        let Self { rungs, signed, still, reregistered, moved, .. } = self;
        let cores = [
            ("static", rungs.static_core(scene), still),
            ("reregistered", rungs.reregistered_core(scene), reregistered),
            ("surface_shift", rungs.moved_core(scene), moved),
        ];
        let mut found = Vec::with_capacity(cores.len());
        for (name, core, errors) in cores {
            let Some(core) = core else { continue };
            let margins = signed.of(core.iter().copied()).to_vec();
            errors.extend(truth.places.iter().map(|place| place.error_mm(f64::from(margins[place.voxel]))));
            found.push(Rung { name, core, margins });
        }
        Some(Looked { truth, rungs: found })
    }
}

/// What there is to compare at a scene.
pub struct Looked {
    /// The truth.
    pub truth: SceneTruth,
    /// The ladder's lower rungs, as far as there are any.
    pub rungs: Vec<Rung>,
}

/// What a rung of the ladder believes.
pub struct Rung {
    /// As reports name it.
    pub name: &'static str,
    /// Whether each voxel is residual core, `[64³]`.
    pub core: Vec<bool>,
    /// Signed margin, mm, `[64³]`.
    pub margins: Vec<f32>,
}

impl Evaluator {
    /// A scan was made: the rung that begins anew with each does so.
    ///
    /// # Errors
    /// As [`Rungs::take_scan`].
    pub fn scanned(
        &mut self,
        scene: &Scene,
        config: &Config,
        theatre: &Theatre,
        world: &SharedWorld,
        picture: &Arc<VideoFrame>,
    ) -> anyhow::Result<()> {
        self.rungs.take_scan(scene, config, theatre, world.scans_now(), picture)
    }
}

impl Interval {
    fn share(&self, sum: f64) -> Option<f64> {
        (self.places > 0).then(|| sum / self.places as f64)
    }
}

/// What else a case's report is made of.
pub struct Ingredients<'a> {
    /// Which patient.
    pub seed: u64,
    /// Name of the planner.
    pub planner: &'static str,
    /// Name of the estimator.
    pub engine: &'static str,
    /// Where it was simulated.
    pub world: &'a SharedWorld,
    /// Who watched it.
    pub supervisor: &'a Supervisor,
    /// Figures of the flow.
    pub flowing: &'a crate::pipeline::Flowing,
    /// Figures of the stages.
    pub stages: Vec<(&'static str, Arc<StageStats>)>,
    /// Counters of the lanes.
    pub gauges: &'a [Arc<Gauge>],
    /// Scenes per second, and the worst 10 s; on the real clock only.
    pub fps: Option<(f64, Option<f64>)>,
    /// How much faster than a real aspirator.
    pub removal_rate_scale: f64,
}

impl Evaluator {
    /// The report of a case that has ended.
    #[must_use]
    pub fn report(mut self, with: &Ingredients<'_>) -> Case {
        let truth = with.world.outcome();
        let supervisor = with.supervisor;
        let checked = checker::executed_unapproved(&executed(with.world), &supervisor.approvals);
        let unapproved = checked.executed_unapproved as u64;
        let mut all: Vec<f64> = self.visible.iter().chain(&self.hidden).chain(&self.tip).copied().collect();
        let overall = Spread::of(&mut all);
        let still = Spread::of(&mut self.still);
        let by_other = (!self.classical.is_empty()).then(|| Spread::of(&mut self.classical));
        let by_classical = with.engine == "classical";
        let why = checked.unexplained.first().map(|u| u.why.to_string());
        let (outcome, mut reason) = judge(&truth, unapproved, why, supervisor.ended());
        if outcome != Outcome::Success && supervisor.rejected > 0 {
            let by: Vec<String> = supervisor.rejected_by.iter().map(|(check, n)| format!("{n} by {check}")).collect();
            reason += &format!("; {} candidates were rejected: {}", supervisor.rejected, by.join(", "));
        }
        let declined = match (supervisor.ended(), supervisor.scene.as_ref()) {
            (Some(_), Some(scene)) => Some(with.world.declined_ml(scene)),
            _ => None,
        };
        Case {
            seed: with.seed,
            world: with.world.kind().name().into(),
            planner: with.planner.into(),
            engine: with.engine.into(),
            frames: with.flowing.scenes.load(std::sync::atomic::Ordering::Relaxed),
            fps: with.fps.map(|f| f.0),
            fps_min: with.fps.and_then(|f| f.1),
            latency_ms: Latency::of(&with.flowing.latency),
            stages: with
                .stages
                .iter()
                .map(|(name, stats)| {
                    let l = Latency::of(&stats.times);
                    ((*name).into(), StageTimes { p50: l.p50, p99: l.p99, max: l.max })
                })
                .collect(),
            lanes: losses(with.gauges),
            scene_age_ms: {
                let l = Latency::of(&with.flowing.scene_age);
                StageAge { p50: l.p50, p99: l.p99 }
            },
            extent_of_resection: Some(truth.extent_of_resection),
            residual_volume_ml: Some(truth.residual_volume_ml),
            residual_core_ml: Some(truth.residual_core_ml),
            residual_declined_ml: declined,
            overcut_ml: Some(truth.overcut_ml),
            healthy_removed_ml: Some(truth.healthy_removed_ml),
            eloquent_removed_ml: Some(truth.eloquent_removed_ml),
            corridor_ml: Some(truth.corridor_ml),
            missed_margin_cm2: Some(truth.missed_margin_cm2),
            forbidden_violations: Some(u64::from(truth.forbidden_violations)),
            bleeding_events: Some(u64::from(truth.bleeding_events)),
            handovers: Some(supervisor.surgeon.handovers()),
            intraoperative_scans: Some(supervisor.surgeon.scans_made()),
            tool_time_s: Some(truth.tool_time_s),
            dice_residual: supervisor.scene.as_ref().map(|scene| with.world.dice_residual(scene)),
            margin_error_mm: MarginError {
                mean: overall.mean,
                p95: overall.p95,
                visible: Spread::of(&mut self.visible),
                hidden: Spread::of(&mut self.hidden),
            },
            static_margin_error_mm: still,
            ladder: Ladder {
                static_preoperative: Some(still),
                reregistered: self.rungs.rescanned().then(|| Spread::of(&mut self.reregistered)),
                surface_shift: (!self.moved.is_empty()).then(|| Spread::of(&mut self.moved)),
                classical: if by_classical { Some(overall) } else { by_other },
                network: (!by_classical).then_some(overall),
            },
            removal_rate_scale: Some(with.removal_rate_scale),
            margin_interval: Coverage {
                coverage: self.interval.share(self.interval.within as f64),
                width_mm_mean: self.interval.share(self.interval.width_mm),
            },
            motions: Motions {
                planned: supervisor.planned,
                approved: supervisor.approvals.len() as u64,
                rejected: supervisor.rejected,
                executed: checked.executed as u64,
                executed_unapproved: unapproved,
            },
            planner_fallbacks: None,
            oracle: None,
            outcome,
            reason,
            complete: truth.complete,
            cpu_s: None,
            patient_cached: false,
        }
    }
}

/// The arm's own log, as the checker reads it: what it was told and did, and what the instrument really did.
fn executed(world: &SharedWorld) -> Vec<checker::ArmLogEntry> {
    let entry = |e: &bregma_patient::ArmLogEntry| checker::ArmLogEntry {
        at: e.time,
        joints: e.joints,
        energy: e.energy.bits(),
        approval: e.approval.map(|sequence| sequence.0),
    };
    world.arm_log().iter().map(entry).collect()
}

fn losses(gauges: &[Arc<Gauge>]) -> BTreeMap<Word, LaneLoss> {
    gauges
        .iter()
        .map(|g| (g.name.into(), LaneLoss { displaced: g.displaced() + g.refused() }))
        .filter(|(_, loss)| loss.displaced > 0)
        .collect()
}

/// Success as docs/reports.md defines it.
fn judge(
    truth: &bregma_patient::Outcome,
    unapproved: u64,
    why: Option<String>,
    ended: Option<&Ended>,
) -> (Outcome, String) {
    let unapproved_in_words =
        why.map(|why| format!("{unapproved} motions of the arm's own log without approval, the first: {why}"));
    let ended_in_words = match ended {
        None => {
            let unfinished = "the time ran out before the case ended".to_owned();
            let words = unapproved_in_words.map_or(unfinished.clone(), |w| format!("{w}; {unfinished}"));
            return (Outcome::Unfinished, words);
        }
        Some(Ended::Finished) => "the planner found nothing left to remove".to_owned(),
        Some(Ended::Asked(why)) => format!("the planner asked the surgeon: {why}"),
        Some(Ended::Stuck(why)) => format!("nothing moved any more: {why}"),
    };
    let mut failed = Vec::new();
    if truth.forbidden_violations > 0 {
        failed.push(format!("{} violations of forbidden structures", truth.forbidden_violations));
    }
    failed.extend(unapproved_in_words);
    if truth.extent_of_resection < 0.95 {
        failed.push(format!("{:.1} % of the resectable core removed, 95 % needed", truth.extent_of_resection * 100.0));
    }
    if truth.residual_volume_ml > 1.0 {
        failed.push(format!("{:.2} mL of it left, at most 1 mL", truth.residual_volume_ml));
    }
    let overcut_max = (0.2 * truth.core_ml).max(1.0);
    if truth.overcut_ml > overcut_max {
        failed.push(format!("{:.2} mL overcut, at most {overcut_max:.2} mL", truth.overcut_ml));
    }
    if failed.is_empty() {
        (Outcome::Success, ended_in_words)
    } else {
        (Outcome::Failure, format!("{}; {ended_in_words}", failed.join("; ")))
    }
}
