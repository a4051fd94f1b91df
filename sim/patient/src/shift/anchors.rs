//! What holds the brain inside: falx, tentorium, brainstem.
//!
//! **Frames:** their shapes are written in the template's coordinates (MNI, RAS, mm) and found in a patient
//! through the warp. They are *modelled*: the falx is the midline outside an ellipse around the corpus
//! callosum and above the skull base; the tentorium a tent over the cerebellum with the incisura open. Both
//! are sheets of dura that give way by a millimetre under a few kPa and let tissue glide along them.

use super::body::{Body, Grip, Hold};
use super::material::Materials;
use crate::anatomy::head::Warp;
use nalgebra::{Point3, Vector3};

/// Stiffness of what is held fast, kPa times the cell's edge.
const FAST_KPA: f32 = 60.0;

/// Adds their holds.
pub(super) fn hold(body: &mut Body, warp: &Warp, materials: &Materials) {
    let half = 0.5 * body.grid.spacing_mm;
    let area = body.edge() * body.edge();
    for node in 0..body.nodes.len() {
        let at = body.at(node);
        let mni = warp.mni_ras(&at);
        let mut add = |normal: Vector3<f32>, stiffness| {
            body.holds.push(Hold { node: node as u32, normal, stiffness, grip: Grip::Both });
        };
        if brainstem(&mni) {
            for axis in [Vector3::x(), Vector3::y(), Vector3::z()] {
                add(axis, FAST_KPA * area.sqrt());
            }
        }
        // The one layer of nodes nearest to each sheet.
        if (-half..half).contains(&mni.x) && falx(&mni) {
            add(slope(warp, &at, |m| m.x), materials.dura_kpa_mm * area);
        }
        if (-half..half).contains(&over_tentorium(&mni)) && tentorium(&mni) {
            add(slope(warp, &at, over_tentorium), materials.dura_kpa_mm * area);
        }
    }
}

/// Medulla, below the pons.
fn brainstem(mni: &Vector3<f64>) -> bool {
    mni.z < -50.0 && mni.x.abs() < 15.0 && (-60.0..-15.0).contains(&mni.y)
}

/// Whether the midline is falx there: outside an ellipse about the corpus callosum, above the base.
pub(super) fn falx(mni: &Vector3<f64>) -> bool {
    let (y, z) = ((mni.y + 10.0) / 52.0, (mni.z - 5.0) / 32.0);
    mni.z > 0.0 && y * y + z * z > 1.0
}

/// Height over the tentorium's sheet, mm: its apex lies behind the splenium, its edges on the petrous ridge
/// and the transverse sinus.
fn over_tentorium(mni: &Vector3<f64>) -> f64 {
    let behind = (-55.0 - mni.y).max(0.0);
    mni.z - (5.0 - 0.5 * mni.x.abs() - 0.4 * behind)
}

/// Whether the sheet is there: behind the petrous ridge, outside the incisura.
fn tentorium(mni: &Vector3<f64>) -> bool {
    let incisura = mni.y > -55.0 && mni.x.abs() < 16.0;
    mni.y < -30.0 && !incisura
}

/// Direction in which a quantity of the template grows, in the patient.
fn slope(warp: &Warp, at: &Point3<f64>, of: impl Fn(&Vector3<f64>) -> f64) -> Vector3<f32> {
    let along = |axis: Vector3<f64>| of(&warp.mni_ras(&(at + axis))) - of(&warp.mni_ras(&(at - axis)));
    let slope = Vector3::new(along(Vector3::x()), along(Vector3::y()), along(Vector3::z()));
    slope.try_normalize(1e-9).unwrap_or_else(Vector3::x).cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sheets_lie_where_the_atlas_has_them() {
        // RAS: vertex between the hemispheres, and behind; not in the corpus callosum or the third ventricle.
        assert!(falx(&Vector3::new(0.0, -20.0, 65.0)) && falx(&Vector3::new(0.0, -85.0, 20.0)));
        assert!(falx(&Vector3::new(0.0, 60.0, 20.0)));
        assert!(!falx(&Vector3::new(0.0, 0.0, 25.0)) && !falx(&Vector3::new(0.0, -20.0, 5.0)));
        // Occipital lobe above it, cerebellum below.
        assert!(over_tentorium(&Vector3::new(20.0, -85.0, 5.0)) > 5.0);
        assert!(over_tentorium(&Vector3::new(20.0, -65.0, -35.0)) < -5.0);
        assert!(tentorium(&Vector3::new(30.0, -60.0, -12.0)) && !tentorium(&Vector3::new(5.0, -35.0, 0.0)));
        assert!(brainstem(&Vector3::new(0.0, -40.0, -60.0)) && !brainstem(&Vector3::new(0.0, -25.0, -30.0)));
    }
}
