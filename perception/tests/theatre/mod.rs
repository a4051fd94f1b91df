//! A hand-made theatre: a ball of brain, a bright shell with a dark centre in it, a corridor and a camera.

use bregma_core::flow::{
    Anatomy, CameraCalibration, Capsule, Corridor, Craniotomy, Energy, InstrumentState, Light, Modality, RANGE_PER_MM,
    RangeImage, Region, RegionKind, Registration, RoiFrame, Scene, TipPose, TraceId, TrackingStatus, VideoFrame,
    Volume, tile_middle,
};
use bregma_core::frame::{FrameId, Pose};
use bregma_core::grid::Grid;
use bregma_core::topic::Numbered;
use bregma_core::{Duration, Instant, Millimetres, Stage, Stamped};
use bregma_perception::align::{self, Align};
use bregma_perception::perceive::{self, Perceive};
use nalgebra::{Matrix4, Point3, Vector3, Vector4};
use std::sync::Arc;

/// Outer radius of the shell, mm.
pub const CORE_MM: f64 = 15.0;
const SIZE: [usize; 2] = [640, 360];

pub fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

pub fn camera() -> CameraCalibration {
    CameraCalibration {
        focal_px: [1200.0; 2],
        centre_px: [319.5, 179.5],
        size_px: SIZE,
        patient_from_camera: Pose::from_parts(FrameId::SOLE, FrameId::SOLE, [0.0, 0.0, -300.0], [0.0, 0.0, 0.0, 1.0])
            .expect("finite"),
        error: Millimetres::constant(0.5),
    }
}

pub fn volume() -> Volume {
    let dims = [110; 3];
    let spacing = 1.1;
    let mut noise = 7_u32;
    let intensities = (0..110 * 110 * 110)
        .map(|n: usize| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = (noise >> 16) as f32 / 65536.0 * 20.0 - 10.0;
            let v = [n % 110, n / 110 % 110, n / 12100].map(|c| (c as f64 - 54.5) * spacing);
            match v.iter().map(|c| c * c).sum::<f64>().sqrt() {
                r if r < 10.0 => 45.0 + grain,
                r if r < CORE_MM => 220.0 + grain,
                r if r < 52.0 => 100.0 + grain,
                _ => 0.0,
            }
        })
        .collect();
    let mut patient_from_voxel = Matrix4::new_scaling(spacing);
    patient_from_voxel.set_column(3, &Vector4::new(-54.5 * spacing, -54.5 * spacing, -54.5 * spacing, 1.0));
    Volume {
        modality: Modality::T1c,
        dims,
        intensities,
        patient_from_voxel,
        frame: FrameId::SOLE,
        acquired: at(0),
        shift: None,
    }
}

pub fn anatomy() -> Anatomy {
    let grid = Grid::centred(Point3::origin(), [60; 3], 2.0);
    let mut labels = vec![0; grid.len()];
    labels[grid.index(grid.containing(&Point3::new(25.0, 0.0, 0.0)).expect("inside"))] = 3;
    let vessel = Capsule { start: Point3::new(-25.0, -10.0, 0.0), end: Point3::new(-25.0, 10.0, 0.0), radius_mm: 1.5 };
    let mut anatomy = Anatomy {
        frame: FrameId::SOLE,
        vessels: vec![vessel],
        grid,
        labels,
        regions: vec![Region { label: 3, name: "motor strip".to_owned(), kind: RegionKind::Eloquent }],
        craniotomy: Craniotomy { centre: Point3::new(0.0, 0.0, -60.0), outward: -Vector3::z(), radius_mm: 20.0 },
        corridor: Corridor {
            entry: Point3::new(0.0, 0.0, -50.0),
            target: Point3::origin(),
            entry_radius_mm: 9.0,
            end_radius_mm: 7.0,
            open_mm: 38.0,
        },
        digest: Default::default(),
    };
    anatomy.digest = anatomy.digest_of_content();
    anatomy
}

pub fn registration() -> Registration {
    Registration {
        patient_from_reference: Pose::identity(),
        fre: Millimetres::constant(0.4),
        predicted_tre: Millimetres::constant(0.6),
        up: None,
        registered: at(0),
        expires: at(3_600_000),
    }
}

pub fn picture(ms: u64, light: Light, rgb: [u8; 3]) -> Arc<VideoFrame> {
    let mut frame = VideoFrame::black(SIZE[0], SIZE[1]);
    frame.rgb.chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&rgb));
    (frame.trace, frame.light, frame.captured, frame.received) = (TraceId(ms), light, at(ms), at(ms));
    Arc::new(frame)
}

pub fn tip(ms: u64, mm: [f64; 3]) -> TipPose {
    let reference_from_tip = Stamped {
        value: Pose::from_parts(FrameId::SOLE, FrameId::SOLE, mm, [0.0, 0.0, 0.0, 1.0]).expect("finite"),
        captured: at(ms),
        valid_for: Duration::from_millis(200),
        error: Millimetres::constant(0.4),
        drift_mm_s: 0.5,
    };
    TipPose { trace: TraceId(ms), reference_from_tip, status: TrackingStatus::Valid, received: at(ms) }
}

/// What a range image shows of the ball of brain, sunk by so much; `covered` says what hides a pixel, and how far before it.
#[allow(dead_code, reason = "not every program that shares this follows")]
pub fn ranges(ms: u64, sunk_mm: f64, covered: impl Fn([f64; 2]) -> Option<f64>) -> Arc<RangeImage> {
    let mut image =
        RangeImage { noise_mm: 0.4, bias_mm: 0.7, captured: at(ms), received: at(ms), ..RangeImage::blank() };
    let mut noise = 11 + ms as u32;
    for (tile, range) in image.ranges.iter_mut().enumerate() {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = f64::from(noise >> 16) / 65536.0 - 0.5;
        let middle = tile_middle(tile, SIZE);
        let slope = [0, 1].map(|a| (middle[a] - camera().centre_px[a]) / camera().focal_px[a]);
        // The nearer place where the ray meets a ball of 52 mm.
        let far = 300.0 + sunk_mm;
        let (a, b, c) = (1.0 + slope[0] * slope[0] + slope[1] * slope[1], far, far * far - 52.0 * 52.0);
        let inside = b * b - a * c;
        if inside > 0.0 {
            let depth = (b - inside.sqrt()) / a + grain - covered(middle).unwrap_or(0.0);
            *range = (depth * RANGE_PER_MM).round() as u16;
        }
    }
    Arc::new(image)
}

/// Both stages and their inputs.
pub struct Theatre {
    pub align: Align,
    pub align_in: align::In,
    pub perceive: Perceive,
    pub perceive_in: perceive::In,
    frames: u64,
}

impl Theatre {
    pub fn new() -> Self {
        let mut theatre = Self {
            align: Align::new(align::Settings::with_camera(camera())),
            align_in: align::In::default(),
            perceive: Perceive::new(perceive::Settings::default()),
            perceive_in: perceive::In::default(),
            frames: 0,
        };
        let (scan, anatomy) = (Arc::new(volume()), Arc::new(anatomy()));
        theatre.align_in.volumes.set([Numbered { number: 1, value: Arc::clone(&scan) }]);
        theatre.perceive_in.volumes.set([Numbered { number: 1, value: scan }]);
        theatre.align_in.anatomy.set(1, Arc::clone(&anatomy));
        theatre.perceive_in.anatomy.set(1, anatomy);
        theatre.align_in.registration.set(1, registration());
        theatre
    }

    /// One whose align follows the brain's shift.
    #[allow(dead_code, reason = "not every program that shares this follows")]
    pub fn following() -> Self {
        let settings = align::Settings {
            shift: Some(align::shift::Settings::default()),
            ..align::Settings::with_camera(camera())
        };
        let mut theatre = Self { align: Align::new(settings), ..Self::new() };
        theatre.align_in.registration.set(1, Registration { up: Some([0.0, 0.0, -1.0]), ..registration() });
        theatre
    }

    /// The tip moves on with this energy; the states are heard at the next picture.
    pub fn moves(&mut self, energy: Energy, poses: &[(u64, [f64; 3])]) {
        let numbered = |value| Numbered { number: 1, value };
        self.align_in.tips.set(poses.iter().map(|(ms, mm)| Numbered { number: *ms, value: tip(*ms, *mm) }));
        let captured = poses.first().map_or(at(0), |(ms, _)| at(*ms));
        self.align_in.instrument.set([numbered(InstrumentState { energy, captured })]);
    }

    pub fn aligned(&mut self, picture: Arc<VideoFrame>) -> Result<Option<Arc<RoiFrame>>, align::Fault> {
        self.frames += 1;
        let now = picture.captured;
        self.align_in.frame.set(self.frames, picture);
        let mut out = None;
        let result = self.align.step(now, &self.align_in, &mut out);
        self.align_in.volumes.set([]);
        self.align_in.tips.set([]);
        self.align_in.instrument.set([]);
        result.map(|()| out)
    }

    pub fn perceived(&mut self, frame: Arc<RoiFrame>) -> Result<Option<Arc<Scene>>, perceive::Fault> {
        let now = frame.decided;
        self.perceive_in.roi.set(self.frames, frame);
        let mut out = perceive::Out::default();
        let result = self.perceive.step(now, &self.perceive_in, &mut out);
        self.perceive_in.volumes.set([]);
        result.map(|()| out.scene)
    }

    pub fn scene(&mut self, picture: Arc<VideoFrame>) -> Arc<Scene> {
        let frame = self.aligned(picture).expect("align works").expect("a frame for a picture");
        self.perceived(frame).expect("perceive works").expect("a scene for a frame")
    }
}
