//! What is drawn, message by message.

use super::layout::path;
use super::overlay::{Points, project};
use super::reasons::Board;
use super::slices::{self, EDGE_PX, Plane};
use super::surface::{Mesh, Mesher};
use super::{Fixed, Lanes, MESH_EVERY, SCENE_EVERY, STALE_AFTER};
use crate::events::Events;
use bregma_core::flow::{Anatomy, GateState, Plan, Proposal, RoiFrame, Scene, Sent, Verdict};
use bregma_core::time::{Duration, Instant};
use bregma_ingest::video::EncodedChunk;
use nalgebra::Point3;
use rerun::{Color, RecordingStream};
use std::sync::Arc;

/// The screen's own memory: the newest of everything.
pub(super) struct Screen {
    out: RecordingStream,
    fixed: Fixed,
    events: Events,
    board: Board,
    told: u64,
    roi: Option<Arc<RoiFrame>>,
    scene: Option<Arc<Scene>>,
    sent: Option<Sent>,
    rejected: Option<String>,
    drawn: Option<Instant>,
    meshed: Option<Instant>,
    mesher: Mesher,
    points: Points,
    rgb: Vec<u8>,
}

fn xyz(p: &Point3<f64>) -> [f32; 3] {
    [p.x as f32, p.y as f32, p.z as f32]
}

fn due(last: Option<Instant>, now: Instant, every: Duration) -> bool {
    last.and_then(|at| now.since(at)).is_none_or(|age| age >= every)
}

/// What lies farther from the target is not drawn, so that the view opens on the tumour, mm.
const AROUND_MM: f64 = 45.0;
/// Length of the instrument that is drawn from its tip, mm; the whole of it hangs on the arm.
const INSTRUMENT_MM: f64 = 60.0;

impl Screen {
    pub(super) fn new(out: RecordingStream, fixed: Fixed, events: Events, board: Board) -> Self {
        let screen = Self {
            out,
            fixed,
            events,
            board,
            told: 0,
            roi: None,
            scene: None,
            sent: None,
            rejected: None,
            drawn: None,
            meshed: None,
            mesher: Mesher::default(),
            points: Points::default(),
            rgb: Vec::new(),
        };
        screen.keep(super::layout::blueprint().send(&screen.out, rerun::blueprint::BlueprintActivation::default()));
        screen.fixed_things();
        screen
    }

    /// A display that fails is told of once a second and never stops the flow.
    fn keep<E: std::fmt::Display>(&self, result: Result<(), E>) {
        if let Err(why) = result {
            self.events.say(self.drawn.unwrap_or_default(), format!("display: {why}"));
        }
    }

    fn log(&self, entity: &str, what: &impl rerun::AsComponents) {
        self.keep(self.out.log(entity, what));
    }

    fn fixed_things(&self) {
        self.keep(self.out.log_static(path::PATIENT, &rerun::ViewCoordinates::LBU()));
        let h264 = rerun::VideoStream::new(rerun::components::VideoCodec::H264);
        self.keep(self.out.log_static(format!("{}/video", path::MICROSCOPE), &h264));
        for (name, label, colour) in [
            ("margin", "tumour_margin at the tip, mm", [255, 120, 120]),
            ("residual", "residual core, mL", [240, 200, 80]),
        ] {
            self.series(&format!("{}/{name}", path::MARGIN), label, colour);
        }
        for (name, label, colour) in
            [("latency", "frame to scene, ms", [90, 170, 255]), ("age", "age of the scene, ms", [170, 120, 255])]
        {
            self.series(&format!("{}/{name}", path::LATENCY), label, colour);
        }
    }

    fn series(&self, entity: &str, label: &str, [r, g, b]: [u8; 3]) {
        let lines = rerun::SeriesLines::new().with_names([label]).with_colors([Color::from_rgb(r, g, b)]);
        self.keep(self.out.log_static(entity, &lines));
    }

    /// Takes what is new and draws what is due.
    pub(super) fn draw(&mut self, now: Instant, lanes: &mut Lanes) {
        self.at(now);
        while let Some(anatomy) = lanes.anatomy.take() {
            self.anatomy(&anatomy.value);
        }
        while let Some(chunk) = lanes.video.take() {
            self.video(&chunk);
        }
        self.at(now);
        while let Some(roi) = lanes.rois.take() {
            self.roi = Some(roi.value);
        }
        while let Some(scene) = lanes.scenes.take() {
            let ms = scene.value.decided.since(scene.value.captured).unwrap_or(Duration::ZERO).millis_f64();
            self.log(&format!("{}/latency", path::LATENCY), &rerun::Scalars::single(ms));
            self.scene = Some(scene.value);
        }
        while let Some(plan) = lanes.plans.take() {
            self.plan(&plan.value);
        }
        while let Some(verdict) = lanes.verdicts.take() {
            self.verdict(&verdict.value);
        }
        while lanes.tips.take().is_some() {}
        while let Some(sent) = lanes.sent.take() {
            self.sent = Some(sent.value);
        }
        self.board.tip(self.tip());
        for event in self.events.since(self.told) {
            self.told = event.number;
            self.log(path::EVENTS, &rerun::TextLog::new(event.words).with_level(rerun::TextLogLevel::INFO));
        }
        if due(self.drawn, now, SCENE_EVERY) {
            self.drawn = Some(now);
            self.arm();
            if let Some(scene) = self.scene.clone() {
                self.scene(now, &scene);
            }
            self.state(now);
        }
    }

    fn at(&self, now: Instant) {
        self.out.set_duration_secs("session", now.secs_f64());
    }

    fn video(&self, chunk: &EncodedChunk) {
        self.at(chunk.captured);
        let sample = rerun::VideoStream::update_fields()
            .with_sample(rerun::components::VideoSample::from(chunk.data.to_vec()))
            .with_is_keyframe(chunk.keyframe);
        self.log(&format!("{}/video", path::MICROSCOPE), &sample);
    }

    fn anatomy(&self, anatomy: &Anatomy) {
        let target = anatomy.corridor.target;
        let near = |p: &Point3<f64>| nalgebra::distance(p, &target) < AROUND_MM;
        let vessels: Vec<_> = anatomy.vessels.iter().filter(|v| near(&v.start)).collect();
        let strips = vessels.iter().map(|v| [xyz(&v.start), xyz(&v.end)]);
        let radii = vessels.iter().map(|v| v.radius_mm as f32);
        let vessels = rerun::LineStrips3D::new(strips).with_radii(radii).with_colors([Color::from_rgb(190, 40, 60)]);
        self.log(&format!("{}/vessels", path::PATIENT), &vessels);

        let c = &anatomy.craniotomy;
        let side = if c.outward.x.abs() < 0.9 { nalgebra::Vector3::x() } else { nalgebra::Vector3::y() };
        let u = c.outward.cross(&side).normalize();
        let w = c.outward.cross(&u);
        let rim = (0..=48).map(|n| {
            let angle = f64::from(n) / 48.0 * std::f64::consts::TAU;
            xyz(&(c.centre + (u * angle.cos() + w * angle.sin()) * c.radius_mm))
        });
        let rim = rerun::LineStrips3D::new([rim.collect::<Vec<_>>()]);
        let rim = rim.with_radii([0.6]).with_colors([Color::from_rgb(235, 225, 200)]).with_labels(["craniotomy"]);
        self.log(&format!("{}/craniotomy", path::PATIENT), &rim);

        let eloquent: Vec<_> =
            anatomy.regions.iter().filter(|r| r.kind == bregma_core::flow::RegionKind::Eloquent).collect();
        let points: Vec<_> = anatomy
            .labels
            .iter()
            .enumerate()
            .filter(|(_, label)| eloquent.iter().any(|r| r.label == **label))
            .map(|(i, _)| anatomy.grid.centre(anatomy.grid.voxel(i)))
            .filter(near)
            .map(|p| xyz(&p))
            .collect();
        let cloud = rerun::Points3D::new(points)
            .with_radii([0.7])
            .with_colors([Color::from_unmultiplied_rgba(255, 210, 0, 120)]);
        self.log(&format!("{}/eloquent", path::PATIENT), &cloud);
    }

    fn plan(&self, plan: &Plan) {
        let Proposal::Motions(motions) = &plan.proposal else {
            return self
                .log(path::EVENTS, &rerun::TextLog::new(format!("plan {}: {:?}", plan.sequence.0, plan.proposal)));
        };
        let Some(first) = motions.first() else { return };
        let strip: Vec<_> = first.waypoints.iter().map(|w| xyz(&w.patient_from_tip.position().coordinates())).collect();
        let line = rerun::LineStrips3D::new([strip]).with_radii([0.35]).with_colors([Color::from_rgb(80, 200, 255)]);
        self.log(&format!("{}/plan", path::PATIENT), &line);
    }

    fn verdict(&mut self, verdict: &Verdict) {
        if verdict.approved {
            self.rejected = None;
            return;
        }
        if let Some(failed) = verdict.checks.iter().find(|c| !c.passed) {
            let words = format!("rejected: {}", bregma_physics::words(failed));
            self.log(path::EVENTS, &rerun::TextLog::new(words.clone()).with_level(rerun::TextLogLevel::WARN));
            self.rejected = Some(words);
        }
    }

    fn arm(&self) {
        let Some(sent) = &self.sent else { return };
        let base = self.fixed.mount.patient_from_arm_base.isometry();
        let frames = self.fixed.arm.joint_frames(&sent.joints);
        let links: Vec<_> =
            frames[..=sent.joints.count()].iter().map(|f| xyz(&(base * Point3::from(f.translation.vector)))).collect();
        let arm = rerun::LineStrips3D::new([links]).with_radii([12.0]).with_colors([Color::from_rgb(150, 155, 165)]);
        self.log(&format!("{}/arm", path::PATIENT), &arm);

        let tip = base * frames[sent.joints.count()] * self.fixed.mount.flange_from_tip.isometry();
        let at = |z: f64| xyz(&(tip * Point3::new(0.0, 0.0, z)));
        let whole = rerun::LineStrips3D::new([[at(-INSTRUMENT_MM), at(-self.fixed.mount.shaft_length_mm)]]);
        let metal = Color::from_rgb(225, 230, 240);
        self.log(&format!("{}/arm/shaft", path::PATIENT), &whole.with_radii([2.0]).with_colors([metal]));
        let shaft = rerun::LineStrips3D::new([[at(0.0), at(-INSTRUMENT_MM)]]);
        let hot = sent.energy.ultrasound;
        let colour = if hot { Color::from_rgb(255, 120, 40) } else { metal };
        let shaft = shaft.with_radii([self.fixed.mount.shaft_radius_mm as f32]).with_colors([colour]);
        self.log(&format!("{}/instrument", path::PATIENT), &shaft);
    }

    fn scene(&mut self, now: Instant, scene: &Scene) {
        let through = self.through(scene);
        if let Some(roi) = self.roi.clone().filter(|roi| roi.grid == scene.grid) {
            for (plane, entity) in Plane::ALL.into_iter().zip(path::SLICES) {
                slices::draw(scene, &roi, plane, through, &mut self.rgb);
                let size = [EDGE_PX as u32; 2];
                self.log(entity, &rerun::Image::from_rgb24(self.rgb.clone(), size));
                let [u, v] = plane.pixel(through.map(|c| c as f64));
                let cross =
                    rerun::Points2D::new([[u, v]]).with_radii([3.0]).with_colors([Color::from_rgb(80, 220, 255)]);
                self.log(&format!("{entity}/tip"), &cross);
            }
        }
        project(scene, &self.fixed.camera, &mut self.points);
        let colours = self.points.colours.iter().map(|[r, g, b, a]| Color::from_unmultiplied_rgba(*r, *g, *b, *a));
        let points = rerun::Points2D::new(self.points.at.iter().copied()).with_colors(colours).with_radii([1.6]);
        self.log(&format!("{}/margin", path::MICROSCOPE), &points);

        if due(self.meshed, now, MESH_EVERY) {
            self.meshed = Some(now);
            let core = self.mesher.core(scene);
            self.mesh("residual_core", core);
            let cavity = self.mesher.cavity(scene);
            self.mesh("cavity", cavity);
        }
        self.log(&format!("{}/residual", path::MARGIN), &rerun::Scalars::single(scene.residual_ml));
        if let Some(margin) = self.margin_at_tip(scene) {
            self.log(&format!("{}/margin", path::MARGIN), &rerun::Scalars::single(margin.0));
        }
        if let Some(age) = now.since(scene.captured) {
            self.log(&format!("{}/age", path::LATENCY), &rerun::Scalars::single(age.millis_f64()));
        }
    }

    fn mesh(&self, name: &str, mesh: Mesh) {
        let entity = format!("{}/{name}", path::PATIENT);
        if mesh.triangles.is_empty() {
            return self.log(&entity, &rerun::Clear::flat());
        }
        let colours = mesh.colours.iter().map(|[r, g, b, a]| Color::from_unmultiplied_rgba(*r, *g, *b, *a));
        let mesh3d = rerun::Mesh3D::new(mesh.positions)
            .with_vertex_normals(mesh.normals)
            .with_triangle_indices(mesh.triangles)
            .with_vertex_colors(colours);
        self.log(&entity, &mesh3d);
    }

    fn tip(&self) -> Option<Point3<f64>> {
        let sent = self.sent.as_ref()?;
        let flange = self.fixed.arm.forward(&sent.joints);
        let tip = self.fixed.mount.patient_from_arm_base.isometry()
            * flange.isometry()
            * self.fixed.mount.flange_from_tip.isometry();
        Some(Point3::from(tip.translation.vector))
    }

    /// The voxel that the slices run through: the tip's, or the middle when the tip is outside.
    fn through(&self, scene: &Scene) -> [usize; 3] {
        self.tip().and_then(|tip| scene.grid.containing(&tip)).unwrap_or(scene.grid.dims.map(|n| n / 2))
    }

    /// Margin and interval at the tip, mm.
    fn margin_at_tip(&self, scene: &Scene) -> Option<(f64, f64)> {
        let index = scene.grid.index(scene.grid.containing(&self.tip()?)?);
        Some((scene.margin_mm(index), scene.interval_mm(index)))
    }

    fn state(&self, now: Instant) {
        let mut text = String::from("# Bregma: research software, simulated\n\n");
        let line = |text: &mut String, words: String| {
            text.push_str(&words);
            text.push_str("\n\n");
        };
        match &self.scene {
            None => line(&mut text, "**no scene yet**".into()),
            Some(scene) => {
                let age = now.since(scene.captured).unwrap_or(Duration::ZERO);
                if age > STALE_AFTER {
                    line(&mut text, format!("# STALE: the newest scene is {age} old"));
                } else if let Some((margin, interval)) = self.margin_at_tip(scene) {
                    line(&mut text, format!("# margin {margin:+.1} ± {interval:.1} mm"));
                } else {
                    line(&mut text, "# margin: the tip is outside the region".into());
                }
                line(
                    &mut text,
                    format!("residual core {:.2} mL · scene {} · {age} old", scene.residual_ml, scene.id.0),
                );
                let e = &scene.errors;
                line(
                    &mut text,
                    format!(
                        "error at the margin {:.2} (one standard deviation): registration {:.2}, calibration {:.2}, tracking {:.2}, \
                         brain shift {:.2}",
                        e.total(&scene.shift),
                        e.registration,
                        e.calibration,
                        e.tracking,
                        e.shift
                    ),
                );
                self.board.words(now).into_iter().for_each(|words| line(&mut text, words));
                if scene.doubtful_ml > bregma_planning::DOUBTFUL_SHARE_MAX * scene.residual_ml {
                    line(
                        &mut text,
                        format!(
                            "**errors forbid {:.2} mL of the residual core: a new MRI or registration would free it**",
                            scene.doubtful_ml
                        ),
                    );
                }
            }
        }
        if let Some(sent) = &self.sent {
            let energy = if sent.energy.ultrasound { "ON" } else { "off" };
            line(&mut text, format!("gate **{:?}** · energy **{energy}**", sent.state));
            if let Some(reason) = sent.reason.filter(|_| sent.state != GateState::Active) {
                line(&mut text, format!("ALARM: {reason}"));
            }
        }
        if let Some(rejected) = &self.rejected {
            line(&mut text, rejected.clone());
        }
        let document = rerun::TextDocument::new(text).with_media_type(rerun::MediaType::MARKDOWN);
        self.log(path::STATE, &document);
    }

    pub(super) fn close(self) {
        if let Err(why) = self.out.flush_blocking() {
            self.events.say(self.drawn.unwrap_or_default(), format!("display: {why}"));
        }
        self.out.disconnect();
    }
}
