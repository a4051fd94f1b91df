//! Eloquent regions: balls and tubes around published coordinates.
//!
//! **Frames:** MNI, RAS, mm; a patient's warp takes them along. Sources (centres are approximate, radii an
//! expert's estimate):
//! - hand knob and supplementary motor area: M. A. Mayka et al., NeuroImage 31 (2006), M1 at (∓37, −21, 58)
//!   and SMA proper at (−2, −7, 55) in Talairach's frame; by the inverse of the transform that the paper
//!   itself uses, (∓37, −25, 62) and (−2, −10, 59). The supplementary motor area's ball lies between that and
//!   the AAL label's centroid, (−6, 5, 61);
//! - corticospinal tract: corona radiata, the posterior part of the internal capsule's posterior limb,
//!   cerebral peduncle, after the ICBM-DTI-81 labels (S. Mori et al., NeuroImage 40, 2008);
//! - optic radiation: from the lateral geniculate body directly and by Meyer's loop through the retrolenticular
//!   part, the sagittal stratum and the posterior thalamic radiation of the same labels; the loop's tip is
//!   28 mm behind the temporal pole (A. J. Sherbondy et al., J. Vision 8, 2008);
//! - primary visual cortex: along the calcarine sulcus, the AAL label's centroids by coronal slice (N.
//!   Tzourio-Mazoyer et al., NeuroImage 15, 2002);
//! - arcuate fasciculus: through the superior longitudinal fasciculus of the same white-matter labels, around
//!   the end of the Sylvian fissure (M. Catani et al., Ann. Neurol. 57, 2005);
//! - Broca's area (pars opercularis and triangularis): K. Amunts et al., J. Comp. Neurol. 412 (1999);
//! - Wernicke's area (posterior superior temporal gyrus): J. R. Binder et al., J. Neurosci. 17 (1997).
//!
//! Language is taken to lie on the left, as it does in most people. **Not modelled:** what a patient's
//! own functional MRI or stimulation would find.

use nalgebra::Vector3;

/// A region's label (from 1) and its name.
pub(crate) const NAMES: [(u8, &str); 13] = [
    (1, "left hand motor cortex"),
    (2, "right hand motor cortex"),
    (3, "left corticospinal tract"),
    (4, "right corticospinal tract"),
    (5, "Broca's area"),
    (6, "Wernicke's area"),
    (7, "left supplementary motor area"),
    (8, "right supplementary motor area"),
    (9, "left primary visual cortex"),
    (10, "right primary visual cortex"),
    (11, "left optic radiation"),
    (12, "right optic radiation"),
    (13, "arcuate fasciculus"),
];
/// Label of the skull in the anatomy's region map.
pub(crate) const SKULL: u8 = 32;

/// Where a region lies.
#[derive(Clone, Copy)]
enum Side {
    /// The label is the left one's; the right one's is one more. Points are given for the right, +x.
    Both,
    /// Points are given as they are, −x.
    Left,
}

/// All points within a radius of a line through points; a ball where there is one point.
struct Shape {
    label: u8,
    side: Side,
    line: &'static [[f64; 3]],
    radius_mm: f64,
}

const fn shape(label: u8, side: Side, radius_mm: f64, line: &'static [[f64; 3]]) -> Shape {
    Shape { label, side, line, radius_mm }
}

/// The first that holds a point names it.
const SHAPES: [Shape; 9] = [
    shape(1, Side::Both, 12.0, &[[37.0, -25.0, 62.0]]),
    shape(
        3,
        Side::Both,
        4.0,
        &[
            [37.0, -25.0, 62.0],
            [31.0, -22.0, 45.0],
            [26.0, -20.0, 30.0],
            [24.0, -18.0, 15.0],
            [21.0, -17.0, 6.0],
            [15.0, -17.0, -9.0],
            [10.0, -21.0, -20.0],
            [7.0, -24.0, -31.0],
        ],
    ),
    shape(5, Side::Left, 12.0, &[[-50.0, 16.0, 16.0]]),
    shape(6, Side::Left, 12.0, &[[-57.0, -44.0, 16.0]]),
    shape(7, Side::Both, 10.0, &[[5.0, -6.0, 60.0]]),
    shape(9, Side::Both, 6.0, &[[12.0, -68.0, 10.0], [9.0, -84.0, 5.0], [8.0, -95.0, 0.0]]),
    // Meyer's loop, and the direct bundle.
    shape(
        11,
        Side::Both,
        3.5,
        &[
            [22.0, -26.0, -6.0],
            [29.0, -13.0, -9.0],
            [34.0, -9.0, -11.0],
            [39.0, -17.0, -12.0],
            [40.0, -32.0, -9.0],
            [37.0, -48.0, -3.0],
            [31.0, -64.0, 4.0],
            [16.0, -82.0, 4.0],
        ],
    ),
    shape(
        11,
        Side::Both,
        3.5,
        &[[22.0, -26.0, -6.0], [29.0, -28.0, 3.0], [35.0, -44.0, 8.0], [31.0, -64.0, 9.0], [15.0, -80.0, 8.0]],
    ),
    shape(
        13,
        Side::Left,
        4.0,
        &[
            [-46.0, 12.0, 18.0],
            [-36.0, 2.0, 24.0],
            [-36.0, -16.0, 30.0],
            [-35.0, -32.0, 31.0],
            [-37.0, -43.0, 20.0],
            [-41.0, -50.0, 11.0],
            [-52.0, -44.0, 10.0],
        ],
    ),
];

/// The region that holds an MNI point; 0 for none. Only brain tissue counts; that is the caller's check.
pub(crate) fn region(mni_ras: &Vector3<f64>) -> u8 {
    SHAPES.iter().find_map(|shape| shape.names(mni_ras)).unwrap_or(0)
}

impl Shape {
    fn names(&self, mni_ras: &Vector3<f64>) -> Option<u8> {
        let (at, label) = match self.side {
            // The left is −x in RAS.
            Side::Both => {
                let folded = Vector3::new(mni_ras.x.abs(), mni_ras.y, mni_ras.z);
                (folded, self.label + u8::from(mni_ras.x >= 0.0))
            }
            Side::Left => (*mni_ras, self.label),
        };
        self.holds(&at).then_some(label)
    }

    fn holds(&self, at: &Vector3<f64>) -> bool {
        let near = |from: &[f64; 3], to: &[f64; 3]| {
            // Outside the leg's box by more than the radius is outside the leg.
            (0..3).all(|a| {
                let (low, high) = (from[a].min(to[a]), from[a].max(to[a]));
                (low - self.radius_mm..=high + self.radius_mm).contains(&at[a])
            }) && distance_to_leg(at, *from, *to) <= self.radius_mm
        };
        match self.line {
            [only] => near(only, only),
            line => line.windows(2).any(|leg| near(&leg[0], &leg[1])),
        }
    }
}

fn distance_to_leg(at: &Vector3<f64>, from: [f64; 3], to: [f64; 3]) -> f64 {
    let (from, to) = (Vector3::from(from), Vector3::from(to));
    let axis = to - from;
    let t = ((at - from).dot(&axis) / axis.norm_squared().max(1e-12)).clamp(0.0, 1.0);
    (at - from - axis * t).norm()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_and_names_agree() {
        let at = |x: f64, y: f64, z: f64| region(&Vector3::new(x, y, z));
        assert_eq!((at(-37.0, -25.0, 62.0), at(37.0, -25.0, 62.0)), (1, 2));
        assert_eq!((at(-22.0, -17.0, 8.0), at(22.0, -17.0, 8.0)), (3, 4));
        assert_eq!((at(-50.0, 14.0, 16.0), at(50.0, 14.0, 16.0)), (5, 0), "language lies on the left");
        assert_eq!((at(-57.0, -44.0, 16.0), at(57.0, -44.0, 16.0)), (6, 0));
        assert_eq!((at(-5.0, -6.0, 60.0), at(5.0, -6.0, 60.0)), (7, 8));
        assert_eq!((at(-9.0, -84.0, 5.0), at(9.0, -84.0, 5.0)), (9, 10));
        assert_eq!((at(-40.0, -32.0, -9.0), at(35.0, -44.0, 8.0)), (11, 12));
        assert_eq!((at(-36.0, -10.0, 28.0), at(36.0, -10.0, 28.0)), (13, 0));
        assert_eq!(at(0.0, 50.0, 0.0), 0);
        assert!(SHAPES.iter().all(|s| NAMES.iter().any(|(label, _)| *label == s.label)));
        assert!(NAMES.iter().all(|(label, _)| *label < SKULL));
    }

    #[test]
    fn a_ball_and_a_tube_end_at_their_radius() {
        let at = |y: f64| region(&Vector3::new(-50.0, 16.0 + y, 16.0));
        assert_eq!((at(11.9), at(12.1)), (5, 0));
        // Beside the peduncle, across the tract.
        let leg = distance_to_leg(&Vector3::new(0.0, 3.0, 5.0), [0.0, 0.0, 0.0], [0.0, 0.0, 10.0]);
        assert!((leg - 3.0).abs() < 1e-12);
    }
}
