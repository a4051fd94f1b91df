//! Procedural texture: noise that repeats every 64 cells, and the vessels near each voxel.
//!
//! **Units:** voxels of 1 mm. **Allocation:** at the start. **Determinism:** from the patient's seed; plain
//! f32 arithmetic. Which trees are veins follows from where they start (the sagittal sinus, the internal
//! cerebral veins), as the anatomy places them.

use crate::patient::Patient;
use crate::random::mix;
use crate::truth::TRUTH_EDGE;
use bregma_core::flow::Capsule;
use nalgebra::{Point3, Vector3};

const CELLS: usize = 64;
/// A vessel is looked for that far from its surface, mm.
const NEAR_MM: f64 = 2.0;

/// A value and a direction, all between −1 and 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grain {
    pub value: f32,
    pub bump: Vector3<f32>,
}

pub(super) struct Noise(Vec<[i8; 4]>);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self((0..CELLS.pow(3)).map(|i| (mix(seed, i as u64) as u32).to_le_bytes().map(|b| b as i8)).collect())
    }

    /// Smooth noise with cells of a size, mm.
    pub(super) fn at(&self, place: &Vector3<f32>, cell_mm: f32) -> Grain {
        // Coordinates stay positive: places lie within a few hundred mm of the grid.
        let q = (place / cell_mm).add_scalar(8.0 * CELLS as f32);
        let base = q.map(|c| c as usize);
        let f = q.zip_map(&base, |c, b| {
            let f = c - b as f32;
            f * f * (3.0 - 2.0 * f)
        });
        let at = |n: usize| {
            let wrap = |a: usize, up: usize| (base[a] + up) % CELLS;
            let index = wrap(0, n & 1) + CELLS * (wrap(1, n >> 1 & 1) + CELLS * wrap(2, n >> 2));
            self.0[index].map(f32::from)
        };
        let lerp = |a: [f32; 4], b: [f32; 4], t: f32| std::array::from_fn(|c| a[c] + t * (b[c] - a[c]));
        let plane = |n: usize| lerp(lerp(at(n), at(n + 1), f.x), lerp(at(n + 2), at(n + 3), f.x), f.y);
        let [value, x, y, z]: [f32; 4] = lerp(plane(0), plane(4), f.z).map(|c| c / 128.0);
        Grain { value, bump: Vector3::new(x, y, z) }
    }
}

/// What a vessel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Artery,
    Vein,
}

/// A vessel where a ray passes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passing {
    pub kind: Kind,
    /// How much of the pixel it covers, 0 to 1.
    pub cover: f32,
    /// Out of it.
    pub normal: Vector3<f32>,
}

struct Piece {
    start: Vector3<f32>,
    along: Vector3<f32>,
    radius: f32,
    kind: Kind,
}

pub(super) struct Vessels {
    pieces: Vec<Piece>,
    /// Of every truth voxel: 1 + its nearest piece, or 0.
    near: Vec<u16>,
}

impl Vessels {
    pub(super) fn new(patient: &Patient) -> Self {
        let grid = &patient.truth.grid;
        let kinds = kinds(patient);
        let mut pieces = Vec::new();
        let mut near = vec![0_u16; grid.len()];
        let mut best = vec![f32::INFINITY; grid.len()];
        let place = |p: &Point3<f64>| Vector3::from(grid.coordinates(p)).add_scalar(0.5).cast::<f32>();
        for (capsule, kind) in patient.vessels.iter().zip(kinds) {
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
                kind,
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

/// Whether each piece carries arterial or venous blood. A tree starts where no piece before ends.
fn kinds(patient: &Patient) -> Vec<Kind> {
    let mut kind = Kind::Artery;
    let mut ends: std::collections::HashMap<[u64; 3], Kind> = std::collections::HashMap::new();
    let key = |p: &Point3<f64>| [p.x.to_bits(), p.y.to_bits(), p.z.to_bits()];
    let of = |capsule: &Capsule| {
        kind = ends.get(&key(&capsule.start)).copied().unwrap_or_else(|| {
            let mni = patient.head.warp.mni_ras(&capsule.start);
            let sinus = mni.x.abs() < 16.0 && mni.z > 52.0;
            let internal = mni.x.abs() < 9.0 && mni.z.abs() < 25.0 && mni.y.abs() < 30.0;
            if sinus || internal { Kind::Vein } else { Kind::Artery }
        });
        ends.insert(key(&capsule.end), kind);
        kind
    };
    patient.vessels.iter().map(of).collect()
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
        assert!((at(1.0) - at(1.0 + 32.0)).abs() < 1e-3);
    }

    #[test]
    fn a_ray_across_a_vessel_meets_it_and_one_beside_it_does_not() {
        let p = grown();
        let vessels = Vessels::new(&p);
        assert!(vessels.pieces.iter().any(|v| v.kind == Kind::Artery));
        let mut met = 0;
        for (n, piece) in vessels.pieces.iter().enumerate() {
            let middle = piece.start + piece.along * 0.5;
            // Near a branching, the nearest piece may be another one.
            let inside = middle.iter().all(|c| (0.0..TRUTH_EDGE as f32).contains(c));
            let voxel = middle.map(|c| c as usize);
            if !inside || usize::from(vessels.near[voxel.x + TRUTH_EDGE * (voxel.y + TRUTH_EDGE * voxel.z)]) != n + 1 {
                continue;
            }
            met += 1;
            let ray = piece.along.cross(&Vector3::new(0.3, 0.5, 0.8)).normalize();
            let passing = vessels.passing(&middle, &ray, 0.05).expect("it lies in the vessel");
            assert!(passing.cover > 0.9 && passing.normal.dot(&ray) < -0.99, "{n}");
            let sunk = vessels.passing(&(middle - ray * (piece.radius + 0.6)), &ray, 0.05);
            assert!(sunk.is_none_or(|s| s.cover < 0.6), "{n}: it shines through faintly");
            let aside = piece.along.cross(&ray).normalize() * (piece.radius + 0.2);
            assert!(vessels.passing(&(middle + aside), &ray, 0.05).is_none_or(|m| m.cover < 0.9), "{n}");
        }
        assert!(met > 10, "{met}");
    }
}
