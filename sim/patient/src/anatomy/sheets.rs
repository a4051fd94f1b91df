//! Falx and tentorium: thin stiff sheets of dura, given in MNI coordinates and carried by the warp.
//!
//! The falx lies in the midline between skull and a free edge above the corpus callosum; the tentorium is
//! the roof of the cerebellum, a tent whose ridge carries the straight sinus, open at the notch around the
//! midbrain. The falx's free edge and the tentorium's height were *fitted to the template's own gaps*: the
//! height by least squares to 47 points of least tissue, rms 1.3 mm. The notch is about 30 mm wide (D. E.
//! Adler, T. H. Milhorat, *The tentorial notch: anatomical variation*, J. Neurosurg. 96, 2002). **Frame:**
//! MNI, RAS, mm. **Not modelled:** the sheets' own shape in a patient apart from the warp's, the falx
//! cerebelli, gaps in the falx, and dura that is thicker than 1.6 mm.

use nalgebra::Vector3;

/// Values of the head's sheet map.
pub(crate) const NONE: u8 = 0;
/// Between the hemispheres.
pub(crate) const FALX: u8 = 1;
/// Between cerebrum and cerebellum.
pub(crate) const TENTORIUM: u8 = 2;

/// Half of a sheet's thickness: on a grid of 1 mm no diffusion passes through.
const HALF_MM: f64 = 0.8;
/// The falx's free edge in the midline, (y, z) from the crista galli to the vein of Galen.
const EDGE: [(f64, f64); 8] =
    [(62.0, -20.0), (54.0, 2.0), (42.0, 22.0), (22.0, 36.0), (0.0, 43.0), (-20.0, 40.0), (-38.0, 27.0), (-48.0, 7.0)];
/// Where the falx meets the tentorium.
const APEX_Y: f64 = -48.0;
/// Half of the notch's width.
const NOTCH_HALF_MM: f64 = 15.0;
/// The tentorium reaches forward to y = FRONT − SLANT · |x|, along the petrous ridge.
const FRONT_Y: f64 = -12.0;
const FRONT_SLANT: f64 = 0.65;
/// The notch ends there, in front of the ridge.
const NOTCH_BACK_Y: f64 = -46.0;

/// Whether the midline is falx at a point's height and depth, whatever its x.
pub(crate) fn in_falx(mni_ras: &Vector3<f64>) -> bool {
    falx(mni_ras.y, mni_ras.z)
}

/// Height of a point over the tentorium, mm.
pub(crate) fn over_tentorium_mm(mni_ras: &Vector3<f64>) -> f64 {
    mni_ras.z - height(mni_ras.x.abs(), mni_ras.y)
}

/// Whether the tentorium is there above or below a point: behind the petrous ridge, outside the notch.
pub(crate) fn in_tentorium(mni_ras: &Vector3<f64>) -> bool {
    roofed(mni_ras.x.abs(), mni_ras.y)
}

/// The sheet at a point of the brain or of the fluid around it; [`NONE`] nearly everywhere.
pub(crate) fn sheet(mni_ras: &Vector3<f64>) -> u8 {
    let (x, y, z) = (mni_ras.x.abs(), mni_ras.y, mni_ras.z);
    if z > -45.0 && z < 12.0 && y < FRONT_Y && tentorium(x, y, z) {
        return TENTORIUM;
    }
    if x <= HALF_MM && falx(y, z) { FALX } else { NONE }
}

fn roofed(x: f64, y: f64) -> bool {
    y <= FRONT_Y - FRONT_SLANT * x && (x >= NOTCH_HALF_MM || y <= NOTCH_BACK_Y)
}

fn tentorium(x: f64, y: f64, z: f64) -> bool {
    if !roofed(x, y) {
        return false;
    }
    let (height, slope) = (height(x, y), height(x + 0.5, y) - height(x - 0.5, y));
    (z - height).abs() <= HALF_MM * f64::sqrt(1.0 + slope * slope)
}

/// Height of the tentorium: a plane, and a ridge that falls off over 10 mm to either side.
fn height(x: f64, y: f64) -> f64 {
    let back = (y + 65.0) / 10.0;
    let ridge = libm::exp(-x.abs() / 10.0);
    -9.9 - 0.281 * x + 3.17 * back - 0.114 * x * back - 0.945 * back * back
        + ridge * (11.4 + 2.2 * back - 0.355 * back * back)
}

fn falx(y: f64, z: f64) -> bool {
    if y < APEX_Y {
        return z >= height(0.0, y);
    }
    if y >= EDGE[0].0 {
        return z >= EDGE[0].1;
    }
    EDGE.windows(2).any(|leg| {
        let ((y0, z0), (y1, z1)) = (leg[0], leg[1]);
        y < y0 && y >= y1 && z >= z0 + (z1 - z0) * (y0 - y) / (y0 - y1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::template;
    use nalgebra::Point3;

    #[test]
    fn sheets_lie_between_their_neighbours() {
        let at = |x: f64, y: f64, z: f64| sheet(&Vector3::new(x, y, z));
        assert_eq!(at(0.0, 0.0, 60.0), FALX);
        assert_eq!(at(0.0, 0.0, 26.0), NONE, "the corpus callosum is whole");
        assert_eq!(at(3.0, 0.0, 60.0), NONE);
        assert_eq!(at(0.0, -80.0, 20.0), FALX);
        assert!([-1.0, 1.0].iter().all(|s| (-30..-10).any(|z| at(s * 40.0, -68.0, f64::from(z)) == TENTORIUM)));
        assert!((-45..20).all(|z| at(0.0, -30.0, f64::from(z)) != TENTORIUM), "the midbrain passes the notch");
    }

    #[test]
    fn they_lie_where_the_template_has_least_tissue() {
        let t = template::template().expect("assets decode");
        let share = |lift: f64, which: u8| {
            let (mut sum, mut n) = (0.0, 0);
            for index in 0..t.grid.len() {
                let at = t.grid.centre(t.grid.voxel(index));
                if t.t1[index] > 30 && sheet(&Vector3::new(-at.x, -at.y, at.z)) == which {
                    let off =
                        if which == FALX { Point3::new(at.x + lift, at.y, at.z) } else { at + Vector3::z() * lift };
                    if let Some(v) = t.grid.containing(&off) {
                        sum += f64::from(t.grey[t.grid.index(v)]) + f64::from(t.white[t.grid.index(v)]);
                        n += 1;
                    }
                }
            }
            assert!(n > 3000, "{n} voxels of sheet {which}");
            sum / f64::from(n)
        };
        for (which, lifts) in [(FALX, [-5.0, 5.0]), (TENTORIUM, [-6.0, 6.0])] {
            let on = share(0.0, which);
            assert!(lifts.iter().all(|l| share(*l, which) > on + 30.0), "sheet {which}: {on}");
        }
    }
}
