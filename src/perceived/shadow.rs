//! Other estimators, beside the flow: they see what perceive sees, or less of it, and nobody acts on what they say.
//!
//! ```text
//!  rois ─┬─► perceive ─► scenes ─► plan …
//!        ├─► as they are ─────────────────► the same, by another estimator
//!        ├─► nothing remembered ──────────► ...
//!        ├─► without video ───────────────► ...
//!        └─► scans disturbed ─────────────► ...
//!  an align of its own that knows the first scans alone ─► the same, without a newer MRI
//! ```
//! One that is looked at every now and then need not see everything: it is shown the frames of some seconds before ([`Shown`]), and begins
//! anew with them. For evaluation alone. **Allocation:** a frame of 9 MB a step where frames are altered.

use crate::events::Events;
use crate::learning::dropout::Missing;
use crate::pipeline::ports::{align_in, perceive_in};
use crate::pipeline::{AlignPorts, Topics};
use bregma_core::flow::{Anatomy, ROI_EDGE, RoiFrame, Scene, Volume};
use bregma_core::lane::Overflow::{DropOldest, Refuse};
use bregma_core::runner::{Latches, Node, OnOverrun, Ports, Stepper};
use bregma_core::stage::{SawAll, Stage, Trigger};
use bregma_core::time::{Duration, Instant};
use bregma_core::topic::{Numbered, Publisher, Subscriber};
use bregma_core::wake::Wake;
use bregma_perception::align::{Align, Settings, VOLUMES_MAX};
use bregma_perception::perceive::{self, Perceive};
use bregma_perception::train::Disturbing;
use std::sync::Arc;

/// What a shadow is not shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Altered {
    /// It sees what perceive sees.
    Nothing,
    /// What it remembers: each frame is its first.
    Memory,
    /// What the microscope saw.
    Video,
    /// Scans as they are: they suffer what real ones do, by a seed.
    Scans(u64),
    /// Scans made after the first.
    NewerScans,
}

/// Which frames a shadow is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All.
    All,
    /// Those that are compared, by the same count as [`crate::evaluate::Evaluator`]'s, and those of some time before them.
    Compared {
        /// One is compared every so often.
        every: Duration,
        /// And is shown with those of so long before.
        before: Duration,
    },
}

/// An estimator beside the flow.
pub struct Shadow {
    /// As tables name it.
    pub name: &'static str,
    scenes: Subscriber<Arc<Scene>>,
    newest: Option<Arc<Scene>>,
}

impl Shadow {
    /// Hangs one onto the topics that perceive reads, with the nodes that are to step for it. `align` and `preoperative` are for one
    /// that knows the first scans alone.
    #[must_use]
    pub fn hang(
        topics: &mut Topics,
        name: &'static str,
        perceive: Perceive,
        (altered, shown): (Altered, Shown),
        (align, preoperative): (&Settings, &[Arc<Volume>]),
    ) -> (Self, Vec<Box<dyn Stepper>>) {
        let mut nodes: Vec<Box<dyn Stepper>> = Vec::new();
        let (rois, volumes) = if altered == Altered::NewerScans {
            let (rois, node) = align_beside(topics, align.clone(), preoperative);
            nodes.push(Box::new(node));
            (rois, first(preoperative))
        } else {
            let volumes = topics.volumes.subscribe("volumes to a shadow", VOLUMES_MAX, Refuse);
            (topics.rois.subscribe("rois to a shadow", 1, DropOldest), volumes)
        };
        let mut out = Publisher::new(u8::MAX, "scenes of a shadow");
        let scenes = out.subscribe("scenes of a shadow", 1, DropOldest);
        let anatomy = topics.anatomy.subscribe("anatomy to a shadow", 2, DropOldest);
        let stage = Shadowed { perceive, altered, shown, compared: None, input: perceive::In::default(), frames: 0 };
        let ports = ShadowPorts { rois, anatomy, volumes, scenes: out };
        let (latches, begun) = (Latches::default(), perceive::Out::default());
        let node = Node::new(stage, ports, perceive_in(), begun, Trigger::OnInput, OnOverrun::Count, latches);
        nodes.push(Box::new(node));
        (Self { name, scenes, newest: None }, nodes)
    }

    /// What it says of the frame that a scene was made of.
    pub fn beside(&mut self, scene: &Scene) -> Option<&Arc<Scene>> {
        while let Some(scene) = self.scenes.take() {
            self.newest = Some(scene.value);
        }
        self.newest.as_ref().filter(|newest| newest.trace == scene.trace)
    }
}

/// A topic on which the first scans stand, and nothing else comes.
fn first(preoperative: &[Arc<Volume>]) -> Subscriber<Arc<Volume>> {
    let mut scans = Publisher::new(u8::MAX, "preoperative scans");
    let volumes = scans.subscribe("preoperative scans to a shadow", VOLUMES_MAX, Refuse);
    preoperative.iter().for_each(|volume| scans.publish(Arc::clone(volume)));
    volumes
}

/// An align of its own beside the flow's, which knows the preoperative scans and no other; and the frames that it makes. Its node is to step before who
/// reads them.
pub fn align_beside(
    topics: &mut Topics,
    settings: Settings,
    preoperative: &[Arc<Volume>],
) -> (Subscriber<Arc<RoiFrame>>, Node<Align, AlignPorts>) {
    let mut out = Publisher::new(u8::MAX, "rois of the first scans");
    let rois = out.subscribe("rois of the first scans to a shadow", 1, DropOldest);
    let ports = AlignPorts {
        frame: topics.video.subscribe("video to a shadow", 2, DropOldest),
        ranges: topics.ranges.subscribe("ranges to a shadow", 2, DropOldest),
        tips: topics.tips.subscribe("tips to a shadow", 512, DropOldest),
        volumes: first(preoperative),
        registration: topics.registration.subscribe("registration to a shadow", 2, DropOldest),
        anatomy: topics.anatomy.subscribe("anatomy to a shadow's align", 2, DropOldest),
        instrument: topics.instrument.subscribe("instrument to a shadow", 512, DropOldest),
        events: Events::default(),
        rois: out,
    };
    let (align, latches) = (Align::new(settings), Latches::default());
    (rois, Node::new(align, ports, align_in(), None, Trigger::OnInput, OnOverrun::Count, latches))
}

/// Perceive on altered frames.
struct Shadowed {
    perceive: Perceive,
    altered: Altered,
    shown: Shown,
    /// Capture of the last frame that was compared.
    compared: Option<Instant>,
    input: perceive::In,
    frames: u64,
}

impl Shadowed {
    /// Whether it is shown a frame.
    fn sees(&mut self, frame: &RoiFrame) -> bool {
        let Shown::Compared { every, before } = self.shown else { return true };
        let since = self.compared.and_then(|at| frame.captured.since(at));
        if since.is_none_or(|since| since >= every) {
            self.compared = Some(frame.captured);
        }
        since.is_none_or(|since| since + before >= every)
    }

    fn alter(&mut self, frame: &Arc<RoiFrame>) -> Arc<RoiFrame> {
        self.frames += 1;
        let changed = |change: &dyn Fn(&mut RoiFrame)| {
            let mut frame = RoiFrame::clone(frame);
            change(&mut frame);
            Arc::new(frame)
        };
        match self.altered {
            Altered::Nothing | Altered::NewerScans => Arc::clone(frame),
            Altered::Memory => changed(&|frame| frame.epoch = self.frames),
            Altered::Video => changed(&|frame| {
                Missing { video: true, ..Missing::default() }.take_from(&mut frame.channels);
            }),
            // Of one epoch in the same way.
            Altered::Scans(seed) => changed(&|frame| {
                Disturbing::default().disturb(&mut frame.channels, ROI_EDGE, seed ^ frame.epoch);
            }),
        }
    }
}

impl Stage for Shadowed {
    type In = perceive::In;
    type Out = perceive::Out;
    type Fault = perceive::Fault;
    const NAME: &'static str = "shadow";
    const BUDGET: Duration = Perceive::BUDGET;

    fn step(&mut self, now: Instant, input: &perceive::In, out: &mut perceive::Out) -> Result<(), perceive::Fault> {
        *out = perceive::Out::default();
        let (Some(frame), true) = (input.roi.get().map(Arc::clone), input.roi.renewed()) else { return Ok(()) };
        // Scans come once.
        let (seen, old) = (self.sees(&frame), self.input.volumes.iter().cloned().collect::<Vec<_>>());
        let scans = old.into_iter().chain(input.volumes.iter().cloned()).zip(1..);
        self.input.volumes.set(scans.map(|(value, number)| Numbered { number, value }).collect::<Vec<_>>());
        if !seen {
            return Ok(());
        }
        let altered = self.alter(&frame);
        self.input.roi.set(self.frames, altered);
        if let Some(anatomy) = input.anatomy.get() {
            self.input.anatomy.set(1, Arc::clone(anatomy));
        }
        let stepped = self.perceive.step(now, &self.input, out);
        self.input.volumes.set([]);
        stepped
    }
}

struct ShadowPorts {
    rois: Subscriber<Arc<RoiFrame>>,
    anatomy: Subscriber<Arc<Anatomy>>,
    volumes: Subscriber<Arc<Volume>>,
    scenes: Publisher<Arc<Scene>>,
}

impl Ports<Shadowed> for ShadowPorts {
    fn fill(&mut self, _now: Instant, input: &mut perceive::In, saw: &mut SawAll) {
        input.roi.fill(&mut self.rois, saw);
        input.anatomy.fill(&mut self.anatomy, saw);
        input.volumes.fill(&mut self.volumes, saw);
    }
    fn pending(&self) -> bool {
        self.rois.pending()
    }
    fn publish(&mut self, _published: Instant, out: &mut perceive::Out) {
        out.scene.take().into_iter().for_each(|scene| self.scenes.publish(scene));
    }
    fn wakes(&mut self, wake: &Arc<Wake>) {
        self.rois.wakes(wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_perception::perceive::Settings as PerceiveSettings;

    #[test]
    fn what_is_compared_is_shown_with_what_came_before() {
        let shown = Shown::Compared { every: Duration::from_secs(10), before: Duration::from_secs(2) };
        let perceive = Perceive::new(PerceiveSettings::default());
        let (altered, input) = (Altered::Nothing, perceive::In::default());
        let mut stage = Shadowed { perceive, altered, shown, compared: None, input, frames: 0 };
        let sees =
            |s: &u64| stage.sees(&RoiFrame { captured: Instant::START + Duration::from_secs(*s), ..RoiFrame::empty() });
        let seen: Vec<u64> = (1..25).filter(sees).collect();
        assert_eq!(seen, [1, 9, 10, 11, 19, 20, 21]);
    }

    #[test]
    fn what_a_shadow_is_not_shown_is_gone_and_the_flows_frame_is_as_it_was() {
        let altered = |altered| {
            let (perceive, input) = (Perceive::new(PerceiveSettings::default()), perceive::In::default());
            let mut stage = Shadowed { perceive, altered, shown: Shown::All, compared: None, input, frames: 0 };
            let mut frame = RoiFrame { epoch: 7, ..RoiFrame::empty() };
            frame.channels.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 97) as f32 / 97.0 + 0.01);
            let frame = Arc::new(frame);
            let (before, after) = (frame.channels.clone(), stage.alter(&frame));
            assert_eq!(frame.channels, before);
            let changed = (0..bregma_core::flow::ROI_CHANNEL_COUNT).filter(|c| after.channel(*c) != frame.channel(*c));
            (after.epoch, changed.collect::<Vec<_>>())
        };
        assert_eq!(altered(Altered::Nothing), (7, vec![]));
        assert_eq!(altered(Altered::Memory), (1, vec![]));
        assert_eq!(altered(Altered::Video), (7, vec![3, 4, 7]));
        assert_eq!(altered(Altered::Scans(5)), (7, vec![0, 1, 5, 6]));
    }
}
