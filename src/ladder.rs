//! The ladder's lower rungs: what simpler navigation would have believed, on the same observations.
//!
//! ```text
//!  static             the first segmentation, where the registration of the skull has it, less what the tip swept there
//!  + re-registration  the same, begun anew with each intraoperative MRI: its segmentation, less what is swept after it
//!  + surface shift    the newest segmentation, moved as align follows the brain between scans
//! ```
//! Navigation begun anew holds an MRI to the skull alone, and believes until the next that tissue stays where it shows it.
//! Where the brain's shift is followed, what the tip swept is kept where the scan shows the tissue that was there; navigation that
//! follows nothing carves elsewhere. So a second align that follows nothing reads what the first one reads, beside the flow:
//! [`Still`]. **Units:** mm. Nothing here is shown to a stage.

pub mod page;

use crate::config::Config;
use crate::perceived::shadow::align_beside;
use crate::pipeline::{AlignPorts, Topics};
use crate::session::engines::Engines;
use crate::session::{self, Theatre};
use anyhow::Context;
use bregma_core::flow::{ROI_VOXELS, RoiFrame, Scene, VideoFrame, Volume, voxel};
use bregma_core::runner::Node;
use bregma_core::stage::Stage;
use bregma_core::time::Instant;
use bregma_core::topic::{Numbered, Subscriber};
use bregma_perception::align::{self, Align, Settings};
use bregma_perception::perceive;
use std::sync::Arc;

/// The channel of a frame that holds the cavity; a test looks at its name.
const CAVITY: usize = 2;

/// An align that follows no shift.
pub struct Still {
    frames: Subscriber<Arc<RoiFrame>>,
    newest: Option<Arc<RoiFrame>>,
}

impl Still {
    /// Hangs it onto the topics that align reads, but for scans: it knows the preoperative ones and no other. Its node is to step before
    /// perceive does.
    #[must_use]
    pub fn hang(
        topics: &mut Topics,
        settings: Settings,
        preoperative: &[Arc<Volume>],
    ) -> (Self, Node<Align, AlignPorts>) {
        let (frames, node) = align_beside(topics, Settings { shift: None, ..settings }, preoperative);
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

/// The rungs.
#[derive(Default)]
pub struct Rungs {
    still: Option<Still>,
    /// The first segmentation, where the scan shows it.
    core: Option<Vec<bool>>,
    rescan: Option<Rescan>,
    /// The newest segmentation where tissue rests, and when its scan was acquired.
    moved: Option<(Instant, Vec<bool>)>,
}

/// Navigation begun anew.
struct Rescan {
    core: Vec<bool>,
    /// What had been swept before.
    swept: Vec<bool>,
}

impl Rungs {
    /// `still`: where the brain's shift is followed.
    #[must_use]
    pub const fn new(still: Option<Still>) -> Self {
        Self { still, core: None, rescan: None, moved: None }
    }

    /// Takes note of the first scene, before anything is removed, and of the first by each scan.
    pub fn begin(&mut self, scene: &Scene) {
        if self.moved.as_ref().is_none_or(|(scanned, _)| *scanned != scene.scanned) {
            let core = at_rest(scene);
            self.core.get_or_insert_with(|| core.clone());
            self.moved = Some((scene.scanned, core));
        }
    }

    /// Residual core as static navigation has it, voxel by voxel.
    pub fn static_core(&mut self, scene: &Scene) -> Option<Vec<bool>> {
        let swept = self.swept(scene)?;
        let core = self.core.as_ref()?;
        Some(core.iter().zip(swept).map(|(core, swept)| *core && !swept).collect())
    }

    /// The same with the newest MRI; until one is made, static navigation is all there is.
    pub fn reregistered_core(&mut self, scene: &Scene) -> Option<Vec<bool>> {
        if self.rescan.is_none() {
            return self.static_core(scene);
        }
        let now = self.swept(scene)?;
        let rescan = self.rescan.as_ref()?;
        let since = rescan.core.iter().zip(rescan.swept.iter().zip(now));
        Some(since.map(|(core, (before, now))| *core && (*before || !now)).collect())
    }

    /// What static navigation believes to be swept.
    fn swept(&mut self, scene: &Scene) -> Option<Vec<bool>> {
        Some(match &mut self.still {
            Some(still) => still.cavity()?.iter().map(|cavity| *cavity >= 0.5).collect(),
            None => scene.state.iter().map(|s| s & voxel::CAVITY != 0).collect(),
        })
    }

    /// Whether an MRI was made.
    #[must_use]
    pub const fn rescanned(&self) -> bool {
        self.rescan.is_some()
    }

    /// Begins anew with the MRI that shows the head as it is: as a session would that had just been opened with it.
    ///
    /// # Errors
    /// When align or perceive refuse it.
    pub fn take_scan(
        &mut self,
        scene: &Scene,
        config: &Config,
        theatre: &Theatre,
        scans: Vec<Volume>,
        picture: &Arc<VideoFrame>,
    ) -> anyhow::Result<()> {
        let swept = self.swept(scene).context("nothing was seen before the scan")?;
        let now = picture.captured.max(scene.decided);
        let scans: Vec<_> = scans.into_iter().map(Arc::new).collect();
        let numbered = || scans.iter().zip(1..).map(|(value, number)| Numbered { number, value: Arc::clone(value) });
        let mut seen = align::In::default();
        seen.volumes.set(numbered());
        seen.anatomy.set(1, Arc::clone(&theatre.anatomy));
        seen.registration.set(1, theatre.registration.context("the patient is registered")?);
        seen.frame.set(1, Arc::clone(picture));
        let mut frame = None;
        Align::new(Settings { shift: None, ..session::align_settings(config, theatre) })
            .step(now, &seen, &mut frame)?;
        let mut held = perceive::In::default();
        held.volumes.set(numbered());
        held.anatomy.set(1, Arc::clone(&theatre.anatomy));
        held.roi.set(1, frame.context("align makes a frame of the picture")?);
        let mut found = perceive::Out::default();
        let Engines { estimator, distances, .. } = Engines::classical(config, theatre);
        session::perceive(config, estimator, distances).step(now, &held, &mut found)?;
        let found = found.scene.context("perceive makes a scene of the frame")?;
        self.rescan = Some(Rescan { core: found.residual.iter().map(|p| *p >= 128).collect(), swept });
        Ok(())
    }

    /// The same where the brain's shift is followed; none where it is not.
    #[must_use]
    pub fn moved_core(&self, scene: &Scene) -> Option<Vec<bool>> {
        let ((_, core), _) = (self.moved.as_ref()?, self.still.as_ref()?);
        let left = (0..ROI_VOXELS).map(|index| {
            let rest = scene.shift.rest(&scene.grid.centre(scene.grid.voxel(index)));
            let was = scene.grid.containing(&rest).is_some_and(|v| core[scene.grid.index(v)]);
            was && scene.state[index] & voxel::CAVITY == 0
        });
        Some(left.collect())
    }
}

/// Residual core of a scene, brought back to where tissue rests.
fn at_rest(scene: &Scene) -> Vec<bool> {
    let there = |rest: usize| {
        let now = scene.shift.now(&scene.grid.centre(scene.grid.voxel(rest)));
        scene.grid.containing(&now).is_some_and(|v| scene.residual[scene.grid.index(v)] >= 128)
    };
    (0..ROI_VOXELS).map(there).collect()
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
        rungs.still = Some(Still::hang(&mut topics, Settings::with_camera(camera), &[]).0);
        assert_eq!(rungs.moved_core(&scene).expect("followed").iter().position(|c| *c), Some(now));
        // Farther on, and cut there.
        let later = scene.grid.index([23, 20, 20]);
        scene.shift.set(centre, |_| (Vector3::new(3.75, 0.0, 0.0), 0.5));
        assert_eq!(rungs.moved_core(&scene).expect("followed").iter().position(|c| *c), Some(later));
        scene.state[later] |= voxel::CAVITY;
        assert!(rungs.moved_core(&scene).expect("followed").iter().all(|c| !c));
        assert!(rungs.static_core(&scene).is_none(), "no frame of a still brain has come");
    }

    #[test]
    fn navigation_begun_anew_forgets_what_was_swept_before_its_scan_and_no_more() {
        let mut scene = Scene::empty();
        let [first, left, later] = [10, 20, 30].map(|i| scene.grid.index([i, 20, 20]));
        [first, left, later].iter().for_each(|i| scene.residual[*i] = 255);
        let mut rungs = Rungs::default();
        rungs.begin(&scene);
        scene.state[first] |= voxel::CAVITY;
        assert!(!rungs.rescanned());
        let of = |core: Option<Vec<bool>>| {
            let core = core.expect("begun");
            (0..ROI_VOXELS).filter(|i| core[*i]).collect::<Vec<_>>()
        };
        assert_eq!(of(rungs.reregistered_core(&scene)), [left, later], "as static navigation until then");
        // The scan shows core where the tip was thought to have been.
        let mut core = vec![false; ROI_VOXELS];
        [first, later].iter().for_each(|i| core[*i] = true);
        let swept = scene.state.iter().map(|s| s & voxel::CAVITY != 0).collect();
        rungs.rescan = Some(Rescan { core, swept });
        assert!(rungs.rescanned());
        scene.state[later] |= voxel::CAVITY;
        assert_eq!(of(rungs.reregistered_core(&scene)), [first]);
        assert_eq!(of(rungs.static_core(&scene)), [left]);
    }
}
