//! Eloquent regions: shapes around published MNI coordinates.
//!
//! **Frames:** MNI, RAS, mm; a patient's warp takes them along. Sources (approximate centres):
//! hand knob of the motor cortex: M. A. Mayka et al., NeuroImage 31 (2006), M1 at (∓37, −21, 58);
//! corticospinal tract through the posterior limb of the internal capsule to the cerebral peduncle: S. Mori
//! et al., *MRI Atlas of Human White Matter* (2005), ICBM-DTI-81 labels;
//! Broca's area (pars opercularis and triangularis): K. Amunts et al., J. Comp. Neurol. 412 (1999);
//! Wernicke's area (posterior superior temporal gyrus): J. R. Binder et al., J. Neurosci. 17 (1997).
//! Language is taken to lie on the left, as it does in most people. **Not modelled:** what a patient's
//! own functional MRI or stimulation would find.

use nalgebra::Vector3;

/// A region's label (from 1) and its name.
pub(crate) const NAMES: [(u8, &str); 6] = [
    (1, "left hand motor cortex"),
    (2, "right hand motor cortex"),
    (3, "left corticospinal tract"),
    (4, "right corticospinal tract"),
    (5, "Broca's area"),
    (6, "Wernicke's area"),
];
/// Label of the skull in the anatomy's region map.
pub(crate) const SKULL: u8 = 7;

const MOTOR: [f64; 3] = [37.0, -21.0, 58.0];
const MOTOR_RADIUS_MM: f64 = 12.0;
const TRACT: [[f64; 3]; 6] =
    [MOTOR, [30.0, -21.0, 45.0], [26.0, -19.0, 30.0], [25.0, -14.0, 8.0], [20.0, -16.0, -8.0], [15.0, -18.0, -20.0]];
const TRACT_RADIUS_MM: f64 = 4.0;
const BROCA: [f64; 3] = [-50.0, 16.0, 16.0];
const BROCA_RADIUS_MM: f64 = 12.0;
const WERNICKE: [f64; 3] = [-57.0, -44.0, 16.0];
const WERNICKE_RADIUS_MM: f64 = 12.0;

/// The region that holds an MNI point; 0 for none. Only brain tissue counts; that is the caller's check.
pub(crate) fn region(mni_ras: &Vector3<f64>) -> u8 {
    // The left is −x in RAS; shapes are given for +x.
    let (side, folded) = (u8::from(mni_ras.x >= 0.0), Vector3::new(mni_ras.x.abs(), mni_ras.y, mni_ras.z));
    if (folded - Vector3::from(MOTOR)).norm() <= MOTOR_RADIUS_MM {
        return 1 + side;
    }
    if TRACT.windows(2).any(|leg| distance_to_leg(&folded, leg[0], leg[1]) <= TRACT_RADIUS_MM) {
        return 3 + side;
    }
    if (mni_ras - Vector3::from(BROCA)).norm() <= BROCA_RADIUS_MM {
        return 5;
    }
    if (mni_ras - Vector3::from(WERNICKE)).norm() <= WERNICKE_RADIUS_MM {
        return 6;
    }
    0
}

fn distance_to_leg(at: &Vector3<f64>, from: [f64; 3], to: [f64; 3]) -> f64 {
    let (from, to) = (Vector3::from(from), Vector3::from(to));
    let axis = to - from;
    let t = ((at - from).dot(&axis) / axis.norm_squared()).clamp(0.0, 1.0);
    (at - from - axis * t).norm()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_and_names_agree() {
        assert_eq!(region(&Vector3::new(-37.0, -21.0, 58.0)), 1);
        assert_eq!(region(&Vector3::new(37.0, -21.0, 58.0)), 2);
        assert_eq!(region(&Vector3::new(-25.0, -14.0, 9.0)), 3);
        assert_eq!(region(&Vector3::new(25.0, -14.0, 9.0)), 4);
        assert_eq!(region(&Vector3::new(-50.0, 14.0, 16.0)), 5);
        assert_eq!(region(&Vector3::new(50.0, 14.0, 16.0)), 0, "language lies on the left");
        assert_eq!(region(&Vector3::new(0.0, 50.0, 0.0)), 0);
    }
}
