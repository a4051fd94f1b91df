//! Procedural texture: noise that repeats every 32 cells, and the vessels near each voxel.
//!
//! **Units:** voxels of 1 mm. **Allocation:** at the start. **Determinism:** from the patient's seed; plain
//! f32 arithmetic. Which trees are veins follows from where they start (the sagittal sinus, the internal
//! cerebral veins), as the anatomy places them.

use crate::anatomy::vessels::VesselKind;
use crate::patient::Patient;
use crate::random::mix;
use crate::truth::TRUTH_EDGE;
use bregma_core::grid::Grid;
use nalgebra::{Point3, Vector3};

const CELLS: usize = 32;
/// A vessel is looked for that far from its surface, mm.
const NEAR_MM: f64 = 2.0;

/// A value and a direction, all between −1 and 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grain {
    pub value: f32,
    pub bump: Vector3<f32>,
}

pub(super) struct Noise(Vec<[f32; 4]>);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        let even = |b: u8| (f32::from(b) - 127.5) / 127.5;
        Self((0..CELLS.pow(3)).map(|i| (mix(seed, i as u64) as u32).to_le_bytes().map(even)).collect())
    }

    /// Smooth noise with cells of a size, mm.
    #[inline]
    pub(super) fn at(&self, place: &Vector3<f32>, cell_mm: f32) -> Grain {
        // Coordinates stay positive: places lie within a few hundred mm of the grid.
        let scale = 1.0 / cell_mm;
        let split = |c: f32| {
            let q = c * scale + 8.0 * CELLS as f32;
            let base = q as usize;
            let f = q - base as f32;
            (base % CELLS, (base + 1) % CELLS, f * f * (3.0 - 2.0 * f))
        };
        let (x0, x1, fx) = split(place.x);
        let (y0, y1, fy) = split(place.y);
        let (z0, z1, fz) = split(place.z);
        let row = |y: usize, z: usize| {
            let row = CELLS * (y + CELLS * z);
            lerp(self.0[row + x0], self.0[row + x1], fx)
        };
        let near = lerp(row(y0, z0), row(y1, z0), fy);
        let far = lerp(row(y0, z1), row(y1, z1), fy);
        let [value, x, y, z] = lerp(near, far, fz);
        Grain { value, bump: Vector3::new(x, y, z) }
    }
}

#[inline]
fn lerp(a: [f32; 4], b: [f32; 4], t: f32) -> [f32; 4] {
    [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2]), a[3] + t * (b[3] - a[3])]
}

/// A vessel where a ray passes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passing {
    pub kind: VesselKind,
    /// How much of the pixel it covers, 0 to 1.
    pub cover: f32,
    /// Out of it.
    pub normal: Vector3<f32>,
}

struct Piece {
    start: Vector3<f32>,
    along: Vector3<f32>,
    radius: f32,
    kind: VesselKind,
}

pub(super) struct Vessels {
    pieces: Vec<Piece>,
    /// Of every voxel of the window: 1 + its nearest piece, or 0.
    near: Vec<u16>,
}

impl Vessels {
    pub(super) fn new(patient: &Patient, grid: &Grid) -> Self {
        let mut pieces = Vec::new();
        let mut near = vec![0_u16; grid.len()];
        let mut best = vec![f32::INFINITY; grid.len()];
        let place = |p: &Point3<f64>| Vector3::from(grid.coordinates(p)).add_scalar(0.5).cast::<f32>();
        for (capsule, branch) in patient.vessels.iter().zip(&patient.branches) {
            let middle = nalgebra::center(&capsule.start, &capsule.end);
            let reach = NEAR_MM + capsule.radius_mm + 0.5 * nalgebra::distance(&capsule.start, &capsule.end);
            let [xs, ys, zs] = grid.around(&middle, reach);
            if xs.is_empty() || ys.is_empty() || zs.is_empty() || pieces.len() >= usize::from(u16::MAX) {
                continue;
            }
            pieces.push(Piece {
                start: place(&capsule.start),
                along: place(&capsule.end) - place(&capsule.start),
                radius: capsule.radius_mm as f32,
                kind: branch.kind,
            });
            for k in zs {
                for j in ys.clone() {
                    for i in xs.clone() {
                        let index = grid.index([i, j, k]);
                        let mm = capsule.distance_mm(&grid.centre([i, j, k])) as f32;
                        if mm < NEAR_MM as f32 && mm < best[index] {
                            (best[index], near[index]) = (mm, pieces.len() as u16);
                        }
                    }
                }
            }
        }
        Self { pieces, near }
    }

    /// The vessel that a ray passes before it ends at a place, or just below it. `pixel_mm` softens its edge.
    pub(super) fn passing(&self, place: &Vector3<f32>, ray: &Vector3<f32>, pixel_mm: f32) -> Option<Passing> {
        // Deeper than that below the surface a vessel does not shine through, mm.
        const SHINES_MM: f32 = 1.2;
        let inside = |c: f32| (c >= 0.0).then_some(c as usize).filter(|c| *c < TRUTH_EDGE);
        let (i, j, k) = (inside(place.x)?, inside(place.y)?, inside(place.z)?);
        let piece = self.pieces.get(usize::from(self.near[i + TRUTH_EDGE * (j + TRUTH_EDGE * k)]).checked_sub(1)?)?;
        let t = (place - piece.start).dot(&piece.along) / piece.along.norm_squared().max(1e-6);
        let off = place - piece.start - piece.along * t.clamp(0.0, 1.0);
        let beyond = off.dot(ray);
        let aside = off - ray * beyond;
        let r = piece.radius;
        let l = aside.norm();
        if l > r + pixel_mm || beyond < -SHINES_MM - r {
            return None;
        }
        let edge = ((r + pixel_mm - l) / (2.0 * pixel_mm)).clamp(0.0, 1.0);
        let sunk = (1.0 + (beyond + r).min(0.0) / SHINES_MM).clamp(0.0, 1.0);
        let rise = (1.0 - (l / r) * (l / r)).max(0.0).sqrt();
        Some(Passing { kind: piece.kind, cover: edge * sunk, normal: aside / r.max(l) - ray * rise })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patient::tests::grown;

    #[test]
    fn noise_is_smooth_fills_its_range_and_repeats() {
        let noise = Noise::new(5);
        let at = |x: f32| noise.at(&Vector3::new(x, 3.3, 7.1), 0.5).value;
        let values: Vec<f32> = (0..4000).map(|n| at(n as f32 * 0.01)).collect();
        assert!(values.windows(2).all(|w| (w[0] - w[1]).abs() < 0.08));
        let (low, high) = values.iter().fold((1.0_f32, -1.0_f32), |(l, h), v| (l.min(*v), h.max(*v)));
        assert!(low < -0.5 && high > 0.5, "{low} {high}");
        assert!((at(1.0) - at(1.0 + 16.0)).abs() < 1e-3);
    }

    #[test]
    fn a_ray_across_a_vessel_meets_it_and_one_beside_it_does_not() {
        let p = grown();
        let vessels = Vessels::new(&p, &p.truth.grid);
        assert!(vessels.pieces.iter().any(|v| v.kind == VesselKind::Artery));
        let (mut met, mut covered) = (0, 0);
        let nearest = |place: &Vector3<f32>| {
            let inside = place.iter().all(|c| (0.0..TRUTH_EDGE as f32).contains(c));
            let v = inside.then(|| place.map(|c| c as usize))?;
            usize::from(vessels.near[v.x + TRUTH_EDGE * (v.y + TRUTH_EDGE * v.z)]).checked_sub(1)
        };
        for (n, piece) in vessels.pieces.iter().enumerate() {
            let middle = piece.start + piece.along * 0.5;
            // Near a branching, the nearest piece may be another one.
            if nearest(&middle) != Some(n) {
                continue;
            }
            met += 1;
            let ray = piece.along.cross(&Vector3::new(0.3, 0.5, 0.8)).normalize();
            let passing = vessels.passing(&middle, &ray, 0.05).expect("it lies in the vessel");
            assert!(passing.cover > 0.9 && passing.normal.dot(&ray) < -0.99, "{n}");
            let above = middle - ray * (piece.radius + 0.6);
            if nearest(&above) == Some(n) {
                let sunk = vessels.passing(&above, &ray, 0.05).expect("not too deep");
                assert!((sunk.cover - 0.5).abs() < 1e-3, "{n}: it shines through, half as strong");
            }
            let aside = piece.along.cross(&ray).normalize() * (piece.radius + 0.2);
            // Beside it another one may run.
            covered += usize::from(vessels.passing(&(middle + aside), &ray, 0.05).is_some());
        }
        assert!(met > 10 && covered * 5 < met, "{met} {covered}");
    }
}
