//! What holds the brain inside: falx, tentorium, brainstem.
//!
//! **Frames:** their shapes are written in the template's coordinates (MNI, RAS, mm) and found in a patient
//! through the warp. Both are sheets of dura ([`crate::anatomy::sheets`]) that give way by a millimetre
//! under a few kPa and let tissue glide along them.

use super::body::{Body, Grip, Hold};
use super::material::Materials;
use crate::anatomy::sheets;
use crate::anatomy::warp::Warp;
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
        if (-half..half).contains(&mni.x) && sheets::in_falx(&mni) {
            add(slope(warp, &at, |m| m.x), materials.dura_kpa_mm * area);
        }
        if (-half..half).contains(&sheets::over_tentorium_mm(&mni)) && sheets::in_tentorium(&mni) {
            add(slope(warp, &at, sheets::over_tentorium_mm), materials.dura_kpa_mm * area);
        }
    }
}

/// Medulla, below the pons.
fn brainstem(mni: &Vector3<f64>) -> bool {
    mni.z < -50.0 && mni.x.abs() < 15.0 && (-60.0..-15.0).contains(&mni.y)
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
    fn what_is_held_fast_is_the_medulla() {
        assert!(brainstem(&Vector3::new(0.0, -40.0, -60.0)) && !brainstem(&Vector3::new(0.0, -25.0, -30.0)));
    }
}
