//! Slices through the fine region with the margin drawn in: pure pixels.
//!
//! **Layout:** each picture is `[64 · SCALE, 64 · SCALE, 3]`, rows from the top. Axial is seen from the feet
//! and coronal from the front (radiological: the patient's left is on the right), sagittal from the
//! patient's left with the front on the left; the head is up.

use bregma_core::flow::{ROI_EDGE, RoiFrame, Scene, voxel};

/// Pixels a voxel.
const SCALE: usize = 4;
/// Edge of a picture, pixels.
pub const EDGE_PX: usize = ROI_EDGE * SCALE;

/// Which plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Along x and y.
    Axial,
    /// Along x and z.
    Coronal,
    /// Along y and z.
    Sagittal,
}

impl Plane {
    /// All of them, in the order of `layout::path::SLICES`.
    pub const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// The voxel under column `u` and row `v`, in voxels from the top left, at `depth` across the plane.
    #[must_use]
    pub const fn voxel(self, u: usize, v: usize, depth: usize) -> [usize; 3] {
        const LAST: usize = ROI_EDGE - 1;
        match self {
            Self::Axial => [u, v, depth],
            Self::Coronal => [u, depth, LAST - v],
            Self::Sagittal => [depth, u, LAST - v],
        }
    }

    /// Where a voxel coordinate appears, pixels.
    #[must_use]
    pub fn pixel(self, c: [f64; 3]) -> [f32; 2] {
        let (u, v) = match self {
            Self::Axial => (c[0], c[1]),
            Self::Coronal => (c[0], ROI_EDGE as f64 - 1.0 - c[2]),
            Self::Sagittal => (c[1], ROI_EDGE as f64 - 1.0 - c[2]),
        };
        [((u + 0.5) * SCALE as f64) as f32, ((v + 0.5) * SCALE as f64) as f32]
    }

    const fn across(self) -> usize {
        match self {
            Self::Axial => 2,
            Self::Coronal => 1,
            Self::Sagittal => 0,
        }
    }
}

fn blend(under: [u8; 3], over: [u8; 3], share: f32) -> [u8; 3] {
    std::array::from_fn(|c| (f32::from(under[c]) * (1.0 - share) + f32::from(over[c]) * share) as u8)
}

/// Draws one plane through the voxel `through`. T1c is grey, the residual core red, its margin white, the
/// cavity dark blue, forbidden regions yellow. `rgb` is made as large as needed.
pub fn draw(scene: &Scene, roi: &RoiFrame, plane: Plane, through: [usize; 3], rgb: &mut Vec<u8>) {
    rgb.clear();
    rgb.resize(EDGE_PX * EDGE_PX * 3, 0);
    let t1c = roi.channel(0);
    let depth = through[plane.across()].min(ROI_EDGE - 1);
    let index = |u: usize, v: usize| scene.grid.index(plane.voxel(u, v, depth));
    for v in 0..ROI_EDGE {
        for u in 0..ROI_EDGE {
            let i = index(u, v);
            // The scan where its tissue is now.
            let shown = moved(scene, i);
            // Two standard deviations below the brain's mean is black, three above it is white.
            let grey = ((shown.map_or(-2.0, |s| t1c[s]) + 2.0) / 5.0 * 255.0).clamp(0.0, 255.0) as u8;
            let mut colour = [grey; 3];
            let state = scene.state[i];
            if state & voxel::CAVITY != 0 {
                colour = blend([8, 16, 40], [40, 90, 160], 0.35);
            } else if scene.residual[i] >= 128 {
                colour = blend(colour, [255, 40, 40], 0.45);
            } else if state & voxel::FORBIDDEN != 0 {
                colour = blend(colour, [255, 210, 0], 0.35);
            }
            for row in 0..SCALE {
                let at = ((v * SCALE + row) * EDGE_PX + u * SCALE) * 3;
                rgb[at..at + 3 * SCALE].chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&colour));
            }
        }
    }
    // The margin: where it changes sign between two neighbours, a white line along their common edge.
    for v in 0..ROI_EDGE {
        for u in 0..ROI_EDGE {
            let inside = scene.margin[index(u, v)] < 0;
            if u + 1 < ROI_EDGE && inside != (scene.margin[index(u + 1, v)] < 0) {
                (0..SCALE).for_each(|n| white(rgb, (u + 1) * SCALE, v * SCALE + n));
            }
            if v + 1 < ROI_EDGE && inside != (scene.margin[index(u, v + 1)] < 0) {
                (0..SCALE).for_each(|n| white(rgb, u * SCALE + n, (v + 1) * SCALE));
            }
        }
    }
}

/// The voxel of the scan that a voxel of the scene shows.
fn moved(scene: &Scene, index: usize) -> Option<usize> {
    let grid = &scene.grid;
    if scene.shift.is_still() {
        return Some(index);
    }
    grid.containing(&scene.shift.rest(&grid.centre(grid.voxel(index)))).map(|v| grid.index(v))
}

fn white(rgb: &mut [u8], x: usize, y: usize) {
    let at = (y * EDGE_PX + x) * 3;
    rgb[at..at + 3].fill(255);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voxel_is_drawn_where_its_pixel_says() {
        let (mut scene, roi) = (Scene::empty(), RoiFrame::empty());
        let at = [10, 20, 30];
        scene.residual[scene.grid.index(at)] = 255;
        let mut rgb = Vec::new();
        for plane in Plane::ALL {
            draw(&scene, &roi, plane, at, &mut rgb);
            let [x, y] = plane.pixel(at.map(|v| v as f64));
            let p = (y as usize * EDGE_PX + x as usize) * 3;
            assert!(rgb[p] > rgb[p + 1] + 50, "{plane:?}: red at the voxel, {:?}", &rgb[p..p + 3]);
            let red = rgb.chunks_exact(3).filter(|c| c[0] > c[1].saturating_add(50)).count();
            assert_eq!(red, SCALE * SCALE, "{plane:?}: and nowhere else");
        }
    }

    #[test]
    fn the_margin_is_drawn_around_what_is_inside() {
        let (mut scene, roi) = (Scene::empty(), RoiFrame::empty());
        scene.margin[scene.grid.index([5, 5, 5])] = -10;
        let mut rgb = Vec::new();
        draw(&scene, &roi, Plane::Axial, [5, 5, 5], &mut rgb);
        let lines = rgb.chunks_exact(3).filter(|c| *c == [255, 255, 255]).count();
        assert!((4 * SCALE - 4..=4 * SCALE).contains(&lines), "{lines} white pixels");
    }
}
