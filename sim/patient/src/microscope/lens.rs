//! The true lens: a pinhole with radial distortion.
//!
//! **Units:** pixels; slopes are x/z and y/z in the camera's axes. A point that an ideal pinhole shows at
//! distance r from the centre appears at r·(1 + k₁r² + k₂r⁴), r = 1 at half the picture's width (D. C.
//! Brown, Photogrammetric Engineering 37, 1971, radial terms). **Allocation:** one slope a pixel, at the
//! start. **Not modelled:** tangential and chromatic distortion; lenses that change with zoom and focus.

use bregma_core::flow::CameraCalibration;
use nalgebra::Point3;

/// Fixed-point steps towards a pixel's slope; each gains at least one decimal while k ≤ 0.05.
const STEPS: usize = 12;
/// Distortion is followed no further out than that, in half widths.
const REACH: f64 = 1.6;

pub(super) struct Lens {
    camera: CameraCalibration,
    k: [f64; 2],
    slopes: Vec<[f64; 2]>,
}

impl Lens {
    pub(super) fn new(camera: CameraCalibration, k: [f64; 2]) -> Self {
        let [width, height] = camera.size_px;
        let mut lens = Self { camera, k, slopes: Vec::with_capacity(width * height) };
        for v in 0..height {
            for u in 0..width {
                let slope = lens.undistorted([u as f64, v as f64]);
                lens.slopes.push(slope);
            }
        }
        lens
    }

    pub(super) const fn camera(&self) -> &CameraCalibration {
        &self.camera
    }

    /// Slopes of the ray through a pixel.
    pub(super) fn slope(&self, pixel: usize) -> [f64; 2] {
        self.slopes[pixel]
    }

    /// Where a point appears: `(u, v, depth mm)`; `None` behind the camera.
    pub(super) fn project(&self, at: &Point3<f64>) -> Option<(f64, f64, f64)> {
        let (u, v, z) = self.camera.project(at)?;
        let [cx, cy] = self.camera.centre_px;
        let factor = self.factor([u - cx, v - cy]);
        Some((cx + (u - cx) * factor, cy + (v - cy) * factor, z))
    }

    /// How much further from the centre a pinhole's pixel appears.
    fn factor(&self, off: [f64; 2]) -> f64 {
        let half = self.camera.size_px[0] as f64 / 2.0;
        let r2 = ((off[0] * off[0] + off[1] * off[1]) / (half * half)).min(REACH * REACH);
        1.0 + r2 * (self.k[0] + r2 * self.k[1])
    }

    fn undistorted(&self, pixel: [f64; 2]) -> [f64; 2] {
        let off: [f64; 2] = std::array::from_fn(|a| pixel[a] - self.camera.centre_px[a]);
        let mut ideal = off;
        for _ in 0..STEPS {
            let factor = self.factor(ideal);
            ideal = off.map(|o| o / factor);
        }
        std::array::from_fn(|a| ideal[a] / self.camera.focal_px[a])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::frame::Pose;
    use bregma_core::units::Millimetres;

    fn camera() -> CameraCalibration {
        CameraCalibration {
            focal_px: [4000.0; 2],
            centre_px: [159.5, 89.5],
            size_px: [320, 180],
            patient_from_camera: Pose::identity(),
            error: Millimetres::constant(0.0),
        }
    }

    #[test]
    fn a_pixels_ray_appears_at_that_pixel_and_the_corner_moves_as_much_as_it_should() {
        for k in [[0.012, -0.002], [-0.02, 0.004]] {
            let lens = Lens::new(camera(), k);
            for pixel in [0, 319, 320 * 90 + 160, 320 * 179 + 7] {
                let [x, y] = lens.slope(pixel);
                let (u, v, _) = lens.project(&Point3::new(x * 300.0, y * 300.0, 300.0)).expect("in front");
                let off = (u - (pixel % 320) as f64).hypot(v - (pixel / 320) as f64);
                assert!(off < 1e-6, "pixel {pixel}: {off} px");
            }
            // At the middle of the left edge, r = 159.5/160, a pinhole's pixel moves by about k₁ · 160.
            let ideal = [0.0_f64, 90.0];
            let at = Point3::new((ideal[0] - 159.5) / 4000.0 * 300.0, 0.0, 300.0);
            let (u, _, _) = lens.project(&at).expect("in front");
            assert!((u + 159.5 * (k[0] + k[1])).abs() < 0.05, "{u}");
        }
    }

    #[test]
    fn without_distortion_it_is_the_pinhole() {
        let lens = Lens::new(camera(), [0.0; 2]);
        let at = Point3::new(3.0, -5.0, 310.0);
        assert_eq!(lens.project(&at), camera().project(&at));
        assert_eq!(lens.slope(5).map(f64::to_bits), [(5.0 - 159.5) / 4000.0, -89.5 / 4000.0].map(f64::to_bits));
    }
}
