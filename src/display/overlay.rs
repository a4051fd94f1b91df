//! The margin projected into the microscope's picture.
//!
//! Wall that the microscope sees in this scene becomes a point at its pixel: red over residual core, yellow
//! within the interval around the margin, green where the margin is clear by more.

use bregma_core::flow::{CameraCalibration, Scene, voxel};

/// Points to draw, pixels, with their colours.
#[derive(Debug, Clone, Default)]
pub struct Points {
    /// `[u, v]`.
    pub at: Vec<[f32; 2]>,
    /// RGBA.
    pub colours: Vec<[u8; 4]>,
}

/// Projects the visible wall. Points of an earlier call are forgotten.
pub fn project(scene: &Scene, camera: &CameraCalibration, into: &mut Points) {
    into.at.clear();
    into.colours.clear();
    let [width, height] = camera.size_px.map(|n| n as f64);
    for (i, state) in scene.state.iter().enumerate() {
        if state & voxel::VISIBLE == 0 {
            continue;
        }
        let Some((u, v, _)) = camera.project(&scene.grid.centre(scene.grid.voxel(i))) else { continue };
        if !(u >= 0.0 && v >= 0.0 && u < width && v < height) {
            continue;
        }
        let margin = scene.margin_mm(i);
        let interval = scene.interval_mm(i);
        into.at.push([u as f32, v as f32]);
        into.colours.push(if margin < 0.0 {
            [255, 60, 60, 200]
        } else if margin < interval {
            [255, 215, 0, 160]
        } else {
            [60, 220, 90, 120]
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bregma_core::frame::{FrameId, Pose};
    use bregma_core::units::Millimetres;

    #[test]
    fn only_visible_wall_inside_the_picture_is_drawn() {
        let mut scene = Scene::empty();
        let camera = CameraCalibration {
            focal_px: [900.0; 2],
            centre_px: [320.0, 180.0],
            size_px: [640, 360],
            // 300 mm below the region's middle, looking up along +z.
            patient_from_camera: Pose::from_parts(
                FrameId::SOLE,
                FrameId::SOLE,
                [0.0, 0.0, -300.0],
                [0.0, 0.0, 0.0, 1.0],
            )
            .expect("finite"),
            error: Millimetres::ZERO,
        };
        let middle = scene.grid.index([32, 32, 32]);
        scene.state[middle] = voxel::WALL | voxel::VISIBLE;
        scene.margin[middle] = -64;
        scene.state[middle + 1] = voxel::WALL;
        let mut points = Points::default();
        project(&scene, &camera, &mut points);
        assert_eq!(points.at.len(), 1, "wall that is not visible is not drawn");
        assert_eq!(points.colours[0], [255, 60, 60, 200]);
        assert!((points.at[0][0] - 321.875).abs() < 0.1, "0.625 mm at 300.6 mm with 900 px: {:?}", points.at[0]);
    }
}
