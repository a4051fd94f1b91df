//! The ladder's lower rungs: what simpler navigation would have believed, on the same observations.
//!
//! ```text
//!  static            the first segmentation, where the registration of the skull has it, less what the tip swept there
//!  + surface shift   the same tissue, moved as align follows the brain
//! ```
//! Where the brain's shift is followed, what the tip swept is kept where the scan shows the tissue that was there; navigation that
//! follows nothing carves elsewhere. So a second align that follows nothing reads what the first one reads, beside the flow:
//! [`Still`]. **Units:** mm. Nothing here is shown to a stage.

use crate::events::Events;
use crate::pipeline::ports::align_in;
use crate::pipeline::{AlignPorts, Topics};
use bregma_core::flow::{ROI_VOXELS, RoiFrame, Scene, voxel};
use bregma_core::lane::Overflow::{DropOldest, Refuse};
use bregma_core::runner::{Latches, Node, OnOverrun};
use bregma_core::stage::Trigger;
use bregma_core::topic::{Publisher, Subscriber};
use bregma_perception::align::{Align, Settings, VOLUMES_MAX};
use std::sync::Arc;

/// The channel of a frame that holds the cavity; a test looks at its name.
const CAVITY: usize = 2;

/// An align that follows no shift.
pub struct Still {
    frames: Subscriber<Arc<RoiFrame>>,
    newest: Option<Arc<RoiFrame>>,
}

impl Still {
    /// Hangs it onto the topics that align reads; its node is to step before perceive does.
    #[must_use]
    pub fn hang(topics: &mut Topics, settings: Settings) -> (Self, Node<Align, AlignPorts>) {
        let mut rois = Publisher::new(u8::MAX, "rois of a still brain");
        let frames = rois.subscribe("rois of a still brain to the ladder", 1, DropOldest);
        let ports = AlignPorts {
            frame: topics.video.subscribe("video to the ladder", 2, DropOldest),
            ranges: topics.ranges.subscribe("ranges to the ladder", 2, DropOldest),
            tips: topics.tips.subscribe("tips to the ladder", 512, DropOldest),
            volumes: topics.volumes.subscribe("volumes to the ladder", VOLUMES_MAX, Refuse),
            registration: topics.registration.subscribe("registration to the ladder", 2, DropOldest),
            anatomy: topics.anatomy.subscribe("anatomy to the ladder", 2, DropOldest),
            instrument: topics.instrument.subscribe("instrument to the ladder", 512, DropOldest),
            events: Events::default(),
            rois,
        };
        let align = Align::new(Settings { shift: None, ..settings });
        let latches = Latches::default();
        let node = Node::new(align, ports, align_in(), None, Trigger::OnInput, OnOverrun::Count, latches);
        (Self { frames, newest: None }, node)
    }

    /// Whether each voxel is cavity, by the newest frame.
    fn cavity(&mut self) -> Option<&[f32]> {
        while let Some(frame) = self.frames.take() {
            self.newest = Some(frame.value);
        }
        self.newest.as_ref().map(|frame| frame.channel(CAVITY))
    }
}

/// Both rungs.
#[derive(Default)]
pub struct Rungs {
    still: Option<Still>,
    /// The first segmentation, where the scan shows it.
    core: Option<Vec<bool>>,
}

impl Rungs {
    /// `still`: where the brain's shift is followed.
    #[must_use]
    pub const fn new(still: Option<Still>) -> Self {
        Self { still, core: None }
    }

    /// Takes note of the first scene, before anything is removed.
    pub fn begin(&mut self, scene: &Scene) {
        self.core.get_or_insert_with(|| {
            let there = |rest: usize| {
                let now = scene.shift.now(&scene.grid.centre(scene.grid.voxel(rest)));
                scene.grid.containing(&now).is_some_and(|v| scene.residual[scene.grid.index(v)] >= 128)
            };
            (0..ROI_VOXELS).map(there).collect()
        });
    }

    /// Residual core as static navigation has it, voxel by voxel.
    pub fn static_core(&mut self, scene: &Scene) -> Option<Vec<bool>> {
        let core = self.core.as_ref()?;
        let left: Vec<bool> = match &mut self.still {
            Some(still) => core.iter().zip(still.cavity()?).map(|(core, cavity)| *core && *cavity < 0.5).collect(),
            None => core.iter().zip(&scene.state).map(|(core, s)| *core && s & voxel::CAVITY == 0).collect(),
        };
        Some(left)
    }

    /// The same where the brain's shift is followed; none where it is not.
    #[must_use]
    pub fn moved_core(&self, scene: &Scene) -> Option<Vec<bool>> {
        let (core, _) = (self.core.as_ref()?, self.still.as_ref()?);
        let left = (0..ROI_VOXELS).map(|index| {
            let rest = scene.shift.rest(&scene.grid.centre(scene.grid.voxel(index)));
            let was = scene.grid.containing(&rest).is_some_and(|v| core[scene.grid.index(v)]);
            was && scene.state[index] & voxel::CAVITY == 0
        });
        Some(left.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Vector3;

    #[test]
    fn a_moved_core_is_where_the_shift_says_and_a_static_one_where_the_scan_did() {
        assert!(bregma_core::flow::ROI_CHANNELS[CAVITY].starts_with("cavity:"));
        let mut scene = Scene::empty();
        let centre = scene.grid.centre([32; 3]);
        let (rest, now) = (scene.grid.index([20, 20, 20]), scene.grid.index([22, 20, 20]));
        let mut rungs = Rungs::default();
        // The first scene shows it moved already.
        scene.shift.set(centre, |_| (Vector3::new(2.5, 0.0, 0.0), 0.5));
        scene.residual[now] = 255;
        rungs.begin(&scene);
        assert_eq!(rungs.static_core(&scene).expect("begun").iter().position(|c| *c), Some(rest));
        assert!(rungs.moved_core(&scene).is_none(), "nobody follows");
        let mut topics = Topics::new();
        let camera = bregma_core::flow::CameraCalibration {
            focal_px: [100.0; 2],
            centre_px: [32.0; 2],
            size_px: [64; 2],
            patient_from_camera: bregma_core::frame::Pose::identity(),
            error: bregma_core::units::Millimetres::ZERO,
        };
        rungs.still = Some(Still::hang(&mut topics, Settings::with_camera(camera)).0);
        assert_eq!(rungs.moved_core(&scene).expect("followed").iter().position(|c| *c), Some(now));
        // Farther on, and cut there.
        let later = scene.grid.index([23, 20, 20]);
        scene.shift.set(centre, |_| (Vector3::new(3.75, 0.0, 0.0), 0.5));
        assert_eq!(rungs.moved_core(&scene).expect("followed").iter().position(|c| *c), Some(later));
        scene.state[later] |= voxel::CAVITY;
        assert!(rungs.moved_core(&scene).expect("followed").iter().all(|c| !c));
        assert!(rungs.static_core(&scene).is_none(), "no frame of a still brain has come");
    }
}
