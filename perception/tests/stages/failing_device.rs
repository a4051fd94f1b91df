//! A device that fails costs one step, which says so; the processor goes on with what is known.

use crate::theatre::{Theatre, camera, picture};
use bregma_core::flow::{Light, ROI_EDGE};
use bregma_core::grid::Grid;
use bregma_perception::align::assembly::Assembly;
use bregma_perception::align::evidence::{Look, Seen, Sight};
use bregma_perception::align::{self, Align};
use bregma_perception::bits::VoxelBits;
use bregma_perception::distance::{DistanceTransform, Distances};
use bregma_perception::gpu::DeviceError;
use bregma_perception::perceive::{self, Perceive};
use bregma_perception::scan::Scan;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A device that works as the processor does, up to a number of calls.
#[derive(Debug)]
struct Device<T> {
    works: T,
    calls: usize,
    lost: Arc<AtomicBool>,
}

impl<T> Device<T> {
    fn new(works: T, calls: usize) -> Self {
        Self { works, calls, lost: Arc::default() }
    }

    fn called(&mut self) -> Result<&mut T, DeviceError> {
        assert!(!self.lost.load(Ordering::Relaxed), "a lost device is asked again");
        match self.calls.checked_sub(1) {
            Some(left) => self.calls = left,
            None => {
                self.lost.store(true, Ordering::Relaxed);
                return Err(DeviceError("unplugged".into()));
            }
        }
        Ok(&mut self.works)
    }
}

impl Assembly for Device<Sight> {
    fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn resample(&mut self, scan: &Scan, grid: &Grid, z: &mut [f32], brain: &mut VoxelBits) -> Result<(), DeviceError> {
        self.called()?.resample(scan, grid, z, brain)
    }

    fn look(&mut self, look: &Look<'_>, seen: &mut dyn FnMut(usize, Seen)) -> Result<(), DeviceError> {
        Assembly::look(self.called()?, look, seen)
    }
}

impl Distances for Device<DistanceTransform> {
    fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn signed(&mut self, inside: &[u8], out: &mut [i32]) -> Result<(), DeviceError> {
        Distances::signed(self.called()?, inside, out)
    }
}

fn shown(ms: u64) -> Arc<bregma_core::flow::VideoFrame> {
    picture(ms, Light::Violet, [120, 40, 60])
}

#[test]
fn an_assembly_that_fails_costs_one_frame() {
    // Call 0 brings the scan onto the region, the others look at pictures.
    for calls in 0..4 {
        let (mut theatre, mut alone) = (Theatre::new(), Theatre::new());
        let device = Device::new(Sight::new(camera().size_px), calls);
        theatre.align = Align::with_assembly(align::Settings::with_camera(camera()), Box::new(device));
        let mut lost = Vec::new();
        for frame in 0..6 {
            let expected = alone.aligned(shown(40 * frame)).expect("the processor works").expect("a frame");
            match theatre.aligned(shown(40 * frame)) {
                Ok(found) => assert_eq!(found.expect("a frame").channels, expected.channels, "frame {frame}"),
                Err(why) => lost.push(why.to_string()),
            }
        }
        assert_eq!(lost, ["the GPU failed: unplugged; the processor takes over"], "after {calls} calls");
    }
}

#[test]
fn distances_that_fail_cost_one_scene() {
    let (mut theatre, mut alone) = (Theatre::new(), Theatre::new());
    let device = Device::new(DistanceTransform::new([ROI_EDGE; 3]), 2);
    theatre.perceive = Perceive::new(perceive::Settings::default()).with_distances(Box::new(device));
    let mut lost = 0;
    for frame in 0..6 {
        let expected = alone.scene(shown(40 * frame));
        let roi = theatre.aligned(shown(40 * frame)).expect("align works").expect("a frame");
        match theatre.perceived(roi) {
            Ok(scene) => assert_eq!(scene.expect("a scene").margin, expected.margin, "frame {frame}"),
            Err(why) => {
                assert_eq!(why.to_string(), "the GPU failed: unplugged; the processor takes over");
                lost += 1;
            }
        }
    }
    assert_eq!(lost, 1);
}

#[test]
fn a_device_that_failed_elsewhere_costs_nothing_more() {
    let mut theatre = Theatre::new();
    let (eyes, distances) =
        (Device::new(Sight::new(camera().size_px), 99), Device::new(DistanceTransform::new([ROI_EDGE; 3]), 99));
    let lost = [Arc::clone(&eyes.lost), Arc::clone(&distances.lost)];
    theatre.align = Align::with_assembly(align::Settings::with_camera(camera()), Box::new(eyes));
    theatre.perceive = Perceive::new(perceive::Settings::default()).with_distances(Box::new(distances));
    theatre.scene(shown(0));
    lost.iter().for_each(|device| device.store(true, Ordering::Relaxed));
    theatre.scene(shown(40));
}
