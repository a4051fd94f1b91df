//! Surfaces of the residual core and of the cavity, for the view in three dimensions.
//!
//! Surface nets (the `fast-surface-nets` crate) on the fine region. The core is coloured by clearance: its
//! distance to the nearest forbidden voxel, red at 0 mm over yellow at 5 mm to green at 10 mm and more.

use crate::field::SignedField;
use bregma_core::flow::{MARGIN_PER_MM, ROI_EDGE, ROI_VOXELS, Scene, voxel};
use fast_surface_nets::ndshape::{ConstShape, ConstShape3u32};
use fast_surface_nets::{SurfaceNetsBuffer, surface_nets};

type Shape = ConstShape3u32<64, 64, 64>;
const _: () = assert!(ROI_EDGE == 64 && Shape::USIZE == ROI_VOXELS);

/// A triangle mesh, patient mm.
#[derive(Debug, Clone, Default)]
pub struct Mesh {
    /// Corners.
    pub positions: Vec<[f32; 3]>,
    /// Unit normals.
    pub normals: Vec<[f32; 3]>,
    /// RGBA of each corner.
    pub colours: Vec<[u8; 4]>,
    /// Three corners a triangle.
    pub triangles: Vec<[u32; 3]>,
}

/// Makes meshes. **Allocation:** buffers are kept.
pub struct Mesher {
    field: Vec<f32>,
    clearance: Vec<f32>,
    buffer: SurfaceNetsBuffer,
    signed: SignedField,
}

impl Default for Mesher {
    fn default() -> Self {
        Self {
            field: vec![0.0; ROI_VOXELS],
            clearance: vec![0.0; ROI_VOXELS],
            buffer: SurfaceNetsBuffer::default(),
            signed: SignedField::default(),
        }
    }
}

impl Mesher {
    fn mesh(&mut self, scene: &Scene, colour: impl Fn(&[f32], usize) -> [u8; 4]) -> Mesh {
        const LAST: u32 = ROI_EDGE as u32 - 1;
        surface_nets(&self.field, &Shape {}, [0; 3], [LAST; 3], &mut self.buffer);
        let spacing = scene.grid.spacing_mm;
        let place = |p: &[f32; 3]| std::array::from_fn(|a| (scene.grid.origin[a] + spacing * f64::from(p[a])) as f32);
        let nearest = |p: &[f32; 3]| scene.grid.index(p.map(|v| (v.round() as usize).min(ROI_EDGE - 1)));
        let unit = |n: &[f32; 3]| {
            let length = n.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-9);
            n.map(|v| v / length)
        };
        Mesh {
            positions: self.buffer.positions.iter().map(place).collect(),
            normals: self.buffer.normals.iter().map(unit).collect(),
            colours: self.buffer.positions.iter().map(|p| colour(&self.clearance, nearest(p))).collect(),
            triangles: self.buffer.indices.chunks_exact(3).map(|t| [t[0], t[1], t[2]]).collect(),
        }
    }

    /// The residual core, coloured by clearance.
    pub fn core(&mut self, scene: &Scene) -> Mesh {
        let forbidden = scene.state.iter().map(|s| s & voxel::FORBIDDEN != 0);
        self.clearance.copy_from_slice(self.signed.of(forbidden));
        for (field, margin) in self.field.iter_mut().zip(&scene.margin) {
            *field = (f64::from(*margin) / MARGIN_PER_MM) as f32;
        }
        self.mesh(scene, |clearance, i| by_clearance(clearance[i]))
    }

    /// The cavity's wall.
    pub fn cavity(&mut self, scene: &Scene) -> Mesh {
        let open = scene.state.iter().map(|s| s & voxel::CAVITY != 0);
        self.field.copy_from_slice(self.signed.of(open));
        self.mesh(scene, |_, _| [110, 160, 230, 90])
    }
}

/// Red at 0 mm, yellow at 5 mm, green from 10 mm.
fn by_clearance(mm: f32) -> [u8; 4] {
    let share = (mm / 10.0).clamp(0.0, 1.0);
    let red = ((2.0 - 2.0 * share).min(1.0) * 225.0) as u8;
    let green = ((2.0 * share).min(1.0) * 200.0) as u8;
    [red + 20, green + 20, 40, 255]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ball_gets_a_closed_surface_at_its_margin() {
        let mut scene = Scene::empty();
        let middle = scene.grid.centre([32; 3]);
        for i in 0..ROI_VOXELS {
            let mm = nalgebra::distance(&scene.grid.centre(scene.grid.voxel(i)), &middle) - 20.0;
            scene.margin[i] = (mm * MARGIN_PER_MM).clamp(-30000.0, 30000.0) as i16;
        }
        let mesh = Mesher::default().core(&scene);
        assert!(mesh.triangles.len() > 1000);
        for p in &mesh.positions {
            let mm = (p.iter().zip(middle.iter()).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>()).sqrt();
            assert!((mm - 20.0).abs() < 0.6, "{mm}");
        }
        // Closed: corners - edges + faces = 2, with three edges a triangle, each shared by two.
        let (corners, faces) = (mesh.positions.len() as i64, mesh.triangles.len() as i64);
        assert_eq!(corners - faces * 3 / 2 + faces, 2);
    }

    #[test]
    fn colours_run_from_red_to_green() {
        assert!(by_clearance(0.0)[0] > by_clearance(0.0)[1]);
        assert!(by_clearance(12.0)[1] > by_clearance(12.0)[0]);
    }
}
