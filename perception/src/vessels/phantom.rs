//! Tubes of known width for the tests: bright on even, noisy tissue beside air, blurred, in lattices that are turned
//! and flipped. **Units:** mm, patient LPS; intensities 10 in air, 100 in tissue, 400 in blood unless said.

use bregma_core::flow::{Capsule, Modality, Volume};
use bregma_core::frame::FrameId;
use bregma_core::time::Instant;
use nalgebra::{Matrix4, Point3, Rotation3, Vector3};

/// Points of the blur.
const BLUR_POINTS: usize = 96;

/// A volume to be.
pub(super) struct Phantom {
    dims: [usize; 3],
    patient_from_voxel: Matrix4<f64>,
    /// With the intensity of their blood.
    tubes: Vec<(Capsule, f64)>,
    /// Standard deviation of noise.
    pub noise: f64,
    /// Intensity of blood in tubes that are added from now on.
    pub blood: f64,
    /// Standard deviation of the blur, mm.
    pub blur_mm: f64,
    /// Adds a sheet instead of tubes: a plane through the middle, 2 mm thick, as bright as blood.
    pub sheet: bool,
}

/// Turned, with these steps; negative ones flip.
pub(super) fn affine(step_mm: [f64; 3]) -> Matrix4<f64> {
    let turn = Rotation3::from_euler_angles(0.3, -0.2, 0.5).to_homogeneous();
    Matrix4::new_translation(&Vector3::new(12.0, -30.0, 45.0)) * turn * Matrix4::new_nonuniform_scaling(&step_mm.into())
}

impl Phantom {
    pub fn new(dims: [usize; 3], patient_from_voxel: Matrix4<f64>) -> Self {
        Self { dims, patient_from_voxel, tubes: Vec::new(), noise: 4.0, blood: 400.0, blur_mm: 0.45, sheet: false }
    }

    pub fn middle(&self) -> Point3<f64> {
        self.patient_from_voxel.transform_point(&self.dims.map(|n| 0.5 * (n as f64 - 1.0)).into())
    }

    /// Adds a straight tube through a point and out of the volume on both sides.
    pub fn tube(&mut self, through: Point3<f64>, along: Vector3<f64>, diameter_mm: f64) {
        let half = along.normalize() * 200.0;
        self.path(&[through - half, through + half], diameter_mm);
    }

    /// Adds a tube along a polyline.
    pub fn path(&mut self, points: &[Point3<f64>], diameter_mm: f64) {
        let radius_mm = 0.5 * diameter_mm;
        let tube = |leg: &[Point3<f64>]| (Capsule { start: leg[0], end: leg[1], radius_mm }, self.blood);
        self.tubes.extend(points.windows(2).map(tube));
    }

    pub fn volume(&self) -> Volume {
        let offsets = normal_points(self.blur_mm);
        let voxels = self.dims.iter().product();
        let (nx, ny) = (self.dims[0], self.dims[1]);
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let (middle, across) = (self.middle(), Vector3::new(0.2, 0.9, -0.4).normalize());
        let value = |index: usize| {
            let voxel = [index % nx, index / nx % ny, index / nx / ny];
            let noise = self.noise * random.normal();
            if voxel[0] < nx / 6 {
                return (10.0 + noise) as f32;
            }
            let at = self.patient_from_voxel.transform_point(&voxel.map(|n| n as f64).into());
            let near: Vec<_> = self.tubes.iter().filter(|(t, _)| t.distance_mm(&at) < 4.0 * self.blur_mm).collect();
            let painted = |offset: &Vector3<f64>| {
                let at = at + offset;
                let sheet = if self.sheet && (at - middle).dot(&across).abs() < 1.0 { 400.0 } else { 100.0 };
                let inside = near.iter().filter(|(t, _)| t.distance_mm(&at) < 0.0);
                inside.map(|(_, blood)| *blood).fold(sheet, f64::max)
            };
            let mean = offsets.iter().map(painted).sum::<f64>() / offsets.len() as f64;
            (mean + noise) as f32
        };
        Volume {
            modality: Modality::Mra,
            dims: self.dims,
            intensities: (0..voxels).map(value).collect(),
            patient_from_voxel: self.patient_from_voxel,
            frame: FrameId::SOLE,
            acquired: Instant::START,
            shift: None,
        }
    }
}

/// Evenly spread points of a normal distribution in space.
fn normal_points(sigma_mm: f64) -> Vec<Vector3<f64>> {
    let mut random = Random(7);
    let half: Vec<Vector3<f64>> =
        (0..BLUR_POINTS / 2).map(|_| Vector3::from_fn(|_, _| random.normal()) * sigma_mm).collect();
    // In pairs, so that the blur moves nothing; scaled, so that it is as wide as it says.
    let variance = half.iter().map(|v| v.norm_squared() / 3.0).sum::<f64>() / half.len() as f64;
    half.iter().flat_map(|v| [*v, -*v]).map(|v| v * (sigma_mm / variance.sqrt())).collect()
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    /// Nearly normal: the sum of twelve even numbers.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.even()).sum::<f64>() - 6.0
    }

    fn even(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}
